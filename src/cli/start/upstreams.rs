//! How upstreams are reached, and whom they are trusted by.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::StartError;
use crate::ca::Authority;
use crate::config::{DialPolicy, Options, UpstreamProxy};
use crate::proxy::upstream::{Dialer, DialerParts};
use crate::proxy::verify::{Crl, TrustParts, UpstreamVerifier};
use crate::replay::Recorded;

/// What connects to upstreams, for commands that are no proxy.
pub fn dialer(
    options: &Options,
    own: SocketAddr,
    addresses: DialPolicy,
    recorded: Option<Arc<Recorded>>,
) -> Result<Dialer, StartError> {
    dialer_with(options, vec![own], addresses, verifier(options, None)?, recorded)
}

pub(super) fn dialer_with(
    options: &Options,
    own: Vec<SocketAddr>,
    addresses: DialPolicy,
    verifier: UpstreamVerifier,
    recorded: Option<Arc<Recorded>>,
) -> Result<Dialer, StartError> {
    let exceptions = options.allow_untrusted()?;
    for exception in &exceptions {
        tracing::warn!(host = %exception.host, until = %exception.until, "certificates of this host are not believed and used all the same");
    }
    Dialer::new(DialerParts {
        verifier,
        exceptions,
        connect_to: options.connect_to()?,
        parent: options.upstream_proxy.as_deref().map(str::parse::<UpstreamProxy>).transpose()?,
        addresses,
        own,
        deadline: options.deadlines()?.connect,
        offline: options.offline,
        recorded,
    })
    .map_err(|e| StartError::Wrong(format!("TLS: {e}")))
}

/// Whom upstreams are trusted by: the platform's roots and those of `--upstream-ca`, less what lists revoke, and
/// never a CA whose key is ours.
pub(super) fn verifier(options: &Options, authority: Option<&Authority>) -> Result<UpstreamVerifier, StartError> {
    let mut own: Vec<_> =
        authority.and_then(|authority| authority.certificates().first().cloned()).into_iter().collect();
    // `run` has a CA of its own in memory, but its user may have installed that of `serve`. One that cannot be read is
    // shown to no client either.
    if let Ok(Some((certificate, _))) = Authority::certificate_in(&options.state_dir()?) {
        own.push(certificate);
    }
    if let Ok(Some(next)) = Authority::next(&options.state_dir()?) {
        own.push(next.certificate);
    }
    Ok(UpstreamVerifier::new(TrustParts { roots: roots(options)?, own, crls: crls(options)? }))
}

/// The revocation lists of `--crl`. One that has expired is told of; what it revokes stays revoked.
pub fn crls(options: &Options) -> Result<Vec<Crl>, StartError> {
    let mut lists = Vec::new();
    for path in &options.crl {
        let read = Crl::load(path);
        lists.extend(read.map_err(|e| StartError::Wrong(format!("--crl: {}: {e}", path.display())))?);
    }
    for list in lists.iter().filter(|list| list.is_expired(UnixTime::now())) {
        tracing::warn!(
            file = list.file(),
            "the revocation list has expired: certificates of its issuer are refused until there is a newer one"
        );
    }
    Ok(lists)
}

/// The platform's roots and those of `--upstream-ca`.
pub(in crate::cli) fn roots(options: &Options) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let mut roots = Vec::new();
    if !options.offline || !options.connect_to.is_empty() {
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::debug!(%error, "a platform root could not be read");
        }
        // Another divulge's CA on this machine speaks for clients; whoever chains two of them says so by
        // `--upstream-ca`.
        roots.extend(native.certs.into_iter().filter(|root| !crate::ca::is_one_of_ours(root)));
        if roots.is_empty() && options.upstream_ca.is_none() && !options.offline {
            tracing::warn!(
                "this system has no root certificates: install them (Debian: ca-certificates) or name some with --upstream-ca"
            );
        }
    }
    if let Some(path) = &options.upstream_ca {
        for certificate in certificates(path)? {
            webpki::anchor_from_trusted_cert(&certificate).map_err(|e| {
                StartError::Wrong(format!(
                    "--upstream-ca: {}: a certificate cannot be used as root: {e}",
                    path.display()
                ))
            })?;
            roots.push(certificate);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let wrong =
        |why: String| StartError::Wrong(format!("--upstream-ca: {}: {why}; expected PEM certificates", path.display()));
    let pem = std::fs::read(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(wrong("holds no certificate".into())),
        Err(error) => Err(wrong(format!("{error}"))),
    }
}

//! Whether an upstream is who it says it is. Never less than what a careful client would ask for itself: the
//! client sees our certificate and can ask no more.
//!
//! ```text
//! our own CA? -> a path to a root (webpki) -> what webpki leaves open: roots, keyUsage, CRLs, staples -> names
//! ```
//!
//! `docs/upstream-trust.md` lists the cases.

mod crl;
mod der;
mod names;
mod ocsp;
mod proven;

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

pub use crl::{Crl, CrlError};
pub use ocsp::StapleFault;

use crate::config::AllowUntrusted;
use crate::report::text::visible;
use crl::Standing;
use proven::Proven;

/// Why an upstream's certificate is refused. One line for whoever has to do something about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("it was issued by divulge's own CA, so this connection leads back to divulge")]
    OwnCa,
    #[error("it is malformed")]
    Malformed,
    #[error("{}", path_fault(.0))]
    Path(webpki::Error),
    #[error("the root {name} {fault}")]
    Root { name: String, fault: &'static str },
    #[error("the CA {0} may not sign certificates (keyUsage without keyCertSign)")]
    MayNotSign(String),
    #[error("it may not sign handshakes (keyUsage without digitalSignature)")]
    MayNotServe,
    #[error("{0} has an RSA key of fewer than 2048 bits")]
    WeakKey(String),
    #[error("one of its names holds a control byte")]
    ForgedName,
    #[error("{0} would speak for a whole registry")]
    WideWildcard(String),
    #[error("{name} is revoked, says {by}")]
    Revoked { name: String, by: &'static str },
    #[error("{file} holds the CRL of its issuer, which has expired: fetch a new one")]
    CrlExpired { file: String },
    #[error("{file} holds a CRL with the name of its issuer and another's signature")]
    CrlForged { file: String },
    #[error("the stapled OCSP response {0}")]
    Staple(StapleFault),
    #[error("it demands a stapled OCSP response, and none came")]
    NoStaple,
}

impl Refusal {
    /// What no exception excuses: a certificate that its issuer has taken back, and a loop.
    fn is_final(&self) -> bool {
        matches!(self, Refusal::OwnCa | Refusal::Revoked { .. } | Refusal::Staple(StapleFault::Revoked))
    }
}

fn path_fault(error: &webpki::Error) -> String {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => "a certificate of the chain has expired".into(),
        Error::CertNotValidYet { .. } => "a certificate of the chain is not valid yet (is the clock right?)".into(),
        Error::UnknownIssuer => {
            "no chain leads to a trusted root (unknown issuer, self-signed or a missing intermediate)".into()
        }
        Error::CertNotValidForName(context) if context.presented.is_empty() => {
            "it names no host (subjectAltName); a common name counts for nothing".into()
        }
        Error::CertNotValidForName(context) => {
            // webpki prints `DnsName("other.example.com")`.
            let plain = |name: &String| {
                let name = name.strip_prefix("DnsName(\"").and_then(|rest| rest.strip_suffix("\")")).unwrap_or(name);
                visible(&name.chars().take(100).collect::<String>())
            };
            let names: Vec<String> = context.presented.iter().take(8).map(plain).collect();
            let more = if context.presented.len() > names.len() { " and others" } else { "" };
            format!("it is for {}{more}, not for this host", names.join(", "))
        }
        Error::CaUsedAsEndEntity => "it is a CA's certificate, not a server's".into(),
        Error::EndEntityUsedAsCa => "it was signed by a certificate that is no CA".into(),
        Error::PathLenConstraintViolated => "the chain is longer than a CA in it allows (path length)".into(),
        Error::NameConstraintViolation => "its name is one that a CA of the chain may not speak for".into(),
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            "a certificate of the chain is not for TLS servers (extendedKeyUsage)".into()
        }
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not known".into(),
        Error::UnsupportedCertVersion => "a certificate of the chain is not of version 3".into(),
        Error::InvalidSignatureForPublicKey => "a signature of the chain is not its issuer's".into(),
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a certificate of the chain is signed in a way that is not trusted (MD5, SHA-1, a short or rare key)".into()
        }
        other => format!("its chain is not valid ({other:?})"),
    }
}

pub struct TrustParts {
    /// The platform's roots and those of `--upstream-ca`.
    pub roots: Vec<CertificateDer<'static>>,
    /// Certificates of CAs whose keys are ours.
    pub own: Vec<CertificateDer<'static>>,
    pub crls: Vec<Crl>,
}

/// Judges the certificates of upstreams.
pub struct UpstreamVerifier {
    anchors: Vec<TrustAnchor<'static>>,
    /// The certificates of the anchors, in their order: an anchor alone tells neither its validity nor its limits.
    roots: Vec<CertificateDer<'static>>,
    /// Public keys, as certificates spell them.
    own: Vec<Vec<u8>>,
    /// Swapped by a reload.
    crls: ArcSwap<Vec<Crl>>,
    algorithms: WebPkiSupportedAlgorithms,
    proven: Proven,
}

impl UpstreamVerifier {
    /// Roots that cannot be read are left out, as every client does: a platform's store holds oddities.
    pub fn new(parts: TrustParts) -> Self {
        let mut anchors = Vec::with_capacity(parts.roots.len());
        let mut roots = Vec::with_capacity(parts.roots.len());
        for root in parts.roots {
            let anchor = webpki::anchor_from_trusted_cert(&root).map(|anchor| anchor.to_owned());
            match anchor {
                Ok(anchor) => {
                    anchors.push(anchor);
                    roots.push(root);
                }
                Err(error) => tracing::debug!(%error, "a root that cannot be used"),
            }
        }
        let own = parts.own.iter().filter_map(|der| Some(parse(der)?.public_key().raw.to_vec())).collect();
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { anchors, roots, own, crls: ArcSwap::from_pointee(parts.crls), algorithms, proven: Proven::new() }
    }

    /// Other revocation lists from now on.
    pub fn set_crls(&self, crls: Vec<Crl>) {
        self.crls.store(Arc::new(crls));
    }

    /// Whether this chain is good for `name`, now.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| match parse(leaf) {
            None => Refusal::Malformed,
            Some(certificate) if self.has_own_key(&certificate) => Refusal::OwnCa,
            Some(_) => Refusal::Path(error),
        })?;
        // What others say of a chain may be otherwise the next time.
        let lasting = staple.is_empty() && self.crls.load().is_empty();
        let chain = lasting.then(|| Proven::digest(leaf, intermediates));
        if !chain.is_some_and(|chain| self.proven.holds(&chain, now)) {
            let valid = self.judge_chain(leaf, &end_entity, intermediates, staple, now)?;
            if let Some(chain) = chain {
                self.proven.keep(chain, valid);
            }
        }
        end_entity.verify_is_valid_for_subject_name(name).map_err(Refusal::Path)?;
        if let ServerName::DnsName(host) = name
            && let Some(wide) = names::only_wide(host.as_ref(), end_entity.valid_dns_names())
        {
            return Err(Refusal::WideWildcard(wide));
        }
        Ok(())
    }

    /// Whether this chain is good, whatever the host; in which seconds it is, as far as its certificates say.
    fn judge_chain(
        &self,
        leaf: &CertificateDer<'_>,
        end_entity: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        now: UnixTime,
    ) -> Result<RangeInclusive<i64>, Refusal> {
        let certificate = parse(leaf).ok_or(Refusal::Malformed)?;
        if self.has_own_key(&certificate) || intermediates.iter().any(|der| self.is_own(der)) {
            return Err(Refusal::OwnCa);
        }
        let refused = RefCell::new(None);
        let valid = RefCell::new(None);
        let judge_path = |path: &VerifiedPath<'_>| match self.judge_path(path, &certificate, staple, now) {
            Ok(seconds) => {
                *valid.borrow_mut() = Some(seconds);
                Ok(())
            }
            Err(refusal) => {
                *refused.borrow_mut() = Some(refusal);
                Err(webpki::Error::UnknownIssuer)
            }
        };
        let usage = KeyUsage::server_auth();
        let (algorithms, anchors) = (self.algorithms.all, &self.anchors);
        end_entity
            .verify_for_usage(algorithms, anchors, intermediates, now, usage, None, Some(&judge_path))
            // A path that was found and then refused says more than that no other was found.
            .map_err(|error| refused.take().unwrap_or(Refusal::Path(error)))?;
        // RFC 8446, 4.4.2.2. TLS 1.2 is spoken with suites that sign, too.
        if !matches!(certificate.key_usage(), Ok(usage) if usage.as_ref().is_none_or(|u| u.value.digital_signature())) {
            return Err(Refusal::MayNotServe);
        }
        if names::has_forged_name(&certificate) {
            return Err(Refusal::ForgedName);
        }
        has_strong_key(&certificate)?;
        valid.take().ok_or(Refusal::Malformed)
    }

    /// What webpki leaves open on a path that it would take; in which seconds all of its certificates are valid.
    fn judge_path(
        &self,
        path: &VerifiedPath<'_>,
        certificate: &X509Certificate<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<RangeInclusive<i64>, Refusal> {
        let leaf = path.end_entity();
        // The anchor is one of ours, so it lies among them.
        let at = self.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
        let root = at.and_then(|at| self.roots.get(at)).ok_or(Refusal::Malformed)?;
        let mut valid = proven::validity(certificate);
        // The server's very certificate is trusted by name: then it needs nobody above it.
        if **root != *leaf.der() {
            let root = parse(root).ok_or(Refusal::Malformed)?;
            self.judge_root(&root, path.intermediate_certificates().count(), now)?;
            valid = proven::both(valid, proven::validity(&root));
        }
        for ca in path.intermediate_certificates() {
            let der = ca.der();
            let ca = parse(&der).ok_or(Refusal::Malformed)?;
            if !may_sign(&ca) {
                return Err(Refusal::MayNotSign(subject_of(&ca)));
            }
            has_strong_key(&ca)?;
            valid = proven::both(valid, proven::validity(&ca));
        }
        self.judge_revocation(path, now)?;
        if staple.is_empty() {
            return if demands_staple(certificate) { Err(Refusal::NoStaple) } else { Ok(valid) };
        }
        let key = path.issuer_spki();
        let issuer = path.intermediate_certificates().next().map_or(path.anchor().subject.as_ref(), |ca| ca.subject());
        let question = ocsp::Question { serial: leaf.serial(), issuer, issuer_key: &key };
        ocsp::check(staple, &question, self.algorithms.all, now).map_err(Refusal::Staple)?;
        Ok(valid)
    }

    /// webpki takes an anchor at its word: its validity and limits are not looked at.
    fn judge_root(&self, certificate: &X509Certificate<'_>, between: usize, now: UnixTime) -> Result<(), Refusal> {
        if self.has_own_key(certificate) {
            return Err(Refusal::OwnCa);
        }
        let refuse = |fault| Err(Refusal::Root { name: subject_of(certificate), fault });
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if certificate.validity().not_after.timestamp() < at {
            return refuse("has expired");
        }
        if certificate.validity().not_before.timestamp() > at {
            return refuse("is not valid yet (is the clock right?)");
        }
        match certificate.basic_constraints() {
            Ok(Some(basic)) if basic.value.ca => {
                if basic.value.path_len_constraint.is_some_and(|most| (most as usize) < between) {
                    return refuse("allows no chain of this length (path length)");
                }
            }
            _ => return refuse("is not a CA (basicConstraints)"),
        }
        if !may_sign(certificate) {
            return refuse("may not sign certificates (keyUsage without keyCertSign)");
        }
        match certificate.extended_key_usage() {
            Ok(usage) if usage.as_ref().is_none_or(|usage| usage.value.server_auth || usage.value.any) => {}
            _ => return refuse("is not for TLS servers (extendedKeyUsage)"),
        }
        // What a root says of itself proves nothing, but one that old should not be trusted by anybody.
        const MD5_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4];
        if certificate.signature_algorithm.algorithm.as_bytes() == MD5_WITH_RSA {
            return refuse("signed itself with MD5");
        }
        // Of the X.509 family we know what may be critical; what lies elsewhere is somebody's own.
        if certificate.iter_extensions().any(|known| known.critical && !known.oid.as_bytes().starts_with(&[0x55, 0x1d]))
        {
            return refuse("has a critical extension that is not known");
        }
        has_strong_key(certificate)
    }

    fn judge_revocation(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), Refusal> {
        let lists = self.crls.load();
        if lists.is_empty() {
            return Ok(());
        }
        // Each certificate with the name and key of whoever is above it.
        let anchor = (path.anchor().subject.to_vec(), webpki::spki_for_anchor(path.anchor()));
        let cas = path.intermediate_certificates().map(|ca| (ca.subject().to_vec(), ca.subject_public_key_info()));
        let issuers: Vec<_> = cas.chain([anchor]).collect();
        let chain: Vec<_> = std::iter::once(&**path.end_entity()).chain(path.intermediate_certificates()).collect();
        for (certificate, (issuer, key)) in chain.into_iter().zip(&issuers) {
            match crl::standing(&lists, issuer, key, certificate.serial(), self.algorithms.all, now) {
                Standing::NotCovered | Standing::Good => {}
                Standing::Revoked => {
                    let name = parse(&certificate.der()).map(|c| subject_of(&c)).unwrap_or_default();
                    return Err(Refusal::Revoked { name, by: "a CRL" });
                }
                Standing::Expired(file) => return Err(Refusal::CrlExpired { file }),
                Standing::Forged(file) => return Err(Refusal::CrlForged { file }),
            }
        }
        Ok(())
    }

    fn is_own(&self, der: &CertificateDer<'_>) -> bool {
        parse(der).is_some_and(|certificate| self.has_own_key(&certificate))
    }

    fn has_own_key(&self, certificate: &X509Certificate<'_>) -> bool {
        self.own.iter().any(|key| key == certificate.public_key().raw)
    }

    /// Whether some list names this certificate. Without a path nobody can say whose list it truly is, so its
    /// word is enough.
    fn is_named_revoked(&self, der: &CertificateDer<'_>) -> bool {
        EndEntityCert::try_from(der)
            .is_ok_and(|leaf| self.crls.load().iter().any(|list| list.names(leaf.issuer(), leaf.serial())))
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

/// Whose certificate it is, for messages: the upstream chose every byte of it.
fn subject_of(certificate: &X509Certificate<'_>) -> String {
    let name: String = certificate.subject().to_string().chars().take(200).collect();
    visible(&name)
}

/// RFC 5280, 6.1.4 (n): a keyUsage need not be there, but if it is, it must say so.
fn may_sign(ca: &X509Certificate<'_>) -> bool {
    matches!(ca.key_usage(), Ok(usage) if usage.as_ref().is_none_or(|usage| usage.value.key_cert_sign()))
}

fn has_strong_key(certificate: &X509Certificate<'_>) -> Result<(), Refusal> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if modulus_bits(key.modulus) < 2048 => Err(Refusal::WeakKey(subject_of(certificate))),
        _ => Ok(()),
    }
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    modulus.get(zeros).map_or(0, |first| (modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// The feature `status_request` of RFC 7633, better known as must-staple.
fn demands_staple(leaf: &X509Certificate<'_>) -> bool {
    const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 24];
    leaf.iter_extensions().filter(|extension| extension.oid.as_bytes() == TLS_FEATURE).any(|extension| {
        let Some(mut features) = der::Reader::only(extension.value, der::SEQUENCE) else {
            // Whatever it meant to demand, it was something.
            return !matches!(extension.parsed_extension(), ParsedExtension::Unparsed);
        };
        std::iter::from_fn(|| features.take(der::INTEGER)).any(|feature| feature == [5])
    })
}

impl fmt::Debug for UpstreamVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamVerifier({} roots)", self.roots.len())
    }
}

fn refused(refusal: Refusal) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}

impl ServerCertVerifier for UpstreamVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(leaf, intermediates, name, staple, now).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// One connection to a host for which the user has made an exception: what would be refused is noted and passes.
/// The server still has to prove that it holds the key of the certificate it shows.
#[derive(Debug)]
pub struct Excepted {
    verifier: Arc<UpstreamVerifier>,
    exception: AllowUntrusted,
    noted: Mutex<Option<String>>,
}

impl Excepted {
    pub fn new(verifier: Arc<UpstreamVerifier>, exception: AllowUntrusted) -> Self {
        Self { verifier, exception, noted: Mutex::new(None) }
    }

    /// What was overlooked on this connection, if anything was.
    pub fn noted(&self) -> Option<String> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Excepted {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Err(refusal) = self.verifier.judge(leaf, intermediates, name, staple, now) else {
            return Ok(ServerCertVerified::assertion());
        };
        if refusal.is_final() || !self.exception.holds(now.as_secs()) {
            return Err(refused(refusal));
        }
        if self.verifier.is_named_revoked(leaf) {
            let name = parse(leaf).map(|leaf| subject_of(&leaf)).unwrap_or_default();
            return Err(refused(Refusal::Revoked { name, by: "a CRL" }));
        }
        let fingerprint: String =
            <sha2::Sha256 as sha2::Digest>::digest(leaf).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!(
            "the upstream's certificate (SHA-256 {fingerprint}…) was accepted by the exception until {} although {refusal}",
            self.exception.until
        ));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;

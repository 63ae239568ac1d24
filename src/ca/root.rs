//! Makes a CA and reads one back: `DIR/ca.pem` and `DIR/ca.key`, or the files of one's own.
//!
//! Whatever is wrong with the files is said with the path and the way out; a CA that some verifier would
//! refuse is refused here first.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::leaf::{Issuer, key_id};
use super::scope::{Constraints, Scope};
use super::{CaError, Description, files};

/// With the day it is backdated within the 825 days that verifiers allow; a CA is made anew by `ca rotate`.
const LIFETIME: Duration = Duration::days(820);
const BACKDATED: Duration = Duration::days(1);
/// Far more than a chain of four certificates.
const FILE_LIMIT: u64 = 256 * 1024;

/// Where a state folder keeps its CA.
pub(super) struct Paths {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Paths {
    pub(super) fn in_state(state: &Path) -> Paths {
        Paths { certificate: state.join("ca.pem"), key: state.join("ca.key") }
    }
}

/// A CA as it was read or made. The key is in here and nowhere else, so no `Debug`.
pub(super) struct Root {
    pub(super) issuer: Issuer,
    pub(super) constraints: Constraints,
    /// The issuing certificate, then those above it.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) description: Description,
}

/// A new CA: its certificate and its key, PEM. Nothing is written.
pub(super) struct Created {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: KeyPair,
}

pub(super) fn create(scope: &Scope) -> Result<Created, CaError> {
    let mut id = [0; 4];
    getrandom::fill(&mut id).map_err(|_| CaError::Random)?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();

    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // Says which tool, which install and what for, and nothing of the person or machine: every client that
    // is intercepted gets to see it.
    params.distinguished_name.push(DnType::OrganizationName, "divulge");
    params.distinguished_name.push(DnType::OrganizationalUnitName, format!("scope {}", scope.label()));
    params.distinguished_name.push(DnType::CommonName, format!("divulge CA {id}"));
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + LIFETIME;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // For TLS servers alone: a stolen key signs neither mail nor programs.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = scope.constraints()?;

    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(CaError::Create)?;
    let certificate = params.self_signed(&key).map_err(CaError::Create)?.der().clone();
    Ok(Created { certificate, key })
}

/// Writes a new CA. The caller holds the folder's lock. The key goes first: a certificate that anybody could
/// have installed never lacks its key.
pub(super) fn write(paths: &Paths, created: &Created) -> Result<(), CaError> {
    files::write_private(&paths.key, created.key.serialize_pem().as_bytes())?;
    files::write_private(&paths.certificate, encode_pem(&created.certificate).as_bytes())
}

/// The issuing certificate of a state folder alone.
pub(super) fn read_certificate(paths: &Paths) -> Result<(CertificateDer<'static>, Description), CaError> {
    let damaged = || CaError::file(&paths.certificate, "is damaged", "`divulge ca rotate` makes a new CA");
    let der = CertificateDer::from_pem_slice(&read_bounded(&paths.certificate)?).map_err(|_| damaged())?;
    let mut constraints = Constraints::default();
    let certificate = parse(&der).map_err(|_| damaged())?;
    constraints.add(&certificate);
    let mut description = describe(&certificate, &der);
    description.permitted = constraints.permitted_names();
    description.unconstrained = constraints.is_free();
    drop(certificate);
    Ok((der, description))
}

/// Reads a CA back; `ours` are the files of a state folder, which are held to what this tool makes.
pub(super) fn read(paths: &Paths, ours: bool) -> Result<Root, CaError> {
    let fix = |own: &'static str| if ours { "`divulge ca rotate` makes a new CA" } else { own };
    let bad = |path: &Path, problem: &str, fix: &'static str| CaError::file(path, problem, fix);

    let text = read_bounded(&paths.certificate)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(|_| {
        bad(
            &paths.certificate,
            "is damaged: not PEM",
            fix("it must hold the CA certificate as PEM (BEGIN CERTIFICATE)"),
        )
    })?;
    if certificates.is_empty() {
        let problem = "holds no certificate (no BEGIN CERTIFICATE)";
        return Err(bad(&paths.certificate, problem, fix("it must hold the CA certificate as PEM")));
    }

    key_permissions(&paths.key, ours)?;
    let text = read_bounded(&paths.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let encrypted = text.windows(9).any(|w| w == b"ENCRYPTED");
        let problem = match error {
            _ if encrypted => "is encrypted",
            pem::Error::NoItemsFound => "holds no private key (no BEGIN PRIVATE KEY)",
            _ => "is damaged: not PEM",
        };
        bad(&paths.key, problem, fix("it must hold the key as plain PKCS#8 PEM (`openssl pkcs8 -topk8 -nocrypt`)"))
    })?;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|_| {
        bad(&paths.key, "is damaged or no key of a supported kind", fix("use ECDSA P-256 or P-384, RSA or Ed25519"))
    })?;

    assemble(certificates, key).map_err(|problem| bad(&paths.certificate, &problem, fix("give a CA that may sign")))
}

/// Puts a CA together, the issuing certificate first. The error is the problem, as a half sentence about
/// the certificate file.
pub(super) fn assemble(mut given: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Result<Root, String> {
    let public_key = key.public_key().ok_or("belongs to a key of an unsupported kind")?.to_vec();
    let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
    let mut constraints = Constraints::default();
    let mut issuer: Option<(Issuer, Description)> = None;
    let now = OffsetDateTime::now_utc();
    let mut sought: Option<Vec<u8>> = None;

    // From the certificate of the key upwards, in whatever order they stand in the file.
    loop {
        let found = given.iter().position(|der| {
            parse(der).is_ok_and(|certificate| match &sought {
                None => certificate.public_key().raw == public_key,
                Some(subject) => certificate.subject().as_raw() == &subject[..],
            })
        });
        let Some(found) = found else { break };
        let der = given.remove(found);
        let certificate = parse(&der)?;
        check(&certificate, certificates.len(), now)?;
        if let Some(below) = certificates.last() {
            let below = parse(below)?;
            below.verify_signature(Some(certificate.public_key())).map_err(|_| {
                format!("holds a broken chain: {} did not sign {}", certificate.subject(), below.subject())
            })?;
        }
        constraints.add(&certificate);
        let self_signed = certificate.subject().as_raw() == certificate.issuer().as_raw();
        if self_signed {
            certificate.verify_signature(None).map_err(|_| "is damaged: its signature does not fit".to_owned())?;
        }
        if issuer.is_none() {
            issuer = Some((issuer_of(&certificate, key.clone()), describe(&certificate, &der)));
        }
        if let Some((issuer, _)) = &mut issuer {
            // No verifier needs the root from us, it must hold it already.
            if !self_signed {
                issuer.chain.push(der.clone());
            }
            issuer.not_before = issuer.not_before.max(certificate.validity().not_before.to_datetime());
            issuer.not_after = issuer.not_after.min(certificate.validity().not_after.to_datetime());
        }
        sought = Some(certificate.issuer().as_raw().to_vec());
        drop(certificate);
        certificates.push(der);
        if self_signed {
            break;
        }
    }
    let Some((mut issuer, mut description)) = issuer else {
        for der in &given {
            parse(der)?;
        }
        return Err("does not belong to the private key".to_owned());
    };
    if let Some(stray) = given.first() {
        let stray = parse(stray)?;
        return Err(format!("also holds {}, which is not of the chain", stray.subject()));
    }
    issuer.without_subject = constraints.bind_subject;
    description.permitted = constraints.permitted_names();
    description.unconstrained = constraints.is_free();
    Ok(Root { issuer, constraints, certificates, description })
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err("is damaged: not a certificate".to_owned()),
    }
}

/// Whether verifiers will take `certificate` as an issuer with `below` CA certificates between it and leaves.
fn check(certificate: &X509Certificate<'_>, below: usize, now: OffsetDateTime) -> Result<(), String> {
    let twice = |_| "is damaged: an extension twice".to_owned();
    let name = certificate.subject();
    match certificate.basic_constraints().map_err(twice)?.map(|found| found.value) {
        Some(basic) if basic.ca => {
            if basic.path_len_constraint.is_some_and(|most| (most as usize) < below) {
                return Err(format!("holds {name}, whose path length forbids the CA below it"));
            }
        }
        _ => return Err(format!("holds {name}, which is not a CA (basicConstraints CA:TRUE)")),
    }
    if certificate.key_usage().map_err(twice)?.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(format!("holds {name}, which may not sign certificates (keyUsage without keyCertSign)"));
    }
    if certificate
        .extended_key_usage()
        .map_err(twice)?
        .is_some_and(|usage| !usage.value.server_auth && !usage.value.any)
    {
        return Err(format!("holds {name}, which may not be used for TLS servers (extendedKeyUsage)"));
    }
    certificate.name_constraints().map_err(twice)?;
    let validity = certificate.validity();
    if validity.not_after.to_datetime() <= now {
        return Err(format!("holds {name}, which expired on {}", validity.not_after.to_datetime().date()));
    }
    if validity.not_before.to_datetime() > now {
        let from = validity.not_before.to_datetime().date();
        return Err(format!("holds {name}, which is not valid before {from} (is the clock right?)"));
    }
    Ok(())
}

fn issuer_of(certificate: &X509Certificate<'_>, key: Arc<dyn SigningKey>) -> Issuer {
    let stated_id = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    let validity = certificate.validity();
    Issuer {
        key,
        subject: certificate.subject().as_raw().to_vec(),
        key_id: stated_id.unwrap_or_else(|| key_id(certificate.public_key().raw)),
        not_before: validity.not_before.to_datetime(),
        not_after: validity.not_after.to_datetime(),
        chain: Vec::new(),
        without_subject: false,
    }
}

/// All but the constraints, which are those of the whole chain.
fn describe(certificate: &X509Certificate<'_>, der: &CertificateDer<'static>) -> Description {
    let subject = certificate.subject();
    let unit = subject.iter_organizational_unit().find_map(|unit| unit.as_str().ok());
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok());
    Description {
        subject: subject.to_string(),
        name: name.unwrap_or_default().to_owned(),
        fingerprint: <sha2::Sha256 as sha2::Digest>::digest(der).into(),
        not_before: certificate.validity().not_before.to_datetime(),
        not_after: certificate.validity().not_after.to_datetime(),
        made_for_packs: unit == Some("scope packs"),
        permitted: None,
        unconstrained: false,
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, CaError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|source| CaError::io("cannot read", path, source))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(CaError::io("cannot read", path, io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    Ok(bytes)
}

/// A key that others can read is no longer a secret, and one that belongs to another user was put there.
#[cfg(unix)]
fn key_permissions(path: &Path, ours: bool) -> Result<(), CaError> {
    use std::os::unix::fs::MetadataExt;

    let found = fs::metadata(path).map_err(|source| CaError::io("cannot read", path, source))?;
    let me = nix::unistd::geteuid();
    if ours && !me.is_root() && found.uid() != me.as_raw() {
        let problem = format!("belongs to another user (uid {})", found.uid());
        return Err(CaError::file(path, &problem, "use a --state folder of your own"));
    }
    // Whose key it is decides how it is kept: one of the user's own is only warned about, as long as nobody
    // else can put another in its place. One that this tool made is never open.
    if !ours && found.mode() & 0o004 != 0 {
        tracing::warn!(key = %path.display(), mode = format_args!("{:04o}", found.mode() & 0o7777), "the CA key can be read by every user of this machine; `chmod 600` it");
    }
    let forbidden = if ours { 0o077 } else { 0o022 };
    if found.mode() & forbidden != 0 {
        let problem = format!("is open to others (mode {:04o})", found.mode() & 0o7777);
        return Err(CaError::file(
            path,
            &problem,
            "`chmod 600` it, and if others may have read it, make a new CA (`divulge ca rotate`)",
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn key_permissions(_: &Path, _: bool) -> Result<(), CaError> {
    Ok(())
}

/// RFC 7468, 64 characters a line.
pub fn encode_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;

    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 64);
    out.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

//! The CA that divulge shows to the clients it intercepts: made, kept, checked and used here and nowhere else.
//!
//! ```text
//! create or read (root) -> within scope? (scope) -> one leaf a host (leaf) -> TLS configuration
//! ```
//!
//! Private keys never leave this module: no type that holds one can be printed or copied, and the only file
//! ever written with one is `ca.key`, mode 0600. `docs/ca.md` says what users should know.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use time::{Date, OffsetDateTime};

mod der;
pub mod files;
mod leaf;
pub mod next;
mod root;
mod scope;
pub mod store;
mod trust_store;

pub use root::encode_pem;
pub use scope::Scope;
pub use trust_store::pkcs12;

use leaf::{Host, Leaves};
use root::{Paths, Root};
use scope::Constraints;

/// A CA with its key, ready to speak for hosts. Not to be printed or copied.
pub struct Authority {
    leaves: Leaves,
    constraints: Constraints,
    certificates: Vec<CertificateDer<'static>>,
    description: Description,
    pem: String,
}

/// What may be told of a CA.
#[derive(Clone, Debug)]
pub struct Description {
    /// `O=divulge, OU=scope packs, CN=divulge CA 1a2b3c4d`
    pub subject: String,
    /// `divulge CA 1a2b3c4d`
    pub name: String,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    /// Made with the scope `packs`, whatever hosts the packs named then.
    pub made_for_packs: bool,
    /// The DNS names it may speak for; `None` where names are not limited.
    pub permitted: Option<Vec<String>>,
    /// No name constraints at all.
    pub unconstrained: bool,
}

impl Description {
    /// `AB:CD:…`, as browsers and openssl print it.
    pub fn fingerprint_hex(&self) -> String {
        let bytes: Vec<String> = self.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }

    /// As `--ca-scope` takes it: `packs`, `any` or the suffixes.
    pub fn scope(&self) -> String {
        match &self.permitted {
            _ if self.made_for_packs => "packs".to_owned(),
            Some(names) => names.join(","),
            None if self.unconstrained => "any".to_owned(),
            None => "own constraints".to_owned(),
        }
    }

    /// Whether asking for `scope` asks for this CA.
    fn has(&self, scope: &Scope) -> Result<bool, CaError> {
        Ok(match scope {
            // The packs' hosts change with every release: a CA made for the packs stays one.
            Scope::Packs(_) => self.made_for_packs,
            Scope::Any => self.unconstrained,
            Scope::Suffix(_) => !self.made_for_packs && self.permitted.is_some() && self.permitted == scope.names()?,
        })
    }
}

impl Authority {
    /// A CA for one command: no constraints, and its key never touches the disk.
    pub fn in_memory() -> Result<Authority, CaError> {
        let created = root::create(&Scope::Any)?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(
            &rustls::pki_types::PrivatePkcs8KeyDer::from(created.key.serialize_der()).into(),
        )
        .map_err(CaError::Tls)?;
        let root = root::assemble(vec![created.certificate], key).map_err(CaError::Internal)?;
        Authority::of(root)
    }

    /// The CA of the folder `state`, made there if there is none: with the scope `asked` for, else with
    /// `otherwise`. Asking for another scope than the CA has is an error.
    ///
    /// Processes that race for a new folder all get the same CA.
    pub fn open_or_create(state: &Path, asked: Option<&Scope>, otherwise: &Scope) -> Result<Authority, CaError> {
        files::private_dir(state)?;
        let paths = Paths::in_state(state);
        let _lock = files::Lock::exclusive(state)?;
        next::take_over_in_time(state, OffsetDateTime::now_utc())?;
        if !paths.certificate.exists() {
            // A key alone was left by a process that died between the two files: nobody can trust its
            // certificate yet.
            root::write(&paths, &root::create(asked.unwrap_or(otherwise))?)?;
        }
        let authority = Authority::of(root::read(&paths, true)?)?;
        match asked {
            Some(scope) if !authority.description.has(scope)? => Err(CaError::OtherScope {
                path: paths.certificate,
                has: authority.description.scope(),
                asked: scope.to_string(),
            }),
            _ => Ok(authority),
        }
    }

    /// The CA of the folder `state`, if it has one.
    pub fn open(state: &Path) -> Result<Option<Authority>, CaError> {
        let paths = Paths::in_state(state);
        if !paths.certificate.exists() {
            return Ok(None);
        }
        let _lock = files::Lock::shared(state)?;
        Authority::of(root::read(&paths, true)?).map(Some)
    }

    /// The certificate of the folder `state`, whatever condition its key is in and whether it is still valid:
    /// to show it, and to take it out of trust stores.
    pub fn certificate_in(state: &Path) -> Result<Option<(CertificateDer<'static>, Description)>, CaError> {
        let paths = Paths::in_state(state);
        if !paths.certificate.exists() {
            return Ok(None);
        }
        root::read_certificate(&paths).map(Some)
    }

    /// A CA of one's own: `certificate` may hold its chain, and the constraints of each in it count.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Authority, CaError> {
        let paths = Paths { certificate: certificate.to_owned(), key: key.to_owned() };
        Authority::of(root::read(&paths, false)?)
    }

    /// Replaces the CA of `state`, whatever condition it is in, by a new one. The old key is gone after it, and a CA that was to
    /// follow.
    pub fn rotate(state: &Path, scope: &Scope) -> Result<Authority, CaError> {
        files::private_dir(state)?;
        let paths = Paths::in_state(state);
        let _lock = files::Lock::exclusive(state)?;
        next::discard(state)?;
        root::write(&paths, &root::create(scope)?)?;
        Authority::of(root::read(&paths, true)?)
    }

    /// Removes the CA of `state`, and whatever a crash left of making one. Says whether there was one.
    pub fn remove(state: &Path) -> Result<bool, CaError> {
        if !state.is_dir() {
            return Ok(false);
        }
        let paths = Paths::in_state(state);
        let _lock = files::Lock::exclusive(state)?;
        next::discard(state)?;
        Self::forget_before(state)?;
        // The certificate first: a key alone is what a half-made CA looks like, and is made anew.
        let certificate = files::remove(&paths.certificate)?;
        let key = files::remove(&paths.key)?;
        Ok(certificate || key)
    }

    fn of(root: Root) -> Result<Authority, CaError> {
        let pem = root.certificates.iter().map(root::encode_pem).collect();
        Ok(Authority {
            leaves: Leaves::new(root.issuer)?,
            constraints: root.constraints,
            certificates: root.certificates,
            description: root.description,
            pem,
        })
    }

    /// What clients must trust, PEM: the CA certificate, and above it those of its chain.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The CA certificate, then those of its chain.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Whether a leaf for `host` would be within the CA's name constraints. A host that is not is tunnelled.
    pub fn permits(&self, host: &str) -> bool {
        match Host::read(host) {
            Some(host) => self.permits_host(&host),
            None => false,
        }
    }

    fn permits_host(&self, host: &Host<'_>) -> bool {
        match host {
            Host::Name(name) => self.constraints.permit_name(name),
            Host::Address(address) => self.constraints.permit_address(*address),
        }
    }

    /// The TLS side that a client of `host` meets, offering `alpn` alone (or none). Kept: asking again is a
    /// lookup, and every configuration resumes sessions.
    pub fn server_config(&self, host: &str, alpn: Option<&'static [u8]>) -> Result<Arc<ServerConfig>, CaError> {
        let Some(read) = Host::read(host) else { return Err(CaError::Host { host: host.to_owned() }) };
        if !self.permits_host(&read) {
            return Err(CaError::OutOfScope { host: host.to_owned(), scope: self.description.scope() });
        }
        self.leaves.config(&read, alpn)
    }
}

#[cfg(test)]
impl Authority {
    /// What follows a leaf in the handshake.
    fn leaves_chain(&self) -> Vec<CertificateDer<'static>> {
        self.leaves.chain().to_vec()
    }

    /// A leaf for `host` whatever the scope, to see others refuse it.
    pub(crate) fn leaf_past_scope(&self, host: &str) -> CertificateDer<'static> {
        let host = Host::read(host).unwrap();
        let now = OffsetDateTime::now_utc();
        self.leaves.certificate(&host, now - time::Duration::DAY, now + time::Duration::DAY).unwrap()
    }
}

/// Whether a certificate is of a CA that divulge made, here or elsewhere: it says so itself.
pub fn is_one_of_ours(der: &CertificateDer<'_>) -> bool {
    use x509_parser::prelude::FromDer;
    x509_parser::certificate::X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
        let name = certificate.subject();
        let is = |part: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>, fits: fn(&str) -> bool| {
            part.and_then(|part| part.as_str().ok()).is_some_and(fits)
        };
        is(name.iter_organization().next(), |text| text == "divulge")
            && is(name.iter_common_name().next(), |text| text.starts_with("divulge CA "))
    })
}

/// Keeps this process's memory, and so the CA's key, out of core dumps and from other processes of the user.
#[cfg(target_os = "linux")]
pub fn protect_memory() {
    // Not being able to is no reason not to run: the kernel's default already keeps other users out.
    let _ = nix::sys::prctl::set_dumpable(false);
}

#[cfg(not(target_os = "linux"))]
pub fn protect_memory() {}

/// What is wrong with a CA, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("{what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} {problem}: {fix}", path.display())]
    File { path: PathBuf, problem: String, fix: &'static str },
    #[error("{} can be written by every user: `chmod 700` it or choose another --state", path.display())]
    OpenDir { path: PathBuf },
    #[error(
        "{} has the scope {has}, not {asked}: `divulge ca rotate --ca-scope {asked}` replaces it", path.display()
    )]
    OtherScope { path: PathBuf, has: String, asked: String },
    #[error("scope {asked:?}: {reason} (expected `packs`, `any` or a DNS suffix such as example.com)")]
    Scope { asked: String, reason: &'static str },
    #[error("{host:?} is neither a DNS name nor an address")]
    Host { host: String },
    #[error("{host} is outside the scope of the CA ({scope})")]
    OutOfScope { host: String, scope: String },
    #[error("the CA is valid until {until} and not now: `divulge ca rotate` makes a new one")]
    Expired { until: Date },
    #[error("the CA's key is of a kind that cannot sign certificates: use ECDSA, RSA or Ed25519")]
    KeyKind,
    #[error("the key does not tell its public half")]
    NoPublicKey,
    #[error("the system gives no random numbers")]
    Random,
    #[error("cannot make a certificate")]
    Create(#[source] rcgen::Error),
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("the new CA {0}")]
    Internal(String),
}

impl CaError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> CaError {
        CaError::Io { what, path: path.to_owned(), source }
    }

    fn file(path: &Path, problem: &str, fix: &'static str) -> CaError {
        CaError::File { path: path.to_owned(), problem: problem.to_owned(), fix }
    }
}

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(all(test, unix))]
mod tests;

//! Issues a certificate for one host and keeps it as a ready TLS configuration.
//!
//! A hit is one lookup without allocation; a miss is one signature, by one thread however many wait for the
//! same host. All leaves of a process share one key, which is never the CA's.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{AlgorithmIdentifier, CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, alg_id};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{SignatureScheme, version};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::CaError;
use super::der;
use super::scope::is_dns_name;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Long enough to outlive any one connection, short enough that a leaked leaf is soon worth nothing.
const LIFETIME: Duration = DAY.saturating_mul(7);
/// Clients' clocks run behind ours.
const BACKDATED: Duration = DAY;
/// Ready configurations held; beyond it the least useful go and are minted again when asked for.
const CACHED: usize = 4096;

/// A host as certificates name it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Host<'a> {
    /// Lower case, no trailing dot.
    Name(Cow<'a, str>),
    Address(IpAddr),
}

impl<'a> Host<'a> {
    /// Reads `example.com`, `EXAMPLE.com.`, `192.0.2.1`, `2001:db8::1` or `[2001:db8::1]`.
    pub(super) fn read(text: &'a str) -> Option<Host<'a>> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        // A zone (`fe80::1%eth0`, RFC 6874) has meaning on this machine only and no place in a certificate.
        let unzoned = bare.split_once('%').map_or(bare, |(address, _)| address);
        if let Ok(v6) = unzoned.parse::<Ipv6Addr>() {
            return Some(Host::Address(IpAddr::V6(v6)));
        }
        if bare.len() != text.len() {
            return None;
        }
        if let Ok(address) = text.parse() {
            return Some(Host::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if !is_dns_name(name) {
            return None;
        }
        Some(Host::Name(if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        }))
    }
}

/// What signs leaves: the CA's key and those of its bytes that stand in every leaf.
pub(super) struct Issuer {
    pub(super) key: Arc<dyn SigningKey>,
    /// The subject, DER, as the CA certificate spells it.
    pub(super) subject: Vec<u8>,
    /// The subject key identifier.
    pub(super) key_id: Vec<u8>,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    /// The issuing certificate and those above it, without a self-signed root: what follows a leaf.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Leaves bear no subject, because a constraint on directory names would bind it.
    pub(super) without_subject: bool,
}

/// Mints leaves and keeps them.
pub(super) struct Leaves {
    issuer: Issuer,
    key: Arc<dyn SigningKey>,
    public_key: Vec<u8>,
    key_id: Vec<u8>,
    provider: Arc<CryptoProvider>,
    /// All of a configuration but its certificate and protocol: cipher suites, versions, the ticket keys.
    template: ServerConfig,
    ready: Cache<Key, Ready>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    host: Box<str>,
    alpn: Option<&'static [u8]>,
}

/// The same, borrowed; the fields and so the hash are those of [`Key`].
#[derive(Hash)]
struct KeyRef<'a> {
    host: &'a str,
    alpn: Option<&'static [u8]>,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.host == *key.host && self.alpn == key.alpn
    }
}

#[derive(Clone)]
struct Ready {
    config: Arc<ServerConfig>,
    /// Used between these: a clock that was set back makes a leaf invalid as surely as one that ran on.
    from: SystemTime,
    until: SystemTime,
}

impl Ready {
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.from <= now && now < self.until
    }
}

impl Leaves {
    pub(super) fn new(issuer: Issuer) -> Result<Leaves, CaError> {
        let provider = Arc::new(crate::suites::provider());
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(CaError::Create)?;
        let key = provider
            .key_provider
            .load_private_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der())))
            .map_err(CaError::Tls)?;
        let public_key = key.public_key().ok_or(CaError::NoPublicKey)?.to_vec();
        let key_id = key_id(&public_key);
        let mut template = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(CaError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NoLeaf));
        // Tickets resume without a store, so thousands of hosts cost no session memory. A ticket of one host
        // does not resume another: rustls compares the server name it was given out for.
        template.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(CaError::Tls)?;
        template.session_storage = Arc::new(NoServerSessionStorage {});
        // Node and OpenSSL put AES-256 with SHA-384 first for no reason of theirs.
        template.ignore_client_order = true;
        if let Some(log) = crate::key_log::of_environment() {
            template.key_log = log;
        }
        Ok(Leaves { issuer, key, public_key, key_id, provider, template, ready: Cache::new(CACHED) })
    }

    /// `text` is the host as the client named it and `host` the same, read.
    pub(super) fn config(&self, host: &Host<'_>, alpn: Option<&'static [u8]>) -> Result<Arc<ServerConfig>, CaError> {
        self.config_at(host, alpn, SystemTime::now())
    }

    /// The clock may have been set since a leaf was made, either way.
    pub(super) fn config_at(
        &self,
        host: &Host<'_>,
        alpn: Option<&'static [u8]>,
        now: SystemTime,
    ) -> Result<Arc<ServerConfig>, CaError> {
        let printed;
        let name = match host {
            Host::Name(name) => name.as_ref(),
            Host::Address(address) => {
                printed = address.to_string();
                printed.as_str()
            }
        };
        let key = KeyRef { host: name, alpn };
        if let Some(ready) = self.ready.get(&key) {
            if ready.is_fresh(now) {
                return Ok(ready.config);
            }
            self.ready.remove_if(&key, |ready| !ready.is_fresh(now));
        }
        let key = Key { host: name.into(), alpn };
        self.ready.get_or_insert_with(&key, || self.mint(host, alpn, now)).map(|ready| ready.config)
    }

    fn mint(&self, host: &Host<'_>, alpn: Option<&'static [u8]>, now: SystemTime) -> Result<Ready, CaError> {
        let at = OffsetDateTime::from(now);
        if at >= self.issuer.not_after || at < self.issuer.not_before {
            return Err(CaError::Expired { until: self.issuer.not_after.date() });
        }
        // Some verifiers want a leaf's validity inside its issuer's.
        let not_before = (at - BACKDATED).max(self.issuer.not_before);
        let not_after = (at + LIFETIME).min(self.issuer.not_after);
        let leaf = self.certificate(host, not_before, not_after)?;

        let mut chain = Vec::with_capacity(1 + self.issuer.chain.len());
        chain.push(leaf);
        chain.extend(self.issuer.chain.iter().cloned());
        let mut config = self.template.clone();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, self.key.clone())));
        config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();

        // Renewed after five sevenths of what is left, however little that is.
        let left = Duration::try_from(not_after - at).unwrap_or_default();
        let from = SystemTime::from(not_before) + DAY.min(BACKDATED) / 2;
        Ok(Ready { config: Arc::new(config), from: from.min(now), until: now + left * 5 / 7 })
    }

    /// RFC 5280, 4.1.
    pub(super) fn certificate(
        &self,
        host: &Host<'_>,
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<CertificateDer<'static>, CaError> {
        let (signer, algorithm) = SIGNATURES
            .iter()
            .find_map(|(scheme, algorithm)| Some((self.issuer.key.choose_scheme(&[*scheme])?, algorithm)))
            .ok_or(CaError::KeyKind)?;
        let algorithm = der::value(der::SEQUENCE, &[algorithm.as_ref()]);

        // Random, because all leaves share one key: NSS refuses two certificates of one issuer and serial.
        let mut serial = [0; 16];
        self.provider.secure_random.fill(&mut serial).map_err(|_| CaError::Random)?;
        // Positive and without a leading zero byte.
        serial[0] = serial[0] & 0x3f | 0x40;

        let subject = match host {
            // CN is bounded to 64 characters (RFC 5280, appendix A.1).
            Host::Name(name) if !self.issuer.without_subject && name.len() <= 64 => common_name(name),
            _ => der::value(der::SEQUENCE, &[]),
        };
        let nameless = subject.len() == 2;
        let alternative = match host {
            Host::Name(name) => der::value(der::implicit(2), &[name.as_bytes()]),
            Host::Address(IpAddr::V4(v4)) => der::value(der::implicit(7), &[&v4.octets()]),
            Host::Address(IpAddr::V6(v6)) => der::value(der::implicit(7), &[&v6.octets()]),
        };
        let extensions = der::value(
            der::SEQUENCE,
            &[
                // Critical where the subject is empty (RFC 5280, 4.2.1.6).
                &der::extension(&[0x55, 0x1d, 0x11], nameless, &der::value(der::SEQUENCE, &[&alternative])),
                // digitalSignature
                &der::extension(&[0x55, 0x1d, 0x0f], true, &[der::BIT_STRING, 2, 7, 0x80]),
                // serverAuth
                &der::extension(
                    &[0x55, 0x1d, 0x25],
                    false,
                    &der::value(
                        der::SEQUENCE,
                        &[&der::value(der::OID, &[&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01]])],
                    ),
                ),
                // Not a CA.
                &der::extension(&[0x55, 0x1d, 0x13], true, &der::value(der::SEQUENCE, &[])),
                &der::extension(&[0x55, 0x1d, 0x0e], false, &der::value(der::OCTET_STRING, &[&self.key_id])),
                &der::extension(
                    &[0x55, 0x1d, 0x23],
                    false,
                    &der::value(der::SEQUENCE, &[&der::value(der::implicit(0), &[&self.issuer.key_id])]),
                ),
            ],
        );
        let body = der::value(
            der::SEQUENCE,
            &[
                &der::value(der::explicit(0), &[&[der::INTEGER, 1, 2]]),
                &der::value(der::INTEGER, &[&serial]),
                &algorithm,
                &self.issuer.subject,
                &der::value(der::SEQUENCE, &[&der::instant(not_before), &der::instant(not_after)]),
                &subject,
                &self.public_key,
                &der::value(der::explicit(3), &[&extensions]),
            ],
        );
        let signature = signer.sign(&body).map_err(CaError::Tls)?;
        Ok(der::value(der::SEQUENCE, &[&body, &algorithm, &der::bits(&signature)]).into())
    }
}

#[cfg(test)]
impl Leaves {
    pub(super) fn cached(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.issuer.chain
    }

    /// Makes all that is kept older by `by`.
    pub(super) fn age(&self, by: Duration) {
        for (key, ready) in self.ready.iter() {
            self.ready.insert(key, Ready { from: ready.from - by, until: ready.until - by, ..ready });
        }
    }
}

/// The signatures a CA key can make, one for each kind of key.
const SIGNATURES: [(SignatureScheme, AlgorithmIdentifier); 5] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, alg_id::ECDSA_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, alg_id::ECDSA_SHA384),
    (SignatureScheme::ECDSA_NISTP521_SHA512, alg_id::ECDSA_SHA512),
    (SignatureScheme::RSA_PKCS1_SHA256, alg_id::RSA_PKCS1_SHA256),
    (SignatureScheme::ED25519, alg_id::ED25519),
];

/// `CN=name`
fn common_name(name: &str) -> Vec<u8> {
    let value = der::value(der::UTF8_STRING, &[name.as_bytes()]);
    let attribute = der::value(der::SEQUENCE, &[&der::value(der::OID, &[&[0x55, 0x04, 0x03]]), &value]);
    der::value(der::SEQUENCE, &[&der::value(der::SET, &[&attribute])])
}

/// RFC 7093, method 4: the leftmost 160 bits of the SHA-256 of the SubjectPublicKeyInfo.
pub(super) fn key_id(public_key_info: &[u8]) -> Vec<u8> {
    Sha256::digest(public_key_info)[..20].to_vec()
}

/// Stands in the template, which never serves.
#[derive(Debug)]
struct NoLeaf;

impl rustls::server::ResolvesServerCert for NoLeaf {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_certificates_name_it() {
        let name = |text| Some(Host::Name(Cow::Borrowed(text)));
        let address = |text: &str| Some(Host::Address(text.parse().unwrap()));
        for (text, expected) in [
            ("api.example.com", name("api.example.com")),
            ("API.Example.com.", name("api.example.com")),
            ("under_score.example.com", name("under_score.example.com")),
            ("localhost", name("localhost")),
            ("192.0.2.7", address("192.0.2.7")),
            ("2001:db8::7", address("2001:db8::7")),
            ("[2001:db8::7]", address("2001:db8::7")),
            ("fe80::1%eth0", address("fe80::1")),
            ("[fe80::1%25eth0]", address("fe80::1")),
            ("[192.0.2.7]", None),
            ("[example.com]", None),
            ("", None),
            (".", None),
            ("a..example.com", None),
            ("*.example.com", None),
            ("exa mple.com", None),
            ("example.com\0.evil.example", None),
            ("ex\u{e4}mple.com", None),
        ] {
            assert_eq!(Host::read(text), expected, "{text:?}");
        }
    }
}

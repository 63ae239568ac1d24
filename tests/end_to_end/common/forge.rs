//! Certificates, revocation lists and OCSP responses down to the byte, most of which no honest library makes.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use sha2::Digest;
use time::{Duration, OffsetDateTime};
use x509_parser::num_bigint::BigUint;

pub mod oid {
    pub const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    pub const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
    pub const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
    pub const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
    pub const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
    pub const DELTA_CRL: &[u8] = &[0x55, 0x1d, 27];
    pub const DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
    pub const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
    pub const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
    pub const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 24];
    pub const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
    pub const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
    pub const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
    pub const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
    pub const OCSP_BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
    pub const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
    /// Nobody's.
    pub const UNKNOWN: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x7f, 1];
}

pub const SEQUENCE: u8 = 0x30;

/// One DER value.
pub fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        let digits: Vec<u8> = content.len().to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | digits.len() as u8);
        out.extend(digits);
    }
    out.extend(content);
    out
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    der(SEQUENCE, parts)
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    der(0x03, &[&[0], bytes])
}

/// A positive INTEGER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if bytes.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    der(0x02, &[sign, bytes])
}

fn generalized(at: OffsetDateTime) -> Vec<u8> {
    let (date, clock) = (at.date(), at.time());
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
    der(0x18, &[text.as_bytes()])
}

/// RFC 5280, 4.1.2.5: two digits of the year until 2049.
fn instant(at: OffsetDateTime) -> Vec<u8> {
    let long = generalized(at);
    der(0x17, &[&long[4..]])
}

/// `CN=name`
pub fn name(common: &str) -> Vec<u8> {
    let attribute = sequence(&[&der(0x06, &[oid::COMMON_NAME]), &der(0x0c, &[common.as_bytes()])]);
    sequence(&[&der(0x31, &[&attribute])])
}

pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub fn days(count: i64) -> Duration {
    Duration::days(count)
}

/// A digest as signatures name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hash {
    Sha256,
    Sha1,
    Md5,
}

pub enum Key {
    Ec(EcdsaKeyPair),
    Rsa(Rsa),
}

/// Textbook RSA: what a library refuses to do, with keys of which no secret depends.
pub struct Rsa {
    modulus: BigUint,
    private: BigUint,
}

impl Rsa {
    fn bytes(&self) -> usize {
        self.modulus.bits().div_ceil(8) as usize
    }

    fn raise(&self, block: &[u8]) -> Vec<u8> {
        let signature = BigUint::from_bytes_be(block).modpow(&self.private, &self.modulus).to_bytes_be();
        [vec![0; self.bytes() - signature.len()], signature].concat()
    }

    /// RFC 8017, 9.2.
    fn sign_pkcs1(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        let (algorithm, digest): (&[u8], Vec<u8>) = match hash {
            Hash::Sha256 => (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], sha2::Sha256::digest(message).to_vec()),
            Hash::Sha1 => (oid::SHA1, sha1::Sha1::digest(message).to_vec()),
            Hash::Md5 => (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5], md5::Md5::digest(message).to_vec()),
        };
        let info = sequence(&[&sequence(&[&der(0x06, &[algorithm]), &[5, 0]]), &der(0x04, &[&digest])]);
        let padding = vec![0xff; self.bytes() - info.len() - 3];
        self.raise(&[&[0, 1], &padding[..], &[0], &info].concat())
    }

    /// RFC 8017, 9.1.1, with SHA-256 and no salt, whose length verifiers of TLS want to be that of the digest: so
    /// a salt of zeros.
    fn sign_pss(&self, message: &[u8]) -> Vec<u8> {
        let digest = |bytes: &[u8]| sha2::Sha256::digest(bytes).to_vec();
        let salt = [0; 32];
        let hash = digest(&[&[0; 8][..], &digest(message), &salt].concat());
        let mut block = vec![0; self.bytes() - 32 - 1 - 32 - 1];
        block.push(1);
        block.extend(salt);
        let mask = (0u32..).flat_map(|count| digest(&[&hash[..], &count.to_be_bytes()].concat()));
        block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        block[0] &= 0x7f;
        self.raise(&[&block[..], &hash, &[0xbc]].concat())
    }
}

impl Key {
    pub fn ec() -> Arc<Key> {
        Arc::new(Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()))
    }

    /// From a PKCS#8 file of P-256.
    pub fn ec_of(pkcs8: &[u8]) -> Arc<Key> {
        Arc::new(Key::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).unwrap()))
    }

    pub fn rsa_2048() -> Arc<Key> {
        static KEY: OnceLock<Arc<Key>> = OnceLock::new();
        KEY.get_or_init(|| Self::rsa(N_2048, D_2048)).clone()
    }

    pub fn rsa_1024() -> Arc<Key> {
        static KEY: OnceLock<Arc<Key>> = OnceLock::new();
        KEY.get_or_init(|| Self::rsa(N_1024, D_1024)).clone()
    }

    fn rsa(modulus: &str, private: &str) -> Arc<Key> {
        let read = |text: &str| BigUint::parse_bytes(text.as_bytes(), 16).unwrap();
        Arc::new(Key::Rsa(Rsa { modulus: read(modulus), private: read(private) }))
    }

    /// The SubjectPublicKeyInfo.
    fn public(&self) -> Vec<u8> {
        match self {
            Key::Ec(key) => {
                let algorithm = sequence(&[
                    &der(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]]),
                    &der(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]]),
                ]);
                sequence(&[&algorithm, &bits(key.public_key().as_ref())])
            }
            Key::Rsa(key) => {
                let algorithm = sequence(&[&der(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]]), &[5, 0]]);
                let key = sequence(&[&integer(&key.modulus.to_bytes_be()), &integer(&[1, 0, 1])]);
                sequence(&[&algorithm, &bits(&key)])
            }
        }
    }

    fn algorithm(&self, hash: Hash) -> Vec<u8> {
        match (self, hash) {
            (Key::Ec(_), Hash::Sha256) => sequence(&[&der(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])]),
            (Key::Ec(_), _) => panic!("ECDSA signs with SHA-256 here"),
            (Key::Rsa(_), hash) => {
                let last = match hash {
                    Hash::Md5 => 4,
                    Hash::Sha1 => 5,
                    Hash::Sha256 => 11,
                };
                sequence(&[&der(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last]]), &[5, 0]])
            }
        }
    }

    fn sign(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        match self {
            Key::Ec(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Key::Rsa(key) => key.sign_pkcs1(hash, message),
        }
    }

    /// `SEQUENCE { message, algorithm, signature }`: certificates, lists and responses alike.
    fn signed(&self, hash: Hash, message: &[u8], behind: &[u8]) -> Vec<u8> {
        sequence(&[message, &self.algorithm(hash), &bits(&self.sign(hash, message)), behind])
    }
}

/// A certificate that is still to be signed.
#[derive(Clone)]
pub struct Draft {
    /// 2 is version 3; none at all is version 1.
    pub version: Option<u8>,
    pub serial: Vec<u8>,
    pub subject: Vec<u8>,
    pub from: OffsetDateTime,
    pub until: OffsetDateTime,
    /// OID, critical, content.
    pub extensions: Vec<(&'static [u8], bool, Vec<u8>)>,
    pub hash: Hash,
    pub key: Arc<Key>,
}

/// A signed certificate, and its key.
#[derive(Clone)]
pub struct Made {
    pub der: Vec<u8>,
    pub subject: Vec<u8>,
    pub serial: Vec<u8>,
    pub key: Arc<Key>,
}

impl Draft {
    fn new(subject: &str, key: Arc<Key>) -> Draft {
        let mut serial: [u8; 12] = std::array::from_fn(|_| 0);
        aws_lc_rs::rand::fill(&mut serial).unwrap();
        serial[0] = serial[0] & 0x3f | 0x40;
        let (from, until) = (now() - days(2), now() + days(30));
        let subject = name(subject);
        let serial = serial.to_vec();
        Draft { version: Some(2), serial, subject, from, until, extensions: Vec::new(), hash: Hash::Sha256, key }
    }

    /// A good server's certificate for `hosts`: names, addresses and patterns.
    pub fn leaf(hosts: &[&str]) -> Draft {
        Draft::new("server", Key::ec())
            .names(hosts)
            .put(oid::BASIC_CONSTRAINTS, true, sequence(&[]))
            .put(oid::KEY_USAGE, true, vec![3, 2, 7, 0x80])
            .usages(&[oid::SERVER_AUTH])
    }

    /// A good CA.
    pub fn ca(subject: &str) -> Draft {
        Draft::new(subject, Key::ec()).put(oid::BASIC_CONSTRAINTS, true, sequence(&[&[1, 1, 0xff]])).put(
            oid::KEY_USAGE,
            true,
            vec![3, 2, 1, 6],
        )
    }

    /// With this extension, in the place of an earlier one of its kind.
    pub fn put(mut self, oid: &'static [u8], critical: bool, content: Vec<u8>) -> Draft {
        self.extensions.retain(|(kept, ..)| *kept != oid);
        self.extensions.push((oid, critical, content));
        self
    }

    pub fn without(mut self, oid: &'static [u8]) -> Draft {
        self.extensions.retain(|(kept, ..)| *kept != oid);
        self
    }

    /// With these alternative names, of the types that they look like.
    pub fn names(self, hosts: &[&str]) -> Draft {
        let names: Vec<u8> = hosts
            .iter()
            .flat_map(|host| match host.parse() {
                Ok(IpAddr::V4(v4)) => der(0x87, &[&v4.octets()]),
                Ok(IpAddr::V6(v6)) => der(0x87, &[&v6.octets()]),
                Err(_) => der(0x82, &[host.as_bytes()]),
            })
            .collect();
        self.put(oid::SUBJECT_ALT_NAME, false, sequence(&[&names]))
    }

    pub fn usages(self, usages: &[&[u8]]) -> Draft {
        let list: Vec<u8> = usages.iter().flat_map(|usage| der(0x06, &[usage])).collect();
        self.put(oid::EXTENDED_KEY_USAGE, false, sequence(&[&list]))
    }

    pub fn path_length(self, most: u8) -> Draft {
        self.put(oid::BASIC_CONSTRAINTS, true, sequence(&[&[1, 1, 0xff], &[2, 1, most]]))
    }

    /// Name constraints: the GeneralNames of what is permitted and of what is excluded.
    pub fn constraints(self, permitted: &[Vec<u8>], excluded: &[Vec<u8>]) -> Draft {
        let trees = |tag: u8, list: &[Vec<u8>]| match list {
            [] => Vec::new(),
            list => der(
                tag,
                &list
                    .iter()
                    .map(|base| sequence(&[base]))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(Vec::as_slice)
                    .collect::<Vec<_>>(),
            ),
        };
        let content = sequence(&[&trees(0xa0, permitted), &trees(0xa1, excluded)]);
        self.put(oid::NAME_CONSTRAINTS, true, content)
    }

    /// Demands a stapled response (RFC 7633).
    pub fn must_staple(self) -> Draft {
        self.put(oid::TLS_FEATURE, false, sequence(&[&[2, 1, 5]]))
    }

    pub fn subject(mut self, common: &str) -> Draft {
        self.subject = name(common);
        self
    }

    pub fn key(mut self, key: Arc<Key>) -> Draft {
        self.key = key;
        self
    }

    pub fn hash(mut self, hash: Hash) -> Draft {
        self.hash = hash;
        self
    }

    pub fn version(mut self, version: Option<u8>) -> Draft {
        self.version = version;
        if version.is_none() {
            self.extensions.clear();
        }
        self
    }

    /// Valid from so many days from now, until so many.
    pub fn valid(mut self, from: i64, until: i64) -> Draft {
        self.from = now() + days(from);
        self.until = now() + days(until);
        self
    }

    pub fn by(self, issuer: &Made) -> Made {
        let (subject, key) = (issuer.subject.clone(), issuer.key.clone());
        self.signed(&subject, &key)
    }

    pub fn by_itself(self) -> Made {
        let (subject, key) = (self.subject.clone(), self.key.clone());
        self.signed(&subject, &key)
    }

    fn signed(self, issuer: &[u8], key: &Key) -> Made {
        let version = self.version.map(|version| der(0xa0, &[&[2, 1, version]])).unwrap_or_default();
        let list: Vec<u8> =
            self.extensions.iter().flat_map(|(oid, critical, content)| extension(oid, *critical, content)).collect();
        let extensions = if list.is_empty() { Vec::new() } else { der(0xa3, &[&sequence(&[&list])]) };
        let body = sequence(&[
            &version,
            &integer(&self.serial),
            &key.algorithm(self.hash),
            issuer,
            &sequence(&[&instant(self.from), &instant(self.until)]),
            &self.subject,
            &self.key.public(),
            &extensions,
        ]);
        let der = key.signed(self.hash, &body, &[]);
        Made { der, subject: self.subject, serial: self.serial, key: self.key }
    }
}

pub fn extension(oid: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[&der(0x06, &[oid]), critical, &der(0x04, &[content])])
}

impl Made {
    /// With one bit of the signature turned over.
    pub fn tampered(mut self) -> Made {
        let at = self.der.len() - 8;
        self.der[at] ^= 1;
        self
    }

    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// A revocation list of this CA that names `revoked`.
    pub fn crl(&self, revoked: &[&[u8]], from: i64, until: i64) -> Vec<u8> {
        self.crl_with(revoked, from, until, &extension(oid::CRL_NUMBER, false, &integer(&[1])))
    }

    /// With these extensions; without any it is of version 1.
    pub fn crl_with(&self, revoked: &[&[u8]], from: i64, until: i64, extensions: &[u8]) -> Vec<u8> {
        let entries: Vec<u8> =
            revoked.iter().flat_map(|serial| sequence(&[&integer(serial), &instant(now() - days(1))])).collect();
        let entries = if entries.is_empty() { Vec::new() } else { sequence(&[&entries]) };
        let (version, extensions) = match extensions {
            [] => (Vec::new(), Vec::new()),
            list => (integer(&[1]), der(0xa0, &[&sequence(&[list])])),
        };
        let body = sequence(&[
            &version,
            &self.key.algorithm(Hash::Sha256),
            &self.subject,
            &instant(now() + days(from)),
            &instant(now() + days(until)),
            &entries,
            &extensions,
        ]);
        self.key.signed(Hash::Sha256, &body, &[])
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What an OCSP response says.
#[derive(Clone, Copy)]
pub enum Said {
    Good,
    Revoked,
    Unknown,
}

/// An OCSP response about `certificate` of `issuer`.
pub struct Response<'a> {
    pub certificate: &'a Made,
    pub issuer: &'a Made,
    pub said: Said,
    pub from: i64,
    pub until: i64,
    /// Who signs it, where it is not the issuer, and whether it brings its certificate along.
    pub responder: Option<&'a Made>,
}

impl<'a> Response<'a> {
    pub fn new(certificate: &'a Made, issuer: &'a Made, said: Said) -> Self {
        Self { certificate, issuer, said, from: -1, until: 5, responder: None }
    }

    pub fn valid(mut self, from: i64, until: i64) -> Self {
        (self.from, self.until) = (from, until);
        self
    }

    pub fn signed_by(mut self, responder: &'a Made) -> Self {
        self.responder = Some(responder);
        self
    }

    pub fn der(self) -> Vec<u8> {
        let key = match &*self.issuer.key {
            Key::Ec(key) => key.public_key().as_ref().to_vec(),
            Key::Rsa(_) => panic!("issuers of responses are of EC here"),
        };
        let digest = |bytes: &[u8]| der(0x04, &[&sha1::Sha1::digest(bytes)]);
        let id = sequence(&[
            &sequence(&[&der(0x06, &[oid::SHA1]), &[5, 0]]),
            &digest(&self.issuer.subject),
            &digest(&key),
            &integer(&self.certificate.serial),
        ]);
        let status = match self.said {
            Said::Good => vec![0x80, 0],
            Said::Revoked => der(0xa1, &[&generalized(now() - days(1))]),
            Said::Unknown => vec![0x82, 0],
        };
        let from = generalized(now() + days(self.from));
        let until = der(0xa0, &[&generalized(now() + days(self.until))]);
        let signer = self.responder.unwrap_or(self.issuer);
        let data =
            sequence(&[&der(0xa1, &[&signer.subject]), &from, &sequence(&[&sequence(&[&id, &status, &from, &until])])]);
        let certificates = match self.responder {
            Some(responder) => der(0xa0, &[&sequence(&[&responder.der])]),
            None => Vec::new(),
        };
        let basic = signer.key.signed(Hash::Sha256, &data, &certificates);
        let typed = sequence(&[&der(0x06, &[oid::OCSP_BASIC]), &der(0x04, &[&basic])]);
        sequence(&[&[0x0a, 1, 0], &der(0xa0, &[&typed])])
    }
}

/// A server that shows `chain`, proves `key` and staples `staple`, whatever these are worth.
pub fn server(chain: &[Vec<u8>], key: &Arc<Key>, staple: Option<Vec<u8>>) -> Arc<rustls::ServerConfig> {
    let signer: Arc<dyn SigningKey> = match &**key {
        Key::Ec(pair) => {
            let pkcs8 = pair.to_pkcs8v1().unwrap();
            let key = PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()).into();
            rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).unwrap()
        }
        Key::Rsa(_) => Arc::new(Textbook(key.clone())),
    };
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let shown = CertifiedKey { cert: chain, key: signer, ocsp: staple };
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// RSA of any length in TLS 1.3.
#[derive(Clone)]
struct Textbook(Arc<Key>);

impl std::fmt::Debug for Textbook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Textbook")
    }
}

impl SigningKey for Textbook {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::RSA_PSS_SHA256).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for Textbook {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        match &*self.0 {
            Key::Rsa(key) => Ok(key.sign_pss(message)),
            Key::Ec(_) => Err(rustls::Error::General("not RSA".into())),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}

// Two keys that guard nothing: made for this file, and known to whoever reads it.
const N_2048: &str = "\
    a641c62d2cdcafd49a560440de2f5c14243611cee907b93fac9821cd59eafe161db9bca9d1c1894a40ca9e0805105d80e6c8\
    877498c8f7c331020c656a12a29844ed53211b044a83dcebd460e08927a24e24916af0825c7beb286e34eb4ec7f0a601a4c3\
    f8ad578a0e110c0eb0d082296aa26cb8d8a97d6ef7a39726daae08f27ee8eb232977888ab8d1808d626a7cc841cabf5ed12c\
    9064dc8b1122754e23eed6089afe818ae9823a56406e31c66eb50e84a4c46711372ea58b5efd44f5bcfe2924d31e7030b2ea\
    ffe4f3082373dad20017478cd6823d0a40e4377735cb75ed495614f2bd0e71e24637d980c0d5e16be14cc8e59b19a949ac18\
    7f406fd4851f";
const D_2048: &str = "\
    4a5794ff3455464681f0be9c26fdf465893fa83ce654aed03b2417d15448d0ef20c1a20c29a029fccaf60f2e34dd79821f30\
    41e9b03c051601ff117df3ad7b892d21160ff29dbb98351c3aee4ad8e9a118e21f283b7d7f4f65fac134e69766ae43fcee29\
    373483b556cee69e57101573e19bd993da4607b1ac0839998525571826d82bb685c82016039e840e420f7133437dd2380fa5\
    10c95ca10ef4a3db36dd587d46ee6bbab4b1f838cf006fdaa65e941bd9ec58effe568552c33d4045d72e17d3999d32d4cdea\
    82f18c74e77619b10823f371fa1b88e6cf6433eac2410a99f695069f2695932f7b5f39fe436eb99c4b78062b7545664b09fb\
    569e50ec6419";
const N_1024: &str = "\
    b1f8521eb361e905658c6e024868be233f69f38df3d5942f0baea44cd3176bb58ea529c2cb45828bebbbcab238c464804fb6\
    4df8cede65900662e792d2417c7b4cc1eb9e4c836a07c311cd4c69939f7ea301bce124b2345b1cedf42e659ed04832a3fb21\
    e85b8d3a1c37a814babec3a5f08614a91b7d7f1f03f1d2b05af88499";
const D_1024: &str = "\
    6e91d60b66ed84c5aa92b5e24b3470351bf7eaae9df86ae953bbbc2e52d3f1424a8e88c4925fec3c9c47ff25fd28df3becca\
    59e524397e261e21a2b85053094fd462473c492a86b318c24f11b33512a01185a1734a01feef976c80546a6a4c853723221f\
    927d4790489c5e772970823597f338047c41153ee9f1d9ce96eb9c01";

//! Revocation lists that the user names (`--crl`, RFC 5280, section 5).
//!
//! webpki would take the first list that bears an issuer's name and stop there. Here every list of an issuer
//! counts: an older one still revokes, and one signed by the issuer's former key does not hide the newer.

use std::collections::HashSet;
use std::path::Path;

use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::der::{self, Reader};

/// One list, read and waiting for the certificates that its issuer has signed.
pub struct Crl {
    /// The file that it came from, for messages.
    file: String,
    /// The issuer's name without tag and length.
    issuer: Vec<u8>,
    signed: Vec<u8>,
    /// An AlgorithmIdentifier without tag and length.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    next_update: Option<i64>,
    /// Serial numbers without leading zero bytes.
    revoked: HashSet<Box<[u8]>>,
}

/// Why a list cannot be used: for the user who named it.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    #[error("holds no revocation list; expected PEM (BEGIN X509 CRL) or DER")]
    Empty,
    #[error("is damaged: {0}")]
    Damaged(String),
    #[error("{0}: only complete lists of an issuer's own certificates are read")]
    Unsupported(&'static str),
}

/// What the lists of one issuer say of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// No list is of this issuer.
    NotCovered,
    Good,
    Revoked,
    /// All lists of the issuer in this file have expired.
    Expired(String),
    /// The list in this file bears the issuer's name but not its signature.
    Forged(String),
}

impl Crl {
    /// All lists of a file, PEM or DER.
    pub fn load(path: &Path) -> Result<Vec<Crl>, CrlError> {
        let bytes = std::fs::read(path).map_err(CrlError::Read)?;
        let file = path.display().to_string();
        let lists = if bytes.first() == Some(&der::SEQUENCE) {
            vec![CertificateRevocationListDer::from(bytes)]
        } else {
            let read = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
            read.map_err(|error| CrlError::Damaged(error.to_string()))?
        };
        if lists.is_empty() {
            return Err(CrlError::Empty);
        }
        lists.iter().map(|list| Crl::read(list, &file)).collect()
    }

    fn read(bytes: &[u8], file: &str) -> Result<Crl, CrlError> {
        let damaged = || CrlError::Damaged("not a revocation list".to_owned());
        let (rest, list) = CertificateRevocationList::from_der(bytes).map_err(|_| damaged())?;
        if !rest.is_empty() {
            return Err(damaged());
        }
        if let Some(why) = unlike_a_plain_list(&list) {
            return Err(CrlError::Unsupported(why));
        }
        let outer = || {
            let mut fields = Reader::only(bytes, der::SEQUENCE)?;
            let signed = fields.next()?.whole;
            let algorithm = fields.take(der::SEQUENCE)?;
            Some((signed, algorithm, der::whole_bits(fields.take(der::BIT_STRING)?)?))
        };
        let (signed, algorithm, signature) = outer().ok_or_else(damaged)?;
        let issuer = Reader::new(list.issuer().as_raw()).take(der::SEQUENCE).ok_or_else(damaged)?;
        Ok(Crl {
            file: file.to_owned(),
            issuer: issuer.to_vec(),
            signed: signed.to_vec(),
            algorithm: algorithm.to_vec(),
            signature: signature.to_vec(),
            next_update: list.next_update().map(|at| at.timestamp()),
            revoked: list.iter_revoked_certificates().map(|entry| plain(entry.raw_serial()).into()).collect(),
        })
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.next_update.is_some_and(|until| until < i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
    }

    /// Whether the list names this certificate, whoever signed the list.
    pub(super) fn names(&self, issuer: &[u8], serial: &[u8]) -> bool {
        self.issuer == issuer && self.revoked.contains(plain(serial))
    }

    fn is_signed_by(
        &self,
        key: &SubjectPublicKeyInfoDer<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(key) else { return false };
        let mut fitting = algorithms.iter().filter(|known| known.signature_alg_id().as_ref() == self.algorithm);
        fitting.any(|known| key.verify_signature(*known, &self.signed, &self.signature).is_ok())
    }
}

/// What `lists` say of the certificate `serial` of `issuer`.
pub(super) fn standing(
    lists: &[Crl],
    issuer: &[u8],
    issuer_key: &SubjectPublicKeyInfoDer<'_>,
    serial: &[u8],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> Standing {
    let mut standing = Standing::NotCovered;
    for list in lists.iter().filter(|list| list.issuer == issuer) {
        if !list.is_signed_by(issuer_key, algorithms) {
            if standing == Standing::NotCovered {
                standing = Standing::Forged(list.file.clone());
            }
        } else if list.revoked.contains(plain(serial)) {
            // However old the list is: what was revoked stays so.
            return Standing::Revoked;
        } else if !list.is_expired(now) {
            standing = Standing::Good;
        } else if standing != Standing::Good {
            standing = Standing::Expired(list.file.clone());
        }
    }
    standing
}

/// What makes it wrong to read `list` as all that its issuer has revoked. webpki asks for more than that (version 2, a
/// number), which `openssl ca` leaves out unless told otherwise.
fn unlike_a_plain_list(list: &CertificateRevocationList<'_>) -> Option<&'static str> {
    /// Extensions of a list under 2.5.29: its number, where it is kept and for what, the issuer's key.
    const KNOWN: [u8; 3] = [20, 28, 35];
    /// Of an entry: the reason, and since when.
    const KNOWN_OF_ENTRIES: [u8; 2] = [21, 24];
    let standard = |oid: &[u8]| match oid {
        [0x55, 0x1d, last] => Some(*last),
        _ => None,
    };
    for extension in list.extensions() {
        match standard(extension.oid.as_bytes()) {
            Some(27) => return Some("is a delta list"),
            // IssuingDistributionPoint: `[4]` says that it lists what others have issued.
            Some(28) => {
                let Some(mut fields) = Reader::only(extension.value, der::SEQUENCE) else {
                    return Some("has a malformed distribution point");
                };
                if std::iter::from_fn(|| fields.next()).any(|f| f.tag == der::primitive(4) && f.content != [0]) {
                    return Some("lists certificates of other issuers");
                }
            }
            Some(known) if KNOWN.contains(&known) => {}
            _ if extension.critical => return Some("has a critical extension that is not known"),
            _ => {}
        }
    }
    let odd = list.iter_revoked_certificates().flat_map(|entry| entry.extensions()).any(|extension| {
        extension.critical && !standard(extension.oid.as_bytes()).is_some_and(|oid| KNOWN_OF_ENTRIES.contains(&oid))
    });
    odd.then_some("has an entry with a critical extension that is not known")
}

/// A serial number without leading zero bytes: two spellings of one number are one number.
fn plain(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

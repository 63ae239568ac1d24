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
        // Refuses what it would be wrong to read as a plain list: deltas, lists on behalf of others, critical
        // extensions that nobody here knows.
        webpki::BorrowedCertRevocationList::from_der(bytes).map_err(|e| CrlError::Damaged(e.to_string()))?;
        let damaged = || CrlError::Damaged("not a revocation list".to_owned());
        let (_, list) = CertificateRevocationList::from_der(bytes).map_err(|_| damaged())?;
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

/// A serial number without leading zero bytes: two spellings of one number are one number.
fn plain(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

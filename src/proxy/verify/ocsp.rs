//! Stapled OCSP responses (RFC 6960): what the issuer of a certificate says of it, brought by the server.
//!
//! webpki hands them over unread. Every staple that comes is judged, asked for or not: one that says
//! anything but `good`, or is not to be believed, refuses the connection.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor};
use rustls::pki_types::{Der, UnixTime};
use sha2::Digest;
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity};

use super::der::{self, Reader};

/// What is wrong with a staple.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StapleFault {
    #[error("is malformed")]
    Malformed,
    #[error("is an error of the responder")]
    Unsuccessful,
    #[error("is of a kind that is not known")]
    Kind,
    #[error("is signed by nobody who may speak for the certificate's issuer")]
    Signer,
    #[error("is about another certificate")]
    OtherCertificate,
    #[error("says that the certificate is revoked")]
    Revoked,
    #[error("says that the issuer does not know the certificate")]
    Unknown,
    #[error("has expired")]
    Expired,
    #[error("is not valid yet")]
    NotYet,
}

/// The certificate in question, as an OCSP response names it.
pub(super) struct Question<'a> {
    pub(super) serial: &'a [u8],
    /// The issuer's name without tag and length.
    pub(super) issuer: &'a [u8],
    pub(super) issuer_key: &'a SubjectPublicKeyInfoDer<'a>,
}

/// How far clocks may be apart.
const SKEW: i64 = 300;
/// How long a response without an end is believed.
const ENDLESS: i64 = 7 * 86_400;

/// id-pkix-ocsp-basic
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
/// id-kp-OCSPSigning
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];

type Algorithms = [&'static dyn SignatureVerificationAlgorithm];

/// Whether `staple` says, believably and now, that the certificate is good.
pub(super) fn check(
    staple: &[u8],
    question: &Question<'_>,
    algorithms: &Algorithms,
    now: UnixTime,
) -> Result<(), StapleFault> {
    let response = Response::read(basic(staple)?).ok_or(StapleFault::Malformed)?;
    if !response.is_signed_for(question, algorithms, now) {
        return Err(StapleFault::Signer);
    }
    response.says(question, i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// The BasicOCSPResponse in an OCSPResponse.
fn basic(staple: &[u8]) -> Result<&[u8], StapleFault> {
    let read = || {
        let mut response = Reader::only(staple, der::SEQUENCE)?;
        let status = response.take(der::ENUMERATED)?;
        if status != [0] {
            return Some(Err(StapleFault::Unsuccessful));
        }
        let mut typed = Reader::only(response.take(der::constructed(0))?, der::SEQUENCE)?;
        let kind = typed.take(der::OID)?;
        let bytes = typed.take(der::OCTET_STRING)?;
        Some(if kind == BASIC { Ok(bytes) } else { Err(StapleFault::Kind) })
    };
    read().unwrap_or(Err(StapleFault::Malformed))
}

struct Response<'a> {
    /// What is signed.
    signed: &'a [u8],
    answers: Reader<'a>,
    /// An AlgorithmIdentifier without tag and length.
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// Certificates of responders.
    certificates: Vec<CertificateDer<'a>>,
}

impl<'a> Response<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut response = Reader::only(bytes, der::SEQUENCE)?;
        let data = response.next().filter(|value| value.tag == der::SEQUENCE)?;
        let algorithm = response.take(der::SEQUENCE)?;
        let signature = der::whole_bits(response.take(der::BIT_STRING)?)?;
        let mut certificates = Vec::new();
        if let Some(list) = response.take_if(der::constructed(0)) {
            let mut list = Reader::only(list, der::SEQUENCE)?;
            while !list.is_empty() {
                certificates.push(CertificateDer::from(list.next()?.whole));
            }
        }
        if !response.is_empty() {
            return None;
        }
        let mut fields = Reader::new(data.content);
        // The version, where it is not the only one there is.
        fields.take_if(der::constructed(0));
        // Who signed is found by trying, so the responder's name for itself adds nothing.
        let _responder = fields.next()?;
        let _produced = fields.take(der::GENERALIZED_TIME)?;
        let answers = Reader::new(fields.take(der::SEQUENCE)?);
        Some(Self { signed: data.whole, answers, algorithm, signature, certificates })
    }

    /// By the issuer itself, or by a responder whom the issuer has appointed (RFC 6960, 4.2.2.2).
    fn is_signed_for(&self, question: &Question<'_>, algorithms: &Algorithms, now: UnixTime) -> bool {
        let fitting = || algorithms.iter().filter(|known| known.signature_alg_id().as_ref() == self.algorithm);
        if let Ok(issuer) = RawPublicKeyEntity::try_from(question.issuer_key)
            && fitting().any(|known| issuer.verify_signature(*known, self.signed, self.signature).is_ok())
        {
            return true;
        }
        let Some(key) = Reader::new(question.issuer_key).take(der::SEQUENCE) else { return false };
        let issuer = [TrustAnchor {
            subject: Der::from_slice(question.issuer),
            subject_public_key_info: Der::from_slice(key),
            name_constraints: None,
        }];
        self.certificates.iter().any(|certificate| {
            let Ok(responder) = EndEntityCert::try_from(certificate) else { return false };
            let usage = KeyUsage::required(OCSP_SIGNING);
            responder.verify_for_usage(algorithms, &issuer, &[], now, usage, None, None).is_ok()
                && fitting().any(|known| responder.verify_signature(*known, self.signed, self.signature).is_ok())
        })
    }

    fn says(&self, question: &Question<'_>, now: i64) -> Result<(), StapleFault> {
        let mut answers = self.answers;
        let mut said = Err(StapleFault::OtherCertificate);
        while !answers.is_empty() {
            let answer = answers.take(der::SEQUENCE).and_then(Answer::read).ok_or(StapleFault::Malformed)?;
            if !answer.is_about(question) {
                continue;
            }
            // Of several answers the worst counts.
            said = match (said, answer.says(now)) {
                (Err(StapleFault::OtherCertificate) | Ok(()), now) => now,
                (_, Err(StapleFault::Revoked)) => Err(StapleFault::Revoked),
                (before, _) => before,
            };
        }
        said
    }
}

/// A SingleResponse.
struct Answer<'a> {
    digest: &'a [u8],
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: u8,
    from: i64,
    until: Option<i64>,
}

impl<'a> Answer<'a> {
    fn read(content: &'a [u8]) -> Option<Self> {
        let mut fields = Reader::new(content);
        let mut id = Reader::new(fields.take(der::SEQUENCE)?);
        let digest = Reader::new(id.take(der::SEQUENCE)?).take(der::OID)?;
        let issuer_name = id.take(der::OCTET_STRING)?;
        let issuer_key = id.take(der::OCTET_STRING)?;
        let serial = id.take(der::INTEGER)?;
        let status = fields.next()?.tag;
        let from = der::instant(fields.take(der::GENERALIZED_TIME)?)?;
        let until = match fields.take_if(der::constructed(0)) {
            Some(explicit) => Some(der::instant(Reader::new(explicit).take(der::GENERALIZED_TIME)?)?),
            None => None,
        };
        Some(Self { digest, issuer_name, issuer_key, serial, status, from, until })
    }

    fn is_about(&self, question: &Question<'_>) -> bool {
        let digest = |bytes: &[u8]| digest_of(bytes, self.digest);
        let key = Reader::new(question.issuer_key).take(der::SEQUENCE).and_then(|content| {
            let mut fields = Reader::new(content);
            fields.next()?;
            der::whole_bits(fields.take(der::BIT_STRING)?)
        });
        self.serial == question.serial
            && digest(&der::wrap(der::SEQUENCE, question.issuer)).is_some_and(|name| self.issuer_name == name)
            && key.and_then(digest).is_some_and(|key| self.issuer_key == key)
    }

    fn says(&self, now: i64) -> Result<(), StapleFault> {
        // However old it is: what was revoked stays so.
        if self.status == der::constructed(1) {
            return Err(StapleFault::Revoked);
        }
        if self.from > now + SKEW {
            return Err(StapleFault::NotYet);
        }
        if self.until.unwrap_or(self.from + ENDLESS) < now - SKEW {
            return Err(StapleFault::Expired);
        }
        if self.status == der::primitive(0) { Ok(()) } else { Err(StapleFault::Unknown) }
    }
}

/// The digests by which responders name issuers. SHA-1 is one to this day (RFC 9654): it names, it secures
/// nothing.
fn digest_of(bytes: &[u8], oid: &[u8]) -> Option<Vec<u8>> {
    Some(match oid {
        SHA1 => sha1::Sha1::digest(bytes).to_vec(),
        SHA256 => sha2::Sha256::digest(bytes).to_vec(),
        SHA384 => sha2::Sha384::digest(bytes).to_vec(),
        SHA512 => sha2::Sha512::digest(bytes).to_vec(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_response_is_malformed_and_nothing_panics() {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
        let key = SubjectPublicKeyInfoDer::from(&[0x30, 0][..]);
        let question = Question { serial: &[1], issuer: &[], issuer_key: &key };
        let check = |staple: &[u8]| check(staple, &question, algorithms, UnixTime::now());
        assert_eq!(check(&[0x30, 3, 0x0a, 1, 3]), Err(StapleFault::Unsuccessful));
        let kind = der::wrap(der::SEQUENCE, &[&[6, 1, 1][..], &[4, 0]].concat());
        let kind = [&[0x0a, 1, 0][..], &der::wrap(der::constructed(0), &kind)].concat();
        assert_eq!(check(&der::wrap(der::SEQUENCE, &kind)), Err(StapleFault::Kind));
        for length in 0..40 {
            for byte in [0x00, 0x30, 0x82, 0xa0, 0xff] {
                assert_eq!(check(&vec![byte; length]), Err(StapleFault::Malformed), "{length} × {byte:02x}");
            }
        }
    }
}

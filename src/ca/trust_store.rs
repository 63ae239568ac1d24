//! Writes trusted certificates as the PKCS #12 file that Java reads (RFC 7292).
//!
//! Without password, encryption or checksum: there is nothing secret in it, and every Java since 8 takes it so.

use rustls::pki_types::CertificateDer;

use super::der::{self, OCTET_STRING, OID, SEQUENCE, SET};

/// id-data, 1.2.840.113549.1.7.1
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// certBag, 1.2.840.113549.1.12.10.1.3
const CERT_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
/// x509Certificate, 1.2.840.113549.1.9.22.1
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// 2.16.840.1.113894.746875.1.1: what makes a certificate without a key a trusted one to Java.
const TRUSTED_USAGE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
/// anyExtendedKeyUsage, 2.5.29.37.0
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

pub fn pkcs12<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Vec<u8> {
    let usage = der::value(SET, &[&der::value(OID, &[ANY_USAGE])]);
    let attribute = der::value(SEQUENCE, &[&der::value(OID, &[TRUSTED_USAGE]), &usage]);
    let attributes = der::value(SET, &[&attribute]);
    let mut bags = Vec::new();
    for certificate in certificates {
        let bag = der::value(SEQUENCE, &[&der::value(OID, &[X509]), &wrapped(certificate)]);
        bags.extend(der::value(
            SEQUENCE,
            &[&der::value(OID, &[CERT_BAG]), &der::value(der::explicit(0), &[&bag]), &attributes],
        ));
    }
    let safe = content(&der::value(SEQUENCE, &[&bags]));
    let version = [der::INTEGER, 1, 3];
    der::value(SEQUENCE, &[&version, &content(&der::value(SEQUENCE, &[&safe]))])
}

/// `ContentInfo` of plain data.
fn content(data: &[u8]) -> Vec<u8> {
    der::value(SEQUENCE, &[&der::value(OID, &[DATA]), &wrapped(data)])
}

/// `[0] { OCTET STRING }`
fn wrapped(bytes: &[u8]) -> Vec<u8> {
    der::value(der::explicit(0), &[&der::value(OCTET_STRING, &[bytes])])
}

//! Writes the few DER forms (X.690) that a leaf certificate is made of.
//!
//! The issuer's name and key stand in a leaf byte for byte as they stand in the CA certificate, so nothing
//! here ever re-encodes what somebody else wrote: a company's root with repeated or unusual name parts
//! chains as well as our own.

use time::OffsetDateTime;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// `[n]`, constructed.
pub(super) const fn explicit(n: u8) -> u8 {
    0xa0 | n
}

/// `[n]`, primitive.
pub(super) const fn implicit(n: u8) -> u8 {
    0x80 | n
}

/// One value: tag, length, then `parts` one after the other.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[length.leading_zeros() as usize / 8..];
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A BIT STRING of whole bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes])
}

/// RFC 5280, 4.1.2.5: UTCTime through 2049, GeneralizedTime after.
pub(super) fn instant(at: OffsetDateTime) -> Vec<u8> {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (tag, year) = if (1950..2050).contains(&at.year()) {
        (UTC_TIME, format!("{:02}", at.year() % 100))
    } else {
        (GENERALIZED_TIME, format!("{:04}", at.year()))
    };
    let text =
        format!("{year}{:02}{:02}{:02}{:02}{:02}Z", at.month() as u8, at.day(), at.hour(), at.minute(), at.second());
    value(tag, &[text.as_bytes()])
}

/// One certificate extension.
pub(super) fn extension(oid: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let oid = value(OID, &[oid]);
    let content = value(OCTET_STRING, &[content]);
    if critical {
        value(SEQUENCE, &[&oid, &value(BOOLEAN, &[&[0xff]]), &content])
    } else {
        value(SEQUENCE, &[&oid, &content])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(value(OCTET_STRING, &[&[7; 3]]), [4, 3, 7, 7, 7]);
        assert_eq!(value(OCTET_STRING, &[&[7; 0x80]])[..3], [4, 0x81, 0x80]);
        assert_eq!(value(OCTET_STRING, &[&[7; 0x80], &[7; 0x80]])[..4], [4, 0x82, 1, 0]);
        assert_eq!(value(OCTET_STRING, &[]), [4, 0]);
    }

    #[test]
    fn times_change_their_form_in_2050() {
        let at = |seconds| instant(OffsetDateTime::from_unix_timestamp(seconds).unwrap());
        assert_eq!(&at(0)[2..], b"700101000000Z");
        assert_eq!(&at(2_524_607_999)[2..], b"491231235959Z");
        assert_eq!(&at(2_524_608_000)[2..], b"20500101000000Z");
    }
}

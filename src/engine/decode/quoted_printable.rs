//! Quoted-printable (RFC 2045, section 6.7): `=41` for a byte, `=` at the end of a line for nothing.

use memchr::memchr;

/// Decodes into `out`. A `=` that is neither stands for itself.
pub(crate) fn decode(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(found) = memchr(b'=', rest) {
        out.extend_from_slice(&rest[..found]);
        rest = &rest[found..];
        let (length, byte) = unit(rest);
        out.extend(byte);
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

/// The length of what `raw` starts with (its first byte is `=`), and the byte it stands for, if any.
pub(crate) fn unit(raw: &[u8]) -> (usize, Option<u8>) {
    let digit = |at: usize| raw.get(at).and_then(|&digit| char::from(digit).to_digit(16));
    match (raw.get(1), raw.get(2)) {
        (Some(b'\r'), Some(b'\n')) => (3, None),
        (Some(b'\n'), _) => (2, None),
        _ => match (digit(1), digit(2)) {
            (Some(high), Some(low)) => (3, Some((high * 16 + low) as u8)),
            _ => (1, Some(b'=')),
        },
    }
}

pub(crate) fn encode(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'=' | 0..=31 | 127.. => out.extend(format!("={byte:02X}").into_bytes()),
            byte => out.push(byte),
        }
    }
}

//! HTML character references: the numbered ones, and the five names that escaping functions write.

use memchr::{memchr, memchr3};

const NAMED: [(&[u8], char); 6] =
    [(b"&amp;", '&'), (b"&lt;", '<'), (b"&gt;", '>'), (b"&quot;", '"'), (b"&apos;", '\''), (b"&nbsp;", '\u{a0}')];

/// The longest spelling of a character by number.
const LONGEST: usize = 12;

/// Decodes into `out`. What is no reference stands for itself.
pub(crate) fn decode(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(found) = memchr(b'&', rest) {
        out.extend_from_slice(&rest[..found]);
        rest = &rest[found..];
        let (length, c) = reference(rest).unwrap_or((1, '&'));
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

/// The length of what `raw` starts with (its first byte is `&`), and of what it stands for.
pub(crate) fn unit(raw: &[u8]) -> (usize, usize) {
    reference(raw).map_or((1, 1), |(length, c)| (length, c.len_utf8()))
}

/// Where the character references of `text` stand, each with whether it writes a letter or digit of ASCII by number: no
/// function that escapes a whole text does that.
pub(crate) fn units(text: &[u8]) -> impl Iterator<Item = (usize, bool)> + '_ {
    memchr::memchr_iter(b'&', text).filter_map(|at| Some((at, reference(&text[at..])?.1.is_ascii_alphanumeric())))
}

pub(crate) fn encode(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'&' => out.extend(b"&amp;"),
            b'<' => out.extend(b"&lt;"),
            b'>' => out.extend(b"&gt;"),
            b'"' => out.extend(b"&quot;"),
            b'\'' => out.extend(b"&#39;"),
            byte => out.push(byte),
        }
    }
}

/// Whether `text` reads as escaped throughout: a reference, and none of the characters it would have hidden.
pub(super) fn is_encoded(text: &[u8]) -> bool {
    let mut at = 0;
    let mut coded = false;
    while let Some(found) = text.get(at..).and_then(|rest| memchr(b'&', rest)) {
        at += found;
        let Some((length, _)) = reference(&text[at..]) else { return false };
        coded = true;
        at += length;
    }
    coded && memchr3(b'<', b'>', b'"', text).is_none()
}

fn reference(raw: &[u8]) -> Option<(usize, char)> {
    if let Some((name, c)) = NAMED.iter().find(|(name, _)| raw.starts_with(name)) {
        return Some((name.len(), *c));
    }
    let digits = raw.strip_prefix(b"&#")?;
    let end = memchr(b';', &digits[..digits.len().min(LONGEST)])?;
    let number = std::str::from_utf8(&digits[..end]).ok()?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    Some((2 + end + 1, char::from_u32(code)?))
}

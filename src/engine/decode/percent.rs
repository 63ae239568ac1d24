//! Percent-encoding (RFC 3986, section 2.1) and its form variant, where `+` is a space.

use memchr::memchr2;

/// Decodes into `out`. A `%` without two digits stands for itself.
pub(crate) fn decode(raw: &[u8], form: bool, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < raw.len() {
        let (length, byte) = unit(&raw[at..], form);
        out.push(byte);
        at += length;
    }
}

/// The first unit of `raw` (not empty): its length and the byte it stands for.
pub(crate) fn unit(raw: &[u8], form: bool) -> (usize, u8) {
    let digit = |at: usize| raw.get(at).and_then(|&digit| char::from(digit).to_digit(16));
    match raw[0] {
        b'%' => match (digit(1), digit(2)) {
            (Some(high), Some(low)) => (3, (high * 16 + low) as u8),
            _ => (1, b'%'),
        },
        b'+' if form => (1, b' '),
        byte => (1, byte),
    }
}

/// Whether there is anything to decode.
pub(crate) fn is_coded(raw: &[u8], form: bool) -> bool {
    memchr2(b'%', if form { b'+' } else { b'%' }, raw).is_some()
}

/// Where the `%41` of `text` stand, each with whether it spells a letter or digit of ASCII: no function that encodes a whole
/// text does that.
pub(crate) fn units(text: &[u8]) -> impl Iterator<Item = (usize, bool)> + '_ {
    memchr::memchr_iter(b'%', text).filter_map(|at| match unit(&text[at..], false) {
        (3, byte) => Some((at, byte.is_ascii_alphanumeric())),
        _ => None,
    })
}

/// Encodes all that is not unreserved; a space becomes `+` in forms.
pub(crate) fn encode(text: &[u8], form: bool, out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            b' ' if form => out.push(b'+'),
            byte => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
        }
    }
}

/// Whether `text` reads as percent-encoded throughout: at least one `%41`, no `%` without digits, and
/// nothing that an encoder would not have left bare.
pub(crate) fn is_encoded(text: &[u8]) -> bool {
    let mut coded = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'%' => {
                let (length, _) = unit(&text[at..], false);
                if length == 1 {
                    return false;
                }
                coded = true;
                at += length;
            }
            0..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f.. => return false,
            _ => at += 1,
        }
    }
    coded
}

//! Runs of letters that may be encodings or digests, told by a glance.

use std::ops::Range;

use super::digests;

/// Whether a word is one that an encoder made: people do not mix capitals, small letters and digits like that.
pub(super) fn looks_encoded(token: &[u8]) -> bool {
    let (mut upper, mut lower, mut digits, mut hex) = (0usize, 0usize, 0usize, 0usize);
    // Counted together, as often as each of the four bytes of a sum can take it.
    for part in token.chunks(u8::MAX.into()) {
        let sums = part.iter().fold(0u32, |sums, &byte| sums + SORTS[usize::from(byte)]).to_le_bytes();
        upper += usize::from(sums[0]);
        lower += usize::from(sums[1]);
        digits += usize::from(sums[2]);
        hex += usize::from(sums[3]);
    }
    let hex = hex == token.len() && token.len().is_multiple_of(2);
    hex || (upper > 0 && digits > 0 && (lower > 0 || token.len() >= 16)) || (upper > 2 && lower > 2)
}

/// One in the byte of each sort that a letter is of: capitals, small letters, digits, hex digits.
pub(super) const SORTS: [u32; 256] = {
    let mut sorts = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        sorts[index] = byte.is_ascii_uppercase() as u32
            | (byte.is_ascii_lowercase() as u32) << 8
            | (byte.is_ascii_digit() as u32) << 16
            | (byte.is_ascii_hexdigit() as u32) << 24;
        index += 1;
    }
    sorts
};

/// Whether the shortest digest in hex may stand in `token`: two neighbours of every sixth byte belong to it.
pub(super) fn may_hold_hex(token: &[u8]) -> bool {
    let mut before = false;
    token.iter().skip(5).step_by(digests::SHORTEST / 2).any(|byte| {
        let hex = byte.is_ascii_hexdigit();
        std::mem::replace(&mut before, hex) && hex
    })
}

/// Runs of `%41`, `&#65;` and `\u0041` that stand in a text.
pub(super) fn coded_runs(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += memchr::memchr3(b'%', b'&', b'\\', text.get(at..)?)?;
            let start = at;
            let mut units = 0;
            while let Some(length) = coded_unit(text.get(at..).unwrap_or_default()) {
                at += length + spared(text.get(at + length..).unwrap_or_default());
                units += 1;
            }
            if units > 0 {
                return Some(start..at);
            }
            at = at.max(start + 1);
        }
    })
}

/// How many letters that percent-encoding has left alone stand between one coded character and the next.
fn spared(text: &[u8]) -> usize {
    const MOST: usize = 12;
    let letters = text.iter().take(MOST).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    match text.get(letters..) {
        Some(rest) if rest.first() == Some(&b'%') && coded_unit(rest).is_some() => letters,
        _ => 0,
    }
}

/// The length of the coded character that `text` begins with.
pub(super) fn coded_unit(text: &[u8]) -> Option<usize> {
    let hex = |range: Range<usize>| text.get(range).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    match text.first()? {
        b'%' if hex(1..3) => Some(3),
        b'\\' if text.get(1) == Some(&b'u') && hex(2..6) => Some(6),
        b'&' if text.get(1) == Some(&b'#') => {
            let end = memchr::memchr(b';', text.get(..12).unwrap_or(text))?;
            (end > 2).then_some(end + 1)
        }
        _ => None,
    }
}

/// Characters of each digest in base64, padding left off, and its bytes.
pub(super) fn base64_lengths() -> impl Iterator<Item = (usize, usize)> {
    digests::LENGTHS.into_iter().map(|length| ((length * 4).div_ceil(3), length))
}

/// Characters of the shortest digest in base64.
pub(super) const SHORTEST_BASE64: usize = (digests::LENGTHS[0] * 4).div_ceil(3);

/// Segments of one address that are looked at.
pub(super) const MOST_SEGMENTS: usize = 16;

pub(super) fn standard(token: &[u8]) -> Vec<u8> {
    let letter = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    token.iter().map(letter).collect()
}

/// Whether a value ends where `after` begins: its line, element, cell or quotes do.
pub(super) fn ends_value(after: &[u8]) -> bool {
    let blanks = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    after.get(blanks).is_none_or(|byte| b"\n\r<,;|&`\"')}]\\".contains(byte))
}

/// Whether a word of a few letters can be an encoding of a few others: what its first letters stand for is text.
pub(super) fn may_unfold(token: &[u8]) -> bool {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let is_text = |byte: u32| (0x20..0x7f).contains(&byte);
    match token {
        [b'%' | b'&' | b'\\', ..] => true,
        [first, second, ..] if token.len().is_multiple_of(2) && token.iter().all(u8::is_ascii_hexdigit) => {
            digit(first).zip(digit(second)).is_some_and(|(first, second)| is_text(first << 4 | second))
        }
        [first, second, third, ..] => {
            let letter = |byte: &u8| match byte {
                b'A'..=b'Z' => Some(u32::from(byte - b'A')),
                b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
                b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
                b'+' | b'-' => Some(62),
                b'/' | b'_' => Some(63),
                _ => None,
            };
            let held = [first, second, third].into_iter().try_fold(0, |held, byte| Some(held << 6 | letter(byte)?));
            held.is_some_and(|bits| is_text(bits >> 10) && is_text(bits >> 2 & 0xff))
        }
        _ => false,
    }
}

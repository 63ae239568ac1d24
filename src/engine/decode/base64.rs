//! Base64 in either alphabet, with or without padding (RFC 4648): recognising, undoing, making again.

use std::ops::Range;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::layer::{Base64, Wrap};

/// Shorter texts are words and numbers far more often than they hold anything.
pub(super) const SHORTEST: usize = 12;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const DECODE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const DECODE_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// What spelling `text` could be in, by its alphabet and its length.
pub(super) fn recognise(text: &[u8]) -> Option<Base64> {
    if text.len() < SHORTEST {
        return None;
    }
    let wrap = wrap(text)?;
    let body = match wrap {
        Some(_) => text.trim_ascii_end(),
        None => text,
    };
    let is_end = |byte: &&u8| matches!(byte, b'=' | b'\r' | b'\n');
    let end = body.len() - body.iter().rev().take(6).take_while(is_end).count();
    let padding = body[end..].iter().filter(|&&byte| byte == b'=').count();
    let body = &body[..end];
    let breaks = wrap.map_or(0, |wrap| body.len() / (usize::from(wrap.width) + wrap.end().len()));
    let length = body.len() - breaks * wrap.map_or(0, |wrap| wrap.end().len());
    if padding > 2 || (padding > 0 && !(length + padding).is_multiple_of(4)) || length % 4 == 1 {
        return None;
    }
    let mut seen = 0;
    let (blocks, rest) = body.as_chunks::<64>();
    for block in blocks {
        seen |= block.iter().fold(0, |seen, &byte| seen | class_of(byte));
        if seen & OTHER != 0 {
            return None;
        }
    }
    seen = rest.iter().fold(seen, |seen, &byte| seen | CLASS[usize::from(byte)]);
    if seen & OTHER != 0 || (seen & LINE_END != 0 && wrap.is_none()) {
        return None;
    }
    let (standard, url) = (seen & STANDARD_ONLY != 0, seen & URL_ONLY != 0);
    if standard && url {
        return None;
    }
    // Where nothing in the text decides: what lacks its padding is the url alphabet's habit, and what needs none
    // has it in the standard one.
    let even = length.is_multiple_of(4);
    let url = url || (!standard && padding == 0 && !even);
    Some(Base64 { url, padded: padding > 0 || (even && !url), wrap })
}

impl Wrap {
    fn end(self) -> &'static [u8] {
        if self.crlf { b"\r\n" } else { b"\n" }
    }
}

/// The lines that `text` is broken into: none (the outer option) where they are no lines of base64.
#[allow(clippy::option_option)]
fn wrap(text: &[u8]) -> Option<Option<Wrap>> {
    let Some(first) = memchr::memchr(b'\n', &text[..text.len().min(LONGEST_LINE)]) else { return Some(None) };
    let crlf = text[..first].ends_with(b"\r");
    let width = first - usize::from(crlf);
    if width < SHORTEST || !width.is_multiple_of(4) {
        return None;
    }
    let mut wrap = Wrap { width: width as u16, crlf, ended: false };
    let line = width + wrap.end().len();
    let mut rest = text;
    // The last line may be shorter by a character or two than the others with their ends.
    while rest.len() >= line && &rest[width..line] == wrap.end() {
        rest = &rest[line..];
        wrap.ended = rest.is_empty();
    }
    if let Some(last) = rest.strip_suffix(wrap.end()) {
        wrap.ended = true;
        rest = last;
    }
    let last = rest.len() <= width && rest.iter().all(|byte| !byte.is_ascii_whitespace());
    last.then_some(Some(wrap))
}

/// Mail allows 76 characters a line, and nobody writes much longer ones.
const LONGEST_LINE: usize = 256;

const OTHER: u8 = 1;
const STANDARD_ONLY: u8 = 2;
const URL_ONLY: u8 = 4;
const LINE_END: u8 = 8;

const CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() {
            class[byte] = 0;
        }
        byte += 1;
    }
    class[b'+' as usize] = STANDARD_ONLY;
    class[b'/' as usize] = STANDARD_ONLY;
    class[b'-' as usize] = URL_ONLY;
    class[b'_' as usize] = URL_ONLY;
    class[b'\r' as usize] = LINE_END;
    class[b'\n' as usize] = LINE_END;
    class
};

/// As [`CLASS`] says it, without a table: what the compiler makes into a few instructions for many bytes.
#[inline(always)]
fn class_of(byte: u8) -> u8 {
    let plain = ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10);
    let standard = (byte == b'+') | (byte == b'/');
    let url = (byte == b'-') | (byte == b'_');
    let line_end = (byte == b'\r') | (byte == b'\n');
    let other = !(plain | standard | url | line_end);
    let bit = |is: bool, class: u8| u8::from(is).wrapping_neg() & class;
    bit(other, OTHER) | bit(standard, STANDARD_ONLY) | bit(url, URL_ONLY) | bit(line_end, LINE_END)
}

/// Whether `byte` is a letter of either alphabet.
#[inline]
pub(super) fn is_letter(byte: u8) -> bool {
    LETTER[usize::from(byte)]
}

const LETTER: [bool; 256] = {
    let mut letter = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        letter[byte] = CLASS[byte] & (OTHER | LINE_END) == 0;
        byte += 1;
    }
    letter
};

/// The runs of at least `shortest` letters of either alphabet in `text`; `shortest` is 11 or more.
///
/// A bit for each byte, so that where eleven of them in a row are letters comes out of a few shifts.
pub(crate) fn runs(text: &[u8], shortest: usize, runs: &mut Vec<Range<usize>>) {
    let mut blocks = text.chunks(BITS);
    let mut letters = blocks.next().map_or(0, letters_of);
    let mut behind = 0;
    for base in (0..text.len()).step_by(BITS) {
        let next = blocks.next().map_or(0, letters_of);
        let both = u128::from(letters) | u128::from(next) << BITS;
        let two = both & both >> 1;
        let four = two & two >> 2;
        let eight = four & four >> 4;
        let mut starts = (eight & eight >> 3) as u64;
        while starts != 0 {
            let bit = starts.trailing_zeros();
            let start = base + bit as usize;
            if start >= behind {
                let mut end = start + (both >> bit).trailing_ones() as usize;
                if end == base + 2 * BITS {
                    end += text[end..].iter().take_while(|&&byte| is_letter(byte)).count();
                }
                if end - start >= shortest {
                    runs.push(start..end);
                }
                behind = end;
            }
            // What follows in a run is no start.
            starts &= starts.wrapping_add(1 << bit);
        }
        letters = next;
    }
}

const BITS: usize = u64::BITS as usize;

/// A bit for each of up to 64 bytes: whether it is a letter.
#[inline(always)]
fn letters_of(bytes: &[u8]) -> u64 {
    /// Brings the lowest bits of eight bytes together in the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut flags = [0u8; BITS];
    match bytes.first_chunk::<BITS>() {
        Some(bytes) => flags = bytes.map(|byte| u8::from(is_letter_by_range(byte))),
        None => {
            for (flag, &byte) in flags.iter_mut().zip(bytes) {
                *flag = u8::from(is_letter(byte));
            }
        }
    }
    let words = flags.as_chunks::<8>().0.iter().enumerate();
    words.fold(0, |bits, (index, word)| bits | u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56 << (index * 8))
}

/// As [`is_letter`], without a table: what the compiler makes into a few instructions for many bytes.
#[inline(always)]
fn is_letter_by_range(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `+`, `-`, `/` and the digits, without `,` and `.`.
    let others = (byte.wrapping_sub(b'+') < 15) & (byte & 0xfd != b',');
    letter | others | (byte == b'_')
}

pub(crate) fn decode(text: &[u8], spelling: Base64) -> Option<Vec<u8>> {
    let engine = if spelling.url { &DECODE_URL } else { &DECODE };
    match spelling.wrap {
        None => engine.decode(text).ok(),
        Some(_) => {
            let joined: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
            engine.decode(joined).ok()
        }
    }
}

pub(crate) fn encode(bytes: &[u8], spelling: Base64) -> Vec<u8> {
    let config = GeneralPurposeConfig::new().with_encode_padding(spelling.padded);
    let alphabet = if spelling.url { &URL_SAFE } else { &STANDARD };
    let text = GeneralPurpose::new(alphabet, config).encode(bytes).into_bytes();
    let Some(wrap) = spelling.wrap else { return text };
    let mut lines = text.chunks(wrap.width.into()).collect::<Vec<_>>().join(wrap.end());
    if wrap.ended {
        lines.extend_from_slice(wrap.end());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, recognise};

    #[test]
    fn every_spelling_is_recognised_and_made_again() {
        let words = "a made-up value that is long enough to be broken into several lines of base64, ???>>>~~~";
        for (url, padded) in [(false, true), (false, false), (true, true), (true, false)] {
            for length in 50..words.len() {
                let bytes = &words.as_bytes()[words.len() - length..];
                let text = encode(bytes, super::Base64 { url, padded, wrap: None });
                let plain = recognise(&text).unwrap();
                assert_eq!(decode(&text, plain).unwrap(), bytes);
                assert_eq!(encode(bytes, plain), text);
                for end in ["\n", "\r\n"] {
                    for last in ["", end] {
                        let lines: Vec<_> = text.chunks(16).map(|line| std::str::from_utf8(line).unwrap()).collect();
                        let text = (lines.join(end) + last).into_bytes();
                        let wrapped = recognise(&text).unwrap();
                        assert_eq!(decode(&text, wrapped).unwrap(), bytes);
                        assert_eq!(encode(bytes, wrapped), text);
                    }
                }
            }
        }
    }

    #[test]
    fn runs_of_letters_are_those_that_a_look_at_every_byte_finds() {
        let mut seed = 7u64;
        for length in (0..80).chain(500..540).chain(1000..1060) {
            for shortest in [11, 12, 16] {
                let text: Vec<u8> = (0..length)
                    .map(|_| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        b"abcDEF01+/-_GH.\xe9"[(seed >> 33) as usize % 16 * usize::from(seed >> 60 != 0)]
                    })
                    .collect();
                let mut found = Vec::new();
                super::runs(&text, shortest, &mut found);
                let mut expected = Vec::new();
                let mut start = 0;
                for part in text.split(|&byte| !super::is_letter(byte)) {
                    if part.len() >= shortest {
                        expected.push(start..start + part.len());
                    }
                    start += part.len() + 1;
                }
                assert_eq!(found, expected, "{}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn ranges_say_what_the_tables_say() {
        for byte in 0..=u8::MAX {
            assert_eq!(super::class_of(byte), super::CLASS[usize::from(byte)]);
            assert_eq!(super::is_letter_by_range(byte), super::is_letter(byte));
        }
    }

    #[test]
    fn other_texts_are_not() {
        for text in
            ["", "word", "shortbase64A==", "0123456789abcdefg+_a", "has a space in it, so", "YWJjZGVmZ2hpamts=mno"]
        {
            assert!(recognise(text.as_bytes()).is_none(), "{text}");
        }
    }
}

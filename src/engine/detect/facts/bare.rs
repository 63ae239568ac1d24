//! A value that is nothing but a fact in an encoding, or in several: `base64(hex(value))`, a digest in base64.
//!
//! The walk enters what is long enough to be told by its shape. Here the answer is known, so the shortest is told
//! too: an encoding is undone only to see whether a fact or its digest comes out.

use super::Matcher;
use super::digests;
use super::forms::unhex;
use super::tokens::{coded_runs, may_unfold};
use crate::engine::decode::{html, json_unescape, percent};

/// Encodings on top of one another.
const DEEPEST: usize = 3;
/// Longer values are documents, which the walk enters; shorter ones cannot hold an encoded fact.
const LONGEST: usize = 16 * 1024;
pub(super) const SHORTEST: usize = 8;
/// Under a name that tells what they are: letters of the shortest and the longest, a short value under three encodings.
const LEAST: usize = 3;
const LONGEST_SHORT: usize = 256;

type Decoder = fn(&[u8]) -> Option<Vec<u8>>;
const DECODERS: [Decoder; 6] = [unhex, base64, base32, percents, references, escapes];

/// What came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Bare {
    pub fact: u32,
    /// A digest says so, which is as good as any name.
    pub digest: bool,
}

impl Matcher {
    /// The fact that all of `token` stands for, if there is one.
    pub(super) fn bare(&self, token: &[u8]) -> Option<Bare> {
        let token = token.trim_ascii();
        let fits = (SHORTEST..=LONGEST).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
        let fits = fits && is_coded(token);
        if fits { self.undone(token, 0) } else { None }
    }

    /// The same of a few letters, which say something only under a name that tells what they are.
    pub(super) fn bare_short(&self, token: &[u8]) -> Option<u32> {
        let fits = (LEAST..=LONGEST_SHORT).contains(&token.len()) && may_unfold(token);
        let fits = fits && token.iter().all(u8::is_ascii_graphic);
        if fits { self.undone(token, 0).map(|bare| bare.fact) } else { None }
    }

    /// Whether a short text without runs of letters could stand for a fact, under some name at some place.
    pub(in crate::engine) fn may_mean(&self, text: &[u8]) -> bool {
        let trimmed = text.trim_ascii();
        !self.short.get(trimmed).is_empty()
            || coded_runs(text).next().is_some()
            || self.bare(text).is_some()
            || self.bare_short(trimmed).is_some()
    }

    fn undone(&self, text: &[u8], depth: usize) -> Option<Bare> {
        if depth > 0
            && let Some(found) = self.is_fact(text)
        {
            return Some(found);
        }
        if depth == DEEPEST {
            return None;
        }
        DECODERS.iter().find_map(|decode| {
            let bytes = decode(text)?;
            match is_printable(&bytes) {
                true => self.undone(&bytes, depth + 1),
                false => self.is_binary_fact(&bytes),
            }
        })
    }

    fn is_fact(&self, text: &[u8]) -> Option<Bare> {
        self.exact(text).or_else(|| self.is_digest(text))
    }

    fn exact(&self, text: &[u8]) -> Option<Bare> {
        let fact = self.exact_value(text.trim_ascii())?;
        Some(Bare { fact, digest: false })
    }

    fn is_digest(&self, text: &[u8]) -> Option<Bare> {
        if text.len() < digests::SHORTEST || !text.iter().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let fact = self.digests.of_hex(text)?;
        Some(Bare { fact, digest: true })
    }

    fn is_binary_fact(&self, bytes: &[u8]) -> Option<Bare> {
        if digests::LENGTHS.contains(&bytes.len())
            && let Some(fact) = self.digests.of_bytes(bytes)
        {
            return Some(Bare { fact, digest: true });
        }
        let bytes = bytes.strip_prefix(b"\xff\xfe").or_else(|| bytes.strip_prefix(b"\xfe\xff")).unwrap_or(bytes);
        let fact = *self.wide.get(bytes)?;
        Some(Bare { fact, digest: false })
    }
}

/// Whether a word can be an encoder's: those of people and programs have no digits among their letters, no capitals among
/// small ones, and none of the signs of an encoding.
fn is_coded(token: &[u8]) -> bool {
    let mut seen = 0u8;
    for &byte in token {
        seen |= match byte {
            b'a'..=b'z' => 1,
            b'A'..=b'Z' => 2,
            b'0'..=b'9' => 4,
            b'+' | b'/' | b'=' | b'%' | b'&' | b'\\' => 8,
            _ => 16,
        };
    }
    match seen & 15 {
        0 | 1 => false,
        // Base32 of many values is all capitals, and hex of hex all digits.
        2 | 4 => token.len() >= 16,
        _ => true,
    }
}

fn is_printable(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.trim().chars().any(char::is_control))
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.len() - text.iter().rev().take(2).take_while(|&&byte| byte == b'=').count();
    let body = text.get(..end)?;
    if body.len() < 2 || body.len() % 4 == 1 {
        return None;
    }
    let mut plain = Vec::with_capacity(body.len());
    for &byte in body {
        plain.push(match byte {
            b'-' => b'+',
            b'_' => b'/',
            b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => byte,
            _ => return None,
        });
    }
    super::forms::unbase64(&plain)
}

/// RFC 4648, section 6, in either case.
fn base32(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.len() - text.iter().rev().take(6).take_while(|&&byte| byte == b'=').count();
    let mut out = Vec::with_capacity(end * 5 / 8);
    let (mut held, mut bits) = (0u32, 0);
    for byte in text.get(..end)? {
        let value = match byte.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        held = (held << 5 | u32::from(value)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
        }
    }
    Some(out)
}

fn percents(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    memchr::memchr(b'%', text)?;
    percent::decode(text, false, &mut out);
    (out != text).then_some(out)
}

fn references(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    memchr::memchr(b'&', text)?;
    html::decode(text, &mut out);
    (out != text).then_some(out)
}

fn escapes(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    memchr::memchr(b'\\', text)?;
    json_unescape(text, &mut out);
    (out != text).then_some(out)
}

//! How a value can be spelled where nothing undoes the spelling: in the middle of a text, cut out of something
//! longer, or turned about.

use std::fmt::Write;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::strength::Strength;
use crate::engine::decode::{html, json_unescape, percent};
use crate::engine::detect::needles::{Needle, SHORTEST};
use crate::engine::visit::SHORTEST_RUN;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Spelling {
    /// As it is, in any case.
    Raw,
    /// With a separator for every `/`, as folders are named after folders: `-home-ann-src`.
    Dashed,
    /// The characters that wholly belong to the value; `lead` bytes of its first group belong to what stands before.
    Base64 {
        lead: u8,
    },
    Hex,
    Percent,
    Html,
    /// `\u0041`, `\/`, `\\`: JSON in a text that is none.
    Escaped,
    Base32,
    /// Two bytes a character.
    Utf16,
    /// The same, in base64.
    Utf16Base64,
    Reversed,
    Rot13,
    /// A short value in base64, in hex, or in one of them and then the other: it counts behind its label only.
    Coded,
}

/// One spelling of one fact.
pub(crate) struct Form {
    pub(super) fact: u32,
    pub(super) spelling: Spelling,
    bytes: Box<[u8]>,
    fold: bool,
}

/// Shorter values are spelled in too few characters to be told from chance.
const SHORTEST_ENCODED: usize = 5;
/// Short values count behind their labels; none that counts is longer.
const LONGEST_SHORT: usize = 24;

impl Form {
    pub fn needle(&self) -> Needle {
        let word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let short = self.spelling == Spelling::Coded || self.spelling == Spelling::Raw && self.bytes.len() < SHORTEST;
        let (before, after) = (short && word(self.bytes.first()), short && word(self.bytes.last()));
        Needle { bytes: self.bytes.clone(), fold: self.fold, loose: false, before, after }
    }

    /// Whether it is spelled so; some searches know no case.
    pub fn is_spelled(&self, text: &[u8]) -> bool {
        if self.fold { text.eq_ignore_ascii_case(&self.bytes) } else { *text == *self.bytes }
    }

    /// Whether it is made of base64 letters alone.
    pub fn is_run(&self) -> bool {
        matches!(
            self.spelling,
            Spelling::Base64 { .. } | Spelling::Hex | Spelling::Base32 | Spelling::Utf16Base64 | Spelling::Coded
        )
    }

    /// Whether it means nothing as a part of a word.
    pub fn is_token(&self) -> bool {
        self.spelling == Spelling::Coded
    }

    /// What needs bounds in a long text needs none beside a label.
    pub fn short_too(&self) -> Option<Box<[u8]>> {
        let needle = self.needle();
        (!self.is_token() && needle.is_long_enough() && needle.bytes.len() < SHORTEST).then_some(needle.bytes)
    }
}

/// Collects the forms of one fact after another.
#[derive(Default)]
pub(super) struct Forms(pub Vec<Form>);

impl Forms {
    pub fn of(&mut self, fact: u32, kind: &str, value: &str, strength: Strength) {
        let first = self.0.len();
        self.add(fact, Spelling::Raw, value.as_bytes(), true);
        let (lower, upper) = (value.to_lowercase(), value.to_uppercase());
        if !value.is_ascii() {
            for cased in [&lower, &upper] {
                self.add(fact, Spelling::Raw, cased.as_bytes(), true);
            }
        }
        if kind.starts_with("path.") {
            for separator in ["-", "_"] {
                self.add(fact, Spelling::Dashed, value.replace(['/', '\\'], separator).as_bytes(), true);
                // A drive's colon may go and dots stay.
                self.add(fact, Spelling::Dashed, value.replace(['/', '\\', ':'], separator).as_bytes(), true);
                self.add(
                    fact,
                    Spelling::Dashed,
                    value.replace(['/', '\\', '.', ':', ' ', '_'], separator).as_bytes(),
                    true,
                );
            }
        }
        for other in other_spellings(kind, value) {
            self.add(fact, Spelling::Raw, other.as_bytes(), true);
        }
        self.percent(fact, value);
        self.escaped(fact, value);
        if value.len() >= SHORTEST_ENCODED && strength != Strength::Weak {
            self.encoded(fact, value, &lower);
            self.turned(fact, value);
        }
        // A few letters in an encoding make no run that would be looked into.
        let few = value.len() < SHORTEST_RUN * 3 / 4;
        if few || strength == Strength::Weak && value.len() <= LONGEST_SHORT {
            for cased in [value, &lower, &upper, &swapped(value)] {
                self.short(fact, cased);
            }
        }
        self.distinct_from(first);
    }

    fn add(&mut self, fact: u32, spelling: Spelling, bytes: &[u8], fold: bool) {
        if !bytes.is_empty() {
            self.0.push(Form { fact, spelling, bytes: bytes.into(), fold });
        }
    }

    /// One form for each run of bytes: what is spelled as it is stays the first.
    fn distinct_from(&mut self, first: usize) {
        let mut at = first;
        while at < self.0.len() {
            let form = &self.0[at];
            let known = self.0[first..at].iter().any(|other| {
                if other.fold { other.bytes.eq_ignore_ascii_case(&form.bytes) } else { other.bytes == form.bytes }
            });
            if known {
                self.0.remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn percent(&mut self, fact: u32, value: &str) {
        for form in [false, true] {
            let mut coded = Vec::new();
            percent::encode(value.as_bytes(), form, &mut coded);
            self.add(fact, Spelling::Percent, &coded, true);
            // What a path may hold is often left bare.
            let path = String::from_utf8_lossy(&coded).replace("%2F", "/");
            self.add(fact, Spelling::Percent, path.as_bytes(), true);
        }
        // Some encoders leave letters and digits alone.
        let mut strict = String::new();
        for byte in value.bytes() {
            match byte {
                byte if byte.is_ascii_alphanumeric() => strict.push(char::from(byte)),
                // Writing to a string cannot fail.
                byte => drop(write!(strict, "%{byte:02x}")),
            }
        }
        self.add(fact, Spelling::Percent, strict.as_bytes(), true);
    }

    fn escaped(&mut self, fact: u32, value: &str) {
        let slashes = value.replace('/', "\\/");
        let backslashes = value.replace('\\', "\\\\");
        let mut entities = Vec::new();
        html::encode(value.as_bytes(), &mut entities);
        self.add(fact, Spelling::Escaped, slashes.as_bytes(), true);
        self.add(fact, Spelling::Escaped, backslashes.as_bytes(), true);
        self.add(fact, Spelling::Html, &entities, true);
        if !value.is_ascii() {
            let ascii: String = value
                .chars()
                .map(|c| if c.is_ascii() { c.to_string() } else { units(c, |unit| format!("\\u{unit:04x}")) })
                .collect();
            self.add(fact, Spelling::Escaped, ascii.as_bytes(), true);
        }
    }

    fn encoded(&mut self, fact: u32, value: &str, lower: &str) {
        let mut every = String::new();
        let mut numbers = String::new();
        let mut hex_numbers = String::new();
        let escapes: String = value.chars().map(|c| units(c, |unit| format!("\\u{unit:04x}"))).collect();
        for byte in value.bytes() {
            // Writing to a string cannot fail.
            let _ = write!(every, "%{byte:02x}");
        }
        for c in value.chars() {
            let _ = write!(numbers, "&#{};", u32::from(c));
            let _ = write!(hex_numbers, "&#x{:x};", u32::from(c));
        }
        self.add(fact, Spelling::Percent, every.as_bytes(), true);
        self.add(fact, Spelling::Html, numbers.as_bytes(), true);
        self.add(fact, Spelling::Html, hex_numbers.as_bytes(), true);
        self.add(fact, Spelling::Escaped, escapes.as_bytes(), true);
        for cased in [value, lower] {
            self.add(fact, Spelling::Hex, crate::engine::line::hex(cased.as_bytes()).as_bytes(), true);
            self.base64(fact, cased.as_bytes(), |lead| Spelling::Base64 { lead });
            self.add(fact, Spelling::Base32, base32(cased.as_bytes()).as_bytes(), true);
            for wide in [utf16(cased, u16::to_le_bytes), utf16(cased, u16::to_be_bytes)] {
                self.add(fact, Spelling::Utf16, &wide, true);
                self.base64(fact, &wide, |_| Spelling::Utf16Base64);
                self.add(fact, Spelling::Hex, crate::engine::line::hex(&wide).as_bytes(), true);
            }
        }
    }

    fn short(&mut self, fact: u32, value: &str) {
        let hex = |text: &str| crate::engine::line::hex(text.as_bytes());
        let (coded, padded, digits) = (STANDARD_NO_PAD.encode(value), STANDARD.encode(value), hex(value));
        for twice in [hex(&coded), hex(&padded), hex(&digits)] {
            self.add(fact, Spelling::Coded, twice.as_bytes(), true);
        }
        for twice in [&coded, &padded, &digits, &digits.to_uppercase()] {
            self.add(fact, Spelling::Coded, STANDARD_NO_PAD.encode(twice).as_bytes(), false);
        }
        self.add(fact, Spelling::Coded, URL_SAFE_NO_PAD.encode(value).as_bytes(), false);
        self.add(fact, Spelling::Coded, coded.as_bytes(), false);
        self.add(fact, Spelling::Coded, digits.as_bytes(), true);
    }

    fn base64(&mut self, fact: u32, bytes: &[u8], spelling: impl Fn(u8) -> Spelling) {
        for lead in 0..3u8 {
            let mut padded = vec![0; lead.into()];
            padded.extend_from_slice(bytes);
            let whole = padded.len() * 8 / 6;
            for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
                let core = &text[lead_characters(lead)..whole.max(lead_characters(lead))];
                if core.len() >= 6 {
                    self.add(fact, spelling(lead), core.as_bytes(), false);
                }
            }
        }
    }

    fn turned(&mut self, fact: u32, value: &str) {
        let reversed: String = value.chars().rev().collect();
        let turned: String = value.chars().map(rot13).collect();
        self.add(fact, Spelling::Reversed, reversed.as_bytes(), true);
        self.add(fact, Spelling::Rot13, turned.as_bytes(), true);
        if value.contains('\\') {
            // Between quotes.
            self.add(fact, Spelling::Reversed, reversed.replace('\\', "\\\\").as_bytes(), true);
            self.add(fact, Spelling::Rot13, turned.replace('\\', "\\\\").as_bytes(), true);
        }
    }
}

/// How other programs write the same value down.
fn other_spellings(kind: &str, value: &str) -> Vec<String> {
    let digits: String = value.chars().filter(char::is_ascii_hexdigit).collect();
    let grouped = |size: usize, joint: &str| {
        let groups: Vec<&str> =
            (0..digits.len() / size).filter_map(|at| digits.get(at * size..(at + 1) * size)).collect();
        groups.join(joint)
    };
    match kind {
        // `00:1b:44:11:3a:b7`, `00-1B-44-11-3A-B7`, `001b.4411.3ab7`.
        "net.mac" if digits.len() == 12 => vec![grouped(2, ":"), grouped(2, "-"), grouped(4, "."), digits.clone()],
        // `C:/Users/ann`, as in addresses and in shells that came from elsewhere.
        _ if kind.starts_with("path.") && value.contains('\\') => vec![value.replace('\\', "/")],
        "host.machine_id" | "host.boot_id" if digits.len() == 32 => {
            let cut = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
            vec![cut.join("-"), digits.clone()]
        }
        _ if kind.starts_with("id.") && digits.len() == 32 && value.len() == 36 => vec![digits.clone()],
        _ => Vec::new(),
    }
}

/// Characters of the first group that hold bits of what stands before the value.
fn lead_characters(lead: u8) -> usize {
    [0, 2, 3][usize::from(lead % 3)]
}

fn units(c: char, spell: impl Fn(u16) -> String) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| spell(*unit)).collect()
}

pub(super) fn utf16(text: &str, bytes: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

/// Capitals for small letters, and small ones for capitals.
fn swapped(value: &str) -> String {
    let swap = |c: char| if c.is_ascii_uppercase() { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
    value.chars().map(swap).collect()
}

fn rot13(c: char) -> char {
    match c {
        'a'..='m' | 'A'..='M' => (c as u8 + 13) as char,
        'n'..='z' | 'N'..='Z' => (c as u8 - 13) as char,
        c => c,
    }
}

/// RFC 4648, section 6, without padding and without a last character that is not all of the value.
pub(super) fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::with_capacity(bytes.len() * 8 / 5);
    let (mut held, mut bits) = (0u32, 0);
    for &byte in bytes {
        held = held << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(held >> bits & 31) as usize]));
        }
        held &= (1 << bits) - 1;
    }
    out
}

/// Decoded bytes around a match that are enough to see whether it is a word of its own.
const NEAR: usize = 4;

/// What stands around a match, decoded.
pub(super) enum Context {
    /// The spelling has none: the text itself is to be looked at.
    Same,
    /// What the match stands for with a little of what stands around it, and where in it the match is.
    Decoded(Vec<u8>, Range<usize>),
    /// It stands for something else than `value`.
    Other,
}

/// Looks behind the spelling of a match: whether it stands for `value`, and what stands beside it.
pub(super) fn context(spelling: Spelling, text: &[u8], range: &Range<usize>, value: &str) -> Context {
    let before = &text[range.start.saturating_sub(NEAR * 6)..range.start];
    let after = &text[range.end..(range.end + NEAR * 6).min(text.len())];
    let matched = &text[range.clone()];
    match spelling {
        Spelling::Base64 { lead } => base64_context(lead, before, matched, after, value).unwrap_or(Context::Other),
        Spelling::Hex => {
            let pairs = |side: usize| side / 2 * 2;
            let ahead = pairs(before.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).count().min(8));
            let behind = pairs(after.iter().take_while(|byte| byte.is_ascii_hexdigit()).count().min(8));
            let inner = ahead / 2..ahead / 2 + range.len() / 2;
            unhex(&text[range.start - ahead..range.end + behind])
                .map_or(Context::Other, |decoded| Context::Decoded(decoded, inner))
        }
        Spelling::Percent | Spelling::Html | Spelling::Escaped => {
            let decode = |coded: &[u8]| {
                let mut out = Vec::new();
                match spelling {
                    Spelling::Percent => percent::decode(coded, false, &mut out),
                    Spelling::Html => html::decode(coded, &mut out),
                    _ => json_unescape(coded, &mut out),
                }
                out
            };
            let (mut whole, middle) = (decode(before), decode(matched));
            let start = whole.len();
            whole.extend_from_slice(&middle);
            let end = whole.len();
            whole.extend(decode(after));
            Context::Decoded(whole, start..end)
        }
        Spelling::Raw
        | Spelling::Dashed
        | Spelling::Base32
        | Spelling::Utf16
        | Spelling::Utf16Base64
        | Spelling::Reversed
        | Spelling::Rot13
        | Spelling::Coded => Context::Same,
    }
}

/// Of what stands before, only whole groups can be read, and only where the first characters of the value's own group
/// are there too; where they were cut off, its first byte is unknown.
fn base64_context(lead: u8, before: &[u8], matched: &[u8], after: &[u8], value: &str) -> Option<Context> {
    let is_char = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let run = before.iter().rev().take_while(is_char).count();
    let own = lead_characters(lead);
    let whole = run >= own;
    let kept = if whole { own + (run - own) / 4 * 4 } else { 0 };
    let mut coded = vec![b'A'; if whole { 0 } else { own }];
    coded.extend_from_slice(&before[before.len() - kept..]);
    coded.extend_from_slice(matched);
    coded.extend(after.iter().take_while(is_char));
    for byte in &mut coded {
        *byte = match *byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        };
    }
    coded.truncate(coded.len() - usize::from(coded.len() % 4 == 1));
    let decoded = unbase64(&coded)?;
    let start = kept.saturating_sub(own) / 4 * 3 + usize::from(lead);
    // Cut off in the middle of its last character, the value lacks a byte.
    let end = (start + value.len()).min(decoded.len());
    let unknown = usize::from(!whole && own > 0);
    let (found, known) = (decoded.get(start + unknown..end)?, value.as_bytes().get(unknown..end - start)?);
    let same =
        found.eq_ignore_ascii_case(known) || found == value.to_lowercase().as_bytes().get(unknown..end - start)?;
    if !same {
        return Some(Context::Other);
    }
    Some(Context::Decoded(decoded, start..end))
}

const LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(super) fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

pub(super) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

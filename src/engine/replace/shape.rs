//! Another value of the same shape, drawn by the key of the installation.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Words that identifiers are built around and that say nothing themselves.
const FRAME: &[&str] =
    &["user", "account", "session", "device", "machine", "install", "anon", "org", "urn", "uuid", "id", "sha256"];

/// Whether `value` is one long token without words: a UUID, a hex digest, base64 of something.
pub(super) fn is_opaque(value: &str) -> bool {
    let bytes = value.as_bytes();
    if is_uuid(bytes) {
        return true;
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let hex = bytes.iter().all(u8::is_ascii_hexdigit);
    if hex && bytes.len() >= 12 && digits > 0 && letters > 0 {
        return true;
    }
    let core = value.trim_end_matches('=');
    let mixed = digits >= 2 && bytes.iter().any(u8::is_ascii_lowercase) && bytes.iter().any(u8::is_ascii_uppercase);
    let alphabet = core.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_'));
    // A path is made of the same characters, but begins with its separator.
    mixed && alphabet && core.len() >= 24 && !value.starts_with(['/', '-'])
}

/// 8-4-4-4-12 hex digits.
fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A value of the same length and shape: hex stays hex, digits digits, a UUID a UUID of its version.
pub(super) fn same(key: &[u8; 32], value: &str) -> String {
    let mut drawn = Draw::new(key, value);
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while !rest.is_empty() {
        if let Some(uuid) = rest.get(..36).filter(|head| is_uuid(head.as_bytes())) {
            for (at, c) in uuid.char_indices() {
                match at {
                    // The version and the variant are part of the shape (RFC 9562, section 4).
                    14 | 19 => out.push(c),
                    _ => out.push(drawn.hex(c)),
                }
            }
            rest = &rest[36..];
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        token_like(token, &mut drawn, &mut out);
        let mut after = after.chars();
        match after.next() {
            // A letter of another script is a name: it does not stay.
            Some(c) if c.is_alphanumeric() => out.push('x'),
            Some(c) => out.push(c),
            None => {}
        }
        rest = after.as_str();
    }
    out
}

/// A JSON integer of the same number of digits.
pub(super) fn same_number(key: &[u8; 32], value: &str) -> String {
    let mut drawn = Draw::new(key, value);
    let mut out = String::with_capacity(value.len());
    token_like(value, &mut drawn, &mut out);
    if out.len() > 1 && out.starts_with('0') {
        out.replace_range(..1, "1");
    }
    out
}

fn token_like(token: &str, drawn: &mut Draw, out: &mut String) {
    if FRAME.contains(&token) {
        out.push_str(token);
        return;
    }
    let hex = token.len() >= 6 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    for (at, c) in token.chars().enumerate() {
        out.push(match c {
            // The first digit says whether a number is of that length.
            '1'..='9' if digits && at == 0 => drawn.of("123456789"),
            _ if hex && !digits => drawn.hex(c),
            '0'..='9' => drawn.of("0123456789"),
            'a'..='f' => drawn.of("abcdef"),
            'A'..='F' => drawn.of("ABCDEF"),
            'a'..='z' => drawn.of("abcdefghijklmnopqrstuvwxyz"),
            _ => drawn.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        });
    }
    if hex && !digits && out.ends_with(|c: char| c.is_ascii_hexdigit()) {
        keep_case(token, out);
    }
}

/// Hex is written in one case; the drawn digits take it over from the token.
fn keep_case(token: &str, out: &mut String) {
    if token.bytes().any(|byte| byte.is_ascii_uppercase()) && !token.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let start = out.len() - token.len();
        let upper = out[start..].to_ascii_uppercase();
        out.replace_range(start.., &upper);
    }
}

/// Bytes drawn from a value by HMAC-SHA-256 in counter mode.
struct Draw {
    mac: Hmac<Sha256>,
    block: [u8; 32],
    used: usize,
    counter: u32,
}

impl Draw {
    fn new(key: &[u8; 32], value: &str) -> Self {
        let mut mac = keyed(key, b"stand-in");
        // One identifier spelled in two cases is one identifier.
        mac.update(value.to_ascii_lowercase().as_bytes());
        Self { mac, block: [0; 32], used: 32, counter: 0 }
    }

    fn byte(&mut self) -> u8 {
        if self.used == self.block.len() {
            let mut mac = self.mac.clone();
            mac.update(&self.counter.to_be_bytes());
            self.block = mac.finalize().into_bytes().into();
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    fn of(&mut self, alphabet: &'static str) -> char {
        alphabet.as_bytes()[usize::from(self.byte()) % alphabet.len()] as char
    }

    fn hex(&mut self, like: char) -> char {
        match like {
            '-' => '-',
            'A'..='F' => self.of("0123456789ABCDEF"),
            _ => self.of("0123456789abcdef"),
        }
    }
}

/// An HMAC for one purpose, so that digests made for one are worth nothing for another.
pub(in crate::engine) fn keyed(key: &[u8; 32], purpose: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(purpose);
    mac.update(&[0]);
    mac
}

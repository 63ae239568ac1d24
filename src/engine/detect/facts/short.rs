//! Short and common values in an encoding, or as a digest: `{"country": "Q04="}`.
//!
//! They are spelled in too few characters to be told by themselves, so each spelling is known beforehand, and counts only as
//! the whole of a value whose name tells of the kind.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use sha3::Sha3_256;

use super::forms::{base32, utf16};
use crate::engine::detect::hash::ShortMap;
use crate::engine::line::hex;

/// What stands for which facts.
#[derive(Default)]
pub(super) struct Spelled(ShortMap<Box<[u8]>, Vec<u32>>);

/// Characters of the longest spelling: SHA-512 in hex.
const LONGEST: usize = 128;
/// Of the shortest: `OA`.
const SHORTEST: usize = 2;
/// Longer values are found by the forms of all.
const LONGEST_VALUE: usize = 24;

impl Spelled {
    pub fn add(&mut self, fact: u32, value: &str) {
        if value.len() > LONGEST_VALUE {
            return;
        }
        let (lower, upper) = (value.to_lowercase(), value.to_uppercase());
        for cased in [value, &lower, &upper] {
            self.coded(fact, cased.as_bytes());
            self.references(fact, cased);
            for order in [u16::to_le_bytes, u16::to_be_bytes] {
                self.coded(fact, &utf16(cased, order));
            }
            // With the last character, which holds what is left of the value.
            let mut base32 = base32(&[cased.as_bytes(), b"\0"].concat());
            base32.truncate((cased.len() * 8).div_ceil(5));
            let padded = format!("{base32:=<width$}", width = base32.len().next_multiple_of(8));
            for spelled in [&base32, &padded] {
                self.keep(fact, spelled.to_lowercase());
                self.keep(fact, spelled.clone());
            }
            let line = format!("{cased}\n");
            for input in [cased.as_bytes(), line.as_bytes()] {
                let digests: [Box<[u8]>; 6] = [
                    Md5::digest(input).as_slice().into(),
                    Sha1::digest(input).as_slice().into(),
                    Sha256::digest(input).as_slice().into(),
                    Sha384::digest(input).as_slice().into(),
                    Sha512::digest(input).as_slice().into(),
                    Sha3_256::digest(input).as_slice().into(),
                ];
                for digest in digests {
                    self.coded(fact, &digest);
                }
            }
        }
    }

    /// The facts that all of `text` stands for.
    pub fn get(&self, text: &[u8]) -> &[u32] {
        match (SHORTEST..=LONGEST).contains(&text.len()) {
            true => self.0.get(text).map_or(&[], Vec::as_slice),
            false => &[],
        }
    }

    fn coded(&mut self, fact: u32, bytes: &[u8]) {
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            self.keep(fact, engine.encode(bytes));
        }
        let digits = hex(bytes);
        self.keep(fact, digits.to_uppercase());
        self.keep(fact, digits);
    }

    fn references(&mut self, fact: u32, value: &str) {
        let all = |unit: &dyn Fn(u32) -> String| value.chars().map(|c| unit(c.into())).collect::<String>();
        self.keep(fact, all(&|code| format!("&#{code};")));
        self.keep(fact, all(&|code| format!("&#x{code:x};")));
        self.keep(fact, all(&|code| format!("&#x{code:X};")));
        self.keep(fact, all(&|code| format!("\\u{code:04x}")));
        self.keep(fact, value.bytes().map(|byte| format!("%{byte:02X}")).collect());
        self.keep(fact, value.bytes().map(|byte| format!("%{byte:02x}")).collect());
    }

    fn keep(&mut self, fact: u32, text: String) {
        let facts = self.0.entry(text.into_bytes().into()).or_default();
        if !facts.contains(&fact) {
            facts.push(fact);
        }
    }
}

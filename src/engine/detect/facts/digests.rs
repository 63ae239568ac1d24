//! Digests of the facts, computed once: what a digest is of cannot be undone, only be known beforehand.

use std::collections::HashMap;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use sha3::Sha3_256;

/// Digests by their first six bytes: the least that a cut one keeps (12 hex digits).
#[derive(Default)]
pub(super) struct Digests {
    by_start: HashMap<[u8; 6], Vec<Digested>>,
}

/// A fact and a digest of it.
type Digested = (u32, Box<[u8]>);

/// Hex digits of the shortest digest that is recognised.
pub(super) const SHORTEST: usize = 12;
/// Lengths that a whole digest can have, in bytes: MD5, SHA-1, SHA-256 and SHA3-256, SHA-384, SHA-512.
pub(super) const LENGTHS: [usize; 5] = [16, 20, 32, 48, 64];

/// Whether everybody has digests of `value`: of `1`, of `en`.
pub(super) fn is_anybody_s(value: &str) -> bool {
    value.len() < 3 || value.len() < 4 && value.bytes().all(|byte| byte.is_ascii_digit())
}

impl Digests {
    pub fn add(&mut self, fact: u32, kind: &str, value: &str) {
        for text in inputs(kind, value) {
            for input in [text.clone(), text + "\n"] {
                let input = input.as_bytes();
                let digests: [Box<[u8]>; 6] = [
                    Md5::digest(input).as_slice().into(),
                    Sha1::digest(input).as_slice().into(),
                    Sha256::digest(input).as_slice().into(),
                    Sha384::digest(input).as_slice().into(),
                    Sha512::digest(input).as_slice().into(),
                    Sha3_256::digest(input).as_slice().into(),
                ];
                for digest in digests {
                    if let Some(start) = digest.first_chunk() {
                        let list = self.by_start.entry(*start).or_default();
                        if !list.iter().any(|(_, known)| *known == digest) {
                            list.push((fact, digest));
                        }
                    }
                }
            }
        }
    }

    /// The fact that `digest` is of.
    pub fn of_bytes(&self, digest: &[u8]) -> Option<u32> {
        let candidates = self.by_start.get(digest.first_chunk::<6>()?)?;
        candidates.iter().find(|(_, known)| **known == *digest).map(|(fact, _)| *fact)
    }

    /// The fact whose digest, or the beginning of it, `digits` spell in hex.
    pub fn of_hex(&self, digits: &[u8]) -> Option<u32> {
        self.find(digits, |_| false)
    }

    /// The same for 32 digits in the shape of a UUID, whose version and variant stand in two of them (RFC 9562).
    pub fn of_uuid(&self, digits: &[u8]) -> Option<u32> {
        self.find(digits, |at| matches!(at, 12 | 16)).filter(|_| digits.len() == 32)
    }

    fn find(&self, digits: &[u8], free: impl Fn(usize) -> bool) -> Option<u32> {
        let digit = |at: usize| digits.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let mut start = [0; 6];
        for (at, byte) in start.iter_mut().enumerate() {
            *byte = (digit(at * 2)? << 4 | digit(at * 2 + 1)?) as u8;
        }
        let nibble = |known: &[u8], at: usize| known.get(at / 2).map(|byte| u32::from(byte >> (4 - at % 2 * 4) & 15));
        let same = |known: &[u8], at: usize| free(at) || (digit(at).is_some() && nibble(known, at) == digit(at));
        let candidates = self.by_start.get(&start)?;
        candidates.iter().find(|(_, known)| (SHORTEST..digits.len()).all(|at| same(known, at))).map(|(fact, _)| *fact)
    }
}

/// The texts of a value that programs take digests of.
fn inputs(kind: &str, value: &str) -> Vec<String> {
    let lower = value.to_lowercase();
    let mut texts = vec![value.to_owned(), lower.clone(), value.to_uppercase()];
    match kind {
        "net.mac" => {
            let digits: String = lower.chars().filter(char::is_ascii_hexdigit).collect();
            let pairs: Vec<&str> = (0..digits.len() / 2).filter_map(|at| digits.get(at * 2..at * 2 + 2)).collect();
            for joint in ["", ":", "-"] {
                let joined = pairs.join(joint);
                texts.extend([joined.to_uppercase(), joined]);
            }
        }
        "git.remote" => texts.extend(remote_forms(value)),
        kind if kind.starts_with("path.") => {
            texts.push(format!("{}/", value.trim_end_matches('/')));
            texts.push(format!("file://{value}"));
        }
        _ => {
            let digits: String = lower.chars().filter(|c| *c != '-').collect();
            if digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let cut = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
                let uuid = [cut(0..8), cut(8..12), cut(12..16), cut(16..20), cut(20..32)].join("-");
                texts.extend([uuid.to_uppercase(), uuid, digits.clone()]);
            }
        }
    }
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// `git@github.com:acme/billing.git` and what it is brought to: `github.com/acme/billing`, `acme/billing` …
pub(super) fn remote_forms(remote: &str) -> Vec<String> {
    let rest = remote.split_once("://").map_or(remote, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let Some(split) = rest.find([':', '/']) else { return Vec::new() };
    let host = rest[..split].to_lowercase();
    let path = &rest[split + 1..];
    // A port is no part of the path.
    let behind_port = path.trim_start_matches(|c: char| c.is_ascii_digit());
    let path = if behind_port.starts_with('/') { behind_port } else { path }.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut forms = Vec::new();
    for path in [path.to_owned(), path.to_lowercase()] {
        forms.extend([
            format!("{host}/{path}"),
            format!("{host}:{path}"),
            format!("https://{host}/{path}"),
            format!("https://{host}/{path}.git"),
            format!("git@{host}:{path}"),
            format!("git@{host}:{path}.git"),
            format!("ssh://git@{host}/{path}"),
            format!("ssh://git@{host}/{path}.git"),
            format!("{host}/{path}.git"),
            format!("{path}.git"),
            path,
        ]);
    }
    forms
}

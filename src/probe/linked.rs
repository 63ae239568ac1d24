//! Values that say nothing by themselves, since they are drawn anew each time, but something beside another one that was sent
//! along: a digest with its salt, a text with the key that it was mixed with, a clock with another one.
//!
//! Pure, and in bounds: of each request only so many values are held against each other.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Digest;

/// What two values say together, run by run.
pub struct Linked {
    /// Numbers of the places, as they were given: where it stands, and beside which.
    pub at: usize,
    pub beside: usize,
    pub cells: Vec<Option<String>>,
}

/// By run; none where the place is not there.
pub type Values = [Option<Arc<str>>];

/// Places of one request that are held against each other.
const MOST_PLACES: usize = 40;
/// Digests and salts of one request.
const MOST_DIGESTS: usize = 12;
const MOST_SALTS: usize = 24;
/// Runs in which a salted digest is looked for; what is found in two is looked up in all.
const MOST_SEARCHED: usize = 24;
/// The shortest part of a digest, in bytes, that is no accident.
const SHORTEST_DIGEST: usize = 4;
const LONGEST_SALT: usize = 128;

/// Finds what pairs of `places` say together. `facts`: by run, the values of the factors. `base`: runs with nothing varied.
pub fn find(places: &[(usize, &Values)], base: &[bool], facts: &[Vec<String>]) -> Vec<Linked> {
    let places = &places[..places.len().min(MOST_PLACES)];
    let mut found = Vec::new();
    for (number, &(at, values)) in places.iter().enumerate() {
        for &(beside, others) in &places[number + 1..] {
            let cells = constant_together(values, others, base, mixed)
                .or_else(|| constant_together(values, others, base, distance));
            if let Some(cells) = cells {
                found.push(Linked { at, beside, cells: cells.clone() });
                found.push(Linked { at: beside, beside: at, cells });
            }
        }
    }
    found.extend(salted(places, facts));
    found
}

/// What `of` says of both in each run, if it is the same whenever nothing was varied.
fn constant_together(
    a: &Values,
    b: &Values,
    base: &[bool],
    of: impl Fn(&str, &str) -> Option<String>,
) -> Option<Vec<Option<String>>> {
    let cell = |(a, b): (&Option<Arc<str>>, &Option<Arc<str>>)| of(a.as_deref()?, b.as_deref()?);
    let mut known: Option<String> = None;
    let mut runs = 0;
    for (pair, _) in a.iter().zip(b).zip(base).filter(|(_, base)| **base) {
        let (Some(_), Some(_)) = pair else { continue };
        let together = cell(pair)?;
        if known.get_or_insert_with(|| together.clone()) != &together {
            return None;
        }
        runs += 1;
    }
    (runs >= 3).then(|| a.iter().zip(b).map(cell).collect())
}

/// Bytes of a value that is spelled in hex or base64.
fn bytes(text: &str) -> Option<Vec<u8>> {
    // What is a number is not looked at as anything else.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if text.len() >= 8 && text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        return text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
    }
    let letters = text.trim_end_matches('=');
    if letters.len() < 8 || letters.len() > 4 * LONGEST_SALT {
        return None;
    }
    BASE64_URL_SAFE_NO_PAD.decode(letters).or_else(|_| BASE64_STANDARD.decode(text)).ok()
}

/// Both as one text, where one was mixed with the other (XOR).
fn mixed(a: &str, b: &str) -> Option<String> {
    let (a, b) = (bytes(a)?, bytes(b)?);
    if a.len() != b.len() {
        return None;
    }
    let both: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a ^ b).collect();
    match std::str::from_utf8(&both) {
        Ok(text) if !text.contains(char::is_control) => Some(text.trim_end().to_owned()),
        _ => Some(both.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// How far two numbers are apart: of clocks in quarters of an hour, as zones are.
fn distance(a: &str, b: &str) -> Option<String> {
    let (a, b): (i64, i64) = (a.parse().ok()?, b.parse().ok()?);
    let difference = b.checked_sub(a)?;
    let clock = a.min(b);
    let unit = match clock {
        1_000_000_000_000.. => 900_000,
        1_000_000_000.. => 900,
        _ => 1,
    };
    Some(((difference as f64) / f64::from(unit)).round().to_string())
}

/// How a digest is made of a salt and a fact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Recipe {
    digest: &'static str,
    /// Between both; none where the salt is the key.
    between: Option<&'static str>,
    salt_first: bool,
}

const DIGESTS: [&str; 3] = ["sha256", "sha1", "md5"];
const BETWEEN: [&str; 6] = ["", ":", "-", "|", ".", "_"];

fn recipes() -> Vec<Recipe> {
    let mut all = Vec::new();
    for digest in DIGESTS {
        for between in BETWEEN {
            for salt_first in [true, false] {
                all.push(Recipe { digest, between: Some(between), salt_first });
            }
        }
    }
    all.push(Recipe { digest: "sha256", between: None, salt_first: true });
    all
}

impl Recipe {
    fn of(self, salt: &[u8], fact: &str) -> Vec<u8> {
        let Some(between) = self.between else {
            return match Hmac::<sha2::Sha256>::new_from_slice(salt) {
                Ok(key) => key.chain_update(fact).finalize().into_bytes().to_vec(),
                Err(_) => Vec::new(),
            };
        };
        let (first, last) = if self.salt_first { (salt, fact.as_bytes()) } else { (fact.as_bytes(), salt) };
        let text = [first, between.as_bytes(), last].concat();
        match self.digest {
            "sha256" => sha2::Sha256::digest(text).to_vec(),
            "sha1" => sha1::Sha1::digest(text).to_vec(),
            _ => md5::Md5::digest(text).to_vec(),
        }
    }
}

/// A digest, its salt and the factor: numbers among the places and the facts, and how it is made.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Made {
    digest: usize,
    salt: usize,
    /// The salt as the bytes that it spells.
    raw: bool,
    factor: usize,
    recipe: Recipe,
}

impl Made {
    /// Whether the digest of one run is that of `fact`.
    fn fits(&self, places: &[(usize, &Values)], run: usize, fact: &str) -> Option<bool> {
        let digest = bytes(places[self.digest].1[run].as_deref()?)?;
        let salt = salt(places[self.salt].1[run].as_deref()?, self.raw)?;
        Some(self.recipe.of(&salt, fact).starts_with(&digest))
    }
}

fn salt(text: &str, raw: bool) -> Option<Vec<u8>> {
    if raw { bytes(text) } else { Some(text.as_bytes().to_vec()) }
}

fn salted(places: &[(usize, &Values)], facts: &[Vec<String>]) -> Vec<Linked> {
    let is_digest = |values: &Values| {
        let mut met = values.iter().flatten().peekable();
        let fits = |text: &Arc<str>| bytes(text).is_some_and(|bytes| (SHORTEST_DIGEST..=32).contains(&bytes.len()));
        met.peek().is_some() && met.take(4).all(fits)
    };
    let is_salt = |values: &Values| values.iter().flatten().take(4).all(|text| text.len() <= LONGEST_SALT);
    let numbers = 0..places.len();
    let digests: Vec<usize> = numbers.clone().filter(|&at| is_digest(places[at].1)).take(MOST_DIGESTS).collect();
    let salts: Vec<usize> = numbers.filter(|&at| is_salt(places[at].1)).take(MOST_SALTS).collect();
    if digests.is_empty() || salts.len() < 2 {
        return Vec::new();
    }
    let mut known: Vec<(Made, usize)> = Vec::new();
    let step = facts.len().div_ceil(MOST_SEARCHED).max(1);
    for run in (0..facts.len()).step_by(step) {
        search(places, &digests, &salts, run, &facts[run], &mut known);
    }
    let twice = known.into_iter().filter(|(_, runs)| *runs >= 2).map(|(made, _)| made);
    twice.map(|made| told(places, facts, made)).collect()
}

fn search(
    places: &[(usize, &Values)],
    digests: &[usize],
    salts: &[usize],
    run: usize,
    facts: &[String],
    known: &mut Vec<(Made, usize)>,
) {
    let wanted: Vec<(usize, Vec<u8>)> =
        digests.iter().filter_map(|&at| Some((at, bytes(places[at].1[run].as_deref()?)?))).collect();
    for &place in salts {
        let Some(text) = places[place].1[run].as_deref() else { continue };
        for raw in [false, true] {
            let Some(salt) = salt(text, raw) else { continue };
            for (factor, fact) in facts.iter().enumerate().filter(|(_, fact)| !fact.is_empty()) {
                for recipe in recipes() {
                    let made = recipe.of(&salt, fact);
                    for (digest, _) in wanted.iter().filter(|(at, digest)| *at != place && made.starts_with(digest)) {
                        let made = Made { digest: *digest, salt: place, raw, factor, recipe };
                        match known.iter_mut().find(|(other, _)| *other == made) {
                            Some((_, runs)) => *runs += 1,
                            None => known.push((made, 1)),
                        }
                    }
                }
            }
        }
    }
}

/// By run, of which of the factor's values the digest is.
fn told(places: &[(usize, &Values)], facts: &[Vec<String>], made: Made) -> Linked {
    let mut values: Vec<&str> = facts.iter().map(|facts| facts[made.factor].as_str()).collect();
    values.sort_unstable();
    values.dedup();
    let cell = |run: usize| {
        let fits = |fact: &&&str| made.fits(places, run, fact) == Some(true);
        places[made.digest].1[run].as_deref()?;
        Some(match values.iter().find(fits) {
            Some(value) => format!("{} of {value} and it", made.recipe.digest),
            None => "of something else".to_owned(),
        })
    };
    let cells = (0..facts.len()).map(cell).collect();
    Linked { at: places[made.digest].0, beside: places[made.salt].0, cells }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> Vec<Option<Arc<str>>> {
        texts.iter().map(|&text| Some(text.into())).collect()
    }

    fn found(a: &[&str], b: &[&str], facts: &[&str]) -> Vec<Vec<Option<String>>> {
        let (a, b) = (values(a), values(b));
        let base: Vec<bool> = (0..a.len()).map(|run| run < 3).collect();
        let facts: Vec<Vec<String>> = facts.iter().map(|&fact| vec![fact.to_owned()]).collect();
        find(&[(0, &a), (1, &b)], &base, &facts).into_iter().map(|linked| linked.cells).collect()
    }

    #[test]
    fn clocks_say_how_far_apart_they_are() {
        let utc = ["1795780000", "1795780461", "1795781090", "1795782000"];
        let local = ["1795783600", "1795784061", "1795784690", "1795810800"];
        let cells = found(&utc, &local, &["a", "a", "a", "b"]);
        let expected: Vec<Option<String>> = ["4", "4", "4", "32"].map(|text| Some(text.to_owned())).to_vec();
        assert_eq!(cells, [expected.clone(), expected]);
        assert!(found(&["17", "39", "5", "8"], &["40", "7", "88", "9"], &["a"; 4]).is_empty());
    }

    #[test]
    fn a_key_sent_along_opens_what_it_was_mixed_with() {
        let key = ["0a112233", "556677b8", "99aabbcc", "0102c304"];
        let word = ["48e8fad", "x", "y", "z"];
        let mixed: Vec<String> = key
            .iter()
            .zip([*b"zone", *b"zone", *b"zone", *b"else"])
            .map(|(key, text)| {
                let key = bytes(key).unwrap();
                key.iter().zip(text).map(|(a, b)| format!("{:02x}", a ^ b)).collect()
            })
            .collect();
        let mixed: Vec<&str> = mixed.iter().map(String::as_str).collect();
        let cells = found(&mixed, &key, &["a", "a", "a", "b"]);
        assert_eq!(cells[0], ["zone", "zone", "zone", "else"].map(|text| Some(text.to_owned())));
        assert!(found(&mixed, &word, &["a"; 4]).is_empty());
    }

    #[test]
    fn a_salt_sent_along_opens_its_digest() {
        let salts = ["a1b2c3d4", "0badf00d", "12ab34cd", "feedbeef"];
        let facts = ["larch", "larch", "larch", "wombat"];
        for between in ["", ":"] {
            let digests: Vec<String> = salts
                .iter()
                .zip(facts)
                .map(|(salt, fact)| {
                    let digest = sha2::Sha256::digest(format!("{salt}{between}{fact}"));
                    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
                })
                .collect();
            let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
            let cells = found(&digests, &salts, &facts);
            assert_eq!(cells.len(), 1);
            assert_eq!(cells[0][0].as_deref(), Some("sha256 of larch and it"));
            assert_eq!(cells[0][3].as_deref(), Some("sha256 of wombat and it"));
        }
    }
}

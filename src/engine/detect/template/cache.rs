//! Texts that were read before: what they teach, and how they compared with the same knowledge.
//!
//! A client sends the same words again on every turn. A text is known by a digest of its bytes and its place, under
//! the key of the installation; what was found in it holds as long as what is known of the client does. Nothing but
//! time depends on what is kept here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Worth;
use super::book::Noted;
use super::text::mix;
use super::unlike::Odd;

/// Bytes of one half; the older half goes when the newer one is full.
const HALF: usize = 8 << 20;
/// Shorter texts are read as fast as they are looked up.
const SHORTEST: usize = 256;
/// What an entry weighs beside what it holds.
const OVERHEAD: usize = 160;

/// What reading one text came to.
#[derive(Clone)]
pub(super) struct Outcome {
    pub noted: Arc<Noted>,
    pub odd: Arc<[(Odd, Worth)]>,
}

/// A text, where it stands, and how it was asked.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Key(u64, u64);

pub struct Cache {
    /// None where it is switched off.
    halves: Option<Mutex<Halves>>,
}

#[derive(Default)]
struct Halves {
    young: HashMap<Key, (u64, Outcome)>,
    old: HashMap<Key, (u64, Outcome)>,
    weight: usize,
    hits: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self { halves: Some(Mutex::default()) }
    }
}

impl Cache {
    /// One that keeps nothing.
    pub const OFF: Self = Self { halves: None };

    /// None for a text that is not worth it.
    pub(super) fn key(&self, text: &str, around: u64, asked: u64) -> Option<Key> {
        self.halves.as_ref().filter(|_| text.len() >= SHORTEST)?;
        let mut lanes = (mix(around, asked), mix(around.rotate_left(32), !asked));
        let mut words = text.as_bytes().chunks_exact(8);
        for word in &mut words {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            lanes = (mix(lanes.0, word), mix(lanes.1 ^ word.rotate_left(31), lanes.0));
        }
        let rest = words.remainder().iter().fold(text.len() as u64, |rest, &byte| rest << 8 | u64::from(byte));
        Some(Key(mix(lanes.0, rest), mix(lanes.1, rest ^ lanes.0)))
    }

    /// What the text came to when `revision` was known of its client.
    pub(super) fn get(&self, key: Key, revision: u64) -> Option<Outcome> {
        let mut halves = self.halves.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match halves.young.get(&key) {
            Some(found) => found.clone(),
            None => {
                let found = halves.old.get(&key)?.clone();
                halves.put(key, found.clone());
                found
            }
        };
        let (known, outcome) = found;
        halves.hits += u64::from(known == revision);
        (known == revision).then_some(outcome)
    }

    pub(super) fn put(&self, key: Key, revision: u64, outcome: Outcome) {
        if let Some(halves) = &self.halves {
            halves.lock().unwrap_or_else(PoisonError::into_inner).put(key, (revision, outcome));
        }
    }

    #[cfg(test)]
    pub fn hits(&self) -> u64 {
        self.halves.as_ref().map_or(0, |halves| halves.lock().unwrap_or_else(PoisonError::into_inner).hits)
    }
}

impl Halves {
    fn put(&mut self, key: Key, entry: (u64, Outcome)) {
        let weight = entry.1.weight();
        if weight > HALF / 2 {
            return;
        }
        if self.weight + weight > HALF {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        if let Some((_, before)) = self.young.insert(key, entry) {
            self.weight -= before.weight();
        }
    }
}

impl Outcome {
    fn weight(&self) -> usize {
        let odd: usize = self.odd.iter().map(|(odd, _)| OVERHEAD + odd.restored.as_ref().map_or(0, String::len)).sum();
        OVERHEAD + self.noted.weight() + odd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(size: usize) -> Outcome {
        Outcome { noted: Arc::new(Noted::of(vec![(1, 2); size])), odd: Arc::from([]) }
    }

    #[test]
    fn a_text_is_kept_for_its_place_and_what_was_known() {
        let cache = Cache::default();
        let text = "word ".repeat(100);
        let key = cache.key(&text, 1, 0).expect("it is long enough");
        cache.put(key, 7, outcome(3));
        assert_eq!(cache.get(key, 7).map(|outcome| outcome.noted.len()), Some(3));
        assert!(cache.get(key, 8).is_none());
        for other in
            [(&text, 2, 0), (&text, 1, 1), (&text.replacen("word", "wore", 1), 1, 0), (&(text.clone() + " "), 1, 0)]
        {
            let other = cache.key(other.0, other.1, other.2).expect("it is long enough");
            assert!(cache.get(other, 7).is_none());
        }
        assert!(cache.key("short", 1, 0).is_none());
        assert!(Cache::OFF.key(&text, 1, 0).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = Cache::default();
        for number in 0..4000u64 {
            cache.put(Key(number, 0), 0, outcome(1000));
        }
        let halves = cache.halves.as_ref().expect("it is on").lock().expect("nobody else has it");
        let held: usize = halves.young.values().chain(halves.old.values()).map(|(_, outcome)| outcome.weight()).sum();
        assert!(held <= 2 * HALF, "{held}");
        assert!(halves.young.contains_key(&Key(3999, 0)));
    }
}

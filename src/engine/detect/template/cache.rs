//! Texts that were read before: what they teach, and how they compared with the same knowledge.
//!
//! A client sends the same words again on every turn. A text is known by a digest of its bytes and its place, under
//! the key of the installation; what was found in it holds as long as what is known of the client does. Nothing but
//! time depends on what is kept here.

use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};

use super::Worth;
use super::book::Noted;
use super::elements::{self, Told};
use super::text::mix;
use super::unlike::Odd;
use crate::engine::remembered::{OVERHEAD, Remembered};

/// Bytes of the newer half of what is kept of texts, of elements, and of what both teach.
const HALF: usize = 8 << 20;
const HALF_ELEMENTS: usize = 4 << 20;
const HALF_NOTED: usize = 2 << 20;
/// Shorter texts are read as fast as they are looked up.
const SHORTEST: usize = 256;

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
    kept: Option<Remembered<Key, (u64, Outcome)>>,
    elements: Remembered<elements::Key, (u64, Arc<Told>)>,
    /// What elements teach, by a digest of it: most teach the same.
    noted: Remembered<u64, Arc<Noted>>,
    #[cfg(test)]
    hits: AtomicU64,
}

impl Default for Cache {
    fn default() -> Self {
        Self::with(Some(Remembered::new(HALF)))
    }
}

impl Cache {
    /// One that keeps nothing.
    pub fn off() -> Self {
        Self::with(None)
    }

    fn with(kept: Option<Remembered<Key, (u64, Outcome)>>) -> Self {
        Self {
            kept,
            elements: Remembered::new(HALF_ELEMENTS),
            noted: Remembered::new(HALF_NOTED),
            #[cfg(test)]
            hits: AtomicU64::default(),
        }
    }

    /// None for a text that is not worth it.
    pub(super) fn key(&self, text: &str, around: u64, asked: u64) -> Option<Key> {
        self.kept.as_ref().filter(|_| text.len() >= SHORTEST)?;
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
        let (known, outcome) = self.kept.as_ref()?.get(key)?;
        #[cfg(test)]
        self.hits.fetch_add(u64::from(known == revision), Ordering::Relaxed);
        (known == revision).then_some(outcome)
    }

    pub(super) fn put(&self, key: Key, revision: u64, outcome: Outcome) {
        if let Some(kept) = &self.kept {
            let weight = outcome.weight();
            kept.put(key, (revision, outcome), weight);
        }
    }

    /// What the element came to when `revision` was known of its client.
    pub(super) fn element(&self, key: elements::Key, revision: u64) -> Option<Arc<Told>> {
        self.kept.as_ref()?;
        let (known, told) = self.elements.get(key)?;
        (known == revision).then_some(told)
    }

    pub(super) fn put_element(&self, key: elements::Key, revision: u64, told: Told) {
        if self.kept.is_some() {
            let weight = told.weight();
            self.elements.put(key, (revision, Arc::new(told)), weight);
        }
    }

    /// The same as `noted`, held once for all that teach it.
    pub(super) fn shared(&self, noted: Noted) -> Arc<Noted> {
        let noted = noted.tidied();
        let digest = noted.digest();
        if self.kept.is_none() {
            return Arc::new(noted);
        }
        if let Some(known) = self.noted.get(digest).filter(|known| **known == noted) {
            return known;
        }
        let weight = noted.weight();
        let noted = Arc::new(noted);
        self.noted.put(digest, noted.clone(), weight);
        noted
    }

    #[cfg(test)]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
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
        assert!(Cache::off().key(&text, 1, 0).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = Cache::default();
        for number in 0..4000u64 {
            cache.put(Key(number, 0), 0, outcome(1000));
        }
        let kept = cache.kept.as_ref().expect("it is on");
        assert!(kept.weight() <= 2 * HALF, "{}", kept.weight());
        assert!(cache.get(Key(3999, 0), 0).is_some());
    }
}

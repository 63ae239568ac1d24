//! What was worked out before, within a bound: the older half goes when the newer one is full.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::detect::hash::Keyed;

pub(crate) struct Remembered<K, V> {
    halves: Mutex<Halves<K, V>>,
    /// Bytes of one half.
    half: usize,
}

struct Halves<K, V> {
    young: HashMap<K, Entry<V>, Keyed>,
    old: HashMap<K, Entry<V>, Keyed>,
    weight: usize,
}

struct Entry<V> {
    value: V,
    weight: usize,
}

/// What an entry weighs beside what it holds.
pub(crate) const OVERHEAD: usize = 96;

impl<K: Copy + Eq + Hash, V: Clone> Remembered<K, V> {
    pub fn new(half: usize) -> Self {
        let halves = Halves { young: HashMap::default(), old: HashMap::default(), weight: 0 };
        Self { halves: Mutex::new(halves), half }
    }

    pub fn get(&self, key: K) -> Option<V> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = halves.young.get(&key) {
            return Some(found.value.clone());
        }
        let found = halves.old.remove(&key)?;
        let value = found.value.clone();
        halves.put(key, found, self.half);
        Some(value)
    }

    /// `weight`: the bytes that `value` takes, about.
    pub fn put(&self, key: K, value: V, weight: usize) {
        let weight = weight + OVERHEAD;
        if weight > self.half / 2 {
            return;
        }
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.put(key, Entry { value, weight }, self.half);
    }

    #[cfg(test)]
    pub fn weight(&self) -> usize {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.young.values().chain(halves.old.values()).map(|entry| entry.weight).sum()
    }
}

impl<K: Eq + Hash, V> Halves<K, V> {
    fn put(&mut self, key: K, entry: Entry<V>, half: usize) {
        if self.weight + entry.weight > half {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += entry.weight;
        if let Some(before) = self.young.insert(key, entry) {
            self.weight -= before.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_what_is_asked_for_stays() {
        let kept = Remembered::new(100_000);
        for number in 0..4000u64 {
            kept.put(number, number, 1000);
            assert_eq!(kept.get(0), Some(0), "asked for again and again, at {number}");
        }
        assert!(kept.weight() <= 200_000, "{}", kept.weight());
        assert_eq!(kept.get(3999), Some(3999));
        assert_eq!(kept.get(1), None);
        kept.put(5000, 1, 60_000);
        assert_eq!(kept.get(5000), None, "half of it for one is too much");
    }
}

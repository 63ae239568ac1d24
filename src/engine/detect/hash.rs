//! FNV-1a: for short keys that nobody chose to collide, names and values that were known beforehand.
//!
//! The maps hold what rules and facts say, never what a request says, so no sender can fill a bucket.

use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type ShortMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Fnv>>;

pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        // A word at a time: the keys are short, and a byte at a time would be most of a look-up.
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.put(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.put(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, byte: u8) {
        self.put(byte.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.put(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

impl Fnv {
    fn put(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
}

//! For short keys, of which there are several in every leaf.
//!
//! [`ShortMap`] holds what rules and facts say, never what a request says, so no sender can fill a bucket. [`Keyed`] is for what
//! a request says: names that a sender may choose.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::LazyLock;

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

/// Hashes by multiplication with secret numbers, all 128 bits of the products folded into one word: who does not know them
/// cannot make keys collide. A third of what the standard library's hasher costs for a name.
#[derive(Clone)]
pub(crate) struct Keyed {
    seed: u64,
    factor: u64,
}

impl Keyed {
    fn drawn() -> Self {
        let secret = RandomState::new();
        Self { seed: secret.hash_one(0), factor: secret.hash_one(1) | 1 }
    }
}

impl Default for Keyed {
    /// The secret of the process: drawing one for each of the small tables of a request would cost more than hashing does.
    fn default() -> Self {
        static DRAWN: LazyLock<Keyed> = LazyLock::new(Keyed::drawn);
        DRAWN.clone()
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: self.seed, factor: self.factor }
    }
}

pub(crate) struct KeyedHasher {
    state: u64,
    factor: u64,
}

impl KeyedHasher {
    #[inline]
    fn put(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        // The sum keeps what was before where a product is zero.
        self.state = (product as u64 ^ (product >> 64) as u64).wrapping_add(self.state.rotate_left(29));
    }
}

impl Hasher for KeyedHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.put(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.put(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    /// What ends a text: its length is hashed already.
    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.state ^= u64::from(byte);
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.put(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.put(number);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.put(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::Keyed;

    #[test]
    fn neither_the_bits_that_choose_a_bucket_nor_those_that_tell_its_entries_apart_are_the_same_for_all() {
        let keyed = Keyed::default();
        let hashes: Vec<u64> = (0..4096).map(|number| keyed.hash_one(format!("name-{number}"))).collect();
        let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        let low: HashSet<u64> = hashes.iter().map(|hash| hash & 4095).collect();
        assert!(high.len() == 128 && low.len() > 2300, "{} {}", high.len(), low.len());
        assert_ne!(Keyed::drawn().hash_one("name-0"), Keyed::drawn().hash_one("name-0"));
    }
}

//! Digests by which bytes that were seen before are known again, at the speed of memory.
//!
//! ```text
//! bytes -> blocks -> sums of products with secret words (NH, of RFC 4418)
//!       -> two polynomials at secret points, modulo 2⁶¹ - 1 (as in UHASH, RFC 4418) -> 122 bits
//! ```
//!
//! The secrets are drawn when the process starts and nobody else has them: who does not know them cannot make two texts that
//! have one digest, and cannot test a guess by it. NH is universal: whatever two texts of one length are, one in 2⁶⁴ choices of
//! the secrets gives them the same sum. So is a polynomial: of n words, at most n points in 2⁶¹ give two of them the same value.

use std::hash::{BuildHasher, RandomState};

/// Known again by these bits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Digest(u64, u64);

impl Digest {
    /// Half of it, to go into others.
    pub fn word(self) -> u64 {
        self.0
    }
}

/// Bytes that one sum is made of.
const BLOCK: usize = 4096;
const PAIRS: usize = BLOCK / 16;

/// For each pair of words of a block.
type Pair = [u64; 2];

pub(crate) struct DigestKey {
    words: Box<[Pair; PAIRS]>,
    points: [u64; 2],
}

impl Default for DigestKey {
    fn default() -> Self {
        let secret = RandomState::new();
        let mut words = Box::new([[0; 2]; PAIRS]);
        for (number, word) in words.as_flattened_mut().iter_mut().enumerate() {
            *word = secret.hash_one(number);
        }
        let point = |number: usize| secret.hash_one(usize::MAX - number) & PRIME;
        Self { words, points: [point(0), point(1)] }
    }
}

impl DigestKey {
    /// Of several texts, each for itself: where one ends and the next begins counts. `about` is what else must be the same.
    pub fn of(&self, texts: &[&[u8]], about: u64) -> Digest {
        let mut ends = self.points.map(|point| Polynomial { point, value: 1 });
        let mut put = |word: u64| ends.iter_mut().for_each(|end| end.put(word));
        for text in texts {
            for block in text.chunks(BLOCK) {
                let sum = self.sum(block);
                [sum, sum >> 43, sum >> 86].into_iter().for_each(|part| put(part as u64 & PART));
            }
            put(text.len() as u64);
        }
        [about & u64::from(u32::MAX), about >> 32].into_iter().for_each(put);
        let [first, second] = ends.map(|end| end.value);
        Digest(first, second)
    }

    /// A shorter one, for guessing which text this may be.
    pub fn guess(&self, text: &[u8]) -> u64 {
        let sum = self.sum(text.get(..BLOCK).unwrap_or(text));
        sum as u64 ^ (sum >> 64) as u64
    }

    fn sum(&self, block: &[u8]) -> u128 {
        let (pairs, rest) = block.as_chunks::<16>();
        let sum =
            pairs.iter().zip(&*self.words).fold(0u128, |sum, (bytes, words)| sum.wrapping_add(product(bytes, words)));
        let Some(words) = self.words.get(pairs.len()).filter(|_| !rest.is_empty()) else { return sum };
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        sum.wrapping_add(product(&last, words))
    }
}

const PRIME: u64 = (1 << 61) - 1;
/// A third of a sum.
const PART: u64 = (1 << 43) - 1;

struct Polynomial {
    point: u64,
    value: u64,
}

impl Polynomial {
    /// `word` is shorter than 61 bits.
    #[inline(always)]
    fn put(&mut self, word: u64) {
        let next = u128::from(self.value) * u128::from(self.point) + u128::from(word);
        let folded = (next as u64 & PRIME) + (next >> 61) as u64;
        // One value may be spelled in two ways without this.
        self.value = if folded >= PRIME { folded - PRIME } else { folded };
    }
}

#[inline(always)]
fn product(bytes: &[u8; 16], words: &Pair) -> u128 {
    let all = u128::from_le_bytes(*bytes);
    let (first, second) = (all as u64, (all >> 64) as u64);
    u128::from(first.wrapping_add(words[0])).wrapping_mul(u128::from(second.wrapping_add(words[1])))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_that_differ_anywhere_have_other_digests() {
        let key = DigestKey::default();
        let mut seen = HashSet::new();
        for length in [0usize, 1, 15, 16, 17, 1023, 1025, BLOCK - 1, BLOCK, BLOCK + 1] {
            let text = vec![b'a'; length];
            assert!(seen.insert(key.of(&[&text], 0)), "{length}");
            for at in 0..length {
                let mut other = text.clone();
                other[at] ^= 1;
                assert!(seen.insert(key.of(&[&other], 0)), "{at} of {length}");
            }
        }
        assert_eq!(key.of(&[b"same"], 3), key.of(&[b"same"], 3));
        assert_ne!(key.of(&[b"same"], 3), key.of(&[b"same"], 4));
        assert_ne!(key.of(&[b"ab", b"c"], 0), key.of(&[b"a", b"bc"], 0));
        assert_ne!(key.of(&[b"same"], 0), DigestKey::default().of(&[b"same"], 0));
    }

    #[test]
    fn blocks_that_change_places_count() {
        let key = DigestKey::default();
        let (one, other) = ([1u8; BLOCK], [2u8; BLOCK]);
        assert_ne!(key.of(&[&[one, other].concat()], 0), key.of(&[&[other, one].concat()], 0));
        let (one, other) = ([1u8; 16], [2u8; 16]);
        assert_ne!(key.of(&[&[one, other].concat()], 0), key.of(&[&[other, one].concat()], 0));
    }
}

//! Digests by which bytes that were seen before are known again, at the speed of memory.
//!
//! ```text
//! bytes -> blocks -> sums of products with secret words (NH, of RFC 4418) -> SipHash under secret keys -> 128 bits
//! ```
//!
//! The secrets are drawn when the process starts and nobody else has them: who does not know them cannot make two texts that
//! have one digest, and cannot test a guess by it. NH is universal: whatever two texts of one length are, as many choices of
//! the secrets give them the same sum as chance would, for each of its two sums one in 2⁶⁴.

use std::hash::{BuildHasher, Hasher, RandomState};

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
const BLOCK: usize = 1024;
/// Each block takes as many words as it has, and the second sum the same ones moved on by a pair.
const WORDS: usize = BLOCK / 8 + 2;

pub(crate) struct DigestKey {
    words: Box<[u64; WORDS]>,
    ends: [RandomState; 2],
}

impl Default for DigestKey {
    fn default() -> Self {
        let secret = RandomState::new();
        let mut words = Box::new([0; WORDS]);
        for (number, word) in words.iter_mut().enumerate() {
            *word = secret.hash_one(number);
        }
        Self { words, ends: [RandomState::new(), RandomState::new()] }
    }
}

impl DigestKey {
    /// Of several texts, each for itself: where one ends and the next begins counts. `about` is what else must be the same.
    pub fn of(&self, texts: &[&[u8]], about: u64) -> Digest {
        let mut ends = [self.ends[0].build_hasher(), self.ends[1].build_hasher()];
        for text in texts {
            for block in text.chunks(BLOCK) {
                let sums = self.sums(block);
                ends[0].write_u128(sums.0);
                ends[0].write_u64(sums.1 as u64);
                ends[1].write_u128(sums.1);
                ends[1].write_u64(sums.0 as u64);
            }
            ends.iter_mut().for_each(|end| end.write_usize(text.len()));
        }
        let [first, second] = ends.map(|mut end| {
            end.write_u64(about);
            end.finish()
        });
        Digest(first, second)
    }

    fn sums(&self, block: &[u8]) -> (u128, u128) {
        let product = |pair: (u64, u64), word: &[u64]| match word {
            [first, second, ..] => {
                u128::from(pair.0.wrapping_add(*first)).wrapping_mul(u128::from(pair.1.wrapping_add(*second)))
            }
            _ => 0,
        };
        let (mut one, mut other) = (0u128, 0u128);
        let mut add = |bytes: &[u8; 16], words: &[u64; 4]| {
            let all = u128::from_le_bytes(*bytes);
            let pair = (all as u64, (all >> 64) as u64);
            one = one.wrapping_add(product(pair, &words[..2]));
            other = other.wrapping_add(product(pair, &words[2..]));
        };
        let (pairs, rest) = block.as_chunks::<16>();
        let mut words = self.words.windows(4).step_by(2).filter_map(|words| words.first_chunk::<4>());
        for (bytes, words) in pairs.iter().zip(words.by_ref()) {
            add(bytes, words);
        }
        if !rest.is_empty()
            && let Some(words) = self.words[pairs.len() * 2..].first_chunk::<4>()
        {
            let mut last = [0; 16];
            last[..rest.len()].copy_from_slice(rest);
            add(&last, words);
        }
        (one, other)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_that_differ_anywhere_have_other_digests() {
        let key = DigestKey::default();
        let mut seen = HashSet::new();
        for length in [0usize, 1, 15, 16, 17, 1023, 1024, 1025, 3000] {
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

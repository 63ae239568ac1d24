//! Cuts bytes where their content says so, so that what two bodies have in common is cut alike in both.
//!
//! A cut depends on the 64 bytes before it alone: text put into the middle of a conversation moves no cut but those
//! around it.

/// Shortest, usual and longest piece.
const SHORTEST: usize = 512;
const USUAL: usize = 2048;
const LONGEST: usize = 16 * 1024;

/// A number for every byte, from a fixed sequence (splitmix64): the same on every machine and in every version.
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state: u64 = 0x6469_7675_6c67_6531;
    let mut at = 0;
    while at < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = z ^ z >> 31;
        at += 1;
    }
    table
};

/// The pieces of `bytes`, in order; together they are all of it.
pub(super) fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut(rest));
        rest = after;
        Some(piece)
    })
}

fn cut(bytes: &[u8]) -> usize {
    const MASK: u64 = (USUAL as u64 - 1) << 40;
    if bytes.len() <= SHORTEST {
        return bytes.len();
    }
    let mut hash: u64 = 0;
    // What is 64 bytes back has been shifted out.
    for (at, &byte) in bytes.iter().enumerate().take(LONGEST).skip(SHORTEST - 64) {
        hash = (hash << 1).wrapping_add(GEAR[byte as usize]);
        if at >= SHORTEST && hash & MASK == 0 {
            return at + 1;
        }
    }
    bytes.len().min(LONGEST)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{LONGEST, SHORTEST, pieces};

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..length).map(|_| byte()).collect()
    }

    #[test]
    fn pieces_are_all_of_it_and_neither_long_nor_short() {
        for bytes in [Vec::new(), noise(10), noise(200_000), vec![b'a'; 100_000]] {
            let cut: Vec<&[u8]> = pieces(&bytes).collect();
            assert_eq!(cut.concat(), bytes);
            for piece in cut.iter().rev().skip(1) {
                assert!((SHORTEST..=LONGEST).contains(&piece.len()), "{}", piece.len());
            }
        }
    }

    #[test]
    fn text_put_into_the_middle_moves_the_cuts_around_it_alone() {
        let before = noise(400_000);
        let mut after = before.clone();
        after.splice(200_000..200_000, noise(5000).into_iter().rev());
        let known: HashSet<&[u8]> = pieces(&before).collect();
        let new: usize = pieces(&after).filter(|piece| !known.contains(piece)).map(<[u8]>::len).sum();
        assert!(new < 5000 + 3 * LONGEST, "{new}");
    }
}

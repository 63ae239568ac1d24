//! Thousands of short texts looked for in one pass, at a cost that hardly depends on how many there are.
//!
//! ```text
//! text -> folded (one case, one byte for all that joins words) -> every second four bytes
//!      -> a byte for each hash (64 KiB, of which text uses a corner)     of prose few places are left
//!      -> a bit for the five bytes from there, and from the byte before  hardly any
//!      -> table -> compared with the text itself
//! ```
//!
//! Each needle is known by five bytes of its folded form, chosen so that ordinary text holds them rarely. Only every second
//! place is looked at, so both the first four of the five and the last four are in the filter: wherever the needle occurs, one
//! of them is met, and just one. Both filters are passed without a branch. An automaton over the same needles would be
//! larger than any cache and read every byte through it.

use std::collections::HashMap;

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Needle {
    pub bytes: Box<[u8]>,
    /// In any ASCII case.
    pub fold: bool,
    /// A space stands for any sign that joins words: `home dir` is `home_dir` too.
    pub loose: bool,
    /// No ASCII letter or digit stands before it, or after it, and of what is beyond ASCII only full-width forms after.
    pub before: bool,
    pub after: bool,
}

/// Places looked at are this far apart.
const STRIDE: usize = 2;
/// Bytes that are hashed at once.
const GRAM: usize = 4;
/// Bytes by which a needle is known: shorter ones, with the bounds that they have, cannot be found this way.
pub(crate) const SHORTEST: usize = GRAM + STRIDE - 1;

/// As wide as a hash.
const FILTER_BITS: u32 = u16::BITS;
/// Needles of one window that cost as much to compare as a step in how common it is.
const COMPARED: u32 = 12;
/// Bits of the second filter.
const WINDOW_BITS: u32 = 17;
/// Folded bytes at a time: fits the stack, and the first cache beside the filter.
const BLOCK: usize = 2048;
/// Places in a block.
const PLACES: usize = BLOCK / STRIDE;
/// Where a block begins among the folded bytes, of which the one before is the last of the block before.
const LEAD: usize = 8;
/// A block with what may stand behind it.
const ROOM: usize = LEAD + BLOCK + 24;

/// What a search needs beside its text. Kept from text to text.
pub(crate) struct Room {
    folded: Box<[u8; ROOM]>,
    /// Of the pieces of `folded`.
    hashes: Box<[u16; PLACES]>,
    /// Where something may be.
    places: Box<[u16; PLACES]>,
}

impl Default for Room {
    fn default() -> Self {
        Self { folded: Box::new([0; ROOM]), hashes: Box::new([0; PLACES]), places: Box::new([0; PLACES]) }
    }
}

pub(crate) struct Needles {
    /// 1 for the hash of every piece.
    filter: Box<[u8; 1 << FILTER_BITS]>,
    /// A bit for the hash of every window.
    windows: Box<[u64; 1 << (WINDOW_BITS - 6)]>,
    /// Open addressing by window; `count` 0 is empty.
    slots: Box<[Slot]>,
    entries: Box<[Entry]>,
    needles: Box<[Needle]>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    window: u64,
    first: u32,
    count: u32,
}

/// The window of a needle: which one, and how far into its folded form.
#[derive(Clone, Copy)]
struct Entry {
    needle: u32,
    offset: u32,
    /// What tells nearly all that have the window in common apart, so that the needle itself need not be fetched: its length,
    /// and the first and the last of its bytes, folded.
    length: u32,
    first: u8,
    last: u8,
    /// The bound before it is in its folded form.
    before: bool,
}

impl Entry {
    fn of(number: u32, offset: usize, needle: &Needle) -> Self {
        let end = |byte: Option<&u8>| byte.map_or(JOINT, |&byte| fold(byte));
        Self {
            needle: number,
            offset: offset as u32,
            length: needle.bytes.len() as u32,
            first: end(needle.bytes.first()),
            last: end(needle.bytes.last()),
            before: needle.before,
        }
    }

    /// Where the needle would stand in `text` if its window is at `at`; none where its ends do not.
    #[inline(always)]
    fn range(&self, text: &[u8], at: usize) -> Option<(usize, usize)> {
        // The place before the text counts, and so does the bound before the needle.
        let start = (at + usize::from(self.before)).checked_sub(self.offset as usize + 1)?;
        let end = start + self.length as usize;
        let ends = (folded(*text.get(start)?), folded(*text.get(end.checked_sub(1)?)?));
        (ends == (self.first, self.last)).then_some((start, end))
    }
}

impl Needle {
    /// The bytes by which it is looked up.
    fn folded(&self) -> Vec<u8> {
        let mut folded = Vec::with_capacity(self.bytes.len() + 2);
        folded.extend(self.before.then_some(JOINT));
        folded.extend(self.bytes.iter().map(|&byte| fold(byte)));
        folded.extend(self.after.then_some(JOINT));
        folded
    }

    /// Whether [`Needles`] can hold it.
    pub fn is_long_enough(&self) -> bool {
        self.bytes.len() + usize::from(self.before) + usize::from(self.after) >= SHORTEST
    }
}

impl Needles {
    /// Numbered as they stand in `needles`; none is shorter than [`SHORTEST`].
    pub fn new(needles: Vec<Needle>) -> Self {
        let folded: Vec<Vec<u8>> = needles.iter().map(Needle::folded).collect();
        let mut shared: Shared<'_> = HashMap::new();
        for text in &folded {
            for piece in text.windows(GRAM).chain(text.windows(SHORTEST)) {
                *shared.entry(piece).or_default() += 1;
            }
        }
        let mut known: Vec<(u64, Entry)> = Vec::with_capacity(folded.len());
        let mut filter = Box::new([0u8; 1 << FILTER_BITS]);
        let mut windows = Box::new([0u64; 1 << (WINDOW_BITS - 6)]);
        for (number, (text, needle)) in (0u32..).zip(folded.iter().zip(&needles)) {
            let places = (0..(text.len() + 1).saturating_sub(SHORTEST)).min_by_key(|&at| cost(&text[at..], &shared));
            let Some(best) = places else { continue };
            let Some(&[a, b, c, d, e]) = text.get(best..).and_then(|rest| rest.first_chunk::<SHORTEST>()) else {
                continue;
            };
            filter[usize::from(hash_of([a, b], [c, d]))] = 1;
            filter[usize::from(hash_of([b, c], [d, e]))] = 1;
            let window = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
            let bit = bit_of(window);
            windows[bit >> 6] |= 1 << (bit & 63);
            known.push((window, Entry::of(number, best, needle)));
        }
        known.sort_by_key(|(window, entry)| (*window, entry.needle));
        let mut slots = vec![Slot::default(); (known.len() * 2).next_power_of_two().max(16)];
        let mut start = 0;
        while let Some(&(window, _)) = known.get(start) {
            let count = known[start..].iter().take_while(|(other, _)| *other == window).count();
            let mut at = slot_of(window, slots.len());
            while slots[at].count > 0 {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = Slot { window, first: start as u32, count: count as u32 };
            start += count;
        }
        let entries = known.into_iter().map(|(_, entry)| entry).collect();
        Self { filter, windows, slots: slots.into(), entries, needles: needles.into() }
    }

    /// Calls `hit` with the number, the start and the length of every needle in `text`, in order of what was looked at.
    pub fn find(&self, text: &[u8], room: &mut Room, mut hit: impl FnMut(u32, usize, usize)) {
        // Around the text stands what joins words, so that its ends are bounds: place 0 is the one before it.
        let length = text.len() + 2;
        let mut base = 0;
        // No needle begins before place 0.
        let mut before = 0;
        while base + GRAM <= length {
            let wanted = (length - base).min(BLOCK + 8);
            let lead = usize::from(base == 0);
            let source = text.get((base + lead - 1)..(base + wanted - 1).min(text.len())).unwrap_or_default();
            let folded = &mut *room.folded;
            folded[LEAD - 1] = before;
            folded[LEAD] = JOINT;
            for (folded, &byte) in folded[LEAD + lead..].iter_mut().zip(source) {
                *folded = fold(byte);
            }
            let mut filled = LEAD + lead + source.len();
            if filled < LEAD + wanted {
                folded[filled] = JOINT;
                filled += 1;
            }
            // Zeros behind the last place: no folded text holds one.
            folded[filled..filled + 16].fill(0);
            before = folded[LEAD + BLOCK - 1];
            let used = wanted.next_multiple_of(8 * STRIDE).min(BLOCK);
            let (units, _) = folded[LEAD..].as_chunks::<STRIDE>();
            let hashes = &mut room.hashes[..used / STRIDE];
            for (hash, (first, second)) in hashes.iter_mut().zip(units.iter().zip(&units[1..])) {
                *hash = hash_of(*first, *second);
            }
            let count = self.sift(hashes, &mut room.places);
            let count = self.sift_again(folded, &mut room.places, count);
            for &place in room.places.get(..count).unwrap_or_default() {
                let at = usize::from(place) * STRIDE;
                let (here, before) = windows_at(folded, at);
                self.look_up(here, text, base + at, &mut hit);
                self.look_up(before, text, (base + at).wrapping_sub(1), &mut hit);
            }
            base += BLOCK;
        }
    }

    /// Fills `places` with those whose hash is that of a piece, and says how many there are.
    #[inline(always)]
    fn sift(&self, hashes: &[u16], places: &mut [u16; PLACES]) -> usize {
        let mut count = 0;
        let mut place = 0;
        for eight in hashes.as_chunks::<8>().0 {
            for (lane, &hash) in (0u16..).zip(eight) {
                // Written in any case, kept where there may be something: no branch.
                places[count % PLACES] = place + lane;
                count += usize::from(self.filter[usize::from(hash)]);
            }
            place += 8;
        }
        count
    }

    /// Keeps of the first `count` those at which a window may be, and says how many there are.
    #[inline(always)]
    fn sift_again(&self, folded: &[u8; ROOM], places: &mut [u16; PLACES], count: usize) -> usize {
        let mut kept = 0;
        for number in 0..count {
            let place = places[number % PLACES];
            let (here, before) = windows_at(folded, usize::from(place) * STRIDE);
            places[kept % PLACES] = place;
            kept += usize::from(self.may_hold(here) | self.may_hold(before));
        }
        kept
    }

    #[inline(always)]
    fn may_hold(&self, window: u64) -> bool {
        let bit = bit_of(window);
        self.windows[bit >> 6] >> (bit & 63) & 1 == 1
    }

    /// Compares what has `window` with the text around place `at`.
    #[inline(always)]
    fn look_up(&self, window: u64, text: &[u8], at: usize, hit: &mut impl FnMut(u32, usize, usize)) {
        let mut place = slot_of(window, self.slots.len());
        while let Some(slot) = self.slots.get(place).filter(|slot| slot.count > 0) {
            if slot.window == window {
                return self.compare(slot, text, at, hit);
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    #[inline(never)]
    fn compare(&self, slot: &Slot, text: &[u8], at: usize, hit: &mut impl FnMut(u32, usize, usize)) {
        let entries = self.entries.get(slot.first as usize..).unwrap_or_default();
        for entry in entries.iter().take(slot.count as usize) {
            let Some((start, end)) = entry.range(text, at) else { continue };
            let (Some(needle), Some(found)) = (self.needles.get(entry.needle as usize), text.get(start..end)) else {
                continue;
            };
            let same = match (needle.loose, needle.fold) {
                (true, _) => found.iter().zip(&needle.bytes).all(|(&there, &wanted)| folded(there) == folded(wanted)),
                (false, true) => found.eq_ignore_ascii_case(&needle.bytes),
                (false, false) => *found == *needle.bytes,
            };
            let bound = |wanted: bool, byte: Option<&u8>| !wanted || byte.is_none_or(|&byte| folded(byte) == JOINT);
            let before = start.checked_sub(1).and_then(|at| text.get(at));
            if same && bound(needle.before, before) && bound(needle.after, text.get(end)) {
                hit(entry.needle, start, needle.bytes.len());
            }
        }
    }
}

/// The windows that begin at place `at` of a block, and at the one before.
#[inline(always)]
fn windows_at(folded: &[u8; ROOM], at: usize) -> (u64, u64) {
    const WINDOW: u64 = (1 << (8 * SHORTEST)) - 1;
    let bytes = folded.get(at + LEAD - 1..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    let bytes = u64::from_le_bytes(bytes);
    (bytes >> 8 & WINDOW, bytes & WINDOW)
}

/// Stands for all ASCII characters that are neither letter nor digit, and for the first byte of the full-width
/// forms: `：` follows a label as `:` does.
const JOINT: u8 = b' ';

/// For many bytes at a time; for one there is [`folded`].
#[inline(always)]
const fn fold(byte: u8) -> u8 {
    let lower = byte | 0x20;
    let letter = lower.wrapping_sub(b'a') < 26;
    let kept = byte.wrapping_sub(b'0') < 10 || (byte >= 0x80 && byte != 0xef);
    if letter {
        lower
    } else if kept {
        byte
    } else {
        JOINT
    }
}

#[inline(always)]
fn folded(byte: u8) -> u8 {
    static FOLDED: [u8; 256] = {
        let mut all = [0; 256];
        let mut byte = 0;
        while byte < all.len() {
            all[byte] = fold(byte as u8);
            byte += 1;
        }
        all
    };
    FOLDED[usize::from(byte)]
}

/// Of the two halves of a piece: the compiler makes eight of them at a time. With these factors the hashes of what prose and
/// code are full of, runs of blanks above all, lie apart; with many others they do not.
#[inline(always)]
fn hash_of(first: [u8; 2], second: [u8; 2]) -> u16 {
    let (first, second) = (u16::from_le_bytes(first), u16::from_le_bytes(second));
    first.wrapping_mul(0x0de7).wrapping_add(second.wrapping_mul(0xa3c1))
}

/// Which bit of the second filter is a window's.
#[inline(always)]
fn bit_of(window: u64) -> usize {
    (window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - WINDOW_BITS)) as usize
}

#[inline]
fn slot_of(window: u64, slots: usize) -> usize {
    // Bits that are not those of the filter, which all have in common that come here.
    (window.wrapping_mul(0xc2b2_ae3d_27d4_eb4f) >> 24) as usize & (slots - 1)
}

/// How many needles hold a piece.
type Shared<'t> = HashMap<&'t [u8], u32>;

/// How often the first window of `text` is likely to be met in vain, and what that costs: by the pairs of letters of which prose
/// and code are full, by how many needles have its pieces, and by how many would have to be compared.
fn cost(text: &[u8], shared: &Shared<'_>) -> u32 {
    const COMMON: &[u8] = b"thheinerannreatenndontiesortenateofedisitalarsttontngsehaasouioleveco\
        medehirroicneearacelichllbemasiomurpeprctutadisarnctrlyunmofiexacpoifgesoelflin";
    const ENDS: &[u8] = b"etdsnryfloaicpmwrb";
    let common = |pair: &[u8]| match pair {
        b"  " => 6,
        [b' ', letter] | [letter, b' '] if ENDS.contains(letter) => 4,
        [b' ', _] | [_, b' '] => 2,
        pair if COMMON.chunks(2).any(|known| known == pair) => 3,
        [first, _] if *first >= 0x80 => 1,
        _ => 0,
    };
    let pairs: u32 = text.windows(2).take(SHORTEST - 1).map(common).sum();
    let count = |piece: &[u8]| shared.get(piece).copied().unwrap_or(1);
    let pieces: u32 = text.windows(GRAM).take(STRIDE).map(|gram| count(gram).ilog2()).sum();
    let compared = text.get(..SHORTEST).map_or(0, |window| (count(window) - 1) / COMPARED);
    pairs + pieces + compared
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needle(text: &str, fold: bool, before: bool, after: bool) -> Needle {
        Needle { bytes: text.as_bytes().into(), fold, loose: false, before, after }
    }

    fn found(needles: &Needles, text: &[u8]) -> Vec<(u32, usize)> {
        let mut found = Vec::new();
        needles.find(text, &mut Room::default(), |number, start, _| found.push((number, start)));
        found.sort_unstable();
        found
    }

    /// The same by trying every needle at every place.
    fn tried(needles: &[Needle], text: &[u8]) -> Vec<(u32, usize)> {
        let mut found = Vec::new();
        for (number, needle) in (0u32..).zip(needles) {
            for start in 0..text.len() {
                let Some(there) = text.get(start..start + needle.bytes.len()) else { break };
                let same =
                    if needle.fold { there.eq_ignore_ascii_case(&needle.bytes) } else { *there == *needle.bytes };
                let joint = |byte: &u8| *byte == 0xef || byte.is_ascii() && !byte.is_ascii_alphanumeric();
                let bound = |byte: Option<&u8>| byte.is_none_or(joint);
                let before = !needle.before || bound(start.checked_sub(1).and_then(|at| text.get(at)));
                if same && before && (!needle.after || bound(text.get(start + needle.bytes.len()))) {
                    found.push((number, start));
                }
            }
        }
        found
    }

    #[test]
    fn needles_are_found_at_every_place_and_at_both_ends() {
        let list = vec![
            needle("anderson", true, false, false),
            needle("ws1", true, true, true),
            needle("QW5kZXJzb24", false, false, false),
            needle("工作目录", true, false, false),
        ];
        let needles = Needles::new(list.clone());
        for length in [0, 1, 2, 3, 2040, 2041, 2044, 2045, 2046, 2047, 2048, 2049, 4093, 4096] {
            for word in ["Anderson", "ws1", "QW5kZXJzb24", "qw5kzxjzb24", "工作目录"] {
                let text = format!("{}{word}", ".".repeat(length));
                assert_eq!(found(&needles, text.as_bytes()), tried(&list, text.as_bytes()), "{length} {word}");
                let text = format!("{text}{}", "-".repeat(length));
                assert_eq!(found(&needles, text.as_bytes()), tried(&list, text.as_bytes()), "{length} {word} -");
            }
        }
    }

    proptest! {
        #[test]
        fn they_are_those_that_a_search_place_by_place_finds(
            words in prop::collection::vec(("[abAB.é]{5,9}", any::<bool>(), any::<bool>(), any::<bool>()), 1..12),
            text in "[abAB. é]{0,300}",
        ) {
            let list: Vec<_> =
                words.iter().map(|(word, fold, before, after)| needle(word, *fold, *before, *after)).collect();
            let needles = Needles::new(list.clone());
            let mut expected = tried(&list, text.as_bytes());
            expected.sort_unstable();
            prop_assert_eq!(found(&needles, text.as_bytes()), expected);
        }
    }
}

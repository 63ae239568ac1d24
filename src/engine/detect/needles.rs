//! Thousands of short texts looked for in one pass, at a cost that hardly depends on how many there are.
//!
//! ```text
//! text -> folded (one case, one byte for all that joins words) -> every second four bytes, and what stands beside them
//!      -> a byte for each hash (64 KiB, of which text uses a corner) -> table -> compared with the text itself
//! ```
//!
//! Only every second place is looked at, so a needle stands in the table with two neighbouring four-byte pieces:
//! wherever it occurs, one of them is hit, and just one. Which two is chosen so that ordinary text holds them
//! rarely. With the first piece it is known what follows, with the second what stands before: the byte of the hash says by
//! two bits of it whether it can be that, which three in four that have the piece are not. An automaton over the same needles would be larger than any cache and read every byte through it.

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
/// Bytes that are looked up at once.
const GRAM: usize = 4;
/// Shorter ones, with the bounds that they have, cannot be found this way.
pub(crate) const SHORTEST: usize = GRAM + STRIDE - 1;

/// As wide as a hash.
const FILTER_BITS: u32 = u16::BITS;
/// Folded bytes at a time: fits the stack, and the first cache beside the filter.
const BLOCK: usize = 2048;

/// A block with what may stand behind it.
const ROOM: usize = BLOCK + 24;

/// What a search needs beside its text. Kept from text to text.
pub(crate) struct Room {
    folded: Box<[u8]>,
    /// Of the pieces of `folded`.
    hashes: Box<[u16]>,
    /// What stands beside each of them; as wide as they are, so that both are made in one go.
    beside: Box<[u16]>,
    /// Where one of eight of them has to be looked up.
    places: Box<[u16]>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            folded: vec![0; ROOM].into(),
            hashes: vec![0; BLOCK / STRIDE].into(),
            beside: vec![0; BLOCK / STRIDE].into(),
            places: vec![0; BLOCK / STRIDE / 8].into(),
        }
    }
}

pub(crate) struct Needles {
    /// What can stand behind a piece of this hash that is a first one, and before one that is a second, as in [`beside`].
    filter: Box<[u8; 1 << FILTER_BITS]>,
    /// Open addressing by gram; `count` 0 is empty.
    slots: Box<[Slot]>,
    entries: Box<[Entry]>,
    needles: Box<[Needle]>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    gram: u32,
    first: u32,
    count: u32,
    /// The folded bytes beside the gram, where all entries have the same.
    before: Option<u8>,
    after: Option<u8>,
}

/// A piece of a needle: which one, and how far into its folded form.
#[derive(Clone, Copy)]
struct Entry {
    needle: u32,
    offset: u32,
    /// What tells nearly all that have the piece in common apart, so that the needle itself need not be fetched: its length,
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

    /// Where the needle would stand in `text` if this piece of it is at `at`; none where its ends do not.
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
        let mut shared: std::collections::HashMap<u32, u32> = std::collections::HashMap::new();
        for text in &folded {
            for gram in text.windows(GRAM).filter_map(gram_of) {
                *shared.entry(gram).or_default() += 1;
            }
        }
        let mut pieces: Vec<(u32, Entry)> = Vec::with_capacity(folded.len() * STRIDE);
        let mut filter = Box::new([0u8; 1 << FILTER_BITS]);
        for (number, text) in (0u32..).zip(&folded) {
            let places = (0..(text.len() + 1).saturating_sub(SHORTEST)).min_by_key(|&at| cost(&text[at..], &shared));
            let Some(best) = places else { continue };
            let Some(&[before, .., after]) = text.get(best..).and_then(|rest| rest.first_chunk::<SHORTEST>()) else {
                continue;
            };
            for (offset, beside) in [(best, behind(after.into())), (best + 1, ahead(before.into()))] {
                if let Some(gram) = text.get(offset..offset + GRAM).and_then(gram_of) {
                    let [a, b, c, d] = gram.to_le_bytes();
                    filter[usize::from(hash_of([a, b], [c, d]))] |= beside as u8;
                    pieces.extend(needles.get(number as usize).map(|needle| (gram, Entry::of(number, offset, needle))));
                }
            }
        }
        pieces.sort_by_key(|(gram, entry)| (*gram, entry.needle, entry.offset));
        let mut slots = vec![Slot::default(); (pieces.len() * 2).next_power_of_two().max(16)];
        let mut start = 0;
        while let Some(&(gram, _)) = pieces.get(start) {
            let count = pieces[start..].iter().take_while(|(other, _)| *other == gram).count();
            let mut at = slot_of(gram, slots.len());
            while slots[at].count > 0 {
                at = (at + 1) & (slots.len() - 1);
            }
            let beside = |at: &dyn Fn(usize) -> Option<usize>| {
                let byte = |entry: &Entry| Some(*folded.get(entry.needle as usize)?.get(at(entry.offset as usize)?)?);
                let mut bytes = pieces[start..start + count].iter().map(|(_, entry)| byte(entry));
                let first = bytes.next().flatten()?;
                bytes.all(|byte| byte == Some(first)).then_some(first)
            };
            let before = beside(&|offset| offset.checked_sub(1));
            let after = beside(&|offset| Some(offset + GRAM));
            slots[at] = Slot { gram, first: start as u32, count: count as u32, before, after };
            start += count;
        }
        let entries = pieces.into_iter().map(|(_, entry)| entry).collect();
        Self { filter, slots: slots.into(), entries, needles: needles.into() }
    }

    /// Calls `hit` with the number, the start and the length of every needle in `text`, in order of what was looked at.
    pub fn find(&self, text: &[u8], room: &mut Room, mut hit: impl FnMut(u32, usize, usize)) {
        // Around the text stands what joins words, so that its ends are bounds: place 0 is the one before it.
        let length = text.len() + 2;
        let Room { folded, hashes, beside, places } = room;
        let mut base = 0;
        while base + GRAM <= length {
            let wanted = (length - base).min(BLOCK + 8);
            let from = base.saturating_sub(1);
            let to = (base + wanted - 1).min(text.len());
            let lead = usize::from(base == 0);
            let source = text.get(from..to).unwrap_or_default();
            folded[0] = JOINT;
            for (folded, &byte) in folded[lead..].iter_mut().zip(source) {
                *folded = fold(byte);
            }
            let mut filled = lead + source.len();
            if filled < wanted {
                folded[filled] = JOINT;
                filled += 1;
            }
            // Zeros behind the last place: no folded text holds one.
            folded[filled..filled + 8].fill(0);
            let used = filled.next_multiple_of(8).min(BLOCK);
            let folded = &folded[..used + 2 * STRIDE];
            let (hashes, beside) = (&mut hashes[..used / STRIDE], &mut beside[..used / STRIDE]);
            let (units, _) = folded.as_chunks::<2>();
            for (hash, (first, second)) in hashes.iter_mut().zip(units.iter().zip(&units[1..])) {
                *hash = hash_of(*first, *second);
            }
            // What stands before a block is not at hand.
            beside[0] = ANYTHING;
            for (beside, (before, after)) in beside[1..].iter_mut().zip(units.iter().zip(&units[3..])) {
                *beside = ahead(u16::from_le_bytes(*before) >> 8) | behind(u16::from_le_bytes(*after));
            }
            self.find_in_block(folded, (hashes, beside), places, &mut |gram, place| {
                self.look_up(gram, text, base + place, &mut hit);
            });
            base += BLOCK;
        }
    }

    /// Calls `look_up` with what may be a piece of a needle, and its place.
    #[inline(always)]
    fn find_in_block(
        &self,
        folded: &[u8],
        (hashes, beside): (&[u16], &[u16]),
        places: &mut [u16],
        look_up: &mut impl FnMut(u32, usize),
    ) {
        // First all places, without a branch on what stands there, then those where there may be something.
        let mut count = 0;
        for (index, (eight, beside)) in hashes.chunks(8).zip(beside.chunks(8)).enumerate() {
            if let Some(place) = places.get_mut(count) {
                *place = index as u16;
            }
            count += usize::from(self.any_held(eight, beside));
        }
        for &index in places.get(..count).unwrap_or_default() {
            let first = usize::from(index) * 8;
            let (Some(eight), Some(beside)) =
                (hashes.get(first..hashes.len().min(first + 8)), beside.get(first..beside.len().min(first + 8)))
            else {
                continue;
            };
            let mut held = self.held(eight, beside);
            while held != 0 {
                let byte = held.trailing_zeros() as usize / 8;
                held &= !(0xff << (byte * 8));
                let place = (first + byte) * STRIDE;
                if let Some(gram) = folded.get(place..).and_then(|rest| rest.first_chunk()) {
                    look_up(u32::from_le_bytes(*gram), place);
                }
            }
        }
    }

    /// Whether there is one of up to eight hashes with which something may be a piece of a needle, given what stands beside it.
    #[inline(always)]
    fn any_held(&self, eight: &[u16], beside: &[u16]) -> bool {
        let held = |hash: u16, beside: u16| self.filter[usize::from(hash)] & beside as u8;
        match (eight.first_chunk::<8>(), beside.first_chunk::<8>()) {
            (Some(&[a, b, c, d, e, f, g, h]), Some(&[i, j, k, l, m, n, o, p])) => {
                (held(a, i) | held(b, j) | held(c, k) | held(d, l))
                    | (held(e, m) | held(f, n) | held(g, o) | held(h, p))
                    != 0
            }
            _ => self.held(eight, beside) != 0,
        }
    }

    /// A byte for each of up to eight hashes: none where nothing with it may be a piece of a needle.
    #[inline(always)]
    fn held(&self, eight: &[u16], beside: &[u16]) -> u64 {
        let both = eight.iter().zip(beside).rev();
        both.fold(0, |word, (&hash, &beside)| word << 8 | u64::from(self.filter[usize::from(hash)] & beside as u8))
    }

    /// Compares what has `gram` with the text around place `at`.
    #[inline(never)]
    fn look_up(&self, gram: u32, text: &[u8], at: usize, hit: &mut impl FnMut(u32, usize, usize)) {
        let mut place = slot_of(gram, self.slots.len());
        let slot = loop {
            let slot = self.slots[place];
            if slot.count == 0 {
                return;
            }
            if slot.gram == gram {
                break slot;
            }
            place = (place + 1) & (self.slots.len() - 1);
        };
        // Most of what has a gram in common with a needle has nothing more.
        let differs = |wanted: Option<u8>, place: Option<usize>| {
            let there = place.map_or(JOINT, |place| text.get(place).map_or(JOINT, |&byte| folded(byte)));
            wanted.is_some_and(|wanted| wanted != there)
        };
        if differs(slot.before, at.checked_sub(2)) || differs(slot.after, (at + GRAM).checked_sub(1)) {
            return;
        }
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

/// What can stand beside a piece, as one of four: a bit for each value of the two lowest of `byte`, others of which do not count.
/// What follows takes the lower half of a byte, what stands before the upper one.
#[inline(always)]
fn behind(byte: u16) -> u16 {
    // Each bit as a mask: the compiler makes eight of them at a time.
    let all = |bit: u32| ((byte << (15 - bit)).cast_signed() >> 15).cast_unsigned();
    (0b0101 ^ all(0)) & (0b0011 ^ all(1)) & 0b1111
}

#[inline(always)]
fn ahead(byte: u16) -> u16 {
    behind(byte) << 4
}

const ANYTHING: u16 = 0xff;

#[inline]
fn slot_of(gram: u32, slots: usize) -> usize {
    (gram.wrapping_mul(0x85eb_ca6b) >> 7) as usize & (slots - 1)
}

fn gram_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|gram| u32::from_le_bytes(*gram))
}

/// How often the first pieces of `text` are likely to be met in vain: by the pairs of letters of which prose and code are
/// full, and by how many needles have them.
fn cost(text: &[u8], shared: &std::collections::HashMap<u32, u32>) -> u32 {
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
    let others = |gram: &[u8]| gram_of(gram).and_then(|gram| shared.get(&gram)).map_or(0, |count| count.ilog2());
    pairs + text.windows(GRAM).take(STRIDE).map(others).sum::<u32>()
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

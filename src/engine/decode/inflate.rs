//! Inflates (RFC 1951) one whole stream from one slice into one buffer.
//!
//! ```text
//! bits of the input -> tables of a block -> letters and copies, eight bytes of input at a time
//! ```
//!
//! For the many small and sound streams that bodies hold: there is no window beside the output, and nothing to set up but
//! tables. It gives up on whatever is damaged, cut or long, and leaves that to the decoder that goes step by step and says how
//! far it came; so all that it has to be is right when it says that a stream is whole.

/// The longest output.
pub(super) const LONGEST: usize = 1 << 20;

/// Room for an output and the tables of one block, kept from stream to stream.
pub(super) struct Inflater {
    room: Vec<u8>,
    letters: Box<[u32; LETTERS]>,
    distances: Box<[u32; DISTANCES]>,
    /// The tables are those of fixed codes.
    fixed: bool,
}

/// Bits that are looked up at once; longer codes go on in a second table.
const LETTER_BITS: u32 = 10;
const DISTANCE_BITS: u32 = 8;
/// The most entries that tables of these widths take with their second tables (zlib's `enough`, for 288 and 32 codes of up to
/// 15 bits).
const LETTERS: usize = 1334;
const DISTANCES: usize = 402;
/// The same for the codes of code lengths, which have no second table.
const LENGTH_BITS: u32 = 7;

// An entry: how many bits it takes in all (0..6), the code's own among them (8..12), and what it stands for (16..).
const LITERAL: u32 = 1 << 31;
/// The end of a block, a second table, or no code at all.
const SPECIAL: u32 = 1 << 15;
const END: u32 = SPECIAL | 1 << 14;
const SECOND: u32 = SPECIAL | 1 << 13;
const NO_CODE: u32 = SPECIAL;

/// Room behind the output, so that copies may go beyond their end.
const SLACK: usize = 258 + 2 * CHUNK;
const CHUNK: usize = 16;

struct Bits<'i> {
    input: &'i [u8],
    /// The next byte to take; beyond the end there are zeros.
    at: usize,
    bits: u64,
    count: u32,
}

impl Bits<'_> {
    /// At least 56 bits.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some(next) = self.input.get(self.at..).and_then(|rest| rest.first_chunk()) {
            // What does not fit whole is taken again with the next.
            self.bits |= u64::from_le_bytes(*next) << self.count;
            self.at += ((63 - self.count) / 8) as usize;
            self.count |= 56;
        } else {
            while self.count < 56 {
                self.bits |= u64::from(self.input.get(self.at).copied().unwrap_or_default()) << self.count;
                self.at += 1;
                self.count += 8;
            }
        }
    }

    #[inline(always)]
    fn peek(&self, width: u32) -> usize {
        (self.bits & ((1 << width) - 1)) as usize
    }

    #[inline(always)]
    fn skip(&mut self, width: u32) {
        self.bits >>= width;
        self.count -= width;
    }

    #[inline(always)]
    fn take(&mut self, width: u32) -> usize {
        let bits = self.peek(width);
        self.skip(width);
        bits
    }

    /// Takes a code and its further bits, and gives what they say.
    #[inline(always)]
    fn value(&mut self, entry: u32) -> usize {
        let (all, code) = (entry & 63, entry >> 8 & 15);
        let further = (self.bits & ((1 << all) - 1)) >> code;
        self.skip(all);
        (entry >> 16) as usize + further as usize
    }

    /// Takes a letter's code and writes it at `to`. Gives the next place.
    #[inline(always)]
    fn letter(&mut self, entry: u32, room: &mut [u8], to: usize) -> usize {
        self.skip(entry & 31);
        room[to] = (entry >> 16) as u8;
        to + 1
    }

    /// Whether more was taken than there is and a word's worth of zeros.
    fn is_beyond(&self) -> bool {
        self.at > self.input.len() + 8
    }

    /// Where the stream stands: whole bytes that were taken too early given back.
    fn position(&self) -> usize {
        self.at - (self.count / 8) as usize
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            room: Vec::new(),
            letters: Box::new([NO_CODE; LETTERS]),
            distances: Box::new([NO_CODE; DISTANCES]),
            fixed: false,
        }
    }
}

impl Inflater {
    /// What the stream that `input` begins with holds, and its length; none where it is not whole and sound, or makes more
    /// than `most` bytes or [`LONGEST`].
    pub fn inflate(&mut self, input: &[u8], most: usize) -> Option<(&[u8], usize)> {
        let mut room = std::mem::take(&mut self.room);
        let done = self.stream(input, &mut room, most.min(LONGEST));
        self.room = room;
        let (made, taken) = done?;
        Some((self.room.get(..made)?, taken))
    }

    fn stream(&mut self, input: &[u8], room: &mut Vec<u8>, most: usize) -> Option<(usize, usize)> {
        let mut bits = Bits { input, at: 0, bits: 0, count: 0 };
        let mut to = 0;
        loop {
            bits.refill();
            if bits.is_beyond() {
                return None;
            }
            let last = bits.take(1) == 1;
            match bits.take(2) {
                0 => {
                    bits.skip(bits.count % 8);
                    let at = bits.position();
                    let length = usize::from(u16::from_le_bytes(*input.get(at..)?.first_chunk()?));
                    let check = u16::from_le_bytes(*input.get(at + 2..)?.first_chunk()?);
                    let stored = input.get(at + 4..at + 4 + length)?;
                    if usize::from(!check) != length || to + length > most {
                        return None;
                    }
                    if room.len() < to + length + SLACK {
                        room.resize(to + length + SLACK, 0);
                    }
                    room[to..to + length].copy_from_slice(stored);
                    to += length;
                    bits = Bits { input, at: at + 4 + length, bits: 0, count: 0 };
                }
                1 => {
                    self.fixed_tables()?;
                    to = self.block(&mut bits, room, to, most)?;
                }
                2 => {
                    self.own_tables(&mut bits)?;
                    to = self.block(&mut bits, room, to, most)?;
                }
                _ => return None,
            }
            if last {
                let end = bits.position();
                return (end <= input.len()).then_some((to, end));
            }
        }
    }

    /// Undoes one block. Gives where its output ends.
    #[inline(never)]
    fn block(&self, bits: &mut Bits<'_>, room: &mut Vec<u8>, mut to: usize, most: usize) -> Option<usize> {
        let (letters, distances) = (&*self.letters, &*self.distances);
        loop {
            if to > most || bits.is_beyond() {
                return None;
            }
            if room.len() < to + SLACK {
                let more = room.len().clamp(4096, 1 << 18).min(most - to);
                room.resize(to + more + SLACK, 0);
            }
            // As far as copies surely end inside the room.
            let safe = (room.len() - SLACK).min(most);
            let room = &mut room[..];
            let mut input = Bits { ..*bits };
            input.refill();
            let mut next = letters[input.peek(LETTER_BITS)];
            let ended = loop {
                if to > safe {
                    break false;
                }
                let mut entry = next;
                // Three letters take no more bits than there are, and neither do two and a length.
                if entry & LITERAL != 0 {
                    to = input.letter(entry, room, to);
                    entry = letters[input.peek(LETTER_BITS)];
                    if entry & LITERAL != 0 {
                        to = input.letter(entry, room, to);
                        entry = letters[input.peek(LETTER_BITS)];
                        if entry & LITERAL != 0 {
                            to = input.letter(entry, room, to);
                            input.refill();
                            next = letters[input.peek(LETTER_BITS)];
                            continue;
                        }
                    }
                }
                if entry & SPECIAL != 0 {
                    if entry & END != END {
                        entry = second(letters, entry, LETTER_BITS, &mut input)?;
                    }
                    if entry & LITERAL != 0 {
                        to = input.letter(entry, room, to);
                        input.refill();
                        next = letters[input.peek(LETTER_BITS)];
                        continue;
                    }
                    if entry & END == END {
                        input.skip(entry & 31);
                        break true;
                    }
                    if entry & SPECIAL != 0 {
                        return None;
                    }
                }
                let length = input.value(entry);
                // The longest distance takes 28 bits.
                if input.count < 28 {
                    input.refill();
                }
                let mut entry = distances[input.peek(DISTANCE_BITS)];
                if entry & SPECIAL != 0 {
                    entry = second(distances, entry, DISTANCE_BITS, &mut input)?;
                    if entry & SPECIAL != 0 {
                        return None;
                    }
                }
                let distance = input.value(entry);
                if distance > to {
                    return None;
                }
                // Looked up while the copy is under way.
                input.refill();
                next = letters[input.peek(LETTER_BITS)];
                copy(room, to, distance, length);
                to += length;
            };
            *bits = input;
            if ended {
                return (to <= most).then_some(to);
            }
        }
    }

    fn fixed_tables(&mut self) -> Option<()> {
        if !self.fixed {
            let mut lengths = [8; 288];
            lengths[144..256].fill(9);
            lengths[256..280].fill(7);
            build(&mut *self.letters, &lengths, LETTER_BITS, letter)?;
            build(&mut *self.distances, &[5; 32], DISTANCE_BITS, distance)?;
            self.fixed = true;
        }
        Some(())
    }

    fn own_tables(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (letters, distances, counts) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
        if letters > 286 || distances > 30 {
            return None;
        }
        let mut lengths = [0u8; 19];
        for &place in ORDER.get(..counts)? {
            if bits.count < 3 {
                bits.refill();
            }
            lengths[place] = bits.take(3) as u8;
        }
        let mut codes = [NO_CODE; 1 << LENGTH_BITS];
        if !build(&mut codes, &lengths, LENGTH_BITS, |symbol| (symbol as u32) << 16)? {
            return None;
        }
        // 137 is the longest repetition, which may begin at the last place.
        let mut all = [0u8; 286 + 30 + 138];
        let mut at = 0;
        while at < letters + distances {
            bits.refill();
            let entry = codes[bits.peek(LENGTH_BITS)];
            bits.skip(entry & 31);
            let (value, count) = match entry >> 16 {
                length @ 0..16 => {
                    all[at] = length as u8;
                    at += 1;
                    continue;
                }
                16 => (*all.get(at.checked_sub(1)?)?, 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                _ => (0, 11 + bits.take(7)),
            };
            all.get_mut(at..at + count)?.fill(value);
            at += count;
        }
        if at != letters + distances || all[256] == 0 {
            return None;
        }
        self.fixed = false;
        let (of_letters, of_distances) = all[..at].split_at(letters);
        if !build(&mut *self.letters, of_letters, LETTER_BITS, letter)? {
            return None;
        }
        build(&mut *self.distances, of_distances, DISTANCE_BITS, distance)?;
        Some(())
    }
}

/// The entry behind the first bits of a long code; none where there is no code.
#[inline(always)]
fn second(table: &[u32], entry: u32, width: u32, bits: &mut Bits<'_>) -> Option<u32> {
    if entry & SECOND != SECOND {
        return None;
    }
    bits.skip(width);
    table.get((entry >> 16) as usize + bits.peek(entry & 15)).copied()
}

#[inline(always)]
fn copy(room: &mut [u8], to: usize, distance: usize, length: usize) {
    let mut from = to - distance;
    if distance >= CHUNK {
        let mut at = to;
        let end = to + length;
        loop {
            let Some(chunk) = room.get(from..).and_then(|rest| rest.first_chunk::<CHUNK>()).copied() else { return };
            let Some(there) = room.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<CHUNK>()) else { return };
            *there = chunk;
            at += CHUNK;
            from += CHUNK;
            if at >= end {
                return;
            }
        }
    }
    if distance == 1 {
        let byte = room[from];
        room[to..to + length].fill(byte);
        return;
    }
    for at in to..to + length {
        room[at] = room[from];
        from += 1;
    }
}

/// The entry of a letter, the end of a block, or a length, without its code's width.
fn letter(symbol: usize) -> u32 {
    const BASES: [u16; 29] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
        258,
    ];
    match symbol {
        0..256 => LITERAL | (symbol as u32) << 16,
        256 => END,
        257..286 => {
            let index = symbol - 257;
            let further = if index < 8 || index == 28 { 0 } else { index as u32 / 4 - 1 };
            u32::from(BASES[index]) << 16 | further
        }
        _ => NO_CODE,
    }
}

fn distance(symbol: usize) -> u32 {
    let symbol = symbol as u32;
    match symbol {
        0..4 => (symbol + 1) << 16,
        4..30 => {
            let further = symbol / 2 - 1;
            (((2 + symbol % 2) << further) + 1) << 16 | further
        }
        _ => NO_CODE,
    }
}

/// Makes the table of a canonical code (RFC 1951, section 3.2.2). None where the lengths are of no code; says whether every
/// sequence of bits has a meaning: where not, it is a single code of one bit, or nothing.
fn build(table: &mut [u32], lengths: &[u8], width: u32, entry_of: impl Fn(usize) -> u32) -> Option<bool> {
    let mut counts = [0u16; 16];
    for &length in lengths {
        counts[usize::from(length & 15)] += 1;
    }
    counts[0] = 0;
    let mut left = 1i32;
    let mut offsets = [0u16; 17];
    for length in 1..16 {
        left = left * 2 - i32::from(counts[length]);
        if left < 0 {
            return None;
        }
        offsets[length + 1] = offsets[length] + counts[length];
    }
    let used = usize::from(offsets[16]);
    if left > 0 && !(used == 0 || used == 1 && counts[1] == 1) {
        return None;
    }
    let mut sorted = [0u16; 288];
    for (symbol, &length) in lengths.iter().enumerate() {
        if length != 0 {
            let offset = &mut offsets[usize::from(length & 15)];
            sorted[usize::from(*offset)] = symbol as u16;
            *offset += 1;
        }
    }
    let first = 1 << width;
    if left > 0 {
        table[..first].fill(NO_CODE);
        if let Some(&symbol) = sorted[..used].first() {
            let entry = finished(entry_of(usize::from(symbol)), 1);
            table[..first].iter_mut().step_by(2).for_each(|slot| *slot = entry);
        }
        return Some(false);
    }
    // Codes in order, their bits reversed; the table doubles where they become a bit longer.
    let mut next = sorted[..used].iter();
    let mut code = 0usize;
    let mut size = 1usize;
    let mut second = first;
    let (mut prefix, mut second_start) = (usize::MAX, 0usize);
    for length in 1..16u32 {
        let mut count = counts[length as usize];
        if length <= width && size < first {
            // As large as codes of this length need.
            table.copy_within(0..size, size);
            size *= 2;
        }
        while count > 0 {
            let entry = entry_of(usize::from(*next.next()?));
            if length <= width {
                table[code] = finished(entry, length);
            } else {
                let low = code & (first - 1);
                if low != prefix {
                    // As wide as the codes that share these first bits.
                    prefix = low;
                    second_start = second;
                    let mut second_bits = length - width;
                    let mut space = i32::from(count);
                    while space < 1 << second_bits {
                        second_bits += 1;
                        space = space * 2 + i32::from(*counts.get((width + second_bits) as usize)?);
                    }
                    second += 1 << second_bits;
                    *table.get_mut(low)? = SECOND | (second_start as u32) << 16 | second_bits;
                }
                let entry = finished(entry, length - width);
                let step = 1 << (length - width);
                let mut at = second_start + (code >> width);
                while at < second {
                    *table.get_mut(at)? = entry;
                    at += step;
                }
            }
            count -= 1;
            // The next code, counted from its highest bit, which is the lowest here.
            let top = 1usize << (length - 1);
            let carried = (!code & (2 * top - 1)).checked_ilog2();
            match carried {
                Some(bit) => code = (code & ((1 << bit) - 1)) | 1 << bit,
                // All of the code space is used.
                None => {
                    while size < first {
                        table.copy_within(0..size, size);
                        size *= 2;
                    }
                    return Some(true);
                }
            }
        }
    }
    Some(true)
}

/// `entry` for a code of `width` bits.
fn finished(entry: u32, width: u32) -> u32 {
    let further = entry & 31;
    (entry & !31) | width << 8 | (width + further)
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
    use proptest::prelude::*;

    use super::{Inflater, LONGEST};

    fn deflated(text: &[u8], level: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2 + 100);
        Compress::new(Compression::new(level), false).compress_vec(text, &mut out, FlushCompress::Finish).unwrap();
        out
    }

    /// By the other decoder: what is whole, and how long it was.
    fn stepwise(input: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut out = Vec::with_capacity(LONGEST + 1000);
        let mut inflater = Decompress::new(false);
        let status = inflater.decompress_vec(input, &mut out, FlushDecompress::Finish);
        matches!(status, Ok(Status::StreamEnd)).then(|| (out, inflater.total_in() as usize))
    }

    fn fast(inflater: &mut Inflater, input: &[u8], most: usize) -> Option<(Vec<u8>, usize)> {
        inflater.inflate(input, most).map(|(made, taken)| (made.to_vec(), taken))
    }

    fn text(seed: u64, length: usize, letters: u64) -> Vec<u8> {
        let mut seed = seed | 1;
        let mut out: Vec<u8> = Vec::new();
        while out.len() < length {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (kind, draw) = (seed >> 61, (seed >> 20) as usize);
            if kind == 0 && !out.is_empty() {
                let distance = draw % out.len().min(40_000) + 1;
                for _ in 0..(seed >> 40) % 300 {
                    out.push(out[out.len() - distance]);
                }
            } else {
                out.push(((seed >> 33) % letters) as u8);
            }
        }
        out.truncate(length);
        out
    }

    #[test]
    fn every_level_and_size_comes_out_as_it_went_in() {
        let mut inflater = Inflater::default();
        for length in [0, 1, 2, 7, 100, 4000, 70_000, 300_000, LONGEST] {
            for letters in [1, 2, 30, 256] {
                for level in [0, 1, 2, 4, 6, 9] {
                    let text = text(length as u64 * 31 + letters, length, letters);
                    let mut coded = deflated(&text, level);
                    let end = coded.len();
                    coded.extend(b"and more");
                    let expected = Some((text, end));
                    assert!(fast(&mut inflater, &coded, length) == expected, "{length} {letters} {level}");
                    assert!(fast(&mut inflater, &coded[..end], length) == expected, "{length} {letters} {level}");
                    if length > 0 {
                        assert!(fast(&mut inflater, &coded, length - 1).is_none());
                        assert!(fast(&mut inflater, &coded[..end - 1], length).is_none());
                    }
                }
            }
        }
        assert!(fast(&mut inflater, &deflated(&vec![0; LONGEST + 1], 6), usize::MAX).is_none());
    }

    proptest! {
        #[test]
        fn what_is_called_whole_is_what_the_other_decoder_makes_of_it(
            (seed, length, letters) in (any::<u64>(), 0usize..3000, 1u64..=256),
            level in 0u32..=9,
            spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut coded = deflated(&text(seed, length, letters), level);
            for (place, byte) in &spoilt {
                let place = place.index(coded.len());
                coded[place] = *byte;
            }
            let made = fast(&mut Inflater::default(), &coded, LONGEST);
            if made.is_some() || spoilt.is_empty() {
                prop_assert!(made == stepwise(&coded));
            }
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let made = fast(&mut Inflater::default(), &bytes, LONGEST);
            prop_assert!(made.is_none() || made == stepwise(&bytes));
        }
    }
}

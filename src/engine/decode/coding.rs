//! Compression: gzip (RFC 1952), zlib (RFC 1950), deflate (RFC 1951), brotli (RFC 7932), zstd (RFC 8878).
//!
//! Every decoder stops at a bound of output bytes and of the ratio between output and input, and gives what
//! it had until then.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::inflate::{self, Inflater};
use super::layer::{Codec, Member};
use crate::wire::span::Span;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Coding {
    Gzip,
    Zlib,
    /// Raw, or in its zlib wrapper: senders of the content coding `deflate` do either.
    Deflate,
    Br,
    Zstd,
}

/// The window a zstd frame may ask for: what RFC 8878 says a decoder should allow, with room for `--long`.
const ZSTD_WINDOW_LOG: u32 = 25;

/// Below this much output a high ratio costs nobody anything.
const RATIO_FROM: usize = 1 << 20;

/// What a member costs beside its content, so that a million empty ones count as well.
const MEMBER_COST: usize = std::mem::size_of::<Member>();

#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub bytes: usize,
    pub ratio: usize,
}

pub(crate) struct Undone {
    pub content: Vec<u8>,
    pub codec: Codec,
    /// How much of the input was read.
    pub consumed: usize,
    /// Why it ended before the end of the input.
    pub stop: Option<&'static str>,
    /// All that was compressed came out; what follows it, if anything, is no part of it.
    pub whole: bool,
}

impl Coding {
    /// The content coding called `name` (RFC 9110, section 8.4.1), in any case.
    pub fn named(name: &str) -> Option<Self> {
        const NAMES: [(&str, Coding); 6] = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("br", Coding::Br),
            ("zstd", Coding::Zstd),
            ("zlib", Coding::Zlib),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, coding)| coding)
    }

    /// The coding whose signature `bytes` start with; brotli and raw deflate have none.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, 8, ..] => Some(Coding::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Coding::Zstd),
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Coding::Zstd),
            _ if bytes.len() > 8 && is_zlib(bytes) => Some(Coding::Zlib),
            _ => None,
        }
    }

    /// Raw deflate or brotli, which say nothing of themselves: taken for it is only what turns into text.
    pub fn without_signature(bytes: &[u8]) -> Option<Self> {
        let coding = match bytes.first()? & 15 {
            // The windows of 22 and 24 bits that encoders use unless told otherwise.
            0b1011 | 0b1111 if is_like_brotli(bytes) && Coding::Br.makes_text(bytes) => Coding::Br,
            // A block with fixed or own codes; short texts are a single one, which is then the last.
            low if low & 7 == 0b011 || low & 7 == 0b101 || (low & 7 == 0b100 && bytes.len() > 1000) => Coding::Deflate,
            _ => return None,
        };
        (coding == Coding::Br || coding.makes_text(bytes)).then_some(coding)
    }

    fn makes_text(self, bytes: &[u8]) -> bool {
        let undone = self.undo(bytes, Bounds { bytes: 4096, ratio: usize::MAX });
        let end = match std::str::from_utf8(&undone.content) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => undone.content.len(),
        };
        end >= 12 && super::sniff::is_text(&undone.content[..end]) && undone.stop.is_none_or(|reason| reason == "limit")
    }

    /// Whether the beginning of `bytes` can really be undone.
    pub fn opens(self, bytes: &[u8]) -> bool {
        let undone = self.undo(bytes, Bounds { bytes: 4096, ratio: usize::MAX });
        !undone.content.is_empty() && undone.stop.is_none_or(|reason| reason == "limit")
    }

    pub fn undo(self, input: &[u8], bounds: Bounds) -> Undone {
        match self {
            Coding::Gzip => gzip(input, bounds),
            Coding::Zlib => zlib(input, bounds),
            Coding::Deflate if is_zlib(input) => {
                let undone = zlib(input, bounds);
                if undone.content.is_empty() && undone.stop.is_some() { deflate(input, bounds) } else { undone }
            }
            Coding::Deflate => deflate(input, bounds),
            Coding::Br => brotli(input, bounds),
            Coding::Zstd => zstd(input, bounds),
        }
    }
}

/// Whether the first meta-block (RFC 7932, section 9.2) says a length that so few bytes can hold. `bytes` begin with a window's
/// size of four bits. A decoder makes its window as large as that length before it reads on: chance would have it clear 16 MiB.
fn is_like_brotli(bytes: &[u8]) -> bool {
    /// Texts are not packed tighter.
    const TIGHTEST: u64 = 512;
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    let word = u64::from_le_bytes(head) >> 4;
    let (last, empty) = (word & 1 == 1, word & 2 == 2);
    if last && empty {
        return false;
    }
    let word = word >> if last { 2 } else { 1 };
    // Three stands for a block of no content.
    let nibbles = match word & 3 {
        3 => return false,
        more => 4 + more,
    };
    let length = word >> 2 & ((1 << (4 * nibbles)) - 1);
    length < bytes.len() as u64 * TIGHTEST
}

fn is_zlib(bytes: &[u8]) -> bool {
    match bytes {
        [first, second, ..] => {
            first & 15 == 8
                && first >> 4 <= 7
                && second & 0x20 == 0
                && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0
        }
        _ => false,
    }
}

/// Inflates one stream of `input` onto the end of `out`. Gives how much of `input` it took.
fn inflate(
    inflater: &mut Decompress,
    input: &[u8],
    out: &mut Vec<u8>,
    bounds: Bounds,
) -> (usize, Option<&'static str>) {
    let before = out.len();
    loop {
        let taken = inflater.total_in() as usize;
        let made = out.len() - before;
        if out.len() >= bounds.bytes {
            return (taken, Some("limit"));
        }
        if made > RATIO_FROM && made / taken.max(1) > bounds.ratio {
            return (taken, Some("ratio"));
        }
        // Only when what is there is full: a stream of many small members would grow it for each of them.
        if out.len() == out.capacity() {
            let room = (input.len() * 4).clamp(4 << 10, 1 << 20);
            out.reserve_exact(room.max(out.len().min(1 << 22)).min(bounds.bytes - out.len()));
        }
        let status = inflater.decompress_vec(&input[taken..], out, FlushDecompress::None);
        let moved = inflater.total_in() as usize != taken || out.len() - before != made;
        match status {
            Ok(Status::StreamEnd) => return (inflater.total_in() as usize, None),
            Ok(_) if moved => {}
            // Nothing more comes out of what there is.
            Ok(_) | Err(_) => return (inflater.total_in() as usize, Some("malformed")),
        }
    }
}

thread_local! {
    /// Tables and a window are tens of KiB: bodies full of small gzip members would spend their time on clearing them.
    static SPARE: std::cell::Cell<Option<Box<Decompress>>> = const { std::cell::Cell::new(None) };
    static SPARE_FAST: std::cell::Cell<Option<Inflater>> = const { std::cell::Cell::new(None) };
}

/// Inflates with what an earlier stream has left: with a wrapper of zlib, or without.
fn with_spare<T>(wrapped: bool, inflate: impl FnOnce(&mut Decompress) -> T) -> T {
    let mut inflater = SPARE.take().unwrap_or_else(|| Box::new(Decompress::new(wrapped)));
    inflater.reset(wrapped);
    let made = inflate(&mut inflater);
    SPARE.set(Some(inflater));
    made
}

/// The size that a body of one member says it has (RFC 1952, section 2.3.1).
fn gzip_size(input: &[u8]) -> usize {
    input.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize)
}

fn gzip(input: &[u8], bounds: Bounds) -> Undone {
    let mut content = Vec::new();
    let mut members = Vec::new();
    let mut at = 0;
    let mut stop = None;
    let mut whole = true;
    let mut fast = (gzip_size(input) <= inflate::LONGEST).then(|| SPARE_FAST.take().unwrap_or_default());
    while stop.is_none() && at < input.len() {
        if content.len() + members.len() * MEMBER_COST >= bounds.bytes {
            stop = Some("limit");
            whole = false;
            break;
        }
        let Some(header) = gzip_header(&input[at..]) else {
            stop = Some("malformed");
            whole = !members.is_empty();
            break;
        };
        let before = content.len();
        let body = at + header;
        // The bound itself is for the other decoder to judge.
        let most = (bounds.bytes - before).saturating_sub(1);
        let made = fast.as_mut().and_then(|fast| fast.inflate(&input[body..], most));
        let (taken, ended) = match made {
            Some((made, taken)) => {
                content.extend_from_slice(made);
                (taken, None)
            }
            None => {
                // Long members, or one that is spoilt: nothing is tried twice any more.
                if let Some(inflater) = fast.take() {
                    SPARE_FAST.set(Some(inflater));
                }
                with_spare(false, |inflater| inflate(inflater, &input[body..], &mut content, bounds))
            }
        };
        let end = body + taken;
        match ended {
            None => {
                let trailer = input.get(end..end + 8);
                let made = &content[before..];
                // Modulo 2^32 (RFC 1952, section 2.3.1).
                let (crc, size) = (crc32fast::hash(made), made.len() as u32);
                let coded = at..(end + 8).min(input.len());
                let mut wrong_trailer = None;
                if trailer != Some([crc.to_le_bytes(), size.to_le_bytes()].as_flattened()) {
                    stop = Some("malformed");
                    wrong_trailer = Some(Span::of(end..coded.end));
                }
                at = if stop.is_some() { end } else { coded.end };
                members.push(Member {
                    header: Span::of(coded.start..body),
                    content: Span::of(before..content.len()),
                    coded: Span::of(coded),
                    wrong_trailer,
                });
            }
            Some(reason) => {
                stop = Some(reason);
                whole = false;
                at = end;
            }
        }
    }
    if let Some(inflater) = fast {
        SPARE_FAST.set(Some(inflater));
    }
    Undone { content, codec: Codec::Gzip(members), consumed: at, stop, whole }
}

/// The length of a member's header with its optional parts.
fn gzip_header(bytes: &[u8]) -> Option<usize> {
    let [0x1f, 0x8b, 8, flags, ..] = *bytes else { return None };
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += memchr::memchr(0, bytes.get(at..)?)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (at <= bytes.len()).then_some(at)
}

fn zlib(input: &[u8], bounds: Bounds) -> Undone {
    let mut content = Vec::new();
    let (end, stop) = with_spare(true, |inflater| inflate(inflater, input, &mut content, bounds));
    let level = input.get(1).map_or(0, |flags| flags >> 6);
    let whole = stop.is_none();
    let stop = stop.or((end < input.len()).then_some("malformed"));
    Undone { content, codec: Codec::Zlib { level, end }, consumed: end, stop, whole }
}

fn deflate(input: &[u8], bounds: Bounds) -> Undone {
    let mut content = Vec::new();
    let (end, stop) = with_spare(false, |inflater| inflate(inflater, input, &mut content, bounds));
    let whole = stop.is_none();
    let stop = stop.or((end < input.len()).then_some("malformed"));
    Undone { content, codec: Codec::Deflate { end }, consumed: end, stop, whole }
}

fn brotli(input: &[u8], bounds: Bounds) -> Undone {
    let (mut left, mut at, mut total) = (input.len(), 0, 0);
    let mut state = BrotliState::new(StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default());
    let mut content = Vec::new();
    let mut chunk = vec![0; bounds.bytes.min(64 << 10)];
    let stop = loop {
        if content.len() >= bounds.bytes {
            break Some("limit");
        }
        if content.len() > RATIO_FROM && content.len() / input.len() > bounds.ratio {
            break Some("ratio");
        }
        let (mut room, mut made) = (chunk.len().min(bounds.bytes - content.len()), 0);
        let result =
            BrotliDecompressStream(&mut left, &mut at, input, &mut room, &mut made, &mut chunk, &mut total, &mut state);
        content.extend_from_slice(&chunk[..made]);
        match result {
            BrotliResult::NeedsMoreOutput => {}
            // What follows the stream is no part of it, and nobody read it.
            BrotliResult::ResultSuccess => break (at < input.len()).then_some("malformed"),
            BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => break Some("malformed"),
        }
    };
    let consumed = if stop.is_some() && content.is_empty() { 0 } else { at };
    Undone { content, codec: Codec::Br, consumed, stop, whole: stop.is_none() }
}

fn zstd(input: &[u8], bounds: Bounds) -> Undone {
    let mut content = Vec::new();
    let mut members = Vec::new();
    let mut at = 0;
    let mut stop = None;
    let Ok(mut decoder) = Decoder::new() else {
        return Undone { content, codec: Codec::Zstd(members), consumed: 0, stop: Some("limit"), whole: false };
    };
    if decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).is_err() {
        stop = Some("limit");
    }
    let mut chunk = vec![0; bounds.bytes.min(128 << 10)];
    while stop.is_none() && at < input.len() {
        if content.len() + members.len() * MEMBER_COST >= bounds.bytes {
            stop = Some("limit");
            break;
        }
        let (start, before) = (at, content.len());
        loop {
            if content.len() >= bounds.bytes {
                stop = Some("limit");
                break;
            }
            if content.len() > RATIO_FROM && content.len() / at.max(1) > bounds.ratio {
                stop = Some("ratio");
                break;
            }
            let room = chunk.len().min(bounds.bytes - content.len());
            let mut source = InBuffer::around(&input[at..]);
            let mut sink = OutBuffer::around(&mut chunk[..room]);
            let result = decoder.run(&mut source, &mut sink);
            let (took, made) = (source.pos(), sink.pos());
            at += took;
            content.extend_from_slice(&chunk[..made]);
            match result {
                Ok(0) => break,
                Ok(_) if took > 0 || made > 0 => {}
                Ok(_) | Err(_) => {
                    stop = Some("malformed");
                    break;
                }
            }
        }
        if stop.is_none() {
            members.push(Member {
                coded: Span::of(start..at),
                header: Span::of(start..start),
                content: Span::of(before..content.len()),
                wrong_trailer: None,
            });
            if decoder.reinit().is_err() {
                stop = Some("malformed");
            }
        }
    }
    Undone { content, codec: Codec::Zstd(members), consumed: at, stop, whole: stop.is_none() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn brotli_is_told_from_chance_before_it_is_tried() {
        let text = "A sentence about nothing much, of which there are many more like it. ";
        for (times, quality, window) in
            [(1, 11, 22), (1, 5, 24), (30, 11, 22), (30, 1, 24), (3000, 9, 22), (3000, 2, 24)]
        {
            let mut packed = Vec::new();
            let text = (0..times).map(|number| format!("{number}: {text}")).collect::<String>();
            brotli::CompressorWriter::new(&mut packed, 4096, quality, window).write_all(text.as_bytes()).unwrap();
            assert_eq!(Coding::without_signature(&packed), Some(Coding::Br), "{times} times, quality {quality}");
        }
        // Words of 24 bytes by chance, as base64 of identifiers gives them.
        let mut state = 7u64;
        let tried = (0..4000).filter(|_| {
            let mut word = [0; 24];
            for byte in &mut word {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 33) as u8;
            }
            word[0] = word[0] & 0xf0 | 0b1011;
            is_like_brotli(&word)
        });
        assert!(tried.count() < 400);
    }
}

//! HTTP/2 frames of one peer as they pass, in front of the library that reads them (RFC 9113).
//!
//! The library takes what no recipient should: a preface without settings, pseudo-headers among trailers, those of
//! requests in responses, and a fragment in `:path`. It drops all but the first, so that what it hands on is not what was
//! said. And it does not tell that a head has begun and not ended. Frames are counted off here without being copied; of
//! blocks of fields no more is read than which pseudo-headers they hold.

use std::collections::BTreeSet;

use super::block::{Found, Table};
use super::websocket::Side;

const PREFACE: usize = 24;
const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Most bytes of one block of fields. The library refuses fewer; this bounds what is held beside it.
const BLOCK: usize = 256 * 1024;
/// Most streams of which it is remembered that their head has come. More are not open at once.
const ANSWERED: usize = 4096;

/// What must not reach the library.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Violation {
    /// So many of the bytes may still pass: the frame stays incomplete.
    pub passed: usize,
    pub reason: &'static str,
}

/// Counts off the frames of one direction.
#[derive(Debug)]
pub struct FrameWatch {
    side: Side,
    at: At,
    settled: bool,
    block: Option<Block>,
    heads: u64,
    table: Table,
    /// The highest stream that was opened.
    highest: u32,
    /// Streams opened with a fragment in `:path` that nobody asked for yet.
    fragments: Vec<u32>,
    /// Streams with pseudo-headers where none may be, that nobody asked for yet.
    malformed: Vec<u32>,
    /// Streams whose final response has begun: what follows is trailers.
    answered: BTreeSet<u32>,
    /// A block could not be read: the library says so, and nothing behind it counts.
    lost: bool,
}

#[derive(Debug)]
enum At {
    Preface(usize),
    Head([u8; HEADER], usize),
    Payload { head: FrameHead, left: usize },
}

#[derive(Clone, Copy, Debug)]
struct FrameHead {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// A block of fields under way.
#[derive(Debug)]
struct Block {
    stream: u32,
    /// Nothing of the stream follows.
    last: bool,
    bytes: Vec<u8>,
}

impl FrameWatch {
    /// What `side` sends.
    pub fn of(side: Side) -> Self {
        let at = match side {
            Side::Client => At::Preface(0),
            Side::Server => At::Head([0; HEADER], 0),
        };
        Self {
            side,
            at,
            settled: false,
            block: None,
            heads: 0,
            table: Table::default(),
            highest: 0,
            fragments: Vec::new(),
            malformed: Vec::new(),
            answered: BTreeSet::new(),
            lost: false,
        }
    }

    /// Which head has begun and not ended: the how manieth of the connection.
    pub fn head_under_way(&self) -> Option<u64> {
        self.block.as_ref().map(|_| self.heads)
    }

    /// The streams whose `:path` held a fragment, since this was last asked.
    pub fn fragments(&mut self) -> impl Iterator<Item = u32> + '_ {
        self.fragments.drain(..)
    }

    /// The streams with pseudo-headers where none may be, since this was last asked.
    pub fn malformed(&mut self) -> impl Iterator<Item = u32> + '_ {
        self.malformed.drain(..)
    }

    /// Takes note of what passes.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = bytes.len() - rest.len();
            let taken = self.step(rest).map_err(|(taken, reason)| {
                // The last byte of the frame stays behind.
                Violation { passed: before + taken.saturating_sub(1), reason }
            })?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes the next piece of a frame: how long it is, also of one that must not pass.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, (usize, &'static str)> {
        match &mut self.at {
            At::Preface(had) => {
                let taken = bytes.len().min(PREFACE - *had);
                *had += taken;
                if *had == PREFACE {
                    self.at = At::Head([0; HEADER], 0);
                }
                Ok(taken)
            }
            At::Head(head, had) => {
                let taken = bytes.len().min(HEADER - *had);
                head[*had..*had + taken].copy_from_slice(&bytes[..taken]);
                *had += taken;
                if *had == HEADER {
                    let head = *head;
                    self.begin(head).map_err(|reason| (taken, reason))?;
                }
                Ok(taken)
            }
            At::Payload { head, left } => {
                let head = *head;
                let taken = bytes.len().min(*left);
                *left -= taken;
                let ended = *left == 0;
                if let Some(block) = self.block.as_mut().filter(|_| of_a_head(head.kind)) {
                    if block.bytes.len() + taken > BLOCK {
                        return Err((taken, "a head is too long"));
                    }
                    block.bytes.extend_from_slice(&bytes[..taken]);
                }
                if ended {
                    self.end(head).map_err(|reason| (taken, reason))?;
                }
                Ok(taken)
            }
        }
    }

    fn begin(&mut self, head: [u8; HEADER]) -> Result<(), &'static str> {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        let left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let head = FrameHead { kind, flags, stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]) };
        if !self.settled {
            if kind != SETTINGS || flags & ACK != 0 {
                return Err("the preface is not followed by settings");
            }
            self.settled = true;
        }
        match (kind, &mut self.block) {
            (HEADERS, block @ None) => {
                *block = Some(Block { stream: head.stream, last: flags & END_STREAM != 0, bytes: Vec::new() });
                self.heads += 1;
            }
            (CONTINUATION, Some(block)) if block.stream == head.stream => {}
            // Whatever else comes within a head, and a continuation of none, ends the connection.
            (CONTINUATION, _) | (_, Some(_)) => self.lost = true,
            // A push, which our settings refuse: its block is not read.
            (PUSH_PROMISE, _) => self.lost = true,
            (DATA, _) if flags & END_STREAM != 0 => _ = self.answered.remove(&head.stream),
            (RST_STREAM, _) => _ = self.answered.remove(&head.stream),
            _ => {}
        }
        self.at = At::Payload { head, left };
        if left == 0 { self.end(head) } else { Ok(()) }
    }

    fn end(&mut self, head: FrameHead) -> Result<(), &'static str> {
        self.at = At::Head([0; HEADER], 0);
        if !of_a_head(head.kind) || self.lost {
            return Ok(());
        }
        if head.kind == HEADERS
            && let Some(block) = &mut self.block
            && block.unpad(head.flags).is_none()
        {
            self.lost = true;
        }
        if head.flags & END_HEADERS == 0 {
            return Ok(());
        }
        let Some(block) = self.block.take() else { return Ok(()) };
        let Ok(found) = self.table.read(&block.bytes) else {
            self.lost = true;
            return Ok(());
        };
        match self.side {
            Side::Client => self.asks(&block, found),
            Side::Server => self.answers(&block, found),
        }
        Ok(())
    }

    /// A client's block: a head if its stream is new, else trailers.
    fn asks(&mut self, block: &Block, found: Found) {
        if block.stream > self.highest {
            self.highest = block.stream;
            if found.fragment {
                self.fragments.push(block.stream);
            }
        } else if found.pseudo() {
            self.malformed.push(block.stream);
        }
    }

    /// A server's block: heads of interim responses, then that of the final one, then trailers (RFC 9113, section 8.1).
    fn answers(&mut self, block: &Block, found: Found) {
        let answered = self.answered.contains(&block.stream);
        if found.of_requests || (answered && found.pseudo()) {
            self.malformed.push(block.stream);
        }
        if block.last {
            self.answered.remove(&block.stream);
        } else if found.status && !found.interim {
            self.answered.insert(block.stream);
            if self.answered.len() > ANSWERED {
                self.answered.pop_first();
            }
        }
    }
}

fn of_a_head(kind: u8) -> bool {
    kind == HEADERS || kind == CONTINUATION
}

impl Block {
    /// Takes padding and priority off the payload of HEADERS.
    fn unpad(&mut self, flags: u8) -> Option<()> {
        let padding = if flags & PADDED != 0 { usize::from(*self.bytes.first()?) } else { 0 };
        let front = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
        let kept = self.bytes.len().checked_sub(front + padding)?;
        self.bytes.truncate(front + kept);
        self.bytes.drain(..front);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    fn begun() -> Vec<u8> {
        [&[b'x'; PREFACE][..], &frame(SETTINGS, 0, 0, &[])].concat()
    }

    /// Passes the bytes whole, and cut in two at every place: always with the same result.
    fn passed(bytes: &[u8]) -> Result<(), Violation> {
        let whole = FrameWatch::of(Side::Client).pass(bytes);
        for cut in 0..=bytes.len() {
            let mut watch = FrameWatch::of(Side::Client);
            let first = watch.pass(&bytes[..cut]);
            let second = first.and_then(|()| {
                watch.pass(&bytes[cut..]).map_err(|found| Violation { passed: found.passed + cut, ..found })
            });
            assert_eq!(second, whole, "cut at {cut}");
        }
        whole
    }

    /// The streams found malformed, wherever the bytes are cut in two.
    fn malformed(side: Side, bytes: &[u8]) -> Vec<u32> {
        let told = |cut: usize| {
            let mut watch = FrameWatch::of(side);
            watch.pass(&bytes[..cut]).unwrap();
            watch.pass(&bytes[cut..]).unwrap();
            watch.malformed().collect::<Vec<_>>()
        };
        let whole = told(0);
        for cut in 1..=bytes.len() {
            assert_eq!(told(cut), whole, "cut at {cut}");
        }
        whole
    }

    /// `:method: GET`, and `x: y` which is kept.
    const HEAD: &[u8] = b"\x82\x40\x01x\x01y";

    #[test]
    fn settings_come_first() {
        assert_eq!(passed(&begun()), Ok(()));
        let ping = [&[b'x'; PREFACE][..], &frame(PING, 0, 0, &[0; 8])].concat();
        let refused = Violation { passed: PREFACE + HEADER - 1, reason: "the preface is not followed by settings" };
        assert_eq!(passed(&ping), Err(refused));
        let acknowledged = [&[b'x'; PREFACE][..], &frame(SETTINGS, ACK, 0, &[])].concat();
        assert_eq!(passed(&acknowledged), Err(refused));
    }

    #[test]
    fn pseudo_headers_are_found_among_trailers_however_they_are_spelled() {
        let open = [begun(), frame(HEADERS, END_HEADERS, 1, HEAD), frame(DATA, 0, 1, b"data")].concat();
        for (what, block, refused) in [
            ("a plain name", &b"\x00\x01a\x01b"[..], false),
            ("a name of the static table", b"\x82", true),
            ("a name of the static table with another value", b"\x02\x01P", true),
            ("a field of the static table that is none", b"\x90", false),
            ("a literal", b"\x00\x02:x\x01y", true),
            ("a literal that is kept", b"\x40\x02:x\x01y", true),
            // `:a` in Huffman's code: 1011100 00011, and padding.
            ("a literal in Huffman's code", b"\x00\x82\xb8\x7f\x01y", true),
            ("a kept field of the head", b"\xbe", false),
        ] {
            let mut padded = vec![3, 0, 0, 0, 0, 9];
            padded.extend_from_slice(block);
            padded.extend([0; 3]);
            let half = block.len() / 2;
            let split =
                [frame(HEADERS, 1, 1, &block[..half]), frame(CONTINUATION, END_HEADERS, 1, &block[half..])].concat();
            for trailers in [
                frame(HEADERS, END_HEADERS | 1, 1, block),
                frame(HEADERS, END_HEADERS | 1 | PADDED | PRIORITY, 1, &padded),
                split,
            ] {
                let bytes = [open.clone(), trailers].concat();
                assert_eq!(malformed(Side::Client, &bytes), if refused { vec![1] } else { Vec::new() }, "{what}");
            }
        }
    }

    #[test]
    fn the_table_forgets_what_the_clients_does() {
        // `:x: y` kept in a head, then driven out by others: its place is another field's.
        let kept = [&b"\x82\x40\x02:x\x01y"[..]].concat();
        let large = [&b"\x40\x01z\x7f\xa1\x1e"[..], &[b'a'; 4000]].concat();
        let open = |more: &[u8]| {
            [
                begun(),
                frame(HEADERS, END_HEADERS, 1, &[&kept, more].concat()),
                frame(HEADERS, END_HEADERS | 1, 1, b"\xbe"),
            ]
            .concat()
        };
        assert_eq!(malformed(Side::Client, &open(b"")), [1]);
        assert_eq!(malformed(Side::Client, &open(b"\x40\x01a\x01b")), [0; 0]);
        assert_eq!(malformed(Side::Client, &open(&large)), [0; 0]);
    }

    #[test]
    fn a_response_holds_a_status_and_no_other_pseudo_header() {
        const INTERIM: &[u8] = b"\x08\x03103";
        const HEAD: &[u8] = b"\x88";
        let head = |block: &[u8]| frame(HEADERS, END_HEADERS, 1, block);
        let last = |block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
        let data = |flags| frame(DATA, flags, 1, b"data");
        let plain: &[u8] = b"\x00\x01a\x01b";
        for (what, frames, bad) in [
            ("a response", vec![head(HEAD), data(END_STREAM)], false),
            ("a head alone", vec![last(HEAD)], false),
            ("an interim response and trailers", vec![head(INTERIM), head(HEAD), data(0), last(plain)], false),
            ("a path", vec![head(b"\x88\x84"), data(END_STREAM)], true),
            ("a method in an interim response", vec![head(b"\x08\x03103\x82"), last(HEAD)], true),
            ("one that nobody knows", vec![head(b"\x88\x00\x02:x\x01y"), data(END_STREAM)], true),
            ("a status in trailers", vec![head(HEAD), data(0), last(HEAD)], true),
            ("an interim status in trailers", vec![head(HEAD), data(0), last(INTERIM)], true),
            ("a kept interim status, twice", vec![head(b"\x48\x03103"), head(b"\xbe"), last(HEAD)], false),
            // `103` in Huffman's code: 00001 00000 011001.
            ("an interim status in Huffman's code", vec![head(b"\x08\x82\x08\x19"), last(HEAD)], false),
            ("a stream used again after its end", vec![head(HEAD), data(END_STREAM), last(HEAD)], false),
        ] {
            let bytes = [frame(SETTINGS, 0, 0, &[]), frames.concat()].concat();
            assert_eq!(malformed(Side::Server, &bytes), if bad { vec![1] } else { Vec::new() }, "{what}");
        }
        let refused = FrameWatch::of(Side::Server).pass(&frame(PING, 0, 0, &[0; 8]));
        assert_eq!(refused.map_err(|found| found.reason), Err("the preface is not followed by settings"));
    }

    #[test]
    fn a_fragment_in_a_path_is_told_however_it_is_spelled() {
        for (what, block, expected) in [
            ("none", &b"\x82\x04\x04/a?b"[..], false),
            ("a plain value", b"\x82\x04\x04/a#b", true),
            ("a name of its own", b"\x82\x00\x05:path\x02/#", true),
            ("a value that is kept", b"\x82\x44\x02/#", true),
            // `/#` in Huffman's code: 011000 111111111010, and padding.
            ("a value in Huffman's code", b"\x82\x04\x83\x63\xfe\xbf", true),
            // `:path` in Huffman's code.
            ("a name in Huffman's code", b"\x82\x00\x84\xb9\x58\xd3\x3f\x02/#", true),
            ("a value of the static table", b"\x82\x85", false),
            ("another field", b"\x82\x00\x01a\x02/#", false),
        ] {
            let mut watch = FrameWatch::of(Side::Client);
            watch.pass(&[begun(), frame(HEADERS, END_HEADERS | 1, 1, block)].concat()).unwrap();
            assert_eq!(watch.fragments().collect::<Vec<_>>(), if expected { vec![1] } else { vec![] }, "{what}");
        }
        // The same entry of the table, for another stream.
        let mut watch = FrameWatch::of(Side::Client);
        watch.pass(&[begun(), frame(HEADERS, END_HEADERS | 1, 1, b"\x82\x44\x02/#")].concat()).unwrap();
        watch.pass(&frame(HEADERS, END_HEADERS | 1, 3, b"\x82\xbe")).unwrap();
        assert_eq!(watch.fragments().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(watch.fragments().next(), None);
    }

    #[test]
    fn a_head_is_under_way_until_its_end() {
        let mut watch = FrameWatch::of(Side::Client);
        watch.pass(&begun()).unwrap();
        assert_eq!(watch.head_under_way(), None);
        watch.pass(&frame(HEADERS, 0, 1, HEAD)[..10]).unwrap();
        assert_eq!(watch.head_under_way(), Some(1));
        watch.pass(&frame(HEADERS, 0, 1, HEAD)[10..]).unwrap();
        assert_eq!(watch.head_under_way(), Some(1));
        watch.pass(&frame(CONTINUATION, END_HEADERS, 1, b"")).unwrap();
        assert_eq!(watch.head_under_way(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(server in any::<bool>(), frames in prop::collection::vec((0u8..10, any::<u8>(), 0u8..6, prop::collection::vec(any::<u8>(), 0..40)), 0..12)) {
            let mut bytes = if server { frame(SETTINGS, 0, 0, &[]) } else { begun() };
            for (kind, flags, stream, payload) in frames {
                bytes.extend(frame(kind, flags, stream, &payload));
            }
            let side = if server { Side::Server } else { Side::Client };
            let mut watch = FrameWatch::of(side);
            if let Err(violation) = watch.pass(&bytes) {
                prop_assert!(violation.passed < bytes.len());
            }
            prop_assert!(watch.table.within_bounds());
            prop_assert!(watch.answered.len() <= ANSWERED);
        }
    }
}

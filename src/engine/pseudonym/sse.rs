//! Server-sent events as byte ranges (WHATWG HTML, 9.2): lines end in CR, LF or CRLF, an event in an empty line.

use memchr::memchr2;

/// What comes next in the stream, as places in [`Framer::buffer`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Frame {
    /// An event with its empty line; its data is in [`Framer::data`].
    Event { start: usize, end: usize },
    /// Bytes that pass: the line feed after an event that ended in CR, and events that are too long.
    Raw { start: usize, end: usize },
}

pub(super) struct Framer {
    pub buffer: Vec<u8>,
    /// The values of the `data` fields of the last event.
    pub data: Vec<(usize, usize)>,
    /// Whether the last event with data named its type.
    pub named: bool,
    pub line_end: &'static [u8],
    /// Events that were too long to be held.
    pub oversize: u64,
    most: usize,
    /// Where the event begins, the line, and what was not looked at.
    start: usize,
    line: usize,
    scan: usize,
    /// CR was the last byte: LF, if it comes, belongs to it.
    after_cr: bool,
    /// The event is passed as it comes; the line has bytes that are gone.
    passing: bool,
    mid_line: bool,
    first: bool,
    /// An event has just ended.
    fresh: bool,
    /// The event that is being read names its type.
    event_named: bool,
}

impl Framer {
    pub fn new(most: usize) -> Self {
        Self {
            buffer: Vec::new(),
            data: Vec::new(),
            named: false,
            line_end: b"\n",
            oversize: 0,
            most,
            start: 0,
            line: 0,
            scan: 0,
            after_cr: false,
            passing: false,
            mid_line: false,
            first: true,
            fresh: true,
            event_named: false,
        }
    }

    /// The next frame that is complete; bytes before it are given back by [`Framer::forget`].
    pub fn next(&mut self) -> Option<Frame> {
        if std::mem::take(&mut self.fresh) {
            self.data.clear();
            self.event_named = false;
        }
        loop {
            if self.after_cr {
                let line_feed = *self.buffer.get(self.scan)? == b'\n';
                self.after_cr = false;
                // Empty lines say nothing of the others: their event has left without waiting for the next byte.
                let empty = self.start == self.scan;
                if !empty {
                    self.line_end = if line_feed { b"\r\n" } else { b"\r" };
                }
                if line_feed {
                    self.scan += 1;
                    self.line = self.scan;
                    if empty {
                        self.start = self.scan;
                        return Some(Frame::Raw { start: self.scan - 1, end: self.scan });
                    }
                }
            }
            let Some(found) = memchr2(b'\r', b'\n', &self.buffer[self.scan..]) else {
                self.scan = self.buffer.len();
                return self.overlong();
            };
            let end = self.scan + found;
            self.scan = end + 1;
            let line = (self.line, end);
            let empty = line.0 == line.1 && !self.mid_line;
            let mut line_end: &'static [u8] = b"\n";
            if self.buffer[end] == b'\r' {
                line_end = b"\r\n";
                match self.buffer.get(self.scan) {
                    Some(b'\n') => self.scan += 1,
                    Some(_) => line_end = b"\r",
                    None => self.after_cr = true,
                }
            }
            if !empty && !self.after_cr {
                self.line_end = line_end;
            }
            self.mid_line = false;
            self.line = self.scan;
            if empty {
                let start = std::mem::replace(&mut self.start, self.scan);
                let passed = std::mem::take(&mut self.passing);
                self.fresh = true;
                self.note_name();
                let (start, end) = (start, self.scan);
                return Some(if passed { Frame::Raw { start, end } } else { Frame::Event { start, end } });
            }
            self.field(line);
        }
    }

    /// What is left when the stream ends inside an event.
    pub fn rest(&mut self) -> Option<Frame> {
        let (start, end) = (self.start, self.buffer.len());
        if start == end {
            return None;
        }
        if self.line < end {
            self.field((self.line, end));
        }
        self.note_name();
        self.start = end;
        Some(if self.passing { Frame::Raw { start, end } } else { Frame::Event { start, end } })
    }

    /// Gives back the room of what was framed.
    pub fn forget(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.line = self.line.saturating_sub(self.start);
            self.scan -= self.start;
            if !self.fresh {
                for (start, end) in &mut self.data {
                    (*start, *end) = (start.saturating_sub(self.start), end.saturating_sub(self.start));
                }
            }
            self.start = 0;
        }
    }

    fn overlong(&mut self) -> Option<Frame> {
        if !self.passing && self.scan - self.start <= self.most {
            return None;
        }
        if !self.passing {
            self.passing = true;
            self.oversize += 1;
            self.data.clear();
        }
        let start = std::mem::replace(&mut self.start, self.scan);
        self.mid_line |= self.line < self.scan;
        self.line = self.scan;
        (start < self.scan).then_some(Frame::Raw { start, end: self.scan })
    }

    fn note_name(&mut self) {
        if !self.data.is_empty() {
            self.named = self.event_named;
        }
    }

    fn field(&mut self, (mut start, end): (usize, usize)) {
        if std::mem::take(&mut self.first) && self.buffer[start..end].starts_with("\u{feff}".as_bytes()) {
            start += 3;
        }
        if self.passing {
            return;
        }
        let line = &self.buffer[start..end];
        if line.starts_with(b"data:") {
            let space = usize::from(line.get(5) == Some(&b' '));
            self.data.push((start + 5 + space, end));
        }
        self.event_named |= line.starts_with(b"event:");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Frame, Framer};

    /// The data of all events, and all bytes framed.
    fn framed(pieces: &[&[u8]], most: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut framer = Framer::new(most);
        let (mut events, mut all) = (Vec::new(), Vec::new());
        let mut take = |framer: &mut Framer, frame| match frame {
            Frame::Raw { start, end } => all.extend_from_slice(&framer.buffer[start..end]),
            Frame::Event { start, end } => {
                let lines: Vec<_> = framer.data.iter().map(|&(start, end)| &framer.buffer[start..end]).collect();
                if !lines.is_empty() {
                    events.push(lines.join(&b'\n'));
                }
                all.extend_from_slice(&framer.buffer[start..end]);
            }
        };
        for piece in pieces {
            framer.buffer.extend_from_slice(piece);
            while let Some(frame) = framer.next() {
                take(&mut framer, frame);
            }
            framer.forget();
        }
        if let Some(frame) = framer.rest() {
            take(&mut framer, frame);
        }
        (events, all)
    }

    #[test]
    fn lines_may_end_in_any_way_and_be_cut_anywhere() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(
                "\u{feff}data: a{end}{end}: ping{end}{end}event: x{end}data:b{end}data:  c{end}{end}{end}id: 1{end}data: d"
            );
            let expected: Vec<&[u8]> = vec![b"a", b"b\n c", b"d"];
            for size in 1..text.len() {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let (events, all) = framed(&pieces, 1000);
                assert_eq!(events, expected, "{text:?} by {size}");
                assert_eq!(all, text.as_bytes());
            }
        }
    }

    proptest! {
        #[test]
        fn all_bytes_pass_and_cuts_change_nothing(
            bytes in prop::collection::vec(prop::sample::select(&b"data: x\r\n\r\n"[..]), 0..80), size in 1usize..9
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            let (events, all) = framed(&pieces, 1000);
            prop_assert_eq!(&all, &bytes);
            prop_assert_eq!(events, framed(&[&bytes], 1000).0);
            prop_assert_eq!(framed(&pieces, 8).1, bytes);
        }
    }
}

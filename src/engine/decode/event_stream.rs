//! AWS event streams (`application/vnd.amazon.eventstream`, smithy.io/2.0/aws/amazon-eventstream.html): messages
//! with typed headers and a payload.
//!
//! ```text
//! total length  headers length  CRC-32 of both  headers  payload  CRC-32 of all before
//! 4 bytes       4 bytes         4 bytes                           4 bytes
//! ```
//!
//! All numbers are big-endian. What speaks for a message is the checksum of its prelude.

use std::ops::Range;

use bytes::Bytes;
use crc32fast::hash as crc32;

use super::layer::Format;
use super::place::Tail;
use super::sniff;
use super::walker::Walker;
use crate::engine::location::Step;
use crate::engine::visit::{LayerId, LeafKind, Spelling, Target, Visitor};
use crate::wire::span::Span;

pub(crate) const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// One message; its parts in the bytes around it.
#[derive(Debug)]
pub(crate) struct Message {
    pub whole: Range<usize>,
    pub headers: Range<usize>,
    pub payload: Range<usize>,
    /// Its last four bytes are the checksum of the others.
    pub sound: bool,
    /// The bytes end before it does; then `whole` and `payload` end with them.
    pub cut: bool,
}

/// The message at `at`, if its prelude is sound.
pub(crate) fn message_at(bytes: &[u8], at: usize) -> Option<Message> {
    let prelude = bytes.get(at..at.checked_add(PRELUDE)?)?;
    let number = |from: usize| prelude.get(from..from + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (total, length) = (number(0)? as usize, number(4)? as usize);
    if crc32(&prelude[..8]) != number(8)? || total < PRELUDE + CHECKSUM + length {
        return None;
    }
    let end = at.checked_add(total)?;
    let cut = end > bytes.len();
    let content_end = (end - CHECKSUM).min(bytes.len());
    let headers_end = (at + PRELUDE + length).min(content_end);
    let sound = bytes.get(end - CHECKSUM..end) == Some(&crc32(bytes.get(at..content_end)?).to_be_bytes());
    Some(Message {
        whole: at..end.min(bytes.len()),
        headers: at + PRELUDE..headers_end,
        payload: headers_end..content_end,
        sound,
        cut,
    })
}

#[derive(Debug)]
pub(crate) struct Header {
    pub name: Range<usize>,
    pub kind: u8,
    pub whole: Range<usize>,
    pub value: Range<usize>,
    /// The two bytes of its length, where its type has one.
    pub length: Option<Range<usize>>,
}

const BYTES: u8 = 6;
const STRING: u8 = 7;
const UUID: u8 = 9;

/// The headers in `range` until one is malformed.
pub(crate) fn headers(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = Header> {
    let mut at = range.start;
    let bytes = bytes.get(..range.end).unwrap_or_default();
    std::iter::from_fn(move || {
        let start = at;
        let name = start + 1..start + 1 + usize::from(*bytes.get(start)?);
        let kind = *bytes.get(name.end)?;
        let value = name.end + 1;
        let (length, size) = match kind {
            // True and false say it in their type.
            0 | 1 => (None, 0),
            2 => (None, 1),
            3 => (None, 2),
            4 => (None, 4),
            5 | 8 => (None, 8),
            UUID => (None, 16),
            BYTES | STRING => {
                let length = bytes.get(value..value + 2)?;
                (Some(value..value + 2), usize::from(u16::from_be_bytes([length[0], length[1]])))
            }
            _ => return None,
        };
        let value = length.as_ref().map_or(value, |length| length.end);
        let value = value..value + size;
        bytes.get(value.clone())?;
        at = value.end;
        Some(Header { name, kind, whole: start..at, value, length })
    })
}

/// Whether `bytes`, of which nothing is said, begin with a message.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    message_at(bytes, 0).is_some()
}

impl<V: Visitor> Walker<'_, V> {
    /// The messages of `layer`, counted from `number`.
    pub(super) fn events(&mut self, layer: LayerId, mut number: u64, name: &str) {
        self.layers[layer.0 as usize].format = Format::Events;
        let content = self.content(layer);
        let mut at = 0;
        while at < content.len() {
            self.steps.push(Step::Event(number));
            let message = message_at(&content, at);
            match &message {
                Some(message) => self.event(layer, &content, message, name),
                None => {
                    self.report(layer, &content[at..], "malformed", Tail::Whole);
                    self.runs(layer, &content, at..content.len(), name, Tail::Whole);
                }
            }
            self.steps.pop();
            at = message.map_or(content.len(), |message| message.whole.end);
            number += 1;
        }
    }

    fn event(&mut self, layer: LayerId, content: &Bytes, message: &Message, name: &str) {
        let mut kind = &b""[..];
        let mut end = message.headers.start;
        for header in headers(content, message.headers.clone()) {
            end = header.whole.end;
            let value = &content[header.value.clone()];
            let label = String::from_utf8_lossy(&content[header.name.clone()]).to_ascii_lowercase();
            let target = Target { layer, raw: Span::of(header.value), spelling: Spelling::Raw };
            match header.kind {
                STRING if sniff::is_text(value) || value.is_empty() => {
                    if label == ":content-type" {
                        kind = value;
                    }
                    self.value(LeafKind::Header, &label, value, target, Tail::Field(&label));
                }
                STRING | BYTES | UUID => self.leaf(LeafKind::Opaque, &label, value, target, Tail::Field(&label)),
                // Numbers and times of the message itself.
                _ => {}
            }
        }
        if end < message.headers.end {
            self.report(layer, &content[end..message.headers.end], "malformed", Tail::Whole);
            self.runs(layer, content, end..message.headers.end, name, Tail::Whole);
        }
        let payload = message.payload.clone();
        if !payload.is_empty() {
            let target = Target { layer, raw: Span::of(payload.clone()), spelling: Spelling::Raw };
            self.window(content.slice(payload), target, Tail::Whole, |walker, inner| {
                walker.document(inner, name, kind);
            });
        }
        if message.cut {
            // All that is there was read; that something is missing is said of what promised it.
            self.report(layer, &content[message.whole.start..message.headers.start], "malformed", Tail::Whole);
        } else if !message.sound {
            self.report(layer, &content[message.payload.end..message.whole.end], "malformed", Tail::Whole);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{crc32, headers, message_at};

    pub fn message(fields: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut coded = Vec::new();
        for (name, value) in fields {
            coded.push(name.len() as u8);
            coded.extend(name.as_bytes());
            coded.push(7);
            coded.extend((value.len() as u16).to_be_bytes());
            coded.extend(value.as_bytes());
        }
        let total = (16 + coded.len() + payload.len()) as u32;
        let mut out = [total.to_be_bytes(), (coded.len() as u32).to_be_bytes()].concat();
        out.extend(crc32(&out).to_be_bytes());
        out.extend(coded);
        out.extend(payload);
        out.extend(crc32(&out).to_be_bytes());
        out
    }

    #[test]
    fn the_specifications_own_message_is_read() {
        // `one_str_header` of the test vectors.
        let bytes = message(&[("content-type", "application/json")], b"{'foo':'bar'}");
        assert_eq!(bytes[..12], [0, 0, 0, 0x3d, 0, 0, 0, 0x20, 7, 0xfd, 0x83, 0x96]);
        assert_eq!(bytes[bytes.len() - 4..], [0x8d, 0x9c, 0x08, 0xb1]);
        let message = message_at(&bytes, 0).unwrap();
        assert!(message.sound && !message.cut);
        let header = headers(&bytes, message.headers).next().unwrap();
        assert_eq!(&bytes[header.value], b"application/json");
        assert!(message_at(&bytes[1..], 0).is_none());
        for end in 12..bytes.len() {
            let cut = message_at(&bytes[..end], 0).unwrap();
            assert!(cut.cut && !cut.sound && cut.whole.end == end);
        }
    }
}

//! Connect and gRPC envelopes: a byte of flags, four of length, a message; compressed one by one.

use super::coding::Coding;
use super::layer::Format;
use super::place::Tail;
use super::walker::Walker;
use crate::engine::location::Step;
use crate::engine::visit::{LayerId, Spelling, Target, Visitor};
use crate::wire::head::RequestHead;
use crate::wire::span::Span;

const PREFIX: usize = 5;
const COMPRESSED: u8 = 1;
/// Connect's last envelope: a JSON object.
const END_STREAM: u8 = 2;
/// gRPC-Web's last envelope: trailers as text.
const TRAILERS: u8 = 0x80;

/// What the messages of a stream are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Stream {
    coding: Option<Coding>,
    protobuf: bool,
}

impl Stream {
    pub fn of(head: &RequestHead) -> Self {
        let coding = head.get("connect-content-encoding").or_else(|| head.get("grpc-encoding"));
        let coding = coding.and_then(|name| std::str::from_utf8(name).ok()).and_then(Coding::named);
        let kind = head.get("content-type").unwrap_or_default().to_ascii_lowercase();
        let protobuf = kind.ends_with(b"proto") || kind.starts_with(b"application/grpc") && !kind.ends_with(b"json");
        Self { coding, protobuf }
    }
}

/// Whether `bytes`, of which nothing is said, are envelopes from first to last.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        let Some(&[flags, a, b, c, d]) = bytes.get(at..at + PREFIX) else { return false };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if flags > 3 || length > bytes.len() - at - PREFIX || (at == 0 && length == 0) {
            return false;
        }
        at += PREFIX + length;
    }
    at > 0
}

impl<V: Visitor> Walker<'_, V> {
    /// The envelopes of `layer`, counted from `first` on.
    pub(super) fn frames(&mut self, layer: LayerId, first: u64, stream: Stream) {
        self.layers[layer.0 as usize].format = Format::Frames;
        let content = self.content(layer);
        let mut at = 0;
        let mut number = first;
        while at < content.len() {
            self.steps.push(Step::Frame(number));
            let body = content.get(at..at + PREFIX).and_then(|prefix| {
                let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
                let body = at + PREFIX..at.checked_add(PREFIX)?.checked_add(length as usize)?;
                (body.end <= content.len()).then_some(body)
            });
            let Some(body) = body else {
                self.report(layer, &content[at..], "malformed", Tail::Whole);
                self.runs(layer, &content, at..content.len(), "", Tail::Whole);
                self.steps.pop();
                return;
            };
            let flags = content[at];
            if !body.is_empty() {
                let target = Target { layer, raw: Span::of(body.clone()), spelling: Spelling::Raw };
                self.window(content.slice(body.clone()), target, Tail::Whole, |walker, message| {
                    walker.framed(message, flags, stream);
                });
            }
            self.steps.pop();
            at = body.end;
            number += 1;
        }
    }

    fn framed(&mut self, mut message: LayerId, flags: u8, stream: Stream) {
        let mark = self.steps.len();
        if flags & COMPRESSED != 0 {
            let content = self.content(message);
            let coding = Coding::sniff(&content).or(stream.coding).unwrap_or(Coding::Gzip);
            let target = self.layers[message.0 as usize].target(message);
            let Some(inner) = self.undo(target, coding, "content-coding") else {
                self.steps.truncate(mark);
                return;
            };
            message = inner;
        }
        if stream.protobuf && flags & (END_STREAM | TRAILERS) == 0 {
            self.protobuf(message, "");
        } else {
            self.sniffed(message, "");
        }
        self.steps.truncate(mark);
    }
}

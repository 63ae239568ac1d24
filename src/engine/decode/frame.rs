//! Connect and gRPC envelopes: a byte of flags, four of length, a message; compressed one by one.

use bytes::Bytes;

use super::base64;
use super::coding::Coding;
use super::layer::{Base64, Codec, Format};
use super::place::Tail;
use super::walker::Walker;
use crate::engine::location::Step;
use crate::engine::visit::{LayerId, LeafKind, Spelling, Target, Visitor};
use crate::wire::head::RequestHead;
use crate::wire::span::Span;

const PREFIX: usize = 5;
const COMPRESSED: u8 = 1;
/// Connect's last envelope: a JSON object.
const END_STREAM: u8 = 2;
/// gRPC-Web's last envelope: trailers as text.
const TRAILERS: u8 = 0x80;
const KNOWN: u8 = COMPRESSED | END_STREAM | TRAILERS;

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
        let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
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
        if (flags > 3 && (at == 0 || flags & !(COMPRESSED | TRAILERS) != 0))
            || length > bytes.len() - at - PREFIX
            || (at == 0 && length == 0)
        {
            return false;
        }
        at += PREFIX + length;
    }
    at > 0
}

impl<V: Visitor> Walker<'_, V> {
    /// Base64 of envelopes (`application/grpc-web-text`): one run, or several that each end in their padding.
    pub(super) fn text_frames(&mut self, layer: LayerId, stream: Stream) {
        let content = self.content(layer);
        let mut at = 0;
        let mut number = 0;
        while at < content.len() {
            let rest = &content[at..];
            let end = memchr::memchr(b'=', rest)
                .map_or(rest.len(), |mark| mark + rest[mark..].iter().take_while(|&&byte| byte == b'=').count());
            let run = rest[..end].trim_ascii();
            let start = at + (end - rest[..end].trim_ascii_start().len());
            at += end;
            if run.is_empty() {
                continue;
            }
            let spelling = Base64 { url: false, padded: run.len().is_multiple_of(4), wrap: None };
            let bytes = base64::decode(run, spelling).filter(|bytes| self.spend(bytes.len()));
            let Some(bytes) = bytes else {
                self.report(layer, &content[start..], "malformed", Tail::Whole);
                self.runs(layer, &content, start..content.len(), "", Tail::Whole);
                return;
            };
            let target = Target { layer, raw: Span::of(start..start + run.len()), spelling: Spelling::Raw };
            self.inside(Tail::Whole, |walker| {
                walker.steps.push(Step::B64);
                let inner = walker.open(bytes.into(), target, Span::of(0..run.len()), Codec::Base64(spelling));
                number = walker.frames(inner, number, stream);
            });
        }
    }

    /// The envelopes of `layer`, counted from `first` on. Gives the next one's number.
    pub(super) fn frames(&mut self, layer: LayerId, first: u64, stream: Stream) -> u64 {
        self.layers[layer.0 as usize].format = Format::Frames;
        let content = self.content(layer);
        let mut at = 0;
        let mut number = first;
        while at < content.len() {
            self.steps.push(Step::Frame(number));
            let body = content.get(at..at + PREFIX).and_then(|prefix| {
                let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
                Some(at + PREFIX..at.checked_add(PREFIX)?.checked_add(length as usize)?)
            });
            let flags = content[at];
            // Beyond these no protocol has a flag: what follows is something else.
            let body = body.filter(|body| body.end <= content.len() || flags & !KNOWN == 0);
            let Some(mut body) = body else {
                self.report(layer, &content[at..], "malformed", Tail::Whole);
                self.runs(layer, &content, at..content.len(), "", Tail::Whole);
                self.steps.pop();
                return number + 1;
            };
            if body.end > content.len() {
                // All that is there is read; that something is missing is said of what promised it.
                self.report(layer, &content[at..at + PREFIX], "malformed", Tail::Whole);
                body.end = content.len();
            }
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
        number
    }

    fn framed(&mut self, mut message: LayerId, flags: u8, stream: Stream) {
        let mark = self.steps.len();
        if flags & COMPRESSED != 0 {
            let content = self.content(message);
            // What is said of the stream holds, unless the message speaks for itself.
            let named = stream.coding.filter(|coding| coding.opens(&content));
            let sniffed = || Coding::sniff(&content).or_else(|| Coding::without_signature(&content));
            let coding = named.or_else(sniffed).or(stream.coding).unwrap_or(Coding::Gzip);
            let target = self.layers[message.0 as usize].target(message);
            let Some(inner) = self.undo(target, coding, "content-coding") else {
                self.steps.truncate(mark);
                return;
            };
            message = inner;
        }
        if flags & TRAILERS != 0 {
            let content = self.content(message);
            self.trailers(message, &content);
        } else if stream.protobuf && flags & END_STREAM == 0 {
            self.said_protobuf(message, "");
        } else {
            self.sniffed(message, "");
        }
        self.steps.truncate(mark);
    }

    /// `name: value` lines.
    fn trailers(&mut self, layer: LayerId, content: &Bytes) {
        let mut at = 0;
        for line in content.split(|&byte| byte == b'\n') {
            let start = at;
            at += line.len() + 1;
            let line = line.trim_ascii_end();
            let colon = memchr::memchr(b':', line);
            let name = String::from_utf8_lossy(&line[..colon.unwrap_or(0)]).to_ascii_lowercase();
            let value = line[colon.map_or(0, |colon| colon + 1)..].trim_ascii_start();
            if value.is_empty() {
                continue;
            }
            let end = start + line.len();
            let target = Target { layer, raw: Span::of(end - value.len()..end), spelling: Spelling::Raw };
            let tail = if name.is_empty() { Tail::Whole } else { Tail::Field(&name) };
            self.value(LeafKind::Trailer, &name, value, target, tail);
        }
    }
}

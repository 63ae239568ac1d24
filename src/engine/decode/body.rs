//! What a payload is: content codings undone, then its kind by what is said of it and what it looks like.

use super::aws_chunked;
use super::coding::{Bounds, Coding};
use super::documents;
use super::frame::Stream;
use super::json;
use super::layer::{Codec, Member};
use super::msgpack;
use super::multipart;
use super::place::Tail;
use super::sentry;
use super::sniff::{self, Class};
use super::walker::Walker;
use crate::engine::audit::Part;
use crate::engine::location::{Root, Step};
use crate::engine::visit::{LayerId, LeafKind, Target, Visitor};
use crate::wire::head::RequestHead;
use crate::wire::span::Span;

/// Whether a media type says more about its content than that it is a text or a document that tells by itself.
pub(super) fn says_structure(kind: &[u8]) -> bool {
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    match kind.as_slice() {
        b"application/x-www-form-urlencoded" | b"application/http" | b"application/x-sentry-envelope" => true,
        b"text/event-stream" => true,
        kind => {
            kind.starts_with(b"multipart/") || is_event_stream(kind) || is_protobuf_type(kind) || msgpack::is_type(kind)
        }
    }
}

impl<V: Visitor> Walker<'_, V> {
    pub(super) fn payload(&mut self, part: &Part, head: &RequestHead, layer: LayerId) {
        match part {
            Part::Head => {}
            Part::Document(_) => self.body(head, layer),
            Part::Line { index, .. } => {
                self.steps.push(Step::Lines(*index));
                self.sniffed(layer, "");
            }
            Part::Message { index, .. } => {
                self.root = Root::Message(*index);
                self.sniffed(layer, "");
            }
            Part::Frame { index, .. } if is_event_stream(head.get("content-type").unwrap_or_default()) => {
                self.events(layer, *index, "");
            }
            Part::Frame { index, .. } => {
                self.frames(layer, *index, Stream::of(head));
            }
            Part::Chunk { .. } => self.chunk(layer),
            Part::Trailers(_) => self.trailer_fields(layer),
        }
    }

    /// A piece of something longer, cut anywhere: a character cut in two does not make it opaque.
    fn chunk(&mut self, layer: LayerId) {
        let content = self.content(layer);
        let start = content.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
        let end = match std::str::from_utf8(&content[start..]) {
            Err(error) if error.error_len().is_none() => start + error.valid_up_to(),
            _ => content.len(),
        };
        if sniff::is_text(&content[start..end]) {
            let target = self.layers[layer.0 as usize].target(layer);
            self.leaf(LeafKind::Text, "", &content, target, Tail::Whole);
        } else {
            self.report(layer, &content, "opaque", Tail::Whole);
            self.runs(layer, &content, 0..content.len(), "", Tail::Whole);
        }
    }

    /// A body with its content codings, listed in the order applied (RFC 9110, section 8.4): the last one is
    /// undone first.
    fn body(&mut self, head: &RequestHead, mut layer: LayerId) {
        let codings: Vec<&[u8]> = head
            .all("content-encoding")
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
            .collect();
        for name in codings.iter().rev() {
            let target = self.layers[layer.0 as usize].target(layer);
            let coding = std::str::from_utf8(name).ok().and_then(Coding::named);
            let content = self.content(layer);
            if name.eq_ignore_ascii_case(b"aws-chunked")
                && let Some((data, rest)) = aws_chunked::decode(&content)
                && self.spend(data.len())
            {
                self.runs(layer, &content, rest, "", Tail::Whole);
                let whole = Span::of(0..content.len());
                layer = self.open(data.into(), target, whole, Codec::AwsChunked);
                self.body = Some(layer);
                continue;
            }
            if !coding.is_some_and(|coding| coding.opens(&content)) {
                let class = sniff::class(&content, self.limits.json_depth);
                if matches!(class, Class::Json | Class::Lines | Class::Text) {
                    // Not coded at all, whatever the head says.
                    break;
                }
            }
            let Some(coding) = coding else {
                self.report(layer, &content, "content-coding", Tail::Whole);
                self.runs(layer, &content, 0..content.len(), "", Tail::Whole);
                return;
            };
            match self.undo(target, coding, "content-coding") {
                Some(inner) => {
                    layer = inner;
                    self.body = Some(inner);
                }
                None => return,
            }
        }
        let kind = &*head.get("content-type").unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with(b"application/grpc-web-text") {
            self.text_frames(layer, Stream::of(head));
        } else if kind.starts_with(b"application/grpc") || kind.starts_with(b"application/connect+") {
            self.frames(layer, 0, Stream::of(head));
        } else {
            self.document(layer, "", head.get("content-type").unwrap_or_default());
        }
    }

    /// The content of `layer`, of the media type `kind` says, if it says the truth.
    pub(super) fn document(&mut self, layer: LayerId, name: &str, kind: &[u8]) {
        let content = self.content(layer);
        let boundary = multipart::parameter(kind, "boundary");
        let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let start = json::blank(&content, if content.starts_with(BOM) { BOM.len() } else { 0 });
        match kind.as_slice() {
            b"application/x-www-form-urlencoded"
                if sniff::is_text(&content)
                    && !json::is_document(&content[start..], self.limits.json_depth)
                    && !sniff::is_qoder(&content, self.limits.json_depth) =>
            {
                self.pairs(layer, &content, 0..content.len(), LeafKind::FormValue);
            }
            _ if is_json_type(&kind)
                && starts_json(&content[start..])
                && !sniff::is_reversed(&content, self.limits.json_depth)
                && !sniff::is_qoder(&content, self.limits.json_depth) =>
            {
                if sniff::newline_delimited(&content, self.limits.json_depth) {
                    self.lines(layer, &content, name);
                } else {
                    self.json(layer, &content, start..content.len(), name);
                }
            }
            kind if kind.starts_with(b"multipart/") && boundary.is_some() => {
                self.multipart(layer, &boundary.unwrap_or_default(), name);
            }
            b"application/http" if !content.is_empty() => self.http(layer, &content, name),
            kind if is_event_stream(kind) && !content.is_empty() => self.events(layer, 0, name),
            b"application/x-sentry-envelope" if sentry::is_envelope(&content, true) => {
                self.envelope(layer, &content, name)
            }
            b"text/event-stream" if sniff::is_text(&content) => self.server_sent(layer, &content, name),
            kind if is_protobuf_type(kind) && !content.is_empty() => self.said_protobuf(layer, name),
            kind if msgpack::is_type(kind) && !content.is_empty() => self.said_msgpack(layer, name),
            _ => self.sniffed(layer, name),
        }
    }

    /// The content of `layer`, of which nothing is said.
    pub(super) fn sniffed(&mut self, layer: LayerId, name: &str) {
        let content = self.content(layer);
        let start = if content.starts_with(BOM) { BOM.len() } else { 0 };
        if sniff::is_json_anyhow(&content[start..], self.limits.json_depth) {
            self.classified(layer, start, Class::Json, name);
            return;
        }
        let class = match sniff::class(&content[start..], self.limits.json_depth) {
            // Cut short or spoilt further on: still more JSON than anything else.
            Class::Text | Class::Binary if sniff::is_broken_json(&content[start..], self.limits.json_depth) => {
                Class::Json
            }
            class => class,
        };
        self.classified(layer, start, class, name);
    }

    pub(super) fn classified(&mut self, layer: LayerId, start: usize, class: Class, name: &str) {
        let content = self.content(layer);
        match class {
            Class::Json => {
                let start = json::blank(&content, start);
                self.json(layer, &content, start..content.len(), name);
            }
            Class::Lines => self.lines(layer, &content, name),
            Class::Coded(_) if self.is_deepest() => self.report(layer, &content, "depth", Tail::Whole),
            Class::Coded(coding) => {
                let target = self.layers[layer.0 as usize].target(layer);
                self.inside(Tail::Whole, |walker| {
                    if let Some(inner) = walker.undo(target, coding, "malformed") {
                        walker.sniffed(inner, name);
                    }
                });
            }
            Class::Text if documents::is_server_sent(&content) => self.server_sent(layer, &content, name),
            Class::Text => {
                let target = self.layers[layer.0 as usize].target(layer);
                self.value(LeafKind::Text, name, &content, target, Tail::Whole);
            }
            Class::MsgPack => self.msgpack(layer, name),
            Class::Protobuf => self.protobuf(layer, name),
            Class::Frames => {
                self.frames(layer, 0, Stream::default());
            }
            Class::Events => self.events(layer, 0, name),
            Class::Binary => {
                self.report(layer, &content, "opaque", Tail::Whole);
                self.runs(layer, &content, 0..content.len(), name, Tail::Whole);
            }
        }
    }

    /// Opens the layer that `coding` of `source` makes and leaves its step on the list. What is damaged has the reason
    /// `damaged`.
    pub(super) fn undo(&mut self, source: Target, coding: Coding, damaged: &'static str) -> Option<LayerId> {
        let input = self.content(source.layer).slice(source.raw.range());
        if self.budget == 0 {
            self.report(source.layer, &input, "limit", Tail::Whole);
            return None;
        }
        let undone = coding.undo(&input, Bounds { bytes: self.budget, ratio: self.limits.ratio });
        self.steps.push(match coding {
            Coding::Gzip => Step::Gzip,
            Coding::Zlib => Step::Zlib,
            Coding::Deflate => Step::Deflate,
            Coding::Br => Step::Br,
            Coding::Zstd => Step::Zstd,
        });
        if let Some(reason) = undone.stop {
            let reason = if reason == "malformed" && !undone.whole { damaged } else { reason };
            let rest = if undone.content.is_empty() { 0 } else { undone.consumed };
            self.report(source.layer, &input[rest..], reason, Tail::Whole);
        }
        let asides = undone.codec.asides(&input);
        if !asides.is_empty() {
            self.report(source.layer, &asides, "opaque", Tail::Whole);
        }
        if undone.content.is_empty() {
            return None;
        }
        let members = undone.codec.members() * size_of::<Member>();
        self.budget -= (undone.content.len() + members).min(self.budget);
        let window = Span::of(0..input.len());
        let layer = self.open(undone.content.into(), source, window, undone.codec);
        self.layers[layer.0 as usize].whole = undone.whole;
        Some(layer)
    }
}

const BOM: &[u8] = b"\xef\xbb\xbf";

fn is_json_type(kind: &[u8]) -> bool {
    kind.starts_with(b"application/") && kind.windows(4).any(|word| word == b"json")
        || kind.ends_with(b"+json")
        || kind == b"text/json"
        || kind == b"application/jsonl"
}

fn is_event_stream(kind: &[u8]) -> bool {
    const KIND: &[u8] = b"application/vnd.amazon.eventstream";
    kind.get(..KIND.len()).is_some_and(|start| start.eq_ignore_ascii_case(KIND))
}

fn is_protobuf_type(kind: &[u8]) -> bool {
    kind.ends_with(b"proto") || kind.ends_with(b"protobuf")
}

pub(super) fn starts_json(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'))
}

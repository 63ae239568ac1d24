//! The walk itself: layers opened one inside the other, values handed out, what cannot be read reported.

use std::ops::Range;

use bytes::Bytes;

use super::coding::{Bounds, Coding};
use super::escape::unescape;
use super::frame::Stream;
use super::json::{self, Path, Sink, Text, Token};
use super::layer::{Base64, Codec, Format, Layer, Origin};
use super::multipart;
use super::place::{Here, Names, Tail};
use super::sniff::{self, Class, Reading};
use super::{DecodeLimits, Decoded, entropy};
use crate::engine::audit::{Part, Unit, Unread};
use crate::engine::location::{Root, Step};
use crate::engine::visit::{LayerId, Leaf, LeafKind, Spelling, Target, Visitor};
use crate::wire::head::RequestHead;
use crate::wire::span::Span;

pub(super) struct Walker<'v, V> {
    visitor: &'v mut V,
    pub limits: &'v DecodeLimits,
    pub layers: Vec<Layer>,
    /// How many payload bytes carry one byte of each layer.
    weights: Vec<f64>,
    pub root: Root,
    pub steps: Vec<Step>,
    /// Layers around the present one, the head or payload aside.
    depth: usize,
    /// Bytes that decoding may still make.
    budget: usize,
    unread: Vec<Unread>,
    missed: f64,
    body: Option<LayerId>,
    scratch: Vec<Vec<u8>>,
}

/// What a layer costs beside its content, so that a million empty ones count as well.
const LAYER_COST: usize = 256;

/// Reports beyond this many are added to the last one.
const MOST_UNREAD: usize = 1000;

impl<'v, V: Visitor> Walker<'v, V> {
    pub fn new(limits: &'v DecodeLimits, visitor: &'v mut V) -> Self {
        Self {
            visitor,
            limits,
            layers: Vec::with_capacity(8),
            weights: Vec::with_capacity(8),
            root: Root::Body,
            steps: Vec::with_capacity(8),
            depth: 0,
            // Spans are 32 bits wide.
            budget: limits.decoded_bytes.min(u32::MAX as usize),
            unread: Vec::new(),
            missed: 0.0,
            body: None,
            scratch: Vec::new(),
        }
    }

    pub fn unit(mut self, unit: &Unit<'_>) -> Decoded {
        let head = &unit.request.head;
        self.push(head.raw().clone(), Origin::Head, 0.0);
        let payload = match &unit.part {
            Part::Head => Bytes::new(),
            Part::Document(bytes)
            | Part::Frame { bytes, .. }
            | Part::Line { bytes, .. }
            | Part::Message { bytes, .. }
            | Part::Chunk { bytes, .. } => bytes.clone(),
        };
        if matches!(unit.part, Part::Head | Part::Document(_)) {
            self.head(head);
        }
        let bytes_sent = payload.len() as u64;
        if !payload.is_empty() {
            if u32::try_from(payload.len()).is_err() {
                self.too_long(&payload);
            } else {
                let layer = self.push(payload, Origin::Payload, 1.0);
                self.body = Some(layer);
                self.payload(&unit.part, head, layer);
            }
        }
        let bytes_read = bytes_sent.saturating_sub(self.missed.round() as u64);
        Decoded { layers: self.layers, body: self.body, bytes_sent, bytes_read, unread: self.unread }
    }

    fn payload(&mut self, part: &Part, head: &RequestHead, layer: LayerId) {
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
            Part::Frame { index, .. } => self.frames(layer, *index, Stream::of(head)),
            Part::Chunk { .. } => self.chunk(layer),
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
        let kind = head.get("content-type").unwrap_or_default();
        if kind.starts_with(b"application/grpc") || kind.starts_with(b"application/connect+") {
            self.frames(layer, 0, Stream::of(head));
        } else {
            self.document(layer, "", kind);
        }
    }

    /// The content of `layer`, of the media type `kind` says, if it says the truth.
    pub fn document(&mut self, layer: LayerId, name: &str, kind: &[u8]) {
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
            _ if is_json_type(&kind) && starts_json(&content[start..]) => {
                if sniff::newline_delimited(&content, self.limits.json_depth) {
                    self.lines(layer, &content, name);
                } else {
                    self.json(layer, &content, start..content.len(), name);
                }
            }
            kind if kind.starts_with(b"multipart/") && boundary.is_some() => {
                self.multipart(layer, &boundary.unwrap_or_default(), name);
            }
            kind if is_protobuf_type(kind) && !content.is_empty() => self.protobuf(layer, name),
            _ => self.sniffed(layer, name),
        }
    }

    /// The content of `layer`, of which nothing is said.
    pub fn sniffed(&mut self, layer: LayerId, name: &str) {
        let content = self.content(layer);
        let start = if content.starts_with(BOM) { BOM.len() } else { 0 };
        let class = match sniff::class(&content[start..], self.limits.json_depth) {
            // Cut short or spoilt further on: still more JSON than anything else.
            Class::Text | Class::Binary if sniff::is_broken_json(&content[start..], self.limits.json_depth) => {
                Class::Json
            }
            class => class,
        };
        self.classified(layer, start, class, name);
    }

    pub fn classified(&mut self, layer: LayerId, start: usize, class: Class, name: &str) {
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
                let mark = self.steps.len();
                self.depth += 1;
                if let Some(inner) = self.undo(target, coding, "malformed") {
                    self.sniffed(inner, name);
                }
                self.depth -= 1;
                self.steps.truncate(mark);
            }
            Class::Text => {
                let target = self.layers[layer.0 as usize].target(layer);
                self.value(LeafKind::Text, name, &content, target, Tail::Whole);
            }
            Class::Protobuf => self.protobuf(layer, name),
            Class::Frames => self.frames(layer, 0, Stream::default()),
            Class::Binary => {
                self.report(layer, &content, "opaque", Tail::Whole);
                self.runs(layer, &content, 0..content.len(), name, Tail::Whole);
            }
        }
    }

    /// Opens the layer that `coding` of `source` makes and leaves its step on the list. What is damaged has the reason
    /// `damaged`.
    pub fn undo(&mut self, source: Target, coding: Coding, damaged: &'static str) -> Option<LayerId> {
        let input = self.content(source.layer).slice(source.raw.range());
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
        if undone.content.is_empty() {
            return None;
        }
        self.budget -= undone.content.len().min(self.budget);
        let window = Span::of(0..input.len());
        let layer = self.open(undone.content.into(), source, window, undone.codec);
        self.layers[layer.0 as usize].whole = undone.whole;
        Some(layer)
    }

    /// One line, one document.
    fn lines(&mut self, layer: LayerId, content: &Bytes, name: &str) {
        let mut at = 0;
        let mut number = 0;
        for line in content.split(|&byte| byte == b'\n') {
            let start = at;
            at += line.len() + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.steps.push(Step::Lines(number));
            number += 1;
            let range = start..start + line.len();
            if starts_json(line.trim_ascii_start()) {
                self.json(layer, content, range, name);
            } else {
                let target = Target { layer, raw: Span::of(range), spelling: Spelling::Raw };
                self.value(LeafKind::Text, name, line, target, Tail::Whole);
            }
            self.steps.pop();
        }
    }

    /// JSON in `range` of `layer`: one document, or several in a row.
    pub fn json(&mut self, layer: LayerId, content: &Bytes, range: Range<usize>, name: &str) {
        let bytes = &content[..range.end];
        let names = Names::default();
        let mut at = range.start;
        let mut number = 0;
        loop {
            let mut path = Path::default();
            let scratch = self.scratch();
            let depth = self.limits.json_depth;
            let mut leaves = Leaves { walker: self, layer, bytes, names: &names, scratch, outer: name };
            let ended = json::read(bytes, at, depth, &mut path, &mut leaves);
            let scratch = leaves.scratch;
            self.give_back(scratch);
            let (stopped, tail) = match &ended {
                Ok(end) => (between(bytes, *end), Tail::Whole),
                Err(end) => (end.at, Tail::Json(&path.segments)),
            };
            at = stopped;
            if at < bytes.len() && (ended.is_err() || !starts_json(&bytes[at..])) {
                self.report(layer, &bytes[at..], "malformed", tail);
                self.runs(layer, content, at..bytes.len(), name, tail);
                at = bytes.len();
            }
            if number > 0 {
                self.steps.pop();
            }
            if at >= bytes.len() {
                break;
            }
            number += 1;
            self.steps.push(Step::Lines(number));
        }
    }

    /// A decoded value: what it holds if it holds anything, else (or where that is not certain, as well)
    /// itself.
    #[inline]
    pub fn value(&mut self, kind: LeafKind, name: &str, text: &[u8], target: Target, tail: Tail<'_>) {
        if sniff::is_plain(text) {
            self.leaf(kind, name, text, target, tail);
        } else {
            self.holding(kind, name, text, target, tail);
        }
    }

    #[inline(never)]
    fn holding(&mut self, kind: LeafKind, name: &str, text: &[u8], target: Target, tail: Tail<'_>) {
        let (window, reading) = sniff::reading(text, self.limits.json_depth);
        // Text that came out of an encoding may have done so by chance, and opaque bytes were no encoding at all
        // perhaps: then the spelling itself is a value too, and comes first.
        let certain = reading.is_certain();
        if !certain {
            self.leaf(kind, name, text, target, tail);
        }
        if !self.enter(reading, name, text, window, target, tail) && certain {
            self.leaf(kind, name, text, target, tail);
        }
    }

    /// Walks what `window` of the value `text` was read as. Says whether it could.
    pub fn enter(
        &mut self,
        reading: Reading,
        name: &str,
        text: &[u8],
        window: Range<usize>,
        target: Target,
        tail: Tail<'_>,
    ) -> bool {
        if matches!(reading, Reading::Plain) {
            return false;
        }
        if self.is_deepest() {
            self.report(target.layer, &text[window], "depth", tail);
            return false;
        }
        let span = Span::of(window.clone());
        let (bytes, codec, step, class) = match reading {
            Reading::Plain => return false,
            Reading::Document(class) => {
                let Some(content) = self.text_of(text, window.clone(), target) else {
                    self.report(target.layer, &text[window], "limit", tail);
                    return false;
                };
                self.inside(tail, |walker| {
                    let layer = walker.open(content, target, span, Codec::Identity);
                    walker.classified(layer, 0, class, name);
                });
                return true;
            }
            Reading::Jwt(parts) => {
                self.inside(tail, |walker| {
                    for (number, (part, bytes)) in (0..).zip(parts) {
                        let spelling = Base64 { url: true, padded: false, wrap: None };
                        let span = Span::of(window.start + part.start..window.start + part.end);
                        walker.steps.push(Step::Jwt(number));
                        let layer = walker.open(bytes.into(), target, span, Codec::Base64(spelling));
                        walker.sniffed(layer, name);
                        walker.steps.pop();
                    }
                });
                return true;
            }
            Reading::Base64 { spelling, bytes, class } => {
                let step = if spelling.url { Step::B64Url } else { Step::B64 };
                (bytes, Codec::Base64(spelling), step, class)
            }
            Reading::Hex { upper, bytes, class } => (bytes, Codec::Hex { upper }, Step::Hex, class),
            Reading::Qoder { exchanged, bytes, class } => (bytes, Codec::Qoder { exchanged }, Step::Qoder, class),
            Reading::Percent { bytes, class } => (bytes, Codec::Percent, Step::Url, class),
            Reading::Html { bytes, class } => (bytes, Codec::Html, Step::Html, class),
        };
        if !self.spend(bytes.len()) {
            self.report(target.layer, &text[window], "limit", tail);
            return false;
        }
        self.inside(tail, |walker| {
            walker.steps.push(step);
            let layer = walker.open(bytes.into(), target, span, codec);
            walker.classified(layer, 0, class, name);
        });
        true
    }

    /// A window of the decoded text of a leaf as a layer's content: a slice of the layer it stands in where it is spelled
    /// plainly. Nothing when the budget is spent.
    fn text_of(&mut self, text: &[u8], window: Range<usize>, target: Target) -> Option<Bytes> {
        if text.len() == target.raw.len() {
            if !self.spend(0) {
                return None;
            }
            // Every escape is longer than what it stands for.
            return Some(self.content(target.layer).slice(target.raw.range()).slice(window));
        }
        if !self.spend(window.len()) {
            return None;
        }
        Some(Bytes::copy_from_slice(&text[window]))
    }

    /// Takes what a layer of `bytes` costs from the budget, if there is so much left.
    pub fn spend(&mut self, bytes: usize) -> bool {
        let left = self.budget.checked_sub(bytes + LAYER_COST);
        self.budget = left.unwrap_or(self.budget);
        left.is_some()
    }

    pub fn is_deepest(&self) -> bool {
        self.depth >= self.limits.depth
    }

    /// Runs `walk` with `tail` as the place around it.
    pub fn inside(&mut self, tail: Tail<'_>, walk: impl FnOnce(&mut Self)) {
        let mark = self.steps.len();
        let outside = tail.root().map(|root| std::mem::replace(&mut self.root, root));
        self.steps.extend(tail.step());
        self.depth += 1;
        walk(self);
        self.depth -= 1;
        self.steps.truncate(mark);
        if let Some(root) = outside {
            self.root = root;
        }
    }

    /// Opens the layer that `codec` reads from `window` of the decoded text of `leaf`.
    pub fn open(&mut self, content: Bytes, leaf: Target, window: Span, codec: Codec) -> LayerId {
        let around = self.weights[leaf.layer.0 as usize];
        let weight = around * leaf.raw.len() as f64 / content.len().max(1) as f64;
        self.push(content, Origin::Leaf { leaf, window, codec }, weight)
    }

    fn push(&mut self, content: Bytes, origin: Origin, weight: f64) -> LayerId {
        let id = LayerId(self.layers.len() as u32);
        self.layers.push(Layer { content, origin, format: Format::Plain, whole: true });
        self.weights.push(weight);
        id
    }

    pub fn content(&self, layer: LayerId) -> Bytes {
        self.layers[layer.0 as usize].content.clone()
    }

    #[inline]
    pub fn leaf(&mut self, kind: LeafKind, name: &str, text: &[u8], target: Target, tail: Tail<'_>) {
        let place = Here::new(&self.root, &self.steps, tail);
        self.visitor.leaf(&Leaf { kind, name, text, target }, &place);
    }

    /// The texts among bytes that are none.
    pub fn runs(&mut self, layer: LayerId, content: &[u8], range: Range<usize>, name: &str, tail: Tail<'_>) {
        let from = range.start;
        for run in sniff::runs(&content[range]) {
            let raw = from + run.start..from + run.end;
            let text = &content[raw.clone()];
            let target = Target { layer, raw: Span::of(raw), spelling: Spelling::Raw };
            self.leaf(LeafKind::Opaque, name, text, target, tail);
        }
    }

    /// Reports `bytes` of `layer` as unread.
    pub fn report(&mut self, layer: LayerId, bytes: &[u8], reason: &'static str, tail: Tail<'_>) {
        let carried = bytes.len() as f64 * self.weights[layer.0 as usize];
        self.missed += carried;
        let place = Here::new(&self.root, &self.steps, tail);
        self.visitor.unread(&place, bytes, reason);
        let count = carried.ceil() as u64;
        if self.unread.len() < MOST_UNREAD {
            let location = crate::engine::visit::Place::location(&place);
            self.unread.push(Unread { location, bytes: count, reason, entropy: entropy(bytes) });
        } else if let Some(last) = self.unread.last_mut() {
            last.bytes += count;
        }
    }

    /// A payload beyond what spans can address.
    fn too_long(&mut self, payload: &[u8]) {
        let layer = self.push(Bytes::new(), Origin::Payload, 1.0);
        self.report(layer, payload, "limit", Tail::Whole);
    }

    /// An empty buffer that keeps what it has grown to.
    pub fn scratch(&mut self) -> Vec<u8> {
        self.scratch.pop().unwrap_or_default()
    }

    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.scratch.push(buffer);
    }
}

const BOM: &[u8] = b"\xef\xbb\xbf";

fn is_json_type(kind: &[u8]) -> bool {
    kind.starts_with(b"application/") && kind.windows(4).any(|word| word == b"json")
        || kind.ends_with(b"+json")
        || kind == b"text/json"
        || kind == b"application/jsonl"
}

fn is_protobuf_type(kind: &[u8]) -> bool {
    kind.ends_with(b"proto") || kind.ends_with(b"protobuf")
}

fn starts_json(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'))
}

/// Where the next document of a row begins: after white space and record separators (RFC 7464).
fn between(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x1e)).count()
}

/// Hands out the values of one JSON document.
struct Leaves<'w, 'v, 'd, V> {
    walker: &'w mut Walker<'v, V>,
    layer: LayerId,
    bytes: &'d [u8],
    names: &'d Names,
    scratch: Vec<u8>,
    outer: &'w str,
}

impl<'d, V: Visitor> Leaves<'_, '_, 'd, V> {
    fn text(&mut self, text: Text) -> Target {
        if text.escaped {
            self.scratch.clear();
            unescape(&self.bytes[text.start..text.end], &mut self.scratch);
        }
        Target { layer: self.layer, raw: Span::of(text.start..text.end), spelling: Spelling::JsonString }
    }
}

impl<'d, V: Visitor> Sink<'d> for Leaves<'_, '_, 'd, V> {
    #[inline]
    fn name(&mut self, name: Text) -> &'d str {
        json::name(self.bytes, name, self.names, &mut self.scratch)
    }

    #[inline]
    fn named(&mut self, path: &Path<'d>, name: Text) {
        let target = self.text(name);
        let text = if name.escaped { &self.scratch } else { &self.bytes[name.start..name.end] };
        let above = path.name_above(self.outer);
        self.walker.leaf(LeafKind::JsonName, above, text, target, Tail::Json(&path.segments));
    }

    #[inline]
    fn string(&mut self, path: &Path<'d>, text: Text) {
        let target = self.text(text);
        let decoded = if text.escaped { &self.scratch } else { &self.bytes[text.start..text.end] };
        let name = path.name(self.outer);
        self.walker.value(LeafKind::JsonString, name, decoded, target, Tail::Json(&path.segments));
    }

    #[inline]
    fn token(&mut self, path: &Path<'d>, start: usize, end: usize, token: Token) {
        let kind = match token {
            Token::Number => LeafKind::JsonNumber,
            Token::Bool => LeafKind::JsonBool,
            Token::Null => LeafKind::JsonNull,
        };
        let target = Target { layer: self.layer, raw: Span::of(start..end), spelling: Spelling::JsonToken };
        let name = path.name(self.outer);
        self.walker.leaf(kind, name, &self.bytes[start..end], target, Tail::Json(&path.segments));
    }

    fn too_deep(&mut self, path: &Path<'d>, start: usize, end: usize) {
        self.walker.report(self.layer, &self.bytes[start..end], "depth", Tail::Json(&path.segments));
    }

    fn cut(&mut self, path: &Path<'d>, text: Text) {
        self.string(path, text);
    }
}

//! The walk itself: layers opened one inside the other, values handed out, what cannot be read reported.

use std::ops::Range;

use bytes::Bytes;

use super::layer::{Base64, Codec, Format, Layer, Origin};
use super::place::{Here, Tail};
use super::sniff::{self, Class, Reading};
use super::{DecodeLimits, Decoded, entropy, pairs};
use crate::engine::audit::{Part, Unit, Unread};
use crate::engine::location::{Root, Step};
use crate::engine::visit::{
    ElementAt, Inside, Known, LayerId, Leaf, LeafKind, Quoted, Reopen, SHORTEST_RUN, Spelling, Target, Visitor,
};
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
    pub budget: usize,
    unread: Vec<Unread>,
    /// Payload bytes that carry what was not read; at most all of them.
    missed: f64,
    sent: u64,
    pub body: Option<LayerId>,
    scratch: Vec<Vec<u8>>,
    /// Of the last leaf.
    runs: Vec<Range<usize>>,
}

/// What layers are added to.
struct Opener<'w> {
    layers: &'w mut Vec<Layer>,
    weights: &'w mut Vec<f64>,
}

impl Opener<'_> {
    fn push(&mut self, content: Bytes, origin: Origin, weight: f64) -> LayerId {
        let id = LayerId(self.layers.len() as u32);
        self.layers.push(Layer { content, origin, format: Format::Plain, whole: true });
        self.weights.push(weight);
        id
    }
}

impl Reopen for Opener<'_> {
    fn open(&mut self, content: Bytes, leaf: Target, window: Span, codec: Codec) -> LayerId {
        let around = self.weights[leaf.layer.0 as usize];
        let weight = around * leaf.raw.len() as f64 / content.len().max(1) as f64;
        self.push(content, Origin::Leaf { leaf, window, codec }, weight)
    }
}

/// What a layer costs beside its content, so that a million empty ones count as well.
const LAYER_COST: usize = 256;

/// Bytes that hold `missed` of them; what is left of a division does not count.
fn whole(missed: f64) -> u64 {
    (missed - 1e-6).ceil().max(0.0) as u64
}

/// Shorter names of fields say nothing.
const SHORTEST_NAME: usize = 4;

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
            sent: 0,
            body: None,
            scratch: Vec::new(),
            runs: Vec::new(),
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
            | Part::Chunk { bytes, .. }
            | Part::Trailers(bytes) => bytes.clone(),
        };
        if matches!(unit.part, Part::Head | Part::Document(_)) {
            self.head(head);
        }
        // Those of the body: trailers are fields.
        let bytes_sent = if matches!(unit.part, Part::Trailers(_)) { 0 } else { payload.len() as u64 };
        self.sent = bytes_sent;
        if !payload.is_empty() {
            if u32::try_from(payload.len()).is_err() {
                self.too_long(&payload);
            } else {
                let layer = self.push(payload, Origin::Payload, 1.0);
                self.body = Some(layer);
                self.payload(&unit.part, head, layer);
            }
        }
        let bytes_read = bytes_sent - whole(self.missed);
        Decoded { layers: self.layers, body: self.body, bytes_sent, bytes_read, unread: self.unread }
    }

    /// A decoded value: what it holds if it holds anything, else (or where that is not certain, as well)
    /// itself.
    #[inline]
    pub fn value(&mut self, kind: LeafKind, name: &str, text: &[u8], target: Target, tail: Tail<'_>) {
        if sniff::is_plain(text) {
            self.leaf(kind, name, text, target, tail);
            if !self.runs.is_empty() {
                self.tokens(name, text, target, tail);
            }
        } else {
            self.holding(kind, name, text, target, tail);
        }
    }

    /// Documents in an encoding that stand in the middle of the last leaf's text.
    fn tokens(&mut self, name: &str, text: &[u8], target: Target, tail: Tail<'_>) {
        if self.is_deepest() {
            return;
        }
        // Leaves of the documents have runs of their own.
        let runs = std::mem::take(&mut self.runs);
        let mut from = 0;
        for run in &runs {
            // The parts of a token (RFC 7519) are runs as well.
            if run.start < from || run.len() < sniff::SHORTEST_TOKEN {
                continue;
            }
            let token = sniff::token_of(text, run);
            from = token.end;
            if token == (0..text.len()) {
                // Looked at already, as a whole.
                break;
            }
            let (window, reading) = sniff::document_in(text, token, self.limits.json_depth);
            if matches!(reading, Reading::Plain) {
                continue;
            }
            self.inside(tail, |walker| {
                walker.steps.push(Step::Window(window.start as u32, window.end as u32));
                walker.enter(reading, name, text, window, target, Tail::Whole);
                walker.steps.pop();
            });
        }
        self.runs = runs;
    }

    #[inline(never)]
    fn holding(&mut self, kind: LeafKind, name: &str, text: &[u8], target: Target, tail: Tail<'_>) {
        let (window, reading) = sniff::reading(text, self.limits.json_depth);
        if matches!(reading, Reading::Percent { .. } | Reading::Html { .. })
            && pairs::named(kind, name, text).next().is_some()
        {
            self.pair_values(kind, name, text, target, tail);
            return;
        }
        // Text that came out of an encoding may have done so by chance, and opaque bytes were no encoding at all
        // perhaps: then the spelling itself is a value too, and comes first.
        let certain = reading.is_certain();
        if certain {
            let place = Here::new(&self.root, &self.steps, tail);
            self.visitor.around(&Leaf { kind, name, text, runs: &[], target }, &place);
        } else {
            self.leaf(kind, name, text, target, tail);
        }
        let plain = matches!(reading, Reading::Plain);
        if !self.enter(reading, name, text, window, target, tail) && certain {
            self.leaf(kind, name, text, target, tail);
        }
        if plain && !self.runs.is_empty() {
            self.tokens(name, text, target, tail);
        }
    }

    /// A list of pairs: each of its values may be encoded, the whole is not.
    fn pair_values(&mut self, kind: LeafKind, name: &str, text: &[u8], target: Target, tail: Tail<'_>) {
        self.leaf(kind, name, text, target, tail);
        if !self.runs.is_empty() {
            self.tokens(name, text, target, tail);
        }
        for (key, range) in pairs::named(kind, name, text) {
            let (window, reading) = sniff::reading(&text[range.clone()], self.limits.json_depth);
            // A document in base64 was entered as a token of the text.
            if !reading.is_token(window.len()) {
                self.enter(reading, key, text, window.start + range.start..window.end + range.start, target, tail);
            }
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
            Reading::Reversed { spelling, bytes, class } => {
                // Turning about has no step of its own.
                let step = if spelling.url { Step::B64Url } else { Step::B64 };
                (bytes, Codec::Reversed(spelling), step, class)
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
            let cut = matches!(class, Class::Text | Class::Binary)
                && sniff::is_broken_json(&walker.content(layer), walker.limits.json_depth);
            walker.classified(layer, 0, if cut { Class::Json } else { class }, name);
        });
        true
    }

    /// A window of the decoded text of a leaf as a layer's content: a slice of the layer it stands in where it is spelled
    /// plainly. Nothing when the budget is spent.
    fn text_of(&mut self, text: &[u8], window: Range<usize>, target: Target) -> Option<Bytes> {
        // Every escape is longer than what it stands for, but for the `+` of a form.
        let plain = text.len() == target.raw.len()
            && (target.spelling != Spelling::Form || self.content(target.layer)[target.raw.range()] == *text);
        if plain {
            if !self.spend(0) {
                return None;
            }
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
        Opener { layers: &mut self.layers, weights: &mut self.weights }.open(content, leaf, window, codec)
    }

    fn push(&mut self, content: Bytes, origin: Origin, weight: f64) -> LayerId {
        Opener { layers: &mut self.layers, weights: &mut self.weights }.push(content, origin, weight)
    }

    pub fn content(&self, layer: LayerId) -> Bytes {
        self.layers[layer.0 as usize].content.clone()
    }

    /// Whether the walk is in a document that no other holds: what was undone around it are content codings.
    pub fn is_outermost(&self) -> bool {
        let coding = |step: &Step| matches!(step, Step::Gzip | Step::Zlib | Step::Deflate | Step::Br | Step::Zstd);
        self.depth == 0 && self.steps.iter().all(coding)
    }

    /// Whether the visitor knows what the element of a list comes to that is spelled at `target` of `within`.
    pub fn element(&mut self, within: &[u8], target: Target, guessed: bool, tail: Tail<'_>) -> Known {
        let at = ElementAt { left: self.budget, guessed };
        let place = Here::new(&self.root, &self.steps, tail);
        let mut opener = Opener { layers: &mut self.layers, weights: &mut self.weights };
        let known = self.visitor.element(within, target, at, &place, &mut opener);
        if let Known::Whole { spent } = known {
            // As if it had been read, so that what follows is read as far as it would be then.
            self.budget = self.budget.saturating_sub(spent);
        }
        known
    }

    /// How long the element may be that begins with `rest`.
    pub fn guess_element(&mut self, rest: &[u8]) -> Option<usize> {
        self.visitor.guess_element(rest)
    }

    /// Says that an element in `within` is over, which had `layers` layers before it and `budget` left to decode.
    pub fn element_ended(&mut self, within: &[u8], (layers, budget): (usize, usize)) {
        let spent = budget.saturating_sub(self.budget);
        self.visitor.element_ended(within, &Inside { layers: &self.layers, before: layers, spent });
    }

    /// Whether the visitor knows what `value` comes to.
    pub fn recall(&mut self, value: &Quoted<'_>, tail: Tail<'_>) -> bool {
        self.visitor.recall(value, &Here::new(&self.root, &self.steps, tail))
    }

    /// Says what came of a value that it did not know, which had `layers` layers before it.
    pub fn learn(&mut self, layers: usize) {
        self.visitor.learn(self.layers.len() == layers);
    }

    #[inline]
    pub fn leaf(&mut self, kind: LeafKind, name: &str, text: &[u8], target: Target, tail: Tail<'_>) {
        self.runs.clear();
        if text.len() >= SHORTEST_RUN && !matches!(kind, LeafKind::Method | LeafKind::PbVarint | LeafKind::PbFixed) {
            self.visitor.runs(text, target, &mut self.runs);
        }
        let place = Here::new(&self.root, &self.steps, tail);
        self.visitor.leaf(&Leaf { kind, name, text, runs: &self.runs, target }, &place);
    }

    /// The name of a field, which can be a fact as well as its value. What it is a name of is not asked of it: it is handed out
    /// without one.
    pub fn field_name(&mut self, text: &[u8], target: Target, tail: Tail<'_>) {
        if text.len() >= SHORTEST_NAME {
            self.leaf(LeafKind::FieldName, "", text, target, tail);
        }
    }

    /// The texts among bytes that are none.
    pub fn runs(&mut self, layer: LayerId, content: &[u8], range: Range<usize>, name: &str, tail: Tail<'_>) {
        let from = range.start;
        if sniff::is_wide(&content[range.clone()]) {
            // Two bytes a character: the whole is a text, and its runs are none.
            let target = Target { layer, raw: Span::of(range.clone()), spelling: Spelling::Raw };
            self.leaf(LeafKind::Opaque, name, &content[range], target, tail);
            return;
        }
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
        // Whole bytes of what was missed so far, so that all reports together come to what was missed at the end.
        let before = whole(self.missed);
        self.missed = (self.missed + carried).min(self.sent as f64);
        let count = whole(self.missed) - before;
        let place = Here::new(&self.root, &self.steps, tail);
        self.visitor.unread(&place, bytes, reason);
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

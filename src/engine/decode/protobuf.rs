//! Protobuf without its schema: every plausible reading of a field.
//!
//! A field with a length is text, a message, bytes or packed numbers. Where it may be two of them both are handed out:
//! text that also parses as a message, short bytes that also parse as a message or as numbers. Packed numbers have the
//! places of repeated ones (`/4`, `/4.1`), which is what they are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use bytes::Bytes;

use super::layer::{Codec, Format};
use super::place::{PbStep, Tail};
use super::sniff::{self, Class};
use super::walker::Walker;
use crate::engine::visit::{LayerId, LeafKind, Segment, Spelling, Target, Visitor};
use crate::wire::span::Span;

/// Messages inside one another: what protobuf's own readers allow.
const DEEPEST: usize = 100;

/// Bytes up to this many are a key, a digest or an id rather than something hidden.
const SHORT: usize = 64;

/// One field of a protobuf message (the wire format of protobuf.dev/programming-guides/encoding).
pub(crate) struct Field {
    pub number: u32,
    pub wire: u8,
    pub whole: Range<usize>,
    pub value: Range<usize>,
    /// The bytes of its length, where it has one.
    pub length: Option<Range<usize>>,
}

/// The fields in `range` until one is malformed; the marks of a group count as fields without a value.
pub(crate) fn fields(content: &[u8], range: Range<usize>) -> impl Iterator<Item = Field> {
    let mut at = range.start;
    let content = content.get(..range.end).unwrap_or_default();
    std::iter::from_fn(move || {
        let start = at;
        let (tag, after_tag) = read_varint(content, start)?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number))?;
        let wire = (tag & 7) as u8;
        let (value, length) = match wire {
            0 => (after_tag..read_varint(content, after_tag)?.1, None),
            1 => (after_tag..after_tag + 8, None),
            5 => (after_tag..after_tag + 4, None),
            2 => {
                let (length, body) = read_varint(content, after_tag)?;
                (body..body.checked_add(usize::try_from(length).ok()?)?, Some(after_tag..body))
            }
            3 | 4 => (after_tag..after_tag, None),
            _ => return None,
        };
        if value.end > content.len() {
            return None;
        }
        at = value.end;
        Some(Field { number, wire, whole: start..value.end, value, length })
    })
}

/// The varint at `at` and where it ends.
pub(crate) fn read_varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, &byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, at + index + 1));
        }
    }
    None
}

/// A fixed number as text, and whether it was read as a float: as one where that gives a number of everyday size.
pub(crate) fn fixed_text(raw: &[u8]) -> (String, bool) {
    match raw {
        &[a, b, c, d] => {
            let float = f32::from_le_bytes([a, b, c, d]);
            match (1e-4..1e7).contains(&float.abs()) {
                true => (float.to_string(), true),
                false => (u32::from_le_bytes([a, b, c, d]).to_string(), false),
            }
        }
        raw => {
            let bytes = raw.try_into().unwrap_or_default();
            let float = f64::from_le_bytes(bytes);
            match (1e-6..1e15).contains(&float.abs()) {
                true => (float.to_string(), true),
                false => (u64::from_le_bytes(bytes).to_string(), false),
            }
        }
    }
}

/// Whether `bytes` are fields from first to last, with every group closed.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    let mut end = 0;
    let mut groups = Vec::new();
    for field in fields(bytes, 0..bytes.len()) {
        end = field.whole.end;
        match field.wire {
            3 if groups.len() >= DEEPEST => return false,
            3 => groups.push(field.number),
            4 if groups.pop() != Some(field.number) => return false,
            _ => {}
        }
    }
    end > 0 && end == bytes.len() && groups.is_empty()
}

/// Whether `bytes`, of which nothing is said, are a message beyond doubt: half of them are text in its fields.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && is_message(bytes) && text_within(bytes, 0) * 2 >= bytes.len()
}

/// Whether `bytes` are two or more varints, each as short as it can be. Longer runs are numbers only where none is
/// large: ciphertext would soon hold one.
fn is_packed(bytes: &[u8]) -> bool {
    let widest = if bytes.len() <= SHORT { 10 } else { 3 };
    let mut at = 0;
    let mut count = 0;
    while at < bytes.len() {
        match read_varint(bytes, at) {
            Some((_, end)) if end - at <= widest && (end - at == 1 || bytes[end - 1] != 0) => at = end,
            _ => return false,
        }
        count += 1;
    }
    count > 1
}

fn text_within(bytes: &[u8], depth: usize) -> usize {
    let texts = fields(bytes, 0..bytes.len()).filter(|field| field.length.is_some()).map(|field| {
        let value = &bytes[field.value];
        match value.len() >= 3 && sniff::is_text(value) {
            true => value.len(),
            false if depth < 8 && is_message(value) => text_within(value, depth + 1),
            false => 0,
        }
    });
    texts.sum()
}

/// The path inside a message, twice: as printed and as handed out.
#[derive(Default)]
struct PbPath {
    steps: Vec<PbStep>,
    segments: Vec<Segment<'static>>,
}

impl PbPath {
    fn push(&mut self, field: u32, repeat: u32) {
        self.steps.push(PbStep { field, repeat });
        self.segments.push(Segment::Index(field.into()));
    }

    fn pop(&mut self) {
        self.steps.pop();
        self.segments.pop();
    }

    fn tail(&self) -> Tail<'_> {
        Tail::Pb(&self.steps, &self.segments)
    }
}

impl<V: Visitor> Walker<'_, V> {
    /// `layer`, which is said to be a message, unless it plainly is something else.
    pub(super) fn said_protobuf(&mut self, layer: LayerId, name: &str) {
        let content = self.content(layer);
        let other = !is_message(&content)
            && match sniff::class(&content, self.limits.json_depth) {
                Class::Json | Class::Lines => true,
                // What begins with a line end is a first field that was cut.
                Class::Text => !content.starts_with(b"\n"),
                Class::Coded(coding) => coding.opens(&content),
                _ => false,
            };
        if other { self.sniffed(layer, name) } else { self.protobuf(layer, name) }
    }

    /// The whole of `layer` as one message.
    pub(super) fn protobuf(&mut self, layer: LayerId, name: &str) {
        self.layers[layer.0 as usize].format = Format::Protobuf;
        let content = self.content(layer);
        let end = self.message(layer, &content, 0..content.len(), name, &mut PbPath::default());
        if end < content.len() {
            self.report(layer, &content[end..], "malformed", Tail::Whole);
            self.runs(layer, &content, end..content.len(), name, Tail::Whole);
        }
    }

    /// Gives where the fields end.
    fn message(&mut self, layer: LayerId, bytes: &Bytes, range: Range<usize>, name: &str, path: &mut PbPath) -> usize {
        let depth = path.steps.len();
        let mut end = range.start;
        let mut counts = vec![BTreeMap::<u32, u32>::new()];
        let mut text = String::new();
        // Groups too deep to be read, still open.
        let mut skipped = 0;
        for field in fields(bytes, range) {
            end = field.whole.end;
            if field.wire == 4 && skipped > 0 {
                skipped -= 1;
                continue;
            }
            if field.wire == 4 {
                if path.steps.len() > depth {
                    path.pop();
                    counts.pop();
                }
                continue;
            }
            let count = counts.last_mut().map_or(&mut 0, |counts| counts.entry(field.number).or_default()).to_owned();
            if let Some(counts) = counts.last_mut() {
                counts.insert(field.number, count + 1);
            }
            path.push(field.number, count);
            let raw = Span::of(field.value.clone());
            let value = &bytes[field.value.clone()];
            text.clear();
            let (kind, spelling) = match field.wire {
                0 => {
                    let (number, _) = read_varint(value, 0).unwrap_or_default();
                    let _ = write!(text, "{number}");
                    (LeafKind::PbVarint, Spelling::Varint)
                }
                1 | 5 => {
                    text.push_str(&fixed_text(value).0);
                    (LeafKind::PbFixed, Spelling::Fixed)
                }
                3 if path.steps.len() < DEEPEST => {
                    counts.push(BTreeMap::new());
                    continue;
                }
                3 => {
                    self.report(layer, &bytes[field.whole], "depth", path.tail());
                    skipped += 1;
                    path.pop();
                    continue;
                }
                _ => {
                    self.delimited(layer, bytes, field.value, name, path);
                    path.pop();
                    continue;
                }
            };
            self.leaf(kind, name, text.as_bytes(), Target { layer, raw, spelling }, path.tail());
            path.pop();
        }
        while path.steps.len() > depth {
            path.pop();
        }
        end
    }

    fn delimited(&mut self, layer: LayerId, bytes: &Bytes, range: Range<usize>, name: &str, path: &mut PbPath) {
        let value = &bytes[range.clone()];
        let target = Target { layer, raw: Span::of(range.clone()), spelling: Spelling::Raw };
        let text = value.is_empty() || sniff::is_text(value);
        let message = is_message(value) && (!text || text_within(value, 0) * 2 >= value.len());
        if text && !(message && sniff::has_tags(value)) {
            self.value(LeafKind::PbString, name, value, target, path.tail());
        }
        if message && path.steps.len() < DEEPEST {
            let short = value.len() <= SHORT && value.len().is_multiple_of(4);
            if !text && (short || sniff::is_wide(value)) {
                // As many bytes as digests and UUIDs have, or a text of two bytes a character: perhaps it is one.
                self.leaf(LeafKind::Opaque, name, value, target, path.tail());
            }
            self.message(layer, bytes, range, name, path);
        } else if message {
            self.report(layer, value, "depth", path.tail());
        } else if !text {
            let class = sniff::class(value, self.limits.json_depth);
            // Text of two bytes a character is small numbers, too.
            let numbers = class == Class::Binary && is_packed(value) && !sniff::is_wide(value);
            if class == Class::Binary && value.len() <= SHORT {
                self.leaf(LeafKind::Opaque, name, value, target, path.tail());
            }
            if numbers {
                self.packed(layer, bytes, range, name, path);
            } else if class != Class::Binary || value.len() > SHORT {
                self.window(bytes.slice(range), target, path.tail(), |walker, inner| {
                    walker.classified(inner, 0, class, name);
                });
            }
        }
    }

    /// The varints in `range`, as repeats of the field at the end of `path`.
    fn packed(&mut self, layer: LayerId, bytes: &Bytes, range: Range<usize>, name: &str, path: &mut PbPath) {
        let mut at = range.start;
        let mut text = String::new();
        let first = path.steps.last().map_or(0, |step| step.repeat);
        for repeat in first.. {
            let Some((number, end)) = read_varint(&bytes[..range.end], at) else { break };
            if let Some(step) = path.steps.last_mut() {
                step.repeat = repeat;
            }
            text.clear();
            let _ = write!(text, "{number}");
            let target = Target { layer, raw: Span::of(at..end), spelling: Spelling::Varint };
            self.leaf(LeafKind::PbVarint, name, text.as_bytes(), target, path.tail());
            at = end;
        }
    }

    /// Opens `content`, which stands in its layer as it is, as a layer of its own.
    pub(super) fn window(
        &mut self,
        content: Bytes,
        target: Target,
        tail: Tail<'_>,
        walk: impl FnOnce(&mut Self, LayerId),
    ) {
        if self.is_deepest() || !self.spend(0) {
            let reason = if self.is_deepest() { "depth" } else { "limit" };
            self.report(target.layer, &content, reason, tail);
            return;
        }
        self.inside(tail, |walker| {
            let window = Span::of(0..content.len());
            let inner = walker.open(content, target, window, Codec::Identity);
            walk(walker, inner);
        });
    }
}

//! Sentry envelopes (develop.sentry.dev/sdk/data-model/envelopes): a header, then items, each a header and a payload.
//!
//! ```text
//! {"event_id":"…"}
//! {"type":"event","length":41}
//! {"message":"…", …}
//! {"type":"attachment","length":10,"filename":"a.bin"}
//! ten bytes of anything, line ends among them
//! ```
//!
//! Numbered as lines are; a payload is one, whatever is in it.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

use super::json::{self, Path, Sink, Text, Token};
use super::place::{Names, Tail};
use super::walker::Walker;
use crate::engine::decode::layer::Format;
use crate::engine::location::Step;
use crate::engine::visit::{LayerId, Segment, Spelling, Target, Visitor};
use crate::wire::span::Span;

pub(crate) struct Item {
    pub header: Range<usize>,
    /// The digits of its length; without one the payload is a line.
    pub length: Option<Range<usize>>,
    pub payload: Range<usize>,
    /// The bytes end before the payload does.
    pub cut: bool,
}

/// The items after the first line, until one is malformed.
pub(crate) fn items(content: &[u8]) -> impl Iterator<Item = Item> {
    let mut at = line_end(content, 0) + 1;
    std::iter::from_fn(move || {
        while content.get(at) == Some(&b'\n') {
            at += 1;
        }
        let header = at..line_end(content, at);
        let head = Head::of(content.get(header.clone())?)?;
        let start = (header.end + 1).min(content.len());
        let (end, cut) = match head.size {
            Some(size) => {
                let end = start.checked_add(size)?;
                (end.min(content.len()), end > content.len())
            }
            None => (line_end(content, start), false),
        };
        if content.get(end).is_some_and(|&byte| byte != b'\n') {
            return None;
        }
        at = end + 1;
        let length = head.length.map(|length| length.start + header.start..length.end + header.start);
        Some(Item { header, length, payload: start..end, cut })
    })
}

/// Whether `content` is an envelope: a document, then the header of an item with what it promises. Where nothing is
/// `said` of it that is a length which comes out: documents with a type are in many logs.
pub(super) fn is_envelope(content: &[u8], said: bool) -> bool {
    json::is_document(&content[..line_end(content, 0)], 32)
        && items(content).next().is_some_and(|item| said || item.length.is_some())
}

fn line_end(content: &[u8], at: usize) -> usize {
    content.get(at..).and_then(|rest| memchr(b'\n', rest)).map_or(content.len(), |end| at + end)
}

/// What the header of an item says.
#[derive(Default)]
struct Head {
    typed: bool,
    length: Option<Range<usize>>,
    size: Option<usize>,
}

impl Head {
    fn of(line: &[u8]) -> Option<Self> {
        let names = Names::default();
        let mut reader = HeadReader { line, names: &names, head: Head::default() };
        let end = json::read(line, 0, 8, &mut Path::default(), &mut reader).ok()?;
        let mut head = reader.head;
        if let Some(length) = head.length.clone() {
            head.size = Some(std::str::from_utf8(line.get(length)?).ok()?.parse().ok()?);
        }
        (head.typed && line.get(end..)?.trim_ascii().is_empty()).then_some(head)
    }
}

struct HeadReader<'d> {
    line: &'d [u8],
    names: &'d Names,
    head: Head,
}

impl<'d> Sink<'d> for HeadReader<'d> {
    fn name(&mut self, name: Text) -> &'d str {
        json::name(self.line, name, self.names, &mut Vec::new())
    }
    fn named(&mut self, _: &Path<'d>, _: Text) {}
    fn string(&mut self, path: &Path<'d>, _: Text) {
        self.head.typed |= path.segments == [Segment::Name("type")];
    }
    fn token(&mut self, path: &Path<'d>, start: usize, end: usize, token: Token) {
        if token == Token::Number && path.segments == [Segment::Name("length")] {
            self.head.length = Some(start..end);
        }
    }
    fn too_deep(&mut self, _: &Path<'d>, _: usize, _: usize) {}
    fn cut(&mut self, _: &Path<'d>, _: Text) {}
}

impl<V: Visitor> Walker<'_, V> {
    /// All of `layer` as an envelope.
    pub(super) fn envelope(&mut self, layer: LayerId, content: &Bytes, name: &str) {
        self.layers[layer.0 as usize].format = Format::Items;
        let first = 0..line_end(content, 0);
        let mut end = first.end;
        let mut number = 0;
        self.numbered(&mut number, |walker| walker.json(layer, content, first, name));
        for item in items(content) {
            end = item.payload.end;
            self.numbered(&mut number, |walker| {
                walker.json(layer, content, item.header.clone(), name);
                if item.cut {
                    // All that is there is read; that something is missing is said of what promised it.
                    walker.report(layer, &content[item.header.clone()], "malformed", Tail::Whole);
                }
            });
            if item.payload.is_empty() {
                continue;
            }
            let target = Target { layer, raw: Span::of(item.payload.clone()), spelling: Spelling::Raw };
            let payload = content.slice(item.payload);
            self.numbered(&mut number, |walker| {
                walker.window(payload, target, Tail::Whole, |walker, inner| walker.sniffed(inner, name));
            });
        }
        self.lines_from(layer, content, end, number, name);
    }

    fn numbered(&mut self, number: &mut u64, walk: impl FnOnce(&mut Self)) {
        self.steps.push(Step::Lines(*number));
        *number += 1;
        walk(self);
        self.steps.pop();
    }
}

//! The values of JSON documents: one, several in a row, or one a line.

use std::ops::Range;

use bytes::Bytes;

use super::body::starts_json;
use super::escape::unescape;
use super::json::{self, Path, Sink, Text, Token};
use super::place::{Names, Tail};
use super::walker::Walker;
use super::{sentry, sniff};
use crate::engine::location::Step;
use crate::engine::visit::{
    Known, LayerId, LeafKind, Quoted, SHORTEST_KNOWN, SHORTEST_PATH, Spelling, Target, Visitor,
};
use crate::wire::span::Span;

impl<V: Visitor> Walker<'_, V> {
    /// One line, one document.
    pub(super) fn lines(&mut self, layer: LayerId, content: &Bytes, name: &str) {
        if sentry::is_envelope(content, false) {
            self.envelope(layer, content, name);
        } else {
            self.lines_from(layer, content, 0, 0, name);
        }
    }

    /// The lines from `at` on, counted from `number` on.
    pub(super) fn lines_from(&mut self, layer: LayerId, content: &Bytes, mut at: usize, mut number: u64, name: &str) {
        for line in content[at..].split(|&byte| byte == b'\n') {
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

    /// Server-sent events (WHATWG HTML, 9.2) as a body: lines of `data: {…}`, numbered as lines are.
    pub(super) fn server_sent(&mut self, layer: LayerId, content: &Bytes, name: &str) {
        let mut at = 0;
        let mut number = 0;
        for line in content.split(|&byte| byte == b'\n') {
            let start = at;
            at += line.len() + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            self.steps.push(Step::Lines(number));
            number += 1;
            let data = line.strip_prefix(b"data:").map(|data| data.strip_prefix(b" ").unwrap_or(data));
            let end = start + line.len();
            match data {
                Some(data)
                    if json::is_document(data, self.limits.json_depth)
                        || sniff::is_broken_json(data, self.limits.json_depth) =>
                {
                    self.json(layer, content, end - data.len()..end, name);
                }
                _ => {
                    let range = end - data.map_or(line.len(), <[u8]>::len)..end;
                    let target = Target { layer, raw: Span::of(range.clone()), spelling: Spelling::Raw };
                    self.value(LeafKind::Text, name, &content[range], target, Tail::Whole);
                }
            }
            self.steps.pop();
        }
    }

    /// JSON in `range` of `layer`: one document, or several in a row.
    pub(super) fn json(&mut self, layer: LayerId, content: &Bytes, range: Range<usize>, name: &str) {
        let bytes = &content[..range.end];
        let names = Names::default();
        let mut at = range.start;
        let mut number = 0;
        loop {
            let mut path = Path::default();
            let scratch = self.scratch();
            let depth = self.limits.json_depth;
            let mut leaves =
                Leaves { walker: self, layer, bytes, names: &names, scratch, outer: name, cut: false, element: None };
            let ended = json::read(bytes, at, depth, &mut path, &mut leaves);
            let cut = leaves.cut;
            let scratch = leaves.scratch;
            self.give_back(scratch);
            let (stopped, tail) = match &ended {
                Ok(end) => (between(bytes, *end), Tail::Whole),
                Err(end) => (end.at, Tail::Json(&path.segments)),
            };
            at = stopped;
            if cut {
                // The string that the document ends in was read; that it goes on is said of its quote.
                self.report(layer, &bytes[at..at + 1], "malformed", tail);
                at = bytes.len();
            } else if at < bytes.len() && (ended.is_err() || !starts_json(&bytes[at..])) {
                self.report(layer, &bytes[at..], "malformed", tail);
                self.runs(layer, content, at..bytes.len(), name, tail);
                self.strings(layer, content, at..bytes.len(), name, tail);
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

    /// What the strings in `range` say that the bytes around them do not: those with escapes, and those that hold
    /// something. For text in which JSON broke, by a comment or a comma too many.
    fn strings(&mut self, layer: LayerId, content: &Bytes, range: Range<usize>, name: &str, tail: Tail<'_>) {
        let bytes = &content[..range.end];
        let mut at = range.start;
        let mut decoded = self.scratch();
        while let Some(quote) = memchr::memchr(b'"', &bytes[at..]) {
            let text = json::string(bytes, at + quote + 1);
            at = text.end + 1;
            if at > bytes.len() {
                break;
            }
            let raw = text.start..text.end;
            let target = Target { layer, raw: Span::of(raw.clone()), spelling: Spelling::JsonString };
            if text.escaped {
                decoded.clear();
                unescape(&bytes[raw], &mut decoded);
                self.value(LeafKind::JsonString, name, &decoded, target, tail);
            } else if !sniff::is_plain(&bytes[raw.clone()]) {
                let text = &bytes[raw];
                let (window, reading) = sniff::reading(text, self.limits.json_depth);
                self.enter(reading, name, text, window, target, tail);
            }
        }
        self.give_back(decoded);
    }
}

/// Whether a text is nothing but the fields of server-sent events, data among them.
pub(super) fn is_server_sent(content: &[u8]) -> bool {
    const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
    let mut data = false;
    let mut lines = content.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let fields = lines.all(|line| {
        data |= line.starts_with(FIELDS[0]);
        FIELDS.iter().any(|field| line.starts_with(field))
    });
    fields && data
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
    /// The document ends inside a string.
    cut: bool,
    /// The element that is being read: how many layers there were before it, what could still be decoded, and whether all but
    /// its form is known.
    element: Option<(usize, usize, bool)>,
}

impl<'d, V: Visitor> Leaves<'_, '_, 'd, V> {
    fn text(&mut self, text: Text) -> Target {
        if text.escaped {
            self.scratch.clear();
            unescape(&self.bytes[text.start..text.end], &mut self.scratch);
        }
        self.target(text)
    }

    fn target(&self, text: Text) -> Target {
        Target { layer: self.layer, raw: Span::of(text.start..text.end), spelling: Spelling::JsonString }
    }

    #[inline]
    fn value(&mut self, path: &Path<'d>, text: Text) {
        let target = self.text(text);
        let decoded = if text.escaped { &self.scratch } else { &self.bytes[text.start..text.end] };
        let name = path.name(self.outer);
        self.walker.value(LeafKind::JsonString, name, decoded, target, Tail::Json(&path.segments));
    }

    /// One that the visitor may know.
    fn known(&mut self, path: &Path<'d>, text: Text) {
        let raw = &self.bytes[text.start..text.end];
        let (name, target) = (path.name(self.outer), self.target(text));
        let value = Quoted { kind: LeafKind::JsonString, name, raw, escaped: text.escaped, target };
        if self.walker.recall(&value, Tail::Json(&path.segments)) {
            return;
        }
        let layers = self.walker.layers.len();
        self.value(path, text);
        self.walker.learn(layers);
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
        let raw = &self.bytes[text.start..text.end];
        if let Some((.., true)) = self.element {
            self.known(path, text);
            return;
        }
        let path_like = || raw.len() >= SHORTEST_PATH && memchr::memchr2(b'/', b'\\', raw).is_some();
        if (raw.len() >= SHORTEST_KNOWN || path_like()) && self.walker.is_outermost() {
            self.known(path, text);
        } else {
            self.value(path, text);
        }
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

    fn element(&mut self, path: &Path<'d>, start: usize) -> Option<usize> {
        if !self.walker.is_outermost() {
            return None;
        }
        self.element = None;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let guess = self.walker.guess_element(rest).map(|length| (start + length, true));
        let ends = guess.into_iter().chain(std::iter::once_with(|| (json::value_end(self.bytes, start), false)));
        for (end, guessed) in ends {
            let target = Target { layer: self.layer, raw: Span::of(start..end), spelling: Spelling::Raw };
            match self.walker.element(self.bytes, target, guessed, Tail::Json(&path.segments)) {
                Known::Whole { .. } => return Some(end),
                Known::No if guessed => {}
                known => {
                    self.element = Some((self.walker.layers.len(), self.walker.budget, known == Known::Form));
                    return None;
                }
            }
        }
        None
    }

    fn element_ended(&mut self) {
        if let Some((layers, budget, _)) = self.element.take() {
            self.walker.element_ended(self.bytes, (layers, budget));
        }
    }

    fn too_deep(&mut self, path: &Path<'d>, start: usize, end: usize) {
        self.walker.report(self.layer, &self.bytes[start..end], "depth", Tail::Json(&path.segments));
    }

    fn cut(&mut self, path: &Path<'d>, text: Text) {
        self.cut = true;
        self.string(path, text);
        // Base64 cut in a place where nothing of it could be undone but for its last character.
        let length = text.end - text.start;
        if !text.escaped && length % 4 == 1 {
            let target = self.text(text);
            let decoded = &self.bytes[text.start..text.end];
            let (window, reading) = sniff::reading(&decoded[..length - 1], self.walker.limits.json_depth);
            if matches!(reading, sniff::Reading::Base64 { .. }) {
                let tail = Tail::Json(&path.segments);
                self.walker.enter(reading, path.name(self.outer), decoded, window, target, tail);
            }
        }
    }
}

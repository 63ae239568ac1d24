//! The head of a request: method, path segments, query, fields, cookies.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::base64;
use super::layer::{Base64, Codec};
use super::pairs;
use super::percent;
use super::place::Tail;
use super::sniff;
use super::walker::Walker;
use crate::engine::location::Root;
use crate::engine::visit::{LayerId, LeafKind, Quoted, SHORTEST_FIELD, Spelling, Target, Visitor};
use crate::wire::head::RequestHead;
use crate::wire::span::Span;

pub(super) const HEAD: LayerId = LayerId(0);

impl<V: Visitor> Walker<'_, V> {
    pub(super) fn head(&mut self, head: &RequestHead) {
        let method = head.method_span();
        let target = Target { layer: HEAD, raw: method, spelling: Spelling::Raw };
        self.leaf(LeafKind::Method, "", head.bytes(method), target, Tail::Method);
        let (path, query) = split_target(head.raw(), head.target_span());
        self.path(head.raw(), path);
        if let Some(query) = query {
            let outside = std::mem::replace(&mut self.root, Root::Query);
            self.pairs(HEAD, head.raw(), query, LeafKind::QueryValue);
            self.root = outside;
        }
        let mut name = String::new();
        for (index, field) in head.fields().iter().enumerate() {
            name.clear();
            name.extend(head.bytes(field.name).iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            let same = |other: &&crate::wire::head::Field| {
                other.name.len() == field.name.len()
                    && head.bytes(other.name).eq_ignore_ascii_case(head.bytes(field.name))
            };
            let repeat = head.fields()[..index].iter().filter(same).count() as u32;
            let target = Target { layer: HEAD, raw: field.name, spelling: Spelling::Raw };
            self.field_name(head.bytes(field.name), target, Tail::Header { name: &name, repeat });
            if name == "cookie" {
                self.cookies(head.raw(), field.value.range(), repeat);
            } else {
                self.field(&name, repeat, head.bytes(field.value), field.value);
            }
        }
    }

    /// The value of a header, which may be known from an earlier request.
    fn field(&mut self, name: &str, repeat: u32, text: &[u8], span: Span) {
        let target = Target { layer: HEAD, raw: span, spelling: Spelling::Raw };
        let kept = text.len() >= SHORTEST_FIELD;
        let value = Quoted { kind: LeafKind::Header, name, raw: text, escaped: false, target };
        if kept && self.recall(&value, Tail::Header { name, repeat }) {
            return;
        }
        let layers = self.layers.len();
        self.read_field(name, repeat, text, target);
        if kept {
            self.learn(layers);
        }
    }

    fn read_field(&mut self, name: &str, repeat: u32, text: &[u8], target: Target) {
        self.byte_sequences(name, repeat, text, target.raw);
        let tail = Tail::Header { name, repeat };
        let (window, credentials) = sniff::credentials(text, self.limits.json_depth);
        let paired = percent::is_encoded(text) && pairs::named(LeafKind::Header, name, text).next().is_some();
        if paired {
            // `k=v,k=v` encodes each of its values, never the whole.
            self.leaf(LeafKind::Header, name, text, target, tail);
        } else if matches!(credentials, sniff::Reading::Plain) {
            self.value(LeafKind::Header, name, text, target, tail);
        } else {
            self.leaf(LeafKind::Header, name, text, target, tail);
            self.enter(credentials, name, text, window, target, tail);
        }
        for (key, range) in pairs::named(LeafKind::Header, name, text) {
            let (window, reading) = sniff::reading(&text[range.clone()], self.limits.json_depth);
            // A document in base64 was entered as a token of the text.
            if !reading.is_token(window.len()) {
                let window = window.start + range.start..window.end + range.start;
                self.enter(reading, key, text, window, target, tail);
            }
        }
    }

    /// Short `:b64:` of a structured field (RFC 9651, section 3.3.5): a bare value in that field's own spelling, which is no
    /// step. Longer ones are entered as any base64 is.
    fn byte_sequences(&mut self, name: &str, repeat: u32, text: &[u8], value: Span) {
        let target = Target { layer: HEAD, raw: value, spelling: Spelling::Raw };
        for (key, range) in pairs::named(LeafKind::Header, name, text) {
            let before = range.start.checked_sub(1).and_then(|at| text.get(at));
            let between = before == Some(&b':') && text.get(range.end) == Some(&b':');
            let coded = &text[range.clone()];
            if !between || coded.len() >= base64::SHORTEST || self.is_deepest() {
                continue;
            }
            let spelling = Base64 { url: false, padded: coded.len().is_multiple_of(4), wrap: None };
            let bytes = base64::decode(coded, spelling).filter(|bytes| sniff::is_text(bytes));
            let Some(bytes) = bytes.filter(|bytes| self.spend(bytes.len())) else { continue };
            self.inside(Tail::Header { name, repeat }, |walker| {
                let layer = walker.open(bytes.into(), target, Span::of(range), Codec::Base64(spelling));
                walker.classified(layer, 0, sniff::Class::Text, key);
            });
        }
    }

    /// The fields after a chunked body (RFC 9110, section 6.5), one on a line.
    pub(super) fn trailer_fields(&mut self, layer: LayerId) {
        let content = self.content(layer);
        let mut at = 0;
        for line in content.split(|&byte| byte == b'\n') {
            let start = at;
            at += line.len() + 1;
            let line = line.trim_ascii_end();
            let Some(colon) = memchr(b':', line) else { continue };
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            let tail = Tail::Trailer(&name);
            let raw = Span::of(start..start + colon);
            self.field_name(&line[..colon], Target { layer, raw, spelling: Spelling::Raw }, tail);
            let value = line[colon + 1..].trim_ascii_start();
            let end = start + line.len();
            let target = Target { layer, raw: Span::of(end - value.len()..end), spelling: Spelling::Raw };
            self.value(LeafKind::Trailer, &name, value, target, tail);
        }
    }

    fn path(&mut self, raw: &[u8], path: Range<usize>) {
        let mut scratch = self.scratch();
        let mut at = path.start;
        for (number, segment) in raw[path].split(|&byte| byte == b'/').enumerate() {
            let span = Span::of(at..at + segment.len());
            at += segment.len() + 1;
            if segment.is_empty() {
                continue;
            }
            let text = if percent::is_coded(segment, false) {
                scratch.clear();
                percent::decode(segment, false, &mut scratch);
                &scratch
            } else {
                segment
            };
            let target = Target { layer: HEAD, raw: span, spelling: Spelling::Percent };
            self.value(LeafKind::PathSegment, "", text, target, Tail::Path(number as u32));
        }
        self.give_back(scratch);
    }

    /// `name=value; …` (RFC 6265, section 4.2). What has no `=` is a value without a name.
    fn cookies(&mut self, raw: &[u8], range: Range<usize>, repeat: u32) {
        let root = Root::Header { name: "cookie".into(), repeat };
        let outside = std::mem::replace(&mut self.root, root);
        let mut at = range.start;
        for pair in raw[range].split(|&byte| byte == b';') {
            let start = at + (pair.len() - pair.trim_ascii_start().len());
            at += pair.len() + 1;
            let pair = pair.trim_ascii();
            if pair.is_empty() {
                continue;
            }
            let from = memchr(b'=', pair).map_or(0, |equals| equals + 1);
            let name = String::from_utf8_lossy(&pair[..from.saturating_sub(1)]);
            if from > 1 {
                let raw = Span::of(start..start + from - 1);
                let target = Target { layer: HEAD, raw, spelling: Spelling::Raw };
                self.field_name(&pair[..from - 1], target, Tail::Cookie(&name));
            }
            // A value may stand in quotes, which are no part of it.
            let quoted = pair.len() > from + 1 && pair[from..].starts_with(b"\"") && pair.ends_with(b"\"");
            let value = from + usize::from(quoted)..pair.len() - usize::from(quoted);
            let span = Span::of(start + value.start..start + value.end);
            let target = Target { layer: HEAD, raw: span, spelling: Spelling::Raw };
            self.value(LeafKind::CookieValue, &name, &pair[value], target, Tail::Cookie(&name));
        }
        self.root = outside;
    }
}

/// The path (without its first slash) and the query of a request target in any form (RFC 9112, section 3.2).
pub(crate) fn split_target(raw: &[u8], target: Span) -> (Range<usize>, Option<Range<usize>>) {
    let Range { start, end } = target.range();
    let bytes = &raw[start..end];
    let query = memchr(b'?', bytes).map(|mark| start + mark + 1..end);
    let path_end = query.as_ref().map_or(end, |query| query.start - 1);
    let path = &raw[start..path_end];
    let path_start = match memmem::find(path, b"://") {
        // `http://host/path`; a colon later than the first slash belongs to the path itself.
        Some(scheme) if !path[..scheme].contains(&b'/') => {
            memchr(b'/', &path[scheme + 3..]).map_or(path_end, |slash| start + scheme + 4 + slash)
        }
        _ if path.first() == Some(&b'/') => start + 1,
        // `*` and `host:port` name no resource.
        _ => path_end,
    };
    (path_start..path_end, query)
}

//! A whole HTTP request inside a part of a batch (`application/http`, RFC 9112, section 10.2).
//!
//! Its path and fields have the places of text and headers inside the part, its body the steps of a body.

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memmem};

use super::layer::Format;
use super::place::Tail;
use super::walker::Walker;
use crate::engine::visit::{LayerId, LeafKind, Spelling, Target, Visitor};
use crate::wire::span::Span;

/// Where the parts of a message stand.
#[derive(Debug)]
pub(crate) struct Message {
    /// Without its line end.
    pub start: Range<usize>,
    /// Name and value of each field.
    pub fields: Vec<(Range<usize>, Range<usize>)>,
    pub body: Range<usize>,
}

impl Message {
    pub fn of(content: &[u8]) -> Option<Self> {
        let mut at = 0;
        let mut line = || {
            let rest = content.get(at..).filter(|rest| !rest.is_empty())?;
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = at..at + rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]).len();
            at = (at + end + 1).min(content.len());
            Some((line, at))
        };
        let (start, mut body) = line()?;
        memmem::find(&content[start.clone()], b"HTTP/")?;
        let mut fields = Vec::new();
        while let Some((field, next)) = line() {
            body = next;
            if field.is_empty() {
                break;
            }
            let colon = field.start + memchr(b':', &content[field.clone()])?;
            let value = colon + 1..field.end;
            let text = &content[value.clone()];
            let from = value.start + (text.len() - text.trim_ascii_start().len());
            fields.push((field.start..colon, from..from + text.trim_ascii().len()));
        }
        Some(Self { start, fields, body: body..content.len() })
    }

    pub fn field(&self, content: &[u8], name: &str) -> Option<Range<usize>> {
        let named = |field: &&(Range<usize>, Range<usize>)| {
            content.get(field.0.clone()).is_some_and(|known| known.eq_ignore_ascii_case(name.as_bytes()))
        };
        self.fields.iter().find(named).map(|(_, value)| value.clone())
    }
}

impl<V: Visitor> Walker<'_, V> {
    /// `layer` as a request, or as what it is.
    pub(super) fn http(&mut self, layer: LayerId, content: &Bytes, name: &str) {
        let Some(message) = Message::of(content) else { return self.sniffed(layer, name) };
        self.layers[layer.0 as usize].format = Format::Http;
        let mut words = content[message.start.clone()].split(|&byte| byte == b' ');
        let method = words.next().map_or(0, <[u8]>::len);
        let target = words.next().unwrap_or_default();
        let at = message.start.start + method + 1;
        let end = at + target.len();
        let query = memchr(b'?', target).map_or(end, |mark| at + mark);
        let path = Target { layer, raw: Span::of(at..query), spelling: Spelling::Percent };
        if query > at {
            let mut text = Vec::new();
            super::percent::decode(&content[at..query], false, &mut text);
            self.leaf(LeafKind::Text, name, &text, path, Tail::Whole);
        }
        if query < end {
            self.pairs(layer, content, query + 1..end, LeafKind::FormValue);
        }
        for (key, value) in &message.fields {
            let label = String::from_utf8_lossy(&content[key.clone()]).to_ascii_lowercase();
            let target = Target { layer, raw: Span::of(value.clone()), spelling: Spelling::Raw };
            self.value(LeafKind::Header, &label, &content[value.clone()], target, Tail::Field(&label));
        }
        if !message.body.is_empty() {
            let kind = message.field(content, "content-type").map_or(&b""[..], |kind| &content[kind]);
            let target = Target { layer, raw: Span::of(message.body.clone()), spelling: Spelling::Raw };
            self.window(content.slice(message.body.clone()), target, Tail::Whole, |walker, inner| {
                walker.document(inner, name, kind);
            });
        }
    }
}

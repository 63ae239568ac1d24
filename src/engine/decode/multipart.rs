//! Parts between boundaries (RFC 2046, section 5.1; RFC 7578 for forms), inside one another as well.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::base64;
use super::body::says_structure;
use super::layer::{Base64, Codec};
use super::place::Tail;
use super::quoted_printable;
use super::sniff::{self, Class};
use super::walker::Walker;
use crate::engine::location::Step;
use crate::engine::visit::{LayerId, LeafKind, Spelling, Target, Visitor};
use crate::wire::span::Span;

/// The parameter `name` of a field value such as `form-data; name="a"; filename=b`.
pub(super) fn parameter(value: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut rest = value;
    loop {
        let semicolon = rest.iter().position(|&byte| byte == b';')?;
        rest = rest[semicolon + 1..].trim_ascii_start();
        let equals = rest.iter().position(|&byte| matches!(byte, b'=' | b';'))?;
        if rest[equals] == b';' {
            continue;
        }
        let found = rest[..equals].trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        rest = rest[equals + 1..].trim_ascii_start();
        let mut text = Vec::new();
        if rest.first() == Some(&b'"') {
            let mut at = 1;
            while let Some(&byte) = rest.get(at).filter(|&&byte| byte != b'"') {
                // Browsers escape nothing but quotes; a backslash elsewhere is a Windows path.
                if byte == b'\\' && rest.get(at + 1) == Some(&b'"') {
                    at += 1;
                }
                text.push(rest[at]);
                at += 1;
            }
            rest = rest.get(at + 1..).unwrap_or_default();
        } else {
            let end = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
            text.extend_from_slice(rest[..end].trim_ascii());
            rest = &rest[end..];
        }
        if found {
            return Some(text);
        }
    }
}

impl<V: Visitor> Walker<'_, V> {
    /// The parts in all of `layer`.
    pub(super) fn multipart(&mut self, layer: LayerId, boundary: &[u8], name: &str) {
        let content = self.content(layer);
        let delimiter = [b"--", boundary].concat();
        let at_line_start = |&at: &usize| at == 0 || content[at - 1] == b'\n';
        let marks: Vec<usize> = memmem::find_iter(&content, &delimiter).filter(at_line_start).collect();
        let preamble = 0..marks.first().copied().unwrap_or(content.len());
        self.around(layer, &content, preamble, name);
        for (number, &mark) in marks.iter().enumerate() {
            let after = mark + delimiter.len();
            if content[after..].starts_with(b"--") {
                self.around(layer, &content, after + 2..content.len(), name);
                return;
            }
            let start = line_end(&content, after);
            let end = match marks.get(number + 1) {
                Some(&next) if next >= start => start + strip_line_end(&content[start..next]),
                Some(_) => start,
                None => content.len(),
            };
            self.part(layer, &content, start..end, number);
        }
    }

    fn part(&mut self, layer: LayerId, content: &Bytes, range: Range<usize>, number: usize) {
        let mut at = range.start;
        let mut fields = Vec::new();
        let body = loop {
            let next = line_end(&content[..range.end], at);
            let line = at..at + strip_line_end(&content[at..next]);
            if line.is_empty() || next == at {
                break next..range.end;
            }
            fields.push(line);
            at = next;
        };
        let field = |name: &str| {
            fields.iter().find_map(|line| {
                let (key, value) = split_field(&content[line.clone()])?;
                key.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
            })
        };
        let name = field("content-disposition").and_then(|value| parameter(value, "name"));
        let name = name.map_or_else(|| number.to_string(), |name| String::from_utf8_lossy(&name).into_owned());
        let tail = Tail::Multipart(&name);
        for line in &fields {
            let key = split_field(&content[line.clone()]).map_or(&b""[..], |(key, _)| key);
            let value =
                line.start + (line.len() - split_field(&content[line.clone()]).map_or(line.len(), |(_, v)| v.len()));
            let target = Target { layer, raw: Span::of(value..line.end), spelling: Spelling::Raw };
            let key = String::from_utf8_lossy(key).to_ascii_lowercase();
            self.leaf(LeafKind::Header, &key, &content[value..line.end], target, tail);
        }
        if body.is_empty() {
            return;
        }
        let kind = field("content-type").unwrap_or_default();
        let target = Target { layer, raw: Span::of(body.clone()), spelling: Spelling::Raw };
        let transfer = field("content-transfer-encoding").unwrap_or_default().trim_ascii();
        if let Some((window, step, codec, decoded)) = transferred(transfer, &content[body.clone()])
            && !self.is_deepest()
            && self.spend(decoded.len())
        {
            self.inside(tail, |walker| {
                walker.steps.push(step);
                let inner = walker.open(decoded.into(), target, Span::of(window), codec);
                walker.document(inner, &name, kind);
            });
            return;
        }
        let bytes = &content[body.clone()];
        if !says_structure(kind) && sniff::class(bytes, self.limits.json_depth) == Class::Text {
            self.value(LeafKind::MultipartText, &name, bytes, target, tail);
        } else {
            self.window(content.slice(body), target, tail, |walker, inner| walker.document(inner, &name, kind));
        }
    }

    /// What stands before the first part and after the last.
    fn around(&mut self, layer: LayerId, content: &Bytes, range: Range<usize>, name: &str) {
        if !content[range.clone()].trim_ascii().is_empty() {
            self.runs(layer, content, range, name, Tail::Whole);
        }
    }
}

/// A part's body freed from its transfer encoding (RFC 2045, section 6): which of its bytes are coded, and how.
fn transferred(encoding: &[u8], body: &[u8]) -> Option<(Range<usize>, Step, Codec, Vec<u8>)> {
    if encoding.eq_ignore_ascii_case(b"base64") {
        let start = body.len() - body.trim_ascii_start().len();
        let window = start..start + body.trim_ascii().len();
        let text = &body[window.clone()];
        let short = Base64 { url: false, padded: text.len().is_multiple_of(4), wrap: None };
        let spelling = base64::recognise(text).map_or(short, |known| Base64 { padded: short.padded, ..known });
        let decoded = base64::decode(text, spelling)?;
        // What could not be made again is left as it is.
        (base64::encode(&decoded, spelling).len() == text.len() && !decoded.is_empty()).then_some((
            window,
            Step::B64,
            Codec::Base64(spelling),
            decoded,
        ))
    } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
        let mut decoded = Vec::with_capacity(body.len());
        quoted_printable::decode(body, &mut decoded);
        Some((0..body.len(), Step::QuotedPrintable, Codec::QuotedPrintable, decoded))
    } else {
        None
    }
}

/// Where the line that `at` is in ends, its end included.
fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(bytes.len().max(at), |end| at + end + 1)
}

/// The length of `line` without its line end.
fn strip_line_end(line: &[u8]) -> usize {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii_start()))
}

//! JSON by byte spans (RFC 8259): a lexer that keeps what stands there, and the walk over it.
//!
//! Read is whatever a lenient reader downstream might read: duplicate keys, any number spelling, `NaN` and
//! the infinities, raw control characters, wrong escapes, lone surrogates, invalid UTF-8. Nesting costs an
//! entry on a list, never machine stack.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::place::Names;
use crate::engine::visit::Segment;

/// What stands between the quotes of a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub start: usize,
    pub end: usize,
    pub escaped: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Token {
    Number,
    Bool,
    Null,
}

/// Why a document ended early: everything before `at` was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Break {
    pub at: usize,
}

/// Where the lexer stands: the path, and for each part of it the place of the nearest name.
#[derive(Default)]
pub(super) struct Path<'d> {
    pub segments: Vec<Segment<'d>>,
    nearest: Vec<u32>,
}

const NO_NAME: u32 = u32::MAX;

impl<'d> Path<'d> {
    /// The nearest name above; `outer` where this document has none.
    pub fn name<'a>(&'a self, outer: &'a str) -> &'a str {
        match self.nearest.last().map(|&index| self.segments.get(index as usize)) {
            Some(Some(Segment::Name(name))) => name,
            _ => outer,
        }
    }

    /// The nearest name above the last part.
    pub fn name_above<'a>(&'a self, outer: &'a str) -> &'a str {
        let index = self.nearest.len().checked_sub(2).and_then(|above| self.nearest.get(above));
        match index.map(|&index| self.segments.get(index as usize)) {
            Some(Some(Segment::Name(name))) => name,
            _ => outer,
        }
    }

    fn open(&mut self, segment: Segment<'d>) {
        let nearest = match segment {
            Segment::Name(_) => self.segments.len() as u32,
            Segment::Index(_) => self.nearest.last().copied().unwrap_or(NO_NAME),
        };
        self.segments.push(segment);
        self.nearest.push(nearest);
    }

    fn close(&mut self) {
        self.segments.pop();
        self.nearest.pop();
    }
}

/// What is done with a document while it is read.
pub(super) trait Sink<'d> {
    /// The name of the next member, decoded.
    fn name(&mut self, name: Text) -> &'d str;
    /// The same, once it is at the end of the path.
    fn named(&mut self, path: &Path<'d>, name: Text);
    fn string(&mut self, path: &Path<'d>, text: Text);
    fn token(&mut self, path: &Path<'d>, start: usize, end: usize, token: Token);
    /// Nested deeper than allowed: not read.
    fn too_deep(&mut self, path: &Path<'d>, start: usize, end: usize);
    /// A string that the document ends in.
    fn cut(&mut self, path: &Path<'d>, text: Text);
}

/// Reads one document of `bytes` from `at` on. Gives where it ends.
pub(super) fn read<'d>(
    bytes: &'d [u8],
    mut at: usize,
    depth: usize,
    path: &mut Path<'d>,
    sink: &mut impl Sink<'d>,
) -> Result<usize, Break> {
    loop {
        // A value.
        at = blank(bytes, at);
        match bytes.get(at) {
            Some(b'"') => {
                let text = string(bytes, at + 1);
                if text.end == bytes.len() {
                    sink.cut(path, text);
                    return Err(Break { at });
                }
                sink.string(path, text);
                at = text.end + 1;
            }
            Some(b'{' | b'[') if path.segments.len() >= depth => {
                let end = skip(bytes, at);
                sink.too_deep(path, at, end);
                at = end;
            }
            Some(b'{') => {
                let first = blank(bytes, at + 1);
                if bytes.get(first) == Some(&b'}') {
                    at = first + 1;
                } else {
                    path.open(Segment::Name(""));
                    at = member(bytes, first, path, sink)?;
                    continue;
                }
            }
            Some(b'[') => {
                let first = blank(bytes, at + 1);
                if bytes.get(first) == Some(&b']') {
                    at = first + 1;
                } else {
                    path.open(Segment::Index(0));
                    at = first;
                    continue;
                }
            }
            Some(_) => {
                let (end, token) = token(bytes, at).ok_or(Break { at })?;
                sink.token(path, at, end, token);
                at = end;
            }
            None => return Err(Break { at }),
        }
        // What follows a value.
        loop {
            let Some(last) = path.segments.last_mut() else { return Ok(at) };
            at = blank(bytes, at);
            match (last, bytes.get(at)) {
                (Segment::Index(index), Some(b',')) => {
                    *index += 1;
                    at += 1;
                    break;
                }
                (Segment::Name(_), Some(b',')) => {
                    at = blank(bytes, at + 1);
                    at = member(bytes, at, path, sink)?;
                    break;
                }
                (Segment::Index(_), Some(b']')) | (Segment::Name(_), Some(b'}')) => {
                    path.close();
                    at += 1;
                }
                _ => return Err(Break { at }),
            }
        }
    }
}

/// Reads `"name":` and puts it at the end of the path.
#[inline]
fn member<'d>(bytes: &'d [u8], at: usize, path: &mut Path<'d>, sink: &mut impl Sink<'d>) -> Result<usize, Break> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Break { at });
    }
    let text = string(bytes, at + 1);
    if text.end == bytes.len() {
        sink.cut(path, text);
        return Err(Break { at });
    }
    let name = sink.name(text);
    if let Some(last) = path.segments.last_mut() {
        *last = Segment::Name(name);
    }
    sink.named(path, text);
    let colon = blank(bytes, text.end + 1);
    if bytes.get(colon) != Some(&b':') {
        return Err(Break { at: colon });
    }
    Ok(colon + 1)
}

#[inline]
pub(crate) fn blank(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The string whose first byte after the quote is at `start`; without a closing quote it ends with `bytes`.
#[inline]
fn string(bytes: &[u8], start: usize) -> Text {
    let mut at = start;
    let mut escaped = false;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return Text { start, end: at, escaped };
        }
        escaped = true;
        at += 2;
    }
    Text { start: start.min(bytes.len()), end: bytes.len(), escaped }
}

fn token(bytes: &[u8], at: usize) -> Option<(usize, Token)> {
    let rest = bytes.get(at..)?;
    let length = rest
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.'))
        .unwrap_or(rest.len());
    let word = &rest[..length];
    let token = match word {
        b"true" | b"false" => Token::Bool,
        b"null" => Token::Null,
        _ if is_number(word) => Token::Number,
        _ => return None,
    };
    Some((at + length, token))
}

/// The grammar of RFC 8259, section 6, and what Python and JavaScript write beyond it.
pub(crate) fn is_number(word: &[u8]) -> bool {
    if matches!(word, b"NaN" | b"Infinity" | b"-Infinity") {
        return true;
    }
    let digits = |word: &[u8]| word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = word.strip_prefix(b"-").unwrap_or(word);
    let whole = digits(rest);
    if whole == 0 {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

/// The end of the value at `start`, as far as there is one.
pub(crate) fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => (string(bytes, start + 1).end + 1).min(bytes.len()),
        Some(b'{' | b'[') => skip(bytes, start),
        _ => token(bytes, start).map_or(start, |(end, _)| end),
    }
}

/// The end of the array or object at `start`, by counting brackets.
fn skip(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut open = 0usize;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = (string(bytes, at).end + 1).min(bytes.len()),
            b'{' | b'[' => open += 1,
            b'}' | b']' => {
                open -= 1;
                if open == 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    at
}

/// Undoes the escapes of `raw` into `out`. A wrong escape stands for itself, a lone surrogate becomes U+FFFD.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(found) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..found]);
        let (length, unit) = escape(&rest[found..]);
        match unit {
            Unit::Byte(byte) => out.push(byte),
            Unit::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Itself => out.extend_from_slice(&rest[found..found + length]),
        }
        rest = &rest[found + length..];
    }
    out.extend_from_slice(rest);
}

#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Byte(u8),
    Char(char),
    /// No escape that JSON knows: what is spelled is meant.
    Itself,
}

impl Unit {
    /// How many decoded bytes it stands for, if it is spelled in `length`.
    pub fn width(self, length: usize) -> usize {
        match self {
            Unit::Byte(_) => 1,
            Unit::Char(c) => c.len_utf8(),
            Unit::Itself => length,
        }
    }
}

/// The escape that `raw` starts with (its first byte is the backslash) and how long it is.
pub(crate) fn escape(raw: &[u8]) -> (usize, Unit) {
    let byte = match raw.get(1) {
        Some(b'"') => b'"',
        Some(b'\\') => b'\\',
        Some(b'/') => b'/',
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return unicode(raw),
        _ => return (raw.len().min(1), Unit::Itself),
    };
    (2, Unit::Byte(byte))
}

fn unicode(raw: &[u8]) -> (usize, Unit) {
    let Some(unit) = four_digits(raw) else { return (2, Unit::Itself) };
    if let Some(c) = char::from_u32(unit) {
        return (6, Unit::Char(c));
    }
    let low = raw.get(6..).and_then(four_digits).filter(|low| (0xdc00..0xe000).contains(low));
    match low {
        Some(low) if unit < 0xdc00 => {
            let c = char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            (12, Unit::Char(c.unwrap_or(char::REPLACEMENT_CHARACTER)))
        }
        _ => (6, Unit::Char(char::REPLACEMENT_CHARACTER)),
    }
}

fn four_digits(raw: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = raw.get(..6)? else { return None };
    digits.iter().try_fold(0, |sum, &digit| Some(sum * 16 + char::from(digit).to_digit(16)?))
}

/// The decoded name, borrowed from the document where it is spelled plainly.
pub(super) fn name<'d>(bytes: &'d [u8], text: Text, names: &'d Names, scratch: &mut Vec<u8>) -> &'d str {
    let raw = &bytes[text.start..text.end];
    if !text.escaped {
        return match String::from_utf8_lossy(raw) {
            Cow::Borrowed(name) => name,
            Cow::Owned(name) => names.keep(name.into()),
        };
    }
    scratch.clear();
    unescape(raw, scratch);
    names.keep(String::from_utf8_lossy(scratch).into())
}

/// Whether `bytes` are one JSON array, object or string, white space around it aside.
pub(super) fn is_document(bytes: &[u8], depth: usize) -> bool {
    let start = blank(bytes, 0);
    if !matches!(bytes.get(start), Some(b'{' | b'[' | b'"')) {
        return false;
    }
    let end = read(bytes, start, depth, &mut Path::default(), &mut Nothing);
    end.is_ok_and(|end| blank(bytes, end) == bytes.len())
}

/// How far `bytes` read as JSON: to the end of the first document, or to where it breaks.
pub(super) fn reach(bytes: &[u8], depth: usize) -> Result<usize, usize> {
    read(bytes, 0, depth, &mut Path::default(), &mut Nothing).map_err(|end| end.at)
}

/// Reads and keeps nothing.
struct Nothing;

impl<'d> Sink<'d> for Nothing {
    fn name(&mut self, _: Text) -> &'d str {
        ""
    }
    fn named(&mut self, _: &Path<'d>, _: Text) {}
    fn string(&mut self, _: &Path<'d>, _: Text) {}
    fn token(&mut self, _: &Path<'d>, _: usize, _: usize, _: Token) {}
    fn too_deep(&mut self, _: &Path<'d>, _: usize, _: usize) {}
    fn cut(&mut self, _: &Path<'d>, _: Text) {}
}

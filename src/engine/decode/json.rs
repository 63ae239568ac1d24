//! JSON by byte spans (RFC 8259): a lexer that keeps what stands there, and the walk over it.
//!
//! Read is whatever a lenient reader downstream might read: duplicate keys, any number spelling, `NaN` and
//! the infinities, raw control characters, wrong escapes, lone surrogates, invalid UTF-8. Nesting costs an
//! entry on a list, never machine stack.

use memchr::memchr;

use super::escape::{marks, unescape, word};
use super::place::Names;
use crate::engine::visit::Segment;

/// What stands between the quotes of a string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub start: usize,
    pub end: usize,
    pub escaped: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    Number,
    Bool,
    Null,
}

/// Why a document ended early: everything before `at` was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Break {
    pub at: usize,
}

/// Where the lexer stands: the path, and for each part of it the place of the nearest name.
#[derive(Default)]
pub(crate) struct Path<'d> {
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

    /// Whether an element of a list stands here that is a member of the document, or of an object that is one.
    fn is_element(&self) -> bool {
        matches!(
            self.segments[..],
            [Segment::Name(_), Segment::Index(_)] | [Segment::Name(_), Segment::Name(_), Segment::Index(_)]
        )
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
pub(crate) trait Sink<'d> {
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
    /// An element of one of the document's own lists, an object that begins at `start`. Its end, if there is nothing to read in it.
    fn element(&mut self, _path: &Path<'d>, _start: usize) -> Option<usize> {
        None
    }
    /// The end of such an element was read.
    fn element_ended(&mut self) {}
}

/// Reads one document of `bytes` from `at` on. Gives where it ends.
pub(crate) fn read<'d>(
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
            Some(b'{') if path.is_element() && element(path, sink, &mut at) => {}
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
                (Segment::Index(_), Some(b']')) => {
                    path.close();
                    at += 1;
                }
                (Segment::Name(_), Some(b'}')) => {
                    path.close();
                    at += 1;
                    if path.is_element() {
                        sink.element_ended();
                    }
                }
                _ => return Err(Break { at }),
            }
        }
    }
}

/// Whether the element at `at` need not be read; then `at` is its end.
fn element<'d>(path: &Path<'d>, sink: &mut impl Sink<'d>, at: &mut usize) -> bool {
    let end = sink.element(path, *at);
    *at = end.unwrap_or(*at);
    end.is_some()
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
pub(crate) fn string(bytes: &[u8], start: usize) -> Text {
    // Most strings are short: found without a call.
    let mut at = start;
    for _ in 0..SHORT_WORDS {
        let Some(word) = word(bytes, at) else { break };
        let found = marks(word, b'"') | marks(word, b'\\');
        if found != 0 {
            at += found.trailing_zeros() as usize / 8;
            if bytes[at] == b'"' {
                return Text { start, end: at, escaped: false };
            }
            break;
        }
        at += 8;
    }
    long_string(bytes, start, at)
}

const SHORT_WORDS: usize = 4;

/// As `string`; neither quote nor backslash stands before `at`.
#[inline(never)]
fn long_string(bytes: &[u8], start: usize, at: usize) -> Text {
    let start = start.min(bytes.len());
    let end = quote(bytes, start, at);
    Text { start, end, escaped: memchr(b'\\', &bytes[start..end]).is_some() }
}

/// The end of the string whose first byte after the quote is at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    quote(bytes, start.min(bytes.len()), start)
}

/// The first quote at or after `at` that is not escaped in the string that begins at `start`; the end of `bytes` without one.
fn quote(bytes: &[u8], start: usize, mut at: usize) -> usize {
    // Quotes are rarer than escapes, so look for them alone and then whether they are escaped.
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'"', rest)) {
        at += found;
        let slashes = bytes[start..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
        if slashes % 2 == 0 {
            return at;
        }
        at += 1;
    }
    bytes.len()
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
        Some(b'"') => (string_end(bytes, start + 1) + 1).min(bytes.len()),
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
            b'"' => at = (string_end(bytes, at) + 1).min(bytes.len()),
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

/// The decoded name, borrowed from the document where it is spelled plainly.
pub(crate) fn name<'d>(bytes: &'d [u8], text: Text, names: &'d Names, scratch: &mut Vec<u8>) -> &'d str {
    let raw = &bytes[text.start..text.end];
    if !text.escaped {
        return match std::str::from_utf8(raw) {
            Ok(name) => name,
            Err(_) => names.keep(String::from_utf8_lossy(raw).into()),
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

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Break, Path, Sink, Text, Token, is_number, name, read, unescape};
    use crate::engine::decode::place::Names;
    use crate::engine::visit::Segment;

    /// What was read, as `/pointer` and JSON text, each string checked against serde_json.
    struct Flat<'d> {
        bytes: &'d [u8],
        names: &'d Names,
        values: Vec<(String, String)>,
    }

    impl Flat<'_> {
        fn put(&mut self, path: &Path<'_>, value: String) {
            let mut at = String::new();
            for segment in &path.segments {
                match segment {
                    Segment::Name(name) => write!(at, "/{}", name.replace('~', "~0").replace('/', "~1")).unwrap(),
                    Segment::Index(index) => write!(at, "/{index}").unwrap(),
                }
            }
            self.values.push((at, value));
        }
    }

    impl<'d> Sink<'d> for Flat<'d> {
        fn name(&mut self, text: Text) -> &'d str {
            name(self.bytes, text, self.names, &mut Vec::new())
        }
        fn named(&mut self, _: &Path<'d>, _: Text) {}
        fn string(&mut self, path: &Path<'d>, text: Text) {
            let mut decoded = Vec::new();
            unescape(&self.bytes[text.start..text.end], &mut decoded);
            let quoted = &self.bytes[text.start - 1..text.end + 1];
            if let Ok(theirs) = serde_json::from_slice::<String>(quoted) {
                assert_eq!(String::from_utf8_lossy(&decoded), theirs);
            }
            assert_eq!(text.escaped, quoted.contains(&b'\\'));
            self.put(path, Value::String(String::from_utf8_lossy(&decoded).into()).to_string());
        }
        fn token(&mut self, path: &Path<'d>, start: usize, end: usize, _: Token) {
            self.put(path, String::from_utf8_lossy(&self.bytes[start..end]).into());
        }
        fn too_deep(&mut self, _: &Path<'d>, _: usize, _: usize) {}
        fn cut(&mut self, _: &Path<'d>, _: Text) {}
    }

    fn flat(bytes: &[u8]) -> (Vec<(String, String)>, Result<usize, Break>) {
        let names = Names::default();
        let mut flat = Flat { bytes, names: &names, values: Vec::new() };
        let end = read(bytes, 0, 128, &mut Path::default(), &mut flat);
        (flat.values, end)
    }

    fn flat_value(at: &str, value: &Value, out: &mut Vec<(String, String)>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    flat_value(&format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), value, out);
                }
            }
            Value::Array(elements) => {
                for (index, value) in elements.iter().enumerate() {
                    flat_value(&format!("{at}/{index}"), value, out);
                }
            }
            leaf => out.push((at.to_owned(), leaf.to_string())),
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = "([a-z/~\"\\\\\n\t\u{1}é😀 ]|\\PC){0,40}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((text, inner), 0..8).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_reads_is_read_alike(value in value(), pretty: bool, ascii: bool) {
            let mut text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            if ascii {
                let mut units = [0; 2];
                let escaped = text.chars().map(|c| match c.is_ascii() {
                    true => c.to_string(),
                    false => c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
                });
                text = escaped.collect();
            }
            let mut expected = Vec::new();
            flat_value("", &value, &mut expected);
            let (read, end) = flat(text.as_bytes());
            prop_assert_eq!(end, Ok(text.len()));
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn what_serde_json_takes_is_never_refused(text in r#"[\[\]{}:, "a\\u0-9eE.+tfnrulsd-]{0,24}"#) {
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
                let (_, end) = flat(text.as_bytes());
                prop_assert!(end.is_ok_and(|end| text[end..].trim().is_empty()));
            }
        }

        #[test]
        fn any_bytes_end_or_break_inside(bytes in prop::collection::vec(prop::sample::select(&b"[]{}:,\"\\\\u12 tnd\xff"[..]), 0..60)) {
            let (_, end) = flat(&bytes);
            prop_assert!(end.unwrap_or_else(|end| end.at) <= bytes.len());
        }
    }

    #[test]
    fn strings_end_at_the_first_quote_that_is_not_escaped() {
        for slashes in 0..40 {
            for before in 0..40 {
                let text = format!("[\"{}{}\",\"b\"]", "x".repeat(before), "\\\\".repeat(slashes));
                let (values, end) = flat(text.as_bytes());
                assert_eq!((values.len(), end), (2, Ok(text.len())), "{text}");
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_grammar_and_of_python() {
        for number in ["0", "-0", "1.50e+2", "1E400", "-12.25E-7", "01", "NaN", "-Infinity"] {
            assert!(is_number(number.as_bytes()), "{number}");
        }
        for word in ["", "-", "1.", ".5", "1e", "1e+", "0x10", "1.2.3", "--1", "nan", "1a"] {
            assert!(!is_number(word.as_bytes()), "{word}");
        }
    }
}

//! One JSON value as a tree, as leniently as it can be read: lone surrogates, raw control characters, invalid UTF-8 and
//! names that repeat are in real captures, and a part that breaks off still gives what stands before it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::engine::decode::json::{blank, string, value_end};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'d> {
    Object(Vec<(Cow<'d, [u8]>, Node<'d>)>),
    Array(Vec<Node<'d>>),
    /// Mostly UTF-8, but nothing makes it so.
    Text(Cow<'d, [u8]>),
    /// A number, `true`, `false`, `null`; or what is nested too deep, unread.
    Token(&'d [u8]),
}

/// What became of a document.
pub(super) struct Tree<'d> {
    pub root: Node<'d>,
    /// The first byte after it.
    pub end: usize,
    /// Where it breaks; `root` then holds what was whole before.
    pub broken: Option<usize>,
}

/// Captures nest some ten levels; anything in a body is text to them.
const DEPTH: usize = 64;

/// Reads the value that begins at `at`.
pub(super) fn read(bytes: &[u8], at: usize) -> Tree<'_> {
    let mut reader = Reader { bytes, at, broken: None };
    let root = reader.value(0).unwrap_or(Node::Token(b""));
    Tree { root, end: reader.at, broken: reader.broken }
}

struct Reader<'d> {
    bytes: &'d [u8],
    at: usize,
    broken: Option<usize>,
}

impl<'d> Reader<'d> {
    fn value(&mut self, depth: usize) -> Option<Node<'d>> {
        self.at = blank(self.bytes, self.at);
        match self.bytes.get(self.at) {
            Some(b'"') => self.text().map(Node::Text),
            Some(b'{' | b'[') if depth >= DEPTH => self.skip(),
            Some(b'{') => {
                let mut members = Vec::new();
                self.list(b'}', |reader| {
                    let name = reader.name()?;
                    members.push((name, reader.value(depth + 1)?));
                    Some(())
                });
                Some(Node::Object(members))
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.list(b']', |reader| {
                    items.push(reader.value(depth + 1)?);
                    Some(())
                });
                Some(Node::Array(items))
            }
            _ => self.skip(),
        }
    }

    /// Items between brackets. The first that is not whole ends the reading of everything.
    fn list(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) {
        self.at = blank(self.bytes, self.at + 1);
        if self.bytes.get(self.at) == Some(&end) {
            self.at += 1;
            return;
        }
        loop {
            if item(self).is_none() || self.broken.is_some() {
                self.fail();
                return;
            }
            self.at = blank(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(&found) if found == end => {
                    self.at += 1;
                    return;
                }
                _ => return self.fail(),
            }
            self.at = blank(self.bytes, self.at);
        }
    }

    fn name(&mut self) -> Option<Cow<'d, [u8]>> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let name = self.text()?;
        self.at = blank(self.bytes, self.at);
        if self.bytes.get(self.at) != Some(&b':') {
            return None;
        }
        self.at += 1;
        Some(name)
    }

    fn text(&mut self) -> Option<Cow<'d, [u8]>> {
        let text = string(self.bytes, self.at + 1);
        let raw = self.bytes.get(text.start..text.end)?;
        if text.end >= self.bytes.len() {
            self.at = self.bytes.len();
            return None;
        }
        self.at = text.end + 1;
        Some(if text.escaped { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) })
    }

    fn skip(&mut self) -> Option<Node<'d>> {
        let end = value_end(self.bytes, self.at);
        let raw = self.bytes.get(self.at..end).filter(|raw| !raw.is_empty())?;
        self.at = end;
        Some(Node::Token(raw))
    }

    fn fail(&mut self) {
        self.broken.get_or_insert(self.at);
    }
}

/// The bytes that `raw` stands for. A wrong escape stands for itself, a lone surrogate for U+FFFD or for a byte.
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(plain) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let byte = match rest.get(1) {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'u') => match unit(rest) {
                Some(first) => {
                    rest = &rest[6..];
                    let second = unit(rest).filter(|second| (0xdc00..0xe000).contains(second));
                    let mut point = u32::from(first);
                    if let (0xd800..0xdc00, Some(second)) = (first, second) {
                        point = 0x1_0000 + ((point - 0xd800) << 10) + (u32::from(second) - 0xdc00);
                        rest = &rest[6..];
                    }
                    match point {
                        // Python writes the bytes of what is no text so (PEP 383), and mitmproxy with it.
                        0xdc80..=0xdcff => out.push((point - 0xdc00) as u8),
                        _ => {
                            let c = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
                            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                    }
                    continue;
                }
                None => {
                    out.push(b'\\');
                    rest = &rest[1..];
                    continue;
                }
            },
            _ => {
                out.push(b'\\');
                rest = &rest[1..];
                continue;
            }
        };
        out.push(byte);
        rest = &rest[2..];
    }
    out.extend_from_slice(rest);
    out
}

/// The UTF-16 unit of an escape at the start of `raw`.
fn unit(raw: &[u8]) -> Option<u16> {
    let digits = raw.strip_prefix(b"\\u")?.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

const NULL: Node<'static> = Node::Token(b"null");

impl<'d> Node<'d> {
    /// The member of that name, the last of several as JavaScript has it; `null` where there is none.
    pub fn get(&self, name: &str) -> &Node<'d> {
        let members = if let Node::Object(members) = self { members.as_slice() } else { &[] };
        let found = members.iter().rev().find(|(known, _)| known[..] == *name.as_bytes());
        found.map_or(&NULL, |(_, value)| value)
    }

    pub fn items(&self) -> &[Node<'d>] {
        if let Node::Array(items) = self { items } else { &[] }
    }

    pub fn text(&self) -> Option<&Cow<'d, [u8]>> {
        if let Node::Text(text) = self { Some(text) } else { None }
    }

    /// Text, or nothing.
    pub fn bytes(&self) -> &[u8] {
        self.text().map(|text| &text[..]).unwrap_or_default()
    }

    pub fn str(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// A finite number, in quotes or not.
    pub fn number(&self) -> Option<f64> {
        let raw = if let Node::Token(raw) = self { raw } else { self.bytes() };
        std::str::from_utf8(raw).ok()?.trim().parse().ok().filter(|number: &f64| number.is_finite())
    }

    pub fn is_null(&self) -> bool {
        *self == NULL
    }

    /// Whether a name is there more than once.
    pub fn repeats(&self) -> bool {
        let Node::Object(members) = self else { return false };
        let mut known = BTreeSet::new();
        !members.iter().all(|(name, _)| known.insert(&name[..]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Node, read};

    fn plain(node: &Node<'_>) -> Value {
        match node {
            Node::Object(members) => {
                members.iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), plain(value))).collect()
            }
            Node::Array(items) => items.iter().map(plain).collect(),
            Node::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
            Node::Token(raw) => serde_json::from_slice(raw).unwrap(),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..5).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    #[test]
    fn what_is_wrong_is_read_all_the_same() {
        let tree = read(br#" {"a":"\ud83d\ude00 \ud800 \q","a":NaN,"b":[1,{"c":"x"#, 0);
        assert!(tree.broken.is_some());
        assert_eq!(tree.root.items().len(), 0);
        assert!(tree.root.repeats());
        assert!(tree.root.get("a").number().is_none());
        let Node::Object(members) = &tree.root else { panic!() };
        assert_eq!(members[0].1.str(), "\u{1f600} \u{fffd} \\q");
        assert_eq!(tree.root.get("b").items().len(), 2);
    }

    proptest! {
        #[test]
        fn well_formed_documents_are_read_as_serde_json_reads_them(value in any_value(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let tree = read(text.as_bytes(), 0);
            prop_assert_eq!((tree.broken, tree.end), (None, text.len()));
            prop_assert_eq!(plain(&tree.root), value);
        }

        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(prop::sample::select(br#"{}[]",:\ua0e9 x"#.to_vec()), 0..200)) {
            let tree = read(&bytes, 0);
            prop_assert!(tree.end <= bytes.len());
        }
    }
}

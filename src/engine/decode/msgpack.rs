//! MessagePack by byte spans (github.com/msgpack/msgpack/blob/master/spec.md): a lexer that keeps what stands there, and the
//! walk over it.
//!
//! A location is a pointer, as in JSON. Only a string's own length follows an edit of it: containers count their
//! items, which an edit never changes. Nesting costs an entry on a list, never machine stack.

use std::ops::Range;

use bytes::Bytes;

use super::layer::Format;
use super::place::{Names, Tail};
use super::sniff::{self, Class};
use super::walker::Walker;
use crate::engine::visit::{LayerId, LeafKind, Segment, Spelling, Target, Visitor};
use crate::wire::span::Span;

/// Bytes up to this many are a key, a digest or an id rather than something hidden.
const SHORT: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Nil,
    Bool,
    /// As text.
    Number(String),
    Str,
    Bin,
    Ext,
    /// How many items follow.
    Array(u32),
    /// How many pairs follow.
    Map(u32),
}

/// One value, of a container its head alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub kind: Kind,
    /// What says its type and length.
    pub head: Range<usize>,
    /// Of strings and bytes what they say; of numbers their bytes, the first among them.
    pub value: Range<usize>,
}

/// The value at `at`; none where it is cut or no type.
pub(crate) fn item(bytes: &[u8], at: usize) -> Option<Item> {
    let first = *bytes.get(at)?;
    let wide = |width: usize| -> Option<u64> {
        let raw = bytes.get(at + 1..at + 1 + width)?;
        Some(raw.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    let number = |width: usize, text: String| item_of(bytes, Kind::Number(text), at..at, at..at + 1 + width);
    let run = |kind: Kind, head: usize, length: u64| {
        let start = at + head;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        item_of(bytes, kind, at..start, start..end)
    };
    let container = |kind: Kind, head: usize| item_of(bytes, kind, at..at + head, at + head..at + head);
    match first {
        0x00..=0x7f => number(0, first.to_string()),
        0xe0..=0xff => number(0, (first as i8).to_string()),
        0x80..=0x8f => container(Kind::Map(u32::from(first & 15)), 1),
        0x90..=0x9f => container(Kind::Array(u32::from(first & 15)), 1),
        0xa0..=0xbf => run(Kind::Str, 1, u64::from(first & 31)),
        0xc0 => container(Kind::Nil, 1),
        0xc1 => None,
        0xc2 | 0xc3 => container(Kind::Bool, 1),
        0xc4..=0xc6 => run(Kind::Bin, 1 + width(first - 0xc4), wide(width(first - 0xc4))?),
        0xc7..=0xc9 => run(Kind::Ext, 2 + width(first - 0xc7), wide(width(first - 0xc7))?),
        0xca => number(4, f32::from_bits(wide(4)? as u32).to_string()),
        0xcb => number(8, f64::from_bits(wide(8)?).to_string()),
        0xcc..=0xcf => number(width(first - 0xcc), wide(width(first - 0xcc))?.to_string()),
        0xd0..=0xd3 => {
            let width = width(first - 0xd0);
            let unused = 64 - 8 * width as u32;
            number(width, (((wide(width)? << unused) as i64) >> unused).to_string())
        }
        0xd4..=0xd8 => run(Kind::Ext, 2, 1 << (first - 0xd4)),
        0xd9..=0xdb => run(Kind::Str, 1 + width(first - 0xd9), wide(width(first - 0xd9))?),
        0xdc | 0xdd => container(Kind::Array(wide(width(first - 0xdb))? as u32), 1 + width(first - 0xdb)),
        0xde | 0xdf => container(Kind::Map(wide(width(first - 0xdd))? as u32), 1 + width(first - 0xdd)),
    }
}

fn item_of(bytes: &[u8], kind: Kind, head: Range<usize>, value: Range<usize>) -> Option<Item> {
    (head.end <= bytes.len() && value.end <= bytes.len()).then_some(Item { kind, head, value })
}

/// 1, 2, 4 or 8 bytes.
fn width(power: u8) -> usize {
    1 << power
}

/// The head of a string or of bytes that are `length` long now: of the width that it had where that is enough.
pub(crate) fn head_of(head: &[u8], length: usize) -> Option<Vec<u8>> {
    let first = *head.first()?;
    let (base, had, kind) = match first {
        0xa0..=0xbf if length <= 31 => return Some(vec![0xa0 | length as u8]),
        0xa0..=0xbf => (0xd9, 0, None),
        0xd9..=0xdb => (0xd9, first - 0xd9, None),
        0xc4..=0xc6 => (0xc4, first - 0xc4, None),
        0xc7..=0xc9 => (0xc7, first - 0xc7, head.last()),
        0xd4..=0xd8 => (0xc7, 0, head.last()),
        _ => return None,
    };
    let needed = (0..3).find(|&power| length >> (8 * width(power)) == 0)?;
    let power = needed.max(had);
    let mut out = vec![base + power];
    out.extend(&(length as u32).to_be_bytes()[4 - width(power)..]);
    out.extend(kind);
    Some(out)
}

/// `text` as a number: an integer in its shortest form, a float where `raw` is one.
pub(crate) fn number_of(text: &str, raw: &[u8]) -> Option<Vec<u8>> {
    let text = if text.is_empty() { "0" } else { text };
    match raw.first()? {
        0xca => return Some([&[0xca][..], &text.parse::<f32>().ok()?.to_be_bytes()].concat()),
        0xcb => return Some([&[0xcb][..], &text.parse::<f64>().ok()?.to_be_bytes()].concat()),
        _ => {}
    }
    let number = text.parse::<i128>().ok()?;
    Some(match number {
        0..=0x7f => vec![number as u8],
        -32..=-1 => vec![number as i8 as u8],
        0x80..=0xff => vec![0xcc, number as u8],
        0x100..=0xffff => [&[0xcd][..], &(number as u16).to_be_bytes()].concat(),
        0x1_0000..=0xffff_ffff => [&[0xce][..], &(number as u32).to_be_bytes()].concat(),
        _ if u64::try_from(number).is_ok() => [&[0xcf][..], &(number as u64).to_be_bytes()].concat(),
        _ => [&[0xd3][..], &i64::try_from(number).ok()?.to_be_bytes()].concat(),
    })
}

/// A container that is not at its end.
#[derive(Clone, Copy, Debug)]
struct Open {
    left: u32,
    map: bool,
    /// The next item of a map is a name.
    at_name: bool,
}

/// Where each value of one document stands.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<Open>,
    begun: bool,
}

/// What comes next.
enum Next {
    /// A name of a member.
    Name(Item),
    Value(Item),
    /// A container ended.
    Close,
    /// The document did.
    End,
    /// Here is no value.
    Broken,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, open: Vec::new(), begun: false }
    }

    fn next(&mut self) -> Next {
        match self.open.last() {
            None if self.begun => return Next::End,
            Some(Open { left: 0, .. }) => {
                self.open.pop();
                return Next::Close;
            }
            _ => {}
        }
        let Some(item) = item(self.bytes, self.at) else { return Next::Broken };
        self.begun = true;
        let container = match item.kind {
            Kind::Array(left) => Some(Open { left, map: false, at_name: false }),
            Kind::Map(left) => Some(Open { left, map: true, at_name: true }),
            _ => None,
        };
        let mut is_name = false;
        if let Some(around) = self.open.last_mut() {
            is_name = around.map && around.at_name;
            if is_name && container.is_some() {
                // Allowed, and nobody's name.
                return Next::Broken;
            }
            around.at_name = around.map && !is_name;
            around.left -= u32::from(!is_name);
        }
        self.at = item.head.end.max(item.value.end);
        self.open.extend(container);
        if is_name { Next::Name(item) } else { Next::Value(item) }
    }
}

/// The strings and runs of bytes of one document or several in a row, in order.
pub(crate) fn texts(bytes: &[u8]) -> impl Iterator<Item = Item> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let item = item(bytes, at)?;
            at = item.head.end.max(item.value.end);
            if matches!(item.kind, Kind::Str | Kind::Bin | Kind::Ext) {
                return Some(item);
            }
        }
    })
}

/// Whether `bytes`, of which nothing is said, are one document beyond doubt: a map of named members, or a list of such, to the
/// last byte, and half of it text.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    let map = |byte: Option<&u8>| matches!(byte, Some(0x81..=0x8f | 0xde | 0xdf));
    let list = matches!(bytes.first(), Some(0x91..=0x9f)) && map(bytes.get(1));
    if bytes.len() < 8 || !(map(bytes.first()) || list) {
        return false;
    }
    let mut cursor = Cursor::new(bytes, 0);
    let mut text = 0;
    // What is nested deeper is nobody's document, and would cost more than it holds.
    while cursor.open.len() < 256 {
        match cursor.next() {
            Next::Name(item) if item.kind == Kind::Str && sniff::is_text(&bytes[item.value.clone()]) => {
                text += item.value.len();
            }
            Next::Name(_) | Next::Broken => return false,
            Next::Value(Item { kind: Kind::Str, value, .. }) => {
                if std::str::from_utf8(&bytes[value.clone()]).is_err() {
                    return false;
                }
                text += value.len();
            }
            Next::Value(_) | Next::Close => {}
            Next::End => return cursor.at == bytes.len() && text * 2 >= bytes.len(),
        }
    }
    false
}

/// Whether a media type says MessagePack.
pub(super) fn is_type(kind: &[u8]) -> bool {
    [&b"msgpack"[..], b"messagepack"].iter().any(|name| kind.ends_with(name))
}

impl<V: Visitor> Walker<'_, V> {
    /// `layer`, which is said to be MessagePack, unless it plainly is something else.
    pub(super) fn said_msgpack(&mut self, layer: LayerId, name: &str) {
        let content = self.content(layer);
        match sniff::class(&content, self.limits.json_depth) {
            Class::Json | Class::Lines => self.sniffed(layer, name),
            Class::Coded(coding) if coding.opens(&content) => self.sniffed(layer, name),
            _ => self.msgpack(layer, name),
        }
    }

    /// The whole of `layer`: one document, or several in a row.
    pub(super) fn msgpack(&mut self, layer: LayerId, name: &str) {
        self.layers[layer.0 as usize].format = Format::MsgPack;
        let content = self.content(layer);
        let mut at = 0;
        let mut number = 0;
        while at < content.len() {
            let end = self.packed_document(layer, &content, at, name);
            if number > 0 {
                self.steps.pop();
            }
            let Some(end) = end else { return };
            at = end;
            number += 1;
            self.steps.push(crate::engine::location::Step::Lines(number));
        }
        if number > 0 {
            self.steps.pop();
        }
    }

    /// One document from `start` on. Gives where it ends; none where it broke, which is reported.
    fn packed_document(&mut self, layer: LayerId, content: &Bytes, start: usize, outer: &str) -> Option<usize> {
        let names = Names::default();
        let mut cursor = Cursor::new(content, start);
        let mut path: Vec<Segment<'_>> = Vec::new();
        loop {
            let depth = cursor.open.len();
            if depth > self.limits.json_depth {
                self.report(layer, &content[cursor.at..], "depth", Tail::MsgPack(&path));
                return None;
            }
            match cursor.next() {
                Next::End => return Some(cursor.at),
                Next::Close => {
                    path.pop();
                }
                Next::Broken => {
                    let rest = cursor.at..content.len();
                    self.report(layer, &content[rest.clone()], "malformed", Tail::MsgPack(&path));
                    self.runs(layer, content, rest, outer, Tail::MsgPack(&path));
                    return None;
                }
                Next::Name(item) => {
                    let above = nearest(&path[..path.len().saturating_sub(1)], outer).to_owned();
                    let text = match item.kind {
                        Kind::Str => &content[item.value.clone()],
                        _ => b"",
                    };
                    let member = match (&item.kind, std::str::from_utf8(text)) {
                        (Kind::Number(number), _) => names.keep(number.as_str().into()),
                        (Kind::Str, Ok(text)) => text,
                        _ => names.keep(String::from_utf8_lossy(&content[item.value.clone()]).into()),
                    };
                    if let Some(last) = path.last_mut() {
                        *last = Segment::Name(member);
                    }
                    if item.kind == Kind::Str {
                        let target = Target { layer, raw: Span::of(item.value), spelling: Spelling::Raw };
                        self.leaf(LeafKind::JsonName, &above, text, target, Tail::MsgPack(&path));
                    }
                }
                Next::Value(item) => {
                    let opened = cursor.open.len() > depth;
                    if let Some(Segment::Index(index)) = path.last_mut().filter(|_| depth > 0) {
                        // The first of a list is 0: it was put there one lower.
                        *index = index.wrapping_add(1);
                    }
                    if opened {
                        let map = matches!(item.kind, Kind::Map(_));
                        path.push(if map { Segment::Name("") } else { Segment::Index(u64::MAX) });
                        continue;
                    }
                    let name = nearest(&path, outer).to_owned();
                    self.packed_value(layer, content, item, &name, &path);
                }
            }
        }
    }

    fn packed_value(&mut self, layer: LayerId, content: &Bytes, item: Item, name: &str, path: &[Segment<'_>]) {
        let tail = Tail::MsgPack(path);
        let value = &content[item.value.clone()];
        let target = |spelling| Target { layer, raw: Span::of(item.value.clone()), spelling };
        match &item.kind {
            Kind::Str if value.is_empty() || std::str::from_utf8(value).is_ok() => {
                self.value(LeafKind::JsonString, name, value, target(Spelling::Raw), tail);
            }
            Kind::Str | Kind::Bin | Kind::Ext => {
                let class = sniff::class(value, self.limits.json_depth);
                if class == Class::Binary && value.len() <= SHORT {
                    self.leaf(LeafKind::Opaque, name, value, target(Spelling::Raw), tail);
                } else {
                    self.window(content.slice(item.value.clone()), target(Spelling::Raw), tail, |walker, inner| {
                        walker.classified(inner, 0, class, name);
                    });
                }
            }
            Kind::Number(text) => {
                self.leaf(LeafKind::JsonNumber, name, text.as_bytes(), target(Spelling::Packed), tail);
            }
            Kind::Nil | Kind::Bool | Kind::Array(_) | Kind::Map(_) => {}
        }
    }
}

/// The nearest name above, `outer` where there is none.
fn nearest<'a>(path: &'a [Segment<'a>], outer: &'a str) -> &'a str {
    let named = path.iter().rev().find_map(|segment| match segment {
        Segment::Name(name) => Some(*name),
        Segment::Index(_) => None,
    });
    named.unwrap_or(outer)
}

#[cfg(test)]
mod tests {
    use super::{Kind, head_of, is_likely, item, number_of};

    #[test]
    fn every_type_is_read_with_its_bounds() {
        for (bytes, kind, value) in [
            (&b"\x7f"[..], Kind::Number("127".into()), 0..1),
            (b"\xe0", Kind::Number("-32".into()), 0..1),
            (b"\xcd\x01\x00", Kind::Number("256".into()), 0..3),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Kind::Number(u64::MAX.to_string()), 0..9),
            (b"\xd0\x80", Kind::Number("-128".into()), 0..2),
            (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xfe", Kind::Number("-2".into()), 0..9),
            (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", Kind::Number("1.5".into()), 0..9),
            (b"\xa2hi", Kind::Str, 1..3),
            (b"\xd9\x02hi", Kind::Str, 2..4),
            (b"\xda\x00\x02hi", Kind::Str, 3..5),
            (b"\xdb\x00\x00\x00\x02hi", Kind::Str, 5..7),
            (b"\xc4\x01x", Kind::Bin, 2..3),
            (b"\xd6\xff1234", Kind::Ext, 2..6),
            (b"\xc7\x03\x05abc", Kind::Ext, 3..6),
            (b"\xdc\x01\x00", Kind::Array(256), 3..3),
            (b"\xdf\x00\x01\x00\x00", Kind::Map(65536), 5..5),
        ] {
            let found = item(bytes, 0).unwrap_or_else(|| panic!("{bytes:x?}"));
            assert_eq!((found.kind, found.value), (kind, value), "{bytes:x?}");
            assert_eq!(item(&bytes[..bytes.len() - 1], 0), None, "cut: {bytes:x?}");
        }
        assert_eq!(item(b"\xc1", 0), None);
    }

    #[test]
    fn heads_grow_where_they_must_and_keep_their_width() {
        assert_eq!(head_of(b"\xa5", 31), Some(vec![0xbf]));
        assert_eq!(head_of(b"\xa5", 32), Some(vec![0xd9, 32]));
        assert_eq!(head_of(b"\xd9\x40", 3), Some(vec![0xd9, 3]));
        assert_eq!(head_of(b"\xd9\x40", 256), Some(vec![0xda, 1, 0]));
        assert_eq!(head_of(b"\xda\x01\x00", 65536), Some(vec![0xdb, 0, 1, 0, 0]));
        assert_eq!(head_of(b"\xd6\x05", 5), Some(vec![0xc7, 5, 5]));
        assert_eq!(head_of(b"\x01", 5), None);
    }

    #[test]
    fn numbers_are_spelled_in_their_shortest_form_and_floats_stay_floats() {
        for number in ["0", "127", "-1", "-32", "-33", "128", "65536", "18446744073709551615", "-9223372036854775808"] {
            let bytes = number_of(number, b"\x01").unwrap();
            assert_eq!(item(&bytes, 0).unwrap().kind, Kind::Number(number.into()), "{bytes:x?}");
        }
        assert_eq!(number_of("2.5", b"\xca").unwrap(), b"\xca\x40\x20\x00\x00");
        assert_eq!(number_of("x", b"\x01"), None);
    }

    #[test]
    fn only_maps_that_are_mostly_text_are_taken_for_one_unasked() {
        assert!(is_likely(b"\x82\xa3cwd\xa9/home/ann\xa1n\x01"));
        assert!(!is_likely(b"\x82\xa3cwd\xa9/home/ann\xa1n\x01\x00"), "something follows");
        assert!(!is_likely(b"\x82\x01\xa9/home/ann\xa1n\xa3abc"), "a number for a name");
        assert!(!is_likely(b"\x81\xa1n\xc4\x08\x00\x01\x02\x03\x04\x05\x06\x07"), "hardly any text");
    }
}

//! The seam between decoding and inspection.
//!
//! The decoder walks a unit once, in wire order, and hands every value it reaches to a [`Visitor`]. It
//! keeps the path as a stack and builds a [`Location`] only when a finding asks for one, so a leaf in
//! which nothing is found costs no allocation.

use std::ops::Range;

use bytes::Bytes;

use super::decode::{Codec, Layer};
use super::location::Location;
use crate::wire::span::Span;

/// What a leaf is in the layer that holds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeafKind {
    Method,
    PathSegment,
    QueryValue,
    Header,
    Trailer,
    CookieValue,
    FormValue,
    JsonString,
    JsonNumber,
    JsonBool,
    JsonNull,
    /// A member name: names can leak too (`{"/home/ann/p": …}`).
    JsonName,
    /// The name of a field: of a query, a form, a cookie, a header.
    FieldName,
    MultipartText,
    PbString,
    PbVarint,
    PbFixed,
    /// Plain text: a text body, a line, a WebSocket text message that is no document.
    Text,
    /// Bytes that are no UTF-8; still searched.
    Opaque,
}

/// Names one layer of the decoded unit (the head, the content-decoded body, a JSON text inside a string …).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LayerId(pub u32);

/// How the leaf's text is spelled in its layer, so that an edit of decoded bytes finds the raw ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spelling {
    /// As it is.
    Raw,
    /// Between JSON quotes, with JSON escapes.
    JsonString,
    /// A JSON number, `true`, `false` or `null`: replaced whole.
    JsonToken,
    /// `%41`, and `+` for a space.
    Form,
    /// `%41` only.
    Percent,
    /// A protobuf varint: replaced whole, by a decimal number.
    Varint,
    /// A number of MessagePack: replaced whole, by a number of its kind.
    Packed,
    /// A protobuf number of fixed width: replaced whole, by a number of the kind it was read as.
    Fixed,
}

/// The bytes that carry a leaf, for the rewriter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target {
    pub layer: LayerId,
    /// In the layer's content; for a JSON string without its quotes.
    pub raw: Span,
    pub spelling: Spelling,
}

/// Letters of the shortest run that [`Leaf::runs`] lists: a digest cut to 12 hex digits.
pub const SHORTEST_RUN: usize = 12;

/// One value that was reached.
pub struct Leaf<'a> {
    pub kind: LeafKind,
    /// The nearest name: header, member, form key, query key, cookie; lower case for headers; empty
    /// where there is none. Elements of an array bear the name of the array, member names that of the object, and
    /// values of a document inside a value, above its first name, that of the value.
    pub name: &'a str,
    /// Decoded: escapes undone. Not always UTF-8.
    pub text: &'a [u8],
    /// The runs of base64 letters in `text` of [`SHORTEST_RUN`] and more: words of nobody's language.
    pub runs: &'a [Range<usize>],
    pub target: Target,
}

/// Bytes of the shortest text of which it is remembered what it holds; shorter ones are looked at as fast as they are looked up.
pub const SHORTEST_KNOWN: usize = 256;

/// The same of those that look like paths, in which nearly always something is found.
pub const SHORTEST_PATH: usize = 12;

/// The same of values of headers, at which more is looked than at a text.
pub const SHORTEST_FIELD: usize = 8;

/// A long string of a document that no other holds, or a path in one, or the value of a header, before anything was done with it.
pub struct Quoted<'a> {
    pub kind: LeafKind,
    /// As [`Leaf::name`].
    pub name: &'a str,
    /// With its escapes.
    pub raw: &'a [u8],
    /// It has any.
    pub escaped: bool,
    pub target: Target,
}

/// Whether it is known what an element comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known {
    No,
    /// It is noted, and nothing in it needs to be handed out. What is in it was decoded at a cost of `spent`.
    Whole {
        spent: usize,
    },
    /// It is noted, but for what its form says: strings go to [`Visitor::recall`], and nothing is looked for in them.
    Form,
}

/// What is known of an element before it is read.
#[derive(Clone, Copy)]
pub struct ElementAt {
    /// What may still be decoded.
    pub left: usize,
    /// Its end is a guess, and right only if all of it is known: otherwise it is asked for again.
    pub guessed: bool,
}

/// Where layers of an element that is known are opened again.
pub trait Reopen {
    /// The layer that `codec` reads from `window` of the decoded text of `leaf`, which comes to `content`.
    fn open(&mut self, content: Bytes, leaf: Target, window: Span, codec: Codec) -> LayerId;
}

/// What was opened while an element was read.
pub struct Inside<'a> {
    /// All layers of the walk, and how many of them there were before it.
    pub layers: &'a [Layer],
    pub before: usize,
    /// Of what may be decoded in one unit.
    pub spent: usize,
}

impl Inside<'_> {
    /// It held no other document.
    pub fn is_empty(&self) -> bool {
        self.layers.len() == self.before
    }
}

/// Where the walk stands.
pub trait Place {
    fn location(&self) -> Location;
    /// The names and indices from the innermost document's root, innermost last: `messages`, `0`, `content`.
    fn pointer(&self) -> &[Segment<'_>];
    /// The decodings from the wire inwards.
    fn depth(&self) -> usize;
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Segment<'a> {
    Name(&'a str),
    Index(u64),
}

/// What inspection does with a walk.
pub trait Visitor {
    fn leaf(&mut self, leaf: &Leaf<'_>, place: &dyn Place);

    /// A value that is a document for certain, before what it holds: it is no leaf itself.
    fn around(&mut self, _value: &Leaf<'_>, _place: &dyn Place) {}

    /// Fills `runs` with [`Leaf::runs`] of `text`, the value at `target` that is handed out next.
    fn runs(&mut self, text: &[u8], _target: Target, runs: &mut Vec<Range<usize>>) {
        super::decode::runs_of(text, runs);
    }

    /// An object in a list of a document that no other holds, as it is spelled at `target` of `within`: a message, a tool. What it
    /// comes to does not depend on what stands before it. Where findings are noted in what it holds, that is opened by `layers`.
    fn element(
        &mut self,
        _within: &[u8],
        _target: Target,
        _at: ElementAt,
        _place: &dyn Place,
        _layers: &mut dyn Reopen,
    ) -> Known {
        Known::No
    }

    /// How long the element may be that begins with `rest`, if that can be told without reading it.
    fn guess_element(&mut self, _rest: &[u8]) -> Option<usize> {
        None
    }

    /// Follows each of them that was read.
    fn element_ended(&mut self, _within: &[u8], _inside: &Inside<'_>) {}

    /// Whether all that `value` comes to is known, and noted by now: then it is not handed out.
    fn recall(&mut self, _value: &Quoted<'_>, _place: &dyn Place) -> bool {
        false
    }

    /// Follows what was not known, once it was handed out: `alone` where it was one leaf and held nothing else.
    fn learn(&mut self, _alone: bool) {}

    /// Bytes that could not be decoded.
    fn unread(&mut self, place: &dyn Place, bytes: &[u8], reason: &'static str);
}

//! The decoders one by one, without the walk that uses them: for fuzzing, property tests and tools that ask what one
//! value says.
//!
//! ```
//! use divulge::engine::codec;
//! use divulge::engine::decode::{Base64, Codec};
//!
//! let spelling = Codec::Base64(Base64 { url: false, padded: true, wrap: None });
//! assert_eq!(codec::decode(&spelling, b"YW5u").as_deref(), Some(&b"ann"[..]));
//! assert_eq!(codec::encode(&spelling, b"YW5u", b"bob").as_deref(), Some(&b"Ym9i"[..]));
//! ```

use super::decode::json::{self, Path, Sink, Text, Token};
use super::decode::place::Names;
use super::decode::{Codec, decode_base64, json_unescape, qoder, undo_bounded, undo_codec};
use super::location::write_name;
use super::rewrite::recode;
use super::rewrite::spell::Script;
use super::visit::{LeafKind, Segment, Spelling};

/// What `coded` says in `codec`; `None` where it cannot be said in it.
pub fn decode(codec: &Codec, coded: &[u8]) -> Option<Vec<u8>> {
    match (Script::of_codec(codec), codec) {
        (Some(Script::Hex { .. }), _) if !coded.len().is_multiple_of(2) || !coded.iter().all(u8::is_ascii_hexdigit) => {
            None
        }
        (Some(script), _) => Some(script.decode(coded).into_owned()),
        (None, Codec::Base64(spelling)) => decode_base64(coded, *spelling),
        (None, Codec::Reversed(spelling)) => {
            let forwards: Vec<u8> = coded.iter().rev().copied().collect();
            decode_base64(&forwards, *spelling)
        }
        (None, Codec::Qoder { exchanged }) => qoder::decode(coded, *exchanged),
        (None, _) => undo_codec(codec, coded),
    }
}

/// `content` in `codec`, in the manner of `coded`: its compression level, its headers, what follows it.
///
/// Text and base64 give back `coded` for its own content, unused bits of a last group aside (RFC 4648, section 3.5),
/// and so do gzip and zstd, whose members are kept. Other compression gives bytes that decode to `content`.
pub fn encode(codec: &Codec, coded: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    match Script::of_codec(codec) {
        Some(script) => {
            let mut out = Vec::new();
            script.encode(content, &mut out);
            Some(out)
        }
        None => recode::encode(codec, coded, &[], content),
    }
}

/// The decoded text of a leaf that is spelled `raw`.
pub fn text(spelling: Spelling, raw: &[u8]) -> Vec<u8> {
    Script::of(spelling).decode(raw).into_owned()
}

/// What compressed bytes gave within bounds.
#[derive(Debug)]
pub struct Decompressed {
    pub content: Vec<u8>,
    pub codec: Codec,
    /// How much of the input was read.
    pub consumed: usize,
    /// Why it ended before its end: `malformed`, `limit`, `ratio`.
    pub stop: Option<&'static str>,
}

/// Undoes `gzip`, `deflate`, `zlib`, `br` or `zstd`, up to `bytes` of output and `ratio` times the input past the first
/// MiB.
pub fn decompress(coding: &str, coded: &[u8], bytes: usize, ratio: usize) -> Option<Decompressed> {
    let undone = undo_bounded(coding, coded, bytes, ratio)?;
    Some(Decompressed { content: undone.content, codec: undone.codec, consumed: undone.consumed, stop: undone.stop })
}

/// One value of a JSON text: its pointer as in locations, what it is, and its decoded text.
pub type JsonValue = (String, LeafKind, Vec<u8>);

/// The values of the JSON text that `bytes` start with, as far as it goes: to its end, or to where it breaks.
pub fn json(bytes: &[u8], depth: usize) -> (Vec<JsonValue>, Result<usize, usize>) {
    let names = Names::default();
    let mut values = Values { bytes, names: &names, found: Vec::new() };
    let end = json::read(bytes, 0, depth, &mut Path::default(), &mut values);
    (values.found, end.map_err(|end| end.at))
}

struct Values<'d> {
    bytes: &'d [u8],
    names: &'d Names,
    found: Vec<JsonValue>,
}

impl<'d> Values<'d> {
    fn put(&mut self, path: &Path<'d>, kind: LeafKind, text: Vec<u8>) {
        let mut pointer = String::new();
        for segment in &path.segments {
            pointer.push('/');
            // Writing to a string cannot fail.
            let _ = match segment {
                Segment::Name(name) => write_name(name, &mut pointer),
                Segment::Index(index) => write_name(&index.to_string(), &mut pointer),
            };
        }
        self.found.push((pointer, kind, text));
    }
}

impl<'d> Sink<'d> for Values<'d> {
    fn name(&mut self, name: Text) -> &'d str {
        json::name(self.bytes, name, self.names, &mut Vec::new())
    }

    fn named(&mut self, _: &Path<'d>, _: Text) {}

    fn string(&mut self, path: &Path<'d>, text: Text) {
        let mut decoded = Vec::new();
        json_unescape(self.bytes.get(text.start..text.end).unwrap_or_default(), &mut decoded);
        self.put(path, LeafKind::JsonString, decoded);
    }

    fn token(&mut self, path: &Path<'d>, start: usize, end: usize, token: Token) {
        let kind = match token {
            Token::Number => LeafKind::JsonNumber,
            Token::Bool => LeafKind::JsonBool,
            Token::Null => LeafKind::JsonNull,
        };
        self.put(path, kind, self.bytes.get(start..end).unwrap_or_default().to_vec());
    }

    fn too_deep(&mut self, _: &Path<'d>, _: usize, _: usize) {}

    fn cut(&mut self, _: &Path<'d>, _: Text) {}
}

//! Text inside text: which bytes spell which, and how new text is spelled.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use super::RewriteError;
use super::splice::Splice;
use crate::engine::decode::{Codec, html, json_escape, json_unescape, percent, quoted_printable};
use crate::engine::visit::Spelling;

/// A way to write text so that every character of it has its own bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Script {
    Raw,
    Json,
    Percent { form: bool },
    Html,
    QuotedPrintable,
    Hex { upper: bool },
}

impl Script {
    pub fn of(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Raw | Spelling::JsonToken | Spelling::Varint | Spelling::Fixed | Spelling::Packed => Script::Raw,
            Spelling::JsonString => Script::Json,
            Spelling::Form => Script::Percent { form: true },
            Spelling::Percent => Script::Percent { form: false },
        }
    }

    /// None where a changed byte changes its neighbours.
    pub fn of_codec(codec: &Codec) -> Option<Self> {
        match codec {
            Codec::Identity => Some(Script::Raw),
            Codec::Percent => Some(Script::Percent { form: false }),
            Codec::Html => Some(Script::Html),
            Codec::QuotedPrintable => Some(Script::QuotedPrintable),
            Codec::Hex { upper } => Some(Script::Hex { upper: *upper }),
            _ => None,
        }
    }

    pub fn decode(self, raw: &[u8]) -> Cow<'_, [u8]> {
        let mut out = Vec::new();
        match self {
            Script::Raw => return raw.into(),
            Script::Json if memchr(b'\\', raw).is_none() => return raw.into(),
            Script::Json => json_unescape(raw, &mut out),
            Script::Percent { form } => percent::decode(raw, form, &mut out),
            Script::Html => html::decode(raw, &mut out),
            Script::QuotedPrintable => quoted_printable::decode(raw, &mut out),
            Script::Hex { .. } => out.extend(raw.chunks_exact(2).map(|pair| hex(pair[0]) << 4 | hex(pair[1]))),
        }
        out.into()
    }

    /// `splices` of the decoded text (in order) as splices of `raw`.
    pub fn spell(self, raw: &[u8], splices: &[Splice]) -> Result<Vec<Splice>, RewriteError> {
        let mut cursor = Cursor { script: self, raw, at: 0, text: 0 };
        let mut out = Vec::with_capacity(splices.len());
        for splice in splices {
            let misplaced = || RewriteError::Misplaced { edit: splice.edits.first().copied().unwrap_or_default() };
            let Range { start, end } = splice.range;
            if start > end {
                return Err(misplaced());
            }
            let start = cursor.seek(start).ok_or_else(misplaced)?;
            let end = cursor.seek(end).ok_or_else(misplaced)?;
            let mut bytes = Vec::with_capacity(splice.bytes.len());
            self.encode(&splice.bytes, &mut bytes);
            out.push(Splice { leaf: start..end, range: start..end, bytes, edits: splice.edits.clone() });
        }
        Ok(out)
    }

    /// The raw bytes that spell `window` of the decoded text.
    pub fn locate(self, raw: &[u8], window: Range<usize>) -> Option<Range<usize>> {
        let mut cursor = Cursor { script: self, raw, at: 0, text: 0 };
        let start = cursor.seek(window.start)?;
        (window.start <= window.end).then_some(start..cursor.seek(window.end)?)
    }

    pub fn encode(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Script::Raw => out.extend_from_slice(text),
            Script::Json => json_quote(text, out),
            Script::Percent { form } => percent::encode(text, form, out),
            Script::Html => html::encode(text, out),
            Script::QuotedPrintable => quoted_printable::encode(text, out),
            Script::Hex { upper } => {
                let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
                out.extend(
                    text.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]),
                );
            }
        }
    }
}

/// Escapes what has to be (RFC 8259, section 7) and nothing else.
fn json_quote(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..=0x1f => out.extend(format!("\\u{byte:04x}").into_bytes()),
            byte => out.push(byte),
        }
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or_default() as u8
}

/// Finds the raw place of decoded positions, going forward only.
struct Cursor<'a> {
    script: Script,
    raw: &'a [u8],
    at: usize,
    text: usize,
}

impl Cursor<'_> {
    /// The raw position at which decoded position `goal` begins; none inside a character's bytes or past the end.
    fn seek(&mut self, goal: usize) -> Option<usize> {
        let mark = match self.script {
            Script::Raw => {
                (self.at, self.text) = (goal, goal);
                return (goal <= self.raw.len()).then_some(goal);
            }
            Script::Hex { .. } => return (goal * 2 <= self.raw.len()).then_some(goal * 2),
            Script::Json => b'\\',
            Script::Percent { .. } => b'%',
            Script::Html => b'&',
            Script::QuotedPrintable => b'=',
        };
        while self.text < goal {
            let rest = &self.raw[self.at..];
            let plain = memchr(mark, rest).unwrap_or(rest.len()).min(goal - self.text);
            if plain > 0 {
                self.at += plain;
                self.text += plain;
                continue;
            }
            if rest.is_empty() {
                return None;
            }
            let (length, width) = match self.script {
                Script::Json => {
                    let (length, unit) = json_escape(rest);
                    (length, unit.width(length))
                }
                Script::Html => html::unit(rest),
                Script::QuotedPrintable => {
                    let (length, byte) = quoted_printable::unit(rest);
                    (length, usize::from(byte.is_some()))
                }
                _ => (percent::unit(rest, false).0, 1),
            };
            self.at += length;
            self.text += width;
        }
        (self.text == goal).then_some(self.at)
    }
}

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

/// Raw places of decoded positions, in whatever order they are asked for: some on the way are kept, so that none is gone to
/// from the beginning again.
#[derive(Default)]
pub(in crate::engine) struct Marks(Vec<(usize, usize)>);

impl Marks {
    /// Decoded bytes between two of them.
    const STRIDE: usize = 256;

    /// The raw bytes that spell `window` of the decoded text of `raw`, always the same one.
    pub fn locate(&mut self, script: Script, raw: &[u8], window: Range<usize>) -> Option<Range<usize>> {
        if matches!(script, Script::Raw | Script::Hex { .. }) {
            return script.locate(raw, window);
        }
        let start = self.seek(script, raw, window.start)?;
        (window.start <= window.end).then_some(start..self.seek(script, raw, window.end)?)
    }

    fn seek(&mut self, script: Script, raw: &[u8], goal: usize) -> Option<usize> {
        let before = self.0.partition_point(|(text, _)| *text <= goal);
        let (text, at) = before.checked_sub(1).and_then(|last| self.0.get(last)).copied().unwrap_or_default();
        let mut cursor = Cursor { script, raw, at, text };
        if before == self.0.len() {
            while cursor.text + Self::STRIDE <= goal {
                let next = cursor.text + Self::STRIDE;
                cursor.run(next);
                // The end, or the middle of a character.
                if cursor.text < next || cursor.text > goal {
                    return None;
                }
                self.0.push((cursor.text, cursor.at));
            }
        }
        cursor.seek(goal)
    }
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
        match self.script {
            Script::Raw => {
                (self.at, self.text) = (goal, goal);
                return (goal <= self.raw.len()).then_some(goal);
            }
            Script::Hex { .. } => return (goal * 2 <= self.raw.len()).then_some(goal * 2),
            _ => self.run(goal),
        }
        (self.text == goal).then_some(self.at)
    }

    /// Goes on to decoded position `goal`: to the next one behind it where a character begins, or to the end.
    fn run(&mut self, goal: usize) {
        let mark = match self.script {
            Script::Raw | Script::Hex { .. } => return,
            Script::Json => b'\\',
            Script::Percent { .. } => b'%',
            Script::Html => b'&',
            Script::QuotedPrintable => b'=',
        };
        while self.text < goal {
            #[cfg(test)]
            tests::STEPS.set(tests::STEPS.get() + 1);
            let rest = &self.raw[self.at..];
            if rest.is_empty() {
                return;
            }
            // No further than the goal: what lies behind it would be gone through for every position.
            let near = rest.len().min(goal - self.text);
            let plain = memchr(mark, &rest[..near]).unwrap_or(near);
            if plain > 0 {
                self.at += plain;
                self.text += plain;
                continue;
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        /// Runs of plain text and escapes that were gone over.
        pub(super) static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// Steps that it takes to find each of `count` folders, one after the other, in the text that they make.
    fn steps(count: usize) -> usize {
        let folder = r"C:\\Users\\ann ";
        let length = Script::Json.decode(folder.as_bytes()).len();
        let raw = folder.repeat(count);
        let mut marks = Marks::default();
        STEPS.set(0);
        for number in 0..count {
            let found = marks.locate(Script::Json, raw.as_bytes(), number * length..(number + 1) * length - 1);
            assert_eq!(found, Some(number * folder.len()..(number + 1) * folder.len() - 1));
        }
        STEPS.get()
    }

    #[test]
    fn four_times_the_text_takes_four_times_the_steps() {
        let (few, many) = (steps(2_000), steps(8_000));
        assert!(many < few * 5, "{few} and {many} steps");
    }

    #[test]
    fn places_are_the_same_in_whatever_order_they_are_asked_for() {
        let raw = r"C:\\Users\\ann \u00e9\n plain text between ".repeat(60);
        let raw = raw.as_bytes();
        let text = Script::Json.decode(raw);
        for step in [1, 7, 300] {
            let mut marks = Marks::default();
            let starts: Vec<usize> = (0..text.len() + 2).step_by(step).collect();
            for start in starts.iter().copied().chain(starts.iter().rev().copied()) {
                let window = start..start + 5;
                assert_eq!(
                    marks.locate(Script::Json, raw, window.clone()),
                    Script::Json.locate(raw, window),
                    "{start}"
                );
            }
            // One mark in every stretch, each near the next.
            assert!(marks.0.len() + 2 >= text.len() / Marks::STRIDE, "{} marks", marks.0.len());
            assert!(marks.0.windows(2).all(|pair| pair[1].0 - pair[0].0 <= Marks::STRIDE + 4));
        }
    }
}

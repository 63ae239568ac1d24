//! Answers of a gateway that puts the model's documents into documents of its own, as strings.
//!
//! ```text
//! data:{"headers":{},"body":"{\"choices\":[…]}","statusCodeValue":200}      Qoder
//! ```
//!
//! The document inside is restored as any other; what changes in it is spelled again as the string around it is, and all else
//! stays as it came.

use std::ops::Range;

use super::dom::{Dom, Sort};
use crate::engine::decode::{JsonUnit, json_escape};

/// The name of the string.
const MEMBER: &str = "body";

/// One document with another in it.
#[derive(Default)]
pub(super) struct Envelope {
    dom: Dom,
    /// The document inside.
    pub text: Vec<u8>,
    /// Where each of its bytes is spelled, and where the last one ends: in the data around.
    places: Vec<u32>,
    /// No character beyond ASCII is spelled as it is.
    ascii: bool,
}

impl Envelope {
    /// Where the string stands in `data`; none where there is none.
    pub fn open(&mut self, data: &[u8]) -> Option<Range<usize>> {
        self.text.clear();
        self.places.clear();
        if u32::try_from(data.len()).is_err() || !self.dom.read(data) {
            return None;
        }
        let body = self.dom.get(data, 0, MEMBER)?;
        let node = self.dom.nodes.get(body).filter(|node| node.sort == Sort::String)?;
        let inside = node.start..node.end;
        self.undo(data, inside.clone());
        Some(inside)
    }

    fn undo(&mut self, data: &[u8], inside: Range<usize>) {
        let raw = &data[inside.clone()];
        let (mut at, mut escaped, mut plain) = (0, false, false);
        while at < raw.len() {
            let mut bytes = [raw[at], 0, 0, 0];
            let (mut length, mut width) = (1, 1);
            if raw[at] == b'\\' {
                let (spelled, unit) = json_escape(&raw[at..]);
                match unit {
                    JsonUnit::Byte(byte) => (length, bytes[0]) = (spelled, byte),
                    JsonUnit::Char(c) => {
                        escaped |= !c.is_ascii();
                        (length, width) = (spelled, c.encode_utf8(&mut bytes).len());
                    }
                    JsonUnit::Itself => {}
                }
            }
            plain |= !raw[at].is_ascii();
            self.text.extend_from_slice(&bytes[..width]);
            self.places.extend(std::iter::repeat_n((inside.start + at) as u32, width));
            at += length;
        }
        self.places.push(inside.end as u32);
        self.ascii = escaped && !plain;
    }

    /// The place around of a place inside.
    pub fn place(&self, inside: usize) -> usize {
        self.places.get(inside).or(self.places.last()).map_or(0, |place| *place as usize)
    }

    /// Spells `text` as the string does.
    pub fn spell(&self, text: &[u8], out: &mut Vec<u8>) {
        for part in String::from_utf8_lossy(text).chars() {
            match part {
                '"' | '\\' => out.extend([b'\\', part as u8]),
                '\n' => out.extend(b"\\n"),
                '\r' => out.extend(b"\\r"),
                '\t' => out.extend(b"\\t"),
                c if c < ' ' || self.ascii && !c.is_ascii() => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.extend(format!("\\u{unit:04x}").into_bytes());
                    }
                }
                c => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }
}

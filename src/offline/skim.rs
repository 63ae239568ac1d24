//! Reads a JSON document as it streams by and keeps only the members named in [`WANTED`] of its outermost object.
//!
//! A request of an assistant is megabytes of conversation; an answer needs the model's name and a few
//! switches. So nothing else is held: memory stays flat whatever the size. Whether the document is JSON
//! (RFC 8259) is checked on the way, since a provider refuses one that is not.

use std::io;

use serde_json::Value;

/// Members of the outermost object that answers depend on, and the most bytes of their text that are
/// kept: 0 where only their presence counts. A longer one counts as present without a value.
const WANTED: &[(&str, usize)] = &[
    ("contents", 0),
    ("generate", 16),
    ("generateContentRequest", 0),
    ("generationConfig", SCHEMA),
    ("input", 0),
    ("messages", 0),
    ("model", 1024),
    ("output_config", SCHEMA),
    ("output_format", SCHEMA),
    ("request", SCHEMA),
    ("response_format", SCHEMA),
    ("stream", 16),
    ("stream_options", 1024),
    ("text", SCHEMA),
    ("tool_choice", 1024),
    ("tools", SCHEMA),
    ("type", 256),
];

/// Tools and schemas of real clients take some 100 KB.
const SCHEMA: usize = 1024 * 1024;
/// Deeper documents are refused, as servers do.
const DEPTH: usize = 512;

/// The wanted members of one document.
#[derive(Debug, Default)]
pub struct Members(Vec<(&'static str, Option<Value>)>);

impl Members {
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(held, _)| *held == name)
    }

    /// The last one of a repeated name, as servers read it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(held, _)| *held == name)?.1.as_ref()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }
}

/// The document is not JSON.
#[derive(Debug, Eq, PartialEq)]
pub struct NotJson;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Value,
    /// After `[`: a value or `]`.
    ValueOrEnd,
    /// After `{`: a name or `}`.
    NameOrEnd,
    Name,
    Colon,
    CommaOrEnd,
    Text,
    Escape,
    /// So many hex digits still to come.
    Hex(u8),
    Number(Digits),
    /// The rest of `true`, `false` or `null`.
    Literal(&'static [u8]),
    Done,
    Broken,
}

/// How far a number has come (RFC 8259, 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Digits {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Digits {
    fn next(self, byte: u8) -> Option<Self> {
        use Digits::{E, Exponent, Fraction, Minus, Point, Sign, Whole, Zero};
        Some(match (self, byte) {
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') | (Whole, b'0'..=b'9') => Whole,
            (Zero | Whole, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Whole | Fraction, b'e' | b'E') => E,
            (E, b'+' | b'-') => Sign,
            (E | Sign | Exponent, b'0'..=b'9') => Exponent,
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Exponent)
    }
}

/// The reader. Feed it with [`Skim::push`] or as [`io::Write`], then ask [`Skim::finish`].
pub struct Skim {
    state: State,
    /// The open containers, outermost first; true for objects.
    open: Vec<bool>,
    /// The text being read is a member name.
    naming: bool,
    /// The member name of the outermost object, as far as it can be a wanted one.
    name: Vec<u8>,
    /// The wanted member whose value is under way, with its limit.
    keeping: Option<(&'static str, usize)>,
    kept: Vec<u8>,
    members: Members,
    bytes: u64,
}

impl Default for Skim {
    fn default() -> Self {
        Self {
            state: State::Value,
            open: Vec::new(),
            naming: false,
            name: Vec::new(),
            keeping: None,
            kept: Vec::new(),
            members: Members::default(),
            bytes: 0,
        }
    }
}

impl Skim {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        while let Some((&first, rest)) = bytes.split_first() {
            if self.state == State::Broken {
                return;
            }
            // Long texts are nearly all of a request: pass over them at once.
            if self.state == State::Text && !matches!(first, b'"' | b'\\') {
                let plain = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                let (text, after) = bytes.split_at(plain);
                self.text(text);
                bytes = after;
                continue;
            }
            self.step(first);
            bytes = rest;
        }
    }

    pub fn finish(mut self) -> Result<Members, NotJson> {
        if let State::Number(digits) = self.state {
            // Inside an array or an object it is not all there was to come.
            self.state = if digits.may_end() && self.open.is_empty() { State::Done } else { State::Broken };
        }
        if self.state == State::Done { Ok(self.members) } else { Err(NotJson) }
    }

    /// Plain bytes inside a text.
    fn text(&mut self, text: &[u8]) {
        if self.naming {
            if self.open.len() == 1 && self.name.len() + text.len() <= 64 {
                self.name.extend_from_slice(text);
            } else {
                // Too long to be a wanted one; a NUL keeps it from ever matching.
                self.name.push(0);
                self.name.truncate(64);
            }
        }
        self.keep(text);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some((_, limit)) = self.keeping
            && self.kept.len() <= limit
        {
            self.kept.extend_from_slice(bytes);
        }
    }

    fn step(&mut self, byte: u8) {
        let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Value | State::ValueOrEnd => match byte {
                _ if space => {}
                b']' if self.state == State::ValueOrEnd => self.close(false, byte),
                _ => self.begin(byte),
            },
            State::NameOrEnd | State::Name => match byte {
                _ if space => {}
                b'"' => {
                    self.naming = true;
                    self.name.clear();
                    self.keep(b"\"");
                    self.state = State::Text;
                }
                b'}' if self.state == State::NameOrEnd => self.close(true, byte),
                _ => self.state = State::Broken,
            },
            State::Colon => match byte {
                _ if space => {}
                b':' => {
                    self.keep(b":");
                    self.named();
                    self.state = State::Value;
                }
                _ => self.state = State::Broken,
            },
            State::CommaOrEnd => match byte {
                _ if space => {}
                b',' => {
                    self.keep(b",");
                    self.state = if self.open.last() == Some(&true) { State::Name } else { State::Value };
                }
                b'}' => self.close(true, byte),
                b']' => self.close(false, byte),
                _ => self.state = State::Broken,
            },
            State::Text => {
                self.keep(&[byte]);
                if byte == b'\\' {
                    self.state = State::Escape;
                } else if self.naming {
                    self.naming = false;
                    self.state = State::Colon;
                } else {
                    self.ended();
                }
            }
            State::Escape => {
                // An escaped name is never one of the wanted, which need no escapes.
                self.text(&[byte]);
                if self.naming {
                    self.name.push(0);
                }
                self.state = match byte {
                    b'u' => State::Hex(4),
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text,
                    _ => State::Broken,
                };
            }
            State::Hex(left) => {
                self.keep(&[byte]);
                self.state = match (byte.is_ascii_hexdigit(), left) {
                    (true, 1) => State::Text,
                    (true, left) => State::Hex(left - 1),
                    (false, _) => State::Broken,
                };
            }
            State::Number(digits) => match digits.next(byte) {
                Some(next) => {
                    self.keep(&[byte]);
                    self.state = State::Number(next);
                }
                None if digits.may_end() => {
                    self.ended();
                    self.step(byte);
                }
                None => self.state = State::Broken,
            },
            State::Literal(rest) => match rest.split_first() {
                Some((expected, rest)) if *expected == byte => {
                    self.keep(&[byte]);
                    self.state = State::Literal(rest);
                    if rest.is_empty() {
                        self.ended();
                    }
                }
                _ => self.state = State::Broken,
            },
            State::Done if space => {}
            State::Done | State::Broken => self.state = State::Broken,
        }
    }

    fn begin(&mut self, byte: u8) {
        self.keep(&[byte]);
        self.state = match byte {
            b'{' => self.enter(true),
            b'[' => self.enter(false),
            b'"' => State::Text,
            b'-' => State::Number(Digits::Minus),
            b'0' => State::Number(Digits::Zero),
            b'1'..=b'9' => State::Number(Digits::Whole),
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            b'n' => State::Literal(b"ull"),
            _ => State::Broken,
        };
    }

    fn enter(&mut self, object: bool) -> State {
        if self.open.len() == DEPTH {
            return State::Broken;
        }
        self.open.push(object);
        if object { State::NameOrEnd } else { State::ValueOrEnd }
    }

    fn close(&mut self, object: bool, byte: u8) {
        if self.open.pop() != Some(object) {
            self.state = State::Broken;
            return;
        }
        self.keep(&[byte]);
        self.ended();
    }

    /// A member name of the outermost object has been read: is its value wanted?
    fn named(&mut self) {
        if self.open.len() != 1 {
            return;
        }
        self.kept.clear();
        self.keeping = WANTED.iter().copied().find(|(name, _)| name.as_bytes() == self.name);
    }

    /// A value has ended.
    fn ended(&mut self) {
        self.state = if self.open.is_empty() { State::Done } else { State::CommaOrEnd };
        if self.open.len() == 1
            && let Some((name, limit)) = self.keeping.take()
        {
            let value = if self.kept.len() <= limit { serde_json::from_slice(&self.kept).ok() } else { None };
            self.members.0.push((name, value));
        }
    }
}

/// Decompressors write what they undo straight into the reader.
impl io::Write for Skim {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skim(document: &[u8], piece: usize) -> Result<Members, NotJson> {
        let mut skim = Skim::default();
        document.chunks(piece).for_each(|bytes| skim.push(bytes));
        skim.finish()
    }

    #[test]
    fn wanted_members_are_kept_however_the_bytes_are_cut() {
        let document = br#" {"messages":[{"model":"not this","text":"\"}"}], "model" : "m-\u0031","stream":true,
            "tools":[{"name":"t","schema":{"enum":["a\\",1.5e-3,null]}}],"mod\u0065l2":{},"extra":-0}"#;
        for piece in 1..document.len() {
            let members = skim(document, piece).unwrap();
            assert_eq!(members.text("model"), Some("m-1"), "pieces of {piece}");
            assert!(members.is_true("stream") && members.has("messages") && !members.has("input"));
            assert_eq!(members.get("tools").unwrap()[0]["schema"]["enum"][1], 1.5e-3);
            assert!(members.get("messages").is_none(), "only presence is kept");
        }
    }

    #[test]
    fn the_last_of_a_repeated_member_counts() {
        assert_eq!(skim(br#"{"model":"a","model":"b"}"#, 3).unwrap().text("model"), Some("b"));
    }

    #[test]
    fn an_oversized_member_is_present_without_a_value() {
        let members = skim(format!(r#"{{"model":"{}","stream":true}}"#, "m".repeat(2000)).as_bytes(), 64).unwrap();
        assert!(members.has("model") && members.get("model").is_none() && members.is_true("stream"));
    }

    #[test]
    fn what_is_not_json_is_told() {
        let deep = "[".repeat(DEPTH + 1) + &"]".repeat(DEPTH + 1);
        for document in [
            "",
            " ",
            "{",
            "{]",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            "-",
            "1e",
            "tru",
            "truex",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"open",
            "{} {}",
            "[1 2]",
            "[0",
            "{\"a\":1",
            "nul",
            &deep,
        ] {
            assert!(skim(document.as_bytes(), 2).is_err(), "{document:.40}");
        }
    }

    proptest! {
        #[test]
        fn skimming_agrees_with_a_json_parser(document in r#"[\[\]{}:, ntrue\\"0-9.eE+-]{0,24}"#, piece in 1_usize..8) {
            let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&document).is_ok();
            prop_assert_eq!(skim(document.as_bytes(), piece).is_ok(), parsed, "{}", document);
        }
    }
}

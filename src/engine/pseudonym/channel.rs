//! One text that comes in pieces of JSON strings: pseudonyms in it become real values.
//!
//! ```text
//! "so /home/zo" | "vakemu/a"   ->   "so /home/" | "ann/a"
//! ```
//!
//! What may still become a pseudonym is kept as it is spelled and leaves as it is spelled, should it be none.

use std::ops::{AddAssign, Range};

use super::arguments::{Arguments, Step};
use super::automaton::{ROOT, State};
use super::guard::{Crossing, Guard};
use super::table::Table;
use crate::engine::decode::{JsonUnit, json_escape};

/// What the text is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Text,
    /// A string among the arguments of a tool.
    Tool,
    /// Arguments of a tool, themselves JSON.
    Arguments,
}

/// What happened in a text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub restored: u64,
    /// Left as they are, because the guard says so.
    pub withheld: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.restored += more.restored;
        self.withheld += more.withheld;
    }
}

/// How a JSON text spells what need not be escaped.
#[derive(Clone, Copy, Default)]
struct Style {
    ascii: bool,
    slash: bool,
}

/// Where an escape of the inner JSON stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Inner {
    Plain,
    Slash,
    Hex { digits: u8, value: u16 },
}

/// Longest part of a word that the guard is shown, bytes.
const WORD: usize = 512;
/// Of a string; once it is longer its older half goes.
const STRING: usize = 4096;
/// Of a command whose end is waited for; a longer one is taken for whole.
const COMMAND: usize = 64 << 10;

pub(super) struct Channel {
    form: Form,
    state: State,
    /// What is held back: as spelled, as text, and how many spelled bytes each byte of the text has.
    raw: Vec<u8>,
    text: Vec<u8>,
    widths: Vec<u8>,
    /// The spelled bytes of an unfinished escape of the inner JSON, at the end of `raw`.
    pending: usize,
    inner: Inner,
    /// The `\u` of the escape that `raw` begins with is gone already.
    headless: bool,
    /// The word that the text is in, from its beginning; only of tools.
    word: Vec<u8>,
    /// The string of the arguments so far; only of tools.
    string: Vec<u8>,
    style: Style,
    inner_style: Style,
    tool: String,
    /// The argument that the text is.
    key: String,
    arguments: Arguments,
    /// What follows the text in its argument; of one that is whole.
    beyond: String,
    /// What goes out when it is known what becomes of the values in it, and the places of these.
    late: Vec<u8>,
    undecided: Vec<Undecided>,
}

/// A pseudonym in a command that is not at its end.
struct Undecided {
    /// Where it stands in what goes out late.
    place: Range<usize>,
    /// What would stand there.
    real: Vec<u8>,
    /// Of the table.
    pattern: usize,
    word: String,
    /// Where it ends in the argument.
    end: usize,
    bytes: usize,
}

impl Channel {
    pub fn new(form: Form) -> Self {
        Self {
            form,
            state: ROOT,
            raw: Vec::new(),
            text: Vec::new(),
            widths: Vec::new(),
            pending: 0,
            inner: Inner::Plain,
            headless: false,
            word: Vec::new(),
            string: Vec::new(),
            style: Style::default(),
            inner_style: Style::default(),
            tool: String::new(),
            key: String::new(),
            arguments: Arguments::default(),
            beyond: String::new(),
            late: Vec::new(),
            undecided: Vec::new(),
        }
    }

    /// Whose arguments they are.
    pub fn of_tool(&mut self, tool: &str) {
        tool.clone_into(&mut self.tool);
    }

    /// The argument that this text is, or is a part of, and what stands in it around the text.
    pub fn of_argument(&mut self, key: &str, before: &str, beyond: String) {
        key.clone_into(&mut self.key);
        self.string.extend_from_slice(before.as_bytes());
        self.beyond = beyond;
    }

    /// Begins another text.
    pub fn reset(&mut self, form: Form) {
        self.form = form;
        self.state = ROOT;
        self.raw.clear();
        self.text.clear();
        self.widths.clear();
        self.word.clear();
        self.string.clear();
        (self.pending, self.inner, self.headless) = (0, Inner::Plain, false);
        (self.style, self.inner_style) = (Style::default(), Style::default());
        self.tool.clear();
        self.key.clear();
        self.arguments = Arguments::default();
        self.beyond.clear();
        self.late.clear();
        self.undecided.clear();
    }

    pub fn form(&self) -> Form {
        self.form
    }

    /// How much is held back, as spelled.
    pub fn held(&self) -> usize {
        self.late.len() + self.raw.len()
    }

    /// Takes the next piece, a JSON string without its quotes, and writes what stands in its place.
    pub fn push(&mut self, raw: &[u8], table: &Table, guard: &Guard, out: &mut Vec<u8>) -> Counts {
        if self.form == Form::Text {
            return self.take(raw, table, guard, out);
        }
        let mut late = std::mem::take(&mut self.late);
        let mut counts = self.take(raw, table, guard, &mut late);
        if self.string.len() > COMMAND {
            self.decide(table, guard, &mut late, &mut counts);
        }
        let decided = self.undecided.first().map_or(late.len(), |first| first.place.start);
        out.extend(late.drain(..decided));
        for undecided in &mut self.undecided {
            undecided.place = undecided.place.start - decided..undecided.place.end - decided;
        }
        self.late = late;
        counts
    }

    fn take(&mut self, raw: &[u8], table: &Table, guard: &Guard, out: &mut Vec<u8>) -> Counts {
        let mut counts = Counts::default();
        let mut at = 0;
        while at < raw.len() {
            if self.form == Form::Text && self.state == ROOT {
                let plain = raw[at..].iter().position(|&byte| byte == b'\\' || table.automaton.starts(byte));
                let end = plain.map_or(raw.len(), |plain| at + plain);
                out.extend_from_slice(&raw[at..end]);
                at = end;
                if at == raw.len() {
                    break;
                }
            }
            let mut bytes = [raw[at], 0, 0, 0];
            let (mut length, mut width) = (1, 1);
            if raw[at] == b'\\' {
                let (spelled, unit) = json_escape(&raw[at..]);
                self.see(&raw[at..at + spelled], unit);
                match unit {
                    JsonUnit::Byte(byte) => (length, bytes[0]) = (spelled, byte),
                    JsonUnit::Char(c) => (length, width) = (spelled, c.encode_utf8(&mut bytes).len()),
                    // Stands for itself, byte by byte.
                    JsonUnit::Itself => {}
                }
            } else if !raw[at].is_ascii() {
                self.style.ascii = false;
                self.inner_style.ascii = false;
            }
            let spelled = &raw[at..at + length];
            at += length;
            for (index, &byte) in bytes[..width].iter().enumerate() {
                let spelled = if index == 0 { spelled } else { &[] };
                match self.form {
                    Form::Arguments => self.inner(byte, spelled, table, guard, out, &mut counts),
                    form => {
                        if form == Form::Tool {
                            self.note(byte);
                        }
                        self.raw.extend_from_slice(spelled);
                        self.step(byte, spelled.len(), table, guard, out, &mut counts);
                    }
                }
            }
        }
        counts
    }

    /// The text has ended: what is held back is no pseudonym, and commands are whole.
    pub fn finish(&mut self, table: &Table, guard: &Guard, out: &mut Vec<u8>) -> Counts {
        let mut counts = Counts::default();
        let mut late = std::mem::take(&mut self.late);
        self.decide(table, guard, &mut late, &mut counts);
        out.append(&mut late);
        self.flush(out);
        counts
    }

    /// The argument is whole: values go in unless the guard says no now.
    fn decide(&mut self, table: &Table, guard: &Guard, late: &mut Vec<u8>, counts: &mut Counts) {
        let string = String::from_utf8_lossy(&self.string).into_owned();
        // From the end, so that places before stay.
        for undecided in std::mem::take(&mut self.undecided).into_iter().rev() {
            let Some((before, rest)) = string.split_at_checked(undecided.end) else { continue };
            let rest = if self.beyond.is_empty() { rest.to_owned() } else { format!("{rest} {}", self.beyond) };
            let crossing = Crossing {
                kind: &table.pairs[undecided.pattern].kind,
                tool: &self.tool,
                key: &self.key,
                word: &undecided.word,
                string: before,
                rest: &rest,
                bytes: undecided.bytes,
            };
            if guard.allows(&crossing) {
                counts.restored += 1;
                late.splice(undecided.place, undecided.real);
            } else {
                counts.withheld += 1;
            }
        }
    }

    /// What is held back is no pseudonym.
    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.raw);
        self.raw.clear();
        self.text.clear();
        self.widths.clear();
        (self.state, self.pending, self.headless) = (ROOT, 0, false);
    }

    fn see(&mut self, spelled: &[u8], unit: JsonUnit) {
        match unit {
            JsonUnit::Char(c) if !c.is_ascii() => self.style.ascii = true,
            JsonUnit::Byte(b'/') if spelled == b"\\/" => self.style.slash = true,
            _ => {}
        }
    }

    /// One byte of text that is JSON itself; `spelled` are already its bytes in the outer JSON.
    fn inner(
        &mut self,
        byte: u8,
        spelled: &[u8],
        table: &Table,
        guard: &Guard,
        out: &mut Vec<u8>,
        counts: &mut Counts,
    ) {
        let whole = match (self.inner, byte) {
            (Inner::Plain, b'\\') => {
                self.inner = Inner::Slash;
                self.pend(spelled, false, out);
                return;
            }
            (Inner::Plain, _) => {
                self.structure(byte, table, guard, out, counts);
                if self.state == ROOT && !table.automaton.starts(byte) {
                    out.extend_from_slice(spelled);
                    return;
                }
                self.raw.extend_from_slice(spelled);
                self.step(byte, spelled.len(), table, guard, out, counts);
                return;
            }
            (Inner::Slash, b'u') => {
                self.inner = Inner::Hex { digits: 0, value: 0 };
                self.pend(spelled, false, out);
                return;
            }
            (Inner::Slash, _) => {
                self.pend(spelled, false, out);
                match byte {
                    b'n' => '\n',
                    b't' => '\t',
                    b'r' => '\r',
                    b'/' => {
                        self.inner_style.slash = true;
                        '/'
                    }
                    b'b' | b'f' => ' ',
                    byte => char::from(byte),
                }
            }
            (Inner::Hex { digits, value }, _) => match char::from(byte).to_digit(16) {
                Some(digit) => {
                    let value = value << 4 | digit as u16;
                    let digits = digits + 1;
                    self.inner = Inner::Hex { digits, value };
                    let shown = self.state == ROOT && self.pending == 0 && digits > 1;
                    let hold = !shown && may_begin(digits, value, table);
                    self.pend(spelled, hold, out);
                    if digits < 4 {
                        return;
                    }
                    char::from_u32(value.into()).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                // No escape after all.
                None => {
                    self.inner = Inner::Plain;
                    self.complete('\0', table, guard, out, counts);
                    return self.inner(byte, spelled, table, guard, out, counts);
                }
            },
        };
        self.inner = Inner::Plain;
        self.complete(whole, table, guard, out, counts);
    }

    /// Spelled bytes of an unfinished escape. They wait only behind others that wait, or if they are `held`.
    fn pend(&mut self, spelled: &[u8], held: bool, out: &mut Vec<u8>) {
        if self.state == ROOT && !held {
            out.extend_from_slice(&self.raw);
            self.raw.clear();
            self.pending = 0;
            out.extend_from_slice(spelled);
        } else {
            self.raw.extend_from_slice(spelled);
            self.pending += spelled.len();
        }
    }

    /// The escape that is pending stands for `c`.
    fn complete(&mut self, c: char, table: &Table, guard: &Guard, out: &mut Vec<u8>, counts: &mut Counts) {
        if !c.is_ascii() {
            self.inner_style.ascii = true;
        }
        let length = std::mem::take(&mut self.pending);
        let headless = self.state == ROOT;
        let mut bytes = [0; 4];
        for (index, byte) in c.encode_utf8(&mut bytes).bytes().enumerate() {
            self.note(byte);
            if headless && length == 0 {
                // Gone already: it begins nothing, since what may begin something was held.
                continue;
            }
            self.step(byte, if index == 0 { length } else { 0 }, table, guard, out, counts);
        }
        if headless && !self.text.is_empty() {
            self.headless = true;
        }
    }

    /// One byte of text; its spelling is at the end of `raw`.
    fn step(&mut self, byte: u8, width: usize, table: &Table, guard: &Guard, out: &mut Vec<u8>, counts: &mut Counts) {
        self.text.push(byte);
        self.widths.push(width.min(255) as u8);
        self.state = table.automaton.next(self.state, byte);
        let drop = self.text.len() - table.automaton.depth(self.state).min(self.text.len());
        if drop > 0 {
            let spelled: usize = self.widths[..drop].iter().map(|&width| usize::from(width)).sum();
            out.extend(self.raw.drain(..spelled.min(self.raw.len())));
            self.text.drain(..drop);
            self.widths.drain(..drop);
            self.headless = false;
        }
        let Some(pattern) = table.automaton.pattern(self.state) else { return };
        let pair = &table.pairs[pattern];
        let tool = self.form != Form::Text;
        let mut waits = false;
        if tool {
            let word = String::from_utf8_lossy(&self.word);
            let string = String::from_utf8_lossy(&self.string);
            let crossing = Crossing {
                kind: &pair.kind,
                tool: &self.tool,
                key: &self.key,
                word: &word,
                string: &string,
                rest: &self.beyond,
                bytes: self.text.len(),
            };
            waits = guard.waits(&crossing);
            // What a command is told is judged when it is whole.
            if !waits && !guard.allows(&crossing) {
                counts.withheld += 1;
                return self.flush(out);
            }
        }
        counts.restored += u64::from(!waits);
        let bytes = self.text.len();
        let real = pair.real_as(&self.text);
        let mut value = Vec::new();
        let (style, inner_style) = (self.style, self.inner_style);
        if self.form == Form::Arguments {
            let mut inner = Vec::new();
            if self.headless {
                // `\u` has left: the first unit of the value goes on from there.
                let mut units = [0; 2];
                let mut chars = real.chars();
                let first = chars.next().map_or(&[][..], |c| &*c.encode_utf16(&mut units));
                for (index, unit) in first.iter().enumerate() {
                    let mark = if index == 0 { "" } else { "\\u" };
                    inner.extend(format!("{mark}{unit:04x}").into_bytes());
                }
                quote(chars.as_str(), inner_style, &mut inner);
            } else {
                quote(&real, inner_style, &mut inner);
            }
            // Quoting never breaks a character.
            quote(&String::from_utf8_lossy(&inner), style, &mut value);
        } else {
            quote(&real, style, &mut value);
        }
        if waits {
            let start = out.len();
            out.extend_from_slice(&self.raw);
            let word = String::from_utf8_lossy(&self.word).into_owned();
            let (place, end) = (start..out.len(), self.string.len());
            self.undecided.push(Undecided { place, real: value, pattern, word, end, bytes });
        } else {
            out.append(&mut value);
        }
        self.raw.clear();
        self.text.clear();
        self.widths.clear();
        (self.state, self.headless) = (ROOT, false);
    }

    /// One byte of the inner JSON that is no part of an escape.
    fn structure(&mut self, byte: u8, table: &Table, guard: &Guard, out: &mut Vec<u8>, counts: &mut Counts) {
        match self.arguments.next(byte) {
            Step::Text => self.note(byte),
            Step::Key => {
                self.key = String::from_utf8_lossy(self.string.trim_ascii()).into_owned();
                self.string.clear();
                self.word.clear();
            }
            Step::Begin | Step::List => {
                self.decide(table, guard, out, counts);
                self.string.clear();
                self.word.clear();
            }
            Step::BeginInList => {
                self.word.clear();
                if !self.string.is_empty() {
                    self.string.push(b' ');
                }
            }
            // The string stays until another begins: it may be a name.
            Step::End => self.decide(table, guard, out, counts),
            // No JSON after all, perhaps.
            Step::Other if byte.is_ascii_alphanumeric() => self.note(byte),
            Step::Other => {}
        }
    }

    fn note(&mut self, byte: u8) {
        if self.undecided.is_empty() && self.string.len() >= STRING {
            self.string.drain(..self.string.len() - STRING / 2);
        }
        self.string.push(byte);
        if byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b'|') {
            self.word.clear();
        } else if self.word.len() < WORD {
            self.word.push(byte);
        }
    }
}

/// Whether a unit of UTF-16 whose first hex `digits` have this `value` may begin a pseudonym.
fn may_begin(digits: u8, value: u16, table: &Table) -> bool {
    let known: Range<u16> = match digits {
        1 => value << 12..(value << 12).saturating_add(0x1000),
        2 => value << 8..(value << 8).saturating_add(0x100),
        3 => value << 4..(value << 4).saturating_add(0x10),
        _ => value..value.saturating_add(1),
    };
    (known.start..known.end.min(0x80)).any(|unit| table.automaton.starts(unit as u8))
}

/// Escapes what must be (RFC 8259, section 7) and what the text around escapes too.
fn quote(text: &str, style: Style, out: &mut Vec<u8>) {
    let mut units = [0; 2];
    for c in text.chars() {
        match c {
            '"' => out.extend(b"\\\""),
            '\\' => out.extend(b"\\\\"),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '/' if style.slash => out.extend(b"\\/"),
            c if c < ' ' || style.ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut units) {
                    out.extend(format!("\\u{unit:04x}").into_bytes());
                }
            }
            c => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
}

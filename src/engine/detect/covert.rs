//! Marks hidden in text, whoever wrote it: characters that nobody sees where no script needs them, and
//! letters of another script that pass for their neighbours.
//!
//! ```text
//! leaf -> the characters beyond ASCII -> runs and words around them -> findings
//! ```
//!
//! Only the certain set: what people, editors and scripts of any language put into ordinary text does not
//! count. A text in ASCII costs one look at its bytes.

pub(super) mod chars;
mod homoglyph;

use std::cell::OnceCell;
use std::ops::Range;

use self::chars::Class;
use super::RawFinding;
use crate::engine::finding::{Detector, Severity};
use crate::engine::location::Step;
use crate::engine::visit::{Leaf, LeafKind, Place};

/// Findings of one leaf; what is marked all over is known by then.
const MOST: usize = 256;
/// Bytes that are no text hold two such characters in a row by chance.
const LONG_RUN: usize = 4;

/// Adds what is hidden in `leaf`.
#[inline]
pub fn inspect(leaf: &Leaf<'_>, place: &dyn Place, found: &mut Vec<RawFinding>) {
    if is_plain(leaf.text) {
        return;
    }
    let marks = marks(leaf.text, leaf.kind == LeafKind::Opaque);
    for mark in marks {
        found.extend(finding(mark, leaf, place));
    }
}

fn finding(mark: Mark, leaf: &Leaf<'_>, place: &dyn Place) -> Option<RawFinding> {
    let text = String::from_utf8_lossy(leaf.text.get(mark.window.clone())?).into_owned();
    let mut location = place.location();
    let window = (mark.window != (0..leaf.text.len())).then_some(mark.window);
    if let Some(window) = &window {
        location.steps.push(Step::Window(window.start as u32, window.end as u32));
    }
    let (value, observed) = match mark.hidden {
        Some(hidden) => (hidden, Some(text)),
        None => (text, None),
    };
    Some(RawFinding {
        kind: mark.kind.into(),
        location,
        detector: Detector::Covert,
        rule: None,
        severity: mark.severity,
        confidence: mark.confidence,
        value: value.into(),
        observed,
        target: leaf.target,
        window,
        action: None,
        restored: None,
    })
}

/// How much a mark can carry, in bits; none for other findings. `text` is the mark as it stands.
///
/// A tag character is one of 128, a variation selector one of 256; of other characters as many kinds count as
/// the run has, at least two: there or not there.
pub fn capacity(kind: &str, text: &str) -> Option<f64> {
    let length = text.chars().count().max(1) as f64;
    let each = match kind {
        "cov.tag" => 7.0,
        "cov.varsel" if length > 1.0 => 8.0,
        "cov.zero_width" | "cov.bidi" | "cov.space" | "cov.ctrl" | "cov.varsel" => {
            let mut kinds: Vec<char> = text.chars().collect();
            kinds.sort_unstable();
            kinds.dedup();
            (kinds.len().max(2) as f64).log2()
        }
        "cov.homoglyph" => 1.0,
        _ => return None,
    };
    Some(length * each)
}

/// One mark in a text.
#[derive(Debug)]
struct Mark {
    kind: &'static str,
    /// In bytes of the text.
    window: Range<usize>,
    /// What it says, where that can be read.
    hidden: Option<String>,
    severity: Severity,
    confidence: f32,
}

/// Whether there is nothing to look at: no character that any mark could begin with.
pub(super) fn is_plain(text: &[u8]) -> bool {
    next_odd(text, 0).is_none()
}

/// The next byte that is odd, from `at` on: many at a time.
fn next_odd(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    // In most scripts beyond Latin the next character is one as well.
    if is_odd(*rest.first()?) {
        return Some(at);
    }
    // All of a block are looked at, without a branch: the compiler takes sixteen in one instruction.
    fn is_there(block: &[u8]) -> bool {
        // Most blocks are ASCII without control characters: that is asked first, as a few signed comparisons.
        block.iter().fold(false, |odd, &byte| odd | ((byte as i8) < 0x20) & (byte != b'\n') | (byte == 0x7f))
            && block.iter().fold(false, |odd, &byte| odd | is_odd(byte))
    }
    let (large, tail) = rest.as_chunks::<64>();
    let from = match large.iter().position(|block| is_there(block)) {
        Some(block) => block * 64,
        None => large.len() * 64 + tail.as_chunks::<16>().0.iter().take_while(|block| !is_there(*block)).count() * 16,
    };
    rest[from..].iter().position(|&byte| is_odd(byte)).map(|found| at + from + found)
}

/// A control character that is neither white space nor the start of a terminal's sequence, or the first byte of a character
/// beyond ASCII that may mean something: not of Latin letters with accents (U+00C0 to U+033F) and of ideographs (U+4000 to
/// U+9FFF), the most of what there is.
#[inline(always)]
fn is_odd(byte: u8) -> bool {
    let control = (byte < 0x20) & (byte != b'\n') & (byte != b'\t') & (byte != b'\r') & (byte != 0x1b) | (byte == 0x7f);
    let first = (byte >= 0xc0) & (byte.wrapping_sub(0xc3) >= 10) & (byte.wrapping_sub(0xe4) >= 6);
    control | first
}

fn marks(bytes: &[u8], loose: bool) -> Vec<Mark> {
    let mut found = Vec::new();
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        Scan { text, offset: 0, loose, facts: About::default(), judged: 0, found: &mut found }.run();
        return found;
    }
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        let mut scan =
            Scan { text: chunk.valid(), offset: at, loose, facts: About::default(), judged: 0, found: &mut found };
        scan.run();
        at += chunk.valid().len() + chunk.invalid().len();
    }
    found
}

/// What the whole text is like, found out when it matters.
#[derive(Default)]
struct About {
    rtl: OnceCell<bool>,
    balanced: OnceCell<bool>,
    cyrillic: OnceCell<bool>,
    greek: OnceCell<usize>,
    terminal: OnceCell<bool>,
}

struct Scan<'t, 'f> {
    text: &'t str,
    /// Of the text in the leaf.
    offset: usize,
    /// The text may be no text at all.
    loose: bool,
    facts: About,
    /// The letters up to here were judged with the word that they are in.
    judged: usize,
    found: &'f mut Vec<Mark>,
}

impl Scan<'_, '_> {
    fn run(&mut self) {
        let mut at = 0;
        while let Some(odd) = next_odd(self.text.as_bytes(), at) {
            at = odd;
            let Some(c) = self.text[at..].chars().next() else { return };
            let end = at + c.len_utf8();
            at = match chars::class(c) {
                Class::Other => end,
                Class::ZeroWidth | Class::DirectionMark | Class::Direction => self.invisible(at),
                Class::Variation => self.variation(at),
                Class::Tag => self.tags(at),
                Class::Space => self.spaces(at),
                Class::Control => {
                    self.control(c, at);
                    end
                }
                Class::LookAlike => self.word(at),
            };
            if self.found.len() >= MOST {
                return;
            }
        }
    }

    fn before(&self, at: usize) -> Option<char> {
        self.text[..at].chars().next_back()
    }

    fn after(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    /// The end of the run that starts at `at`, and how many characters it has.
    fn run_of(&self, at: usize, belongs: impl Fn(char) -> bool) -> (usize, usize) {
        let (mut end, mut count) = (at, 0);
        for c in self.text[at..].chars().take_while(|&c| belongs(c)) {
            end += c.len_utf8();
            count += 1;
        }
        (end, count)
    }

    fn add(&mut self, kind: &'static str, window: Range<usize>, confidence: f32) -> &mut Mark {
        let window = window.start + self.offset..window.end + self.offset;
        let index = self.found.len();
        let severity = if window.len() > 6 { Severity::Medium } else { Severity::Low };
        self.found.push(Mark { kind, window, hidden: None, severity, confidence });
        &mut self.found[index]
    }

    /// Characters without width and direction controls.
    fn invisible(&mut self, at: usize) -> usize {
        let unseen = |c: char| matches!(chars::class(c), Class::ZeroWidth | Class::DirectionMark | Class::Direction);
        let (end, count) = self.run_of(at, unseen);
        let run = &self.text[at..end];
        let (before, after) = (self.before(at), self.after(end));
        if run.chars().all(|c| chars::class(c) != Class::ZeroWidth) {
            if !self.loose {
                self.direction(at, end, before, after);
            }
            return end;
        }
        if self.loose && count < LONG_RUN {
            return end;
        }
        let in_word = before.is_some_and(chars::is_plain_word) && after.is_some_and(chars::is_plain_word);
        let beside = |home: fn(char) -> bool| before.is_some_and(home) || after.is_some_and(home);
        if count > 1 {
            let same = self.after(at).filter(|&first| run.chars().all(|c| c == first));
            let twice = match same {
                // A key pressed twice, a mark of byte order put before another, a break in a long word.
                Some('\u{200b}'..='\u{200d}') if count == 2 => {
                    beside(|c| !chars::is_plain_word(c) && c.is_alphabetic())
                }
                Some('\u{feff}') => at == 0,
                Some('\u{ad}') => count == 2,
                None if count == 2 => self.is_rtl() && beside(chars::is_rtl),
                _ => false,
            };
            if !twice {
                self.add("cov.zero_width", at..end, 0.95);
            }
            return end;
        }
        let Some(mark) = self.after(at) else { return end };
        let misplaced = match mark {
            // It is there to break words.
            '\u{ad}' => false,
            mark if chars::is_stray(mark) => {
                beside(chars::is_plain_word) && !before.into_iter().chain(after).any(|c| chars::is_home(mark, c))
            }
            // Signs of mathematics: `2\u{2062}x`, `sin\u{2061}x`.
            '\u{2061}'..='\u{2064}' => {
                let (before, after) = self.letters_around(at, end);
                let least = if mark == '\u{2061}' { 2 } else { 1 };
                before.min(after) >= least && before + after >= 3
            }
            _ => in_word,
        };
        if misplaced {
            self.add("cov.zero_width", at..end, 0.85);
        }
        end
    }

    /// How many letters stand on both sides of the run, as far as it matters.
    fn letters_around(&self, at: usize, end: usize) -> (usize, usize) {
        let before = self.text[..at].chars().rev().take(4).take_while(|c| c.is_alphabetic()).count();
        (before, self.text[end..].chars().take(4).take_while(|c| c.is_alphabetic()).count())
    }

    fn direction(&mut self, at: usize, end: usize, before: Option<char>, after: Option<char>) {
        let run = &self.text[at..end];
        let ascii = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if run.chars().all(|c| chars::class(c) == Class::DirectionMark) {
            let first = self.after(at);
            let mixed = run.chars().count() > 2 && run.chars().any(|c| Some(c) != first);
            if ascii(before) && ascii(after) || mixed {
                self.add("cov.bidi", at..end, 0.9);
            } else if !self.is_rtl() {
                self.add("cov.bidi", at..end, 0.7);
            }
            return;
        }
        let overrides = run.contains(['\u{202d}', '\u{202e}']);
        if overrides || !self.is_rtl() || !self.is_balanced() {
            let mark = self.add("cov.bidi", at..end, 0.9);
            mark.severity = Severity::Medium;
        }
    }

    fn variation(&mut self, at: usize) -> usize {
        let (end, count) = self.run_of(at, |c| chars::class(c) == Class::Variation);
        let Some(first) = self.after(at) else { return end };
        let (before, after) = (self.before(at), self.after(end));
        if self.loose && count < LONG_RUN {
            return end;
        }
        let in_place = match count {
            1 => chars::takes(before, first, after),
            2 => first == '\u{fe0f}' && before.is_none_or(chars::is_pictured) && self.text[at..end].ends_with(first),
            _ => false,
        };
        if !in_place {
            let hidden = if count > 1 { bytes_of(&self.text[at..end]) } else { None };
            let mark = self.add("cov.varsel", at..end, if count > 2 { 0.98 } else { 0.85 });
            mark.hidden = hidden;
            if count > 2 {
                mark.severity = Severity::High;
            }
        }
        end
    }

    fn tags(&mut self, at: usize) -> usize {
        let (end, count) = self.run_of(at, |c| chars::class(c) == Class::Tag);
        let run = &self.text[at..end];
        // A flag of a part of a country (UTS #51, ED-14a): black flag, three to six letters or digits, end.
        let flag = self.before(at) == Some('\u{1f3f4}') && (2..=7).contains(&count);
        let spelled = |c: char| matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}');
        let whole = run.ends_with('\u{e007f}') || end == self.text.len();
        if flag && whole && run.trim_end_matches('\u{e007f}').chars().all(spelled) || self.loose && count < LONG_RUN {
            return end;
        }
        let plain = |c: char| char::from_u32(u32::from(c) - 0xe0000).filter(|c| matches!(c, ' '..='~' | '\n'));
        let hidden: String = run.chars().filter_map(plain).collect();
        let mark = self.add("cov.tag", at..end, 0.98);
        mark.severity = Severity::High;
        mark.hidden = (!hidden.is_empty()).then_some(hidden);
        end
    }

    /// One space of another width is typography; several, of several widths, are a message.
    fn spaces(&mut self, at: usize) -> usize {
        let (end, count) = self.run_of(at, |c| chars::class(c) == Class::Space);
        let first = self.after(at);
        if count >= 3 && self.text[at..end].chars().any(|c| Some(c) != first) && !self.loose {
            self.add("cov.space", at..end, 0.9);
        }
        end
    }

    /// Control characters inside a word, those aside that separate records, belong to terminals, or are
    /// punctuation of Windows-1252 that was read as Latin-1.
    fn control(&mut self, c: char, at: usize) {
        let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
        let strange = matches!(c,
            '\u{4}'..='\u{6}' | '\u{e}'..='\u{1a}' | '\u{7f}' | '\u{80}'..='\u{82}' | '\u{84}' | '\u{86}'..='\u{89}'
            | '\u{8b}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{95}' | '\u{98}' | '\u{99}' | '\u{9b}' | '\u{9d}');
        if strange
            && letter(self.before(at))
            && letter(self.after(at + c.len_utf8()))
            && !self.loose
            && !self.is_terminal()
        {
            self.add("cov.ctrl", at..at + c.len_utf8(), 0.7);
        }
    }

    fn word(&mut self, at: usize) -> usize {
        let word = homoglyph::word(self.text, at);
        let next = at + self.after(at).map_or(1, char::len_utf8);
        // A character of the class may be no letter.
        let end = word.end.max(next);
        // What hides between the letters of a word is no letter of it.
        let letter = |c: char| matches!(chars::class(c), Class::Other | Class::LookAlike);
        let end = self.text[next..end].find(|c| !letter(c)).map_or(end, |hidden| next + hidden);
        if self.loose || at < self.judged {
            return end;
        }
        self.judged = word.end;
        let text = self.text;
        let cyrillic = || *self.facts.cyrillic.get_or_init(|| homoglyph::has_cyrillic_word(text));
        let greek = || *self.facts.greek.get_or_init(|| text.chars().filter(|&c| homoglyph::is_greek(c)).count());
        for letter in homoglyph::disguised(&text[word.clone()], cyrillic, greek) {
            let letter = word.start + letter.start..word.start + letter.end;
            let mark = self.add("cov.homoglyph", letter, 0.85);
            mark.severity = Severity::Medium;
        }
        end
    }

    /// Whether the text really has words written from right to left.
    fn is_rtl(&self) -> bool {
        *self.facts.rtl.get_or_init(|| self.text.chars().filter(|&c| chars::is_rtl(c)).take(3).count() == 3)
    }

    /// Whether every embedding and isolate is closed by its own end within its paragraph.
    fn is_balanced(&self) -> bool {
        *self.facts.balanced.get_or_init(|| {
            let mut open = Vec::new();
            for c in self.text.chars() {
                match c {
                    '\u{2066}'..='\u{2068}' => open.push('\u{2069}'),
                    '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' => open.push('\u{202c}'),
                    '\u{2069}' | '\u{202c}' if open.pop() != Some(c) => return false,
                    '\n' if !open.is_empty() => return false,
                    _ => {}
                }
            }
            open.is_empty()
        })
    }

    /// Whether the text is the output of a program that steers a terminal, or of none at all.
    fn is_terminal(&self) -> bool {
        *self.facts.terminal.get_or_init(|| {
            let controls = self.text.bytes().filter(|&byte| byte < 0x20 && is_odd(byte)).count();
            self.text.contains('\u{1b}') || controls > 8 && controls > self.text.len() / 32
        })
    }
}

/// What a run of variation selectors spells, one byte each, where it is text.
fn bytes_of(run: &str) -> Option<String> {
    let byte = |c: char| match c {
        '\u{fe00}'..='\u{fe0f}' => Some((u32::from(c) - 0xfe00) as u8),
        '\u{e0100}'..='\u{e01ef}' => Some((u32::from(c) - 0xe0100 + 16) as u8),
        _ => None,
    };
    let text = String::from_utf8(run.chars().filter_map(byte).collect()).ok()?;
    text.chars().all(|c| !c.is_control() || c == '\n').then_some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[path = "covert/tests.rs"]
mod tests;

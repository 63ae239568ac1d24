//! One pass over a text for all that rules and facts look for by its letters.
//!
//! ```text
//! text -> needles of five letters and more         wherever they stand
//!      -> values in an encoding                    in runs of letters long enough to hold one
//!      -> shorter ones (`os:`, `ann`, `8`)         in short texts, and around labels and signs in long ones
//! ```
//!
//! What is so short that it stands in any text says something only beside a label, so only there is it looked for.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use memchr::memmem::Finder;

use super::facts::Matcher;
use super::needles::{Needle, Needles, Room, SHORTEST};
use super::prompt::{announces, is_label};
use crate::engine::rules::ruleset::Literals;
use crate::engine::visit::SHORTEST_RUN;

pub(crate) struct Scanner {
    needles: Needles,
    meanings: Box<[What]>,
    /// Forms of facts that are one run of base64 letters.
    coded: Needles,
    coded_forms: Box<[u32]>,
    short: Option<AhoCorasick>,
    short_meanings: Box<[What]>,
    /// Too short for the needles and wanted everywhere, as it is spelled.
    rare: Box<[(Finder<'static>, What)]>,
}

/// What a needle is there for.
#[derive(Clone, Copy, Debug)]
enum What {
    /// A literal of text rules, by its number. `only_label`: nothing asks for it where it is none.
    Literal { number: u32, label: bool, only_label: bool, sign: bool },
    /// A form of a fact, by its number.
    Form(u32),
    /// The same where it is a word of its own.
    Token(u32),
}

/// What one text holds. Kept from text to text for its room.
#[derive(Default)]
pub(crate) struct Hits {
    pub literals: Vec<LiteralHit>,
    pub forms: Vec<FormHit>,
    /// Where something announces a description of the machine.
    pub signs: Vec<usize>,
    windows: Vec<Range<usize>>,
    room: Room,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct LiteralHit {
    pub end: usize,
    pub start: usize,
    pub number: u32,
    /// It stands there as a label: `Shell: `.
    pub labels: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct FormHit {
    pub start: usize,
    pub end: usize,
    pub form: u32,
}

impl FormHit {
    /// The same in the part of the text that begins at `start`.
    pub fn moved(&self, start: usize) -> Self {
        Self { start: self.start - start, end: self.end - start, form: self.form }
    }
}

/// Texts up to this many bytes are searched for everything.
const SMALL: usize = 512;
/// How far around a label or sign short needles count.
const AROUND: usize = 256;
/// Windows in one text: more would be the whole of it.
const MOST_WINDOWS: usize = 4096;

/// Entries of lists whose room is kept.
const ROOM: usize = 4096;

impl Hits {
    /// Empty, with the room that an ordinary text needs.
    pub fn spare(mut self) -> Self {
        self.clear();
        self.literals.shrink_to(ROOM);
        self.forms.shrink_to(ROOM);
        self.signs.shrink_to(ROOM);
        self.windows.shrink_to(ROOM);
        self
    }

    pub fn clear(&mut self) {
        self.literals.clear();
        self.forms.clear();
        self.signs.clear();
        self.windows.clear();
    }
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scanner({} needles)", self.meanings.len() + self.short_meanings.len())
    }
}

impl Scanner {
    pub fn new(literals: &Literals, facts: Option<&Matcher>) -> Self {
        let mut long = (Vec::new(), Vec::new());
        let mut short: (Vec<Box<[u8]>>, Vec<What>) = (Vec::new(), Vec::new());
        let mut rare = Vec::new();
        for (number, (text, meaning)) in (0u32..).zip(literals.texts.iter().zip(&literals.meanings)) {
            let label = !meaning.label.is_empty();
            let only_label = meaning.near.is_empty() && !meaning.sign;
            let what = What::Literal { number, label, only_label, sign: meaning.sign };
            let needle = literal_needle(text, only_label);
            if needle.is_long_enough() {
                long.0.push(needle);
                long.1.push(what);
            } else if only_label {
                short.0.push(needle.bytes);
                short.1.push(what);
            } else {
                rare.push((Finder::new(text.as_bytes()).into_owned(), what));
            }
        }
        let mut coded = (Vec::new(), Vec::new());
        for (number, form) in (0u32..).zip(facts.map_or(&[][..], Matcher::forms)) {
            let needle = form.needle();
            if needle.bytes.len() >= SHORTEST_RUN && form.is_run() {
                coded.0.push(needle);
                coded.1.push(number);
                continue;
            }
            match needle.is_long_enough() {
                true => {
                    long.0.push(needle);
                    long.1.push(What::Form(number));
                }
                false => {
                    short.0.push(needle.bytes);
                    short.1.push(if form.is_token() { What::Token(number) } else { What::Form(number) });
                }
            }
            if let Some(bytes) = form.short_too() {
                short.0.push(bytes);
                short.1.push(What::Form(number));
            }
        }
        let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(&short.0).ok();
        Self {
            needles: Needles::new(long.0),
            meanings: long.1.into(),
            coded: Needles::new(coded.0),
            coded_forms: coded.1.into(),
            short: automaton.filter(|_| !short.0.is_empty()),
            short_meanings: short.1.into(),
            rare: rare.into(),
        }
    }

    /// Fills `hits` with what `text` holds, in order. `runs` are those of [`Leaf::runs`](crate::engine::visit::Leaf).
    pub fn scan(&self, text: &[u8], runs: &[Range<usize>], hits: &mut Hits) {
        hits.clear();
        let Hits { literals, forms, signs, windows, room } = hits;
        let small = text.len() <= SMALL;
        self.needles.find(text, room, |number, start, length| {
            let Some(what) = self.meanings.get(number as usize) else { return };
            let labels = note(*what, text, start..start + length, literals, forms);
            let sign = matches!(what, What::Literal { sign: true, .. });
            if sign && announces(text, start) {
                signs.push(start);
            }
            if (sign || labels) && !small && windows.len() < MOST_WINDOWS {
                windows.push(start.saturating_sub(AROUND)..(start + length + AROUND).min(text.len()));
            }
        });
        for run in runs {
            let Some(letters) = text.get(run.clone()) else { continue };
            self.coded.find(letters, room, |number, start, length| {
                let Some(&form) = self.coded_forms.get(number as usize) else { return };
                let start = run.start + start;
                forms.push(FormHit { start, end: start + length, form });
            });
        }
        if text.len() > 4 {
            for (finder, what) in &self.rare {
                for start in finder.find_iter(text) {
                    note(*what, text, start..start + finder.needle().len(), literals, forms);
                }
            }
        }
        if let Some(short) = &self.short {
            let mut look = |window: Range<usize>| {
                for hit in short.find_overlapping_iter(&text[window.clone()]) {
                    let Some(what) = self.short_meanings.get(hit.pattern().as_usize()) else { continue };
                    note(*what, text, window.start + hit.start()..window.start + hit.end(), literals, forms);
                }
            };
            if small {
                look(0..text.len());
            } else {
                windows.sort_unstable_by_key(|window| window.start);
                let mut looked = 0;
                for window in windows.iter() {
                    // A needle across the seam of two windows is seen with the second.
                    let from = window.start.max(looked);
                    if from < window.end {
                        look(from..window.end);
                        looked = window.end;
                    }
                }
            }
        }
        literals.sort_unstable();
        literals.dedup();
        forms.sort_unstable();
        forms.dedup();
    }
}

/// Whether it is a label.
#[inline]
fn note(
    what: What,
    text: &[u8],
    range: Range<usize>,
    literals: &mut Vec<LiteralHit>,
    forms: &mut Vec<FormHit>,
) -> bool {
    let Range { start, end } = range;
    match what {
        What::Literal { number, label, only_label, .. } => {
            let labels = label && is_label(text, start, end);
            if labels || !only_label {
                literals.push(LiteralHit { end, start, number, labels });
            }
            return labels;
        }
        What::Form(form) => forms.push(FormHit { start, end, form }),
        What::Token(form) => {
            let letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let before = start.checked_sub(1).and_then(|at| text.get(at));
            if !letter(before) && !letter(text.get(end)) {
                forms.push(FormHit { start, end, form });
            }
        }
    }
    false
}

/// What is too short by itself is looked for with the bounds that a label has, or a token's beginning.
fn literal_needle(text: &str, label_only: bool) -> Needle {
    let bytes = text.as_bytes();
    let word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let after = bytes.len() < SHORTEST && (label_only || !word(bytes.first())) && word(bytes.last());
    let before = bytes.len() + usize::from(after) < SHORTEST && word(bytes.first());
    Needle { bytes: bytes.into(), fold: true, loose: label_only, before, after }
}

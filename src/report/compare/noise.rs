//! What varies by itself: learned from repeats of the same request, so that it is not mistaken for a difference.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::words::{Op, Piece};
use crate::report::clock;
use crate::report::place::{is_id, pattern};

/// Why a place varies.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// Drawn anew.
    Id,
    Clock,
    Counter,
    /// The body's: it follows from the rest.
    Length,
    /// Sometimes there, sometimes not.
    Presence,
    Varies,
}

impl Noise {
    pub fn name(self) -> &'static str {
        match self {
            Noise::Id => "id",
            Noise::Clock => "clock",
            Noise::Counter => "counter",
            Noise::Length => "length",
            Noise::Presence => "presence",
            Noise::Varies => "varies",
        }
    }
}

/// What the repeats of one side teach about its first request.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// By place in the first request.
    places: HashMap<String, Varying>,
    /// Places, list positions aside, that later requests have and the first has not.
    elsewhere: HashSet<String>,
}

#[derive(Debug, Default)]
struct Varying {
    /// Words of the first request's text.
    words: BTreeSet<usize>,
    absent: bool,
    /// As they came, the first request's first.
    values: Vec<String>,
}

impl Learned {
    /// A leaf of the first request that a repeat spells otherwise.
    pub fn changed(&mut self, location: &str, first: &str, repeat: &str, pieces: &[Piece]) {
        let place = self.places.entry(location.to_owned()).or_default();
        for piece in pieces.iter().filter(|piece| piece.op == Op::Gone) {
            place.words.extend(piece.tokens.clone());
        }
        // An insertion has no words of the first text: it varies as a whole where it is short.
        if pieces.iter().all(|piece| piece.op != Op::Gone) {
            place.words.insert(0);
        }
        if place.values.is_empty() {
            place.values.push(first.to_owned());
        }
        place.values.push(repeat.to_owned());
    }

    /// A leaf of the first request that a repeat lacks.
    pub fn absent(&mut self, location: &str) {
        self.places.entry(location.to_owned()).or_default().absent = true;
    }

    /// A leaf of a repeat that the first request lacks.
    pub fn present(&mut self, location: &str) {
        self.elsewhere.insert(pattern(location));
    }

    fn is_noise(&self, location: &str, words: std::ops::Range<usize>) -> bool {
        self.places.get(location).is_some_and(|place| {
            // Other words of the same number may vary next time.
            !place.words.is_empty() && words.into_iter().all(|word| place.words.contains(&word))
        })
    }

    fn comes_and_goes(&self, location: &str) -> bool {
        self.places.get(location).is_some_and(|place| place.absent)
    }

    fn has_elsewhere(&self, location: &str) -> bool {
        self.elsewhere.contains(&pattern(location))
    }

    fn values(&self, location: &str) -> &[String] {
        self.places.get(location).map_or(&[], |place| &place.values)
    }
}

/// Marks the pieces of a changed leaf that vary by themselves; says why where all of them do.
pub(super) fn of_change(
    (a, b): (&Learned, &Learned),
    (a_location, b_location): (&str, &str),
    pieces: &mut [Piece],
) -> Option<Noise> {
    let mut at = 0;
    let mut all = true;
    while at < pieces.len() {
        if pieces[at].op == Op::Same {
            at += 1;
            continue;
        }
        let both = pieces[at].op == Op::Gone && pieces.get(at + 1).is_some_and(|next| next.op == Op::New);
        let end = at + 1 + usize::from(both);
        let known = pieces[at..end].iter().any(|piece| match piece.op {
            Op::Gone => a.is_noise(a_location, piece.tokens.clone()),
            _ => b.is_noise(b_location, piece.tokens.clone()),
        });
        pieces[at..end].iter_mut().for_each(|piece| piece.noise = known);
        all &= known;
        at = end;
    }
    // Of values that are masked alike, no piece differs: whether the place is known to vary decides.
    let unseen = pieces.iter().all(|piece| piece.op == Op::Same);
    if !all || (unseen && a.values(a_location).is_empty() && b.values(b_location).is_empty()) {
        return None;
    }
    let values: Vec<&[String]> = [a.values(a_location), b.values(b_location)].into_iter().collect();
    Some(reason(&values))
}

/// Whether a leaf that one side lacks is sometimes lacking anyway. `has` is the side that has it.
pub(super) fn of_presence(has: &Learned, lacks: &Learned, location: &str) -> Option<Noise> {
    (has.comes_and_goes(location) || lacks.has_elsewhere(location)).then_some(Noise::Presence)
}

/// Why two values differ by themselves, going by their form alone: where there are no repeats to learn from.
pub(super) fn by_form(a: &str, b: &str) -> Option<Noise> {
    if is_clock(a) && is_clock(b) {
        return Some(Noise::Clock);
    }
    (is_id(a) && is_id(b)).then_some(Noise::Id)
}

pub(crate) fn reason(sides: &[&[String]]) -> Noise {
    let all = || sides.iter().copied().flatten();
    if all().all(|value| is_clock(value)) {
        return Noise::Clock;
    }
    if all().all(|value| !value.is_empty() && is_id(value)) {
        return Noise::Id;
    }
    let rises = |side: &&[String]| {
        let numbers: Option<Vec<i64>> = side.iter().map(|value| value.parse().ok()).collect();
        numbers.is_some_and(|numbers| numbers.windows(2).all(|pair| pair[0] < pair[1]))
    };
    if sides.iter().all(rises) { Noise::Counter } else { Noise::Varies }
}

/// A point in time: RFC 3339, an HTTP date, or seconds to nanoseconds since 1970 of this century's first half.
fn is_clock(value: &str) -> bool {
    if clock::millis(value).is_some() || (value.ends_with(" GMT") && value.contains(':')) {
        return true;
    }
    let whole = value.split('.').next().unwrap_or(value);
    let numeric = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    numeric && matches!(whole.len(), 10 | 13 | 16 | 19) && matches!(whole.as_bytes(), [b'1' | b'2', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_say_why_they_vary() {
        let reason = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
            super::reason(&[&values])
        };
        for (values, expected) in [
            (&["9f86d081-884c-4d65-9a2f-eaa0c55ad015", "1b4e28ba-2fa1-41d2-883f-0016d3cca427"][..], Noise::Id),
            (&["1795736833250", "1795736839250"], Noise::Clock),
            (&["2026-11-26T23:47:13.250Z", "2026-11-26T23:48:13.250Z"], Noise::Clock),
            (&["7", "8", "11"], Noise::Counter),
            (&["7", "3"], Noise::Varies),
            (&["warm", "cold"], Noise::Varies),
        ] {
            assert_eq!(reason(values), expected, "{values:?}");
        }
    }
}

//! What a place has that it should not have, and what belongs there instead.

use std::ops::Range;

use super::text::{self, Spot};
use super::{fold, regional};

/// One difference from the usual spelling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Odd {
    pub kind: &'static str,
    /// Never empty: where something is missing, what stands beside it.
    pub window: Range<usize>,
    /// What the others have in the window; none where that was too long to be kept.
    pub restored: Option<String>,
}

/// What sorts of marks `spot` has beside the usual spelling.
pub(super) fn differences(text: &str, spot: &Spot, usual: Option<&str>) -> Vec<Odd> {
    let (gap, word) = (&text[spot.gap.clone()], &text[spot.word.clone()]);
    let whole = if gap.is_empty() { spot.word.clone() } else { spot.gap.clone() };
    let unknown = || vec![Odd { kind: "cov.homoglyph", window: whole.clone(), restored: None }];
    let Some(usual) = usual else { return unknown() };
    let (usual_gap, usual_odd) = usual.split_at(usual.find('\u{1}').unwrap_or(usual.len()));
    if usual_gap.starts_with('\u{2}') {
        return unknown();
    }
    let usual_word = usual_word(word, usual_odd);
    let mut found = Vec::new();
    if gap != usual_gap {
        let (here, there) = text::difference(gap, usual_gap);
        let (ours, theirs) = (&gap[here.clone()], &usual_gap[there]);
        let spaces = |text: &str| text.bytes().all(|byte| byte == b' ');
        let line_end = gap[here.end..].starts_with(['\n', '\r'])
            || ours.contains('\r')
            || theirs.contains('\r')
            || spot.last && gap[here.end..].is_empty();
        let mut kind = match !spot.date && is_stop(ours) && is_stop(theirs) && !both_blank(ours, theirs) {
            true => "cov.word",
            false => fold::kind(ours, theirs, spot.date),
        };
        if kind == "cov.space" && line_end {
            kind = "cov.trailing_ws";
        } else if kind == "cov.space" && spaces(ours) && spaces(theirs) && spaces(gap) && !spot.prose {
            return found;
        }
        if !here.is_empty() {
            let window = here.start + spot.gap.start..here.end + spot.gap.start;
            found.push(Odd { kind, window, restored: Some(theirs.to_owned()) });
        } else if !gap.is_empty() {
            found.push(Odd { kind, window: whole, restored: Some(usual_gap.to_owned()) });
        } else {
            // Nothing stands between the words, so the word is what there is to hold on to.
            let restored = usual_word.map(|word| format!("{usual_gap}{word}"));
            return vec![Odd { kind, window: whole, restored }];
        }
    }
    let Some(usual_word) = usual_word else {
        let odd = text::odd(word).into_iter().map(|(_, range)| range);
        let range = odd.reduce(|first, last| first.start..last.end).unwrap_or(0..word.len());
        let window = range.start + spot.word.start..range.end + spot.word.start;
        found.push(Odd { kind: fold::kind(&word[range], "", false), window, restored: None });
        return found;
    };
    if word != usual_word {
        let (here, there) = text::difference(word, &usual_word);
        let regional = regional::other(word).is_some() || regional::other(&usual_word).is_some();
        let case = word[here.clone()].eq_ignore_ascii_case(&usual_word[there.clone()]);
        let kind = match regional || case && !here.is_empty() {
            true => "cov.word",
            false => fold::kind(&word[here.clone()], &usual_word[there.clone()], false),
        };
        let (window, restored) = match here.is_empty() || regional {
            true => (spot.word.clone(), usual_word),
            false => (here.start + spot.word.start..here.end + spot.word.start, usual_word[there].to_owned()),
        };
        found.push(Odd { kind, window, restored: Some(restored) });
    }
    found
}

fn both_blank(ours: &str, theirs: &str) -> bool {
    ours.trim().is_empty() && theirs.trim().is_empty()
}

/// A comma or full stop, or none.
fn is_stop(part: &str) -> bool {
    let mut signs = part.chars().filter(|c| !c.is_whitespace());
    matches!((signs.next(), signs.next()), (None | Some(',' | ';' | '.' | ':' | '!'), None))
}

/// `word` with the odd characters of the usual spelling in place of its own. None where that cannot be told.
fn usual_word(word: &str, usual_odd: &str) -> Option<String> {
    if let Some(regional) = usual_odd.strip_prefix(['\u{1}']).and_then(|odd| odd.strip_prefix(text::REGIONAL)) {
        return regional.split('\u{1}').next().map(str::to_owned);
    }
    if let Some(other) = regional::other(word) {
        return Some(other);
    }
    if usual_odd.is_empty() && text::odd(word).is_empty() {
        return Some(word.to_owned());
    }
    let mut usual = Vec::new();
    for odd in usual_odd.split('\u{1}').skip(1) {
        let digits = odd.bytes().take_while(u8::is_ascii_digit).count();
        // What follows the number is one character; a digit of another script is kept as its block alone.
        let c = odd[digits..].chars().next().filter(|c| !c.is_numeric())?;
        usual.push((odd[..digits].parse::<usize>().ok()?, c));
    }
    if usual.len() >= text::MOST_ODD {
        return None;
    }
    let mut usual = usual.into_iter().peekable();
    let mut restored = String::with_capacity(word.len());
    let unseen = |c: char| fold::is_unseen(c) || fold::is_mark(c);
    let mut index = 0;
    for c in word.chars() {
        if unseen(c) {
            continue;
        }
        while let Some((_, odd)) = usual.next_if(|&(at, odd)| at == index && unseen(odd)) {
            restored.push(odd);
        }
        restored.push(match usual.next_if(|&(at, _)| at == index) {
            Some((_, odd)) => odd,
            None => fold::plain(c)?,
        });
        index += 1;
    }
    restored.extend(usual.map(|(_, odd)| odd));
    Some(restored)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the place of `here`'s last word differs in when it is usually spelled as in `usual`.
    fn told(here: &str, usual: &str) -> Vec<(&'static str, String, Option<String>)> {
        let last = |text: &str| text::read(text, 0, text.len()).spots.pop().expect("the text has a word");
        let (spot, other) = (last(here), last(usual));
        assert_eq!(spot.place, other.place, "{here} {usual}");
        let mut spelling = String::new();
        text::spelling(usual, &other, &mut spelling);
        differences(here, &spot, Some(&spelling))
            .into_iter()
            .map(|odd| (odd.kind, here[odd.window].to_owned(), odd.restored))
            .collect()
    }

    #[test]
    fn what_is_put_back_is_what_the_others_have() {
        for (here, usual, expected) in [
            ("don't", "don\u{2019}t", &[("cov.apostrophe", "'", "\u{2019}")][..]),
            ("don\u{2019}t", "don't", &[("cov.apostrophe", "\u{2019}", "'")]),
            ("a,\u{200b} word", "a, word", &[("cov.zero_width", "\u{200b}", "")]),
            ("a, word", "a,\u{200b} word", &[("cov.zero_width", ", ", ",\u{200b} ")]),
            ("a word", "a  word", &[("cov.space", " ", "  ")]),
            ("a w\u{43e}rd", "a word", &[("cov.homoglyph", "\u{43e}", "o")]),
            ("a word", "a w\u{43e}rd", &[("cov.homoglyph", "o", "\u{43e}")]),
            ("a \u{432}\u{43e}rd", "a \u{432}ord", &[("cov.homoglyph", "\u{43e}", "o")]),
            ("a w\u{43e}rd p\u{430}per", "a w\u{43e}rd paper", &[("cov.homoglyph", "\u{430}", "a")]),
            ("a p\u{430}p\u{435}r", "a paper", &[("cov.homoglyph", "\u{430}p\u{435}", "ape")]),
            ("a re\u{301}sume", "a r\u{e9}sume", &[("cov.nfd", "e\u{301}", "\u{e9}")]),
            ("a r\u{e9}sume", "a re\u{301}sume", &[("cov.nfd", "\u{e9}", "e\u{301}")]),
            ("a wo\u{200d}rd", "a word", &[("cov.zero_width", "\u{200d}", "")]),
            ("a word", "a wo\u{200d}rd", &[("cov.zero_width", "word", "wo\u{200d}rd")]),
            ("a lt", "a It", &[("cov.homoglyph", "l", "I")]),
            ("a word", "a Word", &[("cov.word", "w", "W")]),
            ("THE WOrD", "THE WORD", &[("cov.word", "r", "R")]),
            ("a \u{412}ord", "a Bord", &[("cov.homoglyph", "\u{412}", "B")]),
            ("a \u{406}t", "a It", &[("cov.homoglyph", "\u{406}", "I")]),
            ("a \u{ff11}2", "a 12", &[("cov.homoglyph", "\u{ff11}", "1")]),
            ("a\u{a0}w\u{43e}rd", "a word", &[("cov.space", "\u{a0}", " "), ("cov.homoglyph", "\u{43e}", "o")]),
            ("a colour", "a color", &[("cov.word", "colour", "color")]),
            ("an Organizer", "an Organiser", &[("cov.word", "Organizer", "Organiser")]),
            ("plain, word", "plain word", &[("cov.word", ",", "")]),
            ("plain word", "plain, word", &[("cov.word", " ", ", ")]),
            ("2026/11/27", "2026-11-27", &[("cov.date_sep", "/", "-")]),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|(kind, odd, usual)| (*kind, (*odd).to_owned(), Some((*usual).to_owned())))
                .collect();
            assert_eq!(told(here, usual), expected, "{here} {usual}");
        }
    }
}

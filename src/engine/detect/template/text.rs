//! A text as places and their spellings: between each two words, and in each word, something may be spelled
//! this way or that.

use std::hash::BuildHasherDefault;
use std::ops::Range;

use super::book::Digests;
use super::{fold, regional};

/// One word and what stands before it, in a text that a client writes.
#[derive(Clone)]
pub(super) struct Spot {
    /// The words around, two before and two after, as a digest: the same in every request where the text is.
    pub place: u64,
    /// Between the words, in bytes of the text.
    pub gap: Range<usize>,
    /// Empty at the end of the text.
    pub word: Range<usize>,
    /// Stands between the numbers of a date.
    pub date: bool,
    /// Words stand on both sides, not the letters of a list of states: the width of the space is nobody's column.
    pub prose: bool,
    /// The text ends here.
    pub last: bool,
    /// Nobody but the client puts words here.
    pub own: bool,
    /// For a gap beside something that varies: what is known of it by the words on one side alone.
    pub sides: [Option<Side>; 3],
    /// For a word that may be exchanged for another: the words around without it, and the word.
    pub choice: Option<(u64, u32)>,
}

/// The part of a gap that belongs to the words of one side.
#[derive(Clone)]
pub(super) struct Side {
    pub place: u64,
    pub part: Range<usize>,
    pub toward: Toward,
    /// The line begins or ends at the words, so that nothing farther off needs to be known.
    pub lined: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Toward {
    /// The words before are known.
    Before,
    After,
    /// It ends a line that begins with a label.
    Label,
}

/// A sentence or a line.
pub(super) struct Segment {
    /// From its first word to its last, in bytes of the text.
    pub range: Range<usize>,
    /// Of its words in their order; odd where they are prose.
    pub code: u32,
    /// Of its words in any order.
    pub bag: u64,
    pub words: u32,
    /// Of those, the ones that a space or a comma sets apart from the one before.
    pub spaced: u32,
}

impl Segment {
    /// Whether it says something, and does not name files or states.
    pub fn is_prose(&self) -> bool {
        self.words >= 3 && self.spaced >= 2 && self.spaced * 3 >= self.words
    }
}

/// A text taken apart.
pub(super) struct Reading {
    pub spots: Vec<Spot>,
    /// Of the client's own words.
    pub segments: Vec<Segment>,
}

struct Token {
    gap: Range<usize>,
    word: Range<usize>,
    digest: u64,
    number: bool,
    /// Letters or digits.
    length: usize,
    /// No single capital, as in the first column of `git status`.
    word_like: bool,
}

/// What a single space folds to, as most gaps do.
const PLAIN: u64 = 4;
/// Longest spelling that is kept.
const LONGEST: usize = 48;
/// Odd characters of a word that are kept.
pub(super) const MOST_ODD: usize = 12;
/// Before a word that is one of two spellings.
pub(super) const REGIONAL: char = '\u{3}';

pub(super) fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// A digest of bytes, for names and places.
pub(super) fn digest(seed: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The first words of a text, which tell it from others at the same place: prompts for several tasks say much alike, and
/// need not spell it alike.
pub(super) fn opening(text: &str) -> u64 {
    const WORDS: usize = 5;
    const NEAR: usize = 160;
    let mut end = text.len().min(NEAR);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut tokens = tokens(&text[..end]);
    // The last one may be cut.
    tokens.truncate(tokens.len().saturating_sub(1).min(WORDS));
    tokens.iter().fold(WORDS as u64, |opening, token| mix(opening, token.digest))
}

/// What of a gap is whose: the client's own words, up to `own` bytes, may differ in a comma as well.
pub(super) fn read(text: &str, around: u64, own: usize) -> Reading {
    let tokens = tokens(text);
    let (mut before, mut last, mut numbers) = (0, 0, 0u64);
    let mut spots = Vec::with_capacity(tokens.len());
    let mut times = Digests::with_capacity_and_hasher(tokens.len(), BuildHasherDefault::default());
    let mut previous: Option<&Token> = None;
    for (index, token) in tokens.iter().enumerate() {
        let after_number = previous.is_some_and(|previous| previous.number);
        let date = date_around(text, &tokens, index);
        let is_own = token.word.end <= own;
        // What follows a date is not the date's.
        let next = match tokens.get(index + 1) {
            _ if token.number && (date.is_some() || date_around(text, &tokens, index + 1).is_some()) => 0,
            Some(next) if next.number => 1,
            Some(next) => next.digest,
            None => 2,
        };
        let mut place = mix(mix(mix(around, before), last), numbers);
        let folded = folded(&text[token.gap.clone()], date.is_some(), after_number, is_own);
        place = mix(mix(mix(place, folded), token.digest), next);
        // The same words again are another place.
        let again = times.entry(place).or_insert(0u64);
        place = mix(place, *again);
        *again += 1;
        let begins_date = token.number && date_around(text, &tokens, index + 1) == Some(index);
        let prose = (token.word_like || begins_date) && previous.is_some_and(|previous| previous.word_like);
        spots.push(Spot {
            place,
            gap: token.gap.clone(),
            word: token.word.clone(),
            date: date.is_some(),
            prose,
            last: token.word.is_empty(),
            own: is_own,
            sides: match date {
                Some(start) => [beside_date(text, &tokens, around, start, index), None, None],
                None => sides(text, &tokens, around, index, is_own),
            },
            choice: if is_own { choice(text, &tokens, around, index) } else { None },
        });
        if token.number {
            numbers += 1;
        } else {
            (before, last, numbers) = (last, token.digest, 0);
        }
        previous = Some(token);
    }
    Reading { spots, segments: segments(text, &tokens, own) }
}

/// The digest of the plain form of a gap. `stops`: a comma or a full stop after a word counts for nothing.
fn folded(gap: &str, date: bool, after_number: bool, stops: bool) -> u64 {
    if gap == " " {
        return PLAIN;
    }
    let mut folded = 0;
    let mut held = None;
    let mut first = true;
    fold::between(gap, date, after_number, |c| {
        if std::mem::take(&mut first) && stops && matches!(c, ',' | ';' | '.' | ':' | '!') {
            held = Some(c);
            return;
        }
        if let Some(stop) = held.take()
            && !matches!(c, ' ' | '\n')
        {
            folded = mix(folded, u64::from(stop));
        }
        folded = mix(folded, u64::from(c));
    });
    // Between words without a space it is a sign of its own: `file.rs`.
    if let Some(stop) = held {
        folded = mix(folded, u64::from(stop));
    }
    if folded == mix(0, u64::from(' ')) { PLAIN } else { folded }
}

const LINE: u64 = 5;
const BEFORE: u64 = 21;
const AFTER: u64 = 22;
const LABEL: u64 = 23;
const DATED: u64 = 24;
const CHOICE: u64 = 25;

fn breaks(text: &str, token: Option<&Token>) -> bool {
    token.is_none_or(|token| text[token.gap.clone()].contains('\n') || token.word.is_empty())
}

/// A gap as the words of one side know it, whatever stands on the other.
fn sides(text: &str, tokens: &[Token], around: u64, index: usize, own: bool) -> [Option<Side>; 3] {
    let [mut before, mut after, mut label] = [None, None, None];
    let Some(token) = tokens.get(index) else { return [before, after, label] };
    let gap = &text[token.gap.clone()];
    if gap.is_empty() {
        return [before, after, label];
    }
    let place = |sort, part: &str, near: u64, far: u64| {
        mix(mix(mix(mix(around, sort), folded(part, false, false, false)), near), far)
    };
    if let Some(near) = index.checked_sub(1).and_then(|index| tokens.get(index)) {
        let lined = index == 1 || breaks(text, Some(near));
        let far = if lined { LINE } else { tokens.get(index.wrapping_sub(2)).map_or(LINE, |far| far.digest) };
        let part = token.gap.start..token.gap.start + leading(gap);
        let place = place(BEFORE, &text[part.clone()], near.digest, far);
        before = Some(Side { place, part, toward: Toward::Before, lined });
    }
    if !token.word.is_empty() {
        let next = tokens.get(index + 1);
        let lined = breaks(text, next);
        let far = if lined { LINE } else { next.map_or(LINE, |next| next.digest) };
        let part = token.gap.start + trailing(gap)..token.gap.end;
        if !part.is_empty() {
            let place = place(AFTER, &text[part.clone()], token.digest, far);
            after = Some(Side { place, part, toward: Toward::After, lined });
        }
    }
    if own && gap.contains('\n') {
        label = line_end(text, tokens, around, index);
    }
    [before, after, label]
}

/// How a line ends that begins with one or two words and a colon, whatever it says of them.
fn line_end(text: &str, tokens: &[Token], around: u64, index: usize) -> Option<Side> {
    const LONGEST_LINE: usize = 40;
    let first =
        (index.saturating_sub(LONGEST_LINE)..index).rev().find(|&at| breaks(text, tokens.get(at)) || at == 0)?;
    let labelled = |at: usize| at < index && tokens.get(at).is_some_and(|next| text[next.gap.clone()].starts_with(':'));
    let last = [first, first + 1, first + 2].into_iter().find(|&last| labelled(last + 1))?;
    let gap = tokens.get(index)?.gap.clone();
    let end = gap.start + text[gap.clone()].find('\n')? + 1;
    let line = &text[gap.start..end];
    let white = line.len() - line.trim_end().len();
    let name = tokens[first..=last].iter().fold(LABEL, |name, word| mix(name, word.digest));
    let side = Side { place: mix(around, name), part: end - white..end, toward: Toward::Label, lined: true };
    Some(side)
}

/// The separators of a date as the words after it know them.
fn beside_date(text: &str, tokens: &[Token], around: u64, start: usize, index: usize) -> Option<Side> {
    let (near, far) = (tokens.get(start + 3)?, tokens.get(start + 4));
    let lined = breaks(text, far) || breaks(text, Some(near));
    let far = if breaks(text, far) { LINE } else { far.map_or(LINE, |far| far.digest) };
    let sort = mix(DATED, (index - start) as u64);
    let place = mix(mix(mix(around, sort), near.digest), far);
    Some(Side { place, part: tokens[index].gap.clone(), toward: Toward::After, lined })
}

/// Up to the first white space and with it, the end of a line being the farthest.
fn leading(gap: &str) -> usize {
    let mut white = false;
    for (at, c) in gap.char_indices() {
        match c {
            '\n' => return at + 1,
            c if c.is_whitespace() => white = true,
            c if white && !fold::is_unseen(c) => return at,
            _ => {}
        }
    }
    gap.len()
}

/// From the last white space on, no farther than the line begins.
fn trailing(gap: &str) -> usize {
    let mut white = false;
    for (at, c) in gap.char_indices().rev() {
        match c {
            '\n' => return at + 1,
            c if c.is_whitespace() => white = true,
            c if white && !fold::is_unseen(c) => return at + c.len_utf8(),
            _ => {}
        }
    }
    0
}

/// A word of prose among words of prose.
fn choice(text: &str, tokens: &[Token], around: u64, index: usize) -> Option<(u64, u32)> {
    let [far, near, token, next, last] = tokens.get(index.checked_sub(2)?..index + 3)? else { return None };
    let word = &text[token.word.clone()];
    let (before, after) = (&text[token.gap.clone()], &text[next.gap.clone()]);
    let after = [" ", ", ", ". ", ".\n", "; ", ",\n"].iter().any(|gap| after.starts_with(gap));
    if !matches!(before, " " | ", ") || !after || !word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    if !regional::is_common(word) {
        return None;
    }
    let place = [far, near, next, last].iter().fold(mix(around, CHOICE), |place, word| mix(place, word.digest));
    Some((place, token.digest as u32))
}

fn segments(text: &str, tokens: &[Token], own: usize) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut hash = 0;
    for token in tokens.iter().filter(|token| !token.word.is_empty() && token.word.end <= own) {
        let gap = &text[token.gap.clone()];
        let stop = gap.starts_with(['.', '!', '?']) && !gap.starts_with("..") && gap.contains(char::is_whitespace);
        let ends = gap.contains('\n') || stop;
        if ends || segments.is_empty() {
            hash = 0;
            segments.push(Segment { range: token.word.clone(), code: 0, bag: 0, words: 0, spaced: 0 });
        }
        let Some(segment) = segments.last_mut() else { continue };
        hash = mix(hash, token.digest);
        segment.range.end = token.word.end;
        segment.code = (hash ^ hash >> 32) as u32;
        segment.bag = segment.bag.wrapping_add(mix(3, token.digest));
        segment.spaced +=
            u32::from(segment.words > 0 && gap.chars().all(|c| c == ',' || c.is_whitespace() || fold::is_unseen(c)));
        segment.words += 1;
    }
    for segment in &mut segments {
        segment.code = segment.code & !1 | u32::from(segment.is_prose());
    }
    segments
}

/// Whether the code is that of a sentence that says something.
pub(super) fn is_prose(code: u32) -> bool {
    code & 1 == 1
}

/// Where the date begins whose numbers the gap before token `index` separates: year first or last, and signs that go
/// together.
fn date_around(text: &str, tokens: &[Token], index: usize) -> Option<usize> {
    let date_at = |first: usize| {
        let Some([year, month, day]) = tokens.get(first..first + 3) else { return false };
        let lengths = (year.length, month.length, day.length);
        let signs = (fold::separator(&text[month.gap.clone()]), fold::separator(&text[day.gap.clone()]));
        let dated = matches!(lengths, (4, 1..=2, 1..=2) | (1..=2, 1..=2, 4));
        // `6.1.0-1024` is a release.
        let together = !matches!(signs, (None, _) | (_, None) | (Some('.'), Some('-')) | (Some('-'), Some('.')));
        year.number && month.number && day.number && dated && together
    };
    [index.checked_sub(1), index.checked_sub(2)].into_iter().flatten().find(|&first| date_at(first))
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len() / 5);
    let mut gap = 0;
    let mut at = 0;
    let mut after_number = None;
    while let Some(c) = char_at(text, at) {
        let start = at;
        at += c.len_utf8();
        if !is_letter(c) || matches!(c, '年' | '月' | '日') && after_number == Some(start) {
            if after_number == Some(start) && !fold::is_unseen(c) {
                after_number = None;
            }
            continue;
        }
        let mut token =
            Token { gap: gap..start, word: start..start, digest: 2, number: true, length: 0, word_like: false };
        let mut digits = false;
        let mut c = c;
        loop {
            let seen = c.is_ascii() || !fold::is_unseen(c) && !fold::is_mark(c);
            let plain = seen.then(|| fold::letter(c));
            if let Some(plain) = plain {
                // A number is a number, however long.
                if plain != '#' || !digits {
                    token.digest = mix(token.digest, u64::from(plain.to_ascii_lowercase()));
                }
                digits = plain == '#';
                token.number &= digits;
                token.length += 1;
                token.word_like |= plain != '#' && (!plain.is_ascii_uppercase() || token.length > 1);
            }
            match char_at(text, at) {
                Some(next) if is_letter(next) || !next.is_ascii() && (fold::is_unseen(next) || fold::is_mark(next)) => {
                    if token.number && matches!(next, '年' | '月' | '日') {
                        break;
                    }
                    c = next;
                    at += next.len_utf8();
                }
                _ => break,
            }
        }
        token.word = start..at;
        if token.word_like
            && let Some(other) = regional::other(&text[start..at])
        {
            token.digest =
                other.chars().fold(2, |digest, c| mix(digest, u64::from(fold::letter(c).to_ascii_lowercase())));
        }
        gap = at;
        after_number = token.number.then_some(at);
        tokens.push(token);
    }
    if gap < text.len() {
        tokens.push(Token {
            gap: gap..text.len(),
            word: text.len()..text.len(),
            digest: 3,
            number: false,
            length: 0,
            word_like: false,
        });
    }
    tokens
}

#[inline]
fn char_at(text: &str, at: usize) -> Option<char> {
    match text.as_bytes().get(at) {
        Some(&byte) if byte.is_ascii() => Some(char::from(byte)),
        _ => text.get(at..)?.chars().next(),
    }
}

#[inline]
fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric()
    } else {
        c.is_alphanumeric() && !fold::is_apostrophe(c) && !fold::is_unseen(c)
    }
}

/// How `spot` is spelled: what stands in the gap, and the odd characters of the word.
pub(super) fn spelling(text: &str, spot: &Spot, out: &mut String) {
    out.clear();
    let gap = &text[spot.gap.clone()];
    if gap.len() <= LONGEST {
        out.push_str(gap);
    } else {
        // A rule, a drawing: its digest tells it from others.
        out.push_str(&format!("\u{2}{:x}", digest(0, gap.as_bytes())));
    }
    let word = &text[spot.word.clone()];
    if regional::other(word).is_some() {
        out.push_str(&format!("\u{1}{REGIONAL}{word}"));
    }
    if !fold::may_be_odd(word) {
        return;
    }
    for (index, range) in odd(word).into_iter().take(MOST_ODD) {
        let odd = &word[range];
        // Which digit it is is the number's affair.
        let c = odd
            .chars()
            .next()
            .map(|c| if c.is_numeric() { char::from_u32(u32::from(c) & !0xf).unwrap_or(c) } else { c });
        out.push_str(&format!("\u{1}{index}"));
        out.extend(c);
    }
}

/// The characters of a word that are not its plain ones: the number of plain ones before, and the bytes.
pub(super) fn odd(word: &str) -> Vec<(usize, Range<usize>)> {
    let mut index = 0;
    let mut odd = Vec::new();
    for (at, c) in word.char_indices() {
        if c.is_ascii() {
            if c.is_ascii_uppercase() {
                odd.push((index, at..at + 1));
            }
            index += 1;
            continue;
        }
        let unseen = fold::is_unseen(c) || fold::is_mark(c);
        if unseen || fold::letter(c) != c {
            odd.push((index, at..at + c.len_utf8()));
        }
        index += usize::from(!unseen);
    }
    odd
}

/// What differs between two texts: the bytes of each that are left when the same beginning and end are cut off.
pub(super) fn difference(here: &str, usual: &str) -> (Range<usize>, Range<usize>) {
    let same: usize = here.chars().zip(usual.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let (rest, other) = (&here[same..], &usual[same..]);
    let end: usize =
        rest.chars().rev().zip(other.chars().rev()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    (same..here.len() - end, same..usual.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<u64> {
        read(text, 0, text.len()).spots.into_iter().map(|spot| spot.place).collect()
    }

    #[test]
    fn another_spelling_is_the_same_place() {
        let plain = "Today's date is 2026-11-27. Don't guess.\nWorking folder - the root\n";
        for other in [
            "Today\u{2019}s date is 2026-11-27. Don't guess.\nWorking folder - the root\n",
            "Today\u{2bc}s date is 2025/01/31. Don't guess.\nWorking folder - the root\n",
            "Today's date is 2026年11月27日. Don't guess.\nWorking folder - the root\n",
            "Today's date is 2026-11-27.  Don't guess. \r\nWorking folder \u{2013} the root\r\n",
            "Today's d\u{430}te is 2026-11-27. Don't\u{200b} guess.\nWor\u{200d}king folder - the r\u{3bf}ot \n",
        ] {
            assert_eq!(places(other), places(plain), "{other}");
        }
        assert_ne!(places("Today's date was 2026-11-27."), places("Today's date is 2026-11-27."));
    }

    #[test]
    fn the_difference_is_as_small_as_it_can_be() {
        assert_eq!(difference("\u{2019}", "'"), (0..3, 0..1));
        assert_eq!(difference(".  \n", ".\n"), (1..3, 1..1));
        assert_eq!(difference(" ", "  "), (1..1, 1..2));
    }
}

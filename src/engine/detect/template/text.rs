//! A text as places and their spellings: between each two words, and in each word, something may be spelled
//! this way or that.

use std::ops::Range;

use super::fold;

/// One word and what stands before it, in a text that a client writes.
pub(super) struct Spot {
    /// The words around, as a digest: the same in every request where the text is.
    pub place: u64,
    /// Between the words, in bytes of the text.
    pub gap: Range<usize>,
    /// Empty at the end of the text.
    pub word: Range<usize>,
    /// Stands between the numbers of a date.
    pub date: bool,
    /// Words stand on both sides, not the letters of a list of states: the width of the space is nobody's column.
    pub prose: bool,
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

pub(super) fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// A digest of bytes, for names and places.
pub(super) fn digest(seed: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The places of `text`; `around` tells one text of a request from others.
pub(super) fn spots(text: &str, around: u64) -> Vec<Spot> {
    let tokens = tokens(text);
    let (mut before, mut last, mut numbers) = (0, 0, 0u64);
    let mut spots = Vec::with_capacity(tokens.len());
    let mut previous: Option<&Token> = None;
    for (index, token) in tokens.iter().enumerate() {
        let after_number = previous.is_some_and(|previous| previous.number);
        let date = is_date(text, &tokens, index);
        // What follows a date is not the date's.
        let next = match tokens.get(index + 1) {
            _ if token.number && (date || is_date(text, &tokens, index + 1)) => 0,
            Some(next) if next.number => 1,
            Some(next) => next.digest,
            None => 2,
        };
        let mut place = mix(mix(mix(around, before), last), numbers);
        let mut folded = 0;
        let gap = &text[token.gap.clone()];
        if gap == " " {
            folded = PLAIN;
        } else {
            fold::between(gap, date, after_number, |c| folded = mix(folded, u64::from(c)));
            if folded == mix(0, u64::from(' ')) {
                folded = PLAIN;
            }
        }
        place = mix(mix(mix(place, folded), token.digest), next);
        let prose = token.word_like && previous.is_some_and(|previous| previous.word_like);
        spots.push(Spot { place, gap: token.gap.clone(), word: token.word.clone(), date, prose });
        if token.number {
            numbers += 1;
        } else {
            (before, last, numbers) = (last, token.digest, 0);
        }
        previous = Some(token);
    }
    spots
}

/// Whether the gap before token `index` separates the numbers of a date: year first or last, and signs that go together.
fn is_date(text: &str, tokens: &[Token], index: usize) -> bool {
    let date_at = |first: usize| {
        let Some([year, month, day]) = tokens.get(first..first + 3) else { return false };
        let lengths = (year.length, month.length, day.length);
        let signs = (fold::separator(&text[month.gap.clone()]), fold::separator(&text[day.gap.clone()]));
        let dated = matches!(lengths, (4, 1..=2, 1..=2) | (1..=2, 1..=2, 4));
        // `6.1.0-1024` is a release.
        let together = !matches!(signs, (None, _) | (_, None) | (Some('.'), Some('-')) | (Some('-'), Some('.')));
        year.number && month.number && day.number && dated && together
    };
    index >= 1 && date_at(index - 1) || index >= 2 && date_at(index - 2)
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
                    token.digest = mix(token.digest, u64::from(plain));
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
            if fold::letter(c) != c && !c.is_ascii_digit() {
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
        spots(text, 0).into_iter().map(|spot| spot.place).collect()
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

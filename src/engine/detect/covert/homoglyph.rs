//! Letters of another script that pass for Latin ones, and Latin ones that pass for those of another script
//! (UTS #39, section 5): inside one word, since a word of one script alone is what it says it is.

use std::ops::Range;

use unicode_script::{Script, UnicodeScript};
use unicode_security::skeleton;

use super::chars::mixes_freely;

/// Latin letters that have a Cyrillic double.
const LATIN_DOUBLES: &str = "aceopxyijsABCEHIJKMOPSTXY";
/// Longer words are data.
const LONGEST: usize = 64;

#[derive(Clone, Copy, PartialEq)]
enum Letter {
    Latin,
    Foreign,
    /// Mathematical, full-width and numeral forms of Latin letters.
    Styled,
    Mark,
    /// Of a script that stands beside Latin letters as a matter of course.
    Free,
}

fn letter(c: char) -> Option<Letter> {
    if c.is_ascii() {
        return c.is_ascii_alphabetic().then_some(Letter::Latin);
    }
    match c {
        '\u{400}'..='\u{481}' | '\u{48a}'..='\u{52f}' => return Some(Letter::Foreign),
        '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}' => return Some(Letter::Latin),
        '\u{1d400}'..='\u{1d6a3}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' | '\u{2170}'..='\u{217f}' => {
            return Some(Letter::Styled);
        }
        _ => {}
    }
    match c.script() {
        Script::Latin => Some(Letter::Latin),
        Script::Inherited => Some(Letter::Mark),
        Script::Common => None,
        script if mixes_freely(script) => c.is_alphabetic().then_some(Letter::Free),
        _ => c.is_alphabetic().then_some(Letter::Foreign),
    }
}

/// The word around the character at `at`, in bytes of `text`.
pub(super) fn word(text: &str, at: usize) -> Range<usize> {
    let inside = |c: &char| letter(*c).is_some();
    let before: usize = text[..at].chars().rev().take_while(inside).take(LONGEST).map(char::len_utf8).sum();
    let after: usize = text[at..].chars().take_while(inside).take(LONGEST).map(char::len_utf8).sum();
    at - before..at + after
}

/// The letters of `word` that are not what they look like, in bytes of it. `cyrillic`: whether the text has
/// words that are Cyrillic altogether, so that its author may bend foreign names (`PDFа`, `в Googleе`). `greek`: how many
/// Greek letters the text has.
pub(super) fn disguised(
    word: &str,
    cyrillic: impl FnOnce() -> bool,
    greek: impl FnOnce() -> usize,
) -> Vec<Range<usize>> {
    if !word.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return Vec::new();
    }
    let letters: Vec<(usize, char, Letter)> =
        word.char_indices().filter_map(|(at, c)| Some((at, c, letter(c)?))).collect();
    let count = |kind| letters.iter().filter(|(_, _, letter)| *letter == kind).count();
    let (latin, foreign, styled) = (count(Letter::Latin), count(Letter::Foreign), count(Letter::Styled));
    if latin == 0 || foreign + styled == 0 || count(Letter::Free) > 0 || letters.len() > LONGEST {
        return Vec::new();
    }
    let spot = |index: usize| letters[index].0..letters[index].0 + letters[index].1.len_utf8();
    if styled > 0 {
        // One letter in another dress among plain ones; a word all in it is emphasis, `d𝑥` is mathematics.
        let plain = |index: Option<usize>| {
            index.and_then(|index| letters.get(index)).is_some_and(|(_, c, _)| c.is_ascii_lowercase())
        };
        let odd = |index: &usize| {
            letters[*index].2 == Letter::Styled && plain(index.checked_sub(1)) && plain(Some(index + 1))
        };
        let edge = styled_edge(&letters);
        return (0..letters.len()).filter(|index| odd(index) || edge == Some(*index)).map(spot).collect();
    }
    let runs = |kind| {
        let starts = |index: &usize| letters[*index].2 == kind && (*index == 0 || letters[*index - 1].2 != kind);
        (0..letters.len()).filter(starts).count()
    };
    let foreigners = || letters.iter().filter(|(_, _, letter)| *letter == Letter::Foreign).map(|(_, c, _)| *c);
    if foreign > latin && latin == 1 {
        // A foreign word with one Latin letter.
        let index = letters.iter().position(|(_, _, letter)| *letter == Letter::Latin).unwrap_or_default();
        let inner = index > 0 && index + 1 < letters.len();
        let of_cyrillic = foreigners().all(|c| c.script() == Script::Cyrillic);
        // At the end `x` and `y` may be what is spoken of: `ось` and its name.
        let small = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|(_, c, _)| c.is_lowercase());
        let least = if "aceop".contains(letters[index].1) { 3 } else { 5 };
        let at_end = small(Some(index)) && small(index.checked_sub(1)) && foreign >= least;
        if of_cyrillic && LATIN_DOUBLES.contains(letters[index].1) && (inner || at_end || index == 0 && foreign >= 4) {
            return vec![spot(index)];
        }
        if !foreigners().all(|c| passes_for_latin(c) == Some(true)) {
            return Vec::new();
        }
    }
    let greeks = foreigners().filter(|&c| is_greek(c)).count();
    if greeks > 0 {
        let alone = greek() == greeks;
        return greek_letters(&letters, alone).into_iter().map(spot).collect();
    }
    let mut roughly = 0;
    for c in foreigners() {
        match passes_for_latin(c) {
            Some(true) => {}
            Some(false) => roughly += 1,
            None => return Vec::new(),
        }
    }
    let last = letters.last().is_some_and(|(_, _, letter)| *letter == Letter::Foreign);
    let first = letters.first().is_some_and(|(_, _, letter)| *letter == Letter::Foreign);
    let at_edge = runs(Letter::Foreign) == 1 && (last || first && foreign >= 2);
    if roughly > 1
        || roughly == 1 && letters.len() < 3
        || roughly == 1 && at_edge && foreign > 1
        || (at_edge || letters.len() < 3) && cyrillic()
    {
        return Vec::new();
    }
    (0..letters.len()).filter(|&index| letters[index].2 == Letter::Foreign).map(spot).collect()
}

/// The first or last letter of a word where it alone is in another dress: small as the others, and no variable behind the name
/// of a function, `sin𝑥`.
fn styled_edge(letters: &[(usize, char, Letter)]) -> Option<usize> {
    const FUNCTIONS: &[&str] = &[
        "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "max", "min", "sup", "inf", "lim", "det", "arg", "deg",
        "dim", "gcd", "lcm", "ker", "erf", "mod", "var", "cov", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan",
        "rank", "span", "trace", "diag", "size",
    ];
    let last = letters.len().checked_sub(1)?;
    let index = if letters[0].2 == Letter::Styled { 0 } else { last };
    let (_, c, styled) = letters[index];
    let others = || letters.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, (_, c, _))| *c);
    let name: String = others().collect();
    let small = skeleton(c.encode_utf8(&mut [0; 4])).next().is_some_and(|c| c.is_ascii_lowercase());
    let odd = styled == Letter::Styled && small && others().all(|c| c.is_ascii_lowercase());
    (odd && name.len() >= 3 && !FUNCTIONS.contains(&name.as_str())).then_some(index)
}

/// Whether `c` looks like an ASCII letter, or (false) roughly like one: a small capital.
fn passes_for_latin(c: char) -> Option<bool> {
    let mut buffer = [0; 4];
    let mut seen = None;
    for double in skeleton(c.encode_utf8(&mut buffer)) {
        match double {
            double if double.is_ascii_alphabetic() => seen = seen.or(Some(true)),
            double if double.script() == Script::Latin => seen = Some(false),
            double if double.script() == Script::Inherited => {}
            _ => return None,
        }
    }
    seen
}

pub(super) fn is_greek(c: char) -> bool {
    matches!(c, '\u{370}'..='\u{3e1}' | '\u{3f0}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}') && c.is_alphabetic()
}

/// Greek letters are symbols as well (`ρgh`, `TNFα`, `hν`), capitals and omicron hardly ever. `alone`: the text has no
/// others, so it is hardly about what they stand for.
fn greek_letters(letters: &[(usize, char, Letter)], alone: bool) -> Vec<usize> {
    let ascii = |index: Option<usize>| {
        index.and_then(|index| letters.get(index)).is_some_and(|(_, c, _)| c.is_ascii_alphabetic())
    };
    let lower = |index: Option<usize>| {
        index.and_then(|index| letters.get(index)).is_some_and(|(_, c, _)| c.is_ascii_lowercase())
    };
    let lowers = letters.iter().filter(|(_, c, _)| c.is_ascii_lowercase()).count();
    let mut found = Vec::new();
    for (index, (_, c, letter)) in letters.iter().enumerate() {
        if *letter != Letter::Foreign {
            continue;
        }
        let between = ascii(index.checked_sub(1)) && lower(Some(index + 1)) && lowers >= 2;
        let in_word = lowers >= 4 && lowers + 1 == letters.len();
        let begins = alone && index == 0 && in_word;
        let disguised = match c {
            'Α' | 'Β' | 'Ε' | 'Ζ' | 'Η' | 'Ι' | 'Κ' | 'Μ' | 'Ν' | 'Ο' | 'Ρ' | 'Τ' | 'Υ' | 'Χ' | 'ο' | 'ϲ' | 'ϳ' => {
                letters.len() >= 3
            }
            'ν' | 'ρ' | 'υ' | 'ι' => between || in_word,
            'α' | 'γ' | 'κ' | 'σ' | 'τ' | 'η' | 'ε' | 'ω' => between && lowers >= 3 || begins,
            c if is_greek(*c) => false,
            c => passes_for_latin(*c) == Some(true),
        };
        if !disguised {
            return Vec::new();
        }
        found.push(index);
    }
    found
}

/// Whether `text` has a word of three letters or more that is Cyrillic altogether.
pub(super) fn has_cyrillic_word(text: &str) -> bool {
    text.split(|c: char| letter(c).is_none()).any(|word| {
        let mut letters = 0;
        word.chars().all(|c| {
            letters += 1;
            c.script() == Script::Cyrillic
        }) && letters >= 3
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        let greek = text.chars().filter(|&c| is_greek(c)).count();
        for word in text.split(|c: char| letter(c).is_none()) {
            found.extend(disguised(word, || has_cyrillic_word(text), || greek).into_iter().map(|range| &word[range]));
        }
        found
    }

    #[test]
    fn a_letter_in_disguise_is_named() {
        for (text, letter) in [
            ("p\u{430}ssword", "\u{430}"),
            ("\u{421}laude", "\u{421}"),
            ("pass-w\u{3bf}rd", "\u{3bf}"),
            ("\u{391}pple", "\u{391}"),
            ("h\u{585}st", "\u{585}"),
            ("Passwоrd для входа", "о"),
            ("ваш прив\u{65}т", "e"),
            ("Нужн\u{6f} переписать", "o"),
            ("тогд\u{61} и", "a"),
            ("this \u{456}s it", "\u{456}"),
            ("pass\u{1d5d0}ord", "\u{1d5d0}"),
            ("pass\u{ff57}ord", "\u{ff57}"),
            ("clearly \u{1d41f}orbids", "\u{1d41f}"),
            ("stop everythin\u{1d420} there", "\u{1d420}"),
            ("to kee\u{1d429} it", "\u{1d429}"),
            ("lin\u{43a}er", "\u{43a}"),
            ("\u{3b1}ccount", "\u{3b1}"),
            ("B\u{3b9}tte", "\u{3b9}"),
        ] {
            assert_eq!(found(text), [letter], "{text}");
        }
    }

    #[test]
    fn what_is_spelled_as_it_should_be_is_left_alone() {
        for text in [
            "привет мир, это обычный текст",
            "оцените API-сервис, файлы PDFа и JSONом, Pythonист, VPNы, неAPI",
            "3D-принтер, Wi-Fi роутер, М8x40, планB, осьx",
            "IT-спеціаліст зі США, п'ять об\u{2bc}єктів",
            "µTorrent 10 kΩ Δt αβ ΔE λx σ² 5μm TNFα NFκB IL1α hν ρgh αv β-carotene αsynuclein kα",
            "東京API APIを使う 한국어SQL 中文English",
            "naïve façade Ångström Đà Nẵng ɡoʊ ŋ ə",
            "𝗯𝗼𝗹𝗱 d𝑥 2𝜋𝑟 ＡＰＩ Ｆｕｌｌ Ⅳ sin𝑥 log𝑛 tanh𝑥 𝑥th 𝐎nce",
            "сосо асе хор",
            "APIها می‌خواهم",
            "Αθήνα και English",
        ] {
            assert_eq!(found(text), Vec::<&str>::new(), "{text}");
        }
    }
}

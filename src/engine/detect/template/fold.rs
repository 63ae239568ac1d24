//! What looks alike: every character reduced to the plainest one that it may stand for.

use unicode_script::{Script, UnicodeScript};
use unicode_security::skeleton;

use crate::engine::detect::covert::chars::{Class, class};

/// Takes no room, or steers how its neighbours are shown.
pub(super) fn is_unseen(c: char) -> bool {
    !c.is_ascii()
        && matches!(
            class(c),
            Class::ZeroWidth | Class::DirectionMark | Class::Direction | Class::Variation | Class::Tag
        )
}

pub(super) fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '\u{b4}' | '\u{2b9}'
            ..='\u{2bf}'
                | '\u{2c8}'
                | '\u{2ca}'
                | '\u{2cb}'
                | '\u{2018}'
                | '\u{2019}'
                | '\u{201b}'
                | '\u{2032}'
                | '\u{2035}'
                | '\u{a78c}'
                | '\u{ff07}'
                | '\u{ff40}'
    )
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\u{ab}' | '\u{bb}' | '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{2036}' | '\u{2ba}' | '\u{ff02}')
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}')
}

/// Stands between the numbers of a date.
pub(super) fn is_date_separator(c: char) -> bool {
    is_dash(c) || matches!(c, '/' | '.' | '\u{2044}' | '\u{2215}' | '\u{ff0f}' | '\u{ff0e}' | '年' | '月')
}

pub(super) fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// Whether a word may have another letter than its plain form has, beside digits.
pub(super) fn may_be_odd(word: &str) -> bool {
    word.bytes().any(|byte| !byte.is_ascii() || byte.is_ascii_uppercase())
}

/// The plain form of a letter; `#` for a digit.
pub(super) fn letter(c: char) -> char {
    match c {
        '0'..='9' => '#',
        // Look-alikes of `I` are taken for `l` (UTS #39), so it is too.
        'I' => 'l',
        c if c.is_ascii() => c,
        c if c.is_numeric() && !c.is_alphabetic() => '#',
        // Ideographs, syllables and the like have no plainer form.
        '\u{3000}'..='\u{d7ff}' => c,
        c => {
            let mut buffer = [0; 4];
            let mut plain = skeleton(c.encode_utf8(&mut buffer)).filter(|c| c.script() != Script::Inherited);
            match (plain.next(), plain.next()) {
                (Some('r'), Some('n')) => 'm',
                (Some(first), None) if first.is_ascii_alphanumeric() => first,
                _ => c,
            }
        }
    }
}

/// The small letter or the digit that `c` is taken for, where that can be told.
pub(super) fn plain(c: char) -> Option<char> {
    match letter(c) {
        _ if c.is_ascii_digit() => Some(c),
        '#' => matches!(c, '\u{ff10}'..='\u{ff19}').then(|| char::from_u32(u32::from(c) - 0xfee0)).flatten(),
        // What looks like `l` and is no capital is one.
        plain => Some(plain.to_ascii_lowercase()),
    }
}

/// The sign between two numbers, where there is one alone and it may stand in a date.
pub(super) fn separator(gap: &str) -> Option<char> {
    let mut seen = gap.chars().filter(|&c| !is_unseen(c));
    match (seen.next(), seen.next()) {
        (Some(c), None) if is_date_separator(c) => Some(c),
        _ => None,
    }
}

/// Hands out the plain form of the text between two words. `date`: both are numbers of a date, `after_number` whether
/// the first is a number.
pub(super) fn between(gap: &str, date: bool, after_number: bool, mut out: impl FnMut(char)) {
    let seen = || gap.chars().filter(|&c| !is_unseen(c));
    if date && separator(gap).is_some() {
        return out('-');
    }
    let mut chars = seen().peekable();
    if after_number && chars.peek() == Some(&'日') {
        chars.next();
    }
    let mut space = false;
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => {
                // White space before it goes with the line end; what follows is how deep the line stands.
                space = false;
                out('\n');
                let mut ahead = chars.clone();
                while ahead.next_if(|c| is_space(*c)).is_some() {}
                // A line of nothing but white space is as empty as one without.
                if matches!(ahead.peek(), Some('\n' | '\r')) {
                    chars = ahead;
                    continue;
                }
                while let Some(c) = chars.next_if(|c| is_space(*c)) {
                    out(if c == '\t' { c } else { ' ' });
                }
            }
            c if is_space(c) => space = true,
            c => {
                if std::mem::take(&mut space) {
                    out(' ');
                }
                match c {
                    c if is_apostrophe(c) => out('\''),
                    c if is_quote(c) => out('"'),
                    c if is_dash(c) => out('-'),
                    '\u{2026}' => (0..3).for_each(|_| out('.')),
                    '\u{b7}' | '\u{2219}' | '\u{2023}' => out('\u{2022}'),
                    '\u{ff01}'..='\u{ff5e}' => out(char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c)),
                    c if is_mark(c) => {}
                    c if c.is_ascii() => out(c),
                    // Signs that pass for another: `\u{a789}` for `:`, `\u{37e}` for `;`. Drawings do not.
                    '\u{a0}'..='\u{24ff}' | '\u{a700}'..='\u{a7ff}' | '\u{fe10}'..='\u{fe6f}' => {
                        let plain: String = skeleton(c.encode_utf8(&mut [0; 4])).collect();
                        match !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_punctuation()) {
                            true => plain.chars().for_each(&mut out),
                            false => out(c),
                        }
                    }
                    c => out(c),
                }
            }
        }
    }
    if space {
        out(' ');
    }
}

fn is_space(c: char) -> bool {
    c == '\t' || c == ' ' || c.is_whitespace() && !matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}' | '\u{85}')
}

/// What sort of mark the difference between two spellings is.
pub(super) fn kind(here: &str, usual: &str, date: bool) -> &'static str {
    let either = |matches: fn(char) -> bool| here.chars().chain(usual.chars()).any(matches);
    if either(is_unseen) {
        let mut classes = here.chars().chain(usual.chars()).map(class);
        return match classes.find(|class| !matches!(class, Class::Other | Class::Space | Class::LookAlike)) {
            Some(Class::Tag) => "cov.tag",
            Some(Class::Variation) => "cov.varsel",
            Some(Class::Direction | Class::DirectionMark) => "cov.bidi",
            _ => "cov.zero_width",
        };
    }
    if date && either(is_date_separator) || either(|c| matches!(c, '年' | '月' | '日')) {
        return "cov.date_sep";
    }
    if either(is_apostrophe) || either(is_quote) {
        return "cov.apostrophe";
    }
    if either(|c| c.is_control() && !c.is_whitespace()) {
        return "cov.ctrl";
    }
    if either(is_mark) {
        return "cov.nfd";
    }
    if here.chars().chain(usual.chars()).all(char::is_whitespace) {
        return "cov.space";
    }
    "cov.homoglyph"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(gap: &str, date: bool) -> String {
        let mut out = String::new();
        between(gap, date, date, |c| out.push(c));
        out
    }

    #[test]
    fn spellings_of_one_thing_fold_to_the_same() {
        for (a, b, date) in [
            ("'", "\u{2019}", false),
            ("-", "/", true),
            ("-", "年", true),
            (" ", "\u{202f}", false),
            (" ", "  ", false),
            (".\n", ". \r\n", false),
            (" - ", " \u{2013} ", false),
            ("\u{2026} ", "... ", false),
            (", ", ",\u{200b} ", false),
            (": ", "\u{ff1a}\u{a0}", false),
            (": ", "\u{a789} ", false),
            ("; ", "\u{37e} ", false),
            (". ", "\u{2024} ", false),
            (", ", "\u{201a} ", false),
        ] {
            assert_eq!(folded(a, date), folded(b, date), "{a:?} {b:?}");
        }
        for (a, b) in [("\n", " "), ("\n", "\n\n"), ("\n  ", "\n"), (", ", ". "), ("-", "/"), ("", " ")] {
            assert_ne!(folded(a, false), folded(b, false), "{a:?} {b:?}");
        }
        let word = |text: &str| text.chars().map(letter).collect::<String>();
        for (a, b) in [("It", "\u{406}t"), ("password1", "p\u{430}ssword2"), ("café", "cafe"), ("mail", "\u{217f}ail")]
        {
            assert_eq!(word(a), word(b));
        }
    }
}

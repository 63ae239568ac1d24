//! What a difference is called: the fact that shows, or the mark that tells of it.

use unicode_normalization::UnicodeNormalization;

use super::factor::{Factor, Sort};
use super::feature::{self, Feature};
use crate::report::compare::words;

/// In which form a fact shows.
#[derive(Clone, Copy, Debug, serde::Deserialize, Eq, Ord, PartialEq, PartialOrd, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The value itself is in it.
    Plain,
    /// Something that is drawn from it: a digest, a class, a time, other words.
    Derived,
    /// Characters that look alike or are not seen.
    Characters,
    /// Order, white space, capitals: how the same is spelled.
    Spelling,
    /// It is there or not.
    Presence,
    /// A trait of a value that is drawn anew each time.
    Trait,
}

/// The kind of what differs between `usual` and `other`, and how it shows.
pub fn of_values(factor: &Factor, value: &str, usual: Option<&str>, other: Option<&str>) -> (&'static str, Form) {
    let (Some(usual), Some(other)) = (usual, other) else {
        let there = other.or(usual).unwrap_or("");
        let form = if shows(there, value) { Form::Plain } else { Form::Presence };
        return (if form == Form::Plain { of_factor(factor, there) } else { "cov.presence" }, form);
    };
    if let Some(kind) = covert(usual, other) {
        let form = if kind == "cov.trailing_ws" || kind == "cov.space" { Form::Spelling } else { Form::Characters };
        return (kind, form);
    }
    let form = if shows(other, value) && !shows(usual, value) { Form::Plain } else { Form::Derived };
    (of_factor(factor, other), form)
}

/// The kind of a trait that differs.
pub fn of_feature(factor: &Factor, feature: Feature, usual: Option<&str>, other: Option<&str>) -> (&'static str, Form) {
    match (feature, usual, other) {
        (Feature::Marks, Some(usual), Some(other)) => {
            (covert(usual, other).unwrap_or(of_factor(factor, other)), Form::Characters)
        }
        (Feature::Parity, ..) => ("cov.number", Form::Trait),
        _ => (of_factor(factor, other.unwrap_or("")), Form::Trait),
    }
}

fn shows(text: &str, value: &str) -> bool {
    value.len() >= 2 && text.to_lowercase().contains(&value.to_lowercase())
}

/// The mark, where two texts say the same in other characters.
fn covert(a: &str, b: &str) -> Option<&'static str> {
    let words = |text: &str| -> String { text.chars().filter(char::is_ascii_alphanumeric).collect() };
    let marks = |text: &str| -> Vec<char> { text.chars().filter(|c| !c.is_ascii_alphanumeric()).collect() };
    if words(a) != words(b) {
        // A letter of another alphabet is no ASCII: what looks the same is the same word.
        let spelled = words::code_points(&words::compare(a, b));
        let letters = spelled.iter().any(|pair| !pair.a.is_empty() && !pair.b.is_empty());
        // Only what is composed differently is the same once it is composed.
        let composed = |text: &str| text.nfc().collect::<String>();
        return if letters && composed(a) == composed(b) {
            Some("cov.nfd")
        } else {
            letters.then_some("cov.homoglyph")
        };
    }
    let (a_marks, b_marks) = (marks(a), marks(b));
    let differing: Vec<char> = {
        let gone = a_marks.iter().filter(|c| !b_marks.contains(c) || count(&a_marks, **c) > count(&b_marks, **c));
        let new = b_marks.iter().filter(|c| !a_marks.contains(c) || count(&b_marks, **c) > count(&a_marks, **c));
        gone.chain(new).copied().collect()
    };
    let any = |fits: fn(char) -> bool| differing.iter().any(|&c| fits(c));
    let all = |fits: fn(char) -> bool| !differing.is_empty() && differing.iter().all(|&c| fits(c));
    if any(|c| matches!(c, '\u{e0000}'..='\u{e007f}')) {
        Some("cov.tag")
    } else if any(|c| matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')) {
        Some("cov.varsel")
    } else if any(|c| matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}')) {
        Some("cov.zero_width")
    } else if any(|c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) {
        Some("cov.bidi")
    } else if any(|c| {
        matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{2bc}' | '\u{2b9}' | '\u{60}' | '\u{b4}' | '\u{ff07}')
    }) {
        Some("cov.apostrophe")
    } else if any(|c| c.is_control() && !c.is_whitespace()) {
        Some("cov.ctrl")
    } else if all(char::is_whitespace) {
        Some(if a.trim_end() == b.trim_end() { "cov.trailing_ws" } else { "cov.space" })
    } else if any(|c| matches!(c, '\u{300}'..='\u{36f}')) {
        Some("cov.nfd")
    } else if all(|c| "-/._:年月日\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2212}".contains(c)) {
        Some("cov.date_sep")
    } else if any(|c| !c.is_ascii()) || (a != b && !differing.is_empty()) {
        Some("cov.homoglyph").filter(|_| any(|c| !c.is_ascii()))
    } else {
        None
    }
}

fn count(chars: &[char], c: char) -> usize {
    chars.iter().filter(|known| **known == c).count()
}

/// The kind of fact that a factor is.
pub fn of_factor(factor: &Factor, shown: &str) -> &'static str {
    match factor.sort() {
        Sort::Tz if is_offset(shown) => "tz.offset",
        Sort::Tz if crate::report::clock::millis(shown).is_some() || is_clock(shown) => "time.local",
        Sort::Tz => "tz.iana",
        Sort::Lang if shown.contains('_') => "locale.posix",
        Sort::Lang => "locale.bcp47",
        Sort::Hostname => "host.name",
        Sort::User => "user.name",
        Sort::Home => "path.home",
        Sort::Cwd => "path.cwd",
        Sort::Shell => "env.shell",
        Sort::Term => "env.term",
        Sort::Ci => "env.ci",
        Sort::BaseUrl => "api.base_host",
        Sort::Proxy => "net.proxy",
        Sort::Variable(_) => "env.vars",
    }
}

fn is_offset(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-', '\u{2212}']);
    let signed = digits.len() < text.len();
    (signed && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') && !digits.is_empty())
        || (feature::class(text) == "whole number"
            && text.parse::<i32>().is_ok_and(|number| number.abs() <= 50_400 && number % 15 == 0))
}

fn is_clock(text: &str) -> bool {
    let mut colons = text.split(':');
    let two =
        |part: Option<&str>| part.is_some_and(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()));
    two(colons.next()) && two(colons.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let tz = Factor::parse("tz=UTC,Asia/Tokyo").unwrap();
        for (usual, other, expected) in [
            (Some("UTC"), Some("Asia/Tokyo"), ("tz.iana", Form::Plain)),
            (Some("0"), Some("540"), ("tz.offset", Form::Derived)),
            (Some("+00:00"), Some("+09:00"), ("tz.offset", Form::Derived)),
            (Some("9f86d081884c"), Some("60303ae22b99"), ("tz.iana", Form::Derived)),
            (Some("user's"), Some("user\u{2019}s"), ("cov.apostrophe", Form::Characters)),
            (Some("2026-11-27"), Some("2026/11/27"), ("cov.date_sep", Form::Characters)),
            (Some("a b"), Some("a  b"), ("cov.space", Form::Spelling)),
            (Some("a b"), Some("a\u{a0}b"), ("cov.space", Form::Spelling)),
            (Some("a b"), Some("a b "), ("cov.trailing_ws", Form::Spelling)),
            (Some("ab"), Some("a\u{200b}b"), ("cov.zero_width", Form::Characters)),
            (Some("admin"), Some("\u{430}dmin"), ("cov.homoglyph", Form::Characters)),
            (None, Some("1"), ("cov.presence", Form::Presence)),
            (None, Some("Asia/Tokyo"), ("tz.iana", Form::Plain)),
        ] {
            assert_eq!(of_values(&tz, "Asia/Tokyo", usual, other), expected, "{usual:?} {other:?}");
        }
        assert_eq!(of_feature(&tz, Feature::Parity, Some("even"), Some("odd")), ("cov.number", Form::Trait));
    }
}

//! Traits of a value that stay the same while the value itself is drawn anew.

use crate::report::place::is_id;

/// What of a value is looked at.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Feature {
    /// All of it.
    Exact,
    /// Punctuation, white space and all beyond ASCII, in their order; words and numbers aside.
    Marks,
    /// Word, number, identifier, digest …
    Class,
    /// How many characters.
    Length,
    /// Capitals and small letters.
    Case,
    /// The first characters, by their number.
    Prefix(u8),
    /// The last characters.
    Suffix(u8),
    /// The characters that are the same whenever nothing is varied, in the middle too.
    Fixed,
    /// Whether the number, or the last digit, is odd.
    Parity,
    /// The size of a number, by powers of two.
    Magnitude,
}

impl Feature {
    pub fn name(self) -> &'static str {
        match self {
            Feature::Exact => "value",
            Feature::Marks => "characters",
            Feature::Class => "class",
            Feature::Length => "length",
            Feature::Case => "case",
            Feature::Prefix(_) => "prefix",
            Feature::Suffix(_) => "suffix",
            Feature::Fixed => "fixed characters",
            Feature::Parity => "parity",
            Feature::Magnitude => "magnitude",
        }
    }
}

/// Those that are looked at where the value itself varies, the most telling first.
pub const OF_NOISE: [Feature; 14] = [
    Feature::Marks,
    Feature::Class,
    Feature::Case,
    Feature::Length,
    Feature::Prefix(8),
    Feature::Prefix(4),
    Feature::Prefix(3),
    Feature::Prefix(2),
    Feature::Prefix(1),
    Feature::Suffix(4),
    Feature::Suffix(2),
    Feature::Suffix(1),
    Feature::Parity,
    Feature::Magnitude,
];

/// The trait of `value`; none where it has no such.
pub fn of(feature: Feature, value: &str) -> Option<String> {
    match feature {
        Feature::Exact => Some(value.to_owned()),
        Feature::Marks => Some(marks(value)),
        Feature::Class => Some(class(value).to_owned()),
        Feature::Length => Some(value.chars().count().to_string()),
        Feature::Case => case(value).map(str::to_owned),
        Feature::Prefix(length) => part(value, length, |chars, length| chars[..length].iter().collect()),
        Feature::Suffix(length) => part(value, length, |chars, length| chars[chars.len() - length..].iter().collect()),
        // It takes the values of the base case to know which these are.
        Feature::Fixed => None,
        Feature::Parity => parity(value).map(str::to_owned),
        Feature::Magnitude => magnitude(value).map(|power| format!("2^{power}")),
    }
}

/// The longest value of which the fixed characters are looked at.
const LONGEST_FIXED: usize = 256;

/// Which characters all values of the base case have in the same place, if they are of one length and differ elsewhere.
pub fn fixed<T: AsRef<str>>(base: impl Iterator<Item = T>) -> Option<Vec<Option<char>>> {
    let mut mask: Option<Vec<Option<char>>> = None;
    let mut count = 0;
    for value in base {
        let value = value.as_ref();
        if value.len() > LONGEST_FIXED {
            return None;
        }
        let mask = mask.get_or_insert_with(|| value.chars().map(Some).collect());
        if mask.len() != value.chars().count() {
            return None;
        }
        for (known, c) in mask.iter_mut().zip(value.chars()) {
            *known = known.filter(|known| *known == c);
        }
        count += 1;
    }
    let mask = mask?;
    let fixed = mask.iter().flatten().filter(|c| c.is_ascii_alphanumeric()).count();
    (count >= 4 && fixed > 0 && fixed < mask.len()).then_some(mask)
}

/// The characters of `value` where `mask` has some; none of another length.
pub fn at_fixed(mask: &[Option<char>], value: &str) -> Option<String> {
    (value.chars().count() == mask.len())
        .then(|| mask.iter().zip(value.chars()).map(|(known, c)| if known.is_some() { c } else { '·' }).collect())
}

fn marks(value: &str) -> String {
    let mut marks = String::new();
    let mut word = false;
    for c in value.chars() {
        if c.is_ascii_alphanumeric() {
            if !std::mem::replace(&mut word, true) {
                marks.push('w');
            }
        } else {
            word = false;
            marks.push(c);
        }
    }
    marks
}

/// What sort of value it is.
pub fn class(value: &str) -> &'static str {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match value {
        "" => "empty",
        "true" | "false" => "truth",
        "null" => "null",
        _ if value.parse::<i128>().is_ok() => "whole number",
        _ if value.parse::<f64>().is_ok() => "number",
        _ if value.len() == 36
            && value.bytes().filter(|&byte| byte == b'-').count() == 4
            && hex(&value.replace('-', "")) =>
        {
            "uuid"
        }
        _ if value.len() >= 8 && hex(value) => "hex",
        _ if crate::report::clock::millis(value).is_some() => "time",
        _ if is_id(value) => "id",
        _ if value.contains(char::is_whitespace) => "text",
        _ => "word",
    }
}

fn case(value: &str) -> Option<&'static str> {
    let upper = value.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = value.bytes().any(|byte| byte.is_ascii_lowercase());
    match (upper, lower) {
        (true, true) => Some("mixed"),
        (true, false) => Some("upper"),
        (false, true) => Some("lower"),
        (false, false) => None,
    }
}

fn part(value: &str, length: u8, cut: impl Fn(&[char], usize) -> String) -> Option<String> {
    let chars: Vec<char> = value.chars().collect();
    // Of a part that is nearly all of the value nothing is left to be drawn.
    (chars.len() >= usize::from(length) * 2).then(|| cut(&chars, usize::from(length)))
}

fn parity(value: &str) -> Option<&'static str> {
    let last = value.chars().rev().find(char::is_ascii_alphanumeric)?;
    let digit = match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true => last.to_digit(10)?,
        // Of identifiers the last nibble.
        false => last.to_digit(16)?,
    };
    Some(if digit % 2 == 1 { "odd" } else { "even" })
}

fn magnitude(value: &str) -> Option<i32> {
    let number: f64 = value.parse().ok()?;
    (number.is_finite() && number != 0.0).then(|| number.abs().log2().floor() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_never_change_are_known_in_the_middle_too() {
        let mask = fixed(["1f4a-x", "2c4b-y", "8d40-z", "004e-x"].iter()).unwrap();
        assert_eq!(at_fixed(&mask, "9a7c-q").as_deref(), Some("··7·-·"));
        assert_eq!(at_fixed(&mask, "short"), None);
        assert_eq!(fixed(["12", "12", "12", "12"].iter()), None);
        assert_eq!(fixed(["12", "3", "4", "5"].iter()), None);
    }

    #[test]
    fn traits_of_values() {
        for (feature, value, expected) in [
            (Feature::Marks, "user\u{2019}s 2026-11-27", Some("w\u{2019}w w-w-w")),
            (Feature::Class, "9f86d081-884c-4d65-9a2f-eaa0c55ad015", Some("uuid")),
            (Feature::Class, "9f86d081884c7d65", Some("hex")),
            (Feature::Class, "warm", Some("word")),
            (Feature::Class, "-3", Some("whole number")),
            (Feature::Length, "日本", Some("2")),
            (Feature::Case, "aB", Some("mixed")),
            (Feature::Case, "12", None),
            (Feature::Prefix(2), "abcdef", Some("ab")),
            (Feature::Prefix(4), "abcdef", None),
            (Feature::Suffix(1), "abcdef", Some("f")),
            (Feature::Parity, "4711", Some("odd")),
            (Feature::Parity, "99f4", Some("even")),
            (Feature::Parity, "xyz", None),
            (Feature::Magnitude, "1024", Some("2^10")),
            (Feature::Magnitude, "x", None),
        ] {
            assert_eq!(of(feature, value).as_deref(), expected, "{feature:?} of {value}");
        }
    }
}

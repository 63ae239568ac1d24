//! A value that stands in some encoding of itself: what stands in for it stands in the same encoding.
//!
//! `KzEwMzA=` is `+1030`, so `+0000` leaves as `KzAwMDA=`. Of a digest, or an encoding cut at its ends, nothing but
//! the shape can be kept.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Ways in which one value alone is written.
const ENCODINGS: &[fn(&str) -> String] = &[
    |text| STANDARD.encode(text),
    |text| STANDARD_NO_PAD.encode(text),
    |text| URL_SAFE.encode(text),
    |text| URL_SAFE_NO_PAD.encode(text),
    |text| hex(text, false),
    |text| hex(text, true),
    |text| percent(text, |_| true, true),
    |text| percent(text, |_| true, false),
    |text| percent(text, |byte| !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte), true),
    |text| percent(text, |byte| !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte), false),
    |text| percent(text, |byte| !byte.is_ascii_alphanumeric() && !b"-._~/".contains(&byte), true),
    |text| references(text, |c| format!("&#{};", u32::from(c))),
    |text| references(text, |c| format!("&#x{:x};", u32::from(c))),
    |text| references(text, |c| format!("&#x{:X};", u32::from(c))),
    |text| base32(text, true),
    |text| base32(text, false),
    |text| text.chars().rev().collect(),
    |text| text.chars().map(rot13).collect(),
    |text| text.replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
    |text| text.replace(['/', '\\'], "-"),
];

/// `stand_in` written as `value` is written in `observed`; none where it is no encoding of the whole value that is known.
pub(super) fn like(value: &str, observed: &str, stand_in: &str) -> Option<String> {
    let spellings = [value.to_owned(), value.to_lowercase(), value.to_uppercase()];
    ENCODINGS
        .iter()
        .find(|encode| spellings.iter().any(|value| encode(value) == observed))
        .map(|encode| encode(stand_in))
}

fn hex(text: &str, upper: bool) -> String {
    text.bytes().fold(String::with_capacity(2 * text.len()), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = if upper { write!(out, "{byte:02X}") } else { write!(out, "{byte:02x}") };
        out
    })
}

fn percent(text: &str, escaped: impl Fn(u8) -> bool, upper: bool) -> String {
    text.bytes().fold(String::with_capacity(3 * text.len()), |mut out, byte| {
        let _ = match (escaped(byte), upper) {
            (false, _) => write!(out, "{}", byte as char),
            (true, true) => write!(out, "%{byte:02X}"),
            (true, false) => write!(out, "%{byte:02x}"),
        };
        out
    })
}

fn references(text: &str, reference: impl Fn(char) -> String) -> String {
    text.chars().map(reference).collect()
}

/// RFC 4648, section 6.
fn base32(text: &str, padded: bool) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::new();
    for group in text.as_bytes().chunks(5) {
        let mut bits = [0; 8];
        bits[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(bits);
        let letters = (group.len() * 8).div_ceil(5);
        (0..letters).for_each(|at| out.push(ALPHABET[(bits >> (35 - 5 * at)) as usize & 31] as char));
        if padded {
            (letters..8).for_each(|_| out.push('='));
        }
    }
    out
}

fn rot13(c: char) -> char {
    let turned = |first: u8| char::from((c as u8 - first + 13) % 26 + first);
    match c {
        'a'..='z' => turned(b'a'),
        'A'..='Z' => turned(b'A'),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn what_stands_in_is_written_as_the_value_was() {
        for (observed, expected) in [
            ("KzEwMzA=", "KzAwMDA="),
            ("KzEwMzA", "KzAwMDA"),
            ("2b31303330", "2b30303030"),
            ("2B31303330", "2B30303030"),
            ("%2B%31%30%33%30", "%2B%30%30%30%30"),
            ("%2b1030", "%2b0000"),
            ("&#43;&#49;&#48;&#51;&#48;", "&#43;&#48;&#48;&#48;&#48;"),
            ("&#x2b;&#x31;&#x30;&#x33;&#x30;", "&#x2b;&#x30;&#x30;&#x30;&#x30;"),
            ("FMYTAMZQ", "FMYDAMBQ"),
            ("0301+", "0000+"),
        ] {
            assert_eq!(like("+1030", observed, "+0000").as_deref(), Some(expected), "{observed}");
        }
        assert_eq!(like("/opt/acme/x", "-opt-acme-x", "/usr/bin/x").as_deref(), Some("-usr-bin-x"));
        assert_eq!(
            like("/opt/ACME", "L29wdC9hY21l", "/usr").as_deref(),
            Some("L3Vzcg=="),
            "of the value in small letters"
        );
        assert_eq!(like("+1030", "zEwM", "+0000"), None);
    }
}

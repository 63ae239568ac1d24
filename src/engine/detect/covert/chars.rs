//! What characters are to the eye: the classes that marks are made of, and where each is at home.

use unicode_script::{Script, UnicodeScript};

/// How a character may carry what nobody sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::engine::detect) enum Class {
    /// Takes no room, and is at home in some script or none.
    ZeroWidth,
    /// `LRM`, `RLM`, `ALM`.
    DirectionMark,
    /// An embedding, override or isolate, or the end of one.
    Direction,
    Variation,
    Tag,
    /// A space of another width than U+0020 and U+00A0.
    Space,
    Control,
    /// A letter of a script that has look-alikes of Latin letters, or a styled Latin letter.
    LookAlike,
    Other,
}

pub(in crate::engine::detect) fn class(c: char) -> Class {
    match c {
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Class::Control,
        '\u{a0}' => Class::Other,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' => Class::ZeroWidth,
        '\u{61c}' | '\u{200e}' | '\u{200f}' => Class::DirectionMark,
        '\u{180b}'..='\u{180d}' | '\u{180f}' => Class::Variation,
        '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' => Class::Space,
        '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' => Class::ZeroWidth,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Class::Direction,
        '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' => Class::ZeroWidth,
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => Class::Variation,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => Class::ZeroWidth,
        '\u{e0000}'..='\u{e007f}' => Class::Tag,
        '\u{e0080}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}' => Class::ZeroWidth,
        // Latin with its accents, and IPA: the most common letters beyond ASCII.
        '\u{a1}'..='\u{36f}' => Class::Other,
        '\u{370}'..='\u{58f}' | '\u{10a0}'..='\u{10ff}' | '\u{13a0}'..='\u{167f}' => Class::LookAlike,
        '\u{2170}'..='\u{217f}' | '\u{2c80}'..='\u{2dff}' | '\u{a4d0}'..='\u{a6ff}' => Class::LookAlike,
        '\u{ab70}'..='\u{abbf}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => Class::LookAlike,
        '\u{10280}'..='\u{1057f}' | '\u{1d400}'..='\u{1d7ff}' => Class::LookAlike,
        _ => Class::Other,
    }
}

/// A letter or digit of a script that writes words without anything invisible in them.
pub(super) fn is_plain_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let european = [Script::Latin, Script::Cyrillic, Script::Greek, Script::Armenian, Script::Georgian];
    c.is_alphabetic() && european.contains(&c.script())
}

/// Whether one zero-width character is in its place beside `c`, though it may be nowhere else.
pub(super) fn is_home(mark: char, c: char) -> bool {
    match mark {
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => c.script() == Script::Hangul,
        '\u{17b4}' | '\u{17b5}' => c.script() == Script::Khmer,
        '\u{180b}'..='\u{180f}' => matches!(c.script(), Script::Mongolian | Script::Phags_Pa),
        '\u{1bca0}'..='\u{1bca3}' => c.script() == Script::Duployan,
        '\u{1d173}'..='\u{1d17a}' => matches!(c, '\u{1d100}'..='\u{1d1ff}'),
        '\u{206a}'..='\u{206f}' | '\u{2065}' | '\u{fff0}'..='\u{fff8}' | '\u{e0080}'..='\u{e0fff}' => false,
        // Joiners and breaks: every script that is not written with plain words uses one of them.
        _ => !is_plain_word(c),
    }
}

/// Whether nothing in ordinary text needs this character outside the script it was made for.
pub(super) fn is_stray(mark: char) -> bool {
    !matches!(mark, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Scripts written from right to left.
pub(super) fn is_rtl(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
        && c.is_alphabetic()
}

/// A character that may be shown as text or as a picture: emoji, arrows, dingbats and the like. Wider than
/// Unicode's list, as people's habits are.
pub(super) fn is_pictured(c: char) -> bool {
    matches!(c, '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{20e3}' | '\u{2100}'..='\u{27bf}'
        | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}')
}

/// Whether `selector` may stand once after `base`, with `next` behind it. Sources: Unicode's
/// `emoji-variation-sequences.txt`, `StandardizedVariants.txt` and the ideographic database's ranges.
pub(super) fn takes(base: Option<char>, selector: char, next: Option<char>) -> bool {
    let Some(base) = base else {
        // What is left of a character cut in two.
        return matches!(selector, '\u{fe0e}' | '\u{fe0f}');
    };
    let ideograph = matches!(base, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' | '\u{3005}' | '\u{3007}');
    match selector {
        '\u{180b}'..='\u{180f}' => is_home(selector, base),
        '\u{e0100}'..='\u{e01ef}' => ideograph,
        '\u{fe0e}' | '\u{fe0f}' if is_pictured(base) => true,
        '\u{fe0e}' | '\u{fe0f}' if matches!(base, '0'..='9' | '#' | '*') && next == Some('\u{20e3}') => true,
        // Left behind where a picture was taken away, as in the anchors of headings: `(#\u{fe0f}-setup)`.
        '\u{fe0f}' => !base.is_alphanumeric() && (base.is_ascii() || base.is_whitespace()),
        '\u{fe0e}' => false,
        _ => {
            ideograph
                || matches!(base, '0' | '\u{2018}'..='\u{201d}' | '\u{2200}'..='\u{22ff}' | '\u{2a00}'..='\u{2aff}'
                    | '\u{3001}' | '\u{3002}' | '\u{ff01}' | '\u{ff0c}' | '\u{ff0e}' | '\u{ff1a}' | '\u{ff1b}'
                    | '\u{ff1f}' | '\u{13000}'..='\u{1345f}')
                || matches!(base.script(), Script::Myanmar | Script::Phags_Pa | Script::Manichaean | Script::Mongolian)
        }
    }
}

/// Whether a word of Latin letters may hold letters of `script` at all times: `SQLを`, `APIها`.
pub(super) fn mixes_freely(script: Script) -> bool {
    !matches!(
        script,
        Script::Cyrillic
            | Script::Greek
            | Script::Armenian
            | Script::Georgian
            | Script::Cherokee
            | Script::Coptic
            | Script::Lisu
            | Script::Canadian_Aboriginal
            | Script::Ogham
            | Script::Runic
            | Script::Vai
            | Script::Bamum
            | Script::Deseret
            | Script::Gothic
            | Script::Lycian
            | Script::Carian
            | Script::Old_Italic
            | Script::Osage
            | Script::Elbasan
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_belong_to_their_bases() {
        for (base, selector, next) in [
            ('\u{2764}', '\u{fe0f}', None),
            ('1', '\u{fe0f}', Some('\u{20e3}')),
            ('#', '\u{fe0f}', Some('-')),
            ('葛', '\u{e0100}', None),
            ('\u{1820}', '\u{180b}', None),
            ('0', '\u{fe00}', None),
            ('∩', '\u{fe00}', None),
        ] {
            assert!(takes(Some(base), selector, next), "{base}");
        }
        for (base, selector) in
            [('a', '\u{fe0f}'), ('a', '\u{fe01}'), ('7', '\u{fe0f}'), ('a', '\u{e0100}'), ('x', '\u{180b}')]
        {
            assert!(!takes(Some(base), selector, Some('b')), "{base}");
        }
    }
}

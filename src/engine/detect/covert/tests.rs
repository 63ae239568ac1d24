use super::*;

fn found(text: &str) -> Vec<(&'static str, String)> {
    marks(text.as_bytes(), false).into_iter().map(|mark| (mark.kind, text[mark.window].to_owned())).collect()
}

fn tagged(text: &str) -> String {
    text.chars().map(|c| char::from_u32(0xe0000 + u32::from(c)).expect("ASCII")).collect()
}

#[test]
fn every_mark_of_the_certain_set_is_named() {
    let smuggled: String =
        "ws17".bytes().map(|byte| char::from_u32(0xe0100 + u32::from(byte) - 16).expect("a selector")).collect();
    let tags = tagged("hello");
    for (text, kind, mark) in [
        (format!("Sum{tags} it up"), "cov.tag", tags.as_str()),
        (format!("\u{1f3f4}{tags}{tags} flag"), "cov.tag", &format!("{tags}{tags}")),
        ("pass\u{200b}word".into(), "cov.zero_width", "\u{200b}"),
        ("naï\u{200d}ve".into(), "cov.zero_width", "\u{200d}"),
        ("user\u{2063}name".into(), "cov.zero_width", "\u{2063}"),
        ("o\u{2062}ptions".into(), "cov.zero_width", "\u{2062}"),
        ("bro\u{feff}ken".into(), "cov.zero_width", "\u{feff}"),
        ("done.\u{200b}\u{200c}\u{200d}\u{200b} Next".into(), "cov.zero_width", "\u{200b}\u{200c}\u{200d}\u{200b}"),
        ("an \u{3164}odd one".into(), "cov.zero_width", "\u{3164}"),
        ("end \u{2060}\u{200b}".into(), "cov.zero_width", "\u{2060}\u{200b}"),
        (format!("\u{1f600}{smuggled} smile"), "cov.varsel", &smuggled),
        ("plain\u{fe0f} text".into(), "cov.varsel", "\u{fe0f}"),
        ("a\u{e0101}b".into(), "cov.varsel", "\u{e0101}"),
        ("access\u{202e}txt.exe".into(), "cov.bidi", "\u{202e}"),
        ("if a\u{2066} // check".into(), "cov.bidi", "\u{2066}"),
        ("user\u{200e}name".into(), "cov.bidi", "\u{200e}"),
        ("p\u{430}yment".into(), "cov.homoglyph", "\u{430}"),
        ("x\u{2004}\u{2005}\u{2004}y".into(), "cov.space", "\u{2004}\u{2005}\u{2004}"),
        ("Нужно\u{200c}\u{200d}\u{200d}\u{200c} слово".into(), "cov.zero_width", "\u{200c}\u{200d}\u{200d}\u{200c}"),
        ("Διακο\u{fe05}μιστής".into(), "cov.varsel", "\u{fe05}"),
        ("слово\u{fe0f} и".into(), "cov.varsel", "\u{fe0f}"),
        ("բառ\u{e0101}եր".into(), "cov.varsel", "\u{e0101}"),
        ("pass\u{13}word".into(), "cov.ctrl", "\u{13}"),
        ("pass\u{81}word".into(), "cov.ctrl", "\u{81}"),
    ] {
        assert_eq!(found(&text), [(kind, mark.to_owned())], "{}", text.escape_unicode());
    }
}

#[test]
fn what_scripts_and_people_need_is_left_alone() {
    for text in [
        "сім\u{2bc}я, п\u{2019}ять, з'їзд",
        "10\u{202f}000\u{a0}€ : «\u{a0}Bonjour\u{202f}!\u{a0}» 5\u{2009}km",
        "می\u{200c}خواهم و API\u{200c}ها، نمی\u{200c}\u{200c}شود",
        "क्\u{200d}ष র\u{200d}্য ශ්\u{200d}රී",
        "👨\u{200d}👩\u{200d}👧\u{200d}👦 🏳\u{fe0f}\u{200d}🌈 👩🏽\u{200d}💻 ❤\u{fe0f}\u{200d}🔥 1\u{fe0f}\u{20e3} #\u{fe0f}\u{20e3}",
        "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} 🇺🇦 ☑\u{fe0f} ↩\u{fe0e} ™\u{fe0f} ▶\u{fe0e}",
        "[⚙\u{fe0f} Setup](#\u{fe0f}-setup) ⚠\u{fe0f}\u{fe0f}",
        "re\u{301}sume\u{301}.pdf Mu\u{308}ller a\u{308}",
        "\u{201c}typographic\u{201d} \u{2018}quotes\u{2019} — and … ellipses",
        "‏שלום‏ C++‎ (עברית) \u{2067}אבג\u{2069} \u{202b}שורה\u{202c}",
        "مرحبا\u{200f} (HTTP)\u{200e} \u{2068}Ann\u{2069}",
        "Tiếng Việt: đường phố Hà Nội",
        "[ˈtɛkst] ɡoʊ θɪŋ ʃ \u{361}",
        "∀x∈ℝ: f\u{2061}(x) ≤ 2\u{2062}x\u{2062}y sin\u{2061}x ∩\u{fe00} 𝑥²",
        "日本語、「括弧」。葛\u{e0100}城 한국어 ภาษา\u{200b}ไทย ខ្មែរ\u{200b}ភាសា",
        "┌──┐│ ok │└──┘ ░▒▓",
        "\u{feff}using System;",
        "  1→\u{feff}using System;\n+\u{feff}x",
        "co\u{ad}op\u{ad}er\u{ad}ate",
        "@\u{200b}everyone https://example.com/\u{200b}path/\u{200b}to",
        "\u{1b}[31m✗\u{1b}[0m failed\u{7} \u{1b}]0;title\u{7}prompt a\u{8}b",
        "hash\u{1}Author\u{0}name\u{1e}x\u{1f}y\u{c}z",
        "it\u{92}s \u{e2}\u{80}\u{99} caf\u{c3}\u{a9}",
        "ᠮᠣᠩᠭᠣᠯ\u{180b} ᠬ\u{180e}ᠠ",
        "escaped \\u200b in source, and &zwnj; too",
    ] {
        assert_eq!(found(text), [], "{}", text.escape_unicode());
    }
}

#[test]
fn hidden_text_is_read() {
    let smuggled: String =
        "ws17".bytes().map(|byte| char::from_u32(0xe0100 + u32::from(byte) - 16).expect("a selector")).collect();
    for (text, hidden) in [(tagged("user=ann"), "user=ann"), (format!("x{smuggled}"), "ws17")] {
        let marks = marks(text.as_bytes(), false);
        assert_eq!(marks.first().and_then(|mark| mark.hidden.as_deref()), Some(hidden));
    }
}

#[test]
fn capacity_is_length_times_what_each_character_says() {
    let bits = |kind, text| capacity(kind, text).map(|bits| bits.round());
    assert_eq!(bits("cov.zero_width", "\u{200b}"), Some(1.0));
    assert_eq!(bits("cov.zero_width", "\u{200b}\u{200c}\u{200d}\u{2060}"), Some(8.0));
    assert_eq!(bits("cov.tag", "abcd"), Some(28.0));
    assert_eq!(bits("cov.varsel", "\u{fe01}\u{fe02}"), Some(16.0));
    assert_eq!(bits("id.device", "x"), None);
}

#[test]
fn bytes_that_are_no_text_need_a_long_run() {
    let few = "x\u{200b}\u{200c}\u{430}b".as_bytes();
    assert!(marks(few, true).is_empty());
    let mut many = vec![0xff, 0xfe];
    many.extend(tagged("hello").bytes());
    assert_eq!(marks(&many, true).len(), 1);
    assert_eq!(marks(&many, true)[0].window, 2..many.len());
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd_to_be_read(
        text in "(\\PC|[a-z\u{430}-\u{44f}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{fe0f}\u{e0061}\u{e007f}\u{ad}\u{3bf}\u{590}\\x00-\\x1f]){0,60}",
        loose: bool,
        cut in 0usize..8,
    ) {
        let bytes = text.as_bytes();
        let bytes = &bytes[cut.min(bytes.len())..];
        for mark in marks(bytes, loose) {
            proptest::prop_assert!(std::str::from_utf8(&bytes[mark.window.clone()]).is_ok());
            proptest::prop_assert!(!mark.window.is_empty());
        }
    }
}

#[test]
fn odd_bytes_are_found_wherever_they_stand() {
    let mut seed = 11u64;
    for length in 0..70 {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                b"abc \n\t\r\x1b~\xe5\x7f\x80\xff\x00\x1f\xc3"[(seed >> 33) as usize % 16 * usize::from(seed >> 59 < 6)]
            })
            .collect();
        let mut at = 0;
        let mut found = Vec::new();
        while let Some(odd) = super::next_odd(&bytes, at) {
            found.push(odd);
            at = odd + 1;
        }
        let expected: Vec<usize> = (0..length).filter(|&at| super::is_odd(bytes[at])).collect();
        assert_eq!(found, expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn no_character_that_may_be_a_mark_is_passed_over() {
    let harmless = |c: char| matches!(c, '\n' | '\t' | '\r' | '\u{1b}');
    for c in ('\0'..=char::MAX).filter(|&c| !harmless(c) && super::chars::class(c) != super::Class::Other) {
        let mut bytes = [0; 4];
        assert!(super::is_odd(c.encode_utf8(&mut bytes).as_bytes()[0]), "U+{:04X}", u32::from(c));
    }
}

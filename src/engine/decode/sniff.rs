//! What a text or a run of bytes holds, told from itself alone.
//!
//! The rule: a reading has to be near certain by structure (a whole JSON text, a signature, text that could
//! hardly come out of undoing an encoding by chance), since every wrong one costs a false location.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

use super::base64;
use super::coding::Coding;
use super::event_stream;
use super::frame;
use super::html;
use super::json;
use super::layer::Base64;
use super::msgpack;
use super::percent;
use super::protobuf;
use super::qoder;

/// What a decoded value holds beside itself.
pub(super) enum Reading {
    /// Nothing.
    Plain,
    /// JSON, or lines of it, as it stands.
    Document(Class),
    /// Header and claims: where they stand, and their JSON.
    Jwt([(Range<usize>, Vec<u8>); 2]),
    Base64 {
        spelling: Base64,
        bytes: Vec<u8>,
        class: Class,
    },
    /// Base64 from its last character to its first.
    Reversed {
        spelling: Base64,
        bytes: Vec<u8>,
        class: Class,
    },
    Hex {
        upper: bool,
        bytes: Vec<u8>,
        class: Class,
    },
    Qoder {
        exchanged: bool,
        bytes: Vec<u8>,
        class: Class,
    },
    Percent {
        bytes: Vec<u8>,
        class: Class,
    },
    Html {
        bytes: Vec<u8>,
        class: Class,
    },
}

impl Reading {
    /// Whether it could not be otherwise, so that the spelling itself says nothing more. A token is a credential
    /// as it stands, whatever is inside.
    pub fn is_certain(&self) -> bool {
        match self {
            Reading::Document(_) => true,
            Reading::Qoder { .. } | Reading::Reversed { .. } => true,
            Reading::Plain | Reading::Jwt(_) => false,
            Reading::Base64 { class, .. }
            | Reading::Hex { class, .. }
            | Reading::Percent { class, .. }
            | Reading::Html { class, .. } => matches!(class, Class::Json | Class::Lines | Class::Coded(_)),
        }
    }
}

impl Reading {
    /// Whether a run of `length` letters with this reading is entered where it stands in a text.
    pub fn is_token(&self, length: usize) -> bool {
        let holds = match self {
            Reading::Jwt(_) => true,
            Reading::Base64 { class, .. } | Reading::Hex { class, .. } => {
                matches!(class, Class::Json | Class::Lines | Class::Coded(_) | Class::Text)
            }
            _ => false,
        };
        holds && length >= SHORTEST_TOKEN
    }
}

/// Shorter values hold no encoding that could be told by itself.
const SHORTEST_WORD: usize = 12;

/// What a run of bytes is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    Json,
    Lines,
    Coded(Coding),
    Text,
    MsgPack,
    Protobuf,
    Frames,
    /// AWS event stream.
    Events,
    Binary,
}

/// Hex digests are shorter than anything worth hiding in hex.
const SHORTEST_HEX: usize = 16;

/// Bytes of digests and keys: in hex they are far more often that than compressed without a signature.
const DIGESTS: [usize; 6] = [16, 20, 28, 32, 48, 64];

/// Whether `text` can be told to hold nothing more by a glance: most values, and all prose.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let Some(&first) = text.first() else { return true };
    if matches!(first, b'{' | b'[' | b'"' | b' ' | b'\t' | b'\n' | b'\r') {
        return false;
    }
    if text.len() >= SHORTEST_WORD && text[..SHORTEST_WORD].iter().all(|byte| !matches!(byte, 0..=b' ' | b'"' | 0x7f..))
    {
        return false;
    }
    memchr2(b'%', b'&', text).is_none()
}

/// What `text` holds, and which part of it does.
pub(super) fn reading(text: &[u8], json_depth: usize) -> (Range<usize>, Reading) {
    let all = 0..text.len();
    let start = json::blank(text, 0);
    match text.get(start..).unwrap_or_default() {
        // Nothing in them, so they are values themselves.
        b"{}" | b"[]" => return (all, Reading::Plain),
        rest @ ([b'{' | b'[', ..] | [b'"', b'{' | b'[', ..]) => {
            if json::is_document(rest, json_depth) {
                return (all, Reading::Document(Class::Json));
            }
            if newline_delimited(rest, json_depth) && all_lines(rest, json_depth) {
                return (all, Reading::Document(Class::Lines));
            }
        }
        [b'e', b'y', b'J', ..] => {
            if let Some(parts) = jwt(text) {
                return (all, Reading::Jwt(parts));
            }
        }
        // RFC 2397.
        [b'd', b'a', b't', b'a', b':', ..] => {
            if let Some(mark) = memmem::find(&text[..text.len().min(256)], b";base64,") {
                let data = mark + 8..text.len();
                let reading = base64(&text[data.clone()], json_depth).unwrap_or(Reading::Plain);
                return (data, reading);
            }
        }
        _ => {}
    }
    if let Some(reading) = escaped(text, json_depth) {
        return (all, reading);
    }
    let word = text.trim_ascii();
    let start = text.len() - text.trim_ascii_start().len();
    let reading = hex(word, json_depth)
        .or_else(|| reversed(word, json_depth))
        .or_else(|| base64(word, json_depth))
        .or_else(|| qoder(word, json_depth));
    (start..start + word.len(), reading.unwrap_or(Reading::Plain))
}

/// The credentials of `Bearer x`, `Basic x` and the like (RFC 9110, section 11.4), where they hold something.
pub(super) fn credentials(text: &[u8], json_depth: usize) -> (Range<usize>, Reading) {
    let plain = (0..0, Reading::Plain);
    let Some(space) = memchr(b' ', text) else { return plain };
    let (scheme, token) = (&text[..space], &text[space + 1..]);
    if !scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') || token.contains(&b' ') {
        return plain;
    }
    let (window, reading) = reading(token, json_depth);
    (window.start + space + 1..window.end + space + 1, reading)
}

/// Shorter runs of letters in a text are words.
pub(super) const SHORTEST_TOKEN: usize = 16;

/// `run` of `text` with its padding and the further parts of a token (RFC 7519).
pub(super) fn token_of(text: &[u8], run: &Range<usize>) -> Range<usize> {
    let end_of = |start: usize| start + text[start..].iter().take_while(|&&byte| base64::is_letter(byte)).count();
    let mut end = run.end;
    if text[run.start..].starts_with(b"eyJ") {
        while text.get(end) == Some(&b'.') && text.get(end + 1).is_some_and(|&byte| base64::is_letter(byte)) {
            end = end_of(end + 1);
        }
    }
    end += text[end..].iter().take(2).take_while(|&&byte| byte == b'=').count();
    run.start..end
}

/// What `token` of `text` holds, if that is a document: in a text, whatever decodes to less is a word or a number.
pub(super) fn document_in(text: &[u8], token: Range<usize>, json_depth: usize) -> (Range<usize>, Reading) {
    let plain = (token.clone(), Reading::Plain);
    let bytes = &text[token.clone()];
    // No document in base64 is without capitals, small letters and digits; paths and names seldom have all of them.
    let has = |sort: fn(&u8) -> bool| bytes.iter().any(sort);
    let hex = bytes.iter().all(u8::is_ascii_hexdigit);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    if !hex && !mixed {
        return plain;
    }
    let (window, reading) = reading(bytes, json_depth);
    if reading.is_token(bytes.len()) { (token.start + window.start..token.start + window.end, reading) } else { plain }
}

/// Three parts in base64url, the first of them a JSON object (RFC 7519).
fn jwt(text: &[u8]) -> Option<[(Range<usize>, Vec<u8>); 2]> {
    let first = memchr(b'.', text)?;
    let second = first + 1 + memchr(b'.', &text[first + 1..])?;
    if memchr(b'.', &text[second + 1..]).is_some() {
        return None;
    }
    let part = |range: Range<usize>| {
        let spelling = Base64 { url: true, padded: false, wrap: None };
        let bytes = base64::decode(&text[range.clone()], spelling)?;
        Some((range, bytes))
    };
    let (header, claims) = (part(0..first)?, part(first + 1..second)?);
    json::is_document(&header.1, 8).then_some([header, claims])
}

fn escaped(text: &[u8], json_depth: usize) -> Option<Reading> {
    let mut bytes = Vec::new();
    if memchr(b'%', text).is_some() && percent::is_encoded(text) {
        percent::decode(text, false, &mut bytes);
        let class = class(&bytes, json_depth);
        let holds = matches!(class, Class::Json | Class::Lines | Class::Text);
        return holds.then_some(Reading::Percent { bytes, class });
    }
    if memchr(b'&', text).is_some() && html::is_encoded(text) {
        html::decode(text, &mut bytes);
        let class = class(&bytes, json_depth);
        return Some(Reading::Html { bytes, class });
    }
    None
}

fn base64(text: &[u8], json_depth: usize) -> Option<Reading> {
    let spelling = base64::recognise(text)?;
    let bytes = base64::decode(text, spelling)?;
    let mut class = class(&bytes, json_depth);
    if class == Class::Binary && !text.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-') {
        class = Coding::without_signature(&bytes).map_or(class, Class::Coded);
    }
    (class != Class::Binary || is_blob(text)).then_some(Reading::Base64 { spelling, bytes, class })
}

/// Base64 of a JSON document written backwards. Ends as one begins, so that little else is ever tried.
fn reversed(text: &[u8], json_depth: usize) -> Option<Reading> {
    // `{"` and `[{`.
    if !text.ends_with(b"Jye") && !text.ends_with(b"s3W") {
        return None;
    }
    let forwards: Vec<u8> = text.iter().rev().copied().collect();
    let spelling = base64::recognise(&forwards)?;
    let bytes = base64::decode(&forwards, spelling)?;
    let class = class(&bytes, json_depth);
    matches!(class, Class::Json | Class::Lines).then_some(Reading::Reversed { spelling, bytes, class })
}

pub(super) fn is_reversed(text: &[u8], json_depth: usize) -> bool {
    reversed(text.trim_ascii(), json_depth).is_some()
}

pub(super) fn is_qoder(text: &[u8], json_depth: usize) -> bool {
    qoder(text, json_depth).is_some()
}

/// So odd an alphabet that what comes out is text or a document only where it was meant.
fn qoder(text: &[u8], json_depth: usize) -> Option<Reading> {
    if !qoder::is_likely(text) {
        return None;
    }
    let readings = [true, false].map(|exchanged| {
        let bytes = qoder::decode(text, exchanged)?;
        let class = class(&bytes, json_depth);
        let holds = match class {
            Class::Json | Class::Lines | Class::Text => true,
            Class::Coded(coding) => coding.opens(&bytes),
            _ => false,
        };
        holds.then_some((exchanged, bytes, class))
    });
    // Thirds that end with a group of base64 make text in either order: a document tells which it is.
    let whole = |reading: &Option<(bool, Vec<u8>, Class)>| !matches!(reading, Some((_, _, Class::Text)));
    let [first, second] = readings;
    let (exchanged, bytes, class) = match (first, second) {
        (Some(first), second) if second.is_none() || whole(&second) <= (first.2 != Class::Text) => first,
        (_, Some(second)) => second,
        (first, None) => first?,
    };
    Some(Reading::Qoder { exchanged, bytes, class })
}

/// Whether a text in the base64 alphabet is so long and so mixed that it can only be encoded bytes. Names
/// and paths use fewer of the characters, less evenly.
fn is_blob(text: &[u8]) -> bool {
    text.len() >= 172 && super::entropy(text) > 5.0
}

fn hex(text: &[u8], json_depth: usize) -> Option<Reading> {
    if text.len() < SHORTEST_HEX || !text.len().is_multiple_of(2) || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
    let bytes: Vec<u8> = text.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    let mut class = class(&bytes, json_depth);
    if class == Class::Binary && !DIGESTS.contains(&bytes.len()) {
        class = Coding::without_signature(&bytes).map_or(class, Class::Coded);
    }
    let upper = text.iter().any(u8::is_ascii_uppercase);
    (class != Class::Binary).then_some(Reading::Hex { upper, bytes, class })
}

pub(super) fn class(bytes: &[u8], json_depth: usize) -> Class {
    let start = json::blank(bytes, 0);
    if matches!(bytes.get(start), Some(b'{' | b'[')) {
        if newline_delimited(bytes, json_depth) {
            return Class::Lines;
        }
        if json::is_document(&bytes[start..], json_depth) {
            return Class::Json;
        }
    }
    match Coding::sniff(bytes) {
        // Two bytes are too little to go by.
        Some(Coding::Zlib) if !Coding::Zlib.opens(bytes) => {}
        Some(coding) => return Class::Coded(coding),
        None => {}
    }
    match bytes {
        _ if is_text(bytes) => match has_tags(bytes) && protobuf::is_likely(bytes) {
            true => Class::Protobuf,
            false => Class::Text,
        },
        _ if event_stream::is_likely(bytes) => Class::Events,
        _ if frame::is_likely(bytes) => Class::Frames,
        _ if msgpack::is_likely(bytes) => Class::MsgPack,
        _ if protobuf::is_likely(bytes) => Class::Protobuf,
        _ => Class::Binary,
    }
}

/// UTF-8 with hardly a control character in it.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let controls = text.bytes().filter(|byte| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127)).count();
    !text.is_empty() && controls * 50 <= text.len()
}

/// Whether something in what reads as a text may be the tags of fields. No text begins with a line end and its own length,
/// and few have control characters.
pub(super) fn has_tags(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'\t' | b'\n' | b'\r'))
        || bytes.iter().any(|byte| matches!(byte, 0..=8 | 11 | 12 | 14..=31))
}

fn all_lines(bytes: &[u8], json_depth: usize) -> bool {
    let mut lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.all(|line| json::is_document(line, json_depth))
}

/// Whether `bytes`, which are no whole JSON document, begin as one beyond doubt.
pub(super) fn is_broken_json(bytes: &[u8], json_depth: usize) -> bool {
    let start = json::blank(bytes, 0);
    let inner = bytes.get(json::blank(bytes, start + 1));
    match (bytes.get(start), inner) {
        (Some(b'{'), Some(b'"')) | (Some(b'['), Some(b'{' | b'"')) => true,
        (Some(b'{' | b'['), _) => matches!(json::reach(bytes, json_depth), Err(at) if at > 64),
        _ => false,
    }
}

/// Whether `bytes` are JSON whether or not they are a whole document, which takes a reading of all of it to say: they begin
/// as nothing else does.
pub(super) fn is_json_anyhow(bytes: &[u8], json_depth: usize) -> bool {
    let inner = match bytes.first() {
        Some(b'{') => bytes.get(json::blank(bytes, 1)) == Some(&b'"'),
        Some(b'[') => matches!(bytes.get(json::blank(bytes, 1)), Some(b'{' | b'"')),
        _ => false,
    };
    inner
        && !newline_delimited(bytes, json_depth)
        && !event_stream::is_likely(bytes)
        && !frame::is_likely(bytes)
        && !protobuf::is_likely(bytes)
}

/// Whether the first line is a whole JSON document and another one begins after it.
pub(super) fn newline_delimited(bytes: &[u8], json_depth: usize) -> bool {
    let Some(end) = memchr(b'\n', bytes) else { return false };
    let next = json::blank(bytes, end);
    matches!(bytes.get(next), Some(b'{' | b'[')) && json::is_document(&bytes[..end], json_depth)
}

/// Whether `bytes` look like UTF-16 of a script of few bytes: nearly every second one is zero.
pub(super) fn is_wide(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(256)];
    let zeros = |first: usize| sample.iter().skip(first).step_by(2).filter(|&&byte| byte == 0).count();
    sample.len() >= 8 && zeros(0).max(zeros(1)) * 10 >= sample.len() / 2 * 9
}

/// Runs of at least four printable UTF-8 characters, as ranges of `bytes`.
pub(super) fn runs(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += bytes.get(at..)?.iter().position(|&byte| is_printable(byte) || byte >= 0xc2)?;
            let start = at;
            loop {
                while bytes.get(at).is_some_and(|&byte| is_printable(byte)) {
                    at += 1;
                }
                match bytes.get(at..).and_then(wide) {
                    Some(length) => at += length,
                    None => break,
                }
            }
            if at - start >= SHORTEST_RUN {
                return Some(start..at);
            }
            at = at.max(start + 1);
        }
    })
}

/// In bytes.
const SHORTEST_RUN: usize = 4;

#[inline]
fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')
}

/// The length of the character beyond ASCII that `bytes` start with (RFC 3629, section 4).
#[inline]
fn wide(bytes: &[u8]) -> Option<usize> {
    let (length, second) = match *bytes.first()? {
        0xc2..=0xdf => (2, 0x80..=0xbf),
        0xe0 => (3, 0xa0..=0xbf),
        0xed => (3, 0x80..=0x9f),
        0xe1..=0xef => (3, 0x80..=0xbf),
        0xf0 => (4, 0x90..=0xbf),
        0xf1..=0xf3 => (4, 0x80..=0xbf),
        0xf4 => (4, 0x80..=0x8f),
        _ => return None,
    };
    let rest = bytes.get(1..length)?;
    (second.contains(&rest[0]) && rest[1..].iter().all(|byte| byte & 0xc0 == 0x80)).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::{Class, class, is_broken_json, is_json_anyhow, runs, wide};

    #[test]
    fn json_is_told_by_its_beginning_only_where_a_whole_reading_says_the_same() {
        let beginnings: [&[u8]; 8] =
            [b"{\"a\":1", b"{ \"", b"[{", b"[\"b\",", b"{\"a\":1}\n{\"b\":2}", b"[1", b"{}", b"{\"\x01\x0b|"];
        let ends: [&[u8]; 7] = [b"", b"}", b"]", b"}]", b" // more", b"\x00\x01\x02\xff\xfe\x00", b"\n[]"];
        for bytes in beginnings.iter().flat_map(|first| ends.iter().map(|end| [*first, *end].concat())) {
            if is_json_anyhow(&bytes, 64) {
                let class = class(&bytes, 64);
                let broken = matches!(class, Class::Text | Class::Binary) && is_broken_json(&bytes, 64);
                assert!(class == Class::Json || broken, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn characters_are_those_of_utf8() {
        for c in (0x80..=0x10_ffff).filter_map(char::from_u32) {
            let mut bytes = [0; 4];
            assert_eq!(wide(c.encode_utf8(&mut bytes).as_bytes()), Some(c.len_utf8()));
        }
        let no: [&[u8]; 6] = [b"\xc1\x80", b"\xe0\x9f\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xb8", b"\xff"];
        assert!(no.iter().all(|bytes| wide(bytes).is_none()));
    }

    #[test]
    fn texts_between_other_bytes_are_found_whole() {
        let bytes = b"\0\x01/home/ann\0ab\xff\xe4\xb8\xad\xe6\x96\x87\xe4\x80 tail\x80";
        let found: Vec<_> = runs(bytes).map(|run| std::str::from_utf8(&bytes[run]).unwrap()).collect();
        assert_eq!(found, ["/home/ann", "中文", " tail"]);
    }
}

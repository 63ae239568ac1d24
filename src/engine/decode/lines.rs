//! Pairs of name and value in a body that is a text: a report of lines, or of elements.
//!
//! ```text
//! level=info host_name=ws17 user="ann lee"       logfmt
//! session,host_name=ws17,os=linux count=1i       InfluxDB's line protocol
//! host_name: ws17                                a line each, parted by a colon or a tab
//! <hostName>ws17</hostName>                      elements that hold no others
//! <property name="host-name" value="ws17"/>      attributes, and pairs of them
//! ```
//!
//! As in [`pairs`](super::pairs), each value is looked at under the name it has there.

use std::ops::Range;

/// Longer texts are files, not reports.
const LONGEST: usize = 64 * 1024;
/// What is longer is no line of a report, and no name.
const LONGEST_LINE: usize = 4096;
const LONGEST_NAME: usize = 64;
/// More than any report that means something.
const MOST: usize = 512;

/// The values of `text`, each with its name.
pub(crate) fn of(text: &[u8]) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    if text.len() <= LONGEST {
        match text.trim_ascii_start().first() {
            Some(b'<') => elements(text, &mut found),
            _ => lines(text, &mut found),
        }
    }
    found
}

fn lines<'t>(text: &'t [u8], found: &mut Vec<(&'t str, Range<usize>)>) {
    let mut start = 0;
    while start < text.len() && found.len() < MOST {
        let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |at| start + at);
        if end - start <= LONGEST_LINE {
            line(text, start..end, found);
        }
        start = end + 1;
    }
}

fn line<'t>(text: &'t [u8], line: Range<usize>, found: &mut Vec<(&'t str, Range<usize>)>) {
    let bytes = &text[line.clone()];
    let parted = bytes.iter().position(|&byte| matches!(byte, b':' | b'=' | b'\t'));
    let Some(at) = parted else { return };
    let joint = bytes[at];
    let plain = joint == b'\t' || joint == b':' && matches!(bytes.get(at + 1), Some(b' ' | b'\t'));
    if plain {
        if let Some(name) = name(&bytes[..at]) {
            found.extend(value(text, line.start + at + 1..line.end).map(|value| (name, value)));
        }
        return;
    }
    // `name=value`, parted by blanks and commas outside quotes.
    let mut start = line.start;
    while start < line.end {
        let (mut quoted, mut escaped) = (false, false);
        let end = text[start..line.end].iter().position(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                b' ' | b',' => return !quoted,
                _ => {}
            }
            false
        });
        let end = end.map_or(line.end, |end| start + end);
        let item = &text[start..end];
        if let Some(at) = memchr::memchr(b'=', item)
            && let Some(name) = name(&item[..at])
        {
            found.extend(value(text, start + at + 1..end).map(|value| (name, value)));
        }
        start = end + 1;
    }
}

fn elements<'t>(text: &'t [u8], found: &mut Vec<(&'t str, Range<usize>)>) {
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'<', &text[at..]).map(|found| at + found)
        && found.len() < MOST
    {
        let Some(close) = memchr::memchr(b'>', &text[open..]).map(|found| open + found) else { return };
        at = close + 1;
        let tag = &text[open + 1..close];
        if !tag.first().is_some_and(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()) || tag.len() > LONGEST_LINE {
            continue;
        }
        let attributes = attributes(text, open + 1..close);
        let of =
            |names: &[&str]| attributes.iter().find(|(name, _)| names.contains(name)).map(|(_, range)| range.clone());
        let called = of(&["name", "key"]).and_then(|range| name(&text[range]));
        match (called, of(&["value", "val"])) {
            (Some(called), Some(value)) => found.push((called, value)),
            _ => found.extend(attributes.iter().cloned()),
        }
        if tag.ends_with(b"/") {
            continue;
        }
        let end = memchr::memchr(b'<', &text[at..]).map_or(text.len(), |found| at + found);
        let closed = text.get(end..).is_some_and(|rest| rest.starts_with(b"</"));
        let own = tag.split(|byte| byte.is_ascii_whitespace()).next().and_then(local);
        if closed && let Some(called) = called.or(own) {
            found.extend(value(text, at..end).map(|value| (called, value)));
        }
    }
}

/// What stands in a tag behind its name.
fn attributes(text: &[u8], tag: Range<usize>) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = tag.start;
    while let Some(equals) = memchr::memchr(b'=', &text[at..tag.end]).map(|found| at + found) {
        let before = &text[at..equals];
        let name = before.rsplit(|byte| byte.is_ascii_whitespace()).next().and_then(local);
        let Some(&quote) = text.get(equals + 1).filter(|byte| matches!(byte, b'"' | b'\'')) else { break };
        let start = equals + 2;
        let Some(length) = text.get(start..tag.end).and_then(|rest| memchr::memchr(quote, rest)) else { break };
        if length > 0 {
            found.extend(name.map(|name| (name, start..start + length)));
        }
        at = start + length + 1;
    }
    found
}

/// A name without the prefix of its namespace.
fn local(text: &[u8]) -> Option<&str> {
    name(text.rsplit(|&byte| byte == b':').next().unwrap_or(text))
}

fn name(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let fits = |c: char| c.is_alphanumeric() || "_.- ".contains(c);
    let words = text.split(' ').count() <= 4;
    ((1..=LONGEST_NAME).contains(&text.len()) && words && text.chars().all(fits)).then_some(text)
}

/// Without white space and quotes around it.
fn value(text: &[u8], range: Range<usize>) -> Option<Range<usize>> {
    let bytes = text.get(range.clone())?;
    let start = range.start + (bytes.len() - bytes.trim_ascii_start().len());
    let mut value = start..start + bytes.trim_ascii().len();
    if let [b'"', inner @ .., b'"'] = &text[value.clone()] {
        value = value.start + 1..value.start + 1 + inner.len();
    }
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::of;

    proptest! {
        #[test]
        fn any_text_is_taken_apart_within_its_bounds(text in r#"[ -~]{0,80}|[<>/="' \t\n:,a\\é]{0,80}"#) {
            for (name, range) in of(text.as_bytes()) {
                prop_assert!(!name.is_empty() && text.contains(name));
                prop_assert!(!range.is_empty() && text.as_bytes().get(range).is_some());
            }
        }
    }

    #[test]
    fn values_are_found_under_their_own_names() {
        for (text, expected) in [
            ("level=info host_name=ws17 user=\"ann lee\" n=", "level = info|host_name = ws17|user = ann lee"),
            ("session,host_name=ws17,os=linux count=1i 17900", "host_name = ws17|os = linux|count = 1i"),
            (
                "host_name: ws17\r\nOS Version:\t14.7\n\nurl: http://a/b?c=d",
                "host_name = ws17|OS Version = 14.7|url = http://a/b?c=d",
            ),
            ("host_name\tws17\nno name here", "host_name = ws17"),
            ("<?xml version=\"1.0\"?>\n<r><a:hostName>ws17</a:hostName><b><c>1</c></b></r>", "hostName = ws17|c = 1"),
            (
                "<r><p name=\"host-name\" value='ws17'/><p name=\"os\">linux</p></r>",
                "host-name = ws17|name = os|os = linux",
            ),
            ("<r host=\"ws17\" empty=\"\" broken=x/>", "host = ws17"),
            ("2+2=4, a sentence of more than four words: no name", ""),
            ("<", ""),
            ("<a", ""),
            ("<a>", ""),
            ("=\n:\n\t", ""),
        ] {
            let found: Vec<_> =
                of(text.as_bytes()).into_iter().map(|(name, range)| format!("{name} = {}", &text[range])).collect();
            assert_eq!(found.join("|"), expected, "{text}");
        }
    }
}

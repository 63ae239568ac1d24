//! Members of a JSON settings file, changed in place: comments, order and white space of the rest stay.
//!
//! Takes what editors take: `//` and `/* */` comments and commas behind the last member (JSONC).

use std::ops::Range;

/// Why a file cannot be changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JsonError {
    #[error("is no JSON that can be changed safely (byte {0})")]
    Malformed(usize),
    #[error("has no object at {0}")]
    NotAnObject(String),
}

/// An object: where its members are.
struct Object {
    /// Between the braces.
    inside: Range<usize>,
    members: Vec<Member>,
}

struct Member {
    name: String,
    /// From the name's quote to the end of the value.
    whole: Range<usize>,
    value: Range<usize>,
    /// Behind the comma that follows it, if one does.
    comma: Option<usize>,
}

/// The text with the member at `path` set to `value`, which is JSON; and the value that it had.
pub fn set(text: &str, path: &[&str], value: &str) -> Result<(String, Option<String>), JsonError> {
    if text.trim().is_empty() {
        return set("{}\n", path, value);
    }
    let mut at = skip(text, 0)?;
    for (depth, name) in path.iter().enumerate() {
        let object = object(text, at).map_err(|error| named(error, &path[..depth]))?;
        let found = object.members.iter().rfind(|member| member.name == *name);
        match found {
            Some(member) if depth + 1 == path.len() => {
                let had = text[member.value.clone()].to_owned();
                return Ok((spliced(text, member.value.clone(), value), Some(had)));
            }
            Some(member) => at = member.value.start,
            None => {
                let unit = unit(text);
                let value = path[depth + 1..].iter().rev().zip((depth + 2..=path.len()).rev()).fold(
                    value.to_owned(),
                    |inner, (name, level)| {
                        let (own, outer) = (unit.repeat(level), unit.repeat(level - 1));
                        format!("{{\n{own}{}: {inner}\n{outer}}}", quoted(name))
                    },
                );
                return Ok((inserted(text, &object, depth, &unit, name, &value), None));
            }
        }
    }
    Err(JsonError::NotAnObject(String::new()))
}

/// The value at `path`, as it is spelled.
pub fn get<'a>(text: &'a str, path: &[&str]) -> Result<Option<&'a str>, JsonError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let mut at = skip(text, 0)?;
    let mut value = at..at;
    for (depth, name) in path.iter().enumerate() {
        let object = object(text, at).map_err(|error| named(error, &path[..depth]))?;
        let Some(member) = object.members.into_iter().rfind(|member| member.name == *name) else { return Ok(None) };
        at = member.value.start;
        value = member.value;
    }
    Ok(Some(&text[value]))
}

/// The text without the member at `path`.
pub fn remove(text: &str, path: &[&str]) -> Result<String, JsonError> {
    let mut at = skip(text, 0)?;
    for (depth, name) in path.iter().enumerate() {
        let object = object(text, at).map_err(|error| named(error, &path[..depth]))?;
        let Some(index) = object.members.iter().rposition(|member| member.name == *name) else {
            return Ok(text.to_owned());
        };
        let member = &object.members[index];
        if depth + 1 < path.len() {
            at = member.value.start;
            continue;
        }
        let cut = match (member.comma, index.checked_sub(1)) {
            // Up to the next member, so that its line keeps its beginning.
            (Some(comma), _) if index + 1 < object.members.len() => {
                member.whole.start..object.members[index + 1].whole.start.max(comma)
            }
            // Whether the last member has a comma stays the style of the file.
            (Some(comma), Some(before)) => object.members[before].comma.unwrap_or(comma)..comma,
            (None, Some(before)) => object.members[before].whole.end..member.whole.end,
            (comma, None) => {
                let end = comma.unwrap_or(member.whole.end);
                let rest = text[end..object.inside.end].trim().is_empty();
                let lead = text[object.inside.start..member.whole.start].trim().is_empty();
                if rest && lead { object.inside.clone() } else { member.whole.start..end }
            }
        };
        return Ok(spliced(text, cut, ""));
    }
    Ok(text.to_owned())
}

/// Whether the object at `path` has no members.
pub fn is_empty(text: &str, path: &[&str]) -> bool {
    let at = match get(text, path) {
        Ok(Some(value)) => value.as_ptr() as usize - text.as_ptr() as usize,
        _ => return false,
    };
    object(text, at).is_ok_and(|object| object.members.is_empty() && text[object.inside].trim().is_empty())
}

fn named(error: JsonError, path: &[&str]) -> JsonError {
    match error {
        JsonError::NotAnObject(_) => JsonError::NotAnObject(format!("/{}", path.join("/"))),
        other => other,
    }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn spliced(text: &str, range: Range<usize>, with: &str) -> String {
    [&text[..range.start], with, &text[range.end..]].concat()
}

/// What one level is indented by.
fn unit(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with([' ', '\t']) && line.trim_start().starts_with('"'));
    match line.map(|line| &line[..line.len() - line.trim_start().len()]) {
        Some(indent) if indent.starts_with('\t') => "\t".to_owned(),
        Some(indent) => indent.to_owned(),
        None => "  ".to_owned(),
    }
}

fn inserted(text: &str, object: &Object, depth: usize, unit: &str, name: &str, value: &str) -> String {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let member = format!("{}{}: {value}", unit.repeat(depth + 1), quoted(name)).replace('\n', line_end);
    match object.members.last() {
        Some(last) => {
            let (at, comma) = match last.comma {
                Some(comma) => (comma, ""),
                None => (last.whole.end, ","),
            };
            // A comma that was there behind the last member stays the style of the file.
            let tail = if last.comma.is_some() { "," } else { "" };
            spliced(text, at..at, &format!("{comma}{line_end}{member}{tail}"))
        }
        None => {
            let inside = &text[object.inside.clone()];
            let comments = if inside.trim().is_empty() { "" } else { inside.trim_end() };
            let new = format!("{comments}{line_end}{member}{line_end}{}", unit.repeat(depth));
            spliced(text, object.inside.clone(), &new)
        }
    }
}

/// Reads the object that begins at `at`.
fn object(text: &str, at: usize) -> Result<Object, JsonError> {
    let bytes = text.as_bytes();
    if bytes.get(at) != Some(&b'{') {
        return Err(JsonError::NotAnObject(String::new()));
    }
    let mut members: Vec<Member> = Vec::new();
    let mut here = skip(text, at + 1)?;
    loop {
        match bytes.get(here) {
            Some(b'}') => return Ok(Object { inside: at + 1..here, members }),
            Some(b'"') if members.last().is_none_or(|last| last.comma.is_some()) => {}
            _ => return Err(JsonError::Malformed(here)),
        }
        let name_end = string(text, here)?;
        let name = serde_json::from_str(&text[here..name_end]).map_err(|_| JsonError::Malformed(here))?;
        let colon = skip(text, name_end)?;
        if bytes.get(colon) != Some(&b':') {
            return Err(JsonError::Malformed(colon));
        }
        let start = skip(text, colon + 1)?;
        let end = value(text, start)?;
        let mut member = Member { name, whole: here..end, value: start..end, comma: None };
        here = skip(text, end)?;
        if bytes.get(here) == Some(&b',') {
            member.comma = Some(here + 1);
            here = skip(text, here + 1)?;
        }
        members.push(member);
    }
}

/// The end of the value at `at`.
fn value(text: &str, at: usize) -> Result<usize, JsonError> {
    let bytes = text.as_bytes();
    match bytes.get(at) {
        Some(b'"') => string(text, at),
        Some(b'{' | b'[') => {
            let mut depth = 0usize;
            let mut here = at;
            loop {
                here = skip(text, here)?;
                match bytes.get(here) {
                    Some(b'"') => here = string(text, here)?,
                    Some(b'{' | b'[') => (depth, here) = (depth + 1, here + 1),
                    Some(b'}' | b']') => {
                        (depth, here) = (depth - 1, here + 1);
                        if depth == 0 {
                            return Ok(here);
                        }
                    }
                    Some(_) => here += 1,
                    None => return Err(JsonError::Malformed(here)),
                }
            }
        }
        Some(_) => {
            let length =
                bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
            if length == 0 { Err(JsonError::Malformed(at)) } else { Ok(at + length) }
        }
        None => Err(JsonError::Malformed(at)),
    }
}

/// The end of the string at `at`, behind its quote.
fn string(text: &str, at: usize) -> Result<usize, JsonError> {
    let bytes = text.as_bytes();
    let mut here = at + 1;
    while let Some(&byte) = bytes.get(here) {
        match byte {
            b'"' => return Ok(here + 1),
            b'\\' => here += 2,
            b'\n' => break,
            _ => here += 1,
        }
    }
    Err(JsonError::Malformed(at))
}

/// Past white space, comments and a byte order mark.
fn skip(text: &str, mut at: usize) -> Result<usize, JsonError> {
    loop {
        let rest = &text[at.min(text.len())..];
        let blank = rest.len() - rest.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).len();
        let rest = &rest[blank..];
        at += blank;
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").ok_or(JsonError::Malformed(at))? + 2;
        } else {
            return Ok(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonError, get, is_empty, remove, set};

    #[test]
    fn a_member_is_set_and_all_else_stays() {
        for (text, path, expected) in [
            ("", &["a"][..], "{\n  \"a\": 1\n}\n"),
            ("{}", &["a"], "{\n  \"a\": 1\n}"),
            ("", &["env", "A"], "{\n  \"env\": {\n    \"A\": 1\n  }\n}\n"),
            ("{\n    \"x\": [1, 2] // why\n}\n", &["a"], "{\n    \"x\": [1, 2],\n    \"a\": 1 // why\n}\n"),
            ("{\n\t\"x\": 1,\n}\n", &["a"], "{\n\t\"x\": 1,\n\t\"a\": 1,\n}\n"),
            ("{\r\n  \"x\": 1\r\n}\r\n", &["a"], "{\r\n  \"x\": 1,\r\n  \"a\": 1\r\n}\r\n"),
            ("{\"a\" : \"}\\\"\" , \"b\":2}", &["a"], "{\"a\" : 1 , \"b\":2}"),
            (
                "{\n  \"env\": {\n    \"B\": \"x\"\n  }\n}",
                &["env", "A"],
                "{\n  \"env\": {\n    \"B\": \"x\",\n    \"A\": 1\n  }\n}",
            ),
            ("/* { */ {\n  // none\n}", &["a"], "/* { */ {\n  // none\n  \"a\": 1\n}"),
        ] {
            let (changed, _) = set(text, path, "1").unwrap();
            assert_eq!(changed, expected, "{text:?}");
            assert_eq!(get(&changed, path), Ok(Some("1")));
        }
        assert_eq!(set("{\"a\": \"old\"}", &["a"], "1").unwrap().1.as_deref(), Some("\"old\""));
    }

    #[test]
    fn what_was_set_is_taken_out_again() {
        for text in [
            "{\n  \"x\": 1\n}\n",
            "{\n  \"x\": {\"y\": [\"{\", 2]}, // why\n  \"z\": null\n}\n",
            "{\n\t\"x\": 1,\n}\n",
            "{\"x\":1}",
        ] {
            let (changed, had) = set(text, &["a"], "\"v\"").unwrap();
            assert_eq!((remove(&changed, &["a"]).unwrap().as_str(), had), (text, None), "{changed:?}");
        }
        let text = "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}";
        assert_eq!(remove(text, &["a"]).unwrap(), "{\n  \"b\": 2,\n  \"c\": 3\n}");
        assert_eq!(remove(text, &["b"]).unwrap(), "{\n  \"a\": 1,\n  \"c\": 3\n}");
        assert_eq!(remove(text, &["c"]).unwrap(), "{\n  \"a\": 1,\n  \"b\": 2\n}");
        assert_eq!(remove("{\n  \"a\": 1\n}", &["a"]).unwrap(), "{}");
        assert!(is_empty("{\"env\": {}}", &["env"]) && !is_empty("{\"env\": {\"a\": 1}}", &["env"]));
    }

    #[test]
    fn what_is_no_settings_file_is_refused_with_its_place() {
        for (text, error) in [
            ("[1]", JsonError::NotAnObject("/".to_owned())),
            ("{\"a\": 1 \"b\": 2}", JsonError::Malformed(8)),
            ("{\"a\": ", JsonError::Malformed(6)),
            ("{\"a\": \"x", JsonError::Malformed(6)),
            ("{/* ", JsonError::Malformed(1)),
            ("{\"env\": 1}", JsonError::NotAnObject("/env".to_owned())),
        ] {
            assert_eq!(set(text, &["env", "A"], "1").map(|(text, _)| text), Err(error), "{text:?}");
        }
    }
}

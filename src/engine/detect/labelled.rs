//! What stands behind a label, whatever the wording around it: `Shell: zsh`, `| Shell | zsh |`, `默认 Shell 为 zsh`,
//! `# Current time` and the time below.
//!
//! A text rule with a label and a validator needs no pattern for the line: the value is cut out here in the ways in
//! which people and programs end one, and the rule's validators say whether it is one.

use crate::engine::detect::prompt::{boundary, start_of_line};
use std::ops::Range;

use crate::engine::rules::rule::Matching;

/// What joins a label to its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Joint {
    /// A sign, or a word of a language that uses it for nothing else.
    Sign,
    /// `is`: the beginning of any sentence.
    Verb,
}

/// Characters around a label or a value that belong to neither.
const EMPHASIS: &[char] = &['"', '\'', '*', '_', '`', '“', '”', '「', '」', '《', '》'];
/// What goes on after a value in a sentence.
const CLAUSES: &[&str] = &[" and ", " on ", " at ", " in ", " with ", " using ", ". ", ", ", ";"];
/// Longest value that is cut out, in bytes.
const LONGEST: usize = 512;

/// The value behind the label at `label` of `text`, if `matching` takes one.
pub(super) fn value_behind(text: &str, label: Range<usize>, matching: &Matching) -> Option<Range<usize>> {
    if matching.validators.is_empty() {
        return None;
    }
    let (start, joint) = joint_behind(text, &label)?;
    if !begins(&text[..label.start]) {
        return None;
    }
    if joint == Joint::Verb && !matching.validators.iter().all(|validator| validator.is_shape()) {
        return None;
    }
    candidates(text, start).find(|range| matching.takes(&text[range.clone()]))
}

/// Whether a label can begin behind `before`: at a line's beginning, behind a sign, or behind words that only say whose it is.
/// `git user` is another label than `user`.
fn begins(before: &str) -> bool {
    const WHOSE: &[&str] = &[
        "my",
        "the",
        "your",
        "user",
        "user's",
        "user’s",
        "users",
        "current",
        "local",
        "system",
        "default",
        "primary",
        "present",
        "session",
        "login",
        "full",
        "its",
        "os",
        "host",
        "machine",
        "workspace",
        "today's",
        "today’s",
    ];
    let before = before.trim_end_matches([' ', '_', '-', '*', '`', '"', '\'']);
    let word =
        before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '\'' || c == '’')).next().unwrap_or_default();
    word.is_empty()
        || word.bytes().all(|byte| byte.is_ascii_digit())
        || WHOSE.contains(&word.to_ascii_lowercase().as_str())
}

fn joint_behind(text: &str, label: &Range<usize>) -> Option<(usize, Joint)> {
    let mut at = label.end;
    let rest = |at: usize| text.get(at..).unwrap_or_default();
    let skip = |at: usize, unwanted: &dyn Fn(char) -> bool| {
        at + (rest(at).len() - rest(at).trim_start_matches(unwanted).len())
    };
    let blank = |c: char| c == ' ' || c == '\t' || c == '\u{3000}';
    if let Some(remark) = rest(at).strip_prefix(" (") {
        at += 2 + remark.find(')').filter(|&end| end < 64)? + 1;
    }
    at = skip(at, &|c| EMPHASIS.contains(&c) || blank(c));
    // `| Shell | zsh |`: only a row of a table has bars on both sides.
    let line = boundary(text, start_of_line(text.as_bytes(), label.start));
    let before = text[line..label.start].trim_matches(|c: char| EMPHASIS.contains(&c) || blank(c));
    if rest(at).starts_with('|') && before.ends_with('|') {
        return Some((skip(at + 1, &blank), Joint::Sign));
    }
    let heading = before.starts_with('#');
    let mut found = None;
    // `is:`, `：是`.
    for _ in 0..2 {
        let after = rest(at);
        let signs = [":", "=", ">", "：", "＝", "为", "是"];
        if let Some(sign) = signs.iter().find(|sign| after.starts_with(**sign)) {
            // `=>` and `==` join code.
            if after[sign.len()..].starts_with(['=', '>']) {
                return None;
            }
            found = Some(Joint::Sign);
            at += sign.len();
        } else if found.is_none() && (after.starts_with("is ") || after.starts_with("is:")) {
            found = Some(Joint::Verb);
            at += 2;
        } else {
            break;
        }
        at = skip(at, &|c| c == '*' || c == '_' || blank(c));
    }
    // A heading, or a label that ends its line, has its value below.
    let ends = rest(at).starts_with(['\n', '\r']);
    if ends && (heading || found == Some(Joint::Sign)) {
        let next = skip(at, &|c| matches!(c, '\n' | '\r'));
        let next = skip(next, &|c| matches!(c, '-' | '*' | '•') || blank(c));
        return (next - at <= 12).then_some((next, Joint::Sign));
    }
    found.filter(|_| !ends).map(|joint| (at, joint))
}

/// The ways to end the value that begins at `start`, the likeliest first.
fn candidates(text: &str, start: usize) -> impl Iterator<Item = Range<usize>> + '_ {
    let rest = text.get(start..).unwrap_or_default();
    let mut bound = rest.len().min(LONGEST);
    while !rest.is_char_boundary(bound) {
        bound -= 1;
    }
    let rest = &rest[..bound];
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'' | '`' | '“' | '「'));
    let quoted = quote.and_then(|open| {
        let close = match open {
            '“' => '”',
            '「' => '」',
            same => same,
        };
        let from = open.len_utf8();
        let end = rest[from..].find(close)?;
        Some(from..from + end)
    });
    // `Ann Exner <ann@example.com>`
    let bracketed = rest.find(['\n', '\r', '<']).filter(|&at| rest[at..].starts_with('<')).and_then(|at| {
        let end = rest[at..].find(['>', '\n'])?;
        Some(at + 1..at + end)
    });
    let line = rest.find(['\n', '\r', '<', '|', '，', '。', '；']).unwrap_or(rest.len());
    let line = &rest[..line];
    let up_to = |stops: &[&str]| stops.iter().filter_map(|stop| line.find(stop)).min().unwrap_or(line.len());
    let ends = [up_to(&[";", " (", "（"]), up_to(&[", ", ";"]), up_to(CLAUSES), up_to(&[" ", ",", ";"]), line.len()];
    let trimmed = move |end: usize| {
        let piece = &line[..end];
        let front = piece.len() - piece.trim_start_matches(|c: char| EMPHASIS.contains(&c) || c == ' ').len();
        let piece = piece[front..]
            .trim_end_matches(|c: char| EMPHASIS.contains(&c) || matches!(c, ' ' | '.' | ',' | ')' | ':'));
        front..front + piece.len()
    };
    quoted
        .into_iter()
        .chain(ends.into_iter().map(trimmed))
        .chain(bracketed)
        .filter(|range| !range.is_empty())
        .map(move |range| range.start + start..range.end + start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, label: &str) -> Vec<String> {
        let at = text.find(label).expect("the label");
        let Some((start, _)) = joint_behind(text, &(at..at + label.len())) else { return Vec::new() };
        let mut values: Vec<String> = candidates(text, start).map(|range| text[range].to_owned()).collect();
        values.dedup();
        values
    }

    #[test]
    fn the_value_is_among_the_ways_to_end_it() {
        for (text, label, value) in [
            ("Shell: zsh", "Shell", "zsh"),
            ("- **Shell**: `/bin/zsh`\n", "Shell", "/bin/zsh"),
            ("* **Shell:** /bin/zsh, of 2026", "Shell", "/bin/zsh"),
            ("| Shell | /bin/zsh |\n", "Shell", "/bin/zsh"),
            ("默认 Shell 为 zsh。", "Shell", "zsh"),
            ("当前的工作目录是 /home/ann/p，操作系统", "工作目录", "/home/ann/p"),
            ("Zone: Europe/Vienna (UTC+1)", "Zone", "Europe/Vienna"),
            ("directory: \"/home/ann/my shop\" and more", "directory", "/home/ann/my shop"),
            ("My system is: linux\n", "system", "linux"),
            ("# Time\n11/22/2026, 8:29:12 PM (Asia/Shanghai)", "Time", "11/22/2026, 8:29:12 PM"),
            ("a: {\"tz\": \"Asia/Shanghai\"}", "tz", "Asia/Shanghai"),
            ("tz=Asia/Shanghai; shell=/bin/zsh", "tz", "Asia/Shanghai"),
        ] {
            let values = cut(text, label);
            assert!(values.iter().any(|found| found == value), "{text}: {values:?}");
        }
        for (text, label) in [("zone == other", "zone"), ("host | string", "host"), ("a zone of its own", "zone")] {
            assert!(cut(text, label).is_empty(), "{text}");
        }
    }
}

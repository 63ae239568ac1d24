//! Runs the examples that rules bring, on whole requests and through the real decoder.

use bytes::Bytes;

use super::rule::{Example, Rule};
use super::ruleset::RuleSet;
use crate::engine::audit::{Part, Request, Unit};
use crate::engine::decode::{DecodeLimits, walk};
use crate::wire::head::RequestHead;

/// An example that did not come out as the rule says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    pub rule: String,
    pub example: String,
    pub file: String,
    pub line: usize,
    pub expected: Vec<String>,
    pub found: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rule, example, file, line, expected, found } = self;
        write!(f, "{rule} / {example}: expected {expected:?}, found {found:?} ({file}:{line})")
    }
}

/// All examples of all rules that fail.
pub fn failures(rules: &RuleSet) -> Vec<Failure> {
    rules
        .rules()
        .iter()
        .flat_map(|rule| {
            let examples = rule.examples();
            examples.iter().filter_map(|example| check(rules, rule, example)).collect::<Vec<_>>()
        })
        .collect()
}

/// What is wrong with one example; each rule is asked alone, so no other can cover for it.
pub fn check(rules: &RuleSet, rule: &Rule, example: &Example) -> Option<Failure> {
    let mut found = found_by(rules, &rule.id, example)?;
    let mut expected = example.expect.clone();
    found.sort();
    expected.sort();
    (found != expected).then(|| Failure {
        rule: rule.id.to_string(),
        example: example.name.clone(),
        file: rule.file.clone(),
        line: example.line,
        expected,
        found,
    })
}

fn found_by(rules: &RuleSet, id: &str, example: &Example) -> Option<Vec<String>> {
    let (request, body) = parse(&example.request)?;
    let client = rules.client_of(&request);
    let mut inspector = rules.inspector(&request, client.as_ref().map(|(pack, _)| &**pack));
    let part = match (example.websocket, body.is_empty()) {
        (true, _) => Part::Message { index: 0, text: true, bytes: body },
        (false, true) => Part::Head,
        (false, false) => Part::Document(body),
    };
    walk(&Unit { request: &request, part }, &DecodeLimits::default(), &mut inspector);
    Some(inspector.finish_rule(id).iter().map(|finding| finding.location.to_string()).collect())
}

/// Reads a request as people write one: LF or CRLF, the body is the rest.
pub fn parse(text: &str) -> Option<(Request, Bytes)> {
    let text = text.trim_start_matches(['\r', '\n']);
    let (head, body) = match (text.find("\n\n"), text.find("\r\n\r\n")) {
        (Some(lf), Some(crlf)) if crlf < lf => (&text[..crlf], &text[crlf + 4..]),
        (Some(lf), _) => (&text[..lf], &text[lf + 2..]),
        (None, Some(crlf)) => (&text[..crlf], &text[crlf + 4..]),
        (None, None) => (text, ""),
    };
    let mut lines = head.lines();
    let mut start = lines.next()?.split(' ');
    let (method, target, version) = (start.next()?, start.next()?, start.next()?);
    if !version.starts_with("HTTP/") || start.next().is_some() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        fields.push((name.trim().as_bytes(), value.trim().as_bytes()));
    }
    let host = fields
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(b"host"))
        .map_or("", |(_, value)| std::str::from_utf8(value).unwrap_or_default());
    let host = host.split(':').next().unwrap_or(host).to_ascii_lowercase();
    let head = RequestHead::from_parts(method, target, fields);
    Some((Request { host, port: 443, secure: true, head }, Bytes::copy_from_slice(body.as_bytes())))
}

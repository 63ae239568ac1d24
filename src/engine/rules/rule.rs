//! A rule, compiled and checked.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};
use toml::Spanned;

use super::error::{RuleError, Source};
use super::file::{ExampleFile, MatchFile, OneOrMany, RuleFile, SelectFile};
use super::glob::{self, PointerGlob};
use super::names::Words;
use super::ruleset::RuleSet;
use super::validate::{self, Validator};
use crate::engine::finding::{Action, Detector, Severity};
use crate::engine::kinds;
use crate::engine::visit::LeafKind;

/// Longest pattern that a rule may hold, and the most memory that one may compile to.
const PATTERN_LIMIT: usize = 2_000;
const PROGRAM_LIMIT: usize = 1 << 20;

#[derive(Debug)]
pub struct Rule {
    pub id: Arc<str>,
    pub kind: Arc<str>,
    pub pack: Arc<str>,
    pub title: String,
    pub severity: Severity,
    pub action: Option<Action>,
    pub confidence: f32,
    pub why: String,
    pub references: Vec<String>,
    pub detector: Detector,
    pub select: Select,
    pub matching: Matching,
    /// Beginnings of credentials and the hosts that those are for.
    pub issuers: Vec<(String, Vec<String>)>,
    /// None of a built-in rule: [`Rule::examples`] reads them when they are asked for.
    examples: Option<Vec<Example>>,
    /// The file it was written in, for messages.
    pub file: String,
    /// Yields to rules that know the client.
    pub generic: bool,
}

/// Where a rule looks. An empty list sets no condition.
#[derive(Debug, Default)]
pub struct Select {
    pub parts: Vec<Part>,
    pub header: Vec<String>,
    /// In words: `device_id`, `*_device_id`.
    pub names: Vec<String>,
    pub key: Option<Pattern>,
    pub(crate) path: Vec<PointerGlob>,
    pub host: Vec<String>,
    pub url: Option<Pattern>,
    pub text: bool,
    pub client: Option<String>,
    pub telemetry: bool,
    pub list: bool,
    pub conversation: bool,
    /// As written, for the documentation.
    pub written: Vec<(&'static str, String)>,
}

/// What a value must look like.
#[derive(Debug, Default)]
pub struct Matching {
    pub value: Option<Pattern>,
    pub unless: Option<Pattern>,
    pub validators: Vec<Validator>,
    pub json_types: Vec<JsonType>,
    pub near: Vec<String>,
    pub labels: Vec<String>,
    pub follow: bool,
    pub block: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    Head,
    Path,
    Query,
    Header,
    Body,
    Ws,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JsonType {
    String,
    Number,
    Bool,
    Null,
}

impl JsonType {
    /// Leaves that are not JSON are strings.
    pub fn of(kind: LeafKind) -> Self {
        match kind {
            LeafKind::JsonNumber | LeafKind::PbVarint | LeafKind::PbFixed => Self::Number,
            LeafKind::JsonBool => Self::Bool,
            LeafKind::JsonNull => Self::Null,
            _ => Self::String,
        }
    }
}

impl Rule {
    /// Requests in which it finds something, and those that it leaves alone.
    pub fn examples(&self) -> Cow<'_, [Example]> {
        if let Some(examples) = &self.examples {
            return examples.into();
        }
        // They take as much memory as all rules do, and no proxy asks for them.
        let source = RuleSet::builtin_sources().iter().find(|source| source.name == self.file);
        let read = source.and_then(|source| {
            let source = Source { name: source.name, text: source.text };
            let file = RuleFile::read(source).ok()?;
            Compiler { source, check: Check::Now }.examples(file.examples, &file.id).ok()
        });
        read.unwrap_or_default().into()
    }
}

/// A request with the exact locations that a rule finds in it.
#[derive(Clone, Debug)]
pub struct Example {
    pub name: String,
    pub expect: Vec<String>,
    pub request: String,
    pub websocket: bool,
    /// Where it stands in its file.
    pub line: usize,
}

/// A regular expression, compiled when it is first used.
#[derive(Debug)]
pub struct Pattern {
    text: String,
    /// `^` and `$` stand at the ends of lines.
    lines: bool,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `None` only for a pattern that was never checked.
    pub fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Self::compile(&self.text, self.lines).ok()).as_ref()
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }

    /// The regex engine is linear in the text; the limits bound what one pattern may cost before that.
    fn compile(text: &str, lines: bool) -> Result<Regex, regex::Error> {
        RegexBuilder::new(text).multi_line(lines).size_limit(PROGRAM_LIMIT).dfa_size_limit(PROGRAM_LIMIT).build()
    }
}

/// The built-in rules are compiled by the tests of this repository, so a process compiles only those it meets, and reads no
/// examples.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Check {
    Now,
    OnUse,
}

/// Compiles the parts of one file, naming its lines in messages.
#[derive(Clone, Copy)]
pub(crate) struct Compiler<'a> {
    pub source: Source<'a>,
    pub check: Check,
}

impl<'a> Compiler<'a> {
    pub fn rule(self, file: RuleFile, pack: &Arc<str>, generic: bool) -> Result<Rule, RuleError> {
        let kind = file.kind.get_ref();
        if !kinds::is_known(kind) {
            let family: Vec<_> = kinds::KINDS.iter().map(|kind| kind.name).collect();
            let problem = format!("unknown kind \"{kind}\"");
            return Err(self.error(&file.kind, problem, &format!("one of {}", family.join(", "))));
        }
        let id = file.id.get_ref();
        let named = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if id.is_empty() || !named || id.len() > 80 {
            return Err(self.error(
                &file.id,
                format!("id \"{id}\" is no name"),
                "letters, digits and . - _, such as \"device.machine-id\"",
            ));
        }
        for (text, name) in [(&file.title, "title"), (&file.why, "why")] {
            if text.get_ref().trim().is_empty() {
                return Err(self.error(text, format!("{name} is empty"), "one sentence"));
            }
        }
        let select_span = file.select.span();
        let select = self.select(file.select.into_inner())?;
        let matching = match file.matching {
            Some(matching) => self.matching(matching, &select)?,
            None => Matching::default(),
        };
        if select.text && matching.near.is_empty() && matching.labels.is_empty() {
            let problem = "a text rule without match.near or match.label would try its pattern on every line";
            return Err(RuleError::at(
                self.source,
                select_span,
                problem,
                "match = { near = [\"Working directory\"], value = '…' }",
            ));
        }
        if !select.text && matching.value.is_none() && matching.validators.is_empty() && select.is_wide() {
            let problem = "the rule takes any value under any name";
            return Err(RuleError::at(
                self.source,
                select_span,
                problem,
                "select.names, key, header or path, or match.value or validator",
            ));
        }
        let confidence = match &file.confidence {
            None if select.text => 0.4,
            None => 0.9,
            Some(given) if (0.0..=1.0).contains(given.get_ref()) => *given.get_ref(),
            Some(given) => {
                return Err(self.error(given, format!("confidence {}", given.get_ref()), "a number from 0 to 1"));
            }
        };
        let examples = match self.check {
            Check::Now => Some(self.examples(file.examples, &file.id)?),
            Check::OnUse => None,
        };
        let mut issuers = Vec::with_capacity(file.issuers.len());
        for (prefix, hosts) in file.issuers {
            let prefix_text = prefix.get_ref().as_str();
            // Keys of others are random: what begins many of them says nothing.
            let enough = if prefix_text.ends_with(|c: char| c.is_ascii_alphanumeric()) { 4 } else { 3 };
            if prefix_text.chars().count() < enough {
                let problem = format!("\"{prefix_text}\" would begin other issuers' credentials too");
                return Err(self.error(&prefix, problem, "four characters, or three with a separator at the end"));
            }
            for host in &hosts {
                if host.get_ref().contains(['/', ':']) || !host.get_ref().contains('.') {
                    let problem = format!("host \"{}\" is no host name", host.get_ref());
                    return Err(self.error(host, problem, "\"api.example.com\" or \"*.example.com\""));
                }
            }
            issuers.push((prefix.into_inner(), hosts.into_iter().map(Spanned::into_inner).collect()));
        }
        let detector = match kind.split('.').next() {
            Some("integrity") => Detector::Integrity,
            _ if select.text => Detector::Prompt,
            _ => Detector::Rule,
        };
        Ok(Rule {
            id: id.as_str().into(),
            kind: kind.as_str().into(),
            pack: pack.clone(),
            title: file.title.into_inner(),
            severity: file.severity,
            action: file.action,
            confidence,
            why: file.why.into_inner(),
            references: file.references,
            detector,
            select,
            matching,
            issuers,
            examples,
            file: self.source.name.to_owned(),
            generic,
        })
    }

    fn select(self, file: SelectFile) -> Result<Select, RuleError> {
        let mut select = Select {
            text: file.text,
            telemetry: file.telemetry,
            list: file.list.unwrap_or(true),
            conversation: file.conversation.unwrap_or(true),
            ..Select::default()
        };
        let mut note = |name: &'static str, text: String| select.written.push((name, text));
        let listed = |list: &Spanned<OneOrMany>| list.get_ref().0.join(", ");
        for (name, list) in [
            ("part", &file.part),
            ("header", &file.header),
            ("names", &file.names),
            ("path", &file.path),
            ("host", &file.host),
        ] {
            if let Some(list) = list {
                note(name, listed(list));
            }
        }
        for (name, pattern) in [("key", &file.key), ("url", &file.url), ("client", &file.client)] {
            if let Some(pattern) = pattern {
                note(name, pattern.get_ref().clone());
            }
        }
        if let Some(parts) = &file.part {
            for part in &parts.get_ref().0 {
                select.parts.push(match part.as_str() {
                    "head" => Part::Head,
                    "path" => Part::Path,
                    "query" => Part::Query,
                    "header" => Part::Header,
                    "body" => Part::Body,
                    "ws" => Part::Ws,
                    "any" => continue,
                    other => {
                        return Err(self.error(
                            parts,
                            format!("unknown part \"{other}\""),
                            "head, path, query, header, body, ws or any",
                        ));
                    }
                });
            }
        }
        if let Some(names) = &file.names {
            for name in &names.get_ref().0 {
                let bare = name.strip_prefix("*_").unwrap_or(name);
                if Words::of(bare).is_none_or(|words| words.as_str() != bare) {
                    let problem = format!("name \"{name}\" is not in words");
                    return Err(self.error(
                        names,
                        problem,
                        "lower-case words joined by _, such as \"device_id\" or \"*_device_id\"",
                    ));
                }
                select.names.push(name.clone());
            }
        }
        if let Some(headers) = &file.header {
            for header in &headers.get_ref().0 {
                if header.is_empty() || header.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic())
                {
                    return Err(self.error(
                        headers,
                        format!("header \"{header}\" is no field name"),
                        "a name in lower case, such as \"x-device-id\"",
                    ));
                }
                select.header.push(header.clone());
            }
        }
        if let Some(globs) = &file.path {
            for glob in &globs.get_ref().0 {
                match PointerGlob::parse(glob) {
                    Some(glob) => select.path.push(glob),
                    None => {
                        return Err(self.error(
                            globs,
                            format!("path \"{glob}\" is no pointer"),
                            "a glob such as \"/events/*/env/**\"",
                        ));
                    }
                }
            }
        }
        if let Some(hosts) = &file.host {
            for host in &hosts.get_ref().0 {
                if host.is_empty() || host.contains(['/', ':']) || *host != host.to_ascii_lowercase() {
                    return Err(self.error(
                        hosts,
                        format!("host \"{host}\" is no host name"),
                        "\"api.example.com\" or \"*.example.com\"",
                    ));
                }
                select.host.push(host.clone());
            }
        }
        select.key = file.key.map(|key| self.pattern(&key)).transpose()?;
        select.url = file.url.map(|url| self.pattern(&url)).transpose()?;
        select.client = file.client.map(Spanned::into_inner);
        Ok(select)
    }

    fn matching(self, file: Spanned<MatchFile>, select: &Select) -> Result<Matching, RuleError> {
        let span = file.span();
        let file = file.into_inner();
        let mut matching = Matching { follow: file.follow, block: file.block, ..Matching::default() };
        matching.value = file.value.map(|value| self.pattern_of(&value, select.text)).transpose()?;
        matching.unless = file.unless.map(|unless| self.pattern(&unless)).transpose()?;
        if let Some(validators) = &file.validator {
            for name in &validators.get_ref().0 {
                match Validator::parse(name) {
                    Some(validator) => matching.validators.push(validator),
                    None => {
                        let problem = format!("unknown validator \"{name}\"");
                        return Err(self.error(validators, problem, &format!("one of {}", validate::NAMES)));
                    }
                }
            }
        }
        if let Some(types) = &file.json_type {
            for name in &types.get_ref().0 {
                matching.json_types.push(match name.as_str() {
                    "string" => JsonType::String,
                    "number" => JsonType::Number,
                    "bool" => JsonType::Bool,
                    "null" => JsonType::Null,
                    other => {
                        return Err(self.error(
                            types,
                            format!("unknown JSON type \"{other}\""),
                            "string, number, bool or null",
                        ));
                    }
                });
            }
        }
        for (written, list) in [(&file.near, &mut matching.near), (&file.label, &mut matching.labels)] {
            let Some(written) = written else { continue };
            for literal in &written.get_ref().0 {
                if literal.trim().len() < 2 {
                    let problem = format!("\"{literal}\" is too short to tell a line");
                    return Err(self.error(written, problem, "two bytes or more"));
                }
                list.push(literal.clone());
            }
        }
        let labelled = matching.near.is_empty() && !matching.labels.is_empty() && !matching.validators.is_empty();
        if select.text && matching.value.is_none() && !labelled {
            return Err(RuleError::at(
                self.source,
                span,
                "a text rule without match.value",
                "a pattern with a group named value, or match.label and match.validator alone",
            ));
        }
        let of_text = matching.follow || matching.block;
        if !select.text && (!matching.near.is_empty() || !matching.labels.is_empty() || of_text) {
            let problem = "match.near, match.label, match.follow and match.block are for text rules";
            return Err(RuleError::at(self.source, span, problem, "select = { text = true }"));
        }
        Ok(matching)
    }

    fn examples(self, files: Vec<Spanned<ExampleFile>>, id: &Spanned<String>) -> Result<Vec<Example>, RuleError> {
        let wanted = "[[example]] with name, expect and request: one that the rule finds and one with expect = []";
        let mut examples = Vec::with_capacity(files.len());
        for file in files {
            let span = file.span();
            let file = file.into_inner();
            if super::examples::parse(file.request.get_ref()).is_none() {
                let problem = format!("example \"{}\" is no request", file.name.get_ref());
                return Err(self.error(
                    &file.request,
                    problem,
                    "a request line such as \"POST /v1 HTTP/1.1\", headers, an empty line, a body",
                ));
            }
            examples.push(Example {
                name: file.name.into_inner(),
                expect: file.expect.into_iter().map(Spanned::into_inner).collect(),
                request: file.request.into_inner(),
                websocket: file.websocket,
                line: RuleError::at(self.source, span, "", "").line,
            });
        }
        if !examples.iter().any(|example| !example.expect.is_empty()) {
            return Err(self.error(id, format!("rule {} has no example that it finds", id.get_ref()), wanted));
        }
        if !examples.iter().any(|example| example.expect.is_empty()) {
            return Err(self.error(id, format!("rule {} has no example that it leaves alone", id.get_ref()), wanted));
        }
        Ok(examples)
    }

    pub fn pattern(self, written: &Spanned<String>) -> Result<Pattern, RuleError> {
        self.pattern_of(written, false)
    }

    fn pattern_of(self, written: &Spanned<String>, lines: bool) -> Result<Pattern, RuleError> {
        let text = written.get_ref();
        if text.len() > PATTERN_LIMIT {
            let problem = format!("pattern of {} bytes", text.len());
            return Err(self.error(written, problem, &format!("at most {PATTERN_LIMIT}")));
        }
        let pattern = Pattern { text: text.clone(), lines, compiled: OnceLock::new() };
        if self.check == Check::Now {
            match Pattern::compile(text, lines) {
                Ok(regex) => drop(pattern.compiled.set(Some(regex))),
                Err(regex::Error::CompiledTooBig(limit)) => {
                    return Err(self.error(
                        written,
                        format!("pattern compiles to more than {limit} bytes"),
                        "fewer or smaller repetitions",
                    ));
                }
                Err(error) => {
                    // The last line says what is wrong; those before draw the pattern.
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    return Err(self.error(
                        written,
                        format!("pattern does not compile: {reason}"),
                        "a regular expression of the Rust regex crate",
                    ));
                }
            }
        }
        Ok(pattern)
    }

    pub fn error<T>(self, at: &Spanned<T>, problem: String, expected: &str) -> RuleError {
        RuleError::at(self.source, at.span(), problem, expected)
    }
}

impl Select {
    /// No name, header or path narrows the rule down.
    fn is_wide(&self) -> bool {
        self.header.is_empty() && self.names.is_empty() && self.key.is_none() && self.path.is_empty()
    }

    pub(super) fn admits_host(&self, host: &str) -> bool {
        self.host.is_empty() || self.host.iter().any(|pattern| glob::host(pattern, host))
    }

    pub(super) fn admits_client(&self, client: Option<&str>) -> bool {
        self.client.as_deref().is_none_or(|wanted| client == Some(wanted))
    }

    pub(super) fn admits_path(&self, path: &str) -> bool {
        self.url.as_ref().is_none_or(|url| url.is_match(path))
    }

    /// Whether requests differ in whether the rule is worth trying on them.
    pub(crate) fn is_conditional(&self) -> bool {
        !self.host.is_empty() || self.url.is_some() || self.client.is_some()
    }
}

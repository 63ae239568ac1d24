//! The JSON Lines of `--findings`, read back: findings and flows, schema 1.
//!
//! Tolerant where a later version may add, strict where a guess would mislead: unknown members are passed over, a line of
//! another schema is none. What is wrong with a line is told without quoting it, since it may hold a value.

use serde::{Deserialize, Deserializer, Serialize};

use crate::engine::line::SCHEMA;
use crate::engine::{Action, Detector, Severity};
use crate::session::files::SentFile;

/// One line.
#[derive(Clone, Debug)]
pub enum Line {
    Finding(Box<FindingLine>),
    Flow(Box<FlowLine>),
    /// A file of the working tree that was sent.
    File(Box<SentFile>),
}

/// What both sorts of lines say first.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct About {
    #[serde(default, deserialize_with = "text")]
    pub time: String,
    #[serde(default, deserialize_with = "text")]
    pub session: String,
    #[serde(default, deserialize_with = "text")]
    pub flow: String,
    #[serde(default, deserialize_with = "text")]
    pub host: String,
    pub method: Option<String>,
    pub path: Option<String>,
    pub client: Option<String>,
    pub client_version: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct FindingLine {
    #[serde(flatten)]
    pub about: About,
    pub kind: String,
    pub location: String,
    #[serde(default)]
    pub layers: Vec<String>,
    pub detector: Detector,
    pub rule: Option<String>,
    pub severity: Severity,
    #[serde(default)]
    pub confidence: f64,
    #[serde(default, deserialize_with = "text")]
    pub value: String,
    #[serde(default, deserialize_with = "text")]
    pub value_hmac: String,
    pub action: Action,
    pub replacement: Option<String>,
    pub would: Option<Action>,
    pub decided_by: Option<String>,
    pub part: Option<String>,
    pub span: Option<[u64; 2]>,
    pub observed: Option<String>,
    pub bits: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct FlowLine {
    #[serde(flatten)]
    pub about: About,
    #[serde(default)]
    pub bytes_sent: u64,
    #[serde(default)]
    pub bytes_read: u64,
    #[serde(default)]
    pub unread: Vec<UnreadLine>,
    pub verdict: Verdict,
    #[serde(default)]
    pub unmade: u64,
    pub certificate: Option<CertificateLine>,
    pub restored: Option<Restored>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Forwarded,
    Edited,
    Withheld,
}

#[derive(Clone, Debug, Deserialize)]
pub struct UnreadLine {
    pub location: String,
    #[serde(default)]
    pub bytes: u64,
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct CertificateLine {
    #[serde(default)]
    pub edits: Vec<EditLine>,
    #[serde(default)]
    pub rest_before: String,
    #[serde(default)]
    pub rest_after: String,
    #[serde(default)]
    pub integrity: Vec<IntegrityLine>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct EditLine {
    pub location: String,
    #[serde(default)]
    pub old_len: u64,
    #[serde(default)]
    pub new_len: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct IntegrityLine {
    pub kind: String,
    pub location: String,
}

/// What became of pseudonyms in answers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Restored {
    pub restored: u64,
    pub unrestored: u64,
    pub withheld: u64,
    pub unread: u64,
}

/// Why a line is not used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LineError {
    #[error("no JSON object (column {0})")]
    NotJson(usize),
    #[error("no line of findings: neither `kind` nor `verdict` is there")]
    Other,
    #[error("schema {0}; this divulge reads {SCHEMA}")]
    Schema(u64),
    #[error("a {0} with a member that is missing or of the wrong sort (column {1})")]
    Member(&'static str, usize),
    #[error("longer than {0} bytes")]
    Long(usize),
    #[error("no UTF-8")]
    NotText,
}

/// What tells the sorts of lines apart.
#[derive(Deserialize)]
struct Sort {
    schema: Option<serde_json::Value>,
    r#type: Option<serde_json::Value>,
    kind: Option<serde::de::IgnoredAny>,
    verdict: Option<serde::de::IgnoredAny>,
}

impl Line {
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let not_json = |error: serde_json::Error| LineError::NotJson(error.column());
        if !text.trim_start().starts_with('{') {
            return Err(LineError::NotJson(1));
        }
        let sort: Sort = serde_json::from_str(text).map_err(not_json)?;
        let schema = sort.schema.as_ref().and_then(serde_json::Value::as_u64);
        if let Some(schema) = schema.filter(|&schema| schema != u64::from(SCHEMA)) {
            return Err(LineError::Schema(schema));
        }
        let named = sort.r#type.as_ref().and_then(serde_json::Value::as_str);
        match named {
            Some("flow") => flow(text),
            Some("finding") => finding(text),
            Some("file") => file(text),
            None if sort.verdict.is_some() => flow(text),
            None if sort.kind.is_some() => finding(text),
            _ => Err(LineError::Other),
        }
    }
}

fn flow(text: &str) -> Result<Line, LineError> {
    let line = serde_json::from_str(text).map_err(|error| LineError::Member("flow", error.column()))?;
    Ok(Line::Flow(Box::new(line)))
}

fn file(text: &str) -> Result<Line, LineError> {
    let line = serde_json::from_str(text).map_err(|error| LineError::Member("file", error.column()))?;
    Ok(Line::File(Box::new(line)))
}

fn finding(text: &str) -> Result<Line, LineError> {
    let line = serde_json::from_str(text).map_err(|error| LineError::Member("finding", error.column()))?;
    Ok(Line::Finding(Box::new(line)))
}

/// A text, null being none.
fn text<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// Whether `value` is as [`Evidence`](crate::engine::Evidence) prints it: four characters at most, and the length.
pub fn is_masked(value: &str) -> bool {
    let Some((kept, rest)) = value.rsplit_once("… (") else { return value.is_empty() };
    let Some(bytes) = rest.strip_suffix(" bytes)") else { return false };
    kept.chars().count() <= 4 && !bytes.is_empty() && bytes.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Evidence;

    #[test]
    fn what_is_wrong_with_a_line_is_told_without_quoting_it() {
        for (line, said) in [
            ("", "no JSON object (column 1)"),
            ("[1]", "no JSON object (column 1)"),
            ("{\"schema\":1,\"kind\":\"id.device\"", "no JSON object (column 30)"),
            ("{\"schema\":2,\"type\":\"finding\"}", "schema 2; this divulge reads 1"),
            ("{\"schema\":1,\"type\":\"note\"}", "no line of findings: neither `kind` nor `verdict` is there"),
            ("{}", "no line of findings: neither `kind` nor `verdict` is there"),
        ] {
            assert_eq!(Line::parse(line).map(|_| ()).unwrap_err().to_string(), said, "{line}");
        }
        let wrong = "{\"schema\":1,\"type\":\"flow\",\"verdict\":\"anderson-secret\"}";
        let said = Line::parse(wrong).map(|_| ()).unwrap_err().to_string();
        assert!(said.starts_with("a flow with a member") && !said.contains("anderson"), "{said}");
    }

    #[test]
    fn members_that_a_later_version_adds_are_passed_over() {
        let line = "{\"schema\":1,\"type\":\"flow\",\"host\":null,\"verdict\":\"edited\",\"new\":{\"a\":[1]}}";
        assert!(matches!(Line::parse(line), Ok(Line::Flow(flow)) if flow.about.host.is_empty()));
    }

    #[test]
    fn a_masked_value_is_known_by_its_form() {
        for value in ["9f86d081884c7d659a2feaa0c55ad015", "anderson", "", "日本語日本語"] {
            assert!(is_masked(&Evidence::of(value).to_string()), "{value}");
        }
        for raw in ["anderson", "anderson… (8 bytes)", "ande… (many bytes)", "… (8 bytes) more"] {
            assert!(!is_masked(raw), "{raw}");
        }
    }
}

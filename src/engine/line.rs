//! Findings and flows as lines of JSON, the form in which they leave the process.
//!
//! This is the only writer of a [`Finding`]: values, replacements and the names inside a location are
//! masked here unless the user asked for them by `reveal`. Equal values are linked by a digest that is
//! keyed per installation, so the lines alone do not let anyone test a guess.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use hmac::Mac;
use serde::Serialize;

use super::certificate::Certificate;
use super::detect::{covert, template};
use super::finding::{Action, Detector, Finding, PartOf, Severity};
use super::flow::FlowSummary;
use super::kinds::{self, Entropy};
use super::location::Location;
use super::replace::keyed;

/// The version of the lines' schema.
pub const SCHEMA: u32 = 1;

/// What a line says about the flow it belongs to.
#[derive(Clone, Copy)]
pub struct LineContext<'a> {
    /// RFC 3339, UTC.
    pub time: &'a str,
    pub session: &'a str,
    pub flow: &'a str,
    pub host: &'a str,
    pub method: Option<&'a str>,
    /// Without the query; masked by `Flow::path`.
    pub path: Option<&'a str>,
    pub client: Option<&'a str>,
    pub client_version: Option<&'a str>,
    /// One for each line of a gateway, so that whoever gets it twice can tell.
    pub id: Option<&'a str>,
    /// The user and its group, where a gateway knows them: a name or a digest, as set.
    pub user: Option<&'a str>,
    pub group: Option<&'a str>,
    /// Raw values, for the user's own eyes.
    pub reveal: bool,
    pub digest_key: &'a [u8; 32],
}

/// A found value made safe to store and show: enough to recognise, too little to reuse.
///
/// `9f86… (64 bytes)`: the first 4 characters of values of 16 bytes or more, and nothing of shorter ones.
#[derive(Clone, Eq, PartialEq)]
pub struct Evidence {
    preview: String,
    bytes: usize,
}

impl Evidence {
    pub fn of(value: &str) -> Self {
        let kept = if value.len() >= 16 { 4 } else { 0 };
        Self { preview: value.chars().take(kept).collect(), bytes: value.len() }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}… ({} bytes)", self.preview, self.bytes)
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digest that links equal values: HMAC-SHA-256 under the installation's key, in hex.
pub fn value_hmac(key: &[u8; 32], value: &str) -> String {
    let mut mac = keyed(key, b"value");
    mac.update(value.as_bytes());
    hex(&mac.finalize().into_bytes())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// `text` with every occurrence of a found value replaced by `…`, for places that quote what they hold.
pub fn mask<'a>(text: &'a str, values: impl IntoIterator<Item = &'a str>) -> Cow<'a, str> {
    let mut masked = Cow::Borrowed(text);
    // The longest first: one may stand within another.
    let mut values: Vec<&str> = values.into_iter().collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    for value in values {
        if !value.is_empty() && masked.contains(value) {
            masked = Cow::Owned(masked.replace(value, "…"));
        }
    }
    masked
}

#[derive(Serialize)]
struct FindingLine<'a> {
    schema: u32,
    r#type: &'static str,
    time: &'a str,
    session: &'a str,
    flow: &'a str,
    host: &'a str,
    method: Option<&'a str>,
    path: Option<Cow<'a, str>>,
    client: Option<&'a str>,
    client_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    kind: &'a str,
    location: Cow<'a, str>,
    layers: Vec<String>,
    detector: Detector,
    rule: Option<&'a str>,
    severity: Severity,
    confidence: f64,
    value: String,
    value_hmac: String,
    action: Action,
    replacement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<f64>,
}

/// One finding as one line, without a line end.
pub fn finding_line(finding: &Finding, context: &LineContext<'_>) -> String {
    // How many bytes were not read is no value that was found.
    let plain = context.reveal || finding.detector == Detector::Unread;
    let shown = |text: &str| if plain { text.to_owned() } else { Evidence::of(text).to_string() };
    let path = context.path.map(|path| path.split('?').next().unwrap_or(path));
    let location = match &finding.shown_location {
        Some(masked) if !context.reveal => Cow::Borrowed(&**masked),
        _ => Cow::Owned(finding.location.to_string()),
    };
    let line = FindingLine {
        schema: SCHEMA,
        r#type: "finding",
        time: context.time,
        session: context.session,
        flow: context.flow,
        host: context.host,
        method: context.method,
        path: path.map(|path| match context.reveal {
            true => path.into(),
            false => mask(path, telling(finding).map(|value| &**value)),
        }),
        client: context.client,
        client_version: context.client_version,
        id: context.id,
        user: context.user,
        group: context.group,
        kind: &finding.kind,
        location,
        layers: layers(&finding.location),
        detector: finding.detector,
        rule: finding.rule.as_deref(),
        severity: finding.severity,
        confidence: rounded(finding.confidence),
        value: shown(&finding.value),
        value_hmac: value_hmac(context.digest_key, &finding.value),
        action: finding.action,
        replacement: finding.replacement.as_deref().map(shown),
        would: finding.would,
        decided_by: finding.decided_by.as_deref(),
        part: finding.part,
        span: finding.span.map(|span| [span.start, span.end]),
        observed: finding
            .observed
            .as_deref()
            .map(|text| if is_own_account(finding) { text.to_owned() } else { shown(text) }),
        bits: bits(finding),
    };
    json(&line)
}

/// Whether `observed` is what divulge says of a connection, not what somebody sent: nothing of it needs a mask.
fn is_own_account(finding: &Finding) -> bool {
    matches!(&*finding.kind, "audit.identity" | "audit.not_tls" | "audit.untrusted")
}

/// What a mark can carry, to a tenth of a bit.
fn bits(finding: &Finding) -> Option<f64> {
    let text = finding.observed.as_deref().unwrap_or(&finding.value);
    let bits = match finding.detector {
        Detector::Covert => covert::capacity(&finding.kind, text),
        Detector::Template => template::capacity(&finding.kind, text),
        _ => None,
    };
    bits.map(|bits| (bits * 10.0).round() / 10.0)
}

/// The spellings of a value that must not be read off the names around it. Short and common values occur in
/// names by chance: hiding them would hide the place.
pub(super) fn telling(finding: &Finding) -> impl Iterator<Item = &Arc<str>> {
    let common = kinds::find(&finding.kind).is_some_and(|kind| kind.entropy == Entropy::Low);
    let spellings = [Some(&finding.value), finding.observed.as_ref()];
    spellings.into_iter().flatten().filter(move |value| !common && value.len() >= 4)
}

/// The steps that undo an encoding: `gzip`, `b64`, `json` …, from the wire inwards.
pub fn layers(location: &Location) -> Vec<String> {
    let name = |step: &super::location::Step| {
        let printed = step.to_string();
        let label = printed.strip_prefix('!')?;
        Some(label.split([':', '@']).next().unwrap_or(label).to_owned())
    };
    location.steps.iter().filter_map(name).collect()
}

#[derive(Serialize)]
struct FlowLine<'a> {
    schema: u32,
    r#type: &'static str,
    time: &'a str,
    session: &'a str,
    flow: &'a str,
    host: &'a str,
    method: Option<&'a str>,
    path: Option<&'a str>,
    client: Option<&'a str>,
    client_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    bytes_sent: u64,
    bytes_read: u64,
    unread: Vec<UnreadLine>,
    kinds: BTreeMap<&'a str, u64>,
    verdict: super::flow::Verdict,
    /// Edits that the policy wanted and that could not be made.
    #[serde(skip_serializing_if = "is_zero")]
    unmade: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<RestoredLine>,
}

/// What became of pseudonyms in the answer.
#[derive(Serialize)]
struct RestoredLine {
    restored: u64,
    /// Seen by the client as they are.
    unrestored: u64,
    /// Of these, left alone in a tool call that would have taken the value elsewhere.
    withheld: u64,
    /// Answers and events that could not be read.
    unread: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct UnreadLine {
    location: String,
    bytes: u64,
    reason: &'static str,
    entropy: f64,
}

#[derive(Serialize)]
struct CertificateLine<'a> {
    edits: Vec<EditLine>,
    rest_before: String,
    rest_after: String,
    integrity: Vec<IntegrityLine<'a>>,
    /// Bytes unchanged since the conversation's previous turn; null where that turn is not known.
    prefix: Option<u64>,
}

#[derive(Serialize)]
struct EditLine {
    location: String,
    old_len: u64,
    new_len: u64,
    old_hmac: String,
    new_hmac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_span: Option<[u32; 2]>,
}

#[derive(Serialize)]
struct IntegrityLine<'a> {
    kind: &'a str,
    location: String,
}

/// The last line of a flow, without a line end.
pub fn flow_line(summary: &FlowSummary, context: &LineContext<'_>) -> String {
    let line = FlowLine {
        schema: SCHEMA,
        r#type: "flow",
        time: context.time,
        session: context.session,
        flow: context.flow,
        host: context.host,
        method: context.method,
        path: context.path.map(|path| path.split('?').next().unwrap_or(path)),
        client: context.client,
        client_version: context.client_version,
        id: context.id,
        user: context.user,
        group: context.group,
        bytes_sent: summary.bytes_sent,
        bytes_read: summary.bytes_read,
        unread: summary
            .unread
            .iter()
            .map(|unread| UnreadLine {
                location: summary.names.shown(&unread.location, context.reveal),
                bytes: unread.bytes,
                reason: unread.reason,
                entropy: rounded(unread.entropy),
            })
            .collect(),
        kinds: summary.kinds.iter().map(|(kind, count)| (&**kind, *count)).collect(),
        verdict: summary.verdict,
        unmade: summary.unmade,
        certificate: summary.certificate.as_ref().map(|certificate| certificate_line(certificate, summary, context)),
        restored: summary.restored.map(|stats| RestoredLine {
            restored: stats.restored,
            unrestored: stats.unrestored,
            withheld: stats.withheld,
            unread: stats.unread,
        }),
    };
    json(&line)
}

fn certificate_line<'a>(
    certificate: &'a Certificate,
    summary: &FlowSummary,
    context: &LineContext<'_>,
) -> CertificateLine<'a> {
    let edits = certificate.edits.iter().map(|edit| EditLine {
        location: summary.names.shown(&edit.location, context.reveal),
        old_len: edit.old.len() as u64,
        new_len: edit.new.len() as u64,
        old_hmac: value_hmac(context.digest_key, &edit.old),
        new_hmac: value_hmac(context.digest_key, &edit.new),
        part: edit.place.map(|(part, _, _)| part),
        span: edit.place.map(|(_, before, _)| [before.start, before.end]),
        new_span: edit.place.map(|(_, _, after)| [after.start, after.end]),
    });
    let integrity = certificate
        .integrity
        .iter()
        .map(|(kind, location)| IntegrityLine { kind, location: summary.names.shown(location, context.reveal) });
    CertificateLine {
        edits: edits.collect(),
        rest_before: hex(&certificate.rest_before),
        rest_after: hex(&certificate.rest_after),
        integrity: integrity.collect(),
        prefix: certificate.prefix,
    }
}

/// A 32-bit float printed as 64 bits would show digits that it does not have.
fn rounded(number: f32) -> f64 {
    (f64::from(number) * 1000.0).round() / 1000.0
}

fn json(line: &impl Serialize) -> String {
    spelled_out(serde_json::to_string(line).expect("lines hold nothing but strings, numbers and lists of them"))
}

/// Whether a terminal or a reader's eye would be led astray: control, direction and invisible characters.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{ad}' | '\u{61c}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

/// JSON with hidden characters as escapes: the same document, and safe to print. They stand in strings alone, line ends
/// between members aside.
pub fn spelled_out(json: String) -> String {
    let hidden = |c: char| c != '\n' && is_hidden(c);
    if !json.contains(hidden) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Root, Step};

    #[test]
    fn hidden_characters_are_escapes_and_the_document_is_the_same() {
        let value = serde_json::json!({"a\u{9b}": ["\u{7f}\u{202e}x\u{e0041}\u{fe0f}", "plain \u{e4}\u{1f600}"]});
        for json in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            let spelled = spelled_out(json);
            assert!(!spelled.contains(|c| c != '\n' && is_hidden(c)), "{spelled}");
            assert!(spelled.contains("\\udb40\\udc41"), "{spelled}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&spelled).unwrap(), value);
        }
    }

    fn finding(value: &str) -> Finding {
        Finding {
            kind: "path.home".into(),
            location: Location {
                root: Root::Body,
                steps: vec![Step::Gzip, Step::Json("/a".into()), Step::Window(1, 5)],
            }
            .into(),
            shown_location: None,
            detector: Detector::Fact,
            rule: None,
            severity: Severity::High,
            confidence: 0.95,
            value: value.into(),
            observed: None,
            part: None,
            span: None,
            action: Action::Redact,
            would: None,
            replacement: Some("/home/user/something".into()),
            decided_by: None,
        }
    }

    fn line(finding: &Finding, reveal: bool) -> serde_json::Value {
        let context = LineContext {
            time: "2026-11-22T12:00:00.000Z",
            session: "s",
            flow: "f",
            host: "api.example.com",
            method: None,
            path: Some("/x/anderson-long-login/y?token=1"),
            client: None,
            client_version: None,
            id: None,
            user: None,
            group: None,
            reveal,
            digest_key: &[7; 32],
        };
        serde_json::from_str(&finding_line(finding, &context)).expect("a line is JSON")
    }

    #[test]
    fn evidence_keeps_four_characters_of_long_values_and_none_of_short_ones() {
        assert_eq!(Evidence::of("9f86d081884c7d659a2feaa0c55ad015").to_string(), "9f86… (32 bytes)");
        assert_eq!(Evidence::of("anderson").to_string(), "… (8 bytes)");
        assert_eq!(Evidence::of("日本語日本語").to_string(), "日本語日… (18 bytes)");
        assert_eq!(format!("{:?}", Evidence::of("hunter2-hunter2-hunter2")), "hunt… (23 bytes)");
    }

    #[test]
    fn a_line_holds_every_key_and_no_raw_value() {
        let line = line(&finding("anderson-long-login"), false);
        for key in [
            "schema",
            "time",
            "session",
            "flow",
            "host",
            "method",
            "path",
            "client",
            "client_version",
            "kind",
            "location",
            "layers",
            "detector",
            "rule",
            "severity",
            "confidence",
            "value",
            "value_hmac",
            "action",
            "replacement",
        ] {
            assert!(line.get(key).is_some(), "{key} is missing");
        }
        assert_eq!(line["layers"], serde_json::json!(["gzip", "json"]));
        assert_eq!(line["location"], "body!gzip!json:/a@1-5");
        assert_eq!(line["path"], "/x/…/y");
        assert_eq!(line["confidence"], 0.95);
        assert_eq!(line["value"], "ande… (19 bytes)");
        assert!(!line.to_string().contains("anderson-long"), "{line}");
    }

    #[test]
    fn reveal_shows_what_was_found() {
        let line = line(&finding("anderson-long-login"), true);
        assert_eq!(
            (&line["value"], &line["path"]),
            (&"anderson-long-login".into(), &"/x/anderson-long-login/y".into())
        );
        assert_eq!(line["replacement"], "/home/user/something");
    }

    #[test]
    fn equal_values_share_a_digest_and_another_key_makes_another() {
        assert_eq!(value_hmac(&[1; 32], "a"), value_hmac(&[1; 32], "a"));
        assert_ne!(value_hmac(&[1; 32], "a"), value_hmac(&[2; 32], "a"));
        assert_eq!(value_hmac(&[1; 32], "a").len(), 64);
    }
}

//! A report as SARIF 2.1.0, for code scanning services and editors.
//!
//! A host is an artifact, the exact place in a request a logical location. Rules are those of the packs where one found it,
//! else the kind. `partialFingerprints` follow the digest of the value and its place, so that the same finding of two runs is
//! one alert.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::model::{Fact, Host, Place, Report};
use super::text::visible;
use crate::engine::rules::RuleSet;
use crate::engine::{Severity, kinds};

/// Results of one file; code scanning services take no more.
const MOST_RESULTS: usize = 25_000;

/// With a line end. `rules` say what the rules of the packs look for.
pub fn render(report: &Report, rules: &RuleSet) -> String {
    let mut file = File { rules, ids: BTreeMap::new(), described: Vec::new(), results: Vec::new(), left_out: 0 };
    for (index, host) in report.hosts.iter().enumerate() {
        file.host(index, host);
    }
    let artifacts: Vec<Value> = report.hosts.iter().map(artifact).collect();
    let mut invocation = Map::new();
    invocation.insert("executionSuccessful".into(), true.into());
    // A time that is none would make the file invalid.
    for (name, time) in [("startTimeUtc", &report.from), ("endTimeUtc", &report.to)] {
        if let Some(time) = time.as_deref().filter(|time| time.ends_with('Z')) {
            invocation.insert(name.into(), time.into());
        }
    }
    let notes: Vec<Value> = super::summary::damage(report)
        .iter()
        .map(|text| json!({"level": "warning", "message": {"text": plain(text)}}))
        .collect();
    if !notes.is_empty() {
        invocation.insert("toolExecutionNotifications".into(), notes.into());
    }
    let totals = serde_json::to_value(report.totals).unwrap_or_default();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "divulge",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": file.described,
            }},
            "invocations": [invocation],
            "artifacts": artifacts,
            "results": file.results,
            "columnKind": "unicodeCodePoints",
            "properties": {"totals": totals, "resultsLeftOut": file.left_out, "valuesInClear": report.revealed},
        }]
    });
    crate::engine::line::spelled_out(format!("{document:#}\n"))
}

struct File<'a> {
    rules: &'a RuleSet,
    /// Rules that are described, and where.
    ids: BTreeMap<String, usize>,
    described: Vec<Value>,
    results: Vec<Value>,
    left_out: u64,
}

impl File<'_> {
    fn host(&mut self, index: usize, host: &Host) {
        for fact in &host.facts {
            for place in &fact.places {
                self.result(index, host, fact, place);
            }
            self.left_out += fact.more_places;
        }
        self.left_out += host.more;
        for gap in &host.unread {
            if self.is_full() {
                continue;
            }
            let rule = self.rule("audit.unread", "audit.unread", None);
            let text = format!("{} bytes to {} were not read: {}", gap.bytes, host.label(), gap.reason);
            self.results.push(json!({
                "ruleId": "audit.unread", "ruleIndex": rule, "level": "note",
                "message": {"text": plain(&text)},
                "locations": [location(index, host, &gap.location, &gap.location)],
                "partialFingerprints": {"place/v1": digest(&[&host.name, "audit.unread", &gap.location, &gap.reason])},
                "occurrenceCount": gap.count.max(1),
            }));
        }
    }

    fn result(&mut self, index: usize, host: &Host, fact: &Fact, place: &Place) {
        if self.is_full() {
            return;
        }
        let id = fact.rule.as_deref().unwrap_or(&fact.kind);
        let rule = self.rule(id, &fact.kind, Some(fact.severity));
        let reveals = kinds::find(&fact.kind).map_or(String::new(), |kind| format!(" reveals {}", kind.reveals));
        let text = format!("{}{reveals}: {} to {}, {}", fact.kind, fact.value, host.label(), fact.action.name());
        let qualified = format!("{} {} {}", host.label(), place.endpoint, place.pattern);
        let mut fingerprints = Map::new();
        let at = digest(&[&host.name, &place.endpoint, &fact.kind, &place.pattern]);
        fingerprints.insert("place/v1".into(), at.into());
        if !fact.value_hmac.is_empty() {
            fingerprints.insert("value/v1".into(), fact.value_hmac.as_str().into());
        }
        self.results.push(json!({
            "ruleId": id, "ruleIndex": rule, "level": level(fact.severity),
            "message": {"text": plain(&text)},
            "locations": [location(index, host, &place.location, &qualified)],
            "partialFingerprints": fingerprints,
            "occurrenceCount": place.count.max(1),
            "properties": {
                "kind": fact.kind, "detector": fact.detector, "confidence": fact.confidence, "action": fact.action,
                "would": fact.would, "endpoint": place.endpoint,
                "layers": place.layers, "part": place.part, "span": place.span, "flow": place.flow,
                "replacement": place.replacement,
            },
        }));
    }

    fn is_full(&mut self) -> bool {
        let full = self.results.len() >= MOST_RESULTS;
        self.left_out += u64::from(full);
        full
    }

    /// Where the rule is described; describes it first where need be.
    fn rule(&mut self, id: &str, kind: &str, severity: Option<Severity>) -> usize {
        if let Some(&index) = self.ids.get(id) {
            return index;
        }
        let known = kinds::find(kind);
        let reveals = known.map_or("unknown to this divulge", |kind| kind.reveals);
        let rule = self.rules.rule(id);
        let title = rule.map_or_else(|| format!("{kind}: {reveals}"), |rule| rule.title.clone());
        let mut help = match rule {
            Some(rule) => format!("{} Reveals {reveals} ({kind}).", rule.why),
            None => format!("Reveals {reveals}."),
        };
        if let Some(kind) = known {
            let (entropy, stability) = (word(kind.entropy), word(kind.stability));
            help.push_str(&format!(" Entropy: {entropy}; stability: {stability}."));
        }
        for reference in rule.iter().flat_map(|rule| &rule.references) {
            help.push_str(&format!(" See {reference}."));
        }
        let severity = rule.map(|rule| rule.severity).or(severity).unwrap_or(Severity::Low);
        self.described.push(json!({
            "id": id,
            "name": pascal(id),
            "shortDescription": {"text": plain(&title)},
            "fullDescription": {"text": plain(&help)},
            "help": {"text": plain(&help)},
            "defaultConfiguration": {"level": level(severity)},
            "properties": {
                "tags": ["privacy", kind], "entropy": known.map(|kind| kind.entropy),
                "stability": known.map(|kind| kind.stability), "security-severity": score(severity),
            },
        }));
        let index = self.described.len() - 1;
        self.ids.insert(id.to_owned(), index);
        index
    }
}

fn location(index: usize, host: &Host, place: &str, qualified: &str) -> Value {
    json!({
        "physicalLocation": {"artifactLocation": {"uri": uri(&host.name), "index": index}},
        "logicalLocations": [{"name": place, "fullyQualifiedName": qualified, "kind": "value"}],
    })
}

fn artifact(host: &Host) -> Value {
    json!({
        "location": {"uri": uri(&host.name)},
        "description": {"text": plain(&format!("the host {}", host.label()))},
        "properties": {
            "requests": host.requests, "bytesSent": host.bytes_sent, "bytesRead": host.bytes_read, "new": host.new,
            "unlisted": host.unlisted,
        },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// Where services sort by number: the middle of what they call high, medium and low.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
    }
}

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// `claude.device-id` as `ClaudeDeviceId`: names of rules are spelled so.
fn pascal(id: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
    };
    id.split(|c: char| !c.is_alphanumeric()).map(word).collect()
}

/// A text without links and placeholders: in messages `[` and `{` mean something (SARIF 3.11.5, 3.11.6).
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '[' | ']' | '\\' => out.extend(['\\', c]),
            '{' | '}' => out.extend([c, c]),
            c => out.push(c),
        }
    }
    out
}

/// `https://api.example.com/`, with whatever no host may hold spelled in percent.
fn uri(host: &str) -> String {
    let is_ip6 = host.contains(':') && host.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'));
    if is_ip6 {
        return format!("https://[{host}]/");
    }
    let mut out = String::from("https://");
    for byte in host.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out.push('/');
    out
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length in front keeps two parts from running together.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::sample;

    fn rendered(report: &Report) -> Value {
        serde_json::from_str(&render(report, &RuleSet::builtin())).expect("it is JSON")
    }

    #[test]
    fn results_point_at_hosts_places_and_rules() {
        let document = rendered(&sample::report());
        let run = &document["runs"][0];
        let results = run["results"].as_array().expect("results");
        assert_eq!(results.len(), 3);
        let device = &results[0];
        assert_eq!((&device["ruleId"], &device["level"]), (&"claude.device-id".into(), &"error".into()));
        assert_eq!(device["partialFingerprints"]["value/v1"], "aa11");
        assert_eq!(device["locations"][0]["logicalLocations"][0]["name"], "body!json:/metadata/user_id");
        for result in results {
            let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().expect("a number") as usize];
            assert_eq!(rule["id"], result["ruleId"]);
            assert!(rule["help"]["text"].as_str().is_some_and(|text| text.len() > 10));
            let at = &result["locations"][0]["physicalLocation"]["artifactLocation"];
            let artifact = &run["artifacts"][at["index"].as_u64().expect("a number") as usize];
            assert_eq!(artifact["location"]["uri"], at["uri"]);
        }
    }

    #[test]
    fn a_rule_of_the_packs_brings_its_own_help() {
        let rules = RuleSet::builtin();
        let rule = rules.rules().first().expect("there are rules");
        let line = sample::finding("f", json!({"rule": &*rule.id, "kind": &*rule.kind}));
        let document = rendered(&sample::of(&[line]));
        let described = &document["runs"][0]["tool"]["driver"]["rules"][0];
        assert_eq!(described["shortDescription"]["text"], plain(&rule.title));
        assert!(described["help"]["text"].as_str().is_some_and(|help| help.contains(&plain(&rule.why))));
    }

    #[test]
    fn nothing_from_the_wire_is_a_link_or_an_address() {
        let nasty = "[x](javascript:alert(1)) {0} \"/>\n";
        let lines = [sample::finding("f", json!({"host": nasty, "value": nasty, "kind": nasty, "rule": null}))];
        let document = rendered(&sample::of(&lines));
        let result = &document["runs"][0]["results"][0];
        let message = result["message"]["text"].as_str().expect("a text");
        assert!(message.contains("\\[x\\](javascript") && message.contains("{{0}}"), "{message}");
        let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(uri, "https://%5Bx%5D%28javascript%3Aalert%281%29%29%20%7B0%7D%20%22%2F%3E%0A/");
        assert_eq!(super::uri("::1"), "https://[::1]/");
    }
}

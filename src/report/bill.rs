//! The fingerprint bill of materials: every field in which a client says something about person, machine or place.
//!
//! ```text
//! lines -> Bill -> JSON -> `divulge diff --fail-on new`
//! ```
//!
//! No values; sorted; the same lines always give the same bytes. What changes from request to request (ids in paths,
//! positions in lists) is left open, so that the bills of two releases can be compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::lines::{About, FindingLine, Line, is_masked};
use super::place::{path_template, pattern};
use crate::engine::kinds::{self, Entropy, Stability};
use crate::engine::{Detector, Severity};

/// The version of the bill's schema.
pub const SCHEMA: u32 = 1;
/// Entries and hosts of one bill; what is beyond is counted.
const MOST: usize = 100_000;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Bill {
    pub schema: u32,
    /// `bill`
    pub r#type: String,
    pub generator: Generator,
    pub clients: Vec<Client>,
    pub hosts: Vec<HostEntry>,
    pub entries: Vec<Entry>,
    /// Findings beyond the most that a bill holds.
    #[serde(default)]
    pub beyond: u64,
    /// The lines were written with `--reveal`: names in paths and locations may hold values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revealed: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Generator {
    pub name: String,
    pub version: String,
}

/// A client and the versions that sent something.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Client {
    pub client: Option<String>,
    pub versions: Vec<String>,
}

/// A host that a client sent to, whether or not anything was found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HostEntry {
    pub client: Option<String>,
    pub host: String,
    pub requests: u64,
}

/// One field.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    pub client: Option<String>,
    pub client_version: Option<String>,
    pub host: String,
    pub method: Option<String>,
    /// Ids, digests and numbers are `{id}`.
    pub path: Option<String>,
    /// Positions in lists are `*`.
    pub location: String,
    pub kind: String,
    /// Null where this divulge does not know the kind.
    #[serde(default)]
    pub stability: Option<Stability>,
    #[serde(default)]
    pub entropy: Option<Entropy>,
    pub severity: Severity,
    pub detector: Detector,
    pub rule: Option<String>,
    pub count: u64,
}

/// Adds lines up to a bill.
#[derive(Default)]
pub struct Builder {
    clients: BTreeMap<Option<String>, BTreeSet<String>>,
    hosts: BTreeMap<(Option<String>, String), u64>,
    entries: BTreeMap<Key, (Severity, u64)>,
    beyond: u64,
    revealed: bool,
}

/// All that makes an entry one of its own, in the order in which a bill is sorted.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    client: Option<String>,
    host: String,
    path: Option<String>,
    method: Option<String>,
    location: String,
    kind: String,
    detector: Detector,
    rule: Option<String>,
    client_version: Option<String>,
}

impl Builder {
    pub fn add(&mut self, line: &Line) {
        match line {
            Line::Finding(finding) => self.finding(finding),
            Line::File(_) => {}
            Line::Flow(flow) => *self.host(&flow.about) += 1,
        }
    }

    /// How many requests of this client went to this host.
    fn host(&mut self, about: &About) -> &mut u64 {
        let versions = self.clients.entry(about.client.clone()).or_default();
        if versions.len() < MOST {
            versions.extend(about.client_version.clone());
        }
        self.hosts.entry((about.client.clone(), about.host.clone())).or_default()
    }

    fn finding(&mut self, line: &FindingLine) {
        self.host(&line.about);
        self.revealed |= line.detector != Detector::Unread && !is_masked(&line.value);
        let about = &line.about;
        let key = Key {
            client: about.client.clone(),
            host: about.host.clone(),
            path: about.path.as_deref().map(path_template),
            method: about.method.clone(),
            location: pattern(&line.location),
            kind: line.kind.clone(),
            detector: line.detector,
            rule: line.rule.clone(),
            client_version: about.client_version.clone(),
        };
        if self.entries.len() >= MOST && !self.entries.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        let (severity, count) = self.entries.entry(key).or_insert((line.severity, 0));
        *severity = (*severity).max(line.severity);
        *count += 1;
    }

    pub fn finish(self) -> Bill {
        let entry = |(key, (severity, count)): (Key, (Severity, u64))| {
            let kind = kinds::find(&key.kind);
            Entry {
                client: key.client,
                client_version: key.client_version,
                host: key.host,
                method: key.method,
                path: key.path,
                location: key.location,
                stability: kind.map(|kind| kind.stability),
                entropy: kind.map(|kind| kind.entropy),
                kind: key.kind,
                severity,
                detector: key.detector,
                rule: key.rule,
                count,
            }
        };
        let client =
            |(client, versions): (_, BTreeSet<String>)| Client { client, versions: versions.into_iter().collect() };
        Bill {
            schema: SCHEMA,
            r#type: "bill".to_owned(),
            generator: Generator { name: "divulge".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            clients: self.clients.into_iter().map(client).collect(),
            hosts: self
                .hosts
                .into_iter()
                .map(|((client, host), requests)| HostEntry { client, host, requests })
                .collect(),
            entries: self.entries.into_iter().map(entry).collect(),
            beyond: self.beyond,
            revealed: self.revealed,
        }
    }
}

/// Why a text is no bill that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    #[error("no bill (line {0}, column {1})")]
    Form(usize, usize),
    #[error("a bill of schema {0}; this divulge reads {SCHEMA}")]
    Schema(u64),
}

impl Bill {
    pub fn parse(text: &str) -> Result<Self, BillError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u64,
        }
        let form = |error: serde_json::Error| BillError::Form(error.line(), error.column());
        let version: Version = serde_json::from_str(text).map_err(form)?;
        if version.schema != u64::from(SCHEMA) {
            return Err(BillError::Schema(version.schema));
        }
        serde_json::from_str(text).map_err(form)
    }

    /// With a line end.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a bill holds nothing but strings, numbers and lists");
        crate::engine::line::spelled_out(text) + "\n"
    }
}

#[cfg(test)]
pub(super) fn sample(lines: &[String]) -> Bill {
    let mut builder = Builder::default();
    for line in lines {
        builder.add(&Line::parse(line).expect("a good line"));
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::sample::{finding, lines};

    #[test]
    fn a_bill_has_fields_without_values_in_an_order_of_its_own() {
        let bill = sample(&lines());
        let mut reversed = lines();
        reversed.reverse();
        assert_eq!(bill.json(), sample(&reversed).json());
        let text = bill.json();
        assert!(!text.contains("9f86") && !text.contains("aa11") && !text.contains("12345"), "{text}");
        let kernel = &bill.entries[1];
        assert_eq!(kernel.location, "body!gzip!json:/events/*/env/kernel");
        assert_eq!((kernel.path.as_deref(), kernel.count), (Some("/e/{id}"), 2));
        assert_eq!((kernel.stability, kernel.entropy), (Some(Stability::Install), Some(Entropy::Mid)));
        assert_eq!(bill.hosts.len(), 2);
        assert!(!bill.revealed);
        assert_eq!(bill.clients[0].versions, ["2.1.169"]);
    }

    #[test]
    fn a_bill_reads_back_and_a_kind_of_another_version_is_kept() {
        let bill = sample(&[finding("f", serde_json::json!({"kind": "brand.new"}))]);
        assert_eq!(bill.entries[0].stability, None);
        let read = Bill::parse(&bill.json()).expect("it is well formed");
        assert_eq!(read.entries, bill.entries);
        let newer = bill.json().replacen("\"schema\": 1", "\"schema\": 2", 1);
        assert_eq!(Bill::parse(&newer).unwrap_err().to_string(), "a bill of schema 2; this divulge reads 1");
    }
}

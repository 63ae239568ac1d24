//! What a file of findings says, added up: who received what, from where, how much was read, what was done.
//!
//! ```text
//! lines -> Builder -> Report -> text, JSON, HTML, Markdown, SARIF
//! ```
//!
//! Pure. Bounded: what is beyond a bound is counted, not kept. Tolerant: a line that cannot be used is named by its number
//! and counted, the rest is used.

pub mod builder;
#[cfg(test)]
pub(super) mod sample;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use self::builder::Builder;
use super::lines::{Line, LineError, Restored, Verdict};
use crate::engine::{Action, Detector, Severity, kinds};
use crate::session::files::SentFile;

/// Places of one fact, and gaps and edited places of one host.
const MOST_PLACES: usize = 64;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub totals: Totals,
    /// First and last time that a line states, as it is spelled there.
    pub from: Option<String>,
    pub to: Option<String>,
    pub sessions: BTreeSet<String>,
    pub clients: Vec<Client>,
    /// By name.
    pub hosts: Vec<Host>,
    /// Files of the working tree that were sent, by host, most of a file first.
    pub files: Vec<SentFile>,
    /// In the order of their time.
    pub flows: Vec<Flow>,
    /// Flows beyond those that are kept.
    pub more_flows: u64,
    /// Values stand in clear: the lines were written with `--reveal`.
    pub revealed: bool,
    pub damage: Damage,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    pub requests: u64,
    pub findings: u64,
    pub high: u64,
    pub medium: u64,
    pub low: u64,
    pub bytes_sent: u64,
    pub bytes_read: u64,
    pub edited: u64,
    pub withheld: u64,
    pub edits: u64,
    pub unmade: u64,
    pub restored: Restored,
    /// Findings of hosts and facts beyond those that are kept.
    pub beyond: u64,
}

/// Lines that could not be used.
#[derive(Debug, Default, Serialize)]
pub struct Damage {
    /// Of the file as a whole.
    pub file: Option<String>,
    pub lines: u64,
    pub first: Vec<(u64, String)>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Client {
    pub name: String,
    pub version: Option<String>,
    pub requests: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Host {
    pub name: String,
    /// When it was first met.
    pub first: Option<String>,
    /// Not in the report's baseline, where there is one.
    pub new: bool,
    /// No rule pack names it.
    pub unlisted: bool,
    pub requests: u64,
    pub edited: u64,
    pub withheld: u64,
    pub bytes_sent: u64,
    pub bytes_read: u64,
    pub findings: u64,
    pub worst: Option<Severity>,
    pub clients: BTreeSet<String>,
    pub kinds: BTreeMap<String, KindCount>,
    pub facts: Vec<Fact>,
    /// Findings of facts beyond those that are kept.
    pub more: u64,
    pub unread: Vec<Gap>,
    pub more_unread: u64,
    pub more_unread_bytes: u64,
    pub edits: Vec<Edited>,
    pub more_edits: u64,
    /// Edited requests whose untouched bytes are the same before and after.
    pub certified: u64,
    /// Values that bind edited bytes: kind and place.
    pub integrity: BTreeSet<(String, String)>,
    pub unmade: u64,
    pub restored: Restored,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct KindCount {
    pub count: u64,
    pub severity: Severity,
    pub action: Action,
}

/// One value of one kind that went to one host.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    pub kind: String,
    /// As it is shown.
    pub value: String,
    pub value_hmac: String,
    pub severity: Severity,
    pub confidence: f64,
    pub action: Action,
    pub would: Option<Action>,
    pub detector: Detector,
    pub rule: Option<String>,
    pub decided_by: Option<String>,
    pub count: u64,
    pub first: String,
    pub places: Vec<Place>,
    pub more_places: u64,
}

/// Where a fact stood: the first of the places that differ by positions in lists and ids in paths alone.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    pub location: String,
    pub pattern: String,
    /// `POST /v1/messages`, ids in the path left open.
    pub endpoint: String,
    pub flow: String,
    pub layers: Vec<String>,
    pub part: Option<String>,
    pub span: Option<[u64; 2]>,
    /// The text around the value's place as it stands, masked.
    pub observed: Option<String>,
    pub replacement: Option<String>,
    pub bits: Option<f64>,
    pub count: u64,
}

/// Bytes that were not read.
#[derive(Clone, Debug, Serialize)]
pub struct Gap {
    pub location: String,
    pub reason: String,
    pub bytes: u64,
    pub count: u64,
}

/// A place that was edited.
#[derive(Clone, Debug, Serialize)]
pub struct Edited {
    pub pattern: String,
    pub count: u64,
    pub old_bytes: u64,
    pub new_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Flow {
    pub id: String,
    pub session: String,
    pub time: String,
    #[serde(skip)]
    pub millis: Option<i64>,
    pub host: String,
    pub method: Option<String>,
    pub path: Option<String>,
    pub client: Option<String>,
    /// None where the flow did not end.
    pub verdict: Option<Verdict>,
    pub bytes_sent: u64,
    pub bytes_read: u64,
    pub findings: u64,
    pub worst: Option<Severity>,
    pub edits: u64,
    pub unmade: u64,
}

/// Facts of one kind that differ by their value alone: an id that is new with every request is one row.
#[derive(Debug)]
pub struct Row<'a> {
    pub facts: Vec<&'a Fact>,
    pub count: u64,
    pub severity: Severity,
    pub action: Action,
    pub would: Option<Action>,
}

impl Report {
    /// All of `lines`, which are numbered from 1.
    pub fn of(lines: impl IntoIterator<Item = Result<Line, LineError>>) -> Self {
        let mut builder = Builder::default();
        for line in lines {
            builder.add(line);
        }
        builder.finish()
    }

    /// Marks the hosts that an earlier bill does not name.
    pub fn mark_new(&mut self, known: impl Fn(&str) -> bool) {
        for host in &mut self.hosts {
            host.new = !known(&host.name);
        }
    }

    /// Marks the hosts that no rule pack names.
    pub fn mark_unlisted(&mut self, listed: impl Fn(&str) -> bool) {
        for host in &mut self.hosts {
            host.unlisted = !listed(&host.name);
        }
    }

    /// The share of bytes that were read; none where nothing was sent.
    pub fn coverage(&self) -> Option<f64> {
        let (read, sent) = (self.totals.bytes_read, self.totals.bytes_sent);
        (sent > 0).then(|| read.min(sent) as f64 / sent as f64)
    }

    /// Kinds that any host received, in the order of the documentation.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.hosts.iter().flat_map(|host| host.kinds.keys().map(String::as_str)).collect();
        kinds.sort_unstable_by_key(|kind| (rank(kind), *kind));
        kinds.dedup();
        kinds
    }

    /// From the first to the last flow.
    pub fn millis(&self) -> Option<(i64, i64)> {
        let from = self.flows.iter().filter_map(|flow| flow.millis).min()?;
        let to = self.flows.iter().filter_map(|flow| flow.millis).max()?;
        Some((from, to))
    }
}

impl Host {
    /// The facts, worst first; values of one kind in one place together.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        let mut at: HashMap<(&str, &str), usize> = HashMap::new();
        for fact in &self.facts {
            let place = fact.places.first().map_or("", |place| place.pattern.as_str());
            let index = *at.entry((&fact.kind, place)).or_insert(rows.len());
            if index == rows.len() {
                let (severity, action, would) = (fact.severity, fact.action, fact.would);
                rows.push(Row { facts: vec![fact], count: fact.count, severity, action, would });
                continue;
            }
            let row = &mut rows[index];
            row.facts.push(fact);
            row.count += fact.count;
            row.severity = row.severity.max(fact.severity);
            row.action = row.action.max(fact.action);
            row.would = row.would.max(fact.would);
        }
        rows.sort_by(|a, b| {
            b.severity.cmp(&a.severity).then_with(|| rank(a.kind()).cmp(&rank(b.kind()))).then(a.kind().cmp(b.kind()))
        });
        rows
    }

    /// As people call it.
    pub fn label(&self) -> &str {
        if self.name.is_empty() { "(no host)" } else { &self.name }
    }
}

impl Row<'_> {
    pub fn kind(&self) -> &str {
        self.facts.first().map_or("", |fact| &fact.kind)
    }

    /// The value, or how many there are.
    pub fn value(&self) -> String {
        match self.facts.as_slice() {
            [fact] => fact.value.clone(),
            facts => format!("{} values", facts.len()),
        }
    }

    /// `redact`, or under `mode = "audit"` what would have been done: `log (redact)`.
    pub fn done(&self) -> String {
        match self.would {
            Some(would) if would != self.action => format!("{} ({})", self.action.name(), would.name()),
            _ => self.action.name().to_owned(),
        }
    }

    /// Every place once, whichever endpoint it was sent to, and how often it was met.
    pub fn places(&self) -> Vec<(&Place, u64)> {
        self.distinct(|a, b| a.pattern == b.pattern)
    }

    /// Every place of every endpoint.
    pub fn places_by_endpoint(&self) -> Vec<(&Place, u64)> {
        self.distinct(|a, b| a.pattern == b.pattern && a.endpoint == b.endpoint)
    }

    fn distinct(&self, same: impl Fn(&Place, &Place) -> bool) -> Vec<(&Place, u64)> {
        let mut places: Vec<(&Place, u64)> = Vec::new();
        for place in self.facts.iter().flat_map(|fact| &fact.places) {
            let full = places.len() >= MOST_PLACES;
            match places.iter_mut().find(|(known, _)| same(known, place)) {
                Some((_, count)) => *count += place.count,
                None if !full => places.push((place, place.count)),
                None => {}
            }
        }
        places
    }

    pub fn more_places(&self) -> u64 {
        self.facts.iter().map(|fact| fact.more_places).sum()
    }
}

/// Where a kind stands in the documentation's list.
pub(super) fn rank(kind: &str) -> usize {
    let entry = kinds::find(kind).map(|found| found.name);
    kinds::KINDS.iter().position(|known| Some(known.name) == entry).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_who_received_what_and_what_was_done() {
        let report = sample::report();
        let totals = &report.totals;
        assert_eq!((totals.requests, totals.findings, totals.high, totals.edited, totals.edits), (2, 3, 1, 1, 2));
        assert_eq!(report.coverage(), Some(0.95));
        assert_eq!(report.kinds(), ["os.kernel", "id.device"]);
        let telemetry = &report.hosts[1];
        assert_eq!((telemetry.name.as_str(), telemetry.certified), ("telemetry.example.net", 1));
        assert_eq!(telemetry.facts[0].places[0].pattern, "body!gzip!json:/events/*/env/kernel");
        assert_eq!((telemetry.facts[0].count, telemetry.facts[0].places.len()), (2, 1));
        assert_eq!((telemetry.edits[0].count, telemetry.edits[0].old_bytes), (2, 16));
        assert_eq!(report.hosts[0].unread[0].reason, "opaque");
        assert!(!report.revealed);
        assert_eq!(report.to.as_deref(), Some("2026-11-22T12:01:01Z"));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_the_rest_is_used() {
        let mut lines = sample::lines();
        lines.insert(1, "{\"schema\":1,".to_owned());
        lines.insert(3, "nonsense".to_owned());
        let report = sample::of(&lines);
        assert_eq!(report.damage.lines, 2);
        assert_eq!(report.damage.first.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(report.totals.requests, 2);
    }

    #[test]
    fn values_in_clear_are_noticed() {
        let lines = [sample::finding("f", serde_json::json!({"value": "anderson"}))];
        assert!(sample::of(&lines).revealed);
        let unread = serde_json::json!({"value": "812 bytes, opaque", "detector": "unread", "kind": "audit.unread"});
        assert!(!sample::of(&[sample::finding("f", unread)]).revealed);
    }

    #[test]
    fn ids_that_change_with_every_request_are_one_row_and_memory_is_bounded() {
        let lines: Vec<String> = (0..6000)
            .map(|n| {
                let extra = serde_json::json!({"kind": "id.request", "value_hmac": n.to_string()});
                sample::finding(&n.to_string(), extra)
            })
            .collect();
        let report = sample::of(&lines);
        let rows = report.hosts[0].rows();
        assert_eq!((rows.len(), rows[0].value()), (1, "5000 values".to_owned()));
        assert_eq!((report.totals.beyond, report.totals.findings), (1000, 6000));
    }
}

//! What a file of findings says, added up: who received what, from where, how much was read, what was done.
//!
//! ```text
//! lines -> Builder -> Report -> text, JSON, HTML, Markdown, SARIF
//! ```
//!
//! Pure. Bounded: what is beyond a bound is counted, not kept. Tolerant: a line that cannot be used is named by its number
//! and counted, the rest is used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::clock;
use super::lines::{About, EditLine, FindingLine, FlowLine, Line, LineError, Restored, Verdict, is_masked};
use super::place::{path_template, pattern};
use crate::engine::{Action, Detector, Severity, kinds};
use crate::session::files::SentFile;

/// Hosts that are kept apart.
const MOST_HOSTS: usize = 2000;
/// Facts (a kind and a value) of one host.
const MOST_FACTS: usize = 5000;
/// Places of one fact, and gaps and edited places of one host.
const MOST_PLACES: usize = 64;
/// Flows of the timeline.
const MOST_FLOWS: usize = 50_000;
/// Lines that are named as unusable.
const NAMED_DAMAGE: usize = 20;
const MOST_NAMES: usize = 32;

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

fn endpoint(method: Option<&str>, path: Option<&str>) -> String {
    [method.map(str::to_owned), path.map(path_template)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Where a kind stands in the documentation's list.
pub(super) fn rank(kind: &str) -> usize {
    let entry = kinds::find(kind).map(|found| found.name);
    kinds::KINDS.iter().position(|known| Some(known.name) == entry).unwrap_or(usize::MAX)
}

/// Adds lines up.
#[derive(Default)]
pub struct Builder {
    report: Report,
    read: u64,
    hosts: HashMap<String, usize>,
    facts: HashMap<(usize, String, String), usize>,
    flows: HashMap<(String, String), usize>,
    clients: BTreeMap<(String, Option<String>), u64>,
}

impl Builder {
    /// The next line.
    pub fn add(&mut self, line: Result<Line, LineError>) {
        self.read += 1;
        match line {
            Ok(Line::Finding(finding)) => self.finding(*finding),
            Ok(Line::Flow(flow)) => self.flow(*flow),
            Ok(Line::File(file)) => self.file(*file),
            Err(error) => {
                let damage = &mut self.report.damage;
                damage.lines += 1;
                if damage.first.len() < NAMED_DAMAGE {
                    damage.first.push((self.read, error.to_string()));
                }
            }
        }
    }

    pub fn finish(mut self) -> Report {
        let clients = std::mem::take(&mut self.clients);
        self.report.clients =
            clients.into_iter().map(|((name, version), requests)| Client { name, version, requests }).collect();
        self.report.files.sort_by(|a, b| {
            let share = |file: &SentFile| file.share.unwrap_or(0.0);
            a.host.cmp(&b.host).then(a.how.cmp(&b.how)).then(share(b).total_cmp(&share(a))).then(a.file.cmp(&b.file))
        });
        self.report.hosts.sort_by(|a, b| a.name.cmp(&b.name));
        // Those without a time keep their place in the file among themselves, first.
        self.report.flows.sort_by_key(|flow| flow.millis);
        self.report
    }

    fn finding(&mut self, line: FindingLine) {
        let flow = self.flow_of(&line.about);
        if line.detector == Detector::Unread {
            // The flow's own line lists what was not read, with its bytes.
            self.host_of(&line.about);
            return;
        }
        let report = &mut self.report;
        report.revealed |= !is_masked(&line.value);
        report.totals.findings += 1;
        match line.severity {
            Severity::High => report.totals.high += 1,
            Severity::Medium => report.totals.medium += 1,
            Severity::Low => report.totals.low += 1,
        }
        if let Some(flow) = flow {
            let flow = &mut report.flows[flow];
            flow.findings += 1;
            flow.worst = flow.worst.max(Some(line.severity));
        }
        let Some(at) = self.host_of(&line.about) else {
            self.report.totals.beyond += 1;
            return;
        };
        let host = &mut self.report.hosts[at];
        host.findings += 1;
        host.worst = host.worst.max(Some(line.severity));
        let known = host.kinds.len() < kinds::KINDS.len() * 2 || host.kinds.contains_key(&line.kind);
        if known {
            let fresh = KindCount { count: 0, severity: line.severity, action: line.action };
            let kind = host.kinds.entry(line.kind.clone()).or_insert(fresh);
            kind.count += 1;
            kind.severity = kind.severity.max(line.severity);
            kind.action = kind.action.max(line.action);
        }
        // Lines of other makers may lack the digest: what is shown is all there is to tell values apart.
        let value = if line.value_hmac.is_empty() { line.value.clone() } else { line.value_hmac.clone() };
        let key = (at, line.kind.clone(), value);
        let fact = match self.facts.get(&key) {
            Some(&index) => index,
            None if host.facts.len() >= MOST_FACTS => {
                host.more += 1;
                self.report.totals.beyond += 1;
                return;
            }
            None => {
                self.facts.insert(key, host.facts.len());
                host.facts.push(Fact::of(&line));
                host.facts.len() - 1
            }
        };
        host.facts[fact].take(line);
    }

    fn file(&mut self, file: SentFile) {
        if self.report.files.len() < MOST_FACTS {
            self.report.files.push(file);
        }
    }

    fn flow(&mut self, line: FlowLine) {
        let flow = self.flow_of(&line.about);
        let edits = line.certificate.as_ref().map_or(0, |certificate| certificate.edits.len() as u64);
        let totals = &mut self.report.totals;
        totals.requests += 1;
        totals.bytes_sent = totals.bytes_sent.saturating_add(line.bytes_sent);
        totals.bytes_read = totals.bytes_read.saturating_add(line.bytes_read);
        totals.edited += u64::from(line.verdict == Verdict::Edited);
        totals.withheld += u64::from(line.verdict == Verdict::Withheld);
        totals.edits += edits;
        totals.unmade = totals.unmade.saturating_add(line.unmade);
        totals.restored.add(line.restored);
        if let Some(flow) = flow {
            let flow = &mut self.report.flows[flow];
            flow.verdict = Some(line.verdict);
            flow.bytes_sent = flow.bytes_sent.saturating_add(line.bytes_sent);
            flow.bytes_read = flow.bytes_read.saturating_add(line.bytes_read);
            flow.edits += edits;
            flow.unmade = flow.unmade.saturating_add(line.unmade);
        }
        if let Some(client) = &line.about.client {
            let key = (client.clone(), line.about.client_version.clone());
            if self.clients.len() < MOST_NAMES * 8 || self.clients.contains_key(&key) {
                *self.clients.entry(key).or_default() += 1;
            }
        }
        if let Some(at) = self.host_of(&line.about) {
            self.report.hosts[at].flow(line);
        }
    }

    /// The host of a line; none beyond the bound.
    fn host_of(&mut self, about: &About) -> Option<usize> {
        let report = &mut self.report;
        if let Some(&at) = self.hosts.get(&about.host) {
            let clients = &mut report.hosts[at].clients;
            if let Some(client) = client(about)
                && clients.len() < MOST_NAMES
            {
                clients.insert(client);
            }
            return Some(at);
        }
        if report.hosts.len() >= MOST_HOSTS {
            return None;
        }
        self.hosts.insert(about.host.clone(), report.hosts.len());
        let first = Some(about.time.clone()).filter(|time| !time.is_empty());
        let clients = client(about).into_iter().collect();
        report.hosts.push(Host { name: about.host.clone(), first, clients, ..Host::default() });
        Some(report.hosts.len() - 1)
    }

    /// The flow of a line; none beyond the bound.
    fn flow_of(&mut self, about: &About) -> Option<usize> {
        let report = &mut self.report;
        let millis = clock::millis(&about.time);
        let at = |time: &Option<String>| time.as_deref().and_then(clock::millis);
        if millis.is_some() {
            if report.from.is_none() || millis < at(&report.from) {
                report.from = Some(about.time.clone());
            }
            if millis > at(&report.to) {
                report.to = Some(about.time.clone());
            }
        }
        if report.sessions.len() < MOST_NAMES && !about.session.is_empty() {
            report.sessions.insert(about.session.clone());
        }
        let key = (about.session.clone(), about.flow.clone());
        if let Some(&index) = self.flows.get(&key) {
            return Some(index);
        }
        if report.flows.len() >= MOST_FLOWS {
            report.more_flows += 1;
            return None;
        }
        self.flows.insert(key, report.flows.len());
        report.flows.push(Flow {
            id: about.flow.clone(),
            session: about.session.clone(),
            time: about.time.clone(),
            millis,
            host: about.host.clone(),
            method: about.method.clone(),
            path: about.path.clone(),
            client: client(about),
            verdict: None,
            bytes_sent: 0,
            bytes_read: 0,
            findings: 0,
            worst: None,
            edits: 0,
            unmade: 0,
        });
        Some(report.flows.len() - 1)
    }
}

fn client(about: &About) -> Option<String> {
    let name = about.client.as_deref()?;
    Some(about.client_version.as_deref().map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
}

impl Host {
    fn flow(&mut self, line: FlowLine) {
        self.requests += 1;
        self.bytes_sent = self.bytes_sent.saturating_add(line.bytes_sent);
        self.bytes_read = self.bytes_read.saturating_add(line.bytes_read);
        self.edited += u64::from(line.verdict == Verdict::Edited);
        self.withheld += u64::from(line.verdict == Verdict::Withheld);
        self.unmade = self.unmade.saturating_add(line.unmade);
        self.restored.add(line.restored);
        for unread in line.unread {
            let full = self.unread.len() >= MOST_PLACES;
            match self.unread.iter_mut().find(|gap| gap.location == unread.location && gap.reason == unread.reason) {
                Some(gap) => {
                    gap.bytes = gap.bytes.saturating_add(unread.bytes);
                    gap.count += 1;
                }
                None if !full => {
                    let (location, reason, bytes) = (unread.location, unread.reason, unread.bytes);
                    self.unread.push(Gap { location, reason, bytes, count: 1 });
                }
                None => {
                    self.more_unread += 1;
                    self.more_unread_bytes = self.more_unread_bytes.saturating_add(unread.bytes);
                }
            }
        }
        let Some(certificate) = line.certificate else { return };
        self.certified += u64::from(certificate.rest_before == certificate.rest_after);
        for edit in &certificate.edits {
            self.edit(edit);
        }
        for entry in certificate.integrity {
            if self.integrity.len() < MOST_PLACES {
                self.integrity.insert((entry.kind, pattern(&entry.location)));
            }
        }
    }

    fn edit(&mut self, edit: &EditLine) {
        let pattern = pattern(&edit.location);
        let full = self.edits.len() >= MOST_PLACES;
        match self.edits.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.count += 1;
                known.old_bytes = known.old_bytes.saturating_add(edit.old_len);
                known.new_bytes = known.new_bytes.saturating_add(edit.new_len);
            }
            None if !full => {
                self.edits.push(Edited { pattern, count: 1, old_bytes: edit.old_len, new_bytes: edit.new_len });
            }
            None => self.more_edits += 1,
        }
    }
}

impl Fact {
    fn of(line: &FindingLine) -> Self {
        Self {
            kind: line.kind.clone(),
            value: line.value.clone(),
            value_hmac: line.value_hmac.clone(),
            severity: line.severity,
            confidence: line.confidence,
            action: line.action,
            would: line.would,
            detector: line.detector,
            rule: line.rule.clone(),
            decided_by: line.decided_by.clone(),
            count: 0,
            first: line.about.time.clone(),
            places: Vec::new(),
            more_places: 0,
        }
    }

    fn take(&mut self, line: FindingLine) {
        self.count += 1;
        self.severity = self.severity.max(line.severity);
        self.confidence = self.confidence.max(line.confidence);
        self.action = self.action.max(line.action);
        self.would = self.would.max(line.would);
        let pattern = pattern(&line.location);
        let endpoint = endpoint(line.about.method.as_deref(), line.about.path.as_deref());
        let full = self.places.len() >= MOST_PLACES;
        match self.places.iter_mut().find(|place| place.pattern == pattern && place.endpoint == endpoint) {
            Some(place) => place.count += 1,
            None if !full => self.places.push(Place {
                location: line.location,
                pattern,
                endpoint,
                flow: line.about.flow,
                layers: line.layers,
                part: line.part,
                span: line.span,
                observed: line.observed,
                replacement: line.replacement,
                bits: line.bits,
                count: 1,
            }),
            None => self.more_places += 1,
        }
    }
}

impl Restored {
    fn add(&mut self, other: Option<Restored>) {
        let other = other.unwrap_or_default();
        self.restored = self.restored.saturating_add(other.restored);
        self.unrestored = self.unrestored.saturating_add(other.unrestored);
        self.withheld = self.withheld.saturating_add(other.withheld);
        self.unread = self.unread.saturating_add(other.unread);
    }
}

/// Look-alikes of what `--findings` writes, for the tests of all formats.
#[cfg(test)]
pub(super) mod sample {
    use super::*;

    /// One finding of flow `flow` with `extra` members laid over it.
    pub fn finding(flow: &str, extra: serde_json::Value) -> String {
        let line = serde_json::json!({
            "schema": 1, "type": "finding", "time": "2026-11-22T12:00:00.000Z", "session": "s1", "flow": flow,
            "host": "api.example.com", "method": "POST", "path": "/v1/messages", "client": "claude-code",
            "client_version": "2.1.169", "kind": "id.device", "location": "body!json:/metadata/user_id",
            "layers": ["json"], "detector": "rule", "rule": "claude.device-id", "severity": "high", "confidence": 0.95,
            "value": "9f86… (64 bytes)", "value_hmac": "aa11", "action": "log", "replacement": null,
            "part": "body", "span": [10, 74]
        });
        laid_over(line, extra)
    }

    pub fn flow(flow: &str, extra: serde_json::Value) -> String {
        let line = serde_json::json!({
            "schema": 1, "type": "flow", "time": "2026-11-22T12:00:01.500Z", "session": "s1", "flow": flow,
            "host": "api.example.com", "method": "POST", "path": "/v1/messages", "client": "claude-code",
            "client_version": "2.1.169", "bytes_sent": 1000, "bytes_read": 900,
            "unread": [{"location": "body!json:/blob", "bytes": 100, "reason": "opaque", "entropy": 7.9}],
            "kinds": {"id.device": 1}, "verdict": "forwarded"
        });
        laid_over(line, extra)
    }

    fn laid_over(mut line: serde_json::Value, extra: serde_json::Value) -> String {
        if let (Some(line), serde_json::Value::Object(extra)) = (line.as_object_mut(), extra) {
            line.extend(extra);
        }
        line.to_string()
    }

    /// Two hosts, two flows, one of them edited.
    pub fn lines() -> Vec<String> {
        let telemetry = serde_json::json!({
            "host": "telemetry.example.net", "kind": "os.kernel", "location": "body!gzip!json:/events/3/env/kernel",
            "severity": "medium", "value": "… (8 bytes)", "value_hmac": "bb22", "path": "/e/12345",
            "rule": null, "detector": "fact", "action": "redact", "replacement": "… (1 bytes)",
            "time": "2026-11-22T12:01:00Z"
        });
        let again = serde_json::json!({"location": "body!gzip!json:/events/9/env/kernel"});
        let merged = |a: &serde_json::Value, b: &serde_json::Value| {
            let mut merged = a.clone();
            if let (Some(into), Some(from)) = (merged.as_object_mut(), b.as_object()) {
                into.extend(from.clone());
            }
            merged
        };
        let edited = serde_json::json!({
            "host": "telemetry.example.net", "path": "/e/12345", "verdict": "edited", "unread": [],
            "bytes_read": 1000, "time": "2026-11-22T12:01:01Z",
            "certificate": {"edits": [
                {"location": "body!gzip!json:/events/3/env/kernel", "old_len": 8, "new_len": 1},
                {"location": "body!gzip!json:/events/9/env/kernel", "old_len": 8, "new_len": 1}
            ], "rest_before": "cc", "rest_after": "cc", "integrity": [], "prefix": null}
        });
        vec![
            finding("f1", serde_json::json!({})),
            flow("f1", serde_json::json!({})),
            finding("f2", telemetry.clone()),
            finding("f2", merged(&telemetry, &again)),
            flow("f2", edited),
        ]
    }

    pub fn report() -> Report {
        of(&lines())
    }

    pub fn of(lines: &[String]) -> Report {
        Report::of(lines.iter().map(|line| Line::parse(line)))
    }
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

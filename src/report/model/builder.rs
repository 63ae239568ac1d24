//! Adds lines up to a report, one after another.

use std::collections::{BTreeMap, HashMap};

use super::{Client, Edited, Fact, Flow, Gap, Host, KindCount, MOST_PLACES, Place, Report};
use crate::engine::{Detector, Severity, kinds};
use crate::report::clock;
use crate::report::lines::{About, EditLine, FindingLine, FlowLine, Line, LineError, Restored, Verdict, is_masked};
use crate::report::place::{path_template, pattern};
use crate::session::files::SentFile;

/// Hosts that are kept apart.
const MOST_HOSTS: usize = 2000;
/// Facts (a kind and a value) of one host.
const MOST_FACTS: usize = 5000;
/// Flows of the timeline.
const MOST_FLOWS: usize = 50_000;
/// Lines that are named as unusable.
const NAMED_DAMAGE: usize = 20;
const MOST_NAMES: usize = 32;

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

fn endpoint(method: Option<&str>, path: Option<&str>) -> String {
    [method.map(str::to_owned), path.map(path_template)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

//! What a run or an inspection saw, added up by host: which host got which fact, where it stood, what was done.

mod table;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::engine::line::Evidence;
use crate::engine::{Action, Detector, Finding, FlowSummary, Severity, Verdict};
use crate::session::files::SentFile;

/// What was seen, added up by host. Bounded: what is beyond its bounds is counted, not kept.
#[derive(Default)]
pub struct Tally {
    hosts: BTreeMap<String, Host>,
    /// Connections that were not decrypted, by host and reason.
    tunnels: BTreeMap<(String, String), (u64, u64)>,
    findings: u64,
    high: u64,
    /// Edits that the policy wanted and that could not be made.
    unmade: u64,
    /// Files of the working tree that were sent.
    files: Vec<SentFile>,
    notes: Vec<String>,
}

#[derive(Default)]
struct Host {
    requests: u64,
    edited: u64,
    withheld: u64,
    sent: u64,
    read: u64,
    clients: Vec<String>,
    facts: Vec<Fact>,
    /// By kind and value: one fact, wherever it stands.
    index: HashMap<(String, String), usize>,
    /// By kind and place, list positions aside: values that change from one element to the next are one row.
    by_place: HashMap<(String, String), usize>,
    /// Findings of facts beyond [`MOST_FACTS`].
    more: u64,
    unread: Vec<Gap>,
    more_unread: (u64, u64),
}

/// One fact that went to one host.
struct Fact {
    kind: String,
    /// As it is shown.
    value: String,
    /// How many values there were.
    values: u64,
    severity: Severity,
    action: Action,
    would: Option<Action>,
    count: u64,
    /// Places in the order they were seen.
    places: Vec<Spot>,
    more_places: u64,
}

/// Places that differ only by positions in lists.
struct Spot {
    pattern: String,
    /// The first of them, exactly.
    first: String,
    count: u64,
}

struct Gap {
    location: String,
    reason: String,
    bytes: u64,
    count: u64,
}

/// Values of one host that are told apart.
const MOST_VALUES: usize = 20_000;
/// Facts of one host that are kept apart.
const MOST_FACTS: usize = 2000;
/// Places of one fact that are kept.
const MOST_PLACES: usize = 64;

impl Tally {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one finding of a request to `host`.
    pub fn finding(&mut self, host: &str, finding: &Finding, reveal: bool) {
        if finding.detector == Detector::Unread {
            // The flow's summary lists what was not read, with its bytes.
            return;
        }
        let location = match &finding.shown_location {
            Some(masked) if !reveal => masked.to_string(),
            _ => finding.location.to_string(),
        };
        let value = if reveal { finding.value.to_string() } else { Evidence::of(&finding.value).to_string() };
        let shown = Shown {
            kind: finding.kind.to_string(),
            key: finding.value.to_string(),
            value,
            location,
            severity: finding.severity,
            action: finding.action,
            would: finding.would,
        };
        self.add(host, shown);
    }

    /// Adds what a line of findings or flows says, as it was written: values stay as they are shown there.
    pub fn line(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        match text("type") {
            "finding" if text("detector") != Detector::Unread.name() => {
                let read = |name: &str| serde_json::from_value::<Action>(line[name].clone()).ok();
                let shown = Shown {
                    kind: text("kind").to_owned(),
                    key: text("value_hmac").to_owned(),
                    value: text("value").to_owned(),
                    location: text("location").to_owned(),
                    severity: serde_json::from_value(line["severity"].clone()).unwrap_or(Severity::Low),
                    action: read("action").unwrap_or(Action::Log),
                    would: read("would"),
                };
                self.add(text("host"), shown);
            }
            "flow" => {
                let host = self.hosts.entry(text("host").to_owned()).or_default();
                host.requests += 1;
                host.sent += number("bytes_sent");
                host.read += number("bytes_read");
                host.edited += u64::from(text("verdict") == "edited");
                host.withheld += u64::from(text("verdict") == "withheld");
                self.unmade += number("unmade");
                let version = line["client_version"].as_str();
                if let Some(name) = line["client"].as_str() {
                    host.seen_client(name, version);
                }
                for unread in line["unread"].as_array().into_iter().flatten() {
                    let of = |name: &str| unread[name].as_str().unwrap_or_default().to_owned();
                    host.unread(of("location"), of("reason"), unread["bytes"].as_u64().unwrap_or_default());
                }
            }
            "file" => {
                if let Ok(file) = serde_json::from_value(line.clone()) {
                    self.file(file);
                }
            }
            _ => {}
        }
    }

    /// Adds a file of the working tree that was sent.
    pub fn file(&mut self, file: SentFile) {
        if self.files.len() < MOST_FACTS {
            self.files.push(file);
        }
    }

    fn add(&mut self, host: &str, finding: Shown) {
        self.findings += 1;
        self.high += u64::from(finding.severity == Severity::High);
        let host = self.hosts.entry(host.to_owned()).or_default();
        let Shown { kind, location, .. } = &finding;
        let pattern = pattern(location);
        let by_value = (kind.clone(), finding.key.clone());
        let by_place = (kind.clone(), pattern.clone());
        let at = match (host.index.get(&by_value), host.by_place.get(&by_place)) {
            (Some(&at), _) => at,
            (None, Some(&at)) => {
                host.facts[at].values += 1;
                if host.index.len() < MOST_VALUES {
                    host.index.insert(by_value, at);
                }
                at
            }
            (None, None) if host.facts.len() >= MOST_FACTS => {
                host.more += 1;
                return;
            }
            (None, None) => {
                host.index.insert(by_value, host.facts.len());
                host.by_place.insert(by_place, host.facts.len());
                host.facts.push(Fact {
                    kind: finding.kind.clone(),
                    value: finding.value.clone(),
                    values: 1,
                    severity: finding.severity,
                    action: finding.action,
                    would: finding.would,
                    count: 0,
                    places: Vec::new(),
                    more_places: 0,
                });
                host.facts.len() - 1
            }
        };
        let fact = &mut host.facts[at];
        fact.count += 1;
        fact.severity = fact.severity.max(finding.severity);
        fact.action = fact.action.max(finding.action);
        fact.would = fact.would.max(finding.would);
        match fact.places.iter().position(|spot| spot.pattern == pattern) {
            Some(at) => fact.places[at].count += 1,
            None if fact.places.len() < MOST_PLACES => {
                fact.places.push(Spot { pattern, first: finding.location, count: 1 })
            }
            None => fact.more_places += 1,
        }
    }

    /// Adds the end of one request to `host`.
    pub fn flow(&mut self, host: &str, client: Option<(&str, Option<&str>)>, summary: &FlowSummary, reveal: bool) {
        let host = self.hosts.entry(host.to_owned()).or_default();
        host.requests += 1;
        host.sent += summary.bytes_sent;
        host.read += summary.bytes_read;
        host.edited += u64::from(summary.verdict == Verdict::Edited);
        host.withheld += u64::from(summary.verdict == Verdict::Withheld);
        self.unmade += summary.unmade;
        if let Some((name, version)) = client {
            host.seen_client(name, version);
        }
        for unread in &summary.unread {
            let location = summary.names.shown(&unread.location, reveal);
            host.unread(location, unread.reason.to_owned(), unread.bytes);
        }
    }

    /// Adds a connection that went by without being decrypted.
    pub fn tunnel(&mut self, host: &str, bytes: u64, reason: &str) {
        let entry = self.tunnels.entry((host.to_owned(), reason.to_owned())).or_default();
        entry.0 += 1;
        entry.1 += bytes;
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn requests(&self) -> u64 {
        self.hosts.values().map(|host| host.requests).sum()
    }
}

impl Host {
    fn seen_client(&mut self, name: &str, version: Option<&str>) {
        let client = version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"));
        if !self.clients.contains(&client) && self.clients.len() < 8 {
            self.clients.push(client);
        }
    }

    fn unread(&mut self, location: String, reason: String, bytes: u64) {
        match self.unread.iter().position(|gap| gap.location == location && gap.reason == reason) {
            Some(at) => {
                self.unread[at].bytes += bytes;
                self.unread[at].count += 1;
            }
            None if self.unread.len() < MOST_PLACES => self.unread.push(Gap { location, reason, bytes, count: 1 }),
            None => self.more_unread = (self.more_unread.0 + 1, self.more_unread.1 + bytes),
        }
    }
}

/// A finding as it is shown.
struct Shown {
    kind: String,
    /// Tells values apart that are shown alike.
    key: String,
    value: String,
    location: String,
    severity: Severity,
    action: Action,
    would: Option<Action>,
}

/// A location with its positions in lists left open: `body!json:/events/*/id`, `body!json:/text@*`.
fn pattern(location: &str) -> String {
    let mut out = String::with_capacity(location.len());
    for (index, part) in location.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        let end = part.find(['!', '@']).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        if index > 0 && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push('*');
        } else {
            out.push_str(number);
        }
        match rest.split_once('@') {
            Some((steps, _)) => {
                out.push_str(steps);
                out.push_str("@*");
            }
            None => out.push_str(rest),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::audit::Unread;
    use crate::engine::{Location, Root, Step};
    use crate::report::text::Style;

    fn finding(kind: &str, value: &str, pointer: &str, severity: Severity) -> Finding {
        Finding {
            kind: kind.into(),
            location: Location { root: Root::Body, steps: vec![Step::Json(pointer.into())] }.into(),
            shown_location: None,
            detector: Detector::Rule,
            rule: None,
            severity,
            confidence: 0.9,
            value: value.into(),
            observed: None,
            part: None,
            span: None,
            action: Action::Log,
            would: None,
            replacement: None,
            decided_by: None,
        }
    }

    fn tally(reveal: bool) -> Tally {
        let mut tally = Tally::new();
        let id = "9f86d081-884c-4d65-9a2f-eaa0c55ad015";
        for index in 0..6 {
            let place = format!("/events/{index}/device_id");
            tally.finding("api.example.com", &finding("id.device", id, &place, Severity::High), reveal);
        }
        tally.finding("api.example.com", &finding("os.kernel", "6.1.0-18", "/env/kernel", Severity::Medium), reveal);
        let unread = Unread {
            location: Location { root: Root::Body, steps: vec![Step::Json("/blob".into())] },
            bytes: 812,
            reason: "opaque",
            entropy: 7.9,
        };
        let summary =
            FlowSummary { bytes_sent: 188_000, bytes_read: 187_188, unread: vec![unread], ..Default::default() };
        tally.flow("api.example.com", Some(("claude-code", Some("2.1.169"))), &summary, reveal);
        tally.tunnel("mirror.example.com", 5000, "not intercepted");
        tally
    }

    #[test]
    fn the_table_says_who_got_what_and_from_where() {
        let text = tally(false).render(&Style::default());
        for part in [
            "divulge: 1 host · 1 request · 183.6 KiB sent · 99.5% read · 7 findings · 6 high",
            "claude-code 2.1.169",
            "high    id.device  9f86… (36 bytes)  log  body!json:/events/0/device_id ×6\n",
            "medium  os.kernel  … (8 bytes)       log  body!json:/env/kernel\n",
            "unread  812 bytes  opaque  body!json:/blob",
            "mirror.example.com  1 connection · 4.9 KiB · not intercepted",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("9f86d"), "{text}");
        assert!(!text.contains('\x1b'));
        assert!(tally(true).render(&Style { reveal: true, ..Style::default() }).contains("9f86d081-884c"));
    }

    #[test]
    fn nothing_from_the_wire_reaches_the_terminal_as_a_command() {
        let mut tally = Tally::new();
        let nasty = "\x1b]0;owned\x07\r\n\u{202e}x\u{9b}31m";
        let mut evil = finding("user.name", nasty, "/\x1b[2J", Severity::High);
        evil.value = nasty.into();
        tally.finding(nasty, &evil, true);
        tally.tunnel(nasty, 1, nasty);
        tally.note(nasty);
        let text = tally.render(&Style { reveal: true, ..Style::default() });
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains('\u{202e}'));
    }
}

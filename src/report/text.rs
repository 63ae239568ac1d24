//! The table that ends a run and an inspection: which host got which fact, where it stood, what was done.
//!
//! ```text
//! api.example.com                      12 requests · 184.2 KiB · 99.8% read · claude-code 2.1.169
//!   high    id.device   9f86… (64 bytes)   redact    body!json:/metadata/user_id!json:/device_id ×12
//!   medium  os.kernel   … (14 bytes)       log       body!json:/events/0/env/kernel ×90, +89 places
//!   unread  812 bytes   opaque                       body!json:/events/3/blob
//! ```
//!
//! Everything that came from the wire is escaped: nothing in it can move a cursor or hide a line.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use serde_json::Value;

use crate::engine::kinds;
use crate::engine::line::Evidence;
use crate::engine::line::is_hidden;
use crate::engine::{Action, Detector, Finding, FlowSummary, Severity, Verdict};
use crate::session::files::SentFile;

/// How the table looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: bool,
    /// Columns; lines are cut to them, locations excepted.
    pub width: usize,
    /// Raw values, for the user's own eyes.
    pub reveal: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 120, reveal: false }
    }
}

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
/// Places of one fact that are shown.
const SHOWN_PLACES: usize = 3;
/// Files of one host that are shown.
const SHOWN_FILES: usize = 40;

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

    /// The table, with a line end after each line.
    pub fn render(&self, style: &Style) -> String {
        let paint = Paint { color: style.color };
        let mut out = String::new();
        self.headline(&mut out, paint);
        let widths = self.widths(style);
        for (name, host) in &self.hosts {
            out.push('\n');
            host.render(name, &widths, style, paint, &mut out);
        }
        if !self.tunnels.is_empty() {
            out.push('\n');
            line(&mut out, &paint.bold("not decrypted"));
            let widest = self.tunnels.keys().map(|(host, _)| columns(&visible(host))).max().unwrap_or(0).min(48);
            for ((host, reason), (count, bytes)) in &self.tunnels {
                let host = padded(&visible(host), widest);
                let text =
                    format!("  {host}  {} · {} · {}", plural(*count, "connection"), size(*bytes), visible(reason));
                line(&mut out, &text);
            }
        }
        files(&self.files, paint, &mut out);
        if !self.notes.is_empty() {
            out.push('\n');
        }
        for note in &self.notes {
            line(&mut out, &visible(note));
        }
        out
    }

    fn headline(&self, out: &mut String, paint: Paint) {
        let (sent, read) = self.hosts.values().fold((0, 0), |(sent, read), host| (sent + host.sent, read + host.read));
        let mut parts = vec![
            plural(self.hosts.len() as u64, "host"),
            plural(self.requests(), "request"),
            format!("{} sent", size(sent)),
            format!("{} read", share(read, sent)),
            plural(self.findings, "finding"),
        ];
        if self.high > 0 {
            parts.push(paint.severity(Severity::High, &format!("{} high", self.high)));
        }
        for (count, word) in [
            (self.hosts.values().map(|host| host.edited).sum::<u64>(), "edited"),
            (self.hosts.values().map(|host| host.withheld).sum::<u64>(), "withheld"),
            (self.unmade, "edits could not be made"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        line(out, &format!("{} {}", paint.bold("divulge:"), parts.join(" · ")));
    }

    fn widths(&self, style: &Style) -> Widths {
        let facts = || self.hosts.values().flat_map(|host| &host.facts);
        let widest = |texts: &mut dyn Iterator<Item = usize>, most: usize| texts.max().unwrap_or(0).min(most);
        let value_limit = if style.reveal { (style.width / 3).clamp(20, 60) } else { 28 };
        Widths {
            kind: widest(&mut facts().map(|fact| columns(&fact.kind)), 24),
            value: widest(&mut facts().map(|fact| columns(&visible(&fact.shown_value()))), value_limit),
            action: widest(&mut facts().map(|fact| columns(&fact.done())), 24),
        }
    }
}

/// Files of the working tree that were sent, host by host.
pub(super) fn files(files: &[SentFile], paint: Paint, out: &mut String) {
    for of_host in files.chunk_by(|a, b| a.host == b.host) {
        out.push('\n');
        let host = visible(&of_host[0].host);
        line(out, &format!("{} {host}", paint.bold("sent from the disk to")));
        let widest = of_host.iter().map(|file| columns(&visible(&file.file))).max().unwrap_or(0).min(60);
        for file in of_host.iter().take(SHOWN_FILES) {
            line(out, &format!("  {}  {}", padded(&visible(&file.file), widest), file.said(size)));
        }
        if of_host.len() > SHOWN_FILES {
            line(out, &format!("  and {} more files", of_host.len() - SHOWN_FILES));
        }
    }
}

struct Widths {
    kind: usize,
    value: usize,
    action: usize,
}

impl Host {
    fn render(&self, name: &str, widths: &Widths, style: &Style, paint: Paint, out: &mut String) {
        let name = if name.is_empty() { "(no host)".to_owned() } else { visible(name) };
        let mut about = vec![plural(self.requests, "request"), size(self.sent)];
        if self.sent > 0 {
            about.push(format!("{} read", share(self.read, self.sent)));
        }
        if self.edited > 0 {
            about.push(format!("{} edited", self.edited));
        }
        if self.withheld > 0 {
            about.push(format!("{} withheld", self.withheld));
        }
        about.extend(self.clients.iter().map(|client| visible(client)));
        let about = about.join(" · ");
        let gap = style.width.saturating_sub(columns(&name) + columns(&about)).clamp(2, 40);
        line(out, &format!("{}{}{}", paint.bold(&name), " ".repeat(gap), paint.dim(&about)));

        let mut facts: Vec<&Fact> = self.facts.iter().collect();
        facts.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| order(&a.kind).cmp(&order(&b.kind)))
                .then_with(|| a.kind.cmp(&b.kind))
        });
        for fact in facts {
            fact.render(widths, paint, out);
        }
        if self.more > 0 {
            line(out, &format!("  and {} of further facts", plural(self.more, "finding")));
        }
        for gap in &self.unread {
            let times = if gap.count > 1 { format!(" ×{}", gap.count) } else { String::new() };
            let text = format!("  unread  {}  {}  ", size(gap.bytes), visible(&gap.reason));
            line(out, &format!("{}{}{times}", paint.severity(Severity::Medium, &text), visible(&gap.location)));
        }
        if self.more_unread.0 > 0 {
            line(out, &format!("  unread  {} in {} more places", size(self.more_unread.1), self.more_unread.0));
        }
    }
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

impl Fact {
    fn shown_value(&self) -> String {
        if self.values > 1 { format!("{} values", self.values) } else { self.value.clone() }
    }

    fn done(&self) -> String {
        match self.would {
            Some(would) if would != self.action => format!("{} ({})", word(self.action), word(would)),
            _ => word(self.action).to_owned(),
        }
    }

    fn render(&self, widths: &Widths, paint: Paint, out: &mut String) {
        let severity = match self.severity {
            Severity::High => "high  ",
            Severity::Medium => "medium",
            Severity::Low => "low   ",
        };
        let value = cut(&visible(&self.shown_value()), widths.value);
        let start = format!(
            "  {}  {}  {}  {}  ",
            paint.severity(self.severity, severity),
            padded(&visible(&self.kind), widths.kind),
            padded(&value, widths.value),
            paint.action(self.action, &padded(&self.done(), widths.action)),
        );
        let indent = 2 + 6 + 2 + widths.kind + 2 + widths.value + 2 + widths.action + 2;
        let mut text = start;
        let shown = if self.places.len() <= SHOWN_PLACES + 1 { self.places.len() } else { SHOWN_PLACES };
        for (index, Spot { first, count, .. }) in self.places.iter().take(shown).enumerate() {
            if index > 0 {
                line(out, &text);
                text = " ".repeat(indent);
            }
            let times = if *count > 1 { format!(" ×{count}") } else { String::new() };
            let _ = write!(text, "{}{times}", visible(first));
        }
        let hidden = (self.places.len() - shown) as u64 + self.more_places;
        if hidden > 0 {
            line(out, &text);
            text = format!(
                "{}{}",
                " ".repeat(indent),
                paint.dim(&format!("and {hidden} more places, ×{} in all", self.count))
            );
        }
        line(out, &text);
    }
}

/// Where a kind stands in the documentation's list.
fn order(kind: &str) -> usize {
    let entry = kinds::find(kind).map(|found| found.name);
    kinds::KINDS.iter().position(|known| Some(known.name) == entry).unwrap_or(usize::MAX)
}

pub(super) fn word(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Log => "log",
        Action::Warn => "warn",
        Action::Generalize => "generalize",
        Action::Redact => "redact",
        Action::Pseudonym => "pseudonym",
        Action::Strip => "strip",
        Action::Block => "block",
    }
}

pub(super) fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

pub(super) fn plural(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// `812 bytes`, `184.2 KiB`, `3.1 MiB`
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return plural(bytes, "byte");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `99.8%`; 100% only where nothing at all is missing.
pub fn share(part: u64, whole: u64) -> String {
    if part >= whole {
        return "100%".to_owned();
    }
    let share = (part as f64 / whole as f64 * 1000.0).floor() / 10.0;
    format!("{share:.1}%")
}

/// Text that a terminal shows as it is: control, direction and invisible characters are spelled out.
pub fn visible(text: &str) -> String {
    if !text.contains(is_hidden) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Columns that `text` takes on a terminal.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(wide).sum()
}

fn wide(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += wide(c);
        if used + 1 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[derive(Clone, Copy)]
pub(super) struct Paint {
    pub color: bool,
}

impl Paint {
    pub(super) fn with(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn severity(self, severity: Severity, text: &str) -> String {
        match severity {
            Severity::High => self.with("31", text),
            Severity::Medium => self.with("33", text),
            Severity::Low => self.with("2", text),
        }
    }

    pub(super) fn action(self, action: Action, text: &str) -> String {
        match action {
            Action::Allow | Action::Log => text.to_owned(),
            Action::Warn => self.with("33", text),
            Action::Generalize | Action::Redact | Action::Pseudonym | Action::Strip => self.with("32", text),
            Action::Block => self.with("35", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::audit::Unread;
    use crate::engine::{Location, Root, Step};

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

    #[test]
    fn a_share_is_whole_only_where_nothing_is_missing() {
        assert_eq!(share(0, 0), "100%");
        assert_eq!(share(999_999, 1_000_000), "99.9%");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024 * 1024), "1.0 MiB");
    }
}

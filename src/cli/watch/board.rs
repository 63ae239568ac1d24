//! What has been seen, bounded: the newest flows and findings, and totals of all.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::Value;

/// Rows kept of each kind; older ones have scrolled away for good.
const KEPT: usize = 2000;
/// Hosts kept in the list of what stays unread.
const HOSTS: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) status: Status,
    /// Newest first.
    pub(super) flows: VecDeque<Flow>,
    /// Newest first.
    pub(super) findings: VecDeque<Finding>,
    pub(super) unread: BTreeMap<String, Unread>,
    pub(super) totals: Totals,
    /// The rows stay as they are; totals go on.
    pub(super) paused: bool,
    /// Rows that came while paused and are not kept.
    pub(super) missed: u64,
    /// `serve` is gone.
    pub(super) ended: bool,
}

#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) findings: u64,
    pub(super) high: u64,
    pub(super) medium: u64,
    pub(super) low: u64,
    pub(super) edited: u64,
    pub(super) withheld: u64,
}

/// The line that comes once a second. What a newer `serve` adds is ignored, what an older one lacks is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) listen: String,
    pub(super) uptime_s: u64,
    pub(super) flows: u64,
    pub(super) active: u64,
    pub(super) tunnelled: u64,
    pub(super) unread_bytes: u64,
    pub(super) policy: String,
    pub(super) on_error: String,
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) time: String,
    pub(super) host: String,
    pub(super) request: String,
    pub(super) sent: u64,
    pub(super) read: u64,
    pub(super) findings: u64,
    pub(super) verdict: String,
}

#[derive(Debug, Default)]
pub(super) struct Finding {
    pub(super) time: String,
    pub(super) severity: String,
    pub(super) kind: String,
    pub(super) host: String,
    pub(super) location: String,
    pub(super) value: String,
    pub(super) action: String,
}

/// What stays unread of one host.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub(super) bytes: u64,
    pub(super) times: u64,
    pub(super) reason: String,
}

impl Board {
    /// Takes in one line. One that is no JSON object of a known form is left out: nothing a client sends may
    /// stop the view.
    pub(super) fn take(&mut self, line: &str) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return };
        match value.get("type").and_then(Value::as_str) {
            Some("status") => {
                if let Ok(status) = serde_json::from_value(value) {
                    self.status = status;
                }
            }
            Some("flow") => self.take_flow(&value),
            _ if value.get("kind").is_some() => self.take_finding(&value),
            _ => {}
        }
    }

    fn take_flow(&mut self, line: &Value) {
        let verdict = text(line, "verdict");
        match verdict.as_str() {
            "edited" => self.totals.edited += 1,
            "withheld" => self.totals.withheld += 1,
            _ => {}
        }
        let host = text(line, "host");
        for unread in line.get("unread").and_then(Value::as_array).into_iter().flatten() {
            self.note_unread(&host, number(unread, "bytes"), text(unread, "reason"));
        }
        if verdict == "tunnelled" {
            self.note_unread(&host, number(line, "bytes_sent"), "tunnelled".to_owned());
        }
        let kinds = line.get("kinds").and_then(Value::as_object);
        let findings = kinds.map_or(0, |kinds| kinds.values().filter_map(Value::as_u64).sum());
        let request = format!("{} {}", text(line, "method"), text(line, "path"));
        let row = Flow {
            time: clock(line),
            host,
            request: request.trim().to_owned(),
            sent: number(line, "bytes_sent"),
            read: number(line, "bytes_read"),
            findings,
            verdict,
        };
        if self.keeps_rows() {
            push(&mut self.flows, row);
        }
    }

    fn take_finding(&mut self, line: &Value) {
        let severity = text(line, "severity");
        self.totals.findings += 1;
        match severity.as_str() {
            "high" => self.totals.high += 1,
            "medium" => self.totals.medium += 1,
            _ => self.totals.low += 1,
        }
        let (kind, host) = (text(line, "kind"), text(line, "host"));
        // Refused handshakes and tunnels that are no TLS: nothing of them was read at all.
        if matches!(kind.as_str(), "audit.untrusted" | "audit.not_tls" | "audit.bypass") {
            self.note_unread(&host, 0, kind.clone());
        }
        let action = match text(line, "would") {
            would if would.is_empty() => text(line, "action"),
            // Only watched: what the policy would have done.
            would => format!("({would})"),
        };
        let row = Finding {
            time: clock(line),
            severity,
            kind,
            host,
            location: text(line, "location"),
            value: text(line, "value"),
            action,
        };
        if self.keeps_rows() {
            push(&mut self.findings, row);
        }
    }

    fn note_unread(&mut self, host: &str, bytes: u64, reason: String) {
        if self.unread.len() >= HOSTS && !self.unread.contains_key(host) {
            return;
        }
        let unread = self.unread.entry(host.to_owned()).or_default();
        unread.bytes = unread.bytes.saturating_add(bytes);
        unread.times += 1;
        unread.reason = reason;
    }

    fn keeps_rows(&mut self) -> bool {
        self.missed += u64::from(self.paused);
        !self.paused
    }
}

fn push<T>(rows: &mut VecDeque<T>, row: T) {
    rows.truncate(KEPT - 1);
    rows.push_front(row);
}

fn text(line: &Value, name: &str) -> String {
    match line.get(name) {
        Some(Value::String(text)) => shown(text),
        None | Some(Value::Null) => String::new(),
        Some(other) => shown(&other.to_string()),
    }
}

fn number(line: &Value, name: &str) -> u64 {
    line.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// `12:34:56` of an RFC 3339 time.
fn clock(line: &Value) -> String {
    let time = text(line, "time");
    time.get(11..19).unwrap_or(&time).to_owned()
}

/// Longest text of one field that is kept.
const LONGEST: usize = 512;

/// Text that cannot move the cursor, change colours, hide, or turn the reading direction.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars() {
        let invisible = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
        if c.is_control() || invisible {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() >= LONGEST {
            out.push('…');
            break;
        }
    }
    out
}

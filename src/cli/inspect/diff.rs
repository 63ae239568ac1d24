//! What another policy would have done, beside what was done when the requests were recorded.
//!
//! ```text
//! audit -> strict: 12 requests · 9 as they were, 2 edited, 1 withheld
//!
//! HOST             KIND       RECORDED  STRICT    FINDINGS
//! api.example.com  id.device  log       redact    2
//!
//! POST api.example.com /v1/messages  0 new · 0 gone · 1 changed · 0 noise · 9 the same
//!   flow     000001
//!   changed  body!json:/metadata/user_id  [-… (36 bytes)-]{+[redacted]+}
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::source::{Loaded, Source};
use crate::cli::rules::table;
use crate::engine::{Action, Detector, Finding, FlowSummary, Outgoing, Part, Refusal, Request, Verdict};
use crate::report::compare::Look;
use crate::report::compare::requests::{self, Comparison};
use crate::report::text::visible;
use crate::session::audit::Audited;
use crate::session::flow::Step;
use crate::session::raw::Captured;

/// What became of one request, and what would.
pub(super) struct Change {
    /// By host, kind, what was done and what would be.
    decisions: BTreeMap<[String; 4], u64>,
    verdict: Verdict,
    recorded: Option<String>,
    /// The request leaf by leaf, where it would leave otherwise or not at all.
    text: String,
}

impl Change {
    pub(super) fn weight(&self) -> usize {
        self.text.len() + self.decisions.len() * 128
    }
}

/// What a change is made out from.
pub(super) struct Of<'a> {
    pub(super) source: &'a Source,
    pub(super) loaded: &'a Loaded,
    /// What was audited, in wire order.
    pub(super) steps: &'a [Step],
    pub(super) audited: &'a Audited,
    pub(super) summary: &'a FlowSummary,
    pub(super) host: &'a str,
    pub(super) reveal: bool,
    pub(super) look: Look,
}

impl Of<'_> {
    pub(super) fn change(&self) -> Change {
        let lines = self.source.lines();
        let lines: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let flow = lines.iter().find(|line| line["type"] == "flow");
        Change {
            decisions: self.decisions(&lines),
            verdict: self.summary.verdict,
            recorded: flow.and_then(|line| line["verdict"].as_str()).map(str::to_owned),
            text: self.text(),
        }
    }

    fn decisions(&self, lines: &[Value]) -> BTreeMap<[String; 4], u64> {
        let of = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let mut recorded: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for line in lines.iter().filter(|line| line["type"] == "finding") {
            let decided = decision(&of(line, "action"), line["would"].as_str());
            recorded.entry((of(line, "kind"), of(line, "location"))).or_default().push(decided);
        }
        let mut decisions = BTreeMap::new();
        for finding in self.audited.findings.iter().filter(|finding| finding.detector != Detector::Unread) {
            let now = decision(finding.action.name(), finding.would.map(Action::name));
            let place = (finding.kind.to_string(), shown_location(finding));
            let then = recorded.get_mut(&place).and_then(|list| (!list.is_empty()).then(|| list.remove(0)));
            let then = then.unwrap_or_else(|| "–".to_owned());
            if then != now && !(then == "–" && now == "log") {
                *decisions.entry([self.host.to_owned(), finding.kind.to_string(), then, now]).or_default() += 1;
            }
        }
        decisions
    }

    fn text(&self) -> String {
        let Loaded { captured, .. } = self.loaded;
        let mut pairs = Vec::new();
        let mut refusals: Vec<&Refusal> = Vec::new();
        for outgoing in [&self.audited.outgoing, &self.audited.trailers] {
            if let Outgoing::Withheld(refusal) = outgoing {
                refusals.push(refusal);
            }
        }
        if refusals.is_empty()
            && let Some(bytes) = captured.outgoing_with(&self.audited.outgoing, &self.audited.trailers)
            && !matches!(self.audited.outgoing, Outgoing::Unchanged(_))
            && let Some(edited) = edited(captured, bytes)
        {
            pairs.push((self.side(captured, None), self.side(&edited, None)));
        }
        let messages = self.steps.iter().filter_map(|step| match step {
            Step::Audit(part @ Part::Message { .. }) => Some(part),
            _ => None,
        });
        for (part, edited) in messages.zip(&self.audited.messages) {
            let Part::Message { index, text, bytes } = part else { continue };
            if bytes != edited {
                let after = Part::Message { index: *index, text: *text, bytes: edited.clone() };
                pairs.push((self.side(captured, Some(part.clone())), self.side(captured, Some(after))));
            }
        }
        let mut out = String::new();
        for (before, after) in &pairs {
            let compared = Comparison::of(std::slice::from_ref(before), std::slice::from_ref(after));
            out.push_str(&self.named(&compared.render(self.look)));
        }
        for refusal in refusals {
            let before = self.side(captured, None);
            out.push_str(&self.named(&format!("{}\n", self.look.paint("1", &visible(&before.shown_endpoint())))));
            out.push_str(&format!("  {}  {}\n", self.look.paint("31", "withheld"), visible(&refusal.message)));
        }
        out
    }

    /// With the flow's id below the first line.
    fn named(&self, text: &str) -> String {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        format!("\n{first}\n  {:<9}{}\n{rest}", "flow", visible(&self.source.id()))
    }

    fn side(&self, captured: &Captured, message: Option<Part>) -> requests::Request {
        let values = self.audited.findings.iter().filter(|finding| finding.detector != Detector::Unread);
        let values = values.flat_map(|finding| [Some(&finding.value), finding.observed.as_ref()]).flatten();
        let secrets = if self.reveal { Vec::new() } else { values.map(|value| value.to_string()).collect() };
        requests::Request { name: self.source.id(), captured: captured.clone(), message, secrets }
    }
}

fn shown_location(finding: &Finding) -> String {
    match &finding.shown_location {
        Some(masked) => masked.to_string(),
        None => finding.location.to_string(),
    }
}

fn decision(action: &str, would: Option<&str>) -> String {
    match would {
        Some(would) => format!("{action} (would {would})"),
        None => action.to_owned(),
    }
}

/// The request that left, as far as it can be read: to where the other went.
fn edited(captured: &Captured, bytes: Bytes) -> Option<Captured> {
    let mut edited = Captured::read(bytes).ok()?;
    let Request { host, port, secure, .. } = &*captured.request;
    let head = edited.request.head.clone();
    edited.request = Request { host: host.clone(), port: *port, secure: *secure, head }.into();
    Some(edited)
}

/// All changes, added up.
#[derive(Default)]
pub(super) struct Summary {
    requests: u64,
    /// By verdict: what was, what would be.
    recorded: BTreeMap<String, u64>,
    verdicts: BTreeMap<&'static str, u64>,
    decisions: BTreeMap<[String; 4], u64>,
}

impl Summary {
    pub(super) fn add(&mut self, change: Change) -> String {
        self.requests += 1;
        *self.verdicts.entry(change.verdict.name()).or_default() += 1;
        if let Some(recorded) = change.recorded {
            *self.recorded.entry(recorded).or_default() += 1;
        }
        for (decision, count) in change.decisions {
            *self.decisions.entry(decision).or_default() += count;
        }
        change.text
    }

    /// What the requests below it come to.
    pub(super) fn render(&self, recorded: &str, policy: &str) -> String {
        let told = |counts: Vec<(&str, u64)>| {
            counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect::<Vec<_>>().join(", ")
        };
        let mut out = format!("\n{} -> {}\n", visible(recorded), visible(policy));
        if !self.recorded.is_empty() {
            let counts = self.recorded.iter().map(|(verdict, count)| (verdict.as_str(), *count)).collect();
            out.push_str(&format!("  recorded  {}\n", visible(&told(counts))));
        }
        let counts = self.verdicts.iter().map(|(verdict, count)| (*verdict, *count)).collect();
        out.push_str(&format!("  would be  {}\n\n", told(counts)));
        if self.decisions.is_empty() {
            out.push_str("nothing would be decided otherwise\n");
            return out;
        }
        let mut rows = vec![["HOST", "KIND", "RECORDED", "NOW", "FINDINGS"].map(str::to_owned)];
        rows.extend(self.decisions.iter().map(|([host, kind, then, now], count)| {
            [visible(host), visible(kind), visible(then), now.clone(), count.to_string()]
        }));
        out.push_str(&table(&rows));
        out
    }
}

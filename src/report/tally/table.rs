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

use std::fmt::Write;

use super::{Fact, Host, Spot, Tally};
use crate::engine::{Action, Severity, kinds};
use crate::report::text::{Paint, Style, columns, cut, files, line, padded, plural, share, size, visible};

/// Places of one fact that are shown.
const SHOWN_PLACES: usize = 3;

impl Tally {
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

fn word(action: Action) -> &'static str {
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

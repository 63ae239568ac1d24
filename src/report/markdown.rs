//! A report for an issue or a wiki: tables of GitHub's Markdown, every text from the wire a span of code.

use super::model::{Host, Report};
use super::summary::{damage, flags};
use super::text::{plural, share, size, visible};
use crate::engine::kinds;

/// Rows of one table.
const MOST_ROWS: usize = 300;
/// Places that one row names.
const MOST_PLACES: usize = 3;

/// With a line end after each line.
pub fn render(report: &Report) -> String {
    let totals = &report.totals;
    let mut page = Page::default();
    page.line("# What was sent, and to whom");
    page.line("");
    let mut parts = vec![
        plural(totals.requests, "request"),
        plural(report.hosts.len() as u64, "host"),
        format!("{} sent, {} read", size(totals.bytes_sent), share(totals.bytes_read, totals.bytes_sent)),
        format!(
            "{} ({} high, {} medium, {} low)",
            plural(totals.findings, "finding"),
            totals.high,
            totals.medium,
            totals.low
        ),
        format!("{} edited, {} withheld", totals.edited, totals.withheld),
    ];
    if totals.unmade > 0 {
        parts.push(format!("**{} edits could not be made**", totals.unmade));
    }
    page.line(&(parts.join(" · ") + "."));
    if let (Some(from), Some(to)) = (&report.from, &report.to) {
        page.line("");
        page.line(&format!("From {} to {}.", code(from), code(to)));
    }
    if report.revealed {
        page.line("");
        page.line("> **Values stand in clear:** the findings were written with `--reveal`. Do not pass this on.");
    }
    page.table("Hosts", &["host", "requests", "sent", "read", "findings", "edited", "withheld", "clients", ""]);
    for host in report.hosts.iter().take(MOST_ROWS) {
        page.row(&[
            code(host.label()),
            host.requests.to_string(),
            size(host.bytes_sent),
            share(host.bytes_read, host.bytes_sent),
            host.findings.to_string(),
            host.edited.to_string(),
            host.withheld.to_string(),
            host.clients.iter().map(|client| code(client)).collect::<Vec<_>>().join(", "),
            flags(host).join(", "),
        ]);
    }
    page.hidden(report.hosts.len());
    for host in report.hosts.iter().take(MOST_ROWS) {
        facts(host, &mut page);
    }
    files(report, &mut page);
    unread(report, &mut page);
    edits(report, &mut page);
    let damage = damage(report);
    if !damage.is_empty() {
        page.heading("What could not be used");
        damage.iter().for_each(|text| page.line(&format!("- {}", text.replace('`', ""))));
    }
    page.out
}

fn facts(host: &Host, page: &mut Page) {
    let rows = host.rows();
    if rows.is_empty() {
        return;
    }
    page.table(
        &format!("What {} received", code(host.label())),
        &["severity", "kind", "reveals", "value", "action", "count", "where"],
    );
    for row in rows.iter().take(MOST_ROWS) {
        let places = row.places();
        let mut shown: Vec<String> = places.iter().take(MOST_PLACES).map(|(place, _)| code(&place.location)).collect();
        let hidden = (places.len() - shown.len()) as u64 + row.more_places();
        if hidden > 0 {
            shown.push(format!("and {hidden} more"));
        }
        page.row(&[
            row.severity.name().to_owned(),
            code(row.kind()),
            kinds::find(row.kind()).map_or("", |kind| kind.reveals).to_owned(),
            code(&row.value()),
            row.done(),
            row.count.to_string(),
            shown.join("<br>"),
        ]);
    }
    page.hidden(rows.len());
}

fn files(report: &Report, page: &mut Page) {
    if report.files.is_empty() {
        return;
    }
    page.table("Sent from the disk", &["host", "file", "how much"]);
    for file in report.files.iter().take(MOST_ROWS) {
        page.row(&[code(&file.host), code(&file.file), file.said(size)]);
    }
    page.hidden(report.files.len());
}

fn unread(report: &Report, page: &mut Page) {
    let gaps: Vec<_> = report.hosts.iter().flat_map(|host| host.unread.iter().map(move |gap| (host, gap))).collect();
    if gaps.is_empty() {
        return;
    }
    page.table("Not read", &["host", "where", "reason", "bytes", "times"]);
    for (host, gap) in gaps.iter().take(MOST_ROWS) {
        page.row(&[
            code(host.label()),
            code(&gap.location),
            code(&gap.reason),
            gap.bytes.to_string(),
            gap.count.to_string(),
        ]);
    }
    page.hidden(gaps.len());
}

fn edits(report: &Report, page: &mut Page) {
    let edits: Vec<_> = report.hosts.iter().flat_map(|host| host.edits.iter().map(move |edit| (host, edit))).collect();
    if edits.is_empty() {
        return;
    }
    page.table("Edited", &["host", "where", "times", "bytes before", "bytes after"]);
    for (host, edit) in edits.iter().take(MOST_ROWS) {
        page.row(&[
            code(host.label()),
            code(&edit.pattern),
            edit.count.to_string(),
            edit.old_bytes.to_string(),
            edit.new_bytes.to_string(),
        ]);
    }
    page.hidden(edits.len());
}

#[derive(Default)]
struct Page {
    out: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn heading(&mut self, title: &str) {
        self.line("");
        self.line(&format!("## {title}"));
        self.line("");
    }

    fn table(&mut self, title: &str, columns: &[&str]) {
        self.heading(title);
        self.line(&format!("| {} |", columns.join(" | ")));
        self.line(&format!("|{}", "---|".repeat(columns.len())));
    }

    fn row(&mut self, cells: &[String]) {
        self.line(&format!("| {} |", cells.join(" | ")));
    }

    fn hidden(&mut self, rows: usize) {
        if rows > MOST_ROWS {
            self.line("");
            self.line(&format!("and {} more.", rows - MOST_ROWS));
        }
    }
}

/// A span of code: neither links nor HTML are read in it. What would end the span or the cell is spelled out.
fn code(text: &str) -> String {
    let text = visible(text).replace('`', "\\u{60}").replace('|', "\\u{7c}");
    match text.trim() {
        "" => String::new(),
        text => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::sample;

    #[test]
    fn a_page_has_a_table_for_hosts_facts_gaps_and_edits() {
        let page = render(&sample::report());
        for part in [
            "| `api.example.com` | 1 | 1000 bytes | 90.0% | 1 | 0 | 0 | `claude-code 2.1.169` |  |\n",
            "| high | `id.device` | the installation: links everything one machine sends | `9f86… (64 bytes)` | log | 1 | \
             `body!json:/metadata/user_id` |\n",
            "| `api.example.com` | `body!json:/blob` | `opaque` | 100 | 1 |\n",
            "| `telemetry.example.net` | `body!gzip!json:/events/*/env/kernel` | 2 | 16 | 2 |\n",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn nothing_from_the_wire_leaves_its_cell() {
        let nasty = "a|b`<img src=x onerror=alert(1)>`\n[x](javascript:alert(1)) # h";
        let extra = serde_json::json!({
            "host": nasty, "kind": nasty, "location": nasty, "value": nasty, "client": nasty, "path": nasty
        });
        let page = render(&sample::of(&[sample::finding("f", extra)]));
        for row in page.lines().filter(|line| line.contains("onerror")) {
            let spans: Vec<&str> = row.split('`').collect();
            assert_eq!(spans.len() % 2, 1, "{row}");
            let outside: String = spans.iter().step_by(2).copied().collect();
            assert!(!outside.contains(['<', '[']) || outside.contains("<br>"), "{row}");
        }
        assert!(page.contains("a\\u{7c}b\\u{60}"), "{page}");
    }
}

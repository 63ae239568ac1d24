//! A report for the terminal: the table that ends a run, made from its lines.
//!
//! ```text
//! api.example.com                      12 requests · 184.2 KiB · 99.8% read · claude-code 2.1.169
//!   high    id.device   9f86… (64 bytes)   redact    body!json:/metadata/user_id!json:/device_id ×12
//! ```

use super::model::{Host, Report, Row};
use super::text::{Paint, Style, columns, cut, line, padded, plural, share, size, visible};
use crate::engine::Severity;

/// Places of one row that are shown.
const SHOWN_PLACES: usize = 3;
/// Rows of one host, flows and edited places that are shown.
const SHOWN_ROWS: usize = 200;

/// With a line end after each line.
pub fn render(report: &Report, style: &Style) -> String {
    let paint = Paint { color: style.color };
    let mut out = String::new();
    headline(report, paint, &mut out);
    let rows: Vec<Vec<Row<'_>>> = report.hosts.iter().map(Host::rows).collect();
    let widest =
        |width: &dyn Fn(&Row<'_>) -> usize, most: usize| rows.iter().flatten().map(width).max().unwrap_or(0).min(most);
    let widths = [
        widest(&|row| columns(&visible(row.kind())), 24),
        widest(&|row| columns(&visible(&row.value())), 28),
        widest(&|row| columns(&row.done()), 24),
    ];
    for (host, rows) in report.hosts.iter().zip(&rows) {
        out.push('\n');
        host_table(host, rows, widths, style, paint, &mut out);
    }
    super::text::files(&report.files, paint, &mut out);
    notes(report, &mut out);
    out
}

fn headline(report: &Report, paint: Paint, out: &mut String) {
    let totals = &report.totals;
    let mut parts = vec![
        plural(report.hosts.len() as u64, "host"),
        plural(totals.requests, "request"),
        format!("{} sent", size(totals.bytes_sent)),
        format!("{} read", share(totals.bytes_read, totals.bytes_sent)),
        plural(totals.findings, "finding"),
    ];
    if totals.high > 0 {
        parts.push(paint.severity(Severity::High, &format!("{} high", totals.high)));
    }
    for (count, word) in
        [(totals.edited, "edited"), (totals.withheld, "withheld"), (totals.unmade, "edits could not be made")]
    {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    line(out, &format!("{} {}", paint.bold("divulge:"), parts.join(" · ")));
    if let (Some(from), Some(to)) = (&report.from, &report.to) {
        line(out, &paint.dim(&format!("{} to {}", visible(from), visible(to))));
    }
}

fn host_table(host: &Host, rows: &[Row<'_>], widths: [usize; 3], style: &Style, paint: Paint, out: &mut String) {
    let name = visible(host.label());
    let mut about = vec![plural(host.requests, "request"), size(host.bytes_sent)];
    if host.bytes_sent > 0 {
        about.push(format!("{} read", share(host.bytes_read, host.bytes_sent)));
    }
    for (count, word) in [(host.edited, "edited"), (host.withheld, "withheld")] {
        if count > 0 {
            about.push(format!("{count} {word}"));
        }
    }
    about.extend(host.clients.iter().map(|client| visible(client)));
    about.extend(flags(host).into_iter().map(str::to_owned));
    let about = about.join(" · ");
    let gap = style.width.saturating_sub(columns(&name) + columns(&about)).clamp(2, 40);
    line(out, &format!("{}{}{}", paint.bold(&name), " ".repeat(gap), paint.dim(&about)));
    for row in rows.iter().take(SHOWN_ROWS) {
        fact(row, widths, paint, out);
    }
    let hidden: u64 = rows.iter().skip(SHOWN_ROWS).map(|row| row.count).sum::<u64>() + host.more;
    if hidden > 0 {
        line(out, &format!("  and {} of further facts", plural(hidden, "finding")));
    }
    for gap in &host.unread {
        let text = format!("  unread  {}  {}  ", size(gap.bytes), visible(&gap.reason));
        let times = times(gap.count);
        line(out, &format!("{}{}{times}", paint.severity(Severity::Medium, &text), visible(&gap.location)));
    }
    if host.more_unread > 0 {
        line(out, &format!("  unread  {} in {} more places", size(host.more_unread_bytes), host.more_unread));
    }
    for edit in host.edits.iter().take(SHOWN_ROWS) {
        let bytes = format!("{} -> {}", size(edit.old_bytes), size(edit.new_bytes));
        line(out, &format!("  edited  {bytes}  {}{}", visible(&edit.pattern), times(edit.count)));
    }
}

fn fact(row: &Row<'_>, [kind, value, action]: [usize; 3], paint: Paint, out: &mut String) {
    let mut text = format!(
        "  {}  {}  {}  {}  ",
        paint.severity(row.severity, &padded(row.severity.name(), 6)),
        padded(&visible(row.kind()), kind),
        padded(&cut(&visible(&row.value()), value), value),
        paint.action(row.action, &padded(&row.done(), action)),
    );
    let indent = " ".repeat(2 + 6 + 2 + kind + 2 + value + 2 + action + 2);
    let places = row.places();
    let shown = if places.len() <= SHOWN_PLACES + 1 { places.len() } else { SHOWN_PLACES };
    for (index, (place, count)) in places.iter().take(shown).enumerate() {
        if index > 0 {
            line(out, &text);
            text.clone_from(&indent);
        }
        text.push_str(&visible(&place.location));
        text.push_str(&times(*count));
    }
    line(out, &text);
    let hidden = (places.len() - shown) as u64 + row.more_places();
    if hidden > 0 {
        line(out, &format!("{indent}{}", paint.dim(&format!("and {hidden} more places, ×{} in all", row.count))));
    }
}

/// What there is to say of a host beside its numbers.
pub(super) fn flags(host: &Host) -> Vec<&'static str> {
    let mut flags = Vec::new();
    if host.new {
        flags.push("new");
    }
    if host.unlisted {
        flags.push("in no rule pack");
    }
    flags
}

fn times(count: u64) -> String {
    if count > 1 { format!(" ×{count}") } else { String::new() }
}

fn notes(report: &Report, out: &mut String) {
    let mut notes = Vec::new();
    if report.revealed {
        notes.push("values stand in clear: the findings were written with --reveal".to_owned());
    }
    let restored = report.totals.restored;
    if restored.restored + restored.unrestored > 0 {
        let (back, left) = (restored.restored, restored.unrestored);
        notes.push(format!("{back} pseudonyms put back in answers, {left} left as they were"));
    }
    if report.totals.beyond > 0 {
        notes.push(format!("{} beyond what a report keeps", plural(report.totals.beyond, "finding")));
    }
    notes.extend(damage(report));
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        line(out, &note);
    }
}

/// What is said of lines that could not be used.
pub(super) fn damage(report: &Report) -> Vec<String> {
    let damage = &report.damage;
    let mut said: Vec<String> = damage.file.iter().map(|problem| format!("the file is {problem}")).collect();
    said.extend(damage.first.iter().map(|(number, problem)| format!("line {number} is not used: {problem}")));
    let more = damage.lines - damage.first.len() as u64;
    if more > 0 {
        said.push(format!("{more} more lines are not used"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::sample;

    #[test]
    fn the_table_is_the_one_that_ends_a_run() {
        let mut report = sample::report();
        report.mark_new(|host| host == "api.example.com");
        let text = render(&report, &Style::default());
        for part in [
            "divulge: 2 hosts · 2 requests · 2.0 KiB sent · 95.0% read · 3 findings · 1 high · 1 edited\n",
            "  high    id.device  9f86… (64 bytes)  log     body!json:/metadata/user_id\n",
            "  medium  os.kernel  … (8 bytes)       redact  body!gzip!json:/events/3/env/kernel ×2\n",
            "  edited  16 bytes -> 2 bytes  body!gzip!json:/events/*/env/kernel ×2\n",
            "  unread  100 bytes  opaque  body!json:/blob\n",
            "claude-code 2.1.169 · new",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn nothing_from_the_wire_reaches_the_terminal_as_a_command() {
        let nasty = "\u{1b}]0;owned\u{7}\r\n\u{202e}x\u{9b}31m";
        let extra = serde_json::json!({
            "host": nasty, "kind": nasty, "location": nasty, "value": nasty, "client": nasty, "path": nasty, "time": nasty
        });
        let text = render(&sample::of(&[sample::finding(nasty, extra)]), &Style::default());
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains('\u{202e}') && text.contains("--reveal"));
    }
}

//! A report as one page that needs nothing else: no script, no network, no fonts; it works from a mail attachment.
//!
//! The page's own policy lets it load nothing and run nothing, and knows its one style sheet by digest. Nothing that came
//! from the wire becomes an address, a style or a name of a class: it is text, escaped, with invisible and direction
//! characters spelled out.

use std::fmt::Write;

use base64::Engine as _;
use sha2::{Digest, Sha256};

use super::clock;
use super::model::{Fact, Host, Place, Report, Row};
use super::picture::{coverage, hidden, matrix, timeline};
use super::summary::{damage, flags};
use super::text::{plural, share, size, visible};
use crate::engine::kinds;

const STYLE: &str = include_str!("page.css");

/// Rows of one table or host.
const MOST_ROWS: usize = 500;
/// Values and places of one finding.
const MOST_VALUES: usize = 20;
const MOST_PLACES: usize = 40;
/// Facts below which all of a host's are shown open.
const FEW: usize = 60;

/// The whole page.
pub fn render(report: &Report) -> String {
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\"><meta name=\"format-detection\" content=\"telephone=no\">\n\
         <title>divulge: who received what</title>\n<style>{STYLE}</style></head><body>\n"
    );
    header(report, &mut out);
    out.push_str("<main>");
    section("Who received what", &matrix(report), &mut out);
    section("When", &timeline(report), &mut out);
    section("Hosts and coverage", &hosts(report), &mut out);
    section("By host and kind", &by_kind(report), &mut out);
    section("Findings", &findings(report), &mut out);
    edits(report, &mut out);
    files(report, &mut out);
    unread(report, &mut out);
    section("Requests", &flows(report), &mut out);
    let said = damage(report);
    if !said.is_empty() {
        let list: String = said.iter().map(|text| format!("<li>{}</li>", escaped(text))).collect();
        section("What could not be used", &format!("<ul>{list}</ul>"), &mut out);
    }
    out.push_str("</main>\n");
    let _ = writeln!(
        out,
        "<footer>Made by divulge {}. {} This page holds no script and loads nothing.</footer></body></html>",
        env!("CARGO_PKG_VERSION"),
        if report.revealed { "Values stand in clear." } else { "Values are masked." }
    );
    out
}

/// Text that is nothing but text, in content and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let text = visible(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            c => out.push(c),
        }
    }
    out
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

fn section(title: &str, content: &str, out: &mut String) {
    let _ = writeln!(out, "<section><h2>{title}</h2>{content}</section>");
}

fn header(report: &Report, out: &mut String) {
    let totals = &report.totals;
    out.push_str("<header><h1>Who received what</h1><p class=\"dim\">");
    let client = |client: &super::model::Client| {
        let version = client.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        format!("{}{version}", client.name)
    };
    let mut about: Vec<String> = report.clients.iter().take(8).map(client).collect();
    if let (Some(from), Some(to)) = (&report.from, &report.to) {
        about.push(if from == to { moment(from) } else { format!("{} to {}", moment(from), moment(to)) });
    }
    let sessions = report.sessions.len();
    about.push(plural(sessions as u64, "session"));
    out.push_str(&about.iter().map(|text| escaped(text)).collect::<Vec<_>>().join(" · "));
    out.push_str("</p>");
    if report.revealed {
        out.push_str(
            "<p class=\"warning\"><strong>Values stand in clear.</strong> The findings were written with \
             <code>--reveal</code>: do not pass this page on.</p>",
        );
    }
    if report.damage.file.is_some() {
        out.push_str(
            "<p class=\"warning\"><strong>The file is damaged.</strong> Where is at the end of this page.</p>",
        );
    }
    if report.damage.lines > 0 {
        let _ = write!(
            out,
            "<p class=\"warning\"><strong>{} could not be used.</strong> Which and why is at the end of this page.</p>",
            plural(report.damage.lines, "line")
        );
    }
    out.push_str("<ul class=\"cards\">");
    let mut card = |number: &str, word: &str, alarm: bool| {
        let class = if alarm { " class=\"alarm\"" } else { "" };
        let _ = write!(out, "<li{class}><b>{number}</b><span>{word}</span></li>");
    };
    card(&report.hosts.len().to_string(), if report.hosts.len() == 1 { "host" } else { "hosts" }, false);
    card(&totals.requests.to_string(), if totals.requests == 1 { "request" } else { "requests" }, false);
    card(&totals.findings.to_string(), if totals.findings == 1 { "finding" } else { "findings" }, false);
    card(&totals.high.to_string(), "of high severity", totals.high > 0);
    let read = share(totals.bytes_read, totals.bytes_sent);
    card(&read, &format!("of {} read", size(totals.bytes_sent)), false);
    let fresh = report.hosts.iter().filter(|host| host.new).count();
    let unlisted = report.hosts.iter().filter(|host| host.unlisted).count();
    if fresh > 0 {
        card(&fresh.to_string(), "new hosts", true);
    }
    if unlisted > 0 {
        card(&unlisted.to_string(), "hosts in no rule pack", false);
    }
    card(&totals.edited.to_string(), "requests edited", false);
    card(&totals.withheld.to_string(), "requests withheld", false);
    if totals.unmade > 0 {
        card(&totals.unmade.to_string(), "edits not made", true);
    }
    out.push_str("</ul></header>\n");
}

fn hosts(report: &Report) -> String {
    let mut hosts: Vec<&Host> = report.hosts.iter().collect();
    hosts.sort_by_key(|host| (std::cmp::Reverse((host.new, host.worst, host.findings)), host.name.clone()));
    let mut rows = String::new();
    for host in hosts.iter().take(MOST_ROWS) {
        let tags: String = flags(host).iter().map(|flag| format!(" <span class=\"tag\">{flag}</span>")).collect();
        let clients: Vec<String> = host.clients.iter().map(|client| escaped(client)).collect();
        let _ = write!(
            rows,
            "<tr><td class=\"host mono\">{}{tags}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"one\">{}{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"mono one\">{}</td></tr>",
            escaped(host.label()),
            host.requests,
            size(host.bytes_sent),
            coverage(host.bytes_read, host.bytes_sent),
            share(host.bytes_read, host.bytes_sent),
            host.findings,
            host.edited,
            host.withheld,
            clients.join("<br>"),
            escaped(&moment(host.first.as_deref().unwrap_or(""))),
        );
    }
    let head = "<th>host</th><th class=\"n\">requests</th><th class=\"n\">sent</th><th>read</th><th class=\"n\">findings</th>\
                <th class=\"n\">edited</th><th class=\"n\">withheld</th><th>clients</th><th>first met</th>";
    table(head, &rows) + &hidden(hosts.len().saturating_sub(MOST_ROWS), "host")
}

fn by_kind(report: &Report) -> String {
    let mut all: Vec<_> = report
        .hosts
        .iter()
        .flat_map(|host| host.kinds.iter().map(move |(kind, counted)| (host, kind.as_str(), counted)))
        .collect();
    all.sort_by_key(|(host, kind, counted)| {
        (&host.name, std::cmp::Reverse(counted.severity), super::model::rank(kind), *kind)
    });
    let mut rows = String::new();
    let mut before = None;
    for (host, kind, counted) in all.iter().take(MOST_ROWS) {
        let known = kinds::find(kind);
        // The name once, above all that the host received.
        let name = if before == Some(&host.name) { String::new() } else { escaped(host.label()) };
        before = Some(&host.name);
        let words = known.map_or(String::new(), |kind| format!("{} · {}", word(kind.entropy), word(kind.stability)));
        let _ = write!(
            rows,
            "<tr><td class=\"host mono\">{name}</td><td>{}</td><td class=\"one\">{}</td><td>{}</td><td class=\"dim one\">{words}</td>\
             <td>{}</td><td class=\"n\">{}</td></tr>",
            pill(counted.severity),
            code(kind),
            known.map_or("", |kind| kind.reveals),
            done(counted.action.edits(), counted.action.name()),
            counted.count,
        );
    }
    let head = "<th>host</th><th></th><th>kind</th><th>reveals</th><th>entropy · stability</th><th>done</th>\
                <th class=\"n\">findings</th>";
    table(head, &rows) + &hidden(all.len().saturating_sub(MOST_ROWS), "row")
}

fn findings(report: &Report) -> String {
    let mut hosts: Vec<&Host> = report.hosts.iter().filter(|host| !host.facts.is_empty()).collect();
    hosts.sort_by_key(|host| (std::cmp::Reverse((host.worst, host.findings)), host.name.clone()));
    if hosts.is_empty() {
        return "<p class=\"dim\">Nothing was found.</p>".to_owned();
    }
    let mut out = String::new();
    for host in hosts.iter().take(MOST_ROWS) {
        let rows = host.rows();
        let open = if rows.len() <= FEW { " open" } else { "" };
        let _ = write!(
            out,
            "<details{open}><summary><h3 class=\"mono\">{}</h3> <span class=\"dim\">{}</span></summary><div class=\"in\">",
            escaped(host.label()),
            plural(host.findings, "finding")
        );
        for row in rows.iter().take(MOST_ROWS) {
            finding(row, &mut out);
        }
        out.push_str(&hidden(rows.len().saturating_sub(MOST_ROWS), "fact"));
        if host.more > 0 {
            let _ = write!(out, "<p class=\"dim\">and {} of facts that are not kept</p>", plural(host.more, "finding"));
        }
        out.push_str("</div></details>\n");
    }
    out
}

fn finding(row: &Row<'_>, out: &mut String) {
    let _ = write!(
        out,
        "<details class=\"fact\"><summary><span>{}</span><span class=\"mono\">{}</span><span class=\"mono value\">{}</span>\
         <span class=\"done\">{}</span><span class=\"n\">×{}</span></summary><div class=\"in\"><dl>",
        pill(row.severity),
        escaped(row.kind()),
        escaped(&row.value()),
        done(row.action.edits(), &row.done()),
        row.count,
    );
    let mut entry = |name: &str, text: String| {
        if !text.is_empty() {
            let _ = write!(out, "<dt>{name}</dt><dd>{text}</dd>");
        }
    };
    if let Some(kind) = kinds::find(row.kind()) {
        entry("reveals", kind.reveals.to_owned());
        entry("entropy", word(kind.entropy));
        entry("stays the same for", word(kind.stability));
    }
    if let Some(fact) = row.facts.first() {
        entry("found by", found_by(fact));
        entry("sure", format!("{:.2}", fact.confidence));
        entry("decided by", fact.decided_by.as_deref().map(escaped).unwrap_or_default());
        entry("first", escaped(&moment(&fact.first)));
    }
    let value = |fact: &&Fact| {
        let digest: String = fact.value_hmac.chars().take(12).collect();
        format!("{} <span class=\"dim mono\">{}</span> ×{}", code(&fact.value), escaped(&digest), fact.count)
    };
    let mut values: Vec<String> = row.facts.iter().take(MOST_VALUES).map(value).collect();
    if row.facts.len() > MOST_VALUES {
        values.push(format!("and {} more", row.facts.len() - MOST_VALUES));
    }
    entry(if row.facts.len() == 1 { "value" } else { "values" }, values.join("<br>"));
    out.push_str("</dl><ol class=\"places\">");
    let places = row.places_by_endpoint();
    for (at, count) in places.iter().take(MOST_PLACES) {
        let _ = write!(out, "<li>{}</li>", place(at, *count));
    }
    out.push_str("</ol>");
    let more = places.len().saturating_sub(MOST_PLACES) as u64 + row.more_places();
    out.push_str(&hidden(usize::try_from(more).unwrap_or(usize::MAX), "place"));
    out.push_str("</div></details>");
}

fn found_by(fact: &Fact) -> String {
    match &fact.rule {
        Some(rule) => format!("{} {}", fact.detector.name(), code(rule)),
        None => fact.detector.name().to_owned(),
    }
}

fn place(place: &Place, count: u64) -> String {
    let mut text = code(&place.location);
    if count > 1 {
        let _ = write!(text, " ×{count}");
    }
    let mut about = vec![escaped(&place.endpoint)];
    if let (Some(part), Some([from, to])) = (&place.part, place.span) {
        about.push(format!("bytes {from}–{to} of the {}", escaped(part)));
    }
    if !place.layers.is_empty() {
        about.push(format!("inside {}", escaped(&place.layers.join(", "))));
    }
    if let Some(observed) = &place.observed {
        about.push(format!("stands there as {}", code(observed)));
    }
    if let Some(replacement) = &place.replacement {
        about.push(format!("replaced by {}", code(replacement)));
    }
    if let Some(bits) = place.bits {
        about.push(format!("can carry {bits} bits"));
    }
    if !place.flow.is_empty() {
        about.push(format!("first in flow {}", code(&place.flow)));
    }
    about.retain(|text| !text.is_empty());
    let _ = write!(text, "<br><span class=\"dim\">{}</span>", about.join(" · "));
    text
}

fn edits(report: &Report, out: &mut String) {
    let all: Vec<_> = report.hosts.iter().flat_map(|host| host.edits.iter().map(move |edit| (host, edit))).collect();
    if all.is_empty() && report.totals.unmade == 0 {
        return;
    }
    let mut rows = String::new();
    for (host, edit) in all.iter().take(MOST_ROWS) {
        let _ = write!(
            rows,
            "<tr><td class=\"host mono\">{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escaped(host.label()),
            code(&edit.pattern),
            edit.count,
            edit.old_bytes,
            edit.new_bytes
        );
    }
    let head = "<th>host</th><th>where</th><th class=\"n\">times</th><th class=\"n\">bytes before</th>\
                <th class=\"n\">bytes after</th>";
    let mut content = table(head, &rows) + &hidden(all.len().saturating_sub(MOST_ROWS), "place");
    let certified: u64 = report.hosts.iter().map(|host| host.certified).sum();
    let edited = report.totals.edited;
    let _ = write!(
        content,
        "<p>Of {}, {certified} are certified: every byte outside the edits is the same before and after.</p>",
        plural(edited, "edited request")
    );
    if report.totals.unmade > 0 {
        let _ = write!(
            content,
            "<p class=\"warning\">{} that the policy wanted could not be made.</p>",
            plural(report.totals.unmade, "edit")
        );
    }
    let bound: String = report
        .hosts
        .iter()
        .flat_map(|host| host.integrity.iter().map(move |entry| (host, entry)))
        .take(MOST_ROWS)
        .map(|(host, (kind, at))| format!("<li>{} at {} ({})</li>", code(kind), code(at), escaped(host.label())))
        .collect();
    if !bound.is_empty() {
        let _ = write!(content, "<p>Values that bind edited bytes:</p><ul>{bound}</ul>");
    }
    section("Edits", &content, out);
}

/// Files of the working tree that were sent.
fn files(report: &Report, out: &mut String) {
    if report.files.is_empty() {
        return;
    }
    let mut rows = String::new();
    for file in report.files.iter().take(MOST_ROWS) {
        let _ = write!(
            rows,
            "<tr><td class=\"host mono\">{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&file.host),
            code(&file.file),
            escaped(&file.said(size))
        );
    }
    let content = table("<th>host</th><th>file</th><th>how much</th>", &rows)
        + &hidden(report.files.len().saturating_sub(MOST_ROWS), "file");
    section("Sent from the disk", &content, out);
}

fn unread(report: &Report, out: &mut String) {
    let all: Vec<_> = report.hosts.iter().flat_map(|host| host.unread.iter().map(move |gap| (host, gap))).collect();
    if all.is_empty() {
        return;
    }
    let mut rows = String::new();
    for (host, gap) in all.iter().take(MOST_ROWS) {
        let _ = write!(
            rows,
            "<tr><td class=\"host mono\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escaped(host.label()),
            code(&gap.location),
            escaped(&gap.reason),
            gap.bytes,
            gap.count
        );
    }
    let head = "<th>host</th><th>where</th><th>why</th><th class=\"n\">bytes</th><th class=\"n\">times</th>";
    let content = table(head, &rows) + &hidden(all.len().saturating_sub(MOST_ROWS), "place");
    section("What was not read", &content, out);
}

fn flows(report: &Report) -> String {
    let mut rows = String::new();
    for flow in report.flows.iter().take(MOST_ROWS) {
        let verdict = flow.verdict.map_or("not ended".to_owned(), word);
        let _ = write!(
            rows,
            "<tr><td class=\"mono one\">{}</td><td class=\"host mono\">{}</td><td class=\"mono\">{} {}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td>{verdict}</td><td class=\"mono dim\">{}</td></tr>",
            escaped(&moment(&flow.time)),
            escaped(&flow.host),
            escaped(flow.method.as_deref().unwrap_or("")),
            escaped(flow.path.as_deref().unwrap_or("")),
            size(flow.bytes_sent),
            flow.findings,
            escaped(&flow.id),
        );
    }
    let head = "<th>time</th><th>host</th><th>request</th><th class=\"n\">sent</th><th class=\"n\">findings</th>\
                <th>verdict</th><th>flow</th>";
    let count = report.flows.len() as u64 + report.more_flows;
    let more = hidden(usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(MOST_ROWS), "request");
    format!(
        "<details><summary>{}</summary><div class=\"in\">{}{more}</div></details>",
        plural(count, "request"),
        table(head, &rows)
    )
}

fn table(head: &str, rows: &str) -> String {
    format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
}

fn pill(severity: crate::engine::Severity) -> String {
    format!("<span class=\"pill {name}\">{name}</span>", name = severity.name())
}

fn done(edits: bool, text: &str) -> String {
    if edits { format!("<span class=\"act\">{text}</span>") } else { text.to_owned() }
}

/// `2026-11-22 12:00:01`, to the second, where it is a point in time; else as it stands.
fn moment(time: &str) -> String {
    match (clock::millis(time), time.get(..10), time.get(11..19)) {
        (Some(_), Some(day), Some(clock)) => format!("{day} {clock}"),
        _ => time.to_owned(),
    }
}

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::sample;

    #[test]
    fn the_page_holds_hosts_places_coverage_and_edits() {
        let page = render(&sample::report());
        for part in [
            "<td class=\"host mono\">api.example.com</td>",
            "<code>body!json:/metadata/user_id</code>",
            "bytes 10–74 of the body",
            "<code>body!gzip!json:/events/*/env/kernel</code>",
            "1 are certified",
            "replaced by <code>… (1 bytes)</code>",
            "95.0%",
            "Values are masked.",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn the_policy_of_the_page_knows_its_one_style_and_allows_nothing_else() {
        let page = render(&sample::report());
        let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
        let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
        assert!(page.contains(&format!("default-src 'none'; style-src 'sha256-{digest}'")), "{page}");
        for never in ["<script", "style=", "href=", "src=", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(never), "{never}");
        }
    }

    #[test]
    fn every_field_is_escaped() {
        let nasty = "</style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}";
        let extra = serde_json::json!({
            "time": nasty, "session": nasty, "flow": nasty, "host": nasty, "method": nasty, "path": nasty,
            "client": nasty, "client_version": nasty, "kind": nasty, "location": nasty, "layers": [nasty],
            "rule": nasty, "value": nasty, "value_hmac": nasty, "replacement": nasty, "decided_by": nasty,
            "part": nasty, "observed": nasty
        });
        let flow = serde_json::json!({
            "host": nasty, "unread": [{"location": nasty, "bytes": 1, "reason": nasty}], "verdict": "edited",
            "certificate": {"edits": [{"location": nasty, "old_len": 1, "new_len": 1}],
                "integrity": [{"kind": nasty, "location": nasty}]}
        });
        let mut report = sample::of(&[sample::finding(nasty, extra), sample::flow(nasty, flow), nasty.to_owned()]);
        report.mark_new(|_| false);
        let page = render(&report);
        for never in ["<script", "<img", "</script", "\u{202e}", "alert(1)>\""] {
            assert!(!page.contains(never), "{never}");
        }
        assert_eq!(page.matches("</style>").count(), 1);
        assert!(page.contains("Values stand in clear."));
    }
}

//! The result as one page that needs nothing else: the matrix for whoever decides, below it every place with its values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use base64::Engine as _;
use sha2::{Digest, Sha256};

use super::{extent, form, gate, groups, opt_outs, place, probability, shown, summary, without_effect};
use crate::engine::kinds;
use crate::probe::result::{Dependency, ProbeResult};
use crate::report::clock;
use crate::report::html::escaped;

const STYLE: &str = include_str!("../page.css");
/// Rows of one table.
const MOST: usize = 500;

pub fn render(result: &ProbeResult) -> String {
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\"><meta name=\"format-detection\" content=\"telephone=no\">\n\
         <title>divulge: what depends on what</title>\n<style>{STYLE}</style></head><body>\n\
         <header><h1>What depends on what</h1><p class=\"dim\"><code>{}</code></p>{}",
        escaped(&result.command.join(" ")),
        cards(result)
    );
    for note in &result.notes {
        let _ = write!(out, "<p class=\"warning\">{}</p>", escaped(note));
    }
    out.push_str("</header><main>");
    section("Which facts reach whom", &matrix(result), &mut out);
    for factor in &result.factors {
        let of = groups(result.dependencies.iter().filter(|of| of.factor == factor.name));
        if of.is_empty() {
            continue;
        }
        let rows: String = of.iter().take(MOST).map(|group| row(group.first, group.count, &factor.values)).collect();
        let table = table(
            "<th>Request</th><th>Place</th><th>Kind</th><th>Seen</th><th>Only with</th><th class=\"n\">p</th><th class=\"n\">q</th><th class=\"n\">Runs</th>",
            &rows,
        );
        section(&escaped(&factor.name), &table, &mut out);
    }
    switches(result, &mut out);
    requests(result, &mut out);
    noise(result, &mut out);
    let _ = writeln!(
        out,
        "</main>\n<footer>Made by divulge {}. p: Fisher's exact test on runs made for the purpose; q: after Benjamini and Hochberg. \
         What was not found may still be there: docs/probe.md says what an experiment cannot show. This page holds no script and loads nothing.</footer></body></html>",
        env!("CARGO_PKG_VERSION")
    );
    out
}

fn section(title: &str, content: &str, out: &mut String) {
    let _ = writeln!(out, "<section><h2>{title}</h2>{content}</section>");
}

fn table(head: &str, rows: &str) -> String {
    format!("<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
}

fn cards(result: &ProbeResult) -> String {
    let facts: BTreeSet<&str> = result.dependencies.iter().map(|of| of.factor.as_str()).collect();
    let hosts: BTreeSet<&str> = result.dependencies.iter().map(|of| of.host.as_str()).collect();
    let card =
        |number: String, text: &str| format!("<li><b>{}</b><span>{}</span></li>", escaped(&number), escaped(text));
    let mut cards = card(format!("{} of {}", facts.len(), result.factors.len()), "facts show");
    cards += &card(groups(result.dependencies.iter()).len().to_string(), "places");
    cards += &card(hosts.len().to_string(), "hosts that receive them");
    cards += &card(result.runs.to_string(), "runs");
    cards += &card(clock::duration(result.milliseconds as i64), "time");
    format!("<ul class=\"cards\">{cards}</ul><p class=\"dim\">{}</p>", escaped(&summary(result).join(" · ")))
}

/// Facts by hosts: how many places, and whether in clear.
fn matrix(result: &ProbeResult) -> String {
    let hosts: Vec<&str> = {
        let all: BTreeSet<&str> = result.requests.iter().map(|request| request.host.as_str()).collect();
        all.into_iter().collect()
    };
    let mut cells: BTreeMap<(&str, &str), Vec<&Dependency>> = BTreeMap::new();
    for group in groups(result.dependencies.iter()) {
        cells.entry((&group.first.factor, &group.first.host)).or_default().push(group.first);
    }
    let head: String = hosts.iter().map(|host| format!("<th>{}</th>", escaped(host))).collect();
    let mut rows = String::new();
    for factor in &result.factors {
        let _ = write!(rows, "<tr><td class=\"one\"><strong>{}</strong></td>", escaped(&factor.name));
        for host in &hosts {
            match cells.get(&(factor.name.as_str(), *host)) {
                Some(of) => {
                    let severity = of.iter().map(|of| severity(of)).max().unwrap_or(0);
                    let class = ["low", "medium", "high"][severity];
                    let gated = of.iter().all(|of| of.gate.is_some());
                    let tag = if gated { " <span class=\"tag\">only at times</span>" } else { "" };
                    let _ = write!(rows, "<td><span class=\"pill {class}\">{}</span>{tag}</td>", of.len());
                }
                None => rows.push_str("<td class=\"dim\">·</td>"),
            }
        }
        rows.push_str("</tr>");
    }
    let none = without_effect(result);
    let said =
        if none.is_empty() { String::new() } else { format!(" No effect was seen of {}.", escaped(&none.join(", "))) };
    format!(
        "{}<p class=\"legend\">The number of places in which a fact shows, by who receives it. \
         <span class=\"pill high\">hidden</span> by characters, order, spelling or in a random value · \
         <span class=\"pill medium\">in clear or derived</span> · <span class=\"pill low\">something is there or not</span>.{said}</p>",
        table(&format!("<th>Fact</th>{head}"), &rows)
    )
}

/// 2 for what no reader would see, 1 for what says the fact, 0 for what merely comes and goes.
fn severity(dependency: &Dependency) -> usize {
    use crate::probe::naming::Form;
    match dependency.form {
        Form::Characters | Form::Spelling | Form::Trait => 2,
        Form::Plain | Form::Derived => 1,
        Form::Presence => 0,
    }
}

fn row(first: &Dependency, count: usize, values: &[String]) -> String {
    let seen: String = values
        .iter()
        .filter(|value| first.values.contains_key(*value))
        .map(|value| {
            format!(
                "<div>{}: <code>{}</code></div>",
                escaped(if value.is_empty() { "(none)" } else { value }),
                escaped(&shown(first, value))
            )
        })
        .collect();
    let kind = kinds::find(&first.kind).map_or(String::new(), |kind| format!(" title=\"{}\"", escaped(kind.reveals)));
    let alike = if count > 1 { format!(" <span class=\"dim\">and {} alike</span>", count - 1) } else { String::new() };
    let after = first.before.as_ref().filter(|before| !before.trim().is_empty());
    let after =
        after.map_or(String::new(), |before| format!("<div class=\"dim\">after “{}”</div>", escaped(before.trim())));
    format!(
        "<tr><td class=\"host\">{} {}{}</td><td><code>{}</code>{alike}{after}</td><td class=\"one\"{kind}>{}<div class=\"dim\">{}</div></td><td>{seen}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        escaped(&first.method),
        escaped(&first.host),
        escaped(&first.path),
        escaped(&place(first)),
        escaped(&first.kind),
        said(first),
        escaped(&gate(first).unwrap_or_default()),
        probability(first.p),
        probability(first.q),
        first.runs
    )
}

/// How it shows, and how much of the fact.
fn said(first: &Dependency) -> String {
    let mut said = vec![form(first.form).to_owned()];
    said.extend(extent(first).iter().map(|said| escaped(said).to_string()));
    said.join("<br>")
}

fn switches(result: &ProbeResult, out: &mut String) {
    let outs = opt_outs(result);
    if outs.is_empty() {
        return;
    }
    let list = |all: &[&Dependency]| -> String {
        if all.is_empty() {
            return "<span class=\"dim\">nothing</span>".to_owned();
        }
        all.iter()
            .take(60)
            .map(|of| {
                format!(
                    "<div>{} {}{} <code>{}</code></div>",
                    escaped(&of.method),
                    escaped(&of.host),
                    escaped(&of.path),
                    escaped(&place(of))
                )
            })
            .collect()
    };
    let rows: String = outs
        .iter()
        .map(|one| {
            format!(
                "<tr><td class=\"one\"><code>{}={}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(one.factor),
                escaped(one.value),
                list(&one.stopped),
                list(&one.added),
                list(&one.changed)
            )
        })
        .collect();
    section(
        "What each switch stops",
        &table("<th>Switch</th><th>No longer sent</th><th>Sent in addition</th><th>Changed</th>", &rows),
        out,
    );
}

fn requests(result: &ProbeResult, out: &mut String) {
    let rows: String = result
        .requests
        .iter()
        .take(MOST)
        .map(|of| {
            format!(
                "<tr><td class=\"host\">{}</td><td>{} {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escaped(&of.host),
                escaped(&of.method),
                escaped(&of.path),
                of.base,
                of.all
            )
        })
        .collect();
    section(
        "Requests",
        &table(
            "<th>Host</th><th>Request</th><th class=\"n\">Runs with nothing varied</th><th class=\"n\">All runs</th>",
            &rows,
        ),
        out,
    );
}

fn noise(result: &ProbeResult, out: &mut String) {
    let rows: String = result
        .noise
        .iter()
        .take(MOST)
        .map(|of| {
            format!(
                "<tr><td class=\"host\">{}{}</td><td><code>{}</code></td><td>{}</td></tr>",
                escaped(&of.place.host),
                escaped(&of.place.path),
                escaped(&of.place.location),
                escaped(&of.noise)
            )
        })
        .collect();
    let table = table("<th>Request</th><th>Place</th><th>How</th>", &rows);
    section(
        "What varies by itself",
        &format!("<details><summary>{} places</summary><div class=\"in\">{table}</div></details>", result.noise.len()),
        out,
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_holds_the_matrix_and_no_markup_of_others() {
        let page = super::render(&super::super::sample());
        assert!(
            page.contains("Which facts reach whom")
                && page.contains("U+2019")
                && page.contains("What each switch stops")
        );
        assert!(!page.contains("<b>\"") && !page.contains("say <hi>") && !page.contains("Tokyo<b>"), "{page}");
        assert!(!page.contains("<script"));
    }
}

//! The result as tables for an issue or a wiki.

use std::fmt::Write;

use super::{extent, gate, groups, opt_outs, place, probability, shown, summary, without_effect};
use crate::probe::result::ProbeResult;
use crate::report::text::visible;

pub fn render(result: &ProbeResult) -> String {
    let mut out = format!("# What `{}` sends, by what is around it\n\n", cell(&result.command.join(" ")));
    let _ = writeln!(out, "{}.\n", cell(&summary(result).join(" · ")));
    if !result.dependencies.is_empty() {
        out.push_str("| factor | only with | request | place | kind | seen | p | q | runs |\n|---|---|---|---|---|---|---|---|---|\n");
    }
    for group in groups(result.dependencies.iter()) {
        let first = group.first;
        let factor = result.factors.iter().find(|factor| factor.name == first.factor);
        let values = factor.map(|factor| factor.values.as_slice()).unwrap_or_default();
        let seen: Vec<String> = values
            .iter()
            .filter(|value| first.values.contains_key(*value))
            .map(|value| format!("{}: {}", if value.is_empty() { "(none)" } else { value }, shown(first, value)))
            .collect();
        let how: String = extent(first).iter().map(|said| format!("<br>{}", cell(said))).collect();
        let alike = if group.count > 1 { format!(" (and {} alike)", group.count - 1) } else { String::new() };
        let _ = writeln!(
            out,
            "| {} | {} | {} {}{} | `{}`{alike} | {}{how} | {} | {} | {} | {} |",
            cell(&first.factor),
            cell(&gate(first).unwrap_or_default()),
            first.method,
            cell(&first.host),
            cell(&first.path),
            cell(&place(first)),
            first.kind,
            seen.iter().map(|text| cell(text)).collect::<Vec<_>>().join("<br>"),
            probability(first.p),
            probability(first.q),
            first.runs
        );
    }
    let none = without_effect(result);
    if !none.is_empty() {
        let _ = writeln!(out, "\nNo effect seen: {}.", cell(&none.join(", ")));
    }
    let outs = opt_outs(result);
    if !outs.is_empty() {
        out.push_str("\n| switch | no longer sent | sent in addition | changed |\n|---|---|---|---|\n");
    }
    for one in outs {
        let list = |all: &[&crate::probe::result::Dependency]| {
            let shown: Vec<String> = all
                .iter()
                .take(40)
                .map(|of| format!("{} {}{} `{}`", of.method, cell(&of.host), cell(&of.path), cell(&place(of))))
                .collect();
            if shown.is_empty() { "nothing".to_owned() } else { shown.join("<br>") }
        };
        let _ = writeln!(
            out,
            "| `{}={}` | {} | {} | {} |",
            cell(one.factor),
            cell(one.value),
            list(&one.stopped),
            list(&one.added),
            list(&one.changed)
        );
    }
    for note in &result.notes {
        let _ = writeln!(out, "\n* {}", cell(note));
    }
    out
}

/// Text that neither ends a cell nor becomes markup.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in visible(text).chars() {
        match c {
            '|' => out.push_str("\\|"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '`' => out.push('\''),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_stay_in_their_cells() {
        let text = super::render(&super::super::sample());
        assert!(text.contains("&lt;b&gt;") && !text.contains("<b>"), "{text}");
        assert!(text.contains("| `env:NO_REPORTS=1` | POST reports.example.com/e `the request itself`"), "{text}");
    }
}

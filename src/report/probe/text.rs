//! The table on the terminal: factor by factor, where it shows and how.

use std::fmt::Write;

use super::{extent, form, gate, groups, is_request, opt_outs, place, probability, shown, summary, without_effect};
use crate::probe::result::{Dependency, ProbeResult};
use crate::report::clock;
use crate::report::compare::Look;
use crate::report::text::{plural, visible};

/// Places told for one factor; the file has all.
const MOST: usize = 60;
/// Values told for one place.
const MOST_VALUES: usize = 8;
/// Characters of a value that is told.
const LONGEST: usize = 90;

/// With a line end after each line.
pub fn render(result: &ProbeResult, look: Look) -> String {
    let mut out = String::new();
    let bold = |text: &str| look.paint("1", text);
    let _ = writeln!(out, "{}", bold(&visible(&result.command.join(" "))));
    let _ = writeln!(out, "  {} · {}", summary(result).join(" · "), clock::duration(result.milliseconds as i64));
    for factor in &result.factors {
        let of: Vec<_> = groups(result.dependencies.iter().filter(|of| of.factor == factor.name));
        if of.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}  shows in {}", bold(&visible(&factor.name)), plural(of.len() as u64, "place"));
        for group in of.iter().take(MOST) {
            dependency(group.first, group.count, &factor.values, look, &mut out);
        }
        if of.len() > MOST {
            let _ = writeln!(out, "  … and {} more; --out FILE has them all", of.len() - MOST);
        }
    }
    if result.dependencies.is_empty() {
        let _ = writeln!(out, "\nnothing was found to depend on anything");
    }
    let none = without_effect(result);
    if !none.is_empty() {
        let _ = writeln!(out, "\nno effect seen: {}", visible(&none.join(", ")));
    }
    switches(result, look, &mut out);
    if !result.suspected.is_empty() {
        let _ = writeln!(out, "\n{}", bold("seen once, not run again"));
        for group in groups(result.suspected.iter()).iter().take(20) {
            let first = group.first;
            let _ = writeln!(
                out,
                "  {}  {} {} {}{}  {}",
                visible(&first.factor),
                first.kind,
                first.method,
                visible(&first.host),
                visible(&first.path),
                visible(&place(first))
            );
        }
    }
    for note in &result.notes {
        let _ = writeln!(out, "note: {}", visible(note));
    }
    out
}

fn dependency(first: &Dependency, count: usize, values: &[String], look: Look, out: &mut String) {
    let more = if count > 1 { format!(" and {} alike", count - 1) } else { String::new() };
    let places = if first.places > 1 { format!(" ×{}", first.places) } else { String::new() };
    let _ = writeln!(
        out,
        "  {}  {} {}{}  {}{places}{more}",
        look.paint("33", &first.kind),
        first.method,
        visible(&first.host),
        visible(&first.path),
        look.paint("1", &visible(&place(first)))
    );
    let mut about = vec![form(first.form).to_owned()];
    if let Some(before) = first.before.as_ref().filter(|before| !before.trim().is_empty()) {
        about.push(format!("after {:?}", visible(before.trim())));
    }
    about.extend(extent(first).iter().map(|said| visible(said).to_string()));
    about.extend(gate(first).map(|gate| format!("only with {}", visible(&gate))));
    about.push(format!("p {} q {} in {} runs", probability(first.p), probability(first.q), first.runs));
    match first.fresh {
        Some(true) => about.push("invented values show too".to_owned()),
        Some(false) => about.push("only these values show".to_owned()),
        None => {}
    }
    let _ = writeln!(out, "      {}", look.grey(&about.join(" · ")));
    let told = values.iter().filter(|value| first.values.contains_key(*value));
    for value in told.take(MOST_VALUES) {
        let name = if value.is_empty() { "(none)" } else { value };
        let text: String = visible(&shown(first, value)).chars().take(LONGEST).collect();
        let _ = writeln!(out, "      {:<24} {text}", visible(name));
    }
}

fn switches(result: &ProbeResult, look: Look, out: &mut String) {
    let outs = opt_outs(result);
    if outs.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", look.paint("1", "switches"));
    for one in outs {
        let requests = one.stopped.iter().filter(|of| is_request(of)).count();
        let _ = writeln!(
            out,
            "  {}={}  stops {} and {} · adds {} · changes {}",
            visible(one.factor),
            visible(one.value),
            plural(requests as u64, "request"),
            plural((one.stopped.len() - requests) as u64, "field"),
            one.added.len(),
            one.changed.len()
        );
        for stopped in one.stopped.iter().take(20) {
            let _ = writeln!(
                out,
                "      no longer: {} {}{}  {}",
                stopped.method,
                visible(&stopped.host),
                visible(&stopped.path),
                visible(&place(stopped))
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_shows_where_and_when() {
        let text = render(&super::super::sample(), Look::default());
        for expected in [
            "40 runs (13 with nothing varied)",
            "tz  shows in 2 places",
            "cov.apostrophe  POST api.example.com/v1/messages  body!json:/system/0/text",
            "only with base_url=gateway (also with lab) · p 0.002 q 0.004 in 13 runs",
            "(U+2019)",
            "each value tells itself · only beside body!json:/sent",
            "no effect seen: user",
            "env:NO_REPORTS=1  stops 1 request and 0 fields",
            "note: a note",
        ] {
            assert!(text.contains(expected), "{expected} is missing from\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }
}

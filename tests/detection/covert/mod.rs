//! Marks hidden in text that a person, a file or a tool brought: the set that is certain whoever wrote the text.

mod clean;
mod marks;

use std::collections::BTreeMap;

use divulge::engine::Finding;

use crate::carrier::{Carrier, Sent};
use crate::encode;
use crate::load::{self, Load};
use crate::machine::Known;
use crate::random::Rng;
use crate::score::{self, Count, Outcome, without_window};
use marks::{MARKS, Marked};

/// `text` in some carrier with up to two encodings around it, and the places at which it stands.
fn send(rng: &mut Rng, text: &str, most: usize) -> (Sent, &'static Carrier, Vec<String>) {
    // Of a kind that no sentence is written about.
    let known = Known { kind: "id.session", value: text.to_owned() };
    loop {
        let carrier = crate::any_carrier(rng);
        let mut encoded = encode::plain(text);
        // Every character of it spelled `\u200b`.
        encoded.escaped = rng.percent(15);
        let wraps = if rng.percent(60) { 0 } else { rng.between(0, most) };
        let load: Load = load::load(rng, &known, &encoded, wraps);
        if !(carrier.takes)(&load) {
            continue;
        }
        let sent = (carrier.carry)(rng, std::slice::from_ref(&load));
        let places = sent.places[0]
            .iter()
            .flat_map(|place| load.inner.iter().map(move |inner| format!("{place}{inner}")))
            .collect();
        return (sent, carrier, places);
    }
}

fn marks_of(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.kind.starts_with("cov."))
}

/// What became of marks.
#[derive(Default)]
pub struct Marks {
    pub all: Count,
    by_mark: BTreeMap<&'static str, Count>,
    by_carrier: BTreeMap<&'static str, Count>,
    misses: Vec<String>,
    /// Findings that name something else than the mark.
    beside: Vec<String>,
}

impl Marks {
    fn add(
        &mut self,
        case: u64,
        name: &'static str,
        carrier: &'static str,
        marked: &Marked,
        places: &[String],
        found: &[Finding],
    ) {
        let is_mark = |finding: &&Finding| *finding.kind == *marked.kind;
        let outcome = marks_of(found)
            .filter(is_mark)
            .map(|finding| match places.contains(&without_window(&finding.location.to_string())) {
                true => Outcome::Placed,
                false => Outcome::Misplaced,
            })
            .max()
            .unwrap_or(Outcome::Missed);
        self.all.add(outcome);
        self.by_mark.entry(name).or_default().add(outcome);
        self.by_carrier.entry(carrier).or_default().add(outcome);
        if outcome != Outcome::Placed {
            let told: Vec<String> = marks_of(found).map(score::told).collect();
            self.misses.push(format!(
                "case {case}: {outcome:?} {name} in {carrier}, {}: {}; expected at {}; found {told:?}",
                marked.mark.escape_unicode(),
                marked.text.escape_debug(),
                places[0]
            ));
        }
        self.beside.extend(
            marks_of(found)
                .filter(|finding| !is_mark(finding))
                .map(|finding| format!("case {case}: {name}: {}", score::told(finding))),
        );
    }

    fn print(&self, listed: usize) {
        for (title, table) in [("mark", &self.by_mark), ("carrier of marks", &self.by_carrier)] {
            println!("\n{title:28} {:>8} {:>8} {:>8} {:>8}", "planted", "found", "placed", "recall");
            for (name, count) in table {
                println!("{name:28} {:8} {:8} {:8} {:8.4}", count.planted, count.found, count.placed, count.recall());
            }
        }
        println!("\nmarks: {} of {} placed, recall {:.4}", self.all.placed, self.all.planted, self.all.recall());
        for (title, list) in [("missed", &self.misses), ("called something else", &self.beside)] {
            println!("{title}: {}", list.len());
            crate::spread(list, listed).for_each(|text| println!("  {text}"));
        }
    }
}

#[test]
fn marks_hidden_in_any_text_are_found() {
    let run = crate::Run::new(4);
    let mut marks = Marks::default();
    let engine = score::engine(&[]);
    for &case in &run.cases {
        let mut rng = Rng::of_case(run.seed ^ 0xc0e7, case);
        let (name, hide) = MARKS[rng.below(MARKS.len())];
        let marked = hide(&mut rng);
        let (sent, carrier, places) = send(&mut rng, &marked.text, 2);
        let found = score::audit(&engine, &sent);
        if run.verbose {
            println!("{}\n", String::from_utf8_lossy(&sent.raw));
        }
        marks.add(case, name, carrier.name, &marked, &places, &found);
    }
    marks.print(crate::setting("DIVULGE_DETECTION_MISSES", 30) as usize);
    if !run.verbose {
        crate::demand(&[
            ("recall of marks, placed", marks.all.recall(), 0.98),
            ("exact place among those found", marks.all.exact(), 0.98),
        ]);
    }
}

#[test]
fn what_scripts_people_and_programs_write_is_no_mark() {
    let run = crate::Run::new(4);
    let engine = score::engine(&[]);
    let mut by_text: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for &case in &run.cases {
        let mut rng = Rng::of_case(run.seed ^ 0xc1ea, case);
        let (name, texts) = clean::CLEAN[rng.below(clean::CLEAN.len())];
        let text = clean::text(&mut rng, texts);
        let (sent, carrier, _) = send(&mut rng, &text, 1);
        let found = score::audit(&engine, &sent);
        let told: Vec<String> = marks_of(&found).map(score::told).collect();
        if run.verbose {
            println!("{}\n", String::from_utf8_lossy(&sent.raw));
        }
        let row = by_text.entry(name).or_default();
        row.0 += 1;
        row.1 += usize::from(!told.is_empty());
        if !told.is_empty() {
            wrong.push(format!("case {case}, {name} in {}: {told:?} in {:.200}", carrier.name, text.escape_debug()));
        }
    }
    println!("\n{:28} {:>8} {:>8}", "clean text", "requests", "wrong");
    for (name, (all, wrong)) in &by_text {
        println!("{name:28} {all:8} {wrong:8}");
    }
    println!("clean texts with a mark found: {} of {}", wrong.len(), run.cases.len());
    crate::spread(&wrong, crate::setting("DIVULGE_DETECTION_MISSES", 30) as usize)
        .for_each(|text| println!("  {text}"));
    let clean = 1.0 - score::share(wrong.len(), run.cases.len());
    crate::demand(&[("clean texts without a mark found", clean, 0.998)]);
}

//! Requests of one client in which the words of the client itself are always the same, and one in which they are not
//! quite: an apostrophe, a space, an order, that only a comparison shows.

mod client;
mod marks;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use divulge::engine::{Engine, Finding, Templates};
use divulge::session::raw::Captured;

use crate::carrier::whole;
use crate::random::Rng;
use crate::score::{self, Count, Outcome, without_window};
use client::{CLIENTS, slots};
use marks::{Expected, MARKS};

/// What a client sends again and again, and what is to be said of one more such request.
pub struct Case {
    pub name: &'static str,
    pub learning: Vec<Vec<u8>>,
    pub marked: Vec<u8>,
    /// The same request without the mark.
    pub plain: Vec<u8>,
    pub expected: Expected,
}

/// The `number`-th case.
pub fn case(rng: &mut Rng) -> Case {
    let client = CLIENTS[rng.below(CLIENTS.len())];
    let count = rng.between(3, 6);
    let draw = |rng: &mut Rng| {
        let slots = slots(rng);
        client(rng, &slots)
    };
    let learning = (0..count).map(|_| draw(rng).raw()).collect();
    loop {
        let mut draft = draw(rng);
        let plain = draft.raw();
        let (name, mark) = MARKS[rng.below(MARKS.len())];
        if let Some(expected) = mark(rng, &mut draft) {
            return Case { name, learning, marked: draft.raw(), plain, expected };
        }
    }
}

/// What a request shows to one who has seen the others. The engine learns, so that one serves all cases.
fn compared(engine: &Arc<Engine>, case: &Case) -> Vec<Finding> {
    engine.set_templates(Arc::default());
    let mut templates = Templates::default();
    for earlier in &case.learning {
        let captured = Captured::read(Bytes::copy_from_slice(earlier)).expect("a generated head is well formed");
        let mut flow = engine.open("earlier".into(), captured.request.clone());
        flow.audit(captured.part());
        templates.learn(flow.close().lesson, 0);
    }
    engine.set_templates(Arc::new(templates));
    let mut findings = score::audit(engine, &whole(case.marked.clone(), Vec::new()));
    findings.retain(|finding| finding.kind.starts_with("cov."));
    findings
}

impl Expected {
    fn is_met_by(&self, finding: &Finding) -> bool {
        self.kinds.iter().any(|kind| *finding.kind == **kind || (kind.ends_with('.') && finding.kind.starts_with(kind)))
    }

    fn is_at(&self, finding: &Finding) -> bool {
        let location = without_window(&finding.location.to_string());
        self.places.iter().any(|place| match place.strip_suffix('*') {
            Some(start) => location.starts_with(start),
            None => location == *place,
        })
    }
}

#[test]
fn a_mark_in_the_clients_own_words_is_seen_beside_its_other_requests() {
    let run = crate::Run::new(24);
    let mut by_mark: BTreeMap<&str, Count> = BTreeMap::new();
    let (mut all, mut clean, mut wrong) = (Count::default(), 0, 0);
    let (mut misses, mut beside) = (Vec::new(), Vec::new());
    let engine = Arc::new(score::bare().with_templates(Arc::default(), true));
    for &number in &run.cases {
        let case = case(&mut Rng::of_case(run.seed ^ 0x4a55, number));
        let found = compared(&engine, &case);
        if run.verbose {
            case.learning.iter().chain([&case.marked]).for_each(|raw| println!("{}\n", String::from_utf8_lossy(raw)));
            println!("expected {:?} at {:?}", case.expected.kinds, case.expected.places);
        }
        let told = || found.iter().map(score::told).collect::<Vec<_>>();
        let others = found.iter().filter(|finding| !case.expected.is_met_by(finding) || !case.expected.is_at(finding));
        if others.clone().next().is_some() {
            beside.push(format!("case {number}, {}: {:?}", case.name, others.map(score::told).collect::<Vec<_>>()));
            wrong += usize::from(case.expected.kinds.is_empty());
        }
        if case.expected.kinds.is_empty() {
            clean += 1;
            continue;
        }
        let named = found.iter().filter(|finding| case.expected.is_met_by(finding));
        let outcome = named
            .map(|finding| if case.expected.is_at(finding) { Outcome::Placed } else { Outcome::Misplaced })
            .max()
            .unwrap_or(Outcome::Missed);
        all.add(outcome);
        by_mark.entry(case.name).or_default().add(outcome);
        if outcome != Outcome::Placed {
            let place = &case.expected.places[0];
            misses.push(format!(
                "case {number}: {outcome:?} {} at {place}: {}; found {:?}",
                case.name,
                case.change(),
                told()
            ));
        }
    }
    println!("\n{:28} {:>8} {:>8} {:>8} {:>8}", "mark in a client's words", "planted", "found", "placed", "recall");
    for (name, count) in &by_mark {
        println!("{name:28} {:8} {:8} {:8} {:8.4}", count.planted, count.found, count.placed, count.recall());
    }
    println!(
        "in all: {} of {}, recall {:.4}; of {clean} requests without a mark {wrong} wrong",
        all.placed,
        all.planted,
        all.recall()
    );
    let listed = crate::setting("DIVULGE_DETECTION_MISSES", 30) as usize;
    for (title, list) in [("missed", &misses), ("found where there is none", &beside)] {
        println!("{title}: {}", list.len());
        crate::spread(list, listed).for_each(|text| println!("  {text}"));
    }
    if !run.verbose {
        let clean = 1.0 - score::share(beside.len(), run.cases.len());
        crate::demand(&[
            ("recall of marks in a client's words", all.recall(), 0.98),
            ("requests without a false mark", clean, 0.998),
        ]);
    }
}

impl Case {
    /// What the mark did, a little of what is around it.
    fn change(&self) -> String {
        let same = self.marked.iter().zip(&self.plain).skip_while(|(a, b)| a == b || a.is_ascii_digit()).count();
        let start = self.marked.len().min(self.plain.len()) - same;
        let window = start.saturating_sub(30)..(start + 30).min(self.marked.len());
        String::from_utf8_lossy(&self.marked[window]).escape_debug().to_string()
    }
}

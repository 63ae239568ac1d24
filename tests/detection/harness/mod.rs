//! Requests of one client in which the words of the client itself are always the same, and one in which they are not
//! quite: an apostrophe, a space, an order, that only a comparison shows.

mod client;
mod fresh;
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
fn compared(engine: &Arc<Engine>, learning: &[Vec<u8>], request: &[u8]) -> Vec<Finding> {
    engine.set_templates(Arc::default());
    let mut templates = Templates::default();
    for earlier in learning {
        let captured = Captured::read(Bytes::copy_from_slice(earlier)).expect("a generated head is well formed");
        let mut flow = engine.open("earlier".into(), captured.request.clone());
        flow.audit(captured.part());
        templates.learn(flow.close().lesson, 0);
    }
    engine.set_templates(Arc::new(templates));
    marks_of(engine, request)
}

fn marks_of(engine: &Arc<Engine>, request: &[u8]) -> Vec<Finding> {
    let mut findings = score::audit(engine, &whole(request.to_vec(), Vec::new()));
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
        let found = compared(&engine, &case.learning, &case.marked);
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

/// Which of the kinds were found, and whether another was.
fn counted(found: &[Finding], kinds: &[&str]) -> Outcome {
    match found.iter().any(|finding| kinds.contains(&&*finding.kind)) {
        true => Outcome::Placed,
        false if found.is_empty() => Outcome::Missed,
        false => Outcome::Misplaced,
    }
}

fn print_marks(title: &str, by_mark: &BTreeMap<&str, Count>, all: &Count) {
    println!("\n{title:28} {:>8} {:>8} {:>8} {:>8}", "planted", "found", "named", "recall");
    for (name, count) in by_mark {
        println!("{name:28} {:8} {:8} {:8} {:8.4}", count.planted, count.found, count.placed, count.recall());
    }
    println!("in all: {} of {}, recall {:.4}", all.placed, all.planted, all.recall());
}

fn print_list(title: &str, list: &[String]) {
    println!("{title}: {}", list.len());
    crate::spread(list, crate::setting("DIVULGE_DETECTION_MISSES", 30) as usize).for_each(|text| println!("  {text}"));
}

/// So many requests of one client on a few machines.
fn population(rng: &mut Rng, draft: &fresh::Draft, count: usize) -> Vec<Vec<u8>> {
    let worlds: Vec<fresh::World> = (0..rng.between(1, 4)).map(|_| fresh::world(rng)).collect();
    (0..count)
        .map(|_| {
            let mut draft = draft.clone();
            draft.said = vec![crate::document::prose(rng)];
            let world = &worlds[rng.below(worlds.len())];
            fresh::request(rng, &draft, world)
        })
        .collect()
}

fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}

#[test]
fn a_mark_in_words_that_nobody_has_seen_before_is_seen() {
    let run = crate::Run::new(24);
    let mut by_mark: BTreeMap<&str, Count> = BTreeMap::new();
    let (mut all, mut misses) = (Count::default(), Vec::new());
    let engine = Arc::new(score::bare().with_templates(Arc::default(), true));
    for &number in &run.cases {
        let mut rng = Rng::of_case(run.seed ^ 0xf2e5, number);
        let (name, mark) = fresh::MARKS[rng.below(fresh::MARKS.len())];
        let (draft, marked, kinds) = loop {
            let draft = fresh::client(&mut rng);
            let mut marked = draft.clone();
            if let Some(kinds) = mark(&mut rng, &mut marked) {
                break (draft, marked, kinds);
            }
        };
        let count = rng.between(6, 12);
        let learning = population(&mut rng, &draft, count);
        let request = population(&mut rng, &marked, 1).remove(0);
        let found = compared(&engine, &learning, &request);
        if run.verbose {
            learning.iter().chain([&request]).for_each(|raw| println!("{}\n", shown(raw)));
        }
        let outcome = counted(&found, kinds);
        all.add(outcome);
        by_mark.entry(name).or_default().add(outcome);
        if outcome != Outcome::Placed {
            misses.push(format!(
                "case {number}: {outcome:?} {name}; found {:?}",
                found.iter().map(score::told).collect::<Vec<_>>()
            ));
        }
    }
    print_marks("mark in fresh words", &by_mark, &all);
    print_list("missed", &misses);
    if !run.verbose {
        // A word for another is told from a setting by a list of words, which cannot hold them all.
        let words = by_mark.remove(fresh::ANY_WORD).unwrap_or_default();
        let mut others = all;
        others.planted -= words.planted;
        others.found -= words.found;
        others.placed -= words.placed;
        crate::demand(&[
            ("recall of marks in fresh words, any word for another aside", others.recall(), 0.98),
            ("recall of any word for another", words.recall(), 0.5),
        ]);
    }
}

#[test]
fn what_people_and_settings_change_is_no_mark() {
    let run = crate::Run::new(12);
    let mut by_change: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let engine = Arc::new(score::bare().with_templates(Arc::default(), true));
    for &number in &run.cases {
        let mut rng = Rng::of_case(run.seed ^ 0xdec0, number);
        let draft = fresh::client(&mut rng);
        let mut world = fresh::world(&mut rng);
        let send = |rng: &mut Rng, draft: &fresh::Draft, world: &fresh::World| {
            let mut draft = draft.clone();
            draft.said.push(crate::document::prose(rng));
            fresh::request(rng, &draft, world)
        };
        // Of one project, or of several.
        let mut others = rng.between(4, 12);
        let mut learning = Vec::new();
        if rng.percent(50) {
            let count = rng.between(1, others);
            others -= count;
            learning = population(&mut rng, &draft, count);
        }
        learning.extend((0..others).map(|_| send(&mut rng, &draft, &world)));
        let (name, change) = fresh::CHANGES[rng.below(fresh::CHANGES.len())];
        let mut changed = draft.clone();
        change(&mut rng, &mut changed, &mut world);
        let request = send(&mut rng, &changed, &world);
        let found = compared(&engine, &learning, &request);
        if run.verbose {
            learning.iter().chain([&request]).for_each(|raw| println!("{}\n", shown(raw)));
        }
        let row = by_change.entry(name).or_default();
        row.0 += 1;
        if !found.is_empty() {
            row.1 += 1;
            let told: Vec<String> = found.iter().map(score::told).collect();
            wrong.push(format!("case {number}, {name}: {told:?}"));
        }
    }
    println!("\n{:32} {:>8} {:>8}", "change", "requests", "wrong");
    for (name, (all, wrong)) in &by_change {
        println!("{name:32} {all:8} {wrong:8}");
    }
    print_list("changes with a mark found", &wrong);
    if !run.verbose {
        let clean = 1.0 - score::share(wrong.len(), run.cases.len());
        crate::demand(&[("changes without a false mark", clean, 0.998)]);
    }
}

#[test]
fn where_half_of_the_requests_carry_a_mark_both_variants_are_told() {
    let run = crate::Run::new(240);
    // A word that half of the requests have may be a setting; of two names either may be first.
    const TOLD: &[&str] = &[
        "apostrophe",
        "space",
        "letter",
        "comma left out",
        "spelling of a word",
        "order of lines",
        "a line left out",
        "order of tools",
    ];
    let mut by_mark: BTreeMap<&str, Count> = BTreeMap::new();
    let (mut all, mut misses) = (Count::default(), Vec::new());
    let teacher = score::bare();
    let teacher = Arc::new(teacher);
    for &number in &run.cases {
        let mut rng = Rng::of_case(run.seed ^ 0x4a1f, number);
        let (name, mark) = loop {
            let (name, mark) = fresh::MARKS[rng.below(fresh::MARKS.len())];
            if TOLD.contains(&name) {
                break (name, mark);
            }
        };
        let (draft, marked, kinds) = loop {
            let draft = fresh::client(&mut rng);
            let mut marked = draft.clone();
            if let Some(kinds) = mark(&mut rng, &mut marked) {
                break (draft, marked, kinds);
            }
        };
        let half = rng.between(3, 8);
        let mut requests = population(&mut rng, &draft, half);
        requests.extend(population(&mut rng, &marked, half));
        let mut templates = Templates::default();
        for raw in &requests {
            let captured = Captured::read(Bytes::copy_from_slice(raw)).expect("a generated head is well formed");
            let unit = divulge::engine::Unit { request: &captured.request, part: captured.part() };
            templates.learn(teacher.lesson(&unit), 0);
        }
        teacher.set_templates(Arc::new(templates.among_themselves()));
        for (at, raw) in requests.iter().enumerate() {
            let found = marks_of(&teacher, raw);
            let outcome = counted(&found, kinds);
            all.add(outcome);
            by_mark.entry(name).or_default().add(outcome);
            if outcome != Outcome::Placed {
                misses.push(format!(
                    "case {number}, request {at} of {}: {outcome:?} {name}; found {:?}",
                    requests.len(),
                    found.iter().map(score::told).collect::<Vec<_>>()
                ));
            }
        }
    }
    print_marks("mark of half of the requests", &by_mark, &all);
    print_list("missed", &misses);
    if !run.verbose {
        crate::demand(&[("recall in populations marked by half", all.recall(), 0.95)]);
    }
}

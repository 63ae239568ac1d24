//! How much of what a made-up client gives away the experiment finds, in how few runs, and whether it finds what is not there.
//!
//! The client's captures are generated, so a run takes no time: only the experiment itself is measured. By default two clients;
//! `DIVULGE_PROBE_SEEDS=10` makes it ten. `process.rs` runs a program.

mod agent;
mod client;
#[cfg(feature = "proxy")]
mod process;
mod random;

use std::collections::BTreeMap;

use agent::Agent;
use client::{Client, Leak, Surroundings};
use divulge::probe::design::{Axis, Condition};
use divulge::probe::experiment::Experiment;
use divulge::probe::factor::Factor;
use divulge::probe::observation::{Texts, observe};
use divulge::probe::result::{Dependency, ProbeResult};
use divulge::probe::verdict::conclude;
use divulge::report::place::pattern;
use divulge::session::flow::Exchange;
use random::Random;

/// Runs that the experiment may take.
const RUNS: usize = 120;

fn factors() -> Vec<Factor> {
    let named = ["tz", "lang", "hostname", "user", "home", "cwd", "shell", "term", "ci", "env:DO_NOT_TRACK=,1"];
    named.iter().map(|name| Factor::parse(name).unwrap()).collect()
}

fn around(factors: &[Factor], condition: &Condition) -> Surroundings {
    let value = |(factor, &level): (&Factor, &u8)| (factor.name.clone(), factor.fresh_value(level, condition.fresh));
    factors.iter().zip(&condition.levels).map(value).collect()
}

/// Runs the whole experiment on generated captures.
fn probe(
    client: impl Fn(&Surroundings, &mut Random) -> Vec<Exchange>,
    factors: Vec<Factor>,
    axis: Axis,
    limit: usize,
    seed: u64,
) -> ProbeResult {
    let mut random = Random::new(seed);
    let mut texts = Texts::default();
    let mut experiment = Experiment::new(factors.clone(), axis, limit);
    loop {
        let wanted = experiment.next();
        if wanted.is_empty() {
            return conclude(&experiment);
        }
        for run in wanted {
            let exchanges = client(&around(&factors, &run.condition), &mut random);
            let observation = observe(&exchanges, &mut texts, |_, _| Vec::new());
            experiment.add(run.condition, run.phase, observation);
        }
    }
}

/// Whether a dependency is the planted one.
fn is_it<S>(found: &Dependency, leak: &Leak<S>) -> bool {
    let gate = |gate: &BTreeMap<String, String>| {
        leak.gate.as_ref().is_some_and(|(factor, value)| {
            gate.get(factor).is_some_and(|open| open == value || found.also_open_with.contains(value))
        })
    };
    found.factor == leak.factor
        && (found.path == leak.path || found.path.starts_with(leak.path))
        && pattern(&found.location) == leak.location
        && leak.kind.is_none_or(|kind| kind == found.kind)
        && found.gate.as_ref().is_none_or(gate)
        && found.gate.is_some() == leak.gate.is_some()
}

#[test]
fn of_a_client_that_is_never_the_same_nothing_is_concluded() {
    let factors = vec![Factor::parse("hostname=a,b").unwrap(), Factor::parse("user=c,d").unwrap()];
    let mut random = Random::new(7);
    let mut texts = Texts::default();
    let mut experiment = Experiment::new(factors, Axis::Pairwise, 40);
    loop {
        let wanted = experiment.next();
        if wanted.is_empty() {
            break;
        }
        for run in wanted {
            let exchanges = [client::chaos(&mut random)];
            experiment.add(run.condition, run.phase, observe(&exchanges, &mut texts, |_, _| Vec::new()));
        }
    }
    let result = conclude(&experiment);
    assert!(result.dependencies.is_empty(), "{:?}", result.dependencies);
    assert!(result.notes.iter().any(|note| note.contains("nothing else can be concluded")), "{:?}", result.notes);
}

fn seeds() -> u64 {
    std::env::var("DIVULGE_PROBE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// What was planted in all, what of it was found, and what was found where nothing was planted.
#[derive(Default)]
struct Score {
    planted: usize,
    found: usize,
    missed: Vec<String>,
    false_ones: Vec<String>,
}

impl Score {
    fn add<S: std::fmt::Debug>(&mut self, seed: u64, result: &ProbeResult, leaks: &[Leak<S>], dead: &[String]) {
        assert!(result.runs <= RUNS, "{} runs", result.runs);
        self.planted += leaks.len();
        for leak in leaks {
            match result.dependencies.iter().any(|dependency| is_it(dependency, leak)) {
                true => self.found += 1,
                false => self.missed.push(format!("seed {seed}: {leak:?}")),
            }
        }
        for dependency in &result.dependencies {
            if dead.contains(&dependency.factor) {
                self.false_ones.push(format!("seed {seed}: {dependency:?}"));
            } else if !leaks
                .iter()
                .any(|leak| leak.factor == dependency.factor && dependency.path.starts_with(leak.path))
            {
                println!("seed {seed}: beside what was planted: {dependency:?}");
            }
            if std::env::var_os("DIVULGE_PROBE_ALL").is_some() {
                let Dependency { factor, gate, path, location, kind, .. } = dependency;
                println!("  {factor} {gate:?} {path} {location} {kind}");
            }
        }
        println!(
            "seed {seed}: {} runs, {} dependencies, {} tested, {} dropped, {} suspected",
            result.runs,
            result.dependencies.len(),
            result.tested,
            result.dropped,
            result.suspected.len()
        );
    }

    fn judge(&self) {
        let Self { planted, found, missed, false_ones } = self;
        println!("{found} of {planted} planted dependences found; on dead factors {}", false_ones.len());
        println!("missed:\n{}", missed.join("\n"));
        assert!(false_ones.is_empty(), "found on dead factors:\n{}", false_ones.join("\n"));
        assert!(found * 10 >= planted * 9, "{found} of {planted} found; missed:\n{}", missed.join("\n"));
    }
}

fn named(factors: &[Factor]) -> Vec<(String, Vec<String>)> {
    factors.iter().map(|factor| (factor.name.clone(), factor.values.clone())).collect()
}

#[test]
fn what_a_client_gives_away_is_found_and_what_it_does_not_is_not() {
    let mut score = Score::default();
    for seed in 1..=seeds() {
        let client = Client::new(seed, &named(&factors()));
        let result = probe(|around, random| client.run(around, random), factors(), Axis::Pairwise, RUNS, seed ^ 0x5eed);
        score.add(seed, &result, &client.leaks, &client.dead);
    }
    score.judge();
}

#[test]
fn a_client_of_other_habits_is_seen_through_as_well() {
    let mut score = Score::default();
    for seed in 1..=seeds() {
        let agent = Agent::new(seed, &named(&factors()));
        let result = probe(|around, random| agent.run(around, random), factors(), Axis::Pairwise, RUNS, seed ^ 0xa6e);
        score.add(seed, &result, &agent.leaks, &agent.dead);
    }
    score.judge();
}

//! From counted suspicions to dependencies: tested, corrected for their number, and told once each.

use std::collections::{BTreeMap, BTreeSet};

use super::design::{Condition, Setting};
use super::evidence::{Evidence, Phase, Suspect, Tried};
use super::experiment::Experiment;
use super::factor::{Factor, Sort};
use super::feature::Feature;
use super::naming::{Form, of_factor, of_feature, of_values};
use super::observation::Aspect;
use super::once::{self, Told};
use super::result::{Coverage, Dependency, Failed, Noise, Place, ProbeResult, RequestSeen, SCHEMA, Tells};
use super::stats::{attainable, benjamini_hochberg, fisher};
use super::table::{ABSENT, Column, Table, Trait};
use super::template;
use crate::report::bill::Generator;
use crate::report::compare::{noise, words};
use crate::report::place::pattern;

/// The rate of false discoveries among what is reported.
pub const RATE: f64 = 0.05;
/// The same among traits of what varies by itself, of which there are hundreds in a batch of reports.
const RATE_OF_NOISE: f64 = 0.01;
/// Characters of a value that is told.
const SHOWN: usize = 200;

/// Everything that the runs so far have shown. What the shell knows (the command, the room, the bill) is left to fill in.
pub fn conclude(experiment: &Experiment) -> ProbeResult {
    let (table, tried) = experiment.table();
    let evidence = Evidence::of(&table, &tried);
    let teller = Teller { experiment, table: &table, tried: &tried, evidence: &evidence };
    let tests = teller.tests();
    let mut told: Vec<(Told, bool)> = Vec::new();
    for test in tests.iter().filter(|test| test.is_confirmed() || test.is_open()) {
        told.extend(teller.tell(test).into_iter().map(|told| (told, test.is_confirmed())));
    }
    let dependencies =
        once::settled(&table, told.iter().filter(|(_, confirmed)| *confirmed).map(|(told, _)| told.clone()).collect());
    let mut suspected =
        once::settled(&table, told.into_iter().filter(|(_, confirmed)| !confirmed).map(|(told, _)| told).collect());
    suspected.retain(|open| {
        let same = |known: &&Dependency| {
            known.factor == open.factor && known.location == open.location && known.path == open.path
        };
        !dependencies.iter().any(|known| same(&known))
    });
    let counted = tests.iter().filter(|test| test.with.of > 0 && test.without.of > 0);
    let tested = counted.clone().count();
    let mut result = ProbeResult {
        schema: SCHEMA,
        r#type: "probe".to_owned(),
        generator: Generator { name: "divulge".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        command: Vec::new(),
        factors: experiment.factors.clone(),
        axis: experiment.axis,
        dependencies,
        suspected,
        noise: teller.noise(),
        constant: teller.constant(),
        runs: experiment.made(),
        base_runs: tried.iter().filter(|(condition, _)| condition.is_base()).count(),
        failed: teller.failed(),
        tested,
        dropped: counted.filter(|test| !test.is_confirmed()).count(),
        coverage: coverage(experiment),
        requests: teller.requests(),
        complete: false,
        notes: Vec::new(),
        bill: None,
        milliseconds: 0,
    };
    result.notes = teller.notes(&result);
    result
}

fn coverage(experiment: &Experiment) -> Coverage {
    let mut coverage = Coverage::default();
    for seen in experiment.runs.iter().flat_map(|run| &run.observation.requests) {
        coverage.bytes_read += seen.bytes_read;
        coverage.bytes_sent += seen.bytes_sent;
    }
    coverage
}

struct Test {
    suspect: Suspect,
    with: super::stats::Share,
    without: super::stats::Share,
    p: f64,
    q: f64,
    /// All runs agree.
    agreed: bool,
    /// It is about what is always the same where nothing is varied.
    sure: bool,
}

/// What all runs together must say at the least, those included that made it suspicious.
const AGREED: f64 = 1e-4;

/// One run in so many may show without its gate what a gated dependence shows: accidents of a noisy place.
const MOST_WITHOUT: u32 = 50;

impl Test {
    /// Run again, and there in nearly all of the runs.
    fn is_confirmed(&self) -> bool {
        self.with.of > 0
            && self.without.of > 0
            && self.q <= if self.sure { RATE } else { RATE_OF_NOISE }
            && self.agreed
            // Where one of both shows without the other, something else is behind it.
            && (self.suspect.gate.is_none() || self.without.hits * MOST_WITHOUT <= self.without.of)
            && self.with.hits * 4 >= self.with.of * 3
    }

    /// Never run again.
    fn is_open(&self) -> bool {
        self.with.of == 0 || self.without.of == 0
    }
}

/// What a value of the factor shows, by the number of the value.
type Seen = (u8, Option<String>);
/// Makes a dependency of a kind, a form, what is seen, what stands before it, and in how many places.
type Naming<'a> = dyn Fn(&str, Form, &[Seen], Option<String>, usize) -> Dependency + 'a;

struct Teller<'a> {
    experiment: &'a Experiment,
    table: &'a Table,
    tried: &'a [Tried],
    evidence: &'a Evidence<'a>,
}

impl Teller<'_> {
    /// For every column and pair of factors the question that was run again, or else the first.
    fn tests(&self) -> Vec<Test> {
        let mut tests: BTreeMap<(usize, usize, Option<usize>), Test> = BTreeMap::new();
        for suspect in Experiment::suspects(self.evidence) {
            // What the first run of those that confirm did not show was an accident: it is not worth a test.
            if self.evidence.came_again(suspect) == Some(false) {
                continue;
            }
            let (with, without) = self.evidence.confirmed(suspect);
            let (screened_with, screened_without) = self.evidence.screened(suspect);
            let p = match with.of == 0 || without.of == 0 {
                true => fisher(screened_with, screened_without),
                false => fisher(with, without),
            };
            let (all_with, all_without) = self.evidence.in_all(suspect);
            let agreed =
                fisher(all_with, all_without) <= AGREED || (all_without.hits == 0 && all_with.hits == all_with.of);
            let sure = self.evidence.is_sure(suspect.column);
            let test = Test { suspect, with, without, p, q: 1.0, agreed, sure };
            let question = (suspect.column, suspect.setting.0, suspect.gate.map(|gate| gate.0));
            let better = tests.get(&question).is_none_or(|known| (test.is_open(), test.p) < (known.is_open(), known.p));
            if better {
                tests.insert(question, test);
            }
        }
        let mut tests: Vec<Test> = tests.into_values().collect();
        let can_show = |test: &Test| attainable(test.with, test.without) <= RATE;
        let again: Vec<usize> = (0..tests.len()).filter(|&at| !tests[at].is_open() && can_show(&tests[at])).collect();
        let p: Vec<f64> = again.iter().map(|&at| tests[at].p).collect();
        for (&at, q) in again.iter().zip(benjamini_hochberg(&p)) {
            tests[at].q = q;
        }
        tests
    }

    fn factor(&self, setting: Setting) -> &Factor {
        &self.experiment.factors[setting.0]
    }

    /// Runs of exactly these settings, the first ones first.
    fn runs_of(&self, settings: &[Setting]) -> Vec<usize> {
        let condition = Condition::with(self.experiment.factors.len(), settings);
        (0..self.tried.len()).filter(|&run| self.tried[run].0 == condition).collect()
    }

    /// By value of the factor, what a column usually shows with it, the gate open.
    fn shown(&self, suspect: Suspect) -> Vec<(u8, Option<Option<usize>>)> {
        let column = &self.table.columns[suspect.column];
        let gate: Vec<Setting> = suspect.gate.into_iter().collect();
        let levels = 0..self.factor(suspect.setting).values.len() as u8;
        let usual = |level: u8| {
            let mut settings = gate.clone();
            if level > 0 {
                settings.push((suspect.setting.0, level));
            }
            settings.sort_unstable();
            let runs = self.runs_of(&settings);
            (!runs.is_empty()).then(|| usual_run(column, &runs))
        };
        levels.map(|level| (level, usual(level))).collect()
    }

    /// Whether every value of the factor shows as something of its own, in all runs with it, or several look the same.
    fn tells(&self, suspect: Suspect) -> Option<Tells> {
        let column = &self.table.columns[suspect.column];
        let value = match column.of {
            Trait::Presence => {
                self.table.columns.iter().find(|other| other.spot == column.spot && other.of == Trait::Whole)?
            }
            _ => column,
        };
        let mut by_level: BTreeMap<u8, BTreeMap<Option<u32>, usize>> = BTreeMap::new();
        for (run, (condition, _)) in self.tried.iter().enumerate() {
            let said = column.cells[run].is_some() && suspect.gate.is_none_or(|gate| condition.has(gate));
            if said && condition.fresh == 0 && !self.evidence.others_show(suspect, condition) {
                let cells = by_level.entry(condition.levels[suspect.setting.0]).or_default();
                *cells.entry(value.cells[run]).or_default() += 1;
            }
        }
        by_level.retain(|_, cells| cells.values().sum::<usize>() >= 2);
        if by_level.len() < 3 {
            return None;
        }
        // One run in ten may be odd: a race, or something else that hides it.
        let usual = |cells: &BTreeMap<Option<u32>, usize>| {
            let all: usize = cells.values().sum();
            cells.iter().find(|(_, count)| **count * 10 >= all * 9).map(|(cell, _)| *cell)
        };
        let usual: Option<BTreeSet<Option<u32>>> = by_level.values().map(usual).collect();
        Some(if usual.is_some_and(|usual| usual.len() == by_level.len()) { Tells::Value } else { Tells::Class })
    }

    /// What is to be told of a test: one dependency, or for a text one for every sort of difference in it.
    fn tell(&self, test: &Test) -> Vec<Told> {
        let suspect = test.suspect;
        let column = &self.table.columns[suspect.column];
        let factor = self.factor(suspect.setting);
        let spot = column.spot.map(|spot| &self.table.spots[spot]);
        let location = spot.map_or("head".to_owned(), |spot| spot.at.to_string());
        // That a request to the base URL names its host says nothing.
        if factor.sort() == Sort::BaseUrl && location == "header:/host" {
            return Vec::new();
        }
        let role = &self.table.roles[column.role];
        let shown = self.shown(suspect);
        let tells = self.tells(suspect);
        let texts: Vec<(u8, Option<String>)> =
            shown.iter().filter_map(|(level, run)| Some((*level, self.text(column, (*run)?)))).collect();
        let dependency =
            |kind: &str, form, values: &[(u8, Option<String>)], before: Option<String>, places| Dependency {
                factor: factor.name.clone(),
                gate: suspect.gate.map(|gate| {
                    let other = self.factor(gate);
                    BTreeMap::from([(other.name.clone(), other.value(gate.1).to_owned())])
                }),
                also_open_with: self.also_open(suspect),
                location: location.clone(),
                host: role.host.clone(),
                method: role.method.clone(),
                path: role.path.clone(),
                kind: kind.to_owned(),
                form,
                values: values
                    .iter()
                    .map(|(level, text)| (factor.value(*level).to_owned(), text.as_deref().map(cut)))
                    .collect(),
                code_points: code_points(factor, values),
                before,
                beside: None,
                places,
                runs: test.with.of + test.without.of,
                p: test.p,
                q: test.q,
                confirmed: test.is_confirmed(),
                fresh: self.evidence.holds_for_fresh(suspect).filter(|_| suspect.gate.is_none()),
                tells,
            };
        let usual = texts.iter().find(|(level, _)| *level == 0).and_then(|(_, text)| text.as_deref());
        let other = texts.iter().find(|(level, _)| *level == suspect.setting.1).and_then(|(_, text)| text.as_deref());
        let value = factor.value(suspect.setting.1);
        let one = |kind, form, rank, before| {
            vec![Told { column: suspect.column, rank, dependency: dependency(kind, form, &texts, before, 1) }]
        };
        match &column.of {
            Trait::Request => one("cov.presence", Form::Presence, 0, None),
            Trait::Presence => {
                let (kind, form) = of_values(factor, value, usual, other);
                one(kind, form, 1, None)
            }
            Trait::Whole => match spot.map_or(Aspect::Value, |spot| spot.aspect) {
                Aspect::Value => self.tell_text(suspect, &texts, &dependency),
                Aspect::HeaderOrder => one("cov.header_order", Form::Spelling, 0, None),
                Aspect::HeaderCase => one("cov.header_case", Form::Spelling, 0, None),
                Aspect::KeyOrder => one("cov.key_order", Form::Spelling, 0, None),
                Aspect::JsonSpace => one("cov.json_ws", Form::Spelling, 0, None),
                Aspect::HeaderSpace => one("cov.space", Form::Spelling, 0, None),
                Aspect::Escapes => one("cov.homoglyph", Form::Spelling, 0, None),
            },
            Trait::Slot { feature: Feature::Exact, before, .. } => {
                let (kind, form) = of_values(factor, value, usual, other);
                one(kind, form, 0, Some(before.clone()))
            }
            Trait::Slot { feature, before, .. } => {
                let (kind, form) = of_feature(factor, *feature, usual, other);
                one(kind, form, 2 + rank(*feature), Some(before.clone()))
            }
            Trait::Beside(along) => {
                let kind = of_factor(factor, "");
                let told =
                    Dependency { beside: Some(along.to_string()), ..dependency(kind, Form::Derived, &texts, None, 1) };
                vec![Told { column: suspect.column, rank: 1, dependency: told }]
            }
            Trait::Trait(feature) => {
                let (kind, form) = of_feature(factor, *feature, usual, other);
                one(kind, form, 2 + rank(*feature), None)
            }
        }
    }

    /// A value that is settled, by what differs in it.
    fn tell_text(&self, suspect: Suspect, texts: &[(u8, Option<String>)], dependency: &Naming<'_>) -> Vec<Told> {
        let factor = self.factor(suspect.setting);
        let value = factor.value(suspect.setting.1);
        let find = |values: &[(u8, Option<String>)], level: u8| {
            values.iter().find(|(of, _)| *of == level).and_then(|(_, text)| text.clone())
        };
        let all: Vec<Option<&str>> = texts.iter().map(|(_, text)| text.as_deref()).collect();
        let long = all.iter().flatten().any(|text| text.len() > 64);
        let slots = if long { template::slots(&all) } else { None };
        let Some(slots) = slots else {
            let (kind, form) =
                of_values(factor, value, find(texts, 0).as_deref(), find(texts, suspect.setting.1).as_deref());
            return vec![Told { column: suspect.column, rank: 0, dependency: dependency(kind, form, texts, None, 1) }];
        };
        let mut by_kind: BTreeMap<(&str, Form), Told> = BTreeMap::new();
        for slot in slots {
            let values: Vec<(u8, Option<String>)> = texts.iter().map(|(level, _)| *level).zip(slot.values).collect();
            let (usual, other) = (find(&values, 0), find(&values, suspect.setting.1));
            if usual == other {
                continue;
            }
            let (kind, form) = of_values(factor, value, usual.as_deref(), other.as_deref());
            by_kind.entry((kind, form)).and_modify(|told| told.dependency.places += 1).or_insert_with(|| Told {
                column: suspect.column,
                rank: 0,
                dependency: dependency(kind, form, &values, Some(slot.before), 1),
            });
        }
        by_kind.into_values().collect()
    }

    /// What a column shows in a run, for a person.
    fn text(&self, column: &Column, run: Option<usize>) -> Option<String> {
        let run = run?;
        let name = column.name(run)?;
        match column.of {
            Trait::Request | Trait::Presence if name == ABSENT => None,
            Trait::Presence => {
                let whole = |other: &&Column| other.spot == column.spot && other.of == Trait::Whole;
                let value = self.table.columns.iter().find(whole).and_then(|other| other.name(run));
                Some(value.or_else(|| self.constant_value(column)).unwrap_or(name).to_owned())
            }
            _ => Some(name.to_owned()),
        }
    }

    /// The value of a place that is always the same where it is there.
    fn constant_value(&self, column: &Column) -> Option<&str> {
        let spot = &self.table.spots[column.spot?];
        let requests = self.experiment.runs.iter().flat_map(|run| &run.observation.requests);
        let mut leaves = requests.flat_map(|seen| &seen.leaves);
        leaves.find(|leaf| leaf.at == spot.at && leaf.aspect == Aspect::Value).map(|leaf| &*leaf.text)
    }

    /// Other values of the gate's factor with which rows of the design show it.
    fn also_open(&self, suspect: Suspect) -> Vec<String> {
        let Some(gate) = suspect.gate else { return Vec::new() };
        let mut open = BTreeSet::new();
        for (run, (condition, _)) in self.tried.iter().enumerate() {
            let level = condition.levels[gate.0];
            if level != gate.1 && condition.has(suspect.setting) && self.evidence.shows_more(suspect.column, run) {
                open.insert(level);
            }
        }
        open.into_iter().map(|level| self.factor(gate).value(level).to_owned()).collect()
    }

    fn place(&self, role: usize, location: String) -> Place {
        let role = &self.table.roles[role];
        Place { host: role.host.clone(), method: role.method.clone(), path: role.path.clone(), location }
    }

    fn noise(&self) -> Vec<Noise> {
        let mut all = BTreeSet::new();
        for (spot, values) in &self.table.noisy {
            let spot = &self.table.spots[*spot];
            let noise = noise::reason(&[values]).name().to_owned();
            all.insert(Noise { place: self.place(spot.role, pattern(&spot.at)), noise });
        }
        for (role, spot) in &self.table.optional {
            let location = spot.map_or("head".to_owned(), |spot| pattern(&self.table.spots[spot].at));
            all.insert(Noise { place: self.place(*role, location), noise: "presence".to_owned() });
        }
        all.into_iter().collect()
    }

    fn constant(&self) -> Vec<Place> {
        let spots = self.table.constant.iter().map(|&spot| &self.table.spots[spot]);
        let values = spots.filter(|spot| spot.aspect == Aspect::Value);
        let places: BTreeSet<Place> = values.map(|spot| self.place(spot.role, pattern(&spot.at))).collect();
        places.into_iter().collect()
    }

    fn failed(&self) -> Vec<Failed> {
        let one = |(condition, _, why): &(Condition, Phase, String)| Failed {
            values: condition
                .settings()
                .map(|setting| (self.factor(setting).name.clone(), self.factor(setting).value(setting.1).to_owned()))
                .collect(),
            why: why.clone(),
        };
        self.experiment.failed.iter().map(one).collect()
    }

    fn requests(&self) -> Vec<RequestSeen> {
        let mut counts: BTreeMap<(&str, &str, &str), (usize, usize)> = BTreeMap::new();
        for run in &self.experiment.runs {
            let made: BTreeSet<(&str, &str, &str)> =
                run.observation.requests.iter().map(|seen| (&*seen.host, &*seen.method, &*seen.template)).collect();
            for request in made {
                let count = counts.entry(request).or_default();
                count.0 += usize::from(run.condition.is_base());
                count.1 += 1;
            }
        }
        let one = |((host, method, path), (base, all)): ((&str, &str, &str), (usize, usize))| RequestSeen {
            host: host.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            base,
            all,
        };
        counts.into_iter().map(one).collect()
    }

    fn notes(&self, result: &ProbeResult) -> Vec<String> {
        let mut notes = Vec::new();
        // Header fields and paths are much the same whatever is sent.
        let content = |spot: &super::table::Spot| {
            spot.aspect == Aspect::Value && ["body", "query", "ws:"].iter().any(|root| spot.at.starts_with(root))
        };
        let all = self.table.spots.iter().filter(|spot| content(spot)).count();
        let noisy = self.table.noisy.iter().filter(|(spot, _)| content(&self.table.spots[*spot])).count();
        if result.requests.is_empty() && result.runs > 0 {
            notes.push("no run made a request: nothing can be concluded".to_owned());
        } else if all >= 4 && noisy * 10 >= all * 9 {
            notes.push(
                "nearly every place varies although nothing was varied: only traits of the values could be looked at, and nothing else can be concluded".to_owned(),
            );
        }
        if !result.suspected.is_empty() {
            notes.push(format!(
                "{} more were seen once and not run again: allow more runs (--runs)",
                result.suspected.len()
            ));
        }
        let left_out = self.experiment.rows_left_out();
        if left_out > 0 {
            notes.push(format!("{left_out} combinations of the design were not tried: allow more runs (--runs)"));
        }
        if !result.failed.is_empty() {
            notes.push(format!("{} runs gave nothing to look at", result.failed.len()));
        }
        notes
    }
}

/// Of runs that should be alike one that shows what most do; none where nothing is there in any.
fn usual_run(column: &Column, runs: &[usize]) -> Option<usize> {
    let mut counts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for &run in runs {
        if let Some(cell) = column.cells[run] {
            counts.entry(cell).or_insert((0, run)).0 += 1;
        }
    }
    counts.into_values().max_by_key(|(count, run)| (*count, std::cmp::Reverse(*run))).map(|(_, run)| run)
}

fn rank(feature: Feature) -> u8 {
    super::feature::OF_NOISE.iter().position(|known| *known == feature).map_or(u8::MAX / 2, |at| at as u8)
}

fn cut(text: &str) -> String {
    let shown = text.replace('\u{1e}', " | ");
    match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// Spells out what looks alike in two of the values.
fn code_points(factor: &Factor, values: &[(u8, Option<String>)]) -> BTreeMap<String, Vec<String>> {
    let mut points = BTreeMap::new();
    let Some((base, Some(usual))) = values.iter().find(|(level, _)| *level == 0) else { return points };
    for (level, text) in values.iter().filter(|(level, _)| level != base) {
        let Some(text) = text.as_ref().filter(|text| *text != usual) else { continue };
        for pair in words::code_points(&words::compare(usual, text)) {
            points.entry(factor.value(*base).to_owned()).or_insert(pair.a);
            points.entry(factor.value(*level).to_owned()).or_insert(pair.b);
        }
    }
    points
}

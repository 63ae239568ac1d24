//! The experiment as it goes: which runs come next, given what the runs so far have shown.
//!
//! ```text
//! base case until nothing new comes -> rows of the design -> suspicious pairs alone -> everything suspicious again -> Verdict
//! ```
//!
//! Pure: it is told what each run sent, and says which to make. The same runs always give the same answers, so an experiment
//! that was broken off goes on where it stood.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::align::Aligning;
use super::design::{Axis, Condition, Setting, rows};
use super::evidence::{Evidence, Phase, Strength, Suspect, Tried};
use super::factor::{Factor, Sort, base_host};
use super::observation::{Observation, Texts};
use super::table::Table;

/// A run that was made.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Run {
    pub condition: Condition,
    pub phase: Phase,
    pub observation: Observation,
}

/// A run that is to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    pub condition: Condition,
    pub phase: Phase,
}

pub struct Experiment {
    pub factors: Vec<Factor>,
    pub axis: Axis,
    /// Most runs.
    pub limit: usize,
    pub runs: Vec<Run>,
    /// Runs that gave nothing to look at, with why: they count, and are not made again.
    pub failed: Vec<(Condition, Phase, String)>,
    texts: Texts,
}

/// Runs of the base case before anything is varied: fewer, and one that is constant by accident is taken for constant.
const FEWEST_BASE: usize = 5;
/// In how many runs in a row nothing new may come.
const QUIET: usize = 3;
/// Runs of the base case, however much still varies: for each factor's value alone there is one more.
const MOST_BASE: usize = 14;
/// Runs that confirm one setting. The first tells accidents from what is worth a test, the others are the test.
const AGAIN: usize = 4;
/// Runs that confirm a setting beside another one that shows something itself, and those of that other one alone.
const AGAIN_GATED: usize = 5;
const AGAIN_BESIDE: usize = 6;
/// Runs of the base case beside those that confirm.
const AGAIN_BASE: usize = 8;
/// Suspicious pairs that are looked into at once: what one shows may answer for others.
const AT_ONCE: usize = 4;

impl Experiment {
    pub fn new(factors: Vec<Factor>, axis: Axis, limit: usize) -> Self {
        Self { factors, axis, limit, runs: Vec::new(), failed: Vec::new(), texts: Texts::default() }
    }

    pub fn add(&mut self, condition: Condition, phase: Phase, observation: Observation) {
        let observation = self.texts.share(observation);
        self.runs.push(Run { condition, phase, observation });
    }

    pub fn fail(&mut self, condition: Condition, phase: Phase, why: String) {
        self.failed.push((condition, phase, why));
    }

    /// All runs made, those that gave nothing too.
    pub fn made(&self) -> usize {
        self.runs.len() + self.failed.len()
    }

    /// Runs in the order in which everything is looked at: whichever came first, the same ones are the same.
    fn ordered(&self) -> Vec<&Run> {
        let rank = |run: &&Run| match run.phase {
            Phase::Base => 0,
            Phase::Screen => 1,
            Phase::Trace => 2,
            Phase::Confirm => 3,
        };
        let mut runs: Vec<&Run> = self.runs.iter().collect();
        runs.sort_by_key(rank);
        runs
    }

    /// Everything so far as a table, and its lines' conditions.
    pub fn table(&self) -> (Table, Vec<Tried>) {
        let runs = self.ordered();
        let hosts: Vec<Option<String>> = runs.iter().map(|run| self.base_host(&run.condition)).collect();
        let aligning: Vec<Aligning<'_>> = runs
            .iter()
            .zip(&hosts)
            .map(|(run, host)| Aligning {
                observation: &run.observation,
                base: run.phase == Phase::Base,
                base_host: host.as_deref(),
            })
            .collect();
        let tried = runs.iter().map(|run| (run.condition.clone(), run.phase)).collect();
        (Table::of(&aligning), tried)
    }

    /// Where a run's base URL leads, where that is not where it leads by default.
    fn base_host(&self, condition: &Condition) -> Option<String> {
        let factor = self.factors.iter().position(|factor| factor.sort() == Sort::BaseUrl)?;
        base_host(self.factors[factor].value(condition.levels[factor]))
    }

    /// The runs to make next, all of which may go side by side; none when the experiment is over.
    pub fn next(&self) -> Vec<Wanted> {
        let left = self.limit.saturating_sub(self.made());
        let mut wanted = self.next_of_all();
        wanted.truncate(left);
        wanted
    }

    fn next_of_all(&self) -> Vec<Wanted> {
        let base = self.count(&Condition::base(self.factors.len()), Phase::Base);
        if !self.base_is_known(base) {
            let more = if base < FEWEST_BASE { FEWEST_BASE - base } else { 2 };
            return vec![self.wanted(&[], Phase::Base); more];
        }
        let screen = self.missing_rows();
        if !screen.is_empty() {
            return screen;
        }
        let (table, tried) = self.table();
        let evidence = Evidence::of(&table, &tried);
        if !self.runs.iter().any(|run| run.phase == Phase::Confirm) {
            let trace = self.next_traces(&evidence);
            if !trace.is_empty() {
                return trace;
            }
        }
        self.next_confirmations(&evidence)
    }

    /// Whether no run is missing, however many were allowed.
    pub fn is_over(&self) -> bool {
        self.next_of_all().is_empty()
    }

    /// What the experiment would take in all, as far as it can be told now.
    pub fn estimate(&self) -> usize {
        let rows = self.rows().len();
        let confirm = AGAIN_BASE + self.factors.len() * (AGAIN + 1);
        let base = self.count(&Condition::base(self.factors.len()), Phase::Base).max(FEWEST_BASE);
        (base + rows + confirm).clamp(self.made(), self.limit.max(self.made()))
    }

    fn wanted(&self, settings: &[Setting], phase: Phase) -> Wanted {
        Wanted { condition: Condition::with(self.factors.len(), settings), phase }
    }

    fn count(&self, condition: &Condition, phase: Phase) -> usize {
        let same = |made: &Condition, why: Phase| made == condition && why == phase;
        self.runs.iter().filter(|run| same(&run.condition, run.phase)).count()
            + self.failed.iter().filter(|(made, why, _)| same(made, *why)).count()
    }

    /// Whether the last runs of the base case have brought nothing that those before had not.
    fn base_is_known(&self, count: usize) -> bool {
        // What came next was begun because it was.
        if self.runs.iter().any(|run| run.phase != Phase::Base) {
            return true;
        }
        if count < FEWEST_BASE.min(self.limit / 3) {
            return false;
        }
        if count >= MOST_BASE.min(self.limit / 4).max(FEWEST_BASE) {
            return true;
        }
        let runs: Vec<&Run> = self.runs.iter().filter(|run| run.phase == Phase::Base).collect();
        let known = |count: usize| {
            let aligning: Vec<Aligning<'_>> = runs[..count]
                .iter()
                .map(|run| Aligning { observation: &run.observation, base: true, base_host: None })
                .collect();
            let table = Table::of(&aligning);
            // A place that varies, or is sometimes missing, counts once however often it does.
            (table.spots.len(), table.noisy.len(), table.optional.len())
        };
        runs.len() > QUIET && known(runs.len()) == known(runs.len() - QUIET)
    }

    /// The rows of the design, as many as leave enough runs to confirm what they show.
    fn rows(&self) -> Vec<Condition> {
        let levels: Vec<usize> = self.factors.iter().map(|factor| factor.values.len()).collect();
        let mut rows = rows(self.axis, &levels);
        let base = self.count(&Condition::base(self.factors.len()), Phase::Base);
        rows.truncate((self.limit * 6 / 10).saturating_sub(base).max(1));
        rows
    }

    fn missing_rows(&self) -> Vec<Wanted> {
        let missing = |row: &Condition| self.count(row, Phase::Screen) == 0;
        let rows = self.rows().into_iter().filter(missing);
        rows.map(|condition| Wanted { condition, phase: Phase::Screen }).collect()
    }

    fn next_traces(&self, evidence: &Evidence<'_>) -> Vec<Wanted> {
        if self.axis == Axis::One || self.factors.len() < 2 {
            return Vec::new();
        }
        let made = self.runs.iter().filter(|run| run.phase == Phase::Trace).count()
            + self.failed.iter().filter(|(_, phase, _)| *phase == Phase::Trace).count();
        let most = (self.limit / 5).max(2);
        if made >= most {
            return Vec::new();
        }
        let questions = evidence.questions((most - made).min(AT_ONCE));
        let new = questions.into_iter().filter(|condition| self.count(condition, Phase::Trace) == 0);
        new.map(|condition| Wanted { condition, phase: Phase::Trace }).collect()
    }

    fn next_confirmations(&self, evidence: &Evidence<'_>) -> Vec<Wanted> {
        let plan = self.confirmations(evidence);
        let mut wanted = Vec::new();
        // In turns, so that what changes with time changes in all of them alike.
        let most = plan.values().copied().max().unwrap_or(0);
        for turn in 1..=most {
            for (condition, &times) in &plan {
                let due = times * turn / most;
                let before = times * (turn - 1) / most;
                let made = self.count(condition, Phase::Confirm);
                wanted.extend(
                    (before.max(made)..due).map(|_| Wanted { condition: condition.clone(), phase: Phase::Confirm }),
                );
            }
        }
        wanted
    }

    /// How often each condition is tried again: what is suspicious, what it is held against, and the same with fresh values.
    /// What explains most comes first; what there are no runs left for is left out.
    fn confirmations(&self, evidence: &Evidence<'_>) -> BTreeMap<Condition, usize> {
        let factors = self.factors.len();
        let before = self.made() - self.runs.iter().filter(|run| run.phase == Phase::Confirm).count();
        let most = self.limit.saturating_sub(before);
        let mut plan: BTreeMap<Condition, usize> = BTreeMap::new();
        let mut add = |wanted: &[(&[Setting], u32, usize)]| {
            let mut with = plan.clone();
            for &(settings, fresh, times) in wanted {
                let condition = Condition { fresh, ..Condition::with(factors, settings) };
                let planned = with.entry(condition).or_default();
                *planned = times.max(*planned);
            }
            if with.values().sum::<usize>() <= most {
                plan = with;
            }
        };
        let questions = questions(evidence);
        for suspect in &questions {
            let Some(gate) = suspect.gate else {
                add(&[(&[], 0, AGAIN_BASE), (&[suspect.setting], 0, AGAIN)]);
                continue;
            };
            let mut both = [gate, suspect.setting];
            both.sort_unstable();
            match evidence.gate_shows(*suspect) {
                true => add(&[(&both, 0, AGAIN_GATED), (&[gate], 0, AGAIN_BESIDE)]),
                false => add(&[(&[], 0, AGAIN_BASE), (&both, 0, AGAIN), (&[gate], 0, 2)]),
            }
        }
        for suspect in
            questions.iter().filter(|suspect| suspect.gate.is_none() && self.factors[suspect.setting.0].is_open())
        {
            add(&[(&[suspect.setting], 1, 1)]);
        }
        plan
    }

    /// What is suspected after all runs, and the evidence for it.
    pub fn suspects(evidence: &Evidence<'_>) -> Vec<Suspect> {
        let mut suspects = evidence.singles();
        suspects.extend(evidence.gated());
        suspects
    }
}

/// What is to be run again, that first for which most speaks.
fn questions(evidence: &Evidence<'_>) -> Vec<Suspect> {
    let of = |suspects: Vec<Suspect>, strength: Strength| -> Vec<Suspect> {
        let fit: Vec<Suspect> =
            suspects.iter().copied().filter(|suspect| evidence.strength(*suspect) == strength).collect();
        chosen(&fit)
    };
    let (singles, gated) = (evidence.singles(), evidence.gated());
    let mut questions = of(singles.clone(), Strength::Strong);
    questions.extend(of(gated.clone(), Strength::Strong));
    // What is known for sure of a value and a column needs no weaker question.
    let asked = |suspects: Vec<Suspect>, questions: &[Suspect]| -> Vec<Suspect> {
        let same = |a: &Suspect, b: &Suspect| (a.setting, a.gate) == (b.setting, b.gate);
        suspects.into_iter().filter(|suspect| !questions.iter().any(|known| same(known, suspect))).collect()
    };
    let weak: Vec<Suspect> = [of(singles, Strength::Weak), of(gated, Strength::Weak)].concat();
    let weak = asked(weak, &questions);
    questions.extend(weak);
    questions
}

/// Of suspects enough to have every column once for each pair of factors: those first that have most columns.
fn chosen(suspects: &[Suspect]) -> Vec<Suspect> {
    type Question = (Setting, Option<Setting>);
    let mut by_question: BTreeMap<Question, BTreeSet<usize>> = BTreeMap::new();
    for suspect in suspects {
        by_question.entry((suspect.setting, suspect.gate)).or_default().insert(suspect.column);
    }
    let factors = |question: &Question| (question.0.0, question.1.map(|gate| gate.0));
    let mut told: HashMap<(usize, Option<usize>), BTreeSet<usize>> = HashMap::new();
    let mut chosen = Vec::new();
    loop {
        let new = |(question, columns): (&Question, &BTreeSet<usize>)| {
            let known = told.get(&factors(question));
            let new = columns.iter().filter(|column| known.is_none_or(|known| !known.contains(column))).count();
            (new, std::cmp::Reverse(*question))
        };
        let Some((1.., std::cmp::Reverse(question))) = by_question.iter().map(new).max() else { return chosen };
        let columns = by_question.remove(&question).unwrap_or_default();
        if let Some(&column) = columns.iter().next() {
            chosen.push(Suspect { column, setting: question.0, gate: question.1 });
        }
        told.entry(factors(&question)).or_default().extend(columns);
    }
}

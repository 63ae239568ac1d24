//! The experiment as it goes: which runs come next, given what the runs so far have shown.
//!
//! ```text
//! base case until nothing new comes -> rows of the design -> suspicious pairs alone -> everything suspicious again -> Verdict
//! ```
//!
//! Pure: it is told what each run sent, and says which to make. The same runs always give the same answers, so an experiment
//! that was broken off goes on where it stood.

use serde::{Deserialize, Serialize};

use super::align::Aligning;
use super::confirm;
use super::design::{Axis, Condition, Setting, rows};
use super::evidence::{Evidence, Phase, Suspect, Tried};
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
        let facts: Vec<Vec<String>> = runs.iter().map(|run| self.facts(&run.condition)).collect();
        let aligning: Vec<Aligning<'_>> = runs
            .iter()
            .zip(hosts.iter().zip(&facts))
            .map(|(run, (host, facts))| Aligning {
                observation: &run.observation,
                base: run.phase == Phase::Base,
                base_host: host.as_deref(),
                facts,
            })
            .collect();
        let tried = runs.iter().map(|run| (run.condition.clone(), run.phase)).collect();
        (Table::of(&aligning), tried)
    }

    /// The values of the factors in a run.
    fn facts(&self, condition: &Condition) -> Vec<String> {
        let value = |(factor, &level): (&Factor, &u8)| factor.fresh_value(level, condition.fresh);
        self.factors.iter().zip(&condition.levels).map(value).collect()
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

    /// Whether it has come to its end: nothing is missing, and if anything was suspicious, runs were left to look again.
    pub fn is_over(&self) -> bool {
        if !self.next_of_all().is_empty() {
            return false;
        }
        let (table, tried) = self.table();
        self.runs.iter().any(|run| run.phase == Phase::Confirm)
            || confirm::questions(&Evidence::of(&table, &tried)).is_empty()
    }

    /// Rows of the design that there were no runs for.
    pub fn rows_left_out(&self) -> usize {
        let levels: Vec<usize> = self.factors.iter().map(|factor| factor.values.len()).collect();
        rows(self.axis, &levels).len() - self.rows().len()
    }

    /// What the experiment would take in all, as far as it can be told now.
    pub fn estimate(&self) -> usize {
        let rows = self.rows().len();
        let confirm = confirm::USUAL + self.factors.len() * 3 / 2;
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
                .map(|run| Aligning { observation: &run.observation, base: true, base_host: None, facts: &[] })
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
        let left = self.limit.saturating_sub(self.made());
        let open = |factor: usize| self.factors[factor].is_open();
        let made = |condition: &Condition| self.count(condition, Phase::Confirm);
        let runs = confirm::plan(evidence, self.factors.len(), open, left, made);
        runs.into_iter().map(|condition| Wanted { condition, phase: Phase::Confirm }).collect()
    }

    /// What is suspected after all runs, and the evidence for it.
    pub fn suspects(evidence: &Evidence<'_>) -> Vec<Suspect> {
        let mut suspects = evidence.singles();
        suspects.extend(evidence.gated());
        suspects
    }
}

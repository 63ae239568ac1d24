//! What the runs so far say: which columns leave the base case, and which settings that goes with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::design::{Condition, Setting};
use super::feature::Feature;
use super::stats::{Share, fisher};
use super::table::{Column, Table, Trait};

/// Why a run was made.
#[derive(Clone, Copy, Debug, serde::Deserialize, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nothing varied: what varies all the same is noise.
    Base,
    /// A row of the design.
    Screen,
    /// Two settings that a row of the design made suspicious, alone.
    Trace,
    /// Again, to be counted.
    Confirm,
}

/// A condition and why it was tried.
pub type Tried = (Condition, Phase);

/// A column that may depend on a setting, alone or while another one holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Suspect {
    pub column: usize,
    pub setting: Setting,
    pub gate: Option<Setting>,
}

/// How much speaks for a suspect before it is run again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strength {
    Strong,
    Weak,
    None,
}

/// Fisher's test on the runs that made something suspicious: no proof, they were chosen for it, but what is beyond is not
/// worth a run.
const STRONG: f64 = 1e-3;
const WEAK: f64 = 0.02;
/// One in so many columns that show a setting, or are hidden by it, is enough to keep it away from a question about them.
const AVOIDED: usize = 5;
/// Of fewer runs nothing more can be asked than that they agree.
const FEW: u32 = 19;

/// By two settings, the odd runs that have both.
type RunsByPair = BTreeMap<(Setting, Setting), BTreeSet<usize>>;

/// Runs, as bits, in which a column shows nothing that one setting alone does not: nothing at all, or what the one shows
/// that is known to show something.
struct Quiet {
    usual: Vec<u64>,
    usual_for_known: Vec<u64>,
}

/// The table, run by run against the base case.
pub struct Evidence<'a> {
    pub table: &'a Table,
    tried: &'a [Tried],
    /// By column: whether each run has what the base case never has. None where nothing can be said.
    strays: Vec<Option<Vec<Option<bool>>>>,
    /// By column: settings that let it stray alone.
    alone: Vec<BTreeSet<Setting>>,
    /// By column: which voice it is, and how much it counts. What is in many elements of a list speaks once.
    voices: Vec<(usize, usize)>,
    /// Runs of exactly these settings, those that confirm aside.
    clean: HashMap<Vec<Setting>, Vec<usize>>,
    /// By setting, the runs that have it, as bits.
    holding: HashMap<Setting, Vec<u64>>,
}

impl<'a> Evidence<'a> {
    pub fn of(table: &'a Table, tried: &'a [Tried]) -> Self {
        let base: Vec<bool> = tried.iter().map(|(_, phase)| *phase == Phase::Base).collect();
        let strays = table.columns.iter().map(|column| strays(column, &base)).collect();
        let mut clean: HashMap<Vec<Setting>, Vec<usize>> = HashMap::new();
        let mut holding: HashMap<Setting, Vec<u64>> = HashMap::new();
        for (run, (condition, phase)) in tried.iter().enumerate() {
            for setting in condition.settings() {
                let bits = holding.entry(setting).or_insert_with(|| vec![0; tried.len().div_ceil(64)]);
                bits[run / 64] |= 1 << (run % 64);
            }
            if *phase != Phase::Confirm {
                clean.entry(condition.settings().collect()).or_default().push(run);
            }
        }
        let alone = vec![BTreeSet::new(); table.columns.len()];
        let voices = voices(table, &base);
        let mut evidence = Self { table, tried, strays, alone, voices, clean, holding };
        evidence.alone = (0..table.columns.len()).map(|column| evidence.strays_alone(column)).collect();
        evidence
    }

    fn strays_alone(&self, column: usize) -> BTreeSet<Setting> {
        let single = |(settings, runs): (&Vec<Setting>, &Vec<usize>)| match settings[..] {
            [setting] if runs.iter().any(|&run| self.strays(column, run) == Some(true)) => Some(setting),
            _ => None,
        };
        self.clean.iter().filter_map(single).collect()
    }

    pub fn strays(&self, column: usize, run: usize) -> Option<bool> {
        self.strays[column].as_ref()?[run]
    }

    fn clean(&self, settings: &[Setting]) -> &[usize] {
        self.clean.get(settings).map_or(&[], Vec::as_slice)
    }

    /// Columns that stray with one setting alone, as far as the runs that vary more besides agree.
    pub fn singles(&self) -> Vec<Suspect> {
        let columns = (0..self.table.columns.len())
            .flat_map(|column| self.alone[column].iter().map(move |&setting| Suspect { column, setting, gate: None }));
        columns.filter(|&suspect| self.strength(suspect) != Strength::None).collect()
    }

    /// How much the runs that do not confirm say for a suspect.
    pub fn strength(&self, suspect: Suspect) -> Strength {
        let (with, without) = self.screened(suspect);
        let p = fisher(with, without);
        if p <= STRONG || (without.of < FEW && without.hits == 0 && with.hits == with.of) {
            Strength::Strong
        } else if p <= WEAK || without.hits == 0 {
            // What other settings hide shows in few of the runs, but never without.
            Strength::Weak
        } else {
            Strength::None
        }
    }

    /// How often the column strays with and without the setting in all runs but those that confirm, those left out in
    /// which something else lets it stray. With a gate, what counts is what neither of both shows alone.
    pub fn screened(&self, suspect: Suspect) -> (Share, Share) {
        self.among(suspect, |phase| phase != Phase::Confirm)
    }

    /// The same in all runs.
    pub fn in_all(&self, suspect: Suspect) -> (Share, Share) {
        self.among(suspect, |_| true)
    }

    fn among(&self, suspect: Suspect, wanted: impl Fn(Phase) -> bool) -> (Share, Share) {
        let (mut with, mut without) = (Share::default(), Share::default());
        for (_, has, strays) in self.counting(suspect, wanted) {
            if has { with.add(strays) } else { without.add(strays) }
        }
        (with, without)
    }

    /// The runs that say something about a suspect: whether each has its settings, and whether it strays. Left out is where
    /// something else lets it stray.
    fn counting(&self, suspect: Suspect, wanted: impl Fn(Phase) -> bool) -> impl Iterator<Item = (usize, bool, bool)> {
        let column = suspect.column;
        self.tried.iter().enumerate().filter_map(move |(run, (condition, phase))| {
            let strays = self.strays(column, run).filter(|_| wanted(*phase) && condition.fresh == 0)?;
            match suspect.gate {
                None => {
                    let other =
                        |(factor, level)| factor != suspect.setting.0 && self.alone[column].contains(&(factor, level));
                    let (has, lacks) = (condition.has(suspect.setting), condition.levels[suspect.setting.0] == 0);
                    (!condition.settings().any(other) && (has || lacks)).then_some((run, has, strays))
                }
                Some(gate) => {
                    let odd = self.unexplained(column, run).is_some();
                    let has = condition.has(suspect.setting) && condition.has(gate);
                    let lacks = condition.levels[suspect.setting.0] == 0 || condition.levels[gate.0] == 0;
                    (has || lacks).then_some((run, has, odd))
                }
            }
        })
    }

    /// Whether a run of several settings shows in `column` what none of them shows alone; and the one that shows something
    /// else there, if any does.
    fn unexplained(&self, column: usize, run: usize) -> Option<Option<Setting>> {
        if self.strays(column, run) != Some(true) {
            return None;
        }
        let known: Vec<Setting> =
            self.tried[run].0.settings().filter(|setting| self.alone[column].contains(setting)).collect();
        match known[..] {
            [] => Some(None),
            [one] => {
                let cells = &self.table.columns[column].cells;
                let seen = self.clean(&[one]).iter().any(|&other| cells[other] == cells[run]);
                (!seen).then_some(Some(one))
            }
            _ => None,
        }
    }

    /// Whether a run shows in `column` what none of its settings shows alone.
    pub fn shows_more(&self, column: usize, run: usize) -> bool {
        self.unexplained(column, run).is_some()
    }

    /// Two settings that let a column stray together and not alone, as runs of nothing else show.
    pub fn gated(&self) -> Vec<Suspect> {
        let mut suspects = Vec::new();
        for (settings, runs) in &self.clean {
            let [a, b] = settings[..] else { continue };
            for column in 0..self.table.columns.len() {
                for &run in runs {
                    let Some(known) = self.unexplained(column, run) else { continue };
                    // Where one of them shows something alone, the other one matters only beside it.
                    let ways = match known {
                        Some(gate) if gate == a => vec![(b, a)],
                        Some(_) => vec![(a, b)],
                        None => vec![(a, b), (b, a)],
                    };
                    let suspect = |(setting, gate)| Suspect { column, setting, gate: Some(gate) };
                    suspects.extend(ways.into_iter().map(suspect));
                }
            }
        }
        suspects.sort_unstable();
        suspects.dedup();
        suspects.retain(|&suspect| self.strength(suspect) != Strength::None);
        suspects
    }

    /// The conditions that would tell most about what the design's rows show and no setting alone does, `most` of them:
    /// such a row again, part of its settings, at last two settings alone.
    pub fn questions(&self, most: usize) -> Vec<Condition> {
        let mut votes: BTreeMap<Condition, BTreeSet<usize>> = BTreeMap::new();
        for number in (0..self.table.columns.len()).filter(|&at| self.strays[at].is_some()) {
            if let Some(question) = self.question(number) {
                votes.entry(question).or_default().insert(number);
            }
        }
        let mut questions: Vec<(Condition, usize)> =
            votes.into_iter().map(|(condition, columns)| (condition, self.weight(columns.iter()))).collect();
        questions.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        questions.into_iter().take(most).map(|(condition, _)| condition).collect()
    }

    /// What to try to learn which two settings are behind what one column shows.
    fn question(&self, column: usize) -> Option<Condition> {
        // What strays with most settings alone strays by itself, or with everything.
        let singles = self.clean.keys().filter(|settings| settings.len() == 1).count();
        if self.alone[column].len() * 2 > singles.max(2) {
            return None;
        }
        let mut odd: Vec<(usize, Option<Setting>)> = Vec::new();
        for (run, (condition, phase)) in self.tried.iter().enumerate() {
            if matches!(phase, Phase::Screen | Phase::Trace)
                && condition.settings().count() > 1
                && let Some(known) = self.unexplained(column, run)
            {
                odd.push((run, known));
            }
        }
        let quiet = self.quiet(column);
        let pairs = self.explanations(&quiet, &odd);
        let factors = self.tried.first()?.0.levels.len();
        let tried_as = |condition: &Condition| {
            self.tried.iter().filter(|(tried, phase)| tried == condition && *phase != Phase::Confirm).count()
        };
        if let [(a, b)] = pairs[..] {
            let both = Condition::with(factors, &[a, b]);
            return (tried_as(&both) == 0).then_some(both);
        }
        // The row with the fewest settings in which all that is left could be.
        let row = odd.iter().map(|(run, _)| &self.tried[*run].0).min_by_key(|row| row.settings().count())?;
        let inside =
            |settings: &[Setting], pair: &(Setting, Setting)| settings.contains(&pair.0) && settings.contains(&pair.1);
        let mut settings: Vec<Setting> = row.settings().collect();
        let left = |settings: &[Setting]| pairs.iter().filter(|pair| inside(settings, pair)).count();
        if left(&settings) == 0 {
            return None;
        }
        // What came once may be an accident: does it come again?
        if odd.len() == 1 {
            return (tried_as(row) == 1).then(|| row.clone());
        }
        let half = left(&settings).div_ceil(2);
        while left(&settings) > half && settings.len() > 2 {
            let without = |at: usize| {
                let mut rest = settings.clone();
                rest.remove(at);
                rest
            };
            let best = (0..settings.len()).max_by_key(|&at| {
                let rest = left(&without(at));
                // As near to the half as may be, and not below it.
                if rest >= half { usize::MAX - rest } else { rest }
            })?;
            settings = without(best);
        }
        let part = Condition::with(factors, &settings);
        (tried_as(&part) == 0).then_some(part)
    }

    /// Runs that have a setting, as bits.
    fn runs_with(&self, setting: Setting) -> impl Iterator<Item = u64> + '_ {
        self.holding.get(&setting).into_iter().flatten().copied()
    }

    fn quiet(&self, column: usize) -> Quiet {
        let words = self.tried.len().div_ceil(64);
        let mut quiet = Quiet { usual: vec![0; words], usual_for_known: vec![0; words] };
        for run in 0..self.tried.len() {
            match self.strays(column, run) {
                Some(false) => quiet.usual[run / 64] |= 1 << (run % 64),
                Some(true) if self.unexplained(column, run).is_none() => {
                    quiet.usual_for_known[run / 64] |= 1 << (run % 64);
                }
                _ => {}
            }
        }
        quiet
    }

    /// Pairs of settings that would explain what the odd runs of one column show: those that are in most of them, and in none
    /// that shows nothing.
    fn explanations(&self, quiet: &Quiet, odd: &[(usize, Option<Setting>)]) -> Vec<(Setting, Setting)> {
        let mut by_factors: BTreeMap<(usize, usize), RunsByPair> = BTreeMap::new();
        for &(run, known) in odd {
            let settings: Vec<Setting> = self.tried[run].0.settings().collect();
            for (at, &a) in settings.iter().enumerate() {
                for &b in &settings[at + 1..] {
                    let nothing = if known.is_some() { &quiet.usual_for_known } else { &quiet.usual };
                    let both = self.runs_with(a).zip(self.runs_with(b));
                    let contradicted = both.zip(nothing).any(|((a, b), nothing)| a & b & nothing != 0);
                    if known.is_none_or(|known| known == a || known == b) && !contradicted {
                        by_factors.entry((a.0, b.0)).or_default().entry((a, b)).or_default().insert(run);
                    }
                }
            }
        }
        // Several values may open one gate: what counts is how many runs the two factors explain.
        let hits = |pairs: &BTreeMap<(Setting, Setting), BTreeSet<usize>>| {
            pairs.values().flatten().collect::<BTreeSet<_>>().len()
        };
        let best = by_factors.values().map(hits).max().unwrap_or(0);
        let likeliest = by_factors.into_values().filter(|pairs| hits(pairs) == best);
        // Of the values of two factors those that explain most.
        likeliest
            .filter_map(|pairs| {
                pairs
                    .into_iter()
                    .max_by_key(|(pair, runs)| (runs.len(), std::cmp::Reverse(*pair)))
                    .map(|(pair, _)| pair)
            })
            .collect()
    }

    /// How often the column strays, of the runs that confirm, with the suspect's settings and without the one in question. The
    /// first one with them is left out: it says whether it came again at all.
    pub fn confirmed(&self, suspect: Suspect) -> (Share, Share) {
        let (mut with, mut without) = (Share::default(), Share::default());
        let mut first = true;
        for (_, has, strays) in self.counting(suspect, |phase| phase == Phase::Confirm) {
            match has {
                true if std::mem::take(&mut first) => {}
                true => with.add(strays),
                false => without.add(strays),
            }
        }
        (with, without)
    }

    /// Whether the first run that confirms shows it again; that run is no part of the test then. None where there is none.
    pub fn came_again(&self, suspect: Suspect) -> Option<bool> {
        let mut runs = self.counting(suspect, |phase| phase == Phase::Confirm);
        runs.find(|(_, has, _)| *has).map(|(_, _, strays)| strays)
    }

    /// Whether a column is about what is always the same in the base case.
    pub fn is_sure(&self, column: usize) -> bool {
        self.voices[column].1 == SURE
    }

    /// How much columns say together: each voice once, by the surest of them.
    pub fn weight<'c>(&self, columns: impl Iterator<Item = &'c usize>) -> usize {
        let mut heard: BTreeMap<usize, usize> = BTreeMap::new();
        for &column in columns {
            let (voice, weight) = self.voices[column];
            let known = heard.entry(voice).or_default();
            *known = weight.max(*known);
        }
        heard.values().sum()
    }

    /// Settings of other factors that show something in many of `columns` as well, or hide them.
    pub fn avoided(&self, settings: &[Setting], columns: &BTreeSet<usize>) -> BTreeSet<Setting> {
        let mut met: BTreeMap<Setting, BTreeSet<usize>> = BTreeMap::new();
        for &column in columns {
            let cells = &self.table.columns[column].cells;
            let mut here: BTreeSet<Setting> = self.alone[column].clone();
            for (tried, runs) in &self.clean {
                match tried[..] {
                    [one] if runs.iter().all(|&run| cells[run].is_none()) => _ = here.insert(one),
                    [a, b] if runs.iter().any(|&run| self.unexplained(column, run).is_some()) => here.extend([a, b]),
                    _ => {}
                }
            }
            here.into_iter().for_each(|setting| _ = met.entry(setting).or_default().insert(column));
        }
        let all = self.weight(columns.iter());
        let own = |setting: &Setting| settings.iter().any(|(factor, _)| *factor == setting.0);
        met.retain(|setting, columns| self.weight(columns.iter()) * AVOIDED >= all && !own(setting));
        met.into_keys().collect()
    }

    /// How often settings were run again without any that are avoided, and how often in all.
    pub fn tried_again(&self, settings: &[Setting], avoided: &BTreeSet<Setting>, fresh: bool) -> (usize, usize) {
        let (mut alone, mut all) = (0, 0);
        for (condition, _) in self.tried.iter().filter(|(_, phase)| *phase == Phase::Confirm) {
            if (condition.fresh > 0) == fresh && settings.iter().all(|&setting| condition.has(setting)) {
                all += 1;
                alone += usize::from(!condition.settings().any(|setting| avoided.contains(&setting)));
            }
        }
        (alone, all)
    }

    /// Whether a condition has a setting of another factor that lets the suspect's column stray by itself.
    pub fn others_show(&self, suspect: Suspect, condition: &Condition) -> bool {
        let gate = suspect.gate.map(|gate| gate.0);
        let other = |setting: &Setting| setting.0 != suspect.setting.0 && Some(setting.0) != gate;
        condition.settings().filter(other).any(|setting| self.alone[suspect.column].contains(&setting))
    }

    /// Whether the gate lets the column stray by itself.
    pub fn gate_shows(&self, suspect: Suspect) -> bool {
        suspect.gate.is_some_and(|gate| self.alone[suspect.column].contains(&gate))
    }

    /// Whether values of the factor that were invented for the purpose let the column stray too. None where none were.
    pub fn holds_for_fresh(&self, suspect: Suspect) -> Option<bool> {
        let with = |condition: &Condition| condition.has(suspect.setting) && condition.fresh > 0;
        let runs = (0..self.tried.len()).filter(|&run| with(&self.tried[run].0));
        let seen: Vec<bool> = runs.filter_map(|run| self.strays(suspect.column, run)).collect();
        (!seen.is_empty()).then(|| seen.iter().all(|&strays| strays))
    }
}

/// What is always the same in the base case, and what is drawn anew but for a trait.
const SURE: usize = 8;
const UNSURE: usize = 1;

fn voices(table: &Table, base: &[bool]) -> Vec<(usize, usize)> {
    let mut known: HashMap<(usize, String), usize> = HashMap::new();
    let mut voice = |column: &Column| {
        let place = column.spot.map_or(String::new(), |spot| {
            let spot = &table.spots[spot];
            format!("{:?} {}", spot.aspect, crate::report::place::pattern(&spot.at))
        });
        let next = known.len();
        let voice = *known.entry((column.role, place)).or_insert(next);
        let whole = match &column.of {
            Trait::Slot { feature, .. } => *feature == Feature::Exact,
            Trait::Trait(_) => false,
            Trait::Request | Trait::Presence | Trait::Whole | Trait::Beside(_) => true,
        };
        (voice, if whole && !column.varies_where(base) { SURE } else { UNSURE })
    };
    table.columns.iter().map(&mut voice).collect()
}

fn strays(column: &Column, base: &[bool]) -> Option<Vec<Option<bool>>> {
    if !column.settled(base) {
        return None;
    }
    let usual: BTreeSet<u32> =
        column.cells.iter().zip(base).filter(|(_, base)| **base).filter_map(|(cell, _)| *cell).collect();
    Some(column.cells.iter().map(|cell| cell.map(|cell| !usual.contains(&cell))).collect())
}

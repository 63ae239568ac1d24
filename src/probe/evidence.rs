//! What the runs so far say: which columns leave the base case, and which settings that goes with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::design::{Condition, Setting};
use super::stats::{Share, fisher};
use super::table::{Column, Table};

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

/// The table, run by run against the base case.
pub struct Evidence<'a> {
    pub table: &'a Table,
    tried: &'a [Tried],
    /// By column: whether each run has what the base case never has. None where nothing can be said.
    strays: Vec<Option<Vec<Option<bool>>>>,
    /// By column: settings that let it stray alone.
    alone: Vec<BTreeSet<Setting>>,
    /// Runs of exactly these settings, those that confirm aside.
    clean: HashMap<Vec<Setting>, Vec<usize>>,
}

impl<'a> Evidence<'a> {
    pub fn of(table: &'a Table, tried: &'a [Tried]) -> Self {
        let base: Vec<bool> = tried.iter().map(|(_, phase)| *phase == Phase::Base).collect();
        let strays = table.columns.iter().map(|column| strays(column, &base)).collect();
        let mut clean: HashMap<Vec<Setting>, Vec<usize>> = HashMap::new();
        for (run, (condition, phase)) in tried.iter().enumerate() {
            if *phase != Phase::Confirm {
                clean.entry(condition.settings().collect()).or_default().push(run);
            }
        }
        let mut evidence = Self { table, tried, strays, alone: vec![BTreeSet::new(); table.columns.len()], clean };
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
        let mut suspects = Vec::new();
        for column in 0..self.table.columns.len() {
            for &setting in &self.alone[column] {
                let suspect = Suspect { column, setting, gate: None };
                let (with, without) = self.screened(suspect);
                // Of few runs nothing more can be asked than that they agree.
                if fisher(with, without) <= 0.05 || (without.of < 19 && without.hits == 0 && with.hits == with.of) {
                    suspects.push(suspect);
                }
            }
        }
        suspects
    }

    /// How often the column strays with and without the setting in all runs but those that confirm, those left out in
    /// which something else lets it stray.
    pub fn screened(&self, suspect: Suspect) -> (Share, Share) {
        let (mut with, mut without) = (Share::default(), Share::default());
        let column = suspect.column;
        for (run, (condition, phase)) in self.tried.iter().enumerate() {
            let Some(strays) = self.strays(column, run).filter(|_| *phase != Phase::Confirm) else { continue };
            let other = condition.settings().any(|(factor, level)| {
                factor != suspect.setting.0 && self.alone[column].contains(&(factor, level))
            });
            if other && suspect.gate.is_none() {
                continue;
            }
            let holds = condition.has(suspect.setting) && suspect.gate.is_none_or(|gate| condition.has(gate));
            if holds {
                // What closes a gate hides the effect; that it is there alone is known.
                if suspect.gate.is_some() || strays || condition.settings().count() == 1 {
                    with.add(strays);
                }
            } else if condition.levels[suspect.setting.0] == 0 || suspect.gate.is_some_and(|gate| !condition.has(gate)) {
                without.add(strays);
            }
        }
        (with, without)
    }

    /// Whether a run of several settings shows in `column` what none of them shows alone; and the one that shows something
    /// else there, if any does.
    fn unexplained(&self, column: usize, run: usize) -> Option<Option<Setting>> {
        if self.strays(column, run) != Some(true) {
            return None;
        }
        let known: Vec<Setting> = self.tried[run].0.settings().filter(|setting| self.alone[column].contains(setting)).collect();
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
        suspects
    }

    /// Pairs of settings that may be behind what the design's rows show and no setting alone does, the likeliest first; each
    /// with how many columns it would explain.
    pub fn hypotheses(&self, most: usize) -> Vec<(Setting, Setting)> {
        let mut votes: BTreeMap<(Setting, Setting), f64> = BTreeMap::new();
        for column in 0..self.table.columns.len() {
            if self.strays[column].is_none() {
                continue;
            }
            for (pair, vote) in self.explanations(column) {
                *votes.entry(pair).or_default() += vote;
            }
        }
        let mut pairs: Vec<((Setting, Setting), f64)> = votes.into_iter().collect();
        pairs.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        // One pair of values for each pair of factors first: the others most likely show the same.
        let mut chosen: Vec<(Setting, Setting)> = Vec::new();
        for (pair, _) in pairs {
            let same = |other: &&(Setting, Setting)| (other.0.0, other.1.0) == (pair.0.0, pair.1.0);
            if chosen.iter().filter(same).count() < 2 && chosen.len() < most {
                chosen.push(pair);
            }
        }
        chosen
    }

    /// Which pairs of settings would explain what one column shows in the design's rows.
    fn explanations(&self, column: usize) -> Vec<((Setting, Setting), f64)> {
        let mut odd: Vec<(usize, Option<Setting>)> = Vec::new();
        for (run, (condition, phase)) in self.tried.iter().enumerate() {
            if *phase == Phase::Screen
                && condition.settings().count() > 1
                && let Some(known) = self.unexplained(column, run)
            {
                odd.push((run, known));
            }
        }
        // By pair of factors: in how many rows it could be what shows, and in how many it is there and nothing shows.
        let mut by_factors: BTreeMap<(usize, usize), (usize, BTreeSet<(Setting, Setting)>)> = BTreeMap::new();
        for &(run, known) in &odd {
            let settings: Vec<Setting> = self.tried[run].0.settings().collect();
            for (at, &a) in settings.iter().enumerate() {
                for &b in &settings[at + 1..] {
                    if known.is_some_and(|known| known != a && known != b) || self.contradicted(column, a, b, known) {
                        continue;
                    }
                    let entry = by_factors.entry((a.0, b.0)).or_default();
                    entry.0 += 1;
                    entry.1.insert((a, b));
                }
            }
        }
        // What a pair that was tried alone has shown needs no other explanation.
        let told = |pair: &(Setting, Setting)| {
            self.clean(&[pair.0, pair.1]).iter().any(|&run| self.unexplained(column, run).is_some())
        };
        if by_factors.values().any(|(hits, pairs)| *hits == odd.len() && pairs.iter().any(told)) {
            return Vec::new();
        }
        let best = by_factors.values().map(|(hits, _)| *hits).max().unwrap_or(0);
        let share = by_factors.values().filter(|(hits, _)| *hits == best).count().max(1);
        by_factors
            .into_values()
            .filter(|(hits, _)| *hits == best)
            .flat_map(|(hits, pairs)| pairs.into_iter().map(move |pair| (pair, hits as f64 / share as f64)))
            .filter(|(pair, _)| !told(pair))
            .collect()
    }

    /// Whether some run has both settings and shows nothing beyond what each shows alone.
    fn contradicted(&self, column: usize, a: Setting, b: Setting, known: Option<Setting>) -> bool {
        let both = |run: &usize| self.tried[*run].0.has(a) && self.tried[*run].0.has(b);
        (0..self.tried.len()).filter(both).any(|run| match self.strays(column, run) {
            Some(false) => known.is_none(),
            Some(true) => known.is_some() && self.unexplained(column, run).is_none(),
            None => false,
        })
    }

    /// How often the column strays, of the runs that confirm, with the suspect's settings and without the one in question.
    /// A gate that shows nothing by itself is as good as the base case then.
    pub fn confirmed(&self, suspect: Suspect) -> (Share, Share) {
        let mut with: Vec<Setting> = std::iter::once(suspect.setting).chain(suspect.gate).collect();
        with.sort_unstable();
        let gate: Vec<Setting> = suspect.gate.into_iter().collect();
        let mut without = self.counted(suspect, &gate, &gate);
        if !gate.is_empty() && without.of > 0 && !self.gate_shows(suspect) {
            let base = self.counted(suspect, &[], &[]);
            without = Share { hits: without.hits + base.hits, of: without.of + base.of };
        }
        (self.counted(suspect, &with, &gate), without)
    }

    /// Whether the gate lets the column stray by itself.
    pub fn gate_shows(&self, suspect: Suspect) -> bool {
        suspect.gate.is_some_and(|gate| self.alone[suspect.column].contains(&gate))
    }

    /// With a gate, what the gate alone shows is no straying.
    fn counted(&self, suspect: Suspect, settings: &[Setting], usual: &[Setting]) -> Share {
        let cells = &self.table.columns[suspect.column].cells;
        let usual: Vec<Option<u32>> = match usual {
            [] => Vec::new(),
            usual => self.clean(usual).iter().map(|&run| cells[run]).collect(),
        };
        let mut share = Share::default();
        for (run, (condition, phase)) in self.tried.iter().enumerate() {
            if *phase == Phase::Confirm && condition.fresh == 0 && condition.settings().eq(settings.iter().copied()) {
                if let Some(strays) = self.strays(suspect.column, run) {
                    share.add(strays && !usual.contains(&cells[run]));
                }
            }
        }
        share
    }

    /// Whether values of the factor that were invented for the purpose let the column stray too. None where none were.
    pub fn holds_for_fresh(&self, suspect: Suspect) -> Option<bool> {
        let with = |condition: &Condition| condition.has(suspect.setting) && condition.fresh > 0;
        let runs = (0..self.tried.len()).filter(|&run| with(&self.tried[run].0));
        let seen: Vec<bool> = runs.filter_map(|run| self.strays(suspect.column, run)).collect();
        (!seen.is_empty()).then(|| seen.iter().all(|&strays| strays))
    }
}

fn strays(column: &Column, base: &[bool]) -> Option<Vec<Option<bool>>> {
    if !column.settled(base) {
        return None;
    }
    let usual: BTreeSet<u32> =
        column.cells.iter().zip(base).filter(|(_, base)| **base).filter_map(|(cell, _)| *cell).collect();
    Some(column.cells.iter().map(|cell| cell.map(|cell| !usual.contains(&cell))).collect())
}

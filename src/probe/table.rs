//! All runs as one table: a column for every trait of every place, a line for every run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::align::{Aligned, Aligning, Role, StableNames, align, aligned_places};
use super::feature::{self, Feature};
use super::linked;
use super::observation::{Aspect, SEPARATOR};
use super::template;

/// A place of a request, the same in all runs.
#[derive(Clone, Debug)]
pub struct Spot {
    pub role: usize,
    pub aspect: Aspect,
    /// As the first run that has it spells it.
    pub at: Arc<str>,
}

/// What of a place a column holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trait {
    /// Whether the request is made.
    Request,
    /// Whether the place is there in the request.
    Presence,
    /// The value, or the spelling that the aspect is about.
    Whole,
    /// One slot of a text, or a trait of it.
    Slot { number: usize, before: String, feature: Feature },
    /// A trait of a value that varies by itself.
    Trait(Feature),
    /// What it says beside another value that varies by itself.
    Beside(Arc<str>),
}

#[derive(Clone, Debug)]
pub struct Column {
    /// None for whether the request is made.
    pub spot: Option<usize>,
    pub role: usize,
    pub of: Trait,
    /// By run: which of the names; none where nothing can be said.
    pub cells: Vec<Option<u32>>,
    pub names: Vec<Arc<str>>,
}

pub struct Table {
    pub roles: Vec<Role>,
    pub spots: Vec<Spot>,
    /// Those that are not the same in all runs.
    pub columns: Vec<Column>,
    /// Spots that are the same wherever they are met, and always met.
    pub constant: Vec<usize>,
    /// Spots whose value varies although nothing was varied, with values that it had.
    pub noisy: Vec<(usize, Vec<String>)>,
    /// Spots that are sometimes there and sometimes not, although nothing was varied; none stands for the request.
    pub optional: Vec<(usize, Option<usize>)>,
}

/// What `present` and `absent` are called in columns.
pub const PRESENT: &str = "present";
pub const ABSENT: &str = "absent";

/// Slots of one text that are looked at.
const MOST_SLOTS: usize = 500;
/// Between the values of a place that several requests, or elements, have.
const AND: &str = "\u{1e}";

type Values = Vec<Option<Arc<str>>>;

impl Table {
    pub fn of(runs: &[Aligning<'_>]) -> Self {
        let Aligned { roles, cast } = align(runs);
        let stable = StableNames::of(runs);
        let base: Vec<bool> = runs.iter().map(|run| run.base).collect();
        let mut table = Self {
            roles,
            spots: Vec::new(),
            columns: Vec::new(),
            constant: Vec::new(),
            noisy: Vec::new(),
            optional: Vec::new(),
        };
        for (role, requests) in cast.iter().enumerate() {
            let there: Vec<bool> = requests.iter().map(|requests| !requests.is_empty()).collect();
            let made = there.iter().map(|&there| Some(presence(there)));
            let request = Column::of(None, role, Trait::Request, made);
            if request.varies_where(&base) {
                table.optional.push((role, None));
            }
            table.push(request);
            let merged = table.roles[role].merged;
            let mut drawn: Vec<(usize, Values)> = Vec::new();
            for ((aspect, _), (at, values)) in places(runs, requests, &stable, merged) {
                drawn.extend(table.place(Spot { role, aspect, at }, values, &there, &base));
            }
            table.pairs(role, &drawn, &base, runs);
        }
        table
    }

    /// Adds the columns of a place, and gives it back where its value is drawn anew each time.
    fn place(&mut self, spot: Spot, mut values: Values, there: &[bool], base: &[bool]) -> Option<(usize, Values)> {
        let (role, aspect, number) = (spot.role, spot.aspect, self.spots.len());
        self.spots.push(spot);
        if matches!(aspect, Aspect::KeyOrder | Aspect::HeaderOrder | Aspect::HeaderCase) {
            keep_common_names(&mut values, aspect == Aspect::HeaderCase);
        }
        let presence = Column::of(
            Some(number),
            role,
            Trait::Presence,
            values.iter().zip(there).map(|(value, there)| there.then(|| presence(value.is_some()))),
        );
        let always = !presence.varies();
        if presence.varies_where(base) {
            self.optional.push((role, Some(number)));
        }
        if aspect == Aspect::Value {
            self.push(presence);
        }
        let whole = Column::of(Some(number), role, Trait::Whole, values.iter().map(Option::as_deref));
        if !whole.varies() {
            if always {
                self.constant.push(number);
            }
            return None;
        }
        let noisy = whole.varies_where(base);
        if noisy {
            let seen = values.iter().zip(base).filter(|(_, base)| **base).filter_map(|(value, _)| value.as_deref());
            self.noisy.push((number, seen.take(8).map(str::to_owned).collect()));
        }
        let settled = whole.settled(base);
        self.push(whole);
        if settled || aspect != Aspect::Value {
            return None;
        }
        self.traits(number, role, &values, base);
        Some((number, values))
    }

    /// What values that are drawn anew say beside one another.
    fn pairs(&mut self, role: usize, drawn: &[(usize, Values)], base: &[bool], runs: &[Aligning<'_>]) {
        let single = |(_, values): &&(usize, Values)| !values.iter().flatten().any(|value| value.contains(AND));
        let places: Vec<(usize, &[Option<Arc<str>>])> =
            drawn.iter().filter(single).map(|(spot, values)| (*spot, values.as_slice())).collect();
        let facts: Vec<Vec<String>> = runs.iter().map(|run| run.facts.to_vec()).collect();
        for linked in linked::find(&places, base, &facts) {
            let of = Trait::Beside(self.spots[linked.beside].at.clone());
            let column = Column::of(Some(linked.at), role, of, linked.cells.iter().map(Option::as_deref));
            if column.settled(base) {
                self.push(column);
            }
        }
    }

    /// Of a value that is never the same: the slots of its text, and its traits.
    fn traits(&mut self, spot: usize, role: usize, values: &Values, base: &[bool]) {
        if values.iter().flatten().any(|value| value.contains(AND)) {
            return;
        }
        let structured = values.iter().flatten().any(|value| value.contains(char::is_whitespace) || value.len() > 64);
        let texts: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
        let slots = if structured { template::slots(&texts) } else { None };
        for (number, slot) in slots.iter().flatten().enumerate().take(MOST_SLOTS) {
            let of = |feature| Trait::Slot { number, before: slot.before.clone(), feature };
            let whole = Column::of(Some(spot), role, of(Feature::Exact), slot.values.iter().map(Option::as_deref));
            let settled = whole.settled(base);
            self.push(whole);
            if !settled {
                self.features(spot, role, &slot.values, base, of);
            }
        }
        if slots.is_none() {
            self.features(spot, role, values, base, Trait::Trait);
        }
    }

    fn features<T: AsRef<str>>(
        &mut self,
        spot: usize,
        role: usize,
        values: &[Option<T>],
        base: &[bool],
        of: impl Fn(Feature) -> Trait,
    ) {
        let mask =
            feature::fixed(values.iter().zip(base).filter(|(_, base)| **base).filter_map(|(value, _)| value.as_ref()));
        if let Some(mask) = mask {
            let cells: Vec<Option<String>> =
                values.iter().map(|value| feature::at_fixed(&mask, value.as_ref()?.as_ref())).collect();
            self.push(Column::of(Some(spot), role, of(Feature::Fixed), cells.iter().map(Option::as_deref)));
        }
        for feature in feature::OF_NOISE {
            let cells: Vec<Option<String>> =
                values.iter().map(|value| feature::of(feature, value.as_ref()?.as_ref())).collect();
            let column = Column::of(Some(spot), role, of(feature), cells.iter().map(Option::as_deref));
            if column.settled(base) {
                self.push(column);
            }
        }
    }

    /// What is the same in all runs depends on nothing.
    fn push(&mut self, column: Column) {
        if column.varies() {
            self.columns.push(column);
        }
    }
}

fn presence(there: bool) -> &'static str {
    if there { PRESENT } else { ABSENT }
}

impl Column {
    fn of<T: AsRef<str>>(spot: Option<usize>, role: usize, of: Trait, cells: impl Iterator<Item = Option<T>>) -> Self {
        let mut numbers: HashMap<Arc<str>, u32> = HashMap::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut number = |text: &str| match numbers.get(text) {
            Some(&number) => number,
            None => {
                let name: Arc<str> = text.into();
                let number = names.len() as u32;
                names.push(name.clone());
                numbers.insert(name, number);
                number
            }
        };
        let cells = cells.map(|cell| cell.map(|text| number(text.as_ref()))).collect();
        Self { spot, role, of, cells, names }
    }

    fn varies(&self) -> bool {
        self.names.len() > 1
    }

    /// Whether it varies among the wanted runs.
    pub fn varies_where(&self, runs: &[bool]) -> bool {
        let mut seen = self.cells.iter().zip(runs).filter(|(_, wanted)| **wanted).filter_map(|(cell, _)| *cell);
        seen.next().is_some_and(|first| seen.any(|other| other != first))
    }

    /// Whether the runs of the base case have shown all that it has: what they have not shown is then no accident.
    ///
    /// The share of values met once estimates what is still unseen (Good, 1953).
    pub fn settled(&self, base: &[bool]) -> bool {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for (cell, _) in self.cells.iter().zip(base).filter(|(_, base)| **base) {
            if let Some(cell) = cell {
                *counts.entry(*cell).or_default() += 1;
            }
        }
        let met: usize = counts.values().sum();
        let once = counts.values().filter(|&&count| count == 1).count();
        match counts.len() {
            0 => false,
            1 => met >= 2,
            _ => met >= 6 && once * 7 <= met,
        }
    }

    pub fn name(&self, run: usize) -> Option<&str> {
        self.cells[run].map(|cell| &*self.names[cell as usize])
    }
}

type Places = BTreeMap<(Aspect, String), (Arc<str>, Values)>;

/// The values of all places of a role, run by run.
fn places(runs: &[Aligning<'_>], requests: &[Vec<usize>], stable: &StableNames, merged: bool) -> Places {
    let mut places: Places = BTreeMap::new();
    for (run, requests) in requests.iter().enumerate() {
        let mut met: HashMap<(Aspect, String), Vec<Arc<str>>> = HashMap::new();
        for &request in requests {
            let seen = &runs[run].observation.requests[request];
            for (leaf, mut place) in seen.leaves.iter().zip(aligned_places(seen, stable, merged)) {
                // The same name twice is two places, unless whatever is there is looked at as one.
                if !merged {
                    let mut number = 1;
                    let name = place.clone();
                    while met.contains_key(&(leaf.aspect, place.clone())) {
                        number += 1;
                        place = format!("{name} ({number})");
                    }
                }
                let key = (leaf.aspect, place);
                if !places.contains_key(&key) {
                    places.insert(key.clone(), (leaf.at.clone(), vec![None; runs.len()]));
                }
                met.entry(key).or_default().push(leaf.text.clone());
            }
        }
        for (key, mut texts) in met {
            texts.sort_unstable();
            texts.dedup();
            let value = match &texts[..] {
                [one] => one.clone(),
                many => many.join(AND).into(),
            };
            if let Some((_, values)) = places.get_mut(&key) {
                values[run] = Some(value);
            }
        }
    }
    places
}

/// Leaves of each order only the names that all have: who is missing is told elsewhere. Without order where only the spelling
/// counts.
fn keep_common_names(values: &mut Values, sorted: bool) {
    let lower = |name: &str| name.to_ascii_lowercase();
    let mut common: Option<std::collections::HashSet<String>> = None;
    for value in values.iter().flatten() {
        let names: std::collections::HashSet<String> = value.split(SEPARATOR).map(lower).collect();
        common = Some(match common {
            Some(common) => common.intersection(&names).cloned().collect(),
            None => names,
        });
    }
    let common = common.unwrap_or_default();
    for value in values.iter_mut().flatten() {
        let mut names: Vec<&str> = value.split(SEPARATOR).filter(|name| common.contains(&lower(name))).collect();
        if sorted {
            names.sort_by_key(|name| lower(name));
        }
        *value = names.join(" ").into();
    }
}

//! Which runs show everything suspicious again: several suspicions in one run, as far as they do not get in each other's way.
//!
//! ```text
//! questions -> what each must not meet -> packed into runs, each time in other company -> Wanted
//! ```
//!
//! What is asked of one factor is its control in the runs that ask of others, so few runs of the base case are needed beside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::design::{Condition, MOST_AT_ONCE, Setting};
use super::evidence::{Evidence, Strength, Suspect};

/// Runs that confirm one setting. The first tells accidents from what is worth a test, the others are the test.
const AGAIN: usize = 4;
/// The same for a setting beside another one that shows something itself.
const AGAIN_GATED: usize = 5;
/// Runs with a gate alone.
const AGAIN_GATE: usize = 2;
const AGAIN_GATE_SHOWS: usize = 5;
/// Runs of the base case beside those that confirm.
const AGAIN_BASE: usize = 4;

/// What confirming usually takes, beside one and a half for each factor.
pub const USUAL: usize = 12;

/// Settings that are to be tried together, and why.
#[derive(Clone, Debug)]
struct Question {
    settings: Vec<Setting>,
    /// Settings that show something in the same places, or hide them.
    avoided: BTreeSet<Setting>,
    times: usize,
}

impl Question {
    fn fits(&self, other: &Self) -> bool {
        let apart = |setting: &Setting| other.settings.iter().all(|(factor, _)| *factor != setting.0);
        self.settings.iter().all(apart)
            && self.settings.iter().all(|setting| !other.avoided.contains(setting))
            && other.settings.iter().all(|setting| !self.avoided.contains(setting))
    }
}

/// The runs that are still to be made, `most` of them at most, in turns so that what changes with time changes in all alike.
/// `open`: whether values of a factor can be invented. `made`: how often a condition was tried again.
pub fn plan(
    evidence: &Evidence<'_>,
    factors: usize,
    open: impl Fn(usize) -> bool,
    most: usize,
    made: impl Fn(&Condition) -> usize,
) -> Vec<Condition> {
    let suspects = questions(evidence);
    let mut chosen: Vec<Question> = Vec::new();
    let mut fresh: Vec<Question> = Vec::new();
    let base = Condition::base(factors);
    let mut runs: Vec<Condition> = Vec::new();
    let missing_base = AGAIN_BASE.saturating_sub(made(&base));
    for suspect in &suspects {
        let (asked, invented) = asked(evidence, suspect, &open);
        let mut with = chosen.clone();
        with.extend(asked);
        let mut with_fresh = fresh.clone();
        with_fresh.extend(invented);
        let packed = all_runs(evidence, factors, &with, &with_fresh, missing_base);
        // What there are no runs left for is left out; something smaller may still fit.
        if packed.len() <= most {
            (chosen, fresh, runs) = (with, with_fresh, packed);
        }
    }
    runs
}

/// What is asked because of one suspect, as far as it was not yet, and with values invented for the purpose.
fn asked(
    evidence: &Evidence<'_>,
    (suspect, columns): &(Suspect, BTreeSet<usize>),
    open: &impl Fn(usize) -> bool,
) -> (Vec<Question>, Option<Question>) {
    let mut settings: Vec<Setting> = std::iter::once(suspect.setting).chain(suspect.gate).collect();
    settings.sort_unstable();
    let avoided = evidence.avoided(&settings, columns);
    let shows = suspect.gate.is_some() && evidence.gate_shows(*suspect);
    let times = if shows { AGAIN_GATED } else { AGAIN };
    let mut asked = vec![Question { settings, avoided: avoided.clone(), times }];
    if let Some(gate) = suspect.gate {
        let times = if shows { AGAIN_GATE_SHOWS } else { AGAIN_GATE };
        let mut avoided = avoided.clone();
        avoided.insert(suspect.setting);
        asked.push(Question { settings: vec![gate], avoided, times });
    }
    let invented = (suspect.gate.is_none() && open(suspect.setting.0)).then(|| Question {
        settings: vec![suspect.setting],
        avoided,
        times: 1,
    });
    (asked, invented)
}

fn all_runs(
    evidence: &Evidence<'_>,
    factors: usize,
    questions: &[Question],
    fresh: &[Question],
    missing_base: usize,
) -> Vec<Condition> {
    // How often each is still to be asked: no more than that it might have shown, however much hides it.
    let due = |question: &Question, fresh: bool| {
        let (shown, tried) = evidence.tried_again(&question.settings, &question.avoided, fresh);
        match tried >= 2 * question.times {
            true => 0,
            false => question.times.saturating_sub(shown),
        }
    };
    let left: Vec<(usize, &Question)> =
        questions.iter().map(|question| (due(question, false), question)).filter(|(due, _)| *due > 0).collect();
    let turns = left.iter().map(|(due, _)| *due).max().unwrap_or(0);
    let mut runs = Vec::new();
    for turn in 0..turns.max(usize::from(missing_base > 0)) {
        let base = missing_base * (turn + 1) / turns.max(1) - missing_base * turn / turns.max(1);
        runs.extend(std::iter::repeat_n(Condition::base(factors), base));
        let now: Vec<&Question> = left.iter().filter(|(due, _)| *due > turn).map(|(_, question)| *question).collect();
        runs.extend(packed(&now, turn).into_iter().map(|settings| Condition::with(factors, &settings)));
    }
    let left: Vec<&Question> = fresh.iter().filter(|question| due(question, true) > 0).collect();
    let invented =
        packed(&left, 0).into_iter().map(|settings| Condition { fresh: 1, ..Condition::with(factors, &settings) });
    runs.extend(invented);
    runs
}

/// Questions put together into runs, in another order each turn: what stands together once is held apart the next time.
fn packed(questions: &[&Question], turn: usize) -> Vec<Vec<Setting>> {
    let mut order: Vec<(u64, &Question)> = Vec::new();
    for (number, question) in questions.iter().enumerate() {
        let mut hasher = DefaultHasher::new();
        (turn, &question.settings, number).hash(&mut hasher);
        order.push((hasher.finish(), question));
    }
    order.sort_by_key(|(key, _)| *key);
    // At most half of them stand together: the others are their controls.
    let most = questions.len().div_ceil(2).max(1);
    let mut groups: Vec<Vec<&Question>> = Vec::new();
    for (_, question) in order {
        let room = |group: &Vec<&Question>| {
            let taken: usize = group.iter().map(|other| other.settings.len()).sum();
            group.len() < most && taken + question.settings.len() <= MOST_AT_ONCE
        };
        let place = groups.iter_mut().find(|group| room(group) && group.iter().all(|other| question.fits(other)));
        match place {
            Some(group) => group.push(question),
            None => groups.push(vec![question]),
        }
    }
    let settings = |group: Vec<&Question>| group.into_iter().flat_map(|question| question.settings.clone()).collect();
    groups.into_iter().map(settings).collect()
}

/// What is to be run again, that first for which most speaks, each with the columns that it is about.
pub fn questions(evidence: &Evidence<'_>) -> Vec<(Suspect, BTreeSet<usize>)> {
    let of = |suspects: &[Suspect], strength: Strength| {
        chosen(
            evidence,
            &suspects.iter().copied().filter(|&suspect| evidence.strength(suspect) == strength).collect::<Vec<_>>(),
        )
    };
    let (singles, gated) = (evidence.singles(), evidence.gated());
    let mut questions = of(&singles, Strength::Strong);
    questions.extend(of(&gated, Strength::Strong));
    // What is known for sure of a value and a column needs no weaker question.
    let mut weak = of(&singles, Strength::Weak);
    weak.extend(of(&gated, Strength::Weak));
    let same = |a: &Suspect, b: &Suspect| (a.setting, a.gate) == (b.setting, b.gate);
    weak.retain(|(suspect, _)| !questions.iter().any(|(known, _)| same(known, suspect)));
    questions.extend(weak);
    questions
}

/// Of suspects enough to have every column once for each pair of factors: those first that say most.
fn chosen(evidence: &Evidence<'_>, suspects: &[Suspect]) -> Vec<(Suspect, BTreeSet<usize>)> {
    type Asked = (Setting, Option<Setting>);
    let mut by_question: BTreeMap<Asked, BTreeSet<usize>> = BTreeMap::new();
    for suspect in suspects {
        by_question.entry((suspect.setting, suspect.gate)).or_default().insert(suspect.column);
    }
    let factors = |question: &Asked| (question.0.0, question.1.map(|gate| gate.0));
    let mut told: HashMap<(usize, Option<usize>), BTreeSet<usize>> = HashMap::new();
    let mut chosen = Vec::new();
    loop {
        let new = |(question, columns): (&Asked, &BTreeSet<usize>)| {
            let known = told.get(&factors(question));
            let new = columns.iter().filter(|column| known.is_none_or(|known| !known.contains(column)));
            (evidence.weight(new), std::cmp::Reverse(*question))
        };
        let Some((1.., std::cmp::Reverse(question))) = by_question.iter().map(new).max() else { return chosen };
        let columns = by_question.remove(&question).unwrap_or_default();
        let known = told.entry(factors(&question)).or_default();
        let new: BTreeSet<usize> = columns.iter().copied().filter(|column| !known.contains(column)).collect();
        known.extend(columns);
        if let Some(&column) = new.first() {
            chosen.push((Suspect { column, setting: question.0, gate: question.1 }, new));
        }
    }
}

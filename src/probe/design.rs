//! Which conditions are tried: each value alone, all pairs of values, or everything.

use serde::{Deserialize, Serialize};

/// By factor, in their order: the number of its value. 0 is the base case.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Condition {
    pub levels: Vec<u8>,
    /// Not 0: values that can be invented are, anew for each number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fresh: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How factors are combined.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// One factor at a time, from the base case.
    One,
    /// That, and every two values of two factors together at least once.
    #[default]
    Pairwise,
    /// Every combination.
    Full,
}

/// One factor's value. The factor first, then the number of the value.
pub type Setting = (usize, u8);

impl Condition {
    pub fn base(factors: usize) -> Self {
        Self { levels: vec![0; factors], fresh: 0 }
    }

    pub fn with(factors: usize, settings: &[Setting]) -> Self {
        let mut condition = Self::base(factors);
        for &(factor, level) in settings {
            condition.levels[factor] = level;
        }
        condition
    }

    /// Whatever differs from the base case.
    pub fn settings(&self) -> impl Iterator<Item = Setting> + '_ {
        self.levels.iter().enumerate().filter(|(_, level)| **level != 0).map(|(factor, &level)| (factor, level))
    }

    pub fn is_base(&self) -> bool {
        self.settings().next().is_none()
    }

    pub fn has(&self, (factor, level): Setting) -> bool {
        self.levels[factor] == level
    }
}

/// Factors away from the base case in one row of a covering array. More would need fewer rows, and hide more: a switch that
/// turns reports off would be thrown in nearly all of them.
pub const MOST_AT_ONCE: usize = 6;
/// Rows of a full design: beyond them the first are taken.
const MOST_ROWS: usize = 4096;

/// The conditions to try beside the base case, in the order in which they tell most. `levels`: how many values each factor
/// has, the base case's included.
pub fn rows(axis: Axis, levels: &[usize]) -> Vec<Condition> {
    let singles = levels.iter().enumerate().flat_map(|(factor, &count)| {
        (1..count).map(move |level| Condition::with(levels.len(), &[(factor, level as u8)]))
    });
    match axis {
        Axis::One => singles.collect(),
        Axis::Pairwise => singles.chain(pairs(levels)).collect(),
        Axis::Full => {
            let mut rows: Vec<Condition> = singles.collect();
            rows.extend(full(levels).filter(|row| row.settings().count() > 1).take(MOST_ROWS));
            rows
        }
    }
}

/// Rows in which every two values of two factors, none of them the base case's, stand together at least once: greedily, the
/// pairs that are still missing first.
fn pairs(levels: &[usize]) -> Vec<Condition> {
    let mut missing: Vec<(Setting, Setting)> = Vec::new();
    for first in 0..levels.len() {
        for second in first + 1..levels.len() {
            for a in 1..levels[first] {
                missing.extend((1..levels[second]).map(|b| ((first, a as u8), (second, b as u8))));
            }
        }
    }
    let mut rows = Vec::new();
    while let Some(&(first, second)) = missing.first() {
        let mut row = Condition::with(levels.len(), &[first, second]);
        for _ in 2..MOST_AT_ONCE {
            let gain = |setting: Setting| {
                let new = |&&(a, b): &&(Setting, Setting)| (a == setting && row.has(b)) || (b == setting && row.has(a));
                missing.iter().filter(new).count()
            };
            let open = (0..levels.len()).filter(|&factor| row.levels[factor] == 0);
            let choices = open.flat_map(|factor| (1..levels[factor]).map(move |level| (factor, level as u8)));
            // Of equals the first: the same factors always give the same rows.
            let best = choices.map(|choice| (gain(choice), choice)).reduce(|a, b| if b.0 > a.0 { b } else { a });
            let Some((1.., (factor, level))) = best else { break };
            row.levels[factor] = level;
        }
        missing.retain(|&(a, b)| !(row.has(a) && row.has(b)));
        rows.push(row);
    }
    rows
}

fn full(levels: &[usize]) -> impl Iterator<Item = Condition> + '_ {
    let count = levels.iter().try_fold(1_usize, |product, &count| product.checked_mul(count)).unwrap_or(usize::MAX);
    (0..count).map(move |mut number| {
        let level = |&count: &usize| {
            let level = number % count;
            number /= count;
            level as u8
        };
        Condition { levels: levels.iter().map(level).collect(), fresh: 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tries_each_value_alone_and_full_tries_all() {
        let rows = |axis| rows(axis, &[3, 2]).into_iter().map(|row| row.levels).collect::<Vec<_>>();
        assert_eq!(rows(Axis::One), [[1, 0], [2, 0], [0, 1]]);
        assert_eq!(rows(Axis::Full), [[1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]);
    }

    proptest::proptest! {
        #[test]
        fn pairwise_has_every_two_values_together(levels in proptest::collection::vec(2..6_usize, 1..9)) {
            let rows = rows(Axis::Pairwise, &levels);
            for (first, &a) in levels.iter().enumerate() {
                for (second, &b) in levels.iter().enumerate().skip(first + 1) {
                    for pair in (1..a).flat_map(|a| (1..b).map(move |b| [(first, a as u8), (second, b as u8)])) {
                        proptest::prop_assert!(rows.iter().any(|row| pair.iter().all(|&setting| row.has(setting))));
                    }
                }
            }
            proptest::prop_assert!(rows.iter().all(|row| row.settings().count() <= MOST_AT_ONCE));
        }
    }

    #[test]
    fn a_usual_set_of_factors_needs_few_rows() {
        let rows = rows(Axis::Pairwise, &[5, 4, 3, 3, 2, 2, 2, 3, 2, 6, 2]);
        assert!(rows.len() <= 60, "{}", rows.len());
    }
}

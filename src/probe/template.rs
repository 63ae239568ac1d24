//! Texts of many runs as one template with slots: what all of them share, and what stands between.

use crate::report::compare::words::{common, tokens};

/// A gap in the template, and what each run has there.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The words before it.
    pub before: String,
    /// By run; none where the run has no such text.
    pub values: Vec<Option<String>>,
}

/// Texts of which less than this share of words is common have no template.
const LEAST_COMMON: f64 = 0.3;
/// Words of a text that is aligned.
const MOST_TOKENS: usize = 60_000;
/// Characters of the context that is told.
const CONTEXT: usize = 24;

/// The slots of `texts`; none where they are all the same, or have too little in common.
pub fn slots(texts: &[Option<&str>]) -> Option<Vec<Slot>> {
    let mut distinct: Vec<&str> = Vec::new();
    for text in texts.iter().flatten() {
        if !distinct.contains(text) {
            distinct.push(text);
        }
    }
    let split: Vec<Vec<&str>> = distinct.iter().map(|text| tokens(text)).collect();
    let (first, others) = split.split_first()?;
    if others.is_empty() || split.iter().any(|words| words.len() > MOST_TOKENS) {
        return None;
    }
    let mut gaps: Vec<(usize, usize)> = Vec::new();
    let mut matched: Vec<Vec<(usize, usize)>> = Vec::with_capacity(split.len());
    matched.push((0..first.len()).map(|at| (at, at)).collect());
    for words in others {
        let pairs = common(first, words, |a, b| a == b);
        // That words are set apart is common to all texts.
        let told = |words: &[&str]| words.iter().filter(|word| !word.trim().is_empty()).count();
        let shared = pairs.iter().filter(|(at, _)| !first[*at].trim().is_empty()).count() as f64;
        if shared < LEAST_COMMON * told(first).min(told(words)) as f64 {
            return None;
        }
        let (mut i, mut j) = (0, 0);
        for &(x, y) in pairs.iter().chain([&(first.len(), words.len())]) {
            if x > i || y > j {
                gaps.push((i, x));
            }
            (i, j) = (x + 1, y + 1);
        }
        matched.push(pairs);
    }
    let merged = merged(gaps);
    let between = |(words, pairs): (&Vec<&str>, &Vec<(usize, usize)>)| {
        merged.iter().map(|&gap| filling(words, pairs, gap, first.len())).collect()
    };
    let filled = split.iter().zip(&matched).map(between).collect();
    Some(table(texts, &distinct, filled, &merged, first))
}

/// Gaps that touch are one.
fn merged(mut gaps: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    gaps.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in gaps {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// What stands in `words` where the first text has the words of `gap`. Both its sides are in all texts.
fn filling(words: &[&str], pairs: &[(usize, usize)], (start, end): (usize, usize), length: usize) -> String {
    let place = |at: usize| pairs.binary_search_by_key(&at, |pair| pair.0).ok().map(|found| pairs[found].1);
    let from = if start == 0 { 0 } else { place(start - 1).map_or(0, |at| at + 1) };
    let to = if end == length { words.len() } else { place(end).unwrap_or(words.len()) };
    words.get(from..to).unwrap_or(&[]).concat()
}

fn table(
    texts: &[Option<&str>],
    distinct: &[&str],
    filled: Vec<Vec<String>>,
    gaps: &[(usize, usize)],
    first: &[&str],
) -> Vec<Slot> {
    let which: Vec<Option<usize>> =
        texts.iter().map(|text| text.and_then(|text| distinct.iter().position(|known| *known == text))).collect();
    let slot = |(number, &(start, _)): (usize, &(usize, usize))| {
        let before = first[start.saturating_sub(12)..start].concat();
        let skipped = before.chars().count().saturating_sub(CONTEXT);
        Slot {
            before: before.chars().skip(skipped).collect(),
            values: which.iter().map(|text| text.map(|text| filled[text][number].clone())).collect(),
        }
    };
    gaps.iter().enumerate().map(slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> Vec<Vec<String>> {
        let texts: Vec<Option<&str>> = texts.iter().map(|&text| Some(text)).collect();
        let slots = slots(&texts).unwrap_or_default();
        slots.into_iter().map(|slot| slot.values.into_iter().flatten().collect()).collect()
    }

    #[test]
    fn what_varies_stands_in_slots() {
        let found = values(&[
            "Today's date is 2026-11-27, run 4711 in /home/a.",
            "Today's date is 2026/11/27, run 92 in /home/a.",
            "Today\u{2019}s date is 2026-11-27, run 8 in /home/bob.",
        ]);
        let expected: [[&str; 3]; 5] =
            [["'", "'", "\u{2019}"], ["-", "/", "-"], ["-", "/", "-"], ["4711", "92", "8"], ["a", "a", "bob"]];
        assert_eq!(found, expected);
    }

    #[test]
    fn texts_without_anything_in_common_have_no_template() {
        assert!(values(&["one two three four", "5 6 7 8 9 10"]).is_empty());
        assert!(values(&["the same", "the same"]).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn the_template_with_its_slots_filled_is_each_text(texts in proptest::collection::vec("([ab]c d){0,3}[abx ]{0,6}(z y){0,2}", 2..5)) {
            let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
            if let Some(slots) = slots(&texts) {
                // Equal fillings in all slots, equal texts.
                for (i, a) in texts.iter().enumerate() {
                    for (j, b) in texts.iter().enumerate() {
                        let same = slots.iter().all(|slot| slot.values[i] == slot.values[j]);
                        proptest::prop_assert_eq!(same, a == b);
                    }
                }
            }
        }
    }
}

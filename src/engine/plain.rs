//! Texts that say nothing, known again within a unit: `"type": "text"` stands in a conversation hundreds of times.

use std::collections::HashMap;

use super::decode::pairs;
use super::detect::Inspector;
use super::detect::facts::Matcher;
use super::detect::hash::Keyed;
use super::visit::{Leaf, LeafKind};

/// Texts that are kept, and how long they may be.
const MOST: usize = 2048;
const LONGEST: usize = 40;

/// Short texts, and whether nothing can be in them, whatever they are called and wherever they stand. What their names say is
/// looked at each time.
pub(super) struct PlainTexts {
    known: HashMap<Box<[u8]>, bool, Keyed>,
    /// How many more are kept.
    left: usize,
}

/// What is known of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plain {
    Yes,
    /// Or it is of a sort that is not kept.
    No,
    Unknown,
}

impl PlainTexts {
    /// `keep`: whether any are kept.
    pub fn new(keep: bool) -> Self {
        Self { known: HashMap::default(), left: if keep { MOST } else { 0 } }
    }

    pub fn of(&self, leaf: &Leaf<'_>) -> Plain {
        // Runs of letters may be encodings, pairs have names of their own.
        let kept = matches!(leaf.kind, LeafKind::JsonString | LeafKind::JsonBool | LeafKind::JsonNull)
            && leaf.text.len() <= LONGEST
            && leaf.runs.is_empty()
            && pairs::of(leaf).next().is_none();
        if !kept {
            return Plain::No;
        }
        match self.known.get(leaf.text) {
            Some(true) => Plain::Yes,
            Some(false) => Plain::No,
            None => Plain::Unknown,
        }
    }

    /// Keeps one that was unknown. `nothing`: nothing was found in it.
    pub fn keep(&mut self, leaf: &Leaf<'_>, nothing: bool, rules: &Inspector<'_>, facts: Option<&Matcher>) {
        let Some(left) = self.left.checked_sub(1) else { return };
        let hits = rules.hits();
        let met = !hits.literals.is_empty() || !hits.forms.is_empty() || !hits.signs.is_empty();
        let plain = nothing && !met && !facts.is_some_and(|facts| facts.may_mean(leaf.text));
        self.known.insert(leaf.text.into(), plain);
        self.left = left;
    }
}

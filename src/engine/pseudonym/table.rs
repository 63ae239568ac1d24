//! The pairs at one moment, ready to be looked for. A response sees one table from its first byte to its last.

use std::borrow::Cow;
use std::sync::Arc;

use super::automaton::{Automaton, ROOT, State};

/// A real value and what stands for it. Has no `Debug`: it is what is kept secret.
#[derive(Clone, Eq, PartialEq)]
pub struct Pair {
    pub kind: Arc<str>,
    pub real: Arc<str>,
    pub pseudo: Arc<str>,
}

impl Pair {
    /// The real value for a pseudonym written as `written`: capitals are taken over where all or the first are.
    pub(super) fn real_as(&self, written: &[u8]) -> Cow<'_, str> {
        let plain = &*self.real;
        if written == self.pseudo.as_bytes() {
            return plain.into();
        }
        let letters = || written.iter().filter(|byte| byte.is_ascii_alphabetic());
        let named = !self.kind.starts_with("net.") && !self.kind.starts_with("id.");
        if named && letters().count() > 1 && letters().all(u8::is_ascii_uppercase) {
            return plain.to_uppercase().into();
        }
        let titled =
            written.first().is_some_and(u8::is_ascii_uppercase) && letters().skip(1).all(u8::is_ascii_lowercase);
        let mut chars = plain.chars();
        match chars.next() {
            Some(first) if named && titled => first.to_uppercase().chain(chars).collect::<String>().into(),
            _ => plain.into(),
        }
    }
}

/// All pairs, and the automata that find them.
pub struct Table {
    pub(super) pairs: Vec<Pair>,
    pub(super) automaton: Automaton,
    reals: Automaton,
}

impl Table {
    pub fn new(pairs: Vec<Pair>) -> Self {
        let automaton = Automaton::new(pairs.iter().map(|pair| pair.pseudo.as_bytes()));
        let reals = Automaton::new(pairs.iter().map(|pair| pair.real.as_bytes()));
        Self { pairs, automaton, reals }
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// How many pseudonyms stand in `text`.
    pub fn count(&self, text: &[u8]) -> u64 {
        self.automaton.count(&mut ROOT.clone(), text)
    }

    /// Whether a real value stands in `text`, in any case.
    pub fn knows(&self, text: &[u8]) -> bool {
        self.reals.count(&mut ROOT.clone(), text) > 0
    }
}

/// Counts pseudonyms in bytes that pass as they are, piece by piece.
pub struct Counter {
    table: Arc<Table>,
    state: State,
}

impl Counter {
    pub fn new(table: Arc<Table>) -> Self {
        Self { table, state: ROOT }
    }

    /// How many end in this piece.
    pub fn push(&mut self, bytes: &[u8]) -> u64 {
        self.table.automaton.count(&mut self.state, bytes)
    }
}

//! Finds pseudonyms in text that comes in pieces (Aho and Corasick, 1975), ASCII letters in any case.
//!
//! No pattern stands inside another, so the first that ends is the only one, and the depth of the state is the
//! length of what may still become one: that, and nothing more, has to wait.

use std::collections::{BTreeMap, VecDeque};

/// A place in the automaton. [`ROOT`]: nothing has begun.
pub(super) type State = u32;
pub(super) const ROOT: State = 0;
const NONE: u32 = u32::MAX;

struct Node {
    fail: State,
    depth: u32,
    /// The pattern that ends here.
    pattern: u32,
    edges: u32,
    count: u32,
}

pub(super) struct Automaton {
    nodes: Vec<Node>,
    /// Of each node in a row, by byte.
    edges: Vec<(u8, State)>,
    root: [State; 256],
    ambiguous: Option<usize>,
}

impl Automaton {
    /// Empty patterns are left out.
    pub fn new<'a>(patterns: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut trie: Vec<(BTreeMap<u8, State>, u32)> = vec![(BTreeMap::new(), NONE)];
        let mut ambiguous = None;
        for (number, pattern) in patterns.enumerate() {
            let mut at = ROOT as usize;
            for byte in pattern {
                let new = trie.len() as State;
                let next = *trie[at].0.entry(byte.to_ascii_lowercase()).or_insert(new);
                if next == new {
                    trie.push((BTreeMap::new(), NONE));
                }
                at = next as usize;
            }
            if at != ROOT as usize {
                if trie[at].1 != NONE {
                    ambiguous = Some(number);
                }
                trie[at].1 = number as u32;
            }
        }
        let mut nodes = Vec::with_capacity(trie.len());
        let mut edges = Vec::with_capacity(trie.len());
        for (children, pattern) in &trie {
            let (first, count) = (edges.len() as u32, children.len() as u32);
            nodes.push(Node { fail: ROOT, depth: 0, pattern: *pattern, edges: first, count });
            edges.extend(children.iter().map(|(byte, state)| (*byte, *state)));
        }
        let mut root = [ROOT; 256];
        for (byte, state) in &trie[0].0 {
            root[usize::from(*byte)] = *state;
            root[usize::from(byte.to_ascii_uppercase())] = *state;
        }
        let mut this = Self { nodes, edges, root, ambiguous };
        this.link();
        this
    }

    /// Sets depths and failure links, nearer nodes first.
    fn link(&mut self) {
        let mut queue = VecDeque::from([ROOT]);
        while let Some(state) = queue.pop_front() {
            for index in self.edge_range(state) {
                let (byte, child) = self.edges[index];
                let fail = match state {
                    ROOT => ROOT,
                    _ => self.next(self.nodes[state as usize].fail, byte),
                };
                let depth = self.nodes[state as usize].depth + 1;
                let ends = self.nodes[fail as usize].pattern;
                let node = &mut self.nodes[child as usize];
                (node.fail, node.depth) = (fail, depth);
                // Only where a pattern stands inside another after all.
                if ends != NONE {
                    self.ambiguous = Some(ends as usize);
                }
                if node.pattern != NONE && node.count > 0 {
                    self.ambiguous = Some(node.pattern as usize);
                }
                if node.pattern == NONE {
                    node.pattern = ends;
                }
                queue.push_back(child);
            }
        }
    }

    /// A pattern that stands in another.
    pub fn ambiguous(&self) -> Option<usize> {
        self.ambiguous
    }

    fn edge_range(&self, state: State) -> std::ops::Range<usize> {
        let node = &self.nodes[state as usize];
        node.edges as usize..(node.edges + node.count) as usize
    }

    #[inline]
    pub fn next(&self, mut state: State, byte: u8) -> State {
        let folded = byte.to_ascii_lowercase();
        while state != ROOT {
            let edges = &self.edges[self.edge_range(state)];
            if let Some((_, next)) = edges.iter().find(|(edge, _)| *edge == folded) {
                return *next;
            }
            state = self.nodes[state as usize].fail;
        }
        self.root[usize::from(byte)]
    }

    /// How many of the last bytes may still become a pattern.
    #[inline]
    pub fn depth(&self, state: State) -> usize {
        self.nodes[state as usize].depth as usize
    }

    #[inline]
    pub fn pattern(&self, state: State) -> Option<usize> {
        let pattern = self.nodes[state as usize].pattern;
        (pattern != NONE).then_some(pattern as usize)
    }

    #[inline]
    pub fn starts(&self, byte: u8) -> bool {
        self.root[usize::from(byte)] != ROOT
    }

    /// How many patterns stand in `text`, which goes on from `state`.
    pub fn count(&self, state: &mut State, text: &[u8]) -> u64 {
        let mut found = 0;
        for byte in text {
            *state = self.next(*state, *byte);
            if *state != ROOT && self.pattern(*state).is_some() {
                found += 1;
                *state = ROOT;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Automaton, ROOT};

    #[test]
    fn patterns_that_stand_in_others_are_told() {
        for (patterns, expected) in [
            (&["zova", "qilo", "lova"][..], false),
            (&["zova", "zovake"], true),
            (&["zova", "xzova"], true),
            (&["zova", "xzovak"], true),
            (&["zova", "ZOVA"], true),
        ] {
            let automaton = Automaton::new(patterns.iter().map(|pattern| pattern.as_bytes()));
            assert_eq!(automaton.ambiguous().is_some(), expected, "{patterns:?}");
        }
    }

    #[test]
    fn what_may_still_become_a_pattern_is_the_longest_suffix_that_begins_one() {
        let automaton = Automaton::new([&b"zozobe"[..], b"zobaqu"].into_iter());
        let mut state = ROOT;
        let depths: Vec<usize> = b"xzozozobe"
            .iter()
            .map(|byte| {
                state = automaton.next(state, *byte);
                automaton.depth(state)
            })
            .collect();
        assert_eq!(depths, [0, 1, 2, 3, 4, 3, 4, 5, 6]);
        assert_eq!(automaton.pattern(state), Some(0));
        assert_eq!(automaton.count(&mut ROOT.clone(), b"a ZOBAQU, a Zozobe, a zoba"), 2);
    }
}

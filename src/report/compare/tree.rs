//! A request as a tree of its leaves, whatever they are encoded in, and two such trees aligned.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::words::{common, longest};
use crate::engine::{Location, Root, Step};

/// Elements of two lists between which likeness is weighed, pair by pair.
const MOST_WEIGHED: usize = 40_000;
/// Leaves by which the likeness of two elements is judged.
const SAMPLED: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub leaves: Vec<Leaf>,
    children: Vec<(Key, Node)>,
    index: HashMap<Key, usize>,
    /// Of all that is below, names and values.
    digest: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub location: String,
    pub raw: Vec<u8>,
    /// Credentials masked.
    pub shown: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Key {
    Name(Box<str>),
    Index(u64),
}

/// What the likeness of two trees is judged by: names, and names with their values.
pub(super) type Sample = (Vec<u64>, Vec<u64>);

/// Two leaves, one of which may not be there.
pub(super) type Pair<'a> = (Option<&'a Leaf>, Option<&'a Leaf>);

impl Node {
    pub fn add(&mut self, location: &Location, leaf: Leaf) {
        let mut node = self;
        for key in keys(location) {
            let at = match node.index.get(&key) {
                Some(&at) => at,
                None => {
                    node.index.insert(key.clone(), node.children.len());
                    node.children.push((key, Node::default()));
                    node.children.len() - 1
                }
            };
            node = &mut node.children[at].1;
        }
        node.leaves.push(leaf);
    }

    /// Sums up what is below, once all leaves are there.
    pub fn seal(&mut self) {
        let mut hash = DefaultHasher::new();
        for leaf in &self.leaves {
            leaf.raw.hash(&mut hash);
        }
        // Members count whatever their order, elements in theirs.
        let mut members = 0_u64;
        let list = self.is_list();
        for (key, child) in &mut self.children {
            child.seal();
            if list {
                child.digest.hash(&mut hash);
            } else {
                let mut member = DefaultHasher::new();
                (&key, child.digest).hash(&mut member);
                members = members.wrapping_add(member.finish());
            }
        }
        members.hash(&mut hash);
        self.digest = hash.finish();
    }

    fn is_list(&self) -> bool {
        !self.children.is_empty() && self.children.iter().all(|(key, _)| matches!(key, Key::Index(_)))
    }

    pub fn count(&self) -> usize {
        self.leaves.len() + self.children.iter().map(|(_, child)| child.count()).sum::<usize>()
    }

    fn each<'a>(&'a self, take: &mut impl FnMut(&'a Leaf)) {
        // Where the spelling is a leaf and what it decodes to as well, the latter says more.
        if self.children.is_empty() {
            self.leaves.iter().for_each(&mut *take);
        }
        for (_, child) in &self.children {
            child.each(take);
        }
    }

    /// Names and values of the first leaves, each as one number.
    pub fn sample(&self) -> Sample {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        self.gather(0, &mut names, &mut values);
        names.sort_unstable();
        values.sort_unstable();
        (names, values)
    }

    fn gather(&self, path: u64, names: &mut Vec<u64>, values: &mut Vec<u64>) {
        for leaf in &self.leaves {
            if names.len() >= SAMPLED {
                return;
            }
            names.push(path);
            values.push(hashed(&(path, &leaf.raw)));
        }
        for (key, child) in &self.children {
            child.gather(hashed(&(path, key)), names, values);
        }
    }
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    value.hash(&mut hash);
    hash.finish()
}

/// Hands out the leaves that differ, aligned by structure.
pub(super) fn compare<'a>(a: &'a Node, b: &'a Node, differs: &mut dyn FnMut(Pair<'a>)) {
    if a.digest == b.digest {
        return;
    }
    let mut below = 0_usize;
    {
        let mut counted = |pair: Pair<'a>| {
            below += 1;
            differs(pair);
        };
        if a.is_list() && b.is_list() {
            lists(a, b, &mut counted);
        } else {
            members(a, b, &mut counted);
        }
    }
    // A spelling differs where what it decodes to does: that is said already.
    if below == 0 {
        let same = |a: &Leaf, b: &Leaf| a.raw == b.raw;
        for (left, right) in gaps(&a.leaves, &b.leaves, same) {
            in_order(&a.leaves[left], &b.leaves[right], differs);
        }
    }
}

fn members<'a>(a: &'a Node, b: &'a Node, differs: &mut dyn FnMut(Pair<'a>)) {
    for (key, child) in &a.children {
        match b.index.get(key) {
            Some(&at) => compare(child, &b.children[at].1, differs),
            None => child.each(&mut |leaf| differs((Some(leaf), None))),
        }
    }
    for (_, child) in b.children.iter().filter(|(key, _)| !a.index.contains_key(key)) {
        child.each(&mut |leaf| differs((None, Some(leaf))));
    }
}

fn lists<'a>(a: &'a Node, b: &'a Node, differs: &mut dyn FnMut(Pair<'a>)) {
    for (left, right) in gaps(&a.children, &b.children, |a, b| a.1.digest == b.1.digest) {
        let (left, right) = (&a.children[left], &b.children[right]);
        let samples = |side: &[(Key, Node)]| side.iter().map(|(_, node)| node.sample()).collect::<Vec<_>>();
        let pairs = match left.len() * right.len() <= MOST_WEIGHED {
            true => alike(&samples(left), &samples(right)),
            false => (0..left.len().min(right.len())).map(|at| (at, at)).collect(),
        };
        let (mut i, mut j) = (0, 0);
        for (x, y) in pairs.into_iter().chain([(left.len(), right.len())]) {
            left[i..x].iter().for_each(|(_, node)| node.each(&mut |leaf| differs((Some(leaf), None))));
            right[j..y].iter().for_each(|(_, node)| node.each(&mut |leaf| differs((None, Some(leaf)))));
            if let (Some((_, x)), Some((_, y))) = (left.get(x), right.get(y)) {
                compare(x, y, differs);
            }
            (i, j) = (x + 1, y + 1);
        }
    }
}

/// The stretches between what is equal on both sides.
fn gaps<T>(a: &[T], b: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut gaps = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (x, y) in common(a, b, same).into_iter().chain([(a.len(), b.len())]) {
        if i < x || j < y {
            gaps.push((i..x, j..y));
        }
        (i, j) = (x + 1, y + 1);
    }
    gaps
}

fn in_order<'a>(a: &'a [Leaf], b: &'a [Leaf], differs: &mut dyn FnMut(Pair<'a>)) {
    for at in 0..a.len().max(b.len()) {
        differs((a.get(at), b.get(at)));
    }
}

/// The pairs, in order, that are most alike all together.
pub(super) fn alike(a: &[Sample], b: &[Sample]) -> Vec<(usize, usize)> {
    longest(a.len(), b.len(), |i, j| likeness(&a[i], &b[j]))
}

/// How much two elements have in common, out of 100; 0 where too little for them to be one element that changed.
fn likeness(a: &Sample, b: &Sample) -> u32 {
    const LEAST: u32 = 25;
    let share = |a: &[u64], b: &[u64]| {
        let (mut i, mut j, mut both) = (0, 0, 0);
        while i < a.len() && j < b.len() {
            match a[i].cmp(&b[j]) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => (i, j, both) = (i + 1, j + 1, both + 1),
            }
        }
        let all = a.len() + b.len() - both;
        if all == 0 { 1.0 } else { both as f64 / all as f64 }
    };
    let likeness = (share(&a.0, &b.0) * 30.0 + share(&a.1, &b.1) * 70.0) as u32;
    if likeness < LEAST { 0 } else { likeness }
}

fn keys(location: &Location) -> Vec<Key> {
    let name = |text: &str| Key::Name(text.into());
    let mut keys = match &location.root {
        Root::Path(segment) => vec![name("path"), Key::Index(u64::from(*segment))],
        Root::Query => vec![name("query")],
        Root::Header { name: field, repeat } => vec![name("header"), name(field), Key::Index(u64::from(*repeat))],
        Root::Trailer(field) => vec![name("trailer"), name(field)],
        Root::Head => vec![name("head")],
        Root::Body => vec![name("body")],
        Root::Message(n) => vec![name("ws"), Key::Index(*n)],
    };
    for step in &location.steps {
        match step {
            // Bytes of a leaf are no place of their own.
            Step::Window(..) => {}
            Step::Json(pointer) | Step::MsgPack(pointer) => {
                keys.push(name(if matches!(step, Step::Json(_)) { "json" } else { "msgpack" }));
                keys.extend(pointer.split('/').skip(1).map(|segment| match segment.parse() {
                    Ok(index) => Key::Index(index),
                    Err(_) => name(segment),
                }));
            }
            Step::Pb(path) => {
                keys.push(name("pb"));
                for segment in path.split('/').filter(|segment| !segment.is_empty()) {
                    let (field, repeat) = segment.split_once('.').unwrap_or((segment, "0"));
                    keys.extend([name(field), Key::Index(repeat.parse().unwrap_or(0))]);
                }
            }
            Step::Lines(n) => keys.extend([name("lines"), Key::Index(*n)]),
            Step::Frame(n) => keys.extend([name("frame"), Key::Index(*n)]),
            Step::Event(n) => keys.extend([name("event"), Key::Index(*n)]),
            step => keys.push(name(&step.to_string())),
        }
    }
    keys
}

//! Which files what was met speaks for.
//!
//! What several files share (the head of a licence, the imports of a project) tells none of them: a file is named for text that is its
//! own. Of one that is as good as a copy of others that is what it shares with the fewest; it is named with them, unless
//! a larger file that was sent holds it all.

use std::collections::{BTreeMap, BTreeSet};

use super::Met;
use super::tree::{Tree, TreeFile};

/// Shingles that are more than chance in a file of which little was sent.
const CERTAIN: u32 = 8;

/// Of what was met, by host and file, the files whose content was sent.
pub(super) fn claims<'m>(tree: &Tree, met: &'m BTreeMap<(String, u32), Met>) -> BTreeSet<(&'m str, u32)> {
    let mut hosts: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for ((host, at), met) in met {
        if tree.files.get(*at as usize).is_some_and(|file| speaks_for(file, met)) {
            hosts.entry(host).or_default().insert(*at);
        }
    }
    for claimed in hosts.values_mut() {
        let held = held(tree, claimed);
        claimed.retain(|at| !held.contains(at));
    }
    hosts.into_iter().flat_map(|(host, files)| files.into_iter().map(move |file| (host, file))).collect()
}

/// Enough of the file's own text was met, or some of it as part of most of the file.
fn speaks_for(file: &TreeFile, met: &Met) -> bool {
    met.own >= CERTAIN || (met.own > 0 && met.count * 2 >= file.shingles)
}

/// Those of `claimed` with nothing of their own that a larger one of them holds nearly whole.
fn held(tree: &Tree, claimed: &BTreeSet<u32>) -> BTreeSet<u32> {
    let is_copy = |at: u32| tree.files[at as usize].owners > 1;
    if !claimed.iter().any(|at| is_copy(*at)) {
        return BTreeSet::new();
    }
    let mut common: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for owners in tree.shared() {
        let owners = || owners.iter().map(|entry| entry.file).filter(|at| claimed.contains(at));
        for copy in owners().filter(|at| is_copy(*at)) {
            for other in owners().filter(|other| *other != copy) {
                *common.entry((copy, other)).or_default() += 1;
            }
        }
    }
    let shingles = |at: u32| tree.files[at as usize].shingles;
    let is_held = |&((copy, other), count): &((u32, u32), u32)| {
        count * 10 >= shingles(copy) * 9 && shingles(other) * 4 > shingles(copy) * 5
    };
    common.into_iter().filter(is_held).map(|((copy, _), _)| copy).collect()
}

//! Which request of one side is which of the other: by endpoint, then by likeness, in order.

use std::collections::BTreeMap;

use super::Request;
use crate::report::compare::tree;

/// The requests of one side, each with those of the other captures that repeat it.
pub(super) struct Repeated<'a> {
    pub(super) first: &'a [Request],
    others: Vec<Vec<&'a Request>>,
}

impl<'a> Repeated<'a> {
    pub(super) fn of(side: &'a [Vec<Request>]) -> Self {
        let (first, rest) = match side.split_first() {
            Some((first, rest)) => (first.as_slice(), rest),
            None => (&[] as &[Request], &[] as &[Vec<Request>]),
        };
        let mut others = vec![Vec::new(); first.len()];
        for other in rest {
            for (one, repeat) in aligned(first, other) {
                if let (Some(at), Some(repeat)) = (one.and_then(|one| place(first, one)), repeat) {
                    others[at].push(repeat);
                }
            }
        }
        Self { first, others }
    }

    pub(super) fn repeats(&self, request: Option<&'a Request>) -> Vec<&'a Request> {
        let Some(request) = request else { return Vec::new() };
        let others = place(self.first, request).map(|at| self.others[at].as_slice()).unwrap_or_default();
        std::iter::once(request).chain(others.iter().copied()).collect()
    }
}

fn place(list: &[Request], request: &Request) -> Option<usize> {
    list.iter().position(|known| std::ptr::eq(known, request))
}

/// Which request of one capture is which of the other.
pub(super) fn aligned<'a>(a: &'a [Request], b: &'a [Request]) -> Vec<(Option<&'a Request>, Option<&'a Request>)> {
    let mut out = Vec::new();
    for (left, right) in by_endpoint(a, b) {
        let samples = |side: &[&Request]| side.iter().map(|request| request.tree().sample()).collect::<Vec<_>>();
        let pairs = match left.len() * right.len() <= MOST_WEIGHED {
            true => tree::alike(&samples(&left), &samples(&right)),
            false => (0..left.len().min(right.len())).map(|at| (at, at)).collect(),
        };
        let (mut i, mut j) = (0, 0);
        for (x, y) in pairs.into_iter().chain([(left.len(), right.len())]) {
            out.extend(left[i..x].iter().map(|&gone| (Some(gone), None)));
            out.extend(right[j..y].iter().map(|&new| (None, Some(new))));
            if let (Some(&x), Some(&y)) = (left.get(x), right.get(y)) {
                out.push((Some(x), Some(y)));
            }
            (i, j) = (x + 1, y + 1);
        }
    }
    out
}

/// Requests to one endpoint between which likeness is weighed, pair by pair.
const MOST_WEIGHED: usize = 1_000_000;

type Sides<'a> = (Vec<&'a Request>, Vec<&'a Request>);

pub(super) fn by_endpoint<'a>(a: &'a [Request], b: &'a [Request]) -> Vec<Sides<'a>> {
    let mut pairs: BTreeMap<String, Sides<'a>> = BTreeMap::new();
    for request in a {
        pairs.entry(request.endpoint()).or_default().0.push(request);
    }
    for request in b {
        pairs.entry(request.endpoint()).or_default().1.push(request);
    }
    let mut pairs: Vec<Sides<'a>> = pairs.into_values().collect();
    // Repeats of one request that went to another host, or by another path, are still that request.
    if let [one, other] = pairs.as_mut_slice()
        && (one.1.is_empty() && other.0.is_empty() || one.0.is_empty() && other.1.is_empty())
    {
        let (left, right) = if one.1.is_empty() { (&mut one.0, &mut other.1) } else { (&mut other.0, &mut one.1) };
        return vec![(std::mem::take(left), std::mem::take(right))];
    }
    pairs.sort_by_key(|(a, b)| (a.is_empty(), b.is_empty()));
    pairs
}

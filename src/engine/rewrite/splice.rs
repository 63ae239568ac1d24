//! Byte ranges that become other bytes.

use std::ops::Range;

use super::RewriteError;

/// `range` of a layer's content becomes `bytes`.
#[derive(Clone, Debug)]
pub(crate) struct Splice {
    pub range: Range<usize>,
    pub bytes: Vec<u8>,
    /// The edits it comes from; none for a length that follows.
    pub edits: Vec<usize>,
    /// The leaf around it, in the same layer: which lengths follow depends on it.
    pub leaf: Range<usize>,
}

impl Splice {
    pub fn length(range: Range<usize>, bytes: Vec<u8>) -> Self {
        Self { leaf: range.clone(), range, bytes, edits: Vec::new() }
    }

    /// From the first to the last byte in which `new` differs from `old`.
    pub fn of_difference(old: &[u8], new: &[u8], edits: Vec<usize>) -> Self {
        let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let same = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(old, new)| old == new).count();
        let range = start..old.len() - same;
        Self { leaf: range.clone(), range, bytes: new[start..new.len() - same].to_vec(), edits }
    }

    pub fn growth(&self) -> isize {
        self.bytes.len() as isize - self.range.len() as isize
    }
}

/// Sorts by place; two that share bytes are an error.
pub(super) fn order(splices: &mut [Splice]) -> Result<(), RewriteError> {
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    for pair in splices.windows(2) {
        if pair[1].range.start < pair[0].range.end {
            let edit = |splice: &Splice| splice.edits.first().copied().unwrap_or_default();
            return Err(RewriteError::Overlap { first: edit(&pair[0]), second: edit(&pair[1]) });
        }
    }
    Ok(())
}

/// `content` with `splices` (in order, not overlapping) made.
pub(super) fn apply(content: &[u8], splices: &[Splice]) -> Vec<u8> {
    let growth: isize = splices.iter().map(Splice::growth).sum();
    let mut out = Vec::with_capacity(content.len().saturating_add_signed(growth));
    let mut at = 0;
    for splice in splices {
        out.extend_from_slice(&content[at..splice.range.start]);
        out.extend_from_slice(&splice.bytes);
        at = splice.range.end;
    }
    out.extend_from_slice(&content[at..]);
    out
}

/// Where old position `at` is afterwards; a position inside a splice comes to stand at its end.
pub(super) fn moved(splices: &[Splice], at: usize) -> usize {
    let before = splices.iter().take_while(|splice| splice.range.start < at);
    let inside = |splice: &&Splice| splice.range.end > at;
    let at =
        splices.iter().take_while(|splice| splice.range.start < at).find(inside).map_or(at, |splice| splice.range.end);
    at.wrapping_add_signed(before.map(Splice::growth).sum())
}

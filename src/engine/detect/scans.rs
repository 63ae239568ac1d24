//! Long texts that were scanned before: what stands in them, without the text.
//!
//! A conversation is sent whole with every turn, so most of a request was in the one before. What a scan of a text gives
//! depends on the text alone: numbers and places, kept by a digest of it. What they mean, where the text stands this time, is
//! judged anew.

use std::ops::Range;
use std::sync::Arc;

use super::covert;
use super::elements::Elements;
use super::scanner::{FormHit, Hits, LiteralHit};
use super::told::Tales;
use crate::engine::digest::{Digest, DigestKey};
use crate::engine::remembered::Remembered;
use crate::engine::visit::{Quoted, SHORTEST_KNOWN};

/// Bytes of the newer half of what is kept.
const HALF: usize = 8 << 20;
pub(crate) struct Scans {
    key: DigestKey,
    kept: Remembered<Digest, Arc<Scanned>>,
    tales: Tales,
    elements: Elements,
}

/// What a scan of one text gives.
pub(super) struct Scanned {
    runs: Box<[Range<usize>]>,
    literals: Box<[LiteralHit]>,
    forms: Box<[FormHit]>,
    signs: Box<[usize]>,
    /// No character is in it that any mark could begin with.
    pub unmarked: bool,
}

impl Default for Scans {
    fn default() -> Self {
        Self {
            key: DigestKey::default(),
            kept: Remembered::new(HALF),
            tales: Tales::default(),
            elements: Elements::default(),
        }
    }
}

impl Scans {
    /// By what `text` is known; none where it is not worth it.
    pub(super) fn digest(&self, text: &[u8]) -> Option<Digest> {
        (text.len() >= SHORTEST_KNOWN).then(|| self.key.of(&[text], 0))
    }

    /// The same of one whose escapes, if it has any, were not undone.
    pub(super) fn digest_quoted(&self, value: &Quoted<'_>) -> Digest {
        self.key.of(&[value.raw], u64::from(value.escaped))
    }

    pub(crate) fn key(&self) -> &DigestKey {
        &self.key
    }

    /// What elements of lists came to at theirs.
    pub(super) fn elements(&self) -> &Elements {
        &self.elements
    }

    /// What texts came to at their places.
    pub(super) fn tales(&self) -> &Tales {
        &self.tales
    }

    pub(super) fn get(&self, digest: Digest) -> Option<Arc<Scanned>> {
        self.kept.get(digest)
    }

    pub(super) fn put(&self, digest: Digest, text: &[u8], runs: &[Range<usize>], hits: &Hits) {
        let scanned = Scanned {
            runs: runs.into(),
            literals: hits.literals.as_slice().into(),
            forms: hits.forms.as_slice().into(),
            signs: hits.signs.as_slice().into(),
            unmarked: covert::is_plain(text),
        };
        let weight = scanned.weight();
        self.kept.put(digest, Arc::new(scanned), weight);
    }
}

impl Scanned {
    pub fn runs(&self, runs: &mut Vec<Range<usize>>) {
        runs.extend_from_slice(&self.runs);
    }

    pub fn hits(&self, hits: &mut Hits) {
        hits.clear();
        hits.literals.extend_from_slice(&self.literals);
        hits.forms.extend_from_slice(&self.forms);
        hits.signs.extend_from_slice(&self.signs);
    }

    fn weight(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&self.runs[..])
            + size_of_val(&self.literals[..])
            + size_of_val(&self.forms[..])
            + size_of_val(&self.signs[..])
    }
}

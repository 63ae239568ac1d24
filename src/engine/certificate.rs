//! What an edited request says about its edits: that nothing else moved.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::finding::PartOf;
use super::location::Location;
use crate::wire::span::Span;

/// The account of the edits of one flow. Holds raw values, which only the line writer reads and digests.
#[derive(Clone, Default)]
pub struct Certificate {
    pub edits: Vec<CertifiedEdit>,
    /// SHA-256 of all that no edit touched, of the head and of the content-decoded body, as it came …
    pub rest_before: [u8; 32],
    /// … and as it leaves: equal. Of several units, the digest of their digests in order.
    pub rest_after: [u8; 32],
    /// Kinds and places of the integrity values that cover edited bytes.
    pub integrity: Vec<(Arc<str>, Location)>,
    /// Bytes of the content-decoded body as it leaves that the conversation's previous turn began with too; none where that
    /// turn is not known.
    pub prefix: Option<u64>,
    units: u32,
}

#[derive(Clone)]
pub struct CertifiedEdit {
    pub location: Location,
    pub old: Arc<str>,
    pub new: Arc<str>,
    /// The bytes that changed, as they came and as they leave, where they stand in one place.
    pub place: Option<(PartOf, Span, Span)>,
}

impl Certificate {
    pub(super) fn of(
        edits: Vec<CertifiedEdit>,
        rest_before: [u8; 32],
        rest_after: [u8; 32],
        integrity: Vec<(Arc<str>, Location)>,
    ) -> Self {
        Self { edits, rest_before, rest_after, integrity, prefix: None, units: 1 }
    }

    /// Takes in the certificate of a later unit.
    pub(super) fn add(&mut self, unit: &Self) {
        self.edits.extend(unit.edits.iter().cloned());
        for entry in &unit.integrity {
            if !self.integrity.contains(entry) {
                self.integrity.push(entry.clone());
            }
        }
        if self.units == 0 {
            (self.rest_before, self.rest_after) = (unit.rest_before, unit.rest_after);
        } else {
            self.rest_before = chained(&self.rest_before, &unit.rest_before);
            self.rest_after = chained(&self.rest_after, &unit.rest_after);
        }
        self.prefix = self.prefix.or(unit.prefix);
        self.units += unit.units;
    }
}

fn chained(so_far: &[u8; 32], next: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(so_far).chain_update(next).finalize().into()
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({} edits)", self.edits.len())
    }
}

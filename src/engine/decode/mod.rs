//! Walks one unit, layer by layer, and hands every value to a [`Visitor`].
//!
//! ```text
//! head, body -> content codings -> document -> values -> documents inside values -> ...
//! ```
//!
//! What is counted: [`Decoded::bytes_sent`] are the payload's bytes, as they left. `bytes_read` are those of
//! them that were decoded to their leaves; each unread run counts for as many payload bytes as carry it (its
//! share, where a coding stands between), so `bytes_read` and what `unread` lists add up to `bytes_sent`. The
//! head is always read and counted in neither.

mod base64;
mod coding;
mod entropy;
mod form;
mod head;
mod json;
mod layer;
mod percent;
mod place;
mod sniff;
#[cfg(test)]
mod tests;
mod walker;

pub use entropy::entropy;
pub use layer::{Base64, Codec, Format, Layer, Member, Origin};

use super::audit::{Unit, Unread};
use super::visit::Visitor;

/// What one unit may cost. What lies beyond is reported as unread.
#[derive(Clone, Debug)]
pub struct DecodeLimits {
    /// Layers inside one another, content codings included (reason `depth`).
    pub depth: usize,
    /// Arrays and objects inside one another in one JSON text (reason `depth`).
    pub json_depth: usize,
    /// Bytes made by undoing encodings, all layers together (reason `limit`).
    pub decoded_bytes: usize,
    /// Output over input of one compressed layer past its first MiB (reason `ratio`).
    pub ratio: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { depth: 10, json_depth: 1024, decoded_bytes: 64 << 20, ratio: 1000 }
    }
}

/// What a walk leaves behind: enough to write edits back.
#[derive(Debug)]
pub struct Decoded {
    /// The head is the first, the payload the second where there is one; each comes after the one that holds it.
    pub layers: Vec<Layer>,
    pub bytes_sent: u64,
    pub bytes_read: u64,
    pub unread: Vec<Unread>,
}

/// Walks one unit in wire order.
pub fn walk<V: Visitor>(unit: &Unit<'_>, limits: &DecodeLimits, visitor: &mut V) -> Decoded {
    walker::Walker::new(limits, visitor).unit(unit)
}

//! Walks one unit, layer by layer, and hands every value to a [`Visitor`].
//!
//! ```text
//! head, body -> content codings -> document -> values -> documents inside values -> ...
//! ```
//!
//! Readings. A value that is a whole document, or an encoding of one, is entered and not handed out itself. Where
//! an encoding holds plain or opaque bytes the spelling may as well be the value, so both are handed out, the
//! spelling first: a fact that fills all of the decoded text belongs to the spelling's own place
//! ([`Location::leave_encodings`](super::Location::leave_encodings)). Tokens (RFC 7519) and credentials are
//! handed out as they stand and entered.
//!
//! Places. A path segment is numbered as it stands, empty ones counted. A pair without `=`, in a query, form or
//! cookie, is a value without a name. Lines are numbered without the empty ones; of several JSON documents in a row
//! the first is the body's document, and the others are lines from 1. Parts without a name bear their number. What
//! no decoder knows is searched for runs of text, each an [`Opaque`](super::visit::LeafKind::Opaque) leaf, and
//! reported.
//!
//! What is counted: [`Decoded::bytes_sent`] are the payload's bytes, as they left. `bytes_read` are those of
//! them that were decoded to their leaves; each unread run counts for as many payload bytes as carry it (its
//! share, where a coding stands between), so `bytes_read` and what `unread` lists add up to `bytes_sent`. The
//! head is always read and counted in neither.

mod aws_chunked;
mod base64;
mod body;
mod coding;
mod connect;
mod documents;
mod entropy;
mod escape;
pub(crate) mod event_stream;
mod form;
mod frame;
#[cfg(test)]
mod framed_tests;
mod head;
pub(crate) mod html;
pub(crate) mod http;
mod inflate;
pub(crate) mod json;
mod layer;
pub(crate) mod lines;
pub(crate) mod msgpack;
mod multipart;
pub(crate) mod pairs;
#[cfg(test)]
mod parts_tests;
pub(crate) mod percent;
pub(crate) mod place;
pub(crate) mod protobuf;
pub(crate) mod qoder;
pub(crate) mod quoted_printable;
pub(crate) mod sentry;
mod sniff;
#[cfg(test)]
mod telemetry_tests;
#[cfg(test)]
mod tests;
mod walker;

#[cfg(test)]
pub(crate) use base64::runs as base64_runs;
pub(crate) use base64::{decode as decode_base64, encode as encode_base64};
pub use entropy::entropy;
pub(crate) use escape::{Unit as JsonUnit, escape as json_escape, unescape as json_unescape};
pub(crate) use head::split_target;
pub(crate) use json::{
    blank as json_blank, is_number as is_json_number, string as json_string, value_end as json_value_end,
};
pub use layer::{Base64, Codec, Format, Layer, Member, Origin, Wrap};

use super::audit::{Unit, Unread};
use super::visit::{LayerId, Visitor};

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
    /// The body once its content codings are undone (the payload itself where there are none, and for frames,
    /// lines and messages): what `PartOf::Body` counts in.
    pub body: Option<LayerId>,
    pub bytes_sent: u64,
    pub bytes_read: u64,
    pub unread: Vec<Unread>,
}

/// Walks one unit in wire order.
pub fn walk<V: Visitor>(unit: &Unit<'_>, limits: &DecodeLimits, visitor: &mut V) -> Decoded {
    walker::Walker::new(limits, visitor).unit(unit)
}

/// `coded` decoded anew, without bounds: what was made here is not hostile.
pub(crate) fn undo_codec(codec: &Codec, coded: &[u8]) -> Option<Vec<u8>> {
    let coding = match codec {
        Codec::Gzip(_) => coding::Coding::Gzip,
        Codec::Zlib { .. } => coding::Coding::Zlib,
        Codec::Deflate { .. } => coding::Coding::Deflate,
        Codec::Br => coding::Coding::Br,
        Codec::Zstd(_) => coding::Coding::Zstd,
        _ => return None,
    };
    let undone = coding.undo(coded, coding::Bounds { bytes: usize::MAX, ratio: usize::MAX });
    undone.whole.then_some(undone.content)
}

/// What `codec` reads from `text`, where that is settled by its text alone: of a text that was read whole and within bounds before.
pub(crate) fn read_again(codec: &Codec, text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match codec {
        Codec::Identity => out.extend_from_slice(text),
        Codec::Percent => percent::decode(text, false, &mut out),
        Codec::Html => html::decode(text, &mut out),
        Codec::Base64(spelling) => return base64::decode(text, *spelling),
        Codec::Qoder { exchanged } => return qoder::decode(text, *exchanged),
        Codec::Gzip(_) | Codec::Zlib { .. } | Codec::Deflate { .. } | Codec::Br | Codec::Zstd(_) => {
            return undo_codec(codec, text);
        }
        Codec::QuotedPrintable | Codec::Hex { .. } | Codec::Reversed(_) | Codec::AwsChunked => return None,
    }
    Some(out)
}

/// As [`undo_codec`], by the coding's name and within bounds.
pub(crate) fn undo_bounded(coding: &str, coded: &[u8], bytes: usize, ratio: usize) -> Option<coding::Undone> {
    Some(coding::Coding::named(coding)?.undo(coded, coding::Bounds { bytes, ratio }))
}

#[cfg(test)]
pub(crate) fn undo_all(coding: &str, coded: &[u8]) -> Option<(Vec<u8>, Codec)> {
    let undone = coding::Coding::named(coding)?.undo(coded, coding::Bounds { bytes: usize::MAX, ratio: usize::MAX });
    undone.stop.is_none().then_some((undone.content, undone.codec))
}

/// Adds the runs of base64 letters of `text` that a [`Leaf`](super::visit::Leaf) lists.
pub(super) fn runs_of(text: &[u8], runs: &mut Vec<std::ops::Range<usize>>) {
    base64::runs(text, super::visit::SHORTEST_RUN, runs);
}

/// Whether `text` has two bytes a character.
pub(super) fn is_wide(text: &[u8]) -> bool {
    sniff::is_wide(text)
}

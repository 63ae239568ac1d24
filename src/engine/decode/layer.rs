//! The layers of a unit: every run of bytes that had to be made readable, and how to make it back.

use bytes::Bytes;

use crate::engine::visit::{LayerId, Spelling, Target};
use crate::wire::span::Span;

/// Content bytes and where they came from. Only layers are kept, never leaves.
#[derive(Clone, Debug)]
pub struct Layer {
    pub content: Bytes,
    pub origin: Origin,
    pub format: Format,
    /// Everything the source held is in `content`. A layer that was left early cannot be written back.
    pub whole: bool,
}

#[derive(Clone, Debug)]
pub enum Origin {
    /// The head, as sent.
    Head,
    /// The payload, as sent.
    Payload,
    /// `window` of the decoded text of `leaf`, read by `codec`.
    Leaf { leaf: Target, window: Span, codec: Codec },
}

/// What has to follow inside a layer when a piece of it changes its length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    Plain,
    /// Connect or gRPC envelopes: one byte of flags, four of length.
    Frames,
    /// Protobuf: the length before every enclosing field.
    Protobuf,
    /// MessagePack: the length before a string.
    MsgPack,
    /// A request inside a part: its `content-length`.
    Http,
    /// Sentry envelope: the length in the header of an item.
    Items,
    /// AWS event stream: two lengths and two checksums a message, a length a header.
    Events,
}

/// How a layer's content is spelled in the leaf that holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Codec {
    /// As it is: a document inside a string.
    Identity,
    Percent,
    Html,
    QuotedPrintable,
    Base64(Base64),
    Hex {
        upper: bool,
    },
    /// `exchanged`: the first and the last third of the text have changed places.
    Qoder {
        exchanged: bool,
    },
    /// Base64 written backwards: Statsig's encoded bodies.
    Reversed(Base64),
    /// The pieces of `aws-chunked`, joined. Not written back.
    AwsChunked,
    Gzip(Vec<Member>),
    Zlib {
        level: u8,
        /// Where the compressed data ends; what follows it is kept.
        end: usize,
    },
    Deflate {
        end: usize,
    },
    Br,
    Zstd(Vec<Member>),
}

impl Codec {
    /// How many members are kept beside the content.
    pub(in crate::engine) fn members(&self) -> usize {
        match self {
            Codec::Gzip(members) | Codec::Zstd(members) => members.len(),
            _ => 0,
        }
    }

    /// What stands in `coded` beside the compressed data: names, comments and other optional parts of the headers of gzip
    /// (RFC 1952, section 2.3), and frames of zstd that are skipped (RFC 8878, section 3.1.2).
    pub(super) fn asides(&self, coded: &[u8]) -> Vec<u8> {
        const GZIP_HEADER: usize = 10;
        const SKIPPED: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;
        const SKIPPED_HEADER: usize = 8;
        let aside = |member: &Member| match self {
            Codec::Gzip(_) => member.header.of_bytes(coded).get(GZIP_HEADER..),
            _ => {
                let frame = member.coded.of_bytes(coded);
                let magic = frame.first_chunk().map(|magic| u32::from_le_bytes(*magic));
                frame.get(SKIPPED_HEADER..).filter(|_| magic.is_some_and(|magic| SKIPPED.contains(&magic)))
            }
        };
        match self {
            Codec::Gzip(members) | Codec::Zstd(members) => {
                members.iter().filter_map(aside).flatten().copied().collect()
            }
            _ => Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Base64 {
    pub url: bool,
    pub padded: bool,
    pub wrap: Option<Wrap>,
}

/// Lines of base64, as mail and `base64(1)` write them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wrap {
    /// Characters a line.
    pub width: u16,
    pub crlf: bool,
    /// The last line has its end too.
    pub ended: bool,
}

/// One member of a gzip body or one frame of a zstd body: an untouched one is written back as it came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Member {
    /// In the encoded bytes.
    pub coded: Span,
    /// The part of `coded` before the compressed data.
    pub header: Span,
    /// In the content.
    pub content: Span,
    /// In the encoded bytes: a trailer that does not fit the content. It stays as it is, for the receiver to refuse.
    pub wrong_trailer: Option<Span>,
}

impl Layer {
    /// The whole content as a target.
    pub fn target(&self, layer: LayerId) -> Target {
        Target { layer, raw: Span::of(0..self.content.len()), spelling: Spelling::Raw }
    }
}

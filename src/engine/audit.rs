//! What goes into the engine and what comes out.

use bytes::Bytes;

use super::finding::Finding;
use super::location::Location;
use crate::wire::head::{HeadEdit, RequestHead};

/// The request that a unit belongs to: all that is known before its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// Lower case, without the port.
    pub host: String,
    pub port: u16,
    /// `https`, or `http` where nothing was encrypted.
    pub secure: bool,
    pub head: RequestHead,
}

/// One piece of a request, in the order they are sent: a head with its whole body, or a head and then
/// frames, lines or messages as each completes.
#[derive(Clone, Debug)]
pub enum Part {
    /// The head alone: there is no body, or its pieces follow one by one.
    Head,
    /// The head with its whole body, content codings still applied.
    Document(Bytes),
    /// One envelope of a Connect or gRPC body, with its five-byte prefix; one message of an AWS event stream.
    Frame { index: u64, bytes: Bytes },
    /// One line of a newline-delimited body, with its line end.
    Line { index: u64, bytes: Bytes },
    /// One WebSocket message of the client, unmasked and inflated.
    Message { index: u64, text: bool, bytes: Bytes },
    /// A piece of a body that is neither a document nor framed: counted and searched, never edited.
    Chunk { offset: u64, bytes: Bytes },
    /// The fields after the last chunk, without the empty line: the end of a request. No bytes of its body.
    Trailers(Bytes),
}

#[derive(Clone, Debug)]
pub struct Unit<'a> {
    pub request: &'a Request,
    pub part: Part,
}

/// What may be sent upstream. A withheld unit carries no bytes, so it cannot be sent by mistake.
#[derive(Debug)]
pub enum Outgoing {
    /// Byte for byte what the client sent (empty for a head alone).
    Unchanged(Bytes),
    /// The edited values replaced in the layers they came in, lengths corrected.
    Rewritten(Rewritten),
    Withheld(Refusal),
}

#[derive(Debug)]
pub struct Rewritten {
    /// Changes to the head, in order, not overlapping; `content-length` among them where it changed.
    pub head: Vec<HeadEdit>,
    /// The payload that leaves (body, frame with its prefix, line, message).
    pub payload: Bytes,
}

/// Why a unit may not leave. Never holds a found value.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// One word for `x-divulge-block`: `policy`, `limit`, `undecodable` …
    pub reason: &'static str,
    /// One sentence for the person who reads the assistant's error.
    pub message: String,
}

/// Bytes that could not be read.
#[derive(Clone, Debug)]
pub struct Unread {
    pub location: Location,
    pub bytes: u64,
    /// `content-coding`, `limit`, `opaque`, `depth`, `ratio`, `malformed` …
    pub reason: &'static str,
    /// Shannon entropy in bits a byte, of the first 64 KiB.
    pub entropy: f32,
}

/// What one unit reveals and what may leave in its place.
#[derive(Debug)]
pub struct Audit {
    pub findings: Vec<Finding>,
    pub unread: Vec<Unread>,
    /// Payload bytes that were decoded to their leaves.
    pub bytes_read: u64,
    pub bytes_sent: u64,
    pub outgoing: Outgoing,
}

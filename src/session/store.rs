//! A session as one append-only file: what is written, and how it is read again.
//!
//! ```text
//! file    "divulge session 1\n"  record*
//! record  length u32 | kind u8 | payload | chain [32]          little endian; payloads are zstd
//! chain   SHA-256(chain before | kind | length | SHA-256(payload)), the first before: SHA-256 of the first line
//! ```
//!
//! | kind | payload |
//! |---|---|
//! | 1 | about the session: JSON |
//! | 2 | bytes of bodies and heads that stand nowhere before it |
//! | 3 | a request: JSON, its bytes as extents of records of kind 2 |
//! | 4 | the end of an exchange: answer and messages, likewise |
//! | 5 | lines of findings and flows |
//! | 255 | erased: kind, length and SHA-256 of what stood here, so that the chain still holds |
//!
//! Bodies are cut by their content and each piece is kept once, so that a conversation that is sent again with every
//! turn costs what is new in it. A torn record at the end is what a crash leaves; it is cut off when the file is opened to
//! be written.

use std::collections::HashMap;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

mod reader;
mod scan;

pub use reader::SessionReader;
pub use scan::{FlowPlaces, Place, Position, Scan, Told, check, walk};

use super::chunks::pieces;
use super::flow::{Beat, Bodies, BodyState, Exchange, Message, Millis, Piece, UnreadMessage};

/// What a session file begins with; the number is the version of the format.
pub const MAGIC: &[u8] = b"divulge session 1\n";
/// Most bytes of one payload, packed.
const LONGEST_RECORD: u32 = 256 << 20;
/// Most bytes of one payload, unpacked.
const LONGEST_UNPACKED: usize = 1 << 30;
/// Pieces that are remembered to be kept once; beyond it new ones are kept again and again.
const MOST_PIECES: usize = 1 << 20;
const LEVEL: i32 = 3;

const ABOUT: u8 = 1;
const PACK: u8 = 2;
const REQUEST: u8 = 3;
const END: u8 = 4;
const LINES: u8 = 5;
const ERASED: u8 = 255;

type Chain = [u8; 32];

/// What holds for a whole session.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct About {
    pub session: String,
    pub started: Millis,
    /// `divulge 0.1.0`
    pub generator: String,
    /// `masked`, `full` or `none`.
    pub bodies: String,
    /// The policy's name and text.
    pub policy: String,
    pub policy_text: String,
    /// The chain at the end of the file that this one goes on from, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The chains at the ends of the files whose flows were put into this one, in hex.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
}

/// Bytes of a record of kind 2: its number, where they begin in it and how many.
type Extent = (u32, u32, u32);

#[derive(Deserialize, Serialize)]
struct StoredMessage {
    head: Vec<Extent>,
    body: Vec<Extent>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    trailers: String,
    /// `whole`, `cut`, `masked`, or length and SHA-256 in hex.
    state: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<Piece>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pace: Vec<Beat>,
}

#[derive(Deserialize, Serialize)]
struct StoredRequest {
    flow: String,
    at: Option<Millis>,
    host: String,
    port: u16,
    secure: bool,
    /// What is kept, where that is not what the session says of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bodies: Option<Bodies>,
    message: StoredMessage,
}

#[derive(Deserialize, Serialize)]
struct StoredFrame {
    from_client: bool,
    text: bool,
    at: Option<Millis>,
    data: Vec<Extent>,
}

#[derive(Deserialize, Serialize)]
struct StoredEnd {
    flow: String,
    at: Option<Millis>,
    /// Of the request: they come when it is written already.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    trailers: String,
    response: Option<StoredMessage>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    messages: Vec<StoredFrame>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unread: Vec<UnreadMessage>,
}

#[derive(Deserialize, Serialize)]
struct StoredLines {
    flow: String,
    lines: Vec<String>,
}

/// Where a writer stands.
#[derive(Clone, Copy)]
pub struct WriterState {
    chain: Chain,
    packs: u32,
}

/// Turns what happens into the bytes that are appended to a file.
pub struct SessionWriter {
    chain: Chain,
    packs: u32,
    /// Where a piece stands, by the first half of its SHA-256.
    known: HashMap<[u8; 16], Extent>,
    packer: zstd::bulk::Compressor<'static>,
}

fn packer() -> zstd::bulk::Compressor<'static> {
    zstd::bulk::Compressor::new(LEVEL).expect("memory for one window")
}

impl SessionWriter {
    /// A new file: the writer and the file's first bytes.
    pub fn begin(about: &About) -> (Self, Vec<u8>) {
        let mut writer =
            Self { chain: Sha256::digest(MAGIC).into(), packs: 0, known: HashMap::new(), packer: packer() };
        let mut out = MAGIC.to_vec();
        writer.json(ABOUT, about, &mut out);
        (writer, out)
    }

    /// Goes on with a file of which [`Scan`] says that it ends at `chain` with so many records of kind 2. What stands in
    /// them is not looked for: their bytes are kept again.
    pub fn resume(scan: &Scan) -> Self {
        Self { chain: scan.raw_chain(), packs: scan.pack_count() as u32, known: HashMap::new(), packer: packer() }
    }

    /// Where it stands: for [`SessionWriter::restore`], if what it gave next could not be written.
    pub fn clone_state(&self) -> WriterState {
        WriterState { chain: self.chain, packs: self.packs }
    }

    /// Goes back to `state`: what was given since is not in the file.
    pub fn restore(&mut self, state: WriterState) {
        (self.chain, self.packs) = (state.chain, state.packs);
        self.known.retain(|_, extent| extent.0 < state.packs);
    }

    /// Hex, for whoever wants to note where a session ended.
    pub fn chain(&self) -> String {
        hex(&self.chain)
    }

    pub fn request(&mut self, exchange: &Exchange) -> Vec<u8> {
        let mut out = Vec::new();
        let stored = StoredRequest {
            flow: exchange.id.clone(),
            at: exchange.started,
            host: exchange.host.clone(),
            port: exchange.port,
            secure: exchange.secure,
            bodies: exchange.bodies,
            message: self.message(&exchange.request, &mut out),
        };
        self.json(REQUEST, &stored, &mut out);
        out
    }

    /// The answer and the messages; its request stands before it.
    pub fn end(&mut self, exchange: &Exchange) -> Vec<u8> {
        let mut out = Vec::new();
        let response = exchange.response.as_ref().map(|response| self.message(response, &mut out));
        let mut messages = Vec::with_capacity(exchange.messages.len());
        for message in &exchange.messages {
            let data = self.bytes(&[&message.data], &mut out).remove(0);
            messages.push(StoredFrame { from_client: message.from_client, text: message.text, at: message.at, data });
        }
        let trailers = String::from_utf8_lossy(&exchange.request.trailers).into_owned();
        let (flow, unread) = (exchange.id.clone(), exchange.unread_messages.clone());
        let stored = StoredEnd { flow, at: exchange.ended, trailers, response, messages, unread };
        self.json(END, &stored, &mut out);
        out
    }

    pub fn lines(&mut self, flow: &str, lines: Vec<String>) -> Vec<u8> {
        let mut out = Vec::new();
        self.json(LINES, &StoredLines { flow: flow.to_owned(), lines }, &mut out);
        out
    }

    fn message(&mut self, message: &Message, out: &mut Vec<u8>) -> StoredMessage {
        let mut extents = self.bytes(&[&message.head, &message.body], out);
        let body = extents.pop().unwrap_or_default();
        StoredMessage {
            head: extents.pop().unwrap_or_default(),
            body,
            trailers: String::from_utf8_lossy(&message.trailers).into_owned(),
            state: match &message.body_state {
                BodyState::Whole => "whole".to_owned(),
                BodyState::Cut => "cut".to_owned(),
                BodyState::Masked => "masked".to_owned(),
                BodyState::Omitted { length, sha256 } => format!("{length} {}", hex(sha256)),
            },
            pieces: message.pieces.clone(),
            pace: message.pace.clone(),
        }
    }

    /// Where each of `texts` stands; what is new goes into one record.
    fn bytes(&mut self, texts: &[&[u8]], out: &mut Vec<u8>) -> Vec<Vec<Extent>> {
        let mut pack = Vec::new();
        let mut places = Vec::with_capacity(texts.len());
        for text in texts {
            let mut extents: Vec<Extent> = Vec::new();
            for piece in pieces(text) {
                let mut id = [0; 16];
                id.copy_from_slice(&Sha256::digest(piece)[..16]);
                let extent = match self.known.get(&id) {
                    Some(extent) => *extent,
                    None => {
                        let extent = (self.packs, pack.len() as u32, piece.len() as u32);
                        pack.extend_from_slice(piece);
                        if self.known.len() < MOST_PIECES {
                            self.known.insert(id, extent);
                        }
                        extent
                    }
                };
                match extents.last_mut() {
                    Some((number, start, length)) if *number == extent.0 && *start + *length == extent.1 => {
                        *length += extent.2;
                    }
                    _ => extents.push(extent),
                }
            }
            places.push(extents);
        }
        if !pack.is_empty() {
            self.record(PACK, &pack, out);
            self.packs += 1;
        }
        places
    }

    fn json(&mut self, kind: u8, value: &impl Serialize, out: &mut Vec<u8>) {
        let text = serde_json::to_vec(value).expect("texts, numbers and lists are always JSON");
        self.record(kind, &text, out);
    }

    fn record(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        let payload = self.packer.compress(content).expect("memory takes what is compressed");
        self.chain = next(&self.chain, kind, payload.len() as u32, &Sha256::digest(&payload).into());
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.push(kind);
        out.extend_from_slice(&payload);
        out.extend_from_slice(&self.chain);
    }
}

fn next(chain: &Chain, kind: u8, length: u32, digest: &[u8; 32]) -> Chain {
    let mut hash = Sha256::new();
    hash.update(chain);
    hash.update([kind]);
    hash.update(length.to_le_bytes());
    hash.update(digest);
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    crate::engine::line::hex(bytes)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// In the file.
    pub offset: u64,
    pub reason: String,
}

/// Why a file is no session that can be read.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("no session of divulge: expected a file that begins with \"divulge session\"")]
    NotASession,
    #[error("a session of format {0}; this version reads format 1")]
    Newer(String),
    #[error("it cannot be read")]
    Io(#[from] io::Error),
}

fn unpacked(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(packed).map_err(|error| error.to_string())?;
    let read = decoder.take(LONGEST_UNPACKED as u64).read_to_end(&mut out);
    read.map_err(|error| format!("a record that cannot be unpacked: {error}"))?;
    Ok(out)
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;

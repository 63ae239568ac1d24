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
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::chunks::pieces;
use super::flow::{Beat, BodyState, Exchange, Message, Millis, Piece, UnreadMessage, WebSocketMessage};

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
        Self { chain: scan.chain, packs: scan.packs.len() as u32, known: HashMap::new(), packer: packer() }
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

/// Where everything of a session stands: one pass over the file, in little memory.
#[derive(Debug, Default)]
pub struct Scan {
    pub about: About,
    /// In the order of their requests.
    flows: Vec<FlowPlaces>,
    by_flow: HashMap<String, usize>,
    packs: Vec<Place64>,
    chain: Chain,
    /// Where the last sound record ends: what follows was torn off or altered.
    pub end: u64,
    pub length: u64,
    pub damage: Option<Damage>,
    pub records: u64,
    pub erased: u64,
}

type Place64 = (u64, u32);

#[derive(Debug, Default)]
struct FlowPlaces {
    id: String,
    request: Option<Place64>,
    end: Option<Place64>,
    lines: Vec<Place64>,
}

/// Reads a session file.
pub struct SessionReader<R> {
    file: R,
    pub scan: Scan,
    /// Unpacked records of kind 2 that were used last.
    cache: Vec<(u32, Bytes)>,
}

/// Unpacked bytes that are kept at hand.
const CACHE: usize = 64 << 20;

impl<R: Read + Seek> SessionReader<R> {
    /// Goes over the whole file once and verifies its chain.
    pub fn open(mut file: R) -> Result<Self, SessionError> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut first = vec![0; MAGIC.len()];
        let got = read_up_to(&mut file, &mut first)?;
        if got < first.len() || first != MAGIC {
            let text = String::from_utf8_lossy(&first[..got]).into_owned();
            return Err(match text.strip_prefix("divulge session ") {
                Some(version) => SessionError::Newer(version.trim().to_owned()),
                None => SessionError::NotASession,
            });
        }
        let mut scan = Scan { chain: Sha256::digest(MAGIC).into(), end: MAGIC.len() as u64, length, ..Scan::default() };
        let mut reader = io::BufReader::with_capacity(1 << 20, &mut file);
        while scan.end < length && scan.damage.is_none() {
            if let Err(reason) = scan.step(&mut reader)? {
                scan.damage = Some(Damage { offset: scan.end, reason });
            }
        }
        Ok(Self { file, scan, cache: Vec::new() })
    }

    pub fn len(&self) -> usize {
        self.scan.flows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.scan.flows.is_empty()
    }

    /// The ids of all flows, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.scan.flows.iter().map(|flow| flow.id.as_str())
    }

    /// The exchange number `index`. Damages are told beside what can be read.
    pub fn exchange(&mut self, index: usize) -> Result<(Exchange, Vec<Damage>), SessionError> {
        let mut damages = Vec::new();
        let Some(places) = self.scan.flows.get(index) else { return Ok((Exchange::default(), damages)) };
        let (request, end) = (places.request, places.end);
        let (id, lines) = (places.id.clone(), places.lines.clone());
        let mut exchange = Exchange { id, ..Exchange::default() };
        if let Some(place) = request {
            match self.json::<StoredRequest>(place)? {
                Ok(stored) => {
                    exchange.started = stored.at;
                    (exchange.host, exchange.port, exchange.secure) = (stored.host, stored.port, stored.secure);
                    exchange.request = self.restored(&stored.message, place.0, &mut damages)?;
                }
                Err(damage) => damages.push(damage),
            }
        }
        if let Some(place) = end {
            match self.json::<StoredEnd>(place)? {
                Ok(stored) => {
                    exchange.ended = stored.at;
                    exchange.request.trailers = stored.trailers.into();
                    exchange.unread_messages = stored.unread;
                    if let Some(response) = &stored.response {
                        exchange.response = Some(self.restored(response, place.0, &mut damages)?);
                    }
                    for frame in stored.messages {
                        let data = self.joined(&frame.data, place.0, &mut damages)?;
                        let StoredFrame { from_client, text, at, .. } = frame;
                        exchange.messages.push(WebSocketMessage { from_client, text, at, data });
                    }
                }
                Err(damage) => damages.push(damage),
            }
        }
        for place in lines {
            match self.json::<StoredLines>(place)? {
                Ok(stored) => exchange.lines.extend(stored.lines),
                Err(damage) => damages.push(damage),
            }
        }
        Ok((exchange, damages))
    }

    /// The lines of findings and flows alone, flow by flow.
    pub fn lines(&mut self, index: usize) -> Result<Vec<String>, SessionError> {
        let places = self.scan.flows.get(index).map(|flow| flow.lines.clone()).unwrap_or_default();
        let mut out = Vec::new();
        for place in places {
            if let Ok(stored) = self.json::<StoredLines>(place)? {
                out.extend(stored.lines);
            }
        }
        Ok(out)
    }

    fn restored(
        &mut self,
        stored: &StoredMessage,
        at: u64,
        damages: &mut Vec<Damage>,
    ) -> Result<Message, SessionError> {
        let body_state = match stored.state.as_str() {
            "whole" => BodyState::Whole,
            "masked" => BodyState::Masked,
            state => omitted(state).unwrap_or(BodyState::Cut),
        };
        Ok(Message {
            head: self.joined(&stored.head, at, damages)?,
            body: self.joined(&stored.body, at, damages)?,
            trailers: stored.trailers.clone().into(),
            body_state,
            pieces: stored.pieces.clone(),
            pace: stored.pace.clone(),
        })
    }

    fn joined(&mut self, extents: &[Extent], at: u64, damages: &mut Vec<Damage>) -> Result<Bytes, SessionError> {
        let mut out = Vec::new();
        for &(number, start, length) in extents {
            let pack = self.pack(number)?;
            let range = start as usize..(start as usize).saturating_add(length as usize);
            match pack.as_ref().and_then(|pack| pack.get(range)) {
                Some(bytes) => out.extend_from_slice(bytes),
                None => {
                    let reason = format!("bytes of this record are gone: {length} of record {number} of bodies");
                    damages.push(Damage { offset: at, reason });
                }
            }
        }
        Ok(out.into())
    }

    fn pack(&mut self, number: u32) -> Result<Option<Bytes>, SessionError> {
        if let Some(at) = self.cache.iter().position(|(known, _)| *known == number) {
            let entry = self.cache.remove(at);
            self.cache.push(entry.clone());
            return Ok(Some(entry.1));
        }
        let Some(&place) = self.scan.packs.get(number as usize) else { return Ok(None) };
        let Ok(bytes) = self.payload(place)? else { return Ok(None) };
        let bytes = Bytes::from(bytes);
        self.cache.push((number, bytes.clone()));
        while self.cache.len() > 1 && self.cache.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > CACHE {
            self.cache.remove(0);
        }
        Ok(Some(bytes))
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, place: Place64) -> Result<Result<T, Damage>, SessionError> {
        let payload = self.payload(place)?;
        Ok(payload.and_then(|text| {
            serde_json::from_slice(&text)
                .map_err(|error| Damage { offset: place.0, reason: format!("a record that says nothing: {error}") })
        }))
    }

    fn payload(&mut self, (offset, length): Place64) -> Result<Result<Vec<u8>, Damage>, SessionError> {
        self.file.seek(SeekFrom::Start(offset + 5))?;
        let mut packed = vec![0; length as usize];
        let got = read_up_to(&mut self.file, &mut packed)?;
        if got < packed.len() {
            return Ok(Err(Damage { offset, reason: "the file ends within a record".to_owned() }));
        }
        Ok(unpacked(&packed).map_err(|reason| Damage { offset, reason }))
    }
}

impl Scan {
    /// Reads the next record. The inner error: what is wrong with it.
    fn step(&mut self, file: &mut impl Read) -> Result<Result<(), String>, SessionError> {
        let torn = || Ok(Err("the file ends within a record".to_owned()));
        let mut head = [0; 5];
        if read_up_to(file, &mut head)? < head.len() {
            return torn();
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let kind = head[4];
        if length > LONGEST_RECORD || u64::from(length) > self.length - self.end {
            return Ok(Err(match u64::from(length) > self.length - self.end && length <= LONGEST_RECORD {
                true => "the file ends within a record".to_owned(),
                false => "a record of an impossible length".to_owned(),
            }));
        }
        let mut payload = vec![0; length as usize];
        let mut chain = [0; 32];
        if read_up_to(file, &mut payload)? < payload.len() || read_up_to(file, &mut chain)? < chain.len() {
            return torn();
        }
        let expected = match kind {
            ERASED => match erased(&payload) {
                Some((kind, length, digest)) => next(&self.chain, kind, length, &digest),
                None => return Ok(Err("an erased record that does not say what it was".to_owned())),
            },
            _ => next(&self.chain, kind, length, &Sha256::digest(&payload).into()),
        };
        if chain != expected {
            return Ok(Err(format!("record {} was altered, or one before it is missing or moved", self.records)));
        }
        let place = (self.end, length);
        let said = |field: &str| -> Option<String> {
            let text = unpacked(&payload).ok()?;
            let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
            Some(value.get(field)?.as_str()?.to_owned())
        };
        match kind {
            ABOUT => {
                if let Ok(text) = unpacked(&payload)
                    && let Ok(about) = serde_json::from_slice(&text)
                {
                    self.about = about;
                }
            }
            PACK => self.packs.push(place),
            REQUEST | END | LINES => {
                if let Some(id) = said("flow") {
                    let flow = self.flow(id);
                    match kind {
                        REQUEST => flow.request = Some(place),
                        END => flow.end = Some(place),
                        _ => flow.lines.push(place),
                    }
                }
            }
            ERASED => {
                self.erased += 1;
                // The numbers of what comes after it stay.
                if payload.first() == Some(&PACK) {
                    self.packs.push(place);
                }
            }
            // Of a later version of this format: passed over.
            _ => {}
        }
        self.chain = chain;
        self.records += 1;
        self.end += 5 + u64::from(length) + 32;
        Ok(Ok(()))
    }

    fn flow(&mut self, id: String) -> &mut FlowPlaces {
        let next = self.flows.len();
        let at = *self.by_flow.entry(id.clone()).or_insert(next);
        if at == next {
            self.flows.push(FlowPlaces { id, ..FlowPlaces::default() });
        }
        &mut self.flows[at]
    }

    /// In hex: what the whole file comes to.
    pub fn chain(&self) -> String {
        hex(&self.chain)
    }

    /// The file without what belongs to the flows for which `gone` holds, from `file` to `out`. The chain holds as before.
    /// Bytes of bodies that another flow has as well stay.
    pub fn erase(
        &self,
        file: &mut (impl Read + Seek),
        out: &mut impl io::Write,
        gone: impl Fn(&str) -> bool,
    ) -> Result<u64, SessionError> {
        let going: Vec<&FlowPlaces> = self.flows.iter().filter(|flow| gone(&flow.id)).collect();
        let mut places: HashMap<u64, ()> = HashMap::new();
        for flow in &going {
            let all = flow.request.iter().chain(&flow.end).chain(&flow.lines);
            places.extend(all.map(|(offset, _)| (*offset, ())));
        }
        let mut used = vec![false; self.packs.len()];
        let mut theirs = vec![false; self.packs.len()];
        for flow in &self.flows {
            let marks = if gone(&flow.id) { &mut theirs } else { &mut used };
            for place in flow.request.iter().chain(&flow.end) {
                for number in packs_of(file, *place)? {
                    if let Some(mark) = marks.get_mut(number as usize) {
                        *mark = true;
                    }
                }
            }
        }
        for (number, (offset, _)) in self.packs.iter().enumerate() {
            if theirs[number] && !used[number] {
                places.insert(*offset, ());
            }
        }
        file.seek(SeekFrom::Start(0))?;
        let mut reader = io::BufReader::new(file);
        let mut first = vec![0; MAGIC.len()];
        reader.read_exact(&mut first)?;
        out.write_all(&first)?;
        let mut at = MAGIC.len() as u64;
        let mut erased = 0;
        while at < self.end {
            let mut head = [0; 5];
            reader.read_exact(&mut head)?;
            let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            let mut rest = vec![0; length as usize + 32];
            reader.read_exact(&mut rest)?;
            if places.contains_key(&at) && head[4] != ERASED {
                let (payload, chain) = rest.split_at(length as usize);
                let mut tomb = vec![head[4]];
                tomb.extend_from_slice(&length.to_le_bytes());
                tomb.extend_from_slice(&Sha256::digest(payload));
                out.write_all(&(tomb.len() as u32).to_le_bytes())?;
                out.write_all(&[ERASED])?;
                out.write_all(&tomb)?;
                out.write_all(chain)?;
                erased += 1;
            } else {
                out.write_all(&head)?;
                out.write_all(&rest)?;
            }
            at += 5 + u64::from(length) + 32;
        }
        Ok(erased)
    }
}

/// The records of kind 2 that a record of kind 3 or 4 takes its bytes from.
fn packs_of(file: &mut (impl Read + Seek), (offset, length): Place64) -> Result<Vec<u32>, SessionError> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![0; 5 + length as usize];
    file.read_exact(&mut bytes)?;
    let Ok(text) = unpacked(&bytes[5..]) else { return Ok(Vec::new()) };
    let of =
        |message: &StoredMessage| message.head.iter().chain(&message.body).map(|extent| extent.0).collect::<Vec<_>>();
    Ok(match bytes[4] {
        REQUEST => serde_json::from_slice::<StoredRequest>(&text).map(|stored| of(&stored.message)).unwrap_or_default(),
        END => serde_json::from_slice::<StoredEnd>(&text)
            .map(|stored| {
                let mut packs = stored.response.as_ref().map(of).unwrap_or_default();
                packs.extend(stored.messages.iter().flat_map(|frame| frame.data.iter().map(|extent| extent.0)));
                packs
            })
            .unwrap_or_default(),
        _ => Vec::new(),
    })
}

/// What an erased record was: kind, length and SHA-256 of its payload.
fn erased(payload: &[u8]) -> Option<(u8, u32, [u8; 32])> {
    let (kind, rest) = payload.split_first()?;
    let (length, digest) = rest.split_first_chunk::<4>()?;
    Some((*kind, u32::from_le_bytes(*length), digest.try_into().ok()?))
}

fn omitted(state: &str) -> Option<BodyState> {
    let (length, digest) = state.split_once(' ')?;
    let mut sha256 = [0; 32];
    for (byte, pair) in sha256.iter_mut().zip(digest.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(BodyState::Omitted { length: length.parse().ok()?, sha256 })
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

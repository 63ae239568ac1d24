//! Flows of a session, read where they stand.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;

use super::scan::{Place, Scan};
use super::{
    Damage, Extent, SessionError, StoredEnd, StoredFrame, StoredLines, StoredMessage, StoredRequest, read_up_to, unhex,
    unpacked,
};
use crate::session::flow::{BodyState, Exchange, Message, Millis, WebSocketMessage};

/// Unpacked bytes that are kept at hand.
const CACHE: usize = 64 << 20;

/// Reads a session file.
pub struct SessionReader<R> {
    file: R,
    pub scan: Arc<Scan>,
    cache: Cache,
}

impl<R: Read + Seek> SessionReader<R> {
    /// Goes over the whole file once and verifies its chain.
    pub fn open(mut file: R) -> Result<Self, SessionError> {
        let scan = Arc::new(Scan::of(&mut file)?);
        Ok(Self::with(file, scan, CACHE))
    }

    /// Of a file that was gone over already. `cache`: unpacked bytes that are kept at hand.
    pub fn with(file: R, scan: Arc<Scan>, cache: usize) -> Self {
        Self { file, scan, cache: Cache::of(cache) }
    }

    pub fn len(&self) -> usize {
        self.scan.flows().len()
    }

    pub fn is_empty(&self) -> bool {
        self.scan.flows().is_empty()
    }

    /// The ids of all flows, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.scan.flows().iter().map(|flow| flow.id.as_str())
    }

    /// The exchange number `index`. Damages are told beside what can be read.
    pub fn exchange(&mut self, index: usize) -> Result<(Exchange, Vec<Damage>), SessionError> {
        self.restore(index, true)
    }

    /// The same without what was answered but for its head: what an audit takes.
    pub fn asked(&mut self, index: usize) -> Result<(Exchange, Vec<Damage>), SessionError> {
        self.restore(index, false)
    }

    fn restore(&mut self, index: usize, answer: bool) -> Result<(Exchange, Vec<Damage>), SessionError> {
        let mut damages = Vec::new();
        let Some(places) = self.scan.flows().get(index) else { return Ok((Exchange::default(), damages)) };
        let (request, end) = (places.request, places.end);
        let (id, lines) = (places.id.clone(), places.lines.clone());
        let mut exchange = Exchange { id, ..Exchange::default() };
        if let Some(place) = request {
            match self.json::<StoredRequest>(place)? {
                Ok(stored) => {
                    exchange.started = stored.at;
                    (exchange.host, exchange.port, exchange.secure) = (stored.host, stored.port, stored.secure);
                    exchange.bodies = stored.bodies;
                    exchange.request = self.restored(&stored.message, place.0, &mut damages)?;
                }
                Err(damage) => damages.push(damage),
            }
        }
        if let Some(place) = end {
            match self.json::<StoredEnd>(place)? {
                Ok(mut stored) => {
                    if !answer {
                        stored.response.iter_mut().for_each(|response| response.body.clear());
                        stored.messages.retain(|frame| frame.from_client);
                    }
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

    /// When a flow began.
    pub fn started(&mut self, index: usize) -> Result<Option<Millis>, SessionError> {
        Ok(self.where_and_when(index)?.1)
    }

    /// The host of a flow and when it began, without its bytes being read.
    pub fn where_and_when(&mut self, index: usize) -> Result<(String, Option<Millis>), SessionError> {
        let Some(place) = self.scan.flows().get(index).and_then(|flow| flow.request) else {
            return Ok(Default::default());
        };
        let stored = self.json::<StoredRequest>(place)?;
        Ok(stored.map(|stored| (stored.host, stored.at)).unwrap_or_default())
    }

    /// The lines of findings and flows alone, flow by flow.
    pub fn lines(&mut self, index: usize) -> Result<Vec<String>, SessionError> {
        let places = self.scan.flows().get(index).map(|flow| flow.lines.clone()).unwrap_or_default();
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
        if let Some(bytes) = self.cache.get(number) {
            return Ok(Some(bytes));
        }
        let Some(place) = self.scan.pack(number) else { return Ok(None) };
        let Ok(bytes) = self.payload(place)? else { return Ok(None) };
        let bytes = Bytes::from(bytes);
        self.cache.put(number, bytes.clone());
        Ok(Some(bytes))
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, place: Place) -> Result<Result<T, Damage>, SessionError> {
        let payload = self.payload(place)?;
        Ok(payload.and_then(|text| {
            serde_json::from_slice(&text)
                .map_err(|error| Damage { offset: place.0, reason: format!("a record that says nothing: {error}") })
        }))
    }

    fn payload(&mut self, (offset, length): Place) -> Result<Result<Vec<u8>, Damage>, SessionError> {
        self.file.seek(SeekFrom::Start(offset + 5))?;
        let mut packed = vec![0; length as usize];
        let got = read_up_to(&mut self.file, &mut packed)?;
        if got < packed.len() {
            return Ok(Err(Damage { offset, reason: "the file ends within a record".to_owned() }));
        }
        Ok(unpacked(&packed).map_err(|reason| Damage { offset, reason }))
    }
}

/// Unpacked records of kind 2 that were used last: when the young ones fill half of the room, the old ones go.
struct Cache {
    young: HashMap<u32, Bytes>,
    old: HashMap<u32, Bytes>,
    bytes: usize,
    room: usize,
}

impl Cache {
    fn of(room: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), bytes: 0, room }
    }

    fn get(&mut self, number: u32) -> Option<Bytes> {
        if let Some(bytes) = self.young.get(&number) {
            return Some(bytes.clone());
        }
        let bytes = self.old.remove(&number)?;
        self.put(number, bytes.clone());
        Some(bytes)
    }

    fn put(&mut self, number: u32, bytes: Bytes) {
        if self.bytes + bytes.len() > self.room / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += bytes.len();
        self.young.insert(number, bytes);
    }
}

fn omitted(state: &str) -> Option<BodyState> {
    let (length, digest) = state.split_once(' ')?;
    Some(BodyState::Omitted { length: length.parse().ok()?, sha256: unhex(digest)? })
}

//! One pass over a session: where everything stands, and whether its chain holds.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    ABOUT, About, Chain, Damage, END, ERASED, LINES, LONGEST_RECORD, MAGIC, Millis, PACK, REQUEST, SessionError,
    StoredEnd, StoredLines, StoredMessage, StoredRequest, hex, next, read_up_to, unhex, unpacked,
};
use crate::session::flow::Bodies;

/// Where a record stands: its offset, and the length of its payload.
pub type Place = (u64, u32);

/// How far a file was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// Where the last sound record ends: what follows was torn off or altered.
    pub end: u64,
    pub records: u64,
    chain: Chain,
}

impl Default for Position {
    fn default() -> Self {
        Self { end: MAGIC.len() as u64, records: 0, chain: Sha256::digest(MAGIC).into() }
    }
}

impl Position {
    /// One that was noted earlier.
    pub fn noted(end: u64, records: u64, chain: &str) -> Option<Self> {
        Some(Self { end, records, chain: unhex(chain)? })
    }

    /// In hex: what the file comes to so far.
    pub fn chain(&self) -> String {
        hex(&self.chain)
    }

    /// Whether a file still stands as it did here: its record that ended then ends in the same chain.
    pub fn holds(&self, file: &mut (impl Read + Seek)) -> io::Result<bool> {
        let first = MAGIC.len() as u64;
        if file.seek(SeekFrom::End(0))? < self.end || self.end < first {
            return Ok(false);
        }
        let mut said = [0; 32];
        if self.end == first {
            return Ok(*self == Self::default());
        }
        file.seek(SeekFrom::Start(self.end.saturating_sub(32)))?;
        Ok(read_up_to(file, &mut said)? == said.len() && said == self.chain)
    }
}

/// What a record says, as far as it takes to find things.
#[derive(Debug)]
pub enum Told {
    About(Box<About>),
    /// Bytes of bodies and heads.
    Pack,
    Request {
        flow: String,
        at: Option<Millis>,
        host: String,
        port: u16,
        secure: bool,
        bodies: Option<Bodies>,
    },
    End {
        flow: String,
        at: Option<Millis>,
    },
    Lines {
        flow: String,
        lines: Vec<String>,
    },
    /// What stood here is gone; `pack`: it was bytes, whose number stays taken.
    Erased {
        pack: bool,
    },
    /// Of a later version of this format, or damaged within: passed over.
    Other,
}

/// Goes over `file` from `position` on, verifies the chain and tells every record. The damage: where that ends early.
pub fn walk(
    file: &mut (impl Read + Seek),
    position: &mut Position,
    each: &mut dyn FnMut(Place, Told),
) -> Result<Option<Damage>, SessionError> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(position.end))?;
    let mut reader = io::BufReader::with_capacity(1 << 20, file);
    let mut payload = Vec::new();
    while position.end < length {
        match step(&mut reader, length, position, &mut payload)? {
            Ok((place, kind)) => each(place, told(kind, &payload)),
            Err(reason) => return Ok(Some(Damage { offset: position.end, reason })),
        }
    }
    Ok(None)
}

/// Reads the next record. The inner error: what is wrong with it.
fn step(
    file: &mut impl Read,
    file_length: u64,
    position: &mut Position,
    payload: &mut Vec<u8>,
) -> Result<Result<(Place, u8), String>, SessionError> {
    let torn = || Ok(Err("the file ends within a record".to_owned()));
    let mut head = [0; 5];
    if read_up_to(file, &mut head)? < head.len() {
        return torn();
    }
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let kind = head[4];
    if length > LONGEST_RECORD {
        return Ok(Err("a record of an impossible length".to_owned()));
    }
    if u64::from(length) > file_length - position.end {
        return torn();
    }
    payload.resize(length as usize, 0);
    let mut chain = [0; 32];
    if read_up_to(file, payload)? < payload.len() || read_up_to(file, &mut chain)? < chain.len() {
        return torn();
    }
    let expected = match kind {
        ERASED => match erased(payload) {
            Some((kind, length, digest)) => next(&position.chain, kind, length, &digest),
            None => return Ok(Err("an erased record that does not say what it was".to_owned())),
        },
        _ => next(&position.chain, kind, length, &Sha256::digest(&*payload).into()),
    };
    if chain != expected {
        return Ok(Err(format!("record {} was altered, or one before it is missing or moved", position.records)));
    }
    let place = (position.end, length);
    position.chain = chain;
    position.records += 1;
    position.end += 5 + u64::from(length) + 32;
    Ok(Ok((place, kind)))
}

fn told(kind: u8, payload: &[u8]) -> Told {
    #[derive(Deserialize)]
    struct Request {
        flow: String,
        at: Option<Millis>,
        host: String,
        port: u16,
        secure: bool,
        #[serde(default)]
        bodies: Option<Bodies>,
    }
    #[derive(Deserialize)]
    struct End {
        flow: String,
        at: Option<Millis>,
    }
    fn read<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Option<T> {
        serde_json::from_slice(&unpacked(payload).ok()?).ok()
    }
    let read = match kind {
        ABOUT => read(payload).map(Told::About),
        PACK => Some(Told::Pack),
        REQUEST => read(payload).map(|Request { flow, at, host, port, secure, bodies }| Told::Request {
            flow,
            at,
            host,
            port,
            secure,
            bodies,
        }),
        END => read(payload).map(|End { flow, at }| Told::End { flow, at }),
        LINES => read(payload).map(|StoredLines { flow, lines }| Told::Lines { flow, lines }),
        ERASED => Some(Told::Erased { pack: payload.first() == Some(&PACK) }),
        _ => None,
    };
    read.unwrap_or(Told::Other)
}

/// Where everything of a session stands, in little memory.
#[derive(Debug, Default)]
pub struct Scan {
    pub about: About,
    /// In the order of their requests.
    flows: Vec<FlowPlaces>,
    by_flow: HashMap<String, usize>,
    packs: Vec<Place>,
    /// How far it is sound.
    pub position: Position,
    pub length: u64,
    pub damage: Option<Damage>,
    pub erased: u64,
}

/// Where the records of one flow stand.
#[derive(Clone, Debug, Default)]
pub struct FlowPlaces {
    pub id: String,
    pub request: Option<Place>,
    pub end: Option<Place>,
    pub lines: Vec<Place>,
    /// What is kept of it, where that is not what the session says of all.
    pub bodies: Option<Bodies>,
}

impl Scan {
    /// Goes over the whole file once.
    pub fn of(file: &mut (impl Read + Seek)) -> Result<Self, SessionError> {
        let length = check(file)?;
        let mut scan = Self { length, ..Self::default() };
        let mut position = Position::default();
        scan.damage = walk(file, &mut position, &mut |place, told| scan.put(place, told))?;
        scan.position = position;
        Ok(scan)
    }

    /// Takes the next record.
    pub fn put(&mut self, place: Place, told: Told) {
        match told {
            Told::About(about) => self.about = *about,
            Told::Pack => self.packs.push(place),
            Told::Request { flow, bodies, .. } => {
                let flow = self.flow(flow);
                (flow.request, flow.bodies) = (Some(place), bodies);
            }
            Told::End { flow, .. } => self.flow(flow).end = Some(place),
            Told::Lines { flow, .. } => self.flow(flow).lines.push(place),
            Told::Erased { pack } => {
                self.erased += 1;
                // The numbers of what comes after it stay.
                if pack {
                    self.packs.push(place);
                }
            }
            Told::Other => {}
        }
    }

    pub fn flows(&self) -> &[FlowPlaces] {
        &self.flows
    }

    pub(super) fn pack(&self, number: u32) -> Option<Place> {
        self.packs.get(number as usize).copied()
    }

    pub(super) fn pack_count(&self) -> usize {
        self.packs.len()
    }

    /// The places of a flow; of one that was not there, the last.
    pub fn flow(&mut self, id: String) -> &mut FlowPlaces {
        let next = self.flows.len();
        let at = *self.by_flow.entry(id.clone()).or_insert(next);
        if at == next {
            self.flows.push(FlowPlaces { id, ..FlowPlaces::default() });
        }
        &mut self.flows[at]
    }

    /// In hex: what the whole file comes to.
    pub fn chain(&self) -> String {
        self.position.chain()
    }

    pub(super) fn raw_chain(&self) -> Chain {
        self.position.chain
    }

    /// The file without what belongs to the flows for which `gone` holds, from `file` to `out`. The chain holds as before.
    /// Bytes of bodies that another flow has as well stay.
    pub fn erase(
        &self,
        file: &mut (impl Read + Seek),
        out: &mut impl io::Write,
        gone: impl Fn(&str) -> bool,
    ) -> Result<u64, SessionError> {
        let places = self.places_of(file, &gone)?;
        file.seek(SeekFrom::Start(0))?;
        let mut reader = io::BufReader::new(file);
        let mut first = vec![0; MAGIC.len()];
        reader.read_exact(&mut first)?;
        out.write_all(&first)?;
        let mut at = MAGIC.len() as u64;
        let mut erased = 0;
        while at < self.position.end {
            let mut head = [0; 5];
            reader.read_exact(&mut head)?;
            let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            let mut rest = vec![0; length as usize + 32];
            reader.read_exact(&mut rest)?;
            if places.contains(&at) && head[4] != ERASED {
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

    /// Where the records stand that only the flows have for which `gone` holds.
    fn places_of(
        &self,
        file: &mut (impl Read + Seek),
        gone: &impl Fn(&str) -> bool,
    ) -> Result<HashSet<u64>, SessionError> {
        let mut places = HashSet::new();
        let mut used = vec![false; self.packs.len()];
        let mut theirs = vec![false; self.packs.len()];
        for flow in &self.flows {
            let going = gone(&flow.id);
            if going {
                let all = flow.request.iter().chain(&flow.end).chain(&flow.lines);
                places.extend(all.map(|(offset, _)| *offset));
            }
            let marks = if going { &mut theirs } else { &mut used };
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
                places.insert(*offset);
            }
        }
        Ok(places)
    }
}

/// The file's length, if it is a session that can be read.
pub fn check(file: &mut (impl Read + Seek)) -> Result<u64, SessionError> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut first = vec![0; MAGIC.len()];
    let got = read_up_to(file, &mut first)?;
    if got < first.len() || first != MAGIC {
        let text = String::from_utf8_lossy(&first[..got]).into_owned();
        return Err(match text.strip_prefix("divulge session ") {
            Some(version) => SessionError::Newer(version.trim().to_owned()),
            None => SessionError::NotASession,
        });
    }
    Ok(length)
}

/// The records of kind 2 that a record of kind 3 or 4 takes its bytes from.
fn packs_of(file: &mut (impl Read + Seek), (offset, length): Place) -> Result<Vec<u32>, SessionError> {
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

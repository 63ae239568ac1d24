//! The two streams of a connection out of its segments, whatever order they came in.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::net::{End, Segment};
use super::packets::Packet;
use crate::session::damage::Damages;
use crate::session::flow::Millis;

/// What one side sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    pub data: Bytes,
    /// From which byte on what was captured when; rising.
    marks: Vec<(usize, Option<Millis>)>,
    /// Nothing is missing at the end.
    pub whole: bool,
}

impl Stream {
    /// When the byte at `at` was captured.
    pub fn time(&self, at: usize) -> Option<Millis> {
        let after = self.marks.partition_point(|&(start, _)| start <= at);
        self.marks.get(after.checked_sub(1)?).and_then(|&(_, time)| time)
    }

    pub fn put(&mut self, out: &mut Vec<u8>, data: &[u8], time: Option<Millis>) {
        self.marks.push((out.len(), time));
        out.extend_from_slice(data);
    }

    /// What follows byte `at`.
    pub fn rest(&self, at: usize) -> Self {
        let at = at.min(self.data.len());
        let first = self.time(at);
        let later = self.marks.iter().filter(|&&(start, _)| start > at).map(|&(start, time)| (start - at, time));
        Self {
            data: self.data.slice(at..),
            marks: std::iter::once((0, first)).chain(later).collect(),
            whole: self.whole,
        }
    }
}

#[derive(Debug, Default)]
struct Half {
    /// The number of the first byte, once it is known.
    base: Option<u32>,
    /// The furthest byte seen, from `base` on.
    high: i64,
    pieces: Vec<(i64, Bytes, Option<Millis>)>,
    /// Where its end was announced.
    fin: Option<i64>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub client: End,
    pub server: End,
    /// Where its first packet stands in the file.
    pub offset: usize,
    /// The client's, then the server's.
    halves: [Half; 2],
    opened: bool,
}

/// All connections, in the order in which they began.
#[derive(Default)]
pub(super) struct Connections {
    pub list: Vec<Connection>,
    open: BTreeMap<(End, End), usize>,
}

impl Connections {
    pub fn add(&mut self, segment: Segment, packet: &Packet) {
        let key = if segment.from < segment.to { (segment.from, segment.to) } else { (segment.to, segment.from) };
        let known = self.open.get(&key).copied().filter(|&index| {
            let connection = &self.list[index];
            // The same ports once more: another first number.
            let half = &connection.halves[usize::from(segment.from != connection.client)];
            let again =
                segment.syn && !segment.ack && half.base.is_some_and(|base| base != segment.sequence.wrapping_add(1));
            !again
        });
        let index = match known {
            Some(index) => index,
            None if segment.data.is_empty() && !segment.syn => return,
            None => {
                // Without the opening the server is the one with the lower port.
                let from_client = if segment.syn { !segment.ack } else { segment.from.1 >= segment.to.1 };
                let (client, server) =
                    if from_client { (segment.from, segment.to) } else { (segment.to, segment.from) };
                self.list.push(Connection {
                    client,
                    server,
                    offset: packet.offset,
                    halves: Default::default(),
                    opened: segment.syn,
                });
                self.open.insert(key, self.list.len() - 1);
                self.list.len() - 1
            }
        };
        let connection = &mut self.list[index];
        let half = &mut connection.halves[usize::from(segment.from != connection.client)];
        let first = segment.sequence.wrapping_add(u32::from(segment.syn));
        let base = *half.base.get_or_insert(first);
        // Numbers wrap; what is meant is near to what came last.
        let at = half.high + i64::from(first.wrapping_sub(base.wrapping_add(half.high as u32)) as i32);
        if !segment.data.is_empty() && !segment.reset {
            half.high = half.high.max(at + segment.data.len() as i64);
            half.pieces.push((at, segment.data.clone(), packet.at));
        }
        if segment.fin {
            half.fin = Some(at + segment.data.len() as i64);
        }
    }
}

impl Connection {
    /// What client and server sent, each up to the first byte that is missing.
    pub fn streams(&self, damages: &mut Damages) -> [Stream; 2] {
        let [client, server] = &self.halves;
        [client.stream(self.opened, "the client", damages), server.stream(self.opened, "the server", damages)]
    }
}

impl Half {
    fn stream(&self, opened: bool, who: &str, damages: &mut Damages) -> Stream {
        let mut pieces: Vec<&(i64, Bytes, Option<Millis>)> = self.pieces.iter().collect();
        // Stable: of two that begin at one byte the first that came is taken.
        pieces.sort_by_key(|(at, ..)| *at);
        // A capture that began later has no byte zero: its first is as good.
        let start = if opened { 0 } else { pieces.first().map_or(0, |(at, ..)| *at) };
        let mut stream = Stream { whole: true, ..Stream::default() };
        let mut out = Vec::new();
        let mut next = start;
        for (at, data, time) in pieces {
            if *at > next {
                damages.lost(format!(
                    "of what {who} sent {} bytes are missing behind the first {}",
                    at - next,
                    next - start
                ));
                stream.whole = false;
                break;
            }
            let known = usize::try_from(next - at).unwrap_or(0);
            if let Some(data) = data.get(known..).filter(|data| !data.is_empty()) {
                stream.put(&mut out, data, *time);
                next += data.len() as i64;
            }
        }
        if stream.whole && self.fin.is_some_and(|fin| fin > next) {
            damages.lost(format!("the end of what {who} sent is missing"));
            stream.whole = false;
        }
        stream.data = out.into();
        stream
    }
}

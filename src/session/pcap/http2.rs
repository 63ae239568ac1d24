//! HTTP/2 out of two streams (RFC 9113).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Place;
use super::tcp::Stream;
use crate::session::damage::Damages;
use crate::session::flow::{BodyState, Exchange, Message, Millis};
use crate::session::http::{self, Pair};
use crate::wire::hpack::Decoder;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// What one side said on one stream.
#[derive(Default)]
struct Said {
    fields: Vec<Pair>,
    trailers: Vec<Pair>,
    body: Vec<u8>,
    began: Option<Millis>,
    ended: Option<Millis>,
    /// It has begun and it has come to its end.
    open: bool,
    done: bool,
}

pub(super) fn read(client: &Stream, server: &Stream, place: &Place, damages: &mut Damages, all: &mut Vec<Exchange>) {
    let mut asked = side(client, PREFACE.len(), "the client", damages);
    let mut answered = side(server, 0, "the server", damages);
    for (number, asked) in std::mem::take(&mut asked) {
        if asked.open {
            all.extend(exchange(asked, answered.remove(&number), place, damages));
        }
    }
}

/// The frames of one side, by stream.
fn side(stream: &Stream, start: usize, who: &str, damages: &mut Damages) -> BTreeMap<u32, Said> {
    let mut streams: BTreeMap<u32, Said> = BTreeMap::new();
    let mut decoder = Decoder::new(super::most_out(stream));
    // A block of fields under way: its stream, what came of it, whether it ends the stream, whether it is read at all.
    let mut block: Option<(u32, Vec<u8>, bool, bool)> = None;
    let mut at = start;
    let mut lost = false;
    while let Some(head) = stream.data.get(at..at + 9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let number = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let Some(payload) = stream.data.get(at + 9..at + 9 + length) else { break };
        let time = stream.time(at);
        at += 9 + length;
        let flag = |bit: u8| flags & bit != 0;
        match kind {
            DATA => {
                let said = streams.entry(number).or_default();
                match unpadded(payload, flag(PADDED)) {
                    Some(data) => said.body.extend_from_slice(data),
                    None => damages.lost(format!("a frame of {who} with more padding than it holds")),
                }
                said.ended = time;
                said.done |= flag(END_STREAM);
            }
            HEADERS | PUSH_PROMISE => {
                let skipped = match kind {
                    // The stream that is promised.
                    PUSH_PROMISE => 4,
                    _ if flag(PRIORITY) => 5,
                    _ => 0,
                };
                let begun =
                    unpadded(payload, flag(PADDED)).and_then(|fields| fields.get(skipped..)).unwrap_or_default();
                let said = streams.entry(number).or_default();
                if kind == HEADERS {
                    said.began = said.began.or(time);
                    said.ended = time;
                }
                block = Some((number, begun.to_vec(), flag(END_STREAM) && kind == HEADERS, kind == HEADERS));
            }
            CONTINUATION => {
                if let Some((_, begun, ..)) = &mut block {
                    begun.extend_from_slice(payload);
                }
            }
            RESET => {
                if let Some(said) = streams.get_mut(&number) {
                    said.ended = time;
                }
            }
            _ => {}
        }
        if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION)
            && flag(END_HEADERS)
            && let Some((number, fields, ends, counts)) = block.take()
        {
            let Ok(fields) = decoder.read(&fields) else {
                damages.lost(format!("the fields of a message of {who} cannot be read; nothing behind them is"));
                lost = true;
                break;
            };
            if counts {
                streams.entry(number).or_default().take(fields, ends);
            }
        }
    }
    if !lost && at < stream.data.len() {
        damages.lost(format!("the last frame of {who} is not whole"));
    }
    streams
}

/// The payload without its padding.
fn unpadded(payload: &[u8], padded: bool) -> Option<&[u8]> {
    if !padded {
        return Some(payload);
    }
    let (&length, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(length.into())?)
}

impl Said {
    fn take(&mut self, fields: Vec<Pair>, ends: bool) {
        let interim = http::get(&fields, ":status").is_some_and(|status| status.starts_with(b"1"));
        self.done |= ends;
        if interim {
            return;
        }
        if self.open {
            self.trailers = fields;
        } else {
            self.fields = fields;
            self.open = true;
        }
    }

    /// Pseudo fields and fields; cookies, which HTTP/2 may send apart, are put together again (RFC 9113, 8.2.3).
    fn split(&mut self) -> (Vec<Pair>, Vec<Pair>) {
        let (pseudo, mut fields): (Vec<Pair>, Vec<Pair>) =
            std::mem::take(&mut self.fields).into_iter().partition(|(name, _)| name.starts_with(b":"));
        let cookies: Vec<Vec<u8>> =
            fields.iter().filter(|(name, _)| name == b"cookie").map(|(_, value)| value.clone()).collect();
        if cookies.len() > 1 {
            let mut first = true;
            fields.retain(|(name, _)| name != b"cookie" || std::mem::take(&mut first));
            if let Some((_, value)) = fields.iter_mut().find(|(name, _)| name == b"cookie") {
                *value = cookies.join(&b"; "[..]);
            }
        }
        (pseudo, fields)
    }

    fn message(self, head: Vec<u8>, damages: &mut Damages) -> Message {
        let mut trailers = Vec::new();
        http::put_fields(&self.trailers, &mut trailers, damages);
        Message {
            head: head.into(),
            body: Bytes::from(self.body),
            trailers: trailers.into(),
            body_state: if self.done { BodyState::Whole } else { BodyState::Cut },
            ..Message::default()
        }
    }
}

fn exchange(mut asked: Said, answered: Option<Said>, place: &Place, damages: &mut Damages) -> Option<Exchange> {
    let (pseudo, mut fields) = asked.split();
    let of = |name: &str| http::get(&pseudo, name).unwrap_or_default();
    let authority = of(":authority");
    if http::get(&fields, "host").is_none() && !authority.is_empty() {
        fields.insert(0, (b"host".to_vec(), authority.to_vec()));
    }
    let named = http::authority(authority).or_else(|| http::authority(http::get(&fields, "host")?));
    let socket = of(":protocol").eq_ignore_ascii_case(b"websocket");
    if socket {
        damages.lost("the messages of a WebSocket over HTTP/2 are not taken apart; they are the body");
    }
    let method = if socket { b"GET" } else { of(":method") };
    let target = if method == b"CONNECT" { authority } else { of(":path") };
    let head = http::request_head(method, target, b"HTTP/1.1", &fields, damages)?;
    let (began, mut ended) = (asked.began, asked.ended);
    if !asked.done {
        damages.lost("the body of a request is not whole");
    }
    let request = asked.message(head, damages);
    let response = answered.filter(|answered| answered.open).map(|mut answered| {
        let (pseudo, fields) = answered.split();
        let status = http::get(&pseudo, ":status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        ended = ended.max(answered.ended);
        let head = http::response_head(status.unwrap_or(0), b"", b"HTTP/1.1", &fields, damages);
        answered.message(head, damages)
    });
    let (host, port) = named.unwrap_or_else(|| (place.host.clone(), None));
    let exchange = Exchange {
        started: began,
        ended,
        host,
        port: port.unwrap_or(place.port),
        secure: place.secure,
        request,
        response,
        ..Exchange::default()
    };
    http::check(&exchange, damages);
    Some(exchange)
}

//! HTTP/1.1 out of two streams.

use bytes::{Bytes, BytesMut};

use super::Place;
use super::tcp::Stream;
use crate::session::damage::Damages;
use crate::session::flow::{BodyState, Exchange, Message, WebSocketMessage};
use crate::session::http;
use crate::wire::body::BodyReader;
use crate::wire::head::{Framing, RequestHead};
use crate::wire::limits::Limits;
use crate::wire::response::ResponseHead;
use crate::wire::websocket::{Deflate, Event, MessageReader, Side};

/// What follows a CONNECT that was granted.
pub(super) struct Tunnel {
    pub client: Stream,
    pub server: Stream,
    pub place: Place,
}

/// Longest message of a WebSocket that is put together.
const MESSAGE_BYTES: usize = 64 << 20;

fn limits() -> Limits {
    Limits { head_bytes: 1024 * 1024, fields: 10_000, trailer_bytes: 1024 * 1024, ..Limits::default() }
}

/// Whether a method stands at the start, and behind it a target and a version.
pub(super) fn is_request(data: &[u8]) -> bool {
    let method = data.iter().take(32).take_while(|&&byte| http::is_token_byte(byte)).count();
    if method == 0 || data.get(method) != Some(&b' ') {
        return false;
    }
    let line = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    memchr::memmem::find(line, b" HTTP/1.").is_some()
}

/// One direction, read from the front.
struct Reader<'s> {
    stream: &'s Stream,
    rest: BytesMut,
}

impl<'s> Reader<'s> {
    fn new(stream: &'s Stream) -> Self {
        Self { stream, rest: BytesMut::from(&stream.data[..]) }
    }

    fn at(&self) -> usize {
        self.stream.data.len() - self.rest.len()
    }

    /// The body and the trailers, as far as they go.
    fn body(&mut self, framing: Framing, message: &mut Message) -> Result<(), &'static str> {
        let mut reader = BodyReader::new(framing, limits());
        let mut data = BytesMut::new();
        let taken = reader.take(&mut self.rest, &mut data).map_err(|error| error.reason);
        let ended = reader.is_done() || (framing == Framing::UntilClose && self.stream.whole);
        if !ended || taken.is_err() {
            message.body_state = BodyState::Cut;
        }
        message.trailers = reader.trailers().map_or_else(Bytes::new, |trailers| trailers.raw().clone());
        message.body = data.freeze();
        taken.map(|_| ())
    }
}

/// Reads exchanges until one of them makes a tunnel of the connection.
pub(super) fn read(
    client: &Stream,
    server: &Stream,
    place: &Place,
    damages: &mut Damages,
    all: &mut Vec<Exchange>,
) -> Option<Tunnel> {
    let (mut from_client, mut from_server) = (Reader::new(client), Reader::new(server));
    while !from_client.rest.is_empty() {
        let started = client.time(from_client.at());
        let head = match RequestHead::parse(&mut from_client.rest, &limits()) {
            Ok(Some(head)) => head,
            Ok(None) => {
                damages.lost("the head of a request is not whole");
                return None;
            }
            Err(error) => {
                damages.lost(format!("the head of a request cannot be read: {}; nothing behind it is", error.reason));
                return None;
            }
        };
        let mut request = Message { head: head.raw().clone(), ..Message::default() };
        let read = from_client.body(head.framing(), &mut request);
        if request.body_state == BodyState::Cut {
            damages.lost("the body of a request is not whole");
        }
        let named = head.authority().map(|authority| (authority.host.to_ascii_lowercase(), authority.port));
        let proxied = head.target_scheme().is_some();
        let (host, port) = match named {
            // To a proxy the target says where it goes.
            Some((host, port)) => (host, port.unwrap_or(if proxied { 80 } else { place.port })),
            None => (place.host.clone(), place.port),
        };
        let mut exchange = Exchange {
            started,
            ended: started,
            host: host.clone(),
            port,
            secure: place.secure,
            request,
            ..Exchange::default()
        };
        let answered = answer(&mut from_server, &head, damages);
        let status = answered.as_ref().map(|answer| answer.head.status());
        if let Some(answer) = answered {
            exchange.ended = server.time(from_server.at().saturating_sub(1)).max(started);
            if status == Some(101) {
                let ends = [from_client.at(), from_server.at()];
                exchange.messages = messages(client.rest(ends[0]), server.rest(ends[1]), &answer.head, damages);
                exchange.ended = exchange.ended.max(exchange.messages.last().and_then(|message| message.at));
            }
            exchange.response = Some(answer.message);
        }
        http::check(&exchange, damages);
        all.push(exchange);
        match status {
            Some(101) => return None,
            Some(200..300) if head.method() == "CONNECT" => {
                let place = Place { host, port, secure: place.secure };
                return Some(Tunnel {
                    client: client.rest(from_client.at()),
                    server: server.rest(from_server.at()),
                    place,
                });
            }
            _ => {}
        }
        if let Err(reason) = read {
            damages.lost(format!("the body of a request cannot be read: {reason}; nothing behind it is"));
            return None;
        }
    }
    None
}

struct Answer {
    head: ResponseHead,
    message: Message,
}

/// The answer that is not an interim one.
fn answer(from: &mut Reader<'_>, request: &RequestHead, damages: &mut Damages) -> Option<Answer> {
    loop {
        if from.rest.is_empty() {
            return None;
        }
        let head = match ResponseHead::parse(&mut from.rest, request.method(), request.upgrade().is_some(), &limits()) {
            Ok(Some(head)) if head.is_interim() => continue,
            Ok(Some(head)) => head,
            read => {
                let reason = read.err().map_or("it is not whole", |error| error.reason);
                damages.note(format!("an answer cannot be read: {reason}; nor those behind it"));
                from.rest.clear();
                return None;
            }
        };
        let mut message = Message { head: head.raw().clone(), ..Message::default() };
        let tunnel = head.status() == 101 || (request.method() == "CONNECT" && (200..300).contains(&head.status()));
        if !tunnel && from.body(head.framing(), &mut message).is_err() {
            damages.note("the body of an answer cannot be read, nor the answers behind it");
            from.rest.clear();
        }
        return Some(Answer { head, message });
    }
}

/// What both sides said over a WebSocket, in the order of its capture.
fn messages(client: Stream, server: Stream, head: &ResponseHead, damages: &mut Damages) -> Vec<WebSocketMessage> {
    let extensions: Vec<String> =
        head.all("sec-websocket-extensions").map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    let deflate = match Deflate::from_response(&extensions.join(",")) {
        Ok(deflate) => deflate,
        Err(error) => {
            damages.lost(format!("the messages of a WebSocket are not read: {}", error.reason));
            return Vec::new();
        }
    };
    let mut messages = Vec::new();
    for (stream, side) in [(client, Side::Client), (server, Side::Server)] {
        let mut reader = MessageReader::new(side, deflate, MESSAGE_BYTES);
        let mut rest = BytesMut::from(&stream.data[..]);
        let mut budget = super::most_out(&stream);
        loop {
            let at = stream.time(stream.data.len() - rest.len());
            match reader.step(&mut rest) {
                Ok(Some(Event::Message { text, payload, .. })) => {
                    let Some(left) = budget.checked_sub(payload.len()) else {
                        damages.lost("the messages of a WebSocket inflate beyond all bounds");
                        break;
                    };
                    budget = left;
                    messages.push(WebSocketMessage { from_client: side == Side::Client, text, at, data: payload });
                }
                Ok(Some(Event::Control { .. })) => {}
                Ok(Some(Event::Oversize { last, .. })) => {
                    if last {
                        damages.lost("a message of a WebSocket is too long");
                    }
                }
                Ok(None) => {
                    if !rest.is_empty() || !reader.is_between_messages() {
                        damages.lost("the last message of a WebSocket is not whole");
                    }
                    break;
                }
                Err(error) => {
                    damages.lost(format!("a WebSocket breaks: {}", error.reason));
                    break;
                }
            }
        }
    }
    // Stable: a side's own messages stay in their order.
    messages.sort_by_key(|message| message.at);
    messages
}

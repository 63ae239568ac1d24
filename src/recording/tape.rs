//! One exchange while it goes on: its bytes as they pass, until they are handed over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{Entry, SessionTape, now};
use crate::session::flow::{BodyState, Exchange, Message, Millis, Piece, UnreadMessage, WebSocketMessage};

/// Parts of an answer whose times are kept; what comes after them came with the last.
const MOST_BEATS: usize = 1 << 16;
/// Frames or lines of one body; the body is kept as far as they go.
const MOST_PIECES: usize = 1 << 18;

/// One exchange while it goes on.
#[derive(Clone)]
pub struct Tape(Arc<Mutex<Running>>);

struct Running {
    tape: SessionTape,
    exchange: Exchange,
    began: Instant,
    body: Vec<Bytes>,
    body_bytes: usize,
    /// They come when the request is written already, and are kept with its end.
    trailers: Bytes,
    answer: BytesMut,
    requested: bool,
    ended: bool,
}

impl Tape {
    /// Of an exchange that begins now.
    pub(super) fn of(tape: SessionTape, exchange: Exchange) -> Self {
        Self(Arc::new(Mutex::new(Running {
            tape,
            exchange,
            began: Instant::now(),
            body: Vec::new(),
            body_bytes: 0,
            trailers: Bytes::new(),
            answer: BytesMut::new(),
            requested: false,
            ended: false,
        })))
    }

    fn with(&self, act: impl FnOnce(&mut Running)) {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A piece of the request's body as the client sent it, and as it is audited.
    pub fn sent(&self, piece: fn(u64) -> Piece, bytes: &Bytes) {
        self.with(|running| {
            if running.keep(bytes) {
                running.exchange.request.pieces.push(piece(bytes.len() as u64));
            }
        });
    }

    /// A piece of the request's body that goes by unread.
    pub fn unread(&self, bytes: &Bytes, reason: &str) {
        self.with(|running| {
            let kept = running.keep(bytes);
            let piece = Piece::Unread { bytes: bytes.len() as u64, reason: reason.to_owned(), kept };
            running.exchange.request.pieces.push(piece);
        });
    }

    /// Bytes of the request that went by unread, and are not kept.
    pub fn sent_unseen(&self, bytes: u64, reason: &str) {
        self.with(|running| {
            running.exchange.request.body_state = BodyState::Cut;
            running.exchange.request.pieces.push(Piece::Unread { bytes, reason: reason.to_owned(), kept: false });
        });
    }

    /// A message of the client's that was not read.
    pub fn unread_message(&self, before: u64, bytes: u64, reason: &str) {
        let message = UnreadMessage { before, bytes, reason: reason.to_owned(), refused: false };
        self.with(|running| running.exchange.unread_messages.push(message));
    }

    /// What was noted as unread last may not pass.
    pub fn refused(&self) {
        self.with(|running| {
            if let Some(message) = running.exchange.unread_messages.last_mut() {
                message.refused = true;
            }
        });
    }

    /// The fields behind the request's body.
    pub fn trailers(&self, bytes: &Bytes) {
        self.with(|running| running.trailers = bytes.clone());
    }

    /// Whether the request has to be refused, since it would not be recorded.
    pub fn refuses(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tape.refuses()
    }

    /// The request is complete.
    pub fn requested(&self) {
        self.with(Running::request);
    }

    /// The head of the answer as the client gets it.
    pub fn answered(&self, head: Bytes) {
        self.with(|running| {
            let pace = vec![(running.elapsed(), 0)];
            running.exchange.response = Some(Message { head, body_state: BodyState::Cut, pace, ..Message::default() });
        });
    }

    /// A piece of the answer's body as the client gets it.
    pub fn received(&self, bytes: &[u8]) {
        self.with(|running| {
            if running.answer.len() + bytes.len() <= running.tape.limit {
                running.answer.extend_from_slice(bytes);
                running.beat(bytes.len() as u64);
            }
        });
    }

    /// The answer is complete.
    pub fn received_all(&self) {
        self.with(|running| {
            let limit = running.tape.limit;
            if let Some(response) = running.exchange.response.as_mut().filter(|_| running.answer.len() < limit) {
                response.body_state = BodyState::Whole;
            }
        });
    }

    pub fn message(&self, from_client: bool, text: bool, data: &Bytes) {
        self.with(|running| {
            let held: usize = running.exchange.messages.iter().map(|message| message.data.len()).sum();
            if held + data.len() <= running.tape.limit {
                let message = WebSocketMessage { from_client, text, at: Some(now()), data: data.clone() };
                running.exchange.messages.push(message);
            }
        });
    }

    /// The exchange is over.
    pub fn end(&self) {
        self.with(Running::end);
    }
}

impl Running {
    fn elapsed(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis
    }

    /// So many bytes of the answer have come now.
    fn beat(&mut self, bytes: u64) {
        let now = self.elapsed();
        let Some(response) = &mut self.exchange.response else { return };
        let full = response.pace.len() >= MOST_BEATS;
        match response.pace.last_mut() {
            Some((at, sum)) if full || (*at == now && *sum > 0) => *sum += bytes,
            _ => response.pace.push((now, bytes)),
        }
    }

    /// Whether there was room for a piece of the request's body.
    fn keep(&mut self, bytes: &Bytes) -> bool {
        let request = &mut self.exchange.request;
        let room = self.body_bytes + bytes.len() <= self.tape.limit && request.pieces.len() < MOST_PIECES;
        // Where one is missing the others would be counted wrong.
        if !room || request.body_state == BodyState::Cut {
            request.body_state = BodyState::Cut;
            return false;
        }
        if !bytes.is_empty() {
            self.body_bytes += bytes.len();
            self.body.push(bytes.clone());
        }
        true
    }

    fn request(&mut self) {
        if std::mem::replace(&mut self.requested, true) {
            return;
        }
        let pieces = std::mem::take(&mut self.body);
        self.exchange.request.body = match &pieces[..] {
            [] => Bytes::new(),
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        };
        // One document is what everybody expects of a body.
        if matches!(self.exchange.request.pieces[..], [Piece::Document(_)]) {
            self.exchange.request.pieces.clear();
        }
        let request = Exchange {
            request: std::mem::take(&mut self.exchange.request),
            id: self.exchange.id.clone(),
            started: self.exchange.started,
            host: self.exchange.host.clone(),
            port: self.exchange.port,
            secure: self.exchange.secure,
            bodies: self.exchange.bodies,
            ..Exchange::default()
        };
        let bytes = request.request.head.len() + request.request.body.len();
        self.tape.hand_over(Entry::Request(Box::new(request)), bytes);
    }

    fn end(&mut self) {
        self.request();
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let answer = std::mem::take(&mut self.answer).freeze();
        let mut bytes = answer.len();
        if let Some(response) = &mut self.exchange.response {
            response.body = answer;
        }
        let end = Exchange {
            id: self.exchange.id.clone(),
            ended: Some(now()),
            request: Message { trailers: std::mem::take(&mut self.trailers), ..Message::default() },
            response: self.exchange.response.take(),
            messages: std::mem::take(&mut self.exchange.messages),
            unread_messages: std::mem::take(&mut self.exchange.unread_messages),
            host: self.exchange.host.clone(),
            bodies: self.exchange.bodies,
            ..Exchange::default()
        };
        bytes += end.messages.iter().map(|message| message.data.len()).sum::<usize>();
        self.tape.hand_over(Entry::End(Box::new(end)), bytes);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

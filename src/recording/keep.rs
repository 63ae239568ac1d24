//! What is kept of an exchange: everything, all but found values, or digests.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Sink;
use crate::engine::{Part, Request, Unit};
use crate::session::flow::{Bodies, BodyState, Exchange, Message};
use crate::wire::head::{HeadEdit, RequestHead};

impl Sink {
    /// What is kept of an exchange; of one that differs from the rest the session says so.
    fn bodies(&self, exchange: &mut Exchange) -> Bodies {
        let bodies = exchange.bodies.unwrap_or(self.plan.bodies);
        exchange.bodies = Some(bodies).filter(|own| *own != self.plan.bodies);
        bodies
    }

    pub(super) fn keep_request(&self, exchange: &mut Exchange) {
        let bodies = self.bodies(exchange);
        if bodies == Bodies::Full {
            return;
        }
        let Ok(request) = exchange.request() else { return self.omit(&mut exchange.request) };
        let part = match exchange.request.body.is_empty() || bodies == Bodies::None {
            true => Part::Head,
            false => Part::Document(exchange.request.body.clone()),
        };
        let whole = exchange.request.body_state == BodyState::Whole;
        let (head, body) = self.masked(&request, part, &exchange.request.body);
        exchange.request.head = head;
        self.settle(&mut exchange.request, body.filter(|_| whole && bodies == Bodies::Masked));
    }

    pub(super) fn keep_end(&self, exchange: &mut Exchange) {
        let bodies = self.bodies(exchange);
        if bodies == Bodies::Full {
            return;
        }
        let host = exchange.host.clone();
        exchange.request.trailers = Bytes::new();
        if let Some(response) = &mut exchange.response {
            let fields: Vec<(&[u8], &[u8])> = response.fields().collect();
            // The engine takes requests: the fields of an answer are looked through as those of one.
            let head = RequestHead::from_parts("POST", "/", fields);
            let request = Request { host: host.clone(), port: 443, secure: true, head };
            let part = match response.body.is_empty() || bodies == Bodies::None {
                true => Part::Head,
                false => Part::Document(response.body.clone()),
            };
            let (head, body) = self.masked(&request, part, &response.body);
            let line = memchr::memchr(b'\n', &response.head).map_or(response.head.len(), |end| end + 1);
            let rest = memchr::memchr(b'\n', &head).map_or(head.len(), |end| end + 1);
            response.head = [&response.head[..line], &head[rest..]].concat().into();
            let whole = response.body_state == BodyState::Whole;
            self.settle(response, body.filter(|_| whole && bodies == Bodies::Masked));
        }
        let head = RequestHead::from_parts("GET", "/", std::iter::empty());
        let request = Request { host, port: 443, secure: true, head };
        for (index, message) in (0..).zip(&mut exchange.messages) {
            let part = Part::Message { index, text: message.text, bytes: message.data.clone() };
            message.data = match bodies {
                Bodies::None => Bytes::new(),
                _ => self.masked(&request, part, &message.data).1.unwrap_or_default(),
            };
        }
    }

    /// The head and the body with other values; no body where that cannot be.
    fn masked(&self, request: &Request, part: Part, body: &Bytes) -> (Bytes, Option<Bytes>) {
        let raw = request.head.raw();
        match self.plan.engine.masked(&Unit { request, part }) {
            Ok(Some(rewritten)) => (edited(raw, &rewritten.head), Some(rewritten.payload)),
            Ok(None) => (raw.clone(), Some(body.clone())),
            Err(_) => {
                self.counters.unmasked.fetch_add(1, Ordering::Relaxed);
                // The head alone, or nothing at all of it.
                let head = self.plan.engine.masked(&Unit { request, part: Part::Head });
                match head {
                    Ok(Some(rewritten)) => (edited(raw, &rewritten.head), None),
                    Ok(None) => (raw.clone(), None),
                    Err(_) => (Bytes::from_static(b"X / HTTP/1.1\r\n\r\n"), None),
                }
            }
        }
    }

    /// Puts the masked body in; one that could not be masked is left out.
    fn settle(&self, message: &mut Message, body: Option<Bytes>) {
        match body {
            Some(body) => {
                message.body = body;
                message.body_state = BodyState::Masked;
                message.trailers = Bytes::new();
            }
            None if message.body.is_empty() && message.body_state == BodyState::Whole => {
                message.body_state = BodyState::Masked;
            }
            None => self.omit(message),
        }
    }

    fn omit(&self, message: &mut Message) {
        let sha256 = Sha256::digest(&message.body).into();
        message.body_state = BodyState::Omitted { length: message.body.len() as u64, sha256 };
        message.body = Bytes::new();
        message.trailers = Bytes::new();
    }
}

/// `head` with the edits made.
fn edited(head: &Bytes, edits: &[HeadEdit]) -> Bytes {
    let mut out = Vec::with_capacity(head.len());
    let mut at = 0;
    for edit in edits {
        let range = edit.span.range();
        out.extend_from_slice(head.get(at..range.start).unwrap_or_default());
        out.extend_from_slice(&edit.bytes);
        at = range.end;
    }
    out.extend_from_slice(head.get(at..).unwrap_or_default());
    out.into()
}

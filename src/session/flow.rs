//! One exchange as it was recorded or imported, whatever the format: what inspection, replay and export work on.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{Part, Request};
use crate::wire::head::{HeadError, RequestHead};
use crate::wire::limits::Limits;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = u64;

/// A request, its answer, and what went over it afterwards.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exchange {
    /// The flow's id: unique within its capture.
    pub id: String,
    pub started: Option<Millis>,
    pub ended: Option<Millis>,
    /// Lower case, without the port.
    pub host: String,
    pub port: u16,
    /// `https`, or `http` where nothing was encrypted.
    pub secure: bool,
    pub request: Message,
    /// None where there was no answer, or none was captured.
    pub response: Option<Message>,
    /// Messages of a WebSocket, of both sides, in order.
    pub messages: Vec<WebSocketMessage>,
    /// Findings and the flow as lines of JSON, as they were written when this was audited; empty for imports.
    pub lines: Vec<String>,
}

/// One HTTP message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Message {
    /// Spelled as HTTP/1.1, up to and with the empty line. What another version said is put that way: `:authority` is the
    /// first field `host`.
    pub head: Bytes,
    /// Transfer codings undone, content codings still applied.
    pub body: Bytes,
    /// Spelled as HTTP/1.1 fields, without the empty line.
    pub trailers: Bytes,
    /// Whether the body is all there; `Omitted` bodies are known by their digest alone.
    pub body_state: BodyState,
}

/// How much of a body is kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum BodyState {
    #[default]
    Whole,
    /// It broke off, or was longer than what is kept.
    Cut,
    /// Values that were found are replaced: good to read, no good to send again or to look through anew.
    Masked,
    /// Only its length and its SHA-256 are kept.
    Omitted { length: u64, sha256: [u8; 32] },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSocketMessage {
    pub from_client: bool,
    pub text: bool,
    pub at: Option<Millis>,
    /// Unmasked and inflated.
    pub data: Bytes,
}

impl Exchange {
    /// The head of the request as the engine takes it.
    pub fn request(&self) -> Result<Arc<Request>, HeadError> {
        let limits = Limits { head_bytes: 1024 * 1024, fields: 10_000, ..Limits::default() };
        let (head, _) = RequestHead::parse_captured(&self.request.head, &limits)?;
        Ok(Arc::new(Request { host: self.host.clone(), port: self.port, secure: self.secure, head }))
    }

    /// The request as the units that an audit takes, in wire order.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![match self.request.body.is_empty() {
            true => Part::Head,
            false => Part::Document(self.request.body.clone()),
        }];
        if !self.request.trailers.is_empty() {
            parts.push(Part::Trailers(self.request.trailers.clone()));
        }
        let sent = self.messages.iter().filter(|message| message.from_client);
        parts.extend((0..).zip(sent).map(|(index, message)| Part::Message {
            index,
            text: message.text,
            bytes: message.data.clone(),
        }));
        parts
    }

    /// Whether the request is kept as it was sent: only then can it be inspected anew or sent again.
    pub fn is_whole(&self) -> bool {
        self.request.body_state == BodyState::Whole
    }
}

impl Message {
    /// The status of a response; none of a request or of a head that cannot be read.
    pub fn status(&self) -> Option<u16> {
        let line = self.head.split(|&byte| byte == b'\r' || byte == b'\n').next()?;
        let line = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/")?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// The fields in order, names as they are spelled.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    /// The first field of that name, in any case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Exchange, Message};
    use crate::engine::Part;

    #[test]
    fn an_exchange_is_what_the_engine_takes() {
        let head = b"POST /v1/x HTTP/1.1\r\nHost: api.example.com\r\nX-A:  1 \r\n\r\n".as_slice();
        let request = Message { head: head.into(), body: "{}".into(), ..Message::default() };
        let exchange =
            Exchange { host: "api.example.com".into(), port: 443, secure: true, request, ..Exchange::default() };
        assert_eq!(exchange.request().unwrap().head.target(), "/v1/x");
        assert_eq!(exchange.request.field("x-a"), Some(b"1".as_slice()));
        assert!(matches!(&exchange.parts()[..], [Part::Document(body)] if body == "{}"));
        let response = Message { head: "HTTP/1.1 204 No Content\r\n\r\n".into(), ..Message::default() };
        assert_eq!(response.status(), Some(204));
    }
}

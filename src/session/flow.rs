//! One exchange as it was recorded or imported, whatever the format: what inspection, replay and export work on.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::engine::{Location, Part, Request, Root};
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
    /// Messages of the client's that were not read, each before the message of that number.
    pub unread_messages: Vec<UnreadMessage>,
    /// What is kept of its heads and bodies, where that is not what the session says of all.
    pub bodies: Option<Bodies>,
    /// Findings and the flow as lines of JSON, as they were written when this was audited; empty for imports.
    pub lines: Vec<String>,
    /// The entry of the archive that this was imported from, with all that no field above has a place for. It holds what
    /// was sent, unmasked: whoever masks an exchange puts none here.
    pub extra: Option<Bytes>,
}

/// What is kept of heads and bodies.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bodies {
    /// Found values are replaced by others of their shape.
    #[default]
    Masked,
    /// Everything, as it came.
    Full,
    /// Heads masked, of bodies length and digest.
    None,
}

impl Bodies {
    pub fn name(self) -> &'static str {
        match self {
            Bodies::Masked => "masked",
            Bodies::Full => "full",
            Bodies::None => "none",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Bodies::Masked, Bodies::Full, Bodies::None].into_iter().find(|bodies| bodies.name() == name)
    }
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
    /// Of a request: what its body was audited in. Empty where that was one document, and where nobody knows.
    pub pieces: Vec<Piece>,
    /// Of an answer: when its head and each part of its body came. Empty where nobody knows.
    pub pace: Vec<Beat>,
}

/// What a body was audited in: the same pieces give the same findings again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Piece {
    Document(u64),
    Frame(u64),
    Line(u64),
    Chunk(u64),
    /// It was not read; only if `kept` it is in the body.
    Unread {
        bytes: u64,
        reason: String,
        kept: bool,
    },
}

/// A part of an answer: milliseconds since the request began, and how many bytes came then.
pub type Beat = (u64, u64);

/// A message of a WebSocket that was not read: `before` so many others of the client's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UnreadMessage {
    pub before: u64,
    pub bytes: u64,
    pub reason: String,
    /// It was the end of the conversation: it might not pass unread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// One step of an audit.
#[derive(Clone, Debug)]
pub enum Step {
    Audit(Part),
    /// Bytes that the audit did not get to see.
    Unread {
        location: Location,
        bytes: u64,
        reason: &'static str,
        /// Them, where the body has them.
        kept: Bytes,
        /// They were refused for that.
        refused: bool,
    },
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

    /// The request as the steps that an audit takes, in wire order: those that were taken when it was recorded.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = self.request.steps();
        if !self.request.trailers.is_empty() {
            steps.push(Step::Audit(Part::Trailers(self.request.trailers.clone())));
        }
        let mut unread = self.unread_messages.iter().peekable();
        let mut passed_over = |next: u64, steps: &mut Vec<Step>| {
            while let Some(message) = unread.next_if(|message| message.before <= next) {
                let location = Location { root: Root::Message(message.before), steps: Vec::new() };
                let (bytes, reason, refused) = (message.bytes, word(&message.reason), message.refused);
                steps.push(Step::Unread { location, bytes, reason, kept: Bytes::new(), refused });
            }
        };
        let sent = self.messages.iter().filter(|message| message.from_client);
        for (index, message) in (0..).zip(sent) {
            passed_over(index, &mut steps);
            let bytes = message.data.clone();
            steps.push(Step::Audit(Part::Message { index, text: message.text, bytes }));
        }
        passed_over(u64::MAX, &mut steps);
        steps
    }

    /// What was sent, each body as one document: for those who look for what is in it, not for what the proxy did with it.
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

/// The reasons for which a body is passed over unread are words of the proxy's own.
fn word(reason: &str) -> &'static str {
    ["limit", "malformed"].into_iter().find(|known| *known == reason).unwrap_or("opaque")
}

impl Message {
    /// Head and body as an audit takes them.
    fn steps(&self) -> Vec<Step> {
        let whole = |body: &Bytes| match body.is_empty() {
            true => Part::Head,
            false => Part::Document(body.clone()),
        };
        if self.pieces.is_empty() {
            return vec![Step::Audit(whole(&self.body))];
        }
        let mut steps = match self.pieces.first() {
            Some(Piece::Document(_)) => Vec::new(),
            _ => vec![Step::Audit(Part::Head)],
        };
        let mut at: usize = 0;
        // What a damaged record says may be more than there is.
        let mut take = |bytes: u64| {
            let from = at;
            at = at.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX)).min(self.body.len());
            (from as u64, self.body.slice(from..at))
        };
        let mut index = 0;
        for piece in &self.pieces {
            let part = match piece {
                Piece::Document(bytes) => Part::Document(take(*bytes).1),
                Piece::Frame(bytes) => Part::Frame { index, bytes: take(*bytes).1 },
                Piece::Line(bytes) => Part::Line { index, bytes: take(*bytes).1 },
                Piece::Chunk(bytes) => {
                    let (offset, bytes) = take(*bytes);
                    Part::Chunk { offset, bytes }
                }
                Piece::Unread { bytes, reason, kept } => {
                    let kept = if *kept { take(*bytes).1 } else { Bytes::new() };
                    let location = Location { root: Root::Body, steps: Vec::new() };
                    steps.push(Step::Unread { location, bytes: *bytes, reason: word(reason), kept, refused: false });
                    continue;
                }
            };
            index += 1;
            steps.push(Step::Audit(part));
        }
        steps
    }

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
    use super::{Exchange, Message, Piece, Step};
    use crate::engine::Part;

    #[test]
    fn an_exchange_is_what_the_engine_takes() {
        let head = b"POST /v1/x HTTP/1.1\r\nHost: api.example.com\r\nX-A:  1 \r\n\r\n".as_slice();
        let request = Message { head: head.into(), body: "{}".into(), ..Message::default() };
        let exchange =
            Exchange { host: "api.example.com".into(), port: 443, secure: true, request, ..Exchange::default() };
        assert_eq!(exchange.request().unwrap().head.target(), "/v1/x");
        assert_eq!(exchange.request.field("x-a"), Some(b"1".as_slice()));
        assert!(matches!(&exchange.steps()[..], [Step::Audit(Part::Document(body))] if body == "{}"));
        let response = Message { head: "HTTP/1.1 204 No Content\r\n\r\n".into(), ..Message::default() };
        assert_eq!(response.status(), Some(204));
    }

    #[test]
    fn a_body_is_audited_in_the_pieces_it_was_recorded_in() {
        let unread = |kept, bytes| Piece::Unread { bytes, reason: "limit".to_owned(), kept };
        let pieces = vec![Piece::Line(2), unread(true, 3), Piece::Line(1), unread(false, 70), Piece::Line(9)];
        let request = Message { body: "abXXXcd".into(), pieces, ..Message::default() };
        let steps = Exchange { request, ..Exchange::default() }.steps();
        let said: Vec<String> = steps
            .iter()
            .map(|step| match step {
                Step::Audit(Part::Line { index, bytes }) => format!("{index} {}", String::from_utf8_lossy(bytes)),
                Step::Audit(part) => format!("{part:?}"),
                Step::Unread { location, bytes, reason, kept, .. } => {
                    format!("{location} {bytes} {reason} {}", String::from_utf8_lossy(kept))
                }
            })
            .collect();
        assert_eq!(said, ["Head", "0 ab", "body 3 limit XXX", "1 c", "body 70 limit ", "2 d"]);
    }
}

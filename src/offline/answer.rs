//! What answers are made of: the text, JSON and event-stream replies, and the body that carries them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;

use super::request::Asked;
use super::schema;

/// What every model answers.
pub const GREETING: &str = "Hello from divulge's offline upstream: nothing has left this machine.";

/// The time all answers claim, 2026-01-01T00:00:00Z: the upstream reads no clock.
pub const CREATED: u64 = 1_767_225_600;

pub type Reply = Response<Frames>;

/// A response body of prepared pieces. Each goes out as the connection takes it, so a slow reader holds
/// back the rest instead of having it queued in the kernel's place.
#[derive(Debug, Default)]
pub struct Frames {
    pieces: VecDeque<Bytes>,
    /// Its length is told in advance. Streams do not.
    whole: bool,
}

impl Frames {
    fn whole(bytes: Bytes) -> Self {
        let pieces = if bytes.is_empty() { VecDeque::new() } else { VecDeque::from([bytes]) };
        Self { pieces, whole: true }
    }

    fn streamed(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self { pieces: pieces.into_iter().collect(), whole: false }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.whole && self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.whole {
            SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum())
        } else {
            SizeHint::default()
        }
    }
}

/// What the model says.
#[derive(Clone, Debug)]
pub enum Content {
    Text(String),
    /// The one tool the request insists on: how clients ask for structured answers.
    Call {
        name: String,
        arguments: Value,
    },
}

impl Content {
    pub fn text(schema: Option<&Value>) -> Self {
        Self::Text(text(schema))
    }

    pub fn call(name: &str, schema: Option<&Value>) -> Self {
        Self::Call { name: name.to_owned(), arguments: schema::instance(schema.unwrap_or(&Value::Null)) }
    }

    pub fn tokens(&self) -> u64 {
        match self {
            Self::Text(text) => tokens(text.len() as u64),
            Self::Call { arguments, .. } => tokens(arguments.to_string().len() as u64),
        }
    }
}

/// The greeting, or a document of the shape that was asked for.
pub fn text(schema: Option<&Value>) -> String {
    match schema {
        Some(schema) => schema::instance(schema).to_string(),
        None => GREETING.to_owned(),
    }
}

/// The pieces in which a streamed answer arrives: words, as from a model.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// About four bytes make a token.
pub fn tokens(bytes: u64) -> u64 {
    bytes / 4 + 1
}

/// A fresh identifier: `prefix` and 24 hex digits, counted up. Clients merge answers of one identifier
/// into one, so no two may share it; and it must not depend on the request, or it would carry
/// something of it into the next one.
pub fn id(prefix: &str) -> String {
    static ISSUED: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}0ff11e{:018x}", ISSUED.fetch_add(1, Ordering::Relaxed))
}

pub fn json(status: StatusCode, document: &Value) -> Reply {
    typed(status, "application/json", Bytes::from(document.to_string()))
}

pub fn typed(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Reply {
    let mut reply = Response::new(Frames::whole(bytes));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Frames::whole(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// What a HEAD gets of `reply`: the head that goes with the body, and no body. hyper leaves that to us over HTTP/2.
pub fn head_of(mut reply: Reply) -> Reply {
    if let Some(length) = reply.body().size_hint().exact()
        && reply.body_mut().pieces.pop_front().is_some()
    {
        reply.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    *reply.body_mut() = Frames::whole(Bytes::new());
    reply
}

/// One server-sent event, `event: NAME` left out where the API has none (WHATWG HTML, 9.2).
pub fn event(name: Option<&str>, data: &Value) -> Bytes {
    Bytes::from(match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    })
}

pub fn events(events: impl IntoIterator<Item = Bytes>) -> Reply {
    streamed("text/event-stream; charset=utf-8", events)
}

pub fn streamed(content_type: &'static str, pieces: impl IntoIterator<Item = Bytes>) -> Reply {
    let mut reply = Response::new(Frames::streamed(pieces));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

/// The tool named `name` of `tools`, whose entries hold their name at `/name` or `/function/name`.
pub fn tool<'a>(asked: &'a Asked, name: &str) -> Option<&'a Value> {
    asked.members.get("tools")?.as_array()?.iter().find(|tool| {
        let named = tool.get("name").or_else(|| tool.pointer("/function/name"));
        named.and_then(Value::as_str) == Some(name)
    })
}

//! What stands on the wire, as byte ranges: HTTP/1.1 heads and bodies, WebSocket and Connect frames.
//!
//! ```text
//! bytes -> RequestHead | ResponseHead -> BodyReader -> data -> EnvelopeReader | LineReader
//!                                     -> MessageReader (after a 101)
//!       -> FrameWatch (HTTP/2, in front of its library)
//! ```
//!
//! Pure and sans-IO: bytes in, ranges out. Nothing here reads a socket, so every codec is fuzzed alone.
//! Strict where two recipients could read one message in two ways, exact everywhere else: what is not
//! hop-by-hop leaves in the bytes in which it came.
#![forbid(unsafe_code)]

pub mod authority;
mod block;
pub mod body;
pub mod coding;
pub mod control;
pub mod envelope;
pub mod forward;
pub mod frames;
pub mod head;
pub mod hpack;
mod lexer;
pub mod limits;
mod parse;
pub mod response;
pub mod span;
pub mod websocket;

pub use body::{BodyError, BodyReader, BodyWriter, Progress, Trailers};
pub use envelope::{EnvelopeError, EnvelopeEvent, EnvelopeReader, LineEvent, LineReader};
pub use forward::{ForwardRequest, ForwardResponse, TargetOut};
pub use head::{Field, Framing, HeadEdit, HeadError, RequestHead, TargetForm, Upgrade};
pub use limits::Limits;
pub use response::ResponseHead;
pub use span::Span;
pub use websocket::{Deflate, Event, MessageReader, MessageWriter, Side, WsError};

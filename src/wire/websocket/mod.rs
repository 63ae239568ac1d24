//! WebSocket messages on an upgraded connection (RFC 6455), permessage-deflate included (RFC 7692).
//!
//! ```text
//! bytes -> MessageReader -> Message | Control | Oversize -> engine -> MessageWriter -> bytes
//! ```
//!
//! Unedited messages leave as the very frames in which they came.

mod deflate;
mod frame;
mod reader;
mod writer;

pub use deflate::Deflate;
pub use frame::CLOSE;
pub use reader::{Event, MessageReader};
pub use writer::MessageWriter;

/// Who sends the frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Masks every frame.
    Client,
    /// Masks none.
    Server,
}

/// Why a WebSocket connection must end, and the close code that says so (RFC 6455, section 7.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct WsError {
    /// 1002 (protocol), 1007 (data) or 1009 (too big).
    pub code: u16,
    pub reason: &'static str,
}

impl WsError {
    const fn protocol(reason: &'static str) -> Self {
        Self { code: 1002, reason }
    }
}

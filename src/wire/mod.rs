//! What stands on the wire, as byte ranges: HTTP/1.1 heads and bodies, WebSocket and Connect frames.
//!
//! Pure and sans-IO: bytes in, ranges out. Nothing here reads a socket, so every codec is fuzzed alone.

pub mod head;
pub mod span;

//! What a capture is. Pure: bytes in, requests out.

pub mod flow;
pub mod raw;

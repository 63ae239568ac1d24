//! What a capture is. Pure: bytes in, requests out.

mod chunks;
pub mod flow;
pub mod raw;
pub mod store;

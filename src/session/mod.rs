//! What a capture is. Pure: bytes in, requests out.

pub mod audit;
mod chunks;
pub mod curl;
mod damage;
pub mod files;
pub mod flow;
mod format;
pub mod har;
pub(crate) mod http;
pub mod mitmproxy;
pub mod pcap;
pub mod raw;
pub mod store;
mod time;
mod tnetstring;
mod tree;

pub use damage::Damage;
pub use format::Format;

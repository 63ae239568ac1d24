//! What a proxy of many users needs beside the proxy: a port for those who run it, ways for findings to leave, and a word with
//! the system's service manager.

pub mod admin;
#[cfg(feature = "fleet")]
pub mod fleet;
pub mod nftables;
pub mod sinks;
pub mod spool;
pub mod systemd;

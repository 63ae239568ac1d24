//! divulge audits what AI coding assistants send out.
//!
//! ```text
//! accept -> intercept -> decode -> inspect -> decide -> rewrite -> forward -> record
//! ```
//!
//! [`wire`] and [`engine`] are pure: no sockets, files, clock or randomness. They build without the
//! `proxy` feature and are usable as a library. Everything else moves bytes and decides nothing.
#![forbid(unsafe_code)]

pub mod engine;
pub mod probe;
pub mod report;
pub mod session;
pub mod wire;

#[cfg(feature = "proxy")]
pub mod access;
#[cfg(feature = "proxy")]
pub mod ca;
#[cfg(feature = "proxy")]
pub mod cli;
#[cfg(feature = "proxy")]
pub mod config;
#[cfg(feature = "proxy")]
pub mod doctor;
#[cfg(feature = "proxy")]
pub mod environment;
#[cfg(feature = "proxy")]
pub mod facts;
#[cfg(feature = "proxy")]
pub mod gateway;
#[cfg(feature = "proxy")]
pub mod index;
#[cfg(feature = "proxy")]
pub mod inventory;
#[cfg(feature = "proxy")]
mod key_log;
#[cfg(feature = "proxy")]
pub mod learning;
#[cfg(feature = "proxy")]
pub mod metrics;
#[cfg(feature = "proxy")]
pub mod offline;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "proxy")]
pub mod pseudonyms;
#[cfg(feature = "proxy")]
pub mod record;
#[cfg(feature = "proxy")]
pub mod recording;
#[cfg(feature = "proxy")]
pub mod replay;
#[cfg(feature = "proxy")]
pub mod room;
#[cfg(feature = "proxy")]
pub mod setup;
#[cfg(feature = "proxy")]
mod sockets;
#[cfg(feature = "proxy")]
mod suites;
#[cfg(feature = "proxy")]
pub mod system_proxy;

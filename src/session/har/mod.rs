//! HTTP Archive 1.2, as browsers, mitmproxy and others write it; in and out.
//!
//! ```text
//! file -> one entry's text -> tree -> Exchange      (read.rs finds entries, entry.rs takes one apart)
//! Exchange -> entry -> file                         (write.rs)
//! ```
//!
//! What the format cannot say, and what is made of it, is in `docs/captures.md`.

mod entry;
mod read;
mod rebuild;
#[cfg(test)]
mod tests;
mod url;
mod write;

pub use read::{Around, around, read};
pub use write::{Writer, write};

pub(super) use read::is_har;

//! Reversible pseudonyms: what stands for the values of this machine on its way out, and back again.
//!
//! ```text
//! request   /home/ann/work   -> Pseudonyms::replace -> /home/zovakemuta/work
//! response  /home/zovakemuta -> Restorer            -> /home/ann
//! next turn                     Ledger::recall, else Pseudonyms::replace: the bytes the model wrote
//!
//! A Vault holds both for all requests and answers of an installation.
//! ```
//!
//! Pure: keys and what is stored are passed in. Atoms, not paths: the login inside a home, the labels of a host,
//! the parts of an address. No pseudonym stands in another or in a real value, so that they are told apart
//! without looking beyond their end.

mod added;
mod aliases;
mod arguments;
mod atoms;
mod automaton;
mod channel;
mod command;
mod dom;
mod envelope;
mod family;
mod guard;
mod ledger;
mod live;
mod map;
mod mint;
mod restore;
#[cfg(test)]
mod restore_tests;
mod sse;
#[cfg(test)]
mod stream_model;
mod table;
mod turns;
mod vault;

pub(super) use atoms::FOLDERS;

pub use aliases::{Alias, AliasError, parse as parse_aliases};
pub use family::Family;
pub use guard::{Crossing, Guard};
pub use ledger::Ledger;
pub use map::{MapError, Pseudonyms, Replaced};
pub use mint::{Sort, candidate};
pub use restore::{Carrier, Note, RestoreLimits, RestoreStats, Restorer};
pub use table::{Counter, Pair, Table};
pub use vault::Vault;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// An HMAC for one purpose, so that what is made for one is worth nothing for another.
fn keyed(key: &[u8; 32], purpose: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(purpose);
    mac.update(&[0]);
    mac
}

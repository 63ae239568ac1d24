//! Rules: data that says which values at which places reveal what.
//!
//! ```text
//! rule files -> file (as written) -> rule (compiled) -> ruleset (indexed) -> Inspector
//! ```
//!
//! A rule is one TOML file that proves itself: it brings a request in which it finds something and one
//! that it leaves alone, and [`examples`] runs both through the real decoder. A folder of rules with its
//! `pack.toml` is a pack. Texts come in from outside: nothing here reads a file.

mod admitted;
pub mod document;
pub mod error;
pub mod examples;
pub mod file;
pub(crate) mod glob;
mod names;
pub mod pack;
pub mod rule;
pub(crate) mod ruleset;
pub mod validate;

pub use error::RuleError;
pub use pack::Pack;
pub use rule::Rule;
pub use ruleset::{PackSource, RuleSet};

//! The experiment: the client is run again and again with one fact of its surroundings changed, and what it sends is compared.
//!
//! ```text
//! factors -> design -> run (room, proxy) -> observation ─┐
//!                ▲                                       ▼
//!                └── experiment: what next? ◄── align -> table -> evidence -> verdict -> result
//! ```
//!
//! Pure but for [`lab`], which makes the runs: the same observations always give the same result.

pub mod align;
pub mod confirm;
pub mod design;
pub mod evidence;
pub mod experiment;
pub mod factor;
pub mod feature;
#[cfg(feature = "proxy")]
pub mod lab;
pub mod linked;
pub mod naming;
pub mod observation;
pub mod once;
pub mod result;
pub mod stats;
pub mod surroundings;
pub mod table;
pub mod template;
pub mod verdict;

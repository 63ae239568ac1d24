//! What was found, for people and for programs.
//!
//! ```text
//! lines of --findings -> model -> text, JSON, HTML, Markdown, SARIF
//!                     -> bill
//! two of a kind       -> compare
//! ```
//!
//! Pure. Values come masked, as the lines are; what comes from the wire is escaped for each format.

pub mod bill;
pub mod clock;
pub mod compare;
pub mod html;
pub mod json;
pub mod lines;
pub mod markdown;
pub mod model;
mod picture;
pub mod place;
pub mod probe;
pub mod sarif;
pub mod summary;
pub mod tally;
pub mod text;

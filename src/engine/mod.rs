//! Inspects what an assistant sends and says what may leave.
//!
//! ```text
//! unit -> decode -> inspect -> decide -> rewrite -> Audit
//! ```
//!
//! Pure: no sockets, files, clock or randomness. The same units, rules, facts and policy always give the
//! same [`Audit`]; replay and the rule examples rest on that.
#![forbid(unsafe_code)]

pub mod audit;
pub mod decode;
pub mod detect;
pub mod facts;
pub mod finding;
pub mod flow;
pub mod kinds;
pub mod line;
pub mod location;
pub mod policy;
pub mod replace;
pub mod visit;

pub use audit::{Audit, Outgoing, Part, Refusal, Request, Rewritten, Unit};
pub use decode::{DecodeLimits, Decoded, walk};
pub use finding::{Action, Detector, Finding, Severity};
pub use location::{Location, Root, Step};

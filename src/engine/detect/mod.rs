//! What the detectors of one unit hand to the policy.
//!
//! ```text
//! named      a value under a telling name, or of a telling shape at a telling place
//! prompt     a line of the text that an assistant writes about the machine
//! integrity  a value that binds the body
//! facts      a fact of this very machine, in any form
//! template   what a client spells otherwise than in its other requests
//! covert     characters that nobody sees, and letters that pass for others
//! ```

pub mod covert;
pub(super) mod credentials;
pub(in crate::engine) mod elements;
mod examples;
pub mod facts;
pub(in crate::engine) mod hash;
mod inspector;
pub mod integrity;
mod label;
mod labelled;
mod named;
mod needles;
pub(super) mod places;
mod prompt;
mod region;
mod role;
mod scanner;
mod scans;
mod strangers;
mod support;
pub mod template;
mod told;

use std::ops::Range;
use std::sync::Arc;

pub use inspector::Inspector;
pub(crate) use label::LabelTables;
pub(crate) use prompt::BLOCK_SIGNS;
pub(crate) use scanner::Scanner;
pub(crate) use scans::Scans;
pub(in crate::engine) use told::{Key as ToldKey, Told, ToldRule};

use super::finding::{Action, Detector, Severity};
use super::location::{Location, Step};
use super::visit::Target;

/// Least confidence that is reported unless a caller asks for less.
pub const DEFAULT_CONFIDENCE: f32 = 0.5;

/// What a detector found, before any policy has seen it. Holds the raw value, so it has no derived `Debug`.
#[derive(Clone, PartialEq)]
pub struct RawFinding {
    pub kind: Arc<str>,
    /// Ends in `@a-b` where `window` is set.
    pub location: Location,
    pub detector: Detector,
    /// The rule's id.
    pub rule: Option<Arc<str>>,
    pub severity: Severity,
    /// 0 to 1.
    pub confidence: f32,
    /// The fact itself, raw.
    pub value: Arc<str>,
    /// The text as it stands, where that is not the value.
    pub observed: Option<String>,
    pub target: Target,
    /// Bytes of the decoded leaf; the whole leaf where there is none.
    pub window: Option<Range<usize>>,
    /// What the rule's pack suggests.
    pub action: Option<Action>,
    /// What stands in the window in the client's other requests; every edit puts it there.
    pub restored: Option<String>,
}

impl RawFinding {
    /// Says of a finding in a part of a leaf, the bytes at `range`, where it is in all of it.
    pub(crate) fn widen(&mut self, range: &Range<usize>) {
        let window = match self.window.take() {
            Some(window) => window.start + range.start..window.end + range.start,
            None => range.clone(),
        };
        if matches!(self.location.steps.last(), Some(Step::Window(..))) {
            self.location.steps.pop();
        }
        self.location.steps.push(Step::Window(window.start as u32, window.end as u32));
        self.window = Some(window);
    }
}

impl std::fmt::Debug for RawFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} ({} bytes)", self.kind, self.location, self.value.len())
    }
}

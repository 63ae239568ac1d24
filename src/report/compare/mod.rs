//! Two bills, or two requests, side by side.
//!
//! ```text
//! bill, bill         -> by field           -> new, gone, changed
//! requests, requests -> leaves -> aligned by structure -> leaf by leaf, text by word; what varies by itself is noise
//! ```
//!
//! Pure. What is compared by position in a file would call everything changed after one insertion: members are matched by
//! name, elements of lists by likeness.

pub mod bills;
pub mod noise;
pub mod probes;
pub mod requests;
mod tree;
pub mod words;

use serde::Serialize;

/// What became of a field from the first side to the second.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    New,
    Gone,
    Changed,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            What::New => "new",
            What::Gone => "gone",
            What::Changed => "changed",
        }
    }
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    pub color: bool,
}

impl Look {
    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn what(self, what: What, text: &str) -> String {
        let code = match what {
            What::New => "32",
            What::Gone => "31",
            What::Changed => "33",
        };
        self.paint(code, text)
    }

    /// What varies by itself is there, and out of the way.
    pub(crate) fn grey(self, text: &str) -> String {
        self.paint("90", text)
    }
}

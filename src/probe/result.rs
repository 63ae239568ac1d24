//! What an experiment has shown: the file that other programs read (`docs/probe.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::design::Axis;
use super::factor::Factor;
use super::naming::Form;
use crate::report::bill::{Bill, Generator};

/// The version of the file's schema.
pub const SCHEMA: u32 = 1;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProbeResult {
    pub schema: u32,
    /// `probe`
    pub r#type: String,
    pub generator: Generator,
    pub command: Vec<String>,
    pub factors: Vec<Factor>,
    pub axis: Axis,
    /// What depends on what: re-run and found again.
    pub dependencies: Vec<Dependency>,
    /// Seen once, and not run again: too few runs were allowed, or they were stopped.
    #[serde(default)]
    pub suspected: Vec<Dependency>,
    /// Varies although nothing was varied.
    pub noise: Vec<Noise>,
    /// The same in all runs.
    pub constant: Vec<Place>,
    /// Runs in all.
    pub runs: usize,
    /// Runs of the base case alone, from which the noise is known.
    pub base_runs: usize,
    #[serde(default)]
    pub failed: Vec<Failed>,
    /// How many suspicions were run again, and how many of them did not come true.
    pub tested: usize,
    pub dropped: usize,
    pub coverage: Coverage,
    /// Every request that was made, and how often.
    pub requests: Vec<RequestSeen>,
    /// Ended by itself, not stopped before.
    pub complete: bool,
    /// What limits the conclusions, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the client gives away in the base case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bill: Option<Bill>,
    #[serde(default)]
    pub milliseconds: u64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Dependency {
    pub factor: String,
    /// The other factor's value without which nothing shows.
    pub gate: Option<BTreeMap<String, String>>,
    /// Other values of that factor with which the same was seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_open_with: Vec<String>,
    pub location: String,
    pub host: String,
    pub method: String,
    pub path: String,
    pub kind: String,
    pub form: Form,
    /// By value of the factor, what was seen; null where nothing was there.
    pub values: BTreeMap<String, Option<String>>,
    /// By value of the factor, code points where what was seen looks alike.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub code_points: BTreeMap<String, Vec<String>>,
    /// What stands before it in a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The other place that was sent along, beside which alone it says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// In how many places of this location, or below it, the same shows.
    pub places: usize,
    /// Runs that `p` is about.
    pub runs: u32,
    /// Fisher's exact test on runs made for the purpose.
    pub p: f64,
    /// After Benjamini and Hochberg, over everything that was run again.
    pub q: f64,
    /// Run again with the same result.
    pub confirmed: bool,
    /// Whether it also shows with values invented for the purpose; null where none can be.
    pub fresh: Option<bool>,
    /// Whether each value of the factor shows as something of its own; null where fewer than three were tried often enough.
    #[serde(default)]
    pub tells: Option<Tells>,
}

/// How much of a fact shows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tells {
    /// Which value it is: in clear, or as a digest.
    Value,
    /// Only of which class it is: several values look the same, or it is not the same each time.
    Class,
}

#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Place {
    pub host: String,
    pub method: String,
    pub path: String,
    pub location: String,
}

#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Noise {
    #[serde(flatten)]
    pub place: Place,
    /// `id`, `clock`, `counter`, `presence` or `varies`
    pub noise: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failed {
    pub values: BTreeMap<String, String>,
    pub why: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Coverage {
    pub bytes_read: u64,
    pub bytes_sent: u64,
    /// Connections of all runs, and those of them that were read.
    #[serde(default)]
    pub connections: u64,
    #[serde(default)]
    pub audited: u64,
    /// Datagrams and names that went elsewhere than HTTP.
    #[serde(default)]
    pub datagrams: u64,
    #[serde(default)]
    pub names: u64,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RequestSeen {
    pub host: String,
    pub method: String,
    pub path: String,
    /// Runs of the base case with it, and in all.
    pub base: usize,
    pub all: usize,
}

/// Why a text is no result that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    #[error("no result of a probe (line {0}, column {1})")]
    Form(usize, usize),
    #[error("a result of schema {0}; this divulge reads {SCHEMA}")]
    Schema(u64),
}

impl ProbeResult {
    pub fn parse(text: &str) -> Result<Self, ResultError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u64,
        }
        let form = |error: serde_json::Error| ResultError::Form(error.line(), error.column());
        let version: Version = serde_json::from_str(text).map_err(form)?;
        if version.schema != u64::from(SCHEMA) {
            return Err(ResultError::Schema(version.schema));
        }
        serde_json::from_str(text).map_err(form)
    }

    /// With a line end.
    pub fn json(&self) -> String {
        // A number that is no number is null in JSON; there is none.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Whether the start of a file is that of a result.
    pub fn says_so(start: &str) -> bool {
        start.contains("\"type\": \"probe\"") || start.contains("\"type\":\"probe\"")
    }
}

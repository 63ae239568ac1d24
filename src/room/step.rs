//! An error while a room is built: which step failed, and why.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// A step that failed. Its text goes from the inside of the room to those who asked for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    pub what: String,
    pub why: String,
}

/// Names the step that an error belongs to.
pub trait Stepped<T> {
    fn step(self, what: impl Into<String>) -> Result<T, Step>;
}

impl<T, E: Display> Stepped<T> for Result<T, E> {
    fn step(self, what: impl Into<String>) -> Result<T, Step> {
        self.map_err(|error| Step { what: what.into(), why: error.to_string() })
    }
}

//! Files of the working tree that were sent, as lines beside findings say it.

use serde::{Deserialize, Serialize};

/// A file that left for a host.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SentFile {
    pub host: String,
    /// From the tree's root, with `/`.
    pub file: String,
    pub how: How,
    /// The part of its content that was met, 0 to 1; none where it is known by name alone.
    pub share: Option<f64>,
    /// Of the whole file.
    #[serde(default)]
    pub bytes: u64,
    /// The version control ignores it.
    #[serde(default)]
    pub ignored: bool,
    /// The first request with something of it.
    #[serde(default)]
    pub flow: String,
}

/// How a file is known to have left.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Text of it was sent.
    Content,
    /// Its name was sent: it is no text, or too large to be read.
    Name,
}

impl SentFile {
    /// One line of JSON, without its end.
    pub fn line(&self, time: &str, session: &str) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: u32,
            r#type: &'static str,
            time: &'a str,
            session: &'a str,
            #[serde(flatten)]
            file: &'a SentFile,
        }
        let line = Line { schema: crate::engine::line::SCHEMA, r#type: "file", time, session, file: self };
        // Strings, numbers and a flag: always JSON.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// `83% of 12.4 KiB`, or that it was named.
    pub fn said(&self, size: impl Fn(u64) -> String) -> String {
        let ignored = if self.ignored { ", ignored by version control" } else { "" };
        match self.share {
            Some(share) => format!("{:.0}% of {}{ignored}", (share * 100.0).max(1.0), size(self.bytes)),
            None => format!("named, {}{ignored}", size(self.bytes)),
        }
    }
}

//! What clients send whose bodies are built, and how much of it is found.

use divulge::engine::Part;

use super::{Planted, Score, found, generic};

pub struct Sent {
    pub line: (&'static str, &'static str, &'static str),
    pub fields: Vec<(&'static str, &'static str)>,
    /// As the proxy hands them out: a document has its head with it.
    pub parts: Vec<Part>,
    pub planted: &'static [Planted],
}

#[track_caller]
pub fn check(name: &str, requests: Vec<Sent>) {
    let engine = generic();
    let mut score = Score::default();
    for sent in requests {
        score.add(sent.planted, &found(&engine, sent.line, &sent.fields, sent.parts));
    }
    score.check(name);
}

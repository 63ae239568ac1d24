//! What a client is told of its flow beside the answer: a reference, by which those who run the proxy find its findings, and
//! what the policy warns of. Never a value.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

use crate::engine::{Action, Finding, Refusal};

/// The field with the reference: `SESSION/FLOW`, as in the lines of findings.
pub const FLOW: &str = "x-divulge-flow";
/// The field with the kinds that the policy warns of.
pub const WARN: &str = "x-divulge-warn";
/// The field of an answer that begins before all of the request was judged: there may be more to warn of.
pub const PENDING: &str = "x-divulge-warn-pending";

/// More kinds than these are not listed: a field has its length.
const MOST: usize = 16;

/// Of one flow. Both directions of an exchange hold it.
#[derive(Clone, Debug)]
pub struct Told {
    session: Arc<str>,
    flow: Arc<str>,
    /// None where the policy can warn of nothing.
    warned: Option<Arc<Mutex<Warned>>>,
}

#[derive(Debug, Default)]
struct Warned {
    kinds: BTreeSet<String>,
    /// All of the request was judged.
    whole: bool,
}

/// What follows the head of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Follows {
    Body,
    /// Messages of both sides, so that what the client sends is never all judged by then.
    Messages,
}

impl Told {
    pub fn new(session: &Arc<str>, flow: &str, may_warn: bool) -> Self {
        Self { session: session.clone(), flow: flow.into(), warned: may_warn.then(Arc::default) }
    }

    pub fn reference(&self) -> String {
        format!("{}/{}", self.session, self.flow)
    }

    fn warned(&self) -> Option<MutexGuard<'_, Warned>> {
        Some(self.warned.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps what is warned of among `findings`.
    pub fn note(&self, findings: &[Finding]) {
        for finding in findings.iter().filter(|finding| finding.action == Action::Warn) {
            let Some(mut warned) = self.warned() else { return };
            let kinds = &mut warned.kinds;
            // A kind is a name of a rule file; what could not stand in a field is left out.
            if kinds.len() < MOST && finding.kind.bytes().all(|b| b.is_ascii_graphic()) {
                kinds.insert(finding.kind.to_string());
            }
        }
    }

    /// All of the request was judged.
    pub fn judged(&self) {
        if let Some(mut warned) = self.warned() {
            warned.whole = true;
        }
    }

    /// The refusal with the reference in its sentence: often all that an assistant shows.
    pub fn with_reference(&self, refusal: Refusal) -> Refusal {
        Refusal { message: format!("{} (reference {})", refusal.message, self.reference()), ..refusal }
    }

    /// Fields of an answer that begins now, to a request that was let through with a warning or may still get one.
    pub fn fields(&self, follows: Follows) -> Vec<(&'static str, String)> {
        let Some(warned) = self.warned() else { return Vec::new() };
        let kinds: Vec<&str> = warned.kinds.iter().map(String::as_str).collect();
        let mut fields = Vec::new();
        if !kinds.is_empty() {
            fields.push((WARN, kinds.join(", ")));
        }
        if follows == Follows::Messages || !warned.whole {
            fields.push((PENDING, "1".to_owned()));
        }
        if !fields.is_empty() {
            fields.push((FLOW, self.reference()));
        }
        fields
    }

    /// Puts them into a head of HTTP/1.1 that has just been written.
    pub fn write(&self, follows: Follows, head: &mut BytesMut) {
        let fields = self.fields(follows);
        if fields.is_empty() || !head.ends_with(b"\r\n\r\n") {
            return;
        }
        // Before the empty line that ends it.
        head.truncate(head.len() - 2);
        for (name, value) in fields {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
    }
}

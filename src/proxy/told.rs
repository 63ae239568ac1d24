//! What a client is told of its flow beside the answer: a reference, by which those who run the proxy find its findings, and
//! what the policy warns of. Never a value.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{Action, Finding, Refusal};

/// The field with the reference: `SESSION/FLOW`, as in the lines of findings.
pub const FLOW: &str = "x-divulge-flow";
/// The field with the kinds that the policy warns of.
pub const WARN: &str = "x-divulge-warn";

/// More kinds than these are not listed: a field has its length.
const MOST: usize = 16;

/// Of one flow. Both directions of an exchange hold it.
#[derive(Clone, Debug)]
pub struct Told {
    reference: Arc<str>,
    warned: Arc<Mutex<BTreeSet<String>>>,
}

impl Told {
    pub fn new(session: &str, flow: &str) -> Self {
        Self { reference: format!("{session}/{flow}").into(), warned: Arc::default() }
    }

    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Keeps what is warned of among `findings`.
    pub fn note(&self, findings: &[Finding]) {
        for finding in findings.iter().filter(|finding| finding.action == Action::Warn) {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            // A kind is a name of a rule file; what could not stand in a field is left out.
            if warned.len() < MOST && finding.kind.bytes().all(|b| b.is_ascii_graphic()) {
                warned.insert(finding.kind.to_string());
            }
        }
    }

    /// The refusal with the reference in its sentence: often all that an assistant shows.
    pub fn with_reference(&self, refusal: Refusal) -> Refusal {
        Refusal { message: format!("{} (reference {})", refusal.message, self.reference), ..refusal }
    }

    /// Fields of an answer to a request that was let through with a warning.
    pub fn fields(&self) -> Option<[(&'static str, String); 2]> {
        let warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds: Vec<&str> = warned.iter().map(String::as_str).collect();
        (!kinds.is_empty()).then(|| [(WARN, kinds.join(", ")), (FLOW, self.reference.to_string())])
    }
}

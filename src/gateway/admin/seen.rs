//! The last flows and findings, and the clients that were seen, for whoever looks. Bounded; what is older is in the files.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

/// So many flows and so many findings.
pub const KEPT: usize = 1000;
/// Clients by name and version.
const CLIENTS: usize = 1000;

#[derive(Default)]
struct Kept {
    flows: VecDeque<Value>,
    findings: VecDeque<Value>,
    clients: BTreeMap<(String, String), Client>,
}

#[derive(Default)]
struct Client {
    flows: u64,
    first: String,
    last: String,
}

#[derive(Default)]
pub struct Seen(Mutex<Kept>);

impl Seen {
    /// Takes the lines of `lines` until the recorder ends.
    pub fn follow(mut lines: Receiver<Arc<str>>) -> Arc<Self> {
        let seen = Arc::new(Self::default());
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                if let Ok(line) = serde_json::from_str(&line) {
                    kept.take(line);
                }
            }
        });
        seen
    }

    fn take(&self, line: Value) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_flow = line["type"] == "flow";
        if is_flow {
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let client = (text("client"), text("client_version"));
            if kept.clients.len() < CLIENTS || kept.clients.contains_key(&client) {
                let known = kept.clients.entry(client).or_default();
                known.flows += 1;
                known.last = text("time");
                if known.first.is_empty() {
                    known.first = text("time");
                }
            }
        }
        let list = if is_flow { &mut kept.flows } else { &mut kept.findings };
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(line);
    }

    /// The newest first.
    pub fn flows(&self, limit: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.flows.iter().rev().filter(|line| fits(line)).take(limit).cloned().collect()
    }

    pub fn findings(&self, limit: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.findings.iter().rev().filter(|line| fits(line)).take(limit).cloned().collect()
    }

    pub fn clients(&self) -> Vec<Value> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        kept.clients
            .iter()
            .map(|((name, version), client)| {
                json!({"client": named(name), "version": named(version), "flows": client.flows, "first": client.first, "last": client.last})
            })
            .collect()
    }
}

//! What the model wrote, where redacting what the client was shown would not give it again.
//!
//! A client sends back what was restored for it. Redacting that gives what the model wrote, as long as the model
//! wrote pseudonyms as they were sent. Where it wrote one in capitals, with escapes, or a real value of its own
//! accord, the whole text is kept here under a digest of what the client was shown.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dom::{Dom, Sort};
use super::restore::Note;
use crate::engine::decode::json_unescape;

type Key = [u8; 16];

#[derive(Deserialize, Serialize)]
struct Stored {
    version: u32,
    entries: Vec<(Key, Box<str>)>,
}

/// Of what is stored.
const VERSION: u32 = 1;

struct Entry {
    /// White space at both ends aside.
    produced: Box<str>,
    used: u64,
}

/// Bounded; what was not asked for longest goes first. Holds no real value, unless the model wrote it.
pub struct Ledger {
    entries: HashMap<Key, Entry>,
    /// By when they were last used.
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
    most_bytes: usize,
    dropped: u64,
}

/// What an entry costs beside its text.
const ENTRY: usize = 128;

impl Ledger {
    /// Keeps `most_bytes` of text and what it takes to find it.
    pub fn new(most_bytes: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, bytes: 0, most_bytes, dropped: 0 }
    }

    /// Records a text that was restored, if `redact` does not undo it. Arguments of a tool are recorded as they
    /// were written and string by string, since some clients send them back as an object.
    pub fn note(&mut self, note: &Note, redact: &dyn Fn(&str) -> String) {
        self.text(&note.produced, &note.restored, redact);
        if !note.arguments {
            return;
        }
        let (mut ours, mut theirs) = (Dom::default(), Dom::default());
        let (produced, restored) = (note.produced.as_bytes(), note.restored.as_bytes());
        if !theirs.read(produced) || !ours.read(restored) || ours.nodes.len() != theirs.nodes.len() {
            return;
        }
        let plain = |data: &[u8], start: usize, end: usize| {
            let mut text = Vec::new();
            json_unescape(data.get(start..end).unwrap_or_default(), &mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        for (theirs, ours) in theirs.nodes.iter().zip(&ours.nodes) {
            if theirs.sort == Sort::String {
                let text = plain(produced, theirs.start, theirs.end);
                self.text(&text, &plain(restored, ours.start, ours.end), redact);
            }
            if theirs.named {
                let text = plain(produced, theirs.name.0, theirs.name.1);
                self.text(&text, &plain(restored, ours.name.0, ours.name.1), redact);
            }
        }
    }

    /// What the model wrote where the client now sends `text`; none where redacting `text` gives it.
    pub fn recall(&mut self, text: &str) -> Option<String> {
        if self.entries.is_empty() {
            return None;
        }
        let core = text.trim();
        let key = digest(core);
        let entry = self.entries.get_mut(&key)?;
        self.clock += 1;
        self.order.remove(&entry.used);
        entry.used = self.clock;
        self.order.insert(self.clock, key);
        let start = text.len() - text.trim_start().len();
        Some(format!("{}{}{}", &text[..start], entry.produced, &text[start + core.len()..]))
    }

    /// What is kept, in clear, for the caller to encrypt and store: texts as the model wrote them, longest unused first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries = self.order.values().filter_map(|key| Some((*key, self.entries.get(key)?.produced.clone())));
        let stored = Stored { version: VERSION, entries: entries.collect() };
        serde_json::to_vec(&stored).expect("texts and numbers are always JSON")
    }

    /// Reads what [`Ledger::to_bytes`] gave. None where it is damaged or of a newer version: what is lost are the
    /// deviations, so a caller may begin anew.
    pub fn from_bytes(most_bytes: usize, bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        if stored.version > VERSION {
            return None;
        }
        let mut this = Self::new(most_bytes);
        for (key, produced) in stored.entries {
            this.put(key, &produced);
        }
        Some(this)
    }

    /// Entries that had to go for others.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn text(&mut self, produced: &str, restored: &str, redact: &dyn Fn(&str) -> String) {
        let key = digest(restored.trim());
        if redact(restored) == produced {
            // The same text may be written both ways; the last counts.
            self.remove(&key);
            return;
        }
        let produced = produced.trim();
        // A bare name or path that the model guessed right must not let the client's own through.
        if !produced.contains(char::is_whitespace) && redact(produced) != produced {
            return;
        }
        self.put(key, produced);
    }

    fn put(&mut self, key: Key, produced: &str) {
        if produced.len() + ENTRY > self.most_bytes {
            self.dropped += 1;
            return;
        }
        self.remove(&key);
        self.clock += 1;
        self.bytes += produced.len() + ENTRY;
        self.entries.insert(key, Entry { produced: produced.into(), used: self.clock });
        self.order.insert(self.clock, key);
        while self.bytes > self.most_bytes {
            let Some((_, key)) = self.order.first_key_value() else { break };
            let key = *key;
            self.remove(&key);
            self.dropped += 1;
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.produced.len() + ENTRY;
            self.order.remove(&entry.used);
        }
    }
}

fn digest(text: &str) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::engine::pseudonym::Note;

    fn redact(text: &str) -> String {
        text.replace("ann", "zovakemuta")
    }

    fn note(produced: &str, restored: &str, arguments: bool) -> Note {
        Note { produced: produced.into(), restored: restored.into(), arguments }
    }

    #[test]
    fn only_what_redacting_does_not_give_again_is_kept() {
        let mut ledger = Ledger::new(4096);
        ledger.note(&note("I am zovakemuta", "I am ann", false), &redact);
        assert!(ledger.is_empty());
        ledger.note(&note("I am Zovakemuta, not ann ", "I am Ann, not ann ", false), &redact);
        assert_eq!(ledger.recall("I am Ann, not ann").as_deref(), Some("I am Zovakemuta, not ann"));
        assert_eq!(ledger.recall("\nI am Ann, not ann ").as_deref(), Some("\nI am Zovakemuta, not ann "));
        assert_eq!(ledger.recall("I am Ann"), None);
        let mut again = Ledger::from_bytes(4096, &ledger.to_bytes()).unwrap();
        assert_eq!(again.recall("I am Ann, not ann"), ledger.recall("I am Ann, not ann"));
        assert!(Ledger::from_bytes(4096, b"{}").is_none());
    }

    #[test]
    fn arguments_are_known_as_written_and_string_by_string() {
        let mut ledger = Ledger::new(4096);
        let produced = r#"{"path": "/home/\u007aovakemuta", "who": "ZOVAKEMUTA"}"#;
        let restored = r#"{"path": "/home/ann", "who": "ANN"}"#;
        ledger.note(&note(produced, restored, true), &redact);
        assert_eq!(ledger.recall(restored).as_deref(), Some(produced));
        assert_eq!(ledger.recall("ANN").as_deref(), Some("ZOVAKEMUTA"));
        assert_eq!(ledger.recall("/home/ann"), None, "redacting gives it");
    }

    #[test]
    fn a_bare_value_that_the_model_guessed_opens_no_way_out_for_it() {
        let mut ledger = Ledger::new(4096);
        ledger.note(&note("ann", "ann", false), &redact);
        ledger.note(&note(r#"{"user": "ann"}"#, r#"{"user": "ann"}"#, true), &redact);
        assert_eq!(ledger.recall("ann"), None);
    }

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let mut ledger = Ledger::new(3 * 140);
        for name in ["A", "B", "C"] {
            ledger.note(&note(&format!("{name} Zova"), &format!("{name} Ann"), false), &redact);
        }
        assert!(ledger.recall("A Ann").is_some());
        ledger.note(&note("D Zova", "D Ann", false), &redact);
        assert_eq!((ledger.recall("B Ann"), ledger.len(), ledger.dropped()), (None, 3, 1));
        assert!(ledger.recall("A Ann").is_some());
    }
}

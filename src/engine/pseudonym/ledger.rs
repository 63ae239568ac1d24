//! What the model wrote, for each text that was restored for the client.
//!
//! A client sends back what it was shown. Looking for known values in it again would mostly give what the model
//! wrote, but not always: a pseudonym in capitals or with escapes, a short value that counts only beside its name.
//! So the whole text is kept here under a digest of what the client was shown, and sent again as it was written.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dom::{Dom, Sort};
use super::restore::Note;
use crate::engine::decode::json_unescape;

/// Length and digest of what the client was shown, white space at both ends aside.
type Key = (usize, [u8; 16]);

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

/// Lengths of texts are kept modulo this many.
const LENGTHS: usize = 4096;

/// Bounded; what was not asked for longest goes first. Holds no real value, unless the model wrote it.
pub struct Ledger {
    entries: HashMap<Key, Entry>,
    /// By when they were last used.
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
    most_bytes: usize,
    dropped: u64,
    /// Whether a text of such a length was ever kept: most texts that are asked for are told from it at once.
    lengths: Box<[bool; LENGTHS]>,
}

/// What an entry costs beside its text.
const ENTRY: usize = 128;

impl Ledger {
    /// Keeps `most_bytes` of text and what it takes to find it.
    pub fn new(most_bytes: usize) -> Self {
        let lengths = Box::new([false; LENGTHS]);
        Self { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, bytes: 0, most_bytes, dropped: 0, lengths }
    }

    /// Records a text that the client was shown. `knows` says whether a real value stands in a text. Arguments of a tool
    /// are recorded as they were written and string by string, since some clients send them back as an object.
    pub fn note(&mut self, note: &Note, knows: &dyn Fn(&str) -> bool) {
        self.text(&note.produced, &note.restored, knows);
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
                self.text(&text, &plain(restored, ours.start, ours.end), knows);
            }
            if theirs.named {
                let text = plain(produced, theirs.name.0, theirs.name.1);
                self.text(&text, &plain(restored, ours.name.0, ours.name.1), knows);
            }
        }
    }

    /// Whether [`Ledger::recall`] may know `text`: false for nearly all that it does not.
    pub fn may_know(&self, text: &str) -> bool {
        self.lengths[text.trim().len() % LENGTHS] && !self.entries.is_empty()
    }

    /// What the model wrote where the client now sends `text`; none where it wrote no such text.
    pub fn recall(&mut self, text: &str) -> Option<String> {
        if !self.may_know(text) {
            return None;
        }
        let core = text.trim();
        let key = (core.len(), digest(core));
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

    fn text(&mut self, produced: &str, restored: &str, knows: &dyn Fn(&str) -> bool) {
        let (produced, restored) = (produced.trim(), restored.trim());
        if produced == restored {
            // A bare name or path that the model guessed right must not let the client's own through.
            if !knows(produced) || !produced.contains(char::is_whitespace) {
                return;
            }
        }
        self.put((restored.len(), digest(restored)), produced);
    }

    fn put(&mut self, key: Key, produced: &str) {
        if produced.len() + ENTRY > self.most_bytes {
            self.dropped += 1;
            return;
        }
        self.remove(&key);
        self.clock += 1;
        self.bytes += produced.len() + ENTRY;
        self.lengths[key.0 % LENGTHS] = true;
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

fn digest(text: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::engine::pseudonym::Note;

    fn knows(text: &str) -> bool {
        text.contains("ann")
    }

    fn note(produced: &str, restored: &str, arguments: bool) -> Note {
        Note { produced: produced.into(), restored: restored.into(), arguments }
    }

    #[test]
    fn a_text_that_was_restored_is_known_as_it_was_written() {
        let mut ledger = Ledger::new(4096);
        ledger.note(&note("I am Zovakemuta, not ann ", "I am Ann, not ann ", false), &knows);
        assert_eq!(ledger.recall("I am Ann, not ann").as_deref(), Some("I am Zovakemuta, not ann"));
        assert_eq!(ledger.recall("\nI am Ann, not ann ").as_deref(), Some("\nI am Zovakemuta, not ann "));
        assert_eq!(ledger.recall("I am Ann"), None);
        assert!(!ledger.may_know("I am Ann"));
        let mut again = Ledger::from_bytes(4096, &ledger.to_bytes()).unwrap();
        assert_eq!(again.recall("I am Ann, not ann"), ledger.recall("I am Ann, not ann"));
        assert!(Ledger::from_bytes(4096, b"{}").is_none());
    }

    #[test]
    fn arguments_are_known_as_written_and_string_by_string() {
        let mut ledger = Ledger::new(4096);
        let produced = r#"{"path": "/home/\u007aovakemuta", "who": "ZOVAKEMUTA", "depth": "two"}"#;
        let restored = r#"{"path": "/home/ann", "who": "ANN", "depth": "two"}"#;
        ledger.note(&note(produced, restored, true), &knows);
        assert_eq!(ledger.recall(restored).as_deref(), Some(produced));
        assert_eq!(ledger.recall("ANN").as_deref(), Some("ZOVAKEMUTA"));
        assert_eq!(ledger.recall("/home/ann").as_deref(), Some("/home/zovakemuta"));
        assert_eq!(ledger.recall("two"), None, "nothing was restored there");
    }

    #[test]
    fn a_bare_value_that_the_model_guessed_opens_no_way_out_for_it() {
        let mut ledger = Ledger::new(4096);
        ledger.note(&note("ann", "ann", false), &knows);
        ledger.note(&note(r#"{"user":"ann"}"#, r#"{"user":"ann"}"#, true), &knows);
        assert_eq!(ledger.recall("ann"), None);
        assert_eq!(ledger.recall(r#"{"user":"ann"}"#), None);
        ledger.note(&note("ann is a name", "ann is a name", false), &knows);
        assert_eq!(ledger.recall("ann is a name").as_deref(), Some("ann is a name"), "what it said is said again");
    }

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let mut ledger = Ledger::new(3 * 140);
        for name in ["A", "B", "C"] {
            ledger.note(&note(&format!("{name} Zova"), &format!("{name} Ann"), false), &knows);
        }
        assert!(ledger.recall("A Ann").is_some());
        ledger.note(&note("D Zova", "D Ann", false), &knows);
        assert_eq!((ledger.recall("B Ann"), ledger.len(), ledger.dropped()), (None, 3, 1));
        assert!(ledger.recall("A Ann").is_some());
    }
}

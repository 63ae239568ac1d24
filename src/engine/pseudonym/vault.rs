//! What all requests and answers of an installation share: the pairs, and what the model wrote.
//!
//! Pure: nothing is stored here. Whoever keeps the vault asks [`Vault::take_changed`] now and then, encrypts what
//! [`Vault::to_bytes`] gives and hands it back at the next start.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::aliases::{Alias, AliasError};
use super::ledger::Ledger;
use super::map::{MapError, Pseudonyms, Replaced};
use super::restore::{Note, RestoreStats};
use super::table::Table;
use super::turns::Turns;

/// Text that is remembered, bytes.
const LEDGER: usize = 16 << 20;

/// Pairs and texts, shared by engines and by the answers under way. Has no `Debug`: it is what is kept secret.
pub struct Vault {
    pairs: Mutex<Pseudonyms>,
    ledger: Mutex<Ledger>,
    /// Never stored.
    turns: Mutex<Turns>,
    /// Texts were noted since they were last stored.
    noted: AtomicBool,
    /// The ledger holds anything: asked for every value of every request.
    any: AtomicBool,
    restored: AtomicU64,
    unrestored: AtomicU64,
    withheld: AtomicU64,
}

impl Vault {
    /// An empty vault: pseudonyms are drawn by `key`.
    pub fn new(key: [u8; 32]) -> Self {
        Self::of(Pseudonyms::new(key), Ledger::new(LEDGER))
    }

    fn of(pairs: Pseudonyms, ledger: Ledger) -> Self {
        Self {
            any: AtomicBool::new(!ledger.is_empty()),
            pairs: Mutex::new(pairs),
            ledger: Mutex::new(ledger),
            turns: Mutex::default(),
            noted: AtomicBool::new(false),
            restored: AtomicU64::new(0),
            unrestored: AtomicU64::new(0),
            withheld: AtomicU64::new(0),
        }
    }

    /// Reads what [`Vault::to_bytes`] gave, after the caller has decrypted it. Damaged texts are left out, damaged pairs
    /// are an error: without them what the model says cannot be put back.
    pub fn from_bytes(key: [u8; 32], bytes: &[u8]) -> Result<Self, MapError> {
        let (pairs, ledger) = parts(bytes);
        let pairs = Pseudonyms::from_bytes(key, pairs)?;
        let ledger = Ledger::from_bytes(LEDGER, ledger);
        Ok(Self::of(pairs, ledger.unwrap_or_else(|| Ledger::new(LEDGER))))
    }

    /// Everything, in clear: the caller encrypts it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.pairs().to_bytes();
        out.push(b'\n');
        out.extend_from_slice(&self.ledger().to_bytes());
        out
    }

    /// Takes in the pairs that another process stored meanwhile.
    pub fn merge(&self, bytes: &[u8]) -> Result<(), MapError> {
        self.pairs().merge(parts(bytes).0)
    }

    /// Whether something was added since the last question: then it wants to be stored.
    pub fn take_changed(&self) -> bool {
        let noted = self.noted.swap(false, Ordering::Relaxed);
        self.pairs().take_changed() || noted
    }

    /// See [`Pseudonyms::avoid`].
    pub fn avoid<'a>(&self, words: impl IntoIterator<Item = &'a str>) {
        self.pairs().avoid(words);
    }

    /// See [`Pseudonyms::pin`].
    pub fn pin(&self, file: &str, aliases: &[Alias]) -> Result<(), AliasError> {
        self.pairs().pin(file, aliases)
    }

    /// See [`Pseudonyms::replace`].
    pub fn replace(&self, kind: &str, value: &str, in_traffic: impl Fn(&str) -> bool) -> Replaced {
        self.pairs().replace(kind, value, in_traffic)
    }

    /// See [`Pseudonyms::known_folders`].
    pub fn known_folders(&self, rest: &str) -> Option<String> {
        self.pairs().known_folders(rest)
    }

    /// The pairs as they are now.
    pub fn table(&self) -> Arc<Table> {
        self.pairs().table()
    }

    /// Whether any text is remembered.
    pub fn remembers(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// What the model wrote where the client now sends `text`.
    pub fn recall(&self, text: &str) -> Option<String> {
        self.ledger().recall(text)
    }

    /// Remembers texts that the client was shown.
    pub fn note(&self, notes: &[Note]) {
        if notes.is_empty() {
            return;
        }
        let table = self.table();
        let mut ledger = self.ledger();
        for note in notes {
            ledger.note(note, &|text| table.knows(text.as_bytes()));
        }
        self.any.store(!ledger.is_empty(), Ordering::Relaxed);
        self.noted.store(true, Ordering::Relaxed);
    }

    /// Takes the body of a request of a conversation as it leaves, its content coding undone, and says how many bytes it
    /// begins with that the previous turn began with too. None where no previous turn is known.
    pub fn turn(&self, host: &str, path: &str, body: &Bytes, noted: impl FnOnce()) -> Option<u64> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        noted();
        turns.next(host, path, body)
    }

    /// Adds up what became of one answer.
    pub fn count(&self, stats: &RestoreStats) {
        self.restored.fetch_add(stats.restored, Ordering::Relaxed);
        self.unrestored.fetch_add(stats.unrestored, Ordering::Relaxed);
        self.withheld.fetch_add(stats.withheld, Ordering::Relaxed);
    }

    /// Pseudonyms that were put back, that clients saw, and of these the ones that were left alone in tool calls.
    pub fn counted(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.restored), read(&self.unrestored), read(&self.withheld))
    }

    fn pairs(&self) -> MutexGuard<'_, Pseudonyms> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line of pairs, a line of texts.
fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Vault;
    use crate::engine::pseudonym::{MapError, Note, Replaced};

    #[test]
    fn what_is_stored_comes_back() {
        let vault = Vault::new([7; 32]);
        let Replaced::By(login) = vault.replace("user.name", "ann", |_| false) else { panic!() };
        vault.note(&[Note { produced: format!("hi {login}"), restored: "hi ann".into(), arguments: false }]);
        assert!(vault.take_changed() && !vault.take_changed());
        let again = Vault::from_bytes([7; 32], &vault.to_bytes()).ok().unwrap();
        assert!(again.remembers());
        assert_eq!(again.recall("hi ann"), Some(format!("hi {login}")));
        assert_eq!(again.replace("user.name", "ann", |_| false), Replaced::By(login));
        assert!(matches!(Vault::from_bytes([7; 32], b"nonsense"), Err(MapError::Unreadable(_))));
    }
}

//! What of a capture could not be taken as it stands.

/// One place of a file, and what is wrong with it.
///
/// A reason never holds a value of the traffic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// From the start of the file.
    pub offset: u64,
    /// Which entry, flow or connection of the file, counted from 1; none where it is no part of one.
    pub entry: Option<u64>,
    /// Something that was sent is not in what was read. Else all is there with the reserve that `reason` names.
    pub lost: bool,
    pub reason: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(entry) = self.entry {
            write!(out, "entry {entry}, ")?;
        }
        write!(out, "offset {}: {}", self.offset, self.reason)
    }
}

/// Gathers what is said of one entry.
#[derive(Debug)]
pub(super) struct Damages {
    list: Vec<Damage>,
    /// The entry that is being read.
    pub offset: u64,
    pub entry: Option<u64>,
}

impl Damages {
    /// More than that many places tell no more: a file made to be damaged must not cost a line a byte.
    const MOST: usize = 10_000;

    pub fn new() -> Self {
        Self { list: Vec::new(), offset: 0, entry: None }
    }

    /// All is read, but not as it was sent.
    pub fn note(&mut self, reason: impl Into<String>) {
        self.put(false, reason.into());
    }

    pub fn lost(&mut self, reason: impl Into<String>) {
        self.put(true, reason.into());
    }

    /// Something outside of any entry.
    pub fn lost_at(&mut self, offset: usize, reason: impl Into<String>) {
        (self.offset, self.entry) = (offset as u64, None);
        self.lost(reason);
    }

    fn put(&mut self, lost: bool, reason: String) {
        if self.list.len() < Self::MOST {
            self.list.push(Damage { offset: self.offset, entry: self.entry, lost, reason });
        } else if let Some(last) = self.list.last_mut() {
            last.lost |= lost;
            last.reason = "there is more like this; only the first 10000 places are named".to_owned();
        }
    }

    pub fn into_list(self) -> Vec<Damage> {
        self.list
    }
}

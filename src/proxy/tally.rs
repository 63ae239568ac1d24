//! What became of connections, each counted once: the account of a room adds up.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Tally {
    audited: AtomicU64,
    plain: AtomicU64,
    unread: AtomicU64,
    refused: AtomicU64,
    silent: AtomicU64,
}

/// What became of one connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Became {
    /// TLS that was decrypted and read.
    Audited,
    /// HTTP without TLS, read.
    Plain,
    /// Passed on unread, or closed because it could not be read.
    Unread,
    /// The client would not have our certificate.
    Refused,
    /// The client ended it without a byte.
    Silent,
}

/// The counts of a moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    pub audited: u64,
    pub plain: u64,
    pub unread: u64,
    pub refused: u64,
    pub silent: u64,
}

impl Counts {
    pub fn all(&self) -> u64 {
        self.audited + self.plain + self.unread + self.refused + self.silent
    }
}

impl Tally {
    pub fn note(&self, became: Became) {
        let count = match became {
            Became::Audited => &self.audited,
            Became::Plain => &self.plain,
            Became::Unread => &self.unread,
            Became::Refused => &self.refused,
            Became::Silent => &self.silent,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            audited: of(&self.audited),
            plain: of(&self.plain),
            unread: of(&self.unread),
            refused: of(&self.refused),
            silent: of(&self.silent),
        }
    }
}

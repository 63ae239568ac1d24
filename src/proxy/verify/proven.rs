//! Chains that lead to a root of ours, proved once: their signatures are not computed again while every certificate of
//! the path is valid.
//!
//! ```text
//! leaf, intermediates -> SHA-256 -> from when until when the path holds
//! ```
//!
//! One certificate often speaks for many hosts, and a host is dialled many times. The name is compared each time. What
//! can change within that time is asked each time, too: a chain with a staple, or with revocation lists at hand, is not
//! kept.

use std::ops::RangeInclusive;

use quick_cache::sync::Cache;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;

const MOST: usize = 1024;

pub(super) struct Proven {
    /// Unix seconds in which all certificates of the path are valid.
    kept: Cache<[u8; 32], RangeInclusive<i64>>,
}

impl Proven {
    pub fn new() -> Self {
        Self { kept: Cache::new(MOST) }
    }

    /// By what a chain is known: every byte of it, in its order.
    pub fn digest(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> [u8; 32] {
        let mut digest = Sha256::new();
        for certificate in std::iter::once(leaf).chain(intermediates) {
            digest.update((certificate.len() as u64).to_le_bytes());
            digest.update(certificate);
        }
        digest.finalize().into()
    }

    pub fn holds(&self, chain: &[u8; 32], now: UnixTime) -> bool {
        self.kept.get(chain).is_some_and(|valid| valid.contains(&seconds(now)))
    }

    pub fn keep(&self, chain: [u8; 32], valid: RangeInclusive<i64>) {
        self.kept.insert(chain, valid);
    }
}

/// From when until when `certificate` is valid.
pub(super) fn validity(certificate: &X509Certificate<'_>) -> RangeInclusive<i64> {
    let validity = certificate.validity();
    validity.not_before.timestamp()..=validity.not_after.timestamp()
}

pub(super) fn both(a: RangeInclusive<i64>, b: RangeInclusive<i64>) -> RangeInclusive<i64> {
    *a.start().max(b.start())..=*a.end().min(b.end())
}

fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

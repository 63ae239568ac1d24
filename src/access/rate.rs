//! How often one user may send requests: a bucket that fills evenly and holds a minute's worth.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

/// Users whose buckets are kept; one that was forgotten begins with a full one.
const USERS: usize = 64 * 1024;

struct Bucket {
    /// Requests that may be sent at once.
    left: f64,
    at: Instant,
}

/// The buckets of one group's users.
pub struct Rates {
    per_minute: f64,
    buckets: Cache<Arc<str>, Arc<Mutex<Bucket>>>,
}

impl Rates {
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute: f64::from(per_minute.max(1)), buckets: Cache::new(USERS) }
    }

    /// Takes one request of `user` at `now`, or says how long until the next may be sent.
    pub fn take(&self, user: &Arc<str>, now: Instant) -> Result<(), Duration> {
        let full = || Arc::new(Mutex::new(Bucket { left: self.per_minute, at: now }));
        let Ok(bucket) = self.buckets.get_or_insert_with(user, || Ok::<_, ()>(full())) else { return Ok(()) };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let per_second = self.per_minute / 60.0;
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + since * per_second).min(self.per_minute);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.left) / per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_holds_so_many_requests_of_one_user_and_no_more() {
        let (rates, start) = (Rates::new(60), Instant::now());
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        assert_eq!((0..100).filter(|_| rates.take(&ann, start).is_ok()).count(), 60);
        assert!(rates.take(&bob, start).is_ok(), "another user has a bucket of its own");
        let wait = rates.take(&ann, start).unwrap_err();
        assert!(rates.take(&ann, start + wait).is_ok(), "the wait that was named is enough");
        assert!(rates.take(&ann, start + wait).is_err());
    }
}

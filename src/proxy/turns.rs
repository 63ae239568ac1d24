//! How many large bodies are inspected at the same time. More would only share the processors and hold up everything else;
//! one that waits too long for its turn is not inspected, and `--on-error` decides about its request.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most bodies that wait for their turn: each holds a thread.
const WAITING: usize = 256;

pub struct Turns {
    taken: Mutex<Taken>,
    freed: Condvar,
    most: usize,
    patience: Duration,
}

#[derive(Default)]
struct Taken {
    running: usize,
    waiting: usize,
}

/// Given back when dropped.
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// `most` at the same time, each waited for no longer than `patience`.
    pub fn new(most: usize, patience: Duration) -> Self {
        Self { taken: Mutex::default(), freed: Condvar::new(), most: most.max(1), patience }
    }

    /// Blocks until there is a turn; none where too many wait, or for too long.
    pub fn take(&self) -> Option<Turn<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.running >= self.most {
            if taken.waiting >= WAITING {
                return None;
            }
            let deadline = Instant::now() + self.patience;
            taken.waiting += 1;
            while taken.running >= self.most {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                taken = self.freed.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            taken.waiting -= 1;
            if taken.running >= self.most {
                return None;
            }
        }
        taken.running += 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_than_so_many_have_a_turn_and_all_get_theirs() {
        let turns = Arc::new(Turns::new(2, Duration::from_secs(60)));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let (turns, running, most) = (turns.clone(), running.clone(), most.clone());
                std::thread::spawn(move || {
                    let turn = turns.take().expect("a turn comes");
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[test]
    fn whoever_waits_too_long_gets_none_and_the_next_does() {
        let turns = Turns::new(1, Duration::from_millis(20));
        let turn = turns.take();
        assert!(turn.is_some() && turns.take().is_none());
        drop(turn);
        assert!(turns.take().is_some());
    }

    #[test]
    fn a_panic_gives_its_turn_back() {
        let turns = Turns::new(1, Duration::ZERO);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _turn = turns.take();
            panic!("an inspector");
        }));
        assert!(panicked.is_err() && turns.take().is_some());
    }
}

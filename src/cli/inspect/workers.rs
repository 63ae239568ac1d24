//! Work on all cores, whose results come in order and never pile up.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Results that may be ahead of the next one in order.
const AHEAD: usize = 64;
/// Bytes that results may hold until their turn comes.
const HELD: usize = 24 << 20;

struct Desk<T> {
    /// The next item that nobody has begun.
    begun: usize,
    /// The next one whose result is due.
    due: usize,
    done: BTreeMap<usize, (Option<T>, usize)>,
    held: usize,
}

/// Does `work` for each of `items` on all cores, and gives the results to `each` in the order of the items; none where the work
/// panicked. `weight`: the bytes that a result holds. An error of `each` ends it.
pub fn in_order<I: Sync, T: Send, E>(
    items: &[I],
    work: impl Fn(&I) -> T + Sync,
    weight: impl Fn(&T) -> usize + Sync,
    mut each: impl FnMut(&I, Option<T>) -> Result<(), E>,
) -> Result<(), E> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let desk = Mutex::new(Desk { begun: 0, due: 0, done: BTreeMap::new(), held: 0 });
    let moved = Condvar::new();
    let lock = || desk.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = |guard| moved.wait(guard).unwrap_or_else(PoisonError::into_inner);
    // What is due is begun however much is held: else nothing would ever move.
    let must_wait = |desk: &MutexGuard<'_, Desk<T>>| {
        desk.begun < items.len() && desk.begun != desk.due && (desk.begun - desk.due >= AHEAD || desk.held > HELD)
    };
    let worker = || {
        loop {
            let mut guard = lock();
            while must_wait(&guard) {
                guard = wait(guard);
            }
            let at = guard.begun;
            let Some(item) = items.get(at) else { return };
            guard.begun += 1;
            drop(guard);
            let result = catch_unwind(AssertUnwindSafe(|| work(item))).ok();
            let bytes = result.as_ref().map_or(0, &weight);
            let mut guard = lock();
            guard.held += bytes;
            guard.done.insert(at, (result, bytes));
            moved.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(worker);
        }
        for (at, item) in items.iter().enumerate() {
            let mut guard = lock();
            let result = loop {
                if let Some((result, bytes)) = guard.done.remove(&at) {
                    guard.held -= bytes;
                    guard.due = at + 1;
                    break result;
                }
                guard = wait(guard);
            };
            drop(guard);
            moved.notify_all();
            if let Err(error) = each(item, result) {
                lock().begun = items.len();
                moved.notify_all();
                return Err(error);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{AHEAD, HELD, in_order};

    #[test]
    fn results_come_in_order_and_never_pile_up() {
        let items: Vec<usize> = (0..1000).collect();
        let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |item: &usize| {
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            assert!(item % 100 != 99, "every hundredth fails");
            *item
        };
        let mut seen = Vec::new();
        let done = in_order(
            &items,
            work,
            |_| HELD / 8,
            |item, result| {
                alive.fetch_sub(1, Ordering::SeqCst);
                assert_eq!(result, (item % 100 != 99).then_some(*item));
                seen.push(*item);
                if *item == 900 { Err("enough") } else { Ok(()) }
            },
        );
        assert_eq!(done, Err("enough"));
        assert_eq!(seen, items[..=900]);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(most.load(Ordering::SeqCst) <= AHEAD.min(10 + workers) + 1, "{most:?} at once");
        assert_eq!(in_order(&[0; 0], |_| 0, |_| 0, |_, _| Ok::<(), ()>(())), Ok(()));
    }
}

//! One timer for all deadlines of a connection.
//!
//! Deadlines mostly move on before they come. So the timer is set again only for an earlier one; where it fires too early it is
//! set to what holds by then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// Takes no memory of the timer before the first deadline.
#[derive(Default)]
pub struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// When it will ring, and for whom.
    set: Option<(Instant, Waker)>,
}

impl Alarm {
    /// Ready once `deadline` has come. `now`: the time, if the caller has just asked for it.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant, now: Option<Instant>) -> Poll<()> {
        // What will ring later, and for this task, need not be asked.
        if let (Some((ring, waker)), Some(now)) = (&self.set, now)
            && now < *ring
            && *ring <= deadline
            && waker.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        self.set = None;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        self.set = Some((timer.deadline(), cx.waker().clone()));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    async fn rings(alarm: &mut Alarm, deadline: Instant) -> Instant {
        poll_fn(|cx| alarm.poll(cx, deadline, Some(Instant::now()))).await;
        Instant::now()
    }

    #[tokio::test]
    async fn a_deadline_never_rings_early_whether_it_moved_on_or_came_nearer() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        // Set to a far one, which is then given up.
        let far = poll_fn(|cx| Poll::Ready(alarm.poll(cx, at(60_000), Some(start)))).await;
        assert!(far.is_pending());
        assert!(rings(&mut alarm, at(20)).await >= at(20));
        // The earlier ones ring while a later one is waited for.
        assert!(rings(&mut alarm, at(30)).await >= at(30));
        let near = poll_fn(|cx| Poll::Ready(alarm.poll(cx, at(35), None))).await;
        assert!(near.is_pending() || Instant::now() >= at(35));
        assert!(rings(&mut alarm, at(60)).await >= at(60));
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_rings_although_a_later_one_was_set() {
        let mut alarm = Alarm::default();
        let past = Instant::now();
        let far = poll_fn(|cx| Poll::Ready(alarm.poll(cx, past + Duration::from_secs(3600), None))).await;
        assert!(far.is_pending());
        assert!(rings(&mut alarm, past).await >= past);
    }
}

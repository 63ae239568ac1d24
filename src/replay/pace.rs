//! A recorded body, as it came or at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::session::flow::{Beat, Message};

/// The longest pause that is kept: whoever waited for a person waits no longer again.
const LONGEST: Duration = Duration::from_secs(60);

/// A body whose parts come when they came then.
pub struct Paced {
    body: Bytes,
    beats: VecDeque<(Instant, usize)>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// All of it at once.
    pub fn at_once(body: Bytes) -> Self {
        Self { body, beats: VecDeque::new(), sleep: None }
    }

    /// As it was recorded; `asked`: when it was asked for now.
    pub fn as_recorded(answer: &Message, asked: Instant) -> Self {
        let beats = due(&answer.pace, asked).filter(|(_, bytes)| *bytes > 0).collect();
        Self { body: answer.body.clone(), beats, sleep: None }
    }
}

/// When the head of an answer is due.
pub fn head_due(answer: &Message, asked: Instant) -> Instant {
    due(&answer.pace, asked).next().map_or(asked, |(at, _)| at)
}

fn due(pace: &[Beat], asked: Instant) -> impl Iterator<Item = (Instant, usize)> + '_ {
    let (mut at, mut before) = (asked, 0);
    pace.iter().map(move |(millis, bytes)| {
        at += Duration::from_millis(millis.saturating_sub(before)).min(LONGEST);
        before = *millis;
        (at, usize::try_from(*bytes).unwrap_or(usize::MAX))
    })
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.body.is_empty() {
            return Poll::Ready(None);
        }
        let length = match this.beats.front() {
            None => this.body.len(),
            Some(&(at, bytes)) => {
                let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
                ready!(sleep.as_mut().poll(cx));
                this.sleep = None;
                this.beats.pop_front();
                bytes.min(this.body.len())
            }
        };
        Poll::Ready(Some(Ok(Frame::data(this.body.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn parts_are_due_when_they_came_then_and_nobody_waits_longer_than_a_minute() {
        let pace = vec![(40, 0), (50, 2), (250, 3), (999_250, 1)];
        let answer = Message { pace, ..Message::default() };
        let asked = Instant::now();
        let said: Vec<_> = due(&answer.pace, asked).map(|(at, bytes)| ((at - asked).as_millis(), bytes)).collect();
        assert_eq!(said, [(40, 0), (50, 2), (250, 3), (60_250, 1)]);
        assert_eq!(head_due(&answer, asked) - asked, Duration::from_millis(40));
        assert_eq!(head_due(&Message::default(), asked), asked);
    }

    #[tokio::test]
    async fn a_body_comes_in_the_parts_of_then_and_not_before_they_are_due() {
        let pace = vec![(1, 0), (2, 2), (20, 3), (21, 1)];
        let answer = Message { body: "abcdefg".into(), pace, ..Message::default() };
        let asked = Instant::now();
        let mut body = Paced::as_recorded(&answer, asked);
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            seen.push(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap());
            assert!(asked.elapsed() >= Duration::from_millis([2, 20, 21, 21][seen.len() - 1]));
        }
        // What has no time of its own comes with the last.
        assert_eq!(seen, ["ab", "cde", "f", "g"]);
        let whole = Paced::at_once("ab".into()).collect().await.unwrap().to_bytes();
        assert_eq!(whole, "ab");
    }
}

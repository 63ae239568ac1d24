//! One HTTP/1.1 request and its response, both directions at once.
//!
//! A single poll function moves bytes up and down: no task, no channel, 64 KiB each way at most. The
//! response may begin, and even end, before the request body does. While the response is awaited the
//! client is still read, so that its leaving cancels the upstream at once.

mod download;
pub(super) mod upload;

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use self::download::ResponseState;
use self::upload::RequestState;
use super::alarm::Alarm;
use super::error::{UpstreamError, UpstreamFault};
use super::half::Half;
use super::intake::Intake;
use super::presence::Presence;
use crate::config::Deadlines;
use crate::engine::Refusal;
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::limits::Limits;

/// How often a client that has ended its sending side in good order is looked for, while there is nothing to write
/// to it that would tell. One that still reads gets its answer however long that takes.
const LOOK_FOR_CLIENT: Duration = Duration::from_millis(250);
/// How long an answer may stand still for such a client where nothing is known of it: it may be another machine's.
/// Below a second, so that an upstream never works longer for nobody.
const HALF_CLOSED: Duration = Duration::from_millis(700);

/// How an exchange ended.
#[derive(Debug)]
pub enum End {
    /// Both messages are complete.
    Done {
        /// The client's connection may carry another request.
        keep_client: bool,
        /// The upstream's connection may carry another request.
        keep_upstream: bool,
    },
    /// 101: what follows is no HTTP.
    Switched { head: Box<ResponseHead> },
}

/// Why an exchange broke off.
#[derive(Debug)]
pub enum Broken {
    /// Nobody is left to answer.
    ClientGone,
    /// The request broke the protocol or a deadline before the response began: answer with this status, then close.
    Refuse { status: u16, reason: &'static str },
    /// The policy withheld it before the response began.
    Withheld { refusal: Refusal, body_complete: bool },
    /// The upstream failed before the response began. `clean`: the whole request was read.
    Upstream { error: UpstreamError, body_complete: bool },
    /// Failed under way: end both connections without a clean end.
    Cut(&'static str),
}

pub struct Exchange<'a> {
    pub client: &'a mut Half,
    pub up: &'a mut Half,
    pub intake: &'a mut Intake,
    pub head: &'a RequestHead,
    pub limits: &'a Limits,
    pub deadlines: &'a Deadlines,
    pub alarm: &'a mut Alarm,
    pub request: RequestState,
    /// We answered the client's `Expect` ourselves; the upstream's own 100 is dropped.
    pub continued: bool,
    /// The upstream is asked to switch protocols.
    pub upgrade: bool,
    response: ResponseState,
    interim: u32,
    upstream_deaf: bool,
    judged: bool,
    progress: Instant,
    /// Which was in the last poll.
    moved: bool,
    /// When a client that has ended its sending side was last found to be there.
    found: Instant,
}

impl<'a> Exchange<'a> {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        client: &'a mut Half,
        up: &'a mut Half,
        intake: &'a mut Intake,
        head: &'a RequestHead,
        limits: &'a Limits,
        deadlines: &'a Deadlines,
        alarm: &'a mut Alarm,
        request: RequestState,
        upgrade: bool,
        continued: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            up,
            intake,
            head,
            limits,
            deadlines,
            alarm,
            request,
            continued,
            upgrade,
            response: ResponseState::Head,
            interim: 0,
            upstream_deaf: false,
            judged: false,
            progress: now,
            moved: false,
            found: now,
        }
    }

    pub async fn run(mut self) -> Result<End, Broken> {
        poll_fn(|cx| {
            let mut now = match self.poll(cx) {
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => self.moved.then_some(self.progress),
            };
            loop {
                let (deadline, phase) = self.deadline();
                match self.alarm.poll(cx, deadline, now.take()) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) if matches!(phase, Phase::HalfClosed) && self.client_may_read() => {}
                    Poll::Ready(()) => return Poll::Ready(Err(self.timed_out(phase))),
                }
            }
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<End, Broken>> {
        let mut silent = Silent::default();
        let mut progress = false;
        loop {
            let mut moved = false;
            moved |= self.upload(cx, &mut silent)?;
            moved |= self.download(cx, &mut silent)?;
            if let Some(end) = self.end() {
                return Poll::Ready(Ok(end));
            }
            if !moved {
                break;
            }
            progress = true;
        }
        self.moved = progress;
        if progress {
            self.progress = Instant::now();
        }
        Poll::Pending
    }

    fn end(&mut self) -> Option<End> {
        match &mut self.response {
            ResponseState::Done { keep_client, keep_upstream } if self.client.output.is_empty() => {
                // Bytes nobody asked for would be taken for the next answer.
                let keep_upstream = *keep_upstream
                    && self.request.done
                    && self.up.input.is_empty()
                    && !self.up.eof
                    && !self.upstream_deaf;
                Some(End::Done { keep_client: *keep_client && self.request.done, keep_upstream })
            }
            ResponseState::Switched(head) if self.client.output.is_empty() => {
                Some(End::Switched { head: head.clone() })
            }
            _ => None,
        }
    }

    /// When the present phase has lasted too long.
    fn deadline(&self) -> (Instant, Phase) {
        let begun = !matches!(self.response, ResponseState::Head);
        let (phase, span) = if begun {
            (Phase::Stream, self.deadlines.idle)
        } else if self.request.done || !self.intake.is_document() {
            (Phase::Response, self.deadlines.response)
        } else {
            (Phase::Body, self.deadlines.body)
        };
        let deadline = self.progress + span;
        if self.client.eof && self.client.output.is_empty() {
            let look = self.progress.max(self.found) + LOOK_FOR_CLIENT;
            if look < deadline {
                return (look, Phase::HalfClosed);
            }
        }
        (deadline, phase)
    }

    /// Looks for a client that has ended its sending side.
    fn client_may_read(&mut self) -> bool {
        self.found = Instant::now();
        match self.client.io.presence() {
            Presence::Held => true,
            Presence::Gone => false,
            Presence::Unknown => self.found < self.progress + HALF_CLOSED,
        }
    }

    fn timed_out(&self, phase: Phase) -> Broken {
        match phase {
            Phase::Body => Broken::Refuse { status: 408, reason: "the request body stood still" },
            Phase::Response => Broken::Upstream {
                error: UpstreamError::new(UpstreamFault::Timeout, "no response within the deadline"),
                body_complete: self.request.done,
            },
            Phase::Stream => Broken::Cut("nothing moved within the idle deadline"),
            Phase::HalfClosed => Broken::ClientGone,
        }
    }
}

/// Who was found to have nothing to say in one call of `poll`, and will wake it: asking again in that call costs and tells
/// nothing.
#[derive(Default)]
struct Silent {
    client: bool,
    upstream: bool,
}

#[derive(Clone, Copy)]
enum Phase {
    Body,
    Response,
    Stream,
    HalfClosed,
}

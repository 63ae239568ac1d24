//! One HTTP/1.1 request and its response, both directions at once.
//!
//! A single poll function moves bytes up and down: no task, no channel, 64 KiB each way at most. The
//! response may begin, and even end, before the request body does. While the response is awaited the
//! client is still read, so that its leaving cancels the upstream at once.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::error::{UpstreamError, UpstreamFault};
use super::half::{Half, Next, WINDOW};
use super::intake::{Intake, Release};
use super::presence::Presence;
use super::restoring::{Counting, Restoring, recorded_head};
use super::told::Follows;
use crate::config::Deadlines;
use crate::engine::Refusal;
use crate::wire::body::{BodyReader, BodyWriter, Progress, Trailers};
use crate::wire::head::{ForwardRequest, ForwardResponse, Framing, HeadEdit, RequestHead, ResponseHead, TargetOut};
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

/// The request's way up.
pub struct RequestState {
    pub reader: BodyReader,
    writer: Option<BodyWriter>,
    /// Those that may leave, where they were held.
    trailers: Option<Trailers>,
    pub done: bool,
}

enum ResponseState {
    Head,
    Body {
        reader: BodyReader,
        reframe: Option<BodyWriter>,
        /// Puts real values in the place of pseudonyms. Then the body is always re-framed.
        restoring: Option<Box<Restoring>>,
        /// Counts pseudonyms in a body that passes as it comes.
        counting: Option<Box<Counting>>,
        keep_client: bool,
        keep_upstream: bool,
    },
    Done {
        keep_client: bool,
        keep_upstream: bool,
    },
    Switched(Box<ResponseHead>),
}

impl RequestState {
    pub fn new(head: &RequestHead, limits: &Limits) -> Self {
        let reader = BodyReader::new(head.framing(), *limits);
        let done = reader.is_done();
        Self { reader, writer: None, trailers: None, done }
    }

    /// Reads a held body from `input` and gives what may go of it.
    fn advance_held(&mut self, input: &mut BytesMut, intake: &mut Intake) -> Result<Option<Release>, Stop> {
        let mut data = BytesMut::new();
        let progress = self.reader.take(input, &mut data).map_err(|e| Stop::Malformed(400, e.reason))?;
        let mut release = if data.is_empty() { Release::default() } else { intake.take(&mut data)? };
        if progress == Progress::Done {
            self.done = true;
            let last = intake.finish()?;
            release = join(release, last);
            if let Some(trailers) = self.reader.trailers() {
                self.trailers = Some(judged(trailers, intake)?);
            }
        }
        Ok((release.head.is_some() || !release.payload.is_empty() || self.done).then_some(release))
    }
}

/// The trailers that may leave.
fn judged(trailers: &Trailers, intake: &mut Intake) -> Result<Trailers, Refusal> {
    let raw = intake.trailers(trailers.raw())?;
    if raw == *trailers.raw() {
        return Ok(trailers.clone());
    }
    let limits = Limits { trailer_bytes: raw.len() + trailers.raw().len() + 64, ..Limits::default() };
    Trailers::read(&raw, &limits)
        .ok_or_else(|| Refusal { reason: "edit", message: "an edit gave no valid trailer".to_owned() })
}

fn join(first: Release, second: Release) -> Release {
    let payload = match (first.payload.is_empty(), second.payload.is_empty()) {
        (_, true) => first.payload,
        (true, false) => second.payload,
        (false, false) => [first.payload, second.payload].concat().into(),
    };
    Release { head: first.head.or(second.head), payload }
}

/// Why the request's way up stops.
enum Stop {
    Malformed(u16, &'static str),
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// Collects a body whose head may not go before it is judged. No upstream is needed yet.
pub async fn collect(
    client: &mut Half,
    intake: &mut Intake,
    request: &mut RequestState,
    deadlines: &Deadlines,
) -> Result<Release, Broken> {
    loop {
        match request.advance_held(&mut client.input, intake) {
            Ok(Some(release)) if release.head.is_some() || request.done => return Ok(release),
            Ok(_) => {}
            Err(Stop::Malformed(status, reason)) => return Err(Broken::Refuse { status, reason }),
            Err(Stop::Refused(refusal)) => return Err(Broken::Withheld { refusal, body_complete: request.done }),
        }
        let read = async {
            // Whatever waits for the client (an interim response) goes first.
            client.drain().await?;
            client.fill().await
        };
        match tokio::time::timeout(deadlines.body, read).await {
            Err(_) => return Err(Broken::Refuse { status: 408, reason: "the request body stood still" }),
            Ok(Ok(0) | Err(_)) => return Err(Broken::ClientGone),
            Ok(Ok(_)) => {}
        }
    }
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

    /// Writes the head and what of the body may go with it, in one piece. `held`: the body goes through the
    /// intake, which gives back what may leave; else it passes as it comes.
    pub fn start(&mut self, edits: &[HeadEdit], payload: &[u8], target: TargetOut, held: bool) {
        self.head.write(edits, &ForwardRequest { target, upgrade: self.upgrade }, &mut self.up.output);
        if held {
            // A document that is here whole leaves with the length it has now: its head says so too.
            let framing = match self.head.framing() {
                Framing::Length(_) if self.request.done => Framing::Length(payload.len() as u64),
                as_announced => as_announced,
            };
            self.request.writer = Some(BodyWriter::new(framing));
            self.write_held(payload);
        }
    }

    fn write_held(&mut self, payload: &[u8]) {
        let Some(writer) = &mut self.request.writer else { return };
        if !payload.is_empty() {
            writer.data(payload, &mut self.up.output);
        }
        if self.request.done {
            // A held body is written whole, so that its length is what its head says.
            let ended = writer.end(self.request.trailers.as_ref(), &mut self.up.output);
            debug_assert!(ended.is_ok());
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

    /// client -> upstream. True if anything moved.
    fn upload(&mut self, cx: &mut Context<'_>, silent: &mut Silent) -> Result<bool, Broken> {
        let mut moved = false;
        let room = self.up.output.len() < WINDOW || self.upstream_deaf;
        if !self.request.done && room && !self.client.input.is_empty() {
            moved |= self.advance_request()?;
        }
        // Read for the body, and afterwards to notice that the client has left. Pipelined requests wait.
        let wants =
            if self.request.done { self.client.input.is_empty() } else { room && self.client.input.len() < WINDOW };
        if wants && !self.client.eof && !silent.client {
            moved |= self.read_request(cx, silent)?;
        }
        let was_full = self.up.output.len() >= WINDOW;
        if self.upstream_deaf {
            self.up.output.clear();
        } else if let Poll::Ready(Err(_)) = self.up.poll_drain(cx) {
            // It may have answered already and stopped reading: the answer decides.
            self.upstream_deaf = true;
            moved = true;
        }
        if self.request.done && !self.judged && self.up.output.is_empty() {
            // Nothing can be changed any more, so the last bytes went out before they are inspected.
            self.judged = true;
            // An answer may take long.
            self.client.release_input();
            self.up.release_output();
            let _ = self.intake.finish();
            // Those that were held are judged already.
            if self.request.trailers.is_none()
                && let Some(trailers) = self.request.reader.trailers()
            {
                let _ = self.intake.trailers(trailers.raw());
            }
        }
        Ok(moved || (was_full && self.up.output.len() < WINDOW))
    }

    /// Reads from the client: of a large body as much as is there and goes up in one write.
    fn read_request(&mut self, cx: &mut Context<'_>, silent: &mut Silent) -> Result<bool, Broken> {
        match self.client.poll_fill_all(cx) {
            Poll::Pending => silent.client = true,
            // It has said all that it had to say, and may still read.
            Poll::Ready(Ok((0, _))) if self.request.done => return Ok(true),
            Poll::Ready(Ok((0, _)) | Err(_)) => return Err(Broken::ClientGone),
            Poll::Ready(Ok(_)) if self.request.done => {}
            Poll::Ready(Ok((_, next))) => {
                silent.client = next == Next::Silence;
                self.advance_request()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn advance_request(&mut self) -> Result<bool, Broken> {
        let before = self.client.input.len();
        if self.request.writer.is_some() {
            let release =
                self.request.advance_held(&mut self.client.input, self.intake).map_err(|stop| self.stopped(stop))?;
            if let Some(release) = release {
                self.write_held(&release.payload);
            }
        } else {
            let intake = &mut *self.intake;
            let progress = self
                .request
                .reader
                .pass(&mut self.client.input, &mut self.up.output, &mut |data| intake.observe(data))
                .map_err(|e| self.stopped(Stop::Malformed(400, e.reason)))?;
            self.request.done |= progress == Progress::Done;
        }
        Ok(self.client.input.len() != before)
    }

    fn stopped(&self, stop: Stop) -> Broken {
        let begun = !matches!(self.response, ResponseState::Head);
        match stop {
            _ if begun => Broken::Cut("the request was stopped after its response had begun"),
            Stop::Malformed(status, reason) => Broken::Refuse { status, reason },
            Stop::Refused(refusal) => Broken::Withheld { refusal, body_complete: self.request.done },
        }
    }

    /// upstream -> client. True if anything moved.
    fn download(&mut self, cx: &mut Context<'_>, silent: &mut Silent) -> Result<bool, Broken> {
        let mut moved = false;
        let room = self.client.output.len() < WINDOW;
        if room && !self.is_answered() {
            moved |= self.advance_response()?;
            if !moved && !self.is_answered() && !silent.upstream {
                moved = self.read_response(cx, silent)?;
            }
        }
        let waiting = self.client.output.len();
        match self.client.poll_drain(cx) {
            Poll::Ready(Err(_)) => return Err(Broken::ClientGone),
            // A stream that began with a burst may stay open for hours.
            Poll::Ready(Ok(())) if self.up.is_overgrown() => {
                self.up.release_input();
                self.client.release_output();
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let left = self.client.output.len();
        // A client that takes what waits is there, however slowly it reads.
        Ok(moved || (waiting >= WINDOW && left < WINDOW) || (self.client.eof && left < waiting))
    }

    /// Reads from the upstream: of a large body as much as is there and goes down in one write.
    fn read_response(&mut self, cx: &mut Context<'_>, silent: &mut Silent) -> Result<bool, Broken> {
        match self.up.poll_fill_all(cx) {
            Poll::Pending => {
                silent.upstream = true;
                return Ok(false);
            }
            Poll::Ready(Ok((0, _))) => self.upstream_ended(true)?,
            Poll::Ready(Err(error)) => {
                // No close_notify, a reset: whatever ends only here is cut short.
                tracing::debug!(%error, "upstream ended");
                self.upstream_ended(false)?;
            }
            Poll::Ready(Ok((_, next))) => {
                silent.upstream = next == Next::Silence;
                self.advance_response()?;
            }
        }
        Ok(true)
    }

    /// All of the response has come.
    fn is_answered(&self) -> bool {
        matches!(self.response, ResponseState::Done { .. } | ResponseState::Switched(_))
    }

    fn advance_response(&mut self) -> Result<bool, Broken> {
        let mut moved = false;
        loop {
            if self.up.input.is_empty()
                && !matches!(&self.response, ResponseState::Body { reader, .. } if reader.is_done())
            {
                return Ok(moved);
            }
            match &mut self.response {
                ResponseState::Head => {
                    let parsed = ResponseHead::parse(&mut self.up.input, self.head.method(), self.upgrade, self.limits);
                    let head = match parsed {
                        Ok(Some(head)) => head,
                        Ok(None) => return Ok(moved),
                        Err(error) => return Err(self.upstream_failed(UpstreamFault::Malformed, error.reason)),
                    };
                    moved = true;
                    self.begin_response(head)?;
                }
                ResponseState::Body { reader, reframe, restoring, counting, keep_client, keep_upstream } => {
                    let tape = self.intake.tape();
                    let mut pass = |data: &[u8]| {
                        if let Some(counting) = counting {
                            counting.push(data);
                        }
                        if let Some(tape) = tape {
                            tape.received(data);
                        }
                    };
                    let progress = match reframe {
                        None => reader.pass(&mut self.up.input, &mut self.client.output, &mut pass),
                        Some(writer) => {
                            let mut data = BytesMut::new();
                            let progress = reader.take(&mut self.up.input, &mut data);
                            match restoring {
                                None => {
                                    pass(&data);
                                    writer.data(&data, &mut self.client.output);
                                }
                                Some(restoring) => {
                                    let ended = matches!(progress, Ok(Progress::Done));
                                    let data = restored(restoring, &data, ended)?;
                                    pass(&data);
                                    writer.data(&data, &mut self.client.output);
                                }
                            }
                            progress
                        }
                    };
                    let before = self.up.input.len();
                    match progress {
                        Err(_) => return Err(Broken::Cut("the response body is malformed")),
                        Ok(Progress::Done) => {
                            if let Some(tape) = tape {
                                tape.received_all();
                            }
                            if let Some(writer) = reframe {
                                let trailers = restoring.as_ref().and_then(|_| reader.trailers());
                                let _ = writer.end(trailers, &mut self.client.output);
                            }
                            let (keep_client, keep_upstream) = (*keep_client, *keep_upstream);
                            self.response = ResponseState::Done { keep_client, keep_upstream };
                            return Ok(true);
                        }
                        Ok(Progress::NeedMore) => return Ok(moved || before == 0),
                    }
                }
                ResponseState::Done { .. } | ResponseState::Switched(_) => return Ok(moved),
            }
        }
    }

    fn begin_response(&mut self, head: ResponseHead) -> Result<(), Broken> {
        if head.status() == 101 {
            // The parser lets a 101 through only where an upgrade was offered.
            head.write(&ForwardResponse { upgrade: true, ..Default::default() }, &mut self.client.output);
            self.intake.told().write(Follows::Messages, &mut self.client.output);
            if let Some(tape) = self.intake.tape() {
                tape.answered(head.raw().clone());
                tape.received_all();
            }
            self.response = ResponseState::Switched(Box::new(head));
            return Ok(());
        }
        if head.is_interim() {
            self.interim += 1;
            if self.interim > self.limits.interim as u32 {
                return Err(self.upstream_failed(UpstreamFault::Malformed, "too many interim responses"));
            }
            let ours = head.status() == 100 && self.continued;
            if !ours && self.head.minor_version() >= 1 {
                head.write(&ForwardResponse::default(), &mut self.client.output);
            }
            return Ok(());
        }
        let http10 = self.head.minor_version() == 0;
        let until_close = head.framing() == Framing::UntilClose;
        // HTTP/1.0 knows no chunks: the body is sent plain and ends with the connection.
        let answers = match head.framing() {
            Framing::None | Framing::Length(0) => None,
            _ => self.intake.answers(),
        };
        let restoring = answers.as_ref().and_then(|answers| answers.restoring(head.status(), |name| head.get(name)));
        let counting = answers.filter(|_| restoring.is_none());
        let counting =
            counting.and_then(|answers| answers.counting(head.status(), |name| head.get(name))).map(Box::new);
        let unchunked = http10 && (head.framing() == Framing::Chunked || restoring.is_some());
        // A response that ends by closing is re-framed, so that a truncation cannot pass for its end.
        let reframe = (until_close || restoring.is_some()) && !http10;
        let keep_client = self.head.keep_alive() && !http10;
        let keep_upstream = head.keep_alive() && !until_close;
        head.write(
            &ForwardResponse {
                chunked: reframe,
                unchunked,
                close: !keep_client,
                upgrade: false,
                decoded: restoring.is_some(),
            },
            &mut self.client.output,
        );
        self.intake.told().write(Follows::Body, &mut self.client.output);
        if let Some(tape) = self.intake.tape() {
            let fields = head.fields().iter().map(|field| (head.bytes(field.name), head.bytes(field.value)));
            let kept = recorded_head(head.status(), head.reason(), restoring.is_some(), fields);
            tape.answered(kept);
        }
        let reader = BodyReader::new(head.framing(), *self.limits);
        if reader.is_done()
            && let Some(tape) = self.intake.tape()
        {
            tape.received_all();
        }
        let reframe = match (reframe, unchunked) {
            (true, _) => Some(BodyWriter::new(Framing::Chunked)),
            (_, true) => Some(BodyWriter::new(Framing::UntilClose)),
            _ => None,
        };
        self.response = if reader.is_done() {
            ResponseState::Done { keep_client, keep_upstream }
        } else {
            ResponseState::Body {
                reader,
                reframe,
                restoring: restoring.map(Box::new),
                counting,
                keep_client,
                keep_upstream,
            }
        };
        Ok(())
    }

    /// The upstream's stream ended, cleanly or not.
    fn upstream_ended(&mut self, clean: bool) -> Result<(), Broken> {
        match &mut self.response {
            ResponseState::Head if self.up.input.is_empty() => {
                Err(self
                    .upstream_failed(UpstreamFault::Closed, "the upstream closed the connection without a response"))
            }
            ResponseState::Head => {
                Err(self.upstream_failed(UpstreamFault::Closed, "the upstream closed within the response head"))
            }
            ResponseState::Body { reader, reframe, restoring, keep_client, .. } => {
                reader.eof(clean).map_err(|_| Broken::Cut("the upstream ended within the response body"))?;
                if let Some(tape) = self.intake.tape() {
                    tape.received_all();
                }
                if let Some(writer) = reframe {
                    if let Some(restoring) = restoring {
                        let rest = restored(restoring, &[], true)?;
                        if let Some(tape) = self.intake.tape() {
                            tape.received(&rest);
                        }
                        writer.data(&rest, &mut self.client.output);
                    }
                    let _ = writer.end(None, &mut self.client.output);
                }
                let keep_client = *keep_client && reframe.is_some();
                self.response = ResponseState::Done { keep_client, keep_upstream: false };
                Ok(())
            }
            ResponseState::Done { .. } | ResponseState::Switched(_) => Ok(()),
        }
    }

    fn upstream_failed(&self, fault: UpstreamFault, message: &str) -> Broken {
        match self.response {
            ResponseState::Head => {
                Broken::Upstream { error: UpstreamError::new(fault, message), body_complete: self.request.done }
            }
            _ => Broken::Cut("the upstream failed within the response"),
        }
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

/// The next piece of an answer with real values in the place of pseudonyms.
fn restored(restoring: &mut Restoring, data: &[u8], ended: bool) -> Result<Vec<u8>, Broken> {
    let mut out = Vec::with_capacity(data.len() + 256);
    let undone = restoring.push(data, &mut out);
    let undone = undone.and_then(|()| if ended { restoring.finish(&mut out) } else { Ok(()) });
    undone.map(|()| out).map_err(|_| Broken::Cut("the content coding of the response cannot be undone"))
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

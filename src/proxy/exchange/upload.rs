//! The request's way up: as it comes, or held until what may leave is known.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::download::ResponseState;
use super::{Broken, Exchange, Silent};
use crate::config::Deadlines;
use crate::engine::Refusal;
use crate::proxy::half::{Half, Next, WINDOW};
use crate::proxy::intake::{Intake, Release};
use crate::wire::body::{BodyReader, BodyWriter, Progress, Trailers};
use crate::wire::head::{ForwardRequest, Framing, HeadEdit, RequestHead, TargetOut};
use crate::wire::limits::Limits;

/// The request's way up.
pub struct RequestState {
    pub reader: BodyReader,
    writer: Option<BodyWriter>,
    /// Those that may leave, where they were held.
    trailers: Option<Trailers>,
    pub done: bool,
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

impl Exchange<'_> {
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

    /// client -> upstream. True if anything moved.
    pub(super) fn upload(&mut self, cx: &mut Context<'_>, silent: &mut Silent) -> Result<bool, Broken> {
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
}

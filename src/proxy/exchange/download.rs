//! The response's way down: interim heads, its own head, the body, and how it ends.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::{Broken, Exchange, Silent};
use crate::proxy::error::{UpstreamError, UpstreamFault};
use crate::proxy::half::{Next, WINDOW};
use crate::proxy::restoring::{Counting, Restoring, recorded_head};
use crate::proxy::told::Follows;
use crate::wire::body::{BodyReader, BodyWriter, Progress};
use crate::wire::head::{ForwardResponse, Framing, ResponseHead};

pub(super) enum ResponseState {
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

impl Exchange<'_> {
    /// upstream -> client. True if anything moved.
    pub(super) fn download(&mut self, cx: &mut Context<'_>, silent: &mut Silent) -> Result<bool, Broken> {
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
}

/// The next piece of an answer with real values in the place of pseudonyms.
fn restored(restoring: &mut Restoring, data: &[u8], ended: bool) -> Result<Vec<u8>, Broken> {
    let mut out = Vec::with_capacity(data.len() + 256);
    let undone = restoring.push(data, &mut out);
    let undone = undone.and_then(|()| if ended { restoring.finish(&mut out) } else { Ok(()) });
    undone.map(|()| out).map_err(|_| Broken::Cut("the content coding of the response cannot be undone"))
}

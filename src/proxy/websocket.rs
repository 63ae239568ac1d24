//! After 101 (or an extended CONNECT): the client's frames are walked and its messages inspected; the
//! server's pass as they come, or with real values in the place of pseudonyms.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::Shared;
use super::half::{Half, WINDOW};
use super::intake::Intake;
use super::restoring::{Overheard, RestoringMessages};
use crate::engine::Refusal;
use crate::wire::websocket::{CLOSE, Deflate, Event, MessageReader, MessageWriter, Side};

/// Walks what a client sends.
pub struct Walker {
    reader: MessageReader,
    /// Only once a message was edited: from then on the compression context is ours.
    writer: MessageWriter,
    waiting: BytesMut,
    hold: bool,
    /// Bytes of pings, pongs and reasons to close, which are no messages.
    aside: u64,
    /// Frames could not be followed any more: what comes passes (or not) unread.
    lost: bool,
}

impl Walker {
    /// `extensions`: the server's `Sec-WebSocket-Extensions`.
    pub fn new(hold: bool, extensions: Option<&str>, limit: usize) -> Self {
        let deflate = extensions.map(Deflate::from_response).transpose();
        let lost = deflate.is_err();
        let deflate = deflate.ok().flatten().flatten();
        Self {
            reader: MessageReader::new(Side::Client, deflate, limit),
            writer: MessageWriter::new(Side::Client, deflate),
            waiting: BytesMut::new(),
            hold,
            aside: 0,
            lost,
        }
    }

    /// Takes what came, and puts what may go on into `out`.
    pub fn walk(&mut self, data: &mut BytesMut, intake: &mut Intake, out: &mut BytesMut) -> Result<(), Refusal> {
        if !self.hold || self.lost {
            out.extend_from_slice(data);
        }
        if self.lost {
            let bytes = data.split().len() as u64;
            intake.note_unread_message(bytes, "malformed");
            return if self.hold { Err(unreadable(intake)) } else { Ok(()) };
        }
        self.waiting.unsplit(data.split());
        loop {
            match self.reader.step(&mut self.waiting) {
                Ok(None) => return Ok(()),
                Ok(Some(Event::Control { raw, opcode, payload })) => {
                    let code = if opcode == CLOSE { 2 } else { 0 };
                    self.aside += payload.len().saturating_sub(code) as u64;
                    if self.hold {
                        out.extend_from_slice(&raw);
                    }
                }
                Ok(Some(Event::Oversize { raw, compressed, .. })) => {
                    intake.note_unread_message(raw.len() as u64, "limit");
                    let long = |intake: &mut Intake| intake.refuse("limit", "a message is too long to be read".into());
                    if self.hold {
                        if intake.is_closed_on_error() {
                            return Err(long(intake));
                        }
                        self.writer.oversize(&raw, compressed, out).map_err(|_| long(intake))?;
                    }
                }
                Ok(Some(Event::Message { raw, text, mask, payload, compressed })) => {
                    let edited = intake.message(text, payload.clone())?;
                    if !self.hold {
                        continue;
                    }
                    match edited {
                        Some(edited) => self.writer.edited(text, mask, compressed, &edited, out),
                        None => self.writer.unedited(&raw, text, mask, compressed, &payload, out),
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "WebSocket frames cannot be followed");
                    self.lost = true;
                    let bytes = self.waiting.split();
                    intake.note_unread_message(bytes.len() as u64, "malformed");
                    // What are no frames would be a tunnel that nobody reads: refused always. A message in sound frames
                    // that does not inflate is one that was not read.
                    let framed = error.code == MessageReader::UNREADABLE;
                    return if self.hold || !framed { Err(unreadable(intake)) } else { Ok(()) };
                }
            }
        }
    }

    /// At the end of the connection: what passed outside of messages was not read.
    pub fn finish(&mut self, intake: &mut Intake) {
        let bytes = std::mem::take(&mut self.aside);
        if bytes > 0 {
            intake.note_unread_message(bytes, "opaque");
        }
    }
}

/// The reason word of frames that are none, or cannot be read.
const MALFORMED: &str = "malformed";

fn unreadable(intake: &mut Intake) -> Refusal {
    intake.refuse(MALFORMED, "the WebSocket frames cannot be read".into())
}

/// A close frame of the server: 1008, policy violation, or 1002, protocol error (RFC 6455, section 7.4.1).
pub fn policy_close(refusal: &Refusal) -> BytesMut {
    let mut frame = BytesMut::new();
    let code = if refusal.reason == MALFORMED { 1002 } else { 1008 };
    MessageWriter::new(Side::Server, None).close(code, &refusal.message, &mut frame);
    frame
}

/// Carries an upgraded HTTP/1.1 connection until either side ends it.
pub async fn serve(
    shared: &Arc<Shared>,
    mut client: Half,
    mut up: Half,
    mut intake: Intake,
    extensions: Option<String>,
) {
    let hold = intake.may_edit();
    let mut walker = Walker::new(hold, extensions.as_deref(), shared.intake.body_limit);
    let mut restoring = intake.answers().and_then(|answers| answers.messages(extensions.as_deref()));
    let mut overheard = Overheard::of(&intake, extensions.as_deref(), shared.intake.body_limit);
    let idle = shared.deadlines.idle;
    let mut progress = Instant::now();
    let mut sleep = Box::pin(tokio::time::sleep_until(progress + idle));
    let result = poll_fn(|cx| {
        loop {
            match pump(cx, &mut client, &mut up, &mut walker, &mut intake, &mut restoring, &mut overheard) {
                Poll::Ready(Ok(true)) => progress = Instant::now(),
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(refusal)) => return Poll::Ready(Err(refusal)),
                Poll::Pending => break,
            }
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if progress.elapsed() >= idle {
                return Poll::Ready(Ok(()));
            }
            sleep.as_mut().reset(progress + idle);
        }
        Poll::Pending
    })
    .await;
    walker.finish(&mut intake);
    if let Some(restoring) = &mut restoring {
        restoring.end(&mut client.output);
    }
    if let Err(refusal) = result {
        tracing::warn!(host = %intake.request().host, flow = %intake.meta().flow, reason = refusal.reason, "WebSocket closed by policy");
        client.output.extend_from_slice(&policy_close(&refusal));
        client.close_lingering().await;
        return;
    }
    // Whoever ended first, the other side gets what is left and a clean end.
    let rest = async {
        let _ = client.drain().await;
        let _ = up.drain().await;
        let _ = client.io.shutdown().await;
        let _ = up.io.shutdown().await;
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), rest).await;
}

/// True if anything moved, false if a side has ended.
fn pump(
    cx: &mut Context<'_>,
    client: &mut Half,
    up: &mut Half,
    walker: &mut Walker,
    intake: &mut Intake,
    restoring: &mut Option<RestoringMessages>,
    overheard: &mut Option<Overheard>,
) -> Poll<Result<bool, Refusal>> {
    let mut moved = false;
    let mut ended = false;
    if up.output.len() < WINDOW {
        if client.input.is_empty() {
            match client.poll_fill(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(0) | Err(_)) => ended = true,
                Poll::Ready(Ok(_)) => moved = true,
            }
        }
        if !client.input.is_empty() {
            walker.walk(&mut client.input, intake, &mut up.output)?;
            moved = true;
        }
    }
    if client.output.len() < WINDOW {
        if up.input.is_empty() {
            match up.poll_fill(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(0) | Err(_)) => ended = true,
                Poll::Ready(Ok(_)) => moved = true,
            }
        }
        if !up.input.is_empty() {
            if let Some(overheard) = overheard {
                overheard.listen(&up.input);
            }
            match restoring {
                Some(restoring) => restoring.walk(&mut up.input, &mut client.output),
                None => client.output.unsplit(up.input.split()),
            }
            moved = true;
        }
    }
    let full = (up.output.len() >= WINDOW, client.output.len() >= WINDOW);
    for half in [&mut *up, &mut *client] {
        if let Poll::Ready(Err(_)) = half.poll_drain(cx) {
            return Poll::Ready(Ok(false));
        }
    }
    if ended {
        return Poll::Ready(Ok(false));
    }
    moved |= (full.0 && up.output.len() < WINDOW) || (full.1 && client.output.len() < WINDOW);
    if moved { Poll::Ready(Ok(true)) } else { Poll::Pending }
}

//! upstream -> client: heads, bodies and messages of answers, and what listens or changes as they pass.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use tokio::time::timeout;

use super::super::error::{UpstreamError, UpstreamFault};
use super::super::restoring::{Answers, Counting, Overheard, Restoring, RestoringMessages, recorded_head};
use super::super::told::{Follows, Told};
use super::guard::Marks;
use super::message::{malformed_response, malformed_trailers};
use crate::engine::Refusal;
use crate::recording::Tape;
use crate::wire::forward::OF_THE_BODY;
use crate::wire::limits::Limits;

/// Why a stream broke off.
pub enum Broken {
    /// The client reset it or is gone.
    Client(Reason),
    /// The upstream reset it, with this code.
    Upstream(Reason),
    Failed(UpstreamError),
    Withheld(Refusal),
    Status(u16, &'static str),
}

pub fn client_broken(error: h2::Error) -> Broken {
    Broken::Client(error.reason().unwrap_or(Reason::CANCEL))
}

pub fn upstream_broken(error: h2::Error) -> Broken {
    Broken::Upstream(error.reason().unwrap_or(Reason::INTERNAL_ERROR))
}
pub fn end_stream(to: &mut SendStream<Bytes>) -> Result<(), Broken> {
    to.send_data(Bytes::new(), true).map_err(upstream_broken)
}
/// upstream -> client. Beside the answer: where values are put back in it, what records it, what the client is told.
pub async fn download(
    mut response: h2::client::ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    begun: &AtomicBool,
    deadlines: &crate::config::Deadlines,
    marks: &Marks,
    (answers, tape, told): (Option<Answers>, Option<Tape>, Told),
) -> Result<(), Broken> {
    let head = response_head(&mut response, respond, deadlines.response, marks).await?;
    let (mut parts, mut body) = head.into_parts();
    let end = body.is_end_stream();
    let field = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    let answers = answers.filter(|_| !end);
    // Boxed: most answers pass as they come, and keep no room for these.
    let restoring = answers.as_ref().and_then(|answers| answers.restoring(parts.status.as_u16(), field));
    let mut restoring = restoring.map(Box::new);
    let counting = answers.filter(|_| restoring.is_none());
    let mut counting = counting.and_then(|answers| answers.counting(parts.status.as_u16(), field)).map(Box::new);
    if restoring.is_some() {
        for name in OF_THE_BODY {
            parts.headers.remove(*name);
        }
    }
    if let Some(tape) = &tape {
        tape.answered(head_for_tape(&parts, restoring.is_some()));
        if end {
            tape.received_all();
        }
    }
    // An invitation to HTTP/3 (RFC 7838): a client that took it would go around us.
    parts.headers.remove(http::header::ALT_SVC);
    tell(&told, Follows::Body, &mut parts);
    // Content may not follow (RFC 9110, section 6.4.1).
    let bodiless = matches!(parts.status.as_u16(), 204 | 304);
    let mut down = respond.send_response(Response::from_parts(parts, ()), end).map_err(client_broken)?;
    begun.store(true, Ordering::Relaxed);
    if end {
        return Ok(());
    }
    let taps = Taps {
        restoring: restoring.as_deref_mut(),
        counting: counting.as_deref_mut(),
        tape: tape.as_ref(),
        overheard: None,
        bodiless,
    };
    pump_down(&mut body, &mut down, deadlines.idle, marks, taps).await
}

/// Puts into the head of an answer what the client is told beside it.
pub fn tell(told: &Told, follows: Follows, parts: &mut http::response::Parts) {
    for (name, value) in told.fields(follows) {
        if let Ok(value) = http::HeaderValue::try_from(value) {
            parts.headers.insert(name, value);
        }
    }
}

/// Waits for the response, passing interim ones on, and notices when the client gives up.
pub async fn response_head(
    response: &mut h2::client::ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    deadline: Duration,
    marks: &Marks,
) -> Result<Response<RecvStream>, Broken> {
    let malformed = |reason| Broken::Failed(UpstreamError::new(UpstreamFault::Malformed, reason));
    let stream = response.stream_id().as_u32();
    let judged = |status, fields: &HeaderMap| match marks.take_malformed(stream) {
        true => Err(malformed("pseudo-headers that no response may have")),
        false => malformed_response(status, fields).map_or(Ok(()), |reason| Err(malformed(reason))),
    };
    let mut passed = 0;
    let wait = poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            passed += 1;
            if passed > Limits::default().interim {
                return Poll::Ready(Err(malformed("too many interim responses")));
            }
            if let Err(broken) = judged(interim.status(), interim.headers()) {
                return Poll::Ready(Err(broken));
            }
            let _ = respond.send_informational(interim);
        }
        if let Poll::Ready(head) = std::pin::Pin::new(&mut *response).poll(cx) {
            let head = head.map_err(upstream_broken);
            return Poll::Ready(head.and_then(|head| judged(head.status(), head.headers()).map(|()| head)));
        }
        match respond.poll_reset(cx) {
            Poll::Ready(reason) => Poll::Ready(Err(Broken::Client(reason.unwrap_or(Reason::CANCEL)))),
            Poll::Pending => Poll::Pending,
        }
    });
    timeout(deadline, wait).await.unwrap_or_else(|_| {
        Err(Broken::Failed(UpstreamError::new(UpstreamFault::Timeout, "no response within the deadline")))
    })
}

/// What looks at an answer, or changes it, as it passes.
#[derive(Default)]
pub struct Taps<'a> {
    pub restoring: Option<&'a mut Restoring>,
    pub counting: Option<&'a mut Counting>,
    pub tape: Option<&'a Tape>,
    pub overheard: Option<&'a mut Overheard>,
    /// The status is one that has no content.
    pub bodiless: bool,
}

pub fn head_for_tape(parts: &http::response::Parts, decoded: bool) -> Bytes {
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let reason = parts.status.canonical_reason().unwrap_or_default();
    recorded_head(parts.status.as_u16(), reason.as_bytes(), decoded, fields)
}

pub async fn pump_down(
    body: &mut RecvStream,
    down: &mut SendStream<Bytes>,
    idle: Duration,
    marks: &Marks,
    mut taps: Taps<'_>,
) -> Result<(), Broken> {
    loop {
        let next = next_of(body, down, idle).await?;
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(upstream_broken)?;
        if taps.bodiless && !chunk.is_empty() {
            return Err(Broken::Upstream(Reason::PROTOCOL_ERROR));
        }
        let length = chunk.len();
        let last = body.is_end_stream();
        if let Some(counting) = &mut taps.counting {
            counting.push(&chunk);
        }
        if let Some(overheard) = &mut taps.overheard {
            overheard.listen(&chunk);
        }
        let chunk = match &mut taps.restoring {
            Some(restoring) => restored(restoring, &chunk, last)?,
            None => chunk,
        };
        if let Some(tape) = taps.tape {
            tape.received(&chunk);
            if last {
                tape.received_all();
            }
        }
        send_all(down, chunk, last, idle).await.map_err(|broken| match broken {
            Broken::Upstream(reason) => Broken::Client(reason),
            other => other,
        })?;
        if last {
            return Ok(());
        }
        let _ = body.flow_control().release_capacity(length);
    }
    if let Some(restoring) = &mut taps.restoring {
        let rest = restored(restoring, &[], true)?;
        if let Some(tape) = taps.tape {
            tape.received(&rest);
        }
        send_all(down, rest, false, idle).await?;
    }
    let trailers = body.trailers().await.map_err(upstream_broken)?;
    if marks.take_malformed(body.stream_id().as_u32()) || trailers.as_ref().and_then(malformed_trailers).is_some() {
        return Err(Broken::Upstream(Reason::PROTOCOL_ERROR));
    }
    if let Some(tape) = taps.tape {
        tape.received_all();
    }
    match trailers {
        Some(trailers) => down.send_trailers(trailers).map_err(client_broken),
        None => down.send_data(Bytes::new(), true).map_err(client_broken),
    }
}

/// The next piece of an answer; none at its end. Notices when the client gives up.
async fn next_of(
    body: &mut RecvStream,
    down: &mut SendStream<Bytes>,
    idle: Duration,
) -> Result<Option<Result<Bytes, h2::Error>>, Broken> {
    let next = async {
        tokio::select! {
            biased;
            chunk = body.data() => Ok(chunk),
            reason = poll_fn(|cx| down.poll_reset(cx)) => Err(Broken::Client(reason.unwrap_or(Reason::CANCEL))),
        }
    };
    timeout(idle, next).await.map_err(|_| Broken::Upstream(Reason::CANCEL))?
}

/// upstream -> client, message by message.
pub async fn messages_down(
    body: &mut RecvStream,
    down: &mut SendStream<Bytes>,
    idle: Duration,
    restoring: &mut RestoringMessages,
    mut overheard: Option<&mut Overheard>,
) -> Result<(), Broken> {
    loop {
        let next = next_of(body, down, idle).await?;
        let mut out = BytesMut::new();
        let Some(chunk) = next else {
            restoring.end(&mut out);
            send_all(down, out.freeze(), false, idle).await?;
            return down.send_data(Bytes::new(), true).map_err(client_broken);
        };
        let chunk = chunk.map_err(upstream_broken)?;
        let length = chunk.len();
        if let Some(overheard) = &mut overheard {
            overheard.listen(&chunk);
        }
        restoring.walk(&mut BytesMut::from(chunk), &mut out);
        send_all(down, out.freeze(), false, idle).await?;
        let _ = body.flow_control().release_capacity(length);
    }
}

/// The next piece of an answer with real values in the place of pseudonyms.
fn restored(restoring: &mut Restoring, data: &[u8], ended: bool) -> Result<Bytes, Broken> {
    let mut out = Vec::with_capacity(data.len() + 256);
    let undone = restoring.push(data, &mut out);
    let undone = undone.and_then(|()| if ended { restoring.finish(&mut out) } else { Ok(()) });
    undone.map(|()| out.into()).map_err(|error| {
        tracing::warn!(%error, "the content coding of an answer cannot be undone");
        Broken::Upstream(Reason::INTERNAL_ERROR)
    })
}

/// Sends `data` as the peer's window allows.
pub async fn send_all(to: &mut SendStream<Bytes>, mut data: Bytes, end: bool, idle: Duration) -> Result<(), Broken> {
    if data.is_empty() {
        return if end { end_stream(to) } else { Ok(()) };
    }
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        if to.capacity() == 0 {
            let granted = timeout(idle, poll_fn(|cx| to.poll_capacity(cx))).await;
            match granted {
                Ok(Some(Ok(0))) => continue,
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(upstream_broken(error)),
                Ok(None) => return Err(Broken::Upstream(Reason::CANCEL)),
                Err(_) => return Err(Broken::Upstream(Reason::CANCEL)),
            }
        }
        let part = data.split_to(to.capacity().min(data.len()));
        let last = end && data.is_empty();
        to.send_data(part, last).map_err(upstream_broken)?;
    }
    Ok(())
}

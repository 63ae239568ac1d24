//! One stream: a request, its body, and what is judged of it on the way up. Its answer is in `download`.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response, StatusCode};
use tokio::time::timeout;

use super::super::error::{UpstreamError, UpstreamFault};
use super::super::intake::{Intake, Release};
use super::super::restoring::Overheard;
use super::super::told::Follows;
use super::super::websocket::{Walker, policy_close};
use super::download::{
    Broken, Taps, client_broken, download, end_stream, head_for_tape, messages_down, pump_down, response_head,
    send_all, tell, upstream_broken,
};
use super::guard::Marks;
use super::message::{answer, head_of, interim, judged, malformed, malformed_trailers, outgoing, withheld};
use super::{Link, UpstreamHandle};
use crate::engine::{Request, Severity};
use crate::wire::head::Framing;

pub struct Stream {
    link: Arc<Link>,
    intake: Intake,
    marks: Marks,
    body: RecvStream,
}

impl Stream {
    pub async fn serve(
        link: Arc<Link>,
        marks: Marks,
        request: http::Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        failed: Option<UpstreamError>,
    ) {
        let shared = link.shared.clone();
        let (parts, body) = request.into_parts();
        let protocol = parts.extensions.get::<h2::ext::Protocol>().cloned();
        let begun = AtomicBool::new(false);
        if let Some(what) = malformed(&parts) {
            return answer(&mut respond, 400, "malformed-request", what);
        }
        if let Some(observed) = link.misdirected(&parts.uri, &parts.headers) {
            shared.note_connection(&link.peer, &link.origin.host, "audit.identity", Severity::High, 1.0, &observed);
            return answer(&mut respond, 421, "refused", "the names of tunnel, certificate and request disagree");
        }
        if parts.method == http::Method::CONNECT && protocol.as_ref().is_none_or(|p| p.as_str() != "websocket") {
            return answer(&mut respond, 400, "refused", "only WebSockets may be opened by CONNECT here");
        }
        let head = head_of(&parts);
        let framing = match parts.headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok())
        {
            _ if protocol.is_some() || body.is_end_stream() => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        let request = Request { host: link.origin.host.to_string(), port: link.origin.port, secure: true, head };
        let treatment = match shared.treat(&link.peer) {
            Ok(treatment) => treatment,
            Err(_) => {
                shared.refused();
                let message = "too many requests: this group's limit is reached";
                return answer(&mut respond, 429, "rate-limit", message);
            }
        };
        let intake = Intake::new(&shared, &treatment, &link.peer, request, framing);
        let mut stream = Stream { link, intake, marks, body };
        let result = stream.run(parts, protocol, &mut respond, &begun, failed).await;
        let Err(broken) = result else { return };
        let begun = begun.load(Ordering::Relaxed);
        match broken {
            Broken::Client(reason) => respond.send_reset(reason),
            Broken::Upstream(reason) => respond.send_reset(reason),
            _ if begun => {
                tracing::warn!(host = %stream.intake.request().host, flow = %stream.intake.meta().flow, "stream cut");
                respond.send_reset(Reason::CANCEL);
            }
            Broken::Withheld(refusal) => withheld(&mut respond, &stream.intake, &refusal),
            Broken::Failed(error) => {
                tracing::warn!(host = %stream.intake.request().host, flow = %stream.intake.meta().flow, %error, "no answer from upstream");
                answer(&mut respond, error.fault.status(), error.fault.word(), &error.message);
            }
            Broken::Status(status, reason) => answer(&mut respond, status, "malformed-request", reason),
        }
    }

    async fn run(
        &mut self,
        parts: http::request::Parts,
        protocol: Option<h2::ext::Protocol>,
        respond: &mut SendResponse<Bytes>,
        begun: &AtomicBool,
        failed: Option<UpstreamError>,
    ) -> Result<(), Broken> {
        let deadlines = self.link.shared.deadlines;
        let mut release = self.intake.begin().map_err(Broken::Withheld)?;
        let mut trailers = None;
        let held = self.intake.holds();
        let mut complete = self.body.is_end_stream();
        if release.head.is_none() {
            if parts
                .headers
                .get(http::header::EXPECT)
                .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
            {
                let _ = respond.send_informational(interim(StatusCode::CONTINUE));
            }
            (release, complete, trailers) = self.collect().await?;
        }
        if let Some(error) = failed {
            return Err(Broken::Failed(error));
        }
        let edits = release.head.unwrap_or_default();
        let handle = match self.link.open_handle() {
            Some(handle) => handle,
            // Boxed, as is all that few streams need: the others keep no room for it.
            None => Box::pin(unless_reset(respond, self.link.handle())).await?.map_err(Broken::Failed)?,
        };
        let UpstreamHandle { send: mut send_request, extended, marks, .. } = handle;
        if protocol.is_some() && !extended {
            return Err(Broken::Status(501, "the upstream takes no WebSocket over HTTP/2"));
        }
        let upgrade = protocol.is_some();
        let request = outgoing(parts, protocol, &self.intake.request().head, &edits)?;
        let ready = poll_fn(|cx| send_request.poll_ready(cx));
        unless_reset(respond, timeout(deadlines.response, ready))
            .await?
            .map_err(|_| {
                Broken::Failed(UpstreamError::new(UpstreamFault::Timeout, "no stream was free within the deadline"))
            })?
            .map_err(|e| Broken::Failed(UpstreamError::new(UpstreamFault::Closed, format!("upstream: {e}"))))?;
        let nothing_follows = complete && release.payload.is_empty() && trailers.is_none() && !upgrade;
        let (response, mut up) = send_request
            .send_request(request, nothing_follows)
            .map_err(|e| Broken::Failed(UpstreamError::new(UpstreamFault::Closed, format!("upstream: {e}"))))?;
        drop(send_request);
        if upgrade {
            let _ = self.intake.finish();
            return Box::pin(self.websocket(response, up, respond, begun, &marks)).await;
        }
        if nothing_follows {
            // Nothing could be changed, so it is inspected while the upstream works.
            let _ = self.intake.finish();
        } else if !release.payload.is_empty() || complete {
            let end = complete && trailers.is_none();
            send_all(&mut up, release.payload, end, deadlines.idle).await?;
            if complete && let Some(trailers) = trailers.take() {
                up.send_trailers(trailers).map_err(upstream_broken)?;
            }
        }
        let intake = &self.intake;
        let beside = (intake.answers(), intake.tape().cloned(), intake.told().clone());
        // Pinned where they are made: a future that is moved into its place has two.
        let mut download = pin!(download(response, respond, begun, &deadlines, &marks, beside));
        if complete {
            return download.await;
        }
        let mut upload = pin!(upload(&mut self.body, &self.marks, &mut self.intake, &mut up, held, begun, &deadlines));
        tokio::select! {
            biased;
            uploaded = &mut upload => match uploaded {
                Ok(()) => download.await,
                // It stopped listening: its answer or its reset is on the way.
                Err(Broken::Upstream(_)) => download.await,
                Err(other) => Err(other),
            },
            downloaded = &mut download => {
                downloaded?;
                // The response may end before the request does: the upload goes on until it ends or is reset.
                match upload.await {
                    Err(Broken::Withheld(_)) | Ok(()) | Err(_) => Ok(()),
                }
            }
        }
    }

    /// Reads a body that is judged as a whole before its head may go.
    async fn collect(&mut self) -> Result<(Release, bool, Option<HeaderMap>), Broken> {
        let stall = self.link.shared.deadlines.body;
        loop {
            let chunk = timeout(stall, self.body.data())
                .await
                .map_err(|_| Broken::Status(408, "the request body stood still"))?;
            match chunk {
                Some(Ok(chunk)) => {
                    // Held here, bounded by --body-limit: the client may send on.
                    let _ = self.body.flow_control().release_capacity(chunk.len());
                    let release = self.intake.take(&mut BytesMut::from(chunk)).map_err(Broken::Withheld)?;
                    if release.head.is_some() {
                        return Ok((release, false, None));
                    }
                }
                Some(Err(error)) => return Err(Broken::Client(error.reason().unwrap_or(Reason::CANCEL))),
                None => {
                    let trailers = trailers_of(&mut self.body, &self.marks).await?;
                    let release = self.intake.finish().map_err(Broken::Withheld)?;
                    let trailers = judged(&mut self.intake, trailers).map_err(Broken::Withheld)?;
                    return Ok((release, true, trailers));
                }
            }
        }
    }

    async fn websocket(
        &mut self,
        mut response: h2::client::ResponseFuture,
        mut up: SendStream<Bytes>,
        respond: &mut SendResponse<Bytes>,
        begun: &AtomicBool,
        marks: &Marks,
    ) -> Result<(), Broken> {
        let deadlines = self.link.shared.deadlines;
        let head = response_head(&mut response, respond, deadlines.response, marks).await?;
        let (mut parts, mut from_upstream) = head.into_parts();
        let accepted = parts.status.is_success();
        let extensions = parts.headers.get("sec-websocket-extensions").and_then(|v| v.to_str().ok()).map(str::to_owned);
        if let Some(tape) = self.intake.tape() {
            tape.answered(head_for_tape(&parts, false));
            tape.received_all();
        }
        let follows = if accepted { Follows::Messages } else { Follows::Body };
        tell(self.intake.told(), follows, &mut parts);
        let mut down = respond
            .send_response(Response::from_parts(parts, ()), from_upstream.is_end_stream())
            .map_err(client_broken)?;
        begun.store(true, Ordering::Relaxed);
        let hold = self.intake.may_edit();
        let limit = self.link.shared.intake.body_limit;
        let mut walker = Walker::new(hold, extensions.as_deref(), limit);
        let mut overheard = accepted.then(|| Overheard::of(&self.intake, extensions.as_deref(), limit)).flatten();
        let mut restoring = self.intake.answers().and_then(|answers| answers.messages(extensions.as_deref()));
        let Stream { intake, body, .. } = self;
        let client_to_upstream = async {
            loop {
                let Some(chunk) =
                    timeout(deadlines.idle, body.data()).await.map_err(|_| Broken::Client(Reason::CANCEL))?
                else {
                    return end_stream(&mut up);
                };
                let chunk = chunk.map_err(client_broken)?;
                let length = chunk.len();
                let mut out = BytesMut::new();
                let mut data = BytesMut::from(chunk);
                if accepted {
                    walker.walk(&mut data, intake, &mut out).map_err(Broken::Withheld)?;
                } else {
                    out = data;
                }
                if !out.is_empty() {
                    send_all(&mut up, out.freeze(), false, deadlines.idle).await?;
                }
                let _ = body.flow_control().release_capacity(length);
            }
        };
        let upstream_to_client = async {
            match restoring.as_mut().filter(|_| accepted) {
                None => {
                    let taps = Taps { overheard: overheard.as_mut(), ..Taps::default() };
                    pump_down(&mut from_upstream, &mut down, deadlines.idle, marks, taps).await
                }
                Some(restoring) => {
                    messages_down(&mut from_upstream, &mut down, deadlines.idle, restoring, overheard.as_mut()).await
                }
            }
        };
        let result = {
            tokio::pin!(client_to_upstream, upstream_to_client);
            tokio::select! {
                up = &mut client_to_upstream => match up {
                    Ok(()) => upstream_to_client.await,
                    Err(broken) => Err(broken),
                },
                down = &mut upstream_to_client => down,
            }
        };
        walker.finish(intake);
        if let Err(Broken::Withheld(refusal)) = &result {
            let _ = down.send_data(policy_close(refusal).freeze(), true);
            return Ok(());
        }
        result
    }
}
/// Waits for `work`, unless the client takes its request back: else streams opened and reset one after the other
/// would pile up here, where the library no longer counts them.
async fn unless_reset<T>(respond: &mut SendResponse<Bytes>, work: impl Future<Output = T>) -> Result<T, Broken> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        reason = poll_fn(|cx| respond.poll_reset(cx)) => Err(Broken::Client(reason.unwrap_or(Reason::CANCEL))),
    }
}
/// The trailers of a request.
async fn trailers_of(body: &mut RecvStream, marks: &Marks) -> Result<Option<HeaderMap>, Broken> {
    let trailers = body.trailers().await.map_err(client_broken)?;
    if marks.take_malformed(body.stream_id().as_u32()) {
        return Err(Broken::Client(Reason::PROTOCOL_ERROR));
    }
    match trailers.as_ref().and_then(malformed_trailers) {
        Some(reason) => Err(Broken::Status(400, reason)),
        None => Ok(trailers),
    }
}
/// client -> upstream, after the head.
async fn upload(
    body: &mut RecvStream,
    marks: &Marks,
    intake: &mut Intake,
    up: &mut SendStream<Bytes>,
    held: bool,
    begun: &AtomicBool,
    deadlines: &crate::config::Deadlines,
) -> Result<(), Broken> {
    loop {
        // A document's end is expected soon; a stream that the response has answered may rest.
        let stall = intake.is_document() && !begun.load(Ordering::Relaxed);
        let deadline = if stall { deadlines.body } else { deadlines.idle };
        let next = timeout(deadline, async {
            tokio::select! {
                biased;
                chunk = body.data() => Ok(chunk),
                reason = poll_fn(|cx| up.poll_reset(cx)) => Err(Broken::Upstream(reason.unwrap_or(Reason::CANCEL))),
            }
        })
        .await;
        let next = match next {
            Ok(next) => next?,
            // The response has begun meanwhile: from here on the stream may rest.
            Err(_) if stall && begun.load(Ordering::Relaxed) => continue,
            Err(_) => {
                up.send_reset(Reason::CANCEL);
                let stalled = Broken::Status(408, "the request body stood still");
                return Err(if stall { stalled } else { Broken::Client(Reason::CANCEL) });
            }
        };
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| {
            let reason = error.reason().unwrap_or(Reason::CANCEL);
            up.send_reset(reason);
            Broken::Client(reason)
        })?;
        let length = chunk.len();
        if held {
            let release = match intake.take(&mut BytesMut::from(chunk)) {
                Ok(release) => release,
                Err(refusal) => {
                    up.send_reset(Reason::CANCEL);
                    return Err(Broken::Withheld(refusal));
                }
            };
            if !release.payload.is_empty() {
                send_all(up, release.payload, false, deadlines.idle).await?;
            }
        } else {
            intake.observe(&chunk);
            let last = body.is_end_stream();
            send_all(up, chunk, last, deadlines.idle).await?;
            if last {
                let _ = intake.finish();
                return Ok(());
            }
        }
        // Only now, so that the upstream's window reaches the client.
        let _ = body.flow_control().release_capacity(length);
    }
    let trailers = match trailers_of(body, marks).await {
        Ok(trailers) => trailers,
        Err(broken) => {
            up.send_reset(Reason::CANCEL);
            return Err(broken);
        }
    };
    let release = match intake.finish() {
        Ok(release) => release,
        Err(refusal) => {
            up.send_reset(Reason::CANCEL);
            return Err(Broken::Withheld(refusal));
        }
    };
    let trailers = match judged(intake, trailers) {
        Ok(trailers) => trailers,
        Err(refusal) => {
            up.send_reset(Reason::CANCEL);
            return Err(Broken::Withheld(refusal));
        }
    };
    if held && !release.payload.is_empty() {
        send_all(up, release.payload, trailers.is_none(), deadlines.idle).await?;
    } else if trailers.is_none() {
        return end_stream(up);
    }
    match trailers {
        Some(trailers) => up.send_trailers(trailers).map_err(upstream_broken),
        None => Ok(()),
    }
}

//! HTTP/2 on the `h2` crate: one upstream connection beside each client connection, one pump for both
//! directions of a stream. Everything that knows `h2` is in this folder.

mod guard;
mod message;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response, StatusCode, Uri};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::{UpstreamError, UpstreamFault};
use super::http1::Intended;
use super::intake::Intake;
use super::restoring::{Answers, Counting, Overheard, Restoring, RestoringMessages, recorded_head};
use super::stream::Wire;
use super::upstream::{Offer, Origin, Version};
use super::websocket::{Walker, policy_close};
use super::{Peer, Shared};
use crate::config::split_authority;
use crate::engine::{Refusal, Request, Severity};
use crate::recording::Tape;
use crate::wire::forward::OF_THE_BODY;
use crate::wire::head::Framing;
use crate::wire::limits::Limits;

use guard::Guarded;
use message::{answer, head_of, interim, judged, malformed, outgoing, padded, withheld};

/// What one stream may have in flight; a reader that never reads costs so much memory.
const STREAM_WINDOW: u32 = 1 << 20;
/// What all streams of one connection may have in flight.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What one stream may have waiting to be written. The library's 400 KiB, times the streams of a peer that grants
/// every window and reads nothing, would be a hundred megabytes a connection.
const SEND_BUFFER: usize = 64 * 1024;
const HEADER_LIST: u32 = 64 * 1024;
const STREAMS: u32 = 256;

/// An open connection to an upstream.
#[derive(Clone)]
pub struct UpstreamHandle {
    send: h2::client::SendRequest<Bytes>,
    /// The upstream takes extended CONNECT (RFC 8441).
    extended: bool,
    open: Arc<AtomicBool>,
}

impl UpstreamHandle {
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

/// Speaks HTTP/2 on a fresh connection, and waits until the upstream's settings are known.
async fn connect(wire: Wire, deadline: Duration) -> Result<UpstreamHandle, UpstreamError> {
    let failed =
        |e: h2::Error| UpstreamError::new(UpstreamFault::Connect, format!("HTTP/2 with the upstream failed: {e}"));
    let work = async {
        let (send, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(HEADER_LIST)
            .max_concurrent_streams(STREAMS)
            .enable_push(false)
            .handshake::<_, Bytes>(wire)
            .await
            .map_err(failed)?;
        let ping = connection.ping_pong();
        let open = Arc::new(AtomicBool::new(true));
        let closed = open.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP/2 upstream connection ended");
            }
            closed.store(false, Ordering::Relaxed);
        });
        // No event says that SETTINGS have come; the answer to a PING comes after them.
        if let Some(mut ping) = ping {
            ping.ping(h2::Ping::opaque()).await.map_err(failed)?;
        }
        let extended = send.is_extended_connect_protocol_enabled();
        Ok(UpstreamHandle { send, extended, open })
    };
    timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(UpstreamError::new(UpstreamFault::Timeout, "no HTTP/2 settings within the deadline")))
}

/// What the streams of one client connection share.
struct Link {
    shared: Arc<Shared>,
    peer: Peer,
    origin: Origin,
    name: Option<String>,
    upstream: Mutex<Option<UpstreamHandle>>,
}

impl Link {
    async fn handle(&self) -> Result<UpstreamHandle, UpstreamError> {
        let mut slot = self.upstream.lock().await;
        if let Some(handle) = slot.as_ref().filter(|handle| handle.is_open()) {
            return Ok(handle.clone());
        }
        let dialled = self.shared.dial(&self.origin, Offer::only(Version::Http2, false)).await?;
        if dialled.version() != Version::Http2 {
            return Err(UpstreamError::new(UpstreamFault::Connect, "the upstream no longer speaks HTTP/2"));
        }
        let handle = connect(dialled.wire, self.shared.deadlines.connect).await?;
        *slot = Some(handle.clone());
        Ok(handle)
    }

    fn misdirected(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        if let Some(name) = self.name.as_deref().filter(|name| **name != *self.origin.host) {
            return Some(format!("the tunnel is for {}, the ClientHello names {name}", self.origin.host));
        }
        let fits = |text: &str| {
            split_authority(text)
                .is_some_and(|(host, port)| host == *self.origin.host && port.is_none_or(|p| p == self.origin.port))
        };
        let authority = uri.authority().map(|a| a.as_str());
        let mut hosts = headers.get_all(http::header::HOST).iter();
        let host = hosts.next().map(|h| h.to_str().unwrap_or("@"));
        let ok = hosts.next().is_none()
            && authority.is_none_or(fits)
            && host.is_none_or(fits)
            && (authority.is_some() || host.is_some());
        (!ok).then(|| format!("the connection is for {}, the request names another host", self.origin.host))
    }
}

/// Serves one client connection until it ends.
pub async fn serve(
    shared: Arc<Shared>,
    peer: Peer,
    client: Wire,
    intended: Intended,
    upstream: Option<Result<Wire, UpstreamError>>,
) {
    let Intended::Origin { origin, name, .. } = intended else { return };
    let mut failed = None;
    let handle = match upstream {
        Some(Ok(wire)) => connect(wire, shared.deadlines.connect).await,
        Some(Err(error)) => Err(error),
        None => match shared.pool.take_http2(peer.address.ip(), &origin) {
            Some(handle) => Ok(handle),
            None => match shared.dial(&origin, Offer::only(Version::Http2, false)).await {
                Ok(dialled) if dialled.version() == Version::Http2 => {
                    connect(dialled.wire, shared.deadlines.connect).await
                }
                Ok(_) => Err(UpstreamError::new(UpstreamFault::Connect, "the upstream no longer speaks HTTP/2")),
                Err(error) => Err(error),
            },
        },
    };
    let handle = handle.map_err(|error| failed = Some(error)).ok();
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .max_concurrent_streams(STREAMS);
    if handle.as_ref().is_some_and(|handle| handle.extended) {
        builder.enable_connect_protocol();
    }
    let guarded = Guarded::new(client, shared.deadlines.head);
    let fragments = guarded.fragments();
    let Ok(Ok(mut connection)) = timeout(shared.deadlines.head, builder.handshake::<_, Bytes>(guarded)).await else {
        return;
    };
    let link = Arc::new(Link {
        shared: shared.clone(),
        peer: peer.clone(),
        origin: origin.clone(),
        name,
        upstream: Mutex::new(handle),
    });
    let mut streams = JoinSet::new();
    let mut requests = 0u64;
    loop {
        while streams.try_join_next().is_some() {}
        let accepted = if streams.is_empty() {
            match timeout(shared.deadlines.idle, connection.accept()).await {
                Ok(accepted) => accepted,
                Err(_) => {
                    connection.graceful_shutdown();
                    let _ = timeout(Duration::from_secs(1), poll_fn(|cx| connection.poll_closed(cx))).await;
                    None
                }
            }
        } else {
            tokio::select! {
                accepted = connection.accept() => accepted,
                Some(_) = streams.join_next() => continue,
            }
        };
        match accepted {
            None => break,
            Some(Err(error)) => {
                tracing::debug!(host = %origin.host, %error, "HTTP/2 client connection ended");
                break;
            }
            Some(Ok((_, mut respond))) if fragments.take(respond.stream_id().as_u32()) => {
                tracing::debug!(host = %origin.host, "HTTP/2 request refused: a fragment in :path");
                respond.send_reset(Reason::PROTOCOL_ERROR);
            }
            Some(Ok((request, respond))) => {
                if requests == 0 {
                    shared.trusted.insert((peer.address.ip(), origin.host.clone()), ());
                }
                requests += 1;
                streams.spawn(Stream::serve(link.clone(), request, respond, failed.take()));
            }
        }
    }
    if requests == 0 && shared.trusted.get(&(peer.address.ip(), origin.host.clone())).is_none() {
        let observed = "the client ended the connection without a request; it may not trust our CA";
        shared.note_connection(&peer, &origin.host, "audit.untrusted", Severity::Low, 0.5, observed);
    }
    let idle = streams.is_empty();
    // Streams under way end with their client: dropping them resets them upstream.
    streams.shutdown().await;
    if idle && let Some(handle) = link.upstream.lock().await.take() {
        shared.pool.put_http2(peer.address.ip(), &origin, handle);
    }
}

/// Why a stream broke off.
enum Broken {
    /// The client reset it or is gone.
    Client(Reason),
    /// The upstream reset it, with this code.
    Upstream(Reason),
    Failed(UpstreamError),
    Withheld(Refusal),
    Status(u16, &'static str),
}

struct Stream {
    link: Arc<Link>,
    intake: Intake,
    body: RecvStream,
}

impl Stream {
    async fn serve(
        link: Arc<Link>,
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
        let mut stream = Stream { link, intake, body };
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
        let handle = unless_reset(respond, self.link.handle()).await?.map_err(Broken::Failed)?;
        if protocol.is_some() && !handle.extended {
            return Err(Broken::Status(501, "the upstream takes no WebSocket over HTTP/2"));
        }
        let head = self.intake.request().head.clone();
        let request = outgoing(parts, protocol.clone(), &head, &edits)?;
        let ready = unless_reset(respond, timeout(deadlines.response, handle.send.clone().ready())).await?;
        let mut send_request = ready
            .map_err(|_| {
                Broken::Failed(UpstreamError::new(UpstreamFault::Timeout, "no stream was free within the deadline"))
            })?
            .map_err(|e| Broken::Failed(UpstreamError::new(UpstreamFault::Closed, format!("upstream: {e}"))))?;
        let nothing_follows = complete && release.payload.is_empty() && trailers.is_none() && protocol.is_none();
        let (response, mut up) = send_request
            .send_request(request, nothing_follows)
            .map_err(|e| Broken::Failed(UpstreamError::new(UpstreamFault::Closed, format!("upstream: {e}"))))?;
        drop(send_request);
        if protocol.is_some() {
            let _ = self.intake.finish();
            return self.websocket(response, up, respond, begun).await;
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
        let download =
            download(response, respond, begun, &deadlines, self.intake.answers(), self.intake.tape().cloned());
        tokio::pin!(download);
        if complete {
            return download.await;
        }
        let upload = upload(&mut self.body, &mut self.intake, &mut up, held, begun, &deadlines);
        tokio::pin!(upload);
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
    async fn collect(&mut self) -> Result<(super::intake::Release, bool, Option<HeaderMap>), Broken> {
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
                    let trailers = trailers_of(&mut self.body).await?;
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
    ) -> Result<(), Broken> {
        let deadlines = self.link.shared.deadlines;
        let head = response_head(&mut response, respond, deadlines.response).await?;
        let (parts, mut from_upstream) = head.into_parts();
        let accepted = parts.status.is_success();
        let extensions = parts.headers.get("sec-websocket-extensions").and_then(|v| v.to_str().ok()).map(str::to_owned);
        if let Some(tape) = self.intake.tape() {
            tape.answered(head_for_tape(&parts, false));
            tape.received_all();
        }
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
                    pump_down(&mut from_upstream, &mut down, deadlines.idle, taps).await
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

fn client_broken(error: h2::Error) -> Broken {
    Broken::Client(error.reason().unwrap_or(Reason::CANCEL))
}

fn upstream_broken(error: h2::Error) -> Broken {
    Broken::Upstream(error.reason().unwrap_or(Reason::INTERNAL_ERROR))
}

fn end_stream(to: &mut SendStream<Bytes>) -> Result<(), Broken> {
    to.send_data(Bytes::new(), true).map_err(upstream_broken)
}

/// The trailers of a request.
async fn trailers_of(body: &mut RecvStream) -> Result<Option<HeaderMap>, Broken> {
    match body.trailers().await.map_err(client_broken)? {
        Some(trailers) if padded(&trailers) => Err(Broken::Status(400, "white space around the value of a trailer")),
        trailers => Ok(trailers),
    }
}

/// client -> upstream, after the head.
async fn upload(
    body: &mut RecvStream,
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
    let trailers = match trailers_of(body).await {
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

/// upstream -> client.
async fn download(
    mut response: h2::client::ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    begun: &AtomicBool,
    deadlines: &crate::config::Deadlines,
    answers: Option<Answers>,
    tape: Option<Tape>,
) -> Result<(), Broken> {
    let head = response_head(&mut response, respond, deadlines.response).await?;
    let (mut parts, mut body) = head.into_parts();
    let end = body.is_end_stream();
    let field = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    let answers = answers.filter(|_| !end);
    let mut restoring = answers.as_ref().and_then(|answers| answers.restoring(parts.status.as_u16(), field));
    let counting = answers.filter(|_| restoring.is_none());
    let mut counting = counting.and_then(|answers| answers.counting(parts.status.as_u16(), field));
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
    let mut down = respond.send_response(Response::from_parts(parts, ()), end).map_err(client_broken)?;
    begun.store(true, Ordering::Relaxed);
    if end {
        return Ok(());
    }
    let taps =
        Taps { restoring: restoring.as_mut(), counting: counting.as_mut(), tape: tape.as_ref(), overheard: None };
    pump_down(&mut body, &mut down, deadlines.idle, taps).await
}

/// Waits for the response, passing interim ones on, and notices when the client gives up.
async fn response_head(
    response: &mut h2::client::ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    deadline: Duration,
) -> Result<Response<RecvStream>, Broken> {
    let mut passed = 0;
    let wait = poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            passed += 1;
            if passed > Limits::default().interim {
                let error = UpstreamError::new(UpstreamFault::Malformed, "too many interim responses");
                return Poll::Ready(Err(Broken::Failed(error)));
            }
            let _ = respond.send_informational(interim);
        }
        if let Poll::Ready(head) = std::pin::Pin::new(&mut *response).poll(cx) {
            return Poll::Ready(head.map_err(upstream_broken));
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
struct Taps<'a> {
    restoring: Option<&'a mut Restoring>,
    counting: Option<&'a mut Counting>,
    tape: Option<&'a Tape>,
    overheard: Option<&'a mut Overheard>,
}

fn head_for_tape(parts: &http::response::Parts, decoded: bool) -> Bytes {
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let reason = parts.status.canonical_reason().unwrap_or_default();
    recorded_head(parts.status.as_u16(), reason.as_bytes(), decoded, fields)
}

async fn pump_down(
    body: &mut RecvStream,
    down: &mut SendStream<Bytes>,
    idle: Duration,
    mut taps: Taps<'_>,
) -> Result<(), Broken> {
    loop {
        let next = next_of(body, down, idle).await?;
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(upstream_broken)?;
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
    if let Some(tape) = taps.tape {
        tape.received_all();
    }
    match body.trailers().await.map_err(upstream_broken)? {
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
async fn messages_down(
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
async fn send_all(to: &mut SendStream<Bytes>, mut data: Bytes, end: bool, idle: Duration) -> Result<(), Broken> {
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

//! HTTP/1.1 with a client: head, exchange, next head. The upstream's connection stays beside the client's
//! while both are idle, so that its end is noticed before the next request meets it.

mod asked;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::error::{UpstreamError, error_body};
use super::exchange::upload::{RequestState, collect};
use super::exchange::{Broken, End, Exchange};
use super::half::Half;
use super::intake::{Intake, Release};
use super::stream::Wire;
use super::upstream::{Offer, Origin, Version};
use super::{Peer, Shared, connection, pool, told, websocket};
use crate::config::split_authority;
use crate::engine::{Refusal, Request, Severity};
use crate::wire::head::{Framing, HeadError, RequestHead, TargetForm, TargetOut};

/// How long it counts that an upstream could not be reached: a request that comes later has it tried again.
const FAILED: Duration = Duration::from_secs(1);

/// Whom the client believes to talk to.
#[derive(Clone, Debug)]
pub enum Intended {
    /// A proxy: CONNECT and absolute-form requests.
    Proxy,
    /// An origin, through a tunnel that we opened.
    Origin {
        origin: Origin,
        /// The client sent no ALPN, so neither do we.
        silent: bool,
        /// The name in the ClientHello.
        name: Option<Arc<str>>,
    },
}

pub struct Http1 {
    shared: Arc<Shared>,
    peer: Peer,
    client: Half,
    intended: Intended,
    /// With its origin: absolute-form requests may go to several.
    upstream: Option<(Origin, Half)>,
    /// The upstream could not be reached while the tunnel was opened, and when that was.
    failed: Option<(UpstreamError, Instant)>,
    requests: u64,
    alarm: Alarm,
}

impl Http1 {
    pub fn new(
        shared: Arc<Shared>,
        peer: Peer,
        client: Half,
        intended: Intended,
        upstream: Option<Result<Half, UpstreamError>>,
    ) -> Self {
        let (upstream, failed) = match (upstream, &intended) {
            (Some(Ok(half)), Intended::Origin { origin, .. }) => (Some((origin.clone(), half)), None),
            (Some(Err(error)), _) => (None, Some((error, Instant::now()))),
            _ => (None, None),
        };
        Self { shared, peer, client, intended, upstream, failed, requests: 0, alarm: Alarm::default() }
    }
}

enum Next {
    Request(Box<RequestHead>),
    /// The client ended or said nothing for too long.
    Ended,
    Refuse {
        status: u16,
        reason: &'static str,
    },
}

/// What becomes of the connection after one request.
enum After {
    Keep,
    Close,
    /// Without a clean end: something was cut short.
    Abort,
    Connect {
        host: String,
        port: u16,
    },
    Upgraded(Box<Upgraded>),
}

/// A connection that has left HTTP.
struct Upgraded {
    intake: Intake,
    upstream: Half,
    extensions: Option<String>,
}

/// Serves one client until its connection ends.
pub async fn serve(mut connection: Http1) {
    loop {
        let head = match connection.next_head().await {
            Next::Request(head) => head,
            Next::Ended => {
                // Said in good order, also to a client that only ended its own side.
                let _ = tokio::time::timeout(Duration::from_secs(1), connection.client.io.shutdown()).await;
                break;
            }
            Next::Refuse { status, reason } => {
                connection.answer(
                    status,
                    &[("x-divulge-error", "malformed-request")],
                    "malformed-request",
                    reason,
                    true,
                );
                connection.client.close_lingering().await;
                return;
            }
        };
        connection.requests += 1;
        // Boxed: between requests an idle connection does not keep the exchange's memory.
        // To HTTP/1.0 the end of the connection is the end of a body.
        let old = head.minor_version() == 0;
        let after = Box::pin(connection.one(*head)).await;
        match after {
            After::Keep => {
                if connection.client.drain().await.is_err() {
                    break;
                }
            }
            After::Close => {
                connection.client.close_lingering().await;
                break;
            }
            After::Abort => {
                // What had come still arrives; the missing end says that it is not all.
                if old {
                    connection.client.io.reset_when_dropped();
                }
                let _ = tokio::time::timeout(Duration::from_secs(1), connection.client.drain()).await;
                return;
            }
            After::Connect { host, port } => {
                let Http1 { shared, peer, mut client, .. } = connection;
                client.output.extend_from_slice(b"HTTP/1.1 200 Connection Established\r\n\r\n");
                if client.drain().await.is_err() {
                    return;
                }
                let ahead = client.input.split().freeze();
                let Wire::ClientPlain(socket) = client.io else { return };
                let (carrier, earlier) = socket.into_parts();
                let ahead = if earlier.is_empty() { ahead } else { [ahead, earlier].concat().into() };
                let socket = super::stream::ClientSocket::new(carrier, ahead);
                tokio::spawn(connection::tunnel(shared, peer, socket, host, port));
                return;
            }
            After::Upgraded(upgraded) => {
                let Http1 { shared, client, .. } = connection;
                let Upgraded { intake, upstream, extensions } = *upgraded;
                Box::pin(websocket::serve(&shared, client, upstream, intake, extensions)).await;
                return;
            }
        }
    }
    connection.ended();
}

impl Http1 {
    /// The connection ended between requests: the upstream may serve this client's next connection.
    fn ended(self) {
        if let Some((origin, half)) = self.upstream {
            self.shared.pool.put_http1(self.peer.address.ip(), &origin, half);
        }
        if self.requests == 0
            && let Intended::Origin { origin, .. } = &self.intended
            && origin.secure
        {
            let key = (self.peer.address.ip(), origin.host.clone());
            if self.shared.trusted.get(&key).is_none() {
                // Some run times accept the handshake and judge the certificate afterwards.
                let observed = "the client ended the connection without a request; it may not trust our CA";
                self.shared.note_connection(&self.peer, &origin.host, "audit.untrusted", Severity::Low, 0.5, observed);
            }
        }
    }

    async fn next_head(&mut self) -> Next {
        self.client.release_buffers();
        let started = Instant::now();
        let mut begun = None;
        loop {
            if !self.client.input.is_empty() {
                let begun_at = *begun.get_or_insert_with(Instant::now);
                match RequestHead::parse(&mut self.client.input, &self.shared.limits) {
                    Ok(Some(head)) => return Next::Request(Box::new(head)),
                    Ok(None) => {}
                    Err(error) => {
                        if let Intended::Origin { origin, .. } = &self.intended
                            && error.reason == HeadError::TWO_PLACES
                        {
                            let observed =
                                format!("the connection is for {}, the request names two places", origin.host);
                            self.shared.note_connection(
                                &self.peer,
                                &origin.host,
                                "audit.identity",
                                Severity::High,
                                1.0,
                                &observed,
                            );
                            return Next::Refuse { status: 421, reason: error.reason };
                        }
                        return Next::Refuse { status: error.status, reason: error.reason };
                    }
                }
                if begun_at.elapsed() >= self.shared.deadlines.head {
                    return Next::Refuse { status: 408, reason: "the request head did not come in time" };
                }
            }
            let fresh_proxy = self.requests == 0 && matches!(self.intended, Intended::Proxy);
            let deadline = match begun {
                Some(begun) => begun + self.shared.deadlines.head,
                None if fresh_proxy => started + self.shared.deadlines.head,
                None => started + self.shared.deadlines.idle,
            };
            match self.fill_watching(deadline).await {
                None if begun.is_some() => {
                    return Next::Refuse { status: 408, reason: "the request head did not come in time" };
                }
                None | Some(Ok(0) | Err(_)) => return Next::Ended,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads from the client until `deadline`, and drops an upstream that ends or speaks unasked meanwhile.
    async fn fill_watching(&mut self, deadline: Instant) -> Option<std::io::Result<usize>> {
        let Self { client, upstream, alarm, .. } = self;
        poll_fn(|cx| {
            if let Some((_, half)) = upstream
                && half.poll_fill(cx).is_ready()
            {
                *upstream = None;
            }
            match client.poll_fill(cx) {
                Poll::Ready(read) => Poll::Ready(Some(read)),
                Poll::Pending => alarm.poll(cx, deadline, None).map(|()| None),
            }
        })
        .await
    }

    async fn one(&mut self, head: RequestHead) -> After {
        match self.intended.clone() {
            // Rare beside requests in a tunnel, which need not keep room for it.
            Intended::Proxy => Box::pin(self.asked(head)).await,
            Intended::Origin { origin, silent, name } => {
                if head.target_form() == TargetForm::Authority {
                    return self.refuse(400, "CONNECT within a tunnel");
                }
                self.request(head, origin, silent, name).await
            }
        }
    }

    /// Names that disagree: the tunnel's, the certificate's, the request's.
    fn misdirected(&self, head: &RequestHead, origin: &Origin, name: Option<&str>) -> Option<String> {
        if let Some(name) = name.filter(|name| **name != *origin.host) {
            return Some(format!("the tunnel is for {}, the ClientHello names {name}", origin.host));
        }
        // RFC 9110, section 7.4: of a URL, the scheme is part of the identity.
        if let Some(scheme) = head.target_scheme().filter(|s| s.eq_ignore_ascii_case("https") != origin.secure) {
            let how = if origin.secure { "encrypted" } else { "in clear text" };
            return Some(format!("the connection to {} is {how}, the request names {scheme}", origin.host));
        }
        let host = head.host_field().unwrap_or_default();
        if host.is_empty() && head.minor_version() == 0 {
            return None;
        }
        (!origin.is_named(host))
            .then(|| format!("the connection is for {}, the request names another host", origin.host))
    }

    async fn request(&mut self, head: RequestHead, origin: Origin, silent: bool, name: Option<Arc<str>>) -> After {
        let shared = self.shared.clone();
        let (limits, deadlines) = (shared.limits, shared.deadlines);
        if let Some(observed) = self.misdirected(&head, &origin, name.as_deref()) {
            shared.note_connection(&self.peer, &origin.host, "audit.identity", Severity::High, 1.0, &observed);
            return self.refuse(421, "the names of tunnel, certificate and request disagree");
        }
        if origin.secure && self.requests == 1 {
            shared.trusted.insert((self.peer.address.ip(), origin.host.clone()), ());
        }
        let keep = head.keep_alive() && head.minor_version() > 0;
        let treatment = match shared.treat(&self.peer) {
            Ok(treatment) => treatment,
            Err(wait) => return self.too_many(&head, wait),
        };
        let framing = head.framing();
        let request = Request { host: origin.host.to_string(), port: origin.port, secure: origin.secure, head };
        let mut intake = Intake::new(&shared, &treatment, &self.peer, request, framing);
        let request = intake.request().clone();
        let head = &request.head;
        let mut state = RequestState::new(head, &limits);
        let release = match intake.begin() {
            Ok(release) => release,
            Err(refusal) => return self.withheld(&intake, &refusal, keep && state.done),
        };
        // The whole document is judged before its head may go; the client that asks first is answered by us.
        let mut continued = false;
        let held = intake.holds();
        let release = if release.head.is_some() {
            release
        } else {
            if head.expects_continue() {
                self.client.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                continued = true;
            }
            match collect(&mut self.client, &mut intake, &mut state, &deadlines).await {
                Ok(release) => release,
                Err(broken) => {
                    intake.nothing_left();
                    return self.broken(&mut intake, broken, keep);
                }
            }
        };
        let Release { head: edits, payload } = release;
        let edits = edits.unwrap_or_default();
        let upgrade = head.upgrade().is_some();
        let mut up = match self.upstream_for(&origin, silent).await {
            Ok(up) => up,
            Err(error) => {
                let body_complete = state.done;
                return self.broken(&mut intake, Broken::Upstream { error, body_complete }, keep);
            }
        };
        let written = up.written;
        let target = if matches!(self.intended, Intended::Proxy) { TargetOut::Origin } else { TargetOut::AsIs };
        let mut exchange = Exchange::new(
            &mut self.client,
            &mut up,
            &mut intake,
            head,
            &limits,
            &deadlines,
            &mut self.alarm,
            state,
            upgrade,
            continued,
        );
        exchange.start(&edits, &payload, target, held);
        match exchange.run().await {
            Ok(End::Done { keep_client, keep_upstream }) => {
                if keep_upstream {
                    up.release_buffers();
                    self.upstream = Some((origin, up));
                }
                if keep_client { After::Keep } else { After::Close }
            }
            Ok(End::Switched { head }) => {
                let extensions = head.get("sec-websocket-extensions").map(|v| String::from_utf8_lossy(v).into_owned());
                After::Upgraded(Box::new(Upgraded { intake, upstream: up, extensions }))
            }
            Err(broken) => {
                if up.written == written {
                    intake.nothing_left();
                }
                self.broken(&mut intake, broken, keep)
            }
        }
    }

    async fn upstream_for(&mut self, origin: &Origin, silent: bool) -> Result<Half, UpstreamError> {
        if let Some((error, at)) = self.failed.take()
            && at.elapsed() < FAILED
        {
            return Err(error);
        }
        if let Some((held, mut half)) = self.upstream.take() {
            if held == *origin {
                if pool::is_quiet(&mut half).await {
                    return Ok(half);
                }
            } else {
                self.shared.pool.put_http1(self.peer.address.ip(), &held, half);
            }
        }
        // Boxed: most requests need no other connection, and keep no room for reaching one.
        Box::pin(self.shared.reach_http1(&self.peer, origin, silent)).await
    }

    /// A user has sent as many requests as its group may.
    fn too_many(&mut self, head: &RequestHead, wait: Duration) -> After {
        self.shared.refused();
        let wait = wait.as_secs_f64().ceil().max(1.0).to_string();
        let keep = head.keep_alive() && head.framing() == Framing::None;
        let body = error_body("rate-limit", "too many requests: this group's limit is reached");
        let fields =
            [("content-type", "application/json"), ("x-divulge-error", "rate-limit"), ("retry-after", wait.as_str())];
        write_answer(&mut self.client.output, 429, &fields, &body, !keep, head.method() == "HEAD");
        if keep { After::Keep } else { After::Close }
    }

    fn refuse(&mut self, status: u16, reason: &str) -> After {
        self.shared.refused();
        self.answer(status, &[("x-divulge-error", "refused")], "refused", reason, true);
        After::Close
    }

    /// 403 in the shape of the API that the request was meant for.
    fn withheld(&mut self, intake: &Intake, refusal: &Refusal, keep: bool) -> After {
        let (content_type, body) = refusal.body(Refusal::shape_for(intake.request()));
        let reference = &intake.told().reference();
        let headers = [("x-divulge-block", refusal.reason), (told::FLOW, reference), ("content-type", content_type)];
        write_answer(&mut self.client.output, 403, &headers, &body, !keep, intake.request().head.method() == "HEAD");
        if keep { After::Keep } else { After::Close }
    }

    fn broken(&mut self, intake: &mut Intake, broken: Broken, keep: bool) -> After {
        match broken {
            Broken::ClientGone => After::Abort,
            Broken::Cut(reason) => {
                tracing::warn!(host = %intake.request().host, flow = %intake.meta().flow, reason, "exchange cut");
                After::Abort
            }
            Broken::Refuse { status, reason } => {
                self.answer(status, &[("x-divulge-error", "malformed-request")], "malformed-request", reason, true);
                After::Close
            }
            Broken::Withheld { refusal, body_complete } => self.withheld(intake, &refusal, keep && body_complete),
            Broken::Upstream { error, body_complete } => {
                tracing::warn!(host = %intake.request().host, flow = %intake.meta().flow, %error, "no answer from upstream");
                let keep = keep && body_complete;
                let word = error.fault.word();
                self.answer(error.fault.status(), &[("x-divulge-error", word)], word, &error.message, !keep);
                if keep { After::Keep } else { After::Close }
            }
        }
    }

    fn answer(&mut self, status: u16, headers: &[(&str, &str)], word: &str, message: &str, close: bool) {
        let body = error_body(word, message);
        let mut list = vec![("content-type", "application/json")];
        list.extend_from_slice(headers);
        write_answer(&mut self.client.output, status, &list, &body, close, false);
    }
}

impl Shared {
    /// An idle connection of this client to `origin`, or a fresh one.
    pub(super) async fn reach_http1(&self, peer: &Peer, origin: &Origin, silent: bool) -> Result<Half, UpstreamError> {
        if let Some(half) = self.pool.take_http1(peer.address.ip(), origin).await {
            return Ok(half);
        }
        let dialled = self.dial(origin, Offer::only(Version::Http1, silent)).await?;
        Ok(Half::new(dialled.wire))
    }
}

/// `http://host[:port]/…`
fn absolute_origin(target: &str) -> Option<Origin> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let (host, port) = split_authority(authority)?;
    Some(Origin { host: host.into(), port: port.unwrap_or(80), secure: false })
}

fn write_answer(out: &mut BytesMut, status: u16, headers: &[(&str, &str)], body: &[u8], close: bool, head_only: bool) {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    if close {
        head.push_str("connection: close\r\n");
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
    if !head_only {
        out.extend_from_slice(body);
    }
}

//! HTTP/2 on the `h2` crate: one upstream connection beside each client connection, one pump for both
//! directions of a stream. Everything that knows `h2` is in this folder.

mod download;
mod guard;
mod message;
mod stream;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Uri};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::alarm::Alarm;
use super::error::{UpstreamError, UpstreamFault};
use super::http1::Intended;
use super::stream::Wire;
use super::upstream::{Offer, Origin, Version};
use super::{Peer, Shared};
use crate::engine::Severity;

use guard::{Guarded, Marks};
use stream::Stream;

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
    marks: Marks,
    open: Arc<AtomicBool>,
}

impl UpstreamHandle {
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

/// Has the task of a connection run after all that are ready: what several streams have to write then leaves in one piece. Else
/// each stream's task would be followed by its connection's, and a few small frames by a system call.
#[derive(Default)]
struct Turn {
    come: bool,
}

impl Turn {
    fn last<T>(&mut self, cx: &mut Context<'_>, work: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if !self.come {
            self.come = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let done = work(cx);
        self.come = done.is_ready();
        done
    }
}

/// Speaks HTTP/2 on a fresh connection, and waits until the upstream's settings are known.
async fn connect(wire: Wire, deadline: Duration) -> Result<UpstreamHandle, UpstreamError> {
    let failed =
        |e: h2::Error| UpstreamError::new(UpstreamFault::Connect, format!("HTTP/2 with the upstream failed: {e}"));
    let guarded = Guarded::upstream(wire);
    let marks = guarded.marks();
    let work = async {
        let (send, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(HEADER_LIST)
            .max_concurrent_streams(STREAMS)
            .enable_push(false)
            .handshake::<_, Bytes>(guarded)
            .await
            .map_err(failed)?;
        let ping = connection.ping_pong();
        let open = Arc::new(AtomicBool::new(true));
        let closed = open.clone();
        tokio::spawn(async move {
            let mut turn = Turn::default();
            if let Err(error) = poll_fn(|cx| turn.last(cx, |cx| Pin::new(&mut connection).poll(cx))).await {
                tracing::debug!(%error, "HTTP/2 upstream connection ended");
            }
            closed.store(false, Ordering::Relaxed);
        });
        // No event says that SETTINGS have come; the answer to a PING comes after them.
        if let Some(mut ping) = ping {
            ping.ping(h2::Ping::opaque()).await.map_err(failed)?;
        }
        let extended = send.is_extended_connect_protocol_enabled();
        Ok(UpstreamHandle { send, extended, marks, open })
    };
    timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(UpstreamError::new(UpstreamFault::Timeout, "no HTTP/2 settings within the deadline")))
}

/// A fresh connection to an origin that has chosen HTTP/2 before.
async fn dial(shared: &Shared, origin: &Origin) -> Result<UpstreamHandle, UpstreamError> {
    let dialled = shared.dial(origin, Offer::only(Version::Http2, false)).await?;
    if dialled.version() != Version::Http2 {
        return Err(UpstreamError::new(UpstreamFault::Connect, "the upstream no longer speaks HTTP/2"));
    }
    connect(dialled.wire, shared.deadlines.connect).await
}

/// What the streams of one client connection share.
struct Link {
    shared: Arc<Shared>,
    peer: Peer,
    origin: Origin,
    name: Option<Arc<str>>,
    upstream: Mutex<Option<UpstreamHandle>>,
}

impl Link {
    /// The upstream's connection where it is open, as it is for all but a few streams.
    fn open_handle(&self) -> Option<UpstreamHandle> {
        self.upstream.try_lock().ok()?.as_ref().filter(|handle| handle.is_open()).cloned()
    }

    async fn handle(&self) -> Result<UpstreamHandle, UpstreamError> {
        let mut slot = self.upstream.lock().await;
        if let Some(handle) = slot.as_ref().filter(|handle| handle.is_open()) {
            return Ok(handle.clone());
        }
        let handle = dial(&self.shared, &self.origin).await?;
        *slot = Some(handle.clone());
        Ok(handle)
    }

    fn misdirected(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        if let Some(name) = self.name.as_deref().filter(|name| **name != *self.origin.host) {
            return Some(format!("the tunnel is for {}, the ClientHello names {name}", self.origin.host));
        }
        // The library drops the scheme where there is no authority.
        if let Some(scheme) = uri.scheme_str().filter(|scheme| !scheme.eq_ignore_ascii_case("https")) {
            return Some(format!("the connection to {} is encrypted, the request names {scheme}", self.origin.host));
        }
        let fits = |text: &str| self.origin.is_named(text);
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
    // Boxed: what it takes to connect is not kept while streams come and go.
    let handle = match upstream {
        Some(Ok(wire)) => Box::pin(connect(wire, shared.deadlines.connect)).await,
        Some(Err(error)) => Err(error),
        None => match shared.pool.take_http2(peer.address.ip(), &origin) {
            Some(handle) => Ok(handle),
            None => Box::pin(dial(&shared, &origin)).await,
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
    let guarded = Guarded::client(client, shared.deadlines.head);
    let marks = guarded.marks();
    let Ok(Ok(mut connection)) = timeout(shared.deadlines.head, builder.handshake::<_, Bytes>(guarded)).await else {
        return;
    };
    marks.watch();
    let link = Arc::new(Link {
        shared: shared.clone(),
        peer: peer.clone(),
        origin: origin.clone(),
        name,
        upstream: Mutex::new(handle),
    });
    let mut streams = JoinSet::new();
    let mut requests = 0u64;
    let (mut turn, mut alarm) = (Turn::default(), Alarm::default());
    let mut rested = Instant::now();
    loop {
        let accepted = poll_fn(|cx| {
            turn.last(cx, |cx| {
                while let Poll::Ready(Some(_)) = streams.poll_join_next(cx) {
                    rested = Instant::now();
                }
                match (connection.poll_accept(cx), marks.refusal()) {
                    (Poll::Ready(accepted), _) => Poll::Ready(Ok(accepted)),
                    (Poll::Pending, Some(reason)) => Poll::Ready(Err(reason)),
                    (Poll::Pending, None) if streams.is_empty() => {
                        ready!(alarm.poll(cx, rested + shared.deadlines.idle, None));
                        Poll::Ready(Err(Reason::NO_ERROR))
                    }
                    (Poll::Pending, None) => Poll::Pending,
                }
            })
        });
        let accepted = match accepted.await {
            Ok(accepted) => accepted,
            Err(reason) => {
                match reason {
                    // Nothing came for too long: ended in good order.
                    Reason::NO_ERROR => connection.graceful_shutdown(),
                    reason => connection.abrupt_shutdown(reason),
                }
                let _ = timeout(Duration::from_secs(1), poll_fn(|cx| connection.poll_closed(cx))).await;
                break;
            }
        };
        match accepted {
            None => break,
            Some(Err(error)) => {
                tracing::debug!(host = %origin.host, %error, "HTTP/2 client connection ended");
                break;
            }
            Some(Ok((_, mut respond))) if marks.take_fragment(respond.stream_id().as_u32()) => {
                tracing::debug!(host = %origin.host, "HTTP/2 request refused: a fragment in :path");
                respond.send_reset(Reason::PROTOCOL_ERROR);
            }
            Some(Ok((request, respond))) => {
                if requests == 0 {
                    shared.trusted.insert((peer.address.ip(), origin.host.clone()), ());
                }
                requests += 1;
                // Boxed: a task's future is moved whole several times, before it runs and once it has.
                streams.spawn(Box::pin(Stream::serve(link.clone(), marks.clone(), request, respond, failed.take())));
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn the_task_of_a_connection_runs_after_those_that_are_ready() {
        let ran = Rc::new(RefCell::new(Vec::new()));
        let tasks = tokio::task::LocalSet::new();
        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let told = ran.clone();
        tasks.spawn_local(async move {
            let (mut turn, mut woken) = (Turn::default(), woken);
            let _ = poll_fn(|cx| {
                turn.last(cx, |cx| {
                    told.borrow_mut().push("connection");
                    Pin::new(&mut woken).poll(cx)
                })
            })
            .await;
        });
        let told = ran.clone();
        tasks.spawn_local(async move {
            // Nothing has come for the connection yet.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            told.borrow_mut().push("first stream");
            let _ = wake.send(());
            let told = told.clone();
            tokio::task::spawn_local(async move { told.borrow_mut().push("second stream") });
        });
        tasks.await;
        assert_eq!(*ran.borrow(), ["connection", "first stream", "second stream", "connection"]);
    }
}

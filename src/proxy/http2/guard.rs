//! A peer's bytes on their way to the HTTP/2 library, with the frames counted off: what it would take and should not
//! ends the stream or the connection, and a head of a client that has begun must end within its deadline.
//!
//! A connection that is served ends with GOAWAY (RFC 9113, section 5.4.1), which only the library can write: its reading
//! stands still then, and whoever serves it asks for the reason.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::super::stream::Wire;
use crate::wire::Side;
use crate::wire::frames::FrameWatch;

/// The streams of one connection that hold what the library has dropped when it hands them on, and why it is refused itself.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Marked>);

#[derive(Debug, Default)]
struct Marked {
    streams: Mutex<Streams>,
    /// One of the constants below, or a reason's code.
    refused: AtomicU32,
}

/// Nobody asks whether the connection is refused: it fails.
const UNWATCHED: u32 = 0;
const WATCHED: u32 = u32::MAX;

#[derive(Debug, Default)]
struct Streams {
    /// Their `:path` held a fragment.
    fragments: Vec<u32>,
    /// They have pseudo-headers where none may be.
    malformed: BTreeSet<u32>,
}

impl Marks {
    /// Most streams that are kept for somebody who asks; the library refuses some by itself, and nobody asks for those.
    const MOST: usize = 4096;

    /// Whether that stream's path held a fragment. Asked once for each.
    pub fn take_fragment(&self, stream: u32) -> bool {
        let mut marked = self.lock();
        let found = marked.fragments.contains(&stream);
        // Streams are handed on in their order: those before were refused by the library itself.
        marked.fragments.retain(|of| *of > stream);
        found
    }

    /// Whether a head or the trailers of that stream, as far as they came, hold pseudo-headers that may not be there.
    pub fn take_malformed(&self, stream: u32) -> bool {
        self.lock().malformed.remove(&stream)
    }

    /// From now on somebody asks for [`refusal`](Self::refusal) whenever there was nothing to read.
    pub fn watch(&self) {
        _ = self.0.refused.compare_exchange(UNWATCHED, WATCHED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Why the connection must end, if it must.
    pub fn refusal(&self) -> Option<Reason> {
        let code = self.0.refused.load(Ordering::Relaxed);
        (code != UNWATCHED && code != WATCHED).then(|| code.into())
    }

    /// Whether somebody will see to it.
    fn refuse(&self, reason: Reason) -> bool {
        _ = self.0.refused.compare_exchange(WATCHED, reason.into(), Ordering::Relaxed, Ordering::Relaxed);
        self.refusal().is_some()
    }

    fn note(&self, watch: &mut FrameWatch) {
        let fragments: Vec<u32> = watch.fragments().collect();
        let malformed: Vec<u32> = watch.malformed().collect();
        if fragments.is_empty() && malformed.is_empty() {
            return;
        }
        let mut marked = self.lock();
        marked.fragments.extend(fragments);
        marked.malformed.extend(malformed);
        while marked.malformed.len() > Self::MOST {
            marked.malformed.pop_first();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Guarded {
    io: Wire,
    watch: FrameWatch,
    marks: Marks,
    violated: Option<&'static str>,
    /// How long a head may take, from its first byte.
    head: Option<Duration>,
    /// For the head under way, by its number.
    timer: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Guarded {
    pub fn client(io: Wire, head: Duration) -> Self {
        Self::new(io, Side::Client, Some(head))
    }

    /// The deadline of an upstream's heads is that of the response.
    pub fn upstream(io: Wire) -> Self {
        Self::new(io, Side::Server, None)
    }

    fn new(io: Wire, side: Side, head: Option<Duration>) -> Self {
        Self { io, watch: FrameWatch::of(side), marks: Marks::default(), violated: None, head, timer: None }
    }

    pub fn marks(&self) -> Marks {
        self.marks.clone()
    }

    /// Ready once the head under way has taken too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((number, head)) = self.watch.head_under_way().zip(self.head) else {
            self.timer = None;
            return Poll::Pending;
        };
        if self.timer.as_ref().is_none_or(|(of, _)| *of != number) {
            self.timer = Some((number, Box::pin(tokio::time::sleep(head))));
        }
        self.timer.as_mut().map_or(Poll::Pending, |(_, timer)| timer.as_mut().poll(cx))
    }
}

impl Guarded {
    /// Nothing is read any more.
    fn refused(&self, reason: Reason, kind: io::ErrorKind, text: &'static str) -> Poll<io::Result<()>> {
        if self.marks.refuse(reason) { Poll::Pending } else { Poll::Ready(Err(io::Error::new(kind, text))) }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(text) = this.violated {
            return this.refused(Reason::PROTOCOL_ERROR, io::ErrorKind::InvalidData, text);
        }
        // Also where bytes keep coming: a head that drips does not push its deadline on.
        if this.poll_overdue(cx).is_ready() {
            let text = "a request head did not come in time";
            return this.refused(Reason::ENHANCE_YOUR_CALM, io::ErrorKind::TimedOut, text);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let passed = this.watch.pass(&buf.filled()[before..]);
        this.marks.note(&mut this.watch);
        if let Err(violation) = passed {
            tracing::debug!(reason = violation.reason, "HTTP/2 peer refused");
            this.violated = Some(violation.reason);
            buf.set_filled(before + violation.passed);
            if violation.passed == 0 {
                return this.refused(Reason::PROTOCOL_ERROR, io::ErrorKind::InvalidData, violation.reason);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

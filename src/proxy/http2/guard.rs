//! The client's bytes on their way to the HTTP/2 library, with the frames counted off: what it would take and should not
//! ends the connection, and a head that has begun must end within its deadline.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::super::stream::Wire;
use crate::wire::frames::FrameWatch;

/// The streams whose `:path` held a fragment, which the library has dropped when it hands a request on.
#[derive(Clone, Debug, Default)]
pub struct Fragments(Arc<Mutex<Vec<u32>>>);

impl Fragments {
    /// Whether that stream is one of them. Asked once for each.
    pub fn take(&self, stream: u32) -> bool {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = streams.contains(&stream);
        // Streams are handed on in their order: those before were refused by the library itself.
        streams.retain(|of| *of > stream);
        found
    }

    fn add(&self, more: impl Iterator<Item = u32>) {
        let mut more = more.peekable();
        if more.peek().is_some() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
        }
    }
}

pub struct Guarded {
    io: Wire,
    watch: FrameWatch,
    fragments: Fragments,
    violated: Option<&'static str>,
    /// How long a head may take, from its first byte.
    head: Duration,
    /// For the head under way, by its number.
    timer: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Guarded {
    pub fn new(io: Wire, head: Duration) -> Self {
        let watch = FrameWatch::default();
        Self { io, watch, fragments: Fragments::default(), violated: None, head, timer: None }
    }

    pub fn fragments(&self) -> Fragments {
        self.fragments.clone()
    }

    /// Ready once the head under way has taken too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(number) = self.watch.head_under_way() else {
            self.timer = None;
            return Poll::Pending;
        };
        if self.timer.as_ref().is_none_or(|(of, _)| *of != number) {
            self.timer = Some((number, Box::pin(tokio::time::sleep(self.head))));
        }
        self.timer.as_mut().map_or(Poll::Pending, |(_, timer)| timer.as_mut().poll(cx))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(reason) = this.violated {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        // Also where bytes keep coming: a head that drips does not push its deadline on.
        if this.poll_overdue(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a request head did not come in time")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let passed = this.watch.pass(&buf.filled()[before..]);
        this.fragments.add(this.watch.fragments());
        if let Err(violation) = passed {
            tracing::debug!(reason = violation.reason, "HTTP/2 client refused");
            this.violated = Some(violation.reason);
            buf.set_filled(before + violation.passed);
            if violation.passed == 0 {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation.reason)));
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

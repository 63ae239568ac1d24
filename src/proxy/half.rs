//! One side of an exchange: a stream with what was read from it and what waits to be written to it.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::stream::Wire;

/// Most bytes that wait in one direction: reading stops while the other side has not taken so many.
pub const WINDOW: usize = 64 * 1024;
/// A whole TLS record.
const READ: usize = 16 * 1024;
/// Who sends so much at once probably sends more.
const BULK: usize = READ / 2;

pub struct Half {
    pub io: Wire,
    pub input: BytesMut,
    pub output: BytesMut,
    /// The peer has ended its stream.
    pub eof: bool,
    /// Bytes written so far.
    pub written: u64,
    /// Written to since the last flush: TLS may hold bytes of it back.
    dirty: bool,
    /// The last read brought much, and so may the next.
    bulk: bool,
    /// The last read found nothing, and everything that TLS had was taken before.
    dry: bool,
    /// Buffers have become larger than a read since they were last given back.
    grown: bool,
    /// How reading ended behind bytes that had come before.
    failed: Option<io::Error>,
}

/// What comes behind bytes that were read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Nothing for now: the waker is set.
    Silence,
    Unknown,
}

impl Half {
    pub fn new(io: Wire) -> Self {
        Self {
            io,
            input: BytesMut::new(),
            output: BytesMut::new(),
            eof: false,
            written: 0,
            dirty: false,
            bulk: false,
            dry: false,
            grown: false,
            failed: None,
        }
    }

    /// Reads once. `Ok(0)` is the peer's clean end; over TLS an end without close_notify is an error.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        // Asking the socket takes less than half of what asking TLS takes.
        if self.dry && self.io.poll_silent(cx) {
            return Poll::Pending;
        }
        let read = self.poll_read(cx);
        self.dry = read.is_pending();
        let n = ready!(read)?;
        if n == 0 {
            self.eof = true;
        }
        self.bulk = n >= BULK;
        Poll::Ready(Ok(n))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() && !self.bulk {
            // An idle connection owns no buffer: read on the stack, then keep what has come.
            let mut space = [MaybeUninit::<u8>::uninit(); READ];
            let mut buf = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            self.input.extend_from_slice(buf.filled());
            Poll::Ready(Ok(buf.filled().len()))
        } else {
            self.input.reserve(READ);
            pin!(self.io.read_buf(&mut self.input)).poll(cx)
        }
    }

    /// Reads as much of a large body as is there and fits, or once of a small one, and says what follows. `Ok(0)` and errors
    /// are as those of [`Half::poll_fill`]; behind bytes that came they are told by the next call.
    pub fn poll_fill_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(usize, Next)>> {
        let mut all = 0;
        loop {
            self.grown |= all > 0;
            match self.poll_fill(cx) {
                Poll::Pending if all > 0 => return Poll::Ready(Ok((all, Next::Silence))),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) if all > 0 => {
                    self.failed = Some(error);
                    return Poll::Ready(Ok((all, Next::Unknown)));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(n)) => {
                    all += n;
                    if n > 0 && n < BULK {
                        self.dry = self.io.poll_silent(cx);
                        return Poll::Ready(Ok((all, if self.dry { Next::Silence } else { Next::Unknown })));
                    }
                    if n == 0 || self.input.len() >= WINDOW {
                        return Poll::Ready(Ok((all, Next::Unknown)));
                    }
                }
            }
        }
    }

    /// Writes what waits. Ready when nothing waits any more, neither here nor in TLS.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.output))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(n);
            self.written += n as u64;
            self.dirty = true;
        }
        if self.dirty {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    pub async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    pub async fn drain(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_drain(cx)).await
    }

    /// Gives back the memory of empty buffers, before the connection waits for its next request.
    pub fn release_buffers(&mut self) {
        self.release_input();
        self.release_output();
    }

    /// What came in large pieces comes in small ones now, and the buffers are still those of the large: says so once.
    pub fn is_overgrown(&mut self) -> bool {
        !self.bulk && std::mem::take(&mut self.grown)
    }

    pub fn release_input(&mut self) {
        self.bulk = false;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    pub fn release_output(&mut self) {
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
    }

    /// Ends our side, then reads for a moment so that the peer gets the last answer before a reset.
    pub async fn close_lingering(&mut self) {
        use tokio::io::AsyncWriteExt;
        let ended = async {
            self.drain().await?;
            self.io.shutdown().await?;
            let mut rest = 256 * 1024;
            loop {
                self.input.clear();
                let n = self.fill().await?;
                if n == 0 || n >= rest {
                    return Ok::<(), io::Error>(());
                }
                rest -= n;
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), ended).await;
    }
}

//! WebSockets over HTTP/2 (RFC 8441): a stream as a stream of bytes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The two halves of an HTTP/2 stream as one stream of bytes.
pub struct Tunnel {
    pub recv: RecvStream,
    pub send: SendStream<Bytes>,
    pub left: Bytes,
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.left.is_empty() {
            match std::task::ready!(this.recv.poll_data(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(std::io::Error::other(error))),
                Some(Ok(data)) => {
                    let _ = this.recv.flow_control().release_capacity(data.len());
                    this.left = data;
                }
            }
        }
        let count = this.left.len().min(into.remaining());
        into.put_slice(&this.left[..count]);
        this.left.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        this.send.reserve_capacity(bytes.len());
        match std::task::ready!(this.send.poll_capacity(context)) {
            Some(Ok(granted)) => {
                let count = granted.min(bytes.len());
                this.send.send_data(Bytes::copy_from_slice(&bytes[..count]), false).map_err(std::io::Error::other)?;
                Poll::Ready(Ok(count))
            }
            Some(Err(error)) => Poll::Ready(Err(std::io::Error::other(error))),
            None => Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let _ = self.get_mut().send.send_data(Bytes::new(), true);
        Poll::Ready(Ok(()))
    }
}

//! The byte streams that the proxy carries, as two flat enums: one match instead of a virtual call, and one
//! type for every phase of a connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use super::presence::Presence;

/// What a client's bytes come in.
pub enum Carrier {
    Tcp(TcpStream),
    /// TLS to the proxy itself.
    Tls(Box<server::TlsStream<TcpStream>>),
}

impl Carrier {
    fn tcp(&self) -> &TcpStream {
        match self {
            Carrier::Tcp(tcp) => tcp,
            Carrier::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl From<TcpStream> for Carrier {
    fn from(tcp: TcpStream) -> Self {
        Carrier::Tcp(tcp)
    }
}

impl From<Box<server::TlsStream<TcpStream>>> for Carrier {
    fn from(tls: Box<server::TlsStream<TcpStream>>) -> Self {
        Carrier::Tls(tls)
    }
}

/// A client's socket: bytes that an earlier phase read too far come first, and what a ClientHello took can
/// be kept so that a tunnel sends exactly what the client sent.
pub struct ClientSocket {
    carrier: Carrier,
    ahead: Bytes,
    record: Option<BytesMut>,
}

impl ClientSocket {
    pub fn new(carrier: impl Into<Carrier>, ahead: Bytes) -> Self {
        Self { carrier: carrier.into(), ahead, record: None }
    }

    /// From now on keeps a copy of what is read.
    pub fn start_recording(&mut self) {
        self.record = Some(BytesMut::new());
    }

    /// What was read since [`Self::start_recording`].
    pub fn stop_recording(&mut self) -> Bytes {
        self.record.take().map(BytesMut::freeze).unwrap_or_default()
    }

    /// Who is at either end: the client, and we.
    pub fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let tcp = self.carrier.tcp();
        Ok((tcp.peer_addr()?, tcp.local_addr()?))
    }

    /// The socket, where nothing lies between it and us.
    fn socket(&self) -> Option<&TcpStream> {
        match &self.carrier {
            Carrier::Tcp(tcp) if self.ahead.is_empty() => Some(tcp),
            _ => None,
        }
    }

    /// What carries the bytes, and what was read ahead of it.
    pub fn into_parts(self) -> (Carrier, Bytes) {
        (self.carrier, self.ahead)
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.carrier).poll_read(cx, buf))?;
        } else {
            let n = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..n]);
            self.ahead.advance(n);
        }
        if let Some(record) = &mut self.record {
            record.extend_from_slice(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.carrier).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.carrier).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(cx)
    }
}

/// What TLS towards an upstream runs on.
pub enum Transport {
    Tcp(TcpStream),
    /// TLS to a parent proxy, inside which the upstream's own TLS runs.
    ProxyTls(Box<client::TlsStream<TcpStream>>),
    /// The built-in upstream of `--offline`.
    Memory(DuplexStream),
}

impl Transport {
    /// The socket, where nothing lies between it and us.
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Transport::Tcp(tcp) => Some(tcp),
            Transport::ProxyTls(_) | Transport::Memory(_) => None,
        }
    }
}

/// Either side of an exchange.
pub enum Wire {
    ClientPlain(ClientSocket),
    ClientTls(Box<server::TlsStream<ClientSocket>>),
    UpstreamPlain(Transport),
    UpstreamTls(Box<client::TlsStream<Transport>>),
}

impl Wire {
    /// Whether the peer's last bytes ended with a TLS close_notify, or the stream is plain: only then is an
    /// end of file the end that the peer meant.
    pub fn is_tls(&self) -> bool {
        matches!(self, Wire::ClientTls(_) | Wire::UpstreamTls(_))
    }

    /// Whether nothing is there to be read, and the waker is set for when something is. False where only reading would tell.
    pub fn poll_silent(&self, cx: &mut Context<'_>) -> bool {
        // Only what was decrypted and not read yet keeps TLS from wanting more.
        let socket = match self {
            Wire::ClientPlain(client) => client.socket(),
            Wire::ClientTls(tls) => {
                Some(tls.get_ref()).filter(|(_, tls)| tls.wants_read()).and_then(|(io, _)| io.socket())
            }
            Wire::UpstreamPlain(transport) => transport.socket(),
            Wire::UpstreamTls(tls) => {
                Some(tls.get_ref()).filter(|(_, tls)| tls.wants_read()).and_then(|(io, _)| io.socket())
            }
        };
        socket.is_some_and(|socket| socket.poll_read_ready(cx).is_pending())
    }

    /// Whether the client at the other end is still there, where that can be known.
    pub fn presence(&self) -> Presence {
        let client = self.client();
        client.and_then(|client| client.ends().ok()).map_or(Presence::Unknown, |(peer, own)| Presence::of(peer, own))
    }

    /// Has the connection to the client end by a reset: where the end of the stream is the end of a body, and there
    /// is no TLS to tell one from the other, a body that was cut would look whole.
    pub fn reset_when_dropped(&self) {
        if let Wire::ClientPlain(client) = self {
            let _ = socket2::SockRef::from(client.carrier.tcp()).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    fn client(&self) -> Option<&ClientSocket> {
        match self {
            Wire::ClientPlain(client) => Some(client),
            Wire::ClientTls(stream) => Some(stream.get_ref().0),
            Wire::UpstreamPlain(_) | Wire::UpstreamTls(_) => None,
        }
    }
}

macro_rules! each {
    ($this:expr, $inner:ident => $call:expr, $($variant:path),+) => {
        match $this.get_mut() { $($variant($inner) => $call),+ }
    };
}

macro_rules! forward_io {
    ($type:ty, $($variant:path),+) => {
        impl AsyncRead for $type {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                each!(self, io => Pin::new(io).poll_read(cx, buf), $($variant),+)
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                each!(self, io => Pin::new(io).poll_write(cx, buf), $($variant),+)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                each!(self, io => Pin::new(io).poll_write_vectored(cx, bufs), $($variant),+)
            }

            fn is_write_vectored(&self) -> bool {
                match self { $($variant(io) => io.is_write_vectored()),+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self, io => Pin::new(io).poll_flush(cx), $($variant),+)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self, io => Pin::new(io).poll_shutdown(cx), $($variant),+)
            }
        }
    };
}

forward_io!(Carrier, Carrier::Tcp, Carrier::Tls);
forward_io!(Transport, Transport::Tcp, Transport::ProxyTls, Transport::Memory);
forward_io!(Wire, Wire::ClientPlain, Wire::ClientTls, Wire::UpstreamPlain, Wire::UpstreamTls);

//! How a client reaches the upstream: straight, or through divulge.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::authority::client_config;
use super::wire::{Stream, Wire, status};
use super::{Authority, Divulge, HOST, show};

/// Where to dial and whom to trust. The same client code takes either route, so that what differs at the
/// upstream is divulge's doing.
#[derive(Clone, Debug)]
pub struct Route {
    dial: SocketAddr,
    /// CONNECT through it first.
    proxy: bool,
    /// The only roots the client trusts: the upstream's own, or divulge's.
    roots: PathBuf,
    host: String,
    port: u16,
    source: Option<SocketAddr>,
}

impl Route {
    pub fn direct(upstream: SocketAddr, authority: &Authority) -> Self {
        Self { dial: upstream, proxy: false, roots: authority.file(), host: HOST.into(), port: 443, source: None }
    }

    pub fn through(divulge: &Divulge) -> Self {
        Self::to(divulge.address, divulge.ca_file())
    }

    /// Through a divulge that another process has started.
    pub fn to(address: SocketAddr, roots: PathBuf) -> Self {
        Self { dial: address, proxy: true, roots, host: HOST.into(), port: 443, source: None }
    }

    /// To another host than [`HOST`].
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// As another machine would come: from another address of loopback.
    pub fn from(mut self, address: &str) -> Self {
        self.source = Some(SocketAddr::new(address.parse().unwrap(), 0));
        self
    }

    /// Trusting other roots than the route's own.
    pub fn trusting(mut self, roots: PathBuf) -> Self {
        self.roots = roots;
        self
    }

    /// A TCP connection, tunnelled if the route goes through divulge.
    pub async fn tcp(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(source) = self.source {
            socket.bind(source).unwrap();
        }
        let stream = socket.connect(self.dial).await.expect("the route's first stop listens");
        stream.set_nodelay(true).unwrap();
        if !self.proxy {
            return stream;
        }
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        connect_through(stream, &format!("{host}:{}", self.port)).await
    }

    /// A TLS connection that offers `alpn`.
    pub async fn tls(&self, alpn: &[&str]) -> Wire {
        match self.try_tls(alpn).await {
            Ok(wire) => wire,
            Err(error) => panic!("the handshake with {} failed: {error}", self.host),
        }
    }

    pub async fn try_tls(&self, alpn: &[&str]) -> std::io::Result<Wire> {
        self.tls_over(self.tcp().await, alpn).await
    }

    /// TLS over a stream that is there already.
    pub async fn tls_over(&self, stream: impl Stream + 'static, alpn: &[&str]) -> std::io::Result<Wire> {
        let name = ServerName::try_from(self.host.clone()).expect("a host name");
        let config = client_config(&self.roots, alpn);
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Wire::new(stream, alpn.as_deref()))
    }

    /// An HTTP/1.1 connection.
    pub async fn http1(&self) -> Wire {
        self.tls(&["http/1.1"]).await
    }
}

/// Asks the proxy at the other end of `stream` for a tunnel to `target`.
pub async fn connect_through(stream: TcpStream, target: &str) -> TcpStream {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = stream;
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    // One byte at a time: what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let read = stream.read(&mut byte).await.unwrap_or(0);
        assert!(read == 1, "the proxy answered CONNECT with \"{}\" and closed", show(&head));
        head.push(byte[0]);
    }
    assert_eq!(status(&head), 200, "the proxy refused the tunnel: {}", show(&head));
    stream
}

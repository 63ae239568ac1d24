//! How a connection comes in: from a balancer that tells whose it is, over TLS to the proxy itself, as SOCKS5, or as HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::half::Half;
use super::http1::{self, Http1, Intended};
use super::stream::{ClientSocket, Wire};
use super::{Peer, Shared, socks};
use crate::access;

/// A connection fresh from the listener.
pub async fn accept(shared: Arc<Shared>, mut tcp: TcpStream, mut peer: Peer) {
    let _ = tcp.set_nodelay(true);
    let deadline = shared.deadlines.head;
    let known = async {
        introduced(&shared, &mut tcp, &mut peer).await?;
        // What is not let in learns nothing, not even that something listens for it.
        if !shared.gate.access.load().admits(peer.address.ip()) {
            tracing::debug!(address = %peer.address.ip(), "not among --allow-from: closed");
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let mut first = [0];
        match tcp.peek(&mut first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0]),
        }
    };
    let Ok(Ok(first)) = tokio::time::timeout(deadline, known).await else { return };
    match first {
        // Boxed, as all in a connection's tasks is that few connections need: a task is as large as the largest of its parts.
        socks::VERSION => Box::pin(socks::serve(shared, tcp, peer)).await,
        // A handshake record of TLS (RFC 8446, 5.1).
        0x16 if shared.gate.tls.load().is_some() => Box::pin(over_tls(shared, tcp, peer, deadline)).await,
        // Without a certificate of the proxy's own it is malformed HTTP, and hears so.
        _ => asked(shared, ClientSocket::new(tcp, Bytes::new()), peer).await,
    }
}

/// HTTP to a proxy.
async fn asked(shared: Arc<Shared>, socket: ClientSocket, peer: Peer) {
    let client = Half::new(Wire::ClientPlain(socket));
    http1::serve(Http1::new(shared, peer, client, Intended::Proxy, None)).await;
}

/// TLS to the proxy itself; a client certificate says who the client is.
async fn over_tls(shared: Arc<Shared>, tcp: TcpStream, mut peer: Peer, deadline: Duration) {
    let Some(config) = shared.gate.tls.load().as_ref().clone() else { return };
    let Ok(Ok(stream)) = tokio::time::timeout(deadline, TlsAcceptor::from(config).accept(tcp)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    if let Some(identity) = certificate.and_then(|certificate| access::of_certificate(certificate)) {
        peer.user = Some(shared.gate.user(&identity));
        peer.certified = true;
    }
    asked(shared, ClientSocket::new(Box::new(stream), Bytes::new()), peer).await;
}

/// The first twelve bytes of the PROXY protocol, version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses take 36 bytes; what follows them (TLVs) is not asked for.
const LONGEST: u16 = 2048;

/// Reads what a balancer says about the client. Others are who they are, and one that claims otherwise is no HTTP client.
async fn introduced(shared: &Shared, tcp: &mut TcpStream, peer: &mut Peer) -> io::Result<()> {
    let from = peer.address.ip().to_canonical();
    if !shared.gate.balancers.iter().any(|range| range.contains(&from)) {
        return Ok(());
    }
    let told = async {
        let mut head = [0; 16];
        tcp.read_exact(&mut head).await?;
        let length = u16::from_be_bytes([head[14], head[15]]);
        if head[..12] != SIGNATURE || head[12] >> 4 != 2 || length > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not the PROXY protocol, version 2"));
        }
        let mut rest = vec![0; usize::from(length)];
        tcp.read_exact(&mut rest).await?;
        source(head[12] & 15, head[13], &rest)
    };
    match told.await {
        Ok(Some(address)) => peer.address = address,
        // The balancer's own health check.
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(balancer = %from, %error, "a connection from --proxy-protocol-from does not begin as it should: closed");
            return Err(error);
        }
    }
    Ok(())
}

/// Where the client is, from the header's command, its family and the addresses; none where the balancer speaks for itself.
fn source(command: u8, family: u8, rest: &[u8]) -> io::Result<Option<SocketAddr>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the PROXY header is malformed");
    let port = |at: usize| rest.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or_else(wrong);
    match (command, family) {
        (0, _) => Ok(None),
        (1, 0x11) => {
            let ip: [u8; 4] = rest.get(..4).and_then(|b| b.try_into().ok()).ok_or_else(wrong)?;
            Ok(Some((IpAddr::from(ip), port(8)?).into()))
        }
        (1, 0x21) => {
            let ip: [u8; 16] = rest.get(..16).and_then(|b| b.try_into().ok()).ok_or_else(wrong)?;
            Ok(Some((IpAddr::from(ip).to_canonical(), port(32)?).into()))
        }
        // Neither TCP over IPv4 nor over IPv6: whose it is cannot be known.
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balancer_names_the_client() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x1f, 0x90];
        assert_eq!(source(1, 0x11, &v4).unwrap(), Some("192.0.2.7:12345".parse().unwrap()));
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 9;
        v6[32..34].copy_from_slice(&443u16.to_be_bytes());
        assert_eq!(source(1, 0x21, &v6).unwrap(), Some("[2001:db8::9]:443".parse().unwrap()));
        assert_eq!(source(0, 0, &[]).unwrap(), None);
        for (command, family, rest) in
            [(1, 0x11, &v4[..9]), (1, 0x21, &v4[..]), (1, 0x31, &v6[..]), (2, 0x11, &v4[..]), (1, 0, &[])]
        {
            assert!(source(command, family, rest).is_err(), "{command} {family:#x}");
        }
    }
}

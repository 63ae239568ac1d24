//! Connections of clients that know of no proxy: a rule of the system brought them here, and the system still knows where they
//! were meant to go. What they carry is told by the ClientHello, as in a tunnel.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::{Peer, Shared, Way, connection};

/// By which kind of rule connections come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// nftables `redirect` or `dnat`: the address was rewritten, and the system remembers it.
    Redirect,
    /// nftables `tproxy`: nothing was rewritten, the connection's own address is the one that was meant.
    Tproxy,
}

/// Accepts for ever; what is spawned ends with its connection.
pub async fn run(shared: Arc<Shared>, listener: TcpListener, rule: Rule) {
    let own = listener.local_addr().ok();
    loop {
        match listener.accept().await {
            Ok((tcp, address)) => {
                let peer = Peer::at(address, Way::Redirected);
                if !shared.gate.access.load().admits(address.ip()) {
                    tracing::debug!(address = %address.ip(), "redirected, and not among --allow-from: closed");
                    continue;
                }
                match meant(&tcp, rule) {
                    // Nothing redirected it: carried on, it would come back here.
                    Ok(meant) if Some(meant.port()) == own.map(|own| own.port()) && is_own(meant) => {
                        tracing::debug!(address = %address.ip(), "a connection to the transparent port itself: closed");
                    }
                    Ok(meant) => {
                        let host = meant.ip().to_canonical().to_string();
                        tokio::spawn(connection::redirected(shared.clone(), tcp, peer, host, meant.port()));
                    }
                    Err(error) => {
                        tracing::warn!(address = %address.ip(), %error, "where a redirected connection was meant to go is not known: closed");
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "no redirected connection could be accepted; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Only an address of this machine can be bound.
fn is_own(meant: SocketAddr) -> bool {
    std::net::UdpSocket::bind((meant.ip(), 0)).is_ok()
}

#[cfg(target_os = "linux")]
fn meant(tcp: &TcpStream, rule: Rule) -> io::Result<SocketAddr> {
    let local = tcp.local_addr()?;
    if rule == Rule::Tproxy {
        return Ok(local);
    }
    let socket = socket2::SockRef::from(tcp);
    let kept = if local.ip().to_canonical().is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    match kept {
        Ok(kept) => kept.as_socket().ok_or_else(|| io::Error::other("the system gave no address")),
        // The connection is not in the table of translations: nothing redirected it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(local),
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn meant(_: &TcpStream, _: Rule) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "redirected connections are taken on Linux alone"))
}

//! Whether a client that has ended its sending side is still there to read.
//!
//! On the wire both look the same: a FIN, and then silence. The kernel of this machine knows, though, of clients that
//! run on it: the other end of the connection is a socket that some process holds, or one that nobody does.

use std::net::SocketAddr;

use crate::sockets;

/// What is known of the client's end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// A process holds its socket: it may still read.
    Held,
    /// Closed: whatever is sent will be answered by a reset.
    Gone,
    /// Another machine, another network namespace, an address rewritten on the way, or no way to ask.
    Unknown,
}

impl Presence {
    /// Asks about the socket that is `peer` to us, connected to our `local`.
    pub fn of(peer: SocketAddr, local: SocketAddr) -> Self {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (peer, local) = (plain(peer), plain(local));
        if !peer.ip().is_loopback() && peer.ip() != local.ip() {
            return Presence::Unknown;
        }
        // None found may only mean that it knows us under another address.
        match sockets::inode(peer, local) {
            None => Presence::Unknown,
            Some(0) => Presence::Gone,
            Some(_) => Presence::Held,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_client_that_only_stopped_sending_is_told_from_one_that_left() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let local = server.local_addr().unwrap();
            assert_eq!(Presence::of(peer, local), Presence::Held, "{address}");
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(Presence::of(peer, local), Presence::Held, "{address}");
            drop(client);
            assert_eq!(Presence::of(peer, local), Presence::Gone, "{address}");
        }
    }

    #[test]
    fn of_other_machines_nothing_is_known() {
        let of = |peer: &str, local: &str| Presence::of(peer.parse().unwrap(), local.parse().unwrap());
        assert_eq!(of("192.0.2.1:50000", "192.0.2.2:8080"), Presence::Unknown);
        assert_eq!(of("[2001:db8::1]:50000", "[2001:db8::2]:8080"), Presence::Unknown);
    }
}

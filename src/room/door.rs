//! Where the connections of a room arrive that go around the proxy, with where they were meant to go.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use super::account::{Keeper, Way};
use super::dns::{Names, Resolver};

pub struct Door {
    listeners: Vec<TcpListener>,
    /// The kernel is asked for the destination; else it is the address that was met.
    translated: bool,
    keeper: Arc<Keeper>,
    resolver: Arc<Resolver>,
}

impl Door {
    pub(super) fn new(
        sockets: Vec<OwnedFd>,
        translated: bool,
        keeper: Arc<Keeper>,
        resolver: Arc<Resolver>,
    ) -> io::Result<Self> {
        let listeners: Result<_, _> = sockets.into_iter().map(|socket| TcpListener::from_std(socket.into())).collect();
        Ok(Self { listeners: listeners?, translated, keeper, resolver })
    }

    /// The next connection, and the address that it was meant for. Questions to a resolver over TCP are answered on the
    /// way and do not arrive here.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        const DNS: u16 = 53;
        loop {
            let stream = self.next().await?;
            let Ok(destination) = self.destination(&stream) else { continue };
            if destination.port() == DNS {
                tokio::spawn(self.resolver.clone().serve_connection(stream));
                continue;
            }
            self.keeper.connection(destination, Way::Redirected);
            return Ok((stream, destination));
        }
    }

    /// The name that a destination's address was invented for.
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        self.names().name_of(address)
    }

    fn names(&self) -> &Names {
        &self.resolver.names
    }

    async fn next(&self) -> io::Result<TcpStream> {
        std::future::poll_fn(|context| {
            for listener in &self.listeners {
                if let Poll::Ready(accepted) = listener.poll_accept(context) {
                    return Poll::Ready(accepted.map(|(stream, _)| stream));
                }
            }
            Poll::Pending
        })
        .await
    }

    fn destination(&self, stream: &TcpStream) -> io::Result<SocketAddr> {
        let met = stream.local_addr()?;
        if !self.translated {
            return Ok(met);
        }
        let socket = SockRef::from(stream);
        let meant = if met.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() }?;
        meant.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

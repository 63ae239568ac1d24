//! Accepts connections, and goes on when the system has none to give.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::loopback::unpaced;
use super::{Peer, Shared, Way, entry};

/// Binds, with a message that says what to do when the address is taken.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    bind_with(address, |_| Ok(()))
}

/// The same for a port to which TPROXY rules lead: it takes connections to addresses that are not this machine's.
#[cfg(target_os = "linux")]
pub fn bind_transparent(address: SocketAddr) -> io::Result<TcpListener> {
    bind_with(address, |socket| {
        // One flag for both families.
        socket.set_ip_transparent_v4(true).map_err(|error| {
            io::Error::new(error.kind(), format!("{address}: TPROXY needs the capability CAP_NET_ADMIN: {error}"))
        })
    })
}

#[cfg(not(target_os = "linux"))]
pub fn bind_transparent(_: SocketAddr) -> io::Result<TcpListener> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "TPROXY is of Linux alone"))
}

fn bind_with(address: SocketAddr, prepare: impl FnOnce(&socket2::Socket) -> io::Result<()>) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    prepare(&socket)?;
    // Connections that are accepted are as their listener is.
    unpaced(&socket, address);
    socket.bind(&address.into()).map_err(|error| explain(error, address))?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

fn explain(error: io::Error, address: SocketAddr) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "is in use by another program; stop it or choose another with --listen ADDR:PORT",
        io::ErrorKind::AddrNotAvailable => "is no address of this machine; choose one with --listen ADDR:PORT",
        io::ErrorKind::PermissionDenied => {
            "may not be used by this user; choose a port above 1023 with --listen ADDR:PORT"
        }
        _ => return io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")),
    };
    io::Error::new(error.kind(), format!("{address} {hint}"))
}

/// Accepts until `stop` resolves.
pub async fn run(shared: Arc<Shared>, listener: TcpListener, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let mut sweep = tokio::time::interval(Duration::from_secs(10));
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => match accepted {
                Ok((tcp, address)) => {
                    tokio::spawn(entry::accept(shared.clone(), tcp, Peer::at(address, Way::Asked)));
                }
                // One client that broke off early says nothing about the next.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!(%error, "no connection could be accepted; trying again");
                    // Out of descriptors: accepting at once again would only spin.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = sweep.tick() => shared.pool.sweep(),
        }
    }
}

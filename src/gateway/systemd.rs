//! A word with the service manager: ready, reloading, stopping (sd_notify), and sockets that it opened (socket activation).

use std::net::TcpListener;

/// Tells the service manager `state` (`READY=1`), where there is one that listens.
#[cfg(target_os = "linux")]
pub fn notify(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let send = || {
        let name = path.as_encoded_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(error) = send() {
        tracing::warn!(%error, "the service manager cannot be told: {}", state.lines().next().unwrap_or_default());
    }
}

#[cfg(not(target_os = "linux"))]
pub fn notify(_: &str) {}

/// `RELOADING=1` wants the time with it (sd_notify(3)).
#[cfg(target_os = "linux")]
pub fn reloading() {
    if let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) {
        let micros = now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000;
        notify(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }
}

#[cfg(not(target_os = "linux"))]
pub fn reloading() {}

/// The first socket that the service manager opened for us, if it did: the proxy's port.
pub fn passed_socket() -> Option<TcpListener> {
    listenfd::ListenFd::from_env().take_tcp_listener(0).ok().flatten()
}

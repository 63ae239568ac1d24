//! Connections within this machine.
//!
//! Where the system paces what it sends (BBR), the kernel sets a timer for every burst, and on a virtual machine that alone
//! can be a quarter of what a large body costs. Between two programs of one machine there is nothing to be paced for.

use std::net::SocketAddr;

use socket2::SockRef;

/// Has what is sent through `socket` to a peer on this machine leave at once. To be called before it is connected, or listens: a
/// connection that was ever paced stays so. `address` is the peer's, or the listener's own.
pub fn unpaced<'s>(socket: impl Into<SockRef<'s>>, address: SocketAddr) {
    if address.ip().to_canonical().is_loopback() {
        send_at_once(&socket.into());
    }
}

#[cfg(target_os = "linux")]
fn send_at_once(socket: &SockRef<'_>) {
    use std::sync::LazyLock;

    static PACES: LazyLock<bool> = LazyLock::new(|| {
        let default = std::fs::read("/proc/sys/net/ipv4/tcp_congestion_control");
        default.is_ok_and(|name| name.starts_with(b"bbr"))
    });
    if *PACES {
        // Every kernel has it and lets every process use it (tcp(7)).
        let _ = socket.set_tcp_congestion(b"reno");
    }
}

#[cfg(not(target_os = "linux"))]
fn send_at_once(_: &SockRef<'_>) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::SocketAddr;

    use socket2::{Domain, Socket, Type};

    use super::unpaced;

    #[test]
    fn what_leaves_this_machine_is_paced_as_the_system_says() {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let control = |socket: &Socket| {
            let name = socket.tcp_congestion().unwrap();
            String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()
        };
        let (near, far) = (socket(), socket());
        let system = control(&near);
        for (socket, to, expected) in [
            (&far, "192.0.2.1:443", system.as_str()),
            (&near, "127.0.0.1:443", if system.starts_with("bbr") { "reno" } else { &system }),
        ] {
            unpaced(socket, to.parse::<SocketAddr>().unwrap());
            assert_eq!(control(socket), expected, "{to}");
        }
    }
}

//! What the kernel knows of one TCP socket of this machine (sock_diag(7)). Its tables in `/proc/net` say the same, but skip
//! rows while sockets come and go.

use std::net::{IpAddr, SocketAddr};

/// The inode of the TCP socket that is bound to `own` and connected to `other`; 0 where no process holds it, none where there is
/// no such socket or no way to ask.
pub fn inode(own: SocketAddr, other: SocketAddr) -> Option<u32> {
    kernel::inode(own, other)
}

/// An address as four words of 32 bits in network order.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let mut words = [0; 16];
            words[..4].copy_from_slice(&ip.octets());
            words
        }
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::io::{Read, Write};
    use std::net::SocketAddr;

    use socket2::{Domain, Protocol, Socket, Type};

    use super::octets;

    // linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const IPPROTO_TCP: u8 = 6;
    const TCP_LISTEN: u8 = 10;
    /// Of the header of a message, of a request, and of the identity of a socket in both.
    const HEADER: usize = 16;
    const REQUEST: usize = 56;
    /// In an answer: behind its header the state is the second byte, the inode the last word.
    const STATE: usize = HEADER + 1;
    const INODE: usize = HEADER + 68;

    pub(super) fn inode(own: SocketAddr, other: SocketAddr) -> Option<u32> {
        let mut socket =
            Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG))).ok()?;
        // The kernel has answered when the request has been sent.
        socket.set_nonblocking(true).ok()?;
        socket.write_all(&request(own, other)).ok()?;
        let mut answer = [0; 512];
        let length = socket.read(&mut answer).ok()?;
        let answer = answer.get(..length)?;
        let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
        if kind != SOCK_DIAG_BY_FAMILY || *answer.get(STATE)? == TCP_LISTEN {
            return None;
        }
        Some(u32::from_ne_bytes(answer.get(INODE..INODE + 4)?.try_into().ok()?))
    }

    fn request(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + REQUEST);
        message.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
        message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.extend(NLM_F_REQUEST.to_ne_bytes());
        // Sequence number and sender.
        message.extend([0; 8]);
        // Family, protocol, no extensions, padding, any state.
        message.extend([if own.is_ipv4() { AF_INET } else { AF_INET6 }, IPPROTO_TCP, 0, 0]);
        message.extend(u32::MAX.to_ne_bytes());
        message.extend(own.port().to_be_bytes());
        message.extend(other.port().to_be_bytes());
        message.extend(octets(own.ip()));
        message.extend(octets(other.ip()));
        // Any interface, and no cookie.
        message.extend(0u32.to_ne_bytes());
        message.extend([0xff; 8]);
        message
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::net::SocketAddr;

    pub(super) fn inode(_: SocketAddr, _: SocketAddr) -> Option<u32> {
        None
    }
}

//! Reads what the tap of a room saw: the destinations of packets that no socket of ours answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::UdpSocket;

use super::account::{Keeper, Way};

/// Counts until the room is gone.
pub async fn count(tap: OwnedFd, proxy: SocketAddr, own: Option<IpAddr>, keeper: Arc<Keeper>) {
    // A packet socket is received from like any datagram socket, and nothing else is done with it.
    let Ok(tap) = UdpSocket::from_std(tap.into()) else { return };
    let mut packet = [0u8; 128];
    loop {
        match tap.recv(&mut packet).await {
            Ok(n) => note(Seen::of(&packet[..n]), proxy, own, &keeper),
            // The kernel drops what is too much; the device cannot go down while the room stands.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn note(seen: Option<Seen>, proxy: SocketAddr, own: Option<IpAddr>, keeper: &Keeper) {
    match seen {
        Some(Seen::Opens(destination)) if destination == proxy => keeper.connection(destination, Way::Explicit),
        // Redirected ones are counted where they are accepted, the command's own servers are its own affair.
        Some(Seen::Opens(_)) | None => {}
        Some(Seen::Datagram(destination, protocol)) => {
            let address = destination.ip();
            if !address.is_loopback() && Some(address) != own {
                keeper.datagram(destination, protocol);
            }
        }
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Seen {
    /// The first segment of a connection.
    Opens(SocketAddr),
    Datagram(SocketAddr, &'static str),
}

impl Seen {
    fn of(packet: &[u8]) -> Option<Self> {
        let (address, protocol, inside) = match packet.first()? >> 4 {
            4 => {
                let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
                let header = usize::from(packet[0] & 15) * 4;
                (IpAddr::from(Ipv4Addr::from(destination)), packet[9], packet.get(header..)?)
            }
            6 => {
                let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
                (IpAddr::from(Ipv6Addr::from(destination)), packet[6], packet.get(40..)?)
            }
            _ => return None,
        };
        let port = || inside.get(2..4).map(|port| u16::from_be_bytes([port[0], port[1]]));
        Some(match protocol {
            6 => Seen::Opens((address, port()?).into()),
            17 => Seen::Datagram((address, port()?).into(), "UDP"),
            132 => Seen::Datagram((address, port()?).into(), "SCTP"),
            // Only requests for an echo: the rest is the kernel's own.
            1 if inside.first() == Some(&8) => Seen::Datagram((address, 0).into(), "ICMP"),
            58 if inside.first() == Some(&128) => Seen::Datagram((address, 0).into(), "ICMP"),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_of_a_datagram_is_read_in_both_families() {
        let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 192, 0, 2, 7];
        packet.extend_from_slice(&[0x10, 0, 1, 187, 0, 8, 0, 0]);
        assert_eq!(Seen::of(&packet), Some(Seen::Datagram("192.0.2.7:443".parse().unwrap(), "UDP")));
        for cut in 0..packet.len() - 4 {
            assert_eq!(Seen::of(&packet[..cut]), None);
        }
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        packet.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        packet.extend_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend_from_slice(&[0x10, 0, 0, 123, 0, 8, 0, 0]);
        assert_eq!(Seen::of(&packet), Some(Seen::Datagram("[2001:db8::7]:123".parse().unwrap(), "UDP")));
    }
}

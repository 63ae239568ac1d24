//! Captured packets: pcapng and classic pcap, with the keys of their TLS, in.
//!
//! ```text
//! file -> packets -> segments -> two streams a connection -> (tls) -> HTTP/1.1 | HTTP/2 -> Exchange
//! ```
//!
//! Keys come from the file (Decryption Secrets Blocks) or from a key log of its own (`SSLKEYLOGFILE`). The ciphers are
//! those of the `proxy` feature's TLS library; without it encrypted connections are named and not read.

mod cipher;
mod http1;
mod http2;
mod keys;
mod net;
mod packets;
#[cfg(all(test, feature = "proxy"))]
mod sealed_tests;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;

use bytes::Bytes;

use self::keys::Keys;
use self::tcp::{Connection, Connections, Stream};
use super::damage::{Damage, Damages};
use super::flow::{Exchange, Millis};

pub(super) use packets::is_capture;

/// Gives every exchange of `file` to `each` in the order in which they began, and says what could not be read.
/// `key_log`: the text of a separate key log; keys in the file are found by themselves.
pub fn read(file: &Bytes, key_log: &[u8], each: &mut dyn FnMut(Exchange)) -> Vec<Damage> {
    let mut damages = Damages::new();
    let mut keys = Keys::default();
    keys.add(key_log);
    let mut connections = Connections::default();
    let mut counts = net::Counts::default();
    packets::read(file, &mut keys, &mut damages, &mut |packet| {
        if let Some(segment) = net::segment(&packet, &mut counts) {
            connections.add(segment, &packet);
        }
    });
    damages.entry = None;
    for (count, first, what) in counts.unread() {
        damages.lost_at(first, format!("{what}: {count} packets, not read"));
    }
    let mut all: Vec<(Option<Millis>, Exchange)> = Vec::new();
    for (number, connection) in (1..).zip(connections.list) {
        (damages.offset, damages.entry) = (connection.offset as u64, Some(number));
        let mut found = Vec::new();
        conversation(&connection, &keys, &mut damages, &mut found);
        // Within a connection the order is known, whatever its packets' times say.
        let mut latest = None;
        all.extend(found.into_iter().map(|exchange| {
            latest = latest.max(exchange.started);
            (latest, exchange)
        }));
    }
    all.sort_by_key(|&(started, _)| started);
    for (number, (_, mut exchange)) in (1u64..).zip(all) {
        exchange.id = number.to_string();
        each(exchange);
    }
    damages.into_list()
}

fn conversation(connection: &Connection, keys: &Keys, damages: &mut Damages, all: &mut Vec<Exchange>) {
    let [client, server] = connection.streams(damages);
    let place = Place {
        host: match connection.server.0 {
            std::net::IpAddr::V6(address) => format!("[{address}]"),
            std::net::IpAddr::V4(address) => address.to_string(),
        },
        port: connection.server.1,
        secure: false,
    };
    talk(client, server, &place, keys, 0, damages, all);
}

/// Where a conversation goes, as far as the packets tell: HTTP names the host itself.
#[derive(Clone, Debug)]
struct Place {
    host: String,
    port: u16,
    secure: bool,
}

/// Most bytes that may come out of a compression within a stream, so that none grows beyond what its capture is worth.
fn most_out(stream: &Stream) -> usize {
    (64 << 20) + 100 * stream.data.len()
}

/// Tunnels in tunnels; more are made by nobody.
const DEPTH: usize = 4;

/// Reads what two sides said to one another, whatever it is.
fn talk(
    client: Stream,
    server: Stream,
    place: &Place,
    keys: &Keys,
    depth: usize,
    damages: &mut Damages,
    all: &mut Vec<Exchange>,
) {
    if client.data.is_empty() && server.data.is_empty() {
        return;
    }
    if depth == DEPTH {
        damages.lost("tunnels in tunnels");
        return;
    }
    if tls::is_tls(&client.data) {
        match tls::decrypt(&client, &server, keys, damages) {
            Ok(plain) => {
                let place =
                    Place { host: plain.name.unwrap_or_else(|| place.host.clone()), secure: true, ..place.clone() };
                talk(plain.client, plain.server, &place, keys, depth + 1, damages, all);
            }
            Err(reason) => damages.lost(format!("an encrypted connection is not read: {reason}")),
        }
    } else if client.data.starts_with(http2::PREFACE) {
        http2::read(&client, &server, place, damages, all);
    } else if http1::is_request(&client.data) {
        if let Some(tunnel) = http1::read(&client, &server, place, damages, all) {
            talk(tunnel.client, tunnel.server, &tunnel.place, keys, depth + 1, damages, all);
        }
    } else {
        damages.lost(format!("a connection to port {} that is neither HTTP nor TLS from its start", place.port));
    }
}

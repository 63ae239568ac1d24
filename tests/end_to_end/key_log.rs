//! `SSLKEYLOGFILE`: the secrets of divulge's own TLS open packets that were captured on either side.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::divulge::BINARY;
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded};

const MACHINE: &str = "zephyr-7f3a.example.com";

/// What went over one connection, piece by piece: whether the client sent it, and the bytes.
type Pieces = Arc<Mutex<Vec<(bool, Vec<u8>)>>>;

/// Listens, and carries one connection to `to`, noting what goes over it.
async fn relay(to: SocketAddr) -> (SocketAddr, Pieces) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pieces = Pieces::default();
    let noted = pieces.clone();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(to).await.unwrap();
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        tokio::join!(
            carry(client_read, server_write, true, noted.clone()),
            carry(server_read, client_write, false, noted)
        );
    });
    (address, pieces)
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    from_client: bool,
    pieces: Pieces,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        pieces.lock().unwrap().push((from_client, buffer[..read].to_vec()));
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// The connection as a packet capture would have it: IPv4 without a link layer.
fn packets(pieces: &[(bool, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 101] {
        out.extend(word.to_le_bytes());
    }
    let mut next = [1000_u32, 5000];
    let mut packet = |from_client: bool, flags: u8, payload: &[u8]| {
        let (mine, theirs) = if from_client { (0, 1) } else { (1, 0) };
        let (ports, addresses) = ([40_000_u16, 443], [[192, 0, 2, 1], [192, 0, 2, 2]]);
        let total = 40 + payload.len() as u16;
        let mut bytes = vec![0x45, 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        bytes.extend(addresses[mine]);
        bytes.extend(addresses[theirs]);
        bytes.extend(ports[mine].to_be_bytes());
        bytes.extend(ports[theirs].to_be_bytes());
        bytes.extend(next[mine].to_be_bytes());
        bytes.extend(next[theirs].to_be_bytes());
        bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(payload);
        next[mine] += payload.len() as u32 + u32::from(flags & 2 != 0);
        for word in [1_764_201_600, 0, bytes.len() as u32, bytes.len() as u32] {
            out.extend(word.to_le_bytes());
        }
        out.extend(bytes);
    };
    packet(true, 0x02, &[]);
    packet(false, 0x12, &[]);
    for (from_client, bytes) in pieces {
        packet(*from_client, 0x18, bytes);
    }
    out
}

fn found(folder: &Path, capture: &str, keys: &str) -> String {
    let mut command = Command::new(BINARY);
    command.env_clear().env("HOME", folder).current_dir(folder);
    command.args(["inspect", "--state=state", "--facts=facts.json", "--findings=-", "--key-log", keys, capture]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn captured_packets_of_both_sides_are_opened_by_the_secrets() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let (upper, above) = relay(upstream.address).await;
        let serve = Divulge::serve().intercept("all").trusting(&authority).to(upper).facts(&[("host.fqdn", MACHINE)]);
        let keys = serve.beside("keys.log");
        // As a program that writes for everybody leaves it.
        std::fs::write(&keys, "").unwrap();
        let mut divulge = serve.variable("SSLKEYLOGFILE", keys.display().to_string()).start().await;
        divulge.wait_for_error("SSLKEYLOGFILE: the secrets of all TLS connections are written").await;
        let (lower, below) = relay(divulge.address).await;
        divulge.address = lower;
        let mut client = Route::through(&divulge).http1().await;
        let body = format!("{{\"host\":\"{MACHINE}\"}}");
        client
            .send(format!(
                "POST /v1/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        assert_eq!(client.response().await.status, 200);
        drop(client);
        assert!(divulge.terminate().await.success());

        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let folder = divulge.folder.path();
        std::fs::write(folder.join("none.log"), "").unwrap();
        for (side, pieces) in [("below.pcap", below), ("above.pcap", above)] {
            std::fs::write(folder.join(side), packets(&pieces.lock().unwrap())).unwrap();
            let opened = found(folder, side, "keys.log");
            assert!(opened.contains("\"location\":\"body!json:/host\""), "{side}: {opened}");
            assert!(!found(folder, side, "none.log").contains("body!json:/host"), "{side}: without the secrets");
        }
    });
}

//! `SSLKEYLOGFILE`: the secrets of divulge's own TLS open packets that were captured on either side.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::divulge::BINARY;
use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
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

/// The packets of the connection as a capture would have them: IPv4 without a link layer.
fn packets(pieces: &[(bool, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
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
        out.push(bytes);
    };
    packet(true, 0x02, &[]);
    packet(false, 0x12, &[]);
    for (from_client, bytes) in pieces {
        packet(*from_client, 0x18, bytes);
    }
    out
}

const SECONDS: u32 = 1_764_201_600;
const RAW_IP: u32 = 101;

fn put(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend(word.to_le_bytes()));
}

fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, RAW_IP]);
    for packet in packets {
        put(&mut out, &[SECONDS, 0, packet.len() as u32, packet.len() as u32]);
        out.extend(packet);
    }
    out
}

/// With the secrets in a block of their own, as `editcap --inject-secrets` puts them.
fn pcapng(packets: &[Vec<u8>], secrets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut block = |kind: u32, words: &[u32], data: &[u8]| {
        let padded = data.len().next_multiple_of(4);
        let length = (12 + 4 * words.len() + padded) as u32;
        put(&mut out, &[kind, length]);
        put(&mut out, words);
        out.extend(data);
        out.resize(out.len() + padded - data.len(), 0);
        put(&mut out, &[length]);
    };
    block(0x0a0d_0d0a, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX], &[]);
    block(1, &[RAW_IP, 262_144], &[]);
    block(10, &[0x544c_534b, secrets.len() as u32], secrets);
    let micros = u64::from(SECONDS) * 1_000_000;
    for packet in packets {
        let length = packet.len() as u32;
        block(6, &[0, (micros >> 32) as u32, micros as u32, length, length], packet);
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
        opened(&authority, upstream.address, async |divulge| {
            let mut client = Route::through(divulge).http1().await;
            let body = body();
            let length = body.len();
            client
                .send(format!(
                    "POST /v1/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                ))
                .await;
            assert_eq!(client.response().await.status, 200);
        })
        .await;
        let upstream = Http2Upstream::recording(&authority).await;
        opened(&authority, upstream.address, async |divulge| {
            let mut client = Http2::connect(&Route::through(divulge)).await;
            let ask = request("POST", "/v1/x", &[("content-type", "application/json")]);
            assert_eq!(client.exchange(ask, Some(body().as_bytes()), None).await.status, 200);
        })
        .await;
    });
}

fn body() -> String {
    format!("{{\"host\":\"{MACHINE}\"}}")
}

/// Captures on both sides what `talk` has to say, and opens it.
async fn opened(authority: &Authority, upstream: SocketAddr, talk: impl AsyncFnOnce(&Divulge)) {
    let (upper, above) = relay(upstream).await;
    let serve = Divulge::serve().intercept("all").trusting(authority).to(upper).facts(&[("host.fqdn", MACHINE)]);
    let keys = serve.beside("keys.log");
    // As a program that writes for everybody leaves it.
    std::fs::write(&keys, "").unwrap();
    let mut divulge = serve.variable("SSLKEYLOGFILE", keys.display().to_string()).start().await;
    divulge.wait_for_error("SSLKEYLOGFILE: the secrets of all TLS connections are written").await;
    let (lower, below) = relay(divulge.address).await;
    divulge.address = lower;
    talk(&divulge).await;
    assert!(divulge.terminate().await.success());

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let folder = divulge.folder.path();
    std::fs::write(folder.join("none.log"), "").unwrap();
    let secrets = std::fs::read(&keys).unwrap();
    for (side, pieces) in [("below", below), ("above", above)] {
        let packets = packets(&pieces.lock().unwrap());
        let (bare, with_secrets) = (format!("{side}.pcap"), format!("{side}.pcapng"));
        std::fs::write(folder.join(&bare), pcap(&packets)).unwrap();
        std::fs::write(folder.join(&with_secrets), pcapng(&packets, &secrets)).unwrap();
        for (file, keys) in [(&bare, "keys.log"), (&with_secrets, "none.log")] {
            let found = found(folder, file, keys);
            assert!(found.contains("\"location\":\"body!json:/host\""), "{file}: {found}");
        }
        assert!(!found(folder, &bare, "none.log").contains("body!json:/host"), "{side}: without the secrets");
    }
}

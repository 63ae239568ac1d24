//! A TLS server on loopback that answers every request with `ok`, for tests that show what clients think of
//! our certificates.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};

/// Serves until the test ends. Each connection is answered once and closed; handshakes that fail are dropped.
pub(crate) fn serve(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || answer(socket, config));
        }
    });
    address
}

fn answer(mut socket: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut tls = ServerConnection::new(config).ok()?;
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            n => request.extend_from_slice(&buffer[..n]),
        }
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        .ok()?;
    tls.send_close_notify();
    tls.write_tls(&mut socket).ok()?;
    Some(())
}

/// Whether `program` can be started here. Tests against other implementations are skipped where it cannot.
pub(crate) fn have(program: &str) -> bool {
    let found = std::process::Command::new(program)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("skipped: there is no {program} here");
    }
    found
}

/// A proxy that answers every CONNECT itself, under the certificate that `authority` has for the host named.
pub(crate) fn proxy(authority: super::Authority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let authority = Arc::new(authority);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let authority = authority.clone();
            std::thread::spawn(move || tunnel(socket, &authority));
        }
    });
    address
}

fn tunnel(mut socket: TcpStream, authority: &super::Authority) -> Option<()> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let (host, _) = target.rsplit_once(':')?;
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    answer(socket, authority.server_config(host, None).ok()?)
}

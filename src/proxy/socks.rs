//! SOCKS5 from a client (RFC 1928), with names or addresses, and user and password where they are asked for (RFC 1929).
//! CONNECT alone: what it opens is a tunnel like one that HTTP opened.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stream::ClientSocket;
use super::{Peer, Shared, connection};
use crate::config::split_authority;

pub const VERSION: u8 = 5;

const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

const SUCCEEDED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const COMMAND_UNKNOWN: u8 = 7;
const ADDRESS_UNKNOWN: u8 = 8;

pub async fn serve(shared: Arc<Shared>, mut tcp: TcpStream, mut peer: Peer) {
    let opened = tokio::time::timeout(shared.deadlines.head, open(&shared, &mut tcp, &mut peer)).await;
    match opened {
        Ok(Ok(Some((host, port)))) => {
            let socket = ClientSocket::new(tcp, Bytes::new());
            connection::tunnel(shared, peer, socket, host, port).await;
        }
        Ok(Ok(None)) => {
            // The refusal is read before the end.
            let _ = tcp.shutdown().await;
        }
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Where the client wants to go; none where it was refused.
async fn open(shared: &Shared, tcp: &mut TcpStream, peer: &mut Peer) -> io::Result<Option<(String, u16)>> {
    let methods = greeting(tcp).await?;
    let access = shared.gate.access.load_full();
    let method = if access.is_required() { USER_AND_PASSWORD } else { NO_AUTHENTICATION };
    if !methods.contains(&method) {
        tcp.write_all(&[VERSION, NONE_ACCEPTABLE]).await?;
        return Ok(None);
    }
    tcp.write_all(&[VERSION, method]).await?;
    if method == USER_AND_PASSWORD {
        let (user, password) = credentials(tcp).await?;
        let identity = match (std::str::from_utf8(&user), std::str::from_utf8(&password)) {
            (Ok(user), Ok(password)) => access.check_password(user, password).await,
            _ => None,
        };
        let Some(identity) = identity else {
            tcp.write_all(&[1, 1]).await?;
            return Ok(None);
        };
        tcp.write_all(&[1, 0]).await?;
        peer.user = Some(shared.gate.user(&identity));
    }
    let asked = request(tcp).await?;
    let reply = match &asked {
        Ok(_) => SUCCEEDED,
        Err(code) => *code,
    };
    // Bound to nothing that would concern the client: the tunnel is ours.
    tcp.write_all(&[VERSION, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok(asked.ok())
}

async fn greeting(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 2];
    tcp.read_exact(&mut head).await?;
    let mut methods = vec![0; usize::from(head[1])];
    tcp.read_exact(&mut methods).await?;
    Ok(methods)
}

async fn credentials(tcp: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    if tcp.read_u8().await? != 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not version 1 of RFC 1929"));
    }
    Ok((counted(tcp).await?, counted(tcp).await?))
}

/// One byte that counts, then so many.
async fn counted(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(tcp.read_u8().await?)];
    tcp.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// What the client asks for, or the code that refuses it.
async fn request(tcp: &mut TcpStream) -> io::Result<Result<(String, u16), u8>> {
    let mut head = [0; 4];
    tcp.read_exact(&mut head).await?;
    let [version, command, _, kind] = head;
    let host = match kind {
        1 => {
            let mut ip = [0; 4];
            tcp.read_exact(&mut ip).await?;
            Ipv4Addr::from(ip).to_string()
        }
        4 => {
            let mut ip = [0; 16];
            tcp.read_exact(&mut ip).await?;
            format!("[{}]", Ipv6Addr::from(ip))
        }
        3 => String::from_utf8(counted(tcp).await?).unwrap_or_default(),
        _ => return Ok(Err(ADDRESS_UNKNOWN)),
    };
    let port = tcp.read_u16().await?;
    if version != VERSION || command != 1 {
        return Ok(Err(COMMAND_UNKNOWN));
    }
    // A name is held to what a name may be, as in CONNECT.
    match split_authority(&host) {
        Some((host, None)) if port != 0 => Ok(Ok((host, port))),
        _ => Ok(Err(NOT_ALLOWED)),
    }
}

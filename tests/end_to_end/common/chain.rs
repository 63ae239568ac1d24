//! Small proxies that divulge is chained through: HTTP CONNECT and SOCKS5, both asking for credentials.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::wire::Wire;

/// A chained proxy; it takes every tunnel to one upstream and remembers what it was asked for.
pub struct Chain {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

/// What one tunnel was asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// `host:port` as the proxy was told it.
    pub target: String,
    /// `user:password`, decoded.
    pub credentials: String,
}

impl Chain {
    pub async fn http(upstream: SocketAddr) -> Self {
        Self::start(upstream, false).await
    }

    pub async fn socks5(upstream: SocketAddr) -> Self {
        Self::start(upstream, true).await
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    async fn start(upstream: SocketAddr, socks: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let log = log.clone();
                tunnels.spawn(async move {
                    let tunnel = if socks { take_socks5(stream).await } else { take_http(stream).await };
                    let Some((mut stream, asked)) = tunnel else { return };
                    log.lock().unwrap().push(asked);
                    let Ok(mut upward) = TcpStream::connect(upstream).await else { return };
                    let _ = copy_bidirectional(&mut stream, &mut upward).await;
                });
            }
        });
        Self { address, asked, _tasks: tasks }
    }
}

async fn take_http(stream: TcpStream) -> Option<(Box<dyn super::wire::Stream>, Asked)> {
    use base64::Engine;
    let mut wire = Wire::new(stream, None);
    let head = wire.head().await?;
    let line = super::wire::start_line(&head);
    let target = line.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1")?.to_owned();
    let credentials = super::wire::field(&head, "proxy-authorization").unwrap_or_default();
    let credentials = credentials.strip_prefix("Basic ").unwrap_or_default();
    let credentials = base64::engine::general_purpose::STANDARD.decode(credentials).unwrap_or_default();
    let credentials = String::from_utf8_lossy(&credentials).into_owned();
    if credentials.is_empty() {
        wire.send("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"chain\"\r\nContent-Length: 0\r\n\r\n").await;
        return None;
    }
    wire.send("HTTP/1.1 200 Connection established\r\n\r\n").await;
    Some((wire.into_parts().0, Asked { target, credentials }))
}

async fn take_socks5(mut stream: TcpStream) -> Option<(Box<dyn super::wire::Stream>, Asked)> {
    async fn exactly(stream: &mut TcpStream, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    }
    // Greeting (RFC 1928) and user name with password (RFC 1929).
    let greeting = exactly(&mut stream, 2).await?;
    let methods = exactly(&mut stream, usize::from(greeting[1])).await?;
    if !methods.contains(&2) {
        stream.write_all(&[5, 0xff]).await.ok()?;
        return None;
    }
    stream.write_all(&[5, 2]).await.ok()?;
    let user = exactly(&mut stream, 2).await?;
    let user = exactly(&mut stream, usize::from(user[1])).await?;
    let length = exactly(&mut stream, 1).await?;
    let password = exactly(&mut stream, usize::from(length[0])).await?;
    stream.write_all(&[1, 0]).await.ok()?;
    let request = exactly(&mut stream, 4).await?;
    let host = match request[3] {
        3 => {
            let length = exactly(&mut stream, 1).await?;
            String::from_utf8(exactly(&mut stream, usize::from(length[0])).await?).ok()?
        }
        1 => {
            let bytes: [u8; 4] = exactly(&mut stream, 4).await?.try_into().ok()?;
            std::net::Ipv4Addr::from(bytes).to_string()
        }
        _ => return None,
    };
    let port: [u8; 2] = exactly(&mut stream, 2).await?.try_into().ok()?;
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).await.ok()?;
    let credentials = format!("{}:{}", String::from_utf8_lossy(&user), String::from_utf8_lossy(&password));
    let target = format!("{host}:{}", u16::from_be_bytes(port));
    Some((Box::new(stream), Asked { target, credentials }))
}

//! Responses over a WebSocket (RFC 6455), begun over HTTP/1.1 or HTTP/2 (RFC 8441).
//!
//! No extension is accepted, so no message is compressed. A message is skimmed frame by frame as it
//! arrives and never held; answers are small. Answers wait for the client to take them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use std::sync::PoisonError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::Sockets;
use super::answer::{self, Reply};
use super::request::Asked;
use super::responses;
use super::skim::Skim;

/// Appended to the client's key (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Close codes (RFC 6455, 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL: u16 = 1002;
const UNSUPPORTED: u16 = 1003;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Whether the request asks for a WebSocket.
pub fn wanted<B>(request: &Request<B>) -> bool {
    if request.version() == Version::HTTP_2 {
        let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
        return request.method() == Method::CONNECT && protocol == Some("websocket");
    }
    request.method() == Method::GET && lists(request.headers(), header::UPGRADE, "websocket")
}

/// The value of `Sec-WebSocket-Accept` for a key.
pub fn accept_of(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Status and fields of the answer that accepts a WebSocket without extensions, or refuses it.
pub fn handshake<B>(request: &Request<B>) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    if request.version() == Version::HTTP_2 {
        return (StatusCode::OK, headers);
    }
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|_| version == Some(b"13")) else {
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return (StatusCode::UPGRADE_REQUIRED, headers);
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept_of(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    (StatusCode::SWITCHING_PROTOCOLS, headers)
}

/// Accepts the WebSocket; it is served beside the connection, in `sockets`.
pub fn accept(request: &mut Request<Incoming>, sockets: &Sockets) -> Reply {
    let (status, headers) = handshake(request);
    let mut reply = answer::empty(status);
    reply.headers_mut().extend(headers);
    if status == StatusCode::UPGRADE_REQUIRED {
        return reply;
    }
    let uri = request.uri().clone();
    let upgraded = hyper::upgrade::on(request);
    sockets.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            // The peer going away ends the socket like any other close.
            let _gone = Socket::new(TokioIo::new(upgraded), uri).serve().await;
        }
    });
    reply
}

fn lists(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// One frame's head, as a client sends it.
struct FrameHead {
    fin: bool,
    opcode: u8,
    length: u64,
    mask: [u8; 4],
}

/// What ends a socket: the connection, or a close code to send.
enum End {
    Gone,
    Close(u16),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

struct Socket<IO> {
    io: BufReader<IO>,
    uri: http::Uri,
    /// The message under way.
    message: Option<Skim>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    fn new(io: IO, uri: http::Uri) -> Self {
        Self { io: BufReader::with_capacity(16 * 1024, io), uri, message: None }
    }

    async fn serve(mut self) -> std::io::Result<()> {
        loop {
            match self.frame().await {
                Ok(()) => {}
                Err(End::Gone) => return Ok(()),
                Err(End::Close(code)) => {
                    self.send(CLOSE, &code.to_be_bytes()).await?;
                    return self.io.get_mut().shutdown().await;
                }
            }
        }
    }

    /// Takes one frame and answers what it completes.
    async fn frame(&mut self) -> Result<(), End> {
        let head = self.head().await?;
        match head.opcode {
            CLOSE | PING | PONG => self.control(&head).await,
            0..=2 => {
                // A message begins with its opcode and goes on with zero.
                if (head.opcode == 0) != self.message.is_some() {
                    return Err(End::Close(PROTOCOL));
                }
                if head.opcode > TEXT {
                    return Err(End::Close(UNSUPPORTED));
                }
                let mut message = self.message.take().unwrap_or_default();
                self.payload(&head, |bytes| message.push(bytes)).await?;
                if head.fin {
                    return self.answer(message).await;
                }
                self.message = Some(message);
                Ok(())
            }
            _ => Err(End::Close(PROTOCOL)),
        }
    }

    async fn head(&mut self) -> Result<FrameHead, End> {
        let (first, second) = (self.io.read_u8().await?, self.io.read_u8().await?);
        let length = match second & 0x7f {
            126 => u64::from(self.io.read_u16().await?),
            127 => self.io.read_u64().await?,
            short => u64::from(short),
        };
        let head = FrameHead { fin: first & 0x80 != 0, opcode: first & 0x0f, length, mask: [0; 4] };
        // Reserved bits belong to extensions, and none was accepted; a client masks every frame.
        let whole = head.opcode < CLOSE || (head.fin && length <= 125);
        if first & 0x70 != 0 || second & 0x80 == 0 || !whole || length > i64::MAX as u64 {
            return Err(End::Close(PROTOCOL));
        }
        let mut mask = [0; 4];
        self.io.read_exact(&mut mask).await?;
        Ok(FrameHead { mask, ..head })
    }

    async fn control(&mut self, head: &FrameHead) -> Result<(), End> {
        let mut payload = Vec::new();
        self.payload(head, |bytes| payload.extend_from_slice(bytes)).await?;
        match head.opcode {
            CLOSE => Err(End::Close(NORMAL)),
            PING => Ok(self.send(PONG, &payload).await?),
            _ => Ok(()),
        }
    }

    /// Hands on the unmasked payload piece by piece.
    async fn payload(&mut self, head: &FrameHead, mut piece: impl FnMut(&[u8])) -> Result<(), End> {
        let mut buffer = [0; 8 * 1024];
        let mut left = head.length;
        let mut masks = head.mask.iter().cycle();
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = self.io.read(&mut buffer[..most]).await?;
            if read == 0 {
                return Err(End::Gone);
            }
            let bytes = &mut buffer[..read];
            for (byte, mask) in bytes.iter_mut().zip(&mut masks) {
                *byte ^= mask;
            }
            piece(bytes);
            left -= read as u64;
        }
        Ok(())
    }

    async fn answer(&mut self, message: Skim) -> Result<(), End> {
        let bytes = message.bytes();
        let messages = match message.finish() {
            Ok(members) => responses::over_socket(&Asked { uri: self.uri.clone(), members, bytes }),
            Err(_) => vec![responses::fault_message(StatusCode::BAD_REQUEST, "The message is not valid JSON.")],
        };
        for message in messages {
            self.send(TEXT, message.to_string().as_bytes()).await?;
        }
        Ok(())
    }

    /// Sends one unmasked frame.
    async fn send(&mut self, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
        let mut frame = vec![0x80 | opcode];
        #[expect(clippy::cast_possible_truncation, reason = "each arm has checked the size")]
        match payload.len() {
            length @ 0..=125 => frame.push(length as u8),
            length @ 126..=0xffff => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        let io = self.io.get_mut();
        io.write_all(&frame).await?;
        io.flush().await
    }
}

//! One end of a connection, down to the bytes: heads and bodies as they came, and how the stream ended.

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A stream of any making: TCP, or TLS over it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A buffered HTTP/1.1 peer that interprets as little as it can.
pub struct Wire {
    pub stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// What ALPN chose.
    pub alpn: Option<String>,
    pub end: Option<End>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// As its sender meant it: `close_notify`, or FIN where there is no TLS.
    Clean,
    /// Without `close_notify`, or by a reset.
    Cut,
}

/// A body with the framing taken off, beside the bytes that stood on the wire.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Body {
    pub data: Vec<u8>,
    pub trailers: Vec<u8>,
    /// Its framing says that it is whole.
    pub complete: bool,
}

impl Wire {
    pub fn new(stream: impl Stream + 'static, alpn: Option<&[u8]>) -> Self {
        let alpn = alpn.map(|name| String::from_utf8_lossy(name).into_owned());
        Self { stream: Box::new(stream), buffer: Vec::new(), alpn, end: None }
    }

    pub async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the address listens");
        stream.set_nodelay(true).unwrap();
        Self::new(stream, None)
    }

    /// What was read past the last head, for whoever reads the stream next.
    pub fn into_parts(self) -> (Box<dyn Stream>, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Sends `bytes` at once. A peer that has gone is no error here: what the test waits for will say so.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Ends the sending side as TLS and TCP would have it.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads more; false once the stream has ended.
    pub async fn fill(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let before = self.buffer.len();
        self.buffer.reserve(64 * 1024);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => self.end = Some(End::Clean),
            Ok(_) => {}
            Err(_) => self.end = Some(End::Cut),
        }
        self.buffer.len() > before
    }

    /// Everything up to and with `mark`; none if the stream ends before.
    pub async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        let mut searched = 0;
        loop {
            let from = searched.min(self.buffer.len());
            if let Some(at) = memchr::memmem::find(&self.buffer[from..], mark) {
                let rest = self.buffer.split_off(from + at + mark.len());
                return Some(std::mem::replace(&mut self.buffer, rest));
            }
            searched = self.buffer.len().saturating_sub(mark.len());
            if !self.fill().await {
                return None;
            }
        }
    }

    /// One head, with its empty line.
    pub async fn head(&mut self) -> Option<Vec<u8>> {
        self.until(b"\r\n\r\n").await
    }

    /// Up to `count` bytes: fewer only if the stream ends first.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.fill().await {}
        let rest = self.buffer.split_off(count.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    /// All that comes until the stream ends, and how it ended.
    pub async fn rest(&mut self) -> (Vec<u8>, End) {
        while self.fill().await {}
        (std::mem::take(&mut self.buffer), self.end.expect("an ended stream says how"))
    }

    /// One chunk of a chunked body: its data, empty for the last, none if the stream ended in it.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        self.chunk_into(&mut data).await.then_some(data)
    }

    /// Appends one chunk's data, also of a chunk that breaks off; false then, and where there is none.
    async fn chunk_into(&mut self, data: &mut Vec<u8>) -> bool {
        let Some(line) = self.until(b"\r\n").await else { return false };
        let digits = line.split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(digits, 16) else { return false };
        if size == 0 {
            return true;
        }
        data.extend(self.exactly(size).await);
        self.exactly(2).await == b"\r\n"
    }

    /// The body that `head` announces. `none_by_itself`: without framing there is none (requests, answers to
    /// HEAD, 1xx, 204, 304); else it goes on until the stream ends.
    pub async fn body(&mut self, head: &[u8], none_by_itself: bool) -> Body {
        let mut body = Body::default();
        let chunked = field(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        if chunked {
            loop {
                let before = body.data.len();
                if !self.chunk_into(&mut body.data).await {
                    return body;
                }
                if body.data.len() == before {
                    break;
                }
            }
            loop {
                let Some(line) = self.until(b"\r\n").await else { return body };
                if line == b"\r\n" {
                    break;
                }
                body.trailers.extend(line);
            }
            body.complete = true;
        } else if let Some(length) = field(head, "content-length") {
            let length: usize = length.parse().expect("a length is a number");
            body.data = self.exactly(length).await;
            body.complete = body.data.len() == length;
        } else if none_by_itself {
            body.complete = true;
        } else {
            let (data, end) = self.rest().await;
            body.data = data;
            body.complete = end == End::Clean;
        }
        body
    }

    /// The next response head that is not interim, with the interim ones before it.
    pub async fn response_head(&mut self) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
        let mut interim = Vec::new();
        loop {
            let head = self.head().await?;
            match status(&head) {
                101 | 200.. => return Some((interim, head)),
                _ => interim.push(head),
            }
        }
    }

    /// A whole response to a request other than HEAD.
    pub async fn response(&mut self) -> Response {
        let Some((interim, head)) = self.response_head().await else {
            let read = std::mem::take(&mut self.buffer);
            panic!("no response came, only \"{}\" and then the end of the stream ({:?})", super::show(&read), self.end);
        };
        let status = status(&head);
        let body = self.body(&head, matches!(status, 204 | 304)).await;
        Response { interim, status, head, body }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (data, trailers) = (super::show(&self.data), super::show(&self.trailers));
        write!(f, "{data:?} and then {trailers:?} ({})", if self.complete { "whole" } else { "cut" })
    }
}

/// A response as the client saw it.
pub struct Response {
    pub interim: Vec<Vec<u8>>,
    pub status: u16,
    pub head: Vec<u8>,
    pub body: Body,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interim: Vec<String> = self.interim.iter().map(|head| super::show(head)).collect();
        write!(f, "{interim:?} and then {:?} with {:?}", super::show(&self.head), self.body)
    }
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.data).into_owned()
    }

    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }
}

/// The status of a response head; 0 if it has none.
pub fn status(head: &[u8]) -> u16 {
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The lines of a head, without the first and without line ends.
pub fn lines(head: &[u8]) -> Vec<Vec<u8>> {
    let text = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let mut lines = Vec::new();
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, b"\r\n") {
        lines.push(text[from..at].to_vec());
        from = at + 2;
    }
    lines.push(text[from..].to_vec());
    lines.remove(0);
    lines
}

/// The first line of a head.
pub fn start_line(head: &[u8]) -> String {
    String::from_utf8_lossy(&head[..memchr::memmem::find(head, b"\r\n").unwrap_or(head.len())]).into_owned()
}

/// The values of every field called `name`, in any case.
pub fn fields(head: &[u8], name: &str) -> Vec<String> {
    lines(head)
        .iter()
        .filter_map(|line| {
            let line = String::from_utf8_lossy(line).into_owned();
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
        .collect()
}

/// The first of [`fields`].
pub fn field(head: &[u8], name: &str) -> Option<String> {
    fields(head, name).into_iter().next()
}

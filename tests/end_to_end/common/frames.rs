//! HTTP/2 down to the frames, for peers that do what no library would let them (RFC 9113, RFC 7541).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Wire;
use super::wire::Stream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 0x20;
/// A whole head of a message without a body.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload.get(at..at + 4).map_or([0xff; 4], |code| code.try_into().unwrap());
        u32::from_be_bytes(code)
    }

    /// The status of the first response on a connection; 0 if the block does not begin with one.
    pub fn status(&self) -> u16 {
        let mut block = &self.payload[..];
        while let [0x20..=0x3f, rest @ ..] = block {
            block = rest;
        }
        match block {
            // An entry of the static table.
            [entry @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(entry - 0x88)],
            // A value beside an indexed name: digits, plain or in Huffman's code.
            [0x48 | 0x08, length, rest @ ..] => {
                let value = rest.get(..usize::from(length & 0x7f)).unwrap_or_default();
                let digits = if length & 0x80 == 0 { value.to_vec() } else { huffman_digits(value) };
                String::from_utf8_lossy(&digits).parse().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

/// Three digits in Huffman's code (RFC 7541, appendix B): 0, 1 and 2 in five bits, the others in six.
fn huffman_digits(value: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = value.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0u8, |sum, bit| sum << 1 | bit);
    let (mut digits, mut at) = (Vec::new(), 0);
    while digits.len() < 3 && at + 5 <= bits.len() {
        let five = number(&bits[at..at + 5]);
        if five <= 2 {
            digits.push(b'0' + five);
            at += 5;
        } else if at + 6 <= bits.len() {
            digits.push(b'3' + number(&bits[at..at + 6]).wrapping_sub(0b011001));
            at += 6;
        } else {
            break;
        }
    }
    digits
}

/// A frame on the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field block of literals without indexing and without Huffman's code.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(name.as_ref(), &mut block);
        string(value.as_ref(), &mut block);
    }
    block
}

/// A string literal: its length with a prefix of seven bits, and its octets.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    if text.len() < 127 {
        out.push(text.len() as u8);
    } else {
        out.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend(text);
}

/// One end of a connection: what is read is taken off the wire at once, so that writing never waits for it.
pub struct Raw {
    write: WriteHalf<Box<dyn Stream>>,
    frames: mpsc::UnboundedReceiver<Frame>,
    reader: JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Raw {
    /// A client that has sent its preface and empty settings.
    pub async fn client(wire: Wire) -> Self {
        let mut raw = Self::bare(wire, Vec::new());
        raw.send(PREFACE).await;
        raw.send(frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    /// A client that has sent nothing.
    pub fn silent(wire: Wire) -> Self {
        Self::bare(wire, Vec::new())
    }

    /// A client that has sent nothing, and reads nothing.
    pub fn deaf(wire: Wire) -> Self {
        let mut raw = Self::silent(wire);
        raw.stop_reading();
        raw
    }

    /// Leaves what comes from now on to the system's buffers.
    pub fn stop_reading(&mut self) {
        self.reader.abort();
    }

    /// A server that has read the preface, and sent empty settings.
    pub async fn server(mut wire: Wire) -> Self {
        wire.exactly(PREFACE.len()).await;
        let (stream, read) = wire.into_parts();
        let mut raw = Self::bare(Wire::new(stream, None), read);
        raw.send(frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    fn bare(wire: Wire, ahead: Vec<u8>) -> Self {
        let (stream, rest) = wire.into_parts();
        let (read, write) = split(stream);
        let (to, frames) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read_frames(read, [ahead, rest].concat(), to));
        Self { write, frames, reader }
    }

    /// Sends `bytes`; false once the other side takes no more, also when it stops reading for long.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = async { self.write.write_all(bytes.as_ref()).await.is_ok() && self.write.flush().await.is_ok() };
        tokio::time::timeout(Duration::from_secs(2), sent).await.unwrap_or(false)
    }

    /// The next frame; none at the end.
    pub async fn frame(&mut self) -> Option<Frame> {
        self.frames.recv().await
    }

    /// Waits until the other side has worked through what it was sent; false if it ended the connection.
    pub async fn settled(&mut self) -> bool {
        self.send(frame(PING, 0, 0, b"so far..")).await;
        while let Some(got) = self.frame().await {
            if got.kind == PING && got.flags & ACK != 0 {
                return true;
            }
        }
        false
    }

    /// As a server: answers settings and pings until the next request's head. None at the end.
    pub async fn request(&mut self) -> Option<u32> {
        loop {
            let got = self.frame().await?;
            match got.kind {
                HEADERS => return Some(got.stream),
                SETTINGS if got.flags & ACK == 0 => self.send(frame(SETTINGS, ACK, 0, &[])).await,
                PING if got.flags & ACK == 0 => self.send(frame(PING, ACK, 0, &got.payload)).await,
                _ => true,
            };
        }
    }

    /// Waits until the other side has gone.
    pub async fn gone(&mut self) {
        while self.request().await.is_some() {}
    }

    /// How the other side took what it was sent: the first refusal within 2 s, else what there was.
    pub async fn outcome(&mut self) -> Outcome {
        let mut last = Outcome::Silence;
        let refusal = tokio::time::timeout(Duration::from_secs(2), self.refusal(&mut last)).await;
        refusal.unwrap_or(last)
    }

    async fn refusal(&mut self, last: &mut Outcome) -> Outcome {
        let mut data = 0;
        loop {
            let Some(got) = self.frame().await else {
                return if *last == Outcome::Silence { Outcome::Closed } else { *last };
            };
            match got.kind {
                // NO_ERROR after a whole answer only says that the rest of the request is not wanted.
                RST_STREAM if got.code() != 0 || *last != Outcome::Complete => return Outcome::Reset(got.code()),
                GOAWAY if got.code() != 0 => return Outcome::GoAway(got.code()),
                HEADERS if got.status() >= 400 => return Outcome::Status(got.status()),
                HEADERS | DATA if got.flags & END_STREAM != 0 => *last = Outcome::Complete,
                DATA => {
                    // The window is given back, or a long answer would stand still.
                    data += got.payload.len() as u32;
                    if data > 16_384 {
                        self.send(frame(WINDOW_UPDATE, 0, 0, &data.to_be_bytes())).await;
                        self.send(frame(WINDOW_UPDATE, 0, got.stream, &data.to_be_bytes())).await;
                        data = 0;
                    }
                }
                SETTINGS if got.flags & ACK == 0 => {
                    self.send(frame(SETTINGS, ACK, 0, &[])).await;
                }
                _ => {}
            }
        }
    }
}

/// How an exchange ended for a raw client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Reset(u32),
    GoAway(u32),
    /// Without a word.
    Closed,
    /// An error status.
    Status(u16),
    /// An answer that looks whole.
    Complete,
    /// Nothing came, or an answer without an end.
    Silence,
}

impl Outcome {
    /// The request or the connection was refused.
    pub fn refused(self) -> bool {
        !matches!(self, Outcome::Complete | Outcome::Silence)
    }
}

async fn read_frames(mut read: ReadHalf<Box<dyn Stream>>, mut buffer: Vec<u8>, to: mpsc::UnboundedSender<Frame>) {
    loop {
        while buffer.len() >= 9 {
            let length = usize::from(buffer[0]) << 16 | usize::from(buffer[1]) << 8 | usize::from(buffer[2]);
            if buffer.len() < 9 + length {
                break;
            }
            let rest = buffer.split_off(9 + length);
            let head = std::mem::replace(&mut buffer, rest);
            let stream = u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff;
            let frame = Frame { kind: head[3], flags: head[4], stream, payload: head[9..].to_vec() };
            if to.send(frame).is_err() {
                return;
            }
        }
        if !matches!(read.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

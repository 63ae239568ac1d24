//! A recorded WebSocket, played by one of its two sides.
//!
//! ```text
//! messages in their order: one of ours is sent, one of theirs is waited for
//! ```

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::session::flow::{Millis, WebSocketMessage};
use crate::wire::websocket::{Event, MessageReader, MessageWriter, Side};

/// Of one message that the other side may send.
const LONGEST: usize = 64 << 20;
/// The longest pause that is kept.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const NORMAL: u16 = 1000;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Played {
    pub sent: u64,
    /// Messages of the other side, and their bytes.
    pub received: u64,
    pub bytes: u64,
}

/// How it is played.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    pub side: Side,
    /// With the pauses of the recording.
    pub paced: bool,
    /// How long an answer is waited for; one that never comes is done without.
    pub patience: Duration,
}

/// Plays `script` over `io`, on which `begun` was read already.
pub async fn play<IO>(io: IO, begun: BytesMut, script: &[WebSocketMessage], how: Play) -> io::Result<Played>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let other = if how.side == Side::Client { Side::Server } else { Side::Client };
    let mut socket = Socket {
        io,
        waiting: begun,
        side: how.side,
        reader: MessageReader::new(other, None, LONGEST),
        writer: MessageWriter::new(how.side, None),
    };
    let mut played = Played::default();
    let mut before: Option<Millis> = None;
    for message in script {
        if message.from_client == (how.side == Side::Client) {
            if let Some((at, before)) = message.at.zip(before).filter(|_| how.paced) {
                tokio::time::sleep(Duration::from_millis(at.saturating_sub(before)).min(LONGEST_PAUSE)).await;
            }
            socket.send(message).await?;
            played.sent += 1;
        } else {
            match tokio::time::timeout(how.patience, socket.next()).await {
                Ok(Some(bytes)) => {
                    played.received += 1;
                    played.bytes += bytes as u64;
                }
                Ok(None) => return Ok(played),
                // Another server may answer in fewer messages.
                Err(_) => {}
            }
        }
        before = message.at.or(before);
    }
    // Who was asked answers no more than was recorded; it ends when it is asked again.
    if how.side == Side::Server && socket.next().await.is_none() {
        return Ok(played);
    }
    let mut out = BytesMut::new();
    socket.writer.close(NORMAL, "the recording ends here", &mut out);
    socket.io.write_all(&out).await?;
    socket.io.shutdown().await?;
    Ok(played)
}

struct Socket<IO> {
    io: IO,
    waiting: BytesMut,
    side: Side,
    reader: MessageReader,
    writer: MessageWriter,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    /// A client masks what it sends; against whom matters not to a replay.
    fn mask(&self) -> [u8; 4] {
        if self.side == Side::Client { [0x5a, 0x17, 0xc3, 0x88] } else { [0; 4] }
    }

    async fn send(&mut self, message: &WebSocketMessage) -> io::Result<()> {
        let mut out = BytesMut::new();
        self.writer.edited(message.text, self.mask(), false, &message.data, &mut out);
        self.io.write_all(&out).await?;
        self.io.flush().await
    }

    /// How long the next message of the other side is; none at its end. Nothing is lost if it is not waited for to the end.
    async fn next(&mut self) -> Option<usize> {
        loop {
            match self.reader.step(&mut self.waiting).ok()? {
                Some(Event::Message { payload, .. }) => return Some(payload.len()),
                Some(Event::Oversize { last: true, raw, .. }) => return Some(raw.len()),
                Some(Event::Oversize { .. }) => {}
                Some(Event::Control { opcode: CLOSE, .. }) => return None,
                Some(Event::Control { opcode: PING, payload, .. }) => {
                    let mut out = BytesMut::new();
                    self.writer.pong(self.mask(), &payload, &mut out);
                    self.io.write_all(&out).await.ok()?;
                }
                Some(Event::Control { .. }) => {}
                None => {
                    if self.io.read_buf(&mut self.waiting).await.ok()? == 0 {
                        return None;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(from_client: bool, text: &str, at: Millis) -> WebSocketMessage {
        WebSocketMessage { from_client, text: true, at: Some(at), data: text.to_owned().into() }
    }

    #[tokio::test]
    async fn both_sides_of_a_recording_play_it_out() {
        let script = [
            said(true, "one", 0),
            said(false, "two", 100),
            said(false, "three", 130),
            said(true, "four", 130),
            said(false, "five", 130),
        ];
        let (ours, theirs) = tokio::io::duplex(256);
        let how = |side| Play { side, paced: true, patience: Duration::from_secs(600) };
        let server_script = script.clone();
        let server =
            tokio::spawn(async move { play(theirs, BytesMut::new(), &server_script, how(Side::Server)).await });
        let client = play(ours, BytesMut::new(), &script, how(Side::Client)).await.unwrap();
        assert_eq!(client, Played { sent: 2, received: 3, bytes: 12 });
        assert_eq!(server.await.unwrap().unwrap(), Played { sent: 3, received: 2, bytes: 7 });
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_done_without() {
        let script = [said(true, "one", 0), said(false, "two", 1), said(true, "three", 2)];
        let (ours, theirs) = tokio::io::duplex(4096);
        let how = Play { side: Side::Client, paced: false, patience: Duration::from_millis(20) };
        let client = play(ours, BytesMut::new(), &script, how).await.unwrap();
        assert_eq!((client.sent, client.received), (2, 0));
        drop(theirs);
    }
}

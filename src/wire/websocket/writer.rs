//! Messages into frames again, after an edit.

use bytes::{BufMut, BytesMut};

use super::deflate::{Deflate, Deflater};
use super::frame;
use super::{Side, WsError};

/// Writes the messages of one side: unedited ones as they came where that can be, edited ones as one frame,
/// masked with the same key and compressed like the original.
///
/// An edited message leaves another window with the recipient than the sender has. Compressed messages after it
/// refer to the sender's window, so they are compressed anew until a whole window of unedited text has
/// passed and both are the same again.
pub struct MessageWriter {
    side: Side,
    deflate: Option<Deflate>,
    deflater: Option<Box<Deflater>>,
    /// Bytes of unedited compressed text until the windows agree.
    apart: usize,
}

impl MessageWriter {
    pub fn new(side: Side, deflate: Option<Deflate>) -> Self {
        Self { side, deflate, deflater: None, apart: 0 }
    }

    /// Whether compressed messages cannot leave as they came, because of an edit before them.
    pub fn must_rewrite(&self) -> bool {
        self.apart > 0
    }

    /// Appends a message whose `payload` was changed.
    pub fn edited(&mut self, text: bool, mask: [u8; 4], compressed: bool, payload: &[u8], out: &mut BytesMut) {
        self.message(text, mask, compressed, payload, out);
        if let Some(deflate) = self.deflate.filter(|deflate| compressed && deflate.takeover(self.side)) {
            self.apart = 1 << deflate.window_bits(self.side);
        }
    }

    /// Appends a message that nobody changed: its frames as they came in `raw`, unless an earlier edit forbids.
    pub fn unedited(
        &mut self,
        raw: &[u8],
        text: bool,
        mask: [u8; 4],
        compressed: bool,
        payload: &[u8],
        out: &mut BytesMut,
    ) {
        if !compressed || self.apart == 0 {
            return out.put_slice(raw);
        }
        self.message(text, mask, compressed, payload, out);
        self.apart = self.apart.saturating_sub(payload.len());
    }

    /// Appends a piece of a message that was too long to be read. It cannot be compressed anew, so after an
    /// edit a compressed one ends the connection.
    pub fn oversize(&mut self, raw: &[u8], compressed: bool, out: &mut BytesMut) -> Result<(), WsError> {
        if compressed && self.apart > 0 {
            return Err(WsError { code: 1009, reason: "a message too long to be compressed anew after an edit" });
        }
        out.put_slice(raw);
        Ok(())
    }

    /// Appends a close frame of our own.
    pub fn close(&mut self, code: u16, reason: &str, out: &mut BytesMut) {
        /// Of 125 bytes of a control frame two are the code.
        const MOST: usize = 123;
        let mut payload = code.to_be_bytes().to_vec();
        let end = (0..=MOST.min(reason.len())).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
        payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
        frame::write(self.side, 0x80 | frame::CLOSE, [0; 4], &payload, out);
    }

    /// Appends the answer to a ping.
    pub fn pong(&mut self, mask: [u8; 4], payload: &[u8], out: &mut BytesMut) {
        frame::write(self.side, 0x80 | frame::PONG, mask, payload, out);
    }

    fn message(&mut self, text: bool, mask: [u8; 4], compressed: bool, payload: &[u8], out: &mut BytesMut) {
        const FIN: u8 = 0x80;
        const DEFLATED: u8 = 0x40;
        let opcode = if text { frame::TEXT } else { frame::BINARY };
        let Some(deflate) = self.deflate.filter(|_| compressed) else {
            return frame::write(self.side, FIN | opcode, mask, payload, out);
        };
        let side = self.side;
        let fresh = self.apart == 0 || !deflate.takeover(side);
        let deflater = self.deflater.get_or_insert_with(|| Box::new(Deflater::new(&deflate, side)));
        if fresh {
            // What we compressed before the windows agreed again is out of the recipient's reach.
            deflater.reset();
        }
        let deflated = deflater.message(payload);
        frame::write(side, FIN | DEFLATED | opcode, mask, &deflated, out);
    }
}

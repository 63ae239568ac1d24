//! One frame: its head, and its mask.

use bytes::{BufMut, BytesMut};

use super::{Side, WsError};

/// The first bytes of a frame (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    pub(super) fin: bool,
    /// RSV1: the message is deflated (RFC 7692, section 6).
    pub(super) compressed: bool,
    pub(super) opcode: u8,
    /// Zeros in a server's frames, which leaves the payload as it is.
    pub(super) mask: [u8; 4],
    /// Bytes of this head.
    pub(super) length: usize,
    pub(super) payload: u64,
}

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
/// The opcode of a close, whose payload begins with a code of two bytes (RFC 6455, section 5.5.1).
pub const CLOSE: u8 = 8;
pub(super) const PONG: u8 = 10;
const PING: u8 = 9;

impl FrameHead {
    /// Reads a head off the front of `bytes`. `None`: more bytes are needed.
    pub(super) fn read(bytes: &[u8], side: Side) -> Result<Option<Self>, WsError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, compressed, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0f);
        if first & 0x30 != 0 {
            return Err(WsError::protocol("a reserved bit is set"));
        }
        if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
            return Err(WsError::protocol("an unknown opcode"));
        }
        let control = opcode >= CLOSE;
        if control && (!fin || compressed) {
            return Err(WsError::protocol("a control frame in pieces or compressed"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & 0x80 != 0;
        if masked != (side == Side::Client) {
            return Err(WsError::protocol(if masked {
                "a masked frame of a server"
            } else {
                "an unmasked frame of a client"
            }));
        }
        let (payload, at) = match second & 0x7f {
            short @ 0..=125 => (u64::from(short), 2),
            _ if control => return Err(WsError::protocol("a control frame of more than 125 bytes")),
            126 => match bytes.get(2..4) {
                Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
                _ => return Ok(None),
            },
            _ => match bytes.get(2..10) {
                Some(&[a, b, c, d, e, f, g, h]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10),
                _ => return Ok(None),
            },
        };
        // One spelling of each length; the highest bit must be zero besides.
        let shortest = match at {
            4 => payload > 125,
            10 => payload > 0xffff && payload < 1 << 63,
            _ => true,
        };
        if !shortest {
            return Err(WsError::protocol("a frame length in the wrong spelling"));
        }
        let (mask, length) = match (masked, bytes.get(at..at + 4)) {
            (false, _) => ([0; 4], at),
            (true, Some(&[a, b, c, d])) => ([a, b, c, d], at + 4),
            (true, _) => return Ok(None),
        };
        Ok(Some(Self { fin, compressed, opcode, mask, length, payload }))
    }

    /// Bytes of the whole frame.
    pub(super) fn whole(&self) -> u64 {
        self.payload + self.length as u64
    }
}

/// Appends one frame that is a whole message or control.
pub(super) fn write(side: Side, first: u8, mask: [u8; 4], payload: &[u8], out: &mut BytesMut) {
    const LONGEST_HEAD: usize = 14;
    out.reserve(payload.len() + LONGEST_HEAD);
    let masked = if side == Side::Client { 0x80 } else { 0 };
    out.put_u8(first);
    match payload.len() {
        short @ 0..=125 => out.put_u8(masked | short as u8),
        medium @ 126..=0xffff => {
            out.put_u8(masked | 126);
            out.put_u16(medium as u16);
        }
        long => {
            out.put_u8(masked | 127);
            out.put_u64(long as u64);
        }
    }
    if side == Side::Server {
        return out.put_slice(payload);
    }
    out.put_slice(&mask);
    let start = out.len();
    out.put_slice(payload);
    if let Some(copy) = out.get_mut(start..) {
        unmask(copy, mask, 0);
    }
}

/// Takes `mask` off (or puts it on) bytes that begin at `offset` of a frame's payload.
pub(super) fn unmask(bytes: &mut [u8], mut mask: [u8; 4], offset: u64) {
    if mask == [0; 4] {
        return;
    }
    mask.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let mut eight = [0u8; 8];
        eight.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

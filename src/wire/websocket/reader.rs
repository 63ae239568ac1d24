//! Messages out of frames.

use bytes::{Buf, Bytes, BytesMut};

use super::deflate::{Deflate, Inflater};
use super::frame::{self, FrameHead};
use super::{Side, WsError};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A whole message.
    Message {
        /// All its frames as sent.
        raw: Bytes,
        text: bool,
        /// The key of its first frame; zeros from a server.
        mask: [u8; 4],
        /// Unmasked and inflated.
        payload: Bytes,
        compressed: bool,
    },
    /// A close, ping or pong. It overtakes the message in whose pieces it came.
    Control { raw: Bytes, opcode: u8, payload: Bytes },
    /// A piece of a message that is over the limit, or that cannot be read since one before it inflated
    /// beyond all bounds. To be passed on and reported unread.
    Oversize { raw: Bytes, last: bool, compressed: bool },
}

/// A data message under way.
struct Pending {
    text: bool,
    compressed: bool,
    mask: [u8; 4],
    /// Frames held so far; empty once the message passes in pieces.
    held: BytesMut,
    passing: bool,
}

/// The data frame under way.
#[derive(Clone, Copy)]
struct Frame {
    mask: [u8; 4],
    fin: bool,
    /// Payload bytes that came already, and that are still to come.
    done: u64,
    left: u64,
}

/// Reads the messages of one side.
pub struct MessageReader {
    side: Side,
    limit: usize,
    deflate: Option<Deflate>,
    inflater: Option<Box<Inflater>>,
    message: Option<Pending>,
    frame: Option<Frame>,
    closed: bool,
}

impl MessageReader {
    /// The code of an error where the frames are sound and only a message cannot be read.
    pub const UNREADABLE: u16 = 1007;

    /// `limit`: most bytes of one message, both as sent and inflated.
    pub fn new(side: Side, deflate: Option<Deflate>, limit: usize) -> Self {
        Self { side, limit, deflate, inflater: None, message: None, frame: None, closed: false }
    }

    /// Whether no message is under way: the connection may end here.
    pub fn is_between_messages(&self) -> bool {
        self.message.is_none()
    }

    /// The next event, or `None` when more bytes are needed. Then `input` holds less than one control frame:
    /// pieces of messages are taken out of it as they come.
    pub fn step(&mut self, input: &mut BytesMut) -> Result<Option<Event>, WsError> {
        loop {
            if self.frame.is_none() {
                let Some(head) = FrameHead::read(input, self.side)? else { return Ok(None) };
                if self.closed {
                    return Err(WsError::protocol("a frame after the close"));
                }
                if head.opcode >= frame::CLOSE {
                    return self.control(head, input);
                }
                if let Some(event) = self.start(head, input)? {
                    return Ok(Some(event));
                }
            }
            let (event, whole) = self.advance(input)?;
            if event.is_some() || !whole {
                return Ok(event);
            }
        }
    }

    fn control(&mut self, head: FrameHead, input: &mut BytesMut) -> Result<Option<Event>, WsError> {
        let whole = head.whole() as usize;
        if input.len() < whole {
            return Ok(None);
        }
        let raw = input.split_to(whole).freeze();
        let payload = unmasked(&raw, head);
        if head.opcode == frame::CLOSE {
            let sound = match payload.as_ref() {
                [] => true,
                [a, b, reason @ ..] => {
                    let code = u16::from_be_bytes([*a, *b]);
                    matches!(code, 1000..5000)
                        && !matches!(code, 1004..=1006 | 1015)
                        && std::str::from_utf8(reason).is_ok()
                }
                [_] => false,
            };
            if !sound {
                return Err(WsError::protocol("a close without a proper code"));
            }
            self.closed = true;
        }
        Ok(Some(Event::Control { raw, opcode: head.opcode, payload }))
    }

    /// Begins a data frame. Gives the message at once if the frame is all of it and all here.
    fn start(&mut self, head: FrameHead, input: &mut BytesMut) -> Result<Option<Event>, WsError> {
        let first = head.opcode != frame::CONTINUATION;
        if first == self.message.is_some() {
            return Err(WsError::protocol("a message begins in another, or continues without a start"));
        }
        if head.compressed && (!first || self.deflate.is_none()) {
            return Err(WsError::protocol("a compressed frame that was not agreed on"));
        }
        let held = self.message.as_ref().map_or(0, |message| message.held.len());
        let fits = head.whole().saturating_add(held as u64) <= self.limit as u64;
        if first && head.fin && fits && input.len() as u64 >= head.whole() {
            let raw = input.split_to(head.whole() as usize).freeze();
            return self.whole(raw, head.opcode == frame::TEXT, head.mask, head.compressed).map(Some);
        }
        let message = self.message.get_or_insert_with(|| Pending {
            text: head.opcode == frame::TEXT,
            compressed: head.compressed,
            mask: head.mask,
            held: BytesMut::new(),
            passing: false,
        });
        let passes_now = !fits && !message.passing;
        message.passing |= !fits;
        let compressed = message.compressed;
        let mut raw = std::mem::take(&mut message.held);
        if passes_now && compressed {
            // What was held has not been inflated yet.
            self.inflate_frames(&raw)?;
        }
        append(&mut raw, input.split_to(head.length));
        self.frame = Some(Frame { mask: head.mask, fin: head.fin, done: 0, left: head.payload });
        if let Some(message) = &mut self.message {
            message.held = raw;
        }
        Ok(None)
    }

    /// Moves what there is of the frame under way. The flag says whether the frame is whole.
    fn advance(&mut self, input: &mut BytesMut) -> Result<(Option<Event>, bool), WsError> {
        let (Some(mut frame), Some(mut message)) = (self.frame.take(), self.message.take()) else {
            return Ok((None, true));
        };
        let length = usize::try_from(frame.left).unwrap_or(usize::MAX).min(input.len());
        let piece = input.split_to(length);
        if message.passing && message.compressed {
            let mut copy = BytesMut::from(piece.as_ref());
            frame::unmask(&mut copy, frame.mask, frame.done);
            self.inflate(&copy)?;
        }
        frame.done += length as u64;
        frame.left -= length as u64;
        append(&mut message.held, piece);
        let whole = frame.left == 0;
        let last = whole && frame.fin;
        let event = if message.passing {
            if last && message.compressed {
                self.inflater().finish(&mut Vec::new())?;
            }
            let raw = message.held.split().freeze();
            let compressed = message.compressed;
            (last || !raw.is_empty()).then_some(Event::Oversize { raw, last, compressed })
        } else if last {
            let raw = message.held.split().freeze();
            Some(self.whole(raw, message.text, message.mask, message.compressed)?)
        } else {
            None
        };
        if !last {
            self.message = Some(message);
        }
        if !whole {
            self.frame = Some(frame);
        }
        Ok((event, whole))
    }

    /// All frames of a message are here.
    fn whole(&mut self, raw: Bytes, text: bool, mask: [u8; 4], compressed: bool) -> Result<Event, WsError> {
        if !compressed {
            let payload = payload(&raw, self.side)?;
            return Ok(Event::Message { raw, text, mask, payload, compressed });
        }
        let mut inflated = Vec::new();
        let data = payload(&raw, self.side)?;
        self.inflater().feed(&data, &mut inflated)?;
        if !self.inflater().finish(&mut inflated)? {
            return Ok(Event::Oversize { raw, last: true, compressed });
        }
        Ok(Event::Message { raw, text, mask, payload: inflated.into(), compressed })
    }

    /// Moves the window along a message that is not kept.
    fn inflate(&mut self, data: &[u8]) -> Result<(), WsError> {
        self.inflater().skip(data)
    }

    fn inflate_frames(&mut self, raw: &BytesMut) -> Result<(), WsError> {
        let data = payload(&Bytes::copy_from_slice(raw), self.side)?;
        self.inflate(&data)
    }

    fn inflater(&mut self) -> &mut Inflater {
        let (side, limit) = (self.side, self.limit);
        let deflate = self.deflate.unwrap_or_default();
        self.inflater.get_or_insert_with(|| Box::new(Inflater::new(&deflate, side, limit)))
    }
}

/// Appends `more`, without copying if there was nothing.
fn append(bytes: &mut BytesMut, more: BytesMut) {
    if bytes.is_empty() {
        *bytes = more;
    } else {
        bytes.unsplit(more);
    }
}

/// The payload of one whole frame.
fn unmasked(raw: &Bytes, head: FrameHead) -> Bytes {
    let masked = raw.slice(head.length.min(raw.len())..);
    if head.mask == [0; 4] {
        return masked;
    }
    let mut copy = BytesMut::from(masked.as_ref());
    frame::unmask(&mut copy, head.mask, 0);
    copy.freeze()
}

/// The payload of whole frames, one after another.
fn payload(raw: &Bytes, side: Side) -> Result<Bytes, WsError> {
    let mut rest = raw.clone();
    let mut joined = BytesMut::new();
    while let Some(head) = FrameHead::read(&rest, side)? {
        let whole = usize::try_from(head.whole()).unwrap_or(usize::MAX).min(rest.len());
        let payload = unmasked(&rest.slice(..whole), head);
        rest.advance(whole);
        if rest.is_empty() && joined.is_empty() {
            return Ok(payload);
        }
        joined.extend_from_slice(&payload);
    }
    Ok(joined.freeze())
}

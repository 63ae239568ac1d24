//! Bodies that are a row of documents: enveloped (Connect, gRPC) or one on a line.
//!
//! ```text
//! flags (1) | length (4, big-endian) | payload        gRPC over HTTP/2; Connect, "Streaming RPCs"
//! total (4) | headers (4) | CRC-32 (4) | …           AWS event stream
//! {"a":1}\n{"a":2}\n                                  newline-delimited JSON
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Crc;

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EnvelopeEvent {
    /// A whole envelope.
    Envelope {
        /// With its prefix, as sent.
        raw: Bytes,
        /// Bit 0: compressed. Bit 1: end of a Connect stream. Bit 7: trailers (gRPC-Web).
        flags: u8,
        payload: Bytes,
    },
    /// A piece of an envelope over the limit: to be passed on and reported unread.
    Oversize { raw: Bytes, last: bool },
}

/// The body is no row of envelopes, whatever its type says. What the reader held is in
/// [`EnvelopeReader::finish`]; it and the rest pass as they are and are reported unread.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an envelope with unknown flags, or a message whose prelude is wrong")]
pub struct EnvelopeError;

/// Bytes of flags and length.
pub const PREFIX: usize = 5;

/// The flags that gRPC, gRPC-Web and Connect know.
const FLAGS: u8 = 0b1000_0011;

/// Bytes of an AWS event stream's message before its headers, and of the checksum at its end.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// Cuts a body into its envelopes.
#[derive(Debug)]
pub struct EnvelopeReader {
    /// AWS event stream.
    events: bool,
    limit: usize,
    held: BytesMut,
    /// Bytes still to come of an envelope that passes in pieces.
    passing: u64,
}

impl EnvelopeReader {
    /// `limit`: most bytes of one envelope that are held.
    pub fn new(limit: usize) -> Self {
        Self { events: false, limit, held: BytesMut::new(), passing: 0 }
    }

    /// The same for the messages of an AWS event stream: flags are 0, and the payload is all behind the prelude.
    pub fn events(limit: usize) -> Self {
        Self { events: true, ..Self::new(limit) }
    }

    fn prefix(&self) -> usize {
        if self.events { PRELUDE } else { PREFIX }
    }

    /// The length of the envelope that is held, once that is known.
    fn whole(&self) -> Result<Option<u64>, EnvelopeError> {
        if !self.events {
            if self.held.first().is_some_and(|flags| flags & !FLAGS != 0) {
                return Err(EnvelopeError);
            }
            let prefix = self.held.first_chunk::<PREFIX>();
            return Ok(prefix.map(|&[_, a, b, c, d]| PREFIX as u64 + u64::from(u32::from_be_bytes([a, b, c, d]))));
        }
        let Some(&[a, b, c, d, e, f, g, h, i, j, k, l]) = self.held.first_chunk::<PRELUDE>() else { return Ok(None) };
        let (total, headers) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        let mut crc = Crc::new();
        crc.update(&[a, b, c, d, e, f, g, h]);
        let least = (PRELUDE + CHECKSUM) as u64 + u64::from(headers);
        match crc.sum() == u32::from_be_bytes([i, j, k, l]) && u64::from(total) >= least {
            true => Ok(Some(total.into())),
            false => Err(EnvelopeError),
        }
    }

    /// The next event, or `None` when more bytes are needed; `input` is empty then.
    pub fn step(&mut self, input: &mut BytesMut) -> Result<Option<EnvelopeEvent>, EnvelopeError> {
        if self.passing > 0 {
            return Ok(self.pass(input));
        }
        let prefix = self.prefix();
        if self.held.len() < prefix {
            append(&mut self.held, input, prefix);
        }
        let Some(whole) = self.whole()? else { return Ok(None) };
        if whole > self.limit as u64 {
            self.passing = whole - self.held.len() as u64;
            let raw = self.held.split().freeze();
            return Ok(Some(EnvelopeEvent::Oversize { raw, last: self.passing == 0 }));
        }
        let whole = whole as usize;
        append(&mut self.held, input, whole);
        if self.held.len() < whole {
            return Ok(None);
        }
        let raw = self.held.split().freeze();
        let payload = raw.slice(prefix..);
        let flags = if self.events { 0 } else { raw.first().copied().unwrap_or_default() };
        Ok(Some(EnvelopeEvent::Envelope { raw, flags, payload }))
    }

    fn pass(&mut self, input: &mut BytesMut) -> Option<EnvelopeEvent> {
        if input.is_empty() {
            return None;
        }
        let length = usize::try_from(self.passing).unwrap_or(usize::MAX).min(input.len());
        self.passing -= length as u64;
        Some(EnvelopeEvent::Oversize { raw: input.split_to(length).freeze(), last: self.passing == 0 })
    }

    /// The body ended: the start of an envelope that is not whole, if there is one.
    pub fn finish(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }

    /// Whether the body may end here.
    pub fn is_between_envelopes(&self) -> bool {
        self.held.is_empty() && self.passing == 0
    }
}

/// An envelope around `payload`, which the limit of one envelope keeps far below the 4 GiB that its length can
/// say.
pub fn encode(flags: u8, payload: &[u8]) -> Bytes {
    debug_assert!(payload.len() <= u32::MAX as usize, "an envelope is bounded by the reader's limit");
    let mut envelope = BytesMut::with_capacity(PREFIX + payload.len());
    envelope.put_u8(flags);
    envelope.put_u32(payload.len() as u32);
    envelope.put_slice(payload);
    envelope.freeze()
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LineEvent {
    /// A line with its line end.
    Line(Bytes),
    /// A piece of a line over the limit: to be passed on and reported unread.
    Oversize { raw: Bytes, last: bool },
}

/// Cuts a body into its lines.
#[derive(Debug)]
pub struct LineReader {
    limit: usize,
    held: BytesMut,
    passing: bool,
}

impl LineReader {
    /// `limit`: most bytes of one line that are held.
    pub fn new(limit: usize) -> Self {
        Self { limit, held: BytesMut::new(), passing: false }
    }

    /// The next event, or `None` when more bytes are needed; `input` is empty then.
    pub fn step(&mut self, input: &mut BytesMut) -> Option<LineEvent> {
        if input.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', input).map(|end| end + 1);
        let length = end.unwrap_or(input.len());
        if self.passing || self.held.len() + length > self.limit {
            let whole = self.held.len() + length;
            append(&mut self.held, input, whole);
            self.passing = end.is_none();
            return Some(LineEvent::Oversize { raw: self.held.split().freeze(), last: end.is_some() });
        }
        let whole = self.held.len() + length;
        append(&mut self.held, input, whole);
        end.map(|_| LineEvent::Line(self.held.split().freeze()))
    }

    /// The body ended: the last line, if it has no line end.
    pub fn finish(&mut self) -> Option<LineEvent> {
        let raw = self.held.split().freeze();
        if std::mem::take(&mut self.passing) {
            return Some(LineEvent::Oversize { raw, last: true });
        }
        (!raw.is_empty()).then_some(LineEvent::Line(raw))
    }
}

/// Moves bytes from `input` until `held` has `whole` of them; without copying if it had none.
fn append(held: &mut BytesMut, input: &mut BytesMut, whole: usize) {
    let length = whole.saturating_sub(held.len()).min(input.len());
    let piece = input.split_to(length);
    if held.is_empty() {
        *held = piece;
    } else {
        held.extend_from_slice(&piece);
    }
}

//! permessage-deflate: what was agreed, and both directions of it (RFC 7692).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Side, WsError};

/// The parameters that a server agreed to: `permessage-deflate; server_max_window_bits=12`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deflate {
    pub client_no_context_takeover: bool,
    pub server_no_context_takeover: bool,
    /// 8 to 15, as the power of two that the window has.
    pub client_max_window_bits: u8,
    pub server_max_window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            client_no_context_takeover: false,
            server_no_context_takeover: false,
            client_max_window_bits: 15,
            server_max_window_bits: 15,
        }
    }
}

impl Deflate {
    /// Reads `Sec-WebSocket-Extensions` of a 101 (several fields joined by commas). `None`: no extension.
    ///
    /// An error when something was agreed that cannot be followed: another extension, or parameters that
    /// RFC 7692 does not know.
    pub fn from_response(value: &str) -> Result<Option<Self>, WsError> {
        const UNKNOWN: WsError = WsError::protocol("an extension other than permessage-deflate");
        const BAD: WsError = WsError::protocol("a bad parameter of permessage-deflate");
        let mut agreed = None;
        for extension in value.split(',').map(str::trim).filter(|extension| !extension.is_empty()) {
            let mut parts = extension.split(';').map(str::trim);
            if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate")) || agreed.is_some() {
                return Err(UNKNOWN);
            }
            let mut found = Self::default();
            let mut seen = [false; 4];
            for part in parts {
                let (name, value) = match part.split_once('=') {
                    Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                    None => (part, None),
                };
                let place = match (name, value) {
                    ("client_no_context_takeover", None) => {
                        found.client_no_context_takeover = true;
                        0
                    }
                    ("server_no_context_takeover", None) => {
                        found.server_no_context_takeover = true;
                        1
                    }
                    ("client_max_window_bits", Some(value)) => {
                        found.client_max_window_bits = window_bits(value).ok_or(BAD)?;
                        2
                    }
                    ("server_max_window_bits", Some(value)) => {
                        found.server_max_window_bits = window_bits(value).ok_or(BAD)?;
                        3
                    }
                    _ => return Err(BAD),
                };
                if std::mem::replace(&mut seen[place], true) {
                    return Err(BAD);
                }
            }
            agreed = Some(found);
        }
        Ok(agreed)
    }

    pub(super) fn takeover(&self, side: Side) -> bool {
        match side {
            Side::Client => !self.client_no_context_takeover,
            Side::Server => !self.server_no_context_takeover,
        }
    }

    pub(super) fn window_bits(&self, side: Side) -> u8 {
        match side {
            Side::Client => self.client_max_window_bits,
            Side::Server => self.server_max_window_bits,
        }
    }
}

fn window_bits(value: &str) -> Option<u8> {
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let bits: u8 = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok())??;
    (!value.starts_with('0') && (8..=15).contains(&bits)).then_some(bits)
}

/// What ends every message and is not sent (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Inflates the messages of one side, their common window kept from one to the next.
pub(super) struct Inflater {
    state: Decompress,
    takeover: bool,
    /// Most bytes of one message kept.
    limit: usize,
    /// Bytes this message inflated to.
    inflated: usize,
    /// Nothing of this message is kept.
    skipping: bool,
    /// The window is no longer that of the sender: what follows cannot be read.
    lost: bool,
    /// The window may lack its oldest part.
    unsure: bool,
}

/// Inflating one message stops at so many times the limit (or the smallest that counts as one): only a bomb
/// grows so.
const LIMITS_INFLATED: usize = 16;
const SMALLEST_LIMIT: usize = 1 << 20;

impl Inflater {
    pub(super) fn new(deflate: &Deflate, side: Side, limit: usize) -> Self {
        Self {
            state: Decompress::new(false),
            takeover: deflate.takeover(side),
            limit,
            inflated: 0,
            skipping: false,
            lost: false,
            unsure: false,
        }
    }

    /// Inflates a piece of a message. `kept` grows up to the limit; the rest only moves the window.
    pub(super) fn feed(&mut self, mut data: &[u8], kept: &mut Vec<u8>) -> Result<(), WsError> {
        const SCRATCH: usize = 16 * 1024;
        let mut scratch = [0u8; SCRATCH];
        while !self.lost {
            let before = (self.state.total_in(), self.state.total_out());
            let Ok(status) = self.state.decompress(data, &mut scratch, FlushDecompress::Sync) else {
                if !self.unsure {
                    return Err(WsError { code: 1007, reason: "a message does not inflate" });
                }
                self.lost = true;
                break;
            };
            let read = (self.state.total_in() - before.0) as usize;
            let wrote = (self.state.total_out() - before.1) as usize;
            data = data.get(read..).unwrap_or_default();
            let new = scratch.get(..wrote).unwrap_or_default();
            self.inflated += wrote;
            let keeps = !self.skipping && self.inflated <= self.limit;
            if keeps {
                kept.extend_from_slice(new);
            }
            if self.inflated / LIMITS_INFLATED > self.limit.max(SMALLEST_LIMIT) {
                self.lost = true;
            }
            if status == Status::StreamEnd {
                self.restart(if keeps { kept } else { new });
            } else if wrote < SCRATCH && (data.is_empty() || (read == 0 && wrote == 0)) {
                break;
            }
        }
        Ok(())
    }

    /// Moves the window along a piece of a message of which nothing is kept.
    pub(super) fn skip(&mut self, data: &[u8]) -> Result<(), WsError> {
        self.skipping = true;
        self.feed(data, &mut Vec::new())
    }

    /// A final block inside a message ends a stream but not the window (RFC 7692, section 7.2.3.4). Of the
    /// window we have what is at hand; a reference further back is then our loss, not the sender's error.
    fn restart(&mut self, recent: &[u8]) {
        const WINDOW: usize = 32 * 1024;
        let recent = recent.get(recent.len().saturating_sub(WINDOW)..).unwrap_or_default();
        self.state.reset(false);
        self.unsure = true;
        if !recent.is_empty() && self.state.set_dictionary(recent).is_err() {
            self.lost = true;
        }
    }

    /// Ends a message and says whether all of it was kept.
    pub(super) fn finish(&mut self, kept: &mut Vec<u8>) -> Result<bool, WsError> {
        self.feed(&TAIL, kept)?;
        let whole = !self.lost && !self.skipping && self.inflated <= self.limit;
        self.skipping = false;
        self.inflated = 0;
        if !self.takeover {
            self.state.reset(false);
            self.lost = false;
            self.unsure = false;
        }
        Ok(whole)
    }
}

/// Deflates messages towards one side.
pub(super) struct Deflater {
    state: Compress,
}

impl Deflater {
    pub(super) fn new(deflate: &Deflate, side: Side) -> Self {
        let state = match deflate.window_bits(side) {
            // zlib has no raw window of 256 bytes; stored blocks fit into any.
            ..=8 => Compress::new(Compression::none(), false),
            bits => Compress::new_with_window_bits(Compression::default(), false, bits.min(15)),
        };
        Self { state }
    }

    /// Forgets what was sent before.
    pub(super) fn reset(&mut self) {
        self.state.reset();
    }

    /// One whole message without its tail.
    pub(super) fn message(&mut self, mut payload: &[u8]) -> Vec<u8> {
        const SCRATCH: usize = 16 * 1024;
        let mut scratch = [0u8; SCRATCH];
        let mut message = Vec::with_capacity(payload.len() / 2 + 16);
        loop {
            let before = (self.state.total_in(), self.state.total_out());
            // Deflating into memory cannot fail; running out of room is told by a full scratch.
            let _ = self.state.compress(payload, &mut scratch, FlushCompress::Sync);
            let read = (self.state.total_in() - before.0) as usize;
            let wrote = (self.state.total_out() - before.1) as usize;
            payload = payload.get(read..).unwrap_or_default();
            message.extend_from_slice(scratch.get(..wrote).unwrap_or_default());
            if wrote < SCRATCH && (payload.is_empty() || (read == 0 && wrote == 0)) {
                break;
            }
        }
        if message.ends_with(&TAIL) {
            message.truncate(message.len() - TAIL.len());
        }
        if message.is_empty() {
            message.push(0);
        }
        message
    }
}

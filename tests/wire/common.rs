//! Shorthands for the tests beside it.

use bytes::BytesMut;
use divulge::wire::{ForwardRequest, ForwardResponse, HeadError, Limits, RequestHead, ResponseHead};

/// A request head out of `bytes`, which must hold a whole one or be refused.
pub fn request(bytes: &[u8]) -> Result<RequestHead, HeadError> {
    let head = RequestHead::parse(&mut BytesMut::from(bytes), &Limits::default())?;
    Ok(head.unwrap_or_else(|| panic!("more bytes wanted after {}", shown(bytes))))
}

pub fn response_to(method: &str, upgrade: bool, bytes: &[u8]) -> Result<ResponseHead, HeadError> {
    let head = ResponseHead::parse(&mut BytesMut::from(bytes), method, upgrade, &Limits::default())?;
    Ok(head.unwrap_or_else(|| panic!("more bytes wanted after {}", shown(bytes))))
}

pub fn response(bytes: &[u8]) -> Result<ResponseHead, HeadError> {
    response_to("GET", false, bytes)
}

/// The head as it goes upstream.
pub fn forwarded(head: &RequestHead, how: &ForwardRequest) -> String {
    let mut out = BytesMut::new();
    head.write(&[], how, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The head as it goes to the client.
pub fn returned(head: &ResponseHead, how: &ForwardResponse) -> String {
    let mut out = BytesMut::new();
    head.write(how, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// `bytes` as a test's message prints them.
pub fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() > 200 { format!("{}…", &text[..200]) } else { text }
}

/// `bytes` as they may arrive: whole, byte by byte, and in pieces of many lengths. Long ones are not cut
/// into single bytes.
pub fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut sizes = vec![bytes.len().max(1), 1, 2, 3, 7, 13, 64, 1000, 4096];
    if bytes.len() > 4096 {
        sizes.retain(|&size| size > 3);
    }
    let mut cuts: Vec<Vec<&[u8]>> = sizes.iter().map(|&size| bytes.chunks(size).collect()).collect();
    // Every single cut in two, for what is short.
    if bytes.len() < 400 {
        cuts.extend((1..bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]));
    }
    cuts
}

/// A small deterministic source of choices (xorshift64*): a failure comes back on every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

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

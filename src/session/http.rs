//! Heads spelled as HTTP/1.1 from what another format holds of them, and what a coding did to a body.

use bytes::Bytes;

use super::damage::Damages;
use super::flow::{Exchange, Message};
use crate::wire::coding::Undoing;

/// Name and value as they are found in a file: nothing about them is trusted.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// `GET /path HTTP/1.1` and the fields. None where there is no such line.
pub(super) fn request_head(
    method: &[u8],
    target: &[u8],
    version: &[u8],
    fields: &[Pair],
    damages: &mut Damages,
) -> Option<Vec<u8>> {
    if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
        damages.lost("the method is none");
        return None;
    }
    let mut head = method.to_vec();
    head.push(b' ');
    let start = head.len();
    for &byte in target {
        match byte {
            // A client sends these escaped; files often show them undone.
            0..=b' ' | 0x7f.. => head.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            // What follows is never sent.
            b'#' => break,
            _ => head.push(byte),
        }
    }
    if head.len() == start {
        head.push(b'/');
    }
    head.extend_from_slice(if version.eq_ignore_ascii_case(b"HTTP/1.0") { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    put_fields(fields, &mut head, damages);
    head.extend_from_slice(b"\r\n");
    Some(head)
}

pub(super) fn response_head(
    status: u16,
    reason: &[u8],
    version: &[u8],
    fields: &[Pair],
    damages: &mut Damages,
) -> Vec<u8> {
    let minor = if version.eq_ignore_ascii_case(b"HTTP/1.0") { 0 } else { 1 };
    let mut head = format!("HTTP/1.{minor} {status:03} ").into_bytes();
    head.extend(reason.iter().map(|&byte| if is_text_byte(byte) { byte } else { b' ' }));
    head.extend_from_slice(b"\r\n");
    put_fields(fields, &mut head, damages);
    head.extend_from_slice(b"\r\n");
    head
}

/// Fields as lines, without the empty one.
pub(super) fn put_fields(fields: &[Pair], out: &mut Vec<u8>, damages: &mut Damages) {
    for (name, value) in fields {
        if name.is_empty() || !name.iter().all(|&byte| is_token_byte(byte)) {
            damages.lost("a field whose name is none");
            continue;
        }
        // Browsers join the lines of a field that was there several times.
        for line in value.split(|&byte| byte == b'\n') {
            let line = line.trim_ascii();
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            if line.iter().all(|&byte| is_text_byte(byte)) {
                out.extend_from_slice(line);
            } else {
                damages.note("control characters in a field are read as spaces (RFC 9110, 5.5)");
                out.extend(line.iter().map(|&byte| if is_text_byte(byte) { byte } else { b' ' }));
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Says so where the engine would refuse the head.
pub(super) fn check(exchange: &Exchange, damages: &mut Damages) {
    if let Err(error) = exchange.request() {
        damages.lost(format!("the head of the request cannot be inspected: {error}"));
    }
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

pub(super) fn get<'a>(fields: &'a [Pair], name: &str) -> Option<&'a [u8]> {
    let found = fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(&found.1)
}

/// The host of `authority` in lower case without brackets kept apart from its port.
pub(super) fn authority(authority: &[u8]) -> Option<(String, Option<u16>)> {
    let found = crate::wire::authority::Authority::parse(authority)?;
    Some((found.host.to_ascii_lowercase(), found.port))
}

/// The codings of a message, in the order in which they were applied; `identity` is none.
pub(super) fn codings(value: &[u8]) -> Vec<String> {
    let value = String::from_utf8_lossy(value);
    let names = value.split(',').map(|name| name.trim().to_ascii_lowercase());
    names.filter(|name| !name.is_empty() && name != "identity").collect()
}

/// The body without its content codings; none where one of them is unknown or does not hold.
pub(super) fn decoded(body: &Bytes, codings: &[String]) -> Option<Bytes> {
    let mut body = body.clone();
    for coding in codings.iter().rev() {
        let mut out = Vec::new();
        let mut undoing = Undoing::of(coding)?;
        for piece in body.chunks(PIECE) {
            undoing.push(piece, &mut out).ok()?;
            if out.len() > MOST_DECODED {
                return None;
            }
        }
        undoing.finish().ok()?;
        body = out.into();
    }
    Some(body)
}

/// The body without the codings that the field `content-encoding` names; as it is where they cannot be undone.
#[cfg(feature = "proxy")]
pub(crate) fn uncoded(body: &Bytes, encoding: Option<&[u8]>) -> Bytes {
    encoding.and_then(|value| decoded(body, &codings(value))).unwrap_or_else(|| body.clone())
}

/// Whether `body` still has its outermost coding, though the file's format says that none is left.
pub(super) fn is_coded(body: &[u8], codings: &[String]) -> bool {
    let Some(mut undoing) = codings.last().and_then(|coding| Undoing::of(coding)) else { return false };
    let mut out = Vec::new();
    for piece in body.chunks(PIECE) {
        if undoing.push(piece, &mut out).is_err() {
            return false;
        }
        if out.len() > ENOUGH {
            return true;
        }
    }
    !body.is_empty() && undoing.finish().is_ok()
}

const PIECE: usize = 16 * 1024;
/// So much comes out of no text that only looks coded.
const ENOUGH: usize = 64 * 1024;
/// More is written with its coding left on.
const MOST_DECODED: usize = 256 << 20;

/// Name and value of every line.
pub(super) fn lines(fields: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// The start line of a message without its line end.
pub(super) fn start_line(message: &Message) -> &[u8] {
    let line = message.head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Method, target and version of a request.
pub(super) fn request_line(message: &Message) -> (&[u8], &[u8], &[u8]) {
    let mut words = start_line(message).splitn(3, |&byte| byte == b' ');
    let mut next = || words.next().unwrap_or_default();
    (next(), next(), next())
}

//! Bodies and streams that an archive holds in parts only.

use crate::engine::decode::percent;
use crate::session::tree::Node;

/// A form (`application/x-www-form-urlencoded`) from its parameters.
///
/// Programs list them decoded or as they were sent. Where every one could have been sent as it stands, it is taken so.
pub(super) fn form(params: &[Node<'_>]) -> Vec<u8> {
    let as_sent = params.iter().flat_map(|param| [param.get("name"), param.get("value")]).all(|part| {
        let part = part.bytes();
        let units = memchr::memchr_iter(b'%', part).all(|at| percent::unit(&part[at..], false).0 == 3);
        units && part.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"*-._~%+!'()".contains(&byte))
    });
    let mut body = Vec::new();
    for param in params {
        if !body.is_empty() {
            body.push(b'&');
        }
        for (part, before) in [(param.get("name"), None), (param.get("value"), Some(b'='))] {
            // A name alone is sent without the sign.
            if part.is_null() {
                continue;
            }
            body.extend(before);
            match as_sent {
                true => body.extend_from_slice(part.bytes()),
                false => percent::encode(part.bytes(), true, &mut body),
            }
        }
    }
    body
}

/// The body of `multipart/form-data`, and the boundary that was made up where `declared` is none. The flag says whether a
/// file's content is missing.
pub(super) fn multipart(params: &[Node<'_>], declared: Option<&[u8]>) -> (Vec<u8>, Vec<u8>, bool) {
    let boundary = declared.map_or_else(|| unused_boundary(params), <[u8]>::to_vec);
    let mut missing = false;
    let mut body = Vec::new();
    for param in params {
        body.extend_from_slice(b"--");
        body.extend_from_slice(&boundary);
        body.extend_from_slice(b"\r\nContent-Disposition: form-data; name=\"");
        quoted(param.get("name").bytes(), &mut body);
        body.push(b'"');
        if let Some(name) = param.get("fileName").text() {
            body.extend_from_slice(b"; filename=\"");
            quoted(name, &mut body);
            body.push(b'"');
        }
        let kind = param.get("contentType").bytes();
        if !kind.is_empty() && kind.iter().all(|&byte| (0x20..0x7f).contains(&byte)) {
            body.extend_from_slice(b"\r\nContent-Type: ");
            body.extend_from_slice(kind);
        }
        body.extend_from_slice(b"\r\n\r\n");
        let value = param.get("value").bytes();
        missing |= value.is_empty() && param.get("fileName").text().is_some();
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--");
    body.extend_from_slice(&boundary);
    body.extend_from_slice(b"--\r\n");
    (body, boundary, missing)
}

/// The same for the same parameters, and in none of them.
fn unused_boundary(params: &[Node<'_>]) -> Vec<u8> {
    for number in 0u64.. {
        let boundary = format!("rebuilt-{number:016}").into_bytes();
        let taken = |part: &Node<'_>| memchr::memmem::find(part.bytes(), &boundary).is_some();
        if !params.iter().any(|param| taken(param.get("value"))) {
            return boundary;
        }
    }
    Vec::new()
}

/// As browsers quote names of parts (HTML, multipart/form-data encoding algorithm).
fn quoted(name: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        match byte {
            b'"' => out.extend_from_slice(b"%22"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'\n' => out.extend_from_slice(b"%0A"),
            _ => out.push(byte),
        }
    }
}

/// The boundary that a content type declares.
pub(super) fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let at = content_type.to_ascii_lowercase().windows(9).position(|window| window == b"boundary=")? + 9;
    let rest = &content_type[at..];
    let value = match rest.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|&byte| byte == b'"').next()?,
        None => rest.split(|&byte| byte == b';').next()?.trim_ascii(),
    };
    let plain = value.iter().all(|&byte| (0x20..0x7f).contains(&byte));
    (plain && (1..=70).contains(&value.len())).then_some(value)
}

/// The stream that a list of its events was (HTML, server-sent events).
pub(super) fn events(events: &[Node<'_>]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut line = |name: &[u8], value: &[u8]| {
        for value in value.split(|&byte| byte == b'\n') {
            stream.extend_from_slice(name);
            stream.extend_from_slice(value);
            stream.push(b'\n');
        }
    };
    for event in events {
        let name = event.get("eventName").bytes();
        if !name.is_empty() && name != b"message" {
            line(b"event: ", name);
        }
        let id = event.get("eventId").bytes();
        if !id.is_empty() {
            line(b"id: ", id);
        }
        line(b"data: ", event.get("data").bytes());
        line(b"", b"");
    }
    stream
}

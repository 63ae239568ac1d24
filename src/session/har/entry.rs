//! One entry as an exchange.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use bytes::Bytes;

use super::rebuild;
use super::url::{NoUrl, Url};
use crate::session::damage::Damages;
use crate::session::flow::{BodyState, Exchange, Message, Millis, WebSocketMessage};
use crate::session::http::{self, Pair};
use crate::session::time;
use crate::session::tree::Node;

/// Padding is often lost on the way.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The exchange of a whole entry, without id. None where nothing was sent or it cannot be told what; `damages` says why.
pub(super) fn exchange(file: &Bytes, entry: &Node<'_>, damages: &mut Damages) -> Option<Exchange> {
    let request = entry.get("request");
    let url = match Url::read(request.get("url").bytes()) {
        Ok(url) => url,
        Err(NoUrl::Local) => {
            damages.note("its URL is of the program itself, not of the network");
            return None;
        }
        Err(NoUrl::Broken) => {
            damages.lost("its URL names no server of http or https");
            return None;
        }
    };
    if url.user {
        damages.note("the user in the URL is left out; a client sends it in the field `authorization`");
    }
    let response = entry.get("response");
    let read = [entry, request, request.get("postData"), response, response.get("content")];
    if read.iter().any(|node| node.repeats()) {
        damages.note("a member is there twice; the last is taken");
    }
    let cached = entry.get("_fromCache");
    if matches!(cached, Node::Text(_)) || *cached == Node::Token(b"true") {
        damages.note("answered from a cache: perhaps it was never sent");
    }
    let exchange = Exchange {
        started: started(entry, damages),
        host: url.host.clone(),
        port: url.port,
        secure: url.secure,
        request: sent(file, request, &url, damages)?,
        response: received(file, entry, damages),
        messages: messages(file, entry, damages),
        ..Exchange::default()
    };
    http::check(&exchange, damages);
    let lasted = entry.get("time").number().filter(|&millis| (0.0..1e12).contains(&millis));
    let ended = exchange.started.zip(lasted).map(|(started, lasted)| started + lasted.round() as Millis);
    Some(Exchange { ended, ..exchange })
}

/// What follows the request of `entry` may not be all there.
pub(super) fn cut(exchange: &mut Exchange, entry: &Node<'_>) {
    let Node::Object(members) = entry else { return };
    if members.last().is_some_and(|(name, _)| name[..] == *b"response")
        && let Some(response) = &mut exchange.response
    {
        response.body_state = BodyState::Cut;
    }
}

fn started(entry: &Node<'_>, damages: &mut Damages) -> Option<Millis> {
    let spelled = entry.get("startedDateTime");
    let read = time::read(spelled.str());
    if read.is_none() {
        damages.note("its date cannot be read");
    }
    // Written for a time that is not known: nobody captured anything then.
    read.filter(|&at| at != 0)
}

fn sent(file: &Bytes, request: &Node<'_>, url: &Url<'_>, damages: &mut Damages) -> Option<Message> {
    let (pseudo, mut fields) = fields(request, damages);
    let pseudo = |name: &str| http::get(&pseudo, name);
    let mut method = pseudo(":method").unwrap_or_else(|| request.get("method").bytes());
    if pseudo(":protocol").is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
        // RFC 8441: what HTTP/1.1 asks with GET and `upgrade`.
        method = b"GET";
    }
    let target: Cow<'_, [u8]> = match pseudo(":path") {
        _ if method == b"CONNECT" => format!("{}:{}", url.host, url.port).into_bytes().into(),
        Some(path) if path.starts_with(b"/") || path == b"*" => path.into(),
        _ if url.target.starts_with(b"/") => url.target.into(),
        _ => [b"/", url.target].concat().into(),
    };
    if http::get(&fields, "host").is_none() {
        let authority = pseudo(":authority").unwrap_or(url.authority);
        fields.insert(0, (b"host".to_vec(), authority.to_vec()));
    }
    cookies(request, &mut fields, damages);
    let post = request.get("postData");
    let declared = length(&fields);
    let mut body = text(file, post, declared, damages);
    if body.is_empty() && !post.get("params").items().is_empty() {
        body = rebuilt(post, &mut fields, damages);
    }
    let mut message = Message { body, trailers: trailers(request, damages), ..Message::default() };
    uncoded(&mut message.body, post, &mut fields);
    state(&mut message, request, damages);
    let said = length(&fields);
    let missing = match said {
        Some(said) => (message.body.len() as u64) < said,
        None => message.body.is_empty() && request.get("bodySize").number().is_some_and(|size| size > 0.0),
    };
    if missing && message.body_state == BodyState::Whole && method != b"HEAD" {
        message.body_state = BodyState::Cut;
        let there = message.body.len();
        damages.lost(match said {
            Some(said) => format!("of a body of {said} bytes the file holds {there}"),
            None => "the file does not hold its body".to_owned(),
        });
    } else if said.is_some_and(|said| (message.body.len() as u64) > said) {
        match memchr::memmem::find(&message.body, "\u{fffd}".as_bytes()) {
            // So Chromium writes the bytes of files in a form.
            Some(_) => damages.lost("bytes of its body that are no text were replaced by the program that captured it"),
            None => damages.note("its body is longer than it was sent: the program that captured it wrote it anew"),
        }
    }
    let version = request.get("httpVersion").bytes();
    message.head = http::request_head(method, &target, version, &fields, damages)?.into();
    Some(message)
}

fn received(file: &Bytes, entry: &Node<'_>, damages: &mut Damages) -> Option<Message> {
    let response = entry.get("response");
    let status = response.get("status").number().filter(|status| (100.0..1000.0).contains(status))? as u16;
    let (_, mut fields) = fields(response, damages);
    let content = response.get("content");
    let mut body = text(file, content, None, damages);
    let events = entry.get("_eventSourceMessages").items();
    let rebuilt = body.is_empty() && !events.is_empty();
    if rebuilt {
        damages.note("the stream of the answer is rebuilt from its events");
        body = rebuild::events(events).into();
    }
    let size = content.get("size").number().unwrap_or(-1.0);
    // Other character sets have another length as UTF-8.
    let kind = content.get("mimeType").bytes().to_ascii_lowercase();
    let comparable = memchr::memmem::find(&kind, b"charset").is_none()
        || memchr::memmem::find(&kind, b"utf-8").is_some()
        || body.is_empty();
    // Of answers that broke off Chrome keeps nothing, and says no size either.
    let declared = length(&fields).is_some_and(|length| length > 0);
    let none = content.get("text").is_null() && declared && !matches!(status, 204 | 304) && !is_head(entry);
    let cut = !rebuilt && (none || comparable && (body.len() as f64) < size);
    let mut message = Message { body, trailers: trailers(response, damages), ..Message::default() };
    uncoded(&mut message.body, content, &mut fields);
    state(&mut message, response, damages);
    if cut && message.body_state == BodyState::Whole {
        message.body_state = BodyState::Cut;
        damages.note("the file does not hold all of the answer");
    }
    let (reason, version) = (response.get("statusText").bytes(), response.get("httpVersion").bytes());
    message.head = http::response_head(status, reason, version, &fields, damages).into();
    Some(message)
}

fn is_head(entry: &Node<'_>) -> bool {
    entry.get("request").get("method").bytes() == b"HEAD"
}

/// What HTTP/2 puts in front of the fields, and the fields.
fn fields(message: &Node<'_>, damages: &mut Damages) -> (Vec<Pair>, Vec<Pair>) {
    let pair = |field: &Node<'_>| {
        let value = match field.get("value") {
            Node::Token(b"null") => Vec::new(),
            Node::Token(raw) => raw.to_vec(),
            value => value.bytes().to_vec(),
        };
        (field.get("name").bytes().to_vec(), value)
    };
    let headers = message.get("headers");
    if !matches!(headers, Node::Array(_)) {
        damages.lost("a message without a list of headers");
    }
    headers.items().iter().map(pair).partition(|(name, _)| name.starts_with(b":"))
}

/// Chrome lists cookies even where it keeps their field back.
fn cookies(request: &Node<'_>, fields: &mut Vec<Pair>, damages: &mut Damages) {
    let cookies = request.get("cookies").items();
    if cookies.is_empty() || http::get(fields, "cookie").is_some() {
        return;
    }
    damages.note("the field `cookie` is rebuilt from the list of cookies");
    let pairs = cookies.iter().map(|cookie| [cookie.get("name").bytes(), b"=", cookie.get("value").bytes()].concat());
    fields.push((b"cookie".to_vec(), pairs.collect::<Vec<_>>().join(&b"; "[..])));
}

/// The bytes of `postData` or `content`. `sent`: how many there were, if that is known.
fn text(file: &Bytes, content: &Node<'_>, sent: Option<u64>, damages: &mut Damages) -> Bytes {
    let Some(text) = content.get("text").text() else { return Bytes::new() };
    if content.get("encoding").bytes().eq_ignore_ascii_case(b"base64") {
        return unbase64(text).unwrap_or_else(|| {
            damages.lost("a body is said to be base64 and is not");
            shared(file, text)
        });
    }
    if let Some(bytes) = sent.and_then(|sent| narrow(text, sent)) {
        damages.note("the bytes of its body were written as one character each");
        return bytes.into();
    }
    shared(file, text)
}

/// The bytes that the characters of `text` stand for, if there are as many as were sent and it cannot be UTF-8: so Firefox
/// writes what is no text.
fn narrow(text: &[u8], sent: u64) -> Option<Vec<u8>> {
    if text.len() as u64 == sent {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>()?;
    (bytes.len() as u64 == sent).then_some(bytes)
}

fn unbase64(text: &[u8]) -> Option<Bytes> {
    if let Ok(bytes) = STANDARD.decode(text) {
        return Some(bytes.into());
    }
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    LENIENT.decode(text).ok().map(Bytes::from)
}

/// A text without escapes is a part of the file and shares its memory.
fn shared(file: &Bytes, text: &[u8]) -> Bytes {
    if file.as_ptr_range().contains(&text.as_ptr()) { file.slice_ref(text) } else { Bytes::copy_from_slice(text) }
}

fn rebuilt(post: &Node<'_>, fields: &mut Vec<Pair>, damages: &mut Damages) -> Bytes {
    let params = post.get("params").items();
    let kind = http::get(fields, "content-type").unwrap_or_else(|| post.get("mimeType").bytes()).to_vec();
    if !kind.to_ascii_lowercase().starts_with(b"multipart/") {
        damages.note("its body is rebuilt from the parameters of a form; their spelling may have been another");
        return rebuild::form(params).into();
    }
    let declared = rebuild::boundary(&kind);
    let (body, boundary, missing) = rebuild::multipart(params, declared);
    if declared.is_none() {
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-type"));
        fields.push((b"content-type".to_vec(), [b"multipart/form-data; boundary=", &boundary[..]].concat()));
    }
    damages.note("its body is rebuilt from the parts of a form; their heads may have been others");
    if missing {
        damages.lost("the file does not hold the files that were sent in a form");
    }
    // The length that was declared is that of the body as it was sent.
    set_length(fields, body.len());
    body.into()
}

/// Archives hold bodies without their content coding: the field must not tell the engine to undo it again. A body that
/// still has it, which some programs write, keeps the field.
fn uncoded(body: &mut Bytes, content: &Node<'_>, fields: &mut Vec<Pair>) {
    let value = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding"));
    let value: Vec<&[u8]> = value.map(|(_, value)| &value[..]).collect();
    let codings = http::codings(&value.join(&b","[..]));
    let kept = *content.get("_coded") == Node::Token(b"true");
    if codings.is_empty() || body.is_empty() || kept || http::is_coded(body, &codings) {
        return;
    }
    fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-encoding"));
    set_length(fields, body.len());
}

fn set_length(fields: &mut [Pair], length: usize) {
    for (name, value) in fields {
        if name.eq_ignore_ascii_case(b"content-length") {
            *value = length.to_string().into_bytes();
        }
    }
}

fn length(fields: &[Pair]) -> Option<u64> {
    std::str::from_utf8(http::get(fields, "content-length")?).ok()?.trim().parse().ok()
}

/// `_trailers`, an extension of divulge alone.
fn trailers(message: &Node<'_>, damages: &mut Damages) -> Bytes {
    let items = message.get("_trailers").items();
    let pair = |field: &Node<'_>| (field.get("name").bytes().to_vec(), field.get("value").bytes().to_vec());
    let fields: Vec<Pair> = items.iter().map(pair).collect();
    let mut lines = Vec::new();
    http::put_fields(&fields, &mut lines, damages);
    lines.into()
}

/// `_bodyState`, an extension of divulge alone: a body that was masked is not taken for what was sent.
fn state(message: &mut Message, node: &Node<'_>, damages: &mut Damages) {
    let state = node.get("_bodyState");
    message.body_state = match state.bytes() {
        b"masked" => BodyState::Masked,
        b"cut" => BodyState::Cut,
        b"omitted" => {
            let digest = STANDARD.decode(node.get("_bodySha256").bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            match (node.get("_bodyLength").number(), digest) {
                (Some(length), Some(sha256)) => BodyState::Omitted { length: length.max(0.0) as u64, sha256 },
                _ => BodyState::Cut,
            }
        }
        _ => return,
    };
    damages.note(format!("a body is {}: so it was exported", state.str()));
}

/// Chrome's extension: `{type, time, opcode, data}`, binary data in base64. Messages of opcodes 8 to 10 are control frames.
fn messages(file: &Bytes, entry: &Node<'_>, damages: &mut Damages) -> Vec<WebSocketMessage> {
    let mut messages = Vec::new();
    let list = entry.get("_webSocketMessages");
    if entry.get("response").get("status").number() == Some(101.0) && !matches!(list, Node::Array(_)) {
        // Firefox keeps them to itself.
        damages.lost("the messages of a WebSocket are not in the file");
    }
    for message in list.items() {
        let from_client = match message.get("type").bytes() {
            b"send" | b"request" => true,
            b"receive" | b"response" => false,
            _ => {
                damages.lost("a WebSocket message of neither side");
                continue;
            }
        };
        let opcode = message.get("opcode").number().unwrap_or(1.0);
        if !(0.0..8.0).contains(&opcode) {
            continue;
        }
        let Some(data) = message.get("data").text() else {
            damages.lost("a WebSocket message without data");
            continue;
        };
        let text = opcode != 2.0;
        let coded = !text || message.get("encoding").bytes() == b"base64";
        let data = match coded.then(|| unbase64(data)) {
            Some(Some(data)) => data,
            Some(None) => {
                damages.note("a binary WebSocket message is not in base64 and taken as it stands");
                shared(file, data)
            }
            None => shared(file, data),
        };
        let seconds = message.get("time").number().filter(|seconds| (1.0..1e11).contains(seconds));
        let at = seconds.map(|seconds| (seconds * 1000.0).round() as Millis);
        messages.push(WebSocketMessage { from_client, text, at, data });
    }
    messages
}

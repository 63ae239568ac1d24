//! Writes an archive. The same exchanges give the same bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::entry;
use super::read::Around;
use crate::engine::decode::percent;
use crate::session::damage::Damages;
use crate::session::flow::{BodyState, Exchange, Message};
use crate::session::{http, time, tree};

/// Writes piece by piece: what is in `out` between two calls may be moved on and `out` emptied.
#[derive(Debug)]
pub struct Writer {
    any: bool,
}

impl Writer {
    /// `around`: what stood beside the entries of the archive that these came from.
    pub fn begin(around: &Around, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(b"{\"log\":{");
        let known = |wanted: &[u8]| around.members.iter().any(|(name, _)| name == wanted);
        if !known(b"\"version\"") {
            out.extend_from_slice(b"\"version\":\"1.2\",");
        }
        if !known(b"\"creator\"") {
            let creator = json!({"name": "divulge", "version": env!("CARGO_PKG_VERSION")});
            out.extend_from_slice(format!("\"creator\":{creator},").as_bytes());
        }
        for (name, value) in &around.members {
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(value);
            out.push(b',');
        }
        out.extend_from_slice(b"\"entries\":[\n");
        Self { any: false }
    }

    pub fn put(&mut self, exchange: &Exchange, out: &mut Vec<u8>) {
        if self.any {
            out.extend_from_slice(b",\n");
        }
        self.any = true;
        match as_imported(exchange) {
            Some(entry) => out.extend_from_slice(entry),
            None => out.extend_from_slice(entry_of(exchange).to_string().as_bytes()),
        }
    }

    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\n]}}\n");
    }
}

/// A whole archive.
pub fn write<'e>(exchanges: impl IntoIterator<Item = &'e Exchange>, around: &Around) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::begin(around, &mut out);
    for exchange in exchanges {
        writer.put(exchange, &mut out);
    }
    writer.end(&mut out);
    out
}

/// The entry that `exchange` was read from, if it says still the same: then all of it is kept, unknown members too. After
/// any change nothing of it is: a value that was masked since must not come back by way of what the program wrote beside.
fn as_imported(exchange: &Exchange) -> Option<&[u8]> {
    let text = exchange.extra.as_ref()?;
    std::str::from_utf8(text).ok()?;
    serde_json::from_slice::<serde::de::IgnoredAny>(text).ok()?;
    let tree = tree::read(text, 0);
    if tree.broken.is_some() || tree.end != text.len() {
        return None;
    }
    let again = entry::exchange(text, &tree.root, &mut Damages::new())?;
    let same =
        Exchange { id: exchange.id.clone(), lines: exchange.lines.clone(), extra: exchange.extra.clone(), ..again };
    (same == *exchange).then_some(text)
}

fn entry_of(exchange: &Exchange) -> Value {
    let lasted = exchange.started.zip(exchange.ended).map_or(0, |(started, ended)| ended.saturating_sub(started));
    let mut entry = Map::new();
    entry.insert("startedDateTime".into(), time::spell(exchange.started.unwrap_or(0)).into());
    entry.insert("time".into(), lasted.into());
    entry.insert("request".into(), request(exchange));
    entry.insert("response".into(), response(exchange));
    entry.insert("cache".into(), json!({}));
    entry.insert("timings".into(), json!({"send": 0, "wait": lasted, "receive": 0}));
    let switched = exchange.response.as_ref().and_then(Message::status) == Some(101);
    if switched || !exchange.messages.is_empty() {
        let messages = exchange.messages.iter().map(|message| {
            let as_text = message.text.then(|| std::str::from_utf8(&message.data).ok()).flatten();
            let mut line = json!({
                "type": if message.from_client { "send" } else { "receive" },
                "time": message.at.unwrap_or(0) as f64 / 1000.0,
                "opcode": if message.text { 1 } else { 2 },
                "data": as_text.map_or_else(|| STANDARD.encode(&message.data), str::to_owned),
            });
            if message.text && as_text.is_none() {
                line["encoding"] = "base64".into();
            }
            line
        });
        entry.insert("_resourceType".into(), "websocket".into());
        entry.insert("_webSocketMessages".into(), messages.collect());
    }
    entry.into()
}

fn request(exchange: &Exchange) -> Value {
    let message = &exchange.request;
    let (method, target, version) = http::request_line(message);
    let target = text_of(target);
    let cookies = message.field("cookie").map(text_of).unwrap_or_default();
    let cookies = cookies.split(';').filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        Some(json!({"name": name, "value": value}))
    });
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| {
            let mut out = Vec::new();
            percent::decode(text.as_bytes(), true, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        json!({"name": decoded(name), "value": decoded(value)})
    });
    let mut value = json!({
        "method": text_of(method),
        "url": url(exchange, &target),
        "httpVersion": text_of(version),
        "cookies": cookies.collect::<Value>(),
        "headers": fields(message.fields()),
        "queryString": query.collect::<Value>(),
        "headersSize": message.head.len(),
        "bodySize": message.body.len(),
    });
    if !message.body.is_empty() {
        let mut content = json!({"mimeType": message.field("content-type").map(text_of).unwrap_or_default()});
        body(message, &mut content);
        value["postData"] = content;
    }
    beside(message, &mut value);
    value
}

fn url(exchange: &Exchange, target: &str) -> String {
    let socket = !exchange.messages.is_empty();
    let (scheme, default) = match (exchange.secure, socket) {
        (true, false) => ("https", 443),
        (true, true) => ("wss", 443),
        (false, false) => ("http", 80),
        (false, true) => ("ws", 80),
    };
    let port = if exchange.port == default { String::new() } else { format!(":{}", exchange.port) };
    // A request to a proxy names the whole URL as its target.
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |path| &rest[path..]),
        _ if target.starts_with('/') => target,
        _ => "/",
    };
    format!("{scheme}://{}{port}{target}", exchange.host)
}

fn response(exchange: &Exchange) -> Value {
    let Some(message) = &exchange.response else {
        // How Chrome writes that none came.
        return json!({
            "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
            "content": {"size": 0, "mimeType": "x-unknown"}, "redirectURL": "", "headersSize": -1, "bodySize": -1,
        });
    };
    let mut words = http::start_line(message).splitn(3, |&byte| byte == b' ');
    let (version, _, reason) = (words.next(), words.next(), words.next());
    let set = message.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie"));
    let cookies = set.filter_map(|(_, value)| {
        let value = text_of(value);
        let (name, value) = value.split(';').next()?.split_once('=')?;
        Some(json!({"name": name.trim(), "value": value.trim()}))
    });
    let mut content = json!({
        "size": message.body.len(),
        "mimeType": message.field("content-type").map(text_of).unwrap_or_default(),
    });
    let size = body(message, &mut content);
    content["size"] = size.into();
    let mut value = json!({
        "status": message.status().unwrap_or(0),
        "statusText": reason.map(text_of).unwrap_or_default(),
        "httpVersion": version.map(text_of).unwrap_or_default(),
        "cookies": cookies.collect::<Value>(),
        "headers": fields(message.fields()),
        "content": content,
        "redirectURL": message.field("location").map(text_of).unwrap_or_default(),
        "headersSize": message.head.len(),
        "bodySize": message.body.len(),
    });
    beside(message, &mut value);
    value
}

/// Puts the body without its content coding; gives its length.
fn body(message: &Message, content: &mut Value) -> usize {
    let values = message.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding"));
    let codings = http::codings(&values.map(|(_, value)| value).collect::<Vec<_>>().join(&b","[..]));
    // What is masked or cut is no longer in its coding, or cannot be undone to the end.
    let plain = match codings.is_empty() {
        true => Some(message.body.clone()),
        false => http::decoded(&message.body, &codings),
    };
    if plain.is_none() && message.body_state != BodyState::Masked {
        content["_coded"] = true.into();
    }
    let bytes: Bytes = plain.unwrap_or_else(|| message.body.clone());
    match std::str::from_utf8(&bytes) {
        Ok(text) => content["text"] = text.into(),
        Err(_) => {
            content["text"] = STANDARD.encode(&bytes).into();
            content["encoding"] = "base64".into();
        }
    }
    bytes.len()
}

/// What the format has no place for.
fn beside(message: &Message, value: &mut Value) {
    if !message.trailers.is_empty() {
        value["_trailers"] = fields(http::lines(&message.trailers));
    }
    let state = match &message.body_state {
        BodyState::Whole => return,
        BodyState::Cut => "cut",
        BodyState::Masked => "masked",
        BodyState::Omitted { length, sha256 } => {
            value["_bodyLength"] = (*length).into();
            value["_bodySha256"] = STANDARD.encode(sha256).into();
            "omitted"
        }
    };
    value["_bodyState"] = state.into();
}

fn fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Value {
    fields.map(|(name, value)| json!({"name": text_of(name), "value": text_of(value)})).collect()
}

/// UTF-8 as it is; other bytes as a character each, as browsers show them.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

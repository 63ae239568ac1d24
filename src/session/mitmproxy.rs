//! Flow files of mitmproxy (`mitmdump -w`): one netstring after another, in.
//!
//! Versions 18 to 21 of the format, which mitmproxy 9 to 12 write, have what is read here in the same places.

use bytes::Bytes;

use super::damage::{Damage, Damages};
use super::flow::{BodyState, Exchange, Message, Millis, WebSocketMessage};
use super::http::{self, Pair};
use super::tnetstring::{self, Value};

const OLDEST: i64 = 18;
const NEWEST: i64 = 21;

/// Whether this begins as a flow does: a length of a dictionary, and in it the length of a name.
pub(super) fn is_flows(file: &[u8]) -> bool {
    let digits = |at: usize| file.iter().skip(at).take(12).take_while(|byte| byte.is_ascii_digit()).count();
    let outer = digits(0);
    let inner = digits(outer + 1);
    outer > 0 && inner > 0 && file.get(outer) == Some(&b':') && file.get(outer + 1 + inner) == Some(&b':')
}

/// Gives every HTTP flow to `each` in the order of the file, and says what could not be read.
pub fn read(file: &Bytes, each: &mut dyn FnMut(Exchange)) -> Vec<Damage> {
    let mut damages = Damages::new();
    // Most bytes that are looked through again after damages, so that they cost no more than the file's length.
    let mut budget = file.len() * 4 + 4096;
    let (mut at, mut count) = (0, 0u64);
    while at < file.len() {
        count += 1;
        (damages.offset, damages.entry) = (at as u64, Some(count));
        match tnetstring::read(file, at) {
            Ok((flow, end)) => {
                if let Some(mut exchange) = exchange(file, &flow, &mut damages) {
                    exchange.id = count.to_string();
                    each(exchange);
                }
                at = end;
            }
            Err(wrong) => {
                // A broken length hides where the next begins.
                let next = next_flow(file, at, &mut budget);
                let rest = if next.is_none() { ", nor anything behind it" } else { "" };
                damages.lost(format!("{} at offset {}; it is not read{rest}", wrong.reason, wrong.at));
                match next {
                    Some(next) => at = next,
                    None => break,
                }
            }
        }
    }
    damages.into_list()
}

/// The first flow behind `at` that can be read whole.
fn next_flow(file: &[u8], at: usize, budget: &mut usize) -> Option<usize> {
    // A dictionary ends in front of it.
    for end in memchr::memchr_iter(b'}', file.get(at..)?) {
        let start = at + end + 1;
        if !is_flows(file.get(start..)?) {
            continue;
        }
        let read = tnetstring::read(file, start);
        let seen = read.as_ref().map_or_else(|wrong| wrong.at.max(start), |&(_, end)| end) - start;
        *budget = budget.checked_sub(seen + 1)?;
        if read.is_ok_and(|(flow, _)| !flow.get("version").is_null() && !flow.get("type").is_null()) {
            return Some(start);
        }
    }
    None
}

fn exchange(file: &Bytes, flow: &Value<'_>, damages: &mut Damages) -> Option<Exchange> {
    match flow.get("version").int() {
        Some(OLDEST..=NEWEST) => {}
        Some(newer) if newer > NEWEST => {
            damages.note(format!("version {newer} of the format is not known; it is read as version {NEWEST}"));
        }
        Some(older) => {
            damages.lost(format!("version {older} of the format is too old; mitmdump -r OLD -w NEW writes it anew"));
            return None;
        }
        None => {
            damages.lost("this is no flow of mitmproxy 4 or later");
            return None;
        }
    }
    match flow.get("type").bytes() {
        b"http" => {}
        kind @ (b"tcp" | b"udp" | b"dns") => {
            let name = String::from_utf8_lossy(kind);
            damages.lost(format!("a flow of {name}; flows of HTTP alone are read"));
            return None;
        }
        _ => {
            damages.lost("a flow of no known type");
            return None;
        }
    }
    let request = flow.get("request");
    let secure = request.get("scheme").bytes() == b"https";
    let server = flow.get("server_conn");
    let port = request.get("port").int().and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0);
    let mut exchange = Exchange {
        started: millis(request.get("timestamp_start")),
        host: host(request, server, secure, damages)?,
        port: port.unwrap_or(if secure { 443 } else { 80 }),
        secure,
        request: sent(file, request, damages)?,
        response: None,
        messages: messages(file, flow.get("websocket"), damages),
        ..Exchange::default()
    };
    let response = flow.get("response");
    let error = flow.get("error");
    if !response.is_null() {
        let mut received = received(file, response, damages);
        if !error.is_null() {
            // It broke off while the answer came.
            received.body_state = BodyState::Cut;
        }
        exchange.response = Some(received);
    }
    let ends = [
        request.get("timestamp_end"),
        response.get("timestamp_end"),
        error.get("timestamp"),
        flow.get("websocket").get("timestamp_end"),
    ];
    exchange.ended = ends.into_iter().filter_map(millis).max();
    http::check(&exchange, damages);
    Some(exchange)
}

/// Whom the client meant. A transparent proxy knows the address alone, and the name from the handshake or the field.
fn host(request: &Value<'_>, server: &Value<'_>, secure: bool, damages: &mut Damages) -> Option<String> {
    let bracketed = |name: &[u8]| {
        // mitmproxy writes IPv6 addresses without brackets.
        let colons = name.iter().filter(|&&byte| byte == b':').count();
        let name = if colons > 1 && !name.starts_with(b"[") { [b"[", name, b"]"].concat() } else { name.to_vec() };
        http::authority(&name).map(|(host, _)| host)
    };
    let asked = bracketed(request.get("host").bytes());
    let address = |host: &String| host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let asked = match asked {
        Some(host) if !address(&host) => return Some(host),
        asked => asked,
    };
    let field = pairs(request.get("headers")).into_iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    let named = [
        if secure { server.get("sni").bytes().to_vec() } else { Vec::new() },
        request.get("authority").bytes().to_vec(),
        field.map(|(_, value)| value).unwrap_or_default(),
    ];
    let named = named.iter().filter_map(|name| bracketed(name)).find(|host| !address(host));
    let reached = || bracketed(server.get("address").item(0).bytes());
    let found = named.or(asked).or_else(reached);
    if found.is_none() {
        damages.lost("no host is named");
    }
    found
}

fn sent(file: &Bytes, request: &Value<'_>, damages: &mut Damages) -> Option<Message> {
    let mut fields = pairs(request.get("headers"));
    let authority = request.get("authority").bytes();
    if http::get(&fields, "host").is_none() && !authority.is_empty() {
        fields.insert(0, (b"host".to_vec(), authority.to_vec()));
    }
    let method = request.get("method").bytes();
    let target = if method == b"CONNECT" { authority } else { request.get("path").bytes() };
    let head = http::request_head(method, target, request.get("http_version").bytes(), &fields, damages)?;
    let mut message = Message { head: head.into(), ..rest(file, request, damages) };
    if request.get("content").is_null() {
        // So it is kept where bodies are streamed.
        message.body_state = BodyState::Cut;
        damages.lost("the body of the request is not in the file");
    }
    Some(message)
}

fn received(file: &Bytes, response: &Value<'_>, damages: &mut Damages) -> Message {
    let status = response.get("status_code").int().and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (100..1000).contains(status)).unwrap_or_else(|| {
        damages.note("the status of the answer is none");
        0
    });
    let fields = pairs(response.get("headers"));
    let (reason, version) = (response.get("reason").bytes(), response.get("http_version").bytes());
    let head = http::response_head(status, reason, version, &fields, damages);
    let mut message = Message { head: head.into(), ..rest(file, response, damages) };
    if response.get("content").is_null() {
        message.body_state = BodyState::Cut;
    }
    message
}

/// Body and trailers.
fn rest(file: &Bytes, message: &Value<'_>, damages: &mut Damages) -> Message {
    let mut trailers = Vec::new();
    http::put_fields(&pairs(message.get("trailers")), &mut trailers, damages);
    Message { body: shared(file, message.get("content").bytes()), trailers: trailers.into(), ..Message::default() }
}

fn messages(file: &Bytes, socket: &Value<'_>, damages: &mut Damages) -> Vec<WebSocketMessage> {
    let mut messages = Vec::new();
    for message in socket.get("messages").items() {
        // Opcode, side, content, time, dropped, injected.
        let text = match message.item(0).int() {
            Some(1) => true,
            Some(2) => false,
            _ => {
                damages.lost("a WebSocket message that is neither text nor binary");
                continue;
            }
        };
        if message.item(4).is_true() {
            damages.note("a WebSocket message was dropped by mitmproxy and never reached the other side");
        }
        messages.push(WebSocketMessage {
            from_client: message.item(1).is_true(),
            text,
            at: millis(message.item(3)),
            data: shared(file, message.item(2).bytes()),
        });
    }
    messages
}

fn pairs(fields: &Value<'_>) -> Vec<Pair> {
    fields.items().iter().map(|field| (field.item(0).bytes().to_vec(), field.item(1).bytes().to_vec())).collect()
}

fn shared(file: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { file.slice_ref(part) }
}

fn millis(seconds: &Value<'_>) -> Option<Millis> {
    let seconds = seconds.number().filter(|seconds| (1.0..1e11).contains(seconds))?;
    Some((seconds * 1000.0).round() as Millis)
}

//! Carriers that are seen less often: names of members, server-sent events as a body, a message in a query, structured
//! fields, quoted cookies, requests inside a request.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::carrier::{Carrier, Pieces, Sent, field_name, part, parts, post, request, whole};
use crate::document::{self, Node, compact, escape, filler, prose};
use crate::load::{Load, compressed, percent};
use crate::proto;
use crate::random::Rng;

/// The value alone or in a sentence, without a name to speak for it.
fn alone(load: &Load) -> bool {
    load.is_bare && !load.escaped && !load.needs_name && load.inner == [""]
}

/// The same, in a head field.
fn in_head(load: &Load) -> bool {
    load.is_bare && !load.escaped && load.inner == [""] && load.fits_head()
}

fn short(load: &Load) -> bool {
    !load.escaped && load.bytes.len() < 2000
}

pub const CARRIERS: &[Carrier] = &[
    Carrier { name: "member name", loads: 1, takes: |load| alone(load) && load.is_telling, carry: member_name },
    Carrier { name: "server-sent events", loads: 2, takes: |_| true, carry: server_sent },
    Carrier { name: "connect get", loads: 1, takes: |load| short(load) && !load.needs_name, carry: connect_get },
    Carrier { name: "structured list", loads: 1, takes: in_head, carry: structured_list },
    Carrier { name: "structured dictionary", loads: 1, takes: in_head, carry: structured_dictionary },
    Carrier { name: "quoted cookie", loads: 1, takes: in_head, carry: quoted_cookie },
    Carrier { name: "address in a query", loads: 1, takes: in_head, carry: address_in_query },
    Carrier { name: "referer", loads: 1, takes: |load| in_head(load) && !load.needs_name, carry: referer },
    Carrier { name: "batch", loads: 2, takes: short, carry: batch },
    Carrier { name: "related parts", loads: 1, takes: |load| !load.escaped, carry: related },
    Carrier { name: "rpc", loads: 1, takes: |_| true, carry: rpc },
    Carrier { name: "graphql", loads: 2, takes: |_| true, carry: graphql },
];

/// Objects under names that are values: what a public list has is a list there.
fn member_name(rng: &mut Rng, loads: &[Load]) -> Sent {
    let name = loads[0].text().to_owned();
    let held = Node::Object(vec![filler(rng)]);
    let root = match rng.percent(50) {
        true => Node::object([("seq", Node::Bare("17".into())), ("seen", Node::Object(vec![(name.clone(), held)]))]),
        false => Node::object([("seen", Node::Object(vec![filler(rng), (name.clone(), Node::Bare("3".into()))]))]),
    };
    let mut sent = whole(
        post(rng, "application/json", "", compact(&root).as_bytes()),
        vec![format!("body!json:/seen/{}", escape(&name))],
    );
    sent.places[0].push("body!json:/seen".to_owned());
    sent
}

/// Lines that are empty do not count.
fn server_sent(rng: &mut Rng, loads: &[Load]) -> Sent {
    let mut text = String::new();
    let mut places = Vec::new();
    let (mut lines, mut all, mut events) = (0, 0, 0);
    if rng.percent(50) {
        text.push_str(": hello\n\n");
        (lines, all) = (1, 2);
    }
    for load in loads {
        let (json, pointers) = document::json(rng, std::slice::from_ref(load));
        // One line each, whatever the style.
        let value: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
        let json = if json.contains('\n') { value.to_string() } else { json };
        let named = rng.percent(60);
        if named {
            text.push_str("event: delta\n");
            (lines, all) = (lines + 1, all + 1);
        }
        text.push_str(&format!("data:{}{json}\n\n", rng.pick(&[" ", ""])));
        let inner = format!("!json:{}", pointers[0]);
        places.push([lines, all, events].map(|number| format!("body!lines:/{number}{inner}")).to_vec());
        (lines, all, events) = (lines + 1, all + 2, events + 1);
    }
    text.push_str("data: [DONE]\n\n");
    Sent { raw: post(rng, "text/event-stream", "", text.as_bytes()), pieces: Pieces::Whole, places }
}

/// The message of a unary call without side effects (connectrpc.com/docs/protocol, Unary-Get-Request).
fn connect_get(rng: &mut Rng, loads: &[Load]) -> Sent {
    if rng.percent(50) {
        let (text, pointers) = document::json(rng, loads);
        let query = format!("connect=v1&encoding=json&message={}", percent(text.as_bytes(), false));
        let raw = request(&format!("GET /agent.v1.Agent/Get?{query}"), "api.example.com", "", b"");
        return whole(raw, vec![format!("query!form:/message!json:{}", pointers[0])]);
    }
    let (bytes, paths) = proto::message(rng, loads);
    let packed = rng.percent(40);
    let bytes = if packed { compressed("!gzip", &bytes) } else { bytes };
    let padded = rng.percent(30);
    let text = if padded { URL_SAFE.encode(&bytes) } else { URL_SAFE_NO_PAD.encode(&bytes) };
    let more = if packed { "&compression=gzip" } else { "" };
    let query = format!("connect=v1&encoding=proto&base64=1{more}&message={}", percent(text.as_bytes(), false));
    let step = if packed { "!gzip" } else { "" };
    let mut sent = whole(
        request(&format!("GET /agent.v1.Agent/Get?{query}"), "api.example.com", "", b""),
        vec![format!("query!form:/message!b64url{step}{}", paths[0])],
    );
    if !text.contains(['-', '_']) {
        sent.places[0].push(format!("query!form:/message!b64{step}{}", paths[0]));
    }
    sent
}

/// A string of RFC 9651, section 3.3.3, or a byte sequence where it is base64 anyway.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn structured_list(rng: &mut Rng, loads: &[Load]) -> Sent {
    let name = field_name(&loads[0]);
    let value = match rng.below(3) {
        0 => format!("{};v=1, other;q=0.5", quoted(loads[0].text())),
        1 => format!("first, (a b);n=2, {}", quoted(loads[0].text())),
        // A byte sequence (section 3.3.5): base64 of the value alone is no step.
        _ => format!("tok/en, :{}:;a=?1", STANDARD.encode(&loads[0].bytes)),
    };
    let raw = request("GET /v1/models", "api.example.com", &format!("{name}: {value}\r\n"), b"");
    whole(raw, vec![format!("header:/{name}")])
}

fn structured_dictionary(rng: &mut Rng, loads: &[Load]) -> Sent {
    let key: String = loads[0]
        .name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .collect();
    let value = format!("v=3, {key}={}, ok=?1", quoted(loads[0].text()));
    let field = rng.pick(&["x-client-context", "x-client-hints", "x-telemetry"]);
    let raw = request("GET /v1/models", "api.example.com", &format!("{field}: {value}\r\n"), b"");
    whole(raw, vec![format!("header:/{field}")])
}

/// RFC 6265, section 4.1.1.
fn quoted_cookie(rng: &mut Rng, loads: &[Load]) -> Sent {
    let load = &loads[0];
    let name: String =
        load.name.chars().filter(|c| c.is_ascii_alphanumeric() || b"_-.".contains(&(*c as u8))).collect();
    let value = load.text().replace([';', ',', '"', '\\'], "_");
    let place = format!("header:/cookie!cookie:/{name}");
    // What no cookie may hold is coded, which is no step.
    let value = if value == load.text() { value } else { percent(&load.bytes, false) };
    let field = format!("Cookie: sid={}; {name}=\"{value}\"\r\n", rng.hex(20));
    let mut sent = whole(request("GET /", "www.example.com", &field, b""), vec![place.clone()]);
    sent.places[0].push(format!("{place}!url"));
    sent
}

/// Coded once for its own query and once more for the one around it.
fn address_in_query(_: &mut Rng, loads: &[Load]) -> Sent {
    let name = percent(loads[0].name.as_bytes(), false);
    let address = format!("https://www.example.com/next?step=2&{name}={}", percent(&loads[0].bytes, false));
    let query = format!("ok=1&next={}", percent(address.as_bytes(), false));
    let raw = request(&format!("GET /login?{query}"), "www.example.com", "", b"");
    let mut sent = whole(raw, vec!["query!form:/next".to_owned()]);
    let key = escape(&loads[0].name);
    sent.places[0].extend(["!url".to_owned(), format!("!form:/{key}")].map(|step| format!("query!form:/next{step}")));
    sent
}

fn referer(rng: &mut Rng, loads: &[Load]) -> Sent {
    let spelled = percent(&loads[0].bytes, false);
    let address = match rng.below(3) {
        0 => format!("https://www.example.com/by/{spelled}/"),
        1 => format!("https://www.example.com/find?page=2&x={spelled}"),
        _ => format!("https://www.example.com/find?x={spelled}&page=2"),
    };
    let raw = request("GET /v1/models", "api.example.com", &format!("Referer: {address}\r\n"), b"");
    let mut sent = whole(raw, vec!["header:/referer".to_owned()]);
    sent.places[0].push("header:/referer!url".to_owned());
    sent
}

/// Requests as parts (OData 4.01, section 11.7; Google's batch endpoints), each with a document of its own.
fn batch(rng: &mut Rng, loads: &[Load]) -> Sent {
    let boundary = format!("batch_{}", rng.hex(12));
    let mut list = Vec::new();
    let mut places = Vec::new();
    for (index, load) in loads.iter().enumerate() {
        // In the query, in a field, or in the document.
        let which = if load.fits_head() { rng.below(4) } else { 2 };
        let (mut query, mut field) = (String::new(), String::new());
        let (text, pointers) = match which {
            0 | 1 => (compact(&Node::Object(vec![filler(rng)])), vec![String::new()]),
            _ => document::json(rng, std::slice::from_ref(load)),
        };
        let place = match which {
            0 => {
                query = format!("?page=2&{}={}", percent(load.name.as_bytes(), false), percent(&load.bytes, false));
                format!("!form:/{}", escape(&load.name))
            }
            1 => {
                field = format!("{}: {}\r\n", field_name(load), load.text());
                format!("!header:/{}", field_name(load))
            }
            _ => format!("!json:{}", pointers[0]),
        };
        let inner = format!(
            "POST /v1/items/{index}{query} HTTP/1.1\r\nContent-Type: application/json\r\n{field}Content-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let head = format!("Content-Type: application/http\r\nContent-ID: <item{index}>");
        list.push(part(&head, inner.as_bytes()));
        // A part without a name goes by its number.
        places.push(vec![format!("body!multipart:/{index}{place}")]);
    }
    let body = parts(&boundary, &list);
    Sent { raw: post(rng, &format!("multipart/mixed; boundary={boundary}"), "", &body), pieces: Pieces::Whole, places }
}

/// A document and the bytes that it is about (RFC 2387), as files are uploaded.
fn related(rng: &mut Rng, loads: &[Load]) -> Sent {
    let boundary = format!("related_{}", rng.hex(12));
    let (text, pointers) = document::json(rng, loads);
    let list = [
        part("Content-Type: application/json; charset=UTF-8", text.as_bytes()),
        part("Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary", &rng.bytes(200)),
    ];
    let kind = format!("multipart/related; boundary=\"{boundary}\"; type=\"application/json\"");
    whole(post(rng, &kind, "", &parts(&boundary, &list)), vec![format!("body!multipart:/0!json:{}", pointers[0])])
}

/// JSON-RPC as tools are called with it, alone or in a batch.
fn rpc(rng: &mut Rng, loads: &[Load]) -> Sent {
    let arguments =
        Node::Object(vec![(loads[0].name.clone(), Node::of(&loads[0])), ("limit".to_owned(), Node::Bare("8".into()))]);
    let parameters = Node::object([("name", Node::text("lookup")), ("arguments", arguments)]);
    let call = Node::object([
        ("jsonrpc", Node::text("2.0")),
        ("id", Node::Bare(rng.between(1, 99).to_string())),
        ("method", Node::text("tools/call")),
        ("params", parameters),
    ]);
    let inner = format!("params/arguments/{}", escape(&loads[0].name));
    let (root, place) = match rng.percent(30) {
        true => (Node::Array(vec![call]), format!("body!json:/0/{inner}")),
        false => (call, format!("body!json:/{inner}")),
    };
    whole(post(rng, "application/json", "", compact(&root).as_bytes()), vec![place])
}

fn graphql(rng: &mut Rng, loads: &[Load]) -> Sent {
    let mut variables = Vec::new();
    let mut places = Vec::new();
    for (index, load) in loads.iter().enumerate() {
        let name = if index > 0 { format!("{}_{index}", load.name) } else { load.name.clone() };
        places.push(format!("body!json:/variables/input/{}", escape(&name)));
        variables.push((name, Node::of(load)));
    }
    let root = Node::object([
        ("operationName", Node::text("Track")),
        ("query", Node::text("mutation Track($input: TrackInput!) { track(input: $input) { ok } }")),
        ("variables", Node::object([("input", Node::Object(variables))])),
        ("extensions", Node::object([("note", Node::Text(prose(rng)))])),
    ]);
    whole(post(rng, "application/json", "", compact(&root).as_bytes()), places)
}

//! Requests that carry loads, and where in them each load stands.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::document::{self, Node, compact, escape, filler, prose};
use crate::load::{Load, NEUTRAL, compressed, percent};
use crate::random::Rng;
use crate::{proto, telemetry};

/// A request on its way.
pub struct Sent {
    /// Head, empty line, body.
    pub raw: Vec<u8>,
    pub pieces: Pieces,
    /// Of every load; any one spelling is right. Empty where the carrier had no room for it.
    pub places: Vec<Vec<String>>,
}

/// How the body reaches the engine.
pub enum Pieces {
    Whole,
    /// Text messages of a WebSocket by number.
    Messages(Vec<(u64, bool, Vec<u8>)>),
    Frames(Vec<Vec<u8>>),
    Lines(Vec<Vec<u8>>),
}

pub struct Carrier {
    pub name: &'static str,
    pub loads: usize,
    pub takes: fn(&Load) -> bool,
    pub carry: fn(&mut Rng, &[Load]) -> Sent,
}

impl Carrier {
    /// Bytes that are no text can stand in it.
    pub fn is_binary(&self) -> bool {
        ["protobuf", "grpc", "connect"].contains(&self.name)
    }
}

fn any(_: &Load) -> bool {
    true
}

fn nameless(load: &Load) -> bool {
    !load.needs_name && !load.escaped
}

fn spelled(load: &Load) -> bool {
    !load.escaped
}

fn in_text(load: &Load) -> bool {
    load.is_bare && !load.escaped && !load.needs_name && load.inner == [""]
}

pub const CARRIERS: &[Carrier] = &[
    Carrier { name: "json", loads: 3, takes: any, carry: json_body },
    Carrier { name: "json", loads: 2, takes: any, carry: json_body },
    Carrier { name: "json list", loads: 1, takes: |load| !load.needs_name, carry: json_list },
    Carrier { name: "json in string", loads: 1, takes: any, carry: json_in_string },
    Carrier { name: "conversation", loads: 2, takes: |load| !load.needs_name, carry: conversation },
    Carrier { name: "prose", loads: 1, takes: in_text, carry: in_prose },
    Carrier { name: "address", loads: 1, takes: |load| in_text(load) && load.fits_head(), carry: in_address },
    Carrier { name: "header", loads: 1, takes: |load| spelled(load) && load.fits_head(), carry: header },
    Carrier {
        name: "json in header",
        loads: 1,
        takes: |load| load.bytes.len() < 2000 && load.bytes.is_ascii(),
        carry: json_in_header,
    },
    Carrier { name: "cookie", loads: 1, takes: |load| spelled(load) && load.bytes.len() < 2000, carry: cookie },
    Carrier { name: "query", loads: 2, takes: |load| spelled(load) && load.bytes.len() < 2000, carry: query },
    Carrier {
        name: "path segment",
        loads: 1,
        takes: |load| nameless(load) && load.bytes.len() < 1000,
        carry: path_segment,
    },
    Carrier { name: "form", loads: 2, takes: spelled, carry: form },
    Carrier { name: "multipart", loads: 2, takes: spelled, carry: multipart },
    Carrier { name: "nested multipart", loads: 1, takes: spelled, carry: nested_multipart },
    Carrier { name: "ndjson", loads: 2, takes: any, carry: ndjson },
    Carrier { name: "text body", loads: 1, takes: in_text, carry: text_body },
    Carrier { name: "content-encoding", loads: 2, takes: any, carry: coded_body },
    Carrier { name: "websocket", loads: 2, takes: any, carry: websocket },
    Carrier { name: "jwt", loads: 1, takes: |load| load.bytes.len() < 2000, carry: jwt },
    Carrier { name: "protobuf", loads: 2, takes: nameless, carry: proto::body },
    Carrier { name: "grpc", loads: 2, takes: nameless, carry: proto::grpc },
    Carrier { name: "connect", loads: 2, takes: nameless, carry: proto::connect },
    Carrier { name: "event stream", loads: 1, takes: any, carry: proto::event_stream },
    Carrier { name: "otlp json", loads: 2, takes: any, carry: telemetry::otlp_json },
    Carrier { name: "otlp protobuf", loads: 2, takes: spelled, carry: telemetry::otlp_protobuf },
    Carrier { name: "app insights", loads: 1, takes: any, carry: telemetry::app_insights },
    Carrier { name: "segment", loads: 2, takes: any, carry: telemetry::segment },
    Carrier { name: "sentry", loads: 1, takes: any, carry: telemetry::sentry },
    Carrier { name: "statsig", loads: 2, takes: any, carry: telemetry::statsig },
    Carrier { name: "ddtags", loads: 1, takes: telemetry::fits_tag, carry: telemetry::datadog },
    Carrier { name: "clearcut", loads: 1, takes: any, carry: telemetry::clearcut },
    Carrier { name: "qoder", loads: 1, takes: any, carry: telemetry::qoder },
    Carrier { name: "baggage", loads: 1, takes: telemetry::fits_tag, carry: telemetry::baggage },
];

/// A request of `kind` with `body`. Host and path are nobody's.
pub fn post(rng: &mut Rng, kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let host = rng.pick(&["api.example.com", "telemetry.example.net", "events.example.org"]);
    let path = rng.pick(&["/v1/events", "/api/collect", "/v2/messages", "/ingest/batch"]);
    request(&format!("POST {path}"), host, &format!("content-type: {kind}\r\n{more}"), body)
}

pub fn request(line: &str, host: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let mut raw =
        format!("{line} HTTP/1.1\r\nhost: {host}\r\nuser-agent: client/1\r\n{fields}{length}\r\n").into_bytes();
    raw.extend_from_slice(body);
    raw
}

pub fn whole(raw: Vec<u8>, places: Vec<String>) -> Sent {
    Sent { raw, pieces: Pieces::Whole, places: places.into_iter().map(|place| vec![place]).collect() }
}

/// As `prefix`, then a pointer.
pub fn at(prefix: &str, pointers: &[String]) -> Vec<String> {
    pointers.iter().map(|pointer| format!("{prefix}!json:{pointer}")).collect()
}

fn json_body(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (text, pointers) = document::json(rng, loads);
    let kind = rng.pick(&["application/json", "application/json; charset=utf-8", "text/plain;charset=UTF-8"]);
    whole(post(rng, kind, "", text.as_bytes()), at("body", &pointers))
}

/// A list of values, the load among the first of them.
fn json_list(rng: &mut Rng, loads: &[Load]) -> Sent {
    let index = rng.between(0, 3);
    let mut list: Vec<Node> = (0..index).map(|_| Node::text(rng.coined(3))).collect();
    list.push(Node::of(&loads[0]));
    list.extend((0..rng.between(0, 2)).map(|_| Node::text(rng.coined(3))));
    let name = if rng.percent(50) { loads[0].name.clone() } else { "args".to_owned() };
    let root = Node::Object(vec![filler(rng), (name.clone() + "_list", Node::Array(list))]);
    let place = format!("body!json:/{}_list/{index}", escape(&name));
    whole(post(rng, "application/json", "", compact(&root).as_bytes()), vec![place])
}

fn json_in_string(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (mut text, pointers) = document::json(rng, loads);
    let mut inner = format!("!json:{}", pointers[0]);
    // Six deep is what has to be read; what the load brings along counts as well.
    let own = loads[0].inner[0].matches("!json").count();
    for _ in 0..rng.between(1, 5usize.saturating_sub(own).max(1)) {
        let name = rng.pick(NEUTRAL);
        let root = Node::Object(vec![filler(rng), (format!("{name}_"), Node::Text(text))]);
        text = compact(&root);
        inner = format!("!json:/{name}_{inner}");
    }
    whole(post(rng, "application/json", "", text.as_bytes()), vec![format!("body{inner}")])
}

fn conversation(rng: &mut Rng, loads: &[Load]) -> Sent {
    let mut messages = Vec::new();
    let mut places = Vec::new();
    let text = |text: String| Node::object([("type", Node::text("text")), ("text", Node::Text(text))]);
    for load in loads {
        messages
            .push(Node::object([("role", Node::text("assistant")), ("content", Node::Array(vec![text(prose(rng))]))]));
        let index = messages.len();
        messages.push(match rng.below(3) {
            0 => {
                places.push(format!("body!json:/messages/{index}/content"));
                Node::object([("role", Node::text("user")), ("content", Node::of(load))])
            }
            1 => {
                places.push(format!("body!json:/messages/{index}/content/1/text"));
                let held = Node::object([("type", Node::text("text")), ("text", Node::of(load))]);
                Node::object([("role", Node::text("user")), ("content", Node::Array(vec![text(prose(rng)), held]))])
            }
            _ => {
                places.push(format!("body!json:/messages/{index}/content/0/content"));
                let result = Node::object([
                    ("type", Node::text("tool_result")),
                    ("tool_use_id", Node::text(format!("toolu_{}", rng.hex(24)))),
                    ("content", Node::of(load)),
                ]);
                Node::object([("role", Node::text("user")), ("content", Node::Array(vec![result]))])
            }
        });
    }
    let root = Node::object([
        ("model", Node::text("large-1")),
        ("max_tokens", Node::Bare("32000".into())),
        ("system", Node::text("You are a helpful assistant for code.")),
        ("messages", Node::Array(messages)),
    ]);
    whole(post(rng, "application/json", "", compact(&root).as_bytes()), places)
}

/// In the middle of a long text.
fn in_prose(rng: &mut Rng, loads: &[Load]) -> Sent {
    let around = rng.pick(&[" (%) ", "\n%\n", " `%` ", "\n- %\n", ": \"%\", ", "\n\t%;\n"]);
    let text = format!("{}{}{}", prose(rng), around.replace('%', loads[0].text()), prose(rng));
    let root = Node::object([("prompt", Node::text(text)), ("stream", Node::Bare("true".into()))]);
    whole(post(rng, "application/json", "", compact(&root).as_bytes()), vec!["body!json:/prompt".to_owned()])
}

/// In an address: a segment of its path, or its query.
fn in_address(rng: &mut Rng, loads: &[Load]) -> Sent {
    let spelled = percent(&loads[0].bytes, false);
    let address = match rng.below(3) {
        0 => format!("https://files.example.net/by/{spelled}/list.html"),
        1 => format!("https://files.example.net/find?{}={spelled}&page=2", rng.pick(NEUTRAL)),
        _ => format!("https://files.example.net/find?page=2#{spelled}"),
    };
    let root = Node::object([("seq", Node::Bare("17".into())), ("link", Node::text(address))]);
    let mut sent =
        whole(post(rng, "application/json", "", compact(&root).as_bytes()), vec!["body!json:/link".to_owned()]);
    sent.places[0].push("body!json:/link!url".to_owned());
    sent
}

pub fn field_name(load: &Load) -> String {
    let plain: String =
        load.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    format!("x-{plain}")
}

fn header(rng: &mut Rng, loads: &[Load]) -> Sent {
    let name = field_name(&loads[0]);
    let written = if rng.percent(50) { name.clone() } else { name.to_uppercase() };
    let field = format!("{written}: {}\r\n", loads[0].text());
    whole(request("GET /v1/models", "api.example.com", &field, b""), vec![format!("header:/{name}")])
}

fn json_in_header(rng: &mut Rng, loads: &[Load]) -> Sent {
    let members = vec![filler_short(rng), (loads[0].name.clone(), Node::of(&loads[0]))];
    let text = compact(&Node::Object(members));
    let place = format!("header:/x-client-info!json:/{}", escape(&loads[0].name));
    whole(request("GET /v1/models", "api.example.com", &format!("X-Client-Info: {text}\r\n"), b""), vec![place])
}

/// ASCII alone.
fn filler_short(rng: &mut Rng) -> (String, Node) {
    ("seq".to_owned(), Node::Bare(rng.between(100, 9999).to_string()))
}

fn cookie(rng: &mut Rng, loads: &[Load]) -> Sent {
    let load = &loads[0];
    let name: String =
        load.name.chars().filter(|c| c.is_ascii_alphanumeric() || b"_-.".contains(&(*c as u8))).collect();
    let mut place = format!("header:/cookie!cookie:/{name}");
    let safe = load.fits_head() && !load.bytes.iter().any(|byte| matches!(byte, b';' | b',' | b' ' | b'"' | b'\\'));
    let value = if safe {
        load.text().to_owned()
    } else {
        // Percent of the value alone is no step.
        if !load.is_bare || !load.inner[0].is_empty() || load.bytes.contains(&b'\n') {
            place.push_str("!url");
        }
        percent(&load.bytes, false)
    };
    let is_bare = load.is_bare && !safe && load.inner == [""];
    let field = format!("Cookie: theme=dark; {name}={value}; sid={}\r\n", rng.hex(20));
    let mut sent = whole(request("GET /", "www.example.com", &field, b""), vec![place.clone()]);
    if is_bare {
        let other = place.strip_suffix("!url").map_or(format!("{place}!url"), str::to_owned);
        sent.places[0].push(other);
    }
    sent
}

fn pairs(rng: &mut Rng, loads: &[Load], root: &str) -> (String, Vec<String>) {
    let mut text = format!("v={}", rng.between(1, 9));
    let mut places = Vec::new();
    for (index, load) in loads.iter().enumerate() {
        let name = if index > 0 && loads[..index].iter().any(|other| other.name == load.name) {
            format!("{}_{index}", load.name)
        } else {
            load.name.clone()
        };
        let mut value = percent(&load.bytes, rng.percent(10));
        if rng.percent(50) {
            value = value.replace("%20", "+");
        }
        text.push_str(&format!("&{}={value}", percent(name.as_bytes(), false)));
        places.push(format!("{root}!form:/{}", escape(&name)));
    }
    (text, places)
}

fn query(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (text, places) = pairs(rng, loads, "query");
    whole(request(&format!("GET /collect?{text}"), "t.example.com", "", b""), places)
}

fn form(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (text, places) = pairs(rng, loads, "body");
    whole(post(rng, "application/x-www-form-urlencoded", "", text.as_bytes()), places)
}

fn path_segment(rng: &mut Rng, loads: &[Load]) -> Sent {
    let segment = percent(&loads[0].bytes, false);
    let (path, number) = match rng.below(3) {
        0 => (format!("/{segment}"), 0),
        1 => (format!("/v1/things/{segment}"), 2),
        _ => (format!("/a/{segment}/list?page=2"), 1),
    };
    whole(request(&format!("GET {path}"), "api.example.com", "", b""), vec![format!("path:/{number}")])
}

pub fn part(head: &str, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), b"\r\n\r\n", body, b"\r\n"].concat()
}

pub fn parts(boundary: &str, list: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in list {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(part);
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

fn multipart(rng: &mut Rng, loads: &[Load]) -> Sent {
    let boundary = format!("----form{}", rng.hex(16));
    let mut list = vec![part("Content-Disposition: form-data; name=\"first\"", prose(rng).as_bytes())];
    let mut places = Vec::new();
    for (index, load) in loads.iter().enumerate() {
        let name = format!("{}{}", load.name.replace(['"', '/'], "_"), ["", "_b", "_c"][index]);
        if rng.percent(40) {
            let (text, pointers) = document::json(rng, std::slice::from_ref(load));
            let head = format!(
                "Content-Disposition: form-data; name=\"{name}\"; filename=\"a.json\"\r\nContent-Type: application/json"
            );
            list.push(part(&head, text.as_bytes()));
            places.push(format!("body!multipart:/{}!json:{}", escape(&name), pointers[0]));
        } else {
            list.push(part(&format!("Content-Disposition: form-data; name=\"{name}\""), &load.bytes));
            places.push(format!("body!multipart:/{}", escape(&name)));
        }
    }
    let body = parts(&boundary, &list);
    whole(post(rng, &format!("multipart/form-data; boundary={boundary}"), "", &body), places)
}

fn nested_multipart(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (outer, inner) = (format!("outer{}", rng.hex(12)), format!("inner{}", rng.hex(12)));
    let name = loads[0].name.replace(['"', '/'], "_");
    let list = [
        part("Content-Disposition: attachment; name=\"one\"", prose(rng).as_bytes()),
        part(&format!("Content-Disposition: attachment; name=\"{name}\""), &loads[0].bytes),
    ];
    let within = parts(&inner, &list);
    let head =
        format!("Content-Disposition: form-data; name=\"files\"\r\nContent-Type: multipart/mixed; boundary={inner}");
    let body = parts(&outer, &[part(&head, &within)]);
    let place = format!("body!multipart:/files!multipart:/{}", escape(&name));
    whole(post(rng, &format!("multipart/form-data; boundary=\"{outer}\""), "", &body), vec![place])
}

/// Lines of documents, each load in one of its own.
pub fn lines(rng: &mut Rng, loads: &[Load]) -> (Vec<String>, Vec<String>) {
    let mut list = vec![compact(&Node::Object(vec![filler_short(rng)]))];
    let mut places = Vec::new();
    for load in loads {
        let (text, pointers) = document::json(rng, std::slice::from_ref(load));
        // One line each, whatever the style.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let line = if text.contains('\n') { value.to_string() } else { text };
        places.push(format!("!lines:/{}!json:{}", list.len(), pointers[0]));
        list.push(line);
    }
    list.push("{\"end\":true}".to_owned());
    (list, places)
}

fn ndjson(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (list, places) = lines(rng, loads);
    let kind = rng.pick(&["application/x-ndjson", "application/jsonl", "text/plain", "application/json"]);
    let places = places.iter().map(|place| format!("body{place}")).collect();
    if rng.percent(30) {
        let raw = request(
            "POST /stream",
            "t.example.com",
            &format!("content-type: {kind}\r\ntransfer-encoding: chunked\r\n"),
            b"",
        );
        let pieces = list.iter().map(|line| format!("{line}\n").into_bytes()).collect();
        return Sent { pieces: Pieces::Lines(pieces), ..whole(raw, places) };
    }
    let mut text = list.join("\n");
    if rng.percent(50) {
        text.push('\n');
    }
    whole(post(rng, kind, "", text.as_bytes()), places)
}

fn text_body(rng: &mut Rng, loads: &[Load]) -> Sent {
    let text = format!("{}\n{}\n{}\n", prose(rng), loads[0].text(), prose(rng));
    whole(
        post(rng, rng.clone().pick(&["text/plain", "text/markdown", "application/octet-stream"]), "", text.as_bytes()),
        vec!["body".to_owned()],
    )
}

fn coded_body(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (text, pointers) = document::json(rng, loads);
    let bytes = text.as_bytes();
    let (coding, body, steps): (_, _, &[&str]) = match rng.below(9) {
        0 => ("gzip", compressed("!gzip", bytes), &["!gzip"]),
        1 => {
            // Several members make one stream (RFC 1952, section 2.2).
            let cut = rng.below(bytes.len());
            let members = [&bytes[..cut / 2], &bytes[cut / 2..cut], &bytes[cut..]];
            ("gzip", members.iter().flat_map(|member| compressed("!gzip", member)).collect(), &["!gzip"])
        }
        2 => ("deflate", compressed("!zlib", bytes), &["!deflate", "!zlib"]),
        3 => ("deflate", compressed("!deflate", bytes), &["!deflate"]),
        4 => ("br", compressed("!br", bytes), &["!br"]),
        5 => ("zstd", compressed("!zstd", bytes), &["!zstd"]),
        6 => ("gzip, br", compressed("!br", &compressed("!gzip", bytes)), &["!br!gzip"]),
        // Nothing says so.
        7 => ("", compressed("!gzip", bytes), &["!gzip"]),
        _ => ("", compressed("!zstd", bytes), &["!zstd"]),
    };
    let field = if coding.is_empty() { String::new() } else { format!("content-encoding: {coding}\r\n") };
    let places = pointers
        .iter()
        .map(|pointer| steps.iter().map(|step| format!("body{step}!json:{pointer}")).collect())
        .collect();
    Sent { raw: post(rng, "application/json", &field, &body), pieces: Pieces::Whole, places }
}

fn websocket(rng: &mut Rng, loads: &[Load]) -> Sent {
    let fields = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let raw = request("GET /v1/realtime", "api.example.com", fields, b"");
    let (text, pointers) = document::json(rng, loads);
    let number = rng.below(4) as u64;
    let places = at(&format!("ws:/{number}"), &pointers);
    let binary = rng.percent(20);
    Sent { pieces: Pieces::Messages(vec![(number, !binary, text.into_bytes())]), ..whole(raw, places) }
}

fn jwt(rng: &mut Rng, loads: &[Load]) -> Sent {
    let members = vec![
        ("iss".to_owned(), Node::text("https://issuer.example.com")),
        ("exp".to_owned(), Node::Bare("1790000000".into())),
        (loads[0].name.clone(), Node::of(&loads[0])),
    ];
    let claims = compact(&Node::Object(members));
    let head = r#"{"alg":"RS256","typ":"JWT"}"#;
    let token = format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(head),
        URL_SAFE_NO_PAD.encode(claims),
        URL_SAFE_NO_PAD.encode(rng.bytes(64))
    );
    let inner = format!("!jwt:/1!json:/{}", escape(&loads[0].name));
    if rng.percent(50) {
        let field = format!("authorization: Bearer {token}\r\n");
        return whole(
            request("GET /v1/models", "api.example.com", &field, b""),
            vec![format!("header:/authorization{inner}")],
        );
    }
    let root = Node::Object(vec![filler(rng), ("id_token".to_owned(), Node::text(token))]);
    whole(post(rng, "application/json", "", compact(&root).as_bytes()), vec![format!("body!json:/id_token{inner}")])
}

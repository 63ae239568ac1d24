//! Requests in the shapes of telemetry services and of assistants' own encodings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::carrier::{Sent, at, post, request, whole};
use crate::document::{self, Node, compact, escape, filler, prose};
use crate::load::{Load, compressed, percent};
use crate::proto::{delimited, number};
use crate::random::Rng;

fn json(rng: &mut Rng, root: &Node, places: Vec<String>) -> Sent {
    whole(post(rng, "application/json", "", compact(root).as_bytes()), places)
}

fn label(load: &Load) -> String {
    load.name.clone()
}

fn attribute(name: &str, value: Node) -> Node {
    Node::object([("key", Node::text(name)), ("value", Node::object([("stringValue", value)]))])
}

pub fn otlp_json(rng: &mut Rng, loads: &[Load]) -> Sent {
    let mut attributes =
        vec![attribute("service.name", Node::text("agent")), attribute("telemetry.sdk.language", Node::text("nodejs"))];
    let mut places = Vec::new();
    let record = rng.percent(50);
    for load in loads {
        let path = if record { "resourceLogs/0/scopeLogs/0/logRecords/0" } else { "resourceLogs/0/resource" };
        places.push(format!("body!json:/{path}/attributes/{}/value/stringValue", attributes.len()));
        attributes.push(attribute(&label(load), Node::of(load)));
    }
    let (on_resource, on_record) = if record { (vec![], attributes) } else { (attributes, vec![]) };
    let log = Node::object([
        ("timeUnixNano", Node::text("1790000000000000000")),
        ("body", Node::object([("stringValue", Node::text(prose(rng)))])),
        ("attributes", Node::Array(on_record)),
    ]);
    let scope = Node::object([
        ("scope", Node::object([("name", Node::text("agent.events"))])),
        ("logRecords", Node::Array(vec![log])),
    ]);
    let resource = Node::object([
        ("resource", Node::object([("attributes", Node::Array(on_resource))])),
        ("scopeLogs", Node::Array(vec![scope])),
    ]);
    json(rng, &Node::object([("resourceLogs", Node::Array(vec![resource]))]), places)
}

pub fn otlp_protobuf(rng: &mut Rng, loads: &[Load]) -> Sent {
    let mut resource = Vec::new();
    let mut places = Vec::new();
    let mut attribute = |name: &str, value: &[u8]| {
        let mut any = Vec::new();
        delimited(1, value, &mut any);
        let mut pair = Vec::new();
        delimited(1, name.as_bytes(), &mut pair);
        delimited(2, &any, &mut pair);
        delimited(1, &pair, &mut resource);
    };
    attribute("service.name", b"agent");
    for (index, load) in loads.iter().enumerate() {
        attribute(&label(load), &load.bytes);
        places.push(format!("body!pb:/1/1/1.{}/2/1", index + 1));
    }
    let mut record = Vec::new();
    number(2, 9, &mut record);
    delimited(3, b"INFO", &mut record);
    let mut any = Vec::new();
    delimited(1, prose(rng).as_bytes(), &mut any);
    delimited(5, &any, &mut record);
    let mut scope = Vec::new();
    delimited(2, &record, &mut scope);
    let mut all = Vec::new();
    delimited(1, &resource, &mut all);
    delimited(2, &scope, &mut all);
    let mut body = Vec::new();
    delimited(1, &all, &mut body);
    whole(post(rng, "application/x-protobuf", "", &body), places)
}

pub fn app_insights(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (payload, pointers) = document::json(rng, loads);
    let nested = rng.percent(70);
    let properties = match nested {
        true => Node::object([("unique_id", Node::text(rng.uuid())), ("payload", Node::text(payload))]),
        false => Node::Object(vec![(label(&loads[0]), Node::of(&loads[0]))]),
    };
    let line = Node::object([
        ("ver", Node::Bare("1".into())),
        ("name", Node::text("Microsoft.ApplicationInsights.Event")),
        ("time", Node::text("2026-11-20T08:11:09.000Z")),
        (
            "data",
            Node::object([
                ("baseType", Node::text("EventData")),
                ("baseData", Node::object([("properties", properties)])),
            ]),
        ),
    ]);
    let before = rng.below(3);
    let mut text = "{\"ver\":1,\"name\":\"start\"}\n".repeat(before);
    text.push_str(&compact(&line));
    text.push('\n');
    if before == 0 {
        text.push_str("{\"ver\":1,\"name\":\"end\"}\n");
    }
    let rest = match nested {
        true => format!("payload!json:{}", pointers[0]),
        false => escape(&label(&loads[0])),
    };
    let place = format!("body!gzip!lines:/{before}!json:/data/baseData/properties/{rest}");
    let kind = rng.pick(&["application/x-json-stream", "application/json"]);
    whole(post(rng, kind, "content-encoding: gzip\r\n", &compressed("!gzip", text.as_bytes())), vec![place])
}

/// Members in which no two have one name.
fn members(loads: &[Load]) -> Vec<(String, Node)> {
    loads.iter().enumerate().map(|(index, load)| (unique(loads, index), Node::of(load))).collect()
}

fn unique(loads: &[Load], index: usize) -> String {
    let name = label(&loads[index]);
    if loads[..index].iter().any(|other| other.name == name) { format!("{name}_{index}") } else { name }
}

pub fn segment(rng: &mut Rng, loads: &[Load]) -> Sent {
    let within = rng.pick(&["context", "properties", "traits"]);
    let places = (0..loads.len())
        .map(|index| format!("body!json:/batch/1/{within}/{}", escape(&unique(loads, index))))
        .collect();
    let track = |name: &str, members: Vec<(String, Node)>| {
        Node::object([("type", Node::text("track")), ("event", Node::text("Opened")), (name, Node::Object(members))])
    };
    let batch = vec![track("properties", vec![filler(rng)]), track(within, members(loads))];
    let root = Node::object([("batch", Node::Array(batch)), ("sentAt", Node::text("2026-11-20T08:11:09.000Z"))]);
    json(rng, &root, places)
}

pub fn sentry(rng: &mut Rng, loads: &[Load]) -> Sent {
    let header = format!("{{\"event_id\":\"{}\",\"sent_at\":\"2026-11-20T08:11:09.000Z\"}}", rng.hex(32));
    let within = rng.pick(&["tags", "extra", "contexts"]);
    let event = Node::object([
        ("platform", Node::text("node")),
        ("level", Node::text("error")),
        (within, Node::Object(members(loads))),
    ]);
    let event = compact(&event);
    let item = match rng.percent(50) {
        true => format!("{{\"type\":\"event\",\"length\":{}}}", event.len()),
        false => "{\"type\":\"event\"}".to_owned(),
    };
    let text = format!("{header}\n{item}\n{event}\n");
    let place = format!("body!lines:/2!json:/{within}/{}", escape(&label(&loads[0])));
    whole(post(rng, "application/x-sentry-envelope", "", text.as_bytes()), vec![place])
}

pub fn statsig(rng: &mut Rng, loads: &[Load]) -> Sent {
    let within = rng.pick(&["custom", "privateAttributes", "statsigEnvironment"]);
    let places = (0..loads.len())
        .map(|index| format!("body!json:/events/0/user/{within}/{}", escape(&unique(loads, index))))
        .collect();
    let event = Node::object([
        ("eventName", Node::text("tool_use")),
        ("user", Node::object([(within, Node::Object(members(loads)))])),
        ("value", Node::Bare("null".into())),
    ]);
    let root = Node::object([
        ("events", Node::Array(vec![event])),
        ("statsigMetadata", Node::object([("sdkType", Node::text("js"))])),
    ]);
    json(rng, &root, places)
}

/// Whether a load can stand between commas, with its name before it.
pub fn fits_tag(load: &Load) -> bool {
    load.is_bare
        && load.fits_head()
        && load.inner == [""]
        && !load.bytes.iter().any(|byte| matches!(byte, b',' | b' ' | b'"' | b'\\' | b';'))
}

pub fn datadog(rng: &mut Rng, loads: &[Load]) -> Sent {
    let tags = format!("env:prod,{}:{},service:agent,seq:{}", label(&loads[0]), loads[0].text(), rng.between(100, 999));
    let entry = Node::object([
        ("ddsource", Node::text("nodejs")),
        ("ddtags", Node::text(tags)),
        ("message", Node::text(prose(rng))),
    ]);
    json(rng, &Node::Array(vec![entry]), vec!["body!json:/0/ddtags".to_owned()])
}

pub fn clearcut(rng: &mut Rng, loads: &[Load]) -> Sent {
    // Metadata there is numbered; an own name outside it stands for what is not.
    let needs_name = loads[0].needs_name;
    let name = label(&loads[0]);
    let entry = match needs_name {
        true => Node::Object(vec![("event_name".to_owned(), Node::text("start")), (name.clone(), Node::of(&loads[0]))]),
        false => Node::object([
            ("gemini_cli_key", Node::Bare(rng.between(900, 999).to_string())),
            ("value", Node::of(&loads[0])),
        ]),
    };
    let extension = Node::object([
        ("console_type", Node::text("CLI")),
        ("event_metadata", Node::Array(vec![Node::Array(vec![entry])])),
    ]);
    let event = Node::object([
        ("event_time_ms", Node::Bare("1790000000000".into())),
        ("source_extension_json", Node::text(compact(&extension))),
    ]);
    let root = Node::object([
        ("log_source_name", Node::text("CONCORD")),
        ("log_event", Node::Array(vec![Node::Array(vec![event])])),
    ]);
    let last = if needs_name { escape(&name) } else { "value".to_owned() };
    let place = format!("body!json:/log_event/0/0/source_extension_json!json:/event_metadata/0/0/{last}");
    json(rng, &root, vec![place])
}

/// Base64 in an alphabet of its own, the outer thirds exchanged.
pub fn qoder(rng: &mut Rng, loads: &[Load]) -> Sent {
    const THEIRS: &[u8; 64] = b"_doRTgHZBKcGVjlvpC,@aFSx#DPuNJme&i*MzLOEn)sUrthbf%Y^w.(kIQyXqWA!";
    const STANDARD_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (text, pointers) = document::json(rng, loads);
    let mut body: Vec<u8> = STANDARD
        .encode(text)
        .bytes()
        .map(|byte| STANDARD_ALPHABET.iter().position(|&other| other == byte).map_or(b'$', |at| THEIRS[at]))
        .collect();
    if rng.percent(60) {
        let third = body.len() / 3;
        let end = body.len() - third;
        body = [&body[end..], &body[third..end], &body[..third]].concat();
    }
    let raw = request(
        "POST /algo/api/v2/business/finish?Encode=1",
        "api.example.com",
        "content-type: application/json\r\n",
        &body,
    );
    whole(raw, at("body!qoder", &pointers))
}

/// W3C baggage: pairs, values percent-encoded where need be.
pub fn baggage(rng: &mut Rng, loads: &[Load]) -> Sent {
    let name: String = label(&loads[0]).chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let value = percent(&loads[0].bytes, false);
    let field =
        format!("baggage: app=agent,{name}={value},rate=0.5\r\ntraceparent: 00-{}-{}-01\r\n", rng.hex(32), rng.hex(16));
    let mut sent = whole(request("GET /v1/flags", "t.example.com", &field, b""), vec!["header:/baggage".to_owned()]);
    sent.places[0].push("header:/baggage!url".to_owned());
    sent
}

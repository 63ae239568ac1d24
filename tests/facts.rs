//! Short, common and oddly spelled facts in whole requests: what supports them, and what does not.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use divulge::engine::{
    Audit, DecodeLimits, Engine, EngineParts, Facts, OnError, Outgoing, Part, Policy, Request, RuleSet,
};
use divulge::wire::head::RequestHead;
use serde_json::json;

/// `kind at location` of each fact that is found, windows aside.
fn found(facts: &[(&str, &str)], fields: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Vec<String> {
    let audit = audited("audit", facts, fields, body);
    let facts = audit.findings.iter().filter(|finding| finding.detector.name() == "fact");
    facts
        .map(|finding| {
            let location = finding.location.to_string();
            let place = location.split_once('@').map_or(&*location, |(place, _)| place);
            format!("{} at {place}", finding.kind)
        })
        .collect()
}

fn audited(policy: &str, facts: &[(&str, &str)], fields: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Audit {
    let engine = Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::of(facts.iter().map(|&(kind, value)| (kind.to_owned(), value.to_owned()))),
        policy: Policy::preset(policy).unwrap(),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }));
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", "/v1/x", fields);
    let request = Arc::new(Request { host: "api.example.com".into(), port: 443, secure: true, head });
    let mut flow = engine.open("1".into(), request);
    flow.audit(Part::Document(Bytes::from(body.into())))
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[test]
fn labels_of_every_layout_support_what_stands_behind_them() {
    let facts = [("env.shell", "zsh"), ("hw.cores", "16"), ("user.uid", "1001"), ("host.serial", "PF3KX9Q2LM")];
    for (text, kind) in [
        ("| Serial | PF3KX9Q2LM |\n| Shell | zsh |", "env.shell"),
        ("Serial\tPF3KX9Q2LM\nShell\tzsh", "env.shell"),
        ("- **Serial:** `PF3KX9Q2LM`\n- **Shell:** `zsh`", "env.shell"),
        ("<key>serial</key>\n<string>PF3KX9Q2LM</string>\n<key>shell</key>\n  <string>zsh</string>", "env.shell"),
        ("Serial: PF3KX9Q2LM\nCPU(s):          16\n", "hw.cores"),
        ("序列号：PF3KX9Q2LM\n核心数：16\n", "hw.cores"),
        ("* Serial: PF3KX9Q2LM\n* User ID: 1001\n", "user.uid"),
    ] {
        let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
        let found = found(&facts, JSON, body);
        assert!(found.contains(&format!("{kind} at body!json:/messages/0/content")), "{text}: {found:?}");
    }
}

#[test]
fn the_locales_of_one_machine_are_no_list() {
    let facts = [("locale.accept_language", "ja-JP,ja;q=0.9,en;q=0.8"), ("net.mac", "00:1b:44:11:3a:b7")];
    let text = "mac: 00:1b:44:11:3a:b7\nlang: ja_JP.UTF-8\nlocale: ja-JP\nlanguages: ja-JP,ja;q=0.9,en;q=0.8\n";
    let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
    let found = found(&facts, JSON, body);
    assert!(found.contains(&"locale.accept_language at body!json:/messages/0/content".to_owned()), "{found:?}");
}

#[test]
fn members_of_one_document_support_each_other() {
    let facts = [("geo.city", "Pune"), ("net.ip.public", "84.38.2.177")];
    let content = |inner: &str| json!({ "messages": [{ "role": "tool", "content": inner }] }).to_string();
    let both = found(&facts, JSON, content(r#"{"ip":"84.38.2.177","city":"Pune"}"#));
    assert!(both.contains(&"geo.city at body!json:/messages/0/content!json:/city".to_owned()), "{both:?}");
    assert!(found(&facts, JSON, content(r#"{"ip":"84.38.2.170","city":"Pune"}"#)).is_empty());
    // A setting that most machines have is a fixture's as likely as this machine's.
    let facts_of_many = [("env.shell", "/bin/zsh"), ("path.home", "/home/jorinde")];
    let fixture = content(r#"{"users":[{"name":"bob","shell":"/bin/zsh"}]}"#);
    assert!(found(&facts_of_many, JSON, fixture).is_empty());
    let own = found(&facts_of_many, JSON, content(r#"{"home":"/home/jorinde","shell":"/bin/zsh"}"#));
    assert!(own.contains(&"env.shell at body!json:/messages/0/content!json:/shell".to_owned()), "{own:?}");
    // What a program has packed is its own.
    let packed = content(&BASE64_STANDARD.encode(r#"{"event":"start","city":"Pune"}"#));
    assert_eq!(found(&facts, JSON, packed), ["geo.city at body!json:/messages/0/content!b64!json:/city"]);
}

#[test]
fn short_values_are_found_in_an_encoding_under_their_name() {
    let facts = [("locale.country", "CN"), ("hw.cores", "16")];
    let body = json!({ "country": "Q04=", "cpu_cores": "c74d97b01eae257e44aa9d5bade97baf", "x": "Q04=", "y": "MTY" });
    assert_eq!(
        found(&facts, JSON, body.to_string()),
        ["locale.country at body!json:/country", "hw.cores at body!json:/cpu_cores"]
    );
}

#[test]
fn other_ways_to_write_an_address_or_a_path_are_known() {
    let facts = [("net.mac", "00:1b:44:11:3a:b7"), ("path.cwd", "C:\\Users\\jorinde\\src")];
    for (text, kind) in [
        ("Physical Address: 00-1B-44-11-3A-B7", "net.mac"),
        ("mac 001b.4411.3ab7 seen", "net.mac"),
        ("eth 001B44113AB7", "net.mac"),
        ("file:///C:/Users/jorinde/src/main.rs:1", "path.cwd"),
    ] {
        assert_eq!(
            found(&facts, JSON, json!({ "a": text }).to_string()),
            [format!("{kind} at body!json:/a")],
            "{text}"
        );
    }
}

#[test]
fn what_is_said_about_values_is_none() {
    let facts = [("tz.iana", "Europe/Berlin"), ("geo.city", "Cordoba"), ("env.shell", "zsh"), ("user.name", "dev")];
    let zones = ["America/Argentina/Cordoba", "Europe/Berlin"];
    let body = json!({
        "messages": [{ "role": "user", "content": "hello" }],
        "tools": [{ "name": "set", "input_schema": { "type": "object", "properties": {
            "tz": { "description": "IANA zone, e.g. Europe/Berlin", "enum": zones },
            "shell": { "enum": ["bash", "zsh"], "description": "zsh" } } } }],
    });
    assert_eq!(found(&facts, JSON, body.to_string()), Vec::<String>::new());
    // Nor is a page that somebody uploads.
    let part = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.rs\"\r\n\r\nlet user = \"dev\";\r\n--b--\r\n";
    assert_eq!(found(&facts, &[("content-type", "multipart/form-data; boundary=b")], part), Vec::<String>::new());
    assert!(found(&[("hw.screen", "1920x1080")], JSON, r#"{"size":"1920x1080"}"#).is_empty());
}

#[test]
fn a_row_is_no_list() {
    let facts = [("tz.iana", "Asia/Almaty")];
    let row = r#"[[1,null,"start",true,"laptop","Asia/Almaty"]]"#;
    assert_eq!(found(&facts, JSON, row), ["tz.iana at body!json:/0/5"]);
    let list = r#"["Asia/Aden","Asia/Qatar","Asia/Dubai","Asia/Tokyo","Asia/Seoul","Asia/Almaty"]"#;
    assert!(found(&facts, JSON, list).is_empty());
}

#[test]
fn a_token_holds_nothing_but_what_its_parts_hold() {
    // The login name is part of the folder, in the token as in what it says.
    let facts = [("user.name", "odemirel"), ("path.cwd", "C:\\Users\\odemirel\\Documents\\portal")];
    let claims = json!({ "cwd": "C:\\Users\\odemirel\\Documents\\portal" }).to_string();
    let url = base64::prelude::BASE64_URL_SAFE_NO_PAD;
    for lead in ["", " ", "  "] {
        let token = format!("{}.{}.c2ln", url.encode(r#"{"alg":"HS256"}"#), url.encode(format!("{lead}{claims}")));
        let found = found(&facts, JSON, json!({ "a": token }).to_string());
        assert_eq!(found, ["path.cwd at body!json:/a!jwt:/1!json:/cwd"]);
    }
}

#[test]
fn names_of_fields_are_searched_as_their_values_are() {
    let facts = [("user.name", "jorinde-k"), ("path.home", "/home/jorinde-k")];
    let fields = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-user-jorinde-k", "1"),
        ("cookie", "seen-jorinde-k=1; theme=dark"),
    ];
    assert_eq!(
        found(&facts, &fields, "a=1&%2Fhome%2Fjorinde-k=on"),
        [
            "user.name at header:/x-user-jorinde-k",
            "user.name at header:/cookie!cookie:/seen-jorinde-k",
            "path.home at body!form:/~1home~1jorinde-k",
        ]
    );
}

#[test]
fn names_of_fields_are_edited_where_they_stand() {
    let facts = [("user.name", "jorinde-k"), ("path.home", "/home/jorinde-k")];
    let fields = [("content-type", "application/x-www-form-urlencoded"), ("x-user-jorinde-k", "1")];
    let audit = audited("strict", &facts, &fields, "a=1&%2Fhome%2Fjorinde-k=on&b=2");
    let Outgoing::Rewritten(rewritten) = &audit.outgoing else { panic!("{:?}", audit.outgoing) };
    let body = String::from_utf8_lossy(&rewritten.payload);
    assert!(body.starts_with("a=1&") && body.ends_with("&b=2") && !body.contains("jorinde"), "{body}");
    let head: Vec<_> = rewritten.head.iter().map(|edit| String::from_utf8_lossy(&edit.bytes)).collect();
    assert!(head.len() == 1 && !head[0].contains("jorinde"), "{head:?}");
}

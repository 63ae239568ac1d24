//! What telemetry services are sent, in the shapes their clients give it.

use ::base64::Engine;
use ::base64::prelude::BASE64_STANDARD;

use super::tests::{document, gzip, json, request, seen};
use crate::engine::audit::Part;
use crate::engine::visit::LeafKind;

#[test]
fn application_insights_is_lines_with_json_in_strings() {
    let payload = serde_json::json!({ "client": { "os_version": "6.8.0-45", "cpu_count": 8 } }).to_string();
    let line = |payload: &str| {
        let properties = serde_json::json!({ "payload": payload, "common_os": "linux" });
        let line = serde_json::json!({
            "tags": { "ai.user.id": "0011" }, "data": { "baseData": { "properties": properties } },
        });
        format!("{line}\n")
    };
    let body = gzip((line(&payload) + &line("{}")).as_bytes());
    let (seen, decoded) =
        document(&[("content-encoding", "gzip"), ("content-type", "application/x-json-stream")], body);
    seen.has("body!gzip!lines:/0!json:/tags/ai.user.id", "0011");
    seen.has("body!gzip!lines:/0!json:/data/baseData/properties/payload!json:/client/os_version", "6.8.0-45");
    seen.has("body!gzip!lines:/1!json:/data/baseData/properties/common_os", "linux");
    assert!(decoded.unread.is_empty());
}

#[test]
fn sentry_envelopes_are_read_by_their_lengths() {
    let event = "{\"server_name\":\"ws17\",\n \"user\":{\"id\":\"0011\"}}";
    let blob = b"\x00\xff\n{\"no\":1}\n\xfe";
    let zipped = gzip(br#"{"cwd":"/home/ann"}"#);
    let body = [
        format!("{{\"event_id\":\"9ec7\"}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n", event.len()).into_bytes(),
        format!("{{\"length\":{},\"type\":\"attachment\",\"filename\":\"a.bin\"}}\n", blob.len()).into(),
        blob.to_vec(),
        format!("\n{{\"type\":\"replay\",\"length\":{}}}\n", zipped.len()).into(),
        zipped,
        b"\n{\"type\":\"session\"}\n{\"sid\":\"abc\"}\n".to_vec(),
    ]
    .concat();
    for kind in ["application/x-sentry-envelope", "text/plain;charset=UTF-8", ""] {
        let (seen, decoded) = document(&[("content-type", kind)], body.clone());
        seen.has("body!lines:/0!json:/event_id", "9ec7");
        seen.has("body!lines:/1!json:/type", "event");
        seen.has("body!lines:/2!json:/server_name", "ws17");
        seen.has("body!lines:/2!json:/user/id", "0011");
        seen.has("body!lines:/3!json:/filename", "a.bin");
        seen.has("body!lines:/6!gzip!json:/cwd", "/home/ann");
        seen.has("body!lines:/8!json:/sid", "abc");
        let unread: Vec<_> = decoded.unread.iter().map(|unread| (unread.location.to_string(), unread.bytes)).collect();
        assert_eq!(unread, [("body!lines:/4".to_owned(), blob.len() as u64)]);
    }
    let log = "{\"a\":1}\n{\"type\":\"x\"}\n{\"b\":2}\n{\"c\":\"\"}\n";
    let (seen, decoded) = document(&[], log);
    seen.has("body!lines:/2!json:/b", "2");
    seen.has("body!lines:/3!json:/c", "");
    assert!(decoded.unread.is_empty());
    let (seen, decoded) = document(&[("content-type", "application/x-sentry-envelope")], log);
    seen.has("body!lines:/3!json:/c", "");
    assert!(decoded.unread.is_empty());
    let (seen, decoded) = document(&[], &body[..80]);
    seen.has("body!lines:/2!json:/server_name", "ws17");
    assert!(decoded.unread.iter().all(|unread| unread.reason == "malformed") && !decoded.unread.is_empty());
}

#[test]
fn documents_in_documents_are_read_to_the_numbers_that_name_their_values() {
    let event = serde_json::json!({ "event_metadata": [[{ "gemini_cli_key": 82, "value": "linux" }]] }).to_string();
    let log = serde_json::json!([{ "log_event": [[{ "event_time_ms": 1, "source_extension_json": event }]] }]);
    let (seen, _) = json(log.to_string());
    seen.has("body!json:/0/log_event/0/0/source_extension_json!json:/event_metadata/0/0/value", "linux");
}

#[test]
fn pairs_in_headers_and_cookies_are_entered() {
    let packed = BASE64_STANDARD.encode(r#"{"cwd":"/home/ann/project"}"#);
    let fields = [
        ("x-acme", &*format!("v=1; ctx={packed}; bytes=:{packed}:")),
        ("baggage", "user=ann%20example,zone=Asia%2FShanghai"),
        ("cookie", "a=%7B%22tz%22%3A%22CST%22%7D; b={\"x\":1}"),
    ];
    let (seen, _) = seen(&request("/", &fields), Part::Head);
    let in_token = |at: &str| at.starts_with("header:/x-acme@") && at.ends_with("!b64!json:/cwd");
    let entered: Vec<_> = seen.leaves.iter().filter(|leaf| in_token(&leaf.0)).collect();
    assert_eq!(entered.len(), 4, "a name and a value each");
    let zone = seen.leaves.iter().find(|leaf| leaf.0 == "header:/baggage!url" && leaf.3 == "Asia/Shanghai").unwrap();
    assert_eq!(zone.2, "zone");
    seen.has("header:/cookie!cookie:/a!url!json:/tz", "CST");
    seen.has("header:/cookie!cookie:/b!json:/x", "1");
}

#[test]
fn short_bytes_of_a_structured_field_are_its_values() {
    let fields = [("x-cores", "tok/en, :NzI=:;a=?1"), ("x-zone", "v=1, tz=:Q1NU:, s=:/+8=:"), ("x-time", "12:30:45")];
    let (seen, _) = seen(&request("/", &fields), Part::Head);
    let named = |at: &str, name: &str, text: &str| {
        seen.leaves.iter().any(|leaf| leaf.0 == at && leaf.2 == name && leaf.3 == text)
    };
    assert!(named("header:/x-cores", "x-cores", "72") && named("header:/x-zone", "tz", "CST"));
    let values = seen.leaves.iter().filter(|leaf| leaf.1 != LeafKind::FieldName);
    assert_eq!(values.filter(|leaf| leaf.0 == "header:/x-time").count(), 1);
}

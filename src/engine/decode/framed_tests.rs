//! Bodies made of messages: event streams, envelopes, server-sent events.

use ::base64::Engine;
use ::base64::prelude::BASE64_STANDARD;

use super::event_stream::tests::message;
use super::tests::{document, frame, gzip, json, pb};

const EVENTS: &[(&str, &str)] = &[("content-type", "application/vnd.amazon.eventstream")];

#[test]
fn event_streams_are_told_by_type_and_by_their_own_checksums() {
    let inner = BASE64_STANDARD.encode(r#"{"cwd":"/home/ann/project"}"#);
    let chunk = format!(r#"{{"bytes":"{inner}","p":"abc"}}"#);
    let body = [
        message(&[(":event-type", "chunk"), (":content-type", "application/json")], chunk.as_bytes()),
        message(&[(":event-type", "note"), ("X-Meta", r#"{"tz":"Asia/Shanghai"}"#)], b"plain words"),
        message(&[], &gzip(br#"{"a":1}"#)),
    ]
    .concat();
    let expected = [
        "body!event:/0!header:/:event-type = chunk",
        "body!event:/0!header:/:content-type = application/json",
        "body!event:/0!json:/bytes!b64!json:/cwd = /home/ann/project",
        "body!event:/0!json:/p = abc",
        "body!event:/1!header:/:event-type = note",
        "body!event:/1!header:/x-meta!json:/tz = Asia/Shanghai",
        "body!event:/1 = plain words",
        "body!event:/2!gzip!json:/a = 1",
    ];
    for fields in [EVENTS, &[("content-type", "application/octet-stream")]] {
        let (seen, decoded) = document(fields, body.clone());
        assert_eq!(seen.body(), expected);
        assert_eq!((decoded.unread.len(), decoded.bytes_read), (0, body.len() as u64));
    }
    let (seen, _) = json(format!(r#"{{"log":"{}"}}"#, BASE64_STANDARD.encode(&body)));
    seen.has("body!json:/log!b64!event:/0!json:/bytes!b64!json:/cwd", "/home/ann/project");
}

#[test]
fn a_cut_or_spoilt_event_is_read_as_far_as_it_goes() {
    let first = message(&[("a", "b")], br#"{"x":"whole"}"#);
    let second = message(&[("user", "ann-example")], br#"{"y":"cut here","z":"lost"}"#);
    let body = [&first[..], &second].concat();
    let (seen, decoded) = document(EVENTS, &body[..body.len() - 12]);
    seen.has("body!event:/0!json:/x", "whole");
    seen.has("body!event:/1!header:/user", "ann-example");
    seen.has("body!event:/1!json:/y", "cut here");
    assert!(decoded.unread.iter().any(|unread| unread.location.to_string() == "body!event:/1"));
    assert!(decoded.unread.iter().all(|unread| unread.reason == "malformed"));

    let mut spoilt = body.clone();
    let at = first.len() - 8;
    spoilt[at] ^= 1;
    let (seen, decoded) = document(EVENTS, spoilt);
    seen.has("body!event:/1!json:/z", "lost");
    assert_eq!(decoded.unread.iter().filter(|unread| unread.location.to_string() == "body!event:/0").count(), 1);

    let mut lying = body;
    lying[first.len()] ^= 1;
    let (seen, decoded) = document(EVENTS, lying);
    seen.has("body!event:/1", "ann-example{\"y\":\"cut here\",\"z\":\"lost\"}");
    assert_eq!(decoded.unread[0].bytes, second.len() as u64);
}

#[test]
fn server_sent_events_are_entered_where_they_hold_json() {
    let body = ": hello\nevent: delta\ndata: {\"tz\":\"Asia/Shanghai\"}\n\ndata:[1]\r\n\r\ndata: [DONE]\n";
    for kind in ["text/event-stream", "text/plain", ""] {
        let (seen, _) = document(&[("content-type", kind)], body);
        seen.has("body!lines:/0", ": hello");
        seen.has("body!lines:/2!json:/tz", "Asia/Shanghai");
        seen.has("body!lines:/3!json:/0", "1");
        seen.has("body!lines:/4", "[DONE]");
    }
    let (seen, _) = document(&[("content-type", "text/plain")], "data: of no use\nother prose\n");
    assert_eq!(seen.body(), ["body = data: of no use\nother prose\n"]);
}

#[test]
fn trailers_and_a_cut_envelope_are_read() {
    let trailers = b"grpc-status: 13\r\ngrpc-message: no /home/ann/project\r\n";
    let body = [frame(0, &pb(1, b"Asia/Shanghai")), frame(0x80, trailers)].concat();
    let (seen, decoded) = document(&[("content-type", "application/grpc-web+proto")], body);
    seen.has("body!frame:/0!pb:/1", "Asia/Shanghai");
    seen.has("body!frame:/1!header:/grpc-message", "no /home/ann/project");
    assert!(decoded.unread.is_empty());

    let whole = frame(0, &[pb(1, b"Asia/Shanghai"), pb(2, b"/home/ann/project")].concat());
    let (seen, decoded) = document(&[("content-type", "application/grpc; charset=x")], &whole[..whole.len() - 3]);
    seen.has("body!frame:/0!pb:/1", "Asia/Shanghai");
    assert_eq!(decoded.bytes_read + decoded.unread.iter().map(|unread| unread.bytes).sum::<u64>(), decoded.bytes_sent);
}

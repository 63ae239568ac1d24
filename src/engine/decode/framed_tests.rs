//! Bodies made of messages: event streams, envelopes, server-sent events.

use ::base64::Engine;
use ::base64::prelude::BASE64_STANDARD;

use super::event_stream::tests::message;
use super::tests::{document, frame, gzip, json, pb, request, seen};
use crate::engine::audit::Part;

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

    // A length of four gigabytes, and then no message: what stands there is a text.
    let broken = [&[0, 0xff, 0xff, 0xff, 0xff][..], b"kestrel-ws-4471 was here"].concat();
    let (seen, decoded) = document(&[("content-type", "application/grpc")], broken);
    seen.has("body!frame:/0", "kestrel-ws-4471 was here");
    assert_eq!(decoded.unread.len(), 1);
}

#[test]
fn every_plausible_reading_of_a_field_is_kept() {
    let proto = |message: Vec<u8>| document(&[("content-type", "application/x-protobuf")], message);
    // Field 4 with 36 bytes, and a text that starts with a quotation mark.
    let both = pb(4, b"550e8400-e29b-41d4-a716-446655440000");
    let text = String::from_utf8(both.clone()).unwrap();
    let (seen, decoded) = proto(pb(1, &both));
    seen.has("body!pb:/1", &text);
    seen.has("body!pb:/1/4", "550e8400-e29b-41d4-a716-446655440000");
    assert!(decoded.unread.is_empty());

    let (seen, decoded) = proto([pb(3, &[0x80, 0x80, 1, 8, 0x90, 3]), vec![0x18, 7]].concat());
    seen.has("body!pb:/3", "16384");
    seen.has("body!pb:/3.1", "8");
    seen.has("body!pb:/3.2", "400");
    assert!(decoded.unread.is_empty());

    let (seen, decoded) = proto(pb(2, &[0xac, 2].repeat(100)));
    seen.has("body!pb:/2.99", "300");
    assert!(decoded.unread.is_empty());
    let (_, decoded) = proto(pb(2, &[0xf1, 0xa2, 0xc4, 0xd5, 0xe6, 0xf7, 0x98, 0xa9].repeat(20)));
    assert_eq!(decoded.unread[0].reason, "opaque");
}

#[test]
fn a_type_that_is_wrong_is_not_believed() {
    let fields = [("content-type", "application/proto")];
    let (seen, _) = document(&fields, br#"{"tz":"Asia/Shanghai"}"#);
    seen.has("body!json:/tz", "Asia/Shanghai");
    let (seen, _) = document(&fields, gzip(&pb(1, b"Asia/Shanghai, Europe/Vienna")));
    seen.has("body!gzip!pb:/1", "Asia/Shanghai, Europe/Vienna");
    let frames = frame(0, &gzip(br#"{"tz":"Asia/Shanghai"}"#));
    let (seen, _) = document(&[("content-type", "application/grpc")], frames);
    seen.has("body!frame:/0!gzip!json:/tz", "Asia/Shanghai");
}

#[test]
fn messages_are_decompressed_by_what_is_said_or_by_what_they_are() {
    let message = pb(1, b"Asia/Shanghai /home/ann/project");
    let zstd = zstd::encode_all(&message[..], 3).unwrap();
    for (said, step) in [("gzip", "gzip"), ("zstd", "gzip"), ("", "gzip"), ("br", "gzip")] {
        let fields = [("content-type", "application/grpc+proto"), ("grpc-encoding", said)];
        let (seen, _) = document(&fields, frame(1, &gzip(&message)));
        seen.has(&format!("body!frame:/0!{step}!pb:/1"), "Asia/Shanghai /home/ann/project");
    }
    let mut br = Vec::new();
    std::io::Write::write_all(&mut brotli::CompressorWriter::new(&mut br, 4096, 5, 22), &message).unwrap();
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut deflate, &message).unwrap();
    for (said, bytes) in [("zstd", zstd), ("br", br), ("deflate", deflate.finish().unwrap())] {
        let fields = [("content-type", "application/connect+proto"), ("connect-content-encoding", said)];
        let (seen, _) = document(&fields, frame(1, &bytes));
        seen.has(&format!("body!frame:/0!{said}!pb:/1"), "Asia/Shanghai /home/ann/project");
    }
}

#[test]
fn frames_spelled_in_base64_are_numbered_through() {
    let frames = [frame(0, &pb(1, b"Asia/Shanghai")), frame(0, &pb(1, b"bash")), frame(0x80, b"grpc-status: 0\r\n")];
    let fields = [("content-type", "application/grpc-web-text+proto")];
    let whole = BASE64_STANDARD.encode(frames.concat());
    let pieces: String = frames.iter().map(|frame| BASE64_STANDARD.encode(frame)).collect();
    for body in [whole, pieces] {
        let (seen, decoded) = document(&fields, body);
        seen.has("body!b64!frame:/0!pb:/1", "Asia/Shanghai");
        seen.has("body!b64!frame:/1!pb:/1", "bash");
        seen.has("body!b64!frame:/2!header:/grpc-status", "0");
        assert!(decoded.unread.is_empty());
    }
    let (_, decoded) = document(&fields, "not base64 at all");
    assert_eq!(decoded.unread[0].reason, "malformed");
}

#[test]
fn the_message_of_a_connect_get_is_read_from_the_query() {
    let message = pb(10, b"CST");
    let url = ::base64::prelude::BASE64_URL_SAFE_NO_PAD;
    let head = |query: String| super::tests::seen(&super::tests::request(&query, &[]), crate::engine::Part::Head).0;
    let seen = head(format!("/s/M?connect=v1&encoding=proto&base64=1&message={}", url.encode(&message)));
    seen.has("query!form:/message!b64url!pb:/10", "CST");
    let zipped = url.encode(gzip(&message));
    let seen = head(format!("/s/M?message={zipped}&base64=1&compression=gzip&encoding=proto"));
    seen.has("query!form:/message!b64url!gzip!pb:/10", "CST");
    let seen = head("/s/M?encoding=json&message=%7B%22tz%22%3A%22CST%22%7D".into());
    seen.has("query!form:/message!json:/tz", "CST");
    let seen = head("/s/M?encoding=proto&message=R%03CST".into());
    seen.has("query!form:/message!pb:/10", "CST");
}

#[test]
fn a_unary_message_is_decompressed_as_its_body() {
    for kind in ["application/proto", "application/x-protobuf", "application/protobuf"] {
        let fields = [("content-type", kind), ("content-encoding", "gzip"), ("connect-protocol-version", "1")];
        let (seen, decoded) = document(&fields, gzip(&pb(10, b"CST")));
        seen.has("body!gzip!pb:/10", "CST");
        assert!(decoded.unread.is_empty());
    }
}

#[test]
fn a_message_of_texts_is_a_message_wherever_it_stands() {
    // All of it prints, but for the tags.
    let message = [pb(1, &[b'a'; 64]), pb(2, b"laptop-of-ann-in-the-office"), pb(3, &[b'b'; 90])].concat();
    let (seen, _) = json(serde_json::json!({ "a": BASE64_STANDARD.encode(&message) }).to_string());
    seen.has("body!json:/a!b64!pb:/2", "laptop-of-ann-in-the-office");
    let part = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\ncontent-type: application/x-protobuf\r\n\r\n";
    let body = [part.as_bytes(), &message, b"\r\n--b--\r\n"].concat();
    let (seen, _) = document(&[("content-type", "multipart/form-data; boundary=b")], body);
    seen.has("body!multipart:/a!pb:/2", "laptop-of-ann-in-the-office");
    let (seen, _) = document(&[("content-type", "application/proto")], pb(7, &message));
    seen.has("body!pb:/7/2", "laptop-of-ann-in-the-office");
    assert!(!seen.body().iter().any(|leaf| leaf.starts_with("body!pb:/7 = ")));
}

#[test]
fn text_of_two_bytes_a_character_is_no_list_of_numbers() {
    let wide: Vec<u8> =
        "the.machine.called.laptop-of-ann.in.the.office".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (seen, _) = document(&[("content-type", "application/proto")], [pb(1, b"event"), pb(2, &wide)].concat());
    assert!(seen.leaves.iter().any(|(at, _, _, text)| at == "body!pb:/2" && text.len() == wide.len()));
}

#[test]
fn one_message_of_an_event_stream_is_a_unit() {
    let body = message(&[(":content-type", "application/json")], br#"{"cwd":"/home/ann"}"#);
    let request = request("/", EVENTS);
    let (seen, _) = seen(&request, Part::Frame { index: 7, bytes: body.into() });
    seen.has("body!event:/7!json:/cwd", "/home/ann");
}

#[test]
fn trailers_are_fields_with_a_root_of_their_own() {
    let request = request("/", &[]);
    let raw = "X-Host: laptop\r\nX-State: {\"cwd\":\"/home/ann\"}\r\n";
    let (seen, decoded) = seen(&request, Part::Trailers(raw.into()));
    seen.has("trailer:/x-host", "laptop");
    seen.has("trailer:/x-state!json:/cwd", "/home/ann");
    assert_eq!((decoded.bytes_sent, decoded.unread.len()), (0, 0));
}

#[test]
fn a_signed_body_in_pieces_is_read_as_a_whole() {
    let body =
        b"9;chunk-signature=ab\r\n{\"cwd\":\"/\r\na;chunk-signature=cd\r\nhome/ann\"}\r\n0;chunk-signature=ef\r\n\r\n";
    let (seen, decoded) = document(&[("content-encoding", "aws-chunked"), ("content-type", "application/json")], body);
    seen.has("body!json:/cwd", "/home/ann");
    assert!(decoded.unread.is_empty());
    let (_, decoded) = document(&[("content-encoding", "aws-chunked")], b"\x80\x81no pieces".to_vec());
    assert_eq!(decoded.unread[0].reason, "content-coding");
}

#[test]
fn base64_written_backwards_is_read() {
    let coded: String = BASE64_STANDARD.encode(r#"{"events":[{"cwd":"/home/ann"}]}"#).chars().rev().collect();
    for fields in [&[][..], &[("content-type", "application/json")], &[("content-type", "text/plain")]] {
        let (seen, decoded) = document(fields, coded.clone());
        seen.has("body!b64!json:/events/0/cwd", "/home/ann");
        assert!(decoded.unread.is_empty());
    }
}

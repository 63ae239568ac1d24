//! What leaves of a head, and what is learned from it.

use bytes::{Bytes, BytesMut};
use divulge::wire::{
    ForwardRequest, ForwardResponse, Framing, HeadEdit, Limits, RequestHead, Span, TargetForm, TargetOut, Upgrade,
};

use crate::common::{forwarded, request, response, response_to, returned};

const AS_IS: ForwardRequest = ForwardRequest { target: TargetOut::AsIs, upgrade: false };
const TO_ORIGIN: ForwardRequest = ForwardRequest { target: TargetOut::Origin, upgrade: false };

#[test]
fn a_head_without_hop_by_hop_fields_leaves_byte_for_byte() {
    let raw = "POST /v1/messages?beta=true HTTP/1.1\r\nHost: api.example.com\r\nX-B:  two \r\nx-a:\tone\r\nX-B: three\r\n\
               content-length: 12\r\nACCEPT: */*\r\nEmpty:\r\nTE: trailers\r\nTrailer: x-sum\r\n\r\n";
    let head = request(raw.as_bytes()).unwrap();
    assert_eq!(forwarded(&head, &AS_IS), raw);
    assert_eq!(head.framing(), Framing::Length(12));
    assert_eq!(head.all("x-b").collect::<Vec<_>>(), [&b"two"[..], b"three"]);
    assert!(head.keep_alive());
}

#[test]
fn hop_by_hop_fields_and_those_that_connection_names_stay_here() {
    let raw = "GET / HTTP/1.1\r\nX-Near: 1\r\nHost: a.example.com\r\nConnection: keep-alive, x-near,,Trailer\r\nA: 1\r\n\
               Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
               TE: gzip, trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nTrailer: b\r\nB: 2\r\n\r\n";
    let head = request(raw.as_bytes()).unwrap();
    assert_eq!(forwarded(&head, &AS_IS), "GET / HTTP/1.1\r\nHost: a.example.com\r\nA: 1\r\nTrailer: b\r\nB: 2\r\n\r\n");
}

#[test]
fn a_url_as_target_becomes_a_path_and_a_missing_host_is_added() {
    let cases = [
        (
            "GET http://a.example.com/x?y HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
            "GET /x?y HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
        ),
        (
            "GET http://a.example.com HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
        ),
        (
            "GET http://a.example.com:80?y HTTP/1.1\r\nHost: A.example.com\r\n\r\n",
            "GET /?y HTTP/1.1\r\nHost: A.example.com\r\n\r\n",
        ),
        (
            "OPTIONS http://a.example.com HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
        ),
        (
            "GET http://a.example.com:8/x HTTP/1.0\r\nA: 1\r\n\r\n",
            "GET /x HTTP/1.0\r\nHost: a.example.com:8\r\nA: 1\r\n\r\n",
        ),
        ("GET /x HTTP/1.1\r\nHost: a.example.com\r\n\r\n", "GET /x HTTP/1.1\r\nHost: a.example.com\r\n\r\n"),
    ];
    for (sent, expected) in cases {
        let head = request(sent.as_bytes()).unwrap();
        assert_eq!(forwarded(&head, &TO_ORIGIN), expected);
        assert_eq!(head.path_and_query(), expected.split(' ').nth(1).unwrap());
    }
}

#[test]
fn edits_change_their_spans_alone() {
    let raw = "POST http://a.example.com/p?tz=CET HTTP/1.1\r\nHost: a.example.com\r\nX-Id: abc\r\nConnection: close\r\nB: 2\r\n\r\n";
    let head = request(raw.as_bytes()).unwrap();
    let at = |text: &str| {
        let start = raw.find(text).unwrap();
        Span::of(start..start + text.len())
    };
    let edit = |span: Span, bytes: &str| HeadEdit { span, bytes: bytes.into() };
    let start = at("Connection").start;
    let last = at("2\r\n\r\n");
    let edits = [
        edit(at("CET"), "UTC"),
        edit(head.fields()[1].line, ""),
        edit(Span::new(start, start), "Added: yes\r\n"),
        edit(at("close"), "dropped with its line"),
        edit(Span::new(last.start, last.start + 1), "22"),
    ];
    let mut out = BytesMut::new();
    head.write(&edits, &TO_ORIGIN, &mut out);
    assert_eq!(out, "POST /p?tz=UTC HTTP/1.1\r\nHost: a.example.com\r\nAdded: yes\r\nB: 22\r\n\r\n");
}

const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

#[test]
fn an_upgrade_is_offered_only_when_it_is_a_whole_websocket_request() {
    let head = request(WEBSOCKET.as_bytes()).unwrap();
    assert_eq!(head.upgrade(), Some(Upgrade::WebSocket));
    let how = ForwardRequest { upgrade: true, ..AS_IS };
    assert_eq!(forwarded(&head, &how), WEBSOCKET.replace("keep-alive, Upgrade", "Upgrade"));
    for (from, to) in [
        ("GET /ws", "POST /ws"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Upgrade: websocket", "Upgrade: websocket, h2c"),
        ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket"),
        (", Upgrade", ""),
        ("Version: 13", "Version: 8"),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"),
        ("AAAA==", "AAA=="),
        ("AAAA==", "AAAAAAAA"),
        ("Sec-WebSocket-Key: ", "X-Key: "),
        ("Sec-WebSocket-Version", "Content-Length: 3\r\nSec-WebSocket-Version"),
    ] {
        let text = WEBSOCKET.replacen(from, to, 1);
        let head = request(text.as_bytes()).unwrap();
        assert_eq!(head.upgrade(), None, "{from} -> {to}");
        assert!(!forwarded(&head, &AS_IS).contains("Upgrade:"), "{from} -> {to}");
    }
}

#[test]
fn a_response_is_returned_under_our_version_and_framing() {
    let until_close = response(b"HTTP/1.0 200 Fine\r\nA: 1\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(until_close.framing(), Framing::UntilClose);
    assert!(!until_close.keep_alive());
    assert_eq!(
        returned(&until_close, &ForwardResponse { chunked: true, ..Default::default() }),
        "HTTP/1.1 200 Fine\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunked = response(b"HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\nTrailer: x\r\nB: 2\r\n\r\n").unwrap();
    assert_eq!(
        returned(&chunked, &ForwardResponse { close: true, ..Default::default() }),
        "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nTrailer: x\r\nB: 2\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        returned(&chunked, &ForwardResponse { unchunked: true, ..Default::default() }),
        "HTTP/1.1 200 \r\nB: 2\r\nConnection: close\r\n\r\n"
    );
    let switched =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nKeep-Alive: 5\r\n\r\n";
    let head = response_to("GET", true, switched.as_bytes()).unwrap();
    assert_eq!(
        returned(&head, &ForwardResponse { upgrade: true, ..Default::default() }),
        switched.replace("Keep-Alive: 5\r\n", "")
    );
}

#[test]
fn how_a_response_ends_hangs_on_the_request_and_the_status() {
    let cases = [
        ("GET", "200 OK\r\nContent-Length: 5\r\n", Framing::Length(5), true),
        ("HEAD", "200 OK\r\nContent-Length: 5\r\n", Framing::None, true),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n", Framing::None, true),
        ("GET", "304 Not Modified\r\nContent-Length: 5\r\n", Framing::None, true),
        ("GET", "204 No Content\r\n", Framing::None, true),
        ("GET", "204 No Content\r\nContent-Length: 0\r\n", Framing::None, true),
        ("GET", "103 Early Hints\r\nLink: </a>\r\n", Framing::None, true),
        ("GET", "200 OK\r\n", Framing::UntilClose, false),
        ("GET", "200 OK\r\nConnection: close\r\nContent-Length: 1\r\n", Framing::Length(1), false),
        ("CONNECT", "200 OK\r\n", Framing::None, true),
        ("CONNECT", "407 No\r\nContent-Length: 1\r\n", Framing::Length(1), true),
    ];
    for (method, rest, framing, keep_alive) in cases {
        let head = response_to(method, false, format!("HTTP/1.1 {rest}\r\n").as_bytes()).unwrap();
        assert_eq!((head.framing(), head.keep_alive()), (framing, keep_alive), "{method} {rest}");
    }
    assert!(!response(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap().keep_alive());
    assert!(response(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n").unwrap().keep_alive());
}

#[test]
fn a_captured_head_may_come_out_of_an_editor() {
    let cases = [
        ("POST /a HTTP/1.1\nhost: a.example.com\nx: 1\n\nbody", "body", 2),
        ("POST /a HTTP/1.1\r\nhost: a.example.com\r\n\r\nbody\n", "body\n", 1),
        ("POST /a HTTP/2\nhost: a.example.com\n\n", "", 1),
        ("GET /a\nhost: a.example.com", "", 1),
        ("GET /a HTTP/1.1\nhost: a.example.com\n", "", 1),
        ("GET /a HTTP/1.1\nContent-Length: 5\nContent-Length: 6\nTransfer-Encoding: gzip\n\nx", "x", 3),
    ];
    for (text, body, fields) in cases {
        let bytes = Bytes::from_static(text.as_bytes());
        let (head, at) = RequestHead::parse_captured(&bytes, &Limits::default()).unwrap();
        assert_eq!(&text[at..], body);
        assert_eq!(head.fields().len(), fields, "{text}");
        assert_eq!((head.target(), head.target_form()), ("/a", TargetForm::Origin));
        assert_eq!(head.raw().as_ref(), &text.as_bytes()[..at]);
    }
    let wrong = Bytes::from_static(b"POST /a HTTP/1.1\nhost: a.example.com\nno colon here\n\nx");
    let error = RequestHead::parse_captured(&wrong, &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "line 3: white space in front of a colon");
}

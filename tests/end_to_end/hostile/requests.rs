//! Requests over HTTP/2 that are none: their heads, their bodies, frames out of place.

use std::time::Duration;

use super::{AUTHORITY, Field, METHOD, PATH, POST, SCHEME, get, setting};
use crate::common::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, Raw, SETTINGS, WHOLE, WINDOW_UPDATE, WITH_PRIORITY, block, frame,
};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::{Authority, Divulge, HOST, Route, bounded, within};

/// The head of a request without a body on stream 1.
fn head(fields: &[Field]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(fields))
}

/// A good GET with these fields besides.
fn with(fields: &[Field]) -> Vec<u8> {
    head(&[&[METHOD, SCHEME, AUTHORITY, PATH], fields].concat())
}

/// A POST on stream 1 with these fields, and then `frames`.
fn post(fields: &[Field], frames: &[Vec<u8>]) -> Vec<u8> {
    let fields = [&[POST, SCHEME, AUTHORITY, PATH], fields].concat();
    [frame(HEADERS, END_HEADERS, 1, &block(&fields)), frames.concat()].concat()
}

/// Heads of requests that are no requests, or not for this connection.
fn malformed_heads() -> Vec<(&'static str, Vec<u8>)> {
    let path = |path| head(&[METHOD, SCHEME, AUTHORITY, (":path", path)]);
    let authority = |authority| head(&[METHOD, SCHEME, (":authority", authority), PATH]);
    let method = |method| head(&[(":method", method), SCHEME, AUTHORITY, PATH]);
    vec![
        ("no field", head(&[])),
        ("no :method", head(&[SCHEME, AUTHORITY, PATH])),
        ("no :scheme", head(&[METHOD, AUTHORITY, PATH])),
        ("no :path", head(&[METHOD, SCHEME, AUTHORITY])),
        ("no :path beside host", head(&[METHOD, SCHEME, ("host", HOST)])),
        ("no :authority", head(&[METHOD, SCHEME, PATH])),
        ("two :method", head(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH])),
        ("two :scheme", head(&[METHOD, SCHEME, SCHEME, AUTHORITY, PATH])),
        ("two :authority", head(&[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH])),
        ("two :path", head(&[METHOD, SCHEME, AUTHORITY, PATH, PATH])),
        ("an unknown pseudo-header", head(&[METHOD, SCHEME, AUTHORITY, PATH, (":x", "1")])),
        (":status in a request", head(&[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")])),
        (":protocol without CONNECT", head(&[METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "websocket")])),
        ("a late pseudo-header", head(&[METHOD, SCHEME, AUTHORITY, ("x-a", "1"), PATH])),
        ("an upper-case pseudo-header", head(&[METHOD, SCHEME, AUTHORITY, (":Path", "/")])),
        ("CONNECT", head(&[(":method", "CONNECT"), AUTHORITY])),
        ("CONNECT with a path", head(&[(":method", "CONNECT"), SCHEME, AUTHORITY, PATH])),
        (
            "CONNECT for another protocol",
            head(&[(":method", "CONNECT"), (":protocol", "connect-udp"), SCHEME, AUTHORITY, PATH]),
        ),
        ("an empty :method", method("")),
        ("a space in :method", method("GET /x")),
        ("CR LF in :method", method("GET\r\nx-a: 1")),
        ("an empty :scheme", head(&[METHOD, (":scheme", ""), AUTHORITY, PATH])),
        ("http as :scheme", head(&[METHOD, (":scheme", "http"), AUTHORITY, PATH])),
        ("another :scheme", head(&[METHOD, (":scheme", "ftp"), AUTHORITY, PATH])),
        ("CR LF in :scheme", head(&[METHOD, (":scheme", "https\r\nx-a: 1"), AUTHORITY, PATH])),
        ("an empty :path", path("")),
        (":path without a slash", path("x")),
        ("a star for :path", path("*")),
        ("a whole URI in :path", path("https://other.example.com/")),
        ("a space in :path", path("/a b")),
        ("CR LF in :path", path("/ HTTP/1.1\r\nx-a: 1")),
        ("NUL in :path", path("/\0")),
        ("an empty :authority", authority("")),
        ("user information in :authority", authority("x@api.example.com")),
        ("a path in :authority", authority("api.example.com/x")),
        ("a bad port in :authority", authority("api.example.com:x")),
        ("CR LF in :authority", authority("api.example.com\r\nx-a: 1")),
        ("another host in :authority", authority("other.example.com")),
        ("another port in :authority", authority("api.example.com:8443")),
        ("host unlike :authority", with(&[("host", "other.example.com")])),
        ("two hosts", with(&[("host", HOST), ("host", HOST)])),
        ("user information in host", with(&[("host", "x@api.example.com")])),
        ("an empty host", with(&[("host", "")])),
        ("an upper-case name", with(&[("X-A", "1")])),
        ("a space in a name", with(&[("x a", "1")])),
        ("a colon in a name", with(&[("x:a", "1")])),
        ("an empty name", with(&[("", "1")])),
        ("CR in a name", with(&[("x-a\r", "1")])),
        ("LF in a name", with(&[("x-a\nx-b", "1")])),
        ("CR LF in a name", with(&[("x-a: 1\r\nx-b", "1")])),
        ("NUL in a name", with(&[("x-a\0", "1")])),
        ("a byte beyond ASCII in a name", with(&[("x-\u{e9}", "1")])),
        ("CR in a value", with(&[("x-a", "1\r2")])),
        ("LF in a value", with(&[("x-a", "1\n2")])),
        ("CR LF in a value", with(&[("x-a", "1\r\nx-b: 2")])),
        ("NUL in a value", with(&[("x-a", "1\0")])),
        ("a control character in a value", with(&[("x-a", "1\x01")])),
        ("DEL in a value", with(&[("x-a", "1\x7f")])),
        ("a space before a value", with(&[("x-a", " 1")])),
        ("a space after a value", with(&[("x-a", "1 ")])),
        ("a tab before a value", with(&[("x-a", "\t1")])),
        ("a tab after a value", with(&[("x-a", "1\t")])),
        ("connection", with(&[("connection", "close")])),
        ("connection that names a field", with(&[("connection", "x-a"), ("x-a", "1")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "h2c")])),
        ("te: gzip", with(&[("te", "gzip")])),
        ("te: trailers, gzip", with(&[("te", "trailers, gzip")])),
        ("two te", with(&[("te", "trailers"), ("te", "gzip")])),
        ("a length without a body", with(&[("content-length", "5")])),
        ("a length that is no number", with(&[("content-length", "x")])),
        ("two lengths that agree", with(&[("content-length", "0"), ("content-length", "0")])),
        ("a length with a leading zero", with(&[("content-length", "00")])),
        ("a length spelled with an underscore", with(&[("content_length", "5")])),
        ("a :path beyond ASCII", path("/\u{e9}")),
        ("an empty length", with(&[("content-length", "")])),
        ("a length with a sign", with(&[("content-length", "+0")])),
        ("a list of lengths", with(&[("content-length", "0, 0")])),
        ("two lengths that differ", with(&[("content-length", "0"), ("content-length", "1")])),
        ("a length that is too great", with(&[("content-length", "99999999999999999999")])),
        ("a truncated literal", frame(HEADERS, WHOLE, 1, b"\x00\x7f\x80")),
        ("index 0", frame(HEADERS, WHOLE, 1, b"\x80")),
        ("an index out of range", frame(HEADERS, WHOLE, 1, b"\xff\x50")),
        ("an integer without end", frame(HEADERS, WHOLE, 1, &[0xff; 32])),
        ("a bad code of Huffman's", frame(HEADERS, WHOLE, 1, b"\x00\x84\xff\xff\xff\xff\x01a")),
        ("a table beyond the setting", frame(HEADERS, WHOLE, 1, b"\x3f\xe1\xff\x03")),
        ("a table size after a field", {
            let block = [block(&[METHOD, SCHEME, AUTHORITY, PATH]), vec![0x20]].concat();
            frame(HEADERS, WHOLE, 1, &block)
        }),
    ]
}

/// Bodies and trailers that do not fit their head: no whole request.
fn malformed_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let data = |flags, data: &str| frame(DATA, flags, 1, data.as_bytes());
    let trailers = |fields: &[Field]| post(&[], &[data(0, "ab"), frame(HEADERS, WHOLE, 1, &block(fields))]);
    vec![
        ("less than the length", post(&[("content-length", "5")], &[data(END_STREAM, "abc")])),
        ("more than the length", post(&[("content-length", "3")], &[data(END_STREAM, "abcde")])),
        ("more in a second frame", post(&[("content-length", "3")], &[data(0, "abc"), data(END_STREAM, "de")])),
        ("less, and then trailers", {
            post(&[("content-length", "3")], &[data(0, "ab"), frame(HEADERS, WHOLE, 1, &block(&[("x-a", "1")]))])
        }),
        ("two lengths that differ", {
            post(&[("content-length", "3"), ("content-length", "2")], &[data(END_STREAM, "abc")])
        }),
        ("an upper-case name in trailers", trailers(&[("X-A", "1")])),
        ("CR LF in trailers", trailers(&[("x-a", "1\r\nx-b: 2")])),
        ("a pseudo-header in trailers", trailers(&[PATH, ("x-a", "1")])),
        ("a space after a value in trailers", trailers(&[("x-a", "1 ")])),
        ("connection in trailers", trailers(&[("connection", "close")])),
        ("a length in trailers", trailers(&[("content-length", "2")])),
        ("host in trailers", trailers(&[("host", HOST)])),
        ("authorization in trailers", trailers(&[("authorization", "x")])),
        ("transfer-encoding in trailers", trailers(&[("transfer-encoding", "chunked")])),
        ("trailers that do not end the stream", {
            post(&[], &[data(0, "ab"), frame(HEADERS, END_HEADERS, 1, &block(&[("x-a", "1")]))])
        }),
        ("padding longer than the data", post(&[], &[frame(DATA, PADDED | END_STREAM, 1, b"\x05abc")])),
        ("padding without a length", post(&[], &[frame(DATA, PADDED | END_STREAM, 1, b"")])),
        ("data beyond the window", {
            let piece = frame(DATA, 0, 1, &[b'a'; 16_384]);
            post(&[("content-type", "application/octet-stream")], &vec![piece; 300])
        }),
    ]
}

/// Frames out of place. A good request may come before.
fn malformed_frames() -> Vec<(&'static str, Vec<u8>)> {
    let good = block(&[METHOD, SCHEME, AUTHORITY, PATH]);
    let open = frame(HEADERS, END_HEADERS, 1, &block(&[POST, SCHEME, AUTHORITY, PATH]));
    let begun = frame(HEADERS, END_STREAM, 1, &good[..10]);
    let after = |first: &[u8], second: Vec<u8>| [first, &second].concat();
    let update = |stream, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    let itself = [&1u32.to_be_bytes()[..], &[16]].concat();
    vec![
        ("DATA on stream 0", frame(DATA, 0, 0, b"a")),
        ("HEADERS on stream 0", frame(HEADERS, WHOLE, 0, &good)),
        ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, &itself)),
        ("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4])),
        ("CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, &good)),
        ("HEADERS on an even stream", frame(HEADERS, WHOLE, 2, &good)),
        ("PUSH_PROMISE from a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &good[..]].concat())),
        ("DATA before HEADERS", frame(DATA, END_STREAM, 1, b"a")),
        ("RST_STREAM before HEADERS", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("WINDOW_UPDATE before HEADERS", update(1, 1)),
        ("CONTINUATION before HEADERS", frame(CONTINUATION, END_HEADERS, 1, &good)),
        ("DATA on a closed stream", after(&get(1), frame(DATA, END_STREAM, 1, b"a"))),
        ("HEADERS on a closed stream", after(&get(1), get(1))),
        (
            "DATA after a reset",
            after(&[open.clone(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat(), {
                // What was under way when the reset came may be ignored; a head may not.
                [frame(DATA, 0, 1, b"a"), get(1)].concat()
            }),
        ),
        ("a stream below the last", after(&get(5), get(3))),
        ("DATA within a head", after(&begun, frame(DATA, 0, 1, b"a"))),
        ("PING within a head", after(&begun, frame(PING, 0, 0, &[0; 8]))),
        ("HEADERS within a head", after(&begun, get(3))),
        ("an unknown frame within a head", after(&begun, frame(0x42, 0, 0, b"a"))),
        ("CONTINUATION of another stream", after(&begun, frame(CONTINUATION, END_HEADERS, 3, &good[10..]))),
        ("CONTINUATION after the end of a head", after(&get(1), frame(CONTINUATION, END_HEADERS, 1, &good))),
        ("padding longer than a head", frame(HEADERS, WHOLE | PADDED, 1, &[&[255], &good[..]].concat())),
        ("padding of an empty head", frame(HEADERS, WHOLE | PADDED, 1, b"")),
        ("a head that depends on itself", { frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&itself, &good[..]].concat()) }),
        ("a stream that depends on itself", frame(PRIORITY, 0, 1, &itself)),
        ("PRIORITY of a wrong length", frame(PRIORITY, 0, 1, &itself[1..])),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        ("an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1])),
        ("SETTINGS of a wrong length", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0])),
        ("ENABLE_PUSH of 2", setting(2, 2)),
        ("INITIAL_WINDOW_SIZE beyond 2^31 - 1", setting(4, 1 << 31)),
        ("MAX_FRAME_SIZE below 2^14", setting(5, 1000)),
        ("MAX_FRAME_SIZE beyond 2^24 - 1", setting(5, 1 << 24)),
        ("ENABLE_CONNECT_PROTOCOL of 2", setting(8, 2)),
        ("WINDOW_UPDATE of 0", update(0, 0)),
        ("WINDOW_UPDATE of 0 on a stream", after(&open, update(1, 0))),
        ("WINDOW_UPDATE beyond 2^31 - 1", update(0, 0x7fff_ffff)),
        ("WINDOW_UPDATE beyond 2^31 - 1 on a stream", after(&open, update(1, 0x7fff_ffff))),
        ("WINDOW_UPDATE of a wrong length", frame(WINDOW_UPDATE, 0, 0, &[1])),
        ("PING of 7 octets", frame(PING, 0, 0, &[0; 7])),
        ("PING of 9 octets", frame(PING, 0, 0, &[0; 9])),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8])),
        ("RST_STREAM of a wrong length", after(&open, frame(RST_STREAM, 0, 1, &[0; 3]))),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8])),
        ("GOAWAY of a wrong length", frame(GOAWAY, 0, 0, &[0; 7])),
        ("a frame beyond the setting", frame(DATA, 0, 1, &[0; 16_385])),
    ]
}

#[test]
fn malformed_http2_is_refused_and_never_reaches_the_upstream_as_a_request() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            if stream.read().await.complete {
                stream.ok(&[], b"ok", None).await;
            }
        })
        .await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let route = Route::through(&divulge);
        let mut wrong = Vec::new();
        // Whether a request may reach the upstream at all: as a broken one, or because a good one came before.
        let tables = [(malformed_heads(), "head"), (malformed_bodies(), "body"), (malformed_frames(), "frame")];
        for (cases, table) in tables {
            for (name, bytes) in cases {
                let before = upstream.log.requests().len();
                let mut client = Raw::client(route.tls(&["h2"]).await).await;
                client.send(bytes).await;
                let outcome = client.outcome().await;
                if !outcome.refused() {
                    wrong.push(format!("{table}, {name}: {outcome:?}"));
                }
                let seen = upstream.log.requests();
                let reached = match table {
                    "head" => seen.len() > before,
                    "body" => seen[before..].iter().any(|seen| seen.complete),
                    _ => seen[before..].iter().filter(|seen| seen.complete).count() > 1,
                };
                if reached {
                    wrong.push(format!("{table}, {name}: it reached the upstream"));
                }
            }
        }
        for (name, bytes) in [
            ("no preface", frame(SETTINGS, 0, 0, &[])),
            ("a preface without settings", [PREFACE, &get(1)[..]].concat()),
            ("half a preface", [&PREFACE[..20], b"xxxx", &frame(SETTINGS, 0, 0, &[])[..]].concat()),
            ("HTTP/1.1", format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes()),
        ] {
            let before = upstream.log.requests().len();
            let mut client = Raw::silent(route.tls(&["h2"]).await);
            client.send(bytes).await;
            let outcome = client.outcome().await;
            if !outcome.refused() || upstream.log.requests().len() > before {
                wrong.push(format!("preface, {name}: {outcome:?}"));
            }
        }
        // Whatever came late: of these, only the good requests before malformed frames are whole, all of them GET.
        let late = upstream.log.requests().into_iter().find(|seen| seen.complete && seen.method != "GET");
        assert!(wrong.is_empty() && late.is_none(), "{}\n{late:?}", wrong.join("\n"));
        divulge.assert_well();
    });
}

#[test]
fn what_the_http2_library_takes_off_a_target_is_refused() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Raw::client(Route::through(&divulge).tls(&["h2"]).await).await;
        let fields = |path| block(&[POST, SCHEME, AUTHORITY, (":path", path)]);
        client.send(frame(HEADERS, END_HEADERS, 1, &fields("/a#b"))).await;
        client.send(frame(HEADERS, WHOLE, 1, &block(&[("x-a", "1")]))).await;
        client.send(frame(HEADERS, WHOLE, 3, &fields("/c"))).await;
        let mut reset = None;
        let mut answered = false;
        while reset.is_none() || !answered {
            let got = client.frame().await.expect("the connection goes on");
            match (got.kind, got.stream) {
                (RST_STREAM, 1) => reset = Some(got.code()),
                (HEADERS, stream) => {
                    assert_eq!(stream, 3);
                    answered = true;
                }
                _ => {}
            }
        }
        // PROTOCOL_ERROR.
        assert_eq!(reset, Some(1));
        assert_eq!(upstream.log.one().await.path, "/c");
    });
}

//! Peers that speak HTTP/2 as no library does: malformed messages and floods from either side, clients that
//! end half of their connection, and more clients than there are descriptors.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::common::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, Raw, SETTINGS, WHOLE, WINDOW_UPDATE, WITH_PRIORITY, block, frame, string,
};
use crate::common::h2_client::{Http2, push, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::{Authority, Divulge, HOST, Route, Upstream, Wire, bounded, soon, within};

type Field = (&'static str, &'static str);

const METHOD: Field = (":method", "GET");
const SCHEME: Field = (":scheme", "https");
const AUTHORITY: Field = (":authority", HOST);
const PATH: Field = (":path", "/");
const POST: Field = (":method", "POST");

/// The head of a request without a body on stream 1.
fn head(fields: &[Field]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(fields))
}

/// A good GET on `stream`.
fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &block(&[METHOD, SCHEME, AUTHORITY, PATH]))
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

fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
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

/// `count` frames in pieces of a hundred.
fn many(count: u32, one: impl Fn(u32) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..count / 100).map(|piece| (piece * 100..(piece + 1) * 100).flat_map(&one).collect()).collect()
}

/// A field that fills most of the table, and then the field again and again: a head of `times` times 4 kB.
fn bomb(start: &[u8], times: usize) -> Vec<u8> {
    let mut block = start.to_vec();
    block.push(0x40);
    string(b"x", &mut block);
    string(&[b'a'; 4000], &mut block);
    block.extend(std::iter::repeat_n(0xbe, times));
    block
}

/// What one client sends to overload us, in pieces.
fn floods() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let opened = |path| frame(HEADERS, END_HEADERS, 1, &block(&[POST, SCHEME, AUTHORITY, (":path", path)]));
    let reset = |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    let silent = block(&[METHOD, SCHEME, AUTHORITY, (":path", "/silent")]);
    let head = block(&[METHOD, SCHEME, AUTHORITY, PATH]);
    let begun = vec![frame(HEADERS, END_STREAM, 1, &head)];
    let after = |first: Vec<Vec<u8>>, flood: Vec<Vec<u8>>| [first, flood].concat();
    let large = block(&[("x-a", "a".repeat(1000))]);
    vec![
        ("20,000 rapid resets", many(20_000, |n| [get(2 * n + 1), reset(2 * n + 1)].concat())),
        ("3,000 resets, ten at a time", {
            let ten = |ten: u32| {
                let streams = (10 * ten..10 * ten + 10).map(|n| 2 * n + 1);
                streams.flat_map(|stream| [frame(HEADERS, WHOLE, stream, &silent), reset(stream)].concat()).collect()
            };
            (0..300).map(ten).collect()
        }),
        ("3,000 resets, paced, of streams that were served", {
            // Few at a time, so that the library, which counts resets of streams not yet served, never ends it.
            let five = |five: u32| {
                let streams = (5 * five..5 * five + 5).map(|n| 2 * n + 1);
                let opened = streams.clone().flat_map(|stream| frame(HEADERS, WHOLE, stream, &silent)).collect();
                [opened, streams.flat_map(reset).collect()]
            };
            (0..600).flat_map(five).collect()
        }),
        ("20,000 empty DATA", after(vec![opened("/")], many(20_000, |_| frame(DATA, 0, 1, b"")))),
        ("20,000 DATA of one octet", after(vec![opened("/silent")], many(20_000, |_| frame(DATA, 0, 1, b"a")))),
        ("10,000 PINGs", many(10_000, |_| frame(PING, 0, 0, &[0; 8]))),
        ("10,000 SETTINGS", many(10_000, |n| setting(4, 65_535 + n))),
        ("10,000 WINDOW_UPDATEs", many(10_000, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("10,000 PRIORITYs", many(10_000, |n| frame(PRIORITY, 0, 2 * n + 3, &[0, 0, 0, 1, 16]))),
        ("10,000 unknown frames", many(10_000, |_| frame(0x42, 0, 0, &[0; 100]))),
        ("1,000 CONTINUATIONs", after(begun.clone(), many(1000, |_| frame(CONTINUATION, 0, 1, &large)))),
        ("10,000 empty CONTINUATIONs", after(begun, many(10_000, |_| frame(CONTINUATION, 0, 1, b"")))),
        ("HPACK bombs", many(100, |n| frame(HEADERS, WHOLE, 2 * n + 1, &bomb(&head, 12_000)))),
        ("300 open streams", {
            many(300, |n| frame(HEADERS, END_HEADERS, 2 * n + 1, &block(&[POST, SCHEME, AUTHORITY, PATH])))
        }),
    ]
}

/// Answers whole requests, except those to `/silent`.
async fn patient(authority: &Authority) -> Http2Upstream {
    Http2Upstream::scripted(authority, |mut stream| async move {
        if stream.seen.path == "/silent" {
            return std::future::pending().await;
        }
        if stream.read().await.complete {
            stream.ok(&[], b"ok", None).await;
        }
    })
    .await
}

/// Most that a flood may make divulge hold, in MiB.
const MEMORY: f64 = 32.0;

/// The upstream's connection has ended, and the next one never comes about.
#[test]
fn a_stream_reset_while_its_upstream_is_awaited_ends_at_once() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["h2"], |served| async move {
            if served.connection > 0 {
                return std::future::pending().await;
            }
            let mut raw = Raw::server(served.wire).await;
            if let Some(stream) = raw.request().await {
                raw.send(frame(HEADERS, WHOLE, stream, &block(&[(":status", "200")]))).await;
            }
        })
        .await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Raw::client(Route::through(&divulge).tls(&["h2"]).await).await;
        client.send(get(1)).await;
        while soon("the first answer", client.frame()).await.expect("the connection goes on").kind != HEADERS {}
        client.send(get(3)).await;
        soon("the second connection", async {
            while upstream.log.connections() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        client.send(frame(RST_STREAM, 0, 3, &[0, 0, 0, 8])).await;
        // Each flow has its line once it has ended.
        let flows = || divulge.lines().iter().filter(|line| line.get("kind").is_none()).count();
        let ended = tokio::time::timeout(Duration::from_secs(2), async {
            while flows() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(ended.await.is_ok(), "the flow of a stream that was reset went on: {:?}", divulge.lines());
        divulge.assert_well();
    });
}

/// A client that grants every window there is, asks for much on many streams, and reads nothing.
#[test]
fn a_client_that_grants_all_and_reads_nothing_costs_little() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            let mut send = stream.start(&[]);
            let _ = push(&mut send, vec![b'a'; 4 << 20].into(), true).await;
        })
        .await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let before = divulge.memory();
        let mut client = Raw::deaf(Route::through(&divulge).tls(&["h2"]).await);
        client.send([PREFACE, &setting(4, 0x7fff_ffff)].concat()).await;
        client.send(frame(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes())).await;
        for stream in 0..200 {
            client.send(get(2 * stream + 1)).await;
        }
        let mut most = 0.0;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = f64::max(most, divulge.memory() - before);
        }
        assert!(most < MEMORY, "memory rose by {most:.0} MiB");
        divulge.assert_well();
    });
}

/// An upstream that grants every window there is, and reads nothing of what many streams send it.
#[test]
fn an_upstream_that_grants_all_and_reads_nothing_costs_little() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["h2"], |served| async move {
            let mut raw = Raw::server(served.wire).await;
            raw.send(setting(4, 0x7fff_ffff)).await;
            raw.send(frame(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes())).await;
            raw.request().await;
            raw.stop_reading();
            std::future::pending().await
        })
        .await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let before = divulge.memory();
        let mut streams = Vec::new();
        for _ in 0..100 {
            let fields = [("content-type", "application/octet-stream")];
            let (response, mut send) = client.open(request("POST", "/", &fields), false).await;
            streams.push(tokio::spawn(async move {
                let _ = push(&mut send, vec![b'a'; 4 << 20].into(), true).await;
                response.await.is_ok()
            }));
        }
        let mut most = 0.0;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = f64::max(most, divulge.memory() - before);
        }
        assert!(most < MEMORY, "memory rose by {most:.0} MiB");
        divulge.assert_well();
    });
}

/// A client that asks for an answer to everything and reads none.
#[test]
fn pings_whose_answers_nobody_reads_cost_little() {
    bounded(async {
        let authority = Authority::new();
        let upstream = patient(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let before = divulge.memory();
        let mut client = Raw::deaf(Route::through(&divulge).tls(&["h2"]).await);
        client.send([PREFACE, &frame(SETTINGS, 0, 0, &[])[..]].concat()).await;
        let piece = [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])].concat().repeat(2000);
        let mut sent = 0;
        while sent < 500 && client.send(&piece).await {
            sent += 1;
        }
        assert!(sent < 500, "divulge read on though nobody took its answers");
        let most = divulge.memory() - before;
        assert!(most < MEMORY, "memory rose by {most:.0} MiB");
        divulge.assert_well();
    });
}

#[test]
fn a_client_that_says_goaway_may_still_end_what_it_began() {
    bounded(async {
        let authority = Authority::new();
        let upstream = patient(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Raw::client(Route::through(&divulge).tls(&["h2"]).await).await;
        client.send(frame(HEADERS, END_HEADERS, 1, &block(&[POST, SCHEME, AUTHORITY, PATH]))).await;
        // No streams of ours are refused by it: it may open others (RFC 9113, section 6.8).
        client.send(frame(GOAWAY, 0, 0, &[0; 8])).await;
        client.send(frame(DATA, END_STREAM, 1, b"the rest")).await;
        client.send(get(3)).await;
        let mut ended = Vec::new();
        while ended.len() < 2 {
            let got = soon("two answers", client.frame()).await.expect("the connection goes on");
            assert_ne!(got.kind, RST_STREAM);
            if matches!(got.kind, HEADERS | DATA) && got.flags & END_STREAM != 0 {
                ended.push(got.stream);
            }
        }
        divulge.assert_well();
    });
}

#[test]
fn a_flood_from_one_client_ends_and_leaves_the_others_served() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let upstream = patient(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let mut wrong = Vec::new();
        for (number, (name, pieces)) in floods().into_iter().enumerate() {
            let mut other = Http2::connect(&Route::through(&divulge).from("127.0.0.200")).await;
            let served = async |other: &mut Http2| {
                let answer = other.exchange(request("GET", "/", &[]), None, None);
                tokio::time::timeout(Duration::from_secs(1), answer).await.is_ok_and(|answer| answer.status == 200)
            };
            assert!(served(&mut other).await, "before the flood the other client was not served");
            let (memory, descriptors) = (divulge.memory(), divulge.descriptors());
            let route = Route::through(&divulge).from(&format!("127.0.0.{}", number + 2));
            let mut client = Raw::client(route.tls(&["h2"]).await).await;
            let started = Instant::now();
            let mut most = memory;
            let mut taken = true;
            for (sent, piece) in pieces.iter().enumerate() {
                taken = taken && client.send(piece).await && (!name.contains("paced") || client.settled().await);
                if sent % 50 == 25 {
                    most = most.max(divulge.memory());
                    if !served(&mut other).await {
                        wrong.push(format!("{name}: another client was not served within a second"));
                    }
                }
            }
            if !served(&mut other).await {
                wrong.push(format!("{name}: afterwards another client was not served within a second"));
            }
            most = most.max(divulge.memory());
            if most - memory > MEMORY {
                wrong.push(format!("{name}: memory rose from {memory:.0} to {most:.0} MiB"));
            }
            if started.elapsed() > Duration::from_secs(10) {
                wrong.push(format!("{name}: it took {:?}", started.elapsed()));
            }
            drop(client);
            // The upstream's connection of that client may be kept.
            let ended = tokio::time::timeout(Duration::from_secs(3), async {
                while divulge.descriptors() > descriptors + 1 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            if ended.await.is_err() {
                wrong.push(format!("{name}: {descriptors} descriptors before, {} after", divulge.descriptors()));
            }
            divulge.assert_well();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// What an upstream sends in answer to the request on stream 1, and whether it ends the connection then.
fn bad_answers() -> Vec<(&'static str, Vec<u8>, bool)> {
    const OK: Field = (":status", "200");
    let whole = |fields: &[Field]| frame(HEADERS, WHOLE, 1, &block(fields));
    let head = |fields: &[Field]| frame(HEADERS, END_HEADERS, 1, &block(fields));
    let data = |flags, data: &str| frame(DATA, flags, 1, data.as_bytes());
    let status = |status| whole(&[(":status", status)]);
    let field = |name, value| whole(&[OK, (name, value)]);
    let body = |fields: &[Field], frames: &[Vec<u8>]| [head(&[&[OK], fields].concat()), frames.concat()].concat();
    let goaway = |last: u8, code: u8| frame(GOAWAY, 0, 0, &[0, 0, 0, last, 0, 0, 0, code]);
    let flood = |count, one: &dyn Fn(u32) -> Vec<u8>| many(count, one).concat();
    let ok = block(&[OK]);
    vec![
        ("no :status", whole(&[("x-a", "1")]), false),
        ("two :status", whole(&[OK, OK]), false),
        ("two :status that differ", whole(&[OK, (":status", "204")]), false),
        ("a status of two digits", status("20"), false),
        ("a status of four digits", status("2000"), false),
        ("a status that is no number", status("abc"), false),
        ("an empty status", status(""), false),
        ("an unknown pseudo-header", whole(&[OK, (":x", "1")]), false),
        ("a late :status", whole(&[("x-a", "1"), OK]), false),
        ("a pseudo-header of requests", whole(&[OK, PATH]), false),
        (
            "one of requests in an interim response",
            { [head(&[(":status", "103"), METHOD]), whole(&[OK])].concat() },
            false,
        ),
        ("a :status in trailers", body(&[], &[data(0, "abc"), whole(&[OK])]), false),
        ("a length in trailers", body(&[], &[data(0, "abc"), whole(&[("content-length", "3")])]), false),
        ("a space before a value", field("x-a", " 1"), false),
        ("a space after a value", field("x-a", "1 "), false),
        (
            "two lengths that agree",
            body(&[("content-length", "3"), ("content-length", "3")], &[data(END_STREAM, "abc")]),
            false,
        ),
        ("a length with a leading zero", body(&[("content-length", "03")], &[data(END_STREAM, "abc")]), false),
        ("a body after 204", [head(&[(":status", "204")]), data(END_STREAM, "abc")].concat(), false),
        ("a body after 304", [head(&[(":status", "304")]), data(END_STREAM, "abc")].concat(), false),
        ("a length with 204", whole(&[(":status", "204"), ("content-length", "3")]), false),
        (
            "a length in an interim response",
            { [head(&[(":status", "103"), ("content-length", "3")]), whole(&[OK])].concat() },
            false,
        ),
        ("101, and then a response", [head(&[(":status", "101")]), whole(&[OK])].concat(), false),
        ("an upper-case name", field("X-A", "1"), false),
        ("CR LF in a name", field("x-a: 1\r\nx-b", "1"), false),
        ("CR LF in a value", field("x-a", "1\r\nx-b: 2"), false),
        ("NUL in a value", field("x-a", "1\0"), false),
        ("connection", field("connection", "close"), false),
        ("transfer-encoding", field("transfer-encoding", "chunked"), false),
        ("101", [head(&[(":status", "101")]), data(END_STREAM, "ab")].concat(), false),
        ("an interim response that ends the stream", status("103"), false),
        ("a length without a body", field("content-length", "5"), false),
        ("less than the length", body(&[("content-length", "5")], &[data(END_STREAM, "abc")]), false),
        ("more than the length", body(&[("content-length", "3")], &[data(END_STREAM, "abcde")]), false),
        (
            "two lengths that differ",
            { body(&[("content-length", "3"), ("content-length", "5")], &[data(END_STREAM, "abc")]) },
            false,
        ),
        ("DATA before HEADERS", data(END_STREAM, "abc"), false),
        ("trailers that do not end the stream", body(&[], &[data(0, "abc"), head(&[("x-a", "1")])]), false),
        ("CR LF in trailers", body(&[], &[data(0, "abc"), whole(&[("x-a", "1\r\nx-b: 2")])]), false),
        ("padding longer than the data", body(&[], &[frame(DATA, PADDED | END_STREAM, 1, b"\x05abc")]), false),
        ("padding longer than the head", frame(HEADERS, WHOLE | PADDED, 1, &[&[255], &ok[..]].concat()), false),
        ("HEADERS on an even stream", frame(HEADERS, WHOLE, 2, &ok), false),
        ("HEADERS on a stream that is not open", frame(HEADERS, WHOLE, 7, &ok), false),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &ok[..]].concat()), false),
        ("a window beyond 2^31 - 1", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), false),
        ("PING within a head", [frame(HEADERS, 0, 1, &ok), frame(PING, 0, 0, &[0; 8])].concat(), false),
        ("RST_STREAM", frame(RST_STREAM, 0, 1, &[0, 0, 0, 2]), false),
        ("RST_STREAM in the body", body(&[], &[data(0, "abc"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])]), false),
        ("NO_ERROR in the body", body(&[], &[data(0, "abc"), frame(RST_STREAM, 0, 1, &[0; 4])]), false),
        ("GOAWAY", goaway(0, 0), false),
        ("GOAWAY in the body", body(&[], &[data(0, "abc"), goaway(0, 0)]), true),
        ("GOAWAY with an error in the body", body(&[], &[data(0, "abc"), goaway(1, 2)]), true),
        ("the end in the body", body(&[], &[data(0, "abc")]), true),
        ("the end", Vec::new(), true),
        ("data beyond the window", body(&[], &vec![frame(DATA, 0, 1, &[b'a'; 16_384]); 600]), false),
        ("20,000 empty DATA", body(&[], &[flood(20_000, &|_| frame(DATA, 0, 1, b""))]), true),
        ("10,000 PINGs", flood(10_000, &|_| frame(PING, 0, 0, &[0; 8])), true),
        ("10,000 SETTINGS", flood(10_000, &|n| setting(4, 65_535 + n)), true),
        ("10,000 WINDOW_UPDATEs", flood(10_000, &|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])), true),
        ("10,000 RST_STREAMs", flood(10_000, &|_| frame(RST_STREAM, 0, 1, &[0; 4])), true),
        (
            "1,000 CONTINUATIONs",
            {
                let large = block(&[("x-a", "a".repeat(1000))]);
                [frame(HEADERS, 0, 1, &ok), flood(1000, &|_| frame(CONTINUATION, 0, 1, &large))].concat()
            },
            false,
        ),
        (
            "10,000 empty CONTINUATIONs",
            { [frame(HEADERS, 0, 1, &ok), flood(10_000, &|_| frame(CONTINUATION, 0, 1, b""))].concat() },
            false,
        ),
        ("an HPACK bomb", frame(HEADERS, WHOLE, 1, &bomb(&ok, 12_000)), false),
        ("10,000 interim responses", flood(10_000, &|_| head(&[(":status", "103"), ("x-a", "1")])), false),
    ]
}

#[test]
fn a_bad_answer_over_http2_never_looks_like_a_whole_one() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let answer = Arc::new(Mutex::new((Vec::new(), false)));
        let next = answer.clone();
        let upstream = Upstream::scripted(&authority, &["h2"], move |served| {
            let (bytes, end) = next.lock().unwrap().clone();
            async move {
                let mut raw = Raw::server(served.wire).await;
                if raw.request().await.is_some() {
                    raw.send(bytes).await;
                    if !end {
                        raw.gone().await;
                    }
                }
            }
        })
        .await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let memory = divulge.memory();
        let mut wrong = Vec::new();
        for (number, (name, bytes, end)) in bad_answers().into_iter().enumerate() {
            *answer.lock().unwrap() = (bytes, end);
            // Each from an address of its own, so that none gets the upstream connection of another.
            let route = Route::through(&divulge).from(&format!("127.0.0.{}", number + 2));
            let mut client = Raw::client(route.tls(&["h2"]).await).await;
            client.send(get(1)).await;
            let outcome = client.outcome().await;
            if !outcome.refused() {
                wrong.push(format!("{name}: {outcome:?}"));
            }
            divulge.assert_well();
        }
        let rise = divulge.memory() - memory;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(rise < MEMORY, "memory rose by {rise:.0} MiB");
    });
}

/// A client that has sent a whole request, in a tunnel or outside, and an upstream that has it. The upstream
/// answers when told, and says when its client has gone.
struct Halved {
    client: Wire,
    answer: Arc<Notify>,
    gone: Arc<Notify>,
    _kept: (Divulge, Upstream, Authority),
}

async fn halved(tls: bool, answer_bytes: usize) -> Halved {
    let authority = Authority::new();
    let [answer, gone] = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    let (told, left) = (answer.clone(), gone.clone());
    let late = crate::common::upstream::ok(&"a".repeat(answer_bytes));
    let config = tls.then(|| authority.server(&[HOST], &["http/1.1"]));
    let upstream = Upstream::start(config, move |mut served| {
        let (told, left, late) = (told.clone(), left.clone(), late.clone());
        async move {
            served.request().await;
            tokio::select! {
                () = told.notified() => drop(served.wire.send(late).await),
                () = served.gone() => left.notify_one(),
            }
        }
    })
    .await;
    let divulge = Divulge::before(&authority, upstream.address).await;
    let (mut client, target) = match tls {
        true => (Route::through(&divulge).http1().await, "/"),
        false => (Wire::connect(divulge.address).await, "http://api.example.com/"),
    };
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    upstream.log.one().await;
    Halved { client, answer, gone, _kept: (divulge, upstream, authority) }
}

#[test]
fn a_client_that_ends_its_sending_side_still_gets_its_answer() {
    bounded(async {
        // Short, and so long that it waits for a client that is slow to read.
        for (tls, bytes) in [(true, 4), (false, 4), (true, 16 << 20), (false, 16 << 20)] {
            let mut halved = halved(tls, bytes).await;
            halved.client.stream.shutdown().await.unwrap();
            // A model may think for long.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            halved.answer.notify_one();
            if bytes > 4 {
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            let response = soon("the answer", halved.client.response()).await;
            let length = response.body.data.len();
            assert_eq!((response.status, length, response.body.complete), (200, bytes, true), "TLS: {tls}");
        }
    });
}

#[test]
fn a_client_that_takes_its_leave_is_seen_upstream_within_a_second() {
    bounded(async {
        // At once, or after it had only ended its sending side for a while.
        for (tls, halves) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut halved = halved(tls, 4).await;
            let _ = halved.client.stream.shutdown().await;
            if halves {
                tokio::time::sleep(Duration::from_millis(1200)).await;
            }
            drop(halved.client);
            let seen = tokio::time::timeout(Duration::from_secs(1), halved.gone.notified()).await;
            assert!(
                seen.is_ok(),
                "a second later the upstream still served nobody (TLS: {tls}, half-closed before: {halves})"
            );
        }
    });
}

#[test]
fn more_clients_than_descriptors_do_not_make_it_spin() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge =
            Divulge::serve().intercept("all").trusting(&authority).to(upstream.address).descriptors(64).start().await;
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(tokio::net::TcpStream::connect(divulge.address).await.unwrap());
        }
        divulge.wait_for_error("no connection could be accepted").await;
        let before = divulge.computed();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let spent = divulge.computed() - before;
        assert!(spent < Duration::from_millis(500), "it computed {spent:?} of 2 s with nothing to do");
        drop(clients);
        let mut client = soon("a connection", Route::through(&divulge).http1()).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(soon("an answer", client.response()).await.status, 200);
        divulge.assert_well();
    });
}

//! Answers over HTTP/2 that are none, and floods from upstreams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Field, MEMORY, METHOD, PATH, bomb, get, many, setting};
use crate::common::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PUSH_PROMISE, RST_STREAM, Raw, WHOLE,
    WINDOW_UPDATE, block, frame,
};
use crate::common::{Authority, Divulge, Route, Upstream, within};

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

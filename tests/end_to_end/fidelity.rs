//! What leaves is what came: the same request with and without divulge, as a recording upstream saw it.

use http::HeaderMap;

use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::upstream::{Seen, ok};
use crate::common::wire::{lines, start_line};
use crate::common::{Authority, Divulge, Route, Upstream, bounded, show};

/// Fields of one connection only (RFC 9110, section 7.6.1); a `Connection` field may name more.
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Requests whose every byte must arrive.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let request = |head: &str, body: &[u8]| {
        let mut bytes = head.replace('\n', "\r\n").into_bytes();
        bytes.extend(body);
        bytes
    };
    let large: Vec<u8> = (0..300_000_u32).map(|number| (number * 31 % 251) as u8).collect();
    let every: Vec<u8> = (0..=255).collect();
    vec![
        ("the least there is", request("GET / HTTP/1.1\nHost: api.example.com\n\n", b"")),
        (
            "repeats that stand between others, in any case",
            request(
                "GET /a HTTP/1.1\nX-One: 1\nhost: api.example.com\nx-one: 2\nX-TWO: 1\nX-One: 3\nx-two: 2\n\n",
                b"",
            ),
        ),
        (
            "spaces around values, none, and empty values",
            request("GET / HTTP/1.1\nHost:api.example.com\nA:1\nB:   2\nC: 3  \nD:\t4\nE:\nF: \nG: a  b\n\n", b""),
        ),
        (
            "an odd target",
            request("GET /a<b>{c}|\\^`\"d?x=<y>&z=%zz&=&&%41%2f%2F;p//../.? HTTP/1.1\nHost: api.example.com\n\n", b""),
        ),
        ("an asterisk as target", request("OPTIONS * HTTP/1.1\nHost: api.example.com\n\n", b"")),
        ("a method of one's own", request("M-SEARCH /x HTTP/1.1\nHost: api.example.com\n\n", b"")),
        ("a method in lower case", request("get /x HTTP/1.1\nHost: api.example.com\n\n", b"")),
        (
            "bytes beyond ASCII in a value",
            b"GET / HTTP/1.1\r\nHost: api.example.com\r\nX-Bytes: \x80\xff caf\xc3\xa9\r\n\r\n".to_vec(),
        ),
        (
            "every character that a name may have",
            request("GET / HTTP/1.1\nHost: api.example.com\n!#$%&'*+-.^_`|~09azAZ: 1\n\n", b""),
        ),
        (
            "a JSON body with spellings that a parser would change",
            request(
                "POST /v1 HTTP/1.1\nHost: api.example.com\nContent-Type: application/json\ncontent-LENGTH: 65\n\n",
                br#"{"b":1.0e+02, "a":"\u0041\/","a":"twice", "n":-0,"w":  [ 1 ,2 ] }"#,
            ),
        ),
        ("a body of every byte", request("PUT /b HTTP/1.1\nContent-Length: 256\nHost: api.example.com\n\n", &every)),
        (
            "a body of many reads",
            request("POST /c HTTP/1.1\nHost: api.example.com\nContent-Length: 300000\n\n", &large),
        ),
        ("an empty body", request("POST /d HTTP/1.1\nHost: api.example.com\nContent-Length: 0\n\n", b"")),
        ("a body with DELETE", request("DELETE /e HTTP/1.1\nHost: api.example.com\nContent-Length: 2\n\n", b"{}")),
        (
            "a chunked body",
            request(
                "POST /f HTTP/1.1\nHost: api.example.com\nX-A: 1\nTransfer-Encoding: chunked\nX-B: 2\n\n",
                b"5\r\nhello\r\n1\r\n \r\n00A\r\n0123456789\r\n0\r\n\r\n",
            ),
        ),
        (
            "hop-by-hop fields among others",
            request(
                "GET /g HTTP/1.1\nX-A: 1\nConnection: keep-alive, x-hop\nX-Hop: 1\nX-B: 2\nKeep-Alive: timeout=5\n\
                 Host: api.example.com\nX-C: 3\n\n",
                b"",
            ),
        ),
        (
            "many fields",
            request(
                &format!(
                    "GET /h HTTP/1.1\nHost: api.example.com\n{}\n",
                    (0..150).map(|number| format!("X-Field-{number}: {}\n", "v".repeat(number))).collect::<String>()
                ),
                b"",
            ),
        ),
        (
            "credentials and cookies",
            request(
                "GET /i HTTP/1.1\nHost: api.example.com\nAuthorization: Bearer sk-dummy-0000000000\nCookie: a=1; b=2\n\
                 cookie: c=3\nX-Forwarded-For: 192.0.2.1\nVia: 1.1 example\nAccept-Encoding: gzip, br\n\n",
                b"",
            ),
        ),
    ]
}

/// What must be the same on either route: the first line, the fields that are not of one connection only, as
/// spelled, and the body without its framing.
fn essence(seen: &Seen) -> (String, Vec<String>, Vec<u8>, Vec<u8>) {
    let mut hop: Vec<String> = HOP_BY_HOP.map(str::to_owned).to_vec();
    for value in crate::common::wire::fields(&seen.head, "connection") {
        hop.extend(value.split(',').map(|name| name.trim().to_ascii_lowercase()));
    }
    let kept = lines(&seen.head).into_iter().filter(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
        !hop.iter().any(|hop| hop.as_bytes() == name)
    });
    (start_line(&seen.head), kept.map(|line| show(&line)).collect(), seen.body.data.clone(), seen.body.trailers.clone())
}

#[test]
fn http1_requests_leave_byte_for_byte_as_they_came() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let mut wrong = Vec::new();
        for (name, bytes) in requests() {
            let mut essences = Vec::new();
            for route in [Route::direct(upstream.address, &authority), Route::through(&divulge)] {
                let before = upstream.log.requests().len();
                let mut client = route.http1().await;
                client.send(&bytes).await;
                let response = client.response().await;
                if response.status != 200 {
                    wrong.push(format!("{name}: answered {}", show(&response.head)));
                    break;
                }
                essences.push(essence(&upstream.log.requests()[before]));
            }
            if let [direct, through] = &essences[..]
                && direct != through
            {
                wrong.push(format!("{name}:\n  sent    {direct:?}\n  arrived {through:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        divulge.assert_well();
    });
}

#[test]
fn requests_on_one_kept_connection_stay_apart_and_in_order() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |seen| ok(&seen.start_line())).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;

        let mut sent = 0;
        for (name, bytes) in requests() {
            client.send(&bytes).await;
            let response = client.response().await;
            sent += 1;
            let seen = upstream.log.wait(sent).await;
            assert_eq!(seen.len(), sent, "{name}");
            assert_eq!(response.text(), seen[sent - 1].start_line(), "{name}");
        }
        assert_eq!(upstream.log.connections(), 1, "the upstream connection was not kept");
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |seen| ok(&seen.start_line())).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;

        let all: String =
            (0..5).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")).collect();
        client.send(all).await;

        for number in 0..5 {
            assert_eq!(client.response().await.text(), format!("GET /{number} HTTP/1.1"));
        }
    });
}

#[test]
fn http1_responses_arrive_as_they_left() {
    bounded(async {
        let head = "HTTP/1.1 203 Odd Reason (here)\r\nX-One: 1\r\nSet-Cookie: a=1\r\nx-one: 2\r\nset-cookie: b=2\r\n\
                    X-Tight:1\r\nETag: W/\"x\"\r\nContent-Length: 4\r\n\r\n";
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, move |_| format!("{head}body").into_bytes()).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;

        let response = client.response().await;

        assert_eq!(show(&response.head), show(head.as_bytes()));
        assert_eq!(response.text(), "body");
    });
}

#[test]
fn answers_without_a_body_keep_their_length_fields() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |seen| match seen.start_line().split(' ').nth(1) {
            Some("/304") => b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 77\r\n\r\n".to_vec(),
            Some("/204") => b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".to_vec(),
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        for (request, expected) in [
            ("GET /304", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 77\r\n\r\n"),
            ("GET /204", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
            ("HEAD /", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        ] {
            client.send(format!("{request} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")).await;
            assert_eq!(show(&client.head().await.unwrap_or_default()), show(expected.as_bytes()), "{request}");
        }
    });
}

#[test]
fn http1_trailers_go_both_ways_as_spelled() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |_| {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nx-SUM: 2\r\nGrpc-Status: 0\r\n\r\n"
                .to_vec()
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client
            .send("POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-End: a\r\nx-MID: b\r\n\r\n")
            .await;

        let response = client.response().await;

        assert_eq!(response.text(), "ok");
        assert_eq!(show(&response.body.trailers), "X-Sum: 1\nx-SUM: 2\nGrpc-Status: 0\n");
        let seen = upstream.log.one().await;
        assert_eq!(seen.body.data, b"abc");
        assert_eq!(show(&seen.body.trailers), "X-End: a\nx-MID: b\n");
    });
}

#[test]
fn http2_requests_leave_with_the_same_fields_bodies_and_trailers() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::recording(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let large = vec![b'x'; 300_000];
        type Case<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, Option<&'a [u8]>, bool);
        let cases: Vec<Case> = vec![
            ("GET", "/", vec![], None, false),
            ("GET", "/a?b=%zz&c", vec![("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("accept", "*/*")], None, false),
            (
                "POST",
                "/json",
                vec![("content-type", "application/json"), ("content-length", "15")],
                Some(br#"{"a":  1.0e+02}"#),
                false,
            ),
            ("POST", "/no-length", vec![("content-type", "text/plain")], Some(b"abc"), false),
            ("POST", "/large", vec![("content-type", "application/octet-stream")], Some(&large), false),
            (
                "POST",
                "/trailers",
                vec![("te", "trailers"), ("content-type", "application/grpc")],
                Some(b"\0\0\0\0\x01x"),
                true,
            ),
            ("PUT", "/empty", vec![("content-length", "0")], Some(b""), false),
            ("GET", "/crumbs", vec![("cookie", "a=1"), ("cookie", "b=2"), ("x-empty", "")], None, false),
            (
                "PURGE",
                "/x",
                vec![("authorization", "Bearer sk-dummy-0000000000"), ("user-agent", "test/1")],
                None,
                false,
            ),
        ];
        let mut wrong = Vec::new();
        for (method, path, fields, body, trailers) in cases {
            let mut seen = Vec::new();
            for route in [Route::direct(upstream.address, &authority), Route::through(&divulge)] {
                let before = upstream.log.requests().len();
                let mut client = Http2::connect(&route).await;
                let trailers = trailers.then(|| trailers_of(&[("x-end", "1"), ("x-sum", "2"), ("x-end", "3")]));
                let answer = client.exchange(request(method, path, &fields), body, trailers).await;
                if answer.status != 200 {
                    wrong.push(format!("{method} {path}: answered {answer:?}"));
                    break;
                }
                let mut one = upstream.log.requests()[before].clone();
                one.connection = 0;
                seen.push(one);
            }
            if let [direct, through] = &seen[..]
                && direct != through
            {
                let (direct, through) = (brief(direct.clone()), brief(through.clone()));
                wrong.push(format!("{method} {path}:\n  sent    {direct:?}\n  arrived {through:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        divulge.assert_well();
    });
}

#[test]
fn http2_responses_arrive_with_the_same_fields_bodies_and_trailers() {
    bounded(async {
        let fields = [("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("set-cookie", "a=1"), ("set-cookie", "b=2")];
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, move |mut stream| async move {
            stream.read().await;
            let trailers =
                trailers_of(&[("grpc-status", "0"), ("grpc-message", "fine"), ("x-end", "1"), ("x-end", "2")]);
            stream.ok(&fields, &[7; 100_000], Some(trailers)).await;
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;

        let mut answers = Vec::new();
        for route in [Route::direct(upstream.address, &authority), Route::through(&divulge)] {
            let answer = Http2::connect(&route).await.exchange(request("GET", "/", &[]), None, None).await;
            assert!(answer.error.is_none(), "{answer:?}");
            answers.push((answer.status, answer.fields, answer.body, answer.trailers));
        }

        assert_eq!(answers[0], answers[1]);
    });
}

fn trailers_of(list: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for (name, value) in list {
        trailers.append(*name, value.parse().unwrap());
    }
    trailers
}

/// Fit to print: a large body becomes its length.
fn brief(mut seen: crate::common::h2_upstream::Seen) -> (crate::common::h2_upstream::Seen, usize) {
    let length = seen.body.len();
    seen.body.truncate(64);
    (seen, length)
}

#[test]
fn an_http_1_0_client_gets_an_answer_it_can_read() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |_| {
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n".to_vec()
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("GET /old HTTP/1.0\r\nHost: api.example.com\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status, response.text().as_str()), (200, "okay!"));
        assert_eq!(response.field("transfer-encoding"), None, "HTTP/1.0 knows no chunks: {response:?}");
        assert!(response.body.complete, "{response:?}");
    });
}

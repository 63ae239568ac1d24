//! Malformed messages are refused, in the tunnel and outside, and the other side never sees them (RFC 9112).

use std::time::Duration;

use crate::common::upstream::Seen;
use crate::common::wire::status;
use crate::common::{Authority, Divulge, Route, Upstream, Wire, bounded, show, within};

/// An upstream that records the first bytes of every connection, however malformed.
async fn wary(authority: Option<&Authority>) -> Upstream {
    let tls = authority.map(|authority| authority.server(&["api.example.com"], &["http/1.1"]));
    Upstream::start(tls, |mut served| async move {
        if served.wire.fill().await {
            let head = served.wire.exactly(0).await;
            served.log.note(Seen { connection: served.connection, head, body: Default::default() });
            served.wire.send(crate::common::upstream::ok("ok")).await;
            served.gone().await;
        }
    })
    .await
}

/// Heads that must not pass. `@` stands for the target in the form that fits the route.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let ended = |head: &str| format!("{head}\r\n\r\n").into_bytes();
    let get = |fields: &str| format!("GET @ HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n\r\n").into_bytes();
    let post = |fields: &str, body: &str| {
        format!("POST @ HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n\r\n{body}").into_bytes()
    };
    vec![
        ("length beside coding", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("coding beside length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")),
        ("two lengths that differ", post("Content-Length: 1\r\nContent-Length: 2", "ab")),
        ("two lengths that agree", post("Content-Length: 2\r\nContent-Length: 2", "ab")),
        ("a list of lengths", post("Content-Length: 2, 2", "ab")),
        ("a length with a sign", post("Content-Length: +2", "ab")),
        ("a negative length", post("Content-Length: -2", "ab")),
        ("a length with a leading zero", post("Content-Length: 02", "ab")),
        ("a length in hexadecimal", post("Content-Length: 0x2", "ab")),
        ("a length with a space in it", post("Content-Length: 1 2", "ab")),
        ("a length that is too great", post("Content-Length: 99999999999999999999", "ab")),
        ("an empty length", post("Content-Length: ", "ab")),
        ("chunked twice", post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")),
        ("chunked in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("another coding", post("Transfer-Encoding: gzip", "0\r\n\r\n")),
        ("another coding before chunked", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
        ("chunked and then another", post("Transfer-Encoding: chunked, identity", "0\r\n\r\n")),
        ("an unknown coding", post("Transfer-Encoding: xchunked", "0\r\n\r\n")),
        ("a quoted coding", post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n")),
        ("an empty coding", post("Transfer-Encoding: ", "0\r\n\r\n")),
        ("a coding with a vertical tab", post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n")),
        (
            "a coding in HTTP/1.0",
            b"POST @ HTTP/1.0\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
        ("a folded line", get("X-A: 1\r\n 2")),
        ("a line folded by a tab", get("X-A: 1\r\n\t2")),
        ("a fold before the first field", ended("GET @ HTTP/1.1\r\n Host: api.example.com")),
        ("a space before the colon", get("X-A : 1")),
        ("a tab before the colon", get("X-A\t: 1")),
        ("a space before the colon of the length", post("Content-Length : 2", "ab")),
        ("no colon", get("X-A")),
        ("no name", get(": 1")),
        ("a space in a name", get("X A: 1")),
        ("a control character in a name", get("X\x01A: 1")),
        ("a byte beyond ASCII in a name", get("X\u{e9}: 1")),
        ("NUL in a value", get("X-A: 1\0 2")),
        ("CR in a value", get("X-A: 1\rX-B: 2")),
        ("a bare LF in a value", get("X-A: 1\nX-B: 2")),
        ("DEL in a value", get("X-A: 1\x7f")),
        ("bare LF for line ends", b"GET @ HTTP/1.1\nHost: api.example.com\n\n".to_vec()),
        ("a bare LF after the first line", b"GET @ HTTP/1.1\nHost: api.example.com\r\n\r\n".to_vec()),
        ("two CRs", b"GET @ HTTP/1.1\r\r\nHost: api.example.com\r\n\r\n".to_vec()),
        ("no Host", ended("GET @ HTTP/1.1\r\nX-A: 1")),
        ("two Hosts", get("Host: api.example.com")),
        ("two Hosts that differ", get("Host: other.example.com")),
        ("a list for Host", ended("GET @ HTTP/1.1\r\nHost: api.example.com, other.example.com")),
        ("user information in Host", ended("GET @ HTTP/1.1\r\nHost: x@api.example.com")),
        ("a path in Host", ended("GET @ HTTP/1.1\r\nHost: api.example.com/x")),
        ("a bad port in Host", ended("GET @ HTTP/1.1\r\nHost: api.example.com:x")),
        ("two spaces before the target", ended("GET  @ HTTP/1.1\r\nHost: api.example.com")),
        ("two spaces before the version", ended("GET @  HTTP/1.1\r\nHost: api.example.com")),
        ("a tab in the first line", ended("GET\t@ HTTP/1.1\r\nHost: api.example.com")),
        ("a space after the version", ended("GET @ HTTP/1.1 \r\nHost: api.example.com")),
        ("a space in the target", ended("GET @/a b HTTP/1.1\r\nHost: api.example.com")),
        ("a fragment in the target", ended("GET @/a#b HTTP/1.1\r\nHost: api.example.com")),
        ("a control character in the target", ended("GET @/\x01 HTTP/1.1\r\nHost: api.example.com")),
        ("a byte beyond ASCII in the target", ended("GET @/\u{e9} HTTP/1.1\r\nHost: api.example.com")),
        ("no version", ended("GET @\r\nHost: api.example.com")),
        ("version 0.9", ended("GET @ HTTP/0.9\r\nHost: api.example.com")),
        ("version 1.2", ended("GET @ HTTP/1.2\r\nHost: api.example.com")),
        ("version 2.0", ended("GET @ HTTP/2.0\r\nHost: api.example.com")),
        ("version 1.10", ended("GET @ HTTP/1.10\r\nHost: api.example.com")),
        ("a version in lower case", ended("GET @ http/1.1\r\nHost: api.example.com")),
        ("a separator in the method", ended("G(T @ HTTP/1.1\r\nHost: api.example.com")),
        ("no method", ended(" @ HTTP/1.1\r\nHost: api.example.com")),
        ("a field of 100 kB", get(&format!("X-A: {}", "a".repeat(100_000)))),
        ("a target of 100 kB", ended(&format!("GET @/{} HTTP/1.1\r\nHost: api.example.com", "a".repeat(100_000)))),
        ("5,000 fields", get(&vec!["X-A: 1"; 5000].join("\r\n"))),
        ("an unknown expectation", post("Content-Length: 2\r\nExpect: 100-continue, x", "ab")),
        ("HTTP/2 without an agreement", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
    ]
}

#[test]
fn malformed_heads_are_refused_and_never_reach_the_upstream() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let tls = wary(Some(&authority)).await;
        let plain = wary(None).await;
        let mut intercepting = Divulge::before(&authority, tls.address).await;
        let mut proxying = Divulge::before(&authority, plain.address).await;
        let mut wrong = Vec::new();
        for (name, bytes) in malformed() {
            for tunnelled in [true, false] {
                let (mut client, log, target) = match tunnelled {
                    true => (Route::through(&intercepting).http1().await, &tls.log, ""),
                    false => (Wire::connect(proxying.address).await, &plain.log, "http://api.example.com"),
                };
                let way = if tunnelled { "in the tunnel" } else { "plain" };
                let before = log.requests().len();
                client.send(aimed(&bytes, target)).await;
                let head = tokio::time::timeout(Duration::from_secs(5), client.head()).await;
                match head {
                    Err(_) => wrong.push(format!("{name}, {way}: no answer within 5 s")),
                    Ok(None) => wrong.push(format!("{name}, {way}: closed without an answer")),
                    Ok(Some(head)) if !matches!(status(&head), 400 | 413 | 414 | 417 | 421 | 431 | 501 | 505) => {
                        wrong.push(format!("{name}, {way}: answered {}", show(&head)));
                    }
                    Ok(Some(_)) => {}
                }
                if log.requests().len() > before {
                    wrong.push(format!("{name}, {way}: it reached the upstream"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        intercepting.assert_well();
        proxying.assert_well();
    });
}

/// With the target of the route in place of `@`; an empty path becomes `/`.
fn aimed(bytes: &[u8], target: &str) -> Vec<u8> {
    let Some(at) = bytes.iter().position(|byte| *byte == b'@') else { return bytes.to_vec() };
    let line_end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    if at > line_end {
        return bytes.to_vec();
    }
    let slash: &[u8] = if bytes.get(at + 1) == Some(&b'/') { b"" } else { b"/" };
    [&bytes[..at], target.as_bytes(), slash, &bytes[at + 1..]].concat()
}

#[test]
fn malformed_chunks_are_refused_and_never_end_a_request_upstream() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let bodies = [
            ("a size that is no number", "xyz\r\nabc\r\n0\r\n\r\n"),
            ("an empty size", "\r\nabc\r\n0\r\n\r\n"),
            ("a size with a sign", "+3\r\nabc\r\n0\r\n\r\n"),
            ("a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
            ("a size that is too great", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
            ("a space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
            ("a bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
            ("a bare LF after the data", "3\r\nabc\n0\r\n\r\n"),
            ("no line end after the data", "3\r\nabc0\r\n\r\n"),
            ("more data than the size says", "3\r\nabcd\r\n0\r\n\r\n"),
            ("a bare CR in an extension", "3;a=\rb\r\nabc\r\n0\r\n\r\n"),
            ("NUL in an extension", "3;a=\0\r\nabc\r\n0\r\n\r\n"),
            ("a folded trailer", "3\r\nabc\r\n0\r\nX-A: 1\r\n 2\r\n\r\n"),
            ("a length among the trailers", "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n"),
            ("a coding among the trailers", "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("a space before a trailer's colon", "3\r\nabc\r\n0\r\nX-A : 1\r\n\r\n"),
        ];
        let mut wrong = Vec::new();
        for (name, body) in bodies {
            let before = upstream.log.requests().iter().filter(|seen| seen.body.complete).count();
            let mut client = Route::through(&divulge).http1().await;
            client
                .send(format!("POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
                .await;
            let head = tokio::time::timeout(Duration::from_secs(5), client.head()).await;
            match head {
                Ok(Some(head)) if status(&head) != 400 => wrong.push(format!("{name}: answered {}", show(&head))),
                Err(_) => wrong.push(format!("{name}: no answer within 5 s")),
                Ok(_) => {}
            }
            if upstream.log.requests().iter().filter(|seen| seen.body.complete).count() > before {
                wrong.push(format!("{name}: it reached the upstream as a whole request"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        divulge.assert_well();
    });
}

#[test]
fn a_body_that_ends_too_soon_never_reaches_the_upstream_as_a_whole_one() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
            let mut client = Route::through(&divulge).http1().await;
            client.send(format!("POST / HTTP/1.1\r\nHost: api.example.com\r\n{framing}")).await;
            client.close().await;
        }
        let mut client = Route::through(&divulge).http1().await;
        client.send("GET /after HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
        let whole: Vec<String> =
            upstream.log.requests().iter().filter(|seen| seen.body.complete).map(Seen::start_line).collect();
        assert_eq!(whole, ["GET /after HTTP/1.1"]);
    });
}

#[test]
fn nothing_is_served_after_connection_close() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client
            .send("GET /1 HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
            .await;
        assert_eq!(client.response().await.status, 200);
        assert_eq!(show(&client.rest().await.0), "");
        assert_eq!(upstream.log.requests().len(), 1);
    });
}

#[test]
fn malformed_responses_never_look_like_good_ones() {
    bounded(async {
        let responses: Vec<(&str, &str)> = vec![
            (
                "length beside coding",
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            ),
            ("two lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody"),
            ("a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nbody"),
            ("an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nbody"),
            ("a folded line", "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 4\r\n\r\nbody"),
            ("a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nbody"),
            ("bare LF for line ends", "HTTP/1.1 200 OK\nContent-Length: 4\n\nbody"),
            ("NUL in a value", "HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 4\r\n\r\nbody"),
            ("CR in a value", "HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 4\r\n\r\nbody"),
            ("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 4\r\n\r\nbody"),
            ("a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 4\r\n\r\nbody"),
            ("version 2.0", "HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nbody"),
            ("no status line", "Content-Length: 4\r\n\r\nbody"),
            ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ];
        let authority = Authority::new();
        let mut wrong = Vec::new();
        for (name, bytes) in responses {
            let upstream = Upstream::answering(&authority, move |_| bytes.as_bytes().to_vec()).await;
            let mut divulge = Divulge::before(&authority, upstream.address).await;
            let mut client = Route::through(&divulge).http1().await;
            client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
            match tokio::time::timeout(Duration::from_secs(5), client.head()).await {
                Err(_) => wrong.push(format!("{name}: no answer within 5 s")),
                Ok(None) => wrong.push(format!("{name}: closed without an answer")),
                Ok(Some(head)) if status(&head) != 502 => wrong.push(format!("{name}: answered {}", show(&head))),
                Ok(Some(_)) => {}
            }
            divulge.assert_well();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn bad_chunks_in_a_response_cut_it() {
    bounded(async {
        let authority = Authority::new();
        let mut wrong = Vec::new();
        for (name, chunks) in [
            ("a size that is no number", "4\r\nbody\r\nxyz\r\n\r\n"),
            ("a bare LF after the size", "4\r\nbody\r\n0\n\r\n"),
            ("no line end after the data", "4\r\nbody0\r\n\r\n"),
            ("a length among the trailers", "4\r\nbody\r\n0\r\nContent-Length: 4\r\n\r\n"),
        ] {
            let upstream = Upstream::answering(&authority, move |_| {
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes()
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let mut client = Route::through(&divulge).http1().await;
            client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
            let whole = tokio::time::timeout(Duration::from_secs(5), async {
                let (_, head) = client.response_head().await?;
                (status(&head) == 200 && client.body(&head, false).await.complete).then_some(())
            })
            .await;
            match whole {
                Err(_) => wrong.push(format!("{name}: it hangs")),
                Ok(Some(())) => wrong.push(format!("{name}: it looks whole")),
                Ok(None) => {}
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn bytes_after_a_response_do_not_become_the_next_one() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |seen| match seen.start_line().contains("/204") {
            true => b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison".to_vec(),
            false => {
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
                    .to_vec()
            }
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        for path in ["/204", "/200"] {
            let mut client = Route::through(&divulge).http1().await;
            for round in 0..2 {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")).await;
                let Some((_, head)) = client.response_head().await else { break };
                let body = client.body(&head, status(&head) == 204).await;
                assert!(body.data != b"poison", "{path}, request {round}: answered with what nobody asked for");
            }
        }
    });
}

//! Heads without end and bodies with an early one, in the tunnel and outside (RFC 9112). The tables of what is malformed by a
//! single byte are in `smuggling`.

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

/// Heads that are too long. `@` stands for the target in the form that fits the route.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let get = |fields: &str| format!("GET @ HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n\r\n").into_bytes();
    vec![
        ("a field of 100 kB", get(&format!("X-A: {}", "a".repeat(100_000)))),
        ("a name of 100 kB", get(&format!("{}: 1", "a".repeat(100_000)))),
        (
            "a method of 100 kB",
            format!("{} @ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "A".repeat(100_000)).into_bytes(),
        ),
        (
            "a target of 100 kB",
            format!("GET @/{} HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "a".repeat(100_000)).into_bytes(),
        ),
        ("5,000 fields", get(&vec!["X-A: 1"; 5000].join("\r\n"))),
        ("5,000 options of connection", get(&format!("Connection: {}", vec!["a"; 5000].join(",")))),
    ]
}

#[test]
fn heads_that_are_too_long_are_refused_and_never_reach_the_upstream() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let tls = wary(Some(&authority)).await;
        let plain = wary(None).await;
        let mut intercepting = Divulge::before(&authority, tls.address).await;
        let mut proxying = Divulge::before(&authority, plain.address).await;
        let mut wrong = Vec::new();
        for (name, bytes) in floods() {
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

//! The peers themselves, with nothing between them: where these fail, nothing else here means anything.

use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::websocket::{WebSocket, upgrade_answer, upgrade_request};
use crate::common::wire::{End, status};
use crate::common::{Authority, Route, Upstream, bounded};

#[test]
fn the_raw_upstream_records_what_the_raw_client_sends() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut client = Route::direct(upstream.address, &authority).http1().await;

        client.send("POST /a?b HTTP/1.1\r\nHost: x\r\nx-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send("3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n").await;
        let response = client.response().await;

        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        let seen = upstream.log.one().await;
        assert_eq!(seen.head, b"POST /a?b HTTP/1.1\r\nHost: x\r\nx-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!((&seen.body.data[..], &seen.body.trailers[..]), (&b"abcde"[..], &b"X-Sum: 5\r\n"[..]));
        assert_eq!(upstream.log.hellos()[0].alpn, ["http/1.1"]);
    });
}

#[test]
fn the_raw_client_tells_a_clean_end_from_a_cut() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &[], |mut served| async move {
            let seen = served.request().await.unwrap();
            served.wire.send("HTTP/1.1 200 OK\r\n\r\nhalf").await;
            if seen.start_line().contains("clean") {
                served.wire.close().await;
            }
        })
        .await;
        let route = Route::direct(upstream.address, &authority);
        for (path, end) in [("/clean", End::Clean), ("/cut", End::Cut)] {
            let mut client = route.tls(&[]).await;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let response = client.response().await;
            assert_eq!((response.text().as_str(), client.end), ("half", Some(end)), "{path}");
        }
    });
}

#[test]
fn the_http2_peers_carry_bodies_and_trailers() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            stream.read().await;
            let trailers = [("x-end", "1")].map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            stream.ok(&[("x-head", "1")], b"answer", Some(trailers.into_iter().collect())).await;
        })
        .await;
        let mut client = Http2::connect(&Route::direct(upstream.address, &authority)).await;

        let answer = client.exchange(request("POST", "/a", &[("x-b", "1"), ("x-b", "2")]), Some(b"body"), None).await;

        assert_eq!((answer.status, answer.text().as_str(), answer.error), (200, "answer", None));
        assert_eq!(answer.trailers, [("x-end".to_owned(), b"1".to_vec())]);
        let seen = upstream.log.one().await;
        assert_eq!((seen.method.as_str(), seen.path.as_str(), &seen.body[..]), ("POST", "/a", &b"body"[..]));
        assert_eq!(seen.fields, [("x-b".to_owned(), b"1".to_vec()), ("x-b".to_owned(), b"2".to_vec())]);
    });
}

#[test]
fn the_websocket_peers_keep_their_compression_context() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &[], |mut served| async move {
            served.request().await;
            served.wire.send(upgrade_answer(true)).await;
            let mut socket = WebSocket::new(served.wire, false, true);
            while let Some(text) = socket.message().await {
                socket.send(&text).await;
            }
        })
        .await;
        let mut wire = Route::direct(upstream.address, &authority).tls(&[]).await;
        wire.send(upgrade_request("/socket", true)).await;
        assert_eq!(status(&wire.head().await.unwrap()), 101);
        let mut socket = WebSocket::new(wire, true, true);

        for text in ["{\"a\":\"the same words\"}", "{\"a\":\"the same words\"}", &"long ".repeat(20_000)] {
            socket.send(text).await;
            assert_eq!(socket.message().await.as_deref(), Some(text));
        }
    });
}

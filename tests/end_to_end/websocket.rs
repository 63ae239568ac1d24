//! WebSocket over HTTP/1.1 and over HTTP/2: frames pass as they are, and are read although compressed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::Value;

use crate::common::h2_client::Http2;
use crate::common::h2_upstream::Http2Upstream;
use crate::common::tunnel::Tunnel;
use crate::common::websocket::{WebSocket, upgrade_answer, upgrade_request};
use crate::common::wire::{Wire, field};
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded, show, soon};

const MACHINE: &str = "zephyr-7f3a.example.com";

/// An upstream that takes every upgrade and sends each message back.
async fn echo(authority: &Authority, deflate: bool) -> Upstream {
    Upstream::scripted(authority, &[], move |mut served| async move {
        served.request().await;
        served.wire.send(upgrade_answer(deflate)).await;
        let mut socket = WebSocket::new(served.wire, false, deflate);
        while let Some(text) = socket.message().await {
            socket.send(&text).await;
        }
    })
    .await
}

async fn auditing(authority: &Authority, upstream: std::net::SocketAddr) -> Divulge {
    Divulge::serve().intercept("all").trusting(authority).to(upstream).facts(&[("host.fqdn", MACHINE)]).start().await
}

async fn open(route: &Route, deflate: bool) -> WebSocket {
    let mut wire = route.tls(&[]).await;
    wire.send(upgrade_request("/v1/responses", deflate)).await;
    let head = soon("the answer to the upgrade", wire.head()).await.unwrap_or_default();
    assert_eq!(show(&head), show(upgrade_answer(deflate).as_bytes()), "the upgrade was answered otherwise");
    WebSocket::new(wire, true, deflate)
}

#[test]
fn the_handshake_leaves_as_it_came() {
    bounded(async {
        let authority = Authority::new();
        let upstream = echo(&authority, true).await;
        let divulge = auditing(&authority, upstream.address).await;
        let _socket = open(&Route::through(&divulge), true).await;
        assert_eq!(show(&upstream.log.one().await.head), show(upgrade_request("/v1/responses", true).as_bytes()));
    });
}

#[test]
fn compressed_messages_are_read_with_the_context_of_those_before_them() {
    bounded(async {
        for deflate in [true, false] {
            let authority = Authority::new();
            let upstream = echo(&authority, deflate).await;
            let divulge = auditing(&authority, upstream.address).await;
            let mut socket = open(&Route::through(&divulge), deflate).await;
            // The second repeats the first, so that it cannot be inflated alone.
            let messages = [
                format!("{{\"type\":\"create\",\"env\":{{\"host\":\"{MACHINE}\"}}}}"),
                format!("{{\"type\":\"create\",\"env\":{{\"host\":\"{MACHINE}\"}}}}"),
                "{\"type\":\"done\"}".to_owned(),
                format!("{{\"a\":[0,{{\"b\":\"on {MACHINE}\"}}]}}"),
            ];
            for text in &messages {
                socket.send(text).await;
                assert_eq!(soon("the echo", socket.message()).await.as_ref(), Some(text));
            }
            for location in ["ws:/0!json:/env/host", "ws:/1!json:/env/host", "ws:/3!json:/a/1/b"] {
                let finding: Value = divulge.finding_at(location).await;
                assert_eq!(finding["kind"], "host.fqdn", "{finding}");
            }
            assert!(
                !divulge
                    .findings()
                    .iter()
                    .any(|finding| finding["location"].as_str().is_some_and(|at| at.starts_with("ws:/2"))),
                "the third message tells nothing"
            );
        }
    });
}

#[test]
fn frames_pass_as_they_are() {
    bounded(async {
        let authority = Authority::new();
        // first byte and payload of every frame, as the upstream got them
        let upstream = Upstream::scripted(&authority, &[], |mut served| async move {
            served.request().await;
            served.wire.send(upgrade_answer(false)).await;
            let mut socket = WebSocket::new(served.wire, false, false);
            while let Some(frame) = socket.frame().await {
                let told = format!("{:02x} {} {}", frame.first, frame.masked, frame.payload.len());
                socket.send(&told).await;
            }
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut socket = open(&Route::through(&divulge), false).await;
        for (first, payload, told) in [
            (0x81, &b"text"[..], "81 true 4"),
            (0x82, &[0xff; 300], "82 true 300"),
            (0x01, b"frag", "01 true 4"),
            (0x89, b"ping", "89 true 4"),
            (0x80, b"ment", "80 true 4"),
            (0x8a, b"", "8a true 0"),
            (0x82, &[7; 70_000], "82 true 70000"),
        ] {
            socket.send_frame(first, payload).await;
            assert_eq!(soon("word of the frame", socket.message()).await.as_deref(), Some(told));
        }
    });
}

#[test]
fn what_are_no_frames_is_refused_whatever_on_error_says() {
    bounded(async {
        let authority = Authority::new();
        let passed = Arc::new(Mutex::new(Vec::new()));
        let noted = passed.clone();
        let upstream = Upstream::scripted(&authority, &[], move |mut served| {
            let noted = noted.clone();
            async move {
                served.request().await;
                served.wire.send(upgrade_answer(false)).await;
                let (rest, _) = served.wire.rest().await;
                noted.lock().unwrap().extend(rest);
            }
        })
        .await;
        // The policy `audit`, under which what cannot be read passes.
        let divulge = auditing(&authority, upstream.address).await;
        let masked = |first: u8, length: &[u8], payload: &[u8]| [&[first], length, &[0; 4], payload].concat();
        let mut wrong = Vec::new();
        for (what, bytes) in [
            ("a request", b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
            ("bytes of no protocol", vec![0xff; 40]),
            ("a frame without a mask", b"\x81\x02ab".to_vec()),
            ("an unknown opcode", masked(0x83, &[0x82], b"ab")),
            ("a reserved bit", masked(0xa1, &[0x82], b"ab")),
            ("compression that was not agreed on", masked(0xc1, &[0x82], b"ab")),
            ("a ping in pieces", masked(0x09, &[0x82], b"ab")),
            ("a ping that is too long", masked(0x89, &[0xfe, 0, 126], &[b'a'; 126])),
            ("a piece of no message", masked(0x80, &[0x82], b"ab")),
            ("a message within another", [masked(0x01, &[0x81], b"a"), masked(0x81, &[0x82], b"ab")].concat()),
            ("a length in the wrong spelling", masked(0x81, &[0xfe, 0, 2], b"ab")),
            ("a length beyond all bounds", masked(0x81, &[&[0xff][..], &[0xff; 8]].concat(), b"ab")),
            ("a message after the close", [masked(0x88, &[0x82], &[3, 232]), masked(0x81, &[0x82], b"ab")].concat()),
        ] {
            let mut socket = open(&Route::through(&divulge), false).await;
            socket.wire.send(&bytes).await;
            let close = soon("the close", socket.frame()).await;
            let code = close.as_ref().filter(|frame| frame.first == 0x88).and_then(|frame| frame.payload.get(..2));
            if code != Some(&1002_u16.to_be_bytes()[..]) {
                wrong.push(format!("{what}: {close:?}"));
            }
            drop(socket);
            if passed.lock().unwrap().windows(2).any(|pair| pair == b"ab") {
                wrong.push(format!("{what}: it reached the upstream"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn what_passes_outside_of_messages_is_told_as_unread() {
    bounded(async {
        let authority = Authority::new();
        let upstream = echo(&authority, false).await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut socket = open(&Route::through(&divulge), false).await;
        socket.send_frame(0x89, b"twelve bytes").await;
        socket.send("{}").await;
        assert_eq!(soon("the echo", socket.message()).await.as_deref(), Some("{}"));
        socket.send_frame(0x88, b"\x03\xe8and more").await;
        drop(socket);
        let finding: Value = divulge.finding_at("ws:/1").await;
        assert_eq!(finding["kind"], "audit.unread", "{finding}");
        assert!(finding["value"].as_str().is_some_and(|told| told.contains("20 bytes")), "{finding}");
    });
}

#[test]
fn a_server_may_speak_first_and_close() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &[], |mut served| async move {
            served.request().await;
            // Right behind the head, in the same segment.
            served.wire.send([upgrade_answer(false).as_bytes(), b"\x81\x05hello"].concat()).await;
            let mut socket = WebSocket::new(served.wire, false, false);
            socket.send_frame(0x88, &[0x03, 0xe8]).await;
            while socket.frame().await.is_some() {}
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut socket = open(&Route::through(&divulge), false).await;
        assert_eq!(soon("the greeting", socket.message()).await.as_deref(), Some("hello"));
        let close = soon("the close", socket.frame()).await.unwrap();
        assert_eq!((close.first, &close.payload[..]), (0x88, &[0x03, 0xe8][..]));
    });
}

#[test]
fn an_upgrade_that_the_upstream_declines_stays_plain_http() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut wire = Route::through(&divulge).tls(&[]).await;
        for _ in 0..2 {
            wire.send(upgrade_request("/x", true)).await;
            let response = wire.response().await;
            assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        }
    });
}

#[test]
fn a_101_that_nobody_asked_for_is_refused() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |_| upgrade_answer(false).into_bytes()).await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut wire = Route::through(&divulge).http1().await;
        wire.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        let response = wire.response().await;
        assert_eq!(response.status, 502, "{}", show(&response.head));
    });
}

#[test]
fn other_upgrades_are_not_passed_on() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut wire = Route::through(&divulge).http1().await;
        wire.send("GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
            .await;
        assert_eq!(wire.response().await.status, 200);
        let seen = upstream.log.one().await;
        assert_eq!(
            (field(&seen.head, "upgrade"), field(&seen.head, "http2-settings")),
            (None, None),
            "{}",
            show(&seen.head)
        );
    });
}

#[test]
fn websocket_over_http2_passes_and_is_read() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            assert_eq!((stream.seen.method.as_str(), stream.seen.protocol.as_deref()), ("CONNECT", Some("websocket")));
            let send = stream.start(&[("sec-websocket-extensions", "permessage-deflate")]);
            let tunnel = Tunnel { recv: stream.body, send, left: Bytes::new() };
            let mut socket = WebSocket::new(Wire::new(tunnel, None), false, true);
            while let Some(text) = socket.message().await {
                socket.send(&text).await;
            }
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        for (index, route) in
            [Route::direct(upstream.address, &authority), Route::through(&divulge)].into_iter().enumerate()
        {
            let mut client = Http2::connect(&route).await;
            assert!(client.takes_extended_connect().await, "extended CONNECT is not offered (route {index})");
            let mut request = http::Request::builder()
                .method("CONNECT")
                .uri(format!("https://{HOST}/v1/responses"))
                .header("sec-websocket-version", "13")
                .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
                .body(())
                .unwrap();
            request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
            let (response, send) = client.open(request, false).await;
            let response = soon("the answer to the extended CONNECT", response).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["sec-websocket-extensions"], "permessage-deflate");
            let tunnel = Tunnel { recv: response.into_body(), send, left: Bytes::new() };
            let mut socket = WebSocket::new(Wire::new(tunnel, None), true, true);
            for number in 0..3 {
                let text = format!("{{\"n\":{number},\"env\":{{\"host\":\"{MACHINE}\"}}}}");
                socket.send(&text).await;
                assert_eq!(soon("the echo", socket.message()).await, Some(text));
            }
        }
        divulge.finding_at("ws:/2!json:/env/host").await;
    });
}

#[test]
fn extended_connect_is_offered_only_where_the_upstream_takes_it() {
    bounded(async {
        let authority = Authority::new();
        // Speaks HTTP/2 without the setting.
        let upstream = Upstream::scripted(&authority, &["h2"], |served| async move {
            let (stream, _) = served.wire.into_parts();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let _ = respond.send_response(http::Response::new(()), true);
            }
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let answer = client.exchange(crate::common::h2_client::request("GET", "/", &[]), None, None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(
            !client.takes_extended_connect().await,
            "extended CONNECT is offered though the upstream does not take it"
        );
    });
}

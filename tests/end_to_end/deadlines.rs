//! Every phase has a deadline; here each is short, so that its end can be waited for.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::common::frames::{CONTINUATION, END_STREAM, GOAWAY, HEADERS, Raw, block, frame};
use crate::common::h2_client::{Http2, push, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::wire::{End, status};
use crate::common::{Authority, Divulge, HOST, Route, Upstream, Wire, bounded, show, soon};

const GET: &str = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

async fn with(option: &str, authority: &Authority, upstream: std::net::SocketAddr) -> Divulge {
    Divulge::serve().intercept("all").trusting(authority).to(upstream).arg(option).start().await
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = with("--head-timeout=0.5", &authority, upstream.address).await;
        let mut silent = Route::through(&divulge).tcp().await;
        let mut half = Route::through(&divulge).tcp().await;
        tokio::io::AsyncWriteExt::write_all(&mut half, &[0x16, 3, 1, 0]).await.unwrap();
        let mut connect = Wire::connect(divulge.address).await;
        connect.send("CONNECT api.exa").await;
        let mut slow = Route::through(&divulge).http1().await;
        slow.send("GET / HTTP/1.1\r\nHo").await;

        let mut rest = Vec::new();
        let _ = soon("the silent tunnel's end", silent.read_to_end(&mut rest)).await;
        let _ = soon("the half hello's end", half.read_to_end(&mut rest)).await;
        let (answer, _) = soon("the half CONNECT's end", connect.rest()).await;
        assert!(answer.is_empty() || status(&answer) == 408, "{}", show(&answer));
        let (answer, _) = soon("the slow head's end", slow.rest()).await;
        assert!(answer.is_empty() || status(&answer) == 408, "{}", show(&answer));
        assert!(upstream.log.requests().is_empty());
    });
}

#[test]
fn a_head_that_drips_does_not_push_its_deadline_on() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = with("--head-timeout=1", &authority, upstream.address).await;
        let mut slow = Route::through(&divulge).http1().await;
        slow.send("GET / HTTP/1.1\r\nHost: api.example.com\r\nX-Slow: ").await;
        let ended = soon("the end of a dripping head", async {
            loop {
                tokio::select! {
                    more = slow.fill() => if !more { return true },
                    () = tokio::time::sleep(Duration::from_millis(100)) => {
                        if !slow.send("x").await { return true }
                    }
                }
            }
        })
        .await;
        assert!(ended && upstream.log.requests().is_empty());
    });
}

#[test]
fn an_http2_head_without_an_end_is_given_up_and_no_other_connection_with_it() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::recording(&authority).await;
        let mut divulge = with("--head-timeout=1", &authority, upstream.address).await;
        let mut other = Http2::connect(&Route::through(&divulge)).await;
        let head = block(&[(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")]);
        let half = frame(HEADERS, END_STREAM, 1, &head[..10]);
        for (name, first, drip) in [
            ("half a frame", &half[..12], &b""[..]),
            ("no continuation", &half[..], b""),
            ("continuations that drip", &half[..], &frame(CONTINUATION, 0, 1, b"\x00")[..]),
        ] {
            let mut slow = Raw::client(Route::through(&divulge).tls(&["h2"]).await).await;
            slow.send(first).await;
            let said = soon(name, async {
                let (mut said, mut drip) = (None, drip);
                loop {
                    tokio::select! {
                        got = slow.frame() => match got {
                            Some(got) if got.kind == GOAWAY => said = Some(got.code()),
                            Some(_) => {}
                            None => return said,
                        },
                        () = tokio::time::sleep(Duration::from_millis(100)) => {
                            if !drip.is_empty() && !slow.send(drip).await { drip = b"" }
                        }
                    }
                }
            })
            .await;
            const PROTOCOL_ERROR: u32 = 1;
            const ENHANCE_YOUR_CALM: u32 = 11;
            // The library may have found a fault in the continuations before.
            let why = said == Some(ENHANCE_YOUR_CALM) || said == Some(PROTOCOL_ERROR) && !drip.is_empty();
            assert!(why, "{name}: why, and then the end: {said:?}");
            let answer = other.exchange(request("GET", "/", &[]), None, None).await;
            assert_eq!(answer.status, 200, "{name}: another connection");
        }
        assert_eq!(upstream.log.requests().len(), 3);
        divulge.assert_well();
    });
}

#[test]
fn a_request_body_that_stands_still_is_given_up() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = with("--body-timeout=0.5", &authority, upstream.address).await;
        for kind in ["application/json", "application/octet-stream"] {
            let mut client = Route::through(&divulge).http1().await;
            client
                .send(format!(
                    "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: {kind}\r\nContent-Length: 10\r\n\r\nhalf"
                ))
                .await;
            let (answer, _) = soon("the end of a stalled body", client.rest()).await;
            assert!(answer.is_empty() || status(&answer) == 408, "{kind}: {}", show(&answer));
        }
        assert!(upstream.log.requests().iter().all(|seen| !seen.body.complete), "a half body looked whole");
    });
}

#[test]
fn an_upstream_that_never_answers_is_an_error_in_time() {
    bounded(async {
        let authority = Authority::new();
        // Takes connections and says nothing, not even in the handshake.
        let deaf = Upstream::plain(|mut served| async move { served.gone().await }).await;
        let divulge = with("--connect-timeout=0.5", &authority, deaf.address).await;
        let mut client = soon("the client's handshake", Route::through(&divulge).http1()).await;
        client.send(GET).await;
        let response = soon("an answer about the handshake", client.response()).await;
        assert!(
            matches!(response.status, 502 | 504) && response.field("x-divulge-error").is_some(),
            "{}",
            show(&response.head)
        );

        // Takes the request and never answers it.
        let mute = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.request().await;
            served.gone().await;
        })
        .await;
        let divulge = with("--response-timeout=0.5", &authority, mute.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(GET).await;
        let response = soon("an answer about the silence", client.response()).await;
        assert!(
            matches!(response.status, 502 | 504) && response.field("x-divulge-error").is_some(),
            "{}",
            show(&response.head)
        );
    });
}

#[test]
fn an_http2_upstream_that_never_answers_is_an_error_in_time() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            stream.read().await;
            std::future::pending::<()>().await;
        })
        .await;
        let divulge = with("--response-timeout=0.5", &authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let answer = soon("an answer about the silence", client.exchange(request("GET", "/", &[]), None, None)).await;
        assert!(matches!(answer.status, 502 | 504) || answer.error.is_some(), "{answer:?}");
    });
}

#[test]
fn an_http2_request_body_that_stands_still_is_given_up() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            stream.read().await;
            std::future::pending::<()>().await;
        })
        .await;
        let divulge = with("--body-timeout=0.5", &authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let fields = [("content-type", "application/json"), ("content-length", "10")];
        let (response, mut send) = client.open(request("POST", "/", &fields), false).await;
        push(&mut send, "half".into(), false).await.unwrap();
        let answer = soon("an answer about the stalled body", response).await.expect("an answer");
        assert_eq!(answer.status(), 408);
    });
}

#[test]
fn an_idle_stream_is_cut_and_an_idle_connection_closed() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            while let Some(seen) = served.request().await {
                match seen.start_line().contains("/stream") {
                    true => {
                        served.wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await
                    }
                    false => served.wire.send(crate::common::upstream::ok("ok")).await,
                };
            }
        })
        .await;
        let divulge = with("--idle-timeout=0.7", &authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("GET /stream HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        let response = soon("the end of an idle stream", client.response()).await;
        assert!(!response.body.complete && response.body.data == b"half", "{response:?}");
        assert_eq!(client.rest().await.1, End::Cut, "an idle stream ended as if it were whole");

        let mut client = Route::through(&divulge).http1().await;
        client.send(GET).await;
        assert_eq!(client.response().await.status, 200);
        let (rest, _) = soon("the end of an idle connection", client.rest()).await;
        assert_eq!(show(&rest), "");
    });
}

#[test]
fn a_stream_that_moves_is_not_idle() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.request().await;
            served.wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(250)).await;
                served.wire.send("1\r\nx\r\n").await;
            }
            served.wire.send("0\r\n\r\n").await;
            served.gone().await;
        })
        .await;
        let divulge = with("--idle-timeout=1", &authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(GET).await;
        assert_eq!(client.response().await.text(), "xxxxxxxx");
    });
}

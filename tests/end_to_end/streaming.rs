//! Streams that stay open: nothing waits, nothing that was cut looks whole, and memory stays flat.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::common::h2_client::{Http2, answer, next_data, push, request};
use crate::common::h2_upstream::{Http2Upstream, Stream};
use crate::common::wire::{End, field, status};
use crate::common::{Authority, Divulge, Route, Upstream, bounded, show, soon, within};

const GET: &str = "GET /stream HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const FIRST: &str = "event: start\ndata: {\"n\":1}\n\n";
const SECOND: &str = "event: stop\ndata: {\"n\":2}\n\n";

/// What one side tells the other when its moment has come.
fn gate() -> (Arc<Notify>, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    (gate.clone(), gate)
}

#[test]
fn the_first_event_arrives_while_the_upstream_holds_the_rest_over_http1() {
    bounded(async {
        for chunked in [true, false] {
            let (go, wait) = gate();
            let authority = Authority::new();
            let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| {
                let wait = wait.clone();
                async move {
                    served.request().await;
                    let coding = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
                    let frame = |text: &str| match chunked {
                        true => format!("{:x}\r\n{text}\r\n", text.len()),
                        false => text.to_owned(),
                    };
                    served
                        .wire
                        .send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{coding}\r\n"))
                        .await;
                    served.wire.send(frame(FIRST)).await;
                    wait.notified().await;
                    served.wire.send(frame(SECOND)).await;
                    if chunked {
                        served.wire.send("0\r\n\r\n").await;
                    }
                    served.wire.close().await;
                }
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let mut client = Route::through(&divulge).http1().await;
            client.send(GET).await;

            let (_, head) = client.response_head().await.unwrap();
            // Where the end of the body is the end of the connection, it is sent on as chunks, so that a
            // truncation cannot look whole.
            assert!(field(&head, "transfer-encoding").is_some(), "{}", show(&head));
            let first = soon("the first event", client.chunk()).await.unwrap();
            assert_eq!(show(&first), show(FIRST.as_bytes()));
            go.notify_one();
            let second = soon("the second event", client.chunk()).await.unwrap();
            assert_eq!(show(&second), show(SECOND.as_bytes()));
            assert_eq!(client.chunk().await, Some(Vec::new()), "the stream has no clean end");
        }
    });
}

#[test]
fn the_head_of_a_response_arrives_before_any_of_its_body() {
    bounded(async {
        let (go, wait) = gate();
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| {
            let wait = wait.clone();
            async move {
                served.request().await;
                served.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
                wait.notified().await;
                served.wire.send("ok").await;
                served.gone().await;
            }
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(GET).await;

        assert_eq!(status(&soon("the head", client.head()).await.unwrap()), 200);
        go.notify_one();
        assert_eq!(client.exactly(2).await, b"ok");
    });
}

#[test]
fn the_first_event_arrives_while_the_upstream_holds_the_rest_over_http2() {
    bounded(async {
        let (go, wait) = gate();
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, move |mut stream| {
            let wait = wait.clone();
            async move {
                stream.read().await;
                let mut send = stream.start(&[("content-type", "text/event-stream")]);
                push(&mut send, FIRST.into(), false).await.unwrap();
                wait.notified().await;
                push(&mut send, SECOND.into(), true).await.unwrap();
            }
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let (response, _) = client.open(request("GET", "/stream", &[]), true).await;

        let mut body = soon("the head", response).await.unwrap().into_body();
        assert_eq!(soon("the first event", next_data(&mut body)).await.unwrap().unwrap(), FIRST);
        go.notify_one();
        assert_eq!(soon("the second event", next_data(&mut body)).await.unwrap().unwrap(), SECOND);
        assert!(next_data(&mut body).await.is_none(), "the stream has no clean end");
    });
}

/// A Connect frame: flags, length, message.
fn envelope(flags: u8, message: &str) -> Vec<u8> {
    let mut frame = vec![flags];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message.as_bytes());
    frame
}

const MACHINE: &str = "zephyr-7f3a.example.com";

async fn auditing(authority: &Authority, upstream: std::net::SocketAddr) -> Divulge {
    Divulge::serve().intercept("all").trusting(authority).to(upstream).facts(&[("host.fqdn", MACHINE)]).start().await
}

#[test]
fn an_http2_request_stays_open_while_the_response_decides_what_is_sent_next() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            let mut read = Vec::new();
            while read.len() < envelope(0, "{\"ask\":1}").len() {
                read.extend(next_data(&mut stream.body).await.unwrap().unwrap());
            }
            let mut send = stream.start(&[("content-type", "application/connect+json")]);
            push(&mut send, envelope(0, "{\"want\":\"env\"}").into(), false).await.unwrap();
            let rest = stream.read().await;
            let echo = format!("{{\"got\":{}}}", rest.body.len());
            push(&mut send, envelope(2, &echo).into(), true).await.unwrap();
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let (response, mut send) = client
            .open(request("POST", "/agent.Service/Run", &[("content-type", "application/connect+json")]), false)
            .await;

        push(&mut send, envelope(0, "{\"ask\":1}").into(), false).await.unwrap();
        let mut body = soon("the response while the request is open", response).await.unwrap().into_body();
        let asked = soon("the server's question", next_data(&mut body)).await.unwrap().unwrap();
        assert_eq!(asked, envelope(0, "{\"want\":\"env\"}"));
        let second = envelope(0, &format!("{{\"env\":{{\"host\":\"{MACHINE}\"}}}}"));
        push(&mut send, second.clone().into(), true).await.unwrap();

        let last = soon("the server's end", next_data(&mut body)).await.unwrap().unwrap();
        assert_eq!(last, envelope(2, &format!("{{\"got\":{}}}", second.len())));
        divulge.finding_at("body!frame:/1!json:/env/host").await;
    });
}

#[test]
fn an_http1_request_stays_open_while_the_response_decides_what_is_sent_next() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.wire.head().await.unwrap();
            assert_eq!(served.wire.chunk().await.unwrap(), envelope(0, "{\"ask\":1}"));
            served
                .wire
                .send("HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            served.wire.send("5\r\n\0\0\0\0\0\r\n").await;
            let mut rest = Vec::new();
            while let Some(data) = served.wire.chunk().await.filter(|data| !data.is_empty()) {
                rest.extend(data);
            }
            served.wire.send(format!("{:x}\r\n", rest.len())).await;
            served.wire.send(rest).await;
            served.wire.send("\r\n0\r\n\r\n").await;
            served.gone().await;
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client
            .send("POST /run HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let first = envelope(0, "{\"ask\":1}");
        client.send([format!("{:x}\r\n", first.len()).as_bytes(), &first, b"\r\n"].concat()).await;

        let (_, head) = soon("the response while the request is open", client.response_head()).await.unwrap();
        assert_eq!(status(&head), 200);
        assert_eq!(soon("the server's question", client.chunk()).await.unwrap(), b"\0\0\0\0\0");
        let second = envelope(0, &format!("{{\"env\":{{\"host\":\"{MACHINE}\"}}}}"));
        client.send([format!("{:x}\r\n", second.len()).as_bytes(), &second, b"\r\n0\r\n\r\n"].concat()).await;

        assert_eq!(soon("the echo", client.chunk()).await.unwrap(), second);
        divulge.finding_at("body!frame:/1!json:/env/host").await;
    });
}

#[test]
fn a_newline_delimited_body_passes_line_by_line() {
    bounded(async {
        let (seen, wait) = gate();
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| {
            let seen = seen.clone();
            async move {
                served.wire.head().await.unwrap();
                assert_eq!(served.wire.chunk().await.unwrap(), b"{\"a\":1}\n");
                seen.notify_one();
                while served.wire.chunk().await.is_some_and(|data| !data.is_empty()) {}
                served.wire.send(crate::common::upstream::ok("ok")).await;
                served.gone().await;
            }
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client
            .send("POST /log HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"a\":1}\n\r\n")
            .await;
        soon("the first line at the upstream", wait.notified()).await;
        let line = format!("{{\"host\":\"{MACHINE}\"}}\n");
        client.send(format!("{:x}\r\n{line}\r\n0\r\n\r\n", line.len())).await;
        divulge.finding_at("body!lines:/1!json:/host").await;
    });
}

#[test]
fn a_response_may_come_before_the_request_has_ended() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.wire.head().await;
            served.wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
            served.gone().await;
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client
            .send("POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n")
            .await;
        client.send([0; 1000]).await;
        let response = client.response().await;
        assert_eq!((response.status, response.text().as_str()), (413, "no"));
    });
}

#[test]
fn a_stream_that_its_upstream_abandons_never_looks_whole() {
    bounded(async {
        let heads = [
            ("a length not reached", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
            ("no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
            ("a chunk not whole", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf"),
            ("no trailers' end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n"),
            ("until the end, which is a cut", "HTTP/1.1 200 OK\r\n\r\nhalf"),
        ];
        let mut wrong = Vec::new();
        for (name, head) in heads {
            let authority = Authority::new();
            let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| async move {
                served.request().await;
                served.wire.send(head).await;
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let mut client = Route::through(&divulge).http1().await;
            client.send(GET).await;
            let response = client.response().await;
            if response.body.complete {
                wrong.push(format!("{name}: the client saw a whole response: {response:?}"));
            }
            if response.body.data != b"half" {
                wrong.push(format!("{name}: what had come did not all arrive: {response:?}"));
            }
            if client.rest().await.1 != End::Cut {
                wrong.push(format!("{name}: the connection ended cleanly"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn all_of_a_large_answer_that_came_before_its_connection_failed_arrives() {
    bounded(async {
        // Records of 16 KiB: some, and more than wait in one direction.
        for size in [20_000, 60_000, 130_000] {
            let authority = Authority::new();
            let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| async move {
                served.request().await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size + 1);
                served.wire.send([head.as_bytes(), &vec![b'x'; size]].concat()).await;
                // Dropped without close_notify.
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let mut client = Route::through(&divulge).http1().await;
            client.send(GET).await;
            soon("the head", client.response_head()).await.expect("a head");
            let (body, end) = soon("the end", client.rest()).await;
            assert_eq!((body.len(), end), (size, End::Cut));
        }
    });
}

#[test]
fn an_http2_stream_that_its_upstream_abandons_is_reset() {
    bounded(async {
        let (go, wait) = gate();
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, move |mut stream| {
            let wait = wait.clone();
            async move {
                let path = stream.seen.path.clone();
                stream.read().await;
                if path == "/before" {
                    return stream.respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
                let mut send = stream.start(&[("content-type", "text/event-stream")]);
                push(&mut send, FIRST.into(), false).await.unwrap();
                wait.notified().await;
                send.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
            }
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;

        let (response, _) = client.open(request("GET", "/within", &[]), true).await;
        let mut body = soon("the head", response).await.unwrap().into_body();
        assert_eq!(next_data(&mut body).await.unwrap().unwrap(), FIRST);
        go.notify_one();
        let cut = soon("the cut", next_data(&mut body)).await.expect("a cut, not an end").expect_err("a cut, not data");
        assert_eq!(cut.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{cut}");

        let (response, _) = client.open(request("GET", "/before", &[]), true).await;
        let refused = soon("the refusal", response).await.expect_err("a reset, not a response");
        assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM), "{refused}");
    });
}

#[test]
fn an_http2_connection_that_its_upstream_drops_resets_its_streams() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["h2"], |served| async move {
            let (stream, _) = served.wire.into_parts();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let Some(Ok((_, mut respond))) = connection.accept().await else { return };
            let mut send = respond.send_response(http::Response::new(()), false).unwrap();
            send.send_data(Bytes::from_static(b"half"), false).unwrap();
            // Long enough for the half to leave; then the connection is dropped.
            let _ = tokio::time::timeout(Duration::from_millis(300), connection.accept()).await;
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let answer = soon("an end", client.exchange(request("GET", "/", &[]), None, None)).await;
        assert_eq!((answer.status, answer.text().as_str(), answer.error.is_some()), (200, "half", true), "{answer:?}");
    });
}

#[test]
fn an_upstream_that_dies_before_it_answers_is_a_bad_gateway() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.request().await;
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 2\r\n\r\n{}").await;
        let response = client.response().await;
        assert_eq!(response.status, 502);
        assert!(response.field("x-divulge-error").is_some(), "{}", show(&response.head));
        assert_eq!(upstream.log.requests().len(), 1, "a request that may have been acted on was sent again");
    });
}

#[test]
fn a_client_that_leaves_is_seen_upstream_within_a_second() {
    bounded(async {
        for answered in [true, false] {
            let (left, gone) = gate();
            let (arrived, started) = gate();
            let authority = Authority::new();
            let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| {
                let (left, arrived) = (left.clone(), arrived.clone());
                async move {
                    served.request().await;
                    if answered {
                        let head =
                            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                        served.wire.send(format!("{head}{:x}\r\n{FIRST}\r\n", FIRST.len())).await;
                    }
                    arrived.notify_one();
                    served.gone().await;
                    left.notify_one();
                }
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let mut client = Route::through(&divulge).http1().await;
            client.send(GET).await;
            soon("the request at the upstream", started.notified()).await;
            if answered {
                client.response_head().await.unwrap();
                client.chunk().await.unwrap();
            }
            drop(client);
            let seen = tokio::time::timeout(Duration::from_secs(1), gone.notified()).await;
            assert!(seen.is_ok(), "a second later the upstream still served nobody (answer begun: {answered})");
        }
    });
}

#[test]
fn an_http2_client_that_leaves_is_seen_upstream_within_a_second() {
    bounded(async {
        for killed in [true, false] {
            let (left, gone) = gate();
            let authority = Authority::new();
            let upstream = Http2Upstream::scripted(&authority, move |mut stream| {
                let left = left.clone();
                async move {
                    stream.read().await;
                    let mut send = stream.start(&[("content-type", "text/event-stream")]);
                    push(&mut send, FIRST.into(), false).await.unwrap();
                    Stream::reset(&mut send).await;
                    left.notify_one();
                }
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let mut client = Http2::connect(&Route::through(&divulge)).await;
            let (response, send) = client.open(request("GET", "/stream", &[]), true).await;
            let mut body = soon("the head", response).await.unwrap().into_body();
            next_data(&mut body).await.unwrap().unwrap();
            if killed {
                client.kill();
            } else {
                drop((body, send));
            }
            let seen = tokio::time::timeout(Duration::from_secs(1), gone.notified()).await;
            assert!(seen.is_ok(), "a second later the upstream still served nobody (connection killed: {killed})");
        }
    });
}

const LARGE: usize = 32 * 1024 * 1024;

/// A JSON document of `size` bytes whose leaves look like a conversation.
fn document(size: usize) -> Vec<u8> {
    let mut text = b"{\"messages\":[".to_vec();
    let mut number = 0;
    while text.len() < size - 300 {
        text.extend(
            format!(
                "{{\"role\":\"user\",\"content\":\"line {number} of an ordinary conversation about ordinary code\"}},"
            )
            .into_bytes(),
        );
        number += 1;
    }
    text.extend(b"{\"role\":\"user\",\"content\":\"");
    text.resize(size - 4, b'x');
    text.extend(b"\"}]}");
    text
}

mod heavy {
    use super::*;

    #[test]
    fn a_body_of_32_mib_arrives_whole_and_memory_stays_bounded() {
        within(Duration::from_secs(110), async {
            let authority = Authority::new();
            let upstream =
                Upstream::answering(&authority, |seen| crate::common::upstream::ok(&seen.body.data.len().to_string()))
                    .await;
            for (kind, body, most) in [
                ("application/octet-stream", vec![0x9c; LARGE], 112.0),
                ("application/json", document(LARGE - 64 * 1024), 224.0),
            ] {
                let mut divulge = Divulge::before(&authority, upstream.address).await;
                let fresh = divulge.memory();
                let before = upstream.log.requests().len();
                let mut client = Route::through(&divulge).http1().await;
                client
                    .send(format!("POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len()))
                    .await;
                client.send(&body).await;
                let response = client.response().await;

                assert_eq!(response.text(), body.len().to_string(), "{kind}");
                assert!(upstream.log.requests()[before].body.data == body, "{kind}: the body changed on its way");
                let grown = divulge.peak_memory() - fresh;
                assert!(grown < most, "{kind}: 32 MiB up took {grown:.0} MiB of memory, over {most}");
                divulge.assert_well();
            }
        });
    }

    #[test]
    fn a_response_of_32_mib_arrives_whole_and_memory_stays_flat() {
        within(Duration::from_secs(60), async {
            let authority = Authority::new();
            let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
                while served.request().await.is_some() {
                    served.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
                    served.wire.send(vec![0x5a; LARGE]).await;
                }
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let fresh = divulge.memory();
            let mut client = Route::through(&divulge).http1().await;
            client.send(GET).await;
            let response = client.response().await;

            assert!(response.body.complete && response.body.data.len() == LARGE);
            let grown = divulge.peak_memory() - fresh;
            assert!(grown < 32.0, "32 MiB down took {grown:.0} MiB of memory");
        });
    }

    #[test]
    fn a_32_mib_body_passes_over_http2_both_ways() {
        within(Duration::from_secs(60), async {
            let authority = Authority::new();
            let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
                let seen = stream.read().await;
                stream.ok(&[], &seen.body, None).await;
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let body = vec![0x33; LARGE];
            let mut client = Http2::connect(&Route::through(&divulge)).await;
            let answer = client
                .exchange(request("POST", "/", &[("content-type", "application/octet-stream")]), Some(&body), None)
                .await;

            assert!(
                answer.error.is_none() && answer.body == body,
                "{} bytes came back, {:?}",
                answer.body.len(),
                answer.error
            );
        });
    }

    #[test]
    fn a_client_that_does_not_read_costs_no_memory() {
        within(Duration::from_secs(60), async {
            let authority = Authority::new();
            let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
                served.request().await;
                served.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 8 * LARGE)).await;
                let piece = vec![0; 1 << 20];
                while served.wire.send(&piece).await {}
            })
            .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let fresh = divulge.memory();
            let mut client = Route::through(&divulge).http1().await;
            client.send(GET).await;
            client.response_head().await.unwrap();
            // Long enough to have taken hundreds of MiB, were there no bound.
            tokio::time::sleep(Duration::from_secs(2)).await;

            let grown = divulge.peak_memory() - fresh;
            assert!(grown < 32.0, "an unread response took {grown:.0} MiB of memory");
        });
    }
}

#[test]
fn an_http2_client_that_reads_nothing_of_one_stream_does_not_stop_another() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            let large = stream.seen.path == "/large";
            stream.read().await;
            let mut send = stream.start(&[]);
            let body = if large { Bytes::from(vec![0; 3 << 20]) } else { Bytes::from_static(b"ok") };
            let _ = push(&mut send, body, true).await;
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let (unread, _) = client.open(request("GET", "/large", &[]), true).await;
        let unread = soon("the head of the large response", unread).await.unwrap();

        let (small, _) = client.open(request("GET", "/small", &[]), true).await;
        assert_eq!(soon("the small response", answer(small)).await.text(), "ok");
        drop(unread);
    });
}

#[test]
fn nothing_is_left_of_connections_that_ended() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .arg("--idle-timeout=1")
            .start()
            .await;
        let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", divulge.pid())).expect("divulge runs").count();
        let before = descriptors();
        for number in 0..60 {
            match number % 4 {
                // a whole exchange, one half sent, a tunnel not used, a handshake not begun
                0 => {
                    let mut client = Route::through(&divulge).http1().await;
                    client.send(GET).await;
                    assert_eq!(client.response().await.status, 200);
                }
                1 => {
                    let mut client = Route::through(&divulge).http1().await;
                    client.send("POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 100\r\n\r\nhalf").await;
                }
                2 => drop(Route::through(&divulge).tcp().await),
                _ => drop(tokio::net::TcpStream::connect(divulge.address).await.unwrap()),
            }
        }
        // Kept upstream connections may stay for a while, few of one client.
        let most = before + 20;
        for _ in 0..200 {
            if descriptors() <= most {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{before} descriptors before, {} after all clients had left", descriptors());
    });
}

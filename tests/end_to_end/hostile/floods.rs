//! What one peer sends, or leaves unread, to overload us: it costs little, and the others stay served.

use std::time::{Duration, Instant};

use super::{AUTHORITY, MEMORY, METHOD, PATH, POST, SCHEME, bomb, get, many, setting};
use crate::common::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, Raw, SETTINGS,
    WHOLE, WINDOW_UPDATE, block, frame,
};
use crate::common::h2_client::{Http2, push, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::{Authority, Divulge, Route, Upstream, bounded, soon, within};

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

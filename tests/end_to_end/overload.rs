//! More than can be taken: bodies that grow when they are unpacked, more inspections than there is room for, peers that
//! do not read, more connections than most have. Memory stays bounded, `--on-error` decides, and the rest goes on.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use crate::common::wire::status;
use crate::common::{Authority, Divulge, HOST, Route, Upstream, Wire, soon, within};

fn packed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
            encoder.write_all(bytes).unwrap();
            encoder.into_inner()
        }
        _ => zstd::stream::encode_all(bytes, 3).unwrap(),
    }
}

/// Blanks in a string, packed once or twice.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let blanks = [&b"{\"a\":\""[..], &vec![b' '; 40 << 20], b"\"}"].concat();
    let mut bombs: Vec<(&'static str, Vec<u8>)> =
        ["gzip", "deflate", "br", "zstd"].map(|coding| (coding, packed(coding, &blanks))).into();
    let [gzip, _, _, zstd] = &bombs[..] else { unreachable!() };
    let nested = [("gzip, gzip", packed("gzip", &gzip.1)), ("zstd, br", packed("br", &zstd.1))];
    bombs.extend(nested);
    bombs
}

/// What a bomb may make divulge hold, in MiB: what is decoded of one body at most, and its copies.
const BOMB: f64 = 96.0;

#[test]
fn requests_that_grow_when_unpacked_follow_on_error_and_memory_stays_bounded() {
    within(Duration::from_secs(90), async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let bombs = bombs();
        let mut wrong = Vec::new();
        for on_error in ["open", "closed"] {
            let mut divulge = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .to(upstream.address)
                .arg(format!("--on-error={on_error}"))
                .start()
                .await;
            let memory = divulge.memory();
            for (number, (coding, bomb)) in bombs.iter().enumerate() {
                let before = upstream.log.requests().len();
                let mut client = Route::through(&divulge).http1().await;
                let head = format!(
                    "POST /{number} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
                    bomb.len()
                );
                client.send([head.as_bytes(), bomb].concat()).await;
                let response = soon(coding, client.response()).await;
                let flow = divulge
                    .wait_for(coding, |line| line["type"] == "flow" && line["path"] == format!("/{number}"))
                    .await;
                let reasons: Vec<&str> =
                    flow["unread"].as_array().unwrap().iter().filter_map(|unread| unread["reason"].as_str()).collect();
                if !reasons.iter().any(|reason| matches!(*reason, "ratio" | "limit")) {
                    wrong.push(format!("{coding}, {on_error}: unread for {reasons:?}"));
                }
                let passed = upstream.log.requests().split_off(before);
                match on_error {
                    "open" => {
                        let same = passed.len() == 1 && passed[0].body.data == *bomb;
                        if response.status != 200 || !same {
                            wrong.push(format!("{coding}, open: answered {}, the same bytes: {same}", response.status));
                        }
                    }
                    _ if response.status != 403
                        || response.field("x-divulge-block").is_none()
                        || !passed.is_empty() =>
                    {
                        wrong.push(format!("{coding}, closed: answered {}, {} passed", response.status, passed.len()));
                    }
                    _ => {}
                }
            }
            let rise = divulge.peak_memory() - memory;
            eprintln!("requests, {on_error}: memory rose by {rise:.0} MiB");
            if rise > BOMB {
                wrong.push(format!("{on_error}: memory rose by {rise:.0} MiB"));
            }
            divulge.assert_well();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn answers_that_grow_when_unpacked_are_cut_and_memory_stays_bounded() {
    within(Duration::from_secs(90), async {
        let authority = Authority::new();
        let bombs = Arc::new(bombs());
        let served = bombs.clone();
        let upstream = Upstream::answering(&authority, move |seen| {
            let line = seen.start_line();
            let number: usize = line.split(['=', ' ']).nth(2).and_then(|text| text.parse().ok()).unwrap_or(0);
            let (coding, bomb) = &served[number];
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
                bomb.len()
            );
            [head.as_bytes(), bomb].concat()
        })
        .await;
        let mut divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .facts(&[("user.name", "kanarienvogel"), ("path.home", "/home/kanarienvogel")])
            .arg("--policy=balanced")
            .start()
            .await;
        let body = r#"{"model":"m","messages":[{"role":"user","content":"I am in /home/kanarienvogel"}]}"#;
        let memory = divulge.memory();
        let mut wrong = Vec::new();
        for (number, (coding, bomb)) in bombs.iter().enumerate() {
            let mut client = Route::through(&divulge).http1().await;
            client
                .send(format!(
                    "POST /v1/messages?n={number} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ))
                .await;
            let (_, head) = soon(coding, client.response_head()).await.expect("a head");
            let body = soon(coding, client.body(&head, false)).await;
            // Unpacked for what might stand in it, and so for the client too: it never looks whole.
            let unpacked = crate::common::wire::field(&head, "content-encoding").is_none();
            if status(&head) != 200 || !unpacked || body.complete {
                wrong.push(format!("{coding}: {} bytes came of {}, unpacked: {unpacked}", body.data.len(), bomb.len()));
            }
        }
        let rise = divulge.peak_memory() - memory;
        eprintln!("answers: memory rose by {rise:.0} MiB");
        if rise > BOMB {
            wrong.push(format!("memory rose by {rise:.0} MiB"));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        divulge.assert_well();
    });
}

#[test]
fn where_there_is_no_room_to_inspect_on_error_decides_and_the_audit_is_incomplete() {
    within(Duration::from_secs(90), async {
        const REQUESTS: usize = 10;
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let items: Vec<String> = (0..60_000)
            .map(|number| format!("{{\"text\":\"words and words {number}\",\"n\":[{number},\"x\"]}}"))
            .collect();
        let body = Arc::new(format!("[{}]", items.join(",")));
        for on_error in ["open", "closed"] {
            let before = upstream.log.requests().len();
            let mut divulge = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .to(upstream.address)
                .arg(format!("--on-error={on_error}"))
                .arg("--inspections=1")
                // How long one waits for its turn.
                .arg("--body-timeout=0.1")
                .start()
                .await;
            let mut clients = Vec::new();
            for _ in 0..REQUESTS {
                clients.push(Route::through(&divulge).http1().await);
            }
            let mut running = JoinSet::new();
            for mut client in clients {
                let body = body.clone();
                running.spawn(async move {
                    let head = format!(
                        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    client.send([head.as_bytes(), body.as_bytes()].concat()).await;
                    let response = client.response().await;
                    (response.status, response.field("x-divulge-block"))
                });
            }
            let answers = running.join_all().await;
            let passed = upstream.log.requests().len() - before;
            let flows = || divulge.lines().into_iter().filter(|line| line["type"] == "flow").collect::<Vec<_>>();
            soon("all flows", async {
                while flows().len() < REQUESTS {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            let overloaded = |flow: &serde_json::Value| {
                flow["unread"].as_array().unwrap().iter().any(|unread| unread["reason"] == "overload")
            };
            let over = flows().iter().filter(|flow| overloaded(flow)).count();
            assert!((1..REQUESTS).contains(&over), "{on_error}: {over} of {REQUESTS} were not inspected");
            let refused =
                answers.iter().filter(|(status, block)| *status == 403 && block.as_deref() == Some("overload")).count();
            let served = answers.iter().filter(|(status, _)| *status == 200).count();
            match on_error {
                "open" => assert_eq!((served, passed), (REQUESTS, REQUESTS), "{answers:?}"),
                _ => assert_eq!((served, passed, refused), (REQUESTS - over, REQUESTS - over, over), "{answers:?}"),
            }
            divulge.assert_well();
            assert_eq!(divulge.terminate().await.code(), Some(3), "{on_error}: the audit is incomplete");
            let told = divulge.errors();
            assert!(told.contains(&format!("failed_inspections={over}")), "{told}");
        }
    });
}

/// How many connections are opened: 1,000, or as many as the environment says.
fn crowd() -> usize {
    std::env::var("DIVULGE_CONNECTIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

#[test]
fn a_crowd_of_connections_is_served_and_costs_little_each() {
    within(Duration::from_secs(170), async {
        let crowd = crowd();
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, limit.1, limit.1).unwrap();
        assert!(
            limit.1 > crowd as u64 * 5 / 4 + 500,
            "`ulimit -n` allows {} descriptors, too few for {crowd}",
            limit.1
        );
        let upstream = Upstream::plain(|mut served| async move {
            while served.request().await.is_some() {
                served.wire.send(crate::common::upstream::ok("ok")).await;
            }
        })
        .await;
        let mut divulge = Divulge::serve().intercept("all").to(upstream.address).arg("--quiet").start().await;
        let get = format!("GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let ask = async |client: &mut Wire| {
            client.send(&get).await;
            soon("an answer", client.response()).await.status
        };
        let mut first = Wire::connect(divulge.address).await;
        assert_eq!(ask(&mut first).await, 200);
        let memory = divulge.memory();
        let mut clients = Vec::with_capacity(crowd);
        // Some have asked, the others are silent: none keeps the others from being served.
        for number in 0..crowd {
            let mut client = Wire::connect(divulge.address).await;
            if number % 4 == 0 {
                assert_eq!(ask(&mut client).await, 200, "connection {number}");
            }
            clients.push(client);
        }
        assert_eq!(ask(&mut first).await, 200, "with {crowd} others");
        let each = (divulge.memory() - memory) * 1024.0 / crowd as f64;
        assert!(each < 64.0, "each of {crowd} connections costs {each:.1} KiB");
        eprintln!("{crowd} connections: {each:.1} KiB each, {} descriptors", divulge.descriptors());
        drop(clients);
        soon("the crowd to be gone", async {
            // Upstream connections may be kept for a while.
            while divulge.descriptors() > crowd / 4 + 64 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(ask(&mut first).await, 200, "afterwards");
        divulge.assert_well();
    });
}

/// A quarter of a gigabyte for a peer that does not read it.
const FLOOD: usize = 256 << 20;

#[test]
fn a_quarter_of_a_gigabyte_for_whoever_does_not_read_costs_at_most_32_mib_either_way() {
    within(Duration::from_secs(60), async {
        // The client sends, the upstream reads its head and no more; and the other way round.
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            let Some(head) = served.wire.head().await else { return };
            if head.starts_with(b"GET") {
                served
                    .wire
                    .send(format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {FLOOD}\r\n\r\n"
                    ))
                    .await;
                let piece = vec![b'a'; 1 << 20];
                for _ in 0..FLOOD >> 20 {
                    if !served.wire.send(&piece).await {
                        return;
                    }
                }
            }
            std::future::pending::<()>().await;
        })
        .await;
        // Bodies are passed on as they come and inspected up to the limit.
        let mut divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .arg("--body-limit=1048576")
            .start()
            .await;
        let memory = divulge.memory();
        let mut lazy = Route::through(&divulge).http1().await;
        lazy.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        let mut eager = Route::through(&divulge).http1().await;
        eager
            .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/octet-stream\r\nContent-Length: {FLOOD}\r\n\r\n"))
            .await;
        let piece = vec![b'a'; 1 << 20];
        let mut sent = 0;
        // Until nothing more is taken.
        while sent < FLOOD >> 20 && tokio::time::timeout(Duration::from_secs(2), eager.send(&piece)).await == Ok(true) {
            sent += 1;
        }
        assert!(sent < FLOOD >> 20, "all of it was taken for somebody who does not read");
        let rise = divulge.peak_memory() - memory;
        assert!(rise < 32.0, "memory rose by {rise:.1} MiB");
        eprintln!("{sent} MiB were taken; memory rose by {rise:.1} MiB");
        // It is still there, at the speed of whoever reads.
        let mut first = [0; 1024];
        soon("the start of the answer", lazy.stream.read_exact(&mut first)).await.unwrap();
        assert!(first.starts_with(b"HTTP/1.1 200"));
        divulge.assert_well();
    });
}

#[test]
fn a_soak_leaves_memory_and_descriptors_as_they_were() {
    let minutes = std::env::var("DIVULGE_SOAK_MINUTES").ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.03);
    let length = Duration::from_secs_f64(minutes * 60.0);
    within(length + Duration::from_secs(60), async move {
        let authority = Authority::new();
        let upstream = Upstream::recording_nothing(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let findings = divulge.folder.path().join("findings.jsonl");
        let round = async |number: usize| {
            let mut clients = JoinSet::new();
            for kind in 0..8usize {
                let route = Route::through(&divulge);
                clients.spawn(async move {
                    let mut client = route.http1().await;
                    let body = format!("{{\"round\":{number},\"text\":\"{}\"}}", "words ".repeat(200 * kind));
                    let post = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    for _ in 0..4 {
                        client.send(&post).await;
                        assert_eq!(client.response().await.status, 200);
                    }
                    match kind % 4 {
                        // Ends well, in the middle of a request, in the middle of an answer, with something malformed.
                        0 => client.close().await,
                        1 => drop(client.send(&post[..post.len() - 1]).await),
                        2 => drop(client.send(&post).await),
                        _ => drop(client.send("GET / HTTP/1.1\nHost: x\r\n\r\n").await),
                    }
                });
            }
            while let Some(ended) = clients.join_next().await {
                ended.unwrap();
            }
        };
        // The allocator, the pools and the caches fill first.
        for number in 0..10 {
            round(number).await;
        }
        let (memory, descriptors) = (divulge.memory(), divulge.descriptors());
        let started = tokio::time::Instant::now();
        let mut rounds = 0;
        // After each eighth.
        let mut course = vec![memory];
        while started.elapsed() < length {
            round(rounds).await;
            rounds += 1;
            if started.elapsed() >= length * course.len() as u32 / 8 {
                course.push(divulge.memory());
            }
        }
        soon("the last connections to be gone", async {
            while divulge.descriptors() > descriptors + 16 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let rises: Vec<String> = course.iter().map(|at| format!("{:.1}", at - memory)).collect();
        let rise = divulge.memory() - memory;
        let size = std::fs::metadata(findings).map_or(0, |file| file.len()) >> 20;
        eprintln!(
            "{rounds} rounds of 40 requests in {minutes} min: memory rose by {rise:.1} MiB ({}), {} descriptors and {descriptors} before, {size} MiB of findings",
            rises.join(" "),
            divulge.descriptors()
        );
        // Every round says something new: what is remembered of requests, texts and clients grows to 16 MiB each.
        assert!(rise < 16.0 + 3.0 * 16.0, "memory rose by {rise:.1} MiB in {rounds} rounds");
        // Half of these fill all of it.
        if rounds > 30_000
            && let [.., half, _, _, _, end] = course[..]
        {
            assert!(end - half < 4.0, "memory still rises after half of the time: {rises:?}");
        }
        divulge.assert_well();
    });
}

//! The audit of a recording is the live one byte for byte, whatever the traffic was carried in.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::{Barrier, watch};

use crate::common::divulge::BINARY;
use crate::common::h2_client::{Http2, answer, push, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::tunnel::Tunnel;
use crate::common::websocket::{WebSocket, upgrade_answer, upgrade_request};
use crate::common::{Authority, Divulge, HOST, Route, Upstream, Wire, bounded, soon};

const MACHINE: &str = "zephyr-7f3a.example.com";
const FACTS: &[(&str, &str)] = &[("host.fqdn", MACHINE), ("user.name", "kanarienvogel")];
/// Small, so that what is longer than it is in the traffic too.
const LIMIT: usize = 40_000;
const POLICIES: [&str; 3] = ["audit", "balanced", "strict"];

async fn recording(authority: &Authority, upstream: SocketAddr, policy: &str) -> Divulge {
    let mut serve = Divulge::serve().intercept("all").trusting(authority).to(upstream).facts(FACTS);
    let file = serve.beside("traffic.session");
    for argument in ["--record-bodies=full", "--on-error=open"] {
        serve = serve.arg(argument);
    }
    serve = serve.arg(format!("--record={}", file.display())).arg(format!("--policy={policy}"));
    serve.arg(format!("--body-limit={LIMIT}")).start().await
}

/// The lines of each flow, in their order, without what says when they were written.
fn by_flow(lines: impl Iterator<Item = Value>) -> BTreeMap<String, Vec<String>> {
    let mut flows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mut line in lines {
        let flow = line["flow"].as_str().unwrap_or_default().to_owned();
        let fields = line.as_object_mut().unwrap();
        // What became of pseudonyms in the answer is no part of what was sent.
        fields.retain(|name, _| !["time", "session", "restored"].contains(&name.as_str()));
        flows.entry(flow).or_default().push(line.to_string());
    }
    flows
}

/// Ends the recording and audits its session again: how many flows there are and how many findings.
async fn compared(divulge: &mut Divulge, policy: &str) -> (usize, usize) {
    assert!(divulge.terminate().await.success(), "{}", divulge.errors());
    let live = by_flow(divulge.lines().into_iter());
    let folder = divulge.folder.path();
    let output = Command::new(BINARY)
        .env_clear()
        .env("HOME", folder)
        .args(["inspect", "--findings=-", "--on-error=open"])
        .args([format!("--policy={policy}"), format!("--body-limit={LIMIT}")])
        .args([format!("--state={}", divulge.state().display())])
        .args([format!("--facts={}", folder.join("facts.json").display())])
        .arg(folder.join("traffic.session"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{policy}: {errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let offline = by_flow(text.lines().map(|line| serde_json::from_str(line).unwrap()));
    for (flow, lines) in &live {
        let again = offline.get(flow).cloned().unwrap_or_default();
        for (one, other) in lines.iter().zip(&again) {
            assert_eq!(one, other, "{policy}, flow {flow}: live, then offline");
        }
        assert_eq!(lines.len(), again.len(), "{policy}, flow {flow}: {lines:#?}\n{again:#?}");
    }
    assert_eq!(live.len(), offline.len());
    (live.len(), live.values().map(|lines| lines.len() - 1).sum())
}

fn sized(kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut out = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\n{more}Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

fn chunked(kind: &str, pieces: &[&[u8]], trailers: &str) -> Vec<u8> {
    let mut out =
        format!("POST /v1/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    for piece in pieces {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    out
}

fn conversation() -> Vec<u8> {
    let said = format!("It is Thursday on {MACHINE}; ask kanarienvogel.");
    json!({"model": "m-1", "system": "You're a helper.", "messages": [{"role": "user", "content": said}], "n": 1.50})
        .to_string()
        .into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::CompressorWriter::new(&mut out, 4096, 4, 20).write_all(bytes).unwrap();
    out
}

/// A Connect envelope around `message`.
fn envelope(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend((message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// Requests of every shape, each of which gives something away.
fn requests() -> Vec<Vec<u8>> {
    let plain = conversation();
    let packed = zstd::bulk::compress(&plain, 3).unwrap();
    let line = format!("{{\"host\":\"{MACHINE}\"}}\n");
    let lines: Vec<u8> = line.repeat(3).into_bytes();
    let form = format!("user=kanarienvogel&host={MACHINE}&n=1");
    let parts = format!(
        "--b\r\nContent-Disposition: form-data; name=\"host\"\r\n\r\n{MACHINE}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"f\"; filename=\"f.bin\"\r\n\r\n\u{1}\u{2}\r\n--b--\r\n"
    );
    let long = format!("{{\"host\":\"{MACHINE}\",\"pad\":\"{}\"}}", "x".repeat(LIMIT));
    let oversize = envelope(&vec![b'y'; LIMIT + 10]);
    let framed = [envelope(line.as_bytes()), oversize].concat();
    let key = format!("X-Host: {MACHINE}\r\n");
    vec![
        format!("GET /v1/x/kanarienvogel?host={MACHINE} HTTP/1.1\r\nHost: {HOST}\r\nCookie: u=kanarienvogel\r\n\r\n")
            .into_bytes(),
        sized("application/json", &key, &plain),
        sized("application/json", "Content-Encoding: gzip\r\n", &gzip(&plain)),
        sized("application/json", "Content-Encoding: br\r\n", &brotli(&plain)),
        sized("application/json", "Content-Encoding: zstd\r\n", &packed),
        sized("application/json", "Content-Encoding: gzip, br\r\n", &brotli(&gzip(&plain))),
        sized("application/json", "Content-Encoding: gzip\r\n", &plain),
        sized("application/x-www-form-urlencoded", "", form.as_bytes()),
        sized("multipart/form-data; boundary=b", "", parts.as_bytes()),
        sized("application/octet-stream", "", MACHINE.as_bytes()),
        sized("application/json", "", b"not JSON at all \xff"),
        chunked("application/json", &[&plain[..10], &plain[10..]], ""),
        chunked("application/json", &[&plain], &format!("X-User: {MACHINE}\r\n")),
        chunked("application/json", &[], ""),
        chunked("application/x-ndjson", &[&lines[..20], &lines[20..], b"{\"user\":\"kanarienvogel\"}"], ""),
        chunked("application/octet-stream", &[b"bytes of ", MACHINE.as_bytes()], ""),
        chunked("application/connect+json", &[&envelope(line.as_bytes())], ""),
        chunked("application/connect+json", &[&framed], ""),
        chunked("application/grpc", &[&envelope(line.as_bytes()), b"\x00\x00"], ""),
        sized("application/json", &key, long.as_bytes()),
        chunked("application/json", &[long.as_bytes()], ""),
    ]
}

#[test]
fn http1_is_audited_offline_as_it_was_live() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        for policy in POLICIES {
            let mut divulge = recording(&authority, upstream.address, policy).await;
            let all = requests();
            for request in &all {
                let mut client = Route::through(&divulge).http1().await;
                client.send(request).await;
                client.response().await;
            }
            let (flows, findings) = compared(&mut divulge, policy).await;
            assert_eq!(flows, all.len());
            assert!(findings > 30, "{policy}: only {findings} findings");
        }
    });
}

#[test]
fn http2_is_audited_offline_as_it_was_live() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::recording(&authority).await;
        for policy in POLICIES {
            let mut divulge = recording(&authority, upstream.address, policy).await;
            let mut client = Http2::connect(&Route::through(&divulge)).await;
            let plain = conversation();
            let length = plain.len().to_string();
            let json = ("content-type", "application/json");
            let grpc = ("content-type", "application/grpc");
            let framed = [envelope(&plain), envelope(MACHINE.as_bytes())].concat();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-user", "kanarienvogel".parse().unwrap());
            type Case<'a> = (Vec<(&'a str, &'a str)>, Option<&'a [u8]>, Option<HeaderMap>);
            let packed = gzip(&plain);
            let cases: Vec<Case<'_>> = vec![
                (vec![("x-host", MACHINE)], None, None),
                (vec![json, ("content-length", &length)], Some(&plain), None),
                (vec![json], Some(&plain), None),
                (vec![json, ("content-encoding", "gzip")], Some(&packed), None),
                (vec![json], Some(&plain), Some(trailers)),
                (vec![grpc], Some(&framed), None),
            ];
            let sent = cases.len();
            for (fields, body, trailers) in cases {
                client.exchange(request("POST", "/v1/messages", &fields), body, trailers).await;
            }
            drop(client);
            let (flows, findings) = compared(&mut divulge, policy).await;
            assert_eq!(flows, sent);
            assert!(findings > 8, "{policy}: only {findings} findings");
        }
    });
}

/// Turns of one conversation on streams that overlap: completed in another order than they began in, and answered and ended
/// in yet another.
#[test]
fn overlapping_streams_are_audited_offline_as_they_were_live() {
    const TURNS: usize = 4;
    bounded(async {
        let authority = Authority::new();
        for policy in POLICIES {
            // All have come before the first is answered; the first to begin is answered last.
            let arrived = Arc::new(Barrier::new(TURNS));
            let answered = watch::Sender::new(TURNS);
            let upstream = Http2Upstream::scripted(&authority, move |mut stream| {
                let (arrived, answered) = (arrived.clone(), answered.clone());
                async move {
                    stream.read().await;
                    arrived.wait().await;
                    let turn = stream.seen.fields.iter().find(|(name, _)| name == "x-turn").unwrap();
                    let turn: usize = str::from_utf8(&turn.1).unwrap().parse().unwrap();
                    answered.subscribe().wait_for(|due| *due == turn + 1).await.unwrap();
                    stream.ok(&[("content-type", "text/plain")], b"ok", None).await;
                    answered.send_replace(turn);
                }
            })
            .await;
            let mut divulge = recording(&authority, upstream.address, policy).await;
            let mut client = Http2::connect(&Route::through(&divulge)).await;
            let mut streams = Vec::new();
            for turn in 0..TURNS {
                let fields = [("content-type", "application/json"), ("x-turn", &turn.to_string())];
                streams.push(client.open(request("POST", "/v1/messages", &fields), false).await);
            }
            for turn in [2, 0, 3, 1] {
                let said = vec![json!({"role": "user", "content": format!("On {MACHINE}, as ever.")}); turn + 2];
                let body = json!({"model": "m-1", "messages": said}).to_string();
                push(&mut streams[turn].1, body.into(), true).await.unwrap();
            }
            for (response, _) in streams {
                let got = answer(response).await;
                assert_eq!(got.status, 200, "{got:?}");
            }
            drop(client);
            let (flows, findings) = compared(&mut divulge, policy).await;
            assert_eq!(flows, TURNS);
            let told = divulge.lines().iter().filter(|line| line["certificate"]["prefix"].is_u64()).count();
            assert_eq!(
                told,
                if policy == "audit" { 0 } else { TURNS - 1 },
                "all but the first have a turn before them"
            );
            assert!(findings > TURNS, "{policy}: only {findings} findings");
        }
    });
}

/// Says three things and one that is too long to be read.
async fn converse(socket: &mut WebSocket) {
    for number in 0..3 {
        socket.send(&format!("{{\"n\":{number},\"env\":{{\"host\":\"{MACHINE}\"}}}}")).await;
        assert!(soon("an answer", socket.message()).await.is_some());
    }
    socket.send(&"z".repeat(LIMIT + 1)).await;
    // Compressed, it may not pass where later ones may be edited: the context would be lost.
    if soon("an answer", socket.message()).await.is_none() {
        return;
    }
    socket.send(&format!("{{\"user\":\"kanarienvogel\",\"at\":\"{MACHINE}\"}}")).await;
    assert!(soon("an answer", socket.message()).await.is_some());
}

async fn echo(mut socket: WebSocket) {
    while let Some(text) = socket.message().await {
        socket.send(if text.len() > 1000 { "long" } else { &text }).await;
    }
}

#[test]
fn websockets_are_audited_offline_as_they_were_live() {
    bounded(async {
        let authority = Authority::new();
        let over_http1 = Upstream::scripted(&authority, &[], |mut served| async move {
            served.request().await;
            served.wire.send(upgrade_answer(true)).await;
            echo(WebSocket::new(served.wire, false, true)).await;
        })
        .await;
        let over_http2 = Http2Upstream::scripted(&authority, |mut stream| async move {
            let send = stream.start(&[]);
            let tunnel = Tunnel { recv: stream.body, send, left: Bytes::new() };
            echo(WebSocket::new(Wire::new(tunnel, None), false, false)).await;
        })
        .await;
        for policy in POLICIES {
            let mut divulge = recording(&authority, over_http1.address, policy).await;
            let mut wire = Route::through(&divulge).tls(&[]).await;
            wire.send(upgrade_request("/v1/responses", true)).await;
            soon("the answer to the upgrade", wire.head()).await.unwrap();
            let mut socket = WebSocket::new(wire, true, true);
            converse(&mut socket).await;
            drop(socket);
            let (flows, findings) = compared(&mut divulge, policy).await;
            assert!(flows == 1 && findings >= 4, "{policy}: {findings} findings");

            let mut divulge = recording(&authority, over_http2.address, policy).await;
            let mut client = Http2::connect(&Route::through(&divulge)).await;
            assert!(client.takes_extended_connect().await);
            let mut ask = http::Request::builder().method("CONNECT").uri(format!("https://{HOST}/v1/responses"));
            ask = ask.header("sec-websocket-version", "13");
            let mut ask = ask.body(()).unwrap();
            ask.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
            let (response, send) = client.open(ask, false).await;
            let response = soon("the answer to the extended CONNECT", response).await.unwrap();
            let tunnel = Tunnel { recv: response.into_body(), send, left: Bytes::new() };
            let mut socket = WebSocket::new(Wire::new(tunnel, None), true, false);
            converse(&mut socket).await;
            drop((socket, client));
            let file = divulge.folder.path().join("traffic.session");
            let (flows, findings) = compared(&mut divulge, policy).await;
            assert!(flows == 1 && findings >= 4, "{policy}: {findings} findings");
            // The other side is in the recording too.
            let mut reader = divulge::session::store::SessionReader::open(std::fs::File::open(file).unwrap()).unwrap();
            let (exchange, _) = reader.exchange(0).unwrap();
            assert_eq!(exchange.response.unwrap().status(), Some(200));
            assert!(exchange.messages.iter().any(|message| !message.from_client && &message.data[..] == b"long"));
        }
    });
}

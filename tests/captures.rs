//! Files that other programs write, read as they wrote them.
//!
//! mitmproxy is a pinned package, installed by `tests/mitmproxy/install.sh`; `tests/mitmproxy/flows.py` writes with its
//! own writers what the tests here read.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use divulge::engine::Part;
use divulge::session::flow::{BodyState, Exchange};
use divulge::session::{Damage, Format};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The two files that a version of mitmproxy writes; none where no Python here is new enough for it.
fn written_by(version: &str) -> Option<(Bytes, Bytes)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mitmproxy");
    let output = Command::new(folder.join("install.sh")).arg(version).stderr(Stdio::inherit()).output().unwrap();
    if output.status.code() == Some(77) {
        eprintln!("mitmproxy {version} is left out");
        return None;
    }
    assert!(output.status.success(), "mitmproxy {version} cannot be installed");
    let python = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let out = tempfile::tempdir().unwrap();
    let status = Command::new(python)
        .arg(folder.join("flows.py"))
        .arg(out.path())
        .env("HOME", out.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let read = |name: &str| Bytes::from(fs::read(out.path().join(name)).unwrap());
    Some((read("flows.mitm"), read("flows.har")))
}

fn read_all(file: &Bytes) -> (Vec<Exchange>, Vec<Damage>) {
    let mut all = Vec::new();
    let format = Format::sniff(file).expect("a known format");
    let damages = format.read(file, b"", &mut |exchange| all.push(exchange));
    (all, damages)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Those that the flow file and the archive tell alike.
fn check_shared(all: &[Exchange]) {
    let [http2, transparent, socket, failed, ..] = all else { panic!("{} exchanges", all.len()) };
    assert_eq!((http2.host.as_str(), http2.port, http2.secure), ("api.example.com", 8443, true));
    assert_eq!(http2.started, Some(1_767_323_045_678));
    let head = text(&http2.request.head);
    assert!(
        head.starts_with("POST /v1?a=b HTTP/1.1\r\nhost: api.example.com:8443\r\ncontent-type: application/json\r\n"),
        "{head}"
    );
    assert!(head.ends_with("x-a: 1\r\nx-a: 2\r\n\r\n"), "{head}");
    let response = http2.response.as_ref().unwrap();
    assert_eq!((response.status(), &response.body[..]), (Some(200), &b"\x00\xff\x01answer"[..]));
    assert_eq!(response.field("x-b"), Some(&b"caf\xe9"[..]));

    assert_eq!((transparent.host.as_str(), transparent.port), ("named.example.com", 443));
    assert_eq!(text(&transparent.request.head), "GET /x HTTP/1.1\r\nHost: named.example.com\r\n\r\n");

    assert_eq!((socket.secure, socket.port, socket.messages.len()), (false, 80, 3));
    let [asked, answered, dropped] = &socket.messages[..] else { panic!() };
    assert_eq!((asked.from_client, asked.text, asked.at), (true, true, Some(1_767_323_047_500)));
    assert_eq!(text(&asked.data), "hallo grüße");
    assert_eq!((answered.from_client, answered.text, &answered.data[..]), (false, false, &b"\x00\xff"[..]));
    assert_eq!(text(&dropped.data), "kept");
    assert!(matches!(
        &socket.parts()[..],
        [Part::Head, Part::Message { index: 0, .. }, Part::Message { index: 1, .. }]
    ));

    assert_eq!((failed.response.as_ref(), text(&failed.request.body)), (None, "body".into()));
}

fn flows_of(version: &str) {
    let Some((flows, archive)) = written_by(version) else { return };
    let (all, damages) = read_all(&flows);
    check_shared(&all);
    let [http2, _, socket, failed, streamed] = &all[..] else { panic!("{} flows", all.len()) };
    // As it was sent, its coding with it.
    assert_eq!(http2.request.field("content-encoding"), Some(&b"gzip"[..]));
    assert_eq!(&http2.request.body[..2], b"\x1f\x8b");
    assert_eq!(text(&http2.response.as_ref().unwrap().trailers), "x-end: 1\r\n");
    assert_eq!(http2.ended, Some(1_767_323_046_250));
    assert_eq!(socket.ended, Some(1_767_323_050_000));
    assert_eq!(failed.ended, Some(1_767_323_051_000));
    assert_eq!(streamed.request.body_state, BodyState::Cut);
    let said: Vec<String> = damages.iter().map(|one| format!("{} {}", one.entry.unwrap(), one.reason)).collect();
    assert_eq!(
        said,
        [
            "3 a WebSocket message was dropped by mitmproxy and never reached the other side",
            "5 the body of the request is not in the file",
            "6 a flow of tcp; flows of HTTP alone are read",
            "7 a flow of udp; flows of HTTP alone are read",
            "8 a flow of dns; flows of HTTP alone are read",
        ]
    );
    // A flow that is cut, and one whose length is wrong.
    let (all, damages) = read_all(&flows.slice(..flows.len() - 1));
    assert_eq!((all.len(), damages.last().unwrap().reason.contains("the file ends in it")), (5, true));
    let mut wrong = flows.to_vec();
    wrong[1] = b'x';
    let mut rest = Vec::new();
    let damages = Format::Mitmproxy.read(&wrong.into(), b"", &mut |exchange| rest.push(exchange));
    assert_eq!((rest.len(), damages[0].offset, damages[0].lost), (4, 0, true));
    mutated(&flows, Format::Mitmproxy);

    let (all, damages) = read_all(&archive);
    check_shared(&all);
    assert_eq!(all.len(), 4);
    // Undone by mitmproxy.
    assert_eq!(text(&all[0].request.body), "{\"name\":\"Grüße\"}");
    assert_eq!(all[0].request.field("content-encoding"), None);
    assert!(damages.iter().all(|damage| !damage.lost), "{damages:?}");
    mutated(&archive, Format::Har);
}

/// Whatever becomes of the file, it is read to its end and gives no more than it holds.
fn mutated(file: &Bytes, format: Format) {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(change, 1..12), |changes| {
            let mut file = file.to_vec();
            for (place, byte, way) in changes {
                let at = place.index(file.len());
                match way {
                    0 => file[at] = byte,
                    1 => file[at] = b"0123456789{}[]\":,;"[usize::from(byte % 18)],
                    2 => {
                        file.remove(at);
                    }
                    _ => file.truncate(file.len().saturating_sub(usize::from(byte) / 8).max(1)),
                }
            }
            let mut bytes = 0;
            format.read(&file.clone().into(), b"", &mut |exchange| {
                bytes +=
                    exchange.request.body.len() + exchange.messages.iter().map(|one| one.data.len()).sum::<usize>();
                let _ = exchange.request();
            });
            prop_assert!(bytes <= file.len());
            Ok(())
        })
        .unwrap();
}

#[test]
fn flows_that_mitmproxy_10_writes() {
    flows_of("10.4.2");
}

#[test]
fn flows_that_mitmproxy_11_writes() {
    flows_of("11.0.2");
}

#[test]
fn flows_that_mitmproxy_12_writes() {
    flows_of("12.3.1");
}

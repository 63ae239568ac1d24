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
use divulge::session::flow::{BodyState, Exchange, Step};
use divulge::session::{Damage, Format, har};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The Python of a pinned mitmproxy; none where no Python here is new enough for it.
fn mitmproxy(version: &str) -> Option<PathBuf> {
    let output = Command::new(scripts().join("install.sh")).arg(version).stderr(Stdio::inherit()).output().unwrap();
    if output.status.code() == Some(77) {
        eprintln!("mitmproxy {version} is left out");
        return None;
    }
    assert!(output.status.success(), "mitmproxy {version} cannot be installed");
    Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mitmproxy")
}

/// Runs one of the scripts with a folder or file of its own.
fn run(python: &Path, script: &str, argument: &Path, home: &Path) -> String {
    let mut command = Command::new(python);
    let output = command.arg(scripts().join(script)).arg(argument).env("HOME", home).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The two files that it writes: flows and an archive.
fn written_by(python: &Path) -> (Bytes, Bytes) {
    let out = tempfile::tempdir().unwrap();
    run(python, "flows.py", out.path(), out.path());
    let read = |name: &str| Bytes::from(fs::read(out.path().join(name)).unwrap());
    (read("flows.mitm"), read("flows.har"))
}

/// An archive of ours is one to mitmproxy too.
fn check_export(python: &Path, exchanges: &[Exchange]) {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("ours.har");
    fs::write(&file, har::write(exchanges, &har::Around::default())).unwrap();
    let read = run(python, "read_har.py", &file, out.path());
    let lines: Vec<serde_json::Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            serde_json::json!([
                "POST",
                "https://api.example.com:8443/v1?a=b",
                "{\"name\":\"Grüße\"}",
                200,
                "AP8BYW5zd2Vy",
                0
            ]),
            serde_json::json!(["GET", "https://named.example.com/x", "", 204, "", 0]),
        ]
    );
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
        &socket.steps()[..],
        [
            Step::Audit(Part::Head),
            Step::Audit(Part::Message { index: 0, .. }),
            Step::Audit(Part::Message { index: 1, .. })
        ]
    ));

    assert_eq!((failed.response.as_ref(), text(&failed.request.body)), (None, "body".into()));
}

fn flows_of(version: &str) {
    let Some(python) = mitmproxy(version) else { return };
    let (flows, archive) = written_by(&python);
    let (all, damages) = read_all(&flows);
    check_shared(&all);
    check_export(&python, &all[..2]);
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

/// What `tests/captures/record.sh` recorded.
fn recorded() -> Bytes {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/loopback.pcapng")).unwrap().into()
}

/// The same without the secrets in it, and they apart.
#[cfg(feature = "proxy")]
fn recorded_apart() -> (Bytes, Vec<u8>) {
    let file = recorded();
    let (mut rest, mut keys, mut at) = (Vec::new(), Vec::new(), 0);
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    while at < file.len() {
        let end = at + number(at + 4);
        match number(at) {
            10 => keys.extend_from_slice(&file[at + 16..at + 16 + number(at + 12)]),
            _ => rest.extend_from_slice(&file[at..end]),
        }
        at = end;
    }
    assert!(!keys.is_empty());
    (rest.into(), keys)
}

#[cfg(feature = "proxy")]
#[test]
fn packets_between_curl_and_mitmproxy_are_read_with_their_keys() {
    let (rest, keys) = recorded_apart();
    for (file, keys) in [(recorded(), &b""[..]), (rest, &keys[..])] {
        let mut all = Vec::new();
        let damages = Format::Pcap.read(&file, keys, &mut |exchange| all.push(exchange));
        let told: Vec<String> = all
            .iter()
            .map(|one| {
                let line = text(one.request.head.split(|&byte| byte == b'\r').next().unwrap());
                let scheme = if one.secure { "https" } else { "http" };
                let answer = one.response.as_ref().map(|answer| text(&answer.body)).unwrap_or_default();
                format!("{scheme}://{}:{} {line} {} -> {answer}", one.host, one.port, text(&one.request.body))
            })
            .collect();
        assert_eq!(
            told,
            [
                r#"https://api.example.com:18443 POST /one HTTP/1.1 {"machine":"example-1"} -> {"answer":"/one"}"#,
                r#"https://api.example.com:18443 POST /two HTTP/1.1 {"machine":"example-2"} -> {"answer":"/two"}"#,
                r#"https://api.example.com:18443 GET /three HTTP/1.1  -> {"answer":"/three"}"#,
                r#"https://api.example.com:18443 POST /four HTTP/1.1 {"machine":"example-4"} -> {"answer":"/four"}"#,
                r#"https://api.example.com:18443 POST /five HTTP/1.1 {"machine":"example-5"} -> {"answer":"/five"}"#,
                r#"http://tunnel.example.com:443 CONNECT tunnel.example.com:443 HTTP/1.1  -> "#,
                r#"https://tunnel.example.com:443 POST /six HTTP/1.1 {"machine":"example-6"} -> {"answer":"/six"}"#,
                r#"http://plain.example.com:80 POST http://plain.example.com/seven HTTP/1.1 {"machine":"example-7"} -> {"answer":"/seven"}"#,
            ],
            "{damages:?}"
        );
        assert_eq!(damages, []);
        assert!(all.iter().all(|one| one.started.is_some() && one.request.body_state == BodyState::Whole));
        assert_eq!(all[2].request.field("cookie"), Some(&b"a=1"[..]));
    }
    mutated(&recorded(), Format::Pcap);
}

/// Without keys, or in a build without ciphers.
#[test]
fn encrypted_connections_that_cannot_be_opened_are_named() {
    let mut file = recorded().to_vec();
    // No label is any longer one.
    for at in memchr::memmem::find_iter(&file.clone(), b"_SECRET")
        .chain(memchr::memmem::find_iter(&file.clone(), b"CLIENT_RANDOM"))
    {
        file[at] = b'x';
    }
    let (all, damages) = read_all(&file.into());
    assert_eq!(
        all.iter().map(|one| one.host.as_str()).collect::<Vec<_>>(),
        ["tunnel.example.com", "plain.example.com"]
    );
    assert_eq!(damages.len(), 5);
    for damage in damages {
        assert!(damage.lost && damage.reason.starts_with("an encrypted connection is not read: "), "{damage}");
        assert!(damage.reason.ends_with(".example.com)"), "{damage}");
    }
}

/// What a browser exported of the page of `tests/captures/page.py`.
fn recorded_by(browser: &str) -> (Bytes, Vec<Exchange>, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let file = Bytes::from(fs::read(folder.join(browser)).unwrap());
    let (all, damages) = read_all(&file);
    let said = damages.into_iter().map(|damage| format!("{}: {}", damage.lost, damage.reason)).collect();
    assert_eq!(text(&sent(&all, "/json").body), r#"{"name":"Grüße","n":1}"#);
    assert_eq!(sent(&all, "/json").field("x-device"), Some(&b"example-1"[..]));
    assert_eq!(text(&sent(&all, "/form").body), "a=b+c&d=%26%3D");
    assert_eq!(&sent(&all, "/binary").body[..], [0, 1, 128, 255, 200, 65]);
    assert_eq!(sent(&all, "/query?tz=Europe%2FBerlin&x=1").body.len(), 0);
    assert!(all.iter().all(|one| one.request.body_state == BodyState::Whole && one.started.is_some()));
    // Written again it is the same, but for the white space around entries.
    let again = har::write(&all, &har::around(&file));
    let values: [serde_json::Value; 2] = [&file[..], &again].map(|file| serde_json::from_slice(file).unwrap());
    assert_eq!(values[0], values[1]);
    mutated(&file, Format::Har);
    (file, all, said)
}

fn sent<'a>(all: &'a [Exchange], target: &str) -> &'a divulge::session::flow::Message {
    let found = all.iter().find(|one| one.request().unwrap().head.target() == target);
    &found.unwrap_or_else(|| panic!("no {target}")).request
}

#[test]
fn an_archive_of_firefox_gives_the_bytes_that_were_sent() {
    let (_, all, said) = recorded_by("firefox.har");
    assert!(all.iter().all(|one| !one.secure && one.port == 18090));
    // With a byte that is no text in it, each is written as a character.
    let parts = &sent(&all, "/multipart").body;
    assert_eq!((parts.len(), memchr::memmem::find(parts, &[0, 255, 1]).is_some()), (329, true));
    let zipped = sent(&all, "/gzip");
    assert_eq!((zipped.field("content-encoding"), zipped.body.len()), (Some(&b"gzip"[..]), 35));
    assert_eq!(&zipped.body[..2], b"\x1f\x8b");
    assert_eq!(said[..3], ["false: the bytes of its body were written as one character each"; 3]);
    assert_eq!(said[3..], ["true: the messages of a WebSocket are not in the file"]);
}

#[test]
fn an_archive_of_chromium_gives_what_it_holds_and_says_what_it_changed() {
    let (_, all, said) = recorded_by("chromium.har");
    assert!(all.iter().all(|one| one.secure && one.port == 18444 && one.host == "127.0.0.1"));
    let head = text(&sent(&all, "/json").head);
    assert!(head.starts_with("POST /json HTTP/1.1\r\nhost: 127.0.0.1:18444\r\n"), "{head}");
    // Chromium undoes the coding of requests too.
    let zipped = sent(&all, "/gzip");
    assert_eq!((zipped.field("content-encoding"), zipped.field("content-length")), (None, Some(&b"15"[..])));
    assert_eq!(text(&zipped.body), r#"{"zipped":true}"#);
    let socket = all.iter().find(|one| !one.messages.is_empty()).unwrap();
    let told: Vec<(bool, bool, String)> =
        socket.messages.iter().map(|one| (one.from_client, one.text, one.data.escape_ascii().to_string())).collect();
    assert_eq!(
        told,
        [
            (true, true, r#"{\"machine\":\"example-1\"}"#.to_owned()),
            (true, false, "\\x00\\xff".to_owned()),
            (false, false, "\\x00\\xff\\x01".to_owned())
        ]
    );
    assert_eq!(
        said,
        [
            "true: bytes of its body that are no text were replaced by the program that captured it",
            "false: the bytes of its body were written as one character each",
        ]
    );
}

/// Words of a text that no two turns share.
fn prose(length: usize, seed: &mut u64) -> String {
    const WORDS: [&str; 16] = [
        "let", "the", "request", "fn", "header", "value", "of", "return", "match", "body", "session", "file", "if",
        "self", "bytes", "line",
    ];
    let mut out = String::with_capacity(length + 16);
    while out.len() < length {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.push_str(WORDS[(*seed >> 60) as usize]);
        out.push_str(&format!("{:x} ", (*seed >> 40) & 0xffff));
    }
    out
}

/// An agent at work: each turn sends the whole conversation again, and what a tool said since.
fn agent(turns: usize) -> Vec<Exchange> {
    use divulge::session::flow::Message;
    let mut seed = 1;
    let system = prose(60_000, &mut seed);
    let mut messages: Vec<serde_json::Value> = Vec::new();
    let mut all = Vec::new();
    for turn in 0..turns {
        messages.push(serde_json::json!({"role": "user", "content": prose(4000, &mut seed)}));
        let body = serde_json::json!({"model": "m-1", "system": system, "messages": messages}).to_string();
        let said = prose(1500, &mut seed);
        messages.push(serde_json::json!({"role": "assistant", "content": said}));
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        all.push(Exchange {
            id: format!("{turn:06}"),
            started: Some(1_764_201_600_000 + turn as u64 * 20_000),
            ended: Some(1_764_201_610_000 + turn as u64 * 20_000),
            host: "api.example.com".into(),
            port: 443,
            secure: true,
            request: Message { head: head.into(), body: body.into(), ..Message::default() },
            response: Some(Message {
                head: answer.into(),
                body: format!("data: {said}\n\n").into(),
                ..Message::default()
            }),
            ..Exchange::default()
        });
    }
    all
}

fn session_of(exchanges: &[Exchange]) -> Vec<u8> {
    use divulge::session::store::{About, SessionWriter};
    let (mut writer, mut file) = SessionWriter::begin(&About { bodies: "full".into(), ..About::default() });
    for exchange in exchanges {
        file.extend(writer.request(exchange));
        file.extend(writer.end(exchange));
    }
    file
}

#[test]
fn an_agent_of_fifty_turns_costs_about_its_last_turn() {
    let turns = agent(50);
    let session = session_of(&turns).len();
    let last = session_of(&turns[49..]).len();
    let sent: usize = turns.iter().map(|turn| turn.request.body.len()).sum();
    println!("50 turns: {sent} bytes sent, session {session} bytes, its last turn alone {last}");
    // Beside what is said anew there is what was answered, and a record or two a turn.
    assert!(session < last * 3 / 2 + 50 * 1500, "{session} bytes, the last turn alone {last}");
    assert!(session * 40 < sent, "{session} bytes for {sent}");

    let Some(python) = mitmproxy("11.0.2") else { return };
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("agent.har");
    let mut text = Vec::new();
    let mut writer = divulge::session::har::Writer::begin(&divulge::session::har::Around::default(), &mut text);
    turns.iter().for_each(|turn| writer.put(turn, &mut text));
    writer.end(&mut text);
    fs::write(&archive, &text).unwrap();
    run(&python, "from_har.py", &archive, folder.path());
    let flows = fs::read(folder.path().join("agent.har.mitm")).unwrap();
    let (all, _) = read_all(&flows.clone().into());
    assert_eq!(all.len(), 50, "mitmproxy has them all");
    println!("mitmproxy's flow file of the same: {} bytes, {} times as much", flows.len(), flows.len() / session);
    assert!(flows.len() > session * 20, "{} bytes", flows.len());
}

/// `divulge diff` of two files: its exit status and what it says.
#[cfg(feature = "proxy")]
fn diff(folder: &Path, files: [&str; 2]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_divulge"));
    command.env_clear().env("HOME", folder).current_dir(folder).args(["diff", "--fail-on=new", "--color=never"]);
    let output = command.args(files).output().unwrap();
    (output.status.code(), text(&output.stdout))
}

#[cfg(feature = "proxy")]
#[test]
fn files_of_different_programs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (all, _) = read_all(&recorded());
    fs::write(path.join("a.pcapng"), recorded()).unwrap();
    let archive = text(&har::write(&all, &har::Around::default()));
    fs::write(path.join("same.har"), &archive).unwrap();
    let (code, said) = diff(path, ["a.pcapng", "same.har"]);
    assert_eq!((code, said.trim()), (Some(0), "8 requests the same, noise aside"));

    // One value more in one request of the archive.
    let more = r#"{\"machine\":\"example-2\",\"zone\":\"Asia/Tokyo\"}"#;
    let changed = archive.replace(r#"{\"machine\":\"example-2\"}"#, more);
    assert_ne!(archive, changed);
    fs::write(path.join("more.har"), changed).unwrap();
    let (code, said) = diff(path, ["a.pcapng", "more.har"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/zone") && said.contains("Asia/Tokyo") && said.contains("7 requests the same"), "{said}");

    let Some(python) = mitmproxy("12.3.1") else { return };
    let (flows, archive) = written_by(&python);
    fs::write(path.join("flows.mitm"), flows).unwrap();
    fs::write(path.join("flows.har"), archive).unwrap();
    // What mitmproxy's archive leaves out: the coding of a body, and the flow without one.
    let (_, said) = diff(path, ["flows.mitm", "flows.har"]);
    assert!(said.contains("content-encoding") && !said.contains("x-a"), "{said}");
    assert_eq!(diff(path, ["flows.mitm", "flows.mitm"]).0, Some(0));
}

//! Sessions larger than memory are inspected in little of it.
//!
//! `DIVULGE_SESSION_MIB=2048 cargo test --release --test inspect_memory -- --nocapture` measures a session of 2 GiB.
#![cfg(all(feature = "proxy", target_os = "linux"))]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use divulge::session::flow::{Exchange, Message};
use divulge::session::store::{About, SessionWriter};

/// Without the variable: enough that a session held in memory would be seen.
const SHORT_MIB: u64 = 32;
/// What may be used for 2 GiB, and for the short one: not as much as if it were held.
const MOST_MIB: u64 = 200;
const SHORT_MOST_MIB: u64 = 125;
const MACHINE: &str = "zephyr-7f3a.example.com";

/// Text that hardly compresses.
struct Noise(u64);

impl Noise {
    fn text(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789  ";
        let mut out = String::with_capacity(length + 10);
        while out.len() < length {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = self.0 >> 10;
            out.extend((0..9).map(|at| char::from(LETTERS[(bits >> (6 * at)) as usize & 63])));
        }
        out.truncate(length);
        out
    }
}

/// Turns of agents, each with files that it read: how many flows make a session of `mib`. Where it is `short` most of it is in the
/// answers, since a debug build takes its time over requests.
fn generate(path: &Path, mib: u64, short: bool) -> usize {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let about = About { session: "big".into(), bodies: "full".into(), policy: "audit".into(), ..About::default() };
    let (mut writer, first) = SessionWriter::begin(&about);
    file.write_all(&first).unwrap();
    let mut noise = Noise(mib);
    let (mut written, mut flows) = (first.len() as u64, 0);
    while written < mib << 20 {
        flows += 1;
        // One in sixteen is long: the size of a body must not count by the number of threads and of results.
        let (asked, answered) = match (short, flows % 16) {
            (true, _) => (25_000, 480_000),
            (false, 0) => (3 << 20, 2000),
            (false, _) => (180_000, 2000),
        };
        let body = format!(
            r#"{{"model":"m-1","messages":[{{"role":"user","content":"on {MACHINE}: {}"}}]}}"#,
            noise.text(asked)
        );
        let head =
            format!("POST /v1/messages HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {}\r\n\r\n", body.len());
        let exchange = Exchange {
            id: format!("{flows:06}"),
            started: Some(flows as u64),
            host: "api.example.com".into(),
            port: 443,
            secure: true,
            request: Message { head: head.into(), body: body.into(), ..Message::default() },
            response: Some(Message {
                head: "HTTP/1.1 200 OK\r\n\r\n".into(),
                body: noise.text(answered).into(),
                ..Message::default()
            }),
            ..Exchange::default()
        };
        for bytes in [writer.request(&exchange), writer.end(&exchange)] {
            file.write_all(&bytes).unwrap();
            written += bytes.len() as u64;
        }
    }
    file.flush().unwrap();
    flows
}

#[test]
fn a_large_session_is_inspected_in_little_memory() {
    let asked = std::env::var("DIVULGE_SESSION_MIB").ok().and_then(|text| text.parse().ok());
    let mib = asked.unwrap_or(SHORT_MIB);
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("big.session");
    let flows = generate(&session, mib, asked.is_none());
    std::fs::write(folder.path().join("facts.json"), format!(r#"[{{"kind":"host.fqdn","value":"{MACHINE}"}}]"#))
        .unwrap();

    let began = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_divulge"))
        .env_clear()
        .env("HOME", folder.path())
        .args(["inspect", "--policy=strict", "--findings=-", "--facts=facts.json", "--state=state", "big.session"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let found = lines.lines().filter(|line| line.contains("\"kind\":\"host.fqdn\",\"location\"")).count();
    assert_eq!(found, flows);

    // Of all children that have ended: there was one.
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    let peak = usage.max_rss() as u64 / 1024;
    println!("{mib} MiB, {flows} flows: {:.1} s, {peak} MiB at most", began.elapsed().as_secs_f64());
    let most = if asked.is_some() { MOST_MIB } else { SHORT_MOST_MIB };
    assert!(peak < most, "{peak} MiB were used for a session of {mib} MiB");
}

//! Commands that are exported are run by a real shell and a real curl: what arrives is what was captured, and nothing else
//! happens.
#![cfg(unix)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use divulge::session::curl::curl;
use divulge::session::flow::{Exchange, Message};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// A request as it arrived.
#[derive(Debug, PartialEq)]
struct Arrived {
    line: Vec<u8>,
    /// Sorted, names in lower case; without what counts the body.
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

/// Reads one request from the next connection, answers it, and gives it.
fn receive(listener: &TcpListener) -> Arrived {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 65536];
    let mut more = |bytes: &mut Vec<u8>| {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the request ends early: {}", String::from_utf8_lossy(bytes));
        bytes.extend_from_slice(&piece[..read]);
    };
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        more(&mut bytes);
    };
    let head = bytes[..end].to_vec();
    let mut lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = lines.next().unwrap().to_vec();
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = lines
        .map(|line| {
            let colon = line.iter().position(|&byte| byte == b':').unwrap();
            (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec())
        })
        .collect();
    let length = fields.iter().find(|(name, _)| name == b"content-length");
    let length: usize = length.map_or(0, |(_, value)| std::str::from_utf8(value).unwrap().parse().unwrap());
    while bytes.len() < end + 4 + length {
        more(&mut bytes);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    fields.retain(|(name, _)| name != b"content-length");
    fields.sort();
    Arrived { line, fields, body: bytes[end + 4..].to_vec() }
}

/// Runs the exported command in an emptied folder, and gives what arrived.
fn run(method: &str, target: &str, fields: &[(String, Vec<u8>)], body: &[u8]) -> (Arrived, Arrived) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n").into_bytes();
    for (name, value) in fields {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let request = Message { head: head.into(), body: body.to_vec().into(), ..Message::default() };
    let exchange = Exchange { host: "127.0.0.1".into(), port, request, ..Exchange::default() };
    let made = curl(&exchange).unwrap();
    assert_eq!(made.left_out, [""; 0]);
    assert!(made.command.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\n'));

    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    // What a command that reads the names of files as such would send.
    fs::write(inner.join("secret"), "secret").unwrap();
    let script = folder.path().join("script");
    fs::write(&script, &made.command).unwrap();
    let shell = std::thread::spawn({
        let inner = inner.clone();
        move || {
            let mut command = Command::new("bash");
            command.arg(script).current_dir(&inner).env_clear().env("HOME", &inner);
            command.env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap()
        }
    });
    let arrived = receive(&listener);
    let output = shell.join().unwrap();
    assert!(output.status.success(), "{}\n{}", made.command, String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> = fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"], "the command left something behind: {}", made.command);

    let mut wanted: Vec<(Vec<u8>, Vec<u8>)> = fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase().into_bytes(), value.trim_ascii().to_vec()))
        .chain([(b"host".to_vec(), format!("127.0.0.1:{port}").into_bytes())])
        .collect();
    wanted.sort();
    let line = format!("{method} {target} HTTP/1.1").into_bytes();
    (arrived, Arrived { line, fields: wanted, body: body.to_vec() })
}

fn field(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

#[test]
fn what_shells_and_curl_read_as_theirs_arrives_as_it_was() {
    let hostile = [
        "'; touch owned; '",
        "$(touch owned)",
        "`touch owned`",
        "\\'; touch owned #",
        "@secret",
        "-o owned",
        "--output owned",
        "!!",
        "a\tb",
        "%n%{http_code} [1-3] {a,b}",
        "<secret",
        "\"quoted\" \\n \\x41 \\101",
        "gr\u{fc}\u{df}e \u{202e}",
    ];
    for value in hostile {
        let target = format!("/v1/../x?q={}", value.replace([' ', '\t', '#'], "+").escape_default());
        let fields =
            [field("X-Value", value), field("Content-Type", value), field("X-Empty", ""), field("User-Agent", "t")];
        let (arrived, wanted) = run("POST", &target, &fields, value.as_bytes());
        assert_eq!(arrived, wanted, "{value}");
    }
}

#[test]
fn methods_targets_and_bodies_of_every_kind_arrive() {
    let binary: Vec<u8> = (0..=255).collect();
    let long = "0123456789abcdef\n'".repeat(20_000);
    for (method, target, body) in [
        ("GET", "/", &b""[..]),
        ("GET", "/with-a-body", b"{}"),
        ("DELETE", "//two/slashes", b""),
        ("OPTIONS", "*", b""),
        ("PO'ST", "/a/./b/../c", b"\n\n"),
        ("POST", "/binary", &binary),
        ("POST", "/binary", &binary[1..]),
        ("POST", "/long", long.as_bytes()),
        ("POST", "/long", &long.replace('0', "\0").into_bytes()),
        ("PUT", "/one|two^three", b"@secret"),
    ] {
        let (arrived, wanted) = run(method, target, &[], body);
        assert!(arrived == wanted, "{method} {target}: {:?}", (arrived.line, arrived.fields, arrived.body.len()));
    }
    // An empty body that was said to be one.
    let (arrived, _) = run("POST", "/", &[field("Content-Length", "0")], b"");
    assert_eq!((&arrived.line[..], arrived.fields.len()), (&b"POST / HTTP/1.1"[..], 1));
}

#[test]
fn any_value_arrives_as_it_was() {
    let byte =
        prop_oneof![3 => prop::sample::select(b"'\"\\$`!@-#&|;<>(){}[]*?~%^ \n\r\t\0=:,/".to_vec()), 1 => any::<u8>()];
    let bytes = |most| prop::collection::vec(byte.clone(), 0..most);
    let value = bytes(24).prop_map(|bytes| {
        let bytes: Vec<u8> =
            bytes.into_iter().filter(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f)).collect();
        bytes.trim_ascii().to_vec()
    });
    let target = bytes(24).prop_map(|bytes| {
        let bytes = bytes.into_iter().filter(|byte| (0x21..0x7f).contains(byte) && *byte != b'#');
        format!("/{}", bytes.map(char::from).collect::<String>())
    });
    let name = "[!#$%&'*+.^_`|~a-z-]{1,8}".prop_map(|name| format!("x{name}"));
    let fields = prop::collection::vec((name, value), 0..4);
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    runner
        .run(&("[A-Z!#$%&'*+.^_`|~-]{1,8}", target, fields, bytes(80)), |(method, target, fields, body)| {
            prop_assume!(method != "HEAD" && method != "CONNECT");
            let (arrived, wanted) = run(&method, &target, &fields, &body);
            if arrived != wanted {
                return Err(TestCaseError::fail(format!("{arrived:?} is not {wanted:?}")));
            }
            Ok(())
        })
        .unwrap();
}

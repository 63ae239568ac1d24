//! Real clients: curl, Python, Node and git, as people use them.

use std::time::Duration;

use crate::common::h2_upstream::Http2Upstream;
use crate::common::programs::{behind, node, program, python, succeed, undici};
use crate::common::upstream::{Served, ok};
use crate::common::websocket::{WebSocket, upgrade_answer};
use crate::common::{Authority, Divulge, Upstream, bounded, show, within};

const MACHINE: &str = "zephyr-7f3a.example.com";
const URL: &str = "https://api.example.com/v1/echo?a=1";

/// Longer than a test without an installation takes.
const INSTALL: Duration = Duration::from_secs(300);

async fn auditing(authority: &Authority, upstream: std::net::SocketAddr) -> Divulge {
    Divulge::serve().intercept("all").trusting(authority).to(upstream).facts(&[("host.fqdn", MACHINE)]).start().await
}

/// Answers each request with its method and body.
async fn echo(authority: &Authority) -> Upstream {
    Upstream::answering(authority, |seen| {
        let method = seen.start_line().split(' ').next().unwrap_or_default().to_owned();
        ok(&format!("{method} {}", String::from_utf8_lossy(&seen.body.data)))
    })
    .await
}

#[test]
fn curl_over_http1() {
    bounded(async {
        let authority = Authority::new();
        let upstream = echo(&authority).await;
        let divulge = auditing(&authority, upstream.address).await;
        let body = format!("{{\"host\":\"{MACHINE}\"}}");
        let ended = succeed(behind(&mut program("curl"), &divulge).args([
            "-sS",
            "--fail",
            "--http1.1",
            "-H",
            "Content-Type: application/json",
            "-H",
            "X-Odd;",
            "-d",
            &body,
            URL,
        ]))
        .await;
        assert_eq!(ended.out, format!("POST {body}"));
        assert!(show(&upstream.log.one().await.head).contains("\nX-Odd:\n"));
        divulge.finding_at("body!json:/host").await;
    });
}

#[test]
fn curl_with_an_expectation_and_an_upload_of_two_mib() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served: Served| async move {
            while let Some(head) = served.wire.head().await {
                if crate::common::wire::field(&head, "expect").is_some() {
                    served.wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
                }
                let body = served.wire.body(&head, true).await;
                served.wire.send(ok(&body.data.len().to_string())).await;
            }
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let file = divulge.folder.path().join("upload");
        std::fs::write(&file, vec![b'a'; 2 << 20]).unwrap();
        for way in [&["-T"][..], &["-H", "Transfer-Encoding: chunked", "-T"]] {
            let ended = succeed(
                behind(&mut program("curl"), &divulge)
                    .args(["-sS", "--fail", "--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "20"])
                    .args(way)
                    .arg(&file)
                    .arg(URL),
            )
            .await;
            assert_eq!(ended.out, (2 << 20).to_string(), "{way:?}");
        }
    });
}

#[test]
fn curl_over_http2() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            let seen = stream.read().await;
            stream.ok(&[("x-answer", "1")], &seen.body, None).await;
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let body = format!("{{\"host\":\"{MACHINE}\"}}");
        let ended = succeed(behind(&mut program("curl"), &divulge).args([
            "-sS",
            "--fail",
            "-w",
            " over %{http_version}",
            "-H",
            "Content-Type: application/json",
            "-d",
            &body,
            URL,
        ]))
        .await;
        assert_eq!(ended.out, format!("{body} over 2"));
        divulge.finding_at("body!json:/host").await;
    });
}

#[test]
fn curl_that_trusts_nobody_new_says_so_and_is_reported() {
    bounded(async {
        let authority = Authority::new();
        let upstream = echo(&authority).await;
        let divulge = auditing(&authority, upstream.address).await;
        let proxy = format!("http://{}", divulge.address);
        let ended = crate::common::programs::finish(program("curl").args(["-sS", "-x", &proxy, URL])).await;
        assert_eq!(ended.code, Some(60), "{}", ended.err);
        divulge.finding_of("audit.untrusted").await;
    });
}

#[test]
fn python_requests_and_httpx() {
    within(INSTALL, async {
        let python = python();
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served: Served| async move {
            while let Some(seen) = served.request().await {
                let answer = match seen.start_line().contains("/stream") {
                    true => "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n8\r\n\ndata: 2\r\n2\r\n\n\n\r\n0\r\n\r\n"
                        .as_bytes()
                        .to_vec(),
                    false => ok(&String::from_utf8_lossy(&seen.body.data)),
                };
                served.wire.send(answer).await;
            }
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let script = include_str!("programs/http1.py");
        let ended = succeed(behind(&mut program(&python), &divulge).args(["-c", script, MACHINE])).await;
        assert_eq!(ended.out.trim(), "fine", "{}", ended.err);
        divulge.finding_at("body!json:/requests").await;
        divulge.finding_at("body!json:/httpx").await;
    });
}

#[test]
fn python_httpx_over_http2() {
    within(INSTALL, async {
        let python = python();
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            let seen = stream.read().await;
            stream.ok(&[], &seen.body, None).await;
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let script = include_str!("programs/http2.py");
        let ended = succeed(behind(&mut program(&python), &divulge).args(["-c", script, MACHINE])).await;
        assert_eq!(ended.out.trim(), "fine", "{}", ended.err);
        divulge.finding_at("body!json:/httpx").await;
    });
}

#[test]
fn python_websockets_with_compression() {
    within(INSTALL, async {
        let python = python();
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &[], |mut served: Served| async move {
            let seen = served.request().await.unwrap();
            let offered = seen.field("sec-websocket-extensions").unwrap_or_default();
            assert!(offered.contains("permessage-deflate"), "{offered}");
            let key = seen.field("sec-websocket-key").unwrap();
            let answer = upgrade_answer(true).replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &accept(&key));
            served.wire.send(answer).await;
            let mut socket = WebSocket::new(served.wire, false, true);
            while let Some(text) = socket.message().await {
                socket.send(&text).await;
            }
            socket.send_frame(0x88, &[0x03, 0xe8]).await;
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let script = include_str!("programs/websocket.py");
        let ended = succeed(behind(&mut program(&python), &divulge).args(["-c", script, MACHINE])).await;
        assert_eq!(ended.out.trim(), "fine", "{}", ended.err);
        divulge.finding_at("ws:/1!json:/host").await;
    });
}

/// The digest of RFC 6455, section 4.2.2.
fn accept(key: &str) -> String {
    use base64::Engine;
    // SHA-1 is nowhere in the tree, and Python is there in this test.
    let script = format!(
        "import base64,hashlib;print(base64.b64encode(hashlib.sha1(b'{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest()).decode())"
    );
    assert!(base64::engine::general_purpose::STANDARD.decode(key).is_ok(), "a key is base64");
    let output = std::process::Command::new(python()).args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn node_fetch_with_proxy_variables() {
    within(INSTALL, async {
        let node = node();
        let authority = Authority::new();
        let upstream = echo(&authority).await;
        let divulge = auditing(&authority, upstream.address).await;
        let script = include_str!("programs/fetch.mjs");
        let ended =
            succeed(behind(&mut program(&node), &divulge).args(["--input-type=module", "-e", script, MACHINE])).await;
        assert_eq!(ended.out.trim(), format!("POST {{\"fetch\":\"{MACHINE}\"}}"), "{}", ended.err);
        divulge.finding_at("body!json:/fetch").await;
    });
}

#[test]
fn node_undici_with_a_proxy_agent() {
    within(INSTALL, async {
        let folder = undici();
        let authority = Authority::new();
        let upstream = echo(&authority).await;
        let divulge = auditing(&authority, upstream.address).await;
        let script = include_str!("programs/undici.mjs");
        let ended = succeed(
            behind(&mut program("node"), &divulge)
                .args(["--input-type=module", "-e", script, MACHINE])
                .current_dir(folder),
        )
        .await;
        assert_eq!(ended.out.trim(), format!("POST {{\"undici\":\"{MACHINE}\"}}"), "{}", ended.err);
        divulge.finding_at("body!json:/undici").await;
    });
}

#[test]
fn git_clones_and_pushes() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        for arguments in
            [&["init", "-q", "--bare", "repo.git"][..], &["-C", "repo.git", "config", "http.receivepack", "true"]]
        {
            succeed(program("git").args(arguments).current_dir(&root)).await;
        }
        let served = root.clone();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut connection: Served| {
            let root = served.clone();
            async move {
                while let Some(head) = connection.wire.head().await {
                    if crate::common::wire::field(&head, "expect").is_some() {
                        connection.wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
                    }
                    let body = connection.wire.body(&head, true).await;
                    let answer = backend(&root, &head, body.data).await;
                    connection.wire.send(answer).await;
                }
            }
        })
        .await;
        let divulge = auditing(&authority, upstream.address).await;
        let git = |arguments: &[&str]| {
            let mut command = program("git");
            behind(&mut command, &divulge)
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_TERMINAL_PROMPT", "0")
                .args(["-c", "user.name=Dev", "-c", "user.email=dev@example.com", "-c", "init.defaultBranch=main"])
                .args(arguments)
                .current_dir(&root);
            command
        };
        succeed(&mut git(&["init", "-q", "work"])).await;
        std::fs::write(root.join("work/file"), "x".repeat(1 << 20)).unwrap();
        succeed(&mut git(&["-C", "work", "add", "."])).await;
        succeed(&mut git(&["-C", "work", "commit", "-q", "-m", "first"])).await;
        succeed(&mut git(&["-C", "work", "push", "-q", "https://api.example.com/repo.git", "HEAD:refs/heads/main"]))
            .await;
        succeed(&mut git(&["clone", "-q", "-b", "main", "https://api.example.com/repo.git", "copy"])).await;
        assert_eq!(std::fs::read(root.join("copy/file")).unwrap().len(), 1 << 20);
    });
}

/// Git's own server program, asked as CGI (RFC 3875).
async fn backend(root: &std::path::Path, head: &[u8], body: Vec<u8>) -> Vec<u8> {
    use tokio::io::AsyncWriteExt;
    let line = crate::common::wire::start_line(head);
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let field = |name| crate::common::wire::field(head, name).unwrap_or_default();
    let mut child = program("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "dev")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", field("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", field("content-encoding"))
        .env("GIT_PROTOCOL", field("git-protocol"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("git is installed");
    let mut input = child.stdin.take().expect("piped");
    let feed = async move {
        let _ = input.write_all(&body).await;
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.expect("git http-backend ends").stdout;
    let split = memchr::memmem::find(&output, b"\r\n\r\n").expect("a CGI answer has a head");
    let fields = String::from_utf8_lossy(&output[..split]).into_owned();
    let status = fields.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let fields: Vec<&str> = fields.lines().filter(|line| !line.starts_with("Status:")).collect();
    let body = &output[split + 4..];
    let head = format!("HTTP/1.1 {status}\r\n{}\r\nContent-Length: {}\r\n\r\n", fields.join("\r\n"), body.len());
    [head.as_bytes(), body].concat()
}

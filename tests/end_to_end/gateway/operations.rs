//! What those who run a gateway see of it: reload, drain, health, metrics, the API, word with the service manager.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{MACHINE, curl, gateway, people, sized, statuses};
use crate::common::programs::{program, succeed};
use crate::common::upstream::{Served, Upstream, ok};
use crate::common::{Authority, Divulge, HOST, Route, bounded, figure, soon, within};

const ALLOWS: &str = "name = 'allows'\n[[rule]]\naction = 'log'\n";
const BLOCKS: &str = "name = 'blocks'\n[[rule]]\nkind = 'host.*'\naction = 'block'\n";

async fn answering(authority: &Authority) -> Upstream {
    Upstream::scripted(authority, &["http/1.1"], |mut served: Served| async move {
        while served.request().await.is_some() {
            served.wire.send(ok("{}")).await;
        }
    })
    .await
}

fn hang_up(divulge: &Divulge) {
    let pid = nix::unistd::Pid::from_raw(divulge.pid().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
}

/// Waits until what divulge has said holds `what` so many times.
async fn said(divulge: &Divulge, what: &str, times: usize) {
    soon(&format!("divulge to say {what:?} {times} times"), async {
        while divulge.errors().matches(what).count() < times {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn reloads_under_load_drop_nothing_and_a_bad_file_changes_nothing() {
    // Half of them find a broken file.
    let rounds = sized("DIVULGE_RELOADS", 20).div_ceil(2);
    within(Duration::from_secs(120), async {
        let authority = Authority::new();
        let upstream = answering(&authority).await;
        let divulge = gateway(&authority, upstream.address).policy(ALLOWS).start().await;
        let file = divulge.folder.path().join("policy.toml");
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (route, stop) = (Route::through(&divulge), stop.clone());
            clients.spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut client = route.http1().await;
                    for _ in 0..5 {
                        let body = format!("{{\"host\":\"{MACHINE}\"}}");
                        let length = body.len();
                        client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")).await;
                        let response = client.response().await;
                        assert_eq!(response.status, 200, "{}", response.text());
                        count += 1;
                    }
                }
                count
            });
        }
        for round in 1..=rounds {
            std::fs::write(&file, "name = 'broken'\n[[rule]]\nkind = [\n").unwrap();
            hang_up(&divulge);
            said(&divulge, "not reloaded", round).await;
            std::fs::write(&file, format!("{ALLOWS}# {round}\n")).unwrap();
            hang_up(&divulge);
            said(&divulge, "read again", round).await;
        }
        stop.store(true, Ordering::Relaxed);
        let mut requests = 0;
        while let Some(count) = clients.join_next().await {
            requests += count.expect("no request was dropped");
        }
        assert!(requests >= rounds, "there was no load: {requests} requests");
        figure(
            &format!(
                "{} reloads under load, half of the files broken: requests, of which none was dropped",
                rounds * 2
            ),
            requests,
        );
        let errors = divulge.errors();
        let told = errors.lines().find(|line| line.contains("not reloaded")).unwrap();
        assert!(told.contains("policy.toml") && told.contains('3'), "the place is not told: {told}");
    });
}

#[test]
fn a_changed_file_counts_without_a_signal() {
    bounded(async {
        let authority = Authority::new();
        let upstream = answering(&authority).await;
        let serve = gateway(&authority, upstream.address).policy(ALLOWS).file("--users", "users", people());
        let divulge = serve.start().await;
        let proxy = format!("http://ann:correct%20horse@{}", divulge.address);
        assert_eq!(statuses(&curl(&divulge.ca_file(), &["-x", &proxy]).await), "200 200");

        std::fs::write(divulge.folder.path().join("policy.toml"), BLOCKS).unwrap();
        said(&divulge, "read again", 1).await;
        assert_eq!(statuses(&curl(&divulge.ca_file(), &["-x", &proxy]).await), "200 403");

        std::fs::write(divulge.folder.path().join("users"), people().lines().nth(1).unwrap()).unwrap();
        said(&divulge, "read again", 2).await;
        assert_eq!(
            statuses(&curl(&divulge.ca_file(), &["-x", &proxy]).await),
            "407 000",
            "a user that was removed is let in"
        );
    });
}

#[test]
fn a_stream_under_way_ends_by_itself_after_a_signal_to_stop() {
    bounded(async {
        let authority = Authority::new();
        let (go, gone) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let waits = go.clone();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served: Served| {
            let (waits, gone) = (waits.clone(), gone.clone());
            async move {
                served.request().await;
                served.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none").await;
                waits.notified().await;
                served.wire.send("two").await;
                gone.notify_one();
                served.gone().await;
            }
        })
        .await;
        let mut divulge = gateway(&authority, upstream.address).arg("--drain=9").start().await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert!(client.until(b"one").await.is_some());
        let pid = nix::unistd::Pid::from_raw(divulge.pid().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        soon("the port to close", async { while tokio::net::TcpStream::connect(divulge.address).await.is_ok() {} })
            .await;
        go.notify_one();
        assert!(client.until(b"two").await.is_some(), "the stream was cut");
        drop(client);
        assert!(divulge.terminate().await.success(), "{}", divulge.errors());
    });
}

#[test]
fn a_stream_without_end_is_cut_when_the_time_to_drain_is_over() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served: Served| async move {
            served.request().await;
            served.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none").await;
            served.gone().await;
        })
        .await;
        let admin = free().to_string();
        let serve = gateway(&authority, upstream.address).arg("--drain=2").arg(format!("--admin={admin}"));
        let mut divulge = serve.start().await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert!(client.until(b"one").await.is_some());
        // The port for health goes on, and sends whoever balances elsewhere.
        let mut waiting = tokio::net::TcpStream::connect(&admin).await.unwrap();
        let pid = nix::unistd::Pid::from_raw(divulge.pid().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        soon("the port to close", async { while tokio::net::TcpStream::connect(divulge.address).await.is_ok() {} })
            .await;
        let asked = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut waiting, asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut waiting, &mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("draining\n"), "{answer}");
        assert!(soon("divulge to end", divulge.ended()).await.success(), "{}", divulge.errors());
        client.rest().await;
    });
}

/// curl to the admin port: the status, then the body.
async fn asked(address: &str, path: &str, arguments: &[&str]) -> (String, String) {
    let mut command = program("curl");
    command.args(["-sS", "--noproxy", "*", "--max-time", "8", "-w", "\n%{http_code}"]).args(arguments);
    let out = succeed(command.arg(format!("http://{address}{path}"))).await.out;
    let (body, status) = out.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// A free port that is not listened on.
fn free() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn the_admin_port_tells_how_it_goes_and_only_to_those_who_may_know() {
    bounded(async {
        let authority = Authority::new();
        let upstream = answering(&authority).await;
        let admin = free().to_string();
        let divulge = gateway(&authority, upstream.address)
            .file("--config", "config.toml", "[group.dev]\npolicy = 'strict'\n")
            .arg(format!("--admin={admin}"))
            .start()
            .await;
        let proxy = format!("http://{}", divulge.address);
        assert_eq!(statuses(&curl(&divulge.ca_file(), &["-x", &proxy]).await), "200 200");
        divulge.wait_for("the flow", |line| line["type"] == "flow").await;

        for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
            assert_eq!(asked(&admin, path, &[]).await, ("200".into(), body.into()));
        }
        let metrics = asked(&admin, "/metrics", &[]).await.1;
        for line in [
            "divulge_requests_total{result=\"forwarded\"} 1",
            "divulge_request_duration_seconds_count 1",
            "divulge_findings_total{kind=\"host.machine_id\",action=\"log\"} 1",
            "divulge_tls_handshake_duration_seconds_count{side=\"client\"} 1",
            "divulge_tls_handshake_duration_seconds_count{side=\"upstream\"} 1",
            "divulge_active_tunnels 0",
            "divulge_unread_bytes_total 0",
            "divulge_capture_dropped_total 0",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} is not among\n{metrics}");
        }

        let build = concat!("divulge_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",");
        assert!(metrics.contains(build), "{metrics}");

        let token = std::fs::read_to_string(divulge.state().join("admin-token")).unwrap();
        let right = format!("Authorization: Bearer {}", token.trim());
        let pages: Value = serde_json::from_str(&asked(&admin, "/openapi.json", &[]).await.1).unwrap();
        for (path, page) in pages["paths"].as_object().unwrap() {
            let (status, body) = asked(&admin, path, &["-H", &right]).await;
            assert_eq!(status, "200", "{path}: {body}");
            let closed = page["get"].get("security").is_some();
            for wrong in [&[][..], &["-H", "Authorization: Bearer 0"]] {
                assert_eq!(
                    asked(&admin, path, wrong).await.0,
                    if closed { "401" } else { "200" },
                    "{path} with {wrong:?}"
                );
            }
            for foreign in ["Host: evil.example.com", "Origin: http://evil.example.com"] {
                assert_eq!(asked(&admin, path, &["-H", &right, "-H", foreign]).await.0, "421", "{path} with {foreign}");
            }
        }
        let json = async |path: &str| -> Value {
            serde_json::from_str(&asked(&admin, path, &["-H", &right]).await.1).unwrap()
        };
        let findings = json("/api/v1/findings?kind=host.machine_id").await;
        assert_eq!(findings["findings"].as_array().unwrap().len(), 1, "{findings}");
        assert!(!findings.to_string().contains(MACHINE), "{findings}");
        assert_eq!(json("/api/v1/flows?verdict=edited").await["flows"], Value::Array(vec![]));
        assert_eq!(json("/api/v1/policy").await["groups"][0]["policy"], "strict");
        assert_eq!(asked(&admin, "/api/v1/flows?limit=0", &["-H", &right]).await.0, "400");

        // Not through the proxy, whatever it is called there.
        let through = ["-x", &proxy, "--noproxy", ""];
        assert_eq!(asked(&admin, "/healthz", &through).await.0, "502");
        let port = admin.rsplit_once(':').unwrap().1;
        assert_eq!(asked(&format!("localhost:{port}"), "/healthz", &through).await.0, "502");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_service_manager_is_told_and_may_open_the_port() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
        let named: &'static str = Box::leak(path.display().to_string().into_boxed_str());
        let mut divulge = Divulge::serve().variable("NOTIFY_SOCKET", named).start().await;
        let next = async || {
            let mut buffer = [0; 256];
            let read = soon("word from divulge", socket.recv(&mut buffer)).await.unwrap();
            String::from_utf8_lossy(&buffer[..read]).into_owned()
        };
        assert_eq!(next().await, "READY=1");
        hang_up(&divulge);
        assert!(next().await.starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(next().await, "READY=1");
        divulge.terminate().await;
        assert_eq!(next().await, "STOPPING=1");

        // As systemd would: descriptor 3, and whose it is.
        let python = "import os,socket,sys\ns=socket.socket()\ns.bind(('127.0.0.1',0))\ns.listen()\nos.dup2(s.fileno(),3)\nos.set_inheritable(3,True)\n\
            os.environ.update(LISTEN_FDS='1',LISTEN_PID=str(os.getpid()))\nos.execv(sys.argv[1],sys.argv[1:])";
        let state = folder.path().join("state");
        let mut command = program("python3");
        command.args(["-c", python, crate::common::divulge::BINARY, "serve", "--listen=192.0.2.1:1"]);
        let mut child = command
            .arg(format!("--state={}", Path::new(&state).display()))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        use tokio::io::AsyncBufReadExt;
        let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon("the address", lines.next_line()).await.unwrap().unwrap();
        let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        tokio::net::TcpStream::connect(address).await.expect("the port that was handed over is served");
    });
}

//! Sessions that `--record` keeps: complete, masked, sound whatever ends the process, and audited alike afterwards.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common::divulge::BINARY;
use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::websocket::{WebSocket, upgrade_answer, upgrade_request};
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded, soon, within};

const MACHINE: &str = "zephyr-7f3a.example.com";
const FACTS: &[(&str, &str)] = &[("host.fqdn", MACHINE), ("user.name", "kanarienvogel")];

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn recording(authority: &Authority, upstream: std::net::SocketAddr, arguments: &[&str]) -> Divulge {
    let mut serve = Divulge::serve().intercept("all").trusting(authority).to(upstream).facts(FACTS);
    let file = serve.beside("traffic.session");
    serve = serve.arg(format!("--record={}", file.display()));
    for argument in arguments {
        serve = serve.arg(*argument);
    }
    serve.start().await
}

fn session(divulge: &Divulge) -> std::path::PathBuf {
    divulge.folder.path().join("traffic.session")
}

fn inspect(divulge: &Divulge, arguments: &[&str], file: &Path) -> Output {
    Command::new(BINARY)
        .env_clear()
        .env("HOME", divulge.folder.path())
        .arg("inspect")
        .arg("--state")
        .arg(divulge.state())
        .arg("--facts")
        .arg(divulge.folder.path().join("facts.json"))
        .args(arguments)
        .arg(file)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Findings and flows without what differs from run to run.
fn comparable(lines: impl Iterator<Item = Value>) -> Vec<String> {
    let mut out: Vec<String> = lines
        .map(|mut line| {
            for name in ["time", "session", "restored"] {
                line[name] = Value::Null;
            }
            line.to_string()
        })
        .collect();
    out.sort();
    out
}

#[test]
fn a_session_is_audited_offline_as_it_was_live() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = recording(&authority, upstream.address, &["--record-bodies=full", "--policy=strict"]).await;
        let mut client = Route::through(&divulge).http1().await;
        for turn in 0..4 {
            let body = json!({"messages": [{"role": "user", "content": format!("{turn} on {MACHINE}")}], "n": 1.0})
                .to_string();
            client.send(post("/v1/messages", &body)).await;
            assert_eq!(client.response().await.status, 200);
        }
        client.send(format!("GET /v1/x?host={MACHINE} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(client.response().await.status, 200);
        drop(client);
        assert!(divulge.terminate().await.success());
        let live = comparable(divulge.lines().into_iter());
        assert!(live.len() >= 10, "{live:?}");

        let file = session(&divulge);
        let output = inspect(&divulge, &["--policy=strict", "--findings=-"], &file);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let offline = comparable(text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()));
        let unlike = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|line| !other.contains(line)).cloned().collect()
        };
        assert_eq!(unlike(&offline, &live), unlike(&live, &offline));

        let output = inspect(&divulge, &["--verify"], &file);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).contains("5 certificates hold, 0 do not"), "{}", text(&output.stdout));

        let output = inspect(&divulge, &["--policy=audit", "--diff"], &file);
        let shown = text(&output.stdout);
        assert!(shown.contains("strict -> audit\n  recorded  5 edited\n  would be  5 forwarded\n"), "{shown}");
        let row = shown.lines().find(|line| line.contains("  host.fqdn  ")).unwrap_or_else(|| panic!("{shown}"));
        assert!(row.contains("  pseudonym  log  ") || row.contains("  redact  log  "), "{row}");
        let output = inspect(&divulge, &["--policy=strict", "--diff"], &file);
        let shown = text(&output.stdout);
        assert!(shown.contains("[-") && shown.ends_with("nothing would be decided otherwise\n"), "{shown}");
        assert!(!shown.contains(MACHINE), "{shown}");

        let emitted = divulge.folder.path().join("out");
        let emit = format!("--emit={}", emitted.display());
        assert!(inspect(&divulge, &["--policy=audit", &emit], &file).status.success());
        let first = std::fs::read_to_string(emitted.join("000001.http")).unwrap();
        assert!(first.starts_with("POST /v1/messages HTTP/1.1\r\n") && first.contains(MACHINE), "{first}");
    });
}

#[test]
fn a_masked_session_holds_no_value_and_finds_it_all_the_same() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |_| {
            let body = format!("{{\"said\":\"hello {MACHINE}\"}}");
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-From: {MACHINE}\r\n\r\n{body}", body.len())
                .into_bytes()
        })
        .await;
        let mut divulge = recording(&authority, upstream.address, &[]).await;
        let mut client = Route::through(&divulge).http1().await;
        let body = json!({"host": MACHINE, "who": {"user_name": "kanarienvogel"}, "kept": "structure"}).to_string();
        client.send(post("/v1/x", &body)).await;
        assert!(client.response().await.text().contains(MACHINE));
        drop(client);
        assert!(divulge.terminate().await.success());

        let file = session(&divulge);
        let mut reader = divulge::session::store::SessionReader::open(std::fs::File::open(&file).unwrap()).unwrap();
        assert_eq!(reader.scan.about.bodies, "masked");
        let (exchange, damages) = reader.exchange(0).unwrap();
        assert_eq!(damages, []);
        let all = format!("{exchange:?}");
        assert!(!all.contains(MACHINE) && !all.contains("kanarienvogel"), "{all}");
        let sent: Value = serde_json::from_slice(&exchange.request.body).unwrap();
        assert_eq!(sent["kept"], "structure", "{sent}");
        let response = exchange.response.unwrap();
        let answered: Value = serde_json::from_slice(&response.body).unwrap();
        assert!(answered["said"].as_str().unwrap().starts_with("hello "), "{answered}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }

        let output = Command::new(BINARY)
            .env_clear()
            .env("HOME", divulge.folder.path())
            .arg("inspect")
            .arg(&file)
            .output()
            .unwrap();
        let table = text(&output.stdout);
        assert!(output.status.success() && table.contains("host.fqdn") && table.contains("recorded masked"), "{table}");
        let output = inspect(&divulge, &["--policy=strict"], &file);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("recorded with bodies masked"), "{}", text(&output.stderr));

        let output = inspect(&divulge, &["--find", MACHINE], &file);
        assert!(text(&output.stdout).contains("host.fqdn  body!json:/host"), "{}", text(&output.stdout));
        let output = inspect(&divulge, &["--find", "another.example.com"], &file);
        assert!(text(&output.stdout).starts_with("0 findings"), "{}", text(&output.stdout));

        let output = inspect(&divulge, &["--erase", "000001"], &file);
        assert!(output.status.success() && text(&output.stdout).contains("1 flows erased"), "{}", text(&output.stdout));
        let output = inspect(&divulge, &["--verify"], &file);
        assert!(output.status.success() && text(&output.stdout).contains("erased"), "{}", text(&output.stdout));
        let output = inspect(&divulge, &["--find", MACHINE], &file);
        assert!(text(&output.stdout).starts_with("0 findings"), "{}", text(&output.stdout));
    });
}

#[test]
fn nothing_but_digests_is_kept_where_that_is_wished() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = recording(&authority, upstream.address, &["--record-bodies=none"]).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(post("/v1/x", r#"{"secret":"of the body"}"#)).await;
        client.response().await;
        drop(client);
        assert!(divulge.terminate().await.success());
        let mut reader =
            divulge::session::store::SessionReader::open(std::fs::File::open(session(&divulge)).unwrap()).unwrap();
        let (exchange, _) = reader.exchange(0).unwrap();
        let divulge::session::flow::BodyState::Omitted { length, .. } = exchange.request.body_state else {
            panic!("{exchange:?}")
        };
        assert_eq!((length, exchange.request.body.len()), (24, 0));
        assert!(!exchange.lines.is_empty() || exchange.response.is_some());
    });
}

#[test]
fn messages_and_streams_of_http2_are_recorded() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &[], |mut served| async move {
            served.request().await;
            served.wire.send(upgrade_answer(true)).await;
            let mut socket = WebSocket::new(served.wire, false, true);
            while let Some(text) = socket.message().await {
                socket.send(&format!("heard {text}")).await;
            }
        })
        .await;
        let mut divulge = recording(&authority, upstream.address, &["--record-bodies=full"]).await;
        let mut wire = Route::through(&divulge).tls(&[]).await;
        wire.send(upgrade_request("/v1/responses", true)).await;
        soon("the answer to the upgrade", wire.head()).await.unwrap();
        let mut socket = WebSocket::new(wire, true, true);
        for n in 0..3 {
            socket.send(&format!("message {n}")).await;
            assert_eq!(soon("an answer", socket.message()).await, Some(format!("heard message {n}")));
        }
        drop(socket);
        assert!(divulge.terminate().await.success());
        let mut reader =
            divulge::session::store::SessionReader::open(std::fs::File::open(session(&divulge)).unwrap()).unwrap();
        let (exchange, _) = reader.exchange(0).unwrap();
        let said: Vec<(bool, String)> =
            exchange.messages.iter().map(|message| (message.from_client, text(&message.data))).collect();
        assert_eq!(said.len(), 6, "{said:?}");
        assert_eq!(said[0], (true, "message 0".to_owned()));
        assert!(said.contains(&(false, "heard message 2".to_owned())), "{said:?}");

        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            stream.read().await;
            stream.ok(&[("content-type", "application/json")], b"{\"a\":1}", None).await;
        })
        .await;
        let mut divulge = recording(&authority, upstream.address, &["--record-bodies=full"]).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let answer =
            client.exchange(request("POST", "/v1/x", &[("content-type", "application/json")]), Some(b"{}"), None).await;
        assert_eq!(answer.status, 200);
        drop(client);
        assert!(divulge.terminate().await.success());
        let mut reader =
            divulge::session::store::SessionReader::open(std::fs::File::open(session(&divulge)).unwrap()).unwrap();
        let (exchange, _) = reader.exchange(0).unwrap();
        assert_eq!((&exchange.request.body[..], &exchange.response.unwrap().body[..]), (&b"{}"[..], &b"{\"a\":1}"[..]));
    });
}

#[test]
fn a_session_is_sent_again_and_answers_a_client() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |seen| {
            let body = format!("{{\"answer\":\"to {}\"}}", text(&seen.body.data).replace('"', "'"));
            format!(
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        })
        .await;
        let mut divulge = recording(&authority, upstream.address, &["--record-bodies=full"]).await;
        let mut client = Route::through(&divulge).http1().await;
        let mut answers = Vec::new();
        for n in 0..3 {
            client.send(post("/v1/x?a=b", &format!("{{\"n\":\"number {n} of {MACHINE}\"}}"))).await;
            answers.push(client.response().await.text());
        }
        drop(client);
        assert!(divulge.terminate().await.success());
        let file = session(&divulge);

        // Sent again to the upstream that is named, edited by a policy: the same requests, without the value.
        let before = upstream.log.requests().len();
        let to = format!("--to=https://{HOST}");
        let route = format!("--connect-to=::{}:{}", upstream.address.ip(), upstream.address.port());
        let ca = format!("--upstream-ca={}", authority.file().display());
        let facts = format!("--facts={}", divulge.folder.path().join("facts.json").display());
        let replay = |arguments: &[&str]| {
            Command::new(BINARY)
                .env_clear()
                .env("HOME", divulge.folder.path())
                .arg("replay")
                .arg("--state")
                .arg(divulge.state())
                .args(arguments)
                .arg(&file)
                .output()
                .unwrap()
        };
        let output = replay(&[&to, &route, &ca, "--policy=strict", &facts]);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(
            text(&output.stdout).contains("000003") && text(&output.stdout).contains("201"),
            "{}",
            text(&output.stdout)
        );
        let again = upstream.log.requests()[before..].to_vec();
        assert_eq!(again.len(), 3);
        for (n, seen) in again.iter().enumerate() {
            assert_eq!(seen.start_line(), "POST /v1/x?a=b HTTP/1.1");
            let body = text(&seen.body.data);
            assert!(body.contains(&format!("number {n} of ")) && !body.contains(MACHINE), "{body}");
        }
        let output = replay(&[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("name where to"), "{}", text(&output.stderr));
        let output = replay(&["--offline"]);
        assert!(output.status.success(), "{}", text(&output.stderr));

        // Answers a client, in another order than it asked then.
        let serve = Divulge::serve();
        let serve = serve.replaying(&file).state(&divulge.state());
        let serving = serve.start().await;
        let mut client = Route::through(&serving).trusting(divulge.ca_file()).http1().await;
        for n in [2, 0, 1] {
            client.send(post("/v1/x?a=b", &format!("{{\"n\":\"number {n} of {MACHINE}\"}}"))).await;
            let answer = client.response().await;
            assert_eq!((answer.status, answer.text()), (201, answers[n].clone()));
        }
        client.send(post("/v1/never", "{}")).await;
        assert_eq!(client.response().await.status, 404);
        assert_eq!(upstream.log.requests().len(), before + 3, "nothing was sent anywhere");
    });
}

/// A client that asks until its connection breaks, and says what was answered whole.
async fn ask_on(route: Route, worker: usize) -> Vec<String> {
    let mut answered = Vec::new();
    let mut client = route.http1().await;
    for number in 0.. {
        let name = format!("{worker}-{number}");
        if !client.send(post(&format!("/v1/{name}"), "{}")).await {
            return answered;
        }
        let Some((_, head)) = client.response_head().await else { return answered };
        if !client.body(&head, false).await.complete {
            return answered;
        }
        answered.push(name);
    }
    answered
}

#[test]
fn no_kill_loses_what_was_answered_a_moment_before() {
    let rounds: usize = std::env::var("DIVULGE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    within(std::time::Duration::from_secs(30 + rounds as u64), async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut state: Option<std::path::PathBuf> = None;
        let mut expected: Vec<String> = Vec::new();
        let mut answered = 0;
        let keep = tempfile::tempdir().unwrap();
        let file = keep.path().join("kept.session");
        for round in 0..rounds {
            let mut serve = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .to(upstream.address)
                .facts(FACTS)
                .arg(format!("--record={}", file.display()));
            if let Some(state) = &state {
                serve = serve.state(state);
            }
            let divulge = serve.start().await;
            let ca = match &state {
                None => divulge.ca_file(),
                Some(state) => state.join("ca.pem"),
            };
            if state.is_none() {
                let kept = keep.path().join("state");
                std::fs::create_dir(&kept).unwrap();
                for entry in std::fs::read_dir(divulge.state()).unwrap().flatten() {
                    if entry.file_type().unwrap().is_file() {
                        std::fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
                    }
                }
                state = Some(kept);
            }
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let route = Route::through(&divulge).trusting(ca.clone());
                    tokio::spawn(ask_on(route, round * 10 + worker))
                })
                .collect();
            upstream.log.wait(upstream.log.requests().len() + 60).await;
            // On a busy machine the recorder is behind its traffic: something must be said to be kept.
            divulge.wait_for("a flow", |line| line["type"] == "flow").await;
            // The kill itself comes at no chosen moment.
            let pid = nix::unistd::Pid::from_raw(divulge.pid().cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            for worker in workers {
                answered += soon("a client to notice", worker).await.unwrap().len();
            }
            // A flow's line in the findings says that it is in the session.
            let said = std::fs::read_to_string(divulge.folder.path().join("findings.jsonl")).unwrap_or_default();
            let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let flows = lines.filter(|line| line["type"] == "flow");
            expected.extend(flows.filter_map(|line| Some(line["path"].as_str()?.rsplit('/').next()?.to_owned())));
            drop(divulge);
        }
        let mut reader = divulge::session::store::SessionReader::open(std::fs::File::open(&file).unwrap()).unwrap();
        let mut recorded = std::collections::HashSet::new();
        for index in 0..reader.len() {
            let (exchange, damages) = reader.exchange(index).unwrap();
            assert_eq!(damages, []);
            let line = text(&exchange.request.head);
            recorded.insert(line.split(['/', ' ']).nth(3).unwrap_or_default().to_owned());
        }
        let lost: Vec<&String> = expected.iter().filter(|name| !recorded.contains(*name)).collect();
        assert!(expected.len() >= rounds, "only {} of {answered} requests", expected.len());
        assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), expected.len());
    });
}

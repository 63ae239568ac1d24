//! What differs from group to group.

use std::path::Path;

use divulge::session::flow::{BodyState, Exchange};
use divulge::session::store::SessionReader;

use super::{MACHINE, curl, gateway, people, statuses};
use crate::common::divulge::run;
use crate::common::h2_client::{self, Http2};
use crate::common::h2_upstream::{Http2Upstream, Stream};
use crate::common::upstream::{Served, Upstream};
use crate::common::websocket::{WebSocket, upgrade_answer, upgrade_request};
use crate::common::wire::{field, status};
use crate::common::{Authority, Divulge, HOST, Route, Wire, bounded, soon};

#[test]
fn each_group_has_its_policy_its_hosts_and_its_limit() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let settings =
            "[group.dev]\npolicy = 'POLICY'\nrequests-per-minute = 2\n[group.ops]\nintercept = ['other.example.com']\n";
        let serve = gateway(&authority, upstream.address).file("--users", "users", people());
        let policy = serve.beside("block.toml");
        std::fs::write(&policy, "name = 'block'\n[[rule]]\nkind = 'host.*'\naction = 'block'\n").unwrap();
        let settings = settings.replace("POLICY", &policy.display().to_string());
        let divulge = serve.file("--config", "config.toml", settings).start().await;

        let proxy = format!("http://ann:correct%20horse@{}", divulge.address);
        let blocked = curl(&divulge.ca_file(), &["-x", &proxy]).await;
        assert_eq!(statuses(&blocked), "200 403", "{}", blocked.out);
        let finding = divulge.wait_for("ann's machine", |line| line["kind"] == "host.machine_id").await;
        assert_eq!((&finding["group"], &finding["action"]), (&"dev".into(), &"block".into()));
        curl(&divulge.ca_file(), &["-x", &proxy]).await;
        let third = curl(&divulge.ca_file(), &["-x", &proxy, "-i"]).await;
        assert_eq!(statuses(&third), "200 429", "{}", third.out);
        assert!(third.out.to_ascii_lowercase().contains("retry-after: "), "{}", third.out);
        assert!(upstream.log.requests().is_empty(), "a blocked request left");

        // What ops does not have decrypted is a tunnel to the upstream itself, whose certificate the client then sees.
        let proxy = format!("http://bob:t0ken-of-bob@{}", divulge.address);
        let tunnelled = curl(&authority.file(), &["-x", &proxy]).await;
        assert_eq!(statuses(&tunnelled), "200 200", "{}", tunnelled.err);
        assert!(String::from_utf8_lossy(&upstream.log.one().await.body.data).contains(MACHINE));
    });
}

#[test]
fn a_policy_asks_for_the_group() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let rules = "name = 'by-group'\n[[rule]]\ngroup = 'dev'\nkind = 'host.*'\naction = 'block'\n";
        let divulge =
            gateway(&authority, upstream.address).file("--users", "users", people()).policy(rules).start().await;
        for (user, statuses_of) in [("ann:correct%20horse", "200 403"), ("bob:t0ken-of-bob", "200 200")] {
            let proxy = format!("http://{user}@{}", divulge.address);
            let ended = curl(&divulge.ca_file(), &["-x", &proxy]).await;
            assert_eq!(statuses(&ended), statuses_of, "{user}: {} {}", ended.out, ended.err);
        }
    });
}

#[test]
fn whoever_is_blocked_or_warned_is_told_why_and_by_which_reference_it_is_found() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        for (action, code) in [("block", "200 403"), ("warn", "200 200"), ("log", "200 200")] {
            let policy = format!("name = 'p'\n[[rule]]\nkind = 'host.*'\naction = '{action}'\n");
            let divulge = gateway(&authority, upstream.address).policy(&policy).start().await;
            let proxy = format!("http://{}", divulge.address);
            for version in ["--http1.1", "--http2"] {
                let answer = curl(&divulge.ca_file(), &["-x", &proxy, "-i", version]).await;
                assert_eq!(statuses(&answer), code, "{action} {version}: {}", answer.out);
                let field = |name: &str| {
                    let line = answer.out.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                    line.map(|value| value.trim().to_owned())
                };
                let reference = field("x-divulge-flow");
                assert_eq!(field("x-divulge-warn-pending"), None, "all was judged before it was answered");
                if action == "log" {
                    assert_eq!((reference, field("x-divulge-warn")), (None, None), "{}", answer.out);
                    continue;
                }
                let reference = reference.unwrap_or_else(|| panic!("no reference: {}", answer.out));
                let (session, flow) = reference.split_once('/').unwrap();
                let found = |line: &serde_json::Value| {
                    line["session"] == session && line["flow"] == flow && line["action"] == action
                };
                divulge.wait_for(&format!("{reference} with {action}"), found).await;
                if action == "warn" {
                    assert_eq!(field("x-divulge-warn").as_deref(), Some("host.machine_id"), "{}", answer.out);
                } else {
                    // The sentence that an assistant shows.
                    let body = answer.out.lines().rev().nth(1).unwrap();
                    assert!(body.contains("host.machine_id") && body.contains(&reference), "{body}");
                }
                assert!(!answer.out.contains(MACHINE));
            }
        }
    });
}

const WARNS: &str = "name = 'p'\n[[rule]]\nkind = 'host.*'\naction = 'warn'\n[[rule]]\naction = 'log'\n";
const LOGS: &str = "name = 'p'\n[[rule]]\naction = 'log'\n";

/// What an answer that begins before the request has ended says of warnings: kinds, whether there may be more, the reference.
type Early = (Option<String>, Option<String>, Option<String>);

fn early(head: &[u8]) -> Early {
    let [kinds, pending, flow] =
        ["x-divulge-warn", "x-divulge-warn-pending", "x-divulge-flow"].map(|name| field(head, name));
    (kinds, pending, flow)
}

/// Sends half of a request's body, reads the head of the answer, then sends the rest.
async fn answered_early(divulge: &Divulge) -> Early {
    let mut client = Route::through(divulge).http1().await;
    let body = format!("{{\"host\":\"{MACHINE}\"}}");
    let (first, rest) = body.split_at(6);
    let length = body.len();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    client.send(head + first).await;
    let head = soon("the head of the answer", client.head()).await.unwrap();
    client.send(rest).await;
    assert!(client.until(b"ended").await.is_some());
    early(&head)
}

async fn opened_socket(divulge: &Divulge) -> (Early, WebSocket) {
    let mut wire: Wire = Route::through(divulge).tls(&[]).await;
    wire.send(upgrade_request("/v1/responses", false)).await;
    let head = soon("the answer to the upgrade", wire.head()).await.unwrap();
    assert_eq!(status(&head), 101);
    (early(&head), WebSocket::new(wire, true, false))
}

/// That the finding which came after the answer began is found by the reference that the answer had.
async fn found_by(divulge: &Divulge, reference: &str) {
    let (session, flow) = reference.split_once('/').unwrap();
    let wanted = |line: &serde_json::Value| {
        line["session"] == session
            && line["flow"] == flow
            && line["action"] == "warn"
            && line["kind"] == "host.machine_id"
    };
    divulge.wait_for(reference, wanted).await;
}

#[test]
fn an_answer_that_begins_before_all_was_read_says_that_warnings_may_follow() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served: Served| async move {
            let head = served.wire.head().await.unwrap();
            if field(&head, "upgrade").is_some() {
                served.wire.send(upgrade_answer(false)).await;
                return served.gone().await;
            }
            served.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
            served.wire.until(MACHINE.as_bytes()).await;
            served.wire.send("ended").await;
            served.gone().await;
        })
        .await;
        let divulge = gateway(&authority, upstream.address).policy(WARNS).arg("--on-error=open").start().await;
        let (kinds, pending, reference) = answered_early(&divulge).await;
        assert_eq!((kinds, pending.as_deref()), (None, Some("1")));
        found_by(&divulge, &reference.unwrap()).await;
        let ((kinds, pending, reference), mut socket) = opened_socket(&divulge).await;
        assert_eq!((kinds, pending.as_deref()), (None, Some("1")));
        socket.send(&format!("{{\"host\":\"{MACHINE}\"}}")).await;
        found_by(&divulge, &reference.unwrap()).await;

        let divulge = gateway(&authority, upstream.address).policy(LOGS).arg("--on-error=open").start().await;
        assert_eq!(answered_early(&divulge).await, (None, None, None), "there is nothing to warn of");
        assert_eq!(opened_socket(&divulge).await.0, (None, None, None));
    });
}

#[test]
fn an_answer_over_http2_that_begins_early_says_so_too() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream: Stream| async move {
            let mut answer = stream.start(&[]);
            let seen = stream.read().await;
            assert!(String::from_utf8_lossy(&seen.body).contains(MACHINE));
            let _ = answer.send_data("ended".into(), true);
        })
        .await;
        let divulge = gateway(&authority, upstream.address).policy(WARNS).arg("--on-error=open").start().await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let request = h2_client::request("POST", "/v1/messages", &[("content-type", "application/json")]);
        let (response, mut body) = client.open(request, false).await;
        h2_client::push(&mut body, "{\"host\":".into(), false).await.unwrap();
        let response = soon("the head of the answer", response).await.unwrap();
        let field = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((field("x-divulge-warn"), field("x-divulge-warn-pending").as_deref()), (None, Some("1")));
        let reference = field("x-divulge-flow").unwrap();
        h2_client::push(&mut body, format!("\"{MACHINE}\"}}").into(), true).await.unwrap();
        found_by(&divulge, &reference).await;
    });
}

/// The exchange that is in `session` as number `index`.
fn recorded(session: &Path, index: usize) -> Exchange {
    let mut reader = SessionReader::open(std::fs::File::open(session).unwrap()).unwrap();
    let (exchange, damages) = reader.exchange(index).unwrap();
    assert!(damages.is_empty(), "{damages:?}");
    exchange
}

#[test]
fn of_each_group_is_recorded_what_its_table_says() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let people = people() + &format!("eve:{}\n", divulge::access::hash_token("t0ken-of-eve"));
        let serve = gateway(&authority, upstream.address).file("--users", "users", people);
        let session = serve.beside("traffic.session");
        let settings = "[group.dev]\nrecord-bodies = 'full'\n[group.ops]\nrecord-bodies = 'none'\n";
        let serve = serve.arg(format!("--record={}", session.display())).file("--config", "config.toml", settings);
        let mut divulge = serve.start().await;
        let users = ["ann:correct%20horse", "bob:t0ken-of-bob", "eve:t0ken-of-eve"];
        for (user, number) in users.iter().zip(1..) {
            let proxy = format!("http://{user}@{}", divulge.address);
            let ended = curl(&divulge.ca_file(), &["-x", &proxy]).await;
            assert_eq!(statuses(&ended), "200 200", "{}", ended.err);
            let flow = format!("{number:06}");
            divulge.wait_for("the flow", |line| line["type"] == "flow" && line["flow"] == *flow).await;
        }
        assert!(divulge.terminate().await.success(), "{}", divulge.errors());
        assert!(divulge.errors().contains("everything is recorded as it is sent"), "{}", divulge.errors());

        let [full, none, masked] = [0, 1, 2].map(|index| recorded(&session, index));
        let text = |exchange: &Exchange| String::from_utf8_lossy(&exchange.request.body).into_owned();
        assert!(full.request.body_state == BodyState::Whole && text(&full).contains(MACHINE), "{full:?}");
        let BodyState::Omitted { length, .. } = none.request.body_state else { panic!("{none:?}") };
        assert_eq!((length, text(&none)), (full.request.body.len() as u64, String::new()));
        assert!(masked.request.body_state == BodyState::Masked, "{masked:?}");
        assert!(!text(&masked).contains(MACHINE) && text(&masked).starts_with("{\"host\":\""), "{}", text(&masked));
        for exchange in [&none, &masked] {
            assert!(matches!(
                exchange.response.as_ref().unwrap().body_state,
                BodyState::Masked | BodyState::Omitted { .. }
            ));
        }

        // What needs whole requests takes the one that is, and says how many it leaves out.
        let (state, session) = (format!("--state={}", divulge.state().display()), session.display().to_string());
        let emitted = divulge.folder.path().join("out");
        let emit = format!("--emit={}", emitted.display());
        let inspected = run(&["inspect", &state, &emit, &session]).await;
        assert_eq!(inspected.code, Some(0), "{}", inspected.err);
        assert!(inspected.err.contains("2 requests were recorded with bodies none"), "{}", inspected.err);
        assert_eq!(std::fs::read_dir(&emitted).unwrap().count(), 1);
        let findings = run(&["inspect", &state, "--findings=-", &session]).await;
        assert_eq!(findings.out.matches("\"type\":\"flow\"").count(), 3, "{}{}", findings.out, findings.err);
        let verified = run(&["inspect", &state, "--verify", &session]).await;
        assert!(verified.out.contains("some bodies are none"), "{}{}", verified.out, verified.err);
        let replay = run(&["replay", &state, "--offline", &session]).await;
        assert_eq!(replay.code, Some(0), "{}", replay.err);
        assert!(replay.err.contains("2 requests were recorded with bodies none and are left out"), "{}", replay.err);
    });
}

#[test]
fn a_word_that_no_setting_of_a_group_has_is_an_error_with_its_line() {
    bounded(async {
        for (settings, place, why) in [
            ("[group.dev]\npolicy = 'audit'\nrecord-bodies = 'some'\n", "line 3", "`masked`, `full`, `none`"),
            ("[group.dev]\nrequests-per-minute = 'many'\n", "line 2", "requests-per-minute"),
            ("[group.dev]\nrecord_bodies = 'none'\n", "line 2", "record-bodies"),
        ] {
            let refused = Divulge::serve().file("--config", "config.toml", settings).fail().await;
            assert_eq!(refused.code, Some(2), "{}", refused.err);
            assert!(!refused.out.contains("listening"), "{}", refused.out);
            for what in ["config.toml", place, why] {
                assert!(refused.err.contains(what), "{what} of {settings}: {}", refused.err);
            }
        }
    });
}

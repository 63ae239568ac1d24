//! What differs from group to group.

use std::path::Path;

use divulge::session::flow::{BodyState, Exchange};
use divulge::session::store::SessionReader;

use super::{MACHINE, curl, gateway, people, statuses};
use crate::common::divulge::run;
use crate::common::upstream::Upstream;
use crate::common::{Authority, Divulge, bounded};

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

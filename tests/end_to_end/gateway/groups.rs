//! What differs from group to group.

use super::{MACHINE, curl, gateway, people, statuses};
use crate::common::upstream::Upstream;
use crate::common::{Authority, bounded};

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

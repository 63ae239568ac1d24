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

//! Policies from the cluster's key-value store to every gateway.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use tokio::task::JoinSet;

use super::load::{Fleet, POLICY};
use super::servers::Nats;
use super::{LIMIT, requests};
use crate::common::upstream::Upstream;
use crate::common::{Authority, Divulge, HOST, figure, soon, within};
use crate::gateway::{MACHINE, curl, gateway, sized, statuses};

#[test]
fn a_policy_reaches_every_gateway_and_the_last_good_one_outlives_the_cluster() {
    within(LIMIT, async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut nats = Nats::new();
        nats.start().await;
        let context = nats.context().await;
        let bucket = jetstream::kv::Config { bucket: "divulge".into(), ..Default::default() };
        let store = context.create_key_value(bucket).await.unwrap();
        let put = async |text: &str| store.put("policies/all.toml", text.to_owned().into()).await.unwrap();
        put("name = 'a'\n[[rule]]\naction = 'log'\n").await;

        let fleet = format!("--fleet=nats://{}/divulge", nats.address);
        let start = async |state: &Path| {
            let policy = state.join("fleet/policies/all.toml");
            let serve = gateway(&authority, upstream.address).state(state).arg(&fleet);
            serve.arg(format!("--policy={}", policy.display())).start().await
        };
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut gateways = vec![start(&folders[0].path().join("s")).await, start(&folders[1].path().join("s")).await];
        let asked = async |index: usize, divulge: &Divulge| {
            let ca = folders[index].path().join("s/ca.pem");
            statuses(&curl(&ca, &["-x", &format!("http://{}", divulge.address)]).await).to_owned()
        };
        for (index, divulge) in gateways.iter().enumerate() {
            assert_eq!(asked(index, divulge).await, "200 200");
        }
        put("name = 'b'\n[[rule]]\nkind = 'host.*'\naction = 'block'\n").await;
        for (index, divulge) in gateways.iter().enumerate() {
            divulge.wait_for_error("read again").await;
            assert_eq!(asked(index, divulge).await, "200 403");
        }
        put("name = 'c'\n[[rule]]\naction = 'explode'\n").await;
        for (index, divulge) in gateways.iter().enumerate() {
            divulge.wait_for_error("not taken from the fleet").await;
            assert_eq!(asked(index, divulge).await, "200 403");
        }
        nats.kill().await;
        gateways.remove(0).terminate().await;
        let alone = start(&folders[0].path().join("s")).await;
        assert_eq!(asked(0, &alone).await, "200 403", "the last good policy is not on the disk");
        assert_eq!(asked(1, &gateways[0]).await, "200 403");
    });
}

#[test]
fn a_change_is_seen_by_three_gateways_that_share_three_nodes() {
    const BLOCKS: &str = "name = 'none'\n[[rule]]\nkind = 'host.*'\naction = 'block'\n";
    within(LIMIT * 3, async {
        let fleet = Fleet::start().await;
        let context = fleet.cluster.context().await;
        let store = context.get_key_value("divulge").await.unwrap();
        let mut longest = Duration::ZERO;
        let rounds = sized("DIVULGE_FLEET_POLICIES", 2);
        for round in 0..rounds {
            let (policy, wanted) = if round % 2 == 0 { (BLOCKS, 403) } else { (POLICY, 200) };
            store.put("policies/all.toml", policy.into()).await.unwrap();
            let began = Instant::now();
            // All at once: each is asked until it answers as the policy says.
            let mut seen = JoinSet::new();
            for number in 0..fleet.gateways.len() {
                let route = fleet.route(number);
                seen.spawn(async move {
                    let mut client = route.http1().await;
                    let body = format!("{{\"host\":\"{MACHINE}\"}}");
                    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n", body.len());
                    let request = format!("{head}Content-Type: application/json\r\n\r\n{body}");
                    loop {
                        client.send(&request).await;
                        if soon("an answer", client.response()).await.status == wanted {
                            return began.elapsed();
                        }
                    }
                });
            }
            let took = soon("every gateway to see the policy", seen.join_all()).await;
            longest = longest.max(took.into_iter().max().unwrap_or_default());
        }
        figure(&format!("a policy seen by three gateways, longest of {rounds}: milliseconds"), longest.as_millis());
    });
}

#[test]
fn a_rule_pack_of_the_bucket_counts_at_every_gateway() {
    const PACK: &str = "id = 'acme'\ntitle = 'Acme'\nhosts = ['api.acme.example.com']\n";
    const RULE: &str = r#"id = "acme.machine"
kind = "id.device"
title = "Acme's number of a machine"
severity = "high"
why = "It links."
select = { part = "body", names = ["host"] }
match = { value = '^9f86[0-9a-f]{28}$' }

[[example]]
name = "found"
expect = ["body!json:/host"]
request = '''
POST /v1 HTTP/1.1
host: api.acme.example.com
content-type: application/json

{"host":"9f86d081884c7d659a2feaa0c55ad015"}
'''

[[example]]
name = "another name"
expect = []
request = '''
POST /v1 HTTP/1.1
host: api.acme.example.com
content-type: application/json

{"digest":"9f86d081884c7d659a2feaa0c55ad015"}
'''
"#;
    within(LIMIT, async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut nats = Nats::new();
        nats.start().await;
        let bucket = jetstream::kv::Config { bucket: "divulge".into(), ..Default::default() };
        let store = nats.context().await.create_key_value(bucket).await.unwrap();
        store.put("rules/acme/pack.toml", PACK.into()).await.unwrap();
        let start = async || {
            let serve = gateway(&authority, upstream.address).arg(format!("--fleet=nats://{}/divulge", nats.address));
            let rules = serve.beside("state/fleet/rules");
            serve.arg(format!("--rules={}", rules.display())).start().await
        };
        let gateways = [start().await, start().await];
        store.put("rules/acme/machine.toml", RULE.into()).await.unwrap();
        for divulge in &gateways {
            divulge.wait_for_error("read again").await;
            requests(divulge, 1).await;
            divulge.wait_for("what the rule finds", |line| line["rule"] == "acme.machine").await;
        }
        // A rule that is no rule stays out, and those of before go on.
        store.put("rules/acme/machine.toml", RULE.replace("id.device", "no kind").into()).await.unwrap();
        for divulge in &gateways {
            divulge.wait_for_error("not reloaded").await;
            let before = divulge.lines().len();
            requests(divulge, 1).await;
            soon("a finding of the rule of before", async {
                while !divulge.lines()[before..].iter().any(|line| line["rule"] == "acme.machine") {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    });
}

//! Redirected connections: a client that knows of no proxy, behind rules of the system.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::MACHINE;
use crate::common::bounded;
use crate::common::divulge::{BINARY, read_lines};
use crate::common::programs::{program, succeed};

#[test]
fn what_is_redirected_is_audited_like_what_was_asked() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let facts = json!([{"kind": "host.machine_id", "value": MACHINE}]);
        std::fs::write(folder.path().join("facts.json"), facts.to_string()).unwrap();
        let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": format!("I am {MACHINE}")}]});
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/gateway/transparent.sh");
        let mut command = program("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.arg("-Ur");
        }
        command.args(["-n", "bash", script, BINARY]).arg(folder.path()).arg(body.to_string());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        succeed(&mut command).await;

        let mut flows: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for line in read_lines(&folder.path().join("findings.jsonl")) {
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            if line["type"] == "flow" {
                assert_eq!(line["host"], "api.anthropic.com", "{line}");
                flows.entry(text("flow")).or_default();
            } else {
                flows.entry(text("flow")).or_default().insert((text("kind"), text("location")));
            }
        }
        let by_connect = flows.values().next().expect("there are flows").clone();
        assert!(by_connect.iter().any(|(kind, _)| kind == "host.machine_id"), "{by_connect:?}");
        assert_eq!(flows.len(), 5, "one by CONNECT and four redirected: {flows:?}");
        for (flow, findings) in &flows {
            assert_eq!(*findings, by_connect, "flow {flow} differs from the one by CONNECT");
        }
    });
}

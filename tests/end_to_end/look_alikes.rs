//! Clients that cannot be run here, by their look-alikes: the requests of `tests/cases/look-alike-*`, sent by a client over TLS.
//!
//! It shows that their hosts are decrypted, that what is found in them is found on the wire too, that an edited request reaches
//! the upstream whole, and whether pseudonyms in the answer are put back. It does not show that the client itself is content.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::upstream::{Seen, Served, ok};
use crate::common::{Authority, Divulge, Route, Upstream, show, within};

#[derive(serde::Deserialize)]
struct Case {
    assistant: Option<String>,
    #[serde(default)]
    facts: Vec<BTreeMap<String, String>>,
    #[serde(default)]
    places: Vec<String>,
}

struct LookAlike {
    assistant: String,
    host: String,
    target: String,
    request: Vec<u8>,
    case: Case,
}

fn look_alikes() -> Vec<LookAlike> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let read = |folder: &Path| {
        let case: Case = toml::from_str(&std::fs::read_to_string(folder.join("case.toml")).unwrap()).unwrap();
        let assistant = case.assistant.clone()?;
        let request = std::fs::read(folder.join("request.http")).unwrap();
        let head = String::from_utf8_lossy(&request).into_owned();
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().trim().to_owned();
        let target = head.split(' ').nth(1).unwrap().to_owned();
        Some(LookAlike { assistant, host, target, request, case })
    };
    let all: Vec<LookAlike> = folders.iter().filter_map(|folder| read(folder)).collect();
    assert!(all.len() >= 12, "only {}", all.len());
    all
}

/// Says the request's text again, as a model of that API would.
fn echo(seen: &Seen) -> Vec<u8> {
    let body = String::from_utf8_lossy(&seen.body.data);
    let answer = match serde_json::from_str::<Value>(&body) {
        Ok(sent) if seen.start_line().contains("/chat/completions") => {
            let said: Vec<&str> =
                sent["messages"].as_array().into_iter().flatten().filter_map(|one| one["content"].as_str()).collect();
            json!({"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
                {"index": 0, "message": {"role": "assistant", "content": said.join("\n")}, "finish_reason": "stop"}]})
        }
        _ => json!({ "said": body }),
    };
    let answer = String::from_utf8(ok(&answer.to_string())).unwrap();
    answer.replace("text/plain", "application/json").into_bytes()
}

async fn upstream(authority: &Authority, all: &[LookAlike]) -> Upstream {
    let names: Vec<&str> = all.iter().map(|one| one.host.as_str()).collect();
    Upstream::start(Some(authority.server(&names, &["http/1.1"])), |mut served: Served| async move {
        while let Some(seen) = served.request().await {
            if !served.wire.send(echo(&seen)).await {
                return;
            }
        }
    })
    .await
}

/// What one policy made of all of them: the bytes that arrived, the answer, and the lines about it.
async fn replayed(policy: &str, all: &[LookAlike]) -> Vec<(Seen, String, Vec<Value>)> {
    let authority = Authority::new();
    let upstream = upstream(&authority, all).await;
    let facts: BTreeMap<&str, &str> = all
        .iter()
        .flat_map(|one| &one.case.facts)
        .map(|fact| (fact["kind"].as_str(), fact["value"].as_str()))
        .collect();
    let facts: Vec<(&str, &str)> = facts.into_iter().collect();
    let divulge = Divulge::serve()
        .intercept("ai")
        .trusting(&authority)
        .to(upstream.address)
        .facts(&facts)
        .arg(format!("--policy={policy}"))
        .arg("--reveal")
        .start()
        .await;
    let mut came = Vec::new();
    for (number, one) in all.iter().enumerate() {
        let mut client = Route::through(&divulge).host(&one.host).http1().await;
        assert!(client.send(&one.request).await);
        let answer = client.response().await;
        assert_eq!(answer.status, 200, "{policy}: {} {}: {answer:?}", one.host, one.target);
        let seen = upstream.log.wait(number + 1).await[number].clone();
        let done = |line: &Value| line["type"] == "flow" && line["host"] == one.host.as_str();
        let earlier = all[..number].iter().filter(|other| other.host == one.host).count();
        let flow = divulge
            .wait_for(&format!("{policy}: {}{}", one.host, one.target), |line| {
                let lines = divulge.lines();
                let mut flows = lines.iter().filter(|line| done(line));
                flows.nth(earlier).is_some_and(|flow| flow == line)
            })
            .await;
        let lines = divulge.lines().into_iter().filter(|line| line["flow"] == flow["flow"]).collect();
        came.push((seen, answer.text(), lines));
    }
    came
}

/// For `examples/support_matrix.rs`.
fn shown(assistant: &str, column: &str, result: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let entry = json!({
        "client": assistant, "version": "—", "column": column, "result": result, "date": "", "how": "look-alike",
    });
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{assistant}.{column}.json")), format!("{entry}\n")).unwrap();
}

/// A location without its window.
fn place(location: &str) -> &str {
    location.split('@').next().unwrap_or_default()
}

#[test]
fn look_alikes_are_decrypted_and_read_on_the_wire() {
    within(std::time::Duration::from_secs(60), async {
        let all = look_alikes();
        let mut missing = Vec::new();
        let mut decrypted: BTreeMap<&str, usize> = BTreeMap::new();
        for (one, (seen, _, lines)) in all.iter().zip(replayed("audit", &all).await) {
            let sent = [&seen.head[..], &seen.body.data].concat();
            assert!(seen.body.complete && sent == one.request, "not byte for byte: {}", show(&sent));
            for expected in &one.case.places {
                // Of which kind is up to the facts of a case, which here all have in common.
                let location = expected.split_once(' ').map_or("", |(_, location)| location);
                let there = |line: &Value| line["location"].as_str().is_some_and(|at| place(at) == place(location));
                if !lines.iter().any(there) {
                    missing.push(format!("{} {}: {expected}", one.assistant, one.target));
                }
            }
            *decrypted.entry(&one.assistant).or_default() += 1;
        }
        assert!(missing.is_empty(), "{missing:#?}");
        for (assistant, count) in decrypted {
            shown(assistant, "decrypts", &format!("requests replayed: {count}, as to hosts of its pack"));
        }
    });
}

#[test]
fn look_alikes_leave_whole_when_they_are_edited() {
    within(std::time::Duration::from_secs(60), async {
        let all = look_alikes();
        let mut rows: BTreeMap<&str, (usize, usize, bool, usize)> = BTreeMap::new();
        for (one, (seen, answer, lines)) in all.iter().zip(replayed("balanced", &all).await) {
            let told = || format!("{} {}\n{}\n{answer}", one.assistant, one.target, show(&seen.body.data));
            let row = rows.entry(&one.assistant).or_default();
            row.0 += 1;
            let flow = lines.iter().find(|line| line["type"] == "flow").unwrap();
            row.1 += usize::from(flow["verdict"] == "edited");
            let sent_json = serde_json::from_slice::<Value>(&body_of(&one.request)).is_ok();
            assert!(seen.body.complete, "{}", told());
            assert!(!sent_json || serde_json::from_slice::<Value>(&seen.body.data).is_ok(), "no JSON: {}", told());
            let arrived = String::from_utf8_lossy(&[&seen.head[..], &seen.body.data].concat()).into_owned();
            for fact in one.case.facts.iter().filter(|fact| fact["value"].len() > 6) {
                assert!(!arrived.contains(&fact["value"]), "{} arrived: {}", fact["value"], told());
            }
            for finding in lines.iter().filter(|line| line["action"] == "pseudonym") {
                let real = finding["observed"].as_str().or(finding["value"].as_str()).unwrap();
                row.2 |= answer.contains(real);
                row.3 += 1;
            }
        }
        for (assistant, (sent, edited, restored, given)) in rows {
            assert!(edited > 0, "{assistant}: nothing was edited");
            shown(
                assistant,
                "strips",
                &format!("requests replayed under balanced: {edited} of {sent} edited, all whole"),
            );
            let restores = match (restored, given) {
                (true, _) => "a pseudonym in the replayed answer is put back",
                (false, 0) => "gets no pseudonyms",
                (false, _) => "not shown by a replay: no answer of its API was seen",
            };
            shown(assistant, "restores", restores);
        }
    });
}

fn body_of(request: &[u8]) -> Vec<u8> {
    let end = memchr::memmem::find(request, b"\r\n\r\n").map_or(request.len(), |at| at + 4);
    request[end..].to_vec()
}

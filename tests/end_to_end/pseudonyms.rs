//! Reversible pseudonyms on the wire: the model sees another name, the client its own, and the next turn is what the
//! model wrote.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::websocket::{WebSocket, upgrade_answer, upgrade_request};
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded, soon};

const LOGIN: &str = "kanarienvogel";
const HOME: &str = "/home/kanarienvogel";
const CWD: &str = "/home/kanarienvogel/work/billing";
const FACTS: &[(&str, &str)] = &[("user.name", LOGIN), ("path.home", HOME), ("path.cwd", CWD)];

async fn balanced(authority: &Authority, upstream: std::net::SocketAddr) -> Divulge {
    Divulge::serve()
        .intercept("all")
        .trusting(authority)
        .to(upstream)
        .facts(FACTS)
        .arg("--policy=balanced")
        .start()
        .await
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The login that a request shows instead of ours.
fn pseudonym(text: &str) -> String {
    let at = text.find("/home/").expect("the request names a home") + "/home/".len();
    text[at..].chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}

/// What the model writes in turn `turn`: pseudonyms as they were sent, in capitals, and none.
fn written(turn: usize, login: &str) -> (String, String) {
    let text = match turn % 4 {
        0 => format!("Turn {turn}: I read /home/{login}/work/billing/src/main.rs now."),
        1 => format!("Turn {turn}: {} owns it, I think — “{login}”.", login.to_uppercase()),
        2 => format!("Turn {turn}: nothing to see."),
        _ => format!("Turn {turn}:\n```sh\ncd /home/{login}\\ \"x\"\n```\n{login}"),
    };
    let input = json!({"command": format!("cat /home/{login}/work/billing/{turn}.rs"), "who": [login]});
    (text, input.to_string())
}

/// An answer of Anthropic Messages, a character of the text a delta.
fn anthropic(text: &str, input: &str) -> String {
    let mut out = String::new();
    let mut event = |value: Value| {
        let name = value["type"].as_str().unwrap().to_owned();
        out.push_str(&format!("event: {name}\ndata: {value}\n\n"));
    };
    event(
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}}),
    );
    event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}));
    for c in text.chars() {
        event(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": c}}));
    }
    event(json!({"type": "content_block_stop", "index": 0}));
    let tool = json!({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}});
    event(json!({"type": "content_block_start", "index": 1, "content_block": tool}));
    for c in input.chars() {
        event(
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": c}}),
        );
    }
    event(json!({"type": "content_block_stop", "index": 1}));
    event(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}}));
    event(json!({"type": "message_stop"}));
    out
}

/// The blocks that a client of Anthropic Messages makes of a stream.
fn heard(stream: &str) -> (String, Value) {
    let (mut text, mut input) = (String::new(), String::new());
    for data in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{data}: {error}"));
        text.push_str(event["delta"]["text"].as_str().unwrap_or_default());
        input.push_str(event["delta"]["partial_json"].as_str().unwrap_or_default());
    }
    (text, serde_json::from_str(&input).unwrap_or_else(|error| panic!("{input}: {error}")))
}

fn packed(coding: &str, text: &str) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.into_inner()
        }
        "zstd" => zstd::stream::encode_all(text.as_bytes(), 3).unwrap(),
        _ => text.as_bytes().to_vec(),
    }
}

#[test]
fn twenty_turns_are_shown_as_they_are_and_sent_back_as_the_model_wrote_them() {
    bounded(async {
        let authority = Authority::new();
        let wrote: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let turns = wrote.clone();
        // Every other answer is framed by its length, the others by chunks; in each content coding in turn.
        let upstream = Upstream::answering(&authority, move |seen| {
            let body = utf8(&seen.body.data);
            let mut turns = turns.lock().unwrap();
            let (text, input) = written(turns.len(), &pseudonym(&body));
            let coding = ["identity", "gzip", "br", "zstd"][turns.len() % 4];
            let answer = packed(coding, &anthropic(&text, &input));
            let chunked = turns.len() % 2 == 1;
            turns.push((text, input));
            let framing = match chunked {
                true => "transfer-encoding: chunked".to_owned(),
                false => format!("content-length: {}", answer.len()),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncontent-encoding: {coding}\r\n{framing}\r\n\r\n"
            );
            let mut out = head.into_bytes();
            match chunked {
                false => out.extend(answer),
                true => {
                    for piece in answer.chunks(997) {
                        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                        out.extend(piece);
                        out.extend(b"\r\n");
                    }
                    out.extend(b"0\r\n\r\n");
                }
            }
            out
        })
        .await;
        let divulge = balanced(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        let system = format!("<env>\nWorking directory: {CWD}\n</env>");
        let mut messages = vec![json!({"role": "user", "content": "go on"})];
        for turn in 0..20 {
            let body = json!({"model": "m", "stream": true, "system": system, "messages": messages}).to_string();
            client.send(post("/v1/messages?beta=true", &body)).await;
            let answer = client.response().await;
            assert!(answer.body.complete, "turn {turn}");
            assert_eq!(answer.field("content-encoding"), None, "turn {turn}: what the client gets is decoded");
            let (text, input) = heard(&answer.text());
            let (was, arguments) = wrote.lock().unwrap()[turn].clone();
            let login = pseudonym(&arguments);
            assert_ne!(login, LOGIN);
            let restored =
                |text: &str| text.replace(&login.to_uppercase(), &LOGIN.to_uppercase()).replace(&login, LOGIN);
            assert_eq!(text, restored(&was), "turn {turn}");
            assert_eq!(input, serde_json::from_str::<Value>(&restored(&arguments)).unwrap(), "turn {turn}");
            messages.push(json!({"role": "assistant", "content": [
                {"type": "text", "text": text},
                {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": input}]}));
            messages.push(json!({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": format!("{CWD}/{turn}.rs: no such file")}]}));
        }
        let seen = upstream.log.requests();
        assert_eq!(seen.len(), 20);
        for (turn, seen) in seen.iter().enumerate() {
            let body = utf8(&seen.body.data);
            assert!(!body.to_lowercase().contains(LOGIN), "turn {turn}: {body}");
            let body: Value = serde_json::from_slice(&seen.body.data).unwrap();
            for (earlier, (text, input)) in wrote.lock().unwrap()[..turn].iter().enumerate() {
                let content = &body["messages"][1 + 2 * earlier]["content"];
                assert_eq!(content[0]["text"], **text, "turn {earlier} in request {turn}");
                assert_eq!(content[1]["input"], serde_json::from_str::<Value>(input).unwrap(), "turn {earlier}");
            }
            if turn > 0 {
                // All but the newest turn leaves as it left before: the provider's cache still holds.
                let before = utf8(&upstream.log.requests()[turn - 1].body.data);
                let body = utf8(&seen.body.data);
                let kept = before.strip_suffix("]}").unwrap();
                assert!(body.starts_with(kept), "turn {turn}:\n{kept}\n{body}");
            }
        }
        // The certificate states what the bodies show.
        let last = divulge.wait_for("the last flow", |line| line["type"] == "flow" && line["flow"] == "000020").await;
        let (before, after) = (&seen[18].body.data, &seen[19].body.data);
        let common = before.iter().zip(after).take_while(|(one, other)| one == other).count();
        assert_eq!(last["certificate"]["prefix"], common, "{last}");
        let flow = divulge.wait_for("a flow", |line| line["type"] == "flow").await;
        assert_eq!(flow["certificate"]["prefix"], Value::Null, "{flow}");
        assert_eq!(flow["restored"]["unrestored"], 0, "{flow}");
        assert!(flow["restored"]["restored"].as_u64().unwrap() >= 2, "{flow}");
    });
}

#[test]
fn a_whole_answer_is_restored_over_http2_and_an_unknown_one_passes() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            let seen = stream.read().await;
            let login = pseudonym(&utf8(&seen.body));
            let kind = if seen.path.starts_with("/v1/other") { "text/plain" } else { "application/json" };
            let answer = json!({"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
                "content": format!("in /home/{login}"),
                "tool_calls": [{"id": "c", "function": {"name": "ls", "arguments": format!("{{\"p\":\"/home/{login}\"}}")}}]}}]});
            let answer = packed("gzip", &answer.to_string());
            let length = answer.len().to_string();
            let fields = [("content-type", kind), ("content-encoding", "gzip"), ("content-length", &*length)];
            stream.ok(&fields, &answer, None).await;
        })
        .await;
        let divulge = balanced(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let body = json!({"model": "m", "messages": [{"role": "user", "content": format!("list {CWD}")}]}).to_string();
        let fields = [("content-type", "application/json")];
        let answer =
            client.exchange(request("POST", "/v1/chat/completions", &fields), Some(body.as_bytes()), None).await;
        assert_eq!(answer.error, None);
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        let message = &told["choices"][0]["message"];
        assert_eq!(message["content"], format!("in {HOME}"));
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], format!("{{\"p\":\"{HOME}\"}}"));
        assert!(answer.fields.iter().all(|(name, _)| name != "content-encoding" && name != "content-length"));

        let answer = client.exchange(request("POST", "/v1/other", &fields), Some(body.as_bytes()), None).await;
        assert!(answer.fields.iter().any(|(name, _)| name == "content-encoding"), "{answer:?}");
        assert!(!upstream.log.requests().iter().any(|seen| utf8(&seen.body).contains(LOGIN)));
        let flow =
            divulge.wait_for("the other flow", |line| line["type"] == "flow" && line["path"] == "/v1/other").await;
        assert_eq!(flow["restored"]["unrestored"], 2, "what the client saw is counted: {flow}");
    });
}

#[test]
fn messages_of_a_websocket_are_restored() {
    bounded(async {
        for deflate in [true, false] {
            let authority = Authority::new();
            let told: Arc<Mutex<Vec<String>>> = Arc::default();
            let log = told.clone();
            let upstream = Upstream::scripted(&authority, &[], move |mut served| {
                let log = log.clone();
                async move {
                    served.request().await;
                    served.wire.send(upgrade_answer(deflate)).await;
                    let mut socket = WebSocket::new(served.wire, false, deflate);
                    while let Some(text) = socket.message().await {
                        log.lock().unwrap().push(text.clone());
                        let login = pseudonym(&text);
                        for piece in ["see /home/", &login[..4], &login[4..], "/x"] {
                            let delta = json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
                                "item_id": "i", "delta": piece, "sequence_number": 1});
                            socket.send(&delta.to_string()).await;
                        }
                        let done = json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0,
                            "item_id": "i", "text": format!("see /home/{login}/x"), "sequence_number": 5});
                        socket.send(&done.to_string()).await;
                    }
                }
            })
            .await;
            let divulge = balanced(&authority, upstream.address).await;
            let mut wire = Route::through(&divulge).tls(&[]).await;
            wire.send(upgrade_request("/v1/responses", deflate)).await;
            soon("the answer to the upgrade", wire.head()).await.unwrap();
            let mut socket = WebSocket::new(wire, true, deflate);
            for turn in 0..3 {
                let body =
                    json!({"type": "response.create", "instructions": format!("Working directory: {CWD}"), "n": turn});
                socket.send(&body.to_string()).await;
                let mut heard = String::new();
                loop {
                    let message = soon("a message", socket.message()).await.unwrap();
                    let event: Value = serde_json::from_str(&message).unwrap();
                    heard.push_str(event["delta"].as_str().unwrap_or_default());
                    if event["type"] == "response.output_text.done" {
                        assert_eq!(event["text"], format!("see {HOME}/x"), "deflate {deflate} turn {turn}");
                        break;
                    }
                }
                assert_eq!(heard, format!("see {HOME}/x"), "deflate {deflate} turn {turn}");
            }
            assert!(!told.lock().unwrap().iter().any(|text| text.contains(LOGIN)));
        }
    });
}

#[test]
fn ordinary_text_never_waits_and_a_pseudonym_only_for_its_end() {
    bounded(async {
        let authority = Authority::new();
        let go = Arc::new(tokio::sync::Notify::new());
        let wait = go.clone();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| {
            let wait = wait.clone();
            async move {
                let seen = served.request().await.unwrap();
                let login = pseudonym(&utf8(&seen.body.data));
                served.wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
                for piece in ["Hello, ", &login[..3], &login[3..], " here"] {
                    let delta = json!({"choices": [{"index": 0, "delta": {"content": piece}}]});
                    served.wire.send(format!("data: {delta}\n\n")).await;
                    wait.notified().await;
                }
                served.wire.send("data: [DONE]\n\n").await;
                served.wire.close().await;
            }
        })
        .await;
        let divulge = balanced(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        let body = json!({"messages": [{"role": "user", "content": format!("in {CWD}")}], "stream": true}).to_string();
        client.send(post("/v1/chat/completions", &body)).await;
        client.response_head().await.unwrap();
        let said = |chunk: Vec<u8>| -> String {
            let text = utf8(&chunk);
            let data = text.trim().strip_prefix("data: ").unwrap_or_else(|| panic!("{text}")).to_owned();
            let event: Value = serde_json::from_str(&data).unwrap();
            event["choices"][0]["delta"]["content"].as_str().unwrap().to_owned()
        };
        // Each event arrives while the upstream holds the next; the beginning of a pseudonym as an empty one.
        for expected in ["Hello, ", "", LOGIN, " here"] {
            let chunk = soon("an event", client.chunk()).await.unwrap();
            assert_eq!(said(chunk), expected);
            go.notify_one();
        }
        assert_eq!(utf8(&soon("the end", client.chunk()).await.unwrap()), "data: [DONE]\n\n");
        assert_eq!(client.chunk().await, Some(Vec::new()));
    });
}

#[test]
fn a_value_stays_out_of_tool_calls_to_other_hosts_unless_the_policy_names_them() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |seen| {
            let login = pseudonym(&utf8(&seen.body.data));
            let arguments = json!({"cmd": format!("curl https://files.acme.example/?u={login}; ls /home/{login}")});
            let answer = json!({"choices": [{"index": 0, "message": {"content": null,
                "tool_calls": [{"function": {"name": "sh", "arguments": arguments.to_string()}}]}}]})
            .to_string();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .into_bytes()
        })
        .await;
        for (restore_to, restored) in [("", false), ("restore_to = [\"*.acme.example\"]\n", true)] {
            let policy = format!("{restore_to}[[rule]]\nkind = [\"path.*\", \"user.*\"]\naction = \"pseudonym\"\n");
            let divulge = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .to(upstream.address)
                .facts(FACTS)
                .policy(&policy)
                .start()
                .await;
            let mut client = Route::through(&divulge).http1().await;
            let body = json!({"messages": [{"role": "user", "content": format!("in {CWD}")}]}).to_string();
            client.send(post("/v1/chat/completions", &body)).await;
            let told = client.response().await.text();
            assert!(told.contains(&format!("ls {HOME}")), "{told}");
            assert_eq!(told.contains(&format!("?u={LOGIN}")), restored, "{told}");
            let flow = divulge.wait_for("a flow", |line| line["type"] == "flow").await;
            assert_eq!(flow["restored"]["withheld"], u64::from(!restored), "{flow}");
        }
    });
}

#[test]
fn pinned_pairs_and_given_ones_outlive_a_restart() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |seen| {
            // The model says again what it was told last.
            let body: Value = serde_json::from_slice(&seen.body.data).unwrap();
            let answer =
                json!({"content": [{"type": "text", "text": body["messages"][0]["content"]}], "type": "message"});
            let answer = answer.to_string();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .into_bytes()
        })
        .await;
        let mut first = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .facts(FACTS)
            .arg("--policy=balanced")
            .file("--aliases", "aliases.json", r#"[{"real":"acme-billing-9","pseudo":"robin-works"}]"#)
            .start()
            .await;
        let ca = first.ca_file();
        let ask = async |divulge: &Divulge, text: &str| -> String {
            let mut client = Route::through(divulge).trusting(ca.clone()).http1().await;
            let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
            client.send(post("/v1/messages", &body)).await;
            let told: Value = serde_json::from_str(&client.response().await.text()).unwrap();
            told["content"][0]["text"].as_str().unwrap().to_owned()
        };
        let text = format!("acme-billing-9 in {CWD}");
        assert_eq!(ask(&first, &text).await, text);
        let sent = utf8(&upstream.log.requests()[0].body.data);
        assert!(sent.contains("robin-works in /home/"), "{sent}");
        let login = pseudonym(&sent);
        assert!(first.terminate().await.success());
        let file = std::fs::read(first.state().join("pseudonyms")).unwrap();
        assert!(!utf8(&file).contains(LOGIN) && !utf8(&file).contains(&login), "the map is encrypted");

        let again = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .state(&first.state())
            .arg("--policy=balanced")
            .facts(&[("user.name", "somebody-else")])
            .start()
            .await;
        // Nothing is known of the login now, and what was given for it is still put back.
        let told = ask(&again, &format!("/home/{login} and robin-works")).await;
        assert_eq!(told, format!("{HOME} and acme-billing-9"));
        drop(again);

        std::fs::remove_file(first.state().join("pseudonym-secret")).unwrap();
        let ended = Divulge::serve().state(&first.state()).arg("--policy=balanced").fail().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("its key") && ended.err.contains("is gone"), "{ended:?}");
        // A policy that needs no pseudonyms needs no key either.
        drop(Divulge::serve().state(&first.state()).start().await);
    });
}

#[test]
fn aliases_that_cannot_be_used_are_told_at_the_start_without_their_values() {
    bounded(async {
        for (text, says) in [
            (r#"[{"real":"ann-secret"}]"#, "aliases.json:1:22"),
            (r#"[{"real":"ann-secret","pseudo":"x"}]"#, "entry 0: pseudo is shorter"),
        ] {
            let ended = Divulge::serve().arg("--policy=balanced").file("--aliases", "aliases.json", text).fail().await;
            assert_eq!(ended.code, Some(2), "{ended:?}");
            assert!(ended.err.contains(says) && !ended.err.contains("ann-secret"), "{ended:?}");
        }
    });
}

//! Edits and refusals as they stand on the wire.

use serde_json::Value;

use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::websocket::{WebSocket, upgrade_answer, upgrade_request};
use crate::common::wire::status;
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded, show, soon};

const MACHINE: &str = "zephyr-7f3a.example.com";

/// A policy that does `action` to everything that names the machine.
fn to_the_machine(action: &str) -> String {
    format!("name = \"test\"\n\n[[rule]]\nname = \"the machine\"\nkind = \"host.*\"\naction = \"{action}\"\n")
}

async fn under(policy: &str, authority: &Authority, upstream: std::net::SocketAddr) -> Divulge {
    Divulge::serve()
        .intercept("all")
        .trusting(authority)
        .to(upstream)
        .facts(&[("host.fqdn", MACHINE)])
        .policy(policy)
        .start()
        .await
}

fn post(host: &str, path: &str, fields: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn an_edit_changes_its_leaf_and_the_length_and_nothing_else() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let before = r#"{"b": 1.0e+02,"host" : ""#;
        let after = r#"", "a":"\u0041\/", "list":[ 1 , -0 ]}"#;
        for action in ["redact", "strip"] {
            let divulge = under(&to_the_machine(action), &authority, upstream.address).await;
            let number = upstream.log.requests().len();
            let mut client = Route::through(&divulge).http1().await;
            client.send(post(HOST, "/v1/x", "X-Odd:  1 \r\n", &format!("{before}{MACHINE}{after}"))).await;
            assert_eq!(client.response().await.status, 200, "{action}");

            let seen = upstream.log.requests()[number].clone();
            let body = String::from_utf8(seen.body.data.clone()).unwrap();
            assert!(!body.contains(MACHINE), "{action}: {body}");
            assert_eq!(seen.field("content-length").unwrap(), body.len().to_string(), "{action}");
            serde_json::from_str::<Value>(&body).unwrap_or_else(|error| panic!("{action}: {body}: {error}"));
            assert!(
                body.starts_with(r#"{"b": 1.0e+02,"#) && body.ends_with(r#""a":"\u0041\/", "list":[ 1 , -0 ]}"#),
                "{action}: {body}"
            );
            assert!(show(&seen.head).contains("\nX-Odd:  1 \n"), "{action}: {}", show(&seen.head));

            let flow = divulge.wait_for("the flow", |line| line["type"] == "flow").await;
            assert_eq!(flow["verdict"], "edited", "{flow}");
            let certificate = &flow["certificate"];
            assert_eq!(certificate["rest_before"], certificate["rest_after"], "{flow}");
            assert!(certificate["rest_before"].is_string(), "{flow}");
        }
    });
}

#[test]
fn a_header_is_edited_in_its_place() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        for action in ["redact", "strip"] {
            let divulge = under(&to_the_machine(action), &authority, upstream.address).await;
            let number = upstream.log.requests().len();
            let mut client = Route::through(&divulge).http1().await;
            client
                .send(format!(
                    "GET / HTTP/1.1\r\nX-First: 1\r\nHost: {HOST}\r\nX-Machine: {MACHINE}\r\nx-last:2\r\n\r\n"
                ))
                .await;
            assert_eq!(client.response().await.status, 200, "{action}");
            let head = show(&upstream.log.requests()[number].head);
            assert!(!head.contains(MACHINE), "{action}: {head}");
            assert!(head.starts_with("GET / HTTP/1.1\nX-First: 1\nHost: api.example.com\n"), "{action}: {head}");
            assert!(head.ends_with("\nx-last:2\n\n"), "{action}: {head}");
        }
    });
}

#[test]
fn an_edit_reaches_inside_compressed_and_chunked_bodies() {
    bounded(async {
        use std::io::{Read, Write};
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = under(&to_the_machine("redact"), &authority, upstream.address).await;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(format!("{{\"host\":\"{MACHINE}\",\"rest\":[1,2]}}").as_bytes()).unwrap();
        let body = gzip.finish().unwrap();
        let mut client = Route::through(&divulge).http1().await;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()))
            .await;
        client.send([&body[..], b"\r\n0\r\n\r\n"].concat()).await;
        assert_eq!(client.response().await.status, 200);
        let seen = upstream.log.one().await;
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&seen.body.data[..]).read_to_string(&mut text).expect("still gzip");
        assert!(!text.contains(MACHINE) && text.ends_with(",\"rest\":[1,2]}"), "{text}");
        divulge.finding_at("body!gzip!json:/host").await;
    });
}

#[test]
fn an_edit_is_the_same_every_time() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = under(&to_the_machine("redact"), &authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        for _ in 0..3 {
            client.send(post(HOST, "/", "", &format!("{{\"host\":\"{MACHINE}\"}}"))).await;
            client.response().await;
        }
        let bodies: std::collections::BTreeSet<_> =
            upstream.log.requests().into_iter().map(|seen| seen.body.data).collect();
        assert_eq!(bodies.len(), 1, "the same request left in different forms");
    });
}

#[test]
fn an_edited_http2_request_keeps_its_other_fields_and_its_length() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::recording(&authority).await;
        let divulge = under(&to_the_machine("redact"), &authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let body = format!("{{\"host\":\"{MACHINE}\"}}");
        let length = body.len().to_string();
        let fields = [
            ("x-a", "1"),
            ("content-type", "application/json"),
            ("x-machine", MACHINE),
            ("content-length", &length),
            ("x-z", "2"),
        ];
        let answer = client.exchange(request("POST", "/v1", &fields), Some(body.as_bytes()), None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = upstream.log.one().await;
        let names: Vec<&str> = seen.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-a", "content-type", "x-machine", "content-length", "x-z"]);
        let text = String::from_utf8(seen.body.clone()).unwrap();
        assert!(!text.contains(MACHINE), "{text}");
        assert_ne!(seen.fields[2].1, MACHINE.as_bytes());
        assert_eq!(seen.fields[3].1, seen.body.len().to_string().into_bytes());
    });
}

#[test]
fn a_blocked_request_is_refused_in_the_shape_of_its_provider() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = under(&to_the_machine("block"), &authority, upstream.address).await;
        type Shape = fn(&Value) -> bool;
        let providers: [(&str, &str, Shape); 4] = [
            ("api.anthropic.com", "/v1/messages", |answer| {
                answer["type"] == "error"
                    && answer["error"]["type"].is_string()
                    && answer["error"]["message"].is_string()
            }),
            ("api.openai.com", "/v1/chat/completions", |answer| {
                answer["error"]["message"].is_string() && answer["error"]["type"].is_string()
            }),
            ("generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-pro:generateContent", |answer| {
                answer["error"]["code"] == 403
                    && answer["error"]["status"].is_string()
                    && answer["error"]["message"].is_string()
            }),
            (HOST, "/anything", Value::is_object),
        ];
        let mut wrong = Vec::new();
        for (host, path, shape) in providers {
            let mut client = Route::through(&divulge).host(host).try_tls(&["http/1.1"]).await.expect("a tunnel");
            client
                .send(post(
                    host,
                    path,
                    "",
                    &format!("{{\"model\":\"m\",\"messages\":[{{\"content\":\"on {MACHINE}\"}}]}}"),
                ))
                .await;
            let response = client.response().await;
            let answer: Value = serde_json::from_slice(&response.body.data).unwrap_or_default();
            if response.status != 403 || response.field("x-divulge-block").is_none() {
                wrong.push(format!("{host}: {}", show(&response.head)));
            }
            if !shape(&answer) {
                wrong.push(format!("{host}: not the provider's shape: {}", response.text()));
            }
            if show(&response.head).contains(MACHINE) || response.text().contains(MACHINE) {
                wrong.push(format!("{host}: the refusal repeats the value: {}", response.text()));
            }
            // The connection serves on.
            client.send(post(host, path, "", "{\"model\":\"m\"}")).await;
            let _ = client.response_head().await;
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let told: Vec<String> =
            upstream.log.requests().iter().map(|seen| String::from_utf8_lossy(&seen.body.data).into_owned()).collect();
        assert!(!told.iter().any(|body| body.contains(MACHINE)), "{told:?}");
        let flow = divulge.wait_for("a withheld flow", |line| line["verdict"] == "withheld").await;
        assert_eq!(flow["type"], "flow");
    });
}

/// A record of a request says what became of it: of this one nothing left.
#[test]
fn a_body_that_is_broken_from_the_start_is_recorded_as_withheld() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        for policy in [to_the_machine("log"), to_the_machine("block")] {
            let divulge = under(&policy, &authority, upstream.address).await;
            let mut client = Route::through(&divulge).host(HOST).try_tls(&["http/1.1"]).await.expect("a tunnel");
            client
                .send("POST /v1/messages HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\n")
                .await;
            assert_eq!(client.response().await.status, 400);
            let flow = divulge.wait_for("a flow", |line| line["type"] == "flow").await;
            assert_eq!(flow["verdict"], "withheld", "{flow}");
        }
        assert!(upstream.log.requests().is_empty());
    });
}

#[test]
fn a_blocked_http2_request_is_refused_and_grpc_in_its_own_way() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::recording(&authority).await;
        let divulge = under(&to_the_machine("block"), &authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let answer = client
            .exchange(
                request("POST", "/v1", &[("content-type", "application/json")]),
                Some(format!("{{\"h\":\"{MACHINE}\"}}").as_bytes()),
                None,
            )
            .await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.fields.iter().any(|(name, _)| name == "x-divulge-block"), "{answer:?}");

        let fields = [("content-type", "application/grpc"), ("te", "trailers"), ("x-machine", MACHINE)];
        let answer = client.exchange(request("POST", "/a.B/C", &fields), Some(b"\0\0\0\0\0"), None).await;
        let grpc = answer.fields.iter().chain(&answer.trailers).find(|(name, _)| name == "grpc-status");
        assert_eq!((answer.status, grpc.map(|(_, value)| &value[..])), (200, Some(&b"7"[..])), "{answer:?}");
        assert!(upstream.log.requests().is_empty());
        assert_eq!(client.exchange(request("GET", "/", &[]), None, None).await.status, 200);
    });
}

#[test]
fn a_blocked_websocket_message_closes_with_1008() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &[], |mut served| async move {
            served.request().await;
            served.wire.send(upgrade_answer(true)).await;
            let mut socket = WebSocket::new(served.wire, false, true);
            while let Some(text) = socket.message().await {
                assert!(!text.contains(MACHINE), "the message reached the upstream");
                socket.send(&text).await;
            }
        })
        .await;
        let divulge = under(&to_the_machine("block"), &authority, upstream.address).await;
        let mut wire = Route::through(&divulge).tls(&[]).await;
        wire.send(upgrade_request("/v1", true)).await;
        assert_eq!(status(&soon("the upgrade", wire.head()).await.unwrap()), 101);
        let mut socket = WebSocket::new(wire, true, true);
        socket.send("{\"a\":1}").await;
        assert_eq!(soon("the echo", socket.message()).await.as_deref(), Some("{\"a\":1}"));
        socket.send(&format!("{{\"a\":\"{MACHINE}\"}}")).await;
        let close = soon("the close", socket.frame()).await.expect("a close frame");
        assert_eq!((close.first, close.payload.get(..2)), (0x88, Some(&1008_u16.to_be_bytes()[..])));
    });
}

#[test]
fn an_edited_websocket_message_arrives_whole_with_those_around_it() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &[], |mut served| async move {
            served.request().await;
            served.wire.send(upgrade_answer(true)).await;
            let mut socket = WebSocket::new(served.wire, false, true);
            while let Some(text) = socket.message().await {
                socket.send(&text).await;
            }
        })
        .await;
        let divulge = under(&to_the_machine("redact"), &authority, upstream.address).await;
        let mut wire = Route::through(&divulge).tls(&[]).await;
        wire.send(upgrade_request("/v1", true)).await;
        assert_eq!(status(&soon("the upgrade", wire.head()).await.unwrap()), 101);
        let mut socket = WebSocket::new(wire, true, true);
        for (sent, kept) in [
            ("{\"a\":\"before and before and before\"}".to_owned(), true),
            (format!("{{\"a\":\"before\",\"host\":\"{MACHINE}\",\"z\":1}}"), false),
            ("{\"a\":\"before and before and after\"}".to_owned(), true),
        ] {
            socket.send(&sent).await;
            let echo = soon("the echo", socket.message()).await.expect("the socket stays open");
            assert_eq!(echo == sent, kept, "{echo}");
            assert!(!echo.contains(MACHINE), "{echo}");
            assert!(kept || (echo.starts_with("{\"a\":\"before\",") && echo.ends_with("\"z\":1}")), "{echo}");
        }
    });
}

#[test]
fn audit_mode_changes_nothing_and_masks_what_it_tells() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let secret = "sk-ant-api03-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-AbCdEfGAA";
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        let body = format!("{{\"note\":\"{secret}\"}}");
        client.send(post(HOST, "/", "", &body)).await;
        assert_eq!(client.response().await.status, 200);
        assert_eq!(upstream.log.one().await.body.data, body.as_bytes());
        let finding = divulge.finding_at("body!json:/note").await;
        assert!(finding["kind"].as_str().unwrap().starts_with("secret."), "{finding}");
        let flow = divulge.wait_for("the flow", |line| line["type"] == "flow").await;
        assert_eq!(flow["verdict"], "forwarded", "{flow}");
        let written = std::fs::read_to_string(divulge.folder.path().join("findings.jsonl")).unwrap();
        assert!(
            !written.contains(secret) && !divulge.errors().contains(secret),
            "the secret is in the audit's own output"
        );
    });
}

#[test]
fn findings_name_flow_host_request_and_what_was_done() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .facts(&[("host.fqdn", MACHINE)])
            .start()
            .await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(post(HOST, "/v1/x?y=1", "", &format!("{{\"host\":\"{MACHINE}\"}}"))).await;
        client.response().await;
        let finding = divulge.finding_at("body!json:/host").await;
        assert_eq!(
            (&finding["schema"], &finding["host"], &finding["method"]),
            (&1.into(), &HOST.into(), &"POST".into())
        );
        assert!(finding["path"].as_str().is_some_and(|path| path.starts_with("/v1/x")), "{finding}");
        assert_eq!(
            (&finding["kind"], &finding["action"], &finding["detector"]),
            (&"host.fqdn".into(), &"log".into(), &"fact".into())
        );
        for name in [
            "time",
            "session",
            "flow",
            "client",
            "client_version",
            "layers",
            "rule",
            "severity",
            "confidence",
            "value",
            "value_hmac",
            "replacement",
        ] {
            assert!(finding.get(name).is_some(), "{name} is missing: {finding}");
        }
        assert!(!finding["value"].to_string().contains(MACHINE), "not masked: {finding}");
        let flow = divulge.wait_for("the flow", |line| line["type"] == "flow").await;
        assert_eq!(flow["flow"], finding["flow"]);
        for name in ["bytes_sent", "bytes_read", "unread", "kinds", "verdict"] {
            assert!(flow.get(name).is_some(), "{name} is missing: {flow}");
        }
    });
}

#[test]
fn raw_values_are_shown_only_where_asked() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .facts(&[("host.fqdn", MACHINE)])
            .arg("--reveal")
            .start()
            .await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(post(HOST, "/", "", &format!("{{\"host\":\"{MACHINE}\"}}"))).await;
        client.response().await;
        assert_eq!(divulge.finding_at("body!json:/host").await["value"], MACHINE);
    });
}

#[test]
fn every_request_that_reached_the_upstream_has_one_flow_line_with_its_bytes() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = under(&to_the_machine("log"), &authority, upstream.address).await;
        for _ in 0..3 {
            let mut client = Route::through(&divulge).http1().await;
            for number in 0..4 {
                client.send(post(HOST, &format!("/{number}"), "", &"1".repeat(10 * number + 1))).await;
                assert_eq!(client.response().await.status, 200);
            }
        }
        for _ in 0..100 {
            if divulge.lines().iter().filter(|line| line["type"] == "flow").count() >= 12 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        let lines = divulge.lines();
        let flows: Vec<&Value> = lines.iter().filter(|line| line["type"] == "flow").collect();
        let ids: std::collections::BTreeSet<String> = flows.iter().map(|flow| flow["flow"].to_string()).collect();
        assert_eq!((flows.len(), ids.len(), upstream.log.requests().len()), (12, 12, 12));
        let longer = |number: usize| {
            let of = |path: String| {
                flows.iter().find(|flow| flow["path"] == path).and_then(|flow| flow["bytes_sent"].as_u64())
            };
            of(format!("/{number}")).unwrap_or_else(|| panic!("no flow line for /{number}: {flows:?}"))
        };
        assert!((0..3).all(|number| longer(number + 1) >= longer(number) + 10), "{flows:?}");
    });
}

#[test]
fn a_body_over_the_limit_passes_or_not_as_on_error_says_and_is_told_either_way() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(5000));
        for (policy, on_error, passes) in
            [("audit", "open", true), ("strict", "open", true), ("strict", "closed", false), ("audit", "closed", false)]
        {
            let divulge = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .to(upstream.address)
                .facts(&[])
                .arg(format!("--policy={policy}"))
                .arg(format!("--on-error={on_error}"))
                .arg("--body-limit=1000")
                .start()
                .await;
            let before = upstream.log.requests().len();
            let mut client = Route::through(&divulge).http1().await;
            client.send(post(HOST, "/", "", &body)).await;
            let response = client.response().await;
            let arrived = upstream.log.requests().len() > before;
            assert_eq!((response.status == 200, arrived), (passes, passes), "{policy}, {on_error}: {response:?}");
            if passes {
                assert_eq!(upstream.log.requests()[before].body.data, body.as_bytes(), "{policy}, {on_error}");
            } else {
                assert!(response.field("x-divulge-block").is_some(), "{policy}, {on_error}: {response:?}");
            }
            divulge.finding_of("audit.unread").await;
        }
    });
}

/// A message of an AWS event stream with a JSON payload, told by its checksums alone.
fn event(payload: &str) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    let mut bytes = (16 + payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(crc(&bytes));
    bytes.extend_from_slice(payload.as_bytes());
    bytes.extend(crc(&bytes));
    bytes
}

#[test]
fn an_open_event_stream_and_its_trailers_are_edited_as_they_pass() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = under(&to_the_machine("redact"), &authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client
            .send(format!("POST /stream HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n"))
            .await;
        let events = [event("{\"n\":1}"), event(&format!("{{\"host\":\"{MACHINE}\"}}"))].concat();
        for piece in [&events[..20], &events[20..]] {
            client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
        }
        client.send(format!("0\r\nX-Sum: 1\r\nX-Host: {MACHINE}\r\n\r\n")).await;
        assert_eq!(client.response().await.status, 200);

        divulge.finding_at("body!event:/1!json:/host").await;
        divulge.finding_at("trailer:/x-host").await;
        let seen = upstream.log.one().await;
        assert!(seen.body.data.starts_with(&event("{\"n\":1}")) && !show(&seen.body.data).contains(MACHINE));
        let trailers = show(&seen.body.trailers);
        assert!(trailers.starts_with("X-Sum: 1\nX-Host: ") && !trailers.contains(MACHINE), "{trailers}");
    });
}

#[test]
fn a_request_is_withheld_for_what_its_trailers_hold() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = under(&to_the_machine("block"), &authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        let head = format!("POST /v1/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n");
        client
            .send(format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nX-Host: {MACHINE}\r\n\r\n"))
            .await;
        assert_eq!(client.response().await.status, 403);
        divulge.finding_at("trailer:/x-host").await;
        assert!(upstream.log.requests().is_empty());
    });
}

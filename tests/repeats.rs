//! What the engine remembers of earlier requests saves time and changes nothing: with its memory off, the findings are the same.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use divulge::engine::{
    DecodeLimits, Engine, EngineParts, Facts, LineContext, OnError, Outgoing, Policy, RuleSet, Templates, finding_line,
    flow_line,
};
use divulge::session::raw::Captured;

fn engine(policy: &str) -> Engine {
    let facts = [
        ("user.name", "anderson"),
        ("path.home", "/home/anderson"),
        ("path.cwd", "/home/anderson/src/billing"),
        ("tz.iana", "Asia/Shanghai"),
        ("host.name", "build-box-17"),
        ("git.email", "ann@acme.example"),
    ];
    Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::of(facts.map(|(kind, value)| (kind.to_owned(), value.to_owned()))),
        policy: Policy::preset(policy).expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    })
}

/// All that an audit says, and what leaves.
fn audit(engine: &Arc<Engine>, captured: &Captured) -> Vec<String> {
    let mut flow = engine.open("flow".to_owned(), captured.request.clone());
    let client = flow.client().map(|(client, version)| (client.to_owned(), version.map(str::to_owned)));
    let audited = flow.audit(captured.part());
    let findings = audited.findings;
    let mut said = vec![match audited.outgoing {
        Outgoing::Unchanged(bytes) => format!("{bytes:?}"),
        Outgoing::Rewritten(rewritten) => format!("{rewritten:?}"),
        Outgoing::Withheld(refusal) => format!("{refusal:?}"),
    }];
    let path = flow.path(false);
    let context = LineContext {
        time: "",
        session: "",
        flow: "flow",
        host: &captured.request.host,
        method: None,
        path: Some(&path),
        client: client.as_ref().map(|(client, _)| &**client),
        client_version: client.as_ref().and_then(|(_, version)| version.as_deref()),
        id: None,
        user: None,
        group: None,
        reveal: false,
        digest_key: &[7; 32],
    };
    said.extend(findings.iter().map(|finding| finding_line(finding, &context)));
    said.extend(findings.iter().map(|finding| finding_line(finding, &LineContext { reveal: true, ..context })));
    said.push(flow_line(&flow.close(), &context));
    said
}

/// Every request of the tests that is kept as raw HTTP.
fn requests() -> Vec<(PathBuf, Captured)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut waiting = vec![root.join("cases"), root.join("clean"), root.join("prompts"), root.join("roundtrip")];
    let mut found = Vec::new();
    while let Some(folder) = waiting.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "http") {
                let bytes = std::fs::read(&path).expect("a file of the tests");
                if let Ok(captured) = Captured::read(bytes.into()) {
                    found.push((path, captured));
                }
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

#[test]
fn every_request_says_the_same_the_second_time() {
    let requests = requests();
    assert!(requests.len() > 40, "only {} requests", requests.len());
    for policy in ["audit", "balanced", "strict"] {
        let (with, without) = (Arc::new(engine(policy)), Arc::new(engine(policy).without_memory().without_repeats()));
        for round in 0..2 {
            for (path, captured) in &requests {
                let expected = audit(&without, captured);
                assert_eq!(audit(&with, captured), expected, "{policy}, round {round}: {}", path.display());
            }
        }
    }
}

/// A conversation as a client sends it: all of it again with every turn.
fn turn(turns: usize) -> Captured {
    let words =
        "Let me look at the handlers in src/handlers/request.rs first, then run the tests of the module.\n".repeat(8);
    let told = [
        "<env>\nWorking directory: /home/anderson/src/billing\nPlatform: linux\n</env>\n",
        "",
        "It says `TZ=Asia/Shanghai` there, and ann@acme.example is the author.\n",
        "A\u{200b}\u{200b}\u{200b}B stands in the file, and MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7.\n",
    ];
    let messages: Vec<serde_json::Value> = (0..turns)
        .map(|number| {
            let text = format!("{}{words}", told[number % told.len()]);
            let content = match number % 3 {
                0 => serde_json::json!(text),
                1 => serde_json::json!([{"type": "text", "text": text}]),
                _ => serde_json::json!([{"type": "tool_result", "content": [{"type": "text", "text": text}]}]),
            };
            let role = ["user", "assistant"][number % 2];
            serde_json::json!({"role": role, "content": content})
        })
        .collect();
    let system = format!("You are a coding assistant.\nWorking directory: /home/anderson/src/billing\n{words}");
    let body = serde_json::json!({"model": "m", "system": system, "messages": messages}).to_string();
    request("/v1/messages", &body)
}

#[test]
fn a_conversation_says_the_same_turn_by_turn() {
    for policy in ["audit", "strict"] {
        let (with, without) = (Arc::new(engine(policy)), Arc::new(engine(policy).without_memory().without_repeats()));
        for turns in 1..12 {
            let captured = turn(turns);
            let expected = audit(&without, &captured);
            assert!(expected.len() > 3, "{expected:?}");
            assert_eq!(audit(&with, &captured), expected, "{policy}, turn {turns}");
        }
    }
}

/// A text says what it says where it stands, however often it stood elsewhere.
#[test]
fn a_text_that_is_known_is_judged_by_its_place() {
    let words =
        "The build runs under TZ=Asia/Shanghai on build-box-17, started in /home/anderson/src/billing by anderson.\n";
    let block = "<env>\nWorking directory: /home/anderson/src/billing\nPlatform: linux\nShell: zsh\n</env>\n";
    let texts = [
        words.repeat(8),
        format!("{block}{}", "Nothing else is known of it, says the person.\n".repeat(6)),
        format!("<system-reminder>\nToday\u{2019}s date is 2026/03/04.\n</system-reminder>\n{}", words.repeat(6)),
        format!("{}\u{200b}\u{200b}\u{200b}", words.repeat(8)),
        format!("{{\"cwd\":\"/home/anderson/src/billing\",\"note\":\"{}\"}}", "w ".repeat(200)),
        format!("time_zone=Asia/Shanghai; locale=de_DE.UTF-8; host=build-box-17; {}", "x=y; ".repeat(60)),
        "/home/anderson/src/billing/src/main.rs".to_owned(),
        "C:\\Users\\anderson\\billing".to_owned(),
    ];
    let placed: Vec<fn(&str) -> serde_json::Value> = vec![
        |text| serde_json::json!({"messages": [{"role": "user", "content": text}]}),
        |text| serde_json::json!({"messages": [{"role": "assistant", "content": [{"type": "text", "text": text}]}]}),
        |text| serde_json::json!({"messages": [{"role": "tool", "content": text}, {"content": text, "role": "user"}]}),
        |text| serde_json::json!({"messages": [{"content": [{"type": "tool_result", "content": [{"text": text}]}]}]}),
        |text| serde_json::json!({"system": [{"type": "text", "text": text}], "messages": [{"role": "system", "content": text}]}),
        |text| serde_json::json!({"tools": [{"name": "Read", "description": text}], "cwd": text, "workspace": {"path": text}}),
        |text| serde_json::json!({"list": [text, "zone", text], "labels": [{"key": "timezone", "value": text}]}),
        |text| serde_json::json!({"user_name": "Ann", "events": [{"name": text, "home": text, "value": text}, [text]]}),
        |text| serde_json::json!({"input": [{"role": "developer", "content": text}, {"type": "function_call_output", "output": text}]}),
        |text| {
            serde_json::json!({"tools": [
            {"name": "Find", "description": text, "input_schema": {"required": ["path", "zone"], "properties": {"zone": {"enum": ["Asia/Shanghai", "UTC"]}}}},
            {"name": "Read", "description": text, "input_schema": {"required": ["anderson"]}}]})
        },
        |text| {
            serde_json::json!({"messages": [
            {"role": "assistant", "tool_calls": [{"function": {"name": "run", "arguments": format!("{{\"cwd\":\"/home/anderson\",\"c\":\"{}\"}}", "c ".repeat(300))}}]},
            {"content": text, "/home/anderson": 1, "padding": "p ".repeat(300)},
            {"content": [text, "anderson"], "zone": "Asia/Shanghai", "n": 8, "padding": "p ".repeat(300)}]})
        },
        |text| {
            serde_json::json!({"attributes": [{"key": "timezone", "value": {"stringValue": text, "more": [{"stringValue": "x"}]}}, {"key": "k", "v": "w ".repeat(300)}],
            "request": {"contents": [{"role": "user", "parts": [{"text": text}]}]}})
        },
        |text| serde_json::json!({"contents": [{"role": "model", "parts": [{"functionResponse": {"response": {"output": text}}}]}]}),
    ];
    for policy in ["audit", "balanced", "strict"] {
        let (with, without) = (Arc::new(engine(policy)), Arc::new(engine(policy).without_memory().without_repeats()));
        for round in 0..4 {
            for (number, text) in texts.iter().enumerate() {
                for (place, document) in placed.iter().enumerate() {
                    for path in ["/v1/messages", "/api/telemetry"] {
                        // No two requests are the same, so that none is known as a whole.
                        let mut document = document(text);
                        document["nonce"] = serde_json::json!(format!("{round}-{number}-{place}"));
                        let captured = request(path, &document.to_string());
                        let expected = audit(&without, &captured);
                        assert_eq!(audit(&with, &captured), expected, "{policy}, round {round}: {document}");
                    }
                }
            }
        }
    }
}

/// Texts of a few letters, which say something under some names and beside some neighbours, each of them many times in a document.
#[test]
fn a_short_text_is_judged_by_its_place_each_time() {
    let facts = [
        ("user.name", "ann"),
        ("host.name", "dev"),
        ("tz.iana", "Asia/Shanghai"),
        ("tz.abbr", "CST"),
        ("locale.posix", "zh_CN.UTF-8"),
        ("hw.cores", "8"),
        ("hw.mem", "3136"),
        ("os.name", "Linux"),
        ("os.arch", "x64"),
        ("net.ip.local", "10.0.0.17"),
    ];
    let texts = [
        "ann",
        "YW5u",
        "616e6e",
        "%61nn",
        "dev",
        "CST",
        "8",
        "3136",
        "Linux",
        "linux",
        "x64",
        "en",
        "text",
        "user",
        "role",
        "timezone",
        "os",
        "cpu_count",
        "hostname",
        "10.0.0.17",
        "10.0.0.1",
        "Asia/Shanghai",
        "zh_CN.UTF-8",
        "os:linux",
        "host=dev",
        "a\u{200b}b",
        "C:\\Users\\ann",
        "~/src",
        "",
        " ",
        "/home/ann",
        "env:prod,host:dev",
        "9f86d081",
        "true",
        "<env>",
        "Shell: zsh",
    ];
    let names = [
        "text",
        "type",
        "name",
        "key",
        "value",
        "role",
        "os",
        "os_name",
        "hostname",
        "user",
        "cpus",
        "cpu_count",
        "timezone",
        "locale",
        "arch",
        "tags",
        "ddtags",
        "id",
        "path",
        "cwd",
        "ip",
        "label",
        "content",
        "stringValue",
        "version",
    ];
    let mut seed = 11u64;
    let mut draw = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let facts = Facts::of(facts.map(|(kind, value)| (kind.to_owned(), value.to_owned())));
    let engine = || {
        Engine::new(EngineParts {
            rules: RuleSet::builtin(),
            facts: facts.clone(),
            policy: Policy::preset("balanced").expect("a preset"),
            digest_key: [7; 32],
            limits: DecodeLimits::default(),
            on_error: OnError::Open,
        })
    };
    let (with, without) = (Arc::new(engine().without_memory()), Arc::new(engine().without_memory().without_repeats()));
    let mut found = 0;
    for round in 0..300 {
        let object = |draw: &mut dyn FnMut(usize) -> usize| {
            let members = (0..3 + draw(5)).map(|_| {
                let (name, text) = (names[draw(names.len())], texts[draw(texts.len())]);
                let zones = ["text", "user", "UTC", "Asia/Tokyo", "Asia/Shanghai"];
                let value = match draw(8) {
                    0 => format!("[{text:?}, {:?}]", texts[draw(texts.len())]),
                    // What stands before the fifth and those behind it tells what list it is.
                    3 => {
                        let zones: Vec<_> = (0..7).map(|_| zones[draw(zones.len())]).collect();
                        format!("{{\"timezone\": {zones:?}}}")
                    }
                    1 => format!("{{{:?}: {text:?}}}", names[draw(names.len())]),
                    2 => ["true", "null", "8", "3136"][draw(4)].to_owned(),
                    _ => serde_json::json!(text).to_string(),
                };
                format!("{name:?}: {}", value.replace("\\u{200b}", "\u{200b}"))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        };
        let objects: Vec<_> = (0..12).map(|_| object(&mut draw)).collect();
        let path = ["/v1/messages", "/api/telemetry"][round % 2];
        let body =
            format!("{{\"messages\": [{0}], \"events\": [{0}], \"metadata\": {1}}}", objects.join(", "), objects[0]);
        let captured = request(path, &body);
        let expected = audit(&without, &captured);
        found += expected.len() - 2;
        assert_eq!(audit(&with, &captured), expected, "{body}");
    }
    assert!(found > 3000, "only {found} lines");
}

/// What is learned of a client is the same, and what differs from it is found, whether texts are known or not.
#[test]
fn a_known_text_teaches_what_it_taught() {
    let mut templates = Templates::default();
    let learning = |engine: Engine| Arc::new(engine.with_templates(Arc::default(), true));
    let (with, without) = (learning(engine("audit")), learning(engine("audit").without_memory().without_repeats()));
    let told =
        "<system-reminder>\nToday's date is 2026-03-04. Do not mention it unless it's asked for.\n</system-reminder>\n";
    let words = "Please read src/handlers/request.rs and say what the handler does with an empty body.\n".repeat(5);
    let mut marks = 0;
    for turns in 1..16 {
        // The last ones spell it otherwise.
        let told = if turns > 12 { told.replace('\'', "\u{2019}").replace('-', "/") } else { told.to_owned() };
        let messages: Vec<_> = (0..turns)
            .map(|turn| {
                let content = format!("{told}{words}");
                {
                    let role = ["user", "assistant"][turn % 2];
                    serde_json::json!({"role": role, "content": [{"type": "text", "text": content}]})
                }
            })
            .collect();
        let system = format!("{told}{words}");
        let body = serde_json::json!({"model": "m", "turn": turns, "system": system, "messages": messages}).to_string();
        let captured = request("/v1/messages", &body);
        let said = audit(&without, &captured);
        assert_eq!(audit(&with, &captured), said, "turn {turns}");
        marks += said.iter().filter(|line| line.contains("\"cov.apostrophe\"")).count();
        let lessons = [&with, &without].map(|engine| {
            let mut flow = engine.open("flow".to_owned(), captured.request.clone());
            flow.audit(captured.part());
            let mut learned = Templates::default();
            learned.learn(flow.close().lesson, 1);
            learned.to_json()
        });
        assert_eq!(lessons[0], lessons[1], "turn {turns}");
        let mut flow = without.open("flow".to_owned(), captured.request.clone());
        flow.audit(captured.part());
        templates.learn(flow.close().lesson, 1);
        let known = Arc::new(templates.clone());
        with.set_templates(known.clone());
        without.set_templates(known);
    }
    assert!(marks > 0, "nothing was learned");
}

/// Elements of which all is known, form too, are compared with their neighbours and with what others do as if they were read.
#[test]
fn a_known_element_is_compared_as_it_was() {
    let learning = |engine: Engine| Arc::new(engine.with_templates(Arc::default(), true));
    let (with, without) = (learning(engine("audit")), learning(engine("audit").without_memory().without_repeats()));
    let lesson = |engine: &Arc<Engine>, captured: &Captured| {
        let mut flow = engine.open("flow".to_owned(), captured.request.clone());
        flow.audit(captured.part());
        flow.close().lesson
    };
    let mut templates = Templates::default();
    for number in 0..30 {
        templates.learn(lesson(&without, &form(number % 7, Odd::Nothing)), 1);
    }
    let known = Arc::new(templates);
    with.set_templates(known.clone());
    without.set_templates(known);
    let mut kinds = std::collections::BTreeSet::new();
    for round in 0..4 {
        for odd in [Odd::Nothing, Odd::Tools, Odd::Members, Odd::Before, Odd::Inside, Odd::Number, Odd::Held] {
            for turns in [2, 5, 6] {
                let captured = form(turns, odd);
                let expected = audit(&without, &captured);
                assert_eq!(audit(&with, &captured), expected, "round {round}, {odd:?}, {turns} turns");
                let learned = [&with, &without].map(|engine| {
                    let mut learned = Templates::default();
                    learned.learn(lesson(engine, &captured), 1);
                    learned.to_json()
                });
                assert_eq!(learned[0], learned[1], "round {round}, {odd:?}, {turns} turns");
                let found = ["cov.list_order", "cov.key_order", "cov.json_ws", "cov.number", "path.cwd"];
                kinds.extend(found.into_iter().filter(|kind| expected.iter().any(|line| line.contains(kind))));
            }
        }
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

/// Messages whose findings are known and whose form is not, since more was learned meanwhile, are those of whoever says them.
#[test]
fn a_message_that_is_read_for_its_form_alone_keeps_its_role() {
    let learning = |engine: Engine| Arc::new(engine.with_templates(Arc::default(), true));
    let (with, without) = (learning(engine("audit")), learning(engine("audit").without_memory().without_repeats()));
    let block = "<env>\nIt's so, and that's that: don't read it.\n</env>\n";
    let words = "It reads the file and says what stands in it, a line for each.\n".repeat(10);
    let mut templates = Templates::default();
    for turns in 1..10 {
        let messages: Vec<_> = (0..turns)
            .map(|turn| {
                let role = ["assistant", "tool", "user", "system"][turn % 4];
                let content = format!("{turn} {block}{words}");
                serde_json::json!({"role": role, "content": [{"type": "text", "text": content}]})
            })
            .collect();
        let body = serde_json::json!({"model": "m", "turn": turns, "messages": messages}).to_string();
        let captured = request("/v1/messages", &body);
        let lessons = [&with, &without].map(|engine| {
            let mut flow = engine.open("flow".to_owned(), captured.request.clone());
            flow.audit(captured.part());
            flow.close().lesson
        });
        let learned = lessons.clone().map(|lesson| {
            let mut learned = Templates::default();
            learned.learn(lesson, 1);
            learned.to_json()
        });
        assert_eq!(learned[0], learned[1], "{turns} turns");
        let [_, lesson] = lessons;
        templates.learn(lesson, 1);
        let known = Arc::new(templates.clone());
        with.set_templates(known.clone());
        without.set_templates(known);
    }
}

/// A value in an encoding, or in two: `way` says in which.
fn encoded(way: usize, value: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let document = serde_json::json!({"note": {"cwd": value, "list": [{"text": format!("see {value} \"there\"")}]}});
    let document = document.to_string();
    let percent = |text: &str| -> String {
        text.bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect()
    };
    let gzip = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).expect("memory");
        packed.finish().expect("memory")
    };
    match way {
        0 => document,
        1 => serde_json::json!({ "inner": document }).to_string(),
        2 => STANDARD.encode(&document),
        3 => URL_SAFE_NO_PAD.encode(&document),
        4 => percent(&document),
        5 => STANDARD.encode(gzip(&document)),
        6 => format!("it came as {} and so on", STANDARD.encode(gzip(&document))),
        7 => STANDARD.encode(STANDARD.encode(&document)),
        8 => document.bytes().map(|byte| format!("{byte:02x}")).collect(),
        9 => document.replace('"', "&quot;"),
        10 => format!("{}\n{}\n", document.replace('\n', " "), serde_json::json!({"other": value})),
        11 => STANDARD.encode(value),
        12 => percent(value),
        _ => format!("eyJhbGciOiJub25lIn0.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(&document)),
    }
}
const WAYS: usize = 14;

#[test]
fn a_known_element_tells_what_stands_in_its_encodings() {
    let words = "Let me look at the handlers first, then run the tests of the module.\n".repeat(8);
    let values = ["/home/anderson/src/billing", "/home/stranger/notes", "ann@acme.example", "Asia/Shanghai"];
    for policy in ["audit", "balanced", "strict"] {
        let (with, without) = (Arc::new(engine(policy)), Arc::new(engine(policy).without_memory().without_repeats()));
        let messages: Vec<serde_json::Value> = (0..WAYS * 2)
            .map(|number| {
                let (value, text) = (values[number % values.len()], words.clone());
                let other = encoded((number * 5 + 3) % WAYS, values[number / 3 % values.len()]);
                serde_json::json!({"role": "user", "payload": encoded(number % WAYS, value), "content": [{"type": "text",
                    "text": text}, {"type": "text", "text": other}]})
            })
            .collect();
        let mut deep = 0;
        for turns in (1..=messages.len()).step_by(3).chain([messages.len(); 2]) {
            let body = serde_json::json!({"model": "m", "turn": turns, "messages": messages[..turns]}).to_string();
            let captured = request("/v1/messages", &body);
            let expected = audit(&without, &captured);
            deep = expected
                .iter()
                .filter(|line| line.contains("!b64!gzip!json:/note") || line.contains("!url!json"))
                .count();
            assert_eq!(audit(&with, &captured), expected, "{policy}, {turns} turns");
        }
        assert!(deep > 8, "only {deep} findings stand in encodings");
    }
}

/// Values behind escapes, between them and with escapes of their own, many in one text.
#[test]
fn a_known_text_of_escapes_tells_what_stands_among_them() {
    let spelled = [
        "/home/anderson/src/billing/main.rs",
        r"\/home\/anderson\/src\/billing",
        r"\u002fhome\u002fanderson\u002fsrc",
        r"C:\\Users\\anderson\\billing",
        r"ann@acme.exam\u0070le",
        "ann@acme.example",
        r"/home/stranger\tnotes",
    ];
    let lines = |number: usize| -> String {
        let line = |at: usize| {
            let value = spelled[(number + at * at) % spelled.len()];
            format!(r#"{at}:\t\"{value}\" \u00e9t\u00e9 \ud83d\ude00 \\n {value}\n"#)
        };
        (0..20).map(line).collect()
    };
    let message = |number: usize| {
        let (text, other) = (lines(number), spelled[number % spelled.len()]);
        let whole = format!(r#"{{"type":"text","text":"{other}"}}"#);
        format!(
            r#"{{"role":"user","content":[{{"type":"text","text":"\n{text}"}},{whole}],"input":{{"path":"{other}"}}}}"#
        )
    };
    for policy in ["audit", "balanced", "strict"] {
        let (with, without) = (Arc::new(engine(policy)), Arc::new(engine(policy).without_memory().without_repeats()));
        let mut found = 0;
        for turns in [1, 3, 8, 8, 14, 14] {
            let messages: Vec<String> = (0..turns).map(message).collect();
            let captured = request("/v1/messages", &format!(r#"{{"model":"m","messages":[{}]}}"#, messages.join(",")));
            let expected = audit(&without, &captured);
            assert_eq!(audit(&with, &captured), expected, "{policy}, {turns} turns");
            found = expected.len();
        }
        assert!(found > 500, "only {found} lines");
    }
}

/// More documents than are kept of one element, and a deep one behind them.
#[test]
fn an_element_with_hundreds_of_encoded_documents_says_the_same() {
    let (with, without) = (Arc::new(engine("audit")), Arc::new(engine("audit").without_memory().without_repeats()));
    let turn = |count: usize, turn: usize| {
        let parts: Vec<String> = (0..count).map(|n| encoded(2 + n % 2, &format!("/home/anderson/src/{n}"))).collect();
        let body = serde_json::json!({"turn": turn, "messages": [{"role": "user", "parts": parts, "last": encoded(7, "/home/anderson/x")}]});
        request("/v1/messages", &body.to_string())
    };
    for count in [200, 400] {
        for number in 0..3 {
            let captured = turn(count, number);
            let expected = audit(&without, &captured);
            assert!(expected.len() > count, "{}", expected.len());
            assert_eq!(audit(&with, &captured), expected, "{count}, turn {number}");
        }
    }
}

/// What is odd about a request, if anything is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Odd {
    Nothing,
    /// Two tools change places.
    Tools,
    /// Two members of a message do.
    Members,
    /// White space before a message.
    Before,
    /// In one.
    Inside,
    /// A number is spelled otherwise.
    Number,
    /// A document inside a text says where it was made.
    Held,
}

/// A conversation whose spelling is as `odd` says; no two are the same.
fn form(turns: usize, odd: Odd) -> Captured {
    use base64::Engine as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NONCE: AtomicUsize = AtomicUsize::new(0);
    let words = "It reads the file and says what stands in it, a line for each.\\n".repeat(10);
    let tool = |name: &str| {
        format!(
            r#"{{"name":"{name}","description":"{words}","input_schema":{{"type":"object","required":["path","limit"],"properties":{{"path":{{"type":"string"}},"limit":{{"type":"integer"}}}}}}}}"#
        )
    };
    let mut tools = ["Bash", "Edit", "Glob", "Read"].map(tool);
    if odd == Odd::Tools {
        tools.swap(1, 2);
    }
    let held = |number: usize| {
        let place = if odd == Odd::Held && number > 2 { "/home/anderson/src/billing" } else { "somewhere" };
        let note = format!(r#"{{"kind":"note","place":"{place}","lines":[{{"text":"{words}","n":{number}}}]}}"#);
        match number % 2 {
            0 => base64::engine::general_purpose::STANDARD.encode(note),
            _ => note.replace('\\', "\\\\").replace('"', "\\\""),
        }
    };
    let message = |number: usize| {
        let role = ["user", "assistant"][number % 2];
        let (colon, count) = match odd {
            Odd::Inside if number == 1 => (": ", "1"),
            Odd::Number if number == 1 => (":", "1.0"),
            _ => (":", "1"),
        };
        let text = if number % 3 == 2 { held(number) } else { words.clone() };
        let content = format!(r#"[{{"type"{colon}"text","text":"{text}","cache":{count}}}]"#);
        match odd {
            Odd::Members if number == 1 => format!(r#"{{"content":{content},"role":"{role}"}}"#),
            _ => format!(r#"{{"role":"{role}","content":{content}}}"#),
        }
    };
    let messages: Vec<String> = (0..turns + 2).map(message).collect();
    let mut messages = messages.join(",");
    if odd == Odd::Before {
        messages = messages.replacen(r#"},{"role""#, r#"}, {"role""#, 1);
    }
    let (tools, nonce) = (tools.join(","), NONCE.fetch_add(1, Ordering::Relaxed));
    request("/v1/messages", &format!(r#"{{"model":"m","nonce":"{nonce}","messages":[{messages}],"tools":[{tools}]}}"#))
}

fn request(path: &str, body: &str) -> Captured {
    let head = format!("POST {path} HTTP/1.1\r\nhost: api.anthropic.com\r\ncontent-type: application/json\r\n");
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    Captured::read(request.into_bytes().into()).expect("a request")
}

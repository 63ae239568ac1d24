//! `divulge inspect` as a user types it.
#![cfg(feature = "proxy")]

use std::path::Path;
use std::process::{Command, Output};

const REQUEST: &str = "POST /v1/events HTTP/1.1\nHost: telemetry.example.com\nContent-Type: application/json\n\n\
    { \"deviceId\" : \"9f86d081-884c-4d65-9a2f-eaa0c55ad015\", \"who\":\"anderson\", \"n\": 1.50 }\n";
const FACTS: &str = r#"[{"kind":"user.name","value":"anderson"}]"#;

fn inspect(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_divulge"))
        .env_clear()
        .env("HOME", folder)
        .arg("inspect")
        .arg("--state")
        .arg(folder.join("state"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("divulge starts")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "in/a.http", REQUEST);
    write(folder.path(), "in/deep/b.http", &REQUEST.replace("/v1/events", "/v1/more?deviceId=1"));
    write(folder.path(), "in/notes.txt", "no capture");
    write(folder.path(), "facts.json", FACTS);
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
    std::fs::write(path, text).expect("the file can be written");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn what_audit_emits_is_byte_for_byte_what_was_read() {
    let folder = folder();
    let output = inspect(folder.path(), &["--facts", "facts.json", "--emit", "out", "in"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_to_string(folder.path().join("out/a.http")).unwrap(), REQUEST);
    let table = text(&output.stdout);
    for part in ["1 host · 2 requests", "telemetry.example.com", "id.device", "user.name", "body!json:/deviceId"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert!(!table.contains("anderson") && !table.contains("9f86d081"), "raw values in\n{table}");
}

#[test]
fn findings_are_lines_with_masked_values_and_a_flow_line_at_the_end_of_each_flow() {
    let folder = folder();
    let output = inspect(folder.path(), &["--facts", "facts.json", "--findings", "-", "in/a.http"]);
    let lines = lines(&output);
    let (flow, findings) = lines.split_last().expect("there are lines");
    assert_eq!((&flow["type"], &flow["flow"], &flow["verdict"]), (&"flow".into(), &"a".into(), &"forwarded".into()));
    let user = findings.iter().find(|line| line["kind"] == "user.name").expect("the fact is found");
    assert_eq!((&user["location"], &user["detector"]), (&"body!json:/who".into(), &"fact".into()));
    assert!(!text(&output.stdout).contains("anderson"));

    let output = inspect(folder.path(), &["--facts", "facts.json", "--findings", "-", "--reveal", "in/a.http"]);
    assert!(text(&output.stdout).contains("\"value\":\"anderson\""));
}

#[test]
fn equal_values_have_equal_digests_from_run_to_run() {
    let folder = folder();
    let digest = || {
        let output = inspect(folder.path(), &["--findings", "-", "in/a.http"]);
        lines(&output).iter().find(|line| line["kind"] == "id.device").map(|line| line["value_hmac"].clone())
    };
    let first = digest();
    assert!(first.is_some());
    assert_eq!(first, digest());
}

#[test]
fn strict_edits_declared_places_alone_and_alike_every_time() {
    let folder = folder();
    let emitted = |name: &str| {
        let output =
            inspect(folder.path(), &["--facts", "facts.json", "--policy", "strict", "--emit", name, "in/a.http"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::read_to_string(folder.path().join(name).join("a.http")).unwrap()
    };
    let once = emitted("one");
    assert!(!once.contains("anderson") && !once.contains("9f86d081"), "{once}");
    assert!(once.contains("\"who\":\"user\", \"n\": 1.50 }\n"), "{once}");
    assert_eq!(once, emitted("two"));
}

#[test]
fn a_flow_is_explained_rule_by_rule() {
    let folder = folder();
    let args = ["--facts", "facts.json", "--policy", "strict", "--explain", "a", "in"];
    let output = inspect(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let row = table.lines().find(|line| line.starts_with("body!json:/deviceId ")).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains("id.device") && row.contains("redact") && row.contains("strict line "), "{row}");
    assert!(!table.contains("anderson") && !table.contains("9f86d081"), "raw values in\n{table}");
    let output = inspect(folder.path(), &["--explain", "c", "in"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there are a, b"), "{}", text(&output.stderr));
}

#[test]
fn what_a_policy_would_change_is_shown_leaf_by_leaf() {
    let folder = folder();
    let output = inspect(folder.path(), &["--facts", "facts.json", "--policy", "strict", "--diff", "in"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for part in [
        "POST telemetry.example.com /v1/events  0 new · 0 gone · 2 changed",
        "flow     a",
        "changed  body!json:/who  [-… (8 bytes)-]{+user+}",
        "telemetry.example.com  user.name  –         redact  2",
        "as captured -> strict\n  would be  2 edited\n",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains("anderson") && !shown.contains("9f86d081"), "raw values in\n{shown}");

    let output =
        inspect(folder.path(), &["--facts", "facts.json", "--policy", "strict", "--diff", "--reveal", "in/a.http"]);
    assert!(text(&output.stdout).contains("[-anderson-]{+user+}"), "{}", text(&output.stdout));
    let output = inspect(folder.path(), &["--diff", "in"]);
    assert!(text(&output.stdout).ends_with("nothing would be decided otherwise\n"), "{}", text(&output.stdout));

    write(folder.path(), "block.toml", "[[rule]]\nkind = \"user.*\"\naction = \"block\"\n");
    let output = inspect(folder.path(), &["--facts", "facts.json", "--policy", "block.toml", "--diff", "in/a.http"]);
    let shown = text(&output.stdout);
    assert!(shown.contains("  withheld  ") && shown.contains("would be  1 withheld"), "{shown}");
}

#[test]
fn archives_of_browsers_are_inspected_and_exported() {
    let folder = folder();
    let entry = r#"{"startedDateTime":"2026-11-22T20:29:12.138Z","time":5,"request":{"method":"POST","url":"https://api.example.com/v1/x","httpVersion":"HTTP/2","headers":[{"name":":authority","value":"api.example.com"},{"name":"content-type","value":"application/json"}],"queryString":[],"cookies":[],"headersSize":-1,"bodySize":18,"postData":{"mimeType":"application/json","text":"{\"who\":\"anderson\"}"}},"response":{"status":200,"statusText":"OK","httpVersion":"HTTP/2","headers":[{"name":"content-type","value":"text/plain"}],"cookies":[],"content":{"size":2,"mimeType":"text/plain","text":"ok"},"redirectURL":"","headersSize":-1,"bodySize":2},"cache":{},"timings":{"send":1,"wait":2,"receive":2}}"#;
    let har =
        format!(r#"{{"log":{{"version":"1.2","creator":{{"name":"x","version":"1"}},"entries":[{entry},{entry}]}}}}"#);
    write(folder.path(), "browser.har", &har);
    let output = inspect(folder.path(), &["--facts", "facts.json", "--findings", "-", "browser.har"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found = lines(&output);
    let names: Vec<_> = found.iter().filter(|line| line["kind"] == "user.name").collect();
    assert_eq!(names.len(), 2, "{found:?}");
    assert_eq!(names[0]["location"], "body!json:/who");
    assert_eq!(names[0]["host"], "api.example.com");

    // Cut in the second entry: the first is read, and where it ends is told.
    write(folder.path(), "cut.har", &har[..har.len() - 300]);
    let output = inspect(folder.path(), &["--facts", "facts.json", "cut.har"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("offset"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("1 request"), "{}", text(&output.stdout));

    let output = inspect(folder.path(), &["--har", "out.har", "browser.har"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("out.har")).unwrap()).unwrap();
    assert_eq!(again["log"]["entries"][1]["request"]["postData"]["text"], "{\"who\":\"anderson\"}");
    let id = found[0]["flow"].as_str().unwrap();
    let output = inspect(folder.path(), &["--curl", id, "browser.har"]);
    let command = text(&output.stdout);
    assert!(command.contains("curl ") && command.contains("https://api.example.com/v1/x"), "{command}");
}

#[test]
fn policies_are_checked_without_any_traffic() {
    let folder = folder();
    write(folder.path(), "odd.toml", "[[rule]]\nkind = 'tz.*'\naction = 'generalize'\n[[rule]]\naction = 'log'\n");
    write(folder.path(), "bad.toml", "[[rule]]\nkind = 'id.*'\naction = 'delete'\n");
    let check = |names: &[&str]| {
        let command = Command::new(env!("CARGO_BIN_EXE_divulge"));
        let mut command = command;
        command.env_clear().args(["rules", "check"]).args(names).current_dir(folder.path());
        command.output().expect("divulge starts")
    };
    let output = check(&["strict", "odd.toml"]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("time.local is kept"), "{}", text(&output.stderr));
    let output = check(&["bad.toml", "strict"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("bad.toml:3"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("strict: "), "the others are checked all the same");
}

#[test]
fn a_withheld_request_has_no_file() {
    let folder = folder();
    write(folder.path(), "block.toml", "[[rule]]\nkind = 'id.device'\naction = 'block'\n");
    let output = inspect(folder.path(), &["--policy", "block.toml", "--emit", "out", "in/a.http"]);
    assert!(output.status.success());
    assert!(!folder.path().join("out/a.http").exists());
    assert!(text(&output.stdout).contains("blocks id.device"), "{}", text(&output.stdout));
}

#[test]
fn the_status_says_what_happened() {
    let folder = folder();
    write(folder.path(), "bad/c.http", "this is no request\n\n");
    write(folder.path(), "bad/a.http", REQUEST);
    write(folder.path(), "wrong.toml", "[[rule]]\nhots = 'x'\naction = 'log'\n");
    write(folder.path(), "wrong.json", "{\"kind\":1}");
    write(folder.path(), "twice/a.http", REQUEST);
    for (args, status, says) in [
        (&["in"][..], 0, ""),
        (&["--fail-on", "high", "in"][..], 1, ""),
        (&["--policy", "wrong.toml", "in"][..], 2, "wrong.toml:2: unknown field `hots`, expected one of"),
        (&["--facts", "wrong.json", "in"][..], 2, "wrong.json:1:"),
        (&["--policy", "nonesuch", "in"][..], 2, "audit, balanced and strict"),
        (&["nowhere"][..], 2, "nowhere"),
        (&["state"][..], 2, "no captured requests"),
        (&["--emit", "out", "in/a.http", "twice/a.http"][..], 2, "the same file"),
        (&["--emit", "in", "in/a.http"][..], 2, "would be overwritten"),
        (&["bad"][..], 3, "c.http: line 1"),
    ] {
        let output = inspect(folder.path(), args);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {errors}");
        assert!(errors.contains(says), "{args:?} does not say {says}: {errors}");
    }
}

#[test]
fn a_body_over_the_limit_is_reported_and_on_error_decides() {
    let folder = folder();
    let run = |extra: &[&str]| {
        let mut args = vec!["--body-limit", "10", "--findings", "-", "--emit", "out", "in/a.http"];
        args.extend(extra);
        let output = inspect(folder.path(), &args);
        let lines = lines(&output);
        let unread = lines.iter().find(|line| line["kind"] == "audit.unread").cloned().expect("it is reported");
        assert_eq!(unread["location"], "body");
        (lines.last().expect("a flow line")["verdict"].clone(), folder.path().join("out/a.http").exists())
    };
    assert_eq!(run(&[]), ("forwarded".into(), true));
    assert_eq!(run(&["--on-error", "closed"]), ("withheld".into(), false));
}

/// One request of an invented client, with what its user asked.
fn turn(asked: &str) -> String {
    let system = "You are a helper. Don't guess; it's the user's project. Today's date: 2026-11-27. Say what isn't known; don't stop.";
    let content = format!("<system-reminder>The list is empty; don't mention it.</system-reminder> {asked}");
    let body = serde_json::json!({"model": "m-1", "temperature": 1, "system": system, "messages": [{"role": "user", "content": content}]});
    format!(
        "POST /v1/messages HTTP/1.1\nHost: api.example.com\nUser-Agent: examplecoder/1.2.3\nContent-Type: application/json\n\n{body}"
    )
}

#[test]
fn one_request_of_a_folder_that_is_spelled_otherwise_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (number, asked) in ["fix it", "it\u{2019}s broken", "write  tests", "why?"].iter().enumerate() {
        write(folder.path(), &format!("in/{number}.http"), &turn(asked));
    }
    write(
        folder.path(),
        "in/marked.http",
        &turn("go on").replacen("Today's", "Today\u{2019}s", 1).replacen("2026-11-27", "2026/11/27", 1),
    );
    write(folder.path(), "in/broken.http", "no request");

    let marks = |args: &[&str]| -> Vec<String> {
        let output = inspect(folder.path(), args);
        let found = lines(&output).into_iter().filter(|line| line["detector"] == "template");
        found.map(|line| format!("{} {} {} {}", line["flow"], line["kind"], line["location"], line["bits"])).collect()
    };
    let expected = [
        r#""marked" "cov.apostrophe" "body!json:/system@61-64" 3.0"#,
        r#""marked" "cov.date_sep" "body!json:/system@76-77" 2.0"#,
        r#""marked" "cov.date_sep" "body!json:/system@79-80" 2.0"#,
    ];
    assert_eq!(marks(&["--findings", "-", "in"]), expected);
    assert_eq!(marks(&["--findings", "-", "in"]), expected, "the same again");
    // Alone, an apostrophe unlike the others is all that can be seen.
    let alone = marks(&["--findings", "-", "in/marked.http"]);
    assert_eq!(alone, expected[..1], "{alone:?}");
}

#[test]
fn trailers_of_a_chunked_capture_are_read_and_edited() {
    let folder = folder();
    let head = "POST /v1/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let captured = format!("{head}2\r\n{{}}\r\n0\r\nX-User: anderson\r\n\r\n");
    write(folder.path(), "chunked/a.http", &captured);
    let args = ["--facts", "facts.json", "--findings", "-", "--emit", "out", "chunked"];
    let output = inspect(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found = lines(&output);
    assert!(found.iter().any(|line| line["location"] == "trailer:/x-user"), "{found:#?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("out/a.http")).unwrap(), captured);
    let strict: Vec<&str> = ["--policy", "strict"].into_iter().chain(args).collect();
    inspect(folder.path(), &strict);
    let left = std::fs::read_to_string(folder.path().join("out/a.http")).unwrap();
    assert!(left.starts_with(&format!("{head}2\r\n{{}}\r\n0\r\nX-User: ")) && !left.contains("anderson"), "{left}");
}

/// A session of flows to these hosts, in which a device's id was found; `from`: the number of the first.
fn recorded(path: &Path, from: u64, hosts: &[&str]) {
    use divulge::session::flow::{Exchange, Message};
    use divulge::session::store::{About, SessionWriter};
    let about = About { bodies: "full".into(), policy: "audit".into(), ..About::default() };
    let (mut writer, mut file) = SessionWriter::begin(&about);
    for (number, host) in (from..).zip(hosts) {
        let id = format!("{:06}", number % 10);
        let body = format!("{{\"deviceId\":\"9f86d081-884c-4d65-9a2f-eaa0c55ad0{number:02}\",\"n\":{number}}}");
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let exchange = Exchange {
            id: id.clone(),
            started: Some(1_764_201_600_000 + number * 3_600_000),
            host: (*host).into(),
            port: 443,
            secure: true,
            request: Message { head: head.into(), body: body.into(), ..Message::default() },
            response: Some(Message { head: "HTTP/1.1 200 OK\r\n\r\n".into(), ..Message::default() }),
            ..Exchange::default()
        };
        let finding = format!("{{\"flow\":\"{id}\",\"host\":\"{host}\",\"kind\":\"id.device\",\"location\":\"body\"}}");
        let flow = format!(
            "{{\"type\":\"flow\",\"flow\":\"{id}\",\"host\":\"{host}\",\"method\":\"POST\",\"path\":\"/v1/events\",\"verdict\":\"forwarded\",\"bytes_sent\":9}}"
        );
        file.extend(writer.request(&exchange));
        file.extend(writer.lines(&id, vec![finding, flow]));
        file.extend(writer.end(&exchange));
    }
    std::fs::write(path, file).expect("the session can be written");
}

#[test]
fn sessions_are_put_together_and_taken_apart_and_stay_verifiable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Both call their flows alike, and the second begins in the middle of the first.
    recorded(&folder.path().join("a.session"), 1, &["a.example.com", "b.example.com", "a.example.com"]);
    recorded(&folder.path().join("b.session"), 12, &["c.example.com", "a.example.com"]);
    let ran = |args: &[&str]| {
        let output = inspect(folder.path(), args);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    };
    assert!(ran(&["--merge", "all.session", "b.session", "a.session"]).contains("all.session: 5 flows, chain "));
    assert!(ran(&["--verify", "all.session"]).contains(" records in order"));
    let listed = ran(&["--list", "all.session"]);
    let hosts: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().nth(4)).skip(1).collect();
    assert_eq!(hosts, ["a", "b", "a", "c", "a"].map(|name| format!("{name}.example.com")), "{listed}");
    assert!(listed.contains("2.000002") && listed.contains("id.device ×1"), "{listed}");
    let narrowed = ran(&["--list", "--host", "a.*", "--kind", "id.*", "all.session"]);
    assert!(narrowed.ends_with("3 flows\n"), "{narrowed}");
    assert!(ran(&["--list", "--kind", "tz.*", "all.session"]).ends_with("0 flows\n"));

    // The same is found in it as in the two.
    let found = |args: &[&str]| -> Vec<(String, String)> {
        let output = inspect(folder.path(), &[&["--findings", "-"], args].concat());
        let of = |line: &serde_json::Value| (line["kind"].to_string(), line["value_hmac"].to_string());
        let mut found: Vec<_> = lines(&output).iter().filter(|line| line["kind"].is_string()).map(of).collect();
        found.sort();
        found
    };
    let all = found(&["all.session"]);
    assert!(all.len() >= 5);
    assert_eq!(all, found(&["a.session", "b.session"]));

    let said = ran(&["--split", "parts", "all.session"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    for (host, flows) in [("a", 3), ("b", 1), ("c", 1)] {
        let part = format!("parts/all.{host}.example.com.session");
        assert!(said.contains(&format!("{part}: {flows} flows")), "{said}");
        assert!(ran(&["--verify", &part]).contains(" records in order"));
    }
    let parts = ["a", "b", "c"].map(|host| format!("parts/all.{host}.example.com.session"));
    assert_eq!(all, found(&parts.each_ref().map(String::as_str)));
    assert_eq!(ran(&["--split", "days", "--by", "day", "all.session"]).lines().count(), 1);
    assert_eq!(ran(&["--split", "flows", "--by", "flow", "all.session"]).lines().count(), 5);

    // What is there is not written over; what is kept otherwise is not mixed.
    let output = inspect(folder.path(), &["--merge", "all.session", "a.session"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("all.session"), "{}", text(&output.stderr));
}

#[test]
fn captures_of_any_format_are_compared_request_by_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let har = |name: &str, id: &str, who: &str| {
        let entry = serde_json::json!({"startedDateTime": "2026-11-22T20:29:12.138Z", "time": 5,
            "request": {"method": "POST", "url": "https://api.example.com/v1/x", "httpVersion": "HTTP/1.1",
                "headers": [{"name": "Host", "value": "api.example.com"}, {"name": "content-type", "value": "application/json"}],
                "queryString": [], "cookies": [], "headersSize": -1, "bodySize": -1,
                "postData": {"mimeType": "application/json", "text": format!("{{\"colour\":\"{id}\",\"who\":\"{who}\"}}")}},
            "response": {"status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1", "headers": [], "cookies": [],
                "content": {"size": 0, "mimeType": "text/plain"}, "redirectURL": "", "headersSize": -1, "bodySize": 0},
            "cache": {}, "timings": {"send": 1, "wait": 2, "receive": 2}});
        let archive = serde_json::json!({"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": [entry]}});
        write(folder.path(), name, &archive.to_string());
    };
    har("old/1.har", "red", "anderson");
    har("old/2.har", "green", "anderson");
    har("old/3.har", "blue", "anderson");
    har("new/1.har", "pink", "Anders\u{f3}n");
    write(
        folder.path(),
        "new.http",
        "POST /v1/x HTTP/1.1\nHost: api.example.com\ncontent-type: application/json\n\n{\"colour\":\"red\",\"who\":\"andersen\"}",
    );
    let diff = |a: &str, b: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_divulge"));
        let output = command.env_clear().args(["diff", "--format", "json", a, b]).current_dir(folder.path()).output();
        let output = output.expect("divulge starts");
        assert!(output.status.success(), "{a} {b}: {}", text(&output.stderr));
        let compared: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a comparison is JSON");
        let changes = compared["requests"][0]["changes"].as_array().cloned().unwrap_or_default();
        let said = changes.iter().filter(|change| change["location"].as_str().is_some_and(|at| at.starts_with("body")));
        said.map(|change| format!("{} {}", change["location"].as_str().unwrap_or_default(), change["noise"]))
            .collect::<Vec<_>>()
    };
    // A capture and a file of one request, in both directions.
    assert_eq!(diff("old/1.har", "new.http"), ["body!json:/who null"]);
    assert_eq!(diff("new.http", "old/1.har"), ["body!json:/who null"]);
    // Alone, nobody knows what varies by itself; three repeats teach it.
    assert_eq!(diff("old/1.har", "new/1.har"), ["body!json:/colour null", "body!json:/who null"]);
    let learned = diff("old", "new");
    assert!(learned[0].starts_with("body!json:/colour \"") && learned[1] == "body!json:/who null", "{learned:?}");
    // A session too.
    recorded(&folder.path().join("a.session"), 1, &["api.example.com"]);
    assert!(!diff("a.session", "old").is_empty(), "another body");
}

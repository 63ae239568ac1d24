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

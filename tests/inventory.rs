//! Which files of a working tree left, and how much of each: the command itself over captured requests, sessions and a live
//! run.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Some lines of code that stand in no other file.
fn code(word: &str) -> String {
    (0..40).map(|at| format!("    let {word}_{at} = {word}(row_{at}).map(|{word}| {word} + {at});\n")).collect()
}

/// A tree with text, a picture, an ignored file and two files that say the same.
fn tree(root: &Path) {
    let write = |name: &str, text: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("src/ledger.rs", code("ledger").as_bytes());
    write("src/invoice.rs", code("invoice").as_bytes());
    write("notes.txt", "Der Kanarienvogel singt im Hauptbuch, und niemand hört ihm zu.\n".repeat(2).as_bytes());
    write("src/unsent.rs", code("unsent").as_bytes());
    write("assets/logo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    write("assets/other.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    write(".gitignore", b".env\nbuild/\n");
    write(".env", b"DATABASE_PASSWORD=kanarienvogel-4711\nLEDGER_MODE=quiet-and-dark\n");
    write(
        "package.json",
        json!({"name": "kanarienvogel-ledger", "scripts": {"start": "node kanarienvogel.js --quiet"}})
            .to_string()
            .as_bytes(),
    );
}

fn divulge(state: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_divulge"))
        .args(arguments)
        .env("DIVULGE_STATE", state)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn files(findings: &Path) -> Vec<Value> {
    let text = fs::read_to_string(findings).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["type"] == "file").collect()
}

fn of<'a>(files: &'a [Value], name: &str) -> &'a Value {
    files.iter().find(|file| file["file"] == name).unwrap_or_else(|| panic!("{name} is not among {files:?}"))
}

#[test]
fn captured_requests_tell_which_files_left_for_which_host_and_how_much_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    tree(&folder.path().join("tree"));
    let ledger = code("ledger");
    // As a tool hands out a file, with line numbers; half of another; a document in a string; one in base64; and the ignored one.
    let numbered: String = ledger.lines().zip(1..).map(|(line, at)| format!("{at:>6}→{line}\n")).collect();
    let invoice = code("invoice");
    let encoded = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        fs::read(folder.path().join("tree/notes.txt")).unwrap(),
    );
    let env = fs::read_to_string(folder.path().join("tree/.env")).unwrap();
    fs::create_dir(folder.path().join("capture")).unwrap();
    let request = |host: &str, body: Value| {
        format!("POST /v1/messages HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\r\n{body}")
    };
    let first = json!({"messages": [
        {"role": "user", "content": format!("Read this:\n{numbered}")},
        {"role": "user", "content": format!("and see assets/logo.png.\n{}", &invoice[..invoice.len() / 2])},
    ]});
    let package = fs::read_to_string(folder.path().join("tree/package.json")).unwrap();
    let second = json!({"attachment": encoded, "package": package, "env": env, "note": "unlike assets/other.png.bak"});
    fs::write(at("capture/1.http"), request("api.example.com", first)).unwrap();
    fs::write(at("capture/2.http"), request("log.example.com", second)).unwrap();

    let arguments = ["inspect", "--inventory", &at("tree"), "--findings", &at("out.jsonl"), &at("capture")];
    let output = divulge(folder.path(), &arguments);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let files = files(&folder.path().join("out.jsonl"));

    let ledger = of(&files, "src/ledger.rs");
    assert_eq!(
        (&ledger["host"], &ledger["how"], &ledger["flow"]),
        (&json!("api.example.com"), &json!("content"), &json!("1"))
    );
    assert!(ledger["share"].as_f64().unwrap() > 0.99, "{ledger}");
    let share = of(&files, "src/invoice.rs")["share"].as_f64().unwrap();
    assert!((0.4..0.6).contains(&share), "half of the file was sent, not {share}");
    for name in ["package.json", "notes.txt"] {
        assert_eq!(of(&files, name)["host"], "log.example.com");
    }
    assert_eq!((&of(&files, ".env")["ignored"], &of(&files, ".env")["how"]), (&json!(true), &json!("content")));
    assert_eq!(
        (&of(&files, "assets/logo.png")["how"], &of(&files, "assets/logo.png")["share"]),
        (&json!("name"), &Value::Null)
    );
    assert_eq!(files.len(), 6, "and nothing else: {files:?}");

    assert!(
        printed.contains("sent from the disk to api.example.com") && printed.contains("src/ledger.rs"),
        "{printed}"
    );
    for format in ["text", "json", "html", "markdown"] {
        let report = divulge(folder.path(), &["report", "--format", format, &at("out.jsonl")]);
        let page = String::from_utf8_lossy(&report.stdout).into_owned();
        assert!(report.status.success() && page.contains("src/invoice.rs"), "{format}: {page}");
        assert!(!page.contains("kanarienvogel-4711"), "{format} holds what the file holds");
    }
}

#[test]
fn a_live_run_keeps_the_list_in_its_session_and_nothing_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    tree(&folder.path().join("tree"));
    let body = json!({"model": "m", "messages": [{"role": "user", "content": code("ledger")}]});
    fs::write(at("body.json"), body.to_string()).unwrap();
    let data = format!("@{}", at("body.json"));
    let curl = [
        "curl",
        "-sS",
        "-H",
        "content-type: application/json",
        "--data-binary",
        &data,
        "https://api.anthropic.com/v1/messages",
    ];
    let (tree, session, lines) = (at("tree"), at("work.session"), at("out.jsonl"));
    // Once with a recording, once with none.
    for record in [true, false] {
        let mut arguments = vec!["run", "--offline", "--inventory", &tree, "--findings", &lines];
        if record {
            arguments.extend(["--record", &session]);
        }
        arguments.push("--");
        arguments.extend(curl);
        let output = divulge(folder.path(), &arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(told.contains("sent from the disk to api.anthropic.com") && told.contains("src/ledger.rs"), "{told}");
        let files = files(Path::new(&lines));
        assert_eq!(files.len(), 1, "{files:?}");
        assert!(of(&files, "src/ledger.rs")["share"].as_f64().unwrap() > 0.99, "{files:?}");
    }
    // What was recorded masked is enough to tell it again, and the list itself is in the session.
    let again = divulge(folder.path(), &["inspect", &session]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("src/ledger.rs"), "{again:?}");
}

#[test]
fn a_folder_that_is_not_there_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let output = divulge(folder.path(), &["run", "--offline", "--inventory", &missing, "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--inventory"), "{output:?}");
}

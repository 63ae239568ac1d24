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

/// What `inspect` says was sent, by file, of a tree and the texts of requests.
fn sent(tree: &[(&str, &str)], texts: &[&str]) -> std::collections::BTreeMap<String, f64> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, text) in tree {
        let path = at("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir(at("capture")).unwrap();
    for (number, text) in texts.iter().enumerate() {
        // As a tool's result, in a document of its own within the message.
        let result = json!({"type": "text", "text": text}).to_string();
        let body = json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": result}]}]});
        let head = "POST /v1/messages HTTP/1.1\r\nhost: api.example.com\r\ncontent-type: application/json\r\n\r\n";
        fs::write(at("capture").join(format!("{number}.http")), format!("{head}{body}")).unwrap();
    }
    let path = |name: &str| at(name).display().to_string();
    let arguments = ["inspect", "--inventory", &path("tree"), "--findings", &path("out.jsonl"), &path("capture")];
    let output = divulge(folder.path(), &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = files(&at("out.jsonl")).into_iter();
    files.map(|file| (file["file"].as_str().unwrap().to_owned(), file["share"].as_f64().unwrap_or(-1.0))).collect()
}

/// Some hundred lines that stand in no other file.
fn long(word: &str) -> String {
    (0..400).map(|at| format!("    let {word}_{at} = {word}(row_{at}).map(|{word}| {word} + {at});\n")).collect()
}

const LICENCE: &str = "// Licensed under the terms of the invented licence of examples, version 3. You may copy this file,\n// change it and hand it on, as long as this notice stays where it is and nobody is told otherwise.\n// There is no warranty of any kind, not even that it does anything at all when it is run.\n";

#[test]
fn a_part_of_a_file_is_told_as_that_part_whatever_a_tool_made_of_its_lines() {
    let file = long("orchard");
    let lines: Vec<&str> = file.lines().collect();
    let part = &lines[100..200];
    let each = |spell: &dyn Fn(usize, &str) -> String| -> String {
        part.iter().zip(101..).map(|(line, at)| spell(at, line)).collect()
    };
    let copies = [
        each(&|_, line| format!("{line}\n")),
        each(&|at, line| format!("{at:>6}\t{line}\n")),
        each(&|at, line| format!("{at:>5}→{line}\r\n")),
        each(&|at, line| format!("{at}:{line}\n")),
        each(&|at, line| format!("L{at}: {}\n", line.trim())),
        format!("diff --git a/a.rs b/a.rs\n@@ -0,0 +101,100 @@\n{}", each(&|_, line| format!("+{line}\n"))),
        format!("@@ -101,100 +101,0 @@\n{}", each(&|_, line| format!("-{line}\n"))),
        each(&|_, line| format!("\t\t{}   \n", line.trim())),
    ];
    for copy in &copies {
        let sent = sent(&[("src/orchard.rs", &file), ("src/other.rs", &long("meadow"))], &[copy]);
        let share = sent.get("src/orchard.rs").copied().unwrap_or_default();
        assert!((0.2..0.3).contains(&share) && sent.len() == 1, "{sent:?} of {}", &copy[..200]);
    }
}

#[test]
fn what_files_share_names_none_of_them_and_a_copy_is_named_with_its_original() {
    let with_licence = |word: &str| format!("{LICENCE}{}", code(word));
    let (one, two, three) = (with_licence("one"), with_licence("two"), with_licence("three"));
    let tree =
        [("one.rs", &*one), ("two.rs", &*two), ("three.rs", &*three), ("copy/one.rs", &*one), ("notice.rs", LICENCE)];
    // A file, and its copy; neither the others with the same head, nor that which is but the head.
    let whole = sent(&tree, &[&one]);
    assert_eq!(whole.keys().collect::<Vec<_>>(), ["copy/one.rs", "one.rs"], "{whole:?}");
    assert!(whole.values().all(|share| *share > 0.99), "{whole:?}");
    let half = sent(&tree, &[&one[..one.len() / 2]]);
    assert_eq!(half.keys().collect::<Vec<_>>(), ["copy/one.rs", "one.rs"], "{half:?}");
    // The head alone, over somebody else's code, is the file that is but the head, if anything.
    let head = sent(&tree, &[&with_licence("somebody_elses")]);
    assert!(head.keys().all(|name| name == "notice.rs"), "{head:?}");
    let imports = "use std::collections::BTreeMap;\nuse std::path::{Path, PathBuf};\n";
    let tree = [("a.rs", format!("{imports}{}", code("a"))), ("b.rs", format!("{imports}{}", code("b")))];
    let tree: Vec<(&str, &str)> = tree.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert!(sent(&tree, &[imports]).is_empty());
}

/// With `DIVULGE_INVENTORY_FILES=1500` or more there is more text than is kept.
#[test]
fn in_a_tree_of_many_files_each_is_known() {
    let count: usize = std::env::var("DIVULGE_INVENTORY_FILES").ok().and_then(|count| count.parse().ok()).unwrap_or(40);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let text = |number: usize| long(&format!("field_of_{number}_apples"));
    for number in 0..count {
        let parent = folder.path().join(format!("tree/part_{}", number / 100));
        fs::create_dir_all(&parent).unwrap();
        fs::write(parent.join(format!("file_{number}.rs")), text(number)).unwrap();
    }
    fs::create_dir(folder.path().join("capture")).unwrap();
    let last = text(count - 1);
    let part: String = last.lines().skip(150).take(100).map(|line| format!("{line}\n")).collect();
    let body = json!({"messages": [{"role": "user", "content": format!("{}\n\nand\n\n{part}", text(0))}]});
    let head = "POST /v1/messages HTTP/1.1\r\nhost: api.example.com\r\ncontent-type: application/json\r\n\r\n";
    fs::write(at("capture/1.http"), format!("{head}{body}")).unwrap();
    let arguments = ["inspect", "--inventory", &at("tree"), "--findings", &at("out.jsonl"), &at("capture")];
    let output = divulge(folder.path(), &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = files(&folder.path().join("out.jsonl"));
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(of(&files, "part_0/file_0.rs")["share"].as_f64().unwrap() > 0.99, "{files:?}");
    let name = format!("part_{}/file_{}.rs", (count - 1) / 100, count - 1);
    let share = of(&files, &name)["share"].as_f64().unwrap();
    assert!((0.15..0.35).contains(&share), "{files:?}");
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

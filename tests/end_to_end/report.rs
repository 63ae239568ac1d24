//! `divulge report` and `divulge diff`: pages in a real browser, SARIF against its schema, bills that fail a build.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::common::divulge::{Ended, run};
use crate::common::programs::{finish, program, python, succeed};
use crate::common::{bounded, within};

/// Longer than a browser takes to start, or Python's packages to be installed.
const SLOW: Duration = Duration::from_secs(120);

/// What a script that ran leaves in the page. Payloads hold it in two halves, so that their own text is not taken for it.
const CANARY: &str = "OWNED-BY-SCRIPT";

/// A listener that counts who comes: the host of every hostile address.
struct Lure {
    address: String,
    visits: Arc<AtomicUsize>,
}

impl Lure {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let visits = Arc::new(AtomicUsize::new(0));
        let counter = visits.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, visits }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }

    fn payloads(&self) -> Vec<String> {
        let lure = &self.address;
        let script = format!("document.body.append('OWNED'+'-BY-SCRIPT');new Image().src='http://{lure}/s'");
        vec![
            format!("</script><script>{script}</script>"),
            format!("\"><img src=http://{lure}/i onerror=\"{script}\">"),
            format!("'><svg/onload=\"{script}\"><image href=http://{lure}/x />"),
            format!("javascript:{script}"),
            format!("</style><style>*{{background:url(http://{lure}/c)}}</style>"),
            format!("--></title></textarea><iframe src=http://{lure}/f srcdoc=\"<script>{script}</script>\"></iframe>"),
            format!(
                "<base href=http://{lure}/><link rel=stylesheet href=http://{lure}/l><object data=http://{lure}/o></object>"
            ),
            format!("<meta http-equiv=refresh content=\"0;url=http://{lure}/m\">"),
            format!("]]><details open ontoggle=\"{script}\"><a href=\"javascript:{script}\">x</a>"),
            format!("\u{202e}|`${{{script}}}`\r\n\u{0}\u{1b}]0;x\u{7}<input autofocus onfocus=\"{script}\">"),
        ]
    }
}

/// Findings that hold a payload in every field that may hold a text.
fn hostile(payloads: &[String]) -> String {
    let mut lines = String::new();
    for (index, payload) in payloads.iter().enumerate() {
        // `kind` and the rest turn by one, so that each payload meets each field beside another.
        let next = &payloads[(index + 1) % payloads.len()];
        let about = json!({
            "schema": 1, "time": next, "session": payload, "flow": format!("{index}{payload}"), "host": payload,
            "method": payload, "path": format!("/{payload}"), "client": next, "client_version": payload
        });
        let finding = json!({
            "type": "finding", "kind": payload, "location": next, "layers": [payload, next], "detector": "rule",
            "rule": payload, "severity": "high", "confidence": 0.9, "value": next, "value_hmac": payload,
            "action": "redact", "replacement": payload, "would": "strip", "decided_by": next, "part": payload,
            "span": [0, 1], "observed": payload, "bits": 1.5
        });
        let flow = json!({
            "type": "flow", "bytes_sent": 10, "bytes_read": 5, "kinds": {payload: 1}, "verdict": "edited", "unmade": 1,
            "unread": [{"location": payload, "bytes": 5, "reason": next, "entropy": 1.0}],
            "certificate": {
                "edits": [{"location": payload, "old_len": 1, "new_len": 2, "old_hmac": payload, "new_hmac": payload}],
                "rest_before": payload, "rest_after": payload, "integrity": [{"kind": payload, "location": next}],
                "prefix": null
            }
        });
        for line in [finding, flow] {
            let mut whole = about.clone();
            let (Value::Object(whole_map), Value::Object(line)) = (&mut whole, line) else { unreachable!() };
            whole_map.extend(line);
            lines.push_str(&format!("{whole}\n"));
        }
        // A line that cannot be used is spoken of, too.
        lines.push_str(&format!("{}\n", json!({"schema": 1, "type": payload})));
    }
    lines
}

/// The page as it stands once everything on it had its chance.
async fn rendered(folder: &Path, page: &Path) -> String {
    let shown = browsed(folder, page, &["--virtual-time-budget=2000", "--dump-dom"]).await;
    assert!(shown.contains("<body"), "Chromium shows nothing:\n{shown}");
    shown
}

/// The text of the page on paper, in the order in which it is read.
async fn printed(folder: &Path, page: &Path) -> String {
    let paper = page.with_extension("pdf");
    browsed(folder, page, &["--no-pdf-header-footer", &format!("--print-to-pdf={}", paper.display())]).await;
    let mut command = program(on_path("pdftotext").expect("poppler-utils is installed (tests/run.sh does that)"));
    command.arg("-layout").arg(&paper).arg("-");
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.expect("pdftotext ends");
    let output = output.expect("pdftotext starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn browsed(folder: &Path, page: &Path, arguments: &[&str]) -> String {
    let known = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let browser = known.iter().find_map(|name| on_path(name)).expect("Chromium is installed (tests/run.sh does that)");
    let profile = folder.join(format!("profile-{}", page.file_stem().expect("a name").display()));
    let mut command = program(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ]);
    command.args(arguments);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(format!("file://{}", page.display()));
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.expect("Chromium ends");
    let output = output.expect("Chromium starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "Chromium fails:\n{out}\n{err}");
    out.into_owned()
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

async fn report(file: &Path, arguments: &[&str]) -> Ended {
    let mut all = vec!["report".to_owned(), file.display().to_string()];
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    run(&all).await
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the folder is writable");
    path
}

#[test]
fn in_a_browser_no_hostile_field_runs_a_script_or_asks_for_anything() {
    within(SLOW, async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lure = Lure::start().await;
        let payloads = lure.payloads();
        let file = written(folder.path(), "hostile.jsonl", &hostile(&payloads));
        let ended = report(&file, &["--format", "html"]).await;
        // Some of its lines are none.
        assert_eq!(ended.code, Some(3), "{}", ended.err);
        let page = written(folder.path(), "page.html", &ended.out);

        let shown = rendered(folder.path(), &page).await;
        assert!(!shown.contains(CANARY), "a script ran");
        assert!(shown.contains("Who received what") && shown.contains("ontoggle="), "the page shows what it was given");
        assert_eq!(lure.visits(), 0, "the page asked for something");

        // Were a field not escaped, the policy of the page would still hold.
        let leaky = ended.out.replace("<main>", &format!("<main>{}", payloads.join("\n")));
        let shown = rendered(folder.path(), &written(folder.path(), "leaky.html", &leaky)).await;
        assert!(!shown.contains(CANARY), "the page's policy lets scripts run");

        // And without either, the same payloads do what they are here for: the test would notice.
        let bare = format!("<!doctype html><body>{}", payloads[..3].join("\n"));
        let shown = rendered(folder.path(), &written(folder.path(), "bare.html", &bare)).await;
        assert!(shown.contains(CANARY), "the payloads are harmless anywhere");
        assert!(lure.visits() > 0, "the lure is out of reach");
    });
}

#[test]
fn on_paper_every_fact_stands_with_all_its_places() {
    within(SLOW, async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // More places than a screen shows at once, and values of which each is a fact of its own.
        let events: Vec<Value> = (0..9).map(|n| json!({format!("place{n}"): {"hostname": "kanarienvogel"}})).collect();
        let request = format!(
            "POST /v1/events HTTP/1.1\nHost: telemetry.example.com\nContent-Type: application/json\n\n{}",
            json!({"events": events, "env": {"timezone": "Asia/Kathmandu", "shell": "/usr/bin/fish"}})
        );
        let request = written(folder.path(), "r.http", &request);
        let facts = written(folder.path(), "facts.json", r#"[{"kind":"host.name","value":"kanarienvogel"}]"#);
        let (facts, request) = (facts.display().to_string(), request.display().to_string());
        let ended = run(&["inspect", "--facts", &facts, "--findings", "-", &request]).await;
        let file = written(folder.path(), "findings.jsonl", &ended.out);
        let ended = report(&file, &["--format", "html"]).await;
        let page = written(folder.path(), "page.html", &ended.out);

        let paper = printed(folder.path(), &page).await;
        let wanted =
            ["Who received what", "telemetry.example.com", "host.name", "tz.iana", "env.shell"].map(str::to_owned);
        let places = (0..9).map(|n| format!("place{n}"));
        for part in wanted.into_iter().chain(places) {
            assert!(paper.contains(&part), "{part} is not on paper:\n{paper}");
        }
        assert!(!paper.contains("kanarienvogel"), "{paper}");

        // What a screen folds away, paper would too, were it not said otherwise.
        let folded = ended.out.replace("details::details-content", "details::nothing");
        let paper = printed(folder.path(), &written(folder.path(), "folded.html", &folded)).await;
        assert!(!paper.contains("place8"), "the page folds nothing away:\n{paper}");
    });
}

/// The result of a probe with a payload in every field that may hold a text.
fn hostile_probe(payloads: &[String]) -> String {
    let of = |(index, payload): (usize, &String)| {
        let next = &payloads[(index + 1) % payloads.len()];
        json!({
            "factor": "tz", "gate": {next: payload}, "also_open_with": [payload], "location": format!("body!json:/{payload}"),
            "host": payload, "method": payload, "path": format!("/{next}"), "kind": payload, "form": "derived",
            "values": {"UTC": payload, "Asia/Tokyo": next}, "code_points": {"UTC": [payload]}, "before": payload,
            "beside": next, "places": 1, "runs": 11, "p": 0.006, "q": 0.006, "confirmed": true, "fresh": null, "tells": "value"
        })
    };
    let dependencies: Vec<Value> = payloads.iter().enumerate().map(of).collect();
    let place = json!({"host": payloads[0], "method": payloads[1], "path": payloads[2], "location": payloads[3], "noise": payloads[4]});
    json!({
        "schema": 1, "type": "probe", "generator": {"name": "divulge", "version": "0"}, "command": payloads,
        "factors": [{"name": "tz", "values": ["UTC", "Asia/Tokyo", payloads[0]]}, {"name": "user", "values": ["ann", payloads[1]]},
            {"name": "env:SILENT", "values": ["", payloads[2]]}],
        "axis": "pairwise", "dependencies": dependencies, "suspected": dependencies[..1], "noise": [place], "constant": [place],
        "runs": 40, "base_runs": 13, "failed": [{"values": {payloads[0].as_str(): payloads[1]}, "why": payloads[2]}], "tested": 9,
        "dropped": 1, "coverage": {"bytes_read": 10, "bytes_sent": 10}, "complete": true, "notes": payloads, "milliseconds": 9,
        "requests": [{"host": payloads[0], "method": payloads[1], "path": payloads[2], "base": 1, "all": 2}]
    })
    .to_string()
}

#[test]
fn in_a_browser_the_page_of_a_probe_shows_its_matrix_and_runs_nothing() {
    within(SLOW, async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lure = Lure::start().await;
        let file = written(folder.path(), "probe.json", &hostile_probe(&lure.payloads()));
        let ended = report(&file, &["--format", "html"]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let shown = rendered(folder.path(), &written(folder.path(), "probe.html", &ended.out)).await;
        assert!(!shown.contains(CANARY), "a script ran");
        assert_eq!(lure.visits(), 0, "the page asked for something");
        for expected in
            ["Which facts reach whom", "What each switch stops", "each value tells itself", "No effect was seen of"]
        {
            assert!(shown.contains(expected), "{expected} is missing from\n{shown}");
        }
        // A row for each fact, in the browser's own reading of the table.
        let matrix = shown
            .split("Which facts reach whom")
            .nth(1)
            .and_then(|rest| rest.split("</table>").next())
            .expect("a table");
        assert!(matrix.contains("<td") && matrix.contains(">tz<"), "{matrix}");
    });
}

/// What moves a cursor, hides a line or turns its direction, where it came from the wire.
fn is_dangerous(c: char) -> bool {
    matches!(c, '\0'..='\u{9}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[test]
fn in_no_format_a_hostile_field_moves_the_cursor_or_breaks_out_of_its_place() {
    within(SLOW, async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut payloads = Lure::start().await.payloads();
        payloads.extend(
            [
                "\u{1b}[2J\u{1b}[1;1Hcleared",
                "\u{9b}31m\u{9d}0;title\u{9c}",
                "\r\u{8}\u{8}over\u{7f}",
                "one\n## two\n| a | b |\n",
                "\u{202e}desrever\u{2066}\u{200b}\u{feff}",
                "| cell | ` ``` ~~~ **bold** _under_ [a](http://x) ![b](http://y) <b>",
                "=HYPERLINK(\"http://x\")",
                "</textarea>\u{2028}\u{0}",
            ]
            .map(str::to_owned),
        );
        let file = written(folder.path(), "hostile.jsonl", &hostile(&payloads));
        for format in ["text", "markdown", "json", "sarif", "bill", "html"] {
            let ended = report(&file, &["--format", format]).await;
            let found: Vec<char> = ended.out.chars().chain(ended.err.chars()).filter(|&c| is_dangerous(c)).collect();
            assert!(found.is_empty(), "{format}: {found:?}");
            assert!(ended.out.len() > 1000, "{format}: {}", ended.out);
            match format {
                "json" | "sarif" | "bill" => drop(serde_json::from_str::<Value>(&ended.out).expect("whole JSON")),
                "markdown" => {
                    // Outside of code nothing of it is markup, and every row has the cells of its table.
                    for tag in ["<script", "<img", "<svg", "<iframe", "<b>", "![b](", "[a](http"] {
                        assert!(!outside_code(&ended.out).contains(tag), "{tag} in:\n{}", ended.out);
                    }
                    let titles = ended.out.lines().filter(|line| line.starts_with("## two")).count();
                    assert_eq!(titles, 0, "{}", ended.out);
                }
                _ => {}
            }
        }
    });
}

/// Markdown without what stands in code: there nothing is markup.
fn outside_code(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(at) = rest.find('`') {
            out.push_str(&rest[..at]);
            let ticks = rest[at..].bytes().take_while(|byte| *byte == b'`').count();
            let fence = &rest[at..at + ticks];
            let after = &rest[at + ticks..];
            match after.find(fence) {
                Some(end) => rest = &after[end + ticks..],
                None => {
                    out.push_str(fence);
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

#[test]
fn python_finds_sarif_valid_against_the_official_schema() {
    within(Duration::from_secs(300), async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let payloads = Lure::start().await.payloads();
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sarif/sarif-schema-2.1.0.json");
        let check = "import json, sys, jsonschema\n\
            schema = json.load(open(sys.argv[1]))\n\
            jsonschema.Draft7Validator.check_schema(schema)\n\
            for name in sys.argv[2:]:\n\
            \x20   errors = list(jsonschema.Draft7Validator(schema).iter_errors(json.load(open(name))))\n\
            \x20   for error in errors[:10]: print(name, list(error.path), error.message)\n\
            print('checked', len(sys.argv) - 2)";
        let mut files = Vec::new();
        for (name, lines) in [("hostile", hostile(&payloads)), ("real", inspected(folder.path(), "audit").await)] {
            let ended = report(&written(folder.path(), &format!("{name}.jsonl"), &lines), &["--format", "sarif"]).await;
            files.push(written(folder.path(), &format!("{name}.sarif"), &ended.out));
        }
        let empty = written(folder.path(), "empty.jsonl", "");
        let ended = report(&empty, &["--format", "sarif"]).await;
        files.push(written(folder.path(), "empty.sarif", &ended.out));
        let mut python = program(python());
        python.args(["-c", check]).arg(schema).args(&files);
        assert_eq!(succeed(&mut python).await.out, "checked 3\n");
    });
}

const REQUEST: &str = "POST /v1/events/81723 HTTP/1.1\nHost: telemetry.example.com\nContent-Type: application/json\n\n\
    {\"deviceId\":\"9f86d081-884c-4d65-9a2f-eaa0c55ad015\",\"events\":[{\"who\":\"anderson-invented\"},{\"n\":1}]}\n";

/// The lines that inspection writes of one request.
async fn inspected(folder: &Path, policy: &str) -> String {
    let request = written(folder, "one.http", REQUEST);
    let facts = written(folder, "facts.json", "[{\"kind\":\"user.name\",\"value\":\"anderson-invented\"}]");
    let (request, facts) = (request.display().to_string(), facts.display().to_string());
    let ended = run(&["inspect", "--policy", policy, "--facts", &facts, "--findings", "-", &request]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out
}

#[test]
fn every_format_names_the_place_and_none_the_value() {
    bounded(async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = written(folder.path(), "strict.jsonl", &inspected(folder.path(), "strict").await);
        for format in ["text", "json", "html", "markdown", "sarif", "bill"] {
            let ended = report(&file, &["--format", format]).await;
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{format}");
            for part in ["telemetry.example.com", "id.device", "body!json:/deviceId"] {
                assert!(ended.out.contains(part), "{format}: {part} is not in\n{}", ended.out);
            }
            assert!(!ended.out.contains("anderson") && !ended.out.contains("9f86d081"), "{format}: {}", ended.out);
        }
        let out = folder.path().join("out.html");
        let ended = report(&file, &["--format", "html", "--out", &out.display().to_string()]).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));
        assert!(std::fs::read_to_string(&out).expect("it is there").starts_with("<!doctype html>"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&out).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    });
}

#[test]
fn a_bill_of_a_newer_release_fails_the_build_where_a_field_is_new() {
    bounded(async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lines = inspected(folder.path(), "audit").await;
        let old = written(folder.path(), "old.jsonl", &lines);
        let bill = folder.path().join("bill.json").display().to_string();
        assert_eq!(report(&old, &["--format", "bill", "--out", &bill]).await.code, Some(0));

        // Another id in the path and another place in the list are the same field.
        let moved = lines.replace("81723", "9").replace("/events/0/", "/events/1/");
        let moved = written(folder.path(), "moved.jsonl", &moved).display().to_string();
        let ended = run(&["diff", "--fail-on", "new", &bill, &moved]).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
        assert!(ended.out.contains(" 0 new · 0 gone · 0 changed"), "{}", ended.out);

        let more = format!("{lines}{}", lines.replace("/deviceId", "/machine"));
        let more = written(folder.path(), "more.jsonl", &more).display().to_string();
        let ended = run(&["diff", "--fail-on", "new", &bill, &more]).await;
        assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
        assert!(ended.out.contains("body!json:/machine"), "{}", ended.out);
        assert_eq!(run(&["diff", &bill, &more]).await.code, Some(0));
        let as_json = run(&["diff", "--format", "json", &bill, &more]).await.out;
        let document: Value = serde_json::from_str(&as_json).expect("it is JSON");
        assert_eq!(document["new"][0]["location"], "body!json:/machine");
    });
}

#[test]
fn hosts_that_an_earlier_bill_does_not_know_are_marked_new() {
    bounded(async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lines = inspected(folder.path(), "audit").await;
        let bill = folder.path().join("bill.json").display().to_string();
        let old = written(folder.path(), "old.jsonl", &lines);
        assert_eq!(report(&old, &["--format", "bill", "--out", &bill]).await.code, Some(0));
        let more = format!("{lines}{}", lines.replace("telemetry.example.com", "fresh.example.com"));
        let more = written(folder.path(), "more.jsonl", &more);

        let new = async |since: &[&str]| {
            let ended = report(&more, &[&["--format", "json"], since].concat()).await;
            let document: Value = serde_json::from_str(&ended.out).expect("it is JSON");
            let hosts = document["hosts"].as_array().expect("hosts are a list").clone();
            let new = hosts.into_iter().filter(|host| host["new"] == true);
            new.map(|host| host["name"].as_str().expect("a host has a name").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(new(&[]).await, [""; 0]);
        assert_eq!(new(&["--since", &bill]).await, ["fresh.example.com"]);
        assert_eq!(new(&["--since", &old.display().to_string()]).await, ["fresh.example.com"]);

        // The kind says what a field is worth, in the bill too.
        let bill: Value =
            serde_json::from_str(&std::fs::read_to_string(&bill).expect("it is there")).expect("it is JSON");
        let device =
            bill["entries"].as_array().expect("entries are a list").iter().find(|one| one["kind"] == "id.device");
        let device = device.expect("the device is in the bill");
        assert_eq!((&device["stability"], &device["entropy"]), (&json!("install"), &json!("unique")));
    });
}

#[test]
fn two_requests_are_compared_leaf_by_leaf_and_repeats_teach_noise() {
    bounded(async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secret = "sk-ant-api03-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4AA";
        let request = |n: usize, system: &str| {
            let id = format!("{n}b4e28ba-2fa1-41d2-883f-0016d3cca42{n}");
            let body = json!({"request_id": id, "system": system}).to_string();
            format!("POST /v1/messages HTTP/1.1\nHost: api.anthropic.com\nX-Api-Key: {secret}\n\n{body}")
        };
        for (side, system) in [("a", "The user's zone"), ("b", "The user\u{2019}s zone")] {
            std::fs::create_dir(folder.path().join(side)).expect("the folder is writable");
            for n in [1, 2] {
                let n = if side == "a" { n } else { n + 2 };
                written(folder.path(), &format!("{side}/{n}.http"), &request(n, system));
            }
        }
        let side = |name: &str| folder.path().join(name).display().to_string();
        let ended = run(&["diff", "--fail-on", "new", &side("a"), &side("b")]).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
        for part in ["0 new · 0 gone · 1 changed · 1 noise", "  id       body!json:/request_id", "U+0027 -> U+2019"]
        {
            assert!(ended.out.contains(part), "{part} is not in\n{}", ended.out);
        }
        let other =
            written(folder.path(), "other.http", &request(1, "x").replace(secret, &secret.replace("Zm9v", "YmFy")));
        let other = other.display().to_string();
        let ended = run(&["diff", &side("a/1.http"), &other]).await;
        assert!(ended.out.contains("header:/x-api-key  another value, masked alike"), "{}", ended.out);
        let ended = run(&["diff", "--reveal", &side("a/1.http"), &other]).await;
        assert!(ended.out.contains("YmFy"), "{}", ended.out);
    });
}

#[test]
fn a_session_is_reported_as_its_findings_are_and_two_are_compared_either_way() {
    within(SLOW, async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: String| folder.path().join(name).display().to_string();
        for model in ["m-1", "m-2"] {
            let body = json!({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]});
            let ended = run(&[
                "run",
                "--offline",
                "--record",
                &path(format!("{model}.session")),
                "--findings",
                &path(format!("{model}.jsonl")),
                "--",
                "curl",
                "-sS",
                "-H",
                "X-Request-Id: 9f86d081-884c-4d65-9a2f-eaa0c55ad015",
                "-H",
                "Content-Type: application/json",
                "-d",
                &body.to_string(),
                "https://api.anthropic.com/v1/messages",
            ])
            .await;
            assert_eq!(ended.code, Some(0), "{}", ended.err);
        }
        let (a, b) = (path("m-1.session".into()), path("m-2.session".into()));
        for format in ["json", "bill"] {
            let of_session = report(Path::new(&a), &["--format", format]).await;
            let of_findings = report(&folder.path().join("m-1.jsonl"), &["--format", format]).await;
            assert_eq!((of_session.code, of_session.out), (Some(0), of_findings.out), "{}", of_session.err);
        }
        let ended = run(&["diff", "--fail-on", "new", &a, &b]).await;
        assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
        let ended = run(&["diff", "--requests", &a, &b]).await;
        assert!(ended.out.contains("changed  body!json:/model  m-[-1-]{+2+}\n"), "{}{}", ended.out, ended.err);
        assert_eq!(run(&["diff", "--requests", &a, &path("m-1.jsonl".into())]).await.code, Some(2));

        let whole = std::fs::read(&a).expect("it is there");
        let torn = folder.path().join("torn.session");
        std::fs::write(&torn, &whole[..whole.len() - 7]).expect("the folder is writable");
        let ended = report(&torn, &[]).await;
        assert_eq!(ended.code, Some(3));
        assert!(ended.out.contains("the file is damaged at byte"), "{ended:?}");
    });
}

#[test]
fn a_file_of_another_sort_is_wrong_usage_and_a_broken_line_is_named() {
    bounded(async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lines = inspected(folder.path(), "audit").await;
        let request = folder.path().join("one.http");
        for (file, said) in [
            (request.clone(), "this is a raw HTTP request"),
            (written(folder.path(), "notes.txt", "no findings\n"), "no findings are in it"),
            (written(folder.path(), "capture.har", "{\n\"log\": {\"entries\": []}}"), "this looks like a HAR file"),
            (folder.path().to_owned(), "a folder"),
            (folder.path().join("missing"), "cannot be read"),
        ] {
            let ended = report(&file, &[]).await;
            assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
            assert!(ended.err.contains(said), "{said} is not in {}", ended.err);
        }
        let broken = written(folder.path(), "broken.jsonl", &format!("{{\"schema\":1,\"kind\n{lines}"));
        let ended = report(&broken, &[]).await;
        assert_eq!(ended.code, Some(3));
        assert!(ended.err.contains("line 1 is not used") && ended.out.contains("id.device"), "{ended:?}");
        let bill = written(folder.path(), "bill.jsonl", &lines).display().to_string();
        let ended = run(&["diff", &request.display().to_string(), &bill]).await;
        assert_eq!(ended.code, Some(2));
        assert!(ended.err.contains("not the same sort of thing"), "{}", ended.err);
        let ended = finish(program(env!("CARGO_BIN_EXE_divulge")).args(["report", "-"])).await;
        assert_eq!(ended.code, Some(0), "an empty file is a session without traffic: {}", ended.err);
    });
}

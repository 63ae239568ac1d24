//! The command itself, on a client that runs: a program in rooms, its requests through proxies.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use divulge::probe::result::ProbeResult;

fn probe(options: &[&str], command: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_divulge"))
        .arg("probe")
        .args(options)
        .arg("--")
        .args(command)
        .env("DIVULGE_STATE", state.path())
        .env("DIVULGE_CONFIG", state.path().join("none.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn client() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe/client.py").display().to_string()
}

#[test]
fn a_client_that_runs_is_probed_stopped_and_probed_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("none.toml"), "").unwrap();
    let out = folder.path().join("result.json").display().to_string();
    let factors = ["--vary", "hostname=alpha,beta", "--vary", "user=ann,bob", "--axis", "one"];
    let client = client();
    let command = ["python3", client.as_str()];
    let first = probe(&[&factors[..], &["--runs", "6", "--out", &out]].concat(), &command);
    assert_eq!(first.status.code(), Some(3), "six runs are too few: {}", said(&first));
    let all = probe(&[&factors[..], &["--runs", "40", "--resume", &out]].concat(), &command);
    assert_eq!(all.status.code(), Some(0), "{}", said(&all));
    let result = ProbeResult::parse(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let found: Vec<(&str, &str, &str)> =
        result.dependencies.iter().map(|of| (of.factor.as_str(), of.path.as_str(), of.location.as_str())).collect();
    assert_eq!(found, [("hostname", "/v1/events", "body!json:/machine")]);
    let dependency = &result.dependencies[0];
    assert_eq!((dependency.kind.as_str(), dependency.confirmed, dependency.fresh), ("host.name", true, Some(true)));
    assert!(result.complete && result.runs <= 40 && result.coverage.bytes_read == result.coverage.bytes_sent);
    assert!(result.noise.iter().any(|noise| noise.place.location == "body!json:/session"), "{:?}", result.noise);
    assert!(result.bill.is_some_and(|bill| bill.hosts.len() == 2));
}

#[test]
fn a_command_that_shows_nothing_says_why() {
    for (options, command, status, expected) in [
        (&["--runs", "9"][..], &["true"][..], 3, "without a single request"),
        (&["--runs", "9"], &["no-such-program"], 2, "not found"),
        (&["--runs", "9", "--time-limit", "1"], &["sleep", "600"], 3, "still running after 1 s"),
        (&["--runs", "9"], &["sh", "-c", "echo not a tty >&2; exit 1"], 3, "needs a terminal"),
        (&["--vary", "zone"], &["true"], 2, "no such factor"),
        (&["--resume", "/no/such/file"], &["true"], 2, "--resume"),
    ] {
        let output = probe(options, command);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(status), "{command:?}: {text}");
        assert!(text.contains(expected), "{command:?}: {text}");
    }
}

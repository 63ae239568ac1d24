//! The command itself, on a client that runs: a program in rooms, its requests through proxies.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use divulge::probe::result::ProbeResult;

fn probe(options: &[&str], command: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_divulge"))
        .arg("probe")
        .args(options)
        .arg("--")
        .args(command)
        .env("DIVULGE_STATE", state.path())
        .env("XDG_CONFIG_HOME", state.path())
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

/// What a probe is like that an interrupt has stopped once it had made some runs.
#[test]
fn an_interrupt_keeps_what_is_known_and_resume_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("result.json");
    let kept = folder.path().join("result.json.runs");
    let client = client();
    let arguments = |how: &str| {
        let mut all: Vec<String> = ["probe", "--vary", "hostname=alpha,beta", "--axis", "one", "--runs", "30", how]
            .map(str::to_owned)
            .to_vec();
        all.extend([out.display().to_string(), "--".to_owned(), "python3".to_owned(), client.clone()]);
        all
    };
    let start = |how: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_divulge"));
        command.args(arguments(how)).env("DIVULGE_STATE", folder.path()).env("XDG_CONFIG_HOME", folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = start("--out");
    let deadline = Instant::now() + Duration::from_secs(60);
    while divulge::probe::lab::kept::read(&kept).map_or(0, |kept| kept.runs.len()) < 2 {
        assert!(Instant::now() < deadline, "no run was kept");
        std::thread::yield_now();
    }
    let number = nix::unistd::Pid::from_raw(first.id() as i32);
    nix::sys::signal::kill(number, nix::sys::signal::Signal::SIGINT).unwrap();
    let first = first.wait_with_output().unwrap();
    assert_eq!(first.status.code(), Some(3), "{}", said(&first));
    let known = ProbeResult::parse(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert!(!known.complete && (2..30).contains(&known.runs), "{} runs", known.runs);
    assert!(known.notes.iter().any(|note| note.contains("--resume")), "{:?}", known.notes);
    let rest = start("--resume").wait_with_output().unwrap();
    assert_eq!(rest.status.code(), Some(0), "{}", said(&rest));
    let all = ProbeResult::parse(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert!(all.complete && all.dependencies.iter().any(|of| of.location == "body!json:/machine"), "{all:?}");
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

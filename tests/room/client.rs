//! A real assistant in the room, with the proxy's variables and without any: the audit names the same.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::divulge;

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Runs Claude Code and gives the kinds that were found, each with its host.
fn kinds(bin: &Path, command: &str) -> (BTreeSet<(String, String)>, String) {
    let folder = tempfile::tempdir().unwrap();
    let findings = folder.path().join("findings.jsonl");
    // A room in a room: outside the inner one there is no network either.
    let inside = r#"mkdir "$HOME/../work-$$"; cd "$HOME/../work-$$"; git init --quiet --initial-branch=main; "$@"; s=$?; rm -r "$PWD"; exit $s"#;
    let output = Command::new(script("sealed.sh"))
        .arg(format!("PATH={}:/usr/local/bin:/usr/bin:/bin", bin.display()))
        .args(["ANTHROPIC_API_KEY=sk-ant-api03-dummy-key-of-the-sealed-room", "OTEL_LOGS_EXPORT_INTERVAL=50"])
        .args(["--", "bash", "-c", inside, "room"])
        .arg(divulge())
        .args(["run", "--sealed", "--offline", "--findings"])
        .arg(&findings)
        .args(["--", "timeout", "100", "sh", "-c", command])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(String::from_utf8_lossy(&output.stdout).contains(divulge::offline::GREETING), "{told}");
    let lines = std::fs::read_to_string(&findings).unwrap();
    let found = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = found.filter(|line| line["type"] == "finding");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (found.map(|line| (text(&line["host"]), text(&line["kind"]))).collect(), told)
}

#[test]
fn claude_code_gives_away_the_same_with_proxy_variables_and_without() {
    let output = Command::new(script("install.sh")).arg("claude-code").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the client could not be installed; the reason is above");
    let bin = Path::new(String::from_utf8(output.stdout).unwrap().trim()).join("bin");

    let (proxied, told) = kinds(&bin, r#"exec claude -p "say hi""#);
    assert!(!told.contains("around the proxy"), "{told}");
    let without = r#"unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy; exec claude -p "say hi""#;
    let (mut bare, told) = kinds(&bin, without);
    let around: Vec<_> = bare.extract_if(.., |(_, kind)| kind == "audit.bypass").collect();
    assert!(!around.is_empty(), "{told}");
    assert!(proxied.len() > 10, "{proxied:?}");
    assert_eq!(proxied, bare);
}

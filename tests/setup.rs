//! `divulge env`, `setup` and `uninstall` as a user types them.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// `divulge` of a user who has nothing but a home folder.
fn divulge(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_divulge"));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = divulge(home).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A running `serve`, ended with the value.
struct Serve {
    child: Child,
    address: String,
}

impl Serve {
    fn start(home: &Path) -> Self {
        let mut child = divulge(home)
            .args(["serve", "--offline", "--quiet", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, address }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_shell_with_the_variables_goes_through_serve_and_trusts_it() {
    let home = tempfile::tempdir().unwrap();
    let serve = Serve::start(home.path());
    let script = r#"eval "$("$DIVULGE" env --listen "$ADDRESS")"
        curl --silent --show-error --max-time 20 https://api.anthropic.com/v1/models || exit 9
        eval "$("$DIVULGE" env --listen "$ADDRESS" --unset)"
        printf '\n%s' "proxy=${HTTPS_PROXY-none} trust=${SSL_CERT_FILE-none}""#;
    let output = Command::new("sh")
        .args(["-c", script])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("DIVULGE", env!("CARGO_BIN_EXE_divulge"))
        .env("ADDRESS", &serve.address)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let (answer, rest) = text.rsplit_once('\n').unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(answer).is_ok(), "{answer}");
    assert_eq!(rest, "proxy=none trust=none");
}

#[test]
fn nothing_is_changed_unless_somebody_says_yes() {
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join(".claude/settings.json");
    let (status, out, err) = run(home.path(), &["setup", "claude-code"]);
    assert!(status == 3 && err.contains("--yes") && !settings.exists(), "{out}{err}");
    let (status, out, _) = run(home.path(), &["setup", "claude-code", "--dry-run"]);
    assert!(status == 0 && out.contains("+     \"HTTPS_PROXY\"") && !settings.exists(), "{out}");
    let (status, out, _) = run(home.path(), &["setup", "claude-code", "--yes"]);
    assert!(status == 0 && out.contains("divulge uninstall claude-code") && settings.exists(), "{out}");
    let (_, out, _) = run(home.path(), &["setup"]);
    assert!(out.lines().any(|line| line.starts_with("claude-code") && line.ends_with("set up")), "{out}");
    let (status, out, _) = run(home.path(), &["setup", "claude-code", "--yes"]);
    assert!(status == 0 && out.contains("nothing to change"), "{out}");
    let (status, out, _) = run(home.path(), &["uninstall", "--dry-run", "claude-code"]);
    assert!(status == 0 && out.contains("would be removed") && settings.exists(), "{out}");
    let (status, out, err) = run(home.path(), &["uninstall"]);
    assert!(status == 0 && !home.path().join(".claude").exists(), "{out}{err}");
    assert!(!home.path().join(".local/share/divulge/trust").exists());
}

#[test]
fn what_cannot_be_done_is_said_in_a_word() {
    let home = tempfile::tempdir().unwrap();
    let (status, _, err) = run(home.path(), &["setup", "clippy"]);
    assert!(status == 2 && err.contains("`clippy`") && err.contains("claude-code, codex"), "{err}");
    fs::create_dir_all(home.path().join(".claude")).unwrap();
    fs::write(home.path().join(".claude/settings.json"), "not json").unwrap();
    let (status, _, err) = run(home.path(), &["setup", "claude-code", "--yes"]);
    assert!(status == 3 && err.contains("by hand"), "{err}");
    assert_eq!(fs::read_to_string(home.path().join(".claude/settings.json")).unwrap(), "not json");
}

//! `divulge doctor` on machines and programs with something wrong.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs doctor for a user with this home; its status and its checks.
fn doctor(home: &Path, path: &str, variables: &[(&str, &str)], arguments: &[&str]) -> (i32, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_divulge"))
        .args(["doctor", "--json"])
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", path)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let checks = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code().unwrap(), checks)
}

fn check<'a>(checks: &'a [Value], area: &str, name: &str) -> &'a Value {
    let found = checks.iter().find(|check| check["area"] == area && check["name"].as_str().unwrap().contains(name));
    found.unwrap_or_else(|| panic!("no {area}: {name} in {checks:#?}"))
}

/// A folder of programs by name and script.
fn programs(folder: &Path, list: &[(&str, &str)]) -> String {
    for (name, script) in list {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder.display().to_string()
}

#[test]
fn what_is_wrong_with_a_machine_is_named_with_its_fix() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join(".local/share/divulge");
    let divulge = |arguments: &[&str]| {
        let status = Command::new(env!("CARGO_BIN_EXE_divulge"))
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    divulge(&["setup", "claude-code", "--yes", "--listen", ":1"]);
    for (file, mode) in [(state.clone(), 0o755), (state.join("ca.key"), 0o644)] {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }
    let variables = [("HTTPS_PROXY", "http://me:secret@127.0.0.1:1"), ("SSL_CERT_FILE", "/nonexistent/ca.pem")];
    let listen = format!("127.0.0.1:{port}");
    let (status, checks) = doctor(home.path(), "/nonexistent", &variables, &["--listen", &listen]);
    assert_eq!(status, 1);
    for (area, name, fix) in [
        ("state folder", "divulge", "chmod 700"),
        ("state folder", "ca.key", "divulge ca rotate"),
        ("port", &listen, "divulge serve --listen"),
        ("environment", "HTTPS_PROXY", "unset HTTPS_PROXY"),
        ("environment", "SSL_CERT_FILE", "unset SSL_CERT_FILE"),
    ] {
        let check = check(&checks, area, name);
        assert!(check["state"] == "bad" && check["fix"].as_str().unwrap().contains(fix), "{check}");
    }
    assert!(!serde_json::to_string(&checks).unwrap().contains("secret"));
    let (_, checks) = doctor(home.path(), "/nonexistent", &[], &["--listen", ":1"]);
    let left = check(&checks, "settings", ".claude/settings.json");
    assert!(left["fix"].as_str().unwrap().contains("divulge uninstall claude-code"), "{left}");
}

#[test]
fn each_runtime_is_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let real = std::env::var("PATH").unwrap();
    // One that asks as told, one that asks nobody, one that trusts nobody.
    let path = programs(
        folder.path(),
        &[
            ("curl", &format!("PATH='{real}' exec curl \"$@\"")),
            ("wget", "exit 0"),
            ("git", &format!("unset GIT_SSL_CAINFO SSL_CERT_FILE; PATH='{real}' exec git \"$@\"")),
        ],
    );
    let (status, checks) = doctor(home.path(), &path, &[], &[]);
    assert_eq!(status, 1);
    assert_eq!(check(&checks, "runtimes", "curl")["state"], "good");
    let wget = check(&checks, "runtimes", "wget");
    assert!(wget["state"] == "bad" && wget["what"].as_str().unwrap().contains("goes around"), "{wget}");
    let git = check(&checks, "runtimes", "git");
    assert!(git["state"] == "bad" && git["what"].as_str().unwrap().contains("does not trust"), "{git}");
    assert!(check(&checks, "runtimes", "not here")["what"].as_str().unwrap().contains("Deno"));
}

#[test]
fn the_processes_of_a_command_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    let script = "import subprocess, urllib.request\n\
        urllib.request.urlopen('https://api.anthropic.com/v1/models', timeout=20).read()\n\
        subprocess.run(['curl', '-s', '-o', '/dev/null', 'https://api.openai.com/v1/models'])\n\
        subprocess.run(['curl', '-s', '-o', '/dev/null', '--cacert', '/etc/ssl/certs/ca-certificates.crt', 'https://other.example/'])\n";
    let (status, checks) = doctor(home.path(), &path, &[], &["--", "python3", "-c", script]);
    assert_eq!(status, 1);
    let main = check(&checks, "processes", "python3 (main)");
    assert!(main["what"].as_str().unwrap().contains("api.anthropic.com × 1"), "{main}");
    // Two of one name, each by itself.
    for (state, told) in [("good", "api.openai.com × 1"), ("bad", "does not trust the CA: other.example")] {
        let curl = |check: &&Value| {
            let what = check["what"].as_str().unwrap();
            check["name"] == "curl (child)" && what.contains(told) && what.contains(", child of python3 ")
        };
        let child = checks.iter().find(curl).unwrap_or_else(|| panic!("no curl with {told} in {checks:#?}"));
        assert!(
            child["state"] == state && child["what"].as_str().unwrap().contains(": curl -s -o /dev/null "),
            "{child}"
        );
    }
    assert_eq!(check(&checks, "hosts", "api.openai.com")["state"], "good");
    let other = check(&checks, "hosts", "other.example");
    assert!(other["what"].as_str().unwrap().contains("does not trust"), "{other}");
}

#[test]
fn in_the_room_what_goes_around_is_met_and_named_with_its_process() {
    let home = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    let script = "import socket, subprocess, urllib.request\n\
        urllib.request.urlopen('https://api.anthropic.com/v1/models', timeout=20).read()\n\
        subprocess.run(['curl', '-s', '-o', '/dev/null', '--noproxy', '*', 'https://api.openai.com/v1/models'])\n\
        subprocess.run(['env', '-u', 'GIT_SSL_CAINFO', '-u', 'SSL_CERT_FILE', 'git', 'ls-remote', 'https://other.example/r.git'])\n\
        helper = 'import socket; s = socket.create_connection((\"beacon.example\", 443)); s.sendall(b\"beacon of a helper\\\\r\\\\n\\\\r\\\\n\"); s.recv(1)'\n\
        subprocess.run(['python3', '-c', helper])\n\
        subprocess.run(['python3', '-u', '-c', 'import urllib.request; urllib.request.urlopen(\"https://api.openai.com/v1/models\", timeout=20)'])\n";
    let (status, checks) = doctor(home.path(), &path, &[], &["--sealed", "--", "python3", "-c", script]);
    assert_eq!(status, 1);
    for (name, state, told) in [
        ("python3 (main)", "good", &["api.anthropic.com × 1", "trusts the CA"][..]),
        ("curl (child)", "bad", &["goes around: api.openai.com × 1", "nothing through the proxy", "; trusts the CA"]),
        ("python3 (child)", "bad", &["goes around: beacon.example × 1"]),
    ] {
        let check = check(&checks, "processes", name);
        let what = check["what"].as_str().unwrap();
        assert!(check["state"] == state && told.iter().all(|told| what.contains(told)), "{check}");
    }
    let helpers: Vec<&Value> = checks.iter().filter(|check| check["name"] == "python3 (child)").collect();
    let told = ["[pid", "goes around: beacon.example", "python3 -u -c …]", "through the proxy: api.openai.com × 1"];
    let all: String = helpers.iter().map(|check| check["what"].as_str().unwrap()).collect();
    assert!(helpers.len() == 2 && told.iter().all(|told| all.contains(told)), "{helpers:#?}");
    assert!(!all.contains("create_connection"), "what a process was told stays out: {all}");
    let git = check(&checks, "processes", "git-remote-http");
    assert!(
        git["state"] == "note" && git["what"].as_str().unwrap().contains("asked nothing of other.example"),
        "{git}"
    );
    let beacon = check(&checks, "hosts", "beacon.example");
    assert!(beacon["what"].as_str().unwrap().contains("no TLS"), "{beacon}");
}

#[test]
fn inside_a_sealed_run_doctor_knows_where_it_is() {
    let home = tempfile::tempdir().unwrap();
    let project = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_divulge"))
        .args(["run", "--sealed", "--offline", "--quiet", "--", env!("CARGO_BIN_EXE_divulge"), "doctor", "--json"])
        .current_dir(project.path())
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", std::env::var("PATH").unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let checks: Vec<Value> = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let proxy = check(&checks, "environment", "HTTPS_PROXY");
    assert!(proxy["state"] == "good" && proxy["what"].as_str().unwrap().contains("part of"), "{proxy}");
    assert_eq!(check(&checks, "runtimes", "curl")["state"], "good");
}

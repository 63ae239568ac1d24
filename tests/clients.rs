//! Real assistants under `divulge run --offline`: they finish their turn, and the audit names what they gave away.
//!
//! Each client is a pinned package, installed by `tests/clients/install.sh` and run by `tests/clients/sealed.sh`:
//! emptied environment, throw-away HOME, invented person and project, no network but loopback. Where the system
//! allows no namespace these tests fail and say how to allow it; no assistant is ever run outside the room.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

#[path = "clients/in_room.rs"]
mod in_room;
#[path = "clients/replayed.rs"]
mod replayed;
#[path = "clients/results.rs"]
mod results;
#[path = "clients/room.rs"]
mod room;
#[path = "clients/signed_in.rs"]
mod signed_in;

use room::{Client, EMAIL, HOST, PERSON, PROJECT, REMOTE, Run, Upstream, audit, certificates, installed, script};

const CLAUDE: Client = Client {
    name: "claude-code",
    setup: "",
    // The client gives its telemetry half a second when it ends, too little on a busy machine: send it on the way.
    variables: &["ANTHROPIC_API_KEY=sk-ant-api03-dummy-key-of-the-sealed-room", "OTEL_LOGS_EXPORT_INTERVAL=50"],
    command: &["claude", "-p"],
    upstream: Upstream::BuiltIn,
    places: &[
        (HOST, "api.anthropic.com", "body!json:/messages/*/content/*/text"),
        (PROJECT, "api.anthropic.com", "body!json:/system/*/text"),
        (PERSON, "api.anthropic.com", "body!json:/system/*/text"),
        (REMOTE, "api.anthropic.com", "body!json:/events/*/event_data/additional_metadata!b64!json:/rh"),
    ],
};

const CODEX: Client = Client {
    name: "codex",
    setup: r#"mkdir "$HOME/.codex"; echo '{"OPENAI_API_KEY":"sk-dummy-key-of-the-sealed-room"}' >"$HOME/.codex/auth.json""#,
    variables: &["OPENAI_API_KEY=sk-dummy-key-of-the-sealed-room"],
    command: &["codex", "exec", "--skip-git-repo-check"],
    upstream: Upstream::BuiltIn,
    places: &[
        (HOST, "api.openai.com", "ws:/*!json:/input/*/content/*/text"),
        (PROJECT, "api.openai.com", "ws:/*!json:/input/*/content/*/text"),
        (PROJECT, "api.openai.com", "ws:/*!json:/client_metadata/x-codex-turn-metadata!json:/workspaces/"),
        (REMOTE, "api.openai.com", "ws:/*!json:/client_metadata/x-codex-turn-metadata!json:/workspaces/"),
    ],
};

/// The same, told to leave WebSockets alone.
const CODEX_OVER_HTTP: Client = Client {
    command: &[
        "codex",
        "exec",
        "--skip-git-repo-check",
        "-c",
        r#"model_provider="plain""#,
        "-c",
        r#"model_providers.plain={name="plain",base_url="https://api.openai.com/v1",env_key="OPENAI_API_KEY",wire_api="responses",supports_websockets=false}"#,
    ],
    ..CODEX
};

const GEMINI: Client = Client {
    name: "gemini-cli",
    setup: r#"mkdir "$HOME/.gemini"; echo '{"security":{"auth":{"selectedType":"gemini-api-key"}}}' >"$HOME/.gemini/settings.json""#,
    variables: &["GEMINI_API_KEY=dummy-key-of-the-sealed-room"],
    command: &["gemini", "--skip-trust", "-p"],
    upstream: Upstream::BuiltIn,
    places: &[
        (HOST, "generativelanguage.googleapis.com", "body!json:/contents/*/parts/*/text"),
        (PROJECT, "generativelanguage.googleapis.com", "body!json:/contents/*/parts/*/text"),
    ],
};

const QWEN: Client = Client {
    name: "qwen-code",
    setup: r#"mkdir "$HOME/.qwen"; echo '{"security":{"auth":{"selectedType":"openai"}}}' >"$HOME/.qwen/settings.json""#,
    variables: &[
        "OPENAI_API_KEY=sk-dummy-key-of-the-sealed-room",
        "OPENAI_BASE_URL=https://dashscope.aliyuncs.com/compatible-mode/v1",
        "OPENAI_MODEL=qwen3-coder-plus",
    ],
    command: &["qwen", "-p"],
    upstream: Upstream::BuiltIn,
    places: &[
        (HOST, "dashscope.aliyuncs.com", "body!json:/messages/*/content/*/text"),
        (PROJECT, "dashscope.aliyuncs.com", "body!json:/messages/*/content/*/text"),
    ],
};

#[test]
fn claude_code_completes_its_turn_and_the_audit_names_what_it_sent() {
    let run = audit(&CLAUDE, &["--policy", "audit", "--reveal"]).completed();
    run.expect_places(CLAUDE.places);
    run.expect(
        "api.anthropic.com",
        &[
            ("id.device", "body!json:/metadata/user_id!json:/device_id"),
            ("id.session", "body!json:/metadata/user_id!json:/session_id"),
            ("id.session", "header:/x-claude-code-session-id"),
            ("os.name", "header:/x-stainless-os"),
            ("os.arch", "header:/x-stainless-arch"),
            ("path.cwd", "body!json:/system/"),
            ("os.kernel", "body!json:/system/"),
            ("git.branch", "body!json:/system/"),
            ("integrity.cch", "body!json:/system/0/text"),
            ("secret.api_key", "header:/x-api-key"),
            ("id.device", "body!json:/attributes/deviceID"),
            ("id.device", "body!json:/events/0/event_data/device_id"),
            ("env.term", "body!json:/events/0/event_data/env/terminal"),
            ("os.distro", "body!json:/events/0/event_data/env/linux_distro_id"),
            ("sw.runtime", "body!json:/events/0/event_data/env/node_version"),
            ("hw.mem", "body!json:/events/0/event_data/process!b64!json:/constrainedMemory"),
        ],
    );
    run.expect_planted(&[("host.name", HOST), ("git.name", PERSON), ("path.cwd", PROJECT)]);
    run.asked_once("/v1/messages");
    results::passed(
        "claude-code",
        "finds",
        "host, person, project, kernel, device, terminal, memory, in prompt and events",
    );
    assert!(run.flows().all(|flow| flow["verdict"] == "forwarded"), "audit changes nothing");
    assert!(run.findings().all(|finding| finding["action"] == "log"), "audit only logs");
}

#[test]
fn claude_code_completes_its_turn_under_balanced_and_strict() {
    for policy in ["balanced", "strict"] {
        let run = audit(&CLAUDE, &["--policy", policy]).completed();
        run.keeps_quiet();
        run.asked_once("/v1/messages");
        let device = run.found("api.anthropic.com", "id.device", "body!json:/metadata/user_id!json:/device_id");
        assert!(!device.is_empty(), "{policy}: the device identifier was not found");
        assert!(
            device.iter().all(|finding| !["allow", "log", "warn"].contains(&finding["action"].as_str().unwrap())),
            "{policy}: {device:?}"
        );
        assert!(run.flows().any(|flow| flow["verdict"] == "edited"), "{policy}: nothing was edited");
        results::stripped("claude-code", policy);
    }
}

#[test]
fn codex_completes_its_turn_over_a_websocket() {
    let run = audit(&CODEX, &["--reveal"]).completed();
    run.expect_places(CODEX.places);
    run.expect(
        "api.openai.com",
        &[
            ("id.install", "header:/x-codex-turn-metadata!json:/installation_id"),
            ("id.install", "ws:/0!json:/client_metadata/x-codex-installation-id"),
            ("id.session", "ws:/1!json:/client_metadata/x-codex-turn-metadata!json:/session_id"),
            ("git.commit", "ws:/1!json:/client_metadata/x-codex-turn-metadata!json:/workspaces/"),
            ("path.cwd", "ws:/1!json:/input/"),
        ],
    );
    run.expect_planted(&[("path.cwd", PROJECT), ("host.name", HOST)]);
}

#[test]
fn codex_completes_its_turn_over_http() {
    let run = audit(&CODEX_OVER_HTTP, &["--reveal"]).completed();
    run.expect("api.openai.com", &[("id.session", "header:/session-id"), ("path.cwd", "body!json:/input/")]);
    run.expect_planted(&[("path.cwd", PROJECT), ("host.name", HOST)]);
    results::passed("codex", "finds", "host, project, installation, session, commit, in header, message and prompt");
    assert!(run.flows().any(|flow| flow["method"] == "POST" && flow["path"] == "/v1/responses"), "no WebSocket");
}

#[test]
fn gemini_cli_completes_its_turn() {
    let run = audit(&GEMINI, &["--reveal"]).completed();
    run.expect_places(GEMINI.places);
    run.expect("generativelanguage.googleapis.com", &[("path.cwd", "body!json:/contents/")]);
    run.expect(
        "play.googleapis.com",
        &[("id.install", "body!json:/0/log_event/0/0/source_extension_json!json:/client_install_id")],
    );
    run.expect_planted(&[("path.cwd", PROJECT), ("host.name", HOST)]);
    results::passed("gemini-cli", "finds", "host, project, installation, in prompt and Clearcut");
}

#[test]
fn qwen_code_completes_its_turn() {
    let run = audit(&QWEN, &["--reveal"]).completed();
    run.expect_places(QWEN.places);
    run.expect(
        "dashscope.aliyuncs.com",
        &[
            ("id.session", "body!json:/metadata/sessionId"),
            ("os.arch", "header:/x-dashscope-useragent"),
            ("path.cwd", "body!json:/messages/"),
        ],
    );
    run.expect_planted(&[("path.cwd", PROJECT), ("host.name", HOST)]);
    results::passed("qwen-code", "finds", "host, project, session, processor");
}

/// The word in the file that the model asks for, as `upstream.mjs` knows it.
const WORD: &str = "Zauberwort-4711";

/// Runs a turn in which the model has a tool read a file at the path that it was shown, and sees what came of it.
fn tool_turn(client: &Client, policy: &str) {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let inside = format!(
        r#"set -eu
        git config --global user.name "{PERSON}"; git config --global user.email "{EMAIL}"
        mkdir "$HOME/{PROJECT}"; cd "$HOME/{PROJECT}"
        git init --quiet --initial-branch=main; git commit --quiet --allow-empty --message "Begin"
        echo {WORD} >planted.txt
        pwd -P >{cwd}
        {setup}
        : >{log}
        node {upstream} {leaf} {key} {log} >{port} &
        trap 'kill %1' EXIT
        while [ ! -s {port} ]; do :; done
        "$0" run --policy {policy} --findings {findings} --upstream-ca {ca} --connect-to "::127.0.0.1:$(cat {port})" -- "$@""#,
        cwd = at("cwd"),
        setup = client.setup,
        upstream = script("upstream.mjs").display(),
        leaf = at("leaf.pem"),
        key = at("leaf.key"),
        log = at("log"),
        port = at("port"),
        findings = at("findings.jsonl"),
        ca = at("ca.pem"),
    );
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("timeout")
        .arg("--kill-after=5")
        .arg("120")
        .arg(script("sealed.sh"))
        .args(["--host", HOST])
        .arg(format!("PATH={}:{path}", installed(client.name).join("bin").display()))
        .args(client.variables)
        .args(["--", "bash", "-c", &inside, env!("CARGO_BIN_EXE_divulge")])
        .args(client.command)
        .arg(format!("read planted.txt on {HOST} and tell me what it says"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let (printed, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let note = || format!("{} under {policy}\nprinted: {printed}\ntold: {told}", client.name);
    // What the upstream saw, for whoever wants to know why.
    let _ = fs::copy(
        folder.path().join("log"),
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.log", client.name)),
    );
    assert_eq!(output.status.code(), Some(0), "{}", note());
    let cwd = read("cwd").trim().to_owned();
    let expected = format!("The file at {cwd}/planted.txt says {WORD}.");
    assert!(printed.contains(&expected), "expected: {expected}\n{}", note());

    let log = read("log");
    let turns = log.lines().filter(|line| line.contains(WORD)).count();
    assert!(turns >= 1, "the tool's result never reached the model: {}", note());
    for planted in [HOST, PERSON, EMAIL, PROJECT, &cwd] {
        let left: Vec<String> = log
            .lines()
            .filter(|line| line.contains(planted))
            .map(|line| {
                let at = line.find(planted).unwrap_or(0);
                let from = (0..=at.saturating_sub(300)).rev().find(|&from| line.is_char_boundary(from)).unwrap_or(0);
                format!("{} … {}", &line[..line.len().min(120)], line[from..].chars().take(400).collect::<String>())
            })
            .collect();
        assert!(left.is_empty(), "{planted} left:\n{}\n{}", left.join("\n"), note());
    }
    let flows = read("findings.jsonl");
    let flows = flows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let restored: Vec<Value> = flows.map(|line| line["restored"].clone()).filter(|r| r.is_object()).collect();
    let sum = |name: &str| restored.iter().filter_map(|r| r[name].as_u64()).sum::<u64>();
    assert!(sum("restored") >= 2, "{restored:?}\n{}", note());
    assert_eq!(sum("unrestored"), 0, "{restored:?}\n{}", note());
    results::passed(client.name, "restores", "a tool runs on the real path");
    results::stripped(client.name, policy);
}

#[test]
fn claude_code_runs_a_tool_on_the_real_path_though_the_model_knows_another() {
    for policy in ["balanced", "strict"] {
        tool_turn(&CLAUDE, policy);
    }
}

#[test]
fn codex_runs_a_tool_on_the_real_path_though_the_model_knows_another() {
    // Its own sandbox needs rights that the room has not.
    const FREE: &[&str] = &[
        "codex",
        "exec",
        "--dangerously-bypass-approvals-and-sandbox",
        CODEX_OVER_HTTP.command[3],
        CODEX_OVER_HTTP.command[4],
        CODEX_OVER_HTTP.command[5],
        CODEX_OVER_HTTP.command[6],
    ];
    let free = Client { command: FREE, ..CODEX_OVER_HTTP };
    tool_turn(&free, "balanced");
    if signed_in::all() {
        signed_in::edited_turn(&CODEX);
        signed_in::edited_turn(&CODEX_OVER_HTTP);
    }
}

#[test]
fn gemini_cli_runs_a_tool_on_the_real_path_though_the_model_knows_another() {
    tool_turn(&GEMINI, "balanced");
    if signed_in::all() {
        signed_in::edited_turn(&GEMINI);
    }
}

#[test]
fn qwen_code_runs_a_tool_on_the_real_path_though_the_model_knows_another() {
    tool_turn(&QWEN, "balanced");
    if signed_in::all() {
        signed_in::edited_turn(&QWEN);
    }
}

/// The other clients, when all are asked for.
#[test]
fn opencode_and_copilot_run_a_tool_on_the_real_path_though_the_model_knows_another() {
    if signed_in::all() {
        tool_turn(&signed_in::OPENCODE, "balanced");
        tool_turn(&signed_in::COPILOT_OWN_KEY, "balanced");
        tool_turn(&signed_in::COPILOT, "balanced");
    }
}

#[test]
fn qoder_runs_a_tool_on_the_real_path_though_the_model_knows_another() {
    if signed_in::all() {
        tool_turn(&signed_in::QODER, "balanced");
    }
}

#[test]
fn the_room_has_loopback_alone_and_leaves_nothing_behind() {
    let inside = r#"tail -n +3 /proc/net/dev | cut -d: -f1; echo "$HOME"; env | cut -d= -f1 | sort | tr '\n' ' '; hostname; exit 7"#;
    let output = Command::new(script("sealed.sh"))
        .args(["--host", HOST, "KEY=dummy", "--", "bash", "-c", inside])
        .env("ANTHROPIC_API_KEY", "not for the room")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "the command's own status: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], "lo");
    assert!(lines[1].contains("divulge-home.") && !Path::new(lines[1]).exists(), "HOME is gone: {}", lines[1]);
    // bash itself sets PWD, SHLVL and _.
    assert_eq!(lines[2], format!("HOME KEY LANG PATH PWD SHLVL TERM _ {HOST}"));
}

/// Runs the client by itself, after `divulge setup`, beside `divulge serve --offline`; then takes the settings back.
fn set_up(client: &Client, id: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let findings = folder.path().join("findings.jsonl");
    let path = std::env::var("PATH").unwrap();
    let inside = format!(
        r#"set -eu
        {}
        cd "$HOME"; mkdir -p .claude .codex
        echo '# mine' >.profile; echo 'MINE=1' >.codex/.env; printf '{{ "cleanupPeriodDays" : 30 }}' >.claude/settings.json
        mine=".profile .codex/.env .claude/settings.json"
        sha256sum $mine >"$OUT/before"
        divulge=$1; shift
        state="$OUT/state"
        mkfifo "$OUT/ready"
        "$divulge" serve --offline --state "$state" --ca-scope any --intercept all --listen 127.0.0.1:0 --findings "$OUT/findings.jsonl" --quiet >"$OUT/ready" &
        serve=$!
        read -r _ _ address <"$OUT/ready"
        "$divulge" setup {id} --yes --state "$state" --listen "$address" >"$OUT/setup"
        mkdir -p "$HOME/{PROJECT}"; cd "$HOME/{PROJECT}"
        # A login shell, as a terminal opens it: profiles are read.
        status=0
        KEPT=$PATH bash -lc 'PATH=$KEPT exec "$@"' shell "$@" || status=$?
        kill -TERM $serve; wait $serve || true
        "$divulge" uninstall {id} --state "$state" >"$OUT/uninstall"
        cd "$HOME"; sha256sum $mine >"$OUT/after"
        grep -rl divulge . --include=settings.json --include=.env --include=.profile --include=.bashrc >"$OUT/left" || true
        exit $status"#,
        client.setup
    );
    let output = Command::new("timeout")
        .arg("--kill-after=5")
        .arg("120")
        .arg(script("sealed.sh"))
        .args(["--host", HOST])
        .arg(format!("PATH={}:{path}", installed(client.name).join("bin").display()))
        .arg(format!("OUT={}", folder.path().display()))
        .args(client.variables)
        .args(["--", "bash", "-c", &inside, "room", env!("CARGO_BIN_EXE_divulge")])
        .args(client.command)
        .arg(format!("say hi to {HOST}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let said = [text("setup"), text("uninstall"), String::from_utf8_lossy(&output.stderr).into_owned()].concat();
    let raw = text("findings.jsonl");
    assert!(findings.exists(), "nothing went through serve:\n{said}");
    assert_eq!((text("after"), text("left").as_str()), (text("before"), ""), "settings are not as they were:\n{said}");
    let lines = raw.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Run {
        client: client.name,
        status: output.status.code(),
        printed: String::from_utf8_lossy(&output.stdout).into_owned(),
        told: said,
        lines,
        raw,
    }
}

#[test]
fn clients_that_are_set_up_go_through_serve_and_their_settings_are_taken_back() {
    for (client, id, host) in [
        (&CLAUDE, "claude-code", "api.anthropic.com"),
        (&CODEX, "codex", "api.openai.com"),
        (&GEMINI, "gemini-cli", "generativelanguage.googleapis.com"),
        (&QWEN, "qwen-code", "dashscope.aliyuncs.com"),
    ] {
        let run = set_up(client, id).completed();
        assert!(run.flows().any(|flow| flow["host"] == host), "{id}: nothing to {host}\n{}", run.told);
        // One that ends may break a handshake off; one that does not trust us says so.
        let says_so =
            |finding: &Value| finding["kind"] == "audit.untrusted" && finding["confidence"].as_f64() > Some(0.7);
        let refused = run.findings().find(|finding| says_so(finding));
        assert!(refused.is_none(), "{id} does not trust the CA everywhere: {refused:?}");
    }
}

#[test]
fn clients_are_answered_from_the_recording_of_their_own_session() {
    for (client, host, path) in [
        (&CLAUDE, "api.anthropic.com", "/v1/messages"),
        (&CODEX, "api.openai.com", "/v1/responses"),
        (&CODEX_OVER_HTTP, "api.openai.com", "/v1/responses"),
        (&GEMINI, "generativelanguage.googleapis.com", ":streamGenerateContent"),
    ] {
        let first = replayed::replayed(client);
        // On a busy machine a client may say something else the second time: once is chance.
        let turn = if first.is_found_by_body(path) { first } else { replayed::replayed(client) };
        turn.completed(host, path);
    }
}

//! A turn without any provider: a client is answered from the recording of its own session.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use divulge::offline::GREETING;
use serde_json::Value;

use crate::room::{Client, HOST, PROJECT, installed, script};

/// What the second run left behind, answered from what the first one recorded.
pub struct Replayed {
    pub status: Option<i32>,
    /// Of each of the two runs.
    pub printed: [String; 2],
    pub told: String,
    /// What `replay` said of each request.
    pub matched: String,
    pub flows: Vec<Value>,
}

/// Runs the client under `run --offline --record`, then by itself through `replay --serve` of that recording, in one room.
pub fn replayed(client: &Client) -> Replayed {
    let folder = tempfile::tempdir().unwrap();
    let inside = format!(
        r#"set -eu
        {setup}
        divulge=$1; shift
        state="$OUT/state"
        mkdir "$HOME/{PROJECT}"; cd "$HOME/{PROJECT}"
        "$divulge" run --offline --state "$state" --record "$OUT/work.session" --record-bodies full --quiet -- "$@" >"$OUT/first"
        # As it was before the first run: a client remembers.
        cd /; rm -rf "$HOME"; mkdir "$HOME"
        {setup}
        mkdir "$HOME/{PROJECT}"; cd "$HOME/{PROJECT}"
        mkfifo "$OUT/ready"
        DIVULGE_LOG=divulge=debug "$divulge" replay --serve --state "$state" --ca-scope any --intercept all --listen 127.0.0.1:0 \
          --findings "$OUT/findings.jsonl" "$OUT/work.session" >"$OUT/ready" 2>"$OUT/matched" &
        serve=$!
        read -r _ _ address <"$OUT/ready"
        eval "$("$divulge" env --shell sh --state "$state" --listen "$address")"
        status=0
        "$@" >"$OUT/second" || status=$?
        kill -TERM $serve; wait $serve || true
        exit $status"#,
        setup = client.setup,
    );
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120"])
        .arg(script("sealed.sh"))
        .args(["--host", HOST])
        .arg(format!("PATH={}:{path}", installed(client.name).join("bin").display()))
        .arg(format!("OUT={}", folder.path().display()))
        .args(client.variables)
        .args(["--", "bash", "-c", &inside, "room", env!("CARGO_BIN_EXE_divulge")])
        .args(client.command)
        .arg("say hi")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |name: &str| fs::read_to_string(Path::new(folder.path()).join(name)).unwrap_or_default();
    let lines = text("findings.jsonl");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    Replayed {
        status: output.status.code(),
        printed: [text("first"), text("second")],
        matched: text("matched"),
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
        flows: lines.filter(|line| line["type"] == "flow").collect(),
    }
}

impl Replayed {
    /// Both turns were completed, the request of the second went to `path` of `host`, and its answer was found by what it says,
    /// not for want of another.
    pub fn completed(&self, host: &str, path: &str) {
        let told = format!("{:?}\n{}\n{}", self.printed, self.told, self.matched);
        assert!(self.status == Some(0) && self.printed.iter().all(|said| said.contains(GREETING)), "{told}");
        let asked = |flow: &&Value| flow["host"] == host && flow["path"].as_str().is_some_and(|at| at.contains(path));
        assert!(self.flows.iter().filter(asked).count() > 0, "nothing to {host}{path}\n{told}\n{:#?}", self.flows);
        assert!(self.turns(path).next().is_some(), "nothing was looked for in the recording\n{told}");
        assert!(self.is_found_by_body(path), "{told}");
    }

    /// Whether each request of the second turn to `path` was answered by what it says.
    pub fn is_found_by_body(&self, path: &str) -> bool {
        self.turns(path).all(|line| line.contains("answered: the same body"))
    }

    fn turns<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        self.matched.lines().filter(move |line| line.contains("answered: ") && line.contains(path))
    }
}

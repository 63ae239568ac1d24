//! The room in which real assistants run, and what is asked of what a run left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use divulge::offline::GREETING;
use serde_json::Value;

use super::results;

/// What the room would give away. Each name occurs nowhere else, so a finding of it is no accident.
pub const HOST: &str = "kanarienvogel-host";
pub const PERSON: &str = "Kanaria Vogelsang";
pub const EMAIL: &str = "kanaria@vogelsang.example.com";
pub const REMOTE: &str = "git@git.example.com:vogelsang/kanarienvogel.git";
pub const PROJECT: &str = "kanarienvogel-projekt";

/// How one assistant is run. Its command gets the prompt as last argument.
pub struct Client {
    pub name: &'static str,
    /// Writes what the client needs into HOME.
    pub setup: &'static str,
    pub variables: &'static [&'static str],
    pub command: &'static [&'static str],
    pub upstream: Upstream,
    /// Where what is planted must be found, in the pinned version.
    pub places: &'static [Place],
}

/// What is planted, the host that it is sent to, and the beginning of its location, in which `*` is any number.
pub type Place = (&'static str, &'static str, &'static str);

/// Who answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Upstream {
    /// `--offline`.
    BuiltIn,
    /// `services.mjs`, for clients that sign in first.
    Services,
}

/// What one run left behind.
pub struct Run {
    pub client: &'static str,
    pub status: Option<i32>,
    pub printed: String,
    pub told: String,
    pub lines: Vec<Value>,
    pub raw: String,
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Installs the client, or finds it installed.
pub fn installed(name: &str) -> PathBuf {
    let output = Command::new(script("install.sh")).arg(name).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{name} could not be installed; the reason is above");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Runs the client sealed under `divulge run` with `options`.
pub fn audit(client: &Client, options: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (before, upstream) = match client.upstream {
        Upstream::BuiltIn => (String::new(), r#"set -- --offline "$@""#.to_owned()),
        Upstream::Services => {
            certificates(folder.path());
            let start = format!(
                r#"node {} {} {} "{GREETING}" >{port} &
                trap 'kill %1' EXIT
                while [ ! -s {port} ]; do :; done"#,
                script("services.mjs").display(),
                at("leaf.pem"),
                at("leaf.key"),
                port = at("port"),
            );
            let to = format!(
                r#"set -- --upstream-ca {} --connect-to "::127.0.0.1:$(cat {})" "$@""#,
                at("ca.pem"),
                at("port")
            );
            (start, to)
        }
    };
    let inside = format!(
        r#"set -eu
        git config --global user.name "{PERSON}"; git config --global user.email "{EMAIL}"
        mkdir "$HOME/{PROJECT}"; cd "$HOME/{PROJECT}"
        git init --quiet --initial-branch=main; git commit --quiet --allow-empty --message "Begin"
        git remote add origin {REMOTE}
        {setup}
        {before}
        {upstream}
        # Options that name the throw-away HOME name it as it is inside.
        for option in "$@"; do shift; set -- "$@" "${{option/#\$HOME/$HOME}}"; done
        "$0" run "$@""#,
        setup = client.setup,
    );
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("timeout")
        .arg("--kill-after=5")
        .arg("120")
        .arg(script("sealed.sh"))
        .args(["--host", HOST])
        .arg(format!("PATH={}:{path}", installed(client.name).join("bin").display()))
        .args(client.variables)
        .args(["--", "bash", "-c", &inside, env!("CARGO_BIN_EXE_divulge"), "--findings", &at("findings.jsonl")])
        .args(options)
        .arg("--")
        .args(client.command)
        .arg(format!("say hi to {HOST}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let raw = fs::read_to_string(folder.path().join("findings.jsonl")).unwrap_or_default();
    let lines = raw.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let run = Run {
        client: client.name,
        status: output.status.code(),
        printed: String::from_utf8_lossy(&output.stdout).into_owned(),
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
        lines,
        raw,
    };
    results::note(&run);
    run
}

impl Run {
    /// The turn is complete: the answer is printed and the client is content.
    pub fn completed(self) -> Self {
        assert!(
            self.status == Some(0) && self.printed.contains(GREETING),
            "the turn did not complete (status {:?})\nprinted: {}\ntold: {}",
            self.status,
            self.printed,
            self.told
        );
        self
    }

    pub fn findings(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(|line| line.get("kind").is_some())
    }

    pub fn flows(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(|line| line["type"] == "flow")
    }

    /// The findings of a kind to a host, at a location that holds `place`.
    pub fn found(&self, host: &str, kind: &str, place: &str) -> Vec<&Value> {
        let fits = |finding: &&Value| {
            finding["host"] == host
                && finding["kind"] == kind
                && finding["location"].as_str().is_some_and(|location| location.contains(place))
        };
        self.findings().filter(fits).collect()
    }

    /// Tells all that is missing at once.
    pub fn expect(&self, host: &str, expected: &[(&str, &str)]) {
        let missing: Vec<_> =
            expected.iter().filter(|(kind, place)| self.found(host, kind, place).is_empty()).collect();
        assert!(missing.is_empty(), "not found at {host}: {missing:?}\nfound:\n{}", self.overview());
    }

    /// A planted value, revealed, was found as this kind.
    pub fn expect_planted(&self, planted: &[(&str, &str)]) {
        let shows = |finding: &Value, value: &str| {
            [&finding["value"], &finding["observed"]]
                .iter()
                .any(|seen| seen.as_str().is_some_and(|seen| seen.contains(value)))
        };
        let missing: Vec<_> = planted
            .iter()
            .filter(|(kind, value)| !self.findings().any(|f| f["kind"] == *kind && shows(f, value)))
            .collect();
        assert!(missing.is_empty(), "not found: {missing:?}\nfound:\n{}", self.overview());
    }

    /// Everything planted, revealed, was found in every place where this client is known to send it.
    pub fn expect_places(&self, places: &[Place]) {
        let stands = |finding: &Value, planted: &str| {
            [&finding["value"], &finding["observed"]]
                .iter()
                .any(|seen| seen.as_str().is_some_and(|seen| seen.contains(planted)))
        };
        let is_there = |(planted, host, place): &&Place| {
            self.findings().any(|finding| {
                let location = finding["location"].as_str().unwrap_or_default();
                finding["host"] == *host && begins(location, place) && stands(finding, planted)
            })
        };
        let missing: Vec<&Place> = places.iter().filter(|place| !is_there(place)).collect();
        let found = || {
            let planted = |f: &&Value| [HOST, PERSON, EMAIL, REMOTE, PROJECT].iter().any(|planted| stands(f, planted));
            let line = |f: &Value| format!("{} {} {}", f["host"], f["location"], f["value"]);
            self.findings().filter(planted).map(line).collect::<std::collections::BTreeSet<_>>()
        };
        assert!(missing.is_empty(), "{}: not found: {missing:#?}\nfound: {:#?}", self.client, found());
    }

    /// The client was content with the first answer: an edit that broke the request would make it try again.
    /// Small requests on the side, such as one for a title, are not the turn.
    pub fn asked_once(&self, path: &str) {
        let turn = |flow: &&Value| flow["path"] == path && flow["bytes_sent"].as_u64() > Some(10_000);
        let turns: Vec<&Value> = self.flows().filter(turn).collect();
        assert_eq!(turns.len(), 1, "{turns:#?}");
    }

    /// What was found, once for each kind and place: telemetry repeats itself by the hundred.
    pub fn overview(&self) -> String {
        let mut seen: Vec<String> = self
            .findings()
            .map(|f| {
                let location = f["location"].as_str().unwrap_or_default();
                let location = location.replace(|c: char| c.is_ascii_digit(), "#");
                format!("{} {} {location} {}", f["host"], f["kind"], f["value"])
            })
            .collect();
        seen.sort();
        seen.dedup();
        seen.truncate(150);
        seen.join("\n")
    }

    /// Without `--reveal` nothing planted stands in clear, in no output of ours.
    pub fn keeps_quiet(&self) {
        // Codex says the prompt again on standard error, where the summary goes too.
        let prints_all = self.client == "codex";
        for planted in [HOST, PERSON, EMAIL, PROJECT] {
            let line = self.raw.lines().find(|line| line.contains(planted));
            assert!(line.is_none(), "{planted} stands in the findings: {line:?}");
            assert!(prints_all || !self.told.contains(planted), "{planted} stands in the summary:\n{}", self.told);
        }
    }
}

/// Whether a location begins like `place`, in which `*` is any number.
fn begins(location: &str, place: &str) -> bool {
    let mut parts = place.split('*');
    let Some(mut rest) = parts.next().and_then(|first| location.strip_prefix(first)) else { return false };
    for part in parts {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        match number.strip_prefix(part).filter(|_| number.len() < rest.len()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// A certificate for every name, its key, and the authority that `--upstream-ca` takes.
pub fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names = [
        "anthropic.com",
        "openai.com",
        "googleapis.com",
        "aliyuncs.com",
        "rum.aliyuncs.com",
        "oss-accelerate.aliyuncs.com",
        "chatgpt.com",
        "qoder.sh",
        "cursor.sh",
        "cursor.com",
        "github.com",
        "individual.githubcopilot.com",
    ];
    let names: Vec<String> = names.iter().flat_map(|name| [name.to_string(), format!("*.{name}")]).collect();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = params.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
    fs::write(folder.join("leaf.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("leaf.key"), key.serialize_pem()).unwrap();
}

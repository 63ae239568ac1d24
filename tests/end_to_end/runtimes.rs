//! Programs of many languages in the environment that `run` gives them: decrypted, read and answered, or told apart by doctor.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::common::divulge::{BINARY, Ended, ended, read_lines};
use crate::common::programs::{bun, deno, node, old_node, program, python};
use crate::common::upstream::ok;
use crate::common::{Authority, HOST, Upstream, within};

const MACHINE: &str = "zephyr-7f3a.example.com";
/// In the language of git's dumb protocol (gitprotocol-http), since one of the programs is git.
const ANSWER: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc71\trefs/heads/answered\n";
/// What every program shows of it.
const SHOWN: &str = "refs/heads/answered";
/// Longer than all of them take, their installation included.
const LIMIT: Duration = Duration::from_secs(300);

/// Node's older way of asking, with nothing that would know a proxy.
const NODE_HTTPS: &str = "require('https').get(process.argv[1], r => r.pipe(process.stdout))";
const FETCH: &str = "fetch(process.argv[1]).then(r => r.text()).then(console.log)";

/// A program and how it is told to ask for an address, which comes last.
struct Runtime {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    /// Instead of the address, where a program makes its own.
    target: Option<String>,
}

impl Runtime {
    fn new(name: &'static str, program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { name, program: program.into(), arguments, target: None }
    }
}

fn runtimes(folder: &Path) -> Vec<Runtime> {
    let java = folder.join("Ask.java");
    std::fs::write(&java, include_str!("programs/Ask.java")).unwrap();
    let java = java.display().to_string();
    let python_with = |name, library: &'static str| Runtime::new(name, python(), &["-c", library]);
    vec![
        Runtime::new("curl", "curl", &["-sS", "--fail"]),
        Runtime { target: Some(format!("https://{HOST}/git/{MACHINE}")), ..Runtime::new("git", "git", &["ls-remote"]) },
        Runtime::new("node-fetch", node(), &["-e", FETCH]),
        Runtime::new("node-https", node(), &["-e", NODE_HTTPS]),
        python_with("python-urllib", "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"),
        python_with("python-requests", "import sys, requests; print(requests.get(sys.argv[1]).text)"),
        python_with("python-httpx", "import sys, httpx; print(httpx.get(sys.argv[1]).text)"),
        python_with("python-aiohttp", include_str!("programs/ask_aiohttp.py")),
        Runtime::new("deno", deno(), &["eval", "console.log(await (await fetch(Deno.args[0])).text())"]),
        Runtime::new("bun", bun(), &["-e", "console.log(await (await fetch(process.argv.at(-1))).text())"]),
        Runtime::new("ruby", "ruby", &["-rnet/http", "-e", "puts Net::HTTP.get(URI(ARGV[0]))"]),
        Runtime::new("java-connection", "java", &["--source", "11", &java, "connection"]),
        Runtime::new("java-client", "java", &["--source", "11", &java, "client"]),
        // gh stands for programs in Go; it puts its own path before what is asked for.
        Runtime { target: Some(format!("go/{MACHINE}")), ..Runtime::new("go", "gh", &["api", "--hostname", HOST]) },
    ]
}

/// `divulge` in a home of its own, with what programs of Debian are called where they are missing.
async fn divulge(folder: &Path, path: Option<&str>, arguments: &[String]) -> Ended {
    let mut command = program(BINARY);
    command.args(arguments).current_dir(folder).env("HOME", folder);
    command.envs([("GH_ENTERPRISE_TOKEN", "dummy-of-a-test"), ("GIT_TERMINAL_PROMPT", "0"), ("DENO_DIR", "deno")]);
    command.envs(path.map(|path| ("PATH", path)));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    ended(command.output().await.unwrap())
}

fn run(authority: &Authority, upstream: &Upstream, findings: &Path, options: &[&str]) -> Vec<String> {
    let mut arguments = vec![
        "run".to_owned(),
        format!("--upstream-ca={}", authority.file().display()),
        format!("--connect-to=::127.0.0.1:{}", upstream.port()),
        format!("--findings={}", findings.display()),
        "--facts=facts.json".to_owned(),
    ];
    arguments.extend(options.iter().map(ToString::to_string));
    arguments.push("--".to_owned());
    arguments
}

fn facts(folder: &Path) {
    std::fs::write(folder.join("facts.json"), format!(r#"[{{"kind":"host.fqdn","value":"{MACHINE}"}}]"#)).unwrap();
}

/// Requests that were read, and whether the machine was found in the path of one.
fn found(findings: &Path) -> (usize, bool) {
    let lines = read_lines(findings);
    let in_path = |line: &&Value| {
        line["kind"] == "host.fqdn" && line["location"].as_str().is_some_and(|at| at.starts_with("path:/"))
    };
    (lines.iter().filter(|line| line["type"] == "flow").count(), lines.iter().any(|line| in_path(&line)))
}

#[test]
fn runtimes_of_many_languages_are_decrypted_and_answered() {
    within(LIMIT, async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |_| ok(ANSWER)).await;
        let folder = tempfile::tempdir().unwrap();
        facts(folder.path());
        let mut wrong = Vec::new();
        for runtime in runtimes(folder.path()) {
            let findings = folder.path().join(format!("{}.jsonl", runtime.name));
            let mut arguments = run(&authority, &upstream, &findings, &[]);
            arguments.push(runtime.program.display().to_string());
            arguments.extend(runtime.arguments);
            let own = || format!("https://{HOST}/{}/{MACHINE}/info", runtime.name);
            arguments.push(runtime.target.unwrap_or_else(own));
            let ended = divulge(folder.path(), None, &arguments).await;
            let what = match (ended.code, ended.out.contains(SHOWN), found(&findings)) {
                (Some(0), true, (1.., true)) => continue,
                (Some(127), ..) => "is not here; tests/run.sh installs it on Debian".to_owned(),
                (code, shown, (read, _)) => format!("ended with {code:?}, answered: {shown}, requests read: {read}"),
            };
            wrong.push(format!("{} {what}\n{}\n{}", runtime.name, ended.out, ended.err));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}

/// The checks of `divulge doctor` over these programs, by name: state and what was said.
async fn doctor(folder: &Path, programs: &[PathBuf]) -> Vec<Value> {
    let own = programs.iter().filter_map(|program| program.parent()).map(Path::to_owned);
    let machine = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(own.chain(std::env::split_paths(&machine))).unwrap();
    let asked = ["doctor", "--json"].map(str::to_owned);
    let ended = divulge(folder, path.to_str(), &asked).await;
    let checks: Vec<Value> = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.out));
    checks.into_iter().filter(|check| check["area"] == "runtimes").collect()
}

#[test]
fn doctor_finds_the_runtimes_well_and_leaves_nothing_behind() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let checks = doctor(folder.path(), &[node(), python(), deno(), bun()]).await;
        for name in [
            "curl",
            "git",
            "Node (fetch)",
            "Node (https)",
            "Python (urllib)",
            "Python (requests)",
            "Python (httpx)",
            "Python (aiohttp)",
            "Deno",
            "Bun",
            "Ruby (net/http)",
            "Java",
            "Go (gh)",
        ] {
            let check = checks.iter().find(|check| check["name"] == name);
            assert!(check.is_some_and(|check| check["state"] == "good"), "{name}: {checks:#?}");
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn runtimes_that_know_no_proxy_are_named_by_doctor_and_met_in_the_room() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let node = old_node();
        let checks = doctor(folder.path(), std::slice::from_ref(&node)).await;
        for name in ["Node (fetch)", "Node (https)"] {
            let check = checks.iter().find(|check| check["name"] == name).unwrap();
            assert!(check["state"] == "bad" && check["what"].as_str().unwrap().contains("goes around"), "{check}");
            assert!(check["fix"].as_str().unwrap().contains("newer Node"), "{check}");
        }

        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |_| ok(ANSWER)).await;
        facts(folder.path());
        let shown = format!("--room-show={}", node.parent().unwrap().display());
        for script in [FETCH, NODE_HTTPS] {
            let findings = folder.path().join("findings.jsonl");
            let mut arguments = run(&authority, &upstream, &findings, &["--sealed", &shown]);
            let url = format!("https://{HOST}/old/{MACHINE}");
            arguments.extend([node.display().to_string(), "-e".to_owned(), script.to_owned(), url]);
            let ended = divulge(folder.path(), None, &arguments).await;
            assert!(ended.code == Some(0) && ended.out.contains(SHOWN), "{}\n{}", ended.out, ended.err);
            assert!(ended.err.contains("1 around the proxy"), "{}", ended.err);
            assert_eq!(found(&findings), (1, true), "{}", ended.err);
        }
    });
}

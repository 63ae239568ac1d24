//! `divulge run`: the command behaves as if it had been run alone, and is audited.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::common::divulge::{BINARY, Ended, command, ended, read_lines};
use crate::common::programs::{node, program, python, succeed};
use crate::common::upstream::ok;
use crate::common::{Authority, Upstream, bounded, soon, within};

/// A folder that is the home of `divulge run` and its place for temporary files.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("tmp")).unwrap();
        Self(home)
    }

    fn run(&self, options: &[&str], child: &[&str]) -> Command {
        let arguments: Vec<&str> = [&["run"], options, &["--"], child].concat();
        let mut command = command(&arguments, self.0.path());
        command.env("TMPDIR", self.0.path().join("tmp"));
        command
    }

    async fn finish(&self, options: &[&str], child: &[&str]) -> Ended {
        ended(soon("divulge run to end", self.run(options, child).output()).await.unwrap())
    }

    async fn shell(&self, script: &str) -> Ended {
        self.finish(&[], &["sh", "-c", script]).await
    }

    /// Everything below the folder for temporary files.
    fn left_over(&self) -> Vec<String> {
        let list = std::fs::read_dir(self.0.path().join("tmp")).unwrap();
        list.map(|entry| entry.unwrap().path().display().to_string()).collect()
    }
}

#[test]
fn the_childs_exit_status_is_divulges_own() {
    bounded(async {
        let home = Home::new();
        for code in [0, 1, 2, 3, 7, 42, 255] {
            assert_eq!(home.shell(&format!("exit {code}")).await.code, Some(code));
        }
    });
}

#[test]
fn a_child_that_a_signal_ends_gives_128_and_its_number() {
    bounded(async {
        let home = Home::new();
        for (signal, code) in [("TERM", 143), ("KILL", 137), ("INT", 130), ("SEGV", 139)] {
            assert_eq!(home.shell(&format!("kill -{signal} $$")).await.code, Some(code), "{signal}");
        }
    });
}

#[test]
fn commands_that_cannot_be_started_give_126_and_127_and_say_why() {
    bounded(async {
        let home = Home::new();
        let plain = home.0.path().join("no-program");
        std::fs::write(&plain, "not a program").unwrap();
        let plain = plain.display().to_string();
        for (program, code) in [("no-such-program-anywhere", 127), ("/no/such/path", 127), (&plain, 126), ("/", 126)] {
            let ended = home.finish(&[], &[program]).await;
            assert_eq!(ended.code, Some(code), "{program}: {}", ended.err);
            assert!(ended.err.contains(program), "the message does not name {program}: {}", ended.err);
        }
        assert_eq!(home.left_over(), Vec::<String>::new());
    });
}

#[test]
fn signals_reach_the_child_and_its_answer_decides() {
    bounded(async {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let home = Home::new();
            let script = "trap 'echo got; exit 9' TERM INT HUP; echo ready; while :; do sleep 0.05; done";
            let mut child = home.run(&[], &["sh", "-c", script]).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert_eq!(soon("the child", lines.next_line()).await.unwrap().as_deref(), Some("ready"));
            kill(Pid::from_raw(child.id().unwrap().cast_signed()), signal).unwrap();
            let got = soon("the child's answer", lines.next_line()).await.unwrap();
            let status = soon("divulge run to end", child.wait()).await.unwrap();
            assert_eq!((got.as_deref(), status.code()), (Some("got"), Some(9)), "{signal}");
            assert_eq!(home.left_over(), Vec::<String>::new(), "{signal}");
        }
    });
}

#[test]
fn standard_input_and_output_are_the_childs_alone() {
    bounded(async {
        let home = Home::new();
        let mut child = home.run(&[], &["cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let feed = async {
            input.write_all(&bytes).await.unwrap();
            drop(input);
        };
        let mut output = Vec::new();
        let mut out = child.stdout.take().unwrap();
        let (_, read) = tokio::join!(feed, out.read_to_end(&mut output));
        read.unwrap();
        assert_eq!(soon("divulge run to end", child.wait()).await.unwrap().code(), Some(0));
        assert!(output == bytes, "{} bytes came out of {}", output.len(), bytes.len());
        assert_eq!(home.shell("printf 'a\\0b'; echo c >&2").await.out, "a\0b");
    });
}

#[test]
fn the_child_is_told_of_the_proxy_and_whom_to_trust() {
    bounded(async {
        let home = Home::new();
        let script = "env; echo ---; for f in \"$SSL_CERT_FILE\" \"$NODE_EXTRA_CA_CERTS\"; do grep -c 'BEGIN CERTIFICATE' \"$f\"; done; \
                      stat -c %a \"$(dirname \"$SSL_CERT_FILE\")\"; echo \"$SSL_CERT_FILE\"";
        let ended = home.shell(script).await;
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let (environment, rest) = ended.out.split_once("---\n").unwrap();
        let value =
            |name: &str| environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned));
        let mut wrong = Vec::new();
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            if !value(name).is_some_and(|url| url.starts_with("http://127.0.0.1:")) {
                wrong.push(format!("{name} is {:?}", value(name)));
            }
        }
        for name in ["NO_PROXY", "no_proxy"] {
            let list = value(name).unwrap_or_default();
            if !["localhost", "127.0.0.1", "::1"].iter().all(|host| list.split(',').any(|entry| entry.trim() == *host))
            {
                wrong.push(format!("{name} is {list:?}"));
            }
        }
        for name in [
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "PIP_CERT",
            "GIT_SSL_CAINFO",
            "CARGO_HTTP_CAINFO",
            "AWS_CA_BUNDLE",
            "DENO_CERT",
            "CODEX_CA_CERTIFICATE",
        ] {
            if !value(name).is_some_and(|file| file.starts_with('/')) {
                wrong.push(format!("{name} is {:?}", value(name)));
            }
        }
        if value("NODE_USE_ENV_PROXY").as_deref() != Some("1") {
            wrong.push("NODE_USE_ENV_PROXY is not 1".into());
        }
        if !value("JAVA_TOOL_OPTIONS").is_some_and(|options| options.contains("-Djavax.net.ssl.trustStore=")) {
            wrong.push(format!("JAVA_TOOL_OPTIONS is {:?}", value("JAVA_TOOL_OPTIONS")));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));

        let rest: Vec<&str> = rest.lines().collect();
        let merged: usize = rest[0].parse().unwrap();
        if std::path::Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
            assert!(merged > 10, "the bundle that replaces the platform's has only {merged} certificates");
        }
        assert_eq!(rest[2], "700", "the folder of the bundle is open to others");
        assert!(!std::path::Path::new(rest[3]).exists(), "the bundle was left behind");
        assert_eq!(home.left_over(), Vec::<String>::new());
    });
}

#[test]
fn exceptions_from_the_proxy_are_cut_down_and_reported() {
    bounded(async {
        let home = Home::new();
        let mut command = home.run(&[], &["sh", "-c", "echo $NO_PROXY; echo $no_proxy"]);
        command.env("NO_PROXY", "api.example.com,localhost").env("no_proxy", "*.example.org");
        let ended = ended(soon("divulge run to end", command.output()).await.unwrap());
        assert!(!ended.out.contains("example"), "{}", ended.out);
        assert!(
            ended.err.contains("NO_PROXY") && ended.err.contains("api.example.com"),
            "it was not reported: {}",
            ended.err
        );
    });
}

#[test]
fn the_cas_key_is_never_on_disk() {
    bounded(async {
        let home = Home::new();
        // The child looks for keys, spelled as text or not, wherever divulge could have put one.
        let script = "grep -rlE 'PRIVATE KEY' \"$HOME\" \"$TMPDIR\"; find \"$HOME\" \"$TMPDIR\" -name '*.key' -o -name '*.p8'; \
                      grep -c . \"$SSL_CERT_FILE\" >/dev/null && echo looked";
        let ended = home.shell(script).await;
        assert_eq!(ended.out, "looked\n", "{}", ended.err);
    });
}

fn audited(authority: &Authority, upstream: &Upstream, findings: &str) -> Vec<String> {
    vec![
        format!("--upstream-ca={}", authority.file().display()),
        format!("--connect-to=::127.0.0.1:{}", upstream.port()),
        format!("--findings={findings}"),
    ]
}

#[test]
fn a_command_is_decrypted_and_audited_without_any_setting() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |_| ok("answer")).await;
        let home = Home::new();
        let facts = home.0.path().join("facts.json");
        std::fs::write(&facts, r#"[{"kind":"host.fqdn","value":"zephyr-7f3a.example.com"}]"#).unwrap();
        let findings = home.0.path().join("findings.jsonl").display().to_string();
        let facts = format!("--facts={}", facts.display());
        let mut options = audited(&authority, &upstream, &findings);
        options.push(facts);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let body = "{\"host\":\"zephyr-7f3a.example.com\"}";

        let ended = home
            .finish(
                &options,
                &["curl", "-sS", "-H", "Content-Type: application/json", "-d", body, "https://api.example.com/v1"],
            )
            .await;

        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "answer"), "{}", ended.err);
        assert_eq!(upstream.log.one().await.body.data, body.as_bytes());
        for told in ["api.example.com", "host.fqdn", "body!json:/host"] {
            assert!(ended.err.contains(told), "the summary does not tell {told}:\n{}", ended.err);
        }
        assert!(!ended.err.contains("zephyr-7f3a"), "the summary is not masked:\n{}", ended.err);
        let lines = read_lines(std::path::Path::new(&findings));
        assert!(lines.iter().any(|line| line["kind"] == "host.fqdn"), "{lines:?}");
        assert!(lines.iter().any(|line| line["type"] == "flow"), "{lines:?}");

        let quiet = [&["--quiet"], &options[..]].concat();
        let ended = home.finish(&quiet, &["curl", "-sS", "https://api.example.com/v1"]).await;
        assert_eq!((ended.out.as_str(), ended.err.as_str()), ("answer", ""));
    });
}

#[test]
fn findings_at_the_asked_severity_make_the_status_1() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let home = Home::new();
        let findings = home.0.path().join("findings.jsonl").display().to_string();
        let options = audited(&authority, &upstream, &findings);
        let options: Vec<&str> = options.iter().map(String::as_str).chain(["--fail-on=low"]).collect();
        let told = "{\"machine_id\":\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"}";
        for (body, child, code) in [(told, "exit 0", 1), (told, "exit 5", 1), ("{}", "exit 0", 0), ("{}", "exit 5", 5)]
        {
            let script = format!(
                "curl -sS -A '' -H 'User-Agent:' -H 'Content-Type: application/json' -d '{body}' https://api.example.com/v1; {child}"
            );
            let ended = home.finish(&options, &["sh", "-c", &script]).await;
            assert_eq!(ended.code, Some(code), "{body}, then {child}: {}", ended.err);
        }
    });
}

#[test]
fn other_programs_need_no_setting_either() {
    within(Duration::from_secs(300), async {
        let (python, node) = (python(), node());
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, |seen| ok(&seen.start_line())).await;
        let home = Home::new();
        let findings = home.0.path().join("findings.jsonl").display().to_string();
        let options = audited(&authority, &upstream, &findings);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let url = "https://api.example.com/x";
        let (python, node) = (python.display().to_string(), node.display().to_string());
        let requests = format!("import requests; print(requests.get('{url}').text)");
        let httpx = format!("import httpx; print(httpx.get('{url}').text)");
        let urllib = format!("import urllib.request; print(urllib.request.urlopen('{url}').read().decode())");
        let fetch = format!("console.log(await (await fetch('{url}')).text())");
        let commands: [(&str, Vec<&str>); 5] = [
            ("requests", vec![&python, "-c", &requests]),
            ("httpx", vec![&python, "-c", &httpx]),
            ("urllib", vec![&python, "-c", &urllib]),
            ("node", vec![&node, "--input-type=module", "-e", &fetch]),
            ("curl", vec!["curl", "-sS", url]),
        ];
        let mut wrong = Vec::new();
        for (name, child) in commands {
            let ended = home.finish(&options, &child).await;
            if ended.out.trim() != "GET /x HTTP/1.1" {
                wrong.push(format!("{name}: {:?} {}\n{}", ended.code, ended.out, ended.err));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_terminal_is_passed_through() {
    bounded(async {
        let home = Home::new();
        let script = include_str!("programs/terminal.py");
        let ended = succeed(
            program("python3")
                .args(["-c", script, BINARY])
                .env("HOME", home.0.path())
                .env("TMPDIR", home.0.path().join("tmp")),
        )
        .await;
        assert_eq!(ended.out.trim(), "fine", "{}", ended.err);
    });
}

#[test]
fn an_interrupt_from_the_keyboard_is_the_childs_to_answer() {
    bounded(async {
        let home = Home::new();
        let script = include_str!("programs/interrupt.py");
        let ended = succeed(
            program("python3")
                .args(["-c", script, BINARY])
                .env("HOME", home.0.path())
                .env("TMPDIR", home.0.path().join("tmp")),
        )
        .await;
        assert_eq!(ended.out.trim(), "fine", "{}", ended.err);
    });
}

#[test]
fn the_proxy_ends_with_the_command() {
    bounded(async {
        let home = Home::new();
        let ended = home.shell("echo $HTTPS_PROXY").await;
        let address = ended.out.trim().strip_prefix("http://").unwrap_or_default();
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the proxy at {address} still listens");
    });
}

#[test]
fn an_untrusted_or_missing_upstream_is_the_clients_502() {
    bounded(async {
        let stranger = Authority::new();
        let upstream = Upstream::recording(&stranger).await;
        let home = Home::new();
        let to = format!("--connect-to=::127.0.0.1:{}", upstream.port());
        let ended =
            home.finish(&[&to], &["curl", "-sS", "-o", "/dev/null", "-D", "-", "https://api.example.com/"]).await;
        assert!(
            ended.out.contains(" 502 ") && ended.out.to_ascii_lowercase().contains("x-divulge-error"),
            "{}",
            ended.out
        );
        assert!(upstream.log.requests().is_empty());
    });
}

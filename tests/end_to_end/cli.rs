//! The command line as a whole: usage, settings and where output goes.

use crate::common::divulge::{command, ended, run};
use crate::common::{Authority, Divulge, Route, Upstream, bounded, soon};

#[test]
fn wrong_usage_is_status_2_on_standard_error() {
    bounded(async {
        let cases: [&[&str]; 8] = [
            &[],
            &["no-such-command"],
            &["serve", "--no-such-option"],
            &["run"],
            &["run", "--"],
            &["ca"],
            &["ca", "no-such"],
            &["rules", "show"],
        ];
        let mut wrong = Vec::new();
        for arguments in cases {
            let ended = run(arguments).await;
            if ended.code != Some(2) || ended.err.is_empty() || !ended.out.is_empty() {
                wrong.push(format!("{arguments:?}: {ended:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn help_and_version_are_results() {
    bounded(async {
        for arguments in [&["--help"][..], &["--version"], &["run", "--help"], &["serve", "--help"], &["ca", "--help"]]
        {
            let ended = run(arguments).await;
            assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
            assert!(!ended.out.is_empty() && ended.err.is_empty(), "{arguments:?}: {ended:?}");
        }
        assert!(run(&["--version"]).await.out.contains(env!("CARGO_PKG_VERSION")));
    });
}

#[test]
fn every_option_of_the_interface_is_known_to_serve_and_run() {
    bounded(async {
        for name in ["serve", "run"] {
            let help = run(&[name, "--help"]).await.out;
            let missing: Vec<&str> = [
                "--listen",
                "--state",
                "--ca-scope",
                "--ca-cert",
                "--ca-key",
                "--policy",
                "--rules",
                "--facts",
                "--intercept",
                "--connect-to",
                "--upstream-ca",
                "--dial-allow",
                "--dial-deny",
                "--upstream-proxy",
                "--offline",
                "--findings",
                "--reveal",
                "--on-error",
                "--body-limit",
                "--fail-on",
                "--quiet",
                "--color",
                "--log-format",
                "--config",
            ]
            .into_iter()
            .filter(|option| !help.contains(option))
            .collect();
            assert!(missing.is_empty(), "{name} does not know {missing:?}");
        }
    });
}

#[test]
fn settings_come_from_the_line_then_the_environment_then_the_file() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let config = format!(
            "intercept = [\"all\"]\nca-scope = \"any\"\nupstream-ca = \"{}\"\nconnect-to = [\"::127.0.0.1:{}\"]\n",
            authority.file().display(),
            upstream.port()
        );
        let divulge = Divulge::serve().file("--config", "config.toml", &config).start().await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);

        // The environment is wrong, so it counts; a right value on the line is stronger.
        let folder = tempfile::tempdir().unwrap();
        let state = format!("--state={}", folder.path().join("state").display());
        let mut wrong = command(&["serve", "--listen=127.0.0.1:0", &state], folder.path());
        let told = ended(soon("divulge to end", wrong.env("DIVULGE_POLICY", "lenient").output()).await.unwrap());
        assert_eq!(told.code, Some(2), "{told:?}");
        assert!(told.err.contains("lenient"), "{}", told.err);
        let mut right = command(&["run", "--policy=audit", &state, "--", "true"], folder.path());
        let told = ended(soon("divulge to end", right.env("DIVULGE_POLICY", "lenient").output()).await.unwrap());
        assert_eq!(told.code, Some(0), "{told:?}");
    });
}

#[test]
fn the_users_own_settings_file_counts() {
    bounded(async {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/divulge");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), "policy = \"lenient\"\n").unwrap();
        let told = ended(soon("divulge to end", command(&["run", "--", "true"], home.path()).output()).await.unwrap());
        assert_eq!(told.code, Some(2), "{told:?}");
        assert!(told.err.contains("lenient"), "{}", told.err);
    });
}

#[test]
fn rules_prove_themselves() {
    bounded(async {
        let listed = run(&["rules", "list"]).await;
        assert_eq!(listed.code, Some(0), "{}", listed.err);
        assert!(listed.out.lines().count() > 5, "{}", listed.out);
        let tested = run(&["rules", "test"]).await;
        assert_eq!(tested.code, Some(0), "{}{}", tested.out, tested.err);
        let id = listed.out.split_whitespace().find(|word| word.contains('.')).expect("an id").to_owned();
        let shown = run(&["rules", "show", &id]).await;
        assert_eq!(shown.code, Some(0), "{id}: {}", shown.err);
        let missing = run(&["rules", "show", "no.such-rule"]).await;
        assert_eq!(missing.code, Some(2));
        assert!(missing.err.contains("no.such-rule"), "{}", missing.err);
    });
}

#[test]
fn completions_and_the_manual_are_written() {
    bounded(async {
        for shell in ["bash", "zsh", "fish"] {
            let ended = run(&["completions", shell]).await;
            assert_eq!(ended.code, Some(0), "{shell}: {}", ended.err);
            assert!(ended.out.contains("divulge"), "{shell}");
        }
        let manual = run(&["man"]).await;
        assert_eq!(manual.code, Some(0), "{}", manual.err);
        assert!(manual.out.contains(".TH"), "{}", manual.out);
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man");
        let written = run(&["man", "--output", pages.to_str().unwrap()]).await;
        assert_eq!(written.code, Some(0), "{}", written.err);
        // Every page that the first one names is there.
        let first = std::fs::read_to_string(pages.join("divulge.1")).unwrap().replace("\\-", "-");
        let named: Vec<&str> = first.lines().filter_map(|line| line.strip_suffix("(1)")).collect();
        assert!(named.len() > 10, "{first}");
        for name in named {
            assert!(pages.join(format!("{name}.1")).exists(), "{name}");
        }
    });
}

#[test]
fn logs_are_json_where_asked() {
    bounded(async {
        let divulge = Divulge::serve().arg("--log-format=json").arg("--intercept=all").start().await;
        let stream = Route::through(&divulge).tcp().await;
        drop(stream);
        let errors = divulge.errors();
        for line in errors.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "not JSON: {line}");
        }
    });
}

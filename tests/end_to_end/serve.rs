//! `divulge serve`: its CA, what it may speak for, and what it says of bad settings.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use x509_parser::prelude::*;

use crate::common::divulge::run;
use crate::common::upstream::ok;
use crate::common::{Authority, Divulge, Route, Upstream, Wire, bounded, show, soon};

fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::metadata(path.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
        .permissions()
        .mode()
        & 0o7777
}

#[test]
fn the_ca_is_private_from_its_creation_whatever_the_umask() {
    bounded(async {
        for umask in ["000", "077", "0777"] {
            let divulge = Divulge::serve().umask(umask).start().await;
            let state = divulge.state();
            assert_eq!(mode(&state), 0o700, "the state folder under umask {umask}");
            assert_eq!(mode(state.join("ca.key")), 0o600, "the key under umask {umask}");
            let open = mode(state.join("ca.pem"));
            assert!(open & 0o022 == 0, "others may write the certificate under umask {umask}: {open:o}");
            for entry in std::fs::read_dir(&state).unwrap() {
                let path = entry.unwrap().path();
                assert!(mode(&path) & 0o022 == 0, "{}: {:o} under umask {umask}", path.display(), mode(&path));
            }
        }
    });
}

#[test]
fn the_ca_is_there_before_the_port_and_the_same_at_the_next_start() {
    bounded(async {
        let mut divulge = Divulge::serve().start().await;
        let ca = std::fs::read(divulge.ca_file()).unwrap();
        assert!(divulge.terminate().await.success(), "{}", divulge.errors());
        let again = Divulge::serve().state(&divulge.state()).start().await;
        assert_eq!(std::fs::read(divulge.ca_file()).unwrap(), ca, "the CA was made anew");
        drop(again);
    });
}

fn constraints(pem: &[u8]) -> Option<(Vec<String>, bool)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let extension = certificate.name_constraints().unwrap()?;
    let names = extension.value.permitted_subtrees.iter().flatten().filter_map(|tree| match &tree.base {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let addresses =
        extension.value.excluded_subtrees.iter().flatten().any(|tree| matches!(tree.base, GeneralName::IPAddress(_)));
    Some((names.collect(), addresses))
}

#[test]
fn the_ca_may_speak_for_the_packs_hosts_alone_unless_asked() {
    bounded(async {
        let divulge = Divulge::serve().start().await;
        let (names, no_addresses) = constraints(&std::fs::read(divulge.ca_file()).unwrap()).expect("name constraints");
        assert!(names.iter().any(|name| "api.anthropic.com".ends_with(name.trim_start_matches('.'))), "{names:?}");
        assert!(names.iter().all(|name| !name.is_empty() && name.contains('.')), "{names:?}");
        assert!(no_addresses, "addresses are not excluded");

        let divulge = Divulge::serve().arg("--ca-scope=any").start().await;
        assert_eq!(constraints(&std::fs::read(divulge.ca_file()).unwrap()), None);

        let divulge = Divulge::serve().arg("--ca-scope=corp.example.com").start().await;
        let (names, _) = constraints(&std::fs::read(divulge.ca_file()).unwrap()).expect("name constraints");
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(names[0].trim_start_matches('.'), "corp.example.com");
    });
}

#[test]
fn a_host_out_of_the_cas_scope_is_tunnelled_with_a_warning() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve().arg("--intercept=all").trusting(&authority).to(upstream.address).start().await;
        let mut client = Route::through(&divulge).trusting(authority.file()).http1().await;
        client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
        let errors = divulge.wait_for_error("api.example.com").await;
        assert!(
            errors.contains("scope") && errors.contains("ca rotate"),
            "the warning does not say how to widen it:\n{errors}"
        );
    });
}

#[test]
fn only_ai_hosts_are_decrypted_by_default() {
    bounded(async {
        let authority = Authority::new();
        let tls = authority.server(&["api.anthropic.com", "www.example.com"], &["http/1.1"]);
        let upstream = Upstream::start(Some(tls), |mut served| async move {
            while served.request().await.is_some() {
                served.wire.send(ok("ok")).await;
            }
        })
        .await;
        let divulge = Divulge::serve().trusting(&authority).to(upstream.address).start().await;
        let mut client = Route::through(&divulge).host("api.anthropic.com").http1().await;
        client.send("GET /v1/models HTTP/1.1\r\nHost: api.anthropic.com\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
        let tunnelled = Route::through(&divulge).host("www.example.com").trusting(authority.file());
        let mut client = tunnelled.http1().await;
        client.send("GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
    });
}

#[test]
fn another_scope_than_the_cas_is_an_error_that_names_the_way_out() {
    bounded(async {
        let mut divulge = Divulge::serve().arg("--ca-scope=any").start().await;
        divulge.terminate().await;
        let ended = Divulge::serve().state(&divulge.state()).arg("--ca-scope=packs").fail().await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("ca rotate"), "{}", ended.err);
        // Not asked for, the CA's own scope counts.
        let again = Divulge::serve().state(&divulge.state()).start().await;
        drop(again);
    });
}

#[test]
fn an_address_in_use_is_a_clear_error() {
    bounded(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let ended = Divulge::serve().listen(&address).fail().await;
        assert!(matches!(ended.code, Some(2 | 3)), "{:?}", ended.code);
        assert!(ended.err.contains(&address) && ended.err.to_lowercase().contains("in use"), "{}", ended.err);
        assert!(!ended.out.contains("listening"), "{}", ended.out);
        let ended = Divulge::serve().listen("127.0.0.1").fail().await;
        assert_eq!(ended.code, Some(2));
        assert!(ended.err.contains("--listen") && ended.err.contains("ADDR:PORT"), "{}", ended.err);
    });
}

#[test]
fn bad_files_are_named_with_the_line_and_what_was_expected() {
    bounded(async {
        let cases: [(&str, &str, &[u8], &[&str]); 9] = [
            (
                "--policy",
                "policy.toml",
                b"name = \"x\"\n\n[[rule]]\nkind = \"host.*\"\naction = \"destroy\"\n",
                &["policy.toml", "5", "destroy"],
            ),
            ("--policy", "policy.toml", b"name = \"x\"\nmood = \"bad\"\n", &["policy.toml", "2", "mood"]),
            ("--policy", "policy.toml", b"name = \n", &["policy.toml", "1"]),
            (
                "--facts",
                "facts.json",
                b"[\n {\"kind\":\"host.name\",\"value\":\"x\"},\n {\"kind\": }\n]",
                &["facts.json", "3"],
            ),
            ("--facts", "facts.json", b"[{\"kind\":\"no.such\",\"value\":\"x\"}]", &["facts.json:1", "kind"]),
            ("--facts", "facts.json", b"{}", &["facts.json"]),
            ("--upstream-ca", "ca.pem", b"not a certificate", &["ca.pem"]),
            ("--config", "config.toml", b"listen = \"127.0.0.1:0\"\ncolour = true\n", &["config.toml", "2", "colour"]),
            ("--config", "config.toml", b"body-limit = \"much\"\n", &["config.toml", "line 1", "body-limit"]),
        ];
        let mut wrong = Vec::new();
        for (option, name, text, told) in cases {
            let shown = String::from_utf8_lossy(text).into_owned();
            let ended = Divulge::serve().file(option, name, text).fail().await;
            if ended.code != Some(2) {
                wrong.push(format!("{option} with {shown:?}: ended with {:?}: {}", ended.code, ended.err));
            }
            for word in told {
                if !ended.err.contains(word) {
                    wrong.push(format!("{option} with {shown:?}: does not tell {word:?}: {}", ended.err));
                }
            }
            if ended.err.contains("panicked") {
                wrong.push(format!("{option} with {shown:?}: panicked: {}", ended.err));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn files_that_are_not_there_and_values_that_fit_nothing_are_named() {
    bounded(async {
        let cases: [(&str, &str); 14] = [
            ("--policy=/no/such/policy.toml", "/no/such/policy.toml"),
            ("--policy=lenient", "lenient"),
            ("--facts=/no/such/facts.json", "/no/such/facts.json"),
            ("--rules=/no/such/rules", "/no/such/rules"),
            ("--upstream-ca=/no/such/ca.pem", "/no/such/ca.pem"),
            ("--config=/no/such/config.toml", "/no/such/config.toml"),
            ("--connect-to=api.example.com", "--connect-to"),
            ("--connect-to=api.example.com:x:127.0.0.1:1", "--connect-to"),
            ("--upstream-proxy=gopher://127.0.0.1:1", "gopher"),
            ("--dial-deny=300.0.0.0/8", "300.0.0.0/8"),
            ("--on-error=perhaps", "perhaps"),
            ("--body-limit=0", "--body-limit"),
            ("--fail-on=critical", "critical"),
            ("--ca-cert=/no/such/ca.pem", "--ca-key"),
        ];
        let mut wrong = Vec::new();
        for (argument, told) in cases {
            let ended = Divulge::serve().arg(argument).fail().await;
            if ended.code != Some(2) || !ended.err.contains(told) || ended.err.contains("panicked") {
                wrong.push(format!("{argument}: ended with {:?}: {}", ended.code, ended.err));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn bad_rule_files_are_named_with_their_line() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("mine");
        std::fs::create_dir(&pack).unwrap();
        std::fs::write(pack.join("pack.toml"), "id = \"mine\"\ntitle = \"Mine\"\nhosts = [\"api.example.com\"]\n")
            .unwrap();
        for (text, told) in [
            ("id = \"x.y\"\nkind = \"id.device\"\nwrong = 1\n", "wrong"),
            ("id = \"x.y\"\nkind = \"no.such.kind\"\n", "x.toml"),
            ("id = \n", "x.toml"),
        ] {
            std::fs::write(pack.join("x.toml"), text).unwrap();
            let ended = Divulge::serve().arg(format!("--rules={}", folder.path().display())).fail().await;
            assert_eq!(ended.code, Some(2), "{text:?}: {}", ended.err);
            assert!(ended.err.contains("x.toml") && ended.err.contains(told), "{text:?}: {}", ended.err);
        }
    });
}

#[test]
fn a_ca_of_ones_own_is_used_and_a_bad_one_named() {
    bounded(async {
        let mut first = Divulge::serve().arg("--ca-scope=any").start().await;
        first.terminate().await;
        let (cert, key) = (first.state().join("ca.pem"), first.state().join("ca.key"));
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve()
            .arg("--intercept=all")
            .arg(format!("--ca-cert={}", cert.display()))
            .arg(format!("--ca-key={}", key.display()))
            .trusting(&authority)
            .to(upstream.address)
            .start()
            .await;
        let mut client = Route::through(&divulge).trusting(cert.clone()).http1().await;
        client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);

        let ended = Divulge::serve()
            .arg(format!("--ca-cert={}", cert.display()))
            .file("--ca-key", "other.key", "no key")
            .fail()
            .await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("other.key"), "{}", ended.err);
    });
}

#[test]
fn findings_may_go_to_standard_output() {
    bounded(async {
        use tokio::io::AsyncBufReadExt;
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let arguments = [
            "serve".to_owned(),
            "--listen=127.0.0.1:0".into(),
            format!("--state={}", state.display()),
            "--ca-scope=any".into(),
            "--intercept=all".into(),
            "--findings=-".into(),
            format!("--upstream-ca={}", authority.file().display()),
            format!("--connect-to=::127.0.0.1:{}", upstream.port()),
        ];
        let mut child = crate::common::divulge::command(&arguments, folder.path()).spawn().unwrap();
        let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon("the address", lines.next_line()).await.unwrap().unwrap();
        let proxy = format!("http://{}", line.strip_prefix("listening on ").expect(&line));
        let ca = state.join("ca.pem").display().to_string();
        let mut curl = crate::common::programs::program("curl");
        crate::common::programs::succeed(curl.args(["-sS", "-x", &proxy, "--cacert", &ca, "https://api.example.com/"]))
            .await;
        loop {
            let line =
                soon("a line about the flow", lines.next_line()).await.unwrap().expect("standard output stays open");
            let line: serde_json::Value = serde_json::from_str(&line).expect("only JSON follows");
            if line["type"] == "flow" {
                assert_eq!(line["host"].as_str().unwrap_or("api.example.com"), "api.example.com");
                break;
            }
        }
    });
}

#[test]
fn it_ends_cleanly_when_asked_and_lets_a_response_finish() {
    bounded(async {
        let authority = Authority::new();
        let go = std::sync::Arc::new(tokio::sync::Notify::new());
        let wait = go.clone();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| {
            let wait = wait.clone();
            async move {
                served.request().await;
                served.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").await;
                wait.notified().await;
                served.wire.send("lf").await;
                served.gone().await;
            }
        })
        .await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        client.response_head().await.unwrap();
        assert_eq!(client.exactly(2).await, b"ha");
        let (status, body) = tokio::join!(divulge.terminate(), async {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            go.notify_one();
            client.exactly(2).await
        });
        assert_eq!(show(&body), "lf", "the response was cut by the shutdown");
        assert_eq!(status.code(), Some(0), "{}", divulge.errors());
    });
}

#[test]
fn beyond_loopback_inner_addresses_are_not_dialled_unless_allowed() {
    bounded(async {
        let upstream = Upstream::plain(|mut served| async move {
            while served.request().await.is_some() {
                served.wire.send(ok("ok")).await;
            }
        })
        .await;
        let url = format!("http://127.0.0.1:{}", upstream.port());
        let ask = async |divulge: &Divulge, url: &str, host: &str| {
            let mut client = Wire::connect(([127, 0, 0, 1], divulge.address.port()).into()).await;
            client.send(format!("GET {url}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            client.response().await
        };
        let host = format!("127.0.0.1:{}", upstream.port());
        let divulge = Divulge::serve().listen("0.0.0.0:0").arg("--allow-from=127.0.0.0/8").start().await;
        let response = ask(&divulge, &url, &host).await;
        assert!(
            matches!(response.status, 403 | 502) && response.field("x-divulge-error").is_some(),
            "{}",
            show(&response.head)
        );
        assert_eq!(upstream.log.connections(), 0);
        let divulge = Divulge::serve()
            .listen("0.0.0.0:0")
            .arg("--allow-from=127.0.0.0/8")
            .arg("--dial-allow=127.0.0.0/8")
            .start()
            .await;
        assert_eq!(ask(&divulge, &url, &host).await.status, 200);
        // The clouds' metadata service is never dialled.
        let divulge = Divulge::serve().arg("--dial-allow=0.0.0.0/0").start().await;
        let response = ask(&divulge, "http://169.254.169.254", "169.254.169.254").await;
        assert!(
            matches!(response.status, 403 | 502) && response.field("x-divulge-error").is_some(),
            "{}",
            show(&response.head)
        );
    });
}

#[test]
fn the_ca_commands_make_show_and_export_it() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let state = format!("--state={}", folder.path().join("state").display());
        let made = run(&["ca", "init", &state]).await;
        assert_eq!(made.code, Some(0), "{}", made.err);
        let pem = std::fs::read_to_string(folder.path().join("state/ca.pem")).unwrap();
        let again = run(&["ca", "init", &state]).await;
        assert_eq!(again.code, Some(0), "a second `ca init` is no error: {}", again.err);
        assert_eq!(std::fs::read_to_string(folder.path().join("state/ca.pem")).unwrap(), pem);
        let shown = run(&["ca", "show", &state]).await;
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        assert!(!shown.out.contains("PRIVATE KEY") && !shown.out.is_empty(), "{}", shown.out);
        let exported = run(&["ca", "export", &state]).await;
        assert_eq!((exported.code, exported.out.trim()), (Some(0), pem.trim()), "{}", exported.err);
        let rotated = run(&["ca", "rotate", &state, "--ca-scope=any"]).await;
        assert_eq!(rotated.code, Some(0), "{}", rotated.err);
        assert_ne!(std::fs::read_to_string(folder.path().join("state/ca.pem")).unwrap(), pem);
        assert_eq!(mode(folder.path().join("state/ca.key")), 0o600);
    });
}

//! Trust beyond single certificates: our own CA, exceptions, revocation lists that change, and servers that speak
//! what nobody should speak any more.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::common::forge::{self, Draft, Key, Made, days, name, now, oid};
use crate::common::upstream::ok;
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded, divulge};

/// A server of [`HOST`] with this chain.
async fn server(chain: &[&Made]) -> Upstream {
    let ders: Vec<Vec<u8>> = chain.iter().map(|made| made.der.clone()).collect();
    let config = forge::server(&ders, &chain[0].key, None);
    let serve = Upstream::start(Some(config), |mut served| async move {
        while served.request().await.is_some() {
            served.wire.send(ok("reached")).await;
        }
    });
    serve.await
}

/// The status of a request, and what the answer says.
async fn ask(divulge: &Divulge) -> (u16, String) {
    let mut client = Route::through(divulge).http1().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let response = client.response().await;
    assert_eq!(response.status == 502, response.field("x-divulge-error").is_some());
    (response.status, response.text())
}

#[test]
fn our_own_ca_is_trusted_by_clients_and_never_by_us() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let made = divulge::run(&["ca", "init", "--ca-scope=any", "--state", state.to_str().unwrap()]).await;
        assert_eq!(made.code, Some(0), "{}", made.err);
        let certificate = std::fs::read_to_string(state.join("ca.pem")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).unwrap();
        let subject = pem.parse_x509().unwrap().subject().as_raw().to_vec();
        let key = std::fs::read(state.join("ca.key")).unwrap();
        let (_, key) = x509_parser::pem::parse_x509_pem(&key).unwrap();
        let ours = Made { der: pem.contents.clone(), subject, serial: Vec::new(), key: Key::ec_of(&key.contents) };
        let leaf = Draft::leaf(&[HOST]).by(&ours);
        let (alone, together) = (server(&[&leaf]).await, server(&[&leaf, &ours]).await);
        let until = (now() + days(3)).date();
        for upstream in [&alone, &together] {
            for excepted in [false, true] {
                // Trusted in so many words.
                let mut serve = Divulge::serve().state(&state).intercept("all").to(upstream.address);
                serve = serve.file("--upstream-ca", "roots.pem", &certificate);
                if excepted {
                    serve = serve.arg(format!("--allow-untrusted={HOST}={until}"));
                }
                let divulge = serve.start().await;
                let mut client = Route::through(&divulge).trusting(state.join("ca.pem")).http1().await;
                client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
                let response = client.response().await;
                assert_eq!(response.status, 502, "excepted: {excepted}: {}", response.text());
                assert!(response.text().contains("divulge's own CA"), "{}", response.text());
            }
        }
        // `run` has another CA and knows that of `serve` all the same.
        let script = format!("curl -s -o /dev/null -w '%{{http_code}}' https://{HOST}/");
        let run = divulge::command(
            &[
                "run",
                "--quiet",
                "--state",
                state.to_str().unwrap(),
                "--upstream-ca",
                state.join("ca.pem").to_str().unwrap(),
                &format!("--connect-to=::127.0.0.1:{}", alone.port()),
                "--",
                "sh",
                "-c",
                &script,
            ],
            folder.path(),
        );
        let mut run = run;
        let ended = divulge::ended(run.output().await.unwrap());
        assert_eq!(ended.out, "502", "{}", ended.err);
        assert!(alone.log.requests().is_empty() && together.log.requests().is_empty());
    });
}

#[test]
fn an_exception_is_told_of_when_it_is_made_used_and_over() {
    bounded(async {
        let upstream = server(&[&Draft::leaf(&[HOST]).by_itself()]).await;
        let until = (now() + days(3)).date();
        let mut divulge = Divulge::serve()
            .intercept("all")
            .to(upstream.address)
            .file("--config", "config.toml", format!("allow-untrusted = [\"{HOST}={until}\"]\n"))
            .start()
            .await;
        assert!(divulge.errors().contains("not believed and used all the same"), "{}", divulge.errors());
        assert_eq!(ask(&divulge).await.0, 200);
        let finding = divulge.finding_of("audit.identity").await;
        assert_eq!(finding["host"], HOST, "{finding}");
        let observed = finding["observed"].as_str().unwrap();
        assert!(observed.contains(&until.to_string()) && observed.contains("no chain leads"), "{finding}");
        // Another host gains nothing by it.
        let mut client = Route::through(&divulge).host("other.example.com").http1().await;
        client.send("GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n").await;
        assert_eq!(client.response().await.status, 502);
        divulge.terminate().await;
        divulge.wait_for_error("1 connection in spite of its certificate").await;
    });
}

#[test]
fn an_exception_is_short_and_for_one_host() {
    bounded(async {
        for (exception, why) in [
            (format!("{HOST}={}", (now() - days(1)).date()), "has expired"),
            (format!("{HOST}={}", (now() + days(91)).date()), "more than 90 days"),
            (HOST.to_owned(), "is not HOST=YYYY-MM-DD"),
            (format!("*.example.com={}", (now() + days(1)).date()), "is not HOST=YYYY-MM-DD"),
        ] {
            let ended = Divulge::serve().arg(format!("--allow-untrusted={exception}")).fail().await;
            assert_eq!(ended.code, Some(2), "{exception}: {}", ended.err);
            assert!(ended.err.contains("--allow-untrusted") && ended.err.contains(why), "{exception}: {}", ended.err);
        }
    });
}

#[test]
fn a_revocation_list_that_cannot_be_used_is_an_error_at_start() {
    bounded(async {
        let ca = Draft::ca("Issuing CA").by_itself();
        let with = |oid, critical, content: &[u8]| ca.crl_with(&[], -1, 5, &forge::extension(oid, critical, content));
        let mut cut = ca.crl(&[], -1, 5);
        cut.truncate(cut.len() - 5);
        for (what, bytes, why) in [
            ("an empty file", Vec::new(), "holds no revocation list"),
            ("a certificate", ca.pem().into_bytes(), "holds no revocation list"),
            ("a certificate as DER", ca.der.clone(), "is damaged"),
            ("a cut list", cut, "is damaged"),
            ("a delta list", with(oid::DELTA_CRL, true, &[2, 1, 1]), "is a delta list"),
            ("a list for others", with(oid::DISTRIBUTION_POINT, true, &[0x30, 3, 0x84, 1, 0xff]), "of other issuers"),
            ("an unknown critical extension", with(oid::UNKNOWN, true, &[5, 0]), "critical extension"),
            ("broken PEM", b"-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n".to_vec(), "is damaged"),
        ] {
            let ended = Divulge::serve().file("--crl", "list.crl", bytes).fail().await;
            assert_eq!(ended.code, Some(2), "{what}: {}", ended.err);
            assert!(ended.err.contains("--crl") && ended.err.contains(why), "{what}: {}", ended.err);
        }
        let ended = Divulge::serve().arg("--crl=/nonexistent/list.crl").fail().await;
        assert!(ended.code == Some(2) && ended.err.contains("cannot be read"), "{}", ended.err);
    });
}

#[test]
fn a_reload_brings_new_revocation_lists() {
    bounded(async {
        let root = Draft::ca("Listing root").by_itself();
        let leaf = Draft::leaf(&[HOST]).by(&root);
        let upstream = server(&[&leaf]).await;
        let divulge = Divulge::serve()
            .intercept("all")
            .to(upstream.address)
            .file("--upstream-ca", "roots.pem", root.pem())
            .file("--crl", "list.crl", root.crl(&[], -9, -2))
            .start()
            .await;
        assert!(divulge.errors().contains("the revocation list has expired"), "{}", divulge.errors());
        let hang_up = nix::sys::signal::Signal::SIGHUP;
        let mut reloads = 0;
        for (list, status, why) in [
            (None, 502, "which has expired"),
            (Some(root.crl(&[], -1, 5)), 200, "reached"),
            (Some(root.crl(&[&leaf.serial], -1, 5)), 502, "is revoked"),
        ] {
            if let Some(list) = list {
                std::fs::write(divulge.folder.path().join("list.crl"), list).unwrap();
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(divulge.pid().cast_signed()), hang_up).unwrap();
                reloads += 1;
                while divulge.errors().matches("read again").count() < reloads {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            // A client of its own each time, so that no connection is kept from before.
            let route = Route::through(&divulge).from(&format!("127.0.0.{}", reloads + 2));
            let mut client = route.http1().await;
            client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")).await;
            let response = client.response().await;
            assert!(response.status == status && response.text().contains(why), "{why}: {}", response.text());
        }
    });
}

/// A server that answers every ClientHello with this version and suite, whatever was offered.
async fn answering_hellos_with(version: u16, suite: u16) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 5];
                stream.read_exact(&mut head).await?;
                let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
                stream.read_exact(&mut hello).await?;
                let mut body = version.to_be_bytes().to_vec();
                body.extend([7; 32]);
                body.push(0);
                body.extend(suite.to_be_bytes());
                body.push(0);
                let handshake = [&[2, 0, 0, body.len() as u8][..], &body].concat();
                let record = [&[22][..], &version.to_be_bytes(), &[0, handshake.len() as u8], &handshake].concat();
                stream.write_all(&record).await?;
                // The certificate would follow; nobody may wait for it.
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await
            });
        }
    });
    address
}

/// The status of a request to the server that stands behind this port of [`HOST`].
async fn ask_at(divulge: &Divulge, port: u16) -> (u16, String) {
    let mut client = Route::through(divulge).port(port).http1().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n")).await;
    let response = client.response().await;
    (response.status, response.text())
}

#[test]
fn old_versions_and_suites_are_refused_whatever_the_server_says() {
    bounded(async {
        let servers = [
            ("SSL 3", 0x0300, 0xc02f),
            ("TLS 1.0", 0x0301, 0xc013),
            ("TLS 1.1", 0x0302, 0xc013),
            ("TLS 1.2 with ECDHE and CBC", 0x0303, 0xc027),
            ("TLS 1.2 with ECDHE, CBC and SHA-1", 0x0303, 0xc013),
            ("TLS 1.2 with static RSA and CBC", 0x0303, 0x002f),
            ("TLS 1.2 with static RSA and GCM", 0x0303, 0x009c),
            ("TLS 1.2 with RC4", 0x0303, 0x0005),
            ("TLS 1.2 with 3DES", 0x0303, 0xc012),
            ("TLS 1.2 with no encryption", 0x0303, 0xc010),
            ("TLS 1.2 with nobody's signature", 0x0303, 0xc018),
        ];
        let mut serve = Divulge::serve().intercept("all");
        for (port, (_, version, suite)) in (1u16..).zip(servers) {
            let address = answering_hellos_with(version, suite).await;
            serve = serve.arg(format!("--connect-to=:{port}:127.0.0.1:{}", address.port()));
        }
        let divulge = serve.start().await;
        let mut wrong = Vec::new();
        for (port, (what, ..)) in (1u16..).zip(servers) {
            let (status, text) = ask_at(&divulge, port).await;
            if status != 502 {
                wrong.push(format!("{what}: {status}: {text}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn true_old_servers_are_refused_and_modern_ones_of_the_same_kind_are_not() {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        eprintln!("no openssl here to play the old servers");
        return;
    }
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let key_file = folder.path().join("server.key");
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let mut params = rcgen::CertificateParams::new([HOST.to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key).unwrap();
        let certificate_file = folder.path().join("server.pem");
        std::fs::write(&certificate_file, certificate.pem()).unwrap();
        let servers = [
            ("TLS 1.0", &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..], 502),
            ("TLS 1.1", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], 502),
            ("CBC", &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256:@SECLEVEL=0"], 502),
            ("static RSA", &["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"], 502),
            ("TLS 1.2 and GCM", &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], 200),
            ("TLS 1.3", &["-tls1_3"], 200),
        ];
        let mut serve = Divulge::serve().intercept("all").file("--upstream-ca", "roots.pem", certificate.pem());
        let mut children = Vec::new();
        for (port, (what, options, _)) in (1u16..).zip(servers) {
            let mut child = tokio::process::Command::new("openssl")
                .args(["s_server", "-www", "-accept", "127.0.0.1:0", "-cert"])
                .arg(&certificate_file)
                .arg("-key")
                .arg(&key_file)
                .args(options)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let address = loop {
                let line = lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("{what}: openssl would not play it"));
                if let Some(address) = line.strip_prefix("ACCEPT ") {
                    break address.trim().to_owned();
                }
            };
            // Read on, or a full pipe would stop it.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            children.push(child);
            serve = serve.arg(format!("--connect-to=:{port}:{address}"));
        }
        let divulge = serve.start().await;
        let mut wrong = Vec::new();
        for (port, (what, _, status)) in (1u16..).zip(servers) {
            let (answered, text) = ask_at(&divulge, port).await;
            if answered != status {
                wrong.push(format!("{what}: {answered}: {text}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// A ClientHello of TLS 1.2 (or what `version` says) that offers these suites.
fn hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let extension =
        |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat();
    let named = [&[0][..], &(HOST.len() as u16).to_be_bytes(), HOST.as_bytes()].concat();
    let named = [&(named.len() as u16).to_be_bytes()[..], &named].concat();
    let extensions = [
        extension(0, &named),
        // Curves, point formats, signatures: all that a good client offers.
        extension(10, &[0, 4, 0, 0x1d, 0, 0x17]),
        extension(11, &[1, 0]),
        extension(13, &[0, 8, 4, 3, 8, 4, 4, 1, 2, 1]),
    ]
    .concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let body = [
        &version.to_be_bytes()[..],
        &[9; 32],
        &[0],
        &(suites.len() as u16).to_be_bytes(),
        &suites,
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

#[test]
fn clients_are_served_with_tls_1_2_and_aead_at_the_least() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut wrong = Vec::new();
        for (what, version, suites, served) in [
            ("TLS 1.2 with GCM", 0x0303, &[0xc02b][..], true),
            ("TLS 1.2 with ChaCha20", 0x0303, &[0xcca9], true),
            ("TLS 1.2 with CBC and GCM", 0x0303, &[0xc009, 0xc02b], true),
            ("TLS 1.2 with CBC", 0x0303, &[0xc009, 0xc00a, 0xc023, 0xc024], false),
            ("TLS 1.2 with static RSA", 0x0303, &[0x009c, 0x009d, 0x002f], false),
            ("TLS 1.2 without encryption", 0x0303, &[0xc006], false),
            ("TLS 1.1", 0x0302, &[0xc009, 0xc00a], false),
            ("TLS 1.0", 0x0301, &[0xc009, 0xc00a], false),
            ("SSL 3", 0x0300, &[0xc009, 0xc00a], false),
        ] {
            let mut stream: TcpStream = Route::through(&divulge).tcp().await;
            stream.write_all(&hello(version, suites)).await.unwrap();
            let mut head = [0; 11];
            let read = stream.read_exact(&mut head).await.is_ok();
            // A handshake record of TLS 1.2 with a ServerHello of the same.
            let hello_came = read && head[0] == 22 && head[1..3] == [3, 3] && head[5] == 2 && head[9..11] == [3, 3];
            if hello_came != served {
                wrong.push(format!("{what}: answered {head:02x?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn names_and_extensions_of_forged_certificates_are_what_they_claim() {
    // The forge itself, read by another hand.
    let root = Draft::ca("Root").path_length(1).by_itself();
    let leaf = Draft::leaf(&[HOST, "192.0.2.7"]).must_staple().by(&root);
    let (_, read) = x509_parser::parse_x509_certificate(&leaf.der).unwrap();
    let (_, above) = x509_parser::parse_x509_certificate(&root.der).unwrap();
    read.verify_signature(Some(above.public_key())).unwrap();
    assert_eq!(read.issuer().as_raw(), name("Root"));
    assert_eq!(above.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(1));
    let names = &read.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names.len(), 2);
    assert!(read.iter_extensions().any(|extension| extension.oid.as_bytes() == oid::TLS_FEATURE));
}

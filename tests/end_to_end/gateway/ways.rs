//! By which ways clients come.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{MACHINE, curl, gateway, people, statuses};
use crate::common::h2_client::{self, Http2};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::programs::{program, succeed};
use crate::common::upstream::Upstream;
use crate::common::{Authority, HOST, Route, bounded};

#[test]
fn socks5_takes_names_addresses_and_credentials() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = gateway(&authority, upstream.address).start().await;
        let by_name = format!("socks5h://{}", divulge.address);
        let ended = curl(&divulge.ca_file(), &["-x", &by_name]).await;
        assert_eq!(statuses(&ended), "000 200", "{}", ended.err);
        divulge.finding_of("host.machine_id").await;
        let by_address = format!("socks5://{}", divulge.address);
        let ended = curl(&divulge.ca_file(), &["-x", &by_address, "--resolve", &format!("{HOST}:443:192.0.2.1")]).await;
        assert_eq!(statuses(&ended), "000 200", "{}", ended.err);

        let divulge = gateway(&authority, upstream.address).file("--users", "users", people()).start().await;
        for (pair, code) in [("ann:correct%20horse@", Some(0)), ("ann:wrong@", Some(97)), ("", Some(97))] {
            let proxy = format!("socks5h://{pair}{}", divulge.address);
            assert_eq!(curl(&divulge.ca_file(), &["-x", &proxy]).await.code, code, "{pair}");
        }
    });
}

/// A CA for the proxy's own certificate and for those of clients, as files.
struct Company {
    folder: tempfile::TempDir,
}

impl Company {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Company");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", issuer.pem());
        let proxy = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let mut client = CertificateParams::default();
        client.distinguished_name.push(DnType::CommonName, "ann");
        client.distinguished_name.push(DnType::OrganizationalUnitName, "dev");
        for (name, params) in [("proxy", proxy), ("client", client)] {
            let key = KeyPair::generate().unwrap();
            write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn tls_to_the_proxy_itself_and_a_certificate_that_says_who() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let company = Company::new();
        let (certificate, key, ca) = (company.file("proxy.pem"), company.file("proxy.key"), company.file("ca.pem"));
        let (own, own_key) = (company.file("client.pem"), company.file("client.key"));
        let divulge = gateway(&authority, upstream.address)
            .arg(format!("--tls-cert={}", certificate.display()))
            .arg(format!("--tls-key={}", key.display()))
            .arg(format!("--client-ca={}", ca.display()))
            .arg("--identity=name")
            .start()
            .await;
        let proxy = format!("https://{}", divulge.address);
        let anonymous = ["-x", &proxy, "--proxy-cacert", text(&ca)];
        let ended = curl(&divulge.ca_file(), &anonymous).await;
        assert_eq!(statuses(&ended), "407 000", "{}", ended.err);
        let known = [&anonymous[..], &["--proxy-cert", text(&own), "--proxy-key", text(&own_key)]].concat();
        let ended = curl(&divulge.ca_file(), &known).await;
        assert_eq!(statuses(&ended), "200 200", "{}", ended.err);
        let finding = divulge.finding_of("host.machine_id").await;
        assert_eq!((&finding["user"], &finding["group"]), (&"ann".into(), &"dev".into()));
    });
}

/// Passes one connection on, with a header of the PROXY protocol that names `client`.
async fn balancer(to: std::net::SocketAddr, client: [u8; 4]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut on = TcpStream::connect(to).await.unwrap();
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
            header.extend_from_slice(&client);
            header.extend_from_slice(&[127, 0, 0, 1, 0x30, 0x39, 0x1f, 0x90]);
            on.write_all(&header).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut on).await });
        }
    });
    address
}

#[test]
fn a_balancers_word_about_the_client_counts_and_nobody_elses() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = gateway(&authority, upstream.address)
            .arg("--proxy-protocol-from=127.0.0.1")
            .arg("--allow-from=192.0.2.0/24")
            .start()
            .await;
        for (client, code) in [([192, 0, 2, 7], "200 200"), ([198, 51, 100, 7], "000 000")] {
            let proxy = format!("http://{}", balancer(divulge.address, client).await);
            let ended = curl(&divulge.ca_file(), &["-x", &proxy]).await;
            assert_eq!(statuses(&ended), code, "{client:?}: {}", ended.err);
        }
        let straight = curl(&divulge.ca_file(), &["-x", &format!("http://{}", divulge.address)]).await;
        assert_eq!(statuses(&straight), "000 000", "a balancer that does not introduce its client was served");

        let divulge = gateway(&authority, upstream.address).arg("--proxy-protocol-from=192.0.2.1").start().await;
        let proxy = format!("http://{}", balancer(divulge.address, [192, 0, 2, 7]).await);
        let ended = curl(&divulge.ca_file(), &["-x", &proxy]).await;
        assert_ne!(statuses(&ended), "200 200", "a header from anybody was believed");
    });
}

#[test]
fn haproxy_before_two_gateways_tells_whose_connections_they_are() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let start = async || {
            let serve = gateway(&authority, upstream.address).arg("--proxy-protocol-from=127.0.0.1");
            serve.arg("--allow-from=127.0.0.2").start().await
        };
        let gateways = [start().await, start().await];
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        let [a, b] = gateways.each_ref().map(|gateway| gateway.address);
        let settings = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             listen divulge\n  bind {own}\n  server a {a} send-proxy-v2\n  server b {b} send-proxy-v2\n"
        );
        std::fs::write(&file, settings).unwrap();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut balancer = program("haproxy");
        let _running =
            balancer.env("PATH", path).args(["-db", "-f"]).arg(&file).spawn().expect("haproxy (tests/run.sh)");
        crate::common::soon("haproxy to listen", async { while TcpStream::connect(own).await.is_err() {} }).await;

        let cas = folder.path().join("cas.pem");
        let both: Vec<u8> = gateways.iter().flat_map(|gateway| std::fs::read(gateway.ca_file()).unwrap()).collect();
        std::fs::write(&cas, both).unwrap();
        let proxy = format!("http://{own}");
        // Whose turn it is depends on when the one that looked whether it listens was served, so a few more are sent.
        for (client, code) in [("127.0.0.2", "200 200"); 4].into_iter().chain([("127.0.0.3", "000 000")]) {
            let ended = curl(&cas, &["-x", &proxy, "--interface", client]).await;
            assert_eq!(statuses(&ended), code, "{client}: {}", ended.err);
        }
        for gateway in &gateways {
            gateway.finding_of("host.machine_id").await;
        }
    });
}

#[test]
fn the_pac_file_sends_the_hosts_through_us_and_the_rest_straight() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = crate::common::Divulge::serve().trusting(&authority).to(upstream.address).start().await;
        let url = format!("http://{}/proxy.pac", divulge.address);
        let pac = succeed(program("curl").args(["-sS", "--fail", &url])).await.out;
        // A PAC file is a program: run, not read.
        let script = format!(
            "{pac}\nfunction shExpMatch(s, p) {{ return new RegExp('^' + p.split('*').map(x => x.replace(/[.]/g, '\\\\.')).join('.*') + '$').test(s); }}\n\
             for (const h of ['api.anthropic.com', 'API.OpenAI.com', 'example.com', 'api.anthropic.com.example.com']) console.log(FindProxyForURL('https://' + h + '/', h));"
        );
        let said = succeed(program(crate::common::programs::node()).args(["-e", &script])).await.out;
        let own = format!("PROXY {}", divulge.address);
        assert_eq!(said.lines().collect::<Vec<_>>(), [&own, &own, "DIRECT", "DIRECT"]);
    });
}

/// The first part of a path, and the host that it leads to.
const PROVIDERS: [(&str, &str); 3] =
    [("anthropic", "api.anthropic.com"), ("openai", "api.openai.com"), ("gemini", "generativelanguage.googleapis.com")];

#[test]
fn a_provider_by_its_path() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::start(
            Some(authority.server(&PROVIDERS.map(|(_, host)| host), &["http/1.1"])),
            |mut served: crate::common::upstream::Served| async move {
                while served.request().await.is_some() {
                    served.wire.send(crate::common::upstream::ok("{}")).await;
                }
            },
        )
        .await;
        let divulge = gateway(&authority, upstream.address).arg("--reverse").start().await;
        let body = format!("{{\"host\":\"{MACHINE}\"}}");
        for ((name, host), number) in PROVIDERS.into_iter().zip(1..) {
            let url = format!("http://{}/{name}/v1/messages?beta=true", divulge.address);
            succeed(program("curl").args(["-sS", "--fail", "-d", &body, &url])).await;
            let seen = upstream.log.wait(number).await.pop().unwrap();
            assert_eq!(seen.start_line(), "POST /v1/messages?beta=true HTTP/1.1");
            assert_eq!(seen.field("host").as_deref(), Some(host));
            divulge.wait_for(host, |line| line["kind"] == "host.machine_id" && line["host"] == host).await;
        }
    });
}

#[test]
fn answers_do_not_lead_to_a_protocol_that_goes_around_us() {
    bounded(async {
        let authority = Authority::new();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAlt-Svc: h3=\":443\"; ma=86400\r\nX-Kept: 1\r\n\r\nok";
        let upstream = Upstream::scripted(
            &authority,
            &["http/1.1"],
            move |mut served: crate::common::upstream::Served| async move {
                while served.request().await.is_some() {
                    served.wire.send(answer).await;
                }
            },
        )
        .await;
        let divulge = gateway(&authority, upstream.address).start().await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!((response.field("alt-svc"), response.field("x-kept").as_deref()), (None, Some("1")));

        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            stream.read().await;
            stream.ok(&[("alt-svc", "h3=\":443\""), ("x-kept", "1")], b"ok", None).await;
        })
        .await;
        let divulge = gateway(&authority, upstream.address).start().await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let answer = client.exchange(h2_client::request("GET", "/", &[]), None, None).await;
        let field = |name: &str| answer.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        assert_eq!((field("alt-svc"), field("x-kept").is_some()), (None, true), "{:?}", answer.fields);
    });
}

#[test]
fn nothing_of_the_proxy_is_reached_through_it() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = crate::common::Divulge::serve().trusting(&authority).arg("--admin=127.0.0.1:0").start().await;
        let mut client = TcpStream::connect(divulge.address).await.unwrap();
        let own = divulge.address;
        client.write_all(format!("GET http://{own}/healthz HTTP/1.1\r\nHost: {own}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 64];
        let read = client.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 5") || answer[..read].starts_with(b"HTTP/1.1 4"));
        assert!(upstream.log.requests().is_empty());
    });
}

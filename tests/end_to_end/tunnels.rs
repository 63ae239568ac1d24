//! What a tunnel may hold, and whose name it bears.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::wire::status;
use crate::common::{Authority, Divulge, HOST, Route, Upstream, Wire, bounded, show, soon};

const GET: &str = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

/// Writes its first bytes one at a time, each in a segment of its own.
struct Dribble {
    stream: TcpStream,
    left: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncWrite for Dribble {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            std::task::ready!(pause.as_mut().poll(context));
            this.pause = None;
        }
        let count = if this.left > 0 { 1 } else { bytes.len() };
        let written = std::task::ready!(Pin::new(&mut this.stream).poll_write(context, &bytes[..count]))?;
        if this.left > 0 {
            this.left -= 1;
            this.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(60))));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl AsyncRead for Dribble {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, into)
    }
}

#[test]
fn a_hello_that_comes_byte_by_byte_is_intercepted_all_the_same() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let route = Route::through(&divulge);
        for left in [1, 2, 5, 12] {
            let stream = Dribble { stream: route.tcp().await, left, pause: None };
            // Only divulge's own CA is trusted, so a raw tunnel fails here.
            let mut client = match route.tls_over(stream, &["http/1.1"]).await {
                Ok(client) => client,
                Err(error) => panic!("{left} single bytes first: not intercepted: {error}"),
            };
            client.send(GET).await;
            assert_eq!(client.response().await.status, 200, "{left} single bytes first");
        }
    });
}

#[test]
fn a_hello_behind_the_connect_in_one_segment_is_intercepted() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;

        /// Sends CONNECT with the first write, and takes its answer off before the first read.
        struct Eager {
            stream: TcpStream,
            greeted: bool,
            answer: Vec<u8>,
        }
        impl AsyncWrite for Eager {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                let this = self.get_mut();
                if this.greeted {
                    return Pin::new(&mut this.stream).poll_write(context, bytes);
                }
                let connect = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n");
                let all = [connect.as_bytes(), bytes].concat();
                let written = std::task::ready!(Pin::new(&mut this.stream).poll_write(context, &all))?;
                assert_eq!(written, all.len());
                this.greeted = true;
                Poll::Ready(Ok(bytes.len()))
            }
            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().stream).poll_flush(context)
            }
            fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
            }
        }
        impl AsyncRead for Eager {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                into: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let this = self.get_mut();
                while !this.answer.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    let mut one = ReadBuf::new(&mut byte);
                    std::task::ready!(Pin::new(&mut this.stream).poll_read(context, &mut one))?;
                    assert_eq!(one.filled().len(), 1, "the proxy closed: {}", show(&this.answer));
                    this.answer.push(byte[0]);
                }
                Pin::new(&mut this.stream).poll_read(context, into)
            }
        }

        let stream = TcpStream::connect(divulge.address).await.unwrap();
        let eager = Eager { stream, greeted: false, answer: Vec::new() };
        let mut client = Route::through(&divulge).tls_over(eager, &["http/1.1"]).await.expect("intercepted");
        client.send(GET).await;
        assert_eq!(client.response().await.status, 200);
    });
}

#[test]
fn a_client_that_refuses_the_ca_is_a_finding() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;

        let refused = Route::through(&divulge).trusting(authority.file()).try_tls(&["http/1.1"]).await;

        assert!(refused.is_err(), "the tunnel was not intercepted");
        let finding = divulge.finding_of("audit.untrusted").await;
        assert_eq!(finding["host"], HOST, "{finding}");
        assert!(finding["method"].is_null() && finding["path"].is_null(), "{finding}");
        divulge.assert_well();
    });
}

#[test]
fn a_tunnel_that_is_not_tls_is_a_finding_and_nothing_passes_unread() {
    bounded(async {
        let machine = "zephyr-7f3a.example.com";
        let payloads = [
            ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            ("plain HTTP", format!("GET /?{machine} HTTP/1.1\r\nHost: api.example.com\r\n\r\n").into_bytes()),
            ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
            ("bytes", vec![0, 1, 2, 3, 250, 251, 252]),
            ("a record that is no hello", vec![0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]),
        ];
        let mut wrong = Vec::new();
        for (name, payload) in payloads {
            let authority = Authority::new();
            let upstream = Upstream::plain(|mut served| async move {
                served.wire.fill().await;
                let (_ends, head) = served.wire.into_parts();
                served.log.note(crate::common::upstream::Seen { connection: 0, head, body: Default::default() });
            })
            .await;
            let mut divulge = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .to(upstream.address)
                .facts(&[("host.fqdn", machine)])
                .start()
                .await;
            let mut stream = Route::through(&divulge).tcp().await;
            stream.write_all(&payload).await.unwrap();
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = soon("the end of the tunnel", stream.read_to_end(&mut answer)).await;

            let finding = divulge.finding_of("audit.not_tls").await;
            if finding["host"] != HOST {
                wrong.push(format!("{name}: the finding names another host: {finding}"));
            }
            let passed = upstream.log.requests().iter().any(|seen| !seen.head.is_empty());
            if passed && name == "plain HTTP" {
                // It comes when the exchange has ended, which the client's tunnel may have done before.
                divulge.finding_of("host.fqdn").await;
            }
            divulge.assert_well();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn one_identity_holds_from_the_connect_to_the_host_field() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;

        let mut wrong = Vec::new();
        for (host, allowed) in [
            ("api.example.com", true),
            ("API.Example.COM", true),
            ("api.example.com:443", true),
            ("other.example.com", false),
            ("api.example.com:444", false),
            ("api.example.com.evil.example", false),
            ("127.0.0.1", false),
        ] {
            let before = upstream.log.requests().len();
            let mut client = Route::through(&divulge).http1().await;
            client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            let answered = client.response().await.status;
            if answered != if allowed { 200 } else { 421 } {
                wrong.push(format!("Host: {host}: answered {answered}"));
            }
            if !allowed && upstream.log.requests().len() > before {
                wrong.push(format!("Host: {host}: it reached the upstream"));
            }
        }
        // The name in the hello is another than the tunnel's.
        let stream = Route::through(&divulge).host("other.example.com").tcp().await;
        let before = upstream.log.requests().len();
        if let Ok(mut client) = Route::through(&divulge).tls_over(stream, &["http/1.1"]).await {
            client.send(GET).await;
            let answered = client.response().await.status;
            if answered != 421 {
                wrong.push(format!("CONNECT other.example.com with SNI api.example.com: answered {answered}"));
            }
        } else {
            wrong.push(
                "CONNECT other.example.com with SNI api.example.com: the handshake failed without an answer".into(),
            );
        }
        if upstream.log.requests().len() > before {
            wrong.push("CONNECT other.example.com with SNI api.example.com: it reached the upstream".into());
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        divulge.finding_of("audit.identity").await;
    });
}

#[test]
fn one_identity_holds_over_http2() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        let misdirected = http::Request::get("https://other.example.com/").body(()).unwrap();
        let answer = client.exchange(misdirected, None, None).await;
        assert_eq!(answer.status, 421, "{answer:?}");
        let answer = client.exchange(request("GET", "/", &[("host", "other.example.com")]), None, None).await;
        assert!(matches!(answer.status, 400 | 421), "host against :authority: {answer:?}");
        let answer = client
            .exchange(http::Request::get("https://user:pass@api.example.com/").body(()).unwrap(), None, None)
            .await;
        assert!(
            matches!(answer.status, 400 | 421) || answer.error.is_some(),
            "user information in :authority: {answer:?}"
        );
        assert!(upstream.log.requests().is_empty());
        divulge.finding_of("audit.identity").await;
        let answer = client.exchange(request("GET", "/", &[]), None, None).await;
        assert_eq!(answer.status, 200, "a good request after bad ones: {answer:?}");

        // The ClientHello names another host than the tunnel; the request is true to either.
        for host in [HOST, "other.example.com"] {
            let stream = Route::through(&divulge).host("other.example.com").tcp().await;
            let wire = Route::through(&divulge).tls_over(stream, &["h2"]).await.expect("intercepted");
            let mut client = Http2::over(wire).await;
            let request = http::Request::get(format!("https://{host}/")).body(()).unwrap();
            let answer = client.exchange(request, None, None).await;
            assert_eq!(answer.status, 421, "SNI {HOST} in a tunnel to other.example.com: {answer:?}");
        }
        assert_eq!(upstream.log.requests().len(), 1);
    });
}

#[test]
fn every_disagreement_of_names_is_a_421_and_a_finding() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let route = |host: &str| Route::through(&divulge).host(host);
        let other = "other.example.com";
        let mut wrong = Vec::new();
        // The tunnel's host, the ClientHello's, the request.
        for (what, connect, hello, request) in [
            ("Host", HOST, HOST, "GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n"),
            ("the port of Host", HOST, HOST, "GET / HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n"),
            (
                "an absolute target",
                HOST,
                HOST,
                "GET https://other.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
            ),
            (
                "the scheme of a target",
                HOST,
                HOST,
                "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
            ),
            ("both", HOST, HOST, "GET https://other.example.com/ HTTP/1.1\r\nHost: other.example.com\r\n\r\n"),
            ("the ClientHello, and Host with it", HOST, other, "GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n"),
            ("the ClientHello alone", HOST, other, GET),
            ("Host of a tunnel to an address", "192.0.2.7", HOST, "GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n"),
            (
                "Host of a tunnel to an address, by address",
                "192.0.2.7",
                HOST,
                "GET / HTTP/1.1\r\nHost: 192.0.2.8\r\n\r\n",
            ),
            (
                "a WebSocket's Host",
                HOST,
                HOST,
                "GET / HTTP/1.1\r\nHost: other.example.com\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            ),
        ] {
            let findings = || divulge.findings().iter().filter(|finding| finding["kind"] == "audit.identity").count();
            let before = findings();
            let stream = route(connect).tcp().await;
            let mut client = route(hello).tls_over(stream, &["http/1.1"]).await.expect("intercepted");
            client.send(request).await;
            let status = client.response().await.status;
            if status != 421 {
                wrong.push(format!("{what}: answered {status}"));
            }
            for _ in 0..100 {
                if findings() > before {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if findings() == before {
                wrong.push(format!("{what}: no finding"));
            }
        }
        assert!(upstream.log.requests().is_empty(), "a request with two names reached the upstream");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_hello_without_a_name_is_intercepted_under_the_tunnels() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let stream = Route::through(&divulge).tcp().await;
        let mut config = crate::common::authority::client_config(&divulge.ca_file(), &["http/1.1"]);
        config.enable_sni = false;
        let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
        let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
            .connect(name, stream)
            .await
            .expect("intercepted under the tunnel's name");
        let mut client = Wire::new(stream, None);
        client.send(GET).await;
        assert_eq!(client.response().await.status, 200);
        assert_eq!(upstream.log.hellos()[0].sni.as_deref(), Some(HOST), "the upstream must be told the name");
    });
}

#[test]
fn bad_tunnel_requests_are_refused() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let mut wrong = Vec::new();
        for target in [
            "api.example.com",
            "api.example.com:",
            "api.example.com:0",
            "api.example.com:65536",
            "api.example.com:x",
            ":443",
            "https://api.example.com:443",
            "api.example.com:443/x",
            "user@api.example.com:443",
            "api example.com:443",
            "[::1:443",
        ] {
            let mut client = Wire::connect(divulge.address).await;
            client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")).await;
            let head = soon("an answer", client.head()).await.unwrap_or_default();
            if status(&head) != 400 {
                wrong.push(format!("CONNECT {target}: answered \"{}\"", show(&head)));
            }
        }
        let mut client = Wire::connect(divulge.address).await;
        client.send("CONNECT api.example.com:443 HTTP/1.1\r\nHost: other.example.com:443\r\n\r\n").await;
        let head = soon("an answer", client.head()).await.unwrap_or_default();
        if !matches!(status(&head), 400 | 421) {
            wrong.push(format!("CONNECT with another Host: answered \"{}\"", show(&head)));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        divulge.assert_well();
    });
}

#[test]
fn an_older_client_is_served_with_tls_1_2() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut roots = rustls::RootCertStore::empty();
        let ca = std::fs::read(divulge.ca_file()).unwrap();
        for certificate in <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::pem_slice_iter(&ca)
        {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
        let stream = Route::through(&divulge).tcp().await;
        let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
            .connect(name, stream)
            .await
            .expect("TLS 1.2 is spoken");
        let mut client = Wire::new(stream, None);
        client.send(GET).await;
        assert_eq!(client.response().await.status, 200);
    });
}

#[test]
fn a_leaf_is_short_lived_and_no_ca_and_does_not_bear_the_cas_key() {
    bounded(async {
        use x509_parser::prelude::*;
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let stream = Route::through(&divulge).tcp().await;
        let config = crate::common::authority::client_config(&divulge.ca_file(), &["http/1.1"]);
        let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
        let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap().to_vec();
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        let ca = std::fs::read(divulge.ca_file()).unwrap();
        let (_, ca) = x509_parser::pem::parse_x509_pem(&ca).unwrap();
        let ca = ca.parse_x509().unwrap();

        assert!(!leaf.is_ca());
        assert_ne!(leaf.public_key().raw, ca.public_key().raw, "the leaf bears the CA's key");
        let names = leaf.subject_alternative_name().unwrap().expect("names");
        assert_eq!(names.value.general_names, [GeneralName::DNSName(HOST)]);
        assert!(leaf.extended_key_usage().unwrap().expect("a usage").value.server_auth);
        let days = (leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp()) / 86_400;
        assert!((1..=31).contains(&days), "valid for {days} days");
        let constraints = ca.basic_constraints().unwrap().expect("basic constraints");
        assert_eq!((constraints.value.ca, constraints.value.path_len_constraint), (true, Some(0)));
        let days = (ca.validity().not_after.timestamp() - ca.validity().not_before.timestamp()) / 86_400;
        assert!(days <= 825, "the CA is valid for {days} days");
    });
}

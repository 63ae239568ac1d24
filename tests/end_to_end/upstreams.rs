//! Where connections go, by which way, and whom they trust.

use crate::common::chain::{Asked, Chain};
use crate::common::route::connect_through;
use crate::common::upstream::ok;
use crate::common::{Authority, Divulge, Route, Upstream, Wire, bounded, show, soon};

const GET: &str = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

#[test]
fn connect_to_moves_the_host_and_port_it_names_and_no_other() {
    bounded(async {
        let authority = Authority::new();
        let first = Upstream::answering(&authority, |_| ok("first")).await;
        let second = Upstream::answering(&authority, |_| ok("second")).await;
        let other = Upstream::answering(&authority, |_| ok("other")).await;
        let divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .arg(format!("--connect-to=api.example.com:443:127.0.0.1:{}", first.port()))
            .arg(format!("--connect-to=api.example.com:8443:127.0.0.1:{}", second.port()))
            .arg(format!("--connect-to=:9443:127.0.0.1:{}", other.port()))
            .start()
            .await;
        for (host, port, expected) in
            [("api.example.com", 443, "first"), ("api.example.com", 8443, "second"), ("b.example.com", 9443, "other")]
        {
            let mut client = Route::through(&divulge).host(host).port(port).http1().await;
            let named = if port == 443 { host.to_owned() } else { format!("{host}:{port}") };
            client.send(format!("GET / HTTP/1.1\r\nHost: {named}\r\n\r\n")).await;
            assert_eq!(client.response().await.text(), expected, "{host}:{port}");
        }
    });
}

#[test]
fn an_upstream_that_cannot_be_trusted_gets_nothing_and_the_client_is_told_why() {
    bounded(async {
        let authority = Authority::new();
        let stranger = Authority::new();
        let unknown = Upstream::recording(&stranger).await;
        let elsewhere =
            Upstream::start(Some(authority.server(&["other.example.org"], &["http/1.1"])), |mut served| async move {
                served.request().await;
            })
            .await;
        for (name, upstream) in [("an unknown authority", &unknown), ("another name", &elsewhere)] {
            let divulge = Divulge::before(&authority, upstream.address).await;
            let mut client = Route::through(&divulge).http1().await;
            client.send(GET).await;
            let response = client.response().await;
            assert_eq!(response.status, 502, "{name}: {}", show(&response.head));
            assert!(response.field("x-divulge-error").is_some(), "{name}: {}", show(&response.head));
            assert!(upstream.log.requests().is_empty(), "{name}: the request left all the same");
        }
    });
}

#[test]
fn an_upstream_that_is_not_there_is_a_bad_gateway() {
    bounded(async {
        // A port that was free a moment ago.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let authority = Authority::new();
        let divulge = Divulge::before(&authority, nobody).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(GET).await;
        let response = client.response().await;
        assert_eq!(response.status, 502);
        assert!(response.field("x-divulge-error").is_some(), "{}", show(&response.head));

        let mut client = Wire::connect(divulge.address).await;
        client.send("GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!(response.status, 502);
        assert!(response.field("x-divulge-error").is_some(), "{}", show(&response.head));
    });
}

#[test]
fn another_proxy_takes_the_tunnels_with_its_credentials() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        for (scheme, chain) in
            [("http", Chain::http(upstream.address).await), ("socks5", Chain::socks5(upstream.address).await)]
        {
            let divulge = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .arg(format!("--upstream-proxy={scheme}://us%40er:pass%3Aword@{}", chain.address))
                .start()
                .await;
            let mut client = Route::through(&divulge).http1().await;
            client.send(GET).await;
            assert_eq!(client.response().await.status, 200, "{scheme}");
            let asked = Asked { target: "api.example.com:443".into(), credentials: "us@er:pass:word".into() };
            assert_eq!(chain.asked().first(), Some(&asked), "{scheme}");
            assert!(!divulge.errors().contains("pass:word") && !divulge.errors().contains("pass%3Aword"));
        }
        for seen in upstream.log.requests() {
            assert_eq!(seen.field("proxy-authorization"), None, "the proxy's credentials went to the upstream");
        }
    });
}

#[test]
fn a_chained_proxy_that_refuses_is_a_bad_gateway() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let chain = Chain::http(upstream.address).await;
        let divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .arg(format!("--upstream-proxy=http://{}", chain.address))
            .start()
            .await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(GET).await;
        let response = client.response().await;
        assert_eq!(
            (response.status, response.field("x-divulge-error").is_some()),
            (502, true),
            "{}",
            show(&response.head)
        );
    });
}

#[test]
fn plain_http_is_proxied_by_its_absolute_form() {
    bounded(async {
        let upstream = Upstream::plain(|mut served| async move {
            while served.request().await.is_some() {
                served.wire.send(ok("plain")).await;
            }
        })
        .await;
        let authority = Authority::new();
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Wire::connect(divulge.address).await;
        for _ in 0..2 {
            client
                .send("POST http://api.example.com/a?b=<c> HTTP/1.1\r\nX-A: 1\r\nHost: api.example.com\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nx-a: 2\r\nContent-Length: 2\r\n\r\n{}")
                .await;
            assert_eq!(client.response().await.text(), "plain");
        }
        let seen = upstream.log.requests();
        assert_eq!(
            show(&seen[0].head),
            "POST /a?b=<c> HTTP/1.1\nX-A: 1\nHost: api.example.com\nx-a: 2\nContent-Length: 2\n\n"
        );
        assert_eq!(seen[0].body.data, b"{}");
        assert_eq!(seen[1].connection, 0, "the plain upstream connection was not kept");
    });
}

#[test]
fn hosts_that_are_not_to_be_intercepted_are_tunnelled_unread() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve()
            .intercept("api.*.com")
            .arg("--intercept=*.inner.example.com")
            .trusting(&authority)
            .to(upstream.address)
            .start()
            .await;
        // Only the true upstream's certificate is trusted here, so an intercepted handshake would fail.
        let tunnelled = Route::through(&divulge).trusting(authority.file());
        let mut client = tunnelled.clone().host("other.example.com").http1().await;
        client.send("GET /secret HTTP/1.1\r\nHost: other.example.com\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
        drop(client);

        let mut client = Route::through(&divulge).host("api.example.com").http1().await;
        client.send(GET).await;
        assert_eq!(client.response().await.status, 200);

        let flows: Vec<_> = divulge.lines().into_iter().filter(|line| line["host"] == "other.example.com").collect();
        let told = flows.iter().any(|line| line.to_string().contains("/secret"));
        assert!(!told, "a tunnelled request was read: {flows:?}");
    });
}

#[test]
fn addresses_that_are_denied_are_not_dialled() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .arg("--dial-deny=127.0.0.0/8")
            .to(upstream.address)
            .start()
            .await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(GET).await;
        let response = client.response().await;
        assert!(matches!(response.status, 403 | 502), "{}", show(&response.head));
        assert!(response.field("x-divulge-error").is_some(), "{}", show(&response.head));
        assert_eq!(upstream.log.connections(), 0);
    });
}

#[test]
fn an_address_is_denied_under_every_spelling_and_every_name() {
    bounded(async {
        let upstream = Upstream::plain(|mut served| async move { served.gone().await }).await;
        let port = upstream.port();
        let parent = Upstream::plain(|mut served| async move {
            served.request().await;
        })
        .await;
        let direct =
            Divulge::serve().intercept("all").arg("--dial-deny=127.0.0.0/8").arg("--dial-deny=::1/128").start().await;
        let chained = Divulge::serve()
            .intercept("all")
            .arg("--dial-deny=127.0.0.0/8")
            .arg(format!("--upstream-proxy=http://localhost:{}", parent.port()))
            .start()
            .await;
        let mut wrong = Vec::new();
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "017700000001",
            "0177.0.0.1",
            "localhost",
            "LOCALHOST.",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[2002:7f00:1::1]",
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fd00:ec2::254]",
        ] {
            for (way, divulge) in [("straight", &direct), ("through another proxy", &chained)] {
                if way != "straight" && host.to_ascii_lowercase().contains("local") {
                    // Resolved where we do not see it.
                    continue;
                }
                let mut client = Wire::connect(divulge.address).await;
                client.send(format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")).await;
                let response = soon(host, client.response()).await;
                if response.status != 502 || response.field("x-divulge-error").as_deref() != Some("denied") {
                    wrong.push(format!("{host}, {way}: {}", show(&response.head)));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!((upstream.log.connections(), parent.log.requests().len()), (0, 0), "something was dialled");
    });
}

#[test]
fn divulge_never_dials_itself() {
    bounded(async {
        let divulge = Divulge::serve().intercept("all").start().await;
        let mut client = Wire::connect(divulge.address).await;
        let own = divulge.address;
        client.send(format!("GET http://{own}/ HTTP/1.1\r\nHost: {own}\r\n\r\n")).await;
        let response = client.response().await;
        assert!(matches!(response.status, 400 | 403 | 502 | 508), "{}", show(&response.head));
        // Asked as if it were a web server, it says so and serves nothing.
        let mut client = Wire::connect(divulge.address).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {own}\r\n\r\n")).await;
        let response = client.response().await;
        assert!(matches!(response.status, 400 | 404 | 421), "{}", show(&response.head));
    });
}

#[test]
fn offline_answers_as_the_providers_would_and_nothing_leaves() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve().intercept("all").arg("--offline").start().await;
        type Case<'a> = (&'a str, &'a str, &'a str, fn(&serde_json::Value) -> bool);
        let cases: [Case; 4] = [
            (
                "api.anthropic.com",
                "/v1/messages",
                r#"{"model":"claude-sonnet-4-5","max_tokens":16,"messages":[{"role":"user","content":"say hi"}]}"#,
                |answer| answer["type"] == "message" && answer["content"][0]["text"].is_string(),
            ),
            (
                "api.openai.com",
                "/v1/chat/completions",
                r#"{"model":"gpt-5","messages":[{"role":"user","content":"say hi"}]}"#,
                |answer| answer["choices"][0]["message"]["content"].is_string(),
            ),
            ("api.openai.com", "/v1/responses", r#"{"model":"gpt-5","input":"say hi"}"#, |answer| {
                answer["object"] == "response" && answer["output"].is_array()
            }),
            (
                "generativelanguage.googleapis.com",
                "/v1beta/models/gemini-2.5-pro:generateContent",
                r#"{"contents":[{"role":"user","parts":[{"text":"say hi"}]}]}"#,
                |answer| answer["candidates"][0]["content"]["parts"][0]["text"].is_string(),
            ),
        ];
        for (host, path, body, answered) in cases {
            for alpn in [&["http/1.1"][..], &[]] {
                let mut client = Route::through(&divulge).host(host).tls(alpn).await;
                client
                    .send(format!(
                        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    ))
                    .await;
                let response = client.response().await;
                assert_eq!(response.status, 200, "{host}{path}: {}", response.text());
                let answer = serde_json::from_slice(&response.body.data).expect("a JSON answer");
                assert!(answered(&answer), "{host}{path} answered {answer}");
            }
        }
        let mut client = Route::through(&divulge).host("api.anthropic.com").http1().await;
        let body = r#"{"model":"claude-sonnet-4-5","max_tokens":16,"stream":true,"messages":[{"role":"user","content":"say hi"}]}"#;
        client
            .send(format!("POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .await;
        let response = client.response().await;
        assert!(response.text().starts_with("event: message_start\n"), "{}", response.text());
        assert!(response.text().contains("event: message_stop\n"), "{}", response.text());
        assert_eq!(upstream.log.connections(), 0);
    });
}

#[test]
fn a_tunnel_goes_where_its_connect_said() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        // The proxy answers CONNECT itself; a second one inside the tunnel is not a request to an origin.
        let stream = tokio::net::TcpStream::connect(divulge.address).await.unwrap();
        let stream = connect_through(stream, "api.example.com:443").await;
        let mut client = Route::through(&divulge).tls_over(stream, &["http/1.1"]).await.unwrap();
        client.send("CONNECT other.example.com:443 HTTP/1.1\r\nHost: other.example.com:443\r\n\r\n").await;
        let response = client.response().await;
        assert!(matches!(response.status, 400 | 405 | 421 | 501), "{}", show(&response.head));
        assert!(upstream.log.requests().is_empty());
    });
}

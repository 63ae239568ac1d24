//! Who is let in.

use serde_json::json;

use super::{curl, gateway, people, statuses};
use crate::common::divulge::{command, run};
use crate::common::upstream::Upstream;
use crate::common::{Authority, Divulge, Wire, bounded, show, soon};

#[test]
fn a_gateway_that_anybody_could_use_does_not_start() {
    bounded(async {
        let refused = Divulge::serve().listen("0.0.0.0:0").fail().await;
        assert_eq!(refused.code, Some(2), "{}", refused.err);
        assert!(refused.err.contains("--allow-from"), "{}", refused.err);
        assert!(!refused.out.contains("listening"), "{}", refused.out);

        let ranged = Divulge::serve().listen("0.0.0.0:0").arg("--allow-from=10.0.0.0/8").start().await;
        let mut outside = Wire::connect(([127, 0, 0, 1], ranged.address.port()).into()).await;
        outside.send("CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n").await;
        assert_eq!(outside.rest().await.0, b"", "who is not in the range learns nothing");
    });
}

#[test]
fn credentials_let_in_and_stay_with_the_proxy() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = gateway(&authority, upstream.address).file("--users", "users", people()).arg("--identity=name");
        let mut divulge = divulge.start().await;
        let proxy = format!("http://{}", divulge.address);
        let plain = ["-x", &proxy];

        let mut right = 0;
        for credentials in [
            &["--proxy-user", "ann:correct horse"][..],
            &["--proxy-user", "bob:t0ken-of-bob"],
            &["--proxy-header", "Proxy-Authorization: Bearer t0ken-of-bob"],
        ] {
            let ended = curl(&divulge.ca_file(), &[&plain[..], credentials].concat()).await;
            assert_eq!(statuses(&ended), "200 200", "{credentials:?}: {}", ended.err);
            right += 1;
        }
        for credentials in [
            &[][..],
            &["--proxy-user", "ann:wrong"],
            &["--proxy-user", "eve:correct horse"],
            &["--proxy-header", "Proxy-Authorization: Bearer wrong"],
        ] {
            let ended = curl(&divulge.ca_file(), &[&plain[..], credentials].concat()).await;
            assert_eq!(statuses(&ended), "407 000", "{credentials:?}: {}", ended.err);
        }
        assert_eq!(upstream.log.requests().len(), right);
        for seen in upstream.log.requests() {
            assert_eq!(seen.field("proxy-authorization"), None, "{}", show(&seen.head));
        }

        let finding = divulge.wait_for("bob", |line| line["user"] == "bob" && line["kind"].is_string()).await;
        assert_eq!(finding["group"], "ops");
        divulge.wait_for("ann", |line| line["user"] == "ann" && line["group"] == "dev").await;
        divulge.terminate().await;
        let kept = std::fs::read_to_string(divulge.folder.path().join("findings.jsonl")).unwrap() + &divulge.errors();
        for secret in ["correct horse", "t0ken-of-bob", "YW5uOmNvcnJlY3QgaG9yc2U="] {
            assert!(!kept.contains(secret), "{secret} stands in findings or log");
        }
    });
}

#[test]
fn a_refusal_tells_nothing_but_that_credentials_are_wanted() {
    bounded(async {
        let divulge = Divulge::serve().file("--users", "users", people()).start().await;
        let mut answers = Vec::new();
        for request in [
            "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n",
            "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\nProxy-Authorization: Basic YW5uOng=\r\n\r\n",
            "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nProxy-Authorization: Bearer a.b.c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        ] {
            let mut client = Wire::connect(divulge.address).await;
            client.send(request).await;
            answers.push(client.rest().await.0);
        }
        let first = show(&answers[0]);
        assert!(first.starts_with("HTTP/1.1 407 ") && first.contains("proxy-authenticate: Basic"), "{first}");
        assert!(!first.contains("divulge"), "{first}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "the answers differ: {answers:?}");
    });
}

/// A key of an identity provider: its JWKS, and what signs a token by it.
fn provider() -> (String, impl Fn(&serde_json::Value) -> String) {
    use base64::Engine;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.public_key_raw());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "alg": "EdDSA", "x": x});
    let sign = move |claims: &serde_json::Value| {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some("k1".into());
        let key = jsonwebtoken::EncodingKey::from_ed_der(&key.serialize_der());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    };
    (json!({"keys": [jwk]}).to_string(), sign)
}

#[test]
fn a_signed_token_lets_in_and_its_claims_say_which_group() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let (jwks, sign) = provider();
        let blocks = "name = 'p'\n[[rule]]\ngroup = 'guests'\nkind = 'host.*'\naction = 'block'\n";
        let divulge = gateway(&authority, upstream.address)
            .file("--jwks", "jwks.json", jwks)
            .arg("--jwt-issuer=https://id.example.com")
            .arg("--jwt-audience=divulge")
            .arg("--jwt-groups=roles")
            .arg("--identity=name")
            .policy(blocks)
            .start()
            .await;
        let proxy = format!("http://{}", divulge.address);
        let now = jsonwebtoken::get_current_timestamp();
        let claims = json!({"sub": "ann", "roles": ["dev"], "iss": "https://id.example.com", "aud": "divulge", "exp": now + 300});
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            claims
        };
        let (_, forged) = provider();
        for (what, token, expected) in [
            ("right", sign(&claims), "200 200"),
            ("of another group", sign(&with("roles", json!(["guests"]))), "200 403"),
            ("expired", sign(&with("exp", json!(now - 300))), "407 000"),
            ("for somebody else", sign(&with("aud", json!("mail"))), "407 000"),
            ("of another issuer", sign(&with("iss", json!("https://evil.example.com"))), "407 000"),
            ("of another key", forged(&claims), "407 000"),
        ] {
            let field = format!("Proxy-Authorization: Bearer {token}");
            let ended = curl(&divulge.ca_file(), &["-x", &proxy, "--proxy-header", &field]).await;
            assert_eq!(statuses(&ended), expected, "a token that is {what}: {}", ended.err);
        }
        // Where a client knows only user and password, the token is the password.
        let ended = curl(&divulge.ca_file(), &["-x", &proxy, "--proxy-user", &format!("x:{}", sign(&claims))]).await;
        assert_eq!(statuses(&ended), "200 200", "{}", ended.err);
        divulge.wait_for("ann of dev", |line| line["user"] == "ann" && line["group"] == "dev").await;
        divulge.wait_for("ann of guests", |line| line["group"] == "guests" && line["action"] == "block").await;
    });
}

#[test]
fn a_user_in_findings_is_a_digest_unless_the_name_is_asked_for() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = gateway(&authority, upstream.address).file("--users", "users", people()).start().await;
        let proxy = format!("http://ann:correct%20horse@{}", divulge.address);
        for _ in 0..2 {
            assert_eq!(statuses(&curl(&divulge.ca_file(), &["-x", &proxy]).await), "200 200");
        }
        let flows = || divulge.lines().into_iter().filter(|line| line["type"] == "flow").collect::<Vec<_>>();
        divulge.wait_for("the second flow", |line| line["type"] == "flow" && line["flow"] == "000002").await;
        let users: Vec<_> = flows().iter().map(|flow| flow["user"].as_str().unwrap_or_default().to_owned()).collect();
        assert!(users[0].len() == 32 && users[0] == users[1], "{users:?}");

        let serve = gateway(&authority, upstream.address).file("--users", "users", people()).arg("--identity=none");
        let divulge = serve.start().await;
        let proxy = format!("http://ann:correct%20horse@{}", divulge.address);
        assert_eq!(statuses(&curl(&divulge.ca_file(), &["-x", &proxy]).await), "200 200");
        let flow = divulge.wait_for("the flow", |line| line["type"] == "flow").await;
        assert!(flow["user"].is_null() && flow["group"] == "dev", "{flow}");
    });
}

#[test]
fn user_add_writes_lines_that_serve_takes() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        let name = file.display().to_string();
        let added = run(&["user", "add", "ci", "--group", "build", "--token", "--file", &name]).await;
        assert_eq!(added.code, Some(0), "{}", added.err);
        let token = added.err.split_whitespace().last().unwrap().to_owned();
        assert!(token.starts_with("dvt_") && !std::fs::read_to_string(&file).unwrap().contains(&token));

        let twice = run(&["user", "add", "ci", "--token", "--file", &name]).await;
        assert_ne!(twice.code, Some(0), "the same user was added twice");
        assert!(twice.err.contains("line 2"), "{}", twice.err);

        let mut with_password = command(&["user", "add", "ann", "--file", &name], folder.path());
        let mut child = with_password.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut input, b"correct horse\n").await.unwrap();
        drop(input);
        assert!(soon("user add to end", child.wait()).await.unwrap().success());

        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = gateway(&authority, upstream.address).arg(format!("--users={name}")).start().await;
        for pair in [format!("ci:{token}"), "ann:correct horse".to_owned()] {
            let proxy = format!("http://{}", divulge.address);
            let ended = curl(&divulge.ca_file(), &["-x", &proxy, "--proxy-user", &pair]).await;
            assert_eq!(statuses(&ended), "200 200", "{}", ended.err);
        }
    });
}

//! ALPN is mirrored, the version is never changed, and clients never share a connection.

use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded};

#[test]
fn the_client_is_offered_what_the_upstream_offers() {
    bounded(async {
        // client offers, upstream offers, agreed on
        let cases: [(&[&str], &[&str], Option<&str>); 7] = [
            (&["h2", "http/1.1"], &["h2", "http/1.1"], Some("h2")),
            (&["h2", "http/1.1"], &["http/1.1"], Some("http/1.1")),
            (&["h2", "http/1.1"], &["h2"], Some("h2")),
            (&["http/1.1"], &["h2", "http/1.1"], Some("http/1.1")),
            (&["h2", "http/1.1"], &[], None),
            (&["http/1.1"], &[], None),
            (&[], &["h2", "http/1.1"], None),
        ];
        let mut wrong = Vec::new();
        for (client, offered, expected) in cases {
            let authority = Authority::new();
            let upstream =
                Upstream::scripted(&authority, offered, |mut served| async move { served.gone().await }).await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            match Route::through(&divulge).try_tls(client).await {
                Ok(wire) if wire.alpn.as_deref() == expected => {}
                Ok(wire) => {
                    wrong.push(format!("{client:?} to {offered:?}: agreed on {:?}, not {expected:?}", wire.alpn))
                }
                Err(error) => wrong.push(format!("{client:?} to {offered:?}: {error}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn the_upstream_is_offered_what_the_client_offers() {
    bounded(async {
        let cases: [&[&str]; 4] = [&["h2", "http/1.1"], &["http/1.1"], &["h2"], &[]];
        let mut wrong = Vec::new();
        for offer in cases {
            let authority = Authority::new();
            let upstream =
                Upstream::scripted(&authority, &["h2", "http/1.1"], |mut served| async move { served.gone().await })
                    .await;
            let divulge = Divulge::before(&authority, upstream.address).await;
            let _client = Route::through(&divulge).tls(offer).await;
            let hellos = upstream.log.hellos();
            if hellos.len() != 1 || hellos[0].alpn != offer || hellos[0].sni.as_deref() != Some(HOST) {
                wrong.push(format!("{offer:?}: the upstream saw {hellos:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn an_http1_client_stays_one_when_the_upstream_would_speak_http2() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["h2", "http/1.1"], |mut served| async move {
            let agreed = served.wire.alpn.clone();
            while served.request().await.is_some() {
                let body = format!("{agreed:?}");
                served.wire.send(crate::common::upstream::ok(&body)).await;
            }
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        for (offer, expected) in [(&["http/1.1"][..], "Some(\"http/1.1\")"), (&[][..], "None")] {
            let mut client = Route::through(&divulge).tls(offer).await;
            client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
            assert_eq!(client.response().await.text(), expected);
        }
    });
}

#[test]
fn one_clients_connections_may_be_kept_but_two_clients_never_share_one() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let clients = ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
        for client in clients {
            let mut wire = Route::through(&divulge).from(client).http1().await;
            wire.send(format!("GET / HTTP/1.1\r\nHost: api.example.com\r\nX-Client: {client}\r\n\r\n")).await;
            assert_eq!(wire.response().await.status, 200);
            wire.close().await;
        }
        let mut owners = std::collections::HashMap::new();
        for seen in upstream.log.requests() {
            let client = seen.field("x-client").unwrap();
            let owner = owners.entry(seen.connection).or_insert_with(|| client.clone());
            assert_eq!(*owner, client, "two clients shared upstream connection {}", seen.connection);
        }
    });
}

#[test]
fn two_connections_of_one_client_at_once_have_their_own() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut first = Route::through(&divulge).http1().await;
        let mut second = Route::through(&divulge).http1().await;
        for round in 0..3 {
            first.send(format!("GET /first/{round} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")).await;
            second.send(format!("GET /second/{round} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")).await;
            assert_eq!((first.response().await.status, second.response().await.status), (200, 200));
        }
        assert_eq!(upstream.log.requests().len(), 6);
    });
}

#[test]
fn http2_streams_of_one_client_share_one_upstream_connection() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Http2::connect(&Route::through(&divulge)).await;
        for number in 0..5 {
            let answer = client.exchange(request("GET", &format!("/{number}"), &[]), None, None).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let used: std::collections::BTreeSet<usize> =
            upstream.log.requests().iter().map(|seen| seen.connection).collect();
        assert_eq!(used.len(), 1, "the streams went over {} connections", used.len());
    });
}

#[test]
fn a_kept_upstream_connection_that_died_is_replaced_without_the_client_noticing() {
    bounded(async {
        let authority = Authority::new();
        // Every connection ends, without a word, after its first answer.
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.request().await;
            served.wire.send(crate::common::upstream::ok("ok")).await;
            served.wire.close().await;
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        for round in 0..3 {
            client.send(format!("GET /{round} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")).await;
            assert_eq!(client.response().await.status, 200, "request {round}");
            // So that the end of the connection is there to be seen before it is used again.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(upstream.log.connections(), 3);
    });
}

//! Clients that end half of their connection, or all of it, and more of them than there are descriptors.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::common::{Authority, Divulge, HOST, Route, Upstream, Wire, bounded, soon};

/// A client that has sent a whole request, in a tunnel or outside, and an upstream that has it. The upstream
/// answers when told, and says when its client has gone.
struct Halved {
    client: Wire,
    answer: Arc<Notify>,
    gone: Arc<Notify>,
    _kept: (Divulge, Upstream, Authority),
}

async fn halved(tls: bool, answer_bytes: usize) -> Halved {
    let authority = Authority::new();
    let [answer, gone] = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    let (told, left) = (answer.clone(), gone.clone());
    let late = crate::common::upstream::ok(&"a".repeat(answer_bytes));
    let config = tls.then(|| authority.server(&[HOST], &["http/1.1"]));
    let upstream = Upstream::start(config, move |mut served| {
        let (told, left, late) = (told.clone(), left.clone(), late.clone());
        async move {
            served.request().await;
            tokio::select! {
                () = told.notified() => drop(served.wire.send(late).await),
                () = served.gone() => left.notify_one(),
            }
        }
    })
    .await;
    let divulge = Divulge::before(&authority, upstream.address).await;
    let (mut client, target) = match tls {
        true => (Route::through(&divulge).http1().await, "/"),
        false => (Wire::connect(divulge.address).await, "http://api.example.com/"),
    };
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    upstream.log.one().await;
    Halved { client, answer, gone, _kept: (divulge, upstream, authority) }
}

#[test]
fn a_client_that_ends_its_sending_side_still_gets_its_answer() {
    bounded(async {
        // Short, and so long that it waits for a client that is slow to read.
        for (tls, bytes) in [(true, 4), (false, 4), (true, 16 << 20), (false, 16 << 20)] {
            let mut halved = halved(tls, bytes).await;
            halved.client.stream.shutdown().await.unwrap();
            // A model may think for long.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            halved.answer.notify_one();
            if bytes > 4 {
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            let response = soon("the answer", halved.client.response()).await;
            let length = response.body.data.len();
            assert_eq!((response.status, length, response.body.complete), (200, bytes, true), "TLS: {tls}");
        }
    });
}

#[test]
fn a_client_that_takes_its_leave_is_seen_upstream_within_a_second() {
    bounded(async {
        // At once, or after it had only ended its sending side for a while.
        for (tls, halves) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut halved = halved(tls, 4).await;
            let _ = halved.client.stream.shutdown().await;
            if halves {
                tokio::time::sleep(Duration::from_millis(1200)).await;
            }
            drop(halved.client);
            let seen = tokio::time::timeout(Duration::from_secs(1), halved.gone.notified()).await;
            assert!(
                seen.is_ok(),
                "a second later the upstream still served nobody (TLS: {tls}, half-closed before: {halves})"
            );
        }
    });
}

#[test]
fn more_clients_than_descriptors_do_not_make_it_spin() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge =
            Divulge::serve().intercept("all").trusting(&authority).to(upstream.address).descriptors(64).start().await;
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(tokio::net::TcpStream::connect(divulge.address).await.unwrap());
        }
        divulge.wait_for_error("no connection could be accepted").await;
        let before = divulge.computed();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let spent = divulge.computed() - before;
        assert!(spent < Duration::from_millis(500), "it computed {spent:?} of 2 s with nothing to do");
        drop(clients);
        let mut client = soon("a connection", Route::through(&divulge).http1()).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(soon("an answer", client.response()).await.status, 200);
        divulge.assert_well();
    });
}

//! Recorded conversations, sent again and answered from: WebSockets, and streams as they came.

use std::path::{Path, PathBuf};

use crate::common::divulge::run;
use crate::common::websocket::{WebSocket, upgrade_answer, upgrade_request};
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded, soon};

const MACHINE: &str = "zephyr-7f3a.example.com";
const FACTS: &[(&str, &str)] = &[("host.fqdn", MACHINE)];

async fn recording(authority: &Authority, upstream: &Upstream) -> (Divulge, PathBuf) {
    let serve = Divulge::serve().intercept("all").trusting(authority).to(upstream.address).facts(FACTS);
    let file = serve.beside("traffic.session");
    let serve = serve.arg("--record-bodies=full").arg(format!("--record={}", file.display()));
    (serve.start().await, file)
}

async fn open(route: &Route) -> WebSocket {
    let mut wire = route.tls(&[]).await;
    wire.send(upgrade_request("/v1/responses?model=m-1", false)).await;
    let head = soon("the answer to the upgrade", wire.head()).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    WebSocket::new(wire, true, false)
}

/// Takes an upgrade, and answers each message with two.
async fn talkative(authority: &Authority) -> Upstream {
    Upstream::scripted(authority, &[], |mut served| async move {
        if served.request().await.is_none() {
            return;
        }
        served.wire.send(upgrade_answer(false)).await;
        let mut socket = WebSocket::new(served.wire, false, false);
        while let Some(text) = socket.message().await {
            socket.send(&format!("heard {text}")).await;
            socket.send("done").await;
        }
    })
    .await
}

fn exchange(file: &Path) -> divulge::session::flow::Exchange {
    let mut reader = divulge::session::store::SessionReader::open(std::fs::File::open(file).unwrap()).unwrap();
    reader.exchange(0).unwrap().0
}

#[test]
fn a_websocket_is_answered_from_its_recording_and_sent_again() {
    bounded(async {
        let authority = Authority::new();
        let upstream = talkative(&authority).await;
        let (mut divulge, file) = recording(&authority, &upstream).await;
        let mut socket = open(&Route::through(&divulge)).await;
        for n in 0..3 {
            socket.send(&format!("{{\"n\":{n},\"on\":\"{MACHINE}\"}}")).await;
            for expected in [format!("heard {{\"n\":{n},\"on\":\"{MACHINE}\"}}"), "done".to_owned()] {
                assert_eq!(soon("an answer", socket.message()).await, Some(expected));
            }
        }
        drop(socket);
        assert!(divulge.terminate().await.success());

        // Answered: the same messages in the same order, whatever is asked, and then a close. Nobody else is asked.
        let asked = upstream.log.connections();
        for more in [&[][..], &["--paced"]] {
            let mut serve = Divulge::serve().replaying(&file).state(&divulge.state());
            for argument in more {
                serve = serve.arg(*argument);
            }
            let serving = serve.start().await;
            let mut socket = open(&Route::through(&serving).trusting(divulge.ca_file())).await;
            for n in 0..3 {
                socket.send("anything").await;
                for expected in [format!("heard {{\"n\":{n},\"on\":\"{MACHINE}\"}}"), "done".to_owned()] {
                    assert_eq!(soon("an answer", socket.message()).await, Some(expected));
                }
            }
            socket.send("a question too many").await;
            assert_eq!(soon("the close", socket.message()).await, None);
        }
        assert_eq!(upstream.log.connections(), asked);

        // Sent again, edited by a policy.
        let again = talkative(&authority).await;
        let facts = divulge.folder.path().join("facts.json");
        let ended = run(&[
            "replay".to_owned(),
            format!("--to=https://{HOST}"),
            format!("--connect-to=::{}:{}", again.address.ip(), again.address.port()),
            format!("--upstream-ca={}", authority.file().display()),
            format!("--state={}", divulge.state().display()),
            format!("--facts={}", facts.display()),
            "--policy=strict".to_owned(),
            file.display().to_string(),
        ])
        .await;
        assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
        assert!(ended.out.contains("101, 3 sent, 6 came"), "{}", ended.out);
        let seen = again.log.requests();
        assert_eq!(seen[0].start_line(), "GET /v1/responses?model=m-1 HTTP/1.1");
    });
}

#[test]
fn a_stream_is_recorded_with_its_pauses_and_answered_with_them() {
    bounded(async {
        let authority = Authority::new();
        let events = ["data: one\n\n", "data: two\n\n", "data: three\n\n"];
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served| async move {
            while served.request().await.is_some() {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                served.wire.send(head).await;
                for event in events {
                    // The pause is what is recorded.
                    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
                    served.wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
                }
                served.wire.send("0\r\n\r\n").await;
            }
        })
        .await;
        let (mut divulge, file) = recording(&authority, &upstream).await;
        let get = format!("GET /v1/stream HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let mut client = Route::through(&divulge).http1().await;
        client.send(&get).await;
        assert_eq!(client.response().await.text(), events.concat());
        drop(client);
        assert!(divulge.terminate().await.success());

        let answer = exchange(&file).response.unwrap();
        let (times, bytes): (Vec<u64>, Vec<u64>) = answer.pace.iter().copied().unzip();
        assert_eq!(bytes.iter().sum::<u64>(), events.concat().len() as u64, "{:?}", answer.pace);
        assert!(times.len() >= 4 && times.is_sorted(), "a head and three events: {times:?}");
        assert!(times[times.len() - 1] - times[0] >= 120, "its pauses: {times:?}");

        for more in [&[][..], &["--paced"]] {
            let mut serve = Divulge::serve().replaying(&file).state(&divulge.state());
            for argument in more {
                serve = serve.arg(*argument);
            }
            let serving = serve.start().await;
            let mut client = Route::through(&serving).trusting(divulge.ca_file()).http1().await;
            client.send(&get).await;
            assert_eq!(client.response().await.text(), events.concat());
        }
        let index = divulge::index::Index::of(&file).unwrap();
        assert_eq!(index.questions().unwrap().map(|list| list.len()), Some(1), "what is asked is in the index");
    });
}

//! Interim responses pass both ways, and `Expect` is answered by the one who may decide.

use crate::common::h2_client::{Http2, request};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::wire::status;
use crate::common::{Authority, Divulge, Route, Upstream, bounded, show, soon};

#[test]
fn http1_interim_responses_arrive_with_their_fields_and_in_order() {
    bounded(async {
        let interim = [
            "HTTP/1.1 102 Processing\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nlink: </b>\r\n\r\n",
        ];
        let authority = Authority::new();
        let upstream = Upstream::answering(&authority, move |_| {
            format!("{}{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", interim[0], interim[1]).into_bytes()
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;

        let response = client.response().await;

        let seen: Vec<String> = response.interim.iter().map(|head| show(head)).collect();
        assert_eq!(seen, interim.map(|head| show(head.as_bytes())));
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    });
}

#[test]
fn http2_interim_responses_arrive_with_their_fields_and_in_order() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            stream.read().await;
            for (status, link) in [(102, "</none>"), (103, "</a>; rel=preload")] {
                let interim = http::Response::builder().status(status).header("link", link).body(()).unwrap();
                stream.respond.send_informational(interim).unwrap();
            }
            stream.ok(&[], b"ok", None).await;
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        for route in [Route::direct(upstream.address, &authority), Route::through(&divulge)] {
            let answer = Http2::connect(&route).await.exchange(request("GET", "/", &[]), None, None).await;

            let seen: Vec<u16> = answer.interim.iter().map(|(status, _)| *status).collect();
            assert_eq!(seen, [102, 103], "{route:?}");
            assert_eq!(answer.interim[1].1, [("link".to_owned(), b"</a>; rel=preload".to_vec())]);
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        }
    });
}

const EXPECTING: &str = "POST /v1 HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[test]
fn the_upstream_answers_an_expectation_where_the_policy_only_logs() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            let head = served.wire.head().await.unwrap();
            assert!(crate::common::wire::field(&head, "expect").is_some(), "the expectation was lost: {}", show(&head));
            served.wire.send("HTTP/1.1 100 Go On\r\nX-From: upstream\r\n\r\n").await;
            let body = served.wire.body(&head, true).await;
            served.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.data.len())).await;
            served.wire.send(body.data).await;
            served.gone().await;
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(EXPECTING).await;

        let interim = soon("the upstream's 100", client.head()).await.unwrap();
        client.send("hello").await;

        assert_eq!(show(&interim), "HTTP/1.1 100 Go On\nX-From: upstream\n\n");
        assert_eq!(client.response().await.text(), "hello");
    });
}

#[test]
fn an_upstream_that_refuses_an_expectation_never_gets_the_body() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.wire.head().await.unwrap();
            served.wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
            let (rest, _) = served.wire.rest().await;
            served.log.note(crate::common::upstream::Seen {
                connection: served.connection,
                head: Vec::new(),
                body: crate::common::wire::Body { data: rest, ..Default::default() },
            });
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(EXPECTING).await;

        let response = client.response().await;
        client.close().await;

        assert!(response.interim.is_empty(), "a 100 was invented: {:?}", response.interim);
        assert_eq!((response.status, response.text().as_str()), (401, "no"));
        assert_eq!(show(&upstream.log.one().await.body.data), "", "the upstream got bytes it had not asked for");
    });
}

#[test]
fn an_expectation_is_ours_to_answer_where_the_policy_may_edit() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .arg("--policy=strict")
            .facts(&[])
            .start()
            .await;
        let mut client = Route::through(&divulge).http1().await;
        client
            .send("POST /v1 HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n")
            .await;

        let interim = soon("a 100 from divulge", client.head()).await.unwrap();
        assert_eq!(status(&interim), 100, "{}", show(&interim));
        assert!(upstream.log.requests().is_empty(), "the upstream was asked before the body was judged");
        client.send("{\"a\":1}").await;

        assert_eq!(client.response().await.status, 200);
        assert_eq!(upstream.log.one().await.body.data, b"{\"a\":1}");
    });
}

#[test]
fn an_unknown_expectation_is_refused() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("POST / HTTP/1.1\r\nHost: api.example.com\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx").await;

        assert_eq!(client.response().await.status, 417);
        assert!(upstream.log.requests().is_empty());
    });
}

#[test]
fn interim_responses_without_end_are_an_upstreams_fault() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.request().await;
            while served.wire.send("HTTP/1.1 103 Early Hints\r\n\r\n").await {}
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        let mut client = Route::through(&divulge).http1().await;
        client.send("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await;
        let end = soon("an end of the interim responses", async {
            loop {
                match client.head().await {
                    Some(head) if status(&head) == 103 => {}
                    other => return other,
                }
            }
        })
        .await;
        assert!(end.as_deref().is_none_or(|head| status(head) == 502), "{end:?}");
    });
}

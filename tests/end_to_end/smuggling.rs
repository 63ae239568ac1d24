//! Every malformed message that the codec refuses, sent over real connections: in a tunnel with TLS and without,
//! and to the proxy itself. Refused means refused: the other side sees nothing, or nothing that looks whole; and
//! there is exactly one flow for each request that went on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::common::upstream::{Log, Seen, ok};
use crate::common::wire::{End, start_line, status};
use crate::common::{Authority, Divulge, Route, Upstream, Wire, bounded, show, soon, within};
use crate::malformed::{CHUNKED, REQUESTS, RESPONSES, spelled};

/// The host of the tables.
const PLACE: &str = "a.example.com";

/// How a message gets to divulge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// Decrypted.
    Tunnel,
    /// A tunnel that carries HTTP in clear text.
    Clear,
    /// As to any proxy, with a URL for a target.
    Proxied,
}

const WAYS: [Way; 3] = [Way::Tunnel, Way::Clear, Way::Proxied];

/// A divulge before an upstream with TLS, and one before an upstream without.
struct Places {
    secure: Divulge,
    plain: Divulge,
}

impl Places {
    async fn before(authority: &Authority, secure: &Upstream, plain: &Upstream) -> Self {
        Self {
            secure: Divulge::before(authority, secure.address).await,
            plain: Divulge::before(authority, plain.address).await,
        }
    }

    fn ends(&self) -> Ends {
        Ends {
            tunnel: Route::through(&self.secure).host(PLACE),
            clear: Route::through(&self.plain).host(PLACE).port(80),
            proxy: self.plain.address,
        }
    }

    fn assert_well(&mut self) {
        self.secure.assert_well();
        self.plain.assert_well();
    }

    /// The paths of the flows so far, once as many are over as are open; and how often each came.
    async fn flows(&self, least: usize) -> BTreeMap<String, usize> {
        let mut paths = BTreeMap::new();
        soon(&format!("{least} flows"), async {
            loop {
                let lines: Vec<_> = self.secure.lines().into_iter().chain(self.plain.lines()).collect();
                let flows: Vec<_> = lines.iter().filter(|line| line["type"] == "flow").collect();
                if flows.len() >= least {
                    for flow in flows {
                        *paths.entry(flow["path"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
                    }
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        paths
    }
}

#[derive(Clone)]
struct Ends {
    tunnel: Route,
    clear: Route,
    proxy: std::net::SocketAddr,
}

impl Ends {
    async fn open(&self, way: Way) -> Wire {
        match way {
            Way::Tunnel => self.tunnel.http1().await,
            Way::Clear => Wire::new(self.clear.tcp().await, None),
            Way::Proxied => Wire::connect(self.proxy).await,
        }
    }
}

/// With a URL for a target where the way asks for one.
fn aimed(bytes: &[u8], way: Way) -> Vec<u8> {
    let line_end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let connect = bytes.starts_with(b"CONNECT");
    match memchr::memmem::find(&bytes[..line_end], b" /").filter(|_| way == Way::Proxied && !connect) {
        Some(at) => [&bytes[..=at], b"http://a.example.com", &bytes[at + 1..]].concat(),
        None => bytes.to_vec(),
    }
}

/// Runs `case` for every number below `count`, eight at a time, and gathers what went wrong.
async fn each<F>(count: usize, case: impl Fn(usize) -> F) -> Vec<String>
where
    F: Future<Output = Option<String>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut wrong = Vec::new();
    for number in 0..count {
        if running.len() >= 8 {
            wrong.extend(running.join_next().await.and_then(Result::unwrap));
        }
        running.spawn(case(number));
    }
    wrong.extend(running.join_all().await.into_iter().flatten());
    wrong
}

/// Records the first bytes of every connection, however malformed.
async fn wary(served: crate::common::upstream::Served) {
    let mut served = served;
    if served.wire.fill().await {
        let head = served.wire.exactly(0).await;
        served.log.note(Seen { connection: served.connection, head, body: Default::default() });
        served.wire.send(ok("ok")).await;
        served.gone().await;
    }
}

#[test]
fn malformed_requests_never_reach_the_upstream_whichever_way_they_come() {
    within(Duration::from_secs(90), async {
        let authority = Authority::new();
        let secure = Upstream::start(Some(authority.server(&[PLACE], &["http/1.1"])), wary).await;
        let plain = Upstream::plain(wary).await;
        let mut places = Places::before(&authority, &secure, &plain).await;
        let ends = places.ends();
        let wrong = each(REQUESTS.len() * WAYS.len(), |number| {
            let (expected, what, text) = REQUESTS[number / WAYS.len()];
            let way = WAYS[number % WAYS.len()];
            let (ends, bytes) = (ends.clone(), aimed(&spelled(text), way));
            async move {
                if way == Way::Clear && bytes.starts_with(&[0x16, 3]) {
                    // The rest of a hello is waited for there.
                    return None;
                }
                let mut client = ends.open(way).await;
                client.send(&bytes).await;
                let head = tokio::time::timeout(Duration::from_secs(5), client.head()).await;
                let (rest, _) =
                    tokio::time::timeout(Duration::from_secs(5), client.rest()).await.unwrap_or((Vec::new(), End::Cut));
                // What a proxy is asked for may be refused for another reason first.
                let fits = |status| status == expected || matches!(status, 400 | 421);
                match head {
                    Err(_) => Some(format!("{what}, {way:?}: no answer within 5 s")),
                    Ok(None) => Some(format!("{what}, {way:?}: closed without an answer")),
                    Ok(Some(head)) if !fits(status(&head)) => Some(format!("{what}, {way:?}: {}", show(&head))),
                    Ok(Some(_)) if memchr::memmem::find(&rest, b"HTTP/1.1 ").is_some() => {
                        Some(format!("{what}, {way:?}: answered twice"))
                    }
                    Ok(Some(_)) => None,
                }
            }
        })
        .await;
        let reached: Vec<String> =
            secure.log.requests().iter().chain(&plain.log.requests()).map(|seen| show(&seen.head)).collect();
        assert!(wrong.is_empty() && reached.is_empty(), "{}\nreached: {reached:#?}", wrong.join("\n"));
        assert!(places.flows(0).await.is_empty(), "what was refused by its head is no flow");
        places.assert_well();
    });
}

/// Bodies that are malformed or end too soon, behind the fields that announce them.
fn broken_bodies() -> Vec<(String, String)> {
    let chunked = |text: &str| format!("Transfer-Encoding: chunked\r\n\r\n{text}");
    let mut bodies: Vec<(String, String)> =
        CHUNKED.iter().map(|(what, text)| ((*what).to_owned(), chunked(text))).collect();
    let mut add = |what: &str, text: String| bodies.push((what.to_owned(), text));
    add("a body shorter than its length", "Content-Length: 10\r\n\r\nhalf".into());
    add("no body for its length", "Content-Length: 10\r\n\r\n".into());
    add("no chunk at all", chunked(""));
    add("the end within a size", chunked("3"));
    add("the end within a line end", chunked("3\r"));
    add("the end within a chunk", chunked("3\r\nab"));
    add("the end between chunks", chunked("3\r\nabc\r\n"));
    add("the end after the last size", chunked("3\r\nabc\r\n0\r\n"));
    add("the end within the trailers", chunked("3\r\nabc\r\n0\r\nA: 1\r\n"));
    add("an extension of 5 kB", chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(5000))));
    add("trailers of 20 kB", chunked(&format!("0\r\nA: {}\r\n\r\n", "a".repeat(20_000))));
    add("300 trailers", chunked(&format!("0\r\n{}\r\n", "A: 1\r\n".repeat(300))));
    bodies
}

#[test]
fn malformed_bodies_never_end_a_request_upstream_and_are_one_flow_each() {
    within(Duration::from_secs(90), async {
        let authority = Authority::new();
        let secure = Upstream::recording(&authority).await;
        let plain = Upstream::plain(|mut served| async move {
            while let Some(seen) = served.request().await {
                if !seen.body.complete || !served.wire.send(ok("ok")).await {
                    return;
                }
            }
        })
        .await;
        let mut places = Places::before(&authority, &secure, &plain).await;
        let ends = places.ends();
        let bodies = Arc::new(broken_bodies());
        // Held until it is judged, or passed on as it comes: two ways through the codec.
        let kinds = ["application/json", "application/octet-stream"];
        let count = bodies.len() * WAYS.len() * kinds.len();
        let wrong = each(count, |number| {
            let (ends, bodies) = (ends.clone(), bodies.clone());
            async move {
                let way = WAYS[number % WAYS.len()];
                let kind = kinds[number / WAYS.len() % kinds.len()];
                let (what, body) = &bodies[number / WAYS.len() / kinds.len()];
                let head = format!("POST /{number} HTTP/1.1\r\nHost: {PLACE}\r\nContent-Type: {kind}\r\n");
                let mut client = ends.open(way).await;
                client.send(aimed(format!("{head}{body}").as_bytes(), way)).await;
                let _ = client.stream.shutdown().await;
                let head = tokio::time::timeout(Duration::from_secs(5), client.head()).await;
                match head {
                    Err(_) => Some(format!("{what}, {way:?}, {kind}: no end within 5 s")),
                    Ok(Some(head)) if status(&head) != 400 => Some(format!("{what}, {way:?}, {kind}: {}", show(&head))),
                    Ok(_) => None,
                }
            }
        })
        .await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let flows = places.flows(count).await;
        let seen = |log: &Log| log.requests();
        for seen in seen(&secure.log).iter().chain(&seen(&plain.log)) {
            assert!(!seen.body.complete, "it reached the upstream as a whole request: {}", show(&seen.head));
        }
        let twice: Vec<_> = flows.iter().filter(|(_, times)| **times != 1).collect();
        assert!(flows.len() == count && twice.is_empty(), "{count} requests, {} flows; {twice:?}", flows.len());
        places.assert_well();
    });
}

/// What an upstream sends for an answer, and how its connection ends then.
struct Answer {
    what: String,
    bytes: Vec<u8>,
    /// By close_notify or FIN; else it is cut.
    clean: bool,
    /// Nothing of it may arrive: 502.
    refused: bool,
}

fn bad_answers() -> Vec<Answer> {
    let answer = |what: &str, text: &[u8], clean, refused| Answer {
        what: what.to_owned(),
        bytes: text.to_vec(),
        clean,
        refused,
    };
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}").into_bytes();
    let mut all: Vec<Answer> = RESPONSES.iter().map(|(what, text)| answer(what, text.as_bytes(), true, true)).collect();
    for (what, text) in CHUNKED {
        all.push(answer(what, &ok(&format!("Transfer-Encoding: chunked\r\n\r\n{text}")), true, false));
    }
    for (what, rest, clean) in [
        ("a body shorter than its length", "Content-Length: 10\r\n\r\nhalf", true),
        ("a body cut below its length", "Content-Length: 10\r\n\r\nhalf", false),
        ("a body without chunks", "Transfer-Encoding: chunked\r\n\r\n", true),
        ("the end between chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
        ("the end after the last size", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", true),
        ("the end within trailers", "Transfer-Encoding: chunked\r\n\r\n0\r\nA: 1\r\n", true),
    ] {
        all.push(answer(what, &ok(rest), clean, false));
    }
    all.push(answer("nothing", b"", true, true));
    all.push(answer("half a head", b"HTTP/1.1 200 OK\r\nA: 1\r\n", true, true));
    all.push(answer("interim responses and the end", &b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(3), true, true));
    all.push(answer("300 interim responses", &b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(300), true, true));
    all.push(answer("1,000 fields", &ok(&format!("{}\r\n", "A: 1\r\n".repeat(1000))), true, true));
    all.push(answer("a field of 100 kB", &ok(&format!("A: {}\r\n\r\n", "a".repeat(100_000))), true, true));
    all
}

#[test]
fn malformed_answers_never_look_whole_and_their_requests_are_one_flow_each() {
    within(Duration::from_secs(90), async {
        async fn bad(mut served: crate::common::upstream::Served) {
            let Some(seen) = served.request().await else { return };
            let number: usize = start_line(&seen.head).split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let answer = &bad_answers()[number / ANSWERED.len()];
            served.wire.send(&answer.bytes).await;
            if answer.clean {
                let _ = served.wire.stream.shutdown().await;
            }
        }
        /// The tunnel, the proxy, and an old client to which the end of the connection is the end of the body.
        const ANSWERED: [(Way, u8); 3] = [(Way::Tunnel, 1), (Way::Proxied, 1), (Way::Proxied, 0)];
        let authority = Authority::new();
        let secure = Upstream::scripted(&authority, &["http/1.1"], bad).await;
        let plain = Upstream::plain(bad).await;
        let mut places = Places::before(&authority, &secure, &plain).await;
        let ends = places.ends();
        let answers = Arc::new(bad_answers());
        let count = answers.len() * ANSWERED.len();
        let wrong = each(count, |number| {
            let (ends, answers) = (ends.clone(), answers.clone());
            async move {
                let (way, minor) = ANSWERED[number % ANSWERED.len()];
                let answer = &answers[number / ANSWERED.len()];
                let mut client = ends.open(way).await;
                let request = format!("GET /{number} HTTP/1.{minor}\r\nHost: {PLACE}\r\n\r\n");
                client.send(aimed(request.as_bytes(), way)).await;
                let what = &answer.what;
                let whole = tokio::time::timeout(Duration::from_secs(5), async {
                    let (_, head) = client.response_head().await?;
                    let body = client.body(&head, false).await;
                    Some((status(&head), body))
                })
                .await;
                match whole {
                    Err(_) => Some(format!("{what}, {way:?}, 1.{minor}: it hangs")),
                    Ok(Some((502, body))) if body.complete => None,
                    Ok(got) if answer.refused => Some(format!("{what}, {way:?}, 1.{minor}: no 502 but {got:?}")),
                    Ok(Some((_, body))) if body.complete => Some(format!("{what}, {way:?}, 1.{minor}: it looks whole")),
                    Ok(_) => None,
                }
            }
        })
        .await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let flows = places.flows(count).await;
        let seen = secure.log.requests().len() + plain.log.requests().len();
        assert_eq!((flows.len(), seen), (count, count), "flows and requests that reached an upstream");
        assert!(flows.values().all(|times| *times == 1), "{flows:?}");
        places.assert_well();
    });
}

/// First lines without their version, and bodies.
type Requests = &'static [(&'static str, &'static str)];

/// What one client sends on one connection, and the first lines and bodies of the requests that are in it.
const SEQUENCES: &[(&str, &str, Requests)] = &[
    ("two requests at once", "GET /1 HTTP/1.1\r\nH\r\nGET /2 HTTP/1.1\r\nH\r\n", &[("GET /1", ""), ("GET /2", "")]),
    (
        "a request after the last",
        "GET /1 HTTP/1.1\r\nHConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("GET /1", "")],
    ),
    (
        "close among others",
        "GET /1 HTTP/1.1\r\nHConnection: x, CLOSE\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("GET /1", "")],
    ),
    ("a request after an old one", "GET /1 HTTP/1.0\r\nH\r\nGET /2 HTTP/1.1\r\nH\r\n", &[("GET /1", "")]),
    (
        "an old one that would be kept",
        "GET /1 HTTP/1.0\r\nHConnection: keep-alive\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("GET /1", "")],
    ),
    (
        "a body that looks like a request",
        "POST /1 HTTP/1.1\r\nHContent-Length: 18\r\n\r\nGET /2 HTTP/1.1\r\n\r",
        &[("POST /1", "GET /2 HTTP/1.1\r\n\r")],
    ),
    (
        "a request behind a length",
        "POST /1 HTTP/1.1\r\nHContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nH\r\n",
        &[("POST /1", "hello"), ("GET /2", "")],
    ),
    (
        "a request behind a length of zero",
        "POST /1 HTTP/1.1\r\nHContent-Length: 0\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("POST /1", ""), ("GET /2", "")],
    ),
    (
        "a request behind GET with a body",
        "GET /1 HTTP/1.1\r\nHContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nH\r\n",
        &[("GET /1", "abc"), ("GET /2", "")],
    ),
    (
        "a request behind chunks",
        "POST /1 HTTP/1.1\r\nHTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("POST /1", "abc"), ("GET /2", "")],
    ),
    (
        "chunks with an extension that hides a size",
        "POST /1 HTTP/1.1\r\nHTransfer-Encoding: chunked\r\n\r\n3;a=\"0\"\r\nabc\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("POST /1", "abc"), ("GET /2", "")],
    ),
    (
        "chunks that hold an end of chunks",
        "POST /1 HTTP/1.1\r\nHTransfer-Encoding: chunked\r\n\r\n7\r\n0\r\n\r\nGE\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("POST /1", "0\r\n\r\nGE"), ("GET /2", "")],
    ),
    (
        "an empty line between requests",
        "POST /1 HTTP/1.1\r\nHContent-Length: 3\r\n\r\nabc\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("POST /1", "abc"), ("GET /2", "")],
    ),
    (
        "a body without a length",
        "POST /1 HTTP/1.1\r\nH\r\nabcGET /2 HTTP/1.1\r\nH\r\n",
        &[("POST /1", ""), ("abcGET /2", "")],
    ),
    (
        "a malformed request behind a good one",
        "GET /1 HTTP/1.1\r\nH\r\nGET /2 HTTP/1.1\r\nHA : 1\r\n\r\nGET /3 HTTP/1.1\r\nH\r\n",
        &[("GET /1", "")],
    ),
    (
        "a switch to HTTP/2 in clear text",
        "GET /1 HTTP/1.1\r\nHConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[("GET /1", "")],
    ),
    (
        "a switch to TLS",
        "OPTIONS /1 HTTP/1.1\r\nHConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("OPTIONS /1", ""), ("GET /2", "")],
    ),
    (
        "half a WebSocket",
        "GET /1 HTTP/1.1\r\nHConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nH\r\n",
        &[("GET /1", ""), ("GET /2", "")],
    ),
];

#[test]
fn a_connection_holds_the_requests_that_it_holds_and_each_is_one_flow() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let mut wrong = Vec::new();
        for (what, text, expected) in SEQUENCES {
            let before = upstream.log.requests().len();
            let mut client = Route::through(&divulge).host(PLACE).http1().await;
            client.send(spelled(text)).await;
            let _ = client.stream.shutdown().await;
            let _ = soon(what, client.rest()).await;
            let seen = upstream.log.requests().split_off(before);
            let found: Vec<(String, String)> = seen
                .iter()
                .map(|seen| (seen.start_line().replace(" HTTP/1.1", "").replace(" HTTP/1.0", ""), show_body(seen)))
                .collect();
            let expected: Vec<(String, String)> =
                expected.iter().map(|(line, body)| ((*line).to_owned(), (*body).to_owned())).collect();
            if found != expected {
                wrong.push(format!("{what}: the upstream saw {found:?}"));
            }
            for field in ["connection", "upgrade", "http2-settings"] {
                if let Some(value) = seen.iter().find_map(|seen| seen.field(field)) {
                    wrong.push(format!("{what}: the upstream saw {field}: {value}"));
                }
            }
        }
        let expected = SEQUENCES.iter().map(|(_, _, requests)| requests.len()).sum::<usize>();
        soon("a flow for each request", async {
            while divulge.lines().iter().filter(|line| line["type"] == "flow").count() != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        divulge.assert_well();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

fn show_body(seen: &Seen) -> String {
    String::from_utf8_lossy(&seen.body.data).into_owned()
}

#[test]
fn an_answer_that_ends_with_its_connection_is_cut_for_an_old_client_when_it_is_cut() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            served.request().await;
            served.wire.send("HTTP/1.1 200 OK\r\n\r\nhalf of it").await;
            // Dropped without close_notify.
        })
        .await;
        let divulge = Divulge::before(&authority, upstream.address).await;
        for minor in [1, 0] {
            let mut client = Route::through(&divulge).host(PLACE).http1().await;
            client.send(format!("GET / HTTP/1.{minor}\r\nHost: {PLACE}\r\n\r\n")).await;
            let (_, head) = soon("the head", client.response_head()).await.expect("a head");
            let body = soon("the body", client.body(&head, false)).await;
            assert!(!body.complete, "HTTP/1.{minor}: it looks whole: {body:?}");
            assert_eq!(soon("the end", client.rest()).await.1, End::Cut);
        }
    });
}

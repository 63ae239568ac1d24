//! Many at once: streams that all move, and connections that only stay. How many is small here; `tests/run.sh --fleet` opens as
//! many as docs/gateway.md tells of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use super::{gateway, sized};
use crate::common::upstream::{Served, Upstream, ok};
use crate::common::wire::status;
use crate::common::{Authority, HOST, Route, Wire, figure, soon, within};

/// As many descriptors as the system lets this process and its children have.
fn descriptors(wanted: u64) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    assert!(most >= wanted, "`ulimit -Hn` is {most}, and {wanted} are needed");
}

fn event(number: usize) -> String {
    let text = format!("event: delta\ndata: {{\"number\":{number},\"text\":\"{}\"}}\n\n", "word ".repeat(20));
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Opens a stream; it has answered and sent nothing yet.
async fn open(route: &Route) -> Wire {
    let mut client = route.http1().await;
    client.send(format!("GET /stream HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let (_, head) = soon("the head of a stream", client.response_head()).await.expect("the stream begins");
    assert_eq!(status(&head), 200);
    client
}

#[test]
fn streams_that_move_together_arrive_whole_and_memory_stays_flat() {
    let (streams, events) = (sized("DIVULGE_STREAMS", 100), sized("DIVULGE_STREAM_EVENTS", 20));
    within(Duration::from_secs(600), async {
        descriptors(streams as u64 * 2 + 500);
        let authority = Authority::new();
        let (go, ticks) = watch::channel(0);
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served: Served| {
            let mut ticks = ticks.clone();
            async move {
                served.request().await;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                served.wire.send(head).await;
                for number in 1..=events {
                    if ticks.wait_for(|tick| *tick >= number).await.is_err() || !served.wire.send(event(number)).await {
                        return;
                    }
                }
                served.wire.send("0\r\n\r\n").await;
                served.gone().await;
            }
        })
        .await;
        let mut divulge = gateway(&authority, upstream.address).arg("--quiet").start().await;
        let route = Route::through(&divulge);
        let round = Arc::new(Barrier::new(streams + 1));
        let mut clients = JoinSet::new();
        for _ in 0..streams {
            let (mut client, round) = (open(&route).await, round.clone());
            clients.spawn(async move {
                for number in 1..=events {
                    let wanted = event(number);
                    assert_eq!(client.exactly(wanted.len()).await, wanted.as_bytes(), "event {number}");
                    round.wait().await;
                }
                assert_eq!(client.chunk().await, Some(Vec::new()), "the stream has no clean end");
            });
        }
        // Each event goes to all streams before the next to any.
        let mut memory = Vec::new();
        for number in 1..=events {
            go.send_replace(number);
            tokio::select! {
                _ = round.wait() => {}
                Some(ended) = clients.join_next() => ended.expect("no stream ends early"),
            }
            memory.push(divulge.memory());
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("a stream arrived whole");
        }
        divulge.assert_well();
        let most = memory.iter().copied().fold(0.0, f64::max);
        let name = format!("{streams} streams at once, {events} events each");
        figure(&format!("{name}: MiB after the first event"), format_args!("{:.1}", memory[0]));
        figure(&format!("{name}: MiB at most"), format_args!("{most:.1}"));
        assert!(most - memory[0] < 16.0, "memory grew with what streams carried: {memory:?}");
    });
}

#[test]
fn connections_that_are_intercepted_and_idle_cost_little_each() {
    let count = sized("DIVULGE_IDLE", 200);
    within(Duration::from_secs(600), async {
        descriptors(count as u64 + 500);
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served: Served| async move {
            while served.request().await.is_some() {
                served.wire.send(ok("{}")).await;
            }
        })
        .await;
        let mut divulge = gateway(&authority, upstream.address).arg("--quiet").arg("--idle-timeout=600").start().await;
        let route = Route::through(&divulge);
        // What is paid once: the leaf, the pools of the allocator.
        let first = idle(&route, 16).await;
        let before = divulge.memory();
        let held = idle(&route, count).await;
        let each = (divulge.memory() - before) * 1024.0 / count as f64;
        figure(&format!("{count} idle intercepted connections: KiB each"), format_args!("{each:.1}"));
        // Futures are larger where nothing is optimised.
        let most = if cfg!(debug_assertions) { 64.0 } else { 35.0 };
        assert!(each <= most, "each of {count} idle connections costs {each:.1} KiB");
        // They are still served.
        for mut client in first.into_iter().chain(held.into_iter().step_by(count / 50 + 1)) {
            ask(&mut client).await;
        }
        divulge.assert_well();
    });
}

async fn idle(route: &Route, count: usize) -> Vec<Wire> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = route.http1().await;
        ask(&mut client).await;
        held.push(client);
    }
    held
}

async fn ask(client: &mut Wire) {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"a short question"}]}"#;
    let head = format!("POST /v1/messages HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n", body.len());
    client.send(format!("{head}Content-Type: application/json\r\n\r\n{body}")).await;
    assert_eq!(soon("an answer", client.response()).await.status, 200);
}

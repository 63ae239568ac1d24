//! Many at once: streams that all move, and connections that only stay. How many is small here; `tests/run.sh --fleet` opens as
//! many as docs/gateway.md tells of.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use super::{gateway, sized};
use crate::common::upstream::{Served, Upstream, ok};
use crate::common::wire::status;
use crate::common::{Authority, Divulge, HOST, Route, Wire, figure, soon, within};

/// As many descriptors as are needed for this process and its children; beyond the hard limit only root may.
fn descriptors(wanted: u64) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let raised = setrlimit(Resource::RLIMIT_NOFILE, most.max(wanted), most.max(wanted));
    assert!(raised.is_ok(), "`ulimit -Hn` is {most}, and {wanted} are needed");
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

/// Clients that hold their connections before those that are measured: what is paid once is paid by them.
const FIRST: usize = 16;

#[test]
fn connections_that_are_intercepted_and_idle_cost_little_each() {
    let count = sized("DIVULGE_IDLE", 200);
    within(Duration::from_secs(600), async {
        // Each holds its connection upstream as well. Where there are too few descriptors for the last ones, some have none.
        let wanted = (count + FIRST) * 2 + 100;
        let alone = wanted.saturating_sub(available(wanted as u64) as usize);
        assert!(alone <= count / 20, "`ulimit -Hn` is too small for {count} connections: DIVULGE_IDLE sets how many");
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["http/1.1"], move |mut served: Served| async move {
            if (FIRST..FIRST + alone).contains(&served.connection) {
                served.request().await;
                served.wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}").await;
                return served.wire.close().await;
            }
            while served.request().await.is_some() {
                served.wire.send(ok("{}")).await;
            }
        })
        .await;
        let mut divulge = gateway(&authority, upstream.address).arg("--quiet").arg("--idle-timeout=600").start().await;
        // The leaf, the pools of the allocator.
        let first = idle(&Route::through(&divulge), FIRST).await;
        let before = divulge.memory();
        let clients = Clients::start(&divulge, count).await;
        let each = (divulge.memory() - before) * 1024.0 / count as f64;
        let held = divulge.descriptors();
        assert!(held >= (count + FIRST) * 2 - alone, "{held} descriptors hold not all of them");
        let some = if alone > 0 { format!(", {alone} of them without one upstream") } else { String::new() };
        figure(&format!("{count} idle intercepted connections{some}: KiB each"), format_args!("{each:.1}"));
        // Futures are larger where nothing is optimised.
        let most = if cfg!(debug_assertions) { 64.0 } else { 35.0 };
        assert!(each <= most, "each of {count} idle connections costs {each:.1} KiB");
        // They are still served.
        for mut client in first {
            ask(&mut client).await;
        }
        clients.ask().await;
        divulge.assert_well();
    });
}

/// As many descriptors as `wanted` for this process and its children, or as many as there may be.
fn available(wanted: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let more = most.max(wanted);
    match setrlimit(Resource::RLIMIT_NOFILE, more, more) {
        Ok(()) => more,
        Err(_) => {
            setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
            most
        }
    }
}

/// Idle clients in a process of their own: the upstream's connections take this one's descriptors.
struct Clients {
    child: Child,
    told: Lines<BufReader<ChildStdout>>,
}

impl Clients {
    /// Returns when all of them have had an answer.
    async fn start(divulge: &Divulge, count: usize) -> Self {
        let role = format!("{} {count} {}", divulge.address, divulge.ca_file().display());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "gateway::crowds::idle_clients_of_another_process", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut clients = Self { child, told };
        clients.say(HELD).await;
        clients
    }

    /// Waits until they say `word`.
    async fn say(&mut self, word: &str) {
        while let Some(line) = self.told.next_line().await.unwrap() {
            if line.ends_with(word) {
                return;
            }
        }
        panic!("the clients ended before they had {word}");
    }

    /// Some of them ask once more, then all go.
    async fn ask(mut self) {
        self.child.stdin.take().unwrap().write_all(b"ask\n").await.unwrap();
        self.say(ASKED).await;
        assert!(soon("the clients to end", self.child.wait()).await.unwrap().success());
    }
}

/// Names the proxy, how many clients, and the file of its CA.
const ROLE: &str = "DIVULGE_TEST_CLIENTS";
const HELD: &str = "connections are held";
const ASKED: &str = "they were answered again";

#[test]
#[ignore = "the clients of another test, in a process of their own"]
fn idle_clients_of_another_process() {
    let role = std::env::var(ROLE).expect("the test that these are the clients of starts them");
    let (address, rest) = role.split_once(' ').unwrap();
    let (count, roots) = rest.split_once(' ').unwrap();
    let route = Route::to(address.parse().unwrap(), roots.into());
    let count: usize = count.parse().unwrap();
    within(Duration::from_secs(600), async {
        let held = idle(&route, count).await;
        println!("{HELD}");
        let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
        assert_eq!(line.await.unwrap().unwrap().unwrap(), "ask");
        for mut client in held.into_iter().step_by(count / 50 + 1) {
            ask(&mut client).await;
        }
        println!("{ASKED}");
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

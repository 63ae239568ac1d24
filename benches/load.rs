//! What interception costs: `cargo bench --bench load [-- --requests N --connections N --idle N --rounds N]`, and whether
//! that depends on how many connections there are: `cargo bench --bench load -- --held 10,100,1000,9000`; what policies that
//! edit and restore cost beside `audit`: `cargo bench --bench load -- --policies audit,balanced,strict`.
//!
//! ```text
//! load (this process) -> divulge (release) -> upstream (this process)
//! ```
//!
//! Reports CPU seconds per 1,000 intercepted requests of 2 KB, the latency that divulge adds to a direct
//! connection of the same run, and memory per idle intercepted connection. Direct and intercepted rounds
//! alternate, so that a busy machine burdens both. Nothing is asserted: wall times of a shared machine are
//! its own affair, CPU time is the figure to compare.

#[allow(dead_code)]
#[path = "../tests/end_to_end/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::upstream::ok;
use common::{Authority, Divulge, HOST, Route, Upstream, Wire};
use tokio::task::JoinSet;

/// Requests under way at a time, whatever the number of connections that are held.
const UNDER_WAY: usize = 10;

struct Plan {
    /// How many connections to hold, one number after another; then nothing else is measured.
    held: Vec<usize>,
    /// Policies to compare; then nothing else is measured.
    policies: Vec<String>,
    requests: usize,
    connections: usize,
    idle: usize,
    rounds: usize,
}

fn main() {
    let mut plan =
        Plan { held: Vec::new(), policies: Vec::new(), requests: 6000, connections: 16, idle: 256, rounds: 3 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let into = match word.as_str() {
            "--requests" => &mut plan.requests,
            "--connections" => &mut plan.connections,
            "--idle" => &mut plan.idle,
            "--rounds" => &mut plan.rounds,
            "--bench" => continue,
            "--held" => {
                let numbers = words.next().unwrap_or_default();
                let numbers = numbers.split(',').map(|number| number.parse().ok().filter(|number| *number > 0));
                let Some(numbers) = numbers.collect() else {
                    eprintln!("load: --held needs numbers above 0 with commas between them");
                    std::process::exit(2);
                };
                plan.held = numbers;
                continue;
            }
            "--policies" => {
                let names = words.next().unwrap_or_default();
                plan.policies = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
                if plan.policies.is_empty() {
                    eprintln!("load: --policies needs names with commas between them");
                    std::process::exit(2);
                }
                continue;
            }
            other => {
                eprintln!(
                    "load: `{other}` is none of --held N,N, --policies NAME,NAME, --requests N, --connections N, --idle N, --rounds N"
                );
                std::process::exit(2);
            }
        };
        match words.next().and_then(|number| number.parse().ok()) {
            Some(number @ 1..) => *into = number,
            _ => {
                eprintln!("load: {word} needs a number above 0");
                std::process::exit(2);
            }
        }
    }
    if !plan.policies.is_empty() {
        common::within(Duration::from_secs(1200), policies(plan));
    } else if plan.held.is_empty() {
        common::within(Duration::from_secs(600), load(plan));
    } else {
        common::within(Duration::from_secs(1200), held(plan));
    }
}

/// Texts of the conversation that is sent with every request, two of each turn.
const TEXTS: usize = 24;
/// Events of an answer.
const EVENTS: usize = 400;
const HOME: &str = "/home/kanarienvogel";

/// CPU of a turn under each policy: one with a short answer, and one whose answer is a stream that names a path of the request
/// in every tenth event, as the model was shown it.
async fn policies(plan: Plan) {
    let authority = Authority::new();
    let mut proxies = Vec::new();
    for policy in &plan.policies {
        let upstream = Upstream::scripted(&authority, &["http/1.1"], |mut served| async move {
            while let Some(head) = served.wire.head().await {
                let body = served.wire.body(&head, true).await;
                let answer = match head.windows(10).any(|part| part == b"x-stream: ") {
                    true => stream(&String::from_utf8_lossy(&body.data)),
                    false => ok("ok"),
                };
                if !body.complete || !served.wire.send(answer).await {
                    return;
                }
            }
        })
        .await;
        let facts = [("user.name", "kanarienvogel"), ("path.home", HOME)];
        let serve = Divulge::serve().intercept("all").trusting(&authority).to(upstream.address).facts(&facts);
        let divulge = serve.arg(format!("--policy={policy}")).start().await;
        let wire = Route::through(&divulge).http1().await;
        proxies.push((policy, divulge, wire, upstream, Vec::new(), Vec::new()));
    }
    let mut turn = 0;
    // The first round teaches what clients always spell alike, and does not count.
    for round in 0..=plan.rounds {
        for (_, divulge, wire, _, plain, streamed) in &mut proxies {
            for (streams, costs) in [(false, plain), (true, streamed)] {
                let requests = plan.requests / 10;
                let before = processor_time(divulge.pid());
                for _ in 0..requests {
                    turn += 1;
                    wire.send(conversation(turn, streams)).await;
                    let response = wire.response().await;
                    assert!(response.status == 200 && response.text().contains(HOME) == streams, "{}", response.text());
                }
                let spent = processor_time(divulge.pid()) - before;
                if round > 0 {
                    costs.push(spent.as_secs_f64() / requests as f64 * 1e6);
                }
            }
        }
        eprintln!("{round} of {} rounds", plan.rounds);
    }
    println!("policy       µs of a turn   an answer of {EVENTS} events more, µs   an event, µs");
    for (policy, _, _, _, plain, streamed) in &mut proxies {
        let [plain, streamed] = [plain, streamed].map(|costs| {
            costs.sort_by(f64::total_cmp);
            costs[costs.len() / 2]
        });
        let more = streamed - plain;
        println!("{policy:<12} {plain:>12.0} {more:>34.0} {:>14.2}", more / EVENTS as f64);
    }
}

/// A conversation of which all but the last text was in the request before, 50 KB.
fn conversation(turn: usize, streams: bool) -> Vec<u8> {
    let text = |number: usize| {
        let words = "plain words about plain code, ".repeat(64);
        format!("{number}: {HOME}/src/main.rs says {words}")
    };
    let texts = (0..TEXTS).chain([TEXTS + turn]).map(text);
    let messages = texts.enumerate().map(|(number, text)| {
        serde_json::json!({"role": if number % 2 == 0 { "user" } else { "assistant" }, "content": text})
    });
    let body = serde_json::json!({"model": "model-1", "stream": streams, "messages": messages.collect::<Vec<_>>()});
    let (body, streams) = (body.to_string(), if streams { "x-stream: 1\r\n" } else { "" });
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: load/1\r\nContent-Type: application/json\r\n\
         X-Api-Key: dummy\r\n{streams}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An answer of Anthropic Messages about the first path of the request.
fn stream(request: &str) -> Vec<u8> {
    let at = request.find("/home/").expect("the request names a home");
    let path = request[at..].split(' ').next().expect("it ends somewhere");
    let mut out = String::new();
    let mut event = |name: &str, rest: serde_json::Value| {
        let mut data = serde_json::json!({"type": name, "index": 0});
        data.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        out.push_str(&format!("event: {name}\ndata: {data}\n\n"));
    };
    event("content_block_start", serde_json::json!({"content_block": {"type": "text", "text": ""}}));
    for number in 0..EVENTS {
        let text = if number % 10 == 0 { path } else { " a few plain words of an answer" };
        event("content_block_delta", serde_json::json!({"delta": {"type": "text_delta", "text": text}}));
    }
    event("content_block_stop", serde_json::json!({}));
    event("message_stop", serde_json::json!({}));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length";
    format!("{head}: {}\r\n\r\n{out}", out.len()).into_bytes()
}

/// CPU per request on connections that are already open, each number of them before a proxy of its own, and before one that
/// hands the same bytes on unread: what the system takes for so many connections. Each has a connection to the upstream as
/// well, which is here: both processes need twice as many descriptors.
async fn held(plan: Plan) {
    let authority = Authority::new();
    println!("CPU per request, µs: median (least, most) of {} rounds of {}", plan.rounds, plan.requests);
    println!("connections   {:<24}{:<24}difference", "inspected", "tunnelled unread");
    for &count in &plan.held {
        let inspected = cost_of_one_among(count, "all", &authority, &plan).await;
        let tunnelled = cost_of_one_among(count, "another.example", &authority, &plan).await;
        let shown = [&inspected, &tunnelled].map(|costs| {
            let (least, most) = (costs[0], costs[costs.len() - 1]);
            format!("{:.1} ({least:.1}, {most:.1})", median(costs))
        });
        println!("{count:>11}   {:<24}{:<24}{:.1}", shown[0], shown[1], median(&inspected) - median(&tunnelled));
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// CPU per request, round by round and sorted, of a proxy that intercepts `what` and has `count` connections open.
async fn cost_of_one_among(count: usize, what: &str, authority: &Authority, plan: &Plan) -> Vec<f64> {
    let upstream = Upstream::answering(authority, |_| ok("ok")).await;
    let divulge = Divulge::serve().intercept(what).trusting(authority).to(upstream.address).start().await;
    let through = match what {
        "all" => Route::through(&divulge),
        _ => Route::through(&divulge).trusting(authority.file()),
    };
    let mut wires = Vec::with_capacity(count);
    for opened in 0..count {
        if opened % 1000 == 999 {
            eprintln!("{} of {count} connections, intercepting {what}", opened + 1);
        }
        wires.push(through.http1().await);
    }
    // Each has had a request, and what a client always sends is learned.
    spread(&mut wires, count.max(1000)).await;
    let mut costs = Vec::with_capacity(plan.rounds);
    for _ in 0..plan.rounds {
        let before = processor_time(divulge.pid());
        spread(&mut wires, plan.requests).await;
        let spent = processor_time(divulge.pid()) - before;
        costs.push(spent.as_secs_f64() / plan.requests as f64 * 1e6);
    }
    costs.sort_by(f64::total_cmp);
    costs
}

/// `count` requests, one after another on each of `wires` in turn, a few at a time.
async fn spread(wires: &mut Vec<Wire>, count: usize) {
    let lanes = UNDER_WAY.min(wires.len());
    let mut shares: Vec<Vec<Wire>> = (0..lanes).map(|_| Vec::with_capacity(wires.len() / lanes + 1)).collect();
    for (number, wire) in wires.drain(..).enumerate() {
        shares[number % lanes].push(wire);
    }
    let mut workers = JoinSet::new();
    for mut share in shares {
        workers.spawn(async move {
            for number in 0..count / lanes {
                let at = number % share.len();
                exchange(&mut share[at], &request(0)).await;
            }
            share
        });
    }
    wires.extend(workers.join_all().await.into_iter().flatten());
}

async fn load(plan: Plan) {
    let authority = Authority::new();
    let upstream = Upstream::answering(&authority, |_| ok("ok")).await;
    let divulge = Divulge::before(&authority, upstream.address).await;
    let direct = Route::direct(upstream.address, &authority);
    let through = Route::through(&divulge);

    // First, while the heap is fresh: later it would hide what idle connections cost.
    let fresh = proportional_memory(divulge.pid());
    let mut held = Vec::with_capacity(plan.idle);
    for _ in 0..plan.idle {
        let mut wire = through.http1().await;
        exchange(&mut wire, &request(0)).await;
        held.push(wire);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let full = proportional_memory(divulge.pid());
    drop(held);

    // Warm: leaf, session tickets, allocator.
    round(&direct, 500, plan.connections).await;
    round(&through, 500, plan.connections).await;
    let mut directly = Vec::new();
    let mut intercepted = Vec::new();
    let mut processor = Duration::ZERO;
    let mut wall = Duration::ZERO;
    for _ in 0..plan.rounds {
        directly.extend(round(&direct, plan.requests, plan.connections).await);
        let (before, start) = (processor_time(divulge.pid()), Instant::now());
        intercepted.extend(round(&through, plan.requests, plan.connections).await);
        processor += processor_time(divulge.pid()) - before;
        wall += start.elapsed();
    }
    let (mut alone, mut alone_through) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        alone.extend(round(&direct, plan.requests / 10, 1).await);
        alone_through.extend(round(&through, plan.requests / 10, 1).await);
    }

    let count = intercepted.len() as f64;
    println!(
        "intercepted requests            {count:>10.0}   2 KB POST, HTTP/1.1, {} kept connections",
        plan.connections
    );
    println!("requests per second             {:>10.0}", count / wall.as_secs_f64());
    println!("CPU seconds per 1,000 requests  {:>10.3}", processor.as_secs_f64() / count * 1000.0);
    for (name, direct, through) in
        [("under load", &mut directly, &mut intercepted), ("one at a time", &mut alone, &mut alone_through)]
    {
        let (before, after) = (percentiles(direct), percentiles(through));
        for (name, index) in [(format!("added latency p50, {name}"), 0), (format!("added latency p99, {name}"), 1)] {
            let added = after[index] - before[index];
            println!("{name:<34}{added:>7.0} µs  direct {:.0} µs, intercepted {:.0} µs", before[index], after[index]);
        }
    }
    println!(
        "memory per idle connection      {:>10.1} KiB of PSS, {} held after one request each (fresh {:.1} MiB, then {:.1} MiB)",
        (full - fresh) / plan.idle as f64,
        plan.idle,
        fresh / 1024.0,
        full / 1024.0
    );
    println!("most memory ever                {:>10.1} MiB", divulge.peak_memory());
}

/// `count` requests over `connections` kept connections; the latency of each, in µs.
async fn round(route: &Route, count: usize, connections: usize) -> Vec<f64> {
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let route = route.clone();
        workers.spawn(async move {
            let mut wire = route.http1().await;
            let mut latencies = Vec::with_capacity(count / connections);
            for number in 0..(count / connections).max(1) {
                let request = request(number);
                let start = Instant::now();
                exchange(&mut wire, &request).await;
                latencies.push(start.elapsed().as_secs_f64() * 1e6);
            }
            wire.close().await;
            latencies
        });
    }
    workers.join_all().await.concat()
}

async fn exchange(wire: &mut Wire, request: &[u8]) {
    wire.send(request).await;
    let response = wire.response().await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// A request of an assistant's shape with 2 KB of JSON.
fn request(number: usize) -> Vec<u8> {
    let mut body = format!(
        "{{\"model\":\"model-1\",\"stream\":false,\"metadata\":{{\"turn\":{number}}},\"messages\":[{{\"role\":\"user\",\"content\":\""
    );
    while body.len() < 2040 {
        body.push_str("plain words about plain code, ");
    }
    body.truncate(2040);
    body.push_str("\"}]}");
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: load/1\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nX-Api-Key: dummy\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The median and the 99th percentile.
fn percentiles(latencies: &mut [f64]) -> [f64; 2] {
    latencies.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|part| latencies[((latencies.len() - 1) as f64 * part) as usize])
}

/// User and system time of a process (proc_pid_stat(5), fields 14 and 15).
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("divulge runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// Proportional set size in KiB.
fn proportional_memory(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("divulge runs");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("the kernel tells it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
}

//! Where findings go: at least once, each with an id, and never in the way of traffic.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::{curl, gateway, statuses};
use crate::common::divulge::read_lines;
use crate::common::programs::{program, python, succeed};
use crate::common::upstream::Upstream;
use crate::common::wire::{field, start_line};
use crate::common::{Authority, Divulge, Wire, bounded, soon, within};

/// What was posted to where.
#[derive(Clone)]
struct Posted {
    path: String,
    kind: String,
    body: Vec<u8>,
}

/// An HTTP server that keeps what is posted to it, and answers 503 to the first so many.
#[derive(Clone, Default)]
struct Collector {
    bodies: Arc<Mutex<Vec<Posted>>>,
    refuse: Arc<AtomicUsize>,
}

impl Collector {
    async fn listen(&self, address: &str) -> SocketAddr {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let listener: TcpListener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let collector = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let collector = collector.clone();
                tokio::spawn(async move {
                    let mut wire = Wire::new(stream, None);
                    while let Some(head) = wire.head().await {
                        let body = wire.body(&head, true).await;
                        let left =
                            collector.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                        if left.is_ok() {
                            wire.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
                            continue;
                        }
                        let kind = field(&head, "content-type").unwrap_or_default();
                        let path = start_line(&head).split(' ').nth(1).unwrap().to_owned();
                        collector.bodies.lock().unwrap().push(Posted { path, kind, body: body.data.clone() });
                        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    }
                });
            }
        });
        address
    }

    /// How often each line came, by its id.
    fn ids(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for posted in self.bodies.lock().unwrap().iter() {
            for line in String::from_utf8_lossy(&posted.body).lines() {
                let line: Value = serde_json::from_str(line).expect("a line is JSON");
                *ids.entry(line["id"].as_str().expect("every line has an id").to_owned()).or_default() += 1;
            }
        }
        ids
    }
}

async fn requests(divulge: &Divulge, ca: &Path, count: usize) {
    let proxy = format!("http://{}", divulge.address);
    for _ in 0..count {
        assert_eq!(statuses(&curl(ca, &["-x", &proxy]).await), "200 200");
    }
}

#[test]
fn what_a_sink_refused_or_missed_comes_later_and_each_line_once() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let collector = Collector { refuse: Arc::new(AtomicUsize::new(2)), ..Collector::default() };
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sink = format!("--sink=http://{address}/in");

        // Nobody listens: the traffic does not notice, and the findings wait on the disk.
        let mut divulge = gateway(&authority, upstream.address).arg(&sink).start().await;
        requests(&divulge, &divulge.ca_file(), 2).await;
        divulge.terminate().await;
        let first = divulge.lines().len();
        assert!(collector.ids().is_empty());

        // It listens now, and takes them after two refusals.
        collector.listen(&address.to_string()).await;
        let mut again = gateway(&authority, upstream.address).state(&divulge.state()).arg(&sink).start().await;
        requests(&again, &divulge.ca_file(), 2).await;
        soon("all lines", async {
            while collector.ids().len() < first + again.lines().len() || again.lines().len() < first {
                tokio::task::yield_now().await;
            }
        })
        .await;
        again.terminate().await;
        let ids = collector.ids();
        assert_eq!(ids.len(), first + again.lines().len());
        assert!(ids.values().all(|times| *times == 1), "{ids:?}");
        let spooled = std::fs::read_dir(divulge.state().join("spool")).unwrap().flatten();
        let left: u64 = spooled
            .filter(|e| e.path().extension().is_some_and(|x| x == "jsonl"))
            .map(|e| e.metadata().unwrap().len())
            .sum();
        assert!(left < 64 * 1024, "what was sent is kept: {left} bytes");
    });
}

#[test]
fn every_kind_of_sink_gets_every_line() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serve = gateway(&authority, upstream.address);
        let file = serve.beside("rotated.jsonl");
        let mut divulge = serve
            .arg(format!("--sink=file:{}", file.display()))
            .arg(format!("--sink=syslog+udp://{}", udp.local_addr().unwrap()))
            .arg(format!("--sink=syslog+tcp://{}", tcp.local_addr().unwrap()))
            .start()
            .await;
        requests(&divulge, &divulge.ca_file(), 1).await;
        divulge.wait_for("the flow", |line| line["type"] == "flow").await;
        let (mut stream, _) = soon("syslog over TCP", tcp.accept()).await.unwrap();
        divulge.terminate().await;
        let lines = divulge.lines();

        assert_eq!(read_lines(&file), lines);
        for line in &lines {
            let mut datagram = vec![0; 64 * 1024];
            let read = soon("a datagram", udp.recv(&mut datagram)).await.unwrap();
            let text = String::from_utf8_lossy(&datagram[..read]).into_owned();
            let (head, json) = text.split_once('\u{feff}').unwrap();
            assert!(head.starts_with('<') && head.contains(">1 20") && head.contains(" divulge "), "{head}");
            assert_eq!(serde_json::from_str::<Value>(json).unwrap(), *line);
        }
        let mut text = Vec::new();
        soon("the end of syslog", stream.read_to_end(&mut text)).await.unwrap();
        assert_eq!(counted(&text), lines);
    });
}

/// Reads requests by the protocol's own classes, which take no member that they do not know, and prints what they understood.
const OTLP: &str = r#"
import json, sys
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest as Logs
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest as Metrics
attributes = lambda of: {a.key: a.value.string_value for a in of.attributes}
out = {'logs': [], 'reports': []}
for line in open(sys.argv[1]):
    path, body = json.loads(line)
    if path == '/v1/logs':
        for r in Parse(body, Logs()).resource_logs:
            for record in (record for s in r.scope_logs for record in s.log_records):
                out['logs'].append([attributes(r.resource), record.body.string_value, record.time_unix_nano, record.event_name])
    if path == '/v1/metrics':
        for r in Parse(body, Metrics()).resource_metrics:
            report = {'resource': attributes(r.resource), 'sums': [], 'histograms': []}
            for m in (m for s in r.scope_metrics for m in s.metrics):
                cumulative = m.sum.aggregation_temporality == 2 and m.sum.is_monotonic
                for p in m.sum.data_points:
                    assert cumulative and 0 < p.start_time_unix_nano < p.time_unix_nano, m
                    report['sums'].append([m.name, attributes(p), p.as_int, p.start_time_unix_nano])
                for p in m.histogram.data_points:
                    assert m.histogram.aggregation_temporality == 2 and 0 < p.start_time_unix_nano < p.time_unix_nano, m
                    assert sum(p.bucket_counts) == p.count and len(p.bucket_counts) == len(p.explicit_bounds) + 1, m
                    report['histograms'].append([m.name, attributes(p), p.count])
            out['reports'].append(report)
print(json.dumps(out))
"#;

#[test]
fn python_classes_of_otlp_read_the_lines_and_the_same_counts_as_prometheus_does() {
    // The first run installs them.
    within(Duration::from_secs(110), async {
        let python = tokio::task::spawn_blocking(python).await.unwrap();
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let collector = Collector::default();
        let address = collector.listen("127.0.0.1:0").await;
        let sink = format!("--sink=otlp+http://{address}/?metrics-interval=1");
        let mut divulge = gateway(&authority, upstream.address).arg(sink).start().await;
        requests(&divulge, &divulge.ca_file(), 3).await;
        soon("three flows", async {
            while divulge.lines().iter().filter(|line| line["type"] == "flow").count() < 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        divulge.terminate().await;

        let posted = collector.bodies.lock().unwrap().clone();
        assert!(posted.iter().all(|posted| posted.kind == "application/json"));
        let bodies: String = posted
            .iter()
            .map(|posted| serde_json::json!([posted.path, String::from_utf8_lossy(&posted.body)]).to_string() + "\n")
            .collect();
        let file = divulge.folder.path().join("bodies.jsonl");
        std::fs::write(&file, bodies).unwrap();
        let read = succeed(program(python).args(["-c", OTLP]).arg(&file)).await.out;
        let read: Value = serde_json::from_str(&read).unwrap();

        let lines = divulge.lines();
        let logs = read["logs"].as_array().unwrap();
        assert_eq!(logs.len(), lines.len());
        for (log, line) in logs.iter().zip(&lines) {
            assert_eq!(serde_json::from_str::<Value>(log[1].as_str().unwrap()).unwrap(), *line);
            assert!(log[2].as_u64().unwrap() > 1_700_000_000_000_000_000, "{log}");
            assert_eq!(log[3], if line["type"] == "flow" { "divulge.flow" } else { "divulge.finding" });
        }

        let reports = read["reports"].as_array().unwrap();
        let (first, last) = (&reports[0], reports.last().unwrap());
        assert!(reports.len() > 1, "one at the start and one at the end: {read}");
        assert_eq!(first["resource"], last["resource"]);
        assert_eq!(logs[0][0], last["resource"]);
        let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
        for line in lines.iter().filter(|line| line["kind"].is_string()) {
            let key = |name: &str| line[name].as_str().unwrap().to_owned();
            *expected.entry((key("kind"), key("action"))).or_default() += 1;
        }
        let sums = last["sums"].as_array().unwrap();
        let findings: BTreeMap<(String, String), u64> = sums
            .iter()
            .filter(|sum| sum[0] == "divulge.findings")
            .map(|sum| {
                let label = |name: &str| sum[1][name].as_str().unwrap().to_owned();
                ((label("kind"), label("action")), sum[2].as_u64().unwrap())
            })
            .collect();
        assert_eq!(findings, expected);
        let forwarded = sums.iter().find(|sum| sum[0] == "divulge.requests" && sum[1]["result"] == "forwarded");
        assert_eq!(forwarded.expect("requests are counted")[2], 3);
        let starts: std::collections::BTreeSet<u64> = reports
            .iter()
            .flat_map(|report| report["sums"].as_array().unwrap())
            .map(|sum| sum[3].as_u64().unwrap())
            .collect();
        assert_eq!(starts.len(), 1, "one start of all counting: {starts:?}");
        let durations = last["histograms"].as_array().unwrap();
        let whole = durations.iter().find(|point| point[0] == "divulge.request_duration_seconds");
        assert_eq!(whole.expect("durations are told")[2], 3);
    });
}

/// The lines of messages that are counted (RFC 6587, 3.4.1; RFC 5425, 4.3).
fn counted(text: &[u8]) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = String::from_utf8_lossy(&rest[..space]).parse().unwrap();
        let message = String::from_utf8_lossy(&rest[space + 1..space + 1 + length]).into_owned();
        lines.push(serde_json::from_str(message.split_once('\u{feff}').unwrap().1).unwrap());
        rest = &rest[space + 1 + length..];
    }
    lines
}

#[test]
fn syslog_over_tls_goes_to_the_server_of_that_name_alone() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let (named, another) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let mut divulge = gateway(&authority, upstream.address)
            .arg(format!("--sink=syslog+tls://localhost:{}", port(&named)))
            .arg(format!("--sink=syslog+tls://localhost:{}", port(&another)))
            .start()
            .await;
        requests(&divulge, &divulge.ca_file(), 1).await;
        let handshake = async |listener: &TcpListener, name: &str| {
            let (tcp, _) = soon("a connection for syslog", listener.accept()).await.unwrap();
            let accept = TlsAcceptor::from(authority.server(&[name], &[])).accept(tcp);
            soon("a handshake", async { accept.await.ok() }).await
        };
        let mut stream = handshake(&named, "localhost").await.expect("it is the server that was named");
        divulge.wait_for("the flow", |line| line["type"] == "flow").await;
        assert!(handshake(&another, "other.example.com").await.is_none(), "it is another server");
        divulge.terminate().await;

        let mut text = Vec::new();
        // A process that ends need not say good-bye.
        let _ = soon("the end of syslog", stream.read_to_end(&mut text)).await;
        assert_eq!(counted(&text), divulge.lines());
    });
}

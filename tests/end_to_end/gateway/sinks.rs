//! Where findings go: at least once, each with an id, and never in the way of traffic.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::{curl, gateway, statuses};
use crate::common::divulge::read_lines;
use crate::common::upstream::Upstream;
use crate::common::wire::field;
use crate::common::{Authority, Divulge, Wire, bounded, soon};

/// A path or head, and a body.
type Posted = (String, Vec<u8>);

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
                        collector.bodies.lock().unwrap().push((kind, body.data.clone()));
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
        for (_, body) in self.bodies.lock().unwrap().iter() {
            for line in String::from_utf8_lossy(body).lines() {
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
        let otlp = Collector::default();
        let otlp_address = otlp.listen("127.0.0.1:0").await;
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serve = gateway(&authority, upstream.address);
        let file = serve.beside("rotated.jsonl");
        let mut divulge = serve
            .arg(format!("--sink=file:{}", file.display()))
            .arg(format!("--sink=syslog+udp://{}", udp.local_addr().unwrap()))
            .arg(format!("--sink=syslog+tcp://{}", tcp.local_addr().unwrap()))
            .arg(format!("--sink=otlp+http://{otlp_address}"))
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

        let bodies = otlp.bodies.lock().unwrap().clone();
        let mut records = Vec::new();
        for (kind, body) in bodies {
            assert_eq!(kind, "application/json");
            let request: Value = serde_json::from_slice(&body).unwrap();
            records.extend(request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().clone());
        }
        assert_eq!(records.len(), lines.len());
        for (record, line) in records.iter().zip(&lines) {
            assert_eq!(serde_json::from_str::<Value>(record["body"]["stringValue"].as_str().unwrap()).unwrap(), *line);
            assert!(record["timeUnixNano"].as_str().unwrap().len() == 19, "{record}");
        }
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

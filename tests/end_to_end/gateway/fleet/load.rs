//! Three gateways behind a balancer with all that they share, and clients that ask at a steady rate.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::jetstream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Child;
use tokio::task::JoinSet;

use super::servers::{Cluster, Postgres, free, reachable};
use crate::common::divulge::command;
use crate::common::programs::program;
use crate::common::upstream::Upstream;
use crate::common::wire::status;
use crate::common::{Authority, Divulge, HOST, Route, Wire};
use crate::gateway::{MACHINE, gateway, sized};

/// Connections that ask at once.
const CLIENTS: usize = 16;
/// Requests after which a client opens another connection, so that a gateway that is back gets its share.
const TURNS: usize = 5;

pub const POLICY: &str = "name = 'all'\n[[rule]]\naction = 'log'\n";

/// How long clients ask, and how often in a second.
pub fn seconds() -> usize {
    sized("DIVULGE_FLEET_SECONDS", 4)
}

pub fn rate() -> usize {
    sized("DIVULGE_FLEET_RATE", 40)
}

pub struct Fleet {
    pub cluster: Cluster,
    pub postgres: Postgres,
    pub gateways: Vec<Divulge>,
    balancer: Option<Balancer>,
    authority: Authority,
    upstream: Upstream,
    workers: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Fleet {
    pub async fn start() -> Self {
        let authority = Authority::new();
        let upstream = Upstream::recording_nothing(&authority).await;
        let cluster = Cluster::start(3).await;
        let postgres = Postgres::start().await;
        let folder = tempfile::tempdir().unwrap();
        let bucket = jetstream::kv::Config { bucket: "divulge".into(), num_replicas: 3, ..Default::default() };
        let context = cluster.context().await;
        // Until the nodes have agreed on a leader there are neither streams nor buckets.
        loop {
            if let Ok(store) = context.create_key_value(bucket.clone()).await
                && store.put("policies/all.toml", POLICY.into()).await.is_ok()
            {
                break;
            }
        }
        let addresses = [free(), free(), free()];
        let mut fleet = Self {
            cluster,
            postgres,
            gateways: Vec::new(),
            balancer: None,
            authority,
            upstream,
            workers: Vec::new(),
            folder,
        };
        for (number, address) in addresses.iter().enumerate() {
            let started = fleet.gateway(number, *address).await;
            fleet.gateways.push(started);
        }
        // Once they listen: servers that a balancer has found dead stay so until it looks again.
        fleet.balancer = Some(Balancer::start(fleet.folder.path(), &addresses).await);
        for _ in 0..2 {
            let worker = fleet.worker();
            fleet.workers.push(worker);
        }
        fleet
    }

    /// A gateway with the state of its number and the CA and keys of the first.
    async fn gateway(&self, number: usize, address: SocketAddr) -> Divulge {
        let state = |number: usize| self.folder.path().join(format!("state-{number}"));
        let own = state(number);
        let servers = self.cluster.servers();
        let mut serve = gateway(&self.authority, self.upstream.address)
            .state(&own)
            .listen(&address.to_string())
            .arg(format!("--fleet=nats://{servers}/divulge?replicas=3"))
            .arg(format!("--policy={}", own.join("fleet/policies/all.toml").display()));
        // Commas separate sinks on the command line.
        serve =
            serve.file("--config", "config.toml", format!("[gateway]\nsink = [\"{}\"]\n", self.stream("?replicas=3")));
        if number > 0 {
            let _ = std::fs::create_dir(&own);
            for name in ["digest-secret", "pseudonym-secret"] {
                if let Ok(secret) = std::fs::read(state(0).join(name)) {
                    std::fs::write(own.join(name), secret).unwrap();
                }
            }
            for (option, name) in [("--ca-cert", "ca.pem"), ("--ca-key", "ca.key")] {
                serve = serve.arg(format!("{option}={}", state(0).join(name).display()));
            }
        }
        serve.start().await
    }

    fn stream(&self, query: &str) -> String {
        format!("nats://{}/divulge.findings{query}", self.cluster.servers())
    }

    fn worker(&self) -> Child {
        let arguments = [
            "sink",
            "--name=database",
            "--ack-wait=5",
            &format!("--from={}", self.stream("")),
            &format!("--to={}", self.postgres.url()),
        ];
        let mut command = command(&arguments, self.folder.path());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts a gateway that was killed, with the spool that it left.
    pub async fn restart(&mut self, number: usize) {
        let again = self.gateway(number, self.gateways[number].address).await;
        self.gateways[number] = again;
    }

    pub fn balancer(&self) -> &Balancer {
        self.balancer.as_ref().expect("it starts with the fleet")
    }

    /// Straight to one of the gateways.
    pub fn route(&self, number: usize) -> Route {
        Route::through(&self.gateways[number]).trusting(self.ca_file())
    }

    fn ca_file(&self) -> std::path::PathBuf {
        self.folder.path().join("state-0/ca.pem")
    }

    /// Bytes of findings that wait on the disks of all gateways.
    pub fn spooled(&self) -> u64 {
        let spools = (0..3).map(|number| self.folder.path().join(format!("state-{number}/spool")));
        let files = spools.flat_map(|spool| std::fs::read_dir(spool).into_iter().flatten().flatten());
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Clients that begin now.
    pub fn load(&self, requests: usize, rate: usize) -> Load {
        let route = self.route(0);
        let begun = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client {
                route: route.clone(),
                balancer: self.balancer().address,
                begun: begun.clone(),
                held: None,
                results: Vec::new(),
            };
            let numbers: Vec<usize> = (number..requests).step_by(CLIENTS).collect();
            let every = Duration::from_secs(1).mul_f64(CLIENTS as f64 / rate as f64);
            let first = Duration::from_secs(1).mul_f64(number as f64 / rate as f64);
            clients.spawn(client.ask(numbers, first, every));
        }
        Load { clients, begun, requests }
    }

    /// Waits until the database has a finding and the end of every request in `answered`. Says what it never got.
    pub async fn missing(&self, answered: &BTreeSet<usize>, patience: Duration) -> Vec<String> {
        let give_up = Instant::now() + patience;
        loop {
            let mut missing = Vec::new();
            for wanted in ["kind = 'host.machine_id'", "type = 'flow'"] {
                let query = format!("SELECT line->>'path' FROM divulge_lines WHERE {wanted}");
                let paths = self.postgres.ask(&query).await;
                let there: BTreeSet<&str> = paths.lines().collect();
                let gone = answered.iter().map(|number| path(*number)).filter(|path| !there.contains(path.as_str()));
                missing.extend(gone.map(|path| format!("{path} with {wanted}")));
            }
            if missing.is_empty() || Instant::now() > give_up {
                return missing;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Lines that stand in the database more than once, by what they say.
    pub async fn duplicates(&self) -> String {
        let each = "SELECT count(*) AS times FROM divulge_lines WHERE kind = 'host.machine_id' OR type = 'flow' \
                    GROUP BY line->>'path', type, kind";
        self.postgres.ask(&format!("SELECT coalesce(sum(times - 1), 0) FROM ({each}) AS lines")).await
    }
}

fn path(number: usize) -> String {
    format!("/v1/messages/{number}")
}

type Went = Arc<Mutex<HashMap<u16, Vec<(u64, usize)>>>>;

/// HAProxy before the gateways. It writes down which of them each connection went to.
pub struct Balancer {
    pub address: SocketAddr,
    /// By the client's port: in which second a connection was accepted, and where it went.
    went: Went,
    _child: Child,
}

impl Balancer {
    async fn start(folder: &Path, gateways: &[SocketAddr]) -> Self {
        let address = free();
        let log = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut settings = format!(
            "global\n  log {} local0\n\
             defaults\n  mode tcp\n  log global\n  log-format \"%Ts %cp %s\"\n  timeout connect 2s\n  timeout check 5s\n  timeout client 60s\n  \
             timeout server 60s\n  retries 3\n  option redispatch 1\n\
             listen divulge\n  bind {address}\n",
            log.local_addr().unwrap()
        );
        for (number, gateway) in gateways.iter().enumerate() {
            settings += &format!("  server {number} {gateway} check inter 1s fall 3 rise 1\n");
        }
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, settings).unwrap();
        let mut haproxy = program("haproxy");
        haproxy.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin").args(["-db", "-f"]).arg(&file);
        let child = haproxy.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("haproxy (tests/run.sh)");
        reachable(address).await;
        let went: Went = Arc::default();
        let noted = went.clone();
        tokio::spawn(async move {
            let mut datagram = [0; 2048];
            while let Ok(read) = log.recv(&mut datagram).await {
                let text = String::from_utf8_lossy(&datagram[..read]).into_owned();
                let mut words = text.split_whitespace().rev();
                // Connections that went nowhere have no server.
                let Some(Ok(server)) = words.next().map(str::parse) else { continue };
                let (Some(Ok(port)), Some(Ok(second))) = (words.next().map(str::parse), words.next().map(str::parse))
                else {
                    continue;
                };
                noted.lock().unwrap().entry(port).or_default().push((second, server));
            }
        });
        Self { address, went, _child: child }
    }

    /// Whether the connection of `asked` went to the gateway `number`.
    pub fn took_to(&self, number: usize, asked: &Asked) -> bool {
        let second = asked.opened.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let went = self.went.lock().unwrap();
        went.get(&asked.port)
            .is_some_and(|list| list.iter().any(|(at, server)| *server == number && at.abs_diff(second) < 2))
    }
}

/// Clients that are asking.
pub struct Load {
    clients: JoinSet<Vec<Asked>>,
    begun: Arc<AtomicUsize>,
    pub requests: usize,
}

/// One request, and what became of it.
#[derive(Debug)]
pub struct Asked {
    pub number: usize,
    /// When its connection was opened, and from which port.
    pub opened: SystemTime,
    pub port: u16,
    pub failed: Option<String>,
}

impl Load {
    /// Waits until this part of all requests has begun.
    pub async fn reached(&self, numerator: usize, denominator: usize) {
        while self.begun.load(Ordering::Relaxed) * denominator < self.requests * numerator {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn finish(self) -> (BTreeSet<usize>, Vec<Asked>) {
        let all: Vec<Asked> = self.clients.join_all().await.into_iter().flatten().collect();
        assert_eq!(all.len(), self.requests);
        let (failed, answered): (Vec<_>, Vec<_>) = all.into_iter().partition(|asked| asked.failed.is_some());
        (answered.into_iter().map(|asked| asked.number).collect(), failed)
    }
}

struct Client {
    route: Route,
    balancer: SocketAddr,
    begun: Arc<AtomicUsize>,
    held: Option<Held>,
    results: Vec<Asked>,
}

struct Held {
    wire: Option<Wire>,
    opened: SystemTime,
    port: u16,
    turns: usize,
}

impl Client {
    async fn ask(mut self, numbers: Vec<usize>, first: Duration, every: Duration) -> Vec<Asked> {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, every);
        for number in numbers {
            ticks.tick().await;
            self.begun.fetch_add(1, Ordering::Relaxed);
            let mut held = self.connection().await;
            let failed = match tokio::time::timeout(Duration::from_secs(20), self.exchange(&mut held, number)).await {
                Ok(done) => done.err(),
                Err(_) => Some("no answer within 20 s".into()),
            };
            self.results.push(Asked { number, opened: held.opened, port: held.port, failed });
            let good = self.results.last().is_some_and(|asked| asked.failed.is_none());
            self.held = Some(held).filter(|held| good && held.turns < TURNS);
        }
        self.results
    }

    /// The connection that is held, unless its other end closed it meanwhile, as every client looks; else a new one.
    async fn connection(&mut self) -> Held {
        if let Some(mut held) = self.held.take()
            && let Some(wire) = &mut held.wire
            && tokio::time::timeout(Duration::ZERO, wire.fill()).await.is_err()
        {
            return held;
        }
        Held { wire: None, opened: SystemTime::now(), port: 0, turns: 0 }
    }

    async fn exchange(&mut self, held: &mut Held, number: usize) -> Result<(), String> {
        held.turns += 1;
        let mut wire = match held.wire.take() {
            Some(wire) => wire,
            None => self.open(held).await.map_err(|error| format!("no connection: {error}"))?,
        };
        let body = format!("{{\"host\":\"{MACHINE}\",\"number\":{number}}}");
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            path(number),
            body.len()
        );
        wire.send(head + &body).await;
        let (_, head) = wire.response_head().await.ok_or("no answer")?;
        let whole = wire.body(&head, false).await.complete;
        held.wire = Some(wire);
        match (status(&head), whole) {
            (200, true) => Ok(()),
            (status, whole) => Err(format!("status {status}, whole: {whole}")),
        }
    }

    async fn open(&mut self, held: &mut Held) -> std::io::Result<Wire> {
        let mut tcp = TcpStream::connect(self.balancer).await?;
        held.port = tcp.local_addr()?.port();
        tcp.set_nodelay(true)?;
        tcp.write_all(format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n").as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await?);
        }
        self.route.tls_over(tcp, &["http/1.1"]).await
    }
}

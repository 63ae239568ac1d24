//! The engines that gateways share, as companies run them: on free ports, gone with the test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use async_nats::jetstream;
use tokio::process::{Child, Command};

use crate::common::programs::{finish, program, succeed};
use crate::common::soon;

pub fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub async fn reachable(address: SocketAddr) {
    soon(&format!("a server on {address}"), async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// One node with JetStream, whose store outlives it.
pub struct Nats {
    pub address: SocketAddr,
    arguments: Vec<String>,
    store: tempfile::TempDir,
    child: Option<Child>,
}

impl Nats {
    pub fn new() -> Self {
        Self { address: free(), arguments: Vec::new(), store: tempfile::tempdir().unwrap(), child: None }
    }

    pub async fn start(&mut self) {
        let binary = std::env::var("DIVULGE_NATS_SERVER").unwrap_or_else(|_| "nats-server".into());
        let mut command = program(&binary);
        command.args(["-a", "127.0.0.1", "-p", &self.address.port().to_string(), "-js", "-sd"]).arg(self.store.path());
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap_or_else(|e| panic!("{binary} (tests/run.sh installs it): {e}")));
        reachable(self.address).await;
    }

    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    pub async fn context(&self) -> jetstream::Context {
        let client = soon("NATS", async_nats::connect(self.address.to_string())).await.unwrap();
        jetstream::new(client)
    }
}

/// Nodes that keep each stream together.
pub struct Cluster {
    pub nodes: Vec<Nats>,
}

impl Cluster {
    /// `count` nodes that know of each other, with a stream and a bucket on all of them.
    pub async fn start(count: usize) -> Self {
        let mut nodes: Vec<Nats> = (0..count).map(|_| Nats::new()).collect();
        let routes: Vec<SocketAddr> = nodes.iter().map(|_| free()).collect();
        let all: Vec<String> = routes.iter().map(|route| format!("nats://{route}")).collect();
        for (number, (node, route)) in nodes.iter_mut().zip(&routes).enumerate() {
            let own = [format!("--name=node-{number}"), "--cluster_name=divulge".into()];
            node.arguments = own.into();
            node.arguments.extend([format!("--cluster=nats://{route}"), format!("--routes={}", all.join(","))]);
        }
        for node in &mut nodes {
            node.start().await;
        }
        Self { nodes }
    }

    /// As `--sink` and `--fleet` name it.
    pub fn servers(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        addresses.join(",")
    }

    /// A client that goes on whichever node is killed.
    pub async fn context(&self) -> jetstream::Context {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        let client = soon("NATS", async_nats::connect(addresses)).await.unwrap();
        jetstream::new(client)
    }

    /// The node that leads the stream called `name`.
    pub async fn leader(&self, name: &str) -> usize {
        let context = self.context().await;
        let leader = soon("a leader of the stream", async {
            loop {
                if let Ok(mut stream) = context.get_stream(name).await
                    && let Ok(info) = stream.info().await
                    && let Some(leader) = info.cluster.as_ref().and_then(|cluster| cluster.leader.clone())
                {
                    return leader;
                }
            }
        })
        .await;
        leader.strip_prefix("node-").and_then(|number| number.parse().ok()).expect("one of our names")
    }
}

/// A cluster of Debian's PostgreSQL with one database.
pub struct Postgres {
    address: SocketAddr,
    _folder: tempfile::TempDir,
    _child: Child,
}

impl Postgres {
    fn binaries() -> PathBuf {
        let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL is installed (tests/run.sh)")
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .collect();
        versions.sort();
        versions.pop().expect("a version of PostgreSQL")
    }

    /// It refuses to run as root.
    fn command(name: &str) -> Command {
        let path = Self::binaries().join(name);
        if !nix::unistd::geteuid().is_root() {
            return program(path);
        }
        let mut command = program("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(path);
        command
    }

    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        for path in [folder.path(), &data] {
            if nix::unistd::geteuid().is_root() {
                let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
                nix::unistd::chown(path, Some(nobody.uid), None).unwrap();
            }
        }
        let mut init = Self::command("initdb");
        succeed(init.args(["-A", "trust", "-U", "divulge", "--no-sync", "-D"]).arg(&data)).await;
        let address = free();
        let mut server = Self::command("postgres");
        server.arg("-D").arg(&data).args([
            "-h",
            "127.0.0.1",
            "-p",
            &address.port().to_string(),
            "-c",
            "fsync=off",
            "-k",
        ]);
        let child = server.arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        reachable(address).await;
        Self { address, _folder: folder, _child: child }
    }

    pub fn url(&self) -> String {
        format!("postgres://divulge@{}/postgres?sslmode=disable", self.address)
    }

    /// What `query` gives, by an independent client. Empty while the server begins.
    pub async fn ask(&self, query: &str) -> String {
        let mut command = Self::command("psql");
        finish(command.args(["-At", &self.url(), "-c", query])).await.out.trim().to_owned()
    }
}

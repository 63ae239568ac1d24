//! Several gateways: findings through a real NATS into a real PostgreSQL, policies from NATS to all of them.
//!
//! The servers are real ones: `nats-server` (or what `DIVULGE_NATS_SERVER` names) and Debian's PostgreSQL. They are started
//! here on free ports and end with the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use async_nats::jetstream;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::{curl, gateway, statuses};
use crate::common::divulge::run;
use crate::common::programs::{duckdb, program, succeed};
use crate::common::upstream::Upstream;
use crate::common::{Authority, Divulge, soon, within};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn reachable(address: SocketAddr) {
    soon(&format!("a server on {address}"), async { while tokio::net::TcpStream::connect(address).await.is_err() {} })
        .await;
}

/// One node with JetStream, whose store outlives it.
struct Nats {
    address: SocketAddr,
    store: tempfile::TempDir,
    child: Option<Child>,
}

impl Nats {
    fn new() -> Self {
        Self { address: free(), store: tempfile::tempdir().unwrap(), child: None }
    }

    async fn start(&mut self) {
        let binary = std::env::var("DIVULGE_NATS_SERVER").unwrap_or_else(|_| "nats-server".into());
        let mut command = program(&binary);
        command.args(["-a", "127.0.0.1", "-p", &self.address.port().to_string(), "-js", "-sd"]).arg(self.store.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap_or_else(|e| panic!("{binary} (tests/run.sh installs it): {e}")));
        reachable(self.address).await;
    }

    async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    async fn context(&self) -> jetstream::Context {
        let client = soon("NATS", async_nats::connect(self.address.to_string())).await.unwrap();
        jetstream::new(client)
    }
}

/// A cluster of Debian's PostgreSQL with one database.
struct Postgres {
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

    async fn start() -> Self {
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

    fn url(&self) -> String {
        format!("postgres://divulge@{}/postgres?sslmode=disable", self.address)
    }

    /// What `query` gives, by an independent client. Empty while the server begins.
    async fn ask(&self, query: &str) -> String {
        let mut command = Self::command("psql");
        crate::common::programs::finish(command.args(["-At", &self.url(), "-c", query])).await.out.trim().to_owned()
    }
}

async fn requests(divulge: &Divulge, count: usize) {
    let proxy = format!("http://{}", divulge.address);
    for _ in 0..count {
        assert_eq!(statuses(&curl(&divulge.ca_file(), &["-x", &proxy]).await), "200 200");
    }
}

#[test]
fn findings_reach_the_database_once_whatever_was_away_meanwhile() {
    within(LIMIT, async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut nats = Nats::new();
        let sink = format!("--sink=nats://{}/divulge.findings", nats.address);
        let mut first = gateway(&authority, upstream.address).arg(&sink).start().await;
        requests(&first, 2).await;
        nats.start().await;
        let mut second = gateway(&authority, upstream.address).arg(&sink).start().await;
        requests(&second, 2).await;
        nats.kill().await;
        requests(&first, 2).await;
        requests(&second, 1).await;
        nats.start().await;
        // What is left is sent before the end, or at the next start.
        for divulge in [&mut first, &mut second] {
            divulge.wait_for("a flow", |line| line["type"] == "flow").await;
            divulge.terminate().await;
        }
        let again: Vec<Divulge> = vec![
            gateway(&authority, upstream.address).state(&first.state()).arg(&sink).start().await,
            gateway(&authority, upstream.address).state(&second.state()).arg(&sink).start().await,
        ];
        let lines = first.lines().len() + second.lines().len();
        let context = nats.context().await;
        soon("all lines in the stream", async {
            loop {
                if let Ok(mut stream) = context.get_stream("DIVULGE_FINDINGS").await
                    && stream.info().await.is_ok_and(|info| info.state.messages as usize == lines)
                {
                    break;
                }
            }
        })
        .await;
        drop(again);

        let postgres = Postgres::start().await;
        let (from, to) = (format!("nats://{}/divulge.findings", nats.address), postgres.url());
        // Two that share the work, then one that gets all of it once more.
        let worker = ["sink", "--drain", "--from", &from, "--to", &to, "--name"];
        let sharing = [&worker[..], &["a"]].concat();
        let (one, two) = tokio::join!(run(&sharing), run(&sharing));
        let three = run(&[&worker[..], &["b"]].concat()).await;
        for ended in [one, two, three] {
            assert_eq!(ended.code, Some(0), "{}", ended.err);
        }
        assert_eq!(postgres.ask("SELECT count(*) FROM divulge_lines").await, lines.to_string());
        assert_eq!(postgres.ask("SELECT count(*) FROM divulge_lines WHERE type = 'flow'").await, "7");
        assert_eq!(
            postgres
                .ask("SELECT count(DISTINCT flow || session) FROM divulge_lines WHERE kind = 'host.machine_id'")
                .await,
            "7"
        );
    });
}

#[test]
fn findings_in_parquet_files_are_those_of_the_gateway_to_another_reader() {
    const QUERY: &str = "SELECT line, id, strftime(time AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%g') || 'Z', \
                         strftime(date::DATE, '%Y-%m-%d'), \"group\", host, type, session, flow, client, user_id, kind, \
                         location, severity, action, verdict FROM files";
    const SCRIPT: &str = "import duckdb, json, sys\n\
        files = duckdb.read_parquet(sys.argv[1] + '/**/*.parquet', hive_partitioning=True)\n\
        for row in duckdb.sql(sys.argv[2]).fetchall(): print(json.dumps(row))";
    // The first run installs the reader.
    within(LIMIT * 3, async {
        let python = tokio::task::spawn_blocking(duckdb).await.unwrap();
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut nats = Nats::new();
        nats.start().await;
        let sink = format!("--sink=nats://{}/divulge.findings", nats.address);
        let mut divulge = gateway(&authority, upstream.address).arg(&sink).start().await;
        requests(&divulge, 3).await;
        divulge.wait_for("a flow", |line| line["type"] == "flow").await;
        divulge.terminate().await;
        let lines = divulge.lines();

        let folder = tempfile::tempdir().unwrap();
        let from = format!("nats://{}/divulge.findings", nats.address);
        let to = format!("parquet:{}", folder.path().display());
        let worker = ["sink", "--drain", "--from", &from, "--to", &to, "--name"];
        // What comes once more makes the same files.
        for name in ["a", "b"] {
            let ended = run(&[&worker[..], &[name]].concat()).await;
            assert_eq!(ended.code, Some(0), "{}", ended.err);
        }
        let read = succeed(program(python).args(["-c", SCRIPT]).arg(folder.path()).arg(QUERY)).await.out;
        let mut found: Vec<Value> = read.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        for row in &mut found {
            row[0] = serde_json::from_str(row[0].as_str().unwrap()).unwrap();
        }
        let mut expected: Vec<Value> = lines
            .iter()
            .map(|line| {
                let date = &line["time"].as_str().unwrap()[..10];
                let rest = [
                    "group", "host", "type", "session", "flow", "client", "user", "kind", "location", "severity",
                    "action", "verdict",
                ];
                let first = [line.clone(), line["id"].clone(), line["time"].clone(), date.into()];
                first.into_iter().chain(rest.map(|name| line[name].clone())).collect()
            })
            .collect();
        let by_id = |row: &Value| row[1].to_string();
        found.sort_by_key(by_id);
        expected.sort_by_key(by_id);
        assert!(expected.len() > 3);
        assert_eq!(found, expected);
    });
}

#[test]
fn a_policy_reaches_every_gateway_and_the_last_good_one_outlives_the_cluster() {
    within(LIMIT, async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut nats = Nats::new();
        nats.start().await;
        let context = nats.context().await;
        let bucket = jetstream::kv::Config { bucket: "divulge".into(), ..Default::default() };
        let store = context.create_key_value(bucket).await.unwrap();
        let put = async |text: &str| store.put("policies/all.toml", text.to_owned().into()).await.unwrap();
        put("name = 'a'\n[[rule]]\naction = 'log'\n").await;

        let fleet = format!("--fleet=nats://{}/divulge", nats.address);
        let start = async |state: &Path| {
            let policy = state.join("fleet/policies/all.toml");
            let serve = gateway(&authority, upstream.address).state(state).arg(&fleet);
            serve.arg(format!("--policy={}", policy.display())).start().await
        };
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut gateways = vec![start(&folders[0].path().join("s")).await, start(&folders[1].path().join("s")).await];
        let asked = async |index: usize, divulge: &Divulge| {
            let ca = folders[index].path().join("s/ca.pem");
            statuses(&curl(&ca, &["-x", &format!("http://{}", divulge.address)]).await).to_owned()
        };
        for (index, divulge) in gateways.iter().enumerate() {
            assert_eq!(asked(index, divulge).await, "200 200");
        }
        put("name = 'b'\n[[rule]]\nkind = 'host.*'\naction = 'block'\n").await;
        for (index, divulge) in gateways.iter().enumerate() {
            divulge.wait_for_error("read again").await;
            assert_eq!(asked(index, divulge).await, "200 403");
        }
        put("name = 'c'\n[[rule]]\naction = 'explode'\n").await;
        for (index, divulge) in gateways.iter().enumerate() {
            divulge.wait_for_error("not taken from the fleet").await;
            assert_eq!(asked(index, divulge).await, "200 403");
        }
        nats.kill().await;
        gateways.remove(0).terminate().await;
        let alone = start(&folders[0].path().join("s")).await;
        assert_eq!(asked(0, &alone).await, "200 403", "the last good policy is not on the disk");
        assert_eq!(asked(1, &gateways[0]).await, "200 403");
    });
}

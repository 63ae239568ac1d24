//! Findings through the stream into Parquet files, which DuckDB reads: code that shares nothing with ours.

use std::path::Path;
use std::process::Stdio;

use async_nats::jetstream;
use serde_json::{Value, json};

use super::servers::Nats;
use super::{LIMIT, requests};
use crate::common::divulge::{command, run};
use crate::common::programs::{duckdb, program, succeed};
use crate::common::upstream::Upstream;
use crate::common::{Authority, soon, within};
use crate::gateway::gateway;

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

/// A line as a gateway writes it, of one of several hosts and groups.
fn made(number: usize) -> String {
    let (host, group) = (format!("api-{}.example.com", number % 3), ["dev", "ops"][number % 2]);
    json!({
        "schema": 1, "id": format!("made-{number}"), "time": "2026-11-27T06:00:00.123Z", "session": "made", "flow": number.to_string(),
        "host": host, "group": group, "kind": "host.machine_id", "location": "body!json:/host", "severity": "high", "action": "log",
    })
    .to_string()
}

/// Whole files so far.
fn files(folder: &Path) -> usize {
    let mut folders = vec![folder.to_owned()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => count += usize::from(path.extension().is_some_and(|name| name == "parquet")),
            }
        }
    }
    count
}

#[test]
fn a_worker_that_is_killed_leaves_whole_files_and_loses_nothing() {
    const LINES: usize = 12_000;
    const KILLS: usize = 3;
    // Fails at any file that is not whole.
    const SCRIPT: &str = "import duckdb, sys\n\
        files = duckdb.read_parquet(sys.argv[1] + '/**/*.parquet', hive_partitioning=True)\n\
        print(*duckdb.sql('SELECT count(*), count(DISTINCT id), count(DISTINCT \"group\"), count(DISTINCT host) FROM files').fetchall()[0])";
    within(LIMIT * 3, async {
        let python = tokio::task::spawn_blocking(duckdb).await.unwrap();
        let mut nats = Nats::new();
        nats.start().await;
        let context = nats.context().await;
        let stream = jetstream::stream::Config {
            name: "DIVULGE_FINDINGS".into(),
            subjects: vec!["divulge.findings".into()],
            ..Default::default()
        };
        let stream = context.create_stream(stream).await.unwrap();
        // No more at once than the client lets wait for their receipts.
        for first in (0..LINES).step_by(1000) {
            let mut receipts = Vec::new();
            for number in first..first + 1000 {
                receipts.push(context.publish("divulge.findings", made(number).into()).await.unwrap());
            }
            for receipt in receipts {
                receipt.await.unwrap();
            }
        }

        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (
            format!("--from=nats://{}/divulge.findings", nats.address),
            format!("--to=parquet:{}", folder.path().display()),
        );
        let worker = ["sink", "--name=lake", "--ack-wait=1", &from, &to];
        for kill in 1..=KILLS {
            let before = files(folder.path());
            let mut command = command(&worker, folder.path());
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // In the middle of a batch: it has made some of its files.
            soon(&format!("a file before kill {kill}"), async {
                while files(folder.path()) == before {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            child.kill().await.unwrap();
        }
        let mut consumer: jetstream::consumer::PullConsumer = stream.get_consumer("lake").await.unwrap();
        loop {
            let info = consumer.info().await.unwrap();
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                break;
            }
            let ended = run(&[&worker[..], &["--drain"]].concat()).await;
            assert_eq!(ended.code, Some(0), "{}", ended.err);
        }
        let read = succeed(program(python).args(["-c", SCRIPT]).arg(folder.path())).await.out;
        let counts: Vec<usize> = read.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!(counts[1..], [LINES, 2, 3], "{read}");
        // What the killed ones had written and not confirmed came again, and was left out.
        assert_eq!(counts[0], LINES, "{read}");
    });
}

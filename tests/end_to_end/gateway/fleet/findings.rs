//! Findings through the stream into the database.

use super::servers::{Nats, Postgres};
use super::{LIMIT, requests};
use crate::common::divulge::run;
use crate::common::upstream::Upstream;
use crate::common::{Authority, Divulge, soon, within};
use crate::gateway::gateway;

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

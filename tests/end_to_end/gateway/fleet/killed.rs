//! Three gateways under load while one of them, and nodes of the engine that they share, are killed.

use std::time::{Duration, SystemTime};

use super::load::{Fleet, rate, seconds};
use crate::common::{HOST, figure, soon, within};

/// For starting, and for what waits on disks to arrive.
const AROUND: Duration = Duration::from_secs(150);

#[test]
fn a_gateway_and_the_leader_of_the_stream_are_killed_and_nothing_is_lost() {
    let (seconds, rate) = (seconds(), rate());
    within(AROUND + Duration::from_secs(seconds as u64 * 2), async {
        const DEAD: usize = 1;
        let mut fleet = Fleet::start().await;
        let load = fleet.load(seconds * rate, rate);
        load.reached(1, 5).await;
        fleet.gateways[DEAD].kill().await;
        let killed = SystemTime::now();
        load.reached(2, 5).await;
        let leader = fleet.cluster.leader("DIVULGE_FINDINGS").await;
        fleet.cluster.nodes[leader].kill().await;
        load.reached(3, 5).await;
        fleet.restart(DEAD).await;
        load.reached(4, 5).await;
        fleet.cluster.nodes[leader].start().await;
        let (answered, failed) = load.finish().await;

        // Those that were on their way through the dead gateway; every other one is a failure of the fleet.
        let (in_flight, beyond): (Vec<_>, Vec<_>) =
            failed.into_iter().partition(|asked| asked.opened < killed && fleet.balancer().took_to(DEAD, asked));
        let missing = fleet.missing(&answered, AROUND).await;
        let duplicates = fleet.duplicates().await;
        // The one that is back serves like the others.
        let mut client = fleet.route(DEAD).http1().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(soon("an answer", client.response()).await.status, 200);
        let load = format!(
            "three gateways, three NATS nodes, {rate} requests/s for {seconds} s, one gateway and the leader killed"
        );
        figure(&format!("{load}: requests answered"), answered.len());
        figure(&format!("{load}: failed on the dead gateway"), in_flight.len());
        figure(&format!("{load}: failed beyond them"), beyond.len());
        figure(&format!("{load}: findings lost"), missing.len());
        figure(&format!("{load}: duplicates left"), &duplicates);
        assert!(beyond.is_empty(), "failed: {beyond:?}");
        assert!(in_flight.len() < 16, "each client has one request under way at most: {in_flight:?}");
        assert!(missing.is_empty(), "{} of {} lost: {missing:?}", missing.len(), answered.len());
        assert_eq!(duplicates, "0");
    });
}

#[test]
fn traffic_goes_on_while_the_engine_is_away_and_its_findings_come_after() {
    let (seconds, rate) = (seconds(), rate());
    within(AROUND + Duration::from_secs(seconds as u64 * 2), async {
        let mut fleet = Fleet::start().await;
        for node in &mut fleet.cluster.nodes {
            node.kill().await;
        }
        let load = fleet.load(seconds * rate, rate);
        let (answered, failed) = load.finish().await;
        let spooled = fleet.spooled();
        for node in &mut fleet.cluster.nodes {
            node.start().await;
        }
        let missing = fleet.missing(&answered, AROUND).await;
        let load = format!("no engine for {seconds} s of {rate} requests/s");
        figure(&format!("{load}: requests failed"), failed.len());
        figure(&format!("{load}: bytes in all spools"), spooled);
        figure(&format!("{load}: findings lost afterwards"), missing.len());
        assert!(failed.is_empty(), "{failed:?}");
        assert!(missing.is_empty(), "{} of {} lost: {missing:?}", missing.len(), answered.len());
        assert_eq!(fleet.duplicates().await, "0");
        for gateway in &fleet.gateways {
            assert!(!gateway.errors().contains("the spool is full"), "{}", gateway.errors());
        }
    });
}

//! Several gateways: findings through a real NATS into a real PostgreSQL and into Parquet files, policies from NATS to all of
//! them.
//!
//! The servers are real ones: `nats-server` (or what `DIVULGE_NATS_SERVER` names), Debian's PostgreSQL and HAProxy. They are
//! started here on free ports and end with the test.
//!
//! | file | what it shows |
//! |---|---|
//! | `findings` | into PostgreSQL, once, whatever was away meanwhile |
//! | `parquet` | into Parquet files, also when the worker is killed |
//! | `policy` | to every gateway; the last good one outlives the cluster |
//! | `killed` | three gateways and three nodes under load, of which some are killed |
//!
//! `killed` takes a few seconds here; `tests/run.sh --fleet` gives it the time and the load that docs/gateway.md tells of.

mod findings;
mod killed;
mod load;
mod parquet;
mod policy;
mod servers;

use std::time::Duration;

use super::{curl, statuses};
use crate::common::Divulge;

const LIMIT: Duration = Duration::from_secs(60);

async fn requests(divulge: &Divulge, count: usize) {
    let proxy = format!("http://{}", divulge.address);
    for _ in 0..count {
        assert_eq!(statuses(&curl(&divulge.ca_file(), &["-x", &proxy]).await), "200 200");
    }
}

//! Gateways on several machines: findings through a stream of NATS JetStream, policies and rules from its key-value store.
//!
//! A gateway needs neither to serve: findings wait in the spool, and the last good policies are on the disk.

mod columns;
mod mirror;
mod postgres;
mod publisher;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectOptions;

pub use columns::Folder;
pub use mirror::{fetch, follow};
pub use postgres::Database;
pub use publisher::Publisher;
pub use worker::{Worker, WorkerParts};

use super::sinks::{NatsAddress, SinkError};

/// How long a lost server may take to be noticed.
const PING: Duration = Duration::from_secs(5);

/// A connection to the cluster; it is made anew by itself when it breaks.
async fn connect(to: &NatsAddress, tls: &Arc<rustls::ClientConfig>) -> Result<async_nats::Client, SinkError> {
    let mut options = ConnectOptions::new()
        .name("divulge")
        .connection_timeout(Duration::from_secs(5))
        .ping_interval(PING)
        .tls_client_config(rustls::ClientConfig::clone(tls));
    if let Some(file) = &to.credentials {
        options = options.credentials_file(file).await.map_err(SinkError::of)?;
    }
    options.connect(to.servers.as_slice()).await.map_err(SinkError::of)
}

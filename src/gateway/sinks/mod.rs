//! Where findings go beside their file, each sink at its own pace: one that cannot be reached holds up neither traffic nor the
//! other sinks.

mod address;
mod file;
mod http;
mod otlp;
mod report;
mod syslog;

use std::sync::Arc;
use std::time::Duration;

use crate::config::SettingsError;
use crate::gateway::spool::{Position, Spool};

pub use address::{NatsAddress, SinkAddress};
pub use report::{Reports, report};

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// A batch that is not taken within this time is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a batch was not taken. It stays in the spool.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(String);

impl SinkError {
    pub(super) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// One place where findings go.
pub(super) enum Sink {
    File(file::Rotated),
    Syslog(syslog::Syslog),
    Http(http::Poster),
    #[cfg(feature = "fleet")]
    Nats(crate::gateway::fleet::Publisher),
    #[cfg(feature = "fleet")]
    Postgres(crate::gateway::fleet::Database),
    #[cfg(feature = "fleet")]
    Parquet(crate::gateway::fleet::Folder),
}

/// What sinks need to reach their places.
#[derive(Clone)]
pub struct SinkParts {
    /// For TLS to them.
    pub tls: Arc<rustls::ClientConfig>,
    pub host: String,
    /// Drawn at the start: tells this process from others of the host.
    pub instance: String,
}

impl Sink {
    pub(super) fn new(address: &SinkAddress, parts: &SinkParts) -> Result<Self, SettingsError> {
        Ok(match address {
            SinkAddress::File { path, most_bytes, keep } => Sink::File(file::Rotated::new(path, *most_bytes, *keep)),
            SinkAddress::Syslog(to) => Sink::Syslog(syslog::Syslog::new(to.clone(), parts.clone())),
            SinkAddress::Http(to) => Sink::Http(http::Poster::new(to.clone(), parts.clone())?),
            #[cfg(feature = "fleet")]
            SinkAddress::Nats(to) => Sink::Nats(crate::gateway::fleet::Publisher::new(to.clone(), parts.tls.clone())),
            #[cfg(feature = "fleet")]
            SinkAddress::Postgres(url) => {
                Sink::Postgres(crate::gateway::fleet::Database::new(url.clone(), parts.tls.clone()))
            }
            #[cfg(feature = "fleet")]
            SinkAddress::Parquet(folder) => Sink::Parquet(crate::gateway::fleet::Folder::new(folder.clone())),
            #[cfg(not(feature = "fleet"))]
            SinkAddress::Nats(_) | SinkAddress::Postgres(_) | SinkAddress::Parquet(_) => {
                let why = "this build has neither NATS nor PostgreSQL nor Parquet: build it with `--features fleet`";
                return Err(SettingsError::option("--sink", why));
            }
        })
    }

    /// Takes out of `lines` what is there already, of those that come again: since when each may have been written. For places
    /// that do not tell by the id themselves.
    #[cfg(feature = "fleet")]
    pub(super) fn leave_out(
        &self,
        lines: &mut Vec<String>,
        again: &[Option<std::time::SystemTime>],
    ) -> Result<(), SinkError> {
        let Sink::Parquet(folder) = self else { return Ok(()) };
        let asked: Vec<_> =
            lines.iter().zip(again).filter_map(|(line, since)| Some((line.as_str(), (*since)?))).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let written = tokio::task::block_in_place(|| folder.written(&asked))?;
        lines.retain(|line| {
            let id = serde_json::from_str::<serde_json::Value>(line).ok();
            !id.is_some_and(|line| line["id"].as_str().is_some_and(|id| written.contains(id)))
        });
        Ok(())
    }

    pub(super) async fn send(&mut self, lines: &[String]) -> Result<(), SinkError> {
        match self {
            Sink::File(file) => file.send(lines).map_err(SinkError::of),
            Sink::Syslog(syslog) => syslog.send(lines).await.map_err(SinkError::of),
            Sink::Http(poster) => poster.send(lines).await,
            #[cfg(feature = "fleet")]
            Sink::Nats(publisher) => publisher.send(lines).await,
            #[cfg(feature = "fleet")]
            Sink::Postgres(database) => database.send(lines).await,
            #[cfg(feature = "fleet")]
            Sink::Parquet(folder) => tokio::task::block_in_place(|| folder.send(lines)),
        }
    }
}

/// Starts one task for each of `addresses`. They end with the runtime; what is not sent by then is sent after the next start.
pub fn start(
    addresses: &[SinkAddress],
    parts: &SinkParts,
    spool: &Arc<Spool>,
) -> Result<Vec<Arc<Sent>>, SettingsError> {
    let names: Vec<String> = addresses.iter().map(SinkAddress::name).collect();
    let mut all = Vec::new();
    for (address, name) in addresses.iter().zip(&names) {
        if let SinkAddress::Parquet(_) = address {
            let why =
                "Parquet files are written by `divulge sink`, many lines at once: each file here would have a few";
            return Err(SettingsError::option("--sink", why));
        }
        let sink = Sink::new(address, parts)?;
        let sent = Arc::new(Sent { shown: address.shown(), at: tokio::sync::watch::Sender::new(spool.cursor(name)) });
        let courier =
            Courier { sink, name: name.clone(), names: names.clone(), spool: spool.clone(), sent: sent.clone() };
        tokio::spawn(courier.run());
        all.push(sent);
    }
    Ok(all)
}

/// How far a sink has come.
pub struct Sent {
    pub shown: String,
    at: tokio::sync::watch::Sender<Position>,
}

impl Sent {
    /// Waits until the sink has all that stands before `end`.
    pub async fn reached(&self, end: Position) {
        let _ = self.at.subscribe().wait_for(|at| *at >= end).await;
    }
}

struct Courier {
    sink: Sink,
    name: String,
    names: Vec<String>,
    spool: Arc<Spool>,
    sent: Arc<Sent>,
}

impl Courier {
    async fn run(mut self) {
        let mut end = self.spool.end();
        let mut at = self.spool.cursor(&self.name);
        loop {
            end.mark_unchanged();
            match self.spool.batch(at) {
                Ok((lines, next)) if lines.is_empty() => {
                    at = next;
                    self.sent.at.send_replace(at);
                    if end.changed().await.is_err() {
                        return;
                    }
                }
                Ok((lines, next)) => {
                    self.deliver(&lines).await;
                    at = next;
                    if let Err(error) = self.spool.settle(&self.name, at, &self.names) {
                        tracing::warn!(sink = %self.sent.shown, %error, "how far a sink has come cannot be kept; lines may be sent twice");
                    }
                    self.sent.at.send_replace(at);
                }
                Err(error) => {
                    tracing::error!(sink = %self.sent.shown, %error, "the spool cannot be read; trying again");
                    tokio::time::sleep(LONGEST_WAIT).await;
                }
            }
        }
    }

    /// Until the sink has taken the lines.
    async fn deliver(&mut self, lines: &[String]) {
        let mut wait = FIRST_WAIT;
        let mut told = false;
        loop {
            let error = match tokio::time::timeout(PATIENCE, self.sink.send(lines)).await {
                Ok(Ok(())) => {
                    if told {
                        tracing::info!(sink = %self.sent.shown, "findings are taken again");
                    }
                    return;
                }
                Ok(Err(error)) => error,
                Err(_) => SinkError("no answer in time".into()),
            };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(sink = %self.sent.shown, %error, "findings are not taken; they wait in the spool");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

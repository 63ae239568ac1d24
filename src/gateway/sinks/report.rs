//! Counters to an OTLP collector: as they stand, every so often, and once more at the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::address::HttpAddress;
use super::http::Poster;
use super::{PATIENCE, SinkAddress, SinkError, SinkParts, otlp};
use crate::config::SettingsError;
use crate::metrics::Metrics;

/// Where collectors take logs and metrics, by the protocol.
const LOGS: &str = "/v1/logs";
const METRICS: &str = "/v1/metrics";

/// One collector that is told.
pub struct Reports {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Reports {
    /// Sends the counters as they stand at the end.
    pub async fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Starts one task for each collector among `addresses`.
pub fn report(
    addresses: &[SinkAddress],
    parts: &SinkParts,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Reports>, SettingsError> {
    let mut all = Vec::new();
    for address in addresses {
        let SinkAddress::Http(to) = address else { continue };
        let Some((path, interval)) = wanted(to) else { continue };
        let poster = Poster::new(to.clone(), parts.clone())?;
        let reporter = Reporter { poster, path, parts: parts.clone(), metrics: metrics.clone(), failing: false };
        let (stop, stopped) = oneshot::channel();
        all.push(Reports { stop, task: tokio::spawn(reporter.run(interval, stopped)) });
    }
    Ok(all)
}

/// The path of the metrics, beside that of the logs, and how often they go there.
fn wanted(to: &HttpAddress) -> Option<(String, Duration)> {
    let interval = to.metrics_interval.filter(|interval| to.otlp && !interval.is_zero())?;
    Some((format!("{}{METRICS}", to.path.strip_suffix(LOGS)?), interval))
}

struct Reporter {
    poster: Poster,
    path: String,
    parts: SinkParts,
    metrics: Arc<Metrics>,
    failing: bool,
}

impl Reporter {
    async fn run(mut self, interval: Duration, mut stopped: oneshot::Receiver<()>) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tell().await,
                _ = &mut stopped => return self.tell().await,
            }
        }
    }

    /// What is not taken needs no second try: the next report says all of it and more.
    async fn tell(&mut self) {
        let now = SystemTime::now();
        let body = otlp::metrics(&self.metrics.text(), self.metrics.began, now, &self.parts).to_string();
        let told = match tokio::time::timeout(PATIENCE, self.poster.post(&self.path, "application/json", body)).await {
            Ok(told) => told,
            Err(_) => Err(SinkError("no answer in time".into())),
        };
        match told {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::warn!(path = self.path, %error, "metrics are not taken; later ones will say the same and more");
            }
            Err(_) => {}
        }
    }
}

//! Counts and times for a monitoring system, in the text form of Prometheus. Labels come from short lists of our own: nothing
//! that a client sends becomes one.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::engine::kinds::{self, KINDS};
use crate::engine::{Action, Finding};

const ACTIONS: usize = Action::Block as usize + 1;

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RequestResult {
    Forwarded,
    Edited,
    Withheld,
    /// Not let in: without credentials, over a limit, for a host that was not agreed on.
    Refused,
}

/// With whom a handshake was made.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    Client,
    Upstream,
}

macro_rules! labels {
    ($type:ty { $($variant:path => $text:literal),+ }) => {
        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
                match self { $($variant => $text),+ }.encode(encoder)
            }
        }
    };
}

labels!(RequestResult {
    RequestResult::Forwarded => "forwarded",
    RequestResult::Edited => "edited",
    RequestResult::Withheld => "withheld",
    RequestResult::Refused => "refused"
});
labels!(Side { Side::Client => "client", Side::Upstream => "upstream" });

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByResult {
    result: RequestResult,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct BySide {
    side: Side,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByKind {
    kind: &'static str,
    action: &'static str,
}

pub struct Metrics {
    /// Since when is counted.
    pub began: SystemTime,
    registry: Registry,
    requests: Family<ByResult, Counter>,
    durations: Histogram,
    findings: Family<ByKind, Counter>,
    /// The same counters by the numbers of kind and action: each request has some twenty findings.
    by_number: Box<[OnceLock<Counter>]>,
    pub tunnels: Gauge,
    handshakes: Family<BySide, Histogram, fn() -> Histogram>,
    pub unread_bytes: Counter,
    pub dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let handshakes: fn() -> Histogram =
            || Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 7.5]);
        let mut metrics = Self {
            began: SystemTime::now(),
            registry: Registry::with_prefix("divulge"),
            requests: Family::default(),
            durations: Histogram::new([
                0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
            ]),
            findings: Family::default(),
            by_number: vec![OnceLock::new(); (KINDS.len() + 1) * ACTIONS].into(),
            tunnels: Gauge::default(),
            handshakes: Family::new_with_constructor(handshakes),
            unread_bytes: Counter::default(),
            dropped: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests by what became of them", metrics.requests.clone());
        registry.register(
            "request_duration_seconds",
            "From a request's head to the end of its exchange",
            metrics.durations.clone(),
        );
        registry.register("findings", "Findings by kind and by what was done", metrics.findings.clone());
        registry.register("active_tunnels", "Connections that are passed on unread", metrics.tunnels.clone());
        registry.register("tls_handshake_duration_seconds", "TLS handshakes by side", metrics.handshakes.clone());
        registry.register("unread_bytes", "Bytes of requests that could not be decoded", metrics.unread_bytes.clone());
        registry.register(
            "capture_dropped",
            "Records that the recorder or the spool could not take",
            metrics.dropped.clone(),
        );
        let build =
            [("version", env!("CARGO_PKG_VERSION")), ("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
        // As a gauge of 1: what Prometheus itself and its exporters do, and the name that dashboards know.
        let info: Family<Vec<(&'static str, &'static str)>, Gauge> = Family::default();
        info.get_or_create(&build.to_vec()).set(1);
        registry.register("build_info", "Which build this is", info);
        metrics
    }
}

impl Metrics {
    pub fn request(&self, result: RequestResult, since: Option<Instant>) {
        self.requests.get_or_create(&ByResult { result }).inc();
        if let Some(since) = since {
            self.durations.observe(since.elapsed().as_secs_f64());
        }
    }

    pub fn handshake(&self, side: Side, took: Duration) {
        self.handshakes.get_or_create(&BySide { side }).observe(took.as_secs_f64());
    }

    pub fn finding(&self, finding: &Finding) {
        // Rule packs may name kinds of their own; those share one label.
        let number = kinds::number(&finding.kind);
        let kind = number.and_then(|number| KINDS.get(number)).map_or("other", |kind| kind.name);
        let place = number.unwrap_or(KINDS.len()) * ACTIONS + finding.action as usize;
        let make = || self.findings.get_or_create(&ByKind { kind, action: finding.action.name() }).clone();
        if let Some(counter) = self.by_number.get(place) {
            counter.get_or_init(make).inc();
        }
    }

    /// Everything, as it is scraped.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_dashboards_know() {
        let metrics = Metrics::default();
        metrics.request(RequestResult::Edited, Some(Instant::now()));
        metrics.handshake(Side::Upstream, Duration::from_millis(3));
        metrics.unread_bytes.inc_by(7);
        let text = metrics.text();
        for line in [
            "divulge_requests_total{result=\"edited\"} 1",
            "divulge_request_duration_seconds_count 1",
            "divulge_tls_handshake_duration_seconds_count{side=\"upstream\"} 1",
            "divulge_unread_bytes_total 7",
            "divulge_capture_dropped_total 0",
            "divulge_active_tunnels 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not among\n{text}");
        }
        assert!(text.contains("divulge_build_info{version="), "{text}");
    }
}

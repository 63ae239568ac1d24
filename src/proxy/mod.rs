//! The proxy: accepts connections, decrypts those it is asked to, and carries the bytes.
//!
//! ```text
//! listener -> connection (CONNECT, ClientHello, ALPN) -> exchange | http2 | tunnel -> upstream
//! ```
//!
//! It decides nothing about content: every request goes through an `intake` to the engine.

pub mod alarm;
pub mod connection;
pub mod entry;
pub mod error;
pub mod exchange;
pub mod gate;
pub mod half;
pub mod http1;
pub mod http2;
pub mod intake;
pub mod listener;
mod loopback;
pub mod origin;
pub mod pool;
pub mod presence;
pub mod restoring;
pub mod socks;
pub mod stream;
pub mod tally;
pub mod told;
pub mod transparent;
pub mod tunnel;
pub mod turns;
pub mod upstream;
pub mod verify;
pub mod websocket;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use crate::ca::Authority;
use crate::config::{Deadlines, Intercept, glob_fits};
use crate::engine::{Action, Detector, Engine, Finding, Location, OnError, Root, Severity};
use crate::learning::Learner;
use crate::metrics::{RequestResult, Side};
use crate::record::{FlowMeta, Recorder};
use crate::recording::SessionTape;
use crate::wire::limits::Limits;
use error::UpstreamError;
use intake::IntakeSettings;
use turns::Turns;
use upstream::{Dialer, Dialled, Offer, Origin};

/// All that the connections share.
pub struct Shared {
    /// One request sees one snapshot; a reload swaps it.
    pub engine: ArcSwap<Engine>,
    /// A reload may bring another intermediate of the same root.
    pub authority: ArcSwap<Authority>,
    pub dialer: Dialer,
    pub pool: pool::Pool,
    pub recorder: Recorder,
    pub intercept: Vec<Intercept>,
    pub deadlines: Deadlines,
    pub limits: Limits,
    pub intake: IntakeSettings,
    /// Hosts for which a client has sent a request through our certificate.
    pub trusted: Cache<(IpAddr, Arc<str>), ()>,
    /// Hosts asked for but out of the CA's scope, warned about once.
    pub warned: Cache<Arc<str>, ()>,
    /// Hosts that a connection around the proxy went to, reported once.
    around: Cache<Arc<str>, ()>,
    pub tally: tally::Tally,
    /// Who is let in, and what differs for its group.
    pub gate: gate::Gate,
    flows: AtomicU64,
}

/// What happens to connections for a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    Intercept,
    Tunnel(&'static str),
}

pub struct SharedParts {
    pub engine: Arc<Engine>,
    pub authority: Arc<Authority>,
    pub dialer: Dialer,
    pub recorder: Recorder,
    pub intercept: Vec<Intercept>,
    pub deadlines: Deadlines,
    pub body_limit: usize,
    /// Large bodies inspected at the same time.
    pub inspections: usize,
    pub on_error: OnError,
    pub reveal: bool,
    pub learner: Learner,
    pub tape: Option<SessionTape>,
    pub gate: gate::Gate,
}

impl Shared {
    pub fn new(parts: SharedParts) -> Self {
        // Flows of a session that goes on have ids of their own.
        let last_flow = parts.tape.as_ref().map_or(0, |tape| tape.last_flow);
        Self {
            engine: ArcSwap::new(parts.engine),
            authority: ArcSwap::from(parts.authority),
            dialer: parts.dialer,
            pool: pool::Pool::default(),
            recorder: parts.recorder,
            intercept: parts.intercept,
            deadlines: parts.deadlines,
            limits: Limits::default(),
            intake: IntakeSettings {
                body_limit: parts.body_limit,
                on_error: parts.on_error,
                reveal: parts.reveal,
                learner: parts.learner,
                tape: parts.tape,
                turns: Arc::new(Turns::new(parts.inspections, parts.deadlines.body)),
            },
            trusted: Cache::new(4096),
            warned: Cache::new(4096),
            around: Cache::new(4096),
            tally: tally::Tally::default(),
            gate: parts.gate,
            flows: AtomicU64::new(last_flow),
        }
    }

    /// Whether `host` is decrypted. Without the CA's scope it is tunnelled, and the user is told once.
    pub fn decide(&self, peer: &Peer, host: &str) -> Decision {
        if !self.wanted_by(peer, host) {
            return Decision::Tunnel("not intercepted");
        }
        if self.authority.load().permits(host) {
            return Decision::Intercept;
        }
        let name: Arc<str> = host.into();
        if self.warned.get(&name).is_none() {
            self.warned.insert(name, ());
            tracing::warn!(
                host,
                "asked for, but outside the CA's scope: tunnelled unread. `divulge ca rotate --ca-scope any` makes a CA for any host"
            );
        }
        Decision::Tunnel("outside the CA's scope")
    }

    fn wants(&self, list: &[Intercept], host: &str) -> bool {
        list.iter().any(|rule| match rule {
            Intercept::All => true,
            Intercept::Ai => self.engine.load().rules().is_ai_host(host),
            Intercept::Glob(glob) => glob_fits(glob, host),
        })
    }

    pub fn next_flow(&self) -> String {
        format!("{:06}", self.flows.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A fresh connection to `origin`. One that an exception made possible is reported.
    pub async fn dial(&self, origin: &Origin, offer: Offer) -> Result<Dialled, UpstreamError> {
        let began = Instant::now();
        let dialled = self.dialer.dial(origin, offer).await?;
        if origin.secure {
            // With the connection it runs on: what a request waits for.
            self.recorder.metrics.handshake(Side::Upstream, began.elapsed());
        }
        if let Some(observed) = &dialled.overlooked {
            tracing::debug!(host = %origin.host, "{observed}");
            self.note_flow(None, &origin.host, "audit.identity", Severity::Medium, 1.0, observed);
        }
        Ok(dialled)
    }

    /// Reports that a client went around the proxy to `host`, once for each host.
    pub fn note_around(&self, peer: &Peer, host: &str) {
        if peer.way != Way::Around || self.around.get(host).is_some() {
            return;
        }
        self.around.insert(host.into(), ());
        let observed = "a connection that did not go to the proxy of the variables; it was audited all the same";
        self.note_connection(peer, host, "audit.bypass", Severity::Low, 1.0, observed);
    }

    /// A finding about a connection rather than a request.
    pub fn note_connection(
        &self,
        peer: &Peer,
        host: &str,
        kind: &'static str,
        severity: Severity,
        confidence: f32,
        observed: &str,
    ) {
        self.note_flow(Some(peer), host, kind, severity, confidence, observed);
    }

    /// A request that was not let in.
    pub(super) fn refused(&self) {
        self.recorder.metrics.request(RequestResult::Refused, None);
    }

    fn note_flow(
        &self,
        peer: Option<&Peer>,
        host: &str,
        kind: &'static str,
        severity: Severity,
        confidence: f32,
        observed: &str,
    ) {
        let user = peer.and_then(|peer| peer.user.as_ref());
        let meta = Arc::new(FlowMeta {
            flow: self.next_flow(),
            host: host.to_owned(),
            method: None,
            path: None,
            client: None,
            client_version: None,
            user: user.and_then(|user| user.shown.clone()),
            group: user.and_then(|user| user.group.clone()),
        });
        self.recorder.note(&meta, vec![connection_finding(kind, severity, confidence, host, observed)]);
    }
}

/// A finding on the connection itself: no field of a request carries it.
pub fn connection_finding(
    kind: &'static str,
    severity: Severity,
    confidence: f32,
    host: &str,
    observed: &str,
) -> Finding {
    Finding {
        kind: kind.into(),
        location: Location { root: Root::Head, steps: Vec::new() }.into(),
        shown_location: None,
        detector: Detector::Rule,
        rule: None,
        severity,
        confidence,
        value: host.into(),
        observed: Some(observed.into()),
        part: None,
        span: None,
        action: Action::Log,
        would: None,
        replacement: None,
        decided_by: None,
    }
}

/// Who is at the other end, as far as pools and findings tell clients apart.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub way: Way,
    /// Who it is, where that is asked for.
    pub user: Option<Arc<gate::User>>,
    /// A certificate said so: nothing else is asked.
    pub certified: bool,
}

impl Peer {
    pub fn at(address: SocketAddr, way: Way) -> Self {
        Self { address, way, user: None, certified: false }
    }
}

/// How a connection came to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// The client spoke to the proxy.
    Asked,
    /// Redirected, and no proxy had been offered.
    Redirected,
    /// Redirected, although a proxy had been offered: the client went around it.
    Around,
}

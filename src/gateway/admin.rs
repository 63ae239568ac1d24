//! The port of those who run the gateway: is it well, how much does it do, what did it find. Apart from the proxy's port, and
//! never dialled by the proxy.
//!
//! Health and metrics are open to whoever reaches the port; everything that names people, hosts or findings asks for the
//! token. `Host` and `Origin` are checked always: a page in somebody's browser cannot ask in their name.

mod seen;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::config::split_authority;
use crate::engine::line::hex;
use crate::gateway::sinks::Sent;
use crate::proxy::Shared;
use seen::Seen;

pub const OPENAPI: &str = include_str!("admin/openapi.json");

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whose a page is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum For {
    Anybody,
    Token,
}

/// Answers what a query asks of a page.
type Page = fn(&Admin, &str) -> Response<Full<Bytes>>;

/// All that there is: `openapi.json` describes just these.
const PAGES: [(&str, For, Page); 9] = [
    ("/healthz", For::Anybody, |_, _| plain(StatusCode::OK, TEXT, "ok\n")),
    ("/readyz", For::Anybody, |admin, _| admin.readiness()),
    ("/metrics", For::Anybody, |admin, _| plain(StatusCode::OK, METRICS, admin.shared.recorder.metrics.text())),
    ("/openapi.json", For::Anybody, |_, _| plain(StatusCode::OK, "application/json", OPENAPI)),
    ("/api/v1/status", For::Token, |admin, _| document(&admin.status())),
    ("/api/v1/flows", For::Token, |admin, query| admin.list("flows", query)),
    ("/api/v1/findings", For::Token, |admin, query| admin.list("findings", query)),
    ("/api/v1/clients", For::Token, |admin, _| document(&json!({"clients": admin.seen.clients()}))),
    ("/api/v1/policy", For::Token, |admin, _| document(&admin.policy())),
];

/// What the port tells about.
pub struct Admin {
    shared: Arc<Shared>,
    token: [u8; 32],
    hosts: Vec<String>,
    seen: Arc<Seen>,
    sinks: Vec<Arc<Sent>>,
    ready: Arc<AtomicBool>,
    began: Instant,
}

pub struct AdminParts {
    pub shared: Arc<Shared>,
    pub token: String,
    /// Names by which the port may be asked for, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    pub sinks: Vec<Arc<Sent>>,
    /// Not while the proxy starts or drains.
    pub ready: Arc<AtomicBool>,
}

/// The token in `state`, drawn where there is none yet.
pub fn token(state: &Path) -> io::Result<String> {
    let path = state.join("admin-token");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 32 => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let token = hex(&bytes);
    crate::ca::files::write_private(&path, format!("{token}\n").as_bytes()).map_err(io::Error::other)?;
    Ok(token)
}

impl Admin {
    pub fn new(parts: AdminParts) -> Arc<Self> {
        Arc::new(Self {
            seen: Seen::follow(parts.shared.recorder.watch()),
            shared: parts.shared,
            token: Sha256::digest(parts.token.as_bytes()).into(),
            hosts: parts.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            sinks: parts.sinks,
            ready: parts.ready,
            began: Instant::now(),
        })
    }

    /// Serves for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let tcp = match listener.accept().await {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    tracing::error!(%error, "no connection to the admin port could be accepted; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let admin = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = admin.answer(&request);
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                let mut builder = hyper::server::conn::http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10)).max_buf_size(64 * 1024);
                let _ = builder.serve_connection(TokioIo::new(tcp), service).await;
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.is_ours(request) {
            return error(StatusCode::MISDIRECTED_REQUEST, "that is no name of this port (--admin-host)");
        }
        let uri = request.uri();
        let page = PAGES.iter().find(|(path, ..)| *path == uri.path());
        // Who may not know is not told which pages there are either.
        if page.is_none_or(|(_, who, _)| *who == For::Token) && !self.is_allowed(request) {
            let mut answer = error(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            return answer;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        }
        match page {
            Some((_, _, page)) => page(self, uri.query().unwrap_or_default()),
            None => error(StatusCode::NOT_FOUND, "there is no such page; /openapi.json lists them"),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        match self.ready.load(Ordering::Relaxed) {
            true => plain(StatusCode::OK, TEXT, "ready\n"),
            false => plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n"),
        }
    }

    /// The last lines that fit what the query asks for, under the name of what they are.
    fn list(&self, what: &'static str, query: &str) -> Response<Full<Bytes>> {
        let (mut limit, mut wanted) = (100, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return error(StatusCode::BAD_REQUEST, "a parameter is NAME=VALUE");
            };
            match (key, value.parse::<usize>()) {
                ("limit", Ok(number)) if (1..=seen::KEPT).contains(&number) => limit = number,
                ("kind" | "host" | "user" | "group" | "severity" | "action" | "verdict" | "flow" | "client", _) => {
                    wanted.push((key, value));
                }
                _ => return error(StatusCode::BAD_REQUEST, "a parameter is not known, or out of range"),
            }
        }
        let fits = |line: &Value| wanted.iter().all(|(key, value)| line[*key].as_str() == Some(*value));
        let list = if what == "flows" { self.seen.flows(limit, fits) } else { self.seen.findings(limit, fits) };
        document(&json!({what: list}))
    }

    /// DNS rebinding gives a page's own name our address; it cannot make that name an address, nor one of ours.
    fn is_ours(&self, request: &Request<Incoming>) -> bool {
        let known = |authority: &str| {
            split_authority(authority).is_some_and(|(host, _)| {
                host == "localhost" || host.parse::<IpAddr>().is_ok() || self.hosts.contains(&host)
            })
        };
        let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
        let Some(host) = text(header::HOST) else { return false };
        let same = |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| authority == host);
        known(host) && text(header::ORIGIN).is_none_or(same)
    }

    fn is_allowed(&self, request: &Request<Incoming>) -> bool {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = given.and_then(|given| given.split_once(' ')) else { return false };
        let digest: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        scheme.eq_ignore_ascii_case("bearer") && verify_slices_are_equal(&digest, &self.token).is_ok()
    }

    fn status(&self) -> Value {
        let counters = &self.shared.recorder.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.began.elapsed().as_secs(),
            "ready": self.ready.load(Ordering::Relaxed),
            "flows": count(&counters.flows),
            "active": count(&counters.active),
            "findings": count(&counters.findings),
            "tunnelled": count(&counters.tunnels),
            "tunnelled_bytes": count(&counters.tunnelled_bytes),
            "unread_bytes": count(&counters.unread_bytes),
            "dropped": count(&counters.dropped),
            "sinks": self.sinks.iter().map(|sink| sink.shown.clone()).collect::<Vec<_>>(),
        })
    }

    fn policy(&self) -> Value {
        let groups = self.shared.gate.groups.load();
        let mut groups: Vec<Value> = groups
            .iter()
            .map(|(name, group)| json!({"name": &**name, "policy": group.engine.policy().name()}))
            .collect();
        groups.sort_by_key(|group| group["name"].to_string());
        json!({"policy": self.shared.engine.load().policy().name(), "groups": groups})
    }
}

fn plain(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    answer
}

fn document(value: &Value) -> Response<Full<Bytes>> {
    plain(StatusCode::OK, "application/json", value.to_string())
}

fn error(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    plain(status, "application/json", json!({"error": message}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_of_just_the_pages_that_there_are() {
        let described: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described: Vec<(&str, bool)> = described["paths"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, page)| (path.as_str(), page["get"].get("security").is_some()))
            .collect();
        let mut there: Vec<(&str, bool)> = PAGES.iter().map(|(path, who, _)| (*path, *who == For::Token)).collect();
        described.sort();
        there.sort();
        assert_eq!(described, there);
    }
}

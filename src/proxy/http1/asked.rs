//! Requests to the proxy itself: who asks, and for what. CONNECT, a URL of another place, a provider by its path, or the PAC
//! file.

use std::sync::Arc;

use bytes::BytesMut;

use super::{After, Http1, absolute_origin, write_answer};
use crate::config::{Intercept, split_authority};
use crate::proxy::Shared;
use crate::proxy::tally::Became;
use crate::proxy::upstream::Origin;
use crate::wire::head::{HeadEdit, RequestHead, TargetForm};
use crate::wire::span::Span;

/// What `/NAME/…` stands for in reverse mode.
pub const PROVIDERS: [(&str, &str); 3] =
    [("anthropic", "api.anthropic.com"), ("openai", "api.openai.com"), ("gemini", "generativelanguage.googleapis.com")];

/// For the proxy alone: neither forwarded nor inspected nor recorded.
const CREDENTIALS: &str = "proxy-authorization";

const CHALLENGE: [(&str, &str); 2] = [
    ("proxy-authenticate", "Basic realm=\"proxy\", charset=\"UTF-8\""),
    ("proxy-authenticate", "Bearer realm=\"proxy\""),
];

impl Http1 {
    pub(super) async fn asked(&mut self, head: RequestHead) -> After {
        let form = head.target_form();
        if form == TargetForm::Origin && head.target() == "/proxy.pac" && matches!(head.method(), "GET" | "HEAD") {
            return self.pac(&head);
        }
        let Some(head) = self.known(head).await else {
            self.shared.refused();
            // Nothing but that credentials are wanted, and nothing of what would become of the request.
            write_answer(&mut self.client.output, 407, &CHALLENGE, b"", true, false);
            return After::Close;
        };
        match form {
            TargetForm::Authority => match split_authority(head.target()) {
                Some((host, Some(port))) => After::Connect { host, port },
                _ => self.refuse(400, "CONNECT needs host:port"),
            },
            TargetForm::Absolute => match absolute_origin(head.target()) {
                Some(origin) => {
                    if self.requests == 1 {
                        self.shared.tally.note(Became::Plain);
                    }
                    self.request(head, origin, false, None).await
                }
                None => self.refuse(400, "the target is no http:// URL"),
            },
            TargetForm::Origin if self.shared.gate.reverse => match self.provider(&head) {
                Some((head, origin)) => self.request(head, origin, false, None).await,
                None => {
                    self.refuse(404, "no provider of that name: the path begins with /anthropic/, /openai/ or /gemini/")
                }
            },
            TargetForm::Origin | TargetForm::Asterisk => {
                self.refuse(400, "this is a proxy: set it as HTTP(S) proxy rather than opening it as a server")
            }
        }
    }

    /// The head without what was for us, once its sender is known; none for whom credentials are missing or wrong.
    async fn known(&mut self, head: RequestHead) -> Option<RequestHead> {
        let access = self.shared.gate.access.load_full();
        if !access.is_required() {
            return Some(head);
        }
        if !self.peer.certified {
            let mut given = head.all(CREDENTIALS);
            let identity = match (given.next(), given.next()) {
                (Some(field), None) => access.check(field).await,
                _ => None,
            };
            self.peer.user = Some(self.shared.gate.user(&*identity?));
        }
        head.without(CREDENTIALS, &self.shared.limits)
    }

    /// `/anthropic/v1/messages` as a request to the provider.
    fn provider(&self, head: &RequestHead) -> Option<(RequestHead, Origin)> {
        let (name, _) = head.target().strip_prefix('/')?.split_once('/')?;
        let (_, host) = PROVIDERS.iter().find(|(provider, _)| *provider == name)?;
        let target = head.target_span();
        let mut edits =
            vec![HeadEdit { span: Span::new(target.start, target.start + name.len() as u32 + 1), bytes: Vec::new() }];
        for field in head.fields().iter().filter(|f| head.bytes(f.name).eq_ignore_ascii_case(b"host")) {
            edits.push(HeadEdit { span: field.value, bytes: host.as_bytes().to_vec() });
        }
        let head = head.with(&edits, &self.shared.limits)?;
        Some((head, Origin { host: (*host).into(), port: 443, secure: true }))
    }

    /// Which hosts go through the proxy, for programs that ask (a PAC file).
    fn pac(&mut self, head: &RequestHead) -> After {
        let asked = head.host_field().filter(|host| split_authority(host).is_some());
        let Some(proxy) = self.shared.gate.pac_proxy.as_deref().or(asked) else {
            return self.refuse(400, "the request names no host");
        };
        let body = pac_file(&self.shared, proxy);
        let fields = [("content-type", "application/x-ns-proxy-autoconfig"), ("cache-control", "max-age=300")];
        let keep = head.keep_alive();
        write_answer(&mut self.client.output, 200, &fields, body.as_bytes(), !keep, head.method() == "HEAD");
        if keep { After::Keep } else { After::Close }
    }
}

/// A host is sent through the proxy only where it would be decrypted: what is merely tunnelled need not come.
fn pac_file(shared: &Arc<Shared>, proxy: &str) -> String {
    let engine = shared.engine.load();
    let mut patterns: Vec<String> = Vec::new();
    for rule in &shared.intercept {
        match rule {
            Intercept::All => patterns.push("*".to_owned()),
            Intercept::Glob(glob) => patterns.push(glob.clone()),
            Intercept::Ai => patterns.extend(engine.rules().hosts().map(str::to_owned)),
        }
    }
    patterns.sort();
    patterns.dedup();
    let secure = shared.gate.tls.load().is_some();
    let way = if secure { "HTTPS" } else { "PROXY" };
    // As JSON, so that nothing that stands in a setting can become a program.
    let (patterns, way) = (serde_json::json!(patterns), serde_json::json!(format!("{way} {proxy}")));
    format!(
        "var hosts = {patterns};\nfunction FindProxyForURL(url, host) {{\n  host = host.toLowerCase();\n  \
         for (var i = 0; i < hosts.length; i++) {{\n    if (shExpMatch(host, hosts[i])) return {way};\n  }}\n  return \"DIRECT\";\n}}\n"
    )
}

impl RequestHead {
    /// With `edits`, in their order, read again.
    fn with(&self, edits: &[HeadEdit], limits: &crate::wire::limits::Limits) -> Option<Self> {
        let raw = self.raw();
        let mut out = BytesMut::with_capacity(raw.len() + 64);
        let mut at = 0;
        for edit in edits {
            let range = edit.span.range();
            out.extend_from_slice(raw.get(at..range.start)?);
            out.extend_from_slice(&edit.bytes);
            at = range.end;
        }
        out.extend_from_slice(raw.get(at..)?);
        RequestHead::parse(&mut out, limits).ok().flatten()
    }

    /// Without the fields called `name`.
    fn without(&self, name: &str, limits: &crate::wire::limits::Limits) -> Option<Self> {
        let named = self.fields().iter().filter(|f| self.bytes(f.name).eq_ignore_ascii_case(name.as_bytes()));
        let edits: Vec<HeadEdit> = named.map(|field| HeadEdit { span: field.line, bytes: Vec::new() }).collect();
        if edits.is_empty() { Some(self.clone()) } else { self.with(&edits, limits) }
    }
}

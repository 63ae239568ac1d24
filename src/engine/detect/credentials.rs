//! A credential on its way to another host than the one it was set for.
//!
//! Whose a credential is, is told by its prefix where rules name the issuer (`sk-ant-` is for Anthropic's hosts), or by
//! the facts, where the environment set it for a base URL.

use super::RawFinding;
use crate::engine::facts::Fact;
use crate::engine::finding::Severity;
use crate::engine::rules::glob;

/// What is known of one request's host.
pub(in crate::engine) struct Destination<'a> {
    pub host: &'a str,
    /// One of a pack's hosts: no gateway that somebody set up to stand before the issuer.
    pub known: bool,
    /// Prefixes of credentials, longest first, and the hosts that they are for.
    pub issuers: &'a [(String, Vec<String>)],
    pub facts: &'a [Fact],
}

const KIND: &str = "secret.cross_host";

impl Destination<'_> {
    /// Renames the credentials that are not for this host.
    pub fn mark(&self, found: &mut [RawFinding]) {
        for raw in found.iter_mut().filter(|raw| raw.kind.starts_with("secret.") && &*raw.kind != KIND) {
            if self.is_astray(&raw.value) {
                raw.kind = KIND.into();
                raw.severity = Severity::High;
                raw.confidence = raw.confidence.max(0.9);
            }
        }
    }

    fn is_astray(&self, value: &str) -> bool {
        let value = value.rsplit(' ').next().unwrap_or(value);
        let set_for: Vec<&str> = self
            .facts
            .iter()
            .filter(|fact| fact.kind.starts_with("secret.") && *fact.value == *value)
            .filter_map(|fact| fact.host.as_deref())
            .collect();
        if !set_for.is_empty() {
            return !set_for.iter().any(|host| is_at(self.host, host));
        }
        let Some((_, hosts)) = self.issuers.iter().find(|(prefix, _)| value.starts_with(prefix.as_str())) else {
            return false;
        };
        if hosts.iter().any(|pattern| glob::host(pattern, self.host)) {
            return false;
        }
        let mut bases = self.facts.iter().filter(|fact| &*fact.kind == "api.base_host").peekable();
        // Without a base URL an unknown host may be a gateway that is meant to have it.
        if bases.peek().is_none() { self.known } else { !bases.any(|base| is_at(self.host, &base.value)) }
    }
}

/// Whether `host` is the host of `authority`, which may have a port.
fn is_at(host: &str, authority: &str) -> bool {
    let name = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    host.eq_ignore_ascii_case(name.map_or(authority, |(name, _)| name))
}

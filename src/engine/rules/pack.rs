//! A folder of rules: whose hosts they are about, and how its client is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{RuleError, Source};
use super::file::PackFile;
use super::glob;
use super::rule::{Check, Compiler, Pattern};
use crate::engine::audit::Request;

#[derive(Debug)]
pub struct Pack {
    pub id: Arc<str>,
    pub title: String,
    /// Yields to packs that know a client.
    pub generic: bool,
    /// `api.example.com`, `*.example.com`.
    pub hosts: Vec<String>,
    /// Those that serve telemetry alone.
    pub telemetry: Vec<String>,
    /// Telemetry services that any program may use: known, but decrypted only when asked for by name.
    pub shared_telemetry: Vec<String>,
    pub clients: Vec<ClientSign>,
    /// Names in other languages, and what they are called in rules.
    pub aliases: BTreeMap<String, String>,
    /// By the name of a member, what its numbers mean.
    pub labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Variables that point the client at another base URL.
    pub base_url: Vec<String>,
    /// Variables that the child needs beside the usual ones.
    pub environment: BTreeMap<String, String>,
    /// How what is said here is known.
    pub known_from: Vec<String>,
    /// What it speaks.
    pub wire: Vec<String>,
    /// Ways to trust a CA, and whether they work.
    pub trust: BTreeMap<String, String>,
    /// Switches against what is sent, and what each does.
    pub opt_out: BTreeMap<String, String>,
    /// Values that bind the body, and what an edit does to them.
    pub integrity: BTreeMap<String, String>,
    /// What goes around a proxy, and what helps.
    pub bypass: BTreeMap<String, String>,
    pub encrypted: Vec<Encrypted>,
}

/// What the client encrypts under a key of its own.
#[derive(Debug)]
pub struct Encrypted {
    url: Pattern,
    host: Option<String>,
    /// As locations are spelled, with all that stands inside.
    pub(super) location: String,
    pub how: String,
}

impl Encrypted {
    fn covers(&self, host: &str, path: &str, location: &str) -> bool {
        let inside = location.strip_prefix(self.location.as_str());
        inside.is_some_and(|rest| rest.is_empty() || rest.starts_with(['!', '@', '/']))
            && self.host.as_ref().is_none_or(|pattern| glob::host(pattern, host))
            && self.url.is_match(path)
    }
}

/// A header that only this client sends.
#[derive(Debug)]
pub struct ClientSign {
    pub header: String,
    pub value: Pattern,
}

impl Pack {
    /// A folder of rules without `pack.toml` is a pack without hosts, named after the folder.
    pub(crate) fn bare(id: &str) -> Self {
        Self {
            id: id.into(),
            title: id.to_owned(),
            generic: false,
            hosts: Vec::new(),
            telemetry: Vec::new(),
            shared_telemetry: Vec::new(),
            clients: Vec::new(),
            aliases: BTreeMap::new(),
            labels: BTreeMap::new(),
            base_url: Vec::new(),
            environment: BTreeMap::new(),
            known_from: Vec::new(),
            wire: Vec::new(),
            trust: BTreeMap::new(),
            opt_out: BTreeMap::new(),
            integrity: BTreeMap::new(),
            bypass: BTreeMap::new(),
            encrypted: Vec::new(),
        }
    }

    pub(crate) fn read(source: Source<'_>, check: Check) -> Result<Self, RuleError> {
        let file = PackFile::read(source)?;
        let compiler = Compiler { source, check };
        let mut pack = Self::bare(file.id.get_ref());
        pack.title = file.title.into_inner();
        pack.generic = file.generic;
        for (from, to) in [
            (file.hosts, &mut pack.hosts),
            (file.telemetry, &mut pack.telemetry),
            (file.shared_telemetry, &mut pack.shared_telemetry),
        ] {
            for host in from {
                let name = host.get_ref().strip_prefix("*.").unwrap_or(host.get_ref());
                let valid = name.contains('.')
                    && name.split('.').all(|label| !label.is_empty())
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte));
                if !valid {
                    let problem = format!("host \"{}\" is no host name", host.get_ref());
                    return Err(compiler.error(&host, problem, "\"api.example.com\" or \"*.example.com\""));
                }
                to.push(host.into_inner());
            }
        }
        for sign in file.client {
            let sign = sign.into_inner();
            let value = compiler.pattern(&sign.value)?;
            pack.clients.push(ClientSign { header: sign.header.into_inner().to_ascii_lowercase(), value });
        }
        pack.aliases = file.aliases;
        pack.labels = file.labels;
        pack.base_url = file.environment.base_url;
        pack.environment = file.environment.set;
        pack.known_from = file.known_from;
        pack.wire = file.wire;
        pack.trust = file.trust;
        pack.opt_out = file.opt_out;
        pack.integrity = file.integrity;
        pack.bypass = file.bypass;
        for sealed in file.encrypted {
            let root = sealed.location.get_ref().split(['!', ':']).next().unwrap_or_default();
            if !["path", "query", "header", "body", "ws"].contains(&root) {
                let problem = format!("location \"{}\" begins with no part of a request", sealed.location.get_ref());
                return Err(compiler.error(&sealed.location, problem, "\"body\" or \"body!json:/message\""));
            }
            pack.encrypted.push(Encrypted {
                url: compiler.pattern(&sealed.url)?,
                host: sealed.host.map(|host| host.into_inner()),
                location: sealed.location.into_inner(),
                how: sealed.how.into_inner(),
            });
        }
        Ok(pack)
    }

    /// How the bytes at `location` of a request are encrypted, where that is known.
    pub(crate) fn encryption(&self, host: &str, path: &str, location: &str) -> Option<&str> {
        self.encrypted.iter().find(|sealed| sealed.covers(host, path, location)).map(|sealed| sealed.how.as_str())
    }

    /// The version that `request` states, empty where it states none; `None` for another client.
    pub(crate) fn recognise(&self, request: &Request) -> Option<Option<String>> {
        self.clients.iter().find_map(|sign| {
            let value = std::str::from_utf8(request.head.get(&sign.header)?).ok()?;
            let captures = sign.value.regex()?.captures(value)?;
            Some(captures.name("version").map(|version| version.as_str().to_owned()))
        })
    }
}

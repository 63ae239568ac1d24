//! From settings to a gateway: who is let in, what groups get, which ports there are beside the first, where findings go.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;

use super::start::engine::{KeptPseudonyms, enforces, policy_of};
use super::start::{self, StartError, random, read};
use crate::access::{Access, AccessParts, JwtParts, Rates, Tokens, Users};
use crate::config::{GatewayOptions, Intercept, Options, SettingsError, address, ranges};
use crate::engine::Engine;
use crate::engine::line::hex;
use crate::gateway::sinks::{SinkAddress, SinkParts};
use crate::proxy::gate::{Gate, Group, Groups};
use crate::proxy::intake::IntakeSettings;
use crate::proxy::{Shared, listener};

/// Ports beside the proxy's own.
#[derive(Default)]
pub struct Doors {
    /// For connections that a rule of the system redirected.
    pub transparent: Option<TcpListener>,
    pub tproxy: Option<TcpListener>,
    pub admin: Option<TcpListener>,
}

impl Doors {
    pub fn open(options: &Options) -> Result<Self, StartError> {
        let gateway = &options.gateway;
        let bind = |option: &'static str, text: &Option<String>, transparent: bool| {
            let Some(text) = text else { return Ok(None) };
            let address = address(option, text)?;
            let bound = if transparent { listener::bind_transparent(address) } else { listener::bind(address) };
            bound.map(Some).map_err(|e| StartError::Wrong(format!("{option}: {e}")))
        };
        for (option, text) in [("--transparent", &gateway.transparent), ("--tproxy", &gateway.tproxy)] {
            let Some(text) = text else { continue };
            let beyond = !address(option, text)?.ip().is_loopback();
            if beyond && gateway.allow_from.is_empty() {
                let why = "connections that are redirected carry no credentials: say who may be redirected here by --allow-from CIDR";
                return Err(SettingsError::option(option, why).into());
            }
        }
        Ok(Self {
            transparent: bind("--transparent", &gateway.transparent, false)?,
            tproxy: bind("--tproxy", &gateway.tproxy, true)?,
            admin: bind("--admin", &gateway.admin, false)?,
        })
    }

    /// Where they listen.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        [&self.transparent, &self.tproxy, &self.admin].into_iter().flatten().filter_map(|door| door.local_addr().ok())
    }
}

/// What clients meet first. Groups come later, from [`groups`].
pub fn gate(options: &Options, digest_key: [u8; 32]) -> Result<Gate, StartError> {
    let gateway = &options.gateway;
    Ok(Gate {
        access: ArcSwap::from_pointee(access(gateway)?),
        groups: ArcSwap::default(),
        shown: gateway.identity.unwrap_or_default(),
        digest_key,
        balancers: ranges("--proxy-protocol-from", &gateway.proxy_protocol_from)?,
        tls: ArcSwap::from_pointee(tls(gateway)?),
        reverse: gateway.reverse,
        pac_proxy: gateway.pac_proxy.clone(),
    })
}

/// Who may use the proxy, from the files that the settings name.
pub fn access(gateway: &GatewayOptions) -> Result<Access, StartError> {
    let wrong = |option: &str, why: String| StartError::Wrong(format!("{option}: {why}"));
    let users = match &gateway.users {
        None => None,
        Some(path) => {
            let users = Users::parse(&path.display().to_string(), &read(path)?);
            Some(users.map_err(|e| wrong("--users", e.to_string()))?)
        }
    };
    let tokens = match &gateway.jwks {
        None => None,
        Some(path) => {
            let parts = JwtParts {
                file: &path.display().to_string(),
                text: &read(path)?,
                issuer: gateway.jwt_issuer.as_deref(),
                audience: gateway.jwt_audience.as_deref(),
                groups: gateway.jwt_groups.as_deref().unwrap_or("groups"),
                name: gateway.jwt_name.as_deref().unwrap_or("sub"),
            };
            Some(Tokens::new(parts).map_err(|e| wrong("--jwks", e.to_string()))?)
        }
    };
    Ok(Access::new(AccessParts {
        sources: ranges("--allow-from", &gateway.allow_from)?,
        users,
        tokens,
        certificates: gateway.client_ca.is_some(),
        key: random(),
    }))
}

/// TLS to the proxy itself. A client certificate is asked for where there is a CA to judge it by, and is never the only way.
pub fn tls(gateway: &GatewayOptions) -> Result<Option<Arc<rustls::ServerConfig>>, StartError> {
    let (Some(chain), Some(key)) = (&gateway.tls_cert, &gateway.tls_key) else {
        if gateway.tls_cert.is_some() || gateway.tls_key.is_some() || gateway.client_ca.is_some() {
            let why = "needs both --tls-cert and --tls-key, the certificate that the proxy shows itself";
            return Err(SettingsError::option("--tls-cert", why).into());
        }
        return Ok(None);
    };
    let wrong = |option: &str, path: &Path, why: &dyn std::fmt::Display| {
        StartError::Wrong(format!("{option}: {}: {why}", path.display()))
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("--tls-cert", chain, &e))?;
    let builder = match &gateway.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates("--client-ca", path)? {
                roots.add(certificate).map_err(|e| wrong("--client-ca", path, &e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|e| wrong("--client-ca", path, &e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong("--tls-key", key, &e))?;
    let mut config = builder
        .with_single_cert(certificates("--tls-cert", chain)?, private)
        .map_err(|e| wrong("--tls-cert", chain, &e))?;
    // A client of a proxy speaks HTTP/1.1 to it, whatever its tunnels carry.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let wrong =
        |why: String| StartError::Wrong(format!("{option}: {}: {why}; expected PEM certificates", path.display()));
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?;
    let list = read.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(e.to_string()))?;
    if list.is_empty() { Err(wrong("holds no certificate".into())) } else { Ok(list) }
}

/// What differs for the groups that the settings name. Groups of one policy share one engine.
pub fn groups(
    options: &Options,
    shared: &Shared,
    current: &Arc<Engine>,
    kept: &mut KeptPseudonyms,
) -> Result<Groups, StartError> {
    let mut engines = HashMap::new();
    let mut groups = Groups::new();
    for (name, settings) in &options.group {
        let in_group = |error: StartError| StartError::Wrong(format!("group.{name}: {error}"));
        let engine = match &settings.policy {
            None => current.clone(),
            Some(policy) => match engines.get(policy) {
                Some(engine) => Arc::clone(engine),
                None => {
                    let parsed = policy_of(policy).map_err(in_group)?;
                    let own = Options { policy: Some(policy.clone()), ..options.clone() };
                    let facts = start::engine::facts(options)?;
                    let engine = start::engine::engine_of(&own, parsed, shared.gate.digest_key, facts, kept)
                        .map_err(in_group)?;
                    let engine = Arc::new(engine.with_templates(current.templates(), true));
                    engines.insert(policy.clone(), engine.clone());
                    engine
                }
            },
        };
        let intake = IntakeSettings {
            on_error: options.on_error(enforces(engine.policy())),
            tape: shared.intake.tape.clone().map(|tape| match settings.record_bodies {
                Some(asked) => tape.keeping(start::bodies(asked)),
                None => tape,
            }),
            ..shared.intake.clone()
        };
        let list: Vec<Intercept> = settings.intercept.iter().map(|text| Intercept::parse(text)).collect();
        let intercept = (!list.is_empty()).then_some(list);
        let rates = settings.requests_per_minute.map(Rates::new);
        groups.insert(name.as_str().into(), Arc::new(Group { engine, intake, intercept, rates }));
    }
    Ok(groups)
}

/// Where findings go as well.
pub fn sinks(options: &Options) -> Result<Vec<SinkAddress>, StartError> {
    Ok(options.gateway.sink.iter().map(|text| SinkAddress::parse(text)).collect::<Result<_, _>>()?)
}

/// What sinks need to reach their places: TLS as to upstreams, with `--upstream-ca`.
pub fn sink_parts(options: &Options) -> Result<SinkParts, StartError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(start::upstreams::roots(options)?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| StartError::Wrong(format!("TLS: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "-".into());
    let instance = hex(&random::<16>());
    Ok(SinkParts { tls: Arc::new(config), host, instance })
}

/// Mirrors the fleet's policies and rules, where the settings name a bucket. What is on the disk counts until then.
#[cfg(feature = "fleet")]
pub async fn follow_fleet(options: &Options, state: &Path) -> Result<(), StartError> {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
    let Some(text) = &options.gateway.fleet else { return Ok(()) };
    let SinkAddress::Nats(from) = SinkAddress::parse(text)? else {
        return Err(SettingsError::option("--fleet", "expected nats://HOST:PORT/BUCKET").into());
    };
    let (tls, folder) = (sink_parts(options)?.tls, state.join("fleet"));
    crate::ca::files::private_dir(state).map_err(|e| StartError::Wrong(e.to_string()))?;
    // Before the settings that name what is in there are read; where the cluster is away, what is on the disk serves.
    let first = tokio::time::timeout(PATIENCE, crate::gateway::fleet::fetch(&from, &tls, &folder)).await;
    if !matches!(first, Ok(Ok(()))) {
        tracing::warn!(
            bucket = from.subject,
            "the fleet's policies cannot be fetched; beginning with those on the disk"
        );
    }
    tokio::spawn(crate::gateway::fleet::follow(from, tls, folder));
    Ok(())
}

#[cfg(not(feature = "fleet"))]
pub async fn follow_fleet(options: &Options, _: &Path) -> Result<(), StartError> {
    match &options.gateway.fleet {
        None => Ok(()),
        Some(_) => {
            Err(SettingsError::option("--fleet", "this build has no NATS: build it with `--features fleet`").into())
        }
    }
}

/// The files that a reload reads, as they are now: another picture means that something was changed.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Picture(Vec<(PathBuf, Option<Look>)>);

/// Length, time of the last change, and number of a file.
type Look = (u64, std::time::SystemTime, u64);

impl Picture {
    /// Of the files that `options` and the settings file `config` name.
    pub fn of(options: &Options, config: Option<&Path>) -> Self {
        let gateway = &options.gateway;
        let policies = options.policy.iter().chain(options.group.values().filter_map(|group| group.policy.as_ref()));
        let policies =
            policies.filter(|policy| crate::engine::policy::Policy::preset(policy).is_none()).map(PathBuf::from);
        let named = [
            &options.facts,
            &options.aliases,
            &options.ca_cert,
            &options.ca_key,
            &gateway.users,
            &gateway.jwks,
            &gateway.tls_cert,
            &gateway.tls_key,
            &gateway.client_ca,
        ];
        let mut files: Vec<PathBuf> = named.into_iter().flatten().cloned().chain(policies).collect();
        files.extend(config.map(Path::to_owned).or_else(crate::config::default_config_file));
        files.extend(options.crl.iter().cloned());
        if let (None, Ok(state)) = (&options.ca_cert, options.state_dir()) {
            files.extend(["ca.pem", "ca-next.pem"].map(|name| state.join(name)));
        }
        let mut folders = options.rules.clone();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files.sort();
        Self(files.into_iter().map(|path| (look(&path), path)).map(|(seen, path)| (path, seen)).collect())
    }
}

/// Size, time of change, and which file it is: a link may lead to another one by now.
fn look(path: &Path) -> Option<(u64, std::time::SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let node = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let node = 0;
    Some((found.len(), found.modified().ok()?, node))
}

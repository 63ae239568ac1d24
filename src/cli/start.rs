//! From settings to a proxy that is ready to accept: what `run` and `serve` have in common.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::net::TcpListener;

use super::gateway::{self, Doors};
use crate::ca::Authority;
use crate::config::{
    DialPolicy, GatewayOptions, Groups, Intercept, Options, RecordBodies, SettingsError, UpstreamProxy,
};
use crate::engine::Vault;
use crate::engine::facts::{Fact, Facts};
use crate::engine::policy::{Mode, PRESETS, Policy};
use crate::engine::pseudonym::{Alias, parse_aliases};
use crate::engine::rules::{PackSource, RuleSet};
use crate::engine::{DecodeLimits, Engine, EngineParts};
use crate::gateway::sinks::SinkAddress;
use crate::gateway::spool::{self, Spool};
use crate::gateway::systemd;
use crate::inventory::Inventory;
use crate::learning;
use crate::proxy::upstream::{Dialer, DialerParts};
use crate::proxy::verify::{Crl, TrustParts, UpstreamVerifier};
use crate::proxy::{Shared, SharedParts, listener};
use crate::pseudonyms::{KeepError, Kept, secret_file};
use crate::record::{self, RecordKeeper, RecorderParts};
use crate::recording::{self, Bodies, SessionTape};
use crate::replay::Recorded;

/// Why the proxy could not be started. All of it is wrong usage, settings or surroundings: exit status 2.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{0}")]
    Wrong(String),
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

impl StartError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// A proxy that listens.
pub struct Started {
    pub shared: Arc<Shared>,
    pub listener: TcpListener,
    /// The other ports, where the settings name any.
    pub doors: Doors,
    /// Where findings go as well, and what waits for that.
    pub sinks: Vec<SinkAddress>,
    pub spool: Option<Arc<Spool>>,
    pub address: SocketAddr,
    pub keeper: RecordKeeper,
    pub policy: String,
    pub digest_key: [u8; 32],
    pub kept: KeptPseudonyms,
}

pub struct Plan {
    pub listen: SocketAddr,
    pub intercept: Intercept,
    /// Add up what is seen, for a summary.
    pub tally: bool,
    /// Keep what is learned about clients in the state folder.
    pub keep: bool,
    /// Be what the tables `gateway` and `group` of the settings say.
    pub gateway: bool,
    /// A recording that answers in the place of every upstream.
    pub recorded: Option<Arc<Recorded>>,
    /// The tree whose files are looked for in what is sent.
    pub inventory: Option<PathBuf>,
}

/// The pseudonyms of the state folder, from when a policy first asks for some.
#[derive(Default)]
pub struct KeptPseudonyms(Option<Kept>);

impl KeptPseudonyms {
    /// The vault that `policy` needs, with the pairs of `--aliases`; none for a policy without pseudonyms.
    pub fn vault(
        &mut self,
        options: &Options,
        policy: &Policy,
        aliases: &Aliases,
    ) -> Result<Option<Arc<Vault>>, StartError> {
        if !policy.may_restore() {
            return Ok(None);
        }
        if self.0.is_none() {
            let state = options.state_dir()?;
            let wrong = |error: KeepError| StartError::Wrong(format!("pseudonyms: {}", said(&error)));
            let secret = secret_file(&state).map_err(wrong)?;
            let secret = kept_key(&state, &secret).map_err(|source| {
                let what = format!("pseudonyms: {} can be neither read nor made: {source}", secret.display());
                StartError::Wrong(what)
            })?;
            self.0 = Some(Kept::open(&state, secret).map_err(wrong)?);
        }
        let Some(kept) = &self.0 else { return Ok(None) };
        kept.vault().pin(&aliases.file, &aliases.list).map_err(|e| StartError::Wrong(e.to_string()))?;
        Ok(Some(kept.vault().clone()))
    }

    /// Saves what was added.
    pub fn finish(&self) {
        if let Some(kept) = &self.0 {
            kept.finish();
        }
    }

    /// What became of pseudonyms in answers, for a summary; none where there was nothing to do.
    pub fn note(&self) -> Option<String> {
        let (restored, unrestored, withheld) = self.0.as_ref()?.vault().counted();
        let mut note = format!("pseudonyms: {restored} put back in answers, {unrestored} seen by the assistant");
        if withheld > 0 {
            note.push_str(&format!(" ({withheld} of them kept out of tool calls to other hosts)"));
        }
        (restored + unrestored > 0).then_some(note)
    }
}

/// An error with what caused it.
fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What `--aliases` says.
#[derive(Default)]
pub struct Aliases {
    file: String,
    list: Vec<Alias>,
}

impl Aliases {
    pub fn read(options: &Options) -> Result<Self, StartError> {
        let Some(path) = &options.aliases else { return Ok(Self::default()) };
        let file = path.display().to_string();
        let list = parse_aliases(&file, &read(path)?).map_err(|e| StartError::Wrong(e.to_string()))?;
        Ok(Self { file, list })
    }

    /// Their real values are looked for like those of the machine.
    pub fn among(&self, facts: Facts) -> Facts {
        if self.list.is_empty() {
            return facts;
        }
        let own = self.list.iter().map(|alias| Fact::new(&alias.kind, &alias.real));
        Facts::new(facts.list().iter().cloned().chain(own).collect())
    }
}

/// Everything that a snapshot of the engine is made of, read from the files that the settings name.
pub fn engine(options: &Options, digest_key: [u8; 32], kept: &mut KeptPseudonyms) -> Result<Engine, StartError> {
    engine_with(options, digest_key, facts(options)?, kept)
}

/// Those of `--facts`, else of this machine.
pub(super) fn facts(options: &Options) -> Result<Facts, StartError> {
    match &options.facts {
        Some(path) => {
            let text = read(path)?;
            Facts::parse(&path.display().to_string(), &text).map_err(|e| StartError::Wrong(e.to_string()))
        }
        None => {
            let own = crate::facts::collect().into_iter().map(|(kind, value)| Fact::new(&kind, &value));
            let credentials = crate::facts::credentials().into_iter().map(|credential| Fact {
                host: Some(credential.host.as_str().into()),
                ..Fact::new("secret.api_key", &credential.value)
            });
            Ok(Facts::new(own.chain(credentials).collect()))
        }
    }
}

/// The same with facts from elsewhere.
pub fn engine_with(
    options: &Options,
    digest_key: [u8; 32],
    facts: Facts,
    kept: &mut KeptPseudonyms,
) -> Result<Engine, StartError> {
    let policy = policy(options)?;
    engine_of(options, policy, digest_key, facts, kept)
}

/// The same with another policy than the settings' own.
pub(super) fn engine_of(
    options: &Options,
    policy: Policy,
    digest_key: [u8; 32],
    facts: Facts,
    kept: &mut KeptPseudonyms,
) -> Result<Engine, StartError> {
    for warning in policy.warnings() {
        tracing::warn!("{warning}");
    }
    let aliases = Aliases::read(options)?;
    let vault = kept.vault(options, &policy, &aliases)?;
    let engine = Engine::new(EngineParts {
        rules: rules(options)?,
        facts: aliases.among(facts),
        on_error: options.on_error(enforces(&policy)),
        policy,
        digest_key,
        limits: DecodeLimits::default(),
    });
    Ok(match vault {
        Some(vault) => engine.with_vault(vault),
        None => engine,
    })
}

/// Whether the policy is one that `--on-error` closes by default: any but `audit`, and any that only reports.
pub(super) fn enforces(policy: &Policy) -> bool {
    policy.mode() == Mode::Enforce && policy.name() != "audit"
}

pub fn policy(options: &Options) -> Result<Policy, StartError> {
    policy_of(options.policy.as_deref().unwrap_or("audit"))
}

/// A preset by its name, or a file.
pub(super) fn policy_of(name: &str) -> Result<Policy, StartError> {
    if let Some(preset) = Policy::preset(name) {
        return Ok(preset);
    }
    let path = Path::new(name);
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = if name.contains(['/', '.']) { "" } else { "; the built-in ones are audit, balanced and strict" };
        StartError::Wrong(format!("--policy: {name} cannot be read: {error}{hint}"))
    })?;
    Policy::parse(name, &text).map_err(|e| StartError::Wrong(e.to_string()))
}

pub fn rules(options: &Options) -> Result<RuleSet, StartError> {
    rules_of(&options.rules)
}

/// The built-in packs, and those in `folders` beside them.
pub fn rules_of(folders: &[PathBuf]) -> Result<RuleSet, StartError> {
    if folders.is_empty() {
        return Ok(RuleSet::builtin());
    }
    let files = rule_files(folders)?;
    let sources: Vec<PackSource<'_>> = files.iter().map(|(name, text)| PackSource { name, text }).collect();
    RuleSet::load(&sources).map_err(|e| StartError::Wrong(e.to_string()))
}

/// The TOML files of the folders, each with its path, in a fixed order.
fn rule_files(folders: &[PathBuf]) -> Result<Vec<(String, String)>, StartError> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = folders.to_vec();
    while let Some(folder) = open.pop() {
        let wrong = |e: io::Error| StartError::Wrong(format!("--rules: {}: cannot be read: {e}", folder.display()));
        for entry in std::fs::read_dir(&folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                files.push((path.display().to_string(), read(&path)?));
            }
        }
    }
    if files.is_empty() {
        let list: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(StartError::Wrong(format!("--rules: {}: no rule files (*.toml) there", list.join(", "))));
    }
    files.sort();
    Ok(files)
}

pub(super) fn read(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(|e| StartError::Wrong(format!("{}: cannot be read: {e}", path.display())))
}

/// Builds the proxy and binds its port. Must be called within the runtime.
pub fn start(options: &Options, plan: Plan, authority: impl Into<Arc<Authority>>) -> Result<Started, StartError> {
    let authority = authority.into();
    let private;
    let options = if plan.gateway {
        options
    } else {
        private = Options { gateway: GatewayOptions::default(), group: Groups::new(), ..options.clone() };
        &private
    };
    let passed = if plan.gateway { systemd::passed_socket() } else { None };
    let listen = match &passed {
        Some(socket) => socket.local_addr().map_err(StartError::io("the socket of the service manager"))?,
        None => options.listen(plan.listen)?,
    };
    options.gateway.check_open(listen)?;
    let digest_key = digest_key(&options.state_dir()?);
    let file = options.state_dir()?.join("templates.json");
    let templates = learning::load(&file);
    let mut kept = KeptPseudonyms::default();
    let engine = engine(options, digest_key, &mut kept)?.with_templates(Arc::new(templates.clone()), true);
    let policy = engine.policy().name().to_owned();
    let on_error = options.on_error(enforces(engine.policy()));
    let listener = match passed {
        Some(socket) => {
            let adopted = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
            adopted.map_err(StartError::io("the socket of the service manager"))?
        }
        None => listener::bind(listen).map_err(|e| StartError::Wrong(format!("--listen: {e}")))?,
    };
    let address = listener.local_addr().map_err(StartError::io("the listening address"))?;
    let deadlines = options.deadlines()?;
    let addresses = DialPolicy::parse(options, address)?;
    let doors = Doors::open(options)?;
    let own = std::iter::once(address).chain(doors.addresses()).collect();
    let dialer = dialer_with(options, own, addresses, verifier(options, Some(&authority))?, plan.recorded)?;
    let engine = Arc::new(engine);
    let gate = gateway::gate(options, digest_key)?;
    let session = session_id();
    let tape = tape(options, &session, &engine, inventory(plan.inventory.as_deref(), &digest_key)?)?;
    let sinks = gateway::sinks(options)?;
    let (spool, spool_writer) = match sinks.is_empty() {
        true => (None, None),
        false => {
            let opened = spool::open(&options.state_dir()?.join("spool"), options.gateway.spool_limit());
            let (spool, writer) = opened.map_err(StartError::io("the spool of findings"))?;
            (Some(spool), Some(writer))
        }
    };
    let (recorder, keeper) = record::start(RecorderParts {
        session,
        tape: tape.clone(),
        spool: spool_writer,
        findings: options.findings.clone(),
        reveal: options.reveal,
        digest_key,
        tally: plan.tally,
    })
    .map_err(|e| {
        let path = options.findings.as_deref().unwrap_or(Path::new("-"));
        StartError::Wrong(format!("--findings: {} cannot be written: {e}", path.display()))
    })?;
    let (learner, lessons) = learning::queue();
    let shared = Arc::new(Shared::new(SharedParts {
        engine,
        authority,
        dialer,
        recorder,
        intercept: options.intercept(plan.intercept)?,
        deadlines,
        body_limit: options.body_limit()?.0,
        inspections: options.inspections()?,
        on_error,
        reveal: options.reveal,
        learner,
        tape,
        gate,
    }));
    let groups = gateway::groups(options, &shared, &shared.engine.load_full(), &mut kept)?;
    shared.gate.groups.store(Arc::new(groups));
    let audited = Arc::downgrade(&shared);
    let publish = move |templates| {
        if let Some(shared) = audited.upgrade() {
            for group in shared.gate.groups.load().values() {
                group.engine.set_templates(Arc::clone(&templates));
            }
            shared.engine.load().set_templates(templates);
        }
    };
    lessons.start(templates, plan.keep.then_some(file), publish).map_err(StartError::io("the learner"))?;
    Ok(Started { shared, listener, doors, sinks, spool, address, keeper, policy, digest_key, kept })
}

/// What connects to upstreams, for commands that are no proxy.
pub fn dialer(
    options: &Options,
    own: SocketAddr,
    addresses: DialPolicy,
    recorded: Option<Arc<Recorded>>,
) -> Result<Dialer, StartError> {
    dialer_with(options, vec![own], addresses, verifier(options, None)?, recorded)
}

fn dialer_with(
    options: &Options,
    own: Vec<SocketAddr>,
    addresses: DialPolicy,
    verifier: UpstreamVerifier,
    recorded: Option<Arc<Recorded>>,
) -> Result<Dialer, StartError> {
    let exceptions = options.allow_untrusted()?;
    for exception in &exceptions {
        tracing::warn!(host = %exception.host, until = %exception.until, "certificates of this host are not believed and used all the same");
    }
    Dialer::new(DialerParts {
        verifier,
        exceptions,
        connect_to: options.connect_to()?,
        parent: options.upstream_proxy.as_deref().map(str::parse::<UpstreamProxy>).transpose()?,
        addresses,
        own,
        deadline: options.deadlines()?.connect,
        offline: options.offline,
        recorded,
    })
    .map_err(|e| StartError::Wrong(format!("TLS: {e}")))
}

/// Whom upstreams are trusted by: the platform's roots and those of `--upstream-ca`, less what lists revoke, and
/// never a CA whose key is ours.
fn verifier(options: &Options, authority: Option<&Authority>) -> Result<UpstreamVerifier, StartError> {
    let mut own: Vec<_> =
        authority.and_then(|authority| authority.certificates().first().cloned()).into_iter().collect();
    // `run` has a CA of its own in memory, but its user may have installed that of `serve`. One that cannot be read is
    // shown to no client either.
    if let Ok(Some((certificate, _))) = Authority::certificate_in(&options.state_dir()?) {
        own.push(certificate);
    }
    if let Ok(Some(next)) = Authority::next(&options.state_dir()?) {
        own.push(next.certificate);
    }
    Ok(UpstreamVerifier::new(TrustParts { roots: roots(options)?, own, crls: crls(options)? }))
}

/// The revocation lists of `--crl`. One that has expired is told of; what it revokes stays revoked.
pub fn crls(options: &Options) -> Result<Vec<Crl>, StartError> {
    let mut lists = Vec::new();
    for path in &options.crl {
        let read = Crl::load(path);
        lists.extend(read.map_err(|e| StartError::Wrong(format!("--crl: {}: {e}", path.display())))?);
    }
    for list in lists.iter().filter(|list| list.is_expired(UnixTime::now())) {
        tracing::warn!(
            file = list.file(),
            "the revocation list has expired: certificates of its issuer are refused until there is a newer one"
        );
    }
    Ok(lists)
}

/// What `--inventory` asks for.
pub fn inventory(tree: Option<&Path>, key: &[u8; 32]) -> Result<Option<Inventory>, StartError> {
    let begun = tree.map(|tree| {
        Inventory::begin(tree, key).map_err(|e| StartError::Wrong(format!("--inventory: {}: {e}", tree.display())))
    });
    begun.transpose()
}

/// A recording that nobody asked to keep: the inventory sees what passes, the file holds no bodies and is gone with us.
fn passing_tape(
    options: &Options,
    session: &str,
    engine: &Arc<Engine>,
    inventory: Inventory,
) -> Result<SessionTape, StartError> {
    let folder = tempfile::tempdir().map_err(StartError::io("a folder for what passes"))?;
    let plan = recording::Plan {
        file: folder.path().join("session"),
        bodies: Bodies::None,
        most_bytes: u64::MAX,
        most_age: std::time::Duration::MAX,
        session: session.to_owned(),
        policy: engine.policy().name().to_owned(),
        policy_text: String::new(),
        required: false,
        engine: engine.clone(),
        inventory: Some(inventory),
    };
    let limit = options.body_limit()?.0;
    recording::start(plan, limit).map_err(|e| StartError::Wrong(e.to_string()))
}

pub(super) fn bodies(asked: RecordBodies) -> Bodies {
    match asked {
        RecordBodies::Masked => Bodies::Masked,
        RecordBodies::Full => Bodies::Full,
        RecordBodies::None => Bodies::None,
    }
}

/// What `--record` asks for.
fn tape(
    options: &Options,
    session: &str,
    engine: &Arc<Engine>,
    inventory: Option<Inventory>,
) -> Result<Option<SessionTape>, StartError> {
    let Some(file) = &options.record else {
        return inventory.map(|inventory| passing_tape(options, session, engine, inventory)).transpose();
    };
    let bodies = bodies(options.record_bodies.unwrap_or_default());
    let full = |bodies: Option<RecordBodies>| bodies == Some(RecordBodies::Full);
    if full(options.record_bodies) || options.group.values().any(|group| full(group.record_bodies)) {
        tracing::warn!(file = %file.display(), "everything is recorded as it is sent, credentials too: keep this file as you would keep them");
    }
    let name = options.policy.as_deref().unwrap_or("audit");
    let preset = PRESETS.iter().find(|(preset, _)| *preset == name).map(|(_, text)| (*text).to_owned());
    let policy_text = match preset {
        Some(text) => text,
        None => read(Path::new(name))?,
    };
    const DAY: u64 = 24 * 60 * 60;
    let plan = recording::Plan {
        file: file.clone(),
        bodies,
        most_bytes: options.record_limit.unwrap_or(1 << 30),
        most_age: std::time::Duration::from_secs(options.record_age.unwrap_or(30).saturating_mul(DAY)),
        session: session.to_owned(),
        policy: engine.policy().name().to_owned(),
        policy_text,
        required: options.record_required,
        engine: engine.clone(),
        inventory,
    };
    let limit = options.body_limit()?.0;
    recording::start(plan, limit).map(Some).map_err(|e| StartError::Wrong(e.to_string()))
}

/// The platform's roots and those of `--upstream-ca`.
pub(super) fn roots(options: &Options) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let mut roots = Vec::new();
    if !options.offline || !options.connect_to.is_empty() {
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::debug!(%error, "a platform root could not be read");
        }
        // Another divulge's CA on this machine speaks for clients; whoever chains two of them says so by
        // `--upstream-ca`.
        roots.extend(native.certs.into_iter().filter(|root| !crate::ca::is_one_of_ours(root)));
        if roots.is_empty() && options.upstream_ca.is_none() && !options.offline {
            tracing::warn!(
                "this system has no root certificates: install them (Debian: ca-certificates) or name some with --upstream-ca"
            );
        }
    }
    if let Some(path) = &options.upstream_ca {
        for certificate in certificates(path)? {
            webpki::anchor_from_trusted_cert(&certificate).map_err(|e| {
                StartError::Wrong(format!(
                    "--upstream-ca: {}: a certificate cannot be used as root: {e}",
                    path.display()
                ))
            })?;
            roots.push(certificate);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let wrong =
        |why: String| StartError::Wrong(format!("--upstream-ca: {}: {why}; expected PEM certificates", path.display()));
    let pem = std::fs::read(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(wrong("holds no certificate".into())),
        Err(error) => Err(wrong(format!("{error}"))),
    }
}

/// The key of `value_hmac`, one per state folder. Where it cannot be kept, values are comparable within this
/// process only.
pub(super) fn digest_key(state: &Path) -> [u8; 32] {
    kept_key(state, &state.join("digest-secret")).unwrap_or_else(|error| {
        tracing::warn!(state = %state.display(), %error, "the digest key cannot be kept; value_hmac is comparable within this run only");
        random()
    })
}

/// The 32 bytes of the key file `path` in the state folder, drawn where there is none yet.
fn kept_key(state: &Path, path: &Path) -> io::Result<[u8; 32]> {
    crate::ca::files::private_dir(state).map_err(io::Error::other)?;
    for _ in 0..2 {
        match std::fs::read(path) {
            Ok(bytes) => {
                return bytes.try_into().map_err(|_| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{} is not 32 bytes; remove it", path.display()))
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Written whole and then linked: of two that race, both read the first.
        let mut file = tempfile::Builder::new().prefix(".digest-").tempfile_in(state)?;
        io::Write::write_all(&mut file, &random::<32>())?;
        match file.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
    }
    Err(io::Error::other("the digest key vanished while it was read"))
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // Without randomness there can be no TLS either: nothing sensible could follow.
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// `20261123T004512-1f3a9c04`
pub(super) fn session_id() -> String {
    let stamp = record::timestamp(std::time::SystemTime::now());
    let stamp: String = stamp.chars().filter(|c| c.is_ascii_alphanumeric()).take(15).collect();
    let tail: String = random::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{stamp}-{tail}")
}

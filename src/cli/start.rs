//! From settings to a proxy that is ready to accept: what `run` and `serve` have in common.

pub(super) mod engine;
pub(super) mod upstreams;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;

use self::engine::{KeptPseudonyms, enforces, engine};
use self::upstreams::{dialer_with, verifier};
use super::gateway::{self, Doors};
use crate::ca::Authority;
use crate::config::{DialPolicy, GatewayOptions, Groups, Intercept, Options, RecordBodies, SettingsError};
use crate::engine::Engine;
use crate::engine::policy::PRESETS;
use crate::gateway::sinks::SinkAddress;
use crate::gateway::spool::{self, Spool};
use crate::gateway::systemd;
use crate::inventory::Inventory;
use crate::learning;
use crate::proxy::{Shared, SharedParts, listener};
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

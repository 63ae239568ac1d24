//! `divulge serve`: the proxy that stays.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::gateway::Picture;
use super::start::engine::KeptPseudonyms;
use super::start::{self, Plan, StartError, Started};
use super::{ConfigFile, INCOMPLETE, WRONG_USAGE, fail, gateway, start_log};
use crate::access::Access;
use crate::ca::{Authority, Scope};
use crate::config::{GatewayOptions, Intercept, Options, SettingsError};
use crate::engine::Engine;
use crate::gateway::admin::{self, Admin, AdminParts};
use crate::gateway::{sinks, systemd};
use crate::proxy::gate::Groups;
use crate::proxy::transparent::{self, Rule};
use crate::proxy::verify::Crl;
use crate::proxy::{Shared, listener};
use crate::recording::SessionTape;

/// How long sinks may take what is left at the end.
const LAST_DELIVERY: Duration = Duration::from_secs(5);
/// How often files are looked at: a change counts within twice this time.
const LOOK: Duration = Duration::from_millis(800);
/// For so long a file that changed has to stay as it is.
const SETTLED: Duration = Duration::from_millis(150);

/// A long-lived proxy with a CA of its own: the system proxy of one user. Decrypts only the hosts of the
/// rule packs unless told otherwise; the rest is tunnelled unread and counted.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge serve\n  divulge serve --policy balanced --findings findings.jsonl\n  divulge ca install        (so that programs trust it)\n\nPrints `listening on ADDR:PORT` on standard output when ready. Settings, policies, rules, users, facts and revocation\nlists are read again when their files change and on SIGHUP; what is wrong in them keeps the old state.\nSIGTERM and Ctrl-C let requests finish for --drain seconds, a second one stops at once."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    gateway: GatewayOptions,
}

impl Args {
    /// What command line, environment and settings file say together.
    fn options(&self) -> Result<Options, SettingsError> {
        Options { gateway: self.gateway.clone(), ..self.options.clone() }.with_file(self.config.config.as_deref())
    }
}

pub fn run(args: Args) -> ExitCode {
    let options = match args.options() {
        Ok(options) => options,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    start_log(&options);
    crate::ca::protect_memory();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(INCOMPLETE, &error),
    };
    let code = runtime.block_on(serve(args, options));
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

async fn serve(args: Args, options: Options) -> ExitCode {
    let began = Instant::now();
    let state = match options.state_dir() {
        Ok(state) => state,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    // First of all: the CA is made for the hosts of all packs, and some may be the fleet's.
    if let Err(error) = gateway::follow_fleet(&options, &state).await {
        return fail(WRONG_USAGE, &error);
    }
    let authority = match authority(&options, &state) {
        Ok(authority) => authority,
        Err(error) => return fail(WRONG_USAGE, error.as_ref()),
    };
    // Before anything is read: what changes meanwhile counts as a change.
    let mut changes = Changes::watch(&args);
    let plan = Plan {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        intercept: Intercept::Ai,
        tally: false,
        keep: true,
        gateway: true,
        recorded: None,
        inventory: None,
    };
    let started = match start::start(&options, plan, authority) {
        Ok(started) => started,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let Started { shared, listener, doors, sinks: addresses, spool, address, keeper, policy, digest_key, mut kept } =
        started;
    let viewers = Viewers::open(&state, &shared, address, &policy, began);
    let mut signals = Signals::watch();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let accepting = tokio::spawn(listener::run(shared.clone(), listener, async {
        let _ = stopped.await;
    }));
    for (door, rule) in [(doors.transparent, Rule::Redirect), (doors.tproxy, Rule::Tproxy)] {
        let Some(door) = door else { continue };
        if let Ok(address) = door.local_addr() {
            println!("redirected connections on {address}");
        }
        tokio::spawn(transparent::run(shared.clone(), door, rule));
    }
    let parts = gateway::sink_parts(&options);
    let metrics = &shared.recorder.metrics;
    let (sent, reports) = match (&spool, parts) {
        (None, _) => Default::default(),
        (Some(spool), parts) => match parts.and_then(|parts| {
            Ok((sinks::start(&addresses, &parts, spool)?, sinks::report(&addresses, &parts, metrics)?))
        }) {
            Ok(started) => started,
            Err(error) => return fail(WRONG_USAGE, &error),
        },
    };
    let ready = Arc::new(AtomicBool::new(true));
    if let Some(door) = doors.admin {
        let token = match admin::token(&state) {
            Ok(token) => token,
            Err(error) => return fail(WRONG_USAGE, &error),
        };
        if let Ok(address) = door.local_addr() {
            println!("admin on {address}");
        }
        let hosts = options.gateway.admin_host.clone();
        let parts = AdminParts { shared: shared.clone(), token, hosts, sinks: sent.clone(), ready: ready.clone() };
        tokio::spawn(Admin::new(parts).serve(door));
    }
    println!("listening on {address}");
    let _ = io::stdout().flush();
    tracing::info!(%address, policy, state = %state.display(), "divulge serves; it decrypts the hosts asked for and tunnels the rest");
    systemd::notify("READY=1");
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = changes.next(&args) => Signal::Reload,
        };
        if let Signal::Stop = signal {
            break;
        }
        systemd::reloading();
        // Looked at first: what is changed while it is read counts as a change.
        changes = Changes::watch(&args);
        reload(&args, &shared, digest_key, &mut kept);
        systemd::notify("READY=1");
    }
    ready.store(false, Ordering::Relaxed);
    systemd::notify("STOPPING=1");
    let _ = stop.send(());
    let _ = accepting.await;
    let drained = async {
        while shared.recorder.counters.active.load(Ordering::Relaxed) > 0 || shared.recorder.metrics.tunnels.get() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(options.gateway.drain(), drained) => {}
        _ = signals.next() => {}
    }
    drop(viewers);
    let counters = &shared.recorder.counters;
    shared.intake.learner.finish();
    kept.finish();
    if let Some(tape) = &shared.intake.tape {
        tracing::info!("{}", tape.note());
    }
    if let Some(note) = kept.note() {
        tracing::info!("{note}");
    }
    for told in shared.dialer.exceptions_told() {
        tracing::info!("{told}");
    }
    let mut written = keeper.finish();
    if let Some(spool) = &spool {
        let end = *spool.end().borrow();
        let all = async {
            for sink in &sent {
                sink.reached(end).await;
            }
        };
        let counters = async {
            for report in reports {
                report.finish().await;
            }
        };
        let (findings, _) =
            tokio::join!(tokio::time::timeout(LAST_DELIVERY, all), tokio::time::timeout(LAST_DELIVERY, counters));
        if findings.is_err() {
            tracing::warn!("not every sink has every finding; the rest is sent after the next start");
        }
        written &= spool.lost_bytes() == 0;
    }
    if let Some(tape) = &shared.intake.tape {
        written &= tape.finish();
    }
    let dropped = counters.dropped.load(Ordering::Relaxed);
    tracing::info!(
        flows = counters.flows.load(Ordering::Relaxed),
        findings = counters.findings.load(Ordering::Relaxed),
        tunnels = counters.tunnels.load(Ordering::Relaxed),
        unread_bytes = counters.unread_bytes.load(Ordering::Relaxed),
        dropped,
        failed_inspections = counters.failed_inspections.load(Ordering::Relaxed),
        "stopped"
    );
    if options.fail_on().is_some_and(|severity| counters.reached(severity)) {
        return ExitCode::from(1);
    }
    let unrecorded = shared.intake.tape.as_ref().is_some_and(SessionTape::dropped_any);
    if !written || unrecorded || dropped > 0 || counters.failed_inspections.load(Ordering::Relaxed) > 0 {
        return ExitCode::from(INCOMPLETE);
    }
    ExitCode::SUCCESS
}

/// The CA of `--ca-cert`, else of the state folder: made there on first use, before the port opens.
pub(super) fn authority(options: &Options, state: &Path) -> Result<Authority, Box<dyn std::error::Error>> {
    if let (Some(certificate), Some(key)) = (&options.ca_cert, &options.ca_key) {
        return Ok(Authority::from_files(certificate, key)?);
    }
    let packs = start::engine::rules(options)?.hosts().map(str::to_owned).collect::<Vec<_>>();
    let asked = options.ca_scope.as_deref().map(|text| Scope::parse(text, &packs)).transpose()?;
    Ok(Authority::open_or_create(state, asked.as_ref(), &Scope::Packs(packs))?)
}

/// Reads policy, rules, facts and revocation lists again. What is wrong keeps the old state and says where.
fn reload(args: &Args, shared: &Arc<Shared>, digest_key: [u8; 32], kept: &mut KeptPseudonyms) {
    match Fresh::read(args, shared, digest_key, kept) {
        Ok(fresh) => {
            tracing::info!(
                policy = fresh.engine.policy().name(),
                "settings, policies, rules, users, facts and revocation lists read again"
            );
            fresh.take_effect(shared);
        }
        Err(error) => tracing::error!(%error, "not reloaded; the old state stays"),
    }
}

/// Notices when a file that a reload would read is another one. Looked at rather than told of: that also works for files on
/// a network, and for those that a cluster exchanges by way of links.
struct Changes {
    seen: Picture,
    /// Where a CA may be about to follow.
    state: Option<PathBuf>,
}

impl Changes {
    fn watch(args: &Args) -> Self {
        let state = args.options().ok().and_then(|options| options.state_dir().ok());
        // One that is due already is for the reload at hand; where that fails, the next change is waited for.
        let state = state.filter(|state| !crate::ca::next::is_due(state));
        Self { seen: Self::look(args), state }
    }

    /// A settings file that cannot be read now is itself among what is looked at.
    fn look(args: &Args) -> Picture {
        let options = args.options();
        Picture::of(options.as_ref().unwrap_or(&args.options), args.config.config.as_deref())
    }

    async fn next(&mut self, args: &Args) {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut seen = Self::look(args);
            if self.state.as_deref().is_some_and(crate::ca::next::is_due) {
                return;
            }
            if seen == self.seen {
                continue;
            }
            // A file that is being written is read when it is whole.
            loop {
                tokio::time::sleep(SETTLED).await;
                let now = Self::look(args);
                if now == seen {
                    return;
                }
                seen = now;
            }
        }
    }
}

/// The CA, if it is another one than that which signs. One that was removed signs on until the end: none is made in its place.
fn fresh_authority(options: &Options, shared: &Shared) -> Result<Option<Authority>, StartError> {
    let state = options.state_dir()?;
    if options.ca_cert.is_none() && !state.join("ca.pem").exists() {
        return Ok(None);
    }
    let read = authority(options, &state).map_err(|e| StartError::Wrong(e.to_string()))?;
    Ok((read.certificates() != shared.authority.load().certificates()).then_some(read))
}

/// All that a reload exchanges. It is read as a whole before any of it counts.
struct Fresh {
    engine: Arc<Engine>,
    groups: Groups,
    access: Access,
    tls: Option<Arc<rustls::ServerConfig>>,
    crls: Vec<Crl>,
    /// Where it is another one than before: connections keep the leaf they were shown, and what is cached stays.
    authority: Option<Authority>,
}

impl Fresh {
    fn read(args: &Args, shared: &Shared, digest_key: [u8; 32], kept: &mut KeptPseudonyms) -> Result<Self, StartError> {
        let options = args.options()?;
        let engine = start::engine::engine(&options, digest_key, kept)?;
        let engine = Arc::new(engine.with_templates(shared.engine.load().templates(), true));
        Ok(Self {
            groups: gateway::groups(&options, shared, &engine, kept)?,
            access: gateway::access(&options.gateway)?,
            tls: gateway::tls(&options.gateway)?,
            crls: start::upstreams::crls(&options)?,
            authority: fresh_authority(&options, shared)?,
            engine,
        })
    }

    /// Requests that have begun keep what they began with.
    fn take_effect(self, shared: &Shared) {
        shared.dialer.set_crls(self.crls);
        if let Some(authority) = self.authority {
            tracing::info!(ca = authority.description().name, "another CA signs from now on");
            shared.authority.store(Arc::new(authority));
        }
        if let Some(tape) = &shared.intake.tape {
            tape.engine(self.engine.clone());
        }
        shared.engine.store(self.engine);
        shared.gate.groups.store(Arc::new(self.groups));
        shared.gate.access.store(Arc::new(self.access));
        shared.gate.tls.store(Arc::new(self.tls));
    }
}

/// Waits until somebody asks this process to end.
pub(super) async fn stopped() {
    let mut signals = Signals::watch();
    while let Signal::Reload = signals.next().await {}
}

enum Signal {
    Reload,
    Stop,
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn watch() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let watch = |kind| signal(kind).expect("the runtime can watch signals");
        Self {
            interrupt: watch(SignalKind::interrupt()),
            terminate: watch(SignalKind::terminate()),
            hangup: watch(SignalKind::hangup()),
        }
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn watch() -> Self {
        Self
    }

    async fn next(&mut self) -> Signal {
        let _ = tokio::signal::ctrl_c().await;
        Signal::Stop
    }
}

/// The socket that `divulge watch` reads: JSON Lines, owner only, gone with this process.
struct Viewers {
    path: PathBuf,
}

impl Drop for Viewers {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
impl Viewers {
    fn open(state: &Path, shared: &Arc<Shared>, address: SocketAddr, policy: &str, began: Instant) -> Option<Self> {
        use std::os::unix::fs::PermissionsExt;
        let path = state.join("watch.sock");
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            tracing::warn!(socket = %path.display(), "another divulge serves from this state folder; `divulge watch` shows that one");
            return None;
        }
        let _ = std::fs::remove_file(&path);
        let listener = match tokio::net::UnixListener::bind(&path) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(socket = %path.display(), %error, "`divulge watch` will not work");
                return None;
            }
        };
        let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600));
        let (shared, policy) = (shared.clone(), policy.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(view(stream, shared.clone(), address, policy.clone(), began));
            }
        });
        Some(Self { path })
    }
}

#[cfg(not(unix))]
impl Viewers {
    fn open(_: &Path, _: &Arc<Shared>, _: SocketAddr, _: &str, _: Instant) -> Option<Self> {
        None
    }
}

#[cfg(unix)]
async fn view(
    mut stream: tokio::net::UnixStream,
    shared: Arc<Shared>,
    address: SocketAddr,
    policy: String,
    began: Instant,
) {
    use tokio::io::AsyncWriteExt;
    let mut lines = shared.recorder.watch();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let line: Arc<str> = tokio::select! {
            Some(line) = lines.recv() => line,
            _ = tick.tick() => status(&shared, address, &policy, began).into(),
        };
        let sent = async {
            stream.write_all(line.as_bytes()).await?;
            stream.write_all(b"\n").await
        };
        if !matches!(tokio::time::timeout(Duration::from_secs(5), sent).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(unix)]
fn status(shared: &Shared, address: SocketAddr, policy: &str, began: Instant) -> String {
    let counters = &shared.recorder.counters;
    serde_json::json!({
        "type": "status",
        "listen": address.to_string(),
        "uptime_s": began.elapsed().as_secs(),
        "flows": counters.flows.load(Ordering::Relaxed),
        "active": counters.active.load(Ordering::Relaxed),
        "findings": counters.findings.load(Ordering::Relaxed),
        "tunnelled": counters.tunnels.load(Ordering::Relaxed),
        "tunnelled_bytes": counters.tunnelled_bytes.load(Ordering::Relaxed),
        "unread_bytes": counters.unread_bytes.load(Ordering::Relaxed),
        "dropped": counters.dropped.load(Ordering::Relaxed),
        "policy": policy,
        "on_error": match shared.intake.on_error {
            crate::engine::OnError::Open => "open",
            crate::engine::OnError::Closed => "closed",
        },
    })
    .to_string()
}

//! `divulge doctor`: what will not work behind the proxy, and the exact fix.

mod command;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::run::sealed::{self, RoomArgs, Sealed};
use super::start::{self, Plan, Started};
use super::{ConfigFile, INCOMPLETE, WRONG_USAGE, fail, printable, start_log, system_proxy};
use crate::ca::Authority;
use crate::config::{Intercept, Options};
use crate::doctor::processes::Watch;
use crate::doctor::runtimes::{PROBES, Ran};
use crate::doctor::{Check, State, machine, render};
use crate::environment::{self, ChildEnvironment, TrustFiles};
use crate::proxy::{Peer, Shared, Way, entry};

/// Looks for what of this machine, its runtimes or a client will not work behind the proxy, and names the fix.
///
/// Without a command: the state folder, the CA and its stores, the port, leftover settings, this environment,
/// and a small program per runtime that is installed. With one: runs it under a proxy that answers itself,
/// and says of each of its processes whether it uses the proxy and trusts the CA. Nothing leaves through the proxy;
/// with --sealed nothing leaves at all, and what goes around it is met too.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge doctor\n  divulge doctor -- claude -p \"say hi\"\n  divulge doctor --sealed -- claude -p \"say hi\"\n\nThe exit status is 1 if something is bad. Without --sealed a process that goes around the proxy may reach the network."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    room: RoomArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Seconds after which the command is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    limit: u64,
    /// A command that talks to its provider and ends
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn run(args: Args) -> ExitCode {
    let mut options = match args.options.clone().with_file(args.config.config.as_deref()) {
        Ok(options) => options,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    // Only what is wrong with the proxy itself; the table says the rest.
    options.quiet = true;
    start_log(&options);
    // The small programs per runtime are asked on the machine itself.
    options.in_room = args.room.wanted(&options) && !args.command.is_empty();
    let listen = options.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))).map(system_proxy::to_reach);
    let (listen, state) = match listen.and_then(|listen| Ok((listen, options.state_dir()?))) {
        Ok(found) => found,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(INCOMPLETE, &error),
    };
    let mut checks = if args.command.is_empty() { machine::checks(&state, listen) } else { Vec::new() };
    options.listen = None;
    options.offline = true;
    match runtime.block_on(examined(&options, &args)) {
        Ok(more) => checks.extend(more),
        Err(code) => return code,
    }
    runtime.shutdown_timeout(Duration::from_millis(100));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&checks).unwrap_or_default());
    } else {
        let color = args.options.color.unwrap_or_default().wanted(std::io::stdout().is_terminal());
        let clean: Vec<Check> = checks.iter().cloned().map(shown).collect();
        print!("{}", render(&clean, color));
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        println!("\n{} good, {} to know, {} bad", count(State::Good), count(State::Note), count(State::Bad));
    }
    ExitCode::from(u8::from(checks.iter().any(|check| check.state == State::Bad)))
}

/// What programs say may hold anything.
fn shown(check: Check) -> Check {
    let clean = |text: String| printable(&text).replace('\n', " ");
    Check { name: clean(check.name), what: clean(check.what), fix: check.fix.map(clean), ..check }
}

/// A proxy that answers itself, and what it saw.
struct Proxy {
    /// Connections under way.
    open: tokio::sync::watch::Sender<usize>,
    address: SocketAddr,
    environment: ChildEnvironment,
    lines: tokio::sync::mpsc::Receiver<Arc<str>>,
    keeper: crate::record::RecordKeeper,
    watch: Arc<Mutex<Watch>>,
    /// The hosts that somebody asked for, whatever came of it.
    asked: Asked,
    shared: Arc<Shared>,
    room: Option<Sealed>,
    trust: TrustFiles,
}

type Asked = Arc<Mutex<BTreeSet<String>>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    async fn start(options: &Options, args: &Args) -> Result<Self, ExitCode> {
        let authority = Authority::in_memory().map_err(|error| fail(INCOMPLETE, &error))?;
        let parent = |name: &str| std::env::var_os(name);
        let trust =
            TrustFiles::write(authority.certificate_pem(), &parent).map_err(|error| fail(INCOMPLETE, &error))?;
        let room = match options.in_room {
            true => {
                let limit = Duration::from_secs(args.limit);
                let built = sealed::build(&args.room, &trust, &args.command, limit).await;
                Some(built.map_err(|error| fail(WRONG_USAGE, &error))?)
            }
            false => None,
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let plan = Plan {
            listen,
            intercept: Intercept::All,
            tally: true,
            keep: false,
            gateway: false,
            recorded: None,
            inventory: None,
        };
        // Its secret and all else that a proxy keeps go when it does: the state folder is only looked at.
        let options = &Options { state: Some(trust.folder().join("state")), ..options.clone() };
        let started = start::start(options, plan, authority).map_err(|error| fail(WRONG_USAGE, &error))?;
        let Started { shared, listener, address, keeper, .. } = started;
        let (listener, address) = match &room {
            Some(room) => {
                let inside = TcpListener::from_std(room.room().proxy_listener());
                (inside.map_err(|error| fail(INCOMPLETE, &error))?, room.proxy_address())
            }
            None => (listener, address),
        };
        let lines = shared.recorder.watch();
        let mut environment = environment::for_child(address, &trust.bundle, Some(&trust.java), &parent);
        let engine = shared.engine.load();
        for (name, value) in engine.rules().packs().iter().flat_map(|pack| &pack.environment) {
            if parent(name).is_none() {
                environment.set.push((name.into(), value.into()));
            }
        }
        drop(engine);
        let watch = Arc::new(Mutex::new(Watch::default()));
        let asked = Asked::default();
        let open = tokio::sync::watch::Sender::new(0);
        tokio::spawn(accepted(shared.clone(), listener, address, watch.clone(), asked.clone(), open.clone()));
        Ok(Self { open, address, environment, lines, keeper, watch, asked, shared, room, trust })
    }

    /// By host: whether requests were read, and why a handshake failed. A program may have ended before its connections have
    /// here: what they carried is told when they end.
    async fn seen(&mut self) -> BTreeMap<String, Host> {
        let ended = async { _ = self.open.subscribe().wait_for(|open| *open == 0).await };
        let _ = tokio::time::timeout(LINGER, ended).await;
        self.keeper.finish();
        let asked = locked(&self.asked).clone();
        let mut hosts: BTreeMap<String, Host> = asked.into_iter().map(|host| (host, Host::default())).collect();
        hosts.remove("");
        while let Ok(line) = self.lines.try_recv() {
            let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
            let Some(name) = line["host"].as_str() else { continue };
            let host = hosts.entry(name.to_owned()).or_default();
            if line["type"] == "flow" {
                host.flows += 1;
                if let Some(client) = line["client"].as_str() {
                    host.clients.insert(client.to_owned());
                }
            }
            let sure = line["confidence"].as_f64() > Some(0.7);
            match line["kind"].as_str() {
                Some("audit.untrusted") if sure => host.refused = true,
                Some("audit.not_tls") => host.plain = true,
                _ => {}
            }
        }
        hosts
    }
}

/// How long connections of programs that have ended are waited for.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Host {
    flows: usize,
    refused: bool,
    plain: bool,
    clients: BTreeSet<String>,
}

/// Accepts as serve does, and notes whose connection each is before it is answered.
async fn accepted(
    shared: Arc<Shared>,
    listener: TcpListener,
    proxy: SocketAddr,
    watch: Arc<Mutex<Watch>>,
    asked: Asked,
    open: tokio::sync::watch::Sender<usize>,
) {
    loop {
        let Ok((tcp, address)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (shared, watch, asked, open) = (shared.clone(), watch.clone(), asked.clone(), open.clone());
        open.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            let host = host_asked(&tcp).await;
            locked(&asked).insert(host.clone());
            let note = move || locked(&watch).proxied(address, proxy, &host);
            let _ = tokio::task::spawn_blocking(note).await;
            entry::accept(shared, tcp, Peer::at(address, Way::Asked)).await;
            open.send_modify(|open| *open -= 1);
        });
    }
}

/// The host that a client asks a proxy for, without taking anything from it.
async fn host_asked(tcp: &TcpStream) -> String {
    let mut first = [0; 512];
    let line = tokio::time::timeout(Duration::from_secs(2), tcp.peek(&mut first)).await;
    let length = line.ok().and_then(Result::ok).unwrap_or_default();
    let line = String::from_utf8_lossy(&first[..length]);
    let target = line.split_whitespace().nth(1).unwrap_or_default();
    let authority = target.split_once("://").map_or(target, |(_, rest)| rest).split('/').next().unwrap_or_default();
    authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned()
}

async fn examined(options: &Options, args: &Args) -> Result<Vec<Check>, ExitCode> {
    let mut proxy = Proxy::start(options, args).await?;
    match args.command.is_empty() {
        true => Ok(runtimes(&mut proxy).await),
        false => command::watched(&mut proxy, args).await,
    }
}

/// A small program per runtime, two at a time: they wait more than they work.
async fn runtimes(proxy: &mut Proxy) -> Vec<Check> {
    const AREA: &str = "runtimes";
    let mut ran: Vec<Result<Ran, Check>> = Vec::new();
    let mut missing = Vec::new();
    for pair in PROBES.chunks(2) {
        let each = pair.iter().map(|probe| async {
            let Some(program) = probe.found().await else { return Err(None) };
            match probe.run(program, &proxy.environment, proxy.trust.folder()).await {
                Ok(ran) => Ok(ran),
                Err(error) => Err(Some(Check::note(AREA, probe.name, format!("cannot be started: {error}")))),
            }
        });
        let mut each = each.map(Box::pin);
        let (first, second) = (each.next(), each.next());
        let second = async {
            match second {
                Some(second) => Some(second.await),
                None => None,
            }
        };
        let (first, second) = tokio::join!(
            async {
                match first {
                    Some(first) => Some(first.await),
                    None => None,
                }
            },
            second
        );
        for (probe, result) in pair.iter().zip([first, second].into_iter().flatten()) {
            match result {
                Ok(one) => ran.push(Ok(one)),
                Err(Some(check)) => ran.push(Err(check)),
                Err(None) => missing.push(probe.name),
            }
        }
    }
    let hosts = proxy.seen().await;
    let mut checks: Vec<Check> =
        ran.into_iter().map(|one| one.map_or_else(|check| check, |ran| judged(&ran, &hosts))).collect();
    if !missing.is_empty() {
        checks.push(Check::note(AREA, "not here", missing.join(", ")));
    }
    checks
}

fn judged(ran: &Ran, hosts: &BTreeMap<String, Host>) -> Check {
    const AREA: &str = "runtimes";
    let probe = ran.probe;
    let said = if ran.said.is_empty() { String::new() } else { format!(" ({})", ran.said) };
    match hosts.get(&probe.host()) {
        Some(host) if host.flows > 0 => Check::good(AREA, probe.name, "uses the proxy and trusts the CA"),
        // Some break a handshake off without a word.
        Some(host) if host.refused || ran.status.is_some_and(|status| status != 0) => {
            Check::bad(AREA, probe.name, format!("uses the proxy, and does not trust the CA{said}"), probe.distrust)
        }
        Some(_) => Check::note(AREA, probe.name, format!("reached the proxy, and said nothing{said}")),
        None => match ran.status {
            None => Check::note(AREA, probe.name, "did not end in time"),
            Some(_) => Check::bad(AREA, probe.name, format!("goes around the proxy{said}"), probe.around),
        },
    }
}

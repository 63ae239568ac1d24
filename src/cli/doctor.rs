//! `divulge doctor`: what will not work behind the proxy, and the exact fix.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

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
/// and says of each of its processes whether it uses the proxy. Nothing leaves through the proxy.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge doctor\n  divulge doctor -- claude -p \"say hi\"\n\nThe exit status is 1 if something is bad. A process that goes around the proxy may reach the network: to rule that\nout, run the command sealed (divulge run --sealed)."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    options: Options,
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
    address: SocketAddr,
    environment: ChildEnvironment,
    lines: tokio::sync::mpsc::Receiver<Arc<str>>,
    keeper: crate::record::RecordKeeper,
    watch: Arc<Mutex<Watch>>,
    /// The hosts that somebody asked for, whatever came of it.
    asked: Arc<Mutex<BTreeSet<String>>>,
    /// The command that is watched.
    root: Arc<AtomicU32>,
    trust: TrustFiles,
}

impl Proxy {
    fn start(options: &Options) -> Result<Self, ExitCode> {
        let authority = Authority::in_memory().map_err(|error| fail(INCOMPLETE, &error))?;
        let parent = |name: &str| std::env::var_os(name);
        let trust =
            TrustFiles::write(authority.certificate_pem(), &parent).map_err(|error| fail(INCOMPLETE, &error))?;
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
        let root = Arc::new(AtomicU32::new(0));
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        tokio::spawn(accepted(shared, listener, watch.clone(), asked.clone(), root.clone()));
        Ok(Self { address, environment, lines, keeper, watch, asked, root, trust })
    }

    /// By host: whether requests were read, and why a handshake failed.
    fn seen(&mut self) -> BTreeMap<String, Host> {
        self.keeper.finish();
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
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
    watch: Arc<Mutex<Watch>>,
    asked: Arc<Mutex<BTreeSet<String>>>,
    root: Arc<AtomicU32>,
) {
    let Ok(proxy) = listener.local_addr() else { return };
    loop {
        let Ok((tcp, address)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (shared, watch, asked) = (shared.clone(), watch.clone(), asked.clone());
        let root = root.load(Ordering::Relaxed);
        tokio::spawn(async move {
            let host = host_asked(&tcp).await;
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone());
            if root != 0 {
                let note = move || {
                    watch.lock().unwrap_or_else(PoisonError::into_inner).proxied(root, address, proxy, &host);
                };
                let _ = tokio::task::spawn_blocking(note).await;
            }
            entry::accept(shared, tcp, Peer::at(address, Way::Asked)).await;
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
    let mut proxy = Proxy::start(options)?;
    match args.command.is_empty() {
        true => Ok(runtimes(&mut proxy).await),
        false => command(&mut proxy, args).await,
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
    let hosts = proxy.seen();
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

/// Runs the command and watches its processes.
async fn command(proxy: &mut Proxy, args: &Args) -> Result<Vec<Check>, ExitCode> {
    const AREA: &str = "command";
    let name = args.command[0].to_string_lossy().into_owned();
    let mut child = tokio::process::Command::new(&args.command[0]);
    child.args(&args.command[1..]).envs(proxy.environment.set.iter().cloned());
    for variable in &proxy.environment.remove {
        child.env_remove(variable);
    }
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("divulge: {}: {error}", printable(&name));
            return Err(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }));
        }
    };
    let end = tokio::time::Instant::now() + Duration::from_secs(args.limit);
    let root = child.id().unwrap_or_default();
    proxy.root.store(root, Ordering::Relaxed);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.ok(),
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                let (watch, address) = (proxy.watch.clone(), proxy.address);
                let look = move || watch.lock().unwrap_or_else(PoisonError::into_inner).look(root, address);
                let _ = tokio::task::spawn_blocking(look).await;
                if tokio::time::Instant::now() > end {
                    let _ = child.kill().await;
                    break None;
                }
            }
        }
    };
    let mut checks = Vec::new();
    checks.push(match status {
        Some(status) if status.success() => Check::good(AREA, name.clone(), "ended well"),
        Some(status) => Check::note(AREA, name.clone(), format!("ended with {status}")),
        None => Check::note(AREA, name.clone(), format!("was ended after {} s", args.limit))
            .with_fix("give it a prompt that ends, or a longer --limit"),
    });
    checks.extend(processes(&proxy.watch.lock().unwrap_or_else(PoisonError::into_inner)));
    let hosts = proxy.seen();
    if hosts.is_empty() {
        let what = "nothing of it reached the proxy";
        checks.push(Check::bad(
            AREA,
            name,
            what,
            "does it need the network at all? if so, divulge run --sealed -- CMD",
        ));
    }
    for (host, seen) in &hosts {
        checks.push(match seen {
            Host { refused: true, flows, .. } => Check::bad(
                "hosts",
                host,
                format!("a part of it does not trust the CA{}", if *flows > 0 { "; another does" } else { "" }),
                "divulge ca install, and `divulge serve` with `divulge env`; or the variable that its pack names",
            ),
            Host { plain: true, .. } => Check::note("hosts", host, "is sent something that is no TLS"),
            Host { flows: 0, .. } => Check::note("hosts", host, "was connected to, and nothing was asked"),
            Host { flows, clients, .. } => {
                let clients: Vec<&str> = clients.iter().map(String::as_str).collect();
                let who = if clients.is_empty() { String::new() } else { format!(" from {}", clients.join(", ")) };
                Check::good("hosts", host, format!("{flows} requests read{who}"))
            }
        });
    }
    Ok(checks)
}

fn processes(watch: &Watch) -> Vec<Check> {
    const AREA: &str = "processes";
    // Processes of one name are told of together.
    type Together<'a> = (usize, BTreeMap<&'a str, usize>, BTreeSet<SocketAddr>);
    let mut by_name: BTreeMap<(bool, &str), Together<'_>> = BTreeMap::new();
    for seen in watch.seen.values() {
        let entry = by_name.entry((seen.is_child, &seen.name)).or_default();
        entry.0 += 1;
        for (host, count) in &seen.proxied {
            *entry.1.entry(host).or_default() += count;
        }
        entry.2.extend(&seen.around);
    }
    let mut checks = Vec::new();
    if by_name.is_empty() {
        checks.push(Check::note(AREA, "all", "no connection was seen"));
    }
    for ((is_child, name), (count, proxied, around)) in by_name {
        let role = if is_child { "child" } else { "main" };
        let many = if count > 1 { format!(" × {count}") } else { String::new() };
        let name = format!("{name} ({role}{many})");
        let hosts: Vec<String> = proxied.iter().map(|(host, count)| format!("{host} × {count}")).collect();
        let connections = match hosts.is_empty() {
            true => "nothing through the proxy".to_owned(),
            false => format!("through the proxy: {}", hosts.join(", ")),
        };
        if !around.is_empty() {
            let list: Vec<String> = around.iter().take(4).map(ToString::to_string).collect();
            let what = format!("goes around: {} ({connections})", list.join(", "));
            checks.push(Check::bad(AREA, name, what, "divulge run --sealed -- CMD, or a transparent gateway"));
        } else {
            checks.push(Check::good(AREA, name, connections));
        }
    }
    checks
}

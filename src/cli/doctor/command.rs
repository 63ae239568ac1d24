//! `divulge doctor -- CMD`: the command runs, on this machine or in a room, and each of its processes is told of.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::{Args, Host, Proxy, locked};
use crate::cli::printable;
use crate::cli::run::sealed::{self, Sealed};
use crate::doctor::processes::{Seen, Watch, Whose};
use crate::doctor::{Check, State};
use crate::proxy::{Peer, Way, connection};

const AREA: &str = "command";

/// Runs the command and watches its processes.
pub(super) async fn watched(proxy: &mut Proxy, args: &Args) -> Result<Vec<Check>, ExitCode> {
    let name = args.command[0].to_string_lossy().into_owned();
    let ended = match &proxy.room {
        Some(room) => in_room(proxy, room, args).await?,
        None => on_machine(proxy, args).await?,
    };
    let mut checks = vec![match ended {
        Some(0) => Check::good(AREA, name.clone(), "ended well"),
        Some(status) => Check::note(AREA, name.clone(), format!("ended with status {status}")),
        None => Check::note(AREA, name.clone(), format!("was ended after {} s", args.limit))
            .with_fix("give it a prompt that ends, or a longer --limit"),
    }];
    checks.extend(proxy.room.iter().flat_map(Sealed::notes).map(|note| Check::note(AREA, "room", note)));
    let hosts = proxy.seen().await;
    checks.extend(processes(&locked(&proxy.watch), &hosts));
    if hosts.is_empty() {
        let what = "nothing of it reached the proxy";
        let fix = match proxy.room.is_some() {
            true => "does it need the network at all?",
            false => "does it need the network at all? if so, divulge doctor --sealed -- CMD",
        };
        checks.push(Check::bad(AREA, name, what, fix));
    }
    checks.extend(hosts.iter().map(|(host, seen)| judged(host, seen)));
    Ok(checks)
}

fn judged(host: &str, seen: &Host) -> Check {
    match seen {
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
    }
}

/// The status of the command, and none where it ran into the limit.
async fn on_machine(proxy: &Proxy, args: &Args) -> Result<Option<i32>, ExitCode> {
    let mut child = tokio::process::Command::new(&args.command[0]);
    child.args(&args.command[1..]).envs(proxy.environment.set.iter().cloned());
    for variable in &proxy.environment.remove {
        child.env_remove(variable);
    }
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("divulge: {}: {error}", printable(&args.command[0].to_string_lossy()));
            return Err(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }));
        }
    };
    let end = tokio::time::Instant::now() + Duration::from_secs(args.limit);
    locked(&proxy.watch).whose = Whose::Command(child.id().unwrap_or_default());
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status.ok().map(status_of)),
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                let (watch, address) = (proxy.watch.clone(), proxy.address);
                let look = move || locked(&watch).look(address);
                let _ = tokio::task::spawn_blocking(look).await;
                if tokio::time::Instant::now() > end {
                    let _ = child.kill().await;
                    return Ok(None);
                }
            }
        }
    }
}

#[cfg(unix)]
fn status_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

#[cfg(not(unix))]
fn status_of(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// The same in the room, at whose door everything arrives that goes around the proxy.
async fn in_room(proxy: &Proxy, room: &Sealed, args: &Args) -> Result<Option<i32>, ExitCode> {
    locked(&proxy.watch).whose = Whose::Room(None);
    let variables = sealed::variables(&proxy.environment);
    let run = room.room().run_with(&args.command, &variables);
    let outcome = tokio::select! {
        outcome = run => outcome,
        () = met(proxy, room) => return Ok(None),
    };
    if let Some(lost) = outcome.lost {
        eprintln!("divulge: the room ended before the command did: {}", printable(&lost));
        return Err(ExitCode::from(crate::cli::INCOMPLETE));
    }
    if let Some(status @ (126 | 127)) = outcome.status {
        eprint!("{}", printable(&String::from_utf8_lossy(&outcome.errors)));
        return Err(ExitCode::from(status as u8));
    }
    Ok(outcome.status.filter(|_| !outcome.timed_out))
}

/// Notes whose each connection at the door is, and carries it as a tunnel to where it was meant to go.
async fn met(proxy: &Proxy, room: &Sealed) {
    let door = room.room().door();
    loop {
        let Ok((tcp, destination)) = door.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let address = tcp.peer_addr().unwrap_or(destination);
        let host = door.name_of(destination.ip()).unwrap_or_else(|| destination.ip().to_string());
        let (shared, watch, asked) = (proxy.shared.clone(), proxy.watch.clone(), Arc::clone(&proxy.asked));
        tokio::spawn(async move {
            locked(&asked).insert(host.clone());
            let note = {
                let host = host.clone();
                move || locked(&watch).met(address, &host)
            };
            let _ = tokio::task::spawn_blocking(note).await;
            let peer = Peer::at(address, Way::Around);
            connection::redirected(shared, tcp, peer, host, destination.port()).await;
        });
    }
}

/// Processes that are the same and did the same.
struct Alike<'a> {
    seen: &'a Seen,
    pids: Vec<u32>,
    proxied: BTreeMap<&'a str, usize>,
    met: BTreeMap<&'a str, usize>,
}

impl<'a> Alike<'a> {
    fn of(seen: &'a Seen) -> Self {
        Self { seen, pids: Vec::new(), proxied: BTreeMap::new(), met: BTreeMap::new() }
    }

    fn takes(&self, other: &Seen) -> bool {
        let seen = self.seen;
        let parent = |seen: &'a Seen| seen.parent.as_ref().map(|(_, name)| name.as_str());
        (seen.is_child, &seen.name, &seen.command, &seen.around)
            == (other.is_child, &other.name, &other.command, &other.around)
            && parent(seen) == other.parent.as_ref().map(|(_, name)| name.as_str())
            && seen.proxied.keys().eq(other.proxied.keys())
            && seen.met.keys().eq(other.met.keys())
    }

    fn add(&mut self, pid: u32, seen: &'a Seen) {
        self.pids.push(pid);
        for (list, all) in [(&seen.proxied, &mut self.proxied), (&seen.met, &mut self.met)] {
            for (host, count) in list {
                *all.entry(host).or_default() += count;
            }
        }
    }

    /// Which processes they are: their numbers, whose children, and their command.
    fn who(&self) -> String {
        let mut pids: Vec<String> = self.pids.iter().take(4).map(ToString::to_string).collect();
        if self.pids.len() > pids.len() {
            pids.push("…".to_owned());
        }
        let parent = match &self.seen.parent {
            Some((pid, name)) => format!(", child of {name} {pid}"),
            None => String::new(),
        };
        format!(" [pid {}{parent}: {}]", pids.join(", "), self.seen.command)
    }
}

/// The main process first, then the others as they began.
fn processes(watch: &Watch, hosts: &BTreeMap<String, Host>) -> Vec<Check> {
    const AREA: &str = "processes";
    let mut all: Vec<Alike<'_>> = Vec::new();
    for (pid, seen) in &watch.seen {
        let at = all.iter().position(|one| one.takes(seen)).unwrap_or(all.len());
        if at == all.len() {
            all.push(Alike::of(seen));
        }
        all[at].add(*pid, seen);
    }
    if all.is_empty() {
        return vec![Check::note(AREA, "all", "no connection was seen")];
    }
    all.sort_by_key(|one| one.seen.is_child);
    let asking =
        |host: &str| all.iter().filter(|one| one.proxied.contains_key(host) || one.met.contains_key(host)).count();
    let shared: BTreeSet<&str> = hosts.keys().map(String::as_str).filter(|host| asking(host) > 1).collect();
    all.iter().map(|one| told(AREA, one, hosts, &shared)).collect()
}

/// One line about processes that did the same: where they went, and whether they trust the CA.
fn told(area: &'static str, alike: &Alike<'_>, hosts: &BTreeMap<String, Host>, shared: &BTreeSet<&str>) -> Check {
    let role = if alike.seen.is_child { "child" } else { "main" };
    let many = if alike.pids.len() > 1 { format!(" × {}", alike.pids.len()) } else { String::new() };
    let name = format!("{} ({role}{many})", alike.seen.name);
    let who = alike.who();
    let list = |hosts: &BTreeMap<&str, usize>| {
        let each: Vec<String> = hosts.iter().map(|(host, count)| format!("{host} × {count}")).collect();
        each.join(", ")
    };
    let connections = match alike.proxied.is_empty() {
        true => "nothing through the proxy".to_owned(),
        false => format!("through the proxy: {}", list(&alike.proxied)),
    };
    let (trust, state) = trust(alike, hosts, shared);
    let mut around: Vec<String> = alike.seen.around.iter().take(4).map(ToString::to_string).collect();
    around.extend(Some(list(&alike.met)).filter(|met| !met.is_empty()));
    if !around.is_empty() {
        let what = format!("goes around: {} ({connections}){trust}{who}", around.join(", "));
        return Check::bad(area, name, what, "divulge run --sealed -- CMD, or a transparent gateway");
    }
    let what = format!("{connections}{trust}{who}");
    match state {
        State::Bad => Check::bad(area, name, what, "the variable that its pack names, or divulge ca install"),
        State::Note => Check::note(area, name, what),
        State::Good => Check::good(area, name, what),
    }
}

/// Whether these processes trust the CA, as far as their hosts tell.
fn trust(seen: &Alike<'_>, hosts: &BTreeMap<String, Host>, shared: &BTreeSet<&str>) -> (String, State) {
    let own = seen.proxied.keys().chain(seen.met.keys()).filter_map(|host| Some((*host, hosts.get(*host)?)));
    let (mut trusts, mut refused, mut silent) = (false, Vec::new(), Vec::new());
    for (host, what) in own {
        match what {
            Host { refused: true, .. } if !shared.contains(host) => refused.push(host),
            // Whose refusal it was is not known.
            Host { refused: true, .. } => {}
            Host { flows: 0, plain: false, .. } => silent.push(host),
            Host { flows, .. } => trusts |= *flows > 0,
        }
    }
    if !refused.is_empty() {
        return (format!("; does not trust the CA: {}", refused.join(", ")), State::Bad);
    }
    let mut told = if trusts { "; trusts the CA".to_owned() } else { String::new() };
    if silent.is_empty() {
        return (told, State::Good);
    }
    // Some break a handshake off without a word, others open connections that they never use.
    told.push_str(&format!("; asked nothing of {}, as one that does not trust the CA would", silent.join(", ")));
    (told, State::Note)
}

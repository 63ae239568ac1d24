//! `divulge run -- CMD…`: audits one command and says what it gave away.

pub(super) mod sealed;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::start::{self, Plan, Started};
use super::{ConfigFile, INCOMPLETE, WRONG_USAGE, fail, start_log};
use crate::ca::Authority;
use crate::config::{Intercept, Options};
use crate::environment::{self, TrustFiles};
use crate::proxy::listener;
use crate::recording::SessionTape;
use crate::report::text::Style;

/// Audits one command: a private proxy on a free loopback port, a CA that lives in memory, the environment
/// that the child needs, and a summary on standard error when it ends.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge run -- claude -p \"say hi\"\n  divulge run --policy strict -- codex\n  divulge run --offline --findings out.jsonl -- gemini -p \"say hi\"\n  divulge run --sealed -- claude -p \"say hi\"\n  divulge run --inventory -- claude -p \"explain this folder\"\n\nThe exit status is the command's own; 1 where --fail-on is reached, 3 where the audit is incomplete,\n126/127 where the command cannot be started, 128+n where signal n ended it."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    room: sealed::RoomArgs,
    /// Say which files of this folder left, for which host, and how much of each; without DIR, of the working folder
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".")]
    inventory: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// How long the inspection of the last requests may go on after the command has ended.
const SETTLING: Duration = Duration::from_secs(10);

pub fn run(args: Args) -> ExitCode {
    let options = match args.options.with_file(args.config.config.as_deref()) {
        Ok(options) => options,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    start_log(&options);
    crate::ca::protect_memory();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(INCOMPLETE, &error),
    };
    let code = runtime.block_on(audited(options, args.room, args.inventory, args.command));
    // Connections that the child left open end with us.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn audited(
    mut options: Options,
    room: sealed::RoomArgs,
    inventory: Option<PathBuf>,
    command: Vec<OsString>,
) -> ExitCode {
    let authority = match authority(&options) {
        Ok(authority) => authority,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let parent = |name: &str| std::env::var_os(name);
    let trust = match TrustFiles::write(authority.certificate_pem(), &parent) {
        Ok(trust) => trust,
        Err(error) => return fail(INCOMPLETE, &error),
    };
    options.in_room = room.wanted(&options);
    let mut room = match options.in_room {
        true => match sealed::build(&room, &trust, &command, Duration::MAX).await {
            Ok(room) => Some(room),
            Err(error) => return fail(WRONG_USAGE, &error),
        },
        false => None,
    };
    let plan = Plan {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        intercept: Intercept::All,
        tally: true,
        keep: false,
        gateway: false,
        recorded: None,
        inventory,
    };
    let started = match start::start(&options, plan, authority) {
        Ok(started) => started,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let Started { shared, listener, address, keeper, policy, kept, .. } = started;
    let proxy = tokio::spawn(listener::run(shared.clone(), listener, std::future::pending()));
    if let Some(room) = &mut room
        && let Err(error) = room.audit(&shared)
    {
        return fail(INCOMPLETE, &error);
    }
    let address = room.as_ref().map_or(address, sealed::Sealed::proxy_address);

    let mut environment = environment::for_child(address, &trust.bundle, Some(&trust.java), &parent);
    let packs = shared.engine.load();
    for (name, value) in packs.rules().packs().iter().flat_map(|pack| &pack.environment) {
        if parent(name).is_none() {
            environment.set.push((name.into(), value.into()));
        }
    }
    drop(packs);
    if !options.quiet {
        let on_error = match shared.intake.on_error {
            crate::engine::OnError::Open => "open",
            crate::engine::OnError::Closed => "closed",
        };
        eprintln!(
            "divulge: auditing through {address} (policy {policy}, on error {on_error}{})",
            match (room.is_some(), options.offline) {
                (true, true) => ", sealed, offline",
                (true, false) => ", sealed",
                (false, true) => ", offline",
                (false, false) => "",
            }
        );
        for note in room.iter().flat_map(sealed::Sealed::notes) {
            eprintln!("divulge: note: {note}");
        }
        for note in &environment.notes {
            eprintln!("divulge: note: {note}");
        }
    }
    // Signals are watched before the child exists: none may be missed in between.
    let signals = Signals::watch();
    let status = match &room {
        Some(room) => room.run(&command, &environment, signals).await,
        None => {
            let mut child = Command::new(&command[0]);
            child.args(&command[1..]).envs(environment.set).kill_on_drop(true);
            for name in &environment.remove {
                child.env_remove(name);
            }
            match child.spawn() {
                Ok(child) => wait(child, signals).await,
                Err(error) => return not_started(&command[0], &error),
            }
        }
    };
    // Requests that the child had under way end when it does; their inspection may take longer than the child.
    let active = || shared.recorder.counters.active.load(Ordering::Relaxed);
    let patience = tokio::time::Instant::now() + SETTLING;
    while active() > 0 && tokio::time::Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let unfinished = active();
    proxy.abort();
    kept.finish();
    let inventory = shared.intake.tape.as_ref().and_then(SessionTape::inventory);
    if let Some((files, _)) = &inventory {
        shared.recorder.files(files.clone());
    }
    let mut written = keeper.finish();
    if let Some(tape) = &shared.intake.tape {
        written &= tape.finish();
    }
    let counters = &shared.recorder.counters;
    let incomplete = !written
        || unfinished > 0
        || counters.dropped.load(Ordering::Relaxed) > 0
        || shared.intake.tape.as_ref().is_some_and(SessionTape::dropped_any)
        || counters.failed_inspections.load(Ordering::Relaxed) > 0;
    let mut tally = keeper.tally();
    if !options.quiet {
        for (count, what) in [
            (counters.dropped.load(Ordering::Relaxed), "records were dropped because the writer could not keep up"),
            (counters.failed_inspections.load(Ordering::Relaxed), "inspections failed"),
            (unfinished, "requests were still being inspected when the command had ended"),
        ] {
            if count > 0 {
                tally.note(format!("{count} {what}"));
            }
        }
        if let (Some(tape), Some(_)) = (&shared.intake.tape, &options.record) {
            tally.note(tape.note());
        }
        if let Some((_, note)) = inventory {
            tally.note(note);
        }
        if let Some(note) = kept.note() {
            tally.note(note);
        }
        for told in shared.dialer.exceptions_told() {
            tally.note(told);
        }
        if let Some(room) = &room {
            tally.note(room.told(&shared.tally.counts()));
        }
        let style = Style {
            color: options.color.unwrap_or_default().wanted(io::stderr().is_terminal()),
            width: crossterm::terminal::size().map_or(100, |(columns, _)| usize::from(columns)),
            reveal: options.reveal,
        };
        let _ = io::stderr().write_all(tally.render(&style).as_bytes());
    }
    drop(room);
    drop(trust);
    if options.fail_on().is_some_and(|severity| counters.reached(severity)) {
        return ExitCode::from(1);
    }
    if incomplete {
        eprintln!("divulge: the audit is incomplete");
        if status == 0 {
            return ExitCode::from(INCOMPLETE);
        }
    }
    ExitCode::from(status)
}

fn not_started(command: &OsString, error: &io::Error) -> ExitCode {
    let (status, why) = match error.kind() {
        io::ErrorKind::NotFound => (127, "not found".to_owned()),
        io::ErrorKind::PermissionDenied => (126, "may not be executed".to_owned()),
        _ => (126, error.to_string()),
    };
    eprintln!("divulge: {}: {why}", super::printable(&command.to_string_lossy()));
    ExitCode::from(status)
}

fn authority(options: &Options) -> Result<Authority, crate::ca::CaError> {
    match (&options.ca_cert, &options.ca_key) {
        (Some(certificate), Some(key)) => Authority::from_files(certificate, key),
        _ => Authority::in_memory(),
    }
}

/// Waits for the child, handing on the signals that were meant for it.
async fn wait(mut child: Child, mut signals: Signals) -> u8 {
    loop {
        tokio::select! {
            status = child.wait() => return match status {
                Ok(status) => exit_status(status),
                Err(error) => {
                    eprintln!("divulge: the command's end was not seen: {error}");
                    INCOMPLETE
                }
            },
            signal = signals.next() => signals.forward(signal, |signal| kill(&child, signal)),
        }
    }
}

#[cfg(unix)]
fn exit_status(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => (128 + signal) as u8,
        (None, None) => INCOMPLETE,
    }
}

#[cfg(not(unix))]
fn exit_status(status: std::process::ExitStatus) -> u8 {
    status.code().unwrap_or(i32::from(INCOMPLETE)) as u8
}

#[cfg(unix)]
struct Signals {
    list: Vec<(nix::sys::signal::Signal, tokio::signal::unix::Signal)>,
}

#[cfg(unix)]
impl Signals {
    fn watch() -> Self {
        use nix::sys::signal::Signal;
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [
            (Signal::SIGINT, SignalKind::interrupt()),
            (Signal::SIGTERM, SignalKind::terminate()),
            (Signal::SIGHUP, SignalKind::hangup()),
            (Signal::SIGQUIT, SignalKind::quit()),
            (Signal::SIGUSR1, SignalKind::user_defined1()),
            (Signal::SIGUSR2, SignalKind::user_defined2()),
        ];
        Self { list: kinds.into_iter().filter_map(|(name, kind)| Some((name, signal(kind).ok()?))).collect() }
    }

    async fn next(&mut self) -> nix::sys::signal::Signal {
        std::future::poll_fn(|cx| {
            for (name, stream) in &mut self.list {
                if let std::task::Poll::Ready(Some(())) = stream.poll_recv(cx) {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// What a terminal sends goes to its whole foreground group, the child included: handing it on as well
    /// would interrupt it twice.
    fn forward(&self, signal: nix::sys::signal::Signal, send: impl FnOnce(nix::sys::signal::Signal)) {
        use nix::sys::signal::Signal;
        if !(matches!(signal, Signal::SIGINT | Signal::SIGQUIT) && in_foreground()) {
            send(signal);
        }
    }
}

#[cfg(unix)]
fn kill(child: &Child, signal: nix::sys::signal::Signal) {
    if let Some(id) = child.id() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id as i32), signal);
    }
}

/// Whether our process group is the one that the controlling terminal talks to.
#[cfg(unix)]
fn in_foreground() -> bool {
    std::fs::File::open("/dev/tty")
        .ok()
        .and_then(|tty| nix::unistd::tcgetpgrp(&tty).ok())
        .is_some_and(|group| group == nix::unistd::getpgrp())
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn watch() -> Self {
        Self
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }

    /// The console hands Ctrl-C to the child itself.
    fn forward(&self, (): (), _: impl FnOnce(())) {}
}

#[cfg(not(unix))]
fn kill(_: &Child, (): ()) {}

//! The processes inside: a hidden command of divulge that builds the room around itself.
//!
//! ```text
//! divulge ──socket── outer (makes the namespaces) ── first (process 1: network, files) ── enter (gives up rights) = CMD
//! ```
//!
//! The control socket is standard input. When it closes, or divulge dies, process 1 ends, and the kernel ends all others
//! with it and drops every file of the room. Nothing here runs a thread: namespaces of users can be made by processes of
//! one thread only.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid};
use rustix::thread::CapabilitySet;

use super::control::{self, Launch, Order, Told};
use super::step::{Step, Stepped};
use super::{mounts, network};

/// The word that makes divulge one of these processes.
pub const COMMAND: &str = "room-inside";

/// Runs one of the processes, if the command line asks for it.
pub fn asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != COMMAND {
        return None;
    }
    let role = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    Some(match role.to_str() {
        Some("outer") => outer(&rest),
        Some("first") => first(),
        Some("enter") => enter(rest),
        _ => usage(),
    })
}

fn usage() -> ExitCode {
    eprintln!("divulge: {COMMAND} is started by divulge itself");
    ExitCode::from(crate::cli::WRONG_USAGE)
}

fn control_socket() -> Option<UnixStream> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
    Some(UnixStream::from(socket))
}

/// We end with our parent, however that ends. The parent is a thread: it must be the only one of its process.
fn end_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

fn block_signals() {
    // They reach the whole foreground group: divulge hands on what is meant for the command.
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None);
}

/// Whatever divulge was started with open beside the three streams would lead out of the room.
fn close_inherited() {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in open {
        // The folder that was just read is among them, and closed already.
        let _ = nix::unistd::close(number);
    }
}

// --- outer -----------------------------------------------------------------------------------------------------------

/// Makes the namespaces, then waits for the first process in them.
fn outer(arguments: &[OsString]) -> ExitCode {
    // Not bound to its parent: for the kernel that is the thread that started it, which may end long before divulge does.
    // Process 1 sees the socket close, and this process ends after it.
    close_inherited();
    block_signals();
    let Some(control) = control_socket() else { return usage() };
    let number = |at: usize| arguments.get(at)?.to_str()?.parse::<u32>().ok();
    let (Some(uid), Some(gid), Some(map_all)) = (number(0), number(1), number(2)) else { return usage() };
    if let Err(step) = namespaces(&control, uid, gid, map_all == 1) {
        let _ = control::send(&control, &Told::Failed(step), &[]);
        return ExitCode::FAILURE;
    }
    drop(control);
    let child = Command::new("/proc/self/exe").arg0("init").args([COMMAND, "first"]).env_clear().spawn();
    match child.and_then(|mut child| child.wait()) {
        // How it ended is all that is left to be known.
        Ok(status) => {
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
        Err(error) => {
            if let Some(control) = control_socket() {
                let step = Step { what: "start the first process of the room".into(), why: error.to_string() };
                let _ = control::send(&control, &Told::Failed(step), &[]);
            }
            ExitCode::FAILURE
        }
    }
}

fn namespaces(control: &UnixStream, uid: u32, gid: u32, map_all: bool) -> Result<(), Step> {
    let spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID;
    let (outer_uid, outer_gid) = (geteuid(), getegid());
    match unshare(spaces | CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {}
        // Root of a machine without namespaces of users needs none.
        Err(first) if outer_uid.is_root() => {
            unshare(spaces)
                .step("make the namespaces")
                .map_err(|step| Step { why: format!("{} (with a user namespace: {first})", step.why), ..step })?;
            return match map_all {
                true => control::send(control, &Told::NoMap, &[]).step("say that no users are mapped"),
                false => Ok(()),
            };
        }
        Err(error) => return Err(error).step("make the namespaces"),
    }
    if map_all {
        control::send(control, &Told::MapMe, &[]).step("ask for the map of users")?;
        match control::receive(control).step("wait for the map of users")?.0 {
            Order::Mapped => {}
            other => return Err(Step { what: "wait for the map of users".into(), why: format!("got {other:?}") }),
        }
    } else {
        fs::write("/proc/self/setgroups", "deny").step("give up the groups")?;
        fs::write("/proc/self/uid_map", format!("{uid} {outer_uid} 1")).step("map the user")?;
        fs::write("/proc/self/gid_map", format!("{gid} {outer_gid} 1")).step("map the group")?;
    }
    keep_rights().step("keep the rights over the room")
}

/// A program started by anybody but root has no rights, unless they are ambient.
fn keep_rights() -> rustix::io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable = sets.permitted;
    rustix::thread::set_capabilities(None, sets)?;
    for right in sets.permitted.iter() {
        rustix::thread::configure_capability_in_ambient_set(right, true)?;
    }
    Ok(())
}

// --- first -----------------------------------------------------------------------------------------------------------

/// Process 1: builds the room, then starts what it is told to, and buries the dead.
fn first() -> ExitCode {
    end_with_parent();
    block_signals();
    if std::process::id() != 1 {
        return usage();
    }
    let Some(control) = control_socket() else { return usage() };
    let built = match control::receive::<Order>(&control) {
        Ok((Order::Build(layout), _)) => build(&layout),
        _ => return ExitCode::FAILURE,
    };
    let network = match built {
        Ok(network) => network,
        Err(step) => {
            let _ = control::send(&control, &Told::Failed(step), &[]);
            return ExitCode::FAILURE;
        }
    };
    let sockets: Vec<_> = network.sockets.iter().map(AsFd::as_fd).collect();
    if control::send(&control, &Told::Ready(network.opened), &sockets).is_err() {
        return ExitCode::FAILURE;
    }
    drop(network.sockets);
    // The invented interface ends with the namespace that its other end is in.
    let _beside = network.beside;
    serve(&control);
    ExitCode::SUCCESS
}

fn build(layout: &super::layout::Layout) -> Result<network::Network, Step> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let network = network::build(layout)?;
    nix::unistd::sethostname(&layout.hostname).step("set the host name")?;
    mounts::build(layout, network.opened.translated)?;
    Ok(network)
}

/// Until divulge closes the socket.
fn serve(control: &UnixStream) {
    let Ok(deaths) =
        SignalFd::with_flags(&SigSet::from(Signal::SIGCHLD), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
    else {
        return;
    };
    let mut running: Option<(u64, Pid)> = None;
    loop {
        let mut ready =
            [PollFd::new(control.as_fd(), PollFlags::POLLIN), PollFd::new(deaths.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        let orders = ready[0].revents().is_some_and(|events| !events.is_empty());
        while let Ok(Some(_)) = deaths.read_signal() {}
        bury(control, &mut running);
        if orders {
            match control::receive::<Order>(control) {
                Ok((Order::Run(launch), streams)) => {
                    let id = launch.id;
                    running = start(control, launch, streams).map(|pid| (id, pid));
                }
                Ok((Order::Signal(number), _)) => {
                    if let (Some((_, pid)), Ok(signal)) = (running, Signal::try_from(number)) {
                        let _ = kill(pid, signal);
                    }
                }
                // Process 1 itself is spared.
                Ok((Order::EndAll, _)) => {
                    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Collects every process that has ended, and tells of the command's end.
fn bury(control: &UnixStream, running: &mut Option<(u64, Pid)>) {
    loop {
        let (pid, code, signal) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Some(code), None),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, None, Some(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => continue,
        };
        if let Some((id, command)) = *running
            && command == pid
        {
            *running = None;
            let _ = control::send(control, &Told::Ended { id, code, signal }, &[]);
        }
    }
}

/// Starts the command, in a process of its own that gives up its rights first.
fn start(control: &UnixStream, launch: Launch, streams: Vec<OwnedFd>) -> Option<Pid> {
    let id = launch.id;
    match started(launch, streams) {
        Ok((pid, terminal)) => {
            let beside: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
            let _ = control::send(control, &Told::Started { id }, &beside);
            Some(pid)
        }
        Err(_) => {
            let _ = control::send(control, &Told::Ended { id, code: Some(126), signal: None }, &[]);
            None
        }
    }
}

fn started(launch: Launch, streams: Vec<OwnedFd>) -> std::io::Result<(Pid, Option<OwnedFd>)> {
    let mut child = Command::new("/proc/self/exe");
    let session = match (launch.terminal, launch.attached) {
        (true, _) => "terminal",
        (false, true) => "attached",
        (false, false) => "alone",
    };
    child.args([COMMAND, "enter", session]).arg(&launch.cwd).args(&launch.command);
    child.env_clear().envs(launch.environment);
    let mut other_end = None;
    let streams = if launch.terminal {
        let (own, command) = terminal()?;
        other_end = Some(own);
        vec![command.try_clone()?, command.try_clone()?, command]
    } else {
        streams
    };
    let mut streams = streams.into_iter().map(Stdio::from);
    let mut next = || streams.next().unwrap_or_else(Stdio::null);
    child.stdin(next()).stdout(next()).stderr(next());
    let child = child.spawn()?;
    Ok((Pid::from_raw(child.id() as i32), other_end))
}

/// A new terminal of the room: our end, and the command's.
fn terminal() -> std::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let own = openpt(flags)?;
    grantpt(&own)?;
    unlockpt(&own)?;
    let command = ioctl_tiocgptpeer(&own, flags)?;
    Ok((own, command))
}

// --- enter -----------------------------------------------------------------------------------------------------------

/// Gives up every right over the room and becomes the command.
fn enter(mut arguments: Vec<OsString>) -> ExitCode {
    if arguments.len() < 3 {
        return usage();
    }
    let command = arguments.split_off(2);
    let (session, cwd) = (&arguments[0], PathBuf::from(&arguments[1]));
    let _ = rustix::process::set_parent_process_death_signal(None);
    if session != "attached" {
        let _ = nix::unistd::setsid();
    }
    if session == "terminal" {
        let _ = rustix::process::ioctl_tiocsctty(std::io::stdin().as_fd());
    }
    if let Err(error) = give_up_rights() {
        return failed(&command[0], 126, &format!("the rights over the room could not be given up: {error}"));
    }
    if let Err(error) = refuse_other_sockets() {
        return failed(&command[0], 126, &format!("sockets that lead out of the room could not be refused: {error}"));
    }
    if let Err(error) = std::env::set_current_dir(&cwd) {
        return failed(cwd.as_os_str(), 126, &format!("cannot be entered: {error}"));
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let error = Command::new(&command[0]).args(&command[1..]).exec();
    match error.kind() {
        std::io::ErrorKind::NotFound => failed(&command[0], 127, "not found in the room"),
        std::io::ErrorKind::PermissionDenied => failed(&command[0], 126, "may not be executed"),
        _ => failed(&command[0], 126, &error.to_string()),
    }
}

fn failed(what: &OsStr, status: u8, why: &str) -> ExitCode {
    eprintln!("divulge: {}: {why}", crate::cli::printable(&String::from_utf8_lossy(what.as_bytes())));
    ExitCode::from(status)
}

fn give_up_rights() -> rustix::io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    for right in CapabilitySet::all().iter() {
        // The kernel may know fewer.
        let _ = rustix::thread::remove_capability_from_bounding_set(right);
    }
    let none = CapabilitySet::empty();
    let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)
}

/// Refuses what reaches beyond the namespaces: sockets of families that the network namespace does not hold (a virtual
/// machine's `vsock`, Bluetooth), and the interface that makes sockets without the call that is judged here.
fn refuse_other_sockets() -> Result<(), String> {
    use nix::libc::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, EAFNOSUPPORT, ENOSYS, SYS_io_uring_setup, SYS_socket};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        TargetArch,
    };
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    let filter = |call: i64, rules: Vec<SeccompRule>, errno: i32| -> Result<BpfProgram, seccompiler::BackendError> {
        let rules = [(call, rules)].into_iter().collect();
        let refuse = SeccompAction::Errno(errno as u32);
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?.try_into()
    };
    let held = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];
    let other: Result<Vec<_>, _> = held
        .iter()
        .map(|family| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *family as u64))
        .collect();
    let other = other.and_then(SeccompRule::new).map_err(|error| error.to_string())?;
    for (call, rules, errno) in [(SYS_socket, vec![other], EAFNOSUPPORT), (SYS_io_uring_setup, Vec::new(), ENOSYS)] {
        let program = filter(call, rules, errno).map_err(|error| error.to_string())?;
        seccompiler::apply_filter(&program).map_err(|error| error.to_string())?;
    }
    Ok(())
}

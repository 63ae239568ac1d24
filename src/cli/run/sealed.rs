//! `divulge run --sealed`: the command lives in a room that shows this machine's own facts, its network loopback alone.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Signals;
use crate::cli::INCOMPLETE;
use crate::config::Options;
use crate::environment::{ChildEnvironment, TrustFiles};
use crate::proxy::Shared;
use crate::proxy::tally::Counts;
use crate::room::{Git, Plan, Room, RoomError, RoomOptions, Strength, Way};

/// What `--sealed` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "The sealed room (Linux)")]
pub struct RoomArgs {
    /// Run the command in a sealed room: an empty home, no network but loopback, every connection audited
    #[arg(long, env = "DIVULGE_SEALED", value_parser = clap::builder::BoolishValueParser::new())]
    sealed: bool,

    /// A folder that is the home in the room, kept afterwards [default: an empty one in memory]
    #[arg(long, value_name = "DIR", env = "DIVULGE_ROOM_HOME")]
    room_home: Option<PathBuf>,

    /// A file or folder that is also visible in the room, read-only; repeatable
    #[arg(long, value_name = "PATH", env = "DIVULGE_ROOM_SHOW", value_delimiter = ':')]
    room_show: Vec<PathBuf>,

    /// Where no room can be built, run all the same with an empty home: the network is then the machine's own
    #[arg(long, env = "DIVULGE_OPEN_ROOM", value_parser = clap::builder::BoolishValueParser::new())]
    open_room: bool,
}

impl RoomArgs {
    pub fn wanted(&self, options: &Options) -> bool {
        self.sealed || options.sealed
    }
}

/// A room for one command, and what is to be said about it.
pub struct Sealed {
    room: Room,
    notes: Vec<String>,
}

/// Variables that name sockets and folders which the room does not show.
const LEAD_OUT: [&str; 12] = [
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "GPG_AGENT_INFO",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "WAYLAND_DISPLAY",
    "DISPLAY",
    "XAUTHORITY",
    "DOCKER_HOST",
    "VSCODE_IPC_HOOK_CLI",
    "TMPDIR",
];

/// Builds the room around this machine's facts and the folder that we stand in. `time_limit` holds for commands that are not
/// attached to our terminal.
pub async fn build(
    args: &RoomArgs,
    trust: &TrustFiles,
    command: &[OsString],
    time_limit: Duration,
) -> Result<Sealed, RoomError> {
    let mut notes = Vec::new();
    let home = std::env::home_dir().filter(|home| home.is_absolute() && home.parent().is_some());
    let home = home.unwrap_or_else(|| PathBuf::from("/root"));
    let here =
        std::env::current_dir().map_err(|source| RoomError::Io { what: "there is no working folder", source })?;
    let mut bind = Vec::new();
    let cwd = if home.starts_with(&here) {
        notes.push(format!(
            "{} holds the home folder, which the room hides: the command starts in an empty home",
            here.display()
        ));
        home.clone()
    } else {
        bind = project(&here, &home);
        here
    };
    let room_home = match &args.room_home {
        Some(folder) => Some(
            folder
                .canonicalize()
                .ok()
                .filter(|folder| folder.is_dir())
                .ok_or_else(|| RoomError::Plan(format!("--room-home {} is no folder", folder.display())))?,
        ),
        None => None,
    };
    let mut show = Vec::new();
    for path in &args.room_show {
        let found = std::path::absolute(path).ok().filter(|path| path.exists());
        show.push(found.ok_or_else(|| RoomError::Plan(format!("--room-show {} is not there", path.display())))?);
    }
    let plan = Plan {
        hostname: hostname(),
        timezone: timezone(),
        machine_id: read("/etc/machine-id").unwrap_or_else(|| "0".repeat(32)),
        user: user(),
        home,
        cwd,
        git: Git { name: String::new(), email: String::new(), remote: String::new(), branch: "main".to_owned() },
        interface: None,
        environment: std::env::var("PATH").map(|path| vec![("PATH".to_owned(), path)]).unwrap_or_default(),
        setup: None,
        time_limit,
        terminal: false,
    };
    let options = RoomOptions {
        command: command.to_vec(),
        show,
        copy: vec![trust.folder().to_owned()],
        bind,
        machine: true,
        home: room_home,
        allow_open_network: args.open_room,
        ..RoomOptions::default()
    };
    let room = Room::build_with(plan, options).await?;
    match room.holds() {
        Strength::Weak(missing) if room.is_sealed() => notes.push(format!("the room is weaker than it could be: {missing}")),
        Strength::Weak(missing) => notes.push(format!(
            "THE ROOM IS OPEN (--open-room): the command has the network of this machine, and what goes around the proxy \
             is not seen; {missing}"
        )),
        Strength::Full => {}
    }
    Ok(Sealed { room, notes })
}

impl Sealed {
    pub fn audit(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        self.room.audit(shared, true)
    }

    pub fn proxy_address(&self) -> SocketAddr {
        self.room.proxy_address()
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Runs the command on our own terminal, and gives its exit status.
    pub(in crate::cli::run) async fn run(
        &self,
        command: &[OsString],
        environment: &ChildEnvironment,
        mut signals: Signals,
    ) -> u8 {
        let variables = variables(environment);
        let run = self.room.run_attached(command, &variables);
        tokio::pin!(run);
        loop {
            tokio::select! {
                status = &mut run => return match status {
                    Ok(Some(status)) => status as u8,
                    Ok(None) => {
                        eprintln!("divulge: the room ended before the command did");
                        INCOMPLETE
                    }
                    Err(error) => {
                        eprintln!("divulge: the command could not be started in the room: {error}");
                        INCOMPLETE
                    }
                },
                signal = signals.next() => signals.forward(signal, |signal| self.hand_on(signal)),
            }
        }
    }

    #[cfg(unix)]
    fn hand_on(&self, signal: nix::sys::signal::Signal) {
        self.room.signal(signal as i32);
    }

    #[cfg(not(unix))]
    fn hand_on(&self, (): ()) {}

    /// The account of the room in one line: `12 connections, 11 audited, 1 plain text, 3 DNS names, 2 UDP refused`.
    pub fn told(&self, counts: &Counts) -> String {
        let account = self.room.account();
        let seen = account.connected(Way::Explicit) + account.connected(Way::Redirected);
        let all = seen.max(counts.all());
        let mut parts = vec![plural(all, "connection"), format!("{} audited", counts.audited)];
        let others = [
            (counts.plain, "plain text"),
            (counts.unread, "unread"),
            (counts.refused, "refused our certificate"),
            (all - counts.all() + counts.silent, "without a request"),
            (account.connected(Way::Redirected), "around the proxy"),
        ];
        parts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        parts.push(plural(account.distinct_names() as u64, "DNS name"));
        parts.push(format!("{} UDP refused", account.refused));
        if account.other_datagrams() > 0 {
            parts.push(format!("{} refused", plural(account.other_datagrams(), "other datagram")));
        }
        format!("room: {}", parts.join(", "))
    }
}

fn plural(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// Our environment without what leads out of the room, and with what the proxy needs.
pub fn variables(environment: &ChildEnvironment) -> Vec<(OsString, OsString)> {
    let changed: HashSet<&OsString> = environment.set.iter().map(|(name, _)| name).chain(&environment.remove).collect();
    let leads_out = |name: &OsString| LEAD_OUT.iter().any(|one| name == one);
    let kept = std::env::vars_os()
        .filter(|(name, _)| !changed.contains(name) && !leads_out(name) && name != "HOME" && name != "PATH");
    kept.chain(environment.set.iter().cloned()).collect()
}

/// The folder itself, or the repository around it; and for a linked worktree, the repository that it belongs to.
fn project(here: &Path, home: &Path) -> Vec<PathBuf> {
    let top =
        here.ancestors().take_while(|folder| !home.starts_with(folder)).find(|folder| folder.join(".git").exists());
    let top = top.unwrap_or(here).to_owned();
    let mut folders = vec![top.clone()];
    if let Ok(text) = std::fs::read_to_string(top.join(".git"))
        && let Some(folder) = text.strip_prefix("gitdir:")
    {
        let own = top.join(folder.trim());
        let common =
            std::fs::read_to_string(own.join("commondir")).map_or(own.clone(), |common| own.join(common.trim()));
        folders.extend(common.canonicalize().ok().filter(|common| !home.starts_with(common)));
    }
    folders
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The zone of the machine, not of `TZ`, which the command inherits anyway.
fn timezone() -> String {
    let link = std::fs::read_link("/etc/localtime").ok();
    let named = link.and_then(|link| link.to_str()?.rsplit_once("zoneinfo/").map(|(_, name)| name.to_owned()));
    named
        .or_else(|| read("/etc/timezone"))
        .filter(|name| Path::new("/usr/share/zoneinfo").join(name).is_file())
        .unwrap_or_else(|| "UTC".to_owned())
}

#[cfg(unix)]
fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(not(unix))]
fn hostname() -> String {
    "localhost".to_owned()
}

#[cfg(unix)]
fn user() -> String {
    let found = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    found.map_or_else(|| "user".to_owned(), |user| user.name)
}

#[cfg(not(unix))]
fn user() -> String {
    "user".to_owned()
}

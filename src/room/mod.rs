//! The sealed room: a command runs in namespaces of its own, with a machine around it that is invented or made the same
//! each time, and every connection that it opens arrives here.
//!
//! ```text
//! Plan -> Room::build -> Room::run(CMD) -> Outcome
//!             │ door (redirected TCP) ─┐
//!             │ proxy_listener ────────┴─► proxy        account: connections, names, datagrams
//! ```
//!
//! Linux only. Everything in the room lives in memory and in the kernel: when the room is dropped, or this process dies,
//! nothing of it is left. `docs/room.md` says what a room shows and what it hides.

mod account;
#[cfg(target_os = "linux")]
mod built;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod dns;
#[cfg(target_os = "linux")]
mod door;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
pub mod init;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod open;
mod outcome;
#[cfg(target_os = "linux")]
mod repository;
#[cfg(target_os = "linux")]
mod sealed;
#[cfg(target_os = "linux")]
mod step;
#[cfg(target_os = "linux")]
mod tap;
#[cfg(target_os = "linux")]
pub mod visible;

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use account::{Account, Asked, Connection, Datagrams, Way};
#[cfg(target_os = "linux")]
pub use built::Room;
#[cfg(target_os = "linux")]
pub use door::Door;
#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Door, Room};
pub use outcome::Outcome;

/// What one run finds around itself.
#[derive(Clone, Debug)]
pub struct Plan {
    pub hostname: String,
    /// IANA name. `TZ` is set only if `environment` has it.
    pub timezone: String,
    /// 32 hexadecimal digits.
    pub machine_id: String,
    /// Whose account the command runs under.
    pub user: String,
    /// As seen in the room: a fresh folder in memory.
    pub home: PathBuf,
    /// As seen in the room: holds a planted repository.
    pub cwd: PathBuf,
    pub git: Git,
    /// A network device beside loopback.
    pub interface: Option<Interface>,
    /// All of it, `PATH` among it; the room adds `HOME`, `USER` and `LOGNAME` where they are missing.
    pub environment: Vec<(String, String)>,
    /// Shell text, run in the home folder before the command.
    pub setup: Option<String>,
    pub time_limit: Duration,
    /// The command runs on a terminal of its own.
    pub terminal: bool,
}

/// What the planted repository and `.gitconfig` say.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Git {
    pub name: String,
    pub email: String,
    /// None where it is empty.
    pub remote: String,
    pub branch: String,
}

/// An invented network device.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Interface {
    pub name: String,
    /// Six pairs of hexadecimal digits with colons.
    pub mac: String,
    pub address: IpAddr,
}

impl Interface {
    pub(crate) fn mac_octets(&self) -> Result<[u8; 6], String> {
        let octets: Option<Vec<u8>> =
            self.mac.split(':').map(|pair| u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2)).collect();
        octets.and_then(|octets| octets.try_into().ok()).ok_or_else(|| format!("{:?} is no MAC address", self.mac))
    }
}

/// How a room is built, beside what is seen in it.
#[derive(Clone, Debug, Default)]
pub struct RoomOptions {
    /// The program that has the hidden command of the room: divulge itself. This executable where it is not given.
    pub init: Option<PathBuf>,
    /// The command that will run, so that its program is shown wherever it is installed.
    pub command: Vec<OsString>,
    /// Files and folders that are shown as well, read-only.
    pub show: Vec<PathBuf>,
    /// Folders of files that are copied in; the originals may go once the room is built.
    pub copy: Vec<PathBuf>,
    /// Folders that the command may write to.
    pub bind: Vec<PathBuf>,
    /// Loopback ports whose connections come to the door like those to other addresses.
    pub catch: Vec<u16>,
    /// The plan tells this machine's own facts: account, serial numbers and start-up id stay its own too, and no
    /// repository is planted.
    pub machine: bool,
    /// A folder of the machine that is the home, instead of a fresh one.
    pub home: Option<PathBuf>,
    /// As on a kernel without address translation: only connections to the usual ports are met.
    pub untranslated: bool,
    /// A room without namespaces is better than none: only the home and the environment are new, and the network is the
    /// machine's.
    pub allow_open_network: bool,
}

/// How well a room holds on this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Strength {
    Full,
    /// What is missing, and how to allow it.
    Weak(String),
}

#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    #[error("a sealed room needs the namespaces of Linux")]
    NotLinux,
    #[error("the room: {0}")]
    Plan(String),
    #[error("the room could not be built: cannot {step}: {why}{}", hint(.step))]
    Step { step: String, why: String },
    #[error("the room could not be built: {what}")]
    Io { what: &'static str, source: io::Error },
}

/// How to allow what failed.
fn hint(step: &str) -> &'static str {
    if step.contains("namespace")
        || step.contains("map the")
        || step.contains("mount /proc")
        || step.contains("root in memory")
    {
        "\nto allow it, whichever applies:\n  \
         in a container:     docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined \
         --security-opt apparmor=unconfined --security-opt systempaths=unconfined …\n  \
         Ubuntu 23.10+:      sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n  \
         older Debian:       sudo sysctl -w kernel.unprivileged_userns_clone=1\n  \
         namespaces used up: sudo sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000\n  \
         or run it as root"
    } else {
        ""
    }
}

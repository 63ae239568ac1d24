//! All that the first process of a room must know to build it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Git, Interface};

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Layout {
    pub hostname: String,
    pub timezone: String,
    pub machine_id: String,
    pub user: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
    pub cwd: PathBuf,
    /// What the planted repository in `cwd` says; none where `cwd` is a real folder.
    pub git: Option<Git>,
    pub interface: Option<Interface>,
    /// Loopback ports whose connections are redirected like those to other addresses.
    pub caught: Vec<u16>,
    /// Does not even try to redirect.
    pub untranslated: bool,
    /// Files and folders that are seen in the room at their own path.
    pub shown: Vec<Shown>,
    /// Folders whose files are copied into the room, so that the originals may go.
    pub copied: Vec<PathBuf>,
    /// The account, the serial numbers and the start-up id are the machine's own, not invented ones.
    pub machine: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Shown {
    pub path: PathBuf,
    /// Where it stands in the room.
    pub at: PathBuf,
    pub writable: bool,
}

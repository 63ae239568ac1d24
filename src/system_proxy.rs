//! Points the desktop's proxy settings at a running `serve`, and puts back what was there.
//!
//! ```text
//! on:   save -> guard -> set        off, or the guard when `serve` is gone: set back -> forget
//! ```
//!
//! A proxy setting that outlives its proxy cuts the user off, so three things see to it that none does: a
//! guard process of its own session holds a connection to `serve`, and puts the settings back when the kernel
//! closes it, however `serve` died; an entry among the programs started at login does the same after a power
//! cut; and `status` and `off` tell and mend what is left over. What is saved is on disk before anything is
//! changed, and only values that are still ours are put back: what the user has changed since stays.

mod desktop;

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::ca::CaError;
use crate::ca::files;
use desktop::Desktop;

/// Settings as they were and as we made them: `STATE/system-proxy.json`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    listen: SocketAddr,
    settings: Vec<Setting>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    desktop: String,
    key: String,
    /// `None` where it was not set.
    before: Option<String>,
    ours: String,
}

/// What `status` tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Status {
    /// The settings are not ours.
    Off,
    /// They are, `serve` answers and the guard watches it.
    On { listen: SocketAddr },
    /// They are, and `serve` is gone (`serving` false) or the guard is.
    LeftOver { listen: SocketAddr, serving: bool },
}

#[derive(Debug, thiserror::Error)]
pub enum SystemProxyError {
    #[error("nothing listens on {listen}: start `divulge serve --listen {listen}` first")]
    NotServing { listen: SocketAddr },
    #[error("no desktop settings found to change: neither gsettings (GNOME) nor kwriteconfig (KDE) is here")]
    NoDesktop,
    #[error("{desktop}: cannot read or change the proxy settings")]
    Desktop { desktop: String, source: io::Error },
    #[error("{desktop} did not keep {key}: is there a desktop session (DBUS_SESSION_BUS_ADDRESS)?")]
    NotKept { desktop: String, key: String },
    #[error("the guard that puts the settings back did not start, so they were not changed")]
    NoGuard { source: io::Error },
    #[error("{} is damaged ({reason}): put the proxy settings right by hand and remove it", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    State(#[from] CaError),
}

fn file(state: &Path) -> PathBuf {
    state.join("system-proxy.json")
}

/// Points the desktop at `listen`. `guard` starts this program as [`guard`] for the same state; it is given
/// back running.
pub fn on(state: &Path, listen: SocketAddr, guard: Command) -> Result<Option<Child>, SystemProxyError> {
    if !answers(listen) {
        return Err(SystemProxyError::NotServing { listen });
    }
    files::private_dir(state)?;
    let _lock = files::Lock::exclusive(state)?;
    match status(state)? {
        Status::On { listen: current } if current == listen => return Ok(None),
        Status::Off => {}
        // Saving our own settings as those to go back to would lose the user's for good.
        _ => put_back(state)?,
    }
    let desktops = Desktop::all();
    if desktops.is_empty() {
        return Err(SystemProxyError::NoDesktop);
    }
    let mut settings = Vec::new();
    for desktop in &desktops {
        let failed = |source| SystemProxyError::Desktop { desktop: desktop.name().to_owned(), source };
        for (key, ours) in desktop.wanted(listen).map_err(failed)? {
            let before = desktop.get(&key).map_err(failed)?;
            settings.push(Setting { desktop: desktop.name().to_owned(), key, before, ours });
        }
    }
    let saved = Saved { listen, settings };
    let text = serde_json::to_string_pretty(&saved).unwrap_or_default();
    files::write_private(&file(state), text.as_bytes())?;

    let result = start(guard).map_err(|source| SystemProxyError::NoGuard { source }).and_then(|guard| {
        at_login(state)?;
        change(&desktops, &saved)?;
        Ok(guard)
    });
    if result.is_err() {
        put_back(state)?;
    }
    result.map(Some)
}

/// Puts back what was there before [`on`]. Says whether there was anything to put back.
pub fn off(state: &Path) -> Result<bool, SystemProxyError> {
    if !file(state).exists() {
        return Ok(false);
    }
    let _lock = files::Lock::exclusive(state)?;
    put_back(state)?;
    Ok(true)
}

pub fn status(state: &Path) -> Result<Status, SystemProxyError> {
    let Some(saved) = load(state)? else { return Ok(Status::Off) };
    let serving = answers(saved.listen);
    let guarded =
        File::open(file(state)).is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
    Ok(match serving && guarded {
        true => Status::On { listen: saved.listen },
        false => Status::LeftOver { listen: saved.listen, serving },
    })
}

fn load(state: &Path) -> Result<Option<Saved>, SystemProxyError> {
    let path = file(state);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CaError::Io { what: "cannot read", path, source: error }.into()),
    };
    match serde_json::from_str(&text) {
        Ok(saved) => Ok(Some(saved)),
        Err(error) => Err(SystemProxyError::Damaged { path, reason: error.to_string() }),
    }
}

fn change(desktops: &[Desktop], saved: &Saved) -> Result<(), SystemProxyError> {
    for desktop in desktops {
        let name = desktop.name().to_owned();
        for setting in saved.settings.iter().filter(|setting| setting.desktop == name) {
            let set = desktop.set(&setting.key, Some(&setting.ours));
            set.map_err(|source| SystemProxyError::Desktop { desktop: name.clone(), source })?;
        }
        // Without a session bus gsettings says nothing and keeps nothing.
        for setting in saved.settings.iter().filter(|setting| setting.desktop == name) {
            if desktop.get(&setting.key).ok().flatten().as_deref() != Some(setting.ours.as_str()) {
                return Err(SystemProxyError::NotKept { desktop: name, key: setting.key.clone() });
            }
        }
        desktop.announce();
    }
    Ok(())
}

/// The caller holds the lock. What is saved is forgotten only once all of it is back.
fn put_back(state: &Path) -> Result<(), SystemProxyError> {
    let Some(saved) = load(state)? else { return Ok(()) };
    let desktops = Desktop::all();
    // The switch was set last: turned back first, no program meets half of a setting.
    for setting in saved.settings.iter().rev() {
        let name = || setting.desktop.clone();
        let failed = |source| SystemProxyError::Desktop { desktop: name(), source };
        let Some(desktop) = desktops.iter().find(|desktop| desktop.name() == setting.desktop) else {
            return Err(failed(io::Error::other("its tool is not on the PATH any more")));
        };
        let is_ours = || desktop.get(&setting.key).map_err(failed).map(|now| now.as_ref() == Some(&setting.ours));
        if setting.before.as_ref() != Some(&setting.ours) && is_ours()? {
            desktop.restore(&setting.key, setting.before.as_deref()).map_err(failed)?;
            if is_ours()? {
                return Err(SystemProxyError::NotKept { desktop: name(), key: setting.key.clone() });
            }
        }
    }
    desktops.iter().for_each(Desktop::announce);
    if let Some(entry) = login_entry() {
        files::remove(&entry)?;
    }
    files::remove(&file(state))?;
    Ok(())
}

/// Whether somebody takes connections at `listen`.
fn answers(listen: SocketAddr) -> bool {
    TcpStream::connect_timeout(&listen, Duration::from_secs(2)).is_ok()
}

/// What a guard prints once it watches.
const READY: &str = "guarding";

fn start(mut command: Command) -> io::Result<Child> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let Some(output) = child.stdout.take() else { return Err(io::Error::other("no pipe")) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Read to its end, so that a guard is not hurt by a pipe that closes.
        for line in io::BufReader::new(output).lines().map_while(Result::ok) {
            if line.ends_with(READY) {
                let _ = sender.send(());
            }
        }
    });
    match receiver.recv_timeout(Duration::from_secs(10)) {
        Ok(()) => Ok(child),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            Err(io::Error::other("it ended or hung before it watched"))
        }
    }
}

/// How long `serve` may be away before the settings are put back: long enough for a restart, short enough
/// that nobody looks for the fault elsewhere.
const RESTART: Duration = Duration::from_secs(3);

/// Watches `serve` for as long as the settings of `state` are ours, and puts them back when it is gone.
/// `patience` is how long it may take to come up in the first place.
pub fn guard(state: &Path, patience: Duration) -> Result<(), SystemProxyError> {
    let Some(saved) = load(state)? else { return Ok(()) };
    // The lock says that somebody watches, and goes with this process however it ends.
    let held = File::open(file(state)).map_err(|source| SystemProxyError::Write { path: file(state), source })?;
    if held.try_lock().is_err() {
        return Ok(());
    }
    // The terminal that `on` was called from may close.
    #[cfg(unix)]
    let _ = nix::unistd::setsid();

    let mut line = Lifeline::reach(state, saved.listen, patience);
    // Nobody listens where the desktop's session starts the guard.
    {
        use std::io::Write;
        let _ = writeln!(io::stdout(), "{READY}");
        let _ = io::stdout().flush();
    }
    loop {
        match &mut line {
            Some(lifeline) => {
                let alive = lifeline.wait();
                if !is_current(state, &held) {
                    return Ok(());
                }
                if !alive {
                    line = Lifeline::reach(state, saved.listen, RESTART);
                }
            }
            None => return put_back_if_current(state, &held),
        }
    }
}

/// Tried for a while: the desktop's own services may be busy ending or starting.
fn put_back_if_current(state: &Path, held: &File) -> Result<(), SystemProxyError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let result = {
            let _lock = files::Lock::exclusive(state)?;
            if is_current(state, held) { put_back(state) } else { Ok(()) }
        };
        if result.is_ok() || Instant::now() >= deadline {
            return result;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Whether the settings this guard watches over are still the saved ones: `off` removes the file, another
/// `on` replaces it and has its own guard.
fn is_current(state: &Path, held: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        match (std::fs::metadata(file(state)), held.metadata()) {
            (Ok(now), Ok(held)) => now.ino() == held.ino() && now.dev() == held.dev(),
            _ => false,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = held;
        file(state).exists()
    }
}

/// How a guard knows that `serve` lives.
enum Lifeline {
    /// A connection that the kernel closes when `serve` ends, however it does.
    #[cfg(unix)]
    Held(std::os::unix::net::UnixStream),
    /// Asking again and again.
    Asked(SocketAddr),
}

impl Lifeline {
    fn reach(state: &Path, listen: SocketAddr, patience: Duration) -> Option<Lifeline> {
        let deadline = Instant::now() + patience;
        loop {
            #[cfg(unix)]
            if let Ok(stream) = std::os::unix::net::UnixStream::connect(state.join("watch.sock"))
                && stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            {
                return Some(Lifeline::Held(stream));
            }
            if answers(listen) {
                return Some(Lifeline::Asked(listen));
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits a second at most, and says whether `serve` still lives.
    fn wait(&mut self) -> bool {
        match self {
            #[cfg(unix)]
            Lifeline::Held(stream) => {
                // What `serve` tells its watchers is not for us, but must be taken in.
                let mut ignored = [0; 16 * 1024];
                match stream.read(&mut ignored) {
                    Ok(0) => false,
                    Ok(_) => true,
                    Err(error) => matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                    ),
                }
            }
            Lifeline::Asked(listen) => {
                std::thread::sleep(Duration::from_secs(1));
                answers(*listen)
            }
        }
    }
}

/// The entry that starts a guard at login, as desktops on Linux read it (XDG autostart).
fn login_entry() -> Option<PathBuf> {
    if !cfg!(all(unix, not(target_os = "macos"))) {
        return None;
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let settings = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(settings.join("autostart/divulge-system-proxy.desktop"))
}

fn at_login(state: &Path) -> Result<(), SystemProxyError> {
    let Some(entry) = login_entry() else { return Ok(()) };
    let Ok(program) = std::env::current_exe() else { return Ok(()) };
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    let text = format!(
        "[Desktop Entry]\nType=Application\nName=divulge system proxy guard\nNoDisplay=true\nX-GNOME-Autostart-enabled=true\n\
         Exec={} system-proxy guard --patience 30 --state {}\n",
        exec_quoted(&program),
        exec_quoted(&state),
    );
    let write = || {
        std::fs::create_dir_all(entry.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(&entry, text)
    };
    write().map_err(|source| SystemProxyError::Write { path: entry.clone(), source })
}

/// An argument of `Exec` (Desktop Entry Specification, "The Exec key").
fn exec_quoted(path: &Path) -> String {
    let mut quoted = String::from("\"");
    for c in path.to_string_lossy().chars() {
        match c {
            // Once for the argument's quotes, once for the string's own escapes.
            '"' | '`' | '$' | '\\' => {
                quoted.push_str("\\\\");
                quoted.push_str(if c == '\\' { "\\\\" } else { "" });
                if c != '\\' {
                    quoted.push(c);
                }
            }
            '%' => quoted.push_str("%%"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(all(test, target_os = "linux"))]
mod tests;

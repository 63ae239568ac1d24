//! The proxy settings of desktops, as named values that can be read, set and unset.
//!
//! Tested: GNOME's gsettings. KDE is tested with its tools stood in for; macOS and Windows are written to
//! their tools' documentation and untested.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A desktop whose settings can be changed here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Desktop {
    Gnome { gsettings: PathBuf },
    Kde { read: PathBuf, write: PathBuf, dbus_send: Option<PathBuf> },
    MacOs { networksetup: PathBuf },
    Windows { reg: PathBuf },
}

/// One setting: its name as [`Desktop::get`] takes it, and what it has to be.
pub(super) type Wanted = (String, String);

const KDE_GROUP: [&str; 4] = ["--file", "kioslaverc", "--group", "Proxy Settings"];
/// What `kreadconfig` prints for a key that is not there.
const KDE_UNSET: &str = "\u{1}unset";
const WINDOWS_KEY: &str = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings";

impl Desktop {
    /// All that are on this machine: programs read the settings of one or the other, whatever is on the screen.
    pub(super) fn all() -> Vec<Desktop> {
        let mut found = Vec::new();
        if cfg!(target_os = "macos") {
            found.extend(program("networksetup").map(|networksetup| Desktop::MacOs { networksetup }));
            return found;
        }
        if cfg!(windows) {
            found.extend(program("reg.exe").map(|reg| Desktop::Windows { reg }));
            return found;
        }
        if let Some(gsettings) = program("gsettings") {
            let gnome = Desktop::Gnome { gsettings };
            // Without the desktop's schemas the tool knows no proxy.
            if gnome.get("org.gnome.system.proxy mode").is_ok_and(|value| value.is_some()) {
                found.push(gnome);
            }
        }
        for version in ["6", "5"] {
            let pair = (program(&format!("kreadconfig{version}")), program(&format!("kwriteconfig{version}")));
            if let (Some(read), Some(write)) = pair {
                found.push(Desktop::Kde { read, write, dbus_send: program("dbus-send") });
                break;
            }
        }
        found
    }

    /// As it is called in the saved settings and on the screen.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Desktop::Gnome { .. } => "GNOME",
            Desktop::Kde { .. } => "KDE",
            Desktop::MacOs { .. } => "macOS",
            Desktop::Windows { .. } => "Windows",
        }
    }

    /// What has to be set for `proxy`. The last one turns it on, so it is set last and taken back first.
    pub(super) fn wanted(&self, proxy: SocketAddr) -> io::Result<Vec<Wanted>> {
        let (host, port) = (proxy.ip().to_string(), proxy.port().to_string());
        let list =
            |settings: &[(&str, &str)]| settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Ok(match self {
            Desktop::Gnome { .. } => {
                let quoted = format!("'{host}'");
                list(&[
                    ("org.gnome.system.proxy.http host", &quoted),
                    ("org.gnome.system.proxy.http port", &port),
                    // Credentials of another proxy are not for us.
                    ("org.gnome.system.proxy.http use-authentication", "false"),
                    ("org.gnome.system.proxy.https host", &quoted),
                    ("org.gnome.system.proxy.https port", &port),
                    ("org.gnome.system.proxy ignore-hosts", "['localhost', '127.0.0.0/8', '::1']"),
                    ("org.gnome.system.proxy mode", "'manual'"),
                ])
            }
            Desktop::Kde { .. } => {
                let url = match proxy {
                    SocketAddr::V4(_) => format!("http://{host} {port}"),
                    SocketAddr::V6(_) => format!("http://[{host}] {port}"),
                };
                list(&[
                    ("httpProxy", &url),
                    ("httpsProxy", &url),
                    ("NoProxyFor", "localhost,127.0.0.1,::1"),
                    ("ReversedException", "false"),
                    ("ProxyType", "1"),
                ])
            }
            Desktop::MacOs { networksetup } => {
                let services = output(networksetup, &["-listallnetworkservices"])?;
                // The first line explains; services with a star are off.
                let services = services.lines().skip(1).filter(|line| !line.starts_with('*') && !line.is_empty());
                let value = format!("Yes {host} {port}");
                services
                    .flat_map(|service| ["webproxy", "securewebproxy"].map(|kind| format!("{kind} {service}")))
                    .map(|key| (key, value.clone()))
                    .collect()
            }
            Desktop::Windows { .. } => list(&[
                ("ProxyServer", &proxy.to_string()),
                ("ProxyOverride", "localhost;127.*;[::1]"),
                ("ProxyEnable", "0x1"),
            ]),
        })
    }

    /// The value as the desktop's tool prints it; `None` where there is none.
    pub(super) fn get(&self, key: &str) -> io::Result<Option<String>> {
        match self {
            Desktop::Gnome { gsettings } => {
                let (schema, name) = split(key)?;
                output(gsettings, &["get", schema, name]).map(Some)
            }
            Desktop::Kde { read, .. } => {
                let arguments: Vec<&str> =
                    KDE_GROUP.into_iter().chain(["--key", key, "--default", KDE_UNSET]).collect();
                Ok(Some(output(read, &arguments)?).filter(|value| value != KDE_UNSET))
            }
            Desktop::MacOs { networksetup } => {
                let (kind, service) = split(key)?;
                let text = output(networksetup, &[&format!("-get{kind}"), service])?;
                let field =
                    |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
                Ok(Some(format!("{} {} {}", field("Enabled:"), field("Server:"), field("Port:"))))
            }
            Desktop::Windows { reg } => {
                // Fails where there is no such value.
                let Ok(text) = output(reg, &["query", WINDOWS_KEY, "/v", key]) else { return Ok(None) };
                let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
                Ok(line.and_then(|rest| rest.trim().split_once(' ')).map(|(_, value)| value.trim().to_owned()))
            }
        }
    }

    /// Sets a value that [`Self::get`] gave; `None` unsets it.
    pub(super) fn set(&self, key: &str, value: Option<&str>) -> io::Result<()> {
        match self {
            Desktop::Gnome { gsettings } => {
                let (schema, name) = split(key)?;
                match value {
                    Some(value) => output(gsettings, &["set", schema, name, value])?,
                    None => output(gsettings, &["reset", schema, name])?,
                };
            }
            Desktop::Kde { write, .. } => {
                let last = match value {
                    Some(value) => ["--", value],
                    None => ["--delete", ""],
                };
                let arguments: Vec<&str> = KDE_GROUP.into_iter().chain(["--key", key]).chain(last).collect();
                output(write, &arguments)?;
            }
            Desktop::MacOs { networksetup } => {
                let (kind, service) = split(key)?;
                let fields: Vec<&str> = value.unwrap_or("No").split(' ').collect();
                if let [_, host, port] = fields[..]
                    && !host.is_empty()
                {
                    output(networksetup, &[&format!("-set{kind}"), service, host, port])?;
                }
                let state = if fields.first() == Some(&"Yes") { "on" } else { "off" };
                output(networksetup, &[&format!("-set{kind}state"), service, state])?;
            }
            Desktop::Windows { reg } => {
                match value {
                    Some(value) => {
                        let kind = if key == "ProxyEnable" { "REG_DWORD" } else { "REG_SZ" };
                        output(reg, &["add", WINDOWS_KEY, "/v", key, "/t", kind, "/d", value, "/f"])?
                    }
                    None => output(reg, &["delete", WINDOWS_KEY, "/v", key, "/f"])?,
                };
            }
        }
        Ok(())
    }

    /// Brings a value back. On GNOME a value that was never set and one set to the default read the same, so
    /// it is unset first and set only where that does not bring it back.
    pub(super) fn restore(&self, key: &str, saved: Option<&str>) -> io::Result<()> {
        if matches!(self, Desktop::Gnome { .. }) {
            self.set(key, None)?;
            if self.get(key)?.as_deref() == saved {
                return Ok(());
            }
        }
        self.set(key, saved)
    }

    /// Tells running programs, where the desktop does not by itself.
    pub(super) fn announce(&self) {
        if let Desktop::Kde { dbus_send: Some(dbus_send), .. } = self {
            let signal = "org.kde.KIO.Scheduler.reparseSlaveConfiguration";
            // Programs started later read the file anyway.
            let _ = output(dbus_send, &["--type=signal", "/KIO/Scheduler", signal, "string:"]);
        }
    }
}

fn split(key: &str) -> io::Result<(&str, &str)> {
    key.split_once(' ').ok_or_else(|| io::Error::other(format!("{key:?} names no setting")))
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn output(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches(['\n', '\r']).to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    Err(io::Error::other(format!("{name} {}: {}", arguments.join(" "), said.trim().replace(char::is_control, " "))))
}

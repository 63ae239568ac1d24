//! The machine: state folder, CA, stores, clock, port, and what earlier use has left.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Check;
use crate::ca::Authority;
use crate::ca::store::{self, Certificate, Place};
use crate::setup::Journal;
use crate::system_proxy::{self, Status};

/// Looks at all of it; changes nothing.
pub fn checks(state: &Path, listen: SocketAddr) -> Vec<Check> {
    let mut checks = folder(state);
    checks.extend(authority(state));
    checks.push(port(state, listen));
    checks.extend(leftovers(state, listen));
    checks.extend(environment(listen));
    checks
}

#[cfg(unix)]
fn folder(state: &Path) -> Vec<Check> {
    use std::os::unix::fs::PermissionsExt;
    const AREA: &str = "state folder";
    let name = state.display().to_string();
    let mode = |path: &Path| std::fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o777);
    let Some(found) = mode(state) else {
        return vec![Check::note(AREA, name, "is not there yet: serve makes it")];
    };
    let mut checks = vec![match found & 0o077 {
        0 => Check::good(AREA, name.clone(), "is its owner's alone"),
        _ => Check::bad(AREA, name.clone(), format!("is open to others (mode {found:o})"), format!("chmod 700 {name}")),
    }];
    if let Some(found) = mode(&state.join("ca.key")).filter(|found| found & 0o077 != 0) {
        let key = state.join("ca.key").display().to_string();
        let what = format!("can be read by others (mode {found:o})");
        checks.push(Check::bad(AREA, key.clone(), what, format!("chmod 600 {key}, then divulge ca rotate")));
    }
    checks
}

#[cfg(not(unix))]
fn folder(_: &Path) -> Vec<Check> {
    Vec::new()
}

fn authority(state: &Path) -> Vec<Check> {
    const AREA: &str = "CA of serve";
    let (der, description) = match Authority::certificate_in(state) {
        Ok(Some(found)) => found,
        Ok(None) => return vec![Check::note(AREA, "certificate", "none yet: serve makes one")],
        Err(error) => return vec![Check::bad(AREA, "certificate", error.to_string(), "divulge ca rotate")],
    };
    let now = time::OffsetDateTime::now_utc();
    let mut checks = Vec::new();
    if now < description.not_before {
        let what = format!("the clock says {}, before the CA was made ({})", now.date(), description.not_before.date());
        checks.push(Check::bad("clock", "time", what, "set the clock; certificates depend on it"));
    }
    checks.push(if now > description.not_after {
        Check::bad(AREA, "validity", format!("it ended on {}", description.not_after.date()), "divulge ca rotate")
    } else if description.not_after - now < time::Duration::days(30) {
        Check::note(AREA, "validity", format!("it ends on {}", description.not_after.date()))
            .with_fix("divulge ca rotate")
    } else {
        Check::good(AREA, "validity", format!("until {}, for {}", description.not_after.date(), description.scope()))
    });
    let file = std::path::absolute(state.join("ca.pem")).unwrap_or_else(|_| state.join("ca.pem"));
    let certificate = Certificate { name: description.name.clone(), der, file };
    for store in store::stores(&Place::here()) {
        let name = store.name.clone();
        checks.push(match store.holds(&certificate) {
            Ok(true) => Check::good(AREA, name, "trusts it"),
            Ok(false) => {
                Check::note(AREA, name, "does not trust it; programs that read no file of certificates refuse it")
                    .with_fix("divulge ca install")
            }
            Err(error) => Check::note(AREA, name, error.to_string()),
        });
    }
    checks
}

/// Whether a serve with this state folder runs.
#[cfg(unix)]
fn is_served(state: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(state.join("watch.sock")).is_ok()
}

#[cfg(not(unix))]
fn is_served(_: &Path) -> bool {
    false
}

fn port(state: &Path, listen: SocketAddr) -> Check {
    const AREA: &str = "port";
    let name = listen.to_string();
    let answers = TcpStream::connect_timeout(&listen, Duration::from_millis(500)).is_ok();
    let ours = is_served(state);
    match (answers, ours) {
        (true, true) => Check::good(AREA, name, "divulge serves there"),
        (true, false) => Check::bad(
            AREA,
            name,
            "another program listens there",
            "end it, or choose another port: divulge serve --listen 127.0.0.1:PORT",
        ),
        (false, _) => match std::net::TcpListener::bind(listen) {
            Ok(_) => Check::good(AREA, name, "is free"),
            Err(error) => Check::bad(AREA, name, error.to_string(), "divulge serve --listen 127.0.0.1:PORT"),
        },
    }
}

fn leftovers(state: &Path, listen: SocketAddr) -> Vec<Check> {
    const AREA: &str = "settings";
    let mut checks = Vec::new();
    match system_proxy::status(state) {
        Ok(Status::LeftOver { listen, .. }) => checks.push(Check::bad(
            AREA,
            "system proxy",
            format!("points at {listen}, where nobody answers or guards it"),
            "divulge system-proxy off",
        )),
        Ok(Status::On { listen }) => checks.push(Check::good(AREA, "system proxy", format!("points at {listen}"))),
        Ok(Status::Off) | Err(_) => {}
    }
    let serves = TcpStream::connect_timeout(&listen, Duration::from_millis(500)).is_ok();
    match Journal::open(state) {
        Ok(journal) => {
            for (file, assistants) in journal.files() {
                let name = file.display().to_string();
                let ids = assistants.join(", ");
                checks.push(match serves {
                    true => Check::good(AREA, name, format!("set up for {ids}")),
                    false => Check::bad(
                        AREA,
                        name,
                        format!("set up for {ids}, and nothing listens on {listen}: they reach nobody"),
                        format!("divulge serve, or divulge uninstall {}", assistants.join(" ")),
                    ),
                });
            }
        }
        Err(error) => checks.push(Check::bad(AREA, "setup.json", error.to_string(), "put the backups back by hand")),
    }
    checks
}

/// Whether `run` has written this file of certificates: others are beside it.
fn of_a_run(bundle: &Path) -> bool {
    ["ca.pem", "trust.p12"].iter().all(|name| bundle.with_file_name(name).is_file())
}

/// What of this very environment leads elsewhere.
fn environment(listen: SocketAddr) -> Vec<Check> {
    const AREA: &str = "environment";
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut checks = Vec::new();
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let Some(value) = set(name) else { continue };
        let shown = crate::environment::without_credentials(&value);
        let address = shown.rsplit("//").next().and_then(|rest| rest.trim_end_matches('/').parse::<SocketAddr>().ok());
        let dead = address.filter(|address| {
            address.ip().is_loopback() && TcpStream::connect_timeout(address, Duration::from_millis(500)).is_err()
        });
        checks.push(if dead.is_some() {
            Check::bad(AREA, name, format!("{shown}: nothing listens there"), format!("unset {name}"))
        } else if address == Some(listen) {
            Check::good(AREA, name, "leads to serve")
        } else if address.is_some() && set("SSL_CERT_FILE").is_some_and(|file| of_a_run(Path::new(&file))) {
            Check::good(AREA, name, "leads to the `divulge run` that this is part of")
        } else {
            Check::note(AREA, name, format!("leads to {shown}; run puts the audit before it"))
                .with_fix(format!("divulge run --upstream-proxy {shown} -- CMD"))
        });
    }
    if let Some(value) = set("NODE_TLS_REJECT_UNAUTHORIZED").filter(|value| value == "0") {
        let what = format!("{value}: Node verifies nobody's certificate, with or without divulge");
        checks.push(Check::bad(AREA, "NODE_TLS_REJECT_UNAUTHORIZED", what, "unset NODE_TLS_REJECT_UNAUTHORIZED"));
    }
    let files = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    for name in files {
        let Some(value) = set(name).filter(|value| !Path::new(value).exists()) else { continue };
        checks.push(Check::bad(AREA, name, format!("names {value}, which is not there"), format!("unset {name}")));
    }
    let early = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    if SystemTime::now() < early {
        checks.push(Check::bad("clock", "time", "says a year before 2026", "set the clock; certificates depend on it"));
    }
    checks
}

//! `SSLKEYLOGFILE`: the secrets of our own TLS on both sides, for whoever looks at packets with Wireshark or `inspect --key-log`.
//!
//! With them all that was captured can be read, so the file is its owner's alone and a warning says that it is written.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::KeyLog;

/// The log that the environment asks for: one for the whole process, as the variable is.
pub fn of_environment() -> Option<Arc<dyn KeyLog>> {
    static LOG: OnceLock<Option<Arc<Log>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let path = std::env::var_os("SSLKEYLOGFILE").filter(|path| !path.is_empty())?;
        let path = Path::new(&path);
        match open(path) {
            Ok(file) => {
                tracing::warn!(file = %path.display(), "SSLKEYLOGFILE: the secrets of all TLS connections are written; whoever has them can read what was captured");
                Some(Arc::new(Log(Mutex::new(file))))
            }
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "SSLKEYLOGFILE cannot be written; no secrets are");
                None
            }
        }
    });
    log.clone().map(|log| log as Arc<dyn KeyLog>)
}

/// Appended to, as every program does with this file; its owner's alone, also where another has made it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

struct Log(Mutex<File>);

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl KeyLog for Log {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = crate::engine::line::hex;
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        // In one piece, since other programs may append to the file too. Packets without their secrets stay unread.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}

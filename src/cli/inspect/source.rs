//! What `inspect` is given, request by request: raw files, folders of them, sessions.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::cli::start::StartError;
use crate::engine::{Part, Request};
use crate::session::flow::Exchange;
use crate::session::raw::Captured;
use crate::session::store::{MAGIC, SessionReader};

/// One request, not read yet.
#[derive(Clone)]
pub enum Source {
    Http(PathBuf),
    Recorded { session: Arc<Session>, index: usize, id: String },
}

/// A session file.
pub struct Session {
    pub path: PathBuf,
    pub reader: Mutex<SessionReader<File>>,
}

/// One request, read.
pub struct Loaded {
    pub captured: Captured,
    /// Messages of a WebSocket behind it.
    pub messages: Vec<Part>,
    /// What is wrong with it.
    pub damage: Option<String>,
    /// Findings and the flow as they were written live.
    pub lines: Vec<String>,
}

impl Source {
    /// The flow's id.
    pub fn id(&self) -> String {
        match self {
            Source::Http(path) => path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            Source::Recorded { id, .. } => id.clone(),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Source::Http(path) => path,
            Source::Recorded { session, .. } => &session.path,
        }
    }

    /// What its session keeps of bodies, if that is not all.
    pub fn kept(&self) -> Option<String> {
        let Source::Recorded { session, .. } = self else { return None };
        let bodies = &session.reader.lock().unwrap_or_else(PoisonError::into_inner).scan.about.bodies;
        (bodies != "full").then(|| bodies.clone())
    }

    /// Findings and the flow as they were written live.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Source::Http(_) => Vec::new(),
            Source::Recorded { session, index, .. } => {
                let mut reader = session.reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.lines(*index).unwrap_or_default()
            }
        }
    }

    /// What is wrong with the session as a whole.
    pub fn damage(&self) -> Option<String> {
        let Source::Recorded { session, index: 0, .. } = self else { return None };
        let reader = session.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.scan.damage.as_ref().map(|damage| format!("{} at byte {}", damage.reason, damage.offset))
    }

    /// For messages.
    pub fn name(&self) -> String {
        match self {
            Source::Http(path) => path.display().to_string(),
            Source::Recorded { session, id, .. } => format!("{}, flow {id}", session.path.display()),
        }
    }

    pub fn load(&self) -> Result<Loaded, String> {
        match self {
            Source::Http(path) => {
                let raw = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
                let captured = Captured::read(raw.into()).map_err(|error| {
                    format!("{error}; expected a raw HTTP request: request line, headers, empty line, body")
                })?;
                let damage = captured.damage();
                Ok(Loaded { captured, messages: Vec::new(), damage, lines: Vec::new() })
            }
            Source::Recorded { session, index, .. } => {
                let read = session.reader.lock().unwrap_or_else(PoisonError::into_inner).exchange(*index);
                let (exchange, damages) = read.map_err(|error| format!("cannot be read: {error}"))?;
                let damage = damages.first().map(|damage| format!("{} at byte {}", damage.reason, damage.offset));
                loaded(exchange, damage)
            }
        }
    }
}

fn loaded(exchange: Exchange, damage: Option<String>) -> Result<Loaded, String> {
    let raw: Bytes = [&exchange.request.head[..], &exchange.request.body[..]].concat().into();
    let mut captured = Captured::read(raw).map_err(|error| format!("its head cannot be read: {error}"))?;
    // Where it went is known better than the head says.
    let request = Request {
        host: exchange.host.clone(),
        port: exchange.port,
        secure: exchange.secure,
        head: captured.request.head.clone(),
    };
    captured.request = Arc::new(request);
    let messages = exchange.parts().into_iter().skip(1).collect();
    Ok(Loaded { captured, messages, damage, lines: exchange.lines })
}

/// What is given, request by request, in order.
pub fn sources(given: &[PathBuf]) -> Result<Vec<Source>, StartError> {
    let mut out = Vec::new();
    for path in captures(given)? {
        match session(&path)? {
            None => out.push(Source::Http(path)),
            Some(session) => {
                let session = Arc::new(session);
                let ids: Vec<String> = {
                    let reader = session.reader.lock().unwrap_or_else(PoisonError::into_inner);
                    reader.ids().map(str::to_owned).collect()
                };
                let flows = ids.into_iter().enumerate();
                out.extend(flows.map(|(index, id)| Source::Recorded { session: session.clone(), index, id }));
            }
        }
    }
    Ok(out)
}

/// The session in `path`, if it is one.
pub fn session(path: &Path) -> Result<Option<Session>, StartError> {
    let wrong = |error: io::Error| StartError::Wrong(format!("{}: cannot be read: {error}", path.display()));
    let mut file = File::open(path).map_err(wrong)?;
    let begins = &MAGIC[..MAGIC.len() - 2];
    let mut first = vec![0; begins.len()];
    // A file that is shorter is no session.
    if file.read_exact(&mut first).is_err() || first != begins {
        return Ok(None);
    }
    let reader =
        SessionReader::open(file).map_err(|error| StartError::Wrong(format!("{}: {error}", path.display())))?;
    Ok(Some(Session { path: path.to_owned(), reader: Mutex::new(reader) }))
}

/// The files themselves, and the `*.http` and `*.session` files of folders, sorted.
fn captures(given: &[PathBuf]) -> Result<Vec<PathBuf>, StartError> {
    let wrong =
        |path: &Path, error: io::Error| StartError::Wrong(format!("{}: cannot be read: {error}", path.display()));
    let mut files = Vec::new();
    for path in given {
        if !fs::metadata(path).map_err(|error| wrong(path, error))?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        let mut open = vec![path.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| wrong(&folder, error))? {
                let entry = entry.map_err(|error| wrong(&folder, error))?;
                let kind = entry.file_type().map_err(|error| wrong(&entry.path(), error))?;
                let wanted = || {
                    let path = entry.path();
                    ["http", "session"].iter().any(|known| path.extension() == Some(OsStr::new(known)))
                };
                // A link to a folder may lead in a circle; one to a file is a file.
                if kind.is_dir() {
                    open.push(entry.path());
                } else if wanted() {
                    files.push(entry.path());
                }
            }
        }
        if files.len() == before {
            let message = format!("{}: no captured requests (*.http, *.session) there", path.display());
            return Err(StartError::Wrong(message));
        }
        files[before..].sort();
    }
    Ok(files)
}

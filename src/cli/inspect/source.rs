//! What `inspect` is given, request by request: raw files, folders of them, sessions.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::session::Session;
use crate::cli::start::StartError;
use crate::session::flow::{BodyState, Exchange, Message, Piece, Step};
use crate::session::raw::Captured;
use crate::session::store::FlowPlaces;
use crate::session::{Damage, Format};

/// One request, not read yet.
#[derive(Clone)]
pub enum Source {
    Http(PathBuf),
    Recorded { session: Arc<Session>, index: usize, id: String },
    Imported { capture: Arc<Imported>, index: usize },
}

/// A capture of another tool, all of it in memory.
pub struct Imported {
    path: PathBuf,
    exchanges: Vec<Exchange>,
    damages: Vec<Damage>,
}

/// One request, read.
pub struct Loaded {
    pub captured: Captured,
    /// What an audit of it takes, in wire order.
    pub steps: Vec<Step>,
    /// What is wrong with it.
    pub damage: Option<String>,
    /// Findings and the flow as they were written live.
    pub lines: Vec<String>,
    /// Of the answer.
    pub status: Option<u16>,
    /// Milliseconds since 1970.
    pub started: Option<u64>,
}

impl Source {
    /// The flow's id.
    pub fn id(&self) -> String {
        match self {
            Source::Http(path) => path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            Source::Recorded { id, .. } => id.clone(),
            Source::Imported { capture, index } => capture.exchanges[*index].id.clone(),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Source::Http(path) => path,
            Source::Recorded { session, .. } => &session.path,
            Source::Imported { capture, .. } => &capture.path,
        }
    }

    /// What its session keeps of its bodies, if that is not all.
    pub fn kept(&self) -> Option<String> {
        let Source::Recorded { session, index, .. } = self else { return None };
        let own = session.scan.flows().get(*index).and_then(|flow| flow.bodies);
        let bodies = own.map_or_else(|| session.scan.about.bodies.clone(), |own| own.name().to_owned());
        (bodies != "full").then_some(bodies)
    }

    /// The name of the policy that its session was recorded under.
    pub fn policy(&self) -> Option<&str> {
        let Source::Recorded { session, .. } = self else { return None };
        Some(&session.scan.about.policy)
    }

    /// Findings and the flow as they were written live.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Source::Http(_) | Source::Imported { .. } => Vec::new(),
            Source::Recorded { session, index, .. } => session.read(|reader| reader.lines(*index)).unwrap_or_default(),
        }
    }

    /// What is wrong with the session as a whole.
    pub fn damage(&self) -> Option<String> {
        if let Source::Imported { capture, index: 0 } = self {
            let lost = capture.damages.iter().filter(|damage| damage.lost).count();
            let first = capture.damages.iter().find(|damage| damage.lost)?;
            return Some(format!("{lost} places could not be read, the first at {first}"));
        }
        let Source::Recorded { session, index: 0, .. } = self else { return None };
        session.scan.damage.as_ref().map(|damage| format!("{} at byte {}", damage.reason, damage.offset))
    }

    /// For messages.
    pub fn name(&self) -> String {
        match self {
            Source::Http(path) => path.display().to_string(),
            Source::Recorded { session, id, .. } => format!("{}, flow {id}", session.path.display()),
            Source::Imported { capture, .. } => format!("{}, flow {}", capture.path.display(), self.id()),
        }
    }

    /// All of it, the answer too. A raw file has none.
    pub fn exchange(&self) -> Result<Exchange, String> {
        match self {
            Source::Http(_) => {
                let captured = self.load()?.captured;
                let request = &captured.request;
                let head = request.head.raw().clone();
                Ok(Exchange {
                    id: self.id(),
                    host: request.host.clone(),
                    port: request.port,
                    secure: request.secure,
                    request: Message { head, body: captured.body().clone(), ..Message::default() },
                    ..Exchange::default()
                })
            }
            Source::Imported { capture, index } => Ok(capture.exchanges[*index].clone()),
            Source::Recorded { session, index, .. } => {
                let read = session.read(|reader| reader.exchange(*index));
                read.map(|(exchange, _)| exchange).map_err(|error| format!("cannot be read: {error}"))
            }
        }
    }

    /// The same, of a session without what was answered but for its head.
    pub fn asked(&self) -> Result<Exchange, String> {
        let Source::Recorded { session, index, .. } = self else { return self.exchange() };
        let read = session.read(|reader| reader.asked(*index));
        read.map(|(exchange, _)| exchange).map_err(|error| format!("cannot be read: {error}"))
    }

    pub fn load(&self) -> Result<Loaded, String> {
        match self {
            Source::Http(path) => {
                let raw = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
                let captured = Captured::read(raw.into()).map_err(|error| {
                    format!("{error}; expected a raw HTTP request: request line, headers, empty line, body")
                })?;
                let damage = captured.damage();
                let parts = [Some(captured.part()), captured.trailers()];
                let steps = parts.into_iter().flatten().map(Step::Audit).collect();
                Ok(Loaded { captured, steps, damage, lines: Vec::new(), status: None, started: None })
            }
            Source::Recorded { session, index, .. } => {
                let read = session.read(|reader| reader.asked(*index));
                let (exchange, damages) = read.map_err(|error| format!("cannot be read: {error}"))?;
                let damage = damages.first().map(|damage| format!("{} at byte {}", damage.reason, damage.offset));
                loaded(exchange, damage)
            }
            Source::Imported { capture, index } => loaded(capture.exchanges[*index].clone(), None),
        }
    }
}

fn loaded(exchange: Exchange, damage: Option<String>) -> Result<Loaded, String> {
    let captured = Captured::of(&exchange).map_err(|error| format!("its head cannot be read: {error}"))?;
    let steps = exchange.steps();
    let status = exchange.response.as_ref().and_then(|response| response.status());
    // What nobody read is a finding, not a damage.
    let told = matches!(exchange.request.pieces.last(), Some(Piece::Unread { kept: false, .. }));
    let cut = exchange.request.body_state == BodyState::Cut && !told;
    let damage = damage.or_else(|| cut.then(|| "its body was not kept whole".to_owned()));
    Ok(Loaded { captured, steps, damage, lines: exchange.lines, status, started: exchange.started })
}

/// What is given, request by request, in order.
pub fn sources(given: &[PathBuf]) -> Result<Vec<Source>, StartError> {
    sources_with(given, None)
}

/// The same with the secrets of TLS that captured packets need, in the file that programs write for `SSLKEYLOGFILE`.
pub fn sources_with(given: &[PathBuf], key_log: Option<&Path>) -> Result<Vec<Source>, StartError> {
    let key_log = match key_log {
        Some(path) => fs::read(path)
            .map_err(|error| StartError::Wrong(format!("--key-log: {}: cannot be read: {error}", path.display())))?,
        None => Vec::new(),
    };
    let mut out = Vec::new();
    for path in captures(given)? {
        match Session::open(&path)? {
            None => match imported(&path, &key_log)? {
                None => out.push(Source::Http(path)),
                Some(capture) => {
                    let capture = Arc::new(capture);
                    let flows = 0..capture.exchanges.len();
                    out.extend(flows.map(|index| Source::Imported { capture: capture.clone(), index }));
                }
            },
            Some(session) => {
                out.extend(recorded(&Arc::new(session)));
            }
        }
    }
    Ok(out)
}

/// The flows of a session, in the order in which their requests were complete: lines of one may stand before its request.
pub fn recorded(session: &Arc<Session>) -> Vec<Source> {
    let mut flows: Vec<_> = session.scan.flows().iter().enumerate().collect();
    flows.sort_by_key(|(_, flow)| flow.request.or(flow.lines.first().copied()));
    let source =
        |(index, flow): (usize, &FlowPlaces)| Source::Recorded { session: session.clone(), index, id: flow.id.clone() };
    flows.into_iter().map(source).collect()
}

/// The capture of another tool in `path`, if it is one.
fn imported(path: &Path, key_log: &[u8]) -> Result<Option<Imported>, StartError> {
    let wrong = |error: io::Error| StartError::Wrong(format!("{}: cannot be read: {error}", path.display()));
    let mut first = Vec::new();
    File::open(path).and_then(|file| file.take(64 * 1024).read_to_end(&mut first)).map_err(wrong)?;
    let Some(format) = Format::sniff(&first) else { return Ok(None) };
    let file = Bytes::from(fs::read(path).map_err(wrong)?);
    let mut exchanges = Vec::new();
    let damages = format.read(&file, key_log, &mut |exchange| exchanges.push(exchange));
    if exchanges.is_empty() {
        let why = damages.first().map_or("nothing is in it".to_owned(), |damage| damage.to_string());
        return Err(StartError::Wrong(format!("{}: no request in it can be read: {why}", path.display())));
    }
    Ok(Some(Imported { path: path.to_owned(), exchanges, damages }))
}

/// The files themselves, and of folders those with the endings of captures, sorted.
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
                    ["http", "session", "har", "mitm", "flow", "flows", "pcapng", "pcap"]
                        .iter()
                        .any(|known| path.extension() == Some(OsStr::new(known)))
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
            let message =
                format!("{}: no captured requests (*.http, *.session, *.har, *.mitm, *.pcapng) there", path.display());
            return Err(StartError::Wrong(message));
        }
        files[before..].sort();
    }
    Ok(files)
}

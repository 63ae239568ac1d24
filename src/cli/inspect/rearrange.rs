//! Sessions put together, and taken apart: new files with chains of their own.

use std::collections::{BTreeMap, HashSet};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use super::kept::sessions;
use super::session::Session;
use crate::cli::start::StartError;
use crate::cli::{INCOMPLETE, WRONG_USAGE, fail, printable};
use crate::record::timestamp;
use crate::session::flow::Millis;
use crate::session::store::{About, SessionWriter};

/// What makes the flows of one part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum By {
    /// One session for each host
    #[default]
    Host,
    /// For each day, in UTC
    Day,
    /// For each flow
    Flow,
}

/// One flow of a session, and what it is called in the new one.
struct Flow {
    session: Arc<Session>,
    index: usize,
    id: String,
}

/// `--merge OUT`: all flows of all files, in the order they began.
pub fn merge(files: &[PathBuf], out: &Path) -> ExitCode {
    let list = match sessions(files) {
        Ok(list) => list.into_iter().map(Arc::new).collect::<Vec<_>>(),
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let about = match merged_about(&list) {
        Ok(about) => about,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let mut flows: Vec<(Millis, Flow)> = Vec::new();
    let mut taken = HashSet::new();
    for (number, session) in list.iter().enumerate() {
        for (index, flow) in session.scan.flows().iter().enumerate() {
            let id = unique(&mut taken, &flow.id, number + 1);
            let started = session.read(|reader| reader.started(index)).unwrap_or_default();
            // What has no time of its own stays behind what came before it.
            let at = started.or(flows.last().map(|(at, _)| *at)).unwrap_or_default();
            flows.push((at, Flow { session: session.clone(), index, id }));
        }
    }
    flows.sort_by_key(|(at, _)| *at);
    let flows: Vec<Flow> = flows.into_iter().map(|(_, flow)| flow).collect();
    match write(out, &about, &flows) {
        Ok(written) => told(&list, &[written]),
        Err(error) => fail(INCOMPLETE, &named("--merge", out, &error)),
    }
}

/// `--split DIR`: each part a session.
pub fn split(files: &[PathBuf], folder: &Path, by: By) -> ExitCode {
    let list = match sessions(files) {
        Ok(list) => list.into_iter().map(Arc::new).collect::<Vec<_>>(),
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    if let Err(error) = std::fs::create_dir_all(folder) {
        return fail(WRONG_USAGE, &named("--split", folder, &error));
    }
    let mut written = Vec::new();
    for session in &list {
        let stem = session.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for (part, flows) in parts(session, by) {
            let path = folder.join(format!("{stem}.{part}.session"));
            let about = About { from: vec![session.scan.chain()], ..session.scan.about.clone() };
            match write(&path, &about, &flows) {
                Ok(one) => written.push(one),
                Err(error) => return fail(INCOMPLETE, &named("--split", &path, &error)),
            }
        }
    }
    told(&list, &written)
}

fn parts(session: &Arc<Session>, by: By) -> BTreeMap<String, Vec<Flow>> {
    let mut parts: BTreeMap<String, Vec<Flow>> = BTreeMap::new();
    for (index, flow) in session.scan.flows().iter().enumerate() {
        let (host, started) = session.read(|reader| reader.where_and_when(index)).unwrap_or_default();
        let part = match by {
            By::Host if host.is_empty() => "no-host".to_owned(),
            By::Host => host,
            By::Day => match started {
                Some(at) => timestamp(std::time::UNIX_EPOCH + std::time::Duration::from_millis(at))
                    .split('T')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                None => "no-day".to_owned(),
            },
            By::Flow => flow.id.clone(),
        };
        // A name of a file, and nothing that leads elsewhere.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
        let part: String = part.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
        let flow = Flow { session: session.clone(), index, id: flow.id.clone() };
        parts.entry(part).or_default().push(flow);
    }
    parts
}

/// What holds for all of them. Bodies that are kept otherwise cannot be in one session.
fn merged_about(list: &[Arc<Session>]) -> Result<About, StartError> {
    let Some(first) = list.first() else { return Ok(About::default()) };
    let of = |session: &Session| session.scan.about.clone();
    let mut about = of(first);
    for other in list {
        let theirs = of(other);
        if theirs.bodies != about.bodies {
            return Err(StartError::Wrong(format!(
                "--merge: {} has bodies {}, {} has bodies {}: they cannot be one session",
                first.path.display(),
                about.bodies,
                other.path.display(),
                theirs.bodies
            )));
        }
        about.started = about.started.min(theirs.started);
        if (&theirs.policy, &theirs.policy_text) != (&about.policy, &about.policy_text) {
            // Nobody may take the certificates of one for those of the other.
            (about.policy, about.policy_text) = ("several".to_owned(), String::new());
        }
    }
    about.follows = None;
    about.from = list.iter().map(|session| session.scan.chain()).collect();
    Ok(about)
}

/// The id, or where another flow has it, one that says which file it is of.
fn unique(taken: &mut HashSet<String>, id: &str, file: usize) -> String {
    let mut name = id.to_owned();
    while !taken.insert(name.clone()) {
        name = format!("{file}.{name}");
    }
    name
}

struct Written {
    path: PathBuf,
    flows: usize,
    chain: String,
    damages: Vec<String>,
}

/// A new session, its owner's alone; a file that is there stays.
fn write(path: &Path, about: &About, flows: &[Flow]) -> io::Result<Written> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = BufWriter::new(options.open(path)?);
    let (mut writer, first) = SessionWriter::begin(about);
    out.write_all(&first)?;
    let mut damages = Vec::new();
    for Flow { session, index, id } in flows {
        let read = session.read(|reader| reader.exchange(*index)).map_err(io::Error::other)?;
        let (mut exchange, damaged) = read;
        let place = &session.scan.flows()[*index];
        damages.extend(damaged.iter().map(|damage| {
            format!("{}, flow {}: {} at byte {}", session.path.display(), place.id, damage.reason, damage.offset)
        }));
        let lines = exchange.lines.iter().map(|line| renamed(line, &place.id, id)).collect::<Vec<_>>();
        exchange.id = id.clone();
        if place.request.is_some() {
            out.write_all(&writer.request(&exchange))?;
        }
        if !lines.is_empty() {
            out.write_all(&writer.lines(id, lines))?;
        }
        if place.end.is_some() {
            out.write_all(&writer.end(&exchange))?;
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(Written { path: path.to_owned(), flows: flows.len(), chain: writer.chain(), damages })
}

/// A line about the flow `old` as one about `new`; nothing else of it changes.
fn renamed(line: &str, old: &str, new: &str) -> String {
    if old == new {
        return line.to_owned();
    }
    let member = |id: &str| format!("\"flow\":{}", serde_json::Value::from(id));
    line.replacen(&member(old), &member(new), 1)
}

fn named(option: &str, path: &Path, error: &io::Error) -> StartError {
    StartError::Wrong(format!("{option}: {}: cannot be written: {error}", path.display()))
}

/// What was written, and what of the old ones could not be read.
fn told(list: &[Arc<Session>], written: &[Written]) -> ExitCode {
    let mut sound = true;
    for session in list {
        if let Some(damage) = &session.scan.damage {
            sound = false;
            let said = format!("{}: {} at byte {}", session.path.display(), damage.reason, damage.offset);
            eprintln!("divulge: {}", printable(&format!("{said}; what is before it is taken over")));
        }
    }
    for one in written {
        for damage in &one.damages {
            sound = false;
            eprintln!("divulge: {}", printable(damage));
        }
        println!("{}: {} flows, chain {}", printable(&one.path.display().to_string()), one.flows, one.chain);
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) }
}

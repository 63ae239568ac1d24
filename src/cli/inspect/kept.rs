//! What can be said of a session without looking through its bytes anew: its chain, its lines, its certificates.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use super::session::Session;
use super::source::{self, Source};
use crate::cli::start::engine::{self, Aliases, KeptPseudonyms};
use crate::cli::start::{self, StartError};
use crate::cli::{INCOMPLETE, WRONG_USAGE, fail, printable};
use crate::config::Options;
use crate::engine::facts::{Fact, Facts};
use crate::engine::line::{LineContext, flow_line};
use crate::engine::policy::Policy;
use crate::engine::{DecodeLimits, Engine, EngineParts, Outgoing};
use crate::index;
use crate::session::audit::audit;

/// Every session among `files`; an error for what is none.
pub(super) fn sessions(files: &[PathBuf]) -> Result<Vec<Session>, StartError> {
    let expected =
        |path: &Path| StartError::Wrong(format!("{}: is no session of divulge, which --record writes", path.display()));
    files.iter().map(|path| Session::open(path)?.ok_or_else(|| expected(path))).collect()
}

/// What there is to do of `masked` where an option asks for an audit anew: nothing. Of a session that also has requests kept
/// whole, in `files`, they are left out with a word; one that has none is an error.
pub(super) fn left_out(option: &str, masked: Vec<Source>, files: &[Source]) -> Result<Vec<Source>, StartError> {
    let Some(bodies) = masked.first().and_then(Source::kept) else { return Ok(masked) };
    let whole: HashSet<&Path> = files.iter().map(Source::path).collect();
    if let Some(source) = masked.iter().find(|source| !whole.contains(source.path())) {
        return Err(StartError::Wrong(format!(
            "{option}: {} was recorded with bodies {}: its findings are those of the recording, and nothing in it can be looked \
             through anew; record with --record-bodies full for that",
            source.path().display(),
            source.kept().unwrap_or_default()
        )));
    }
    eprintln!("divulge: {option}: {} requests were recorded with bodies {bodies}, and are left out", masked.len());
    Ok(Vec::new())
}

/// `--verify`: the chain of each file, and the certificates of what is kept whole.
pub fn verify(options: &Options, files: &[PathBuf]) -> ExitCode {
    let sessions = match sessions(files) {
        Ok(sessions) => sessions,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let mut sound = true;
    for session in sessions {
        let session = Arc::new(session);
        let (head, chain) = {
            let scan = &session.scan;
            let erased = match scan.erased {
                0 => String::new(),
                count => format!(", {count} erased"),
            };
            match &scan.damage {
                None => (format!("{} records in order{erased}, chain {}", scan.position.records, scan.chain()), true),
                Some(damage) => {
                    let said = format!(
                        "record {} (byte {}): {}; the {} before it are in order{erased}",
                        scan.position.records, damage.offset, damage.reason, scan.position.records
                    );
                    (said, false)
                }
            }
        };
        println!("{}: {}", session.path.display(), printable(&head));
        sound &= chain;
        match certificates(options, &session) {
            Ok(None) => {}
            Ok(Some(told)) => {
                println!("{}: {} certificates hold, {} do not", session.path.display(), told.held, told.broken.len());
                for flow in &told.broken {
                    println!("  flow {}: {}", printable(&flow.0), printable(&flow.1));
                }
                sound &= told.broken.is_empty();
            }
            Err(error) => return fail(WRONG_USAGE, &error),
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) }
}

/// What came of recomputing certificates.
struct Told {
    held: usize,
    broken: Vec<(String, String)>,
}

/// Edits every request again under the session's own policy, and compares. None where nothing can be recomputed.
fn certificates(options: &Options, session: &Arc<Session>) -> Result<Option<Told>, StartError> {
    let about = &session.scan.about;
    let (other, whole): (Vec<_>, Vec<_>) =
        source::recorded(session).into_iter().partition(|source| source.kept().is_some());
    if let Some(bodies) = other.first().and_then(Source::kept) {
        let (path, some) = (session.path.display(), if whole.is_empty() { "" } else { "some " });
        println!("{path}: {some}bodies are {bodies}, so {some}certificates cannot be recomputed");
    }
    if whole.is_empty() {
        return Ok(None);
    }
    if about.policy_text.is_empty() {
        println!("{}: its policy is not in it, so certificates cannot be recomputed", session.path.display());
        return Ok(None);
    }
    let policy = Policy::parse(&format!("{}.toml", about.policy), &about.policy_text)
        .map_err(|error| StartError::Wrong(error.to_string()))?;
    let facts = match &options.facts {
        Some(path) => Facts::parse(&path.display().to_string(), &start::read(path)?)
            .map_err(|error| StartError::Wrong(error.to_string()))?,
        None => Facts::new(crate::facts::collect().into_iter().map(|(kind, value)| Fact::new(&kind, &value)).collect()),
    };
    let mut kept = KeptPseudonyms::default();
    let aliases = Aliases::read(options)?;
    let vault = kept.vault(options, &policy, &aliases)?;
    let digest_key = start::digest_key(&options.state_dir()?);
    let engine = Engine::new(EngineParts {
        rules: engine::rules(options)?,
        facts: aliases.among(facts),
        on_error: options.on_error(engine::enforces(&policy)),
        policy,
        digest_key,
        limits: DecodeLimits::default(),
    });
    let engine = Arc::new(match vault {
        Some(vault) => engine.with_vault(vault),
        None => engine,
    });
    let limit = options.body_limit()?.0;
    let mut told = Told { held: 0, broken: Vec::new() };
    for source in whole {
        let id = source.id();
        let Ok(loaded) = source.load() else { continue };
        let live = loaded.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let Some(live) = live.map(|mut line| line["certificate"].take()).find(Value::is_object) else { continue };
        let mut flow = engine.open(id.clone(), loaded.captured.request.clone());
        let audited = audit(&mut flow, loaded.steps, limit, engine.on_error());
        let withheld = matches!(audited.outgoing, Outgoing::Withheld(_));
        let context = LineContext {
            time: "",
            session: "",
            flow: &id,
            host: &loaded.captured.request.host,
            method: None,
            path: None,
            client: None,
            client_version: None,
            id: None,
            user: None,
            group: None,
            reveal: false,
            digest_key: &digest_key,
        };
        let line = flow_line(&flow.close(), &context);
        let again = serde_json::from_str::<Value>(&line).map(|mut line| line["certificate"].take()).unwrap_or_default();
        let differs =
            ["rest_before", "rest_after", "edits", "integrity"].into_iter().find(|part| live[part] != again[part]);
        match differs {
            None => told.held += 1,
            Some(_) if withheld => told.broken.push((id, "the request would be withheld now".to_owned())),
            Some(part) => {
                told.broken.push((id, format!("`{part}` comes out otherwise (the same facts and state folder?)")))
            }
        }
    }
    Ok(Some(told))
}

/// `--erase FLOW`: the sessions without these flows, in their places; their chains hold as before.
pub fn erase(files: &[PathBuf], flows: &[String]) -> ExitCode {
    let sessions = match sessions(files) {
        Ok(sessions) => sessions,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    for session in sessions {
        let wanted = |id: &str| flows.iter().any(|glob| crate::config::glob_fits(glob, id));
        match without(&session, &wanted) {
            Ok((flows, records)) => println!("{}: {flows} flows erased, {records} records", session.path.display()),
            Err(error) => return fail(INCOMPLETE, &error),
        }
    }
    ExitCode::SUCCESS
}

fn without(session: &Session, gone: &dyn Fn(&str) -> bool) -> io::Result<(usize, u64)> {
    let flows = session.scan.flows().iter().filter(|flow| gone(&flow.id)).count();
    let folder = session.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with mode 0600, and put in the session's place when it is whole.
    let mut out = tempfile::Builder::new().prefix(".erasing-").tempfile_in(folder)?;
    let mut file = File::open(&session.path)?;
    let mut buffered = io::BufWriter::new(out.as_file_mut());
    let records = session.scan.erase(&mut file, &mut buffered, gone).map_err(io::Error::other)?;
    buffered.flush()?;
    drop(buffered);
    out.as_file().sync_all()?;
    // What the index knows of these flows goes before they do.
    index::forget(&session.path)?;
    out.persist(&session.path).map_err(|error| error.error)?;
    index::forget(&session.path)?;
    Ok((flows, records))
}

//! What can be said of a session without looking through its bytes anew: its chain, its lines, its certificates.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};

use serde_json::Value;

use super::source::{self, Session, Source};
use crate::cli::start::{self, KeptPseudonyms, StartError};
use crate::cli::{INCOMPLETE, WRONG_USAGE, fail, printable};
use crate::config::Options;
use crate::engine::facts::{Fact, Facts};
use crate::engine::line::{LineContext, flow_line, value_hmac};
use crate::engine::policy::Policy;
use crate::engine::{DecodeLimits, Engine, EngineParts, Outgoing};

/// Every session among `files`; an error for what is none.
fn sessions(files: &[PathBuf]) -> Result<Vec<Session>, StartError> {
    let expected =
        |path: &Path| StartError::Wrong(format!("{}: is no session of divulge, which --record writes", path.display()));
    files.iter().map(|path| source::session(path)?.ok_or_else(|| expected(path))).collect()
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
            let reader = session.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let scan = &reader.scan;
            let erased = match scan.erased {
                0 => String::new(),
                count => format!(", {count} erased"),
            };
            match &scan.damage {
                None => (format!("{} records in order{erased}, chain {}", scan.records, scan.chain()), true),
                Some(damage) => {
                    let said = format!(
                        "record {} (byte {}): {}; the {} before it are in order{erased}",
                        scan.records, damage.offset, damage.reason, scan.records
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
    let (about, ids) = {
        let reader = session.reader.lock().unwrap_or_else(PoisonError::into_inner);
        (reader.scan.about.clone(), reader.ids().map(str::to_owned).collect::<Vec<_>>())
    };
    if about.bodies != "full" {
        println!("{}: bodies are {}, so certificates cannot be recomputed", session.path.display(), about.bodies);
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
    let aliases = start::Aliases::read(options)?;
    let vault = kept.vault(options, &policy, &aliases)?;
    let digest_key = start::digest_key(&options.state_dir()?);
    let engine = Engine::new(EngineParts {
        rules: start::rules(options)?,
        facts: aliases.among(facts),
        on_error: options.on_error(start::enforces(&policy)),
        policy,
        digest_key,
        limits: DecodeLimits::default(),
    });
    let engine = Arc::new(match vault {
        Some(vault) => engine.with_vault(vault),
        None => engine,
    });
    let mut told = Told { held: 0, broken: Vec::new() };
    for (index, id) in ids.into_iter().enumerate() {
        let source = Source::Recorded { session: session.clone(), index, id: id.clone() };
        let Ok(loaded) = source.load() else { continue };
        let live = loaded.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let Some(live) = live.map(|mut line| line["certificate"].take()).find(Value::is_object) else { continue };
        let mut flow = engine.open(id.clone(), loaded.captured.request.clone());
        let mut withheld = false;
        for part in std::iter::once(loaded.captured.part()).chain(loaded.messages) {
            withheld |= matches!(flow.audit(part).outgoing, Outgoing::Withheld(_));
        }
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

/// `--find VALUE`: the flows in which the value left, told by its keyed digest alone.
pub fn find(options: &Options, files: &[PathBuf], value: &str) -> ExitCode {
    let found = || -> Result<(), StartError> {
        let key = start::digest_key(&options.state_dir()?);
        let digests: Vec<String> =
            [value.to_owned(), value.to_lowercase()].iter().map(|v| value_hmac(&key, v)).collect();
        let mut count = 0;
        for session in sessions(files)? {
            let mut reader = session.reader.lock().unwrap_or_else(PoisonError::into_inner);
            for index in 0..reader.len() {
                let lines = reader.lines(index).unwrap_or_default();
                for line in lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                    if line["value_hmac"].as_str().is_some_and(|digest| digests.iter().any(|known| known == digest)) {
                        count += 1;
                        let say = |name: &str| printable(line[name].as_str().unwrap_or_default());
                        println!(
                            "{}  {}  {}  {}  {}",
                            say("time"),
                            say("flow"),
                            say("host"),
                            say("kind"),
                            say("location")
                        );
                    }
                }
            }
        }
        println!("{count} findings of this value");
        Ok(())
    };
    match found() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(WRONG_USAGE, &error),
    }
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
    let reader = session.reader.lock().unwrap_or_else(PoisonError::into_inner);
    let flows = reader.ids().filter(|id| gone(id)).count();
    let folder = session.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with mode 0600, and put in the session's place when it is whole.
    let mut out = tempfile::Builder::new().prefix(".erasing-").tempfile_in(folder)?;
    let mut file = File::open(&session.path)?;
    let mut buffered = io::BufWriter::new(out.as_file_mut());
    let records = reader.scan.erase(&mut file, &mut buffered, gone).map_err(io::Error::other)?;
    buffered.flush()?;
    drop(buffered);
    out.as_file().sync_all()?;
    out.persist(&session.path).map_err(|error| error.error)?;
    Ok((flows, records))
}

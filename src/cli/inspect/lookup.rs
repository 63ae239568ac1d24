//! What is asked of sessions without their bytes being read: by their index.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::rules::table;
use crate::cli::start::{self, StartError};
use crate::cli::{INCOMPLETE, WRONG_USAGE, fail, printable};
use crate::config::Options;
use crate::engine::line::value_hmac;
use crate::index::{Index, IndexError, Query};
use crate::record::timestamp;
use crate::session::store::SessionError;

/// `--find VALUE`: the flows in which the value left, told by its keyed digest alone.
pub fn find(options: &Options, files: &[PathBuf], value: &str, narrowed: &Query) -> ExitCode {
    let key = match options.state_dir() {
        Ok(state) => start::digest_key(&state),
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let values = [value.to_owned(), value.to_lowercase()].iter().map(|value| value_hmac(&key, value)).collect();
    let query = Query { values, ..narrowed.clone() };
    looked_up(files, |index, out| {
        let mut told = Ok(());
        let count = index.findings(&query, &mut |line| {
            if told.is_ok() {
                told = writeln!(out, "{}", row(line));
            }
        })?;
        told?;
        Ok(count)
    })
    .map_or_else(ended, |(count, sound)| {
        println!("{count} findings of this value");
        status(sound)
    })
}

fn row(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    let say = |name: &str| printable(line[name].as_str().unwrap_or_default());
    ["time", "flow", "host", "kind", "location"].map(say).join("  ")
}

/// `--list`: the flows, with what was found in them.
pub fn list(files: &[PathBuf], query: &Query) -> ExitCode {
    looked_up(files, |index, out| {
        let flows = index.flows(query)?;
        let mut rows = vec![["FLOW", "TIME", "REQUEST", "HOST", "BYTES", "VERDICT", "FOUND"].map(str::to_owned)];
        for flow in &flows {
            let time = flow.started.map(|at| std::time::UNIX_EPOCH + std::time::Duration::from_millis(at));
            let found: Vec<String> = flow.kinds.iter().map(|(kind, count)| format!("{kind} ×{count}")).collect();
            rows.push([
                flow.id.clone(),
                time.map(timestamp).unwrap_or_default(),
                format!("{} {}", flow.method, flow.path),
                flow.host.clone(),
                flow.bytes_sent.to_string(),
                flow.verdict.clone(),
                found.join(", "),
            ]);
        }
        out.write_all(printable(&table(&rows)).as_bytes())?;
        Ok(flows.len() as u64)
    })
    .map_or_else(ended, |(count, sound)| {
        println!("{count} flows");
        status(sound)
    })
}

enum Ended {
    Wrong(StartError),
    Io(io::Error),
}

fn ended(ended: Ended) -> ExitCode {
    match ended {
        Ended::Wrong(error) => fail(WRONG_USAGE, &error),
        // Whoever read the results has seen enough.
        Ended::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ended::Io(error) => fail(INCOMPLETE, &error),
    }
}

fn status(sound: bool) -> ExitCode {
    if sound { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) }
}

/// What `look` counts in the index of each file, and whether all of them are sound.
fn looked_up(
    files: &[PathBuf],
    look: impl Fn(&Index, &mut dyn Write) -> Result<u64, IndexError>,
) -> Result<(u64, bool), Ended> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut count, mut sound) = (0, true);
    for file in files {
        let index = Index::of(file).map_err(|error| Ended::Wrong(named(file, &error)))?;
        count += look(&index, &mut out).map_err(|error| match error {
            IndexError::Io(error) => Ended::Io(error),
            other => Ended::Wrong(named(file, &other)),
        })?;
        if let Ok(Some(damage)) = index.damage() {
            sound = false;
            let said = format!("{}: {} at byte {}", file.display(), damage.reason, damage.offset);
            eprintln!("divulge: {}", printable(&said));
        }
    }
    out.flush().map_err(Ended::Io)?;
    Ok((count, sound))
}

fn named(path: &Path, error: &IndexError) -> StartError {
    let path = path.display();
    StartError::Wrong(match error {
        IndexError::Session(SessionError::NotASession) => {
            format!("{path}: is no session of divulge, which --record writes")
        }
        error => match std::error::Error::source(error) {
            Some(source) => format!("{path}: {error}: {source}"),
            None => format!("{path}: {error}"),
        },
    })
}

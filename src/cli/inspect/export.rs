//! Captures in the formats of others: an HTTP archive, a `curl` command.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::source::{Source, sources};
use crate::cli::start::StartError;
use crate::cli::{INCOMPLETE, WRONG_USAGE, fail, printable};
use crate::session::curl::curl;
use crate::session::har::{Around, Writer};

/// `--har FILE`: everything that is given as one archive, its owner's alone.
pub fn har(files: &[PathBuf], to: &Path) -> ExitCode {
    let list = match sources(files) {
        Ok(list) => list,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    match write_har(&list, to) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(INCOMPLETE),
        Err(error) => {
            let error = StartError::Wrong(format!("--har: {}: cannot be written: {error}", to.display()));
            fail(INCOMPLETE, &error)
        }
    }
}

/// How many requests could not be read.
fn write_har(list: &[Source], to: &Path) -> io::Result<usize> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = io::BufWriter::new(options.open(to)?);
    let mut out = Vec::new();
    let mut writer = Writer::begin(&Around::default(), &mut out);
    let mut failed = 0;
    for source in list {
        match source.exchange() {
            Ok(exchange) => writer.put(&exchange, &mut out),
            Err(error) => {
                failed += 1;
                eprintln!("divulge: {}", printable(&format!("{}: {error}", source.name())));
            }
        }
        // Entry by entry: the archive may be larger than memory.
        file.write_all(&out)?;
        out.clear();
    }
    writer.end(&mut out);
    file.write_all(&out)?;
    file.flush()?;
    Ok(failed)
}

/// `--curl FLOW`: one request as a command that sends the same.
pub fn as_curl(files: &[PathBuf], flow: &str) -> ExitCode {
    let list = match sources(files) {
        Ok(list) => list,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let Some(source) = list.iter().find(|source| source.id() == flow) else {
        return fail(WRONG_USAGE, &StartError::Wrong(format!("--curl: no flow is called {flow}")));
    };
    let exchange = match source.exchange() {
        Ok(exchange) => exchange,
        Err(error) => return fail(INCOMPLETE, &StartError::Wrong(format!("{}: {error}", source.name()))),
    };
    match curl(&exchange) {
        Ok(command) => {
            for what in command.left_out {
                eprintln!("divulge: note: {what}");
            }
            println!("{}", command.command);
            ExitCode::SUCCESS
        }
        Err(error) => fail(INCOMPLETE, &error),
    }
}

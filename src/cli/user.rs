//! `divulge user`: lines for the file of a gateway's users.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{INCOMPLETE, WRONG_USAGE, fail};
use crate::access::{AccessError, Users, hash_password, hash_token};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    /// Print the line of a user, or add it to a file
    ///
    /// The password is the first line of standard input. With --token one is drawn and printed instead, once: only its
    /// digest is kept.
    #[command(
        after_help = "Examples:\n  divulge user add ann --group dev --file /etc/divulge/users < password.txt\n  divulge user add ci --group build --token --file /etc/divulge/users"
    )]
    Add(Add),
}

#[derive(clap::Args, Clone, Debug)]
struct Add {
    /// The user's name
    name: String,
    /// A group of the user; repeatable
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Draw a token instead of reading a password
    #[arg(long)]
    token: bool,
    /// The file of --users to add the line to; without it the line is printed
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub fn run(args: Args) -> ExitCode {
    let Command::Add(add) = args.command;
    match add.line() {
        Ok((line, token)) => match &add.file {
            None => {
                println!("{line}");
                told(token)
            }
            Some(file) => match append(file, &line) {
                Ok(()) => told(token),
                Err(error) => fail(INCOMPLETE, &error),
            },
        },
        Err(error) => fail(WRONG_USAGE, &error),
    }
}

fn told(token: Option<String>) -> ExitCode {
    if let Some(token) = token {
        eprintln!("the token, which is shown only now: {token}");
    }
    ExitCode::SUCCESS
}

impl Add {
    /// The line, and the token if one was drawn.
    fn line(&self) -> Result<(String, Option<String>), AccessError> {
        let wrong = |text: &str| text.is_empty() || text.chars().any(|c| c == ':' || c.is_control());
        if wrong(&self.name) || self.name.starts_with('#') || self.name.trim() != self.name {
            return Err(AccessError(
                "a name holds no colon and no control characters, and does not begin with #".into(),
            ));
        }
        if let Some(group) = self.groups.iter().find(|group| wrong(group) || group.contains(',')) {
            return Err(AccessError(format!(
                "`{}` is no name of a group: neither colon nor comma",
                group.escape_debug()
            )));
        }
        let (hash, token) = if self.token {
            let token = format!("dvt_{}", crate::engine::line::hex(&super::start::random::<24>()));
            (hash_token(&token), Some(token))
        } else {
            (hash_password(&password()?)?, None)
        };
        let groups = if self.groups.is_empty() { String::new() } else { format!(":{}", self.groups.join(",")) };
        Ok((format!("{}:{hash}{groups}", self.name), token))
    }
}

fn password() -> Result<String, AccessError> {
    if io::stdin().is_terminal() {
        eprint!("password (shown as you type; give it by a file or pipe to hide it): ");
        let _ = io::stderr().flush();
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|e| AccessError(format!("the password cannot be read: {e}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(AccessError("no password on standard input; --token draws one instead".into()));
    }
    Ok(password.to_owned())
}

/// Adds `line` if the file is right with it.
fn append(file: &Path, line: &str) -> Result<(), AccessError> {
    let name = file.display().to_string();
    let wrong = |e: io::Error| AccessError(format!("{name}: {e}"));
    let mut text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(error)),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    Users::parse(&name, &text)?;
    crate::ca::files::write_private(file, text.as_bytes()).map_err(|e| AccessError(format!("{name}: {e}")))
}

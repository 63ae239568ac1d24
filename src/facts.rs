//! What this machine would give away: the facts that are then looked for in what leaves it.
//!
//! The only place that reads the machine. Files, variables and a few bounded commands; never the network,
//! never long, and what cannot be read is left out. Values are raw and complete, common ones (`main`, `bash`)
//! among them: how much a value says is for who looks for it to weigh, by its kind.
//!
//! Linux is read from `/etc`, `/proc` and `/sys`; macOS and Windows by the commands that ship with them
//! (untested). Not collected, because nothing says them without asking the network: the public address, the
//! place, the network's name for this host.

mod machine;
mod person;
mod place;

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Kind and value, as in a `--facts` file; none empty, none twice.
pub fn collect() -> Vec<(String, String)> {
    collect_from(&Machine { root: PathBuf::from("/"), variable: &|name| std::env::var(name).ok(), commands: true })
}

/// A credential of the environment, and the host of the base URL that stands beside it. Has no `Debug`.
pub struct Credential {
    pub value: String,
    pub host: String,
}

/// The credentials that the environment sets for a base URL of its own.
pub fn credentials() -> Vec<Credential> {
    person::credentials(&Machine {
        root: PathBuf::from("/"),
        variable: &|name| std::env::var(name).ok(),
        commands: false,
    })
}

fn collect_from(machine: &Machine<'_>) -> Vec<(String, String)> {
    let mut facts = Facts::default();
    // The commands take longest, so they run while the files are read.
    std::thread::scope(|scope| {
        let zone = scope.spawn(|| gathered(|facts| place::zone(machine, facts)));
        let git = scope.spawn(|| gathered(|facts| person::git(machine, facts)));
        let runtimes = scope.spawn(|| gathered(|facts| machine::runtimes(machine, facts)));
        let asked = scope.spawn(|| gathered(|facts| machine::asked(machine, facts)));
        place::locale(machine, &mut facts);
        person::user(machine, &mut facts);
        person::environment(machine, &mut facts);
        person::installs(machine, &mut facts);
        machine::host(machine, &mut facts);
        machine::system(machine, &mut facts);
        machine::hardware(machine, &mut facts);
        machine::network(machine, &mut facts);
        for found in [zone, git, runtimes, asked].into_iter().filter_map(|thread| thread.join().ok()) {
            for (kind, value) in found.list {
                facts.add(&kind, value);
            }
        }
    });
    facts.list
}

fn gathered(read: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = Facts::default();
    read(&mut facts);
    facts
}

/// Facts in the order they were found.
#[derive(Default)]
struct Facts {
    list: Vec<(String, String)>,
    seen: HashSet<(String, String)>,
}

impl Facts {
    fn add(&mut self, kind: &str, value: impl AsRef<str>) {
        let value = value.as_ref().trim_matches(|c: char| c.is_whitespace() || c == '\0');
        if value.is_empty() || value.contains(['\n', '\r', '\0']) {
            return;
        }
        let fact = (kind.to_owned(), value.to_owned());
        if self.seen.insert(fact.clone()) {
            self.list.push(fact);
        }
    }

    fn add_all(&mut self, kind: &str, values: impl IntoIterator<Item = impl AsRef<str>>) {
        values.into_iter().for_each(|value| self.add(kind, value));
    }
}

/// Where facts come from. Tests plant a root of their own.
struct Machine<'a> {
    root: PathBuf,
    variable: &'a (dyn Fn(&str) -> Option<String> + Sync),
    commands: bool,
}

impl Machine<'_> {
    fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// A small text file, without its last line end.
    fn read(&self, absolute: &str) -> Option<String> {
        read_text(&self.path(absolute))
    }

    /// The names in a folder, sorted.
    fn list(&self, absolute: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(absolute));
        let mut names: Vec<String> =
            entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").or_else(|| self.variable("USERPROFILE")).map(PathBuf::from)
    }

    /// What `program` prints, if it does so at once.
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        if self.commands { ask(program, arguments) } else { None }
    }
}

/// At most 256 KiB of a regular file, as text.
fn read_text(path: &Path) -> Option<String> {
    const LIMIT: u64 = 256 * 1024;

    // A fifo or device in a file's place would block.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.trim_end_matches(['\n', '\r', '\0']).to_owned())
}

/// How long a command may take. Those asked answer within milliseconds; one that does not is left out.
const PATIENCE: Duration = Duration::from_millis(1500);

fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut output = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // Not joined: something the command started may hold the pipe open for ever.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = (&mut output).take(256 * 1024).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    let read = receiver.recv_timeout(PATIENCE);
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    let bytes = read.ok()?.ok()?;
    status.success().then(|| String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

#[cfg(test)]
mod tests;

//! divulge as a user starts it: the real binary, through its command line.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Authority, soon};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_divulge");

/// A running `divulge serve`; killed when dropped.
pub struct Divulge {
    pub address: SocketAddr,
    pub folder: TempDir,
    child: Child,
    errors: Arc<Mutex<Vec<u8>>>,
}

/// The command line of `divulge serve` while it is put together.
pub struct Serve {
    folder: TempDir,
    arguments: Vec<String>,
    /// What the shell sets before it becomes divulge.
    shell: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// In a mount namespace of its own.
    apart: bool,
}

impl Divulge {
    /// A proxy that decrypts everything, trusts `authority` and takes every connection to `upstream`.
    pub async fn before(authority: &Authority, upstream: SocketAddr) -> Self {
        Self::serve().intercept("all").trusting(authority).to(upstream).start().await
    }

    /// `divulge serve` on a free port with a state of its own; findings go to a file.
    pub fn serve() -> Serve {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let arguments = vec![
            "serve".into(),
            "--listen=127.0.0.1:0".into(),
            format!("--state={}", path("state")),
            format!("--findings={}", path("findings.jsonl")),
        ];
        Serve { folder, arguments, shell: Vec::new(), variables: Vec::new(), apart: false }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The certificate that clients must trust.
    pub fn ca_file(&self) -> PathBuf {
        self.state().join("ca.pem")
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("divulge runs")
    }

    /// What it has written to standard error so far.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.errors.lock().unwrap()).into_owned()
    }

    /// Waits until standard error speaks of `what`.
    pub async fn wait_for_error(&self, what: &str) -> String {
        for _ in 0..200 {
            let errors = self.errors();
            if errors.contains(what) {
                return errors;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("standard error never spoke of {what:?}; it says:\n{}", self.errors());
    }

    /// The lines of the findings file so far: findings and flows.
    pub fn lines(&self) -> Vec<Value> {
        read_lines(&self.folder.path().join("findings.jsonl"))
    }

    pub fn findings(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line.get("kind").is_some()).collect()
    }

    /// Waits for the first line for which `wanted` holds.
    pub async fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..300 {
            if let Some(line) = self.lines().into_iter().find(&wanted) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let all: Vec<String> = self.lines().iter().map(ToString::to_string).collect();
        panic!("no finding about {what}; there are:\n{}\nstandard error:\n{}", all.join("\n"), self.errors());
    }

    /// Waits for a finding at `location`.
    pub async fn finding_at(&self, location: &str) -> Value {
        self.wait_for(location, |line| line["location"].as_str().is_some_and(|at| without_window(at) == location)).await
    }

    /// Waits for a finding of `kind`.
    pub async fn finding_of(&self, kind: &str) -> Value {
        self.wait_for(kind, |line| line["kind"] == kind).await
    }

    /// Most memory it ever had resident, in MiB.
    pub fn peak_memory(&self) -> f64 {
        status_field(self.pid(), "VmHWM")
    }

    /// Memory resident now, in MiB.
    pub fn memory(&self) -> f64 {
        status_field(self.pid(), "VmRSS")
    }

    /// How many descriptors it holds.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("divulge runs").count()
    }

    /// The time it has computed so far.
    pub fn computed(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("divulge runs");
        // After the name in brackets: state is the first, user and system time the 12th and 13th, in 1/100 s.
        let times = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        Duration::from_millis(times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
    }

    /// Asks it to end, and waits for it.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = nix::unistd::Pid::from_raw(self.pid().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        soon("divulge to end", self.child.wait()).await.unwrap()
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        self.child.wait().await.unwrap()
    }

    /// Ends it at once, as the kernel does when memory runs out.
    #[cfg(feature = "fleet")]
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("divulge runs");
    }

    /// Still there, and no thread of it panicked.
    pub fn assert_well(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "divulge ended by itself:\n{}", self.errors());
        assert!(!self.errors().contains("panicked at"), "divulge panicked:\n{}", self.errors());
    }
}

impl Serve {
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Decrypts `what`, with a CA that may speak for any host.
    pub fn intercept(self, what: &str) -> Self {
        self.arg("--ca-scope=any").arg(format!("--intercept={what}"))
    }

    pub fn trusting(self, authority: &Authority) -> Self {
        self.arg(format!("--upstream-ca={}", authority.file().display()))
    }

    /// Takes every connection to `upstream`.
    pub fn to(self, upstream: SocketAddr) -> Self {
        self.arg(format!("--connect-to=::{}:{}", upstream.ip(), upstream.port()))
    }

    /// With a file of that name and text beside the state; the argument is `option=FILE`.
    pub fn file(self, option: &str, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        self.arg(format!("{option}={}", path.display()))
    }

    /// `divulge replay --serve` of a session instead of `divulge serve`.
    pub fn replaying(mut self, session: &Path) -> Self {
        self.arguments[0] = "replay".into();
        self.arguments.push("--serve".into());
        self.arg(session.display().to_string())
    }

    /// A path beside the state.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// With host facts of this list instead of this machine's own.
    pub fn facts(self, facts: &[(&str, &str)]) -> Self {
        let list: Vec<Value> =
            facts.iter().map(|(kind, value)| serde_json::json!({"kind": kind, "value": value})).collect();
        self.file("--facts", "facts.json", Value::from(list).to_string())
    }

    /// A policy file.
    pub fn policy(self, text: &str) -> Self {
        self.file("--policy", "policy.toml", text)
    }

    /// Under this umask instead of the test's own.
    pub fn umask(mut self, umask: &'static str) -> Self {
        self.shell.push(format!("umask {umask}"));
        self
    }

    /// With no more than so many descriptors.
    pub fn descriptors(mut self, most: u32) -> Self {
        self.shell.push(format!("ulimit -n {most}"));
        self
    }

    /// With a file system of so many KiB in memory at `name` beside the state; none but it sees it.
    pub fn small_disk(mut self, name: &str, kib: u32) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        self.shell.push(format!("mount -t tmpfs -o size={kib}k tmpfs '{}'", path.display()));
        self.apart = true;
        self
    }

    /// With this variable of the environment.
    pub fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// A state folder of an earlier run instead of a new one.
    pub fn state(mut self, state: &Path) -> Self {
        self.arguments.retain(|argument| !argument.starts_with("--state="));
        self.arg(format!("--state={}", state.display()))
    }

    pub fn listen(mut self, address: &str) -> Self {
        self.arguments.retain(|argument| !argument.starts_with("--listen="));
        self.arg(format!("--listen={address}"))
    }

    /// Runs it to its end, which must come by itself.
    pub async fn fail(self) -> Ended {
        ended(soon("divulge serve to end", command(&self.arguments, self.folder.path()).output()).await.unwrap())
    }

    pub async fn start(self) -> Divulge {
        let mut command = command(&self.arguments, self.folder.path());
        if !self.shell.is_empty() {
            let script = format!("{}; exec \"$0\" \"$@\"", self.shell.join("; "));
            let mut arguments = vec!["-c".to_owned(), script, BINARY.to_owned()];
            arguments.extend(self.arguments.clone());
            command = match self.apart {
                false => program_command("sh", &arguments, self.folder.path()),
                true => {
                    let apart = ["--user", "--map-root-user", "--mount", "sh"].map(str::to_owned);
                    program_command("unshare", &[apart.to_vec(), arguments].concat(), self.folder.path())
                }
            };
        }
        let mut child = command.envs(self.variables).spawn().expect("the binary starts");
        let errors = collect(child.stderr.take().expect("piped"));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = soon("`listening on` from divulge serve", async {
            loop {
                match lines.next_line().await.unwrap() {
                    None => break None,
                    Some(line) => {
                        if let Some(address) = line.strip_prefix("listening on ") {
                            break Some(address.trim().parse().expect("an address and a port"));
                        }
                    }
                }
            }
        })
        .await;
        let Some(address) = address else {
            let status = child.wait().await.unwrap();
            let errors = String::from_utf8_lossy(&errors.lock().unwrap()).into_owned();
            panic!("divulge {} ended with {status}:\n{errors}", self.arguments.join(" "));
        };
        // Read on, or a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Divulge { address, folder: self.folder, child, errors }
    }
}

/// How a command of divulge ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs `divulge` with `arguments` to its end.
pub async fn run(arguments: &[impl AsRef<OsStr>]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let output = soon("divulge to end", command(arguments, folder.path()).output()).await.unwrap();
    ended(output)
}

pub fn ended(output: std::process::Output) -> Ended {
    Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `divulge` in an environment of its own: nothing of the user's settings reaches it.
pub fn command(arguments: &[impl AsRef<OsStr>], home: &Path) -> Command {
    program_command(BINARY, arguments, home)
}

fn program_command(program: &str, arguments: &[impl AsRef<OsStr>], home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "LANG" | "LLVM_PROFILE_FILE")))
        .env("HOME", home)
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Reads `source` to its end in the background.
fn collect(mut source: impl tokio::io::AsyncRead + Send + Unpin + 'static) -> Arc<Mutex<Vec<u8>>> {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let into = collected.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 8192];
        while let Ok(read @ 1..) = source.read(&mut buffer).await {
            into.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
    });
    collected
}

/// The whole lines of a JSON Lines file that may still be written to.
pub fn read_lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
    whole.lines().map(|line| serde_json::from_str(line).expect("each line is a JSON object")).collect()
}

/// A location without its byte window, which is optional.
pub fn without_window(location: &str) -> &str {
    match location.rsplit_once('@') {
        Some((before, window)) if window.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => before,
        _ => location,
    }
}

fn status_field(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel tells it");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok()).expect("a number of kB") / 1024.0
}

//! A room without walls, for machines that allow no namespace: a throw-away home and an emptied environment, nothing else.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::outcome::{MOST_BYTES, Outcome};
use super::sealed::Job;
use super::{Plan, RoomError, RoomOptions, repository};

pub struct Open {
    folder: TempDir,
    /// The planned folders, and where they are here.
    planned: [(PathBuf, PathBuf); 2],
    /// The command that runs now, or 0.
    running: AtomicI32,
}

impl Open {
    pub fn build(plan: &Plan, options: &RoomOptions) -> Result<Self, RoomError> {
        let failed = |source| RoomError::Io { what: "no folder for it", source };
        let folder = tempfile::Builder::new().prefix("divulge-room-").tempdir().map_err(failed)?;
        let home = options.home.clone().unwrap_or_else(|| folder.path().join("home"));
        let cwd = if options.machine { plan.cwd.clone() } else { folder.path().join("work") };
        std::fs::create_dir_all(&home).map_err(failed)?;
        std::fs::create_dir_all(&cwd).map_err(failed)?;
        if !options.machine {
            repository::plant(&cwd, &plan.git).map_err(failed)?;
            std::fs::write(home.join(".gitconfig"), repository::identity(&plan.git)).map_err(failed)?;
        }
        let planned = [(plan.cwd.clone(), cwd), (plan.home.clone(), home)];
        Ok(Self { folder, planned, running: AtomicI32::new(0) })
    }

    pub fn home(&self) -> PathBuf {
        self.here(&self.planned[1].0)
    }

    fn here(&self, path: &PathBuf) -> PathBuf {
        let found = self.planned.iter().find(|(planned, _)| planned == path);
        found.map_or_else(|| self.folder.path().to_owned(), |(_, here)| here.clone())
    }

    fn command(&self, job: &Job) -> io::Result<Command> {
        let (program, arguments) = job.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(job.environment.iter().cloned()).current_dir(self.here(&job.cwd));
        command.kill_on_drop(true);
        Ok(command)
    }

    pub async fn run(&self, job: Job) -> Outcome {
        let start = Instant::now();
        let mut outcome = match self.run_kept(&job).await {
            Ok(outcome) => outcome,
            Err(error) => {
                let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
                let errors = format!("divulge: the command did not start: {error}\n").into_bytes();
                Outcome { status: Some(status), errors, ..Outcome::default() }
            }
        };
        outcome.elapsed = start.elapsed();
        outcome
    }

    async fn run_kept(&self, job: &Job) -> io::Result<Outcome> {
        let mut command = self.command(job)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let group = self.started(&child);
        let (printed, errors) = (child.stdout.take(), child.stderr.take());
        let ended = async {
            let limit = job.time_limit.unwrap_or(std::time::Duration::MAX);
            let ended = tokio::time::timeout(limit, child.wait()).await;
            if let Some(group) = group {
                let _ = killpg(group, Signal::SIGKILL);
            }
            match ended {
                Ok(status) => status.map(|status| (status, false)),
                Err(_) => child.wait().await.map(|status| (status, true)),
            }
        };
        let (ended, printed, errors) = tokio::join!(ended, bounded(printed), bounded(errors));
        self.running.store(0, Ordering::Relaxed);
        let (status, timed_out) = ended?;
        let mut outcome = Outcome { status: code(status), timed_out, printed, errors, ..Outcome::default() };
        outcome.judge(job.terminal);
        Ok(outcome)
    }

    pub async fn run_attached(&self, job: Job) -> io::Result<Option<i32>> {
        let mut child = self.command(&job)?.spawn()?;
        self.started(&child);
        let status = child.wait().await;
        self.running.store(0, Ordering::Relaxed);
        Ok(code(status?))
    }

    fn started(&self, child: &Child) -> Option<Pid> {
        let id = child.id()? as i32;
        self.running.store(id, Ordering::Relaxed);
        Some(Pid::from_raw(id))
    }

    pub fn signal(&self, number: i32) {
        if let (id @ 1.., Ok(signal)) = (self.running.load(Ordering::Relaxed), Signal::try_from(number)) {
            let _ = kill(Pid::from_raw(id), signal);
        }
    }
}

fn code(status: ExitStatus) -> Option<i32> {
    status.code().or(status.signal().map(|signal| 128 + signal))
}

async fn bounded(source: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut source) = source else { return kept };
    let mut buffer = vec![0u8; 16 * 1024];
    while let Ok(n @ 1..) = source.read(&mut buffer).await {
        let room = MOST_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..n.min(room)]);
    }
    kept
}

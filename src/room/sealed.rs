//! A room of namespaces, from outside: starts its processes, holds its sockets, runs commands in it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::RoomError;
use super::control::{self, Launch, Opened, Order, Told};
use super::init::COMMAND;
use super::layout::Layout;
use super::outcome::{MOST_BYTES, Outcome};

/// What the room tells, and the descriptors beside it.
type News = mpsc::UnboundedReceiver<(Told, Vec<OwnedFd>)>;

/// The processes of a room. They end when it is dropped, and it waits for that.
pub struct Sealed {
    control: UnixStream,
    news: tokio::sync::Mutex<News>,
    reader: Option<std::thread::JoinHandle<()>>,
    /// How it ended, once it has.
    end: Arc<OnceLock<String>>,
    /// The command that runs now, or 0.
    running: AtomicU64,
    launched: AtomicU64,
    /// One order at a time.
    sending: Mutex<()>,
}

/// A command and what it gets.
pub struct Job {
    pub command: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    pub terminal: bool,
    pub time_limit: Option<Duration>,
}

impl Sealed {
    /// Blocks for as long as a room takes to build, some tens of milliseconds.
    pub fn build(init: &Path, layout: Layout) -> Result<(Self, Vec<OwnedFd>, Opened), RoomError> {
        let (control, inside) =
            UnixStream::pair().map_err(|source| RoomError::Io { what: "no socket to it", source })?;
        let whole_map = layout.machine && nix::unistd::geteuid().is_root();
        let mut child = Command::new(init)
            .args([COMMAND, "outer"])
            .args([layout.uid.to_string(), layout.gid.to_string(), u8::from(whole_map).to_string()])
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(inside)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| RoomError::Io { what: "its first process did not start", source })?;
        match set_up(&control, &child, layout) {
            Ok((sockets, opened)) => Ok((Self::over(control, child), sockets, opened)),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    fn over(control: UnixStream, mut child: Child) -> Self {
        let (news, received) = mpsc::unbounded_channel();
        let reading = control.try_clone();
        let end = Arc::new(OnceLock::new());
        let known = end.clone();
        let reader = std::thread::spawn(move || {
            let why = match reading {
                Ok(reading) => {
                    let why = hand_on(&reading, &news);
                    // Whatever ended the conversation: without it the room ends as well.
                    let _ = reading.shutdown(std::net::Shutdown::Both);
                    why
                }
                Err(error) => error.to_string(),
            };
            let how = child.wait().map_or_else(|error| error.to_string(), |status| ended(status, &why));
            // Known before anybody is told that there will be no more news.
            let _ = known.set(how);
            drop(news);
        });
        Self {
            control,
            news: tokio::sync::Mutex::new(received),
            reader: Some(reader),
            end,
            running: AtomicU64::new(0),
            launched: AtomicU64::new(0),
            sending: Mutex::new(()),
        }
    }

    fn order(&self, order: &Order, streams: &[OwnedFd]) -> io::Result<()> {
        let streams: Vec<_> = streams.iter().map(AsFd::as_fd).collect();
        let _one_at_a_time = self.sending.lock();
        control::send(&self.control, order, &streams)
    }

    /// Sends the command that runs a signal.
    pub fn signal(&self, number: i32) {
        if self.running.load(Ordering::Relaxed) != 0 {
            let _ = self.order(&Order::Signal(number), &[]);
        }
    }

    /// Runs a command to its end or its time limit, and ends whatever it left behind.
    pub async fn run(&self, job: Job) -> Outcome {
        let start = Instant::now();
        let mut outcome = match self.run_kept(job).await {
            Ok(outcome) => outcome,
            Err(error) => {
                Outcome { lost: Some(self.end.get().cloned().unwrap_or(error.to_string())), ..Outcome::default() }
            }
        };
        if outcome.status.is_none() && outcome.lost.is_none() {
            outcome.lost = self.end.get().cloned();
        }
        outcome.elapsed = start.elapsed();
        outcome
    }

    async fn run_kept(&self, job: Job) -> io::Result<Outcome> {
        let (printed, errors, streams) = if job.terminal {
            (None, None, Vec::new())
        } else {
            let (printed, to_printed) = io::pipe()?;
            let (errors, to_errors) = io::pipe()?;
            let nothing = OwnedFd::from(std::fs::File::open("/dev/null")?);
            let reader = |end: io::PipeReader| -> io::Result<Source> {
                Ok(Box::new(tokio::net::unix::pipe::Receiver::from_owned_fd(end.into())?))
            };
            let streams = vec![nothing, to_printed.into(), to_errors.into()];
            (Some(reader(printed)?), Some(reader(errors)?), streams)
        };
        let (terminal, limit) = (job.terminal, job.time_limit);
        let mut run = self.start(job, streams, false).await?;
        let printed = match run.terminal.take() {
            Some(end) => Some(terminal_source(end)?),
            None => printed,
        };
        let ended = async {
            let mut timed_out = false;
            let status = match limit {
                Some(limit) => match tokio::time::timeout(limit, run.ended()).await {
                    Ok(status) => status,
                    Err(_) => {
                        timed_out = true;
                        run.end_all();
                        run.ended().await
                    }
                },
                None => run.ended().await,
            };
            // What the command left running holds the streams open, and may not go on.
            run.end_all();
            (status, timed_out)
        };
        let ((status, timed_out), printed, errors) = tokio::join!(ended, bounded(printed), bounded(errors));
        let mut outcome = Outcome { status, timed_out, printed, errors, ..Outcome::default() };
        outcome.judge(terminal);
        Ok(outcome)
    }

    /// Runs a command on our own terminal and streams, to its end.
    pub async fn run_attached(&self, job: Job) -> io::Result<Option<i32>> {
        let streams = vec![
            io::stdin().as_fd().try_clone_to_owned()?,
            io::stdout().as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
        ];
        let mut run = self.start(job, streams, true).await?;
        let status = run.ended().await;
        run.end_all();
        Ok(status)
    }

    async fn start(&self, job: Job, streams: Vec<OwnedFd>, attached: bool) -> io::Result<Run<'_>> {
        let mut news = self.news.lock().await;
        let id = self.launched.fetch_add(1, Ordering::Relaxed) + 1;
        let launch = Launch {
            id,
            command: job.command,
            environment: job.environment,
            cwd: job.cwd,
            terminal: job.terminal,
            attached,
        };
        self.order(&Order::Run(launch), &streams)?;
        drop(streams);
        self.running.store(id, Ordering::Relaxed);
        let mut run = Run { room: self, id, status: None, terminal: None, news: None };
        loop {
            match news.recv().await {
                Some((Told::Started { id: started }, mut beside)) if started == id => {
                    run.terminal = beside.pop();
                    break;
                }
                Some((Told::Ended { id: ended, code, signal }, _)) if ended == id => {
                    run.status = Some(status(code, signal));
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
        run.news = Some(news);
        Ok(run)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        // Process 1 ends at once, the kernel ends the others with it, and then the process that waits for it ends.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// A command that runs. Dropped before its end, it is ended.
struct Run<'a> {
    room: &'a Sealed,
    id: u64,
    status: Option<Option<i32>>,
    terminal: Option<OwnedFd>,
    news: Option<tokio::sync::MutexGuard<'a, News>>,
}

impl Run<'_> {
    /// None where the room is gone.
    async fn ended(&mut self) -> Option<i32> {
        while self.status.is_none() {
            let Some(news) = &mut self.news else { return None };
            match news.recv().await {
                Some((Told::Ended { id, code, signal }, _)) if id == self.id => {
                    self.status = Some(status(code, signal))
                }
                Some(_) => {}
                None => self.status = Some(None),
            }
        }
        self.status.flatten()
    }

    fn end_all(&self) {
        let _ = self.room.order(&Order::EndAll, &[]);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.end_all();
        }
        self.room.running.store(0, Ordering::Relaxed);
    }
}

/// Hands on what the room tells, until it ends; says what ended it.
fn hand_on(reading: &UnixStream, news: &mpsc::UnboundedSender<(Told, Vec<OwnedFd>)>) -> String {
    loop {
        match control::receive::<Told>(reading) {
            Ok(message) => {
                if news.send(message).is_err() {
                    return "nobody listens to it any more".to_owned();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return "it closed its socket".to_owned(),
            Err(error) => return format!("what it said cannot be read: {error}"),
        }
    }
}

/// How the processes of the room ended.
fn ended(status: std::process::ExitStatus, why: &str) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("its outer process was ended by signal {signal}"),
        (None, Some(code @ 129..)) => format!("its first process was ended by signal {}", code - 128),
        (None, Some(0)) => why.to_owned(),
        (None, code) => format!("its first process failed ({}); {why}", code.unwrap_or(-1)),
    }
}

fn status(code: Option<i32>, signal: Option<i32>) -> Option<i32> {
    code.or(signal.map(|signal| 128 + signal))
}

fn set_up(control: &UnixStream, child: &Child, layout: Layout) -> Result<(Vec<OwnedFd>, Opened), RoomError> {
    let broken = |source| RoomError::Io { what: "it ended while it was built", source };
    // Read by the first process, once the namespaces are there; the map of users comes before it, if at all.
    let whole_map = layout.machine && nix::unistd::geteuid().is_root();
    if whole_map {
        match control::receive(control).map_err(broken)?.0 {
            Told::MapMe => {
                write_maps(child)?;
                control::send(control, &Order::Mapped, &[]).map_err(broken)?;
            }
            Told::NoMap => {}
            Told::Failed(step) => return Err(RoomError::Step { step: step.what, why: step.why }),
            other => return Err(broken(io::Error::other(format!("it said {other:?}")))),
        }
    }
    control::send(control, &Order::Build(Box::new(layout)), &[]).map_err(broken)?;
    match control::receive(control).map_err(broken)? {
        (Told::Ready(opened), sockets) => Ok((sockets, opened)),
        (Told::Failed(step), _) => Err(RoomError::Step { step: step.what, why: step.why }),
        (other, _) => Err(broken(io::Error::other(format!("it said {other:?}")))),
    }
}

/// Every user is itself: root keeps its rights over files that belong to others.
fn write_maps(child: &Child) -> Result<(), RoomError> {
    let all = "0 0 4294967295";
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{map}", child.id()), all)
            .map_err(|error| RoomError::Step { step: "map the users".to_owned(), why: error.to_string() })?;
    }
    Ok(())
}

type Source = Box<dyn AsyncRead + Send + Unpin>;

/// Our end of a terminal, to read from. It ends with an error once nobody holds the other end.
fn terminal_source(end: OwnedFd) -> io::Result<Source> {
    Ok(Box::new(tokio::fs::File::from_std(std::fs::File::from(end))))
}

/// Reads to the end, and keeps as much as is allowed.
async fn bounded(source: Option<Source>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut source) = source else { return kept };
    let mut buffer = vec![0u8; 16 * 1024];
    while let Ok(n @ 1..) = source.read(&mut buffer).await {
        let room = MOST_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..n.min(room)]);
    }
    kept
}

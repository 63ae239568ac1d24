//! `divulge probe -- CMD…`: which bytes depend on which fact, by running the client again and again.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinSet;

use super::report::write;
use super::{ConfigFile, INCOMPLETE, WRONG_USAGE, fail, printable, start_log};
use crate::config::Options;
use crate::probe::design::Axis;
use crate::probe::evidence::Phase;
use crate::probe::experiment::{Experiment, Run, Wanted};
use crate::probe::factor::{Factor, Sort};
use crate::probe::lab::kept::{self, About, Writer};
use crate::probe::lab::{Ended, Lab, LabError, LabParts, Made};
use crate::probe::result::{Coverage, ProbeResult};
use crate::probe::verdict::conclude;
use crate::report::bill;
use crate::report::compare::Look;
use crate::report::lines::Line;
use crate::report::probe::text;

/// Runs a command again and again in a sealed room, one fact of its surroundings changed at a time, and says which bytes of
/// what it sends depend on which fact. Nothing leaves this machine: a built-in upstream answers. The environment is emptied
/// and the home is new: what the client needs is given by --env and --setup.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Factors: tz lang hostname user home cwd shell term ci base_url proxy, and env:NAME for any variable.\nThe first value is the base case; an empty one is none at all.\n\nExamples:\n  divulge probe --vary tz -- ./client\n  divulge probe --vary tz=UTC,Asia/Shanghai --vary base_url --out result.json -- claude -p \"say hi\"\n  divulge probe --vary env:DISABLE_TELEMETRY=,1 --env ANTHROPIC_API_KEY=dummy -- claude -p \"say hi\"\n  divulge report result.json --format html --out result.html\n  divulge diff old.json new.json\n\nThe exit status is 0 where the experiment came to its end, whatever it found; 2 for wrong usage, also a command that\ncannot be started; 3 where nothing can be concluded, or it was stopped before its end."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// What is varied, and with which values; repeatable [default: every factor with values of its own]
    #[arg(long, value_name = "NAME[=V1,V2,…]")]
    vary: Vec<String>,
    /// How values are combined
    #[arg(long, value_enum, default_value_t = AxisOption::Pairwise)]
    axis: AxisOption,
    /// Most runs
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    runs: u32,
    /// Write the result here, as JSON; FILE.runs keeps the runs themselves
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on with the runs beside the result of an earlier probe of the same command
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// A variable of every run's environment; the name alone passes on our own; repeatable
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    variables: Vec<String>,
    /// Shell text that is run in the new home before the command: writes the client's settings
    #[arg(long, value_name = "TEXT")]
    setup: Option<String>,
    /// Seconds after which a run is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    time_limit: u32,
    /// Runs side by side [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Run the command on a terminal of its own
    #[arg(long)]
    terminal: bool,
    /// A file or folder that is also visible in the room, read-only; repeatable
    #[arg(long, value_name = "PATH")]
    show: Vec<PathBuf>,
    /// Where no room can be built, run all the same with an empty home: the network is then the machine's own
    #[arg(long)]
    open_room: bool,
    #[command(flatten)]
    options: Options,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum AxisOption {
    /// One factor at a time, from the base case
    One,
    /// That, and every two values of two factors together: finds facts that show only while another one holds
    Pairwise,
    /// Every combination, as far as the runs go
    Full,
}

impl From<AxisOption> for Axis {
    fn from(axis: AxisOption) -> Self {
        match axis {
            AxisOption::One => Axis::One,
            AxisOption::Pairwise => Axis::Pairwise,
            AxisOption::Full => Axis::Full,
        }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("{0}: cannot be written")]
    Write(String, #[source] io::Error),
    #[error("{0}")]
    Nothing(String),
}

impl ProbeError {
    fn status(&self) -> u8 {
        match self {
            ProbeError::Usage(_) => WRONG_USAGE,
            ProbeError::Lab(LabError::Room(_) | LabError::Start(_)) => WRONG_USAGE,
            _ => INCOMPLETE,
        }
    }
}

pub fn run(args: Args) -> ExitCode {
    let options = match args.options.clone().with_file(args.config.config.as_deref()) {
        Ok(options) => options,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    // Every run would say the same again.
    start_log(&Options { quiet: true, ..options.clone() });
    crate::ca::protect_memory();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(INCOMPLETE, &error),
    };
    let outcome = runtime.block_on(probe(&args, options.clone()));
    runtime.shutdown_timeout(Duration::from_millis(200));
    let result = match outcome {
        Ok(result) => result,
        Err(error) => return fail(error.status(), &error),
    };
    let color = options.color.unwrap_or_default().wanted(io::stdout().is_terminal());
    if let Some(path) = args.out.as_ref().or(args.resume.as_ref())
        && let Err(error) = write(Some(path), &result.json())
    {
        return fail(INCOMPLETE, &error);
    }
    if !options.quiet
        && let Err(error) = write(None, &text::render(&result, Look { color }))
    {
        return fail(INCOMPLETE, &error);
    }
    let nothing =
        result.requests.is_empty() || result.notes.iter().any(|note| note.contains("nothing else can be concluded"));
    if !result.complete || nothing { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS }
}

/// The experiment while it goes on.
struct Going<'a> {
    args: &'a Args,
    experiment: Experiment,
    writer: Option<(PathBuf, Writer)>,
    bill: bill::Builder,
    coverage: Coverage,
    progress: ProgressBar,
    /// Said once, however many runs it is about.
    said: Vec<String>,
}

async fn probe(args: &Args, options: Options) -> Result<ProbeResult, ProbeError> {
    let factors = Factor::parse_all(&args.vary).map_err(|error| ProbeError::Usage(error.to_string()))?;
    let factors = possible(factors, args);
    let variables = variables(&args.variables)?;
    let about = About {
        schema: 1,
        command: args.command.iter().map(|part| part.to_string_lossy().into_owned()).collect(),
        factors: factors.clone(),
        axis: args.axis.into(),
        surroundings: surroundings(args, &variables),
    };
    let experiment = Experiment::new(factors.clone(), args.axis.into(), args.runs as usize);
    let mut going = Going {
        args,
        experiment,
        writer: None,
        bill: bill::Builder::default(),
        coverage: Coverage::default(),
        progress: progress(&options),
        said: Vec::new(),
    };
    going.open(&about)?;
    let (command, beside) = placed(&args.command);
    let lab = Lab::new(LabParts {
        command,
        options,
        factors,
        variables,
        setup: args.setup.clone(),
        time_limit: Duration::from_secs(args.time_limit.into()),
        terminal: args.terminal,
        show: args.show.iter().cloned().chain(beside).collect(),
        allow_open_network: args.open_room,
    })?;
    let began = Instant::now();
    let complete = going.all(&std::sync::Arc::new(lab)).await?;
    going.progress.finish_and_clear();
    let mut result = conclude(&going.experiment);
    result.command = about.command;
    result.complete = complete;
    result.coverage =
        Coverage { bytes_read: result.coverage.bytes_read, bytes_sent: result.coverage.bytes_sent, ..going.coverage };
    result.bill = Some(going.bill.finish());
    result.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if !complete {
        result.notes.push("stopped before its end: go on with --resume".to_owned());
    }
    result.notes.extend(going.said);
    Ok(result)
}

/// Resolves when we are asked to end: what is known by then is told.
async fn stopped() {
    #[cfg(unix)]
    if let Ok(mut ended) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = ended.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Without a sealed room connections cannot be redirected: that factor is left out where it was not asked for.
fn possible(factors: Vec<Factor>, args: &Args) -> Vec<Factor> {
    let chosen = !args.vary.is_empty();
    factors.into_iter().filter(|factor| chosen || !args.open_room || factor.sort() != Sort::Proxy).collect()
}

/// `NAME=VALUE`, or `NAME` for our own value.
fn variables(texts: &[String]) -> Result<Vec<(String, String)>, ProbeError> {
    let one = |text: &String| {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let own = std::env::var(text).map_err(|_| {
                    ProbeError::Usage(format!(
                        "--env {text}: there is no such variable; give a value: --env {text}=VALUE"
                    ))
                })?;
                (text.as_str(), own)
            }
        };
        let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        good.then(|| (name.to_owned(), value))
            .ok_or_else(|| ProbeError::Usage(format!("--env {}: no name of a variable", printable(name))))
    };
    texts.iter().map(one).collect()
}

/// The command with its files by absolute paths, since it will stand in another folder, and the folders they are in: a
/// script's modules lie beside it.
fn placed(command: &[OsString]) -> (Vec<OsString>, Vec<PathBuf>) {
    let mut beside = Vec::new();
    let home = std::env::home_dir();
    let mut place = |(at, part): (usize, &OsString)| {
        let path = Path::new(part);
        // A program without a folder is looked for on PATH.
        let named = path.is_absolute() || path.components().count() > 1 || at > 0;
        let Some(absolute) = std::path::absolute(path).ok().filter(|absolute| named && absolute.exists()) else {
            return part.clone();
        };
        let folder = if absolute.is_dir() { Some(absolute.as_path()) } else { absolute.parent() };
        let shared = [Path::new("/"), Path::new("/tmp"), Path::new("/var/tmp"), Path::new("/root"), Path::new("/home")];
        let whole =
            |folder: &Path| shared.contains(&folder) || home.as_deref().is_some_and(|home| home.starts_with(folder));
        beside.push(folder.filter(|folder| !whole(folder)).unwrap_or(&absolute).to_owned());
        absolute.into_os_string()
    };
    let command = command.iter().enumerate().map(&mut place).collect();
    beside.retain(|path| !path.is_dir() || !path.starts_with("/usr"));
    (command, beside)
}

/// Whatever else decides what a run is like, without the values themselves: they may be credentials.
fn surroundings(args: &Args, variables: &[(String, String)]) -> String {
    use sha2::{Digest, Sha256};
    let all = format!("{variables:?} {:?} {} {:?}", args.setup, args.terminal, args.show);
    Sha256::digest(all).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn progress(options: &Options) -> ProgressBar {
    if options.quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    // The template is ours: that it is well formed is known.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn runs_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".runs");
    name.into()
}

impl Going<'_> {
    /// Takes over the runs of an earlier probe, and opens the file for those to come.
    fn open(&mut self, about: &About) -> Result<(), ProbeError> {
        let Some(path) = self.args.resume.as_ref().or(self.args.out.as_ref()).map(|path| runs_beside(path)) else {
            return Ok(());
        };
        let written = |error| ProbeError::Write(path.display().to_string(), error);
        if self.args.resume.is_none() {
            self.writer = Some((path.clone(), Writer::begin(&path, about).map_err(written)?));
            return Ok(());
        }
        let kept = kept::read(&path).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            ProbeError::Usage(format!("--resume: {error}{cause}"))
        })?;
        if kept.about != *about {
            return Err(ProbeError::Usage(format!(
                "--resume: {} holds runs of another experiment: command, factors, design and surroundings must be the same ({})",
                path.display(),
                kept.about.command.join(" ")
            )));
        }
        for (run, lines) in kept.runs {
            self.count(&run, &lines);
            self.experiment.add(run.condition, run.phase, run.observation);
        }
        for (condition, phase, why) in kept.failed {
            self.experiment.fail(condition, phase, why);
        }
        self.writer = Some((path.clone(), Writer::resume(&path).map_err(written)?));
        Ok(())
    }

    fn count(&mut self, run: &Run, lines: &[String]) {
        if run.condition.is_base() {
            lines.iter().filter_map(|line| Line::parse(line).ok()).for_each(|line| self.bill.add(&line));
        }
    }

    /// All runs, until the experiment has come to its end or is stopped. Whether it came to its end.
    async fn all(&mut self, lab: &std::sync::Arc<Lab>) -> Result<bool, ProbeError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.args.jobs.map_or(cores, usize::from);
        let stop = stopped();
        tokio::pin!(stop);
        loop {
            self.progress.set_length(self.experiment.estimate() as u64);
            let mut wanted = self.experiment.next().into_iter();
            let mut under_way: JoinSet<(Wanted, Result<Made, LabError>)> = JoinSet::new();
            let mut any = false;
            loop {
                while under_way.len() < jobs
                    && let Some(next) = wanted.next()
                {
                    any = true;
                    let lab = lab.clone();
                    under_way.spawn(async move {
                        let made = lab.make_again(&next).await;
                        (next, made)
                    });
                }
                let done = tokio::select! {
                    done = under_way.join_next() => done,
                    _ = &mut stop => return Ok(false),
                };
                match done {
                    None => break,
                    Some(Ok((wanted, made))) => self.take(wanted, made?)?,
                    Some(Err(_)) => return Err(ProbeError::Nothing("a run was cut short by a bug".to_owned())),
                }
            }
            if !any {
                return Ok(self.experiment.is_over());
            }
        }
    }

    /// Notes what a run has shown.
    fn take(&mut self, wanted: Wanted, made: Made) -> Result<(), ProbeError> {
        let Wanted { condition, phase } = wanted;
        self.coverage.connections += made.connections;
        self.coverage.audited += made.audited;
        self.coverage.datagrams += made.datagrams;
        self.coverage.names += made.names;
        let command = printable(&self.args.command[0].to_string_lossy());
        let silent = made.observation.requests.is_empty();
        let why = match &made.ended {
            Ended::NotStarted(status) if silent => {
                let why = if *status == 127 { "not found" } else { "may not be executed" };
                return Err(ProbeError::Usage(format!(
                    "{command}: {why} in the room (PATH is this one's; --show PATH makes more of this machine visible)"
                )));
            }
            Ended::Lost(why) if silent => Some(format!("its room ended before it: {why}")),
            Ended::WantsTerminal if silent => Some("it needs a terminal: try --terminal".to_owned()),
            Ended::TimedOut if silent => Some(format!(
                "it was still running after {} s without having sent anything (--time-limit)",
                self.args.time_limit
            )),
            Ended::By(status) if silent && *status != 0 && phase == Phase::Base => {
                Some(format!("it ended with status {status} and sent nothing"))
            }
            _ => None,
        };
        if made.ended == Ended::TimedOut && !silent {
            self.say(format!(
                "runs that were ended after {} s are judged by what they had sent by then",
                self.args.time_limit
            ));
        }
        if let Some(why) = why {
            if let Some((_, writer)) = &mut self.writer {
                // That it failed again is found out again.
                let _ = writer.failed(&condition, phase, &why);
            }
            self.experiment.fail(condition, phase, why.clone());
            let base = self.experiment.runs.iter().filter(|run| run.phase == Phase::Base).count();
            if base == 0 && self.experiment.failed.len() >= 2 {
                return Err(ProbeError::Nothing(format!("{command}: {why}: nothing can be concluded")));
            }
        } else {
            let run = Run { condition, phase, observation: made.observation };
            self.count(&run, &made.lines);
            if let Some((path, writer)) = &mut self.writer
                && let Err(error) = writer.run(&run, &made.lines)
            {
                return Err(ProbeError::Write(path.display().to_string(), error));
            }
            self.experiment.add(run.condition, run.phase, run.observation);
            let talks = self.experiment.runs.iter().any(|run| !run.observation.requests.is_empty());
            if !talks && self.experiment.runs.len() >= 3 {
                return Err(ProbeError::Nothing(format!(
                    "{command} ended without a single request in {} runs: nothing can be concluded; does it need settings or a key? (--setup, --env)",
                    self.experiment.runs.len()
                )));
            }
        }
        self.progress.set_position(self.experiment.made() as u64);
        self.progress.set_message(match phase {
            Phase::Base => "nothing varied",
            Phase::Screen => "varying",
            Phase::Trace => "looking closer",
            Phase::Confirm => "once more",
        });
        Ok(())
    }

    fn say(&mut self, text: String) {
        if !self.said.contains(&text) {
            self.said.push(text);
        }
    }
}

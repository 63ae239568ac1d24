//! The command line: one file per command, and what they share.

pub mod ca;
pub mod diff;
pub mod doctor;
pub mod env;
mod gateway;
pub mod inspect;
pub mod nftables;
pub mod probe;
pub mod replay;
pub mod report;
pub mod rules;
pub mod run;
pub mod serve;
pub mod setup;
#[cfg(feature = "fleet")]
pub mod sink;
pub mod start;
pub mod system_proxy;
pub mod user;
pub mod watch;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{LogFormat, Options, SettingsError};

/// Exit status of wrong usage or settings.
pub const WRONG_USAGE: u8 = 2;
/// Exit status of a failure while running, or of an audit that is incomplete.
pub const INCOMPLETE: u8 = 3;

/// Audits what AI coding assistants send out: decrypts their traffic with a CA of its own, names every
/// field that fingerprints the person, machine or place, and logs, strips or blocks it by policy.
#[derive(Parser)]
#[command(name = "divulge", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "Try it:  divulge run -- claude -p \"say hi\"\nDocs:    README.md and docs/")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Audit one command: a private proxy, a CA in memory, a summary on exit
    Run(Box<run::Args>),
    /// Which bytes depend on which fact: run a client again and again, its surroundings changed
    Probe(Box<probe::Args>),
    /// Long-lived proxy: the system proxy of one user
    Serve(Box<serve::Args>),
    /// Audit captured requests offline
    Inspect(Box<inspect::Args>),
    /// Send a captured session again, or answer a client from it
    Replay(Box<replay::Args>),
    /// Show what was found: text, JSON, HTML, Markdown, SARIF, or a bill of materials
    Report(report::Args),
    /// Two requests, bills or sets of findings side by side
    Diff(diff::Args),
    /// The CA of serve: make, show, export, install, uninstall, rotate
    Ca(ca::Args),
    /// What of this machine or client will not work behind the proxy, and the fix
    Doctor(Box<doctor::Args>),
    /// Print the variables with which a program goes through serve
    Env(env::Args),
    /// Write the settings with which an assistant goes through serve
    Setup(setup::Args),
    /// Take back what setup, system-proxy and ca install changed
    Uninstall(setup::UninstallArgs),
    /// Point the desktop at serve, and back
    SystemProxy(system_proxy::Args),
    /// List, show and test the rules, and write the page about them
    Rules(rules::Args),
    /// Live view of a running serve: flows, findings, what stays unread
    Watch(watch::Args),
    /// Move findings from the fleet's stream into a database or files
    #[cfg(feature = "fleet")]
    Sink(Box<sink::Args>),
    /// Print the rules by which a router's clients come to serve without knowing of it
    Nftables(nftables::Args),
    /// Add a user of a gateway: a line for the file of --users
    User(user::Args),
    /// Print the completions of a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command
    Man {
        /// Into this folder, as packages install them
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// Parses the command line and calls the command.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = crate::room::init::asked() {
        return code;
    }
    // Which provider TLS uses is said wherever it is used; this covers libraries that ask for the default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    quiet_panics();
    match Cli::parse().command {
        Command::Run(args) => run::run(*args),
        Command::Probe(args) => probe::run(*args),
        Command::Serve(args) => serve::run(*args),
        Command::Inspect(args) => inspect::run(*args),
        Command::Replay(args) => replay::run(*args),
        Command::Report(args) => report::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Ca(args) => ca::run(args),
        Command::Doctor(args) => doctor::run(*args),
        Command::Env(args) => env::run(args),
        Command::Setup(args) => setup::run(args),
        Command::Uninstall(args) => setup::uninstall(args),
        Command::SystemProxy(args) => system_proxy::run(args),
        Command::Rules(args) => rules::run(args),
        Command::Watch(args) => watch::run(args),
        #[cfg(feature = "fleet")]
        Command::Sink(args) => sink::run(*args),
        Command::Nftables(args) => nftables::run(args),
        Command::User(args) => user::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "divulge", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Man { output } => {
            let written = match output {
                None => clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()),
                Some(folder) => std::fs::create_dir_all(&folder)
                    .and_then(|()| clap_mangen::generate_to(Cli::command().name("divulge"), &folder)),
            };
            match written {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(INCOMPLETE, &error),
            }
        }
    }
}

/// A panic's message may quote what was being read: only its place is told.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or("an unknown place".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
        eprintln!("divulge: a bug at {place}; please report it");
    }));
}

/// Where the settings file is, for the commands that read it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ConfigFile {
    /// Settings file [default: $XDG_CONFIG_HOME/divulge/config.toml]
    #[arg(long, value_name = "FILE", env = "DIVULGE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// The state folder, for commands that need no more of the settings.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct StateFolder {
    /// Folder of the CA, sessions and aliases [default: $XDG_DATA_HOME/divulge]
    #[arg(long, value_name = "DIR", env = "DIVULGE_STATE", global = true)]
    pub state: Option<PathBuf>,
    /// Settings file [default: $XDG_CONFIG_HOME/divulge/config.toml]
    #[arg(long, value_name = "FILE", env = "DIVULGE_CONFIG", global = true)]
    pub config: Option<PathBuf>,
}

impl StateFolder {
    /// The settings, this folder among them.
    pub fn options(&self) -> Result<Options, SettingsError> {
        Options { state: self.state.clone(), ..Options::default() }.with_file(self.config.as_deref())
    }
}

/// Says what is wrong, cause by cause, and gives the exit status.
pub fn fail(status: u8, error: &dyn std::error::Error) -> ExitCode {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = inner.source();
    }
    eprintln!("divulge: {}", printable(&message));
    ExitCode::from(status)
}

/// Text for a terminal: control characters cannot move the cursor or change colours.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() && c != '\n' { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// Starts the log on standard error.
pub fn start_log(options: &Options) {
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};
    let level = if options.quiet { LevelFilter::ERROR } else { LevelFilter::INFO };
    let filter = match std::env::var("DIVULGE_LOG") {
        Ok(text) => EnvFilter::builder().with_default_directive(level.into()).parse_lossy(text),
        Err(_) => EnvFilter::builder()
            .with_default_directive(LevelFilter::ERROR.into())
            .parse_lossy(format!("divulge={level}")),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let color = options.color.unwrap_or_default().wanted(std::io::stderr().is_terminal());
    let _ = match options.log_format.unwrap_or_default() {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.with_ansi(color).try_init(),
    };
}

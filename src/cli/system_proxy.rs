//! `divulge system-proxy`: points the desktop at `serve` and back.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command as Process, ExitCode};
use std::time::Duration;

use clap::Subcommand;

use super::{StateOption, explain};
use crate::system_proxy::{self, Status, SystemProxyError};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Save the desktop's proxy settings and point them at a running `serve`
    On {
        /// Where `serve` listens
        #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_LISTEN", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        #[command(flatten)]
        state: StateOption,
    },
    /// Put the saved settings back
    Off {
        #[command(flatten)]
        state: StateOption,
        #[arg(long, hide = true)]
        listen: Option<SocketAddr>,
    },
    /// Tell whether the desktop points at `serve`, and whether that still runs
    Status {
        #[command(flatten)]
        state: StateOption,
        #[arg(long, hide = true)]
        listen: Option<SocketAddr>,
    },
    /// Watch `serve`, and put the settings back when it is gone
    #[command(hide = true)]
    Guard {
        #[command(flatten)]
        state: StateOption,
        /// Seconds that `serve` may take to come up
        #[arg(long, default_value_t = 3)]
        patience: u64,
    },
}

pub fn run(args: Args) -> ExitCode {
    let (Command::On { state, .. }
    | Command::Off { state, .. }
    | Command::Status { state, .. }
    | Command::Guard { state, .. }) = &args.command;
    let state = match state.folder() {
        Ok(state) => state,
        Err(message) => {
            eprintln!("divulge system-proxy: {message}");
            return ExitCode::from(2);
        }
    };
    match perform(&args.command, &state) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("divulge system-proxy: {}", explain(&error));
            ExitCode::from(3)
        }
    }
}

fn perform(command: &Command, state: &Path) -> Result<(), SystemProxyError> {
    match command {
        Command::On { listen, .. } => {
            let program = std::env::current_exe().map_err(|source| SystemProxyError::NoGuard { source })?;
            let mut guard = Process::new(program);
            guard.args(["system-proxy", "guard", "--state"]).arg(state);
            match system_proxy::on(state, *listen, guard)? {
                Some(_) => {
                    println!("the desktop's proxy is {listen} until `divulge system-proxy off`, or until serve ends")
                }
                None => println!("the desktop's proxy is {listen} already"),
            }
        }
        Command::Off { .. } => match system_proxy::off(state)? {
            true => println!("the desktop's proxy settings are as they were"),
            false => println!("the desktop's proxy settings are not ours: nothing to put back"),
        },
        Command::Status { .. } => match system_proxy::status(state)? {
            Status::Off => println!("off"),
            Status::On { listen } => println!("on: the desktop's proxy is {listen}"),
            Status::LeftOver { listen, serving: false } => {
                println!("left over: the desktop's proxy is {listen} and nothing listens there");
                println!("`divulge system-proxy off` puts back what was there before");
            }
            Status::LeftOver { listen, serving: true } => {
                println!("on: the desktop's proxy is {listen}, but nobody would put it back if serve ended");
                println!("`divulge system-proxy on --listen {listen}` starts the guard again");
            }
        },
        Command::Guard { patience, .. } => system_proxy::guard(state, Duration::from_secs(*patience))?,
    }
    Ok(())
}

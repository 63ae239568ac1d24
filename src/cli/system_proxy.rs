//! `divulge system-proxy`: points the desktop at `serve` and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::{Command as Process, ExitCode};
use std::time::Duration;

use clap::Subcommand;

use super::{INCOMPLETE, StateFolder, WRONG_USAGE, fail};
use crate::system_proxy::{self, Status, SystemProxyError};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    state: StateFolder,
    /// Where serve listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_LISTEN", global = true)]
    listen: Option<String>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Save the desktop's proxy settings and point them at a running serve
    On,
    /// Put the saved settings back
    Off,
    /// Tell whether the desktop points at serve, and whether that still runs
    Status,
    /// Watch serve, and put the settings back when it is gone
    #[command(hide = true)]
    Guard {
        /// Seconds that serve may take to come up
        #[arg(long, default_value_t = 3)]
        patience: u64,
    },
}

pub fn run(args: Args) -> ExitCode {
    let settings = args.state.options().and_then(|mut options| {
        options.listen = args.listen.or(options.listen);
        let listen = options.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))?;
        Ok((options.state_dir()?, to_reach(listen)))
    });
    let (state, listen) = match settings {
        Ok(settings) => settings,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    match perform(&args.command, &state, listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(INCOMPLETE, &error),
    }
}

/// Where the desktop reaches a proxy that listens on every address.
pub(super) fn to_reach(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, listen.port())),
        _ => listen,
    }
}

fn perform(command: &Command, state: &Path, listen: SocketAddr) -> Result<(), SystemProxyError> {
    match command {
        Command::On => {
            let program = std::env::current_exe().map_err(|source| SystemProxyError::NoGuard { source })?;
            let mut guard = Process::new(program);
            guard.args(["system-proxy", "guard", "--state"]).arg(state);
            match system_proxy::on(state, listen, guard)? {
                Some(_) => {
                    println!("the desktop's proxy is {listen} until `divulge system-proxy off`, or until serve ends")
                }
                None => println!("the desktop's proxy is {listen} already"),
            }
        }
        Command::Off => match system_proxy::off(state)? {
            true => println!("the desktop's proxy settings are as they were"),
            false => println!("the desktop's proxy settings are not ours: nothing to put back"),
        },
        Command::Status => match system_proxy::status(state)? {
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
        Command::Guard { patience } => system_proxy::guard(state, Duration::from_secs(*patience))?,
    }
    Ok(())
}

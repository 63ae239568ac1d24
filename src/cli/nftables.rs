//! `divulge nftables`: the rules of a router whose clients know of no proxy.

use std::process::ExitCode;

use super::{ConfigFile, WRONG_USAGE, fail};
use crate::config::{GatewayOptions, Options, SettingsError, address, ranges};
use crate::gateway::nftables::{Mode, Plan};

/// Prints rules for nftables that take clients' connections to port 443 to the port of --transparent or --tproxy, over IPv4
/// and IPv6, and refuse HTTP/3. Nothing is loaded or changed.
///
/// Ports and addresses come from the settings that serve reads.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge nftables --config /etc/divulge/config.toml --interface clients > /etc/nftables.d/divulge.nft\n  divulge nftables --transparent '[::]:9443' --allow-from 10.0.0.0/8,fd00::/8 | nft -f -\n  divulge nftables --tproxy '[::]:9444' --interface clients --routes | sh -e"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Where serve takes redirected connections
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_TRANSPARENT")]
    transparent: Option<String>,
    /// Where serve takes connections by TPROXY
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_TPROXY")]
    tproxy: Option<String>,
    /// Addresses of clients; repeatable
    #[arg(long, value_name = "CIDR", env = "DIVULGE_ALLOW_FROM", value_delimiter = ',')]
    allow_from: Vec<String>,
    /// Network device that clients are on; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    interface: Vec<String>,
    /// Only connections to these addresses; repeatable [default: all]
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    to: Vec<String>,
    /// Which of the two, where the settings name both
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Mark of packets for TPROXY
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    mark: u32,
    /// Table of routes for TPROXY
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    route_table: u32,
    /// Print the commands that make the routes for TPROXY instead
    #[arg(long)]
    routes: bool,
}

pub fn run(args: Args) -> ExitCode {
    let plan = match plan(&args).and_then(|plan| plan.check().map(|()| plan)) {
        Ok(plan) => plan,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    if let Some(left_out) = plan.left_out() {
        eprintln!("divulge: {left_out}");
    }
    print!("{}", if args.routes { plan.route_commands() } else { plan.rules() });
    ExitCode::SUCCESS
}

fn plan(args: &Args) -> Result<Plan, SettingsError> {
    let given = GatewayOptions {
        transparent: args.transparent.clone(),
        tproxy: args.tproxy.clone(),
        allow_from: args.allow_from.clone(),
        ..GatewayOptions::default()
    };
    let options = Options { gateway: given, ..Options::default() }.with_file(args.config.config.as_deref())?;
    let gateway = &options.gateway;
    let mode = match (args.mode, &gateway.transparent, &gateway.tproxy) {
        (Some(mode), ..) => mode,
        (None, Some(_), None) => Mode::Redirect,
        (None, None, Some(_)) => Mode::Tproxy,
        (None, Some(_), Some(_)) => {
            return Err(SettingsError::option("--mode", "both --transparent and --tproxy are set: say for which"));
        }
        (None, None, None) => {
            let why =
                "no port for redirected connections is set, here or in the settings file: --transparent '[::]:9443'";
            return Err(SettingsError::option("--transparent", why));
        }
    };
    let (option, port) = match mode {
        Mode::Redirect => ("--transparent", &gateway.transparent),
        Mode::Tproxy => ("--tproxy", &gateway.tproxy),
    };
    let port = port.as_deref().ok_or_else(|| SettingsError::option(option, "the port is not set"))?;
    Ok(Plan {
        mode,
        port: address(option, port)?,
        interfaces: args.interface.clone(),
        sources: ranges("--allow-from", &gateway.allow_from)?,
        destinations: ranges("--to", &args.to)?,
        mark: args.mark,
        routes: args.route_table,
    })
}

//! `divulge env`: the variables with which a program goes through `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{INCOMPLETE, StateFolder, WRONG_USAGE, fail, serve, system_proxy};
use crate::ca::{Authority, encode_pem};
use crate::config::Options;
use crate::environment::{self, EnvironmentError, KeptTrust};
use crate::setup::{self, Shell};

/// Prints the variables with which a program goes through a running serve and trusts its CA.
///
/// The files that they name are made in the state folder: the platform's certificates and the CA's, for
/// programs that read PEM and for Java.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  eval \"$(divulge env)\"                              this shell and all it starts\n  divulge env --shell fish | source\n  divulge env --shell powershell | Invoke-Expression\n  divulge env --shell dotenv > .env\n  eval docker run $(divulge env --shell docker | tr '\\n' ' ') IMAGE\n  eval \"$(divulge env --unset)\"                      and back\n\nIn a container 127.0.0.1 is the container itself: --listen names the address at which it reaches serve, and\nthe files are mounted at the same paths: -v \"$HOME/.local/share/divulge/trust:$HOME/.local/share/divulge/trust:ro\"."
)]
pub struct Args {
    #[command(flatten)]
    state: StateFolder,
    /// Where programs reach serve [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_LISTEN")]
    listen: Option<String>,
    /// Who reads them [default: told from $SHELL]
    #[arg(long, value_enum)]
    shell: Option<Shell>,
    /// Print what takes them back
    #[arg(long)]
    unset: bool,
}

/// Where serve is, and the files that programs need to trust it.
pub(super) struct Reach {
    pub state: PathBuf,
    pub proxy: SocketAddr,
    pub trust: KeptTrust,
}

pub(super) type Failure = Box<dyn std::error::Error>;

/// Makes the CA if there is none yet, as serve would, and the files beside it.
pub(super) fn reach(state: &StateFolder, listen: Option<String>) -> Result<Reach, Failure> {
    let mut options: Options = state.options()?;
    options.listen = listen.or(options.listen);
    let proxy = system_proxy::to_reach(options.listen(SocketAddr::from(([127, 0, 0, 1], 8080)))?);
    let state = options.state_dir()?;
    let authority: Authority = serve::authority(&options, &state)?;
    // One that is to follow is trusted before its first leaf is shown.
    let mut trusted = authority.certificate_pem().to_owned();
    if options.ca_cert.is_none()
        && let Some(next) = Authority::next(&state)?
    {
        trusted.push_str(&encode_pem(&next.certificate));
    }
    let trust = KeptTrust::write(&state, &trusted, &|name| std::env::var_os(name))?;
    Ok(Reach { state, proxy, trust })
}

impl Reach {
    /// All variables that one runtime or another reads.
    pub fn variables(&self) -> Vec<(String, String)> {
        let child = environment::for_child(self.proxy, &self.trust.bundle, Some(&self.trust.java), &|_| None);
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        child.set.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }
}

pub fn run(args: Args) -> ExitCode {
    crate::ca::protect_memory();
    let reach = match reach(&args.state, args.listen) {
        Ok(reach) => reach,
        Err(error) if error.is::<EnvironmentError>() => return fail(INCOMPLETE, &*error),
        Err(error) => return fail(WRONG_USAGE, &*error),
    };
    let shell = args.shell.unwrap_or_else(|| Shell::of(std::env::var("SHELL").ok().as_deref()));
    let list = reach.variables();
    print!("{}", if args.unset { setup::unset(shell, &list) } else { setup::variables(shell, &list) });
    ExitCode::SUCCESS
}

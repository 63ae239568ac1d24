//! `divulge ca`: the persistent CA of `serve`.
//!
//! Making it (`init`), telling of it (`show`, `export`), having it trusted and forgotten (`install`,
//! `uninstall`), and replacing it (`rotate`). `docs/ca.md` explains scope and stores.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::{StateOption, explain};
use crate::ca::store::{self, Certificate, Place, Store};
use crate::ca::{Authority, CaError, Description, Scope, encode_pem};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Make the CA if there is none yet
    Init {
        #[command(flatten)]
        state: StateOption,
        /// Hosts it may speak for: those of the rule packs, any, or a DNS suffix [default: packs]
        #[arg(long, value_name = "packs|any|SUFFIX", env = "DIVULGE_CA_SCOPE")]
        ca_scope: Option<String>,
    },
    /// Print subject, fingerprint, validity, scope, and where it is installed
    Show {
        #[command(flatten)]
        state: StateOption,
    },
    /// Write the certificate (never the key) to standard output or a file
    Export {
        #[command(flatten)]
        state: StateOption,
        #[arg(long, value_enum, default_value_t = Format::Pem)]
        format: Format,
        /// Instead of standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Have the system and the user's browsers trust it
    Install {
        #[command(flatten)]
        state: StateOption,
        #[command(flatten)]
        stores: StoreOptions,
    },
    /// Take it out of every store again
    Uninstall {
        #[command(flatten)]
        state: StateOption,
        #[command(flatten)]
        stores: StoreOptions,
        /// Remove the CA and its key too
        #[arg(long)]
        delete: bool,
    },
    /// Replace it by a new one, in the stores as well
    Rotate {
        #[command(flatten)]
        state: StateOption,
        /// Hosts the new one may speak for [default: as before]
        #[arg(long, value_name = "packs|any|SUFFIX", env = "DIVULGE_CA_SCOPE")]
        ca_scope: Option<String>,
        #[command(flatten)]
        stores: StoreOptions,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct StoreOptions {
    /// Only the system's store (needs root), or only the user's browsers
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Only {
    System,
    Browsers,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    Pem,
    Der,
}

/// Wrong usage or settings.
const USAGE: u8 = 2;
/// Failed while running.
const FAILED: u8 = 3;

/// `packs` are the hosts of the rule packs.
pub fn run(args: Args, packs: &[String]) -> ExitCode {
    match perform(args.command, packs) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err((status, message)) => {
            eprintln!("divulge ca: {message}");
            ExitCode::from(status)
        }
    }
}

type Failure = (u8, String);

fn ca_failure(error: CaError) -> Failure {
    let status = match error {
        CaError::Scope { .. } | CaError::OtherScope { .. } => USAGE,
        _ => FAILED,
    };
    (status, explain(&error))
}

fn io_failure(error: std::io::Error) -> Failure {
    (FAILED, format!("cannot write the result: {error}"))
}

/// Whether all of it could be done.
fn perform(command: Command, packs: &[String]) -> Result<bool, Failure> {
    let folder = |state: &StateOption| state.folder().map_err(|message| (USAGE, message));
    let mut out = std::io::stdout().lock();
    match command {
        Command::Init { state, ca_scope } => {
            let state = folder(&state)?;
            let asked = ca_scope.map(|text| Scope::parse(&text, packs)).transpose().map_err(ca_failure)?;
            let otherwise = Scope::Packs(packs.to_vec());
            let authority = Authority::open_or_create(&state, asked.as_ref(), &otherwise).map_err(ca_failure)?;
            tell(&mut out, &state, authority.description()).map_err(io_failure)?;
            Ok(true)
        }
        Command::Show { state } => {
            let state = folder(&state)?;
            let (der, description) = existing(&state)?;
            tell(&mut out, &state, &description).map_err(io_failure)?;
            let certificate = as_filed(&state, der, &description);
            for store in store::stores(&Place::here()) {
                let holds = match store.holds(&certificate) {
                    Ok(true) => "yes".to_owned(),
                    Ok(false) => "no".to_owned(),
                    Err(error) => explain(&error),
                };
                writeln!(out, "installed    {}: {holds}", store.name).map_err(io_failure)?;
            }
            Ok(true)
        }
        Command::Export { state, format, output } => {
            let (der, _) = existing(&folder(&state)?)?;
            let bytes = match format {
                Format::Pem => encode_pem(&der).into_bytes(),
                Format::Der => der.to_vec(),
            };
            match output {
                None => out.write_all(&bytes).and_then(|()| out.flush()).map_err(io_failure)?,
                Some(path) => std::fs::write(&path, bytes)
                    .map_err(|error| (FAILED, format!("cannot write {}: {error}", path.display())))?,
            }
            Ok(true)
        }
        Command::Install { state, stores } => {
            let state = folder(&state)?;
            // Refuses a CA that has expired or lost its key: nobody should be asked to trust that.
            let otherwise = Scope::Packs(packs.to_vec());
            if stores.dry_run && Authority::certificate_in(&state).map_err(ca_failure)?.is_none() {
                writeln!(out, "make a CA in {}, then install it", state.display()).map_err(io_failure)?;
                return Ok(true);
            }
            let authority = Authority::open_or_create(&state, None, &otherwise).map_err(ca_failure)?;
            let certificate = as_filed(&state, authority.certificates()[0].clone(), authority.description());
            change(&mut out, Direction::In, &certificate, &state, stores)
        }
        Command::Uninstall { state, stores, delete } => {
            let state = folder(&state)?;
            let mut done = true;
            match Authority::certificate_in(&state).map_err(ca_failure)? {
                None => writeln!(out, "there is no CA in {}", state.display()).map_err(io_failure)?,
                Some((der, description)) => {
                    let certificate = as_filed(&state, der, &description);
                    done = change(&mut out, Direction::Out, &certificate, &state, stores)?;
                }
            }
            match (delete, stores.dry_run) {
                // The certificate is what finds the stores that still trust it.
                (true, _) if !done => {
                    eprintln!("divulge ca: kept {}: a store still trusts it", state.join("ca.pem").display());
                }
                (true, true) => {
                    for name in ["ca.pem", "ca.key"] {
                        writeln!(out, "rm {}", state.join(name).display()).map_err(io_failure)?;
                    }
                }
                (true, false) => {
                    Authority::remove(&state).map_err(ca_failure)?;
                }
                (false, _) => {}
            }
            Ok(done)
        }
        Command::Rotate { state, ca_scope, stores } => rotate(&mut out, &folder(&state)?, ca_scope, stores, packs),
    }
}

fn rotate(
    out: &mut impl Write,
    state: &Path,
    ca_scope: Option<String>,
    options: StoreOptions,
    packs: &[String],
) -> Result<bool, Failure> {
    // A damaged certificate cannot be looked for in stores, but must not keep anybody from replacing it.
    let old = match Authority::certificate_in(state) {
        Ok(old) => old,
        Err(error) => {
            eprintln!("divulge ca: {}; stores that trust it are left as they are", explain(&error));
            None
        }
    };
    let scope = match (ca_scope, &old) {
        (Some(text), _) => Scope::parse(&text, packs),
        (None, Some((_, description))) => Scope::parse(&description.scope(), packs),
        (None, None) => Ok(Scope::Packs(packs.to_vec())),
    }
    .map_err(ca_failure)?;

    let mut holding = Vec::new();
    if let Some((der, description)) = old {
        let certificate = as_filed(state, der, &description);
        holding = chosen(options).into_iter().filter(|store| store.holds(&certificate).unwrap_or(false)).collect();
        if !change(out, Direction::Out, &certificate, state, options)? {
            let message = "the old CA is still trusted by a store and was not replaced: see above";
            return Err((FAILED, message.to_owned()));
        }
    }
    if options.dry_run {
        writeln!(out, "replace {} and its key (scope {scope})", state.join("ca.pem").display()).map_err(io_failure)?;
        for store in holding {
            writeln!(out, "install the new CA in the {}", store.name).map_err(io_failure)?;
        }
        return Ok(true);
    }
    let authority = Authority::rotate(state, &scope).map_err(ca_failure)?;
    tell(out, state, authority.description()).map_err(io_failure)?;
    let certificate = as_filed(state, authority.certificates()[0].clone(), authority.description());
    apply(out, Direction::In, &holding, &certificate, state, options)
}

fn existing(state: &Path) -> Result<(CertificateDer<'static>, Description), Failure> {
    Authority::certificate_in(state)
        .map_err(ca_failure)?
        .ok_or_else(|| (FAILED, format!("there is no CA in {}: `divulge ca init` makes one", state.display())))
}

fn as_filed(state: &Path, der: CertificateDer<'static>, description: &Description) -> Certificate {
    // Absolute, for tools that are started elsewhere and for commands that are printed.
    let file = std::path::absolute(state.join("ca.pem")).unwrap_or_else(|_| state.join("ca.pem"));
    Certificate { name: description.name.clone(), der, file }
}

fn tell(out: &mut impl Write, state: &Path, ca: &Description) -> std::io::Result<()> {
    writeln!(out, "subject      {}", ca.subject)?;
    writeln!(out, "sha-256      {}", ca.fingerprint_hex())?;
    let left = (ca.not_after - OffsetDateTime::now_utc()).whole_days();
    let when = if left < 0 {
        "expired: `divulge ca rotate` makes a new one".to_owned()
    } else if left < 30 {
        format!("{left} days left: `divulge ca rotate` makes a new one")
    } else {
        format!("{left} days left")
    };
    writeln!(out, "valid        {} to {} ({when})", ca.not_before.date(), ca.not_after.date())?;
    writeln!(out, "scope        {}", ca.scope())?;
    match &ca.permitted {
        Some(names) => writeln!(out, "hosts        {}", names.join(" "))?,
        None => writeln!(out, "hosts        all")?,
    }
    writeln!(out, "certificate  {}", state.join("ca.pem").display())?;
    writeln!(out, "key          {}", state.join("ca.key").display())
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    In,
    Out,
}

/// The stores that the options choose.
fn chosen(options: StoreOptions) -> Vec<Store> {
    let mut stores = store::stores(&Place::here());
    stores.retain(|store| match options.only {
        None => true,
        Some(only) => store.of_system == (only == Only::System),
    });
    stores
}

fn change(
    out: &mut impl Write,
    direction: Direction,
    certificate: &Certificate,
    state: &Path,
    options: StoreOptions,
) -> Result<bool, Failure> {
    let stores = chosen(options);
    if stores.is_empty() && direction == Direction::In {
        let advice = "no trust store was found here: `divulge ca export` gives the certificate for one's own way";
        writeln!(out, "{advice}").map_err(io_failure)?;
    }
    apply(out, direction, &stores, certificate, state, options)
}

/// Brings `stores` to hold the certificate or not. One that fails does not keep the others from it.
fn apply(
    out: &mut impl Write,
    direction: Direction,
    stores: &[Store],
    certificate: &Certificate,
    state: &Path,
    options: StoreOptions,
) -> Result<bool, Failure> {
    let mut all_done = true;
    for store in stores {
        let steps = match direction {
            Direction::In => store.to_install(certificate),
            Direction::Out => store.to_uninstall(certificate),
        };
        let (done, already, verb) = match direction {
            Direction::In => ("installed in", "already in", "install"),
            Direction::Out => ("removed from", "not in", "uninstall"),
        };
        let result = match steps {
            Ok(steps) if steps.is_empty() => {
                writeln!(out, "{already} the {}", store.name).map_err(io_failure)?;
                continue;
            }
            Ok(steps) if options.dry_run => {
                for step in steps {
                    writeln!(out, "{step}").map_err(io_failure)?;
                }
                continue;
            }
            Ok(steps) => store::carry_out(&steps),
            // A store that cannot be asked cannot be said to be free of it either.
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => writeln!(out, "{done} the {}", store.name).map_err(io_failure)?,
            Err(error) => {
                all_done = false;
                eprintln!("divulge ca: {}: {}", store.name, explain(&error));
                if store.of_system && cfg!(unix) {
                    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
                    eprintln!("  sudo divulge ca {verb} --only system --state {}", state.display());
                }
            }
        }
    }
    Ok(all_done)
}

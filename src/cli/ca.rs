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

use super::start::{self, StartError};
use super::{INCOMPLETE, StateFolder, WRONG_USAGE, fail, printable};
use crate::ca::next::Next;
use crate::ca::store::{self, Certificate, Place, Store};
use crate::ca::{Authority, CaError, Description, Scope, encode_pem};
use crate::config::{Options, SettingsError};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    state: StateFolder,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Make the CA if there is none yet
    Init {
        #[command(flatten)]
        scope: ScopeOption,
    },
    /// Print subject, fingerprint, validity, scope, and where it is installed
    Show,
    /// Write the certificate (never the key) to standard output or a file
    Export {
        #[arg(long, value_enum, default_value_t = Format::Pem)]
        format: Format,
        /// Instead of standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Have the system and the user's browsers trust it (made if there is none yet)
    Install {
        #[command(flatten)]
        scope: ScopeOption,
        #[command(flatten)]
        stores: StoreOptions,
    },
    /// Take it out of every store again
    Uninstall {
        #[command(flatten)]
        stores: StoreOptions,
        /// Remove the CA and its key too
        #[arg(long, conflicts_with = "old")]
        delete: bool,
        /// Only the one before, which a rotation with overlap left in the stores
        #[arg(long)]
        old: bool,
    },
    /// Replace it by a new one, in the stores as well (with the scope it had, unless another is given)
    Rotate {
        /// Make and install the new one now, and let it take over in so many days: until then both are trusted
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=365))]
        overlap: Option<u16>,
        #[command(flatten)]
        scope: ScopeOption,
        #[command(flatten)]
        stores: StoreOptions,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct ScopeOption {
    /// Hosts it may speak for: those of the rule packs (the default), any, or a DNS suffix
    #[arg(long, value_name = "packs|any|SUFFIX", env = "DIVULGE_CA_SCOPE")]
    ca_scope: Option<String>,
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

pub fn run(args: Args) -> ExitCode {
    crate::ca::protect_memory();
    match perform(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(INCOMPLETE),
        Err(error) => {
            let usage = match error.downcast_ref() {
                Some(CaError::Scope { .. } | CaError::OtherScope { .. }) => true,
                Some(_) => false,
                None => error.is::<SettingsError>() || error.is::<StartError>(),
            };
            fail(if usage { WRONG_USAGE } else { INCOMPLETE }, &*error)
        }
    }
}

type Failure = Box<dyn std::error::Error>;

/// Whether all of it could be done.
fn perform(args: Args) -> Result<bool, Failure> {
    let options = args.state.options()?;
    let state = options.state_dir()?;
    let mut out = std::io::stdout().lock();
    match args.command {
        Command::Init { scope } => {
            let authority = open_or_create(&state, &options, scope)?;
            tell(&mut out, &state, authority.description())?;
            Ok(true)
        }
        Command::Show => {
            let (der, description) = existing(&state)?;
            tell(&mut out, &state, &description)?;
            let certificate = as_filed(&state, der, &description);
            for store in store::stores(&Place::here()) {
                let holds = match store.holds(&certificate) {
                    Ok(true) => "yes".to_owned(),
                    Ok(false) => "no".to_owned(),
                    Err(error) => printable(&error.to_string()),
                };
                writeln!(out, "installed    {}: {holds}", store.name)?;
            }
            if let Some(next) = Authority::next(&state)? {
                writeln!(out, "next         {} from {} on", next.description.name, next.from.date())?;
                writeln!(out, "             sha-256 {}", next.description.fingerprint_hex())?;
            }
            if let Some((_, old)) = Authority::before(&state)? {
                let advice = "`divulge ca uninstall --old` takes it out of the stores";
                writeln!(out, "before       {}: {advice}", old.name)?;
            }
            Ok(true)
        }
        Command::Export { format, output } => {
            let (der, _) = existing(&state)?;
            let bytes = match format {
                Format::Pem => bundle(&state, &der)?.into_bytes(),
                Format::Der => der.to_vec(),
            };
            match output {
                None => out.write_all(&bytes).and_then(|()| out.flush())?,
                Some(path) => {
                    std::fs::write(&path, bytes)
                        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
                }
            }
            Ok(true)
        }
        Command::Install { scope, stores } => {
            if stores.dry_run && Authority::certificate_in(&state)?.is_none() {
                writeln!(out, "make a CA in {}, then install it", state.display())?;
                return Ok(true);
            }
            // Refuses a CA that has expired or lost its key: nobody should be asked to trust that.
            let authority = open_or_create(&state, &options, scope)?;
            let certificate = as_filed(&state, authority.certificates()[0].clone(), authority.description());
            change(&mut out, Direction::In, &certificate, &state, stores)
        }
        Command::Uninstall { stores, old: true, .. } => take_out_before(&mut out, &state, stores),
        Command::Uninstall { stores, delete, old: false } => {
            let done = take_out(&mut out, &state, stores)?;
            match (delete, stores.dry_run) {
                // The certificate is what finds the stores that still trust it.
                (true, _) if !done => {
                    eprintln!("divulge: {} is kept: a store may still trust it", state.join("ca.pem").display());
                }
                (true, true) => {
                    let all = ["ca.pem", "ca.key", "ca-next.pem", "ca-next.key", "ca-before.pem"];
                    let always = |name: &&&str| matches!(**name, "ca.pem" | "ca.key");
                    for name in all.iter().filter(|name| always(name) || state.join(name).exists()) {
                        writeln!(out, "rm {}", state.join(name).display())?;
                    }
                }
                (true, false) => {
                    Authority::remove(&state)?;
                }
                (false, _) => {}
            }
            Ok(done)
        }
        Command::Rotate { overlap: Some(days), scope, stores } => {
            announce(&mut out, &state, &options, scope, stores, days)
        }
        Command::Rotate { overlap: None, scope, stores } => rotate(&mut out, &state, &options, scope, stores),
    }
}

/// For `divulge uninstall`: takes the CA out of every store. Whether all could be done.
pub(super) fn uninstall(state: &Path, dry_run: bool) -> Result<bool, Failure> {
    take_out(&mut std::io::stdout().lock(), state, StoreOptions { only: None, dry_run })
}

fn take_out(out: &mut impl Write, state: &Path, stores: StoreOptions) -> Result<bool, Failure> {
    let Some((der, description)) = Authority::certificate_in(state)? else {
        writeln!(out, "there is no CA in {}", state.display())?;
        return Ok(true);
    };
    let mut done = change(out, Direction::Out, &as_filed(state, der, &description), state, stores)?;
    if let Some(next) = Authority::next(state)? {
        done &= change(out, Direction::Out, &next_as_filed(state, &next), state, stores)?;
    }
    Ok(take_out_before(out, state, stores)? && done)
}

/// Takes the CA that was there before out of every store, after which nothing of it is kept.
fn take_out_before(out: &mut impl Write, state: &Path, stores: StoreOptions) -> Result<bool, Failure> {
    let Some((der, description)) = Authority::before(state)? else { return Ok(true) };
    let certificate = filed(state, "ca-before.pem", der, &description);
    let done = change(out, Direction::Out, &certificate, state, stores)?;
    if done && !stores.dry_run && stores.only.is_none() {
        Authority::forget_before(state)?;
    }
    Ok(done)
}

/// What clients must trust, now and after a rotation that was announced.
pub(super) fn bundle(state: &Path, der: &CertificateDer<'_>) -> Result<String, CaError> {
    let next = Authority::next(state)?;
    Ok(encode_pem(der) + &next.map(|next| encode_pem(&next.certificate)).unwrap_or_default())
}

/// `rotate --overlap`: the new CA beside the old one, in the same stores.
fn announce(
    out: &mut impl Write,
    state: &Path,
    options: &Options,
    scope: ScopeOption,
    stores: StoreOptions,
    days: u16,
) -> Result<bool, Failure> {
    let (der, description) = existing(state)?;
    let text = scope.ca_scope.or(options.ca_scope.clone()).unwrap_or_else(|| description.scope());
    let scope = Scope::parse(&text, &packs(options)?)?;
    let from = OffsetDateTime::now_utc() + time::Duration::days(days.into());
    if from >= description.not_after {
        let until = description.not_after.date();
        return Err(format!("the CA is valid until {until} only: choose a shorter --overlap, or none").into());
    }
    let current = as_filed(state, der, &description);
    let holding: Vec<Store> =
        chosen(stores).into_iter().filter(|store| store.holds(&current).unwrap_or(false)).collect();
    if stores.dry_run {
        writeln!(
            out,
            "make {} (scope {scope}), which takes over on {}",
            state.join("ca-next.pem").display(),
            from.date()
        )?;
        for store in holding {
            writeln!(out, "install the new CA in the {}", store.name)?;
        }
        return Ok(true);
    }
    if let Some(next) = Authority::next(state)?
        && !change(out, Direction::Out, &next_as_filed(state, &next), state, stores)?
    {
        return Err("a CA that was announced before may be trusted by a store and was not replaced: see above".into());
    }
    let next = Authority::announce(state, &scope, from)?;
    writeln!(out, "next         {} from {} on", next.description.name, next.from.date())?;
    writeln!(out, "sha-256      {}", next.description.fingerprint_hex())?;
    writeln!(out, "until then   {} signs; `divulge ca export` gives both", description.name)?;
    apply(out, Direction::In, &holding, &next_as_filed(state, &next), state, stores)
}

/// The hosts of the rule packs that the settings name.
fn packs(options: &Options) -> Result<Vec<String>, Failure> {
    Ok(start::engine::rules(options)?.hosts().map(str::to_owned).collect())
}

fn open_or_create(state: &Path, options: &Options, scope: ScopeOption) -> Result<Authority, Failure> {
    let packs = packs(options)?;
    let asked = scope.ca_scope.or(options.ca_scope.clone());
    let asked = asked.map(|text| Scope::parse(&text, &packs)).transpose()?;
    Ok(Authority::open_or_create(state, asked.as_ref(), &Scope::Packs(packs))?)
}

fn rotate(
    out: &mut impl Write,
    state: &Path,
    options: &Options,
    scope: ScopeOption,
    stores: StoreOptions,
) -> Result<bool, Failure> {
    // A damaged certificate cannot be looked for in stores, but must not keep anybody from replacing it.
    let old = match Authority::certificate_in(state) {
        Ok(old) => old,
        Err(error) => {
            eprintln!("divulge: {}; stores that trust it are left as they are", printable(&error.to_string()));
            None
        }
    };
    let before = old.as_ref().map(|(_, description)| description.scope());
    let next = Authority::next(state).ok().flatten();
    let takes_over = next.is_some() && scope.ca_scope.is_none();
    let text = scope.ca_scope.or(options.ca_scope.clone()).or(before).unwrap_or_else(|| "packs".to_owned());
    let scope = Scope::parse(&text, &packs(options)?)?;

    let mut holding = Vec::new();
    if let Some((der, description)) = old {
        let certificate = as_filed(state, der, &description);
        holding = chosen(stores).into_iter().filter(|store| store.holds(&certificate).unwrap_or(false)).collect();
        if !change(out, Direction::Out, &certificate, state, stores)? {
            return Err("the old CA may still be trusted by a store and was not replaced: see above".into());
        }
    }
    if stores.dry_run {
        match &next {
            Some(next) if takes_over => writeln!(out, "let {} take over now", next.description.name)?,
            _ => writeln!(out, "replace {} and its key (scope {scope})", state.join("ca.pem").display())?,
        }
        for store in holding {
            writeln!(out, "install the new CA in the {}", store.name)?;
        }
        return Ok(true);
    }
    let authority = match next {
        // It was announced, and clients trust it already.
        Some(_) if takes_over => {
            Authority::take_over(state)?;
            Authority::forget_before(state)?;
            Authority::open(state)?.ok_or("the new CA vanished")?
        }
        next => {
            if let Some(next) = next {
                change(out, Direction::Out, &next_as_filed(state, &next), state, stores)?;
            }
            Authority::rotate(state, &scope)?
        }
    };
    tell(out, state, authority.description())?;
    let certificate = as_filed(state, authority.certificates()[0].clone(), authority.description());
    apply(out, Direction::In, &holding, &certificate, state, stores)
}

fn existing(state: &Path) -> Result<(CertificateDer<'static>, Description), Failure> {
    let found = Authority::certificate_in(state)?;
    found.ok_or_else(|| format!("there is no CA in {}: `divulge ca init` makes one", state.display()).into())
}

fn as_filed(state: &Path, der: CertificateDer<'static>, description: &Description) -> Certificate {
    filed(state, "ca.pem", der, description)
}

fn next_as_filed(state: &Path, next: &Next) -> Certificate {
    filed(state, "ca-next.pem", next.certificate.clone(), &next.description)
}

fn filed(state: &Path, name: &str, der: CertificateDer<'static>, description: &Description) -> Certificate {
    // Absolute, for tools that are started elsewhere and for commands that are printed.
    let file = std::path::absolute(state.join(name)).unwrap_or_else(|_| state.join(name));
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
        writeln!(out, "{advice}")?;
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
                writeln!(out, "{already} the {}", store.name)?;
                continue;
            }
            Ok(steps) if options.dry_run => {
                for step in steps {
                    writeln!(out, "{step}")?;
                }
                continue;
            }
            Ok(steps) => store::carry_out(&steps),
            // A store that cannot be asked cannot be said to be free of it either.
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => writeln!(out, "{done} the {}", store.name)?,
            Err(error) => {
                all_done = false;
                eprintln!("divulge: {}: {}", store.name, printable(&error.to_string()));
                if store.of_system && cfg!(unix) {
                    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
                    eprintln!("  sudo divulge ca {verb} --only system --state {}", state.display());
                }
            }
        }
    }
    Ok(all_done)
}

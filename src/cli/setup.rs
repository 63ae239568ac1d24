//! `divulge setup` and `divulge uninstall`: the settings an assistant needs, written and taken back.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::env::{Failure, Reach, reach};
use super::{INCOMPLETE, StateFolder, WRONG_USAGE, ca, fail, printable};
use crate::config::SettingsError;
use crate::environment::KeptTrust;
use crate::setup::plan::Place;
use crate::setup::{ASSISTANTS, Assistant, Change, Journal, SetupError, Shell, Undone, changes, variables};
use crate::system_proxy;

/// Writes the settings with which an assistant goes through a running serve.
///
/// Shows what would change first, keeps every file as it was, and notes what was written, so that
/// `divulge uninstall` takes it back.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge setup                        which assistants there are\n  divulge setup claude-code --dry-run\n  divulge setup claude-code codex --yes\n  divulge uninstall claude-code\n\nThe assistant reaches its provider only while `divulge serve` runs. `divulge run -- CMD` needs none of this."
)]
pub struct Args {
    /// Which; all that are known are listed without one
    #[arg(value_name = "ASSISTANT")]
    assistants: Vec<String>,
    /// Where programs reach serve [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_LISTEN")]
    listen: Option<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    state: StateFolder,
}

/// Takes back what setup wrote; without a name also the system proxy and the CA in the trust stores.
///
/// A file that nobody changed since is put back byte for byte. Of another only what setup wrote goes.
#[derive(clap::Args, Clone, Debug)]
pub struct UninstallArgs {
    /// Which; everything without one
    #[arg(value_name = "ASSISTANT")]
    assistants: Vec<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    state: StateFolder,
}

fn failed(error: &Failure) -> ExitCode {
    let usage = matches!(error.downcast_ref(), Some(SetupError::Unknown(_))) || error.is::<SettingsError>();
    fail(if usage { WRONG_USAGE } else { INCOMPLETE }, &**error)
}

pub fn run(args: Args) -> ExitCode {
    crate::ca::protect_memory();
    if args.assistants.is_empty() {
        return list(&args);
    }
    set_up(&args).unwrap_or_else(|error| failed(&error))
}

fn list(args: &Args) -> ExitCode {
    let journal = args.state.options().and_then(|options| options.state_dir()).map_err(Failure::from);
    let journal = journal.and_then(|state| Ok(Journal::open(&state)?));
    let set: Vec<String> = match &journal {
        Ok(journal) => journal.files().flat_map(|(_, ids)| ids.to_vec()).collect(),
        Err(error) => return failed(error),
    };
    for assistant in ASSISTANTS {
        let mark = if set.iter().any(|id| id == assistant.id) { "set up" } else { "" };
        println!("{:<12} {:<34} {mark}", assistant.id, assistant.title);
    }
    ExitCode::SUCCESS
}

fn chosen(ids: &[String]) -> Result<Vec<&'static Assistant>, SetupError> {
    ids.iter().map(|id| Assistant::named(id).ok_or_else(|| SetupError::Unknown(id.clone()))).collect()
}

/// Where this user's settings are.
fn place(reach: &Reach) -> Result<Place, SetupError> {
    use etcetera::BaseStrategy;
    let dirs = etcetera::base_strategy::choose_native_strategy().map_err(|_| SetupError::NoHome)?;
    Ok(Place {
        home: dirs.home_dir().to_owned(),
        config: if cfg!(target_os = "macos") { dirs.data_dir() } else { dirs.config_dir() },
        proxy: reach.proxy,
        bundle: reach.trust.bundle.clone(),
        script: KeptTrust::folder(&reach.state).join("env.sh"),
    })
}

fn set_up(args: &Args) -> Result<ExitCode, Failure> {
    let assistants = chosen(&args.assistants)?;
    let reach = reach(&args.state, args.listen.clone())?;
    let mut journal = Journal::open(&reach.state)?;
    let place = place(&reach)?;
    let all = changes(&assistants, &place)?;
    let wanted: Vec<&Change> = all.iter().filter(|change| !change.is_made()).collect();
    for change in &wanted {
        let what = if change.before.is_some() { "change" } else { "make" };
        println!("{what} {}", printable(&change.file.display().to_string()));
        print!("{}", printable(&change.difference()));
    }
    if wanted.is_empty() {
        println!("nothing to change: all of it is there");
    } else if args.dry_run {
        println!("nothing was changed (--dry-run)");
    } else if !args.yes && !confirmed()? {
        println!("nothing was changed");
        return Ok(ExitCode::from(INCOMPLETE));
    }
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let script = variables(Shell::Sh, &reach.variables());
    std::fs::write(&place.script, script).map_err(|source| SetupError::Write { path: place.script.clone(), source })?;
    for change in &all {
        journal.make(change)?;
    }
    for assistant in &assistants {
        println!("{} goes through {} while `divulge serve` runs there", assistant.title, reach.proxy);
        if !assistant.note.is_empty() {
            println!("  {}", assistant.note);
        }
    }
    println!("`divulge uninstall {}` takes it back", args.assistants.join(" "));
    Ok(ExitCode::SUCCESS)
}

fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err("nobody is there to ask: --yes makes these changes, --dry-run only shows them".into());
    }
    print!("Make these changes? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

pub fn uninstall(args: UninstallArgs) -> ExitCode {
    crate::ca::protect_memory();
    take_back(&args).unwrap_or_else(|error| failed(&error))
}

fn take_back(args: &UninstallArgs) -> Result<ExitCode, Failure> {
    chosen(&args.assistants)?;
    let state = args.state.options()?.state_dir()?;
    let told = Journal::open(&state)?.undo(&args.assistants, args.dry_run)?;
    for (file, undone) in &told {
        println!("{}: {}", printable(&file.display().to_string()), printable(&said(undone, args.dry_run)));
    }
    if told.is_empty() {
        println!("setup changed no file{}", if args.assistants.is_empty() { "" } else { " for these" });
    }
    let mut whole = !told.iter().any(|(_, undone)| matches!(undone, Undone::Changed(_)));
    if args.assistants.is_empty() {
        whole &= system(&state, args.dry_run)?;
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn said(undone: &Undone, dry: bool) -> String {
    let done = if dry { "would be" } else { "is" };
    match undone {
        Undone::Restored => format!("{done} as it was, byte for byte"),
        Undone::Removed => format!("{done} removed; there was none before"),
        Undone::TakenOut => format!("was changed by others since; what setup wrote {done} taken out"),
        Undone::StillNeeded(ids) => format!("stays: {} need it", ids.join(", ")),
        Undone::Gone => "is gone already".to_owned(),
        Undone::Changed(names) => format!("was changed since; these stay as somebody set them: {}", names.join(", ")),
    }
}

/// The system proxy, the trust stores, and the files for those who trust the CA.
fn system(state: &Path, dry: bool) -> Result<bool, Failure> {
    let files: PathBuf = KeptTrust::folder(state);
    if dry {
        println!("the system proxy would be switched off if it is ours");
        if files.exists() {
            println!("{} would be removed", files.display());
        }
    } else {
        match system_proxy::off(state) {
            Ok(true) => println!("the desktop's proxy settings are as they were"),
            Ok(false) => {}
            Err(error) => println!("the desktop's proxy settings: {}", printable(&error.to_string())),
        }
        if files.exists() {
            std::fs::remove_dir_all(&files)?;
        }
    }
    let clean = ca::uninstall(state, dry)?;
    println!("{} keeps the CA, its key and sessions; remove it if nobody needs them", state.display());
    Ok(clean)
}

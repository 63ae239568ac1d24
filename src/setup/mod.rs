//! What an assistant that is started by itself needs to meet `serve`: settings in its own files, written and taken back.
//!
//! ```text
//! plan (which member of which file)  ->  changes (before, after)  ->  shown  ->  written, the old bytes kept  ->  journal
//! undo: a file that nobody changed since gets its old bytes; of another only what is ours goes
//! ```

mod block;
mod changes;
mod journal;
mod json;
pub mod plan;
mod shells;

pub use changes::{Change, changes};
pub use journal::{Journal, Undone};
pub use plan::{ASSISTANTS, Assistant};
pub use shells::{Shell, unset, variables};

use std::io;
use std::path::{Path, PathBuf};

/// Why settings cannot be written or taken back.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("there is no assistant `{0}`; known are {known}", known = plan::names())]
    Unknown(String),
    #[error("there is no home folder (HOME is not set)")]
    NoHome,
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}; nothing of it was changed", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} {error}; set this there by hand: {wanted}", .path.display())]
    Form { path: PathBuf, error: json::JsonError, wanted: String },
    #[error("{} is damaged ({error}); backups of the files that setup changed are in {}", .path.display(), .backups.display())]
    Journal { path: PathBuf, backups: PathBuf, error: String },
}

/// The text of a file; none where there is no file.
fn read(path: &Path) -> Result<Option<String>, SetupError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SetupError::Read { path: path.to_owned(), source }),
    }
}

/// Puts the whole text there at once, with the rights that the file had; links are followed.
fn write(path: &Path, text: &str) -> Result<(), SetupError> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().unwrap_or(Path::new("."));
    let put = || -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        if let Ok(found) = std::fs::metadata(&target) {
            file.as_file().set_permissions(found.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(&target).map_err(|error| error.error)?;
        Ok(())
    };
    put().map_err(|source| SetupError::Write { path: path.to_owned(), source })
}

#[cfg(all(test, unix))]
mod tests;

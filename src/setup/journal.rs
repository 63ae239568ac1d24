//! What setup wrote, so that it can be taken back: `setup.json` in the state folder, and the files as they were.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::changes::{Change, Made};
use super::{SetupError, block, json, read, write};

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    files: Vec<Entry>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    file: PathBuf,
    assistants: Vec<String>,
    /// The file as it was before the first setup; none if there was none.
    backup: Option<PathBuf>,
    /// SHA-256 of the file as setup left it.
    left: String,
    made: Vec<Made>,
    /// Folders that were made for the file, outermost first.
    folders: Vec<PathBuf>,
}

/// The record of what was written.
pub struct Journal {
    path: PathBuf,
    backups: PathBuf,
    kept: Kept,
}

/// What became of one file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Undone {
    /// Byte for byte as it was.
    Restored,
    /// There was none before.
    Removed,
    /// Changed by others since: only ours went.
    TakenOut,
    /// Other assistants still need it.
    StillNeeded(Vec<String>),
    /// Somebody removed it.
    Gone,
    /// Not by us any more: these stay as they are.
    Changed(Vec<String>),
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Journal {
    pub fn open(state: &Path) -> Result<Self, SetupError> {
        let (path, backups) = (state.join("setup.json"), state.join("backups"));
        let kept = match read(&path)? {
            None => Kept { version: 1, files: Vec::new() },
            Some(text) => serde_json::from_str::<Kept>(&text)
                .map_err(|error| error.to_string())
                .and_then(|kept| match kept.version {
                    1 => Ok(kept),
                    other => Err(format!("version {other} is not known here")),
                })
                .map_err(|error| SetupError::Journal { path: path.clone(), backups: backups.clone(), error })?,
        };
        Ok(Self { path, backups, kept })
    }

    /// The files that setup changed, with their assistants.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[String])> {
        self.kept.files.iter().map(|entry| (entry.file.as_path(), entry.assistants.as_slice()))
    }

    /// Keeps the file as it is, writes the change, and notes both. What is noted is written first: a cut-off leaves nothing
    /// that cannot be taken back.
    pub fn make(&mut self, change: &Change) -> Result<(), SetupError> {
        let index = match self.kept.files.iter().position(|entry| entry.file == change.file) {
            Some(index) => index,
            None => {
                let folders = change.file.ancestors().skip(1).take_while(|folder| !folder.exists());
                let mut folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
                folders.reverse();
                let backup = change.before.as_deref().map(|text| self.back_up(&change.file, text)).transpose()?;
                self.kept.files.push(Entry {
                    file: change.file.clone(),
                    assistants: Vec::new(),
                    backup,
                    left: String::new(),
                    made: Vec::new(),
                    folders,
                });
                self.kept.files.len() - 1
            }
        };
        let entry = &mut self.kept.files[index];
        entry.left = digest(&change.after);
        for id in &change.assistants {
            if !entry.assistants.contains(id) {
                entry.assistants.push(id.clone());
            }
        }
        for made in &change.made {
            entry.note(made);
        }
        self.save()?;
        if change.is_made() { Ok(()) } else { write(&change.file, &change.after) }
    }

    fn back_up(&self, file: &Path, text: &str) -> Result<PathBuf, SetupError> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |source| SetupError::Write { path, source }
        };
        std::fs::create_dir_all(&self.backups).map_err(wrong(&self.backups))?;
        let number = self.kept.files.len();
        let path = (number..)
            .map(|number| self.backups.join(format!("{number}-{}", name.trim_start_matches('.'))))
            .find(|path| !path.exists())
            .unwrap_or_else(|| self.backups.join("file"));
        crate::ca::files::write_private(&path, text.as_bytes())
            .map_err(|error| SetupError::Write { path: path.clone(), source: std::io::Error::other(error) })?;
        Ok(path)
    }

    fn save(&self) -> Result<(), SetupError> {
        let text = serde_json::to_string_pretty(&self.kept).unwrap_or_default();
        crate::ca::files::write_private(&self.path, text.as_bytes())
            .map_err(|error| SetupError::Write { path: self.path.clone(), source: std::io::Error::other(error) })
    }

    /// Takes back what was written for `assistants`, or all of it. With `dry`, only tells.
    pub fn undo(&mut self, assistants: &[String], dry: bool) -> Result<Vec<(PathBuf, Undone)>, SetupError> {
        let (mut told, mut folders) = (Vec::new(), Vec::new());
        for mut entry in std::mem::take(&mut self.kept.files) {
            let concerned = assistants.is_empty() || entry.assistants.iter().any(|id| assistants.contains(id));
            let mut others: Vec<String> = entry.assistants.clone();
            others.retain(|id| !assistants.is_empty() && !assistants.contains(id));
            if !concerned || !others.is_empty() {
                if concerned {
                    told.push((entry.file.clone(), Undone::StillNeeded(others.clone())));
                    if !dry {
                        entry.assistants = others;
                    }
                }
                self.kept.files.push(entry);
                continue;
            }
            match entry.undo(dry) {
                Ok(undone) => told.push((entry.file.clone(), undone)),
                Err(error) => {
                    self.kept.files.push(entry);
                    self.save()?;
                    return Err(error);
                }
            }
            if dry {
                self.kept.files.push(entry);
                continue;
            }
            folders.append(&mut entry.folders);
            if let Some(backup) = &entry.backup {
                let _ = std::fs::remove_file(backup);
            }
        }
        if !dry {
            // Innermost first, and only those that are empty: several files may share one.
            folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
            for folder in folders {
                let _ = std::fs::remove_dir(folder);
            }
            if self.kept.files.is_empty() {
                let _ = std::fs::remove_file(&self.path);
                let _ = std::fs::remove_dir(&self.backups);
            } else {
                self.save()?;
            }
        }
        Ok(told)
    }
}

impl Entry {
    /// What stood there first is what comes back, however often setup is run.
    fn note(&mut self, made: &Made) {
        let Made::Member { path, ours, .. } = made else {
            if !self.made.contains(made) {
                self.made.push(made.clone());
            }
            return;
        };
        let known = self.made.iter_mut().find_map(|known| match known {
            Made::Member { path: known, ours, .. } if known == path => Some(ours),
            _ => None,
        });
        match known {
            Some(known) => known.clone_from(ours),
            None => self.made.push(made.clone()),
        }
    }

    fn undo(&self, dry: bool) -> Result<Undone, SetupError> {
        let Some(text) = read(&self.file)? else { return Ok(Undone::Gone) };
        let backup = self.backup.as_deref().map(read).transpose()?.flatten();
        let (after, undone) = match (&backup, digest(&text) == self.left) {
            (Some(backup), true) => (Some(backup.clone()), Undone::Restored),
            (None, true) if self.backup.is_none() => (None, Undone::Removed),
            _ => {
                let (after, changed) = self.without_ours(&text)?;
                let empty = self.backup.is_none() && matches!(after.trim(), "" | "{}");
                match (empty, changed.is_empty()) {
                    (true, true) => (None, Undone::Removed),
                    (_, true) => (Some(after), Undone::TakenOut),
                    (_, false) => (Some(after), Undone::Changed(changed)),
                }
            }
        };
        if dry {
            return Ok(undone);
        }
        match after {
            Some(after) => write(&self.file, &after)?,
            None => {
                std::fs::remove_file(&self.file)
                    .map_err(|source| SetupError::Write { path: self.file.clone(), source })?;
            }
        }
        Ok(undone)
    }

    /// The text without what is ours, and what in it is ours no more.
    fn without_ours(&self, text: &str) -> Result<(String, Vec<String>), SetupError> {
        let (mut text, mut changed) = (text.to_owned(), Vec::new());
        for made in self.made.iter().rev() {
            match made {
                Made::Block => text = block::remove(&text),
                Made::Member { path, ours, had, new_objects } => {
                    let names: Vec<&str> = path.iter().map(String::as_str).collect();
                    let wrong = |error| SetupError::Form {
                        path: self.file.clone(),
                        error,
                        wanted: format!("{} removed", path.join(".")),
                    };
                    let now = json::get(&text, &names).map_err(wrong)?;
                    match (now, had) {
                        (Some(now), _) if now != ours => changed.push(path.join(".")),
                        (Some(_), Some(had)) => text = json::set(&text, &names, had).map_err(wrong)?.0,
                        (Some(_), None) => text = json::remove(&text, &names).map_err(wrong)?,
                        (None, _) => {}
                    }
                    for depth in (names.len() - new_objects..names.len()).rev() {
                        if json::is_empty(&text, &names[..depth]) {
                            text = json::remove(&text, &names[..depth]).map_err(wrong)?;
                        }
                    }
                }
            }
        }
        Ok((text, changed))
    }
}

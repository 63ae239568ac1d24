//! What a setup would change, file by file, before anything is written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::{Edit, Place};
use super::{Assistant, SetupError, block, json, read};

/// One file before and after.
#[derive(Clone, Debug)]
pub struct Change {
    pub file: PathBuf,
    /// None where there was no file.
    pub before: Option<String>,
    pub after: String,
    pub made: Vec<Made>,
    pub assistants: Vec<String>,
}

/// One thing that stands in a file by us, so that it can be taken out again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    Member {
        path: Vec<String>,
        ours: String,
        /// What stood there.
        had: Option<String>,
        /// How many of the objects around it are ours too.
        new_objects: usize,
    },
    Block,
}

/// The changes that the assistants need, one for each file.
pub fn changes(assistants: &[&Assistant], place: &Place) -> Result<Vec<Change>, SetupError> {
    let mut changes: Vec<Change> = Vec::new();
    for assistant in assistants {
        for edit in assistant.edits(place) {
            let file = edit.file().to_owned();
            let index = match changes.iter().position(|change| change.file == file) {
                Some(index) => index,
                None => {
                    let before = read(&file)?;
                    let after = before.clone().unwrap_or_default();
                    changes.push(Change { file, before, after, made: Vec::new(), assistants: Vec::new() });
                    changes.len() - 1
                }
            };
            let change = &mut changes[index];
            if !change.assistants.iter().any(|id| id == assistant.id) {
                change.assistants.push(assistant.id.to_owned());
            }
            change.apply(&edit)?;
        }
    }
    Ok(changes)
}

impl Change {
    /// Whether nothing would be different.
    pub fn is_made(&self) -> bool {
        self.before.as_deref() == Some(self.after.as_str())
    }

    fn apply(&mut self, edit: &Edit) -> Result<(), SetupError> {
        let made = match edit {
            Edit::Block { lines, .. } => {
                self.after = block::set(&self.after, lines);
                Made::Block
            }
            Edit::Member { file, path, value } => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                let wrong = |error| SetupError::Form {
                    path: file.clone(),
                    error,
                    wanted: format!("{}: {value}", path.join(".")),
                };
                let missing = |depth: &usize| !matches!(json::get(&self.after, &names[..*depth]), Ok(Some(_)));
                let new_objects = (1..names.len()).filter(missing).count();
                let (after, had) = json::set(&self.after, &names, value).map_err(wrong)?;
                self.after = after;
                Made::Member { path: path.clone(), ours: value.clone(), had, new_objects }
            }
        };
        if !self.made.contains(&made) {
            self.made.push(made);
        }
        Ok(())
    }

    /// The lines that go and come, with two around them.
    pub fn difference(&self) -> String {
        const AROUND: usize = 2;
        let before: Vec<&str> = self.before.as_deref().unwrap_or_default().lines().collect();
        let after: Vec<&str> = self.after.lines().collect();
        let same = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
        let tail = before[same..].iter().rev().zip(after[same..].iter().rev()).take_while(|(one, other)| one == other);
        let tail = tail.count();
        let mut out = String::new();
        let mut line = |mark: char, text: &str| out.push_str(&format!("  {mark} {text}\n"));
        before[same.saturating_sub(AROUND)..same].iter().for_each(|text| line(' ', text));
        before[same..before.len() - tail].iter().for_each(|text| line('-', text));
        after[same..after.len() - tail].iter().for_each(|text| line('+', text));
        before[before.len() - tail..].iter().take(AROUND).for_each(|text| line(' ', text));
        out
    }
}

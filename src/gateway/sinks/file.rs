//! JSON Lines in a file that is set aside at a size: `x.jsonl`, `x.jsonl.1` …, the highest number the oldest.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub struct Rotated {
    path: PathBuf,
    most_bytes: u64,
    keep: usize,
    file: Option<File>,
}

impl Rotated {
    pub fn new(path: &Path, most_bytes: u64, keep: usize) -> Self {
        Self { path: path.to_owned(), most_bytes, keep, file: None }
    }

    /// Whole lines, on the disk when it returns.
    pub fn send(&mut self, lines: &[String]) -> io::Result<()> {
        let result = self.write(lines);
        if result.is_err() {
            // It may have been moved, or its disk: opened anew for the next try.
            self.file = None;
        }
        result
    }

    fn write(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        // Another program may have rotated it.
        if self.file.is_some() && !self.path.exists() {
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.path)?),
        };
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        if file.metadata()?.len() >= self.most_bytes {
            self.set_aside()?;
        }
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (1..self.keep).rev() {
            let older = self.numbered(number + 1);
            match std::fs::rename(self.numbered(number), older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.keep == 0 { std::fs::remove_file(&self.path) } else { std::fs::rename(&self.path, self.numbered(1)) }
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_set_aside_at_a_size_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        let mut file = Rotated::new(&path, 20, 2);
        for n in 0..7 {
            file.send(&[format!("line number {n}")]).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!(read("x.jsonl"), "line number 6\n");
        assert_eq!(read("x.jsonl.1"), "line number 4\nline number 5\n");
        assert_eq!(read("x.jsonl.2"), "line number 2\nline number 3\n");
        assert!(!folder.path().join("x.jsonl.3").exists());
    }
}

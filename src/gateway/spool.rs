//! Findings on disk until every sink has them: segments of lines, and for each sink how far it has come.
//!
//! The recorder's thread appends and never waits for a sink. A sink reads from where it stopped, also after a restart, and
//! says how far it has come only once the other side has the lines: at least once, and by each line's id no more than once.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// A segment is closed at this size, or at an eighth of the limit.
const SEGMENT: u64 = 4 * 1024 * 1024;
/// Lines that a sink takes at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 512 * 1024;

/// Where in the spool something stands.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    pub segment: u64,
    pub offset: u64,
}

/// What sinks and writer share.
pub struct Spool {
    folder: PathBuf,
    end: watch::Sender<Position>,
    /// Bytes of lines that were removed before every sink had them.
    lost: AtomicU64,
}

/// The recorder's end.
pub struct SpoolWriter {
    spool: Arc<Spool>,
    file: File,
    at: Position,
    limit: u64,
    pending: Vec<u8>,
    failing: bool,
}

/// Opens the spool in `folder`. What an earlier run left there is sent first.
pub fn open(folder: &Path, limit: u64) -> io::Result<(Arc<Spool>, SpoolWriter)> {
    crate::ca::files::private_dir(folder).map_err(io::Error::other)?;
    let last = segments(folder)?.last().map_or(0, |(number, _)| *number);
    // A segment of its own: the last line of the one before may be torn.
    let at = Position { segment: last + 1, offset: 0 };
    let file = segment_file(folder, at.segment)?;
    let spool = Arc::new(Spool { folder: folder.to_owned(), end: watch::Sender::new(at), lost: AtomicU64::new(0) });
    let writer = SpoolWriter { spool: spool.clone(), file, at, limit, pending: Vec::new(), failing: false };
    Ok((spool, writer))
}

fn segment_file(folder: &Path, number: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path(folder, number))
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}.jsonl"))
}

/// Number and size of every segment, oldest first.
fn segments(folder: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut list = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|name| name.parse().ok());
        if let Some(number) = number {
            list.push((number, entry.metadata()?.len()));
        }
    }
    list.sort_unstable();
    Ok(list)
}

impl SpoolWriter {
    pub fn append(&mut self, line: &str) {
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        if self.pending.len() > BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands what was appended to the sinks. False while the disk takes nothing: those lines are lost, and counted.
    pub fn flush(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let written = self.file.write_all(&self.pending).and_then(|()| self.file.flush());
        match written {
            Ok(()) => {
                self.at.offset += self.pending.len() as u64;
                self.failing = false;
            }
            Err(error) => {
                self.spool.lost.fetch_add(self.pending.len() as u64, Ordering::Relaxed);
                let _ = self.file.set_len(self.at.offset);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(folder = %self.spool.folder.display(), %error, "findings cannot be spooled; what comes is lost for the sinks");
                }
            }
        }
        self.pending.clear();
        if self.at.offset >= SEGMENT.min(self.limit / 8) {
            self.next_segment();
        }
        self.spool.end.send_replace(self.at);
        !self.failing
    }

    fn next_segment(&mut self) {
        match segment_file(&self.spool.folder, self.at.segment + 1) {
            Ok(file) => {
                self.file = file;
                self.at = Position { segment: self.at.segment + 1, offset: 0 };
            }
            Err(error) => tracing::error!(%error, "the spool's segment grows on"),
        }
        self.spool.bound(self.limit, self.at.segment);
    }
}

impl Spool {
    /// Removes the oldest segments until what is left fits.
    fn bound(&self, limit: u64, current: u64) {
        let Ok(list) = segments(&self.folder) else { return };
        let mut total: u64 = list.iter().map(|(_, size)| size).sum();
        for (number, size) in list.into_iter().filter(|(number, _)| *number < current) {
            if total <= limit {
                return;
            }
            if std::fs::remove_file(path(&self.folder, number)).is_ok() {
                total -= size;
                self.lost.fetch_add(size, Ordering::Relaxed);
                tracing::error!(
                    bytes = size,
                    "the spool is full (--spool-limit): its oldest findings are lost for sinks that have not had them"
                );
            }
        }
    }

    pub fn lost_bytes(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Where the next line will stand, and word of when that changes.
    pub fn end(&self) -> watch::Receiver<Position> {
        self.end.subscribe()
    }

    /// Where the sink called `name` stopped; for a new one the oldest there is.
    pub fn cursor(&self, name: &str) -> Position {
        let read = || {
            let text = std::fs::read_to_string(self.cursor_file(name)).ok()?;
            let (segment, offset) = text.trim().split_once(' ')?;
            Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
        };
        read().unwrap_or_default()
    }

    /// Keeps how far the sink has come, and removes what all of `sinks` have.
    pub fn settle(&self, name: &str, at: Position, sinks: &[String]) -> io::Result<()> {
        let text = format!("{} {}\n", at.segment, at.offset);
        crate::ca::files::write_private(&self.cursor_file(name), text.as_bytes()).map_err(io::Error::other)?;
        let oldest = sinks.iter().map(|sink| self.cursor(sink).segment).min().unwrap_or_default();
        for (number, _) in segments(&self.folder)?.into_iter().filter(|(number, _)| *number < oldest) {
            let _ = std::fs::remove_file(path(&self.folder, number));
        }
        Ok(())
    }

    fn cursor_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.cursor"))
    }

    /// The next whole lines from `at`, and where they end. Empty when there is nothing yet.
    pub fn batch(&self, at: Position) -> io::Result<(Vec<String>, Position)> {
        let current = self.end.borrow().segment;
        let list = segments(&self.folder)?;
        let mut at = at;
        loop {
            // What was removed to keep the bound is passed over.
            let Some((number, size)) = list.iter().copied().find(|(number, _)| *number >= at.segment) else {
                return Ok((Vec::new(), at));
            };
            if number > at.segment {
                at = Position { segment: number, offset: 0 };
            }
            let (lines, read) = lines(&path(&self.folder, number), at.offset)?;
            at.offset += read;
            if !lines.is_empty() || number >= current {
                return Ok((lines, at));
            }
            // The end of a closed segment; a torn line there was never whole.
            if at.offset < size {
                self.lost.fetch_add(size - at.offset, Ordering::Relaxed);
            }
            at = Position { segment: number + 1, offset: 0 };
        }
    }
}

fn lines(path: &Path, offset: u64) -> io::Result<(Vec<String>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::new(file);
    let (mut lines, mut read, mut line) = (Vec::new(), 0, Vec::new());
    while lines.len() < BATCH && read < BATCH_BYTES {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            break;
        }
        read += length;
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    Ok((lines, read as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &Spool, mut at: Position) -> (Vec<String>, Position) {
        let mut found = Vec::new();
        loop {
            let (lines, next) = spool.batch(at).unwrap();
            if lines.is_empty() {
                return (found, next);
            }
            found.extend(lines);
            at = next;
        }
    }

    #[test]
    fn lines_come_out_once_in_order_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, mut writer) = open(folder.path(), 1 << 20).unwrap();
        (0..1000).for_each(|n| writer.append(&format!("line {n}")));
        writer.flush();
        let (first, at) = spool.batch(spool.cursor("sink")).unwrap();
        assert_eq!((first.len(), first[0].as_str()), (BATCH, "line 0"));
        spool.settle("sink", at, &["sink".to_owned()]).unwrap();

        // Killed while it wrote: the last line is torn.
        File::options().append(true).open(path(folder.path(), 1)).unwrap().write_all(b"torn").unwrap();
        let (spool, mut writer) = open(folder.path(), 1 << 20).unwrap();
        writer.append("after");
        writer.flush();
        let (rest, end) = all(&spool, spool.cursor("sink"));
        assert_eq!(rest.len(), 1000 - BATCH + 1);
        assert_eq!((rest[0].as_str(), rest.last().unwrap().as_str()), ("line 256", "after"));
        assert_eq!(spool.lost_bytes(), 4);
        spool.settle("sink", end, &["sink".to_owned()]).unwrap();
        assert_eq!(segments(folder.path()).unwrap().len(), 1, "what the sink has is removed");
    }

    #[test]
    fn the_disk_is_not_filled_and_what_that_costs_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 64 * 1024;
        let (spool, mut writer) = open(folder.path(), limit).unwrap();
        for n in 0..4000 {
            writer.append(&format!("{n:0100}"));
            writer.flush();
        }
        let kept: u64 = segments(folder.path()).unwrap().iter().map(|(_, size)| size).sum();
        assert!(kept <= limit + limit / 8, "{kept} bytes are kept");
        let (lines, _) = all(&spool, Position::default());
        assert_eq!(spool.lost_bytes() + lines.len() as u64 * 101, 4000 * 101);
        assert_eq!(lines.last().unwrap().trim_start_matches('0'), "3999");
    }
}

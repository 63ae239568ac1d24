//! A session that several threads read at once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::start::StartError;
use crate::index::{Index, IndexError};
use crate::session::store::{MAGIC, Scan, SessionReader};

/// Unpacked bytes at hand, of all threads together.
const CACHE: usize = 24 << 20;

/// A session file: gone over once, then read where its flows stand.
pub struct Session {
    pub path: PathBuf,
    pub scan: Arc<Scan>,
    file: Arc<File>,
    /// Readers that no thread uses now.
    idle: Mutex<Vec<SessionReader<Positioned>>>,
    cache: usize,
}

impl Session {
    /// The session in `path`, if it is one; all of it is gone over, and its chain verified.
    pub fn open(path: &Path) -> Result<Option<Self>, StartError> {
        let Some(mut file) = begun(path)? else { return Ok(None) };
        let scan = Scan::of(&mut file).map_err(|error| StartError::Wrong(format!("{}: {error}", path.display())))?;
        Ok(Some(Self::with(path, file, scan)))
    }

    /// The same by its index: what it holds is found, not verified.
    pub fn indexed(path: &Path) -> Result<Option<(Self, Index)>, StartError> {
        let Some(file) = begun(path)? else { return Ok(None) };
        let wrong = |error: IndexError| StartError::Wrong(format!("{}: {error}", path.display()));
        let index = Index::of(path).map_err(wrong)?;
        let scan = index.scan().map_err(wrong)?;
        Ok(Some((Self::with(path, file, scan), index)))
    }

    fn with(path: &Path, file: File, scan: Scan) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (file, scan) = (Arc::new(file), Arc::new(scan));
        Self { path: path.to_owned(), scan, file, idle: Mutex::default(), cache: CACHE / threads }
    }

    /// Lets `act` read: each thread by a reader of its own.
    pub fn read<T>(&self, act: impl FnOnce(&mut SessionReader<Positioned>) -> T) -> T {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut reader = taken.unwrap_or_else(|| {
            let file = Positioned { file: self.file.clone(), at: 0 };
            SessionReader::with(file, self.scan.clone(), self.cache)
        });
        let result = act(&mut reader);
        idle().push(reader);
        result
    }
}

/// The file, if it begins as a session does.
fn begun(path: &Path) -> Result<Option<File>, StartError> {
    let wrong = |error: io::Error| StartError::Wrong(format!("{}: cannot be read: {error}", path.display()));
    let mut file = File::open(path).map_err(wrong)?;
    let begins = &MAGIC[..MAGIC.len() - 2];
    let mut first = vec![0; begins.len()];
    // A file that is shorter is no session.
    Ok((file.read_exact(&mut first).is_ok() && first == begins).then_some(file))
}

/// A place in a file that others read too.
pub struct Positioned {
    file: Arc<File>,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let got = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.at)?;
        #[cfg(windows)]
        let got = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for Positioned {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let from = |base: u64, by: i64| {
            base.checked_add_signed(by).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
        };
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => from(self.at, by)?,
            SeekFrom::End(by) => from(self.file.metadata()?.len(), by)?,
        };
        Ok(self.at)
    }
}

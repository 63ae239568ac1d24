//! Files and folders that only their owner may read, from the moment they exist and whatever the umask.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::CaError;

/// Makes `path` with mode 0700, parents included. A folder that exists is left as it is unless it is empty
/// (then it was made for us and is closed to others) and refused if anybody may replace files in it.
pub fn private_dir(path: &Path) -> Result<(), CaError> {
    let failed = |source| CaError::io("cannot make", path, source);
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Err(failed(io::Error::from(io::ErrorKind::NotADirectory))),
        Ok(found) => existing_dir(path, &found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // One by one, since a umask may take the owner's own bits away, and then nothing can be made within.
            let missing: Vec<&Path> =
                path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
            for part in missing.into_iter().rev() {
                let mut builder = fs::DirBuilder::new();
                #[cfg(unix)]
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
                match builder.create(part) {
                    Ok(()) => {
                        #[cfg(unix)]
                        fs::set_permissions(part, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                            .map_err(failed)?;
                    }
                    // Another process was as quick, and closes it just the same.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(())
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(unix)]
fn existing_dir(path: &Path, found: &fs::Metadata) -> Result<(), CaError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let mode = found.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if empty && nix::unistd::geteuid().as_raw() == found.uid() {
        return fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|source| CaError::io("cannot close to others", path, source));
    }
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(CaError::OpenDir { path: path.to_owned() });
    }
    Ok(())
}

#[cfg(not(unix))]
fn existing_dir(_: &Path, _: &fs::Metadata) -> Result<(), CaError> {
    Ok(())
}

/// Puts `bytes` at `path`, whole or not at all, with mode 0600: a temporary file beside it, synced, renamed.
/// The caller holds the folder's `Lock`, so a temporary file that is there was left by a crash.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    let temporary = temporary(path);
    let write = || -> io::Result<()> {
        if let Err(error) = fs::remove_file(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        // `create_new` follows no link and opens nothing that somebody else has put there.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        #[cfg(unix)]
        hand_over(&file, path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        CaError::io("cannot write", path, source)
    })
}

/// What root makes in the folder of another user, such as that of a service, belongs to that user: it has to read it.
#[cfg(unix)]
fn hand_over(file: &File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let folder = fs::metadata(folder)?;
    if nix::unistd::geteuid().is_root() && folder.uid() != 0 {
        std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    path.with_file_name(name)
}

/// Removes `path` and what a crash may have left of writing it. Says whether it was there.
pub fn remove(path: &Path) -> Result<bool, CaError> {
    let gone = |path: &Path| match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(CaError::io("cannot remove", path, error)),
    };
    gone(&temporary(path))?;
    gone(path)
}

#[cfg(unix)]
fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Keeps other processes out of a folder's CA while it is made, read or replaced. Ends with the value.
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

impl Lock {
    pub(crate) fn exclusive(dir: &Path) -> Result<Lock, CaError> {
        Self::take(dir, File::lock)
    }

    pub(super) fn shared(dir: &Path) -> Result<Lock, CaError> {
        Self::take(dir, File::lock_shared)
    }

    fn take(dir: &Path, lock: fn(&File) -> io::Result<()>) -> Result<Lock, CaError> {
        // The folder itself is locked, so that no lock file lies about. Network file systems lock only what
        // is open for writing, and Windows opens no folders: there a file has to serve.
        if let Ok(file) = File::open(dir)
            && lock(&file).is_ok()
        {
            return Ok(Lock(file));
        }
        let path = dir.join(".ca.lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| CaError::io("cannot lock", &path, source))?;
        lock(&file).map_err(|source| CaError::io("cannot lock", &path, source))?;
        Ok(Lock(file))
    }
}

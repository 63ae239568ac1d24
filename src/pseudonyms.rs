//! Keeps the pseudonyms of an installation: one file, encrypted, its owner's alone.
//!
//! ```text
//! DIR/pseudonym-secret   32 bytes, drawn once; pseudonyms and the file's key come from it
//! DIR/pseudonyms         "DIVULGE1", 12 bytes of nonce, then AES-256-GCM of the pairs and of what models wrote
//! ```
//!
//! Written by a thread of its own soon after something was added; several processes may share the folder: each takes
//! in what the others wrote before it writes. What a crash loses is drawn again, since a pseudonym follows from its
//! value and the secret.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ca::CaError;
use crate::ca::files::{Lock, write_private};
use crate::engine::Vault;
use crate::engine::pseudonym::MapError;

const MAGIC: &[u8] = b"DIVULGE1";
/// How long what was added may be lost by a crash.
const SAVE_EVERY: Duration = Duration::from_millis(500);
/// A file longer than this is none of ours.
const LARGEST: u64 = 256 << 20;

/// Why the pseudonyms cannot be used. What to do about it is part of the message.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(
        "{file} is there but its key {secret} is gone: put it back from where the folder was saved, or remove {file} to begin \
         anew (pseudonyms that were given are then not put back)"
    )]
    KeyLost { file: String, secret: String },
    #[error(
        "{secret} is not 32 bytes: put it back from where the folder was saved, or remove it and {file} to begin anew"
    )]
    BadKey { file: String, secret: String },
    #[error(
        "{file} cannot be decrypted by {secret}: it is damaged, or the key is that of another folder. Put both back from one \
         copy, or remove {file} to begin anew (pseudonyms that were given are then not put back)"
    )]
    Undecipherable { file: String, secret: String },
    #[error("{file}: {source}")]
    Map { file: String, source: MapError },
    #[error("{file} cannot be read")]
    Unreadable { file: String, source: io::Error },
    #[error(transparent)]
    Folder(#[from] CaError),
}

/// A vault that is kept. Saved for the last time by [`Kept::finish`].
pub struct Kept {
    vault: Arc<Vault>,
    store: Arc<Store>,
}

struct Store {
    folder: PathBuf,
    file: PathBuf,
    key: [u8; 32],
    /// Set once: the thread ends.
    ended: Mutex<bool>,
    end: Condvar,
    /// The last attempt to write failed; said once.
    failed: Mutex<bool>,
}

impl Kept {
    /// Opens the vault of the state folder `folder`, or makes one there. `secret` are the bytes of its key file, as read or made
    /// by the caller; see [`secret_file`].
    pub fn open(folder: &Path, secret: [u8; 32]) -> Result<Self, KeepError> {
        let file = folder.join("pseudonyms");
        let store = Store {
            key: derived(&secret, b"pseudonym-file"),
            folder: folder.to_owned(),
            file,
            ended: Mutex::new(false),
            end: Condvar::new(),
            failed: Mutex::new(false),
        };
        let draw = derived(&secret, b"pseudonym-draw");
        let vault = match store.read()? {
            None => Vault::new(draw),
            Some(bytes) => Vault::from_bytes(draw, &bytes)
                .map_err(|source| KeepError::Map { file: store.file.display().to_string(), source })?,
        };
        let kept = Self { vault: Arc::new(vault), store: Arc::new(store) };
        let (vault, store) = (kept.vault.clone(), kept.store.clone());
        let spawned = std::thread::Builder::new().name("pseudonyms".into()).spawn(move || store.run(&vault));
        if let Err(error) = spawned {
            tracing::warn!(%error, "pseudonyms are kept only when divulge ends");
        }
        Ok(kept)
    }

    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Saves what was added.
    pub fn finish(&self) {
        *self.store.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.store.end.notify_all();
        self.store.save(&self.vault);
    }
}

/// The key file of a state folder. An error where it is gone though what it encrypts is there.
pub fn secret_file(folder: &Path) -> Result<PathBuf, KeepError> {
    let (secret, file) = (folder.join("pseudonym-secret"), folder.join("pseudonyms"));
    let named = || (file.display().to_string(), secret.display().to_string());
    match std::fs::metadata(&secret) {
        Ok(found) if found.len() != 32 => {
            let (file, secret) = named();
            Err(KeepError::BadKey { file, secret })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.exists() => {
            let (file, secret) = named();
            Err(KeepError::KeyLost { file, secret })
        }
        _ => Ok(secret),
    }
}

fn derived(secret: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(purpose);
    mac.finalize().into_bytes().into()
}

impl Store {
    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.key).expect("the key has the length that AES-256 takes"))
    }

    /// What was written last, decrypted; none where nothing was.
    fn read(&self) -> Result<Option<Vec<u8>>, KeepError> {
        let file = || self.file.display().to_string();
        let bytes = match std::fs::metadata(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(found) if found.len() > LARGEST => Vec::new(),
            _ => std::fs::read(&self.file).map_err(|source| KeepError::Unreadable { file: file(), source })?,
        };
        let undecipherable = || KeepError::Undecipherable {
            file: file(),
            secret: self.folder.join("pseudonym-secret").display().to_string(),
        };
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(undecipherable)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or_else(undecipherable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| undecipherable())?;
        let mut plain = sealed.to_vec();
        let length =
            self.cipher().open_in_place(nonce, Aad::from(MAGIC), &mut plain).map_err(|_| undecipherable())?.len();
        plain.truncate(length);
        Ok(Some(plain))
    }

    fn run(&self, vault: &Vault) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            ended = self.end.wait_timeout(ended, SAVE_EVERY).unwrap_or_else(PoisonError::into_inner).0;
            if !*ended {
                drop(ended);
                self.save(vault);
                ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn save(&self, vault: &Vault) {
        if !vault.take_changed() {
            return;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match self.write(vault) {
            Ok(()) => *failed = false,
            Err(error) => {
                if !std::mem::replace(&mut *failed, true) {
                    tracing::warn!(file = %self.file.display(), %error, "pseudonyms cannot be kept; after a restart older ones are not put back");
                }
            }
        }
    }

    fn write(&self, vault: &Vault) -> Result<(), KeepError> {
        let _lock = Lock::exclusive(&self.folder)?;
        if let Some(others) = self.read()? {
            let file = || self.file.display().to_string();
            vault.merge(&others).map_err(|source| KeepError::Map { file: file(), source })?;
        }
        let mut nonce = [0; NONCE_LEN];
        // Without randomness there can be no TLS either: nothing sensible could follow.
        getrandom::fill(&mut nonce).expect("the system gives random bytes");
        let mut sealed = vault.to_bytes();
        self.cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(MAGIC), &mut sealed)
            .expect("so little text can always be sealed");
        let bytes = [MAGIC, &nonce, &sealed].concat();
        Ok(write_private(&self.file, &bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{KeepError, Kept, secret_file};
    use crate::engine::pseudonym::Replaced;

    fn drawn(kept: &Kept, value: &str) -> String {
        match kept.vault().replace("user.name", value, |_| false) {
            Replaced::By(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pseudonyms_outlive_the_process_and_stand_nowhere_in_clear() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path(), [7; 32]).ok().unwrap();
        let login = drawn(&kept, "kanarienvogel");
        kept.finish();
        let file = folder.path().join("pseudonyms");
        let bytes = std::fs::read(&file).unwrap();
        for name in ["kanarienvogel", &login] {
            assert!(!bytes.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = Kept::open(folder.path(), [7; 32]).ok().unwrap();
        assert_eq!(again.vault().table().count(login.as_bytes()), 1);
        again.finish();
    }

    #[test]
    fn two_processes_lose_nothing_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) =
            (Kept::open(folder.path(), [7; 32]).ok().unwrap(), Kept::open(folder.path(), [7; 32]).ok().unwrap());
        let names = [drawn(&one, "ann"), drawn(&other, "ben")];
        one.finish();
        other.finish();
        let again = Kept::open(folder.path(), [7; 32]).ok().unwrap();
        assert_eq!(again.vault().table().count(names.join(" ").as_bytes()), 2);
        again.finish();
    }

    #[test]
    fn a_lost_or_foreign_key_and_a_damaged_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path(), [7; 32]).ok().unwrap();
        drawn(&kept, "ann");
        kept.finish();
        assert!(matches!(secret_file(folder.path()), Err(KeepError::KeyLost { .. })));
        std::fs::write(folder.path().join("pseudonym-secret"), [7; 31]).unwrap();
        assert!(matches!(secret_file(folder.path()), Err(KeepError::BadKey { .. })));
        std::fs::write(folder.path().join("pseudonym-secret"), [7; 32]).unwrap();
        assert!(secret_file(folder.path()).is_ok());
        assert!(matches!(Kept::open(folder.path(), [8; 32]), Err(KeepError::Undecipherable { .. })));
        let file = folder.path().join("pseudonyms");
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert!(matches!(Kept::open(folder.path(), [7; 32]), Err(KeepError::Undecipherable { .. })));
        std::fs::write(&file, b"").unwrap();
        assert!(matches!(Kept::open(folder.path(), [7; 32]), Err(KeepError::Undecipherable { .. })));
    }
}

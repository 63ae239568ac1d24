//! Rotation with overlap: the CA that is to follow is made and published while the one before it still signs, so that every
//! machine trusts both before the first leaf of the new one is shown.
//!
//! ```text
//! announce: ca-next.key, ca-next.pem (which says from when on)      clients are shown leaves of ca.pem
//! take over, then or earlier: ca.pem -> ca-before.pem, ca-next.* -> ca.*      and now those of the new one
//! ```
//!
//! The old key is gone once the new CA has taken over. The old certificate stays as `ca-before.pem`, so that it can be looked for
//! in the stores that still trust it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::root::{self, Paths, encode_pem};
use super::{Authority, CaError, Description, Scope, files};

/// Before the certificate in `ca-next.pem`: a line that readers of PEM pass over.
const FROM: &str = "Takes the place of ca.pem from: ";

/// A CA that is to follow.
#[derive(Debug)]
pub struct Next {
    pub certificate: CertificateDer<'static>,
    pub description: Description,
    pub from: OffsetDateTime,
}

fn paths(state: &Path) -> Paths {
    Paths { certificate: state.join("ca-next.pem"), key: state.join("ca-next.key") }
}

fn before(state: &Path) -> PathBuf {
    state.join("ca-before.pem")
}

impl Authority {
    /// Makes the CA that takes the place of that of `state` from `from` on; one that was to follow before is forgotten.
    pub fn announce(state: &Path, scope: &Scope, from: OffsetDateTime) -> Result<Next, CaError> {
        let created = root::create(scope)?;
        let _lock = files::Lock::exclusive(state)?;
        discard(state)?;
        let text = format!("{FROM}{}\n{}", crate::record::timestamp(from.into()), encode_pem(&created.certificate));
        let paths = paths(state);
        // The key first: a certificate that anybody could have installed never lacks it.
        files::write_private(&paths.key, created.key.serialize_pem().as_bytes())?;
        files::write_private(&paths.certificate, text.as_bytes())?;
        read(&paths)
    }

    /// The CA that is to follow that of `state`, if one was announced.
    pub fn next(state: &Path) -> Result<Option<Next>, CaError> {
        let paths = paths(state);
        if !paths.certificate.exists() {
            return Ok(None);
        }
        read(&paths).map(Some)
    }

    /// The certificate of the CA before the last one that took over, until it is forgotten.
    pub fn before(state: &Path) -> Result<Option<(CertificateDer<'static>, Description)>, CaError> {
        let path = before(state);
        if !path.exists() {
            return Ok(None);
        }
        root::read_certificate(&Paths { certificate: path.clone(), key: path }).map(Some)
    }

    /// No store is to be looked through for it any more.
    pub fn forget_before(state: &Path) -> Result<(), CaError> {
        files::remove(&before(state)).map(|_| ())
    }

    /// Puts the announced CA in the place of that of `state`, whenever it was to be.
    pub fn take_over(state: &Path) -> Result<(), CaError> {
        let _lock = files::Lock::exclusive(state)?;
        exchange(state)
    }
}

/// Puts the announced CA in its place if it is time. The caller holds the folder's lock.
pub(super) fn take_over_in_time(state: &Path, now: OffsetDateTime) -> Result<(), CaError> {
    let paths = paths(state);
    if !paths.certificate.exists() {
        // A key alone was left by a process that died before anybody could know of its certificate.
        return files::remove(&paths.key).map(|_| ());
    }
    // Without its key it had begun to take over.
    if read(&paths)?.from <= now || !paths.key.exists() { exchange(state) } else { Ok(()) }
}

/// Each step leaves what the next start can go on from.
fn exchange(state: &Path) -> Result<(), CaError> {
    let (current, paths) = (Paths::in_state(state), paths(state));
    let next = read(&paths)?;
    if paths.key.exists() {
        if current.certificate.exists() {
            let old = std::fs::read(&current.certificate);
            let old = old.map_err(|source| CaError::io("cannot read", &current.certificate, source))?;
            files::write_private(&before(state), &old)?;
        }
        std::fs::rename(&paths.key, &current.key)
            .map_err(|source| CaError::io("cannot replace", &current.key, source))?;
    }
    files::write_private(&current.certificate, encode_pem(&next.certificate).as_bytes())?;
    files::remove(&paths.certificate).map(|_| ())
}

/// Removes an announced CA. The caller holds the folder's lock.
pub(super) fn discard(state: &Path) -> Result<(), CaError> {
    let paths = paths(state);
    files::remove(&paths.certificate)?;
    files::remove(&paths.key).map(|_| ())
}

fn read(paths: &Paths) -> Result<Next, CaError> {
    let (certificate, description) = root::read_certificate(paths)?;
    let text = std::fs::read_to_string(&paths.certificate)
        .map_err(|source| CaError::io("cannot read", &paths.certificate, source))?;
    let from = text.lines().find_map(|line| OffsetDateTime::parse(line.strip_prefix(FROM)?.trim(), &Rfc3339).ok());
    let from = from.ok_or_else(|| {
        CaError::file(
            &paths.certificate,
            "does not say from when on",
            "`divulge ca rotate --overlap DAYS` makes another",
        )
    })?;
    Ok(Next { certificate, description, from })
}

/// For whoever waits: whether it is time for an announced CA of `state`. One that cannot be read is never due.
pub fn is_due(state: &Path) -> bool {
    let now = OffsetDateTime::from(SystemTime::now());
    Authority::next(state).is_ok_and(|next| next.is_some_and(|next| next.from <= now))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn made(state: &Path) -> [u8; 32] {
        Authority::open_or_create(state, None, &Scope::Any).unwrap().description().fingerprint
    }

    fn names(state: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(state).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_one_before_signs_until_the_day_and_the_new_one_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let old = made(state);
        let old_key = std::fs::read(state.join("ca.key")).unwrap();
        let later = OffsetDateTime::now_utc() + time::Duration::days(3);
        let first = Authority::announce(state, &Scope::Any, later).unwrap();
        let next = Authority::announce(state, &Scope::Any, later).unwrap();
        assert_ne!(first.description.fingerprint, next.description.fingerprint);
        assert_eq!((next.from - later).whole_seconds(), 0);
        assert!(!is_due(state));
        assert_eq!(made(state), old, "it took over too early");
        assert_eq!(names(state), ["ca-next.key", "ca-next.pem", "ca.key", "ca.pem"]);

        take_over_in_time(state, later + time::Duration::seconds(1)).unwrap();
        assert_eq!(made(state), next.description.fingerprint);
        assert_ne!(std::fs::read(state.join("ca.key")).unwrap(), old_key);
        let (_, before) = Authority::before(state).unwrap().unwrap();
        assert_eq!(before.fingerprint, old);
        assert!(Authority::next(state).unwrap().is_none());
        Authority::forget_before(state).unwrap();
        assert_eq!(names(state), ["ca.key", "ca.pem"]);
    }

    #[test]
    fn a_crash_at_any_step_is_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let old = made(state);
        // A key whose certificate was never written.
        std::fs::write(state.join("ca-next.key"), "half").unwrap();
        assert_eq!(made(state), old);
        assert_eq!(names(state), ["ca.key", "ca.pem"]);

        let later = OffsetDateTime::now_utc() + time::Duration::days(3);
        let next = Authority::announce(state, &Scope::Any, later).unwrap();
        // The key took its place, and nothing after that happened.
        std::fs::rename(state.join("ca-next.key"), state.join("ca.key")).unwrap();
        assert_eq!(made(state), next.description.fingerprint);
        assert_eq!(names(state), ["ca.key", "ca.pem"]);
    }

    #[test]
    fn a_date_that_cannot_be_read_is_told_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let old = made(state);
        let next = Authority::announce(state, &Scope::Any, OffsetDateTime::now_utc()).unwrap();
        assert!(is_due(state));
        std::fs::write(state.join("ca-next.pem"), encode_pem(&next.certificate)).unwrap();
        assert!(!is_due(state));
        let error = Authority::open_or_create(state, None, &Scope::Any).err().unwrap().to_string();
        assert!(error.contains("ca-next.pem") && error.contains("--overlap"), "{error}");
        Authority::rotate(state, &Scope::Any).unwrap();
        assert_ne!(made(state), old);
        assert_eq!(names(state), ["ca.key", "ca.pem"]);
    }
}

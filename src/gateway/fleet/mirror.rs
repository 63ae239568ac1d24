//! Policies, rules and users from the cluster's key-value store, mirrored into a folder that the settings name.
//!
//! A key is a path within the folder (`policies/dev.toml`). A value is written only where it is good by itself, whole, by
//! renaming: what is on the disk is the last good revision, and it is what a gateway starts with while the cluster is away.
//! That files changed is noticed like any other change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Entry, Operation};
use async_nats::jetstream::{self, kv};
use futures_util::StreamExt;

use super::connect;
use crate::engine::policy::Policy;
use crate::gateway::sinks::{NatsAddress, SinkError};

/// Between two tries to reach the cluster.
const PAUSE: Duration = Duration::from_secs(1);
/// No file that is mirrored is larger.
const LARGEST: usize = 4 << 20;

/// Follows the bucket for ever. `from.subject` is its name.
pub async fn follow(from: NatsAddress, tls: Arc<rustls::ClientConfig>, folder: PathBuf) {
    let mut told = false;
    loop {
        match watch(&from, &tls, &folder, &mut told).await {
            Ok(()) => tracing::warn!(bucket = from.subject, "the watch of the fleet's policies ended; beginning anew"),
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(bucket = from.subject, %error, "the fleet's policies cannot be watched; those on the disk stay");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes what is in the bucket now, once.
pub async fn fetch(from: &NatsAddress, tls: &Arc<rustls::ClientConfig>, folder: &Path) -> Result<(), SinkError> {
    let context = jetstream::new(connect(from, tls).await?);
    let store = context.get_key_value(&from.subject).await.map_err(SinkError::of)?;
    let mut keys = store.keys().await.map_err(SinkError::of)?;
    while let Some(key) = keys.next().await {
        let key = key.map_err(SinkError::of)?;
        if let Some(entry) = store.entry(&key).await.map_err(SinkError::of)? {
            take(&entry, folder);
        }
    }
    Ok(())
}

async fn watch(
    from: &NatsAddress,
    tls: &Arc<rustls::ClientConfig>,
    folder: &Path,
    told: &mut bool,
) -> Result<(), SinkError> {
    let context = jetstream::new(connect(from, tls).await?);
    let store = match context.get_key_value(&from.subject).await {
        Ok(store) => store,
        Err(_) => {
            let bucket = from.subject.clone();
            let config = kv::Config { bucket, history: 10, num_replicas: from.replicas, ..kv::Config::default() };
            context.create_key_value(config).await.map_err(SinkError::of)?
        }
    };
    let mut changes = store.watch_with_history(">").await.map_err(SinkError::of)?;
    *told = false;
    while let Some(change) = changes.next().await {
        let entry = change.map_err(SinkError::of)?;
        take(&entry, folder);
    }
    Ok(())
}

fn take(entry: &Entry, folder: &Path) {
    match apply(entry, folder) {
        Ok(true) => tracing::info!(key = entry.key, revision = entry.revision, "mirrored from the fleet"),
        Ok(false) => {}
        Err(why) => {
            tracing::error!(
                key = entry.key,
                revision = entry.revision,
                "not taken from the fleet, the last good one stays: {why}"
            );
        }
    }
}

/// Whether anything on the disk is another now.
fn apply(entry: &Entry, folder: &Path) -> Result<bool, String> {
    let path = folder.join(relative(&entry.key).ok_or("the key is no path of names with / between")?);
    if entry.operation != Operation::Put {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            removed => Ok(removed.is_ok()),
        };
    }
    if entry.value.len() > LARGEST {
        return Err(format!("{} bytes are too many", entry.value.len()));
    }
    check(&entry.key, &entry.value)?;
    if std::fs::read(&path).is_ok_and(|there| there == entry.value) {
        return Ok(false);
    }
    let parent = path.parent().ok_or("there is no folder for it")?;
    std::fs::create_dir_all(parent).map_err(|e| e.to_string())?;
    crate::ca::files::write_private(&path, &entry.value).map_err(|e| e.to_string())?;
    Ok(true)
}

/// Names that stay within the folder, and that no tool reads otherwise.
fn relative(key: &str) -> Option<&Path> {
    let fine = |name: &str| {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        !name.is_empty() && !name.starts_with('.') && plain
    };
    key.split('/').all(fine).then_some(Path::new(key))
}

/// Whether the value is good by itself. That a set of rules is good as a whole is found out when it is loaded.
fn check(key: &str, value: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(value).map_err(|_| "the value is no text".to_owned())?;
    if key.starts_with("policies/") {
        return Policy::parse(key, text).map(drop).map_err(|e| e.to_string());
    }
    if key.ends_with(".toml") {
        return toml::from_str::<toml::Table>(text).map(drop).map_err(|e| e.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_within_the_folder() {
        assert_eq!(relative("policies/dev.toml"), Some(Path::new("policies/dev.toml")));
        for key in ["../x", "/etc/passwd", "a//b", "a/../b", ".hidden", "a/.b", "", "a\\b", "a/"] {
            assert_eq!(relative(key), None, "{key}");
        }
    }

    #[test]
    fn a_bad_policy_is_named_by_its_place() {
        assert!(check("policies/x.toml", b"name = 'x'\n[[rule]]\naction = 'log'\n").is_ok());
        let why = check("policies/x.toml", b"name = 'x'\n[[rule]]\naction = 'explode'\n").unwrap_err();
        assert!(why.contains("policies/x.toml"), "{why}");
        assert!(check("rules/p/pack.toml", b"a = [").is_err());
    }
}

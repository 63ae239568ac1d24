//! The file of users: `name:hash[:group,group]`, one a line; `#` begins a comment.
//!
//! A hash is argon2's own notation for a password, or `sha256$<hex>` for a token: tokens are drawn at random, so that a plain
//! digest of one tells nothing.

use std::collections::HashMap;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};

use super::{AccessError, Identity};
use crate::engine::line::hex;

enum Secret {
    Password(String),
    Token([u8; 32]),
}

struct User {
    secret: Secret,
    identity: Arc<Identity>,
}

pub struct Users {
    by_name: HashMap<String, User>,
    by_token: HashMap<[u8; 32], Arc<Identity>>,
    /// A password nobody has: an unknown user takes the time of a known one.
    nobody: String,
}

/// The hash of `password` for the file, with a salt of its own.
pub fn hash_password(password: &str) -> Result<String, AccessError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|e| AccessError(format!("the password cannot be hashed: {e}")))
}

/// The digest of `token` for the file.
pub fn hash_token(token: &str) -> String {
    format!("sha256${}", hex(&Sha256::digest(token.as_bytes())))
}

impl Users {
    /// Reads the text of `file`. What is wrong is named by its line, never by what it says.
    pub fn parse(file: &str, text: &str) -> Result<Self, AccessError> {
        let mut users = Self { by_name: HashMap::new(), by_token: HashMap::new(), nobody: hash_password("nobody's")? };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| AccessError(format!("{file}: line {number}: {why}"));
            let mut parts = line.splitn(3, ':');
            let (name, hash) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if name.is_empty() || hash.is_empty() {
                return Err(wrong("expected name:hash or name:hash:group,group; `divulge user add NAME` writes one"));
            }
            let secret =
                secret(hash).ok_or_else(|| wrong("the hash is neither argon2 nor sha256$ with 64 hex digits"))?;
            let groups = parts.next().unwrap_or_default().split(',').map(str::trim).filter(|group| !group.is_empty());
            let identity = Arc::new(Identity { name: name.into(), groups: groups.map(Arc::from).collect() });
            if let Secret::Token(digest) = secret {
                users.by_token.insert(digest, identity.clone());
            }
            if users.by_name.insert(name.to_owned(), User { secret, identity }).is_some() {
                return Err(wrong("the user stands in the file twice"));
            }
        }
        Ok(users)
    }

    /// Takes the time of one argon2, whoever is asked for.
    pub fn check_password(&self, name: &str, password: &str) -> Option<Arc<Identity>> {
        let (hash, identity) = match self.by_name.get(name) {
            Some(User { secret: Secret::Password(hash), identity }) => (hash, Some(identity)),
            _ => (&self.nobody, None),
        };
        let parsed = PasswordHash::new(hash).ok()?;
        Argon2::default().verify_password(password.as_bytes(), &parsed).ok()?;
        identity.cloned()
    }

    /// Whose token it is. It is looked up by its digest, so how long that takes tells nothing of tokens.
    pub fn check_token(&self, name: Option<&str>, token: &str) -> Option<Arc<Identity>> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let identity = self.by_token.get(&digest)?;
        name.is_none_or(|name| name.is_empty() || name == &*identity.name).then(|| identity.clone())
    }
}

fn secret(hash: &str) -> Option<Secret> {
    if let Some(digits) = hash.strip_prefix("sha256$") {
        let mut digest = [0; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        return Some(Secret::Token(digest));
    }
    let parsed = PasswordHash::new(hash).ok()?;
    parsed.algorithm.as_str().starts_with("argon2").then(|| Secret::Password(hash.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_line_is_named_and_not_repeated() {
        let hash = hash_password("x").unwrap();
        for (text, line) in [
            ("ann".to_owned(), "line 1"),
            ("# people\nann:plainpassword:dev".to_owned(), "line 2"),
            (format!("ann:{hash}\nann:{hash}"), "line 2"),
            ("ann:sha256$12".to_owned(), "line 1"),
        ] {
            let error = Users::parse("users", &text).err().unwrap().to_string();
            assert!(error.contains(line) && !error.contains("plainpassword"), "{error}");
        }
    }
}

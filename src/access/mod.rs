//! Who may use the proxy: ranges of addresses, users with passwords or tokens, signed tokens of an identity provider, and
//! client certificates.
//!
//! Everything is checked offline against files that were read before. Nobody learns why a credential was not taken, and the
//! time that takes does not tell whether a user exists.

mod certificate;
mod jwt;
mod rate;
mod users;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::Cache;
use sha2::Sha256;
use tokio::sync::Semaphore;

pub use certificate::identity as of_certificate;
pub use jwt::{JwtParts, Tokens};
pub use rate::Rates;
pub use users::{Users, hash_password, hash_token};

/// What is wrong with a file of users or keys, and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AccessError(pub String);

/// A user that has shown who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    pub name: Arc<str>,
    pub groups: Vec<Arc<str>>,
}

/// How long somebody may wait for the turn of having a password checked.
const PATIENCE: Duration = Duration::from_secs(10);
/// Credentials that were right lately: a password is hashed once, not with every connection.
const REMEMBERED: usize = 16 * 1024;

/// Who may use the proxy, at one moment; a reload makes another.
pub struct Access {
    sources: Vec<ipnet::IpNet>,
    users: Option<Arc<Users>>,
    tokens: Option<Tokens>,
    /// A client certificate that was verified is enough, and without it nothing else is.
    certificates: bool,
    remembered: Cache<[u8; 32], Arc<Identity>>,
    key: [u8; 32],
    /// Passwords that are checked at once: each takes memory and a processor for a while.
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// What an [`Access`] is made of.
#[derive(Default)]
pub struct AccessParts {
    pub sources: Vec<ipnet::IpNet>,
    pub users: Option<Users>,
    pub tokens: Option<Tokens>,
    pub certificates: bool,
    /// Fresh for every process: digests of credentials are kept in memory only.
    pub key: [u8; 32],
}

impl Access {
    pub fn new(parts: AccessParts) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            sources: parts.sources,
            users: parts.users.map(Arc::new),
            tokens: parts.tokens,
            certificates: parts.certificates,
            remembered: Cache::new(REMEMBERED),
            key: parts.key,
            turns: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Whether connections from `address` are served at all.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.sources.is_empty() || self.sources.iter().any(|range| range.contains(&address))
    }

    /// Whether clients have to say who they are.
    pub fn is_required(&self) -> bool {
        self.users.is_some() || self.tokens.is_some() || self.certificates
    }

    /// Who sends `Proxy-Authorization: <field>`; none for everything that is not right.
    pub async fn check(&self, field: &[u8]) -> Option<Arc<Identity>> {
        let text = std::str::from_utf8(field).ok()?;
        let (scheme, rest) = text.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.check_token(None, rest);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = STANDARD.decode(rest).ok()?;
        let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
        self.check_password(user, password).await
    }

    /// Who `user` with `password` is. Many clients know no other way than a URL with both in it, so the password may also
    /// be a token.
    pub async fn check_password(&self, user: &str, password: &str) -> Option<Arc<Identity>> {
        if let Some(identity) = self.check_token(Some(user), password) {
            return Some(identity);
        }
        let users = self.users.clone()?;
        let digest = self.digest(user, password);
        if let Some(identity) = self.remembered.get(&digest) {
            return Some(identity);
        }
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await.ok()?.ok()?;
        let (user, password) = (user.to_owned(), password.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            users.check_password(&user, &password)
        });
        let identity = checked.await.ok()??;
        self.remembered.insert(digest, identity.clone());
        Some(identity)
    }

    fn check_token(&self, user: Option<&str>, token: &str) -> Option<Arc<Identity>> {
        if let Some(users) = &self.users
            && let Some(identity) = users.check_token(user, token)
        {
            return Some(identity);
        }
        self.tokens.as_ref()?.check(token)
    }

    fn digest(&self, user: &str, password: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length of key is one for HMAC");
        mac.update(&(user.len() as u64).to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(password.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(users: &str) -> Access {
        let users = Users::parse("users", users).unwrap();
        Access::new(AccessParts { users: Some(users), key: [3; 32], ..AccessParts::default() })
    }

    fn basic(pair: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    #[tokio::test]
    async fn a_user_is_known_by_password_or_token_and_by_nothing_else() {
        let (ann, bob) = (hash_password("correct horse").unwrap(), hash_token("t0ken-of-bob"));
        let access = access(&format!("# people\nann:{ann}:dev,ops\n\nbob:{bob}\n"));

        let known = access.check(&basic("ann:correct horse")).await.unwrap();
        assert_eq!((&*known.name, known.groups.len(), &*known.groups[1]), ("ann", 2, "ops"));
        assert!(access.check(&basic("ann:correct horse")).await.is_some(), "and once more, remembered");
        assert_eq!(&*access.check(b"Bearer t0ken-of-bob").await.unwrap().name, "bob");
        assert_eq!(&*access.check(&basic("bob:t0ken-of-bob")).await.unwrap().name, "bob");

        for wrong in ["ann:wrong", "ann:", "nobody:correct horse", "ann:t0ken-of-bob", "bob:correct horse", ":", "ann"]
        {
            assert!(access.check(&basic(wrong)).await.is_none(), "{wrong}");
        }
        for wrong in [&b"Bearer x"[..], b"Bearer", b"", b"Digest t0ken-of-bob", b"Basic !!", b"\xff\xfe a"] {
            assert!(access.check(wrong).await.is_none(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_range_admits_what_lies_in_it() {
        let sources = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let access = Access::new(AccessParts { sources, ..AccessParts::default() });
        assert!(!access.is_required());
        for (address, admitted) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("11.0.0.1", false), ("2001:db8::1", true), ("::1", false)]
        {
            assert_eq!(access.admits(address.parse().unwrap()), admitted, "{address}");
        }
    }
}

//! Who is let in, and how requests of a user are treated: the part of a gateway that the proxy asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::intake::IntakeSettings;
use super::{Peer, Shared};
use crate::access::{Access, AccessParts, Identity, Rates};
use crate::config::{IdentityShown, Intercept};
use crate::engine::Engine;
use crate::engine::line::value_hmac;

/// A user that was let in.
#[derive(Debug)]
pub struct User {
    /// By which its requests are counted; never shown.
    pub name: Arc<str>,
    /// How findings name it: by name or by a digest of it, as set.
    pub shown: Option<Arc<str>>,
    /// The first of its groups that the settings name, else the first it has.
    pub group: Option<Arc<str>>,
}

/// What differs for the users of a group.
pub struct Group {
    pub engine: Arc<Engine>,
    pub intake: IntakeSettings,
    /// None: as for everybody.
    pub intercept: Option<Vec<Intercept>>,
    pub rates: Option<Rates>,
}

pub type Groups = HashMap<Arc<str>, Arc<Group>>;

/// What clients meet before they are served.
pub struct Gate {
    pub access: ArcSwap<Access>,
    /// One request sees one snapshot; a reload swaps it.
    pub groups: ArcSwap<Groups>,
    pub shown: IdentityShown,
    pub digest_key: [u8; 32],
    /// Whose word about a client's address counts: balancers that speak the PROXY protocol.
    pub balancers: Vec<ipnet::IpNet>,
    /// TLS to the proxy itself.
    pub tls: ArcSwap<Option<Arc<rustls::ServerConfig>>>,
    /// `/anthropic/…` on the proxy's own port.
    pub reverse: bool,
    /// What `/proxy.pac` calls the proxy; else as the request for it does.
    pub pac_proxy: Option<String>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            access: ArcSwap::from_pointee(Access::new(AccessParts::default())),
            groups: ArcSwap::default(),
            shown: IdentityShown::default(),
            digest_key: [0; 32],
            balancers: Vec::new(),
            tls: ArcSwap::from_pointee(None),
            reverse: false,
            pac_proxy: None,
        }
    }
}

impl Gate {
    /// How the user with `identity` is known from now on.
    pub fn user(&self, identity: &Identity) -> Arc<User> {
        let groups = self.groups.load();
        let named = identity.groups.iter().find(|group| groups.contains_key(*group));
        let shown = match self.shown {
            IdentityShown::None => None,
            IdentityShown::Name => Some(identity.name.clone()),
            IdentityShown::Digest => {
                let digest = value_hmac(&self.digest_key, &format!("user:{}", identity.name));
                digest.get(..32).map(Arc::from)
            }
        };
        Arc::new(User { name: identity.name.clone(), shown, group: named.or(identity.groups.first()).cloned() })
    }
}

/// How one request is treated.
pub struct Treatment {
    pub engine: Arc<Engine>,
    group: Option<Arc<Group>>,
}

impl Treatment {
    pub fn intake<'a>(&'a self, shared: &'a Shared) -> &'a IntakeSettings {
        self.group.as_ref().map_or(&shared.intake, |group| &group.intake)
    }
}

impl Shared {
    /// What the settings say of the group of `peer`'s user.
    fn group_of(&self, peer: &Peer) -> Option<Arc<Group>> {
        let group = peer.user.as_ref()?.group.as_ref()?;
        self.gate.groups.load().get(group).cloned()
    }

    /// How the next request of `peer` is treated, or how long it has to wait.
    pub fn treat(&self, peer: &Peer) -> Result<Treatment, Duration> {
        let Some(group) = self.group_of(peer) else {
            return Ok(Treatment { engine: self.engine.load_full(), group: None });
        };
        if let (Some(rates), Some(user)) = (&group.rates, &peer.user) {
            rates.take(&user.name, Instant::now())?;
        }
        Ok(Treatment { engine: group.engine.clone(), group: Some(group) })
    }

    /// Which hosts are decrypted for `peer`, where its group has a list of its own.
    pub(super) fn wanted_by(&self, peer: &Peer, host: &str) -> bool {
        match self.group_of(peer).as_ref().and_then(|group| group.intercept.as_ref()) {
            Some(list) => self.wants(list, host),
            None => self.wants(&self.intercept, host),
        }
    }
}

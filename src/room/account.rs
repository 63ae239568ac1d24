//! What a room saw: connections, names asked for, datagrams.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

/// Distinct entries that one list keeps; what comes beyond is counted without being named.
const MOST: usize = 10_000;

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Way {
    /// To the proxy that the variables name.
    Explicit,
    /// Around it.
    Redirected,
}

/// One list of all that was seen, in a fixed order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Account {
    pub connections: Vec<Connection>,
    pub names: Vec<Asked>,
    /// Datagrams other than those to the resolver, none of which was let through.
    pub datagrams: Vec<Datagrams>,
    /// Datagrams to port 443 among them (QUIC).
    pub refused: u64,
    /// Seen, but more than is listed.
    pub unlisted: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connection {
    pub destination: SocketAddr,
    /// By the name that was asked for.
    pub name: Option<String>,
    pub way: Way,
    pub count: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    pub name: String,
    /// `A`, `AAAA`, `HTTPS` …
    pub kind: String,
    pub count: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Datagrams {
    pub destination: SocketAddr,
    pub name: Option<String>,
    /// `UDP`, `ICMP`, `SCTP`.
    pub protocol: &'static str,
    pub count: u64,
}

impl Account {
    pub fn connected(&self, way: Way) -> u64 {
        self.connections.iter().filter(|connection| connection.way == way).map(|connection| connection.count).sum()
    }

    /// Distinct names that were asked for.
    pub fn distinct_names(&self) -> usize {
        self.names.iter().map(|asked| &asked.name).collect::<HashSet<_>>().len()
    }

    /// Datagrams that were not to port 443.
    pub fn other_datagrams(&self) -> u64 {
        self.datagrams.iter().map(|datagrams| datagrams.count).sum::<u64>() - self.refused
    }
}

/// Where it is added up.
#[derive(Default)]
pub struct Keeper {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: HashMap<(SocketAddr, Way), u64>,
    names: BTreeMap<(String, String), u64>,
    datagrams: HashMap<(SocketAddr, &'static str), u64>,
    unlisted: u64,
}

impl Keeper {
    pub fn connection(&self, destination: SocketAddr, way: Way) {
        let mut seen = self.lock();
        let Seen { connections, unlisted, .. } = &mut *seen;
        match connections.len() < MOST || connections.contains_key(&(destination, way)) {
            true => *connections.entry((destination, way)).or_default() += 1,
            false => *unlisted += 1,
        }
    }

    pub fn name(&self, name: &str, kind: String) {
        let mut seen = self.lock();
        let Seen { names, unlisted, .. } = &mut *seen;
        let key = (name.to_owned(), kind);
        match names.len() < MOST || names.contains_key(&key) {
            true => *names.entry(key).or_default() += 1,
            false => *unlisted += 1,
        }
    }

    pub fn datagram(&self, destination: SocketAddr, protocol: &'static str) {
        let mut seen = self.lock();
        let Seen { datagrams, unlisted, .. } = &mut *seen;
        match datagrams.len() < MOST || datagrams.contains_key(&(destination, protocol)) {
            true => *datagrams.entry((destination, protocol)).or_default() += 1,
            false => *unlisted += 1,
        }
    }

    /// The list, with the names that `name_of` knows.
    pub fn account(&self, name_of: impl Fn(IpAddr) -> Option<String>) -> Account {
        let seen = self.lock();
        let mut connections: Vec<Connection> = seen
            .connections
            .iter()
            .map(|(&(destination, way), &count)| Connection {
                destination,
                name: name_of(destination.ip()),
                way,
                count,
            })
            .collect();
        connections.sort_by_key(|connection| (connection.way, connection.destination));
        let names = seen
            .names
            .iter()
            .map(|((name, kind), &count)| Asked { name: name.clone(), kind: kind.clone(), count })
            .collect();
        let mut datagrams: Vec<Datagrams> = seen
            .datagrams
            .iter()
            .map(|(&(destination, protocol), &count)| Datagrams {
                destination,
                name: name_of(destination.ip()),
                protocol,
                count,
            })
            .collect();
        datagrams.sort_by_key(|datagrams| (datagrams.destination, datagrams.protocol));
        let refused = datagrams
            .iter()
            .filter(|datagrams| datagrams.protocol == "UDP" && datagrams.destination.port() == 443)
            .map(|datagrams| datagrams.count)
            .sum();
        Account { connections, names, datagrams, refused, unlisted: seen.unlisted }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

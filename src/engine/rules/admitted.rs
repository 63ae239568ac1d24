//! Which rules a request calls for and whose client sent it, remembered: clients say the same few things about themselves with
//! every request, and go to the same few hosts.
//!
//! Results are those of asking anew; what is remembered is bounded in number and size, whatever a sender writes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::pack::Pack;
use super::rule::Rule;
use crate::engine::audit::Request;
use crate::engine::detect::hash::Keyed;

/// Entries of one kind. Who needs more of them is asked anew.
const MOST: usize = 1024;
/// Bytes of one key: longer ones are no client's usual words.
const LONGEST: usize = 1024;

/// Rules for one host and client.
#[derive(Debug)]
pub(super) struct Admitted {
    /// One bit each.
    pub active: Vec<u64>,
    /// Those that the path decides about.
    pub by_path: Vec<u16>,
}

pub(super) type Client = Option<(Arc<str>, Option<String>)>;

type Known<T> = RwLock<HashMap<Box<[u8]>, T, Keyed>>;

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Names of the fields by which clients are known.
    signs: Vec<Box<str>>,
    clients: Known<Client>,
    admitted: Known<Arc<Admitted>>,
}

impl Memory {
    pub(super) fn new(packs: &[Pack]) -> Self {
        let mut signs: Vec<Box<str>> =
            packs.iter().flat_map(|pack| &pack.clients).map(|sign| sign.header.as_str().into()).collect();
        signs.sort();
        signs.dedup();
        Self { signs, ..Self::default() }
    }

    pub(super) fn client(&self, request: &Request, ask: impl FnOnce() -> Client) -> Client {
        let mut key = Vec::with_capacity(128);
        // Each with its number and its length: no value runs into the next.
        for field in request.head.fields() {
            let name = request.head.bytes(field.name);
            let same = |sign: &str| sign.len() == name.len() && sign.as_bytes().eq_ignore_ascii_case(name);
            if let Some(sign) = self.signs.iter().position(|sign| same(sign)) {
                let value = request.head.bytes(field.value);
                key.extend_from_slice(&sign.to_le_bytes());
                key.extend_from_slice(&value.len().to_le_bytes());
                key.extend_from_slice(value);
            }
        }
        remembered(&self.clients, key, ask)
    }

    pub(super) fn admitted(&self, host: &str, client: Option<&str>, ask: impl FnOnce() -> Admitted) -> Arc<Admitted> {
        // The client is the name of a pack.
        let mut key = client.unwrap_or_default().as_bytes().to_vec();
        key.push(b'\n');
        key.extend_from_slice(host.as_bytes());
        remembered(&self.admitted, key, || Arc::new(ask()))
    }
}

fn remembered<T: Clone>(known: &Known<T>, key: Vec<u8>, ask: impl FnOnce() -> T) -> T {
    if let Some(found) = known.read().unwrap_or_else(PoisonError::into_inner).get(&*key) {
        return found.clone();
    }
    let found = ask();
    if key.len() <= LONGEST {
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST {
            known.insert(key.into(), found.clone());
        }
    }
    found
}

impl Admitted {
    /// `always`: the rules without conditions; `conditional`: the others.
    pub(super) fn of(always: &[u64], conditional: &[u16], rules: &[Rule], host: &str, client: Option<&str>) -> Self {
        let mut admitted = Self { active: always.to_vec(), by_path: Vec::new() };
        for &number in conditional {
            let select = &rules[usize::from(number)].select;
            if select.admits_host(host) && select.admits_client(client) {
                if select.url.is_some() {
                    admitted.by_path.push(number);
                } else {
                    admitted.active[usize::from(number) / 64] |= 1 << (number % 64);
                }
            }
        }
        admitted
    }
}

//! Upstream connections kept for the next request of the same client. They never cross from one client to
//! another: a pool entry belongs to (client, origin, version).

use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use super::half::Half;
use super::http2::UpstreamHandle;
use super::upstream::Origin;

/// How long an idle connection is kept. Servers commonly close after 60 s or more; a shorter time here keeps
/// requests from meeting a connection that is just being closed.
const KEEP: Duration = Duration::from_secs(50);
/// Most idle connections of one client to one origin.
const PER_ORIGIN: usize = 16;
/// Most entries in all.
const KEYS: usize = 4096;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    client: IpAddr,
    origin: Origin,
}

#[derive(Default)]
pub struct Pool {
    http1: DashMap<Key, Vec<(Half, Instant)>>,
    http2: DashMap<Key, Vec<(UpstreamHandle, Instant)>>,
}

impl Pool {
    /// An idle HTTP/1.1 connection that is still silent and open.
    pub async fn take_http1(&self, client: IpAddr, origin: &Origin) -> Option<Half> {
        let key = Key { client, origin: origin.clone() };
        loop {
            let (mut half, since) = self.http1.get_mut(&key)?.pop()?;
            if since.elapsed() < KEEP && is_quiet(&mut half).await {
                return Some(half);
            }
        }
    }

    pub fn put_http1(&self, client: IpAddr, origin: &Origin, mut half: Half) {
        half.release_buffers();
        if !half.input.is_empty() || !half.output.is_empty() || half.eof || self.http1.len() >= KEYS {
            return;
        }
        let mut list = self.http1.entry(Key { client, origin: origin.clone() }).or_default();
        if list.len() < PER_ORIGIN {
            list.push((half, Instant::now()));
        }
    }

    pub fn take_http2(&self, client: IpAddr, origin: &Origin) -> Option<UpstreamHandle> {
        let key = Key { client, origin: origin.clone() };
        loop {
            let (handle, since) = self.http2.get_mut(&key)?.pop()?;
            if since.elapsed() < KEEP && handle.is_open() {
                return Some(handle);
            }
        }
    }

    pub fn put_http2(&self, client: IpAddr, origin: &Origin, handle: UpstreamHandle) {
        if !handle.is_open() || self.http2.len() >= KEYS {
            return;
        }
        let mut list = self.http2.entry(Key { client, origin: origin.clone() }).or_default();
        if list.len() < PER_ORIGIN {
            list.push((handle, Instant::now()));
        }
    }

    /// Closes what has been idle too long.
    pub fn sweep(&self) {
        self.http1.retain(|_, list| {
            list.retain(|(_, since)| since.elapsed() < KEEP);
            !list.is_empty()
        });
        self.http2.retain(|_, list| {
            list.retain(|(handle, since)| since.elapsed() < KEEP && handle.is_open());
            !list.is_empty()
        });
    }
}

/// One read that does not wait: an idle connection must have nothing to say and not have ended.
pub async fn is_quiet(half: &mut Half) -> bool {
    poll_fn(|cx| Poll::Ready(matches!(half.poll_fill(cx), Poll::Pending))).await && half.input.is_empty()
}

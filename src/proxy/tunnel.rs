//! Bytes that are not read: copied both ways, counted, and told about.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::Shared;
use super::stream::{ClientSocket, Transport};
use crate::record::Tunnel;

/// Sends `first` (what was read of the client already) and then copies until both sides have ended, or
/// nothing has moved for the idle deadline.
pub async fn relay(
    shared: &Arc<Shared>,
    client: ClientSocket,
    first: Bytes,
    upstream: Transport,
    host: &str,
    port: u16,
    reason: &'static str,
) {
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let sent = AtomicU64::new(0);
    let received = AtomicU64::new(0);
    let both = async {
        let up = copy(client_read, upstream_write, first, &sent);
        let down = copy(upstream_read, client_write, Bytes::new(), &received);
        tokio::join!(up, down);
    };
    shared.recorder.metrics.tunnels.inc();
    let _counted = Counted(shared);
    until_idle(both, shared.deadlines.idle, || sent.load(Ordering::Relaxed) + received.load(Ordering::Relaxed)).await;
    let tunnel =
        Tunnel { host: host.to_owned(), port, sent: sent.into_inner(), received: received.into_inner(), reason };
    tracing::debug!(host, port, reason, sent = tunnel.sent, received = tunnel.received, "tunnelled unread");
    shared.recorder.tunnel(tunnel);
}

/// A tunnel that goes on.
struct Counted<'a>(&'a Shared);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.recorder.metrics.tunnels.dec();
    }
}

async fn copy<R, W>(mut from: R, mut to: W, first: Bytes, count: &AtomicU64)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let work = async {
        if !first.is_empty() {
            to.write_all(&first).await?;
            to.flush().await?;
            count.fetch_add(first.len() as u64, Ordering::Relaxed);
        }
        let mut buffer = vec![0u8; 16 * 1024];
        loop {
            let n = from.read(&mut buffer).await?;
            if n == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..n]).await?;
            to.flush().await?;
            count.fetch_add(n as u64, Ordering::Relaxed);
        }
    };
    if work.await.is_err() {
        // The other direction would wait for ever for a peer that is gone.
        let _ = to.shutdown().await;
    }
}

/// Runs `work` until `moved` has not changed for `idle`.
async fn until_idle(work: impl Future<Output = ()>, idle: Duration, moved: impl Fn() -> u64) {
    tokio::pin!(work);
    let mut last = moved();
    let mut deadline = Instant::now() + idle;
    loop {
        tokio::select! {
            () = &mut work => return,
            () = tokio::time::sleep_until(deadline) => {
                let now = moved();
                if now == last {
                    return;
                }
                last = now;
                deadline = Instant::now() + idle;
            }
        }
    }
}

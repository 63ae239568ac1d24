//! The two ends between which the proxy stands, and the proxy itself as a user starts it.
//!
//! ```text
//! client (raw, h2, WebSocket, real programs) -> divulge (the real binary) -> upstream (raw, h2, plain)
//! ```
//!
//! Everything is real bytes over real TLS on loopback, with port 0 and a throw-away authority. Peers are our
//! own down to the bytes, so that what they record is what was on the wire and no library tidied it up. Every
//! peer is first tried without the proxy between (`peers.rs`): a failure there is the peer's.

pub mod authority;
pub mod chain;
pub mod divulge;
pub mod forge;
pub mod frames;
pub mod h2_client;
pub mod h2_upstream;
pub mod programs;
pub mod route;
pub mod tunnel;
pub mod upstream;
pub mod websocket;
pub mod wire;

use std::future::Future;
use std::time::Duration;

pub use authority::Authority;
pub use divulge::Divulge;
pub use route::Route;
pub use upstream::Upstream;
pub use wire::Wire;

/// The host that every test speaks of, unless it is about names.
pub const HOST: &str = "api.example.com";

/// Runs one test, which may take no longer than `LIMIT`: a hang is a failure that says so.
pub fn bounded(test: impl Future<Output = ()>) {
    within(Duration::from_secs(30), test);
}

/// [`bounded`] with another limit, for tests that install or push much.
pub fn within(limit: Duration, test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
    let finished = runtime.block_on(async { tokio::time::timeout(limit, test).await });
    runtime.shutdown_background();
    assert!(finished.is_ok(), "the test did not finish within {} s: something waits for ever", limit.as_secs());
}

/// Waits for `what`, named so that a failure reads as a sentence.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(10), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited 10 s for {what}, in vain"),
    }
}

/// Bytes for people: text with the rest escaped, cut where it gets long.
pub fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string().replace("\\r\\n", "\n");
    match text.char_indices().nth(2000) {
        Some((cut, _)) => format!("{}… ({} bytes in all)", &text[..cut], bytes.len()),
        None => text,
    }
}

/// Tells a figure: on standard error, and as a row of the table that `DIVULGE_FIGURES` names, for whoever runs the long form.
pub fn figure(what: &str, value: impl std::fmt::Display) {
    use std::io::Write;
    eprintln!("{what}: {value}");
    if let Some(path) = std::env::var_os("DIVULGE_FIGURES") {
        let mut table =
            std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the table is writable");
        writeln!(table, "| {what} | {value} |").expect("the table is writable");
    }
}

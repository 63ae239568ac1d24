//! Many users: who is let in, what their groups get, and by which ways they come. The client is curl.
//!
//! | file | what it shows |
//! |---|---|
//! | `users` | passwords, tokens, certificates, ranges; what a refusal tells |
//! | `fleet` | several gateways: NATS, PostgreSQL, Parquet (feature `fleet`) |
//! | `crowds` | many streams, many idle connections |
//! | `authority` | another CA takes over |
//! | `groups` | policy, hosts, limits per group |
//! | `ways` | SOCKS5, TLS to the proxy, PROXY protocol, PAC, reverse |
//! | `operations` | reload, drain, the admin port, the service manager |
//! | `sinks` | where findings go |
//! | `transparent` | redirected connections in network namespaces |

mod authority;
mod crowds;
#[cfg(feature = "fleet")]
mod fleet;
mod groups;
mod operations;
mod sinks;
mod transparent;
mod users;
mod ways;

use std::path::Path;

use crate::common::divulge::{Ended, Serve};
use crate::common::programs::{finish, program};
use crate::common::{Authority, Divulge, HOST};

/// A value that the facts of every test here hold.
const MACHINE: &str = "9f86d081884c7d659a2feaa0c55ad015";

/// A number of the environment, for the long form that `tests/run.sh --fleet` runs; else what is short enough for every run.
fn sized(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A gateway that decrypts everything and takes every connection to `upstream`.
fn gateway(authority: &Authority, upstream: std::net::SocketAddr) -> Serve {
    Divulge::serve().intercept("all").trusting(authority).to(upstream).facts(&[("host.machine_id", MACHINE)])
}

/// curl to the upstream by the way that `arguments` name. Prints the body, then the proxy's status and the upstream's.
async fn curl(ca: &Path, arguments: &[&str]) -> Ended {
    let body = format!("{{\"host\":\"{MACHINE}\"}}");
    let mut command = program("curl");
    command.args(["-sS", "--http1.1", "--max-time", "8", "-d", &body, "-H", "content-type: application/json"]);
    command.args(["-w", "\n%{http_connect} %{http_code}", "--cacert"]).arg(ca).args(arguments);
    finish(command.arg(format!("https://{HOST}/v1/messages"))).await
}

/// The last line that curl printed: the proxy's status and the upstream's.
fn statuses(ended: &Ended) -> &str {
    ended.out.lines().last().unwrap_or_default()
}

/// Lines of a file of users: ann of dev with a password, bob of ops with a token.
fn people() -> String {
    let ann = divulge::access::hash_password("correct horse").unwrap();
    let bob = divulge::access::hash_token("t0ken-of-bob");
    format!("ann:{ann}:dev\nbob:{bob}:ops\n")
}

//! divulge from end to end: the real binary between real clients and recording upstreams, on loopback.
//!
//! | file | what it shows |
//! |---|---|
//! | `peers` | the peers themselves, with nothing between them |
//! | `fidelity` | what leaves is what came, byte for byte |
//! | `interim` | 1xx both ways, and who answers `Expect` |
//! | `streaming` | streams that stay open, deaths on either side, memory |
//! | `versions` | ALPN mirrored, pools that never mix |
//! | `websocket` | WebSocket over HTTP/1.1 and HTTP/2, compressed |
//! | `upstreams` | where connections go and whom they trust |
//! | `certificates` | which certificates of upstreams are believed |
//! | `trust` | our own CA, exceptions, revocation lists, old TLS on either side |
//! | `secrets` | where the CA's key lies, and where it must not |
//! | `policy` | edits and refusals on the wire |
//! | `pseudonyms` | values that are put back in answers
//! | `sessions` | what `--record` keeps |
//! | `gateway` | many users, their groups, and the ways in |
//! | `framing` | malformed messages never pass |
//! | `hostile` | HTTP/2 frames that no library sends, floods, readers of half a connection |
//! | `deadlines` | every phase ends |
//! | `tunnels` | what a tunnel may hold, and whose name it bears |
//! | `clients` | curl, Python, Node and git |
//! | `report` | reports in a browser and against schemas, differences |
//! | `run`, `serve`, `cli` | the commands |

mod common;

mod certificates;
mod cli;
mod clients;
mod deadlines;
mod fidelity;
mod framing;
mod gateway;
mod hostile;
mod interim;
mod learning;
mod peers;
mod policy;
mod pseudonyms;
mod report;
mod run;
mod secrets;
mod serve;
mod sessions;
mod streaming;
mod trust;
mod tunnels;
mod upstreams;
mod versions;
mod websocket;

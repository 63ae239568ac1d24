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
//! | `framing`, `smuggling` | malformed messages never pass: by themselves, and all of the codec's tables whichever way they come |
//! | `conformance` | HTTP/2 section by section, with the codes of its errors |
//! | `gateway` | many users, their groups, and the ways in |
//! | `hostile` | HTTP/2 frames that no library sends, floods, readers of half a connection |
//! | `overload` | bombs, more inspections than there is room for, peers that do not read, crowds, soaks |
//! | `deadlines` | every phase ends |
//! | `bypass` | hellos cut small, and tunnels that carry something else: none passes unread and unsaid |
//! | `tunnels` | what a tunnel may hold, and whose name it bears |
//! | `clients` | curl, Python, Node and git |
//! | `look_alikes` | requests as clients send them that cannot be run here |
//! | `runtimes` | what programs of many languages make of the environment that `run` gives, and what doctor says of them |
//! | `report` | reports in a browser and against schemas, differences |
//! | `run`, `serve`, `cli` | the commands |

mod common;

mod bypass;
mod certificates;
mod cli;
mod clients;
mod conformance;
mod deadlines;
mod disk;
mod fidelity;
mod framing;
mod gateway;
mod hostile;
mod interim;
mod key_log;
mod learning;
mod look_alikes;
#[path = "../wire/malformed.rs"]
mod malformed;
mod offline_audit;
mod overload;
mod peers;
mod policy;
mod pseudonyms;
mod replaying;
mod report;
mod run;
mod runtimes;
mod secrets;
mod serve;
mod sessions;
mod smuggling;
mod streaming;
mod trust;
mod tunnels;
mod upstreams;
mod versions;
mod websocket;

//! The wire codecs from outside: what they refuse, what they take, and that cuts do not matter.

mod bodies;
mod common;
mod heads;
mod malformed;
mod oracle;
mod refused;
mod websocket;

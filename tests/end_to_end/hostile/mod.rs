//! Peers that speak HTTP/2 as no library does: malformed messages and floods from either side, clients that
//! end half of their connection, and more clients than there are descriptors.

mod answers;
mod connections;
mod floods;
mod requests;

use crate::common::HOST;
use crate::common::frames::{HEADERS, SETTINGS, WHOLE, block, frame, string};

type Field = (&'static str, &'static str);

const METHOD: Field = (":method", "GET");
const SCHEME: Field = (":scheme", "https");
const AUTHORITY: Field = (":authority", HOST);
const PATH: Field = (":path", "/");
const POST: Field = (":method", "POST");

/// Most that a flood may make divulge hold, in MiB.
const MEMORY: f64 = 32.0;

/// A good GET on `stream`.
fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &block(&[METHOD, SCHEME, AUTHORITY, PATH]))
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// `count` frames in pieces of a hundred.
fn many(count: u32, one: impl Fn(u32) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..count / 100).map(|piece| (piece * 100..(piece + 1) * 100).flat_map(&one).collect()).collect()
}

/// A field that fills most of the table, and then the field again and again: a head of `times` times 4 kB.
fn bomb(start: &[u8], times: usize) -> Vec<u8> {
    let mut block = start.to_vec();
    block.push(0x40);
    string(b"x", &mut block);
    string(&[b'a'; 4000], &mut block);
    block.extend(std::iter::repeat_n(0xbe, times));
    block
}

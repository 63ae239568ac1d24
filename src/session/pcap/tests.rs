use bytes::Bytes;
use proptest::prelude::*;

use super::read;
use crate::session::Damage;
use crate::session::flow::{BodyState, Exchange};

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [192, 0, 2, 2];

/// A segment of one side: its sequence number, flags, and data.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub from_client: bool,
    pub sequence: u32,
    pub flags: u8,
    pub data: Vec<u8>,
}

pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;
pub(super) const FIN: u8 = 1;

fn packet(sent: &Sent, port: u16) -> Vec<u8> {
    let (from, to) = if sent.from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let (from_port, to_port) = if sent.from_client { (50_000, port) } else { (port, 50_000) };
    let mut packet = vec![0x45, 0];
    packet.extend(((40 + sent.data.len()) as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(from.iter().chain(&to));
    packet.extend(from_port.to_be_bytes().iter().chain(&to_port.to_be_bytes()));
    packet.extend(sent.sequence.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0x50, sent.flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend(&sent.data);
    packet
}

/// A classic file, raw IP, a packet a millisecond.
fn classic(list: &[Sent], port: u16) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0];
    for (number, sent) in (0u32..).zip(list) {
        let packet = packet(sent, port);
        for field in [1_767_323_045, 1000 * number, packet.len() as u32, packet.len() as u32] {
            file.extend(field.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

/// The same as pcapng, with keys in it.
pub(super) fn blocks(list: &[Sent], port: u16, keys: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let length = (12 + body.len().next_multiple_of(4)) as u32;
        file.extend(kind.to_le_bytes());
        file.extend(length.to_le_bytes());
        file.extend(body);
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend(length.to_le_bytes());
    };
    block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    // Ethernet, in nanoseconds.
    block(1, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    if !keys.is_empty() {
        block(10, &[&0x544c_534bu32.to_le_bytes()[..], &(keys.len() as u32).to_le_bytes(), keys].concat());
    }
    for (number, sent) in (0u64..).zip(list) {
        let packet = [&[0; 12][..], &[0x81, 0, 0, 7, 8, 0], &packet(sent, port)].concat();
        let time = (1_767_323_045_000 + number) * 1_000_000;
        let length = packet.len() as u32;
        let head = [0, (time >> 32) as u32, time as u32, length, length].map(u32::to_le_bytes).concat();
        block(6, &[head, packet].concat());
    }
    file
}

/// Both sides' streams as segments of so many bytes, the client's first, numbers close to where they wrap.
pub(super) fn sent(client: &[u8], server: &[u8], size: usize) -> Vec<Sent> {
    let mut list = Vec::new();
    for (from_client, data, flags) in [(true, client, SYN), (false, server, SYN | ACK)] {
        let mut sequence = u32::MAX - 10;
        list.push(Sent { from_client, sequence, flags, data: Vec::new() });
        sequence = sequence.wrapping_add(1);
        for piece in data.chunks(size) {
            list.push(Sent { from_client, sequence, flags: ACK, data: piece.to_vec() });
            sequence = sequence.wrapping_add(piece.len() as u32);
        }
        list.push(Sent { from_client, sequence, flags: ACK | FIN, data: Vec::new() });
    }
    list
}

pub(super) fn read_all(file: Vec<u8>, keys: &[u8]) -> (Vec<Exchange>, Vec<Damage>) {
    let mut all = Vec::new();
    let damages = read(&file.into(), keys, &mut |exchange| all.push(exchange));
    (all, damages)
}

const ASKED: &[u8] = b"POST /a HTTP/1.1\r\nHost: api.example.com:81\r\nContent-Length: 5\r\n\r\nfirst\
    POST /b HTTP/1.1\r\nHost: api.example.com:81\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\nX-End: 1\r\n\r\n";
const ANSWERED: &[u8] =
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nto the end";

fn check(all: &[Exchange]) {
    let [first, second] = all else { panic!("{all:?}") };
    assert_eq!((first.host.as_str(), first.port, first.secure), ("api.example.com", 81, false));
    assert_eq!((&first.request.body[..], &second.request.body[..]), (&b"first"[..], &b"second"[..]));
    assert_eq!(&second.request.trailers[..], b"X-End: 1\r\n");
    let body = |exchange: &Exchange| exchange.response.as_ref().map(|response| response.body.clone());
    assert_eq!((body(first), body(second)), (Some("ok".into()), Some("to the end".into())));
    assert!(first.started >= Some(1_767_323_045_000) && first.ended >= first.started);
}

#[test]
fn both_kinds_of_files_are_read_in_any_order_of_their_packets() {
    for size in [1, 7, 60, 1000] {
        let mut list = sent(ASKED, ANSWERED, size);
        let (all, damages) = read_all(classic(&list, 81), b"");
        check(&all);
        assert_eq!(damages, []);
        let (all, damages) = read_all(blocks(&list, 81, b""), b"");
        check(&all);
        assert_eq!(damages, []);
        // The openings first, everything else backwards and twice.
        list.sort_by_key(|sent| sent.flags & SYN == 0);
        list[2..].reverse();
        let again = list[2..].to_vec();
        list.extend(again);
        let (all, damages) = read_all(classic(&list, 81), b"");
        check(&all);
        assert_eq!(damages, []);
        // A capture that began when all was under way.
        let list: Vec<Sent> = sent(ASKED, ANSWERED, size).into_iter().filter(|sent| sent.flags & SYN == 0).collect();
        check(&read_all(classic(&list, 81), b"").0);
    }
}

#[test]
fn what_is_missing_is_named() {
    let mut list = sent(ASKED, ANSWERED, 20);
    // Within the second request.
    list.remove(6);
    let (all, damages) = read_all(classic(&list, 81), b"");
    assert_eq!((all.len(), &all[0].request.body[..]), (1, &b"first"[..]));
    assert!(damages[0].reason.contains("20 bytes are missing behind the first 100"), "{damages:?}");
    let (all, damages) = read_all(classic(&sent(&ASKED[..80], b"", 20), 81), b"");
    assert_eq!(all.len(), 1);
    assert!(damages.iter().any(|damage| damage.reason == "the head of a request is not whole"), "{damages:?}");
    let (all, damages) = read_all(classic(&sent(&ASKED[..67], b"", 20), 81), b"");
    assert_eq!((all.len(), damages.len(), all[0].request.body_state.clone()), (1, 1, BodyState::Cut));
    let file = classic(&sent(ASKED, ANSWERED, 20), 81);
    let (_, damages) = read_all(file[..file.len() - 3].to_vec(), b"");
    assert_eq!((damages[0].reason.as_str(), damages[0].offset), ("the file ends in a packet", file.len() as u64 - 56));
    // A block whose length is wrong costs that block.
    let mut file = blocks(&sent(ASKED, ANSWERED, 1000), 81, b"");
    file[64] = 0xff;
    let (_, damages) = read_all(file, b"");
    assert!(damages[0].reason.starts_with("a block whose length is wrong; read on at offset"), "{damages:?}");
    let tls = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    let (all, damages) = read_all(classic(&sent(tls, b"", 100), 443), b"");
    assert!(all.is_empty() && damages[0].reason.starts_with("an encrypted connection is not read"), "{damages:?}");
    let (_, damages) = read_all(classic(&sent(b"SSH-2.0-x\r\n", b"", 100), 22), b"");
    assert_eq!(damages[0].reason, "a connection to port 22 that is neither HTTP nor TLS from its start");
}

#[test]
fn websockets_and_tunnels_are_read() {
    let asked = b"CONNECT live.example.com:80 HTTP/1.1\r\nHost: live.example.com:80\r\n\r\n\
        GET /ws HTTP/1.1\r\nHost: live.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85\x01\x02\x03\x04igohn";
    let answered =
        b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x82\x02\x00\xff";
    let (all, damages) = read_all(classic(&sent(asked, answered, 30), 8080), b"");
    assert_eq!(damages, []);
    let [connect, socket] = &all[..] else { panic!("{all:?}") };
    assert_eq!((connect.host.as_str(), connect.port), ("live.example.com", 80));
    assert_eq!((socket.host.as_str(), socket.port, socket.messages.len()), ("live.example.com", 80, 2));
    assert_eq!((&socket.messages[0].data[..], socket.messages[0].text), (&b"hello"[..], true));
    assert_eq!((&socket.messages[1].data[..], socket.messages[1].from_client), (&b"\x00\xff"[..], false));
}

/// Frames of HTTP/2: kind, flags, stream, payload.
fn frames(list: &[(u8, u8, u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for &(kind, flags, stream, payload) in list {
        out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
        out.extend([kind, flags, 0, 0, 0, stream]);
        out.extend(payload);
    }
    out
}

#[test]
fn http2_is_put_as_http1() {
    let literal = |name: &str, value: &str| {
        [&[0x40, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    // :method POST, :scheme https, :path /x, :authority, two cookies.
    let mut block = vec![0x83, 0x87, 0x44, 2, b'/', b'x', 0x41, 15];
    block.extend(b"api.example.com");
    block.extend([literal("cookie", "a=1"), literal("cookie", "b=2"), literal("x-a", "1")].concat());
    let (start, rest) = block.split_at(9);
    let padded = [&[2][..], b"{}", &[0, 0]].concat();
    let asked = [
        super::http2::PREFACE.to_vec(),
        frames(&[(4, 0, 0, b""), (1, 0, 1, start), (9, 4, 1, rest), (0, 8, 1, &padded), (0, 1, 1, b"\n")]),
        // The same by the table alone.
        frames(&[(1, 5, 3, &[0x83, 0x87, 0xc2, 0xc1, 0xbe])]),
    ]
    .concat();
    let end = literal("x-end", "1");
    let answered =
        frames(&[(4, 0, 0, b""), (1, 4, 1, &[0x88]), (0, 0, 1, b"answer"), (1, 5, 1, &end), (1, 4, 3, &[0x8d])]);
    let (all, damages) = read_all(classic(&sent(&asked, &answered, 50), 443), b"");
    assert_eq!(damages, []);
    let [first, second] = &all[..] else { panic!("{all:?}") };
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        text(&first.request.head),
        "POST /x HTTP/1.1\r\nhost: api.example.com\r\ncookie: a=1; b=2\r\nx-a: 1\r\n\r\n"
    );
    assert_eq!(&first.request.body[..], b"{}\n");
    let response = first.response.as_ref().unwrap();
    assert_eq!(
        (response.status(), text(&response.body), text(&response.trailers)),
        (Some(200), "answer".into(), "x-end: 1\r\n".into())
    );
    assert_eq!(text(&second.request.head), "POST /x HTTP/1.1\r\nhost: api.example.com\r\nx-a: 1\r\n\r\n");
    assert_eq!(second.response.as_ref().unwrap().body_state, BodyState::Cut);
}

proptest! {
    #[test]
    fn a_mutated_capture_is_read_as_far_as_it_goes(
        size in 1usize..80,
        modern in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let list = sent(ASKED, ANSWERED, size);
        let mut file = if modern { blocks(&list, 81, b"") } else { classic(&list, 81) };
        for (place, byte) in changes {
            let at = place.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(file.len() + 1).max(4));
        let length = file.len();
        let (all, _) = read_all(file, b"");
        prop_assert!(all.iter().map(|one| one.request.body.len()).sum::<usize>() <= length);
    }

    #[test]
    fn no_streams_are_too_much(client in prop::collection::vec(any::<u8>(), 0..200), server in prop::collection::vec(any::<u8>(), 0..200), start in 0usize..3) {
        let starts: [&[u8]; 3] = [b"", super::http2::PREFACE, b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03"];
        read_all(classic(&sent(&[starts[start], &client].concat(), &server, 50), 443), b"CLIENT_RANDOM 00 00");
    }
}

//! WebSocket messages: read under any cut, compressed or not, and written again after an edit.

use bytes::BytesMut;
use divulge::wire::{Deflate, Event, MessageReader, MessageWriter, Side, WsError};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::common::{cuts, shown};

const MASK: [u8; 4] = [0x11, 0xa2, 0x33, 0xf4];
const FIN: u8 = 0x80;
const DEFLATED: u8 = 0x40;
const LIMIT: usize = 1 << 20;

/// A frame as RFC 6455 spells it, written apart from the code under test.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(bit | short as u8),
        medium @ 126..65536 => {
            frame.push(bit | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(bit | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| frame.extend(mask)).unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A peer that compresses as a real one does: one window for all its messages.
struct Sender(Compress);

impl Sender {
    fn new() -> Self {
        Self(Compress::new(Compression::default(), false))
    }

    fn deflated(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 1024);
        self.0.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
        assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xff, 0xff]);
        out
    }
}

/// A peer that inflates as a real one does.
struct Recipient(Decompress);

impl Recipient {
    fn new() -> Self {
        Self(Decompress::new(false))
    }

    fn inflated(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(LIMIT);
        let data = [data, &[0, 0, 0xff, 0xff]].concat();
        self.0.decompress_vec(&data, &mut out, FlushDecompress::Sync).unwrap();
        out
    }
}

fn events(reader: &mut MessageReader, pieces: &[&[u8]]) -> Result<Vec<Event>, WsError> {
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(event) = reader.step(&mut input)? {
            events.push(event);
        }
        assert!(input.len() < 140, "what can be used is taken");
    }
    Ok(events)
}

fn payloads(events: &[Event]) -> Vec<&[u8]> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Message { payload, .. } => Some(payload.as_ref()),
            _ => None,
        })
        .collect()
}

fn json(number: usize) -> Vec<u8> {
    format!(
        "{{\"type\":\"response.create\",\"number\":{number},\"device\":\"3f9c{number:08}\",\"text\":\"hello again\"}}"
    )
    .into_bytes()
}

#[test]
fn however_the_frames_are_cut_the_messages_are_the_same() {
    let mut sender = Sender::new();
    let deflated: Vec<_> = (0..4).map(|number| sender.deflated(&json(number))).collect();
    let (front, back) = deflated[2].split_at(9);
    let long = vec![b'x'; 70_000];
    let wire = [
        frame(FIN | 1, Some(MASK), b"hello"),
        frame(FIN | DEFLATED | 1, Some(MASK), &deflated[0]),
        frame(FIN | 9, Some([9; 4]), b"ping"),
        frame(FIN | DEFLATED | 2, Some([1, 2, 3, 4]), &deflated[1]),
        frame(DEFLATED | 1, Some(MASK), front),
        frame(FIN | 10, Some(MASK), b""),
        frame(0, Some([7; 4]), b""),
        frame(FIN, Some([5; 4]), back),
        frame(FIN | 2, Some([0; 4]), &long),
        frame(FIN | DEFLATED | 1, Some(MASK), &deflated[3]),
        frame(FIN | 2, Some(MASK), b""),
        frame(FIN | 8, Some(MASK), b"\x03\xe8done"),
    ]
    .concat();
    let mut first = None;
    for pieces in cuts(&wire) {
        let mut reader = MessageReader::new(Side::Client, Some(Deflate::default()), LIMIT);
        let found = events(&mut reader, &pieces).unwrap();
        let expected: [&[u8]; 7] = [b"hello", &json(0), &json(1), &json(2), &long, &json(3), b""];
        assert_eq!(payloads(&found), expected);
        assert!(reader.is_between_messages());
        match &first {
            None => first = Some(found),
            Some(first) => assert_eq!(&found, first, "cut into {} pieces", pieces.len()),
        }
    }
    let first = first.unwrap();
    assert!(matches!(&first[4], Event::Control { opcode: 10, .. }), "a pong overtakes the message it interrupts");
    let raw = first.iter().map(|event| match event {
        Event::Message { raw, .. } | Event::Control { raw, .. } | Event::Oversize { raw, .. } => raw.len(),
    });
    assert_eq!(raw.sum::<usize>(), wire.len(), "every byte is in one event");
}

#[test]
fn a_message_over_the_limit_passes_in_pieces_and_the_next_ones_are_read() {
    let text: Vec<u8> = (0..5000).flat_map(json).collect();
    for side in [Side::Client, Side::Server] {
        let mask = (side == Side::Client).then_some(MASK);
        let mut sender = Sender::new();
        let long = sender.deflated(&text);
        let (a, b) = long.split_at(long.len() / 3);
        // Short on the wire, too long inflated.
        let bomb = sender.deflated(&vec![b'a'; 40_000]);
        let after = sender.deflated(&text[text.len() - 200..]);
        let wire = [
            frame(DEFLATED | 1, mask, a),
            frame(FIN | 9, mask, b"?"),
            frame(FIN, mask, b),
            frame(FIN | DEFLATED | 1, mask, &bomb),
            frame(FIN | DEFLATED | 1, mask, &after),
            frame(FIN | 2, mask, &vec![1; 40_000]),
            frame(FIN | 2, mask, b"last"),
        ]
        .concat();
        for pieces in cuts(&wire) {
            let mut reader = MessageReader::new(side, Some(Deflate::default()), 20_000);
            let found = events(&mut reader, &pieces).unwrap();
            assert_eq!(payloads(&found), [&text[text.len() - 200..], b"last"]);
            let lasts = found.iter().filter(|event| matches!(event, Event::Oversize { last: true, .. })).count();
            assert_eq!(lasts, 3);
            let mut joined = Vec::new();
            let mut control = Vec::new();
            for event in &found {
                match event {
                    Event::Control { raw, .. } => control.extend_from_slice(raw),
                    Event::Message { raw, .. } | Event::Oversize { raw, .. } => joined.extend_from_slice(raw),
                }
            }
            assert_eq!(joined.len() + control.len(), wire.len());
        }
    }
}

#[test]
fn a_bomb_ends_what_can_be_read_but_neither_memory_nor_the_connection() {
    let mut sender = Sender::new();
    let bomb = sender.deflated(&vec![0; 20 << 20]);
    let after = sender.deflated(b"after it");
    for (takeover, expected) in [(true, vec![]), (false, vec![&b"after it"[..]])] {
        let deflate = Deflate { server_no_context_takeover: !takeover, ..Deflate::default() };
        let after = if takeover { after.clone() } else { Sender::new().deflated(b"after it") };
        let wire = [frame(FIN | DEFLATED | 2, None, &bomb), frame(FIN | DEFLATED | 1, None, &after)].concat();
        let mut reader = MessageReader::new(Side::Server, Some(deflate), 100_000);
        let found = events(&mut reader, &[&wire]).unwrap();
        assert_eq!(payloads(&found), expected);
    }
}

#[test]
fn a_final_block_ends_neither_message_nor_window() {
    // RFC 7692, section 7.2.3.4.
    let wire = [
        frame(FIN | DEFLATED | 1, None, &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        // Section 7.2.3.2: the second refers to the first.
        frame(FIN | DEFLATED | 1, None, &[0xf2, 0x00, 0x11, 0x00, 0x00]),
        // Section 7.2.3.5: two blocks, and 7.2.3.3: stored ones.
        frame(
            FIN | DEFLATED | 1,
            None,
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ),
        frame(FIN | DEFLATED | 1, None, &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
    ]
    .concat();
    for pieces in cuts(&wire) {
        let mut reader = MessageReader::new(Side::Server, Some(Deflate::default()), LIMIT);
        assert_eq!(payloads(&events(&mut reader, &pieces).unwrap()), [b"Hello"; 4]);
    }
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    let client: &[(&str, Vec<u8>)] = &[
        ("an unmasked frame", frame(FIN | 1, None, b"x")),
        ("RSV2", frame(FIN | 0x20 | 1, Some(MASK), b"x")),
        ("RSV3", frame(FIN | 0x10 | 1, Some(MASK), b"x")),
        ("RSV1 on a control frame", frame(FIN | DEFLATED | 9, Some(MASK), b"x")),
        ("a reserved data opcode", frame(FIN | 3, Some(MASK), b"x")),
        ("a reserved control opcode", frame(FIN | 11, Some(MASK), b"x")),
        ("a control frame in pieces", frame(9, Some(MASK), b"x")),
        ("a long control frame", frame(FIN | 9, Some(MASK), &[0; 126])),
        ("a continuation of nothing", frame(FIN, Some(MASK), b"x")),
        ("a message in a message", [frame(1, Some(MASK), b"x"), frame(FIN | 1, Some(MASK), b"x")].concat()),
        (
            "RSV1 on a continuation",
            [frame(DEFLATED | 1, Some(MASK), b"x"), frame(FIN | DEFLATED, Some(MASK), b"x")].concat(),
        ),
        ("a two-byte length for a short payload", vec![0x82, 0xfe, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5]),
        (
            "an eight-byte length for a short payload",
            [&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0][..], b"12345"].concat(),
        ),
        ("a negative length", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a close of one byte", frame(FIN | 8, Some(MASK), &[3])),
        ("a close code out of range", frame(FIN | 8, Some(MASK), &999u16.to_be_bytes())),
        ("a close code that must not be sent", frame(FIN | 8, Some(MASK), &1005u16.to_be_bytes())),
        ("a close reason that is not UTF-8", frame(FIN | 8, Some(MASK), &[3, 0xe8, 0xff])),
        ("a frame after the close", [frame(FIN | 8, Some(MASK), b""), frame(FIN | 1, Some(MASK), b"x")].concat()),
        ("text that does not inflate", frame(FIN | DEFLATED | 1, Some(MASK), &[0xff; 9])),
    ];
    for (what, wire) in client {
        for pieces in cuts(wire) {
            let mut reader = MessageReader::new(Side::Client, Some(Deflate::default()), LIMIT);
            assert!(events(&mut reader, &pieces).is_err(), "{what}: {}", shown(wire));
        }
    }
    let mut plain = MessageReader::new(Side::Client, None, LIMIT);
    assert!(events(&mut plain, &[&frame(FIN | DEFLATED | 1, Some(MASK), b"x")]).is_err(), "RSV1 not agreed on");
    let mut server = MessageReader::new(Side::Server, None, LIMIT);
    assert!(events(&mut server, &[&frame(FIN | 1, Some(MASK), b"x")]).is_err(), "a masked frame of a server");
}

/// Passes compressed messages through reader and writer, changing those that `edit` says, and checks that a
/// recipient reads what was meant.
fn relay(deflate: Deflate, side: Side, count: usize, edit: impl Fn(usize) -> bool) -> Vec<bool> {
    let takeover = match side {
        Side::Client => !deflate.client_no_context_takeover,
        Side::Server => !deflate.server_no_context_takeover,
    };
    let mask = (side == Side::Client).then_some(MASK);
    let (mut sender, mut recipient) = (Sender::new(), Recipient::new());
    let mut reader = MessageReader::new(side, Some(deflate), LIMIT);
    let mut writer = MessageWriter::new(side, Some(deflate));
    let mut check = MessageReader::new(side, None, LIMIT);
    let mut rewritten = Vec::new();
    for number in 0..count {
        if !takeover {
            (sender, recipient) = (Sender::new(), Recipient::new());
        }
        let sent = frame(FIN | DEFLATED | 1, mask, &sender.deflated(&json(number)));
        let found = events(&mut reader, &[&sent]).unwrap();
        let [Event::Message { raw, text: true, mask, payload, compressed: true }] = &found[..] else {
            panic!("{found:?}")
        };
        let mut out = BytesMut::new();
        let apart = writer.must_rewrite();
        let expected = if edit(number) {
            let edited = String::from_utf8_lossy(payload).replace("3f9c", "aaaaaa").into_bytes();
            writer.edited(true, *mask, true, &edited, &mut out);
            edited
        } else {
            writer.unedited(raw, true, *mask, true, payload, &mut out);
            payload.to_vec()
        };
        assert!(apart || edit(number) || out == sent, "message {number} leaves as it came");
        rewritten.push(apart || edit(number));
        assert_eq!(out[0], FIN | DEFLATED | 1);
        out[0] &= !DEFLATED;
        let frames = events(&mut check, &[&out]).unwrap();
        let received = recipient.inflated(payloads(&frames)[0]);
        assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(&expected), "message {number}");
    }
    rewritten
}

#[test]
fn after_an_edit_the_recipient_still_reads_every_message() {
    for side in [Side::Client, Side::Server] {
        // Some 90 bytes a message: a window of 32 KiB is clean after some 370 of them.
        let rewritten = relay(Deflate::default(), side, 1200, |number| number % 500 == 3);
        let runs: Vec<_> = rewritten.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() > 100)).collect();
        let expected = [(false, false), (true, true), (false, true), (true, true), (false, true), (true, true)];
        assert_eq!(runs, expected, "an edit rewrites what follows until the windows agree again");
    }
}

#[test]
fn without_a_common_window_an_edit_touches_one_message_alone() {
    let deflate = Deflate { client_no_context_takeover: true, client_max_window_bits: 9, ..Deflate::default() };
    let rewritten = relay(deflate, Side::Client, 20, |number| number % 5 == 2);
    assert!(rewritten.iter().enumerate().all(|(number, rewritten)| *rewritten == (number % 5 == 2)));
}

#[test]
fn the_smallest_window_takes_edits_too() {
    for bits in 8..=15 {
        let deflate = Deflate { server_max_window_bits: bits, server_no_context_takeover: true, ..Deflate::default() };
        relay(deflate, Side::Server, 5, |_| true);
    }
}

#[test]
fn what_a_server_agrees_to_is_read_or_refused() {
    let plain = Deflate::default();
    let good = [
        ("", None),
        ("permessage-deflate", Some(plain)),
        (
            " Permessage-Deflate ;client_no_context_takeover",
            Some(Deflate { client_no_context_takeover: true, ..plain }),
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=\"10\"; client_max_window_bits = 8",
            Some(Deflate {
                server_no_context_takeover: true,
                server_max_window_bits: 10,
                client_max_window_bits: 8,
                ..plain
            }),
        ),
    ];
    for (value, expected) in good {
        assert_eq!(Deflate::from_response(value), Ok(expected), "{value}");
    }
    for value in [
        "x-webkit-deflate-frame",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; mux",
        "permessage-deflate;",
    ] {
        assert!(Deflate::from_response(value).is_err(), "{value}");
    }
}

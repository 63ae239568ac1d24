//! Bodies and their frames: the same result under every cut, and what is written is read again.

use bytes::{Bytes, BytesMut};
use divulge::wire::envelope::encode;
use divulge::wire::{
    BodyError, BodyReader, BodyWriter, EnvelopeEvent, EnvelopeReader, Framing, Limits, LineEvent, LineReader, Progress,
};
use proptest::prelude::*;

use crate::common::cuts;

/// What came of a body that arrived in `pieces`: passed bytes, data, what is left of the input.
struct Passed {
    out: Vec<u8>,
    tapped: Vec<u8>,
    taken: Vec<u8>,
    left: usize,
    done: bool,
    trailers: Vec<(String, String)>,
}

fn pass(framing: Framing, pieces: &[&[u8]]) -> Result<Passed, BodyError> {
    let (mut passer, mut taker) =
        (BodyReader::new(framing, Limits::default()), BodyReader::new(framing, Limits::default()));
    let (mut input, mut out, mut tapped) = (BytesMut::new(), BytesMut::new(), Vec::new());
    let (mut input_taken, mut taken) = (BytesMut::new(), BytesMut::new());
    let mut whole_out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        input.extend_from_slice(piece);
        let passed = passer.pass(&mut input, &mut out, &mut |data| tapped.extend_from_slice(data))?;
        input_taken.extend_from_slice(piece);
        assert_eq!(taker.take(&mut input_taken, &mut taken)?, passed);
        // A writer that keeps up, and one that does not.
        if index % 2 == 0 {
            whole_out.extend_from_slice(&out.split());
        }
    }
    whole_out.extend_from_slice(&out);
    assert_eq!(input, input_taken);
    assert_eq!(passer.data_bytes(), tapped.len() as u64);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let trailers =
        passer.trailers().map(|trailers| trailers.iter().map(|(name, value)| (text(name), text(value))).collect());
    Ok(Passed {
        out: whole_out,
        tapped,
        taken: taken.to_vec(),
        left: input.len(),
        done: passer.is_done(),
        trailers: trailers.unwrap_or_default(),
    })
}

#[test]
fn however_a_body_is_cut_the_same_is_passed_and_taken() {
    let chunked = "5;sig=\"a;b\"\r\nhello\r\n1\r\n \r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-sum:2\r\n\r\nGET /next";
    let plain = "5\r\nhello\r\n1\r\n \r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-sum:2\r\n\r\n";
    for pieces in cuts(chunked.as_bytes()) {
        let passed = pass(Framing::Chunked, &pieces).unwrap();
        assert_eq!(String::from_utf8_lossy(&passed.out), plain);
        assert_eq!(passed.tapped, b"hello 0123456789");
        assert_eq!(passed.taken, passed.tapped);
        assert_eq!((passed.left, passed.done), ("GET /next".len(), true));
        assert_eq!(passed.trailers, [("X-Sum".into(), "1".into()), ("x-sum".into(), "2".into())]);
    }
    for pieces in cuts(b"hello worldGET /next") {
        let passed = pass(Framing::Length(11), &pieces).unwrap();
        assert_eq!((&passed.out[..], passed.left, passed.done), (&b"hello world"[..], 9, true));
        assert_eq!((&passed.taken[..], &passed.tapped[..]), (&b"hello world"[..], &b"hello world"[..]));
        let passed = pass(Framing::UntilClose, &pieces).unwrap();
        assert_eq!((&passed.out[..], passed.left, passed.done), (&b"hello worldGET /next"[..], 0, false));
        for framing in [Framing::None, Framing::Length(0)] {
            let passed = pass(framing, &pieces).unwrap();
            assert_eq!((passed.out.len(), passed.left, passed.done), (0, 20, true));
        }
    }
}

#[test]
fn a_whole_run_is_moved_and_not_copied() {
    let chunks = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n5\r\nhel"].concat();
    for (framing, bytes) in [
        (Framing::Length(1 << 20), vec![b'x'; 4096]),
        (Framing::UntilClose, vec![b'x'; 4096]),
        (Framing::Chunked, chunks),
    ] {
        let mut input = BytesMut::from(&bytes[..]);
        let before = input.as_ptr();
        let mut out = BytesMut::with_capacity(16);
        let progress = BodyReader::new(framing, Limits::default()).pass(&mut input, &mut out, &mut |_| ());
        assert_eq!(progress, Ok(Progress::NeedMore));
        assert_eq!((out.as_ptr(), &out[..], input.len()), (before, &bytes[..], 0), "{framing:?}");
    }
}

#[test]
fn a_body_that_was_cut_off_is_never_complete() {
    let ends = |framing: Framing, text: &str, clean: bool| {
        let mut reader = BodyReader::new(framing, Limits::default());
        let progress = reader.pass(&mut BytesMut::from(text), &mut BytesMut::new(), &mut |_| ());
        progress.is_ok() && reader.eof(clean).is_ok() && reader.is_done()
    };
    assert!(ends(Framing::None, "", false));
    assert!(ends(Framing::Length(3), "abc", false));
    assert!(!ends(Framing::Length(3), "ab", true));
    assert!(!ends(Framing::Length(3), "", true));
    assert!(ends(Framing::UntilClose, "", true));
    assert!(ends(Framing::UntilClose, "abc", true));
    assert!(!ends(Framing::UntilClose, "abc", false));
    let whole = "3\r\nabc\r\n0\r\nA: 1\r\n\r\n";
    assert!(ends(Framing::Chunked, whole, false));
    for end in 0..whole.len() {
        assert!(!ends(Framing::Chunked, &whole[..end], true), "{}", &whole[..end]);
    }
}

#[test]
fn a_writer_never_writes_more_than_announced() {
    let mut out = BytesMut::new();
    let mut writer = BodyWriter::new(Framing::Length(5));
    writer.data(b"abc", &mut out);
    assert!(BodyWriter::new(Framing::Length(5)).end(None, &mut out).is_err());
    writer.data(b"defg", &mut out);
    assert_eq!(&out[..], b"abcde");
    assert!(writer.end(None, &mut out).is_err());
}

/// A chunked body of `chunks`, with extensions where the number is odd.
fn chunked(chunks: &[Vec<u8>], trailers: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (index, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| !chunk.is_empty()) {
        let extension = if index % 2 == 1 { ";a=\"b\";c" } else { "" };
        body.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    body
}

/// `bytes` cut into pieces of the sizes given, over and over.
fn pieces<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

proptest! {
    #[test]
    fn any_data_in_any_chunks_in_any_pieces_comes_out_whole(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
        sizes in prop::collection::vec(1usize..500, 1..8),
        trailers in prop::sample::select(vec!["", "X: 1\r\n", "X-a:\t1 \r\nx-A: 2\r\n"]),
    ) {
        let body = chunked(&chunks, trailers);
        let data = chunks.concat();
        let first = pass(Framing::Chunked, &pieces(&body, &sizes)).unwrap();
        prop_assert!(first.done);
        prop_assert_eq!(&first.tapped, &data);
        prop_assert_eq!(&first.taken, &data);
        // What was passed on is a body of its own, and passes unchanged.
        let second = pass(Framing::Chunked, &[&first.out]).unwrap();
        prop_assert_eq!(&second.out, &first.out);
        prop_assert_eq!(&second.tapped, &data);
        prop_assert_eq!(second.trailers, first.trailers);
    }

    #[test]
    fn what_the_writer_writes_the_reader_reads(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
    ) {
        let data = parts.concat();
        for framing in [Framing::Chunked, Framing::Length(data.len() as u64), Framing::UntilClose] {
            let mut source = BodyReader::new(Framing::Chunked, Limits::default());
            let trailed = &mut BytesMut::from(&b"0\r\nX-Sum: \t1\r\n\r\n"[..]);
            source.take(trailed, &mut BytesMut::new()).unwrap();
            let mut out = BytesMut::new();
            let mut writer = BodyWriter::new(framing);
            parts.iter().for_each(|part| writer.data(part, &mut out));
            writer.end(source.trailers(), &mut out).unwrap();
            let passed = pass(framing, &[&out]).unwrap();
            prop_assert_eq!(&passed.taken, &data);
            prop_assert_eq!(passed.done, framing != Framing::UntilClose);
            let expected = if framing == Framing::Chunked { vec![("X-Sum".to_owned(), "1".to_owned())] } else { vec![] };
            prop_assert_eq!(passed.trailers, expected);
        }
    }

    #[test]
    fn any_envelopes_in_any_pieces_come_out_whole(
        payloads in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..300)), 0..12),
        sizes in prop::collection::vec(1usize..500, 1..8),
    ) {
        let envelopes: Vec<Bytes> = payloads.iter().map(|(flags, payload)| encode(*flags, payload)).collect();
        let (found, left) = envelopes_of(&pieces(&envelopes.concat(), &sizes), 1 << 20);
        prop_assert_eq!(left, None);
        let expected: Vec<_> = payloads
            .iter()
            .zip(&envelopes)
            .map(|((flags, payload), raw)| EnvelopeEvent::Envelope { raw: raw.clone(), flags: *flags, payload: payload.clone().into() })
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_lines_in_any_pieces_come_out_whole(
        lines in prop::collection::vec("[a-z\\r]{0,80}", 0..20),
        last in "[a-z]{0,10}",
        sizes in prop::collection::vec(1usize..100, 1..8),
    ) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).chain([last]).collect();
        let found = lines_of(&pieces(text.as_bytes(), &sizes), 1000);
        let expected: Vec<_> = text.split_inclusive('\n').map(|line| LineEvent::Line(Bytes::copy_from_slice(line.as_bytes()))).collect();
        prop_assert_eq!(found, expected);
    }
}

fn envelopes_of(pieces: &[&[u8]], limit: usize) -> (Vec<EnvelopeEvent>, Option<Bytes>) {
    let mut reader = EnvelopeReader::new(limit);
    let mut input = BytesMut::new();
    let mut found = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(event) = reader.step(&mut input).unwrap() {
            found.push(event);
        }
        assert!(input.is_empty(), "all input is taken");
    }
    let between = reader.is_between_envelopes();
    let left = reader.finish();
    assert!(!between || left.is_none());
    (found, left)
}

fn lines_of(pieces: &[&[u8]], limit: usize) -> Vec<LineEvent> {
    let mut reader = LineReader::new(limit);
    let mut input = BytesMut::new();
    let mut found = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(event) = reader.step(&mut input) {
            found.push(event);
        }
        assert!(input.is_empty(), "all input is taken");
    }
    found.extend(reader.finish());
    found
}

#[test]
fn an_envelope_over_the_limit_passes_in_pieces_and_the_next_one_is_read() {
    let wire = [encode(0, b"small"), encode(1, &[7; 600]), encode(2, b"{}"), Bytes::from_static(&[0, 0, 0, 0, 9, 1])];
    let bytes = wire.concat();
    for pieces in cuts(&bytes) {
        let (found, left) = envelopes_of(&pieces, 100);
        let mut whole = Vec::new();
        let mut long = Vec::new();
        let mut ends = 0;
        for event in &found {
            match event {
                EnvelopeEvent::Envelope { flags, payload, .. } => whole.push((*flags, &payload[..])),
                EnvelopeEvent::Oversize { raw, last } => {
                    long.extend_from_slice(raw);
                    ends += usize::from(*last);
                }
            }
        }
        assert_eq!(whole, [(0, &b"small"[..]), (2, b"{}")]);
        assert_eq!((long, ends), (wire[1].to_vec(), 1));
        assert_eq!(left, Some(wire[3].clone()), "an envelope that was cut off is handed back");
    }
}

#[test]
fn what_is_no_envelope_is_said_and_handed_back() {
    for pieces in cuts(b"{\"a\":1}") {
        let mut reader = EnvelopeReader::new(100);
        let mut input = BytesMut::new();
        let mut sent = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            sent.extend_from_slice(piece);
            if reader.step(&mut input).is_err() {
                break;
            }
        }
        let held = reader.finish().unwrap();
        assert_eq!([&held[..], &input[..]].concat(), sent);
    }
}

#[test]
fn a_line_over_the_limit_passes_in_pieces_and_the_next_one_is_read() {
    let text = ["short\r\n", &"x".repeat(300), "\n\n", "next\n", &"y".repeat(200)].concat();
    for pieces in cuts(text.as_bytes()) {
        let mut whole = Vec::new();
        let mut ends = 0;
        let mut bytes = Vec::new();
        for event in lines_of(&pieces, 100) {
            match event {
                LineEvent::Line(line) => {
                    bytes.extend_from_slice(&line);
                    whole.push(String::from_utf8_lossy(&line).into_owned());
                }
                LineEvent::Oversize { raw, last } => {
                    bytes.extend_from_slice(&raw);
                    ends += usize::from(last);
                }
            }
        }
        assert_eq!(whole, ["short\r\n", "\n", "next\n"]);
        assert_eq!((bytes, ends), (text.as_bytes().to_vec(), 2));
    }
}

/// A message of an AWS event stream without headers; the reader leaves its last checksum to whoever reads the message.
fn event(payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes);
    bytes.extend(crc.sum().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn messages_of_an_event_stream_are_cut_wherever_they_arrive() {
    let body = [event(b"one"), event(b""), event(b"three")].concat();
    for step in [1, 5, 16, body.len()] {
        let mut reader = EnvelopeReader::events(64);
        let mut lengths = Vec::new();
        for piece in body.chunks(step) {
            let mut input = BytesMut::from(piece);
            while let Ok(Some(EnvelopeEvent::Envelope { raw, .. })) = reader.step(&mut input) {
                lengths.push(raw.len());
            }
        }
        assert_eq!(lengths, [19, 16, 21], "{step} bytes at a time");
        assert!(reader.is_between_envelopes());
    }
    let mut reader = EnvelopeReader::events(64);
    assert!(reader.step(&mut BytesMut::from(&b"{\"a\":\"no message\"}"[..])).is_err());
    let mut reader = EnvelopeReader::events(18);
    let oversize = reader.step(&mut BytesMut::from(&event(b"one")[..]));
    assert!(matches!(oversize, Ok(Some(EnvelopeEvent::Oversize { last: false, .. }))));
}

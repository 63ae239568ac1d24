//! What must hold for any bytes: no panic, no hang, and none of the statements below broken.
//!
//! The first byte of an input chooses settings, the second how the rest is cut into pieces.

use bytes::BytesMut;
use divulge::wire::frames::FrameWatch;
use divulge::wire::{
    BodyReader, Deflate, EnvelopeEvent, EnvelopeReader, Event, ForwardRequest, ForwardResponse, Framing, Limits,
    LineEvent, LineReader, MessageReader, Progress, RequestHead, ResponseHead, Side, TargetOut,
};

/// Small enough to be reached.
const LIMITS: Limits =
    Limits { head_bytes: 2048, fields: 40, chunk_line: 64, trailer_bytes: 256, interim: 20, frame_bytes: 300 };

/// Settings, the rest, and the rest in pieces.
type Dealt<'a> = (u8, &'a [u8], Vec<&'a [u8]>);

fn dealt(data: &[u8]) -> Option<Dealt<'_>> {
    let [settings, cut, rest @ ..] = data else { return None };
    let size = usize::from(*cut % 64) + 1;
    Some((*settings, rest, rest.chunks(size).collect()))
}

/// Feeds `pieces` to `parse` until it gives a head or refuses.
fn fed<T, E>(pieces: &[&[u8]], mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let mut buffer = BytesMut::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if let Some(found) = parse(&mut buffer)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

pub fn request_head(data: &[u8]) {
    let Some((settings, bytes, pieces)) = dealt(data) else { return };
    let whole = RequestHead::parse(&mut BytesMut::from(bytes), &LIMITS);
    let cut = fed(&pieces, |buffer| RequestHead::parse(buffer, &LIMITS));
    let _ = RequestHead::parse_captured(&bytes.to_vec().into(), &LIMITS);
    match (&whole, &cut) {
        (Ok(Some(whole)), Ok(Some(cut))) => assert_eq!((whole.raw(), whole.fields()), (cut.raw(), cut.fields())),
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        _ => panic!("a cut changes the verdict: {whole:?}, {cut:?}"),
    }
    let Ok(Some(head)) = whole else { return };
    let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields];
    let mut theirs = httparse::Request::new(&mut fields);
    assert!(matches!(theirs.parse(bytes), Ok(httparse::Status::Complete(_))), "httparse refuses it");
    assert_eq!((theirs.method, theirs.path), (Some(head.method()), Some(head.target())));
    assert_eq!(theirs.headers.len(), head.fields().len());
    for (theirs, ours) in theirs.headers.iter().zip(head.fields()) {
        assert_eq!((theirs.name.as_bytes(), theirs.value), (head.bytes(ours.name), head.bytes(ours.value)));
    }
    let _ = (head.authority(), head.expects_continue(), head.keep_alive());
    assert!(head.host_agrees());
    let target = if settings & 1 == 0 { TargetOut::AsIs } else { TargetOut::Origin };
    let how = ForwardRequest { target, upgrade: head.upgrade().is_some() };
    let mut out = BytesMut::new();
    head.write(&[], &how, &mut out);
    let sent = out.clone();
    let again = RequestHead::parse(&mut out, &Limits::default());
    let Ok(Some(again)) = again else { panic!("what is forwarded is refused: {again:?}") };
    assert!(out.is_empty(), "what is forwarded is one head");
    assert_eq!((again.framing(), again.method()), (head.framing(), head.method()));
    let mut twice = BytesMut::new();
    again.write(&[], &how, &mut twice);
    assert_eq!(sent, twice, "forwarding twice changes nothing more");
}

pub fn response_head(data: &[u8]) {
    let Some((settings, bytes, pieces)) = dealt(data) else { return };
    let method = ["GET", "HEAD", "CONNECT", "POST"][usize::from(settings % 4)];
    let upgrade = settings & 4 != 0;
    let whole = ResponseHead::parse(&mut BytesMut::from(bytes), method, upgrade, &LIMITS);
    let cut = fed(&pieces, |buffer| ResponseHead::parse(buffer, method, upgrade, &LIMITS));
    match (&whole, &cut) {
        (Ok(Some(whole)), Ok(Some(cut))) => assert_eq!((whole.raw(), whole.fields()), (cut.raw(), cut.fields())),
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        _ => panic!("a cut changes the verdict: {whole:?}, {cut:?}"),
    }
    let Ok(Some(head)) = whole else { return };
    let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields];
    let mut theirs = httparse::Response::new(&mut fields);
    assert!(matches!(theirs.parse(bytes), Ok(httparse::Status::Complete(_))), "httparse refuses it");
    assert_eq!(theirs.code, Some(head.status()));
    assert_eq!(theirs.headers.len(), head.fields().len());
    assert!(head.status() != 101 || upgrade || method == "CONNECT", "an upgrade nobody asked for");
    let chunked = head.framing() == Framing::UntilClose && settings & 8 != 0;
    let how = ForwardResponse {
        chunked,
        unchunked: false,
        close: !head.keep_alive(),
        upgrade: head.status() == 101,
        decoded: false,
    };
    let mut out = BytesMut::new();
    head.write(&how, &mut out);
    let again = ResponseHead::parse(&mut out, method, upgrade, &Limits::default());
    let Ok(Some(again)) = again else { panic!("what is returned is refused: {again:?}") };
    assert_eq!(again.framing(), if chunked { Framing::Chunked } else { head.framing() });
    assert!(out.is_empty(), "what is returned is one head");
}

/// A body passed on: the bytes, its data, and whether it ended.
type Passed = (Vec<u8>, Vec<u8>, bool);

fn passed(framing: Framing, pieces: &[&[u8]], limits: Limits) -> Option<Passed> {
    let (mut passer, mut taker) = (BodyReader::new(framing, limits), BodyReader::new(framing, limits));
    let (mut input, mut out, mut data) = (BytesMut::new(), BytesMut::new(), Vec::new());
    let (mut second, mut taken) = (BytesMut::new(), BytesMut::new());
    let mut done = false;
    for piece in pieces {
        input.extend_from_slice(piece);
        second.extend_from_slice(piece);
        let progress = passer.pass(&mut input, &mut out, &mut |seen| data.extend_from_slice(seen));
        let other = taker.take(&mut second, &mut taken);
        assert_eq!(progress, other, "passing and taking agree");
        done = progress.ok()? == Progress::Done;
        assert_eq!(input, second);
        assert!(done || input.len() <= limits.chunk_line.max(limits.trailer_bytes), "what can be used is taken");
    }
    assert_eq!(taken, data);
    Some((out.to_vec(), data, done))
}

pub fn body(data: &[u8]) {
    let Some((settings, bytes, pieces)) = dealt(data) else { return };
    let framing = match settings % 4 {
        0 => Framing::Length(u64::from(settings)),
        1 => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    let whole = passed(framing, &[bytes], LIMITS);
    let cut = passed(framing, &pieces, LIMITS);
    if bytes.is_empty() {
        return;
    }
    assert_eq!(whole, cut, "a cut changes the body");
    let Some((out, data, done)) = whole else { return };
    if framing == Framing::Chunked {
        assert!(!done || out.ends_with(b"\r\n"));
        if !out.is_empty() {
            assert_eq!(
                passed(framing, &[&out], Limits::default()),
                Some((out, data, done)),
                "what was passed is a body"
            );
        }
    }
}

fn websocket_events(settings: u8, pieces: &[&[u8]]) -> (Vec<Event>, bool) {
    let side = if settings & 1 == 0 { Side::Client } else { Side::Server };
    let deflate = (settings & 2 != 0).then(|| Deflate {
        client_no_context_takeover: settings & 4 != 0,
        server_no_context_takeover: settings & 4 != 0,
        ..Deflate::default()
    });
    let mut reader = MessageReader::new(side, deflate, LIMITS.frame_bytes);
    let (mut input, mut events) = (BytesMut::new(), Vec::new());
    let (mut sent, mut accounted) = (0, 0);
    for piece in pieces {
        input.extend_from_slice(piece);
        sent += piece.len();
        loop {
            match reader.step(&mut input) {
                Ok(Some(event)) => {
                    let (Event::Message { raw, .. } | Event::Control { raw, .. } | Event::Oversize { raw, .. }) =
                        &event;
                    accounted += raw.len();
                    events.push(event);
                }
                Ok(None) => break,
                Err(_) => return (events, false),
            }
        }
        assert!(input.len() < 140, "what can be used is taken");
        assert!(accounted + input.len() <= sent);
        assert!(!reader.is_between_messages() || accounted + input.len() == sent, "every byte is in an event");
    }
    (events, true)
}

pub fn websocket(data: &[u8]) {
    let Some((settings, bytes, pieces)) = dealt(data) else { return };
    // Pieces of what is too long depend on the cut; whole messages do not.
    let read = |pieces: &[&[u8]]| {
        let (events, sound) = websocket_events(settings, pieces);
        let events: Vec<_> = events.into_iter().filter(|event| !matches!(event, Event::Oversize { .. })).collect();
        (events, sound)
    };
    if !bytes.is_empty() {
        assert_eq!(read(&[bytes]), read(&pieces), "a cut changes the messages");
    }
}

pub fn envelope(data: &[u8]) {
    let Some((settings, bytes, pieces)) = dealt(data) else { return };
    let read = |pieces: &[&[u8]]| {
        let mut reader = EnvelopeReader::new(LIMITS.frame_bytes);
        let (mut input, mut all, mut whole) = (BytesMut::new(), Vec::new(), Vec::new());
        let mut sent = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            sent.extend_from_slice(piece);
            loop {
                match reader.step(&mut input) {
                    Ok(Some(EnvelopeEvent::Envelope { raw, .. })) => {
                        all.extend_from_slice(&raw);
                        whole.push(raw);
                    }
                    Ok(Some(EnvelopeEvent::Oversize { raw, .. })) => all.extend_from_slice(&raw),
                    Ok(None) => break,
                    Err(_) => {
                        all.extend_from_slice(&reader.finish().unwrap_or_default());
                        all.extend_from_slice(&input);
                        assert_eq!(all, sent, "every byte is in an event or handed back");
                        return whole;
                    }
                }
            }
        }
        all.extend_from_slice(&reader.finish().unwrap_or_default());
        assert_eq!(all, sent, "every byte is in an event or handed back");
        whole
    };
    let lines = |pieces: &[&[u8]]| {
        let mut reader = LineReader::new(LIMITS.frame_bytes);
        let (mut input, mut all, mut whole) = (BytesMut::new(), Vec::new(), Vec::new());
        let mut note = |event: LineEvent| match event {
            LineEvent::Line(line) => {
                assert!(line.iter().rev().skip(1).all(|&byte| byte != b'\n'), "a line is one line");
                all.extend_from_slice(&line);
                whole.push(line);
            }
            LineEvent::Oversize { raw, .. } => all.extend_from_slice(&raw),
        };
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(event) = reader.step(&mut input) {
                note(event);
            }
        }
        reader.finish().into_iter().for_each(&mut note);
        assert_eq!(all, pieces.concat(), "every byte is in a line");
        whole
    };
    match settings % 2 {
        0 => assert_eq!(read(&[bytes]), read(&pieces), "a cut changes the envelopes"),
        _ => assert_eq!(lines(&[bytes]), lines(&pieces), "a cut changes the lines"),
    }
}

/// Frames of an HTTP/2 client or server: wherever they are cut, the same are refused at the same byte, and a violation never lets
/// its whole frame pass.
pub fn http2_client(data: &[u8]) {
    let Some((settings, bytes, pieces)) = dealt(data) else { return };
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (side, start) = if settings & 2 == 0 { (Side::Client, preface) } else { (Side::Server, &preface[24..]) };
    let begun = || {
        let mut watch = FrameWatch::of(side);
        if settings & 1 == 0 {
            assert_eq!(watch.pass(start), Ok(()));
        }
        watch
    };
    let mut whole = begun();
    let verdict = whole.pass(bytes);
    let mut cut = begun();
    let mut at = 0;
    let mut in_pieces = Ok(());
    for piece in pieces {
        in_pieces = cut.pass(piece).map_err(|mut violation| {
            violation.passed += at;
            violation
        });
        at += piece.len();
        if in_pieces.is_err() {
            break;
        }
    }
    assert_eq!(verdict, in_pieces, "a cut changes the verdict");
    match verdict {
        Ok(()) => {
            assert_eq!(whole.head_under_way(), cut.head_under_way());
            assert!(whole.malformed().eq(cut.malformed()), "a cut changes what is malformed");
        }
        Err(violation) => assert!(violation.passed < bytes.len()),
    }
}

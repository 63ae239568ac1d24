use std::io::Cursor;

use super::*;
use crate::session::flow::WebSocketMessage;

fn exchange(id: &str, body: &str) -> Exchange {
    let head = format!("POST /v1/messages HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {}\r\n\r\n", body.len());
    Exchange {
        id: id.to_owned(),
        started: Some(1),
        ended: Some(2),
        host: "api.example.com".to_owned(),
        port: 443,
        secure: true,
        request: Message {
            head: head.into(),
            body: body.to_owned().into(),
            pieces: vec![Piece::Line(1), Piece::Unread { bytes: 2, reason: "limit".to_owned(), kept: true }],
            ..Message::default()
        },
        unread_messages: vec![UnreadMessage { before: 1, bytes: 7, reason: "limit".to_owned(), refused: true }],
        response: Some(Message {
            head: "HTTP/1.1 200 OK\r\n\r\n".into(),
            body: format!("answer to {id}").into(),
            trailers: "x: y\r\n".into(),
            body_state: BodyState::Cut,
            pace: vec![(4, 0), (9, 6)],
            ..Message::default()
        }),
        messages: vec![WebSocketMessage {
            from_client: true,
            text: true,
            at: Some(3),
            data: format!("said by {id}").into(),
        }],
        lines: vec![format!("{{\"flow\":\"{id}\"}}")],
        ..Exchange::default()
    }
}

fn written(exchanges: &[Exchange]) -> Vec<u8> {
    let (mut writer, mut out) =
        SessionWriter::begin(&About { session: "s".into(), bodies: "full".into(), ..About::default() });
    for exchange in exchanges {
        out.extend(writer.request(exchange));
    }
    // Answers come in another order.
    for exchange in exchanges.iter().rev() {
        out.extend(writer.lines(&exchange.id, exchange.lines.clone()));
        out.extend(writer.end(exchange));
    }
    out
}

fn open(bytes: &[u8]) -> SessionReader<Cursor<Vec<u8>>> {
    SessionReader::open(Cursor::new(bytes.to_vec())).unwrap()
}

/// Text that does not compress to nothing.
fn text(length: usize, seed: u64) -> String {
    let mut state = seed;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + (state >> 33) as u8 % 26)
        })
        .collect()
}

#[test]
fn what_is_written_is_read_again() {
    let exchanges: Vec<Exchange> = (0..5).map(|n| exchange(&format!("{n:06}"), &text(3000 * n + 1, 7))).collect();
    let mut reader = open(&written(&exchanges));
    assert_eq!(reader.scan.damage, None);
    assert_eq!(reader.scan.about.session, "s");
    for (index, exchange) in exchanges.iter().enumerate() {
        let (read, damages) = reader.exchange(index).unwrap();
        assert_eq!(damages, []);
        assert_eq!(read, *exchange);
    }
}

#[test]
fn a_conversation_costs_what_is_new_in_it() {
    let mut history = text(50_000, 1);
    let mut exchanges = Vec::new();
    let (mut sum, mut fresh) = (0, history.len());
    for turn in 0..50 {
        let new = text(2000, 100 + turn);
        fresh += new.len();
        history.push_str(&new);
        // System text and tools stand behind the messages, as some clients write them.
        let body = format!("{{\"messages\":\"{history}\",\"tools\":\"{}\"}}", text(20_000, 2));
        sum += body.len();
        exchanges.push(exchange(&format!("{turn:06}"), &body));
    }
    let size = written(&exchanges).len();
    assert!(size < 3 * fresh, "{size} bytes for {fresh} new ones, {sum} in all");
    assert!(size * 15 < sum, "{size} of {sum}");
}

#[test]
fn a_torn_end_is_told_and_what_was_before_it_is_read() {
    let exchanges: Vec<Exchange> = (0..3).map(|n| exchange(&format!("{n:06}"), &text(900, n))).collect();
    let whole = written(&exchanges);
    let sound = open(&whole).scan.position.end;
    assert_eq!(sound, whole.len() as u64);
    for cut in [1, 20, 40, 200] {
        let mut reader = open(&whole[..whole.len() - cut]);
        let damage = reader.scan.damage.clone().unwrap();
        assert_eq!(damage.offset, reader.scan.position.end);
        assert!(damage.reason.contains("ends within"), "{damage:?}");
        assert_eq!(reader.exchange(2).unwrap().0.request, exchanges[2].request, "cut by {cut}");
    }
    // Whoever writes on begins behind the last sound record.
    let reader = open(&whole[..whole.len() - 20]);
    let mut file = whole[..reader.scan.position.end as usize].to_vec();
    let more = exchange("000009", "more");
    let mut writer = SessionWriter::resume(&reader.scan);
    file.extend(writer.request(&more));
    let mut again = open(&file);
    assert_eq!(again.scan.damage, None);
    assert_eq!(again.exchange(3).unwrap().0.request, more.request);
    assert_eq!(again.scan.chain(), writer.chain());
}

#[test]
fn the_first_altered_missing_or_moved_record_is_named() {
    let exchanges: Vec<Exchange> = (0..3).map(|n| exchange(&format!("{n:06}"), &text(900, n))).collect();
    let whole = written(&exchanges);
    let mut ends = vec![MAGIC.len()];
    while ends[ends.len() - 1] < whole.len() {
        let at = ends[ends.len() - 1];
        ends.push(at + 5 + u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) as usize + 32);
    }
    let third = ends[2]..ends[3];
    let mut altered = whole.clone();
    altered[third.start + 9] ^= 1;
    let mut missing = whole.clone();
    missing.drain(third.clone());
    let mut moved = whole.clone();
    moved[third.start..].rotate_left(third.len());
    for (bytes, what) in [(altered, "altered"), (missing, "missing"), (moved, "moved")] {
        let damage = open(&bytes).scan.damage.clone().unwrap_or_else(|| panic!("{what} is not seen"));
        assert_eq!(damage.offset, third.start as u64, "{what}");
    }
}

#[test]
fn what_is_erased_is_gone_and_the_chain_holds() {
    let exchanges: Vec<Exchange> = (0..3).map(|n| exchange(&format!("{n:06}"), &text(5000, n))).collect();
    let whole = written(&exchanges);
    let reader = open(&whole);
    let mut out = Vec::new();
    reader.scan.erase(&mut Cursor::new(&whole), &mut out, |id| id == "000001").unwrap();
    let mut again = open(&out);
    assert_eq!(again.scan.damage, None);
    assert_eq!(again.scan.chain(), reader.scan.chain(), "noted elsewhere, it still fits");
    assert_eq!(again.ids().collect::<Vec<_>>(), ["000000", "000002"]);
    assert_eq!(again.exchange(0).unwrap().0, exchanges[0]);
    assert_eq!(again.exchange(1).unwrap(), (exchanges[2].clone(), Vec::new()));
    let packed = zstd::bulk::compress(&exchanges[1].request.body, LEVEL).unwrap();
    assert!(!out.windows(200).any(|window| packed.windows(200).any(|piece| piece == window)));
}

#[test]
fn other_files_and_later_formats_are_told() {
    for (bytes, says) in
        [(&b"GET / HTTP/1.1\r\n"[..], "no session"), (b"", "no session"), (b"divulge session 2\n", "format 2")]
    {
        let error = SessionReader::open(Cursor::new(bytes)).err().unwrap();
        assert!(error.to_string().contains(says), "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_damage_makes_reading_fail(at in 0_usize..4000, byte in 0_u8.., cut in 0_usize..4000) {
        let exchanges: Vec<Exchange> = (0..3).map(|n| exchange(&format!("{n:06}"), &text(700, n))).collect();
        let mut bytes = written(&exchanges);
        let length = bytes.len();
        bytes[MAGIC.len() + at % (length - MAGIC.len())] = byte;
        bytes.truncate(length - cut % (length - MAGIC.len()));
        let mut reader = open(&bytes);
        for index in 0..reader.len() {
            reader.exchange(index).unwrap();
        }
    }
}

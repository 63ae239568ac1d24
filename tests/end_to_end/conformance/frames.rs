//! Streams, their states, and frames by their types (RFC 9113, sections 3 to 7).

use super::*;

/// Streams and states (RFC 9113, sections 3 to 5).
pub fn streams() -> Vec<Case> {
    use Due::*;
    let fields = good();
    let (start, rest) = fields.split_at(10);
    let big = frame(
        HEADERS,
        WHOLE,
        1,
        &[&good()[..], &block(&[("x-a", "a".repeat(5000)), ("x-b", "b".repeat(5000)), ("x-c", "c".repeat(7000))])]
            .concat(),
    );
    let mut cases = vec![
        case("3.5", "a preface and settings", Vec::new(), Goes),
        case("4.1", "a frame of an unknown type", frame(0x16, 0, 0, &[0; 8]), Goes),
        case("4.1", "flags that are not defined", frame(PING, 0x16, 0, &[0; 8]), Pong(&[0; 8])),
        case(
            "4.1",
            "the reserved bit",
            {
                let mut ping = frame(PING, 0, 0, &[0; 8]);
                ping[5] = 0x80;
                ping
            },
            Pong(&[0; 8]),
        ),
        case("4.2", "DATA of 2^14 octets", all(&[open(1), data(END_STREAM, 1, &[0; 16_384])]), Answer),
        case("4.2", "DATA beyond the setting", all(&[open(1), data(END_STREAM, 1, &[0; 16_385])]), Stream(&[SIZE])),
        case("4.2", "HEADERS beyond the setting", big, Connection(&[SIZE])),
        case(
            "4.3",
            "a block that cannot be decoded",
            frame(HEADERS, WHOLE, 1, b"\x40\xff\xff\xff\xff\xff"),
            Connection(&[COMPRESSION]),
        ),
        case(
            "4.3",
            "PRIORITY within a head",
            all(&[frame(HEADERS, END_STREAM, 1, start), priority(1, 0), frame(CONTINUATION, END_HEADERS, 1, rest)]),
            Connection(&[PROTOCOL]),
        ),
        case(
            "4.3",
            "HEADERS of another stream within a head",
            all(&[frame(HEADERS, END_STREAM, 1, start), get(3), frame(CONTINUATION, END_HEADERS, 1, rest)]),
            Connection(&[PROTOCOL]),
        ),
        case("5.1", "DATA on an idle stream", data(END_STREAM, 1, b"test"), Connection(&[PROTOCOL])),
        case("5.1", "RST_STREAM on an idle stream", reset(1, 8), Connection(&[PROTOCOL])),
        case("5.1", "WINDOW_UPDATE on an idle stream", window(1, 100), Connection(&[PROTOCOL])),
        case(
            "5.1",
            "CONTINUATION on an idle stream",
            frame(CONTINUATION, END_HEADERS, 1, &good()),
            Connection(&[PROTOCOL]),
        ),
        case("5.1", "DATA half-closed", all(&[get(1), data(END_STREAM, 1, b"test")]), Stream(&[CLOSED])),
        case("5.1", "HEADERS half-closed", all(&[get(1), get(1)]), Stream(&[CLOSED])),
        case(
            "5.1",
            "CONTINUATION half-closed",
            all(&[get(1), frame(CONTINUATION, END_HEADERS, 1, &good())]),
            Connection(&[CLOSED, PROTOCOL]),
        ),
        case(
            "5.1",
            "DATA after RST_STREAM",
            all(&[open(1), reset(1, 8), data(END_STREAM, 1, b"test")]),
            Stream(&[CLOSED]),
        ),
        case("5.1", "HEADERS after RST_STREAM", all(&[open(1), reset(1, 8), get(1)]), Stream(&[CLOSED])),
        case(
            "5.1",
            "CONTINUATION after RST_STREAM",
            all(&[open(1), reset(1, 8), frame(CONTINUATION, END_HEADERS, 1, &good())]),
            Connection(&[CLOSED, PROTOCOL]),
        ),
        parted("5.1", "DATA on a closed stream", vec![get(1), data(END_STREAM, 1, b"test")], Stream(&[CLOSED])),
        parted("5.1", "HEADERS on a closed stream", vec![get(1), get(1)], Connection(&[CLOSED])),
        parted(
            "5.1",
            "CONTINUATION on a closed stream",
            vec![get(1), frame(CONTINUATION, END_HEADERS, 1, &good())],
            Connection(&[CLOSED, PROTOCOL]),
        ),
        parted("5.1", "PRIORITY on a closed stream", vec![get(1), priority(1, 0)], Goes),
        parted("5.1", "WINDOW_UPDATE on a closed stream", vec![get(1), window(1, 1)], Goes),
        parted("5.1", "RST_STREAM on a closed stream", vec![get(1), reset(1, 8)], Goes),
        case("5.1", "PRIORITY on an idle stream", all(&[priority(3, 0), get(1)]), Answer),
        case("5.1.1", "an even stream", head(WHOLE, 2, &[METHOD, SCHEME, AUTHORITY, PATH]), Connection(&[PROTOCOL])),
        parted("5.1.1", "a stream below the last", vec![get(5), get(3)], Connection(&[PROTOCOL])),
        case(
            "5.1.2",
            "more streams than the setting",
            (0..300).flat_map(|n| open(2 * n + 1)).collect(),
            Stream(&[PROTOCOL, REFUSED]),
        ),
        case(
            "5.3.1",
            "HEADERS that depend on themselves",
            frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 255][..], &good()].concat()),
            Stream(&[PROTOCOL]),
        ),
        case("5.3.1", "PRIORITY that depends on itself", priority(1, 1), Stream(&[PROTOCOL])),
        parted(
            "5.4.1",
            "frames after an error of the connection",
            vec![frame(PING, 0, 1, &[0; 8]), frame(PING, 0, 0, &[0; 8])],
            Connection(&[PROTOCOL]),
        ),
        case(
            "5.5",
            "an unknown frame on a stream",
            all(&[open(1), frame(0xff, 0, 1, b"x"), data(END_STREAM, 1, b"a")]),
            Answer,
        ),
        case(
            "5.5",
            "an unknown frame within a head",
            all(&[
                frame(HEADERS, END_STREAM, 1, start),
                frame(0xff, 0, 1, b"x"),
                frame(CONTINUATION, END_HEADERS, 1, rest),
            ]),
            Connection(&[PROTOCOL]),
        ),
    ];
    for (section, name, flags, payload) in [
        ("6.1", "DATA with padding", PADDED | END_STREAM, &b"\x02ab\0\0"[..]),
        ("6.1", "DATA of padding alone", PADDED | END_STREAM, b"\x02\0\0"),
        ("6.1", "DATA without octets", END_STREAM, b""),
    ] {
        cases.push(case(section, name, all(&[open(1), data(flags, 1, payload)]), Answer));
    }
    cases
}

/// Frames by their types (section 6).
pub fn frames() -> Vec<Case> {
    use Due::*;
    let fields = good();
    let (start, rest) = fields.split_at(10);
    vec![
        case("6.1", "DATA on stream 0", data(0, 0, b"test"), Connection(&[PROTOCOL])),
        case("6.1", "padding as long as DATA", all(&[open(1), data(PADDED | END_STREAM, 1, b"\x05test!")]), Answer),
        case(
            "6.1",
            "padding longer than DATA",
            all(&[open(1), data(PADDED | END_STREAM, 1, b"\x06test!")]),
            Connection(&[PROTOCOL]),
        ),
        case(
            "6.2",
            "HEADERS and CONTINUATION",
            all(&[frame(HEADERS, END_STREAM, 1, start), frame(CONTINUATION, END_HEADERS, 1, rest)]),
            Answer,
        ),
        case(
            "6.2",
            "HEADERS with padding",
            frame(HEADERS, WHOLE | PADDED, 1, &[&[3][..], &fields, &[0; 3]].concat()),
            Answer,
        ),
        case(
            "6.2",
            "HEADERS with priority",
            frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 0, 255][..], &fields].concat()),
            Answer,
        ),
        case(
            "6.2",
            "HEADERS with both",
            frame(HEADERS, WHOLE | PADDED | WITH_PRIORITY, 1, &[&[2, 0, 0, 0, 0, 9][..], &fields, &[0; 2]].concat()),
            Answer,
        ),
        case(
            "6.2",
            "a frame other than CONTINUATION within a head",
            all(&[frame(HEADERS, END_STREAM, 1, start), data(END_STREAM, 1, b"a")]),
            Connection(&[PROTOCOL]),
        ),
        case("6.2", "HEADERS on stream 0", frame(HEADERS, WHOLE, 0, &fields), Connection(&[PROTOCOL])),
        case(
            "6.2",
            "padding longer than HEADERS",
            frame(HEADERS, WHOLE | PADDED, 1, &[&[255][..], &fields].concat()),
            Connection(&[PROTOCOL]),
        ),
        case("6.3", "PRIORITY", all(&[priority(1, 0), get(1)]), Answer),
        case("6.3", "PRIORITY on stream 0", priority(0, 1), Connection(&[PROTOCOL])),
        case("6.3", "PRIORITY of another length", all(&[open(1), frame(PRIORITY, 0, 1, &[0; 4])]), Stream(&[SIZE])),
        case("6.4", "RST_STREAM on stream 0", reset(0, 8), Connection(&[PROTOCOL])),
        case("6.4", "RST_STREAM on an idle stream", reset(1, 8), Connection(&[PROTOCOL])),
        case(
            "6.4",
            "RST_STREAM of another length",
            all(&[open(1), frame(RST_STREAM, 0, 1, &[0; 3])]),
            Connection(&[SIZE]),
        ),
        case("6.4", "RST_STREAM of an open stream", all(&[open(1), reset(1, 8)]), Goes),
        case("6.5", "SETTINGS", settings(&[(3, 100)]), SettingsAck),
        case("6.5", "an acknowledgement with a payload", frame(SETTINGS, ACK, 0, &[0]), Connection(&[SIZE])),
        case("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 1]), Connection(&[PROTOCOL])),
        case("6.5", "SETTINGS of another length", frame(SETTINGS, 0, 0, &[0; 5]), Connection(&[SIZE])),
        case("6.5.2", "ENABLE_PUSH of 2", settings(&[(2, 2)]), Connection(&[PROTOCOL])),
        case("6.5.2", "INITIAL_WINDOW_SIZE beyond 2^31 - 1", settings(&[(4, 1 << 31)]), Connection(&[FLOW])),
        case("6.5.2", "MAX_FRAME_SIZE below 2^14", settings(&[(5, 16_383)]), Connection(&[PROTOCOL])),
        case("6.5.2", "MAX_FRAME_SIZE beyond 2^24 - 1", settings(&[(5, 1 << 24)]), Connection(&[PROTOCOL])),
        case("6.5.2", "an unknown setting", settings(&[(0xff, 1)]), SettingsAck),
        case("6.5.3", "a setting twice: the last counts", all(&[settings(&[(4, 100), (4, 1)]), get(1)]), Data(1)),
        case("6.5.3", "the settings before the acknowledgement", settings(&[(1, 0), (3, 1)]), SettingsAck),
        case("6.7", "PING", frame(PING, 0, 0, b"whatever"), Pong(b"whatever")),
        case(
            "6.7",
            "an acknowledgement of no PING",
            all(&[frame(PING, ACK, 0, b"nobody's"), frame(PING, 0, 0, b"whatever")]),
            Pong(b"whatever"),
        ),
        case("6.7", "PING on a stream", frame(PING, 0, 1, &[0; 8]), Connection(&[PROTOCOL])),
        case("6.7", "PING of 6 octets", frame(PING, 0, 0, &[0; 6]), Connection(&[SIZE])),
        case("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(&[PROTOCOL])),
        case("6.8", "GOAWAY", all(&[frame(GOAWAY, 0, 0, &[0; 8]), frame(PING, 0, 0, b"whatever")]), Pong(b"whatever")),
        case("6.9", "WINDOW_UPDATE of a small window", all(&[settings(&[(4, 1)]), get(1)]), Data(1)),
        case("6.9", "WINDOW_UPDATE of the connection", all(&[window(0, 1), get(1)]), Answer),
        case("6.9", "WINDOW_UPDATE of 0", window(0, 0), Connection(&[PROTOCOL])),
        case("6.9", "WINDOW_UPDATE of 0 on a stream", all(&[open(1), window(1, 0)]), Stream(&[PROTOCOL])),
        case("6.9", "WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Connection(&[SIZE])),
        case(
            "6.9.1",
            "a window beyond 2^31 - 1",
            all(&[window(0, 0x7fff_ffff), window(0, 0x7fff_ffff)]),
            Connection(&[FLOW]),
        ),
        case(
            "6.9.1",
            "a stream's window beyond 2^31 - 1",
            all(&[open(1), window(1, 0x7fff_ffff), window(1, 0x7fff_ffff)]),
            Stream(&[FLOW]),
        ),
        parted(
            "6.9.2",
            "a window that grows by SETTINGS",
            vec![all(&[settings(&[(4, 0)]), get(1)]), settings(&[(4, 1)])],
            Data(1),
        ),
        parted(
            "6.9.2",
            "a window below zero",
            vec![all(&[settings(&[(4, 3)]), get(1)]), settings(&[(4, 2)]), window(1, 2)],
            Data(1),
        ),
        case(
            "6.9.2",
            "SETTINGS that overflow a window",
            all(&[open(1), window(1, 0x7fff_0000), settings(&[(4, 0x7fff_ffff)])]),
            Connection(&[FLOW]),
        ),
        case(
            "6.10",
            "two CONTINUATIONs",
            all(&[
                frame(HEADERS, END_STREAM, 1, start),
                frame(CONTINUATION, 0, 1, &rest[..5]),
                frame(CONTINUATION, END_HEADERS, 1, &rest[5..]),
            ]),
            Answer,
        ),
        case(
            "6.10",
            "an empty CONTINUATION",
            all(&[frame(HEADERS, END_STREAM, 1, &fields), frame(CONTINUATION, END_HEADERS, 1, b"")]),
            Answer,
        ),
        case(
            "6.10",
            "DATA before CONTINUATION",
            all(&[frame(HEADERS, 0, 1, start), data(0, 1, b"a"), frame(CONTINUATION, END_HEADERS, 1, rest)]),
            Connection(&[PROTOCOL]),
        ),
        case(
            "6.10",
            "CONTINUATION on stream 0",
            all(&[frame(HEADERS, END_STREAM, 1, start), frame(CONTINUATION, END_HEADERS, 0, rest)]),
            Connection(&[PROTOCOL]),
        ),
        case(
            "6.10",
            "CONTINUATION after a whole head",
            all(&[get(1), frame(CONTINUATION, END_HEADERS, 1, rest)]),
            Connection(&[PROTOCOL, CLOSED]),
        ),
        case(
            "6.10",
            "CONTINUATION after CONTINUATION that ended",
            all(&[
                frame(HEADERS, END_STREAM, 1, start),
                frame(CONTINUATION, END_HEADERS, 1, rest),
                frame(CONTINUATION, END_HEADERS, 1, rest),
            ]),
            Connection(&[PROTOCOL, CLOSED]),
        ),
        case(
            "6.10",
            "CONTINUATION after DATA",
            all(&[open(1), data(0, 1, b"a"), frame(CONTINUATION, END_HEADERS, 1, rest)]),
            Connection(&[PROTOCOL]),
        ),
        case(
            "7",
            "GOAWAY of an unknown code",
            all(&[frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]), frame(PING, 0, 0, b"whatever")]),
            Pong(b"whatever"),
        ),
        case(
            "7",
            "RST_STREAM of an unknown code",
            all(&[open(1), reset(1, 0xff), frame(PING, 0, 0, b"whatever")]),
            Pong(b"whatever"),
        ),
    ]
}

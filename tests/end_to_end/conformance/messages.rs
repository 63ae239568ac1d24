//! Messages (RFC 9113, section 8), their compression (RFC 7541), and how a connection begins.

use super::*;

/// Messages (section 8).
pub fn messages() -> Vec<Case> {
    use Due::*;
    let trailers = |flags, fields: &[Field]| all(&[open(1), data(0, 1, b"test"), head(flags, 1, fields)]);
    let fields = |fields: &[Field]| head(WHOLE, 1, fields);
    let malformed = Stream(&[PROTOCOL]);
    vec![
        case("8.1", "HEADERS", get(1), Answer),
        case("8.1", "HEADERS of HEAD", fields(&[(":method", "HEAD"), SCHEME, AUTHORITY, PATH]), Answer),
        case("8.1", "HEADERS and DATA", all(&[open(1), data(END_STREAM, 1, b"test")]), Answer),
        case("8.1", "DATA in two frames", all(&[open(1), data(0, 1, b"te"), data(END_STREAM, 1, b"st")]), Answer),
        case("8.1", "trailers", trailers(WHOLE, &[("x-a", "1")]), Answer),
        case("8.1", "trailers that do not end the stream", trailers(END_HEADERS, &[("x-a", "1")]), malformed),
        case("8.1.1", "a space in a name", with(&[("x a", "1")]), malformed),
        case("8.2.1", "an upper-case name", with(&[("X-TEST", "ok")]), malformed),
        case("8.2.1", "CR LF in a value", with(&[("x-a", "1\r\nx-b: 2")]), malformed),
        case("8.2.1", "NUL in a value", with(&[("x-a", "\0")]), malformed),
        case("8.2.2", "connection", with(&[("connection", "keep-alive")]), malformed),
        case("8.2.2", "proxy-connection", with(&[("proxy-connection", "keep-alive")]), malformed),
        case("8.2.2", "keep-alive", with(&[("keep-alive", "timeout=1")]), malformed),
        case("8.2.2", "transfer-encoding", with(&[("transfer-encoding", "chunked")]), malformed),
        case("8.2.2", "upgrade", with(&[("upgrade", "h2c")]), malformed),
        case("8.2.2", "te other than trailers", with(&[("trailers", "test"), ("te", "trailers, deflate")]), malformed),
        case("8.2.2", "te: trailers", with(&[("te", "trailers")]), Answer),
        case(
            "8.3",
            "a pseudo-header that is none",
            fields(&[METHOD, SCHEME, AUTHORITY, PATH, (":test", "ok")]),
            malformed,
        ),
        case(
            "8.3",
            "a pseudo-header of a response",
            fields(&[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")]),
            malformed,
        ),
        case("8.3", "a pseudo-header in trailers", trailers(WHOLE, &[(":method", "GET")]), malformed),
        case(
            "8.3",
            "a pseudo-header after a field",
            fields(&[METHOD, SCHEME, AUTHORITY, ("x-a", "1"), PATH]),
            malformed,
        ),
        case("8.3.1", "an empty :path", fields(&[METHOD, SCHEME, AUTHORITY, (":path", "")]), malformed),
        case("8.3.1", "a fragment in :path", fields(&[METHOD, SCHEME, AUTHORITY, (":path", "/a#b")]), malformed),
        case("8.3.1", "no :method", fields(&[SCHEME, AUTHORITY, PATH]), malformed),
        case("8.3.1", "no :scheme", fields(&[METHOD, AUTHORITY, PATH]), malformed),
        case("8.3.1", "no :path", fields(&[METHOD, SCHEME, AUTHORITY]), malformed),
        case("8.3.1", "two :method", fields(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH]), malformed),
        case("8.3.1", "two :scheme", fields(&[METHOD, SCHEME, SCHEME, AUTHORITY, PATH]), malformed),
        case("8.3.1", "two :path", fields(&[METHOD, SCHEME, AUTHORITY, PATH, PATH]), malformed),
        case(
            "8.1.1",
            "less than the length",
            all(&[
                head(END_HEADERS, 1, &[POST, SCHEME, AUTHORITY, PATH, ("content-length", "1")]),
                data(END_STREAM, 1, b"test"),
            ]),
            malformed,
        ),
        case(
            "8.1.1",
            "more than the length",
            all(&[
                head(END_HEADERS, 1, &[POST, SCHEME, AUTHORITY, PATH, ("content-length", "8")]),
                data(END_STREAM, 1, b"test"),
            ]),
            malformed,
        ),
        case(
            "8.1.1",
            "another sum of frames",
            all(&[
                head(END_HEADERS, 1, &[POST, SCHEME, AUTHORITY, PATH, ("content-length", "1")]),
                data(0, 1, b"test"),
                data(END_STREAM, 1, b"test"),
            ]),
            malformed,
        ),
        case(
            "8.4",
            "PUSH_PROMISE",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 3][..], &good()].concat()),
            Connection(&[PROTOCOL]),
        ),
        case("8.1", "POST without a body", head(WHOLE, 1, &[POST, SCHEME, AUTHORITY, PATH]), Answer),
        case("8.1", "a request after another", all(&[get(1), get(3)]), Answer),
    ]
}

/// Header compression (RFC 7541).
pub fn compression() -> Vec<Case> {
    use Due::*;
    let plain = |block: Vec<u8>| frame(HEADERS, WHOLE, 1, &block);
    let then = |more: &[u8]| plain([&good()[..], more].concat());
    let literal = |first: u8| {
        let mut field = vec![first];
        string(b"x-a", &mut field);
        string(b"1", &mut field);
        then(&field)
    };
    // :method GET and :scheme https of the static table; :path / as well.
    let indexed = {
        let mut block = vec![0x82, 0x87, 0x84];
        block.extend(self::block(&[AUTHORITY]));
        plain(block)
    };
    vec![
        case("hpack 2.3", "an index of the static table", indexed, Answer),
        case(
            "hpack 2.3",
            "an index of the dynamic table",
            {
                let mut field = vec![0x40];
                string(b"x-a", &mut field);
                string(b"1", &mut field);
                field.push(0xbe);
                then(&field)
            },
            Answer,
        ),
        case("hpack 2.3.3", "index 0", then(&[0x80]), Connection(&[COMPRESSION])),
        case("hpack 2.3.3", "an index beyond the table", then(&[0xff, 0x30]), Connection(&[COMPRESSION])),
        case(
            "hpack 2.3.3",
            "the name of an index beyond the table",
            then(&[0x7f, 0x30, 1, b'a']),
            Connection(&[COMPRESSION]),
        ),
        case("hpack 4.2", "a table size at the end of a block", then(&[0x20]), Connection(&[COMPRESSION])),
        case(
            "hpack 4.2",
            "two table sizes in front",
            {
                let block = [&[0x20, 0x3f, 0xe1, 0x1f][..], &good()].concat();
                plain(block)
            },
            Answer,
        ),
        case(
            "hpack 5.2",
            "a string in Huffman's code",
            {
                let mut field = vec![0];
                string(b"x-a", &mut field);
                field.extend([0x81, 0x0f]);
                then(&field)
            },
            Answer,
        ),
        case(
            "hpack 5.2",
            "padding of Huffman's code beyond 7 bits",
            {
                let mut field = vec![0];
                string(b"x-a", &mut field);
                field.extend([0x82, 0x0f, 0xff]);
                then(&field)
            },
            Connection(&[COMPRESSION]),
        ),
        case(
            "hpack 5.2",
            "padding of Huffman's code with zeros",
            {
                let mut field = vec![0];
                string(b"x-a", &mut field);
                field.extend([0x81, 0x08]);
                then(&field)
            },
            Connection(&[COMPRESSION]),
        ),
        case(
            "hpack 5.2",
            "EOS in Huffman's code",
            {
                let mut field = vec![0];
                string(b"x-a", &mut field);
                field.extend([0x84, 0xff, 0xff, 0xff, 0xff]);
                then(&field)
            },
            Connection(&[COMPRESSION]),
        ),
        case("hpack 6.1", "index 0 beside good fields", then(&[0x82, 0x80]), Connection(&[COMPRESSION])),
        case("hpack 6.2.1", "a literal with indexing", literal(0x40), Answer),
        case("hpack 6.2.2", "a literal without indexing", literal(0x00), Answer),
        case("hpack 6.2.3", "a literal that is never indexed", literal(0x10), Answer),
        case(
            "hpack 6.3",
            "a table beyond the setting",
            plain([&[0x3f, 0xe2, 0x1f][..], &good()].concat()),
            Connection(&[COMPRESSION]),
        ),
        case("hpack 5.1", "an integer without end", then(&[0xff; 16]), Connection(&[COMPRESSION])),
        case("hpack 5.2", "a string longer than the block", then(&[0x00, 0x7f, 0x20]), Connection(&[COMPRESSION])),
    ]
}

/// What is sent in place of a preface and settings.
pub fn prefaces() -> Vec<Case> {
    let settled = frame(SETTINGS, 0, 0, &[]);
    vec![
        case("3.4", "no preface", b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec(), Due::Connection(&[PROTOCOL])),
        case(
            "3.4",
            "a preface without settings",
            [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(),
            Due::Connection(&[PROTOCOL]),
        ),
        case("3.4", "a frame in place of a preface", settled, Due::Connection(&[PROTOCOL])),
    ]
}

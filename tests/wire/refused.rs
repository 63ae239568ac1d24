//! Malformed messages, each refused, and legal oddities, each taken.

use bytes::BytesMut;
use divulge::wire::{BodyReader, ForwardRequest, Framing, Limits, Progress, RequestHead, ResponseHead};

use crate::common::{cuts, forwarded, request, response, response_to, shown};

/// Says of every case what went wrong, all at once.
fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Requests whose head is refused: status, and the bytes. `H` stands for a good `Host` line.
const REQUESTS: &[(u16, &str, &str)] = &[
    // Request line.
    (400, "no method", " / HTTP/1.1\r\nH\r\n"),
    (400, "only spaces", "   \r\nH\r\n"),
    (400, "a method that is no token", "GE(T / HTTP/1.1\r\nH\r\n"),
    (400, "a method with a colon", "GET: / HTTP/1.1\r\nH\r\n"),
    (400, "a method with NUL", "G\0T / HTTP/1.1\r\nH\r\n"),
    (400, "a method in UTF-8", "G\u{c9}T / HTTP/1.1\r\nH\r\n"),
    (400, "a method after a space", " GET / HTTP/1.1\r\nH\r\n"),
    (400, "a tab after the method", "GET\t/ HTTP/1.1\r\nH\r\n"),
    (400, "two spaces after the method", "GET  / HTTP/1.1\r\nH\r\n"),
    (400, "two spaces in front of the version", "GET /  HTTP/1.1\r\nH\r\n"),
    (400, "a tab in front of the version", "GET /\tHTTP/1.1\r\nH\r\n"),
    (400, "a space after the version", "GET / HTTP/1.1 \r\nH\r\n"),
    (400, "a fourth word", "GET / HTTP/1.1 x\r\nH\r\n"),
    (400, "no target", "GET HTTP/1.1\r\nH\r\n"),
    (400, "no version", "GET /\r\nH\r\n"),
    (400, "no version and nothing else", "GET /\r\n\r\n"),
    (
        501,
        "a method without end",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nH\r\n",
    ),
    (501, "connect in lower case", "connect a.example.com:443 HTTP/1.1\r\nH\r\n"),
    (501, "Head in mixed case", "Head / HTTP/1.1\r\nH\r\n"),
    (400, "two empty lines in front", "\r\n\r\nGET / HTTP/1.1\r\nH\r\n"),
    (400, "a bare line feed in front", "\nGET / HTTP/1.1\r\nH\r\n"),
    (400, "a TLS record", "\u{16}\u{3}\u{1}\0\u{80}\u{1}\0\0{"),
    (400, "an SSH banner", "SSH-2.0-OpenSSH_9.6\r\n"),
    // Version.
    (505, "the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (505, "HTTP/2.0", "GET / HTTP/2.0\r\nH\r\n"),
    (505, "HTTP/3.0", "GET / HTTP/3.0\r\nH\r\n"),
    (505, "HTTP/1.2", "GET / HTTP/1.2\r\nH\r\n"),
    (505, "HTTP/0.9", "GET / HTTP/0.9\r\nH\r\n"),
    (400, "HTTP/1.10", "GET / HTTP/1.10\r\nH\r\n"),
    (400, "HTTP/1.01", "GET / HTTP/1.01\r\nH\r\n"),
    (400, "HTTP/01.1", "GET / HTTP/01.1\r\nH\r\n"),
    (400, "HTTP/1", "GET / HTTP/1\r\nH\r\n"),
    (400, "HTTP/1.", "GET / HTTP/1.\r\nH\r\n"),
    (400, "HTTP/.1", "GET / HTTP/.1\r\nH\r\n"),
    (400, "HTTP/11", "GET / HTTP/11\r\nH\r\n"),
    (400, "HTTP/1,1", "GET / HTTP/1,1\r\nH\r\n"),
    (400, "HTTP/1.1x", "GET / HTTP/1.1x\r\nH\r\n"),
    (400, "HTTP 1.1", "GET / HTTP 1.1\r\nH\r\n"),
    (400, "HTTP/ 1.1", "GET / HTTP/ 1.1\r\nH\r\n"),
    (400, "http/1.1", "GET / http/1.1\r\nH\r\n"),
    (400, "HTTPS/1.1", "GET / HTTPS/1.1\r\nH\r\n"),
    (400, "HTTP/-1.1", "GET / HTTP/-1.1\r\nH\r\n"),
    (400, "ICAP/1.0", "REQMOD / ICAP/1.0\r\nH\r\n"),
    (400, "RTSP/1.0", "OPTIONS * RTSP/1.0\r\nH\r\n"),
    // Target.
    (400, "a fragment", "GET /#a HTTP/1.1\r\nH\r\n"),
    (400, "a fragment in a URL", "GET http://a.example.com/#a HTTP/1.1\r\nH\r\n"),
    (400, "NUL in the target", "GET /\0 HTTP/1.1\r\nH\r\n"),
    (400, "a control byte in the target", "GET /\u{1} HTTP/1.1\r\nH\r\n"),
    (400, "DEL in the target", "GET /\u{7f} HTTP/1.1\r\nH\r\n"),
    (400, "UTF-8 in the target", "GET /\u{e4} HTTP/1.1\r\nH\r\n"),
    (400, "a space in the target", "GET /a b HTTP/1.1\r\nH\r\n"),
    (400, "a bare CR in the target", "GET /a\rb HTTP/1.1\r\nH\r\n"),
    (400, "a relative target", "GET a HTTP/1.1\r\nH\r\n"),
    (400, "a query alone", "GET ?a HTTP/1.1\r\nH\r\n"),
    (400, "a host as target", "GET a.example.com HTTP/1.1\r\nH\r\n"),
    (400, "host and port as target of GET", "GET a.example.com:443 HTTP/1.1\r\nH\r\n"),
    (400, "an asterisk with GET", "GET * HTTP/1.1\r\nH\r\n"),
    (400, "an asterisk and more", "OPTIONS *a HTTP/1.1\r\nH\r\n"),
    (400, "another scheme", "GET ftp://a.example.com/ HTTP/1.1\r\nH\r\n"),
    (400, "a scheme without slashes", "GET http:a.example.com HTTP/1.1\r\nH\r\n"),
    (400, "a URL without a host", "GET http:///a HTTP/1.1\r\nH\r\n"),
    (400, "a URL with a port alone", "GET http://:80/ HTTP/1.1\r\nH\r\n"),
    (400, "a URL with a user", "GET http://u:p@a.example.com/ HTTP/1.1\r\nH\r\n"),
    (400, "a URL with a bad port", "GET http://a.example.com:x/ HTTP/1.1\r\nH\r\n"),
    (400, "a URL with a backslash", "GET http://a.example.com\\@b.example.com/ HTTP/1.1\r\nH\r\n"),
    (400, "a URL of another host", "GET http://b.example.com/ HTTP/1.1\r\nH\r\n"),
    (400, "a URL of another port", "GET http://a.example.com:81/ HTTP/1.1\r\nH\r\n"),
    (400, "an https URL against port 80", "GET https://a.example.com/ HTTP/1.1\r\nHost: a.example.com:80\r\n\r\n"),
    // CONNECT.
    (400, "CONNECT without a port", "CONNECT a.example.com HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT with an empty port", "CONNECT a.example.com: HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT with port 0", "CONNECT a.example.com:0 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT with too high a port", "CONNECT a.example.com:65536 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT with a signed port", "CONNECT a.example.com:+443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT with a padded port", "CONNECT a.example.com:0443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT without a host", "CONNECT :443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT with a user", "CONNECT u@a.example.com:443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT with a path", "CONNECT a.example.com:443/ HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT to a path", "CONNECT /a HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT to a URL", "CONNECT https://a.example.com:443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT to an asterisk", "CONNECT * HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT to a bare IPv6 address", "CONNECT ::1:443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT to an address with a zone", "CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT to two hosts", "CONNECT a.example.com:443,b.example.com:443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT and another host", "CONNECT b.example.com:443 HTTP/1.1\r\nH\r\n"),
    (400, "CONNECT and another port", "CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:80\r\n\r\n"),
    (400, "CONNECT with a body", "CONNECT a.example.com:443 HTTP/1.1\r\nHContent-Length: 3\r\n\r\nabc"),
    (400, "CONNECT with chunks", "CONNECT a.example.com:443 HTTP/1.1\r\nHTransfer-Encoding: chunked\r\n\r\n"),
    (400, "TRACE with a body", "TRACE / HTTP/1.1\r\nHContent-Length: 3\r\n\r\nabc"),
    // Host.
    (400, "no host", "GET / HTTP/1.1\r\nA: 1\r\n\r\n"),
    (400, "no field at all", "GET / HTTP/1.1\r\n\r\n"),
    (400, "no host beside a URL", "GET http://a.example.com/ HTTP/1.1\r\n\r\n"),
    (400, "two hosts", "GET / HTTP/1.1\r\nHHost: b.example.com\r\n\r\n"),
    (400, "the same host twice", "GET / HTTP/1.1\r\nHH\r\n"),
    (400, "two hosts in two cases", "GET / HTTP/1.1\r\nHhOsT: a.example.com\r\n\r\n"),
    (400, "two hosts far apart", "GET / HTTP/1.1\r\nHA: 1\r\nB: 2\r\nHost: a.example.com\r\n\r\n"),
    (400, "an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    (400, "a host of spaces", "GET / HTTP/1.1\r\nHost:   \r\n\r\n"),
    (400, "a list of hosts", "GET / HTTP/1.1\r\nHost: a.example.com, b.example.com\r\n\r\n"),
    (400, "a list of hosts without a space", "GET / HTTP/1.1\r\nHost: a.example.com,b.example.com\r\n\r\n"),
    (400, "hosts with a space", "GET / HTTP/1.1\r\nHost: a.example.com b.example.com\r\n\r\n"),
    (400, "a host with a user", "GET / HTTP/1.1\r\nHost: u@a.example.com\r\n\r\n"),
    (400, "a host with a path", "GET / HTTP/1.1\r\nHost: a.example.com/x\r\n\r\n"),
    (400, "a host with a scheme", "GET / HTTP/1.1\r\nHost: http://a.example.com\r\n\r\n"),
    (400, "a host with a query", "GET / HTTP/1.1\r\nHost: a.example.com?x\r\n\r\n"),
    (400, "a host with a backslash", "GET / HTTP/1.1\r\nHost: a.example.com\\x\r\n\r\n"),
    (400, "a host in UTF-8", "GET / HTTP/1.1\r\nHost: \u{e4}.example.com\r\n\r\n"),
    (400, "a percent-encoded host", "GET / HTTP/1.1\r\nHost: a%2eexample.com\r\n\r\n"),
    (400, "a host in quotes", "GET / HTTP/1.1\r\nHost: \"a.example.com\"\r\n\r\n"),
    (400, "an empty label", "GET / HTTP/1.1\r\nHost: a..example.com\r\n\r\n"),
    (400, "a port that is no number", "GET / HTTP/1.1\r\nHost: a.example.com:http\r\n\r\n"),
    (400, "an empty port", "GET / HTTP/1.1\r\nHost: a.example.com:\r\n\r\n"),
    (400, "a negative port", "GET / HTTP/1.1\r\nHost: a.example.com:-1\r\n\r\n"),
    (400, "two ports", "GET / HTTP/1.1\r\nHost: a.example.com:80:81\r\n\r\n"),
    (400, "a port out of range", "GET / HTTP/1.1\r\nHost: a.example.com:70000\r\n\r\n"),
    (400, "an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    (400, "IPv6 without brackets", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
    (400, "something behind a bracket", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"),
    (400, "a bad host in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n"),
    // Field lines.
    (400, "a folded value", "GET / HTTP/1.1\r\nHA: 1\r\n 2\r\n\r\n"),
    (400, "a value folded with a tab", "GET / HTTP/1.1\r\nHA: 1\r\n\t2\r\n\r\n"),
    (400, "a fold of spaces alone", "GET / HTTP/1.1\r\nHA: 1\r\n  \r\n\r\n"),
    (400, "a folded first line", "GET / HTTP/1.1\r\n A: 1\r\nH\r\n"),
    (400, "a folded host", "GET / HTTP/1.1\r\nHost: a.example.com\r\n b\r\n\r\n"),
    (400, "a folded transfer coding", "POST / HTTP/1.1\r\nHTransfer-Encoding:\r\n chunked\r\n\r\n"),
    (400, "a space in front of a colon", "GET / HTTP/1.1\r\nHA : 1\r\n\r\n"),
    (400, "a tab in front of a colon", "GET / HTTP/1.1\r\nHA\t: 1\r\n\r\n"),
    (400, "a space in front of the colon of a length", "POST / HTTP/1.1\r\nHContent-Length : 3\r\n\r\nabc"),
    (400, "a space in front of the colon of a coding", "POST / HTTP/1.1\r\nHTransfer-Encoding : chunked\r\n\r\n"),
    (400, "a space in a name", "GET / HTTP/1.1\r\nHA B: 1\r\n\r\n"),
    (400, "a line without a colon", "GET / HTTP/1.1\r\nHA\r\n\r\n"),
    (400, "a line without a name", "GET / HTTP/1.1\r\nH: 1\r\n\r\n"),
    (400, "a name with a parenthesis", "GET / HTTP/1.1\r\nHA(: 1\r\n\r\n"),
    (400, "a name with a slash", "GET / HTTP/1.1\r\nHA/b: 1\r\n\r\n"),
    (400, "a name with quotes", "GET / HTTP/1.1\r\nH\"A\": 1\r\n\r\n"),
    (400, "a name with a semicolon", "GET / HTTP/1.1\r\nHA;b: 1\r\n\r\n"),
    (400, "a name with an equals sign", "GET / HTTP/1.1\r\nHA=b: 1\r\n\r\n"),
    (400, "a name with a bracket", "GET / HTTP/1.1\r\nHA[b]: 1\r\n\r\n"),
    (400, "a name with NUL", "GET / HTTP/1.1\r\nHA\0: 1\r\n\r\n"),
    (400, "a name with a control byte", "GET / HTTP/1.1\r\nHA\u{8}: 1\r\n\r\n"),
    (400, "a name with DEL", "GET / HTTP/1.1\r\nHA\u{7f}: 1\r\n\r\n"),
    (400, "a name in UTF-8", "GET / HTTP/1.1\r\nH\u{c4}: 1\r\n\r\n"),
    (400, "a pseudo-field", "GET / HTTP/1.1\r\nH:method: GET\r\n\r\n"),
    (400, "NUL in a value", "GET / HTTP/1.1\r\nHA: 1\0\r\n\r\n"),
    (400, "a control byte in a value", "GET / HTTP/1.1\r\nHA: \u{1}\r\n\r\n"),
    (400, "an escape in a value", "GET / HTTP/1.1\r\nHA: \u{1b}[2J\r\n\r\n"),
    (400, "a vertical tab in a value", "GET / HTTP/1.1\r\nHA: \u{b}1\r\n\r\n"),
    (400, "a form feed in a value", "GET / HTTP/1.1\r\nHA: 1\u{c}\r\n\r\n"),
    (400, "DEL in a value", "GET / HTTP/1.1\r\nHA: \u{7f}\r\n\r\n"),
    (400, "a bare CR in a value", "GET / HTTP/1.1\r\nHA: 1\r2\r\n\r\n"),
    (400, "a bare CR in front of a value", "GET / HTTP/1.1\r\nHA:\r1\r\n\r\n"),
    (400, "CR CR LF", "GET / HTTP/1.1\r\nHA: 1\r\r\n\r\n"),
    (400, "a bare CR in a name", "GET / HTTP/1.1\r\nHA\rB: 1\r\n\r\n"),
    (400, "a bare CR as empty line", "GET / HTTP/1.1\r\nH\r\r\n"),
    (400, "LF alone everywhere", "GET / HTTP/1.1\nHost: a.example.com\n\n"),
    (400, "LF alone after the request line", "GET / HTTP/1.1\nH\r\n"),
    (400, "LF alone after a field", "GET / HTTP/1.1\r\nHA: 1\nB: 2\r\n\r\n"),
    (400, "LF alone as empty line", "GET / HTTP/1.1\r\nH\n"),
    (400, "LF in front of CR LF", "GET / HTTP/1.1\r\nHA: 1\n\r\n"),
    (400, "CR alone everywhere", "GET / HTTP/1.1\rHost: a.example.com\r\r"),
    // Lengths.
    (400, "a length with a plus", "POST / HTTP/1.1\r\nHContent-Length: +3\r\n\r\nabc"),
    (400, "a negative length", "POST / HTTP/1.1\r\nHContent-Length: -3\r\n\r\nabc"),
    (400, "a negative zero", "POST / HTTP/1.1\r\nHContent-Length: -0\r\n\r\n"),
    (400, "a length with a leading zero", "POST / HTTP/1.1\r\nHContent-Length: 03\r\n\r\nabc"),
    (400, "two zeros", "POST / HTTP/1.1\r\nHContent-Length: 00\r\n\r\n"),
    (400, "a hexadecimal length", "POST / HTTP/1.1\r\nHContent-Length: 0x3\r\n\r\nabc"),
    (400, "a fractional length", "POST / HTTP/1.1\r\nHContent-Length: 3.0\r\n\r\nabc"),
    (400, "a length with an exponent", "POST / HTTP/1.1\r\nHContent-Length: 3e0\r\n\r\nabc"),
    (400, "an empty length", "POST / HTTP/1.1\r\nHContent-Length:\r\n\r\n"),
    (400, "a list of equal lengths", "POST / HTTP/1.1\r\nHContent-Length: 3, 3\r\n\r\nabc"),
    (400, "a list of lengths", "POST / HTTP/1.1\r\nHContent-Length: 3,4\r\n\r\nabc"),
    (400, "a length and a comma", "POST / HTTP/1.1\r\nHContent-Length: 3,\r\n\r\nabc"),
    (400, "equal lengths", "POST / HTTP/1.1\r\nHContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    (400, "different lengths", "POST / HTTP/1.1\r\nHContent-Length: 3\r\ncontent-length: 4\r\n\r\nabc"),
    (400, "a length with a space inside", "POST / HTTP/1.1\r\nHContent-Length: 3 3\r\n\r\nabc"),
    (400, "a length in quotes", "POST / HTTP/1.1\r\nHContent-Length: \"3\"\r\n\r\nabc"),
    (400, "a length with a unit", "POST / HTTP/1.1\r\nHContent-Length: 3b\r\n\r\nabc"),
    (400, "a length with a semicolon", "POST / HTTP/1.1\r\nHContent-Length: 3;\r\n\r\nabc"),
    (400, "a length with an underscore", "POST / HTTP/1.1\r\nHContent-Length: 1_0\r\n\r\nabc"),
    (400, "a length of letters", "POST / HTTP/1.1\r\nHContent-Length: abc\r\n\r\nabc"),
    (400, "a length in other digits", "POST / HTTP/1.1\r\nHContent-Length: \u{663}\r\n\r\nabc"),
    (400, "a length of 64 bits and more", "POST / HTTP/1.1\r\nHContent-Length: 18446744073709551619\r\n\r\nabc"),
    (400, "a length of 63 bits and more", "POST / HTTP/1.1\r\nHContent-Length: 9223372036854775808\r\n\r\nabc"),
    (400, "a length with an underscore in its name", "POST / HTTP/1.1\r\nHContent_Length: 3\r\n\r\nabc"),
    // Transfer codings.
    (400, "a length beside chunks", "POST / HTTP/1.1\r\nHContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (400, "chunks beside a length", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
    (400, "chunks beside a zero length", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
    (400, "chunked twice", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (400, "chunked twice in a list", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked, chunked\r\n\r\n"),
    (
        400,
        "chunked and identity",
        "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
    ),
    (
        400,
        "identity and chunked",
        "POST / HTTP/1.1\r\nHTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (400, "identity", "POST / HTTP/1.1\r\nHTransfer-Encoding: identity\r\n\r\n"),
    (400, "chunked, identity", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked, identity\r\n\r\n"),
    (501, "identity, chunked", "POST / HTTP/1.1\r\nHTransfer-Encoding: identity, chunked\r\n\r\n"),
    (501, "gzip, chunked", "POST / HTTP/1.1\r\nHTransfer-Encoding: gzip, chunked\r\n\r\n"),
    (400, "gzip", "POST / HTTP/1.1\r\nHTransfer-Encoding: gzip\r\n\r\n"),
    (400, "chunked, gzip", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked, gzip\r\n\r\n"),
    (400, "an empty coding", "POST / HTTP/1.1\r\nHTransfer-Encoding:\r\n\r\n"),
    (400, "an empty element behind", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked,\r\n\r\n"),
    (400, "an empty element in front", "POST / HTTP/1.1\r\nHTransfer-Encoding: ,chunked\r\n\r\n"),
    (400, "xchunked", "POST / HTTP/1.1\r\nHTransfer-Encoding: xchunked\r\n\r\n"),
    (400, "chunkedx", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunkedx\r\n\r\n"),
    (400, "chunk", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunk\r\n\r\n"),
    (400, "chunked with a parameter", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked;q=1\r\n\r\n"),
    (400, "chunked in quotes", "POST / HTTP/1.1\r\nHTransfer-Encoding: \"chunked\"\r\n\r\n"),
    (400, "chunked behind a vertical tab", "POST / HTTP/1.1\r\nHTransfer-Encoding: \u{b}chunked\r\n\r\n"),
    (400, "chunked in front of a form feed", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\u{c}\r\n\r\n"),
    (400, "chunked and NUL", "POST / HTTP/1.1\r\nHTransfer-Encoding: chunked\0\r\n\r\n"),
    (400, "chunked behind a no-break space", "POST / HTTP/1.1\r\nHTransfer-Encoding: \u{a0}chunked\r\n\r\n"),
    (400, "c hunked", "POST / HTTP/1.1\r\nHTransfer-Encoding: c hunked\r\n\r\n"),
    (400, "chunked with a Kelvin sign", "POST / HTTP/1.1\r\nHTransfer-Encoding: chun\u{212a}ed\r\n\r\n"),
    (400, "chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHTransfer-Encoding: chunked\r\n\r\n"),
    (400, "a coding with an underscore in its name", "POST / HTTP/1.1\r\nHTransfer_Encoding: chunked\r\n\r\n"),
    // Steering.
    (417, "another expectation", "POST / HTTP/1.1\r\nHExpect: 200-ok\r\nContent-Length: 3\r\n\r\n"),
    (417, "an empty expectation", "POST / HTTP/1.1\r\nHExpect:\r\nContent-Length: 3\r\n\r\n"),
    (417, "two expectations", "POST / HTTP/1.1\r\nHExpect: 100-continue, x\r\nContent-Length: 3\r\n\r\n"),
    (417, "the same expectation twice", "POST / HTTP/1.1\r\nHExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n"),
    (417, "an expectation with a parameter", "POST / HTTP/1.1\r\nHExpect: 100-continue;x\r\n\r\n"),
    (
        400,
        "connection names the length",
        "POST / HTTP/1.1\r\nHConnection: content-length\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        400,
        "connection names the coding",
        "POST / HTTP/1.1\r\nHConnection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (400, "connection names the host", "GET / HTTP/1.1\r\nHConnection: Host\r\n\r\n"),
    (400, "connection names the expectation", "POST / HTTP/1.1\r\nHConnection: expect\r\nExpect: 100-continue\r\n\r\n"),
    (400, "connection is no list of tokens", "GET / HTTP/1.1\r\nHConnection: a b\r\n\r\n"),
    (400, "connection in quotes", "GET / HTTP/1.1\r\nHConnection: \"close\"\r\n\r\n"),
];

fn spelled(text: &str) -> Vec<u8> {
    // `H` is a placeholder only at the start of a line.
    let mut lines = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        while let Some(after) =
            rest.strip_prefix('H').filter(|_| index > 0 && !rest.starts_with("Host") && !rest.starts_with("HTTP"))
        {
            lines.extend_from_slice(b"Host: a.example.com\r\n");
            rest = after;
        }
        lines.extend_from_slice(rest.as_bytes());
    }
    lines
}

#[test]
fn malformed_requests_are_refused_however_they_arrive() {
    let mut failures = Vec::new();
    for (status, what, text) in REQUESTS {
        let bytes = spelled(text);
        match RequestHead::parse(&mut BytesMut::from(&bytes[..]), &Limits::default()) {
            Err(error) if error.status == *status => {}
            other => failures.push(format!("{what}: expected {status}, found {other:?} for {}", shown(&bytes))),
        }
        for pieces in cuts(&bytes) {
            let mut buffer = BytesMut::new();
            let refused = pieces.iter().any(|piece| {
                buffer.extend_from_slice(piece);
                RequestHead::parse(&mut buffer, &Limits::default()).is_err()
            });
            if !refused {
                failures.push(format!("{what}: taken when cut into {} pieces", pieces.len()));
            }
        }
    }
    report(&failures);
}

/// Responses to GET whose head is refused, all with 502.
const RESPONSES: &[(&str, &str)] = &[
    ("an empty line in front", "\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ("a space in front", " HTTP/1.1 200 OK\r\n\r\n"),
    ("what a body left over", "lo HTTP/1.1 200 OK\r\n\r\n"),
    ("no version", "200 OK\r\n\r\n"),
    ("HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n"),
    ("HTTP/2", "HTTP/2 200 OK\r\n\r\n"),
    ("HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n"),
    ("HTTP/0.9", "HTTP/0.9 200 OK\r\n\r\n"),
    ("HTTP/1.10", "HTTP/1.10 200 OK\r\n\r\n"),
    ("http/1.1", "http/1.1 200 OK\r\n\r\n"),
    ("ICY", "ICY 200 OK\r\n\r\n"),
    ("HTML", "<html></html>\r\n\r\n"),
    ("a request", "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"),
    ("two spaces in front of the status", "HTTP/1.1  200 OK\r\n\r\n"),
    ("a tab in front of the status", "HTTP/1.1\t200 OK\r\n\r\n"),
    ("no status", "HTTP/1.1 OK\r\n\r\n"),
    ("two digits", "HTTP/1.1 20 OK\r\n\r\n"),
    ("four digits", "HTTP/1.1 2000 OK\r\n\r\n"),
    ("a status below 100", "HTTP/1.1 099 OK\r\n\r\n"),
    ("status 000", "HTTP/1.1 000 OK\r\n\r\n"),
    ("a negative status", "HTTP/1.1 -20 OK\r\n\r\n"),
    ("a signed status", "HTTP/1.1 +20 OK\r\n\r\n"),
    ("a hexadecimal status", "HTTP/1.1 2a0 OK\r\n\r\n"),
    ("a reason without a space", "HTTP/1.1 200OK\r\n\r\n"),
    ("no space after the status", "HTTP/1.1 200\r\n\r\n"),
    ("NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"),
    ("a bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n"),
    ("an escape in the reason", "HTTP/1.1 200 \u{1b}[2J\r\n\r\n"),
    ("LF alone everywhere", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    ("LF alone after the status line", "HTTP/1.1 200 OK\nA: 1\r\n\r\n"),
    ("LF alone after a field", "HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\r\n"),
    ("LF alone as empty line", "HTTP/1.1 200 OK\r\nA: 1\r\n\n"),
    ("CR alone", "HTTP/1.1 200 OK\rA: 1\r\r"),
    ("CR CR LF", "HTTP/1.1 200 OK\r\nA: 1\r\r\n\r\n"),
    ("a folded value", "HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n"),
    ("a folded first line", "HTTP/1.1 200 OK\r\n A: 1\r\n\r\n"),
    ("a folded coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n"),
    ("a space in front of a colon", "HTTP/1.1 200 OK\r\nA : 1\r\n\r\n"),
    ("a tab in front of a colon", "HTTP/1.1 200 OK\r\nContent-Length\t: 1\r\n\r\nx"),
    ("a line without a colon", "HTTP/1.1 200 OK\r\nA\r\n\r\n"),
    ("a line without a name", "HTTP/1.1 200 OK\r\n: 1\r\n\r\n"),
    ("a space in a name", "HTTP/1.1 200 OK\r\nA B: 1\r\n\r\n"),
    ("a name with a slash", "HTTP/1.1 200 OK\r\nA/B: 1\r\n\r\n"),
    ("a name in UTF-8", "HTTP/1.1 200 OK\r\n\u{c4}: 1\r\n\r\n"),
    ("NUL in a name", "HTTP/1.1 200 OK\r\nA\0: 1\r\n\r\n"),
    ("NUL in a value", "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"),
    ("DEL in a value", "HTTP/1.1 200 OK\r\nA: \u{7f}\r\n\r\n"),
    ("a bare CR in a value", "HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\n\r\n"),
    ("a length beside chunks", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("chunks beside a length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
    ("both with 304", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
    ("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("chunked, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
    ("gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    ("gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n"),
    ("an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n"),
    ("an empty coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n\r\n"),
    ("chunked behind a vertical tab", "HTTP/1.1 200 OK\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n"),
    ("equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    ("different lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc"),
    ("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc"),
    ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    ("a padded length", "HTTP/1.1 200 OK\r\nContent-Length: 003\r\n\r\nabc"),
    ("an empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"),
    ("a huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    ("a bad length with 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n"),
    ("a body with 204", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
    ("chunks with 204", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a body with 100", "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc"),
    ("chunks with 103", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("a 101 nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("connection names the length", "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 3\r\n\r\nabc"),
    ("connection is no list of tokens", "HTTP/1.1 200 OK\r\nConnection: a b\r\n\r\n"),
];

#[test]
fn malformed_responses_are_refused_however_they_arrive() {
    let mut failures = Vec::new();
    for (what, text) in RESPONSES {
        for pieces in cuts(text.as_bytes()) {
            let mut buffer = BytesMut::new();
            let status = pieces.iter().find_map(|piece| {
                buffer.extend_from_slice(piece);
                ResponseHead::parse(&mut buffer, "GET", false, &Limits::default()).err()
            });
            if status.map(|error| error.status) != Some(502) {
                failures.push(format!("{what}: {status:?} when cut into {} pieces", pieces.len()));
            }
        }
    }
    for rest in [
        "",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
    ] {
        let text = format!("HTTP/1.1 101 Switching Protocols\r\n{rest}\r\n");
        if response_to("GET", true, text.as_bytes()).is_ok() {
            failures.push(format!("a 101 that is no switch to WebSocket: {rest}"));
        }
    }
    report(&failures);
}

/// Chunked bodies that are refused.
const CHUNKED: &[(&str, &str)] = &[
    ("no size", "\r\nabc\r\n0\r\n\r\n"),
    ("a space in front of a size", " 3\r\nabc\r\n0\r\n\r\n"),
    ("a space behind a size", "3 \r\nabc\r\n0\r\n\r\n"),
    ("a tab behind a size", "3\t\r\nabc\r\n0\r\n\r\n"),
    ("a plus", "+3\r\nabc\r\n0\r\n\r\n"),
    ("a minus", "-3\r\nabc\r\n0\r\n\r\n"),
    ("0x", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("a letter beyond f", "g\r\nabc\r\n0\r\n\r\n"),
    ("an underscore", "1_0\r\nabc\r\n0\r\n\r\n"),
    ("a fraction", "3.0\r\nabc\r\n0\r\n\r\n"),
    ("a comma", "3,3\r\nabc\r\n0\r\n\r\n"),
    ("NUL", "3\0\r\nabc\r\n0\r\n\r\n"),
    ("other digits", "\u{663}\r\nabc\r\n0\r\n\r\n"),
    ("17 digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("64 bits", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    ("63 bits", "8000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("more than 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("LF alone after a size", "3\nabc\r\n0\r\n\r\n"),
    ("CR alone after a size", "3\rabc\r\n0\r\n\r\n"),
    ("CR CR LF after a size", "3\r\r\nabc\r\n0\r\n\r\n"),
    ("LF alone after data", "3\r\nabc\n0\r\n\r\n"),
    ("CR alone after data", "3\r\nabc\r0\r\n\r\n"),
    ("nothing after data", "3\r\nabc0\r\n\r\n"),
    ("more data than said", "3\r\nabcd\r\n0\r\n\r\n"),
    ("less data than said", "4\r\nabc\r\n0\r\n\r\n"),
    ("an extension without a name", "3;\r\nabc\r\n0\r\n\r\n"),
    ("an extension of a space", "3; \r\nabc\r\n0\r\n\r\n"),
    ("a space in front of an extension", "3 ;a\r\nabc\r\n0\r\n\r\n"),
    ("a space behind a semicolon", "3; a\r\nabc\r\n0\r\n\r\n"),
    ("a space around an equals sign", "3;a =b\r\nabc\r\n0\r\n\r\n"),
    ("an extension without a value", "3;a=\r\nabc\r\n0\r\n\r\n"),
    ("an extension with two values", "3;a=b=c\r\nabc\r\n0\r\n\r\n"),
    ("an extension with a value alone", "3;=b\r\nabc\r\n0\r\n\r\n"),
    ("an open quote", "3;a=\"b\r\nabc\r\n0\r\n\r\n"),
    ("something behind a quote", "3;a=\"b\"c\r\nabc\r\n0\r\n\r\n"),
    ("LF in an extension", "3;a\nabc\r\n0\r\n\r\n"),
    ("LF in a quoted extension", "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n"),
    ("CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("NUL in an extension", "3;a\0\r\nabc\r\n0\r\n\r\n"),
    ("UTF-8 in an extension", "3;\u{e4}\r\nabc\r\n0\r\n\r\n"),
    ("LF alone after the last size", "3\r\nabc\r\n0\n\r\n"),
    ("LF alone at the end", "3\r\nabc\r\n0\r\n\n"),
    ("CR alone at the end", "3\r\nabc\r\n0\r\n\rx"),
    ("a trailer without a colon", "0\r\nabc\r\n\r\n"),
    ("a trailer without a name", "0\r\n: x\r\n\r\n"),
    ("a folded trailer", "0\r\nA: 1\r\n 2\r\n\r\n"),
    ("a trailer folded at once", "0\r\n A: 1\r\n\r\n"),
    ("a trailer with a space in front of its colon", "0\r\nA : 1\r\n\r\n"),
    ("a trailer that ends in LF", "0\r\nA: 1\n\r\n"),
    ("NUL in a trailer", "0\r\nA: \0\r\n\r\n"),
    ("a bare CR in a trailer", "0\r\nA: 1\rB: 2\r\n\r\n"),
    ("a length among trailers", "0\r\nContent-Length: 3\r\n\r\n"),
    ("a coding among trailers", "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("a host among trailers", "0\r\nhost: b.example.com\r\n\r\n"),
    ("connection among trailers", "0\r\nConnection: close\r\n\r\n"),
    ("te among trailers", "0\r\nTE: trailers\r\n\r\n"),
    ("trailer among trailers", "0\r\nTrailer: a\r\n\r\n"),
    ("upgrade among trailers", "0\r\nUpgrade: websocket\r\n\r\n"),
    ("an expectation among trailers", "0\r\nExpect: 100-continue\r\n\r\n"),
    ("credentials among trailers", "0\r\nAuthorization: Bearer x\r\n\r\n"),
    ("a cookie among trailers", "0\r\nCookie: a=b\r\n\r\n"),
    ("a content coding among trailers", "0\r\nContent-Encoding: gzip\r\n\r\n"),
    ("a content type among trailers", "0\r\nContent-Type: text/html\r\n\r\n"),
    ("a proxy field among trailers", "0\r\nProxy-Authorization: x\r\n\r\n"),
    ("keep-alive among trailers", "0\r\nKeep-Alive: 5\r\n\r\n"),
    ("a length with an underscore among trailers", "0\r\nContent_Length: 3\r\n\r\n"),
];

#[test]
fn malformed_chunks_are_refused_however_they_arrive() {
    let mut failures = Vec::new();
    for (what, text) in CHUNKED {
        for pieces in cuts(text.as_bytes()) {
            for taken in [false, true] {
                let mut reader = BodyReader::new(Framing::Chunked, Limits::default());
                let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
                let refused = pieces.iter().any(|piece| {
                    input.extend_from_slice(piece);
                    let progress = match taken {
                        true => reader.take(&mut input, &mut out),
                        false => reader.pass(&mut input, &mut out, &mut |_| ()),
                    };
                    progress.is_err()
                });
                // What only lacks its end is cut when the connection closes.
                if !refused && reader.eof(true).is_ok() {
                    failures.push(format!("{what}: taken when cut into {} pieces", pieces.len()));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn floods_are_refused_and_what_is_just_below_is_taken() {
    let fields = |count: usize| {
        let lines: String = (1..count).map(|number| format!("A{number}: 1\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a.example.com\r\n{lines}\r\n")
    };
    assert_eq!(request(fields(200).as_bytes()).unwrap().fields().len(), 200);
    assert_eq!(request(fields(201).as_bytes()).unwrap_err().status, 431);

    let long = |length: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a.example.com\r\nA: ";
        format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
    };
    let most = Limits::default().head_bytes;
    for (length, expected) in [(most, Ok(1)), (most + 1, Err(431)), (most * 3, Err(431))] {
        let text = long(length);
        for size in [1024, 1000, most, usize::MAX / 2] {
            let mut buffer = BytesMut::new();
            let mut found = Ok(0);
            for piece in text.as_bytes().chunks(size) {
                buffer.extend_from_slice(piece);
                found = match RequestHead::parse(&mut buffer, &Limits::default()) {
                    Ok(head) => Ok(usize::from(head.is_some())),
                    Err(error) => Err(error.status),
                };
                if found.is_err() {
                    break;
                }
            }
            assert_eq!(found, expected, "{length} bytes in pieces of {size}");
        }
    }
    let mut endless = BytesMut::from("HTTP/1.1 200 OK\r\nA: ");
    endless.extend_from_slice(&vec![b'x'; most]);
    assert_eq!(ResponseHead::parse(&mut endless, "GET", false, &Limits::default()).unwrap_err().status, 502);
    let options = "a,".repeat(33);
    let text = format!("GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: {options}\r\n\r\n");
    assert_eq!(request(text.as_bytes()).unwrap_err().status, 400);

    let body = |text: String| {
        let mut reader = BodyReader::new(Framing::Chunked, Limits::default());
        reader.pass(&mut BytesMut::from(text.as_bytes()), &mut BytesMut::new(), &mut |_| ())
    };
    assert!(body(format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(4094))).is_ok());
    assert!(body(format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(4095))).is_err());
    assert!(body(format!("3;{}", "a".repeat(4096))).is_err());
    assert!(body(format!("0\r\nA: {}\r\n\r\n", "a".repeat(16 * 1024 - 7))).is_ok());
    assert!(body(format!("0\r\nA: {}\r\n\r\n", "a".repeat(16 * 1024 - 6))).is_err());
    assert!(body(format!("0\r\n{}", "A: 1\r\n".repeat(201))).is_err());
}

/// Requests that are odd and legal: they leave byte for byte.
const ODD_REQUESTS: &[&str] = &[
    "patch /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "M-SEARCH /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET /a<b>\"c\"{d}|e\\f^g`h HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET //b.example.com/%00%zz?a=b?c=/../;x=[1] HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET /?u=http://b.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET http://a.example.com/ HTTP/1.0\r\n\r\n",
    "CONNECT a.example.com:443 HTTP/1.0\r\n\r\n",
    "CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 0\r\n\r\n",
    "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n",
    "GET HTTP://A.example.com:80/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET https://a.example.com/ HTTP/1.1\r\nHost: a.example.com:443\r\n\r\n",
    "GET / HTTP/1.1\r\nhost:a.example.com.:8080\t \r\n\r\n",
    "GET / HTTP/1.1\r\nHOST: 127.0.0.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a_b.example.com\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nEmpty:\r\nSpaces:    \r\nTabs:\t\t\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nA: a\tb  c \t \r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\n!#$%&'*+-.^_`|~0: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nCookie: a=1\r\ncookie: b=2\r\nX: 1\r\nCookie: c=3\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nX_Under: 1\r\nX: \u{fc}\u{1f600}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 3\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length:0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\ncontent-LENGTH: \t 3 \r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 123456789012345678\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\ntransfer-encoding:chunked\r\ntrailer: x-a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a.example.com\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nTe: Trailers\r\n\r\n",
];

#[test]
fn legal_oddities_are_taken_and_leave_as_they_came() {
    let mut failures = Vec::new();
    for text in ODD_REQUESTS {
        match request(text.as_bytes()) {
            Ok(head) => {
                let out = forwarded(&head, &ForwardRequest::default());
                if out != *text {
                    failures.push(format!("{} became {}", shown(text.as_bytes()), shown(out.as_bytes())));
                }
            }
            Err(error) => failures.push(format!("{}: {error}", shown(text.as_bytes()))),
        }
    }
    for text in [
        "HTTP/1.1 200 \r\n\r\n",
        "HTTP/1.1 200 \t Tr\u{e8}s bien \r\nA:\r\n\r\n",
        "HTTP/1.0 999 Denied\r\n\r\n",
        "HTTP/1.1 599 \r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\nExpect: x\r\n\r\n",
        "HTTP/1.1 199 Odd\r\nContent-Length: 0\r\n\r\n",
    ] {
        if let Err(error) = response(text.as_bytes()) {
            failures.push(format!("{}: {error}", shown(text.as_bytes())));
        }
    }
    report(&failures);

    let blank = request(b"\r\nGET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n").unwrap();
    assert!(blank.raw().starts_with(b"GET"), "an empty line after a former body is dropped");
    let respelled = request(b"POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: cHunked \r\n\r\n").unwrap();
    assert_eq!(respelled.framing(), Framing::Chunked);
    let out = forwarded(&respelled, &ForwardRequest::default());
    assert!(out.ends_with("Transfer-Encoding: chunked \r\n\r\n"), "what not every server reads is respelled: {out}");
}

#[test]
fn legal_oddities_of_chunks_are_taken() {
    for (text, passed, data) in [
        ("0\r\n\r\n", "0\r\n\r\n", ""),
        ("000\r\n\r\n", "000\r\n\r\n", ""),
        ("0000000000000003\r\nabc\r\n0\r\n\r\n", "0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "01234567890123456789",
        ),
        ("3;a;b=c;d=\"e;\\\"\r\nabc\r\n", "", ""),
        ("3;a;b=c;d=\"e; \\\" \u{e4}\"\r\nabc\r\n0;last\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "2\r\n\r\n\r\n0\r\nX-Sum:1\r\nx-sum: \t2 \r\n\r\n",
            "2\r\n\r\n\r\n0\r\nX-Sum:1\r\nx-sum: \t2 \r\n\r\n",
            "\r\n",
        ),
    ] {
        let mut reader = BodyReader::new(Framing::Chunked, Limits::default());
        let mut out = BytesMut::new();
        let progress = reader.pass(&mut BytesMut::from(text.as_bytes()), &mut out, &mut |_| ());
        if passed.is_empty() {
            assert!(progress.is_err(), "{text}");
            continue;
        }
        assert_eq!((progress, &out[..]), (Ok(Progress::Done), passed.as_bytes()), "{text}");
        let mut taken = BytesMut::new();
        let mut reader = BodyReader::new(Framing::Chunked, Limits::default());
        assert_eq!(reader.take(&mut BytesMut::from(text.as_bytes()), &mut taken), Ok(Progress::Done));
        assert_eq!(&taken[..], data.as_bytes());
    }
}

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Around, around, read, write};
use crate::session::Damage;
use crate::session::flow::{BodyState, Exchange, Message, WebSocketMessage};

fn read_all(file: impl Into<Bytes>) -> (Vec<Exchange>, Vec<Damage>) {
    let mut all = Vec::new();
    let damages = read(&file.into(), &mut |exchange| all.push(exchange));
    (all, damages)
}

fn archive(entries: &[Value]) -> String {
    json!({"log": {"version": "1.2", "creator": {"name": "t", "version": "1"}, "entries": entries}}).to_string()
}

fn entry(request: Value, response: Value) -> Value {
    json!({"startedDateTime": "2026-01-02T03:04:05.678Z", "time": 12.4, "request": request, "response": response,
        "cache": {}, "timings": {"send": 0, "wait": 0, "receive": 0}})
}

fn post(headers: Value, data: Value) -> Value {
    let request = json!({"method": "POST", "url": "https://api.example.com/v1?a=b", "httpVersion": "HTTP/1.1",
        "headers": headers, "postData": data});
    entry(
        request,
        json!({"status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1", "headers": [],
        "content": {"size": 0}}),
    )
}

/// The request of an archive of that one entry, and what was said about it.
fn request(entry: Value) -> (Message, String) {
    let (all, damages) = read_all(archive(&[entry]));
    let reasons: Vec<String> = damages.iter().map(|damage| damage.reason.clone()).collect();
    (all.into_iter().next().unwrap().request, reasons.join("; "))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn what_http2_says_apart_is_put_as_http1() {
    let (all, damages) = read_all(archive(&[entry(
        json!({"method": "POST", "url": "https://api.example.com:8443/v1?a=b#c", "httpVersion": "http/2.0",
            "headers": [
                {"name": ":authority", "value": "api.example.com:8443"}, {"name": ":method", "value": "POST"},
                {"name": ":path", "value": "/v1?a=b"}, {"name": ":scheme", "value": "https"},
                {"name": "x-a", "value": "1"}, {"name": "content-length", "value": "2"}],
            "postData": {"mimeType": "application/json", "text": "{}"}}),
        json!({"status": 200, "statusText": "", "httpVersion": "http/2.0",
            "headers": [{"name": "set-cookie", "value": "a=1\nb=2"}],
            "content": {"size": 3, "mimeType": "text/plain", "text": "YWJj", "encoding": "base64"}}),
    )]));
    assert_eq!(damages, []);
    let [one] = &all[..] else { panic!("{all:?}") };
    assert_eq!((one.id.as_str(), one.host.as_str(), one.port, one.secure), ("1", "api.example.com", 8443, true));
    assert_eq!((one.started, one.ended), (Some(1_767_323_045_678), Some(1_767_323_045_690)));
    assert_eq!(
        text(&one.request.head),
        "POST /v1?a=b HTTP/1.1\r\nhost: api.example.com:8443\r\nx-a: 1\r\ncontent-length: 2\r\n\r\n"
    );
    assert_eq!(&one.request.body[..], b"{}");
    let response = one.response.as_ref().unwrap();
    assert_eq!(text(&response.head), "HTTP/1.1 200 \r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\n");
    assert_eq!(&response.body[..], b"abc");
}

#[test]
fn bodies_are_what_was_sent_as_far_as_the_archive_tells() {
    let gzip = "H4sIAAAAAAAAA6uuBQBDv6ajAgAAAA==";
    let coded = json!([{"name": "content-encoding", "value": "gzip"}, {"name": "content-length", "value": "22"}]);
    // Undone by the program that captured it: the field goes, the length is that of the text.
    let (message, said) = request(post(coded.clone(), json!({"text": "{}"})));
    assert_eq!((text(&message.head).contains("gzip"), message.field("content-length")), (false, Some(&b"2"[..])));
    assert_eq!((&message.body[..], said.as_str()), (&b"{}"[..], ""));
    // As it was sent: the field stays.
    let (message, said) = request(post(coded.clone(), json!({"text": gzip, "encoding": "base64"})));
    assert_eq!((message.field("content-encoding"), message.body.len()), (Some(&b"gzip"[..]), 22));
    assert_eq!(said, "");
    // The same with a character for each byte.
    let characters: String = message.body.iter().map(|&byte| char::from(byte)).collect();
    let (again, said) = request(post(coded, json!({"text": characters})));
    assert_eq!((again.body, again.head), (message.body, message.head));
    assert_eq!(said, "the bytes of its body were written as one character each");
    // Python's escapes of what is no text.
    let file = archive(&[post(json!([]), json!({"text": "REPLACE"}))]).replace("REPLACE", r"a\udcff\udc80");
    assert_eq!(&read_all(file).0[0].request.body[..], b"a\xff\x80");
    // Not captured.
    let (message, said) = request(post(json!([{"name": "Content-Length", "value": "9"}]), json!(null)));
    assert_eq!(message.body_state, BodyState::Cut);
    assert_eq!(said, "of a body of 9 bytes the file holds 0");
    let (_, said) = request(post(json!([]), json!({"text": "%%%", "encoding": "base64"})));
    assert_eq!(said, "a body is said to be base64 and is not");
}

#[test]
fn forms_are_rebuilt_and_it_is_said() {
    let params = json!({"mimeType": "application/x-www-form-urlencoded",
        "params": [{"name": "a b", "value": "c&d"}, {"name": "e", "value": ""}, {"name": "f"}]});
    let (message, said) = request(post(json!([]), params));
    assert_eq!(text(&message.body), "a+b=c%26d&e=&f");
    assert!(said.contains("rebuilt from the parameters"), "{said}");
    let params = json!({"params": [{"name": "a+b", "value": "c%26d"}]});
    assert_eq!(text(&request(post(json!([]), params)).0.body), "a+b=c%26d");

    let parts = json!({"mimeType": "multipart/form-data; boundary=xyz", "params": [
        {"name": "a\"b", "value": "1"}, {"name": "f", "fileName": "x.png", "contentType": "image/png"}]});
    let (message, said) =
        request(post(json!([{"name": "content-type", "value": "multipart/form-data; boundary=\"xyz\""}]), parts));
    assert_eq!(
        text(&message.body),
        "--xyz\r\nContent-Disposition: form-data; name=\"a%22b\"\r\n\r\n1\r\n--xyz\r\nContent-Disposition: form-data; \
         name=\"f\"; filename=\"x.png\"\r\nContent-Type: image/png\r\n\r\n\r\n--xyz--\r\n"
    );
    assert!(said.contains("does not hold the files"), "{said}");
    let (message, _) = request(post(
        json!([]),
        json!({"mimeType": "multipart/form-data", "params": [{"name": "a", "value": "rebuilt-0000000000000000"}]}),
    ));
    assert_eq!(message.field("content-type"), Some(&b"multipart/form-data; boundary=rebuilt-0000000000000001"[..]));
}

#[test]
fn messages_of_websockets_and_events_are_read() {
    let mut socket = entry(
        json!({"method": "GET", "url": "wss://api.example.com/live", "httpVersion": "HTTP/1.1", "headers": []}),
        json!({"status": 101, "statusText": "Switching Protocols", "headers": [], "content": {}}),
    );
    socket["_webSocketMessages"] = json!([
        {"type": "send", "time": 1767323045.5, "opcode": 1, "data": "hallo"},
        {"type": "receive", "time": 1767323046, "opcode": 2, "data": "AP8="},
        {"type": "receive", "time": 1767323047, "opcode": 8, "data": ""},
        {"type": "elsewhere", "opcode": 1, "data": ""}]);
    let mut stream = entry(
        json!({"method": "GET", "url": "http://api.example.com/events", "httpVersion": "HTTP/1.1", "headers": []}),
        json!({"status": 200, "statusText": "OK", "headers": [], "content": {"size": 0, "mimeType": "text/event-stream"}}),
    );
    stream["_eventSourceMessages"] = json!([
        {"time": 1, "eventName": "message", "eventId": "", "data": "1"},
        {"time": 1, "eventName": "end", "eventId": "7", "data": "2\n3"}]);
    let (all, damages) = read_all(archive(&[socket, stream]));
    let message = |from_client, text, at, data: &'static [u8]| WebSocketMessage {
        from_client,
        text,
        at: Some(at),
        data: data.into(),
    };
    let expected =
        [message(true, true, 1_767_323_045_500, b"hallo"), message(false, false, 1_767_323_046_000, b"\0\xff")];
    assert_eq!((all[0].secure, all[0].port, &all[0].messages[..]), (true, 443, &expected[..]));
    let response = all[1].response.as_ref().unwrap();
    assert_eq!(text(&response.body), "data: 1\n\nevent: end\nid: 7\ndata: 2\ndata: 3\n\n");
    let lost: Vec<&str> = damages.iter().filter(|damage| damage.lost).map(|damage| damage.reason.as_str()).collect();
    assert_eq!(lost, ["a WebSocket message of neither side"]);
}

#[test]
fn what_is_wrong_is_named_and_the_rest_read() {
    let plain = |url: &str| json!({"method": "GET", "url": url, "headers": []});
    let none = json!({"status": 0, "headers": []});
    let (all, damages) = read_all(archive(&[
        entry(plain("data:text/plain,x"), none.clone()),
        entry(plain("nowhere"), none.clone()),
        json!({"request": plain("https://me:pw@a.example.com"), "response": none, "startedDateTime": "gestern"}),
        entry(json!({"method": "G T", "url": "https://a.example.com/", "headers": []}), none.clone()),
        entry(
            json!({"method": "GET", "url": "https://a.example.com/", "headers": [
            {"name": "a b", "value": ""}, {"name": "x", "value": "a\rb\u{0}"}]}),
            none,
        ),
    ]));
    assert_eq!(all.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["3", "5"]);
    assert_eq!(text(&all[0].request.head), "GET / HTTP/1.1\r\nhost: a.example.com\r\n\r\n");
    assert_eq!(text(&all[1].request.head), "GET / HTTP/1.1\r\nhost: a.example.com\r\nx: a b \r\n\r\n");
    let said: Vec<String> = damages.iter().map(|damage| format!("{:?} {}", damage.entry, damage.reason)).collect();
    assert_eq!(
        said,
        [
            "Some(1) its URL is of the program itself, not of the network",
            "Some(2) its URL names no server of http or https",
            "Some(3) the user in the URL is left out; a client sends it in the field `authorization`",
            "Some(3) its date cannot be read",
            "Some(4) the method is none",
            "Some(5) a field whose name is none",
            "Some(5) control characters in a field are read as spaces (RFC 9110, 5.5)",
        ]
    );
}

#[test]
fn a_cut_file_gives_what_stands_before_the_cut() {
    let first = post(json!([]), json!({"text": "first"}));
    let mut second = post(json!([]), json!({"text": "second"}));
    second["response"]["content"] = json!({"size": 4, "text": "an answer"});
    let file = format!("\u{feff}{}", archive(&[first, second]));
    let (all, damages) = read_all(file.clone());
    assert_eq!((all.len(), damages.len()), (2, 0));
    let at = file.rfind("an answer").unwrap();
    let (all, damages) = read_all(file[..at + 2].to_owned());
    assert_eq!(all.iter().map(|one| text(&one.request.body)).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!(all[1].response.as_ref().unwrap().body_state, BodyState::Cut);
    assert!(damages[0].reason.starts_with("the file ends in it at offset"), "{damages:?}");
    let at = file.find("second").unwrap();
    let (all, damages) = read_all(file[..at].to_owned());
    assert_eq!(all.len(), 1);
    assert_eq!((damages[0].entry, damages[0].lost), (Some(2), true));
    assert_eq!(damages[0].offset as usize, file[..at].rfind("{\"startedDateTime").unwrap());
    for end in 0..file.len() {
        let (all, damages) = read_all(file.as_bytes()[..end].to_vec());
        assert!(all.len() <= 2 && damages.iter().any(|damage| damage.lost) || end > file.trim_end().len(), "{end}");
    }
}

#[test]
fn an_entry_that_breaks_in_the_middle_costs_no_other() {
    let file = archive(&[
        post(json!([]), json!({"text": "first"})),
        post(json!([]), json!({"text": "MARK"})),
        post(json!([]), json!({"text": "third"})),
    ]);
    for broken in
        [file.replace("\"MARK\"", "\"MARK"), file.replace("\"MARK\"", "\"MA\"RK\""), file.replace("\"MARK\"", "]]}")]
    {
        let (all, damages) = read_all(broken.clone());
        let bodies: Vec<&str> = all.iter().map(|one| text(&one.request.body)).collect();
        assert_eq!(bodies, ["first", "third"], "{broken} {damages:?}");
        assert_eq!(damages[0].entry, Some(2));
    }
    // The head of the file is gone.
    let (all, damages) = read_all(format!("x{}", &file[20..]));
    assert_eq!((all.len(), damages[0].lost), (3, true));
}

#[test]
fn an_archive_that_is_written_again_keeps_what_is_not_known() {
    let mut one = post(json!([]), json!({"text": "first"}));
    one["_initiator"] = json!({"type": "script", "stack": [1, 2.50]});
    one["serverIPAddress"] = "192.0.2.1".into();
    let mut file = archive(&[one]);
    file = file.replacen("\"version\":\"1.2\"", "\"version\":\"1.2\",\"_mine\":[ 1 ],\"pages\":[{\"id\":\"p\"}]", 1);
    let bytes = Bytes::from(file.clone());
    let (mut all, _) = read_all(bytes.clone());
    let written = write(&all, &around(&bytes));
    let values: (Value, Value) = (serde_json::from_str(&file).unwrap(), serde_json::from_slice(&written).unwrap());
    assert_eq!(values.0, values.1);
    // Once it says something else, nothing of the old entry may stay.
    all[0].request.body = "other".into();
    let written = write(&all, &around(&bytes));
    let written = text(&written);
    assert!(!written.contains("first") && !written.contains("_initiator") && written.contains("_mine"), "{written}");
}

#[test]
fn a_body_that_is_not_whole_is_exported_as_that() {
    let request = Message { head: "POST / HTTP/1.1\r\nhost: a.example.com\r\n\r\n".into(), ..Message::default() };
    let states =
        [BodyState::Whole, BodyState::Cut, BodyState::Masked, BodyState::Omitted { length: 1 << 40, sha256: [7; 32] }];
    for state in states {
        let request = Message { body_state: state.clone(), ..request.clone() };
        let exchange =
            Exchange { host: "a.example.com".into(), port: 443, secure: true, request, ..Exchange::default() };
        let (all, _) = read_all(write([&exchange], &Around::default()));
        assert_eq!(all[0].request.body_state, state);
    }
}

fn any_message(start: &'static str) -> impl Strategy<Value = Message> {
    let field =
        ("[a-z][a-z-]{0,8}", "[!-~]([ -~]{0,10}[!-~])?").prop_map(|(name, value)| format!("x-{name}: {value}\r\n"));
    let fields = prop::collection::vec(field, 0..4).prop_map(|fields| fields.concat());
    (fields, prop::collection::vec(any::<u8>(), 0..40), ".{0,20}", any::<bool>()).prop_map(
        move |(fields, binary, text, is_text)| Message {
            head: format!("{start} HTTP/1.1\r\nhost: a.example.com\r\n{fields}\r\n")
                .replacen("HTTP/1.1 200 OK HTTP/1.1", "HTTP/1.1 200 OK", 1)
                .into(),
            body: if is_text { text.into() } else { binary.into() },
            trailers: "x-end: 1\r\n".into(),
            body_state: BodyState::Whole,
            ..Message::default()
        },
    )
}

fn any_exchange() -> impl Strategy<Value = Exchange> {
    let message =
        (any::<bool>(), any::<bool>(), 1_000u64..4_000_000_000_000, prop::collection::vec(any::<u8>(), 0..9)).prop_map(
            |(from_client, text, at, data)| WebSocketMessage { from_client, text, at: Some(at), data: data.into() },
        );
    (
        any_message("POST /v1/a?b=c&d"),
        prop::option::of(any_message("HTTP/1.1 200 OK")),
        prop::collection::vec(message, 0..3),
        1u64..4_000_000_000_000,
        any::<bool>(),
        1u16..,
    )
        .prop_map(|(request, response, messages, started, secure, port)| Exchange {
            id: "1".into(),
            started: Some(started),
            ended: Some(started + 5),
            host: "a.example.com".into(),
            port,
            secure,
            request,
            response,
            messages,
            ..Exchange::default()
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(exchange in any_exchange()) {
        let file = write([&exchange], &Around::default());
        prop_assert!(serde_json::from_slice::<Value>(&file).is_ok());
        let (mut all, damages) = read_all(file.clone());
        prop_assert_eq!(&damages, &[]);
        prop_assert_eq!(write(&all, &around(&file.into())), write([&exchange], &Around::default()));
        all[0].extra = None;
        prop_assert_eq!(&all[0], &exchange);
    }

    #[test]
    fn a_mutated_archive_is_read_as_far_as_it_goes(
        exchanges in prop::collection::vec(any_exchange(), 0..4),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = write(&exchanges, &Around::default());
        for (place, byte, way) in places {
            let at = place.index(file.len());
            match way {
                0 => file[at] = byte,
                1 => { file.remove(at); }
                _ => file.insert(at, b"{}[]\",:\\"[usize::from(byte % 8)]),
            }
        }
        file.truncate(cut.index(file.len() + 1));
        let (all, _) = read_all(file.clone());
        prop_assert!(all.len() <= file.len() / 20);
        let bytes = Bytes::from(file);
        let again = write(&all, &around(&bytes));
        prop_assert!(serde_json::from_slice::<Value>(&again).is_ok(), "{}", String::from_utf8_lossy(&again));
    }
}

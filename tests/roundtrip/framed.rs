//! Edits inside bodies made of messages and parts: the lengths and checksums around them follow.

use super::*;

/// A message of an AWS event stream with string headers.
fn event(fields: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let crc32 = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    let coded: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| {
            let length = (value.len() as u16).to_be_bytes();
            [&[name.len() as u8][..], name.as_bytes(), &[7], &length, value.as_bytes()].concat()
        })
        .collect();
    let total = 16 + coded.len() + payload.len();
    let mut out = [(total as u32).to_be_bytes(), (coded.len() as u32).to_be_bytes()].concat();
    out.extend(crc32(&out));
    out.extend([&coded, payload].concat());
    out.extend(crc32(&out));
    out
}

#[test]
fn an_event_keeps_its_lengths_and_checksums() {
    let request = request("/", &[("content-type", "application/vnd.amazon.eventstream")]);
    let inner =
        |tz: &str| format!(r#"{{"bytes":"{}"}}"#, BASE64_STANDARD.encode(format!(r#"{{"tz":"{tz}","keep":1}}"#)));
    let body = |first: &str, tz: &str, user: &str| {
        [event(&[], first.as_bytes()), event(&[("user", user), ("k", "")], inner(tz).as_bytes()), event(&[], b"x")]
            .concat()
    };
    let before = body("first", "Asia/Shanghai", "ann-example");
    let part = Part::Document(before.clone().into());
    for tz in ["UTC", "", "America/Argentina/ComodRivadavia"] {
        let payload = replaced(&request, &part, "body!event:/1!json:/bytes!b64!json:/tz", tz);
        assert_eq!(payload, body("first", tz, "ann-example"));
    }
    let payload = replaced(&request, &part, "body!event:/1!header:/user", "someone else");
    assert_eq!(payload, body("first", "Asia/Shanghai", "someone else"));
    let payload = change(
        &request,
        &part,
        &[
            ("body!event:/0", put("")),
            ("body!event:/1!header:/user", put("x")),
            ("body!event:/1!json:/bytes!b64!json:/tz", put("UTC")),
        ],
    )
    .payload;
    assert_eq!(payload, body("", "UTC", "x"));
    // A checksum that was wrong tells the receiver so afterwards as well.
    let mut wrong = before;
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let result = change(&request, &Part::Document(wrong.into()), &[("body!event:/2", put("y"))]);
    let sound = [event(&[], b"first"), event(&[("user", "ann-example"), ("k", "")], inner("Asia/Shanghai").as_bytes())];
    assert_ne!(result.payload, [sound.concat(), event(&[], b"y")].concat());
}

#[test]
fn packed_numbers_and_messages_spelled_in_text_change_in_place() {
    let proto = request("/", &[("content-type", "application/proto")]);
    let body = |offset: &[u8]| pb(1, &[pb(4, &[&[0x80, 0x80, 1, 8][..], offset].concat()), pb(2, b"bash")].concat());
    let part = Part::Document(body(&[0x90, 3]).into());
    let result = change(&proto, &part, &[("body!pb:/1/4.2", put("1"))]);
    assert_eq!(result.payload, body(&[1]));
    let result = change(&proto, &part, &[("body!pb:/1/4.2", Change::Remove)]);
    assert_eq!(result.payload, body(&[]));

    let text = request("/", &[("content-type", "application/grpc-web-text")]);
    let coded = |zone: &str| BASE64_STANDARD.encode(frame(0, &message(zone)));
    let body = |zone: &str| coded("Asia/Tokyo") + &coded(zone);
    let part = Part::Document(body("Asia/Shanghai").into());
    let payload = replaced(&text, &part, "body!b64!frame:/1!pb:/2/1/10", "Etc/UTC");
    assert_eq!(payload, body("Etc/UTC"));

    let query = |zone: &str| {
        let message = BASE64_URL_SAFE_NO_PAD.encode(pb(10, zone.as_bytes()));
        format!("/s/M?encoding=proto&base64=1&message={message}&connect=v1")
    };
    let get = request(&query("Asia/Shanghai"), &[]);
    let result = change(&get, &Part::Head, &[("query!form:/message!b64url!pb:/10", put("UTC"))]);
    assert_eq!(edited_head(&get, &result), format!("POST {} HTTP/1.1\r\n\r\n", query("UTC")));
}

#[test]
fn the_length_of_an_item_follows_its_payload() {
    let request = request("/", &[("content-type", "application/x-sentry-envelope")]);
    let body = |host: &str| {
        let event = format!("{{\"server_name\":\"{host}\",\n\"x\":1}}");
        let head = format!("{{\"event_id\":\"9ec7\"}}\n{{\"length\": {},\"type\":\"event\"}}\n", event.len());
        format!("{head}{event}\n{{\"type\":\"attachment\",\"length\":3}}\na\nb\n{{\"type\":\"user\"}}\n{{\"n\":\"m\"}}")
    };
    let part = Part::Document(body("ws17").into());
    for host in ["a-much-longer-host.example", ""] {
        let result = change(&request, &part, &[("body!lines:/2!json:/server_name", put(host))]);
        assert_eq!(result.payload, body(host));
    }
    let payload = replaced(&request, &part, "body!lines:/6!json:/n", "other");
    assert_eq!(payload, body("ws17").replace("\"m\"", "\"other\""));
}

#[test]
fn thousands_of_edits_of_one_message_are_made_at_once() {
    let proto = request("/", &[("content-type", "application/proto")]);
    let body = |text: &[u8]| pb(7, &pb(1, text).repeat(20_000));
    let part = Part::Document(body(b"ann").into());
    let (found, decoded) = read(&proto, &part);
    let unit = Unit { request: &proto, part };
    let fields = || found.iter().filter(|found| found.location.starts_with("body!pb:/7/1"));
    for (new, change) in [(body(b"somebody"), put("somebody")), (pb(7, b""), Change::Remove)] {
        let edits = fields().map(|found| Edit { target: found.target, window: None, change: change.clone() }).collect();
        assert_eq!(rewrite(&unit, &decoded, edits).unwrap().payload, new);
    }
}

#[test]
fn parts_change_in_their_encodings_and_lengths() {
    let request = request("/", &[("content-type", "multipart/mixed; boundary=b")]);
    let inner = |zone: &str| format!(r#"{{"keep":"{}","tz":"{zone}"}}"#, "x".repeat(80));
    let coded = |zone: &str| -> String {
        let coded = BASE64_STANDARD.encode(inner(zone));
        coded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>().join("\r\n")
    };
    let http = |zone: &str| {
        let body = inner(zone);
        format!("POST /a?b=c HTTP/1.1\r\nContent-Length:  {}\r\n\r\n{body}", body.len())
    };
    let body = |first: &str, second: &str, third: &str| {
        format!(
            "--b\r\ncontent-transfer-encoding: base64\r\n\r\n{}\r\n--b\r\ncontent-type: application/http\r\n\r\n{}\r\n--b\r\n\
             content-transfer-encoding: quoted-printable\r\n\r\ncaf=C3=A9 {third} soft=\r\nly\r\n--b--\r\n",
            coded(first),
            http(second)
        )
    };
    let part = Part::Document(body("UTC", "UTC", "=3DUTC").into());
    let change_at = |at: &str| change(&request, &part, &[(at, put("America/Toronto"))]).payload;
    assert_eq!(change_at("body!multipart:/0!b64!json:/tz"), body("America/Toronto", "UTC", "=3DUTC"));
    assert_eq!(change_at("body!multipart:/1!json:/tz"), body("UTC", "America/Toronto", "=3DUTC"));

    let (found, decoded) = read(&request, &part);
    let leaf = find(&found, "body!multipart:/2!qp");
    let text = String::from_utf8(leaf.text.clone()).unwrap();
    assert_eq!(text, "café =UTC softly");
    let start = text.find("=UTC").unwrap();
    let edit = Edit { target: leaf.target, window: Some(start..start + 4), change: put("é") };
    let result = rewrite(&Unit { request: &request, part: part.clone() }, &decoded, vec![edit]).unwrap();
    assert_eq!(result.payload, body("UTC", "UTC", "=C3=A9"));
}

//! Parts in their transfer encodings and with whole requests in them; documents that are cut or not quite JSON.

use std::io::Write;

use ::base64::Engine;
use ::base64::prelude::BASE64_STANDARD;

use super::tests::{document, gzip, json};

const MIXED: &[(&str, &str)] = &[("content-type", "multipart/mixed; boundary=b")];

#[test]
fn transfer_encodings_of_parts_are_undone() {
    let inner = r#"{"tz":"Asia/Shanghai","cwd":"/home/ann/project/with/a/long/name"}"#;
    let lines: String = BASE64_STANDARD
        .encode(inner)
        .as_bytes()
        .chunks(60)
        .map(|line| String::from_utf8_lossy(line) + "\r\n")
        .collect();
    let body = format!(
        "--b\r\nContent-Type: application/json\r\nContent-Transfer-Encoding: BASE64\r\n\r\n{lines}\r\n--b\r\n\
         content-transfer-encoding: quoted-printable\r\n\r\nzone=3DAsia/Shang=\r\nhai, caf=C3=A9 a=b\r\n--b\r\n\
         content-transfer-encoding: base64\r\n\r\nQ1NU\r\n--b\r\ncontent-transfer-encoding: base64\r\n\r\nno base64!\r\n--b--\r\n"
    );
    let (seen, decoded) = document(MIXED, body);
    seen.has("body!multipart:/0!b64!json:/tz", "Asia/Shanghai");
    seen.has("body!multipart:/1!qp", "zone=Asia/Shanghai, café a=b");
    seen.has("body!multipart:/2!b64", "CST");
    seen.has("body!multipart:/3", "no base64!");
    assert!(decoded.unread.is_empty());
}

#[test]
fn a_part_is_what_it_says() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\
                Content-Type: Application/x-www-form-urlencoded\r\n\r\ntz=Asia%2FShanghai\r\n\
                --b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nplain\r\n--c--\r\n\r\n--b--\r\n";
    let (seen, _) = document(MIXED, body.to_owned());
    seen.has("body!multipart:/a!form:/tz", "Asia/Shanghai");
    seen.has("body!multipart:/1!multipart:/0", "plain");
}

#[test]
fn requests_inside_a_batch_are_read() {
    let inner = "{\"device\":\"0011\"}";
    let body = format!(
        "--b\r\nContent-Type: application/http\r\nContent-ID: <1>\r\n\r\nPOST /users/ann%20x?tz=Asia%2FShanghai HTTP/1.1\r\n\
         X-Device-Id: 0011\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{inner}\r\n--b\r\n\
         content-type: application/http\r\n\r\nGET /plain HTTP/1.1\r\n\r\n\r\n--b\r\n\
         content-type: application/http\r\n\r\nno request\r\n--b--\r\n",
        inner.len()
    );
    let (seen, decoded) = document(MIXED, body);
    seen.has("body!multipart:/0", "/users/ann x");
    seen.has("body!multipart:/0!form:/tz", "Asia/Shanghai");
    seen.has("body!multipart:/0!header:/x-device-id", "0011");
    seen.has("body!multipart:/0!json:/device", "0011");
    seen.has("body!multipart:/1", "/plain");
    seen.has("body!multipart:/2", "no request");
    assert!(decoded.unread.is_empty());
}

#[test]
fn what_is_cut_is_read_to_there_and_only_once() {
    let count = |body: String, text: &str| {
        let (seen, decoded) = json(body);
        assert_eq!(
            decoded.unread.iter().map(|unread| (unread.reason, unread.bytes)).collect::<Vec<_>>(),
            [("malformed", 1)]
        );
        seen.leaves.iter().filter(|leaf| leaf.3.contains(text)).count()
    };
    assert_eq!(count("{\"a\":\"x\",\"b\":\"/home/ann/pro".into(), "/home/ann/pro"), 1);
    let inner = r#"{"tz":"Asia/Shanghai","cwd":"/home/ann/project"}"#;
    let coded = BASE64_STANDARD.encode(inner);
    for cut in 44..56 {
        let (seen, _) = json(format!("{{\"a\":\"{}", &coded[..cut]));
        // Which alphabet it was is told by the padding, which is lost.
        let step = if cut % 4 < 2 { "b64" } else { "b64url" };
        seen.has(&format!("body!json:/a!{step}!json:/tz"), "Asia/Shanghai");
    }
    let mut noise = 7u32;
    let filler: String = (0..4000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (noise >> 27) as u8 % 26)
        })
        .collect();
    let zipped = gzip(format!("{{\"tz\":\"Asia/Shanghai\",\"x\":\"{filler}\"}}").as_bytes());
    let (seen, decoded) = json(format!("{{\"a\":\"{}", &BASE64_STANDARD.encode(&zipped)[..1600]));
    seen.has("body!json:/a!b64!gzip!json:/tz", "Asia/Shanghai");
    assert!(decoded.unread.iter().any(|unread| unread.location.to_string() == "body!json:/a!b64!gzip"));
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(format!("{{\"tz\":\"Asia/Shanghai\",\"x\":\"{filler}\"}}").as_bytes()).unwrap();
    let body = deflate.finish().unwrap();
    let (seen, _) = document(&[("content-encoding", "deflate")], &body[..1500]);
    seen.has("body!deflate!json:/tz", "Asia/Shanghai");
}

#[test]
fn text_that_is_not_quite_json_is_searched_and_reported() {
    let coded = BASE64_STANDARD.encode(r#"{"user":"ann-example"}"#);
    let body = format!(
        "{{\"a\":1, // a comment\n \"path\":\"C:\\\\Users\\\\ann\", 'tz': \"Asia/Shanghai\", \"d\":\"{coded}\",}}"
    );
    let (seen, decoded) = json(body.clone());
    seen.has("body!json:/a", "1");
    assert_eq!(decoded.unread[0].reason, "malformed");
    let found = |text: &str| seen.leaves.iter().any(|leaf| leaf.0.starts_with("body!json:") && leaf.3.contains(text));
    assert!(found("'tz': \"Asia/Shanghai\"") && found(r"C:\Users\ann"));
    assert!(seen.leaves.iter().any(|leaf| leaf.0.ends_with("!b64!json:/user") && leaf.3 == "ann-example"));
    assert_eq!(decoded.bytes_read + decoded.unread.iter().map(|unread| unread.bytes).sum::<u64>(), body.len() as u64);
    let (seen, decoded) = json("[1,2,]");
    seen.has("body!json:/1", "2");
    assert_eq!(decoded.unread.len(), 1);
}

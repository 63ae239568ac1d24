//! Another made-up client, with other habits: gRPC, forms, multipart, lines, a WebSocket, and other ways to give a fact away,
//! some of which say nothing by themselves, only beside what was drawn and sent along.

use std::io::Write;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use divulge::session::flow::{Exchange, WebSocketMessage};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::client::{Leak, Surroundings, hex, plant, request};
use crate::random::Random;

/// How a fact is hidden, or not.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Sort {
    PbString,
    PbBucket,
    FormDigest,
    FormOrder,
    PercentCase,
    PartName,
    Line,
    SocketField,
    NumberSpelling,
    TrailingZero,
    Normalisation,
    PackedTwice,
    SaltedDigest,
    KeySentAlong,
    Split,
    MiddleNibble,
    EscapedMark,
    Cookie,
    ListLength,
    QueryOrder,
    HeaderSpace,
    ZeroWidth,
    PathSegment,
    ClockDistance,
}

const SORTS: [Sort; 24] = [
    Sort::PbString,
    Sort::PbBucket,
    Sort::FormDigest,
    Sort::FormOrder,
    Sort::PercentCase,
    Sort::PartName,
    Sort::Line,
    Sort::SocketField,
    Sort::NumberSpelling,
    Sort::TrailingZero,
    Sort::Normalisation,
    Sort::PackedTwice,
    Sort::SaltedDigest,
    Sort::KeySentAlong,
    Sort::Split,
    Sort::MiddleNibble,
    Sort::EscapedMark,
    Sort::Cookie,
    Sort::ListLength,
    Sort::QueryOrder,
    Sort::HeaderSpace,
    Sort::ZeroWidth,
    Sort::PathSegment,
    Sort::ClockDistance,
];

/// The path of the request that it is in, its place there, and its kind where that tells one mark from another.
fn place(sort: Sort) -> (&'static str, &'static str, Option<&'static str>) {
    match sort {
        Sort::PbString => ("/agent.v1.Agent/Run", "body!frame:/*!pb:/2/1", None),
        Sort::PbBucket => ("/agent.v1.Agent/Run", "body!frame:/*!pb:/2/2", None),
        Sort::FormDigest => ("/collect", "body!form:/dev", None),
        Sort::FormOrder => ("/collect", "body!form:", Some("cov.key_order")),
        Sort::PercentCase => ("/collect", "body!form:", Some("cov.homoglyph")),
        Sort::PartName => ("/upload", "body!multipart:/meta", None),
        Sort::Line => ("/v1/logs", "body!lines:/*!json:/place", None),
        Sort::SocketField => ("/v1/socket", "ws:/*!json:/context/place", None),
        Sort::NumberSpelling => ("/v1/turn", "body!json:/temperature", None),
        Sort::TrailingZero => ("/v1/turn", "body!json:/load", None),
        Sort::Normalisation => ("/v1/turn", "body!json:/text", Some("cov.nfd")),
        Sort::ZeroWidth => ("/v1/turn", "body!json:/text", Some("cov.zero_width")),
        Sort::PackedTwice => ("/v1/turn", "body!json:/state!b64!gzip!json:/z", None),
        Sort::SaltedDigest => ("/v1/turn", "body!json:/proof/sum", None),
        Sort::KeySentAlong => ("/v1/turn", "body!json:/seal/box", None),
        Sort::Split => ("/v1/turn", "body!json:/parts/left", None),
        Sort::MiddleNibble => ("/v1/turn", "body!json:/turn", None),
        Sort::EscapedMark => ("/v1/turn", "body!json:", Some("cov.homoglyph")),
        Sort::ListLength => ("/v1/turn", "body!json:/tools/*", None),
        Sort::Cookie => ("/v1/models", "header:/cookie!cookie:/b", None),
        Sort::QueryOrder => ("/v1/models", "query!form:", Some("cov.key_order")),
        Sort::HeaderSpace => ("/v1/models", "head", Some("cov.space")),
        Sort::PathSegment => ("/v1/models", "path:/2", None),
        Sort::ClockDistance => ("/v1/turn", "body!json:/clock/local", None),
    }
}

pub struct Agent {
    pub leaks: Vec<Leak<Sort>>,
    pub dead: Vec<String>,
}

const API: &str = "agent.example.com";
const LOGS: &str = "logs.example.net";

impl Agent {
    pub fn new(seed: u64, factors: &[(String, Vec<String>)]) -> Self {
        let (leaks, dead) = plant(seed ^ 0xa9e7, factors, &SORTS, 4, place);
        Self { leaks, dead }
    }

    fn value<'a>(&self, sort: Sort, around: &'a Surroundings) -> &'a str {
        self.leak(sort).value(around).unwrap_or("-")
    }

    fn bit(&self, sort: Sort, around: &Surroundings) -> bool {
        self.leak(sort).bit(around)
    }

    fn leak(&self, sort: Sort) -> &Leak<Sort> {
        self.leaks.iter().find(|leak| leak.sort == sort).expect("every sort is planted")
    }

    /// One run, in which nothing but `random` and the surroundings decide.
    pub fn run(&self, around: &Surroundings, random: &mut Random) -> Vec<Exchange> {
        let mut requests = vec![
            self.turn(around, random),
            self.call(around, random),
            self.form(around, random),
            self.upload(around, random),
            self.socket(around, random),
            self.models(around, random),
        ];
        for _ in 0..1 + random.below(2) {
            requests.push(self.logs(around, random));
        }
        if random.below(3) == 0 {
            requests.push(request("GET", API, "/v1/health", &[("host".into(), API.into())], Vec::new()));
        }
        random.shuffle(&mut requests);
        requests
    }

    fn turn(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let accent = if self.bit(Sort::Normalisation, around) { "cafe\u{301}" } else { "caf\u{e9}" };
        let joiner = if self.bit(Sort::ZeroWidth, around) { "\u{200b}" } else { "" };
        let text = format!("Session {} in the {accent}. Answer{joiner} in {} words.", random.uuid(), random.below(90));
        let state = gzip(&json!({"r": random.hex(12), "z": self.value(Sort::PackedTwice, around)}).to_string());
        let salt = random.hex(16);
        let sum = Sha256::digest(format!("{salt}:{}", self.value(Sort::SaltedDigest, around)));
        let key: Vec<u8> = (0..24).map(|_| random.below(256) as u8).collect();
        let mut padded = self.value(Sort::KeySentAlong, around).as_bytes().to_vec();
        padded.resize(24, b' ');
        let sealed: Vec<u8> = padded.iter().zip(&key).map(|(byte, key)| byte ^ key).collect();
        let whole = hex(&Sha256::digest(self.value(Sort::Split, around))[..8]);
        let mut turn = random.uuid();
        if self.bit(Sort::MiddleNibble, around) {
            turn.replace_range(14..15, "7");
        }
        let zero = if self.bit(Sort::TrailingZero, around) { "0" } else { "" };
        let temperature = if self.bit(Sort::NumberSpelling, around) { "1.0" } else { "1" };
        let mut tools: Vec<String> = (0..3).map(|_| random.word()).collect();
        if self.bit(Sort::ListLength, around) {
            tools.push(random.word());
        }
        let utc = random.clock() / 1000;
        let distance = u64::from(Sha256::digest(self.value(Sort::ClockDistance, around))[2] % 24) * 3600;
        let mark = if self.bit(Sort::EscapedMark, around) { "\\u2019" } else { "\u{2019}" };
        let members = json!({
            "text": text,
            "state": BASE64_STANDARD.encode(state),
            "proof": {"salt": salt, "sum": hex(&sum[..12])},
            "seal": {"box": hex(&sealed), "key": hex(&key)},
            "parts": {"left": whole[..8], "right": whole[8..]},
            "turn": turn,
            "tools": tools,
            "clock": {"utc": utc, "local": utc + distance},
        })
        .to_string();
        let body = format!(
            r#"{{"temperature":{temperature},"load":0.{:02}{zero},"note":"it{mark}s {}",{}"#,
            10 + random.below(89),
            random.word(),
            &members[1..]
        );
        request("POST", API, "/v1/turn", &head("application/json", random), body.into())
    }

    /// gRPC: a message in an envelope.
    fn call(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let bucket = Sha256::digest(self.value(Sort::PbBucket, around))[3] % 50;
        let mut inner = text(1, self.value(Sort::PbString, around));
        inner.extend([0x10, 64 + bucket]);
        let mut message = text(1, &random.uuid());
        message.extend(field(2, &inner));
        message.extend(text(3, &format!("take {} files with you", random.below(100))));
        let mut body = vec![0];
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(message);
        request("POST", API, "/agent.v1.Agent/Run", &head("application/grpc", random), body)
    }

    fn form(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let digest = hex(&Sha256::digest(self.value(Sort::FormDigest, around))[..10]);
        let slash = if self.bit(Sort::PercentCase, around) { "%2f" } else { "%2F" };
        let (a, b) = (format!("dev={digest}"), format!("t={}", random.clock()));
        let pair = if self.bit(Sort::FormOrder, around) { [b, a] } else { [a, b] };
        let body = format!("v=2&{}&page=docs{slash}{}", pair.join("&"), random.word());
        request("POST", LOGS, "/collect", &head("application/x-www-form-urlencoded", random), body.into())
    }

    fn upload(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let boundary = format!("----part{}", random.hex(16));
        let name = hex(&Sha256::digest(self.value(Sort::PartName, around))[..4]);
        let body = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"meta\"; filename=\"{name}.txt\"\r\n\r\nsize {}\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"id\"\r\n\r\n{}\r\n--{boundary}--\r\n",
            random.below(1000),
            random.uuid()
        );
        let kind = format!("multipart/form-data; boundary={boundary}");
        request("POST", LOGS, "/upload", &head(&kind, random), body.into())
    }

    fn logs(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let mut lines: Vec<String> = Vec::new();
        for name in ["boot", "step", "step", "gone"] {
            if name == "boot" || random.below(4) > 0 {
                let place = if name == "boot" { self.value(Sort::Line, around) } else { "-" };
                lines.push(
                    json!({"event": name, "at": random.clock(), "n": random.below(5000), "place": place}).to_string(),
                );
            }
        }
        random.shuffle(&mut lines);
        request("POST", LOGS, "/v1/logs", &head("application/x-ndjson", random), (lines.join("\n") + "\n").into())
    }

    fn socket(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let fields = [
            ("host".to_owned(), API.to_owned()),
            ("upgrade".to_owned(), "websocket".to_owned()),
            ("connection".to_owned(), "Upgrade".to_owned()),
            ("sec-websocket-version".to_owned(), "13".to_owned()),
            ("sec-websocket-key".to_owned(), BASE64_STANDARD.encode(random.hex(16))),
        ];
        let mut exchange = request("GET", API, "/v1/socket", &fields, Vec::new());
        let message = |value: serde_json::Value| WebSocketMessage {
            from_client: true,
            text: true,
            at: None,
            data: value.to_string().into(),
        };
        let place = hex(&Sha256::digest(self.value(Sort::SocketField, around))[..6]);
        exchange.messages = vec![
            message(json!({"type": "hello", "id": random.uuid()})),
            message(json!({"type": "turn", "id": random.uuid(), "context": {"place": place, "n": random.below(9000)}})),
        ];
        exchange
    }

    fn models(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let segment = Sha256::digest(self.value(Sort::PathSegment, around))[4] % 90;
        let (a, b) = (format!("limit={}", 10 + random.below(90)), format!("cursor={}", random.hex(10)));
        let pair = if self.bit(Sort::QueryOrder, around) { [b, a] } else { [a, b] };
        let mut fields = head("application/json", random);
        let bucket = Sha256::digest(self.value(Sort::Cookie, around))[5] % 40;
        fields.push(("cookie".into(), format!("s={}; b={bucket}", random.hex(20))));
        let space = if self.bit(Sort::HeaderSpace, around) { " " } else { "" };
        fields.push(("x-plan".into(), format!("free{space}")));
        request("GET", API, &format!("/v1/models/r{segment}?{}", pair.join("&")), &fields, Vec::new())
    }
}

fn head(content_type: &str, random: &mut Random) -> Vec<(String, String)> {
    vec![
        ("host".into(), "set-below".into()),
        ("content-type".into(), content_type.into()),
        ("x-trace".into(), format!("00-{}-{}-01", random.hex(32), random.hex(16))),
    ]
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("memory takes all of it")
}

/// A field of protobuf with a length below 128.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).expect("short")];
    bytes.extend_from_slice(content);
    bytes
}

fn text(number: u8, text: &str) -> Vec<u8> {
    field(number, text.as_bytes())
}

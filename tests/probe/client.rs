//! A made-up client: what it sends, given its surroundings. Which facts it gives away, how and where, a seed decides; most of
//! what it sends is drawn anew each time.

use std::collections::BTreeMap;

use divulge::session::flow::{Exchange, Message};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::random::Random;

/// How a fact is hidden, or not.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Sort {
    Plain,
    Digest,
    KeyedDigest,
    Xor,
    Prefix,
    Bucket,
    Apostrophe,
    Separator,
    DocumentSpace,
    KeyOrder,
    HeaderPresence,
    HeaderCase,
    HeaderOrder,
    FieldPresence,
    LowBit,
    ExtraRequest,
    Prompt,
    Length,
    Event,
}

pub const SORTS: [Sort; 19] = [
    Sort::Plain,
    Sort::Digest,
    Sort::KeyedDigest,
    Sort::Xor,
    Sort::Prefix,
    Sort::Bucket,
    Sort::Apostrophe,
    Sort::Separator,
    Sort::DocumentSpace,
    Sort::KeyOrder,
    Sort::HeaderPresence,
    Sort::HeaderCase,
    Sort::HeaderOrder,
    Sort::FieldPresence,
    Sort::LowBit,
    Sort::ExtraRequest,
    Sort::Prompt,
    Sort::Length,
    Sort::Event,
];

/// A planted dependence.
#[derive(Clone, Debug)]
pub struct Leak<S> {
    pub sort: S,
    pub factor: String,
    /// Only while this other factor has this value.
    pub gate: Option<(String, String)>,
    /// Values of which one bit is told; all, where the value itself is.
    pub class: Vec<String>,
    /// The path of the request that it is in, and its place there.
    pub path: &'static str,
    pub location: &'static str,
    /// Where that tells one mark from another.
    pub kind: Option<&'static str>,
}

impl<S> Leak<S> {
    /// What it is about now: nothing while its gate is closed.
    pub fn value<'a>(&self, around: &'a Surroundings) -> Option<&'a str> {
        let open = self.gate.as_ref().is_none_or(|(factor, value)| around[factor] == *value);
        open.then(|| around[&self.factor].as_str())
    }

    pub fn bit(&self, around: &Surroundings) -> bool {
        self.value(around).is_some_and(|value| self.class.iter().any(|known| known == value))
    }
}

/// Plants each of `sorts` on one of half of the `factors` (names with their values, the base case's first), `gates` of them
/// behind the value of another one. The other half is given away nowhere.
pub fn plant<S: Copy>(
    seed: u64,
    factors: &[(String, Vec<String>)],
    sorts: &[S],
    gates: usize,
    place: impl Fn(S) -> (&'static str, &'static str, Option<&'static str>),
) -> (Vec<Leak<S>>, Vec<String>) {
    let mut random = Random::new(seed);
    let mut order: Vec<usize> = (0..factors.len()).collect();
    random.shuffle(&mut order);
    let (live, dead) = order.split_at(factors.len().div_ceil(2));
    let mut gated: Vec<usize> = (0..sorts.len()).collect();
    random.shuffle(&mut gated);
    gated.truncate(gates);
    let mut leaks = Vec::new();
    for (number, &sort) in sorts.iter().enumerate() {
        let (name, values) = &factors[live[random.below(live.len())]];
        let gate = gated.contains(&number).then(|| {
            let others: Vec<&usize> = live.iter().filter(|&&other| factors[other].0 != *name).collect();
            let (gate, open) = &factors[*others[random.below(others.len())]];
            (gate.clone(), open[1 + random.below(open.len() - 1)].clone())
        });
        let mut class: Vec<String> = values[1..].to_vec();
        random.shuffle(&mut class);
        class.truncate(1 + random.below(class.len()));
        let (path, location, kind) = place(sort);
        leaks.push(Leak { sort, factor: name.clone(), gate, class, path, location, kind });
    }
    (leaks, dead.iter().map(|&at| factors[at].0.clone()).collect())
}

pub struct Client {
    seed: u64,
    pub leaks: Vec<Leak<Sort>>,
    pub dead: Vec<String>,
}

pub type Surroundings = BTreeMap<String, String>;

const API: &str = "api.example.com";
const REPORTS: &str = "reports.example.net";

impl Client {
    pub fn new(seed: u64, factors: &[(String, Vec<String>)]) -> Self {
        let with_kind = |sort| {
            let (path, location) = place(sort);
            (path, location, kind(sort))
        };
        let (leaks, dead) = plant(seed, factors, &SORTS, 3, with_kind);
        Self { seed, leaks, dead }
    }

    fn leak(&self, sort: Sort) -> &Leak<Sort> {
        self.leaks.iter().find(|leak| leak.sort == sort).expect("every sort is planted")
    }

    fn text(&self, sort: Sort, around: &Surroundings) -> String {
        self.leak(sort).value(around).unwrap_or("-").to_owned()
    }

    fn bit(&self, sort: Sort, around: &Surroundings) -> bool {
        self.leak(sort).bit(around)
    }

    /// One run, in which nothing but `random` and the surroundings decide.
    pub fn run(&self, around: &Surroundings, random: &mut Random) -> Vec<Exchange> {
        let mut requests = vec![self.turn(around, random)];
        for _ in 0..1 + random.below(3) {
            requests.push(self.report(around, random));
        }
        requests.push(self.metrics(around, random));
        if random.below(10) < 7 {
            let id = random.uuid();
            requests.push(request("GET", API, &format!("/v1/config?id={id}"), &head(random), Vec::new()));
        }
        if random.below(10) < 2 {
            requests.push(request(
                "POST",
                REPORTS,
                "/v1/crash",
                &head(random),
                json!({"at": random.clock()}).to_string().into(),
            ));
        }
        if self.bit(Sort::ExtraRequest, around) {
            let body = json!({"id": random.uuid(), "kind": "sync"}).to_string();
            requests.push(request("POST", API, "/v1/sync", &head(random), body.into()));
        }
        random.shuffle(&mut requests);
        requests
    }

    /// The turn itself: a prompt with its context.
    fn turn(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let apostrophe = if self.bit(Sort::Apostrophe, around) { '\u{2019}' } else { '\'' };
        let dash = if self.bit(Sort::Separator, around) { '/' } else { '-' };
        let sort = if random.below(2) == 0 { "Be brief. " } else { "" };
        let prompt = format!(
            "You are a helpful assistant. {sort}Today{apostrophe}s date is 2026{dash}11{dash}27. The run is {} and it began at {}.\n\
             The workspace is called {} here. Files: {}\nAnswer in one sentence.",
            random.uuid(),
            random.clock(),
            self.text(Sort::Prompt, around),
            (0..random.below(5)).map(|_| random.word()).collect::<Vec<_>>().join(", ")
        );
        let mut options = Map::new();
        options.insert("temperature".into(), json!(1));
        if self.bit(Sort::FieldPresence, around) {
            options.insert("extended".into(), json!(true));
        }
        if random.below(2) == 0 {
            options.insert("cache".into(), json!(random.word()));
        }
        let key = Hmac::<Sha256>::new_from_slice(&self.seed.to_be_bytes()).expect("any length will do");
        let keyed = key.chain_update(self.text(Sort::KeyedDigest, around)).finalize().into_bytes();
        let prefix = Sha256::digest(self.text(Sort::Prefix, around))[0];
        let length = if self.bit(Sort::Length, around) { 30 } else { 24 };
        let body = json!({
            "model": "made-up-1",
            "system": prompt,
            "client": {
                "device": format!("{:016x}", self.seed),
                "session": random.uuid(),
                "plain": self.text(Sort::Plain, around),
                "digest": hex(&Sha256::digest(self.text(Sort::Digest, around))[..8]),
                "keyed": hex(&keyed[..12]),
                "trace": format!("{prefix:02x}{}", random.hex(30)),
                "bucket": Sha256::digest(self.text(Sort::Bucket, around))[1] % 64,
                "pad": random.hex(length),
            },
            "options": options,
        });
        let hidden: Vec<u8> =
            self.text(Sort::Xor, around).bytes().zip((self.seed as u8)..).map(|(byte, key)| byte ^ key).collect();
        let mut fields = head(random);
        fields.push(("x-context".into(), hex(&hidden)));
        if self.bit(Sort::HeaderPresence, around) {
            fields.push(("x-feature".into(), "1".into()));
        }
        let (a, b) = (("x-app".to_owned(), "cli".to_owned()), ("x-arch".to_owned(), "x64".to_owned()));
        fields.extend(if self.bit(Sort::HeaderOrder, around) { [b, a] } else { [a, b] });
        request("POST", API, "/v1/messages", &fields, body.to_string().into())
    }

    /// A batch of events, of which there are more or fewer.
    fn report(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let mut events: Vec<Value> = Vec::new();
        for name in ["start", "config", "tool", "tool", "end"] {
            if name == "start" || random.below(3) > 0 {
                events.push(json!({
                    "name": name,
                    "at": random.clock(),
                    "id": random.uuid(),
                    "took": random.below(900),
                    "heap": random.below(1 << 20),
                    "place": if name == "start" { self.text(Sort::Event, around) } else { "none".to_owned() },
                }));
            }
        }
        random.shuffle(&mut events);
        let body = json!({"events": events, "sent": random.clock()});
        request("POST", REPORTS, "/v2/batch", &head(random), body.to_string().into())
    }

    fn metrics(&self, around: &Surroundings, random: &mut Random) -> Exchange {
        let low = u64::from(self.bit(Sort::LowBit, around));
        let number = (random.next() % 1_000_000) & !1 | low;
        let stats =
            if self.bit(Sort::KeyOrder, around) { r#""lines":3,"bytes":90"# } else { r#""bytes":90,"lines":3"# };
        let space = if self.bit(Sort::DocumentSpace, around) { " " } else { "" };
        let body = format!(r#"{{"n":{number},"stats":{{{stats}}},"took":{space}{}}}"#, random.below(500));
        let case = if self.bit(Sort::HeaderCase, around) { "X-Channel" } else { "x-channel" };
        let mut fields = head(random);
        fields.push((case.into(), "stable".into()));
        request("POST", REPORTS, "/v1/metrics", &fields, body.into())
    }
}

/// A request of which nothing but its form is ever the same.
pub fn chaos(random: &mut Random) -> Exchange {
    let mut body = Map::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let length = 8 + random.below(24);
        body.insert(name.to_owned(), json!(random.hex(length)));
    }
    request("POST", API, "/v1/x", &head(random), Value::from(body).to_string().into())
}

fn place(sort: Sort) -> (&'static str, &'static str) {
    match sort {
        Sort::Plain => ("/v1/messages", "body!json:/client/plain"),
        Sort::Digest => ("/v1/messages", "body!json:/client/digest"),
        Sort::KeyedDigest => ("/v1/messages", "body!json:/client/keyed"),
        Sort::Xor => ("/v1/messages", "header:/x-context"),
        Sort::Prefix => ("/v1/messages", "body!json:/client/trace"),
        Sort::Bucket => ("/v1/messages", "body!json:/client/bucket"),
        Sort::Length => ("/v1/messages", "body!json:/client/pad"),
        Sort::Apostrophe | Sort::Separator | Sort::Prompt => ("/v1/messages", "body!json:/system"),
        Sort::FieldPresence => ("/v1/messages", "body!json:/options/extended"),
        Sort::HeaderPresence => ("/v1/messages", "header:/x-feature"),
        Sort::HeaderOrder => ("/v1/messages", "head"),
        Sort::Event => ("/v2/batch", "body!json:/events/*/place"),
        Sort::DocumentSpace => ("/v1/metrics", "body!json:"),
        Sort::KeyOrder => ("/v1/metrics", "body!json:/stats"),
        Sort::LowBit => ("/v1/metrics", "body!json:/n"),
        Sort::HeaderCase => ("/v1/metrics", "head"),
        Sort::ExtraRequest => ("/v1/sync", "head"),
    }
}

/// Kinds that tell one mark in a text from another.
fn kind(sort: Sort) -> Option<&'static str> {
    match sort {
        Sort::Apostrophe => Some("cov.apostrophe"),
        Sort::Separator => Some("cov.date_sep"),
        Sort::DocumentSpace => Some("cov.json_ws"),
        Sort::KeyOrder => Some("cov.key_order"),
        Sort::HeaderOrder => Some("cov.header_order"),
        Sort::HeaderCase => Some("cov.header_case"),
        _ => None,
    }
}

fn head(random: &mut Random) -> Vec<(String, String)> {
    vec![
        ("host".into(), "set-below".into()),
        ("user-agent".into(), "made-up/1.0".into()),
        ("content-type".into(), "application/json".into()),
        ("x-request-id".into(), random.uuid()),
        ("x-retry".into(), random.below(2).to_string()),
    ]
}

pub fn request(method: &str, host: &str, target: &str, fields: &[(String, String)], body: Vec<u8>) -> Exchange {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in fields {
        let value = if name == "host" { host } else { value };
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let request = Message { head: head.into(), body: body.into(), ..Message::default() };
    Exchange { host: host.into(), port: 443, secure: true, request, ..Exchange::default() }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

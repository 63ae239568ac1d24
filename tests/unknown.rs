//! Assistants that nobody has described: the generic pack alone, without the facts of a machine, names most of what they
//! tell of it, and nothing else.
//!
//! Eight invented clients of different shapes. Each request says what is planted in it and where; whatever is found at any
//! other place is a false finding.

use std::sync::Arc;

use bytes::Bytes;
use divulge::engine::rules::PackSource;
use divulge::engine::{DecodeLimits, Engine, EngineParts, Facts, OnError, Part, Policy, Request, RuleSet};
use divulge::wire::head::RequestHead;

/// What stands somewhere on purpose: a kind, or several that say the same of it (`a|b`), and the location, whole or up to its window.
type Planted = (&'static str, &'static str);

#[path = "unknown/binary.rs"]
mod binary;
#[path = "unknown/encode.rs"]
mod encode;
#[path = "unknown/mixed.rs"]
mod mixed;
#[path = "unknown/sent.rs"]
mod sent;
#[path = "unknown/vendor.rs"]
mod vendor;

struct Sent {
    method: &'static str,
    target: &'static str,
    host: &'static str,
    fields: &'static [(&'static str, &'static str)],
    /// Bodies are documents; on a WebSocket each is a message.
    bodies: &'static [&'static str],
    websocket: bool,
    planted: &'static [Planted],
}

#[derive(Debug, Default)]
struct Score {
    planted: usize,
    missed: Vec<String>,
    wrong: Vec<String>,
}

fn generic() -> Arc<Engine> {
    let own = |source: &&PackSource<'_>| source.name.starts_with("rules/generic/");
    let sources: Vec<_> = RuleSet::builtin_sources().iter().filter(own).copied().collect();
    assert!(sources.len() > 100, "only {} files in the generic pack", sources.len());
    Arc::new(Engine::new(EngineParts {
        rules: RuleSet::load_only(&sources).unwrap(),
        facts: Facts::of([]),
        policy: Policy::preset("audit").unwrap(),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }))
}

/// What the engine finds: kinds and locations.
fn found(
    engine: &Arc<Engine>,
    line: (&str, &str, &str),
    fields: &[(&str, &str)],
    parts: Vec<Part>,
) -> Vec<(String, String)> {
    let (method, target, host) = line;
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts(method, target, fields);
    let request = Arc::new(Request { host: host.into(), port: 443, secure: true, head });
    let mut flow = engine.open("1".into(), request);
    parts
        .into_iter()
        .flat_map(|part| flow.audit(part).findings)
        .map(|finding| (finding.kind.to_string(), finding.location.to_string()))
        .collect()
}

impl Score {
    fn add(&mut self, planted: &[Planted], found: &[(String, String)]) {
        let at = |location: &str, place: &str| {
            location.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '!']))
        };
        self.planted += planted.len();
        for (kind, place) in planted {
            if !found.iter().any(|(known, location)| kind.split('|').any(|kind| kind == known) && at(location, place)) {
                let there: Vec<&str> =
                    found.iter().filter(|(_, location)| at(location, place)).map(|(known, _)| known.as_str()).collect();
                self.missed.push(format!("{kind} {place} {there:?}"));
            }
        }
        for (kind, location) in found {
            if !planted.iter().any(|(_, place)| at(location, place)) {
                self.wrong.push(format!("{kind} {location}"));
            }
        }
    }

    #[track_caller]
    fn check(&self, name: &str) {
        let found = self.planted - self.missed.len();
        println!("{name}: {found} of {} planted values found; missed {:#?}", self.planted, self.missed);
        assert!(self.wrong.is_empty(), "{name}: found where nothing is: {:#?}", self.wrong);
        assert!(found * 5 >= self.planted * 4, "{name}: {found} of {}, missed {:#?}", self.planted, self.missed);
    }
}

#[track_caller]
fn check(name: &str, requests: &[Sent]) {
    let engine = generic();
    let mut score = Score::default();
    for sent in requests {
        let mut parts = vec![];
        if sent.websocket || sent.bodies.is_empty() {
            parts.push(Part::Head);
        }
        parts.extend(sent.bodies.iter().enumerate().map(|(index, body)| match sent.websocket {
            true => Part::Message { index: index as u64, text: true, bytes: Bytes::from_static(body.as_bytes()) },
            false => Part::Document(Bytes::from_static(body.as_bytes())),
        }));
        score.add(sent.planted, &found(&engine, (sent.method, sent.target, sent.host), sent.fields, parts));
    }
    score.check(name);
}

/// A client of GraphQL, with a batch of events under short keys, one of them base64.
const MARLIN: &[Sent] = &[
    Sent {
        method: "POST",
        target: "/graphql",
        host: "api.marlin-code.example",
        fields: &[
            ("host", "api.marlin-code.example"),
            ("user-agent", "marlin/4.12.0 (linux; arm64) node/20.18.1"),
            ("authorization", "Bearer mrl_0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
            ("x-marlin-device", "3f8e1c52-9a74-4d1b-b6a0-5c2d7e90ab11"),
            ("content-type", "application/json"),
        ],
        bodies: &[
            r#"{"operationName":"StartTurn","query":"mutation StartTurn($input: TurnInput!) {\n  startTurn(input: $input) {\n    id\n    createdAt\n    messages(first: 20) { nodes { id role text } }\n  }\n}","variables":{"input":{"model":"marlin-large","temperature":0.2,"conversationId":"b7a1d0e4-52c9-4f38-8e6b-1c9f07d3a852","workspace":{"rootPath":"/home/kvogel/src/ledger","vcs":{"branch":"feature/ledger-204","headSha":"9fceb02d0ae598e95dc970b74767f19372d61af8","remoteUrl":"git@git.example.net:vogel/ledger.git","authorEmail":"klara@vogel.example.net"}},"client":{"timezone":"Asia/Shanghai","uiLanguage":"zh-CN","shell":"/bin/zsh"},"context":"You help with code.\n\n<env>\nWorking directory: /home/kvogel/src/ledger\nPlatform: linux\nOS version: Linux 6.8.0-45-generic\nToday's date: 2026-11-22\n</env>","prompt":"Rename the function total to sum and run the tests. Version 2.1.0 of the API stays.","attachments":[{"name":"total.rs","mime":"text/x-rust","text":"pub fn total(rows: &[Row]) -> u64 {\n    rows.iter().map(|row| row.amount).sum()\n}\n"}]}},"extensions":{"persistedQuery":{"version":1,"sha256Hash":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}}}"#,
        ],
        websocket: false,
        planted: &[
            ("os.name", "header:/user-agent"),
            ("os.arch", "header:/user-agent"),
            ("sw.runtime", "header:/user-agent"),
            ("secret.bearer", "header:/authorization"),
            ("id.device", "header:/x-marlin-device"),
            ("id.session", "body!json:/variables/input/conversationId"),
            ("path.project", "body!json:/variables/input/workspace/rootPath"),
            ("git.branch", "body!json:/variables/input/workspace/vcs/branch"),
            ("git.commit", "body!json:/variables/input/workspace/vcs/headSha"),
            ("git.remote", "body!json:/variables/input/workspace/vcs/remoteUrl"),
            ("git.email", "body!json:/variables/input/workspace/vcs/authorEmail"),
            ("tz.iana", "body!json:/variables/input/client/timezone"),
            ("locale.bcp47", "body!json:/variables/input/client/uiLanguage"),
            ("env.shell", "body!json:/variables/input/client/shell"),
            ("path.cwd", "body!json:/variables/input/context"),
            ("os.kernel", "body!json:/variables/input/context"),
            ("time.local", "body!json:/variables/input/context"),
        ],
    },
    Sent {
        method: "POST",
        target: "/v2/b?k=web",
        host: "t.marlin-code.example",
        fields: &[("host", "t.marlin-code.example"), ("content-type", "application/json")],
        bodies: &[
            r#"{"b":[{"e":"app.start","t":1764210000000,"s":1,"p":{"did":"3f8e1c52-9a74-4d1b-b6a0-5c2d7e90ab11","iid":"0d4f6a8b-1c2e-4f30-9a5b-6c7d8e9f0a1b","sid":"b7a1d0e4-52c9-4f38-8e6b-1c9f07d3a852","hn":"ws-kv-0417","usr":"kvogel","tzn":"Asia/Shanghai","tzo":480,"lc":"zh-CN","plat":"linux","kver":"6.8.0-45-generic","arch":"arm64","cpu":"AMD Ryzen 9 7950X","ncpu":16,"ram":33554432000,"gpu":"NVIDIA GeForce RTX 4090","mac":"9c:b6:d0:1f:44:a2","ip":"10.44.7.19","term":"xterm-256color","ed":"nvim","ok":true,"dur":812,"ab":["new-diff","fast-tabs"],"n":"startup","q":0.25}},{"e":"tool.run","t":1764210004000,"s":2,"p":{"tool":"read","ms":14,"ok":true,"lines":120,"ext":"rs","cached":false,"model":"marlin-large","tokens":{"in":1830,"out":212}}},{"e":"env","t":1764210005000,"s":3,"x":"eyJjd2QiOiIvaG9tZS9rdm9nZWwvc3JjL2xlZGdlciIsInNoZWxsIjoiL2Jpbi96c2giLCJub2RlVmVyc2lvbiI6InYyMC4xOC4xIiwidHR5Q29scyI6MTIwfQ=="}],"sent":1764210006000}"#,
        ],
        websocket: false,
        planted: &[
            ("id.device", "body!json:/b/0/p/did"),
            ("id.install", "body!json:/b/0/p/iid"),
            ("id.session", "body!json:/b/0/p/sid"),
            ("host.name", "body!json:/b/0/p/hn"),
            ("user.name", "body!json:/b/0/p/usr"),
            ("tz.iana", "body!json:/b/0/p/tzn"),
            ("tz.offset", "body!json:/b/0/p/tzo"),
            ("locale.bcp47", "body!json:/b/0/p/lc"),
            ("os.name", "body!json:/b/0/p/plat"),
            ("os.kernel", "body!json:/b/0/p/kver"),
            ("os.arch", "body!json:/b/0/p/arch"),
            ("hw.cpu", "body!json:/b/0/p/cpu"),
            ("hw.cores", "body!json:/b/0/p/ncpu"),
            ("hw.mem", "body!json:/b/0/p/ram"),
            ("hw.gpu", "body!json:/b/0/p/gpu"),
            ("net.mac", "body!json:/b/0/p/mac"),
            ("net.ip.local", "body!json:/b/0/p/ip"),
            ("env.term", "body!json:/b/0/p/term"),
            ("env.editor", "body!json:/b/0/p/ed"),
            ("path.cwd", "body!json:/b/2/x!b64!json:/cwd"),
            ("env.shell", "body!json:/b/2/x!b64!json:/shell"),
            ("sw.runtime", "body!json:/b/2/x!b64!json:/nodeVersion"),
        ],
    },
];

/// A client of JSON-RPC over a WebSocket, with identifiers in the headers of the upgrade.
const OKAPI: &[Sent] = &[Sent {
    method: "GET",
    target: "/rpc/v3?locale=zh-CN&install_id=0d4f6a8b-1c2e-4f30-9a5b-6c7d8e9f0a1b&compress=0",
    host: "agent.okapi-dev.example",
    fields: &[
        ("host", "agent.okapi-dev.example"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "okapi.rpc.v3"),
        ("x-okapi-machine-id", "c4d8e2f10b9a7653a3f19c0d5e7b2846"),
        ("x-okapi-session-id", "b7a1d0e4-52c9-4f38-8e6b-1c9f07d3a852"),
        ("x-okapi-user-id", "u_8392017465"),
        ("x-okapi-org-id", "org_5f1d7a84c9"),
        ("x-okapi-client-version", "0.33.7"),
        ("x-okapi-timezone", "Asia/Shanghai"),
        ("accept-language", "zh-CN,zh;q=0.9"),
    ],
    bodies: &[
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{"streaming":true,"tools":["read","edit","run"],"maxTokens":8192},"host":{"hostname":"ws-kv-0417","platform":"linux","release":"6.8.0-45-generic","arch":"arm64","cpus":16,"totalmem":33554432000,"homedir":"/home/kvogel","username":"kvogel"},"workspace":{"cwd":"/home/kvogel/src/ledger","gitRemote":"git@git.example.net:vogel/ledger.git","currentBranch":"feature/ledger-204"},"env":{"SHELL":"/bin/zsh","TERM":"xterm-256color","LANG":"zh_CN.UTF-8"}}}"#,
        r##"{"jsonrpc":"2.0","id":2,"method":"turn/start","params":{"threadId":"5e0c7f19-83ab-4d26-b1f4-92d6a7e3c058","messages":[{"role":"system","content":"# Environment\n- Operating system: Linux 6.8.0-45-generic\n- Shell: /bin/zsh\n- Current directory: /home/kvogel/src/ledger\n- Time zone: Asia/Shanghai\n- Git user: Klara Vogel <klara@vogel.example.net>\n\n# Rules\nAnswer in short sentences. Never touch files outside the project."},{"role":"user","content":"Why does the test for rounding fail? I expect 12.50 but get 12.5."},{"role":"assistant","content":"The formatter drops the last zero. Shall I change it?"},{"role":"user","content":"Yes, and add a test."}],"tools":[{"name":"read","description":"Reads a file of the project.","inputSchema":{"type":"object","properties":{"path":{"type":"string","description":"Path of the file, such as src/main.rs"}},"required":["path"]}}]}}"##,
        r#"{"jsonrpc":"2.0","method":"metrics/report","params":{"latency":{"p50":120,"p95":480},"retries":0,"frames":[16,17,16],"theme":"dark","build":"stable"}}"#,
    ],
    websocket: true,
    planted: &[
        ("locale.bcp47", "query!form:/locale"),
        ("id.install", "query!form:/install_id"),
        ("id.device", "header:/x-okapi-machine-id"),
        ("id.session", "header:/x-okapi-session-id"),
        ("id.account", "header:/x-okapi-user-id"),
        ("id.org", "header:/x-okapi-org-id"),
        ("sw.client_version", "header:/x-okapi-client-version"),
        ("tz.iana", "header:/x-okapi-timezone"),
        ("locale.accept_language", "header:/accept-language"),
        ("host.name", "ws:/0!json:/params/host/hostname"),
        ("os.name", "ws:/0!json:/params/host/platform"),
        ("os.kernel", "ws:/0!json:/params/host/release"),
        ("os.arch", "ws:/0!json:/params/host/arch"),
        ("hw.cores", "ws:/0!json:/params/host/cpus"),
        ("hw.mem", "ws:/0!json:/params/host/totalmem"),
        ("path.home", "ws:/0!json:/params/host/homedir"),
        ("user.name", "ws:/0!json:/params/host/username"),
        ("path.cwd", "ws:/0!json:/params/workspace/cwd"),
        ("git.remote", "ws:/0!json:/params/workspace/gitRemote"),
        ("git.branch", "ws:/0!json:/params/workspace/currentBranch"),
        ("env.shell", "ws:/0!json:/params/env/SHELL"),
        ("env.term", "ws:/0!json:/params/env/TERM"),
        ("locale.posix", "ws:/0!json:/params/env/LANG"),
        ("id.session", "ws:/1!json:/params/threadId"),
        ("os.kernel", "ws:/1!json:/params/messages/0/content"),
        ("env.shell", "ws:/1!json:/params/messages/0/content"),
        ("path.cwd", "ws:/1!json:/params/messages/0/content"),
        ("tz.iana", "ws:/1!json:/params/messages/0/content"),
        ("git.name", "ws:/1!json:/params/messages/0/content"),
        ("git.email", "ws:/1!json:/params/messages/0/content"),
    ],
}];

/// A client with envelopes inside strings, a form of abbreviations, and a prompt in a GraphQL variable.
const VIREO: &[Sent] = &[
    Sent {
        method: "POST",
        target: "/i/v3/ingest",
        host: "edge.vireo-pair.example",
        fields: &[
            ("host", "edge.vireo-pair.example"),
            ("user-agent", "Vireo/2.3.1 (macOS 14.6.1; arm64)"),
            ("x-vireo-tz", "Europe/Paris"),
            ("x-vireo-host-name", "atelier-md-22"),
            ("x-vireo-device-fingerprint", "9d4e1f7ab3c0528668fe17c2a05b9d34"),
            ("content-type", "application/json"),
        ],
        bodies: &[
            r#"{"v":3,"env":{"kind":"batch","seq":41,"data":"{\"runtimeInfo\":{\"osFamily\":\"darwin\",\"osRel\":\"24.1.0\",\"cpuArch\":\"arm64\",\"cpuModelName\":\"Apple M3 Pro\",\"logicalCpus\":12,\"memTotalBytes\":38654705664},\"userCtx\":{\"loginName\":\"mdubois\",\"displayName\":\"Margaux Dubois\",\"emailAddr\":\"margaux@dubois.example.org\"},\"locCtx\":{\"tzName\":\"Europe/Paris\",\"tzOffsetMin\":60,\"uiLocale\":\"fr-FR\",\"countryCode\":\"FR\"},\"wsCtx\":{\"rootDir\":\"/Users/mdubois/dev/serre\",\"gitOrigin\":\"git@git.example.org:dubois/serre.git\",\"gitBranchName\":\"topic/drip-7\"}}"},"meta":{"installId":"6a1f0c92-7d3e-4b85-9e21-0f4c8d7b6a53","anonId":"f2b7c1d8-3e64-4a09-8b5d-91c7e0a2d346","sessId":"0b9e7d15-c834-4f62-a1d0-5e3b8c9f7a21"}}"#,
        ],
        websocket: false,
        planted: &[
            ("os.name", "header:/user-agent"),
            ("os.arch", "header:/user-agent"),
            ("tz.iana", "header:/x-vireo-tz"),
            ("host.name", "header:/x-vireo-host-name"),
            ("id.device", "header:/x-vireo-device-fingerprint"),
            ("os.name", "body!json:/env/data!json:/runtimeInfo/osFamily"),
            ("os.version", "body!json:/env/data!json:/runtimeInfo/osRel"),
            ("os.arch", "body!json:/env/data!json:/runtimeInfo/cpuArch"),
            ("hw.cpu", "body!json:/env/data!json:/runtimeInfo/cpuModelName"),
            ("hw.cores", "body!json:/env/data!json:/runtimeInfo/logicalCpus"),
            ("hw.mem", "body!json:/env/data!json:/runtimeInfo/memTotalBytes"),
            ("user.name", "body!json:/env/data!json:/userCtx/loginName"),
            ("user.fullname", "body!json:/env/data!json:/userCtx/displayName"),
            ("user.email", "body!json:/env/data!json:/userCtx/emailAddr"),
            ("tz.iana", "body!json:/env/data!json:/locCtx/tzName"),
            ("tz.offset", "body!json:/env/data!json:/locCtx/tzOffsetMin"),
            ("locale.bcp47", "body!json:/env/data!json:/locCtx/uiLocale"),
            ("locale.country", "body!json:/env/data!json:/locCtx/countryCode"),
            ("path.project", "body!json:/env/data!json:/wsCtx/rootDir"),
            ("git.remote", "body!json:/env/data!json:/wsCtx/gitOrigin"),
            ("git.branch", "body!json:/env/data!json:/wsCtx/gitBranchName"),
            ("id.install", "body!json:/meta/installId"),
            ("id.anon", "body!json:/meta/anonId"),
            ("id.session", "body!json:/meta/sessId"),
        ],
    },
    Sent {
        method: "POST",
        target: "/p",
        host: "px.vireo-pair.example",
        fields: &[("host", "px.vireo-pair.example"), ("content-type", "application/x-www-form-urlencoded")],
        bodies: &[
            "ev=boot&tz_off=120&tz=Europe%2FParis&lang=fr-FR&hn=atelier-md-22&usr=mdubois&mid=9d4e1f7ab3c0528668fe17c2a05b9d34&os=darwin&osv=14.6.1&arch=arm64&scr=3024x1964&cores=12&ok=1&n=17&theme=dark&plan=trial",
        ],
        websocket: false,
        planted: &[
            ("tz.offset", "body!form:/tz_off"),
            ("tz.iana", "body!form:/tz"),
            ("locale.bcp47", "body!form:/lang"),
            ("host.name", "body!form:/hn"),
            ("user.name", "body!form:/usr"),
            ("id.device", "body!form:/mid"),
            ("os.name", "body!form:/os"),
            ("os.version", "body!form:/osv"),
            ("os.arch", "body!form:/arch"),
            ("hw.screen", "body!form:/scr"),
            ("hw.cores", "body!form:/cores"),
        ],
    },
    Sent {
        method: "POST",
        target: "/gq",
        host: "edge.vireo-pair.example",
        fields: &[("host", "edge.vireo-pair.example"), ("content-type", "application/json")],
        bodies: &[
            r#"{"query":"subscription Turn($in: TurnIn!) { turn(in: $in) { delta } }","variables":{"in":{"instructions":"Session context\n\nCurrent working directory: /Users/mdubois/dev/serre\nOS: macOS 14.6.1\nShell: fish\nLocale: fr-FR\nTimezone: Europe/Paris\nGit branch: topic/drip-7\n\nBe brief.","prompt":"Add a unit test for drip.","depth":3}}}"#,
        ],
        websocket: false,
        planted: &[
            ("path.cwd", "body!json:/variables/in/instructions"),
            ("env.shell", "body!json:/variables/in/instructions"),
            ("tz.iana", "body!json:/variables/in/instructions"),
            ("git.branch", "body!json:/variables/in/instructions"),
        ],
    },
];

/// A client of kebab-case lines of JSON, with OpenTelemetry and base64 among them.
const QUOLL: &[Sent] = &[Sent {
    method: "POST",
    target: "/bulk?mid=5b0c9a7e41d83f26b7e1904c6ad25f38&tz=Asia%2FTokyo",
    host: "logs.quoll-agent.example",
    fields: &[
        ("host", "logs.quoll-agent.example"),
        ("content-type", "application/x-ndjson"),
        ("x-quoll-anonymous-id", "a81f3c5e-6d20-4b97-9e4c-7f0d1b2a8c65"),
        ("cookie", "quoll_uid=84410927; theme=dark"),
    ],
    bodies: &[concat!(
        r#"{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"kettle-ws-3"}},{"key":"host.id","value":{"stringValue":"5b0c9a7e41d83f26b7e1904c6ad25f38"}},{"key":"os.type","value":{"stringValue":"linux"}},{"key":"process.owner","value":{"stringValue":"tnakamura"}},{"key":"service.version","value":{"stringValue":"0.9.2"}}]}}"#,
        "\n",
        r#"{"machine-id":"5b0c9a7e41d83f26b7e1904c6ad25f38","time-zone":"Asia/Tokyo","utc-offset":"+09:00","sys-locale":"ja_JP.UTF-8","user-name":"tnakamura","git-user-email":"taro@nakamura.example.jp","session-id":"3d7a5c18-90be-4f12-8c6d-b2e4f0a91753","count":3,"ok":true}"#,
        "\n",
        r#"{"p":"eyJjdHgiOnsiaG9tZS1kaXIiOiIvaG9tZS90bmFrYW11cmEiLCJ3b3JrLWRpciI6Ii9ob21lL3RuYWthbXVyYS9sYWIva2V0dGxlIiwibG9naW4tc2hlbGwiOiIvdXNyL2Jpbi96c2giLCJ0ZXJtLXByb2dyYW0iOiJXZXpUZXJtIn0sIm5ldCI6eyJsb2NhbC1pcCI6IjE5Mi4xNjguNzcuMTQiLCJtYWMtYWRkciI6IjNjOjIyOmZiOjYxOjBlOjlhIiwic3NpZCI6ImxhYi01ZiJ9fQ==","k":"snapshot"}"#,
        "\n",
        r#"{"k":"tool","name":"grep","ms":18,"hits":7,"cached":false}"#,
        "\n"
    )],
    websocket: false,
    planted: &[
        ("id.device", "query!form:/mid"),
        ("tz.iana", "query!form:/tz"),
        ("id.anon", "header:/x-quoll-anonymous-id"),
        ("id.account", "header:/cookie"),
        ("host.name", "body!lines:/0!json:/resource/attributes/0/value/stringValue"),
        ("host.machine_id", "body!lines:/0!json:/resource/attributes/1/value/stringValue"),
        ("os.name", "body!lines:/0!json:/resource/attributes/2/value/stringValue"),
        ("user.name", "body!lines:/0!json:/resource/attributes/3/value/stringValue"),
        ("sw.client_version", "body!lines:/0!json:/resource/attributes/4/value/stringValue"),
        ("host.machine_id", "body!lines:/1!json:/machine-id"),
        ("tz.iana", "body!lines:/1!json:/time-zone"),
        ("tz.offset", "body!lines:/1!json:/utc-offset"),
        ("locale.posix", "body!lines:/1!json:/sys-locale"),
        ("user.name", "body!lines:/1!json:/user-name"),
        ("git.email", "body!lines:/1!json:/git-user-email"),
        ("id.session", "body!lines:/1!json:/session-id"),
        ("path.home", "body!lines:/2!json:/p!b64!json:/ctx/home-dir"),
        ("path.cwd", "body!lines:/2!json:/p!b64!json:/ctx/work-dir"),
        ("env.shell", "body!lines:/2!json:/p!b64!json:/ctx/login-shell"),
        ("env.term", "body!lines:/2!json:/p!b64!json:/ctx/term-program"),
        ("net.ip.local", "body!lines:/2!json:/p!b64!json:/net/local-ip"),
        ("net.mac", "body!lines:/2!json:/p!b64!json:/net/mac-addr"),
        ("net.ssid", "body!lines:/2!json:/p!b64!json:/net/ssid"),
    ],
}];

#[test]
fn a_client_of_graphql_with_short_keys_is_read_without_a_pack() {
    check("marlin", MARLIN);
}

#[test]
fn a_client_of_json_rpc_over_a_websocket_is_read_without_a_pack() {
    check("okapi", OKAPI);
}

#[test]
fn a_client_of_envelopes_and_abbreviated_forms_is_read_without_a_pack() {
    check("vireo", VIREO);
}

#[test]
fn a_client_of_kebab_case_lines_is_read_without_a_pack() {
    check("quoll", QUOLL);
}

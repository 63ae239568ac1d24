//! Kestrel, an assistant of many protocols: gRPC-Web text, GraphQL, OTLP, flags with a context in the path, MCP, an error envelope, tags,
//! JSON and pairs in headers.
//!
//! Its traffic was written down before it was measured.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use divulge::engine::Part;

use super::encode::{Msg, Num, Str, envelope, messages, protobuf};
use super::sent::{Sent, check};

const CONTEXT: &str = r#"{"kind":"multi","user":{"key":"usr_7b20e6d1","email":"peter@mwangi.example.org","name":"Peter Mwangi"},"device":{"key":"2d94f1c7-60be-4f3a-8d15-e7a09b3c5f82","os":{"family":"macOS","version":"26.1"},"manufacturer":"Apple","model":"Mac16,7"},"session":{"key":"91c3a7f2-5e08-4b6d-a4f9-0d17e2b86c35"}}"#;

const GRAPHQL: &str = r#"{"operationName":"CreateRun","variables":{"input":{"agent":"kestrel-2","clientMutationId":"1","prompt":"Explain why parse() drops the last token, see src/lex.rs line 88.","repo":{"cloneUrl":"ssh://git@git.example.org:2222/mwangi/sokoni.git","ref":"refs/heads/peter/tokens","sha":"b1946ac92492d2347c6235b4d2611184d2f0a9c3","author":{"name":"Peter Mwangi","email":"peter@mwangi.example.org"}},"host":{"hostname":"pm-mbp.local","user":"pmwangi","home":"/Users/pmwangi","pwd":"/Users/pmwangi/src/sokoni","uname":"Darwin pm-mbp.local 25.1.0 Darwin Kernel Version 25.1.0 arm64","shell":"/opt/homebrew/bin/fish","term":"WezTerm","editor":"zed 0.210.3","utcOffset":"+03:00","locale":"sw_KE.UTF-8"},"limits":{"maxSteps":40,"budgetUsd":2.5}}},"query":"mutation CreateRun($input: CreateRunInput!) { createRun(input: $input) { run { id status } } }"}"#;

const TRACES: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"kestrel-cli"}},{"key":"service.version","value":{"stringValue":"2.31.0"}},{"key":"host.name","value":{"stringValue":"pm-mbp.local"}},{"key":"host.id","value":{"stringValue":"6E1B0A2D-93C4-5F87-A0D6-41C97E2B85F3"}},{"key":"host.arch","value":{"stringValue":"arm64"}},{"key":"os.type","value":{"stringValue":"darwin"}},{"key":"os.version","value":{"stringValue":"26.1"}},{"key":"process.owner","value":{"stringValue":"pmwangi"}},{"key":"process.executable.path","value":{"stringValue":"/Users/pmwangi/.local/bin/kestrel"}},{"key":"process.runtime.version","value":{"stringValue":"1.3.2"}},{"key":"enduser.id","value":{"stringValue":"usr_7b20e6d1"}}]},"scopeSpans":[{"scope":{"name":"agent"},"spans":[{"name":"tool.read","kind":1,"startTimeUnixNano":"1763640000000000000","endTimeUnixNano":"1763640000120000000","attributes":[{"key":"file.lines","value":{"intValue":"120"}},{"key":"gen_ai.request.model","value":{"stringValue":"kestrel-2"}},{"key":"vcs.ref.head.name","value":{"stringValue":"peter/tokens"}},{"key":"vcs.repository.url.full","value":{"stringValue":"https://git.example.org/mwangi/sokoni.git"}}]}]}]}]}"#;

const EVENTS: &str = concat!(
    r#"{"n":"boot","d":{"aid":"2d94f1c7-60be-4f3a-8d15-e7a09b3c5f82","sid":"91c3a7f2-5e08-4b6d-a4f9-0d17e2b86c35","hst":"pm-mbp.local","usr":"pmwangi","tz":"Africa/Nairobi","lng":"sw-KE","mdl":"Mac16,7","cpu":"Apple M4 Pro","ncpu":14,"ram_gb":48,"wan":"41.90.64.23","eth":"f4:d4:88:6b:0e:c5","ms":311}}"#,
    "\n",
    r#"{"n":"lint","d":{"rules":212,"ms":48,"ok":true,"lang":"rust","tool":"clippy","version":"0.1.92"}}"#,
    "\n",
    r#"{"n":"gauge","tags":["os:darwin","arch:arm64","tz:Africa/Nairobi","user:pmwangi","channel:beta"],"v":1}"#,
    "\n",
);

const CRASH: &str = concat!(
    r#"{"event_id":"5c3f9be27a1d4e08b6f0d4a1c97e2b85","sent_at":"2026-11-20T12:00:01Z","sdk":{"name":"sentry.rust","version":"0.45.0"}}"#,
    "\n",
    r#"{"type":"event"}"#,
    "\n",
    r#"{"level":"fatal","platform":"native","server_name":"pm-mbp.local","user":{"id":"usr_7b20e6d1","ip_address":"192.168.8.44","username":"pmwangi"},"contexts":{"os":{"name":"macOS","version":"26.1","kernel_version":"25.1.0"},"device":{"model":"Mac16,7","arch":"arm64","memory_size":51539607552,"processor_count":14,"screen_resolution":"3456x2234"},"culture":{"locale":"sw-KE","timezone":"Africa/Nairobi"}},"exception":{"values":[{"type":"panic","value":"index out of bounds: the len is 3 but the index is 3","stacktrace":{"frames":[{"function":"kestrel::lex::next","lineno":88,"abs_path":"/Users/pmwangi/src/sokoni/src/lex.rs"}]}}]}}"#,
    "\n",
);

const MCP: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"roots":{"listChanged":true}},"clientInfo":{"name":"kestrel","version":"2.31.0"}}}"#;
const ROOTS: &str =
    r#"{"jsonrpc":"2.0","id":3,"result":{"roots":[{"uri":"file:///Users/pmwangi/src/sokoni","name":"sokoni"}]}}"#;
const CALL: &str = r##"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"search_docs","arguments":{"query":"how to set the time zone in a container","page":2,"lang":"en"},"_meta":{"progressToken":7}}}"##;

fn kestrel() -> Vec<Sent> {
    let run = protobuf(&[
        Str(1, "kestrel-2-large"),
        Msg(
            2,
            vec![
                Str(1, "fn next(&mut self) -> Option<Token> {\n    self.tokens.pop()\n}\n"),
                Str(2, "rust"),
                Num(3, 88),
            ],
        ),
        Msg(
            3,
            vec![
                Str(1, "2d94f1c7-60be-4f3a-8d15-e7a09b3c5f82"),
                Str(2, "peter@mwangi.example.org"),
                Str(3, "/Users/pmwangi/src/sokoni"),
                Str(4, "/opt/homebrew/bin/fish"),
                Str(5, "Africa/Nairobi"),
                Str(6, "Darwin Kernel Version 25.1.0"),
                Str(7, "sw_KE.UTF-8"),
                Msg(8, vec![Str(1, "ssh://git@git.example.org:2222/mwangi/sokoni.git"), Str(2, "peter/tokens")]),
                Str(9, "f4:d4:88:6b:0e:c5"),
            ],
        ),
        Num(4, 8192),
    ]);
    let path: &'static str = format!("/sdk/evalx/contexts/{}?h=1", URL_SAFE_NO_PAD.encode(CONTEXT)).leak();
    vec![
        Sent {
            line: ("POST", "/kestrel.agent.v2.Agent/Run", "rpc.kestrel-dev.example"),
            fields: vec![
                ("host", "rpc.kestrel-dev.example"),
                ("content-type", "application/grpc-web-text+proto"),
                ("x-grpc-web", "1"),
                ("x-user-agent", "grpc-web-javascript/0.1"),
                (
                    "kestrel-client",
                    r#"{"name":"kestrel-cli","version":"2.31.0","os":"darwin","arch":"arm64","term":"WezTerm"}"#,
                ),
                ("kestrel-device", "2d94f1c7-60be-4f3a-8d15-e7a09b3c5f82"),
                ("kestrel-session", "91c3a7f2-5e08-4b6d-a4f9-0d17e2b86c35"),
                ("kestrel-env", "tz=Africa/Nairobi; locale=sw-KE; shell=fish"),
            ],
            parts: vec![Part::Document(STANDARD.encode(envelope(&run)).into())],
            planted: &[
                ("sw.client_version", "header:/kestrel-client!json:/version"),
                ("os.name", "header:/kestrel-client!json:/os"),
                ("os.arch", "header:/kestrel-client!json:/arch"),
                ("env.term", "header:/kestrel-client!json:/term"),
                ("id.device", "header:/kestrel-device"),
                ("id.session", "header:/kestrel-session"),
                ("tz.iana", "header:/kestrel-env"),
                ("locale.bcp47", "header:/kestrel-env"),
                ("env.shell", "header:/kestrel-env"),
                ("user.email", "body!b64!frame:/0!pb:/3/2"),
                ("path.project|path.cwd|path.home", "body!b64!frame:/0!pb:/3/3"),
                ("env.shell", "body!b64!frame:/0!pb:/3/4"),
                ("tz.iana", "body!b64!frame:/0!pb:/3/5"),
                ("os.kernel", "body!b64!frame:/0!pb:/3/6"),
                ("locale.posix", "body!b64!frame:/0!pb:/3/7"),
                ("git.remote", "body!b64!frame:/0!pb:/3/8/1"),
                ("net.mac", "body!b64!frame:/0!pb:/3/9"),
            ],
        },
        Sent {
            line: ("POST", "/graphql", "api.kestrel-dev.example"),
            fields: vec![
                ("host", "api.kestrel-dev.example"),
                ("user-agent", "kestrel-cli/2.31.0 darwin/25.1.0 arm64"),
                ("cookie", "_kid=2d94f1c7-60be-4f3a-8d15-e7a09b3c5f82; tz=Africa%2FNairobi; consent=1"),
                ("content-type", "application/json"),
            ],
            parts: vec![Part::Document(GRAPHQL.into())],
            planted: &[
                ("sw.client_version", "header:/user-agent"),
                ("os.name|os.kernel", "header:/user-agent"),
                ("os.arch", "header:/user-agent"),
                ("id.device|id.anon", "header:/cookie!cookie:/_kid"),
                ("tz.iana", "header:/cookie!cookie:/tz"),
                ("git.remote", "body!json:/variables/input/repo/cloneUrl"),
                ("git.branch", "body!json:/variables/input/repo/ref"),
                ("git.commit", "body!json:/variables/input/repo/sha"),
                ("git.name|user.fullname", "body!json:/variables/input/repo/author/name"),
                ("git.email|user.email", "body!json:/variables/input/repo/author/email"),
                ("host.name", "body!json:/variables/input/host/hostname"),
                ("user.name", "body!json:/variables/input/host/user"),
                ("path.home", "body!json:/variables/input/host/home"),
                ("path.cwd", "body!json:/variables/input/host/pwd"),
                ("os.kernel", "body!json:/variables/input/host/uname"),
                ("env.shell", "body!json:/variables/input/host/shell"),
                ("env.term", "body!json:/variables/input/host/term"),
                ("env.editor", "body!json:/variables/input/host/editor"),
                ("tz.offset", "body!json:/variables/input/host/utcOffset"),
                ("locale.posix", "body!json:/variables/input/host/locale"),
            ],
        },
        Sent {
            line: ("POST", "/v1/traces", "otel.kestrel-dev.example"),
            fields: vec![("host", "otel.kestrel-dev.example"), ("content-type", "application/json")],
            parts: vec![Part::Document(TRACES.into())],
            planted: &[
                ("sw.client_version", "body!json:/resourceSpans/0/resource/attributes/1/value/stringValue"),
                ("host.name", "body!json:/resourceSpans/0/resource/attributes/2/value/stringValue"),
                ("host.machine_id|id.device", "body!json:/resourceSpans/0/resource/attributes/3/value/stringValue"),
                ("os.arch", "body!json:/resourceSpans/0/resource/attributes/4/value/stringValue"),
                ("os.name", "body!json:/resourceSpans/0/resource/attributes/5/value/stringValue"),
                ("os.version", "body!json:/resourceSpans/0/resource/attributes/6/value/stringValue"),
                ("user.name", "body!json:/resourceSpans/0/resource/attributes/7/value/stringValue"),
                ("path.exec", "body!json:/resourceSpans/0/resource/attributes/8/value/stringValue"),
                ("sw.runtime", "body!json:/resourceSpans/0/resource/attributes/9/value/stringValue"),
                ("id.account", "body!json:/resourceSpans/0/resource/attributes/10/value/stringValue"),
                ("git.branch", "body!json:/resourceSpans/0/scopeSpans/0/spans/0/attributes/2/value/stringValue"),
                ("git.remote", "body!json:/resourceSpans/0/scopeSpans/0/spans/0/attributes/3/value/stringValue"),
            ],
        },
        Sent {
            line: ("GET", path, "flags.kestrel-dev.example"),
            fields: vec![("host", "flags.kestrel-dev.example")],
            parts: vec![Part::Head],
            planted: &[
                ("id.account", "path:/3!b64url!json:/user/key"),
                ("user.email", "path:/3!b64url!json:/user/email"),
                ("user.fullname", "path:/3!b64url!json:/user/name"),
                ("id.device", "path:/3!b64url!json:/device/key"),
                ("os.name", "path:/3!b64url!json:/device/os/family"),
                ("os.version", "path:/3!b64url!json:/device/os/version"),
                ("host.model", "path:/3!b64url!json:/device/manufacturer"),
                ("host.model", "path:/3!b64url!json:/device/model"),
                ("id.session", "path:/3!b64url!json:/session/key"),
            ],
        },
        Sent {
            line: ("POST", "/t", "in.kestrel-dev.example"),
            fields: vec![("host", "in.kestrel-dev.example"), ("content-type", "application/x-ndjson")],
            parts: vec![Part::Document(EVENTS.into())],
            planted: &[
                ("id.device|id.anon", "body!lines:/0!json:/d/aid"),
                ("id.session", "body!lines:/0!json:/d/sid"),
                ("host.name", "body!lines:/0!json:/d/hst"),
                ("user.name", "body!lines:/0!json:/d/usr"),
                ("tz.iana", "body!lines:/0!json:/d/tz"),
                ("locale.bcp47", "body!lines:/0!json:/d/lng"),
                ("host.model", "body!lines:/0!json:/d/mdl"),
                ("hw.cpu", "body!lines:/0!json:/d/cpu"),
                ("hw.cores", "body!lines:/0!json:/d/ncpu"),
                ("hw.mem", "body!lines:/0!json:/d/ram_gb"),
                ("net.ip.public", "body!lines:/0!json:/d/wan"),
                ("net.mac", "body!lines:/0!json:/d/eth"),
                ("os.name", "body!lines:/2!json:/tags/0"),
                ("os.arch", "body!lines:/2!json:/tags/1"),
                ("tz.iana", "body!lines:/2!json:/tags/2"),
                ("user.name", "body!lines:/2!json:/tags/3"),
            ],
        },
        Sent {
            line: ("POST", "/api/42/envelope/", "errors.kestrel-dev.example"),
            fields: vec![("host", "errors.kestrel-dev.example"), ("content-type", "application/x-sentry-envelope")],
            parts: vec![Part::Document(CRASH.into())],
            planted: &[
                ("host.name", "body!lines:/2!json:/server_name"),
                ("id.account", "body!lines:/2!json:/user/id"),
                ("net.ip.local", "body!lines:/2!json:/user/ip_address"),
                ("user.name", "body!lines:/2!json:/user/username"),
                ("os.name", "body!lines:/2!json:/contexts/os/name"),
                ("os.version", "body!lines:/2!json:/contexts/os/version"),
                ("os.kernel", "body!lines:/2!json:/contexts/os/kernel_version"),
                ("host.model", "body!lines:/2!json:/contexts/device/model"),
                ("os.arch", "body!lines:/2!json:/contexts/device/arch"),
                ("hw.mem", "body!lines:/2!json:/contexts/device/memory_size"),
                ("hw.cores", "body!lines:/2!json:/contexts/device/processor_count"),
                ("hw.screen", "body!lines:/2!json:/contexts/device/screen_resolution"),
                ("locale.bcp47", "body!lines:/2!json:/contexts/culture/locale"),
                ("tz.iana", "body!lines:/2!json:/contexts/culture/timezone"),
                ("path.project|path.home", "body!lines:/2!json:/exception/values/0/stacktrace/frames/0/abs_path"),
            ],
        },
        Sent {
            line: ("GET", "/mcp", "mcp.kestrel-dev.example"),
            fields: vec![("host", "mcp.kestrel-dev.example"), ("upgrade", "websocket"), ("connection", "Upgrade")],
            parts: messages(&[MCP, ROOTS, CALL]),
            planted: &[
                ("sw.client_version", "ws:/0!json:/params/clientInfo/version"),
                ("path.project|path.cwd", "ws:/1!json:/result/roots/0/uri"),
            ],
        },
    ]
}

#[test]
fn a_client_of_many_protocols_is_read_without_a_pack() {
    check("kestrel", kestrel());
}

//! Two clients that say most things in other formats than JSON: msgpack, protobuf, multipart, forms, GraphQL, headers.
//!
//! Their traffic was written down before it was measured.

use bytes::Bytes;
use divulge::engine::Part;

use super::encode::{Bool, Float, Int, List, Map, Msg, Num, Str, Text, Value, envelope, msgpack, multipart, protobuf};
use super::sent::{Sent, check};

/// A command line assistant: turns and telemetry in msgpack, crash reports as multipart, a licence check in the query.
fn heron() -> Vec<Sent> {
    let turn = Map(vec![
        ("v", Int(3)),
        ("model", Text("heron-2-large")),
        ("temperature", Float(0.2)),
        ("conversation_id", Text("8b1f6c02-4f7d-4a39-9e21-6d0c57ab3e18")),
        (
            "context",
            Map(vec![
                ("cwd", Text("/home/mlindqvist/dev/harbour")),
                (
                    "git",
                    Map(vec![
                        ("branch", Text("fix/tide-table")),
                        ("remote", Text("git@git.example.org:lindqvist/harbour.git")),
                        ("head", Text("4e1243bd22c66e76c2ba9eddc1f91394e57f9f83")),
                        ("dirty", Bool(true)),
                    ]),
                ),
                ("os", Text("linux")),
                ("kernel", Text("6.12.4-arch1-1")),
                ("shell", Text("/usr/bin/fish")),
                ("timezone", Text("Europe/Stockholm")),
                ("locale", Text("sv-SE")),
            ]),
        ),
        (
            "messages",
            List(vec![
                Map(vec![
                    ("role", Text("system")),
                    (
                        "content",
                        Text(
                            "You are Heron.\n\nWorking directory: /home/mlindqvist/dev/harbour\nToday's date: 2026-11-20\nGit user: Maja Lindqvist\n",
                        ),
                    ),
                ]),
                Map(vec![
                    ("role", Text("user")),
                    ("content", Text("Why is the tide table off by one row? See table.py, line 40.")),
                ]),
            ]),
        ),
        ("tools", List(vec![Text("read"), Text("edit"), Text("shell")])),
        ("max_tokens", Int(4096)),
        ("stream", Bool(true)),
    ]);
    let events = List(vec![
        Map(vec![
            ("event", Text("session_start")),
            ("ts", Int(1_763_640_000)),
            (
                "props",
                Map(vec![
                    ("device_id", Text("c1f0a7d2-8e35-4b6a-9d14-0fe2b3857a66")),
                    ("hostname", Text("tern-workstation")),
                    ("username", Text("mlindqvist")),
                    ("arch", Text("x86_64")),
                    ("cpu_model", Text("Intel(R) Core(TM) i7-1370P")),
                    ("cpu_count", Int(20)),
                    ("total_memory", Int(33_421_721_600)),
                    ("terminal", Text("alacritty")),
                    ("client_version", Text("2.14.1")),
                    ("node_version", Text("v22.21.0")),
                    ("local_ip", Text("192.168.14.23")),
                    ("theme", Text("dark")),
                    ("startup_ms", Int(412)),
                ]),
            ),
        ]),
        Map(vec![
            ("event", Text("tool_call")),
            ("ts", Int(1_763_640_031)),
            (
                "props",
                Map(vec![
                    ("tool", Text("read")),
                    ("duration_ms", Int(12)),
                    ("ok", Bool(true)),
                    ("bytes", Int(5210)),
                    (
                        "digest",
                        Value::Bytes(vec![
                            0x9a, 0x1f, 0x44, 0xc0, 0x07, 0xee, 0x52, 0x3b, 0x88, 0x16, 0xd9, 0x70, 0x2c, 0xa5, 0x63,
                            0xfe,
                        ]),
                    ),
                ]),
            ),
        ]),
    ]);
    let crash = multipart(&[
        (
            "meta",
            "application/json",
            r#"{"product":"heron","install_id":"5d20e9b7-3c41-4f8e-a6d5-917b0c24ef83","os_version":"Arch Linux","user":{"email":"maja@lindqvist.example.org"},"level":"error"}"#,
        ),
        ("machine_id", "", "7f3d9c0e5a1b48628d4ef0a6b29c7153"),
        (
            "log",
            "text/plain",
            "panic: index out of range [7] with length 7\ngoroutine 1 [running]:\nmain.render(/home/mlindqvist/dev/harbour/table.go:40)\n",
        ),
        ("channel", "", "stable"),
    ]);
    vec![
        Sent {
            line: ("POST", "/v3/turns", "api.heron-assist.example"),
            fields: vec![
                ("host", "api.heron-assist.example"),
                ("user-agent", "heron/2.14.1 (linux; x64) node/22.21.0"),
                ("authorization", "Bearer hrn_live_7c1d5e0f9a3b4862d4ef0a6b29c71538"),
                ("x-heron-install", "5d20e9b7-3c41-4f8e-a6d5-917b0c24ef83"),
                ("content-type", "application/msgpack"),
            ],
            parts: vec![Part::Document(msgpack(&turn).into())],
            planted: &[
                ("os.name", "header:/user-agent"),
                ("os.arch", "header:/user-agent"),
                ("sw.runtime", "header:/user-agent"),
                ("secret.bearer", "header:/authorization"),
                ("id.install", "header:/x-heron-install"),
                ("id.session", "body!msgpack:/conversation_id"),
                ("path.cwd", "body!msgpack:/context/cwd"),
                ("git.branch", "body!msgpack:/context/git/branch"),
                ("git.remote", "body!msgpack:/context/git/remote"),
                ("git.commit", "body!msgpack:/context/git/head"),
                ("os.name", "body!msgpack:/context/os"),
                ("os.kernel", "body!msgpack:/context/kernel"),
                ("env.shell", "body!msgpack:/context/shell"),
                ("tz.iana", "body!msgpack:/context/timezone"),
                ("locale.bcp47", "body!msgpack:/context/locale"),
                ("path.cwd", "body!msgpack:/messages/0/content"),
                ("time.local", "body!msgpack:/messages/0/content"),
                ("git.name", "body!msgpack:/messages/0/content"),
            ],
        },
        Sent {
            line: ("POST", "/ingest", "events.heron-assist.example"),
            fields: vec![("host", "events.heron-assist.example"), ("content-type", "application/x-msgpack")],
            parts: vec![Part::Document(msgpack(&events).into())],
            planted: &[
                ("id.device", "body!msgpack:/0/props/device_id"),
                ("host.name", "body!msgpack:/0/props/hostname"),
                ("user.name", "body!msgpack:/0/props/username"),
                ("os.arch", "body!msgpack:/0/props/arch"),
                ("hw.cpu", "body!msgpack:/0/props/cpu_model"),
                ("hw.cores", "body!msgpack:/0/props/cpu_count"),
                ("hw.mem", "body!msgpack:/0/props/total_memory"),
                ("env.term", "body!msgpack:/0/props/terminal"),
                ("sw.client_version", "body!msgpack:/0/props/client_version"),
                ("sw.runtime", "body!msgpack:/0/props/node_version"),
                ("net.ip.local", "body!msgpack:/0/props/local_ip"),
            ],
        },
        Sent {
            line: ("POST", "/crash", "events.heron-assist.example"),
            fields: vec![
                ("host", "events.heron-assist.example"),
                ("content-type", "multipart/form-data; boundary=cut"),
            ],
            parts: vec![Part::Document(crash.into())],
            planted: &[
                ("id.install", "body!multipart:/meta!json:/install_id"),
                ("os.distro", "body!multipart:/meta!json:/os_version"),
                ("user.email", "body!multipart:/meta!json:/user/email"),
                ("id.device", "body!multipart:/machine_id"),
                ("path.project", "body!multipart:/log"),
            ],
        },
        Sent {
            line: (
                "GET",
                "/licence/check?seat=mlindqvist&machine=7f3d9c0e5a1b48628d4ef0a6b29c7153&tz=Europe%2FStockholm&v=2.14.1&channel=stable",
                "licence.heron-assist.example",
            ),
            fields: vec![("host", "licence.heron-assist.example"), ("accept-language", "sv-SE,sv;q=0.9,en;q=0.8")],
            parts: vec![Part::Head],
            planted: &[
                ("user.name", "query!form:/seat"),
                ("id.device", "query!form:/machine"),
                ("tz.iana", "query!form:/tz"),
                ("sw.client_version", "query!form:/v"),
                ("locale.accept_language", "header:/accept-language"),
            ],
        },
    ]
}

/// An editor's assistant: GraphQL for the turn, gRPC for completions, a beacon as a form, identity in headers and a cookie.
fn bittern() -> Vec<Sent> {
    let complete = protobuf(&[
        Str(1, "bittern-fast"),
        Msg(
            2,
            vec![
                Str(1, "/Users/oyelaran/code/granary/src/silo.ts"),
                Str(2, "export function fill(level: number) {\n  return level + 1;\n}\n"),
                Num(3, 41),
                Str(4, "typescript"),
            ],
        ),
        Msg(
            3,
            vec![
                Str(1, "Darwin 25.1.0"),
                Str(2, "/bin/zsh"),
                Str(3, "Africa/Lagos"),
                Str(4, "e0c5b1a4-7d92-4f36-8b0e-53a9d61f2c77"),
                Str(5, "tunde@oyelaran.example.com"),
                Msg(
                    6,
                    vec![
                        Str(1, "https://git.example.com/oyelaran/granary.git"),
                        Str(2, "9d8c7b6a5f4e3d2c1b0a99887766554433221100"),
                    ],
                ),
            ],
        ),
        Num(4, 256),
    ]);
    vec![
        Sent {
            line: ("POST", "/graphql", "gateway.bittern-code.example"),
            fields: vec![
                ("host", "gateway.bittern-code.example"),
                ("x-bittern-machine-id", "0d6f5b2e91c84a37b8e3d07c4f12a965"),
                ("x-bittern-session", "2f7b9e31-06c4-4d8a-a51f-c3e80b96d742"),
                ("x-bittern-editor", "vscode/1.106.0"),
                ("x-bittern-os", "macOS 26.1"),
                ("x-bittern-tz-offset", "+01:00"),
                ("cookie", "uid=acct_5519027364; theme=light"),
                ("content-type", "application/json"),
            ],
            parts: vec![Part::Document(Bytes::from_static(br#"{"operationName":"Ask","variables":{"question":"Rename fill to top up.","workspace":{"name":"granary","folders":["/Users/oyelaran/code/granary"],"openFiles":["src/silo.ts","src/index.ts"]},"profile":{"fullName":"Tunde Oyelaran","email":"tunde@oyelaran.example.com","organizationId":"org_77b1c0d9e2"},"environment":{"screenResolution":"3024x1964","keyboardLayout":"ABC","countryCode":"NG","appVersion":"7.3.0","electron":"39.2.0"},"limit":20,"after":"Y3Vyc29yOjIw"},"query":"query Ask($question: String!) { ask(question: $question) { id answer } }"}"#))],
            planted: &[
                ("id.device", "header:/x-bittern-machine-id"),
                ("id.session", "header:/x-bittern-session"),
                ("env.editor", "header:/x-bittern-editor"),
                ("os.version", "header:/x-bittern-os"),
                ("tz.offset", "header:/x-bittern-tz-offset"),
                ("id.account", "header:/cookie"),
                ("path.project", "body!json:/variables/workspace/folders/0"),
                ("user.fullname", "body!json:/variables/profile/fullName"),
                ("user.email", "body!json:/variables/profile/email"),
                ("id.org", "body!json:/variables/profile/organizationId"),
                ("hw.screen", "body!json:/variables/environment/screenResolution"),
                ("locale.keyboard", "body!json:/variables/environment/keyboardLayout"),
                ("locale.country", "body!json:/variables/environment/countryCode"),
                ("sw.client_version", "body!json:/variables/environment/appVersion"),
                ("sw.runtime", "body!json:/variables/environment/electron"),
            ],
        },
        Sent {
            line: ("POST", "/bittern.v1.Completion/Stream", "grpc.bittern-code.example"),
            fields: vec![
                ("host", "grpc.bittern-code.example"),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
                ("user-agent", "grpc-node-js/1.14.0"),
            ],
            parts: vec![Part::Head, Part::Frame { index: 0, bytes: envelope(&complete).into() }],
            planted: &[
                ("path.project", "body!frame:/0!pb:/2/1"),
                ("os.kernel", "body!frame:/0!pb:/3/1"),
                ("env.shell", "body!frame:/0!pb:/3/2"),
                ("tz.iana", "body!frame:/0!pb:/3/3"),
                ("user.email", "body!frame:/0!pb:/3/5"),
                ("git.remote", "body!frame:/0!pb:/3/6/1"),
            ],
        },
        Sent {
            line: ("POST", "/b", "beacon.bittern-code.example"),
            fields: vec![
                ("host", "beacon.bittern-code.example"),
                ("content-type", "application/x-www-form-urlencoded"),
            ],
            parts: vec![Part::Document(Bytes::from_static(b"e=activate&installId=b8417d0c-52ae-4c93-9f60-1e7d35ca8b24&deviceName=Tundes-MacBook-Pro&userName=oyelaran&lang=en-NG&timeZone=Africa%2FLagos&platform=darwin&arch=arm64&mem=36864&wifi=oyelaran-home&mac=a4%3A83%3Ae7%3A2c%3A90%3A1b&n=3&ok=1&t=1763640000"))],
            planted: &[
                ("id.install", "body!form:/installId"),
                ("host.name", "body!form:/deviceName"),
                ("user.name", "body!form:/userName"),
                ("locale.bcp47", "body!form:/lang"),
                ("tz.iana", "body!form:/timeZone"),
                ("os.name", "body!form:/platform"),
                ("os.arch", "body!form:/arch"),
                ("hw.mem", "body!form:/mem"),
                ("net.ssid", "body!form:/wifi"),
                ("net.mac", "body!form:/mac"),
            ],
        },
    ]
}

#[test]
fn a_client_of_msgpack_and_multipart_is_read_without_a_pack() {
    check("heron", heron());
}

#[test]
fn a_client_of_graphql_grpc_and_forms_is_read_without_a_pack() {
    check("bittern", bittern());
}

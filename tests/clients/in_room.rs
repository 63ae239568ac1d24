//! The same turns in the sealed room of `run --sealed`, where no variable has to be honoured: whatever a client opens is met.
//!
//! Claude Code by default; every client under `audit` and `balanced` with `DIVULGE_CLIENTS=all`.

use super::results;
use super::room::{Client, HOST, PROJECT, Place, Run, audit, installed};
use super::signed_in::{COPILOT, CURSOR, OPENCODE, QODER, all};
use super::{CLAUDE, CODEX, GEMINI, QWEN};

/// The account that ends a sealed run: all connections, and those of each sort.
fn account(run: &Run) -> (u64, Vec<(u64, String)>) {
    let line = run.told.lines().find_map(|line| line.strip_prefix("room: "));
    let line = line.unwrap_or_else(|| panic!("{}: no account of the room in {}", run.client, run.told));
    let mut parts = line.split(", ").map(|part| {
        let (count, what) = part.split_once(' ').unwrap();
        (count.parse().unwrap(), what.to_owned())
    });
    (parts.next().unwrap().0, parts.collect())
}

/// What Qoder's exporter sends without asking any proxy.
const QODER_TELEMETRY: &[Place] = &[
    (HOST, "api2.qoder.sh", "body!json:/resourceLogs/*/resource/attributes/*/value/stringValue"),
    (HOST, "api2.qoder.sh", "body!json:/resourceLogs/*/resource/attributes/*/value/arrayValue/values/*/stringValue"),
    (HOST, "api2.qoder.sh", "body!json:/resourceSpans/*/resource/attributes/*/value/stringValue"),
    (PROJECT, "api2.qoder.sh", "body!json:/resourceLogs/*/scopeLogs/*/logRecords/*/"),
];

/// Completes in the room, what was planted is found at its places, those `around` the proxy among them, and every connection is accounted for.
fn sealed_turn(client: &Client, around: &[Place]) {
    let mut told = Vec::new();
    // Below somebody's home, which a room hides.
    let shown = installed(client.name).display().to_string();
    for policy in if all() { &["audit", "balanced"][..] } else { &["audit"] } {
        let run =
            audit(client, &["--sealed", "--room-home", "$HOME", "--room-show", &shown, "--policy", policy, "--reveal"])
                .completed();
        run.expect_places(client.places);
        run.expect_places(around);
        let (connections, sorts) = account(&run);
        let of = |name: &str| sorts.iter().find(|(_, what)| what == name).map_or(0, |(count, _)| *count);
        let met: u64 =
            ["audited", "plain text", "unread", "refused our certificate", "without a request"].map(of).iter().sum();
        assert!(of("audited") > 0 && connections == met, "{}: {connections} connections, {sorts:?}", client.name);
        if *policy != "audit" {
            assert!(run.flows().any(|flow| flow["verdict"] == "edited"), "{}: {policy} edited nothing", client.name);
        }
        told.push(format!("{policy}: {connections} connections, {} around the proxy, all met", of("around the proxy")));
    }
    results::passed(client.name, "sealed", &told.join("; "));
}

#[test]
fn claude_code_completes_its_turn_in_the_sealed_room() {
    sealed_turn(&CLAUDE, &[]);
}

/// A test for each of the others, when all are asked for.
macro_rules! others {
    ($($name:ident: $client:expr, $around:expr;)*) => {$(
        #[test]
        fn $name() {
            if all() {
                sealed_turn(&$client, $around);
            }
        }
    )*};
}

others! {
    codex_completes_its_turn_in_the_sealed_room: CODEX, &[];
    gemini_cli_completes_its_turn_in_the_sealed_room: GEMINI, &[];
    qwen_code_completes_its_turn_in_the_sealed_room: QWEN, &[];
    opencode_completes_its_turn_in_the_sealed_room: OPENCODE, &[];
    qoder_completes_its_turn_in_the_sealed_room: QODER, QODER_TELEMETRY;
    cursor_sdk_completes_its_turn_in_the_sealed_room: CURSOR, &[];
    copilot_cli_completes_its_turn_in_the_sealed_room: COPILOT, &[];
}

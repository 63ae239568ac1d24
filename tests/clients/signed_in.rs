//! Assistants that sign in before they ask a model, or bring their own model: one turn each by default, and the same under
//! the other policies with `DIVULGE_CLIENTS=all`.

use super::results;
use super::room::{Client, HOST, PERSON, PROJECT, REMOTE, Upstream, audit};

pub const QODER: Client = Client {
    name: "qoder",
    setup: "",
    variables: &["QODER_PERSONAL_ACCESS_TOKEN=pt-dummy-token-of-the-sealed-room"],
    command: &["qodercli", "-p"],
    upstream: Upstream::Services,
    places: &[
        (HOST, "api2.qoder.sh", "header:/cosy-machinehostname"),
        (HOST, "api2.qoder.sh", "body!qoder!json:/chat_context/text"),
        (HOST, "api2.qoder.sh", "body!qoder!json:/messages/*/"),
        (PROJECT, "api2.qoder.sh", "body!qoder!json:/system/*/text"),
        (PERSON, "api2.qoder.sh", "body!qoder!json:/system/*/text"),
        (PROJECT, "api2.qoder.sh", "body!qoder!json:/messages/*/"),
    ],
};

pub const CURSOR: Client = Client {
    name: "cursor-sdk",
    setup: "",
    variables: &["CURSOR_API_KEY=key_dummy0of0the0sealed0room0000000"],
    command: &["cursor-agent"],
    upstream: Upstream::Services,
    places: &[
        (HOST, "api2.cursor.sh", "body!pb:/1!hex!pb:/1/2/1/1/1"),
        (PROJECT, "api2.cursor.sh", "body!pb:/1!hex!pb:/2/10/1/1/4/2"),
        (REMOTE, "api2.cursor.sh", "body!pb:/1!hex!pb:/2/10/1/1/11/4"),
    ],
};

pub const COPILOT: Client = Client {
    name: "copilot",
    setup: "",
    variables: &[
        "COPILOT_GITHUB_TOKEN=github_pat_11DUMMY00of0the0sealed0room_000000000000000000000000000000000000000000000000000000000000",
    ],
    command: &["copilot", "--allow-all-tools", "-p"],
    upstream: Upstream::Services,
    places: &[
        (HOST, "api.individual.githubcopilot.com", "body!json:/messages/*/content"),
        (PROJECT, "api.individual.githubcopilot.com", "body!json:/messages/*/content"),
    ],
};

/// The same with a key for a model of one's own.
pub const COPILOT_OWN_KEY: Client = Client {
    variables: &[
        "COPILOT_PROVIDER_BASE_URL=https://api.openai.com/v1",
        "COPILOT_PROVIDER_API_KEY=sk-dummy-key-of-the-sealed-room",
        "COPILOT_MODEL=gpt-5",
    ],
    upstream: Upstream::BuiltIn,
    ..COPILOT
};

pub const OPENCODE: Client = Client {
    name: "opencode",
    setup: "",
    variables: &["ANTHROPIC_API_KEY=sk-ant-api03-dummy-key-of-the-sealed-room"],
    command: &["opencode", "run", "--model", "anthropic/claude-sonnet-4-5"],
    upstream: Upstream::BuiltIn,
    places: &[
        (HOST, "api.anthropic.com", "body!json:/messages/*/content/*/text"),
        (PROJECT, "api.anthropic.com", "body!json:/system/*/text"),
    ],
};

pub fn all() -> bool {
    std::env::var("DIVULGE_CLIENTS").is_ok_and(|wanted| wanted == "all")
}

/// Under a policy that edits, the turn completes and nothing planted is shown.
pub fn edited_turn(client: &Client) {
    for policy in ["balanced", "strict"] {
        let run = audit(client, &["--policy", policy]).completed();
        run.keeps_quiet();
        assert!(run.flows().any(|flow| flow["verdict"] == "edited"), "{}: {policy} edited nothing", client.name);
        results::stripped(client.name, policy);
    }
}

#[test]
fn qoder_completes_its_turn_and_the_audit_names_what_it_sent() {
    let run = audit(&QODER, &["--policy", "audit", "--reveal"]).completed();
    run.expect_places(QODER.places);
    let chat = "body!qoder!json:/";
    run.expect(
        "api2.qoder.sh",
        &[
            ("host.name", "header:/cosy-machinehostname"),
            ("id.device", "header:/cosy-machineid"),
            ("id.device", "header:/cosy-machinetoken"),
            ("id.device", "header:/cosy-clientip"),
            ("id.account", "header:/cosy-user"),
            ("os.name", "header:/cosy-machineos"),
            ("integrity.cosy", "header:/authorization"),
            ("id.session", "body!qoder!json:/session_id"),
            ("path.cwd", "body!qoder!json:/system/1/text"),
            ("git.name", "body!qoder!json:/system/1/text"),
            ("git.branch", "body!qoder!json:/system/1/text"),
            ("host.name", chat),
            ("id.device", "body!qoder!json:/payload!json:/mid"),
        ],
    );
    run.expect("openapi.qoder.sh", &[("id.device", "body!json:/machine_id")]);
    run.expect(
        "center.qoder.sh",
        &[("os.arch", "body!qoder!json:/0/os_arch"), ("env.editor", "body!qoder!json:/0/ide_type")],
    );
    run.expect("203.107.1.1", &[("audit.bypass", "query!form:/dn")]);
    run.expect_planted(&[("host.name", HOST), ("git.name", PERSON), ("path.cwd", PROJECT)]);
    results::passed("qoder", "finds", "host, person, project, machine, account, names asked over HTTP-DNS");
    if all() {
        edited_turn(&QODER);
    }
}

#[test]
fn the_cursor_sdk_completes_its_turn_and_the_audit_names_what_it_sent() {
    let run = audit(&CURSOR, &["--policy", "audit", "--reveal"]).completed();
    run.expect_places(CURSOR.places);
    let environment = |field: &str| format!("body!pb:/1!hex!pb:/2/10/1/1/{field}");
    run.expect(
        "api2.cursor.sh",
        &[
            ("os.kernel", &environment("4/1")),
            ("path.cwd", &environment("4/2")),
            ("git.remote", &environment("11/4")),
            ("host.name", "body!pb:/1!hex!pb:/1/2/1/1/1"),
            ("secret.blob_key", "header:/x-blob-encryption-key"),
            ("sw.client_version", "header:/x-cursor-client-version"),
            ("id.request", "header:/x-original-request-id"),
        ],
    );
    run.expect_planted(&[("host.name", HOST), ("git.remote", REMOTE), ("path.cwd", PROJECT)]);
    results::passed("cursor-sdk", "finds", "host, project, repository, kernel, key of the blobs; over HTTP/1.1");
    if all() {
        edited_turn(&CURSOR);
    }
}

#[test]
fn copilot_completes_its_turn_signed_in_and_the_audit_names_what_it_sent() {
    if all() {
        let own = audit(&COPILOT_OWN_KEY, &["--reveal"]).completed();
        own.expect("api.openai.com", &[("path.cwd", "body!json:/messages/"), ("os.name", "header:/x-stainless-os")]);
    }
    let run = audit(&COPILOT, &["--policy", "audit", "--reveal"]).completed();
    run.expect_places(COPILOT.places);
    run.expect(
        "api.individual.githubcopilot.com",
        &[
            ("id.device", "header:/x-client-machine-id"),
            ("id.session", "header:/x-client-session-id"),
            ("sw.client_version", "header:/user-agent"),
            ("tz.offset", "body!json:/messages/"),
            ("path.cwd", "body!json:/messages/"),
        ],
    );
    let event = "json:/data/baseData/properties/payload!json:";
    run.expect(
        "telemetry.individual.githubcopilot.com",
        &[
            ("id.device", &format!("{event}/client/dev_device_id")),
            ("hw.cpu", &format!("{event}/client/cpu_model")),
            ("sw.runtime", &format!("{event}/client/node_version")),
            ("id.anon", &format!("{event}/properties/unique_id")),
        ],
    );
    run.expect_planted(&[("host.name", HOST), ("path.cwd", PROJECT)]);
    results::passed("copilot", "finds", "host, project, offset, machine, processor, in headers and telemetry");
    if all() {
        edited_turn(&COPILOT);
    }
}

#[test]
fn opencode_completes_its_turn_and_the_audit_names_what_it_sent() {
    let run = audit(&OPENCODE, &["--policy", "audit", "--reveal"]).completed();
    run.expect_places(OPENCODE.places);
    run.expect(
        "api.anthropic.com",
        &[
            ("path.cwd", "body!json:/system/0/text"),
            ("id.session", "header:/x-session-id"),
            ("sw.client_version", "header:/user-agent"),
            ("sw.runtime", "header:/user-agent"),
            ("time.local", "body!json:/system/0/text"),
        ],
    );
    run.expect_planted(&[("host.name", HOST), ("path.cwd", PROJECT)]);
    results::passed("opencode", "finds", "host, project, session, run time, date");
    if all() {
        edited_turn(&OPENCODE);
    }
}

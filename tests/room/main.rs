//! The sealed room: what a command finds in it, what it cannot reach, and that all it sends is accounted for.
//!
//! Where the system allows no namespace these tests fail and say how to allow it.
#![cfg(target_os = "linux")]

mod around;
mod client;
mod inside;
mod lifetime;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use divulge::room::{Git, Interface, Outcome, Plan, Room, RoomOptions};

/// The program that has the room's hidden command.
fn divulge() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_divulge"))
}

fn plan() -> Plan {
    Plan {
        hostname: "kanarienvogel-host".into(),
        timezone: "Asia/Kathmandu".into(),
        machine_id: "c0ffee00c0ffee00c0ffee00c0ffee00".into(),
        user: "kanaria".into(),
        home: "/home/kanaria".into(),
        cwd: "/home/kanaria/projekt".into(),
        git: Git {
            name: "Kanaria Vogelsang".into(),
            email: "kanaria@vogelsang.example.com".into(),
            remote: "git@git.example.com:vogelsang/projekt.git".into(),
            branch: "feature/nest".into(),
        },
        interface: Some(Interface {
            name: "eth0".into(),
            mac: "02:ca:4a:17:00:01".into(),
            address: "10.77.88.99".parse().unwrap(),
        }),
        environment: vec![
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
            ("CANARY".into(), "in the coal mine".into()),
        ],
        setup: None,
        time_limit: Duration::from_secs(60),
        terminal: false,
    }
}

fn options() -> RoomOptions {
    RoomOptions { init: Some(PathBuf::from(divulge())), ..RoomOptions::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn built(plan: Plan) -> Room {
    match Room::build_with(plan, options()).await {
        Ok(room) => room,
        Err(error) => panic!("{error}"),
    }
}

fn shell(text: &str) -> Vec<OsString> {
    ["sh", "-c", text].map(OsString::from).to_vec()
}

/// What a command printed, which must have gone well.
fn printed(outcome: &Outcome) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(outcome.status, Some(0), "{}{}", text(&outcome.printed), text(&outcome.errors));
    text(&outcome.printed)
}

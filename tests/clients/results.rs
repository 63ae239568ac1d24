//! What the runs show, for the support matrix: one small file for each client and column, in the tests' own folder.
//!
//! `cargo run --example support_matrix -- target/tmp` takes them over into `docs/support-matrix.json` and renders the page.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::room::{Run, script};

/// Writes what one run showed about decrypting and reading.
pub fn note(run: &Run) {
    let sum = |name: &str| run.flows().filter_map(|flow| flow[name].as_u64()).sum::<u64>();
    let (sent, read) = (sum("bytes_sent"), sum("bytes_read"));
    let refused = run.findings().filter(|finding| finding["kind"] == "audit.untrusted").count();
    let flows = run.flows().count();
    if run.status != Some(0) || flows == 0 || sent == 0 {
        return;
    }
    let decrypts = match refused {
        0 => format!("{flows} requests"),
        _ => format!("{flows} requests, {refused} connections refused our CA"),
    };
    passed(run.client, "decrypts", &decrypts);
    passed(run.client, "reads", &format!("{:.1}%", 100.0 * read as f64 / sent as f64));
}

/// Writes that a test of `column` passed for `client`, and what it showed.
pub fn passed(client: &str, column: &str, result: &str) {
    write(client, column, None, result);
}

fn write(client: &str, column: &str, policy: Option<&str>, result: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let entry = json!({
        "client": client, "version": version(client), "column": column, "policy": policy, "result": result, "date": today(),
        "how": "real client",
    });
    let name = [Some(client), Some(column), policy].into_iter().flatten().collect::<Vec<_>>().join(".");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.json")), format!("{entry}\n")).unwrap();
}

/// Writes that a turn of `client` completed under `policy`, with its edits in place.
pub fn stripped(client: &str, policy: &str) {
    write(client, "strips", Some(policy), "turn completes");
}

/// As it is pinned.
fn version(client: &str) -> String {
    let pinned = fs::read_to_string(script("pinned")).unwrap();
    let line = pinned.lines().find(|line| line.split_whitespace().next() == Some(client)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// The day in UTC (Howard Hinnant's days_from_civil, reversed).
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let days = (seconds / 86_400) as i64 + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}", of_year - (153 * shifted + 2) / 5 + 1)
}

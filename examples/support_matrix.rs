//! Renders `docs/support-matrix.md` from `docs/support-matrix.json`, after taking over what tests have shown since.
//!
//! ```sh
//! cargo nextest run --test clients --test cases           # write what they show into target/tmp
//! cargo run --example support_matrix -- target/tmp
//! ```
//!
//! `clients/` holds results, `look-alikes/` what the case folders of clients that cannot be run here came to. A result is a small JSON file: `{"client", "version", "column", "result", "date", "how"}`,
//! with `"policy"` where there is one for each. Any test may write one; the
//! client must be a row, the column one of [`COLUMNS`].

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

const COLUMNS: [&str; 7] = ["decrypts", "reads", "finds", "strips", "restores", "sealed", "probe"];
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/support-matrix.json");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/support-matrix.md");

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Row {
    client: String,
    title: String,
    version: String,
    /// `real client`, `look-alike`, `cited`.
    how: String,
    /// What a reader should know beside the columns.
    note: String,
    #[serde(default)]
    results: BTreeMap<String, Cell>,
}

#[derive(Deserialize, Serialize)]
struct Cell {
    result: String,
    date: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    client: String,
    version: String,
    column: String,
    /// Under which policy, where one result is shown for each.
    #[serde(default)]
    policy: Option<String>,
    result: String,
    date: String,
    how: String,
}

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("support_matrix: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: Option<&str>) -> Result<(), String> {
    let text = std::fs::read_to_string(DATA).map_err(|error| format!("{DATA}: {error}"))?;
    let mut rows: Vec<Row> = serde_json::from_str(&text).map_err(|error| format!("{DATA}: {error}"))?;
    if let Some(folder) = folder {
        for shown in together(read_all(&Path::new(folder).join("clients"))?) {
            take(&mut rows, shown)?;
        }
        for (client, cases) in look_alikes(&Path::new(folder).join("look-alikes"))? {
            let row = rows.iter_mut().find(|row| row.client == client);
            let row = row.ok_or_else(|| format!("client {client} has no row in {DATA}"))?;
            let read = 100.0 * (1.0 - cases.unread as f64 / cases.sent.max(1) as f64);
            let rest = if cases.encrypted { ", the rest encrypted by the client and reported so" } else { "" };
            let finds = format!("{} documented places in {} requests", cases.places, cases.cases);
            for (column, result) in [("reads", format!("{read:.1}%{rest}")), ("finds", finds)] {
                row.results.insert(column.to_owned(), Cell { result, date: String::new() });
            }
        }
    }
    let text = serde_json::to_string_pretty(&rows).map_err(|error| error.to_string())?;
    std::fs::write(DATA, text + "\n").map_err(|error| format!("{DATA}: {error}"))?;
    std::fs::write(PAGE, page(&rows)).map_err(|error| format!("{PAGE}: {error}"))
}

fn read_all<T: serde::de::DeserializeOwned>(folder: &Path) -> Result<Vec<T>, String> {
    // A run of one test alone leaves nothing of the other.
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    };
    paths.iter().map(|path| read(path).map_err(|error| format!("{}: {error}", path.display()))).collect()
}

/// What the cases of one look-alike came to, together.
#[derive(Default)]
struct Cases {
    cases: u64,
    places: u64,
    sent: u64,
    unread: u64,
    encrypted: bool,
}

#[derive(Deserialize)]
struct Case {
    client: String,
    places: u64,
    bytes_sent: u64,
    bytes_unread: u64,
    unread: Vec<String>,
}

fn look_alikes(folder: &Path) -> Result<BTreeMap<String, Cases>, String> {
    let mut all: BTreeMap<String, Cases> = BTreeMap::new();
    for case in read_all::<Case>(folder)? {
        let one = all.entry(case.client).or_default();
        one.cases += 1;
        one.places += case.places;
        one.sent += case.bytes_sent;
        one.unread += case.bytes_unread;
        one.encrypted |= case.unread.iter().any(|unread| unread.ends_with(" encrypted"));
    }
    Ok(all)
}

/// Results of one column under several policies are one result that names them all.
fn together(all: Vec<Shown>) -> Vec<Shown> {
    let mut joined: Vec<Shown> = Vec::new();
    for mut one in all {
        let Some(policy) = &one.policy else {
            joined.push(one);
            continue;
        };
        let same = |known: &&mut Shown| {
            known.policy.is_some()
                && (&known.client, &known.version, &known.column) == (&one.client, &one.version, &one.column)
        };
        match joined.iter_mut().find(same) {
            Some(known) => {
                known.result.push_str(&format!(", {policy}"));
                known.date = known.date.clone().max(one.date);
            }
            None => {
                one.result = format!("{} under {policy}", one.result);
                joined.push(one);
            }
        }
    }
    joined
}

/// What was shown for an older version says nothing about this one.
fn take(rows: &mut [Row], shown: Shown) -> Result<(), String> {
    if !COLUMNS.contains(&shown.column.as_str()) {
        return Err(format!("column {} is none of {}", shown.column, COLUMNS.join(", ")));
    }
    let row = rows.iter_mut().find(|row| row.client == shown.client);
    let row = row.ok_or_else(|| format!("client {} has no row in {DATA}", shown.client))?;
    if row.version != shown.version {
        row.version = shown.version;
        row.results.clear();
    }
    row.how = shown.how;
    row.results.insert(shown.column, Cell { result: shown.result, date: shown.date });
    Ok(())
}

fn page(rows: &[Row]) -> String {
    let mut page = String::from(
        "<!-- Written by `cargo run --example support_matrix`. Edit docs/support-matrix.json instead. -->\n\n\
         # Support matrix\n\n\
         Which assistant was tried, in which version, and what came of it. A **real client** was installed as pinned and ran a \
         whole turn in a room with loopback alone (`tests/clients.rs`). For a **look-alike** requests of the documented shape, \
         with invented values, go through the engine (`tests/cases/look-alike-*`) and, over TLS, through the proxy to an upstream \
         that says them again (`tests/end_to_end/look_alikes.rs`): it says that they are read and edited, not that the client \
         works behind the proxy. What is only **cited** was not tried at all.\n\n\
         | assistant | version | how | decrypts | reads | finds | strips and still works | restores | sealed room | probe | last |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        // A look-alike is requests alone: whatever needs the client cannot be asked of it.
        let none = if row.how == "look-alike" { "needs the client" } else { "not tested yet" };
        let cells: Vec<&str> =
            COLUMNS.iter().map(|&name| row.results.get(name).map_or(none, |cell| &cell.result)).collect();
        // A look-alike is as old as the build.
        let dates = row.results.values().map(|cell| cell.date.as_str()).filter(|date| !date.is_empty());
        let last = dates.max().unwrap_or("every build");
        page.push_str(&format!("| {} | {} | {} | {} | {last} |\n", row.title, row.version, row.how, cells.join(" | ")));
    }
    page.push_str(
        "\n**decrypts**: requests of the turn that were decrypted, and connections that refused the CA. **reads**: bytes read of bytes \
         sent. **finds**: what was planted and found at its place. **strips and still works**: under a policy that edits, the turn \
         completes and the edit is there. **restores**: the model knows a pseudonym, and a tool runs on the real path. \
         **sealed room**: the turn in `divulge run --sealed`. **probe**: what depends on which factor.\n\n## Notes\n\n",
    );
    for row in rows.iter().filter(|row| !row.note.is_empty()) {
        page.push_str(&format!("* **{}**: {}\n", row.title, row.note));
    }
    page.push_str(
        "\n## How to renew it\n\n```sh\ncargo nextest run --test clients --test cases                       # one run for each client, and the look-alikes\n\
         cargo nextest run --test end_to_end look_alikes                     # the same over TLS\n\
         DIVULGE_CLIENTS=all cargo nextest run --test clients                # the other policies, and all in the sealed room\n\
         cargo run --example support_matrix -- target/tmp\n```\n",
    );
    page
}

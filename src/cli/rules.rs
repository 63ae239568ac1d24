//! `divulge rules`: the rule packs as people read, check and publish them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{INCOMPLETE, WRONG_USAGE, fail, printable, start};
use crate::engine::kinds;
use crate::engine::rules::{Pack, Rule, RuleSet, document, examples};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule packs beside the built-in ones: a folder of TOML files; repeatable
    #[arg(long = "rules", value_name = "DIR", global = true, env = "DIVULGE_RULES", value_delimiter = ':')]
    folders: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every rule in one line
    List {
        /// Only rules of this pack
        #[arg(long, value_name = "ID")]
        pack: Option<String>,
        /// Only rules of this kind, or of a family of kinds such as `id`
        #[arg(long)]
        kind: Option<String>,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
        /// The packs instead of their rules
        #[arg(long, conflicts_with_all = ["kind", "pack"])]
        packs: bool,
    },
    /// What one rule finds, why, and its examples; or all that a pack knows of its client
    Show {
        /// A rule or a pack, as `rules list` and `rules list --packs` print it
        id: String,
    },
    /// Run the examples of every rule, or of those named
    Test { ids: Vec<String> },
    /// Read policies (presets by name, or files) and say what is wrong or odd about them
    Check {
        #[arg(required = true, value_name = "NAME|FILE")]
        policies: Vec<String>,
    },
    /// The page about all rules, as Markdown
    Docs {
        /// Write it here instead of to standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Exit status of a test that found rules which do not keep their word.
const FAILED: u8 = 1;

pub fn run(args: Args) -> ExitCode {
    let rules = match start::engine::rules_of(&args.folders) {
        Ok(rules) => rules,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    match args.command {
        Command::List { packs: true, json, .. } => list_packs(&rules, json),
        Command::List { pack, kind, json, packs: false } => list(&rules, pack.as_deref(), kind.as_deref(), json),
        Command::Show { id } => show(&rules, &id),
        Command::Test { ids } => test(&rules, &ids),
        Command::Check { policies } => check(&policies),
        Command::Docs { out: None } => print(&document::markdown(&rules)),
        Command::Docs { out: Some(file) } => match std::fs::write(&file, document::markdown(&rules)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("divulge: {}: cannot be written: {error}", file.display());
                ExitCode::from(INCOMPLETE)
            }
        },
    }
}

fn check(policies: &[String]) -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    for name in policies {
        match start::engine::policy_of(name) {
            Ok(policy) => {
                for warning in policy.warnings() {
                    eprintln!("divulge: warning: {}", printable(&warning));
                }
                println!("{}: {} rules, well formed", printable(name), policy.rules());
            }
            Err(error) => {
                eprintln!("divulge: {}", printable(&error.to_string()));
                status = ExitCode::from(WRONG_USAGE);
            }
        }
    }
    status
}

fn list(rules: &RuleSet, pack: Option<&str>, kind: Option<&str>, json: bool) -> ExitCode {
    if let Some(pack) = pack
        && !rules.packs().iter().any(|known| *known.id == *pack)
    {
        let known: Vec<_> = rules.packs().iter().map(|pack| &*pack.id).collect();
        return wrong(&format!("no pack is called {pack}; there are {}", known.join(", ")));
    }
    let in_family = |rule: &Rule, family: &str| {
        let rest = rule.kind.strip_prefix(family.trim_end_matches(['*', '.']));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let chosen: Vec<_> = rules
        .rules()
        .iter()
        .filter(|rule| pack.is_none_or(|pack| *rule.pack == *pack) && kind.is_none_or(|kind| in_family(rule, kind)))
        .collect();
    if json {
        let list: Vec<_> = chosen.iter().map(|rule| as_json(rule)).collect();
        return print(&format!("{:#}\n", serde_json::Value::Array(list)));
    }
    let mut rows = vec![["RULE", "KIND", "SEVERITY", "ACTION", "PACK", "FINDS"].map(str::to_owned)];
    rows.extend(chosen.iter().map(|rule| {
        let action = rule.action.map_or("", |action| action.name());
        [&*rule.id, &*rule.kind, rule.severity.name(), action, &*rule.pack, &*rule.title].map(str::to_owned)
    }));
    print(&table(&rows))
}

fn list_packs(rules: &RuleSet, json: bool) -> ExitCode {
    let count = |pack: &Pack| rules.rules().iter().filter(|rule| rule.pack == pack.id).count();
    if json {
        let one = |pack: &Pack| {
            serde_json::json!({
                "id": *pack.id, "title": pack.title, "rules": count(pack), "hosts": pack.hosts, "telemetry": pack.telemetry,
                "shared_telemetry": pack.shared_telemetry, "base_url": pack.base_url, "set": pack.environment,
                "known_from": pack.known_from, "wire": pack.wire, "trust": pack.trust, "opt_out": pack.opt_out,
                "integrity": pack.integrity, "bypass": pack.bypass,
            })
        };
        let list: Vec<_> = rules.packs().iter().map(one).collect();
        return print(&format!("{:#}\n", serde_json::Value::Array(list)));
    }
    let mut rows = vec![["PACK", "RULES", "HOSTS", "KNOWN FROM", "CLIENT"].map(str::to_owned)];
    rows.extend(rules.packs().iter().map(|pack| {
        let hosts = pack.hosts.len() + pack.telemetry.len() + pack.shared_telemetry.len();
        [
            pack.id.to_string(),
            count(pack).to_string(),
            hosts.to_string(),
            pack.known_from.join("; "),
            pack.title.clone(),
        ]
    }));
    print(&table(&rows))
}

fn show_pack(rules: &RuleSet, pack: &Pack) -> ExitCode {
    let count = rules.rules().iter().filter(|rule| rule.pack == pack.id).count();
    let mut rows = vec![
        ["pack".to_owned(), pack.id.to_string()],
        ["client".to_owned(), pack.title.clone()],
        ["rules".to_owned(), format!("{count}; `divulge rules list --pack {}` names them", pack.id)],
    ];
    let known = pack.clients.iter().map(|sign| format!("{}: {}", sign.header, sign.value.as_str()));
    rows.extend(known.map(|sign| ["known by".to_owned(), sign]));
    for (label, list) in [
        ("host", &pack.hosts),
        ("telemetry host", &pack.telemetry),
        ("shared telemetry", &pack.shared_telemetry),
        ("base URL variable", &pack.base_url),
    ] {
        rows.extend(list.iter().map(|item| [label.to_owned(), item.clone()]));
    }
    rows.extend(pack.environment.iter().map(|(name, value)| ["sets".to_owned(), format!("{name}={value}")]));
    for (label, sentences) in document::notes(pack) {
        rows.extend(sentences.into_iter().map(|sentence| [label.to_lowercase(), sentence]));
    }
    print(&table(&rows))
}

fn show(rules: &RuleSet, id: &str) -> ExitCode {
    if let Some(pack) = rules.packs().iter().find(|pack| *pack.id == *id) {
        return show_pack(rules, pack);
    }
    let Some(rule) = rules.rule(id) else {
        let near: Vec<_> =
            rules.rules().iter().map(|rule| &*rule.id).filter(|known| shares_word(known, id)).take(8).collect();
        let hint = if near.is_empty() {
            "`divulge rules list` names all".to_owned()
        } else {
            format!("near it: {}", near.join(", "))
        };
        return wrong(&format!("no rule is called {id}; {hint}"));
    };
    let mut rows = vec![
        ["rule".to_owned(), rule.id.to_string()],
        ["finds".to_owned(), rule.title.clone()],
        ["kind".to_owned(), rule.kind.to_string()],
    ];
    if let Some(kind) = kinds::find(&rule.kind) {
        rows.push(["reveals".to_owned(), kind.reveals.to_owned()]);
    }
    rows.push(["why".to_owned(), rule.why.clone()]);
    rows.push(["severity".to_owned(), rule.severity.name().to_owned()]);
    rows.push(["action".to_owned(), rule.action.map_or("by policy", |action| action.name()).to_owned()]);
    rows.push(["confidence".to_owned(), format!("{:.2}", rule.confidence)]);
    rows.push(["pack".to_owned(), rule.pack.to_string()]);
    rows.push(["file".to_owned(), rule.file.clone()]);
    rows.extend(rule.select.written.iter().map(|(name, text)| [format!("select {name}"), text.clone()]));
    let matching = &rule.matching;
    let patterns = [("match value", &matching.value), ("match unless", &matching.unless)];
    rows.extend(
        patterns.iter().filter_map(|(name, pattern)| Some([(*name).to_owned(), pattern.as_ref()?.as_str().to_owned()])),
    );
    if !matching.validators.is_empty() {
        let names: Vec<_> = matching.validators.iter().map(|validator| validator.name()).collect();
        rows.push(["match validator".to_owned(), names.join(", ")]);
    }
    for (name, literals) in [("match near", &matching.near), ("match label", &matching.labels)] {
        if !literals.is_empty() {
            rows.push([name.to_owned(), literals.join(", ")]);
        }
    }
    rows.extend(rule.references.iter().map(|reference| ["reference".to_owned(), reference.clone()]));
    let mut page = table(&rows);
    for example in rule.examples().iter() {
        let expect = if example.expect.is_empty() { "nothing".to_owned() } else { example.expect.join(", ") };
        page.push_str(&format!("\nExample: {}\nfinds {expect}\n", example.name));
        for line in example.request.trim().lines() {
            page.push_str(&format!("    {line}\n"));
        }
    }
    print(&page)
}

fn test(rules: &RuleSet, ids: &[String]) -> ExitCode {
    if let Some(unknown) = ids.iter().find(|id| rules.rule(id).is_none()) {
        return wrong(&format!("no rule is called {unknown}; `divulge rules list` names all"));
    }
    let chosen: Vec<_> =
        rules.rules().iter().filter(|rule| ids.is_empty() || ids.iter().any(|id| **id == *rule.id)).collect();
    let mut count = 0;
    let mut failures = Vec::new();
    for rule in &chosen {
        for example in rule.examples().iter() {
            count += 1;
            failures.extend(examples::check(rules, rule, example));
        }
    }
    for failure in &failures {
        println!("{}", printable(&failure.to_string()));
    }
    println!("{} rules, {count} examples, {} failed", chosen.len(), failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn as_json(rule: &Rule) -> serde_json::Value {
    serde_json::json!({
        "id": *rule.id, "kind": *rule.kind, "title": rule.title, "severity": rule.severity.name(),
        "action": rule.action.map(|action| action.name()), "confidence": (f64::from(rule.confidence) * 100.0).round() / 100.0,
        "pack": *rule.pack, "why": rule.why, "references": rule.references, "file": rule.file,
        "examples": rule.examples().len(),
    })
}

fn shares_word(known: &str, asked: &str) -> bool {
    asked.split(['.', '-', '_']).any(|word| word.len() > 2 && known.contains(word))
}

fn wrong(message: &str) -> ExitCode {
    eprintln!("divulge: {}", printable(message));
    ExitCode::from(WRONG_USAGE)
}

/// Columns as wide as their widest cell; the last runs free.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A reader that has seen enough, such as `head`, closes the pipe: that is no failure.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().lock().write_all(printable(text).as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(INCOMPLETE, &error),
        _ => ExitCode::SUCCESS,
    }
}

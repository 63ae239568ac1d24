//! The page that lists every rule, written from the rules themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::pack::Pack;
use super::rule::Rule;
use super::ruleset::RuleSet;

/// `docs/rules.md`
pub fn markdown(rules: &RuleSet) -> String {
    let mut page = String::from(
        "<!-- Written by `divulge rules docs`. Edit the files in rules/ instead. -->\n\n\
         # Rules\n\n\
         Each rule is one TOML file with its own examples; `divulge rules show ID` prints one, `divulge rules test` runs \
         all examples. How to write one: `docs/writing-rules.md`.\n",
    );
    for pack in rules.packs() {
        let own: Vec<_> = rules.rules().iter().filter(|rule| rule.pack == pack.id).collect();
        section(&mut page, pack, &own);
    }
    page
}

fn section(page: &mut String, pack: &Pack, rules: &[&Rule]) {
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {} (`{}`, {} rules)\n", pack.title, pack.id, rules.len());
    for (label, list) in [
        ("Hosts", &pack.hosts),
        ("Telemetry hosts", &pack.telemetry),
        ("Telemetry services of many programs, not decrypted unless asked for", &pack.shared_telemetry),
        ("Base URL variables", &pack.base_url),
    ] {
        if !list.is_empty() {
            let list: Vec<_> = list.iter().map(|item| format!("`{item}`")).collect();
            let _ = write!(page, "\n{label}: {}.\n", list.join(", "));
        }
    }
    for (label, sentences) in notes(pack) {
        let _ = write!(page, "\n{label}: {}.\n", sentences.join("; "));
    }
    page.push_str(
        "\n| rule | kind | severity | action | what it finds | why it matters |\n|---|---|---|---|---|---|\n",
    );
    for rule in rules {
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {} | {} | {} | {} |",
            rule.id,
            rule.kind,
            rule.severity.name(),
            rule.action.map_or("", |action| action.name()),
            cell(&rule.title),
            cell(&rule.why),
        );
    }
}

/// What a pack says of its client in words, each with its heading; headings without a word are left out.
pub fn notes(pack: &Pack) -> Vec<(&'static str, Vec<String>)> {
    let told = |map: &BTreeMap<String, String>| map.iter().map(|(name, what)| format!("{name} ({what})")).collect();
    let encrypted = pack.encrypted.iter().map(|sealed| format!("{} ({})", sealed.location, sealed.how)).collect();
    let all: [(_, Vec<String>); 7] = [
        ("Known from", pack.known_from.clone()),
        ("Speaks", pack.wire.clone()),
        ("Trust in a CA", told(&pack.trust)),
        ("Switches", told(&pack.opt_out)),
        ("Integrity values", told(&pack.integrity)),
        ("Goes around", told(&pack.bypass)),
        ("Encrypted by the client", encrypted),
    ];
    all.into_iter().filter(|(_, said)| !said.is_empty()).collect()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

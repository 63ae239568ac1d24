//! Other people's machines.

use super::Decoy;
use crate::document::{Node, compact};
use crate::machine::{self, Known};
use crate::random::Rng;

pub const DECOYS: &[(&str, Decoy)] =
    &[("another machine", another_machine), ("another machine's report", another_report), ("near misses", near_misses)];

/// What some other machine would send; nothing of it is this machine's.
fn strangers(rng: &mut Rng, facts: &[Known]) -> Vec<Known> {
    let same =
        |a: &str, b: &str| a.to_lowercase().contains(&b.to_lowercase()) || b.to_lowercase().contains(&a.to_lowercase());
    let mut list = machine::machine(rng);
    list.retain(|theirs| {
        theirs.value.chars().count() >= 6 && !facts.iter().any(|ours| same(&ours.value, &theirs.value))
    });
    list
}

fn another_machine(rng: &mut Rng, facts: &[Known]) -> String {
    let list = strangers(rng, facts);
    let members = list.iter().map(|known| (known.kind.replace('.', "_"), Node::text(&*known.value))).collect();
    compact(&Node::Object(members))
}

fn another_report(rng: &mut Rng, facts: &[Known]) -> String {
    let list = strangers(rng, facts);
    let lines: Vec<String> =
        list.iter().map(|known| format!("seen {}: {}", known.kind.replace('.', " "), known.value)).collect();
    format!("From the ticket of another customer:\n{}", lines.join("\n"))
}

/// The machine's own values with a letter or digit more, or another one in the middle: somebody else's.
fn near_misses(rng: &mut Rng, facts: &[Known]) -> String {
    let mut lines = Vec::new();
    for known in facts.iter().filter(|known| !known.is_weak()) {
        let changed = match known.kind {
            "net.ip.local" | "net.ip.public" | "hw.mem" | "os.version" => format!("{}{}", known.value, rng.below(10)),
            "user.name" | "host.name" | "path.home" | "path.tmp" | "path.exec" => {
                format!("{}{}", known.value, rng.coined(1))
            }
            "host.machine_id" | "host.boot_id" | "git.commit" | "net.mac" => one_digit(rng, &known.value),
            kind if kind.starts_with("id.") && kind != "id.anon" && kind != "id.org" => one_digit(rng, &known.value),
            _ => continue,
        };
        let kind = known.kind.replace('.', " ");
        lines.push(match rng.below(3) {
            0 => format!("- {kind} {changed}"),
            1 => format!("expect(found).toContain('{changed}');"),
            _ => format!("seen {changed} twice"),
        });
    }
    lines.join("\n")
}

/// With one hexadecimal digit replaced.
fn one_digit(rng: &mut Rng, value: &str) -> String {
    let digits = value.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_hexdigit());
    let spots: Vec<usize> = digits.map(|(at, _)| at).collect();
    let at = spots[rng.below(spots.len())];
    let digit = if value.as_bytes()[at].eq_ignore_ascii_case(&b'a') { "7" } else { "a" };
    format!("{}{digit}{}", &value[..at], &value[at + 1..])
}

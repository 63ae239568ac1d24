//! Other people's machines.

use super::Decoy;
use crate::document::{Node, compact};
use crate::machine::{self, Known};
use crate::random::Rng;

pub const DECOYS: &[(&str, Decoy)] =
    &[("another machine", another_machine), ("another machine's report", another_report)];

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

//! Requests in which there is nothing to find, full of what looks like it: code, documentation, lock files, lists, other
//! people's machines. Where the machine's own values are words that everybody uses, they stand here as those words.

mod files;
mod lists;
mod project;
mod shapes;
mod strangers;
mod turns;

use crate::carrier::{Sent, whole};
use crate::document::prose;
use crate::machine::Known;
use crate::random::Rng;

pub type Decoy = fn(&mut Rng, &[Known]) -> String;

const DECOYS: &[&[(&str, Decoy)]] = &[files::DECOYS, lists::DECOYS, strangers::DECOYS, project::DECOYS, turns::DECOYS];

/// A request made of decoys.
pub fn request(rng: &mut Rng, facts: &[Known]) -> (Sent, Vec<&'static str>) {
    let all = DECOYS.concat();
    let mut names = Vec::new();
    let mut texts = Vec::new();
    // Mostly alone, so that a row of the table tells about one.
    for _ in 0..*[1, 1, 1, 1, 2, 3].get(rng.below(6)).unwrap_or(&1) {
        let (name, make) = all[rng.below(all.len())];
        let text = (0..20).map(|_| make(rng, facts)).find(|text| may_hold(name, text, facts));
        names.push(name);
        texts.push(text.unwrap_or_else(|| prose(rng)));
    }
    let raw = shapes::request(rng, texts);
    (whole(raw, Vec::new()), names)
}

/// Whether nothing in `text` is this machine's, words that everybody uses aside. Lists of all there is hold it as they hold
/// everything else.
fn may_hold(name: &str, text: &str, facts: &[Known]) -> bool {
    let listed = [lists::DECOYS, files::DECOYS, strangers::DECOYS].concat().iter().any(|(other, _)| *other == name);
    listed || name == "zone table" || !facts.iter().any(|known| !known.is_weak() && text.contains(&known.value))
}

fn own<'a>(facts: &'a [Known], kind: &str) -> &'a str {
    facts.iter().find(|known| known.kind == kind).map_or("", |known| &*known.value)
}

/// An address that is not the machine's.
fn other_address(rng: &mut Rng, facts: &[Known]) -> String {
    loop {
        let net = rng.pick(&["10.0", "10.20", "172.16", "192.168", "203.0", "198.51"]);
        let address = format!("{net}.{}.{}", rng.below(255), rng.between(2, 250));
        if facts.iter().all(|known| known.value != address) {
            return address;
        }
    }
}

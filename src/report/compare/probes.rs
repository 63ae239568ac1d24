//! Two results of a probe side by side: what depends on what in one release and not in the other.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Look, What};
use crate::probe::result::{Dependency, ProbeResult};
use crate::report::place::pattern;
use crate::report::text::visible;

#[derive(Debug, Serialize)]
pub struct Comparison {
    pub schema: u32,
    pub r#type: &'static str,
    pub a: Side,
    pub b: Side,
    pub new: Vec<Found>,
    pub gone: Vec<Found>,
    /// In the same place, and otherwise seen: another form, other values.
    pub changed: Vec<Changed>,
    pub same: usize,
    /// Factors that only one of them varied: nothing new or gone can be said of these.
    pub not_compared: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Side {
    pub command: Vec<String>,
    pub runs: usize,
    pub complete: bool,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Found {
    pub factor: String,
    /// The factor of the gate: which of its values were tried may differ.
    pub gate: Option<String>,
    pub host: String,
    pub method: String,
    pub path: String,
    pub location: String,
    pub kind: String,
}

#[derive(Debug, Serialize)]
pub struct Changed {
    #[serde(flatten)]
    pub found: Found,
    pub before: BTreeMap<String, Option<String>>,
    pub after: BTreeMap<String, Option<String>>,
}

impl Comparison {
    pub fn of(a: &ProbeResult, b: &ProbeResult) -> Self {
        let names =
            |result: &ProbeResult| -> Vec<String> { result.factors.iter().map(|factor| factor.name.clone()).collect() };
        let (left, right) = (names(a), names(b));
        let both = |name: &str| left.iter().any(|known| known == name) && right.iter().any(|known| known == name);
        let mut not_compared: Vec<String> = left.iter().chain(&right).filter(|name| !both(name)).cloned().collect();
        not_compared.sort();
        let found = |result: &ProbeResult| -> BTreeMap<Found, Dependency> {
            let comparable = |of: &&Dependency| {
                both(&of.factor) && of.gate.as_ref().is_none_or(|gate| gate.keys().all(|name| both(name)))
            };
            result.dependencies.iter().filter(comparable).map(|of| (Found::of(of), of.clone())).collect()
        };
        let (before, mut after) = (found(a), found(b));
        let mut comparison = Self {
            schema: 1,
            r#type: "diff of probes",
            a: Side::of(a),
            b: Side::of(b),
            new: Vec::new(),
            gone: Vec::new(),
            changed: Vec::new(),
            same: 0,
            not_compared,
        };
        for (found, old) in before {
            match after.remove(&found) {
                None => comparison.gone.push(found),
                Some(new) if old.form != new.form || !agree(&old.values, &new.values) => {
                    comparison.changed.push(Changed { found, before: old.values, after: new.values });
                }
                Some(_) => comparison.same += 1,
            }
        }
        comparison.new = after.into_keys().collect();
        comparison
    }

    /// Whether the second depends on anything that the first does not.
    pub fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// With a line end after each line.
    pub fn render(&self, look: Look) -> String {
        let side = |side: &Side| {
            format!(
                "{} ({} runs{})",
                visible(&side.command.join(" ")),
                side.runs,
                if side.complete { "" } else { ", not complete" }
            )
        };
        let mut out = format!(
            "{}  {} new · {} gone · {} changed · {} the same\n",
            look.paint("1", &format!("{} -> {}", side(&self.a), side(&self.b))),
            self.new.len(),
            self.gone.len(),
            self.changed.len(),
            self.same
        );
        let new = self.new.iter().map(|found| (What::New, found));
        let gone = self.gone.iter().map(|found| (What::Gone, found));
        let changed = self.changed.iter().map(|changed| (What::Changed, &changed.found));
        for (what, found) in new.chain(gone).chain(changed) {
            let gate = found.gate.as_ref().map_or(String::new(), |gate| format!(" at times of {}", visible(gate)));
            out.push_str(&format!(
                "  {} {}{gate}  {}  {} {}{}  {}\n",
                look.what(what, &format!("{:<8}", what.name())),
                visible(&found.factor),
                found.kind,
                found.method,
                visible(&found.host),
                visible(&found.path),
                visible(&found.location)
            ));
        }
        if !self.not_compared.is_empty() {
            out.push_str(&format!("not varied in both: {}\n", visible(&self.not_compared.join(", "))));
        }
        out
    }
}

/// Whether both have the same for every value that both tried.
fn agree(a: &BTreeMap<String, Option<String>>, b: &BTreeMap<String, Option<String>>) -> bool {
    a.iter().all(|(value, seen)| b.get(value).is_none_or(|other| other.is_some() == seen.is_some()))
}

impl Side {
    fn of(result: &ProbeResult) -> Self {
        Self { command: result.command.clone(), runs: result.runs, complete: result.complete }
    }
}

impl Found {
    fn of(of: &Dependency) -> Self {
        Self {
            factor: of.factor.clone(),
            gate: of.gate.as_ref().and_then(|gate| gate.keys().next().cloned()),
            host: of.host.clone(),
            method: of.method.clone(),
            path: of.path.clone(),
            location: pattern(&of.location),
            kind: of.kind.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::probe::sample;

    #[test]
    fn what_a_release_adds_is_new_and_what_was_not_tried_is_no_news() {
        let (mut old, new) = (sample(), sample());
        assert_eq!(Comparison::of(&old, &new).same, 3);
        old.dependencies.remove(0);
        let comparison = Comparison::of(&old, &new);
        assert!(comparison.has_new());
        assert_eq!((comparison.new[0].kind.as_str(), comparison.same), ("cov.apostrophe", 2));
        old.factors.retain(|factor| factor.name != "base_url");
        let comparison = Comparison::of(&old, &new);
        assert!(!comparison.has_new());
        assert_eq!(comparison.not_compared, ["base_url"]);
    }
}

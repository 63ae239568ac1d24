//! Two bills side by side: fields that are new, gone, or changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Look, What};
use crate::engine::{Detector, Severity};
use crate::report::bill::{Bill, Entry};
use crate::report::text::visible;

#[derive(Debug, Serialize)]
pub struct Comparison {
    pub schema: u32,
    pub r#type: &'static str,
    pub a: Vec<String>,
    pub b: Vec<String>,
    pub new: Vec<Field>,
    pub gone: Vec<Field>,
    pub changed: Vec<Changed>,
    /// Hosts that a client sends to, and did not; and the other way round.
    pub new_hosts: Vec<Host>,
    pub gone_hosts: Vec<Host>,
    /// Fields that are the same but for how often they were met.
    pub same: usize,
}

/// A field, whatever version of the client sent it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Field {
    pub client: Option<String>,
    pub host: String,
    pub path: Option<String>,
    pub method: Option<String>,
    pub location: String,
    pub kind: String,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Host {
    pub client: Option<String>,
    pub host: String,
}

/// A field that both have, and what is otherwise about it. Counts depend on how much was recorded: they are told, and change
/// nothing.
#[derive(Debug, Serialize)]
pub struct Changed {
    #[serde(flatten)]
    pub field: Field,
    /// The kind before, where that is another one: a new fact in an old place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind_before: Option<String>,
    pub severity: (Severity, Severity),
    pub count: (u64, u64),
    /// How it was found: detectors and rules.
    pub found_by: (Vec<String>, Vec<String>),
}

#[derive(Default)]
struct Facts {
    count: u64,
    severity: Option<Severity>,
    found_by: BTreeSet<(Detector, Option<String>)>,
}

impl Facts {
    fn severity(&self) -> Severity {
        self.severity.unwrap_or(Severity::Low)
    }

    fn found_by(&self) -> Vec<String> {
        let one = |(detector, rule): &(Detector, Option<String>)| match rule {
            Some(rule) => format!("{} {rule}", detector.name()),
            None => detector.name().to_owned(),
        };
        self.found_by.iter().map(one).collect()
    }
}

impl Comparison {
    pub fn of(a: &Bill, b: &Bill) -> Self {
        let (left, mut right) = (fields(a), fields(b));
        let mut comparison = Self {
            schema: 1,
            r#type: "diff of bills",
            a: clients(a),
            b: clients(b),
            new: Vec::new(),
            gone: Vec::new(),
            changed: Vec::new(),
            new_hosts: Vec::new(),
            gone_hosts: Vec::new(),
            same: 0,
        };
        let mut gone = Vec::new();
        for (field, before) in left {
            match right.remove(&field) {
                Some(after) => comparison.both(field, &before, &after),
                None => gone.push((field, before)),
            }
        }
        // One kind gone and another new in the same place is that place, changed.
        for (field, before) in gone {
            let here = |other: &Field| Field { kind: field.kind.clone(), ..other.clone() } == field;
            let Some(other) = right.keys().find(|other| here(other)).cloned() else {
                comparison.gone.push(field);
                continue;
            };
            if let Some(after) = right.remove(&other) {
                comparison.changed.push(Changed::of(other, Some(field.kind), &before, &after));
            }
        }
        comparison.new = right.into_keys().collect();
        let hosts = |bill: &Bill| -> BTreeSet<Host> {
            let host = |entry: &crate::report::bill::HostEntry| Host {
                client: entry.client.clone(),
                host: entry.host.clone(),
            };
            bill.hosts.iter().map(host).collect()
        };
        let (before, after) = (hosts(a), hosts(b));
        comparison.new_hosts = after.difference(&before).cloned().collect();
        comparison.gone_hosts = before.difference(&after).cloned().collect();
        comparison
    }

    fn both(&mut self, field: Field, before: &Facts, after: &Facts) {
        let changed = Changed::of(field, None, before, after);
        if changed.severity.0 == changed.severity.1 && changed.found_by.0 == changed.found_by.1 {
            self.same += 1;
            if changed.count.0 == changed.count.1 {
                return;
            }
        }
        self.changed.push(changed);
    }

    /// Whether the second bill has a field, a kind of fact in a field, or a host that the first has not.
    pub fn has_new(&self) -> bool {
        let kind = |changed: &Changed| changed.kind_before.is_some();
        !self.new.is_empty() || !self.new_hosts.is_empty() || self.changed.iter().any(kind)
    }

    /// With a line end after each line.
    pub fn render(&self, look: Look) -> String {
        let mut out = String::new();
        let names = |side: &[String]| if side.is_empty() { "no client".to_owned() } else { visible(&side.join(", ")) };
        let told = self.changed.iter().filter(|changed| !changed.is_count()).count();
        out.push_str(&format!(
            "{}  {} new · {} gone · {told} changed · {} the same\n",
            look.paint("1", &format!("{} -> {}", names(&self.a), names(&self.b))),
            self.new.len(),
            self.gone.len(),
            self.same
        ));
        let hosts = self.new_hosts.iter().map(|host| (What::New, host));
        for (what, host) in hosts.chain(self.gone_hosts.iter().map(|host| (What::Gone, host))) {
            let client = host.client.as_deref().map_or(String::new(), |client| format!("  from {}", visible(client)));
            out.push_str(&format!("  {}host {}{client}\n", look.what(what, &word(what)), visible(&host.host)));
        }
        let fields = self.new.iter().map(|field| (What::New, field));
        for (what, field) in fields.chain(self.gone.iter().map(|field| (What::Gone, field))) {
            out.push_str(&format!("  {}{}\n", look.what(what, &word(what)), field.shown()));
        }
        let (counts, changes): (Vec<&Changed>, Vec<&Changed>) =
            self.changed.iter().partition(|changed| changed.is_count());
        for changed in changes {
            out.push_str(&format!("  {}{}\n", look.what(What::Changed, &word(What::Changed)), changed.shown()));
        }
        for changed in counts {
            out.push_str(&look.grey(&format!("  {:<9}{}", "count", changed.shown())));
            out.push('\n');
        }
        out
    }
}

fn word(what: What) -> String {
    format!("{:<9}", what.name())
}

impl Changed {
    fn of(field: Field, kind_before: Option<String>, before: &Facts, after: &Facts) -> Self {
        Self {
            field,
            kind_before,
            severity: (before.severity(), after.severity()),
            count: (before.count, after.count),
            found_by: (before.found_by(), after.found_by()),
        }
    }

    /// Whether nothing but the count is otherwise.
    fn is_count(&self) -> bool {
        self.kind_before.is_none() && self.severity.0 == self.severity.1 && self.found_by.0 == self.found_by.1
    }

    fn shown(&self) -> String {
        let mut parts = vec![self.field.shown()];
        if let Some(kind) = &self.kind_before {
            parts.push(format!("kind was {}", visible(kind)));
        }
        if self.severity.0 != self.severity.1 {
            parts.push(format!("severity {} -> {}", self.severity.0.name(), self.severity.1.name()));
        }
        if self.found_by.0 != self.found_by.1 {
            let list = |found: &[String]| visible(&found.join(", "));
            parts.push(format!("found by {} -> {}", list(&self.found_by.0), list(&self.found_by.1)));
        }
        if self.count.0 != self.count.1 {
            parts.push(format!("×{} -> ×{}", self.count.0, self.count.1));
        }
        parts.join("  ")
    }
}

impl Field {
    fn of(entry: &Entry) -> Self {
        Self {
            client: entry.client.clone(),
            host: entry.host.clone(),
            path: entry.path.clone(),
            method: entry.method.clone(),
            location: entry.location.clone(),
            kind: entry.kind.clone(),
        }
    }

    fn shown(&self) -> String {
        let method = self.method.as_deref().unwrap_or("");
        let endpoint = format!("{method} {}{}", self.host, self.path.as_deref().unwrap_or(""));
        format!("{}  {}  {}", visible(&self.kind), visible(endpoint.trim()), visible(&self.location))
    }
}

fn fields(bill: &Bill) -> BTreeMap<Field, Facts> {
    let mut fields: BTreeMap<Field, Facts> = BTreeMap::new();
    for entry in &bill.entries {
        let facts = fields.entry(Field::of(entry)).or_default();
        facts.count = facts.count.saturating_add(entry.count);
        facts.severity = facts.severity.max(Some(entry.severity));
        facts.found_by.insert((entry.detector, entry.rule.clone()));
    }
    fields
}

fn clients(bill: &Bill) -> Vec<String> {
    let client = |client: &crate::report::bill::Client| {
        let name = client.client.as_deref()?;
        Some(format!("{name} {}", client.versions.join(", ")).trim().to_owned())
    };
    bill.clients.iter().filter_map(client).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::bill;
    use crate::report::model::sample::finding;

    fn compared(a: &[String], b: &[String]) -> Comparison {
        Comparison::of(&bill::sample(a), &bill::sample(b))
    }

    #[test]
    fn another_version_with_the_same_fields_has_nothing_new() {
        let a = [finding("f", json!({}))];
        let b = [finding("g", json!({"client_version": "2.1.170", "path": "/v1/messages", "value_hmac": "other"}))];
        let comparison = compared(&a, &b);
        assert!(!comparison.has_new() && comparison.changed.is_empty());
        assert!(comparison.render(Look::default()).starts_with("claude-code 2.1.169 -> claude-code 2.1.170  0 new"));
    }

    #[test]
    fn a_new_field_a_new_kind_and_a_new_host_are_new_and_a_count_is_not() {
        let a = [finding("f", json!({})), finding("f", json!({"location": "header:/x"}))];
        let count = [a[0].clone(), a[0].clone(), a[1].clone()];
        let comparison = compared(&a, &count);
        assert!(!comparison.has_new());
        assert_eq!((comparison.changed.len(), comparison.changed[0].count), (1, (1, 2)));
        let field = [a[0].clone(), a[1].clone(), finding("f", json!({"location": "header:/y"}))];
        assert_eq!(compared(&a, &field).new[0].location, "header:/y");
        let kind = compared(&a, &[a[0].clone(), finding("f", json!({"location": "header:/x", "kind": "tz.iana"}))]);
        assert!(kind.has_new() && kind.new.is_empty() && kind.gone.is_empty());
        assert_eq!(kind.changed[0].kind_before.as_deref(), Some("id.device"));
        let host = compared(&a, &[a[0].clone(), a[1].clone(), finding("f", json!({"host": "new.example.com"}))]);
        assert_eq!(host.new_hosts[0].host, "new.example.com");
        let text = host.render(Look::default());
        assert!(text.contains("  new      host new.example.com  from claude-code\n"), "{text}");
        assert!(compared(&field, &a).gone.len() == 1 && !compared(&field, &a).has_new());
    }
}

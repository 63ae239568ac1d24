//! What an experiment has shown, for people: a table, a page, tables for an issue.

pub mod html;
pub mod markdown;
pub mod text;

use std::collections::BTreeMap;

use crate::probe::naming::Form;
use crate::probe::result::{Dependency, ProbeResult, Tells};
use crate::report::place::pattern;

/// What a switch really stops.
#[derive(Debug)]
pub struct OptOut<'a> {
    pub factor: &'a str,
    pub value: &'a str,
    /// Requests and fields that are there without it and not with it.
    pub stopped: Vec<&'a Dependency>,
    /// Those that are there with it alone.
    pub added: Vec<&'a Dependency>,
    pub changed: Vec<&'a Dependency>,
}

/// Every value of every factor that is a variable of the environment, the base case's aside.
pub fn opt_outs(result: &ProbeResult) -> Vec<OptOut<'_>> {
    let mut all = Vec::new();
    for factor in result.factors.iter().filter(|factor| factor.name.starts_with("env:")) {
        let base = factor.values.first().map_or("", String::as_str);
        for value in factor.values.iter().skip(1) {
            let mut one =
                OptOut { factor: &factor.name, value, stopped: Vec::new(), added: Vec::new(), changed: Vec::new() };
            for dependency in result.dependencies.iter().filter(|of| of.factor == factor.name) {
                let of = |value: &str| dependency.values.get(value);
                match (of(base), of(value)) {
                    (Some(Some(_)), Some(None)) => one.stopped.push(dependency),
                    (Some(None), Some(Some(_))) => one.added.push(dependency),
                    (Some(before), Some(after)) if before != after => one.changed.push(dependency),
                    _ => {}
                }
            }
            all.push(one);
        }
    }
    all
}

/// Dependencies that are the same but for which element of a list, or which request, they are in.
pub struct Group<'a> {
    pub first: &'a Dependency,
    pub count: usize,
}

pub fn groups<'a>(dependencies: impl Iterator<Item = &'a Dependency>) -> Vec<Group<'a>> {
    type Key<'a> = (&'a str, Option<&'a BTreeMap<String, String>>, &'a str, &'a str, &'a str, String);
    let mut order: Vec<Key<'a>> = Vec::new();
    let mut groups: BTreeMap<Key<'a>, Group<'a>> = BTreeMap::new();
    for dependency in dependencies {
        let key = (
            dependency.factor.as_str(),
            dependency.gate.as_ref(),
            dependency.host.as_str(),
            dependency.path.as_str(),
            dependency.kind.as_str(),
            pattern(&dependency.location),
        );
        match groups.get_mut(&key) {
            Some(group) => group.count += 1,
            None => {
                order.push(key.clone());
                groups.insert(key, Group { first: dependency, count: 1 });
            }
        }
    }
    let mut all: Vec<Group<'a>> = order.iter().filter_map(|key| groups.remove(key)).collect();
    all.sort_by_key(|group| telling(group.first));
    all
}

/// What tells most comes first: marks and the value itself, then what tells of a class, last traits of random values.
fn telling(dependency: &Dependency) -> u8 {
    match (dependency.form, dependency.tells) {
        (Form::Characters | Form::Spelling, _) => 0,
        (Form::Plain, _) | (Form::Derived | Form::Presence, Some(Tells::Value)) => 1,
        (Form::Derived | Form::Presence, _) => 2,
        (Form::Trait, _) => 3,
    }
}

/// How much of the factor shows, and beside what.
pub(crate) fn extent(dependency: &Dependency) -> Vec<String> {
    let mut said = Vec::new();
    match dependency.tells {
        Some(Tells::Value) => said.push("each value tells itself".to_owned()),
        Some(Tells::Class) => said.push("several values look the same".to_owned()),
        None => {}
    }
    said.extend(dependency.beside.as_ref().map(|beside| format!("only beside {beside}")));
    said
}

/// `body!json:/system` of a request, or the request itself.
pub(crate) fn place(dependency: &Dependency) -> String {
    match is_request(dependency) {
        true => "the request itself".to_owned(),
        false => dependency.location.clone(),
    }
}

pub(crate) fn is_request(dependency: &Dependency) -> bool {
    dependency.location == "head" && dependency.kind == "cov.presence"
}

/// What was seen, with the code points of what looks alike.
pub(crate) fn shown(dependency: &Dependency, value: &str) -> String {
    let text = match dependency.values.get(value) {
        None => return "not tried".to_owned(),
        Some(None) => return "absent".to_owned(),
        Some(Some(_)) if is_request(dependency) => return "made".to_owned(),
        Some(Some(text)) => text,
    };
    match dependency.code_points.get(value) {
        Some(points) if points.is_empty() => format!("{text:?} (nothing there)"),
        Some(points) => format!("{text:?} ({})", points.join(" ")),
        None => format!("{text:?}"),
    }
}

pub(crate) fn gate(dependency: &Dependency) -> Option<String> {
    let gate = dependency.gate.as_ref()?;
    let open: Vec<String> = gate.iter().map(|(factor, value)| format!("{factor}={value}")).collect();
    let also = match dependency.also_open_with.is_empty() {
        true => String::new(),
        false => format!(" (also with {})", dependency.also_open_with.join(", ")),
    };
    Some(format!("{}{also}", open.join(", ")))
}

pub(crate) fn form(form: Form) -> &'static str {
    match form {
        Form::Plain => "in clear",
        Form::Derived => "derived from it",
        Form::Characters => "by characters",
        Form::Spelling => "by spelling",
        Form::Presence => "by being there",
        Form::Trait => "by a trait of a random value",
    }
}

/// Factors on which nothing depends, as far as this shows.
pub(crate) fn without_effect(result: &ProbeResult) -> Vec<&str> {
    let depends = |name: &str| {
        let of = |dependency: &Dependency| {
            dependency.factor == name || dependency.gate.as_ref().is_some_and(|gate| gate.contains_key(name))
        };
        result.dependencies.iter().chain(&result.suspected).any(of)
    };
    result.factors.iter().map(|factor| factor.name.as_str()).filter(|name| !depends(name)).collect()
}

pub(crate) fn probability(p: f64) -> String {
    if p < 0.001 { format!("{p:.0e}") } else { format!("{p:.3}") }
}

/// `87 runs (14 of the base case) · 5.1 MiB of 5.1 MiB read · 412 of 412 connections read`
pub(crate) fn summary(result: &ProbeResult) -> Vec<String> {
    use crate::report::text::{plural, share, size};
    let coverage = &result.coverage;
    let mut parts = vec![
        format!("{} ({} with nothing varied)", plural(result.runs as u64, "run"), result.base_runs),
        format!("{} of {} read", share(coverage.bytes_read, coverage.bytes_sent), size(coverage.bytes_sent)),
    ];
    if coverage.connections > 0 {
        parts.push(format!("{} of {} read", coverage.audited, plural(coverage.connections, "connection")));
    }
    if coverage.datagrams > 0 {
        parts.push(format!("{} refused", plural(coverage.datagrams, "datagram")));
    }
    parts.push(format!("{} vary by themselves", plural(result.noise.len() as u64, "place")));
    if !result.complete {
        parts.push("not complete".to_owned());
    }
    parts
}

#[cfg(test)]
pub(crate) fn sample() -> ProbeResult {
    let text = r#"{"schema":1,"type":"probe","generator":{"name":"divulge","version":"0.1.0"},"command":["assistant","say <hi>"],
        "factors":[{"name":"tz","values":["UTC","Asia/Tokyo"]},{"name":"base_url","values":["official","gateway"]},{"name":"env:NO_REPORTS","values":["","1"]},{"name":"user","values":["ann","bob"]}],
        "axis":"pairwise","dependencies":[
        {"factor":"tz","gate":{"base_url":"gateway"},"also_open_with":["lab"],"location":"body!json:/system/0/text","host":"api.example.com","method":"POST","path":"/v1/messages","kind":"cov.apostrophe","form":"characters","values":{"UTC":"'","Asia/Tokyo":"\u2019"},"code_points":{"UTC":["U+0027"],"Asia/Tokyo":["U+2019"]},"before":"Today","places":1,"runs":13,"p":0.0022,"q":0.004,"confirmed":true,"fresh":null},
        {"factor":"tz","tells":"value","beside":"body!json:/sent","gate":null,"location":"body!json:/events/3/zone","host":"reports.example.com","method":"POST","path":"/e","kind":"tz.iana","form":"plain","values":{"UTC":"UTC","Asia/Tokyo":"Asia/Tokyo<b>"},"places":1,"runs":11,"p":0.006,"q":0.006,"confirmed":true,"fresh":null},
        {"factor":"env:NO_REPORTS","gate":null,"location":"head","host":"reports.example.com","method":"POST","path":"/e","kind":"cov.presence","form":"presence","values":{"":"present","1":null},"places":1,"runs":11,"p":0.006,"q":0.006,"confirmed":true,"fresh":null}],
        "suspected":[],"noise":[{"host":"api.example.com","method":"POST","path":"/v1/messages","location":"header:/x-request-id","noise":"id"}],
        "constant":[],"runs":40,"base_runs":13,"failed":[],"tested":9,"dropped":6,"coverage":{"bytes_read":1000,"bytes_sent":1000,"connections":80,"audited":80},
        "requests":[{"host":"api.example.com","method":"POST","path":"/v1/messages","base":13,"all":40}],"complete":true,"notes":["a note"],"milliseconds":90000}"#;
    ProbeResult::parse(text).expect("it is well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_told_by_what_it_stops() {
        let result = sample();
        let outs = opt_outs(&result);
        assert_eq!((outs.len(), outs[0].value, outs[0].stopped.len(), outs[0].added.len()), (1, "1", 1, 0));
        assert_eq!(without_effect(&result), ["user"]);
    }

    #[test]
    fn what_looks_alike_is_spelled_out() {
        let result = sample();
        assert_eq!(shown(&result.dependencies[0], "Asia/Tokyo"), "\"\u{2019}\" (U+2019)");
        assert_eq!(shown(&result.dependencies[2], "1"), "absent");
        assert_eq!(gate(&result.dependencies[0]).as_deref(), Some("base_url=gateway (also with lab)"));
    }
}

//! All rules of all packs, indexed by what calls for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::admitted::{Admitted, Memory};
use super::error::{RuleError, Source};
use super::file::RuleFile;
use super::glob::PointerGlob;
use super::names::{self, NameIndex};
use super::pack::Pack;
use super::rule::{Check, Compiler, Rule};
use crate::engine::audit::Request;
use crate::engine::detect::hash::Keyed;
use crate::engine::detect::{Inspector, LabelTables, Scanner};

/// One file of a pack. Only its name and its folder's name matter, not where it lies.
#[derive(Clone, Copy, Debug)]
pub struct PackSource<'a> {
    /// `rules/<pack>/<file>.toml`, for messages; `pack.toml` describes the folder.
    pub name: &'a str,
    pub text: &'a str,
}

include!(concat!(env!("OUT_DIR"), "/packs.rs"));

/// Most names whose rules are remembered between units, by themselves and for all sets of rules together, and most such sets.
const REMEMBERED: usize = 4096;
const REMEMBERED_BY_SET: usize = 8192;
const SETS: usize = 64;

/// What a name calls for.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    pub rules: Arc<[u16]>,
    /// `version`, `id`: says little without the name around it.
    pub vague: bool,
}

pub(crate) type NameMemory = HashMap<Box<str>, Candidates, Keyed>;

/// What names call for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Called<N = Arc<NameMemory>> {
    /// Of all rules.
    pub all: N,
    /// Of those that look at the unit.
    pub active: N,
}

/// The same for units of all sorts.
#[derive(Debug, Default)]
struct Asked {
    all: Arc<NameMemory>,
    /// By the rules that look at a unit, a bit for each.
    active: HashMap<Box<[u64]>, Arc<NameMemory>, Keyed>,
}

/// Adds as many names of `fresh` as there is room for.
fn extend(memory: &mut Arc<NameMemory>, fresh: NameMemory, room: usize) {
    if fresh.is_empty() || room == 0 {
        return;
    }
    let mut grown = NameMemory::clone(memory);
    grown.extend(fresh.into_iter().take(room));
    *memory = Arc::new(grown);
}

impl Asked {
    /// How many more names may be kept: by themselves, and for the units that the rules of `active` look at.
    fn room(&self, active: &[u64]) -> (usize, usize) {
        let kept: usize = self.active.values().map(|names| names.len()).sum();
        let known = self.active.len() < SETS || self.active.contains_key(active);
        let by_set = if known { REMEMBERED_BY_SET.saturating_sub(kept) } else { 0 };
        (REMEMBERED.saturating_sub(self.all.len()), by_set)
    }
}

#[derive(Debug)]
pub struct RuleSet {
    packs: Vec<Pack>,
    rules: Vec<Rule>,
    names: NameIndex,
    /// Finds the literals of text rules, and the signs of an environment block.
    pub(crate) literals: Literals,
    /// Of the literals alone: an engine with facts has its own.
    scanner: OnceLock<Scanner>,
    /// Beginnings of credentials, longest first, and the hosts that those are for.
    issuers: Vec<(String, Vec<String>)>,
    /// Rules without conditions on the request, one bit each.
    always: Vec<u64>,
    /// The others.
    conditional: Vec<u16>,
    telemetry_rules: Vec<u16>,
    labels: LabelTables,
    hosts: HostSet,
    telemetry: HostSet,
    /// What names were asked for: real clients send the same few hundred again and again.
    memory: RwLock<Asked>,
    /// What requests call for.
    asked: Memory,
    /// A rule tells elements of a list apart.
    numbered: bool,
}

/// The literals of every text rule, each with what it is there for.
#[derive(Debug)]
pub(crate) struct Literals {
    pub texts: Vec<Box<str>>,
    pub meanings: Vec<Meaning>,
}

/// What a literal is there for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meaning {
    /// It may open a block about the machine.
    pub sign: bool,
    /// Rules to try wherever it stands.
    pub near: Vec<u16>,
    /// Rules to try where it stands as a label.
    pub label: Vec<u16>,
}

/// Most bytes of one file, and with that most names and words of one rule. The largest here has five thousand.
const FILE_LIMIT: usize = 256 * 1024;

impl RuleSet {
    /// The packs of this repository.
    pub fn builtin() -> Self {
        // The tests of this repository load every one of them with all checks.
        Self::of(&[(BUILTIN, Check::OnUse)]).expect("the built-in packs pass the loader's checks")
    }

    /// The built-in packs and those of `sources`, with every check that there is.
    pub fn load(sources: &[PackSource<'_>]) -> Result<Self, RuleError> {
        Self::of(&[(BUILTIN, Check::OnUse), (sources, Check::Now)])
    }

    /// Those of `sources` alone.
    pub fn load_only(sources: &[PackSource<'_>]) -> Result<Self, RuleError> {
        Self::of(&[(sources, Check::Now)])
    }

    /// The texts that [`RuleSet::builtin`] is made of.
    pub fn builtin_sources() -> &'static [PackSource<'static>] {
        BUILTIN
    }

    fn of(groups: &[(&[PackSource<'_>], Check)]) -> Result<Self, RuleError> {
        let mut packs: Vec<Pack> = Vec::new();
        // Nearly every file is a rule.
        let mut rules: Vec<Rule> = Vec::with_capacity(groups.iter().map(|(sources, _)| sources.len()).sum());
        let mut ids: HashMap<Arc<str>, usize> = HashMap::new();
        for &(sources, check) in groups {
            let mut folders: BTreeMap<&str, Vec<PackSource<'_>>> = BTreeMap::new();
            for source in sources {
                folders.entry(folder_of(source.name)).or_default().push(*source);
            }
            for (folder, mut files) in folders {
                files.sort_by_key(|file| (!is_pack_file(file.name), file.name));
                let mut pack = Pack::bare(folder.rsplit(['/', '\\']).next().unwrap_or(folder));
                for file in files {
                    let source = Source { name: file.name, text: file.text };
                    if file.text.len() > FILE_LIMIT {
                        let problem = format!("a file of {} bytes", file.text.len());
                        return Err(RuleError::at(source, 0..0, problem, "at most 262144"));
                    }
                    if is_pack_file(file.name) {
                        pack = Pack::read(source, check)?;
                        continue;
                    }
                    let written = RuleFile::read(source)?;
                    let id_place = written.id.span();
                    let rule = Compiler { source, check }.rule(written, &pack.id, pack.generic)?;
                    if let Some(&first) = ids.get(&rule.id) {
                        let problem = format!("rule {} is already defined in {}", rule.id, rules[first].file);
                        return Err(RuleError::at(source, id_place, problem, "an id of its own"));
                    }
                    ids.insert(rule.id.clone(), rules.len());
                    rules.push(rule);
                    if rules.len() > usize::from(u16::MAX) {
                        return Err(RuleError::at(source, 0..0, "too many rules", "at most 65535"));
                    }
                }
                packs.push(pack);
            }
        }
        Ok(Self::index(packs, rules))
    }

    fn index(packs: Vec<Pack>, rules: Vec<Rule>) -> Self {
        let mut always = vec![0; rules.len().div_ceil(64)];
        let mut conditional = Vec::new();
        let mut telemetry_rules = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            if rule.select.telemetry {
                telemetry_rules.push(number as u16);
            } else if rule.select.is_conditional() {
                conditional.push(number as u16);
            } else {
                always[number / 64] |= 1 << (number % 64);
            }
        }
        let mut issuers: Vec<_> = rules.iter().flat_map(|rule| rule.issuers.iter().cloned()).collect();
        issuers.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let asked = Memory::new(&packs);
        let numbered = rules.iter().any(|rule| rule.select.path.iter().any(PointerGlob::is_numbered));
        Self {
            numbered,
            issuers,
            names: NameIndex::new(&rules, packs.iter().map(|pack| &pack.aliases)),
            literals: Literals::new(&rules),
            scanner: OnceLock::new(),
            labels: LabelTables::new(packs.iter().map(|pack| &pack.labels)),
            hosts: HostSet::new(packs.iter().flat_map(|pack| pack.hosts.iter().chain(&pack.telemetry))),
            telemetry: HostSet::new(packs.iter().flat_map(|pack| pack.telemetry.iter().chain(&pack.shared_telemetry))),
            packs,
            rules,
            always,
            conditional,
            telemetry_rules,
            memory: RwLock::default(),
            asked,
        }
    }

    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// Pack by pack, each sorted by file name.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether which element of a list a value stands in says anything.
    pub(crate) fn is_numbered(&self) -> bool {
        self.numbered
    }

    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| *rule.id == *id)
    }

    /// Every host of every pack, those of telemetry too: `api.example.com`, `*.example.com`.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.packs.iter().flat_map(|pack| pack.hosts.iter().chain(&pack.telemetry)).map(String::as_str)
    }

    pub fn is_ai_host(&self, host: &str) -> bool {
        self.hosts.contains(host)
    }

    /// Beginnings of credentials, longest first, and the hosts that those are for.
    pub(crate) fn issuers(&self) -> &[(String, Vec<String>)] {
        &self.issuers
    }

    /// Whether `host` serves telemetry alone.
    pub fn is_telemetry_host(&self, host: &str) -> bool {
        self.telemetry.contains(host)
    }

    /// The pack of the client that sent `request`, and its version where the request states one.
    pub fn client_of(&self, request: &Request) -> Option<(Arc<str>, Option<String>)> {
        let ask = || self.packs.iter().find_map(|pack| Some((pack.id.clone(), pack.recognise(request)?)));
        self.asked.client(request, ask)
    }

    /// How the client encrypted the bytes at `location`, where a pack knows.
    pub(crate) fn encryption(&self, request: &Request, location: &str) -> Option<&str> {
        let target = request.head.target();
        let path = target.split(['?', '#']).next().unwrap_or(target);
        self.packs.iter().find_map(|pack| pack.encryption(&request.host, path, location))
    }

    /// Collects what rules find in one unit of `request`.
    pub fn inspector<'r>(&'r self, request: &Request, client: Option<&str>) -> Inspector<'r> {
        let scanner = self.scanner.get_or_init(|| Scanner::new(&self.literals, None));
        self.inspector_with(scanner, request, client)
    }

    /// The same with a scanner that looks for facts as well.
    pub(crate) fn inspector_with<'r>(
        &'r self,
        scanner: &'r Scanner,
        request: &Request,
        client: Option<&str>,
    ) -> Inspector<'r> {
        let target = request.head.target();
        let path = target.split(['?', '#']).next().unwrap_or(target);
        let ask = || Admitted::of(&self.always, &self.conditional, &self.rules, &request.host, client);
        let admitted = self.asked.admitted(&request.host, client, ask);
        let mut active = admitted.active.clone();
        let mut activate = |number: u16| active[usize::from(number) / 64] |= 1 << (number % 64);
        for &number in &admitted.by_path {
            if self.rules[usize::from(number)].select.admits_path(path) {
                activate(number);
            }
        }
        if !self.telemetry_rules.is_empty() && self.is_telemetry_host(&request.host) {
            self.telemetry_rules.iter().copied().for_each(activate);
        }
        Inspector::new(self, scanner, active)
    }

    pub(crate) fn labels(&self) -> &LabelTables {
        &self.labels
    }

    /// What names call for in units that the rules of `active` look at, a bit for each.
    pub(crate) fn remembered(&self, active: &[u64]) -> Called {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        Called { all: memory.all.clone(), active: memory.active.get(active).cloned().unwrap_or_default() }
    }

    /// Keeps what a unit asked for, for those that follow.
    pub(crate) fn remember(&self, active: &[u64], fresh: Called<NameMemory>) {
        if fresh.active.is_empty() && fresh.all.is_empty() {
            return;
        }
        // Once there is no room nobody waits for the others.
        if self.memory.read().unwrap_or_else(PoisonError::into_inner).room(active) == (0, 0) {
            return;
        }
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let (all, by_set) = memory.room(active);
        extend(&mut memory.all, fresh.all, all);
        if by_set > 0 {
            extend(memory.active.entry(active.into()).or_default(), fresh.active, by_set);
        }
    }

    pub(crate) fn candidates(&self, name: &str) -> Candidates {
        Candidates { rules: self.names.candidates(name, &self.rules).into(), vague: names::is_vague(name) }
    }
}

impl Literals {
    fn new(rules: &[Rule]) -> Self {
        let mut literals: BTreeMap<&str, Meaning> = BTreeMap::new();
        for sign in crate::engine::detect::BLOCK_SIGNS {
            literals.entry(sign).or_default().sign = true;
        }
        for (number, rule) in rules.iter().enumerate() {
            for literal in &rule.matching.near {
                literals.entry(literal).or_default().near.push(number as u16);
            }
            for literal in &rule.matching.labels {
                literals.entry(literal).or_default().label.push(number as u16);
            }
        }
        let (texts, meanings) = literals.into_iter().map(|(text, meaning)| (text.into(), meaning)).unzip();
        Self { texts, meanings }
    }
}

/// Exact names, and names below a suffix.
#[derive(Debug, Default)]
struct HostSet {
    exact: std::collections::HashSet<String>,
    below: std::collections::HashSet<String>,
}

impl HostSet {
    fn new<'a>(hosts: impl Iterator<Item = &'a String>) -> Self {
        let mut set = Self::default();
        for host in hosts {
            match host.strip_prefix("*.") {
                Some(suffix) => set.below.insert(suffix.to_owned()),
                None => set.exact.insert(host.clone()),
            };
        }
        set
    }

    fn contains(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if self.exact.contains(&host) {
            return true;
        }
        let mut rest = host.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if self.below.contains(parent) {
                return true;
            }
            rest = parent;
        }
        false
    }
}

fn folder_of(name: &str) -> &str {
    name.rfind(['/', '\\']).map_or("", |end| &name[..end])
}

fn is_pack_file(name: &str) -> bool {
    name.rsplit(['/', '\\']).next() == Some("pack.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_by_the_rules_that_look_and_only_so_many() {
        let rules = RuleSet::builtin();
        let names = |from: usize| -> NameMemory {
            (from..from + 200).map(|number| (format!("name{number}").into(), rules.candidates("device_id"))).collect()
        };
        for set in 0..100u64 {
            rules.remember(&[set], Called { all: names(set as usize * 200), active: names(0) });
        }
        let first = rules.remembered(&[0]);
        assert!(first.active.contains_key("name0") && first.all.contains_key("name0"));
        assert_eq!(first.all.len(), REMEMBERED);
        let kept: usize = (0..100).map(|set| rules.remembered(&[set]).active.len()).sum();
        assert_eq!(kept, REMEMBERED_BY_SET);
        assert!(rules.remembered(&[99]).active.is_empty());
    }
}

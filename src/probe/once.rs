//! Every dependency is told once: what shows in several places, encodings or traits of one value is one.

use std::collections::{BTreeMap, BTreeSet};

use super::observation::Aspect;
use super::result::Dependency;
use super::table::{Table, Trait};

/// A dependency on its way to be told, with what decides which of several is.
#[derive(Clone)]
pub struct Told {
    pub column: usize,
    /// 0 is told first.
    pub rank: u8,
    pub dependency: Dependency,
}

/// Tells every place once: not the spelling and what it decodes to, not each member of what comes and goes as a whole, not
/// the traits of a value that depends on the factor itself.
pub fn settled(table: &Table, mut told: Vec<Told>) -> Vec<Dependency> {
    told.sort_by(|a, b| {
        a.rank.cmp(&b.rank).then(a.dependency.p.total_cmp(&b.dependency.p)).then(a.column.cmp(&b.column))
    });
    let mut kept: Vec<Told> = Vec::new();
    for told in told {
        let about = |other: &&mut Told| {
            let (a, b) = (&other.dependency, &told.dependency);
            let role = table.columns[other.column].role == table.columns[told.column].role;
            role && a.factor == b.factor && a.gate == b.gate && a.location == b.location
        };
        let same_kind = kept.iter_mut().filter(about).find(|other| other.dependency.kind == told.dependency.kind);
        if let Some(known) = same_kind {
            known.dependency.places += usize::from(known.rank == told.rank);
        } else if told.rank < 2 || !kept.iter_mut().any(|mut other| about(&mut other)) {
            kept.push(told);
        }
    }
    let kept = without_encodings(table, without_parts(table, kept));
    let mut dependencies: Vec<Dependency> = kept.into_iter().map(|told| told.dependency).collect();
    dependencies.sort_by(|a, b| {
        let key = |of: &Dependency| {
            (of.factor.clone(), of.gate.clone(), of.host.clone(), of.path.clone(), of.location.clone(), of.kind.clone())
        };
        key(a).cmp(&key(b))
    });
    dependencies
}

/// What is encoded is told where it says most: a document inside by its members, a bare value by the place it stands in.
fn without_encodings(table: &Table, told: Vec<Told>) -> Vec<Told> {
    const BARE: [&str; 6] = ["!b64", "!b64url", "!hex", "!url", "!html", "!qp"];
    let others: Vec<Identity> = told.iter().map(|of| identity(table, of)).collect();
    let mut kept = Vec::new();
    for of in told {
        let (role, factor, gate, location) = identity(table, &of);
        let related = |fits: &dyn Fn(&str) -> bool| {
            others.iter().any(|(a, b, c, other)| (*a, b, c) == (role, &factor, &gate) && fits(other))
        };
        let inside = related(&|other| {
            other.strip_prefix(&location).is_some_and(|rest| rest.starts_with('!') && !BARE.contains(&rest))
        });
        let bare =
            BARE.iter().filter_map(|step| location.strip_suffix(step)).any(|outer| related(&|other| other == outer));
        if !inside && !bare {
            kept.push(of);
        }
    }
    kept
}

/// Role, factor, gate and location.
type Identity = (usize, String, Option<BTreeMap<String, String>>, String);

fn identity(table: &Table, of: &Told) -> Identity {
    let role = table.columns[of.column].role;
    (role, of.dependency.factor.clone(), of.dependency.gate.clone(), of.dependency.location.clone())
}

/// Of an object that comes and goes with all its members the object is told.
fn without_parts(table: &Table, told: Vec<Told>) -> Vec<Told> {
    let is_presence = |of: &Told| table.columns[of.column].of == Trait::Presence;
    let (mut presence, mut kept): (Vec<Told>, Vec<Told>) = told.into_iter().partition(is_presence);
    while let Some(first) = presence.pop() {
        let cells = &table.columns[first.column].cells;
        let (role, factor, gate, _) = identity(table, &first);
        let alike = |other: &Told| {
            let (a, b, c, _) = identity(table, other);
            (a, &b, &c) == (role, &factor, &gate) && table.columns[other.column].cells == *cells
        };
        let (mut group, rest): (Vec<Told>, Vec<Told>) = presence.into_iter().partition(alike);
        presence = rest;
        group.push(first);
        kept.extend(by_container(table, role, group));
    }
    kept
}

/// Joins those of one container of which nothing else is ever there.
fn by_container(table: &Table, role: usize, group: Vec<Told>) -> Vec<Told> {
    let members: BTreeSet<String> = group.iter().map(|of| of.dependency.location.clone()).collect();
    let outermost = |location: &str| -> Option<String> {
        let json = location.find("!json:/")? + "!json:".len();
        let ends = location[json + 1..].match_indices(['/', '!']).map(|(at, _)| json + 1 + at);
        ends.map(|end| &location[..end])
            .find(|container| {
                let inside = |at: &str| at.strip_prefix(container).is_some_and(|rest| rest.starts_with(['/', '!']));
                let spots = table.spots.iter().filter(|spot| spot.role == role && spot.aspect == Aspect::Value);
                let mut spots = spots.filter(|spot| inside(&spot.at)).peekable();
                spots.peek().is_some() && spots.all(|spot| members.contains(&*spot.at))
            })
            .map(str::to_owned)
    };
    let mut joined: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for of in group {
        let container = outermost(&of.dependency.location).unwrap_or_else(|| of.dependency.location.clone());
        joined.entry(container).or_default().push(of);
    }
    let one = |(container, mut parts): (String, Vec<Told>)| {
        let count = parts.len();
        let mut first = parts.swap_remove(0);
        if count > 1 {
            first.dependency.location = container;
            first.dependency.places = count;
            for value in first.dependency.values.values_mut().filter(|value| value.is_some()) {
                *value = Some(format!("present ({count} values)"));
            }
        }
        first
    };
    joined.into_iter().map(one).collect()
}

//! Which request of one run is which of another, and which element of a list.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::observation::{Aspect, Observation, Seen, elements, named_elements};

/// One run, as far as the alignment goes.
pub struct Aligning<'a> {
    pub observation: &'a Observation,
    /// Nothing was varied.
    pub base: bool,
    /// Where the base URL led, if that was varied: requests to it are those that go elsewhere otherwise.
    pub base_host: Option<&'a str>,
    /// The values of the factors, in their order.
    pub facts: &'a [String],
}

/// A request that several runs make.
#[derive(Clone, Debug)]
pub struct Role {
    pub host: String,
    pub method: String,
    pub path: String,
    /// Its number varies from run to run: all of one run are looked at as one.
    pub merged: bool,
}

pub struct Aligned {
    pub roles: Vec<Role>,
    /// By role and run: the requests that play it.
    pub cast: Vec<Vec<Vec<usize>>>,
}

/// Two requests to one endpoint that are less alike than this are two.
const LEAST_ALIKE: f64 = 0.3;
/// The same for requests whose paths differ.
const LEAST_ALIKE_ELSEWHERE: f64 = 0.65;
/// Two requests of one run with as many names in common are of one sort.
const ALIKE: f64 = 0.5;
/// Stands for wherever the base URL leads.
const BASE_URL: &str = "{base_url}";

struct Prototype<'a> {
    seen: &'a Seen,
    host: &'a str,
    sketch: Sketch,
    /// Its place among the requests to the same endpoint.
    number: usize,
    merged: bool,
}

/// Names, and names with their values, each as one number.
struct Sketch {
    names: HashSet<u64>,
    values: HashSet<u64>,
}

impl Sketch {
    fn of(seen: &Seen) -> Self {
        let hash = |parts: (&str, &str)| {
            let mut hasher = DefaultHasher::new();
            parts.hash(&mut hasher);
            hasher.finish()
        };
        let leaves = || seen.leaves.iter().filter(|leaf| leaf.aspect == Aspect::Value);
        Self {
            names: leaves().map(|leaf| hash((&leaf.pattern, ""))).collect(),
            values: leaves().map(|leaf| hash((&leaf.pattern, &leaf.text))).collect(),
        }
    }

    fn likeness(&self, other: &Self) -> f64 {
        0.6 * self.share_of_names(other) + 0.4 * share(&self.values, &other.values)
    }

    fn share_of_names(&self, other: &Self) -> f64 {
        share(&self.names, &other.names)
    }
}

/// What two sets have in common, of all that either has.
fn share(a: &HashSet<u64>, b: &HashSet<u64>) -> f64 {
    let common = a.intersection(b).count() as f64;
    let all = (a.len() + b.len()) as f64 - common;
    if all == 0.0 { 1.0 } else { common / all }
}

/// Aligns all requests of all runs; what the first runs have comes first.
pub fn align(runs: &[Aligning<'_>]) -> Aligned {
    let merged = merged_endpoints(runs);
    let mut prototypes: Vec<Prototype<'_>> = Vec::new();
    let mut plays: Vec<Vec<(usize, usize)>> = Vec::new();
    for run in runs {
        plays.push(cast_run(run, &merged, &mut prototypes));
    }
    let mut cast = vec![vec![Vec::new(); runs.len()]; prototypes.len()];
    for (run, played) in plays.into_iter().enumerate() {
        for (role, request) in played {
            cast[role][run].push(request);
        }
    }
    let role = |prototype: Prototype<'_>| Role {
        host: prototype.seen.host.clone(),
        method: prototype.seen.method.clone(),
        path: prototype.seen.template.clone(),
        merged: prototype.merged,
    };
    Aligned { roles: prototypes.into_iter().map(role).collect(), cast }
}

type Endpoint<'a> = (&'a str, &'a str, &'a str);

/// Endpoints to which a varying number of requests goes although nothing was varied, as of a client that sends reports when
/// it has enough of them.
fn merged_endpoints<'a>(runs: &[Aligning<'a>]) -> HashSet<Endpoint<'a>> {
    let mut counts: HashMap<Endpoint<'a>, Vec<usize>> = HashMap::new();
    let base: Vec<&Aligning<'a>> = runs.iter().filter(|run| run.base).collect();
    for (number, run) in base.iter().enumerate() {
        for seen in &run.observation.requests {
            let endpoint = (seen.method.as_str(), seen.host.as_str(), seen.template.as_str());
            let of = counts.entry(endpoint).or_insert_with(|| vec![0; base.len()]);
            of[number] += 1;
        }
    }
    let varies = |counts: &Vec<usize>| {
        let met: Vec<usize> = counts.iter().copied().filter(|&count| count > 0).collect();
        met.iter().max().is_some_and(|&most| most > 1) && met.iter().min() != met.iter().max()
    };
    let several = counts.into_iter().filter(|(_, counts)| varies(counts)).map(|(endpoint, _)| endpoint);
    several.filter(|endpoint| base.iter().any(|run| has_two_alike(run, *endpoint))).collect()
}

/// Whether a run sends the same sort of request there more than once: several sorts are told apart instead.
fn has_two_alike(run: &Aligning<'_>, endpoint: Endpoint<'_>) -> bool {
    let there = |seen: &&Seen| (seen.method.as_str(), seen.host.as_str(), seen.template.as_str()) == endpoint;
    let sketches: Vec<Sketch> = run.observation.requests.iter().filter(there).map(Sketch::of).collect();
    let alike = |(at, one): (usize, &Sketch)| sketches[at + 1..].iter().any(|other| one.share_of_names(other) >= ALIKE);
    sketches.iter().enumerate().any(alike)
}

fn cast_run<'a>(
    run: &Aligning<'a>,
    merged: &HashSet<Endpoint<'a>>,
    prototypes: &mut Vec<Prototype<'a>>,
) -> Vec<(usize, usize)> {
    let requests = &run.observation.requests;
    let host = |seen: &'a Seen| if run.base_host == Some(seen.host.as_str()) { BASE_URL } else { seen.host.as_str() };
    let mut numbers: HashMap<(&str, &str), usize> = HashMap::new();
    let mut open: Vec<(usize, Sketch, usize)> = Vec::new();
    let mut played: Vec<(usize, usize)> = Vec::new();
    for (at, seen) in requests.iter().enumerate() {
        let number = numbers.entry((&seen.method, &seen.template)).or_default();
        let known = prototypes.iter().position(|role| {
            role.merged
                && role.seen.method == seen.method
                && role.seen.template == seen.template
                && meets(role.host, host(seen))
        });
        match known {
            Some(role) => played.push((role, at)),
            None => open.push((at, Sketch::of(seen), *number)),
        }
        *number += 1;
    }
    for elsewhere in [false, true] {
        let mut scores: Vec<(f64, usize, usize)> = Vec::new();
        for (place, (at, sketch, number)) in open.iter().enumerate() {
            for (role, prototype) in prototypes.iter().enumerate().filter(|(_, role)| !role.merged) {
                let seen = &requests[*at];
                let same = prototype.seen.template == seen.template;
                let segments = |seen: &Seen| seen.path.split('/').count();
                let fits = if elsewhere { !same && segments(prototype.seen) == segments(seen) } else { same };
                if !fits || prototype.seen.method != seen.method || !meets(prototype.host, host(seen)) {
                    continue;
                }
                let likeness = sketch.likeness(&prototype.sketch);
                let least = if elsewhere { LEAST_ALIKE_ELSEWHERE } else { LEAST_ALIKE };
                // A request with nothing in common but the endpoint is that request all the same where it is the only one.
                if likeness >= least {
                    let order = if *number == prototype.number { 0.02 } else { 0.0 };
                    scores.push((likeness + order, place, role));
                }
            }
        }
        scores.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut taken = HashSet::new();
        for (_, place, role) in scores {
            let free = !played.iter().any(|(playing, _)| *playing == role);
            if free && taken.insert(place) {
                played.push((role, open[place].0));
            }
        }
        let mut place = 0;
        open.retain(|_| {
            place += 1;
            !taken.contains(&(place - 1))
        });
    }
    for (at, sketch, number) in open {
        let seen = &requests[at];
        let is_merged = merged.contains(&(seen.method.as_str(), seen.host.as_str(), seen.template.as_str()));
        let known = prototypes.iter().position(|role| {
            role.merged
                && is_merged
                && role.seen.template == seen.template
                && role.seen.method == seen.method
                && meets(role.host, host(seen))
        });
        played.push((known.unwrap_or(prototypes.len()), at));
        if known.is_none() {
            prototypes.push(Prototype { seen, host: host(seen), sketch, number, merged: is_merged });
        }
    }
    played.sort_unstable();
    played
}

/// Whether requests to both hosts may be one. Where the base URL leads, any request may go.
fn meets(a: &str, b: &str) -> bool {
    a == b || a == BASE_URL || b == BASE_URL
}

/// Names of the elements of lists that most runs have; others are drawn anew each time.
pub struct StableNames(HashSet<(Arc<str>, Arc<str>)>);

impl StableNames {
    pub fn of(runs: &[Aligning<'_>]) -> Self {
        let mut runs_with: HashMap<(Arc<str>, Arc<str>), usize> = HashMap::new();
        for run in runs {
            let mut met: HashSet<(Arc<str>, Arc<str>)> = HashSet::new();
            for seen in &run.observation.requests {
                for (element, name) in named_elements(seen) {
                    met.insert((crate::report::place::pattern(element).into(), name.into()));
                }
            }
            met.into_iter().for_each(|name| *runs_with.entry(name).or_default() += 1);
        }
        let least = 2.max(runs.len() / 4);
        Self(runs_with.into_iter().filter(|(_, count)| *count >= least).map(|(name, _)| name).collect())
    }
}

/// The places of a request with their lists' elements named rather than numbered, in the order of its leaves. In `open` lists
/// elements that bear no name are one.
pub fn aligned_places(seen: &Seen, stable: &StableNames, open: bool) -> Vec<String> {
    let named = named_elements(seen);
    let mut elements_of: HashMap<&str, String> = HashMap::new();
    let mut occurrences: HashMap<String, usize> = HashMap::new();
    let mut places = Vec::with_capacity(seen.leaves.len());
    for leaf in &seen.leaves {
        let at: &str = &leaf.at;
        let mut place = String::new();
        let mut done = 0;
        for end in elements(at) {
            let element = &at[..end];
            let start = element.rfind('/').map_or(end, |slash| slash + 1);
            place.push_str(&at[done..start]);
            done = end;
            if let Some(known) = elements_of.get(element) {
                place.clone_from(known);
                continue;
            }
            let index = &at[start..end];
            let tag = match named.get(element) {
                Some(name)
                    if stable.0.contains(&(crate::report::place::pattern(element).as_str().into(), (*name).into())) =>
                {
                    format!("[{name}]")
                }
                Some(_) => "[~]".to_owned(),
                None if open => "*".to_owned(),
                None => index.to_owned(),
            };
            place.push_str(&tag);
            if !open && tag.starts_with('[') {
                let number = occurrences.entry(place.clone()).or_default();
                place.push_str(&format!("#{number}"));
                *number += 1;
            }
            elements_of.insert(element, place.clone());
        }
        place.push_str(&at[done..]);
        places.push(place);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::observation::{Leaf, Texts};
    use super::*;

    fn seen(host: &str, path: &str, leaves: &[(&str, &str)]) -> Seen {
        let mut texts = Texts::default();
        let mut leaf = |&(at, text): &(&str, &str)| Leaf {
            aspect: Aspect::Value,
            at: texts.keep(at),
            pattern: texts.keep(&crate::report::place::pattern(at)),
            text: texts.keep(text),
        };
        Seen {
            host: host.into(),
            method: "POST".into(),
            path: path.into(),
            template: path.into(),
            leaves: leaves.iter().map(&mut leaf).collect(),
            bytes_sent: 0,
            bytes_read: 0,
            beyond: 0,
        }
    }

    fn cast(runs: Vec<(Vec<Seen>, Option<&str>)>) -> (usize, Vec<Vec<Vec<usize>>>) {
        let observations: Vec<(Observation, Option<&str>)> =
            runs.into_iter().map(|(requests, host)| (Observation { requests }, host)).collect();
        let aligning: Vec<Aligning<'_>> = observations
            .iter()
            .map(|(observation, host)| Aligning { observation, base: host.is_none(), base_host: *host, facts: &[] })
            .collect();
        let aligned = align(&aligning);
        (aligned.roles.len(), aligned.cast)
    }

    const TITLE: [(&str, &str); 4] = [
        ("body!json:/model", "small"),
        ("body!json:/prompt", "a title"),
        ("body!json:/short", "true"),
        ("body!json:/max", "20"),
    ];
    const TURN: [(&str, &str); 4] = [
        ("body!json:/model", "large"),
        ("body!json:/system", "be brief"),
        ("body!json:/tools/0/name", "read"),
        ("body!json:/max", "4096"),
    ];

    #[test]
    fn requests_keep_their_roles_whatever_their_order_and_whoever_is_missing() {
        let (title, turn) = (seen("api.example.com", "/v1/m", &TITLE), seen("api.example.com", "/v1/m", &TURN));
        let (roles, cast) = cast(vec![
            (vec![title.clone(), turn.clone()], None),
            (vec![turn.clone(), title], None),
            (vec![turn], None),
        ]);
        assert_eq!(roles, 2);
        assert_eq!(cast, [vec![vec![0], vec![1], vec![]], vec![vec![1], vec![0], vec![0]]]);
    }

    #[test]
    fn a_request_that_the_base_url_leads_elsewhere_is_that_request() {
        let here = seen("api.example.com", "/v1/m", &TURN);
        let there = seen("gate.example.net", "/v1/m", &TURN);
        let (roles, cast) = cast(vec![(vec![here], None), (vec![there], Some("gate.example.net"))]);
        assert_eq!((roles, cast), (1, vec![vec![vec![0], vec![0]]]));
    }

    #[test]
    fn elements_are_known_by_name_where_the_name_is_no_accident() {
        let run = |first: &str, second: &str| Observation {
            requests: vec![seen(
                "a",
                "/e",
                &[("body!json:/e/0/name", first), ("body!json:/e/1/name", second), ("body!json:/e/1/v", "1")],
            )],
        };
        let observations = [run("start", "stop"), run("start", "stop"), run("odd", "start")];
        let runs: Vec<Aligning<'_>> = observations
            .iter()
            .map(|observation| Aligning { observation, base: true, base_host: None, facts: &[] })
            .collect();
        let stable = StableNames::of(&runs);
        let places = |at: usize, open| aligned_places(&observations[at].requests[0], &stable, open);
        assert_eq!(
            places(0, false),
            ["body!json:/e/[start]#0/name", "body!json:/e/[stop]#0/name", "body!json:/e/[stop]#0/v"]
        );
        assert_eq!(
            places(2, false),
            ["body!json:/e/[~]#0/name", "body!json:/e/[start]#0/name", "body!json:/e/[start]#0/v"]
        );
        assert_eq!(places(0, true)[2], "body!json:/e/[stop]/v");
    }
}

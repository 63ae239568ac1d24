//! What is left of planted values when a request has passed the policy `strict`.

use std::collections::BTreeMap;

use divulge::engine::Action;
use divulge::engine::replace::{StandIns, Token};

use crate::score::{self, Outcome, Plant};
use crate::{Run, demand, planted, setting, spread};

/// Kinds that `strict` must let nothing of out: person, machine and place.
const REQUIRED: &[&str] = &["user.", "host.", "git.", "path.", "net.", "id.", "tz.", "time.", "locale.", "geo."];

/// Places whose bytes make the request what it is: another path, cookie or token is another request.
fn binds(plant: &Plant) -> bool {
    let resource = |place: &String| {
        place.starts_with("path:")
            || place.contains("cookie")
            || place.contains("!jwt:")
            || place.contains("authorization")
    };
    plant.places.iter().any(resource)
}

/// Whether nothing coarser could stand there.
fn is_coarse(kind: &str, value: &str) -> bool {
    let stand_ins = StandIns { key: &[7; 32], offset: None, drawing: None };
    let action = if ["tz.", "time.", "locale.", "geo."].iter().any(|family| kind.starts_with(family)) {
        Action::Generalize
    } else {
        Action::Redact
    };
    stand_ins.of(action, kind, value, Token::Text).is_none()
}

#[test]
fn nothing_that_is_required_to_go_leaves_under_strict() {
    let run = Run::new(3);
    let (mut required, mut left, mut withheld) = (0, Vec::new(), 0);
    let mut bound = BTreeMap::new();
    let mut engines: Option<(Vec<String>, _)> = None;
    run.each(|case, mut rng, facts, auditing| {
        let names: Vec<String> = facts.iter().map(|known| known.value.clone()).collect();
        if engines.as_ref().is_none_or(|(known, _)| *known != names) {
            engines = Some((names, score::strict(facts)));
        }
        let Some((_, strict)) = &engines else { return };
        let (sent, plants) = planted(&mut rng, case, facts, |_, encoded| encoded.bytes.clone());
        let (findings, after) = score::leaves(strict, &sent);
        let Some(after) = after else {
            withheld += 1;
            return;
        };
        let again = score::audit(auditing, &after);
        for plant in plants.iter().filter(|plant| !plant.places.is_empty()) {
            let kind = plant.known.kind;
            let wanted = REQUIRED.iter().any(|family| kind.starts_with(family)) && !is_coarse(kind, &plant.known.value);
            if !wanted || plant.outcome(&findings) == Outcome::Missed {
                continue;
            }
            let same =
                |finding: &&divulge::engine::Finding| finding.value.to_lowercase() == plant.known.value.to_lowercase();
            let still: Vec<_> = again.iter().filter(same).cloned().collect();
            let stays = plant.outcome(&still) == Outcome::Placed;
            if binds(plant) {
                let count: &mut (usize, usize) = bound.entry(plant.carrier).or_default();
                count.0 += 1;
                count.1 += usize::from(stays);
                continue;
            }
            required += 1;
            if stays {
                let told: Vec<String> = findings.iter().filter(|finding| same(finding)).map(score::told).collect();
                left.push(format!(
                    "case {case}, {kind} {:?} as {} in {}: {}",
                    plant.known.value,
                    plant.encoding,
                    plant.carrier,
                    told.join(" | ")
                ));
            }
        }
    });
    println!("\nunder strict: {} of {required} required values left, {withheld} requests withheld", left.len());
    println!("in paths, cookies and tokens, by carrier (planted, left): {bound:?}");
    spread(&left, setting("DIVULGE_DETECTION_MISSES", 30) as usize).for_each(|text| println!("  {text}"));
    if !run.verbose {
        demand(&[("required values that are gone", 1.0 - score::share(left.len(), required), 0.995)]);
    }
}

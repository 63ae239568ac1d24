//! The packs of this repository: they pass every check of the loader, and each rule proves itself.

use divulge::engine::rules::{RuleSet, examples};

#[test]
fn the_built_in_packs_pass_every_check_of_the_loader() {
    if let Err(error) = RuleSet::load_only(RuleSet::builtin_sources()) {
        panic!("{error}");
    }
}

#[test]
fn every_rule_finds_what_its_examples_say_and_no_more() {
    let rules = RuleSet::builtin();
    let failures: Vec<_> = examples::failures(&rules).iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{} examples fail:\n{}", failures.len(), failures.join("\n"));
}

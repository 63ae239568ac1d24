use super::*;
use crate::engine::finding::Severity;
use crate::engine::location::Step;
use crate::wire::span::Span;

const TEXT: &str = "see /home/anderson/work, anderson";

fn raw(kind: &str, detector: Detector, window: Option<Range<usize>>, action: Option<Action>) -> RawFinding {
    let mut location = Location { root: Root::Body, steps: vec![Step::Json("/text".into())] };
    if let Some(window) = &window {
        location.steps.push(Step::Window(window.start as u32, window.end as u32));
    }
    RawFinding {
        kind: kind.into(),
        location,
        detector,
        rule: Some("r".into()),
        severity: Severity::Medium,
        confidence: 0.9,
        value: TEXT[window.clone().unwrap_or(0..TEXT.len())].into(),
        observed: None,
        target: Target { layer: LayerId(1), raw: Span::of(9..9 + TEXT.len()), spelling: Spelling::JsonString },
        window,
        action,
        restored: None,
    }
}

fn settle(policy: &str, found: Vec<RawFinding>) -> Settled {
    let policy = Policy::parse("t.toml", policy).unwrap();
    let stand_ins = StandIns { key: &[7; 32], offset: None, drawing: None };
    Judge {
        policy: &policy,
        subject: Subject::default(),
        stand_ins,
        layers: &[],
        recalled: Vec::new(),
        digests_follow: true,
    }
    .settle(found)
}

fn edits(settled: &Settled) -> Vec<(Option<Range<usize>>, Option<String>)> {
    let text = |change: &Change| match change {
        Change::Replace(text) => Some(text.clone()),
        Change::Remove => None,
    };
    settled.edits.iter().map(|planned| (planned.edit.window.clone(), text(&planned.edit.change))).collect()
}

#[test]
fn one_place_is_one_finding_and_a_known_fact_names_it() {
    let settled = settle(
        "[[rule]]\nkind = 'id.*'\naction = 'strip'\n[[rule]]\naction = 'log'\n",
        vec![raw("id.anon", Detector::Rule, Some(25..33), None), raw("user.name", Detector::Fact, Some(25..33), None)],
    );
    assert_eq!(settled.findings.len(), 1);
    let finding = &settled.findings[0];
    assert_eq!((&*finding.kind, finding.action, finding.rule.as_deref()), ("user.name", Action::Strip, Some("r")));
}

#[test]
fn the_strictest_action_wins_where_findings_overlap_and_edits_never_do() {
    let settled = settle(
        "[[rule]]\nkind = 'user.name'\naction = 'redact'\n[[rule]]\nkind = 'path.*'\naction = 'generalize'\n",
        vec![
            raw("path.cwd", Detector::Rule, Some(4..23), None),
            raw("path.home", Detector::Fact, Some(4..18), None),
            raw("user.name", Detector::Fact, Some(10..18), None),
            raw("user.name", Detector::Fact, Some(25..33), None),
        ],
    );
    assert_eq!(settled.findings.len(), 4);
    assert_eq!(edits(&settled), [(Some(4..23), Some("/home/user/work".into())), (Some(25..33), Some("user".into()))]);
}

#[test]
fn findings_that_overlap_in_part_are_edited_as_one() {
    let settled = settle(
        "[[rule]]\naction = 'redact'\n",
        vec![raw("path.home", Detector::Rule, Some(4..18), None), raw("path.cwd", Detector::Rule, Some(10..23), None)],
    );
    assert_eq!(edits(&settled).len(), 1);
    assert_eq!(edits(&settled)[0].0, Some(4..23));
    assert_eq!(settled.edits[0].old, "/home/anderson/work");
}

#[test]
fn a_whole_leaf_takes_the_windows_inside_it_along() {
    let settled = settle(
        "[[rule]]\nkind = 'env.vars'\naction = 'strip'\n[[rule]]\naction = 'redact'\n",
        vec![raw("user.name", Detector::Fact, Some(25..33), None), raw("env.vars", Detector::Rule, None, None)],
    );
    assert_eq!(edits(&settled), [(None, None)]);
    assert!(settled.findings.iter().all(|finding| finding.action.edits()));
}

#[test]
fn the_pack_proposes_where_no_rule_matches() {
    let settled = settle("", vec![raw("user.name", Detector::Rule, Some(25..33), Some(Action::Redact))]);
    assert_eq!(settled.findings[0].action, Action::Redact);
    assert_eq!(settled.findings[0].replacement.as_deref(), Some("user"));
}

#[test]
fn under_mode_audit_nothing_is_edited_and_would_says_what_would_be() {
    let settled = settle(
        "mode = 'audit'\n[[rule]]\naction = 'block'\n",
        vec![raw("user.name", Detector::Rule, Some(25..33), None)],
    );
    assert_eq!((settled.findings[0].action, settled.findings[0].would), (Action::Log, Some(Action::Block)));
    assert!(settled.edits.is_empty() && settled.block.is_none());
}

#[test]
fn fields_that_make_the_message_what_it_is_are_never_edited() {
    for name in ["host", "content-type", "content-length"] {
        let mut found = raw("net.domain", Detector::Fact, None, None);
        found.location = Location { root: Root::Header { name: name.into(), repeat: 0 }, steps: Vec::new() };
        let settled = settle("[[rule]]\naction = 'strip'\n", vec![found]);
        assert!(settled.edits.is_empty(), "{name}");
        assert_eq!(settled.findings[0].action, Action::Log, "{name}");
    }
}

#[test]
fn what_a_prompt_yields_inside_a_longer_value_is_left_out() {
    let settled = settle(
        "[[rule]]\naction = 'log'\n",
        vec![
            raw("path.cwd", Detector::Fact, Some(4..23), None),
            raw("user.name", Detector::Prompt, Some(10..18), None),
        ],
    );
    let kinds: Vec<_> = settled.findings.iter().map(|finding| &*finding.kind).collect();
    assert_eq!(kinds, ["path.cwd"]);
}

#[test]
fn what_the_provider_signed_stays_as_it_is_whatever_on_integrity_says() {
    let mut seal = raw("integrity.thinking_signature", Detector::Rule, None, None);
    seal.location = Location { root: Root::Body, steps: vec![Step::Json("/messages/1/content/0/signature".into())] };
    seal.target.raw = Span::of(900..950);
    let inside = |pointer: &str| {
        let mut found = raw("user.name", Detector::Fact, Some(25..33), None);
        found.location.steps = vec![Step::Json(pointer.into()), Step::Window(25, 33)];
        found
    };
    for (pointer, edited) in [("/messages/1/content/0/thinking", 0), ("/messages/1/content/1/text", 1)] {
        let policy = "on_integrity = 'edit'\n[[rule]]\naction = 'redact'\n";
        let settled = settle(policy, vec![seal.clone(), inside(pointer)]);
        assert_eq!(settled.edits.len(), edited, "{pointer}");
    }
}

#[test]
fn what_others_have_in_a_marks_place_is_put_there_whatever_the_action() {
    for action in ["generalize", "redact", "strip"] {
        let policy = format!("[[rule]]\nkind = 'cov.*'\naction = '{action}'\n[[rule]]\naction = 'log'\n");
        let mut mark = raw("cov.homoglyph", Detector::Template, Some(10..18), None);
        mark.restored = Some("andersen".into());
        // Told by another detector as well, and more surely.
        let mut seen = raw("cov.homoglyph", Detector::Covert, Some(10..18), None);
        seen.confidence = 0.95;
        for found in [vec![mark.clone()], vec![mark.clone(), seen.clone()], vec![seen, mark.clone()]] {
            let settled = settle(&policy, found);
            assert_eq!(edits(&settled), [(Some(10..18), Some("andersen".into()))], "{action}");
            assert_eq!(settled.findings[0].replacement.as_deref(), Some("andersen"));
        }
        // As it always is: nothing to do, and said to be so.
        mark.restored = Some("anderson".into());
        let settled = settle(&policy, vec![mark]);
        assert!(settled.edits.is_empty() && settled.findings[0].action == Action::Log, "{action}");
        // Which word belongs there is not known.
        let word = raw("cov.word", Detector::Template, Some(10..18), None);
        assert!(settle(&policy, vec![word]).edits.is_empty(), "{action}");
    }
}

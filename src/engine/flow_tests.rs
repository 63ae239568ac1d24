use super::*;
use crate::engine::rules::RuleSet;
use crate::engine::{DecodeLimits, EngineParts, Facts};
use crate::wire::head::RequestHead;

fn flow(on_error: OnError) -> Flow {
    let engine = Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::default(),
        policy: Policy::preset("audit").unwrap(),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error,
    });
    let head = RequestHead::from_parts("POST", "/v1", [(&b"host"[..], &b"api.example.com"[..])]);
    let request = Request { host: "api.example.com".into(), port: 443, secure: true, head };
    Arc::new(engine).open("1".into(), Arc::new(request))
}

/// What a unit came to, and the flow after it.
fn outcome(on_error: OnError, reason: &'static str) -> (Audit, FlowSummary) {
    let mut flow = flow(on_error);
    let part = Part::Document(Bytes::from_static(b"{\"a\":1}"));
    let audit = match reason {
        "inspector" => flow.audit_by(part, false, |_, _, _, _| panic!("a detector that has a bug")),
        reason => flow.pass_over(part, reason),
    };
    (audit, flow.close())
}

#[test]
fn a_unit_whose_inspector_panics_or_has_no_room_follows_on_error_and_is_reported_unread() {
    for reason in ["inspector", "overload"] {
        let (audit, summary) = outcome(OnError::Open, reason);
        assert!(matches!(&audit.outgoing, Outgoing::Unchanged(bytes) if bytes == &b"{\"a\":1}"[..]), "{reason}");
        assert_eq!(audit.findings.iter().map(|finding| &*finding.kind).collect::<Vec<_>>(), ["audit.unread"]);
        assert_eq!(
            summary.unread.iter().map(|unread| (unread.reason, unread.bytes)).collect::<Vec<_>>(),
            [(reason, 7)]
        );
        assert_eq!((summary.bytes_sent, summary.bytes_read, summary.verdict), (7, 0, Verdict::Forwarded));

        let (audit, summary) = outcome(OnError::Closed, reason);
        assert!(matches!(&audit.outgoing, Outgoing::Withheld(refusal) if refusal.reason == reason), "{reason}");
        assert_eq!((audit.findings.len(), summary.verdict), (1, Verdict::Withheld));
    }
}

#[test]
fn a_unit_after_one_whose_inspector_panicked_is_inspected() {
    let mut flow = flow(OnError::Open);
    flow.audit_by(Part::Line { index: 0, bytes: Bytes::from_static(b"{}\n") }, false, |_, _, _, _| panic!("a bug"));
    let audit = flow.audit(Part::Line { index: 1, bytes: Bytes::from_static(b"{\"a\":1}\n") });
    assert_eq!((audit.bytes_read, audit.unread.len()), (8, 0));
}

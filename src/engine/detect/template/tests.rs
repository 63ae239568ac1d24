use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::engine::Unit;
use crate::engine::{DecodeLimits, Engine, EngineParts, Facts, OnError, Outgoing, Part, Policy, RuleSet};
use crate::wire::head::RequestHead;

const SYSTEM: &str = "You are a coding assistant. Don't guess what you can't see; the user's files are what's there. \
    It's fine to ask. You're careful, and you won't delete what isn't yours.\nToday's date: 2026-11-27\n\
    Platform: linux - use the shell that is there.\n\nAnswer in \"plain\" words ... and stop.\n";
const TOOL: &str = "Reads a file from the disk. The path must be absolute; don't use relative ones.";

/// One request of an invented client. `edit` is done to its body as text.
fn request(prompt: &str, edit: &dyn Fn(&str) -> String) -> (Vec<(&'static str, String)>, String) {
    let quoted = |text: &str| serde_json::to_string(text).expect("text is JSON");
    let body = format!(
        r#"{{"model":"m-1","max_tokens":4096,"temperature":1,"system":[{{"type":"text","text":{}}}],"tools":[{{"name":"read","description":{},"input_schema":{{"type":"object"}}}}],"messages":[{{"role":"user","content":[{{"type":"text","text":{}}},{{"type":"text","text":{}}}]}}]}}"#,
        quoted(SYSTEM),
        quoted(TOOL),
        quoted(&format!(
            "<system-reminder>\nThe task list is empty. Don't mention it to the user.\n\n{prompt}\n</system-reminder>"
        )),
        quoted(prompt),
    );
    let fields = vec![
        ("Host", "api.example.com".to_owned()),
        ("Accept", "application/json".to_owned()),
        ("Content-Type", "application/json".to_owned()),
        ("User-Agent", "examplecoder/1.2.3".to_owned()),
        ("X-Api-Version", "1".to_owned()),
    ];
    (fields, edit(&body))
}

fn plain(prompt: &str) -> (Vec<(&'static str, String)>, String) {
    request(prompt, &str::to_owned)
}

fn engine() -> Engine {
    under(Policy::preset("audit").expect("a preset"))
}

fn under(policy: Policy) -> Engine {
    Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::default(),
        policy,
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    })
}

fn sent((fields, body): &(Vec<(&'static str, String)>, String)) -> (Arc<Request>, Part) {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", "/v1/messages", fields);
    let request = Request { host: "api.example.com".to_owned(), port: 443, secure: true, head };
    (Arc::new(request), Part::Document(Bytes::copy_from_slice(body.as_bytes())))
}

/// What `request` shows to one who has seen `earlier`: kind and location.
fn found(
    earlier: &[(Vec<(&'static str, String)>, String)],
    request: &(Vec<(&'static str, String)>, String),
) -> Vec<(String, String)> {
    let engine = Arc::new(engine().with_templates(Arc::new(learned(earlier)), false));
    let (request, part) = sent(request);
    let mut flow = engine.open("now".to_owned(), request);
    let findings = flow.audit(part).findings;
    let templates = findings.iter().filter(|finding| matches!(finding.detector, Detector::Template | Detector::Covert));
    templates.map(|finding| (finding.kind.to_string(), finding.location.to_string())).collect()
}

fn learned(earlier: &[(Vec<(&'static str, String)>, String)]) -> Templates {
    let teacher = Arc::new(engine().with_templates(Arc::default(), true));
    let mut templates = Templates::default();
    for one in earlier {
        let (request, part) = sent(one);
        let mut flow = teacher.open("earlier".to_owned(), request);
        flow.audit(part);
        templates.learn(flow.close().lesson, 0);
    }
    templates
}

/// The body that leaves when marks get `action`.
fn forwarded(action: &str, earlier: &Templates, request: &(Vec<(&'static str, String)>, String)) -> String {
    let policy = format!("[[rule]]\nkind = 'cov.*'\naction = '{action}'\n[[rule]]\naction = 'log'\n");
    let engine = under(Policy::parse("t.toml", &policy).expect("a policy"));
    let engine = Arc::new(engine.with_templates(Arc::new(earlier.clone()), false));
    let (request, part) = sent(request);
    let outgoing = match engine.open("now".to_owned(), request).audit(part).outgoing {
        Outgoing::Unchanged(body) => body,
        Outgoing::Rewritten(rewritten) => rewritten.payload,
        Outgoing::Withheld(_) => panic!("withheld"),
    };
    String::from_utf8(outgoing.to_vec()).expect("the body is text")
}

fn others() -> Vec<(Vec<(&'static str, String)>, String)> {
    ["fix the build", "what is this\u{2019}s point?", "write  a test", "rename it"].map(plain).to_vec()
}

#[test]
fn one_odd_character_in_a_clients_text_is_named() {
    for (from, to, kind, place) in [
        ("Today's", "Today\u{2019}s", "cov.apostrophe", "/system/0/text@"),
        ("user's files", "user\u{2bc}s files", "cov.apostrophe", "/system/0/text@"),
        ("2026-11-27", "2026/11/27", "cov.date_sep", "/system/0/text@"),
        ("2026-11-27", "2026年11月27日", "cov.date_sep", "/system/0/text@"),
        ("s fine to", "s fine\u{a0}to", "cov.space", "/system/0/text@"),
        ("fine to ask", "fine to  ask", "cov.space", "/system/0/text@"),
        ("fine to ask", "f\u{456}ne to ask", "cov.homoglyph", "/system/0/text@"),
        ("careful, and", "careful,\u{200b} and", "cov.zero_width", "/system/0/text@"),
        ("careful, and", "careful\u{fe00}, and", "cov.varsel", "/system/0/text@"),
        (r"yours.\n", r"yours. \n", "cov.trailing_ws", "/system/0/text@"),
        (r"there.\n\nAnswer", r"there.\n  \nAnswer", "cov.trailing_ws", "/system/0/text@"),
        (r"yours.\n", r"yours.\r\n", "cov.trailing_ws", "/system/0/text@"),
        ("linux - use", "linux \u{2013} use", "cov.homoglyph", "/system/0/text@"),
        ("words ...", "words \u{2026}", "cov.homoglyph", "/system/0/text@"),
        (r#"\"plain\""#, "\u{201c}plain\u{201d}", "cov.apostrophe", "/system/0/text@"),
        ("absolute; don't", "absolute; don\u{2019}t", "cov.apostrophe", "/tools/0/description@"),
        ("Don't mention", "Don\u{2019}t mention", "cov.apostrophe", "/messages/0/content/0/text@"),
    ] {
        let marked = request("rename it", &|body| {
            assert!(body.contains(from), "{from}");
            body.replacen(from, to, 1)
        });
        let found = found(&others(), &marked);
        assert!(!found.is_empty(), "{to}: nothing");
        for (found_kind, location) in &found {
            let expected = format!("body!json:{place}");
            assert!(found_kind == kind && location.starts_with(&expected), "{to}: {found:?}");
        }
    }
}

#[test]
fn a_mark_gives_way_to_what_the_other_requests_have() {
    // Of a client that writes curly apostrophes here and straight ones there, an accent, a wide space.
    let own = |body: &str| {
        body.replacen("user's files", "user\u{2019}s files", 1)
            .replacen("in \\\"plain\\\" words ...", "in \u{201c}plain\u{201d} words\u{a0}... a r\u{e9}sum\u{e9}", 1)
            .replacen("a file from", "a file,\u{200b} from", 1)
    };
    let earlier: Vec<_> = ["fix", "what's this?", "rename"].map(|prompt| request(prompt, &own)).to_vec();
    let earlier = learned(&earlier);
    let clean = request("x", &own);
    for (from, to) in [
        ("Today's", "Today\u{2019}s"),
        ("Today's", "Today\\u02bcs"),
        ("user\u{2019}s files", "user's files"),
        ("user\u{2019}s files", "user\\u0027s files"),
        ("2026-11-27", "2026/11/27"),
        ("2026-11-27", "2026\\u5e7411\\u670827\\u65e5"),
        ("s fine to", "s fine\\u00a0to"),
        ("fine to ask", "fine to  ask"),
        ("words\u{a0}...", "words ..."),
        ("fine to ask", "f\\u0456ne to ask"),
        ("It's fine", "lt's fine"),
        ("careful, and", "careful,\\u200b and"),
        ("a file,\u{200b} from", "a file, from"),
        ("careful, and", "care\u{2060}ful, and"),
        ("r\u{e9}sum\u{e9}", "re\\u0301sum\u{e9}"),
        (r"yours.\n", r"yours. \n"),
        (r"yours.\n", r"yours.\r\n"),
        ("linux - use", "linux \u{2013} use"),
        ("\u{201c}plain\u{201d}", "\\\"plain\u{201d}"),
        ("absolute; don't", "absolute; don\\u2019t"),
        ("Don't mention", "Don\u{2019}t mention"),
    ] {
        let marked = (clean.0.clone(), clean.1.replacen(from, to, 1));
        assert_ne!(marked.1, clean.1, "{from}");
        for action in ["generalize", "redact", "strip"] {
            // What the client spells with an escape stays spelled so; nothing here is.
            assert_eq!(forwarded(action, &earlier, &marked), clean.1, "{action} {to}");
        }
        assert_eq!(forwarded("log", &earlier, &marked), marked.1);
    }
    for action in ["generalize", "redact", "strip"] {
        assert_eq!(forwarded(action, &earlier, &clean), clean.1, "{action}");
    }
}

#[test]
fn form_that_three_others_agree_on_is_compared() {
    for (from, to, kind, location) in [
        (r#""temperature":1,"#, r#""temperature":1.0,"#, "cov.number", "body!json:/temperature"),
        (r#""temperature":1,"#, r#""temperature": 1,"#, "cov.json_ws", "body!json:/temperature"),
        (r#""model":"m-1","max_tokens":4096,"#, r#""max_tokens":4096,"model":"m-1","#, "cov.key_order", "body!json:"),
    ] {
        let marked = request("rename it", &|body| body.replacen(from, to, 1));
        assert_ne!(marked.1, plain("rename it").1);
        assert_eq!(found(&others(), &marked), [(kind.to_owned(), location.to_owned())], "{to}");
    }
    let mut swapped = plain("rename it");
    swapped.0.swap(1, 2);
    assert_eq!(found(&others(), &swapped), [("cov.header_order".to_owned(), "head".to_owned())]);
    let mut cased = plain("rename it");
    cased.0[4].0 = "x-api-version";
    assert_eq!(found(&others(), &cased), [("cov.header_case".to_owned(), "head".to_owned())]);
}

#[test]
fn slots_people_and_optional_fields_are_no_marks() {
    for other in [
        plain("it\u{2019}s a \u{201c}test\u{201d} \u{2013} isn't it\u{2026}"),
        request("don't", &|body| body.replace("2026-11-27", "2025-01-03").replace("linux", "darwin")),
        request("x", &|body| body.replace(r#""temperature":1,"#, "")),
        request("x", &|body| body.replace(r#""temperature":1,"#, r#""temperature":0.7,"stream":true,"#)),
        request("x", &|body| body.replace("Don't guess", "Never guess")),
    ] {
        assert_eq!(found(&others(), &other), [], "{}", other.1);
    }
    let mut longer = plain("x");
    longer.0.insert(2, ("X-Retry", "1".to_owned()));
    longer.0.remove(1);
    assert_eq!(found(&others(), &longer), []);
}

#[test]
fn one_member_more_or_fewer_is_named_where_twenty_agree() {
    let twenty: Vec<_> = (0..20).map(|_| plain("x")).collect();
    let fewer = request("x", &|body| body.replace(r#""temperature":1,"#, ""));
    let more = request("x", &|body| body.replace(r#""temperature":1,"#, r#""temperature":1,"seed":7,"#));
    let other = request("x", &|body| body.replace(r#""temperature":1,"#, r#""seed":7,"#));
    let presence = [("cov.presence".to_owned(), "body!json:".to_owned())];
    assert_eq!(found(&twenty, &fewer), presence);
    assert_eq!(found(&twenty, &more), presence);
    assert_eq!(found(&twenty, &other), []);
    assert_eq!(found(&twenty[1..], &fewer), []);
    assert_eq!(found(&twenty, &plain("y")), []);
    let mut some = twenty.clone();
    some[3] = fewer.clone();
    assert_eq!(found(&some, &fewer), []);
}

#[test]
fn prompts_for_several_tasks_are_not_compared_with_each_other() {
    let other = |body: &str| {
        body.replacen("You are a coding assistant", "You are one who names conversations", 1)
            .replacen("you can't see; the", "you can't see, the", 1)
            .replacen("It's fine to ask. ", "", 1)
            .replacen("Today's", "Today\u{2019}s", 1)
    };
    let mut earlier: Vec<_> = (0..6).map(|_| plain("x")).collect();
    assert_eq!(found(&earlier, &request("x", &other)), []);
    earlier.extend((0..5).map(|_| request("x", &other)));
    assert_eq!(found(&earlier, &request("x", &other)), []);
    assert_eq!(found(&earlier, &plain("x")), []);
}

#[test]
fn what_a_person_wrote_into_the_clients_text_is_no_template() {
    // Three projects with rules of their own, all of which say "don't use the".
    let ours = |text: &str| request(text, &str::to_owned);
    let earlier = [
        ours("Our rules: don't use the old API, and run lint."),
        ours("House style: please don't use the singletons at all."),
        ours("Notes for helpers: never push; don't use the force flag."),
    ];
    assert_eq!(found(&earlier, &ours("Team guide: you don\u{2019}t use the mouse here.")), []);
}

#[test]
fn nothing_is_said_before_two_others_were_seen() {
    let marked = request("x", &|body| body.replacen("fine to", "fine\u{a0}to", 1));
    assert_eq!(found(&[], &marked), []);
    assert_eq!(found(&others()[..1], &marked), []);
    assert_eq!(found(&others()[..2], &marked).len(), 1);
}

#[test]
fn a_single_odd_apostrophe_is_named_before_anything_is_learned() {
    let marked = request("x", &|body| body.replacen("Today's", "Today\u{2019}s", 1));
    let one = found(&[], &marked);
    assert_eq!(one.len(), 1, "{one:?}");
    assert!(one[0].0 == "cov.apostrophe" && one[0].1.starts_with("body!json:/system/0/text@"), "{one:?}");
    let all = request("x", &|body| body.replace("'", "\u{2019}"));
    assert_eq!(found(&[], &all), []);
    let odd = request("x", &|body| body.replace("'", "\u{2019}").replacen("Today\u{2019}s", "Today\u{2bc}s", 1));
    assert_eq!(found(&[], &odd).len(), 1);
}

#[test]
fn a_mark_is_seen_among_the_requests_that_taught_it() {
    let mut requests = others();
    requests.push(request("x", &|body| body.replacen("Today's", "Today\u{2019}s", 1)));
    let engine = engine();
    let mut templates = Templates::default();
    for one in &requests {
        let (request, part) = sent(one);
        templates.learn(engine.lesson(&Unit { request: &request, part }), 0);
    }
    let engine = Arc::new(engine.with_templates(Arc::new(templates.among_themselves()), false));
    let counts: Vec<usize> = requests
        .iter()
        .map(|one| {
            let (request, part) = sent(one);
            let findings = engine.open("x".to_owned(), request).audit(part).findings;
            findings.iter().filter(|finding| finding.detector == Detector::Template).count()
        })
        .collect();
    assert_eq!(counts, [0, 0, 0, 0, 1]);
}

#[test]
fn nothing_but_time_depends_on_what_was_read_before() {
    let marks: [(&str, &str); 5] = [
        ("Today's", "Today\u{2019}s"),
        ("fine to", "fine\u{a0}to"),
        ("", ""),
        ("don't use", "don\u{2019}t use"),
        ("2026-11-27", "2026/11/27"),
    ];
    // The same words again and again, some of them marked, while the templates grow and when they no longer do.
    let run = |engine: Engine| {
        let engine = Arc::new(engine.with_templates(Arc::default(), true));
        let mut templates = Templates::default();
        let mut told = Vec::new();
        for turn in 0..40 {
            let (from, to) = marks[turn * 7 % marks.len()];
            let one = request(["x", "y"][turn % 2], &|body| {
                if turn % 3 == 2 { body.replacen(from, to, 1) } else { body.to_owned() }
            });
            let (request, part) = sent(&one);
            let mut flow = engine.open("x".to_owned(), request);
            told.extend(flow.audit(part).findings.iter().map(|finding| {
                (turn, finding.kind.to_string(), finding.location.to_string(), finding.confidence.to_string())
            }));
            if turn < 20 || turn == 30 {
                templates.learn(flow.close().lesson, 0);
                engine.set_templates(Arc::new(templates.clone()));
            }
        }
        (told, templates.to_json(), engine.texts.hits())
    };
    let (with, without) = (run(engine()), run(engine().without_memory()));
    assert_eq!(with.0, without.0);
    assert_eq!(with.1, without.1);
    assert!(with.0.len() > 10 && with.2 > 10 && without.2 == 0, "{} {}", with.0.len(), with.2);
}

#[test]
fn a_client_that_changes_the_version_of_http_is_no_mark() {
    let mut lower = plain("x");
    for (name, _) in &mut lower.0 {
        *name = match *name {
            "Host" => "host",
            "Accept" => "accept",
            "Content-Type" => "content-type",
            "User-Agent" => "user-agent",
            _ => "x-api-version",
        };
    }
    assert_eq!(found(&others(), &lower), []);
}

#[test]
fn blocks_are_found_by_their_names_and_ends() {
    let names = |text: &'static str| -> Vec<&str> { blocks(text).into_iter().map(|(name, _)| &text[name]).collect() };
    assert_eq!(names("a <env>x</env> b <system-reminder>y</system-reminder>"), ["env", "system-reminder"]);
    assert_eq!(names("<div>x</div> <T> a < b <no_end> <p>"), Vec::<&str>::new());
    let open = "<never_closed>".repeat(100_000);
    assert!(blocks(&open).is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(12))]
    #[test]
    fn equal_requests_are_never_unlike_and_no_text_is_too_odd(
        texts in proptest::collection::vec(
            "([a-zA-Z]{1,5}|[0-9]{1,4}|[ '’.,:/\\-\\n\\r\\t]|\\PC|\u{200b}|\u{301}|年|<env>|</env>|é|\u{43e}){0,40}", 4..6),
    ) {
        let request_of = |text: &str| {
            request("x", &|body| {
                let quoted = serde_json::to_string(text).expect("text is JSON");
                body.replacen("\"system\":[", &format!("\"system\":[{{\"type\":\"text\",\"text\":{quoted}}},"), 1)
            })
        };
        let same = request_of(&texts[0]);
        // Alone, a mark of the certain set may be found; beside its equals nothing more.
        let alone = found(&[], &same).into_iter().filter(|(kind, _)| kind != "cov.apostrophe").count();
        let beside = vec![same.clone(), same.clone(), same.clone()];
        proptest::prop_assert!(found(&beside, &same).len() <= alone.max(1));
        let others: Vec<_> = texts[1..].iter().map(|text| request_of(text)).collect();
        found(&others, &same);
    }
}

//! Whole requests through the engine: what is found where, what is done, and the exact bytes that leave.
//!
//! A case is a folder: `request.http`, `case.toml`, and `forwarded.http` where anything may leave. Run with
//! `UPDATE_CASES=1` to write the last, then read the difference before it is committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use divulge::engine::{
    DecodeLimits, Engine, EngineParts, Fact, Facts, Finding, FlowSummary, OnError, Outgoing, Policy, RuleSet, Verdict,
};
use divulge::session::raw::Captured;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the case shows.
    #[serde(rename = "title")]
    _title: String,
    /// A preset, or the text of a policy.
    /// `look-alike`: a request of the shape that is documented for a client which cannot be run here, with
    /// invented values.
    #[serde(default, rename = "note")]
    _note: Option<String>,
    /// The row of the support matrix that a look-alike stands for.
    #[serde(default)]
    assistant: Option<String>,
    policy: String,
    #[serde(default)]
    facts: Vec<FactOfCase>,
    #[serde(default)]
    on_error: Option<String>,
    verdict: String,
    /// `kind location action`, or with `would` `kind location action/would`; all must be among the findings.
    #[serde(default)]
    finds: Vec<String>,
    /// `kind location`, whatever is done about it; a location may end in `@*` for any window.
    #[serde(default)]
    places: Vec<String>,
    /// `location reason` of what is not read; nothing else may be unread.
    #[serde(default)]
    unread: Option<Vec<String>>,
    /// Nothing else may be found.
    #[serde(default)]
    exact: bool,
    /// The word of the refusal.
    #[serde(default)]
    refusal: Option<String>,
    /// Kinds of the integrity values that the certificate names.
    #[serde(default)]
    integrity: Vec<String>,
    /// Edits that could not be made.
    #[serde(default)]
    unmade: u64,
    /// What may not leave in any form that can be read.
    #[serde(default)]
    gone: Vec<String>,
}

#[derive(serde::Deserialize)]
struct FactOfCase {
    kind: String,
    value: String,
    #[serde(default)]
    host: Option<String>,
}

#[test]
fn every_case_comes_out_as_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&root)
        .expect("tests/cases is there")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 10, "only {} cases", folders.len());
    // Every case makes an engine of its own, which is most of the work.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let share =
            |folders| scope.spawn(move || <[PathBuf]>::iter(folders).flat_map(|f| check(f)).collect::<Vec<_>>());
        let running: Vec<_> = folders.chunks(folders.len().div_ceil(workers)).map(share).collect();
        running.into_iter().flat_map(|worker| worker.join().expect("a case panicked")).collect()
    });
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn no_damage_to_a_request_makes_the_inspection_fail() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let facts = [("user.name", "anderson"), ("path.home", "/home/anderson"), ("tz.iana", "Asia/Shanghai")];
    let engine = Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::of(facts.map(|(kind, value)| (kind.to_owned(), value.to_owned()))),
        policy: Policy::preset("strict").expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }));
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % below.max(1)
    };
    let mut read = 0;
    for folder in std::fs::read_dir(&root).expect("tests/cases is there").filter_map(|entry| Some(entry.ok()?.path())) {
        let request = std::fs::read(folder.join("request.http")).expect("request.http is there");
        for _ in 0..150 {
            let mut damaged = request.clone();
            for _ in 0..=draw(3) {
                let at = draw(damaged.len());
                match draw(4) {
                    0 => damaged[at] = draw(256) as u8,
                    1 => damaged[at] = b"\"\\{}[]:,%=&/+-0\n"[draw(16)],
                    2 => drop(damaged.remove(at)),
                    _ => damaged.truncate(at.max(60)),
                }
            }
            let Ok(captured) = Captured::read(damaged.into()) else { continue };
            read += 1;
            let (findings, outgoing, summary) = audit(&engine, &captured);
            assert!(summary.unread.iter().all(|unread| unread.reason != "inspector"), "{}", folder.display());
            assert!(findings.iter().all(|finding| finding.confidence <= 1.0));
            assert!(captured.outgoing(&outgoing).is_some() || summary.verdict == Verdict::Withheld);
            if let Some(certificate) = &summary.certificate {
                assert_eq!(certificate.rest_before, certificate.rest_after, "{}", folder.display());
            }
        }
    }
    assert!(read > 500, "only {read} could be read at all");
}

fn check(folder: &Path) -> Vec<String> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let read = |file: &str| std::fs::read(folder.join(file));
    let text = String::from_utf8(read("case.toml").expect("case.toml is there")).expect("case.toml is text");
    let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let request = Bytes::from(read("request.http").expect("request.http is there"));
    let captured = Captured::read(request.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let engine = engine(&name, &case);

    let (findings, outgoing, summary) = audit(&engine, &captured);
    let mut failures = Vec::new();
    let mut fail = |message: String| failures.push(format!("{name}: {message}"));

    let mut found: Vec<String> = findings.iter().map(spelled).collect();
    found.sort();
    for expected in &case.finds {
        if !found.contains(expected) {
            fail(format!("expected `{expected}`, found {found:#?}"));
        }
    }
    let places: Vec<String> = findings.iter().map(|finding| format!("{} {}", finding.kind, finding.location)).collect();
    for expected in &case.places {
        let there = |place: &String| match expected.strip_suffix('*') {
            Some(start) => place.starts_with(start),
            None => place == expected,
        };
        if !places.iter().any(there) {
            fail(format!("expected `{expected}`, found {places:#?}"));
        }
    }
    if let Some(expected) = &case.unread {
        let unread: Vec<String> = summary.unread.iter().map(|u| format!("{} {}", u.location, u.reason)).collect();
        if unread != *expected {
            fail(format!("expected unread {expected:?}, it is {unread:?}"));
        }
    }
    if case.exact && found.len() != case.finds.len() {
        fail(format!("expected nothing but {:#?}, found {found:#?}", case.finds));
    }
    if summary.unmade != case.unmade {
        fail(format!("expected {} edits that cannot be made, there are {}", case.unmade, summary.unmade));
    }
    let verdict = match summary.verdict {
        Verdict::Forwarded => "forwarded",
        Verdict::Edited => "edited",
        Verdict::Withheld => "withheld",
    };
    if verdict != case.verdict {
        fail(format!("expected verdict {}, came out {verdict}", case.verdict));
    }
    let refusal = match &outgoing {
        Outgoing::Withheld(refusal) => Some(refusal.reason.to_owned()),
        _ => None,
    };
    if refusal != case.refusal {
        fail(format!("expected refusal {:?}, got {refusal:?}", case.refusal));
    }
    let forwarded = captured.outgoing(&outgoing);
    compare(folder, forwarded.as_ref(), &mut fail);
    if let Some(forwarded) = &forwarded {
        if summary.verdict == Verdict::Forwarded && *forwarded != request {
            fail("nothing was edited, yet the bytes differ".to_owned());
        }
        for value in &case.gone {
            if memchr::memmem::find(forwarded, value.as_bytes()).is_some() {
                fail(format!("`{value}` still leaves"));
            }
        }
        again(&engine, forwarded, &case, &mut fail);
    }
    if let Some(certificate) = &summary.certificate {
        if certificate.rest_before != certificate.rest_after {
            fail("something outside the edits moved".to_owned());
        }
        let hit: Vec<String> = certificate.integrity.iter().map(|(kind, _)| kind.to_string()).collect();
        if hit != case.integrity {
            fail(format!("expected integrity {:?}, certified {hit:?}", case.integrity));
        }
    }
    let (second, outgoing, _) = audit(&engine, &captured);
    if second.len() != findings.len() || captured.outgoing(&outgoing) != forwarded {
        fail("the same request came out differently the second time".to_owned());
    }
    if let (Some(assistant), true) = (&case.assistant, failures.is_empty()) {
        shown(&name, assistant, &case, &summary);
    }
    failures
}

/// Leaves for `examples/support_matrix.rs` what the case shows of a client that cannot be run here.
fn shown(name: &str, assistant: &str, case: &Case, summary: &FlowSummary) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("look-alikes");
    let unread: u64 = summary.unread.iter().map(|unread| unread.bytes).sum();
    let entry = serde_json::json!({
        "client": assistant, "case": name, "places": case.places.len(), "bytes_sent": summary.bytes_sent,
        "bytes_unread": unread, "unread": case.unread.clone().unwrap_or_default(),
    });
    std::fs::create_dir_all(&folder).expect("the tests' folder can be written");
    std::fs::write(folder.join(format!("{name}.json")), format!("{entry}\n")).expect("the result can be written");
}

fn engine(name: &str, case: &Case) -> Arc<Engine> {
    let policy = Policy::preset(&case.policy)
        .map_or_else(|| Policy::parse(&format!("{name}.toml"), &case.policy), Ok)
        .unwrap_or_else(|error| panic!("{error}"));
    let facts = case
        .facts
        .iter()
        .map(|fact| Fact { host: fact.host.as_deref().map(Into::into), ..Fact::new(&fact.kind, &fact.value) });
    let on_error = match case.on_error.as_deref() {
        None | Some("open") => OnError::Open,
        Some("closed") => OnError::Closed,
        Some(other) => panic!("{name}: on_error is {other}"),
    };
    Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::new(facts.collect()),
        policy,
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error,
    }))
}

fn audit(engine: &Arc<Engine>, captured: &Captured) -> (Vec<Finding>, Outgoing, FlowSummary) {
    let mut flow = engine.open("case".to_owned(), captured.request.clone());
    let audit = flow.audit(captured.part());
    (audit.findings, audit.outgoing, flow.close())
}

fn spelled(finding: &Finding) -> String {
    let word = |action: divulge::engine::Action| format!("{action:?}").to_lowercase();
    let would = finding.would.map(|would| format!("/{}", word(would))).unwrap_or_default();
    format!("{} {} {}{would}", finding.kind, finding.location, word(finding.action))
}

fn compare(folder: &Path, forwarded: Option<&Bytes>, fail: &mut impl FnMut(String)) {
    let path = folder.join("forwarded.http");
    if std::env::var_os("UPDATE_CASES").is_some() {
        match forwarded {
            Some(bytes) => std::fs::write(&path, bytes).expect("the case can be written"),
            None => drop(std::fs::remove_file(&path)),
        }
        return;
    }
    let expected = std::fs::read(&path).ok();
    if expected.as_deref() != forwarded.map(|bytes| &bytes[..]) {
        let show =
            |bytes: Option<&[u8]>| bytes.map_or("nothing".to_owned(), |b| String::from_utf8_lossy(b).into_owned());
        let (expected, got) = (show(expected.as_deref()), show(forwarded.map(|bytes| &bytes[..])));
        fail(format!("expected to leave:\n{expected}\n--- left:\n{got}"));
    }
}

/// What has been edited once is not edited further: the next turn sends it again.
fn again(engine: &Arc<Engine>, forwarded: &Bytes, case: &Case, fail: &mut impl FnMut(String)) {
    if case.verdict != "edited" {
        return;
    }
    let captured = match Captured::read(forwarded.clone()) {
        Ok(captured) => captured,
        Err(error) => return fail(format!("what leaves is no request any more: {error}")),
    };
    let kind = captured.request.head.get("content-type").unwrap_or_default();
    if kind.starts_with(b"application/json") && captured.request.head.get("content-encoding").is_none() {
        let parsed = serde_json::from_slice::<serde_json::Value>(captured.body());
        if let Err(error) = parsed {
            fail(format!("what leaves is no JSON any more: {error}"));
        }
    }
    let (_, _, summary) = audit(engine, &captured);
    if let Some(certificate) = summary.certificate {
        for edit in &certificate.edits {
            let drawn = edit.old.bytes().any(|byte| byte.is_ascii_digit());
            // Identifiers are drawn from whatever stands there; all else has nothing left to hide.
            if !drawn {
                fail(format!("{} would be edited again", edit.location));
            }
        }
    }
}

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

use super::*;
use crate::engine::detect::scanner::{Hits, Scanner};
use crate::engine::location::{Location, Root};
use crate::engine::rules::ruleset::Literals;
use crate::engine::visit::{LayerId, Segment, Spelling, Target};
use crate::wire::span::Span;

struct At<'a>(Vec<Segment<'a>>);

impl Place for At<'_> {
    fn location(&self) -> Location {
        Location { root: Root::Body, steps: vec![Step::Json("/x".into())] }
    }

    fn pointer(&self) -> &[Segment<'_>] {
        &self.0
    }

    fn depth(&self) -> usize {
        1
    }
}

fn facts(list: &[(&str, &str)]) -> Matcher {
    let list: Vec<_> = list.iter().map(|(kind, value)| Fact { kind: (*kind).into(), value: (*value).into() }).collect();
    Matcher::new(&list).expect("there are facts")
}

fn find(matcher: &Matcher, name: &str, text: &str) -> Vec<RawFinding> {
    let target = Target { layer: LayerId(1), raw: Span::of(0..text.len()), spelling: Spelling::JsonString };
    let leaf = Leaf { kind: LeafKind::JsonString, name, text: text.as_bytes(), target };
    let literals = Literals { texts: Vec::new(), meanings: Vec::new() };
    let mut hits = Hits::default();
    Scanner::new(&literals, Some(matcher)).scan(leaf.text, &mut hits);
    let mut found = FactFindings::default();
    matcher.inspect(&leaf, &At(vec![Segment::Name(name)]), &hits.forms, &mut found);
    found.finish(&[])
}

fn kinds(matcher: &Matcher, name: &str, text: &str) -> Vec<String> {
    find(matcher, name, text).iter().map(|finding| finding.kind.to_string()).collect()
}

#[test]
fn a_distinct_value_counts_wherever_it_stands_alone() {
    let matcher =
        facts(&[("user.email", "ann@acme.example"), ("net.ip.local", "10.1.2.34"), ("path.home", "/home/ann")]);
    for (text, expected) in [
        ("mail ANN@acme.example, please", vec!["user.email"]),
        ("joann@acme.example", vec![]),
        ("from 10.1.2.34:8080", vec!["net.ip.local"]),
        ("110.1.2.34", vec![]),
        ("10.1.2.345", vec![]),
        ("10.1.2.34.5", vec![]),
        ("see /home/ann/src and /home/anna", vec!["path.home"]),
        ("用户目录/home/ann。", vec!["path.home"]),
    ] {
        assert_eq!(kinds(&matcher, "text", text), expected, "{text}");
    }
}

#[test]
fn a_short_or_common_value_needs_support() {
    let matcher = facts(&[
        ("user.name", "dev"),
        ("hw.cores", "42"),
        ("tz.abbr", "CST"),
        ("host.name", "localhost"),
        ("env.shell", "zsh"),
    ]);
    for (name, text) in [
        ("text", "npm run dev starts the server"),
        ("line", "42"),
        ("text", "the CST tree"),
        ("url", "http://localhost:8080/dev"),
        ("note", "bash, zsh and fish"),
        ("environment", "dev"),
    ] {
        assert_eq!(kinds(&matcher, name, text), Vec::<String>::new(), "{name}: {text}");
    }
    for (name, text, expected) in [
        ("userName", "dev", "user.name"),
        ("text", "look in /home/dev/src", "user.name"),
        ("cpu_cores", "42", "hw.cores"),
        ("text", "Timezone: CST", "tz.abbr"),
        ("text", "<timezone>CST</timezone>", "tz.abbr"),
        ("x-hostname", "localhost", "host.name"),
        ("text", "Platform: linux\nShell: zsh\n", "env.shell"),
    ] {
        assert_eq!(kinds(&matcher, name, text), [expected], "{name}: {text}");
    }
}

#[test]
fn a_zone_in_a_list_of_zones_is_not_this_machine_s() {
    let matcher = facts(&[("tz.iana", "Asia/Shanghai")]);
    let list = "Asia/Seoul, Asia/Shanghai, Asia/Singapore, Asia/Taipei";
    assert_eq!(kinds(&matcher, "text", list), Vec::<String>::new());
    assert_eq!(kinds(&matcher, "x", "Asia/Shanghai"), ["tz.iana"]);
    assert_eq!(kinds(&matcher, "text", "<timezone>Asia/Shanghai</timezone>"), ["tz.iana"]);
    assert_eq!(kinds(&matcher, "text", "it is late in Asia/Shanghai"), ["tz.iana"]);
}

#[test]
fn digests_are_found_and_shown_as_they_stand() {
    let matcher = facts(&[("net.mac", "00:1B:44:11:3A:B7")]);
    let of_value = crate::engine::line::hex(&Sha256::digest(b"00:1B:44:11:3A:B7"));
    let of_lower = crate::engine::line::hex(&Sha256::digest(b"00:1b:44:11:3a:b7"));
    let base64 = STANDARD_NO_PAD.encode(Sha256::digest(b"00:1B:44:11:3A:B7"));
    for text in [of_value.clone(), of_lower.to_uppercase(), base64.clone(), format!("id={base64}=")] {
        let found = find(&matcher, "x", &text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].value, "00:1B:44:11:3A:B7");
        assert!(found[0].observed.as_ref().is_some_and(|observed| text.contains(observed.as_str())));
    }
    assert!(find(&matcher, "x", &format!("a{of_value}")).is_empty(), "the middle of something longer");
    assert!(find(&matcher, "x", &base64.to_lowercase()).is_empty(), "base64 in another case is another value");
}

#[test]
fn of_facts_inside_one_another_the_longest_is_reported() {
    let matcher =
        facts(&[("user.name", "anderson"), ("path.home", "/home/anderson"), ("path.cwd", "/home/anderson/work")]);
    assert_eq!(kinds(&matcher, "cwd", "/home/anderson/work"), ["path.cwd"]);
    assert_eq!(kinds(&matcher, "cwd", "/home/anderson/workshop"), ["path.home"]);
    let found = find(&matcher, "text", "x /home/anderson/work y");
    assert_eq!(found[0].location.to_string(), "body!json:/x@2-21");
    assert_eq!(found[0].window, Some(2..21));
}

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

use super::*;
use crate::engine::decode::base64_runs;
use crate::engine::detect::scanner::{Hits, Scanner};
use crate::engine::location::{Location, Root};
use crate::engine::rules::ruleset::Literals;
use crate::engine::visit::{LayerId, SHORTEST_RUN, Segment, Spelling, Target};
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
    let list: Vec<_> = list.iter().map(|(kind, value)| Fact::new(kind, value)).collect();
    Matcher::new(&list).expect("there are facts")
}

fn find(matcher: &Matcher, name: &str, text: &str) -> Vec<RawFinding> {
    let target = Target { layer: LayerId(1), raw: Span::of(0..text.len()), spelling: Spelling::JsonString };
    let mut runs = Vec::new();
    base64_runs(text.as_bytes(), SHORTEST_RUN, &mut runs);
    let leaf = Leaf { kind: LeafKind::JsonString, name, text: text.as_bytes(), runs: &runs, target };
    let literals = Literals { texts: Vec::new(), meanings: Vec::new() };
    let mut hits = Hits::default();
    Scanner::new(&literals, Some(matcher)).scan(leaf.text, leaf.runs, &mut hits);
    let mut found = FactFindings::default();
    let met = Met { forms: &hits.forms, signs: &hits.signs, shared: &|| false };
    matcher.inspect(&leaf, &At(vec![Segment::Name(name)]), &met, &mut found);
    found.finish(&[], &[])
}

fn kinds(matcher: &Matcher, name: &str, text: &str) -> Vec<String> {
    find(matcher, name, text).iter().map(|finding| finding.kind.to_string()).collect()
}

#[test]
fn encoders_that_spare_letters_alone_are_known() {
    let matcher = facts(&[("net.dns", "172.25.82.53"), ("path.cwd", "C:\\Users\\sren_39\\x.y")]);
    for (text, kind) in [
        ("it printed 172%2E25%2E82%2E53 and stopped", "net.dns"),
        ("in projects/C--Users-sren_39-x.y/memory", "path.cwd"),
        ("C%3A%5CUsers%5Csren%5F39%5Cx%2Ey", "path.cwd"),
    ] {
        assert_eq!(kinds(&matcher, "text", text), [kind], "{text}");
    }
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
fn words_that_many_have_say_nothing_about_whose_lines_they_are() {
    let matcher = facts(&[
        ("user.name", "dev"),
        ("user.email", "dev@acme.example"),
        ("host.name", "laptop"),
        ("host.fqdn", "laptop.acme.example"),
        ("tz.iana", "Asia/Dubai"),
    ]);
    assert_eq!(matcher.says_of(&["user.", "git."], "dev"), None);
    assert_eq!(matcher.says_of(&["host."], "laptop"), None);
    assert_eq!(matcher.says_of(&["user.", "git."], "dev@acme.example"), Some(true));
    assert_eq!(matcher.says_of(&["user.", "git."], "ann"), Some(false));
    assert!(matcher.is_neighbour("Asia/Dubai") && !matcher.is_telling("Asia/Dubai"));
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
        assert_eq!(&*found[0].value, "00:1B:44:11:3A:B7");
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

fn b64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_value_is_found_in_every_spelling_alone_and_in_the_middle_of_a_text() {
    const VALUE: &str = "Jorinde-K";
    let hex = crate::engine::line::hex;
    let matcher = facts(&[("user.name", VALUE), ("os.kernel", "6.9.3-77-generic")]);
    let alone = [
        VALUE.to_uppercase(),
        b64(VALUE.as_bytes()),
        b64(VALUE.to_lowercase().as_bytes()),
        b64(hex(VALUE.as_bytes()).as_bytes()),
        hex(b64(VALUE.as_bytes()).as_bytes()),
        b64(b64(b64(VALUE.as_bytes()).as_bytes()).as_bytes()),
        hex(&Sha256::digest(VALUE)),
        b64(hex(&md5::Md5::digest(VALUE)).as_bytes()),
        b64(&sha1::Sha1::digest("jorinde-k")),
        hex(&sha3::Sha3_256::digest(VALUE))[..14].to_owned(),
        hex(&sha2::Sha512::digest("Jorinde-K\n")),
        b64(&wide(VALUE)),
        "JJXXE2LOMRSS2SY=".to_owned(),
        "k-ednirOJ".to_owned(),
        "WBEVAQR-X".to_owned(),
    ];
    for text in &alone {
        let found = find(&matcher, "x", text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!((&*found[0].value, found[0].location.to_string()), (VALUE, "body!json:/x".to_owned()), "{text}");
        assert_eq!(found[0].observed.as_deref(), (text != VALUE).then_some(text.as_str()), "{text}");
    }
    for text in [
        format!("id={}&x=1", b64(VALUE.as_bytes())),
        format!("…{}…", b64(format!("a {VALUE}, b").as_bytes())),
        format!("cut {}", &b64(format!("no {VALUE} no").as_bytes())[1..]),
        format!("cut {}", &b64(format!("of {VALUE}; more").as_bytes())[3..]),
        format!("hex {} there", hex(VALUE.as_bytes()).to_uppercase()),
        format!("u={}&", VALUE.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>()),
        VALUE.chars().map(|c| format!("&#{};", u32::from(c))).collect(),
        VALUE.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<String>() + " in a log",
        format!("a {} b", VALUE.chars().rev().collect::<String>()),
        "now Wbevaqr-X is turned".to_owned(),
        format!("sum {} of it", hex(&Sha256::digest(VALUE))),
    ] {
        let found = find(&matcher, "x", &text);
        assert_eq!(found.iter().map(|found| &*found.kind).collect::<Vec<_>>(), ["user.name"], "{text}");
    }
}

#[test]
fn what_is_part_of_a_longer_word_is_not_found_behind_an_encoding_either() {
    const VALUE: &str = "jorinde";
    let hex = crate::engine::line::hex;
    let matcher = facts(&[("user.name", VALUE)]);
    for word in ["jorindes", "majorinde", "xjorindex"] {
        for text in [b64(word.as_bytes()), hex(word.as_bytes()), b64(hex(word.as_bytes()).as_bytes()), word.to_owned()]
        {
            assert!(find(&matcher, "x", &text).is_empty(), "{word}: {text}");
        }
        let percents: String = word.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert!(find(&matcher, "x", &percents).is_empty(), "{percents}");
    }
}

#[test]
fn a_uuid_made_of_a_digest_and_the_digests_of_what_is_derived_are_found() {
    let hex = crate::engine::line::hex;
    let matcher = facts(&[
        ("host.machine_id", "0f3a9c77d1e24b5f8a6b0c9d8e7f6a5b"),
        ("net.mac", "00:1B:44:11:3A:B7"),
        ("git.remote", "git@git.acme.example:Tools/billing.git"),
        ("path.cwd", "/home/jorinde/src/billing"),
    ]);
    let mut digits = hex(&md5::Md5::digest("0f3a9c77-d1e2-4b5f-8a6b-0c9d8e7f6a5b")).into_bytes();
    (digits[12], digits[16]) = (b'3', b'a');
    let digits = String::from_utf8(digits).expect("hex");
    let cut = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &digits[range]);
    for (text, kind) in [
        (cut.join("-"), "host.machine_id"),
        (hex(&Sha256::digest("001b44113ab7")), "net.mac"),
        (hex(&Sha256::digest("00-1B-44-11-3A-B7")), "net.mac"),
        (hex(&Sha256::digest("git.acme.example/tools/billing"))[..16].to_owned(), "git.remote"),
        (hex(&sha1::Sha1::digest("https://git.acme.example/Tools/billing")), "git.remote"),
        ("-home-jorinde-src-billing".to_owned(), "path.cwd"),
        ("projects/-home-jorinde-src-billing/1.jsonl".to_owned(), "path.cwd"),
    ] {
        assert_eq!(kinds(&matcher, "x", &text), [kind], "{text}");
    }
    assert!(kinds(&matcher, "x", &hex(&Sha256::digest("salt001b44113ab7"))).is_empty());
}

#[test]
fn short_values_in_an_encoding_count_behind_their_labels_in_a_text_too() {
    let hex = crate::engine::line::hex;
    let matcher = facts(&[
        ("hw.cores", "80"),
        ("locale.country", "IN"),
        ("net.vpn", "wg0"),
        ("env.term", "xterm"),
        ("path.tmp", "/tmp"),
        ("tz.abbr", "CST"),
    ]);
    for (text, kind) in [
        ("report:\n  id: 7\n  cpu_cores: ODA=\n", "hw.cores"),
        ("report:\n  id: 7\n  cpu_cores: ODA\n", "hw.cores"),
        ("<r><country>SU4=</country></r>", "locale.country"),
        ("A=1\nexport VPN_NAME='d2cw'\nB=2", "net.vpn"),
        ("| Terminal | 787465726D |", "env.term"),
        ("A=1\nTMPDIR=%2Ftmp\nB=2", "path.tmp"),
        ("<r><tz>%43%53%54</tz></r>", "tz.abbr"),
        ("<r><tz>&#x43;&#x53;&#x54;</tz></r>", "tz.abbr"),
        ("<r><cores>&#56;&#48;</cores></r>", "hw.cores"),
        ("<r><tz>%26%23x43%3B%26%23x53%3B%26%23x54%3B</tz></r>", "tz.abbr"),
        (&format!("cores: {}\n", hex(b64(b"80").as_bytes())), "hw.cores"),
        (&format!("cores: {}\nid: 7\n", hex(&Sha256::digest("80"))), "hw.cores"),
    ] {
        assert_eq!(kinds(&matcher, "text", text), [kind], "{text}");
    }
    for text in [
        "  id: ODA=\n",
        "  cpu_cores: oda=\n",
        "  cpu_cores: ODA=x\n",
        "the cores ODA of",
        "<country>SU4and</country>",
        &format!("sum: {}\n", hex(&Sha256::digest("80"))),
    ] {
        assert_eq!(kinds(&matcher, "text", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn under_their_names_short_values_are_undone_too() {
    let hex = crate::engine::line::hex;
    let matcher = facts(&[
        ("locale.country", "IN"),
        ("hw.cores", "22"),
        ("net.vpn", "wg0"),
        ("os.virt", "kvm"),
        ("hw.mem", "8"),
        ("locale.bcp47", "de-AT"),
    ]);
    for (name, text, kind) in [
        ("memory", "OA".to_owned(), "hw.mem"),
        ("uilanguage", b64(b"DE-at"), "locale.bcp47"),
        ("countryCode", hex(b64(b"IN").as_bytes()), "locale.country"),
        ("cores", hex(b"MjI=".as_slice()), "hw.cores"),
        ("vpnname", b64(b64(hex(b"wg0").as_bytes()).as_bytes()), "net.vpn"),
        ("virt", "&#00107;&#00118;&#00109;".to_owned(), "os.virt"),
        ("virt", "%5Cu006b%5Cu0076%5Cu006d".to_owned(), "os.virt"),
    ] {
        assert_eq!(kinds(&matcher, name, &text), [kind], "{name}: {text}");
        assert_eq!(kinds(&matcher, "note", &text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_town_in_a_sentence_is_anybody_s() {
    let matcher = facts(&[("geo.city", "Lisbon"), ("geo.country", "Portugal"), ("host.name", "kestrel-7")]);
    for text in [
        "the river runs past Lisbon and Lviv before it meets the sea",
        "id,ip,city\n0,203.0.113.9,Lisbon\n1,203.0.113.77,Paris\n",
        "Portugal and India are both launch markets",
    ] {
        assert_eq!(kinds(&matcher, "text", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(kinds(&matcher, "city", "Lisbon"), ["geo.city"]);
    assert_eq!(kinds(&matcher, "text", "City: Lisbon"), ["geo.city"]);
    assert_eq!(kinds(&matcher, "text", "kestrel-7 stands in Lisbon"), ["host.name", "geo.city"]);
}

#[test]
fn what_programs_set_and_manuals_show_is_not_this_machine_s() {
    let matcher = facts(&[
        ("user.name", "dev"),
        ("env.shell", "/bin/bash"),
        ("locale.bcp47", "pt-BR"),
        ("tz.iana", "Europe/Berlin"),
    ]);
    for text in [
        "let user = \"dev\";\nlet addr = 1;",
        "DEFAULT_SHELL = \"/bin/bash\"\nRETRIES = 42",
        "VALUES (7, 'dev', 'dev@example.com')",
        "    environment:\n      POSTGRES_USER: dev\n",
        "| key | default | example |\n|---|---|---|\n| `locale` | `en-US` | e.g. `pt-BR` |",
        "| key | default |\n|---|---|\n| `locale` | `pt-BR` |",
        "Set `TZ=Europe/Berlin` if your jobs need it.",
    ] {
        assert_eq!(kinds(&matcher, "text", text), Vec::<String>::new(), "{text}");
    }
    for (text, kind) in [
        ("user = dev", "user.name"),
        ("log in as dev@build7", "user.name"),
        ("SHELL=\"/bin/bash\"", "env.shell"),
        ("| Locale | pt-BR |", "locale.bcp47"),
        ("TZ=Europe/Berlin", "tz.iana"),
    ] {
        assert_eq!(kinds(&matcher, "text", text), [kind], "{text}");
    }
}

#[test]
fn an_address_is_no_part_of_another() {
    let matcher = facts(&[("net.gateway", "192.168.1.1"), ("net.domain", "corp.acme.example")]);
    assert_eq!(matcher.says_of(&["net."], "192.168.1.13"), Some(false));
    assert_eq!(matcher.says_of(&["net."], "ws7.corp.acme.example"), Some(true));
}

#[test]
fn names_of_members_may_be_facts_that_name_nothing_else() {
    let matcher = facts(&[("sw.processes", "rusticegretd"), ("sw.runtime", "python"), ("os.name", "linux")]);
    let target = Target { layer: LayerId(1), raw: Span::of(0..8), spelling: Spelling::JsonString };
    let of_name = |text: &str| {
        let leaf = Leaf { kind: LeafKind::JsonName, name: "", text: text.as_bytes(), runs: &[], target };
        let mut hits = Hits::default();
        let literals = Literals { texts: Vec::new(), meanings: Vec::new() };
        Scanner::new(&literals, Some(&matcher)).scan(leaf.text, leaf.runs, &mut hits);
        let mut found = FactFindings::default();
        let met = Met { forms: &hits.forms, signs: &hits.signs, shared: &|| false };
        matcher.inspect(&leaf, &At(vec![Segment::Name(text)]), &met, &mut found);
        found.finish(&[], &[]).len()
    };
    assert_eq!(of_name("rusticegretd"), 1);
    assert_eq!(of_name("RusticEgretd"), 1);
    for text in ["python", "linux", "linux_distro_id", "rusticegretd_count"] {
        assert_eq!(of_name(text), 0, "{text}");
    }
}

#[test]
fn a_wide_text_is_read_in_one_byte_order() {
    let matcher = facts(&[("host.name", "kestrel-ws-4471")]);
    let text = "{\"a\":\"kestrel-ws-4471\"}";
    let little: String = text.chars().flat_map(|c| [c, '\0']).collect();
    let big: String = text.chars().flat_map(|c| ['\0', c]).collect();
    for wide in [little, big] {
        let found = find(&matcher, "x", &wide);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].window, Some(12..42));
    }
}

#[test]
fn turned_values_are_known_between_quotes_too() {
    let matcher = facts(&[("path.exec", "C:\\Users\\rahmani18\\bin\\node")]);
    for text in [
        "v=1; p=\"P:\\\\Hfref\\\\enuznav18\\\\ova\\\\abqr\"",
        "P:\\Hfref\\enuznav18\\ova\\abqr",
        "\"edon\\\\nib\\\\81inamhar\\\\sresU\\\\:C\"",
    ] {
        assert_eq!(kinds(&matcher, "x", text), ["path.exec"], "{text}");
    }
}

#[test]
fn names_in_other_languages_tell_of_a_value() {
    let matcher = facts(&[("hw.cores", "12"), ("tz.abbr", "CEST"), ("os.arch", "x64"), ("user.name", "uwe")]);
    for (name, text, kind) in [
        ("kerne", "12", "hw.cores"),
        ("时区缩写", "CEST", "tz.abbr"),
        ("zonenkuerzel", "CEST", "tz.abbr"),
        ("architektur", "x64", "os.arch"),
        ("ユーザー名", "uwe", "user.name"),
        // Base32 and UTF-16 of the short value alone.
        ("cores", "GEZA====", "hw.cores"),
        ("cpu_cores", "31003200", "hw.cores"),
        ("text", "系统架构为 x64", "os.arch"),
    ] {
        assert_eq!(kinds(&matcher, name, text), [kind], "{name}: {text}");
    }
    assert!(kinds(&matcher, "text", "架构可以是 x64 或 arm64").is_empty());
}

#[test]
fn a_label_of_a_domain_is_no_host() {
    let matcher = facts(&[("host.name", "dev"), ("net.dns", "8.8.8.8")]);
    assert!(kinds(&matcher, "host", "api.example.dev").is_empty());
    assert_eq!(kinds(&matcher, "host", "dev"), ["host.name"]);
    assert!(kinds(&matcher, "text", "dig @8.8.8.8 example.com").is_empty());
    assert_eq!(kinds(&matcher, "dnsServer", "8.8.8.8"), ["net.dns"]);
}

#[test]
fn what_is_spelled_out_goes_before_what_may_be_its_digest() {
    let mac = "00:16:3e:5e:6c:11";
    let machine = crate::engine::line::hex(&Sha256::digest(mac));
    let matcher = facts(&[("net.mac", mac), ("id.vscode_machine", &machine)]);
    assert_eq!(kinds(&matcher, "blob", &machine), ["id.vscode_machine"]);
}

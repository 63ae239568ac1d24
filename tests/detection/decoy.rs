//! Requests in which there is nothing to find, full of what looks like it: code, documentation, lock files, lists, other
//! people's machines. Where the machine's own values are words that everybody uses, they stand here as those words.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::carrier::{Sent, post, whole};
use crate::document::{Node, compact, prose};
use crate::load::compressed;
use crate::machine::{self, Known};
use crate::random::Rng;

pub type Decoy = fn(&mut Rng, &[Known]) -> String;

pub const DECOYS: &[(&str, Decoy)] = &[
    ("zones in code", zones_in_code),
    ("list of zones", list_of_zones),
    ("Windows zones", windows_zones),
    ("list of locales", list_of_locales),
    ("addresses", addresses),
    ("versions", versions),
    ("lock file", lock_file),
    ("everyday words", everyday_words),
    ("everyday words in code", everyday_code),
    ("platforms", platforms),
    ("terminals and shells", terminals),
    ("git log", git_log),
    ("log", log),
    ("another machine", another_machine),
    ("another machine's report", another_report),
    ("digests", digests),
    ("random blob", blob),
    ("embedding", embedding),
    ("words", words),
    ("uuids", uuids),
    ("fixtures", fixtures),
    ("schema", schema),
    ("languages", languages),
    ("numbers", numbers),
];

/// A request made of decoys.
pub fn request(rng: &mut Rng, facts: &[Known]) -> (Sent, Vec<&'static str>) {
    let mut names = Vec::new();
    let mut texts = Vec::new();
    // Mostly alone, so that a row of the table tells about one.
    for _ in 0..*[1, 1, 1, 1, 2, 3].get(rng.below(6)).unwrap_or(&1) {
        let (name, make) = DECOYS[rng.below(DECOYS.len())];
        names.push(name);
        texts.push(make(rng, facts));
    }
    let raw = match rng.below(8) {
        0 => post(rng, "text/plain; charset=utf-8", "", texts.join("\n\n").as_bytes()),
        1 => {
            let files: Vec<Node> = texts
                .into_iter()
                .enumerate()
                .map(|(index, text)| {
                    Node::object([("path", Node::text(format!("src/file{index}.txt"))), ("content", Node::Text(text))])
                })
                .collect();
            let text = compact(&Node::object([("files", Node::Array(files)), ("dry", Node::Bare("false".into()))]));
            post(rng, "application/json", "content-encoding: gzip\r\n", &compressed("!gzip", text.as_bytes()))
        }
        2 => {
            let boundary = "----decoy0123456789";
            let mut body = String::new();
            for (index, text) in texts.iter().enumerate() {
                body.push_str(&format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"file{index}\"; filename=\"notes{index}.txt\"\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"
                ));
            }
            body.push_str(&format!("--{boundary}--\r\n"));
            post(rng, &format!("multipart/form-data; boundary={boundary}"), "", body.as_bytes())
        }
        _ => conversation(rng, texts),
    };
    (whole(raw, Vec::new()), names)
}

fn conversation(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let mut messages = Vec::new();
    for text in texts {
        let id = format!("toolu_{}", rng.hex(24));
        let said = match rng.below(3) {
            0 => format!("{}:\n\n{text}\n", prose(rng)),
            1 => format!("Please look at this.\n```\n{text}\n```\n"),
            _ => text,
        };
        let read = Node::object([
            ("type", Node::text("tool_use")),
            ("id", Node::text(&*id)),
            ("name", Node::text("Read")),
            ("input", Node::object([("limit", Node::Bare("2000".into()))])),
        ]);
        if rng.percent(50) {
            messages.push(Node::object([("role", Node::text("user")), ("content", Node::Text(said))]));
        } else {
            let result = Node::object([
                ("type", Node::text("tool_result")),
                ("tool_use_id", Node::text(id)),
                ("content", Node::Text(said)),
            ]);
            messages.push(Node::object([("role", Node::text("assistant")), ("content", Node::Array(vec![read]))]));
            messages.push(Node::object([("role", Node::text("user")), ("content", Node::Array(vec![result]))]));
        }
    }
    let root = Node::object([
        ("model", Node::text("large-1")),
        ("system", Node::text("You are a helpful assistant for code.")),
        ("messages", Node::Array(messages)),
        ("stream", Node::Bare("true".into())),
    ]);
    post(rng, "application/json", "", compact(&root).as_bytes())
}

fn own<'a>(facts: &'a [Known], kind: &str) -> &'a str {
    facts.iter().find(|known| known.kind == kind).map_or("", |known| &*known.value)
}

const ZONES: &[&str] = &[
    "Africa/Abidjan",
    "Africa/Cairo",
    "Africa/Lagos",
    "Africa/Nairobi",
    "America/Argentina/Buenos_Aires",
    "America/Bogota",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Toronto",
    "Asia/Almaty",
    "Asia/Baghdad",
    "Asia/Dubai",
    "Asia/Ho_Chi_Minh",
    "Asia/Jakarta",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Manila",
    "Asia/Seoul",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Asia/Urumqi",
    "Atlantic/Azores",
    "Atlantic/Reykjavik",
    "Australia/Adelaide",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Istanbul",
    "Europe/Kyiv",
    "Europe/Lisbon",
    "Europe/London",
    "Europe/Madrid",
    "Europe/Moscow",
    "Europe/Paris",
    "Europe/Warsaw",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Honolulu",
    "UTC",
];

/// Zones that are not the machine's own.
fn other_zone(rng: &mut Rng, facts: &[Known]) -> &'static str {
    let zone = own(facts, "tz.iana");
    loop {
        let other = rng.pick(ZONES);
        if other != zone {
            return other;
        }
    }
}

fn zones_in_code(rng: &mut Rng, facts: &[Known]) -> String {
    let (a, b) = (other_zone(rng, facts), other_zone(rng, facts));
    match rng.below(4) {
        0 => format!(
            "const start = moment.tz(\"2024-03-10 02:30\", \"{a}\");\nexpect(start.clone().tz(\"{b}\").format()).toBe(\"x\");"
        ),
        1 => format!("from zoneinfo import ZoneInfo\ntz = ZoneInfo(\"{a}\")\nassert tz.key != \"{b}\"\n"),
        2 => format!("SELECT created_at AT TIME ZONE 'UTC' AT TIME ZONE '{a}' FROM orders; -- was {b}"),
        _ => format!(
            "| office | zone |\n|---|---|\n| north | {a} |\n| south | {b} |\n| own | {} |\n",
            own(facts, "tz.iana")
        ),
    }
}

fn list_of_zones(rng: &mut Rng, _: &[Known]) -> String {
    let separator = rng.pick(&["\n", ", ", "\",\n  \"", " | ", "\n- ", "</option>\n<option>"]);
    ZONES.join(separator)
}

fn windows_zones(rng: &mut Rng, facts: &[Known]) -> String {
    let mut list = vec![
        "Dateline Standard Time",
        "Hawaiian Standard Time",
        "Mountain Standard Time",
        "Eastern Standard Time",
        "GMT Standard Time",
        "Romance Standard Time",
        "Arabian Standard Time",
        "India Standard Time",
        "Korea Standard Time",
        "AUS Eastern Standard Time",
    ];
    list.insert(rng.between(2, 8), own(facts, "tz.windows"));
    list.join(rng.pick(&["\n", "; ", "\": 1,\n\""]))
}

fn list_of_locales(rng: &mut Rng, facts: &[Known]) -> String {
    let mut list = vec![
        "en-US", "en-GB", "de-DE", "fr-FR", "it-IT", "nl-NL", "pl-PL", "tr-TR", "ko-KR", "zh-TW", "ar-EG", "he-IL",
        "th-TH",
    ];
    list.insert(rng.between(2, 9), own(facts, "locale.bcp47"));
    let posix: Vec<String> = list.iter().map(|tag| format!("{}.UTF-8 UTF-8", tag.replace('-', "_"))).collect();
    match rng.below(3) {
        0 => format!("export const locales = ['{}'] as const;", list.join("', '")),
        1 => posix.join("\n"),
        _ => list.join(" "),
    }
}

fn addresses(rng: &mut Rng, _: &[Known]) -> String {
    let n = rng.between(2, 250);
    match rng.below(4) {
        0 => format!(
            "server {{\n  listen 127.0.0.1:80{n};\n  allow 10.0.0.0/8;\n  allow 192.168.0.0/16;\n  deny all;\n  proxy_pass http://203.0.113.{n}:8000;\n}}"
        ),
        1 => format!(
            "The documentation ranges are 192.0.2.0/24, 198.51.100.0/24 and 203.0.113.0/24; ::1 and fe80::1 are local. Ping 198.51.100.{n}."
        ),
        2 => format!(
            "networks:\n  default:\n    ipam:\n      config:\n        - subnet: 172.16.{n}.0/24\n          gateway: 172.16.{n}.1\n"
        ),
        _ => format!(
            "assert_eq!(\"192.0.2.{n}\".parse::<IpAddr>()?.to_string(), \"192.0.2.{n}\");\n// mac 00:00:5e:00:53:{n:02x}"
        ),
    }
}

fn versions(rng: &mut Rng, _: &[Known]) -> String {
    let mut draw =
        || format!("{}.{}.{}.{}", rng.between(1, 30), rng.between(0, 40), rng.between(0, 30), rng.between(0, 99));
    let (a, b, c) = (draw(), draw(), draw());
    format!(
        "Assembly version {a} replaces {b}.\n<PackageReference Include=\"Core\" Version=\"{c}\" />\nChrome/{a} Safari/537.36\n§ 10.1.2.3 of the standard"
    )
}

fn lock_file(rng: &mut Rng, _: &[Known]) -> String {
    let mut out = String::new();
    for _ in 0..rng.between(3, 12) {
        let name = rng.coined(3);
        match rng.below(4) {
            0 => out.push_str(&format!("[[package]]\nname = \"{name}\"\nversion = \"1.{}.0\"\nchecksum = \"{}\"\n\n", rng.below(40), rng.hex(64))),
            1 => out.push_str(&format!(
                "    \"node_modules/@esbuild/linux-x64\": {{\n      \"integrity\": \"sha512-{}\",\n      \"cpu\": [\"x64\"], \"os\": [\"linux\"]\n    }},\n",
                STANDARD.encode(rng.bytes(64))
            )),
            2 => out.push_str(&format!("example.com/{name} v0.{}.1 h1:{}\n", rng.below(9), STANDARD.encode(rng.bytes(32)))),
            _ => out.push_str(&format!("    {{file = \"{name}-1.0-cp312-cp312-manylinux_2_17_x86_64.whl\", hash = \"sha256:{}\"}},\n", rng.hex(64))),
        }
    }
    out
}

/// `dev`, `laptop`, `main`, `8` and `CST` as anybody uses them.
fn everyday_words(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "Run npm run dev and open the page on your laptop; then merge dev into main.",
        "The main idea: a CST keeps every token, an AST does not. Use 8 spaces, or 8 workers if you have them.",
        "Dev dependencies go into the dev group. The dev server restarts on its own.",
        "On a laptop the battery matters; the linux build is the main one, the darwin build comes second.",
        "You write to /dev/null, read from /dev/urandom, and mount /dev/sda1 somewhere.",
        "git checkout main && git pull origin main && git branch -d wip, says the guide.",
        "In DE and AT the rule differs; IT and FR follow later. It takes 8 to 12 days.",
        "Ask dev relations. The vim and the zsh plug-in are maintained by the same team.",
        "Our dev team meets at 8; main topics are the laptop policy and the new linux image.",
    ];
    (0..rng.between(1, 4)).map(|_| rng.pick(&list)).collect::<Vec<_>>().join(" ")
}

fn everyday_code(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "if (process.env.NODE_ENV === 'dev') { startServer({ port: 3000, workers: 8 }); }",
        "fn main() {\n    let dev = Device::open(\"/dev/video0\");\n    assert_eq!(dev.planes(), 8);\n}",
        "environments:\n  dev:\n    url: https://dev.example.com\n  main:\n    url: https://example.com\n",
        "\"scripts\": { \"dev\": \"vite --port 8080\", \"main\": \"dist/main.js\" }",
        "on:\n  push:\n    branches: [main, dev]\njobs:\n  build:\n    strategy:\n      matrix:\n        os: [ubuntu-latest, windows-latest, macos-latest]\n",
        "enum Kind { Laptop, Desktop, Server }\nconst kinds = ['laptop', 'desktop', 'server'];",
        "class CST: pass\nclass AST(CST): pass\nparse_cst(dev=True, width=8)",
        "struct dev *dev = netdev_priv(ndev);\nfor (i = 0; i < 8; i++) dev->regs[i] = 0;",
        "<select><option>laptop</option><option>phone</option><option>tablet</option></select>",
    ];
    (0..rng.between(1, 3)).map(|_| rng.pick(&list)).collect::<Vec<_>>().join("\n")
}

fn platforms(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "targets = [\"x86_64-unknown-linux-gnu\", \"aarch64-apple-darwin\", \"x86_64-pc-windows-msvc\", \"aarch64-unknown-linux-musl\"]",
        "match std::env::consts::ARCH {\n    \"x86_64\" | \"amd64\" => 1,\n    \"aarch64\" | \"arm64\" => 2,\n    _ => 0,\n}",
        "if sys.platform == 'win32': ...\nelif sys.platform == 'darwin': ...\nelif sys.platform == 'linux': ...",
        "Packages exist for Debian, Ubuntu, Fedora, openSUSE Tumbleweed and Arch Linux; on other systems build from source.",
        "Images: linux/amd64, linux/arm64, linux/riscv64. Windows needs Hyper-V; qemu-kvm, vmware and virtualbox are untested.",
        "CI runs on github-actions, buildkite, teamcity and gitlab; each sets CI=true.",
    ];
    rng.pick(&list).to_owned()
}

fn terminals(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "Known terminals: xterm-256color, screen-256color, tmux-256color, xterm-kitty, iTerm.app, WezTerm, alacritty.",
        "case \"$TERM\" in\n  xterm-256color|xterm-kitty|tmux-256color) color=yes ;;\n  *) color=no ;;\nesac",
        "Shells: /bin/sh, /bin/bash, /bin/zsh, /usr/bin/fish and /opt/homebrew/bin/bash are listed in /etc/shells.",
        "Editors that work as $EDITOR: vim, nvim --clean, emacsclient, code --wait, nano, hx.",
    ];
    rng.pick(&list).to_owned()
}

fn person(rng: &mut Rng) -> String {
    format!("{} {}", rng.pick(&["Robin", "Sam", "Kim", "Lou"]), rng.coined(3))
}

fn git_log(rng: &mut Rng, _: &[Known]) -> String {
    let mut out = String::new();
    for _ in 0..rng.between(2, 8) {
        let who = person(rng);
        out.push_str(&format!(
            "commit {}\nAuthor: {who} <{}@people.example.net>\nDate:   Tue Mar {} 10:{}:00 2026 +0000\n\n    {}\n\n",
            rng.hex(40),
            rng.coined(3),
            rng.between(1, 28),
            rng.between(10, 59),
            prose(rng)
        ));
    }
    out
}

fn log(rng: &mut Rng, _: &[Known]) -> String {
    (0..rng.between(3, 15))
        .map(|_| {
            let level = rng.pick(&["INFO", "WARN", "DEBUG"]);
            format!(
                "2026-03-{:02}T10:{:02}:07.{:03}Z {level} [req {}] {}",
                rng.between(1, 28),
                rng.below(60),
                rng.below(1000),
                rng.hex(8),
                prose(rng)
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// What some other machine would send; nothing of it is this machine's.
fn strangers(rng: &mut Rng, facts: &[Known]) -> Vec<Known> {
    let same =
        |a: &str, b: &str| a.to_lowercase().contains(&b.to_lowercase()) || b.to_lowercase().contains(&a.to_lowercase());
    let mut list = machine::machine(rng);
    list.retain(|theirs| {
        theirs.value.chars().count() >= 6 && !facts.iter().any(|ours| same(&ours.value, &theirs.value))
    });
    list
}

fn another_machine(rng: &mut Rng, facts: &[Known]) -> String {
    let list = strangers(rng, facts);
    let members = list.iter().map(|known| (known.kind.replace('.', "_"), Node::text(&*known.value))).collect();
    compact(&Node::Object(members))
}

fn another_report(rng: &mut Rng, facts: &[Known]) -> String {
    let list = strangers(rng, facts);
    let lines: Vec<String> =
        list.iter().map(|known| format!("seen {}: {}", known.kind.replace('.', " "), known.value)).collect();
    format!("From the ticket of another customer:\n{}", lines.join("\n"))
}

fn digests(rng: &mut Rng, _: &[Known]) -> String {
    let mut out = String::new();
    for _ in 0..rng.between(2, 10) {
        let digits = *[12, 16, 32, 40, 64, 128].get(rng.below(6)).unwrap_or(&40);
        out.push_str(&format!("{}  dist/{}.tar.gz\n", rng.hex(digits), rng.coined(2)));
    }
    out
}

fn blob(rng: &mut Rng, _: &[Known]) -> String {
    let count = rng.between(40, 3000);
    let bytes = rng.bytes(count);
    match rng.below(4) {
        0 => format!(
            "data:image/png;base64,{}",
            STANDARD.encode([b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &bytes[..]].concat())
        ),
        1 => STANDARD.encode(compressed("!gzip", &bytes)),
        2 => URL_SAFE_NO_PAD.encode(bytes),
        _ => STANDARD.encode(bytes),
    }
}

fn embedding(rng: &mut Rng, _: &[Known]) -> String {
    let list: Vec<String> = (0..rng.between(50, 400))
        .map(|_| format!("{:.7}", (rng.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0))
        .collect();
    format!("[{}]", list.join(","))
}

fn words(rng: &mut Rng, _: &[Known]) -> String {
    let common = [
        "about",
        "laptop",
        "main",
        "develop",
        "developer",
        "station",
        "network",
        "kernel",
        "session",
        "account",
        "person",
        "berlin",
        "tokyo",
        "paris",
        "ubuntu",
        "fedora",
        "python",
        "cursor",
        "screen",
        "master",
        "docker",
        "native",
        "system",
        "office",
        "monday",
        "august",
        "german",
        "linux",
        "shell",
    ];
    let count = rng.between(30, 200);
    (0..count)
        .map(|_| if rng.percent(50) { rng.pick(&common).to_owned() } else { rng.coined(2) })
        .collect::<Vec<_>>()
        .join("\n")
}

fn uuids(rng: &mut Rng, _: &[Known]) -> String {
    (0..rng.between(3, 20))
        .map(|_| format!("INSERT INTO t (id, ref) VALUES ('{}', '{}');", rng.uuid(), rng.hex(32)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Test data with people, addresses and folders that nobody has.
fn fixtures(rng: &mut Rng, _: &[Known]) -> String {
    let (user, other) = (rng.coined(3), rng.coined(3));
    format!(
        "const user = {{ name: '{user}', email: '{user}@people.example.net', home: '/home/{user}' }};\nexpect(display(user)).toBe('{}');\n\
         // C:\\Users\\{other}\\AppData\\Local\\Temp\n{{\"hostname\": \"web-{}.example.net\", \"uid\": {}}}",
        person(rng),
        rng.between(10, 99),
        rng.between(80_000, 90_000)
    )
}

fn schema(rng: &mut Rng, _: &[Known]) -> String {
    let zones = ZONES[..rng.between(20, ZONES.len())].join("\",\"");
    format!(
        "{{\"name\":\"schedule\",\"input_schema\":{{\"type\":\"object\",\"properties\":{{\"timezone\":{{\"type\":\"string\",\"enum\":[\"{zones}\"]}},\
         \"hostname\":{{\"type\":\"string\"}},\"branch\":{{\"type\":\"string\",\"default\":\"main\"}},\"cores\":{{\"type\":\"integer\",\"maximum\":8}}}}}}}}"
    )
}

fn languages(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "请把这个函数改成异步的，并为时区列表添加测试。用户名为空时返回错误。",
        "Будь ласка, перевір, чи об’єкт п’ятий у списку, і додай тест для м’якого знака.",
        "Vérifiez « la zone » : il faut 8 heures, n’est-ce pas ?",
        "タイムゾーンの一覧を表示する関数を書いてください。ユーザーは設定で言語を選べます。",
        "لطفاً تابع را بازنویسی کنید؛ می‌خواهم خطاها را ببینم.",
        "Bitte die Größe prüfen – der Rechner heißt im Test „knoten“, nicht anders.",
    ];
    rng.pick(&list).to_owned()
}

fn numbers(rng: &mut Rng, _: &[Known]) -> String {
    let rows: Vec<String> = (0..rng.between(5, 40))
        .map(|_| format!("{},{},{}", rng.between(1, 200), rng.between(100_000, 999_999), rng.between(1, 16)))
        .collect();
    format!("id,amount,count\n{}", rows.join("\n"))
}

//! What there is in the world: zones, locales, platforms, versions, words.

use super::{Decoy, own};
use crate::machine::Known;
use crate::random::Rng;

pub const DECOYS: &[(&str, Decoy)] = &[
    ("zones in code", zones_in_code),
    ("list of zones", list_of_zones),
    ("Windows zones", windows_zones),
    ("list of locales", list_of_locales),
    ("addresses", addresses),
    ("versions", versions),
    ("platforms", platforms),
    ("terminals and shells", terminals),
    ("words", words),
    ("schema", schema),
    ("languages", languages),
];

pub const ZONES: &[&str] = &[
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

//! Files and logs as everybody has them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::Decoy;
use crate::document::prose;
use crate::load::compressed;
use crate::machine::Known;
use crate::random::Rng;

pub const DECOYS: &[(&str, Decoy)] = &[
    ("lock file", lock_file),
    ("everyday words", everyday_words),
    ("everyday words in code", everyday_code),
    ("git log", git_log),
    ("log", log),
    ("digests", digests),
    ("random blob", blob),
    ("embedding", embedding),
    ("uuids", uuids),
    ("fixtures", fixtures),
    ("numbers", numbers),
];

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

fn numbers(rng: &mut Rng, _: &[Known]) -> String {
    let rows: Vec<String> = (0..rng.between(5, 40))
        .map(|_| format!("{},{},{}", rng.between(1, 200), rng.between(100_000, 999_999), rng.between(1, 16)))
        .collect();
    format!("id,amount,count\n{}", rows.join("\n"))
}

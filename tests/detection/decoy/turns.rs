//! What people say to assistants and paste for them, about other people's machines and about none.

use super::{Decoy, other_address};
use crate::document::prose;
use crate::machine::Known;
use crate::random::Rng;

pub const DECOYS: &[(&str, Decoy)] = &[
    ("code review", code_review),
    ("question", question),
    ("stack trace", stack_trace),
    ("build log", build_log),
    ("pasted git log", pasted_git_log),
    ("pasted shell session", shell_session),
    ("bug report", bug_report),
    ("mail thread", mail_thread),
    ("system log", system_log),
    ("manual page", manual_page),
    ("how-to", how_to),
    ("search results", search_results),
    ("access log", access_log),
    ("diff", diff),
];

fn code_review(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "Two remarks: `user` is shadowed in line 8, and the `dev` branch of the match is never taken. The main loop looks fine.",
        "Please don't compare `locale == 'de'`; use the language tag's prefix so that de-CH works as well. LANG may be unset.",
        "nit: `hostname` should be `host`; `os.cpu_count() or 8` hides that it can be None. Why is `tz` a string?",
        "This reads TZ from the environment, but in the container it's always UTC. Could we take the zone of the account, like Asia/Dubai?",
        "LGTM, though `git branch --show-current` prints nothing in CI. Rebase on main, then squash.",
        "The path /home/runner/work is an assumption of GitHub's runners; $HOME would do. And 'bash' isn't in alpine.",
    ];
    (0..rng.between(1, 4)).map(|_| format!("> {}\n{}", prose(rng), rng.pick(&list))).collect::<Vec<_>>().join("\n\n")
}

fn question(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "How do I convert 8 pm CST to Berlin time in Python? CST could be China or Central, I guess.",
        "What's the difference between en_US.UTF-8 and C.UTF-8? And why does sort care?",
        "Which laptop would you pick for linux with 8 cores and 32 GB? Mostly dev work.",
        "My colleague is in Asia/Dubai and the server in UTC. How should we store dates?",
        "Is x86_64 the same as amd64? And what does uname -m say on a Mac?",
        "Can bash and zsh share an rc file? The main problem is the prompt.",
        "Explain the regex ^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}$ and whether it matches 123e4567-e89b-12d3-a456-426614174000.",
        "Write a function that lists the hours at which Tokyo, Paris and New York are all at work.",
        "你好，请解释一下 git rebase 和 git merge 的区别，main 分支和 dev 分支应该怎么管理？",
        "Warum zeigt `date` auf dem Server CET, obwohl TZ=UTC gesetzt ist? Der Laptop ist ein anderes Thema.",
        "Explique por que o container usa UTC e o notebook usa outro fuso.",
    ];
    (0..rng.between(1, 3)).map(|_| rng.pick(&list)).collect::<Vec<_>>().join("\n")
}

fn stack_trace(rng: &mut Rng, _: &[Known]) -> String {
    let user = rng.coined(3);
    let project = rng.coined(3);
    match rng.below(5) {
        0 => format!(
            "Traceback (most recent call last):\n  File \"/Users/{user}/code/{project}/app/main.py\", line {}, in <module>\n    run()\n  File \"/Users/{user}/.pyenv/versions/3.12.{}/lib/python3.12/asyncio/runners.py\", line 194, in run\nValueError: unknown zone 'Mars/Phobos'",
            rng.between(8, 400),
            rng.below(8)
        ),
        1 => format!(
            "TypeError: Cannot read properties of undefined (reading 'host')\n    at load (/home/{user}/{project}/src/main.ts:{}:8)\n    at async Module.dev (file:///home/{user}/{project}/node_modules/vite/dist/node/cli.js:742:5)\nNode.js v20.{}.1",
            rng.between(8, 400),
            rng.below(18)
        ),
        2 => format!(
            "System.IO.FileNotFoundException: Could not find file 'C:\\Users\\{user}\\source\\repos\\{project}\\bin\\Debug\\main.json'.\n   at {project}.Program.Main(String[] args) in C:\\Users\\{user}\\source\\repos\\{project}\\Program.cs:line {}",
            rng.between(8, 90)
        ),
        3 => format!(
            "thread 'main' panicked at /home/{user}/.cargo/registry/src/index.crates.io-{}/chrono-0.4.38/src/lib.rs:{}:13:\ncalled `Option::unwrap()` on a `None` value\nnote: run with `RUST_BACKTRACE=1`",
            rng.hex(16),
            rng.between(20, 900)
        ),
        _ => format!(
            "goroutine 8 [running]:\nmain.main()\n\t/home/{user}/go/src/{project}/main.go:{} +0x{}\nexit status 2",
            rng.between(8, 90),
            rng.hex(3)
        ),
    }
}

fn build_log(rng: &mut Rng, facts: &[Known]) -> String {
    let ip = other_address(rng, facts);
    format!(
        "Current runner version: '2.{}.0'\nOperating System\n  Ubuntu\n  24.04.1\n  LTS\nRunner Image\n  Image: ubuntu-24.04\n  Version: 2026{:02}{:02}.1.0\nRunner name: 'runner-{}'\nMachine name: 'fv-az{}-{}'\nPrepare workflow directory\n\
         Syncing repository: octo/{}\nGit version 2.47.0\n##[group]Run actions/setup-node@v4\nnode: v20.{}.0\nshell: /usr/bin/bash -e {{0}}\nenv:\n  CI: true\n  LANG: C.UTF-8\n  HOME: /home/runner\n##[endgroup]\nConnecting to {ip}:443\n\
         ok 1 - starts\nok 2 - stops\n# tests 8\n# pass 8",
        rng.between(300, 330),
        rng.between(1, 12),
        rng.between(1, 28),
        rng.hex(6),
        rng.between(100, 999),
        rng.between(100, 999),
        rng.coined(3),
        rng.below(18)
    )
}

fn pasted_git_log(rng: &mut Rng, _: &[Known]) -> String {
    (0..rng.between(2, 8))
        .map(|_| {
            let who = rng.coined(3);
            match rng.below(3) {
                0 => format!("{} (HEAD -> release, origin/main) {}", rng.hex(7), prose(rng)),
                1 => format!("commit {}\nMerge: {} {}\nAuthor: {who} <{who}@people.example.org>\nDate:   Fri Feb {} 18:0{}:11 2026 +0{}00\n\n    {}\n", rng.hex(40), rng.hex(7), rng.hex(7), rng.between(1, 28), rng.below(9), rng.below(6), prose(rng)),
                _ => format!("* {} 2026-02-{:02} {who} Merge branch 'dev' into main", rng.hex(9), rng.between(1, 28)),
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn shell_session(rng: &mut Rng, facts: &[Known]) -> String {
    let (user, host) = (rng.coined(3), rng.coined(3));
    let ip = other_address(rng, facts);
    match rng.below(3) {
        0 => format!(
            "A customer sent this:\n{user}@{host}:~/app$ ip -4 addr show eth0\n    inet {ip}/24 brd 10.0.0.255 scope global eth0\n{user}@{host}:~/app$ whoami\n{user}\n{user}@{host}:~/app$ nproc\n16"
        ),
        1 => format!(
            "$ docker exec -it {host} bash\nroot@{}:/# echo $TZ\nEtc/UTC\nroot@{}:/# ls /home\n{user}",
            rng.hex(12),
            rng.hex(12)
        ),
        _ => format!(
            "$ ssh {user}@{ip}\nThe authenticity of host '{ip}' can't be established.\nED25519 key fingerprint is SHA256:{}.\nLast login: Mon Mar  2 08:00:11 2026 from 203.0.113.8",
            rng.letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 43)
        ),
    }
}

fn bug_report(rng: &mut Rng, _: &[Known]) -> String {
    let user = rng.coined(3);
    let list = [
        format!(
            "**Describe the bug**\n{}\n\n**Environment (reporter's)**\n- OS: macOS 14.{}\n- Shell: fish 3.7\n- Locale: it_IT.UTF-8\n- Time zone: Africa/Cairo\n- Path: /Users/{user}/dev\n",
            prose(rng),
            rng.below(8)
        ),
        format!(
            "From issue #{}: @{user} writes that with TZ=America/Bogota and LANG=ko_KR.UTF-8 the calendar starts on Monday. I can't reproduce it.",
            rng.between(100, 9000)
        ),
        format!(
            "The customer's machine is called {user}-pc and runs Windows 10.0.{}; ours don't show it.",
            rng.between(17_000, 22_000)
        ),
    ];
    list[rng.below(list.len())].clone()
}

fn mail_thread(rng: &mut Rng, _: &[Known]) -> String {
    let (a, b) = (rng.coined(3), rng.coined(3));
    format!(
        "From: {a} <{a}@people.example.net>\nTo: {b} <{b}@people.example.org>\nDate: Tue, 3 Mar 2026 08:1{}:00 +0100\nMessage-ID: <{}@mail.people.example.net>\nReceived: from mx.people.example.net ([203.0.113.{}])\nSubject: Re: laptop for the new dev\n\n> {}\n\nFine with me. The main thing is that it runs linux.\n-- \n{a}\n",
        rng.below(9),
        rng.uuid(),
        rng.between(2, 250),
        prose(rng)
    )
}

fn system_log(rng: &mut Rng, _: &[Known]) -> String {
    let host = rng.coined(3);
    (0..rng.between(3, 12))
        .map(|_| {
            let text = match rng.below(4) {
                0 => format!(
                    "sshd[{}]: Accepted publickey for deploy from 203.0.113.{} port {}",
                    rng.between(900, 9000),
                    rng.between(2, 250),
                    rng.between(20_000, 60_000)
                ),
                1 => format!(
                    "kernel: [    0.{}] Linux version 5.{}.0-{}-generic (buildd@lcy02)",
                    rng.between(100_000, 999_999),
                    rng.below(15),
                    rng.between(10, 99)
                ),
                2 => format!("systemd[1]: Started Session {} of user deploy.", rng.between(8, 900)),
                _ => format!(
                    "dhclient[{}]: bound to 10.0.0.{} -- renewal in {} seconds.",
                    rng.between(900, 9000),
                    rng.between(2, 250),
                    rng.between(900, 9000)
                ),
            };
            format!("Mar  {} 08:{:02}:11 {host} {text}", rng.between(1, 9), rng.below(60))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn manual_page(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "TZ\n    The time zone, in the form CST6CDT or Asia/Dubai. If unset, /etc/localtime is read.\nLANG, LC_ALL\n    The locale, such as en_US.UTF-8, C or de_DE@euro.\nSHELL\n    The user's shell, /bin/bash for most.",
        "hostname [-f]  prints the host name. hostnamectl set-hostname laptop changes it. The machine ID in /etc/machine-id is 32 hex digits, e.g. 0123456789abcdef0123456789abcdef.",
        "nproc(1): print the number of processing units, e.g. 8.  uname(1): -m prints x86_64, aarch64, armv7l; -s prints Linux or Darwin; -r prints 6.8.0-45-generic.",
        "`--branch <name>`: defaults to main. `--user <login>`: defaults to dev. `--jobs <n>`: defaults to 8. `--shell <sh>`: bash, zsh or fish.",
    ];
    (0..rng.between(1, 3)).map(|_| rng.pick(&list)).collect::<Vec<_>>().join("\n\n")
}

fn how_to(rng: &mut Rng, _: &[Known]) -> String {
    let list = [
        "## Setup\n\n1. Create the user `dev`: `sudo adduser dev`.\n2. Set the zone: `sudo timedatectl set-timezone Europe/Madrid`.\n3. Set the host name: `sudo hostnamectl set-hostname laptop`.\n4. `git config --global user.email you@example.com`.\n5. `git switch main`.\n",
        "Use your own name instead of USERNAME: `cd /home/USERNAME/project` on Linux, `cd /Users/USERNAME/project` on a Mac, `cd C:\\Users\\USERNAME\\project` on Windows.",
        "The example uses these values: IP 192.168.1.10, gateway 192.168.1.1, DNS 1.1.1.1 and 8.8.8.8, MAC 00:1b:44:11:3a:b7.",
        "Export `LANG=en_US.UTF-8` and `TERM=xterm-256color`; on Alpine use `ash` instead of bash. Then `make -j8`.",
    ];
    format!("{}\n{}", rng.pick(&list), prose(rng))
}

fn search_results(rng: &mut Rng, _: &[Known]) -> String {
    (0..rng.between(3, 14))
        .map(|_| {
            let line = rng.pick(&[
                "const branch = process.env.BRANCH ?? 'main';",
                "hostname: string;  // laptop, server",
                "if (user === 'dev') return true;",
                "export const DEFAULT_LOCALE = 'en-US';",
                "tz: z.string().default('UTC'),",
                "assert cpu_cores == 8",
                "SHELL := /bin/bash",
                "arch: ['x86_64', 'aarch64']",
                "// CST is ambiguous, see #88",
            ]);
            format!("src/{}/{}.ts:{}:{line}", rng.coined(2), rng.coined(2), rng.between(1, 900))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn access_log(rng: &mut Rng, facts: &[Known]) -> String {
    (0..rng.between(3, 14))
        .map(|_| {
            format!(
                "{} - - [03/Mar/2026:08:{:02}:11 +0000] \"GET /{}?tz=Asia%2FDubai&lang=it HTTP/1.1\" 200 {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"",
                other_address(rng, facts),
                rng.below(60),
                rng.coined(2),
                rng.between(200, 90_000)
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn diff(rng: &mut Rng, _: &[Known]) -> String {
    format!(
        "diff --git a/config/dev.toml b/config/dev.toml\nindex {}..{} 100644\n--- a/config/dev.toml\n+++ b/config/dev.toml\n@@ -1,8 +1,8 @@\n-timezone = \"UTC\"\n+timezone = \"Asia/Dubai\"\n-branch = \"main\"\n+branch = \"release/{}\"\n host = \"laptop\"\n-workers = 8\n+workers = 16\n-user = \"dev\"\n+user = \"deploy\"\n",
        rng.hex(7),
        rng.hex(7),
        rng.coined(2)
    )
}

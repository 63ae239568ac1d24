use std::fs;
use std::time::Instant;

use super::*;

/// A root with `files` in it, and variables.
fn planted(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let variables: Vec<(String, String)> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let variable = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    collect_from(&Machine { root: dir.path().to_owned(), variable: &variable, commands: false })
}

#[test]
fn a_machine_is_read_from_its_files_and_variables() {
    let facts = planted(
        &[
            ("etc/timezone", "Asia/Shanghai\n"),
            ("etc/hostname", "quartz.lab.example.com\n"),
            ("etc/hosts", "127.0.0.1 localhost\n10.1.2.3 quartz.example.com quartz.lab.example.com # here\n"),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("proc/sys/kernel/random/boot_id", "5e0f4a7e-0000-4000-8000-000000000001\n"),
            ("sys/class/dmi/id/product_serial", "To Be Filled By O.E.M.\n"),
            ("sys/class/dmi/id/board_serial", "PF2XK9Q7\n"),
            ("sys/class/dmi/id/product_name", "20XW0026\n"),
            ("sys/class/net/lo/address", "00:00:00:00:00:00\n"),
            ("sys/class/net/eth0/address", "02:42:ac:11:00:02\n"),
            ("sys/class/net/wg0/address", "\n"),
            ("proc/net/route", "Iface\tDestination\tGateway\neth0\t00000000\t0101A8C0\neth0\t0001A8C0\t00000000\n"),
            ("etc/resolv.conf", "nameserver 127.0.0.53\nnameserver 10.9.8.7\nsearch lab.example.com .\n"),
            ("etc/os-release", "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"),
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD Ryzen 7\nprocessor\t: 1\nmodel name\t: AMD Ryzen 7\n"),
            ("proc/meminfo", "MemTotal:       16315284 kB\nMemFree: 1 kB\n"),
            ("home/ann/.claude.json", r#"{"userID":"ab12","oauthAccount":{"emailAddress":"ann@example.com"}}"#),
            ("home/ann/.gemini/installation_id", "11111111-2222-4333-8444-555555555555"),
        ],
        &[
            ("HOME", "/home/ann"),
            ("USER", "ann"),
            ("LANG", "zh_CN.UTF-8"),
            ("LC_TIME", "de_AT@euro"),
            ("LANGUAGE", "zh_CN:en"),
            ("SHELL", "/bin/zsh"),
            ("HTTPS_PROXY", "http://ann:s3cret@proxy.example.com:3128/"),
            ("ANTHROPIC_BASE_URL", "https://gateway.example.com/v1"),
            ("EDITOR", ""),
        ],
    );
    let mut missing = Vec::new();
    for (kind, value) in [
        ("tz.iana", "Asia/Shanghai"),
        ("locale.posix", "zh_CN.UTF-8"),
        ("locale.bcp47", "zh-CN"),
        ("locale.bcp47", "de-AT"),
        ("locale.country", "AT"),
        ("host.name", "quartz"),
        ("host.fqdn", "quartz.lab.example.com"),
        ("host.fqdn", "quartz.example.com"),
        ("host.machine_id", "0123456789abcdef0123456789abcdef"),
        ("host.boot_id", "5e0f4a7e-0000-4000-8000-000000000001"),
        ("host.serial", "PF2XK9Q7"),
        ("host.model", "20XW0026"),
        ("net.mac", "02:42:ac:11:00:02"),
        ("net.vpn", "wg0"),
        ("net.gateway", "192.168.1.1"),
        ("net.dns", "10.9.8.7"),
        ("net.domain", "lab.example.com"),
        ("net.proxy", "proxy.example.com:3128"),
        ("api.base_host", "gateway.example.com"),
        ("user.name", "ann"),
        ("user.email", "ann@example.com"),
        ("path.home", "/home/ann"),
        ("os.distro", "Debian GNU/Linux"),
        ("os.version", "12"),
        ("hw.cpu", "AMD Ryzen 7"),
        ("hw.cores", "2"),
        ("hw.mem", "16706850816"),
        ("env.shell", "/bin/zsh"),
        ("id.device", "ab12"),
        ("id.install", "11111111-2222-4333-8444-555555555555"),
    ] {
        if !facts.iter().any(|(k, v)| k == kind && v == value) {
            missing.push(format!("{kind} {value}"));
        }
    }
    assert!(missing.is_empty(), "missing {missing:?} in {facts:#?}");
    let text = format!("{facts:?}");
    for absent in ["To Be Filled", "s3cret", "127.0.0.53", "00:00:00:00:00:00"] {
        assert!(!text.contains(absent), "{absent} is a fact in {text}");
    }
}

#[test]
fn a_credential_is_known_with_the_host_that_it_was_set_for() {
    let root = tempfile::tempdir().unwrap();
    let variables = [
        ("ANTHROPIC_BASE_URL", "https://gateway.example.com:8443/v1"),
        ("ANTHROPIC_API_KEY", "gw-4f7Qm2Zr9Lx8"),
        ("ANTHROPIC_AUTH_TOKEN", "none"),
        ("OPENAI_API_KEY", "sk-without-a-base-url"),
    ];
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let machine = Machine { root: root.path().into(), variable: &variable, commands: false };
    let found: Vec<_> = person::credentials(&machine).into_iter().map(|found| (found.value, found.host)).collect();
    assert_eq!(found, [("gw-4f7Qm2Zr9Lx8".to_owned(), "gateway.example.com:8443".to_owned())]);
}

#[test]
fn no_fact_is_empty_or_found_twice_and_this_machine_answers_soon() {
    let start = Instant::now();
    let facts = collect();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let distinct: HashSet<_> = facts.iter().collect();
    assert_eq!(distinct.len(), facts.len());
    assert!(facts.iter().all(|(kind, value)| !value.trim().is_empty() && kind.contains('.')));
    assert!(!facts.is_empty());
}

#[test]
fn an_empty_machine_gives_no_more_than_the_account() {
    let facts = planted(&[], &[]);
    assert!(facts.iter().all(|(kind, _)| kind == "user.uid"), "{facts:?}");
}

#[cfg(unix)]
#[test]
fn a_command_that_hangs_is_given_up() {
    let start = Instant::now();
    assert_eq!(ask("sleep", &["60"]), None);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[cfg(unix)]
#[test]
fn a_fifo_in_a_files_place_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(read_text(&path), None);
}

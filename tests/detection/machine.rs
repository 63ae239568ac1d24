//! Machines that do not exist: one value of every kind that a host fact can be.

use crate::random::Rng;

/// One thing known of a machine.
#[derive(Clone)]
pub struct Known {
    pub kind: &'static str,
    pub value: String,
}

impl Known {
    /// Whether the value is so short or so widespread that it counts only where its name or place speaks for it.
    pub fn is_weak(&self) -> bool {
        let value = self.value.to_lowercase();
        value.chars().count() < 6
            || PUBLIC.contains(&&*value)
            || (value.bytes().all(|byte| byte.is_ascii_digit()) && value.len() < 9)
    }

    /// Whether the value is one of a public list, so that code and documentation hold it as well.
    pub fn is_listed(&self) -> bool {
        ["tz.", "locale.", "os.", "env.", "sw.", "hw."].iter().any(|family| self.kind.starts_with(family))
    }
}

/// Words of six characters or more that are everywhere.
const PUBLIC: &[&str] = &[
    "x86_64",
    "aarch64",
    "riscv64",
    "ubuntu",
    "debian",
    "fedora",
    "master",
    "develop",
    "docker",
    "podman",
    "windows",
    "darwin",
    "vscode",
    "cursor",
    "neovim",
    "desktop",
    "workstation",
    "macbook",
    "docker0",
    "gitlab",
    "jenkins",
    "codespaces",
    "github actions",
    "devcontainer",
    "en_us.utf-8",
    "laptop",
    "hyper-v",
    "vmware",
    "virtualbox",
];

/// A machine, its person and its place.
pub fn machine(rng: &mut Rng) -> Vec<Known> {
    // Some machines have the names that everybody has.
    let dull = rng.percent(20);
    let given = rng.pick(&[
        "Anna", "Björn", "Chidi", "Dana", "Elif", "Jürgen", "Łucja", "Mirela", "Oksana", "Wei", "Zoë", "Tomás",
    ]);
    let family = rng.coined(3);
    let family = format!("{}{}", family[..1].to_uppercase(), &family[1..]);
    let user = if dull { "dev".to_owned() } else { format!("{}{}", rng.pick(&["", "x", "j.", "m_"]), rng.coined(3)) };
    let domain = format!("{}.{}", rng.coined(3), rng.pick(&["example", "example.com", "corp.example", "example.org"]));
    let host = if dull {
        "laptop".to_owned()
    } else {
        format!("{}-{}", rng.coined(2), rng.pick(&["mbp", "x1c", "dev01", "ws-17", "NUC"]))
    };
    let mac_style = rng.pick(&[":", "-"]);
    let mac = (0..6).map(|_| rng.hex(2)).collect::<Vec<_>>().join(mac_style);
    let windows = rng.percent(20);
    let home =
        if windows { format!("C:\\Users\\{user}") } else { format!("{}/{user}", rng.pick(&["/home", "/Users"])) };
    let slash = if windows { "\\" } else { "/" };
    let project = format!("{}-{}", rng.coined(2), rng.pick(&["api", "billing", "service", "core", "web"]));
    let cwd = format!("{home}{slash}{}{slash}{project}", rng.pick(&["src", "code", "work", "Projects"]));
    let subnet = format!("{}.{}", rng.pick(&["192.168", "10.31", "172.19"]), rng.between(2, 250));
    let ip = format!("{subnet}.{}", rng.between(20, 250));
    let mut facts = Vec::new();
    let mut add = |kind: &'static str, value: String| facts.push(Known { kind, value });
    add("tz.iana", rng.pick(&ZONES).to_owned());
    add("tz.windows", rng.pick(&WINDOWS_ZONES).to_owned());
    add("tz.offset", rng.pick(&["+08:00", "-03:30", "+05:45", "UTC+02:00", "GMT-0700", "+1030"]).to_owned());
    add("tz.abbr", if dull { "CST".into() } else { rng.pick(&["CET", "AEST", "NZDT", "PKT", "BRT"]).to_owned() });
    let (language, country) = *LOCALES[rng.below(LOCALES.len())..].first().unwrap_or(&("de", "DE"));
    add("locale.bcp47", if dull { "en-US".into() } else { format!("{language}-{country}") });
    let posix = format!("{}_{country}.{}", &language[..2], rng.pick(&["UTF-8", "utf8", "ISO-8859-1"]));
    add("locale.posix", if dull { "en_US.UTF-8".into() } else { posix });
    add(
        "locale.accept_language",
        format!("{language}-{country},{};q=0.9,en;q=0.{}", &language[..2], rng.between(5, 8)),
    );
    add("locale.country", country.to_owned());
    add(
        "locale.keyboard",
        rng.pick(&["German (QWERTZ)", "com.apple.keylayout.Dvorak", "Czech (US, programming)", "us-intl-altgr"])
            .to_owned(),
    );
    add("net.ip.local", ip);
    add(
        "net.ip.public",
        format!(
            "{}.{}.{}.{}",
            rng.pick(&["81", "93", "151", "203"]),
            rng.between(10, 250),
            rng.between(10, 250),
            rng.between(10, 250)
        ),
    );
    add("net.ip6", format!("2a0{}:{}:{}:{}::{}", rng.between(1, 9), rng.hex(3), rng.hex(4), rng.hex(4), rng.hex(4)));
    add("net.mac", if rng.percent(30) { mac.to_uppercase() } else { mac });
    add("net.hostname_dns", format!("{}-{}.dyn.{domain}", rng.coined(2), rng.between(10, 99)));
    add("net.domain", domain.clone());
    add("net.ssid", format!("{} {}", rng.coined(3), rng.pick(&["Guest WLAN", "5G", "Office-2"])));
    add("net.gateway", format!("{subnet}.{}", rng.pick(&["1", "254"])));
    add("net.dns", format!("{subnet}.{}", rng.between(2, 9)));
    add("net.proxy", format!("http://proxy.{domain}:{}", rng.pick(&["3128", "8080"])));
    add("net.vpn", format!("{}-{}", rng.pick(&["wg", "tun", "nordlynx"]), rng.coined(2)));
    add("host.name", host.clone());
    add("host.fqdn", format!("{host}.{domain}"));
    add("host.machine_id", rng.hex(32));
    add("host.boot_id", rng.uuid());
    add("host.serial", format!("{}{}", rng.letters(b"CDFGHJKLMNPQRTVWXYZ", 3), rng.letters(b"0123456789ABCDEFGH", 8)));
    add(
        "host.model",
        format!(
            "{} {}",
            rng.pick(&["ThinkPad X1 Carbon Gen", "Latitude", "MacBookPro", "Precision"]),
            rng.between(11, 7999)
        ),
    );
    add("user.name", user.clone());
    add("user.fullname", format!("{given} {family}"));
    add("user.email", format!("{}@{domain}", rng.coined(3)));
    add("user.uid", rng.between(1000, 70000).to_string());
    add("git.name", if rng.percent(50) { format!("{given} {family}") } else { format!("{} {}", given, rng.coined(3)) });
    add("git.email", format!("{}@{}", rng.coined(4), rng.pick(&["users.noreply.example.com", "mail.example.net"])));
    let owner = rng.coined(3);
    let remote = match rng.below(3) {
        0 => format!("git@git.{domain}:{owner}/{project}.git"),
        1 => format!("https://git.{domain}/{owner}/{project}.git"),
        _ => format!("ssh://git@git.{domain}:2222/{owner}/{project}"),
    };
    add("git.remote", remote);
    add(
        "git.branch",
        if dull {
            "main".into()
        } else {
            format!("{}/{}-{}", rng.pick(&["feature", "fix", "wip"]), rng.coined(2), rng.between(10, 999))
        },
    );
    add("git.commit", rng.hex(40));
    add("path.home", home.clone());
    add("path.cwd", cwd.clone());
    add("path.project", format!("/srv/{}/{project}", rng.coined(2)));
    add("path.exec", format!("/opt/{}/bin/{}", rng.coined(2), rng.coined(2)));
    add(
        "path.tmp",
        format!("/var/folders/{}/{}/T", rng.hex(2), rng.letters(b"abcdefghijklmnopqrstuvwxyz0123456789", 20)),
    );
    add("os.name", if dull { "linux" } else { rng.pick(&["linux", "darwin", "win32", "Windows"]) }.to_owned());
    add(
        "os.distro",
        rng.pick(&[
            "Ubuntu 24.04.1 LTS",
            "Fedora Linux 41",
            "openSUSE Tumbleweed",
            "Arch Linux",
            "Debian GNU/Linux 12 (bookworm)",
        ])
        .to_owned(),
    );
    add("os.version", format!("{}.{}.{}", rng.between(10, 26), rng.between(0, 9), rng.between(10000, 26100)));
    add(
        "os.kernel",
        format!(
            "{}.{}.{}-{}-{}",
            rng.between(4, 6),
            rng.between(0, 19),
            rng.between(0, 200),
            rng.between(10, 120),
            rng.pick(&["generic", "amd64", "microsoft-standard-WSL2", "lts"])
        ),
    );
    add("os.arch", if dull { "x86_64" } else { rng.pick(&["x86_64", "aarch64", "arm64", "amd64"]) }.to_owned());
    add("os.virt", rng.pick(&["hyper-v", "qemu-kvm", "vmware", "systemd-nspawn"]).to_owned());
    add(
        "hw.cpu",
        format!(
            "{} @ {}.{}GHz",
            rng.pick(&["Intel(R) Core(TM) i7-1185G7", "AMD Ryzen 9 7940HS", "Apple M3 Pro"]),
            rng.between(2, 4),
            rng.between(10, 99)
        ),
    );
    add("hw.cores", if dull { "8".into() } else { rng.between(4, 128).to_string() });
    add("hw.mem", (rng.between(7_000_000, 68_000_000) * 1024).to_string());
    add("hw.gpu", format!("NVIDIA GeForce RTX {}0{}0 Laptop", rng.between(2, 5), rng.between(5, 9)));
    add("hw.screen", format!("{}x{}", rng.between(1280, 5120), rng.between(720, 2880)));
    add(
        "env.shell",
        if dull { "bash" } else { rng.pick(&["/usr/bin/fish", "/opt/homebrew/bin/bash", "zsh", "/bin/zsh"]) }
            .to_owned(),
    );
    add("env.term", rng.pick(&["xterm-256color", "xterm-kitty", "iTerm.app", "WezTerm", "tmux-256color"]).to_owned());
    add("env.editor", rng.pick(&["nvim --clean", "code --wait", "emacsclient", "vim"]).to_owned());
    add("env.ci", rng.pick(&["github-actions", "buildkite", "teamcity"]).to_owned());
    add("env.container", format!("{}-{}", rng.pick(&["codespace", "devpod", "toolbox"]), rng.coined(3)));
    add("env.vars", format!("{}_HOME={home}{slash}.{}", rng.coined(2).to_uppercase(), rng.coined(2)));
    add("sw.client_version", format!("{}.{}.{}", rng.between(1, 3), rng.between(10, 99), rng.between(100, 999)));
    add(
        "sw.runtime",
        format!(
            "{}{}.{}.{}",
            rng.pick(&["node v", "bun ", "Python "]),
            rng.between(3, 24),
            rng.between(1, 20),
            rng.between(1, 20)
        ),
    );
    add(
        "sw.packages",
        format!(
            "{}@{}.{}.0,{}@1.{}.2",
            rng.coined(3),
            rng.between(1, 9),
            rng.between(10, 40),
            rng.coined(3),
            rng.between(10, 40)
        ),
    );
    add("sw.processes", format!("{}d --port {}", rng.coined(3), rng.between(2000, 9000)));
    add("id.device", rng.hex(64));
    add("id.install", rng.uuid());
    add("id.anon", format!("anon_{}", rng.letters(b"abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789", 22)));
    add("id.vscode_machine", rng.hex(64));
    add("id.account", rng.uuid());
    add("id.org", format!("org-{}", rng.letters(b"ABCDEFGHJKMNPQRSTUVWXYZ23456789", 20)));
    add("id.session", rng.uuid());
    facts
}

const ZONES: [&str; 24] = [
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Australia/Adelaide",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Africa/Lagos",
    "Pacific/Auckland",
    "America/Argentina/Buenos_Aires",
    "Asia/Ho_Chi_Minh",
    "Europe/Kyiv",
    "Asia/Tehran",
    "America/Los_Angeles",
    "Atlantic/Reykjavik",
    "Asia/Urumqi",
    "Europe/Warsaw",
    "America/Toronto",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Africa/Cairo",
    "America/Mexico_City",
    "Europe/Lisbon",
    "Asia/Almaty",
    "Pacific/Chatham",
];

const WINDOWS_ZONES: [&str; 10] = [
    "China Standard Time",
    "W. Europe Standard Time",
    "E. South America Standard Time",
    "Cen. Australia Standard Time",
    "Nepal Standard Time",
    "Newfoundland Standard Time",
    "Tokyo Standard Time",
    "Iran Standard Time",
    "FLE Standard Time",
    "Pacific Standard Time",
];

const LOCALES: [(&str, &str); 10] = [
    ("zh-Hans", "CN"),
    ("de", "AT"),
    ("pt", "BR"),
    ("uk", "UA"),
    ("fa", "IR"),
    ("sr-Latn", "RS"),
    ("ja", "JP"),
    ("fr", "CH"),
    ("vi", "VN"),
    ("es", "MX"),
];

/// Names under which assistants and telemetry send a kind.
pub fn telling_names(kind: &str) -> &'static [&'static str] {
    match kind {
        "tz.iana" => &["timezone", "tz", "timeZone", "time_zone", "tz_name", "TZ"],
        "tz.windows" => &["windowsTimezone", "timezone", "tz_windows"],
        "tz.offset" => &["tz_offset", "utcOffset", "timezone_offset", "utc_offset"],
        "tz.abbr" => &["tz_abbr", "timezone", "tzname", "zone"],
        "locale.country" => &["country", "country_code", "locale_country", "region"],
        "locale.keyboard" => &["keyboard_language", "keyboard.locale", "input_language"],
        kind if kind.starts_with("locale.") => {
            &["locale", "lang", "language", "LANG", "user_locale", "accept_language"]
        }
        "net.mac" => &["mac", "mac_address", "macAddr", "network.mac"],
        "net.ssid" => &["ssid", "wifi_ssid", "network"],
        "net.vpn" => &["vpn", "vpn_interface", "network_vpn"],
        "net.domain" => &["domain", "dns_domain", "network.domain"],
        "net.proxy" => &["proxy", "https_proxy", "proxy_url"],
        "net.hostname_dns" => &["dns_host", "host_address", "network.host"],
        kind if kind.starts_with("net.") => &["ip", "ip_address", "client_ip", "addr", "host.ip", "network_address"],
        "host.name" => &["hostname", "host", "computerName", "machine_name", "host.name"],
        "host.fqdn" => &["fqdn", "host_fqdn", "hostname"],
        "host.serial" => &["serial", "serialNumber", "device_serial"],
        "host.model" => &["model", "device_model", "machineModel"],
        kind if kind.starts_with("host.") => &["machine_id", "machineId", "host.id", "device_id"],
        "user.name" => &["user", "username", "login", "userName", "os_user", "process.owner"],
        "user.fullname" => &["fullname", "full_name", "user_fullname", "author"],
        "user.email" => &["email", "userEmail", "account_email"],
        "user.uid" => &["uid", "user_uid"],
        "git.name" => &["git_user", "author", "git.name", "committer_name"],
        "git.email" => &["git_email", "author_email", "committerEmail"],
        "git.remote" => &["git_remote", "remote_url", "repository", "origin"],
        "git.branch" => &["branch", "git_branch", "head_ref", "currentBranch"],
        "git.commit" => &["commit", "git_commit", "headCommit"],
        "path.home" => &["home", "HOME", "homeDir", "home_directory"],
        "path.tmp" => &["tmpdir", "temp_dir", "TMPDIR"],
        "path.exec" => &["exec_path", "execPath", "process_path"],
        kind if kind.starts_with("path.") => &["cwd", "workspace", "project_root", "workingDirectory", "PWD"],
        "os.arch" => &["arch", "cpu_arch", "os_arch", "host.arch"],
        "os.kernel" => &["kernel", "os_release", "kernelVersion"],
        "os.virt" => &["virtualization", "os_virtualization"],
        kind if kind.starts_with("os.") => &["os", "platform", "os_version", "system", "distro"],
        "hw.cores" => &["cpu_cores", "cores", "cpuCount", "hardwareConcurrency"],
        "hw.mem" => &["memory", "mem_total", "ram"],
        "hw.cpu" => &["cpu", "cpu_model", "processor"],
        "hw.gpu" => &["gpu", "gpu_model", "display_adapter"],
        "hw.screen" => &["screen", "display", "screen_resolution"],
        "env.shell" => &["shell", "SHELL", "user_shell"],
        "env.term" => &["term", "TERM_PROGRAM", "terminal"],
        "env.editor" => &["editor", "EDITOR", "ide"],
        "env.ci" => &["ci", "ci_environment", "env_ci"],
        "env.container" => &["container", "container_env", "environment"],
        "env.vars" => &["env", "environment", "env_vars"],
        kind if kind.starts_with("sw.") => &["version", "runtime", "client_version", "packages", "processes"],
        _ => &["id", "device_id", "uuid", "install_id", "session_id", "account_uuid"],
    }
}

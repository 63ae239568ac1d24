//! The machine: host, system, hardware, network.

use super::place::assigned;
use super::{Facts, Machine};

/// `host.*`
pub(super) fn host(machine: &Machine<'_>, facts: &mut Facts) {
    let mut names = Vec::new();
    names.extend(machine.read("/proc/sys/kernel/hostname"));
    names.extend(machine.read("/etc/hostname").filter(|name| !name.contains('\n')));
    names.extend(machine.variable("HOSTNAME"));
    names.extend(machine.variable("COMPUTERNAME"));
    #[cfg(unix)]
    if machine.commands {
        names.extend(nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()));
    }
    for name in &names {
        facts.add("host.name", name);
        if let Some((short, domain)) = name.split_once('.') {
            facts.add("host.fqdn", name);
            facts.add("host.name", short);
            facts.add("net.domain", domain);
        }
    }
    // What the resolver would say without asking anybody: this host's line in the hosts file.
    for line in machine.read("/etc/hosts").unwrap_or_default().lines() {
        let line = line.split('#').next().unwrap_or_default();
        let aliases: Vec<&str> = line.split_whitespace().skip(1).collect();
        if aliases.iter().any(|alias| names.iter().any(|name| name == alias)) {
            facts.add_all(
                "host.fqdn",
                aliases.iter().filter(|alias| alias.contains('.') && !alias.contains("localdomain")),
            );
        }
    }
    for file in ["/etc/machine-id", "/var/lib/dbus/machine-id"] {
        facts.add("host.machine_id", machine.read(file).filter(|id| id != "uninitialized").unwrap_or_default());
    }
    facts.add("host.boot_id", machine.read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    // Most of these are for root alone.
    for name in ["product_serial", "board_serial", "chassis_serial", "product_uuid", "chassis_asset_tag"] {
        if let Some(serial) = machine.read(&format!("/sys/class/dmi/id/{name}")).filter(|value| is_filled_in(value)) {
            facts.add("host.serial", serial);
        }
    }
    for disk in machine.list("/sys/block") {
        let serial = machine.read(&format!("/sys/block/{disk}/device/serial"));
        facts.add("host.serial", serial.filter(|value| is_filled_in(value)).unwrap_or_default());
    }
    for file in ["/sys/class/dmi/id/product_name", "/sys/class/dmi/id/product_version", "/proc/device-tree/model"] {
        facts.add("host.model", machine.read(file).filter(|value| is_filled_in(value)).unwrap_or_default());
    }
}

/// Makers leave these where a serial number should be.
fn is_filled_in(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    let dummies = [
        "none",
        "n/a",
        "default string",
        "not specified",
        "not applicable",
        "system serial number",
        "unknown",
        "invalid",
    ];
    !dummies.contains(&value.as_str())
        && !value.starts_with("to be filled")
        && value.chars().any(|c| c.is_alphanumeric() && c != '0')
}

/// `os.*` and `env.container`.
pub(super) fn system(machine: &Machine<'_>, facts: &mut Facts) {
    #[cfg(unix)]
    if machine.commands
        && let Ok(name) = nix::sys::utsname::uname()
    {
        facts.add("os.name", name.sysname().to_string_lossy());
        facts.add("os.kernel", name.release().to_string_lossy());
        facts.add("os.kernel", name.version().to_string_lossy());
        let arch = name.machine().to_string_lossy();
        facts.add("os.arch", &arch);
        // As Node and Go spell it.
        facts.add_all(
            "os.arch",
            match &*arch {
                "x86_64" => &["x64", "amd64"][..],
                "aarch64" => &["arm64"],
                _ => &[],
            },
        );
    }
    let release = machine.read("/etc/os-release").or_else(|| machine.read("/usr/lib/os-release")).unwrap_or_default();
    for (kind, name) in [
        ("os.distro", "PRETTY_NAME"),
        ("os.distro", "NAME"),
        ("os.distro", "ID"),
        ("os.version", "VERSION_ID"),
        ("os.version", "VERSION"),
        ("os.version", "VERSION_CODENAME"),
    ] {
        facts.add(kind, assigned(&release, name).unwrap_or_default());
    }
    facts.add("os.version", machine.read("/etc/debian_version").unwrap_or_default());

    let kernel = machine.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    if kernel.to_ascii_lowercase().contains("microsoft") {
        facts.add("os.virt", "wsl");
    }
    let vendor = machine.read("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    for (sign, virt) in [
        ("QEMU", "kvm"),
        ("VMware", "vmware"),
        ("innotek", "oracle"),
        ("Amazon EC2", "amazon"),
        ("Google", "google"),
        ("Microsoft Corporation", "microsoft"),
        ("Xen", "xen"),
        ("Parallels", "parallels"),
    ] {
        if vendor.starts_with(sign) {
            facts.add("os.virt", virt);
        }
    }
    facts.add("os.virt", machine.read("/sys/hypervisor/type").unwrap_or_default());
    for (file, container) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if machine.path(file).exists() {
            facts.add("env.container", container);
            facts.add("os.virt", container);
        }
    }
    // The container's own id stands in the paths of what is mounted into it.
    for line in machine.read("/proc/self/mountinfo").unwrap_or_default().lines() {
        let of_container = line.contains("/etc/hostname") || line.contains("/etc/resolv.conf");
        let ids = line.split(['/', ' ']).filter(|part| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit()));
        if of_container {
            facts.add_all("env.container", ids);
        }
    }
}

/// `hw.*`
pub(super) fn hardware(machine: &Machine<'_>, facts: &mut Facts) {
    let cpus = machine.read("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &'static str| {
        cpus.lines().filter_map(move |line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))
    };
    facts.add_all("hw.cpu", field("model name").chain(field("Hardware")));
    let count = field("processor").count();
    if count > 0 {
        facts.add("hw.cores", count.to_string());
    }
    if machine.commands
        && let Ok(usable) = std::thread::available_parallelism()
    {
        facts.add("hw.cores", usable.to_string());
    }
    let memory = machine.read("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    if let Some(kib) = total.and_then(|kib| kib.trim().parse::<u64>().ok()) {
        facts.add("hw.mem", (kib * 1024).to_string());
        facts.add("hw.mem", kib.to_string());
    }
    for gpu in machine.list("/proc/driver/nvidia/gpus") {
        let text = machine.read(&format!("/proc/driver/nvidia/gpus/{gpu}/information")).unwrap_or_default();
        for line in text.lines() {
            if let Some((_, value)) =
                line.split_once(':').filter(|(name, _)| matches!(name.trim(), "Model" | "GPU UUID"))
            {
                facts.add("hw.gpu", value);
            }
        }
    }
    for output in machine.list("/sys/class/drm") {
        let of = |name: &str| machine.read(&format!("/sys/class/drm/{output}/{name}")).unwrap_or_default();
        if of("status") == "connected" {
            // The preferred mode comes first.
            facts.add("hw.screen", of("modes").lines().next().unwrap_or_default());
        }
    }
    for supply in machine.list("/sys/class/power_supply").iter().filter(|name| name.starts_with("BAT")) {
        for name in ["serial_number", "model_name"] {
            let value = machine.read(&format!("/sys/class/power_supply/{supply}/{name}"));
            facts.add("hw.battery", value.filter(|value| is_filled_in(value)).unwrap_or_default());
        }
    }
}

/// `net.*`
pub(super) fn network(machine: &Machine<'_>, facts: &mut Facts) {
    for name in machine.list("/sys/class/net") {
        let mac = machine.read(&format!("/sys/class/net/{name}/address")).unwrap_or_default();
        if is_mac(&mac) {
            facts.add("net.mac", mac);
        }
        if ["tun", "wg", "ppp", "utun", "tailscale", "zt", "nordlynx"].iter().any(|vpn| name.starts_with(vpn)) {
            facts.add("net.vpn", &name);
        }
    }
    #[cfg(unix)]
    if machine.commands {
        addresses(facts);
    }
    for line in machine.read("/proc/net/route").unwrap_or_default().lines().skip(1) {
        // Interface, destination, gateway: as the machine stores them, which is little-endian nearly everywhere.
        let mut fields = line.split_whitespace().skip(1);
        if let (Some("00000000"), Some(gateway)) = (fields.next(), fields.next())
            && let Ok(bits) = u32::from_str_radix(gateway, 16)
            && bits != 0
        {
            facts.add("net.gateway", std::net::Ipv4Addr::from(bits.to_ne_bytes()).to_string());
        }
    }
    for line in machine.read("/proc/net/ipv6_route").unwrap_or_default().lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [destination, "00", _, _, gateway, ..] = fields[..]
            && destination.bytes().all(|b| b == b'0')
            && let Ok(bits) = u128::from_str_radix(gateway, 16)
            && bits != 0
        {
            facts.add("net.gateway", std::net::Ipv6Addr::from(bits).to_string());
        }
    }
    // The second file has the real servers where the first names a local stub.
    for file in ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"] {
        for line in machine.read(file).unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let servers =
                        words.filter(|server| server.parse::<std::net::IpAddr>().is_ok_and(|ip| !ip.is_loopback()));
                    facts.add_all("net.dns", servers);
                }
                Some("search" | "domain") => facts.add_all("net.domain", words.filter(|domain| domain.len() > 1)),
                _ => {}
            }
        }
    }
}

fn is_mac(text: &str) -> bool {
    text.len() == 17
        && text.split(':').all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok())
        && text.bytes().any(|b| !matches!(b, b'0' | b':'))
        && text != "ff:ff:ff:ff:ff:ff"
}

/// Addresses of this host's interfaces, loopback aside.
#[cfg(unix)]
fn addresses(facts: &mut Facts) {
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        if let Some(v4) = address.as_sockaddr_in().map(|v4| v4.ip()).filter(|v4| !v4.is_loopback()) {
            facts.add("net.ip.local", v4.to_string());
        }
        if let Some(v6) = address.as_sockaddr_in6().map(|v6| v6.ip()).filter(|v6| !v6.is_loopback()) {
            facts.add("net.ip6", v6.to_string());
        }
        #[cfg(target_os = "macos")]
        if let Some(bytes) = address.as_link_addr().and_then(|link| link.addr()) {
            let mac = bytes.map(|byte| format!("{byte:02x}")).join(":");
            if is_mac(&mac) {
                facts.add("net.mac", mac);
            }
        }
    }
}

/// `sw.runtime`: of the run times that assistants report.
pub(super) fn runtimes(machine: &Machine<'_>, facts: &mut Facts) {
    let programs = ["node", "python3", "git", "bun", "deno"];
    let versions: Vec<Option<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            programs.iter().map(|program| scope.spawn(|| machine.ask(program, &["--version"]))).collect();
        threads.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    });
    for version in versions.into_iter().flatten() {
        // `v20.20.2`, `Python 3.11.7`, `git version 2.47.3`: the last word of the first line.
        facts.add(
            "sw.runtime",
            version.lines().next().and_then(|line| line.split_whitespace().last()).unwrap_or_default(),
        );
    }
}

/// What only a command of the system tells.
pub(super) fn asked(machine: &Machine<'_>, facts: &mut Facts) {
    if cfg!(target_os = "linux") {
        facts.add("net.ssid", machine.ask("iwgetid", &["-r"]).unwrap_or_default());
    } else if cfg!(target_os = "macos") {
        macos(machine, facts);
    } else if cfg!(windows) {
        windows(machine, facts);
    }
}

/// Untested.
fn macos(machine: &Machine<'_>, facts: &mut Facts) {
    for name in ["ComputerName", "LocalHostName", "HostName"] {
        facts.add("host.name", machine.ask("scutil", &["--get", name]).unwrap_or_default());
    }
    facts.add("os.version", machine.ask("sw_vers", &["-productVersion"]).unwrap_or_default());
    facts.add("os.distro", machine.ask("sw_vers", &["-productName"]).unwrap_or_default());
    facts.add("hw.cpu", machine.ask("sysctl", &["-n", "machdep.cpu.brand_string"]).unwrap_or_default());
    facts.add("hw.mem", machine.ask("sysctl", &["-n", "hw.memsize"]).unwrap_or_default());
    facts.add("host.model", machine.ask("sysctl", &["-n", "hw.model"]).unwrap_or_default());
    let registry = machine.ask("ioreg", &["-rd1", "-c", "IOPlatformExpertDevice"]).unwrap_or_default();
    for line in registry.lines() {
        let Some((name, value)) = line.split_once(" = ") else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim().trim_matches('"') {
            "IOPlatformUUID" => facts.add("host.machine_id", value),
            "IOPlatformSerialNumber" => facts.add("host.serial", value),
            _ => {}
        }
    }
    let route = machine.ask("route", &["-n", "get", "default"]).unwrap_or_default();
    facts.add_all("net.gateway", route.lines().filter_map(|line| line.trim().strip_prefix("gateway: ")));
}

/// Untested.
fn windows(machine: &Machine<'_>, facts: &mut Facts) {
    let value = |key: &str, name: &str| {
        let text = machine.ask("reg", &["query", key, "/v", name])?;
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name)?.split_once("REG_SZ").map(|(_, v)| v.trim().to_owned()))
    };
    let current = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    for (kind, key, name) in [
        ("host.machine_id", r"HKLM\SOFTWARE\Microsoft\Cryptography", "MachineGuid"),
        ("os.distro", current, "ProductName"),
        ("os.version", current, "DisplayVersion"),
        ("os.version", current, "CurrentBuild"),
        ("hw.cpu", r"HKLM\HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString"),
        ("host.model", r"HKLM\HARDWARE\DESCRIPTION\System\BIOS", "SystemProductName"),
        ("locale.bcp47", r"HKCU\Control Panel\International", "LocaleName"),
    ] {
        facts.add(kind, value(key, name).unwrap_or_default());
    }
    facts.add("os.name", machine.variable("OS").unwrap_or_default());
    facts.add("os.arch", machine.variable("PROCESSOR_ARCHITECTURE").unwrap_or_default());
    facts.add("hw.cores", machine.variable("NUMBER_OF_PROCESSORS").unwrap_or_default());
}

//! Words that describe a machine: versions, systems, processors, shells, sizes.

/// `1.2`, `v20.11.1`, `6.8.0-45-generic`, `22H2`.
pub fn is_version(value: &str) -> bool {
    let digits = value.strip_prefix(['v', 'V']).unwrap_or(value);
    let mut parts = digits.split(['.', '-', '+', '_', ' ']);
    value.len() <= 64
        && parts
            .next()
            .is_some_and(|first| (1..=6).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.next().is_some_and(|second| second.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()))
        && !digits.contains(|c: char| c.is_control())
}

pub fn is_os_name(value: &str) -> bool {
    const NAMES: &[&str] = &[
        "linux",
        "darwin",
        "macos",
        "mac os",
        "osx",
        "os x",
        "windows",
        "win32",
        "win64",
        "freebsd",
        "openbsd",
        "netbsd",
        "sunos",
        "aix",
        "android",
        "ios",
        "wsl",
        "debian",
        "ubuntu",
        "fedora",
        "arch",
        "alpine",
        "centos",
        "rhel",
        "red hat",
        "suse",
        "opensuse",
        "gentoo",
        "nixos",
        "manjaro",
        "mint",
        "pop!_os",
        "kali",
        "rocky",
        "alma",
        "amazon",
        "unix",
        "mingw",
        "cygwin",
        "msys",
        "chromeos",
        "harmonyos",
        "deepin",
        "kylin",
        "uos",
        "openeuler",
        "void",
    ];
    let lower = value.to_lowercase();
    value.len() <= 96
        && NAMES.iter().any(|name| lower.strip_prefix(name).is_some_and(|rest| !rest.starts_with(char::is_alphabetic)))
}

pub fn is_arch(value: &str) -> bool {
    const NAMES: &[&str] = &[
        "x64",
        "x86",
        "x86_64",
        "x86-64",
        "amd64",
        "i386",
        "i686",
        "ia32",
        "arm",
        "arm64",
        "aarch64",
        "armv7",
        "armv7l",
        "armv6l",
        "armhf",
        "riscv64",
        "ppc64",
        "ppc64le",
        "s390x",
        "mips",
        "mips64",
        "loong64",
        "loongarch64",
        "intel",
        "apple",
        "m1",
        "m2",
        "m3",
        "m4",
        "universal",
    ];
    NAMES.contains(&value.to_ascii_lowercase().as_str())
}

/// `bash`, `/bin/zsh`, `C:\…\pwsh.exe`, `PowerShell 7.4`.
pub fn is_shell(value: &str) -> bool {
    const NAMES: &[&str] = &[
        "bash",
        "zsh",
        "fish",
        "sh",
        "dash",
        "ksh",
        "tcsh",
        "csh",
        "ash",
        "pwsh",
        "powershell",
        "cmd",
        "nu",
        "nushell",
        "elvish",
        "xonsh",
        "git-bash",
        "gitbash",
        "busybox",
        "rbash",
    ];
    let file = value.rsplit(['/', '\\']).next().unwrap_or(value);
    let word = file.split([' ', '(', ',']).next().unwrap_or(file).trim_end_matches(".exe").to_ascii_lowercase();
    value.len() <= 128 && NAMES.contains(&word.as_str())
}

/// `32GB`, `16 GiB`, `31.2 G`: an amount of memory.
pub fn is_size(value: &str) -> bool {
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = value[number.len()..].trim_start();
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && ["G", "GB", "GiB", "Gi", "M", "MB", "MiB", "Mi", "T", "TB", "TiB"]
            .iter()
            .any(|known| unit.eq_ignore_ascii_case(known))
}

/// `8`, `16 cores`, `8 核`.
pub fn is_cores(value: &str) -> bool {
    let rest = value.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = value.len() - rest.len();
    (1..=3).contains(&digits)
        && ["", "cores", "core", "核", "核心", "threads", "线程", "cpus", "vcpus"]
            .contains(&rest.trim().to_lowercase().as_str())
}

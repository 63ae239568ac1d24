//! The files of a room: a root of its own in memory, the system's folders in it read-only, invented facts in the place of
//! the machine's.
//!
//! What is not named here is not there: home folders, sockets of services, other users' files, `/tmp`. All that is
//! written goes to memory and ends with the room; nothing has to be removed afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::layout::{Layout, Shown};
use super::network::gateway_of;
use super::step::{Step, Stepped};
use super::{files, repository};

/// Where the machine's own root is while the room is built.
const OUTSIDE: &str = "/outside";

/// Folders of the root that hold programs, and nothing of a person.
pub const SYSTEM: [&str; 11] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "nix", "gnu", "snap"];

/// Parts of other folders that programs need, where they exist.
const ALSO: [&str; 6] = [
    "/var/lib/ca-certificates",
    "/var/cache/fontconfig",
    "/var/lib/alternatives",
    "/run/current-system",
    "/run/booted-system",
    "/run/opengl-driver",
];

/// Entries of `/etc` that are written anew, or hold what is nobody's business.
const NOT_FROM_ETC: [&str; 41] = [
    "hostname",
    "hosts",
    "resolv.conf",
    "localtime",
    "timezone",
    "machine-id",
    "passwd",
    "group",
    "mtab",
    "fstab",
    "passwd-",
    "group-",
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    "subuid",
    "subgid",
    "subuid-",
    "subgid-",
    "sudoers",
    "sudoers.d",
    "ssh",
    "gitconfig",
    "krb5.keytab",
    "NetworkManager",
    "netplan",
    "wpa_supplicant",
    "wireguard",
    "openvpn",
    "ppp",
    "letsencrypt",
    "docker",
    "kubernetes",
    "rancher",
    "cron.d",
    "network",
    "systemd",
    "cloud",
    "rc.local",
    "crypttab",
];

/// Files of `/etc` above this are of no use to a client.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

/// Builds the root in the mount namespace of this process, which must be new, and moves into it.
pub fn build(layout: &Layout, translated: bool) -> Result<(), Step> {
    enter_empty_root().step("make an empty root in memory")?;
    system_folders().step("show the system's folders")?;
    etc(layout, translated)?;
    kernel_folders(layout)?;
    devices().step("make /dev")?;
    for folder in ["/tmp", "/var/tmp", "/run/lock", "/var/lib/dbus", "/var/log", "/var/cache"] {
        fs::create_dir_all(folder).step(format!("make {folder}"))?;
    }
    for open in ["/tmp", "/var/tmp", "/run/lock"] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o1777)).step(format!("open {open} to all"))?;
    }
    let _ = symlink("/run", "/var/run");
    let _ = fs::write("/var/lib/dbus/machine-id", format!("{}\n", layout.machine_id));
    fs::create_dir_all(&layout.home).step("make the home folder")?;
    for shown in &layout.shown {
        show(shown).step(format!("show {} in the room", shown.path.display()))?;
    }
    for folder in &layout.copied {
        copy(folder).step(format!("copy {} into the room", folder.display()))?;
    }
    fs::create_dir_all(&layout.cwd).step("make the working folder")?;
    if let Some(git) = &layout.git {
        repository::plant(&layout.cwd, git).step("plant a repository in the working folder")?;
        fs::write(layout.home.join(".gitconfig"), repository::identity(git)).step("write .gitconfig")?;
    }
    protect(layout).step("make the system's folders read-only")?;
    umount2(OUTSIDE, MntFlags::MNT_DETACH).step("leave the machine's own root")?;
    fs::remove_dir(OUTSIDE).step("leave the machine's own root")
}

fn outside(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    Path::new(OUTSIDE).join(path.strip_prefix("/").unwrap_or(path))
}

fn plain(source: Option<&str>, target: &str, kind: &str, flags: MsFlags, data: &str) -> nix::Result<()> {
    mount(source, target, Some(kind), flags, Some(data))
}

/// A file system in memory becomes the root; the machine's own is beside it until the end.
fn enter_empty_root() -> io::Result<()> {
    // What is mounted here stays here, and what is mounted outside later stays outside.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let base = "/tmp";
    plain(Some("divulge"), base, "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0755")?;
    fs::create_dir(format!("{base}{OUTSIDE}"))?;
    nix::unistd::pivot_root(base, format!("{base}{OUTSIDE}").as_str())?;
    std::env::set_current_dir("/")
}

fn system_folders() -> io::Result<()> {
    for name in SYSTEM {
        let (there, here) = (outside(name), Path::new("/").join(name));
        match fs::symlink_metadata(&there) {
            Ok(found) if found.is_symlink() => symlink(fs::read_link(&there)?, &here)?,
            Ok(found) if found.is_dir() => bind(&there, &here)?,
            _ => {}
        }
    }
    for path in ALSO {
        if let Ok(found) = fs::symlink_metadata(outside(path)) {
            if let Some(parent) = Path::new(path).parent() {
                fs::create_dir_all(parent)?;
            }
            if found.is_symlink() {
                symlink(fs::read_link(outside(path))?, path)?;
            } else if found.is_dir() {
                bind(&outside(path), Path::new(path))?;
            }
        }
    }
    Ok(())
}

/// The same file or folder in a second place.
fn bind(from: &Path, to: &Path) -> io::Result<()> {
    if fs::metadata(from)?.is_dir() {
        fs::create_dir_all(to)?;
    } else {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::File::create(to)?;
    }
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}

fn show(shown: &Shown) -> io::Result<()> {
    let from = outside(&shown.path);
    // What was there a moment ago may be gone, as any file may.
    if !from.exists() {
        return Ok(());
    }
    // A link that stands in a folder of the room's already needs no mount of its own.
    if fs::symlink_metadata(&shown.at).is_ok_and(|found| found.is_symlink()) {
        return Ok(());
    }
    bind(&from, &shown.at)
}

fn copy(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(outside(folder))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    Ok(())
}

// --- /etc ----------------------------------------------------------------------------------------------------------

fn etc(layout: &Layout, translated: bool) -> Result<(), Step> {
    fs::create_dir("/etc").step("make /etc")?;
    let entries = fs::read_dir(outside("/etc")).step("read /etc")?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| NOT_FROM_ETC.contains(&name)) {
            // What the user may not read is not there for the client either.
            let _ = etc_entry(&entry, &Path::new("/etc").join(&name));
        }
    }
    let private = Path::new("/etc/ssl/private");
    if private.is_dir() {
        let _ = plain(Some("none"), "/etc/ssl/private", "tmpfs", MsFlags::MS_RDONLY, "size=4k");
    }
    let write =
        |name: &str, text: String| fs::write(Path::new("/etc").join(name), text).step(format!("write /etc/{name}"));
    let read = |name: &str| fs::read_to_string(outside("/etc").join(name)).unwrap_or_default();
    let shell = ["/bin/bash", "/bin/sh"].into_iter().find(|shell| Path::new(shell).exists()).unwrap_or("/bin/sh");
    write("hostname", format!("{}\n", layout.hostname))?;
    write("hosts", files::hosts(&layout.hostname))?;
    write("machine-id", format!("{}\n", layout.machine_id))?;
    write("timezone", format!("{}\n", layout.timezone))?;
    write("passwd", files::passwd(&read("passwd"), layout, shell))?;
    write("group", files::group(&read("group"), layout))?;
    let gateway = layout.interface.as_ref().and_then(gateway_of).filter(|_| translated);
    let resolver = gateway.map_or("127.0.0.1".to_owned(), |gateway| gateway.to_string());
    write("resolv.conf", format!("nameserver {resolver}\n"))?;
    let zone = Path::new("/usr/share/zoneinfo").join(&layout.timezone);
    if zone.exists() {
        symlink(zone, "/etc/localtime").step("set the time zone")?;
    }
    symlink("/proc/self/mounts", "/etc/mtab").step("link /etc/mtab")
}

fn etc_entry(entry: &fs::DirEntry, here: &Path) -> io::Result<()> {
    let found = entry.metadata()?;
    if found.is_symlink() {
        symlink(fs::read_link(entry.path())?, here)
    } else if found.is_dir() {
        bind(&entry.path(), here)
    } else if found.is_file() && found.len() <= MOST_BYTES {
        fs::copy(entry.path(), here).map(|_| ())
    } else {
        Ok(())
    }
}

// --- /proc, /sys, /dev -----------------------------------------------------------------------------------------------

fn kernel_folders(layout: &Layout) -> Result<(), Step> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    fs::create_dir("/proc").step("make /proc")?;
    plain(Some("proc"), "/proc", "proc", flags, "")
        .step("mount /proc (in a container: --security-opt systempaths=unconfined)")?;
    fs::create_dir("/sys").step("make /sys")?;
    // Without it the machine's own would be seen, with the addresses of its network cards.
    if plain(Some("sysfs"), "/sys", "sysfs", flags | MsFlags::MS_RDONLY, "").is_err() {
        plain(Some("none"), "/sys", "tmpfs", flags | MsFlags::MS_RDONLY, "size=4k").step("hide /sys")?;
    }
    if layout.machine {
        return Ok(());
    }
    let hardware = "/sys/devices/virtual/dmi/id";
    if Path::new(hardware).is_dir() {
        plain(Some("none"), hardware, "tmpfs", flags, "mode=0755").step("hide the machine's serial numbers")?;
        for (name, value) in files::identity_of_hardware(&layout.machine_id) {
            fs::write(Path::new(hardware).join(name), format!("{value}\n")).step("invent serial numbers")?;
        }
    }
    let boot = "/proc/sys/kernel/random/boot_id";
    let invented = "/.boot";
    fs::write(invented, format!("{}\n", files::uuid(&layout.machine_id, "boot"))).step("invent a start-up id")?;
    if Path::new(boot).exists() {
        mount(Some(invented), boot, None::<&str>, MsFlags::MS_BIND, None::<&str>).step("hide the start-up id")?;
    }
    fs::remove_file(invented).step("invent a start-up id")
}

fn devices() -> io::Result<()> {
    fs::create_dir("/dev")?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        bind(&outside("/dev").join(name), &Path::new("/dev").join(name))?;
    }
    for folder in ["/dev/pts", "/dev/shm"] {
        fs::create_dir(folder)?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    plain(Some("devpts"), "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")?;
    fs::set_permissions("/dev/shm", fs::Permissions::from_mode(0o1777))?;
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, Path::new("/dev").join(name))?;
    }
    Ok(())
}

// --- read-only -------------------------------------------------------------------------------------------------------

/// Makes every mount read-only that is neither the room's own nor to be written.
fn protect(layout: &Layout) -> io::Result<()> {
    let own: BTreeSet<&Path> = ["/", "/proc", "/sys", "/dev", OUTSIDE].into_iter().map(Path::new).collect();
    let below = |path: &Path, top: &str| path.starts_with(top);
    let writable = |path: &Path| {
        let deepest =
            layout.shown.iter().filter(|shown| path.starts_with(&shown.at)).max_by_key(|s| s.at.components().count());
        deepest.is_some_and(|shown| shown.writable)
    };
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(path), Some(options)) = (fields.next(), fields.next()) else { continue };
        let path = unescaped(path);
        if own.contains(path.as_path())
            || ["/proc", "/sys", "/dev", OUTSIDE].iter().any(|top| below(&path, top))
            || writable(&path)
        {
            continue;
        }
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | kept_flags(options);
        mount(None::<&str>, &path, None::<&str>, flags, None::<&str>)?;
    }
    Ok(())
}

/// The flags that a mount has must be given again, or the kernel takes the request for one to drop them.
fn kept_flags(options: &str) -> MsFlags {
    options.split(',').fold(MsFlags::empty(), |flags, option| {
        flags
            | match option {
                "nosuid" => MsFlags::MS_NOSUID,
                "nodev" => MsFlags::MS_NODEV,
                "noexec" => MsFlags::MS_NOEXEC,
                "noatime" => MsFlags::MS_NOATIME,
                "nodiratime" => MsFlags::MS_NODIRATIME,
                "relatime" => MsFlags::MS_RELATIME,
                _ => MsFlags::empty(),
            }
    })
}

/// Paths in `mountinfo` have spaces and the like in octal.
fn unescaped(path: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = path.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        match octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(plain))
}

/// Whether a folder of the room's can be at this path: absolute, and without steps back.
pub fn usable(path: &Path) -> bool {
    path.is_absolute()
        && path.components().count() > 1
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_mounts_are_read_with_their_spaces() {
        assert_eq!(unescaped(r"/a\040b/c"), Path::new("/a b/c"));
        assert_eq!(unescaped(r"/a\b"), Path::new(r"/a\b"));
    }

    #[test]
    fn only_plain_absolute_folders_are_usable() {
        for (path, expected) in [("/home/a", true), ("/", false), ("a", false), ("/a/../b", false)] {
            assert_eq!(usable(Path::new(path)), expected, "{path}");
        }
    }
}

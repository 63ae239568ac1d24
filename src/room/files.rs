//! The text of the files in a room that name the machine and the person.

use super::layout::Layout;

/// Accounts below this are the system's own.
const FIRST_PERSON: u32 = 1000;
const NOBODY: u32 = 65534;

/// `/etc/passwd`: the system's own accounts of `host`, and the one person of the room.
pub fn passwd(host: &str, layout: &Layout, shell: &str) -> String {
    let Layout { user, uid, gid, .. } = layout;
    let mut text = String::new();
    let mut gecos = String::new();
    for line in host.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, _, full, _, _] = fields[..] else { continue };
        let Ok(id) = id.parse::<u32>() else { continue };
        if id == *uid || name == user {
            if layout.machine && id == *uid {
                gecos = full.to_owned();
            }
        } else if id < FIRST_PERSON || id == NOBODY {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str(&format!("{user}:x:{uid}:{gid}:{gecos}:{}:{shell}\n", layout.home.display()));
    text
}

/// `/etc/group`, in the same way; who is a member of the system's groups is not told.
pub fn group(host: &str, layout: &Layout) -> String {
    let Layout { user, gid, .. } = layout;
    let mut text = String::new();
    for line in host.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, _] = fields[..] else { continue };
        let Ok(number) = id.parse::<u32>() else { continue };
        if number != *gid && name != user && (number < FIRST_PERSON || number == NOBODY) {
            text.push_str(&format!("{name}:x:{id}:\n"));
        }
    }
    text.push_str(&format!("{user}:x:{gid}:\n"));
    text
}

pub fn hosts(hostname: &str) -> String {
    let short = hostname.split('.').next().unwrap_or(hostname);
    let own = if short == hostname { hostname.to_owned() } else { format!("{hostname} {short}") };
    format!("127.0.0.1\tlocalhost\n127.0.1.1\t{own}\n::1\tlocalhost ip6-localhost ip6-loopback\n")
}

/// An invented number in the form of a UUID, the same for the same machine id.
pub fn uuid(machine_id: &str, what: &str) -> String {
    let digits = digest(machine_id, what);
    format!("{}-{}-4{}-8{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..32])
}

/// An invented serial number, the same for the same machine id.
pub fn serial(machine_id: &str, what: &str) -> String {
    format!("CNRY{}", digest(machine_id, what)[..10].to_uppercase())
}

fn digest(machine_id: &str, what: &str) -> String {
    use sha2::{Digest, Sha256};
    let sum = Sha256::digest(format!("{what} of {machine_id}"));
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files of `/sys/devices/virtual/dmi/id`.
pub fn identity_of_hardware(machine_id: &str) -> Vec<(&'static str, String)> {
    vec![
        ("bios_vendor", "Example Firmware".to_owned()),
        ("board_serial", serial(machine_id, "board")),
        ("board_vendor", "Example Computers".to_owned()),
        ("chassis_serial", serial(machine_id, "chassis")),
        ("product_family", "Example".to_owned()),
        ("product_name", "Example 100".to_owned()),
        ("product_serial", serial(machine_id, "product")),
        ("product_uuid", uuid(machine_id, "product")),
        ("sys_vendor", "Example Computers".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn layout() -> Layout {
        Layout {
            hostname: "canary".into(),
            timezone: "UTC".into(),
            machine_id: "0".repeat(32),
            user: "kanaria".into(),
            uid: 1000,
            gid: 1000,
            home: PathBuf::from("/home/kanaria"),
            cwd: PathBuf::from("/home/kanaria/project"),
            git: None,
            interface: None,
            caught: Vec::new(),
            untranslated: false,
            shown: Vec::new(),
            copied: Vec::new(),
            machine: false,
        }
    }

    #[test]
    fn no_person_of_the_machine_is_among_the_accounts() {
        let host = "root:x:0:0:root:/root:/bin/bash\nerika:x:1001:1001:Erika Beispiel:/home/erika:/bin/zsh\n\
                    erik:x:1000:1000:Erik Beispiel:/home/erik:/bin/zsh\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(
            passwd(host, &layout(), "/bin/bash"),
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n\
             kanaria:x:1000:1000::/home/kanaria:/bin/bash\n"
        );
        let groups = "sudo:x:27:erik\nerik:x:1000:\n";
        assert_eq!(group(groups, &layout()), "sudo:x:27:\nkanaria:x:1000:\n");
    }

    #[test]
    fn invented_numbers_have_the_usual_form_and_stay_the_same() {
        let id = uuid("a", "product");
        assert_eq!(id.len(), 36);
        assert_eq!(id, uuid("a", "product"));
        assert_ne!(id, uuid("b", "product"));
    }
}

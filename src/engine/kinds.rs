//! What a finding can be: the list of kinds, with what each one gives away.
//!
//! A kind is a family and a name, `id.device`. Two families are open: `secret.` takes the name of the
//! credential's pattern and `integrity.` the name of the binding value.

use std::sync::LazyLock;

use super::detect::hash::ShortMap;

/// How much one value narrows down whose it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Entropy {
    /// Shared by many: an operating system, a shell.
    Low,
    /// Singles out in combination: a zone, a kernel build.
    Mid,
    /// One machine, person or session alone has it.
    Unique,
}

/// How long a value stays the same.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stability {
    Session,
    /// Until the client is installed afresh, or a setting is changed.
    Install,
    /// As long as the machine.
    Hardware,
    /// As long as the person.
    Person,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kind {
    pub name: &'static str,
    /// What a reader of the value learns.
    pub reveals: &'static str,
    pub entropy: Entropy,
    pub stability: Stability,
}

/// The entry of `name`; of its family where the family is open (`secret.github` is `secret.*`).
pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.get(number(name)?)
}

/// The place of that entry in [`KINDS`].
pub fn number(name: &str) -> Option<usize> {
    // It is asked for with every finding.
    static NUMBERS: LazyLock<ShortMap<&str, usize>> =
        LazyLock::new(|| KINDS.iter().enumerate().map(|(number, kind)| (kind.name, number)).collect());
    let family = match name.split_once('.')?.0 {
        "secret" if name != "secret.cross_host" => "secret.*",
        "integrity" => "integrity.*",
        _ => name,
    };
    NUMBERS.get(family).copied()
}

/// Whether a finding may be of this kind.
pub fn is_known(name: &str) -> bool {
    let named = name.split_once('.').is_some_and(|(_, rest)| !rest.is_empty() && rest != "*");
    named && find(name).is_some()
}

const fn kind(name: &'static str, entropy: Entropy, stability: Stability, reveals: &'static str) -> Kind {
    Kind { name, reveals, entropy, stability }
}

use Entropy::{Low, Mid, Unique};
use Stability::{Hardware, Install, Person, Session};

/// Every kind, in the order of the documentation.
pub const KINDS: &[Kind] = &[
    kind("tz.iana", Mid, Person, "the region, by its time zone"),
    kind("tz.windows", Mid, Person, "the region, by its Windows zone name"),
    kind("tz.offset", Mid, Person, "the band of longitude, by the distance to UTC"),
    kind("tz.abbr", Mid, Person, "the region, by the zone's short name"),
    kind("time.local", Mid, Session, "the clock on the wall, and with the true time the offset"),
    kind("locale.bcp47", Mid, Person, "language and country"),
    kind("locale.posix", Mid, Person, "language, country and character set"),
    kind("locale.accept_language", Mid, Person, "the languages read, in order"),
    kind("locale.country", Mid, Person, "the country set on the machine"),
    kind("locale.format", Mid, Person, "the locale, by how a date or number is spelled"),
    kind("locale.keyboard", Mid, Person, "the language typed"),
    kind("geo.country", Mid, Person, "the country"),
    kind("geo.city", Mid, Person, "the town"),
    kind("geo.latlon", Unique, Person, "the place, to the metre"),
    kind("net.ip.local", Mid, Install, "the address inside the network, and the network's plan"),
    kind("net.ip.public", Unique, Install, "the line or company that the traffic comes from"),
    kind("net.ip6", Unique, Install, "the machine's own address"),
    kind("net.mac", Unique, Hardware, "the network card, for as long as it lives"),
    kind("net.hostname_dns", Unique, Install, "the machine's name in the company's DNS"),
    kind("net.domain", Mid, Install, "the company or its network"),
    kind("net.ssid", Mid, Install, "the wireless network, and through public maps the place"),
    kind("net.gateway", Mid, Install, "the network's router"),
    kind("net.dns", Mid, Install, "the resolvers in use"),
    kind("net.proxy", Mid, Install, "the company's proxy"),
    kind("net.vpn", Mid, Install, "that a VPN is in use, and which"),
    kind("host.name", Unique, Install, "the machine's name"),
    kind("host.fqdn", Unique, Install, "the machine's name and its company's domain"),
    kind("host.machine_id", Unique, Install, "the installation of the operating system"),
    kind("host.boot_id", Unique, Session, "the time since the last boot as one session"),
    kind("host.serial", Unique, Hardware, "the machine as it was sold"),
    kind("host.model", Mid, Hardware, "the make of the machine"),
    kind("user.name", Unique, Person, "the login name"),
    kind("user.fullname", Unique, Person, "the person's name"),
    kind("user.email", Unique, Person, "the person's address"),
    kind("user.uid", Low, Install, "the number of the login"),
    kind("git.name", Unique, Person, "the name commits are signed with"),
    kind("git.email", Unique, Person, "the address commits are signed with"),
    kind("git.remote", Unique, Install, "the repository and its owner"),
    kind("git.branch", Mid, Session, "what is being worked on"),
    kind("git.commit", Unique, Session, "the exact state of the repository"),
    kind("path.home", Unique, Person, "the login name, by the home folder"),
    kind("path.cwd", Unique, Session, "login and project, by the working folder"),
    kind("path.project", Unique, Install, "the project's folder"),
    kind("path.exec", Mid, Install, "where a program is installed"),
    kind("path.tmp", Mid, Session, "the folder for temporary files"),
    kind("os.name", Low, Hardware, "the operating system"),
    kind("os.distro", Mid, Install, "the distribution"),
    kind("os.version", Mid, Install, "the release of the operating system"),
    kind("os.kernel", Mid, Install, "the exact kernel build"),
    kind("os.arch", Low, Hardware, "the processor's family"),
    kind("os.virt", Low, Install, "that it is a virtual machine or container"),
    kind("hw.cpu", Mid, Hardware, "the processor's model"),
    kind("hw.cores", Low, Hardware, "the number of processors"),
    kind("hw.mem", Mid, Hardware, "the size of the memory"),
    kind("hw.gpu", Mid, Hardware, "the graphics card"),
    kind("hw.screen", Mid, Hardware, "the size of the screen or terminal"),
    kind("hw.battery", Mid, Session, "that it is a portable, and its charge"),
    kind("env.shell", Low, Install, "the shell"),
    kind("env.term", Low, Install, "the terminal"),
    kind("env.editor", Low, Install, "the editor"),
    kind("env.ci", Low, Session, "that a build service runs the client, and which"),
    kind("env.container", Mid, Install, "the container or remote workspace"),
    kind("env.vars", Mid, Session, "settings in the environment"),
    kind("sw.client_version", Low, Install, "the client's build"),
    kind("sw.runtime", Low, Install, "the run time and its version"),
    kind("sw.packages", Mid, Install, "what is installed"),
    kind("sw.processes", Mid, Session, "what is running, and with what memory"),
    kind("id.device", Unique, Install, "the installation: links everything one machine sends"),
    kind("id.install", Unique, Install, "the installation of the client"),
    kind("id.anon", Unique, Install, "an identifier without a name, the same every time"),
    kind("id.vscode_machine", Unique, Hardware, "the machine, by the editor's digest of its network card"),
    kind("id.account", Unique, Person, "the account"),
    kind("id.org", Unique, Person, "the organisation"),
    kind("id.session", Unique, Session, "one session: what was said in it belongs together"),
    kind("id.request", Unique, Session, "one request"),
    kind("id.trace", Unique, Session, "one chain of requests"),
    kind("api.base_host", Mid, Install, "the gateway that is used in place of the provider's own address"),
    kind("api.key_class", Low, Install, "what sort of credential is in use"),
    kind("api.telemetry_host", Low, Install, "that the client reports to a service which only collects telemetry"),
    kind("secret.cross_host", Unique, Person, "a credential to a host it was not set for"),
    kind("secret.*", Unique, Person, "a credential"),
    kind("cov.apostrophe", Low, Session, "bits, in the choice of an apostrophe"),
    kind("cov.homoglyph", Low, Session, "bits, in letters that look alike"),
    kind("cov.zero_width", Mid, Session, "bits, in characters that take no room"),
    kind("cov.tag", Mid, Session, "text, in invisible tag characters"),
    kind("cov.varsel", Mid, Session, "bytes, in variation selectors"),
    kind("cov.space", Low, Session, "bits, in the choice of spaces"),
    kind("cov.nfd", Low, Session, "bits, in how accents are composed"),
    kind("cov.bidi", Low, Session, "bits, in invisible direction marks"),
    kind("cov.date_sep", Low, Session, "bits, in the separator of a date"),
    kind("cov.trailing_ws", Low, Session, "bits, in white space at the end of lines"),
    kind("cov.ctrl", Low, Session, "bits, in control characters"),
    kind("cov.header_order", Low, Install, "the client, by the order of its header"),
    kind("cov.header_case", Low, Install, "the client, by the case of its header's names"),
    kind("cov.key_order", Low, Session, "bits, in the order of members"),
    kind("cov.json_ws", Low, Session, "bits, in white space between members"),
    kind("cov.number", Low, Session, "bits, in how a number is spelled"),
    kind("cov.presence", Low, Session, "bits, in which fields are there"),
    kind("cov.list_order", Low, Session, "bits, in the order of a list"),
    kind("cov.word", Low, Session, "bits, in the choice of words and stops"),
    kind("integrity.*", Unique, Session, "nothing of its own: it binds the body, so an edit may break it"),
    kind("audit.unread", Low, Session, "unknown: bytes that could not be decoded"),
    kind("audit.self", Low, Session, "that the client is being audited"),
    kind("audit.untrusted", Low, Session, "nothing was sent: the client refused the certificate"),
    kind("audit.not_tls", Low, Session, "unknown: a tunnel that carries no TLS"),
    kind(
        "audit.identity",
        Low,
        Session,
        "that the names of one connection disagree, or that an exception overlooked a certificate",
    ),
    kind("audit.bypass", Low, Session, "unknown: a connection that went around the audit"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_families_take_any_name_and_closed_ones_do_not() {
        for known in ["id.device", "net.ip.local", "secret.github_token", "secret.cross_host", "integrity.cch"] {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["id.devices", "id", "secret.", "integrity", "tz.*", "", "secret.*"] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }

    #[test]
    fn no_kind_is_listed_twice() {
        let mut names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn the_documentation_lists_every_kind() {
        let page = include_str!("../../docs/findings.md");
        for kind in KINDS {
            let row = format!("| `{}` | {} |", kind.name, kind.reveals);
            assert!(page.contains(&row), "docs/findings.md lacks: {row}");
        }
    }
}

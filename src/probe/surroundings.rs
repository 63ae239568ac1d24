//! What one run finds around itself, given the values of the factors. Everything else is the same in all runs, and invented.

use super::design::Condition;
use super::factor::{Factor, Sort, base_url};

/// A machine, a person and a project that nobody has: a sighting of any of them is no accident.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surroundings {
    pub hostname: String,
    pub timezone: String,
    pub user: String,
    pub home: String,
    pub cwd: String,
    /// Variables of the environment, later ones over earlier ones.
    pub variables: Vec<(String, String)>,
    /// Where every variable for a base URL leads, if not where it leads by default.
    pub base_url: Option<String>,
    /// The environment names the proxy; otherwise connections come to it on their way elsewhere.
    pub names_proxy: bool,
}

pub const MACHINE_ID: &str = "5c0be7d1a94f4e32b6810fd2737c9ae4";
pub const PERSON: &str = "Robin Tamsyn Quellmeyer";
pub const EMAIL: &str = "robin@quellmeyer.example.org";
pub const REMOTE: &str = "https://git.example.org/quellmeyer/harbour-notes.git";
pub const BRANCH: &str = "tidewrack";
pub const MAC: &str = "02:5e:9c:41:d7:3a";
pub const ADDRESS: [u8; 4] = [192, 0, 2, 77];
const PROJECT: &str = "harbour-notes";

impl Surroundings {
    /// `own`: what the user wants in every run's environment.
    pub fn of(factors: &[Factor], condition: &Condition, own: &[(String, String)]) -> Self {
        let mut around = Self {
            hostname: "larch-2207".to_owned(),
            timezone: "America/New_York".to_owned(),
            user: "robin".to_owned(),
            home: String::new(),
            cwd: String::new(),
            variables: vec![
                ("LANG".to_owned(), "en_US.UTF-8".to_owned()),
                ("SHELL".to_owned(), "/bin/bash".to_owned()),
                ("TERM".to_owned(), "xterm-256color".to_owned()),
            ],
            base_url: None,
            names_proxy: true,
        };
        around.variables.extend_from_slice(own);
        for (factor, &level) in factors.iter().zip(&condition.levels) {
            around.set(factor.sort(), factor.fresh_value(level, condition.fresh));
        }
        if around.home.is_empty() {
            around.home = format!("/home/{}", around.user);
        }
        if around.cwd.is_empty() {
            around.cwd = format!("{}/{PROJECT}", around.home);
        }
        // A program may ask either.
        if !around.variables.iter().any(|(name, _)| name == "TZ") {
            around.variables.push(("TZ".to_owned(), around.timezone.clone()));
        }
        around
    }

    fn set(&mut self, sort: Sort<'_>, value: String) {
        match sort {
            Sort::Tz => self.timezone = value,
            Sort::Lang => {
                self.variable("LC_ALL", value.clone());
                self.variable("LANG", value);
            }
            Sort::Hostname => self.hostname = value,
            Sort::User => self.user = value,
            Sort::Home => self.home = value,
            Sort::Cwd => self.cwd = value,
            Sort::Shell => self.variable("SHELL", value),
            Sort::Term => self.terminal(value),
            Sort::Ci => self.ci(&value),
            Sort::BaseUrl => self.base_url = base_url(&value).filter(|url| !url.is_empty()).map(str::to_owned),
            Sort::Proxy => self.names_proxy = value == "variables",
            Sort::Variable(name) => self.variable(name, value),
        }
    }

    /// An empty value is none at all.
    fn variable(&mut self, name: &str, value: String) {
        self.variables.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.variables.push((name.to_owned(), value));
        }
    }

    /// Programs call themselves in a variable of their own; what they emulate stands in `TERM`.
    fn terminal(&mut self, value: String) {
        const PROGRAMS: [&str; 8] =
            ["vscode", "iTerm.app", "Apple_Terminal", "WezTerm", "ghostty", "Hyper", "WarpTerminal", "tmux"];
        match PROGRAMS.contains(&value.as_str()) {
            true => self.variable("TERM_PROGRAM", value),
            false => self.variable("TERM", value),
        }
    }

    fn ci(&mut self, value: &str) {
        match value {
            "" | "none" | "false" | "0" => {}
            "true" | "1" => self.variable("CI", "true".to_owned()),
            "github" => {
                self.variable("CI", "true".to_owned());
                self.variable("GITHUB_ACTIONS", "true".to_owned());
            }
            "gitlab" => {
                self.variable("CI", "true".to_owned());
                self.variable("GITLAB_CI", "true".to_owned());
            }
            other => self.variable("CI", other.to_owned()),
        }
    }

    /// Variables that lead to the base URL, each with the path that it has by default.
    pub fn base_urls<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
        let Some(url) = &self.base_url else { return Vec::new() };
        let origin_ends = url.find("://").map_or(0, |at| at + 3);
        let has_path = url[origin_ends..].contains('/');
        let variable = |name: &str| {
            let own = self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let path = match own.and_then(|own| own.split_once("://")) {
                Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
                // The interface of OpenAI has its version in the base URL.
                None if name.starts_with("OPENAI") => "/v1",
                None => "",
            };
            (name.to_owned(), if has_path { url.clone() } else { format!("{url}{path}") })
        };
        names.map(variable).collect()
    }

    /// A loopback port that the base URL leads to.
    pub fn loopback_port(&self) -> Option<u16> {
        let (scheme, rest) = self.base_url.as_deref()?.split_once("://")?;
        let authority = rest.split('/').next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.parse().ok()?),
            _ => (authority, if scheme == "https" { 443 } else { 80 }),
        };
        let loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.");
        loopback.then_some(port)
    }

    /// For `--facts`: what an audit of such a run looks for.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        vec![
            ("host.name", self.hostname.clone()),
            ("tz.iana", self.timezone.clone()),
            ("user.name", self.user.clone()),
            ("path.home", self.home.clone()),
            ("path.cwd", self.cwd.clone()),
            ("host.machine_id", MACHINE_ID.to_owned()),
            ("user.fullname", PERSON.to_owned()),
            ("git.name", PERSON.to_owned()),
            ("git.email", EMAIL.to_owned()),
            ("git.remote", REMOTE.to_owned()),
            ("git.branch", BRANCH.to_owned()),
            ("net.mac", MAC.to_owned()),
            ("net.ip.local", std::net::Ipv4Addr::from(ADDRESS).to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(texts: &[&str], levels: &[u8], own: &[(&str, &str)]) -> Surroundings {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        let own: Vec<(String, String)> =
            own.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let factors = Factor::parse_all(&texts).unwrap();
        Surroundings::of(&factors, &Condition { levels: levels.to_vec(), fresh: 0 }, &own)
    }

    fn get<'a>(around: &'a Surroundings, name: &str) -> Option<&'a str> {
        around.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn factors_change_what_they_are_named_after() {
        let changed = around(
            &["tz=UTC,Asia/Tokyo", "user", "term=dumb,vscode", "ci=none,github", "env:A=,1"],
            &[1, 1, 1, 1, 1],
            &[],
        );
        assert_eq!((changed.timezone.as_str(), get(&changed, "TZ")), ("Asia/Tokyo", Some("Asia/Tokyo")));
        assert_eq!((changed.home.as_str(), changed.cwd.as_str()), ("/home/zephyrine", "/home/zephyrine/harbour-notes"));
        assert_eq!(
            (get(&changed, "TERM_PROGRAM"), get(&changed, "GITHUB_ACTIONS"), get(&changed, "A")),
            (Some("vscode"), Some("true"), Some("1"))
        );
        let base = around(&["ci=none,github", "env:A=,1"], &[0, 0], &[("A", "kept"), ("B", "2")]);
        assert_eq!((get(&base, "CI"), get(&base, "A"), get(&base, "B")), (None, None, Some("2")));
    }

    #[test]
    fn a_base_url_keeps_the_path_that_a_variable_has() {
        let own = [("OPENAI_BASE_URL", "https://api.example.com/compatible/v2")];
        let moved = around(&["base_url=official,gateway"], &[1], &own);
        let urls = moved.base_urls(["OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL"].into_iter());
        let values: Vec<&str> = urls.iter().map(|(_, url)| url.as_str()).collect();
        assert_eq!(
            values,
            [
                "https://llm-gateway.example.net/compatible/v2",
                "https://llm-gateway.example.net/v1",
                "https://llm-gateway.example.net"
            ]
        );
        assert_eq!(around(&["base_url=official,loopback"], &[1], &[]).loopback_port(), Some(8484));
        assert_eq!(moved.loopback_port(), None);
        assert!(around(&["base_url=official,gateway"], &[0], &[]).base_urls(["A"].into_iter()).is_empty());
    }
}

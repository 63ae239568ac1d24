//! A small program per runtime: does it use the proxy it is told of, and trust the CA?
//!
//! Each asks for a host of its own that cannot exist (`node.doctor.invalid`, RFC 6761), so that what the proxy saw is told
//! apart by host, and a program that goes around reaches nobody.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// One way of asking.
pub struct Probe {
    pub name: &'static str,
    /// A label of a host name.
    pub label: &'static str,
    program: &'static str,
    /// `{url}` stands for the address, `{host}` for its host, `{folder}` for one that is removed afterwards.
    arguments: &'static [&'static str],
    /// Variables beside those of `run`; what stands for something does so here too.
    variables: &'static [(&'static str, &'static str)],
    /// A file that it is written in, in that folder.
    source: Option<(&'static str, &'static str)>,
    /// Succeeds where the library is there.
    needs: Option<&'static [&'static str]>,
    /// What to do where it goes around, and where it does not trust.
    pub around: &'static str,
    pub distrust: &'static str,
}

const BUNDLE: &str = "it reads no file of certificates: have the system trust the CA with `divulge ca install`";
const DEAF: &str = "it reads no proxy variable: use the sealed room (`divulge run --sealed`) or a transparent gateway";

const PLAIN: Probe = Probe {
    name: "",
    label: "",
    program: "",
    arguments: &[],
    variables: &[],
    source: None,
    needs: None,
    around: DEAF,
    distrust: BUNDLE,
};

pub const PROBES: &[Probe] = &[
    Probe {
        name: "curl",
        label: "curl",
        program: "curl",
        arguments: &["--silent", "--show-error", "--output", "/dev/null", "--max-time", "15", "{url}"],
        around: "a proxy in ~/.curlrc wins over variables: take it out",
        distrust: "`cacert` in ~/.curlrc wins over CURL_CA_BUNDLE: take it out",
        ..PLAIN
    },
    Probe {
        name: "wget",
        label: "wget",
        program: "wget",
        arguments: &["--quiet", "--tries=1", "--timeout=15", "--output-document=/dev/null", "{url}"],
        around: "a proxy in ~/.wgetrc wins over variables: take it out",
        distrust: "wget trusts the system's store: `divulge ca install`",
        ..PLAIN
    },
    Probe {
        name: "git",
        label: "git",
        program: "git",
        arguments: &["-c", "http.lowSpeedTime=15", "ls-remote", "{url}repository.git"],
        around: "git's own http.proxy wins over variables: `git config --global --unset http.proxy`",
        distrust: "this git reads another store than GIT_SSL_CAINFO: `git config --global http.sslBackend openssl`",
        ..PLAIN
    },
    Probe {
        name: "Node (fetch)",
        label: "node-fetch",
        program: "node",
        arguments: &["-e", "fetch('{url}').then(r => r.text(), e => { console.error(e.cause ?? e); process.exit(1) })"],
        around: "Node before 24 (and 22.21) knows no NODE_USE_ENV_PROXY: a newer Node, a client that reads HTTPS_PROXY itself, or divulge run --sealed -- CMD",
        distrust: "NODE_EXTRA_CA_CERTS is read when Node starts: start it again from here",
        ..PLAIN
    },
    Probe {
        name: "Node (https)",
        label: "node-https",
        program: "node",
        arguments: &[
            "-e",
            "require('https').get('{url}', r => r.resume()).on('error', e => { console.error(e.message); process.exit(1) })",
        ],
        around: "Node before 24 (and 22.21) knows no NODE_USE_ENV_PROXY: a newer Node, a client that reads HTTPS_PROXY itself, or divulge run --sealed -- CMD",
        distrust: "NODE_EXTRA_CA_CERTS is read when Node starts: start it again from here",
        ..PLAIN
    },
    Probe {
        name: "Python (urllib)",
        label: "py-urllib",
        program: "python3",
        arguments: &["-c", "import urllib.request as u; u.urlopen('{url}', timeout=15).read()"],
        around: DEAF,
        distrust: "a Python that was built with certificates of its own reads SSL_CERT_FILE only through certifi",
        ..PLAIN
    },
    Probe {
        name: "Python (requests)",
        label: "py-requests",
        program: "python3",
        arguments: &["-c", "import requests; requests.get('{url}', timeout=15)"],
        needs: Some(&["-c", "import requests"]),
        around: "`session.trust_env` is switched off in the program",
        distrust: "`verify=` in the program wins over REQUESTS_CA_BUNDLE",
        ..PLAIN
    },
    Probe {
        name: "Python (httpx)",
        label: "py-httpx",
        program: "python3",
        arguments: &["-c", "import httpx; httpx.get('{url}', timeout=15)"],
        needs: Some(&["-c", "import httpx"]),
        around: "`trust_env` is switched off in the program",
        distrust: "`verify=` in the program wins over SSL_CERT_FILE",
        ..PLAIN
    },
    Probe {
        name: "Python (aiohttp)",
        label: "py-aiohttp",
        program: "python3",
        arguments: &[
            "-c",
            "import asyncio, aiohttp\nasync def main():\n  async with aiohttp.ClientSession(trust_env=True) as s:\n    async with s.get('{url}') as r: await r.read()\nasyncio.run(main())",
        ],
        needs: Some(&["-c", "import aiohttp"]),
        around: "aiohttp reads proxy variables only with `trust_env=True`",
        distrust: BUNDLE,
        ..PLAIN
    },
    Probe {
        name: "Deno",
        label: "deno",
        program: "deno",
        arguments: &["eval", "await (await fetch('{url}')).text()"],
        variables: &[("DENO_DIR", "{folder}/deno")],
        around: DEAF,
        distrust: "DENO_CERT and DENO_TLS_CA_STORE=system are read when it starts",
        ..PLAIN
    },
    Probe {
        name: "Bun",
        label: "bun",
        program: "bun",
        arguments: &["-e", "await (await fetch('{url}')).text()"],
        around: DEAF,
        distrust: "NODE_EXTRA_CA_CERTS is read when Bun starts",
        ..PLAIN
    },
    Probe {
        name: "Ruby (net/http)",
        label: "ruby",
        program: "ruby",
        arguments: &["-rnet/http", "-e", "Net::HTTP.get(URI('{url}'))"],
        around: "ruby's net/http reads http_proxy in lower case alone",
        distrust: "a Ruby with an OpenSSL of its own reads SSL_CERT_FILE: is it the one in PATH?",
        ..PLAIN
    },
    Probe {
        name: "Perl (LWP)",
        label: "perl",
        program: "perl",
        arguments: &[
            "-MLWP::UserAgent",
            "-e",
            "my $u = LWP::UserAgent->new(timeout => 15); $u->env_proxy; $u->get('{url}')->is_success or exit 1",
        ],
        needs: Some(&["-MLWP::Protocol::https", "-e", "1"]),
        around: "LWP reads proxy variables only with `env_proxy`",
        distrust: "PERL_LWP_SSL_CA_FILE is overridden by the program",
        ..PLAIN
    },
    Probe {
        name: "Java",
        label: "java",
        program: "java",
        arguments: &["--source", "11", "{folder}/Doctor.java", "{url}"],
        source: Some((
            "Doctor.java",
            "class Doctor { public static void main(String[] url) throws Exception { \
             new java.net.URL(url[0]).openStream().readAllBytes(); } }",
        )),
        // Compiles what it runs: not every Java can.
        needs: Some(&["--add-modules", "jdk.compiler", "--version"]),
        around: "java.net reads the properties in JAVA_TOOL_OPTIONS; a client with a ProxySelector of its own does not",
        distrust: "javax.net.ssl.trustStore is overridden by the program",
        ..PLAIN
    },
    Probe {
        name: "Go (gh)",
        label: "go",
        program: "gh",
        arguments: &["api", "--hostname", "{host}", "rate_limit"],
        variables: &[
            ("GH_ENTERPRISE_TOKEN", "asked-by-the-doctor"),
            ("GH_CONFIG_DIR", "{folder}"),
            ("GH_NO_UPDATE_NOTIFIER", "1"),
        ],
        around: "gh's own http_unix_socket wins over variables: `gh config set http_unix_socket \"\"`",
        distrust: "Go reads SSL_CERT_FILE on Linux alone; elsewhere it trusts the system's store: `divulge ca install`",
        ..PLAIN
    },
];

/// What a program did.
pub struct Ran {
    pub probe: &'static Probe,
    /// None: it ran into the time limit.
    pub status: Option<i32>,
    /// The last line it complained with.
    pub said: String,
}

/// No program needs longer.
const LIMIT: Duration = Duration::from_secs(25);

impl Probe {
    pub fn host(&self) -> String {
        format!("{}.doctor.invalid", self.label)
    }

    /// Where the program is, if it and its library are there.
    pub async fn found(&self) -> Option<PathBuf> {
        let paths = std::env::var_os("PATH")?;
        let mut names = std::env::split_paths(&paths).map(|folder| folder.join(self.program));
        let program = names.find(|path| path.is_file())?;
        let Some(needs) = self.needs else { return Some(program) };
        let mut command = tokio::process::Command::new(&program);
        command.args(needs).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let status = tokio::time::timeout(LIMIT, command.status()).await.ok()?.ok()?;
        status.success().then_some(program)
    }

    /// Runs it with the variables that `run` gives; what it leaves behind goes to `folder`.
    pub async fn run(
        &'static self,
        program: PathBuf,
        environment: &crate::environment::ChildEnvironment,
        folder: &Path,
    ) -> std::io::Result<Ran> {
        let host = self.host();
        let folder = folder.display().to_string();
        let filled = |text: &str| {
            let text = text.replace("{url}", &format!("https://{host}/"));
            text.replace("{host}", &host).replace("{folder}", &folder)
        };
        if let Some((name, text)) = self.source {
            std::fs::write(Path::new(&folder).join(name), text)?;
        }
        let mut command = tokio::process::Command::new(program);
        command.args(self.arguments.iter().map(|argument| filled(argument)));
        command.envs(environment.set.iter().cloned()).env("GIT_TERMINAL_PROMPT", "0");
        command.envs(self.variables.iter().map(|(name, value)| (name, filled(value))));
        for name in &environment.remove {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn()?;
        let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        let Ok(ended) = ended else { return Ok(Ran { probe: self, status: None, said: String::new() }) };
        let output = ended?;
        let text = String::from_utf8_lossy(&output.stderr);
        let said = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        Ok(Ran { probe: self, status: output.status.code(), said: said.chars().take(160).collect() })
    }
}

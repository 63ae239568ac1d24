//! Makes the runs: each in a room of its own, its traffic through a proxy of its own whose upstream is built in.
//!
//! ```text
//! Wanted -> surroundings -> Room + proxy -> command -> exchanges -> Observation
//! ```

pub mod kept;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::experiment::Wanted;
use super::factor::Factor;
use super::observation::{Observation, Texts, observe};
use super::surroundings::{ADDRESS, BRANCH, EMAIL, MAC, MACHINE_ID, PERSON, REMOTE, Surroundings};
use crate::ca::Authority;
use crate::cli::start::{self, StartError, Started};
use crate::config::{Intercept, Options, RecordBodies};
use crate::engine::Engine;
use crate::environment::{self, EnvironmentError, TrustFiles};
use crate::room::{Git, Interface, Outcome, Plan, Room, RoomError, RoomOptions, Way};
use crate::session::flow::Exchange;
use crate::session::store::{SessionError, SessionReader};

/// What all runs have in common.
pub struct Lab {
    pub command: Vec<OsString>,
    pub options: Options,
    pub factors: Vec<Factor>,
    /// In every run's environment.
    pub variables: Vec<(String, String)>,
    /// Shell text that runs before the command.
    pub setup: Option<String>,
    pub time_limit: Duration,
    pub terminal: bool,
    pub show: Vec<PathBuf>,
    pub allow_open_network: bool,
    authority: Arc<Authority>,
    trust: TrustFiles,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Made {
    pub observation: Observation,
    /// Findings and flows as lines, for the bill of materials.
    pub lines: Vec<String>,
    pub ended: Ended,
    pub connections: u64,
    pub audited: u64,
    pub datagrams: u64,
    pub names: u64,
}

/// How the command ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ended {
    /// By itself, with this status.
    By(i32),
    /// It was ended when its time was up.
    TimedOut,
    /// It says that it needs a terminal.
    WantsTerminal,
    /// It could not be started.
    NotStarted(i32),
    /// Its room ended before it, and why.
    Lost(String),
}

/// Why no run can be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Trust(#[from] EnvironmentError),
    #[error("the CA of the probe")]
    Authority(#[source] crate::ca::CaError),
    #[error("a temporary file of the probe")]
    File(#[source] std::io::Error),
    #[error("what a run sent cannot be read back")]
    Session(#[source] SessionError),
}

/// Everything that a lab is made from, but the files and keys that it makes itself.
pub struct LabParts {
    pub command: Vec<OsString>,
    pub options: Options,
    pub factors: Vec<Factor>,
    pub variables: Vec<(String, String)>,
    pub setup: Option<String>,
    pub time_limit: Duration,
    pub terminal: bool,
    pub show: Vec<PathBuf>,
    pub allow_open_network: bool,
}

/// How long requests may go on after the command has ended.
const SETTLING: Duration = Duration::from_secs(5);

impl Lab {
    pub fn new(parts: LabParts) -> Result<Self, LabError> {
        let authority = Authority::in_memory().map_err(LabError::Authority)?;
        // One CA and one folder for all runs: what differs between them is what was varied.
        let trust = TrustFiles::write(authority.certificate_pem(), &|_| None)?;
        let LabParts { command, options, factors, variables, setup, time_limit, terminal, show, allow_open_network } =
            parts;
        let options = Options {
            offline: true,
            in_room: true,
            quiet: true,
            findings: None,
            record_bodies: Some(RecordBodies::Full),
            record_limit: None,
            policy: None,
            listen: None,
            ..options
        };
        Ok(Self {
            command,
            options,
            factors,
            variables,
            setup,
            time_limit,
            terminal,
            show,
            allow_open_network,
            authority: Arc::new(authority),
            trust,
        })
    }

    /// Makes one run, and makes it again where its room ended before it: that says nothing about the client.
    pub async fn make_again(&self, wanted: &Wanted) -> Result<Made, LabError> {
        let mut made = self.make(wanted).await?;
        for _ in 0..2 {
            let Ended::Lost(why) = &made.ended else { break };
            tracing::warn!(%why, "a room ended before its command; the run is made again");
            made = self.make(wanted).await?;
        }
        Ok(made)
    }

    /// Makes one run.
    pub async fn make(&self, wanted: &Wanted) -> Result<Made, LabError> {
        let around = Surroundings::of(&self.factors, &wanted.condition, &self.variables);
        let files = tempfile::Builder::new().prefix("divulge-probe-").tempdir().map_err(LabError::File)?;
        let session = files.path().join("session");
        let facts = files.path().join("facts.json");
        let list: Vec<serde_json::Value> =
            around.facts().into_iter().map(|(kind, value)| serde_json::json!({"kind": kind, "value": value})).collect();
        File::create_new(&facts)
            .and_then(|mut file| file.write_all(serde_json::Value::from(list).to_string().as_bytes()))
            .map_err(LabError::File)?;
        let options = Options { record: Some(session.clone()), facts: Some(facts), ..self.options.clone() };
        let mut room = Room::build_with(self.plan(&around), self.room_options(&around)).await?;
        let plan = start::Plan {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            intercept: Intercept::All,
            tally: false,
            keep: false,
            gateway: false,
            recorded: None,
            inventory: None,
        };
        let Started { shared, listener, keeper, .. } = start::start(&options, plan, self.authority.clone())?;
        drop(listener);
        room.audit(&shared, around.names_proxy).map_err(LabError::File)?;
        let variables = self.proxy_variables(&around, room.proxy_address(), &shared.engine.load());
        let outcome = room.run_with(&self.command, &variables).await;
        let active = || shared.recorder.counters.active.load(Ordering::Relaxed);
        let patience = tokio::time::Instant::now() + SETTLING;
        while active() > 0 && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let account = room.account();
        let counts = shared.tally.counts();
        drop(room);
        let tape = shared.intake.tape.clone();
        let engine = shared.engine.load_full();
        let read = tokio::task::spawn_blocking(move || {
            keeper.finish();
            if let Some(tape) = tape {
                tape.finish();
            }
            read_back(&session, &engine)
        });
        let (observation, lines) = read.await.map_err(|_| LabError::File(std::io::ErrorKind::Interrupted.into()))??;
        let seen = account.connected(Way::Explicit) + account.connected(Way::Redirected);
        Ok(Made {
            observation,
            lines,
            ended: Ended::of(&outcome),
            connections: seen.max(counts.all()),
            audited: counts.audited + counts.plain,
            datagrams: account.refused + account.other_datagrams(),
            names: account.distinct_names() as u64,
        })
    }

    fn plan(&self, around: &Surroundings) -> Plan {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let mut environment = vec![("PATH".to_owned(), path)];
        environment.extend(around.variables.iter().cloned());
        Plan {
            hostname: around.hostname.clone(),
            timezone: around.timezone.clone(),
            machine_id: MACHINE_ID.to_owned(),
            user: around.user.clone(),
            home: around.home.clone().into(),
            cwd: around.cwd.clone().into(),
            git: Git {
                name: PERSON.to_owned(),
                email: EMAIL.to_owned(),
                remote: REMOTE.to_owned(),
                branch: BRANCH.to_owned(),
            },
            interface: Some(Interface {
                name: "eth0".to_owned(),
                mac: MAC.to_owned(),
                address: IpAddr::V4(Ipv4Addr::from(ADDRESS)),
            }),
            environment,
            setup: self.setup.clone(),
            time_limit: self.time_limit,
            terminal: self.terminal,
        }
    }

    fn room_options(&self, around: &Surroundings) -> RoomOptions {
        RoomOptions {
            command: self.command.clone(),
            show: self.show.clone(),
            copy: vec![self.trust.folder().to_owned()],
            catch: around.loopback_port().into_iter().collect(),
            allow_open_network: self.allow_open_network,
            ..RoomOptions::default()
        }
    }

    /// Where the proxy is and whom to trust, and where base URLs lead.
    fn proxy_variables(&self, around: &Surroundings, proxy: SocketAddr, engine: &Engine) -> Vec<(OsString, OsString)> {
        let mut variables = environment::for_child(proxy, &self.trust.bundle, Some(&self.trust.java), &|_| None).set;
        if !around.names_proxy {
            let names_proxy = |name: &OsString| {
                let name = name.to_string_lossy().to_ascii_lowercase();
                name.ends_with("_proxy") || name == "java_tool_options"
            };
            variables.retain(|(name, _)| !names_proxy(name));
        }
        let packs = engine.rules().packs();
        let given = |name: &str| around.variables.iter().any(|(known, _)| known == name);
        let of_packs = packs.iter().flat_map(|pack| &pack.environment).filter(|(name, _)| !given(name));
        variables.extend(of_packs.map(|(name, value)| (name.into(), value.into())));
        let names = packs.iter().flat_map(|pack| pack.base_url.iter().map(String::as_str));
        let mut base_urls = around.base_urls(names);
        base_urls.sort();
        base_urls.dedup();
        variables.extend(base_urls.into_iter().map(|(name, value)| (name.into(), value.into())));
        variables
    }
}

impl Ended {
    fn of(outcome: &Outcome) -> Self {
        match outcome.status {
            _ if outcome.timed_out => Ended::TimedOut,
            _ if outcome.wanted_terminal => Ended::WantsTerminal,
            Some(status @ (126 | 127)) => Ended::NotStarted(status),
            Some(status) => Ended::By(status),
            None => Ended::Lost(outcome.lost.clone().unwrap_or_else(|| "nobody knows why".to_owned())),
        }
    }
}

/// Everything that a run sent, and what was found in it.
fn read_back(session: &std::path::Path, engine: &Arc<Engine>) -> Result<(Observation, Vec<String>), LabError> {
    let file = File::open(session).map_err(LabError::File)?;
    let mut reader = SessionReader::open(file).map_err(LabError::Session)?;
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut lines = Vec::new();
    for index in 0..reader.len() {
        let (mut exchange, _) = reader.exchange(index).map_err(LabError::Session)?;
        lines.append(&mut exchange.lines);
        if !exchange.request.head.is_empty() {
            exchanges.push(exchange);
        }
    }
    let observation = observe(&exchanges, &mut Texts::default(), |exchange, request| {
        let mut flow = engine.open(exchange.id.clone(), request.clone());
        let mut secrets: Vec<String> = Vec::new();
        for part in exchange.parts() {
            let findings = flow.audit(part).findings;
            let secret = findings.iter().filter(|finding| finding.kind.starts_with("secret."));
            secrets.extend(
                secret
                    .flat_map(|finding| [Some(&finding.value), finding.observed.as_ref()])
                    .flatten()
                    .map(|value| value.to_string()),
            );
        }
        secrets.retain(|secret| !secret.is_empty());
        // A value that holds another is masked first, or what is left of it would show.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        secrets
    });
    Ok((observation, lines))
}

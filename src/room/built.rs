//! A room that stands: the sealed one, or the open one where that was allowed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::account::{Account, Keeper};
use super::control::Opened;
use super::dns::{Names, Resolver};
use super::door::Door;
use super::layout::{Layout, Shown};
use super::open::Open;
use super::outcome::Outcome;
use super::sealed::{Job, Sealed};
use super::{Git, Plan, RoomError, RoomOptions, Strength, mounts, tap, visible};
use crate::proxy::{Peer, Shared, Way, connection, listener};

/// Alive while held; dropping it ends every process inside.
pub struct Room {
    walls: Walls,
    door: Arc<Door>,
    proxy: std::net::TcpListener,
    address: SocketAddr,
    keeper: Arc<Keeper>,
    names: Arc<Names>,
    plan: Plan,
    strength: Strength,
    tasks: Vec<tokio::task::AbortHandle>,
}

enum Walls {
    Sealed(Sealed),
    Open(Open),
}

impl Room {
    /// What this machine allows, found out once by building a room.
    pub fn strength() -> Strength {
        static STRENGTH: OnceLock<Strength> = OnceLock::new();
        STRENGTH
            .get_or_init(|| match init_program(&RoomOptions::default()) {
                Ok(init) => Self::strength_by(&init),
                Err(error) => Strength::Weak(error.to_string()),
            })
            .clone()
    }

    /// The same by another program than this executable, and not remembered.
    pub fn strength_by(init: &Path) -> Strength {
        match trial(init) {
            Ok(opened) => strength_of(&opened),
            Err(error) => Strength::Weak(error.to_string()),
        }
    }

    pub async fn build(plan: Plan) -> Result<Self, RoomError> {
        Self::build_with(plan, RoomOptions::default()).await
    }

    pub async fn build_with(plan: Plan, options: RoomOptions) -> Result<Self, RoomError> {
        check(&plan)?;
        let layout = layout(&plan, &options);
        let init = init_program(&options)?;
        let keeper = Arc::new(Keeper::default());
        let built = tokio::task::spawn_blocking(move || Sealed::build(&init, layout)).await;
        let built = built.map_err(|_| RoomError::Plan("the building of the room was cut short".to_owned()))?;
        match built {
            Ok((sealed, sockets, opened)) => Self::sealed(plan, sealed, sockets, &opened, keeper),
            Err(error) if options.allow_open_network => {
                tracing::warn!(%error, "no sealed room: the network of the command is the machine's own");
                Self::open(plan, &options, keeper, error.to_string())
            }
            Err(error) => Err(error),
        }
    }

    fn sealed(
        plan: Plan,
        sealed: Sealed,
        sockets: Vec<OwnedFd>,
        opened: &Opened,
        keeper: Arc<Keeper>,
    ) -> Result<Self, RoomError> {
        let broken = |source| RoomError::Io { what: "its sockets cannot be used", source };
        let mut sockets = sockets.into_iter();
        let expected = 1 + opened.doors + opened.resolvers + usize::from(opened.tap);
        if sockets.len() != expected {
            return Err(broken(io::ErrorKind::InvalidData.into()));
        }
        let proxy =
            std::net::TcpListener::from(sockets.next().ok_or_else(|| broken(io::ErrorKind::InvalidData.into()))?);
        let address = proxy.local_addr().map_err(broken)?;
        let names = Arc::new(Names::default());
        let resolver = Arc::new(Resolver { names: names.clone(), keeper: keeper.clone(), ipv6: opened.resolvers > 1 });
        let doors: Vec<_> = sockets.by_ref().take(opened.doors).collect();
        let door = Arc::new(Door::new(doors, opened.translated, keeper.clone(), resolver.clone()).map_err(broken)?);
        let mut tasks = Vec::new();
        for socket in sockets.by_ref().take(opened.resolvers) {
            let serving = resolver.clone().serve(socket);
            tasks.push(
                tokio::spawn(async move {
                    if let Err(error) = serving.await {
                        tracing::warn!(%error, "the resolver of the room ended");
                    }
                })
                .abort_handle(),
            );
        }
        if let Some(socket) = sockets.next() {
            let own = plan.interface.as_ref().map(|interface| interface.address);
            tasks.push(tokio::spawn(tap::count(socket, address, own, keeper.clone())).abort_handle());
        }
        let strength = strength_of(opened);
        Ok(Self { walls: Walls::Sealed(sealed), door, proxy, address, keeper, names, plan, strength, tasks })
    }

    fn open(plan: Plan, options: &RoomOptions, keeper: Arc<Keeper>, missing: String) -> Result<Self, RoomError> {
        let broken = |source| RoomError::Io { what: "no socket for its proxy", source };
        let proxy = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).map_err(broken)?;
        proxy.set_nonblocking(true).map_err(broken)?;
        let address = proxy.local_addr().map_err(broken)?;
        let names = Arc::new(Names::default());
        let resolver = Arc::new(Resolver { names: names.clone(), keeper: keeper.clone(), ipv6: false });
        let door = Arc::new(Door::new(Vec::new(), false, keeper.clone(), resolver).map_err(broken)?);
        let walls = Walls::Open(Open::build(&plan, options)?);
        let strength = Strength::Weak(missing);
        Ok(Self { walls, door, proxy, address, keeper, names, plan, strength, tasks: Vec::new() })
    }

    /// How well this room holds.
    pub fn holds(&self) -> &Strength {
        &self.strength
    }

    /// Whether the network inside is loopback alone.
    pub fn is_sealed(&self) -> bool {
        matches!(self.walls, Walls::Sealed(_))
    }

    /// TCP that anything inside opens to any address and port arrives here.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Audits all that comes out of the room, until the room is dropped: at the door, and at the explicit proxy. `offered`
    /// says that the environment names the proxy, so that what comes to the door went around it.
    pub fn audit(&mut self, shared: &Arc<Shared>, offered: bool) -> io::Result<()> {
        let proxy = tokio::net::TcpListener::from_std(self.proxy.try_clone()?)?;
        self.tasks.push(tokio::spawn(listener::run(shared.clone(), proxy, std::future::pending())).abort_handle());
        let way = if offered { Way::Around } else { Way::Redirected };
        self.tasks.push(tokio::spawn(redirected(shared.clone(), self.door.clone(), way)).abort_handle());
        Ok(())
    }

    /// Where the explicit proxy is, as seen inside.
    pub fn proxy_address(&self) -> SocketAddr {
        self.address
    }

    /// Bound inside; to be accepted from here, in non-blocking mode.
    ///
    /// # Panics
    /// Where the process has no descriptor left.
    pub fn proxy_listener(&self) -> std::net::TcpListener {
        self.proxy.try_clone().expect("a process that has just built a room has a descriptor left")
    }

    /// Runs a command as planned: after `setup`, with the planned environment, in the working folder, within the time.
    pub async fn run(&self, command: &[OsString]) -> Outcome {
        self.run_with(command, &[]).await
    }

    /// The same with `variables` beside the planned environment: those that depend on where the proxy is.
    pub async fn run_with(&self, command: &[OsString], variables: &[(OsString, OsString)]) -> Outcome {
        let environment = self.environment(variables);
        if let Some(text) = &self.plan.setup {
            let shell = vec!["/bin/sh".into(), "-euc".into(), text.into()];
            let outcome = self.job(shell, environment.clone(), self.plan.home.clone(), false).await;
            if outcome.status != Some(0) {
                return outcome;
            }
        }
        self.job(command.to_vec(), environment, self.plan.cwd.clone(), self.plan.terminal).await
    }

    async fn job(
        &self,
        command: Vec<OsString>,
        environment: Vec<(OsString, OsString)>,
        cwd: PathBuf,
        terminal: bool,
    ) -> Outcome {
        let job = Job { command, environment, cwd, terminal, time_limit: Some(self.plan.time_limit) };
        match &self.walls {
            Walls::Sealed(sealed) => sealed.run(job).await,
            Walls::Open(open) => open.run(job).await,
        }
    }

    /// Runs a command on our own streams and terminal, with `variables` beside the planned environment, and gives its
    /// status; none where the room ended before it.
    pub async fn run_attached(
        &self,
        command: &[OsString],
        variables: &[(OsString, OsString)],
    ) -> io::Result<Option<i32>> {
        let job = Job {
            command: command.to_vec(),
            environment: self.environment(variables),
            cwd: self.plan.cwd.clone(),
            terminal: false,
            time_limit: None,
        };
        match &self.walls {
            Walls::Sealed(sealed) => sealed.run_attached(job).await,
            Walls::Open(open) => open.run_attached(job).await,
        }
    }

    /// Hands a signal to the command that runs.
    pub fn signal(&self, number: i32) {
        match &self.walls {
            Walls::Sealed(sealed) => sealed.signal(number),
            Walls::Open(open) => open.signal(number),
        }
    }

    /// What was seen so far.
    pub fn account(&self) -> Account {
        self.keeper.account(|address| self.names.name_of(address))
    }

    fn environment(&self, more: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
        let home = match &self.walls {
            Walls::Sealed(_) => self.plan.home.clone(),
            Walls::Open(open) => open.home(),
        };
        let mut all: Vec<(OsString, OsString)> =
            self.plan.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        all.extend_from_slice(more);
        for (name, value) in [
            ("HOME", home.as_os_str()),
            ("USER", OsStr::new(&self.plan.user)),
            ("LOGNAME", OsStr::new(&self.plan.user)),
        ] {
            if !all.iter().any(|(had, _)| had == name) {
                all.push((name.into(), value.into()));
            }
        }
        all
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Carries what comes to the door as if it were a tunnel to where it was meant to go.
async fn redirected(shared: Arc<Shared>, door: Arc<Door>, way: Way) {
    loop {
        match door.accept().await {
            Ok((tcp, destination)) => {
                let address = tcp.peer_addr().unwrap_or(destination);
                let host = door.name_of(destination.ip()).unwrap_or_else(|| destination.ip().to_string());
                let peer = Peer::at(address, way);
                tokio::spawn(connection::redirected(shared.clone(), tcp, peer, host, destination.port()));
            }
            // One client that broke off early says nothing about the next.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "no redirected connection could be accepted; trying again");
                // Out of descriptors: accepting at once again would only spin.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

fn strength_of(opened: &Opened) -> Strength {
    match opened.missing.is_empty() {
        true => Strength::Full,
        false => Strength::Weak(opened.missing.join("; ")),
    }
}

fn init_program(options: &RoomOptions) -> Result<PathBuf, RoomError> {
    match &options.init {
        Some(program) => Ok(program.clone()),
        None => {
            std::env::current_exe().map_err(|source| RoomError::Io { what: "divulge does not find itself", source })
        }
    }
}

fn check(plan: &Plan) -> Result<(), RoomError> {
    let wrong = |what: String| Err(RoomError::Plan(what));
    for (what, path) in [("the home folder", &plan.home), ("the working folder", &plan.cwd)] {
        if !mounts::usable(path) {
            return wrong(format!("{what} {} is no absolute path below the root", path.display()));
        }
    }
    let plain = |text: &str| !text.is_empty() && !text.contains([':', '\n', '\0', '/', ' ']);
    if !plain(&plan.user) {
        return wrong(format!("the user name {:?} cannot be one", plan.user));
    }
    if !plain(&plan.hostname) || plan.hostname.len() > 64 {
        return wrong(format!("the host name {:?} cannot be one", plan.hostname));
    }
    if let Some(interface) = &plan.interface {
        interface.mac_octets().map_err(RoomError::Plan)?;
        if interface.name.len() > 15 || !plain(&interface.name) {
            return wrong(format!("the interface {:?} cannot be called that", interface.name));
        }
    }
    let zones = Path::new("/usr/share/zoneinfo");
    let zone_is_fine = plan.timezone.split('/').all(|part| !part.is_empty() && part != "..");
    if !zone_is_fine || (zones.is_dir() && !zones.join(&plan.timezone).is_file()) {
        return wrong(format!("there is no time zone {:?}", plan.timezone));
    }
    if !zones.is_dir() && !matches!(plan.timezone.as_str(), "UTC" | "Etc/UTC") {
        return wrong(format!(
            "this machine has no time zones to set {} from (Debian: apt-get install tzdata)",
            plan.timezone
        ));
    }
    let branch = &plan.git.branch;
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if branch.contains(char::is_whitespace) || branch.split('/').any(bad_part) {
        return wrong(format!("the branch {branch:?} cannot be one"));
    }
    Ok(())
}

/// Under which number the person of an invented room is known.
const PERSON: u32 = 1000;

fn layout(plan: &Plan, options: &RoomOptions) -> Layout {
    let path = plan.environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path.as_str());
    let own_home = std::env::home_dir();
    // A home first: what is shown below it stands on it.
    let mut shown = Vec::new();
    if let Some(home) = &options.home {
        shown.push(Shown { path: home.clone(), at: plan.home.clone(), writable: true });
    }
    shown.extend(options.bind.iter().flat_map(|path| visible::shown(path, true)));
    shown.extend(visible::needed(OsStr::new(path), &options.command, own_home.as_deref()));
    shown.extend(options.show.iter().flat_map(|path| visible::shown(path, false)));
    let own = |number: u32| {
        if options.machine {
            number
        } else if plan.user == "root" {
            0
        } else {
            PERSON
        }
    };
    Layout {
        hostname: plan.hostname.clone(),
        timezone: plan.timezone.clone(),
        machine_id: plan.machine_id.clone(),
        user: plan.user.clone(),
        uid: own(nix::unistd::geteuid().as_raw()),
        gid: own(nix::unistd::getegid().as_raw()),
        home: plan.home.clone(),
        cwd: plan.cwd.clone(),
        git: (!options.machine).then(|| plan.git.clone()),
        interface: plan.interface.clone(),
        caught: options.catch.clone(),
        untranslated: options.untranslated,
        shown: visible::without_covered(shown),
        copied: options.copy.clone(),
        machine: options.machine,
    }
}

/// Builds a room and lets it go.
fn trial(init: &Path) -> Result<Opened, RoomError> {
    let plan = Plan {
        hostname: "trial".to_owned(),
        timezone: "UTC".to_owned(),
        machine_id: "0".repeat(32),
        user: "trial".to_owned(),
        home: "/home/trial".into(),
        cwd: "/home/trial/work".into(),
        git: Git { name: String::new(), email: String::new(), remote: String::new(), branch: "main".to_owned() },
        interface: Some(super::Interface {
            name: "eth0".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            address: IpAddr::from([10, 0, 0, 2]),
        }),
        environment: Vec::new(),
        setup: None,
        time_limit: std::time::Duration::ZERO,
        terminal: false,
    };
    let (_room, _sockets, opened) = Sealed::build(init, layout(&plan, &RoomOptions::default()))?;
    Ok(opened)
}

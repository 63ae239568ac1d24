//! Puts the CA certificate into the trust stores of the system and of browsers, and takes it out again.
//!
//! Every change is first a list of [`Step`]s, which `--dry-run` prints and [`carry_out`] does. Both directions
//! look before they change anything, so doing them twice changes nothing, and each undoes the other fully.
//!
//! Tested: Debian's store and NSS databases. Written to the tools' documentation and untested: Fedora, Arch
//! and openSUSE, the keychain of macOS, the certificate store of Windows.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::encode_pem;

/// A CA certificate as stores know it.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its common name, `divulge CA 1a2b3c4d`: the name under which it is filed.
    pub name: String,
    pub der: CertificateDer<'static>,
    /// Where it lies as PEM, for tools that take a file.
    pub file: PathBuf,
}

impl Certificate {
    /// `divulge-ca-1a2b3c4d`, letters, digits and hyphens alone.
    fn stem(&self) -> String {
        let stem: String = self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        stem.to_ascii_lowercase()
    }
}

/// One change to a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    Write { path: PathBuf, text: String },
    Remove { path: PathBuf },
    Run { program: PathBuf, arguments: Vec<OsString> },
}

impl fmt::Display for Step {
    /// As a shell would do it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Write { path, text } => write!(f, "write {} ({} bytes)", quoted(path), text.len()),
            Step::Remove { path } => write!(f, "rm {}", quoted(path)),
            Step::Run { program, arguments } => {
                write!(f, "{}", quoted(program))?;
                arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(Path::new(argument))))
            }
        }
    }
}

fn quoted(text: &Path) -> String {
    let text = text.to_string_lossy();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=+,@".contains(&b)) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Where stores are looked for. Tests give a machine of their own.
#[derive(Clone, Debug)]
pub struct Place {
    pub root: PathBuf,
    pub home: Option<PathBuf>,
    /// Folders in which programs are looked for.
    pub programs: Vec<PathBuf>,
}

impl Place {
    /// This machine.
    pub fn here() -> Place {
        let mut programs: Vec<PathBuf> =
            std::env::var_os("PATH").iter().flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>()).collect();
        // Where the tools of administrators are, whether the user's PATH names it or not.
        if cfg!(unix) {
            programs.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
        }
        let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE")).map(PathBuf::from);
        Place { root: PathBuf::from("/"), home, programs }
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        self.programs.iter().map(|folder| folder.join(&name)).find(|path| path.is_file())
    }
}

/// A place where trusted certificates are kept.
#[derive(Clone, Debug)]
pub struct Store {
    /// For people: `system store (/usr/local/share/ca-certificates)`.
    pub name: String,
    /// Belongs to the machine and so needs root, else to the user.
    pub of_system: bool,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A folder of certificates, and the program that makes a bundle of it.
    Anchors {
        folder: PathBuf,
        extension: &'static str,
        program: PathBuf,
        add: &'static [&'static str],
        remove: &'static [&'static str],
    },
    /// `certutil -d sql:DIR`; without certutil nothing can be done.
    Nss {
        certutil: Option<PathBuf>,
        database: OsString,
    },
    Keychain {
        security: PathBuf,
    },
    Windows {
        certutil: PathBuf,
    },
}

/// Folder, extension, program, its arguments after adding and after removing.
type Anchors = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const ANCHORS: [Anchors; 4] = [
    // Debian, Ubuntu, Alpine. Without `--fresh` the links of a certificate that is gone stay behind.
    ("/usr/local/share/ca-certificates", "crt", "update-ca-certificates", &[], &["--fresh"]),
    // Fedora, RHEL
    ("/etc/pki/ca-trust/source/anchors", "pem", "update-ca-trust", &["extract"], &["extract"]),
    // Arch
    ("/etc/ca-certificates/trust-source/anchors", "crt", "trust", &["extract-compat"], &["extract-compat"]),
    // openSUSE
    ("/usr/share/pki/trust/anchors", "pem", "update-ca-certificates", &[], &["--fresh"]),
];

/// Folders under the home folder that hold an NSS database, or (`true`) one in each folder below.
const DATABASES: [(&str, bool); 9] = [
    (".pki/nssdb", false),
    ("snap/chromium/current/.pki/nssdb", false),
    (".mozilla/firefox", true),
    (".config/mozilla/firefox", true),
    ("snap/firefox/common/.mozilla/firefox", true),
    (".var/app/org.mozilla.firefox/.mozilla/firefox", true),
    (".librewolf", true),
    ("Library/Application Support/Firefox/Profiles", true),
    ("AppData/Roaming/Mozilla/Firefox/Profiles", true),
];

/// The stores there are.
pub fn stores(place: &Place) -> Vec<Store> {
    let mut stores = Vec::new();
    for (folder, extension, program, add, remove) in ANCHORS {
        let folder = place.path(folder);
        if let (true, Some(program)) = (folder.is_dir(), place.program(program)) {
            let name = format!("system store ({})", folder.display());
            stores.push(Store {
                name,
                of_system: true,
                kind: Kind::Anchors { folder, extension, program, add, remove },
            });
            break;
        }
    }
    if cfg!(target_os = "macos")
        && let Some(security) = place.program("security")
    {
        let name = "system keychain".to_owned();
        stores.push(Store { name, of_system: true, kind: Kind::Keychain { security } });
    }
    if cfg!(windows)
        && let Some(certutil) = place.program("certutil")
    {
        let name = "certificate store of the user".to_owned();
        stores.push(Store { name, of_system: false, kind: Kind::Windows { certutil } });
    }
    // Windows has a program of the same name for something else.
    let certutil = if cfg!(windows) { None } else { place.program("certutil") };
    for folder in place.home.iter().flat_map(|home| databases(home)) {
        // cert9.db is SQLite, cert8.db the format before it.
        let prefix = if folder.join("cert9.db").is_file() { "sql:" } else { "dbm:" };
        let mut database = OsString::from(prefix);
        database.push(&folder);
        let name = format!("browser store ({})", folder.display());
        stores.push(Store { name, of_system: false, kind: Kind::Nss { certutil: certutil.clone(), database } });
    }
    stores
}

fn databases(home: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (path, below) in DATABASES {
        let folder = home.join(path);
        if below {
            found.extend(fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else {
            found.push(folder);
        }
    }
    found.retain(|folder| folder.join("cert9.db").is_file() || folder.join("cert8.db").is_file());
    found.sort();
    found
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("certutil is missing: `apt install libnss3-tools`, `dnf install nss-tools` or `brew install nss`")]
    NoCertutil,
    #[error("cannot do `{step}`{}", hint(source))]
    Step { step: Box<Step>, source: io::Error },
    #[error("`{step}` failed ({status}): {said}")]
    Failed { step: Box<Step>, status: std::process::ExitStatus, said: String },
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { " (the system store needs root: use sudo)" } else { "" }
}

impl Store {
    /// Whether `certificate` is trusted here, byte for byte.
    pub fn holds(&self, certificate: &Certificate) -> Result<bool, StoreError> {
        match &self.kind {
            Kind::Anchors { .. } => Ok(self.anchor(certificate).is_some_and(|path| same(&path, certificate))),
            Kind::Nss { certutil, database } => {
                let certutil = certutil.as_ref().ok_or(StoreError::NoCertutil)?;
                let list = run_step(
                    certutil,
                    [
                        &"-d".into(),
                        database,
                        &"-L".into(),
                        &"-a".into(),
                        &"-n".into(),
                        &certificate.name.clone().into(),
                    ],
                );
                let output = output(&list)?;
                Ok(output.status.success()
                    && CertificateDer::pem_slice_iter(&output.stdout).flatten().any(|found| found == certificate.der))
            }
            Kind::Keychain { security } => {
                let find = strings(security, &["find-certificate", "-c", &certificate.name, KEYCHAIN]);
                Ok(output(&find)?.status.success())
            }
            Kind::Windows { certutil } => {
                let find = strings(certutil, &["-user", "-store", "Root", &certificate.name]);
                Ok(output(&find)?.status.success())
            }
        }
    }

    /// What makes `certificate` trusted here; nothing where it is already.
    pub fn to_install(&self, certificate: &Certificate) -> Result<Vec<Step>, StoreError> {
        if self.holds(certificate)? {
            return Ok(Vec::new());
        }
        Ok(match &self.kind {
            Kind::Anchors { program, add, .. } => {
                let path = self.anchor(certificate).unwrap_or_default();
                vec![Step::Write { path, text: encode_pem(&certificate.der) }, strings(program, add)]
            }
            Kind::Nss { certutil, database } => {
                let certutil = certutil.as_ref().ok_or(StoreError::NoCertutil)?;
                // `C`: an issuer trusted for TLS servers, and for nothing else.
                let flags = ["-A", "-t", "C,,", "-n", &certificate.name, "-i"].map(OsString::from);
                let file = certificate.file.clone().into_os_string();
                vec![run_step(certutil, [&OsString::from("-d"), database].into_iter().chain(&flags).chain([&file]))]
            }
            Kind::Keychain { security } => {
                let file = certificate.file.to_string_lossy();
                let trust = ["add-trusted-cert", "-d", "-r", "trustRoot", "-p", "ssl", "-k", KEYCHAIN, &file];
                vec![strings(security, &trust)]
            }
            Kind::Windows { certutil } => {
                let file = certificate.file.to_string_lossy();
                vec![strings(certutil, &["-user", "-addstore", "-f", "Root", &file])]
            }
        })
    }

    /// What makes this store forget `certificate`; nothing where it does not hold it.
    pub fn to_uninstall(&self, certificate: &Certificate) -> Result<Vec<Step>, StoreError> {
        if !self.holds(certificate)? {
            return Ok(Vec::new());
        }
        Ok(match &self.kind {
            Kind::Anchors { program, remove, .. } => {
                let path = self.anchor(certificate).unwrap_or_default();
                vec![Step::Remove { path }, strings(program, remove)]
            }
            Kind::Nss { certutil, database } => {
                let certutil = certutil.as_ref().ok_or(StoreError::NoCertutil)?;
                let flags = ["-D", "-n", &certificate.name].map(OsString::from);
                vec![run_step(certutil, [&OsString::from("-d"), database].into_iter().chain(&flags))]
            }
            Kind::Keychain { security } => {
                vec![strings(security, &["delete-certificate", "-c", &certificate.name, "-t", KEYCHAIN])]
            }
            Kind::Windows { certutil } => {
                vec![strings(certutil, &["-user", "-delstore", "Root", &certificate.name])]
            }
        })
    }

    /// The file of `certificate` in a folder of anchors.
    fn anchor(&self, certificate: &Certificate) -> Option<PathBuf> {
        match &self.kind {
            Kind::Anchors { folder, extension, .. } => Some(folder.join(format!("{}.{extension}", certificate.stem()))),
            _ => None,
        }
    }
}

const KEYCHAIN: &str = "/Library/Keychains/System.keychain";

fn same(path: &Path, certificate: &Certificate) -> bool {
    fs::read(path).is_ok_and(|text| CertificateDer::from_pem_slice(&text).is_ok_and(|found| found == certificate.der))
}

fn strings(program: &Path, arguments: &[&str]) -> Step {
    Step::Run { program: program.to_owned(), arguments: arguments.iter().map(OsString::from).collect() }
}

fn run_step<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a OsString>) -> Step {
    Step::Run { program: program.to_owned(), arguments: arguments.into_iter().cloned().collect() }
}

fn output(step: &Step) -> Result<std::process::Output, StoreError> {
    let Step::Run { program, arguments } = step else { unreachable!("only commands have an output") };
    // No terminal: a database with a password fails instead of waiting for it.
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| StoreError::Step { step: Box::new(step.clone()), source })
}

/// Does `steps` in order and stops at the first that fails.
pub fn carry_out(steps: &[Step]) -> Result<(), StoreError> {
    for step in steps {
        let failed = |source| StoreError::Step { step: Box::new(step.clone()), source };
        match step {
            Step::Write { path, text } => fs::write(path, text).map_err(failed)?,
            Step::Remove { path } => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            },
            Step::Run { .. } => {
                let output = output(step)?;
                if !output.status.success() {
                    let said = String::from_utf8_lossy(&output.stderr).trim().replace(char::is_control, " ");
                    return Err(StoreError::Failed { step: Box::new(step.clone()), status: output.status, said });
                }
            }
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::ca::test_server::have;
    use crate::ca::{Authority, Scope};

    fn certificate(state: &Path) -> Certificate {
        let scope = Scope::Suffix("example.com".into());
        let authority = Authority::open_or_create(state, None, &scope).unwrap();
        Certificate {
            name: authority.description().name.clone(),
            der: authority.certificates()[0].clone(),
            file: state.join("ca.pem"),
        }
    }

    fn install(store: &Store, certificate: &Certificate) {
        let steps = store.to_install(certificate).unwrap();
        assert!(!steps.is_empty());
        carry_out(&steps).unwrap();
        assert!(store.holds(certificate).unwrap());
        assert_eq!(store.to_install(certificate).unwrap(), [], "a second time there is nothing to do");
    }

    fn uninstall(store: &Store, certificate: &Certificate) {
        carry_out(&store.to_uninstall(certificate).unwrap()).unwrap();
        assert!(!store.holds(certificate).unwrap());
        assert_eq!(store.to_uninstall(certificate).unwrap(), [], "a second time there is nothing to do");
    }

    #[test]
    fn debians_store_gets_one_file_and_loses_it_again() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let anchors = dir.path().join("usr/local/share/ca-certificates");
        let programs = dir.path().join("bin");
        fs::create_dir_all(&anchors).unwrap();
        fs::create_dir_all(&programs).unwrap();
        fs::write(anchors.join("corporate.crt"), "kept").unwrap();
        // Stands in for Debian's program: it notes what it was called with.
        let tool = programs.join("update-ca-certificates");
        fs::write(&tool, format!("#!/bin/sh\necho \"called $*\" >> {}/log\n", dir.path().display())).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();

        let place = Place { root: dir.path().to_owned(), home: None, programs: vec![programs] };
        let stores = stores(&place);
        let [store] = &stores[..] else { panic!("{stores:?}") };
        let certificate = certificate(&dir.path().join("state"));
        install(store, &certificate);
        assert_eq!(fs::read_dir(&anchors).unwrap().count(), 2);
        uninstall(store, &certificate);
        assert_eq!(fs::read_dir(&anchors).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), "called \ncalled --fresh\n");
    }

    #[test]
    fn an_nss_database_trusts_the_ca_for_servers_until_it_is_taken_out() {
        if !have("certutil") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let here = Place { home: Some(home.clone()), root: dir.path().to_owned(), ..Place::here() };
        for path in [".pki/nssdb", ".mozilla/firefox/ab12.default"] {
            let folder = home.join(path);
            fs::create_dir_all(&folder).unwrap();
            let mut database = OsString::from("sql:");
            database.push(&folder);
            let made = Command::new("certutil").args(["-N", "--empty-password", "-d"]).arg(database).status().unwrap();
            assert!(made.success());
        }
        let stores = stores(&here);
        assert_eq!(stores.len(), 2, "{stores:?}");
        let certificate = certificate(&dir.path().join("state"));
        for store in &stores {
            install(store, &certificate);
            assert_eq!(trusted(&dir.path().join("state"), store), [true, false], "{}", store.name);
            uninstall(store, &certificate);
            assert_eq!(trusted(&dir.path().join("state"), store), [false, false], "{}", store.name);
        }
    }

    /// Whether NSS takes a leaf in the CA's scope, and one outside it.
    fn trusted(state: &Path, store: &Store) -> [bool; 2] {
        let Kind::Nss { database, .. } = &store.kind else { panic!() };
        let authority = Authority::open(state).unwrap().unwrap();
        ["api.example.com", "example.org"].map(|host| {
            let pem = encode_pem(&authority.leaf_past_scope(host));
            let file = state.join("leaf.pem");
            fs::write(&file, pem).unwrap();
            let certutil =
                |arguments: &[&str]| Command::new("certutil").arg("-d").arg(database).args(arguments).output().unwrap();
            certutil(&["-A", "-t", ",,", "-n", host, "-i", file.to_str().unwrap()]);
            let valid = certutil(&["-V", "-u", "V", "-n", host]).status.success();
            certutil(&["-D", "-n", host]);
            valid
        })
    }

    #[test]
    fn a_database_without_certutil_says_what_to_install() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(".pki/nssdb");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cert9.db"), "").unwrap();
        let place = Place { root: dir.path().into(), home: Some(dir.path().into()), programs: Vec::new() };
        let certificate = certificate(&dir.path().join("state"));
        let error = stores(&place)[0].to_install(&certificate).unwrap_err();
        assert!(error.to_string().contains("libnss3-tools"), "{error}");
    }

    #[test]
    fn steps_print_as_a_shell_takes_them() {
        let step = strings(Path::new("/usr/bin/certutil"), &["-n", "divulge CA 1", "it's"]);
        assert_eq!(step.to_string(), r"/usr/bin/certutil -n 'divulge CA 1' 'it'\''s'");
    }
}

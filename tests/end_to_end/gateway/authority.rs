//! Another CA takes over while clients come: no moment at which one that did as it was told is refused.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::{curl, gateway, statuses};
use crate::common::divulge::{Ended, run};
use crate::common::upstream::Upstream;
use crate::common::{Authority, Divulge, HOST, Route, bounded, soon};

const REFUSED: &str = "200 000";
const SERVED: &str = "200 200";

async fn ca(divulge: &Divulge, arguments: &[&str]) -> Ended {
    let state = format!("--state={}", divulge.state().display());
    let ended = run(&[&["ca"], arguments, &[&state]].concat()).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.err);
    ended
}

/// What a client that trusts the certificates in `file` gets.
async fn trusting(divulge: &Divulge, file: &Path) -> String {
    let ended = curl(file, &["-x", &format!("http://{}", divulge.address)]).await;
    statuses(&ended).to_owned()
}

/// Waits until divulge has said so many times that another CA signs.
async fn taken_over(divulge: &Divulge, times: usize) {
    soon("another CA to sign", async {
        while divulge.errors().matches("another CA signs").count() < times {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn a_ca_that_is_to_follow_is_published_before_it_signs() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = gateway(&authority, upstream.address).start().await;
        let copy = |name: &str, text: &[u8]| {
            let path = divulge.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let old = copy("old.pem", &std::fs::read(divulge.ca_file()).unwrap());
        let announced = ca(&divulge, &["rotate", "--overlap=30", "--ca-scope=any"]).await;
        assert!(announced.out.contains("until then"), "{}", announced.out);
        let both = copy("both.pem", ca(&divulge, &["export"]).await.out.as_bytes());
        let bundle = std::fs::read_to_string(&both).unwrap();
        assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2, "{bundle}");
        let new = copy("new.pem", bundle.strip_prefix(&std::fs::read_to_string(&old).unwrap()).unwrap().as_bytes());
        assert!(ca(&divulge, &["show"]).await.out.contains("next  "));

        // A connection that began before it.
        let mut early = Route::through(&divulge).trusting(old.clone()).http1().await;
        for (file, expected) in [(&old, SERVED), (&both, SERVED), (&new, REFUSED)] {
            assert_eq!(trusting(&divulge, file).await, expected, "during the overlap: {}", file.display());
        }

        // The time is up: a line of the file says when that is.
        let file = divulge.state().join("ca-next.pem");
        let text = std::fs::read_to_string(&file).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let label = first.split_once(": ").unwrap().0;
        std::fs::write(&file, format!("{label}: 2020-01-01T00:00:00Z\n{rest}")).unwrap();
        taken_over(&divulge, 1).await;
        for (file, expected) in [(&old, REFUSED), (&both, SERVED), (&new, SERVED)] {
            assert_eq!(trusting(&divulge, file).await, expected, "after it: {}", file.display());
        }
        early.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(early.response().await.status, 200, "a connection was cut by the change");
        assert_eq!(std::fs::read(divulge.ca_file()).unwrap(), std::fs::read(&new).unwrap());
        assert!(ca(&divulge, &["show"]).await.out.contains("ca uninstall --old"));

        // Without overlap the change counts at once, and what had been announced does not come any more.
        ca(&divulge, &["rotate", "--overlap=30", "--ca-scope=any"]).await;
        ca(&divulge, &["rotate", "--ca-scope=any"]).await;
        taken_over(&divulge, 2).await;
        assert_eq!(trusting(&divulge, &divulge.ca_file()).await, SERVED);
        assert_eq!(trusting(&divulge, &both).await, REFUSED);
        assert!(!divulge.state().join("ca-next.key").exists());
    });
}

/// The CA of a company, which has intermediates made for gateways.
struct Company {
    folder: tempfile::TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Company {
    fn new() -> Self {
        let root = CertifiedIssuer::self_signed(Self::ca("Company"), KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root.pem"), root.pem()).unwrap();
        Self { folder, root }
    }

    fn ca(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts an intermediate where the gateway looks for it, with the chain above it.
    fn intermediate(&self, name: &str) {
        use std::os::unix::fs::PermissionsExt;
        let key = KeyPair::generate().unwrap();
        let certificate = Self::ca(name).signed_by(&key, &self.root).unwrap();
        // Whole and by a rename, both, as whatever distributes files does.
        for (file, text) in
            [("gateway.key", key.serialize_pem()), ("gateway.pem", certificate.pem() + &self.root.pem())]
        {
            let new = self.file("new");
            std::fs::write(&new, text).unwrap();
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(&new, self.file(file)).unwrap();
        }
    }
}

/// Who signed what the gateway shows to a client that trusts the company's root alone.
async fn issuer(divulge: &Divulge, root: &Path) -> String {
    let proxy = format!("http://{}", divulge.address);
    let ended = curl(root, &["-x", &proxy, "-v"]).await;
    assert_eq!(statuses(&ended), SERVED, "{}", ended.err);
    let line = ended.err.lines().rev().find_map(|line| line.trim_start_matches(['*', ' ']).strip_prefix("issuer: "));
    line.unwrap_or_else(|| panic!("no issuer: {}", ended.err)).to_owned()
}

#[test]
fn another_intermediate_of_the_companys_root_takes_over_unnoticed() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let company = Company::new();
        company.intermediate("Gateways 1");
        let divulge = gateway(&authority, upstream.address)
            .arg(format!("--ca-cert={}", company.file("gateway.pem").display()))
            .arg(format!("--ca-key={}", company.file("gateway.key").display()))
            .start()
            .await;
        let root = company.file("root.pem");
        assert!(issuer(&divulge, &root).await.contains("Gateways 1"));
        let mut early = Route::through(&divulge).trusting(root.clone()).http1().await;
        company.intermediate("Gateways 2");
        taken_over(&divulge, 1).await;
        assert!(issuer(&divulge, &root).await.contains("Gateways 2"));
        early.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(early.response().await.status, 200, "a connection was cut by the change");

        // Half of a pair changes nothing, and what is wrong is said.
        std::fs::write(company.file("gateway.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        divulge.wait_for_error("does not belong to the private key").await;
        assert!(issuer(&divulge, &root).await.contains("Gateways 2"));
    });
}

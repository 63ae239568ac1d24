//! What others think of the CA: openssl, python, curl and rustls, beside our own reading of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::Barrier;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

use super::test_server::{have, serve};
use super::*;

fn packs() -> Scope {
    Scope::Packs(vec!["api.example.com".into(), "*.pack.example.org".into()])
}

fn state() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn failure<T>(result: Result<T, CaError>) -> String {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.to_string(),
    }
}

fn leaf_der(authority: &Authority, host: &str) -> CertificateDer<'static> {
    authority.leaf_past_scope(host)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn verify_with_rustls(authority: &Authority, host: &str) -> Result<(), rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificates().last().unwrap().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let leaf = leaf_der(authority, host);
    let name = ServerName::try_from(host.to_owned()).unwrap();
    use rustls::client::danger::ServerCertVerifier;
    verifier.verify_server_cert(&leaf, &authority.leaves_chain(), &name, &[], UnixTime::now()).map(|_| ())
}

fn verify_with_openssl(authority: &Authority, host: &str) -> Output {
    let dir = state();
    let (ca, leaf) = (dir.path().join("ca.pem"), dir.path().join("leaf.pem"));
    fs::write(&ca, authority.certificate_pem()).unwrap();
    fs::write(&leaf, root::encode_pem(&leaf_der(authority, host))).unwrap();
    let named = if host.parse::<std::net::IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    let strict = ["verify", "-x509_strict", "-purpose", "sslserver", named, host, "-CAfile"];
    Command::new("openssl").args(strict).arg(&ca).arg(&leaf).output().unwrap()
}

fn says(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Host, and whether the CA of [`packs`] may speak for it.
const HOSTS: [(&str, bool); 8] = [
    ("api.example.com", true),
    ("eu.api.example.com", true),
    ("a.b.pack.example.org", true),
    ("example.com", false),
    ("notapi.example.com", false),
    ("example.net", false),
    ("192.0.2.1", false),
    ("2001:db8::1", false),
];

#[test]
fn the_scope_holds_for_us_and_for_rustls_and_openssl_alike() {
    let dir = state();
    let authority = Authority::open_or_create(dir.path(), None, &packs()).unwrap();
    let mut wrong = Vec::new();
    for (host, permitted) in HOSTS {
        if authority.permits(host) != permitted {
            wrong.push(format!("{host}: permits says {}", !permitted));
        }
        let rustls = verify_with_rustls(&authority, host);
        if rustls.is_ok() != permitted {
            wrong.push(format!("{host}: rustls says {rustls:?}"));
        }
        if authority.server_config(host, None).is_ok() != permitted {
            wrong.push(format!("{host}: server_config does not agree"));
        }
        if have("openssl") {
            let openssl = verify_with_openssl(&authority, host);
            if openssl.status.success() != permitted {
                wrong.push(format!("{host}: openssl says {}", says(&openssl)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_constraints_every_name_and_address_is_good() {
    let authority = Authority::in_memory().unwrap();
    for host in ["example.net", "localhost", "under_score.example.com", "192.0.2.1", "2001:db8::1"] {
        assert!(authority.permits(host), "{host}");
        // webpki takes no underscores in the names it is asked for.
        if !host.contains('_') {
            verify_with_rustls(&authority, host).unwrap();
        }
        if have("openssl") {
            let openssl = verify_with_openssl(&authority, host);
            assert!(openssl.status.success(), "{host}: {}", says(&openssl));
        }
    }
    assert!(authority.permits("[2001:db8::1]"));
    let long = format!("{}.example.com", vec!["a".repeat(60); 3].join("."));
    verify_with_rustls(&authority, &long).unwrap();
}

#[test]
fn curl_and_python_take_a_host_in_scope_and_refuse_one_outside_it() {
    let dir = state();
    let authority = Authority::open_or_create(dir.path(), None, &packs()).unwrap();
    let ca = dir.path().join("ca.pem");
    for (host, permitted) in [("api.example.com", true), ("example.net", false)] {
        let host_read = Host::read(host).unwrap();
        let address = serve(authority.leaves.config(&host_read, Some(b"http/1.1")).unwrap());
        if have("curl") {
            let url = format!("https://{host}/");
            let to = format!("::127.0.0.1:{}", address.port());
            let curl = Command::new("curl")
                .env_clear()
                .args(["-sS", "--max-time", "20", "--cacert"])
                .arg(&ca)
                .args(["--connect-to", &to, &url])
                .output()
                .unwrap();
            assert_eq!(curl.status.success(), permitted, "curl on {host}: {}", says(&curl));
        }
        if have("python3") {
            let script = "import socket,ssl,sys\n\
                          c=ssl.create_default_context(cafile=sys.argv[1]); c.verify_flags|=ssl.VERIFY_X509_STRICT\n\
                          s=socket.create_connection(('127.0.0.1',int(sys.argv[2])),20)\n\
                          print(c.wrap_socket(s,server_hostname=sys.argv[3]).getpeercert()['subjectAltName'])";
            let python = Command::new("python3")
                .args(["-c", script])
                .arg(&ca)
                .args([&address.port().to_string(), host])
                .output()
                .unwrap();
            assert_eq!(python.status.success(), permitted, "python on {host}: {}", says(&python));
        }
    }
}

#[test]
fn a_leaf_is_what_verifiers_want() {
    let authority = Authority::in_memory().unwrap();
    let a = leaf_der(&authority, "api.example.com");
    let b = leaf_der(&authority, "api.example.com");
    let (_, leaf) = X509Certificate::from_der(&a).unwrap();
    let (_, again) = X509Certificate::from_der(&b).unwrap();
    let (_, ca) = X509Certificate::from_der(&authority.certificates()[0]).unwrap();

    leaf.verify_signature(Some(ca.public_key())).unwrap();
    assert_ne!(leaf.serial, again.serial, "two leaves of one key need two serials");
    assert_ne!(leaf.public_key().raw, ca.public_key().raw, "the CA's key is no leaf's");
    assert_eq!(leaf.issuer().as_raw(), ca.subject().as_raw());
    assert_eq!(leaf.subject().to_string(), "CN=api.example.com");
    assert!(leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
    assert!(!leaf.basic_constraints().unwrap().unwrap().value.ca);
    assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names.len(), 1);

    let usage = ca.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    let basic = ca.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint == Some(0));
    let validity = ca.validity();
    let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
    assert!(days <= 825, "{days} days");
    assert!(ca.subject().to_string().contains("CN=divulge CA "));
}

#[test]
fn the_leaf_that_a_client_meets_is_for_one_host_and_one_week() {
    use rustls::pki_types::IpAddr;
    use x509_parser::extensions::GeneralName;
    let authority = Authority::in_memory().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificates()[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
    let (_, ca) = X509Certificate::from_der(&authority.certificates()[0]).unwrap();
    let mut serials = std::collections::HashSet::new();
    for host in ["api.example.com", "localhost", "192.0.2.7", "2001:db8::7"] {
        let (met, _) = handshake(&client, &authority.server_config(host, None).unwrap(), host);
        let shown = met.peer_certificates().unwrap();
        let (_, leaf) = X509Certificate::from_der(&shown[0]).unwrap();
        let octets = match ServerName::try_from(host).unwrap() {
            ServerName::IpAddress(IpAddr::V4(v4)) => v4.as_ref().to_vec(),
            ServerName::IpAddress(IpAddr::V6(v6)) => v6.as_ref().to_vec(),
            _ => Vec::new(),
        };
        let name = if octets.is_empty() { GeneralName::DNSName(host) } else { GeneralName::IPAddress(&octets) };
        assert_eq!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names, [name], "{host}");
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.any && !usage.client_auth && usage.other.is_empty(), "{host}");
        assert!(!leaf.is_ca(), "{host}");
        let usage = leaf.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign(), "{host}");
        assert_ne!(leaf.public_key().raw, ca.public_key().raw, "{host}: the CA's key");
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let (from, until) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        assert!((now - from - 86_400).abs() < 60, "{host}: backdated by {} s", now - from);
        assert!((until - now - 7 * 86_400).abs() < 60, "{host}: valid for {} s", until - now);
        assert!(leaf.raw_serial().len() == 16 && serials.insert(leaf.raw_serial().to_vec()), "{host}: the serial");
    }
}

#[test]
fn files_are_private_from_the_start_and_come_back_as_the_same_ca() {
    let dir = state();
    let inner = dir.path().join("a/state");
    let made = Authority::open_or_create(&inner, None, &packs()).unwrap();
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&dir.path().join("a")), 0o700);
    assert_eq!(mode(&inner.join("ca.key")), 0o600);
    let opened = Authority::open(&inner).unwrap().unwrap();
    assert_eq!(made.description().fingerprint, opened.description().fingerprint);
    let names: Vec<_> = fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(!fs::read_to_string(inner.join("ca.pem")).unwrap().contains("PRIVATE"));
}

#[test]
fn an_empty_folder_is_closed_and_one_that_anybody_writes_is_refused() {
    let dir = state();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o777)).unwrap();
    Authority::open_or_create(&empty, None, &packs()).unwrap();
    assert_eq!(mode(&empty), 0o700);

    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::write(open.join("other"), "").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let message = failure(Authority::open_or_create(&open, None, &packs()));
    assert!(message.contains("chmod 700"), "{message}");
}

#[test]
fn another_scope_than_the_ca_has_is_refused_and_rotation_changes_it() {
    let dir = state();
    let path = dir.path();
    let first = Authority::open_or_create(path, Some(&packs()), &packs()).unwrap();
    let suffix = Scope::Suffix("example.net".into());
    for other in [&Scope::Any, &suffix] {
        let message = failure(Authority::open_or_create(path, Some(other), &packs()));
        assert!(message.contains("divulge ca rotate") && message.contains("packs"), "{message}");
    }
    // Packs grow; the CA stays a CA for packs.
    let grown = Scope::Packs(vec!["new.example.com".into()]);
    Authority::open_or_create(path, Some(&grown), &grown).unwrap();

    let old_key = fs::read(path.join("ca.key")).unwrap();
    let second = Authority::rotate(path, &suffix).unwrap();
    assert_ne!(first.description().fingerprint, second.description().fingerprint);
    assert_ne!(old_key, fs::read(path.join("ca.key")).unwrap());
    assert_eq!(second.description().scope(), "example.net");
    Authority::open_or_create(path, Some(&suffix), &packs()).unwrap();
    assert_eq!(fs::read_dir(path).unwrap().count(), 2);

    assert!(Authority::remove(path).unwrap());
    assert!(!Authority::remove(path).unwrap());
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    assert!(Authority::open(path).unwrap().is_none());
}

#[test]
fn processes_that_race_for_a_new_folder_get_one_ca() {
    // Threads here, but each opens and locks the folder for itself, as processes do.
    let dir = state();
    let path = dir.path().join("state");
    let start = Barrier::new(8);
    let fingerprints: Vec<_> = std::thread::scope(|scope| {
        let open = || {
            start.wait();
            Authority::open_or_create(&path, None, &packs()).unwrap().description().fingerprint
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(fingerprints.iter().all(|found| *found == fingerprints[0]));
}

#[test]
fn files_that_cannot_serve_are_refused_with_path_and_way_out() {
    let good = state();
    Authority::open_or_create(good.path(), None, &packs()).unwrap();
    let other = state();
    Authority::open_or_create(other.path(), None, &packs()).unwrap();
    let pem = fs::read_to_string(good.path().join("ca.pem")).unwrap();
    let key = fs::read_to_string(good.path().join("ca.key")).unwrap();
    let other_key = fs::read_to_string(other.path().join("ca.key")).unwrap();
    // One bit of the signature, near the end of the certificate.
    let mut der = <[u8]>::to_vec(&Authority::open(good.path()).unwrap().unwrap().certificates()[0]);
    let near_end = der.len() - 10;
    der[near_end] ^= 1;
    let flipped = root::encode_pem(&der.into());
    let leaf = root::encode_pem(&leaf_der(&Authority::open(good.path()).unwrap().unwrap(), "api.example.com"));

    let cases = [
        ("cut certificate", pem[..200].to_owned(), key.clone(), 0o600, "ca.pem is damaged"),
        ("empty certificate", String::new(), key.clone(), 0o600, "holds no certificate"),
        ("no base64", pem.replace('M', "!"), key.clone(), 0o600, "ca.pem is damaged"),
        ("flipped signature bit", flipped, key.clone(), 0o600, "its signature does not fit"),
        ("a leaf", leaf, key.clone(), 0o600, "does not belong to the private key"),
        ("another's key", pem.clone(), other_key, 0o600, "does not belong to the private key"),
        ("cut key", pem.clone(), key[..60].to_owned(), 0o600, "ca.key is damaged"),
        ("no key", pem.clone(), pem.clone(), 0o600, "holds no private key"),
        ("open key", pem.clone(), key.clone(), 0o640, "chmod 600"),
    ];
    for (name, pem, key, bits, expected) in cases {
        let dir = state();
        fs::write(dir.path().join("ca.pem"), pem).unwrap();
        fs::write(dir.path().join("ca.key"), key).unwrap();
        fs::set_permissions(dir.path().join("ca.key"), fs::Permissions::from_mode(bits)).unwrap();
        let message = failure(Authority::open(dir.path()));
        assert!(message.contains(expected), "{name}: {message}");
        assert!(message.contains("ca rotate") && message.contains("ca."), "{name} names no way out: {message}");
        Authority::rotate(dir.path(), &packs()).unwrap();
    }
    let dir = state();
    fs::write(dir.path().join("ca.pem"), &pem).unwrap();
    let message = failure(Authority::open(dir.path()));
    assert!(message.contains("ca.key"), "{message}");
}

/// A company's CA: the root, an intermediate under it, and the key of that.
fn company(constraints: Option<rcgen::NameConstraints>) -> (String, String, String) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let organization = rcgen::string::PrintableString::try_from("Example").unwrap();
        params.distinguished_name.push(DnType::OrganizationName, rcgen::DnValue::PrintableString(organization));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = OffsetDateTime::now_utc() - time::Duration::DAY;
        params.not_after = OffsetDateTime::now_utc() + time::Duration::DAY * 90;
        params
    };
    let root_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let root_params = params("Example Root");
    let root = root_params.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root_params, root_key);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut middle = params("Example Issuing");
    middle.name_constraints = constraints;
    middle.use_authority_key_identifier_extension = true;
    let middle = middle.signed_by(&key, &issuer).unwrap();
    (root.pem(), middle.pem(), key.serialize_pem())
}

fn from_pem(certificate: &str, key: &str) -> Result<Authority, CaError> {
    let dir = state();
    let (certificate_path, key_path) = (dir.path().join("own.pem"), dir.path().join("own.key"));
    fs::write(&certificate_path, certificate).unwrap();
    fs::write(&key_path, key).unwrap();
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o640)).unwrap();
    Authority::from_files(&certificate_path, &key_path)
}

#[test]
fn a_ca_of_ones_own_brings_its_chain_in_any_order() {
    let (root, middle, key) = company(None);
    for file in [format!("{middle}{root}"), format!("{root}{middle}")] {
        let authority = from_pem(&file, &key).unwrap();
        verify_with_rustls(&authority, "api.example.com").unwrap();
        assert_eq!(authority.leaves_chain().len(), 1, "the intermediate is sent, the root is not");
        assert!(authority.permits("192.0.2.1"));
    }
    from_pem(&middle, &key).unwrap();

    let (_, stranger, _) = company(None);
    for (file, expected) in [
        (format!("{middle}{root}{stranger}"), "not of the chain"),
        (root.clone(), "does not belong to the private key"),
    ] {
        let message = failure(from_pem(&file, &key));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_constraints_of_ones_own_ca_count() {
    use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
    let (root, middle, key) = company(Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("example.com".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([192, 0, 2, 0], 24)),
        ],
        excluded_subtrees: vec![GeneralSubtree::DnsName("secret.example.com".into())],
    }));
    let authority = from_pem(&format!("{middle}{root}"), &key).unwrap();
    let mut wrong = Vec::new();
    for (host, permitted) in [
        ("api.example.com", true),
        ("secret.example.com", false),
        ("a.secret.example.com", false),
        ("example.org", false),
        ("192.0.2.200", true),
        ("192.0.3.1", false),
    ] {
        let rustls = verify_with_rustls(&authority, host);
        if authority.permits(host) != permitted || rustls.is_ok() != permitted {
            wrong.push(format!("{host}: permits {}, rustls {rustls:?}", authority.permits(host)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A v6 address is of the same type of name as the permitted v4 network, so it is outside it.
    assert!(!authority.permits("2001:db8::1"));
}

#[test]
fn a_constraint_on_directory_names_is_met_by_leaves_without_a_subject() {
    use rcgen::{DistinguishedName, DnType, GeneralSubtree, NameConstraints};
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Example");
    let permitted_subtrees = vec![GeneralSubtree::DirectoryName(name)];
    let (root, middle, key) = company(Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() }));
    let authority = from_pem(&format!("{middle}{root}"), &key).unwrap();
    let der = leaf_der(&authority, "api.example.com");
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(leaf.subject().iter().count(), 0);
    assert!(leaf.subject_alternative_name().unwrap().unwrap().critical);
    if have("openssl") {
        // Webpki refuses every leaf under such a constraint; openssl reads it.
        let openssl = verify_with_openssl(&authority, "api.example.com");
        assert!(openssl.status.success(), "{}", says(&openssl));
    }
}

#[test]
fn a_ca_whose_name_repeats_a_part_signs_leaves_that_chain_to_it() {
    if !have("openssl") {
        return;
    }
    // As Active Directory names its CAs.
    let dir = state();
    let (certificate, key) = (dir.path().join("own.pem"), dir.path().join("own.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-multivalue-rdn"])
        .args(["-subj", "/DC=com/DC=example/DC=corp/CN=Issuing CA/emailAddress=pki@example.com"])
        .args(["-addext", "keyUsage=critical,keyCertSign", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", says(&made));
    let authority = Authority::from_files(&certificate, &key).unwrap();
    verify_with_rustls(&authority, "api.example.com").unwrap();
    let openssl = verify_with_openssl(&authority, "api.example.com");
    assert!(openssl.status.success(), "{}", says(&openssl));
}

#[test]
fn one_host_is_minted_once_and_kept_by_protocol() {
    let authority = Authority::in_memory().unwrap();
    let start = Barrier::new(8);
    let configs: Vec<_> = std::thread::scope(|scope| {
        let get = || {
            start.wait();
            authority.server_config("api.example.com", Some(b"h2")).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(configs.iter().all(|config| Arc::ptr_eq(config, &configs[0])));
    assert!(Arc::ptr_eq(&authority.server_config("API.example.com.", Some(b"h2")).unwrap(), &configs[0]));
    let other = authority.server_config("api.example.com", None).unwrap();
    assert!(!Arc::ptr_eq(&other, &configs[0]));
    assert_eq!(configs[0].alpn_protocols, [b"h2".to_vec()]);
    assert!(other.alpn_protocols.is_empty());
    for n in 0..6000 {
        authority.server_config(&format!("h{n}.example.com"), None).unwrap();
    }
    assert!(authority.leaves.cached() <= 4500, "{} kept", authority.leaves.cached());
}

#[test]
fn a_stale_leaf_is_minted_again() {
    let authority = Authority::in_memory().unwrap();
    let first = authority.server_config("api.example.com", None).unwrap();
    authority.leaves.age(std::time::Duration::from_secs(6 * 86_400));
    let second = authority.server_config("api.example.com", None).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &authority.server_config("api.example.com", None).unwrap()));
}

#[test]
fn names_that_no_certificate_can_bear_are_refused() {
    let authority = Authority::in_memory().unwrap();
    for host in ["", "*.example.com", "a b", "a\0b", "-", "[1.2.3.4]", "ex\u{e4}mple.com"] {
        let taken = authority.server_config(host, None).is_ok();
        assert_eq!(taken, host == "-", "{host:?}");
    }
}

/// Both ends of a handshake in memory.
fn handshake(
    client: &Arc<rustls::ClientConfig>,
    server: &Arc<ServerConfig>,
    host: &str,
) -> (rustls::ClientConnection, rustls::ServerConnection) {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(client.clone(), name).unwrap();
    let mut server = rustls::ServerConnection::new(server.clone()).unwrap();
    // Until neither has more to say: session tickets come after the handshake.
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets().unwrap();
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets().unwrap();
    }
    (client, server)
}

#[test]
fn a_client_that_comes_back_resumes_its_session_but_not_that_of_another_host() {
    use rustls::HandshakeKind::{Full, Resumed};

    let authority = Authority::in_memory().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificates()[0].clone()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let client = Arc::new(client.with_root_certificates(roots.clone()).with_no_client_auth());
        let kinds = ["api.example.com", "api.example.com", "other.example.com"].map(|host| {
            let (client, server) = handshake(&client, &authority.server_config(host, None).unwrap(), host);
            assert_eq!(server.protocol_version(), Some(version.version));
            client.handshake_kind().unwrap()
        });
        assert_eq!(kinds, [Full, Resumed, Full], "{:?}", version.version);
    }
}

#[test]
fn a_clock_that_is_set_never_leaves_a_leaf_that_is_not_valid() {
    use std::time::{Duration, SystemTime};
    let dir = state();
    let authority = Authority::open_or_create(dir.path(), None, &Scope::Any).unwrap();
    let host = leaf::Host::read("api.example.com").unwrap();
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let at = |time| authority.leaves.config_at(&host, None, time).unwrap();
    let first = at(now);
    assert!(Arc::ptr_eq(&first, &at(now + day)) && Arc::ptr_eq(&first, &at(now - day / 4)), "still good");
    let later = at(now + 30 * day);
    assert!(!Arc::ptr_eq(&first, &later), "the clock ran on by a month: another leaf");
    let back = at(now);
    assert!(!Arc::ptr_eq(&later, &back), "and was set back: another again");
    assert!(Arc::ptr_eq(&back, &at(now)));
    // Before the CA was made nothing can be signed, and it says so.
    assert!(failure(authority.leaves.config_at(&host, None, now - 400 * day)).contains("CA"));
}

//! The variables, and what real runtimes make of them.

use std::process::{Command, Output};

use super::*;
use crate::ca::Authority;
use crate::ca::test_server::{have, proxy};

fn nothing(_: &str) -> Option<OsString> {
    None
}

fn child(had: &[(&str, &str)]) -> ChildEnvironment {
    let parent = |name: &str| had.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
    for_child("127.0.0.1:4711".parse().unwrap(), Path::new("/t/bundle.pem"), Some(Path::new("/t/trust.p12")), &parent)
}

fn value<'a>(child: &'a ChildEnvironment, name: &str) -> Option<&'a str> {
    child.set.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.to_str())
}

#[test]
fn an_empty_environment_gets_proxy_and_trust_and_no_notes() {
    let child = child(&[]);
    for name in ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        assert_eq!(value(&child, name), Some("http://127.0.0.1:4711"), "{name}");
    }
    for name in ["NO_PROXY", "no_proxy"] {
        assert_eq!(value(&child, name), Some("localhost,127.0.0.1,::1"), "{name}");
    }
    for name in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CODEX_CA_CERTIFICATE", "DENO_CERT"] {
        assert_eq!(value(&child, name), Some("/t/bundle.pem"), "{name}");
    }
    assert_eq!(value(&child, "NODE_USE_ENV_PROXY"), Some("1"));
    let java = value(&child, "JAVA_TOOL_OPTIONS").unwrap();
    assert!(
        java.contains("-Dhttps.proxyPort=4711 ") && java.contains("-Djavax.net.ssl.trustStore=/t/trust.p12"),
        "{java}"
    );
    assert!(child.notes.is_empty() && child.remove.is_empty(), "{:?}", child.notes);
    let mut names: Vec<_> = child.set.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), child.set.len(), "a variable is set twice");
}

#[test]
fn exemptions_beyond_loopback_are_cut_and_told() {
    let child = child(&[
        ("NO_PROXY", "localhost, 127.0.0.1:8080,.localhost,[::1],127.0.0.0/8,api.example.com"),
        ("no_proxy", "10.0.0.0/8,*,api.example.com,0.0.0.0/0,127.0.0.0/4"),
    ]);
    assert_eq!(child.notes.len(), 1, "{:?}", child.notes);
    assert!(
        child.notes[0].ends_with("too: api.example.com, 10.0.0.0/8, *, 0.0.0.0/0, 127.0.0.0/4"),
        "{}",
        child.notes[0]
    );
}

#[test]
fn a_proxy_that_is_replaced_is_told_without_its_password() {
    let child = child(&[
        ("HTTPS_PROXY", "http://ann:s3cr3t/@p@proxy.example.com:3128"),
        ("https_proxy", "http://ann:s3cr3t/@p@proxy.example.com:3128"),
        ("npm_config_https_proxy", "http://ann:s3cr3t@proxy.example.com"),
    ]);
    let told = child.notes.join("\n");
    assert!(told.contains("--upstream-proxy http://proxy.example.com:3128"), "{told}");
    assert!(!told.contains("s3cr3t") && !told.contains("ann"), "{told}");
    assert_eq!(child.notes.len(), 2, "one note a proxy, not one a spelling: {told}");
    assert_eq!(child.remove, ["npm_config_https_proxy"]);
}

#[test]
fn options_for_java_are_added_to_those_it_had() {
    let child = child(&[("JAVA_TOOL_OPTIONS", "-Xmx1g -Djavax.net.ssl.trustStore=/corp.jks")]);
    let java = value(&child, "JAVA_TOOL_OPTIONS").unwrap();
    assert!(java.starts_with("-Xmx1g -Djavax.net.ssl.trustStore=/corp.jks -Dhttp.proxyHost="), "{java}");
    assert!(java.contains(" -Djavax.net.ssl.trustStore=/t/trust.p12"), "{java}");
    assert!(child.notes.iter().any(|note| note.contains("trustStore")), "{:?}", child.notes);
}

#[test]
fn the_bundle_holds_what_the_parent_trusted_and_the_folder_is_private_and_goes() {
    use std::os::unix::fs::PermissionsExt;

    let corporate = Authority::in_memory().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let named = dir.path().join("corporate.pem");
    fs::write(&named, corporate.certificate_pem()).unwrap();
    let parent = |name: &str| match name {
        "NODE_EXTRA_CA_CERTS" => Some(named.clone().into_os_string()),
        "REQUESTS_CA_BUNDLE" => Some(dir.path().as_os_str().to_owned()),
        "CURL_CA_BUNDLE" => Some("/nowhere/at/all.pem".into()),
        _ => None,
    };
    let ours = Authority::in_memory().unwrap();
    let files = TrustFiles::write(ours.certificate_pem(), &parent).unwrap();
    let bundle = fs::read_to_string(&files.bundle).unwrap();
    assert!(bundle.starts_with(ours.certificate_pem()));
    assert_eq!(bundle.matches(corporate.certificate_pem()).count(), 1);
    assert!(!bundle.contains("PRIVATE"));
    assert_eq!(fs::read_to_string(&files.ca).unwrap(), ours.certificate_pem());
    let folder = files.folder().to_owned();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    drop(files);
    assert!(!folder.exists());
}

/// Runs `program` as a child behind a proxy that shows our certificates.
fn run(program: &str, arguments: &[&str]) -> Output {
    let authority = Authority::in_memory().unwrap();
    let files = TrustFiles::write(authority.certificate_pem(), &nothing).unwrap();
    let address = proxy(authority);
    let environment = for_child(address, &files.bundle, Some(&files.java), &nothing);
    let path = std::env::var_os("PATH").unwrap_or_default();
    Command::new(program)
        .args(arguments)
        .current_dir(files.folder())
        .env_clear()
        .env("PATH", path)
        .env("HOME", files.folder())
        .envs(environment.set)
        .output()
        .unwrap()
}

fn assert_answered(output: &Output) {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && out.trim_end().ends_with("ok"), "{out}\n{err}");
}

#[test]
fn curl_meets_the_proxy_and_trusts_it() {
    if have("curl") {
        assert_answered(&run("curl", &["-sS", "--max-time", "20", "https://api.example.com/"]));
    }
}

#[test]
fn python_meets_the_proxy_and_trusts_it() {
    if have("python3") {
        let script =
            "import urllib.request as u; print(u.urlopen('https://api.example.com/',timeout=20).read().decode())";
        assert_answered(&run("python3", &["-c", script]));
    }
}

#[test]
fn node_trusts_the_certificates_of_the_proxy() {
    if have("node") {
        // By hand through the proxy: Node before 22.21 takes no proxy from its environment.
        let script = "const p=new URL(process.env.HTTPS_PROXY);\
            require('http').request({host:p.hostname,port:p.port,method:'CONNECT',path:'api.example.com:443'})\
            .on('connect',(r,socket)=>{const s=require('tls').connect({socket,servername:'api.example.com'},()=>\
            s.write('GET / HTTP/1.1\\r\\nhost: api.example.com\\r\\n\\r\\n'));s.pipe(process.stdout)}).end()";
        assert_answered(&run("node", &["-e", script]));
    }
}

#[test]
fn git_meets_the_proxy_and_trusts_it() {
    if have("git") {
        // What is answered is no repository; that git takes an answer at all is the point.
        let output = run("git", &["ls-remote", "https://git.example.com/a.git"]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || err.contains("is this a git repository?"), "{err}");
    }
}

#[test]
fn java_meets_the_proxy_and_trusts_it() {
    if !have("java") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("Get.java");
    let program = "import java.net.*;import java.net.http.*;\
        public class Get { public static void main(String[] a) throws Exception {\
        URI u = URI.create(\"https://api.example.com/\");\
        u.toURL().openStream().close();\
        System.out.println(HttpClient.newHttpClient().send(HttpRequest.newBuilder(u).build(),\
        HttpResponse.BodyHandlers.ofString()).body()); } }";
    fs::write(&source, program).unwrap();
    let output = run("java", &[source.to_str().unwrap()]);
    if String::from_utf8_lossy(&output.stderr).contains("jdk.compiler") {
        eprintln!("skipped: this Java has no compiler");
        return;
    }
    assert_answered(&output);
}

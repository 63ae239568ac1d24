//! Real clients: found on the machine, or installed at pinned versions into the cache.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::divulge::{Ended, ended};
use super::{Divulge, soon};

/// Python packages with all that they need, pinned.
const PYTHON_PACKAGES: &str = include_str!("../programs/requirements.txt");

/// A Node that honours proxy variables by itself, older machines' ones do not; and the library that gives the
/// machine's own Node a proxy.
const NODE: &str = "24.21.0";
/// The last of those that do not.
const OLD_NODE: &str = "20.20.2";
const DENO: &str = "2.9.6";
const BUN: &str = "1.4.5";
const UNDICI: &str = "6.29.1";

/// Where installed clients are kept between runs.
fn cache() -> PathBuf {
    let base = std::env::var_os("DIVULGE_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        cache
            .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into())).join(".cache"))
            .join("divulge")
    });
    base.join("test-clients")
}

/// Makes `folder` by `install` once; tests that run at the same time wait for each other.
fn installed(folder: &Path, install: impl FnOnce(&Path)) {
    let stamp = folder.join("installed");
    std::fs::create_dir_all(folder.parent().expect("inside the cache")).expect("the cache folder can be made");
    let lock = File::create(folder.with_extension("lock")).expect("the cache folder is writable");
    lock.lock().expect("the cache can be locked");
    if stamp.exists() {
        return;
    }
    let _ = std::fs::remove_dir_all(folder);
    install(folder);
    std::fs::write(&stamp, "").unwrap();
}

fn must(command: &mut std::process::Command) {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert!(
        output.status.success(),
        "{shown} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The Python of an environment with requests, httpx (with HTTP/2), aiohttp, websockets and jsonschema.
pub fn python() -> PathBuf {
    let digest = PYTHON_PACKAGES.bytes().fold(5381_u32, |sum, byte| sum.wrapping_mul(33) ^ u32::from(byte));
    let folder = cache().join(format!("python-{digest:08x}"));
    installed(&folder, |folder| {
        must(std::process::Command::new("python3").args(["-m", "venv"]).arg(folder));
        let list = folder.join("requirements.txt");
        std::fs::write(&list, PYTHON_PACKAGES).unwrap();
        must(
            std::process::Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--require-virtualenv", "-r"])
                .arg(list),
        );
    });
    folder.join("bin/python")
}

/// The Python of an environment with DuckDB, which reads Parquet by code of its own.
#[cfg(feature = "fleet")]
pub fn duckdb() -> PathBuf {
    const PACKAGE: &str = "duckdb==2.0.1";
    let folder = cache().join(PACKAGE.replace("==", "-"));
    installed(&folder, |folder| {
        must(std::process::Command::new("python3").args(["-m", "venv"]).arg(folder));
        let pip = folder.join("bin/pip");
        must(std::process::Command::new(pip).args(["install", "--quiet", "--require-virtualenv", PACKAGE]));
    });
    folder.join("bin/python")
}

/// A Node of the pinned version.
pub fn node() -> PathBuf {
    node_of(NODE)
}

/// One that knows no `NODE_USE_ENV_PROXY`.
pub fn old_node() -> PathBuf {
    node_of(OLD_NODE)
}

fn node_of(version: &str) -> PathBuf {
    binary("node", version, &format!("node-linux-{}", of_machine("x64", "arm64")), "bin/node")
}

pub fn deno() -> PathBuf {
    binary("deno", DENO, &format!("@deno/linux-{}-glibc", of_machine("x64", "arm64")), "deno")
}

pub fn bun() -> PathBuf {
    binary("bun", BUN, &format!("@oven/bun-linux-{}", of_machine("x64", "aarch64")), "bin/bun")
}

/// A program that an npm package brings for one kind of machine.
fn binary(name: &str, version: &str, package: &str, program: &str) -> PathBuf {
    npm(&format!("{name}-{version}"), &format!("{package}@{version}")).join("node_modules").join(package).join(program)
}

fn of_machine<'a>(x86: &'a str, arm: &'a str) -> &'a str {
    if cfg!(target_arch = "aarch64") { arm } else { x86 }
}

/// The folder whose `node_modules` holds undici.
pub fn undici() -> PathBuf {
    npm(&format!("undici-{UNDICI}"), &format!("undici@{UNDICI}"))
}

fn npm(name: &str, package: &str) -> PathBuf {
    let folder = cache().join(name);
    installed(&folder, |folder| {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("package.json"), "{\"private\":true}").unwrap();
        must(
            std::process::Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", package])
                .current_dir(folder),
        );
    });
    folder
}

/// A program with an empty environment but for the way to find others.
pub fn program(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new(path.as_ref());
    command
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "LANG")))
        .env("HOME", std::env::temp_dir())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The environment in which most programs use `divulge serve` and trust it.
pub fn behind<'a>(command: &'a mut Command, divulge: &Divulge) -> &'a mut Command {
    let proxy = format!("http://{}", divulge.address);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, &proxy);
    }
    for name in
        ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO"]
    {
        command.env(name, divulge.ca_file());
    }
    command.env("NODE_USE_ENV_PROXY", "1")
}

/// Runs a program to its end, which must come soon.
pub async fn finish(command: &mut Command) -> Ended {
    let shown = format!("{:?}", command.as_std().get_program());
    ended(soon(&format!("{shown} to end"), command.output()).await.unwrap_or_else(|error| panic!("{shown}: {error}")))
}

/// [`finish`], and it must have gone well.
pub async fn succeed(command: &mut Command) -> Ended {
    let ended = finish(command).await;
    assert_eq!(ended.code, Some(0), "the client failed:\n{}\n{}", ended.out, ended.err);
    ended
}

//! A small git repository, written without git: one commit, an index, a remote. The same facts give the same bytes, so
//! that the id of the commit is no noise between rooms.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest, Sha1};

use super::Git;

const README: &[u8] = b"# Notes\n\nNothing here yet.\n";
/// When the commit was made, in seconds since 1970, at UTC.
const TIME: u64 = 1_700_000_000;

/// Plants the repository in `folder`, which exists.
pub fn plant(folder: &Path, git: &Git) -> io::Result<()> {
    let store = folder.join(".git");
    for inner in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
        fs::create_dir_all(store.join(inner))?;
    }
    fs::write(folder.join("README.md"), README)?;
    let blob = object(&store, "blob", README)?;
    let tree = object(&store, "tree", &[b"100644 README.md\0", &blob[..]].concat())?;
    let person = format!("{} <{}> {TIME} +0000", git.name, git.email);
    let commit = format!("tree {}\nauthor {person}\ncommitter {person}\n\nBegin\n", hex(&tree));
    let commit = object(&store, "commit", commit.as_bytes())?;
    let branch = store.join("refs/heads").join(&git.branch);
    if let Some(parent) = branch.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(branch, format!("{}\n", hex(&commit)))?;
    fs::write(store.join("HEAD"), format!("ref: refs/heads/{}\n", git.branch))?;
    fs::write(store.join("config"), config(git))?;
    fs::write(store.join("index"), index(&blob))
}

/// `.gitconfig` of the person.
pub fn identity(git: &Git) -> String {
    format!("[user]\n\tname = {}\n\temail = {}\n", quoted(&git.name), quoted(&git.email))
}

fn config(git: &Git) -> String {
    let mut text = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n".to_owned();
    if !git.remote.is_empty() {
        let remote = quoted(&git.remote);
        text.push_str(&format!(
            "[remote \"origin\"]\n\turl = {remote}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
        ));
        let branch = git.branch.replace(['"', '\\'], "");
        text.push_str(&format!("[branch \"{branch}\"]\n\tremote = origin\n\tmerge = refs/heads/{branch}\n"));
    }
    text
}

/// A value as git's configuration spells any text.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Stores a loose object and gives its id.
fn object(store: &Path, kind: &str, content: &[u8]) -> io::Result<[u8; 20]> {
    let whole = [format!("{kind} {}\0", content.len()).as_bytes(), content].concat();
    let id: [u8; 20] = Sha1::digest(&whole).into();
    let name = hex(&id);
    let folder = store.join("objects").join(&name[..2]);
    fs::create_dir_all(&folder)?;
    let mut file = ZlibEncoder::new(fs::File::create(folder.join(&name[2..]))?, Compression::fast());
    file.write_all(&whole)?;
    file.finish()?;
    Ok(id)
}

/// An index of version 2 with the one file, whose times git finds out for itself.
fn index(blob: &[u8; 20]) -> Vec<u8> {
    const NAME: &[u8] = b"README.md";
    const REGULAR_FILE: u32 = 0o100_644;
    let mut bytes = b"DIRC".to_vec();
    bytes.extend_from_slice(&2u32.to_be_bytes());
    bytes.extend_from_slice(&1u32.to_be_bytes());
    let entry = bytes.len();
    // Times of change, device and inode; then mode; then owner, group and size.
    bytes.resize(bytes.len() + 24, 0);
    bytes.extend_from_slice(&REGULAR_FILE.to_be_bytes());
    bytes.resize(bytes.len() + 8, 0);
    bytes.extend_from_slice(&(README.len() as u32).to_be_bytes());
    bytes.extend_from_slice(blob);
    bytes.extend_from_slice(&(NAME.len() as u16).to_be_bytes());
    bytes.extend_from_slice(NAME);
    // At least one zero, to a multiple of eight.
    let length = (bytes.len() - entry + 1).next_multiple_of(8);
    bytes.resize(entry + length, 0);
    let sum = Sha1::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

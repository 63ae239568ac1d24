//! Reads a working tree: of its text files some shingles, of all others the names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use ignore::{DirEntry, WalkBuilder};

use super::shingles::Key;

/// Files that are looked at, and those of them that are told by name alone.
const MOST_FILES: usize = 50_000;
const MOST_NAMED: usize = 5_000;
/// Ignored files whose text is read too: settings and secrets, not the libraries.
const MOST_IGNORED: usize = 1_000;
/// Bytes of a file whose text is read.
const MOST_BYTES: u64 = 1 << 20;
/// Shingles of the whole tree, 16 bytes each.
const MOST_SHINGLES: usize = 2 << 20;
/// A shingle of more files is boilerplate and tells none of them.
const MOST_OWNERS: usize = 8;
/// Shorter names stand everywhere.
const SHORTEST_NAME: usize = 4;
const FILTER_BITS: usize = 1 << 24;

#[derive(Clone, Debug)]
pub struct TreeFile {
    /// From the tree's root, with `/`.
    pub path: String,
    pub bytes: u64,
    /// The version control ignores it.
    pub ignored: bool,
    /// Shingles that stand for it; none where it is told by name alone.
    pub shingles: u32,
}

pub struct Tree {
    pub files: Vec<TreeFile>,
    /// Files beyond the bounds.
    pub beyond: usize,
    /// Digest, file, and the shingle's number within it; by digest.
    entries: Vec<(u64, u32, u32)>,
    /// A bit for each digest: most of what is asked for is not there.
    filter: Vec<u64>,
    names: Option<AhoCorasick>,
    named: Vec<u32>,
}

impl Tree {
    pub fn read(root: &Path, key: &Key) -> io::Result<Self> {
        // An unreadable root is wrong usage, an unreadable folder in it is passed over.
        std::fs::read_dir(root)?;
        let known: BTreeSet<PathBuf> = walk(root, true).take(MOST_FILES).collect();
        let mut found: Vec<(bool, PathBuf)> = known.iter().map(|path| (false, path.clone())).collect();
        let others = walk(root, false).filter(|path| !known.contains(path));
        found.extend(others.take(MOST_FILES - known.len()).map(|path| (true, path)));
        // What stands higher up counts more, where not all can be kept.
        found.sort_by_cached_key(|(ignored, path)| (*ignored, path.components().count(), path.clone()));
        let mut tree = Self {
            files: Vec::new(),
            beyond: 0,
            entries: Vec::new(),
            filter: Vec::new(),
            names: None,
            named: Vec::new(),
        };
        let mut needles = Vec::new();
        let mut ignored_read = 0;
        for (ignored, path) in found {
            let Ok(name) = path.strip_prefix(root) else { continue };
            let name = name.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
            let Ok(bytes) = path.symlink_metadata().map(|about| about.len()) else { continue };
            let may_read = bytes <= MOST_BYTES && (!ignored || ignored_read < MOST_IGNORED);
            let text = if may_read { text_of(&path) } else { None };
            ignored_read += usize::from(ignored && text.is_some());
            let shingles = text.map(|text| key.kept(&text)).unwrap_or_default();
            let room = tree.entries.len() + shingles.len() <= MOST_SHINGLES;
            let at = tree.files.len() as u32;
            if !shingles.is_empty() && room {
                tree.entries.extend(shingles.iter().zip(0..).map(|(shingle, index)| (*shingle, at, index)));
            } else if name.len() >= SHORTEST_NAME && needles.len() < MOST_NAMED {
                needles.push(name.clone());
                tree.named.push(at);
            } else {
                tree.beyond += 1;
                continue;
            }
            let shingles = if room { shingles.len() as u32 } else { 0 };
            tree.files.push(TreeFile { path: name, bytes, ignored, shingles });
        }
        tree.settle();
        // Bounded as they are, the names always build.
        tree.names = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&needles).ok();
        Ok(tree)
    }

    fn settle(&mut self) {
        self.entries.sort_unstable();
        let mut kept = Vec::with_capacity(self.entries.len());
        for owners in self.entries.chunk_by(|a, b| a.0 == b.0) {
            if owners.len() <= MOST_OWNERS {
                kept.extend_from_slice(owners);
            } else {
                for (_, file, _) in owners {
                    self.files[*file as usize].shingles -= 1;
                }
            }
        }
        self.entries = kept;
        self.filter = vec![0; FILTER_BITS / 64];
        for (digest, _, _) in &self.entries {
            let bit = *digest as usize % FILTER_BITS;
            self.filter[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Hands out whose shingle `digest` is: the file and the number.
    pub fn owners(&self, digest: u64) -> &[(u64, u32, u32)] {
        let bit = digest as usize % FILTER_BITS;
        if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
            return &[];
        }
        let start = self.entries.partition_point(|entry| entry.0 < digest);
        let count = self.entries[start..].iter().take_while(|entry| entry.0 == digest).count();
        &self.entries[start..start + count]
    }

    /// Hands out the files that `text` names.
    pub fn names_in(&self, text: &[u8], mut take: impl FnMut(u32)) {
        let Some(names) = &self.names else { return };
        for found in names.find_overlapping_iter(text) {
            let part_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || byte >= 0x80;
            let before = found.start().checked_sub(1).map(|at| text[at]);
            let mut after = text[found.end()..].iter().copied();
            let goes_on = match after.next() {
                // The end of a sentence, or a longer name.
                Some(b'.') => after.next().is_some_and(part_of_name),
                Some(byte) => part_of_name(byte),
                None => false,
            };
            if !goes_on && !before.is_some_and(|byte| part_of_name(byte) || byte == b'.') {
                take(self.named[found.pattern().as_usize()]);
            }
        }
    }
}

/// The regular files under `root`, the version control's own aside.
fn walk(root: &Path, filtered: bool) -> impl Iterator<Item = PathBuf> {
    WalkBuilder::new(root)
        .standard_filters(filtered)
        .hidden(false)
        .require_git(false)
        .follow_links(false)
        .filter_entry(|entry| ![".git", ".hg", ".svn", ".jj"].iter().any(|name| entry.file_name() == *name))
        .build()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .map(DirEntry::into_path)
}

/// The file's text; none where it is no text or cannot be read.
fn text_of(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut text).ok()?;
    (!text.contains(&0) && std::str::from_utf8(&text).is_ok()).then_some(text)
}

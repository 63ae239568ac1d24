//! Reads a working tree: of its text files some shingles, of all others the names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use ignore::{DirEntry, WalkBuilder};

use super::shingles::{FEWEST, Key, SAMPLED};

/// Files that are looked at, and those of them that are told by name alone.
const MOST_FILES: usize = 50_000;
const MOST_NAMED: usize = 5_000;
/// Ignored files whose text is read too: settings and secrets, not the libraries.
const MOST_IGNORED: usize = 1_000;
/// Bytes of a file whose text is read.
const MOST_BYTES: u64 = 1 << 20;
/// Shingles of the whole tree, 16 bytes each. Where there would be more, fewer of every file are kept.
const MOST_SHINGLES: usize = 2 << 20;
/// A shingle of more files is boilerplate and tells none of them.
const MOST_OWNERS: usize = 8;
/// A file of which less than this part stands in it alone is as good as a copy.
const OWN_PART: u32 = 10;
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
    /// Its own are those that so many files have at most: one, or more where next to nothing stands in it alone.
    pub owners: u32,
}

/// A shingle, by its digest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    digest: u64,
    pub file: u32,
    /// Its number within the file, below how many files have it.
    index: u32,
}

impl Entry {
    /// No file that is read has as many shingles.
    const NUMBER_BITS: u32 = 24;

    pub fn index(self) -> usize {
        (self.index & ((1 << Self::NUMBER_BITS) - 1)) as usize
    }

    pub fn owners(self) -> u32 {
        self.index >> Self::NUMBER_BITS
    }
}

pub struct Tree {
    pub files: Vec<TreeFile>,
    /// Files beyond the bounds.
    pub beyond: usize,
    /// By digest.
    entries: Vec<Entry>,
    /// A bit for each digest: most of what is asked for is not there.
    filter: Vec<u64>,
    names: Option<AhoCorasick>,
    named: Vec<u32>,
}

impl Tree {
    pub fn read(root: &Path, key: &Key) -> io::Result<Self> {
        Self::within(root, key, MOST_SHINGLES)
    }

    fn within(root: &Path, key: &Key, most: usize) -> io::Result<Self> {
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
        let mut thinned = 0;
        for (ignored, path) in found {
            let Ok(name) = path.strip_prefix(root) else { continue };
            let name = name.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
            let Ok(bytes) = path.symlink_metadata().map(|about| about.len()) else { continue };
            let may_read = bytes <= MOST_BYTES && (!ignored || ignored_read < MOST_IGNORED);
            let text = if may_read { text_of(&path) } else { None };
            ignored_read += usize::from(ignored && text.is_some());
            let shingles = text.map(|text| key.kept(&text)).unwrap_or_default();
            let at = tree.files.len() as u32;
            if !shingles.is_empty() {
                tree.keep(at, &shingles, &mut thinned, most);
            } else if name.len() >= SHORTEST_NAME && needles.len() < MOST_NAMED {
                needles.push(name.clone());
                tree.named.push(at);
            } else {
                tree.beyond += 1;
                continue;
            }
            tree.files.push(TreeFile { path: name, bytes, ignored, shingles: shingles.len() as u32, owners: 1 });
        }
        tree.settle();
        // Bounded as they are, the names always build.
        tree.names = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&needles).ok();
        Ok(tree)
    }

    /// Takes a file's shingles, in order, as far as there is room; makes room by leaving out half of all.
    fn keep(&mut self, file: u32, shingles: &[u64], thinned: &mut u32, most: usize) {
        let stays = |entry: &Entry, thinned: u32| entry.index < FEWEST || entry.digest < SAMPLED >> thinned;
        let level = *thinned;
        let own = shingles.iter().zip(0..).map(|(&digest, index)| Entry { digest, file, index });
        self.entries.extend(own.filter(|entry| stays(entry, level)));
        while self.entries.len() > most && *thinned < 16 {
            *thinned += 1;
            let level = *thinned;
            self.entries.retain(|entry| stays(entry, level));
        }
    }

    fn settle(&mut self) {
        self.entries.sort_unstable();
        self.files.iter_mut().for_each(|file| file.shingles = 0);
        let mut kept = Vec::with_capacity(self.entries.len());
        // Of each file, its shingles by how many files have them.
        let mut shared = vec![[0_u32; MOST_OWNERS + 1]; self.files.len()];
        for owners in self.entries.chunk_by(|a, b| a.digest == b.digest) {
            if owners.len() > MOST_OWNERS {
                continue;
            }
            for &entry in owners {
                self.files[entry.file as usize].shingles += 1;
                shared[entry.file as usize][owners.len()] += 1;
                kept.push(Entry { index: entry.index | (owners.len() as u32) << Entry::NUMBER_BITS, ..entry });
            }
        }
        for (file, shared) in self.files.iter_mut().zip(shared) {
            let mut own = 0;
            let enough = |(owners, count): (u32, u32)| {
                own += count;
                (own * OWN_PART > file.shingles).then_some(owners)
            };
            file.owners = (0..).zip(shared).find_map(enough).unwrap_or(1);
        }
        self.entries = kept;
        self.filter = vec![0; FILTER_BITS / 64];
        for Entry { digest, .. } in &self.entries {
            let bit = *digest as usize % FILTER_BITS;
            self.filter[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Hands out whose shingle `digest` is.
    pub fn owners(&self, digest: u64) -> &[Entry] {
        let bit = digest as usize % FILTER_BITS;
        if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
            return &[];
        }
        let start = self.entries.partition_point(|entry| entry.digest < digest);
        let count = self.entries[start..].iter().take_while(|entry| entry.digest == digest).count();
        &self.entries[start..start + count]
    }

    /// The shingles that several files have, those of one shingle together.
    pub fn shared(&self) -> impl Iterator<Item = &[Entry]> {
        self.entries.chunk_by(|a, b| a.digest == b.digest).filter(|owners| owners.len() > 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_more_than_is_kept_each_file_keeps_its_share() {
        let folder = tempfile::tempdir().unwrap();
        let text = |number: usize| -> String {
            (0..60).map(|line| format!("let apples_{number}_{line} = basket_{number}.count({line});\n")).collect()
        };
        for number in 0..20 {
            std::fs::write(folder.path().join(format!("{number}.rs")), text(number)).unwrap();
        }
        let key = Key::of(&[7; 32]);
        let all = Tree::read(folder.path(), &key).unwrap();
        let few = Tree::within(folder.path(), &key, 1000).unwrap();
        assert!(all.entries.len() > 4000 && few.entries.len() <= 1000, "{} {}", all.entries.len(), few.entries.len());
        assert!(few.files.len() == 20 && few.files.iter().all(|file| file.shingles >= FEWEST), "{:?}", few.files);
        let mut met = [0_u32; 20];
        key.each(text(7).as_bytes(), |shingle| {
            few.owners(shingle).iter().for_each(|entry| met[entry.file as usize] += 1)
        });
        let sent = few.files.iter().position(|file| file.path == "7.rs").unwrap();
        assert!(met[sent] >= few.files[sent].shingles, "{met:?}");
        assert_eq!(met.iter().filter(|count| **count > 0).count(), 1, "{met:?}");
    }
}

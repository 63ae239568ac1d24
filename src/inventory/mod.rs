//! Which files of a working tree left, for which host, and how much of each: `--inventory DIR`.
//!
//! ```text
//! tree -> keyed digests of shingles (tree.rs, shingles.rs)
//! request -> decoded texts -> the same digests -> files, by host
//! ```
//!
//! Works on the recording's thread or over a finished session, never in a request's way. What files and requests hold is not
//! kept: of a file its digests, of a request which of them were met. Bounded in files, digests and hosts.

mod claim;
mod shingles;
mod tree;

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use self::shingles::Key;
use self::tree::Tree;
use crate::engine::decode::{DecodeLimits, walk};
use crate::engine::visit::{Leaf, Place, Target, Visitor};
use crate::engine::{Part, Request, Unit};
use crate::session::files::{How, SentFile};

/// Hosts that are kept apart.
const MOST_HOSTS: usize = 256;
/// Texts that are known to have been looked through: a conversation sends the same ones again and again.
const MOST_TEXTS: usize = 200_000;

#[derive(Default)]
struct Met {
    /// A bit for each of the file's shingles.
    bits: Vec<u64>,
    /// How many are set, and how many of these are its own.
    count: u32,
    own: u32,
    named: bool,
    flow: String,
}

enum Reading {
    Begun(JoinHandle<std::io::Result<Tree>>),
    Done(Box<Tree>),
    Failed(String),
}

/// What was met so far.
pub struct Inventory {
    root: PathBuf,
    key: Key,
    reading: Reading,
    met: BTreeMap<(String, u32), Met>,
    hosts: HashSet<String>,
    seen: HashSet<u64>,
    hasher: RandomState,
    limits: DecodeLimits,
}

impl Inventory {
    /// Begins to read the tree under `root`, on a thread of its own. `key` makes the digests this installation's.
    pub fn begin(root: &Path, key: &[u8; 32]) -> std::io::Result<Self> {
        let root = std::fs::canonicalize(root)?;
        std::fs::read_dir(&root)?;
        let key = Key::of(key);
        let (folder, with) = (root.clone(), key.clone());
        let thread = std::thread::Builder::new().name("inventory".into()).spawn(move || Tree::read(&folder, &with))?;
        Ok(Self {
            root,
            key,
            reading: Reading::Begun(thread),
            met: BTreeMap::new(),
            hosts: HashSet::new(),
            seen: HashSet::new(),
            hasher: RandomState::new(),
            limits: DecodeLimits::default(),
        })
    }

    /// Looks through one part of a request.
    pub fn note(&mut self, flow: &str, request: &Request, part: Part) {
        self.wait();
        let Reading::Done(tree) = &self.reading else { return };
        if !self.hosts.contains(&request.host) {
            if self.hosts.len() >= MOST_HOSTS {
                return;
            }
            self.hosts.insert(request.host.clone());
        }
        let mut look = Look {
            tree,
            key: &self.key,
            flow,
            host: &request.host,
            met: &mut self.met,
            seen: &mut self.seen,
            hasher: &self.hasher,
        };
        walk(&Unit { request, part }, &self.limits, &mut look);
    }

    /// The files that left, most of a file first.
    pub fn sent(&mut self) -> Vec<SentFile> {
        self.wait();
        let Reading::Done(tree) = &self.reading else { return Vec::new() };
        let claims = claim::claims(tree, &self.met);
        let mut sent: Vec<SentFile> = self
            .met
            .iter()
            .filter_map(|((host, at), met)| {
                let file = &tree.files[*at as usize];
                let content = claims.contains(&(host.as_str(), *at));
                if !content && !met.named {
                    return None;
                }
                Some(SentFile {
                    host: host.clone(),
                    file: file.path.clone(),
                    how: if content { How::Content } else { How::Name },
                    share: content.then(|| f64::from(met.count.min(file.shingles)) / f64::from(file.shingles.max(1))),
                    bytes: file.bytes,
                    ignored: file.ignored,
                    flow: met.flow.clone(),
                })
            })
            .collect();
        sent.sort_by(|a, b| {
            let share = |file: &SentFile| file.share.unwrap_or(0.0);
            a.host.cmp(&b.host).then(a.how.cmp(&b.how)).then(share(b).total_cmp(&share(a))).then(a.file.cmp(&b.file))
        });
        sent
    }

    /// What a reader of the list should know: the tree's size, and what is not in it.
    pub fn note_of(&mut self, sent: &[SentFile]) -> String {
        self.wait();
        let root = self.root.display();
        let tree = match &self.reading {
            Reading::Done(tree) => tree,
            Reading::Failed(why) => return format!("inventory: {root} could not be read: {why}"),
            Reading::Begun(_) => return format!("inventory: {root} was not read"),
        };
        let of =
            |how: How| sent.iter().filter(|file| file.how == how).map(|file| &file.file).collect::<HashSet<_>>().len();
        let mut text = format!(
            "inventory of {root}: of {} files, content of {} and names of {} more were sent",
            tree.files.len(),
            of(How::Content),
            of(How::Name)
        );
        if tree.beyond > 0 {
            text.push_str(&format!("; {} more files were not looked for", tree.beyond));
        }
        text
    }

    fn wait(&mut self) {
        if !matches!(self.reading, Reading::Begun(_)) {
            return;
        }
        let stopped = Reading::Failed("the reading stopped".to_owned());
        if let Reading::Begun(thread) = std::mem::replace(&mut self.reading, stopped) {
            match thread.join() {
                Ok(Ok(tree)) => self.reading = Reading::Done(Box::new(tree)),
                Ok(Err(error)) => self.reading = Reading::Failed(error.to_string()),
                Err(_) => {}
            }
        }
    }
}

/// One walk through a part.
struct Look<'a> {
    tree: &'a Tree,
    key: &'a Key,
    flow: &'a str,
    host: &'a str,
    met: &'a mut BTreeMap<(String, u32), Met>,
    seen: &'a mut HashSet<u64>,
    hasher: &'a RandomState,
}

impl Look<'_> {
    fn text(&mut self, text: &[u8]) {
        let once = self.hasher.hash_one((self.host, text));
        if self.seen.contains(&once) {
            return;
        }
        if self.seen.len() < MOST_TEXTS {
            self.seen.insert(once);
        }
        let (tree, key) = (self.tree, self.key);
        key.each(text, |digest| {
            for entry in tree.owners(digest) {
                let met = self.met_of(entry.file);
                let (word, bit) = (entry.index() / 64, 1_u64 << (entry.index() % 64));
                if met.bits.len() <= word {
                    met.bits.resize(word + 1, 0);
                }
                if met.bits[word] & bit == 0 {
                    met.bits[word] |= bit;
                    met.count += 1;
                    met.own += u32::from(entry.owners() <= tree.files[entry.file as usize].owners);
                }
            }
        });
        tree.names_in(text, |file| self.met_of(file).named = true);
    }

    fn met_of(&mut self, file: u32) -> &mut Met {
        let flow = self.flow;
        let fresh = || Met { flow: flow.to_owned(), ..Met::default() };
        self.met.entry((self.host.to_owned(), file)).or_insert_with(fresh)
    }
}

impl Visitor for Look<'_> {
    fn leaf(&mut self, leaf: &Leaf<'_>, _place: &dyn Place) {
        self.text(leaf.text);
    }

    /// A file may be a document itself, of which only the values are handed out.
    fn around(&mut self, value: &Leaf<'_>, _place: &dyn Place) {
        self.text(value.text);
    }

    fn runs(&mut self, _text: &[u8], _target: Target, _runs: &mut Vec<std::ops::Range<usize>>) {}

    fn unread(&mut self, _place: &dyn Place, _bytes: &[u8], _reason: &'static str) {}
}

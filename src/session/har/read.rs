//! Finds the entries of a file, one at a time: no more than one is ever a tree.

use bytes::Bytes;

use super::entry;
use crate::engine::decode::json::{blank, string, value_end};
use crate::session::damage::{Damage, Damages};
use crate::session::flow::Exchange;
use crate::session::tree;

/// What stands beside the entries (creator, browser, pages and what else a program keeps there): name and value as they
/// are spelled, so that a file that is written again still has them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Around {
    pub(super) members: Vec<(Bytes, Bytes)>,
}

/// Gives every entry to `each` in the order of the file, and says what could not be read.
pub fn read(file: &Bytes, each: &mut dyn FnMut(Exchange)) -> Vec<Damage> {
    let mut walk = Walk { file, damages: Damages::new(), count: 0, budget: file.len() * 4 + 4096, each: Some(each) };
    let start = start(file);
    if file.starts_with(&[0xff, 0xfe]) || file.starts_with(&[0xfe, 0xff]) {
        walk.damages.lost_at(0, "the file is in UTF-16; HAR is UTF-8");
        return walk.damages.into_list();
    }
    let mut found = false;
    let end = members(file, start, &mut |name, at| match (name, file.get(at)) {
        (b"log", Some(b'{')) => members(file, at, &mut |name, at| match (name, file.get(at)) {
            (b"entries", Some(b'[')) => {
                found = true;
                walk.entries(at + 1)
            }
            _ => whole(file, at),
        }),
        _ => whole(file, at),
    });
    match end {
        Ok(end) if !found => walk.damages.lost_at(end, "there are no entries in it"),
        Ok(end) => {
            let end = blank(file, end);
            if end < file.len() {
                walk.damages.lost_at(end, "something follows the archive");
            }
        }
        Err(at) if !found => {
            walk.damages.lost_at(at, "this is not how an archive begins");
            // The head of the file is broken; its entries need not be.
            if let Some(entry) = walk.next_entry(at) {
                let _ = walk.entries(entry);
            }
        }
        // Said where it was found, unless it is behind the entries.
        Err(at) => {
            if walk.each.is_some() {
                walk.damages.lost_at(at, "the file breaks off behind its entries");
            }
        }
    }
    walk.damages.into_list()
}

/// What stands beside the entries; what is broken is left out.
pub fn around(file: &Bytes) -> Around {
    let mut found = Vec::new();
    let _ = members(file, start(file), &mut |name, at| match (name, file.get(at)) {
        (b"log", Some(b'{')) => members(file, at, &mut |name, at| {
            let end = whole(file, at)?;
            let value = &file[at..end];
            let valid = |text: &[u8]| {
                std::str::from_utf8(text).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
            };
            if name != b"entries" && valid(value) && std::str::from_utf8(name).is_ok() {
                let name = [b"\"".as_slice(), name, b"\""].concat();
                if valid(&name) && !found.iter().any(|(known, _)| *known == name) {
                    found.push((Bytes::from(name), file.slice(at..end)));
                }
            }
            Ok(end)
        }),
        _ => whole(file, at),
    });
    Around { members: found }
}

/// Whether this is an object with a `log` in it.
pub(in crate::session) fn is_har(file: &[u8]) -> bool {
    let mut log = false;
    let _ = members(file, start(file), &mut |name, at| {
        if name == b"log" && file.get(at) == Some(&b'{') {
            log = true;
            return Err(at);
        }
        whole(file, at)
    });
    log
}

/// Behind a byte order mark.
fn start(file: &[u8]) -> usize {
    if file.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// The end of the value at `at`; an error where it has none.
fn whole(file: &[u8], at: usize) -> Result<usize, usize> {
    let end = value_end(file, at);
    let last = file.get(end.wrapping_sub(1));
    let closed = match file.get(at) {
        Some(b'"') => end > at + 1 && string(file, at + 1).end < file.len(),
        // A cut that falls behind some inner bracket leaves the outer open: told by the end of the file alone, and an
        // archive has brackets of its own behind any of its values.
        Some(b'{' | b'[') => matches!(last, Some(b'}' | b']')) && end < file.len(),
        _ => end > at,
    };
    if closed { Ok(end) } else { Err(end) }
}

/// Where a value ends, or where it breaks.
type End = Result<usize, usize>;

/// Gives name (as spelled) and start of the value of each member of the object at `at`; `member` says where it ends.
fn members(file: &[u8], at: usize, member: &mut dyn FnMut(&[u8], usize) -> End) -> End {
    let mut at = blank(file, at);
    if file.get(at) != Some(&b'{') {
        return Err(at);
    }
    at = blank(file, at + 1);
    if file.get(at) == Some(&b'}') {
        return Ok(at + 1);
    }
    loop {
        if file.get(at) != Some(&b'"') {
            return Err(at);
        }
        let name = string(file, at + 1);
        at = blank(file, name.end + 1);
        if file.get(at) != Some(&b':') {
            return Err(at.min(file.len()));
        }
        at = blank(file, member(&file[name.start..name.end], blank(file, at + 1))?);
        match file.get(at) {
            Some(b',') => at = blank(file, at + 1),
            Some(b'}') => return Ok(at + 1),
            _ => return Err(at),
        }
    }
}

struct Walk<'a, 'e> {
    file: &'a Bytes,
    damages: Damages,
    count: u64,
    /// Most bytes that are looked through again after damages, so that they cost no more than the file's length.
    budget: usize,
    /// None after the list of entries broke off.
    each: Option<&'e mut dyn FnMut(Exchange)>,
}

impl Walk<'_, '_> {
    /// Reads entries from `at` to the end of their list.
    fn entries(&mut self, mut at: usize) -> Result<usize, usize> {
        loop {
            at = blank(self.file, at);
            let broken = match self.file.get(at) {
                Some(b']') => return Ok(at + 1),
                Some(b',') => {
                    at += 1;
                    continue;
                }
                Some(b'{') => match self.entry(at) {
                    Ok(end) => {
                        at = end;
                        continue;
                    }
                    Err(broken) => broken,
                },
                Some(_) => {
                    self.damages.lost_at(at, "something that is no entry stands between the entries");
                    at
                }
                None => {
                    self.damages.lost_at(at, "the file ends before its list of entries does");
                    self.each = None;
                    return Err(at);
                }
            };
            match self.next_entry(broken) {
                Some(next) => at = next,
                None => {
                    if broken < self.file.len() {
                        self.damages.lost_at(broken, "no whole entry is found behind this");
                    }
                    self.each = None;
                    return Err(broken);
                }
            }
        }
    }

    /// Reads the entry at `at`. An error says where it breaks.
    fn entry(&mut self, at: usize) -> Result<usize, usize> {
        let tree = tree::read(self.file, at);
        self.count += 1;
        (self.damages.offset, self.damages.entry) = (at as u64, Some(self.count));
        let members = if let tree::Node::Object(members) = &tree.root { members.as_slice() } else { &[] };
        // Of an entry that breaks off the last member is the one that is not whole.
        let request = members.iter().position(|(name, _)| name[..] == *b"request");
        let readable = tree.broken.is_none() || request.is_some_and(|index| index + 1 < members.len());
        if let Some(broken) = tree.broken {
            let what = if broken >= self.file.len() { "the file ends in it" } else { "it breaks" };
            let left = if readable { "what stands before is read" } else { "it is not read" };
            self.damages.lost(format!("{what} at offset {broken}; {left}"));
        }
        if readable
            && let Some(mut exchange) = entry::exchange(self.file, &tree.root, &mut self.damages)
            && let Some(each) = &mut self.each
        {
            exchange.id = self.count.to_string();
            match tree.broken {
                None => exchange.extra = Some(self.file.slice(at..tree.end)),
                Some(_) => entry::cut(&mut exchange, &tree.root),
            }
            each(exchange);
        }
        tree.broken.map_or(Ok(tree.end), Err)
    }

    /// The first entry behind `at` that can be read whole.
    fn next_entry(&mut self, mut at: usize) -> Option<usize> {
        loop {
            at += memchr::memchr(b'{', self.file.get(at..)?)?;
            let tree = tree::read(self.file, at);
            let seen = tree.broken.unwrap_or(tree.end) - at;
            self.budget = self.budget.checked_sub(seen)?;
            if tree.broken.is_none() && tree.root.get("request").get("url").text().is_some() {
                return Some(at);
            }
            at = if tree.broken.is_none() { tree.end } else { at + 1 };
        }
    }
}

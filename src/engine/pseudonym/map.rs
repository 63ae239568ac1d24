//! The pairs of real values and pseudonyms: one value, one pseudonym, for ever.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::aliases::{Alias, AliasError};
use super::atoms::{self, Atom};
use super::mint::{Sort, candidate};
use super::table::{Pair, Table};

/// Of what is stored. It rises with what older versions could not read.
const VERSION: u32 = 1;
/// Beyond it values have no pseudonym, and the caller takes something else.
const MOST_PAIRS: usize = 16_384;
/// Candidates drawn for one value.
const MOST_CANDIDATES: u32 = 1024;

/// A stored map that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("the pseudonym map cannot be read: wrong key or damaged file")]
    Unreadable(#[source] serde_json::Error),
    #[error("the pseudonym map has format {0}; this version reads up to {VERSION}")]
    Newer(u32),
    #[error("the pseudonym map contradicts itself at pair {0}")]
    Contradiction(usize),
}

#[derive(Deserialize, Serialize)]
struct Stored {
    version: u32,
    pairs: Vec<StoredPair>,
}

#[derive(Deserialize, Serialize)]
struct StoredPair {
    kind: String,
    real: String,
    pseudo: String,
    /// Another pseudonym has taken its place; it is still restored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    retired: bool,
}

/// What became of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Replaced {
    By(String),
    /// Nothing in it says whose it is (`/usr/bin/node`).
    Nothing,
    /// Nothing can stand for it, or for a part of it, and come back: a number, a letter, a text.
    Impossible,
}

/// The map. Has no `Debug`: it is what is kept secret.
pub struct Pseudonyms {
    key: [u8; 32],
    pairs: Vec<Pair>,
    /// The number of a value's pair.
    by_real: HashMap<Arc<str>, usize>,
    /// All pseudonyms, folded.
    pseudos: HashSet<Box<str>>,
    /// Real values and words of the traffic that no pseudonym may meet, folded.
    avoided: HashSet<Box<str>>,
    table: Option<Arc<Table>>,
    changed: bool,
}

/// Upper and lower case are one where texts are compared.
pub(super) fn fold(text: &str) -> String {
    text.to_ascii_lowercase()
}

impl Pseudonyms {
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            pairs: Vec::new(),
            by_real: HashMap::new(),
            pseudos: HashSet::new(),
            avoided: HashSet::new(),
            table: None,
            changed: false,
        }
    }

    /// Reads what [`Pseudonyms::to_bytes`] gave, after the caller has decrypted it.
    pub fn from_bytes(key: [u8; 32], bytes: &[u8]) -> Result<Self, MapError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let version: Version = serde_json::from_slice(bytes).map_err(MapError::Unreadable)?;
        if version.version > VERSION {
            return Err(MapError::Newer(version.version));
        }
        let stored: Stored = serde_json::from_slice(bytes).map_err(MapError::Unreadable)?;
        let mut this = Self::new(key);
        for (number, pair) in stored.pairs.into_iter().enumerate() {
            let folded = fold(&pair.pseudo);
            let twice = !pair.retired && this.by_real.contains_key(pair.real.as_str());
            if folded.is_empty() || pair.real.is_empty() || twice {
                return Err(MapError::Contradiction(number));
            }
            this.add(&pair.kind, &pair.real, &pair.pseudo, pair.retired);
        }
        if let Some(number) = this.table().automaton.ambiguous() {
            return Err(MapError::Contradiction(number));
        }
        this.changed = false;
        Ok(this)
    }

    /// All pairs, in clear: the caller encrypts them. Equal maps give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let pairs = self.pairs.iter().enumerate().map(|(number, pair)| StoredPair {
            kind: pair.kind.to_string(),
            real: pair.real.to_string(),
            pseudo: pair.pseudo.to_string(),
            retired: self.by_real.get(&pair.real) != Some(&number),
        });
        let stored = Stored { version: VERSION, pairs: pairs.collect() };
        serde_json::to_vec(&stored).expect("texts and numbers are always JSON")
    }

    /// Whether pairs were added since the last question: then the map wants to be stored.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Values and words that no pseudonym may stand in or hold. Call it with all known facts before the first
    /// pseudonym is drawn.
    pub fn avoid<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        // One or two letters stand in everything.
        self.avoided.extend(words.into_iter().filter(|word| word.trim().len() >= 3).map(|word| fold(word).into()));
    }

    /// Takes the pairs of `--aliases` (`file`, for messages). A value that had another pseudonym gets this one;
    /// the old one is still restored.
    pub fn pin(&mut self, file: &str, aliases: &[Alias]) -> Result<(), AliasError> {
        for (entry, alias) in aliases.iter().enumerate() {
            let refuse = |message| Err(AliasError::Entry { file: file.to_owned(), entry, message });
            let folded = fold(&alias.pseudo);
            let current = self.by_real.get(alias.real.as_str()).map(|&number| &self.pairs[number]);
            if current.is_some_and(|pair| *pair.pseudo == *alias.pseudo) {
                continue;
            }
            if let Some(known) = self.pairs.iter().position(|pair| fold(&pair.pseudo) == folded) {
                // A pseudonym of the same value from before comes back.
                if *self.pairs[known].real != *alias.real {
                    return refuse("pseudo already stands for another value");
                }
                self.by_real.insert(self.pairs[known].real.clone(), known);
                (self.table, self.changed) = (None, true);
                continue;
            }
            if self.pseudos.iter().any(|other| meet(other, &folded)) {
                return refuse("pseudo stands in a pseudonym that is already given, or holds one");
            }
            let real = fold(&alias.real);
            if self.pairs.iter().any(|pair| fold(&pair.real).contains(&folded)) {
                return refuse("pseudo stands in a real value");
            }
            if self.avoided.iter().any(|word| word.contains(&folded)) {
                return refuse("pseudo is a real value or a word of this machine, or stands in one");
            }
            if self.pseudos.iter().any(|other| real.contains(&**other)) {
                return refuse("real holds a pseudonym that is already given");
            }
            self.add(&alias.kind, &alias.real, &alias.pseudo, false);
        }
        Ok(())
    }

    /// The pseudonym of one atom, drawn if it has none. None where nothing can stand for it (see [`Sort::of`]) or
    /// the map is full. `in_traffic` says whether a candidate stands in the text at hand by itself.
    pub fn atom(&mut self, kind: &str, value: &str, in_traffic: impl Fn(&str) -> bool) -> Option<Arc<str>> {
        if let Some(&number) = self.by_real.get(value) {
            return Some(self.pairs[number].pseudo.clone());
        }
        // What stands for a value already is sent as it is.
        if self.pseudos.contains(fold(value).as_str()) {
            return Some(value.into());
        }
        if self.pairs.len() >= MOST_PAIRS {
            return None;
        }
        let sort = Sort::of(kind, value)?;
        let folded = fold(value);
        let drawn = (0..MOST_CANDIDATES)
            .map(|counter| candidate(&self.key, sort, value, counter))
            .find(|drawn| !meet(drawn, &folded) && !self.clashes(drawn) && !in_traffic(drawn))?;
        self.add(kind, value, &drawn, false);
        Some(drawn.into())
    }

    /// `value` with its atoms replaced; as it is where pseudonyms stand there already.
    pub fn replace(&mut self, kind: &str, value: &str, in_traffic: impl Fn(&str) -> bool) -> Replaced {
        let known = if kind.starts_with("path.") && value.starts_with('-') { self.dashed(value) } else { Vec::new() };
        let atoms = if known.is_empty() { atoms::of(kind, value) } else { Some(known) };
        let Some(atoms) = atoms else {
            return match self.atom(kind, value, &in_traffic) {
                Some(pseudo) => Replaced::By(pseudo.to_string()),
                None => Replaced::Impossible,
            };
        };
        let mut out = String::with_capacity(value.len() + 16);
        let mut at = 0;
        for (range, kind) in atoms {
            let atom = &value[range.clone()];
            let Some(pseudo) = self.atom(kind, atom, &in_traffic) else {
                // Half a value is not sent; what is no atom at all stays.
                match Sort::of(kind, atom) {
                    Some(_) => return Replaced::Impossible,
                    None if kind == "user.name" => return Replaced::Impossible,
                    None => continue,
                }
            };
            out.push_str(&value[at..range.start]);
            out.push_str(&pseudo);
            at = range.end;
        }
        if at == 0 {
            return if kind.starts_with("path.") { Replaced::Nothing } else { Replaced::Impossible };
        }
        out.push_str(&value[at..]);
        Replaced::By(out)
    }

    /// The rest of a path with the folders replaced that have a pseudonym already; none where there is none of them.
    pub fn known_folders(&self, rest: &str) -> Option<String> {
        let mut out = String::with_capacity(rest.len() + 16);
        let mut any = false;
        for segment in rest.split_inclusive(['/', '\\']) {
            let name = segment.trim_end_matches(['/', '\\']);
            let pair = self.by_real.get(name).map(|&number| &self.pairs[number]);
            match pair.filter(|pair| name.len() >= 3 && (pair.kind.starts_with("path.") || &*pair.kind == "user.name"))
            {
                Some(pair) => {
                    any = true;
                    out.push_str(&pair.pseudo);
                    out.push_str(&segment[name.len()..]);
                }
                None => out.push_str(segment),
            }
        }
        any.then_some(out)
    }

    /// Where known names and folders stand in a path whose separators, and all else but letters and digits, were turned
    /// into hyphens: it does not say itself where a folder ends.
    fn dashed(&self, value: &str) -> Vec<Atom> {
        let mut found: Vec<Atom> = Vec::new();
        let named = self.pairs.iter().filter(|pair| pair.kind.starts_with("path.") || &*pair.kind == "user.name");
        let mut names: Vec<String> = named.map(|pair| hyphened(&pair.real)).filter(|name| name.len() >= 3).collect();
        // Of two that begin alike the longer one is meant.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names {
            for (at, _) in value.match_indices(&name) {
                let end = at + name.len();
                let whole = value[..at].ends_with('-') && matches!(value.as_bytes().get(end), None | Some(b'-'));
                if whole && found.iter().all(|(taken, _)| end <= taken.start || taken.end <= at) {
                    found.push((at..end, "path.project"));
                }
            }
        }
        found.sort_by_key(|(range, _)| range.start);
        found
    }

    /// Takes in what another process stored ([`Pseudonyms::to_bytes`]): its pairs are restored here as well. A value that
    /// has a pseudonym here keeps it.
    pub fn merge(&mut self, bytes: &[u8]) -> Result<(), MapError> {
        let other = Self::from_bytes(self.key, bytes)?;
        let changed = self.changed;
        for (number, pair) in other.pairs.iter().enumerate() {
            let folded = fold(&pair.pseudo);
            if self.pseudos.contains(folded.as_str()) {
                continue;
            }
            // What cannot be told from a pseudonym of ours cannot be restored beside it.
            if self.pseudos.iter().any(|own| meet(own, &folded)) {
                continue;
            }
            let current = other.by_real.get(&pair.real) == Some(&number);
            let retired = !current || self.by_real.contains_key(&pair.real);
            self.add(&pair.kind, &pair.real, &pair.pseudo, retired);
        }
        self.changed = changed;
        Ok(())
    }

    /// The pairs as they are now, for a response to be restored by.
    pub fn table(&mut self) -> Arc<Table> {
        let pairs = &self.pairs;
        self.table.get_or_insert_with(|| Arc::new(Table::new(pairs.clone()))).clone()
    }

    /// Whether `drawn` stands in what is known, or that in it.
    fn clashes(&self, drawn: &str) -> bool {
        self.pseudos.iter().any(|other| meet(other, drawn))
            || self.avoided.iter().any(|word| meet(word, drawn))
            || self.pairs.iter().any(|pair| {
                let real = fold(&pair.real);
                real.contains(drawn) || real.len() >= 3 && drawn.contains(&real)
            })
    }

    fn add(&mut self, kind: &str, real: &str, pseudo: &str, retired: bool) {
        let pair = Pair { kind: kind.into(), real: real.into(), pseudo: pseudo.into() };
        if !retired {
            self.by_real.insert(pair.real.clone(), self.pairs.len());
        }
        self.pseudos.insert(fold(pseudo).into());
        self.pairs.push(pair);
        (self.table, self.changed) = (None, true);
    }
}

/// `text` as it stands in the name of a folder that was made of a path.
fn hyphened(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// Whether one stands in the other.
fn meet(one: &str, other: &str) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MapError, Pseudonyms, Replaced, fold};
    use crate::engine::pseudonym::parse_aliases;

    const KEY: [u8; 32] = [7; 32];

    fn nowhere(_: &str) -> bool {
        false
    }

    fn of(map: &mut Pseudonyms, kind: &str, value: &str) -> String {
        match map.replace(kind, value, nowhere) {
            Replaced::By(text) => text,
            other => panic!("{kind} {value}: {other:?}"),
        }
    }

    #[test]
    fn one_login_is_one_wherever_it_stands() {
        let mut map = Pseudonyms::new(KEY);
        let login = of(&mut map, "user.name", "ann");
        assert_eq!(of(&mut map, "path.home", "/home/ann/work"), format!("/home/{login}/work"));
        assert_eq!(of(&mut map, "git.email", "ann@gmail.com"), format!("{login}@gmail.com"));
        assert_eq!(of(&mut map, "host.name", "ann"), login);
        assert_ne!(of(&mut map, "user.name", "Ann"), login, "another spelling must come back as itself");
        assert_eq!(of(&mut map, "path.home", &format!("/home/{login}")), format!("/home/{login}"), "it is one already");
        assert_eq!(map.table().pairs().len(), 2);
        let project = of(&mut map, "path.cwd", "/srv/billing");
        assert!(project.starts_with("/srv/") && !project.contains("billing"), "{project}");
        assert_eq!(map.replace("path.exec", "/usr/bin/node", nowhere), Replaced::Nothing);
        assert_eq!(map.replace("path.home", "/home/a", nowhere), Replaced::Impossible);
        assert_eq!(map.replace("user.uid", "1000", nowhere), Replaced::Impossible);
    }

    #[test]
    fn folders_are_known_in_paths_of_hyphens() {
        let mut map = Pseudonyms::new(KEY);
        let cwd = of(&mut map, "path.cwd", "/tmp/ann.x7/my-shop");
        let (home, shop) = cwd["/tmp/".len()..].split_once('/').unwrap();
        let dashed = of(&mut map, "path.project", "-tmp-ann-x7-my-shop");
        assert!(dashed.ends_with(&format!("-{shop}")), "{dashed}");
        assert!(!dashed.contains("ann") && !dashed.contains("x7") && !dashed.contains(home), "{dashed}");
        assert_eq!(map.table().count(dashed.as_bytes()), 2, "each comes back as it was");
        let login = of(&mut map, "user.name", "jean-luc");
        assert_eq!(of(&mut map, "path.project", "-home-jean-luc-shop"), format!("-home-{login}-shop"));
    }

    #[test]
    fn pairs_of_another_process_are_restored_as_well() {
        let (mut one, mut other) = (Pseudonyms::new(KEY), Pseudonyms::new([8; 32]));
        let (ours, theirs) = (of(&mut one, "user.name", "ann"), of(&mut other, "user.name", "ann"));
        let ben = of(&mut other, "user.name", "ben");
        one.merge(&other.to_bytes()).ok().unwrap();
        assert_eq!(of(&mut one, "user.name", "ann"), ours, "a value keeps its pseudonym");
        assert_eq!(of(&mut one, "user.name", "ben"), ben);
        assert_eq!(one.table().count(format!("{ours} {theirs} {ben}").as_bytes()), 3);
    }

    #[test]
    fn a_candidate_that_stands_in_known_words_or_the_traffic_is_passed_over() {
        let first = of(&mut Pseudonyms::new(KEY), "user.name", "ann");
        let mut map = Pseudonyms::new(KEY);
        map.avoid([format!("x{}", first.to_uppercase()).as_str()]);
        let second = of(&mut map, "user.name", "ann");
        assert_ne!(second, first);
        let third = Pseudonyms::new(KEY).atom("user.name", "ann", |drawn| drawn == first).unwrap();
        assert_eq!(*third, *second);
        assert!(Pseudonyms::new(KEY).atom("user.name", "ann", |_| true).is_none());
    }

    #[test]
    fn what_is_stored_comes_back_and_what_is_damaged_is_refused() {
        let mut map = Pseudonyms::new(KEY);
        let login = of(&mut map, "user.name", "ann");
        assert!(map.take_changed() && !map.take_changed());
        let bytes = map.to_bytes();
        let mut again = Pseudonyms::from_bytes([9; 32], &bytes).ok().unwrap();
        assert_eq!(of(&mut again, "user.name", "ann"), login, "stored pairs outlive the key");
        assert_eq!(again.to_bytes(), bytes);
        assert!(!again.take_changed());
        assert!(matches!(Pseudonyms::from_bytes(KEY, &bytes[1..]), Err(MapError::Unreadable(_))));
        assert!(matches!(Pseudonyms::from_bytes(KEY, br#"{"version":2,"x":1}"#), Err(MapError::Newer(2))));
        let twice = br#"{"version":1,"pairs":[{"kind":"user.name","real":"a","pseudo":"zova"},{"kind":"user.name","real":"b","pseudo":"zovake"}]}"#;
        assert!(matches!(Pseudonyms::from_bytes(KEY, twice), Err(MapError::Contradiction(0))));
    }

    #[test]
    fn pinned_pairs_win_and_what_they_replace_is_still_restored() {
        let mut map = Pseudonyms::new(KEY);
        let old = of(&mut map, "user.name", "ann");
        let aliases = parse_aliases("a.json", r#"[{"real":"ann","pseudo":"robin"}]"#).unwrap();
        map.pin("a.json", &aliases).unwrap();
        assert_eq!(of(&mut map, "user.name", "ann"), "robin");
        assert_eq!(map.table().count(format!("robin and {old}").as_bytes()), 2);
        let mut again = Pseudonyms::from_bytes(KEY, &map.to_bytes()).ok().unwrap();
        again.pin("a.json", &aliases).unwrap();
        assert_eq!(again.to_bytes(), map.to_bytes());
        let clash = parse_aliases("b.json", r#"[{"real":"bo","pseudo":"robins"}]"#).unwrap();
        let message = again.pin("b.json", &clash).unwrap_err().to_string();
        assert!(message.starts_with("b.json: entry 0: pseudo stands in"), "{message}");
    }

    #[test]
    fn thousands_of_values_are_told_apart() {
        let mut map = Pseudonyms::new(KEY);
        for number in 0..1500 {
            of(&mut map, "user.name", &format!("person{number}"));
            of(&mut map, "net.ip.local", &format!("10.0.{}.{}", number / 250, number % 250));
        }
        for number in 0..400 {
            of(&mut map, "net.ip.public", &format!("81.2.{}.{}", number / 250, number % 250));
        }
        let all: Vec<String> = map.table().pairs().iter().map(|pair| fold(&pair.pseudo)).collect();
        for (index, one) in all.iter().enumerate() {
            assert!(
                all[..index].iter().all(|other| !one.contains(other.as_str()) && !other.contains(one.as_str())),
                "{one}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_order_of_appearance_does_not_matter_where_values_are_known_before(names in prop::collection::hash_set("[a-z]{2,12}", 2..20)) {
            let names: Vec<String> = names.into_iter().collect();
            let (mut one, mut other) = (Pseudonyms::new(KEY), Pseudonyms::new(KEY));
            for map in [&mut one, &mut other] {
                map.avoid(names.iter().map(String::as_str));
            }
            let forward: Vec<_> = names.iter().map(|name| one.atom("user.name", name, nowhere)).collect();
            let mut backward: Vec<_> = names.iter().rev().map(|name| other.atom("user.name", name, nowhere)).collect();
            backward.reverse();
            prop_assert_eq!(forward, backward);
        }
    }
}

//! Which rules a name calls for, whatever its spelling: `deviceId`, `Device-ID`, `x-device-id`,
//! `app.device_id` all read `device id`, and so do `deviceid` and `设备ID`.

use std::collections::{BTreeMap, HashMap, HashSet};

use regex::RegexSet;

use super::rule::Rule;

/// Names longer than this name nothing that a rule knows.
pub(crate) const LONGEST: usize = 96;

/// Lower-case words joined by `_`, without a leading `x`, in place: no allocation.
pub(crate) struct Words {
    text: [u8; LONGEST * 2],
    len: usize,
    /// Where each word begins; only the last eight matter.
    starts: [u8; 8],
    count: usize,
}

impl Words {
    pub fn of(name: &str) -> Option<Self> {
        if name.is_empty() || name.len() > LONGEST {
            return None;
        }
        let mut words = Words { text: [0; LONGEST * 2], len: 0, starts: [0; 8], count: 0 };
        let bytes = name.as_bytes();
        let mut boundary = true;
        for (index, &byte) in bytes.iter().enumerate() {
            if !byte.is_ascii_alphanumeric() {
                // Not a name but a sentence, a path or other text.
                if !matches!(byte, b'_' | b'-' | b'.' | b':' | b'$' | b' ') {
                    return None;
                }
                boundary = true;
                continue;
            }
            let previous = index.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b'_');
            let next = bytes.get(index + 1).copied().unwrap_or(b'_');
            let after_next = bytes.get(index + 2).copied().unwrap_or(b'_');
            // `deviceId`, and `OSVersion` before its V; `deviceIDs` keeps its s.
            let plural = next == b's' && !after_next.is_ascii_lowercase();
            let hump = byte.is_ascii_uppercase()
                && (previous.is_ascii_lowercase()
                    || previous.is_ascii_digit()
                    || (previous.is_ascii_uppercase() && next.is_ascii_lowercase() && !plural));
            if boundary || hump {
                if words.len == 1 && words.text[0] == b'x' {
                    words.len = 0;
                    words.count = 0;
                }
                if words.len > 0 {
                    words.put(b'_');
                }
                if words.count == words.starts.len() {
                    words.starts.copy_within(1.., 0);
                    words.count -= 1;
                }
                words.starts[words.count] = words.len as u8;
                words.count += 1;
            }
            boundary = false;
            words.put(byte.to_ascii_lowercase());
        }
        (words.len > 0).then_some(words)
    }

    fn put(&mut self, byte: u8) {
        self.text[self.len] = byte;
        self.len += 1;
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }

    /// The name from each of its last words on: `app_device_id`, `device_id`, `id`.
    fn tails(&self) -> impl Iterator<Item = &str> {
        let text = self.as_str();
        self.starts[..self.count].iter().map(move |&start| &text[usize::from(start)..])
    }
}

/// Whether a name says what it names only together with the name around it: `os.version`, `device.id`.
pub(crate) fn is_vague(name: &str) -> bool {
    const VAGUE: &[&str] = &[
        "id",
        "uuid",
        "guid",
        "hash",
        "name",
        "user_name",
        "username",
        "email",
        "user_email",
        "version",
        "ver",
        "release",
        "type",
        "family",
        "arch",
        "architecture",
        "model",
        "brand",
        "count",
        "cores",
        "total",
        "size",
        "path",
        "dir",
        "root",
        "url",
        "remote_url",
        "remote",
        "origin",
        "branch",
        "sha",
        "commit",
        "head",
        "address",
        "ip",
        "mac",
        "serial",
        "zone",
        "offset",
        "abbr",
        "city",
        "country",
        "country_code",
        "region",
        "lat",
        "lon",
        "width",
        "height",
        "w",
        "h",
        "kind",
        "program",
        "language",
        "locale",
        "build",
        "distro",
        "kernel",
        "platform",
        "hostname",
        "host",
        "login",
        "key",
    ];
    Words::of(name).is_some_and(|words| VAGUE.contains(&words.as_str()))
}

/// A name without its case and its signs: `Geräte_ID` is `geräteid`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || *c == '\u{30fc}').flat_map(char::to_lowercase).collect()
}

/// Names to rules. Asked once for every distinct name; the answers are kept.
#[derive(Debug, Default)]
pub(crate) struct NameIndex {
    /// In words, whole.
    whole: HashMap<Box<str>, Vec<u16>>,
    /// In words, the tail of a name.
    tail: HashMap<Box<str>, Vec<u16>>,
    /// As spelled.
    exact: HashMap<Box<str>, Vec<u16>>,
    /// Every word that a rule's name is made of.
    words: HashSet<Box<str>>,
    /// Names in other languages, as [`plain`] has them, and what they are called in rules.
    aliases: HashMap<Box<str>, Box<str>>,
    keys: Option<RegexSet>,
    key_rules: Vec<u16>,
    /// Rules that look at values under any name.
    unnamed: Vec<u16>,
}

impl NameIndex {
    /// `aliases` are those of all packs: `"设备ID" = "device_id"`.
    pub fn new<'p>(rules: &[Rule], aliases: impl IntoIterator<Item = &'p BTreeMap<String, String>>) -> Self {
        let mut index = Self::default();
        for (alias, name) in aliases.into_iter().flatten() {
            index.aliases.insert(plain(alias).into(), name.as_str().into());
        }
        let mut keys = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let number = number as u16;
            let select = &rule.select;
            if select.text {
                continue;
            }
            let mut named = false;
            for name in &select.names {
                named = true;
                let (map, name) = match name.strip_prefix("*_") {
                    Some(tail) => (&mut index.tail, tail),
                    None => (&mut index.whole, name.as_str()),
                };
                map.entry(name.into()).or_default().push(number);
                index.words.extend(name.split('_').filter(|word| word.len() > 1).map(Box::from));
            }
            for header in &select.header {
                named = true;
                index.exact.entry(header.as_str().into()).or_default().push(number);
            }
            if let Some(key) = &select.key {
                named = true;
                keys.push(key.as_str().to_owned());
                index.key_rules.push(number);
            }
            if !named {
                let last = select.path.iter().map(|glob| glob.last_name()).collect::<Option<Vec<_>>>();
                match last.filter(|last| !last.is_empty()) {
                    Some(last) => {
                        for name in last {
                            index.exact.entry(name.into()).or_default().push(number);
                        }
                    }
                    None => index.unnamed.push(number),
                }
            }
        }
        // Each pattern compiled alone already, so the set fails only for its size; then each key is tried alone.
        index.keys = RegexSet::new(&keys).ok();
        index
    }

    /// The rules that `name` calls for, in order.
    pub fn candidates(&self, name: &str, rules: &[Rule]) -> Vec<u16> {
        let mut found = self.unnamed.clone();
        if let Some(list) = self.exact.get(name) {
            found.extend(list);
        }
        if name.len() <= LONGEST {
            match &self.keys {
                Some(keys) => found.extend(keys.matches(name).into_iter().map(|key| self.key_rules[key])),
                None => found.extend(self.key_rules.iter().copied().filter(|&number| {
                    let key = rules.get(usize::from(number)).and_then(|rule| rule.select.key.as_ref());
                    key.is_some_and(|key| key.is_match(name))
                })),
            }
        }
        if let Some(words) = Words::of(name) {
            self.add_named(&words, &mut found);
            if let Some(parted) = self.parted(words.as_str()).as_deref().and_then(Words::of) {
                self.add_named(&parted, &mut found);
            }
        }
        if name.len() <= LONGEST
            && let Some(words) = self.aliases.get(plain(name).as_str()).and_then(|alias| Words::of(alias))
        {
            self.add_named(&words, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn add_named(&self, words: &Words, found: &mut Vec<u16>) {
        found.extend(self.whole.get(words.as_str()).into_iter().flatten());
        for tail in words.tails() {
            found.extend(self.tail.get(tail).into_iter().flatten());
        }
    }

    /// The words of a name that were written together, apart: `gituseremail` is `git_user_email`.
    fn parted(&self, words: &str) -> Option<String> {
        let mut found = false;
        let parts: Vec<String> = words
            .split('_')
            .map(|word| {
                let apart = if self.words.contains(word) { None } else { self.apart(word) };
                found |= apart.is_some();
                apart.unwrap_or_else(|| word.to_owned())
            })
            .collect();
        found.then(|| parts.join("_"))
    }

    /// `run` as the fewest known words that it is made of.
    fn apart(&self, run: &str) -> Option<String> {
        const RUN: usize = 32;
        const WORD: std::ops::RangeInclusive<usize> = 2..=14;
        if !(5..=RUN).contains(&run.len()) || !run.is_ascii() {
            return None;
        }
        // For each place: of how many words what stands before it is made, and where the last of them begins.
        let mut best: [Option<(usize, usize)>; RUN + 1] = [None; RUN + 1];
        best[0] = Some((0, 0));
        for start in 0..run.len() {
            let Some((count, _)) = best[start] else { continue };
            for end in WORD.map(|length| start + length).take_while(|&end| end <= run.len()) {
                let fewer = best[end].is_none_or(|(before, _)| count + 1 < before);
                if fewer && self.words.contains(&run[start..end]) {
                    best[end] = Some((count + 1, start));
                }
            }
        }
        let mut words = Vec::new();
        let mut end = run.len();
        while end > 0 {
            let (_, start) = best[end]?;
            words.push(&run[start..end]);
            end = start;
        }
        words.reverse();
        Some(words.join("_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_reads_the_same() {
        for (name, words) in [
            ("device_id", "device_id"),
            ("deviceId", "device_id"),
            ("deviceID", "device_id"),
            ("DeviceID", "device_id"),
            ("Device-Id", "device_id"),
            ("x-device-id", "device_id"),
            ("X-Device-ID", "device_id"),
            ("device.id", "device_id"),
            ("DEVICE_ID", "device_id"),
            ("OSVersion", "os_version"),
            ("osVersion", "os_version"),
            ("deviceIDs", "device_ids"),
            ("ai.user.id", "ai_user_id"),
            ("x", "x"),
        ] {
            assert_eq!(Words::of(name).map(|words| words.as_str().to_owned()).as_deref(), Some(words), "{name}");
        }
        assert!(Words::of("/home/ann").is_none());
    }

    #[test]
    fn words_that_were_written_together_are_read_apart() {
        let words = ["git", "user", "email", "os", "version", "id", "device", "time", "zone", "to"];
        let index = NameIndex { words: words.into_iter().map(Box::from).collect(), ..NameIndex::default() };
        for (name, expected) in [
            ("gituseremail", Some("git_user_email")),
            ("app_osversion", Some("app_os_version")),
            ("deviceid", Some("device_id")),
            ("version", None),
            ("versions", None),
            ("osid", None),
            ("customer", None),
            ("device_id", None),
        ] {
            assert_eq!(index.parted(name).as_deref(), expected, "{name}");
        }
        assert_eq!(plain("Geräte_ID"), "geräteid");
        assert_eq!(plain("サーバー名"), "サーバー名");
    }

    #[test]
    fn names_of_any_length_and_many_words_are_taken() {
        let name = "aB".repeat(48);
        assert!(Words::of(&name).is_some());
        assert!(Words::of(&"a".repeat(97)).is_none());
        let last = Words::of("a_b_c_d_e_f_g_h_i_device_id").map(|words| words.tails().last().map(str::to_owned));
        assert_eq!(last, Some(Some("id".to_owned())));
    }
}

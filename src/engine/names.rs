//! Keeps found values out of what names their places: a member called `/home/ann/p`, a path segment.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use memchr::memmem::find;

use super::finding::Finding;
use super::line::telling;
use super::location::{Location, Root, Step, write_name};

/// The values found in one flow so far that must not be read off a location. Has no `Debug` that shows them.
#[derive(Clone, Default)]
pub struct Names {
    values: Vec<Value>,
    /// Path segments that hold a finding.
    segments: BTreeSet<u32>,
}

#[derive(Clone)]
struct Value {
    text: Arc<str>,
    /// As it is spelled in a location.
    spelled: OnceLock<(Box<str>, Signs)>,
}

impl Value {
    fn spelled(&self) -> &(Box<str>, Signs) {
        self.spelled.get_or_init(|| {
            let mut spelled = String::with_capacity(self.text.len() + 4);
            // Writing to a string cannot fail.
            let _ = write_name(&self.text, &mut spelled);
            let signs = Signs::of(&spelled);
            (spelled.into(), signs)
        })
    }
}

/// The bytes of a text, each once: hardly a value is spelled with those of a location alone.
#[derive(Clone, Copy, Default)]
struct Signs([u64; 4]);

/// `~0123`.
const ESCAPES: Signs = Signs([0xf << b'0', 1 << (b'~' & 63), 0, 0]);

impl Signs {
    fn of(text: &str) -> Self {
        Self::default().with(text.as_bytes())
    }

    fn with(mut self, text: &[u8]) -> Self {
        for byte in text {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
        self
    }

    fn are_among(self, others: Self) -> bool {
        self.0.iter().zip(others.0).all(|(own, others)| own & !others == 0)
    }
}

/// Values of a flow that are remembered; a request with more has no names worth hiding left.
const MOST: usize = 512;

impl Names {
    /// Whether nothing was found yet.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.segments.is_empty()
    }

    pub(super) fn learn(&mut self, findings: &[Finding]) {
        for finding in findings {
            if let Root::Path(segment) = finding.location.root {
                self.segments.insert(segment);
            }
            for value in telling(finding) {
                self.add(value);
            }
        }
    }

    fn add(&mut self, value: &Arc<str>) {
        if self.values.len() < MOST && !self.values.iter().any(|known| known.text == *value) {
            // The longest first: a home is found by itself too, and hides nothing of the folder below it.
            let at = self.values.partition_point(|known| known.text.len() >= value.len());
            self.values.insert(at, Value { text: value.clone(), spelled: OnceLock::new() });
        }
    }

    /// The printed location with found values in its names replaced by `…`; none where there are none.
    pub(super) fn masked(&self, location: &Location) -> Option<Box<str>> {
        let root = match &location.root {
            Root::Header { name, .. } | Root::Trailer(name) => Some(&**name),
            _ => None,
        };
        let names = || location.steps.iter().filter_map(Step::name).chain(root).map(str::as_bytes);
        if self.values.is_empty() || location.steps.iter().all(|step| step.name().is_none_or(str::is_empty)) {
            return None;
        }
        // Some names are kept as they are printed, others as they are: these may get the signs of an escape.
        let there = names().fold(ESCAPES, Signs::with);
        let stands = |value: &&Value| {
            let (spelled, signs) = value.spelled();
            let either = |name| find(name, spelled.as_bytes()).or_else(|| find(name, value.text.as_bytes())).is_some();
            signs.are_among(there) && names().any(either)
        };
        let mut masked: Option<String> = None;
        for (spelled, _) in self.values.iter().filter(stands).map(Value::spelled) {
            masked = Some(masked.unwrap_or_else(|| location.to_string()).replace(&**spelled, "…"));
        }
        masked.map(Into::into)
    }

    /// The location as it may be shown.
    pub fn shown(&self, location: &Location, reveal: bool) -> String {
        match self.masked(location) {
            Some(masked) if !reveal => masked.into(),
            _ => location.to_string(),
        }
    }

    /// A path whose segments that hold a found value are `…`.
    pub fn mask_path(&self, path: &str) -> String {
        let mut masked = String::with_capacity(path.len());
        for (index, segment) in path.split('/').enumerate() {
            if index > 0 {
                masked.push('/');
            }
            // Segments are counted from the one after the first slash.
            let found = index > 0 && self.segments.contains(&(index as u32 - 1));
            let holds = self.values.iter().any(|value| segment.contains(&*value.text));
            masked.push_str(if found || holds { "…" } else { segment });
        }
        masked
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Names({} values)", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_kept_unescaped_are_looked_through_as_well() {
        let mut names = Names::default();
        names.add(&"/home/ann!~".into());
        for (step, shown) in [
            (Step::Form("p/home/ann!~q".into()), "body!form:/p…q"),
            (Step::Cookie("/home/ann!~".into()), "body!cookie:/…"),
            (Step::Json("/a/~1home~1ann~2~0/0".into()), "body!json:/a/…/0"),
            (Step::Json("/a/home/ann".into()), "body!json:/a/home/ann"),
        ] {
            let location = Location { root: Root::Body, steps: vec![step] };
            assert_eq!(names.shown(&location, false), shown);
            assert_eq!(names.shown(&location, true), location.to_string());
        }
        assert_eq!(ESCAPES.0, Signs::of("~0123").0);
    }

    #[test]
    fn a_name_is_hidden_whole_whatever_part_of_it_was_found_first() {
        let step = Step::MsgPack("/workspaces/~1home~1ann~1oak/branch".into());
        let location = Location { root: Root::Body, steps: vec![step] };
        let (home, folder): (Arc<str>, Arc<str>) = ("/home/ann".into(), "/home/ann/oak".into());
        for values in [[&home, &folder], [&folder, &home]] {
            let mut names = Names::default();
            values.into_iter().for_each(|value| names.add(value));
            assert_eq!(names.shown(&location, false), "body!msgpack:/workspaces/…/branch");
        }
    }
}

//! How the requests that have one place spell it, and what others agree on where one of them differs.

use std::borrow::Cow;

/// Spellings of one place; one with more has none that it should have.
pub(super) const SPELLINGS: usize = 6;

/// How often one place was seen, and how it was spelled. Nearly all places have one spelling, and there are many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Spellings {
    One { spelling: u32, requests: u32 },
    Several(Box<Several>),
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Several {
    pub(super) requests: u32,
    /// Requests that spell it in several ways.
    pub(super) mixed: u32,
    /// Empty where there are too many.
    pub(super) counts: Vec<(u32, u32)>,
    pub(super) free: bool,
}

/// What others agree on, where a request differs.
pub(in crate::engine::detect::template) struct Usual {
    pub spelling: u32,
    /// Requests that spell it so.
    pub agree: u32,
    /// Other requests that do not.
    pub others: u32,
}

impl Spellings {
    /// One request's spellings of a place that was not known.
    pub(super) fn of(seen: &[(u64, u32)]) -> Self {
        match seen {
            [(_, spelling)] => Self::One { spelling: *spelling, requests: 1 },
            _ => {
                let mut several = Self::Several(Box::default());
                several.add(seen);
                several
            }
        }
    }

    /// One request's spellings of the place.
    pub(super) fn add(&mut self, seen: &[(u64, u32)]) {
        if let Self::One { spelling, requests } = self {
            if let [(_, same)] = seen
                && same == spelling
            {
                *requests = requests.saturating_add(1);
                return;
            }
            let several = Several { requests: *requests, counts: vec![(*spelling, *requests)], ..Several::default() };
            *self = Self::Several(Box::new(several));
        }
        let Self::Several(several) = self else { return };
        several.requests = several.requests.saturating_add(1);
        several.mixed = several.mixed.saturating_add(u32::from(seen.len() > 1));
        if several.free {
            return;
        }
        for &(_, spelling) in seen {
            match several.counts.binary_search_by_key(&spelling, |&(known, _)| known) {
                Ok(at) => several.counts[at].1 = several.counts[at].1.saturating_add(1),
                Err(at) => {
                    several.counts.reserve_exact(1);
                    several.counts.insert(at, (spelling, 1));
                }
            }
        }
        if several.counts.len() > SPELLINGS {
            several.free = true;
            several.counts = Vec::new();
        }
    }

    /// In the shortest form.
    pub(super) fn tidied(self) -> Self {
        match &self {
            Self::Several(several) if several.mixed == 0 && !several.free => match several.counts[..] {
                [(spelling, count)] if count == several.requests => Self::One { spelling, requests: count },
                _ => self,
            },
            _ => self,
        }
    }

    pub(super) fn requests(&self) -> u32 {
        match self {
            Self::One { requests, .. } => *requests,
            Self::Several(several) => several.requests,
        }
    }

    pub(super) fn mixed(&self) -> u32 {
        match self {
            Self::One { .. } => 0,
            Self::Several(several) => several.mixed,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self, Self::Several(several) if several.free)
    }

    pub(super) fn counts(&self) -> Cow<'_, [(u32, u32)]> {
        match self {
            Self::One { spelling, requests } => vec![(*spelling, *requests)].into(),
            Self::Several(several) => several.counts.as_slice().into(),
        }
    }

    pub(super) fn count(&self, spelling: u32) -> Option<u32> {
        match self {
            Self::One { spelling: known, requests } => (*known == spelling).then_some(*requests),
            Self::Several(several) => {
                several.counts.iter().find(|(known, _)| *known == spelling).map(|(_, count)| *count)
            }
        }
    }

    pub(super) fn unlike(&self, spelling: u32, own: u32) -> Option<Usual> {
        let (usual, agree, others, loose) = match self {
            Self::One { spelling, requests } => (*spelling, *requests, 0, false),
            Self::Several(several) => {
                let &(usual, agree) =
                    several.counts.iter().max_by_key(|(digest, count)| (*count, std::cmp::Reverse(*digest)))?;
                let all: u32 = several.counts.iter().map(|(_, count)| count).sum();
                (usual, agree, all.saturating_sub(agree), several.is_loose(own))
            }
        };
        if usual == spelling || agree < 2 || agree < others + (1 - own.min(1)) + 1 || loose {
            return None;
        }
        Some(Usual { spelling: usual, agree, others: others.saturating_sub(own) })
    }

    pub(super) fn variants(&self, spelling: u32) -> Option<Usual> {
        const LEAST: u32 = 3;
        let Self::Several(several) = self else { return None };
        let [a, b] = several.counts[..] else { return None };
        let (usual, other) = if (a.1, b.0) >= (b.1, a.0) { (a, b) } else { (b, a) };
        let common = other.1 >= LEAST && other.1.saturating_mul(3) >= usual.1 && several.mixed == 0;
        let here = spelling == a.0 || spelling == b.0;
        (common && here).then_some(Usual { spelling: usual.0, agree: usual.1, others: other.1 })
    }
}

impl Several {
    /// Spelled this way and that within single requests: it is nobody's template.
    fn is_loose(&self, own: u32) -> bool {
        self.mixed > own && self.mixed.saturating_mul(4) > self.requests
    }
}

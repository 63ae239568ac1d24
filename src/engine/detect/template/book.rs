//! What was learned: for each client, version and endpoint, how each place of its own text is spelled.
//!
//! ```text
//! request -> Lesson -> Templates::learn -> the snapshot that later requests are compared with
//! ```
//!
//! Holds digests of places, spellings (punctuation, white space, odd letters), names of members and counts, never
//! text. Lessons may be learned in any order: the result is the same.

mod kept;
mod spellings;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use self::spellings::{SPELLINGS, Spellings, Usual};
use super::text::mix;

/// Most places of one page: of more, those are kept whose digests begin with so many zero bits that they fit, whatever order
/// they come in.
const PLACES: usize = 131_072;
/// Most zero bits that are asked for.
const LEVELS: u32 = 63;
/// Clients, versions and endpoints.
const PAGES: usize = 192;
/// Places of all pages: some 50 MB.
const ALL_PLACES: usize = 1_200_000;
/// Texts of spellings, for all pages.
const TEXTS: usize = 8192;
/// Observations of one request.
const OBSERVED: usize = 1 << 18;
/// Among so many the same one is looked for.
const NEAR: usize = 32;
/// A snapshot of what was learned. Cheap to clone: pages are shared.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    pages: HashMap<u64, Arc<Page>>,
    texts: Arc<BTreeMap<u32, Box<str>>>,
    /// Another one for other texts.
    revision: u64,
    /// The requests that are compared are among those that were learned from.
    own: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    requests: u32,
    /// Day of the last lesson, as the caller counts.
    day: u32,
    places: Places,
    /// Zero bits that the digests of its places begin with.
    level: u32,
    /// Another one after each lesson, and for each order of lessons: knowledge that differs has another.
    revision: u64,
}

/// Keys are digests already.
pub(super) type Digests<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;
type Places = Digests<Spellings>;

#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// What one request would teach.
#[derive(Clone, Debug, Default)]
pub struct Lesson {
    page: u64,
    /// Nothing is kept for a lesson that nobody wants.
    wanted: bool,
    noted: Noted,
    /// Of texts that may be those of other requests too.
    shared: Vec<Arc<Noted>>,
    /// Observations in them.
    length: usize,
}

/// How places are spelled, and the spellings.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Noted {
    seen: Vec<(u64, u32)>,
    texts: BTreeMap<u32, Box<str>>,
}

impl Noted {
    #[cfg(test)]
    pub fn of(seen: Vec<(u64, u32)>) -> Self {
        Self { seen, texts: BTreeMap::new() }
    }

    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Each place and spelling once.
    pub fn tidied(mut self) -> Self {
        self.seen.sort_unstable();
        self.seen.dedup();
        self.seen.shrink_to_fit();
        self
    }

    pub fn digest(&self) -> u64 {
        revised(self.texts.len() as u64, &self.seen)
    }

    /// Bytes, about.
    pub fn weight(&self) -> usize {
        size_of_val(&self.seen[..]) + self.texts.values().map(|text| 48 + text.len()).sum::<usize>()
    }
}

impl Lesson {
    pub(super) fn of(page: u64, wanted: bool) -> Self {
        Self { page, wanted, ..Self::default() }
    }

    /// Of the spellings of places, for those who have no request.
    pub fn of_form(page: u64, seen: &[(u64, &str)]) -> Self {
        let mut lesson = Self::of(page, true);
        for (place, text) in seen {
            lesson.note(*place, text);
        }
        lesson
    }

    /// Notes that the place `place` is spelled `text`; gives the spelling's digest.
    pub(super) fn note(&mut self, place: u64, text: &str) -> u32 {
        let spelling = if text == " " { SPACE } else { digest_of(text) };
        // Where nothing is odd there is nothing to tell.
        let told = self.wanted && spelling != SPACE && self.noted.seen.len() < OBSERVED;
        let texts = &mut self.noted.texts;
        if told && !texts.contains_key(&spelling) && texts.len() < TEXTS {
            texts.insert(spelling, text.into());
        }
        self.note_code(place, spelling)
    }

    /// Notes a spelling that is known by its digest alone.
    pub(super) fn note_code(&mut self, place: u64, spelling: u32) -> u32 {
        if self.wanted && self.noted.seen.len() < OBSERVED {
            self.noted.seen.push((place, spelling));
        }
        spelling
    }

    /// An empty lesson of the same request, for one of its texts.
    pub(super) fn beside(&self) -> Self {
        Self::of(self.page, self.wanted)
    }

    pub(super) fn wanted(&self) -> bool {
        self.wanted
    }

    /// What was noted one by one.
    pub(super) fn into_noted(self) -> Noted {
        self.noted
    }

    /// The same, and what texts taught.
    pub(super) fn into_parts(self) -> (Noted, Vec<Arc<Noted>>) {
        (self.noted, self.shared)
    }

    /// Adds what one text teaches.
    pub(super) fn share(&mut self, noted: Arc<Noted>) {
        // Elements of a list teach the same, nearly all of them.
        if self.shared.iter().rev().take(NEAR).any(|known| Arc::ptr_eq(known, &noted)) {
            return;
        }
        if noted.len() > 0 && self.length + noted.len() <= OBSERVED {
            self.length += noted.len();
            self.shared.push(noted);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Noted> {
        std::iter::once(&self.noted).chain(self.shared.iter().map(|noted| &**noted))
    }

    /// Adds what another unit of the same request would teach.
    pub fn add(&mut self, other: Lesson) {
        self.page = other.page;
        let room = OBSERVED.saturating_sub(self.noted.seen.len());
        self.noted.seen.extend(other.noted.seen.into_iter().take(room));
        self.noted.texts.extend(other.noted.texts);
        other.shared.into_iter().for_each(|noted| self.share(noted));
    }

    pub fn is_empty(&self) -> bool {
        self.noted.seen.is_empty() && self.shared.is_empty()
    }
}

impl Templates {
    /// For comparing requests with themselves and others: what one request alone says counts for nothing.
    pub fn among_themselves(mut self) -> Self {
        self.own = true;
        self
    }

    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Requests that were learned from.
    pub fn requests(&self) -> u64 {
        self.pages.values().map(|page| u64::from(page.requests)).sum()
    }

    /// `day` is what the caller counts time in; pages that were not used for long go first.
    pub fn learn(&mut self, lesson: Lesson, day: u32) {
        if lesson.is_empty() {
            return;
        }
        let mut seen: Vec<(u64, u32)> = lesson.all().flat_map(|noted| &noted.seen).copied().collect();
        seen.sort_unstable();
        seen.dedup();
        let page = Arc::make_mut(self.pages.entry(lesson.page).or_default());
        page.revision = revised(page.revision, &seen);
        page.requests = page.requests.saturating_add(1);
        page.day = page.day.max(day);
        for spellings in seen.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(place, _)) = spellings.first() else { continue };
            let holds = page.holds(place);
            match page.places.entry(place) {
                Entry::Occupied(mut known) => known.get_mut().add(spellings),
                // Of a full page that many requests taught, nearly all that another one says anew.
                Entry::Vacant(_) if !holds => {}
                Entry::Vacant(new) => {
                    new.insert(Spellings::of(spellings));
                }
            }
        }
        while page.places.len() > PLACES && page.level < LEVELS {
            page.level += 1;
            let last = u64::MAX >> page.level;
            page.places.retain(|&digest, _| digest <= last);
        }
        let new = |noted: &Noted| noted.texts.keys().any(|digest| !self.texts.contains_key(digest));
        if lesson.all().any(new) {
            let all = Arc::make_mut(&mut self.texts);
            for noted in lesson.all() {
                all.extend(noted.texts.iter().map(|(digest, text)| (*digest, text.clone())));
                self.revision = noted.texts.keys().fold(self.revision, |hash, &digest| mix(hash, u64::from(digest)));
            }
            while all.len() > TEXTS {
                all.pop_last();
            }
        }
        let mut places: usize = self.pages.values().map(|page| page.places.len()).sum();
        while self.pages.len() > PAGES || places > ALL_PLACES && self.pages.len() > 1 {
            let oldest = self.pages.iter().map(|(&digest, page)| (page.day, std::cmp::Reverse(digest))).min();
            let Some((_, std::cmp::Reverse(digest))) = oldest else { break };
            places -= self.pages.remove(&digest).map_or(0, |page| page.places.len());
        }
    }

    /// Whether a lesson could change what is known: after many requests that agree, one more says nothing.
    pub fn gains_from(&self, lesson: &Lesson) -> bool {
        const ENOUGH: u32 = 100;
        let Some(page) = self.pages.get(&lesson.page) else { return !lesson.is_empty() };
        page.requests < ENOUGH
            || lesson.all().flat_map(|noted| &noted.seen).any(|(place, spelling)| match page.places.get(place) {
                Some(known) => !known.is_free() && known.count(*spelling).is_none_or(|count| count < ENOUGH / 2),
                None => page.holds(*place),
            })
    }

    pub(super) fn page(&self, digest: u64) -> Option<&Page> {
        self.pages.get(&digest).map(|page| &**page)
    }

    pub(super) fn text(&self, spelling: u32) -> Option<&str> {
        if spelling == SPACE {
            return Some(" ");
        }
        self.texts.get(&spelling).map(|text| &**text)
    }

    /// Changes with all that a comparison with `page` depends on.
    pub(super) fn revision(&self, page: Option<&Page>) -> u64 {
        page.map_or(0, |page| mix(mix(page.revision, self.revision), 1 + u64::from(self.own)))
    }

    pub(super) fn own(&self) -> u32 {
        u32::from(self.own)
    }
}

impl Page {
    /// Whether `place` is one that this page may hold.
    fn holds(&self, place: u64) -> bool {
        place <= u64::MAX >> self.level
    }

    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Whether at least two other requests have this place.
    pub fn knows(&self, place: u64, own: u32) -> bool {
        self.places.get(&place).is_some_and(|known| known.requests() >= 2 + own)
    }

    /// How many requests have this place.
    pub fn requests_with(&self, place: u64) -> u32 {
        self.places.get(&place).map_or(0, Spellings::requests)
    }

    /// In how many ways the place is spelled, as far as that is counted.
    pub fn spellings_of(&self, place: u64) -> usize {
        match self.places.get(&place) {
            None => 0,
            Some(Spellings::One { .. }) => 1,
            Some(Spellings::Several(several)) if several.free => SPELLINGS + 1,
            Some(Spellings::Several(several)) => several.counts.len(),
        }
    }

    /// Whether the others, at least two, differ among themselves at `place`; none where it is not known.
    pub fn disagree(&self, place: u64, spelling: u32, own: u32) -> Option<bool> {
        let known = self.places.get(&place)?;
        let counts = known.counts();
        let others =
            counts.iter().map(|&(digest, count)| if digest == spelling { count.saturating_sub(own) } else { count });
        let (kinds, sum) = others.fold((0, 0), |(kinds, sum), count| (kinds + u32::from(count > 0), sum + count));
        (sum >= 2 || known.is_free()).then_some(kinds > 1 || known.is_free())
    }

    /// What the others agree on at `place`, where that is not `spelling`.
    pub fn unlike(&self, place: u64, spelling: u32, own: u32) -> Option<Usual> {
        self.places.get(&place)?.unlike(spelling, own)
    }

    /// The usual one of two spellings that both are common at `place`, one of which is `spelling`.
    pub fn variants(&self, place: u64, spelling: u32) -> Option<Usual> {
        self.places.get(&place)?.variants(spelling)
    }

    /// The one of two spellings of `place` that `spelling` is not.
    pub fn other_than(&self, place: u64, spelling: u32) -> Option<u32> {
        let counts = self.places.get(&place)?.counts();
        counts.iter().map(|&(other, _)| other).find(|&other| other != spelling)
    }

    /// The only spelling of `place` that at least `least` requests have and none differs from.
    pub fn only(&self, place: u64, least: u32) -> Option<u32> {
        match self.places.get(&place)? {
            Spellings::One { spelling, requests } if *requests >= least => Some(*spelling),
            _ => None,
        }
    }
}

fn revised(revision: u64, seen: &[(u64, u32)]) -> u64 {
    seen.iter()
        .fold(mix(revision, seen.len() as u64), |hash, &(place, spelling)| mix(mix(hash, place), u64::from(spelling)))
}

/// The digest of one space, which most spellings are.
const SPACE: u32 = (0x811c_9dc5 ^ 0x20_u32).wrapping_mul(0x0100_0193);

/// FNV-1a, 32 bits.
fn digest_of(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(lessons: &[Lesson]) -> Templates {
        let mut book = Templates::default();
        for one in lessons {
            book.learn(one.clone(), 0);
        }
        book
    }

    #[test]
    fn the_order_of_lessons_does_not_matter() {
        let many: Vec<(u64, &str)> = (0..40_000u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15), "x")).collect();
        let mut lessons = vec![
            Lesson::of_form(1, &[(5, "'"), (6, " ")]),
            Lesson::of_form(1, &[(5, "\u{2019}"), (5, "'")]),
            Lesson::of_form(2, &[(5, "-")]),
            Lesson::of_form(1, &many[..30_000]),
            Lesson::of_form(1, &many[20_000..]),
        ];
        let forwards = book(&lessons).to_json();
        lessons.reverse();
        assert_eq!(book(&lessons).to_json(), forwards);
        let read = Templates::from_json(&forwards).expect("it was written so");
        assert_eq!(read.to_json(), forwards);
    }

    #[test]
    fn a_page_is_bounded_in_whatever_order_it_is_taught_and_one_that_is_full_gains_little() {
        let many: Vec<(u64, &str)> = (1..400_000u64).map(|n| (mix(n, 7), "x")).collect();
        let lessons: Vec<Lesson> = many.chunks(50_000).map(|some| Lesson::of_form(1, some)).collect();
        let forwards = book(&lessons);
        let backwards = book(&lessons.iter().rev().cloned().collect::<Vec<_>>());
        assert_eq!(forwards.to_json(), backwards.to_json());
        let page = forwards.page(1).expect("it was learned");
        assert!((PLACES / 4..=PLACES).contains(&page.places.len()), "{}", page.places.len());
        let read = Templates::from_json(&forwards.to_json()).expect("it was written so");
        assert_eq!(read.page(1).expect("it was learned").level, page.level);
        let high = Lesson::of_form(1, &[(u64::MAX, "x")]);
        let mut taught = forwards.clone();
        (0..100).for_each(|_| taught.learn(high.clone(), 0));
        assert!(!taught.gains_from(&high), "what the page does not hold");
        assert!(taught.gains_from(&Lesson::of_form(1, &[(3, "x")])), "what it may hold");
    }

    #[test]
    fn one_among_three_is_unlike_and_two_among_four_are_not() {
        let (plain, odd) = (Lesson::of_form(1, &[(5, "'")]), Lesson::of_form(1, &[(5, "\u{2019}")]));
        let spelled = digest_of("\u{2019}");
        let three = book(&[plain.clone(), odd.clone(), plain.clone()]);
        let page = three.page(1).expect("it was learned");
        assert!(page.unlike(5, spelled, 1).is_some());
        assert!(page.unlike(5, digest_of("'"), 1).is_none());
        let four = book(&[plain.clone(), odd.clone(), plain.clone(), odd.clone()]);
        assert!(four.page(1).expect("it was learned").unlike(5, spelled, 1).is_none());
        // Earlier requests alone: two that agree are enough, one is not.
        let two = book(&[plain.clone(), plain.clone()]);
        assert!(two.page(1).expect("it was learned").unlike(5, spelled, 0).is_some());
        assert!(book(&[plain]).page(1).expect("it was learned").unlike(5, spelled, 0).is_none());
    }

    #[test]
    fn what_varies_freely_is_no_template() {
        let mut lessons: Vec<Lesson> =
            ["a", "b", "c", "d", "e", "f", "g"].iter().map(|text| Lesson::of_form(1, &[(5, text)])).collect();
        lessons.extend((0..20).map(|_| Lesson::of_form(1, &[(5, "a")])));
        assert!(book(&lessons).page(1).expect("it was learned").unlike(5, digest_of("b"), 0).is_none());
        let mixed: Vec<Lesson> = (0..5).map(|_| Lesson::of_form(1, &[(5, "'"), (5, "\u{2019}")])).collect();
        assert!(book(&mixed).page(1).expect("it was learned").unlike(5, digest_of("x"), 0).is_none());
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        for text in ["", "{}", "[1]", r#"{"format":9,"pages":[],"spellings":{}}"#] {
            assert!(Templates::from_json(text).is_err(), "{text}");
        }
    }
}

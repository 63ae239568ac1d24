//! What was learned as a file keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::spellings::{SPELLINGS, Several, Spellings};
use super::{LEVELS, PAGES, PLACES, Page, Places, TEXTS, Templates};
use crate::engine::detect::template::text::mix;

/// The version of the file.
const FORMAT: u32 = 2;

impl Templates {
    /// As it is kept: the same knowledge gives the same text.
    pub fn to_json(&self) -> String {
        let mut pages: Vec<KeptPage> = self
            .pages
            .iter()
            .map(|(&digest, page)| {
                let mut places: Vec<_> = page
                    .places
                    .iter()
                    .map(|(&place, known)| {
                        let counts = if known.is_free() { None } else { Some(known.counts().into_owned()) };
                        KeptPlace(place, known.requests(), known.mixed(), counts)
                    })
                    .collect();
                places.sort_unstable_by_key(|place| place.0);
                KeptPage { digest, requests: page.requests, day: page.day, places }
            })
            .collect();
        pages.sort_unstable_by_key(|page| page.digest);
        let kept = Kept { format: FORMAT, pages, spellings: (*self.texts).clone() };
        serde_json::to_string(&kept).expect("numbers and strings can be written")
    }

    /// Reads what [`Templates::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let kept: Kept = serde_json::from_str(text)?;
        if kept.format != FORMAT {
            let message = format!("format {} is not known, expected {FORMAT}", kept.format);
            return Err(serde::de::Error::custom(message));
        }
        let page = |kept: KeptPage| {
            let places = kept.places.into_iter().take(PLACES).map(|KeptPlace(place, requests, mixed, counts)| {
                let free = counts.as_ref().is_none_or(|counts| counts.len() > SPELLINGS);
                let mut counts = counts.filter(|_| !free).unwrap_or_default();
                counts.sort_unstable();
                (place, Spellings::Several(Box::new(Several { requests, mixed, counts, free })).tidied())
            });
            let places: Places = places.collect();
            let revision = places.iter().fold(u64::from(kept.requests), |sum, (&place, known)| {
                // In any order, as the places come in any.
                sum.wrapping_add(known.counts().iter().fold(mix(place, u64::from(known.requests())), |hash, count| {
                    mix(mix(hash, u64::from(count.0)), u64::from(count.1) << 8 | u64::from(known.mixed().min(255)))
                }))
            });
            let level = level_of(&places);
            (kept.digest, Arc::new(Page { requests: kept.requests, day: kept.day, places, level, revision }))
        };
        let texts: BTreeMap<u32, Box<str>> = kept.spellings.into_iter().take(TEXTS).collect();
        let revision = texts.keys().fold(1, |hash, &digest| mix(hash, u64::from(digest)));
        let pages = kept.pages.into_iter().take(PAGES).map(page).collect();
        Ok(Self { pages, texts: Arc::new(texts), revision, own: false })
    }
}

/// The level at which a page holds `places`. One that is not half full has never held more.
fn level_of(places: &Places) -> u32 {
    match places.keys().max() {
        Some(last) if places.len() > PLACES / 2 => last.leading_zeros().min(LEVELS),
        _ => 0,
    }
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Kept {
    format: u32,
    pages: Vec<KeptPage>,
    spellings: BTreeMap<u32, Box<str>>,
}

#[derive(serde::Deserialize, serde::Serialize)]
struct KeptPage {
    digest: u64,
    requests: u32,
    day: u32,
    places: Vec<KeptPlace>,
}

/// Place, requests, mixed requests, and how often each spelling was seen; null where they vary freely.
#[derive(serde::Deserialize, serde::Serialize)]
struct KeptPlace(u64, u32, u32, Option<Vec<(u32, u32)>>);

//! Ways in which a request can deviate from the client's other ones.

use super::client::{Draft, FIXED, RULES, SOMETIMES, TOOLS, texts};
use crate::document::Node;
use crate::random::Rng;

/// Any of the kinds at any of the places; a place may also be given with a window, or be the start of a longer one
/// where it ends in `*`. No kinds: nothing may be found.
pub struct Expected {
    pub kinds: &'static [&'static str],
    pub places: Vec<String>,
}

/// A field that is in every request.
fn lasting(rng: &mut Rng, draft: &Draft) -> usize {
    let all: Vec<usize> = (0..draft.fields.len()).filter(|&at| draft.fields[at].0 != SOMETIMES).collect();
    all[rng.below(all.len())]
}

/// Replaces one of the places at which `from` stands in the client's own words.
fn replace(rng: &mut Rng, draft: &mut Draft, from: &str, to: &str) -> Option<String> {
    let mut all = Vec::new();
    texts(&mut draft.body, "", &mut all);
    let mut spots = Vec::new();
    for (index, (pointer, text)) in all.iter().enumerate() {
        // In the templates alone; what stands in the slots is whoever's.
        let templates = RULES.iter().chain(TOOLS.iter().map(|(_, text)| text)).chain(FIXED);
        for template in templates.filter(|_| pointer != "/model") {
            let Some(start) = text.find(template) else { continue };
            spots.extend(template.match_indices(from).map(|(at, _)| (index, start + at)));
        }
    }
    let &(index, at) = spots.get(rng.below(spots.len()))?;
    let (pointer, text) = &mut all[index];
    text.replace_range(at..at + from.len(), to);
    Some(format!("body!json:{pointer}"))
}

type Mark = fn(&mut Rng, &mut Draft) -> Option<Expected>;

pub const MARKS: &[(&str, Mark)] = &[
    ("apostrophe", |rng, draft| {
        let to = rng.pick(&["\u{2019}", "\u{2bc}", "\u{2b9}", "\u{2032}", "`", "\u{b4}", "\u{ff07}", "\u{2018}"]);
        swap(rng, draft, "'", to, &["cov.apostrophe"])
    }),
    ("quotation mark", |rng, draft| {
        swap(rng, draft, "\"", rng.clone().pick(&["\u{201c}", "\u{201d}", "\u{2033}"]), ANY)
    }),
    ("date separator", date_separator),
    ("space", |rng, draft| {
        let to = rng.pick(&["\u{a0}", "\u{202f}", "\u{2009}", "\u{2002}", "\u{2004}", "\u{205f}", "\u{3000}"]);
        swap(rng, draft, " ", to, &["cov.space"])
    }),
    ("two spaces", |rng, draft| swap(rng, draft, " ", "  ", &["cov.space"])),
    ("look-alike letter", |rng, draft| {
        let (from, to) = *[
            ("a", "\u{430}"),
            ("e", "\u{435}"),
            ("o", "\u{43e}"),
            ("c", "\u{441}"),
            ("p", "\u{440}"),
            ("o", "\u{3bf}"),
            ("i", "\u{456}"),
        ]
        .get(rng.below(7))?;
        swap(rng, draft, from, to, &["cov.homoglyph"])
    }),
    ("look-alike sign", |rng, draft| {
        let (from, to) = *[
            (";", "\u{37e}"),
            (":", "\u{a789}"),
            (".", "\u{2024}"),
            ("-", "\u{2010}"),
            ("-", "\u{2212}"),
            ("-", "\u{2013}"),
            ("...", "\u{2026}"),
            (",", "\u{201a}"),
            ("#", "\u{ff03}"),
            (".", "\u{ff0e}"),
        ]
        .get(rng.below(10))?;
        swap(rng, draft, from, to, ANY)
    }),
    ("unseen between words", |rng, draft| {
        let to = format!(" {}", rng.pick(&["\u{200b}", "\u{200c}", "\u{2060}", "\u{feff}", "\u{ad}"]));
        swap(rng, draft, " ", &to, &["cov.zero_width"])
    }),
    ("white space at a line's end", |rng, draft| {
        let to = rng.pick(&[" \n", "\t\n", "  \n"]);
        swap(rng, draft, "\n", to, &["cov.trailing_ws", "cov.space"])
    }),
    ("line end", |rng, draft| swap(rng, draft, "\n", "\r\n", ANY)),
    ("decomposed letter", |rng, draft| swap(rng, draft, "\u{e9}", "e\u{301}", &["cov.nfd"])),
    ("selector on a sign", |rng, draft| {
        swap(rng, draft, "\u{2713}", rng.clone().pick(&["\u{2713}\u{fe0e}", "\u{2713}\u{fe0f}"]), &["cov.varsel"])
    }),
    ("order of headers", |rng, draft| {
        let at = lasting(rng, draft);
        let next = (at + 1..draft.fields.len()).find(|&next| draft.fields[next].0 != SOMETIMES)?;
        draft.fields.swap(at, next);
        Some(Expected { kinds: &["cov.header_order"], places: vec!["head".into()] })
    }),
    ("case of a header", |rng, draft| {
        let at = lasting(rng, draft);
        let name = draft.fields[at].0.clone();
        draft.fields[at].0 = if rng.percent(50) { name.to_uppercase() } else { name.to_lowercase() };
        if draft.fields[at].0 == name {
            draft.fields[at].0 = name.to_uppercase();
        }
        Some(Expected {
            kinds: &["cov.header_case"],
            places: vec!["head".into(), format!("header:/{}", name.to_lowercase())],
        })
    }),
    ("order of members", |rng, draft| {
        let Node::Object(members) = &mut draft.body else { return None };
        let lasting: Vec<usize> = (0..members.len()).filter(|&at| members[at].0 != "metadata").collect();
        let pair = rng.between(0, lasting.len() - 2);
        members.swap(lasting[pair], lasting[pair + 1]);
        Some(Expected { kinds: &["cov.key_order"], places: vec!["body*".into()] })
    }),
    ("white space in JSON", |_, draft| {
        draft.spaced = !draft.spaced;
        Some(Expected { kinds: &["cov.json_ws"], places: vec!["body*".into()] })
    }),
    ("spelling of a number", |rng, draft| {
        let Node::Object(members) = &mut draft.body else { return None };
        let (_, value) = members.iter_mut().find(|(name, _)| name == "temperature")?;
        *value = Node::Bare(rng.pick(&["1.0", "1e0", "1.00"]).into());
        Some(Expected { kinds: &["cov.number"], places: vec!["body!json:/temperature".into()] })
    }),
    ("nothing", |_, _| Some(Expected { kinds: &[], places: Vec::new() })),
];

/// It is text of the client that deviates; by which name is left open.
const ANY: &[&str] = &["cov."];

fn swap(rng: &mut Rng, draft: &mut Draft, from: &str, to: &str, kinds: &'static [&'static str]) -> Option<Expected> {
    let place = replace(rng, draft, from, to)?;
    Some(Expected { kinds, places: vec![place] })
}

/// Both separators of the date of today, or of the one that the rules mention.
fn date_separator(rng: &mut Rng, draft: &mut Draft) -> Option<Expected> {
    let to = rng.pick(&["/", ".", "\u{2010}", "\u{2011}", "\u{2013}", "\u{2212}", "\u{2215}"]);
    let mut all = Vec::new();
    texts(&mut draft.body, "", &mut all);
    let mut spots = Vec::new();
    for (index, (_, text)) in all.iter().enumerate() {
        for lead in ["Today's date: ", "Today's date is ", "written as in "] {
            spots.extend(text.find(lead).map(|at| (index, at + lead.len())));
        }
    }
    let &(index, at) = spots.get(rng.below(spots.len()))?;
    let (pointer, text) = &mut all[index];
    let date = text.get(at..at + 10)?.replace('-', to);
    text.replace_range(at..at + 10, &date);
    Some(Expected { kinds: &["cov.date_sep"], places: vec![format!("body!json:{pointer}")] })
}

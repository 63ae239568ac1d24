//! Globs, and versions in ranges.

use std::cmp::Ordering;

/// `*` stands for any run of characters, `?` for one. ASCII case does not count.
#[derive(Clone, Debug)]
pub(super) struct Glob(Box<str>);

impl Glob {
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    pub fn is_all(&self) -> bool {
        &*self.0 == "*"
    }

    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where the last `*` stood and how far it has swallowed: only that one is ever tried again, so
        // the time is bounded by the product of the two lengths.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(&c) if c == b'?' || c.eq_ignore_ascii_case(&text[t]) => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((at, swallowed)) => {
                        star = Some((at, swallowed + 1));
                        p = at + 1;
                        t = swallowed + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

/// Which client versions a rule is for: a glob (`2.1.*`) or bounds (`>=2.1.91, <2.1.198`).
#[derive(Clone, Debug)]
pub(super) enum Versions {
    Glob(Glob),
    Bounds(Vec<(Bound, Box<str>)>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    Below,
    AtMost,
    AtLeast,
    Above,
    Is,
}

impl Versions {
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains(['<', '>', '=']) {
            return Ok(Self::Glob(Glob::new(text)));
        }
        let bound = |part: &str| {
            let part = part.trim();
            let signs = [
                ("<=", Bound::AtMost),
                (">=", Bound::AtLeast),
                ("<", Bound::Below),
                (">", Bound::Above),
                ("=", Bound::Is),
            ];
            let (sign, bound) = signs.into_iter().find(|(sign, _)| part.starts_with(sign))?;
            let version = part[sign.len()..].trim();
            version.starts_with(|c: char| c.is_ascii_digit()).then(|| (bound, version.into()))
        };
        text.split(',').map(bound).collect::<Option<Vec<_>>>().map(Self::Bounds).ok_or_else(|| {
            format!("`{text}` is no range of versions; expected a glob (`2.1.*`) or bounds (`>=2.1.91, <2.1.198`)")
        })
    }

    pub fn matches(&self, version: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.matches(version),
            Self::Bounds(bounds) => bounds.iter().all(|(bound, than)| {
                let order = compare(version, than);
                match bound {
                    Bound::Below => order.is_lt(),
                    Bound::AtMost => order.is_le(),
                    Bound::AtLeast => order.is_ge(),
                    Bound::Above => order.is_gt(),
                    Bound::Is => order.is_eq(),
                }
            }),
        }
    }
}

/// Orders versions by their numbers from the left; a part that is missing counts as 0.
fn compare(a: &str, b: &str) -> Ordering {
    fn numbers(version: &str) -> impl Iterator<Item = u64> + '_ {
        version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0))
    }
    let (mut a, mut b) = (numbers(a), numbers(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) => match x.unwrap_or(0).cmp(&y.unwrap_or(0)) {
                Ordering::Equal => {}
                order => return order,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("id.*", "id.device", true),
            ("id.*", "api.id.device", false),
            ("*.example.com", "api.Example.com", true),
            ("*.example.com", "example.com", false),
            ("*a*b*c", "xxaxxbxxbxxc", true),
            ("body!json:/messages/*/id", "body!json:/messages/0/content/id", true),
            ("header:/x-?", "header:/x-ab", false),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(glob).matches(text), expected, "{glob} on {text}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        for (range, version, expected) in [
            (">=2.1.91, <2.1.198", "2.1.100", true),
            (">=2.1.91, <2.1.198", "2.1.9", false),
            (">=2.1.91, <2.1.198", "2.1.198", false),
            ("=2.1", "2.1.0", true),
            ("2.1.*", "2.1.169", true),
        ] {
            assert_eq!(Versions::parse(range).unwrap().matches(version), expected, "{range} on {version}");
        }
        assert!(Versions::parse(">= newest").is_err());
    }
}

//! Globs on pointers and on hosts.

use crate::engine::visit::Segment;

/// `/events/*/env/**`: `*` stands for one step or, within a step, for any characters; `**` for any number
/// of steps, also none.
#[derive(Clone, Debug)]
pub(crate) struct PointerGlob(Vec<Step>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    Any,
    AnyDepth,
    Name(Box<str>),
    Wild(Box<str>),
}

impl PointerGlob {
    /// `None` unless it begins with `/`.
    pub fn parse(text: &str) -> Option<Self> {
        let steps = text.strip_prefix('/')?.split('/').map(|step| match step {
            "*" => Step::Any,
            "**" => Step::AnyDepth,
            step if step.contains('*') => Step::Wild(step.into()),
            step => Step::Name(step.replace("~1", "/").replace("~0", "~").into()),
        });
        Some(Self(steps.collect()))
    }

    pub fn matches(&self, pointer: &[Segment<'_>]) -> bool {
        wild(&self.0, pointer, |step| *step == Step::AnyDepth, Step::takes)
    }

    /// Whether it tells elements of a list apart.
    pub fn is_numbered(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Name(name) if name.bytes().all(|byte| byte.is_ascii_digit())))
    }

    /// The literal name that every match ends in, so that it can be looked up instead of tried.
    pub fn last_name(&self) -> Option<&str> {
        match self.0.last()? {
            Step::Name(name) => Some(name),
            _ => None,
        }
    }
}

impl Step {
    fn takes(&self, segment: &Segment<'_>) -> bool {
        match (self, segment) {
            (Step::Any, _) => true,
            (Step::Name(name), Segment::Name(segment)) => **name == **segment,
            (Step::Name(name), Segment::Index(index)) => name.parse() == Ok(*index),
            (Step::Wild(pattern), Segment::Name(segment)) => wildcard(pattern, segment),
            (Step::Wild(_) | Step::AnyDepth, _) => false,
        }
    }
}

/// `*` stands for any characters.
pub(crate) fn wildcard(pattern: &str, text: &str) -> bool {
    wild(pattern.as_bytes(), text.as_bytes(), |byte| *byte == b'*', |byte, other| byte == other)
}

/// Backtracks to the last star only, so the time is bounded by the product of the lengths.
fn wild<P, T>(pattern: &[P], text: &[T], star: impl Fn(&P) -> bool, takes: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(step) if star(step) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(step) if takes(step, &text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(star)
}

/// `api.example.com`, or `*.example.com` for every name below; other `*` stand for any characters.
pub(crate) fn host(pattern: &str, host: &str) -> bool {
    wildcard(pattern, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_glob_takes_any_step_or_any_depth() {
        let pointer = [Segment::Name("events"), Segment::Index(3), Segment::Name("env"), Segment::Name("shell")];
        for (glob, expected) in [
            ("/events/*/env/shell", true),
            ("/events/*/env/**", true),
            ("/**/shell", true),
            ("/**", true),
            ("/events/3/env/sh*", true),
            ("/events/*/shell", false),
            ("/events/*/env", false),
            ("/**/env", false),
        ] {
            assert_eq!(PointerGlob::parse(glob).is_some_and(|glob| glob.matches(&pointer)), expected, "{glob}");
        }
    }

    #[test]
    fn a_host_glob_does_not_reach_into_other_names() {
        assert!(host("*.example.com", "a.b.example.com"));
        assert!(!host("*.example.com", "example.com"));
        assert!(!host("api.example.com", "api.example.com.evil.example"));
    }
}

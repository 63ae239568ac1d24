//! How much a value says on its own.

use crate::engine::detect::support;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Strength {
    /// Nothing else looks like it: an address, a path, an identifier.
    Sure,
    /// A name of some length.
    Fair,
    /// From a public list, so that it occurs in code and documentation: a zone, a locale, a shell.
    Vocabulary,
    /// Short or common: counts only where name, position or neighbours support it.
    Weak,
}

pub(super) fn strength(kind: &str, value: &str) -> Strength {
    let lower = value.to_ascii_lowercase();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.chars().filter(|c| c.is_alphabetic()).count();
    // Counted in characters of which each says about as much as two letters of an alphabet.
    let weight = value.chars().map(|c| if c.is_alphabetic() && !c.is_ascii() { 2 } else { 1 }).sum::<usize>();
    if weight < 6 || support::is_common(&lower) || (letters == 0 && digits == value.len() && digits < 9) {
        return Strength::Weak;
    }
    if ["tz.", "locale.", "os.", "env.", "sw.", "hw.", "geo."].iter().any(|family| kind.starts_with(family)) {
        return match kind {
            // An exact build, model or list is as good as a name.
            "os.kernel" | "hw.cpu" | "hw.gpu" | "sw.packages" | "sw.processes" | "env.vars" | "geo.latlon"
                if digits > 0 =>
            {
                Strength::Sure
            }
            _ => Strength::Vocabulary,
        };
    }
    let structured = value.contains('@')
        || value.matches(['/', '\\']).count() >= 2
        || value.parse::<std::net::IpAddr>().is_ok()
        || value.matches([':', '-']).count() >= 5
        || (digits >= 2 && letters >= 2 && value.len() >= 8)
        || value.len() >= 16;
    if structured { Strength::Sure } else { Strength::Fair }
}

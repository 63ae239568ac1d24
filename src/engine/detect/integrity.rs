//! Values that bind the body: what an edit does to them.
//!
//! They are found like any other value, by rules of the kinds `integrity.*`; what they mean is here.

/// What must happen to a binding value when the bytes it binds change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding {
    /// A plain digest, which anybody can compute again: it follows an edit.
    Digest,
    /// Made with a key that only the client or the provider has: it cannot follow, and is never forged.
    Keyed,
}

/// The binding of a kind; `None` unless it is one of `integrity.*`.
pub fn binding(kind: &str) -> Option<Binding> {
    match kind.strip_prefix("integrity.")? {
        "content_md5" | "content_digest" | "repr_digest" | "digest" => Some(Binding::Digest),
        _ => Some(Binding::Keyed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digests_may_follow_an_edit() {
        assert_eq!(binding("integrity.content_digest"), Some(Binding::Digest));
        assert_eq!(binding("integrity.cch"), Some(Binding::Keyed));
        assert_eq!(binding("id.device"), None);
    }
}

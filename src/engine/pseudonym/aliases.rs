//! `--aliases`: pairs that somebody chose, `[{"real": "ann", "pseudo": "robin", "kind": "user.name"}]`.

use serde::Deserialize;

use super::map::fold;

/// A list of aliases that cannot be used. Names the place, never a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AliasError {
    #[error(
        "{file}:{line}:{column}: {message}; expected a JSON list such as [{{\"real\":\"ann\",\"pseudo\":\"robin\"}}]"
    )]
    Unreadable { file: String, line: usize, column: usize, message: String },
    #[error("{file}: entry {entry}: {message}")]
    Entry { file: String, entry: usize, message: &'static str },
    #[error("{file}: entries {first} and {second}: {message}")]
    Entries { file: String, first: usize, second: usize, message: &'static str },
}

/// One pinned pair. Has no `Debug`: it is what is kept secret.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    pub real: String,
    pub pseudo: String,
    /// `user.name` where it is not said.
    #[serde(default = "usual_kind")]
    pub kind: String,
}

fn usual_kind() -> String {
    "user.name".to_owned()
}

/// Reads `json`; `file` is for messages, entries are counted from 0.
pub fn parse(file: &str, json: &str) -> Result<Vec<Alias>, AliasError> {
    let list: Vec<Alias> = serde_json::from_str(json).map_err(|error| {
        // What is quoted in a message of the reader may be a value.
        let message = match error.classify() {
            serde_json::error::Category::Data => "an entry with other than the texts real, pseudo and kind",
            serde_json::error::Category::Eof => "the file ends too early",
            _ => "no JSON",
        };
        AliasError::Unreadable {
            file: file.to_owned(),
            line: error.line(),
            column: error.column(),
            message: message.to_owned(),
        }
    })?;
    check(file, &list)?;
    Ok(list)
}

fn check(file: &str, list: &[Alias]) -> Result<(), AliasError> {
    let at = |entry, message| Err(AliasError::Entry { file: file.to_owned(), entry, message });
    for (entry, alias) in list.iter().enumerate() {
        if alias.real.trim().is_empty() || alias.pseudo.trim().is_empty() {
            return at(entry, "real or pseudo is empty");
        }
        if alias.pseudo.len() < 3 {
            return at(entry, "pseudo is shorter than 3 bytes: it would be found in other words");
        }
        if alias.pseudo.len() > 256 || alias.real.len() > 256 {
            return at(entry, "real or pseudo is longer than 256 bytes");
        }
        if alias.pseudo.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
            return at(entry, "pseudo holds a quote, a backslash or a control character");
        }
        let (real, pseudo) = (fold(&alias.real), fold(&alias.pseudo));
        if real.contains(&pseudo) || pseudo.contains(&real) {
            return at(entry, "one of real and pseudo stands in the other");
        }
    }
    for (second, alias) in list.iter().enumerate() {
        let (real, pseudo) = (fold(&alias.real), fold(&alias.pseudo));
        for (first, other) in list[..second].iter().enumerate() {
            let (other_real, other_pseudo) = (fold(&other.real), fold(&other.pseudo));
            let message = if alias.real == other.real {
                "the same real value twice"
            } else if pseudo == other_pseudo {
                "the same pseudo twice"
            } else if pseudo.contains(&other_pseudo) || other_pseudo.contains(&pseudo) {
                "one pseudo stands in the other, so they cannot be told apart"
            } else if other_real.contains(&pseudo) || real.contains(&other_pseudo) {
                "a pseudo stands in a real value"
            } else if pseudo.contains(&other_real) || other_pseudo.contains(&real) {
                "a real value stands in a pseudo"
            } else {
                continue;
            };
            return Err(AliasError::Entries { file: file.to_owned(), first, second, message });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn entries_that_cannot_be_used_are_named_by_their_place_and_never_by_their_value() {
        for (json, expected) in [
            (r#"[{"real":"ann","pseudo":"robin"}"#, "a.json:1:32: the file ends too early"),
            (r#"[{"real":"ann-secret"}]"#, "a.json:1:22: an entry with other"),
            (r#"[{"real":"ann-secret","pseudo":7}]"#, "a.json:1:32: an entry with other"),
            (r#"[{"real":"ann-secret","pseudo":"x"}]"#, "entry 0: pseudo is shorter"),
            (
                r#"[{"real":"ann-secret","pseudo":"robin"},{"real":"ann-secret","pseudo":"gustav"}]"#,
                "entries 0 and 1: the same real",
            ),
            (
                r#"[{"real":"ann-secret","pseudo":"robin"},{"real":"bo-secret","pseudo":"Robin"}]"#,
                "entries 0 and 1: the same pseudo",
            ),
            (
                r#"[{"real":"ann-secret","pseudo":"robin"},{"real":"bo-secret","pseudo":"robinson"}]"#,
                "one pseudo stands in the other",
            ),
            (
                r#"[{"real":"ann-secret","pseudo":"robin"},{"real":"robins-secret","pseudo":"gustav"}]"#,
                "a pseudo stands in a real",
            ),
            (r#"[{"real":"secret","pseudo":"my-secret"}]"#, "entry 0: one of real and pseudo"),
        ] {
            let message = parse("a.json", json).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains(expected), "{json}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_kind_may_be_said() {
        let list = parse(
            "a.json",
            r#"[{"real":"ann","pseudo":"robin"},{"real":"build-7","pseudo":"gustav","kind":"host.name"}]"#,
        );
        let kinds: Vec<_> = list.unwrap().into_iter().map(|alias| alias.kind).collect();
        assert_eq!(kinds, ["user.name", "host.name"]);
    }
}

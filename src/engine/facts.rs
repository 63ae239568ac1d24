//! What is known of this person, machine and place: the values that must not leave unseen.

use std::sync::Arc;

use super::detect::facts::Matcher;
use super::kinds;
use super::replace::offset_minutes;

/// One known value, `{"kind": "user.name", "value": "ann"}`. Has no `Debug`: it is what is kept secret.
#[derive(Clone, Eq, PartialEq)]
pub struct Fact {
    pub kind: Arc<str>,
    pub value: Arc<str>,
    /// The host that a credential was set for, with its port where it has one.
    pub host: Option<Arc<str>>,
}

impl Fact {
    pub fn new(kind: &str, value: &str) -> Self {
        Self { kind: kind.into(), value: value.into(), host: None }
    }
}

/// The list of facts with the automaton that finds them, built once.
#[derive(Clone, Default)]
pub struct Facts {
    list: Vec<Fact>,
    matcher: Option<Arc<Matcher>>,
}

/// A list of facts that cannot be read. Names the place, never a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{file}:{line}:{column}: {message}; expected a JSON list such as [{{\"kind\":\"user.name\",\"value\":\"ann\"}}]"
)]
pub struct FactsError {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// Values longer than this are no facts but documents.
const LONGEST: usize = 4096;

impl Facts {
    pub fn new(list: Vec<Fact>) -> Self {
        let list: Vec<Fact> =
            list.into_iter().filter(|fact| !fact.value.trim().is_empty() && fact.value.len() <= LONGEST).collect();
        let matcher = Matcher::new(&list).map(Arc::new);
        Self { list, matcher }
    }

    /// The facts of pairs of kind and value.
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::new(pairs.into_iter().map(|(kind, value)| Fact::new(&kind, &value)).collect())
    }

    /// Reads `--facts`; `file_name` is for messages. Empty values are left out: they are found everywhere.
    pub fn parse(file_name: &str, json: &str) -> Result<Self, FactsError> {
        let entries: Vec<Entry> = serde_json::from_str(json).map_err(|error| FactsError {
            file: file_name.to_owned(),
            line: error.line(),
            column: error.column(),
            message: plain(&error),
        })?;
        Ok(Self::new(
            entries
                .into_iter()
                .map(|entry| Fact { kind: entry.kind.0, value: entry.value.0, host: entry.host.map(Into::into) })
                .collect(),
        ))
    }

    pub fn list(&self) -> &[Fact] {
        &self.list
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn matcher(&self) -> Option<&Matcher> {
        self.matcher.as_deref()
    }

    /// Minutes east of UTC of this machine's clock, if that is among the facts.
    pub(super) fn offset(&self) -> Option<i32> {
        let offset = self.list.iter().find(|fact| &*fact.kind == "tz.offset")?;
        offset_minutes(offset.value.trim())
    }
}

#[derive(serde::Deserialize)]
struct Entry {
    kind: KindName,
    value: FactValue,
    host: Option<String>,
}

struct KindName(Arc<str>);

impl<'de> serde::Deserialize<'de> for KindName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let family = name.split('.').next().unwrap_or_default();
        let known = name.len() > family.len() + 1
            && kinds::KINDS.iter().any(|kind| kind.name.split('.').next() == Some(family));
        match known {
            true => Ok(Self(name.into())),
            false => Err(serde::de::Error::custom("unknown kind, such as `user.name` or `net.ip.local`")),
        }
    }
}

struct FactValue(Arc<str>);

impl<'de> serde::Deserialize<'de> for FactValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = FactValue;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a whole number")
            }

            fn visit_str<E>(self, text: &str) -> Result<FactValue, E> {
                Ok(FactValue(text.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<FactValue, E> {
                Ok(FactValue(number.to_string().into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<FactValue, E> {
                Ok(FactValue(number.to_string().into()))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

/// The message without its position, and without the value it may quote.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    match text.split_once(": ").filter(|(start, _)| *start == "invalid type") {
        Some((_, rest)) => {
            let wanted = rest.rsplit_once(", expected ").map_or(rest, |(_, wanted)| wanted);
            format!("not {wanted}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_kinds_and_values_is_read() {
        let facts = Facts::parse(
            "f.json",
            r#"[{"kind":"user.name","value":"ann"},{"kind":"hw.cores","value":14},
            {"kind":"env.editor","value":" "},{"kind":"tz.offset","value":"+08:00","note":"kept"}]"#,
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let values: Vec<_> = facts.list().iter().map(|fact| &*fact.value).collect();
        assert_eq!(values, ["ann", "14", "+08:00"]);
        assert_eq!(facts.offset(), Some(480));
    }

    #[test]
    fn a_mistake_is_named_with_its_place_and_never_with_a_value() {
        for (json, place, says) in [
            ("{}", "f.json:1:", "not a sequence"),
            ("[\n {\"kind\":\"user.name\"}\n]", "f.json:2:", "missing field `value`"),
            ("[\n {\"kind\":\"user\",\"value\":\"hunter2\"}\n]", "f.json:2:", "unknown kind"),
            ("[{\"kind\":\"user.name\",\"value\":[\"hunter2\"]}]", "f.json:1:", "a string or a whole number"),
            ("[{\"kind\":\"hunter2\",\"value\":\"x\"", "f.json:1:", "unknown kind"),
            ("\"hunter2\"", "f.json:1:", "not a sequence"),
            ("[", "f.json:1:", "EOF"),
        ] {
            let error = Facts::parse("f.json", json).err().expect(json).to_string();
            assert!(error.starts_with(place) && error.contains(says), "{error}");
            assert!(error.contains("expected a JSON list") && !error.contains("hunter2"), "{error}");
        }
    }
}

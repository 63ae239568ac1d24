//! JSON by serde_json, duplicate names included.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::LeafKind;

#[derive(Debug)]
pub enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            // serde_json may be off by the last bit.
            (Self::Number(a), Self::Number(b)) => (a - b).abs() <= a.abs() * 1e-14,
            (Self::Text(a), Self::Text(b)) => a == b,
            _ => false,
        }
    }
}

impl Scalar {
    pub fn of(kind: LeafKind, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            LeafKind::JsonNull => Self::Null,
            LeafKind::JsonBool => Self::Bool(text == "true"),
            LeafKind::JsonNumber => Self::Number(text.parse().unwrap_or(f64::NAN)),
            _ => Self::Text(text),
        }
    }
}

/// Where the first document ends, its values in `out`.
pub fn values(bytes: &[u8], out: &mut Vec<(String, Scalar)>) -> Result<usize, serde_json::Error> {
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    documents.next().transpose()?.ok_or_else(|| serde_json::Error::custom("empty"))?;
    let end = documents.byte_offset();
    Reader { at: String::new(), out }.deserialize(&mut serde_json::Deserializer::from_str(&text[..end]))?;
    Ok(end)
}

struct Reader<'o> {
    at: String,
    out: &'o mut Vec<(String, Scalar)>,
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.out.push((self.at, Scalar::Null));
        Ok(())
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.out.push((self.at, Scalar::Bool(value)));
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.out.push((self.at, Scalar::Number(value)));
        Ok(())
    }
    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.out.push((self.at, Scalar::Text(value.into())));
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        while list.next_element_seed(Reader { at: format!("{}/{index}", self.at), out: self.out })?.is_some() {
            index += 1;
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let mut at = format!("{}/", self.at);
            divulge::engine::location::write_name(&name, &mut at).expect("a string takes it");
            map.next_value_seed(Reader { at, out: self.out })?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

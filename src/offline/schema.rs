//! A small document that fits a JSON Schema, for clients that ask the model for structured answers.
//!
//! Knows the part of JSON Schema (2020-12) and of OpenAPI 3.0 (Gemini spells types in capitals) that the
//! providers accept for structured output. `pattern` and `not` are beyond it.

use serde_json::{Map, Number, Value};

use super::answer::GREETING;

/// Schemas may refer to themselves; below this depth only what is required is filled.
const DEPTH: usize = 16;
/// Most values of one document: `minItems` and wide schemas multiply.
const VALUES: usize = 2000;

/// A document that fits `schema`. A schema that says nothing, or is none, gets the greeting.
pub fn instance(schema: &Value) -> Value {
    Filling { root: schema, left: VALUES }.fill(schema, 0)
}

struct Filling<'a> {
    root: &'a Value,
    left: usize,
}

impl<'a> Filling<'a> {
    fn fill(&mut self, schema: &'a Value, depth: usize) -> Value {
        if depth > DEPTH || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            return match target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => self.fill(target, depth + 1),
                None => Value::Null,
            };
        }
        if let Some(value) = schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
            return value.clone();
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(first) = schema.get(choice).and_then(Value::as_array).and_then(|all| simplest(all)) {
                return self.fill(first, depth + 1);
            }
        }
        match type_of(schema).as_str() {
            "object" => Value::Object(self.object(schema, depth)),
            "array" => self.array(schema, depth),
            "string" => Value::String(string(schema)),
            "integer" | "number" => number(schema),
            "boolean" => Value::Bool(false),
            "null" => Value::Null,
            _ => match schema.get("allOf").and_then(Value::as_array) {
                Some(_) => Value::Object(self.object(schema, depth)),
                None => Value::String(GREETING.to_owned()),
            },
        }
    }

    /// All declared members: clients read optional ones too. Deep down only the required ones, so that
    /// self-reference ends.
    fn object(&mut self, schema: &'a Value, depth: usize) -> Map<String, Value> {
        let mut members = Map::new();
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            if let Value::Object(more) = self.fill(part, depth + 1) {
                members.extend(more);
            }
        }
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if depth < 4 || required.contains(&name.as_str()) {
                members.insert(name.clone(), self.fill(member, depth + 1));
            }
        }
        members
    }

    fn array(&mut self, schema: &'a Value, depth: usize) -> Value {
        let tuple = schema.get("prefixItems").and_then(Value::as_array);
        let mut items: Vec<Value> = tuple.into_iter().flatten().map(|item| self.fill(item, depth + 1)).collect();
        let least = count(schema, "minItems").unwrap_or(0).min(VALUES);
        while items.len() < least && self.left > 0 {
            let item = match schema.get("items") {
                Some(item) => self.fill(item, depth + 1),
                None => Value::Null,
            };
            items.push(item);
        }
        Value::Array(items)
    }
}

/// The alternative with the least to get wrong: null if it is allowed, else the first.
fn simplest(choices: &[Value]) -> Option<&Value> {
    choices.iter().find(|choice| type_of(choice) == "null").or_else(|| choices.first())
}

/// The type in lower case; of several the first that is not null; what its keywords imply where there is none.
fn type_of(schema: &Value) -> String {
    let named = match schema.get("type") {
        Some(Value::Array(types)) => {
            types.iter().filter_map(Value::as_str).find(|name| !name.eq_ignore_ascii_case("null")).or(Some("null"))
        }
        Some(name) => name.as_str(),
        None if schema.get("properties").is_some() => Some("object"),
        None if schema.get("items").is_some() || schema.get("prefixItems").is_some() => Some("array"),
        None => None,
    };
    named.unwrap_or_default().to_ascii_lowercase()
}

/// A count, which Gemini also takes as text (int64 in protobuf's JSON).
fn count(schema: &Value, keyword: &str) -> Option<usize> {
    let value = schema.get(keyword)?;
    let count = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    usize::try_from(count).ok()
}

fn string(schema: &Value) -> String {
    let fixed = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => Some("2026-01-01T00:00:00Z"),
        Some("date") => Some("2026-01-01"),
        Some("time") => Some("00:00:00Z"),
        Some("uuid") => Some("00000000-0000-4000-8000-000000000000"),
        Some("email") => Some("offline@example.com"),
        Some("uri" | "url") => Some("https://example.com/"),
        Some("hostname") => Some("example.com"),
        Some("ipv4") => Some("192.0.2.1"),
        Some("ipv6") => Some("2001:db8::1"),
        _ => None,
    };
    if let Some(fixed) = fixed {
        return fixed.to_owned();
    }
    let most = count(schema, "maxLength").unwrap_or(usize::MAX);
    let least = count(schema, "minLength").unwrap_or(0).min(100_000);
    let mut text: String = GREETING.chars().take(most).collect();
    let length = text.chars().count();
    text.extend(std::iter::repeat_n('.', least.saturating_sub(length)));
    text
}

/// The first of a few likely numbers that the bounds allow: 1, 0, one at a bound, one in between. Counts and
/// scores often start at 1 without saying so.
fn number(schema: &Value) -> Value {
    let bound = |keyword| schema.get(keyword).and_then(Value::as_f64);
    let (least, most) = (bound("minimum"), bound("maximum"));
    let (above, below) = (bound("exclusiveMinimum"), bound("exclusiveMaximum"));
    let whole = type_of(schema) == "integer";
    let multiple = bound("multipleOf").filter(|step| *step > 0.0);
    let step = multiple.unwrap_or(1.0);
    let fits = |value: &f64| {
        least.is_none_or(|least| *value >= least)
            && most.is_none_or(|most| *value <= most)
            && above.is_none_or(|above| *value > above)
            && below.is_none_or(|below| *value < below)
            && multiple.is_none_or(|step| (value / step).fract() == 0.0)
            && !(whole && value.fract() != 0.0)
    };
    let low = least.or(above).unwrap_or(0.0);
    let high = most.or(below).unwrap_or(low);
    let up = (low / step).ceil() * step;
    let down = (high / step).floor() * step;
    let value = [1.0, 0.0, up, up + step, down, down - step, low, f64::midpoint(low, high)]
        .into_iter()
        .find(fits)
        .unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, reason = "saturates; no provider allows bounds beyond i64")]
    let rounded = value as i64;
    if value.fract() == 0.0 {
        return Value::from(rounded);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_fit_the_schema_they_are_made_from() {
        for (schema, expected) in [
            (
                json!({"type":"OBJECT","properties":{"model_choice":{"type":"STRING","enum":["flash","pro"]}}}),
                json!({"model_choice":"flash"}),
            ),
            (json!({"type":["string","null"],"maxLength":5}), json!("Hello")),
            (json!({"type":"integer","minimum":3}), json!(3)),
            (json!({"type":"INTEGER"}), json!(1)),
            (json!({"type":"number","exclusiveMinimum":0,"maximum":0.5}), json!(0.25)),
            (json!({"type":"integer","maximum":-7,"multipleOf":5}), json!(-10)),
            (json!({"type":"array","minItems":"2","items":{"type":"boolean"}}), json!([false, false])),
            (json!({"anyOf":[{"type":"object"},{"type":"null"}]}), json!(null)),
            (json!({"$defs":{"d":{"const":4}},"properties":{"d":{"$ref":"#/$defs/d"}}}), json!({"d":4})),
            (
                json!({"allOf":[{"properties":{"a":{"type":"null"}}},{"properties":{"b":{"format":"date","type":"string"}}}]}),
                json!({"a":null,"b":"2026-01-01"}),
            ),
            (json!(true), json!(GREETING)),
            (json!({}), json!(GREETING)),
        ] {
            assert_eq!(instance(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema =
            json!({"properties":{"next":{"$ref":"#"},"kids":{"type":"array","minItems":3,"items":{"$ref":"#"}}}});
        assert!(instance(&schema).to_string().len() < 1_000_000);
    }
}

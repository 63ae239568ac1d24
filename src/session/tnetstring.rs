//! Typed netstrings, in which mitmproxy keeps its flows: `5:hello,` and so on, the type behind the bytes.

/// A value; bytes and texts are parts of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'f> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(&'f [u8]),
    /// UTF-8, as it was checked.
    Text(&'f str),
    List(Vec<Value<'f>>),
    /// In the order of the file; names are bytes or texts.
    Dict(Vec<(Value<'f>, Value<'f>)>),
}

/// Why there is no value at `at`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wrong {
    pub at: usize,
    pub reason: &'static str,
}

/// mitmproxy nests seven levels.
const DEPTH: usize = 32;
/// As many digits as mitmproxy itself reads.
const LENGTH_DIGITS: usize = 12;

/// Reads the value that begins at `at`; gives the offset behind it too.
pub(super) fn read(file: &[u8], at: usize) -> Result<(Value<'_>, usize), Wrong> {
    Reader { file }.value(at, file.len(), 0)
}

struct Reader<'f> {
    file: &'f [u8],
}

impl<'f> Reader<'f> {
    /// The value at `at`, which ends at `limit` or before.
    fn value(&self, at: usize, limit: usize, depth: usize) -> Result<(Value<'f>, usize), Wrong> {
        let wrong = |reason| Wrong { at, reason };
        let rest = self.file.get(at..limit).unwrap_or_default();
        let digits = rest.iter().take(LENGTH_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || digits > LENGTH_DIGITS || (digits > 1 && rest[0] == b'0') {
            return Err(wrong("no length"));
        }
        let length = rest[..digits].iter().fold(0u64, |length, digit| length * 10 + u64::from(digit - b'0'));
        let length = usize::try_from(length).map_err(|_| wrong("longer than memory"))?;
        match rest.get(digits) {
            Some(b':') => {}
            Some(_) => return Err(wrong("no colon behind a length")),
            None => return Err(wrong("it ends in a length")),
        }
        let start = at + digits + 1;
        let end = start.checked_add(length).filter(|&end| end < limit);
        let end = end.ok_or(wrong(if limit == self.file.len() {
            "the file ends in it"
        } else {
            "longer than what it is in"
        }))?;
        let data = &self.file[start..end];
        let plain = || {
            std::str::from_utf8(data)
                .map_err(|error| Wrong { at: start + error.valid_up_to(), reason: "a text that is not UTF-8" })
        };
        let value = match self.file[end] {
            b',' => Value::Bytes(data),
            b';' => Value::Text(plain()?),
            // Python's integers have no end; one that does not fit is as good as its neighbour for what is read here.
            b'#' => Value::Int(
                plain()?
                    .parse::<i128>()
                    .map_err(|_| wrong("an integer that is none"))?
                    .clamp(i64::MIN.into(), i64::MAX.into()) as i64,
            ),
            b'^' => Value::Float(plain()?.parse().map_err(|_| wrong("a number that is none"))?),
            b'!' => match data {
                b"true" => Value::Bool(true),
                b"false" => Value::Bool(false),
                _ => return Err(wrong("neither true nor false")),
            },
            b'~' if data.is_empty() => Value::Null,
            b'~' => return Err(wrong("a null with something in it")),
            b']' | b'}' if depth >= DEPTH => return Err(wrong("nested too deep")),
            b']' => Value::List(self.list(start, end, depth)?),
            b'}' => {
                let mut items = self.list(start, end, depth)?.into_iter();
                let mut members = Vec::with_capacity(items.len() / 2);
                while let Some(name) = items.next() {
                    let value = items.next().ok_or(wrong("a name without a value"))?;
                    members.push((name, value));
                }
                Value::Dict(members)
            }
            _ => return Err(wrong("no type behind a value")),
        };
        Ok((value, end + 1))
    }

    fn list(&self, mut at: usize, end: usize, depth: usize) -> Result<Vec<Value<'f>>, Wrong> {
        let mut items = Vec::new();
        while at < end {
            let (item, next) = self.value(at, end, depth + 1)?;
            items.push(item);
            at = next;
        }
        Ok(items)
    }
}

const NULL: Value<'static> = Value::Null;

impl<'f> Value<'f> {
    /// The member of that name, the last of several as Python has it; null where there is none.
    pub fn get(&self, name: &str) -> &Value<'f> {
        let members = if let Value::Dict(members) = self { members.as_slice() } else { &[] };
        members.iter().rev().find(|(known, _)| known.bytes() == name.as_bytes()).map_or(&NULL, |(_, value)| value)
    }

    pub fn items(&self) -> &[Value<'f>] {
        if let Value::List(items) = self { items } else { &[] }
    }

    pub fn item(&self, index: usize) -> &Value<'f> {
        self.items().get(index).unwrap_or(&NULL)
    }

    /// Of bytes and of texts, which versions use for the same things.
    pub fn bytes(&self) -> &'f [u8] {
        match *self {
            Value::Bytes(bytes) => bytes,
            Value::Text(text) => text.as_bytes(),
            _ => &[],
        }
    }

    pub fn int(&self) -> Option<i64> {
        if let Value::Int(int) = *self { Some(int) } else { None }
    }

    pub fn number(&self) -> Option<f64> {
        match *self {
            Value::Int(int) => Some(int as f64),
            Value::Float(float) if float.is_finite() => Some(float),
            _ => None,
        }
    }

    pub fn is_true(&self) -> bool {
        *self == Value::Bool(true)
    }

    pub fn is_null(&self) -> bool {
        *self == Value::Null
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Value, read};

    #[test]
    fn values_of_every_type_are_read() {
        let file = b"58:4:name,5:caf\xc3\xa9;1:n,2:-7#1:f,3:1.5^1:t,4:true!1:l,6:0:~0:]]}rest";
        let (value, end) = read(file, 0).unwrap();
        assert_eq!(&file[end..], b"rest");
        assert_eq!(value.get("name"), &Value::Text("caf\u{e9}"));
        assert_eq!((value.get("n").int(), value.get("f").number()), (Some(-7), Some(1.5)));
        assert!(value.get("t").is_true() && value.get("none").is_null());
        assert_eq!(value.get("l").items(), [Value::Null, Value::List(Vec::new())]);
    }

    #[test]
    fn what_is_none_is_refused_where_it_stands() {
        for (file, at, reason) in [
            ("", 0, "no length"),
            ("x", 0, "no length"),
            ("01:a,", 0, "no length"),
            ("1234567890123:", 0, "no length"),
            ("5", 0, "it ends in a length"),
            ("5;", 0, "no colon behind a length"),
            ("5:abc,", 0, "the file ends in it"),
            ("999999999999:", 0, "the file ends in it"),
            ("3:abc", 0, "the file ends in it"),
            ("3:abcx", 0, "no type behind a value"),
            ("5:maybe!", 0, "neither true nor false"),
            ("1:x~", 0, "a null with something in it"),
            ("1:x#", 0, "an integer that is none"),
            ("4:1:a,}", 0, "a name without a value"),
            ("4:9:a,]", 2, "longer than what it is in"),
        ] {
            let wrong = read(file.as_bytes(), 0).unwrap_err();
            assert_eq!((wrong.at, wrong.reason), (at, reason), "{file}");
        }
        let mut deep = b"0:]".to_vec();
        for _ in 0..1000 {
            deep = [format!("{}:", deep.len()).as_bytes(), &deep, b"]"].concat();
        }
        assert_eq!(read(&deep, 0).unwrap_err().reason, "nested too deep");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(prop::sample::select(b"0123:,;#^!~]}a".to_vec()), 0..60)) {
            let _ = read(&bytes, 0);
        }
    }
}

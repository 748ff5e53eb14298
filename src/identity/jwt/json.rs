//! JSON as security tokens need it: what two readers could read differently is not read at all.
//!
//! `serde_json` takes the last of two members with the same name; a service in front of the store may take the
//! first. Here the second is an error, at every depth (RFC 7515, section 4; RFC 7519, section 4).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::identity::Rejection;

/// A JSON value, as far as tokens and key sets need one.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// A number written without sign, fraction or exponent, below 2^64.
    Integer(u64),
    Text(String),
    List(Vec<Value>),
    Object(Object),
    /// `null`, `true`, `false` and every other number: nothing here has a use for them.
    Other,
}

/// A JSON object in which no member occurs twice.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Object(BTreeMap<String, Value>);

/// A member that is there has another type than it should.
#[derive(Debug, PartialEq)]
pub(super) struct WrongType;

impl Object {
    /// Reads `text`, which must be one object and nothing else. Depth is bounded by `serde_json`: 128.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Rejection> {
        // The visitor takes every type of value, so the only thing it can find wrong with data is a second member
        // of one name.
        let value = serde_json::from_slice(text)
            .map_err(|error| if error.is_data() { Rejection::DuplicateMember } else { Rejection::Malformed })?;
        match value {
            Value::Object(object) => Ok(object),
            _ => Err(Rejection::Malformed),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, WrongType> {
        self.get(name).map(Value::as_text).transpose()
    }

    /// A list of texts. One that holds anything else is of the wrong type as a whole.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::List(values)) => values.iter().map(Value::as_text).collect::<Result<_, _>>().map(Some),
            Some(_) => Err(WrongType),
        }
    }

    /// Seconds since 1970, up to the end of the year 9999 (RFC 7519's `NumericDate`, whole numbers only).
    pub(super) fn seconds(&self, name: &str) -> Result<Option<u64>, WrongType> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Integer(seconds)) if *seconds <= END_OF_YEAR_9999_SECS => Ok(Some(*seconds)),
            Some(_) => Err(WrongType),
        }
    }
}

impl Value {
    pub(super) fn as_text(&self) -> Result<&str, WrongType> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(WrongType),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl From<WrongType> for Rejection {
    fn from(WrongType: WrongType) -> Self {
        Self::Malformed
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((name, value)) = members.next_entry::<String, Value>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(number_in(&object).unwrap_or(Value::Object(Object(object))))
    }
}

/// When any crate of the program switches on `serde_json/arbitrary_precision`, numbers arrive here as objects with
/// one member of a reserved name; without this, no token would be accepted in such a program.
fn number_in(object: &BTreeMap<String, Value>) -> Option<Value> {
    match object.get("$serde_json::private::Number") {
        Some(Value::Text(digits)) if object.len() == 1 => {
            let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
            Some(digits.parse().ok().filter(|_| whole).map_or(Value::Other, Value::Integer))
        }
        _ => None,
    }
}

const END_OF_YEAR_9999_SECS: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_member_of_one_name_is_refused_at_every_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[[{"b":null,"c":0,"b":null}]]}"#,
        ] {
            assert_eq!(Object::parse(text.as_bytes()), Err(Rejection::DuplicateMember), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_malformed() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        let texts = ["", " ", "null", "[]", "1", r#""a""#, "{", "{}{}", "{}x", r#"{"a":1,}"#, "{'a':1}", &deep];
        for text in texts {
            assert_eq!(Object::parse(text.as_bytes()), Err(Rejection::Malformed), "{text}");
        }
        for bytes in [&b"{\"a\":\"\xff\"}"[..], b"\xef\xbb\xbf{}", br#"{"a":"\ud800"}"#] {
            assert_eq!(Object::parse(bytes), Err(Rejection::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn only_whole_seconds_of_this_side_of_the_year_10000_are_times() {
        let seconds = |number: &str| {
            let text = format!(r#"{{"exp":{number}}}"#);
            Object::parse(text.as_bytes()).map(|object| object.seconds("exp"))
        };
        for (number, expected) in [("0", 0), ("1700000000", 1_700_000_000), ("253402300799", END_OF_YEAR_9999_SECS)] {
            assert_eq!(seconds(number), Ok(Ok(Some(expected))), "{number}");
        }
        for number in [
            "253402300800",
            "18446744073709551616",
            "-1",
            "-0",
            "1.0",
            "1.5",
            "1e9",
            "null",
            "true",
            "\"1\"",
            "[1]",
            "{}",
        ] {
            assert_eq!(seconds(number), Ok(Err(WrongType)), "{number}");
        }
        assert_eq!(Object::default().seconds("exp"), Ok(None));
    }

    #[test]
    fn numbers_in_the_dress_of_arbitrary_precision_are_numbers() {
        for (digits, expected) in
            [("7", Value::Integer(7)), ("+7", Value::Other), ("7.0", Value::Other), ("", Value::Other)]
        {
            let object = BTreeMap::from([("$serde_json::private::Number".to_owned(), Value::Text(digits.to_owned()))]);
            assert_eq!(number_in(&object), Some(expected), "{digits}");
        }
        assert_eq!(number_in(&BTreeMap::new()), None);
        let crowd = br#"{"n":{"$serde_json::private::Number":"7","x":0}}"#;
        assert!(matches!(Object::parse(crowd).map(|object| object.has("n") && object.seconds("n").is_err()), Ok(true)));
    }
}

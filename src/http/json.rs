//! Reads a JSON body the strict way: an object without duplicate keys, at most 32 deep, every field of the type that is
//! asked for and no field that nobody asks for. Faults are collected, so that all of them are told at once.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::request::faultless;
use crate::domain::fault::Fault;
use crate::error::Error;
use crate::service::own::Change;

/// Arrays and objects inside each other, the outermost counted.
const MAX_DEPTH: usize = 32;

/// The fields of a body, taken out one by one.
#[derive(Default)]
pub struct Fields {
    map: Map<String, Value>,
    /// What is wrong so far.
    pub faults: Vec<Fault>,
}

impl Fields {
    /// Reads an object. [`Error::Malformed`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = Strict { depth: MAX_DEPTH }.deserialize(&mut deserializer);
        let value = value.and_then(|value| deserializer.end().map(|()| value));
        match value {
            Ok(Value::Object(map)) => Ok(Self { map, faults: Vec::new() }),
            Ok(_) => Err(Error::Malformed("The body must be a JSON object, like {\"body\": \"Hello\"}.".into())),
            // serde_json's messages name places and expectations; its custom ones are ours. Neither repeats a value.
            Err(error) if error.is_data() => Err(Error::Malformed(format!("{}.", first_sentence(&error)).into())),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                Err(Error::Malformed(format!("The body is not JSON: see line {line}, column {column}.").into()))
            }
        }
    }

    /// The whole body in one spelling, with every field that is still there, known or not: equal for equal requests.
    pub fn canonical(&self) -> Vec<u8> {
        let mut whole = Value::Object(self.map.clone());
        whole.sort_all_objects();
        whole.to_string().into_bytes()
    }

    /// A text. Null is the same as missing.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.take(name, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// A text that must be there.
    pub fn required_text(&mut self, name: &'static str) -> Option<String> {
        self.required(name, Self::text)
    }

    /// A list of texts that must be there.
    pub fn required_texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.required(name, Self::texts)
    }

    /// An object that must be there, whose fields somebody else names.
    #[cfg(feature = "passkeys")]
    pub fn required_object(&mut self, name: &'static str) -> Option<Value> {
        self.required(name, |fields, name| fields.take(name, "an object", |value| value.is_object().then_some(value)))
    }

    /// One fault for a field that is missing or of the wrong type, never two.
    fn required<T>(
        &mut self,
        name: &'static str,
        take: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        let known = self.faults.len();
        let value = take(self, name);
        if value.is_none() && self.faults.len() == known {
            self.faults.push(Fault::required(name));
        }
        value
    }

    /// A text in a patch: missing, null to take it away, or a new one.
    pub fn changed_text(&mut self, name: &'static str) -> Change<String> {
        if self.takes_null(name) { Change::Clear } else { self.text(name).map_or(Change::Keep, Change::Set) }
    }

    /// Whether the field is null, which is then read.
    fn takes_null(&mut self, name: &'static str) -> bool {
        let is_null = self.map.get(name).is_some_and(Value::is_null);
        if is_null {
            self.map.remove(name);
        }
        is_null
    }

    /// A field that must not be null, though it may be missing.
    fn or_fault<T>(
        &mut self,
        name: &'static str,
        take: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        if self.takes_null(name) {
            self.faults.push(Fault::required(name));
        }
        take(self, name)
    }

    /// One fault for each of these fields that is null; they may be missing.
    pub fn refuse_null(&mut self, names: &[&'static str]) {
        for name in names {
            if self.takes_null(name) {
                self.faults.push(Fault::required(*name));
            }
        }
    }

    /// A text that must not be null, though it may be missing.
    pub fn text_or_fault(&mut self, name: &'static str) -> Option<String> {
        self.or_fault(name, Self::text)
    }

    /// A list of texts, likewise.
    pub fn texts_or_fault(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.or_fault(name, Self::texts)
    }

    /// A yes or no, likewise.
    pub fn flag_or_fault(&mut self, name: &'static str) -> Option<bool> {
        self.or_fault(name, Self::flag)
    }

    /// A whole number, likewise.
    pub fn number_or_fault(&mut self, name: &'static str) -> Option<i64> {
        self.or_fault(name, Self::number)
    }

    /// A yes or no.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.take(name, "true or false", |value| value.as_bool())
    }

    /// A yes or no in a patch, or null.
    pub fn changed_flag(&mut self, name: &'static str) -> Change<bool> {
        if self.takes_null(name) { Change::Clear } else { self.flag(name).map_or(Change::Keep, Change::Set) }
    }

    /// A whole number.
    pub fn number(&mut self, name: &'static str) -> Option<i64> {
        self.take(name, "a whole number", |value| value.as_i64())
    }

    /// A number in a patch, with or without decimals; the inner none is null, which takes it away.
    #[expect(clippy::option_option, reason = "the three things that a merge patch can say of a field")]
    pub fn changed_points(&mut self, name: &'static str) -> Option<Option<f64>> {
        if self.takes_null(name) { Some(None) } else { self.take(name, "a number", |value| value.as_f64()).map(Some) }
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.take(name, "a list of strings", |value| match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }

    /// An object of whole numbers.
    pub fn numbers_by_name(&mut self, name: &'static str) -> Option<Vec<(String, i64)>> {
        self.take(name, "an object of whole numbers", |value| match value {
            Value::Object(map) => map.into_iter().map(|(key, value)| Some((key, value.as_i64()?))).collect(),
            _ => None,
        })
    }

    /// An object of whole numbers in a patch, or of null where one is taken away. The object itself must not be null.
    pub fn changed_numbers_or_fault(&mut self, name: &'static str) -> Option<Vec<(String, Option<i64>)>> {
        let number = |value: Value| if value.is_null() { Some(None) } else { value.as_i64().map(Some) };
        self.or_fault(name, |fields, name| {
            fields.take(name, "an object of whole numbers", |value| match value {
                Value::Object(map) => map.into_iter().map(|(key, value)| Some((key, number(value)?))).collect(),
                _ => None,
            })
        })
    }

    fn take<T>(&mut self, name: &'static str, expected: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let value = self.map.remove(name).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.faults.push(Fault::wrong_type(name, expected));
        }
        read
    }

    /// What was not taken out, to be read by whoever knows it, and the faults so far.
    pub fn rest(self) -> (Map<String, Value>, Vec<Fault>) {
        (self.map, self.faults)
    }

    /// All faults, with one for each field that nobody asked for. Long names of unknown fields are not repeated.
    pub fn finish(self) -> Vec<Fault> {
        let mut faults = self.faults;
        for (name, _) in self.map {
            let shown = if name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                name
            } else {
                "?".to_owned()
            };
            faults.push(Fault::new(
                shown,
                "unknown_field",
                "There is no such field. Check its spelling or leave it out.",
            ));
        }
        faults
    }

    /// `Ok` when nothing is wrong.
    pub fn check(self) -> Result<(), Error> {
        faultless(self.finish())
    }
}

fn first_sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line").next().unwrap_or_default().to_owned()
}

/// Builds a value and refuses duplicate keys and deep nesting on the way.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("The body is nested more than 32 deep"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom("The body names a key twice in the same object"));
            }
            map.insert(key, entries.next_value_seed(inside)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        match Fields::parse(body.as_bytes()) {
            Err(Error::Malformed(text)) => text.into_owned(),
            _ => panic!("{body} was taken"),
        }
    }

    #[test]
    fn only_objects_without_duplicates_and_not_too_deep() {
        for body in [
            "",
            "[]",
            "1",
            "null",
            "\"x\"",
            "{",
            "{}{}",
            "{\"a\":1,}",
            "{'a':1}",
            "\u{feff}{}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":1e999}",
        ] {
            refused(body);
        }
        assert!(refused(r#"{"a": 1, "a": 2}"#).contains("twice"));
        assert!(refused(r#"{"x": {"a": 1, "a": 2}}"#).contains("twice"));
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(Fields::parse(nested(32).as_bytes()).is_ok());
        assert!(refused(&nested(33)).contains("deep"));
        refused(&nested(100_000));
        assert!(Fields::parse(b" {} \n").is_ok());
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn fields_of_the_right_type_and_no_others() {
        let mut fields =
            Fields::parse(br#"{"a":"x","b":1,"c":null,"d":true,"e":["x"],"f":["x",1],"g":{"k":2},"zz":0,"<b>":0}"#)
                .unwrap();
        assert_eq!(fields.text("a").as_deref(), Some("x"));
        assert_eq!(fields.text("b"), None);
        assert_eq!(fields.text("c"), None);
        assert_eq!(fields.text("missing"), None);
        assert_eq!(fields.flag("d"), Some(true));
        assert_eq!(fields.texts("e").unwrap(), ["x"]);
        assert_eq!(fields.texts("f"), None);
        assert_eq!(fields.numbers_by_name("g").unwrap(), [("k".to_owned(), 2)]);
        let mut faults: Vec<_> =
            fields.finish().into_iter().map(|fault| (fault.field.into_owned(), fault.code)).collect();
        faults.sort();
        let expected = [("?", "unknown_field"), ("b", "wrong_type"), ("f", "wrong_type"), ("zz", "unknown_field")];
        assert_eq!(faults, expected.map(|(field, code)| (field.to_owned(), code)));
    }

    #[test]
    fn null_is_a_fault_where_it_has_no_meaning() {
        let mut fields =
            Fields::parse(br#"{"a":null,"b":null,"c":null,"d":null,"e":null,"f":null,"g":null,"h":{"k":2,"n":null}}"#)
                .unwrap();
        assert_eq!((fields.text_or_fault("a"), fields.texts_or_fault("b")), (None, None));
        assert_eq!((fields.flag_or_fault("c"), fields.number_or_fault("d")), (None, None));
        assert_eq!(fields.changed_numbers_or_fault("e"), None);
        let numbers = [("k".to_owned(), Some(2)), ("n".to_owned(), None)];
        assert_eq!(fields.changed_numbers_or_fault("h").unwrap(), numbers);
        assert_eq!((fields.changed_text("f"), fields.changed_flag("g")), (Change::Clear, Change::Clear));
        assert_eq!((fields.flag_or_fault("missing"), fields.changed_flag("missing")), (None, Change::Keep));
        let faults: Vec<_> = fields.finish().into_iter().map(|fault| (fault.field.into_owned(), fault.code)).collect();
        assert_eq!(faults, ["a", "b", "c", "d", "e"].map(|field| (field.to_owned(), "required")));
    }
}

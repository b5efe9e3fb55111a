//! The fields of an object inside a request, taken out one by one; each fault names the whole path, as in
//! `conditions[2].values[0]`.

use serde_json::{Map, Value};

use crate::domain::characters::{Kind, find_blemish};
use crate::domain::fault::Fault;
use crate::domain::text::tidy_line;

/// An object on its way into a type of ours.
pub struct Object<'a> {
    map: Map<String, Value>,
    at: String,
    /// What is wrong so far, here and elsewhere.
    pub faults: &'a mut Vec<Fault>,
}

impl<'a> Object<'a> {
    /// Begins to read an object that stands at a path; none (and a fault) for anything else.
    pub fn read(value: Value, at: &str, faults: &'a mut Vec<Fault>) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { map, at: at.to_owned(), faults }),
            _ => {
                faults.push(Fault::wrong_type(at.to_owned(), "an object"));
                None
            }
        }
    }

    /// The path of a field.
    pub fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { [self.at.as_str(), ".", name].concat() }
    }

    /// Notes a fault of a field.
    pub fn fault(&mut self, name: &str, code: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) {
        let fault = Fault::new(self.path(name), code, message);
        self.faults.push(fault);
    }

    /// A field of whatever type. Null is the same as missing.
    pub fn any(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    fn typed<T>(&mut self, name: &str, expected: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let value = self.any(name)?;
        let read = read(value);
        if read.is_none() {
            let fault = Fault::wrong_type(self.path(name), expected);
            self.faults.push(fault);
        }
        read
    }

    /// A field that must be there: a fault if it is missing, and the one it has if its type is wrong.
    pub fn required<T>(&mut self, name: &str, take: impl FnOnce(&mut Self, &str) -> Option<T>) -> Option<T> {
        let known = self.faults.len();
        let value = take(self, name);
        if value.is_none() && self.faults.len() == known {
            let fault = Fault::required(self.path(name));
            self.faults.push(fault);
        }
        value
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.typed(name, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// One line that moderators read, of at most so many characters; none if it is empty.
    pub fn line(&mut self, name: &str, most: usize) -> Option<String> {
        let line = tidy_line(&self.text(name)?);
        if line.chars().count() > most {
            let fault = Fault::too_long(self.path(name), most, "characters");
            self.faults.push(fault);
        } else if find_blemish(&line, Kind::Line).is_some() {
            self.fault(name, "illegal_character", "It contains a character that cannot be shown.");
        }
        Some(line).filter(|line| !line.is_empty())
    }

    /// A yes or no.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    /// A list.
    pub fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        self.typed(name, "a list", |value| match value {
            Value::Array(items) => Some(items),
            _ => None,
        })
    }

    /// A number.
    pub fn number(&mut self, name: &str) -> Option<f64> {
        self.typed(name, "a number", |value| value.as_f64())
    }

    /// One of a few words, named by the type's own serialised names.
    pub fn choice<T: serde::de::DeserializeOwned>(&mut self, name: &str, known: &str) -> Option<T> {
        let text = self.text(name)?;
        let choice = serde_json::from_value(Value::String(text)).ok();
        if choice.is_none() {
            self.fault(name, "unknown_value", format!("It must be one of: {known}."));
        }
        choice
    }

    /// Notes each field that nobody asked for. Odd names are not repeated.
    pub fn finish(mut self) {
        for (name, _) in std::mem::take(&mut self.map) {
            let plain = name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let shown = if plain { name.as_str() } else { "?" };
            self.fault(shown, "unknown_field", "There is no such field. Check its spelling or leave it out.");
        }
    }
}

//! One fault of one field of a request: what a person gets to read beside the field.

use std::borrow::Cow;

/// One fault of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field's name in the request.
    pub field: Cow<'static, str>,
    /// Stable: `required`, `too_long`, …; listed in docs/errors.md.
    pub code: &'static str,
    /// A sentence for the person who typed it. Never repeats what was typed.
    pub message: Cow<'static, str>,
}

impl Fault {
    /// A fault of `field`.
    pub fn new(field: impl Into<Cow<'static, str>>, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), code, message: message.into() }
    }

    /// The field is missing, null or empty.
    pub fn required(field: impl Into<Cow<'static, str>>) -> Self {
        Self::new(field, "required", "Please fill it in.")
    }

    /// The field has the wrong type; `expected` is what it should be, as in "a string".
    pub fn wrong_type(field: impl Into<Cow<'static, str>>, expected: &str) -> Self {
        Self::new(field, "wrong_type", format!("It must be {expected}."))
    }

    /// The field is longer than `most`, in `unit`.
    pub fn too_long(field: impl Into<Cow<'static, str>>, most: usize, unit: &str) -> Self {
        Self::new(field, "too_long", format!("It is longer than {most} {unit}. Please shorten it."))
    }
}

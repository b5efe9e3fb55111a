//! What a comment is and what may happen to it. Pure: no database, no HTTP, no clock, no randomness; time and ids are
//! passed in. Types here are *parsed*: a [`text::Body`] that exists is a legal one.

pub mod comment;
pub mod ids;
pub mod time;

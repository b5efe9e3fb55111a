//! What a comment is and what may happen to it. Pure: no database, no HTTP, no clock, no randomness; time and ids are
//! passed in. Types here are *parsed*: a [`text::Body`] that exists is a legal one.

pub mod characters;
pub mod comment;
pub mod email;
pub mod fault;
pub mod feedback;
pub mod hex;
pub mod ids;
pub mod listing;
pub mod mail_choice;
pub mod passkeys;
pub mod password;
pub mod people;
pub mod policy;
pub mod privacy;
pub mod quote;
pub mod reach;
pub mod render;
pub mod retention;
pub mod rules;
pub mod search;
pub mod site;
pub mod site_settings;
pub mod submission;
pub mod text;
pub mod texts;
pub mod time;
pub mod web;
pub mod webhook;

//! The API as clients meet it, on both databases.

mod corpora;
mod errors;
mod form;
mod instances;
mod limits;
mod metrics;
mod moderation;
mod order;
mod own;
mod privacy;
mod races;
mod reading;
mod rotation;
mod submission;
mod webhooks;

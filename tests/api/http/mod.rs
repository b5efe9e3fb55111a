//! The API as clients meet it, on both databases.

mod administration;
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
mod reply;
mod rotation;
mod site_settings;
mod stream;
mod submission;

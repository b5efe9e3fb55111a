//! The API as clients meet it, on both databases.

mod administration;
mod corpora;
mod dead_links;
mod desk;
mod errors;
mod form;
mod hostile;
mod instances;
mod limits;
mod links;
mod metrics;
mod moderation;
mod order;
mod outbox;
mod own;
mod patches;
mod privacy;
mod races;
mod reading;
mod reply;
mod rotation;
mod rules;
mod site_settings;
mod stream;
mod submission;
mod webhooks;

//! Afterword, a comment-moderation service: takes comments for articles, holds them, tells the moderators, serves what they
//! approve. `ARCHITECTURE.md` has the map; in short, a request goes `http` -> `service` -> `domain` -> `storage`, and what
//! must happen afterwards goes through the outbox to `jobs`.

pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
mod disk;
pub mod domain;
pub mod error;
pub mod http;
pub mod jobs;
pub mod keys;
pub mod limits;
pub mod live;
pub mod mail;
pub mod metrics;
pub mod outbound;
pub mod service;
pub mod storage;
pub mod telemetry;

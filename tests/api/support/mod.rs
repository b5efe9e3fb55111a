//! The harness: throw-away databases of both kinds, a clock that stands still until it is told, builders for rows, and a
//! whole service on a port of its own.

pub mod app;
#[cfg(feature = "passkeys")]
pub mod authenticator;
pub mod clock;
pub mod database;
pub mod desk;
pub mod figures;
pub mod mails;
pub mod pooler;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod receiver;
pub mod rows;
pub mod server;
pub mod testdata;
pub mod webhooks;

//! The harness: throw-away databases of both kinds, a clock that stands still until it is told, builders for rows.

pub mod clock;
pub mod database;
pub mod postgres;
pub mod rows;

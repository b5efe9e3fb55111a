//! Afterword.

pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod keys;
pub mod limits;
pub mod storage;

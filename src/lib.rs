//! Afterword.

pub mod clock;
pub mod domain;
pub mod error;
pub mod keys;
pub mod storage;

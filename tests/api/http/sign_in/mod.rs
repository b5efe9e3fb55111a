//! Signing in, and what somebody who is signed in may do.

mod factors;
mod forgery;
mod guessing;
#[cfg(feature = "passkeys")]
mod passkeys;
mod sessions;
mod ways_in;

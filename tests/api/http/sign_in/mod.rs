//! Signing in, and what somebody who is signed in may do.

mod factors;
mod forgery;
mod guessing;
mod sessions;
mod ways_in;

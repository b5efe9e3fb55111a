//! The one integration-test binary: everything that needs a database, a socket or the built program. One module per room
//! of the product; `support` has the harness.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::format_push_string,
    clippy::disallowed_methods,
    clippy::float_cmp,
    reason = "a test fails by panicking, and tells its story in one piece"
)]

mod http;
mod jobs;
mod program;
mod storage;
mod support;

//! The one integration-test binary: everything that needs a database, a socket or the built program. One module per room
//! of the product; `support` has the harness.

mod http;
mod program;
mod storage;
mod support;

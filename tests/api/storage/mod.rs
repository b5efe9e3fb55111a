//! The storage layer on both databases: one body, two tests.

mod copy;
mod export;
mod follow;
mod group_commit;
mod listener;
mod outbox;
mod plans;
mod queue;
mod reading;
mod routes;
mod schema;
mod shared_limits;

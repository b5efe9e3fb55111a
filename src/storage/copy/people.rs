//! The rows of those who wrote comments: what they said about mails, what they were told, their requests.

use diesel::prelude::*;
use sha2::Sha256;

use super::super::conn::{Conn, on};
use super::super::schema;
use super::tables::{beyond, rows};
use super::{AnyId, COUNTED_ROWS, Canonical, INSERT_ROWS, PAGE_ROWS, Row, Tx, unfit};
use crate::error::Error;

rows! {
    subscribers: Subscriber by (id: AnyId) {
        id: AnyId,
        site_id: AnyId,
        email_hash: Vec<u8>,
        email_sealed: Vec<u8>,
        consent: i16,
        asked_at: Option<i64>,
        changed_at: i64,
    }

    notices: Notice by (comment_id: AnyId, kind: i16) {
        comment_id: AnyId,
        kind: i16,
        subscriber_id: AnyId,
        mail: Option<AnyId>,
        left_at: Option<i64>,
        told: bool,
    }

    person_requests: PersonRequest by (id: AnyId) {
        id: AnyId,
        site_id: AnyId,
        email_hash: Vec<u8>,
        email_sealed: Vec<u8>,
        created_at: i64,
        mailed_at: Option<i64>,
    }
}

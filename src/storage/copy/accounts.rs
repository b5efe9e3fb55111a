//! The rows of those who moderate, and of what they sign in with.

use diesel::prelude::*;
use sha2::Sha256;

use super::super::conn::{Conn, on};
use super::super::schema;
use super::tables::{beyond, rows};
use super::{AnyId, COUNTED_ROWS, Canonical, INSERT_ROWS, PAGE_ROWS, Row, Tx, unfit};
use crate::error::Error;

rows! {
    accounts: Account by (id: AnyId) {
        id: AnyId,
        email_sealed: Vec<u8>,
        email_hash: Vec<u8>,
        name: String,
        role: i16,
        password_hash: Option<String>,
        wants_mail: bool,
        created_at: i64,
        disabled_at: Option<i64>,
        digest_minutes: Option<i16>,
        quiet_from: Option<i16>,
        quiet_to: Option<i16>,
        time_zone: Option<String>,
        links_from: Option<i64>,
        language: Option<String>,
        totp_sealed: Option<Vec<u8>>,
        totp_pending: Option<Vec<u8>>,
        totp_step: Option<i64>,
        passkey_challenge_at: Option<i64>,
    }

    account_sites: AccountSite by (account_id: AnyId, site_id: AnyId) {
        account_id: AnyId,
        site_id: AnyId,
    }

    recovery_codes: RecoveryCode by (account_id: AnyId, code_hash: Vec<u8>) {
        account_id: AnyId,
        code_hash: Vec<u8>,
    }

    passkeys: Passkey by (id: AnyId) {
        id: AnyId,
        account_id: AnyId,
        credential_id: Vec<u8>,
        credential: String,
        name: String,
        created_at: i64,
        last_used_at: Option<i64>,
    }

    tokens: AccessToken by (id: AnyId) {
        id: AnyId,
        account_id: AnyId,
        name: String,
        token_hash: Vec<u8>,
        scope: String,
        created_at: i64,
        expires_at: i64,
        last_used_at: Option<i64>,
        revoked_at: Option<i64>,
    }
}

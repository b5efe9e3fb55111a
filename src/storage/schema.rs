//! The tables as Diesel sees them: hand-written, and meaning the same on both databases. Times are `BigInt`
//! microseconds, enums `SmallInt`, ids [`Uid`](super::types::Uid). `tests/api/storage/schema.rs` selects every
//! column on both.
#![expect(missing_docs, reason = "the columns are documented in migrations/")]

use diesel::{allow_tables_to_appear_in_same_query, joinable, table};

table! {
    meta (key) {
        key -> Text,
        value -> Text,
    }
}

table! {
    use diesel::sql_types::{Text, Nullable, SmallInt, BigInt};
    use super::super::types::Uid;
    sites (id) {
        id -> Uid,
        key -> Text,
        name -> Text,
        url -> Nullable<Text>,
        origins -> Text,
        moderation -> SmallInt,
        articles -> SmallInt,
        language -> Text,
        settings -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, SmallInt};
    use super::super::types::Uid;
    site_counts (site_id, slot) {
        site_id -> Uid,
        pending -> BigInt,
        approved -> BigInt,
        rejected -> BigInt,
        spam -> BigInt,
        slot -> SmallInt,
    }
}

table! {
    use diesel::sql_types::{Text, Nullable, Bool, BigInt};
    use super::super::types::Uid;
    articles (id) {
        id -> Uid,
        site_id -> Uid,
        key -> Text,
        title -> Nullable<Text>,
        url -> Nullable<Text>,
        closed -> Bool,
        comment_count -> BigInt,
        version -> BigInt,
        created_at -> BigInt,
        kept_open -> Bool,
        alias_of -> Nullable<Uid>,
        alias_since -> Nullable<BigInt>,
        merging -> Bool,
        moved -> BigInt,
        read_only -> Bool,
    }
}

table! {
    use diesel::sql_types::BigInt;
    use super::super::types::Uid;
    authors (id) {
        id -> Uid,
        site_id -> Uid,
        approved -> BigInt,
        rejected -> BigInt,
        spam -> BigInt,
        created_at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{Nullable, SmallInt, Binary, Bool, Text, Double, Integer, BigInt};
    use super::super::types::Uid;
    comments (id) {
        id -> Uid,
        site_id -> Uid,
        article_id -> Uid,
        parent_id -> Nullable<Uid>,
        root_id -> Uid,
        depth -> SmallInt,
        path -> Binary,
        status -> SmallInt,
        visible -> Bool,
        author_id -> Uid,
        name -> Text,
        website -> Nullable<Text>,
        body -> Text,
        body_html -> Text,
        renderer -> SmallInt,
        email_sealed -> Nullable<Binary>,
        email_hash -> Nullable<Binary>,
        sender_sealed -> Nullable<Binary>,
        article_title -> Nullable<Text>,
        article_url -> Nullable<Text>,
        waiting_edit -> Nullable<Text>,
        replaced_text -> Nullable<Text>,
        hold_reasons -> Text,
        spam_score -> Nullable<Double>,
        notify -> Bool,
        badge -> Nullable<SmallInt>,
        pinned -> Bool,
        votes_up -> Integer,
        votes_down -> Integer,
        score -> Integer,
        reply_count -> Integer,
        visible_children -> Integer,
        version -> BigInt,
        text_hash -> Binary,
        created_at -> BigInt,
        edited_at -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::{BigInt, Nullable, SmallInt, Text};
    use super::super::types::Uid;
    events (id) {
        id -> Uid,
        site_id -> Uid,
        comment_id -> Uid,
        at -> BigInt,
        account_id -> Nullable<Uid>,
        action -> SmallInt,
        from_status -> Nullable<SmallInt>,
        to_status -> Nullable<SmallInt>,
        via -> SmallInt,
        reason -> Nullable<Text>,
        article_id -> Nullable<Uid>,
    }
}

table! {
    use diesel::sql_types::{SmallInt, Nullable, BigInt, Integer, Text};
    use super::super::types::Uid;
    outbox (id) {
        id -> Uid,
        kind -> SmallInt,
        site_id -> Uid,
        comment_id -> Nullable<Uid>,
        account_id -> Nullable<Uid>,
        due_at -> Nullable<BigInt>,
        claim -> Nullable<Uid>,
        attempts -> Integer,
        dedupe_key -> Nullable<Text>,
        last_error -> Nullable<Text>,
        created_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        failed_at -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::{Binary, SmallInt, Text, BigInt};
    use super::super::types::Uid;
    idempotency_keys (site_id, key_hash) {
        site_id -> Uid,
        key_hash -> Binary,
        request_hash -> Binary,
        comment_id -> Uid,
        author_id -> Uid,
        status -> SmallInt,
        answer -> Text,
        created_at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{Binary, Text, SmallInt, Nullable, Bool, BigInt};
    use super::super::types::Uid;
    accounts (id) {
        id -> Uid,
        email_sealed -> Binary,
        email_hash -> Binary,
        name -> Text,
        role -> SmallInt,
        password_hash -> Nullable<Text>,
        wants_mail -> Bool,
        created_at -> BigInt,
        disabled_at -> Nullable<BigInt>,
        digest_minutes -> Nullable<SmallInt>,
        quiet_from -> Nullable<SmallInt>,
        quiet_to -> Nullable<SmallInt>,
        time_zone -> Nullable<Text>,
        links_from -> Nullable<BigInt>,
        language -> Nullable<Text>,
        totp_sealed -> Nullable<Binary>,
        totp_pending -> Nullable<Binary>,
        totp_step -> Nullable<BigInt>,
        passkey_challenge_at -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::types::Uid;
    account_sites (account_id, site_id) {
        account_id -> Uid,
        site_id -> Uid,
    }
}

table! {
    use diesel::sql_types::{Binary, Nullable, Text, BigInt};
    use super::super::types::Uid;
    sessions (id) {
        id -> Uid,
        account_id -> Uid,
        token_hash -> Binary,
        user_agent -> Nullable<Text>,
        created_at -> BigInt,
        seen_at -> BigInt,
        expires_at -> BigInt,
    }
}

table! {
    use diesel::sql_types::Binary;
    use super::super::types::Uid;
    recovery_codes (account_id, code_hash) {
        account_id -> Uid,
        code_hash -> Binary,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, Text};
    use super::super::types::Uid;
    passkeys (id) {
        id -> Uid,
        account_id -> Uid,
        credential_id -> Binary,
        credential -> Text,
        name -> Text,
        created_at -> BigInt,
        last_used_at -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, SmallInt};
    use super::super::types::Uid;
    one_time_links (id) {
        id -> Uid,
        purpose -> SmallInt,
        account_id -> Nullable<Uid>,
        token_hash -> Binary,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{Text, Binary, BigInt, Nullable};
    use super::super::types::Uid;
    tokens (id) {
        id -> Uid,
        account_id -> Uid,
        name -> Text,
        token_hash -> Binary,
        scope -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        last_used_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::{Binary, Text, Nullable, Integer, BigInt};
    use super::super::types::Uid;
    rules (id) {
        id -> Uid,
        site_id -> Nullable<Uid>,
        position -> Integer,
        definition -> Text,
        word_count -> Integer,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        words -> Nullable<Binary>,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use super::super::types::Uid;
    webhooks (id) {
        id -> Uid,
        site_id -> Nullable<Uid>,
        format -> SmallInt,
        events -> Text,
        include_email -> Bool,
        private_sealed -> Binary,
        former_until -> Nullable<BigInt>,
        enabled -> Bool,
        disabled_reason -> Nullable<Text>,
        failures -> Integer,
        failing_since -> Nullable<BigInt>,
        resume_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Bool, Integer, Nullable, SmallInt};
    use super::super::types::Uid;
    webhook_queue (id) {
        id -> Uid,
        webhook_id -> Uid,
        event_id -> Uid,
        event -> SmallInt,
        event_at -> BigInt,
        site_id -> Nullable<Uid>,
        article_id -> Nullable<Uid>,
        comment_id -> Nullable<Uid>,
        comment_status -> Nullable<SmallInt>,
        comment_version -> BigInt,
        by_hand -> Bool,
        due_at -> BigInt,
        claim -> Nullable<Uid>,
        attempts -> Integer,
        created_at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Integer, Nullable, SmallInt, Text};
    use super::super::types::Uid;
    webhook_deliveries (id) {
        id -> Uid,
        webhook_id -> Uid,
        event_id -> Uid,
        event -> SmallInt,
        event_at -> BigInt,
        site_id -> Nullable<Uid>,
        article_id -> Nullable<Uid>,
        comment_id -> Nullable<Uid>,
        comment_status -> Nullable<SmallInt>,
        attempt -> Integer,
        result -> SmallInt,
        status_code -> Nullable<Integer>,
        error -> Nullable<Text>,
        duration_ms -> BigInt,
        at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, SmallInt};
    use super::super::types::Uid;
    votes (comment_id, visitor) {
        comment_id -> Uid,
        visitor -> Binary,
        value -> SmallInt,
        at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Text};
    use super::super::types::Uid;
    reactions (article_id, visitor) {
        article_id -> Uid,
        visitor -> Binary,
        reaction -> Text,
        at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Text};
    use super::super::types::Uid;
    reaction_counts (article_id, reaction) {
        article_id -> Uid,
        reaction -> Text,
        count -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, SmallInt, Text};
    use super::super::types::Uid;
    flags (comment_id, visitor) {
        comment_id -> Uid,
        visitor -> Binary,
        reason -> SmallInt,
        note -> Nullable<Text>,
        at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, SmallInt};
    use super::super::types::Uid;
    subscribers (id) {
        id -> Uid,
        site_id -> Uid,
        email_hash -> Binary,
        email_sealed -> Binary,
        consent -> SmallInt,
        asked_at -> Nullable<BigInt>,
        changed_at -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt};
    use super::super::types::Uid;
    notices (comment_id, kind) {
        comment_id -> Uid,
        kind -> SmallInt,
        subscriber_id -> Uid,
        mail -> Nullable<Uid>,
        left_at -> Nullable<BigInt>,
        told -> Bool,
    }
}

table! {
    use diesel::sql_types::{BigInt, Binary, Nullable};
    use super::super::types::Uid;
    person_requests (id) {
        id -> Uid,
        site_id -> Uid,
        email_hash -> Binary,
        email_sealed -> Binary,
        created_at -> BigInt,
        mailed_at -> Nullable<BigInt>,
    }
}

joinable!(comments -> articles (article_id));
joinable!(articles -> sites (site_id));
joinable!(tokens -> accounts (account_id));
joinable!(sessions -> accounts (account_id));
joinable!(passkeys -> accounts (account_id));
joinable!(account_sites -> accounts (account_id));
joinable!(account_sites -> sites (site_id));
joinable!(site_counts -> sites (site_id));
allow_tables_to_appear_in_same_query!(meta, articles);

allow_tables_to_appear_in_same_query!(
    comments,
    articles,
    sites,
    site_counts,
    authors,
    events,
    outbox,
    accounts,
    account_sites,
    sessions,
    recovery_codes,
    passkeys,
    one_time_links,
    tokens
);

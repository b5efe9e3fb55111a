//! What the settings must be, key by key. Addresses of other services (the database, the mail server) and templates are
//! checked where they are used, by the one parser that reads them; `afterword config check` asks that one too.

use std::fmt::Display;
use std::ops::RangeInclusive;

use secrecy::ExposeSecret;

use super::{Config, ConfigError, Limits, Ring, Transport};
use crate::domain::rules::draft::Score;
use crate::domain::web::absolute_http;

fn wrong<T>(key: &str, what: &str) -> Result<T, ConfigError> {
    Err(ConfigError(format!("{key} {what}")))
}

fn within<N: PartialOrd + Display + Copy>(key: &str, number: N, range: RangeInclusive<N>) -> Result<(), ConfigError> {
    if range.contains(&number) {
        return Ok(());
    }
    wrong(key, &format!("must be between {} and {}", range.start(), range.end()))
}

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_server()?;
        within("limits.max_depth", usize::from(self.limits.max_depth), 1..=100)?;
        for (key, ring) in self.limits.rings() {
            if ring.burst == 0 || !(0.001..=86_400.0).contains(&ring.seconds) {
                return wrong(&format!("limits.{key}"), "needs a burst of at least 1 and 0.001 to 86400 seconds");
            }
        }
        within("database.pool_size", self.database.pool_size, 1..=1000)?;
        within("database.write_connections", self.database.write_connections, 1..=64)?;
        within("limits.streams", self.limits.streams, 0..=100_000)?;
        within("limits.streams_per_account", self.limits.streams_per_account, 0..=1000)?;
        within("session.idle_minutes", self.session.idle_minutes, 1..=525_600)?;
        within("session.absolute_days", self.session.absolute_days, 1..=365)?;
        within("limits.reader_streams", self.limits.reader_streams, 0..=100_000)?;
        within("limits.reader_streams_per_address", self.limits.reader_streams_per_address, 0..=100_000)?;
        if self.metrics.address()? == Some(self.server.listen) {
            return wrong("metrics.listen", "must be another address than server.listen");
        }
        self.check_mail()?;
        within("retention.sender_days", self.retention.sender_days, 0..=36_500)?;
        within("retention.refused_days", self.retention.refused_days, 0..=36_500)?;
        self.check_scores()?;
        if tracing_subscriber::EnvFilter::try_new(&self.log.level).is_err() {
            return wrong("log.level", "must be error, warn, info, debug, trace or a filter of these");
        }
        self.check_fields()
    }

    fn check_server(&self) -> Result<(), ConfigError> {
        let Some(url) = absolute_http(&self.server.public_url) else {
            return wrong("server.public_url", "must be an http:// or https:// address");
        };
        // Every link in mails and answers begins with it, and a path is put behind it.
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return wrong("server.public_url", "must be an address without a user, a ? or a #");
        }
        // Far more threads than any machine has cores; a mistyped number must not exhaust this one.
        within("server.workers", self.server.workers, 0..=1024)?;
        self.trusted_networks()?;
        self.webhook_networks().map(|_| ())
    }

    fn check_scores(&self) -> Result<(), ConfigError> {
        let (hold, spam) = (self.moderation.hold_score, self.moderation.spam_score);
        for (key, points) in [("moderation.hold_score", hold), ("moderation.spam_score", spam)] {
            if points <= 0.0 || Score::of_points(points).is_none() {
                return wrong(key, "must be between 0.01 and 100, with two decimals at most");
            }
        }
        if spam < hold {
            return wrong("moderation.spam_score", "must not be below moderation.hold_score");
        }
        Ok(())
    }

    fn check_mail(&self) -> Result<(), ConfigError> {
        if self.mail.transport == Transport::Smtp && self.mail.smtp_url.expose_secret().is_empty() {
            return wrong("mail.smtp_url", "is needed when mail.transport is \"smtp\"");
        }
        if self.mail.from.parse::<lettre::message::Mailbox>().is_err() {
            return wrong("mail.from", "must be an address like \"Comments <comments@example.org>\"");
        }
        // Less than the claim on an outbox row, so that no other worker takes it meanwhile.
        within("mail.timeout_seconds", self.mail.timeout_seconds, 1..=50)?;
        within("people.hourly_confirmations", self.people.hourly_confirmations, 0..=100_000)?;
        within("people.hourly_links", self.people.hourly_links, 0..=100_000)?;
        if self.mail.hourly_ceiling == 0 {
            return wrong("mail.hourly_ceiling", "must be at least 1");
        }
        Ok(())
    }

    fn check_fields(&self) -> Result<(), ConfigError> {
        let fields = &self.fields;
        let lengths = [
            ("name_max", fields.name_max, 1..=1000),
            ("website_max", fields.website_max, 1..=2048),
            ("body_max", fields.body_max, 1..=50_000),
            ("article_title_max", fields.article_title_max, 1..=2000),
            ("article_url_max", fields.article_url_max, 1..=8192),
            ("challenge_max", fields.challenge_max, 1..=16_384),
        ];
        for (key, length, range) in lengths {
            within(&format!("fields.{key}"), length, range)?;
        }
        Ok(())
    }
}

impl Limits {
    fn rings(&self) -> [(&'static str, Ring); 14] {
        [
            ("address", self.address),
            ("network", self.network),
            ("article", self.article),
            ("site", self.site),
            ("all", self.all),
            ("email", self.email),
            ("invalid", self.invalid),
            ("credentials", self.credentials),
            ("password", self.password),
            ("password_address", self.password_address),
            ("password_all", self.password_all),
            ("reset", self.reset),
            ("feedback", self.feedback),
            ("feedback_network", self.feedback_network),
        ]
    }
}

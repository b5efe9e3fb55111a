//! A new secret key while the service runs. The database says which of the file's keys is used (`key_check`); the order of
//! things is such that whoever meets a value knows its key: every instance has the new key before the database moves to it,
//! and the older ones stay in the file. Each step can be cut short and taken again.

use uuid::Uuid;

use super::Service;
use super::accounts::email_place;
use super::notifications::subscriber_place;
use super::own_account::pending_place;
use super::private_fields::{comment_email_place, comment_sender_place};
use super::sessions::totp_place;
use super::webhooks::webhook_place;
use crate::domain::ids::{CommentId, SubscriberId};
use crate::error::Error;
use crate::keys::{Place, Sealer, key_id};
use crate::storage::accounts::{self, Account};
use crate::storage::meta::KEY_CHECK as USED;
use crate::storage::people::{self, Subscriber};
use crate::storage::reseal::{self, AccountFields, PAGE, PAGE_ROWS, PrivateFields, TotpSecret};
use crate::storage::webhooks::{self, Webhook};
use crate::storage::{Conn, Tx, meta, neighbours};

/// The facts in `meta` that belong to it, beside the check value of the key that is used: that of the key of a rotation that has begun and not ended,
const NEXT: &str = "key_next";
/// the same again, written by an instance that does not have it,
const MISSING: &str = "key_missing";
/// the last comment that was looked at,
const CURSOR: &str = "key_cursor";
/// and the last subscriber.
const PEOPLE: &str = "key_cursor_people";

/// Where an installation stands with its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// A rotation has begun and not ended.
    pub is_rotating: bool,
    /// The file's first key is not the one that is used.
    pub first_is_unused: bool,
    /// Keys in the file beside the one that is used.
    pub others: usize,
    /// Values that lie under one of them.
    pub left: i64,
    /// Values that lie under a key that is not in the file.
    pub lost: i64,
}

/// What was done in one transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batch {
    /// Values that were sealed anew.
    pub done: i64,
    /// Values that do not open, though their key is there; they are left as they are.
    pub broken: i64,
    /// Values whose key is not in the file; likewise.
    pub lost: i64,
    /// Accounts and comments that somebody was working on; the next pass meets them.
    pub passed_over: usize,
    /// It began with the first comment, and the accounts.
    pub is_first: bool,
    /// All comments have been looked at since the first.
    pub is_last: bool,
}

impl Batch {
    /// This one and the one after it.
    #[must_use]
    pub fn and(self, next: Self) -> Self {
        Self {
            done: self.done + next.done,
            broken: self.broken + next.broken,
            lost: self.lost + next.lost,
            passed_over: self.passed_over + next.passed_over,
            is_first: self.is_first,
            is_last: next.is_last,
        }
    }
}

impl Service {
    /// Follows the key file and the database: which keys there are, and which is used. An instance that lacks the key of a
    /// coming rotation says so, and the rotation waits.
    pub async fn refresh_keys(&self) -> Result<(), Error> {
        let read = self.keys.reload();
        if *read.as_ref().unwrap_or(&false) {
            tracing::info!(count = self.keys.count(), "the key file has changed; its keys are known now");
            // Pictures come from its last line.
            self.db.everything_changed();
        }
        let facts = |conn: &mut Conn| Ok((meta::get(conn, USED)?, meta::get(conn, NEXT)?, meta::get(conn, MISSING)?));
        let (used, next, missing) = self.db.read(facts).await?;
        if let Some(next) = next.filter(|next| !self.keys.knows(next) && missing.as_ref() != Some(next)) {
            tracing::warn!("a key rotation waits: the new key is not in this instance's key file");
            self.db.write(move |tx| meta::put(tx, MISSING, &next)).await?;
        }
        let lacks = || Error::internal("the key file lacks the key that the database uses: comments are refused");
        if !used.is_none_or(|used| self.keys.follow(&used)) {
            return Err(lacks());
        }
        read.map(|_| ())
    }

    /// Uses the key that the database uses now; an error when it is not in the file.
    pub async fn follow_used_key(&self) -> Result<(), Error> {
        self.keys.reload()?;
        match self.db.read(|conn| meta::get(conn, USED)).await? {
            Some(used) if !self.keys.follow(&used) => Err(Error::internal("the key file lacks the key that is used")),
            _ => Ok(()),
        }
    }

    /// Where things stand. It looks at every row, page by page.
    pub async fn key_status(&self) -> Result<KeyStatus, Error> {
        let facts = |conn: &mut Conn| Ok((meta::get(conn, NEXT)?, accounts::all(conn)?, webhooks::all(conn)?));
        let (next, accounts, webhooks) = self.db.read(facts).await?;
        let mut status = KeyStatus {
            is_rotating: next.is_some(),
            first_is_unused: self.keys.first_check_value() != self.keys.check_value(),
            others: self.keys.count() - 1,
            left: 0,
            lost: 0,
        };
        let mut count = |sealed: &[u8]| match self.is_under_current(sealed) {
            Some(true) => {}
            Some(false) => status.left += 1,
            None => status.lost += 1,
        };
        for account in &accounts {
            count(&account.email_sealed);
            [&account.totp_sealed, &account.totp_pending].into_iter().flatten().for_each(|sealed| count(sealed));
        }
        for webhook in &webhooks {
            count(&webhook.private_sealed);
        }
        let mut after = Some(CommentId(Uuid::nil()));
        while let Some(from) = after {
            let page = self.db.read(move |conn| reseal::page(conn, from)).await?;
            let fields = page.iter().flat_map(|row| [&row.email_sealed, &row.sender_sealed]);
            fields.flatten().for_each(|sealed| count(sealed));
            after = page.last().filter(|_| page.len() == PAGE).map(|row| row.id);
        }
        let mut after = Some(SubscriberId(Uuid::nil()));
        while let Some(from) = after {
            let page = self.db.read(move |conn| people::subscribers_after(conn, from, PAGE_ROWS)).await?;
            for row in &page {
                count(&row.email_sealed);
            }
            after = page.last().filter(|_| page.len() == PAGE).map(|row| row.id);
        }
        Ok(status)
    }

    /// Whether a sealed value lies under the current key; none for one whose key is not in the file.
    fn is_under_current(&self, sealed: &[u8]) -> Option<bool> {
        key_id(sealed).and_then(|id| self.keys.is_current(id))
    }

    /// Whether the database has moved to the key of a rotation that has not ended.
    pub async fn is_resealing(&self) -> Result<bool, Error> {
        let next = self.db.read(|conn| meta::get(conn, NEXT)).await?;
        Ok(next.is_some_and(|next| next == self.keys.check_value()))
    }

    /// Tells all instances which key comes next. Those that do not have it have a moment to say so.
    pub async fn announce_key(&self) -> Result<(), Error> {
        let next = self.keys.first_check_value();
        self.db
            .write(move |tx| {
                meta::remove(tx, MISSING)?;
                meta::put(tx, NEXT, &next)
            })
            .await
    }

    /// Whether an instance has said that it does not have the announced key.
    pub async fn somebody_lacks_the_key(&self) -> Result<bool, Error> {
        Ok(self.db.read(|conn| meta::get(conn, MISSING)).await?.is_some())
    }

    /// The announced key is used from now on: whoever stores a sealed value afterwards, in whatever instance, looks at the
    /// check value in the same transaction, and this waits for those that have looked before. [`Error::Conflict`] when
    /// another rotation was quicker, [`Error::Busy`] when a transaction does not end.
    pub async fn use_announced_key(&self) -> Result<(), Error> {
        let (was, next) = (self.keys.check_value(), self.keys.first_check_value());
        let announced = next.clone();
        self.db
            .write(move |tx| {
                neighbours::wait_for_readers_of_facts(tx)?;
                let is_mine = meta::get(tx.conn(), NEXT)?.as_ref() == Some(&announced);
                if !is_mine || !meta::replace(tx, USED, &was, &announced)? {
                    return Err(Error::conflict("Another rotation has begun. Look first: afterword doctor"));
                }
                meta::remove(tx, PEOPLE)?;
                meta::remove(tx, CURSOR)
            })
            .await?;
        self.keys.follow(&next);
        Ok(())
    }

    /// Seals the private fields of the next comments and subscribers with the current key, in one transaction that also says
    /// how far it came. Accounts and webhooks come with the first of them.
    pub async fn reseal_some(&self) -> Result<Batch, Error> {
        let Read { after, accounts, webhooks, comments, subscribers } = self.db.read(Read::of).await?;
        let sealer = self.keys.sealer()?;
        let is_last = comments.len() < PAGE && subscribers.len() < PAGE;
        let mut batch = Batch { is_first: after.is_none(), is_last, ..Batch::default() };
        let (comment, subscriber) = after.unwrap_or((CommentId(Uuid::nil()), SubscriberId(Uuid::nil())));
        let comment = comments.last().map_or(comment, |row| row.id).to_string();
        let subscriber = subscribers.last().map_or(subscriber, |row| row.id).to_string();
        let mut new = Resealed::default();
        for account in accounts {
            new.secrets.extend(self.totp_resealed(&account, &sealer, &mut batch)?);
            new.accounts.extend(self.account_resealed(account, &sealer, &mut batch)?);
        }
        for webhook in webhooks {
            new.webhooks.extend(self.webhook_resealed(webhook, &sealer, &mut batch)?);
        }
        for row in subscribers {
            new.subscribers.extend(self.subscriber_resealed(row, &sealer, &mut batch)?);
        }
        for before in comments {
            let after = self.resealed(&before, &sealer, &mut batch)?;
            if after != before {
                new.comments.push((before, after));
            }
        }
        let changes = new.len();
        let written = self
            .db
            .write(move |tx| {
                refuse_other_key(tx, &sealer)?;
                if is_last {
                    [CURSOR, PEOPLE].iter().try_for_each(|fact| meta::remove(tx, fact))?;
                } else {
                    meta::put(tx, CURSOR, &comment)?;
                    meta::put(tx, PEOPLE, &subscriber)?;
                }
                new.write(tx)
            })
            .await?;
        batch.passed_over = changes - written;
        Ok(batch)
    }

    /// Ends the rotation.
    pub async fn end_rotation(&self) -> Result<(), Error> {
        self.db.write(|tx| [NEXT, MISSING, CURSOR, PEOPLE].iter().try_for_each(|fact| meta::remove(tx, fact))).await
    }

    /// What is in a value that lies under an older key; none for one that is under the current key, or does not open.
    fn taken_out(&self, place: Place<'_>, sealed: &[u8], batch: &mut Batch) -> Option<Vec<u8>> {
        match self.is_under_current(sealed) {
            Some(false) => {}
            Some(true) => return None,
            None => {
                batch.lost += 1;
                return None;
            }
        }
        let opened = self.keys.open(place, sealed).ok();
        *(if opened.is_some() { &mut batch.done } else { &mut batch.broken }) += 1;
        opened
    }

    fn account_resealed(
        &self,
        account: Account,
        sealer: &Sealer,
        batch: &mut Batch,
    ) -> Result<Option<AccountFields>, Error> {
        let place = email_place(&account.id);
        let Some(address) = self.taken_out(place, &account.email_sealed, batch) else { return Ok(None) };
        let (email_sealed, email_hash) = sealer.seal_email(place, &text(address)?)?;
        Ok(Some(AccountFields { id: account.id, before: account.email_sealed, email_sealed, email_hash }))
    }

    /// The secrets of one-time codes, the one in use and the one that waits to be confirmed.
    fn totp_resealed(&self, account: &Account, sealer: &Sealer, batch: &mut Batch) -> Result<Vec<TotpSecret>, Error> {
        let (used, pending) = (totp_place(&account.id), pending_place(&account.id));
        let mut changes = Vec::new();
        for (place, sealed, is_pending) in [(used, &account.totp_sealed, false), (pending, &account.totp_pending, true)]
        {
            let Some(before) = sealed else { continue };
            let Some(secret) = self.taken_out(place, before, batch).map(zeroize::Zeroizing::new) else { continue };
            let sealed = sealer.seal(place, &secret)?;
            changes.push(TotpSecret { id: account.id, is_pending, before: before.clone(), sealed });
        }
        Ok(changes)
    }

    fn webhook_resealed(
        &self,
        webhook: Webhook,
        sealer: &Sealer,
        batch: &mut Batch,
    ) -> Result<Option<(Webhook, Vec<u8>)>, Error> {
        let place = webhook_place(&webhook.id);
        let Some(plain) = self.taken_out(place, &webhook.private_sealed, batch) else { return Ok(None) };
        let sealed = sealer.seal(place, &plain)?;
        Ok(Some((webhook, sealed)))
    }

    fn subscriber_resealed(
        &self,
        before: Subscriber,
        sealer: &Sealer,
        batch: &mut Batch,
    ) -> Result<Option<(Subscriber, Subscriber)>, Error> {
        let place = subscriber_place(&before.id);
        let Some(address) = self.taken_out(place, &before.email_sealed, batch) else { return Ok(None) };
        let (email_sealed, email_hash) = sealer.seal_email(place, &text(address)?)?;
        let after = Subscriber { email_hash, email_sealed, ..before.clone() };
        Ok(Some((before, after)))
    }

    /// The fields under the current key.
    fn resealed(&self, before: &PrivateFields, sealer: &Sealer, batch: &mut Batch) -> Result<PrivateFields, Error> {
        let mut after = before.clone();
        let email = comment_email_place(&before.id);
        if let Some(address) = before.email_sealed.as_ref().and_then(|sealed| self.taken_out(email, sealed, batch)) {
            let (sealed, hash) = sealer.seal_email(email, &text(address)?)?;
            (after.email_sealed, after.email_hash) = (Some(sealed), Some(hash));
        }
        let sender = comment_sender_place(&before.id);
        if let Some(plain) = before.sender_sealed.as_ref().and_then(|sealed| self.taken_out(sender, sealed, batch)) {
            after.sender_sealed = Some(sealer.seal(sender, &plain)?);
        }
        Ok(after)
    }
}

/// What lay under an older key, sealed anew.
#[derive(Default)]
struct Resealed {
    accounts: Vec<AccountFields>,
    secrets: Vec<TotpSecret>,
    webhooks: Vec<(Webhook, Vec<u8>)>,
    subscribers: Vec<(Subscriber, Subscriber)>,
    comments: Vec<(PrivateFields, PrivateFields)>,
}

impl Resealed {
    fn len(&self) -> usize {
        let few = self.accounts.len() + self.secrets.len() + self.webhooks.len();
        few + self.subscribers.len() + self.comments.len()
    }

    /// Writes what is still as it was read; returns how many.
    fn write(&self, tx: &mut Tx<'_>) -> Result<usize, Error> {
        let mut written = reseal::replace_accounts(tx, &self.accounts, &self.secrets)?;
        written += reseal::replace(tx, &self.comments)?;
        for (webhook, after) in &self.webhooks {
            written += usize::from(webhooks::reseal(tx, webhook.id, &webhook.private_sealed, after)?);
        }
        for (before, after) in &self.subscribers {
            written += usize::from(people::reseal_subscriber(tx, before, after)?);
        }
        Ok(written)
    }
}

/// Rows that one transaction seals anew.
struct Read {
    /// The last that were looked at; none at the beginning.
    after: Option<(CommentId, SubscriberId)>,
    accounts: Vec<Account>,
    webhooks: Vec<Webhook>,
    comments: Vec<PrivateFields>,
    subscribers: Vec<Subscriber>,
}

impl Read {
    fn of(conn: &mut Conn) -> Result<Self, Error> {
        let comment = meta::get(conn, CURSOR)?.and_then(|id| id.parse().ok());
        let subscriber = meta::get(conn, PEOPLE)?.and_then(|id| id.parse().ok());
        let none = SubscriberId(Uuid::nil());
        let after = comment.map(|comment| (comment, subscriber.unwrap_or(none)));
        let (accounts, webhooks) = match after {
            None => (accounts::all(conn)?, webhooks::all(conn)?),
            Some(_) => Default::default(),
        };
        let from = after.unwrap_or((CommentId(Uuid::nil()), none));
        let comments = reseal::page(conn, from.0)?;
        Ok(Self {
            after,
            accounts,
            webhooks,
            comments,
            subscribers: people::subscribers_after(conn, from.1, PAGE_ROWS)?,
        })
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(Error::internal)
}

/// [`Error::Conflict`] when the database uses another key than this one by now.
fn refuse_other_key(tx: &mut Tx<'_>, sealer: &Sealer) -> Result<(), Error> {
    if meta::get(tx.conn(), USED)?.is_some_and(|used| used != sealer.check_value()) {
        return Err(Error::conflict("Another rotation has begun. Look first: afterword doctor"));
    }
    Ok(())
}

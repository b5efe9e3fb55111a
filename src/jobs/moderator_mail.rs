//! The mails to moderators: about one comment, or a summary of what waits. A mail says what is true when it is sent: a
//! comment that was decided meanwhile brings none.

use super::Worker;
use super::retry::{JobError, Sent};
use crate::domain::comment::Status;
use crate::domain::ids::{AccountId, SiteId};
use crate::error::Error;
use crate::mail::message::{Letter, Mail};
use crate::mail::templates::{DigestLetter, Links, ModerateLetter, QuotedComment, WaitingSite};
use crate::storage::accounts::{self, Account, Role};
use crate::storage::articles::{self, Article};
use crate::storage::comments::{self, Comment};
use crate::storage::outbox::OutboxRow;
use crate::storage::queue::{self, QueueFilter};
use crate::storage::{Conn, waiting};

/// Comments that a summary quotes.
const QUOTED: i64 = 20;

impl Worker {
    /// Sends one moderator the mail about one comment.
    pub(super) async fn mail_moderator(&self, row: &OutboxRow) -> Result<Sent, JobError> {
        let (Some(account), Some(comment)) = (row.account_id, row.comment_id) else { return Ok(Sent::Nothing) };
        let site_id = row.site_id;
        let found = self
            .service
            .db
            .read(move |conn| {
                let Some(account) = recipient(conn, account, site_id)? else { return Ok(None) };
                let Some(comment) = comments::find(conn, comment)?.filter(waits) else { return Ok(None) };
                let article = articles::by_ids(conn, &[comment.article_id])?.remove(&comment.article_id);
                let waiting = waiting::counts(conn, Some(&[site_id]))?.remove(&site_id).unwrap_or(0);
                Ok(article.map(|article| (account, comment, article, waiting)))
            })
            .await?;
        let Some((account, comment, article, waiting)) = found else { return Ok(Sent::Nothing) };
        let values = ModerateLetter {
            site: self.service.sites.by_id(site_id)?.name.clone(),
            comment: self.quoted(&comment, &article, account.id),
            waiting: waiting.max(1),
            unsubscribe: self.unsubscribe_address(account.id),
            public_url: self.public_url.clone(),
        };
        self.send(row, &account, self.stoppable(account.id, self.templates.letter("moderate", &values)?)).await
    }

    /// Sends one moderator the summary of what waits.
    pub(super) async fn mail_digest(&self, row: &OutboxRow) -> Result<Sent, JobError> {
        let Some(account) = row.account_id else { return Ok(Sent::Nothing) };
        let found = self
            .service
            .db
            .read(move |conn| {
                let Some(account) = accounts::find(conn, account)?.filter(wants_mail) else { return Ok(None) };
                let own = match account.role {
                    Role::Admin => None,
                    Role::Moderator => Some(accounts::sites_of(conn, account.id)?),
                };
                let counts = waiting::counts(conn, own.as_deref())?;
                let newest = newest_pending(conn, own)?;
                let ids: Vec<_> = newest.iter().map(|comment| comment.article_id).collect();
                Ok(Some((account, counts, newest, articles::by_ids(conn, &ids)?)))
            })
            .await?;
        let Some((account, counts, newest, articles)) = found else { return Ok(Sent::Nothing) };
        if counts.is_empty() {
            return Ok(Sent::Nothing);
        }
        let mut sites = Vec::new();
        for (site, waiting) in &counts {
            sites.push(WaitingSite { name: self.service.sites.by_id(*site)?.name.clone(), waiting: *waiting });
        }
        let quote = |comment: &Comment| {
            articles.get(&comment.article_id).map(|article| self.quoted(comment, article, account.id))
        };
        let comments: Vec<QuotedComment> = newest.iter().filter_map(quote).collect();
        let values = DigestLetter {
            waiting: counts.values().sum(),
            sites,
            comments,
            unsubscribe: self.unsubscribe_address(account.id),
            public_url: self.public_url.clone(),
        };
        self.send(row, &account, self.stoppable(account.id, self.templates.letter("digest", &values)?)).await
    }

    pub(super) async fn send(&self, row: &OutboxRow, account: &Account, letter: Letter) -> Result<Sent, JobError> {
        let address = self.service.account_email(account)?;
        let mail = Mail::new(row.id.to_string(), &self.from, &address, letter)?;
        self.mailer.send(&mail).await?;
        Ok(Sent::Left)
    }

    /// A letter of those that an account can do without.
    fn stoppable(&self, account: AccountId, letter: Letter) -> Letter {
        Letter { unsubscribe: Some(self.unsubscribe_address(account)), ..letter }
    }

    fn unsubscribe_address(&self, account: AccountId) -> String {
        format!("{}/u/{}", self.public_url, self.service.unsubscribe_token(account))
    }

    /// A comment as mails quote it to an account: the text that waits, and what can be done with it.
    fn quoted(&self, comment: &Comment, article: &Article, account: AccountId) -> QuotedComment {
        let tokens = self.service.decision_tokens(comment, account);
        let link = |token: &str| format!("{}/m/{token}", self.public_url);
        let text = comment.waiting_edit().unwrap_or_else(|| comment.text());
        let (email, sender) = self.service.opened(&comment.sealed());
        let title = article.title.as_ref().or(comment.article_title.as_ref()).unwrap_or(&article.key);
        QuotedComment {
            id: comment.id.to_string(),
            author: text.name,
            email: email.unwrap_or_default(),
            website: text.website,
            address: sender.address,
            lines: text.body.lines().map(str::to_owned).collect(),
            reasons: comment.hold_reasons().into_iter().map(|reason| reason.detail).collect(),
            article_title: title.clone(),
            article_url: article.url.clone().or_else(|| comment.article_url.clone()),
            is_edit: comment.status == Status::Approved,
            is_changed: comment.edited_at.is_some(),
            links: Links { approve: link(&tokens.approve), reject: link(&tokens.reject), spam: link(&tokens.spam) },
        }
    }
}

fn wants_mail(account: &Account) -> bool {
    account.mail_choice().wants_mail()
}

/// Whether a moderator still has something to decide.
fn waits(comment: &Comment) -> bool {
    comment.status == Status::Pending || (comment.status == Status::Approved && comment.waiting_edit.is_some())
}

/// The account, if it still wants mail and looks after the site.
fn recipient(conn: &mut Conn, account: AccountId, site: SiteId) -> Result<Option<Account>, Error> {
    let Some(account) = accounts::find(conn, account)?.filter(wants_mail) else { return Ok(None) };
    let covers = account.role == Role::Admin || accounts::sites_of(conn, account.id)?.contains(&site);
    Ok(Some(account).filter(|_| covers))
}

fn newest_pending(conn: &mut Conn, sites: Option<Vec<SiteId>>) -> Result<Vec<Comment>, Error> {
    let filter = QueueFilter {
        status: Some(Status::Pending),
        sites,
        articles: None,
        text: None,
        newest_first: true,
        after: None,
        limit: QUOTED,
    };
    queue::page(conn, &filter)
}

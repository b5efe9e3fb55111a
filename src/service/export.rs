//! Everything that a person would want to take along, as JSON lines: sites, rules, accounts, articles, authors, comments, the event
//! log, each in the order of ids. What is encrypted is opened here. Keys, password hashes, tokens, keyed hashes and what is
//! only counted from other rows have no field, so that they cannot leave; the order of the fields is that of the structs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Service;
use super::private_fields::Sender;
use super::rulebook::{read_draft, unpacked};
use crate::domain::comment::{Action, Badge, HoldReason, Status, Via};
use crate::domain::feedback::FlagReason;
use crate::domain::ids::{AccountId, ArticleId, AuthorId, CommentId, EventId, RuleId, SiteId};
use crate::domain::mail_choice::MailChoice;
use crate::domain::rules::draft::Draft;
use crate::domain::site::{ArticlePolicy, Policy};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::accounts::{Account, Role};
use crate::storage::articles::Article;
use crate::storage::authors::Author;
use crate::storage::comments::{Comment, Text};
use crate::storage::events::Event;
use crate::storage::export::{self as stored, PAGE, StoredSite};
use crate::storage::feedback::{self, Flag};
use crate::storage::rules::StoredRule;

/// One line.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Record<'a> {
    Site {
        id: SiteId,
        key: &'a str,
        name: &'a str,
        url: Option<&'a str>,
        origins: Vec<String>,
        moderation: Policy,
        articles: ArticlePolicy,
        language: &'a str,
        settings: Box<serde_json::value::RawValue>,
        created_at: Timestamp,
        updated_at: Timestamp,
    },
    Rule {
        id: RuleId,
        /// None: all sites.
        site_id: Option<SiteId>,
        position: i32,
        #[serde(flatten)]
        draft: Draft,
        words: Vec<String>,
        created_at: Timestamp,
        updated_at: Timestamp,
    },
    Account {
        id: AccountId,
        email: String,
        name: &'a str,
        role: Role,
        sites: &'a [SiteId],
        mail: MailChoice,
        created_at: Timestamp,
        disabled_at: Option<Timestamp>,
    },
    Article {
        id: ArticleId,
        site_id: SiteId,
        key: &'a str,
        title: Option<&'a str>,
        url: Option<&'a str>,
        closed: bool,
        kept_open: bool,
        /// How many reacted, by name.
        reactions: BTreeMap<String, i64>,
        alias_of: Option<ArticleId>,
        read_only: bool,
        created_at: Timestamp,
    },
    Author {
        id: AuthorId,
        site_id: SiteId,
        approved: i64,
        rejected: i64,
        spam: i64,
        created_at: Timestamp,
    },
    Comment(Box<CommentRecord<'a>>),
    Event {
        id: EventId,
        site_id: SiteId,
        comment_id: CommentId,
        at: Timestamp,
        account_id: Option<AccountId>,
        action: Action,
        from_status: Option<Status>,
        to_status: Option<Status>,
        via: Via,
        reason: Option<&'a str>,
    },
}

/// A comment. Its `text` is the one that is public, or would be.
#[derive(Serialize)]
struct CommentRecord<'a> {
    id: CommentId,
    site_id: SiteId,
    article_id: ArticleId,
    parent_id: Option<CommentId>,
    author_id: AuthorId,
    status: Status,
    email: Option<String>,
    address: Option<String>,
    user_agent: Option<String>,
    text: TextRecord<'a>,
    waiting_edit: Option<TextRecord<'a>>,
    replaced_text: Option<TextRecord<'a>>,
    hold_reasons: Vec<HoldReason>,
    spam_score: Option<f64>,
    article_title: Option<&'a str>,
    article_url: Option<&'a str>,
    notify: bool,
    badge: Option<Badge>,
    pinned: bool,
    votes_up: i32,
    votes_down: i32,
    flags: Vec<FlagRecord<'a>>,
    created_at: Timestamp,
}

/// What a reader said against a comment.
#[derive(Serialize)]
struct FlagRecord<'a> {
    reason: FlagReason,
    note: Option<&'a str>,
    at: Timestamp,
}

/// One version of what an author wrote, as typed and as rendered.
#[derive(Serialize)]
struct TextRecord<'a> {
    name: Cow<'a, str>,
    website: Option<Cow<'a, str>>,
    body: Cow<'a, str>,
    body_html: Cow<'a, str>,
    renderer: i16,
    edited_at: Option<Timestamp>,
}

/// A stored list or text. One that cannot be read stops the export: nobody must believe a file that leaves it out.
fn read<'de, T: Deserialize<'de>>(json: &'de str, what: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|cause| Error::internal(format!("{what} cannot be read: {cause}")))
}

impl TextRecord<'_> {
    fn stored(json: Option<&str>, what: &str) -> Result<Option<Self>, Error> {
        let text: Option<Text> = json.map(|json| read(json, what)).transpose()?;
        Ok(text.map(|text| Self {
            name: text.name.into(),
            website: text.website.map(Into::into),
            body: text.body.into(),
            body_html: text.body_html.into(),
            renderer: text.renderer,
            edited_at: text.edited_at.map(Timestamp),
        }))
    }
}

/// The rows of one kind follow those of another.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Sites,
    Rules,
    Accounts,
    Articles,
    Authors,
    Comments,
    Events,
    Nothing,
}

impl Kind {
    /// What a line names comes before it, but for what is made while the export goes on.
    fn next(self) -> Self {
        match self {
            Self::Sites => Self::Rules,
            Self::Rules => Self::Accounts,
            Self::Accounts => Self::Articles,
            Self::Articles => Self::Authors,
            Self::Authors => Self::Comments,
            Self::Comments => Self::Events,
            Self::Events | Self::Nothing => Self::Nothing,
        }
    }
}

/// An export on its way: which rows come next.
pub struct Export<'a> {
    service: &'a Service,
    kind: Kind,
    after: Uuid,
}

/// A part of the file.
#[derive(Debug, Default)]
pub struct Part {
    /// Whole lines.
    pub lines: Vec<u8>,
    /// How many.
    pub rows: usize,
    /// The id in the last line.
    last: Uuid,
}

impl Part {
    /// Renders rows.
    fn of<'a, T>(rows: &'a [T], record: impl Fn(&'a T) -> Result<(Uuid, Record<'a>), Error>) -> Result<Self, Error> {
        let mut part = Self { rows: rows.len(), ..Self::default() };
        for row in rows {
            let (id, record) = record(row)?;
            serde_json::to_writer(&mut part.lines, &record).map_err(Error::internal)?;
            part.lines.push(b'\n');
            part.last = id;
        }
        Ok(part)
    }
}

impl Service {
    /// Begins an export. It is no picture of one moment: what changes meanwhile is in it as it was or as it is.
    pub fn export(&self) -> Export<'_> {
        Export { service: self, kind: Kind::Sites, after: Uuid::nil() }
    }
}

impl Service {
    /// A comment and what was said against it, as they stand in the export.
    pub(super) fn exported_comment(
        &self,
        row: &Comment,
        flags: &[Flag],
    ) -> Result<Box<serde_json::value::RawValue>, Error> {
        serde_json::value::to_raw_value(&self.export().comment(row, flags)?).map_err(Error::internal)
    }
}

impl Export<'_> {
    /// The next part; none at the end.
    pub async fn next_part(&mut self) -> Result<Option<Part>, Error> {
        while !matches!(self.kind, Kind::Nothing) {
            let part = self.page().await?;
            self.after = part.last;
            if part.rows < PAGE {
                (self.kind, self.after) = (self.kind.next(), Uuid::nil());
            }
            if part.rows > 0 {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    async fn page(&self) -> Result<Part, Error> {
        let (db, after) = (&self.service.db, self.after);
        match self.kind {
            Kind::Sites => {
                let rows = db.read(move |conn| stored::sites(conn, SiteId(after))).await?;
                Part::of(&rows, |row| Ok((row.id.0, site(row)?)))
            }
            Kind::Rules => {
                let rows = db.read(move |conn| stored::rules(conn, RuleId(after))).await?;
                Part::of(&rows, |(row, words)| Ok((row.id.0, rule(row, words.as_deref())?)))
            }
            Kind::Accounts => {
                let rows = db.read(move |conn| stored::accounts(conn, AccountId(after))).await?;
                Part::of(&rows, |(row, sites)| Ok((row.id.0, self.account(row, sites)?)))
            }
            Kind::Articles => {
                let read = db.read(move |conn| {
                    let rows = stored::articles(conn, ArticleId(after))?;
                    let ids: Vec<ArticleId> = rows.iter().map(|row| row.id).collect();
                    Ok((rows, feedback::reaction_counts_of(conn, &ids)?))
                });
                let (rows, counts) = read.await?;
                Part::of(&rows, |row| Ok((row.id.0, article(row, counts.get(&row.id)))))
            }
            Kind::Authors => {
                let rows = db.read(move |conn| stored::authors(conn, AuthorId(after))).await?;
                Part::of(&rows, |row| Ok((row.id.0, author(row))))
            }
            Kind::Comments => {
                let read = db.read(move |conn| {
                    let rows = stored::comments(conn, CommentId(after))?;
                    let ids: Vec<CommentId> = rows.iter().map(|row| row.id).collect();
                    Ok((rows, feedback::flags_of_all(conn, &ids)?))
                });
                let (rows, flags) = read.await?;
                Part::of(&rows, |row| Ok((row.id.0, self.comment(row, flags.get(&row.id).map_or(&[], Vec::as_slice))?)))
            }
            Kind::Events => {
                let rows = db.read(move |conn| stored::events(conn, EventId(after))).await?;
                Part::of(&rows, |row| Ok((row.id.0, event(row))))
            }
            Kind::Nothing => Ok(Part::default()),
        }
    }

    fn account<'a>(&self, row: &'a Account, sites: &'a [SiteId]) -> Result<Record<'a>, Error> {
        Ok(Record::Account {
            id: row.id,
            email: self.service.account_email(row)?,
            name: &row.name,
            role: row.role,
            sites,
            mail: row.mail.choice(),
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        })
    }

    fn comment<'a>(&self, row: &'a Comment, flags: &'a [Flag]) -> Result<Record<'a>, Error> {
        let (email, Sender { address, user_agent }) = self.service.opened(&row.sealed());
        Ok(Record::Comment(Box::new(CommentRecord {
            id: row.id,
            site_id: row.site_id,
            article_id: row.article_id,
            parent_id: row.parent_id,
            author_id: row.author_id,
            status: row.status,
            email,
            address,
            user_agent,
            text: TextRecord {
                name: row.name.as_str().into(),
                website: row.website.as_deref().map(Into::into),
                body: row.body.as_str().into(),
                body_html: row.body_html.as_str().into(),
                renderer: row.renderer,
                edited_at: row.edited_at,
            },
            waiting_edit: TextRecord::stored(row.waiting_edit.as_deref(), "a waiting edit")?,
            replaced_text: TextRecord::stored(row.replaced_text.as_deref(), "a replaced text")?,
            hold_reasons: read(&row.hold_reasons, "the reasons of a comment")?,
            spam_score: row.spam_score,
            article_title: row.article_title.as_deref(),
            article_url: row.article_url.as_deref(),
            notify: row.notify,
            badge: row.badge,
            pinned: row.pinned,
            votes_up: row.votes_up,
            votes_down: row.votes_down,
            flags: flags.iter().map(flag).collect(),
            created_at: row.created_at,
        })))
    }
}

fn site(row: &StoredSite) -> Result<Record<'_>, Error> {
    Ok(Record::Site {
        id: row.id,
        key: &row.key,
        name: &row.name,
        url: row.url.as_deref(),
        origins: read(&row.origins, "the origins of a site")?,
        moderation: row.moderation,
        articles: row.articles,
        language: &row.language,
        settings: serde_json::value::RawValue::from_string(row.settings.clone()).map_err(Error::internal)?,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn rule<'a>(row: &StoredRule, words: Option<&[u8]>) -> Result<Record<'a>, Error> {
    let words = words.map(unpacked).transpose()?.unwrap_or_default();
    Ok(Record::Rule {
        id: row.id,
        site_id: row.site_id,
        position: row.position,
        draft: read_draft(row)?,
        words: words.lines().map(str::to_owned).collect(),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn flag(flag: &Flag) -> FlagRecord<'_> {
    FlagRecord { reason: flag.reason, note: flag.note.as_deref(), at: flag.at }
}

fn article<'a>(row: &'a Article, reactions: Option<&BTreeMap<String, i64>>) -> Record<'a> {
    Record::Article {
        id: row.id,
        site_id: row.site_id,
        key: &row.key,
        title: row.title.as_deref(),
        url: row.url.as_deref(),
        closed: row.closed,
        kept_open: row.kept_open,
        reactions: reactions.cloned().unwrap_or_default(),
        alias_of: row.alias_of,
        read_only: row.read_only,
        created_at: row.created_at,
    }
}

fn author(row: &Author) -> Record<'_> {
    Record::Author {
        id: row.id,
        site_id: row.site_id,
        approved: row.approved,
        rejected: row.rejected,
        spam: row.spam,
        created_at: row.created_at,
    }
}

fn event(row: &Event) -> Record<'_> {
    Record::Event {
        id: row.id,
        site_id: row.site_id,
        comment_id: row.comment_id,
        at: row.at,
        account_id: row.account_id,
        action: row.action,
        from_status: row.from_status,
        to_status: row.to_status,
        via: row.via,
        reason: row.reason.as_deref(),
    }
}

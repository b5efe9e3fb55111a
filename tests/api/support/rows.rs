//! Rows for storage tests: legal, small, each different.

use afterword::domain::comment::{Action, Status, Via};
use afterword::domain::ids::{ArticleId, AuthorId, CommentId, EventId, OutboxId, SiteId};
use afterword::domain::listing::ReadingPath;
use afterword::domain::site::{ArticlePolicy, Policy, Site, SiteKey};
use afterword::domain::site_settings::SiteSettings;
use afterword::domain::submission::ArticleKey;
use afterword::domain::time::Timestamp;
use afterword::error::Error;
use afterword::storage::articles::NewArticle;
use afterword::storage::comments::Comment;
use afterword::storage::outbox::{Kind, OutboxRow};
use afterword::storage::{Tx, articles, comments, events, sites};
use uuid::Uuid;

pub const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// Ids in a fixed order: the n-th is later than the one before.
pub fn uuid(n: u64) -> Uuid {
    Uuid::from_u128((0x0190_0000_0000_7000_8000 << 48) + u128::from(n))
}

pub fn comment_id(n: u64) -> CommentId {
    CommentId(uuid(n))
}

pub fn site(n: u64, key: &str) -> Site {
    Site {
        id: SiteId(uuid(n)),
        key: SiteKey::parse(key).unwrap(),
        name: format!("Site {key}"),
        url: None,
        origins: Vec::new(),
        policy: Policy::All,
        articles: ArticlePolicy::Any,
        language: "en".into(),
        settings: SiteSettings::default(),
        updated_at: NOW,
    }
}

/// Writes a site and an article of it.
pub fn site_and_article(tx: &mut Tx<'_>, site: &Site, article: u64, key: &str) -> Result<ArticleId, Error> {
    if !sites::all(tx.conn())?.iter().any(|there| there.id == site.id) {
        sites::insert(tx, site, NOW)?;
    }
    let key = ArticleKey::parse(key, "article").unwrap();
    Ok(articles::find_or_make(
        tx,
        &NewArticle { id: ArticleId(uuid(article)), site_id: site.id, key: &key, created_at: NOW },
    )?
    .0
    .id)
}

#[expect(clippy::too_many_arguments, reason = "what a test says of a row, in the order in which one says it")]
pub fn comment(n: u64, site: SiteId, article: ArticleId, parent: Option<&Comment>, status: Status) -> Comment {
    let id = comment_id(n);
    let path = ReadingPath::below(parent.map(|parent| parent.path.as_slice()), id);
    Comment {
        id,
        site_id: site,
        article_id: article,
        parent_id: parent.map(|parent| parent.id),
        root_id: path.root().unwrap(),
        depth: parent.map_or(0, |parent| parent.depth + 1),
        path: path.0,
        status,
        visible: status == Status::Approved,
        author_id: AuthorId(uuid(n)),
        name: format!("Author {n}"),
        website: None,
        body: format!("Text number {n}"),
        body_html: format!("<p>Text number {n}</p>"),
        renderer: 1,
        email_sealed: None,
        email_hash: Some(vec![0; 32]),
        sender_sealed: None,
        article_title: None,
        article_url: None,
        waiting_edit: None,
        replaced_text: None,
        hold_reasons: "[]".into(),
        spam_score: None,
        notify: false,
        badge: None,
        pinned: false,
        votes_up: 0,
        votes_down: 0,
        score: 0,
        reply_count: 0,
        visible_children: 0,
        version: 1,
        text_hash: n.to_be_bytes().to_vec(),
        created_at: NOW.plus(std::time::Duration::from_secs(n)),
        edited_at: None,
    }
}

pub fn event(n: u64, comment: &Comment) -> events::NewEvent {
    events::Event {
        id: EventId(uuid(n)),
        site_id: comment.site_id,
        comment_id: comment.id,
        at: comment.created_at,
        account_id: None,
        action: Action::Submitted,
        from_status: None,
        to_status: Some(comment.status),
        via: Via::Author,
        reason: None,
        article_id: Some(comment.article_id),
    }
}

pub fn work(n: u64, comment: &Comment) -> OutboxRow {
    let mut row = OutboxRow::new(OutboxId(uuid(n)), Kind::TellModerators, comment.site_id, NOW);
    row.comment_id = Some(comment.id);
    row
}

/// Writes a comment as a submission does: with its event and its work.
pub fn submit(tx: &mut Tx<'_>, comment: &Comment, n: u64) -> Result<(), Error> {
    comments::insert(tx, comment)?;
    tx.log(event(n, comment));
    tx.enqueue(work(n, comment));
    Ok(())
}

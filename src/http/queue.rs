//! What moderators look at: the queue, one comment with its thread and history, the log. Every handler has a
//! [`Moderator`] in its signature: without a valid access token it does not run.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::error::{ApiError, Problem};
use super::moderator::{Input, Moderator, NoBody};
use super::request::{Pairs, bad_cursor, cursor_text, faultless};
use super::shapes::{EventShape, ModeratorShape};
use super::surroundings::{AboveShape, FlagShape, Surroundings};
use crate::domain::comment::Status;
use crate::domain::fault::Fault;
use crate::domain::ids::{CommentId, EventId, SiteId};
use crate::error::Error;
use crate::service::access::Access;
use crate::storage::comments::{self, Comment};
use crate::storage::events::{self, Event, EventFilter};
use crate::storage::feedback;
use crate::storage::queue::{self, QueueFilter};
use crate::storage::{articles, authors, listing};

/// What part of the queue to read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the API document")]
pub struct QueueParams {
    /// `pending` (default; with the public comments whose edit waits), `approved`, `rejected`, `spam` or `all`.
    status: Option<String>,
    /// A site's key.
    site: Option<String>,
    /// An article's key.
    article: Option<String>,
    /// Words of the name or the text.
    q: Option<String>,
    /// `oldest` (default) or `newest`.
    sort: Option<String>,
    /// 1 to 200; 50 when missing.
    limit: Option<u8>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of the queue.
#[derive(Serialize, ToSchema)]
pub struct QueueAnswer {
    comments: Vec<ModeratorShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

/// The states that a query asks for.
#[derive(Clone, Copy)]
enum Asked {
    All,
    One(Status),
}

/// The states that can be asked for, by their names.
const STATUSES: &[(&str, Asked)] = &[
    ("pending", Asked::One(Status::Pending)),
    ("approved", Asked::One(Status::Approved)),
    ("rejected", Asked::One(Status::Rejected)),
    ("spam", Asked::One(Status::Spam)),
    ("all", Asked::All),
];

/// The orders, by their names: whether the newest come first.
const SORTS: &[(&str, bool)] = &[("oldest", false), ("newest", true)];

/// [`QueueParams`] as they came, with what is wrong with them.
pub struct QueueQuery {
    /// One state; none for all.
    status: Option<Status>,
    site: Option<String>,
    article: Option<String>,
    text: Option<String>,
    newest_first: bool,
    after: Option<CommentId>,
    limit: i64,
    faults: Vec<Fault>,
}

impl Input for QueueQuery {
    async fn read(request: &HttpRequest, _: web::Payload) -> Result<Self, ApiError> {
        let pairs = Pairs::of(request)?;
        let mut faults = Vec::new();
        let newest_first = pairs.choice("sort", &mut faults, SORTS).unwrap_or(false);
        let after = pairs.cursor(&mut faults)?.map(|bytes| queue_cursor(&bytes, newest_first)).transpose()?;
        let status = match pairs.choice("status", &mut faults, STATUSES) {
            None => Some(Status::Pending),
            Some(Asked::One(status)) => Some(status),
            Some(Asked::All) => None,
        };
        let limit = pairs.limit(&mut faults);
        let text = pairs.one("q", &mut faults).filter(|text| !text.is_empty()).map(str::to_owned);
        if text.as_ref().is_some_and(|text| text.chars().count() > 200) {
            faults.push(Fault::too_long("q", 200, "characters"));
        }
        let site = pairs.one("site", &mut faults).map(str::to_owned);
        let article = pairs.one("article", &mut faults).map(str::to_owned);
        Ok(Self { status, site, article, text, newest_first, after, limit, faults })
    }
}

/// The queue, filtered, searched, page by page.
#[utoipa::path(
    get, path = "/api/v1/moderation/comments", tag = "Moderators", params(QueueParams), security(("account" = [])),
    responses(
        (status = 200, body = QueueAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(state: web::Data<State>, moderator: Moderator<QueueQuery>) -> Result<HttpResponse, ApiError> {
    let QueueQuery { status, site, article, text, newest_first, after, limit, faults } = moderator.input;
    let sites = narrowed(&state, &moderator.access, site.as_deref())?;
    faultless(faults)?;
    let rows = state
        .service
        .db
        .read(move |conn| {
            let articles = match &article {
                Some(key) => Some(articles::by_key(conn, sites.as_deref(), key)?),
                None => None,
            };
            let (sites, text) = (sites.clone(), text.clone());
            let filter = QueueFilter { status, sites, articles, text, newest_first, after, limit: limit + 1 };
            let rows = queue::page(conn, &filter)?;
            let ids: Vec<_> = rows.iter().map(|row| row.article_id).collect();
            let articles = articles::by_ids(conn, &ids)?;
            Ok(rows
                .into_iter()
                .filter_map(|row| Some((articles.get(&row.article_id)?.clone(), row)))
                .collect::<Vec<_>>())
        })
        .await?;
    let shown = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > shown;
    let last = rows.get(shown.saturating_sub(1)).filter(|_| more).map(|(_, row)| row.id);
    let comments: Result<Vec<_>, Error> =
        rows.iter().take(shown).map(|(article, row)| state.moderated(row, article)).collect();
    let next_cursor = last.map(|id| cursor_text(&[&[u8::from(newest_first)], id.as_bytes().as_slice()].concat()));
    Ok(private(StatusCode::OK).json(QueueAnswer { comments: comments?, next_cursor }))
}

fn queue_cursor(bytes: &[u8], newest_first: bool) -> Result<CommentId, Error> {
    match bytes.split_first() {
        Some((order, id)) if *order == u8::from(newest_first) => {
            uuid::Uuid::from_slice(id).map(CommentId).map_err(|_| bad_cursor())
        }
        _ => Err(bad_cursor()),
    }
}

/// The sites to which a list is narrowed: those of the account, or the one that is asked for. A site that the account may
/// not see is not found, like one that is not there.
fn narrowed(state: &State, access: &Access, site: Option<&str>) -> Result<Option<Vec<SiteId>>, Error> {
    match site {
        None => Ok(access.site_filter()),
        Some(key) => {
            let site = state.service.sites.by_key(key)?;
            access.require(site.id)?;
            Ok(Some(vec![site.id]))
        }
    }
}

/// An answer that nobody keeps.
pub fn private(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}

/// Likewise, with the entity tag of a comment's version.
pub fn with_version(status: StatusCode, version: i64) -> HttpResponseBuilder {
    let mut response = private(status);
    response.insert_header((header::ETAG, format!("\"{version}\"")));
    response
}

/// The comment that the address names.
pub fn comment_id(request: &HttpRequest) -> Result<CommentId, Error> {
    request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)
}

/// A comment as moderators see it.
pub async fn shaped(state: &State, comment: &Comment) -> Result<ModeratorShape, Error> {
    let id = comment.article_id;
    let article = state.service.db.read(move |conn| articles::by_ids(conn, &[id])).await?.remove(&id);
    state.moderated(comment, &article.ok_or(Error::NotFound)?)
}

/// One comment with its events, the thread above it, and how its author's comments fared.
#[utoipa::path(
    get, path = "/api/v1/moderation/comments/{id}", tag = "Moderators", params(("id" = String, Path)), security(("account" = [])),
    responses(
        (status = 200, description = "With a strong ETag from its version", body = ModeratorShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<NoBody>,
) -> Result<HttpResponse, ApiError> {
    let id = comment_id(&request)?;
    let (comment, log, flags, author, thread) = state
        .service
        .db
        .read(move |conn| {
            let comment = comments::find(conn, id)?.ok_or(Error::NotFound)?;
            let author = authors::find_anywhere(conn, comment.author_id)?;
            let thread = listing::around(conn, &comment)?.above;
            Ok((comment, events::of_comment(conn, id)?, feedback::flags_of(conn, id)?, author, thread))
        })
        .await?;
    moderator.access.require(comment.site_id)?;
    let surroundings = Surroundings {
        events: event_shapes(&state, &log).await?,
        flags: flags.into_iter().map(FlagShape::from).collect(),
        author: author.map(|author| author.history().into()).unwrap_or_default(),
        thread: thread.into_iter().map(AboveShape::from).collect(),
    };
    let shape = shaped(&state, &comment).await?.among(surroundings);
    Ok(with_version(StatusCode::OK, comment.version).json(shape))
}

async fn event_shapes(state: &State, log: &[Event]) -> Result<Vec<EventShape>, Error> {
    let names = state.service.account_names(log.iter().filter_map(|event| event.account_id).collect()).await?;
    Ok(log.iter().map(|event| EventShape::new(event, &names)).collect())
}

/// A part of the log.
#[derive(Serialize, ToSchema)]
pub struct EventsAnswer {
    events: Vec<EventShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

/// What part of the log to read, as it was asked for.
pub struct EventsQuery {
    comment: Option<String>,
    before: Option<EventId>,
    limit: i64,
    faults: Vec<Fault>,
}

impl Input for EventsQuery {
    async fn read(request: &HttpRequest, _: web::Payload) -> Result<Self, ApiError> {
        let pairs = Pairs::of(request)?;
        let mut faults = Vec::new();
        let before = match pairs.cursor(&mut faults)? {
            Some(bytes) => Some(EventId(uuid::Uuid::from_slice(&bytes).map_err(|_| bad_cursor())?)),
            None => None,
        };
        let limit = pairs.limit(&mut faults);
        let comment = pairs.one("comment", &mut faults).map(str::to_owned);
        Ok(Self { comment, before, limit, faults })
    }
}

/// The event log, newest first.
#[utoipa::path(
    get, path = "/api/v1/moderation/events", tag = "Moderators", security(("account" = [])),
    params(
        ("comment" = Option<String>, Query, description = "Only this comment's"), ("cursor" = Option<String>, Query),
        ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing"),
    ),
    responses(
        (status = 200, body = EventsAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn events(state: web::Data<State>, moderator: Moderator<EventsQuery>) -> Result<HttpResponse, ApiError> {
    let EventsQuery { comment, before, limit, faults } = moderator.input;
    let comment = comment.map(|id| id.parse().map_err(|_| Error::NotFound)).transpose()?;
    let filter = EventFilter { comment, sites: moderator.access.site_filter(), before, limit: limit + 1 };
    let mut log = state.service.db.read(move |conn| events::page(conn, &filter)).await?;
    if comment.is_some() && before.is_none() && log.is_empty() {
        return Err(Error::NotFound.into());
    }
    faultless(faults)?;
    let shown = usize::try_from(limit).unwrap_or(0);
    let more = log.len() > shown;
    log.truncate(shown);
    let next_cursor = log.last().filter(|_| more).map(|event| cursor_text(event.id.as_bytes()));
    Ok(private(StatusCode::OK).json(EventsAnswer { events: event_shapes(&state, &log).await?, next_cursor }))
}

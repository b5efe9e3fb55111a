//! The moderators' endpoints: the queue, one comment, decisions one by one or many at once, the log, the summary. Every
//! handler has a [`Moderator`] in its signature: without a valid access token it does not run.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Moderator, NoBody, OptionalObject, RequiredObject};
use super::request::{Pairs, bad_cursor, cursor_text, if_match};
use super::shapes::{DecidedShape, EventShape, ModeratorShape, PreviousShape};
use crate::domain::characters::{Kind, find_blemish};
use crate::domain::comment::{Decision, Status, Via};
use crate::domain::fault::Fault;
use crate::domain::ids::{CommentId, EventId, SiteId};
use crate::error::Error;
use crate::service::access::Access;
use crate::service::moderation::{Decided, Order};
use crate::service::own::RawPatch;
use crate::storage::comments::{self, Comment};
use crate::storage::events::{self, Event, EventFilter};
use crate::storage::queue::{self, QueueFilter};
use crate::storage::{articles, sites};

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

/// The status that a query asks for: one, or all of them.
fn status_choice(text: &str) -> Option<Option<Status>> {
    match text {
        "all" => Some(None),
        _ => Status::from_name(text).filter(|status| *status != Status::Removed).map(Some),
    }
}

fn newest_first(text: &str) -> Option<bool> {
    match text {
        "oldest" => Some(false),
        "newest" => Some(true),
        _ => None,
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
pub async fn list(request: HttpRequest, state: web::Data<State>, moderator: Moderator<NoBody>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let mut faults = Vec::new();
    let newest_first = pairs.choice("sort", &mut faults, newest_first, "oldest, newest").unwrap_or(false);
    let after = pairs.cursor(&mut faults)?.map(|bytes| queue_cursor(&bytes, newest_first)).transpose()?;
    let statuses = "pending, approved, rejected, spam, all";
    let status = pairs.choice("status", &mut faults, status_choice, statuses).unwrap_or(Some(Status::Pending));
    let limit = pairs.limit(&mut faults);
    let text = pairs.one("q", &mut faults).filter(|text| !text.is_empty()).map(str::to_owned);
    if text.as_ref().is_some_and(|text| text.chars().count() > 200) {
        faults.push(Fault::too_long("q", 200, "characters"));
    }
    let site = pairs.one("site", &mut faults).map(str::to_owned);
    let article = pairs.one("article", &mut faults).map(str::to_owned);
    if !faults.is_empty() {
        return Err(Error::Invalid(faults).into());
    }
    let sites = narrowed(&state, &moderator.access, site.as_deref())?;
    let rows = state
        .service
        .db
        .read(move |conn| {
            let articles = match &article {
                Some(key) => Some(articles::by_key(conn, sites.as_deref(), key)?),
                None => None,
            };
            let filter = QueueFilter { status, sites, articles, text, newest_first, after, limit: limit + 1 };
            let rows = queue::page(conn, &filter)?;
            let ids: Vec<_> = rows.iter().map(|row| row.article_id).collect();
            let articles = articles::by_ids(conn, &ids)?;
            Ok(rows.into_iter().filter_map(|row| Some((articles.get(&row.article_id)?.clone(), row))).collect::<Vec<_>>())
        })
        .await?;
    let shown = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > shown;
    let last = rows.get(shown.saturating_sub(1)).filter(|_| more).map(|(_, row)| row.id);
    let comments: Result<Vec<_>, Error> = rows.iter().take(shown).map(|(article, row)| state.moderated(row, article)).collect();
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

fn private(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}

fn with_version(status: StatusCode, version: i64) -> actix_web::HttpResponseBuilder {
    let mut response = private(status);
    response.insert_header((header::ETAG, format!("\"{version}\"")));
    response
}

fn comment_id(request: &HttpRequest) -> Result<CommentId, Error> {
    request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)
}

async fn shaped(state: &State, comment: &Comment) -> Result<ModeratorShape, Error> {
    let id = comment.article_id;
    let article = state.service.db.read(move |conn| articles::by_ids(conn, &[id])).await?.remove(&id);
    state.moderated(comment, &article.ok_or(Error::NotFound)?)
}

/// One comment with its events.
#[utoipa::path(
    get, path = "/api/v1/moderation/comments/{id}", tag = "Moderators", params(("id" = String, Path)), security(("account" = [])),
    responses(
        (status = 200, description = "With a strong ETag from its version", body = ModeratorShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(request: HttpRequest, state: web::Data<State>, moderator: Moderator<NoBody>) -> Result<HttpResponse, ApiError> {
    let id = comment_id(&request)?;
    let (comment, log) = state
        .service
        .db
        .read(move |conn| Ok((comments::find(conn, id)?.ok_or(Error::NotFound)?, events::of_comment(conn, id)?)))
        .await?;
    moderator.access.require(comment.site_id)?;
    let shape = shaped(&state, &comment).await?.with_events(event_shapes(&state, &log).await?);
    Ok(with_version(StatusCode::OK, comment.version).json(shape))
}

async fn event_shapes(state: &State, log: &[Event]) -> Result<Vec<EventShape>, Error> {
    let names = state.service.account_names(log.iter().filter_map(|event| event.account_id).collect()).await?;
    Ok(log.iter().map(|event| EventShape::new(event, &names)).collect())
}

/// Why a decision was made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct DecisionRequest {
    /// For the event log; at most 1,000 characters.
    reason: Option<String>,
}

/// A moderator's own words in the log.
const REASON_MAX: usize = 1000;

fn reason(fields: &mut Fields) -> Option<String> {
    let text = fields.text("reason").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())?;
    if text.chars().count() > REASON_MAX {
        fields.faults.push(Fault::too_long("reason", REASON_MAX, "characters"));
    } else if find_blemish(&text, Kind::Block).is_some() {
        fields.faults.push(Fault::new("reason", "illegal_character", "It contains a character that cannot be shown."));
    }
    Some(text)
}

async fn decide(
    request: &HttpRequest,
    state: &State,
    moderator: Moderator<OptionalObject>,
    decision: Decision,
) -> Result<HttpResponse, ApiError> {
    let id = comment_id(request)?;
    let versions = if_match(request.headers())?;
    let mut fields = moderator.body.0;
    let reason = reason(&mut fields);
    fields.check()?;
    let order = Order { id, decision, versions, reason };
    let mut results = state.service.decide(moderator.access, Via::Api, vec![order]).await?;
    let decided = results.pop().unwrap_or(Err(Error::NotFound))?;
    decided_answer(state, decided).await
}

async fn decided_answer(state: &State, decided: Decided) -> Result<HttpResponse, ApiError> {
    let version = decided.comment.version;
    Ok(with_version(StatusCode::OK, version).json(decided_shape(state, decided).await?))
}

async fn decided_shape(state: &State, decided: Decided) -> Result<DecidedShape, Error> {
    let previous = decided.previous;
    let names = state.service.account_names(previous.by.into_iter().collect()).await?;
    Ok(DecidedShape {
        comment: shaped(state, &decided.comment).await?,
        previous: PreviousShape {
            status: previous.status.as_str(),
            by: previous.by.and_then(|account| names.get(&account).cloned()),
            at: previous.at.to_string(),
        },
    })
}

macro_rules! decision_endpoint {
    ($(#[doc = $doc:literal] $name:ident $path:literal $decision:ident;)+) => {$(
        #[doc = $doc]
        #[utoipa::path(
            post, path = $path, tag = "Moderators", security(("account" = [])),
            params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The version that was looked at")),
            request_body(content = Option<DecisionRequest>),
            responses(
                (status = 200, body = DecidedShape),
                (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
            ),
        )]
        pub async fn $name(
            request: HttpRequest,
            state: web::Data<State>,
            moderator: Moderator<OptionalObject>,
        ) -> Result<HttpResponse, ApiError> {
            decide(&request, &state, moderator, Decision::$decision).await
        }
    )+};
}

decision_endpoint! {
    /// Makes a comment public, or the edit that waits.
    approve "/api/v1/moderation/comments/{id}/approve" Approve;
    /// Refuses a comment.
    reject "/api/v1/moderation/comments/{id}/reject" Reject;
    /// Calls a comment spam.
    spam "/api/v1/moderation/comments/{id}/spam" Spam;
    /// Puts a comment back to the waiting ones.
    hold "/api/v1/moderation/comments/{id}/hold" Hold;
}

/// Takes the caller's last decision back.
#[utoipa::path(
    post, path = "/api/v1/moderation/comments/{id}/undo", tag = "Moderators", security(("account" = [])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses(
        (status = 200, body = DecidedShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn undo(request: HttpRequest, state: web::Data<State>, moderator: Moderator<OptionalObject>) -> Result<HttpResponse, ApiError> {
    let id = comment_id(&request)?;
    moderator.body.0.check()?;
    let versions = if_match(request.headers())?;
    decided_answer(&state, state.service.undo(moderator.access, Via::Api, id, versions).await?).await
}

/// Drops the edit that waits; the public text stands.
#[utoipa::path(
    post, path = "/api/v1/moderation/comments/{id}/discard-edit", tag = "Moderators", security(("account" = [])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses(
        (status = 200, body = ModeratorShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn discard_edit(request: HttpRequest, state: web::Data<State>, moderator: Moderator<OptionalObject>) -> Result<HttpResponse, ApiError> {
    let id = comment_id(&request)?;
    moderator.body.0.check()?;
    let versions = if_match(request.headers())?;
    let comment = state.service.discard_edit(moderator.access, Via::Api, id, versions).await?;
    Ok(with_version(StatusCode::OK, comment.version).json(shaped(&state, &comment).await?))
}

/// Corrects a comment's name, website or text.
#[utoipa::path(
    patch, path = "/api/v1/moderation/comments/{id}", tag = "Moderators", security(("account" = [])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body(content((super::own::PatchRequest = "application/merge-patch+json"), (super::own::PatchRequest = "application/json"))),
    responses(
        (status = 200, body = ModeratorShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn correct(request: HttpRequest, state: web::Data<State>, moderator: Moderator<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let id = comment_id(&request)?;
    let versions = if_match(request.headers())?;
    let mut fields = moderator.body.0;
    let raw = RawPatch {
        name: fields.text_or_fault("name"),
        website: fields.nullable_text("website"),
        body: fields.text_or_fault("body"),
    };
    let patch = raw.parse(&state.service.rules.fields, fields.finish())?;
    let comment = state.service.correct(moderator.access, Via::Api, id, versions, patch).await?;
    Ok(with_version(StatusCode::OK, comment.version).json(shaped(&state, &comment).await?))
}

/// Removes a comment for good.
#[utoipa::path(
    delete, path = "/api/v1/moderation/comments/{id}", tag = "Moderators", security(("account" = [])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses(
        (status = 204, description = "It is gone"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn remove(request: HttpRequest, state: web::Data<State>, moderator: Moderator<NoBody>) -> Result<HttpResponse, ApiError> {
    let id = comment_id(&request)?;
    let versions = if_match(request.headers())?;
    state.service.remove(moderator.access, Via::Api, id, versions).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

/// One decision for many comments.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct DecisionsRequest {
    /// `approve`, `reject`, `spam` or `hold`.
    decision: String,
    /// 1 to 500 ids.
    ids: Vec<String>,
    /// Only where the comment still has this version.
    versions: Option<BTreeMap<String, i64>>,
    /// For the event log; at most 1,000 characters.
    reason: Option<String>,
}

/// What became of one of many.
#[derive(Serialize, ToSchema)]
pub struct DecisionResult {
    id: String,
    /// An HTTP status.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<Box<DecidedShape>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// What became of each.
#[derive(Serialize, ToSchema)]
pub struct DecisionsAnswer {
    /// In the order of the ids.
    results: Vec<DecisionResult>,
}

/// Decides on many comments at once, each on its own.
#[utoipa::path(
    post, path = "/api/v1/moderation/decisions", tag = "Moderators", request_body = DecisionsRequest, security(("account" = [])),
    responses(
        (status = 200, body = DecisionsAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn decisions(state: web::Data<State>, moderator: Moderator<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let mut fields = moderator.body.0;
    let decision = fields.text("decision").and_then(|name| Decision::from_name(&name));
    if decision.is_none() {
        fields.faults.push(Fault::new("decision", "unknown_value", "It must be one of: approve, reject, spam, hold."));
    }
    let ids = fields.texts("ids").unwrap_or_default();
    if ids.is_empty() || ids.len() > 500 {
        fields.faults.push(Fault::new("ids", "out_of_range", "It must be a list of 1 to 500 ids."));
    }
    let versions: BTreeMap<String, i64> = fields.numbers_by_name("versions").unwrap_or_default().into_iter().collect();
    let reason = reason(&mut fields);
    fields.check()?;
    let Some(decision) = decision else { return Err(Error::NotFound.into()) };
    let parsed: Vec<Option<CommentId>> = ids.iter().map(|id| id.parse().ok()).collect();
    let orders = ids.iter().zip(&parsed).filter_map(|(text, id)| {
        let versions = versions.get(text).map(|version| vec![*version]);
        id.map(|id| Order { id, decision, versions, reason: reason.clone() })
    });
    let mut done = state.service.decide(moderator.access, Via::Api, orders.collect()).await?.into_iter();
    let mut results = Vec::with_capacity(ids.len());
    for (id, known) in ids.into_iter().zip(parsed) {
        let decided = if known.is_some() { done.next().unwrap_or(Err(Error::NotFound)) } else { Err(Error::NotFound) };
        results.push(match decided {
            Ok(decided) => {
                let comment = Some(Box::new(decided_shape(&state, decided).await?));
                DecisionResult { id, status: 200, comment, problem: None }
            }
            Err(error) => {
                let error = ApiError::from(error);
                let status = actix_web::ResponseError::status_code(&error).as_u16();
                DecisionResult { id, status, comment: None, problem: Some(error.problem(&state.public_url, "")) }
            }
        });
    }
    Ok(private(StatusCode::OK).json(DecisionsAnswer { results }))
}

/// A part of the log.
#[derive(Serialize, ToSchema)]
pub struct EventsAnswer {
    events: Vec<EventShape>,
    /// None on the last page.
    next_cursor: Option<String>,
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
pub async fn events(request: HttpRequest, state: web::Data<State>, moderator: Moderator<NoBody>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let mut faults = Vec::new();
    let before = match pairs.cursor(&mut faults)? {
        Some(bytes) => Some(EventId(uuid::Uuid::from_slice(&bytes).map_err(|_| bad_cursor())?)),
        None => None,
    };
    let limit = pairs.limit(&mut faults);
    let comment = pairs.one("comment", &mut faults).map(str::to_owned);
    if !faults.is_empty() {
        return Err(Error::Invalid(faults).into());
    }
    let comment = comment.map(|id| id.parse().map_err(|_| Error::NotFound)).transpose()?;
    let filter = EventFilter { comment, sites: moderator.access.site_filter(), before, limit: limit + 1 };
    let mut log = state.service.db.read(move |conn| events::page(conn, &filter)).await?;
    if comment.is_some() && before.is_none() && log.is_empty() {
        return Err(Error::NotFound.into());
    }
    let shown = usize::try_from(limit).unwrap_or(0);
    let more = log.len() > shown;
    log.truncate(shown);
    let next_cursor = log.last().filter(|_| more).map(|event| cursor_text(event.id.as_bytes()));
    Ok(private(StatusCode::OK).json(EventsAnswer { events: event_shapes(&state, &log).await?, next_cursor }))
}

/// How many comments stand in each state.
#[derive(Serialize, ToSchema, Default)]
pub struct StatusCounts {
    pending: i64,
    approved: i64,
    rejected: i64,
    spam: i64,
}

/// The state of the sites.
#[derive(Serialize, ToSchema)]
pub struct SummaryAnswer {
    /// Over all sites that the caller may see.
    counts: StatusCounts,
    /// By site key.
    sites: BTreeMap<String, StatusCounts>,
    /// When the oldest waiting comment came.
    #[schema(format = DateTime)]
    oldest_pending_at: Option<String>,
    /// Its age in seconds.
    oldest_pending_age: Option<u64>,
}

/// Counts by state and site, and the age of the oldest comment that waits.
#[utoipa::path(
    get, path = "/api/v1/moderation/summary", tag = "Moderators", security(("account" = [])),
    responses(
        (status = 200, body = SummaryAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn summary(state: web::Data<State>, moderator: Moderator<NoBody>) -> Result<HttpResponse, ApiError> {
    let filter = moderator.access.site_filter();
    let (rows, oldest) = state
        .service
        .db
        .read(move |conn| Ok((sites::counts(conn, filter.as_deref())?, queue::oldest_pending(conn, filter.as_deref())?)))
        .await?;
    let mut counts = StatusCounts::default();
    let mut by_site = BTreeMap::new();
    for row in rows {
        counts.pending += row.pending;
        counts.approved += row.approved;
        counts.rejected += row.rejected;
        counts.spam += row.spam;
        let own = StatusCounts { pending: row.pending, approved: row.approved, rejected: row.rejected, spam: row.spam };
        if let Ok(site) = state.service.sites.by_id(row.site_id) {
            by_site.insert(site.key.as_str().to_owned(), own);
        }
    }
    let now = state.service.clock.now();
    let oldest = oldest.map(|comment| comment.created_at);
    Ok(private(StatusCode::OK).json(SummaryAnswer {
        counts,
        sites: by_site,
        oldest_pending_at: oldest.map(|at| at.to_string()),
        oldest_pending_age: oldest.map(|at| now.since(at).as_secs()),
    }))
}

//! What moderators do: decide one by one or many at once, take a decision back, correct, remove. Every handler has a
//! [`Moderator`] in its signature: without a valid access token it does not run.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Moderator, NoBody, OptionalObject, RequiredObject};
use super::queue::{comment_id, private, shaped, with_version};
use super::request::{RequestId, if_match};
use super::shapes::{DecidedShape, ModeratorShape, PreviousShape};
use crate::domain::characters::{Kind, find_blemish};
use crate::domain::comment::Decision;
use crate::domain::fault::Fault;
use crate::domain::ids::CommentId;
use crate::error::Error;
use crate::service::access::Access;
use crate::service::moderation::{Authority, Correction, Decided, Order, Target};
use crate::service::own::RawPatch;

/// The comment that the address names, in the version that the request names.
pub fn target(request: &HttpRequest) -> Result<Target, Error> {
    Ok(Target { id: comment_id(request)?, versions: if_match(request.headers()) })
}

/// What was read of a request about a comment, if nothing is wrong with it. That the comment is not there is told before
/// what is wrong.
pub async fn sound<T>(state: &State, access: &Access, id: CommentId, read: Result<T, Error>) -> Result<T, Error> {
    if read.is_err() {
        state.service.comment_for(access, id).await?;
    }
    read
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
    let target = target(request)?;
    let mut fields = moderator.input.0;
    let reason = reason(&mut fields);
    sound(state, &moderator.access, target.id, fields.check()).await?;
    let order = Order { target, decision, reason };
    let mut results =
        state.service.decide(Authority { access: moderator.access, via: moderator.via }, vec![order]).await?;
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

/// Takes the last decision back: one's own, or that of somebody else on a comment on which one has not decided oneself.
#[utoipa::path(
    post, path = "/api/v1/moderation/comments/{id}/undo", tag = "Moderators", security(("account" = [])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses(
        (status = 200, body = DecidedShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn undo(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<OptionalObject>,
) -> Result<HttpResponse, ApiError> {
    let target = target(&request)?;
    sound(&state, &moderator.access, target.id, moderator.input.0.check()).await?;
    decided_answer(
        &state,
        state.service.undo(Authority { access: moderator.access, via: moderator.via }, target).await?,
    )
    .await
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
pub async fn discard_edit(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<OptionalObject>,
) -> Result<HttpResponse, ApiError> {
    let target = target(&request)?;
    sound(&state, &moderator.access, target.id, moderator.input.0.check()).await?;
    let comment =
        state.service.discard_edit(Authority { access: moderator.access, via: moderator.via }, target).await?;
    Ok(with_version(StatusCode::OK, comment.version).json(shaped(&state, &comment).await?))
}

/// What a moderator changes; what is missing stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct CorrectionRequest {
    name: Option<String>,
    /// Null takes it away.
    website: Option<String>,
    body: Option<String>,
    /// Before all others of its article, in every order. Only comments that answer no other; at most three an article.
    pinned: Option<bool>,
}

/// Corrects a comment's name, website or text, pins it or takes the pin away.
#[utoipa::path(
    patch, path = "/api/v1/moderation/comments/{id}", tag = "Moderators", security(("account" = [])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body(content((CorrectionRequest = "application/merge-patch+json"), (CorrectionRequest = "application/json"))),
    responses(
        (status = 200, body = ModeratorShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn correct(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let target = target(&request)?;
    let mut fields = moderator.input.0;
    let raw = RawPatch {
        name: fields.text_or_fault("name"),
        website: fields.changed_text("website"),
        body: fields.text_or_fault("body"),
    };
    let pinned = fields.flag_or_fault("pinned");
    let patch = raw.parse(&state.service.rules.fields.into(), fields.finish());
    let patch = sound(&state, &moderator.access, target.id, patch).await?;
    let authority = Authority { access: moderator.access, via: moderator.via };
    let comment = state.service.correct(authority, target, Correction { patch, pinned }).await?;
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
pub async fn remove(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<NoBody>,
) -> Result<HttpResponse, ApiError> {
    let target = target(&request)?;
    state.service.remove(Authority { access: moderator.access, via: moderator.via }, target).await?;
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
pub async fn decisions(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let Batch { decision, ids, versions, reason } = Batch::read(moderator.input.0)?;
    let parsed: Vec<Option<CommentId>> = ids.iter().map(|id| id.parse().ok()).collect();
    let orders = ids.iter().zip(&parsed).filter_map(|(text, id)| {
        let versions = versions.get(text).map(|version| vec![*version]);
        id.map(|id| Order { target: Target { id, versions }, decision, reason: reason.clone() })
    });
    let mut done = state
        .service
        .decide(Authority { access: moderator.access, via: moderator.via }, orders.collect())
        .await?
        .into_iter();
    let request_id = RequestId::of(&request).to_string();
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
                let problem = error.problem(&state.public_url, &request_id);
                DecisionResult { id, status: error.status_code().as_u16(), comment: None, problem: Some(problem) }
            }
        });
    }
    Ok(private(StatusCode::OK).json(DecisionsAnswer { results }))
}

/// A legal [`DecisionsRequest`].
struct Batch {
    decision: Decision,
    ids: Vec<String>,
    versions: BTreeMap<String, i64>,
    reason: Option<String>,
}

impl Batch {
    fn read(mut fields: Fields) -> Result<Self, Error> {
        let name = fields.required_text("decision");
        let decision = name.as_deref().and_then(Decision::from_name);
        if name.is_some() && decision.is_none() {
            let known = "It must be one of: approve, reject, spam, hold.";
            fields.faults.push(Fault::new("decision", "unknown_value", known));
        }
        let ids = fields.required_texts("ids");
        if ids.as_ref().is_some_and(|ids| !(1..=500).contains(&ids.len())) {
            fields.faults.push(Fault::new("ids", "out_of_range", "It must be a list of 1 to 500 ids."));
        }
        let versions = fields.numbers_by_name("versions").unwrap_or_default().into_iter().collect();
        let reason = reason(&mut fields);
        fields.check()?;
        match (decision, ids) {
            (Some(decision), Some(ids)) => Ok(Self { decision, ids, versions, reason }),
            _ => Err(Error::internal("a field is missing that has no fault")),
        }
    }
}

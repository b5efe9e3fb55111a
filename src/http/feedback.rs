//! What readers say without writing: votes, reactions, flags. One of each for an address block (IPv4 /32, IPv6 /64), without
//! an account, a cookie or anything that a browser must keep. All answers depend on the visitor, so nobody keeps them.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::queue::{comment_id, private};
use super::reading::article_key;
use super::request::{self, Pairs};
use super::shapes::Votes;
use crate::domain::fault::Fault;
use crate::domain::feedback::{FlagReason, Vote, note};
use crate::error::Error;
use crate::service::feedback::{Complaint, Reactions, Spoken};
use crate::service::own::Change;

/// A vote.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct VoteRequest {
    /// 1, -1, or 0 to take it back.
    value: i16,
}

/// The votes on a comment.
#[derive(Serialize, ToSchema)]
pub struct VoteAnswer {
    votes: Votes,
    /// 1, -1 or 0.
    yours: i16,
}

/// A reaction.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct ReactionRequest {
    /// One of the site's; null takes it back.
    #[schema(required)]
    reaction: Option<String>,
}

/// The reactions to an article.
#[derive(Serialize, ToSchema)]
pub struct ReactionsAnswer {
    /// By name.
    reactions: BTreeMap<String, i64>,
    yours: Option<String>,
}

/// Why a moderator should look again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct FlagRequest {
    /// `spam`, `abuse` or `other`.
    reason: String,
    /// At most 500 characters; moderators alone read it.
    note: Option<String>,
}

/// Nothing: whether it counted is not told.
#[derive(Serialize, ToSchema)]
pub struct FlagAnswer {}

/// Votes on a comment, once for each visitor; another vote takes the place of the one before.
#[utoipa::path(
    put, path = "/api/v1/comments/{id}/vote", tag = "Readers and writers", params(("id" = String, Path)),
    request_body = VoteRequest,
    responses(
        (status = 200, body = VoteAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn vote(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let mut fields = request::read_json(&request, payload).await?;
    let spoken = spoken_of(&request, &state).await?;
    if !state.service.sites.by_id(spoken.site)?.settings.votes {
        return Err(Error::Forbidden("This site takes no votes.".into()).into());
    }
    let value = match fields.number_or_fault("value") {
        Some(value) => Vote::parse(value).map_err(|fault| fields.faults.push(fault)).ok(),
        None => {
            required(&mut fields, "value");
            None
        }
    };
    fields.check()?;
    let vote = value.flatten();
    let from = admitted(&request, &state).await?;
    let tally = state.service.vote(spoken.comment, from, vote).await?;
    let votes = Votes { up: tally.up, down: tally.down };
    Ok(private(StatusCode::OK).json(VoteAnswer { votes, yours: vote.map_or(0, Vote::value) }))
}

/// The reactions to an article, and the visitor's own.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/reactions", tag = "Readers and writers",
    params(("site" = String, Path), ("article" = String, Query, description = "The article's key")),
    responses(
        (status = 200, body = ReactionsAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn reactions(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let site = state.site(&request)?;
    let mut faults = Vec::new();
    let Some(key) = article_key(&pairs, &mut faults).filter(|_| faults.is_empty()) else {
        return Err(Error::Invalid(faults).into());
    };
    let from = request::client(&request, &state).host();
    Ok(told(state.service.reactions(&site, key, from).await?))
}

/// Reacts to an article, once for each visitor; another reaction takes the place of the one before.
#[utoipa::path(
    put, path = "/api/v1/sites/{site}/reactions", tag = "Readers and writers", request_body = ReactionRequest,
    params(("site" = String, Path), ("article" = String, Query, description = "The article's key")),
    responses(
        (status = 200, body = ReactionsAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn react(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let mut fields = request::read_json(&request, payload).await?;
    let pairs = Pairs::of(&request)?;
    let site = state.site(&request)?;
    state.check_origin(&request, &site, false)?;
    let key = article_key(&pairs, &mut fields.faults);
    let reaction = match fields.changed_text("reaction") {
        Change::Set(name) if !site.settings.reactions.contains(&name) => {
            let known = format!("It must be null or one of: {}.", site.settings.reactions.join(", "));
            fields.faults.push(Fault::new("reaction", "unknown_value", known));
            None
        }
        Change::Set(name) => Some(name),
        Change::Clear => None,
        Change::Keep => {
            required(&mut fields, "reaction");
            None
        }
    };
    let faults = fields.finish();
    let Some(key) = key.filter(|_| faults.is_empty()) else { return Err(Error::Invalid(faults).into()) };
    state.service.check_reacted(&site, &key).await?;
    let from = admitted(&request, &state).await?;
    Ok(told(state.service.react(site, key, (from, reaction)).await?))
}

fn told(Reactions { counts, yours }: Reactions) -> HttpResponse {
    private(StatusCode::OK).json(ReactionsAnswer { reactions: counts, yours })
}

/// Asks the moderators to look at a comment again. The answer is the same whether or not it counted.
#[utoipa::path(
    post, path = "/api/v1/comments/{id}/flags", tag = "Readers and writers", params(("id" = String, Path)),
    request_body = FlagRequest,
    responses(
        (status = 202, description = "It was taken", body = FlagAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn flag(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let mut fields = request::read_json(&request, payload).await?;
    let spoken = spoken_of(&request, &state).await?;
    let reason = fields.required_text("reason");
    let known = reason.as_deref().map(FlagReason::from_name);
    if known == Some(None) {
        fields.faults.push(Fault::new("reason", "unknown_value", "It must be one of: spam, abuse, other."));
    }
    let note = fields.text("note").map_or(Ok(None), |text| note(&text));
    let note = note.map_err(|fault| fields.faults.push(fault)).ok().flatten();
    let faults = fields.finish();
    let Some(reason) = known.flatten().filter(|_| faults.is_empty()) else {
        return Err(Error::Invalid(faults).into());
    };
    let from = admitted(&request, &state).await?;
    state.service.flag(spoken.comment, from, Complaint { reason, note }).await?;
    Ok(private(StatusCode::ACCEPTED).json(FlagAnswer {}))
}

/// One fault for a field that is missing, unless it has one already.
fn required(fields: &mut Fields, name: &'static str) {
    if !fields.faults.iter().any(|fault| fault.field == name) {
        fields.faults.push(Fault::required(name));
    }
}

/// The public comment that the address names, for a page that may speak of it.
async fn spoken_of(request: &HttpRequest, state: &State) -> Result<Spoken, ApiError> {
    let spoken = state.service.spoken_of(comment_id(request)?).await?;
    state.check_origin(request, state.service.sites.by_id(spoken.site)?.as_ref(), false)?;
    Ok(spoken)
}

/// The visitor's address block, once the rate limits let them pass.
async fn admitted(request: &HttpRequest, state: &State) -> Result<std::net::IpAddr, Error> {
    let client = request::client(request, state);
    state.rings.feedback(client).await.map_err(Error::RateLimited)?;
    Ok(client.host())
}

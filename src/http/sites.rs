//! The sites: administrators make, change and delete them; moderators look at those given to them.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Admin, Moderator, NoBody, RequiredObject};
use super::paging::PageQuery;
use super::queue::{private, with_version};
use super::request::{faultless, if_match};
use crate::domain::ids::SiteId;
use crate::domain::retention::Retention;
use crate::domain::rules::draft::Score;
use crate::domain::site::{Site, SiteKey};
use crate::domain::site_settings::{Lengths, RawFeedback, RawSettings, RequiredField};
use crate::domain::web::Origin;
use crate::error::Error;
use crate::service::own::Change;
use crate::service::site_changes::{RawSite, SiteOrder};
use crate::storage::sites;

/// A site, as it is made and changed; on a change what is missing stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct SiteRequest {
    /// 1 to 64 of a-z, 0-9 and -; only when it is made, it never changes.
    key: Option<String>,
    /// Its name for people; at most 100 characters.
    name: Option<String>,
    /// Where the blog is; null takes it away.
    url: Option<String>,
    /// Further origins whose pages may write.
    origins: Option<Vec<String>>,
    /// `all`, `new_authors` or `none`.
    moderation: Option<String>,
    /// `any` or `known`.
    articles: Option<String>,
    /// BCP 47.
    language: Option<String>,
    /// `name`, and `email` and `website` if visitors must give them.
    required_fields: Option<Vec<String>>,
    /// What is missing in it stays; null takes one away.
    lengths: Option<LengthsShape>,
    /// Articles close so many days after they were made; 0: never.
    close_after_days: Option<u32>,
    /// BCP 47; for the form.
    languages: Option<Vec<String>>,
    /// What is missing in it stays; null brings the operator's own back.
    retention: Option<RetentionShape>,
    /// The privacy line of the form; null brings the service's own back.
    privacy_text: Option<String>,
    /// Whether readers vote on comments.
    votes: Option<bool>,
    /// At most 8 names of reactions to articles.
    reactions: Option<Vec<String>>,
    /// So many visitors who flag a comment hold it for another look; 0: none do.
    flags_to_hold: Option<u32>,
    /// Whether visitors may change nothing on any article: no comments, no edits, no votes.
    read_only: Option<bool>,
    /// `optional` or `required`: whether a comment without the token of `GET …/form` is held.
    form_token: Option<String>,
    /// `generated` or `none`: the pictures beside names.
    avatars: Option<String>,
    /// From which score of the rules on a comment is held; null: as the operator's settings say.
    hold_score: Option<f64>,
    /// From which on it is called spam, likewise.
    spam_score: Option<f64>,
}

/// The shortest and longest texts in characters; none: as the operator's settings say.
#[derive(Serialize, ToSchema)]
pub struct LengthsShape {
    name_min: Option<usize>,
    name_max: Option<usize>,
    body_min: Option<usize>,
    body_max: Option<usize>,
}

/// Days after which something goes; 0: never; none: as the operator's settings say.
#[derive(Serialize, ToSchema)]
pub struct RetentionShape {
    /// Network addresses and browsers' names, from a comment's arrival.
    sender_days: Option<u32>,
    /// Comments that are spam or rejected, from the last thing that happened to them.
    refused_days: Option<u32>,
}

/// Who looks after a site.
#[derive(Serialize, ToSchema, Clone)]
pub struct CaretakerShape {
    /// Of the account.
    id: String,
    name: String,
}

/// A site.
#[derive(Serialize, ToSchema)]
pub struct SiteShape {
    key: String,
    name: String,
    url: Option<String>,
    origins: Vec<String>,
    /// `all`, `new_authors` or `none`.
    moderation: &'static str,
    /// `any` or `known`.
    articles: &'static str,
    language: String,
    required_fields: Vec<&'static str>,
    lengths: LengthsShape,
    close_after_days: u32,
    languages: Vec<String>,
    retention: RetentionShape,
    privacy_text: Option<String>,
    votes: bool,
    reactions: Vec<String>,
    flags_to_hold: u32,
    read_only: bool,
    /// `optional` or `required`.
    form_token: &'static str,
    /// `generated` or `none`.
    avatars: &'static str,
    /// In points; none: as the operator's settings say.
    hold_score: Option<f64>,
    spam_score: Option<f64>,
    /// The moderators of this site; administrators look after all.
    moderators: Vec<CaretakerShape>,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A page of sites.
#[derive(Serialize, ToSchema)]
pub struct SitesAnswer {
    sites: Vec<SiteShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

fn shape(site: &Site, moderators: Vec<CaretakerShape>) -> SiteShape {
    let Retention { sender_days, refused_days } = site.settings.retention;
    let Lengths { name_min, name_max, body_min, body_max } = site.settings.lengths;
    SiteShape {
        key: site.key.as_str().to_owned(),
        name: site.name.clone(),
        url: site.url.clone(),
        origins: site.origins.iter().map(Origin::as_str).map(str::to_owned).collect(),
        moderation: site.policy.as_str(),
        articles: site.articles.as_str(),
        language: site.language.clone(),
        required_fields: site.settings.required_fields.iter().copied().map(RequiredField::as_str).collect(),
        lengths: LengthsShape { name_min, name_max, body_min, body_max },
        close_after_days: site.settings.close_after_days,
        languages: site.settings.languages.clone(),
        retention: RetentionShape { sender_days, refused_days },
        privacy_text: site.settings.privacy_text.clone(),
        votes: site.settings.votes,
        reactions: site.settings.reactions.clone(),
        flags_to_hold: site.settings.flags_to_hold,
        read_only: site.settings.read_only,
        form_token: site.settings.form_token.as_str(),
        avatars: site.settings.avatars.as_str(),
        hold_score: site.settings.hold_score.map(Score::points),
        spam_score: site.settings.spam_score.map(Score::points),
        moderators,
        updated_at: site.updated_at.to_string(),
    }
}

async fn shapes(state: &State, wanted: &[Arc<Site>]) -> Result<Vec<SiteShape>, Error> {
    let ids: Vec<SiteId> = wanted.iter().map(|site| site.id).collect();
    let mut by_site: HashMap<SiteId, Vec<CaretakerShape>> = HashMap::new();
    for (site, account, name) in state.service.db.read(move |conn| sites::moderators(conn, &ids)).await? {
        by_site.entry(site).or_default().push(CaretakerShape { id: account.to_string(), name });
    }
    Ok(wanted.iter().map(|site| shape(site, by_site.remove(&site.id).unwrap_or_default())).collect())
}

async fn answer(state: &State, status: StatusCode, site: Arc<Site>) -> Result<HttpResponse, ApiError> {
    let version = site.updated_at.0;
    let mut response = with_version(status, version);
    if status == StatusCode::CREATED {
        let place = format!("{}/api/v1/sites/{}", state.public_url, site.key.as_str());
        response.insert_header((header::LOCATION, place));
    }
    Ok(response.json(shapes(state, &[site]).await?.pop()))
}

/// The site's key in the address.
fn key(request: &HttpRequest) -> Result<SiteKey, Error> {
    SiteKey::parse(request.match_info().get("site").unwrap_or_default()).map_err(|_| Error::NotFound)
}

fn read(mut fields: Fields) -> SiteOrder {
    let raw = RawSite {
        name: fields.text_or_fault("name"),
        url: fields.changed_text("url"),
        origins: fields.texts_or_fault("origins"),
        moderation: fields.text_or_fault("moderation"),
        articles: fields.text_or_fault("articles"),
        language: fields.text_or_fault("language"),
        settings: RawSettings {
            required_fields: fields.texts_or_fault("required_fields"),
            lengths: fields.changed_numbers_or_fault("lengths"),
            close_after_days: fields.number_or_fault("close_after_days"),
            languages: fields.texts_or_fault("languages"),
            retention: fields.changed_numbers_or_fault("retention"),
            privacy_text: match fields.changed_text("privacy_text") {
                Change::Keep => None,
                Change::Clear => Some(String::new()),
                Change::Set(text) => Some(text),
            },
            feedback: RawFeedback {
                votes: fields.flag_or_fault("votes"),
                reactions: fields.texts_or_fault("reactions"),
                flags_to_hold: fields.number_or_fault("flags_to_hold"),
            },
            read_only: fields.flag_or_fault("read_only"),
            form_token: fields.text_or_fault("form_token"),
            avatars: fields.text_or_fault("avatars"),
            hold_score: fields.changed_points("hold_score"),
            spam_score: fields.changed_points("spam_score"),
        },
    };
    SiteOrder { raw, faults: fields.finish() }
}

/// The sites: all for administrators, their own for moderators.
#[utoipa::path(
    get, path = "/api/v1/sites", tag = "Administrators", security(("account" = [])),
    params(("cursor" = Option<String>, Query), ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing")),
    responses(
        (status = 200, body = SitesAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(state: web::Data<State>, moderator: Moderator<PageQuery>) -> Result<HttpResponse, ApiError> {
    let mut page = moderator.input;
    let after = page.after_key()?;
    faultless(std::mem::take(&mut page.faults))?;
    let mut all = state.service.sites.all();
    all.retain(|site| {
        moderator.access.covers(site.id) && after.as_deref().is_none_or(|after| site.key.as_str() > after)
    });
    let (shown, next_cursor) = page.cut(all, |site| site.key.as_str().as_bytes().to_vec());
    Ok(private(StatusCode::OK).json(SitesAnswer { sites: shapes(&state, &shown).await?, next_cursor }))
}

/// One site.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}", tag = "Administrators", params(("site" = String, Path)), security(("account" = [])),
    responses(
        (status = 200, description = "With a strong ETag of its version", body = SiteShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<NoBody>,
) -> Result<HttpResponse, ApiError> {
    let site = state.site(&request)?;
    moderator.access.require(site.id)?;
    answer(&state, StatusCode::OK, site).await
}

/// Makes a site.
#[utoipa::path(
    post, path = "/api/v1/sites", tag = "Administrators", request_body = SiteRequest, security(("account" = [])),
    responses(
        (status = 201, body = SiteShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(state: web::Data<State>, admin: Admin<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let mut fields = admin.input.0;
    let key = fields.required_text("key").unwrap_or_default();
    let site = state.service.make_site(&key, read(fields)).await?;
    answer(&state, StatusCode::CREATED, site).await
}

/// Changes a site. It reaches every instance within a second.
#[utoipa::path(
    patch, path = "/api/v1/sites/{site}", tag = "Administrators", security(("account" = [])),
    params(("site" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body(content((SiteRequest = "application/merge-patch+json"), (SiteRequest = "application/json"))),
    responses(
        (status = 200, body = SiteShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    request: HttpRequest,
    state: web::Data<State>,
    admin: Admin<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let versions = if_match(request.headers());
    let site = state.service.change_site(&key(&request)?, read(admin.input.0), versions).await?;
    answer(&state, StatusCode::OK, site).await
}

/// Deletes a site that nothing is on.
#[utoipa::path(
    delete, path = "/api/v1/sites/{site}", tag = "Administrators", params(("site" = String, Path)), security(("account" = [])),
    responses(
        (status = 204, description = "It is gone"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    request: HttpRequest,
    state: web::Data<State>,
    _admin: Admin<NoBody>,
) -> Result<HttpResponse, ApiError> {
    state.service.delete_site(&key(&request)?).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

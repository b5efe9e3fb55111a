//! The rules that judge comments: listed, written, ordered, taken away, and their long word lists. Every handler has a
//! [`Moderator`] in its signature; which rules somebody may see is for `service/rules.rs` to say.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Input, Moderator, NoBody, RequiredObject, authenticate};
use super::queue::{private, with_version};
use super::request::{self, Pairs, bad_cursor, cursor_text, faultless, if_match};
use super::signed_in;
use crate::domain::fault::Fault;
use crate::domain::ids::{RuleId, SiteId};
use crate::domain::rules::draft::Draft;
use crate::domain::rules::words::LIST_BYTES;
use crate::error::Error;
use crate::service::access::Access;
use crate::service::rules::{RuleRow, RuleTarget};
use crate::storage::accounts::Role;

/// A rule as it is written.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct RuleText {
    /// 1 to 100 characters.
    name: String,
    /// True when missing.
    enabled: Option<bool>,
    /// `all` (when missing) or `any` of the conditions.
    #[schema(rename = "match")]
    combined: Option<String>,
    /// 1 to 20.
    conditions: Vec<ConditionText>,
    effect: EffectText,
    /// What moderators read beside a comment that it matched; at most 300 characters.
    reason: Option<String>,
}

/// A condition as it is written; docs/rules.md has the table.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct ConditionText {
    /// `body`, `name`, `email`, `website`, `anywhere`, `email_domain`, `website_domain`, `links`, `images`, `length`,
    /// `language`, `author`, `author_approved`, `author_rejected`, `author_spam`, `address` or `time`.
    on: String,
    /// `contains_word`, `contains`, `equals`, `matches`, `within`, `more_than`, `less_than`, `one_of`, `new` or `between`.
    is: String,
    /// Texts, or one number.
    values: Vec<Value>,
    /// The rule's own list stands for the values.
    list: Option<bool>,
    /// It holds when this is not so.
    not: Option<bool>,
    /// Of a time of day: `Europe/Berlin`; `UTC` when missing.
    zone: Option<String>,
}

/// What a rule does: one of the two.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct EffectText {
    /// `approve`, `hold`, `spam` or `reject`; no rule after it is asked.
    decide: Option<String>,
    /// Points, -100 to 100, with two decimals at most.
    score: Option<f64>,
}

/// A new rule.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct NewRule {
    /// A site's key; null: all sites, for administrators.
    site: Option<String>,
    #[schema(inline)]
    #[serde(flatten)]
    text: RuleText,
}

/// A rule.
#[derive(Serialize, ToSchema)]
pub struct RuleShape {
    /// Opaque.
    id: String,
    /// The site's key; none: all sites. Those come first.
    site: Option<String>,
    /// Its place among the rules of the same site, from 1.
    position: i32,
    #[serde(flatten)]
    #[schema(value_type = RuleText)]
    draft: Draft,
    /// Entries of its own list.
    word_count: i32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// For `If-Match`.
    version: i64,
}

/// Rules in the order in which they are asked.
#[derive(Serialize, ToSchema)]
pub struct RulesAnswer {
    rules: Vec<RuleShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

/// An order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct OrderRequest {
    /// A site's key; null: the rules for all sites.
    site: Option<String>,
    /// Each rule of that site once.
    ids: Vec<String>,
}

pub(super) fn shape(state: &State, row: RuleRow) -> Result<RuleShape, Error> {
    let RuleRow { stored, draft } = row;
    let site = stored.site_id.map(|id| state.service.sites.by_id(id)).transpose()?;
    Ok(RuleShape {
        id: stored.id.to_string(),
        site: site.map(|site| site.key.as_str().to_owned()),
        position: stored.position,
        draft,
        word_count: stored.word_count,
        created_at: stored.created_at.to_string(),
        updated_at: stored.updated_at.to_string(),
        version: stored.version,
    })
}

fn answer(state: &State, status: StatusCode, row: RuleRow) -> Result<HttpResponse, ApiError> {
    let version = row.stored.version;
    Ok(with_version(status, version).json(shape(state, row)?))
}

/// The site that a request names by its key, if the caller may change its rules; none: all sites.
pub(super) fn scope(state: &State, access: &Access, fields: &mut Fields) -> Result<Option<SiteId>, Error> {
    match fields.text("site") {
        Some(key) => {
            let site = state.service.sites.by_key(&key)?;
            access.require(site.id)?;
            Ok(Some(site.id))
        }
        None if access.role == Role::Admin || !fields.faults.is_empty() => Ok(None),
        None => Err(Error::Forbidden("Rules for all sites are for administrators. Name a site.".into())),
    }
}

fn rule_id(request: &HttpRequest) -> Result<RuleId, Error> {
    request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)
}

fn target(request: &HttpRequest) -> Result<RuleTarget, Error> {
    Ok(RuleTarget { id: rule_id(request)?, versions: if_match(request.headers()) })
}

/// What part of the rules to list.
pub struct RulesQuery {
    site: Option<String>,
    after: Option<RuleId>,
    limit: i64,
    faults: Vec<Fault>,
}

impl Input for RulesQuery {
    async fn read(request: &HttpRequest, _: web::Payload) -> Result<Self, ApiError> {
        let pairs = Pairs::of(request)?;
        let mut faults = Vec::new();
        let after = match pairs.cursor(&mut faults)? {
            Some(bytes) => Some(RuleId(uuid::Uuid::from_slice(&bytes).map_err(|_| bad_cursor())?)),
            None => None,
        };
        let limit = pairs.limit(&mut faults);
        let site = pairs.one("site", &mut faults).map(str::to_owned);
        Ok(Self { site, after, limit, faults })
    }
}

/// The rules that the caller may see, in the order in which they are asked; those for all sites come first.
#[utoipa::path(
    get, path = "/api/v1/moderation/rules", tag = "Moderators", security(("account" = [])),
    params(
        ("site" = Option<String>, Query, description = "A site's key: its own rules alone"),
        ("cursor" = Option<String>, Query), ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing"),
    ),
    responses(
        (status = 200, body = RulesAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(state: web::Data<State>, moderator: Moderator<RulesQuery>) -> Result<HttpResponse, ApiError> {
    let RulesQuery { site, after, limit, faults } = moderator.input;
    let site = match site {
        Some(key) => {
            let site = state.service.sites.by_key(&key)?;
            moderator.access.require(site.id)?;
            Some(site.id)
        }
        None => None,
    };
    faultless(faults)?;
    let rows = state.service.rules_for(&moderator.access, site).await?;
    let from = match after {
        Some(id) => rows.iter().position(|row| row.stored.id == id).ok_or_else(bad_cursor)? + 1,
        None => 0,
    };
    let (shown, all) = (usize::try_from(limit).unwrap_or(0), rows.len());
    let page: Vec<RuleRow> = rows.into_iter().skip(from).take(shown).collect();
    let more = from + page.len() < all;
    let next_cursor = page.last().filter(|_| more).map(|row| cursor_text(row.stored.id.as_bytes()));
    let rules: Result<_, Error> = page.into_iter().map(|row| shape(&state, row)).collect();
    Ok(private(StatusCode::OK).json(RulesAnswer { rules: rules?, next_cursor }))
}

/// Adds a rule behind those of its site.
#[utoipa::path(
    post, path = "/api/v1/moderation/rules", tag = "Moderators", request_body = NewRule, security(("account" = [])),
    responses(
        (status = 201, body = RuleShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(state: web::Data<State>, moderator: Moderator<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let rights = moderator.rights(&state);
    let mut fields = moderator.input.0;
    let site = scope(&state, &rights, &mut fields)?;
    let (rest, mut faults) = fields.rest();
    let draft = Draft::read(Value::Object(rest), "", &mut faults);
    faultless(faults)?;
    let draft = draft.ok_or_else(|| Error::internal("a rule is missing that has no fault"))?;
    let row = state.service.add_rule(&rights, site, draft).await?;
    let location = format!("{}/api/v1/moderation/rules/{}", state.public_url, row.stored.id);
    let version = row.stored.version;
    let mut response = with_version(StatusCode::CREATED, version);
    Ok(response.insert_header((header::LOCATION, location)).json(shape(&state, row)?))
}

/// One rule.
#[utoipa::path(
    get, path = "/api/v1/moderation/rules/{id}", tag = "Moderators", params(("id" = String, Path)), security(("account" = [])),
    responses(
        (status = 200, description = "With a strong ETag from its version", body = RuleShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<NoBody>,
) -> Result<HttpResponse, ApiError> {
    let row = state.service.rule_for(&moderator.access, rule_id(&request)?).await?;
    answer(&state, StatusCode::OK, row)
}

/// Changes a rule: each field that is named is replaced as a whole.
#[utoipa::path(
    patch, path = "/api/v1/moderation/rules/{id}", tag = "Moderators", security(("account" = [])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body(content((RuleText = "application/merge-patch+json"), (RuleText = "application/json"))),
    responses(
        (status = 200, body = RuleShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let rights = moderator.rights(&state);
    let (patch, _): (Map<String, Value>, _) = moderator.input.0.rest();
    let row = state.service.change_rule(&rights, target(&request)?, patch).await?;
    answer(&state, StatusCode::OK, row)
}

/// Takes a rule away.
#[utoipa::path(
    delete, path = "/api/v1/moderation/rules/{id}", tag = "Moderators", security(("account" = [])),
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
    let rights = moderator.rights(&state);
    state.service.remove_rule(&rights, target(&request)?).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

/// Puts the rules of a site into an order.
#[utoipa::path(
    put, path = "/api/v1/moderation/rules/order", tag = "Moderators", request_body = OrderRequest, security(("account" = [])),
    responses(
        (status = 200, body = RulesAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn order(state: web::Data<State>, moderator: Moderator<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let rights = moderator.rights(&state);
    let mut fields = moderator.input.0;
    let site = scope(&state, &rights, &mut fields)?;
    let texts = fields.required_texts("ids").unwrap_or_default();
    let ids: Vec<RuleId> = texts.iter().filter_map(|id| id.parse().ok()).collect();
    if ids.len() != texts.len() {
        fields.faults.push(Fault::new("ids", "not_this_order", "One of them is not the id of a rule."));
    }
    fields.check()?;
    let rows = state.service.order_rules(&rights, site, ids).await?;
    let rules: Result<_, Error> = rows.into_iter().map(|row| shape(&state, row)).collect();
    Ok(private(StatusCode::OK).json(RulesAnswer { rules: rules?, next_cursor: None }))
}

/// A word list as it is sent: lines of plain text.
pub struct WordList(String);

impl Input for WordList {
    async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Self, ApiError> {
        let state = request.app_data::<web::Data<State>>().ok_or_else(|| Error::internal("no state"))?;
        // Nobody unknown makes us hold more than any other address does.
        let known = signed_in::pass(request, state).is_ok_and(|pass| pass.is_some())
            && authenticate(request, state).await.is_ok();
        let most = if known { LIST_BYTES } else { request::MAX_BODY };
        let body = request::read_body_up_to(request, payload, most).await?;
        request::check_plain_text(request.headers())?;
        let text = String::from_utf8(body).map_err(|_| Error::Malformed("The list is not UTF-8.".into()))?;
        Ok(Self(text))
    }
}

/// A rule's own list, one entry per line.
#[utoipa::path(
    get, path = "/api/v1/moderation/rules/{id}/words", tag = "Moderators", params(("id" = String, Path)),
    security(("account" = [])),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn words(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<NoBody>,
) -> Result<HttpResponse, ApiError> {
    let (rule, text) = state.service.rule_words(&moderator.access, rule_id(&request)?).await?;
    Ok(with_version(StatusCode::OK, rule.version).content_type("text/plain; charset=utf-8").body(text))
}

/// Replaces a rule's own list: one entry per line, 2 MiB and 100,000 entries at most. An empty body empties it.
#[utoipa::path(
    put, path = "/api/v1/moderation/rules/{id}/words", tag = "Moderators", security(("account" = [])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body(content = String, content_type = "text/plain"),
    responses(
        (status = 200, body = RuleShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn write_words(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<WordList>,
) -> Result<HttpResponse, ApiError> {
    let rights = moderator.rights(&state);
    let target = target(&request)?;
    state.service.rule_for(&rights, target.id).await?;
    let row = state.service.write_rule_words(&rights, target, moderator.input.0).await?;
    answer(&state, StatusCode::OK, row)
}

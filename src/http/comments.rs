//! Comments for readers and writers: sending one (JSON or plain form), the list, counts, the newest, the form's fields, a
//! preview.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::encoding::public_answer;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::request::{self, BodyType, Pairs, bad_cursor, cursor_text};
use super::shapes::{ArticleShape, ListedShape, PublicShape, RecentShape};
use crate::domain::fault::Fault;
use crate::domain::ids::{AuthorId, CommentId};
use crate::domain::listing::{Place, Sort};
use crate::domain::render::render;
use crate::domain::site::Site;
use crate::domain::submission::{ARTICLE_KEY_MAX, ArticleKey, RawSubmission};
use crate::domain::text::{Body, tidy};
use crate::error::Error;
use crate::limits::rings::Posting;
use crate::service::submission::{Envelope, Prepared, Receipt};
use crate::storage::{articles, listing};

/// A comment to be sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct SubmitRequest {
    /// The article's key: 1 to 512 characters, none of them a control character.
    article: String,
    name: String,
    /// Never shown to anyone but moderators.
    #[schema(format = Email)]
    email: String,
    /// Markdown.
    body: String,
    #[schema(format = "uri")]
    website: Option<String>,
    /// The comment that this one answers.
    parent_id: Option<String>,
    /// Whether to be told of replies.
    notify: Option<bool>,
    article_title: Option<String>,
    #[schema(format = "uri")]
    article_url: Option<String>,
    challenge: Option<String>,
    form_token: Option<String>,
    /// People never see this field; a comment that fills it is held as spam.
    company: Option<String>,
}

/// A comment that was taken.
#[derive(Serialize, ToSchema)]
pub struct SubmitAnswer {
    comment: PublicShape,
    /// `pending` or `approved`.
    status: &'static str,
    /// Stands for this person on this site; keep it to see, change and delete the comment.
    author_token: String,
    #[schema(format = DateTime)]
    editable_until: String,
}

/// Takes a comment.
#[utoipa::path(
    post, path = "/api/v1/sites/{site}/comments", tag = "Readers and writers",
    params(("site" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters; the first answer is repeated for 24 hours")),
    request_body(content((SubmitRequest = "application/json"), (SubmitRequest = "application/x-www-form-urlencoded"))),
    responses(
        (status = 201, description = "Public at once", body = SubmitAnswer), (status = 202, description = "Held for a moderator", body = SubmitAnswer),
        (status = 303, description = "A plain form was taken; back to the page"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn submit(request: HttpRequest, state: web::Data<State>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let body = request::read_body(&request, payload).await?;
    match request::body_type(request.headers(), &[BodyType::Json, BodyType::Form])? {
        BodyType::Form => super::form::submit(&request, &state, &body).await,
        BodyType::Json => {
            let fields = Fields::parse(&body)?;
            let site = state.site(&request)?;
            let author = author(&request, &state, &site)?;
            state.check_origin(&request, &site, false)?;
            let (raw, mut faults) = read_fields(fields);
            let idempotency_key = request::idempotency_key(request.headers()).unwrap_or_else(|error| {
                faults.extend(faults_of(error));
                None
            });
            let sent = Sent { raw, faults, author, idempotency_key };
            let receipt = take(&request, &state, site, sent).await?;
            Ok(answer(&state, &receipt))
        }
    }
}

fn faults_of(error: Error) -> Vec<Fault> {
    match error {
        Error::Invalid(faults) => faults,
        _ => Vec::new(),
    }
}

/// A submission as it came, in JSON or as a form.
pub struct Sent {
    pub raw: RawSubmission,
    pub faults: Vec<Fault>,
    pub author: Option<AuthorId>,
    pub idempotency_key: Option<String>,
}

/// The author that the request's token names. A token that we did not make is 401, and too many of those are 429.
pub fn author(request: &HttpRequest, state: &State, site: &Site) -> Result<Option<AuthorId>, ApiError> {
    let read = |token: &str| state.service.keys.read_author_token(site.id, token);
    match request::bearer(request.headers()).map(|token| token.map(read)) {
        Ok(None) => Ok(None),
        Ok(Some(Some(author))) => Ok(Some(author)),
        Ok(Some(None)) => Err(state.wrong_token(request, "This author token is not valid here. Send the comment without it.")),
        Err(error) => Err(error.into()),
    }
}

/// Takes a submission: everything that can be wrong first, then the rate limits, then the database.
pub async fn take(request: &HttpRequest, state: &State, site: Arc<Site>, sent: Sent) -> Result<Receipt, ApiError> {
    let from = request::client(request, state);
    let rules = &state.service.rules;
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let envelope = Envelope {
        author: sent.author,
        idempotency_key: sent.idempotency_key,
        address: from.kept(rules.address),
        user_agent: agent.filter(|_| rules.user_agent).map(|agent| agent.chars().take(300).collect()),
    };
    let article = sent.raw.article.clone().unwrap_or_default();
    let site_id = site.id;
    match state.service.prepare(site, sent.raw, sent.faults, envelope).await {
        Ok(Prepared::Replay(receipt)) => Ok(receipt),
        Ok(Prepared::New(draft)) => {
            state.rings.admit(Posting { from, site: site_id, article: &article }).map_err(Error::RateLimited)?;
            let calm = state.rings.email_is_calm(&draft.email_hash);
            Ok(state.service.store(*draft, calm).await?)
        }
        Err(error @ Error::Invalid(_)) => {
            state.rings.invalid(from).map_err(Error::RateLimited)?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn read_fields(mut fields: Fields) -> (RawSubmission, Vec<Fault>) {
    let raw = RawSubmission {
        article: fields.text("article"),
        name: fields.text("name"),
        email: fields.text("email"),
        body: fields.text("body"),
        website: fields.text("website"),
        parent_id: fields.text("parent_id"),
        notify: fields.flag("notify"),
        article_title: fields.text("article_title"),
        article_url: fields.text("article_url"),
        challenge: fields.text("challenge"),
        form_token: fields.text("form_token"),
        company: fields.text("company"),
    };
    (raw, fields.finish())
}

fn answer(state: &State, receipt: &Receipt) -> HttpResponse {
    let public = receipt.status == crate::domain::comment::Status::Approved;
    let mut response = HttpResponse::build(if public { StatusCode::CREATED } else { StatusCode::ACCEPTED });
    if public {
        response.insert_header((header::LOCATION, format!("{}/api/v1/comments/{}", state.public_url, receipt.id)));
    }
    let created_at = crate::domain::time::Timestamp(receipt.created_at);
    response.insert_header((header::CACHE_CONTROL, "no-store")).json(SubmitAnswer {
        comment: state.received(receipt),
        status: receipt.status.as_str(),
        author_token: state.service.keys.author_token(receipt.site_id, receipt.author_id),
        editable_until: state.service.editable_until(created_at).to_string(),
    })
}

/// A text to be shown as it would be.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct PreviewRequest {
    /// Markdown.
    body: String,
}

/// How a text would look.
#[derive(Serialize, ToSchema)]
pub struct PreviewAnswer {
    body_html: String,
}

/// Renders a text as it would be published. Stores nothing.
#[utoipa::path(
    post, path = "/api/v1/sites/{site}/preview", tag = "Readers and writers", params(("site" = String, Path)),
    request_body = PreviewRequest,
    responses(
        (status = 200, body = PreviewAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn preview(request: HttpRequest, state: web::Data<State>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let mut fields = request::read_json(&request, payload).await?;
    state.site(&request)?;
    let text = fields.text("body").map(|text| tidy(&text).into_owned()).filter(|text| !text.is_empty());
    let most = state.service.rules.fields.body_max;
    let body = match text {
        None if fields.faults.is_empty() => Err(Fault::required("body")),
        None => Err(fields.faults.remove(0)),
        Some(text) if text.chars().count() > most => Err(Fault::too_long("body", most, "characters")),
        Some(text) => Body::parse(&text, "body"),
    };
    match (body, fields.finish()) {
        (Ok(body), faults) if faults.is_empty() => {
            Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(PreviewAnswer { body_html: render(&body) }))
        }
        (Ok(_), faults) => Err(Error::Invalid(faults).into()),
        (Err(fault), mut faults) => {
            faults.insert(0, fault);
            Err(Error::Invalid(faults).into())
        }
    }
}

/// What part of an article's comments to read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the API document")]
pub struct ListParams {
    /// The article's key.
    article: String,
    /// `oldest` (default), `newest` or `top`: the order of the roots; replies follow their comment, oldest first.
    sort: Option<String>,
    /// 1 to 200; 50 when missing.
    limit: Option<u8>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// The page that holds this comment.
    around: Option<String>,
}

/// A page of an article's comments.
#[derive(Serialize, ToSchema)]
pub struct ListAnswer {
    article: ArticleShape,
    comments: Vec<ListedShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

/// An article's approved comments in reading order.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/comments", tag = "Readers and writers", params(("site" = String, Path), ListParams),
    responses(
        (status = 200, body = ListAnswer), (status = 304, description = "Nothing changed since the ETag"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let mut faults = Vec::new();
    let sort = pairs.choice("sort", &mut faults, Sort::from_name, "oldest, newest, top").unwrap_or(Sort::Oldest);
    let place = match pairs.cursor(&mut faults)? {
        Some(bytes) => Some(Place::from_bytes(&bytes, sort).ok_or_else(bad_cursor)?),
        None => None,
    };
    let site = state.site(&request)?;
    let limit = pairs.limit(&mut faults);
    let key = article_key(&pairs, &mut faults);
    let around = pairs.one("around", &mut faults).map(str::parse::<CommentId>);
    if around.is_some() && place.is_some() {
        faults.push(Fault::new("around", "contradiction", "Give either around or cursor."));
    }
    let Some(key) = key.filter(|_| faults.is_empty()) else { return Err(Error::Invalid(faults).into()) };
    let around = around.transpose().map_err(|_| Error::NotFound)?;
    let (site_id, article_key) = (site.id, key.clone());
    let found = state
        .service
        .db
        .read(move |conn| {
            let Some(article) = articles::find(conn, site_id, article_key.as_str())? else { return Ok(None) };
            let page = match around {
                Some(id) => listing::page_around(conn, article.id, sort, id, limit)?.ok_or(Error::NotFound)?,
                None => listing::page(conn, article.id, sort, place.as_ref(), limit)?,
            };
            Ok(Some((article, page)))
        })
        .await?;
    let answer = match found {
        Some((article, page)) => ListAnswer {
            article: (&article).into(),
            next_cursor: page.next.map(|place| cursor_text(&place.to_bytes())),
            comments: page.comments.into_iter().map(|row| state.listed(site.id, row)).collect(),
        },
        None if around.is_some() => return Err(Error::NotFound.into()),
        None => ListAnswer { article: ArticleShape::unknown(key.as_str()), comments: Vec::new(), next_cursor: None },
    };
    json_for_everybody(&request, &answer)
}

fn json_for_everybody<T: Serialize>(request: &HttpRequest, answer: &T) -> Result<HttpResponse, ApiError> {
    let body = serde_json::to_vec(answer).map_err(Error::internal)?;
    Ok(public_answer(request, "application/json", body))
}

fn article_key(pairs: &Pairs, faults: &mut Vec<Fault>) -> Option<ArticleKey> {
    let Some(text) = pairs.one("article", faults) else {
        faults.push(Fault::required("article"));
        return None;
    };
    ArticleKey::parse(text, "article").map_err(|fault| faults.push(fault)).ok()
}

/// The articles to be counted.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct CountsRequest {
    /// 1 to 100 article keys.
    articles: Vec<String>,
}

/// Approved comments by article.
#[derive(Serialize, ToSchema)]
pub struct CountsAnswer {
    counts: BTreeMap<String, i64>,
}

/// How many approved comments articles have.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/counts", tag = "Readers and writers",
    params(("site" = String, Path), ("article" = Vec<String>, Query, description = "1 to 100 article keys")),
    responses(
        (status = 200, body = CountsAnswer), (status = 304, description = "Nothing changed since the ETag"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn counts(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let site = state.site(&request)?;
    let answer = count(&state, &site, "article", pairs.all("article")).await?;
    json_for_everybody(&request, &answer)
}

/// How many approved comments articles have; for many keys or long ones.
#[utoipa::path(
    post, path = "/api/v1/sites/{site}/counts", tag = "Readers and writers", params(("site" = String, Path)),
    request_body = CountsRequest,
    responses(
        (status = 200, body = CountsAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn counts_by_body(request: HttpRequest, state: web::Data<State>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let mut fields = request::read_json(&request, payload).await?;
    let site = state.site(&request)?;
    let articles = fields.texts("articles");
    if articles.is_none() && fields.faults.is_empty() {
        fields.faults.push(Fault::required("articles"));
    }
    fields.check()?;
    let answer = count(&state, &site, "articles", articles.unwrap_or_default()).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(answer))
}

async fn count(state: &State, site: &Site, field: &'static str, mut keys: Vec<String>) -> Result<CountsAnswer, ApiError> {
    if keys.is_empty() {
        return Err(Error::Invalid(vec![Fault::required(field)]).into());
    }
    if keys.len() > 100 {
        return Err(Error::invalid(field, "too_many", "At most 100 articles at once.").into());
    }
    for key in &keys {
        ArticleKey::parse(key, field).map_err(|fault| Error::Invalid(vec![fault]))?;
    }
    keys.sort_unstable();
    keys.dedup();
    let mut counts: BTreeMap<String, i64> = keys.iter().map(|key| (key.clone(), 0)).collect();
    let site = site.id;
    counts.extend(state.service.db.read(move |conn| articles::counts(conn, site, &keys)).await?);
    Ok(CountsAnswer { counts })
}

/// The newest comments.
#[derive(Serialize, ToSchema)]
pub struct RecentAnswer {
    comments: Vec<RecentShape>,
    /// Always none: there is one page.
    next_cursor: Option<String>,
}

/// The newest approved comments of a site, each with its article.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/recent", tag = "Readers and writers",
    params(("site" = String, Path), ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing")),
    responses(
        (status = 200, body = RecentAnswer), (status = 304, description = "Nothing changed since the ETag"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn recent(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let site = state.site(&request)?;
    let mut faults = Vec::new();
    let limit = pairs.limit(&mut faults);
    if !faults.is_empty() {
        return Err(Error::Invalid(faults).into());
    }
    let id = site.id;
    let rows = state.service.db.read(move |conn| listing::recent(conn, id, limit)).await?;
    let comments = rows.into_iter().map(|(row, article)| state.recent(id, row, &article)).collect();
    json_for_everybody(&request, &RecentAnswer { comments, next_cursor: None })
}

/// One field of the form.
#[derive(Serialize, ToSchema)]
pub struct FormField {
    name: &'static str,
    required: bool,
    /// In characters; `email` in bytes.
    max_length: usize,
}

/// Sentences for the form.
#[derive(Serialize, ToSchema)]
pub struct FormTexts {
    privacy: &'static str,
    submit: &'static str,
    pending: &'static str,
}

/// What the form at the end of an article needs to know.
#[derive(Serialize, ToSchema)]
pub struct FormAnswer {
    fields: Vec<FormField>,
    /// `all`, `new_authors` or `none`.
    policy: &'static str,
    texts: FormTexts,
}

/// The fields of the form with their limits, the site's policy, and the sentences to show.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/form", tag = "Readers and writers", params(("site" = String, Path)),
    responses(
        (status = 200, body = FormAnswer), (status = 304, description = "Nothing changed since the ETag"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn form(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let site = state.site(&request)?;
    let rules = &state.service.rules.fields;
    let field = |name, required, max_length| FormField { name, required, max_length };
    let answer = FormAnswer {
        fields: vec![
            field("article", true, ARTICLE_KEY_MAX),
            field("name", true, rules.name_max),
            field("email", true, crate::domain::email::MAX_OCTETS),
            field("body", true, rules.body_max),
            field("website", false, rules.website_max),
            field("article_title", false, rules.article_title_max),
            field("article_url", false, rules.article_url_max),
        ],
        policy: site.policy.as_str(),
        texts: FormTexts {
            privacy: "Your email address will not be published. Required fields are marked *",
            submit: "Submit comment",
            pending: "Thank you. Your comment is waiting for approval; only you can see it here.",
        },
    };
    json_for_everybody(&request, &answer)
}

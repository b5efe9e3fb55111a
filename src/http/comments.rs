//! Sending a comment (JSON here, the plain form in `form.rs`), what the form needs to know, and a preview.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::encoding::{json, public_answer};
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::request::{self, BodyType};
use super::shapes::PublicShape;
use crate::domain::comment::Status;
use crate::domain::fault::Fault;
use crate::domain::ids::AuthorId;
use crate::domain::render::render;
use crate::domain::site::Site;
use crate::domain::submission::{ARTICLE_KEY_MAX, RawSubmission};
use crate::domain::text::{Body, tidy};
use crate::error::Error;
use crate::limits::rings::Posting;
use crate::service::submission::{Envelope, Prepared, Receipt, Repeatable, Sent};

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
pub async fn submit(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = request::read_body(&request, payload).await?;
    match request::body_type(request.headers(), &[BodyType::Json, BodyType::Form])? {
        BodyType::Form => super::form::submit(&request, &state, &body).await,
        BodyType::Json => {
            let fields = Fields::parse(&body)?;
            let site = state.site(&request)?;
            let author = author(&request, &state, &site).await?;
            state.check_origin(&request, &site, false)?;
            let mut key_faults = Vec::new();
            let key =
                request::idempotency_key(request.headers()).map_err(|fault| key_faults.push(fault)).ok().flatten();
            let repeatable = key.map(|key| Repeatable { key, request: fields.canonical() });
            let (raw, mut faults) = read_fields(fields);
            faults.extend(key_faults);
            let receipt = take(&request, &state, site, Form { raw, faults, author, repeatable }).await?;
            Ok(answer(&state, &receipt))
        }
    }
}

/// The filled-in form as it came, in JSON or as a form.
pub struct Form {
    pub raw: RawSubmission,
    pub faults: Vec<Fault>,
    pub author: Option<AuthorId>,
    pub repeatable: Option<Repeatable>,
}

/// The author that the request's token names. A token that we did not make is 401, and too many of those are 429.
pub async fn author(request: &HttpRequest, state: &State, site: &Site) -> Result<Option<AuthorId>, ApiError> {
    let read = |token: &str| state.service.keys.read_author_token(site.id, token);
    match request::bearer(request.headers()).map(|token| token.map(read)) {
        Ok(None) => Ok(None),
        Ok(Some(Some(author))) => Ok(Some(author)),
        Ok(Some(None)) => {
            Err(state.wrong_token(request, "This author token is not valid here. Send the comment without it.").await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes a submission: everything that can be wrong first, then the rate limits, then the database.
pub async fn take(request: &HttpRequest, state: &State, site: Arc<Site>, form: Form) -> Result<Receipt, ApiError> {
    let from = request::client(request, state);
    let rules = &state.service.rules;
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let envelope = Envelope {
        author: form.author,
        repeatable: form.repeatable,
        client: Some(from.address()),
        address: from.kept(rules.address),
        user_agent: agent.filter(|_| rules.keeps_user_agents()).map(|agent| agent.chars().take(300).collect()),
    };
    let article = form.raw.article.clone().unwrap_or_default();
    let site_id = site.id;
    let sent = Sent { raw: form.raw, faults: form.faults, envelope };
    match state.service.prepare(site, sent).await? {
        Prepared::Replay(receipt) => Ok(receipt),
        Prepared::New(draft) => {
            state.rings.admit(Posting { from, site: site_id, article: &article }).await.map_err(Error::RateLimited)?;
            let calm = match &draft.email_hash {
                Some(hash) => state.rings.email_is_calm(hash).await,
                None => true,
            };
            let receipt = state.service.store(*draft, calm).await?;
            state.metrics.submitted(receipt.status == Status::Approved);
            Ok(receipt)
        }
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
    let public = receipt.status == Status::Approved;
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
pub async fn preview(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let mut fields = request::read_json(&request, payload).await?;
    let site = state.site(&request)?;
    let text = fields.text("body").map(|text| tidy(&text).into_owned()).filter(|text| !text.is_empty());
    let most = site.settings.form_rules(&state.service.rules.fields).fields.body_max;
    let body = match text {
        None if fields.faults.is_empty() => Err(Fault::required("body")),
        None => Err(fields.faults.remove(0)),
        Some(text) if text.chars().count() > most => Err(Fault::too_long("body", most, "characters")),
        Some(text) => Body::parse(&text, "body"),
    };
    match (body, fields.finish()) {
        (Ok(body), faults) if faults.is_empty() => Ok(HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(PreviewAnswer { body_html: render(&body) })),
        (Ok(_), faults) => Err(Error::Invalid(faults).into()),
        (Err(fault), mut faults) => {
            faults.insert(0, fault);
            Err(Error::Invalid(faults).into())
        }
    }
}

/// One field of the form.
#[derive(Serialize, ToSchema)]
pub struct FormField {
    name: &'static str,
    required: bool,
    /// In characters; only where the site asks for more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_length: Option<usize>,
    /// In characters; `email` in bytes.
    max_length: usize,
}

/// Sentences for the form.
#[derive(Serialize, ToSchema)]
pub struct FormTexts {
    privacy: String,
    submit: &'static str,
    pending: &'static str,
}

/// What the form at the end of an article needs to know.
#[derive(Serialize, ToSchema)]
pub struct FormAnswer {
    fields: Vec<FormField>,
    /// `all`, `new_authors` or `none`.
    policy: &'static str,
    /// `any`, or `known` when only articles that the site has made take comments.
    articles: &'static str,
    /// In which the site speaks to its visitors.
    language: String,
    /// In which comments are expected; empty: any.
    languages: Vec<String>,
    /// Articles close so many days after they were made; 0: never.
    close_after_days: u32,
    /// Whether readers vote on comments.
    votes: bool,
    /// The reactions to articles; empty: none.
    reactions: Vec<String>,
    /// To be sent back with the comment: tells how old the form is.
    form_token: String,
    /// `optional`, or `required` when a comment without it is held.
    form_token_policy: &'static str,
    texts: FormTexts,
}

/// The fields of the form with their limits, the site's policy, the sentences to show, and the form's token. Whoever gets
/// this from a cache shares a token that is some seconds older than their form; that does not matter.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/form", tag = "Readers and writers", params(("site" = String, Path)),
    responses(
        (status = 200, body = FormAnswer), (status = 304, description = "Nothing changed since the ETag"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn form(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let site = state.site(&request)?;
    let rules = site.settings.form_rules(&state.service.rules.fields);
    let field = |name, required, max_length| {
        let least = match name {
            "name" => rules.name_min,
            "body" => rules.body_min,
            _ => 1,
        };
        let min_length = Some(least).filter(|least| *least > 1);
        FormField { name, required, min_length, max_length }
    };
    let fields = &rules.fields;
    let answer = FormAnswer {
        fields: vec![
            field("article", true, ARTICLE_KEY_MAX),
            field("name", true, fields.name_max),
            field("email", rules.needs_email, crate::domain::email::MAX_OCTETS),
            field("body", true, fields.body_max),
            field("website", rules.needs_website, fields.website_max),
            field("article_title", false, fields.article_title_max),
            field("article_url", false, fields.article_url_max),
        ],
        policy: site.policy.as_str(),
        articles: site.articles.as_str(),
        language: site.language.clone(),
        languages: site.settings.languages.clone(),
        close_after_days: site.settings.close_after_days,
        votes: site.settings.votes,
        reactions: site.settings.reactions.clone(),
        form_token: state.service.keys.form_token(site.id, state.service.clock.now()),
        form_token_policy: site.settings.form_token.as_str(),
        texts: FormTexts {
            privacy: site.settings.privacy_line().to_owned(),
            submit: "Submit comment",
            pending: "Thank you. Your comment is waiting for approval; only you can see it here.",
        },
    };
    Ok(public_answer(&request, "application/json", json(&answer)?))
}

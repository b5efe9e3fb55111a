//! One's own data, by a link that is mailed. Asking for it answers everybody the same. The token in the address is the only
//! credential, so no page of another origin gains anything by sending a form here. It all works without script.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use minijinja::{Value, context};

use super::State;
use super::error::ApiError;
use super::links::{refused_to_reader, token};
use super::pages::{asked_for, words};
use super::request::{self, Pairs};
use crate::domain::comment::Status;
use crate::domain::email::Email;
use crate::domain::fault::Fault;
use crate::domain::ids::CommentId;
use crate::domain::people::Consent;
use crate::domain::site::Site;
use crate::domain::text::tidy;
use crate::domain::texts::{Texts, fill};
use crate::error::Error;
use crate::limits::rings::Posting;
use crate::service::edits::{Edited, Editor};
use crate::service::own::{Change, RawPatch, Right};
use crate::service::people::Person;
use crate::storage::articles::Article;
use crate::storage::comments::Comment;

/// Comments on a page.
const SHOWN: i64 = 50;

/// What the rings count asking for a link and changing one's comments as. No article has such a key.
const PLACE: &str = "\u{0}me";

/// Leads to the form of the only site. Where there are several, their articles lead to theirs: who else is a guest of the
/// service is nobody's business.
#[utoipa::path(
    get, path = "/me/", tag = "One's own data",
    responses(
        (status = 200, description = "Where the way to each site's form is", content_type = "text/html"),
        (status = 303, description = "To the form of the only site"),
    ),
)]
pub async fn begin(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let sites = state.service.sites.all();
    if let [only] = sites.as_slice() {
        return Ok(back(&state.own_data(only)));
    }
    let texts = asked_for(&request);
    let values = context! { title => texts.own.title, text => texts.own.which_site, ..words(texts) };
    Ok(state.pages.answer(StatusCode::OK, "message.html", values)?)
}

/// The page on which somebody asks for a link to what they wrote.
#[utoipa::path(
    get, path = "/me/{site}", tag = "One's own data", params(("site" = String, Path)),
    responses(
        (status = 200, description = "A form with one field, `email`", content_type = "text/html"),
        (status = 404, description = "There is no such site", content_type = "text/html"),
    ),
)]
pub async fn form(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let site = state.site(&request)?;
    Ok(state.pages.answer(StatusCode::OK, "me_ask.html", asking(&site, false, ""))?)
}

fn asking(site: &Site, fault: bool, email: &str) -> Value {
    let texts = Texts::of(&site.language);
    context! { title => texts.own.title, site => site.name.as_str(), fault, email, ..words(texts) }
}

/// Asks for the link. The answer is the same whether there is something of theirs or not.
#[utoipa::path(
    post, path = "/me/{site}", tag = "One's own data", params(("site" = String, Path)),
    request_body(content = String, description = "`email`", content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "If there is something of theirs, a mail is on its way", content_type = "text/html"),
        (status = 404, description = "There is no such site", content_type = "text/html"),
        (status = 422, description = "That is no e-mail address", content_type = "text/html"),
        (status = 429, description = "Too many from this address", content_type = "text/html"),
    ),
)]
pub async fn ask(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::parse(&request::read_body(&request, payload).await?)?;
    let site = state.site(&request)?;
    let typed = tidy(pairs.one("email", &mut Vec::new()).unwrap_or_default()).into_owned();
    let email = match Email::parse(&typed, "email") {
        Ok(email) => email,
        Err(fault) => {
            let values = asking(&site, true, &typed);
            let error = ApiError::from(Error::Invalid(vec![fault]));
            state.count_refusal(&request, &error)?;
            return Ok(state.pages.answer(StatusCode::UNPROCESSABLE_ENTITY, "me_ask.html", values)?);
        }
    };
    if let Err(error) = admit(&request, &state, site.id).await {
        return too_many(&state, &site, error);
    }
    state.service.ask_for_link(site.id, email).await?;
    let texts = Texts::of(&site.language);
    let values = context! {
        title => texts.own.mailed_title, text => fill(texts.own.mailed, &[("site", &site.name)]), ..words(texts)
    };
    Ok(state.pages.answer(StatusCode::OK, "message.html", values)?)
}

async fn admit(request: &HttpRequest, state: &State, site: crate::domain::ids::SiteId) -> Result<(), ApiError> {
    let posting = Posting { from: request::client(request, state), site, article: PLACE };
    Ok(state.rings.admit(posting).await.map_err(Error::RateLimited)?)
}

fn too_many(state: &State, site: &Site, error: ApiError) -> Result<HttpResponse, ApiError> {
    let Some(seconds) = error.retry_after() else { return Err(error) };
    let texts = Texts::of(&site.language);
    let text = fill(texts.own.wait, &[("seconds", &seconds.to_string())]);
    let values = context! { title => texts.own.wait_title, text, ..words(texts) };
    let mut response = state.pages.answer(error.status_code(), "message.html", values)?;
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    Ok(response)
}

/// What somebody wrote, in pages of 50.
#[utoipa::path(
    get, path = "/me/open/{token}", tag = "One's own data",
    params(("token" = String, Path, description = "From a mail"), ("after" = Option<String>, Query, description = "The last comment of the page before")),
    responses(
        (status = 200, description = "Their comments, with what they can do", content_type = "text/html"),
        (status = 404, description = "Not one of our links", content_type = "text/html"),
        (status = 410, description = "Over", content_type = "text/html"),
    ),
)]
pub async fn open(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    match state.service.person_behind(token(&request)).await {
        Ok(person) => page(&request, &state, &person).await,
        Err(error) => refused_here(&request, &state, error).await,
    }
}

async fn page(request: &HttpRequest, state: &State, person: &Person) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(request)?;
    let after = pairs.one("after", &mut Vec::new()).and_then(|id| id.parse().ok());
    let after = after.unwrap_or(CommentId(uuid::Uuid::nil()));
    let page = state.service.page_of_person(person, after, SHOWN).await?;
    let site = state.service.sites.by_id(person.site)?;
    let texts = Texts::of(&site.language);
    let rows: Vec<Value> = page.comments.iter().map(|(comment, article)| row(texts, comment, article)).collect();
    let values = context! {
        title => texts.own.title,
        site => site.name.as_str(),
        here => here(state, request),
        rows,
        next => page.next.map(|id| id.to_string()),
        begins => after.0.is_nil(),
        hears => page.consent == Some(Consent::Confirmed),
        ..words(texts)
    };
    Ok(state.pages.answer(StatusCode::OK, "me.html", values)?)
}

fn here(state: &State, request: &HttpRequest) -> String {
    format!("{}/me/open/{}", state.public_url, token(request))
}

fn row(texts: &Texts, comment: &Comment, article: &Article) -> Value {
    context! {
        id => comment.id.to_string(),
        name => comment.name.clone(),
        html => comment.body_html.clone(),
        waiting_html => comment.waiting_edit().map(|edit| edit.body_html),
        at => texts.moment(comment.created_at),
        is_public => comment.status == Status::Approved,
        article => article.title.clone().unwrap_or_else(|| article.key.clone()),
    }
}

/// Ends the mails of the site (`do=end`), or erases everything (`do=erase` with `sure=1`).
#[utoipa::path(
    post, path = "/me/open/{token}", tag = "One's own data", params(("token" = String, Path, description = "From a mail")),
    request_body(content = String, description = "`do`: `end` or `erase`; `sure`", content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "It is done", content_type = "text/html"),
        (status = 303, description = "Back to the page: nothing was done, or the mails have ended"),
        (status = 404, description = "Not one of our links", content_type = "text/html"),
        (status = 410, description = "Over", content_type = "text/html"),
    ),
)]
pub async fn act(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::parse(&request::read_body(&request, payload).await?)?;
    let person = match state.service.person_behind(token(&request)).await {
        Ok(person) => person,
        Err(error) => return refused_here(&request, &state, error).await,
    };
    let said = |name: &'static str| pairs.one(name, &mut Vec::new()).map(str::to_owned);
    match (said("do").as_deref(), said("sure").as_deref()) {
        (Some("end"), _) => state.service.end_mails_of_person(&person).await?,
        (Some("erase"), Some("1")) => {
            let erased = state.service.erase_all_of_person(&person).await?;
            let texts = Texts::of(&state.service.sites.by_id(person.site)?.language);
            let text = if erased == 1 { texts.own.erased_one } else { texts.own.erased };
            let text = fill(text, &[("n", &erased.to_string())]);
            let values = context! { title => texts.own.erased_title, text, ..words(texts) };
            return Ok(state.pages.answer(StatusCode::OK, "message.html", values)?);
        }
        _ => {}
    }
    Ok(back(&here(&state, &request)))
}

fn back(to: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, to))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish()
}

/// Everything that somebody wrote on the site, to be taken along.
#[utoipa::path(
    get, path = "/me/open/{token}/export", tag = "One's own data", params(("token" = String, Path, description = "From a mail")),
    responses(
        (status = 200, description = "A file", content_type = "application/json"),
        (status = 404, description = "Not one of our links", content_type = "text/html"),
        (status = 410, description = "Over", content_type = "text/html"),
    ),
)]
pub async fn export(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let person = match state.service.person_behind(token(&request)).await {
        Ok(person) => person,
        Err(error) => return refused_here(&request, &state, error).await,
    };
    let bytes = state.service.export_of_person(&person).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::HeaderName::from_static("x-robots-tag"), "noindex"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"comments.json\""))
        .body(bytes))
}

/// One comment, to be corrected or erased.
#[utoipa::path(
    get, path = "/me/open/{token}/comments/{id}", tag = "One's own data",
    params(("token" = String, Path, description = "From a mail"), ("id" = String, Path)),
    responses(
        (status = 200, description = "A form with `name` and `body`", content_type = "text/html"),
        (status = 404, description = "Not one of our links, or not their comment", content_type = "text/html"),
        (status = 410, description = "Over", content_type = "text/html"),
    ),
)]
pub async fn comment(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    match theirs(&request, &state).await {
        Ok((_, comment, article)) => {
            let text = comment.waiting_edit().unwrap_or_else(|| comment.text());
            let shown = Shown { comment: &comment, article: &article, name: &text.name, body: &text.body, faults: &[] };
            form_of(&request, &state, &shown)
        }
        Err(error) => refused_here(&request, &state, error).await,
    }
}

async fn theirs(request: &HttpRequest, state: &State) -> Result<(Person, Comment, Article), Error> {
    let person = state.service.person_behind(token(request)).await?;
    let id = request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)?;
    let (comment, article) = state.service.comment_of_person(&person, id).await?;
    Ok((person, comment, article))
}

/// A comment in its form.
struct Shown<'a> {
    comment: &'a Comment,
    article: &'a Article,
    name: &'a str,
    body: &'a str,
    faults: &'a [Fault],
}

fn form_of(request: &HttpRequest, state: &State, shown: &Shown<'_>) -> Result<HttpResponse, ApiError> {
    let site = state.service.sites.by_id(shown.comment.site_id)?;
    let rules = site.settings.form_rules(&state.service.rules.fields);
    let told = |fault: &Fault| context! { field => fault.field.as_ref(), message => fault.message.as_ref() };
    let texts = Texts::of(&site.language);
    let values = context! {
        title => texts.own.your_comment,
        here => here(state, request),
        id => shown.comment.id.to_string(),
        article => shown.article.title.clone().unwrap_or_else(|| shown.article.key.clone()),
        at => texts.moment(shown.comment.created_at),
        name => shown.name, body => shown.body,
        rules => minijinja::value::Serde(rules),
        faults => shown.faults.iter().map(told).collect::<Vec<_>>(),
        ..words(texts)
    };
    let status = if shown.faults.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(state.pages.answer(status, "me_comment.html", values)?)
}

/// Corrects a comment as its author does (`do=correct` with `name` and `body`), or erases it (`do=erase`).
#[utoipa::path(
    post, path = "/me/open/{token}/comments/{id}", tag = "One's own data",
    params(("token" = String, Path, description = "From a mail"), ("id" = String, Path)),
    request_body(content = String, description = "`do`, `name`, `body`", content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What became of it", content_type = "text/html"),
        (status = 303, description = "Erased; back to the page"),
        (status = 404, description = "Not one of our links, or not their comment", content_type = "text/html"),
        (status = 409, description = "The article is read-only", content_type = "text/html"),
        (status = 410, description = "Over", content_type = "text/html"),
        (status = 422, description = "The form again, with what is wrong", content_type = "text/html"),
        (status = 429, description = "Too many", content_type = "text/html"),
    ),
)]
pub async fn change(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::parse(&request::read_body(&request, payload).await?)?;
    let (person, comment, article) = match theirs(&request, &state).await {
        Ok(theirs) => theirs,
        Err(error) => return refused_here(&request, &state, error).await,
    };
    let text = |name: &'static str| pairs.one(name, &mut Vec::new()).unwrap_or_default().replace("\r\n", "\n");
    if text("do") == "erase" {
        state.service.remove_own(comment.id, Right::Mail(person)).await?;
        return Ok(back(&here(&state, &request)));
    }
    let (name, body) = (text("name"), text("body"));
    let raw = RawPatch { name: Some(name.clone()), website: Change::Keep, body: Some(body.clone()) };
    let site = state.service.sites.by_id(person.site)?;
    let patch = match raw.parse(&site.settings.form_rules(&state.service.rules.fields), Vec::new()) {
        Ok(patch) => patch,
        Err(Error::Invalid(faults)) => {
            state.count_refusal(&request, &ApiError::from(Error::Invalid(faults.clone())))?;
            let shown = Shown { comment: &comment, article: &article, name: &name, body: &body, faults: &faults };
            return form_of(&request, &state, &shown);
        }
        Err(error) => return Err(error.into()),
    };
    if let Err(error) = admit(&request, &state, person.site).await {
        return too_many(&state, &site, error);
    }
    let own = &Texts::of(&site.language).own;
    let editor = Editor { right: Right::Mail(person), client: request::client(&request, &state).address() };
    let (status, title, text) = match state.service.edit_own(comment.id, editor, patch).await {
        Ok(Edited::Waits(_)) => (StatusCode::OK, own.thanks, own.edit_waits),
        Ok(Edited::Applied(after)) if after.status == Status::Approved => (StatusCode::OK, own.thanks, own.edit_public),
        Ok(Edited::Applied(_)) => (StatusCode::OK, own.thanks, own.edit_stored),
        Err(error @ Error::Closed) => (ApiError::from(error).status_code(), own.closed_title, own.closed),
        Err(error) => return Err(error.into()),
    };
    let values = context! { title, text, here => here(&state, &request), ..words(Texts::of(&site.language)) };
    Ok(state.pages.answer(status, "message.html", values)?)
}

/// A link that does not work or is over, in words that fit here.
async fn refused_here(request: &HttpRequest, state: &State, error: Error) -> Result<HttpResponse, ApiError> {
    refused_to_reader(request, state, error, |links| links.over_own).await
}

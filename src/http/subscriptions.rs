//! The pages behind links in mails to people who wrote comments: yes to mails about replies, and no. `GET` asks and changes
//! nothing, `POST` acts, also when a mail program sends it with one click (RFC 8058).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use minijinja::context;

use super::State;
use super::error::ApiError;
use super::links::{refused_to_reader, token};
use super::pages::words;
use super::request;
use crate::domain::people::Consent;
use crate::domain::texts::{Texts, fill};
use crate::error::Error;
use crate::service::subscriptions::{Said, Silence};

/// Asks whether replies may be told.
#[utoipa::path(
    get, path = "/c/{token}", tag = "Links in mails", params(("token" = String, Path, description = "From a mail")),
    responses(
        (status = 200, description = "A page with one button", content_type = "text/html"),
        (status = 404, description = "Not one of our links", content_type = "text/html"),
        (status = 410, description = "Over, or the address has said no since", content_type = "text/html"),
    ),
)]
pub async fn ask_yes(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    match state.service.look_at_yes(token(&request)).await {
        Ok(said) if said.consent == Consent::Confirmed => confirmed(&state, said),
        Ok(said) => {
            let (texts, name) = speaking(&state, said);
            let text = fill(texts.replies.yes_text, &[("site", &name)]);
            let values =
                context! { title => texts.replies.yes_title, text, button => texts.replies.yes, ..words(texts) };
            Ok(state.pages.answer(StatusCode::OK, "ask.html", values)?)
        }
        Err(error) => refused_here(&request, &state, error).await,
    }
}

/// Says that replies may be told. Again it changes nothing.
#[utoipa::path(
    post, path = "/c/{token}", tag = "Links in mails", params(("token" = String, Path, description = "From a mail")),
    responses(
        (status = 200, description = "They are told from now on", content_type = "text/html"),
        (status = 404, description = "Not one of our links", content_type = "text/html"),
        (status = 410, description = "Over, or the address has said no since", content_type = "text/html"),
    ),
)]
pub async fn yes(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    request::read_body(&request, payload).await?;
    match state.service.say_yes(token(&request)).await {
        Ok(said) => confirmed(&state, said),
        Err(error) => refused_here(&request, &state, error).await,
    }
}

/// Asks whether mails are to end.
#[utoipa::path(
    get, path = "/n/{token}", tag = "Links in mails", params(("token" = String, Path, description = "From a mail")),
    responses(
        (status = 200, description = "A page with one button, or none when no mail comes anyway", content_type = "text/html"),
        (status = 404, description = "Not one of our links", content_type = "text/html"),
    ),
)]
pub async fn ask_no(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    match state.service.look_at_no(token(&request)).await {
        Ok(said) if is_silent(said) => silent(&state, said),
        Ok(said) => {
            let (texts, name) = speaking(&state, said);
            let (text, button) = match said.silence {
                Silence::Site => (fill(texts.replies.no_text, &[("site", &name)]), texts.replies.no),
                Silence::Everywhere => (texts.replies.never_text.to_owned(), texts.replies.never),
            };
            let values = context! { title => texts.replies.no_title, text, button, ..words(texts) };
            Ok(state.pages.answer(StatusCode::OK, "ask.html", values)?)
        }
        Err(error) => refused_here(&request, &state, error).await,
    }
}

/// Ends the mails, as mail programs do it with one click (RFC 8058).
#[utoipa::path(
    post, path = "/n/{token}", tag = "Links in mails", params(("token" = String, Path, description = "From a mail")),
    request_body(content = Option<String>, description = "Not looked at; mail programs send `List-Unsubscribe=One-Click`", content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "They have ended", content_type = "text/html"),
        (status = 404, description = "Not one of our links", content_type = "text/html"),
    ),
)]
pub async fn no(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    request::read_body(&request, payload).await?;
    match state.service.say_no(token(&request)).await {
        Ok(said) => silent(&state, said),
        Err(error) => refused_here(&request, &state, error).await,
    }
}

fn is_silent(said: Said) -> bool {
    match said.silence {
        Silence::Site => matches!(said.consent, Consent::Ended | Consent::Refused),
        Silence::Everywhere => said.site.is_none() || said.consent == Consent::Refused,
    }
}

/// A link that does not work or is over, in words that fit here.
async fn refused_here(request: &HttpRequest, state: &State, error: Error) -> Result<HttpResponse, ApiError> {
    refused_to_reader(request, state, error, |links| links.over_replies).await
}

fn confirmed(state: &State, said: Said) -> Result<HttpResponse, ApiError> {
    let (texts, name) = speaking(state, said);
    let text = fill(texts.replies.told, &[("site", &name)]);
    let values = context! { title => texts.replies.told_title, text, ..words(texts) };
    Ok(state.pages.answer(StatusCode::OK, "message.html", values)?)
}

fn silent(state: &State, said: Said) -> Result<HttpResponse, ApiError> {
    let (texts, name) = speaking(state, said);
    let text = match said.silence {
        // The link names a row that went, so there is nothing that could remember this no.
        Silence::Everywhere if said.site.is_none() => {
            let values =
                context! { title => texts.replies.forgotten_title, text => texts.replies.forgotten, ..words(texts) };
            return Ok(state.pages.answer(StatusCode::OK, "message.html", values)?);
        }
        Silence::Everywhere => texts.replies.ended_everywhere.to_owned(),
        Silence::Site => fill(texts.replies.ended, &[("site", &name)]),
    };
    let values = context! { title => texts.replies.ended_title, text, ..words(texts) };
    Ok(state.pages.answer(StatusCode::OK, "message.html", values)?)
}

/// The texts in the language of the site, and its name; English for an address that is not known any more.
fn speaking(state: &State, said: Said) -> (&'static Texts, String) {
    match said.site.and_then(|site| state.service.sites.by_id(site).ok()) {
        Some(site) => (Texts::of(&site.language), site.name.clone()),
        None => (Texts::of("en"), "this site".to_owned()),
    }
}

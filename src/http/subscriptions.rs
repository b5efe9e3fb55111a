//! The pages behind links in mails to people who wrote comments: yes to mails about replies, and no. `GET` asks and changes
//! nothing, `POST` acts, also when a mail program sends it with one click (RFC 8058).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use minijinja::context;

use super::State;
use super::error::ApiError;
use super::links::{refused, token};
use super::request;
use crate::domain::people::Consent;
use crate::service::subscriptions::{Said, Silence};

/// What may come all the same.
const BUT_A_LINK: &str = "Only if somebody asks for the link to your own data, it is mailed to you, once a day at most: there is \
                          no other way to see or erase what was written with your address.";

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
            let text = format!(
                "A comment on {} was left with your e-mail address, and replies to it are to be told by mail. Nothing has \
                 changed yet: the button below says yes. Each mail has a link that ends them.",
                site_name(&state, said)
            );
            let values = context! { title => "May we tell you of replies?", text, button => "Yes, tell me of replies" };
            Ok(state.pages.answer(StatusCode::OK, "ask.html", values)?)
        }
        Err(error) => refused(&request, &state, error).await,
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
        Err(error) => refused(&request, &state, error).await,
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
            let (text, button) = match said.silence {
                Silence::Site => (
                    format!(
                        "You hear of replies to your comments on {}. Nothing has changed yet: the button below ends it.",
                        site_name(&state, said)
                    ),
                    "No more mails",
                ),
                Silence::Everywhere => (
                    format!(
                        "Nothing has changed yet: the button below makes sure that no mail comes to you again from here, \
                         whoever types your address. {BUT_A_LINK}"
                    ),
                    "Never write to me again",
                ),
            };
            Ok(state.pages.answer(StatusCode::OK, "ask.html", context! { title => "No more mails?", text, button })?)
        }
        Err(error) => refused(&request, &state, error).await,
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
        Err(error) => refused(&request, &state, error).await,
    }
}

fn is_silent(said: Said) -> bool {
    match said.silence {
        Silence::Site => matches!(said.consent, Consent::Ended | Consent::Refused),
        Silence::Everywhere => said.site.is_none() || said.consent == Consent::Refused,
    }
}

fn confirmed(state: &State, said: Said) -> Result<HttpResponse, ApiError> {
    let text = format!(
        "You hear of replies to your comments on {}, and when a comment that was held is public. Each mail has a link that \
         ends this.",
        site_name(state, said)
    );
    Ok(state.pages.message(StatusCode::OK, "You hear of replies", &text)?)
}

fn silent(state: &State, said: Said) -> Result<HttpResponse, ApiError> {
    let text = match said.silence {
        // The link names a row that went, so there is nothing that could remember this no.
        Silence::Everywhere if said.site.is_none() => {
            let text = "Your address is not known here any more, so no mail comes to you now. Whoever types it anew brings \
                        it back: it may be asked again then, and that mail has a link that says never.";
            return Ok(state.pages.message(StatusCode::OK, "Nothing is known of you here", text)?);
        }
        Silence::Everywhere => {
            format!("No mail comes to you from here again, whoever types your address. {BUT_A_LINK}")
        }
        Silence::Site => format!(
            "You hear no more of replies to your comments on {}. You can ask for it again with your next comment there.",
            site_name(state, said)
        ),
    };
    Ok(state.pages.message(StatusCode::OK, "No more mails", &text)?)
}

fn site_name(state: &State, said: Said) -> String {
    let site = said.site.and_then(|site| state.service.sites.by_id(site).ok());
    site.map_or_else(|| "this site".to_owned(), |site| site.name.clone())
}

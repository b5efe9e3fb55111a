//! The pages behind links in mails. `GET` shows what a link would do and changes nothing, for mail scanners open every link;
//! a button sends `POST` to the same address, and that acts. The token in the address is the only credential, so no page of
//! another origin gains anything by sending it, and nothing here may write it down. It all works without script.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use minijinja::{Value, context};

use super::State;
use super::error::{ApiError, Problem};
use super::pages::{asked_for, words as in_language};
use super::request::{self, Pairs};
use crate::domain::comment::{Action, Decision, Status, Via};
use crate::domain::texts::{Links, fill};
use crate::error::Error;
use crate::service::mail_links::{Errand, Opened, Standing};
use crate::storage::articles;
use crate::storage::events::Event;
use crate::storage::listing::{self, Around, PublicComment};

/// What a link decides, shown and asked once more.
#[utoipa::path(
    get, path = "/m/{token}", tag = "Links in mails", params(("token" = String, Path, description = "From a mail")),
    responses(
        (status = 200, description = "The comment and one button, or what this link has done", content_type = "text/html"),
        (status = 404, description = "Not one of our links, or its moderator has lost the site", content_type = "text/html"),
        (status = 409, description = "Decided otherwise or changed since", content_type = "text/html"),
        (status = 410, description = "Over", content_type = "text/html"),
        (status = 429, description = "Too many wrong links", content_type = "text/html"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn look(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let opened = state.service.open_link(token(&request)).await;
    match opened {
        Ok(opened) => page(&state, &opened, None).await,
        Err(error) => refused(&request, &state, error).await,
    }
}

/// Does what a link is for, or takes that back when the form says `undo`. Doing it again changes nothing.
#[utoipa::path(
    post, path = "/m/{token}", tag = "Links in mails", params(("token" = String, Path, description = "From a mail")),
    request_body(content = Option<String>, description = "`undo=1` takes the decision back", content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What stands now", content_type = "text/html"),
        (status = 404, description = "Not one of our links, or its moderator has lost the site", content_type = "text/html"),
        (status = 409, description = "Decided otherwise or changed since; nothing was changed", content_type = "text/html"),
        (status = 410, description = "Over", content_type = "text/html"),
        (status = 429, description = "Too many wrong links", content_type = "text/html"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn act(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = request::read_body(&request, payload).await?;
    let undo = Pairs::parse(&body).is_ok_and(|pairs| pairs.one("undo", &mut Vec::new()).is_some());
    let errand = if undo { Errand::Undo } else { Errand::Decide };
    match state.service.follow_link(token(&request), errand).await {
        Ok(opened) => page(&state, &opened, Some(errand)).await,
        Err(error) => refused(&request, &state, error).await,
    }
}

/// Asks whether mail is to be turned off.
#[utoipa::path(
    get, path = "/u/{token}", tag = "Links in mails", params(("token" = String, Path, description = "From a mail")),
    responses(
        (status = 200, description = "A page with one button", content_type = "text/html"),
        (status = 404, description = "Not one of our links, or its account has lost its rights", content_type = "text/html"),
    ),
)]
pub async fn ask_to_stop(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    match state.service.gets_mail(token(&request)).await {
        Ok(true) => Ok(state.pages.answer(StatusCode::OK, "stop.html", context! { title => "No more mail?" })?),
        Ok(false) => stopped(&state),
        Err(error) => refused(&request, &state, error).await,
    }
}

/// Turns the mail of one account off, as mail programs do it with one click (RFC 8058).
#[utoipa::path(
    post, path = "/u/{token}", tag = "Links in mails", params(("token" = String, Path, description = "From a mail")),
    request_body(content = Option<String>, description = "Not looked at; mail programs send `List-Unsubscribe=One-Click`", content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A page that says how it is turned on again", content_type = "text/html"),
        (status = 404, description = "Not one of our links, or its account has lost its rights", content_type = "text/html"),
    ),
)]
pub async fn stop(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    request::read_body(&request, payload).await?;
    match state.service.unsubscribe(token(&request)).await {
        Ok(()) => stopped(&state),
        Err(error) => refused(&request, &state, error).await,
    }
}

fn stopped(state: &State) -> Result<HttpResponse, ApiError> {
    let text = "You get no mail about comments. An administrator turns it on again, with: afterword account mail \
                --email you@example.org --each";
    Ok(state.pages.message(StatusCode::OK, "No more mail", text)?)
}

pub(super) fn token(request: &HttpRequest) -> &str {
    request.match_info().get("token").unwrap_or_default()
}

/// What a person can understand of why a link does nothing; a wrong link counts as a wrong password does.
async fn counted(request: &HttpRequest, state: &State, error: Error) -> Result<ApiError, ApiError> {
    let wait = match &error {
        Error::NotFound => state.rings.wrong_credentials(request::client(request, state)).await.err(),
        Error::LinkExpired => None,
        _ => return Err(error.into()),
    };
    Ok(ApiError::from(wait.map_or(error, Error::RateLimited)))
}

/// A page for whoever reads and writes comments, in their language: `over` says what a link that is over was for.
pub(super) async fn refused_to_reader(
    request: &HttpRequest,
    state: &State,
    error: Error,
    over: fn(&Links) -> &'static str,
) -> Result<HttpResponse, ApiError> {
    let error = counted(request, state, error).await?;
    let texts = asked_for(request);
    let (title, text) = match (&error, error.retry_after()) {
        (_, Some(seconds)) => (texts.own.wait_title, fill(texts.own.wait, &[("seconds", &seconds.to_string())])),
        (ApiError::Core(Error::LinkExpired), None) => (texts.links.over_title, over(&texts.links).to_owned()),
        _ => (texts.links.broken_title, texts.links.broken.to_owned()),
    };
    refusal(state, &error, context! { title, text, ..in_language(texts) })
}

/// A page for a moderator.
async fn refused(request: &HttpRequest, state: &State, error: Error) -> Result<HttpResponse, ApiError> {
    let error = counted(request, state, error).await?;
    let (title, text) = match &error {
        ApiError::Core(Error::LinkExpired) => (
            "This link is over",
            "Links in mails work for seven days. Nothing was changed. If the comment still waits, the next mail about it \
             has new links.",
        ),
        ApiError::Core(Error::RateLimited(_)) => ("Too many wrong links", "Please wait a minute, then open it again."),
        _ => (
            "This link does not work",
            "It may have been cut on its way, or it belongs to somebody who does not moderate here any more. Open the \
             mail again and use the whole link.",
        ),
    };
    refusal(state, &error, context! { title, text })
}

fn refusal(state: &State, error: &ApiError, values: minijinja::Value) -> Result<HttpResponse, ApiError> {
    let mut response = state.pages.answer(error.status_code(), "message.html", values)?;
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
}

/// What a decision is called where it is offered, and where it is made.
fn words(decision: Decision, is_edit: bool) -> (&'static str, &'static str, &'static str) {
    match (decision, is_edit) {
        (Decision::Approve, false) => ("Approve this comment?", "Approve", "The comment is approved"),
        (Decision::Approve, true) => ("Publish the new text?", "Publish the new text", "The new text is public"),
        (Decision::Reject, _) => ("Reject this comment?", "Reject", "The comment is rejected"),
        (Decision::Spam, _) => ("Is this comment spam?", "Mark as spam", "The comment is marked as spam"),
        (Decision::Hold, _) => ("Hold this comment?", "Hold", "The comment waits"),
    }
}

/// The page of a link whose holder may see the comment. `done`: what was asked for, if anything was.
async fn page(state: &State, opened: &Opened, done: Option<Errand>) -> Result<HttpResponse, ApiError> {
    let is_edit = opened.comment.as_ref().is_some_and(|comment| {
        matches!(opened.standing, Standing::Waits)
            && comment.status == Status::Approved
            && comment.waiting_edit.is_some()
    });
    let (question, button, decided) = words(opened.link.decision, is_edit);
    let cannot_undo = done == Some(Errand::Undo) && matches!(opened.standing, Standing::Stands(_));
    let (status, title, text) = match &opened.standing {
        Standing::Waits if done.is_some() => {
            (StatusCode::OK, question, "Your decision is taken back. The comment waits again.".to_owned())
        }
        Standing::Waits => (StatusCode::OK, question, "Nothing has happened yet: the button below decides.".to_owned()),
        Standing::Stands(event) if cannot_undo => (
            StatusCode::CONFLICT,
            decided,
            format!("{} It cannot be taken back by this link.", told(state, opened, event).await?),
        ),
        Standing::Stands(event) => (StatusCode::OK, decided, told(state, opened, event).await?),
        Standing::Passed(event) => {
            let title = "This link came too late";
            (
                StatusCode::CONFLICT,
                title,
                format!("{} This link has changed nothing.", told(state, opened, event).await?),
            )
        }
    };
    let waits = matches!(opened.standing, Standing::Waits);
    let values = context! {
        title, text, waits, is_edit,
        button => waits.then_some(button),
        undo => opened.can_undo && !cannot_undo,
        ends_at => opened.link.ends_at.in_words(),
        ..comment_values(state, opened).await?
    };
    Ok(state.pages.answer(status, "link.html", values)?)
}

/// Who did what, and when.
async fn told(state: &State, opened: &Opened, event: &Event) -> Result<String, Error> {
    let who = match event.account_id {
        Some(account) if account == opened.access.account => "You".to_owned(),
        Some(account) => {
            let mut names = state.service.account_names(vec![account]).await?;
            names.remove(&account).unwrap_or_else(|| "A moderator".to_owned())
        }
        None => match event.via {
            Via::Author => "Its author",
            Via::Cli => "The operator",
            _ => "A rule",
        }
        .to_owned(),
    };
    let what = match event.action {
        Action::Approved => "approved it",
        Action::Rejected => "rejected it",
        Action::MarkedSpam => "marked it as spam",
        Action::Held => "put it back to the waiting ones",
        Action::Undone => "took a decision back",
        Action::EditDiscarded => "dropped its new text",
        Action::Corrected => "corrected it",
        Action::Removed => "deleted it",
        Action::Pinned => "pinned it",
        Action::Unpinned => "took its pin away",
        _ => "changed it",
    };
    Ok(format!("{who} {what} on {}.", event.at.in_words()))
}

/// The comment as readers would see it, and its thread around it; nothing but the fact for one that is gone.
async fn comment_values(state: &State, opened: &Opened) -> Result<Value, Error> {
    let Some(comment) = opened.comment.clone() else { return Ok(context! { comment => None::<Value> }) };
    let site = state.service.sites.by_id(comment.site_id)?;
    let (comment, article, around) = state
        .service
        .db
        .read(move |conn| {
            let article = articles::by_ids(conn, &[comment.article_id])?.remove(&comment.article_id);
            let around = listing::around(conn, &comment)?;
            Ok((comment.clone(), article.ok_or(Error::NotFound)?, around))
        })
        .await?;
    let public = comment.text();
    let text = comment.waiting_edit().unwrap_or_else(|| public.clone());
    let reasons: Vec<String> = comment.hold_reasons().into_iter().map(|reason| reason.detail).collect();
    let Around { above, beside } = around;
    let rows = |rows: Vec<PublicComment>| rows.into_iter().map(row).collect::<Vec<_>>();
    Ok(context! {
        site => site.name.clone(),
        article => context! {
            title => article.title.clone().or_else(|| comment.article_title.clone()).unwrap_or_else(|| article.key.clone()),
            url => article.url,
        },
        comment => context! {
            name => text.name, website => text.website, html => text.body_html, at => comment.created_at.in_words(),
            changed => comment.edited_at.is_some() || comment.waiting_edit.is_some(),
        },
        public_html => comment.waiting_edit.is_some().then_some(public.body_html),
        above => rows(above), beside => rows(beside), reasons,
    })
}

fn row(row: PublicComment) -> Value {
    let is_there = row.status == Status::Approved;
    context! {
        name => is_there.then_some(row.name), html => is_there.then_some(row.body_html), at => row.created_at.in_words(),
    }
}

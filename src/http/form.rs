//! The plain form: the same rules without JSON and without script. It answers with the way back to the page, or with a page
//! that names the faults and keeps the text.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use super::State;
use super::comments::{Form, author, take};
use super::error::ApiError;
use super::pages::words;
use super::request::{Pairs, check_idempotency_key, idempotency_key};
use crate::domain::comment::Status;
use crate::domain::fault::Fault;
use crate::domain::site::Site;
use crate::domain::site_settings::FormRules;
use crate::domain::submission::{FIELDS, RawSubmission};
use crate::domain::text::tidy;
use crate::domain::texts::{Texts, fill};
use crate::domain::web::WebAddress;
use crate::error::Error;
use crate::service::submission::Repeatable;

/// A plain form that came, and what of it does not belong to the comment.
struct Posted<'a> {
    request: &'a HttpRequest,
    state: &'a State,
    pairs: Pairs,
    rules: FormRules,
    /// The token of our own page, for who came without one.
    form_token: String,
    /// The site's privacy line.
    privacy: String,
    /// In the site's language.
    texts: &'static Texts,
    /// Where to go afterwards: checked.
    return_to: Option<WebAddress>,
}

/// Takes a comment from a plain form. Unknown fields are ignored: forms carry what their pages put into them.
pub async fn submit(request: &HttpRequest, state: &State, body: &[u8]) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::parse(body)?;
    let site = state.site(request)?;
    let author = author(request, state, &site).await?;
    state.check_origin(request, &site, true)?;
    let mut faults = Vec::new();
    let raw = read_fields(&pairs, &mut faults);
    let return_to = match pairs.one("return_to", &mut faults).filter(|text| !text.is_empty()) {
        Some(text) => own_address(text, state, &site).map_err(|fault| faults.push(fault)).ok(),
        None => None,
    };
    let repeatable = key(&pairs, request, &mut faults).map(|key| Repeatable { key, request: pairs.canonical() });
    let rules = site.settings.form_rules(&state.service.rules.fields);
    let texts = Texts::of(&site.language);
    let privacy = site.settings.privacy_text.as_deref().unwrap_or(texts.comments.privacy).to_owned();
    // Our page is the second sight of a form, so it is as old as a form must be: whoever mends a slip may be quick.
    let opened = state.service.clock.now().minus(state.service.rules.too_fast);
    let form_token = state.service.keys.form_token(site.id, opened);
    let posted = Posted { request, state, pairs, rules, form_token, privacy, texts, return_to };
    match take(request, state, site, Form { raw, faults, author, repeatable }).await {
        Ok(receipt) => posted.done(receipt.status),
        Err(error) => posted.answer(error),
    }
}

/// The key of the form's own field, or of the header.
fn key(pairs: &Pairs, request: &HttpRequest, faults: &mut Vec<Fault>) -> Option<String> {
    let key = match pairs.one("idempotency_key", faults).filter(|text| !text.is_empty()) {
        Some(text) => check_idempotency_key(text).map(|()| Some(text.to_owned())),
        None => idempotency_key(request.headers()),
    };
    key.map_err(|fault| faults.push(fault)).ok().flatten()
}

fn read_fields(pairs: &Pairs, faults: &mut Vec<Fault>) -> RawSubmission {
    let mut text = |name: &'static str| {
        // Browsers send line breaks as CR LF, whatever was typed.
        pairs.one(name, faults).map(|text| text.replace("\r\n", "\n")).filter(|text| !text.is_empty())
    };
    RawSubmission {
        article: text("article"),
        name: text("name"),
        email: text("email"),
        body: text("body"),
        website: text("website"),
        parent_id: text("parent_id"),
        article_title: text("article_title"),
        article_url: text("article_url"),
        challenge: text("challenge"),
        form_token: text("form_token"),
        company: text("company"),
        notify: text("notify").map(|text| !matches!(text.as_str(), "0" | "false" | "off" | "no")),
    }
}

/// Where to go afterwards: a page of the site, or one of ours.
fn own_address(text: &str, state: &State, site: &Site) -> Result<WebAddress, Fault> {
    let address = WebAddress::parse(&tidy(text), "return_to")?;
    let origin = address.origin();
    if site.owns(&origin) || state.is_own_origin(&origin) {
        return Ok(address);
    }
    Err(Fault::new("return_to", "foreign_url", "It must be an address on this site."))
}

/// The fields of the form that people see.
const SHOWN: [&str; 4] = ["name", "email", "website", "body"];

impl Posted<'_> {
    /// It is taken: the way back to the page that it came from, or one of ours that says so.
    fn done(&self, status: Status) -> Result<HttpResponse, ApiError> {
        let texts = &self.texts.sending;
        let (mark, code, text) = match status {
            Status::Approved => ("afterword-approved", StatusCode::CREATED, texts.published),
            _ => ("afterword-pending", StatusCode::ACCEPTED, texts.pending),
        };
        let Some(address) = &self.return_to else {
            let values = minijinja::context! { title => texts.thanks, text, ..words(self.texts) };
            return Ok(self.state.pages.answer(code, "message.html", values)?);
        };
        Ok(HttpResponse::SeeOther()
            .insert_header((header::LOCATION, address.at(mark)))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .finish())
    }

    /// What went wrong, as a page where a person can do something about it.
    fn answer(&self, error: ApiError) -> Result<HttpResponse, ApiError> {
        // The page is no error for the front, so it is counted here.
        let error = self.state.count_refusal(self.request, &error).err().unwrap_or(error);
        if !matches!(error.status_code().as_u16(), 409 | 422 | 429 | 503) {
            return Err(error);
        }
        let mut response = self.page(&error)?;
        if let Some(seconds) = error.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        Ok(response)
    }

    fn page(&self, error: &ApiError) -> Result<HttpResponse, Error> {
        let fields: BTreeMap<&str, String> = SHOWN.into_iter().map(|name| (name, self.value(name))).collect();
        let texts = &self.texts.sending;
        let told = |fault: &Fault| {
            let message = texts.fault(fault.code).unwrap_or(&fault.message);
            minijinja::context! { field => fault.field.as_ref(), message }
        };
        let faults: Vec<_> = error.faults().iter().map(told).collect();
        let (title, text) = self.why(error);
        let values = minijinja::context! {
            title, text, faults, fields, hidden => self.hidden(error),
            action => format!("{}{}", self.state.public_url, self.request.path()),
            rules => minijinja::value::Serde(self.rules), privacy => self.privacy.as_str(),
            ..words(self.texts)
        };
        let onward = self.return_to.as_ref().map(WebAddress::origin);
        self.state.pages.form(error.status_code(), values, onward.as_ref())
    }

    /// Why it was not taken, as a heading and a sentence.
    fn why(&self, error: &ApiError) -> (&'static str, String) {
        let Texts { sending, comments, own, .. } = self.texts;
        if let Some(seconds) = error.retry_after() {
            return (own.wait_title, fill(sending.wait, &[("seconds", &seconds.to_string())]));
        }
        let (title, text) = match error {
            ApiError::Core(Error::Invalid(_)) => (sending.check_title, sending.check),
            ApiError::Core(Error::DuplicateComment) => (sending.not_taken_title, sending.duplicate),
            ApiError::Core(Error::Closed) => (sending.not_taken_title, comments.closed),
            ApiError::Core(Error::IdempotencyKeyReused) => (sending.not_taken_title, sending.again),
            _ => (sending.not_taken_title, sending.failed),
        };
        (title, text.to_owned())
    }

    /// What the fields that people see do not cover stays in the form unseen. A key that belongs to another comment does
    /// not: with it the corrected form would be refused again.
    fn hidden(&self, error: &ApiError) -> Vec<(&'static str, String)> {
        let key = (!matches!(error, ApiError::Core(Error::IdempotencyKeyReused))).then_some("idempotency_key");
        FIELDS
            .into_iter()
            .chain(["return_to"])
            .chain(key)
            .filter(|name| !SHOWN.contains(name) && *name != "company")
            .map(|name| (name, self.value(name)))
            .map(|(name, text)| match name {
                "form_token" if text.is_empty() => (name, self.form_token.clone()),
                _ => (name, text),
            })
            .filter(|(_, text)| !text.is_empty())
            .collect()
    }

    fn value(&self, name: &'static str) -> String {
        self.pairs.one(name, &mut Vec::new()).unwrap_or_default().to_owned()
    }
}

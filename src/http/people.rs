//! A person's data by their e-mail address, for administrators: all of it, or none of it any more.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Admin, RequiredObject};
use super::queue::private;
use super::request::faultless;
use crate::domain::email::Email;
use crate::domain::fault::Fault;
use crate::domain::ids::SiteId;
use crate::domain::text::tidy;
use crate::error::Error;
use crate::service::erasure::Eraser;

/// Whose data is meant.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct PersonQuery {
    /// Upper and lower case are the same.
    email: String,
    /// The key of a site; without it: all sites.
    site: Option<String>,
}

/// Everything that is stored of a person.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the answer for the API document; it is written row by row")]
pub struct PersonExport {
    email: String,
    /// What the address has said about mails: `site_id`, consent, `asked_at`.
    mails: Vec<serde_json::Value>,
    /// As `afterword export` writes them.
    comments: Vec<serde_json::Value>,
}

/// How many comments went.
#[derive(Serialize, ToSchema)]
pub struct ErasedAnswer {
    erased: usize,
}

/// Everything that is stored of a person.
#[utoipa::path(
    post, path = "/api/v1/people/export", tag = "Administrators", request_body = PersonQuery, security(("account" = [])),
    responses(
        (status = 200, body = PersonExport),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn export(
    state: web::Data<State>,
    Admin { input: RequiredObject(fields), .. }: Admin<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let (email, site) = whom(&state, fields)?;
    let bytes = state.service.export_of_address(&email, site).await?;
    Ok(private(StatusCode::OK).content_type("application/json").body(bytes))
}

/// Erases all comments of a person and everything else that is known of them. Again it finds nothing.
#[utoipa::path(
    post, path = "/api/v1/people/erase", tag = "Administrators", request_body = PersonQuery, security(("account" = [])),
    responses(
        (status = 200, body = ErasedAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn erase(
    state: web::Data<State>,
    Admin { account, via, input: RequiredObject(fields) }: Admin<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let (email, site) = whom(&state, fields)?;
    let whose = state.service.whose(&email, site);
    let erased = state.service.erase_person(whose, Eraser { account: Some(account), via }).await?;
    Ok(private(StatusCode::OK).json(ErasedAnswer { erased }))
}

fn whom(state: &State, mut fields: Fields) -> Result<(Email, Option<SiteId>), Error> {
    let (email, site) = (fields.text("email"), fields.text("site"));
    let mut faults = fields.finish();
    let told = faults.iter().any(|fault| fault.field == "email");
    let email = match email.as_deref().map(tidy).filter(|text| !text.is_empty()) {
        Some(text) => Email::parse(&text, "email").map_err(|fault| faults.push(fault)).ok(),
        None if told => None,
        None => {
            faults.push(Fault::required("email"));
            None
        }
    };
    let site = match site.map(|key| state.service.sites.by_key(&key)) {
        Some(Ok(site)) => Some(site.id),
        Some(Err(_)) => {
            faults.push(Fault::new("site", "unknown_site", "There is no such site."));
            None
        }
        None => None,
    };
    faultless(faults)?;
    Ok((email.ok_or(Error::NotFound)?, site))
}

//! Aliases of articles, and two articles made one: for whoever looks after the site.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::articles::site;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Moderator, RequiredObject};
use super::paging::PageQuery;
use super::queue::private;
use super::request::faultless;
use crate::domain::fault::Fault;
use crate::domain::submission::ArticleKey;
use crate::error::Error;
use crate::service::aliases::differ;
use crate::storage::aliases;
use crate::storage::articles::Article;

/// A key that is to lead to an article.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct AliasRequest {
    /// The key: 1 to 512 characters. If an article goes by it, its comments move.
    alias: String,
    /// The key of the article where it leads; made if it is not known.
    article: String,
}

/// Two articles that are to be one.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct MergeRequest {
    /// The key of the one that goes; it stays as an alias.
    from: String,
    /// The key of the one that stays.
    into: String,
}

/// A key that leads to an article.
#[derive(Serialize, ToSchema)]
pub struct AliasShape {
    alias: String,
    /// The key of the article.
    article: String,
    /// Comments that were moved since it was made.
    moved: i64,
    /// Whether latecomers are still looked for: for a minute or two after it was made.
    merging: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A page of aliases.
#[derive(Serialize, ToSchema)]
pub struct AliasesAnswer {
    aliases: Vec<AliasShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

/// What became of a merge.
#[derive(Serialize, ToSchema)]
pub struct MergeAnswer {
    /// Comments that were moved, public or not.
    moved: i64,
}

fn shape(row: &Article, article: &Article, moved: i64) -> AliasShape {
    AliasShape {
        alias: row.key.clone(),
        article: article.key.clone(),
        moved,
        merging: row.merging,
        created_at: row.alias_since.unwrap_or(row.created_at).to_string(),
    }
}

/// The two keys of a request.
fn keys(mut fields: Fields, names: (&'static str, &'static str)) -> Result<(ArticleKey, ArticleKey), Error> {
    let mut key = |name: &'static str| {
        let parsed = fields.required_text(name).map(|text| ArticleKey::parse(&text, name));
        parsed.transpose().map_err(|fault| fields.faults.push(fault)).ok().flatten()
    };
    let (first, second) = (key(names.0), key(names.1));
    fields.check()?;
    match (first, second) {
        (Some(first), Some(second)) => differ(&first, &second, names).map(|()| (first, second)),
        _ => Err(Error::internal("a field is missing that has no fault")),
    }
}

/// The aliases of a site's articles, by key.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/articles/aliases", tag = "Administrators", security(("account" = [])),
    params(
        ("site" = String, Path), ("cursor" = Option<String>, Query),
        ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing"),
    ),
    responses(
        (status = 200, body = AliasesAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let site = site(&request, &state, &moderator.access)?.id;
    let mut page = moderator.input;
    let (after, rows) = (page.after_key()?.unwrap_or_default(), page.rows());
    faultless(std::mem::take(&mut page.faults))?;
    let rows = state.service.db.read(move |conn| aliases::page(conn, (site, rows), &after)).await?;
    let (rows, next_cursor) = page.cut(rows, |(alias, _)| alias.key.as_bytes().to_vec());
    let aliases = rows.iter().map(|(alias, article)| shape(alias, article, alias.moved)).collect();
    Ok(private(StatusCode::OK).json(AliasesAnswer { aliases, next_cursor }))
}

/// Lets a second key lead to an article. The comments of an article that goes by this key move there, as by a merge.
#[utoipa::path(
    post, path = "/api/v1/sites/{site}/articles/aliases", tag = "Administrators", params(("site" = String, Path)),
    request_body = AliasRequest, security(("account" = [])),
    responses(
        (status = 201, description = "It was made", body = AliasShape),
        (status = 200, description = "It was there", body = AliasShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let site = site(&request, &state, &moderator.access)?;
    let (alias, article) = keys(moderator.input.0, ("alias", "article"))?;
    let made = state.service.make_alias(&site, alias, article).await?;
    let status = if made.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(private(status).json(shape(&made.row, &made.article, made.moved)))
}

/// Takes an alias away. Comments that were moved stay where they are.
#[utoipa::path(
    delete, path = "/api/v1/sites/{site}/articles/aliases", tag = "Administrators", security(("account" = [])),
    params(("site" = String, Path), ("alias" = String, Query, description = "The alias's key")),
    responses(
        (status = 204, description = "It is gone"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let site = site(&request, &state, &moderator.access)?;
    let mut faults = Vec::new();
    let Some(text) = moderator.input.pairs.one("alias", &mut faults) else {
        faults.insert(0, Fault::required("alias"));
        return Err(Error::Invalid(faults).into());
    };
    let alias = ArticleKey::parse(text, "alias").map_err(|_| Error::NotFound)?;
    state.service.remove_alias(&site, alias).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

/// Makes one article of two: the comments move with their threads, and the key of the one that goes becomes an alias. Sent
/// again it goes on, and tells how many were moved in all.
#[utoipa::path(
    post, path = "/api/v1/sites/{site}/articles/merge", tag = "Administrators", params(("site" = String, Path)),
    request_body = MergeRequest, security(("account" = [])),
    responses(
        (status = 200, body = MergeAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn merge(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let site = site(&request, &state, &moderator.access)?;
    let (from, into) = keys(moderator.input.0, ("from", "into"))?;
    let made = state.service.make_alias(&site, from, into).await?;
    Ok(private(StatusCode::OK).json(MergeAnswer { moved: made.moved }))
}

//! The articles of a site, by hand: for its moderators and for administrators. An article's key stands in the query or the
//! body, never in the path.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Moderator, RequiredObject};
use super::paging::PageQuery;
use super::queue::private;
use super::request::{Pairs, faultless};
use super::shapes::ArticleShape;
use crate::domain::fault::Fault;
use crate::domain::site::Site;
use crate::domain::submission::ArticleKey;
use crate::error::Error;
use crate::service::access::Access;
use crate::service::articles::{ArticleOrder, RawArticle};
use crate::storage::articles::{self, Article};

/// An article to be known.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct ArticleRequest {
    /// 1 to 512 characters; only when it is made.
    key: Option<String>,
    /// Null takes it away.
    title: Option<String>,
    /// On the site; null takes it away.
    url: Option<String>,
    /// Closed or opened by hand; null: by its age again.
    closed: Option<bool>,
    /// Whether visitors may change nothing on it: no comments, no edits, no votes.
    read_only: Option<bool>,
}

/// An article as those see it who look after its site.
#[derive(Serialize, ToSchema)]
pub struct KnownArticleShape {
    #[serde(flatten)]
    article: ArticleShape,
    /// Whether it was made so by hand; then it is closed as well.
    read_only: bool,
    /// When it closes by its age, or did.
    #[schema(format = DateTime)]
    closes_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A page of articles.
#[derive(Serialize, ToSchema)]
pub struct ArticlesAnswer {
    articles: Vec<KnownArticleShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

fn shape(state: &State, article: &Article) -> KnownArticleShape {
    KnownArticleShape {
        article: state.article(article, state.service.clock.now()),
        read_only: article.read_only,
        closes_at: state.service.closes_at(article).map(|at| at.to_string()),
        created_at: article.created_at.to_string(),
    }
}

/// The site of the address, if they look after it.
pub(super) fn site(request: &HttpRequest, state: &State, access: &Access) -> Result<Arc<Site>, Error> {
    let site = state.site(request)?;
    access.require(site.id)?;
    Ok(site)
}

fn read(mut fields: Fields) -> (RawArticle, Vec<Fault>) {
    let raw = RawArticle {
        title: fields.changed_text("title"),
        url: fields.changed_text("url"),
        closed: fields.changed_flag("closed"),
        read_only: fields.flag_or_fault("read_only"),
    };
    (raw, fields.finish())
}

/// The articles of a site, by key.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/articles", tag = "Administrators", security(("account" = [])),
    params(
        ("site" = String, Path), ("cursor" = Option<String>, Query),
        ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing"),
    ),
    responses(
        (status = 200, body = ArticlesAnswer),
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
    let (after, rows) = (page.after_key()?, page.rows());
    faultless(std::mem::take(&mut page.faults))?;
    let rows = state.service.db.read(move |conn| articles::page(conn, site, after.as_deref(), rows)).await?;
    let (rows, next_cursor) = page.cut(rows, |article| article.key.as_bytes().to_vec());
    let articles = rows.iter().map(|article| shape(&state, article)).collect();
    Ok(private(StatusCode::OK).json(ArticlesAnswer { articles, next_cursor }))
}

/// Makes an article known, or changes the one that is there.
#[utoipa::path(
    post, path = "/api/v1/sites/{site}/articles", tag = "Administrators", params(("site" = String, Path)),
    request_body = ArticleRequest, security(("account" = [])),
    responses(
        (status = 201, description = "It was made", body = KnownArticleShape),
        (status = 200, description = "It was known", body = KnownArticleShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let site = site(&request, &state, &moderator.access)?;
    let mut fields = moderator.input.0;
    let key = fields.required_text("key").map(|text| ArticleKey::parse(&text, "key"));
    let key = key.transpose().map_err(|fault| fields.faults.push(fault)).ok().flatten();
    let (raw, faults) = read(fields);
    let Some(key) = key else { return Err(Error::Invalid(faults).into()) };
    let (article, made) = state.service.make_article(&site, ArticleOrder { key, raw, faults }).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(private(status).json(shape(&state, &article)))
}

/// Names an article, closes it, opens it.
#[utoipa::path(
    patch, path = "/api/v1/sites/{site}/articles", tag = "Administrators", security(("account" = [])),
    params(("site" = String, Path), ("article" = String, Query, description = "The article's key")),
    request_body(content((ArticleRequest = "application/merge-patch+json"), (ArticleRequest = "application/json"))),
    responses(
        (status = 200, body = KnownArticleShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let site = site(&request, &state, &moderator.access)?;
    let (raw, mut faults) = read(moderator.input.0);
    let text = pairs.one("article", &mut faults).map(str::to_owned);
    let Some(text) = text else {
        faults.insert(0, Fault::required("article"));
        return Err(Error::Invalid(faults).into());
    };
    let key = ArticleKey::parse(&text, "article").map_err(|_| Error::NotFound)?;
    let article = state.service.change_article(&site, ArticleOrder { key, raw, faults }).await?;
    Ok(private(StatusCode::OK).json(shape(&state, &article)))
}

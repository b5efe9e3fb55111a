//! What readers get: an article's comments, counts, the newest of a site. Public, the same for everybody, and cacheable.

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::encoding::{json, wants_html};
use super::error::{ApiError, Problem};
use super::fragment;
use super::request::{self, Pairs, bad_cursor, cursor_text, faultless};
use super::shapes::{ArticleShape, ListedShape, RecentShape};
use crate::cache::{Moment, Ready};
use crate::domain::fault::Fault;
use crate::domain::ids::CommentId;
use crate::domain::listing::{Place, Sort, Source};
use crate::domain::site::Site;
use crate::domain::submission::ArticleKey;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::listing::{self, List};
use crate::storage::{articles, permalink};

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
    pub(super) article: ArticleShape,
    pub(super) comments: Vec<ListedShape>,
    /// None on the last page.
    pub(super) next_cursor: Option<String>,
}

/// An article's approved comments in reading order; with `Accept: text/html` as a piece of a page, without script.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/comments", tag = "Readers and writers", params(("site" = String, Path), ListParams),
    responses(
        (status = 200, content((ListAnswer = "application/json"), (String = "text/html"))), (status = 304, description = "Nothing changed since the ETag"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let mut faults = Vec::new();
    let sort = pairs.choice("sort", &mut faults, SORTS).unwrap_or(Sort::Oldest);
    let place = match pairs.cursor(&mut faults)? {
        Some(bytes) => Some(Place::from_bytes(&bytes, sort).ok_or_else(bad_cursor)?),
        None => None,
    };
    let site = state.site(&request)?;
    let limit = pairs.limit(&mut faults);
    let key = article_key(&pairs, &mut faults);
    let around: Option<CommentId> =
        pairs.one("around", &mut faults).map(str::parse).transpose().map_err(|_| Error::NotFound)?;
    if around.is_some() && place.is_some() {
        faults.push(Fault::new("around", "contradiction", "Give either around or cursor."));
    }
    let asked = ListQuery { sort, place, limit, around };
    let Some(key) = key else { return Err(Error::Invalid(faults).into()) };
    if !faults.is_empty() && around.is_some() {
        // That the comment is not there is told before what else is wrong.
        make_list(&state, &site, key, asked).await?;
        return Err(Error::Invalid(faults).into());
    }
    faultless(faults)?;
    if wants_html(request.headers()) {
        let make = async {
            let (list, made_at, sources, ends_at) = read_list(&state, &site, key, asked).await?;
            let html = fragment::render(&state, &site, &request, &list)?;
            Ok(Ready::new(fragment::CONTENT_TYPE, html, made_at, sources).until(ends_at))
        };
        return state.page_from_cache(&request, make).await;
    }
    state.answer_from_cache(&request, make_list(&state, &site, key, asked)).await
}

/// The orders of a list, by their names.
const SORTS: &[(&str, Sort)] = &[("oldest", Sort::Oldest), ("newest", Sort::Newest), ("top", Sort::Top)];

/// Which page of a list.
struct ListQuery {
    sort: Sort,
    place: Option<Place>,
    limit: i64,
    around: Option<CommentId>,
}

async fn make_list(state: &State, site: &Site, key: ArticleKey, asked: ListQuery) -> Result<Ready, ApiError> {
    let (list, made_at, sources, ends_at) = read_list(state, site, key, asked).await?;
    Ok(Ready::new("application/json", json(&list)?, made_at, sources).until(ends_at))
}

/// A page of the list, when it was read, what it was made from, and when it is true no longer.
async fn read_list(
    state: &State,
    site: &Site,
    key: ArticleKey,
    asked: ListQuery,
) -> Result<(ListAnswer, Moment, Vec<Source>, Option<Timestamp>), ApiError> {
    let (id, made_at) = (site.id, state.cache.changes.now());
    let (article_key, around) = (key.clone(), asked.around);
    let found = state
        .service
        .db
        .read_for_everybody(move |conn| {
            let Some(named) = articles::find_named(conn, id, article_key.as_str())? else { return Ok(None) };
            let list = List { article: named.article.id, sort: asked.sort, limit: asked.limit };
            let page = match asked.around {
                Some(id) => permalink::page_around(conn, list, id)?.ok_or(Error::NotFound)?,
                None => listing::page(conn, list, asked.place.as_ref())?,
            };
            Ok(Some((named, page)))
        })
        .await?;
    let now = state.service.clock.now();
    let ends_at =
        found.as_ref().and_then(|(named, _)| state.service.closes_at(&named.article)).filter(|end| *end > now);
    let sources = found.as_ref().map_or_else(|| vec![Source::NewArticles(id)], |(named, _)| named.sources());
    let answer = match found {
        Some((named, page)) => ListAnswer {
            article: state.article(&named.article, now),
            next_cursor: page.next.map(|place| cursor_text(&place.to_bytes())),
            comments: page.comments.into_iter().map(|row| state.listed(id, row)).collect(),
        },
        None if around.is_some() => return Err(Error::NotFound.into()),
        None => {
            ListAnswer { article: ArticleShape::unknown(key.as_str(), site), comments: Vec::new(), next_cursor: None }
        }
    };
    Ok((answer, made_at, sources, ends_at))
}

/// The article that the query names.
pub fn article_key(pairs: &Pairs, faults: &mut Vec<Fault>) -> Option<ArticleKey> {
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
    let keys = pairs.all("article");
    faultless(key_faults("article", &keys))?;
    let make = async {
        let made_at = state.cache.changes.now();
        let (answer, sources) = count(&state, &site, keys).await?;
        Ok(Ready::new("application/json", json(&answer)?, made_at, sources))
    };
    state.answer_from_cache(&request, make).await
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
pub async fn counts_by_body(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let mut fields = request::read_json(&request, payload).await?;
    let site = state.site(&request)?;
    let keys = fields.required_texts("articles");
    if let Some(keys) = &keys {
        fields.faults.extend(key_faults("articles", keys));
    }
    fields.check()?;
    let (answer, _) = count(&state, &site, keys.unwrap_or_default()).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(answer))
}

/// Keys that are counted at once, at most.
const MOST_KEYS: usize = 100;

/// What is wrong with the keys: one fault for each that is none, with its place in the list.
fn key_faults(field: &'static str, keys: &[String]) -> Vec<Fault> {
    if keys.is_empty() {
        return vec![Fault::required(field)];
    }
    if keys.len() > MOST_KEYS {
        return vec![Fault::new(field, "too_many", format!("At most {MOST_KEYS} articles at once."))];
    }
    let wrong = |(at, key): (usize, &String)| {
        let fault = ArticleKey::parse(key, field).err()?;
        Some(Fault { message: format!("Entry {}: {}", at + 1, fault.message).into(), ..fault })
    };
    keys.iter().enumerate().filter_map(wrong).collect()
}

async fn count(state: &State, site: &Site, mut keys: Vec<String>) -> Result<(CountsAnswer, Vec<Source>), ApiError> {
    keys.sort_unstable();
    keys.dedup();
    let mut counts: BTreeMap<String, i64> = keys.iter().map(|key| (key.clone(), 0)).collect();
    let site = site.id;
    let found = state.service.db.read_for_everybody(move |conn| articles::counts(conn, site, &keys)).await?;
    let mut sources: Vec<Source> = found.iter().flat_map(|counted| counted.sources.iter().copied()).collect();
    if found.len() < counts.len() {
        sources.push(Source::NewArticles(site));
    }
    counts.extend(found.into_iter().map(|counted| (counted.key, counted.count)));
    Ok((CountsAnswer { counts }, sources))
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
    faultless(faults)?;
    let id = site.id;
    let make = async {
        let made_at = state.cache.changes.now();
        let rows = state.service.db.read_for_everybody(move |conn| listing::recent(conn, id, limit)).await?;
        let now = state.service.clock.now();
        let ends = rows.iter().filter_map(|(_, article)| state.service.closes_at(article));
        let ends_at = ends.filter(|end| *end > now).min();
        let comments = rows.into_iter().map(|(row, article)| state.recent(id, (row, &article), now)).collect();
        let answer = RecentAnswer { comments, next_cursor: None };
        Ok(Ready::new("application/json", json(&answer)?, made_at, vec![Source::Site(id)]).until(ends_at))
    };
    state.answer_from_cache(&request, make).await
}

//! The comments of an article while they arrive: what becomes public, changes and goes, told to every reader who has the
//! article open. Votes are no events: a list that is loaded anew shows them. What is not public is nobody's business.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Serialize;

use super::State;
use super::error::{ApiError, Problem};
use super::reading::article_key;
use super::request::{self, Pairs, faultless};
use super::shapes::PublicShape;
use super::stream::{Listener, MOST_MISSED, opened};
use crate::domain::fault::Fault;
use crate::domain::ids::SiteId;
use crate::error::Error;
use crate::live::{Frame, Who, readers};
use crate::storage::events::Event;
use crate::storage::follow;
use crate::storage::seen::{self, Change, Seen};

/// Browsers come back after two to ten seconds, each after another time: thousands whose stream ends in one moment do not
/// meet again.
const COMES_BACK_MS: std::ops::Range<u128> = 2_000..10_000;

/// A comment that is public.
#[derive(Serialize)]
struct Arrived<'a> {
    #[serde(flatten)]
    comment: PublicShape,
    article: &'a str,
}

/// A comment that is no more.
#[derive(Serialize)]
struct Gone<'a> {
    id: String,
    article: &'a str,
}

/// What happens to an article's comments while it happens: `published` and `changed` with the comment and its `article`,
/// `removed` with `id` and `article`. After `reset` the list is to be loaded anew. Open the stream first and load the list
/// then: nothing falls between them. After a reconnection an event may come once more.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/stream", tag = "Readers and writers",
    params(
        ("site" = String, Path), ("article" = String, Query, description = "The article's key"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received"),
    ),
    responses(
        (status = 200, description = "data: a public comment with its article, or {\"id\", \"article\"}", body = String, content_type = "text/event-stream"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "All places are taken", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn stream(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let site = state.site(&request)?;
    let mut faults: Vec<Fault> = Vec::new();
    let key = article_key(&pairs, &mut faults);
    faultless(faults)?;
    if *request.method() == Method::HEAD {
        return Ok(opened().finish());
    }
    let key = key.map_or_else(String::new, |key| key.as_str().to_owned());
    let topic = readers::topic(site.id, &key);
    let who = Who::Reader(request::client(&request, &state).host());
    let position = state.service.position().await?;
    let subscription = state.live.listen(who, vec![topic]).await?;
    let span = COMES_BACK_MS.end - COMES_BACK_MS.start;
    // The random part of an id is random enough for this.
    let retry = COMES_BACK_MS.start + state.service.ids.next().as_u128() % span;
    let mut listener = Listener::new(state.clone(), subscription, format!("retry: {retry}\n\n").into());
    let missed = match request.headers().get("last-event-id") {
        Some(last) => missed(&state, last.to_str().unwrap_or_default(), (site.id, key)).await?,
        None => Some(Vec::new()),
    };
    match missed {
        Some(changes) => listener.catch_up(changes.into_iter().map(Frame::of_change), &position),
        None => listener.reset(&position),
    }
    Ok(listener.answer())
}

/// What readers of an article missed; none when that is not known, or too much.
async fn missed(state: &State, last: &str, (site, key): (SiteId, String)) -> Result<Option<Vec<Change>>, Error> {
    let Some(last) = state.service.entry_named(last) else { return Ok(None) };
    state
        .service
        .db
        .read(move |conn| {
            let Some(ids) = follow::missed(conn, last, MOST_MISSED)? else { return Ok(None) };
            let entries: Vec<Event> = follow::entries(conn, &ids)?.into_iter().map(|entry| entry.event).collect();
            seen::changes_of(conn, (site, &key), &entries).map(Some)
        })
        .await
}

/// A change as it stands in the streams.
pub fn written(state: &State, change: &Change) -> Bytes {
    let Change { id, site, article, comment, seen, .. } = change;
    let arrived = |site: SiteId, row| serde_json::to_string(&Arrived { comment: state.public(site, row), article });
    let (event, data) = match seen {
        Seen::Published(row) => ("published", arrived(*site, (**row).clone())),
        Seen::Changed(row) => ("changed", arrived(*site, (**row).clone())),
        Seen::Removed => ("removed", serde_json::to_string(&Gone { id: comment.to_string(), article })),
    };
    // JSON has no line breaks of its own, so it is one line of the stream.
    format!("id: {id}\nevent: {event}\ndata: {}\n\n", data.unwrap_or_default()).into()
}

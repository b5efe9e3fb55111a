//! Server-sent events (WHATWG HTML §9.2): the moderators' queue while it happens, and what all streams have in common. A
//! listener that comes back with `Last-Event-ID` gets what it missed from the log first. A stream ends when the service
//! stops, when the listener does not keep up, and within a heartbeat after its token or session lost its rights.

use std::collections::{HashSet, VecDeque};

use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::stream;
use tokio::time::Interval;

use super::State;
use super::arriving;
use super::error::{ApiError, Problem};
use super::moderator::{Moderator, NoBody};
use super::queue::private;
use super::signed_in;
use crate::domain::ids::{EventId, SiteId};
use crate::error::Error;
use crate::live::{Frame, Subscription, Topic, Who, queue};
use crate::service::access::{Access, Credentials, Pass};
use crate::storage::follow::{self, Happened};

/// Entries of the log that are read again, at most; whoever missed more loads everything anew.
pub const MOST_MISSED: i64 = 1000;

/// Browsers come back after this many milliseconds.
const OPENING: &str = "retry: 2000\n\n";

/// A sign of life.
const HEARTBEAT: &[u8] = b":\n\n";

/// What happens in the queue while it happens: `held`, `decided`, `edited`, `removed`. After `reset` the queue is to be
/// loaded anew. After a reconnection an event may come once more.
#[utoipa::path(
    get, path = "/api/v1/moderation/stream", tag = "Moderators", security(("account" = [])),
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received")),
    responses(
        (status = 200, description = "data: {\"id\", \"site\", \"status\", \"version\", \"by\"}", body = String, content_type = "text/event-stream"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "All places are taken", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn queue(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<NoBody>,
) -> Result<HttpResponse, ApiError> {
    if *request.method() == Method::HEAD {
        return Ok(opened().finish());
    }
    let access = moderator.access;
    let topics = match access.site_filter() {
        None => vec![Topic::AllQueues],
        Some(sites) => sites.into_iter().map(Topic::Queue).collect(),
    };
    // First the end of the log, then a place among the listeners, then the past: nothing falls between them.
    let position = state.service.position().await?;
    let subscription = state.live.listen(Who::Account(access.account), topics).await?;
    let mut listener = Listener::new(state.clone(), subscription, OPENING.into());
    let missed = match request.headers().get("last-event-id") {
        Some(last) => missed(&state, &access, last.to_str().unwrap_or_default()).await?,
        None => Some(Vec::new()),
    };
    match missed {
        Some(entries) => listener.catch_up(entries.iter().map(queue::frame), &position),
        None => listener.reset(&position),
    }
    let pass = signed_in::pass(&request, &state)?.ok_or_else(|| Error::internal("a moderator without a pass"))?;
    Ok(listener.with_rights(access, pass).answer())
}

/// The head of a stream.
pub fn opened() -> HttpResponseBuilder {
    let mut response = private(StatusCode::OK);
    response
        .content_type("text/event-stream")
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"));
    response
}

/// What was missed of the sites that they may see; none when that is not known, or too much.
async fn missed(state: &State, access: &Access, last: &str) -> Result<Option<Vec<Happened>>, Error> {
    let Some(last) = state.service.entry_named(last) else { return Ok(None) };
    let entries = state.service.db.read(move |conn| {
        let Some(ids) = follow::missed(conn, last, MOST_MISSED)? else { return Ok(None) };
        follow::entries(conn, &ids).map(Some)
    });
    let mut entries = entries.await?;
    if let Some(entries) = &mut entries {
        entries.retain(|entry| access.covers(entry.event.site_id));
    }
    Ok(entries)
}

/// What a stream goes on with.
#[derive(Debug, PartialEq, Eq)]
enum Next<T> {
    Stop,
    Beat,
    Frame(T),
}

/// The heartbeat goes before frames: the rights are looked at with it, and frames may come without end.
async fn first<T>(stop: impl Future, beat: impl Future, frame: impl Future<Output = T>) -> Next<T> {
    tokio::select! {
        biased;
        _ = stop => Next::Stop,
        _ = beat => Next::Beat,
        frame = frame => Next::Frame(frame),
    }
}

/// One open stream.
pub struct Listener {
    state: web::Data<State>,
    subscription: Subscription,
    heartbeat: Interval,
    /// What goes out first.
    waiting: VecDeque<Bytes>,
    /// What was given again from the log, and may come once more.
    told: HashSet<EventId>,
    /// By which right it listens, and what stands for it; none: what it hears is public.
    rights: Option<(Access, Pass)>,
}

impl Listener {
    /// A stream that begins with `opening`.
    pub fn new(state: web::Data<State>, subscription: Subscription, opening: Bytes) -> Self {
        let every = state.live.heartbeat;
        let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (waiting, told) = (VecDeque::from([opening]), HashSet::new());
        Self { state, subscription, heartbeat, waiting, told, rights: None }
    }

    /// Ends it when the token or the session loses these rights.
    fn with_rights(self, access: Access, pass: Pass) -> Self {
        Self { rights: Some((access, pass)), ..self }
    }

    /// Gives first what was missed, and then says where the log stood before this listened: whoever hears nothing else comes
    /// back with that, and misses nothing.
    pub fn catch_up(&mut self, missed: impl Iterator<Item = Frame>, position: &str) {
        for frame in missed {
            self.told.insert(frame.id);
            self.waiting.push_back(self.bytes(&frame));
        }
        self.waiting.push_back(format!("id: {position}\n\n").into());
    }

    /// Says first that there is too much to tell one by one, or that the last event is not known: everything is to be loaded
    /// anew, as it is after this position.
    pub fn reset(&mut self, position: &str) {
        self.waiting.push_back(format!("id: {position}\nevent: reset\ndata: {{}}\n\n").into());
    }

    /// The stream as an answer.
    pub fn answer(self) -> HttpResponse {
        opened().streaming(stream::unfold(self, |mut listener| async {
            let bytes = listener.next().await?;
            Some((Ok::<_, actix_web::Error>(bytes), listener))
        }))
    }

    fn bytes(&self, frame: &Frame) -> Bytes {
        frame.bytes(|change| arriving::written(&self.state, change))
    }

    /// The next piece; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.waiting.pop_front() {
            return Some(bytes);
        }
        loop {
            match first(self.state.live.stop.cancelled(), self.heartbeat.tick(), self.subscription.next()).await {
                Next::Stop | Next::Frame(None) => return None,
                Next::Beat => return self.may_go_on().await.then_some(Bytes::from_static(HEARTBEAT)),
                Next::Frame(Some(frame)) => {
                    if !self.told.remove(&frame.id) {
                        return Some(self.bytes(&frame));
                    }
                }
            }
        }
    }

    /// Whether the token or the session still stands for the same rights. Whoever has others now comes back with them.
    async fn may_go_on(&self) -> bool {
        let Some((granted, pass)) = &self.rights else { return true };
        let sites = |access: &Access| -> (_, Vec<SiteId>) { (access.role, access.sites.clone()) };
        match self.state.service.credentials(pass).await {
            Ok(Some(Credentials { access, .. })) => sites(&access) == sites(granted),
            Ok(None) => false,
            // The database is away; nobody knows better.
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn frames_without_end_do_not_starve_the_heartbeat() {
        assert_eq!(first(pending::<()>(), ready(()), ready("frame")).await, Next::Beat);
        assert_eq!(first(pending::<()>(), pending::<()>(), ready("frame")).await, Next::Frame("frame"));
        assert_eq!(first(ready(()), ready(()), ready("frame")).await, Next::Stop);
    }
}

//! The figures of this process, put together when Prometheus asks for them: at our own address for administrators, or
//! without a token on a socket of their own. What only the database knows is read then; when it does not answer in time,
//! these figures are unknown (`NaN`) and everything else is told all the same.

use std::time::Duration;

use actix_web::guard::GuardContext;
use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::error::Problem;
use super::moderator::Administrator;
use super::{State, get};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::metrics::CONTENT_TYPE;
use crate::storage::outbox::{self, Depth};
use crate::storage::{Conn, queue, waiting, webhook_queue};

/// The database has this long to answer; Prometheus itself waits ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the process measures of itself, as Prometheus reads it. Not here when the setting `metrics.listen` gives it a socket
/// of its own.
#[utoipa::path(
    get, path = "/metrics", tag = "Operators", security(("account" = [])),
    responses(
        (status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain; version=0.0.4"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The token cannot be looked up now", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn figures(state: web::Data<State>, _: Administrator) -> HttpResponse {
    told(&state).await
}

/// The same on a socket of their own.
async fn figures_apart(state: web::Data<State>) -> HttpResponse {
    told(&state).await
}

/// All there is on the socket of their own.
pub fn metrics_routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/metrics").route(get().to(figures_apart)));
}

/// Whether the figures stand at the service's own address.
pub fn are_here(context: &GuardContext<'_>) -> bool {
    context.app_data::<web::Data<State>>().is_some_and(|state| !state.metrics_apart)
}

async fn told(state: &State) -> HttpResponse {
    measure_database(state).await;
    let (metrics, written) = (&state.metrics, state.service.db.written());
    for (ring, refused) in state.rings.refused() {
        metrics.counted_by("afterword_limited_total", ("ring", ring), refused);
    }
    metrics.counted("afterword_limit_overflows_total", state.rings.overflows());
    metrics.counted("afterword_shared_limit_failures_total", state.rings.shared_failures());
    metrics.counted("afterword_cache_misses_total", state.cache.made());
    metrics.counted("afterword_writer_groups_total", written.groups);
    metrics.counted("afterword_writer_jobs_total", written.jobs);
    metrics.set("afterword_cache_bytes", Some(float(state.cache.bytes())));
    let (moderators, readers) = state.live.listeners();
    metrics.set("afterword_streams", Some(float(moderators as u64)));
    metrics.set("afterword_reader_streams", Some(float(readers as u64)));
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(metrics.text())
}

/// What only the database knows.
struct Waiting {
    pending: i64,
    oldest_pending: Option<Timestamp>,
    outbox: Depth,
    oldest_work: Option<Timestamp>,
    webhooks: (i64, Option<Timestamp>),
}

fn look(conn: &mut Conn) -> Result<Waiting, Error> {
    Ok(Waiting {
        pending: waiting::counts(conn, None)?.values().sum(),
        oldest_pending: queue::oldest_pending(conn, None)?.map(|comment| comment.created_at),
        outbox: outbox::depth(conn)?,
        oldest_work: outbox::oldest_waiting(conn)?,
        webhooks: webhook_queue::waiting(conn)?,
    })
}

async fn measure_database(state: &State) {
    let read = tokio::time::timeout(PATIENCE, state.service.db.read(look)).await;
    let waiting = read.ok().and_then(Result::ok);
    let now = state.service.clock.now();
    let age = |since: Option<Timestamp>| since.map_or(0.0, |since| now.since(since).as_secs_f64());
    let count = |rows: i64| float(rows.unsigned_abs());
    let tell = |name, figure: &dyn Fn(&Waiting) -> f64| state.metrics.set(name, waiting.as_ref().map(figure));
    tell("afterword_queue_pending", &|waiting| count(waiting.pending));
    tell("afterword_queue_oldest_pending_seconds", &|waiting| age(waiting.oldest_pending));
    tell("afterword_outbox_waiting", &|waiting| count(waiting.outbox.waiting));
    tell("afterword_outbox_failed", &|waiting| count(waiting.outbox.failed));
    tell("afterword_outbox_oldest_seconds", &|waiting| age(waiting.oldest_work));
    tell("afterword_webhook_waiting", &|waiting| count(waiting.webhooks.0));
    tell("afterword_webhook_oldest_seconds", &|waiting| age(waiting.webhooks.1));
    state.metrics.set("afterword_database_up", Some(f64::from(u8::from(waiting.is_some()))));
}

/// Prometheus counts in floating point; above 2^53 it is exact no more, and nothing here comes near.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn float(count: u64) -> f64 {
    count as f64
}

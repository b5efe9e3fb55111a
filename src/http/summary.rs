//! How much waits, where and since when, and how the last days went: what a moderator wants to know before anything else.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::moderator::{Input, Moderator};
use super::queue::private;
use super::request::{Pairs, faultless};
use crate::domain::fault::Fault;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::days::{self, Came};
use crate::storage::{queue, site_counts};

/// The unit of the picture.
const DAY: Duration = Duration::from_hours(24);

/// Days that can be asked for: a quarter of a year.
const DAYS_MAX: u32 = 92;

/// How many comments stand in each state.
#[derive(Serialize, ToSchema, Default)]
pub struct StatusCounts {
    pending: i64,
    approved: i64,
    rejected: i64,
    spam: i64,
}

/// The comments that came on one day (UTC) and are still there, by where they stand now.
#[derive(Serialize, ToSchema)]
pub struct DayShape {
    #[schema(format = Date)]
    date: String,
    /// All of them, those that wait included.
    received: i64,
    approved: i64,
    rejected: i64,
    spam: i64,
}

impl DayShape {
    fn new(day: Timestamp, Came { pending, approved, rejected, spam }: Came) -> Self {
        let date = day.to_string().chars().take_while(|letter| *letter != 'T').collect();
        Self { date, received: pending + approved + rejected + spam, approved, rejected, spam }
    }
}

/// The state of the sites.
#[derive(Serialize, ToSchema)]
pub struct SummaryAnswer {
    /// Over all sites that the caller may see.
    counts: StatusCounts,
    /// By site key.
    sites: BTreeMap<String, StatusCounts>,
    /// When the oldest waiting comment came.
    #[schema(format = DateTime)]
    oldest_pending_at: Option<String>,
    /// Its age in seconds.
    oldest_pending_age: Option<u64>,
    /// When `days` asks for them: so many days, the oldest first, today last.
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<Vec<DayShape>>,
}

/// How many days were asked for.
pub struct SummaryQuery {
    days: Option<u32>,
    faults: Vec<Fault>,
}

impl Input for SummaryQuery {
    async fn read(request: &HttpRequest, _: web::Payload) -> Result<Self, ApiError> {
        let (pairs, mut faults) = (Pairs::of(request)?, Vec::new());
        let days = pairs.one("days", &mut faults).map(str::parse::<u32>);
        let days = days.map(|days| days.ok().filter(|days| (1..=DAYS_MAX).contains(days)));
        if days == Some(None) {
            let range = format!("It must be a whole number from 1 to {DAYS_MAX}.");
            faults.push(Fault::new("days", "out_of_range", range));
        }
        Ok(Self { days: days.flatten(), faults })
    }
}

/// Counts by state and site, and the age of the oldest comment that waits.
#[utoipa::path(
    get, path = "/api/v1/moderation/summary", tag = "Moderators", security(("account" = [])),
    params(("days" = Option<u8>, Query, description = "1 to 92: what came on each of the last days as well")),
    responses(
        (status = 200, body = SummaryAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn summary(state: web::Data<State>, moderator: Moderator<SummaryQuery>) -> Result<HttpResponse, ApiError> {
    let SummaryQuery { days, faults } = moderator.input;
    faultless(faults)?;
    let filter = moderator.access.site_filter();
    let now = state.service.clock.now();
    let (rows, oldest, days) = state
        .service
        .db
        .read(move |conn| {
            let filter = filter.as_deref();
            let days = days.map(|days| {
                last_days(now, days)
                    .map(|day| Ok(DayShape::new(day, days::came(conn, filter, day, day.plus(DAY))?)))
                    .collect::<Result<Vec<_>, Error>>()
            });
            let days = days.transpose()?;
            Ok((site_counts::of(conn, filter)?, queue::oldest_pending(conn, filter)?, days))
        })
        .await?;
    let mut counts = StatusCounts::default();
    let mut by_site = BTreeMap::new();
    for row in rows {
        counts.pending += row.pending;
        counts.approved += row.approved;
        counts.rejected += row.rejected;
        counts.spam += row.spam;
        let own = StatusCounts { pending: row.pending, approved: row.approved, rejected: row.rejected, spam: row.spam };
        if let Ok(site) = state.service.sites.by_id(row.site_id) {
            by_site.insert(site.key.as_str().to_owned(), own);
        }
    }
    let oldest = oldest.map(|comment| comment.created_at);
    Ok(private(StatusCode::OK).json(SummaryAnswer {
        counts,
        sites: by_site,
        oldest_pending_at: oldest.map(|at| at.to_string()),
        oldest_pending_age: oldest.map(|at| now.since(at).as_secs()),
        days,
    }))
}

/// The beginnings of so many days in UTC, today's last.
fn last_days(now: Timestamp, days: u32) -> impl Iterator<Item = Timestamp> {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    let today = Timestamp(now.0 - now.0.rem_euclid(day));
    (0..days).rev().map(move |ago| today.minus(DAY * ago))
}

//! What this process measures of itself, told in Prometheus' text format. A label is one of a few words that are known
//! beforehand: a method, the pattern of a route, a class of statuses, a ring. Paths, ids, sites' keys and whatever else
//! visitors choose are refused here: they would say who reads what, and would fill the memory. Nothing is global, because
//! tests run many services in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio_util::sync::CancellationToken;

use crate::domain::webhook::Delivered;
use crate::error::Error;

/// The type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the histogram of requests, in seconds: from a look into memory to the longest that a client waits.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Measured times lie apart until they are sorted into the histogram; this often, so that they do not pile up when nobody
/// scrapes.
const SORTING: Duration = Duration::from_secs(5);

const REQUESTS: &str = "afterword_requests_total";
const REQUEST_SECONDS: &str = "afterword_request_seconds";
const SUBMITTED: &str = "afterword_comments_submitted_total";
const MAILS: &str = "afterword_mails_total";
const DELIVERIES: &str = "afterword_webhook_deliveries_total";
const CACHE_HITS: &str = "afterword_cache_hits_total";

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What each of them means.
const MEANINGS: [(Kind, &str, &str); 25] = [
    (Kind::Counter, REQUESTS, "Requests by method, pattern of the route and class of the status."),
    (Kind::Histogram, REQUEST_SECONDS, "Seconds until the answer was made, without answers that lay ready."),
    (Kind::Counter, SUBMITTED, "New comments that were stored, held or published."),
    (Kind::Counter, "afterword_limited_total", "What a rate limit refused, by the ring with the longest wait."),
    (Kind::Counter, "afterword_limit_overflows_total", "How often a ring was too full to remember a newcomer."),
    (
        Kind::Counter,
        "afterword_shared_limit_failures_total",
        "How often an instance went by its own limits, as the shared ones failed.",
    ),
    (Kind::Gauge, "afterword_queue_pending", "Comments and edits that wait for a moderator."),
    (Kind::Gauge, "afterword_queue_oldest_pending_seconds", "Age of the oldest comment that waits; 0 without one."),
    (Kind::Gauge, "afterword_outbox_waiting", "Work in the outbox that is due now or later."),
    (Kind::Gauge, "afterword_outbox_failed", "Work in the outbox that was given up."),
    (Kind::Gauge, "afterword_outbox_oldest_seconds", "Age of the oldest work that waits in the outbox; 0 without any."),
    (Kind::Counter, MAILS, "Attempts to send a mail, by how they ended."),
    (Kind::Gauge, "afterword_streams", "Moderators' event streams that are open."),
    (Kind::Gauge, "afterword_reader_streams", "Readers' event streams that are open."),
    (Kind::Counter, DELIVERIES, "Attempts to deliver an event to a webhook, by how they ended."),
    (Kind::Gauge, "afterword_webhook_waiting", "Events that wait for webhooks."),
    (
        Kind::Gauge,
        "afterword_webhook_oldest_seconds",
        "Age of the oldest event that waits for a webhook; 0 without any.",
    ),
    (Kind::Gauge, "afterword_cache_bytes", "Bytes of answers that lie ready."),
    (Kind::Counter, CACHE_HITS, "Answers that lay ready."),
    (Kind::Counter, "afterword_cache_misses_total", "Answers to readers that had to be made."),
    (Kind::Counter, "afterword_writer_groups_total", "Groups of writes, each of them committed together."),
    (Kind::Counter, "afterword_writer_jobs_total", "Writes in these groups."),
    (Kind::Gauge, "afterword_database_up", "1 when the database answered this scrape, 0 when not."),
    (Kind::Gauge, "afterword_build_info", "1; the label says which version runs."),
    (Kind::Gauge, "afterword_process_resident_bytes", "Memory of the process."),
];

/// Routes whose answers may lie ready, by the last part of their address. The last one is for spellings like `%63ounts`.
const READY_ROUTES: [(&str, &str); 5] = [
    ("comments", "/api/v1/sites/{site}/comments"),
    ("counts", "/api/v1/sites/{site}/counts"),
    ("recent", "/api/v1/sites/{site}/recent"),
    ("feed.atom", "/api/v1/sites/{site}/feed.atom"),
    ("", "-"),
];

/// Answers of one route that lay ready: `GET` in full, `GET` with 304, then the same of `HEAD`.
type ReadyCounts = [AtomicU64; 4];

/// Everything that is counted and measured.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    ready: [ReadyCounts; 5],
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Its method.
    pub method: &'a str,
    /// The pattern of its route, `-` without one; never the path.
    pub route: &'a str,
    /// The status of the answer.
    pub status: u16,
}

/// How an attempt to send a mail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailResult {
    /// The mail left.
    Sent,
    /// It will be tried again.
    Later,
    /// It will not.
    GivenUp,
}

impl MailResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Later => "later",
            Self::GivenUp => "given_up",
        }
    }
}

impl Metrics {
    /// Counters at zero.
    pub fn new() -> Result<Self, Error> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.to_owned()), &SECONDS)
            .map_err(|error| Error::internal(error.to_string()))?
            .build_recorder();
        for (kind, name, meaning) in MEANINGS {
            match kind {
                Kind::Counter => recorder.describe_counter(name.into(), None, meaning.into()),
                Kind::Gauge => recorder.describe_gauge(name.into(), None, meaning.into()),
                Kind::Histogram => recorder.describe_histogram(name.into(), None, meaning.into()),
            }
        }
        let metrics = Self { handle: recorder.handle(), recorder, ready: Default::default() };
        // What has not happened yet is told as 0: a rate of what appears later would miss the first one.
        for outcome in ["held", "published"] {
            metrics.add(SUBMITTED, vec![Label::new("outcome", outcome)], 0);
        }
        for result in [MailResult::Sent, MailResult::Later, MailResult::GivenUp] {
            metrics.add(MAILS, vec![Label::new("result", result.as_str())], 0);
        }
        for end in Delivered::ALL {
            metrics.add(DELIVERIES, vec![Label::new("result", end.as_str())], 0);
        }
        metrics.set_labelled("afterword_build_info", ("version", env!("CARGO_PKG_VERSION")), 1.0);
        Ok(metrics)
    }

    /// Counts an answer that lay ready. Nearly all requests come through here: one relaxed addition, and no clock is read.
    pub fn answered_from_cache(&self, path: &str, is_head: bool, is_known: bool) {
        let last = path.rsplit('/').next().unwrap_or_default();
        let route = READY_ROUTES.iter().position(|(end, _)| *end == last).unwrap_or(READY_ROUTES.len() - 1);
        let way = usize::from(is_head) * 2 + usize::from(is_known);
        if let Some(count) = self.ready.get(route).and_then(|counts| counts.get(way)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that was answered otherwise, and the time that it took.
    pub fn answered(&self, request: Answered<'_>, took: Duration) {
        let labels = vec![Label::new("method", method(request.method)), Label::new("route", request.route.to_owned())];
        let key = Key::from_parts(REQUEST_SECONDS, labels.clone());
        self.recorder.register_histogram(&key, &METADATA).record(took.as_secs_f64());
        self.add_requests(labels, status_class(request.status), 1);
    }

    /// Counts a new comment.
    pub fn submitted(&self, is_published: bool) {
        self.add(SUBMITTED, vec![Label::new("outcome", if is_published { "published" } else { "held" })], 1);
    }

    /// Counts an attempt to send a mail.
    pub fn mail(&self, result: MailResult) {
        self.add(MAILS, vec![Label::new("result", result.as_str())], 1);
    }

    /// Counts an attempt to deliver an event to a webhook.
    pub fn webhook(&self, end: Delivered) {
        self.add(DELIVERIES, vec![Label::new("result", end.as_str())], 1);
    }

    /// Tells what somebody else has counted since the start.
    pub fn counted(&self, name: &'static str, count: u64) {
        self.recorder.register_counter(&Key::from_static_name(name), &METADATA).absolute(count);
    }

    /// Tells what somebody else has counted since the start, under a label.
    pub fn counted_by(&self, name: &'static str, label: (&'static str, &'static str), count: u64) {
        let key = Key::from_parts(name, vec![Label::new(label.0, label.1)]);
        self.recorder.register_counter(&key, &METADATA).absolute(count);
    }

    /// Tells what something is now; none: nobody knows.
    pub fn set(&self, name: &'static str, value: Option<f64>) {
        self.recorder.register_gauge(&Key::from_static_name(name), &METADATA).set(value.unwrap_or(f64::NAN));
    }

    /// The text.
    pub fn text(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.set("afterword_process_resident_bytes", Some(bytes));
        }
        self.collect_ready();
        self.handle.render()
    }

    /// Keeps what was measured small until it is told to stop.
    pub async fn keep_small(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(SORTING) => self.handle.run_upkeep(),
            }
        }
    }

    /// Brings the answers that lay ready to the other requests. Each is taken once, also when two scrapes meet.
    fn collect_ready(&self) {
        let mut all = 0;
        for ((_, route), counts) in READY_ROUTES.iter().zip(&self.ready) {
            let ways = [("GET", "2xx"), ("GET", "3xx"), ("HEAD", "2xx"), ("HEAD", "3xx")];
            for ((method, class), count) in ways.into_iter().zip(counts) {
                let count = count.swap(0, Ordering::Relaxed);
                if count > 0 {
                    self.add_requests(vec![Label::new("method", method), Label::new("route", *route)], class, count);
                }
                all += count;
            }
        }
        self.add(CACHE_HITS, Vec::new(), all);
    }

    fn add_requests(&self, mut labels: Vec<Label>, class: &'static str, count: u64) {
        labels.push(Label::new("status", class));
        self.add(REQUESTS, labels, count);
    }

    fn add(&self, name: &'static str, labels: Vec<Label>, count: u64) {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA).increment(count);
    }

    fn set_labelled(&self, name: &'static str, label: (&'static str, &'static str), value: f64) {
        let key = Key::from_parts(name, vec![Label::new(label.0, label.1)]);
        self.recorder.register_gauge(&key, &METADATA).set(value);
    }
}

/// The exporter wants to know who measures; it is always us.
static METADATA: Metadata<'static> = Metadata::new("afterword", Level::INFO, None);

/// A method that we have; clients may send any word.
fn method(name: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or("other")
}

fn status_class(status: u16) -> &'static str {
    match status {
        0..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// What the process holds in memory; none where the system does not tell it this way.
fn resident_bytes() -> Option<f64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_in(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kibibytes) * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of the line that begins so.
    fn value(text: &str, start: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(start)?.trim().parse().ok())
    }

    #[test]
    fn what_lay_ready_is_added_to_the_other_requests() {
        let metrics = Metrics::new().unwrap();
        let list = Answered { method: "GET", route: "/api/v1/sites/{site}/comments", status: 200 };
        metrics.answered(list, Duration::from_millis(3));
        for _ in 0..5 {
            metrics.answered_from_cache("/api/v1/sites/blog/comments", false, false);
        }
        metrics.answered_from_cache("/api/v1/sites/blog/%63ounts", true, true);
        let listed = "afterword_requests_total{method=\"GET\",route=\"/api/v1/sites/{site}/comments\",status=\"2xx\"}";
        for text in [metrics.text(), metrics.text()] {
            assert_eq!(value(&text, listed), Some(6.0), "{text}");
            let other = "afterword_requests_total{method=\"HEAD\",route=\"-\",status=\"3xx\"}";
            assert_eq!(value(&text, other), Some(1.0), "{text}");
            assert_eq!(value(&text, "afterword_cache_hits_total"), Some(6.0), "{text}");
            assert!(!text.contains("blog"), "{text}");
        }
    }

    #[test]
    fn times_lie_in_their_buckets() {
        let metrics = Metrics::new().unwrap();
        let sent = Answered { method: "BREW", route: "-", status: 501 };
        for millis in [0, 3, 3, 20_000] {
            metrics.answered(sent, Duration::from_millis(millis));
        }
        let text = metrics.text();
        let bucket = |bound: &str| {
            value(&text, &format!("afterword_request_seconds_bucket{{method=\"other\",route=\"-\",le=\"{bound}\"}}"))
        };
        assert_eq!((bucket("0.001"), bucket("0.0025"), bucket("0.005")), (Some(1.0), Some(1.0), Some(3.0)), "{text}");
        assert_eq!((bucket("10"), bucket("+Inf")), (Some(3.0), Some(4.0)), "{text}");
        assert!(text.contains("# TYPE afterword_request_seconds histogram"), "{text}");
    }

    #[test]
    fn what_others_count_and_what_nobody_knows() {
        let metrics = Metrics::new().unwrap();
        metrics.counted_by("afterword_limited_total", ("ring", "address"), 3);
        metrics.counted("afterword_writer_jobs_total", 7);
        metrics.set("afterword_queue_pending", None);
        metrics.submitted(true);
        metrics.mail(MailResult::GivenUp);
        let text = metrics.text();
        for line in [
            "afterword_limited_total{ring=\"address\"} 3",
            "afterword_writer_jobs_total 7",
            "afterword_queue_pending NaN",
            "afterword_comments_submitted_total{outcome=\"published\"} 1",
            "afterword_comments_submitted_total{outcome=\"held\"} 0",
            "afterword_mails_total{result=\"given_up\"} 1",
            "afterword_mails_total{result=\"sent\"} 0",
            concat!("afterword_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn the_dashboard_and_the_manual_know_them() {
        let dashboard = include_str!("../deploy/grafana.json");
        serde_json::from_str::<serde_json::Value>(dashboard).unwrap();
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        for rest in dashboard.split("afterword_").skip(1) {
            let name = rest.split(|c| !is_name(c)).next().unwrap().trim_end_matches("_bucket");
            let told = MEANINGS.iter().any(|(_, known, _)| known.strip_prefix("afterword_") == Some(name));
            assert!(told, "the dashboard shows {name}");
        }
        let manual = include_str!("../docs/operations.md");
        for (_, name, _) in MEANINGS {
            assert!(manual.contains(&format!("`{}", name.trim_start_matches("afterword_"))), "{name}");
        }
    }

    #[test]
    fn the_memory_of_the_process() {
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152.0));
        assert_eq!(resident_in("Name:\tx\n"), None);
    }
}

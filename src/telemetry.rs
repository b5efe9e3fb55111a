//! Logs: structured, to standard error, with request ids and never a name, an e-mail address, a text, a client's address or a
//! token. Whoever logs passes ids and counts, not rows. Libraries do not know this rule: below `info` some print whole mails,
//! texts and the values of statements, so only our own lines are heard there, whatever the operator asks for.

use std::io::IsTerminal;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts logging. Does nothing when a logger is there already (tests start many apps).
pub fn start(settings: &Log) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => {
            install(builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).finish());
        }
        LogFormat::Json => install(builder.json().finish()),
    }
}

/// A filter of its own rather than more directives in the operator's: there the most specific one wins, so
/// `lettre::transport=trace` would win over a `lettre=info` of ours.
fn install(subscriber: impl Subscriber + for<'span> LookupSpan<'span> + Send + Sync) {
    let _ = subscriber.with(filter_fn(may_be_heard)).try_init();
}

fn may_be_heard(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() <= Level::INFO || target == "afterword" || target.starts_with("afterword::")
}

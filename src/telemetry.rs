//! Logs: structured, to standard error, with request ids and never a name, an e-mail address, a text, a client's address or a
//! token. Whoever logs passes ids and counts, not rows. Libraries do not know this rule: below `info` some print whole mails,
//! texts and the values of statements, so only our own lines are heard there, whatever the operator asks for. What checks passkeys
//! is never heard: its errors repeat the bytes that were sent.

use std::io::IsTerminal;

use tracing::{Level, Subscriber};
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
    let _ = subscriber.with(filter_fn(|line| may_be_heard(line.target(), *line.level()))).try_init();
}

fn may_be_heard(target: &str, level: Level) -> bool {
    let is_ours = target == "afterword" || target.starts_with("afterword::");
    is_ours || (level <= Level::INFO && !target.starts_with("webauthn_rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_heard_where_they_repeat_nothing() {
        assert!(may_be_heard("afterword::jobs", Level::TRACE));
        assert!(may_be_heard("lettre::transport", Level::INFO));
        assert!(!may_be_heard("lettre::transport", Level::DEBUG));
        assert!(!may_be_heard("webauthn_rs_core::internals", Level::ERROR));
        assert!(!may_be_heard("afterwords", Level::DEBUG));
    }
}

//! `serve` and `migrate`.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, remark, say};
use crate::app::{App, Parts, Sockets};
use crate::config::Config;
use crate::domain::passkeys::{BUILT_IN, obstacle};
use crate::service::Service;
use crate::storage::accounts;
use crate::telemetry;

pub async fn run(config: &Config, file: Option<&Path>) -> Result<(), Failure> {
    telemetry::start(&config.log);
    // A start that fails for a setting leaves nothing behind.
    super::config::read_all(config)?;
    // The addresses first: a second process must not touch the database of the one that runs.
    let sockets = Sockets { requests: App::listen(config.server.listen)?, metrics: App::listen_for_metrics(config)? };
    let app = App::build(config, Parts::default()).await?;
    for name in app.service.db.migrated() {
        tracing::info!(migration = name, "the database was brought up to date");
    }
    if config.own_origin().is_none_or(|origin| !origin.as_str().starts_with("https://")) && !config.is_local() {
        tracing::warn!("server.public_url is not https: passwords and sessions of the desk cross the network readable");
    }
    if let Some(why) = obstacle(config.own_origin().as_ref()).filter(|_| BUILT_IN) {
        tracing::info!(why, "passkeys are not offered");
    }
    // Not through the log: it is for the eyes of whoever starts the service, in whatever form the log is.
    if let Some(token) = app.service.setup_link().await? {
        remark(&setup_steps(config, &token));
    }
    if app.service.db.read(accounts::all).await?.is_empty() {
        remark(&first_steps(config, file, &app.service));
    }
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    tracing::info!(listen = %config.server.listen, url = config.server.public_url, "afterword is ready");
    app.run(sockets, stop).await?;
    tracing::info!("afterword has stopped");
    Ok(())
}

pub async fn migrate(config: &Config) -> Result<(), Failure> {
    let service = super::open(config).await?;
    let ran = service.db.migrated();
    if ran.is_empty() {
        return say("The database is up to date.");
    }
    ran.iter().try_for_each(|name| say(&format!("ran {name}")))
}

fn stop_on_signal(stop: CancellationToken) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests that have begun are finished");
        stop.cancel();
    });
    Ok(())
}

/// The way to the first administrator.
fn setup_steps(config: &Config, token: &str) -> String {
    format!(
        "\nNobody can sign in yet. Open this address within 24 hours to make the first administrator. It works once; the \
         next start prints another one:\n\n  {}/admin/#/link/{token}\n",
        config.server.public_url
    )
}

/// The commands that lead from a fresh installation to the first approved comment, as they can be pasted.
fn first_steps(config: &Config, file: Option<&Path>, service: &Service) -> String {
    let called = std::env::args_os().next().map(|name| name.to_string_lossy().into_owned());
    let named = file.map(|file| format!(" --config {}", quoted(&file.to_string_lossy()))).unwrap_or_default();
    let program = quoted(called.as_deref().unwrap_or("afterword")) + &named;
    let url = &config.server.public_url;
    let site = service.sites.all().first().map_or_else(|| "default".to_owned(), |site| site.key.as_str().to_owned());
    format!(
        "\nNobody moderates yet. From here to the first approved comment (in a second terminal, in this folder, with the \
         same AFTERWORD__ variables if there are any):\n\n\
         {program} account add --email you@example.org --role moderator --site {site}\n\
         TOKEN=$({program} token create --account you@example.org --name first)\n\
         curl -s {url}/api/v1/sites/{site}/comments -H 'Content-Type: application/json' \\\n\
         \x20 -d '{{\"article\": \"/hello\", \"name\": \"Ada\", \"email\": \"ada@example.org\", \"body\": \"First!\"}}'\n\
         curl -s {url}/api/v1/moderation/comments -H \"Authorization: Bearer $TOKEN\"\n\
         curl -s -X POST {url}/api/v1/moderation/comments/ID/approve -H \"Authorization: Bearer $TOKEN\"\n\
         curl -s '{url}/api/v1/sites/{site}/comments?article=/hello'\n"
    )
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [
            ("./afterword", "./afterword"),
            ("my settings.toml", "'my settings.toml'"),
            ("it's", "'it'\\''s'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}

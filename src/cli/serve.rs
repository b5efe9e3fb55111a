//! `serve` and `migrate`.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, remark, say};
use crate::app::{App, Parts};
use crate::config::Config;
use crate::service::Service;
use crate::storage::accounts;
use crate::telemetry;

pub async fn run(config: &Config) -> Result<(), Failure> {
    telemetry::start(&config.log);
    // A start that fails for a setting leaves nothing behind.
    super::config::read_all(config)?;
    // The address first: a second process must not touch the database of the one that runs.
    let listener = App::listen(config.server.listen)?;
    let app = App::build(config, Parts::default()).await?;
    for name in app.service.db.migrated() {
        tracing::info!(migration = name, "the database was brought up to date");
    }
    if app.service.db.read(accounts::all).await?.is_empty() {
        remark(&first_steps(config, &app.service));
    }
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    tracing::info!(listen = %config.server.listen, url = config.server.public_url, "afterword is ready");
    app.run(listener, stop).await?;
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

/// The commands that lead from a fresh installation to the first approved comment.
fn first_steps(config: &Config, service: &Service) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "afterword".to_owned());
    let url = &config.server.public_url;
    let site = service.sites.all().first().map_or_else(|| "default".to_owned(), |site| site.key.as_str().to_owned());
    format!(
        "\nNobody moderates yet. From here to the first approved comment (in a second terminal, in this folder):\n\n\
         {program} account add --email you@example.org --role moderator --site {site}\n\
         TOKEN=$({program} token create --account you@example.org --name first)\n\
         curl -s {url}/api/v1/sites/{site}/comments -H 'Content-Type: application/json' \\\n\
         \x20 -d '{{\"article\": \"/hello\", \"name\": \"Ada\", \"email\": \"ada@example.org\", \"body\": \"First!\"}}'\n\
         curl -s {url}/api/v1/moderation/comments -H \"Authorization: Bearer $TOKEN\"\n\
         curl -s -X POST {url}/api/v1/moderation/comments/ID/approve -H \"Authorization: Bearer $TOKEN\"\n\
         curl -s '{url}/api/v1/sites/{site}/comments?article=/hello'\n"
    )
}

//! A webhook is switched off, and the administrators are told by mail.

use crate::domain::ids::OutboxId;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::jobs::Worker;
use crate::jobs::retry::{JobError, Sent};
use crate::mail::templates::{WebhookOff, WebhooksOffLetter};
use crate::service::Service;
use crate::storage::outbox::{Kind, OutboxRow};
use crate::storage::webhooks::{self, Webhook};
use crate::storage::{Tx, accounts};

/// Switches a webhook off, with what waits for it, and queues a mail for each administrator.
pub(super) fn switch_off(
    tx: &mut Tx<'_>,
    service: &Service,
    (mut webhook, reason, now): (Webhook, String, Timestamp),
) -> Result<(), Error> {
    tracing::warn!(webhook = %webhook.id, reason, "a webhook is switched off");
    // A mail is queued for a site; one about all of them for the first.
    let site = webhook.site_id.or_else(|| service.sites.all().first().map(|site| site.id));
    (webhook.enabled, webhook.disabled_reason) = (false, Some(reason));
    webhooks::update(tx, &webhook)?;
    for account in webhooks::caretakers(tx.conn())? {
        let Some(site) = site else { continue };
        let mut mail = OutboxRow::new(OutboxId(service.ids.next()), Kind::MailWebhookOff, site, now);
        mail.account_id = Some(account);
        tx.enqueue(mail);
    }
    Ok(())
}

impl Worker {
    /// Tells one administrator which webhooks are switched off now; nothing when all were switched on again.
    pub(in crate::jobs) async fn mail_webhook_off(&self, row: &OutboxRow) -> Result<Sent, JobError> {
        let Some(account) = row.account_id else { return Ok(Sent::Nothing) };
        let found =
            self.service.db.read(move |conn| Ok((accounts::find(conn, account)?, webhooks::all(conn)?))).await?;
        let (Some(account), all) = found else { return Ok(Sent::Nothing) };
        let hooks: Vec<WebhookOff> = all.iter().filter_map(|webhook| self.off(webhook)).collect();
        if hooks.is_empty() || account.disabled_at.is_some() {
            return Ok(Sent::Nothing);
        }
        let values = WebhooksOffLetter { hooks, public_url: self.public_url.clone() };
        self.send(row, &account, self.templates.letter("webhook_off", &values)?).await
    }

    /// Of the address the host alone: the rest may be a secret.
    fn off(&self, webhook: &Webhook) -> Option<WebhookOff> {
        let reason = webhook.disabled_reason.clone()?;
        let url = self.service.webhook_private(webhook).ok().and_then(|private| url::Url::parse(&private.url).ok());
        let host = url.and_then(|url| url.host_str().map(str::to_owned));
        let site = webhook.site_id.and_then(|site| self.service.sites.by_id(site).ok());
        Some(WebhookOff {
            id: webhook.id.to_string(),
            host: host.unwrap_or_else(|| "a webhook".to_owned()),
            site: site.map(|site| site.name.clone()),
            reason,
        })
    }
}

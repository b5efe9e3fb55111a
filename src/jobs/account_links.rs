//! The mails with a link that lets somebody choose a password. The link is made when the mail leaves, so the outbox holds no
//! secret, and one that waited for the mail server is not over when it comes.

use super::Worker;
use super::retry::{JobError, Sent};
use crate::mail::templates::LinkLetter;
use crate::storage::accounts;
use crate::storage::outbox::OutboxRow;
use crate::storage::sign_in::Purpose;

impl Worker {
    /// Sends somebody a link. Nothing when the account is gone or disabled, or was none from the start.
    pub(super) async fn mail_link(&self, row: &OutboxRow, purpose: Purpose) -> Result<Sent, JobError> {
        let Some(id) = row.account_id else { return Ok(Sent::Nothing) };
        let Some(token) = self.service.make_link(id, purpose).await? else { return Ok(Sent::Nothing) };
        let Some(account) = self.service.db.read(move |conn| accounts::find(conn, id)).await? else {
            return Ok(Sent::Nothing);
        };
        let values = LinkLetter {
            name: account.name.clone(),
            link: format!("{}/admin/#/link/{token}", self.public_url),
            public_url: self.public_url.clone(),
        };
        let template = if purpose == Purpose::Invitation { "invitation" } else { "reset" };
        self.send(row, &account, self.templates.letter(template, &values)?).await
    }
}

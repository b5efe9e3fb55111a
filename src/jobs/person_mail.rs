//! The mails to people who wrote comments: the question whether replies may be told, what happened to their comments, the
//! link to their own data. Nothing of what a stranger wrote is a link in them, and the question carries nothing at all of
//! it: whoever typed the address may not own it.

use super::Worker;
use super::retry::{JobError, Sent};
use crate::domain::people::NoticeKind;
use crate::domain::quote::{dead_line, dead_lines, shortened};
use crate::domain::texts::{Mails, Texts, fill};
use crate::domain::web::WebAddress;
use crate::error::Error;
use crate::keys::Silence;
use crate::mail::message::{Letter, Mail};
use crate::mail::templates::{ConfirmLetter, NewsItem, NewsLetter, PersonLetter};
use crate::service::notifications::{News, Told};
use crate::storage::articles::Article;
use crate::storage::outbox::{Kind, OutboxRow};

/// The longest title or key of an article in these mails, in characters.
const TITLE_MAX: usize = 80;

impl Worker {
    /// Sends what somebody is to be told, if it still is.
    pub(super) async fn mail_news(&self, row: &OutboxRow) -> Result<Sent, JobError> {
        let Some(news) = self.service.news_for(row).await? else { return Ok(Sent::Nothing) };
        let letter = if row.kind == Kind::MailConfirm { self.question(&news)? } else { self.news(&news)? };
        let Some(letter) = letter else { return Ok(Sent::Nothing) };
        self.send_to(row, &news.address, letter).await?;
        self.service.news_left(news.subscriber.id, row.id).await?;
        Ok(Sent::Left)
    }

    fn question(&self, news: &News) -> Result<Option<Letter>, Error> {
        let Some(told) = news.told.first() else { return Ok(None) };
        let never = self.link("n", &self.service.silence_token(&news.subscriber, Silence::Everywhere));
        let site = self.service.sites.by_id(news.subscriber.site_id)?;
        let Texts { language, mails: texts, .. } = Texts::of(&site.language);
        let article = known_name(&told.article);
        let asked = match &article {
            Some(article) => fill(texts.confirm_on, &[("site", &site.name), ("article", article)]),
            None => fill(texts.confirm, &[("site", &site.name)]),
        };
        let values = ConfirmLetter {
            language,
            texts,
            asked,
            site: site.name.clone(),
            article,
            confirm: self.link("c", &self.service.confirm_token(&news.subscriber)),
            never: never.clone(),
        };
        let letter = self.templates.letter("confirm", &values)?;
        Ok(Some(Letter { unsubscribe: Some(never), ..letter }))
    }

    fn news(&self, news: &News) -> Result<Option<Letter>, Error> {
        let site = self.service.sites.by_id(news.subscriber.site_id)?;
        let unsubscribe = self.link("n", &self.service.silence_token(&news.subscriber, Silence::Site));
        let Texts { language, mails: texts, .. } = Texts::of(&site.language);
        let items: Vec<NewsItem> = news.told.iter().map(|told| item(texts, told)).collect();
        let subject = match items.as_slice() {
            [one] if one.is_reply => fill(texts.reply_subject, &[("article", &one.article)]),
            [one] => one.title.clone(),
            many => fill(texts.news, &[("n", &many.len().to_string())]),
        };
        let values = NewsLetter {
            language,
            texts,
            subject,
            because: fill(texts.because, &[("site", &site.name)]),
            site: site.name.clone(),
            items,
            own_data: format!("{}/me/{}", self.public_url, site.key.as_str()),
            unsubscribe: unsubscribe.clone(),
        };
        let letter = self.templates.letter("news", &values)?;
        Ok(Some(Letter { unsubscribe: Some(unsubscribe), ..letter }))
    }

    /// Sends the link to somebody's own data.
    pub(super) async fn mail_person_link(&self, row: &OutboxRow) -> Result<Sent, JobError> {
        let Some((person, token)) = self.service.link_for(row.id).await? else { return Ok(Sent::Nothing) };
        let site = self.service.sites.by_id(person.site)?;
        let Texts { language, mails: texts, .. } = Texts::of(&site.language);
        let gaps = [("site", site.name.as_str())];
        let values = PersonLetter {
            language,
            texts,
            title: fill(texts.person_title, &gaps),
            asked: fill(texts.person, &gaps),
            site: site.name.clone(),
            link: format!("{}/me/open/{token}", self.public_url),
        };
        let letter = self.templates.letter("person", &values)?;
        self.send_to(row, person.email.as_str(), letter).await?;
        Ok(Sent::Left)
    }

    async fn send_to(&self, row: &OutboxRow, address: &str, letter: Letter) -> Result<(), JobError> {
        let mail = Mail::new(row.id.to_string(), &self.from, address, letter)?;
        self.mailer.send(&mail).await?;
        Ok(())
    }

    fn link(&self, page: &str, token: &str) -> String {
        format!("{}/{page}/{token}", self.public_url)
    }
}

fn item(texts: &Mails, told: &Told) -> NewsItem {
    let Told { kind, comment, article } = told;
    let title = article.title.as_ref().unwrap_or(&article.key);
    let mark = format!("afterword-{}", comment.id);
    let address = article.url.as_deref().and_then(|url| WebAddress::parse(url, "url").ok());
    let is_reply = *kind == NoticeKind::Reply;
    let (author, article) = (dead_line(&comment.name), shortened(&dead_line(title), TITLE_MAX));
    let told = if is_reply { texts.reply } else { texts.public };
    NewsItem {
        title: fill(told, &[("author", &author), ("article", &article)]),
        is_reply,
        author,
        article,
        lines: if is_reply { dead_lines(&comment.body) } else { Vec::new() },
        link: address.map(|address| address.at(&mark)),
    }
}

/// What an article is called in a mail to an address that a stranger may have typed: by its title, if it has one, which then
/// was public before or was given by hand; by its key only if that is a plain path; else by nothing.
fn known_name(article: &Article) -> Option<String> {
    let is_plain = |key: &&String| key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'));
    let name = article.title.as_ref().or(Some(&article.key).filter(is_plain))?;
    Some(shortened(&dead_line(name), TITLE_MAX))
}

//! The newest comments of a site or an article as Atom (RFC 4287): names and texts, never an address. What is told of a
//! comment is its public shape. Ids stay as they are whatever else changes.

use actix_web::{HttpRequest, HttpResponse, web};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::State;
use super::error::{ApiError, Problem};
use super::reading::article_key;
use super::request::{Pairs, faultless};
use super::shapes::RecentShape;
use crate::cache::Ready;
use crate::domain::listing::Source;
use crate::domain::site::Site;
use crate::domain::submission::ArticleKey;
use crate::domain::web::WebAddress;
use crate::error::Error;
use crate::storage::{articles, listing};

/// Comments in a feed.
const NEWEST: i64 = 50;

const CONTENT_TYPE: &str = "application/atom+xml; charset=utf-8";

/// The newest approved comments of a site or of one article, as Atom.
#[utoipa::path(
    get, path = "/api/v1/sites/{site}/feed.atom", tag = "Readers and writers",
    params(("site" = String, Path), ("article" = Option<String>, Query, description = "Only those of this article")),
    responses(
        (status = 200, description = "Atom", body = String, content_type = "application/atom+xml"),
        (status = 304, description = "Nothing changed since the ETag"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn feed(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let pairs = Pairs::of(&request)?;
    let site = state.site(&request)?;
    let mut faults = Vec::new();
    let key = match pairs.one("article", &mut faults) {
        Some(_) if faults.is_empty() => article_key(&pairs, &mut faults),
        _ => None,
    };
    faultless(faults)?;
    state.answer_from_cache(&request, make(&state, &site, key)).await
}

async fn make(state: &State, site: &Site, key: Option<ArticleKey>) -> Result<Ready, ApiError> {
    let (made_at, id) = (state.cache.changes.now(), site.id);
    let wanted = key.clone();
    let read = state.service.db.read_for_everybody(move |conn| {
        let Some(key) = &wanted else { return Ok((listing::recent(conn, id, NEWEST)?, vec![Source::Site(id)])) };
        let Some(named) = articles::find_named(conn, id, key.as_str())? else {
            return Ok((Vec::new(), vec![Source::NewArticles(id)]));
        };
        Ok((listing::newest_of(conn, &named.article, NEWEST)?, named.sources()))
    });
    let (rows, sources) = read.await?;
    let now = state.service.clock.now();
    let entries: Vec<RecentShape> =
        rows.into_iter().map(|(row, article)| state.recent(id, (row, &article), now)).collect();
    let feed = Feed { site, key: key.as_ref(), own: own_address(state, site, key.as_ref()), entries };
    let bytes = feed.write().map_err(Error::internal)?;
    Ok(Ready::new(CONTENT_TYPE, bytes, made_at, sources))
}

/// Where the feed stands.
fn own_address(state: &State, site: &Site, key: Option<&ArticleKey>) -> String {
    let address = format!("{}/api/v1/sites/{}/feed.atom", state.public_url, site.key.as_str());
    let Some(key) = key else { return address };
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("article", key.as_str()).finish();
    format!("{address}?{query}")
}

struct Feed<'a> {
    site: &'a Site,
    key: Option<&'a ArticleKey>,
    own: String,
    entries: Vec<RecentShape>,
}

type Written = std::io::Result<()>;

impl Feed<'_> {
    fn write(&self) -> std::io::Result<Vec<u8>> {
        let mut xml = Xml(Writer::new(Vec::new()));
        xml.0.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
        let mut start = BytesStart::new("feed");
        start.push_attribute(("xmlns", "http://www.w3.org/2005/Atom"));
        start.push_attribute(("xml:lang", self.site.language.as_str()));
        xml.0.write_event(Event::Start(start))?;
        xml.element("id", &self.id())?;
        xml.element("title", &self.title())?;
        let updated = self.entries.iter().map(RecentShape::updated).max();
        xml.element("updated", updated.unwrap_or(&self.site.updated_at.to_string()))?;
        xml.element("generator", "Afterword")?;
        xml.link(&[("rel", "self"), ("type", "application/atom+xml"), ("href", &self.own)])?;
        let first = self.entries.first().filter(|_| self.key.is_some());
        let page = first.map_or(self.site.url.as_deref(), |entry| entry.article.url.as_deref());
        if let Some(page) = page.and_then(|text| WebAddress::parse(text, "url").ok()) {
            xml.link(&[("rel", "alternate"), ("href", page.address())])?;
        }
        self.entries.iter().try_for_each(|entry| write_entry(&mut xml, entry))?;
        xml.0.write_event(Event::End(BytesEnd::new("feed")))?;
        Ok(xml.0.into_inner())
    }

    /// The site's id; for an article one that comes from its key, which is there before its first comment is.
    fn id(&self) -> String {
        let Some(key) = self.key else { return urn(self.site.id.0) };
        let digest = Sha256::new().chain_update(self.site.id.as_bytes()).chain_update(key.as_str()).finalize();
        urn(uuid::Builder::from_custom_bytes(*digest.first_chunk().unwrap_or(&[0; 16])).into_uuid())
    }

    fn title(&self) -> String {
        let first = self.entries.first().filter(|_| self.key.is_some());
        let title = first.and_then(|entry| entry.article.title.as_deref());
        let of = title.or(self.key.map(ArticleKey::as_str)).unwrap_or(&self.site.name);
        format!("Comments: {of}")
    }
}

fn urn(id: Uuid) -> String {
    format!("urn:uuid:{}", id.as_hyphenated())
}

fn write_entry(xml: &mut Xml, RecentShape { comment, article }: &RecentShape) -> Written {
    xml.0.write_event(Event::Start(BytesStart::new("entry")))?;
    xml.element("id", &format!("urn:uuid:{}", comment.id))?;
    xml.element("title", &format!("{}: {}", comment.name, article.title.as_deref().unwrap_or(&article.key)))?;
    xml.element("published", &comment.created_at)?;
    xml.element("updated", comment.edited_at.as_ref().unwrap_or(&comment.created_at))?;
    xml.0.write_event(Event::Start(BytesStart::new("author")))?;
    xml.element("name", &comment.name)?;
    xml.0.write_event(Event::End(BytesEnd::new("author")))?;
    if let Some(page) = article.url.as_deref().and_then(|text| WebAddress::parse(text, "url").ok()) {
        xml.link(&[("rel", "alternate"), ("href", &page.at(&format!("afterword-{}", comment.id)))])?;
    }
    let mut content = BytesStart::new("content");
    content.push_attribute(("type", "html"));
    xml.whole(&content, &comment.body_html)?;
    xml.0.write_event(Event::End(BytesEnd::new("entry")))
}

/// Writes elements.
struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn element(&mut self, name: &str, text: &str) -> Written {
        self.whole(&BytesStart::new(name), text)
    }

    fn whole(&mut self, start: &BytesStart<'_>, text: &str) -> Written {
        let end = start.to_end().into_owned();
        self.0.write_event(Event::Start(start.borrow()))?;
        self.0.write_event(Event::Text(BytesText::new(&legal(text))))?;
        self.0.write_event(Event::End(end))
    }

    fn link(&mut self, attributes: &[(&str, &str)]) -> Written {
        let mut link = BytesStart::new("link");
        for (name, value) in attributes {
            link.push_attribute((*name, legal(value).as_str()));
        }
        self.0.write_event(Event::Empty(link))
    }
}

/// Without the characters that XML 1.0 has no way to write (§2.2).
fn legal(text: &str) -> String {
    let is_legal =
        |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(is_legal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_say_is_left_out() {
        assert_eq!(legal("a\0b\u{1}c\u{fffe}\u{ffff}d\te😀"), "abcd\te😀");
    }
}

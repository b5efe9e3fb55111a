//! An article's comments as a piece of a page, without script: for blogs whose server or cache puts it into their pages, and
//! for readers who go without script. It says what the JSON says, in the site's language.

use actix_web::HttpRequest;
use serde::Serialize;

use super::State;
use super::error::ApiError;
use super::reading::ListAnswer;
use super::shapes::{ListedShape, PublicShape};
use crate::domain::site::Site;
use crate::domain::texts::Texts;

/// Its type.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// What a browser may do that opens it by itself: show it and send its form, whose answer leads back to the blog.
pub const POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' http: https:";

/// A comment with its replies below it. One that was removed has none of the other fields.
#[derive(Serialize)]
struct Node<'a> {
    id: &'a str,
    comment: Option<&'a PublicShape>,
    written: String,
    replies: Vec<Node<'a>>,
}

impl<'a> Node<'a> {
    fn of(shape: &'a ListedShape) -> Self {
        let (id, comment) = match shape {
            ListedShape::Comment(comment) => (comment.id.as_str(), Some(comment.as_ref())),
            ListedShape::Removed(removed) => (removed.id.as_str(), None),
        };
        // `2026-11-23 12:00 UTC`: in a cache that all readers share there is no reader's clock.
        let written = comment.and_then(|comment| comment.created_at.get(..16)).unwrap_or_default();
        Self { id, comment, written: written.replace('T', " "), replies: Vec::new() }
    }
}

fn depth(shape: &ListedShape) -> i16 {
    match shape {
        ListedShape::Comment(comment) => comment.depth,
        ListedShape::Removed(removed) => removed.depth,
    }
}

/// Threads from reading order. A page may begin in the midst of one: what lies above is on the page before.
fn threads(list: &[ListedShape]) -> Vec<Node<'_>> {
    let (mut open, mut roots) = (Vec::new(), Vec::new());
    for shape in list {
        close(&mut open, &mut roots, depth(shape));
        open.push((depth(shape), Node::of(shape)));
    }
    close(&mut open, &mut roots, i16::MIN);
    roots
}

/// Puts what is not above `depth` where it belongs: nothing more comes below it.
fn close<'a>(open: &mut Vec<(i16, Node<'a>)>, roots: &mut Vec<Node<'a>>, depth: i16) {
    while let Some((_, node)) = open.pop_if(|(of, _)| *of >= depth) {
        open.last_mut().map_or(&mut *roots, |(_, above)| &mut above.replies).push(node);
    }
}

/// The piece of a page for a list.
pub fn render(state: &State, site: &Site, request: &HttpRequest, list: &ListAnswer) -> Result<Vec<u8>, ApiError> {
    let texts = &Texts::of(&site.language).comments;
    let action = format!("{}{}", state.public_url, request.path());
    let next = list.next_cursor.as_deref().map(|cursor| {
        let query = request.query_string().split('&').filter(|pair| !pair.is_empty());
        let kept: Vec<&str> =
            query.filter(|pair| !pair.starts_with("cursor=") && !pair.starts_with("around=")).collect();
        format!("{action}?{}&cursor={cursor}", kept.join("&"))
    });
    let rules = site.settings.form_rules(&state.service.rules.fields);
    let values = minijinja::context! {
        texts => minijinja::value::Serde(texts), lang => site.language.as_str(),
        privacy => site.settings.privacy_text.as_deref().unwrap_or(texts.privacy),
        article => minijinja::value::Serde(&list.article), threads => minijinja::value::Serde(threads(&list.comments)),
        votes => site.settings.votes, rules => minijinja::value::Serde(rules), next, action,
        own_data => state.own_data(site),
    };
    Ok(state.pages.piece("comments.html", values)?)
}

//! An article's comments as a piece of a page, without script: for blogs whose server or cache puts it into their pages, and
//! for readers who go without script. It says what the JSON says, in the site's language.

use actix_web::HttpRequest;
use serde::Serialize;

use super::State;
use super::error::ApiError;
use super::reading::ListAnswer;
use super::shapes::{ListedShape, PublicShape};
use crate::domain::site::Site;

/// Its type.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// What a browser may do that opens it by itself: show it and send its form, whose answer leads back to the blog.
pub const POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' http: https:";

/// What it says in one language.
#[derive(Serialize)]
struct Texts {
    language: &'static str,
    none: &'static str,
    one: &'static str,
    many: &'static str,
    removed: &'static str,
    edited: &'static str,
    staff: &'static str,
    permalink: &'static str,
    next: &'static str,
    closed: &'static str,
    leave: &'static str,
    name: &'static str,
    email: &'static str,
    website: &'static str,
    comment: &'static str,
    submit: &'static str,
    privacy: &'static str,
}

/// The first is spoken where a site has another language.
const LANGUAGES: [Texts; 4] = [
    Texts {
        language: "en",
        none: "No comments yet",
        one: "1 comment",
        many: "comments",
        removed: "This comment was removed.",
        edited: "edited",
        staff: "Staff",
        permalink: "Link to this comment",
        next: "More comments",
        closed: "Comments are closed.",
        leave: "Leave a comment",
        name: "Name",
        email: "Email",
        website: "Website",
        comment: "Comment",
        submit: "Submit comment",
        privacy: "Your email address will not be published. Required fields are marked *",
    },
    Texts {
        language: "es",
        none: "Aún no hay comentarios",
        one: "1 comentario",
        many: "comentarios",
        removed: "Este comentario fue eliminado.",
        edited: "editado",
        staff: "Equipo",
        permalink: "Enlace a este comentario",
        next: "Más comentarios",
        closed: "Los comentarios están cerrados.",
        leave: "Deja un comentario",
        name: "Nombre",
        email: "Correo electrónico",
        website: "Web",
        comment: "Comentario",
        submit: "Publicar el comentario",
        privacy: "Tu dirección de correo electrónico no será publicada. Los campos obligatorios están marcados con *",
    },
    Texts {
        language: "de",
        none: "Noch keine Kommentare",
        one: "1 Kommentar",
        many: "Kommentare",
        removed: "Dieser Kommentar wurde entfernt.",
        edited: "bearbeitet",
        staff: "Redaktion",
        permalink: "Link zu diesem Kommentar",
        next: "Weitere Kommentare",
        closed: "Die Kommentare sind geschlossen.",
        leave: "Schreibe einen Kommentar",
        name: "Name",
        email: "E-Mail-Adresse",
        website: "Website",
        comment: "Kommentar",
        submit: "Kommentar abschicken",
        privacy: "Deine E-Mail-Adresse wird nicht veröffentlicht. Erforderliche Felder sind mit * markiert",
    },
    Texts {
        language: "fr",
        none: "Pas encore de commentaires",
        one: "1 commentaire",
        many: "commentaires",
        removed: "Ce commentaire a été supprimé.",
        edited: "modifié",
        staff: "Équipe",
        permalink: "Lien vers ce commentaire",
        next: "Autres commentaires",
        closed: "Les commentaires sont fermés.",
        leave: "Laisser un commentaire",
        name: "Nom",
        email: "E-mail",
        website: "Site web",
        comment: "Commentaire",
        submit: "Envoyer le commentaire",
        privacy: "Votre adresse e-mail ne sera pas publiée. Les champs obligatoires sont indiqués avec *",
    },
];

/// The texts of a BCP 47 tag; `de-AT` reads German.
fn texts(tag: &str) -> &'static Texts {
    let [english, ..] = &LANGUAGES;
    let language = tag.split('-').next().unwrap_or_default();
    LANGUAGES.iter().find(|texts| texts.language.eq_ignore_ascii_case(language)).unwrap_or(english)
}

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
    let texts = texts(&site.language);
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
    };
    Ok(state.pages.piece("comments.html", values)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_by_their_tags() {
        assert_eq!(["de-AT", "FR", "es", "en-GB", "ja"].map(|tag| texts(tag).language), ["de", "fr", "es", "en", "en"]);
    }
}

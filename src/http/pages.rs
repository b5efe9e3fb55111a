//! The few pages that the service shows itself: what is wrong with a form, what an error code means, what a link in a
//! mail does. They work without script, load nothing from elsewhere, and what visitors typed is escaped in them.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Value, context};

use crate::domain::texts::{Texts, fill};
use crate::domain::web::Origin;
use crate::error::Error;

const TEMPLATES: &[(&str, &str)] = &[
    ("shell.html", include_str!("../../web/pages/shell.html")),
    ("message.html", include_str!("../../web/pages/message.html")),
    ("document.html", include_str!("../../web/pages/document.html")),
    ("form.html", include_str!("../../web/pages/form.html")),
    ("comments.html", include_str!("../../web/pages/comments.html")),
    ("link.html", include_str!("../../web/pages/link.html")),
    ("ask.html", include_str!("../../web/pages/ask.html")),
    ("me_ask.html", include_str!("../../web/pages/me_ask.html")),
    ("me.html", include_str!("../../web/pages/me.html")),
    ("me_comment.html", include_str!("../../web/pages/me_comment.html")),
    ("stop.html", include_str!("../../web/pages/stop.html")),
];

/// What the browser may do on these pages: nothing but show them and send their form to us.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// The templates, ready to be filled in.
pub struct Pages {
    templates: Environment<'static>,
    public_url: String,
}

impl Pages {
    /// Reads the templates.
    pub fn new(public_url: &str) -> Result<Self, Error> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        templates.add_filter("fill", fill_gaps);
        for (name, text) in TEMPLATES {
            templates.add_template(name, text).map_err(Error::internal)?;
        }
        Ok(Self { templates, public_url: public_url.to_owned() })
    }

    /// A page with a form whose answer may lead on to a page of `onward`. Chromium holds `form-action` against every step
    /// of the way, the redirect back to the blog as well.
    pub fn form(&self, status: StatusCode, values: Value, onward: Option<&Origin>) -> Result<HttpResponse, Error> {
        let mut response = self.answer(status, "form.html", values)?;
        if let Some(origin) = onward {
            let policy = HeaderValue::from_str(&format!("{POLICY} {}", origin.as_str())).map_err(Error::internal)?;
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        Ok(response)
    }

    /// A page as an answer.
    pub fn answer(&self, status: StatusCode, template: &str, values: Value) -> Result<HttpResponse, Error> {
        let values = minijinja::context! { public_url => self.public_url.as_str(), ..values };
        let html = self.templates.get_template(template).and_then(|template| template.render(values));
        Ok(page(status, &self.public_url).body(html.map_err(Error::internal)?))
    }

    /// A piece of a page.
    pub fn piece(&self, template: &str, values: Value) -> Result<Vec<u8>, Error> {
        let html = self.templates.get_template(template).and_then(|template| template.render(values));
        html.map(String::into_bytes).map_err(Error::internal)
    }

    /// A page of one heading and one sentence.
    pub fn message(&self, status: StatusCode, title: &str, text: &str) -> Result<HttpResponse, Error> {
        self.answer(status, "message.html", minijinja::context! { title, text })
    }
}

/// The texts in the reader's language, where no site says another one.
pub fn asked_for(request: &HttpRequest) -> &'static Texts {
    let header = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Texts::asked_for(header.unwrap_or_default())
}

/// What a page in one language is filled in with.
pub fn words(texts: &Texts) -> Value {
    context! { language => texts.language, texts => Serde(texts) }
}

/// The filter that puts words into the gaps of a text; what comes of it is escaped like any other.
#[expect(clippy::needless_pass_by_value, reason = "filters get their named arguments so")]
fn fill_gaps(text: &str, gaps: Kwargs) -> Result<String, minijinja::Error> {
    let values = gaps.args().map(|name| Ok((name, gaps.get::<String>(name)?)));
    let values: Vec<(&str, String)> = values.collect::<Result<_, minijinja::Error>>()?;
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Ok(fill(text, &values))
}

/// Where the service is reached by https, browsers come by nothing else for two years; whether neighbouring hosts speak
/// https as well, their operator says.
pub(super) fn https_alone(public_url: &str) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_static("max-age=63072000");
    public_url.starts_with("https://").then_some((header::STRICT_TRANSPORT_SECURITY, value))
}

fn page(status: StatusCode, public_url: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .insert_header((HeaderName::from_static("x-robots-tag"), "noindex"));
    if let Some(header) = https_alone(public_url) {
        response.insert_header(header);
    }
    response
}

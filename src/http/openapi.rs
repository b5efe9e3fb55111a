//! The API document: `docs/openapi.json`, put together from the handlers' own descriptions. It is a file, because the code that
//! makes it is a megabyte and a half, which the program has no use for. One test holds the file against the handlers
//! (and writes it anew), another walks the route table and finds every route in it.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    account_links, accounts, aliases, arriving, articles, avatars, deliveries, feed, feedback, links, me, outbox,
    people, reply, rules, simulate, sites, stream, subscriptions, tokens, webhooks,
};
use super::{comments, decisions, metrics, operator, own, own_account, queue, reading, session, summary};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Afterword",
        description = "A comment-moderation service: takes comments, holds them, tells the moderators, serves what they approve.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    modifiers(&Tokens),
    paths(
        comments::submit, comments::preview, reading::list, reading::counts, reading::counts_by_body, reading::recent,
        feed::feed, arriving::stream, feedback::vote, feedback::reactions, feedback::react, feedback::flag,
        comments::form, own::get, own::patch, own::delete, queue::list, queue::get, decisions::approve,
        decisions::reject, decisions::spam, decisions::hold, decisions::undo, decisions::discard_edit,
        reply::reply, stream::queue, decisions::correct, decisions::remove, decisions::decisions, queue::events, summary::summary,
        sites::list, sites::get, sites::create, sites::change, sites::delete, articles::list, articles::create,
        articles::change, aliases::list, aliases::create, aliases::delete, aliases::merge, accounts::list, accounts::get, accounts::create, accounts::change, accounts::delete,
        account_links::look, account_links::follow, account_links::reset, account_links::invite,
        session::get, session::sign_in, session::sign_out, session::list, session::end, session::end_others, session::passkeys,
        own_account::change, own_account::password, own_account::propose, own_account::confirm, own_account::drop_factor,
        tokens::list, tokens::create, tokens::get, tokens::change, tokens::delete,
        operator::healthz, operator::readyz, operator::openapi, operator::error_page, avatars::avatar,
        metrics::figures,
        links::look, links::act, links::ask_to_stop, links::stop, outbox::list, outbox::send_again,
        subscriptions::ask_yes, subscriptions::yes, subscriptions::ask_no, subscriptions::no,
        me::begin, me::form, me::ask, me::open, me::act, me::export, me::comment, me::change, people::export, people::erase,
        rules::list, rules::create, rules::get, rules::change, rules::remove, rules::order, rules::words,
        rules::write_words, simulate::simulate,
        webhooks::list, webhooks::add, webhooks::get, webhooks::change, webhooks::remove,
        webhooks::rotate, deliveries::test, deliveries::deliveries, deliveries::replay,
    ),
)]
struct Document;

/// The two kinds of bearer token, and the cookie.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = |text: &str| {
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text)).build())
        };
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("author", bearer("The author_token that came with a comment."));
        components.add_security_scheme(
            "account",
            bearer("An access token of an account: afterword token create. A session does as well."),
        );
        let cookie = "Somebody who is signed in at the desk; what changes something needs the header X-CSRF-Token.";
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description("__Host-afterword", cookie));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
}

/// The file, and the address that stands in it for that of the service.
const DOCUMENT: &str = include_str!("../../docs/openapi.json");
const EXAMPLE: &str = "https://comments.example.org";

/// The document as JSON, for a service at this address.
pub(super) fn document(public_url: &str) -> String {
    DOCUMENT.replacen(EXAMPLE, public_url, 1)
}

/// What the file has to be: the document as the handlers describe themselves.
pub fn described_by_handlers() -> Result<String, serde_json::Error> {
    let mut document = Document::openapi();
    #[cfg(feature = "passkeys")]
    document.merge(super::passkeys::Document::openapi());
    document.servers = Some(vec![utoipa::openapi::Server::new(EXAMPLE)]);
    document.to_pretty_json().map(|json| json + "\n")
}

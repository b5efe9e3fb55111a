//! The only place that knows actix, status codes and JSON. This file is the contents page: every address, its methods, and
//! the handler of each. One file per resource.

mod account_links;
mod accounts;
mod aliases;
mod arriving;
mod articles;
mod assets;
mod avatars;
mod comments;
mod cookies;
mod decisions;
mod deliveries;
mod encoding;
pub mod error;
mod feed;
mod feedback;
mod form;
mod fragment;
mod front;
mod json;
mod links;
mod me;
mod metrics;
mod moderator;
pub mod openapi;
pub mod operator;
mod outbox;
mod own;
mod own_account;
mod pages;
mod paging;
#[cfg(feature = "passkeys")]
mod passkeys;
mod people;
mod queue;
mod reading;
mod reply;
mod request;
mod rules;
mod session;
mod shapes;
mod shortcut;
mod signed_in;
mod simulate;
mod sites;
mod state;
mod stream;
mod subscriptions;
mod summary;
mod surroundings;
mod tokens;
mod webhooks;

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, Resource, guard, web};

use self::error::ApiError;
pub use self::state::{State, StateParts};
use crate::error::Error;

/// `GET`, and `HEAD` with it.
fn get() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// An address. `OPTIONS` tells its methods; one that it does not have is 405, which tells them too.
fn at(path: &str, allow: &'static str) -> Resource {
    let others = move |method: Method| async move {
        if method == Method::OPTIONS {
            return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish());
        }
        Err(ApiError::MethodNotAllowed(allow))
    };
    web::resource(path).default_service(web::route().to(others))
}

async fn nothing_here() -> Result<&'static str, ApiError> {
    Err(Error::NotFound.into())
}

/// Every address of the service.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        // Readers and writers
        .service(
            at("/api/v1/sites/{site}/comments", "GET, HEAD, POST, OPTIONS")
                .route(get().to(reading::list))
                .route(web::post().to(comments::submit)),
        )
        .service(at("/api/v1/sites/{site}/preview", "POST, OPTIONS").route(web::post().to(comments::preview)))
        .service(
            at("/api/v1/sites/{site}/counts", "GET, HEAD, POST, OPTIONS")
                .route(get().to(reading::counts))
                .route(web::post().to(reading::counts_by_body)),
        )
        .service(at("/api/v1/sites/{site}/recent", "GET, HEAD, OPTIONS").route(get().to(reading::recent)))
        .service(at("/api/v1/sites/{site}/feed.atom", "GET, HEAD, OPTIONS").route(get().to(feed::feed)))
        .service(at("/api/v1/sites/{site}/stream", "GET, HEAD, OPTIONS").route(get().to(arriving::stream)))
        .service(
            at("/api/v1/sites/{site}/reactions", "GET, HEAD, PUT, OPTIONS")
                .route(get().to(feedback::reactions))
                .route(web::put().to(feedback::react)),
        )
        .service(at("/api/v1/comments/{id}/vote", "PUT, OPTIONS").route(web::put().to(feedback::vote)))
        .service(at("/api/v1/comments/{id}/flags", "POST, OPTIONS").route(web::post().to(feedback::flag)))
        .service(at("/api/v1/sites/{site}/form", "GET, HEAD, OPTIONS").route(get().to(comments::form)))
        .service(
            at("/api/v1/comments/{id}", "GET, HEAD, PATCH, DELETE, OPTIONS")
                .route(get().to(own::get))
                .route(web::patch().to(own::patch))
                .route(web::delete().to(own::delete)),
        )
        .service(at("/avatars/{token}.svg", "GET, HEAD, OPTIONS").route(get().to(avatars::avatar)))
        .configure(for_moderators)
        .configure(mails)
        .configure(ones_own_data)
        .configure(rules_of_moderators)
        .configure(for_the_signed_in)
        .configure(with_passkeys)
        .configure(for_administrators)
        .configure(for_webhooks)
        .configure(for_operators)
        .configure(for_browsers)
        .default_service(web::route().to(nothing_here));
}

fn for_moderators(config: &mut web::ServiceConfig) {
    config
        .service(at("/api/v1/moderation/comments", "GET, HEAD, OPTIONS").route(get().to(queue::list)))
        .service(
            at("/api/v1/moderation/comments/{id}", "GET, HEAD, PATCH, DELETE, OPTIONS")
                .route(get().to(queue::get))
                .route(web::patch().to(decisions::correct))
                .route(web::delete().to(decisions::remove)),
        )
        .service(
            at("/api/v1/moderation/comments/{id}/approve", "POST, OPTIONS").route(web::post().to(decisions::approve)),
        )
        .service(
            at("/api/v1/moderation/comments/{id}/reject", "POST, OPTIONS").route(web::post().to(decisions::reject)),
        )
        .service(at("/api/v1/moderation/comments/{id}/spam", "POST, OPTIONS").route(web::post().to(decisions::spam)))
        .service(at("/api/v1/moderation/comments/{id}/hold", "POST, OPTIONS").route(web::post().to(decisions::hold)))
        .service(at("/api/v1/moderation/comments/{id}/undo", "POST, OPTIONS").route(web::post().to(decisions::undo)))
        .service(
            at("/api/v1/moderation/comments/{id}/discard-edit", "POST, OPTIONS")
                .route(web::post().to(decisions::discard_edit)),
        )
        .service(at("/api/v1/moderation/comments/{id}/reply", "POST, OPTIONS").route(web::post().to(reply::reply)))
        .service(at("/api/v1/moderation/stream", "GET, HEAD, OPTIONS").route(get().to(stream::queue)))
        .service(at("/api/v1/moderation/decisions", "POST, OPTIONS").route(web::post().to(decisions::decisions)))
        .service(at("/api/v1/moderation/events", "GET, HEAD, OPTIONS").route(get().to(queue::events)))
        .service(at("/api/v1/moderation/summary", "GET, HEAD, OPTIONS").route(get().to(summary::summary)));
}

/// What mails lead to, and what became of them.
fn mails(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/m/{token}", "GET, HEAD, POST, OPTIONS").route(get().to(links::look)).route(web::post().to(links::act)),
        )
        .service(
            at("/u/{token}", "GET, HEAD, POST, OPTIONS")
                .route(get().to(links::ask_to_stop))
                .route(web::post().to(links::stop)),
        )
        .service(
            at("/c/{token}", "GET, HEAD, POST, OPTIONS")
                .route(get().to(subscriptions::ask_yes))
                .route(web::post().to(subscriptions::yes)),
        )
        .service(
            at("/n/{token}", "GET, HEAD, POST, OPTIONS")
                .route(get().to(subscriptions::ask_no))
                .route(web::post().to(subscriptions::no)),
        )
        .service(
            at("/api/v1/mail/outbox", "GET, HEAD, POST, OPTIONS")
                .route(get().to(outbox::list))
                .route(web::post().to(outbox::send_again)),
        );
}

/// What people see and change of what they wrote, without an account.
fn ones_own_data(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/me/open/{token}", "GET, HEAD, POST, OPTIONS").route(get().to(me::open)).route(web::post().to(me::act)),
        )
        .service(at("/me/open/{token}/export", "GET, HEAD, OPTIONS").route(get().to(me::export)))
        .service(
            at("/me/open/{token}/comments/{id}", "GET, HEAD, POST, OPTIONS")
                .route(get().to(me::comment))
                .route(web::post().to(me::change)),
        )
        .service(web::redirect("/me", "/me/"))
        .service(at("/me/", "GET, HEAD, OPTIONS").route(get().to(me::begin)))
        .service(at("/me/{site}", "GET, HEAD, POST, OPTIONS").route(get().to(me::form)).route(web::post().to(me::ask)));
}

fn rules_of_moderators(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/api/v1/moderation/rules", "GET, HEAD, POST, OPTIONS")
                .route(get().to(rules::list))
                .route(web::post().to(rules::create)),
        )
        .service(at("/api/v1/moderation/rules/order", "PUT, OPTIONS").route(web::put().to(rules::order)))
        .service(at("/api/v1/moderation/rules/simulate", "POST, OPTIONS").route(web::post().to(simulate::simulate)))
        .service(
            at("/api/v1/moderation/rules/{id}", "GET, HEAD, PATCH, DELETE, OPTIONS")
                .route(get().to(rules::get))
                .route(web::patch().to(rules::change))
                .route(web::delete().to(rules::remove)),
        )
        .service(
            at("/api/v1/moderation/rules/{id}/words", "GET, HEAD, PUT, OPTIONS")
                .route(get().to(rules::words))
                .route(web::put().to(rules::write_words)),
        );
}

fn for_administrators(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/api/v1/sites", "GET, HEAD, POST, OPTIONS")
                .route(get().to(sites::list))
                .route(web::post().to(sites::create)),
        )
        .service(
            at("/api/v1/sites/{site}", "GET, HEAD, PATCH, DELETE, OPTIONS")
                .route(get().to(sites::get))
                .route(web::patch().to(sites::change))
                .route(web::delete().to(sites::delete)),
        )
        .service(
            at("/api/v1/sites/{site}/articles", "GET, HEAD, POST, PATCH, OPTIONS")
                .route(get().to(articles::list))
                .route(web::post().to(articles::create))
                .route(web::patch().to(articles::change)),
        )
        .service(
            at("/api/v1/sites/{site}/articles/aliases", "GET, HEAD, POST, DELETE, OPTIONS")
                .route(get().to(aliases::list))
                .route(web::post().to(aliases::create))
                .route(web::delete().to(aliases::delete)),
        )
        .service(at("/api/v1/sites/{site}/articles/merge", "POST, OPTIONS").route(web::post().to(aliases::merge)))
        .service(
            at("/api/v1/accounts", "GET, HEAD, POST, OPTIONS")
                .route(get().to(accounts::list))
                .route(web::post().to(accounts::create)),
        )
        .service(at("/api/v1/accounts/{id}/invite", "POST, OPTIONS").route(web::post().to(account_links::invite)))
        .service(
            at("/api/v1/accounts/{id}", "GET, HEAD, PATCH, DELETE, OPTIONS")
                .route(get().to(accounts::get))
                .route(web::patch().to(accounts::change))
                .route(web::delete().to(accounts::delete)),
        )
        .service(
            at("/api/v1/tokens", "GET, HEAD, POST, OPTIONS")
                .route(get().to(tokens::list))
                .route(web::post().to(tokens::create)),
        )
        .service(at("/api/v1/people/export", "POST, OPTIONS").route(web::post().to(people::export)))
        .service(at("/api/v1/people/erase", "POST, OPTIONS").route(web::post().to(people::erase)))
        .service(
            at("/api/v1/tokens/{id}", "GET, HEAD, PATCH, DELETE, OPTIONS")
                .route(get().to(tokens::get))
                .route(web::patch().to(tokens::change))
                .route(web::delete().to(tokens::delete)),
        );
}

fn for_the_signed_in(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/api/v1/session", "GET, HEAD, POST, DELETE, OPTIONS")
                .route(get().to(session::get))
                .route(web::post().to(session::sign_in))
                .route(web::delete().to(session::sign_out)),
        )
        .service(at("/api/v1/session/link/look", "POST, OPTIONS").route(web::post().to(account_links::look)))
        .service(at("/api/v1/session/link", "POST, OPTIONS").route(web::post().to(account_links::follow)))
        .service(at("/api/v1/session/reset", "POST, OPTIONS").route(web::post().to(account_links::reset)))
        .service(
            at("/api/v1/sessions", "GET, HEAD, DELETE, OPTIONS")
                .route(get().to(session::list))
                .route(web::delete().to(session::end_others)),
        )
        .service(at("/api/v1/sessions/{id}", "DELETE, OPTIONS").route(web::delete().to(session::end)))
        .service(at("/api/v1/account", "PATCH, OPTIONS").route(web::patch().to(own_account::change)))
        .service(at("/api/v1/account/password", "POST, OPTIONS").route(web::post().to(own_account::password)))
        .service(
            at("/api/v1/account/totp", "POST, PUT, DELETE, OPTIONS")
                .route(web::post().to(own_account::propose))
                .route(web::put().to(own_account::confirm))
                .route(web::delete().to(own_account::drop_factor)),
        );
}

#[cfg(feature = "passkeys")]
fn with_passkeys(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/api/v1/session/passkey", "GET, HEAD, POST, PUT, OPTIONS")
                .route(get().to(session::passkeys))
                .route(web::post().to(passkeys::begin_sign_in))
                .route(web::put().to(passkeys::sign_in)),
        )
        .service(
            at("/api/v1/account/passkeys", "GET, HEAD, POST, PUT, OPTIONS")
                .route(get().to(passkeys::list))
                .route(web::post().to(passkeys::begin))
                .route(web::put().to(passkeys::add)),
        )
        .service(
            at("/api/v1/account/passkeys/{id}", "PATCH, DELETE, OPTIONS")
                .route(web::patch().to(passkeys::rename))
                .route(web::delete().to(passkeys::remove)),
        );
}

/// Without them the program says so, to whoever asks.
#[cfg(not(feature = "passkeys"))]
fn with_passkeys(config: &mut web::ServiceConfig) {
    config.service(at("/api/v1/session/passkey", "GET, HEAD, OPTIONS").route(get().to(session::passkeys)));
}

fn for_webhooks(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/api/v1/webhooks", "GET, HEAD, POST, OPTIONS")
                .route(get().to(webhooks::list))
                .route(web::post().to(webhooks::add)),
        )
        .service(
            at("/api/v1/webhooks/{id}", "GET, HEAD, PATCH, DELETE, OPTIONS")
                .route(get().to(webhooks::get))
                .route(web::patch().to(webhooks::change))
                .route(web::delete().to(webhooks::remove)),
        )
        .service(at("/api/v1/webhooks/{id}/rotate-secret", "POST, OPTIONS").route(web::post().to(webhooks::rotate)))
        .service(at("/api/v1/webhooks/{id}/test", "POST, OPTIONS").route(web::post().to(deliveries::test)))
        .service(at("/api/v1/webhooks/{id}/deliveries", "GET, HEAD, OPTIONS").route(get().to(deliveries::deliveries)))
        .service(
            at("/api/v1/webhooks/{id}/deliveries/{delivery}/replay", "POST, OPTIONS")
                .route(web::post().to(deliveries::replay)),
        );
}

fn for_operators(config: &mut web::ServiceConfig) {
    config
        .service(at("/healthz", "GET, HEAD, OPTIONS").route(get().to(operator::healthz)))
        .service(at("/readyz", "GET, HEAD, OPTIONS").route(get().to(operator::readyz)))
        .service(
            at("/metrics", "GET, HEAD, OPTIONS")
                .guard(guard::fn_guard(metrics::are_here))
                .route(get().to(metrics::figures)),
        )
        .service(at("/openapi.json", "GET, HEAD, OPTIONS").route(get().to(operator::openapi)))
        .service(at("/errors/{code}", "GET, HEAD, OPTIONS").route(get().to(operator::error_page)));
}

fn for_browsers(config: &mut web::ServiceConfig) {
    config
        .service(at("/assets/page.css", "GET, HEAD, OPTIONS").route(get().to(assets::page_style)))
        .service(at("/admin", "GET, HEAD, OPTIONS").route(get().to(assets::to_desk)))
        .service(at("/admin/{file:.*}", "GET, HEAD, OPTIONS").route(get().to(assets::desk)))
        .service(at("/embed.js", "GET, HEAD, OPTIONS").route(get().to(assets::embed)))
        .service(at("/embed/{file:.*}", "GET, HEAD, OPTIONS").route(get().to(assets::embed_part)))
        .service(web::redirect("/demo", "/demo/"))
        .service(at("/demo/{file:.*}", "GET, HEAD, OPTIONS").route(get().to(assets::demo)));
}

pub use self::front::front;
pub use self::metrics::metrics_routes;
pub use self::shortcut::Shortcut;

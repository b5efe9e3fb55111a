//! The two cookies of the desk: the session, and the mark by which a browser is known again. No script reads them, no other
//! site sends them, and nothing but the desk's own addresses looks at them.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite, time};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jar {
    /// The secret of a session.
    Session,
    /// The mark of a browser in which somebody has signed in.
    Device,
}

impl Jar {
    /// With `__Host-` a browser takes it by https alone, and from no neighbouring host (RFC 6265bis §4.1.3.2).
    fn name(self, public_url: &str) -> &'static str {
        match (self, is_secure(public_url)) {
            (Self::Session, true) => "__Host-afterword",
            (Self::Session, false) => "afterword",
            (Self::Device, true) => "__Host-afterword-device",
            (Self::Device, false) => "afterword-device",
        }
    }

    /// What a request carries of it.
    pub fn read(self, request: &HttpRequest, public_url: &str) -> Option<String> {
        let cookie = request.cookie(self.name(public_url))?;
        Some(cookie.value().to_owned()).filter(|value| !value.is_empty())
    }

    /// A cookie that stays for this long; zero takes it away.
    pub fn cookie(self, public_url: &str, value: String, life: Duration) -> Cookie<'static> {
        Cookie::build(self.name(public_url), value)
            .path("/")
            .http_only(true)
            .secure(is_secure(public_url))
            .same_site(SameSite::Strict)
            .max_age(time::Duration::seconds(i64::try_from(life.as_secs()).unwrap_or(i64::MAX)))
            .finish()
    }
}

fn is_secure(public_url: &str) -> bool {
    public_url.starts_with("https://")
}

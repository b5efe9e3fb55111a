//! The two cookies of the desk: the session, and the mark by which a browser is known again. No script reads them, no other
//! site sends them, and nothing but the desk's own addresses looks at them.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::http::header;

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

    /// What a request carries of it; none when it carries two.
    pub fn read(self, request: &HttpRequest, public_url: &str) -> Option<String> {
        let lines = request.headers().get_all(header::COOKIE).map(header::HeaderValue::as_bytes);
        let value = only(lines, self.name(public_url).as_bytes())?;
        String::from_utf8(value.to_vec()).ok().filter(|value| !value.is_empty())
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

/// The value of the only cookie of this name. Names are compared byte by byte: a browser keeps `__Host-` for us in exactly
/// this spelling, so one that only reads so when it is decoded may be a neighbouring host's. Of two of one name nobody
/// knows which is ours.
fn only<'a>(lines: impl Iterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="));
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn is_secure(public_url: &str) -> bool {
    public_url.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn names_are_compared_as_they_are() {
        let read = |lines: &[&[u8]]| {
            let request = lines.iter().fold(TestRequest::default(), |request, line| {
                request.append_header((header::COOKIE, header::HeaderValue::from_bytes(line).unwrap()))
            });
            let request = request.to_http_request();
            [Jar::Session, Jar::Device].map(|jar| jar.read(&request, "https://c.example").unwrap_or_default())
        };
        assert_eq!(read(&[b"__Host-afterword=a; __Host-afterword-device=b"]), ["a", "b"]);
        assert_eq!(read(&[b"__Host-afterword=a", b"x=\xff; __Host-afterword-device=b"]), ["a", "b"]);
        assert_eq!(read(&[b"%5F%5FHost-afterword=a;__Host-afterword%2Ddevice=b"]), ["", ""]);
        assert_eq!(read(&[b"afterword=a; __host-afterword-device=b; x__Host-afterword=a"]), ["", ""]);
        assert_eq!(read(&[b"__Host-afterword-device=b; __Host-afterword-device=c"]), ["", ""]);
        assert_eq!(read(&[b"__Host-afterword=a", b"__Host-afterword=a"]), ["", ""]);
        assert_eq!(read(&[b"__Host-afterword=a=b; __Host-afterword-device=\xff"]), ["a=b", ""]);
    }
}

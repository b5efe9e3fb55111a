//! Where passkeys can be used: browsers bind them to a host name, and ask for them on pages that nobody on the way can change.

use url::Url;

use super::web::Origin;

/// Whether this program was built with passkeys.
pub const BUILT_IN: bool = cfg!(feature = "passkeys");

/// Why nobody can sign in with a passkey at a service with this origin, in words for whoever runs it; none when they can.
pub fn obstacle(origin: Option<&Origin>) -> Option<&'static str> {
    if !BUILT_IN {
        return Some("This program was built without passkeys: cargo build --release --features passkeys");
    }
    let url = origin.and_then(|origin| Url::parse(origin.as_str()).ok());
    let Some(host) = url.as_ref().and_then(Url::domain) else {
        return Some("Passkeys belong to a host name, and server.public_url has none.");
    };
    let is_local = host == "localhost" || host.ends_with(".localhost");
    let is_safe = is_local || url.as_ref().is_some_and(|url| url.scheme() == "https");
    (!is_safe).then_some("Browsers offer passkeys by https alone, or on localhost: see server.public_url.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_https_are_wanted() {
        let is_free = |address: &str| obstacle(Origin::of(address).as_ref()).is_none();
        for good in
            ["https://comments.example", "https://comments.example:8443", "http://localhost:8080", "http://a.localhost"]
        {
            assert_eq!(is_free(good), BUILT_IN, "{good}");
        }
        for bad in ["http://comments.example", "https://192.0.2.1", "http://127.0.0.1:8080", "https://[::1]", ""] {
            assert!(!is_free(bad), "{bad}");
        }
    }
}

//! Shows the settings in force. No password is among what is shown, wherever in an address it stands.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Config, ConfigError};

/// What stands in the place of a secret.
const REDACTED: &str = "redacted";

/// Parameters of a database URL that are secrets (libpq's names).
const SECRET_PARAMETERS: [&str; 2] = ["password", "sslpassword"];

/// The settings in force as TOML; passwords are left out.
pub fn show(config: &Config) -> Result<String, ConfigError> {
    toml::to_string(config).map_err(|error| ConfigError(error.to_string()))
}

pub(super) fn without_password<S: serde::Serializer>(secret: &SecretString, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&redacted(secret))
}

/// An address without its passwords; one that cannot be read as an address is left out as a whole, because nobody knows
/// then where in it the password is.
pub fn redacted(secret: &SecretString) -> String {
    let text = secret.expose_secret();
    if text.is_empty() {
        return String::new();
    }
    let Ok(mut url) = Url::parse(text) else { return REDACTED.to_owned() };
    // A password with a / ? or # in it ends the host too early, and the rest of it stands where no @ belongs.
    let rest = [Some(url.path()), url.query(), url.fragment()];
    // Paths of files may hold one.
    if url.scheme() != "sqlite" && rest.into_iter().flatten().any(|part| part.contains('@')) {
        return REDACTED.to_owned();
    }
    let is_secret = |key: &str| SECRET_PARAMETERS.iter().any(|secret| key.eq_ignore_ascii_case(secret));
    let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let hides = parameters.iter().any(|(key, _)| is_secret(key));
    if url.password().is_none() && !hides {
        return text.to_owned();
    }
    if url.password().is_some() && url.set_password(Some(REDACTED)).is_err() {
        return REDACTED.to_owned();
    }
    if hides {
        let shown = parameters.iter().map(|(key, value)| (key, if is_secret(key) { REDACTED } else { value }));
        url.query_pairs_mut().clear().extend_pairs(shown);
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_wherever_it_stands() {
        for (url, shown) in [
            ("", ""),
            ("sqlite:data/afterword.db", "sqlite:data/afterword.db"),
            ("sqlite:/home/ann@work/a b.db", "sqlite:/home/ann@work/a b.db"),
            ("smtp://mx.example:587?tls=required", "smtp://mx.example:587?tls=required"),
            ("smtp://u:geheim@mx", "smtp://u:redacted@mx"),
            ("postgres://u:geheim@h/x?sslmode=require", "postgres://u:redacted@h/x?sslmode=require"),
            ("postgres://h/x?user=u&password=geheim", "postgres://h/x?user=u&password=redacted"),
            ("postgres:///x?host=/run&sslpassword=geheim", "postgres:///x?host=%2Frun&sslpassword=redacted"),
            ("postgres://h/x?pass%77ord=geheim", "postgres://h/x?password=redacted"),
            ("smtp://u:ge/geheim@mx", "redacted"),
            ("smtp://u:25/geheim@mx", "redacted"),
            ("smtp://u:25?geheim@mx", "redacted"),
            ("smtp://u:25#geheim@mx", "redacted"),
            ("smtp:u:geheim@mx", "redacted"),
            ("host=h password=geheim", "redacted"),
        ] {
            assert_eq!(redacted(&url.into()), shown);
        }
    }
}

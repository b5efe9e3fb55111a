//! The settings: typed, loaded from the embedded defaults, a file and the environment, in this order, and checked as a
//! whole. A wrong or unknown key stops the start with one line that names it. Secrets in here print as `[redacted]`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Config as Source, Environment, File, FileFormat};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::domain::submission::FieldRules;
use crate::domain::web::Origin;

/// Every key with its default and what it means.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// What is wrong with the settings, in one line that names the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The settings.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where and how the service answers.
    pub server: Server,
    /// Where the data lies.
    pub database: Database,
    /// The secret key.
    pub secrets: Secrets,
    /// How mail is sent.
    pub mail: Mail,
    /// What authors and moderators may do.
    pub moderation: Moderation,
    /// Rate limits and bounds.
    pub limits: Limits,
    /// How long fields may be.
    pub fields: FieldRules,
    /// What is kept of visitors.
    pub privacy: Privacy,
    /// Answers that are kept ready.
    pub cache: Cache,
    /// What is logged.
    pub log: Log,
}

/// `[cache]`
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Megabytes of answers at most.
    pub megabytes: u32,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: SocketAddr,
    /// How people reach it, without a slash at the end.
    pub public_url: String,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<String>,
    /// Threads that answer; 0 means one per core.
    pub workers: usize,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// May contain a password.
    #[serde(serialize_with = "without_password")]
    pub url: SecretString,
    /// Reading connections to PostgreSQL.
    pub pool_size: usize,
    /// Writing connections to PostgreSQL.
    pub write_connections: usize,
}

/// `[secrets]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The file with the key.
    pub key_file: PathBuf,
}

/// How mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// As `.eml` files.
    File,
    /// By SMTP.
    Smtp,
}

/// `[mail]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// How.
    pub transport: Transport,
    /// Where the files go.
    pub dir: PathBuf,
    /// May contain a password.
    #[serde(serialize_with = "without_password")]
    pub smtp_url: SecretString,
    /// Seconds until a mail server that hangs is given up for this time.
    pub timeout_seconds: u64,
    /// The sender.
    pub from: String,
    /// Templates of the operator's own.
    pub templates: PathBuf,
    /// Single mails per moderator and hour.
    pub hourly_ceiling: usize,
}

/// `[moderation]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Moderation {
    /// How long authors may change what they wrote.
    pub edit_minutes: u32,
}

/// One rate limit: `burst` at once, then one every `seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// At once.
    pub burst: u32,
    /// Seconds until one more is allowed.
    pub seconds: f64,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "named as in config/default.toml, which documents them")]
pub struct Limits {
    pub enabled: bool,
    pub max_depth: u8,
    pub address: Ring,
    pub network: Ring,
    pub article: Ring,
    pub site: Ring,
    pub all: Ring,
    pub email: Ring,
    pub invalid: Ring,
    pub credentials: Ring,
}

/// What is kept of a visitor's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressPrivacy {
    /// Nothing.
    None,
    /// The /24 or /48.
    Network,
    /// All of it.
    Full,
}

/// `[privacy]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// Of the address.
    pub address: AddressPrivacy,
    /// Of the browser's name.
    pub user_agent: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A level or a filter.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Config {
    /// Loads the settings: defaults, then `file`, then `AFTERWORD__SECTION__KEY` from `environment`.
    pub fn load(file: Option<&Path>, environment: Vec<(String, String)>) -> Result<Self, ConfigError> {
        let mut builder = Source::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|cause| ConfigError(format!("cannot read the settings file {}: {cause}", path.display())))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        let variables = Environment::with_prefix("AFTERWORD")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("server.trusted_proxies")
            .source(Some(environment.into_iter().collect()));
        let loaded = builder.add_source(variables).build().and_then(Source::try_deserialize::<Self>);
        let mut config = loaded.map_err(|error| ConfigError(one_line(&error.to_string())))?;
        config.server.trusted_proxies.retain(|text| !text.trim().is_empty());
        config.fill_in_public_url()?;
        config.check()?;
        Ok(config)
    }

    /// The public URL that was set, or the one that follows from listening on this machine alone.
    fn fill_in_public_url(&mut self) -> Result<(), ConfigError> {
        let server = &mut self.server;
        if server.public_url.is_empty() {
            if !server.listen.ip().is_loopback() {
                return Err(ConfigError(format!(
                    "server.public_url is needed when listening beyond this machine (server.listen = \"{}\"): set it to \
                     the address by which people reach the service, like https://comments.example.org",
                    server.listen
                )));
            }
            server.public_url = format!("http://{}", server.listen);
        }
        server.public_url.truncate(server.public_url.trim_end_matches('/').len());
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, what: &str| Err(ConfigError(format!("{key} {what}")));
        if Origin::of(&self.server.public_url).is_none() {
            return wrong("server.public_url", "must be an http:// or https:// address");
        }
        self.trusted_networks()?;
        if self.limits.max_depth == 0 || self.limits.max_depth > 100 {
            return wrong("limits.max_depth", "must be between 1 and 100");
        }
        for (key, ring) in self.limits.rings() {
            if ring.burst == 0 || !(0.001..=86_400.0).contains(&ring.seconds) {
                return wrong(&format!("limits.{key}"), "needs a burst of at least 1 and 0.001 to 86400 seconds");
            }
        }
        if self.database.pool_size == 0 || self.database.write_connections == 0 {
            return wrong("database.pool_size and database.write_connections", "must be at least 1");
        }
        if self.mail.transport == Transport::Smtp && self.mail.smtp_url.expose_secret().is_empty() {
            return wrong("mail.smtp_url", "is needed when mail.transport is \"smtp\"");
        }
        if self.mail.from.parse::<lettre::message::Mailbox>().is_err() {
            return wrong("mail.from", "must be an address like \"Comments <comments@example.org>\"");
        }
        if !(1..=50).contains(&self.mail.timeout_seconds) {
            // Less than the claim on an outbox row, so that no other worker takes it meanwhile.
            return wrong("mail.timeout_seconds", "must be between 1 and 50");
        }
        if self.mail.hourly_ceiling == 0 {
            return wrong("mail.hourly_ceiling", "must be at least 1");
        }
        if tracing_subscriber::EnvFilter::try_new(&self.log.level).is_err() {
            return wrong("log.level", "must be error, warn, info, debug, trace or a filter of these");
        }
        let fields = &self.fields;
        let lengths = [
            ("name_max", fields.name_max, 1..=1000),
            ("website_max", fields.website_max, 1..=2048),
            ("body_max", fields.body_max, 1..=50_000),
            ("article_title_max", fields.article_title_max, 1..=2000),
            ("article_url_max", fields.article_url_max, 1..=8192),
            ("challenge_max", fields.challenge_max, 1..=16_384),
        ];
        for (key, length, range) in lengths {
            if !range.contains(&length) {
                return wrong(&format!("fields.{key}"), &format!("must be between 1 and {}", range.end()));
            }
        }
        Ok(())
    }

    /// The proxies whose forwarding headers are believed.
    pub fn trusted_networks(&self) -> Result<Vec<IpNet>, ConfigError> {
        let parse = |text: &String| {
            let text = text.trim();
            text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                ConfigError(format!("server.trusted_proxies: \"{text}\" is neither an address nor a network"))
            })
        };
        self.server.trusted_proxies.iter().map(parse).collect()
    }

    /// How long authors may change what they wrote.
    pub fn edit_window(&self) -> Duration {
        Duration::from_secs(u64::from(self.moderation.edit_minutes) * 60)
    }

    /// Our own origin.
    pub fn own_origin(&self) -> Option<Origin> {
        Origin::of(&self.server.public_url)
    }

    /// Whether the service is reached on this machine alone.
    pub fn is_local(&self) -> bool {
        let host = url::Url::parse(&self.server.public_url).ok().and_then(|url| url.host().map(|host| host.to_owned()));
        match host {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

impl Limits {
    fn rings(&self) -> [(&'static str, Ring); 8] {
        [
            ("address", self.address),
            ("network", self.network),
            ("article", self.article),
            ("site", self.site),
            ("all", self.all),
            ("email", self.email),
            ("invalid", self.invalid),
            ("credentials", self.credentials),
        ]
    }
}

/// The settings in force as TOML; passwords are left out.
pub fn show(config: &Config) -> Result<String, ConfigError> {
    toml::to_string(config).map_err(|error| ConfigError(error.to_string()))
}

/// An address without its password.
fn without_password<S: serde::Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = match url::Url::parse(secret.expose_secret()) {
        Ok(mut url) if url.password().is_some() => {
            // Fails only for URLs that cannot have a password.
            let _ = url.set_password(Some("redacted"));
            url.to_string()
        }
        _ => secret.expose_secret().to_owned(),
    };
    serializer.serialize_str(&shown)
}

/// An error of the config crate in one line.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("afterword.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config::load(Some(&path), variables).map_err(|error| error.0)
    }

    #[test]
    fn the_defaults_are_whole_and_legal() {
        let config = Config::load(None, Vec::new()).unwrap();
        assert_eq!(config.server.public_url, "http://127.0.0.1:8080");
        assert_eq!(config.edit_window(), Duration::from_mins(15));
        assert!(config.is_local());
    }

    #[test]
    fn a_file_then_the_environment_override() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\n[limits]\nmax_depth = 7\n";
        let config = load(
            file,
            &[
                ("AFTERWORD__SERVER__LISTEN", "0.0.0.0:2"),
                ("AFTERWORD__SERVER__PUBLIC_URL", "https://c.example/x/"),
                ("AFTERWORD__SERVER__TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8"),
                ("AFTERWORD__LIMITS__ENABLED", "false"),
                ("AFTERWORD__LIMITS__ADDRESS__BURST", "9"),
                ("AFTERWORD_CONFIG", "elsewhere"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!((config.server.listen.port(), config.limits.max_depth), (2, 7));
        assert_eq!(config.server.public_url, "https://c.example/x");
        assert_eq!(config.trusted_networks().unwrap().len(), 2);
        assert!(!config.limits.enabled);
        assert_eq!(config.limits.address.burst, 9);
        assert!(!config.is_local());
    }

    #[test]
    fn each_wrong_setting_is_one_line_that_names_it() {
        for (file, named) in [
            ("[server]\nlistn = 1\n", "listn"),
            ("[serve]\n", "serve"),
            ("[server]\nlisten = \"here\"\n", "server.listen"),
            ("[server]\nlisten = \"0.0.0.0:80\"\n", "server.public_url"),
            ("[server]\npublic_url = \"c.example\"\n", "server.public_url"),
            ("[server]\ntrusted_proxies = [\"10.0.0.0/33\"]\n", "server.trusted_proxies"),
            ("[limits]\nmax_depth = 0\n", "limits.max_depth"),
            ("[limits.address]\nburst = 0\n", "limits.address"),
            ("[limits.address]\nburst = \"many\"\n", "limits.address.burst"),
            ("[mail]\ntransport = \"pigeon\"\n", "mail.transport"),
            ("[mail]\ntransport = \"smtp\"\n", "mail.smtp_url"),
            ("[mail]\nfrom = \"nobody\"\n", "mail.from"),
            ("[log]\nlevel = \"=,=\"\n", "log.level"),
            ("[fields]\nbody_max = 0\n", "fields.body_max"),
            ("nonsense", "nonsense"),
        ] {
            let Err(line) = load(file, &[]) else { panic!("{file} was taken") };
            assert!(line.contains(named), "{file}: {line}");
            assert!(!line.contains('\n'), "{line}");
        }
        let Err(line) = load("", &[("AFTERWORD__SERVER__LISTN", "x")]) else { panic!("taken") };
        assert!(line.contains("listn"), "{line}");
    }

    #[test]
    fn what_is_shown_has_no_password_and_can_be_loaded_again() {
        let file =
            "[database]\nurl = \"postgres://u:secret1@db.example/x\"\n[mail]\nsmtp_url = \"smtp://u:secret2@mx\"\n";
        let shown = show(&load(file, &[]).unwrap()).unwrap();
        assert!(!shown.contains("secret1") && !shown.contains("secret2"), "{shown}");
        assert!(shown.contains("postgres://u:redacted@db.example/x"), "{shown}");
        load(&shown, &[]).unwrap();
        assert!(!format!("{:?}", load(file, &[]).unwrap()).contains("secret1"));
    }
}

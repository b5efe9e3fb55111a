//! The settings: typed, loaded from the embedded defaults, a file and the environment, in this order, and checked as a
//! whole. A wrong or unknown key stops the start with one line that names it, and that repeats no value: it may be a secret.
//! Secrets in here print as `[redacted]`.

mod check;
mod show;
mod sources;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use self::show::without_password;
pub use self::show::{redacted, show};
pub use self::sources::variables;
use crate::domain::privacy::AddressPrivacy;
use crate::domain::retention::Retention;
use crate::domain::rules::draft::Score;
use crate::domain::rules::judge::Thresholds;
use crate::domain::submission::FieldRules;
use crate::domain::web::Origin;

/// Every key with its default and what it means.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

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
    /// How long somebody stays signed in.
    pub session: Session,
    /// What tells people from programs, unseen.
    pub defences: Defences,
    /// Rate limits and bounds.
    pub limits: Limits,
    /// How long fields may be.
    pub fields: FieldRules,
    /// What is kept of visitors.
    pub privacy: Privacy,
    /// Mails to people who wrote comments.
    pub people: People,
    /// How long what is personal stays.
    pub retention: RetentionDays,
    /// Answers that are kept ready.
    pub cache: Cache,
    /// Where figures are told.
    pub metrics: Metrics,
    /// Where webhooks may lead.
    pub webhooks: Webhooks,
    /// The article at `/demo/`.
    #[serde(default)]
    pub demo: Demo,
    /// What is logged.
    pub log: Log,
}

/// `[people]`
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "named as in config/default.toml, which documents them")]
pub struct People {
    pub hourly_confirmations: usize,
    pub hourly_links: usize,
}

/// `[retention]`
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "named as in config/default.toml, which documents them")]
pub struct RetentionDays {
    pub sender_days: u32,
    pub refused_days: u32,
}

impl RetentionDays {
    /// As the sites need it.
    pub fn periods(self) -> Retention {
        Retention { sender_days: Some(self.sender_days), refused_days: Some(self.refused_days) }
    }
}

/// `[webhooks]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// Networks beside the public ones.
    pub allowed_networks: Vec<String>,
}

/// `[demo]`
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// Whether it is shown. What is not said is filled in: while people reach the service on this machine alone.
    pub enabled: Option<bool>,
}

/// `[cache]`
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Megabytes of answers at most.
    pub megabytes: u32,
}

/// `[metrics]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port; empty: none of their own.
    pub listen: String,
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
    /// The same PostgreSQL database past a pooler; empty: `url`. May contain a password.
    #[serde(serialize_with = "without_password")]
    pub direct_url: SecretString,
    /// A replica of the PostgreSQL database, for public lists; empty: none. May contain a password.
    #[serde(serialize_with = "without_password")]
    pub read_url: SecretString,
    /// Whether `url` and `read_url` lead to a pooler that gives each transaction another session.
    pub pooler: bool,
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

/// `[defences]`
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Defences {
    /// Seconds that a person needs at least between opening a form and sending it; 0: nobody is too fast.
    pub min_seconds: u32,
}

/// `[moderation]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Moderation {
    /// How long authors may change what they wrote.
    pub edit_minutes: u32,
    /// Points from which on rules hold a comment.
    pub hold_score: f64,
    /// Points from which on rules call it spam.
    pub spam_score: f64,
}

impl Moderation {
    /// What the rules' score decides.
    pub fn thresholds(&self) -> Thresholds {
        let score = |points| Score::of_points(points).unwrap_or(Score(i32::MAX));
        Thresholds { hold: score(self.hold_score), spam: score(self.spam_score) }
    }
}

/// `[session]`
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Minutes without a request after which it ends.
    pub idle_minutes: u32,
    /// Days after which it ends in any case.
    pub absolute_days: u32,
}

impl Session {
    /// The first of these.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.idle_minutes) * 60)
    }

    /// The second.
    pub fn life(&self) -> Duration {
        Duration::from_secs(u64::from(self.absolute_days) * 86_400)
    }
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
    pub streams: usize,
    pub streams_per_account: usize,
    pub reader_streams: usize,
    pub reader_streams_per_address: usize,
    pub address: Ring,
    pub network: Ring,
    pub article: Ring,
    pub site: Ring,
    pub all: Ring,
    pub email: Ring,
    pub invalid: Ring,
    pub credentials: Ring,
    pub password: Ring,
    pub password_address: Ring,
    pub password_all: Ring,
    pub reset: Ring,
    pub feedback: Ring,
    pub feedback_network: Ring,
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
        let mut config = sources::read(file, environment)?;
        config.server.trusted_proxies.retain(|text| !text.trim().is_empty());
        config.webhooks.allowed_networks.retain(|text| !text.trim().is_empty());
        config.fill_in_public_url()?;
        let is_local = config.is_local();
        config.demo.enabled.get_or_insert(is_local);
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

    /// The proxies whose forwarding headers are believed.
    pub fn trusted_networks(&self) -> Result<Vec<IpNet>, ConfigError> {
        networks("server.trusted_proxies", &self.server.trusted_proxies)
    }

    /// The networks beside the public ones to which webhooks may lead.
    pub fn webhook_networks(&self) -> Result<Vec<IpNet>, ConfigError> {
        networks("webhooks.allowed_networks", &self.webhooks.allowed_networks)
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

/// Addresses and networks.
fn networks(key: &str, texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let parse = |text: &String| {
        let text = text.trim();
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        parsed.map_err(|_| ConfigError(format!("{key}: \"{text}\" is neither an address nor a network")))
    };
    texts.iter().map(parse).collect()
}

impl Metrics {
    /// The address on which figures are told without a token; none: at the service's own address, to administrators.
    pub fn address(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let text = self.listen.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = |_| ConfigError("metrics.listen must be an address with a port, like 127.0.0.1:9090".to_owned());
        text.parse().map(Some).map_err(wrong)
    }
}

impl Mail {
    /// What is wrong with a sender that servers elsewhere will not take mail from.
    pub fn doubtful_sender(&self) -> Option<String> {
        let sender: lettre::message::Mailbox = self.from.parse().ok()?;
        let is_local = sender.email.domain().eq_ignore_ascii_case("localhost");
        (is_local && self.transport == Transport::Smtp).then(|| {
            "mail.from ends with @localhost, and most mail servers refuse such a sender: set it to an address of your domain."
                .to_owned()
        })
    }
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
        assert_eq!(config.metrics.address().unwrap(), None);
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
            ("[webhooks]\nallowed_networks = [\"10.0.0.0/33\"]\n", "webhooks.allowed_networks"),
            ("[limits]\nmax_depth = 0\n", "limits.max_depth"),
            ("[limits.address]\nburst = 0\n", "limits.address"),
            ("[moderation]\nhold_score = 0.001\n", "moderation.hold_score"),
            ("[moderation]\nspam_score = 4.5\n", "moderation.spam_score"),
            ("[limits.address]\nburst = \"many\"\n", "limits.address.burst"),
            ("[mail]\ntransport = \"pigeon\"\n", "mail.transport"),
            ("[mail]\ntransport = \"smtp\"\n", "mail.smtp_url"),
            ("[mail]\nfrom = \"nobody\"\n", "mail.from"),
            ("[log]\nlevel = \"=,=\"\n", "log.level"),
            ("[fields]\nbody_max = 0\n", "fields.body_max"),
            ("[metrics]\nlisten = \"geheim\"\n", "metrics.listen"),
            ("[metrics]\nlisten = \"127.0.0.1:8080\"\n", "metrics.listen"),
            ("[session]\nidle_minutes = 0\n", "session.idle_minutes"),
            ("[session]\nabsolute_days = 4000\n", "session.absolute_days"),
            ("nonsense", "line 1, column"),
            ("[mail]\nsmtp_url = \"smtp://u:geheim@mx\n", "line 2, column"),
            ("\n\n[mail]\nsmtp_url = smtp://u:geheim@mx\n", "line 4, column"),
            ("database = \"postgres://u:geheim@h/x\"\n", "database"),
            ("[database]\nurl = [\"postgres://u:geheim@h/x\"]\n", "database.url"),
            ("[mail]\ntimeout_seconds = \"geheim\"\n", "mail.timeout_seconds"),
            ("[mail]\ntimeout_seconds = 51\n", "mail.timeout_seconds"),
            ("[server]\npublic_url = \"https://c.example/?x\"\n", "server.public_url"),
            ("[server]\npublic_url = \"https://c.example/#x\"\n", "server.public_url"),
            ("[server]\npublic_url = \"https://ann@c.example\"\n", "server.public_url"),
            ("[server]\npublic_url = \"https://:geheim@c.example\"\n", "server.public_url"),
            ("[server]\nworkers = 100000000\n", "server.workers"),
            ("[database]\npool_size = 100000000\n", "database.pool_size"),
            ("[database]\npool_size = 0\n", "database.pool_size"),
            ("[database]\nwrite_connections = 65\n", "database.write_connections"),
        ] {
            let Err(line) = load(file, &[]) else { panic!("{file} was taken") };
            assert!(line.contains(named), "{file}: {line}");
            assert!(!line.contains('\n') && !line.contains("geheim"), "{line}");
        }
        let Err(line) = load("", &[("AFTERWORD__DATABASE", "postgres://u:geheim@h/x")]) else { panic!("taken") };
        assert!(line.contains("database") && !line.contains("geheim"), "{line}");
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

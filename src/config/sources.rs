//! Where settings come from: the embedded defaults, a file, variables of the environment. What is wrong with them is told
//! by key and place alone: the libraries' own messages repeat the line or the value, and that may hold a password.

use std::ffi::OsString;
use std::path::Path;

use config::{Config as Source, ConfigError as SourceError, Environment, File, FileFormat};

use super::{Config, ConfigError, DEFAULTS};

/// What variables that are settings begin with, in capitals or not.
const PREFIX: &str = "AFTERWORD__";

/// The variables that may be settings. One that is ours and no UTF-8 is an error that names it; others are not looked at.
pub fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut settings = Vec::new();
    for (key, value) in all {
        let name = key.to_string_lossy().into_owned();
        if !name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
            continue;
        }
        match (key.into_string(), value.into_string()) {
            (Ok(key), Ok(value)) => settings.push((key, value)),
            _ => return Err(ConfigError(format!("the variable {name} is not UTF-8"))),
        }
    }
    Ok(settings)
}

/// Reads all sources; nothing is checked but types and names.
pub(super) fn read(file: Option<&Path>, environment: Vec<(String, String)>) -> Result<Config, ConfigError> {
    let mut builder = Source::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError(format!("cannot read the settings file {}: {cause}", path.display())))?;
        check_syntax(path, &text)?;
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let variables = Environment::with_prefix("AFTERWORD")
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("server.trusted_proxies")
        .with_list_parse_key("webhooks.allowed_networks")
        .source(Some(environment.into_iter().collect()));
    let loaded = builder.add_source(variables).build().and_then(Source::try_deserialize::<Config>);
    loaded.map_err(|error| ConfigError(one_line(&told(&error))))
}

fn check_syntax(path: &Path, text: &str) -> Result<(), ConfigError> {
    let Err(error) = text.parse::<toml::Table>() else { return Ok(()) };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Err(ConfigError(format!("the settings file {} is not TOML: look at line {line}, column {column}", path.display())))
}

/// An error of the config crate without the value that it is about.
fn told(error: &SourceError) -> String {
    let of = |key: &Option<String>| key.as_ref().map(|key| format!(" for {key}")).unwrap_or_default();
    match error {
        SourceError::Type { expected, key, .. } => format!("{}{}", needed(expected), of(key)),
        SourceError::At { error, key, .. } => format!("{}{}", told(error), of(key)),
        SourceError::FileParse { .. } => "the settings are not TOML".to_owned(),
        SourceError::Message(message) if message.starts_with("enum ") => "no such value is possible".to_owned(),
        SourceError::Message(message) => match message.rsplit_once(", expected ") {
            Some((start, expected)) if start.starts_with("invalid ") => needed(expected),
            _ => message.clone(),
        },
        other => other.to_string(),
    }
}

/// What serde calls a struct, operators call a section.
fn needed(expected: &str) -> String {
    if expected.starts_with("struct ") { "a section is needed".to_owned() } else { format!("{expected} is needed") }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

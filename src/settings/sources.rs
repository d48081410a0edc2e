//! Where settings come from, merged in one order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::SettingsError;

/// Before each variable of ours; sections and keys have single underscores of their own.
const PREFIX: &str = "SEXTON__";
const SEPARATOR: &str = "__";
/// What everybody calls these two, and which key they fill in.
const WELL_KNOWN: [(&str, &str); 2] = [("DATABASE_URL", "store.url"), ("AMQP_URL", "broker.url")];

pub(super) type Environment = BTreeMap<String, String>;

/// The variables that matter here. A value is a secret until proven otherwise, so none is ever repeated.
pub(super) fn environment() -> Result<Environment, SettingsError> {
    let mut ours = Environment::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if !name.starts_with(PREFIX) && !WELL_KNOWN.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let value = value
            .into_string()
            .map_err(|_| SettingsError(format!("{name}: found bytes that are not UTF-8; wanted text")))?;
        ours.insert(name.to_owned(), value);
    }
    Ok(ours)
}

pub(super) fn merge(
    files: &[&Path],
    environment: &Environment,
    typed: bool,
) -> Result<Config, SettingsError> {
    let mut builder = Config::builder().add_source(WellKnown(environment.clone()));
    for path in files {
        parses(path)?;
        builder = builder.add_source(Named(path.to_path_buf()));
    }
    let ours = Variables {
        all: environment.clone(),
        typed,
    };
    builder.add_source(ours).build().map_err(|error| {
        let sentence = format!("settings: found what cannot be merged: {error}; wanted [section] and key");
        SettingsError(super::wording::one_line(&sentence))
    })
}

/// `config` would quote the line that it cannot parse, and a line may hold a password.
fn parses(path: &Path) -> Result<(), SettingsError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError(format!("{shown}: cannot read this file: {error}")))?;
    text.parse::<toml::Table>().map(drop).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        SettingsError(format!(
            "{shown}, line {line}: found text that is not TOML; wanted key = value"
        ))
    })
}

/// A file whose values know it by the name that its reader gave it.
#[derive(Clone, Debug)]
struct Named(PathBuf);

impl Source for Named {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let name = self.0.display().to_string();
        let all = File::from(self.0.as_path()).format(FileFormat::Toml).collect()?;
        Ok(all
            .into_iter()
            .map(|(key, value)| (key, renamed(value, &name)))
            .collect())
    }
}

fn renamed(value: Value, name: &String) -> Value {
    let kind = match value.kind {
        ValueKind::Table(table) => ValueKind::Table(
            table
                .into_iter()
                .map(|(key, value)| (key, renamed(value, name)))
                .collect(),
        ),
        plain => plain,
    };
    Value::new(Some(name), kind)
}

/// `SEXTON__STORE__POOL_MAX` is `store.pool_max`. An empty variable is one that is not set.
#[derive(Clone)]
struct Variables {
    all: Environment,
    typed: bool,
}

#[derive(Clone)]
struct WellKnown(Environment);

impl Source for Variables {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let entry = |(name, value): (&String, &String)| {
            let path = name.strip_prefix(PREFIX).filter(|_| !value.is_empty())?;
            let key = path.to_lowercase().replace(SEPARATOR, ".");
            let kind = if self.typed {
                typed(value)
            } else {
                ValueKind::from(value.as_str())
            };
            Some((key, Value::new(Some(name), kind)))
        };
        Ok(self.all.iter().filter_map(entry).collect())
    }
}

impl Source for WellKnown {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let entry = |(name, key): (&str, &str)| {
            let value = self.0.get(name).filter(|value| !value.is_empty())?;
            Some((key.to_owned(), Value::new(Some(&name.to_owned()), value.as_str())))
        };
        Ok(WELL_KNOWN.into_iter().filter_map(entry).collect())
    }
}

/// Only what reads back as the very same text: a password of digits must survive being taken for a number.
fn typed(text: &str) -> ValueKind {
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        return ValueKind::I64(number);
    }
    match text {
        "true" => ValueKind::Boolean(true),
        "false" => ValueKind::Boolean(false),
        _ => ValueKind::from(text),
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables")
    }
}

impl fmt::Debug for WellKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WellKnown")
    }
}
